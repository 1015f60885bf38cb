//! What can happen in a run: one enum for the terminal, for plain lines and for `--json`.
//!
//! With `--json` each event is one object a line on standard output, `{"v":1,"event":"result",…,"time":"…"}`, and the
//! last one is `summary`. Members are only ever added; a reader ignores what it does not know. No event holds a secret.

use jiff::Timestamp;
use qdrs_core::{
    api::{Code, Evidence, State, Turn},
    explain::Explain,
    hardware_id::HardwareId,
};
use serde::Serialize;

/// The version of the events.
pub const VERSION: u32 = 1;

/// Something that a person has to know: the code, what happened, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The stable code of the table of problems.
    pub code: String,
    /// What happened this time, one sentence.
    pub message: String,
    /// How to mend it.
    pub help: String,
    /// Whose turn it is.
    pub turn: Turn,
    #[serde(skip)]
    row: Code,
}

impl Fault {
    /// The fault of an error that can explain itself.
    pub fn of(error: &dyn Explain) -> Self {
        let row = error.code();
        Self { code: row.as_str().to_owned(), message: error.to_string(), help: error.help(), turn: row.row().turn, row }
    }

    /// A fault with a sentence of its own.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code: code.as_str().to_owned(),
            message: message.into(),
            help: code.help().to_owned(),
            turn: code.row().turn,
            row: code,
        }
    }

    /// The same fault with a better way to mend it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// The row of the table of problems.
    pub fn row(&self) -> Code {
        self.row
    }
}

/// Where a slot stands, in an operator's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The port is being opened.
    OpenPort,
    /// No device is there: put one in.
    PutDeviceIn,
    /// A device is there, its serial is being chosen.
    DeviceCame,
    /// The service registers the serial.
    Register,
    /// The connection string is being written.
    Write,
    /// The device is read back.
    ReadBack,
    /// The service takes the confirmation.
    Confirm,
    /// Done or failed: take the device out.
    TakeDeviceOut,
    /// The port vanished: plug the adapter in again.
    PortLost,
    /// This slot takes no part any more.
    Out,
}

impl Step {
    /// True if nothing goes on until a person has done something.
    pub fn is_operators(self) -> bool {
        matches!(self, Self::PutDeviceIn | Self::TakeDeviceOut | Self::PortLost)
    }

    /// What the operator reads.
    pub fn text(self) -> &'static str {
        match self {
            Self::OpenPort => "opening the port",
            Self::PutDeviceIn => "put a device in",
            Self::DeviceCame => "a device is there",
            Self::Register => "registering",
            Self::Write => "writing - do not take it out",
            Self::ReadBack => "reading back - do not take it out",
            Self::Confirm => "confirming",
            Self::TakeDeviceOut => "take the device out",
            Self::PortLost => "the port is gone - plug the adapter in again",
            Self::Out => "not in use",
        }
    }
}

/// How a serial ended in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The device holds its credential, and the service has taken the confirmation.
    Pass,
    /// The device holds its credential, but the service has not taken the confirmation yet.
    Written,
    /// Not made.
    Fail,
    /// Another station has it: not ours to make.
    Elsewhere,
    /// Made in an earlier run.
    DoneBefore,
}

impl Verdict {
    /// The one big word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Written => "WRITTEN",
            Self::Fail => "FAIL",
            Self::Elsewhere => "ELSEWHERE",
            Self::DoneBefore => "DONE BEFORE",
        }
    }
}

/// The end of one serial, or of one attempt at it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ending {
    /// The slot, from 1; none when no device was needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<usize>,
    /// The serial number.
    pub serial: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What showed that the device holds its credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// What the device says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware_id: Option<HardwareId>,
    /// From the device's coming to its end, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Why it failed, or why it is only written.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// The station that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub station: Option<String>,
    /// Since when it has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl Ending {
    /// An ending of which nothing but serial and verdict is known.
    pub fn of(serial: &str, verdict: Verdict) -> Self {
        Self {
            slot: None,
            serial: serial.to_owned(),
            verdict,
            evidence: None,
            hardware_id: None,
            seconds: None,
            fault: None,
            station: None,
            since: None,
        }
    }
}

/// What `--dry-run` says of a serial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Intent {
    /// It would be registered and written.
    Make,
    /// It is registered at this station and would be finished.
    Finish,
    /// It is written and only waits for its confirmation.
    Confirm,
    /// It is done.
    Skip,
    /// Another station has it.
    Elsewhere,
    /// It would fail.
    Fail,
}

impl Intent {
    /// What the reader of a dry run sees.
    pub fn text(self) -> &'static str {
        match self {
            Self::Make => "would be made",
            Self::Finish => "would be finished",
            Self::Confirm => "would be confirmed, without its device",
            Self::Skip => "done before",
            Self::Elsewhere => "made elsewhere",
            Self::Fail => "would fail",
        }
    }
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Serials in the batch.
    pub serials: usize,
    /// Passed in this run.
    pub pass: usize,
    /// On a device, but not confirmed yet.
    pub written: usize,
    /// Failed in this run.
    pub fail: usize,
    /// Made by another station.
    pub elsewhere: usize,
    /// Made in an earlier run.
    pub done_before: usize,
    /// Not reached.
    pub left: usize,
    /// Rows of the batch that can't be used, which `--skip-bad` left out; not among `serials`.
    pub left_out: usize,
    /// How long the run took.
    pub seconds: f64,
    /// The exit code of `qdrs`.
    pub exit: u8,
    /// Was it ended by Ctrl-C?
    pub interrupted: bool,
    /// What ended the run before its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Fault>,
    /// Every serial that failed or is only written.
    pub failures: Vec<Ending>,
    /// How to go on; none when all is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A run begins.
    Start {
        /// The PC's name.
        station: String,
        /// The batch's name.
        #[serde(skip_serializing_if = "Option::is_none")]
        batch: Option<String>,
        /// Serials in the batch.
        serials: usize,
        /// Of these, made in an earlier run.
        done_before: usize,
        /// Of these, written in an earlier run and not confirmed yet.
        written_before: usize,
        /// The slots' ports, from slot 1.
        slots: Vec<String>,
    },
    /// A slot is at another step.
    Slot {
        /// From 1.
        slot: usize,
        /// What it does now.
        step: Step,
        /// The serial it is at.
        #[serde(skip_serializing_if = "Option::is_none")]
        serial: Option<String>,
        /// What a person does so that it goes on.
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
        /// What is wrong with it.
        #[serde(flatten, skip_serializing_if = "Option::is_none")]
        fault: Option<Fault>,
    },
    /// QDRS waits by itself.
    Wait {
        /// Why.
        why: String,
        /// How long.
        seconds: f64,
    },
    /// Something to know that is no failure.
    Notice {
        /// From 1; none when it concerns all.
        #[serde(skip_serializing_if = "Option::is_none")]
        slot: Option<usize>,
        /// What.
        text: String,
    },
    /// An attempt failed and will be made again.
    Retry(Ending),
    /// A serial has ended.
    Result(Ending),
    /// What a dry run would do with a serial.
    Plan {
        /// The serial number.
        serial: String,
        /// What would be done.
        intent: Intent,
        /// Where the service says it stands.
        #[serde(skip_serializing_if = "Option::is_none")]
        state: Option<State>,
        /// The station that has it.
        #[serde(skip_serializing_if = "Option::is_none")]
        station: Option<String>,
        /// Why it would fail.
        #[serde(flatten, skip_serializing_if = "Option::is_none")]
        fault: Option<Fault>,
    },
    /// The run has ended; always the last.
    Summary(Summary),
}

/// An event as one JSON object in one line.
pub fn json(event: &Event, time: Timestamp) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        v: u32,
        #[serde(flatten)]
        event: &'a Event,
        time: Timestamp,
    }
    // Only a map with keys that are no strings could fail, and there is none.
    serde_json::to_string(&Line { v: VERSION, event, time }).unwrap_or_else(|_| r#"{"v":1,"event":"notice"}"#.to_owned())
}
