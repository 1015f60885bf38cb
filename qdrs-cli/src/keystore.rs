//! Where this station keeps its access code: the system's key store, else a file that only this user can read.
//!
//! Looked for in this order: memory (the sandbox), the file that `--code-file` names, this user's own file for the
//! service, the system's key store. The file goes before the key store since it answers at once. `qdrs setup` writes to
//! one place and clears the other, so there is never an old code in the place that is asked first.
//!
//! A key store may hang, for instance on a question that nobody sees; it gets five seconds.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::mpsc,
    time::Duration,
};

use qdrs_core::{
    access::{AccessCode, AccessCodeError},
    api::Code,
    explain::Explain,
};
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use zeroize::Zeroizing;

use crate::{
    secret_file::{self, ReadError},
    settings::{KeyStore, Settings, SettingsError},
};

/// How long the system's key store may take.
const SYSTEM_SECONDS_MAX: Duration = Duration::from_secs(5);
/// Under which name the system's key store keeps it.
const SYSTEM_NAME: &str = "qdrs";

/// Where an access code is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In this process only.
    Memory,
    /// In a file.
    File(PathBuf),
    /// In the system's key store.
    System,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::System => f.write_str("the system's key store"),
        }
    }
}

/// Why the access code can't be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// There is none.
    #[error("this station has no access code for {service}")]
    Absent {
        /// The service.
        service: String,
        /// What the system's key store said, if it was asked in vain.
        system: Option<String>,
    },
    /// The file can't be read, or others can.
    #[error(transparent)]
    File(#[from] ReadError),
    /// What is there is no access code.
    #[error("what {place} holds is no access code: {source}")]
    Malformed {
        /// Where.
        place: Place,
        /// What is wrong.
        source: AccessCodeError,
    },
    /// The system's key store does not work, and nothing else is allowed.
    #[error("the system's key store can't be used: {why}")]
    System {
        /// Its own words.
        why: String,
    },
    /// The file can't be written.
    #[error("the access code can't be written to `{}`: {source}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// No service or no home folder.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

impl Explain for KeystoreError {
    fn code(&self) -> Code {
        match self {
            Self::Absent { .. } => Code::AccessCodeAbsent,
            Self::File(_) | Self::System { .. } => Code::SettingInvalid,
            Self::Malformed { .. } => Code::AccessCodeMalformed,
            Self::Unwritable { .. } => Code::FileUnwritable,
            Self::Settings(error) => error.code(),
        }
    }

    fn help(&self) -> String {
        match self {
            Self::Absent { system: Some(why), .. } => format!("{}; the system's key store said: {why}", self.code().help()),
            Self::File(ReadError::OpenToOthers { path, .. }) => {
                format!("it may be known to others: ask for a new code, and `chmod 600 {}`", path.display())
            }
            Self::File(_) => "check the path that `--code-file` names".into(),
            Self::System { .. } => "unlock it, or keep the code in a file: QDRS_KEY_STORE=file qdrs setup URL".into(),
            Self::Settings(error) => error.help(),
            _ => self.code().help().to_owned(),
        }
    }
}

/// The access code for the service, and where it was.
///
/// # Errors
///
/// When there is none, or it can't be read.
pub fn load(settings: &Settings) -> Result<(AccessCode, Place), KeystoreError> {
    if let Some(code) = &settings.code {
        return Ok((code.clone(), Place::Memory));
    }
    if let Some(path) = &settings.code_file.value {
        return from_file(path);
    }
    let service = settings.service()?;
    let own = settings.folders.code(service)?;
    if settings.key_store.value != KeyStore::System && own.exists() {
        return from_file(&own);
    }
    let absent = |system| KeystoreError::Absent { service: service.to_string(), system };
    if settings.key_store.value == KeyStore::File {
        return Err(absent(None));
    }
    match from_system(service) {
        Ok(Some(text)) => Ok((parse(Place::System, &text)?, Place::System)),
        Ok(None) => Err(absent(None)),
        Err(why) if settings.key_store.value == KeyStore::System => Err(KeystoreError::System { why }),
        Err(why) => Err(absent(Some(why))),
    }
}

/// Where the code was kept, and why not in the system's key store if that was wanted.
#[derive(Debug)]
pub struct Kept {
    /// Where it is now.
    pub place: Place,
    /// Why the system's key store was passed over.
    pub because: Option<String>,
}

/// Keeps the access code for the service.
///
/// # Errors
///
/// When it can be kept nowhere.
pub fn keep(settings: &Settings, service: &Url, code: &AccessCode) -> Result<Kept, KeystoreError> {
    let own = settings.folders.code(service)?;
    let unwritable = |source| KeystoreError::Unwritable { path: own.clone(), source };
    let mut because = None;
    if settings.key_store.value != KeyStore::File {
        match to_system(service, code.reveal()) {
            Ok(()) => {
                return match std::fs::remove_file(&own) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(unwritable(error)),
                    _ => Ok(Kept { place: Place::System, because: None }),
                };
            }
            Err(why) if settings.key_store.value == KeyStore::System => return Err(KeystoreError::System { why }),
            Err(why) => because = Some(why),
        }
    }
    if let Some(folder) = own.parent() {
        secret_file::make_folder(folder).map_err(unwritable)?;
    }
    let line = Zeroizing::new(format!("{}\n", code.reveal().expose_secret()));
    secret_file::write(&own, line.as_bytes()).map_err(unwritable)?;
    Ok(Kept { place: Place::File(own), because })
}

/// Reads the code from a file of its own.
///
/// # Errors
///
/// When others can read the file, or it holds no access code.
pub fn from_file(path: &Path) -> Result<(AccessCode, Place), KeystoreError> {
    let place = Place::File(path.to_owned());
    let bytes = secret_file::read(path)?;
    // What is no text is no code either; the parser says so.
    let code = parse(place.clone(), std::str::from_utf8(&bytes).unwrap_or_default())?;
    Ok((code, place))
}

fn parse(place: Place, text: &str) -> Result<AccessCode, KeystoreError> {
    AccessCode::parse(text.trim()).map_err(|source| KeystoreError::Malformed { place, source })
}

fn from_system(service: &Url) -> Result<Option<Zeroizing<String>>, String> {
    let user = service.to_string();
    in_time(move || match entry(&user)?.get_password() {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(keyring::Error::NoEntry) => Ok(None),
        Err(error) => Err(error.to_string()),
    })
}

fn to_system(service: &Url, code: SecretString) -> Result<(), String> {
    let user = service.to_string();
    in_time(move || {
        let entry = entry(&user)?;
        entry.set_password(code.expose_secret()).map_err(|error| error.to_string())?;
        // A store that takes and forgets is worse than none.
        let held = entry.get_password().map(Zeroizing::new).map_err(|error| error.to_string())?;
        if *held == code.expose_secret() { Ok(()) } else { Err("it does not give back what it was given".into()) }
    })
}

fn entry(user: &str) -> Result<keyring::v1::Entry, String> {
    // The status has the cause; what `new` says is only that there is no store.
    keyring::v1::Entry::store_status().as_ref().map_err(ToString::to_string)?;
    keyring::v1::Entry::new(SYSTEM_NAME, user).map_err(|error| error.to_string())
}

/// Runs the work on a thread of its own, also since the key store's library must not run on an async thread.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    in_time_of(SYSTEM_SECONDS_MAX, work)
}

fn in_time_of<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let (done, wait) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("key store".into()).spawn(move || {
        // Nobody listens any more when it took too long.
        let _ = done.send(work());
    });
    thread.map_err(|error| error.to_string())?;
    wait.recv_timeout(limit).unwrap_or_else(|_| Err("it does not answer; is it locked?".into()))
}

#[cfg(test)]
mod tests {
    use qdrs_core::api::Kind;

    use super::*;
    use crate::settings::{Flags, Folders};

    /// A station below a folder of its own, which never touches the key store of whoever runs the tests.
    fn settings(folder: &Path, code_file: Option<PathBuf>) -> Settings {
        let flags = Flags { service: Some("https://qdrs.example".into()), code_file, ..Flags::default() };
        let lookup = |name: &str| (name == crate::env::KEY_STORE.name).then(|| "file".into());
        Settings::resolve(&flags, &lookup, &Folders::below(folder)).expect("settles")
    }

    #[test]
    fn a_code_that_was_kept_is_found_again_for_this_service_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut settings = settings(folder.path(), None);
        let service = settings.service().expect("set").clone();
        assert!(matches!(load(&settings), Err(KeystoreError::Absent { .. })));

        let code = AccessCode::generate(Kind::Station);
        let kept = keep(&settings, &service, &code).expect("keeps");
        let (found, place) = load(&settings).expect("finds");
        assert_eq!((found.key_id(), &place), (code.key_id(), &kept.place));

        let other = "https://other.example/".parse().expect("a URL");
        settings.set_service(crate::settings::Setting::default_of(other)).expect("sets");
        assert!(matches!(load(&settings), Err(KeystoreError::Absent { .. })));
    }

    #[test]
    fn what_is_no_code_is_not_repeated_in_the_message() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("code");
        for text in [&b"my secret"[..], b"", b"\xFF\xFE", b"qdrs1mysecret"] {
            secret_file::write(&file, text).expect("writes");
            let error = load(&settings(folder.path(), Some(file.clone()))).expect_err("is none");
            assert_eq!(error.code(), Code::AccessCodeMalformed);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("code");
        secret_file::write(&file, b"anything").expect("writes");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o604)).expect("changes the mode");
        let error = load(&settings(folder.path(), Some(file))).expect_err("refused");
        assert!(matches!(error, KeystoreError::File(ReadError::OpenToOthers { mode: 0o604, .. })), "{error}");
    }

    #[test]
    fn a_key_store_that_hangs_is_given_up() {
        let (_kept, never) = mpsc::channel::<()>();
        let waited = in_time_of(Duration::from_millis(20), move || never.recv().map_err(|error| error.to_string()));
        assert_eq!(waited, Err("it does not answer; is it locked?".to_owned()));
    }
}
