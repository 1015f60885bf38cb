//! `qdrs-service init`: writes the commented config, and never over another file.

use std::{fs::OpenOptions, io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::config::{PLACES, SAMPLE};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to write it
    #[arg(value_name = "FILE", default_value = PLACES[0])]
    file: PathBuf,
}

pub(super) fn run(args: Args) -> Result<ExitCode> {
    let path = args.file.display();
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    // It may come to hold a connection string.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = match options.open(&args.file) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{path} is there already, and it is left as it is; name another file, or move it away")
        }
        Err(error) => return Err(error).with_context(|| format!("can't write {path}")),
    };
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
