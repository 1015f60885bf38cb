//! A local Azure IoT Hub: identity registry, bulk, twins, statistics, a query, and the device side over HTTP.
//!
//! For the sandbox, for tests and for whoever develops against QDRS without a cloud account. A supported call ([`SUPPORTED`])
//! has the real hub's answer, so the vendor's service SDK works unchanged; where the real hub has more, the answer is 400
//! "not supported by the emulator". Only HTTP is served, no MQTT and no AMQP. `EMULATOR.md` has the tables. Knows nothing of
//! the registrar and the ledger: it is the other side.
//!
//! Holds always: plain HTTP is served on loopback only; a change that was answered is in the store's file, if there
//! is one; keys are in no log.
//!
//! ```no_run
//! # async fn example() -> Result<(), qdrs_service::emulator::EmulatorError> {
//! use qdrs_service::emulator::{Emulator, EmulatorOptions, Fault, Operation, Rule};
//!
//! let hub = Emulator::start(EmulatorOptions::default()).await?;
//! hub.faults.add(Rule::new(Fault::DropAnswer).on(Operation::Create));
//! // … register a device at `hub.http_url` with `hub.owner` …
//! assert_eq!(hub.registry.len(), 1);
//! hub.stop().await;
//! # Ok(())
//! # }
//! ```

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use qdrs_core::{
    api::Code,
    connection_string::{ConnectionStringError, DeviceKey, OwnerConnectionString},
    explain::Explain,
};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

mod auth;
mod bulk;
mod device;
mod errors;
mod faults;
mod registry;
mod route;
mod server;
mod store;
mod tier;
mod tls;
mod twins;

pub use faults::{Fault, Faults, Operation, Rule, Seen};
pub use registry::{Known, Registry};
pub use route::SUPPORTED;
pub use tier::Tier;
pub use tls::CA_FILE;

use auth::{Auth, OWNER};
use route::Hub;
use store::Store;
use tier::Throttle;
use tls::Tls;

/// How many devices the real hub takes at most.
pub const DEVICES_MAX: usize = 1_000_000;

/// How to start an emulator. The default: plain HTTP on a free port, in memory, a new owner key.
#[derive(Debug, Clone)]
pub struct EmulatorOptions {
    /// Where to serve plain HTTP; loopback only. Port 0 takes a free one.
    pub http: SocketAddr,
    /// Where to serve HTTPS too, with a certificate of the emulator's own authority.
    pub https: Option<SocketAddr>,
    /// The hub's name, taken in tokens beside `localhost` and the loopback addresses.
    pub hub_name: String,
    /// Further names of this machine, for tokens and for the certificate.
    pub host_names: Vec<String>,
    /// The key of the policy `iothubowner`; without it the one in the store, or a new one.
    pub owner_key: Option<DeviceKey>,
    /// The SQLite file that keeps the devices; in memory without it.
    pub store: Option<PathBuf>,
    /// Where the certificate authority's key is kept and `ca.pem` written; in memory without it.
    pub ca_dir: Option<PathBuf>,
    /// How many devices fit.
    pub devices_max: usize,
    /// Throttles as this tier of the real hub; not at all without it.
    pub tier: Option<Tier>,
    /// Takes only device ids of the newest document, without `+` and `#`.
    pub strict_ids: bool,
    /// Serves the fault switch at `/_emulator/faults`, to callers on this machine.
    pub faults_over_http: bool,
}

impl Default for EmulatorOptions {
    fn default() -> Self {
        Self {
            http: (Ipv4Addr::LOCALHOST, 0).into(),
            https: None,
            hub_name: "qdrs-emulator".into(),
            host_names: Vec::new(),
            owner_key: None,
            store: None,
            ca_dir: None,
            devices_max: DEVICES_MAX,
            tier: None,
            strict_ids: false,
            faults_over_http: false,
        }
    }
}

impl EmulatorOptions {
    /// The default with HTTPS on a free port beside it.
    pub fn with_https() -> Self {
        Self { https: Some((Ipv4Addr::LOCALHOST, 0).into()), ..Self::default() }
    }
}

/// Why an emulator can't start.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// Credentials and keys would cross a network in clear.
    #[error("the emulator serves plain HTTP on loopback only, not on {0}")]
    NotLoopback(SocketAddr),
    /// Most often another emulator holds the port.
    #[error("can't listen on {address}: {source}")]
    Bind {
        /// Where it should have listened.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The store was made by a newer QDRS.
    #[error("`{path}` has version {found}; this QDRS knows version {known}")]
    StoreVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version that is known.
        known: i64,
    },
    /// The store holds a record that is none.
    #[error("`{path}` holds a device that can't be read: {source}")]
    StoreRecord {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The store is no SQLite file, or can't be written.
    #[error("the emulator's store can't be used: {0}")]
    Store(#[from] rusqlite::Error),
    /// A file or folder of the store or the authority.
    #[error("{0}")]
    File(#[from] io::Error),
    /// A host name that no certificate can hold, or a key file that is none.
    #[error("the emulator's certificate can't be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The TLS library refuses what was just made.
    #[error("the emulator's certificate can't be used: {0}")]
    Tls(#[from] rustls::Error),
    /// The owner's key or the hub's name.
    #[error("{0}")]
    ConnectionString(#[from] ConnectionStringError),
}

impl Explain for EmulatorError {
    fn code(&self) -> Code {
        match self {
            Self::File(_) | Self::Store(_) => Code::FileUnwritable,
            Self::Tls(_) => Code::Internal,
            _ => Code::SettingInvalid,
        }
    }

    fn help(&self) -> String {
        match self {
            Self::NotLoopback(_) => "use 127.0.0.1 or [::1], or HTTPS".into(),
            Self::Bind { .. } => "stop what holds the port, or choose another (0 takes a free one)".into(),
            Self::StoreVersion { .. } | Self::StoreRecord { .. } => "name another file; the emulator makes it".into(),
            _ => self.code().help().to_owned(),
        }
    }
}

/// Starts emulators.
pub struct Emulator;

impl Emulator {
    /// Opens the store, binds the ports and serves until the handle is stopped or dropped.
    ///
    /// # Errors
    /// If a port, a file or a name in the options can't be used.
    pub async fn start(options: EmulatorOptions) -> Result<Running, EmulatorError> {
        if !options.http.ip().to_canonical().is_loopback() {
            return Err(EmulatorError::NotLoopback(options.http));
        }
        let (store, held) = match &options.store {
            Some(path) => {
                let (store, held) = Store::open(path)?;
                (Some(store), held)
            }
            None => (None, store::Held::default()),
        };
        let owner_key = owner_key(&options, held.owner_key.as_deref())?;

        let (http, http_at) = listen(options.http).await?;
        let https = match options.https {
            Some(address) => Some((listen(address).await?, Tls::new(&options.host_names, options.ca_dir.as_deref())?)),
            None => None,
        };
        let mut hosts: Vec<String> = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).into();
        hosts.push(options.hub_name.clone());
        hosts.extend(options.host_names);

        let hub = Arc::new(Hub {
            registry: Arc::new(Registry::new(held.devices, options.devices_max, store)),
            auth: Auth::new(owner_key, hosts),
            faults: Faults::default(),
            throttle: Throttle::default(),
            faults_over_http: options.faults_over_http,
            strict_ids: options.strict_ids,
        });
        hub.throttle.set(options.tier);
        let (stop, stopped) = watch::channel(false);
        let mut servers = JoinSet::new();
        servers.spawn(server::serve(http, None, Arc::clone(&hub), stopped.clone()));
        let (mut https_at, mut ca_pem) = (None, None);
        if let Some(((listener, at), tls)) = https {
            servers.spawn(server::serve(listener, Some(tls.config), Arc::clone(&hub), stopped));
            (https_at, ca_pem) = (Some(at), Some(tls.ca_pem));
        }
        let owner = |port: u16| hub.connection_string(&format!("localhost:{port}"), OWNER);
        let owner_http = owner(http_at.port())?;
        let owner_https = https_at.map(|at| owner(at.port())).transpose()?;
        Ok(Running {
            http_url: format!("http://{http_at}"),
            https_url: https_at.map(|at| format!("https://localhost:{}", at.port())),
            owner: owner_https.clone().unwrap_or_else(|| owner_http.clone()),
            owner_http,
            owner_https,
            ca_pem,
            ca_file: options.ca_dir.filter(|_| https_at.is_some()).map(|directory| directory.join(CA_FILE)),
            registry: Arc::clone(&hub.registry),
            faults: hub.faults.clone(),
            hub,
            stop,
            servers: tokio::spawn(async move { while servers.join_next().await.is_some() {} }),
        })
    }
}

/// The given key, else the one that the store kept, else a new one; a store keeps it.
fn owner_key(options: &EmulatorOptions, kept: Option<&str>) -> Result<DeviceKey, EmulatorError> {
    let key = match (&options.owner_key, kept) {
        (Some(key), _) => key.clone(),
        (None, Some(kept)) => DeviceKey::from_base64(kept)?,
        (None, None) => DeviceKey::generate(),
    };
    if let Some(path) = &options.store {
        Store::keep_owner_key(path, &key.to_base64())?;
    }
    Ok(key)
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), EmulatorError> {
    let bind = |source| EmulatorError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(bind)?;
    let at = listener.local_addr().map_err(bind)?;
    Ok((listener, at))
}

impl Hub {
    fn connection_string(&self, host_name: &str, policy: &str) -> Result<OwnerConnectionString, ConnectionStringError> {
        let key = self.auth.key(policy).ok_or(ConnectionStringError::Missing { field: "SharedAccessKeyName" })?;
        OwnerConnectionString::new(host_name, policy, key)
    }
}

/// A running emulator. Dropping it stops it, without waiting for requests that are being worked on.
pub struct Running {
    /// Where it serves plain HTTP, such as `http://127.0.0.1:18080`.
    pub http_url: String,
    /// Where it serves HTTPS, such as `https://localhost:18443`.
    pub https_url: Option<String>,
    /// The hub owner connection string, for HTTPS where it is served.
    pub owner: OwnerConnectionString,
    /// The same with the port of plain HTTP.
    pub owner_http: OwnerConnectionString,
    /// The same with the port of HTTPS.
    pub owner_https: Option<OwnerConnectionString>,
    /// The certificate authority that a client has to trust, with HTTPS.
    pub ca_pem: Option<String>,
    /// Where that was written, if a folder was named.
    ca_file: Option<PathBuf>,
    /// The devices, past the API.
    pub registry: Arc<Registry>,
    /// The fault switch.
    pub faults: Faults,
    hub: Arc<Hub>,
    stop: watch::Sender<bool>,
    servers: JoinHandle<()>,
}

impl Running {
    /// Every device: id, primary key, tags.
    pub fn identities(&self) -> Vec<Known> {
        self.registry.identities()
    }

    /// Where the authority's certificate was written, if a folder was named.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// A connection string with another host name (such as the hub's own) or of another policy: `service`, `device`,
    /// `registryRead`, `registryReadWrite`.
    ///
    /// # Errors
    /// If there is no such policy, or the host name is none.
    pub fn connection_string(&self, host_name: &str, policy: &str) -> Result<OwnerConnectionString, ConnectionStringError> {
        self.hub.connection_string(host_name, policy)
    }

    /// Throttles as this tier from now on, its burst unused; not at all with `None`.
    pub fn set_tier(&self, tier: Option<Tier>) {
        self.hub.throttle.set(tier);
    }

    /// Lets the hub's clock differ from this machine's by that many seconds: its `Date`, and what a token's end is held against.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.hub.auth.set_clock_offset(seconds);
    }

    /// Closes the ports, lets requests that are being worked on end for a second, and closes all connections.
    pub async fn stop(self) {
        let Self { stop, servers, registry, .. } = self;
        let _ = stop.send(true);
        let _ = servers.await;
        let _ = registry.flush().await;
    }
}

#[cfg(test)]
mod tests;
