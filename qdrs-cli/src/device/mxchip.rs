//! The MXChip AZ3166 (IoT DevKit) at its configuration console: an empty line, `version`, `set_az_iothub`, `version`, `exit`.
//!
//! Nothing but a bare carriage return goes to a device that has not shown its prompt: it may be any program. The device
//! checks what it stored against what it received; that it received what was sent, and nothing else, is checked by the
//! echo ([`session`]). A firmware that masks its echo can't show that: then its word is no more than `accepted`.
//!
//! The chip that stores the connection string is written in place. What it holds after its power fails in that moment
//! is not known; the remedy is to write again.
//!
//! Source: the AZ3166's own firmware. Not tried on a real board.

mod session;

use std::str::FromStr;

use qdrs_core::{
    api::{Evidence, UnknownWord},
    connection_string::DeviceConnectionString,
    hardware_id::HardwareId,
};
use tracing::debug;
use zeroize::Zeroizing;

use super::{Cancel, Device, DeviceError, Identity, Profile, Why, wire::prompt::Line};
use crate::port;
use session::{Found, Session, Typed};

/// How long the prompt may take after a bare carriage return, in milliseconds.
const PROMPT_MS_MAX: u64 = 1_500;
/// The same of a device that was there a moment ago, in milliseconds.
const PRESENT_MS_MAX: u64 = 300;
/// How long the device may take to write its chip and compare, in milliseconds.
const WRITE_MS_MAX: u64 = 10_000;
/// How long the device may take to say that it restarts, in milliseconds; it need not say it.
const EXIT_MS_MAX: u64 = 1_000;

/// What the device holds of a connection string, in bytes.
const CREDENTIAL_BYTES_MAX: usize = 511;

/// The command that stores a connection string, up to its argument.
const SET: &[u8] = b"set_az_iothub ";
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

/// USB vendors of probes that are part of a board: ST, and Arm's DAPLink.
const PROBE_VENDORS: [&str; 2] = ["0483:", "0d28:"];

/// The identifier by which boards are told apart.
///
/// The number of the probe is the board's where each board brings its own USB port. A debugger that is built into a fixture
/// has the same vendor and the same number all day, whatever board is in it, and no program can tell the two. So it counts
/// only where the profile says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BoardId {
    /// Nothing: boards are not known again.
    #[default]
    None,
    /// The USB serial number of the board's own probe.
    Usb,
}

impl FromStr for BoardId {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "none" => Ok(Self::None),
            "usb" => Ok(Self::Usb),
            _ => Err(UnknownWord::new(word, "board id", ["none", "usb"])),
        }
    }
}

/// The number of a probe that can be part of a board; that of an adapter says nothing of the board behind it.
fn board_id(usb: Option<&port::list::Usb>) -> Option<HardwareId> {
    let usb = usb.filter(|usb| PROBE_VENDORS.iter().any(|vendor| usb.id.starts_with(vendor)))?;
    // A number that can't be an id tells no board from another.
    HardwareId::parse(usb.serial_number.as_deref()?).ok().flatten()
}

/// A slot for AZ3166 boards.
pub struct Mxchip {
    session: Session,
    profile: Profile,
    /// True once the last board was told to restart: whatever answers next is no longer that one.
    finished: bool,
}

impl Mxchip {
    /// Opens the port; sends nothing.
    ///
    /// # Errors
    /// The port can't be opened.
    pub(crate) fn open(name: &str, profile: &Profile, cancel: Cancel) -> Result<Self, DeviceError> {
        Ok(Self { session: Session::open(name, cancel)?, profile: profile.clone(), finished: false })
    }

    fn set_credential(&mut self, credential: &DeviceConnectionString) -> Result<Evidence, DeviceError> {
        let session = &mut self.session;
        session.need_prompt(PROMPT_MS_MAX)?;
        session.need_quiet()?;
        if session.cancel.is_set() {
            return Err(Why::Interrupted.into());
        }
        let command = Zeroizing::new([SET, credential.reveal().as_bytes()].concat());
        session.committed = true;
        let mut typed = Typed::default();
        let entered = session.type_in(&command, &mut typed).and_then(|()| {
            let shown = if typed.masked { Evidence::Accepted } else { Evidence::DeviceChecked };
            if shown >= self.profile.least { Ok(shown) } else { Err(Why::Masked { port: session.name.clone() }.into()) }
        });
        let shown = match entered {
            Ok(shown) => shown,
            Err(error) => {
                // To a program nothing more is sent.
                let at_console = session.has_port() && !matches!(error.why, Why::NotReady { .. });
                let unharmed = typed.sent == 0 || (at_console && session.take_back(&typed));
                // Who types may also have read what the device said of it.
                let is_foreign = matches!(error.why, Why::Foreign { .. });
                return Err(if unharmed && !is_foreign { error } else { error.and_touched() });
            }
        };
        let answered = session.answer("take its connection string", WRITE_MS_MAX);
        let lines = answered.map_err(DeviceError::and_touched)?;
        verdict(&session.name, &lines)?;
        session.need_untouched().map_err(DeviceError::and_touched)?;
        Ok(shown)
    }
}

impl Device for Mxchip {
    fn identify(&mut self) -> Result<Identity, DeviceError> {
        self.session.reopen()?;
        self.session.need_alone()?;
        if self.session.find_prompt(PROMPT_MS_MAX)? == Found::Nothing {
            return Err(self.session.silent());
        }
        (self.finished, self.session.farewell) = (false, false);
        let lines = self.session.ask_version()?;
        let port = &self.session.name;
        // A port that the board brings with it is another one for each board, so it is looked at each time.
        let usb = match self.profile.board_id {
            BoardId::Usb => port::list::usb_of_port(port),
            BoardId::None => None,
        };
        let identity = Identity { hardware_id: board_id(usb.as_ref()), firmware: firmware(&lines) };
        debug!(
            port,
            firmware = identity.firmware,
            hardware_id = identity.hardware_id.as_ref().map(HardwareId::as_str),
            "a device has come"
        );
        Ok(identity)
    }

    fn write(&mut self, credential: &DeviceConnectionString) -> Result<Evidence, DeviceError> {
        check(credential)?;
        self.session.reopen()?;
        self.session.need_alone()?;
        let result = self.set_credential(credential);
        self.session.committed = false;
        debug!(port = self.session.name, ok = result.is_ok(), "the device was told its connection string");
        result
    }

    /// The console has no command to read it.
    fn read_back(&mut self) -> Result<Option<DeviceConnectionString>, DeviceError> {
        Ok(None)
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        self.session.reopen()?;
        self.session.need_prompt(PROMPT_MS_MAX)?;
        self.session.type_in(b"exit", &mut Typed::default())?;
        self.session.see_off("Reboot", EXIT_MS_MAX)?;
        self.session.forget();
        (self.finished, self.session.farewell) = (true, true);
        Ok(())
    }

    fn present(&mut self) -> Result<bool, DeviceError> {
        // A board that was told to restart has left its console. Whatever answers there is another one, or the same,
        // brought back by hand; its hardware id tells.
        if self.finished || !self.session.has_port() {
            return Ok(false);
        }
        match self.session.find_prompt(PRESENT_MS_MAX) {
            Ok(found) => Ok(found == Found::Prompt),
            Err(error) if !self.session.has_port() || matches!(error.why, Why::NotReady { .. } | Why::Silent { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
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
fn verdict(port: &str, lines: &[Line]) -> Result<(), DeviceError> {
    let port = port.to_owned();
    let successes = lines.iter().filter(|line| line.starts_with(WRITTEN)).count();
    let complaints: Vec<&Line> = lines.iter().filter(|line| COMPLAINTS.iter().any(|word| line.contains(word))).collect();
    let is_refusal = |line: &&&Line| REFUSALS.iter().any(|text| line.starts_with(text));
    match (successes, complaints.as_slice()) {
        (1, []) => Ok(()),
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
