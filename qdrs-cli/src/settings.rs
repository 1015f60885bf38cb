//! The settings: flags, else variables, else the configuration file, else defaults. This is where they meet.
//!
//! Each keeps its origin, so that an error can say who set it and `qdrs config` can show it. Commands get settled values.

use std::{
    fmt,
    net::IpAddr,
    ops::Deref,
    path::{Path, PathBuf},
};

use qdrs_core::{access::AccessCode, api::Code, explain::Explain, serial::is_unprintable};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    device::profile::is_file as is_profile,
    env::{self, Lookup},
};

mod error;
mod folders;

pub use error::SettingsError;
pub use folders::{Folders, file_name_for};

/// The version of the configuration file that this QDRS reads.
pub const FILE_VERSION: u32 = 1;
/// The longest configuration file, in bytes.
pub const FILE_BYTES_MAX: u64 = 64 * 1024;
/// The longest name of a station, in characters.
pub const STATION_CHARS_MAX: usize = 64;
/// The kind of device unless another is named.
pub const DEVICE_DEFAULT: &str = "mxchip";

/// Flags that every command takes.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Flags {
    /// URL of the service
    #[arg(long, global = true, value_name = "URL")]
    pub service: Option<String>,
    /// Name of this station [default: the computer's name]
    #[arg(long, global = true, value_name = "NAME")]
    pub station: Option<String>,
    /// Configuration file
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File with the station's record of its work [default: one for each service]
    #[arg(long, global = true, value_name = "FILE")]
    pub journal: Option<PathBuf>,
    /// File with the access code, readable by its owner only [default: the system's key store]
    #[arg(long, global = true, value_name = "FILE")]
    pub code_file: Option<PathBuf>,
    /// PEM file with the CA of the service's certificate
    #[arg(long, global = true, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Print JSON on stdout, one object a line
    #[arg(long, global = true)]
    pub json: bool,
    /// Say only what went wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more; twice for all
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Practise: service, hub and devices in this process, nothing is kept
    #[arg(long, global = true, conflicts_with_all = ["service", "code_file", "ca_file"])]
    pub sandbox: bool,
}

/// Who set a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag, such as `--service`.
    Flag(&'static str),
    /// An environment variable.
    Variable(&'static str),
    /// The configuration file.
    File(PathBuf),
    /// Nobody.
    Default,
    /// `--sandbox`.
    Sandbox,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Variable(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
            Self::Sandbox => f.write_str("--sandbox"),
        }
    }
}

/// A settled value and who set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Who set it.
    pub origin: Origin,
}

impl<T> Setting<T> {
    /// A value that nobody set.
    pub fn default_of(value: T) -> Self {
        Self { value, origin: Origin::Default }
    }

    /// Sets it from a command's own flag, if that was given.
    pub fn override_with(&mut self, flag: &'static str, value: Option<T>) {
        if let Some(value) = value {
            *self = Self { value, origin: Origin::Flag(flag) };
        }
    }

    /// Sets it as `--sandbox` needs it.
    pub fn set_for_sandbox(&mut self, value: T) {
        *self = Self { value, origin: Origin::Sandbox };
    }
}

impl<T> Deref for Setting<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Where the access code is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum KeyStore {
    /// The system's key store, else a file.
    Auto,
    /// The system's key store, else an error.
    System,
    /// A file.
    File,
}

impl fmt::Display for KeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::System => "system",
            Self::File => "file",
        })
    }
}

/// All settled settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This user's folders.
    pub folders: Folders,
    /// The configuration file, whether it exists or not.
    pub config: Setting<PathBuf>,
    /// Does it exist?
    pub config_found: bool,
    /// The service.
    pub service: Setting<Option<Url>>,
    /// The station's name.
    pub station: Setting<String>,
    /// The station's record; none until the service is known.
    pub journal: Setting<Option<PathBuf>>,
    /// The access code's file, if it is named.
    pub code_file: Setting<Option<PathBuf>>,
    /// Where the access code is kept otherwise.
    pub key_store: Setting<KeyStore>,
    /// The CA of the service's certificate.
    pub ca_file: Setting<Option<PathBuf>>,
    /// The kind of device, or a profile.
    pub device: Setting<String>,
    /// The ports of the slots; none means those that the profile names.
    pub ports: Setting<Vec<String>>,
    /// Print JSON.
    pub json: bool,
    /// Say only what went wrong.
    pub quiet: bool,
    /// Say more.
    pub verbose: u8,
    /// Practise.
    pub sandbox: bool,
    /// The access code in memory; only the sandbox has it there.
    pub code: Option<AccessCode>,
    /// The CA in memory; only the sandbox has it there.
    pub ca_pem: Option<Vec<u8>>,
}

/// The configuration file. `qdrs setup` writes it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// [`FILE_VERSION`].
    pub version: u32,
    /// URL of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Name of this station.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub station: Option<String>,
    /// The station's record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<PathBuf>,
    /// File with the access code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_file: Option<PathBuf>,
    /// Where the access code is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_store: Option<KeyStore>,
    /// The CA of the service's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The kind of device, or a profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The ports of the slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<String>>,
}

impl Settings {
    /// Settles every setting: the flag if given, else the variable, else the file's line, else the default.
    ///
    /// # Errors
    ///
    /// When a value makes no sense, or the file can't be read.
    pub fn resolve(flags: &Flags, variables: Lookup<'_>, folders: &Folders) -> Result<Self, SettingsError> {
        // Practice must touch neither the station's service nor its ports.
        let (nothing, outer): (Lookup<'_>, _) = (&|_| None, variables);
        let variables = if flags.sandbox { nothing } else { outer };
        let config = match (&flags.config, variables(env::CONFIG.name)) {
            (Some(path), _) => Setting { value: path.clone(), origin: Origin::Flag("--config") },
            (None, Some(path)) => Setting { value: path.into(), origin: Origin::Variable(env::CONFIG.name) },
            (None, None) => Setting::default_of(folders.config_file()?),
        };
        let file = if flags.sandbox { None } else { ConfigFile::read(&config)? };
        let config_found = file.is_some();
        let file = file.unwrap_or_default();
        let layers = Layers { variables, config: &config };
        let beside = |path: PathBuf| config.parent().map_or(path.clone(), |folder| folder.join(path));

        let service = layers.text("--service", &flags.service, env::SERVICE.name, file.service)?.try_map(parse_service)?;
        let station = layers.text("--station", &flags.station, env::STATION.name, file.station)?.try_map(parse_station)?;
        let station = Setting { value: station.value.unwrap_or_else(computer_name), origin: station.origin };
        let mut journal = layers.path("--journal", &flags.journal, env::JOURNAL.name, file.journal.map(beside));
        if let (None, Some(service)) = (&journal.value, &service.value) {
            journal.value = Some(folders.journal(service)?);
        }
        let key_store = layers.text("", &None, env::KEY_STORE.name, file.key_store.map(|kept| kept.to_string()))?.try_map(
            |word, origin| {
                clap::ValueEnum::from_str(&word, false).map_err(|_| SettingsError::Value {
                    what: "the key store",
                    value: word,
                    why: "is none; it is one of `auto`, `system`, `file`".into(),
                    origin: origin.clone(),
                })
            },
        )?;
        let device = layers.text(
            "",
            &None,
            env::DEVICE.name,
            file.device.map(|device| {
                // A profile's file stands beside the file that names it, as all others.
                if is_profile(&device) { beside(device.into()).display().to_string() } else { device }
            }),
        )?;
        let ports = match layers.text("", &None, env::PORTS.name, None)? {
            Setting { value: Some(list), origin } => Setting {
                value: list.split(',').map(|port| port.trim().to_owned()).filter(|port| !port.is_empty()).collect(),
                origin,
            },
            Setting { value: None, .. } => match file.ports {
                Some(ports) => Setting { value: ports, origin: Origin::File(config.value.clone()) },
                None => Setting::default_of(Vec::new()),
            },
        };
        Ok(Self {
            service,
            station,
            journal,
            code_file: layers.path("--code-file", &flags.code_file, env::CODE_FILE.name, file.code_file.map(beside)),
            key_store: Setting { value: key_store.value.unwrap_or(KeyStore::Auto), origin: key_store.origin },
            ca_file: layers.path("--ca-file", &flags.ca_file, env::CA_FILE.name, file.ca_file.map(beside)),
            device: Setting { value: device.value.unwrap_or_else(|| DEVICE_DEFAULT.to_owned()), origin: device.origin },
            ports,
            json: flags.json,
            quiet: flags.quiet,
            verbose: flags.verbose,
            sandbox: flags.sandbox,
            code: None,
            ca_pem: None,
            folders: folders.clone(),
            config,
            config_found,
        })
    }

    /// Refuses a configuration file that was named and is not there. All but `setup` ask for this.
    ///
    /// # Errors
    ///
    /// When it is so.
    pub fn require_named_config(&self) -> Result<(), SettingsError> {
        if self.config_found || self.sandbox || self.config.origin == Origin::Default {
            return Ok(());
        }
        Err(SettingsError::FileUnreadable {
            path: self.config.value.clone(),
            source: std::io::Error::new(std::io::ErrorKind::NotFound, "there is no such file"),
        })
    }

    /// The service's URL.
    ///
    /// # Errors
    ///
    /// When none is set.
    pub fn service(&self) -> Result<&Url, SettingsError> {
        self.service.value.as_ref().ok_or(SettingsError::NoService)
    }

    /// The journal's path.
    ///
    /// # Errors
    ///
    /// When no service is set, since each has its own journal.
    pub fn journal_path(&self) -> Result<&Path, SettingsError> {
        self.journal.value.as_deref().ok_or(SettingsError::NoService)
    }

    /// Sets the service, and the journal with it unless that was named.
    ///
    /// # Errors
    ///
    /// When this user has no home folder.
    pub fn set_service(&mut self, service: Setting<Url>) -> Result<(), SettingsError> {
        if self.journal.origin == Origin::Default {
            self.journal.value = Some(self.folders.journal(&service)?);
        }
        self.service = Setting { value: Some(service.value), origin: service.origin };
        Ok(())
    }

    /// Opens this station's journal for this service.
    ///
    /// # Errors
    ///
    /// See [`crate::journal::Journal::open`]; also when no service is set.
    pub fn open_journal(&self) -> Result<crate::journal::Journal, crate::failure::Failure> {
        Ok(crate::journal::Journal::open(self.journal_path()?, self.service()?.as_str())?)
    }
}

/// The two outer layers, for one setting at a time.
struct Layers<'a> {
    variables: Lookup<'a>,
    config: &'a Path,
}

impl Layers<'_> {
    fn text(
        &self,
        flag: &'static str,
        given: &Option<String>,
        variable: &'static str,
        file: Option<String>,
    ) -> Result<Setting<Option<String>>, SettingsError> {
        if let Some(text) = given {
            return Ok(Setting { value: Some(text.clone()), origin: Origin::Flag(flag) });
        }
        if let Some(text) = (self.variables)(variable) {
            let origin = Origin::Variable(variable);
            return match text.into_string() {
                Ok(text) => Ok(Setting { value: Some(text), origin }),
                Err(text) => Err(SettingsError::Value {
                    what: "the variable",
                    value: text.to_string_lossy().into_owned(),
                    why: "is not text".into(),
                    origin,
                }),
            };
        }
        Ok(match file {
            Some(text) => Setting { value: Some(text), origin: Origin::File(self.config.to_owned()) },
            None => Setting::default_of(None),
        })
    }

    fn path(
        &self,
        flag: &'static str,
        given: &Option<PathBuf>,
        variable: &'static str,
        file: Option<PathBuf>,
    ) -> Setting<Option<PathBuf>> {
        if let Some(path) = given {
            return Setting { value: Some(path.clone()), origin: Origin::Flag(flag) };
        }
        if let Some(path) = (self.variables)(variable) {
            return Setting { value: Some(path.into()), origin: Origin::Variable(variable) };
        }
        match file {
            Some(path) => Setting { value: Some(path), origin: Origin::File(self.config.to_owned()) },
            None => Setting::default_of(None),
        }
    }
}

impl Setting<Option<String>> {
    fn try_map<T>(
        self,
        parse: impl FnOnce(String, &Origin) -> Result<T, SettingsError>,
    ) -> Result<Setting<Option<T>>, SettingsError> {
        let Self { value, origin } = self;
        Ok(Setting { value: value.map(|text| parse(text, &origin)).transpose()?, origin })
    }
}

impl ConfigFile {
    /// Reads the file; none when it is not there, since `setup` may be about to write it.
    ///
    /// # Errors
    ///
    /// When it can't be read or makes no sense.
    pub fn read(path: &Setting<PathBuf>) -> Result<Option<Self>, SettingsError> {
        let unreadable = |source| SettingsError::FileUnreadable { path: path.value.clone(), source };
        let file = match std::fs::File::open(&path.value) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::io::Read::take(file, FILE_BYTES_MAX), &mut text).map_err(unreadable)?;
        Self::parse(&path.value, &text).map(Some)
    }

    /// Reads the text of a file; `path` is for the messages.
    ///
    /// # Errors
    ///
    /// When it is no TOML, newer, or has members that nobody knows.
    pub fn parse(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let fault = |error: toml::de::Error| SettingsError::File {
            path: path.to_owned(),
            line: error.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count()),
            why: error.message().replace('\n', " "),
        };
        // The version first: a newer file may have other members.
        let table: toml::Table = toml::from_str(text).map_err(fault)?;
        match table.get("version").map(|version| version.as_integer()) {
            Some(Some(found)) if found > FILE_VERSION.into() => Err(SettingsError::FileNewer { path: path.to_owned(), found }),
            _ => toml::from_str(text).map_err(fault),
        }
    }
}

/// Reads the URL of a service: `https`, or plain `http` to this computer alone.
///
/// # Errors
///
/// When it is no such URL. The message never holds a password that was written into it.
pub fn parse_service(text: String, origin: &Origin) -> Result<Url, SettingsError> {
    let wrong = |value: &str, why: &str| SettingsError::Value {
        what: "the service's URL",
        // Whoever wrote a password into it shall not see it again on a screen that others see.
        value: value.rsplit('@').next().unwrap_or_default().to_owned(),
        why: why.to_owned(),
        origin: origin.clone(),
    };
    let mut url = Url::parse(text.trim()).map_err(|_| wrong(&text, "is no URL; it looks like `https://qdrs.example`"))?;
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(url::Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(url.as_str(), "is written with a user or password, which no QDRS service takes"));
    }
    match url.scheme() {
        "https" if url.host().is_some() => {}
        "http" if loopback => {}
        "http" => return Err(wrong(url.as_str(), "is plain HTTP, which anybody on the way can read and change; use https")),
        _ => return Err(wrong(url.as_str(), "is no https URL")),
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong(url.as_str(), "has a query or fragment; leave out what follows the `?` or `#`"));
    }
    // One spelling for one service: the journal and the key store are found by it.
    let path = url.path().trim_end_matches('/').to_owned() + "/";
    url.set_path(&path);
    Ok(url)
}

fn parse_station(name: String, origin: &Origin) -> Result<String, SettingsError> {
    let name = name.trim().to_owned();
    let why = if name.is_empty() {
        "is empty"
    } else if name.chars().count() > STATION_CHARS_MAX {
        "is longer than 64 characters"
    } else if name.chars().any(is_unprintable) {
        "holds a control character"
    } else {
        return Ok(name);
    };
    Err(SettingsError::Value {
        what: "the station's name",
        value: name.escape_debug().to_string(),
        why: why.to_owned(),
        origin: origin.clone(),
    })
}

/// The computer's name, for a station that nobody named.
fn computer_name() -> String {
    #[cfg(unix)]
    let name = nix::unistd::gethostname().ok();
    #[cfg(not(unix))]
    let name = std::env::var_os("COMPUTERNAME");
    name.and_then(|name| name.into_string().ok())
        .and_then(|name| parse_station(name, &Origin::Default).ok())
        .unwrap_or_else(|| "station".to_owned())
}

#[cfg(test)]
mod tests;
