//! A session with a MicroPython at a port: reach its raw REPL, ask, be sure of the answer.
//!
//! Owns the port, the deadlines and the pace; knows nothing of what is asked. Every question may be asked again: when an
//! answer is missing or garbled the line is cleared and the same question is sent once more. A device that restarted is
//! never asked again: what it was told before is gone.

use std::{
    collections::VecDeque,
    thread,
    time::{Duration, Instant},
};

use zeroize::Zeroizing;

use super::{
    reach::Found,
    script::{Opened, Script},
};
use crate::{
    device::{
        Cancel, DeviceError, Why,
        wire::raw_repl::{Answer, ENTER, INTERRUPT, LEAVE, PASTE, RUN, RawRepl, Step},
    },
    port::{BAUD, Port, PortError},
};

/// How long the device may take for one question, in milliseconds; the longest write two files and look at them.
const ANSWER_MS_MAX: u64 = 5_000;
/// How long the device may take to receive a question and begin, in milliseconds; the longest has 35 ms of line.
pub(super) const ACCEPT_MS_MAX: u64 = 500;
/// How often a question is asked before the line is given up.
const TRIES_MAX: u32 = 4;

/// What is sent at once, in bytes: half of what the device can hold before it reads.
const PIECE_BYTES_MAX: usize = 128;
/// What the device holds before it reads, in bytes. Shorter source needs no raw paste.
const HELD_BYTES_MAX: usize = 255;

/// Said of an exception that is none of MicroPython's.
const UNKNOWN: &str = "in words that QDRS does not know";

/// Counts the questions, so that each has a word of its own.
static WORDS: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(1);

/// How an attempt at a question ended, when it did not end in an answer.
enum Attempt {
    /// It, or its answer, was garbled or lost on the way.
    Garbled,
    /// The device did not say that it received it, or did not answer in time.
    Silent,
    /// What the device was told before is not there: a byte was garbled, or it started anew and nobody heard.
    Unknown,
    /// The device ran it and failed: so it says.
    Failed(Option<String>),
    /// For good.
    Error(DeviceError),
}

impl<E: Into<DeviceError>> From<E> for Attempt {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// A script that is to be asked, with a word for this one time.
struct Question<'a> {
    script: Script<'a>,
    word: String,
    source: Zeroizing<Vec<u8>>,
    /// So much of the source is on its way already.
    sent: usize,
}

impl<'a> Question<'a> {
    fn of(script: Script<'a>, board: &str) -> Self {
        let word = format!("{:x}", WORDS.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let source = Zeroizing::new(script.source(&word, board).as_bytes().to_vec());
        Self { script, word, source, sent: 0 }
    }
}

/// A port, and what is known of the device's REPL.
pub(super) struct Session {
    pub(super) name: String,
    /// The MAC of the board that is spoken to, as it says it: what is sealed is for this one.
    pub(super) board: String,
    /// None after the port went away.
    port: Option<Port>,
    cancel: Cancel,
    /// Does the device have the credential, or a part of it? Then the cancel flag waits.
    pub(super) committed: bool,
    pub(super) repl: RawRepl,
    pub(super) steps: VecDeque<Step>,
    /// Does its raw paste work, as far as is known?
    pub(super) paste: bool,
    /// When the line has carried all that was sent.
    line_free: Instant,
    /// Did the last question fail since the device does not know what it was told before? It says nothing of why.
    pub(super) unknown: bool,
    /// When something came last.
    pub(super) heard: Option<Instant>,
    /// When it said last that its file system is lost.
    pub(super) lost: Option<Instant>,
}

impl Session {
    pub(super) fn open(name: &str, cancel: Cancel) -> Result<Self, DeviceError> {
        Ok(Self {
            name: name.to_owned(),
            board: String::new(),
            port: Some(Port::open(name)?),
            cancel,
            committed: false,
            repl: RawRepl::default(),
            steps: VecDeque::new(),
            paste: false,
            line_free: Instant::now(),
            unknown: false,
            heard: None,
            lost: None,
        })
    }

    /// Opens the port again after it went away.
    pub(super) fn reopen(&mut self) -> Result<(), DeviceError> {
        if self.port.is_none() {
            let port = Port::open(&self.name).map_err(|error| match error {
                // It was there once, so its name is right: the device is out, or the system is still setting it up.
                PortError::Missing { port, .. } | PortError::Denied { port, .. } | PortError::Unreachable { port, .. } => {
                    PortError::Gone { port }
                }
                other => other,
            })?;
            self.port = Some(port);
            self.forget();
        }
        Ok(())
    }

    /// Another device, or none, is at the wire.
    pub(super) fn forget(&mut self) {
        // What it said of its file system stays: it says that only now and then.
        self.repl.reset();
        self.steps.clear();
        self.heard = None;
        self.paste = false;
        self.committed = false;
    }

    pub(super) fn has_port(&self) -> bool {
        self.port.is_some()
    }

    /// Why a device was not understood: because another program takes its answers away, where one is known to be there.
    pub(super) fn blame(&mut self, error: DeviceError) -> DeviceError {
        let is_line = !matches!(error.why, Why::Interrupted | Why::Port(_) | Why::OtherDevice { .. } | Why::FilesLost { .. });
        match self.port.as_mut().filter(|_| is_line).and_then(Port::shared_with) {
            Some(holder) => DeviceError { why: Why::Shared { port: self.name.clone(), holder }, ..error },
            None => error,
        }
    }

    /// Does something with the port, and lets go of it when it went away.
    fn with_port<T>(&mut self, act: impl FnOnce(&mut Port) -> Result<T, PortError>) -> Result<T, DeviceError> {
        let gone = || PortError::Gone { port: self.name.clone() };
        let result = self.port.as_mut().ok_or_else(gone).and_then(act);
        if result.is_err() {
            self.port = None;
        }
        Ok(result?)
    }

    /// The next thing that the device does; none when the deadline passes first.
    pub(super) fn next(&mut self, deadline: Instant) -> Result<Option<Step>, DeviceError> {
        // What is read may be the credential.
        let mut buffer = Zeroizing::new([0; 256]);
        loop {
            match self.steps.pop_front() {
                Some(Step::Corrupt) => return Err(self.files_lost()),
                Some(step) => return Ok(Some(step)),
                None => {}
            }
            if Instant::now() >= self.cancel.limit(deadline, self.committed)? {
                return Ok(None);
            }
            let count = self.with_port(|port| port.receive(&mut *buffer))?;
            if count > 0 {
                self.heard = Some(Instant::now());
            }
            self.repl.feed(&buffer[..count], &mut self.steps);
        }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), DeviceError> {
        let deadline = after(ACCEPT_MS_MAX);
        if self.with_port(|port| port.send_all(bytes, deadline))? { Ok(()) } else { Err(self.silent()) }
    }

    /// Sends source in pieces, no faster than the line carries them, ten bits for a byte.
    fn send_paced(&mut self, bytes: &[u8]) -> Result<(), DeviceError> {
        for piece in bytes.chunks(PIECE_BYTES_MAX) {
            thread::sleep(self.line_free.saturating_duration_since(Instant::now()));
            self.send(piece)?;
            self.line_free = self.line_free.max(Instant::now()) + Duration::from_secs(1) * (10 * piece.len() as u32) / BAUD;
        }
        Ok(())
    }

    /// Asks, until an answer comes whole. `doing` completes "it was asked to …".
    pub(super) fn ask(&mut self, doing: &'static str, script: Script<'_>) -> Result<Zeroizing<Vec<u8>>, DeviceError> {
        let mut last = Attempt::Silent;
        self.unknown = false;
        for _ in 0..TRIES_MAX {
            match self.ask_once(Question::of(script, &self.board), None) {
                Ok(answer) => return Ok(answer),
                Err(Attempt::Error(error)) => return Err(error),
                Err(attempt) => last = attempt,
            }
            self.resync(doing)?;
        }
        Err(match last {
            Attempt::Error(error) => error,
            Attempt::Silent => self.stopped(doing),
            Attempt::Unknown => {
                self.unknown = true;
                self.restarted()
            }
            Attempt::Garbled => Why::Garbled { port: self.name.clone() }.into(),
            Attempt::Failed(said) => {
                let said = said.unwrap_or_else(|| UNKNOWN.to_owned());
                Why::Failed { port: self.name.clone(), doing, said }.into()
            }
        })
    }

    /// Asks one after the other, and begins the next while the device runs one: so much of it as it can hold meanwhile.
    pub(super) fn ask_all(
        &mut self,
        doing: &'static str,
        scripts: &[Script<'_>],
    ) -> Result<Vec<Zeroizing<Vec<u8>>>, DeviceError> {
        let mut answers = Vec::with_capacity(scripts.len());
        let board = self.board.clone();
        let mut questions = scripts.iter().map(|script| Question::of(*script, &board)).peekable();
        while let Some(question) = questions.next() {
            let script = question.script;
            answers.push(match self.ask_once(question, questions.peek_mut()) {
                Ok(answer) => answer,
                Err(Attempt::Error(error)) => return Err(error),
                Err(_) => {
                    self.resync(doing)?;
                    // With the line went what was begun.
                    if let Some(next) = questions.peek_mut() {
                        next.sent = 0;
                    }
                    self.ask(doing, script)?
                }
            });
        }
        Ok(answers)
    }

    fn ask_once(&mut self, question: Question<'_>, next: Option<&mut Question<'_>>) -> Result<Zeroizing<Vec<u8>>, Attempt> {
        let Question { script, word, source, sent } = question;
        // What came since the last answer is noise, or a start.
        self.drain()?;
        let by_paste = self.paste && sent == 0 && source.len() > HELD_BYTES_MAX;
        if !(by_paste && self.send_by_paste(&source)?) {
            self.repl.expect_answer();
            self.send_paced(&Zeroizing::new([&source[sent..], &[RUN]].concat()))?;
            if let Some(next) = next.filter(|_| !self.paste) {
                next.sent = next.source.len().min(PIECE_BYTES_MAX);
                self.send_paced(&next.source[..next.sent])?;
            }
        }
        let answer = self.await_answer()?;
        if answer.failed() {
            return match answer.exception().as_deref() {
                Some("NameError") => Err(Attempt::Unknown),
                // Most often a byte of the source was garbled.
                Some("SyntaxError" | "IndentationError") => Err(Attempt::Garbled),
                said => Err(Attempt::Failed(said.map(str::to_owned))),
            };
        }
        match answer.fenced(&word).map_or(Opened::Garbled, |fenced| script.open(fenced, &self.board)) {
            Opened::Answer(answer) => Ok(Zeroizing::new(answer.to_vec())),
            Opened::Garbled => Err(Attempt::Garbled),
            Opened::OtherBoard => Err(Attempt::Unknown),
        }
    }

    /// Gives an order after which the device says nothing that can be relied on: it dies in the middle of its answer, lives
    /// on where a fixture feeds it, or starts anew. Says whether it started anew, within so many milliseconds.
    pub(super) fn order(&mut self, doing: &'static str, script: Script<'_>, wait_ms: u64) -> Result<bool, DeviceError> {
        let mut failed = None;
        for _ in 0..TRIES_MAX {
            self.drain()?;
            self.repl.expect_answer();
            self.send_paced(&Zeroizing::new([script.source("0", &self.board).as_bytes(), &[RUN]].concat()))?;
            let (mut deadline, mut accepted) = (after(ACCEPT_MS_MAX), false);
            loop {
                match self.next(deadline) {
                    Ok(Some(Step::Accepted)) => (deadline, accepted) = (after(wait_ms), true),
                    Ok(Some(Step::Answer(answer))) if answer.failed() => {
                        let said = answer.exception().unwrap_or_else(|| UNKNOWN.to_owned());
                        failed = Some(Why::Failed { port: self.name.clone(), doing, said });
                        break;
                    }
                    Ok(Some(Step::Restarted)) => return Ok(true),
                    Ok(Some(Step::Answer(answer))) => match answer.fenced("0").map(|fenced| script.open(fenced, &self.board)) {
                        None | Some(Opened::Answer(_)) => return Ok(false),
                        Some(Opened::Garbled) => break,
                        Some(Opened::OtherBoard) => return Err(self.restarted()),
                    },
                    Ok(Some(_)) => {}
                    // It has received the order and says nothing more; or its port went with it.
                    Ok(None) if accepted => return Ok(false),
                    Ok(None) => break,
                    Err(_) if self.port.is_none() => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
            self.resync(doing)?;
        }
        Err(failed.map_or_else(|| self.stopped(doing), DeviceError::from))
    }

    /// Leaves raw mode: the device is at its friendly prompt then.
    pub(super) fn leave(&mut self) -> Result<(), DeviceError> {
        for _ in 0..TRIES_MAX {
            self.repl.reset();
            self.send(&[LEAVE])?;
            let deadline = after(ACCEPT_MS_MAX);
            while let Some(step) = self.next(deadline)? {
                // Its banner.
                if step == Step::Restarted {
                    return Ok(());
                }
            }
        }
        Err(self.stopped("leave its raw mode"))
    }

    fn await_answer(&mut self) -> Result<Answer, Attempt> {
        let (mut deadline, mut accepted) = (after(ACCEPT_MS_MAX), false);
        loop {
            match self.next(deadline)? {
                Some(Step::Answer(answer)) => return Ok(answer),
                Some(Step::Restarted) => return Err(self.restarted().into()),
                // It forgot what was on its line.
                Some(Step::Ready) if accepted => return Err(Attempt::Garbled),
                // It is late, and answers to what it was asked before.
                Some(Step::Ready) => deadline = after(ACCEPT_MS_MAX),
                Some(Step::Accepted | Step::Enough) => (deadline, accepted) = (after(ANSWER_MS_MAX), true),
                Some(Step::Window(_) | Step::NoPaste | Step::More | Step::Corrupt) => {}
                None => return Err(Attempt::Silent),
            }
        }
    }

    /// Sends source as fast as the device asks for it; false when it can't do that, and awaits plain source.
    fn send_by_paste(&mut self, source: &[u8]) -> Result<bool, Attempt> {
        self.repl.expect_paste();
        self.send(PASTE)?;
        let (mut window, mut credit, mut sent) = (0, 0, 0);
        while sent < source.len() {
            if credit > 0 {
                let piece = credit.min(source.len() - sent);
                self.send(&source[sent..sent + piece])?;
                (sent, credit) = (sent + piece, credit - piece);
                continue;
            }
            match self.next(after(ACCEPT_MS_MAX))? {
                Some(Step::Window(bytes)) => {
                    window = usize::from(bytes);
                    credit = window;
                }
                Some(Step::More) => credit += window,
                Some(Step::NoPaste | Step::Ready) => {
                    self.paste = false;
                    return Ok(false);
                }
                Some(Step::Restarted) => return Err(self.restarted().into()),
                // It will say why.
                Some(Step::Enough) => break,
                Some(Step::Accepted | Step::Answer(_) | Step::Corrupt) | None => {
                    // A broken window must not cost every try: the plain way goes, too.
                    self.paste = false;
                    return Err(Attempt::Silent);
                }
            }
        }
        self.send(&[RUN])?;
        Ok(true)
    }

    /// Takes what has come in unasked. A device that started anew is found out before it is told anything.
    pub(super) fn drain(&mut self) -> Result<(), DeviceError> {
        let mut buffer = Zeroizing::new([0; 256]);
        while self.with_port(Port::has_input)? {
            let count = self.with_port(|port| port.receive(&mut *buffer))?;
            self.repl.feed(&buffer[..count], &mut self.steps);
        }
        let restarted = self.steps.contains(&Step::Restarted);
        let lost = self.steps.contains(&Step::Corrupt);
        self.steps.clear();
        match (lost, restarted) {
            (true, _) => Err(self.files_lost()),
            (_, true) => Err(self.restarted()),
            _ => Ok(()),
        }
    }

    /// Clears the line, and waits until the device is at its raw prompt again.
    fn resync(&mut self, doing: &'static str) -> Result<(), DeviceError> {
        self.repl.reset();
        for _ in 0..TRIES_MAX {
            self.send(&[INTERRUPT, ENTER])?;
            match self.await_ready(after(ACCEPT_MS_MAX))? {
                Some(Found::Ready) => return Ok(()),
                Some(Found::Restarted) => return Err(self.restarted()),
                None => {}
            }
        }
        Err(self.stopped(doing))
    }

    /// Rests until something comes, whatever it is; sees the cancel flag meanwhile.
    pub(super) fn rest_until_heard(&mut self, ms: u64) -> Result<(), DeviceError> {
        let (deadline, before) = (after(ms), self.heard);
        while self.heard == before && Instant::now() < deadline {
            // A moment: what comes within the port's time-out is heard at once.
            self.next(after(1))?;
        }
        Ok(())
    }

    fn files_lost(&mut self) -> DeviceError {
        self.lost = Some(Instant::now());
        Why::FilesLost { port: self.name.clone() }.into()
    }

    pub(super) fn silent(&self) -> DeviceError {
        Why::Silent { port: self.name.clone() }.into()
    }

    fn stopped(&self, doing: &'static str) -> DeviceError {
        Why::Stopped { port: self.name.clone(), doing }.into()
    }

    pub(super) fn restarted(&self) -> DeviceError {
        Why::Restarted { port: self.name.clone() }.into()
    }
}

pub(super) fn after(ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(ms)
}

#[cfg(test)]
mod tests {
    use super::{
        super::peer::{Options, Peer},
        *,
    };

    #[test]
    fn source_is_sent_no_faster_than_the_line_carries_it() {
        let peer = Peer::start(Options::default());
        let mut session = Session::open(&peer.port, Cancel::of(std::sync::Arc::default())).expect("opens");
        let on_the_line = |bytes: u64| Duration::from_micros(bytes * 10 * 1_000_000 / u64::from(BAUD));
        let begun = Instant::now();
        session.send_paced(&[b' '; 3 * PIECE_BYTES_MAX]).expect("sends");
        assert!(session.line_free >= begun + on_the_line(3 * PIECE_BYTES_MAX as u64));
        assert!(session.line_free <= Instant::now() + on_the_line(1 + PIECE_BYTES_MAX as u64), "no slower either");
    }
}
