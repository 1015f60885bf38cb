//! The processes that are measured: an emulator and services, each a child of its own, ended with this one.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use qdrs_core::{access::AccessCode, connection_string::OwnerConnectionString, sas};
use reqwest::Url;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use tokio::process::{Child, Command};

/// How long a child may take to get ready, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// The service's config. All limits are out of the way; the policy has a rule and both quotas, as a real one has.
const CONFIG: &str = r#"
version = 1
listen = "127.0.0.1:0"
ledger = "ledger.sqlite"
default_hub = "main"

[hubs.main]
connection_file = "hub-connection"
ca_file = "ca.pem"

[policies.bench]
product = "bench"
example = "QD-000000007"
least_evidence = "device-checked"
device_id = "{serial}"

[policies.bench.form]
trim = true
case = "upper"
length = 12
alphabet = "A-Z0-9-"
pattern = 'QD-(?<number>[0-9]{9})'
say = "`QD-` and nine digits"

[[policies.bench.rule]]
kind = "divisible"
by = 7
part = "number"
say = "the number must be a multiple of 7"

[policies.bench.quota]
total = 100_000_000
per_day = 100_000_000

[limits]
address_per_minute = 600_000_000
address_burst = 1_000_000
code_per_minute = 600_000_000
code_burst = 1_000_000

[network]
connections = 65_536
connections_per_network = 65_536
"#;

/// The hub: a child process, devices in memory.
pub(crate) struct Emulator {
    child: Child,
    pid: u32,
    http: Url,
    /// The hub owner's credential, for HTTPS.
    pub(crate) owner: OwnerConnectionString,
    /// The authority to trust.
    pub(crate) ca_file: PathBuf,
}

impl Emulator {
    pub(crate) async fn start(binary: &Path, folder: &Path) -> Result<Self> {
        let connection = folder.join("emulator-connection");
        let log = folder.join("emulator.log");
        let mut command = Command::new(binary);
        command.args(["emulator", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--ca-dir"]).arg(folder);
        command.arg("--connection-file").arg(&connection);
        let (child, pid) = spawn(command, &log)?;
        let http = said(&log, |line| Some(line.strip_prefix("emulator: ")?.split_whitespace().next()?.to_owned())).await?;
        // Written before that line was.
        let owner = OwnerConnectionString::parse(std::fs::read_to_string(&connection)?.trim())?;
        Ok(Self { child, pid, http: http.parse()?, owner, ca_file: folder.join("ca.pem") })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// How many devices it has, as its own statistics say.
    pub(crate) async fn devices(&self) -> Result<usize> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Statistics {
            total_device_count: usize,
        }
        qdrs_core::install_crypto();
        let mut url = self.http.join("statistics/devices")?;
        url.set_query(Some("api-version=2021-04-12"));
        let token = sas::token("localhost", self.owner.key(), Timestamp::now().as_second() + 600, Some(&self.owner.key_name));
        let http = reqwest::Client::builder().no_proxy().build()?;
        let answer = http.get(url).header("authorization", token.as_str()).send().await?.error_for_status()?;
        Ok(serde_json::from_slice::<Statistics>(&answer.bytes().await?)?.total_device_count)
    }

    pub(crate) async fn stop(self) -> Result<()> {
        end(self.child, self.pid).await
    }
}

/// A service: a child process over a ledger of its own.
pub(crate) struct Service {
    child: Child,
    pid: u32,
    /// Where callers reach it: plain HTTP on loopback.
    pub(crate) url: Url,
    code: secrecy::SecretString,
}

impl Service {
    /// Makes config, ledger and access code in the folder, and starts it. Its log is a file there, as is usual.
    pub(crate) async fn start(binary: &Path, folder: &Path, emulator: &Emulator) -> Result<Self> {
        let config = folder.join("service.toml");
        std::fs::write(&config, CONFIG)?;
        private(&folder.join("hub-connection"), &emulator.owner.reveal())?;
        if folder.join("ca.pem") != emulator.ca_file {
            std::fs::copy(&emulator.ca_file, folder.join("ca.pem"))?;
        }
        let made = Command::new(binary).arg("init").arg(&config).env_clear().output().await?;
        if !made.status.success() {
            bail!("no ledger: {}", String::from_utf8_lossy(&made.stderr));
        }
        let made = Command::new(binary)
            .args(["access", "create", "bench", "--quota", "100000000", "--config"])
            .arg(&config)
            .env_clear()
            .output()
            .await?;
        if !made.status.success() {
            bail!("no access code: {}", String::from_utf8_lossy(&made.stderr));
        }
        let code = secrecy::SecretString::from(String::from_utf8(made.stdout)?.trim());
        let log = folder.join("service.log");
        let mut command = Command::new(binary);
        command.arg("serve").arg("--config").arg(&config).env_clear();
        let (child, pid) = spawn(command, &log)?;
        let url = said(&log, |line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            (line["message"] == "listening").then(|| line["url"].as_str().map(str::to_owned))?
        })
        .await?;
        Ok(Self { child, pid, url: url.parse()?, code })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The access code that its callers sign with.
    pub(crate) fn code(&self) -> Result<AccessCode> {
        Ok(AccessCode::parse(self.code.expose_secret())?)
    }

    pub(crate) async fn stop(self) -> Result<()> {
        end(self.child, self.pid).await
    }
}

fn spawn(mut command: Command, log: &Path) -> Result<(Child, u32)> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(log)?)
        .kill_on_drop(true)
        .spawn()
        .context("the service's binary does not start")?;
    let pid = child.id().context("it ended at once")?;
    Ok((child, pid))
}

/// Waits for the line of the log that tells what is looked for.
async fn said(log: &Path, find: impl Fn(&str) -> Option<String>) -> Result<String> {
    let look = async {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        loop {
            tick.tick().await;
            let text = std::fs::read_to_string(log).unwrap_or_default();
            // Only whole lines.
            if let Some(found) = text.rsplit_once('\n').and_then(|(whole, _)| whole.lines().find_map(&find)) {
                return found;
            }
        }
    };
    match tokio::time::timeout(PATIENCE, look).await {
        Ok(found) => Ok(found),
        Err(_) => bail!("it does not get ready; its log:\n{}", std::fs::read_to_string(log).unwrap_or_default()),
    }
}

/// As a supervisor ends it.
async fn end(mut child: Child, pid: u32) -> Result<()> {
    let told = Command::new("kill").arg(pid.to_string()).status().await?;
    if !told.success() || tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
        child.kill().await?;
    }
    Ok(())
}

fn private(path: &Path, text: &str) -> Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}
