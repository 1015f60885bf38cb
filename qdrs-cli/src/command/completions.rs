//! `qdrs completions`: what a shell needs to complete commands and flags.

use clap::CommandFactory;
use clap_complete::Shell;
use qdrs_core::api::Code;

use super::Cli;
use crate::{failure::Failure, outcome::Outcome, printer::to_stdout};

/// Print the completions of a shell.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Runs the command.
///
/// # Errors
///
/// When stdout can't be written.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let written = to_stdout(&generate(args.shell));
    written.map_err(|error| Failure::new(Code::FileUnwritable, format!("stdout can't be written: {error}")))?;
    Ok(Outcome::AllPassed)
}

fn generate(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "qdrs", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_a_script_with_every_command() {
        for shell in <Shell as clap::ValueEnum>::value_variants() {
            let script = String::from_utf8(generate(*shell)).expect("is text");
            for command in Cli::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell} does not know {}", command.get_name());
            }
        }
    }
}
