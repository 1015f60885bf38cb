//! The MXChip AZ3166 (IoT DevKit) at its configuration console: an empty line, `version`, `set_az_iothub`, `exit`.
//!
//! Nothing but a bare carriage return goes to a device that has not shown its prompt: it may be any program. The
//! device loses what comes faster than it reads, so what is sent never runs further ahead of its echo than
//! [`AHEAD_BYTES_MAX`]. The device checks what it stored against what it received; that it received what was sent is
//! checked here, by the echo, before the line is ended.
//!
//! The chip that stores the connection string is written in place. What it holds after its power fails in that moment
//! is not known; the remedy is to write again.
//!
//! Source: the AZ3166's own firmware. Not tried on a real board.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use qdrs_core::{api::Evidence, connection_string::DeviceConnectionString};
use tracing::debug;
use zeroize::Zeroizing;

use super::{
    Cancel, Device, DeviceError, Identity, Why,
    wire::prompt::{Console, Line, Step},
};
use crate::port::{self, Port, PortError};

/// How long the prompt may take after a bare carriage return, in milliseconds.
const PROMPT_MS_MAX: u64 = 1_500;
/// The same of a device that was there a moment ago, in milliseconds.
const PRESENT_MS_MAX: u64 = 300;
/// How long the next byte of an echo may take, in milliseconds.
const ECHO_MS_MAX: u64 = 1_000;
/// How long the device may take to answer `version`, in milliseconds.
const VERSION_MS_MAX: u64 = 2_000;
/// How long the device may take to write its chip and compare, in milliseconds.
const WRITE_MS_MAX: u64 = 10_000;
/// How long the device may take to say that it restarts, in milliseconds; it need not say it.
const EXIT_MS_MAX: u64 = 1_000;

/// What may be sent ahead of its echo, in bytes.
const AHEAD_BYTES_MAX: usize = 32;
/// What the device holds of a connection string, in bytes.
const CREDENTIAL_BYTES_MAX: usize = 511;
/// What is kept of an answer, in lines; the longest known one is the list of commands.
const ANSWER_LINES_MAX: usize = 64;

/// First line of the console after a restart.
const BANNER: &str = "Configuration console:";
/// What the user's program says at its start, when the button was not held.
const PROGRAM: &str = "You can 1. press Button A";
/// The one line that says: written, read back by the device, and the same ("Iot" is theirs).
const WRITTEN: &str = "INFO: Set Azure Iot hub connection string successfully.";
/// What any complaint has in it.
const COMPLAINTS: [&str; 4] = ["ERROR", "Error", "Invalid", "Usage:"];
/// The complaints that come before anything is written, as the device says them.
const REFUSALS: [&str; 5] = [
    "Invalid Azure IoT hub connection string.",
    "Usage: set_az_iothub",
    "Error:Invalid command",
    "Error:Syntax error",
    "Error: input buffer overflow",
];
/// The complaints that come after something was written.
const FAILURES: [&str; 2] = ["ERROR: Verify failed.", "ERROR: Failed to write EEPROM"];

/// USB vendors whose probe is part of the board, so that the probe's number is the board's: ST, and Arm's DAPLink. The
/// number of an adapter says nothing of the board behind it.
const PROBE_VENDORS: [&str; 2] = ["0483:", "0d28:"];

/// A slot for AZ3166 boards.
pub struct Mxchip {
    name: String,
    /// None after the port went away: a board's own USB port goes and comes with the board.
    port: Option<Port>,
    /// The number of the probe on the board, where the port is a board's own.
    probe: Option<String>,
    cancel: Cancel,
    /// Has the device begun to take the credential? Then the cancel flag waits.
    committed: bool,
    console: Console,
    steps: VecDeque<Step>,
    at_prompt: bool,
    /// Was the last board told to restart? Then whatever answers next is no longer that one.
    finished: bool,
    /// Is the program of that board still to begin? It is no reason to call the next device unready.
    farewell: bool,
}

impl Mxchip {
    /// Opens the port; sends nothing.
    ///
    /// # Errors
    /// The port can't be opened.
    pub(crate) fn open(name: &str, cancel: Cancel) -> Result<Self, DeviceError> {
        let port = Port::open(name)?;
        let mut slot = Self {
            name: name.to_owned(),
            port: None,
            probe: None,
            cancel,
            committed: false,
            console: Console::default(),
            steps: VecDeque::new(),
            at_prompt: false,
            finished: false,
            farewell: false,
        };
        slot.take(port);
        Ok(slot)
    }

    fn take(&mut self, port: Port) {
        let usb = port::list::usb_of_port(port.name());
        let is_probe = |usb: &port::list::Usb| PROBE_VENDORS.iter().any(|vendor| usb.id.starts_with(vendor));
        self.probe = usb.filter(is_probe).and_then(|usb| usb.serial_number);
        self.port = Some(port);
        self.farewell = false;
        self.forget_session();
    }

    /// Another device, or none, is at the wire.
    fn forget_session(&mut self) {
        self.console.reset();
        self.steps.clear();
        self.at_prompt = false;
        self.committed = false;
    }

    /// Opens the port again after it went away.
    fn reopen(&mut self) -> Result<(), DeviceError> {
        if self.port.is_none() {
            let port = Port::open(&self.name).map_err(|error| match error {
                // It was there once, so its name is right: the device is out, or the system is still setting it up.
                PortError::Missing { port } | PortError::Denied { port, .. } | PortError::Unreachable { port, .. } => {
                    PortError::Gone { port }
                }
                other => other,
            })?;
            self.take(port);
        }
        Ok(())
    }

    /// Does something with the port, and lets go of it when it went away.
    fn with_port<T>(&mut self, act: impl FnOnce(&mut Port) -> Result<T, PortError>) -> Result<T, DeviceError> {
        let gone = || PortError::Gone { port: self.name.clone() };
        let result = self.port.as_mut().ok_or_else(gone).and_then(act);
        if result.is_err() {
            self.port = None;
            self.forget_session();
        }
        Ok(result?)
    }

    /// The next thing that the console does; none when the deadline passes first.
    fn next(&mut self, deadline: Instant) -> Result<Option<Step>, DeviceError> {
        // What is read may be an echo of the credential.
        let mut buffer = Zeroizing::new([0; 256]);
        loop {
            if let Some(step) = self.steps.pop_front() {
                return Ok(Some(step));
            }
            if !self.committed && self.cancel.is_set() {
                return Err(Why::Interrupted.into());
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            let count = self.with_port(|port| port.receive(&mut *buffer))?;
            self.console.feed(&buffer[..count], &mut self.steps);
        }
    }

    /// Sends all of it; for what needs no pacing.
    fn send(&mut self, bytes: &[u8]) -> Result<(), DeviceError> {
        let deadline = after(ECHO_MS_MAX);
        if self.with_port(|port| port.send_all(bytes, deadline))? { Ok(()) } else { Err(self.silent()) }
    }

    /// Sends a bare carriage return and waits for the prompt.
    fn find_prompt(&mut self, ms_max: u64) -> Result<Found, DeviceError> {
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
                return Err(Why::NotReady { port: self.name.clone() }.into());
            }
            restarted |= line.contains(BANNER);
        }
    }

    fn need_prompt(&mut self) -> Result<(), DeviceError> {
        if self.at_prompt {
            return Ok(());
        }
        match self.find_prompt(PROMPT_MS_MAX)? {
            Found::Nothing => Err(self.silent()),
            Found::Prompt | Found::Restarted => Ok(()),
        }
    }

    /// Types a command, without its end, and sees that it is echoed as it was sent. `sent` counts.
    fn type_in(&mut self, text: &[u8], sent: &mut usize) -> Result<(), DeviceError> {
        self.at_prompt = false;
        let mut echoed = 0;
        let argument = text.iter().position(|byte| *byte == b' ').map_or(text.len(), |space| space + 1);
        let mut masked = false;
        let mut deadline = after(ECHO_MS_MAX);
        while echoed < text.len() {
            let ahead = text.len().min(echoed + AHEAD_BYTES_MAX);
            if *sent < ahead {
                *sent += self.with_port(|port| port.send(&text[*sent..ahead]))?;
            }
            match self.next(deadline)? {
                Some(Step::Echo(byte)) => {
                    // A console may mask an argument, then the whole of it: a lone star is a garbled byte.
                    masked |= echoed == argument && byte == b'*';
                    let expected = if masked { b'*' } else { text[echoed] };
                    if echoed >= *sent || byte != expected {
                        return Err(Why::Garbled { port: self.name.clone() }.into());
                    }
                    echoed += 1;
                    deadline = after(ECHO_MS_MAX);
                }
                // The answer to an earlier bare carriage return, when a banner's prompt was taken for it.
                Some(Step::EchoEnd | Step::Prompt) if echoed == 0 => {}
                Some(Step::Line(line)) if line.contains(PROGRAM) => return Err(Why::NotReady { port: self.name.clone() }.into()),
                Some(Step::EchoEnd | Step::Prompt | Step::Line(_)) => {
                    return Err(Why::Restarted { port: self.name.clone() }.into());
                }
                None if echoed == 0 => return Err(self.silent()),
                None => return Err(self.stopped("take a command")),
            }
        }
        Ok(())
    }

    /// Ends the command that was typed in and takes its answer, up to the next prompt.
    fn answer(&mut self, doing: &'static str, ms_max: u64) -> Result<Vec<Line>, DeviceError> {
        self.send(b"\r")?;
        let deadline = after(ms_max);
        let mut lines = Vec::new();
        loop {
            match self.next(deadline)? {
                Some(Step::Prompt) => {
                    self.at_prompt = true;
                    return Ok(lines);
                }
                Some(Step::Line(line)) if line.contains(BANNER) || line.contains(PROGRAM) => {
                    return Err(Why::Restarted { port: self.name.clone() }.into());
                }
                Some(Step::Line(line)) if lines.len() < ANSWER_LINES_MAX => lines.push(line),
                Some(Step::Line(_) | Step::Echo(_) | Step::EchoEnd) => {}
                None => return Err(self.stopped(doing)),
            }
        }
    }

    /// Takes back what was typed in, so that the next end of line does not run it. True when the device has shown
    /// that its line was empty: nothing was run.
    fn take_back(&mut self, sent: usize) -> bool {
        let mut erase = || -> Result<bool, DeviceError> {
            let mut left = sent;
            'erasing: while left > 0 {
                let piece = left.min(AHEAD_BYTES_MAX);
                self.send(&[0x7f; AHEAD_BYTES_MAX][..piece])?;
                left -= piece;
                // Each deletion is echoed as three bytes, so the wire itself sets the pace.
                let mut echoes = 3 * piece;
                while echoes > 0 {
                    match self.next(after(PRESENT_MS_MAX))? {
                        Some(Step::Echo(_)) => echoes -= 1,
                        Some(Step::Line(_)) => return Ok(false),
                        Some(Step::EchoEnd | Step::Prompt) => {}
                        // Nothing left to delete, or nobody there.
                        None => break 'erasing,
                    }
                }
            }
            Ok(self.answer("forget a command", PROMPT_MS_MAX)?.is_empty())
        };
        erase().unwrap_or(false)
    }

    /// What came since the prompt, without having been asked for: nothing, or the end of a late answer, or the start
    /// of another board.
    fn look_for_restart(&mut self) -> Result<(), DeviceError> {
        let mut buffer = Zeroizing::new([0; 256]);
        while self.with_port(Port::has_input)? {
            let count = self.with_port(|port| port.receive(&mut *buffer))?;
            self.console.feed(&buffer[..count], &mut self.steps);
        }
        if self.steps.iter().any(|step| matches!(step, Step::Line(_) | Step::Echo(_))) {
            self.steps.clear();
            self.at_prompt = false;
            return Err(Why::Restarted { port: self.name.clone() }.into());
        }
        Ok(())
    }

    fn set_credential(&mut self, credential: &DeviceConnectionString) -> Result<Evidence, DeviceError> {
        self.need_prompt()?;
        self.look_for_restart()?;
        if self.cancel.is_set() {
            return Err(Why::Interrupted.into());
        }
        let command = Zeroizing::new([b"set_az_iothub ", credential.reveal().as_bytes()].concat());
        self.committed = true;
        let mut sent = 0;
        if let Err(error) = self.type_in(&command, &mut sent) {
            // To a program nothing more is sent.
            let at_console = self.port.is_some() && !matches!(error.why, Why::NotReady { .. });
            let unharmed = sent == 0 || (at_console && self.take_back(sent));
            return Err(if unharmed { error } else { error.and_touched() });
        }
        let lines = self.answer("take its connection string", WRITE_MS_MAX).map_err(DeviceError::and_touched)?;
        verdict(&self.name, &lines)
    }

    fn silent(&self) -> DeviceError {
        Why::Silent { port: self.name.clone() }.into()
    }

    fn stopped(&self, doing: &'static str) -> DeviceError {
        Why::Stopped { port: self.name.clone(), doing }.into()
    }
}

/// What a bare carriage return brought.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Prompt,
    /// A prompt, after a banner: the device restarted, or another one was put in.
    Restarted,
}

impl Device for Mxchip {
    fn identify(&mut self) -> Result<Identity, DeviceError> {
        self.reopen()?;
        if self.find_prompt(PROMPT_MS_MAX)? == Found::Nothing {
            return Err(self.silent());
        }
        (self.finished, self.farewell) = (false, false);
        self.type_in(b"version", &mut 0)?;
        let lines = self.answer("tell its version", VERSION_MS_MAX)?;
        let identity = Identity { hardware_id: self.probe.clone(), firmware: firmware(&lines) };
        debug!(port = self.name, firmware = identity.firmware, hardware_id = identity.hardware_id, "a device has come");
        Ok(identity)
    }

    fn write(&mut self, credential: &DeviceConnectionString) -> Result<Evidence, DeviceError> {
        check(credential)?;
        self.reopen()?;
        let result = self.set_credential(credential);
        self.committed = false;
        debug!(port = self.name, ok = result.is_ok(), "the device was told its connection string");
        result
    }

    /// The console has no command to read it.
    fn read_back(&mut self) -> Result<Option<DeviceConnectionString>, DeviceError> {
        Ok(None)
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        self.reopen()?;
        self.need_prompt()?;
        self.type_in(b"exit", &mut 0)?;
        self.send(b"\r")?;
        let deadline = after(EXIT_MS_MAX);
        // Its last word, which need not end the line. A board whose own port goes away has taken it as well.
        while !self.console.unfinished_starts_with("Reboot") {
            match self.next(deadline) {
                Ok(Some(Step::Prompt)) => {
                    self.at_prompt = true;
                    return Err(Why::Refused { port: self.name.clone(), said: "it does not take `exit`".to_owned() }.into());
                }
                Ok(Some(Step::Line(line))) if !line.contains("Reboot") => {}
                Ok(Some(Step::Echo(_) | Step::EchoEnd)) => {}
                Ok(Some(Step::Line(_)) | None) => break,
                Err(error) if self.port.is_none() => {
                    debug!(port = self.name, %error, "the port went with the device");
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.forget_session();
        (self.finished, self.farewell) = (true, true);
        Ok(())
    }

    fn present(&mut self) -> Result<bool, DeviceError> {
        // A board that was told to restart has left its console. Whatever answers there is another one, or the same,
        // brought back by hand; its hardware id tells.
        if self.finished || self.port.is_none() {
            return Ok(false);
        }
        match self.find_prompt(PRESENT_MS_MAX) {
            Ok(found) => Ok(found == Found::Prompt),
            Err(error) if self.port.is_none() || matches!(error.why, Why::NotReady { .. } | Why::Silent { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn after(ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(ms)
}

/// Can the console take it? It splits words at spaces, and takes quotes and backslashes for itself.
fn check(credential: &DeviceConnectionString) -> Result<(), DeviceError> {
    let text = credential.reveal();
    if text.len() > CREDENTIAL_BYTES_MAX {
        return Err(Why::TooLong { bytes: text.len(), bytes_max: CREDENTIAL_BYTES_MAX }.into());
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\') {
        let fault = "has a character that the device's console can't take";
        return Err(Why::Unfit { device_id: credential.device_id.clone(), fault }.into());
    }
    Ok(())
}

/// What the answer to `set_az_iothub` means: written is exactly one line of success and no complaint.
fn verdict(port: &str, lines: &[Line]) -> Result<Evidence, DeviceError> {
    let port = port.to_owned();
    let successes = lines.iter().filter(|line| line.starts_with(WRITTEN)).count();
    let complaints: Vec<&Line> = lines.iter().filter(|line| COMPLAINTS.iter().any(|word| line.contains(word))).collect();
    let is_refusal = |line: &&&Line| REFUSALS.iter().any(|text| line.starts_with(text));
    match (successes, complaints.as_slice()) {
        (1, []) => Ok(Evidence::DeviceChecked),
        (0, [first, ..]) if complaints.iter().all(|line| is_refusal(&line)) => {
            Err(Why::Refused { port, said: said(first) }.into())
        }
        (0, []) => Err(DeviceError::from(Why::Unverified { port, said: "it said neither yes nor no".to_owned() }).and_touched()),
        (_, []) => Err(DeviceError::from(Why::Unverified { port, said: "it said yes more than once".to_owned() }).and_touched()),
        (_, [first, ..]) => Err(DeviceError::from(Why::Unverified { port, said: said(first) }).and_touched()),
    }
}

/// The device's words, if they are known ones; others may repeat the credential and are not shown.
fn said(line: &Line) -> String {
    let known = REFUSALS.iter().chain(&FAILURES).find(|text| line.starts_with(text));
    known.map_or_else(|| "it complains in words that QDRS does not know".to_owned(), |text| format!("`{text}`"))
}

/// The version of the device's SDK, out of the answer to `version`.
fn firmware(lines: &[Line]) -> Option<String> {
    const NAME: &str = "DevKitSDK version:";
    let line = lines.iter().find(|line| line.starts_with(NAME))?;
    let version = std::str::from_utf8(&line.as_bytes()[NAME.len()..]).ok()?.trim();
    let fit = !version.is_empty() && version.len() <= 32 && version.bytes().all(|byte| byte.is_ascii_graphic());
    fit.then(|| format!("DevKitSDK {version}"))
}

#[cfg(test)]
#[cfg(feature = "sandbox")]
#[path = "mxchip_tests.rs"]
mod tests;
