//! The service's configuration: the one place where file, variables and flags meet.
//!
//! The flag wins, then the variable ([`crate::env`]), then the file, then the default. Everything after this module gets
//! settled values. Hub owner connection strings are secrets: they come from a file with mode 0600, a variable, or a
//! config file that has mode 0600 itself, never from a flag; they are opened only by the commands that need them, so that
//! `access list` works without.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use qdrs_core::{
    api::Code,
    connection_string::OwnerConnectionString,
    explain::Explain,
    hub::host::{self, DeviceHost, DeviceHostError},
    policy::Policy,
};
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use crate::{env, limits::Limits, network::Network};

mod error;
mod policies;

pub use error::ConfigError;
pub use policies::{Policies, load as load_policy};

/// The newest version of the config file that this version reads.
pub const VERSION: i64 = 1;
/// A config file longer than this is none.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// What `init` writes.
pub const SAMPLE: &str = include_str!("../../samples/service.toml");
/// Where the config file is looked for when nobody names one, in this order.
pub const PLACES: [&str; 2] = ["qdrs-service.toml", "/etc/qdrs/service.toml"];
const LISTEN_DEFAULT: &str = "127.0.0.1:8080";
const LEDGER_DEFAULT: &str = "qdrs-ledger.sqlite";
const HUB_DEFAULT: &str = "main";

/// The settled configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Certificate and key; without them only loopback is served.
    pub tls: Option<Tls>,
    /// The SQLite file of the ledger.
    pub ledger: PathBuf,
    /// The hubs by their names.
    pub hubs: BTreeMap<String, HubConfig>,
    /// The hub of access codes that name none; stands in `hubs`.
    pub default_hub: Option<String>,
    /// The policies, as they are written.
    pub policies: Policies,
    /// How much anyone may ask.
    pub limits: Limits,
    /// The proxies in front of the service, and its connections.
    pub network: Network,
    /// The values that have an origin worth telling: name, value, where it comes from.
    pub origins: Vec<(&'static str, String, Origin)>,
}

/// The files of the service's certificate.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The certificate chain, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// One hub.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// Where its owner connection string is.
    pub connection: Connection,
    /// Where its REST API is reached, if not at its host name.
    pub endpoint: Option<Url>,
    /// A further CA to trust, a PEM file.
    pub ca_file: Option<PathBuf>,
    /// Which of its names devices get.
    pub device_host: DeviceHost,
}

/// Where an owner connection string is. `Debug` shows no secret.
#[derive(Clone)]
pub enum Connection {
    /// Here; `from` says where it was read.
    Given {
        /// The text as it was given.
        text: Zeroizing<String>,
        /// The config file or the variable.
        from: String,
    },
    /// In a file with mode 0600.
    File(PathBuf),
    /// Nowhere yet.
    Absent,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given { from, .. } => write!(f, "given in {from}"),
            Self::File(path) => write!(f, "in the file {}", path.display()),
            Self::Absent => f.write_str("absent"),
        }
    }
}

impl HubConfig {
    /// Opens the hub's owner connection string.
    ///
    /// # Errors
    /// When it is absent, its file can't be read or may be read by others, or it is no owner connection string.
    pub fn owner(&self, name: &str) -> Result<OwnerConnectionString, ConfigError> {
        let (parsed, origin) = match &self.connection {
            Connection::Given { text, from } => (OwnerConnectionString::parse(text), from.clone()),
            Connection::File(path) => {
                check_mode(path)?;
                (OwnerConnectionString::parse_file(&Zeroizing::new(read(path)?)), path.display().to_string())
            }
            Connection::Absent => return Err(ConfigError::NoConnection { hub: name.to_owned() }),
        };
        parsed.map_err(|error| ConfigError::Connection { hub: name.to_owned(), origin, error })
    }

    /// The host name that devices get, given the hub's owner connection string.
    ///
    /// # Errors
    /// When the hub has no such name, or devices can't use it.
    pub fn host_for_devices(&self, name: &str, owner: &OwnerConnectionString) -> Result<String, ConfigError> {
        host::for_devices(&owner.host_name, &self.device_host).map_err(|error| ConfigError::Value {
            what: format!("hub `{name}`, device_host"),
            origin: self.device_host.to_string(),
            why: error.to_string(),
        })
    }

    /// Reads the further CA, if there is one.
    ///
    /// # Errors
    /// When its file can't be read.
    pub fn ca_pem(&self) -> Result<Option<Vec<u8>>, ConfigError> {
        self.ca_file.as_deref().map(read).transpose()
    }
}

/// Which layer a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A flag of this command.
    Flag,
    /// A `QDRS_…` variable.
    Variable,
    /// The config file.
    File,
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Flag => "flag",
            Self::Variable => "variable",
            Self::File => "file",
            Self::Default => "default",
        })
    }
}

/// The flags that override the file and the variables. The help of each names its variable.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// The config file [QDRS_CONFIG; else qdrs-service.toml here, else /etc/qdrs/service.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The ledger, an SQLite file [QDRS_LEDGER; file: ledger]
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// The address to listen on [QDRS_LISTEN; file: listen]
    #[arg(skip)]
    pub listen: Option<String>,
    /// The TLS certificate chain, PEM [QDRS_TLS_CERT; file: tls_cert]
    #[arg(skip)]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, PEM, mode 0600 [QDRS_TLS_KEY; file: tls_key]
    #[arg(skip)]
    pub tls_key: Option<PathBuf>,
}

/// The file as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "version")]
    _version: i64,
    listen: Option<String>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    ledger: Option<PathBuf>,
    default_hub: Option<String>,
    #[serde(default)]
    hubs: BTreeMap<String, FileHub>,
    #[serde(default, deserialize_with = "qdrs_core::policy::by_name")]
    policies: BTreeMap<String, Policy>,
    #[serde(default)]
    policy_files: Vec<PathBuf>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    network: Network,
}

/// A hub as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct FileHub {
    connection: Option<String>,
    connection_file: Option<PathBuf>,
    endpoint: Option<String>,
    ca_file: Option<PathBuf>,
    device_host: Option<String>,
}

impl Config {
    /// Reads the config file, the variables and the flags, and lets them meet.
    ///
    /// # Errors
    /// When the file is missing, malformed or newer, or a value can't be used.
    pub fn load(flags: &Flags, env: env::Lookup<'_>) -> Result<Self, ConfigError> {
        let path = config_path(flags, env)?;
        let text = read_config(&path)?;
        let file = parse_file(&path, &text)?;
        if file.hubs.values().any(|hub| hub.connection.is_some()) {
            check_mode(&path)?;
        }
        let base = path.parent().unwrap_or(Path::new("")).to_owned();
        resolve(flags, env, file, &base, &path)
    }

    /// The hub of that name, or the default one.
    ///
    /// # Errors
    /// When there is none.
    pub fn hub_name(&self, name: Option<&str>) -> Result<String, ConfigError> {
        let name = name.or(self.default_hub.as_deref()).unwrap_or(HUB_DEFAULT);
        if self.hubs.contains_key(name) {
            return Ok(name.to_owned());
        }
        Err(ConfigError::Unknown { what: "hub", name: name.to_owned(), known: self.hubs.keys().cloned().collect() })
    }

    /// The policy of that name; without a name, the only one there is.
    ///
    /// # Errors
    /// When there is none, or several and no name.
    pub fn policy(&self, name: Option<&str>) -> Result<&Policy, ConfigError> {
        let found = match name {
            Some(name) => self.policies.get(name),
            None if self.policies.iter().count() == 1 => self.policies.iter().next(),
            None => self.policies.get("default"),
        };
        found.ok_or_else(|| ConfigError::Unknown {
            what: "policy",
            name: name.unwrap_or("default").to_owned(),
            known: self.policies.names(),
        })
    }
}

/// Only the policies of a config file: they can be tried where its secrets are not.
///
/// # Errors
/// When the file is missing, malformed or newer.
pub fn read_policies(path: &Path) -> Result<Policies, ConfigError> {
    let text = read_config(path)?;
    let file = parse_file(path, &text)?;
    Policies::resolve(file.policies, &file.policy_files, path.parent().unwrap_or(Path::new("")))
}

/// The config file: the flag's, then the variable's, then the first of [`PLACES`] that is there.
fn config_path(flags: &Flags, env: env::Lookup<'_>) -> Result<PathBuf, ConfigError> {
    if let Some(path) = flags.config.clone().or_else(|| env(env::CONFIG).map(PathBuf::from)) {
        return Ok(path);
    }
    PLACES.iter().map(PathBuf::from).find(|path| path.exists()).ok_or(ConfigError::NoFile)
}

fn read_config(path: &Path) -> Result<Zeroizing<String>, ConfigError> {
    let size = std::fs::metadata(path).map_err(|error| ConfigError::read(path, error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(ConfigError::Value {
            what: path.display().to_string(),
            origin: Origin::File.to_string(),
            why: format!("it has {size} bytes, and a config file has {FILE_BYTES_MAX} at most"),
        });
    }
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| ConfigError::read(path, error))
}

/// The version first: a newer file may hold what this version would call unknown.
fn parse_file(path: &Path, text: &str) -> Result<File, ConfigError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: Option<i64>,
    }
    let syntax = |error: toml::de::Error| ConfigError::Syntax {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count()),
        why: error.message().to_owned(),
    };
    match toml::from_str::<Versioned>(text).map_err(syntax)?.version {
        None => Err(ConfigError::NoVersion { path: path.to_owned() }),
        Some(found) if found > VERSION => Err(ConfigError::Newer { path: path.to_owned(), found }),
        Some(found) if found < 1 => Err(ConfigError::NoVersion { path: path.to_owned() }),
        Some(_) => toml::from_str(text).map_err(syntax),
    }
}

/// One value from the first layer that has it.
struct Layers<'a> {
    env: env::Lookup<'a>,
    origins: Vec<(&'static str, String, Origin)>,
}

impl Layers<'_> {
    /// Flag, then variable, then file. Values that are not Unicode can't be in any of them but paths.
    fn pick(
        &mut self,
        name: &'static str,
        flag: Option<String>,
        variable: &str,
        file: Option<String>,
    ) -> Option<(String, Origin)> {
        let variable = (self.env)(variable).map(|value| value.to_string_lossy().into_owned());
        let found = flag
            .map(|value| (value, Origin::Flag))
            .or_else(|| variable.map(|value| (value, Origin::Variable)))
            .or_else(|| file.map(|value| (value, Origin::File)));
        if let Some((value, origin)) = &found {
            self.origins.push((name, value.clone(), *origin));
        }
        found
    }

    /// The same for a path; the file's are relative to its folder.
    fn path(
        &mut self,
        name: &'static str,
        flag: Option<&PathBuf>,
        variable: &str,
        file: Option<PathBuf>,
        base: &Path,
    ) -> Option<PathBuf> {
        let found = flag
            .map(|path| (path.clone(), Origin::Flag))
            .or_else(|| (self.env)(variable).map(|path| (PathBuf::from(path), Origin::Variable)))
            .or_else(|| file.map(|path| (base.join(path), Origin::File)));
        if let Some((path, origin)) = &found {
            self.origins.push((name, path.display().to_string(), *origin));
        }
        found.map(|(path, _)| path)
    }
}

fn resolve(flags: &Flags, env: env::Lookup<'_>, file: File, base: &Path, path: &Path) -> Result<Config, ConfigError> {
    let mut layers = Layers { env, origins: Vec::new() };
    let (listen, origin) = layers
        .pick("listen", flags.listen.clone(), env::LISTEN, file.listen)
        .unwrap_or_else(|| (LISTEN_DEFAULT.to_owned(), Origin::Default));
    let listen = listen.parse().map_err(|_| ConfigError::Value {
        what: "listen".into(),
        origin: origin.to_string(),
        why: format!("`{listen}` is no address and port, such as 127.0.0.1:8080"),
    })?;
    let cert = layers.path("tls_cert", flags.tls_cert.as_ref(), env::TLS_CERT, file.tls_cert, base);
    let key = layers.path("tls_key", flags.tls_key.as_ref(), env::TLS_KEY, file.tls_key, base);
    let tls = match (cert, key) {
        (Some(cert), Some(key)) => Some(Tls { cert, key }),
        (Some(_), None) => return Err(ConfigError::HalfTls { missing: "tls_key" }),
        (None, Some(_)) => return Err(ConfigError::HalfTls { missing: "tls_cert" }),
        (None, None) => None,
    };
    let ledger =
        layers.path("ledger", flags.ledger.as_ref(), env::LEDGER, file.ledger, base).unwrap_or_else(|| base.join(LEDGER_DEFAULT));
    let named = layers.pick("default_hub", None, env::DEFAULT_HUB, file.default_hub).map(|(name, _)| name);
    let (hubs, default_hub) = resolve_hubs(&mut layers, file.hubs, named, base, path)?;
    let policies = Policies::resolve(file.policies, &file.policy_files, base)?;
    let wrong = |what: &str, why| ConfigError::Value { what: what.into(), origin: path.display().to_string(), why };
    file.limits.check().map_err(|why| wrong("limits", why))?;
    file.network.check().map_err(|why| wrong("network", why))?;
    Ok(Config {
        listen,
        tls,
        ledger,
        hubs,
        default_hub,
        policies,
        limits: file.limits,
        network: file.network,
        origins: layers.origins,
    })
}

/// The file's hubs; the variables speak for the default hub, and make one when the file has none.
fn resolve_hubs(
    layers: &mut Layers<'_>,
    file: BTreeMap<String, FileHub>,
    named: Option<String>,
    base: &Path,
    path: &Path,
) -> Result<(BTreeMap<String, HubConfig>, Option<String>), ConfigError> {
    let mut hubs = BTreeMap::new();
    for (name, hub) in file {
        let connection = match (hub.connection, hub.connection_file) {
            (Some(_), Some(_)) => {
                return Err(ConfigError::Value {
                    what: format!("hub `{name}`"),
                    origin: path.display().to_string(),
                    why: "it has both `connection` and `connection_file`".into(),
                });
            }
            (Some(text), None) => Connection::Given { text: Zeroizing::new(text), from: path.display().to_string() },
            (None, Some(file)) => Connection::File(base.join(file)),
            (None, None) => Connection::Absent,
        };
        let endpoint = hub.endpoint.map(|text| endpoint(&text, &format!("hub `{name}`, endpoint"), Origin::File)).transpose()?;
        let what = format!("hub `{name}`, device_host");
        let device_host = hub.device_host.map(|text| device_host(&text, &what, Origin::File)).transpose()?.unwrap_or_default();
        hubs.insert(name, HubConfig { connection, endpoint, ca_file: hub.ca_file.map(|file| base.join(file)), device_host });
    }
    let default = named.or_else(|| if hubs.len() == 1 { hubs.keys().next().cloned() } else { None });
    let connection = (layers.env)(env::HUB_CONNECTION)
        .map(|text| Connection::Given {
            text: Zeroizing::new(text.to_string_lossy().into_owned()),
            from: env::HUB_CONNECTION.into(),
        })
        .or_else(|| (layers.env)(env::HUB_CONNECTION_FILE).map(|file| Connection::File(file.into())));
    let url = layers.pick("endpoint of the default hub", None, env::HUB_ENDPOINT, None);
    let ca_file = layers.path("ca_file of the default hub", None, env::HUB_CA_FILE, None, base);
    let for_devices = layers.pick("device_host of the default hub", None, env::HUB_DEVICE_HOST, None);
    if connection.is_some() || url.is_some() || ca_file.is_some() || for_devices.is_some() {
        let name = match &default {
            Some(name) => name.clone(),
            None if hubs.is_empty() => HUB_DEFAULT.to_owned(),
            None => {
                return Err(ConfigError::Value {
                    what: "QDRS_HUB_…".into(),
                    origin: Origin::Variable.to_string(),
                    why: "it speaks for the default hub, and the config has several hubs and no `default_hub`".into(),
                });
            }
        };
        let hub = hubs.entry(name).or_insert_with(|| HubConfig {
            connection: Connection::Absent,
            endpoint: None,
            ca_file: None,
            device_host: DeviceHost::default(),
        });
        if let Some((text, origin)) = for_devices {
            hub.device_host = device_host(&text, env::HUB_DEVICE_HOST, origin)?;
        }
        if let Some(connection) = connection {
            hub.connection = connection;
        }
        if let Some((text, origin)) = url {
            hub.endpoint = Some(endpoint(&text, env::HUB_ENDPOINT, origin)?);
        }
        hub.ca_file = ca_file.or(hub.ca_file.take());
    }
    let default = default.or_else(|| if hubs.len() == 1 { hubs.keys().next().cloned() } else { None });
    match default {
        Some(name) if !hubs.contains_key(&name) => {
            Err(ConfigError::Unknown { what: "hub", name, known: hubs.keys().cloned().collect() })
        }
        default => Ok((hubs, default)),
    }
}

fn device_host(text: &str, what: &str, origin: Origin) -> Result<DeviceHost, ConfigError> {
    text.parse().map_err(|error: DeviceHostError| ConfigError::Value {
        what: what.to_owned(),
        origin: origin.to_string(),
        why: error.to_string(),
    })
}

fn endpoint(text: &str, what: &str, origin: Origin) -> Result<Url, ConfigError> {
    let wrong = |why: String| ConfigError::Value { what: what.to_owned(), origin: origin.to_string(), why };
    let url = Url::parse(text).map_err(|error| wrong(format!("`{text}` is no URL: {error}")))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(wrong(format!("`{other}` is neither http nor https"))),
    }
}

/// Reads a file that is no secret, such as a certificate.
///
/// # Errors
/// When it can't be read.
pub fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|error| ConfigError::read(path, error))
}

/// Reads a file that holds one secret.
///
/// # Errors
/// When it can't be read, is no text, or others may read it.
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, ConfigError> {
    check_mode(path)?;
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| ConfigError::read(path, error))
}

/// Refuses a file that its group or others may read. Windows has no such bits; there the folder's rights hold.
pub fn check_mode(path: &Path) -> Result<(), ConfigError> {
    let metadata = std::fs::metadata(path).map_err(|error| ConfigError::read(path, error))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(ConfigError::Open { path: path.to_owned(), mode });
        }
    }
    #[cfg(not(unix))]
    let _ = metadata;
    Ok(())
}

#[cfg(test)]
mod tests;
