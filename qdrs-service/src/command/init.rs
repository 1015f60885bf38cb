//! `qdrs-service init`: writes the commented config and makes the ledger, and never over what is there.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail};

use super::new_private_file;
use crate::{
    config::{Config, Flags, PLACES, SAMPLE},
    env,
    ledger::SqliteLedger,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to write it; a config that is there is kept, and only its ledger is made if it has none yet
    #[arg(value_name = "FILE", default_value = PLACES[0])]
    file: PathBuf,
}

pub(super) fn run(args: Args) -> Result<ExitCode> {
    let (file, path) = (&args.file, args.file.display());
    let is_there = file.symlink_metadata().is_ok();
    if !is_there {
        // It may come to hold a connection string.
        let mut new = new_private_file(file)?;
        new.write_all(SAMPLE.as_bytes()).and_then(|()| new.sync_all()).with_context(|| format!("can't write {path}"))?;
    }
    let config = Config::load(&Flags { config: Some(file.clone()), ..Flags::default() }, &env::process)?;
    let ledger = config.ledger.display();
    let made = SqliteLedger::make(&config.ledger)?;
    if is_there && !made {
        bail!("{path} is there already, and it is left as it is, with its ledger {ledger}; name another file, or move it away");
    }
    let mut stderr = std::io::stderr().lock();
    writeln!(stderr, "{path} {}", if is_there { "is there already, and it is left as it is" } else { "written" })?;
    writeln!(stderr, "the ledger {ledger} {}", if made { "made" } else { "is there already, and it is left as it is" })?;
    writeln!(
        stderr,
        "Next:\n  \
         put the hub owner connection string into the file `hub-connection` beside it (mode 0600),\n  \
         qdrs-service config check --config {path}\n  \
         qdrs-service access create line-1 --config {path}\n  \
         qdrs-service serve --config {path}"
    )?;
    Ok(ExitCode::SUCCESS)
}
