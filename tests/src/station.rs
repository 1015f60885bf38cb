//! A station: the real `qdrs`, with its own home, journal and access code, and a bench of practice devices.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use qdrs_cli::sandbox::practice::{Options, PracticeDevice};
use qdrs_core::connection_string::DeviceConnectionString;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
};

use crate::binary;

/// Practice devices at their ports; each port gets a fresh board after every PASS.
pub struct Bench {
    devices: Vec<PracticeDevice>,
}

impl Bench {
    /// So many ports.
    pub fn with(slots: usize) -> Self {
        Self::of((0..slots).map(|_| Options { swap: std::time::Duration::from_millis(1), ..Options::default() }))
    }

    /// Ports as told.
    pub fn of(options: impl IntoIterator<Item = Options>) -> Self {
        Self {
            devices: options
                .into_iter()
                .map(|options| PracticeDevice::start(options).expect("a practice device starts"))
                .collect(),
        }
    }

    /// The device at that port, from 0.
    pub fn device(&self, slot: usize) -> &PracticeDevice {
        &self.devices[slot]
    }

    fn ports(&self) -> Vec<String> {
        self.devices.iter().map(PracticeDevice::port_name).collect()
    }

    /// Every connection string that any board holds. What a killed station has left in part is none.
    pub fn held(&self) -> Vec<DeviceConnectionString> {
        let boards = self.devices.iter().flat_map(PracticeDevice::boards);
        boards.filter_map(|board| DeviceConnectionString::parse(&board.holds?).ok()).collect()
    }
}

/// A PC on the line.
pub struct Station {
    home: TempDir,
    name: String,
    url: String,
    code_file: PathBuf,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; none if it was killed.
    pub code: Option<i32>,
    /// What it printed for machines.
    pub stdout: String,
    /// What it told people.
    pub stderr: String,
}

impl Ended {
    /// Asserts the exit code, and shows what was printed if it is another.
    pub fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// The last line of stdout, which `--json` makes the summary.
    pub fn summary(&self) -> serde_json::Value {
        let last = self.stdout.lines().last().unwrap_or_default();
        let summary: serde_json::Value =
            serde_json::from_str(last).unwrap_or_else(|_| panic!("no summary:\n{}\n{}", self.stdout, self.stderr));
        assert_eq!(summary["event"], "summary", "{last}");
        summary
    }
}

impl Station {
    /// A station of that name that reaches the service at `url` with the code in `code_file`.
    pub fn new(name: &str, url: &str, code_file: &Path) -> Self {
        Self {
            home: tempfile::tempdir().expect("a home"),
            name: name.to_owned(),
            url: url.to_owned(),
            code_file: code_file.to_owned(),
        }
    }

    /// Another PC onto which the disk of this one was copied.
    pub fn cloned(&self) -> Self {
        let clone = Self::new(&self.name, &self.url, &self.code_file);
        for file in std::fs::read_dir(self.home()).expect("lists").map(|entry| entry.expect("an entry").path()) {
            if file.is_file() {
                std::fs::copy(&file, clone.home().join(file.file_name().expect("has a name"))).expect("copies");
            }
        }
        clone
    }

    /// The same PC, after its user's home was moved.
    pub fn moved(self) -> Self {
        let home = tempfile::tempdir().expect("a home");
        // Onto an empty folder, which it replaces.
        std::fs::rename(self.home.path(), home.path()).expect("moves");
        Self { home, name: self.name, url: self.url, code_file: self.code_file }
    }

    /// Where its journal is.
    pub fn journal(&self) -> PathBuf {
        self.home.path().join("journal.jsonl")
    }

    /// Its folder: all that its runs leave.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A batch file with those serials.
    pub fn batch(&self, serials: &[String]) -> PathBuf {
        let path = self.home.path().join("batch.csv");
        std::fs::write(&path, format!("serial\n{}\n", serials.join("\n"))).expect("the batch is written");
        path
    }

    /// `qdrs` with this station's settings.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("qdrs"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .env("QDRS_SERVICE", &self.url)
            .env("QDRS_STATION", &self.name)
            .env("QDRS_CODE_FILE", &self.code_file)
            .env("QDRS_JOURNAL", self.journal())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs `qdrs` to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        let running = self.command(arguments).output();
        let output = tokio::time::timeout(std::time::Duration::from_secs(240), running)
            .await
            .unwrap_or_else(|_| panic!("`qdrs {}` does not end", arguments.join(" ")))
            .expect("qdrs runs");
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// `qdrs provision --json --batch …` over the bench's ports.
    pub fn provision(&self, batch: &Path, bench: &Bench) -> Provision {
        self.provision_with(batch, bench, &[])
    }

    /// The same with more flags.
    pub fn provision_with(&self, batch: &Path, bench: &Bench, flags: &[&str]) -> Provision {
        self.provision_by(&[&["--device", "mxchip"], flags].concat(), batch, &bench.ports())
    }

    /// Provisions those serials, to the run's end.
    pub async fn run_batch(&self, serials: &[String], bench: &Bench) -> Ended {
        self.provision(&self.batch(serials), bench).ends().await
    }

    /// The same for that kind of device at those ports.
    pub fn provision_at(&self, device: &str, batch: &Path, ports: &[String]) -> Provision {
        self.provision_by(&["--device", device], batch, ports)
    }

    fn provision_by(&self, flags: &[&str], batch: &Path, ports: &[String]) -> Provision {
        let mut command = self.command(&["--json", "provision"]);
        command.args(flags).arg("--batch").arg(batch);
        for port in ports {
            command.args(["--port", port]);
        }
        let mut child = command.spawn().expect("qdrs starts");
        let events = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut talk = child.stderr.take().expect("stderr is piped");
        // Read beside it, or a full pipe would stop the station.
        let talk = tokio::spawn(async move {
            let mut text = Vec::new();
            let _ = talk.read_to_end(&mut text).await;
            String::from_utf8_lossy(&text).into_owned()
        });
        Provision { child, events, talk }
    }
}

/// A run of `qdrs provision` that is under way.
pub struct Provision {
    child: Child,
    events: BufReader<tokio::process::ChildStdout>,
    talk: tokio::task::JoinHandle<String>,
}

impl Provision {
    /// `kill -9` after so many events; the run's end if it came before. True if it was killed.
    pub async fn kill_after(mut self, events: u64) -> bool {
        let mut line = String::new();
        for _ in 0..events {
            line.clear();
            if self.events.read_line(&mut line).await.expect("events can be read") == 0 {
                break;
            }
        }
        let ended_before = self.child.try_wait().expect("the child can be asked").is_some();
        self.child.kill().await.expect("the child can be killed");
        !ended_before
    }

    /// Waits for its next event; none at the end.
    pub async fn event(&mut self) -> Option<serde_json::Value> {
        let mut line = String::new();
        let count = self.events.read_line(&mut line).await.expect("events can be read");
        (count > 0).then(|| serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}")))
    }

    /// The process id.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for its end.
    pub async fn ends(mut self) -> Ended {
        let mut stdout = String::new();
        let reads = tokio::time::timeout(std::time::Duration::from_secs(240), self.events.read_to_string(&mut stdout));
        if reads.await.is_err() {
            self.child.kill().await.expect("the child can be killed");
            panic!("`qdrs provision` does not end:\n{}", self.talk.await.unwrap_or_default());
        }
        let status = self.child.wait().await.expect("the child ends");
        Ended { code: status.code(), stdout, stderr: self.talk.await.unwrap_or_default() }
    }
}
