//! Whose a journal is: a UUID made with it, the file that it was made for, and how far it had come when it was held last.
//!
//! The service knows a station by this UUID. A journal that was copied must not go on under it, nor one that was restored
//! from a backup: what such a one holds as begun may have gone on elsewhere. A copy is known by its file, which is another
//! one; a restored journal lacks lines that the lock file beside it has seen ([`Mark`]). When the journal is gone and its
//! lock file is still there, the new one knows which it follows.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
    time::Instant,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{JournalError, LOCK_WAIT};

/// The longest content of a lock file that is read, in bytes.
const MARK_BYTES_MAX: u64 = 16 * 1024;

/// Where a file lives, as far as this system shows it. A copy of the file has another place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Names the computer, if it has a name that no other has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) machine: Option<String>,
    /// When the file was made. Stays when it is moved or written over, and is another one for a copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) born: Option<Timestamp>,
    /// Its number in its file system, for systems that don't tell when a file was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) inode: Option<u64>,
}

impl Place {
    /// Where that file lives.
    pub(super) fn of(file: &File) -> Self {
        let Ok(metadata) = file.metadata() else { return Self::default() };
        let born = metadata.created().ok().and_then(|time| Timestamp::try_from(time).ok());
        #[cfg(unix)]
        let inode = Some(std::os::unix::fs::MetadataExt::ino(&metadata));
        #[cfg(not(unix))]
        let inode = None;
        Self { machine: machine(), born, inode }
    }

    /// True if both name the same place, as far as both have its parts.
    pub(super) fn is(&self, other: &Self) -> bool {
        fn agree<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> Option<bool> {
            Some(one.as_ref()? == other.as_ref()?)
        }
        let same_file = agree(&self.born, &other.born).or_else(|| agree(&self.inode, &other.inode));
        same_file.unwrap_or(true) && agree(&self.machine, &other.machine).unwrap_or(true)
    }
}

/// The computer's own id, hashed: whoever sees a journal shall not learn it.
fn machine() -> Option<String> {
    use sha2::{Digest, Sha256};
    if !cfg!(target_os = "linux") {
        return None;
    }
    let text = std::fs::read_to_string("/etc/machine-id").ok()?;
    let id = text.trim();
    let fit = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    fit.then(|| data_encoding::HEXLOWER.encode(&Sha256::new().chain_update("qdrs journal ").chain_update(id).finalize()[..8]))
}

/// Why a journal goes on under an identity of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Because {
    /// It is its first.
    Begun,
    /// The file is a copy.
    Copied,
    /// It lacks what was noted in it before.
    Restored,
}

/// The identity that a journal has by now, and those that it had.
#[derive(Debug, Default)]
pub(super) struct Identity {
    /// None in a journal of an early version that was not opened for writing since.
    pub(super) id: Option<Uuid>,
    pub(super) place: Place,
    /// Journals of this place that were lost: what they had open is this station's to take over.
    pub(super) lost: Vec<Uuid>,
    /// Its own earlier ones, before it was restored.
    pub(super) former: Vec<Uuid>,
    /// All of these, and those before it was copied.
    all: Vec<Uuid>,
    /// How many jobs were begun under it.
    pub(super) jobs: u64,
}

/// How the journal that made a registration stands to this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// It is this one.
    This,
    /// It was this station's, and was lost.
    Lost,
    /// It was this one, before it was restored.
    Former,
    /// It is another station's, or of a client that names none.
    Other,
}

impl Identity {
    pub(super) fn becomes(&mut self, id: Uuid, place: Place, because: Because, lost: Vec<Uuid>) {
        match because {
            Because::Begun => {}
            Because::Copied => self.former.clear(),
            Because::Restored => self.former.extend(self.id),
        }
        self.all.extend(self.id.iter().chain(&lost));
        (self.id, self.place, self.lost, self.jobs) = (Some(id), place, lost, 0);
    }

    pub(super) fn maker(&self, journal: Option<Uuid>) -> Maker {
        match journal {
            Some(_) if journal == self.id => Maker::This,
            Some(journal) if self.lost.contains(&journal) => Maker::Lost,
            Some(journal) if self.former.contains(&journal) => Maker::Former,
            _ => Maker::Other,
        }
    }

    /// Why a journal in this file needs another identity, if it does. `chain` is the CRC of its line that the mark names, and
    /// `fresh` a journal in which nothing stands.
    pub(super) fn change(&self, here: &Place, mark: Option<&Mark>, chain: Option<u32>, fresh: bool) -> Option<Because> {
        let Some(id) = self.id else {
            return Some(if mark.is_some() && !fresh { Because::Restored } else { Because::Begun });
        };
        let behind =
            mark.is_some_and(|mark| if mark.journal == id { chain != Some(mark.crc) } else { !self.all.contains(&mark.journal) });
        match (self.place.is(here), behind) {
            (false, _) => Some(Because::Copied),
            (true, true) => Some(Because::Restored),
            (true, false) => None,
        }
    }
}

/// What the lock file says of the journal beside it. Written after each line that is on the disk, and never synced by itself:
/// it may be behind the journal, and is never ahead of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) journal: Uuid,
    /// The journal's lines, and the CRC of the last one.
    pub(super) lines: u64,
    pub(super) crc: u32,
    /// See [`Identity::lost`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) lost: Vec<Uuid>,
    /// Of the lock file itself: a copied one says nothing.
    place: Place,
}

/// The lock file, held for this process.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    place: Place,
}

impl Lock {
    /// Locks the journal for this process, by a file beside it, so that `report` can read meanwhile on every platform.
    pub(super) fn take(path: &Path) -> Result<Self, JournalError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let io = |source| JournalError::Io { path: path.to_owned(), doing: "opened", source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = crate::secret_file::open_private(&mut options, Path::new(&name)).map_err(io)?;
        // An earlier run may be at its very end, and a child process holds the lock for the moment between its fork and exec.
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { place: Place::of(&file), file }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_WAIT / 20),
                Err(TryLockError::WouldBlock) => return Err(JournalError::Busy { path: path.to_owned() }),
                Err(TryLockError::Error(source)) => return Err(io(source)),
            }
        }
    }

    /// What it says, if it is no copy.
    pub(super) fn mark(&self) -> Option<Mark> {
        let (mut file, mut text) = (&self.file, String::new());
        file.seek(SeekFrom::Start(0)).ok()?;
        file.take(MARK_BYTES_MAX).read_to_string(&mut text).ok()?;
        let mark: Mark = serde_json::from_str(text.lines().next()?).ok()?;
        mark.place.is(&self.place).then_some(mark)
    }

    /// Says how far the journal has come.
    pub(super) fn set_mark(&self, identity: &Identity, lines: u64, crc: u32) -> std::io::Result<()> {
        let Some(journal) = identity.id else { return Ok(()) };
        let mark = Mark { journal, lines, crc, lost: identity.lost.clone(), place: self.place.clone() };
        // A longer one that was there before ends after this line.
        let line = [serde_json::to_vec(&mark)?, b"\n".to_vec()].concat();
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&line)
    }
}
