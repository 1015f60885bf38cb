//! Devices: what a slot can ask of one, whatever its kind.
//!
//! [`mxchip`] is the MXChip AZ3166 at its serial console, [`texxmo`] the teXXmo IoT Button at MicroPython's raw REPL,
//! [`mod@file`] a folder with one file for each device; a [`profile`] says which kind, and what else. Drivers are
//! synchronous: each runs on its slot's own thread, owns its port, and looks at a cancel flag whenever a short read
//! time-out passes. The languages themselves are in [`wire`], without ports and clocks.

pub mod file;
pub mod mxchip;
pub mod profile;
pub mod texxmo;
pub mod wire;

use std::{
    fmt,
    path::PathBuf,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use qdrs_core::{
    api::{Code, Evidence, UnknownWord},
    connection_string::DeviceConnectionString,
    explain::Explain,
    hardware_id::HardwareId,
};

use crate::port::{PortError, list::usb_of_port};
pub use profile::Profile;

/// How long a device that has begun to take its credential may go on after a stop, in milliseconds.
const STOP_MS_MAX: u64 = 1_000;

/// One place for a device, and whatever device is in it now.
pub trait Device: Send {
    /// Asks the device in the slot what it is; also the way to learn whether one has come.
    ///
    /// # Errors
    /// No device answers ([`Code::DeviceSilent`], [`Code::DeviceGone`]), or not as it should.
    fn identify(&mut self) -> Result<Identity, DeviceError>;

    /// Writes the credential and says what shows that the device holds it. Once the device has begun to take it, the
    /// cancel flag waits until the device has answered.
    ///
    /// # Errors
    /// [`DeviceError::touched`] says whether the device may hold (a part of) the credential all the same.
    fn write(&mut self, credential: &DeviceConnectionString) -> Result<Evidence, DeviceError>;

    /// Reads the credential that the device holds; none when this kind can't, or when the device holds none.
    ///
    /// # Errors
    /// The device does not answer as it should.
    fn read_back(&mut self) -> Result<Option<DeviceConnectionString>, DeviceError>;

    /// Puts a device that holds its credential through what its profile asks to be shown before the credential counts, such
    /// as a start. All that could still show the opposite belongs here: what comes in [`Device::finish`] changes no verdict.
    ///
    /// # Errors
    /// It is not shown; the device may hold the credential all the same.
    fn prove(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }

    /// Ends the device's time in the slot: from here on it works for its user.
    ///
    /// # Errors
    /// The device does not take it; the credential stands all the same.
    fn finish(&mut self) -> Result<(), DeviceError>;

    /// Does the device still answer? False when it has gone.
    ///
    /// # Errors
    /// The port can't be used, or the operator wants to stop.
    fn present(&mut self) -> Result<bool, DeviceError>;
}

/// What a device says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// What tells this very board from every other (MAC, IMEI, the number of the probe that is part of it).
    pub hardware_id: Option<HardwareId>,
    /// The version of its firmware, for the report.
    pub firmware: Option<String>,
}

/// How a kind of device is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// MXChip AZ3166 (IoT DevKit) at its serial console.
    Mxchip,
    /// teXXmo IoT Button at MicroPython's raw REPL.
    Texxmo,
    /// A folder with one file for each device, for software products and tests.
    File,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Mxchip, Self::Texxmo, Self::File];

    /// The word, as in `--device`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mxchip => "mxchip",
            Self::Texxmo => "texxmo",
            Self::File => "file",
        }
    }

    /// What it is, for people.
    pub fn about(self) -> &'static str {
        match self {
            Self::Mxchip => "MXChip AZ3166 (IoT DevKit) in its configuration mode",
            Self::Texxmo => "teXXmo IoT Button, switched on",
            Self::File => "a folder: one file for each device",
        }
    }

    /// What a person does so that a device of this kind answers; none where no person is needed.
    pub fn call(self) -> Option<&'static str> {
        match self {
            Self::Mxchip => Some("hold its button A, press and release Reset, then let go of A"),
            Self::Texxmo => Some("switch it on; one that has switched itself off has to be switched on again"),
            Self::File => None,
        }
    }

    /// What its port is, for people.
    pub fn port_about(self) -> &'static str {
        match self {
            Self::Mxchip | Self::Texxmo => "a serial port's name or `tcp://host:port`",
            Self::File => "a folder",
        }
    }

    /// What shows, after a write, that the device holds its credential.
    pub fn evidence(self) -> Evidence {
        match self {
            Self::Mxchip => Evidence::DeviceChecked,
            Self::Texxmo | Self::File => Evidence::ReadBack,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == word);
        found.ok_or_else(|| UnknownWord::new(word, "kind of device", Self::ALL.map(Self::as_str)))
    }
}

/// Opens a slot's port for devices as a profile says; `cancel` is set when the operator wants to stop.
///
/// Opens only: no byte is sent.
///
/// # Errors
/// The port can't be opened, or the folder can't be made.
pub fn open(profile: &Profile, port: &str, cancel: Arc<AtomicBool>) -> Result<Box<dyn Device>, DeviceError> {
    Ok(match profile.kind {
        Kind::Mxchip => Box::new(mxchip::Mxchip::open(port, profile, Cancel::of(cancel))?),
        Kind::Texxmo => {
            let slot = texxmo::Texxmo::open(port, profile.ending, Cancel::of(cancel))?;
            Box::new(slot.with(Arc::clone(&profile.button)))
        }
        Kind::File => Box::new(file::Folder::open(port)?),
    })
}

/// The operator's request to stop, as a driver heeds it.
#[derive(Debug)]
pub(crate) struct Cancel {
    flag: Arc<AtomicBool>,
    /// When a device that has begun to take its credential has to be done with it.
    until: Option<Instant>,
}

impl Cancel {
    pub(crate) fn of(flag: Arc<AtomicBool>) -> Self {
        Self { flag, until: None }
    }

    fn is_set(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// How long a wait may last. A stop ends it at once; a device that is `committed` gets [`STOP_MS_MAX`] in all.
    ///
    /// # Errors
    /// The operator wants to stop, and nothing speaks against it.
    fn limit(&mut self, deadline: Instant, committed: bool) -> Result<Instant, Why> {
        match (self.is_set(), committed) {
            (false, _) => Ok(deadline),
            (true, false) => Err(Why::Interrupted),
            (true, true) => {
                let until = *self.until.get_or_insert_with(|| Instant::now() + Duration::from_millis(STOP_MS_MAX));
                Ok(until.min(deadline))
            }
        }
    }
}

/// What went wrong with a device, and whether it may hold (a part of) the credential all the same.
#[derive(Debug, thiserror::Error)]
#[error("{why}{}", if *touched && why.is_of_another_program() { "; the device may hold a wrong connection string" } else { "" })]
pub struct DeviceError {
    /// What went wrong.
    pub why: Why,
    touched: bool,
}

impl DeviceError {
    /// May the device hold (a part of) the credential? Then the key must be dead before another device gets the serial.
    pub fn touched(&self) -> bool {
        self.touched
    }

    /// The same, of a device that may hold the credential.
    pub(crate) fn and_touched(self) -> Self {
        Self { touched: true, ..self }
    }
}

impl From<Why> for DeviceError {
    fn from(why: Why) -> Self {
        Self { why, touched: false }
    }
}

impl From<PortError> for DeviceError {
    fn from(error: PortError) -> Self {
        Why::Port(error).into()
    }
}

impl Explain for DeviceError {
    fn code(&self) -> Code {
        self.why.code()
    }

    fn help(&self) -> String {
        self.why.help()
    }
}

/// What went wrong with a device. What it said stands here only where it is one of the known texts: a device may
/// repeat what it did not understand, and that may be the credential.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// The wire, not the device.
    #[error(transparent)]
    Port(#[from] PortError),
    /// No cable, no power, another speed, or the device is not in its configuration mode.
    #[error("no device answers at `{port}`")]
    Silent {
        /// Where.
        port: String,
    },
    /// It answered, then stopped in the middle.
    #[error("the device at `{port}` stopped answering while it was asked to {doing}")]
    Stopped {
        /// Where.
        port: String,
        /// What it was to do, `take its connection string`.
        doing: &'static str,
    },
    /// Something else than the configuration console is running.
    #[error("the device at `{port}` runs its program, not its configuration console")]
    NotReady {
        /// Where.
        port: String,
    },
    /// It says something, but never comes to its prompt.
    #[error("the device at `{port}` is busy and does not come to its prompt")]
    Busy {
        /// Where.
        port: String,
    },
    /// MicroPython, but without the button's program.
    #[error("the device at `{port}` runs MicroPython, but is no teXXmo IoT Button: it has no `control` and `setting`")]
    OtherDevice {
        /// Where.
        port: String,
    },
    /// It lost power while its flash chip erased a sector of the directory.
    #[error("the device at `{port}` has lost its file system")]
    FilesLost {
        /// Where.
        port: String,
    },
    /// Neither its settings nor their backup can be read.
    #[error("the device at `{port}` has lost its settings: neither `config.json` nor its backup can be read")]
    SettingsLost {
        /// Where.
        port: String,
    },
    /// Its other settings leave no place.
    #[error("the settings of the device at `{port}` would be longer than it can hold")]
    SettingsTooLong {
        /// Where.
        port: String,
    },
    /// It tried, and its own software failed.
    #[error("the device at `{port}` failed when it was asked to {doing}: {said}")]
    Failed {
        /// Where.
        port: String,
        /// What it was to do, `read its settings`.
        doing: &'static str,
        /// The kind of its exception.
        said: String,
    },
    /// It restarted, or another one was put in, in the middle.
    #[error("the device at `{port}` restarted or was exchanged")]
    Restarted {
        /// Where.
        port: String,
    },
    /// It was told to start anew, and has not come back.
    #[error("the device at `{port}` was reset and did not start again")]
    NotStarted {
        /// Where.
        port: String,
    },
    /// The device received something else than was sent.
    #[error("the line to `{port}` garbles what is sent")]
    Garbled {
        /// Where.
        port: String,
    },
    /// The device received bytes that QDRS did not send.
    #[error("something else than QDRS types into the device at `{port}`")]
    Foreign {
        /// Where.
        port: String,
    },
    /// Another program has the port open, so what comes and goes there is not all known here.
    #[error("{holder} has the port `{port}` open as well: it may type into it, and take its answers away")]
    Shared {
        /// Where.
        port: String,
        /// Which program.
        holder: String,
    },
    /// The device shows stars for what it received, so that nobody knows what that was.
    #[error("the device at `{port}` masks its echo, so it can't show that it received the connection string as it was sent")]
    Masked {
        /// Where.
        port: String,
    },
    /// It said no, and wrote nothing.
    #[error("the device at `{port}` refuses: {said}")]
    Refused {
        /// Where.
        port: String,
        /// Its own words, if they are known ones.
        said: String,
    },
    /// It wrote, and then found something else, or said nothing that can be relied on.
    #[error("the device at `{port}` could not verify what it stored: {said}")]
    Unverified {
        /// Where.
        port: String,
        /// Its own words, if they are known ones.
        said: String,
    },
    /// The credential has more bytes than the device has place for.
    #[error("the connection string has {bytes} bytes; the device holds {bytes_max}")]
    TooLong {
        /// So many it has.
        bytes: usize,
        /// So many fit.
        bytes_max: usize,
    },
    /// The credential has a character that the device can't take.
    #[error("the device id `{device_id}` {fault}")]
    Unfit {
        /// The name of the device in the hub.
        device_id: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A file that stands for a device.
    #[error("`{path}`: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// What is in the file is not what was written.
    #[error("`{path}` does not hold what was written to it")]
    FileDiffers {
        /// Which.
        path: PathBuf,
    },
    /// The file of that name belongs to another device: on some systems `A` and `a` are one name.
    #[error("`{path}` already holds the connection string of another device")]
    FileTaken {
        /// Which.
        path: PathBuf,
    },
    /// The operator wants to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Why {
    /// True if another program is at the port: then nobody knows what the device has received.
    fn is_of_another_program(&self) -> bool {
        matches!(self, Self::Foreign { .. } | Self::Shared { .. })
    }
}

impl Explain for Why {
    fn code(&self) -> Code {
        match self {
            Self::Port(error) => error.code(),
            Self::Silent { .. } => Code::DeviceSilent,
            Self::NotReady { .. } | Self::Busy { .. } => Code::DeviceNotReady,
            Self::OtherDevice { .. } | Self::FilesLost { .. } | Self::SettingsLost { .. } => Code::DeviceNotReady,
            Self::Stopped { .. } | Self::Restarted { .. } | Self::NotStarted { .. } => Code::DeviceGone,
            Self::Refused { .. } | Self::FileTaken { .. } => Code::DeviceRefused,
            Self::Garbled { .. }
            | Self::Foreign { .. }
            | Self::Unverified { .. }
            | Self::Failed { .. }
            | Self::FileDiffers { .. } => Code::DeviceUnverified,
            Self::Masked { .. } => Code::EvidenceTooWeak,
            Self::Shared { .. } => Code::PortBusy,
            Self::TooLong { .. } | Self::SettingsTooLong { .. } | Self::Unfit { .. } => Code::CredentialTooLong,
            Self::File { .. } => Code::FileUnwritable,
            Self::Interrupted => Code::Interrupted,
        }
    }

    fn help(&self) -> String {
        match self {
            Self::Port(error) => error.help(),
            Self::Garbled { .. } => {
                "check the cable and its length, and that no other program has the port open, then try once more".to_owned()
            }
            Self::Foreign { port, .. } => foreign_help(port),
            Self::Shared { holder, .. } => format!("end {holder}"),
            Self::Masked { .. } => {
                "use firmware that echoes what it receives, or ask the owner for a policy with `least_evidence = \"accepted\"`"
                    .to_owned()
            }
            Self::FileTaken { .. } => "choose another folder; device ids that differ in case only need two".to_owned(),
            Self::Busy { .. } => "switch the device off and on, without holding its button".to_owned(),
            Self::OtherDevice { .. } => "put a button in, or name this kind of device with `--device`".to_owned(),
            Self::FilesLost { .. } | Self::SettingsLost { .. } => {
                "set the device aside: its firmware has to be flashed again, settings and all".to_owned()
            }
            Self::Failed { .. } => "switch the device off and on, then try once more".to_owned(),
            Self::Stopped { .. } => "switch the device on again, or put it back in; nothing is lost".to_owned(),
            Self::NotStarted { .. } => {
                "a reset may let go of its power: feed it from the fixture, or finish it with `off`".to_owned()
            }
            Self::SettingsTooLong { .. } => "set less, above all a shorter `userjson`, or use a shorter device id".to_owned(),
            Self::Unfit { .. } => "use a device id of letters, digits and `-._`".to_owned(),
            _ => self.code().help().to_owned(),
        }
    }
}

/// How to stop whoever types into a port.
fn foreign_help(port: &str) -> String {
    let rule = usb_of_port(port).and_then(|usb| {
        let (vendor, product) = usb.id.split_once(':')?;
        let adapter = format!(r#"ATTRS{{idVendor}}=="{vendor}", ATTRS{{idProduct}}=="{product}""#);
        Some(format!(r#"the line `{adapter}, {IGNORED}` in `/etc/udev/rules.d/99-qdrs.rules`"#))
    });
    let rule = rule.unwrap_or_else(|| format!("a udev rule with `{IGNORED}` for its adapter"));
    format!(
        "close the other program that has the port open (a serial monitor, ModemManager), then try once more; {rule} keeps \
         ModemManager away"
    )
}

/// What keeps ModemManager away from an adapter, in a udev rule.
const IGNORED: &str = r#"ENV{ID_MM_DEVICE_IGNORE}="1""#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_words() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse::<Kind>().expect("is a kind"), kind);
        }
        let error = "toaster".parse::<Kind>().expect_err("is none");
        assert!(error.to_string().contains("mxchip"));
    }

    #[test]
    fn a_missing_port_is_named() {
        let error = open(&Kind::Mxchip.into(), "/dev/no-such-port", Arc::default()).err().expect("is not there");
        assert_eq!((error.code(), error.touched()), (Code::PortMissing, false));
        assert_eq!(error.to_string(), "there is no port `/dev/no-such-port`");
    }
}
