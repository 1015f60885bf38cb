//! `qdrs-service emulator`: a local IoT Hub, until it is interrupted.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use qdrs_core::connection_string::DeviceKey;
use zeroize::Zeroizing;

use crate::{
    emulator::{Emulator, EmulatorOptions, SUPPORTED, Tier},
    env,
};

#[derive(Debug, clap::Args)]
#[command(after_help = supported())]
pub(super) struct Args {
    /// Where to serve plain HTTP; loopback only, port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8081")]
    http: SocketAddr,
    /// Where to serve HTTPS too, with a certificate of the emulator's own authority
    #[arg(long, value_name = "ADDRESS:PORT", requires = "ca_dir")]
    https: Option<SocketAddr>,
    /// The hub's name, which tokens may give beside `localhost`
    #[arg(long, value_name = "NAME", default_value = "qdrs-emulator")]
    hub_name: String,
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
    /// Throttle as a hub of tier `s1` (100 registrations a minute a unit) or `s3` (5,000) does
    #[arg(long, value_name = "TIER", value_parser = ["s1", "s2", "s3"])]
    tier: Option<String>,
    /// How many units of the tier
    #[arg(long, value_name = "N", default_value_t = 1, requires = "tier")]
    units: u32,
    /// Let the throttle's time pass that many times faster
    #[arg(long, value_name = "N", default_value_t = 1.0, requires = "tier")]
    time_scale: f64,
    /// Take orders to fail, at /_emulator/faults, from this machine
    #[arg(long)]
    faults: bool,
}

/// The calls that are supported, for `--help`.
fn supported() -> String {
    let mut text = String::from("Supported, with SAS tokens, as the real hub does it:\n");
    for (method, path, what) in SUPPORTED {
        text.push_str(&format!("  {method:<6} {path:<36} {what}\n"));
    }
    text.push_str(
        "All other calls are answered 400 \"not supported by the emulator\": modules, direct methods,\n\
         jobs, configurations, digital twins, file uploads, feedback, tokens of Entra ID, devices\n\
         with certificates. MQTT and AMQP are not served.\n",
    );
    text
}

pub(super) async fn run(args: Args) -> Result<ExitCode> {
    let tier = args.tier.as_deref().map(|tier| if tier == "s3" { Tier::large(args.units) } else { Tier::standard(args.units) });
    let options = EmulatorOptions {
        http: args.http,
        https: args.https,
        hub_name: args.hub_name,
        host_names: args.host_name,
        owner_key: owner_key()?,
        store: args.store,
        ca_dir: args.ca_dir,
        tier: tier.map(|tier| tier.scaled(args.time_scale)),
        faults_over_http: args.faults,
        ..EmulatorOptions::default()
    };
    let running = Emulator::start(options).await?;
    match &args.connection_file {
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
        let ca = std::path::absolute(ca)?;
        writeln!(stderr, "its certificate authority: {}", ca.display())?;
        writeln!(stderr, "for the vendor's Python SDK: export REQUESTS_CA_BUNDLE='{}'", ca.display())?;
    }
    super::serve::told_to_end().await?;
    running.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// The owner's key from the environment, so that a connection string can stay the same from run to run.
fn owner_key() -> Result<Option<DeviceKey>> {
    let Some(text) = env::process(env::EMULATOR_KEY) else { return Ok(None) };
    let text = Zeroizing::new(text.to_string_lossy().into_owned());
    let key = DeviceKey::from_base64(text.trim()).with_context(|| format!("{} can't be used", env::EMULATOR_KEY))?;
    Ok(Some(key))
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
