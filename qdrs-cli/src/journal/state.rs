//! What a journal's lines say, and the state of a serial that follows from them.

use jiff::Timestamp;
use qdrs_core::{
    api::{Code, Evidence, Registration},
    batch::Extra,
    connection_string::Fingerprint,
    hardware_id::{self, HardwareId},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Because, Place};

/// One line: what happened with a serial, and when.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// By the station's clock.
    pub at: Timestamp,
    /// The serial as it was (or will be) sent to the service; the seal is bound to this very text.
    pub serial: String,
    /// What happened.
    #[serde(flatten)]
    pub step: Step,
}

impl Entry {
    /// The entry for a step that happens now.
    pub fn new(serial: impl Into<String>, step: Step) -> Self {
        Self { at: Timestamp::now(), serial: serial.into(), step }
    }
}

/// What can happen with a serial, in the order of a good run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// A job's key was made; written before it is sent. Starts the serial afresh.
    Job {
        /// The `Idempotency-Key` of the registration.
        job: Uuid,
        /// The `Idempotency-Key` of the confirmation.
        confirm: Uuid,
        /// The place for the device.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slot: Option<String>,
        /// The lot.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        batch: Option<String>,
        /// What the device said of itself before; part of the request, so it is repeated with it.
        #[serde(default, deserialize_with = "hardware_id::deserialize_record", skip_serializing_if = "Option::is_none")]
        hardware_id: Option<HardwareId>,
        /// The reason, when the job takes over an earlier registration.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        take_over: Option<String>,
        /// Which one it takes over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<Uuid>,
        /// What the batch has beside the serial.
        #[serde(default, skip_serializing_if = "Extra::is_empty")]
        extra: Extra,
    },
    /// The service has answered; the credential is sealed in it.
    Registered {
        /// The answer.
        registration: Box<Registration>,
    },
    /// From here on the device may hold the credential, or part of it.
    Writing {
        /// The attempt that is written.
        reservation: Uuid,
        /// The board, if it says what it is.
        #[serde(default, deserialize_with = "hardware_id::deserialize_record", skip_serializing_if = "Option::is_none")]
        hardware_id: Option<HardwareId>,
        /// The port it is at, if it does not say what it is: until it has left, it must not get another serial.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<String>,
    },
    /// The device holds the credential.
    Written(Written),
    /// Writing failed.
    NotWritten {
        /// May the device hold the credential, or part of it, all the same?
        touched: bool,
        /// A code of the one table.
        code: String,
        /// What happened, for a person.
        detail: String,
    },
    /// The service has taken the confirmation: PASS.
    Confirmed {
        /// By the service's clock.
        confirmed_at: Timestamp,
    },
    /// The job failed outside of writing; it may be tried again.
    Failed {
        /// A code of the one table.
        code: String,
        /// What happened, for a person.
        detail: String,
    },
    /// The device was told that all is over: it is no longer at its port for another serial to meet.
    Left,
    /// What this station had made is dead: released, so that the serial may be made again. It says nothing of an attempt that
    /// has followed since.
    Released {
        /// The attempt that was released.
        reservation: Uuid,
    },
    /// Of no serial: the releases that the service has told are noted, up to that number.
    Heard {
        /// The key id of the access code that asked.
        code: String,
        /// What to ask after next.
        releases: u64,
    },
    /// Of no serial: from here on the journal goes by this id.
    Identity {
        /// The id, which the service knows the station by.
        id: Uuid,
        /// The file that it is made for.
        place: Place,
        /// Why it gets one.
        because: Because,
        /// The journals of this place that it follows since they were lost.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lost: Vec<Uuid>,
    },
    /// Another station has the serial; this one moves on.
    Elsewhere {
        /// Who, if the service said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        station: Option<String>,
        /// Since when, if the service said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
    },
}

impl Step {
    /// The names that this version knows; a line with another one was written by a newer QDRS.
    pub(super) const NAMES: [&str; 12] = [
        "job",
        "registered",
        "writing",
        "written",
        "not-written",
        "confirmed",
        "failed",
        "left",
        "released",
        "heard",
        "elsewhere",
        "identity",
    ];

    /// The entry's failure, from an error of the table.
    pub fn failed(code: Code, detail: impl Into<String>) -> Self {
        Self::Failed { code: code.as_str().to_owned(), detail: detail.into() }
    }
}

/// The device holds the credential, and what shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Of the key that came back from the device, or was sent to it.
    pub fingerprint: Fingerprint,
    /// What shows it.
    pub evidence: Evidence,
    /// The board, if it says what it is.
    #[serde(default, deserialize_with = "hardware_id::deserialize_record", skip_serializing_if = "Option::is_none")]
    pub hardware_id: Option<HardwareId>,
}

/// The last time the credential went to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What was written.
    pub reservation: Uuid,
    /// The board, if it said what it is.
    pub hardware_id: Option<HardwareId>,
    /// How it ended; none when nobody lived to tell.
    pub verdict: Option<Verdict>,
}

/// How writing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The device holds the credential.
    Written,
    /// It failed, but the device may hold something of it.
    Touched,
    /// It failed before the device held anything.
    Untouched,
}

/// What was made and is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// The attempt that was released.
    pub reservation: Uuid,
    /// The board that it was on, if that said what it is.
    pub board: Option<HardwareId>,
}

/// A failure, as the report shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub at: Timestamp,
    /// A code of the one table, or one that a newer service said.
    pub code: String,
    /// What happened, for a person.
    pub detail: String,
}

/// Where the work on a serial stands at this station, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The service has taken the confirmation.
    Passed,
    /// The device holds the credential, the service has not taken the confirmation yet.
    Written,
    /// Begun: the same command goes on with it.
    Open,
    /// The last try failed.
    Failed,
    /// Another station has it.
    Elsewhere,
    /// What was made is dead, and nobody here has begun to make it again.
    Released,
}

impl Phase {
    /// Every phase, in the order of the report's totals.
    pub const ALL: [Self; 6] = [Self::Passed, Self::Written, Self::Open, Self::Failed, Self::Elsewhere, Self::Released];

    /// The word in the report.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Written => "written",
            Self::Open => "open",
            Self::Failed => "failed",
            Self::Elsewhere => "elsewhere",
            Self::Released => "released",
        }
    }
}

/// What the journal knows of a serial.
#[derive(Debug, Clone)]
pub struct JobState {
    /// The serial as it was sent.
    pub serial: String,
    /// When its work began here.
    pub started_at: Timestamp,
    /// When something happened last.
    pub changed_at: Timestamp,
    /// The `Idempotency-Key` of the registration; nil until there is a job.
    pub job: Uuid,
    /// The `Idempotency-Key` of the confirmation; nil until there is a job.
    pub confirm: Uuid,
    /// The place for the device.
    pub slot: Option<String>,
    /// The lot.
    pub batch: Option<String>,
    /// What the batch has beside the serial.
    pub extra: Extra,
    /// The board, as it was told to the service with the registration.
    pub hardware_id: Option<HardwareId>,
    /// The reason, when this job takes over an earlier registration; to be sent with every repeat.
    pub take_over: Option<String>,
    /// Which registration that is; to be sent with it.
    pub replaces: Option<Uuid>,
    /// The service's answer, with the sealed credential. Gone once confirmed: nobody needs it then.
    pub registration: Option<Box<Registration>>,
    /// Was the answer noted by this very process? An older one may be behind: the service says whether it still holds.
    pub answered_now: bool,
    /// The reservation of the answer.
    pub reservation: Option<Uuid>,
    /// The device's name in the hub.
    pub device_id: Option<String>,
    /// The last time the credential went to a device, of whatever job.
    pub writing: Option<Attempt>,
    /// The device holds the credential.
    pub written: Option<Written>,
    /// The service has taken the confirmation; by its clock.
    pub confirmed_at: Option<Timestamp>,
    /// The last failure; kept until something succeeds.
    pub failed: Option<Failure>,
    /// Another station has it: its name, if known.
    pub elsewhere: Option<Option<String>>,
    /// What was made here was released, and no new job has begun.
    pub released: Option<Dead>,
    /// Was it begun under an id that the journal no longer goes by? Then whoever goes by it may have gone on with it.
    pub foreign: bool,
    /// The port where the device that holds the credential was written and, as far as is known, still is. Only of devices
    /// that don't say which board they are.
    pub at_port: Option<String>,
    pub(super) order: u64,
}

impl JobState {
    pub(super) fn new(serial: &str, at: Timestamp, order: u64) -> Self {
        Self {
            serial: serial.to_owned(),
            started_at: at,
            changed_at: at,
            job: Uuid::nil(),
            confirm: Uuid::nil(),
            slot: None,
            batch: None,
            extra: Extra::default(),
            hardware_id: None,
            take_over: None,
            replaces: None,
            registration: None,
            answered_now: false,
            reservation: None,
            device_id: None,
            writing: None,
            written: None,
            confirmed_at: None,
            failed: None,
            elsewhere: None,
            released: None,
            foreign: false,
            at_port: None,
            order,
        }
    }

    /// Where the work stands, in one word.
    pub fn phase(&self) -> Phase {
        if self.confirmed_at.is_some() {
            Phase::Passed
        } else if self.elsewhere.is_some() || self.is_anothers() {
            Phase::Elsewhere
        } else if self.failed.is_some() {
            // A device that holds its credential but whose confirmation was refused for good is no "written, wait".
            Phase::Failed
        } else if self.written.is_some() {
            Phase::Written
        } else if self.released.is_some() {
            Phase::Released
        } else {
            Phase::Open
        }
    }

    /// Is what was begun another station's to go on with? What is on a device is a fact of the world, whoever confirms it.
    pub fn is_anothers(&self) -> bool {
        self.foreign && self.confirmed_at.is_none() && (self.written.is_none() || self.failed.is_some())
    }

    /// May some device hold the credential of this job (or part of it) although no verdict says that it is whole?
    pub fn may_be_on_a_device(&self) -> bool {
        self.written.is_none()
            && self.writing.as_ref().is_some_and(|attempt| !matches!(attempt.verdict, Some(Verdict::Untouched)))
    }

    /// Takes an entry in. `live`: it is noted by this very process.
    pub(super) fn apply(&mut self, entry: Entry, live: bool) {
        self.changed_at = entry.at;
        match entry.step {
            Step::Job { job, confirm, slot, batch, hardware_id, take_over, replaces, extra } => {
                // A later job without the batch (`provision SERIAL`) takes nothing away.
                let extra = if extra.is_empty() { std::mem::take(&mut self.extra) } else { extra };
                let (order, started_at) = (self.order, self.started_at);
                // The last writing is kept until the new job has its registration: only then is the old key dead.
                let writing = self.writing.take();
                *self = Self {
                    slot,
                    batch,
                    extra,
                    hardware_id,
                    take_over,
                    replaces,
                    job,
                    confirm,
                    writing,
                    changed_at: entry.at,
                    ..Self::new(&self.serial, started_at, order)
                };
            }
            Step::Registered { registration } => {
                if self.writing.as_ref().is_some_and(|attempt| attempt.reservation != registration.reservation) {
                    self.writing = None;
                }
                self.reservation = Some(registration.reservation);
                self.device_id = Some(registration.device_id.clone());
                self.registration = Some(registration);
                self.answered_now = live;
                (self.failed, self.elsewhere) = (None, None);
            }
            Step::Writing { reservation, hardware_id, port } => {
                self.at_port = port;
                self.writing = Some(Attempt { reservation, hardware_id, verdict: None });
                (self.written, self.failed) = (None, None);
            }
            Step::Written(written) => {
                if let Some(attempt) = &mut self.writing {
                    attempt.verdict = Some(Verdict::Written);
                }
                self.written = Some(written);
                self.failed = None;
            }
            Step::NotWritten { touched, code, detail } => {
                if let Some(attempt) = &mut self.writing {
                    attempt.verdict = Some(if touched { Verdict::Touched } else { Verdict::Untouched });
                }
                self.failed = Some(Failure { at: entry.at, code, detail });
            }
            Step::Confirmed { confirmed_at } => {
                self.confirmed_at = Some(confirmed_at);
                self.registration = None;
                (self.failed, self.elsewhere) = (None, None);
            }
            Step::Failed { code, detail } => self.failed = Some(Failure { at: entry.at, code, detail }),
            Step::Left => self.at_port = None,
            Step::Released { reservation } if self.reservation.is_none_or(|ours| ours == reservation) => {
                let board = self.written.take().and_then(|written| written.hardware_id);
                let (order, started_at) = (self.order, self.started_at);
                *self = Self {
                    slot: self.slot.take(),
                    batch: self.batch.take(),
                    extra: std::mem::take(&mut self.extra),
                    released: Some(Dead { reservation, board }),
                    changed_at: entry.at,
                    ..Self::new(&self.serial, started_at, order)
                };
            }
            // Of an attempt that another one has followed here, or of no serial.
            Step::Released { .. } | Step::Heard { .. } | Step::Identity { .. } => {}
            Step::Elsewhere { station, since: _ } => self.elsewhere = Some(station),
        }
    }
}
