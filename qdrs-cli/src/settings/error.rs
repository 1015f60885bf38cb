//! What can be wrong with a setting: which, who set it, and how to mend it.

use super::*;

/// A setting that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The value makes no sense.
    #[error("{what} `{value}` {why}")]
    Value {
        /// Which setting.
        what: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: String,
        /// Who set it.
        origin: Origin,
    },
    /// The configuration file is no TOML, or has a member that nobody knows.
    #[error("the configuration file is wrong: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1, if known.
        line: Option<usize>,
        /// What is wrong.
        why: String,
    },
    /// The configuration file is of a later QDRS.
    #[error("the configuration file is for a newer QDRS (version {found}; this one reads up to {FILE_VERSION})")]
    FileNewer {
        /// The file.
        path: PathBuf,
        /// The version in it.
        found: i64,
    },
    /// The configuration file can't be read.
    #[error("the configuration file `{}` can't be read: {source}", path.display())]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// A command needs it and nobody set it.
    #[error("no service is set")]
    NoService,
    /// This user has no folder for configuration or state.
    #[error("this user has no home folder")]
    NoHome,
}

impl Explain for SettingsError {
    fn code(&self) -> Code {
        Code::SettingInvalid
    }

    fn at(&self) -> Option<String> {
        match self {
            Self::Value { origin, .. } => Some(origin.to_string()),
            Self::File { path, line: Some(line), .. } => Some(format!("{}, line {line}", path.display())),
            Self::File { path, line: None, .. } | Self::FileNewer { path, .. } => Some(path.display().to_string()),
            Self::FileUnreadable { .. } | Self::NoService | Self::NoHome => None,
        }
    }

    fn help(&self) -> String {
        match self {
            Self::NoService => "run `qdrs setup URL` once, name it with `--service`, or practise with `--sandbox`".into(),
            Self::NoHome => "name the files with `--config` and `--journal`".into(),
            Self::FileNewer { .. } => "use the newer `qdrs`, or another file with `--config`".into(),
            Self::FileUnreadable { .. } => "check its path and permissions".into(),
            Self::File { .. } => "mend the file, or remove it and run `qdrs setup URL`".into(),
            Self::Value { .. } => self.code().help().to_owned(),
        }
    }
}
