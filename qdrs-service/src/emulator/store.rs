//! Where the devices are kept over restarts: one SQLite file, one row a device, behind one writer thread.
//!
//! The registry in memory is what is asked; changes are sent here in the order they were made and committed in
//! groups. [`Store::flush`] waits until all that was sent before is committed, so that what was answered survives a
//! kill. Without a file there is no store at all.
//!
//! The file holds device keys in clear, as the real hub does: it is made with mode 0600.

use std::{
    fs::File,
    path::Path,
    sync::{Arc, mpsc},
    thread,
};

use rusqlite::{Connection, OptionalExtension};
use tokio::sync::oneshot;
use tracing::error;

use super::{EmulatorError, device::Device};

/// Written to the file; a newer one is refused.
const SCHEMA_VERSION: i64 = 1;
/// How many changes one commit takes at most.
const GROUP_MAX: usize = 1000;

const SCHEMA: &str = "
    CREATE TABLE device (id TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID, STRICT;
    CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT;
    PRAGMA user_version = 1;
";

enum Message {
    Put(Arc<Device>),
    Delete(String),
    Flush(oneshot::Sender<Result<(), String>>),
}

/// The open file. Dropping it commits what was sent and closes the file.
pub(super) struct Store {
    sender: Option<mpsc::Sender<Message>>,
    writer: Option<thread::JoinHandle<()>>,
}

/// What a file held when it was opened.
#[derive(Default)]
pub(super) struct Held {
    pub(super) devices: Vec<Device>,
    pub(super) owner_key: Option<String>,
}

impl Store {
    /// Opens or makes the file; says what it held.
    pub(super) fn open(path: &Path) -> Result<(Self, Held), EmulatorError> {
        private_file(path, false)?;
        let connection = Connection::open(path)?;
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 2000;")?;
        match connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))? {
            0 => connection.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA} COMMIT;"))?,
            SCHEMA_VERSION => {}
            found => return Err(EmulatorError::StoreVersion { path: path.to_owned(), found, known: SCHEMA_VERSION }),
        }
        let owner_key =
            connection.query_row("SELECT value FROM setting WHERE name = 'owner-key'", [], |row| row.get(0)).optional()?;
        let mut devices = Vec::new();
        {
            let mut statement = connection.prepare("SELECT record FROM device ORDER BY id")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let record = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
                devices.push(
                    serde_json::from_str(record)
                        .map_err(|source| EmulatorError::StoreRecord { path: path.to_owned(), source })?,
                );
            }
        }
        let (sender, receiver) = mpsc::channel();
        let writer = thread::Builder::new().name("emulator-store".into()).spawn(move || write(&connection, &receiver))?;
        Ok((Self { sender: Some(sender), writer: Some(writer) }, Held { devices, owner_key }))
    }

    /// Keeps the owner's key for the next start.
    pub(super) fn keep_owner_key(path: &Path, key: &str) -> Result<(), EmulatorError> {
        let connection = Connection::open(path)?;
        connection.execute("INSERT INTO setting VALUES ('owner-key', ?1) ON CONFLICT DO UPDATE SET value = ?1", [key])?;
        Ok(())
    }

    pub(super) fn put(&self, device: Arc<Device>) {
        self.send(Message::Put(device));
    }

    pub(super) fn delete(&self, id: &str) {
        self.send(Message::Delete(id.to_owned()));
    }

    /// Waits until everything sent before is committed.
    pub(super) async fn flush(&self) -> Result<(), String> {
        let (done, committed) = oneshot::channel();
        self.send(Message::Flush(done));
        committed.await.unwrap_or_else(|_| Err("the writer has ended".into()))
    }

    fn send(&self, message: Message) {
        if let Some(sender) = &self.sender {
            // Fails only when the writer has died, which `flush` then reports.
            let _ = sender.send(message);
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// The writer: takes what waits, commits it as one, then says so to those who wait for it.
fn write(connection: &Connection, receiver: &mpsc::Receiver<Message>) {
    while let Ok(first) = receiver.recv() {
        let mut waiting = Vec::new();
        let group = std::iter::once(first).chain(receiver.try_iter().take(GROUP_MAX));
        let result = write_group(connection, group, &mut waiting);
        if let Err(error) = &result {
            error!(%error, "the emulator's store can't be written");
            let _ = connection.execute_batch("ROLLBACK");
        }
        for done in waiting {
            let _ = done.send(result.as_ref().copied().map_err(ToString::to_string));
        }
    }
}

fn write_group(
    connection: &Connection,
    group: impl Iterator<Item = Message>,
    waiting: &mut Vec<oneshot::Sender<Result<(), String>>>,
) -> Result<(), rusqlite::Error> {
    let mut result = connection.execute_batch("BEGIN IMMEDIATE");
    for message in group {
        let wrote = match message {
            // A failed group still has to hear all who wait for it.
            Message::Flush(done) => {
                waiting.push(done);
                continue;
            }
            _ if result.is_err() => continue,
            Message::Put(device) => serde_json::to_string(&*device)
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
                .and_then(|record| {
                    connection
                        .prepare_cached("INSERT INTO device VALUES (?1, ?2) ON CONFLICT DO UPDATE SET record = ?2")?
                        .execute((&device.id, record))
                }),
            Message::Delete(id) => {
                connection.prepare_cached("DELETE FROM device WHERE id = ?1").and_then(|mut statement| statement.execute([id]))
            }
        };
        if let Err(error) = wrote {
            result = Err(error);
        }
    }
    result.and_then(|()| connection.execute_batch("COMMIT"))
}

/// Opens a file that only its owner may read, making it if need be; `new` insists on making it.
pub(super) fn private_file(path: &Path, new: bool) -> std::io::Result<File> {
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create(true).create_new(new);
    #[cfg(unix)]
    {
        use fs_err::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    Ok(options.open(path)?.into_parts().0)
}
