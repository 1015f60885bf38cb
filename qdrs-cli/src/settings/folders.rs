//! Where this user's files of QDRS are, and how those of a service are called.

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use url::Url;

use super::SettingsError;

/// A file's name for what belongs to one service: readable, and different for different services.
pub fn file_name_for(service: &Url, ending: &str) -> String {
    let host: String = service
        .host_str()
        .unwrap_or("service")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '.' })
        .collect();
    let port = service.port().map(|port| format!("-{port}")).unwrap_or_default();
    let tail = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(service.as_str().as_bytes());
    format!("{}{port}-{tail:08x}.{ending}", host.trim_matches('.'))
}

/// This user's folders for QDRS.
#[derive(Debug, Clone)]
pub struct Folders {
    config: Option<PathBuf>,
    state: Option<PathBuf>,
}

impl Folders {
    /// Those that the platform names: XDG's on Unix, the profile's on Windows.
    pub fn of_user() -> Self {
        let Ok(strategy) = etcetera::choose_base_strategy() else { return Self { config: None, state: None } };
        let state = strategy.state_dir().unwrap_or_else(|| strategy.data_dir());
        Self { config: Some(strategy.config_dir().join("qdrs")), state: Some(state.join("qdrs")) }
    }

    /// All below one folder, for tests and the sandbox.
    pub fn below(folder: &Path) -> Self {
        Self { config: Some(folder.join("config")), state: Some(folder.join("state")) }
    }

    /// Where the configuration file is, unless another is named.
    ///
    /// # Errors
    ///
    /// When this user has no home folder.
    pub fn config_file(&self) -> Result<PathBuf, SettingsError> {
        Ok(self.config.as_ref().ok_or(SettingsError::NoHome)?.join("config.toml"))
    }

    /// Where the journal of a service is, unless another is named.
    ///
    /// # Errors
    ///
    /// When this user has no home folder.
    pub fn journal(&self, service: &Url) -> Result<PathBuf, SettingsError> {
        Ok(self.state.as_ref().ok_or(SettingsError::NoHome)?.join("journals").join(file_name_for(service, "jsonl")))
    }

    /// Where the access code for a service is, where there is no key store.
    ///
    /// # Errors
    ///
    /// When this user has no home folder.
    pub fn code(&self, service: &Url) -> Result<PathBuf, SettingsError> {
        Ok(self.config.as_ref().ok_or(SettingsError::NoHome)?.join("codes").join(file_name_for(service, "code")))
    }
}
