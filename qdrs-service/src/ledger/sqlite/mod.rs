//! The ledger in SQLite: one writer thread whose callers share a commit, and a few connections that read.
//!
//! Whoever waits while the thread is at work is taken together: one `BEGIN IMMEDIATE`, a savepoint for each deed so
//! that one refused deed does not sink its neighbours, one commit, and only then the answers. WAL with
//! `synchronous=FULL`: an answer means that the disk has it. One service process owns the file; the owner's commands may
//! write beside it.

use std::{
    fs::File,
    iter,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use qdrs_core::{
    Boxed,
    access::KeyId,
    api::{Evidence, State},
    connection_string::Fingerprint,
    hardware_id::HardwareId,
};
use rusqlite::{Connection, OpenFlags, TransactionBehavior, config::DbConfig};
use tokio::sync::{Semaphore, mpsc, oneshot};
use uuid::Uuid;

use super::{
    Access, AccessState, By, JobHash, Ledger, LedgerError, Made, NotConfirmed, NotReserved, NotReworked, PolicyLimits, Record,
    Reservation, SentBy, SerialsAtHost, SharedBoard, Standing, Tombstone,
    audit::Entry,
    batch::{Batch, Books, NewBatch, NotDone},
    forms::{Form, Moves},
};

mod access;
mod batch;
mod end;
mod file;
mod forms;
mod migrate;
mod read;
mod write;

#[cfg(test)]
mod tests;

/// How many more deeds share one commit with the first at most.
const GROUP_MAX: usize = 256;

/// How many may wait for the writer before callers are held back.
const WAITING_MAX: usize = 1024;

/// How many connections read at once, each on a thread of the runtime. SQLite answers in microseconds, so a few suffice.
const READERS_MAX: usize = 4;

/// How much of the file the writer keeps in memory, in KiB. Jobs' hashes fall anywhere in their index, so with SQLite's
/// usual 2 MiB a ledger of some thousand serials drops pages and fetches them again all the time.
const WRITER_CACHE_KIB: i64 = 32 * 1024;

/// How long to wait for the owner's command that writes beside us.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A deed: does its statements and keeps its answer; told afterwards whether the commit held. Without a transaction to be
/// had it does nothing.
type Deed = Box<dyn FnOnce(Result<&Connection, LedgerError>) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Result<(), LedgerError>) + Send>;

/// The ledger in one SQLite file.
pub struct SqliteLedger {
    path: PathBuf,
    deeds: mpsc::Sender<Deed>,
    /// A turn for each of the connections that read, and those that are open and not in use.
    reading: Arc<Semaphore>,
    readers: Arc<Mutex<Vec<Connection>>>,
    /// Held by the one process that serves from it.
    _serving: Option<File>,
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::DiskFull,
            _ => Self::Database(error.to_string()),
        }
    }
}

impl SqliteLedger {
    /// Opens the ledger that is there, if it is one of this version.
    ///
    /// # Errors
    /// There is none, it has another version, or it can't be used. Nothing is made or changed.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        match file::version(path)? {
            None => Err(LedgerError::Missing { path: path.display().to_string() }),
            Some(found) if found < migrate::known() => {
                Err(LedgerError::Older { path: path.display().to_string(), found, known: migrate::known() })
            }
            Some(_) => Self::start(file::open(path)?, path),
        }
    }

    /// Opens the ledger; makes it if nothing is there, and brings an older one up to date. Only for a ledger that no other
    /// process serves from.
    ///
    /// # Errors
    /// What is there is no ledger or a newer one, or it can't be used.
    pub fn open_or_make(path: &Path) -> Result<Self, LedgerError> {
        if file::version(path)?.is_none() {
            file::make(path)?;
            tracing::info!(path = %path.display(), "a new ledger was made");
        }
        let mut connection = file::open(path)?;
        migrate::migrate(&mut connection, path)?;
        Self::start(connection, path)
    }

    /// Opens the ledger to serve from it; makes it or brings it up to date.
    ///
    /// # Errors
    /// As [`Self::open_or_make`], or another process serves from it.
    pub fn open_to_serve(path: &Path) -> Result<Self, LedgerError> {
        // What is no ledger gets no lock beside it.
        file::version(path)?;
        let lock = file::lock(path)?;
        Ok(Self { _serving: Some(lock), ..Self::open_or_make(path)? })
    }

    /// Makes the ledger if nothing is there; true if so. What is there may be a ledger of an older version.
    ///
    /// # Errors
    /// What is there is no ledger or a newer one, or none can be made.
    pub fn make(path: &Path) -> Result<bool, LedgerError> {
        if file::version(path)?.is_some() {
            return Ok(false);
        }
        let _lock = file::lock(path)?;
        file::make(path).map(|()| true)
    }

    /// Brings the ledger that is there up to date; the versions before and after.
    ///
    /// # Errors
    /// There is none, it is newer, a service serves from it, or it can't be used.
    pub fn migrate(path: &Path) -> Result<(u32, u32), LedgerError> {
        let Some(found) = file::version(path)? else {
            return Err(LedgerError::Missing { path: path.display().to_string() });
        };
        let _lock = file::lock(path)?;
        migrate::migrate(&mut file::open(path)?, path)?;
        Ok((found, migrate::known()))
    }

    /// Opens the ledger that is there, for changes that no service may see half done. An error if a service serves from it.
    ///
    /// # Errors
    /// As [`Self::open`], or another process serves from it.
    pub fn open_alone(path: &Path) -> Result<Self, LedgerError> {
        file::version(path)?;
        let lock = file::lock(path)?;
        Ok(Self { _serving: Some(lock), ..Self::open(path)? })
    }

    /// What the form makes of the policy's stored serials that it writes otherwise; they are looked at only if the form is
    /// another one than that in which they all stand.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn moves(&self, form: Form) -> Result<Moves, LedgerError> {
        self.read(move |connection| forms::moves(connection, &form)).await
    }

    /// Notes that all serials of these policies stand in these forms.
    ///
    /// # Errors
    /// A form writes some of them otherwise ([`LedgerError::OtherForm`]), or the ledger can't be used.
    pub async fn hold_to(&self, forms: Vec<Form>) -> Result<(), LedgerError> {
        self.write(move |connection| {
            for form in &forms {
                forms::moves(connection, form)?.none(&form.policy)?;
                forms::note(connection, form)?;
            }
            Ok(())
        })
        .await
    }

    /// Lets a list be kept that is written by this form. If a service runs with another one, all is looked at when the next starts.
    ///
    /// # Errors
    /// As [`Self::hold_to`].
    pub async fn hold_list_to(&self, form: Form) -> Result<(), LedgerError> {
        self.write(move |connection| {
            forms::moves(connection, &form)?.none(&form.policy)?;
            Ok(forms::forget_others(connection, &form)?)
        })
        .await
    }

    /// Brings the policy's stored serials and its batches' lists to the form, if no two of them become one. What it was, and what
    /// it is now. Device ids stay as they are.
    ///
    /// # Errors
    /// The ledger can't be used.
    pub async fn renormalise(&self, form: Form) -> Result<Moves, LedgerError> {
        self.write(move |connection| forms::renormalise(connection, &form)).await
    }

    fn start(connection: Connection, path: &Path) -> Result<Self, LedgerError> {
        let (deeds, waiting) = mpsc::channel(WAITING_MAX);
        std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || work(connection, waiting))
            .map_err(|error| LedgerError::Database(format!("can't start its thread: {error}")))?;
        let reading = Arc::new(Semaphore::new(READERS_MAX));
        Ok(Self { path: path.to_owned(), deeds, reading, readers: Arc::default(), _serving: None })
    }

    /// Runs `deed` on the writer thread, in a savepoint of the next commit. An error of its own rolls it back alone.
    async fn write<T, E>(&self, deed: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<LedgerError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        // A refusal waits for the commit as well: it may rest on what a neighbour in the same transaction has done.
        let deed: Deed = Box::new(move |connection| {
            let done = connection.map_err(E::from).and_then(|connection| in_savepoint(connection, deed));
            Box::new(move |committed: Result<(), LedgerError>| {
                let _ = answer.send(committed.map_err(E::from).and(done));
            })
        });
        self.deeds.send(deed).await.map_err(|_| LedgerError::Closed)?;
        answered.await.map_err(|_| LedgerError::Closed)?
    }

    /// Runs `look` on a connection that can only read.
    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (readers, path) = (Arc::clone(&self.readers), self.path.clone());
        let turn = Arc::clone(&self.reading).acquire_owned().await.map_err(|_| LedgerError::Closed)?;
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let kept = readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match kept {
                Some(connection) => connection,
                None => connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
            };
            let seen = look(&connection);
            readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            Ok(seen?)
        })
        .await
        .map_err(|_| LedgerError::Closed)?
    }
}

/// A connection with the settings that every one needs.
fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, LedgerError> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|error| LedgerError::Database(format!("can't open {}: {error}", path.display())))?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Without it SQLite plans a kept statement anew for each value bound, since partial indexes are near.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    if flags.contains(OpenFlags::SQLITE_OPEN_READ_WRITE) {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    }
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

/// The writer thread: takes who waits, does their deeds in one transaction, commits, answers.
fn work(mut connection: Connection, mut waiting: mpsc::Receiver<Deed>) {
    let mut group = Vec::new();
    while let Some(first) = waiting.blocking_recv() {
        group.push(first);
        group.extend(iter::from_fn(|| waiting.try_recv().ok()).take(GROUP_MAX));
        let mut answers = Vec::with_capacity(group.len());
        let committed = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
            Ok(transaction) => {
                answers.extend(group.drain(..).map(|deed| deed(Ok(&transaction))));
                transaction.commit().map_err(LedgerError::from)
            }
            Err(error) => {
                let error = LedgerError::from(error);
                answers.extend(group.drain(..).map(|deed| deed(Err(error.clone()))));
                Err(error)
            }
        };
        for answer in answers {
            answer(committed.clone());
        }
    }
}

/// Runs `deed` so that an error undoes it and nothing else. A panic is an error like others: its neighbours and the
/// writer thread go on.
fn in_savepoint<T, E: From<LedgerError>>(
    connection: &Connection,
    deed: impl FnOnce(&Connection) -> Result<T, E>,
) -> Result<T, E> {
    let run = |sql| connection.prepare_cached(sql).and_then(|mut statement| statement.execute([])).map_err(LedgerError::from);
    run("SAVEPOINT deed")?;
    let done = catch_unwind(AssertUnwindSafe(|| deed(connection)))
        .unwrap_or_else(|_| Err(LedgerError::Damaged { what: "a deed broke off".into() }.into()));
    if done.is_err() {
        run("ROLLBACK TO deed")?;
    }
    run("RELEASE deed")?;
    done
}

impl Ledger for SqliteLedger {
    fn ready(&self) -> Boxed<'_, Result<(), LedgerError>> {
        Box::pin(async {
            self.read(|connection| connection.query_row("SELECT count(*) FROM (SELECT 1 FROM audit LIMIT 1)", [], |_| Ok(())))
                .await?;
            // The version as it is: a page is written all the same, and so the disk has its say.
            self.write(|connection| {
                let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
                Ok::<_, LedgerError>(connection.pragma_update(None, "user_version", version)?)
            })
            .await
        })
    }

    fn registered_by(&self, key_id: KeyId, journal: Uuid) -> Boxed<'_, Result<u64, LedgerError>> {
        Box::pin(self.read(move |connection| read::registered_by(connection, key_id, journal)))
    }

    fn board_made_as_other(
        &self,
        product: String,
        hardware_id: HardwareId,
        than: Made,
    ) -> Boxed<'_, Result<Option<Made>, LedgerError>> {
        Box::pin(self.read(move |connection| read::board_made_as_other(connection, &product, &hardware_id, &than)))
    }

    fn shared_boards(&self) -> Boxed<'_, Result<Vec<SharedBoard>, LedgerError>> {
        Box::pin(self.read(read::shared_boards))
    }

    fn access(&self, key_id: KeyId) -> Boxed<'_, Result<Option<Access>, LedgerError>> {
        Box::pin(self.read(move |connection| access::find(connection, key_id)))
    }

    fn access_list(&self) -> Boxed<'_, Result<Vec<Access>, LedgerError>> {
        Box::pin(self.read(access::list))
    }

    fn access_create(&self, access: Access) -> Boxed<'_, Result<(), LedgerError>> {
        Box::pin(self.write(move |connection| access::create(connection, &access)))
    }

    fn access_set_state(&self, name: String, state: AccessState) -> Boxed<'_, Result<(), LedgerError>> {
        Box::pin(self.write(move |connection| access::set_state(connection, &name, state)))
    }

    fn access_set_rework(&self, name: String, rework: u64) -> Boxed<'_, Result<Access, LedgerError>> {
        Box::pin(self.write(move |connection| access::set_rework(connection, &name, rework)))
    }

    fn find_job(&self, key_id: KeyId, job: JobHash) -> Boxed<'_, Result<Option<Record>, LedgerError>> {
        Box::pin(self.read(move |connection| read::by_job(connection, key_id, &job)))
    }

    fn find_serial(&self, policy: String, serial: String) -> Boxed<'_, Result<Option<Record>, LedgerError>> {
        Box::pin(self.read(move |connection| read::by_serial(connection, &policy, &serial)))
    }

    fn find(&self, reservation: Uuid) -> Boxed<'_, Result<Option<Record>, LedgerError>> {
        Box::pin(self.read(move |connection| read::by_id(connection, reservation)))
    }

    fn standing(&self, reservation: Uuid) -> Boxed<'_, Result<Option<Standing>, LedgerError>> {
        Box::pin(self.read(move |connection| read::standing(connection, reservation)))
    }

    fn policies(&self) -> Boxed<'_, Result<Vec<String>, LedgerError>> {
        Box::pin(self.read(read::policies))
    }

    fn reserve(&self, new: Reservation, key: Fingerprint, limits: PolicyLimits) -> Boxed<'_, Result<Record, NotReserved>> {
        Box::pin(self.write(move |connection| write::reserve(connection, new, key, limits)))
    }

    fn reserve_again(&self, id: Uuid, key: Fingerprint, limits: PolicyLimits) -> Boxed<'_, Result<Record, NotReserved>> {
        Box::pin(self.write(move |connection| write::reserve_again(connection, id, key, limits)))
    }

    fn take_over(
        &self,
        old: Uuid,
        new: Reservation,
        key: Fingerprint,
        limits: PolicyLimits,
        reason: String,
    ) -> Boxed<'_, Result<Record, NotReserved>> {
        Box::pin(self.write(move |connection| write::take_over(connection, old, new, key, limits, &reason)))
    }

    fn add_key(&self, id: Uuid, key: Fingerprint) -> Boxed<'_, Result<bool, LedgerError>> {
        Box::pin(self.write(move |connection| write::add_key(connection, id, key)))
    }

    fn forget_key(&self, id: Uuid, key: Fingerprint) -> Boxed<'_, Result<(), LedgerError>> {
        Box::pin(self.write(move |connection| write::forget_key(connection, id, key)))
    }

    fn issue(&self, id: Uuid, key: Fingerprint, answered: Option<Fingerprint>) -> Boxed<'_, Result<bool, LedgerError>> {
        Box::pin(self.write(move |connection| {
            write::answered(connection, id, answered)?;
            write::settle(connection, id, State::Issued, Some(key), None)
        }))
    }

    fn reject(&self, id: Uuid, reason: String) -> Boxed<'_, Result<bool, LedgerError>> {
        Box::pin(self.write(move |connection| write::settle(connection, id, State::Rejected, None, Some(&reason))))
    }

    fn conflict(&self, id: Uuid, reason: String) -> Boxed<'_, Result<bool, LedgerError>> {
        Box::pin(self.write(move |connection| write::settle(connection, id, State::Conflict, None, Some(&reason))))
    }

    fn confirm(
        &self,
        id: Uuid,
        key: Fingerprint,
        evidence: Evidence,
        hardware_id: Option<HardwareId>,
    ) -> Boxed<'_, Result<jiff::Timestamp, NotConfirmed>> {
        Box::pin(self.write(move |connection| write::confirm(connection, id, key, evidence, hardware_id)))
    }

    fn release(&self, id: Uuid, reason: String) -> Boxed<'_, Result<bool, LedgerError>> {
        Box::pin(self.write(move |connection| end::end(connection, id, State::Releasing, By::Owner, Some(reason))))
    }

    fn rework(&self, id: Uuid, key_id: KeyId, reason: String) -> Boxed<'_, Result<(), NotReworked>> {
        Box::pin(self.write(move |connection| end::rework(connection, id, key_id, reason)))
    }

    fn released(&self, id: Uuid, by: By) -> Boxed<'_, Result<bool, LedgerError>> {
        Box::pin(self.write(move |connection| end::end(connection, id, State::Released, by, None)))
    }

    fn tombstones(&self, key_id: KeyId, after: u64, count: usize) -> Boxed<'_, Result<Vec<Tombstone>, LedgerError>> {
        Box::pin(self.read(move |connection| read::tombstones(connection, key_id, after, count)))
    }

    fn scrap(&self, id: Uuid, reason: String) -> Boxed<'_, Result<bool, LedgerError>> {
        Box::pin(self.write(move |connection| end::end(connection, id, State::Scrapped, By::Owner, Some(reason))))
    }

    fn unanswered_for(&self, id: Uuid) -> Boxed<'_, Result<Option<Duration>, LedgerError>> {
        Box::pin(self.read(move |connection| read::unanswered_for(connection, id)))
    }

    fn sent_by(&self, id: Uuid, key: Fingerprint) -> Boxed<'_, Result<Option<SentBy>, LedgerError>> {
        Box::pin(self.read(move |connection| read::sent_by(connection, id, key)))
    }

    fn attempts_elsewhere(&self, than: Reservation) -> Boxed<'_, Result<Vec<Reservation>, LedgerError>> {
        Box::pin(self.read(move |connection| read::attempts_elsewhere(connection, &than)))
    }

    fn serials_at_other_hosts(&self, known: Vec<String>) -> Boxed<'_, Result<Vec<SerialsAtHost>, LedgerError>> {
        Box::pin(self.read(move |connection| read::at_other_hosts(connection, &known)))
    }

    fn attempts(&self, policy: String, serial: String) -> Boxed<'_, Result<Vec<Record>, LedgerError>> {
        Box::pin(self.read(move |connection| read::attempts(connection, &policy, &serial)))
    }

    fn batch_open(&self, new: NewBatch) -> Boxed<'_, Result<Batch, NotDone>> {
        Box::pin(self.write(move |connection| batch::open(connection, &new)))
    }

    fn batch_close(&self, name: String, missing_ok: Option<String>) -> Boxed<'_, Result<Books, NotDone>> {
        Box::pin(self.write(move |connection| batch::close(connection, &name, missing_ok.as_deref())))
    }

    fn batch(&self, name: String) -> Boxed<'_, Result<Option<Batch>, LedgerError>> {
        Box::pin(self.read(move |connection| batch::find(connection, &name)))
    }

    fn batch_list(&self) -> Boxed<'_, Result<Vec<Batch>, LedgerError>> {
        Box::pin(self.read(batch::list))
    }

    fn batch_books(&self, name: String) -> Boxed<'_, Result<Option<Books>, LedgerError>> {
        Box::pin(self.read(move |connection| batch::books(connection, &name)))
    }

    fn audit(&self, from: u64, count: usize) -> Boxed<'_, Result<Vec<Entry>, LedgerError>> {
        Box::pin(self.read(move |connection| read::audit(connection, from, count)))
    }
}
