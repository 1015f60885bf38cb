//! `qdrs-service init`: writes the commented config, and never over another file.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};

use super::new_private_file;
use crate::config::{PLACES, SAMPLE};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to write it
    #[arg(value_name = "FILE", default_value = PLACES[0])]
    file: PathBuf,
}

pub(super) fn run(args: Args) -> Result<ExitCode> {
    let path = args.file.display();
    // It may come to hold a connection string.
    let mut file = new_private_file(&args.file)?;
    file.write_all(SAMPLE.as_bytes()).and_then(|()| file.sync_all()).with_context(|| format!("can't write {path}"))?;
    writeln!(
        std::io::stderr(),
        "{path} written. Next:\n  \
         put the hub owner connection string into the file `hub-connection` beside it (mode 0600),\n  \
         qdrs-service config check --config {path}\n  \
         qdrs-service access create line-1 --config {path}\n  \
         qdrs-service serve --config {path}"
    )?;
    Ok(ExitCode::SUCCESS)
}
