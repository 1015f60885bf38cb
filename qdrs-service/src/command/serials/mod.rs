//! `qdrs-service serials`: makes signed serials.

use std::process::ExitCode;

use anyhow::Result;

mod generate;
mod key;
mod symbol;

/// Make signed serials
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make serials that only the owner's key can make: CSV with the columns `serial` and `label`
    Generate(Box<generate::Args>),
    /// Make a signing key: a file with mode 0600 that the policy names
    Key(key::Args),
}

pub(super) async fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::Generate(args) => generate::run(&args),
        Command::Key(args) => key::run(args),
    }
}
