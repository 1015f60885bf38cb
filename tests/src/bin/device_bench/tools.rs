//! Who is compared: QDRS's driver, a plain script, `mpremote`, `ampy`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use qdrs_cli::device::{self, Kind};
use qdrs_core::connection_string::{DeviceConnectionString, DeviceKey};
use qdrs_tests::{
    connection_string, factory_settings,
    machine::{CpuSeconds, thread_nanos},
    others, settings_that_a_boot_would_load,
};
use serde_json::Value;

use crate::{
    figures::Sample,
    site::{Timer, Visit},
    wire::{self, Marks, Wire, ms},
};

/// The plain script.
pub(crate) const PLAIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/repl_tools/plain.py");

/// The credential's names in the bench: of no real hub.
const HOST_NAME: &str = "qdrs-bench.azure-devices.net";
const DEVICE_ID: &str = "QD-0010003";
/// All three values of it; a key is 32 bytes, as base64.
pub(crate) const VALUES_BYTES: usize = HOST_NAME.len() + DEVICE_ID.len() + 44;

/// Leaving the raw REPL.
const LEAVE: &[u8] = b"\x02";

/// Who writes the board.
#[derive(Debug, Clone)]
pub(crate) enum Tool {
    /// QDRS's driver through its library, on such a board.
    Driver(Timer),
    /// The plain script, run by this Python.
    Plain(PathBuf),
    /// This `mpremote`.
    Mpremote(PathBuf),
    /// This `ampy`.
    Ampy(PathBuf),
}

impl Tool {
    /// All; those in Python only if there is a folder with them.
    pub(crate) fn all(python: Option<&Path>) -> Vec<Self> {
        let mut all = vec![Self::Driver(Timer::Stopped), Self::Driver(Timer::Ticks)];
        if let Some(bin) = python {
            all.extend([Self::Plain(bin.join("python")), Self::Mpremote(bin.join("mpremote")), Self::Ampy(bin.join("ampy"))]);
        }
        all
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Driver(Timer::Stopped) => "QDRS, driver alone",
            Self::Driver(Timer::Ticks) => "QDRS, and the timer ticks",
            Self::Plain(_) => "plain script",
            Self::Mpremote(_) => "mpremote cp + sha256sum",
            Self::Ampy(_) => "ampy put + get",
        }
    }

    /// What of QDRS's work it leaves undone.
    pub(crate) fn lacks(&self) -> &'static str {
        match self {
            Self::Driver(_) => "",
            Self::Plain(_) => "no identity, no timer, no backup, no repair; all settings replaced; nothing after the rename",
            Self::Mpremote(_) => "the same, and no rename: the file in use is emptied, then written",
            Self::Ampy(_) => "the same, and two soft resets",
        }
    }

    pub(crate) fn timer(&self) -> Timer {
        if let Self::Driver(timer) = self { *timer } else { Timer::Stopped }
    }

    fn marks(&self) -> Marks {
        match self {
            Self::Driver(_) => Marks { write: b"def X(t)", leave: b"power.value(0)" },
            Self::Plain(_) | Self::Mpremote(_) => Marks { write: b"f=open('", leave: LEAVE },
            Self::Ampy(_) => Marks { write: b"f = open('", leave: LEAVE },
        }
    }

    /// One visit.
    pub(crate) fn run(&self, visit: &Visit, tells: bool) -> Result<Sample> {
        let credential = DeviceConnectionString {
            host_name: HOST_NAME.to_owned(),
            device_id: DEVICE_ID.to_owned(),
            key: DeviceKey::generate(),
        };
        let (command_ms, cpu_ms) = match self {
            Self::Driver(_) => drive(visit.port.port_name(), &credential)?,
            _ => self.run_python(visit, &credential)?,
        };
        let by_itself = matches!(self, Self::Driver(_)).then_some(credential.device_id.as_bytes());
        let wire = Wire::of(&visit.line, self.marks(), by_itself)?;
        if tells {
            wire::tell_turns(self.name(), &visit.line.record())?;
        }
        let found = settings_that_a_boot_would_load(&visit.flash).context("the board has lost its settings")?;
        let held = connection_string(&found).context("the board holds no connection string")?;
        ensure!(*held.reveal() == *credential.reveal(), "{}: the board holds something else", self.name());
        ensure!(others(&found) == others(&factory_settings()), "{}: other settings have changed", self.name());
        Ok(Sample { wire, command_ms, cpu_ms })
    }

    fn run_python(&self, visit: &Visit, credential: &DeviceConnectionString) -> Result<(f64, f64)> {
        let folder = tempfile::tempdir()?;
        let (file, back) = (folder.path().join("config.json"), folder.path().join("back.json"));
        fs::write(&file, settings_with(credential)?)?;
        let port = visit.port.port_name();
        let commands = match self {
            Self::Plain(python) => {
                let mut command = Command::new(python);
                command.arg(PLAIN).arg(port).arg(&file);
                vec![command]
            }
            Self::Mpremote(mpremote) => {
                let mut command = Command::new(mpremote);
                command.args(["connect", port, "resume", "fs", "cp", "-f"]).arg(&file);
                command.args([":config.json", "+", "fs", "sha256sum", ":config.json"]);
                vec![command]
            }
            Self::Ampy(ampy) => {
                let (mut put, mut get) = (Command::new(ampy), Command::new(ampy));
                put.args(["-p", port, "put"]).arg(&file).arg("config.json");
                get.args(["-p", port, "get", "config.json"]).arg(&back);
                vec![put, get]
            }
            Self::Driver(_) => Vec::new(),
        };
        let (began, cpu) = (Instant::now(), CpuSeconds::of_ended_children()?);
        let mut said = String::new();
        for mut command in commands {
            let output = command.stdin(Stdio::null()).output().with_context(|| format!("{} does not start", self.name()))?;
            said = String::from_utf8_lossy(&output.stdout).into_owned();
            let talk = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{} failed:\n{said}\n{talk}", self.name());
        }
        let result = (ms(began.elapsed()), CpuSeconds::of_ended_children()?.since(cpu) * 1e3);
        let written = fs::read(&file)?;
        match self {
            // It prints what it found; comparing is left to whoever calls it.
            Self::Mpremote(_) => ensure!(said.contains(&sha256(&written)), "mpremote found another hash: {said}"),
            Self::Ampy(_) => ensure!(fs::read(&back)? == written, "ampy got something else back"),
            _ => {}
        }
        Ok(result)
    }

    /// How long the program takes that does nothing.
    pub(crate) fn starts_ms(&self) -> Result<Option<f64>> {
        let (program, arguments, times) = match self {
            Self::Driver(_) => return Ok(None),
            Self::Plain(python) => (python, &["-c", "import binascii, hashlib, serial"][..], 1.0),
            Self::Mpremote(mpremote) => (mpremote, &["version"][..], 1.0),
            // It is started twice.
            Self::Ampy(ampy) => (ampy, &["--version"][..], 2.0),
        };
        let began = Instant::now();
        let output = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
        ensure!(output.status.success(), "{} does not start", self.name());
        Ok(Some(ms(began.elapsed()) * times))
    }
}

/// All calls of one visit: how long they took, and this thread's CPU time, in milliseconds.
fn drive(port: &str, credential: &DeviceConnectionString) -> Result<(f64, f64)> {
    let (began, cpu) = (Instant::now(), thread_nanos()?);
    let mut device = device::open(&Kind::Texxmo.into(), port, Arc::default())?;
    device.identify()?;
    device.write(credential)?;
    let back = device.read_back()?.context("the board holds nothing")?;
    ensure!(*back.reveal() == *credential.reveal(), "the board holds something else");
    device.finish()?;
    Ok((ms(began.elapsed()), (thread_nanos()? - cpu) as f64 / 1e6))
}

/// The factory's settings with the credential in them, as the other tools send them: the whole file.
fn settings_with(credential: &DeviceConnectionString) -> Result<Vec<u8>> {
    let mut settings = factory_settings();
    let key = credential.key.to_base64();
    for (name, value) in
        [("iothub", &*credential.host_name), ("iotdevicename", &*credential.device_id), ("iotdevicesecret", &**key)]
    {
        settings.insert(name.to_owned(), Value::from(value));
    }
    Ok(serde_json::to_vec(&settings)?)
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}
