//! `qdrs-service serials`: makes signed serials; shows, releases and scraps what was registered.

use std::process::ExitCode;

use anyhow::Result;

mod generate;
mod key;
mod life;
mod symbol;

/// Make signed serials; show, release and scrap what was registered
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
    /// What became of a serial: every attempt at it, the oldest first
    Show(life::Named),
    /// Delete the device in the hub, so that the serial may be made again; what breaks off is finished by the same again
    Release(life::Ended),
    /// Delete the confirmed device in the hub, and never make the serial again
    Scrap(life::Ended),
}

pub(super) async fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::Generate(args) => generate::run(&args),
        Command::Key(args) => key::run(args),
        Command::Show(args) => life::show(args).await,
        Command::Release(args) => life::end(args, life::End::Release).await,
        Command::Scrap(args) => life::end(args, life::End::Scrap).await,
    }
}
