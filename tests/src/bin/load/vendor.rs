//! The vendor's Python SDK at the same work, in a process of its own.

use std::{path::Path, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::world::Emulator;

/// The program, beside the one that judges the emulator.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vendor_sdk/create.py");

/// How the SDK is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// One device a call, one thread: as its samples show it.
    OneThread,
    /// One device a call, eight threads, each with its own client.
    EightThreads,
    /// A hundred devices a call, one thread: the most that a hub takes at once.
    Hundreds,
}

impl How {
    pub(crate) const ALL: [Self; 3] = [Self::OneThread, Self::EightThreads, Self::Hundreds];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::OneThread | Self::EightThreads => "create_device_with_sas",
            Self::Hundreds => "bulk, 100 a call",
        }
    }

    pub(crate) fn threads(self) -> usize {
        if self == Self::EightThreads { 8 } else { 1 }
    }
}

/// What the program prints.
#[derive(Debug, Deserialize)]
pub(crate) struct Made {
    pub(crate) devices: usize,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
}

pub(crate) async fn run(python: &Path, emulator: &Emulator, how: How, devices: usize, round: usize) -> Result<Made> {
    let ca = &emulator.ca_file;
    let output = tokio::process::Command::new(python)
        .arg(PROGRAM)
        .args(["--devices", &devices.to_string(), "--threads", &how.threads().to_string()])
        .args(["--prefix", &format!("v{round}{how:?}-"), "--a-call", if how == How::Hundreds { "100" } else { "1" }])
        .env("QDRS_TEST_OWNER", &**emulator.owner.reveal())
        // Many machines set these; the first of them that is set decides whom the SDK trusts.
        .envs(["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"].map(|name| (name, ca)))
        .envs(["NO_PROXY", "no_proxy"].map(|name| (name, "localhost,127.0.0.1")))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("{} does not start", python.display()))?;
    ensure!(output.status.success(), "the vendor's SDK failed:\n{}", String::from_utf8_lossy(&output.stderr));
    let made: Made = serde_json::from_slice(&output.stdout).context("what the SDK's program printed")?;
    ensure!(made.devices == devices, "the vendor's SDK made {} devices of {devices}", made.devices);
    Ok(made)
}
