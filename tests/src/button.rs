//! The button to practise on (`samples/practice-button`), a process of its own, and its boot rules in Rust.
//!
//! The rules are the button's, written down again from what its firmware does, so that a test judges the flash by itself
//! and not by what the practice button says: `config.json` if it parses, else `config.json.bak`, else nothing.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

use qdrs_core::connection_string::DeviceConnectionString;
use serde_json::{Map, Value};

use crate::repository;

/// The settings of a button.
pub type Flash = Map<String, Value>;

/// A practice button at a port; it ends when dropped.
pub struct Button {
    process: Child,
    hand: Option<ChildStdin>,
    port: String,
    folder: PathBuf,
}

impl Button {
    /// Puts a button on `folder` (the boards that were there before, if any) and waits until its port is there.
    pub fn start(folder: &Path, options: &[&str]) -> Self {
        // Not through `run`: the test command has installed what it needs, and a kill must meet the board itself.
        let mut process = Command::new("node")
            .arg(repository().join("samples/practice-button/button.mjs"))
            .arg("--folder")
            .arg(folder)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node runs the practice button");
        let mut port = String::new();
        BufReader::new(process.stdout.take().expect("stdout is piped")).read_line(&mut port).expect("its port can be read");
        assert!(port.starts_with("tcp://"), "the practice button does not start: run tests/run, which installs it");
        let hand = process.stdin.take();
        Self { process, hand, port: port.trim().to_owned(), folder: folder.to_owned() }
    }

    /// The port's name.
    pub fn port_name(&self) -> &str {
        &self.port
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Puts in the next board.
    pub fn next(&mut self) {
        self.hand.as_mut().expect("stdin is piped").write_all(b"next\n").expect("the practice button listens");
    }

    /// Has its power failed?
    pub fn is_dead(&mut self) -> bool {
        self.process.try_wait().expect("the child can be asked").is_some()
    }

    /// The power fails.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// The flash of each board that was in the slot, the first one first.
    pub fn boards(&self) -> Vec<PathBuf> {
        boards(&self.folder)
    }
}

impl Drop for Button {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The flash folders below a practice button's folder.
pub fn boards(folder: &Path) -> Vec<PathBuf> {
    let slot = folder.join("slot-1");
    (1..).map(|number| slot.join(format!("board-{number}"))).take_while(|board| board.exists()).collect()
}

/// What the firmware has in memory after it boots on that flash; none if it finds neither file.
pub fn settings_that_a_boot_would_load(flash: &Path) -> Option<Flash> {
    ["config.json", "config.json.bak"].iter().find_map(|name| serde_json::from_slice(&std::fs::read(flash.join(name)).ok()?).ok())
}

/// The factory's settings, as every fresh board has them.
pub fn factory_settings() -> Flash {
    let file = repository().join("samples/practice-button/flash/config.json");
    serde_json::from_slice(&std::fs::read(file).expect("the factory settings are there")).expect("they are JSON")
}

/// The connection string in those settings; none where there is none yet.
pub fn connection_string(settings: &Flash) -> Option<DeviceConnectionString> {
    let text = |key: &str| settings.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (host, device, key) = (text("iothub")?, text("iotdevicename")?, text("iotdevicesecret")?);
    Some(
        DeviceConnectionString::parse(&format!("HostName={host};DeviceId={device};SharedAccessKey={key}"))
            .expect("a board holds a connection string"),
    )
}

/// All settings but those that make up the connection string.
pub fn others(settings: &Flash) -> Flash {
    let mut others = settings.clone();
    for key in ["iothub", "iotdevicename", "iotdevicesecret"] {
        others.remove(key);
    }
    others
}
