//! A session with an AZ3166 at its console: the port, the deadlines, and commands whose echo is compared whole.
//!
//! The console stores what it received, whoever sent it: a byte that another program types into the port between two of
//! ours becomes part of the command, and the device's own comparison finds nothing wrong with it. The echo shows it. So
//! each byte that comes back between the prompt and the line's end must be one of ours, in its place; one more, at any
//! moment up to the line's end, is a failure, also after the carriage return was sent.
//!
//! What the echo can't show is a byte whose echo another program has read. A port is therefore taken exclusively, and
//! nothing is written while another program is known to have it open.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use zeroize::Zeroizing;

use crate::{
    device::{
        Cancel, DeviceError, Why,
        wire::prompt::{Console, Line, Step},
    },
    port::{Port, PortError},
};

/// How long the next byte of an echo may take, in milliseconds.
const ECHO_MS_MAX: u64 = 1_000;
/// After so long without another byte an echo has ended, in milliseconds.
const QUIET_MS: u64 = 300;
/// How long the device may take to answer `version`, in milliseconds.
const VERSION_MS_MAX: u64 = 2_000;
/// What may be sent ahead of its echo, in bytes.
const AHEAD_BYTES_MAX: usize = 32;
/// What is kept of an answer, in lines; the longest known one is the list of commands.
const ANSWER_LINES_MAX: usize = 64;

/// First line of the console after a restart.
const BANNER: &str = "Configuration console:";
/// What the user's program says at its start, when the button was not held.
const PROGRAM: &str = "You can 1. press Button A";

/// How each command is listed after a restart.
const COMMAND_LISTED: &str = " - ";

/// A port, and what is known of the console behind it.
pub(super) struct Session {
    pub(super) name: String,
    /// None after the port went away: a board's own USB port goes and comes with the board.
    port: Option<Port>,
    pub(super) cancel: Cancel,
    /// True while the device takes the credential: then a stop waits for it, within limits.
    pub(super) committed: bool,
    console: Console,
    steps: VecDeque<Step>,
    pub(super) at_prompt: bool,
    /// True while the program of a board that was told to restart is still to begin: no reason to call the next device
    /// unready.
    pub(super) farewell: bool,
}

/// What a bare carriage return brought.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Prompt,
    /// A prompt, after a banner: the device restarted, or another one was put in.
    Restarted,
}

/// A command that is being typed in.
#[derive(Default)]
pub(super) struct Typed {
    /// Bytes that were sent.
    pub(super) sent: usize,
    /// Bytes that came back on the prompt's line, whosever they are.
    pub(super) echoed: usize,
    /// True if the line ended before its end was sent: the device ran something.
    pub(super) ran: bool,
    /// True if the argument came back as stars, which show no garbled byte.
    pub(super) masked: bool,
}

impl Session {
    /// Opens the port; sends nothing.
    pub(super) fn open(name: &str, cancel: Cancel) -> Result<Self, DeviceError> {
        let mut session = Self {
            name: name.to_owned(),
            port: None,
            cancel,
            committed: false,
            console: Console::default(),
            steps: VecDeque::new(),
            at_prompt: false,
            farewell: false,
        };
        session.take(Port::open(name)?);
        Ok(session)
    }

    fn take(&mut self, port: Port) {
        self.port = Some(port);
        self.farewell = false;
        self.forget();
    }

    pub(super) fn has_port(&self) -> bool {
        self.port.is_some()
    }

    /// Another device, or none, is at the wire.
    pub(super) fn forget(&mut self) {
        self.console.reset();
        self.steps.clear();
        self.at_prompt = false;
        self.committed = false;
    }

    /// Opens the port again after it went away.
    pub(super) fn reopen(&mut self) -> Result<(), DeviceError> {
        if self.port.is_some() {
            return Ok(());
        }
        let port = Port::open(&self.name).map_err(|error| match error {
            // It was there once, so its name is right: the device is out, or the system is still setting it up.
            PortError::Missing { port, .. } | PortError::Denied { port, .. } | PortError::Unreachable { port, .. } => {
                PortError::Gone { port }
            }
            other => other,
        })?;
        self.take(port);
        Ok(())
    }

    /// Refuses a port that another program is known to have open: then the echo need not be all that came.
    pub(super) fn need_alone(&mut self) -> Result<(), DeviceError> {
        let holder = self.with_port(|port| Ok(port.shared_with()))?;
        self.refuse(holder)
    }

    fn refuse(&self, holder: Option<String>) -> Result<(), DeviceError> {
        match holder {
            Some(holder) => Err(Why::Shared { port: self.name.clone(), holder }.into()),
            None => Ok(()),
        }
    }

    /// Does something with the port, and lets go of it when it went away.
    pub(super) fn with_port<T>(&mut self, act: impl FnOnce(&mut Port) -> Result<T, PortError>) -> Result<T, DeviceError> {
        let gone = || PortError::Gone { port: self.name.clone() };
        let result = self.port.as_mut().ok_or_else(gone).and_then(act);
        if result.is_err() {
            self.port = None;
            self.forget();
        }
        Ok(result?)
    }

    /// The next thing that the console does; none when the deadline passes first.
    pub(super) fn next(&mut self, deadline: Instant) -> Result<Option<Step>, DeviceError> {
        // What is read may be an echo of the credential.
        let mut buffer = Zeroizing::new([0; 256]);
        loop {
            if let Some(step) = self.steps.pop_front() {
                return Ok(Some(step));
            }
            if Instant::now() >= self.cancel.limit(deadline, self.committed)? {
                return Ok(None);
            }
            let count = self.with_port(|port| port.receive(&mut *buffer))?;
            self.console.feed(&buffer[..count], &mut self.steps);
        }
    }

    /// The next thing of what has come in already, without waiting.
    fn waiting(&mut self) -> Result<Option<Step>, DeviceError> {
        let mut buffer = Zeroizing::new([0; 256]);
        while self.steps.is_empty() && self.with_port(Port::has_input)? {
            let count = self.with_port(|port| port.receive(&mut *buffer))?;
            self.console.feed(&buffer[..count], &mut self.steps);
        }
        Ok(self.steps.pop_front())
    }

    /// Sends all of it; for what needs no pacing.
    fn send(&mut self, bytes: &[u8]) -> Result<(), DeviceError> {
        let deadline = after(ECHO_MS_MAX);
        if self.with_port(|port| port.send_all(bytes, deadline))? { Ok(()) } else { Err(self.silent()) }
    }

    /// Sends a bare carriage return and waits for the prompt.
    pub(super) fn find_prompt(&mut self, ms_max: u64) -> Result<Found, DeviceError> {
        self.at_prompt = false;
        self.send(b"\r")?;
        let deadline = after(ms_max);
        let mut restarted = false;
        // A device that restarts at its prompt begins to speak on the prompt's line.
        let mut unasked = Line::default();
        loop {
            let line = match self.next(deadline)? {
                Some(Step::Prompt) => {
                    self.at_prompt = true;
                    return Ok(if restarted { Found::Restarted } else { Found::Prompt });
                }
                Some(Step::Echo(byte)) => {
                    unasked.push(byte);
                    continue;
                }
                Some(Step::EchoEnd) => std::mem::take(&mut unasked),
                Some(Step::Line(line)) => line,
                None => return Ok(Found::Nothing),
            };
            if line.contains(PROGRAM) && !std::mem::take(&mut self.farewell) {
                return Err(self.not_ready());
            }
            restarted = restarted || line.contains(BANNER);
        }
    }

    pub(super) fn need_prompt(&mut self, ms_max: u64) -> Result<(), DeviceError> {
        if self.at_prompt {
            return Ok(());
        }
        match self.find_prompt(ms_max)? {
            Found::Nothing => Err(self.silent()),
            Found::Prompt | Found::Restarted => Ok(()),
        }
    }

    /// Types a command, without its end, and compares its echo byte by byte.
    pub(super) fn type_in(&mut self, text: &[u8], typed: &mut Typed) -> Result<(), DeviceError> {
        self.at_prompt = false;
        let argument = text.iter().position(|byte| *byte == b' ').map_or(text.len(), |space| space + 1);
        let mut deadline = after(ECHO_MS_MAX);
        while typed.echoed < text.len() {
            let ahead = text.len().min(typed.echoed + AHEAD_BYTES_MAX);
            if typed.sent != ahead {
                typed.sent += self.with_port(|port| port.send(&text[typed.sent..ahead]))?;
            }
            match self.next(deadline)? {
                Some(Step::Echo(byte)) => {
                    // A console may mask an argument, from some character to its end: a lone star is a garbled byte.
                    typed.masked |= typed.echoed >= argument && byte == b'*' && text[typed.echoed] != b'*';
                    let expected = if typed.masked { b'*' } else { text[typed.echoed] };
                    if typed.echoed >= typed.sent || byte != expected {
                        return Err(self.stray(Step::Echo(byte), typed));
                    }
                    typed.echoed += 1;
                    deadline = after(ECHO_MS_MAX);
                }
                // The answer to an earlier bare carriage return, when a banner's prompt was taken for it.
                Some(Step::EchoEnd | Step::Prompt) if typed.echoed == 0 => {}
                Some(step) => return Err(self.stray(step, typed)),
                None if typed.echoed == 0 => return Err(self.silent()),
                None => return Err(self.stopped("take a command")),
            }
        }
        // What is behind the command's last byte already is not ours.
        match self.waiting()? {
            Some(step) => Err(self.stray(step, typed)),
            None => Ok(()),
        }
    }

    /// Something came on a command's line that was not sent. Looks on until the line is quiet, to learn why: a restart
    /// says its banner, a bad line returns as many bytes as it was sent, more of them are somebody else's.
    fn stray(&mut self, first: Step, typed: &mut Typed) -> DeviceError {
        let deadline = after(ECHO_MS_MAX);
        let (mut unasked, mut step) = (Line::default(), first);
        loop {
            let line = match step {
                Step::Echo(byte) => {
                    typed.echoed += 1;
                    unasked.push(byte);
                    None
                }
                Step::EchoEnd => {
                    typed.ran = true;
                    Some(std::mem::take(&mut unasked))
                }
                Step::Line(line) => {
                    typed.ran = true;
                    Some(line)
                }
                Step::Prompt => {
                    self.at_prompt = true;
                    None
                }
            };
            match line {
                Some(line) if line.contains(PROGRAM) => return self.not_ready(),
                Some(line) if line.contains(BANNER) => return self.restarted(),
                _ => {}
            }
            step = match self.next(after(QUIET_MS).min(deadline)) {
                Ok(Some(step)) => step,
                Ok(None) => break,
                Err(error) => return error,
            };
        }
        if typed.ran || typed.echoed > typed.sent { self.foreign() } else { Why::Garbled { port: self.name.clone() }.into() }
    }

    /// Ends the command that was typed in and takes its answer, up to the next prompt.
    pub(super) fn answer(&mut self, doing: &'static str, ms_max: u64) -> Result<Vec<Line>, DeviceError> {
        self.send(b"\r")?;
        let deadline = after(ms_max);
        let mut lines = Vec::new();
        let (mut ended, mut is_foreign) = (false, false);
        loop {
            match self.next(deadline)? {
                Some(Step::Prompt) => {
                    self.at_prompt = true;
                    return if is_foreign { Err(self.foreign()) } else { Ok(lines) };
                }
                Some(Step::Line(line)) if line.contains(BANNER) || line.contains(PROGRAM) => return Err(self.restarted()),
                Some(Step::Line(line)) if lines.len() < ANSWER_LINES_MAX => lines.push(line),
                Some(Step::Line(_)) => {}
                // Between our last byte and the line's end there is nothing of ours.
                Some(Step::Echo(_)) => is_foreign |= !ended,
                Some(Step::EchoEnd) => ended = true,
                None if is_foreign => return Err(self.foreign()),
                None => return Err(self.stopped(doing)),
            }
        }
    }

    /// Asks what firmware it has: the one command that changes nothing.
    pub(super) fn ask_version(&mut self) -> Result<Vec<Line>, DeviceError> {
        self.type_in(b"version", &mut Typed::default())?;
        self.answer("tell its version", VERSION_MS_MAX)
    }

    /// Takes back what was typed in, so that the next end of line does not run it. True when the device has shown
    /// that its line was empty: nothing was run.
    pub(super) fn take_back(&mut self, typed: &Typed) -> bool {
        let mut erase = || -> Result<bool, DeviceError> {
            let mut left = typed.sent.max(typed.echoed);
            'erasing: while left > 0 {
                let piece = left.min(AHEAD_BYTES_MAX);
                self.send(&[0x7f; AHEAD_BYTES_MAX][..piece])?;
                left -= piece;
                // Each deletion is echoed as three bytes, so the wire itself sets the pace.
                let mut echoes = 3 * piece;
                while echoes > 0 {
                    match self.next(after(QUIET_MS))? {
                        Some(Step::Echo(_)) => echoes -= 1,
                        Some(Step::Line(_)) => return Ok(false),
                        Some(Step::EchoEnd | Step::Prompt) => {}
                        // Nothing left to delete, or nobody there.
                        None => break 'erasing,
                    }
                }
            }
            Ok(self.answer("forget a command", ECHO_MS_MAX)?.is_empty())
        };
        erase().unwrap_or(false) && !typed.ran
    }

    /// Looks at what came since the prompt without having been asked for. What begins like a start is another board, or
    /// the same anew; anything else was typed by somebody else.
    pub(super) fn need_quiet(&mut self) -> Result<(), DeviceError> {
        let (mut unasked, mut is_restart, mut is_foreign) = (Line::default(), false, false);
        let starts = |line: &Line| line.contains(BANNER) || line.contains(PROGRAM) || line.starts_with(COMMAND_LISTED);
        while let Some(step) = self.waiting()? {
            match step {
                Step::Echo(byte) => unasked.push(byte),
                Step::Line(line) if starts(&line) => is_restart = true,
                Step::Line(_) => is_foreign = true,
                Step::EchoEnd | Step::Prompt => {}
            }
        }
        let begins_like = |text: &str| text.as_bytes().starts_with(unasked.as_bytes()) || unasked.contains(text);
        is_restart |= !unasked.as_bytes().is_empty() && (begins_like(BANNER) || begins_like(PROGRAM));
        if !is_restart && !is_foreign && unasked.as_bytes().is_empty() {
            return Ok(());
        }
        self.at_prompt = false;
        Err(if is_restart { self.restarted() } else { self.foreign() })
    }

    /// Shows that the device received nothing since its last answer, by a command that stores nothing. Whatever another
    /// program typed meanwhile is echoed before it, unless that program reads as well.
    pub(super) fn need_untouched(&mut self) -> Result<(), DeviceError> {
        self.ask_version()?;
        let holder = self.with_port(|port| Ok(port.shared_now()))?;
        self.refuse(holder)
    }

    /// Waits for the last word of a device that was told to restart; it need not say it, nor end its line.
    pub(super) fn see_off(&mut self, last_word: &str, ms_max: u64) -> Result<(), DeviceError> {
        self.send(b"\r")?;
        let deadline = after(ms_max);
        while !self.console.unfinished_starts_with(last_word) {
            match self.next(deadline) {
                Ok(Some(Step::Prompt)) => {
                    self.at_prompt = true;
                    return Err(Why::Refused { port: self.name.clone(), said: "it does not take `exit`".to_owned() }.into());
                }
                Ok(Some(Step::Line(line))) if !line.contains(last_word) => {}
                Ok(Some(Step::Echo(_) | Step::EchoEnd)) => {}
                Ok(Some(Step::Line(_)) | None) => break,
                // A board whose own port goes away has taken it as well.
                Err(error) if self.port.is_none() => {
                    tracing::debug!(port = self.name, %error, "the port went with the device");
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) fn silent(&self) -> DeviceError {
        Why::Silent { port: self.name.clone() }.into()
    }

    fn stopped(&self, doing: &'static str) -> DeviceError {
        Why::Stopped { port: self.name.clone(), doing }.into()
    }

    fn restarted(&self) -> DeviceError {
        Why::Restarted { port: self.name.clone() }.into()
    }

    fn not_ready(&self) -> DeviceError {
        Why::NotReady { port: self.name.clone() }.into()
    }

    fn foreign(&self) -> DeviceError {
        Why::Foreign { port: self.name.clone() }.into()
    }
}

pub(super) fn after(ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(ms)
}

#[cfg(test)]
#[path = "session_tests.rs"]
pub(super) mod tests;
