//! `qdrs-service emulator`: a local IoT Hub, until it is interrupted.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};

use crate::emulator::{Emulator, EmulatorOptions};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to serve plain HTTP; loopback only, port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8081")]
    http: SocketAddr,
    /// Where to serve HTTPS too, with a certificate of the emulator's own authority
    #[arg(long, value_name = "ADDRESS:PORT")]
    https: Option<SocketAddr>,
    /// A further name of this machine, for tokens and for the certificate; may be given several times
    #[arg(long, value_name = "NAME")]
    host_name: Vec<String>,
    /// An SQLite file that keeps the devices and the owner's key; without it both are gone when the emulator ends
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// The folder for the certificate authority; its `ca.pem` is what a client has to trust
    #[arg(long, value_name = "FOLDER")]
    ca_dir: Option<PathBuf>,
    /// Write the hub owner connection string to this file, mode 0600, instead of printing it
    #[arg(long, value_name = "FILE")]
    connection_file: Option<PathBuf>,
    /// Take orders to fail, at /_emulator/faults, from this machine
    #[arg(long)]
    faults: bool,
}

pub(super) async fn run(args: Args) -> Result<ExitCode> {
    let Args { http, https, host_name: host_names, store, ca_dir, connection_file, faults: faults_over_http } = args;
    let options = EmulatorOptions { http, https, host_names, store, ca_dir, faults_over_http, ..EmulatorOptions::default() };
    let running = Emulator::start(options).await?;
    match &connection_file {
        Some(path) => write_secret(path, &running.owner.reveal())?,
        // Printed since it is what one starts the emulator for; it opens nothing but this emulator.
        None => writeln!(io::stdout(), "{}", running.owner.reveal().as_str())?,
    }
    let mut stderr = io::stderr();
    writeln!(
        stderr,
        "emulator: {}{}",
        running.http_url,
        running.https_url.as_ref().map(|url| format!(" and {url}")).unwrap_or_default()
    )?;
    if let Some(ca) = running.ca_file() {
        writeln!(stderr, "its certificate authority: {}", ca.display())?;
    }
    super::serve::told_to_end().await?;
    running.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Writes or rewrites a file that only its owner may read.
fn write_secret(path: &Path, secret: &str) -> Result<()> {
    // The mode below holds for a new file only.
    if path.exists() {
        crate::config::check_mode(path)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).with_context(|| format!("can't write {}", path.display()))?;
    writeln!(file, "{secret}").with_context(|| format!("can't write {}", path.display()))
}
