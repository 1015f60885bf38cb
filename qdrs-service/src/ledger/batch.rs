//! Batch accounts: a lot that the owner opens, whose books must balance before it is closed.
//!
//! A batch that nobody opened is free text of the station and has no account.

use std::collections::BTreeMap;

use jiff::Timestamp;
use qdrs_core::{
    api::{Evidence, State},
    hardware_id::HardwareId,
};

use super::LedgerError;

/// A batch to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBatch {
    /// What stations call it.
    pub name: String,
    /// The policy of its serials.
    pub policy: String,
    /// How many are to be made; with a list, as many as stand in it.
    pub expected: Option<u64>,
    /// Its serials in normal form; none means that any valid one may be made in it.
    pub list: Option<Vec<String>>,
    /// The names of access codes that register in it (and others that they are bound to) only.
    pub codes: Vec<String>,
}

/// A batch that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What stations call it.
    pub name: String,
    /// The policy of its serials.
    pub policy: String,
    /// How many are to be made.
    pub expected: Option<u64>,
    /// Does it have a list? Then nothing else is made in it.
    pub listed: bool,
    /// How many have a place in it.
    pub taken: u64,
    /// The names of the access codes that are bound to it.
    pub codes: Vec<String>,
    /// When it was opened, and the number of the deed in the audit log.
    pub opened: (Timestamp, u64),
    /// When it was closed, and the number of the deed in the audit log; none while it is open.
    pub closed: Option<(Timestamp, u64)>,
    /// Why it was closed with serials missing.
    pub missing_ok: Option<String>,
}

/// One serial in the books of a batch: its last attempt there.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// In normal form.
    pub serial: String,
    /// What was done; none when it stands in the list and nobody has registered it in this batch.
    pub made: Option<Attempt>,
    /// The batch in which it lives instead; empty for none.
    pub elsewhere: Option<String>,
}

/// What the ledger has of one attempt, for the books.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Where it stands.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// The number of its last deed in the audit log.
    pub entry: u64,
    /// The name of the access code.
    pub code: String,
    /// The PC.
    pub station: Option<String>,
    /// The place at it.
    pub slot: Option<String>,
    /// What showed that the device holds its credential.
    pub evidence: Option<Evidence>,
    /// The board, if it is known.
    pub hardware_id: Option<HardwareId>,
    /// Its name in the hub.
    pub device_id: String,
    /// Why it was released, scrapped or refused.
    pub reason: Option<String>,
    /// The further columns of the station's CSV.
    pub columns: BTreeMap<String, String>,
}

impl Line {
    /// Has it come to its end: confirmed, released or scrapped?
    pub fn is_settled(&self) -> bool {
        self.made.as_ref().is_some_and(|made| match made.state {
            State::Confirmed | State::Released | State::Scrapped => true,
            State::Reserved | State::Issued | State::Rejected | State::Conflict | State::Releasing => false,
        })
    }
}

/// The books of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Books {
    /// The batch itself.
    pub batch: Batch,
    /// A line for each serial, in the order of the serials.
    pub lines: Vec<Line>,
}

impl Books {
    /// The serials that have not come to their end, in the list or not.
    pub fn unsettled(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| !line.is_settled())
    }

    /// How many more are expected that nobody can name, since the batch has a number and no list. A released serial has
    /// given its place back: another is made for it.
    pub fn unnamed(&self) -> u64 {
        let expected = self.batch.expected.filter(|_| !self.batch.listed).unwrap_or(0);
        let gave_back = |line: &&Line| line.made.as_ref().is_some_and(|made| made.state == State::Released);
        let holding = self.lines.len() - self.lines.iter().filter(gave_back).count();
        expected.saturating_sub(holding as u64)
    }

    /// What has changed since the batch was closed: its owner released or scrapped it, or its station confirmed late.
    pub fn changed_after_closing(&self) -> impl Iterator<Item = &Line> {
        let closed = self.batch.closed.map(|(_, entry)| entry);
        self.lines.iter().filter(move |line| line.made.as_ref().zip(closed).is_some_and(|(made, closed)| made.entry > closed))
    }

    /// Has every serial come to its end, and is none missing?
    pub fn balance(&self) -> bool {
        self.unsettled().next().is_none() && self.unnamed() == 0
    }
}

/// Why a reservation has no place in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoPlace {
    /// The batch is closed.
    Closed { batch: String },
    /// It has as many as it was opened for.
    Full { batch: String, expected: u64 },
    /// The serial does not stand in its list.
    NotListed { batch: String },
    /// It is a batch of another policy.
    OtherPolicy { batch: String, policy: String },
    /// The access code registers in these batches only, and the station named another or none of several.
    Bound { batches: Vec<String> },
}

/// Why a batch was not opened or closed.
#[derive(Debug)]
pub enum NotDone {
    /// There is one of that name.
    IsThere,
    /// There is none of that name.
    Unknown,
    /// It was closed before.
    WasClosed(Timestamp),
    /// No access code has that name.
    NoCode(String),
    /// The access code has another policy.
    OtherPolicy { code: String, policy: String },
    /// Stations have made more under its name already than it is opened for.
    TooMany { made: u64 },
    /// Stations have made these under its name already, and its list does not have them.
    Strangers(Vec<String>),
    /// Some serials have not come to their end.
    Unsettled(Box<Books>),
    /// The ledger can't be used.
    Ledger(LedgerError),
}

impl From<LedgerError> for NotDone {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}
