//! The journal: a station's own record of its work, which survives `kill -9` and a pulled plug.
//!
//! One file for a station and a service, only ever appended to. Each line is a JSON object,
//! `{"crc":"<8 hex digits>","entry":{…}}`; the CRC-32 runs over the text of the entry and the CRC of the line before, so
//! that a changed, lost or moved line is found. The first line is the header with the version and the service's URL.
//! [`Journal::append`] is the only place that writes, and returns when the line is on the disk: what has been told to the
//! service or to a device was written here before. Credentials stand in it as they came, sealed to the access code.
//!
//! A station is its journal: it carries a UUID ([`identity`]), and notices when it was copied or restored.
//!
//! Knows neither the service nor devices; what follows from a state is `station/`'s to decide.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use qdrs_core::{
    api::{Code, Registration, SerialStatus},
    explain::Explain,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

mod identity;
mod state;

pub use identity::{Because, Maker, Place};
use identity::{Identity, Lock, Mark};
pub use state::{Attempt, Dead, Entry, Failure, JobState, Phase, Step, Verdict, Written};

/// The version that this QDRS writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// The longest line that is read or written, in bytes. A registration takes about one kilobyte.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// How long another process may take to let go.
const LOCK_WAIT: Duration = Duration::from_millis(500);

/// What each line begins with, before eight digits of CRC.
const BEFORE_CRC: &[u8] = b"{\"crc\":\"";
/// What follows the CRC, before the entry.
const AFTER_CRC: &[u8] = b"\",\"entry\":";
/// What ends each line, after the entry.
const END: &[u8] = b"}\n";
const CRC_DIGITS: usize = 8;

/// What a person has to know of a copied journal.
const COPIED: &str = "this station's journal is a copy: it goes on as a station of its own, and what it holds as begun is left to the \
                      station that began it, unless you say `--take-over REASON`";
/// The same of one that was restored.
const RESTORED: &str = "this station's journal lacks what was noted since, as after a restore from a backup: what it holds as begun may \
                        be done by now and is left as it is, unless you say `--take-over REASON`";
/// The same of one that was lost.
const LOST: &str = "this station's journal is gone, and a new one is begun: what the lost one had open is taken over, and its old \
                    credentials die";

const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// Why the journal can't be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process works with it.
    #[error("another `qdrs` is at work with the journal `{}`", path.display())]
    Busy {
        /// The journal.
        path: PathBuf,
    },
    /// A line was changed after it was written, or lines are missing.
    #[error("the journal `{}` is damaged: {why}", path.display())]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong with the line.
        why: &'static str,
    },
    /// Not a journal at all.
    #[error("`{}` is not a journal of QDRS", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Made by a later QDRS.
    #[error("the journal `{}` was written by a newer QDRS (version {found}; this one reads up to {VERSION})", path.display())]
    Newer {
        /// The journal.
        path: PathBuf,
        /// The version in its header, or of the entry.
        found: u64,
    },
    /// Belongs to another service.
    #[error("the journal `{}` belongs to the service {found}, not to {wanted}", path.display())]
    OtherService {
        /// The journal.
        path: PathBuf,
        /// The URL in its header.
        found: String,
        /// The URL in the settings.
        wanted: String,
    },
    /// The file or its folder can't be read or made.
    #[error("the journal `{}` can't be {doing}: {source}", path.display())]
    Io {
        /// The journal.
        path: PathBuf,
        /// "opened", "read", "written".
        doing: &'static str,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// An earlier write failed, so nothing more can be promised.
    #[error("the journal `{}` could not be written before, and takes nothing more", path.display())]
    Broken {
        /// The journal.
        path: PathBuf,
    },
}

impl Explain for JournalError {
    fn code(&self) -> Code {
        match self {
            Self::Busy { .. } => Code::JournalBusy,
            Self::Io { doing: "written", .. } | Self::Broken { .. } => Code::FileUnwritable,
            Self::Io { .. } | Self::Damaged { .. } | Self::Foreign { .. } | Self::Newer { .. } | Self::OtherService { .. } => {
                Code::JournalInvalid
            }
        }
    }

    fn at(&self) -> Option<String> {
        match self {
            Self::Damaged { path, line, .. } => Some(format!("{}, line {line}", path.display())),
            _ => None,
        }
    }

    fn help(&self) -> String {
        match self {
            Self::Newer { .. } => "use the newer `qdrs` at this station, or start with another `--journal`".into(),
            Self::OtherService { .. } => "name the other service, or leave `--journal` out: each service has its own".into(),
            Self::Foreign { .. } => "name another file with `--journal`; this one is left as it is".into(),
            Self::Io { doing: "opened" | "read", .. } => {
                "check the folder and its permissions, or name another file with `--journal`".into()
            }
            Self::Broken { .. } => "check the disk's free space and health, then run the same command again".into(),
            _ => self.code().help().to_owned(),
        }
    }
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    journal: String,
    version: u64,
    service: String,
    made_at: Timestamp,
}

/// The open journal, locked for this process. Share it behind an `Arc`; every method takes `&self`.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// Held as long as the journal is open.
    lock: Lock,
    /// What a person has to know of how it was found.
    notice: Option<&'static str>,
    book: Mutex<Book>,
    /// How many lines are known to be on the disk.
    synced: Mutex<u64>,
    /// A second handle on the same file, so that syncing keeps nobody from writing the next line.
    syncing: File,
}

/// What is written, and what follows from it.
#[derive(Debug)]
struct Book {
    file: File,
    bytes: u64,
    lines: u64,
    crc: u32,
    broken: bool,
    records: Records,
}

impl Journal {
    /// Opens the journal, or makes it; rebuilds the state of every serial, and mends what a torn last line left.
    ///
    /// `service` is the service's URL. The file is made with mode 0600, missing folders with 0700.
    ///
    /// # Errors
    ///
    /// When another process has it open; when it is damaged, newer, or another service's; when the disk refuses.
    pub fn open(path: &Path, service: &str) -> Result<Self, JournalError> {
        let io = |doing: &'static str| move |source| JournalError::Io { path: path.to_owned(), doing, source };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            crate::secret_file::make_folder(folder).map_err(io("opened"))?;
        }
        let mut file = crate::secret_file::open_private(OpenOptions::new().read(true).append(true).create(true), path)
            .map_err(io("opened"))?;
        // Two names of one file must meet at one lock.
        let path = path.canonicalize().map_err(io("opened"))?;
        let lock = Lock::take(&path)?;

        let io = |doing: &'static str| {
            let path = path.clone();
            move |source| JournalError::Io { path, doing, source }
        };
        let mark = lock.mark();
        let found = read(&path, &mut BufReader::new(&file), Some(service), mark.as_ref().map(|mark| mark.lines))?;
        let mut book = Book {
            file: file.try_clone().map_err(io("opened"))?,
            bytes: found.bytes,
            lines: found.lines,
            crc: found.crc,
            broken: false,
            records: found.records,
        };
        if found.torn {
            file.set_len(book.bytes).map_err(io("written"))?;
        }
        file.seek(SeekFrom::End(0)).map_err(io("read"))?;
        if book.lines == 0 {
            let header =
                Header { journal: "qdrs".into(), version: VERSION.into(), service: service.into(), made_at: Timestamp::now() };
            book.write(&header).map_err(io("written"))?;
        }
        let notice = book.take_identity(Place::of(&file), mark, found.chain).map_err(io("written"))?;
        book.records.live = true;
        if found.torn || book.lines > found.lines {
            file.sync_all().map_err(io("written"))?;
            crate::secret_file::sync_folder_of(&path).map_err(io("written"))?;
        }
        lock.set_mark(&book.records.identity, book.lines, book.crc).map_err(io("written"))?;
        Ok(Self { path, lock, notice, synced: Mutex::new(book.lines), book: Mutex::new(book), syncing: file })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one entry, and returns when it is on the disk. The only place that writes.
    ///
    /// Blocks for as long as the disk takes (milliseconds). Callers that come together share one sync.
    ///
    /// # Errors
    ///
    /// When the disk refuses. A line that was written in part is taken back; if even that or the sync fails, what is on
    /// the disk is unknown, and the journal takes nothing more.
    pub fn append(&self, entry: Entry) -> Result<(), JournalError> {
        let line = {
            let mut book = self.book();
            if book.broken {
                return Err(JournalError::Broken { path: self.path.clone() });
            }
            book.write(&entry).map_err(|source| self.unwritten(source))?;
            book.records.apply(entry);
            book.lines
        };
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if *synced >= line {
            return Ok(());
        }
        // Whoever wrote while another caller's sync ran is covered by this one.
        let (written, crc, broken) = {
            let book = self.book();
            (book.lines, book.crc, book.broken)
        };
        if broken {
            return Err(JournalError::Broken { path: self.path.clone() });
        }
        if let Err(source) = self.syncing.sync_data() {
            // After a failed sync the kernel may have dropped the pages: a later success would prove nothing.
            self.book().broken = true;
            return Err(self.unwritten(source));
        }
        *synced = written;
        // A mark that is behind is as good as one that was written before a power cut.
        if let Err(error) = self.lock.set_mark(&self.book().records.identity, written, crc) {
            tracing::debug!(%error, "the lock file does not take how far the journal has come");
        }
        Ok(())
    }

    /// Names it, and with it this station: nobody else's journal has this id.
    pub fn id(&self) -> Option<Uuid> {
        self.book().records.identity.id
    }

    /// What a person has to know of how it was found: copied, restored, or lost and begun anew.
    pub fn notice(&self) -> Option<&'static str> {
        self.notice
    }

    /// How many jobs were begun under its id. The service can't know of more.
    pub fn jobs(&self) -> u64 {
        self.book().records.identity.jobs
    }

    /// The service knows of more than this journal does: it was restored or copied. It goes on under another id, and what it
    /// holds as begun is no longer its own. Returns what a person has to know.
    ///
    /// # Errors
    ///
    /// See [`Self::append`].
    pub fn renew(&self) -> Result<&'static str, JournalError> {
        let place = self.book().records.identity.place.clone();
        let step = Step::Identity { id: Uuid::new_v4(), place, because: Because::Restored, lost: Vec::new() };
        self.append(Entry::new("", step))?;
        Ok(RESTORED)
    }

    /// How the journal that made a registration stands to this one.
    pub fn maker(&self, journal: Option<Uuid>) -> Maker {
        self.book().records.identity.maker(journal)
    }

    /// What is known of a serial, by the text it was sent as or by its normal form.
    pub fn state(&self, serial: &str) -> Option<JobState> {
        self.book().records.state(serial).cloned()
    }

    /// Up to which number the releases of that access code were noted; 0 if none was.
    pub fn heard(&self, code: &str) -> u64 {
        self.book().records.heard.get(code).copied().unwrap_or(0)
    }

    /// All serials, in the order in which their work began.
    pub fn all(&self) -> Vec<JobState> {
        self.book().records.all().into_iter().cloned().collect()
    }

    /// Reads a journal that another process may be writing, without locking or mending it.
    ///
    /// # Errors
    ///
    /// When it is not there, damaged, or newer.
    pub fn read(path: &Path) -> Result<Records, JournalError> {
        let file = File::open(path).map_err(|source| JournalError::Io { path: path.to_owned(), doing: "read", source })?;
        Ok(read(path, &mut BufReader::new(file), None, None)?.records)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unwritten(&self, source: std::io::Error) -> JournalError {
        JournalError::Io { path: self.path.clone(), doing: "written", source }
    }
}

impl Book {
    /// Gives the journal in that file an id if it has none, or none that it may go on with. Returns what a person has to know.
    fn take_identity(&mut self, here: Place, mark: Option<Mark>, chain: Option<u32>) -> std::io::Result<Option<&'static str>> {
        let fresh = self.records.entries == 0;
        let Some(because) = self.records.identity.change(&here, mark.as_ref(), chain, fresh) else { return Ok(None) };
        let lost = match (because, mark) {
            (Because::Begun, Some(mark)) => [vec![mark.journal], mark.lost].concat(),
            _ => Vec::new(),
        };
        let notice = match because {
            Because::Copied => Some(COPIED),
            Because::Restored => Some(RESTORED),
            Because::Begun if !lost.is_empty() => Some(LOST),
            Because::Begun => None,
        };
        let entry = Entry::new("", Step::Identity { id: Uuid::new_v4(), place: here, because, lost });
        self.write(&entry)?;
        self.records.apply(entry);
        Ok(notice)
    }

    /// Appends one line; on a failure takes back what was written of it.
    fn write(&mut self, entry: &impl Serialize) -> std::io::Result<()> {
        let (line, crc) = encode(entry, self.crc)?;
        if let Err(error) = self.file.write_all(&line) {
            self.broken = self.file.set_len(self.bytes).is_err();
            return Err(error);
        }
        self.bytes += line.len() as u64;
        self.lines += 1;
        self.crc = crc;
        Ok(())
    }
}

/// What a journal tells: the state of each serial.
#[derive(Debug, Default)]
pub struct Records {
    /// By the text the serial was sent as.
    states: BTreeMap<String, JobState>,
    /// Normal form -> text it was sent as, where they differ.
    sent_as: HashMap<String, String>,
    /// Key id of an access code -> the number of the last of its releases that was noted.
    heard: HashMap<String, u64>,
    entries: u64,
    identity: Identity,
    /// True while this process writes the entries; false while older ones are read.
    live: bool,
}

impl Records {
    /// How the journal that made a registration stands to this one. One without an id knows its own by the attempt.
    pub fn maker_of(&self, status: &SerialStatus) -> Maker {
        let known = || self.state(&status.serial).filter(|state| !state.foreign).and_then(|state| state.reservation);
        match status.journal {
            _ if !status.yours => Maker::Other,
            None if status.reservation.is_some() && known() == status.reservation => Maker::This,
            journal => self.identity.maker(journal),
        }
    }

    /// What is known of a serial, by the text it was sent as or by its normal form.
    pub fn state(&self, serial: &str) -> Option<&JobState> {
        self.states.get(serial).or_else(|| self.states.get(self.sent_as.get(serial)?))
    }

    /// All serials, in the order in which their work began.
    pub fn all(&self) -> Vec<&JobState> {
        let mut all: Vec<_> = self.states.values().collect();
        all.sort_by_key(|state| state.order);
        all
    }

    fn apply(&mut self, entry: Entry) {
        match entry.step {
            Step::Heard { code, releases } => {
                self.heard.insert(code, releases);
                return;
            }
            Step::Identity { id, place, because, lost } => {
                if because != Because::Begun {
                    self.states.values_mut().for_each(|state| state.foreign = true);
                }
                self.identity.becomes(id, place, because, lost);
                return;
            }
            Step::Job { .. } => self.identity.jobs += 1,
            _ => {}
        }
        if let Step::Registered { registration } = &entry.step {
            let Registration { serial, .. } = &**registration;
            if *serial != entry.serial {
                self.sent_as.insert(serial.clone(), entry.serial.clone());
            }
        }
        self.entries += 1;
        let order = self.entries;
        let live = self.live;
        self.states
            .entry(entry.serial.clone())
            .or_insert_with(|| JobState::new(&entry.serial, entry.at, order))
            .apply(entry, live);
    }
}

/// What reading found.
struct Found {
    records: Records,
    /// Length of the whole lines.
    bytes: u64,
    lines: u64,
    crc: u32,
    /// Something follows the whole lines: the start of a line that never got finished.
    torn: bool,
    /// The CRC of the line that was asked for, if it is there.
    chain: Option<u32>,
}

fn read(path: &Path, from: &mut impl BufRead, service: Option<&str>, chain_of: Option<u64>) -> Result<Found, JournalError> {
    let mut found = Found { records: Records::default(), bytes: 0, lines: 0, crc: 0, torn: false, chain: None };
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = from.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line);
        read.map_err(|source| JournalError::Io { path: path.to_owned(), doing: "read", source })?;
        let number = found.lines + 1;
        let damaged = |why| {
            if number == 1 {
                JournalError::Foreign { path: path.to_owned() }
            } else {
                JournalError::Damaged { path: path.to_owned(), line: number, why }
            }
        };
        if line.is_empty() {
            return Ok(found);
        }
        if !line.ends_with(b"\n") {
            // Never promised to anybody, since `append` had not returned: a kill or a power cut came first.
            if line.len() == LINE_BYTES_MAX {
                return Err(damaged("the line is too long"));
            }
            if !begins_like_a_line(&line) && line.iter().any(|byte| *byte != 0) {
                return Err(damaged("its end is not that of a journal"));
            }
            found.torn = true;
            return Ok(found);
        }
        let (text, said) = decode(&line).ok_or_else(|| damaged("the line is no entry"))?;
        let crc = chained(found.crc, text);
        if crc != said {
            return Err(damaged("its checksum does not hold"));
        }
        if number == 1 {
            check_header(path, text, service)?;
        } else {
            let entry = serde_json::from_slice(text).map_err(|_| unreadable(path, number, text))?;
            found.records.apply(entry);
        }
        (found.bytes, found.lines, found.crc) = (found.bytes + line.len() as u64, number, crc);
        if chain_of == Some(number) {
            found.chain = Some(crc);
        }
    }
}

/// The checksum holds, so nobody damaged the line: a later QDRS wrote what this one does not know.
fn unreadable(path: &Path, line: u64, text: &[u8]) -> JournalError {
    let step =
        serde_json::from_slice::<serde_json::Value>(text).ok().and_then(|entry| Some(entry.get("step")?.as_str()?.to_owned()));
    match step {
        Some(step) if !Step::NAMES.contains(&step.as_str()) => {
            JournalError::Newer { path: path.to_owned(), found: u64::from(VERSION) + 1 }
        }
        _ => JournalError::Damaged { path: path.to_owned(), line, why: "the entry makes no sense" },
    }
}

fn check_header(path: &Path, text: &[u8], service: Option<&str>) -> Result<(), JournalError> {
    let foreign = || JournalError::Foreign { path: path.to_owned() };
    // The version first: a newer header may have other members.
    let header: serde_json::Value = serde_json::from_slice(text).map_err(|_| foreign())?;
    let version = header.get("version").and_then(serde_json::Value::as_u64).ok_or_else(foreign)?;
    if version > VERSION.into() {
        return Err(JournalError::Newer { path: path.to_owned(), found: version });
    }
    let header: Header = serde_json::from_value(header).map_err(|_| foreign())?;
    match service {
        Some(wanted) if header.service != wanted => {
            Err(JournalError::OtherService { path: path.to_owned(), found: header.service, wanted: wanted.to_owned() })
        }
        _ => Ok(()),
    }
}

fn begins_like_a_line(torn: &[u8]) -> bool {
    let length = torn.len().min(BEFORE_CRC.len());
    torn[..length] == BEFORE_CRC[..length]
}

fn chained(before: u32, text: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&before.to_be_bytes());
    digest.update(text);
    digest.finalize()
}

fn encode(entry: &impl Serialize, before: u32) -> std::io::Result<(Vec<u8>, u32)> {
    let text = serde_json::to_vec(entry)?;
    let crc = chained(before, &text);
    let line = [BEFORE_CRC, format!("{crc:08x}").as_bytes(), AFTER_CRC, &text, END].concat();
    if line.len() >= LINE_BYTES_MAX {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "the entry is too long"));
    }
    Ok((line, crc))
}

/// The entry's text and the CRC that the line says.
fn decode(line: &[u8]) -> Option<(&[u8], u32)> {
    let rest = line.strip_prefix(BEFORE_CRC)?;
    let (digits, rest) = rest.split_at_checked(CRC_DIGITS)?;
    let digits =
        std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f')))?;
    let text = rest.strip_prefix(AFTER_CRC)?.strip_suffix(END)?;
    Some((text, u32::from_str_radix(digits, 16).ok()?))
}

#[cfg(test)]
mod tests;
