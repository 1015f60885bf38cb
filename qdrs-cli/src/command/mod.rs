//! The commands: one file for each, with its `Args` and its `run`.

use clap::{Parser, Subcommand};

use crate::{env, outcome::Outcome, settings::Flags};

pub mod completions;
pub mod config;
pub mod man;
pub mod ports;
pub mod report;

/// Registers devices and writes their connection strings to them.
#[derive(Debug, Parser)]
#[command(name = "qdrs", version, arg_required_else_help = true, after_help = after_help(), after_long_help = after_long_help())]
pub struct Cli {
    /// For every command.
    #[command(flatten)]
    pub flags: Flags,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `qdrs` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tell what this station has done, as a table, CSV or JSON
    Report(report::Args),
    /// Show each setting and where it comes from
    Config(config::Args),
    /// Print the completions of a shell
    Completions(completions::Args),
    /// Print the manual page, or write all of them to a folder
    Man(man::Args),
}

fn after_help() -> String {
    "Try it without a service and without devices:  qdrs --sandbox provision --batch samples/serials.csv".into()
}

fn after_long_help() -> String {
    let mut text = after_help();
    text.push_str("\n\nExit codes:\n");
    let mut outcomes = Outcome::ALL;
    outcomes.sort_by_key(|outcome| outcome.code());
    for outcome in outcomes {
        text.push_str(&format!("  {:>3}  {}\n", outcome.code(), outcome.meaning()));
    }
    text.push('\n');
    text.push_str(&env::help());
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_text_is_as_it_should_be() {
        let mut cli = Cli::command().term_width(100);
        cli.build();
        insta::assert_snapshot!("help", cli.render_long_help());
        for command in cli.get_subcommands_mut().filter(|command| command.get_name() != "help") {
            insta::assert_snapshot!(format!("help-{}", command.get_name()), command.render_help());
        }
    }
}
