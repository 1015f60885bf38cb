//! What a serial of this batch must be: the owner's policy, or without one what holds for every serial.

use std::{
    io::{self, Read},
    path::Path,
};

use qdrs_core::{
    api::Code,
    policy::{Policy, nearest},
    serial::SerialError,
};

use super::damage;
use crate::failure::Failure;

/// The longest policy file, in bytes.
const POLICY_BYTES_MAX: u64 = 1024 * 1024;

/// The longest list of a policy, in bytes.
const LIST_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The most serials that are named for a refused one.
const NEAREST_MAX: usize = 3;

/// A policy, and whether it is anybody's.
#[derive(Debug, Clone)]
pub struct Rules {
    policy: Policy,
    /// Is it the owner's? Then it is the judge, and what a text looks like only explains its verdict.
    pub(super) own: bool,
}

impl Rules {
    /// What holds for every serial.
    pub fn none() -> Self {
        // Every key of a policy may be left out: a constant that every test here parses.
        Self { policy: Policy::parse("every serial", "").expect("an empty policy is one"), own: false }
    }

    /// The owner's policy, from a file; its lists are read from beside it.
    ///
    /// # Errors
    ///
    /// When a file can't be read or is no policy, or when only the owner's key could check its serials.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let unreadable = |error: io::Error| {
            Failure::new(Code::SettingInvalid, format!("the policy `{}` can't be read: {error}", path.display()))
        };
        let toml = read_up_to(path, POLICY_BYTES_MAX).map_err(unreadable)?;
        let toml = String::from_utf8(toml).map_err(|_| unreadable(io::Error::from(io::ErrorKind::InvalidData)))?;
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let unsound = |error| Failure::from(error).at(path.display());
        let mut policy = Policy::parse(&name, &toml).map_err(unsound)?;
        if policy.guess_bits().is_some() {
            let help = "leave `--policy` out: the form is checked here, and the service checks each signature";
            let text = format!("the serials of policy `{name}` are signed, and only the service has the key");
            return Err(Failure::with_help(Code::SettingInvalid, text, help).at(path.display()));
        }
        if policy.wants() {
            let folder = path.parent().unwrap_or(Path::new(""));
            let mut list = |name: &str| read_up_to(&folder.join(name), LIST_BYTES_MAX).map_err(|error| error.to_string());
            policy = policy.load(&mut list, &mut |_| Err("only the service has it".into())).map_err(unsound)?;
        }
        Ok(Self { policy, own: true })
    }

    /// The policy's name, if it is the owner's.
    pub fn name(&self) -> Option<&str> {
        self.own.then_some(self.policy.name.as_str())
    }

    /// Which valid serials a refused text may have been, in words; nothing where there is no owner's policy, or none is near.
    pub(super) fn nearest(&self, text: &str, in_batch: &dyn Fn(&str) -> bool) -> Option<String> {
        nearest::in_words(&self.policy.nearest(text, in_batch, NEAREST_MAX)).filter(|_| self.own)
    }

    /// The serial in a cell as it is sent to the service, and its normal form; without what only marked it as text.
    pub(super) fn serial_in<'t>(&self, raw: &'t str) -> Result<(&'t str, String), SerialError> {
        let text = trimmed(raw);
        match damage::unmarked(text) {
            // A policy may have serials that look like that; nobody else has.
            Some(inner) if !self.own => self.check(inner).map(|normal| (inner, normal)),
            marked => match self.check(raw) {
                Ok(normal) => Ok((text, normal)),
                Err(error) => marked.and_then(|inner| Some((inner, self.check(inner).ok()?))).ok_or(error),
            },
        }
    }

    /// The normal form, if the text is a valid serial.
    pub(super) fn check(&self, text: &str) -> Result<String, SerialError> {
        match self.policy.check(text) {
            Ok(serial) => Ok(serial.into()),
            // What a device is called is for the owner's policy to say.
            Err(SerialError::DeviceId { .. }) if !self.own => Ok(self.policy.normalise(text)),
            Err(error) => Err(error),
        }
    }
}

/// A cell without the blanks around its text.
pub(super) fn trimmed(raw: &str) -> &str {
    raw.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// All of a file, unless it is longer than any may be.
fn read_up_to(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max { Err(io::Error::from(io::ErrorKind::FileTooLarge)) } else { Ok(bytes) }
}
