//! `qdrs-service ledger`: what is done to the ledger as a whole, while no service serves from it.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Result;

use crate::{
    config::{Config, Flags},
    env,
    ledger::SqliteLedger,
};

/// Look after the ledger as a whole
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Bring a ledger of an older version to this one's; back it up first, older versions can't read it any more
    Migrate {
        #[command(flatten)]
        flags: Flags,
    },
}

pub(super) async fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::Migrate { flags } => migrate(&flags),
    }
}

fn migrate(flags: &Flags) -> Result<ExitCode> {
    let config = Config::load(flags, &env::process)?;
    let path = config.ledger.display();
    match SqliteLedger::migrate(&config.ledger)? {
        (before, after) if before == after => writeln!(io::stderr(), "the ledger {path} has version {after} already")?,
        (before, after) => writeln!(io::stderr(), "the ledger {path} had version {before}, and has {after} now")?,
    }
    Ok(ExitCode::SUCCESS)
}
