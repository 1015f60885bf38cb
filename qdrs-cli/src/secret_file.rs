//! Files that hold a secret: made with mode 0600, replaced whole or not at all, refused when others can read them.
//!
//! On Windows a file in the user's profile is readable by that user alone, as its folder's access list says; there is no
//! mode to set or check.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// The longest secret file that is read, in bytes.
pub const BYTES_MAX: usize = 64 * 1024;

/// Opens a file that is this user's alone: made with mode 0600, and brought to it when it was made otherwise.
///
/// # Errors
///
/// The operating system's. Another user's file keeps the mode that it has.
pub fn open_private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let private = std::fs::Permissions::from_mode(0o600);
        if file.metadata()?.permissions().mode() & 0o077 != 0
            && let Err(error) = file.set_permissions(private)
            && error.kind() != io::ErrorKind::PermissionDenied
        {
            return Err(error);
        }
    }
    Ok(file)
}

/// Makes a folder and the missing ones above it, with mode 0700.
///
/// # Errors
///
/// The operating system's.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Makes the folder's list of names durable, after a file was made or renamed in it.
///
/// # Errors
///
/// The operating system's.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder_of(path))?.sync_all()?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Writes a file with mode 0600 that is there whole or not at all: a new name, synced, then renamed, then the folder synced.
///
/// # Errors
///
/// The operating system's; the file is then as it was.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    temporary(path, bytes)?.persist(path).map_err(|error| error.error)?;
    sync_folder_of(path)
}

/// The same, but never replaces a file.
///
/// # Errors
///
/// The operating system's; [`io::ErrorKind::AlreadyExists`] when there is a file of that name.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    temporary(path, bytes)?.persist_noclobber(path).map_err(|error| error.error)?;
    sync_folder_of(path)
}

/// A synced file beside `path`, gone again unless it gets its name. The crate makes it anew with mode 0600.
///
/// Always of the same name, so that what a killed run left is cleared away by the next, which writes the same file.
fn temporary(path: &Path, bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let (mut before, folder) = (OsString::from("."), folder_of(path));
    before.push(name);
    before.push(".qdrs-new");
    match std::fs::remove_file(folder.join(&before)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = tempfile::Builder::new().prefix(&before).rand_bytes(0).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Reads a file that holds a secret.
///
/// # Errors
///
/// [`ReadError`], also when others than its owner can read it.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    let io = |source| ReadError::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(io)?;
    // The opened file is asked, not the name: nobody can swap it in between.
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().map_err(io)?.permissions());
        if mode & 0o077 != 0 {
            return Err(ReadError::OpenToOthers { path: path.to_owned(), mode: mode & 0o777 });
        }
    }
    // No growing buffer that leaves copies of the secret behind.
    let mut bytes = Zeroizing::new(vec![0; BYTES_MAX + 1]);
    let mut length = 0;
    loop {
        match file.read(&mut bytes[length..]).map_err(io)? {
            0 => break,
            more => length += more,
        }
        if length > BYTES_MAX {
            return Err(ReadError::TooLong { path: path.to_owned() });
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Why a file with a secret can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Others than its owner may read it.
    #[error("`{}` can be read by others (mode {mode:04o})", path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Longer than [`BYTES_MAX`].
    #[error("`{}` is too long to hold what is looked for", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refuses.
    #[error("`{}` can't be read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_private_and_comes_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        write(&path, b"one").expect("writes");
        // As a killed run leaves it.
        std::fs::write(folder.path().join(".secret.qdrs-new"), b"o").expect("writes");
        write(&path, b"two").expect("replaces");
        assert_eq!(write_new(&path, b"three").expect_err("never replaces").kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(read(&path).expect("reads").as_slice(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 1, "no temporary file is left");
    }

    #[cfg(unix)]
    #[test]
    fn what_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        write(&path, b"one").expect("writes");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("changes the mode");
        let error = read(&path).expect_err("refused");
        assert!(error.to_string().ends_with("can be read by others (mode 0640)"), "{error}");
    }
}
