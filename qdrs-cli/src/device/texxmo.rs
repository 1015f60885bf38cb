//! The teXXmo IoT Button: MicroPython's raw REPL on its UART, settings in `config.json`.
//!
//! What is where: [`script`] is the Python that the button runs, [`session`] asks and is sure of the answer, [`settings`]
//! knows what else a button may be given, this file knows in which order. The order is what makes a write atomic: repair,
//! backup, new file, read back, rename, read back; what the last reading found comes to the host. At each instant the
//! settings that a boot would load are the old ones or the new ones. Only the values that change cross the wire; the
//! button merges them itself, so that all other settings stay as they are, byte for byte.
//!
//! The button's program runs a timer that would save over the settings, or switch off. It is stopped without a reset,
//! which would leave it ticking in memory that is no longer its own.
//!
//! What no order can help: power that fails while the flash chip erases a sector of the directory. It is kept rare by
//! few directory writes and recognised by what the button says afterwards.
//!
//! Source: the button's own firmware. Not tried on a real button; tried on the same MicroPython's descendants.

mod reach;
mod script;
mod session;
mod settings;

use std::{str::FromStr, sync::Arc, time::Instant};

use qdrs_core::{
    api::{Evidence, UnknownWord},
    connection_string::{DeviceConnectionString, DeviceKey},
    hardware_id::HardwareId,
};
use tracing::debug;
use zeroize::Zeroizing;

use super::{Cancel, Device, DeviceError, Identity, Why};
use script::Script;
use session::{Session, after};
pub use settings::{ButtonSettings, SettingError};
pub(crate) use settings::{Given, is_secret};

/// How long the timer may take to its next tick, in milliseconds; it ticks every second. After that there is none.
const TICK_MS_MAX: u64 = 2_200;
/// How long to rest between two looks at the timer when nothing is heard of it, in milliseconds.
const TICK_LOOK_MS: u64 = 500;

/// How long a button that was told to switch off may take to say that it is still there, in milliseconds.
const OFF_MS_MAX: u64 = 200;
/// How long a button may take from its reset to its prompt, in milliseconds; it is 3 s.
const RESET_MS_MAX: u64 = 10_000;

/// How often the timer is told to stop before an answer that can't be, or is no button's, is believed.
const CALM_TRIES_MAX: u32 = 3;
/// How often the helpers are defined before the line is given up.
const DEFINE_TRIES_MAX: u32 = 3;

/// How a button's time in the slot ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ending {
    /// It is switched off.
    #[default]
    PowerOff,
    /// It is left at its friendly prompt, with its program as it was but the timer stopped: it neither saves nor switches
    /// itself off.
    Leave,
    /// It starts anew before its serial is confirmed, and is asked whether it found its new settings; its program runs from
    /// then on.
    Reset,
}

impl Ending {
    /// Every ending.
    pub const ALL: [Self; 3] = [Self::PowerOff, Self::Leave, Self::Reset];

    /// The word, as in a profile.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PowerOff => "off",
            Self::Leave => "leave",
            Self::Reset => "reset",
        }
    }
}

impl FromStr for Ending {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|ending| ending.as_str() == word);
        found.ok_or_else(|| UnknownWord::new(word, "way to finish", Self::ALL.map(Self::as_str)))
    }
}

/// A slot for buttons.
pub struct Texxmo {
    session: Session,
    ending: Ending,
    /// What every button gets besides its connection string.
    further: Arc<ButtonSettings>,
    /// Until when the timer may still tick; none when it is stopped, or never ran.
    ticking_until: Option<Instant>,
    /// Does the button in the slot have our definitions?
    defined: bool,
    /// Was the button in the slot identified, and has it not restarted since?
    known: bool,
    /// Does the button in the slot write, and show, the further settings as well?
    extended: bool,
    /// May a write follow without a repair? Only until the next write.
    sound: bool,
    /// What the last write found in its flash afterwards.
    found: Option<Zeroizing<Vec<u8>>>,
    /// Was it left at its friendly prompt?
    left: bool,
}

impl Texxmo {
    /// Opens the port; sends nothing.
    ///
    /// # Errors
    /// The port can't be opened.
    pub(crate) fn open(name: &str, ending: Ending, cancel: Cancel) -> Result<Self, DeviceError> {
        Ok(Self {
            session: Session::open(name, cancel)?,
            ending,
            further: Arc::default(),
            ticking_until: None,
            defined: false,
            known: false,
            extended: false,
            sound: false,
            found: None,
            left: false,
        })
    }

    /// The same, for buttons that get further settings.
    pub(crate) fn with(self, further: Arc<ButtonSettings>) -> Self {
        Self { further, ..self }
    }

    fn port(&self) -> String {
        self.session.name.clone()
    }

    fn ask(&mut self, doing: &'static str, script: Script<'_>) -> Result<Zeroizing<Vec<u8>>, DeviceError> {
        let answer = self.session.ask(doing, script);
        if answer.is_err() {
            // Whatever is there now, it is to be looked at anew.
            self.known = false;
        }
        answer
    }

    /// Stops the timer, first of all and with little memory: it must not be moved away under the timer. Its next tick
    /// is its last.
    fn calm(&mut self) -> Result<(), DeviceError> {
        let script = if self.ending == Ending::Leave { script::CALM_FOR_NOW } else { script::CALM };
        let mut answer = Zeroizing::default();
        // Nothing guards the script nor the answer; an answer that can't be, or that is no button's, may be a garbled one.
        for _ in 0..CALM_TRIES_MAX {
            answer = self.ask("stop its timer", Script::Bare(script))?;
            if let Some(tick) = number(&answer).filter(|tick| *tick >= script::TICK_LAST) {
                self.ticking_until = (tick < script::TICK_DEAD).then(|| after(TICK_MS_MAX));
                return Ok(());
            }
        }
        Err(match answer.as_slice() {
            script::NO_BUTTON => Why::OtherDevice { port: self.port() },
            _ => Why::Garbled { port: self.port() },
        }
        .into())
    }

    fn who(&mut self) -> Result<Identity, DeviceError> {
        let (identity, paste) = self.ask_twice_the_same("say what it is", script::WHO, identity)?;
        self.session.paste = paste;
        // As it has written it itself, in small letters.
        self.session.board = identity.hardware_id.as_ref().map(HardwareId::as_str).unwrap_or_default().to_ascii_lowercase();
        Ok(identity)
    }

    /// Asks what answers itself twice, and is understood when both are the same.
    fn ask_twice_the_same<T>(
        &mut self,
        doing: &'static str,
        script: &str,
        understand: impl Fn(&str) -> Option<T>,
    ) -> Result<T, DeviceError> {
        for _ in 0..2 {
            let answer = self.ask(doing, Script::Bare(script))?;
            if let Some(found) = once(&answer).and_then(&understand) {
                return Ok(found);
            }
        }
        Err(Why::Garbled { port: self.port() }.into())
    }

    /// Waits until the timer is dead, and defines what is asked for later.
    fn prepare(&mut self) -> Result<(), DeviceError> {
        while let Some(until) = self.ticking_until {
            let tick = number(&self.ask("stop its timer", Script::Bare(script::TICK))?);
            if tick.is_some_and(|tick| tick >= script::TICK_DEAD) || Instant::now() >= until {
                self.ticking_until = None;
            } else {
                self.session.rest_until_heard(TICK_LOOK_MS)?;
            }
        }
        if !self.defined {
            let answers = self.define();
            self.known = answers.is_ok();
            self.sound = answers?.get(1).is_some_and(|answer| **answer == script::SOUND);
            self.defined = true;
        }
        Ok(())
    }

    /// Defines what is asked for later. Nothing seals [`script::TOOLS`] itself: a byte of it that was garbled shows only
    /// when a sealed piece needs it. Then all is defined anew, if it is the same button still.
    fn define(&mut self) -> Result<Vec<Zeroizing<Vec<u8>>>, DeviceError> {
        const DOING: &str = "get ready for its settings";
        let pieces = [Script::Bare(script::TOOLS), Script::Sealed(script::READ), Script::Sealed(script::WRITE)];
        for _ in 1..DEFINE_TRIES_MAX {
            match self.session.ask_all(DOING, &pieces) {
                Err(DeviceError { why: Why::Failed { .. } | Why::Garbled { .. }, .. }) => {}
                Err(_) if self.session.unknown => {}
                other => return other,
            }
            // One that started anew does not know the timer's program by this name.
            let tick = number(&self.session.ask(DOING, Script::Bare(script::TICK))?);
            if tick.is_some_and(|tick| tick < script::TICK_DEAD) {
                return Err(self.session.restarted());
            }
        }
        self.session.ask_all(DOING, &pieces)
    }

    /// The same button, still as it was left?
    fn need_known(&mut self) -> Result<(), DeviceError> {
        self.session.reopen()?;
        if !self.known {
            return Err(self.session.restarted());
        }
        // Found out here, a restart costs nothing: nothing of a credential was sent.
        let listened = self.session.drain();
        self.known = listened.is_ok();
        listened
    }

    /// Repairs what an earlier cut left, and sees that there is a backup.
    fn repair(&mut self) -> Result<(), DeviceError> {
        const DOING: &str = "repair its settings";
        self.ask(DOING, Script::Sealed(script::COMPARE))?;
        match self.ask(DOING, Script::Sealed(script::REPAIR))?.as_slice() {
            script::SOUND => Ok(()),
            b"lost" => Err(Why::SettingsLost { port: self.port() }.into()),
            _ => Err(self.unverified("its backup is not what was written to it")),
        }
    }

    /// Tells the further settings; nothing is written yet.
    fn extend(&mut self) -> Result<(), DeviceError> {
        const DOING: &str = "take its further settings";
        if self.further.is_empty() {
            return Ok(());
        }
        for piece in script::further(&self.further.wire()) {
            self.ask(DOING, Script::Sealed(&piece))?;
        }
        self.ask(DOING, Script::Sealed(script::EXTEND))?;
        self.extended = true;
        Ok(())
    }

    /// From the first byte of the credential on: the device may hold it.
    fn put(&mut self, credential: &DeviceConnectionString) -> Result<(), DeviceError> {
        let source = script::write_values(credential, self.extended);
        let answer = self.ask("write its new settings", Script::Sealed(&source))?;
        match answer.as_slice() {
            b"long" => return Err(Why::SettingsTooLong { port: self.port() }.into()),
            b"new" => return Err(self.unverified("its new file is not what was written to it")),
            b"cfg" => return Err(self.unverified("its settings are not what was written to them")),
            _ => {}
        }
        let found = self.understood(&answer)?;
        if found.is_none_or(|found| *found.reveal() != *credential.reveal()) {
            return Err(self.unverified("its settings are not what was written to them"));
        }
        self.found = Some(answer);
        Ok(())
    }

    /// What stands in its flash, of an answer that says so.
    fn understood(&self, answer: &[u8]) -> Result<Option<DeviceConnectionString>, DeviceError> {
        if !self.extended {
            return Ok(composed(answer));
        }
        let at = answer.iter().rposition(|byte| *byte == b'|').unwrap_or(0);
        if answer.get(at + 1..) != Some(self.further.hash().as_bytes()) {
            return Err(self.unverified("its further settings are not what was written to them"));
        }
        Ok(composed(&answer[..at]))
    }

    /// Starts the button anew, and looks whether it found the settings that it has taken.
    fn check_boot(&mut self) -> Result<(), DeviceError> {
        let taken = match self.found {
            Some(_) => Some(self.ask("hash its settings", Script::Sealed(script::HASH))?),
            None => None,
        };
        self.known = false;
        if !self.session.order("start anew", Script::Bare(script::RESET), RESET_MS_MAX)? {
            return Err(Why::NotStarted { port: self.port() }.into());
        }
        self.session.enter()?;
        let started = self.ask_twice_the_same("say with which settings it started", script::STARTED, started)?;
        self.session.leave()?;
        self.left = true;
        match started {
            (_, hash) if taken.is_some_and(|taken| *taken != *hash.as_bytes()) => {
                Err(self.unverified("after its start `config.json` is not what was written to it"))
            }
            (0, _) => Ok(()),
            _ => Err(self.unverified("it has started with other settings than those in `config.json`")),
        }
    }

    fn unverified(&self, said: &str) -> DeviceError {
        Why::Unverified { port: self.port(), said: said.to_owned() }.into()
    }
}

impl Texxmo {
    fn meet(&mut self) -> Result<Identity, DeviceError> {
        self.session.forget();
        (self.known, self.defined, self.extended, self.left) = (false, false, false, false);
        (self.ticking_until, self.found) = (None, None);
        self.session.enter()?;
        self.calm()?;
        let identity = self.who()?;
        self.known = true;
        if self.ticking_until.is_none() {
            self.prepare()?;
        }
        debug!(
            port = self.session.name,
            firmware = identity.firmware,
            hardware_id = identity.hardware_id.as_ref().map(HardwareId::as_str),
            "a device has come"
        );
        Ok(identity)
    }
}

impl Device for Texxmo {
    fn identify(&mut self) -> Result<Identity, DeviceError> {
        self.session.reopen()?;
        self.meet().map_err(|error| self.session.blame(error))
    }

    fn write(&mut self, credential: &DeviceConnectionString) -> Result<Evidence, DeviceError> {
        check(credential)?;
        self.need_known()?;
        self.prepare()?;
        self.found = None;
        if !std::mem::take(&mut self.sound) {
            self.repair()?;
        }
        self.extend()?;
        self.session.committed = true;
        let result = self.put(credential).map_err(DeviceError::and_touched);
        self.session.committed = false;
        debug!(port = self.session.name, ok = result.is_ok(), "the device was told its connection string");
        result.map(|()| Evidence::ReadBack)
    }

    fn read_back(&mut self) -> Result<Option<DeviceConnectionString>, DeviceError> {
        self.need_known()?;
        // The write ended in reading what is in the flash then.
        if let Some(found) = &self.found {
            return self.understood(found);
        }
        self.prepare()?;
        let answer = self.ask("read its settings", Script::Sealed("r=V()"))?;
        self.understood(&answer)
    }

    fn prove(&mut self) -> Result<(), DeviceError> {
        if self.ending == Ending::Reset {
            self.need_known()?;
            self.check_boot()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        // It has started anew to prove what it loads, and its program runs.
        if self.left {
            return Ok(());
        }
        self.need_known()?;
        match self.ending {
            Ending::PowerOff => {
                self.prepare()?;
                // That it starts anew is as good as an end: it has taken the order.
                self.session.order("switch off", Script::Sealed(script::POWER_OFF), OFF_MS_MAX)?;
            }
            Ending::Leave => {
                self.prepare()?;
                self.ask("go on by itself", Script::Sealed(script::RESTORE))?;
                self.known = false;
                self.session.leave()?;
                self.left = true;
            }
            Ending::Reset => self.check_boot()?,
        }
        Ok(())
    }

    fn present(&mut self) -> Result<bool, DeviceError> {
        if !self.session.has_port() {
            return Ok(false);
        }
        let answers = if self.left { self.session.at_friendly_prompt() } else { self.session.at_prompt() };
        match answers {
            Ok(present) => Ok(present),
            Err(error) if !self.session.has_port() || matches!(error.why, Why::Silent { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Can the button hold it? Only these three values; a longer or stranger one would not fit what it is told.
fn check(credential: &DeviceConnectionString) -> Result<(), DeviceError> {
    let key = credential.key.to_base64();
    let bytes = credential.host_name.len() + credential.device_id.len() + key.len();
    if bytes > script::VALUES_BYTES_MAX {
        return Err(Why::TooLong { bytes, bytes_max: script::VALUES_BYTES_MAX }.into());
    }
    if !script::plain(&credential.device_id) || !script::plain(&credential.host_name) {
        let fault = "has a character that the button can't take";
        return Err(Why::Unfit { device_id: credential.device_id.clone(), fault }.into());
    }
    Ok(())
}

fn number(answer: &[u8]) -> Option<u32> {
    std::str::from_utf8(answer).ok()?.parse().ok()
}

/// An answer that says the same twice.
fn once(answer: &[u8]) -> Option<&str> {
    let (once, again) = std::str::from_utf8(answer).ok()?.split_once('#')?;
    (once == again).then_some(once)
}

/// What the device says of itself; and whether its MicroPython has raw paste (1.14).
fn identity(once: &str) -> Option<(Identity, bool)> {
    let mut parts = once.splitn(3, '|');
    let (mac, version, firmware) = (parts.next()?, parts.next()?, parts.next()?);
    let (major, minor) = version.split_once('.')?;
    let version: (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    let is_mac = mac.len() == 17
        && mac.bytes().enumerate().all(|(at, byte)| if at % 3 == 2 { byte == b':' } else { byte.is_ascii_hexdigit() });
    let fit = !firmware.is_empty() && firmware.len() <= 96 && firmware.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let hardware_id = is_mac.then(|| HardwareId::parse(mac).ok().flatten())??;
    let firmware = fit.then(|| format!("MicroPython {firmware}"));
    Some((Identity { hardware_id: Some(hardware_id), firmware }, version >= (1, 14)))
}

/// How many settings differ from the file's, and the file's hash.
fn started(once: &str) -> Option<(u32, String)> {
    let (differ, hash) = once.split_once('|')?;
    Some((differ.parse().ok()?, hash.to_owned()))
}

/// The three values as they stand in flash, as one connection string; none when they make none.
fn composed(answer: &[u8]) -> Option<DeviceConnectionString> {
    let mut parts = std::str::from_utf8(answer).ok()?.splitn(3, '|');
    let (host_name, device_id, key) = (parts.next()?, parts.next()?, parts.next()?);
    let key = DeviceKey::from_base64(key).ok()?;
    let fit = !host_name.is_empty() && !device_id.is_empty();
    fit.then(|| DeviceConnectionString { host_name: host_name.to_owned(), device_id: device_id.to_owned(), key })
}

#[cfg(test)]
mod further_tests;
#[cfg(test)]
mod peer;
#[cfg(test)]
mod tests;
