//! The ledger: the service's record of every serial, in the registrar's verbs.
//!
//! Every update is conditional on the reservation's id and state, so a caller who acts on what was true a moment ago
//! changes nothing and is told. It holds no device key, only fingerprints. Each deed and its audit entry are one
//! transaction.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use qdrs_core::{
    Boxed,
    access::{KeyId, PublicKeys, PublicOpeningKey},
    api::{Code, Evidence, Kind, Permission, State},
    connection_string::Fingerprint,
    explain::Explain,
    hardware_id::HardwareId,
};
use uuid::Uuid;

pub mod audit;
pub mod batch;
pub mod forms;
mod sqlite;

use batch::{Batch, Books, NewBatch, NoPlace, NotDone};
pub use sqlite::SqliteLedger;

/// SHA-256 over the access code's key id and the `Idempotency-Key`: names a job without keeping the key.
pub type JobHash = [u8; 32];

/// May the access code be used?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessState {
    /// Yes.
    Active,
    /// For now only to confirm what it has already fetched.
    Suspended,
    /// No, for good.
    Revoked,
}

impl AccessState {
    /// The word, as in the ledger and in `access list`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
        }
    }
}

/// Why an access code may not be used now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// By the owner, for good.
    Revoked,
    /// By the owner, for now.
    Suspended,
    /// Its first moment has not come.
    NotYetValid(Timestamp),
    /// Its last moment is past.
    Expired(Timestamp),
}

/// What the service knows of an access code: its public keys, and what the owner allows it.
#[derive(Debug, Clone)]
pub struct Access {
    /// Made from the signing key; what a request names.
    pub key_id: KeyId,
    /// Verify its signatures, seal to its holder.
    pub keys: PublicKeys,
    /// The owner's name for it.
    pub name: String,
    /// Who holds it.
    pub kind: Kind,
    /// Its serials must meet this policy.
    pub policy: String,
    /// Its devices are made in this hub, by the name in the configuration.
    pub hub: String,
    /// How many it may register in all.
    pub quota: Option<u64>,
    /// How many it has registered.
    pub made: u64,
    /// How many of its registrations it may release by itself.
    pub rework: u64,
    /// How many it has released.
    pub reworked: u64,
    /// Requests a minute; none means the service's default.
    pub rate_per_minute: Option<u32>,
    /// Its first moment.
    pub not_before: Option<Timestamp>,
    /// Its last moment.
    pub expires: Option<Timestamp>,
    /// What it may do beyond registering and confirming.
    pub permissions: Vec<Permission>,
    /// May it be used?
    pub state: AccessState,
    /// When the owner made it.
    pub created_at: Timestamp,
}

impl Access {
    /// Why the code may not have a credential at that moment; `None` if it may.
    pub fn stopped(&self, now: Timestamp) -> Option<Stopped> {
        match self.state {
            AccessState::Revoked => return Some(Stopped::Revoked),
            AccessState::Suspended => return Some(Stopped::Suspended),
            AccessState::Active => {}
        }
        match (self.not_before, self.expires) {
            (Some(from), _) if now < from => Some(Stopped::NotYetValid(from)),
            (_, Some(until)) if now >= until => Some(Stopped::Expired(until)),
            _ => None,
        }
    }
}

/// One attempt at a registration: what is known of it from its first moment on.
#[derive(Debug, Clone, PartialEq)]
pub struct Reservation {
    /// This attempt; a serial that is released or taken over and made again has a new one.
    pub id: Uuid,
    /// The policy whose serial it is.
    pub policy: String,
    /// The serial in its normal form.
    pub serial: String,
    /// The serial as the caller wrote it: the seal is bound to this text.
    pub serial_sent: String,
    /// Its name in the hub.
    pub device_id: String,
    /// What the configuration called the hub then.
    pub hub: String,
    /// The host that identifies the hub ([`qdrs_core::hub::host::identity`]), and that the device connects to.
    pub hub_host: String,
    /// The access code that asked.
    pub key_id: KeyId,
    /// The job that asked.
    pub job: JobHash,
    /// The key that a product asked to seal to.
    pub recipient: Option<PublicOpeningKey>,
    /// The PC that asked.
    pub station: Option<String>,
    /// The journal of that PC, which makes it a station of its own whatever its name.
    pub journal: Option<Uuid>,
    /// The device's place at that PC.
    pub slot: Option<String>,
    /// The lot.
    pub batch: Option<String>,
    /// Boards are unique within it; the policy's name unless the policy names another.
    pub product: String,
    /// The board, if it is known.
    pub hardware_id: Option<HardwareId>,
    /// What stands beside the serial in the station's list, by the names of its columns.
    pub columns: BTreeMap<String, String>,
    /// The reservation that this one took over, if any.
    pub replaces: Option<Uuid>,
    /// The least evidence that the policy asked for then. `None` in ledgers that did not keep it.
    pub least_evidence: Option<Evidence>,
    /// The board that a list of the policy named for the serial then.
    pub listed_board: Option<HardwareId>,
    /// When it was made.
    pub reserved_at: Timestamp,
}

/// Where a serial stands. Each state carries what is known in it, and nothing else.
#[derive(Debug, Clone, PartialEq)]
pub enum Life {
    /// Durable before any byte goes to the hub.
    Reserved,
    /// The hub has the identity with the key of this fingerprint.
    Issued { fingerprint: Fingerprint },
    /// The station has claimed it, with evidence.
    Confirmed { fingerprint: Fingerprint, evidence: Evidence },
    /// The hub refused this very entry, for good.
    Rejected { reason: String },
    /// The hub has this device id with a key that was never ours.
    Conflict { reason: String },
    /// The hub's identity is being deleted.
    Releasing { reason: String },
    /// A tombstone.
    Released { reason: String },
    /// Made, then destroyed; never again.
    Scrapped { reason: String },
}

impl Life {
    /// The word for it.
    pub fn state(&self) -> State {
        match self {
            Self::Reserved => State::Reserved,
            Self::Issued { .. } => State::Issued,
            Self::Confirmed { .. } => State::Confirmed,
            Self::Rejected { .. } => State::Rejected,
            Self::Conflict { .. } => State::Conflict,
            Self::Releasing { .. } => State::Releasing,
            Self::Released { .. } => State::Released,
            Self::Scrapped { .. } => State::Scrapped,
        }
    }

    /// May the code that registered it give it up? What the hub refused or has from elsewhere is the owner's to settle.
    pub fn open_to_rework(&self) -> bool {
        match self {
            Self::Reserved | Self::Issued { .. } | Self::Confirmed { .. } => true,
            Self::Rejected { .. }
            | Self::Conflict { .. }
            | Self::Releasing { .. }
            | Self::Released { .. }
            | Self::Scrapped { .. } => false,
        }
    }

    /// May the code that registered it take it over? Only what nobody has confirmed, and nobody is ending.
    pub fn open_to_take_over(&self) -> bool {
        matches!(self, Self::Reserved | Self::Issued { .. } | Self::Rejected { .. })
    }

    /// May the state follow this one? The table of DESIGN section 4; the ledger's conditional updates hold to it.
    pub fn may_become(&self, next: State) -> bool {
        match self {
            Self::Reserved => matches!(next, State::Issued | State::Rejected | State::Conflict | State::Releasing),
            Self::Issued { .. } => matches!(next, State::Confirmed | State::Releasing),
            Self::Confirmed { .. } => matches!(next, State::Releasing | State::Scrapped),
            // For the same job; for others the owner frees it first.
            Self::Rejected { .. } => matches!(next, State::Reserved | State::Releasing),
            // The owner decides; what is in the hub is not ours, and stays.
            Self::Conflict { .. } => matches!(next, State::Releasing),
            Self::Releasing { .. } => matches!(next, State::Released),
            Self::Released { .. } | Self::Scrapped { .. } => false,
        }
    }
}

/// A reservation and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// What is known from the first moment on.
    pub reservation: Reservation,
    /// Where it stands.
    pub life: Life,
    /// Since when.
    pub since: Timestamp,
}

/// A reservation as it stands, with what else decides whether its credential may leave the service; read at one moment.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The reservation.
    pub record: Record,
    /// The access code that registered it.
    pub access: Access,
    /// True once the books of its batch are closed.
    pub batch_closed: bool,
}

/// Which attempt at a device sent a key to the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentBy {
    /// The one that was asked about.
    Itself,
    /// An earlier one, which was released or taken over.
    Predecessor,
}

/// A board that was confirmed as several serials, which an older version took for different boards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedBoard {
    /// The board, in its normal form.
    pub hardware_id: HardwareId,
    /// What is made.
    pub product: String,
    /// The serials that it was confirmed as.
    pub serials: Vec<String>,
}

impl SharedBoard {
    /// The fact and what to do, in a sentence.
    pub fn in_words(&self) -> String {
        format!(
            "board `{}` of product `{}` was confirmed as `{}`, since an older version took its spellings for different boards; find out \
             which one it is, and release the others (`qdrs-service serials release SERIAL --reason TEXT`)",
            self.hardware_id,
            self.product,
            self.serials.join("` and as `")
        )
    }
}

/// What a board was confirmed as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The policy of the serial.
    pub policy: String,
    /// The serial in its normal form.
    pub serial: String,
}

/// What bounds a new reservation beside the access code's own quota.
#[derive(Debug, Clone, Copy, Default)]
pub struct PolicyLimits {
    /// How many under the policy in all.
    pub total: Option<u64>,
    /// How many under the policy on one day (UTC).
    pub day: Option<u64>,
}

/// Why a serial was not reserved.
#[derive(Debug)]
pub enum NotReserved {
    /// The serial has a life already (or the job has, which a race can bring about): here it is.
    Taken(Box<Record>),
    /// The device id belongs to another serial: two policies or templates meet in one hub.
    DeviceIdTaken(Box<Record>),
    /// The access code has registered all it may.
    CodeQuota(u64),
    /// The policy's total is reached.
    PolicyTotal(u64),
    /// The policy's number for today is reached.
    PolicyDay(u64),
    /// The board was confirmed as another serial.
    BoardTaken { hardware_id: HardwareId, serial: String },
    /// The batch does not take it.
    NoPlace(NoPlace),
    /// The access code was stopped meanwhile.
    Stopped(Box<Access>),
    /// The ledger can't be used.
    Ledger(LedgerError),
}

/// Why a registration was not confirmed.
#[derive(Debug)]
pub enum NotConfirmed {
    /// It stands elsewhere by now: here it is; none if there is no such reservation.
    Elsewhere(Option<Box<Record>>),
    /// The board was confirmed as another serial.
    BoardTaken { hardware_id: HardwareId, serial: String },
    /// It was confirmed on another board.
    OtherBoard { confirmed: HardwareId },
    /// The ledger can't be used.
    Ledger(LedgerError),
}

/// Why a registration was not given up by the code that made it.
#[derive(Debug)]
pub enum NotReworked {
    /// It stands elsewhere by now, or there is none.
    Elsewhere,
    /// The access code may release nothing.
    NotPermitted,
    /// The access code has released all it may.
    UsedUp(u64),
    /// The books of its batch are closed.
    Closed { batch: String },
    /// The access code was stopped meanwhile.
    Stopped(Box<Access>),
    /// The ledger can't be used.
    Ledger(LedgerError),
}

/// A registration that was released or taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// Its number among those of its access code, from 1.
    pub number: u64,
    /// The serial in its normal form.
    pub serial: String,
    /// The attempt.
    pub reservation: Uuid,
    /// Since when.
    pub since: Timestamp,
}

/// How many serials live in the hub of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialsAtHost {
    /// The hub's host.
    pub host: String,
    /// Neither confirmed nor ended.
    pub open: u64,
    /// Confirmed.
    pub confirmed: u64,
}

/// Who gives a serial up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The owner, by a command.
    Owner,
    /// The access code that registered it.
    Holder(KeyId),
}

/// The ledger can't be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LedgerError {
    /// The database says no: disk, lock, damage.
    #[error("ledger: {0}")]
    Database(String),
    /// Nothing can be written any more.
    #[error("ledger: its disk is full")]
    DiskFull,
    /// What stands in it makes no sense to this version.
    #[error("ledger: {what}")]
    Damaged { what: String },
    /// A newer version of QDRS has written it.
    #[error("ledger {path} was written by a newer QDRS (its version is {found}, this one knows {known}); run that version")]
    Newer { path: String, found: u32, known: u32 },
    /// An older version of QDRS has written it, and this command does not change that.
    #[error("ledger {path} has version {found}, and this QDRS works with version {known}")]
    Older { path: String, found: u32, known: u32 },
    /// Nothing is at its path.
    #[error("there is no ledger {path}")]
    Missing { path: String },
    /// What is at its path can't be used as a ledger.
    #[error("the ledger {path} can't be used: {why}")]
    Unusable { path: String, why: String, help: String },
    /// A policy's normal form has changed, and what is registered stands in the old one.
    #[error("policy `{policy}` would write {count} registered serials otherwise than they stand in the ledger: {named}")]
    OtherForm { policy: String, count: usize, named: String },
    /// An access code of that name is there, or none is.
    #[error("{0}")]
    AccessCode(String),
    /// One service process a ledger: their works would not know of each other.
    #[error("another `qdrs-service serve` serves from the ledger {path}")]
    Serving { path: String },
    /// The ledger was closed while something waited for it.
    #[error("ledger: it is closed")]
    Closed,
}

impl Explain for LedgerError {
    fn code(&self) -> Code {
        match self {
            Self::Database(_) | Self::DiskFull | Self::Closed => Code::LedgerUnavailable,
            Self::Damaged { .. } => Code::Internal,
            Self::Newer { .. }
            | Self::Older { .. }
            | Self::Missing { .. }
            | Self::Unusable { .. }
            | Self::OtherForm { .. }
            | Self::AccessCode(_)
            | Self::Serving { .. } => Code::SettingInvalid,
        }
    }

    fn help(&self) -> String {
        match self {
            Self::Database(_) => "check the path of the ledger, who may write there, and the free space".into(),
            Self::DiskFull => "free some space on the disk that holds the ledger; nothing is lost meanwhile".into(),
            Self::Newer { .. } => "install the QDRS that wrote it, or a newer one".into(),
            Self::Older { .. } => {
                "back the ledger up, stop the service that serves from it, and run `qdrs-service ledger migrate`; \
                                   this version's `qdrs-service serve` does the same when it starts"
                    .into()
            }
            Self::Missing { .. } => "check the path (`ledger` in the config, QDRS_LEDGER, --ledger); a new ledger is made by \
                                     `qdrs-service init`, and by `qdrs-service serve` when it starts"
                .into(),
            Self::Unusable { help, .. } => help.clone(),
            Self::OtherForm { policy, .. } => format!(
                "a label could be made twice, so give the policy its former `form` again; or move the serials to the new one, while no \
                 service runs: `qdrs-service ledger renormalise {policy}` shows what it does, with `--apply` it does it"
            ),
            Self::Serving { .. } => "stop the other one first, or name another ledger".into(),
            Self::AccessCode(_) => "`qdrs-service access list` shows those that there are".into(),
            Self::Damaged { .. } | Self::Closed => self.code().help().to_owned(),
        }
    }
}

impl From<LedgerError> for NotReserved {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl From<LedgerError> for NotReworked {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl From<LedgerError> for NotConfirmed {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

/// The verbs of the ledger. An answer means that the deed is durable.
///
/// A deed whose answer was lost may have been done: whoever asks again reads first.
pub trait Ledger: Send + Sync {
    /// The access code of that key id.
    fn access(&self, key_id: KeyId) -> Boxed<'_, Result<Option<Access>, LedgerError>>;
    /// Every access code, by name.
    fn access_list(&self) -> Boxed<'_, Result<Vec<Access>, LedgerError>>;
    /// Keeps a new access code; an error if its name is in use.
    fn access_create(&self, access: Access) -> Boxed<'_, Result<(), LedgerError>>;
    /// Suspends, revokes or reactivates the code of that name. A revoked one stays revoked.
    fn access_set_state(&self, name: String, state: AccessState) -> Boxed<'_, Result<(), LedgerError>>;
    /// Says how many registrations the code of that name may release in all.
    fn access_set_rework(&self, name: String, rework: u64) -> Boxed<'_, Result<Access, LedgerError>>;

    /// Reads it, and writes a page of it to the disk.
    fn ready(&self) -> Boxed<'_, Result<(), LedgerError>>;

    /// The serial other than that one that the board was confirmed as, if it was and has not been released.
    fn board_made_as_other(
        &self,
        product: String,
        hardware_id: HardwareId,
        than: Made,
    ) -> Boxed<'_, Result<Option<Made>, LedgerError>>;
    /// The boards that were confirmed as several serials.
    fn shared_boards(&self) -> Boxed<'_, Result<Vec<SharedBoard>, LedgerError>>;
    /// How many registrations of the access code that journal has made, the dead ones too.
    fn registered_by(&self, key_id: KeyId, journal: Uuid) -> Boxed<'_, Result<u64, LedgerError>>;
    /// The attempt of that job, whatever became of it.
    fn find_job(&self, key_id: KeyId, job: JobHash) -> Boxed<'_, Result<Option<Record>, LedgerError>>;
    /// The serial's present life.
    fn find_serial(&self, policy: String, serial: String) -> Boxed<'_, Result<Option<Record>, LedgerError>>;
    /// The attempt of that id.
    fn find(&self, reservation: Uuid) -> Boxed<'_, Result<Option<Record>, LedgerError>>;
    /// The attempt of that id, with its access code and whether its batch is closed.
    fn standing(&self, reservation: Uuid) -> Boxed<'_, Result<Option<Standing>, LedgerError>>;
    /// The name of every policy that a serial was ever reserved under.
    fn policies(&self) -> Boxed<'_, Result<Vec<String>, LedgerError>>;

    /// -> *reserved*: checks quota, board and uniqueness and inserts, with the fingerprint of the first key.
    fn reserve(&self, new: Reservation, key: Fingerprint, limits: PolicyLimits) -> Boxed<'_, Result<Record, NotReserved>>;
    /// *rejected* -> *reserved*, for the same job; charges the quota again.
    fn reserve_again(&self, id: Uuid, key: Fingerprint, limits: PolicyLimits) -> Boxed<'_, Result<Record, NotReserved>>;
    /// Ends `old` (the caller's own, unconfirmed) and reserves anew in its place; the hub's keys are replaced next.
    fn take_over(
        &self,
        old: Uuid,
        new: Reservation,
        key: Fingerprint,
        limits: PolicyLimits,
        reason: String,
    ) -> Boxed<'_, Result<Record, NotReserved>>;
    /// Adds the fingerprint of a key that is about to be sent, or notes that it is about to be sent again. False if it is no
    /// longer *reserved*.
    fn add_key(&self, id: Uuid, key: Fingerprint) -> Boxed<'_, Result<bool, LedgerError>>;
    /// Removes the fingerprint of a key that no call can have put into the hub: each was answered, and none had an effect.
    fn forget_key(&self, id: Uuid, key: Fingerprint) -> Boxed<'_, Result<(), LedgerError>>;
    /// *reserved* -> *issued*. False if it stands elsewhere by now. `answered`: the key whose every call to the hub has been
    /// answered.
    fn issue(&self, id: Uuid, key: Fingerprint, answered: Option<Fingerprint>) -> Boxed<'_, Result<bool, LedgerError>>;
    /// *reserved* -> *rejected*; gives the quota back. False if it stands elsewhere by now.
    fn reject(&self, id: Uuid, reason: String) -> Boxed<'_, Result<bool, LedgerError>>;
    /// *reserved* -> *conflict*. False if it stands elsewhere by now.
    fn conflict(&self, id: Uuid, reason: String) -> Boxed<'_, Result<bool, LedgerError>>;
    /// *issued* -> *confirmed*, if `key` is the one issued. Returns when it was confirmed first. A board that is known only later is
    /// added.
    fn confirm(
        &self,
        id: Uuid,
        key: Fingerprint,
        evidence: Evidence,
        hardware_id: Option<HardwareId>,
    ) -> Boxed<'_, Result<Timestamp, NotConfirmed>>;

    /// *reserved*, *issued*, *confirmed*, *rejected* or *conflict* -> *releasing*, by the owner. False if it stands elsewhere
    /// by now.
    fn release(&self, id: Uuid, reason: String) -> Boxed<'_, Result<bool, LedgerError>>;
    /// *reserved*, *issued* or *confirmed* -> *releasing*, by the code that registered it; charges its rework budget.
    fn rework(&self, id: Uuid, key_id: KeyId, reason: String) -> Boxed<'_, Result<(), NotReworked>>;
    /// *releasing* -> *released*; gives the quota back. False if it stands elsewhere by now.
    fn released(&self, id: Uuid, by: By) -> Boxed<'_, Result<bool, LedgerError>>;
    /// The tombstones of an access code with numbers above `after`, in their order, at most `count`. When there is no
    /// number as high as `after`, from the first on: the ledger is another one.
    fn tombstones(&self, key_id: KeyId, after: u64, count: usize) -> Boxed<'_, Result<Vec<Tombstone>, LedgerError>>;
    /// *confirmed* -> *scrapped*, by the owner. False if it stands elsewhere by now.
    fn scrap(&self, id: Uuid, reason: String) -> Boxed<'_, Result<bool, LedgerError>>;
    /// How long ago, at least, the last call to the hub was sent whose answer is not known. `None`: all are answered.
    fn unanswered_for(&self, id: Uuid) -> Boxed<'_, Result<Option<Duration>, LedgerError>>;
    /// Which attempt at the device of that reservation sent the key: itself, or one that is released by now. `None`: neither.
    fn sent_by(&self, id: Uuid, key: Fingerprint) -> Boxed<'_, Result<Option<SentBy>, LedgerError>>;
    /// The released attempts at the serial of a reservation that were in another hub or had another device id: the last for
    /// each such place.
    fn attempts_elsewhere(&self, than: Reservation) -> Boxed<'_, Result<Vec<Reservation>, LedgerError>>;
    /// The serials that live in hubs of other hosts than these, by host.
    fn serials_at_other_hosts(&self, known: Vec<String>) -> Boxed<'_, Result<Vec<SerialsAtHost>, LedgerError>>;
    /// Every attempt at the serial, the oldest first.
    fn attempts(&self, policy: String, serial: String) -> Boxed<'_, Result<Vec<Record>, LedgerError>>;

    /// Opens a batch account.
    fn batch_open(&self, new: NewBatch) -> Boxed<'_, Result<Batch, NotDone>>;
    /// Closes a batch if its books balance, or because of that reason although they don't.
    fn batch_close(&self, name: String, missing_ok: Option<String>) -> Boxed<'_, Result<Books, NotDone>>;
    /// The batch of that name, if it was opened.
    fn batch(&self, name: String) -> Boxed<'_, Result<Option<Batch>, LedgerError>>;
    /// Every batch that was opened, the oldest first.
    fn batch_list(&self) -> Boxed<'_, Result<Vec<Batch>, LedgerError>>;
    /// The books of a batch that was opened.
    fn batch_books(&self, name: String) -> Boxed<'_, Result<Option<Books>, LedgerError>>;

    /// The audit log from entry `from` on, oldest first, at most `count`.
    fn audit(&self, from: u64, count: usize) -> Boxed<'_, Result<Vec<audit::Entry>, LedgerError>>;
}
