//! The button to practise on (`samples/practice-button`), a process of its own, and its boot rules in Rust.
//!
//! The rules are the button's, written down again from what its firmware does, so that a test judges the flash by itself
//! and not by what the practice button says: `config.json` if it parses, else `config.json.bak`, else nothing.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver},
    },
    time::Duration,
};

use qdrs_core::connection_string::DeviceConnectionString;
use serde_json::{Map, Value};

use crate::repository;

/// The settings of a button.
pub type Flash = Map<String, Value>;

/// A practice button at a port; its board is taken out when dropped.
pub struct Button {
    bench: Option<Bench>,
    folder: PathBuf,
    said: Vec<String>,
}

/// A process with one port for practice buttons. A start costs more than a whole visit, so it goes from story to story;
/// it ends with the test's process, which holds its standard input.
struct Bench {
    hand: std::process::ChildStdin,
    said: Receiver<String>,
    port: String,
    pid: u32,
}

/// Those without a board.
static FREE: Mutex<Vec<Bench>> = Mutex::new(Vec::new());

impl Bench {
    fn start(words: &[String]) -> Self {
        // Not through `run`: the test command has installed what it needs. No environment: node would look at each of
        // the system's certificates, and at whatever else it is told there.
        let mut process = Command::new("node")
            .arg(repository().join("samples/practice-button/button.mjs"))
            .args(words)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node runs the practice button");
        let pid = process.id();
        let hand = process.stdin.take().expect("stdin is piped");
        let lines = BufReader::new(process.stdout.take().expect("stdout is piped")).lines();
        let (says, said) = mpsc::channel();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).take_while(|line| says.send(line.clone()).is_ok()).for_each(drop);
            let _ = process.wait();
        });
        Self { hand, said, port: String::new(), pid }
    }

    /// Waits until it answers so, and says what came before.
    fn awaits(&self, answer: impl Fn(&str) -> bool) -> Option<(Vec<String>, String)> {
        let mut before = Vec::new();
        loop {
            let line = self.said.recv_timeout(Duration::from_secs(60)).ok()?;
            if answer(&line) {
                return Some((before, line));
            }
            before.push(line);
        }
    }

    fn tell(&mut self, words: &str) {
        writeln!(self.hand, "{words}").expect("the practice button listens");
    }
}

impl Button {
    /// Puts a button on `folder` (the boards that were there before, if any) and waits until its port is there.
    pub fn start(folder: &Path, options: &[&str]) -> Self {
        let home = folder.to_string_lossy();
        let words: Vec<String> = ["--folder", &home].iter().chain(options).map(|&word| word.to_owned()).collect();
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut bench = free.map_or_else(
            || Bench::start(&words),
            |mut bench| {
                bench.tell(&format!("board {}", serde_json::json!(words)));
                bench
            },
        );
        // A board whose power fails while it starts says so before.
        let (said, port) = bench
            .awaits(|line| line.starts_with("tcp://"))
            .expect("the practice button does not start: run tests/run, which installs it");
        bench.port = port;
        Self { bench: Some(bench), folder: folder.to_owned(), said }
    }

    fn bench(&self) -> &Bench {
        self.bench.as_ref().expect("is there until dropped")
    }

    fn hand(&mut self, word: &str) {
        let bench = self.bench.as_mut().expect("is there until dropped");
        bench.tell(word);
    }

    /// The port's name.
    pub fn port_name(&self) -> &str {
        &self.bench().port
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.bench().pid
    }

    /// Puts in the next board.
    pub fn next(&mut self) {
        self.hand("next");
    }

    /// Switches on the board that is in.
    pub fn press(&mut self) {
        self.hand("press");
    }

    /// The power fails.
    pub fn cut(&mut self) {
        self.hand("cut");
    }

    /// Has its power failed?
    pub fn power_failed(&mut self) -> bool {
        self.has_said("cut")
    }

    /// Has a board switched itself off?
    pub fn was_off(&mut self) -> bool {
        self.has_said("off")
    }

    /// True once a board has restarted.
    pub fn was_reset(&mut self) -> bool {
        self.has_said("reset")
    }

    fn has_said(&mut self, word: &str) -> bool {
        let bench = self.bench.as_ref().expect("is there until dropped");
        self.said.extend(bench.said.try_iter());
        self.said.iter().any(|line| line == word)
    }

    /// The flash of each board that was in the slot, the first one first.
    pub fn boards(&self) -> Vec<PathBuf> {
        boards(&self.folder)
    }
}

impl Drop for Button {
    fn drop(&mut self) {
        if let Some(mut bench) = self.bench.take().filter(|_| !std::thread::panicking()) {
            bench.tell("out");
            bench.awaits(|line| line == "out").expect("the practice button answers");
            FREE.lock().unwrap_or_else(PoisonError::into_inner).push(bench);
        }
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
