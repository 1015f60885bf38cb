//! The sandbox: all that QDRS needs around it, in this process and without hardware.
//!
//! The service, a hub to register in and practice devices at real ports, over the same code paths and sockets as in
//! earnest. Its state is a temporary folder; the access code is made for it and stays in memory, so neither the key
//! store nor the station's journal is touched. All is gone when it is dropped.

use std::{collections::BTreeMap, io, net::TcpListener, sync::Arc};

use jiff::Timestamp;
use qdrs_core::{
    access::AccessCode,
    api::{Code, Kind, Permission},
    explain::Explain,
    hub::{AzureHub, Hub, HubSetupError},
    policy::{Policy, PolicyError},
};
use qdrs_service::{
    emulator::{self, Emulator, EmulatorError, EmulatorOptions},
    ledger::{Access, AccessState, Ledger, LedgerError, SqliteLedger},
    limits::Limits,
    network::Network,
    registrar::Registrar,
    serve::{self, Listen, ServeError},
};
use tempfile::TempDir;
use url::Url;

use crate::{
    device,
    settings::{Folders, Origin, Setting, Settings, SettingsError},
};
use practice::PracticeDevice;

pub mod practice;

/// So many places with a practice device in each.
pub const DEVICES: usize = 4;
/// The policy's name, that of its file.
const POLICY: &str = "multiples-of-7";
/// Serials that are multiples of 7, as in `samples/serials.csv`.
const POLICY_TOML: &str = include_str!("../../../samples/policies/multiples-of-7.toml");
/// The hub's name in the service.
const HUB: &str = "main";
/// The access code's name in the service.
const ACCESS: &str = "sandbox station";

/// Why there is no sandbox. Most often the system is short of something: ports, disk, pseudo-terminals.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// No temporary folder.
    #[error("the sandbox's temporary folder can't be made: {0}")]
    Folder(#[source] io::Error),
    /// The hub does not start.
    #[error("the sandbox's hub does not start: {0}")]
    Emulator(#[from] EmulatorError),
    /// The hub can't be reached.
    #[error("the sandbox's hub can't be used: {0}")]
    Hub(#[from] HubSetupError),
    /// The ledger can't be used.
    #[error("the sandbox's ledger can't be used: {0}")]
    Ledger(#[from] LedgerError),
    /// The sample policy is wrong.
    #[error("the sandbox's policy is wrong: {0}")]
    Policy(#[from] PolicyError),
    /// The service does not start.
    #[error("the sandbox's service does not start: {0}")]
    Service(#[from] ServeError),
    /// No port on this computer.
    #[error("the sandbox finds no free port on this computer: {0}")]
    Port(#[source] io::Error),
    /// No practice devices.
    #[error("the sandbox's practice devices do not start: {0}")]
    Devices(#[source] io::Error),
    /// Another kind of device was asked for, at no port.
    #[error("the sandbox's own practice devices are of kind `mxchip`, not `{0}`")]
    OtherKind(String),
    /// The settings can't take it.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// One of our own addresses is none.
    #[error("the sandbox has an address that is none: {0}")]
    Address(#[from] url::ParseError),
}

impl Explain for SandboxError {
    fn code(&self) -> Code {
        match self {
            Self::Folder(_) => Code::FileUnwritable,
            Self::Emulator(_) | Self::Port(_) | Self::Devices(_) | Self::OtherKind(_) => Code::SettingInvalid,
            Self::Hub(error) => error.code(),
            Self::Ledger(error) => error.code(),
            Self::Service(error) => error.code(),
            Self::Settings(error) => error.code(),
            Self::Policy(_) | Self::Address(_) => Code::Internal,
        }
    }

    fn help(&self) -> String {
        match self {
            Self::Folder(_) => "check the folder for temporary files (`TMPDIR`), its permissions and free space".into(),
            Self::Emulator(_) | Self::Port(_) => "the sandbox needs two free ports on this very computer (127.0.0.1)".into(),
            Self::OtherKind(_) => {
                "name the device's port with `--port`; `samples/practice-button` is a button to practise on".into()
            }
            Self::Devices(_) => "the sandbox needs pseudo-terminals; with `--port` it takes real devices instead".into(),
            _ => self.code().help().to_owned(),
        }
    }
}

/// Service, hub and practice devices, until it is dropped.
pub struct Sandbox {
    devices: Vec<PracticeDevice>,
    service: serve::Running,
    hub: emulator::Running,
    // The last: its files are in use by the others.
    _folder: TempDir,
}

/// Starts all of it, and sets the settings so that every command works with it.
///
/// Practice devices are made unless ports are set already.
///
/// # Errors
/// When the system is short of something.
pub async fn start(settings: &mut Settings) -> Result<Sandbox, SandboxError> {
    let asked_for = matches!(settings.device.origin, Origin::Flag(_));
    if asked_for && settings.ports.is_empty() && settings.device.value != device::Kind::Mxchip.as_str() {
        return Err(SandboxError::OtherKind(settings.device.value.clone()));
    }
    let folder = tempfile::Builder::new().prefix("qdrs-sandbox-").tempdir().map_err(SandboxError::Folder)?;
    let hub = Emulator::start(EmulatorOptions::default()).await?;
    let code = AccessCode::generate(Kind::Station);
    let ledger = Arc::new(SqliteLedger::open_or_make(&folder.path().join("ledger.sqlite"))?);
    ledger.access_create(access(&code)).await?;
    let client: Arc<dyn Hub> = Arc::new(AzureHub::new(hub.owner_http.clone(), Some(Url::parse(&hub.http_url)?), None)?);
    let policies = BTreeMap::from([(POLICY.to_owned(), Policy::parse(POLICY, POLICY_TOML)?)]);
    let registrar = Registrar::new(ledger, BTreeMap::from([(HUB.to_owned(), client)]), policies);
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(SandboxError::Port)?;
    let service = serve::start_with(registrar, Limits::none(), Network::default(), Listen { listener, tls: None }).await?;

    settings.folders = Folders::below(folder.path());
    settings.code = Some(code);
    let mut url = settings.service.clone();
    url.set_for_sandbox(Some(service.url.clone()));
    settings.service = url;
    settings.set_service(Setting { value: service.url.clone(), origin: Origin::Sandbox })?;
    let mut devices = Vec::new();
    if settings.ports.is_empty() {
        for _ in 0..DEVICES {
            devices.push(PracticeDevice::start(practice::Options::default()).map_err(SandboxError::Devices)?);
        }
        settings.ports.set_for_sandbox(devices.iter().map(PracticeDevice::port_name).collect());
        settings.device.set_for_sandbox(device::Kind::Mxchip.as_str().to_owned());
    }
    Ok(Sandbox { devices, service, hub, _folder: folder })
}

/// How often the station may release what it made.
const REWORK: u64 = 1000;

/// What the sandbox's station may do: all that a station may.
fn access(code: &AccessCode) -> Access {
    Access {
        key_id: code.key_id(),
        keys: code.public(),
        name: ACCESS.to_owned(),
        kind: Kind::Station,
        policy: POLICY.to_owned(),
        hub: HUB.to_owned(),
        quota: None,
        made: 0,
        rework: REWORK,
        reworked: 0,
        rate_per_minute: None,
        not_before: None,
        expires: None,
        permissions: Permission::ALL.to_vec(),
        state: AccessState::Active,
        created_at: Timestamp::now(),
    }
}

impl Sandbox {
    /// What runs where, and that nothing of it stays: for standard error.
    pub fn said(&self) -> String {
        let devices = match self.devices.len() {
            0 => "the devices at the ports you named".to_owned(),
            count => {
                let ports: Vec<_> = self.devices.iter().map(PracticeDevice::port_name).collect();
                format!("{count} practice devices at {}", ports.join(", "))
            }
        };
        format!(
            "sandbox: service at {}, hub at {}, {devices}\n\
             sandbox: all of it runs in this process and is temporary; no real service and no real hub is touched",
            self.service.url, self.hub.http_url
        )
    }

    /// The practice devices, for tests that look into them.
    pub fn devices(&self) -> &[PracticeDevice] {
        &self.devices
    }

    /// The hub, for tests that look into it or break it.
    pub fn hub(&self) -> &emulator::Running {
        &self.hub
    }

    /// Where the service is.
    pub fn service_url(&self) -> &Url {
        &self.service.url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn it_starts_twice_and_keeps_nothing() {
        let outer = tempfile::tempdir().expect("a folder");
        let mut settings = Settings::resolve(&Default::default(), &|_| None, &Folders::below(outer.path())).expect("settles");
        settings.sandbox = true;
        let mut other = settings.clone();
        let sandbox = start(&mut settings).await.expect("starts");
        let second = start(&mut other).await.expect("starts beside the first");
        assert_ne!(sandbox.service_url(), second.service_url());
        assert_eq!(settings.ports.len(), DEVICES);
        let journal = settings.journal_path().expect("is set").to_owned();
        assert!(!journal.starts_with(outer.path()), "the station's own journal is left alone");
        let client = crate::command::connect(&settings).expect("has its code");
        let info = client.access().await.expect("answers");
        assert_eq!((info.name.as_str(), info.policy.as_str()), (ACCESS, POLICY));
        let folder = sandbox._folder.path().to_owned();
        drop(sandbox);
        assert!(!folder.exists());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn another_kind_without_a_port_is_not_quietly_replaced() {
        let mut settings = Settings::resolve(&Default::default(), &|_| None, &Folders::below(std::path::Path::new("/nowhere")))
            .expect("settles");
        settings.device.override_with("--device", Some("texxmo".to_owned()));
        let error = start(&mut settings).await.err().expect("there is no such practice device");
        assert!(error.to_string().contains("texxmo") && error.help().contains("--port"), "{error}");
    }
}
