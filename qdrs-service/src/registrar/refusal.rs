//! What the registrar answers when it does not do what it was asked: a problem for the reader, a cause for the log.

use std::time::Duration;

use jiff::Timestamp;
use qdrs_core::{
    api::{Code, Kind, Problem},
    explain::Explain,
    hub::HubError,
};

use crate::ledger::{LedgerError, Record};

/// A refusal: what the caller may read, and what only the log may hold.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// For the caller.
    pub problem: Box<Problem>,
    /// For the log.
    pub cause: Option<String>,
}

impl Refusal {
    /// A refusal with that code, and what happened this time.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let mut problem = Problem::new(code, detail);
        if code.row().retry {
            problem.retry_after = Some(1);
        }
        Self { problem: Box::new(problem), cause: None }
    }

    /// The same, and when to ask again.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.problem.retry_after = Some(wait.as_secs().max(1));
        self
    }

    /// The same, with where the serial stands. The reader is a station: it may know state, station and since when;
    /// of its own code's serial also which journal made it, and which attempt stands.
    #[must_use]
    pub fn standing(mut self, record: &Record, yours: bool) -> Self {
        self.problem.state = Some(record.life.state());
        self.problem.station.clone_from(&record.reservation.station);
        self.problem.since = Some(record.since);
        self.problem.yours = Some(yours);
        self.problem.journal = record.reservation.journal.filter(|_| yours);
        self.problem.reservation = Some(record.reservation.id).filter(|_| yours);
        self
    }

    /// The code, if it is one of this version's.
    pub fn code(&self) -> Option<Code> {
        Code::find(&self.problem.code)
    }

    /// What a holder of that kind may hear.
    ///
    /// A product's code can be found in its binary, so every refusal that would tell something of serials is one and the
    /// same word; what only tells it to wait stays.
    #[must_use]
    pub fn for_kind(mut self, kind: Kind) -> Self {
        let about_the_request = matches!(self.code(), Some(Code::BadRequest | Code::IdempotencyKeyMissing));
        if kind == Kind::Station || about_the_request {
            return self;
        }
        let cause = Some(format!("{}: {}", self.problem.code, self.problem.detail));
        if self.code().is_some_and(|code| code.row().retry) {
            // The detail could name a hub or a policy.
            self.problem.detail.clear();
            return Self { problem: self.problem, cause: self.cause.or(cause) };
        }
        Self { problem: Box::new(Problem::new(Code::ProductRefused, "")), cause }
    }
}

impl From<(Code, String)> for Refusal {
    fn from((code, detail): (Code, String)) -> Self {
        Self::new(code, detail)
    }
}

impl From<LedgerError> for Refusal {
    fn from(error: LedgerError) -> Self {
        // What a database says may name paths, so only the log has it.
        let (code, detail) = match &error {
            LedgerError::DiskFull => (Code::LedgerUnavailable, "the disk that holds the service's ledger is full"),
            LedgerError::Database(_) | LedgerError::Closed | LedgerError::Serving { .. } => {
                (Code::LedgerUnavailable, "the service can't read or write its ledger; the cause stands in the service's log")
            }
            LedgerError::Damaged { .. }
            | LedgerError::Newer { .. }
            | LedgerError::Older { .. }
            | LedgerError::Missing { .. }
            | LedgerError::Unusable { .. }
            | LedgerError::OtherForm { .. }
            | LedgerError::AccessCode(_) => (Code::Internal, "the cause stands in the service's log"),
        };
        Self { cause: Some(error.to_string()), ..Self::new(code, detail) }
    }
}

impl From<HubError> for Refusal {
    fn from(error: HubError) -> Self {
        let refusal = Self::new(error.code(), error.to_string());
        if error.is_passing() { refusal.retry_after(error.retry_after().unwrap_or(Duration::from_secs(2))) } else { refusal }
    }
}

/// `since` for people: to the second.
pub(super) fn moment(time: Timestamp) -> String {
    format!("{}Z", time.strftime("%Y-%m-%d %H:%M:%S"))
}
