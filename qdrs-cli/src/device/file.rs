//! A folder in which each device is a file, mode 0600, that holds its device connection string.
//!
//! For software products and tests. A file is written under another name, synced, and then renamed, so that under its
//! own name there is always a whole connection string; afterwards it is read back and compared. There is always a next
//! device, since nobody has to put one in; so it is gone as soon as it is finished.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use qdrs_core::{api::Evidence, connection_string::DeviceConnectionString};
use zeroize::Zeroizing;

use super::{Device, DeviceError, Identity, Why};

/// What a connection string may have in bytes; a larger file is none.
const FILE_BYTES_MAX: u64 = 4096;

/// The folder, and the file that was written last.
pub struct Folder {
    folder: PathBuf,
    current: Option<PathBuf>,
}

impl Folder {
    /// Uses the folder, making it if there is none.
    ///
    /// # Errors
    /// It can't be made.
    pub fn open(folder: &str) -> Result<Self, DeviceError> {
        let folder = PathBuf::from(folder);
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&folder).map_err(|source| Why::File { path: folder.clone(), source })?;
        Ok(Self { folder, current: None })
    }

    /// The file of a device. Its id becomes a name only when it can be nothing but a name in this very folder.
    fn path_of(&self, device_id: &str) -> Result<PathBuf, DeviceError> {
        let safe = device_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if !safe || device_id.is_empty() || device_id.starts_with('.') {
            return Err(Why::Unfit { device_id: device_id.to_owned(), fault: "can't be the name of a file" }.into());
        }
        Ok(self.folder.join(format!("{device_id}.txt")))
    }
}

impl Device for Folder {
    fn identify(&mut self) -> Result<Identity, DeviceError> {
        Ok(Identity::default())
    }

    fn write(&mut self, credential: &DeviceConnectionString) -> Result<Evidence, DeviceError> {
        let path = self.path_of(&credential.device_id)?;
        let fault = |source| Why::File { path: path.clone(), source };
        if read(&path).map_err(fault)?.is_some_and(|held| held.device_id != credential.device_id) {
            return Err(Why::FileTaken { path }.into());
        }
        let fresh = self.folder.join(format!(".{}.new", credential.device_id));
        let text = credential.reveal();
        let written = write_new(&fresh, text.as_bytes()).and_then(|()| std::fs::rename(&fresh, &path));
        if let Err(source) = written {
            // Best effort: what is left has a secret in it, and the next write would remove it anyway.
            let _ = std::fs::remove_file(&fresh);
            return Err(fault(source).into());
        }
        self.current = Some(path.clone());
        // From here on the file has its name.
        let touched = |why: Why| DeviceError::from(why).and_touched();
        sync_folder(&self.folder).map_err(|source| touched(fault(source)))?;
        let same = read(&path).map_err(|source| touched(fault(source)))?.is_some_and(|held| held.reveal() == text);
        if same { Ok(Evidence::ReadBack) } else { Err(touched(Why::FileDiffers { path })) }
    }

    fn read_back(&mut self) -> Result<Option<DeviceConnectionString>, DeviceError> {
        let Some(path) = &self.current else { return Ok(None) };
        Ok(read(path).map_err(|source| Why::File { path: path.clone(), source })?)
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        self.current = None;
        Ok(())
    }

    fn present(&mut self) -> Result<bool, DeviceError> {
        Ok(self.current.is_some())
    }
}

/// Writes a new file that only this user can read, down to the disk.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // One that was left behind may have any mode or be a link to somewhere: never write through it.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a rename last; Windows neither needs nor knows it.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// What the file holds; none when there is no such file, or when it holds something else.
fn read(path: &Path) -> io::Result<Option<DeviceConnectionString>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES_MAX as usize));
    match file.take(FILE_BYTES_MAX).read_to_string(&mut text) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
        other => other?,
    };
    Ok(DeviceConnectionString::parse(text.trim_end()).ok())
}

#[cfg(test)]
mod tests {
    use qdrs_core::{api::Code, connection_string::DeviceKey, explain::Explain};

    use super::*;

    fn credential(device_id: &str) -> DeviceConnectionString {
        DeviceConnectionString {
            host_name: "h.azure-devices.net".to_owned(),
            device_id: device_id.to_owned(),
            key: DeviceKey::generate(),
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_nothing_else_is_left() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("devices");
        let mut device = Folder::open(folder.to_str().expect("text")).expect("opens");
        let first = credential("QD-1");
        assert_eq!(device.write(&first).expect("writes"), Evidence::ReadBack);
        assert!(device.present().expect("asks"));
        assert_eq!(device.read_back().expect("reads").expect("is there").key.fingerprint(), first.key.fingerprint());
        device.finish().expect("finishes");
        assert!(!device.present().expect("asks"));
        // The same serial again, with a new key.
        let second = credential("QD-1");
        device.write(&second).expect("writes");
        let names: Vec<_> = std::fs::read_dir(&folder).expect("lists").map(|entry| entry.expect("entry").file_name()).collect();
        assert_eq!(names, ["QD-1.txt"]);
        let text = std::fs::read_to_string(folder.join("QD-1.txt")).expect("reads");
        assert_eq!(text, *second.reveal());
    }

    #[cfg(unix)]
    #[test]
    fn only_this_user_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().expect("a folder");
        let mut device = Folder::open(home.path().to_str().expect("text")).expect("opens");
        std::os::unix::fs::symlink(home.path().join("elsewhere"), home.path().join(".QD-1.new")).expect("links");
        device.write(&credential("QD-1")).expect("writes");
        let mode = std::fs::metadata(home.path().join("QD-1.txt")).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!home.path().join("elsewhere").exists());
    }

    #[test]
    fn a_device_id_never_leaves_the_folder_and_never_takes_anothers_file() {
        let home = tempfile::tempdir().expect("a folder");
        let mut device = Folder::open(home.path().to_str().expect("text")).expect("opens");
        for id in ["../QD-1", "a/b", "a\\b", "..", ".x", "", "a b"] {
            let error = device.write(&credential(id)).expect_err("is no name");
            assert_eq!((error.code(), error.touched()), (Code::CredentialTooLong, false), "{id}");
        }
        std::fs::write(home.path().join("QD-2.txt"), credential("qd-2").reveal().as_bytes()).expect("writes");
        let error = device.write(&credential("QD-2")).expect_err("is taken");
        assert_eq!((error.code(), error.touched()), (Code::DeviceRefused, false));
    }

    #[test]
    fn what_is_no_connection_string_is_written_over_and_what_can_not_be_read_is_said_so() {
        let home = tempfile::tempdir().expect("a folder");
        let mut device = Folder::open(home.path().to_str().expect("text")).expect("opens");
        let path = home.path().join("QD-1.txt");
        assert!(device.read_back().expect("asks").is_none(), "nothing was written yet");
        for held in [&b"not a string of ours"[..], b"\xff\xfe", b""] {
            std::fs::write(&path, held).expect("writes");
            assert_eq!(device.write(&credential("QD-1")).expect("writes"), Evidence::ReadBack);
        }
        std::fs::write(&path, "changed since").expect("writes");
        assert!(device.read_back().expect("reads").is_none(), "it holds something else");
        std::fs::remove_file(&path).expect("removes");
        std::fs::create_dir(&path).expect("makes");
        for error in [device.write(&credential("QD-1")).expect_err("a folder"), device.read_back().expect_err("a folder")] {
            assert_eq!((error.code(), error.touched()), (Code::FileUnwritable, false));
        }
        // Where the new file should go, something is that can't be removed.
        std::fs::create_dir(home.path().join(".QD-2.new")).expect("makes");
        let error = device.write(&credential("QD-2")).expect_err("in the way");
        assert_eq!((error.code(), error.touched()), (Code::FileUnwritable, false));
        let Why::File { source, .. } = error.why else { panic!("is another fault") };
        assert_ne!(source.kind(), io::ErrorKind::AlreadyExists, "that it can't be removed is what is wrong");
        assert!(!home.path().join("QD-2.txt").exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_nowhere_is_not_taken_for_no_file() {
        let home = tempfile::tempdir().expect("a folder");
        let mut device = Folder::open(home.path().to_str().expect("text")).expect("opens");
        let path = home.path().join("QD-1.txt");
        std::os::unix::fs::symlink(&path, &path).expect("links");
        let error = device.write(&credential("QD-1")).expect_err("can't be read");
        assert_eq!((error.code(), error.touched()), (Code::FileUnwritable, false));
    }

    #[test]
    fn a_folder_that_is_gone_is_said_so() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("devices");
        let mut device = Folder::open(folder.to_str().expect("text")).expect("opens");
        std::fs::remove_dir(&folder).expect("removes");
        let error = device.write(&credential("QD-1")).expect_err("can't be written");
        assert_eq!((error.code(), error.touched()), (Code::FileUnwritable, false));
    }
}
