//! The ledger's file: looked at before anything is written to it, made whole or not at all, and readable by its owner alone.
//!
//! A file that is no ledger, or a ledger of another version, is left as it is. So is a place where a ledger has been: a path that
//! leads to nothing is told from a ledger that is lost.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use url::Url;

use super::{connect, migrate};
use crate::ledger::LedgerError;

/// Marks the file as QDRS's in SQLite's header: `QDRS` in ASCII. Ledgers up to version 4 do not have it.
pub(super) const APPLICATION_ID: i32 = 0x5144_5253;

/// Tables that every version has.
const TABLES: [&str; 3] = ["access_code", "audit", "reservation"];

/// What SQLite keeps beside the file.
const WAL: &str = "-wal";
const SHM: &str = "-shm";
const ROLLBACK_JOURNAL: &str = "-journal";

/// The version of the ledger at that path; `None` if there is nothing, and a ledger may be made there.
///
/// # Errors
/// Something else is there, or something that shows that a ledger is lost.
pub(super) fn version(path: &Path) -> Result<Option<u32>, LedgerError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return nothing(path).map(|()| None),
        Err(error) => return Err(refuse(path, format!("it can't be looked at: {error}"), ACCESS)),
        Ok(found) if !found.is_file() => return Err(refuse(path, "it is no file", OTHER_PATH)),
        Ok(found) if found.len() == 0 => {
            let help =
                "put the ledger back from its backup; if it never was one, delete the empty file, and a new ledger can be made";
            return Err(refuse(path, "the file is empty", help));
        }
        Ok(_) => {}
    }
    let found = look(path).map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => refuse(path, "it is no SQLite database", OTHER_PATH),
        _ => refuse(path, format!("it can't be read: {error}"), ACCESS),
    })?;
    let Some(found) = found else {
        return Err(refuse(path, "it is an SQLite database of another program, and no ledger of QDRS", OTHER_PATH));
    };
    if found > migrate::known() {
        return Err(LedgerError::Newer { path: path.display().to_string(), found, known: migrate::known() });
    }
    Ok(Some(found))
}

const ACCESS: &str = "check who may read and write the file and its folder; the ledger belongs to the user who runs the service";
const OTHER_PATH: &str =
    "name the ledger's file with `ledger` in the config, QDRS_LEDGER or --ledger; this file is left as it is";

fn refuse(path: &Path, why: impl Into<String>, help: impl Into<String>) -> LedgerError {
    LedgerError::Unusable { path: path.display().to_string(), why: why.into(), help: help.into() }
}

/// The ledger's version; none if it is another program's database.
fn look(path: &Path) -> rusqlite::Result<Option<u32>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let path = resolved(path);
    let connection = match Url::from_file_path(&path) {
        // Nobody has it open. Without this word SQLite would make files beside it even to read it.
        Ok(mut url) if !beside(&path, WAL).exists() => {
            url.set_query(Some("immutable=1"));
            Connection::open_with_flags(url.as_str(), flags | OpenFlags::SQLITE_OPEN_URI)?
        }
        _ => Connection::open_with_flags(&path, flags)?,
    };
    connection.busy_timeout(super::BUSY_TIMEOUT)?;
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let mut has_table = connection.prepare("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1)")?;
    let tables =
        TABLES.iter().map(|name| has_table.query_row([name], |row| row.get(0))).collect::<rusqlite::Result<Vec<bool>>>()?;
    let ours = application == APPLICATION_ID || (application == 0 && version > 0 && tables.iter().all(|there| *there));
    Ok(ours.then_some(version))
}

/// No file is at the path. An error if something shows that a ledger has been there.
fn nothing(path: &Path) -> Result<(), LedgerError> {
    if let Ok(target) = fs::read_link(path) {
        let help = "put the ledger back where the link leads, or remove the link";
        return Err(refuse(path, format!("it is a link to {}, and nothing is there", target.display()), help));
    }
    let folder = folder_of(path);
    if !folder.is_dir() {
        let help = "make the folder, or mount its disk, and check the path";
        return Err(refuse(path, format!("the folder {} is not there", folder.display()), help));
    }
    for end in [WAL, ROLLBACK_JOURNAL] {
        let left = beside(path, end);
        if left.exists() {
            let why = format!("the file is gone, and {} is still there", left.display());
            let help =
                "put the ledger back from its backup, or move what is left of the old one away, and a new ledger can be made";
            return Err(refuse(path, why, help));
        }
    }
    Ok(())
}

/// Makes a new ledger of this version. It gets its name when it is whole and on the disk, so that what breaks off leaves none.
/// The caller holds the lock.
pub(super) fn make(path: &Path) -> Result<(), LedgerError> {
    let io = |error: io::Error| refuse(path, format!("it can't be made: {error}"), ACCESS);
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    let new = folder_of(path).join(name);
    // A killed run may have left it.
    for left in [beside(&new, ROLLBACK_JOURNAL), new.clone()] {
        match fs::remove_file(left) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
    }
    private(File::options().write(true).create_new(true)).open(&new).map_err(io)?;
    let mut connection = Connection::open_with_flags(&new, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    migrate::migrate(&mut connection, path)?;
    connection.close().map_err(|(_, error)| error)?;
    fs::rename(&new, path).map_err(io)?;
    #[cfg(unix)]
    File::open(folder_of(path)).and_then(|folder| folder.sync_all()).map_err(io)?;
    Ok(())
}

/// Opens the file to write, as a ledger that is there; only its owner may read it from now on.
pub(super) fn open(path: &Path) -> Result<Connection, LedgerError> {
    let path = &resolved(path);
    // Root could write it all the same.
    if fs::metadata(path).is_ok_and(|found| found.permissions().readonly()) {
        let help = format!("if it is to be written again, as the user to whom it belongs: chmod 600 {}", path.display());
        return Err(refuse(path, "the file is read-only", help));
    }
    close_to_others(path)?;
    for end in [WAL, SHM] {
        close_to_others(&beside(path, end))?;
    }
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    if connection.is_readonly("main")? {
        return Err(refuse(path, "it can't be written", ACCESS));
    }
    Ok(connection)
}

/// The lock of the one process that serves from the ledger, or changes what every other process relies on.
///
/// # Errors
/// Another process has it, or its file can't be used.
pub(super) fn lock(path: &Path) -> Result<File, LedgerError> {
    let lock = beside(&resolved(path), ".lock");
    let mut options = File::options();
    let opened = private(options.create(true).truncate(false).write(true)).open(&lock);
    let file = opened.map_err(|error| refuse(path, format!("its lock {} can't be opened: {error}", lock.display()), ACCESS))?;
    // Whoever can read it can lock it.
    close_to_others(&lock)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LedgerError::Serving { path: path.display().to_string() }),
        Err(TryLockError::Error(error)) => {
            Err(refuse(path, format!("its lock {} can't be had: {error}", lock.display()), ACCESS))
        }
    }
}

/// The file's own path, since two names of one file must meet at one lock.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file that these options make can be read by its owner alone.
fn private(options: &mut fs::OpenOptions) -> &mut fs::OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Takes the rights of others away from a file of an older version.
fn close_to_others(path: &Path) -> Result<(), LedgerError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = match fs::metadata(path) {
            Ok(found) => found.permissions().mode() & 0o777,
            // The last one who had the ledger open has just removed what was beside it.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(refuse(path, format!("it can't be looked at: {error}"), ACCESS)),
        };
        if mode & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(|error| {
                let help = format!("as the user to whom it belongs: chmod 600 {}", path.display());
                refuse(path, format!("its mode {mode:03o} lets others at it, and that can't be changed: {error}"), help)
            })?;
            tracing::info!(path = %path.display(), "its mode was {mode:03o}, and is 600 now");
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}
