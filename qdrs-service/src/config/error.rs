//! Why there is no configuration: what, where, and how to mend it.

use qdrs_core::connection_string::ConnectionStringError;

use super::*;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Nobody named a config file and none is where it could be.
    #[error("there is no config file: neither {} nor {}", PLACES[0], PLACES[1])]
    NoFile,
    /// A file can't be read.
    #[error("can't read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The config file is not TOML, or holds what no setting is called.
    #[error("{}, line {line}: {why}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser says, without the line's text: it could hold a secret.
        why: String,
    },
    /// The file does not say its version.
    #[error("{}: there is no `version = {VERSION}`", path.display())]
    NoVersion {
        /// The file.
        path: PathBuf,
    },
    /// The file was written for a newer service.
    #[error("{}: it has version {found}, and this service reads version {VERSION} at most", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// A value that can't be used.
    #[error("{what} ({origin}): {why}")]
    Value {
        /// Which value.
        what: String,
        /// Where it comes from.
        origin: String,
        /// What is wrong with it.
        why: String,
    },
    /// What was given is not a hub's owner connection string.
    #[error("the connection string of hub `{hub}` ({origin}): {error}")]
    Connection {
        /// The hub's name.
        hub: String,
        /// Where it comes from.
        origin: String,
        /// What is wrong with it.
        error: ConnectionStringError,
    },
    /// A file with a secret that others may read.
    #[error("{}: it holds a secret, and its mode {mode:o} lets others read it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Names that lead nowhere.
    #[error("there is no {what} `{name}`; the config has {}", list(known))]
    Unknown {
        /// `hub` or `policy`.
        what: &'static str,
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// A hub without its owner connection string.
    #[error("hub `{hub}` has no connection string")]
    NoConnection {
        /// Its name.
        hub: String,
    },
    /// A certificate without a key, or a key without a certificate.
    #[error("TLS needs both a certificate and its key; {missing} is missing")]
    HalfTls {
        /// `tls_cert` or `tls_key`.
        missing: &'static str,
    },
    /// No TLS away from loopback.
    #[error("plain HTTP is served on loopback only, and {0} is no loopback address")]
    PlainHttp(SocketAddr),
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

impl ConfigError {
    pub(super) fn read(path: &Path, error: std::io::Error) -> Self {
        Self::Read { path: path.to_owned(), error }
    }
}

impl Explain for ConfigError {
    fn code(&self) -> Code {
        Code::SettingInvalid
    }

    fn help(&self) -> String {
        match self {
            Self::NoFile => "write one with `qdrs-service init`, or name it with --config".into(),
            Self::Read { error, .. } if error.kind() == std::io::ErrorKind::InvalidData => {
                "save it as plain text in UTF-8; PowerShell's `>` writes UTF-16".into()
            }
            Self::Read { .. } => "check the path and who may read the file".into(),
            Self::Syntax { .. } => "compare with the commented file that `qdrs-service init` writes".into(),
            Self::NoVersion { .. } => format!("write `version = {VERSION}` as its first line"),
            Self::Newer { .. } => "install the service that wrote it, or a newer one".into(),
            Self::Value { .. } | Self::Unknown { .. } => "mend it and try `qdrs-service config check`".into(),
            Self::Connection { error, .. } => error.help(),
            Self::Open { path, .. } => format!("chmod 600 {}", path.display()),
            Self::NoConnection { .. } => format!("set `connection_file` in the config, or the variable {}", env::HUB_CONNECTION),
            Self::HalfTls { missing } => format!("name the file with `{missing}` in the config"),
            Self::PlainHttp(_) => {
                "give `tls_cert` and `tls_key`, or listen on 127.0.0.1 behind a TLS proxy on this machine".into()
            }
        }
    }
}
