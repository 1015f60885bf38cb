//! What a serial of this batch must be: the owner's policy, or without one what holds for every serial.

use std::{io::Read, path::Path};

use qdrs_core::{api::Code, policy::Policy, serial::SerialError};

use crate::failure::Failure;

/// The longest policy file, in bytes.
const POLICY_BYTES_MAX: u64 = 1024 * 1024;

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

    /// The owner's policy, from a file.
    ///
    /// # Errors
    ///
    /// When the file can't be read or is no policy.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let mut toml = String::new();
        std::fs::File::open(path).and_then(|file| file.take(POLICY_BYTES_MAX).read_to_string(&mut toml)).map_err(|error| {
            Failure::new(Code::SettingInvalid, format!("the policy `{}` can't be read: {error}", path.display()))
        })?;
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { policy: Policy::parse(&name, &toml).map_err(|error| Failure::from(error).at(path.display()))?, own: true })
    }

    /// The policy's name, if it is the owner's.
    pub fn name(&self) -> Option<&str> {
        self.own.then_some(self.policy.name.as_str())
    }

    /// The normal form, if the text is a valid serial.
    pub(super) fn check(&self, text: &str) -> Result<String, SerialError> {
        match self.policy.check(text) {
            Ok(serial) => Ok(serial.as_str().to_owned()),
            // What a device is called is for the owner's policy to say.
            Err(SerialError::DeviceId { .. }) if !self.own => Ok(self.policy.normalise(text)),
            Err(error) => Err(error),
        }
    }
}
