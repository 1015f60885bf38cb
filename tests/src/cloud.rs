//! A hub and a service: the emulator in this process, `qdrs-service` in one of its own, over a ledger on disk.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use qdrs_service::emulator::{Emulator, EmulatorOptions, Running};
use tempfile::TempDir;
use tokio::process::Child;

use crate::{Books, binary, repository};

/// A hub and a service, in a folder of their own.
pub struct Cloud {
    /// The hub; its fault switch and its devices are at hand.
    pub hub: Running,
    folder: TempDir,
    port: u16,
    service: Option<Child>,
}

impl Cloud {
    /// Starts both; the policy is the sample's.
    pub async fn start() -> Self {
        let hub = Emulator::start(EmulatorOptions::default()).await.expect("the emulator starts");
        let folder = tempfile::tempdir().expect("a temporary folder");
        // Bound and let go again: the service must come back at the same address after a kill.
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        write_private(&folder.path().join("hub-connection"), &hub.owner_http.reveal());
        let config = format!(
            "version = 1\nlisten = \"127.0.0.1:{port}\"\nledger = \"ledger.sqlite\"\ndefault_hub = \"main\"\n\
             policy_files = [{policy:?}]\n\
             [hubs.main]\nconnection_file = \"hub-connection\"\nendpoint = {endpoint:?}\n\
             [limits]\naddress_per_minute = 600000\naddress_burst = 10000\ncode_per_minute = 600000\ncode_burst = 10000\n",
            policy = repository().join("samples/policies/multiples-of-7.toml"),
            endpoint = hub.http_url,
        );
        std::fs::write(folder.path().join("service.toml"), config).expect("the config is written");
        let mut cloud = Self { hub, folder, port, service: None };
        cloud.start_service().await;
        cloud
    }

    /// Where stations reach the service.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// `host:port` of the service, for a [`crate::Proxy`].
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts the service and waits until it is ready.
    pub async fn start_service(&mut self) {
        self.start_service_after(":").await;
    }

    /// The same in a shell that has run a command before, such as `ulimit -n 256`.
    pub async fn start_service_after(&mut self, command: &str) {
        let log = std::fs::File::options().create(true).append(true).open(self.log()).expect("the log opens");
        let child = tokio::process::Command::new("/bin/sh")
            .arg("-c")
            .arg(format!("{command} && exec \"$0\" \"$@\""))
            .arg(binary("qdrs-service"))
            .arg("serve")
            .arg("--config")
            .arg(self.folder.path().join("service.toml"))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the service starts");
        self.service = Some(child);
        let ready = format!("{}readyz", self.url());
        qdrs_core::install_crypto();
        let client = reqwest::Client::new();
        let answers = async {
            let mut tick = tokio::time::interval(std::time::Duration::from_millis(10));
            loop {
                tick.tick().await;
                if client.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()) {
                    return;
                }
            }
        };
        let in_time = tokio::time::timeout(std::time::Duration::from_secs(30), answers).await;
        assert!(
            in_time.is_ok(),
            "the service does not get ready; its log:\n{}",
            std::fs::read_to_string(self.log()).unwrap_or_default()
        );
    }

    /// `kill -9`: nothing is tidied up.
    pub async fn kill_service(&mut self) {
        if let Some(mut service) = self.service.take() {
            service.kill().await.expect("the service can be killed");
        }
    }

    /// The service's process id, while it runs.
    pub fn service_pid(&self) -> Option<u32> {
        self.service.as_ref().and_then(Child::id)
    }

    /// Makes an access code and keeps it in a 0600 file, as the owner hands it out.
    pub fn access_code(&self, name: &str, flags: &[&str]) -> PathBuf {
        let out = Command::new(binary("qdrs-service"))
            .args(["access", "create", name])
            .args(flags)
            .arg("--config")
            .arg(self.folder.path().join("service.toml"))
            .env_clear()
            .output()
            .expect("the owner's command runs");
        assert!(out.status.success(), "access create: {}", String::from_utf8_lossy(&out.stderr));
        let path = self.folder.path().join(format!("{name}.code"));
        write_private(&path, String::from_utf8_lossy(&out.stdout).trim());
        path
    }

    /// Everything that ledger and hub say of the serials.
    pub fn books(&self) -> Books {
        Books::read(&self.folder.path().join("ledger.sqlite"), &self.hub)
    }

    /// The folder with config, ledger, log and codes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The service's log, one JSON object a line.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("service.log")
    }
}

fn write_private(path: &Path, text: &str) {
    std::fs::write(path, text).expect("the file is written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("the mode is set");
    }
}
