//! What a serial of this batch must be: the owner's policy, or without one what holds for every serial.

use std::borrow::Cow;

use super::damage;
use crate::{
    policy::{Policy, nearest},
    serial::SerialError,
};

/// The most serials that are named for a refused one.
const NEAREST_MAX: usize = 3;

/// A policy, and what its word is worth.
#[derive(Debug, Clone)]
pub struct Rules {
    policy: Policy,
    whose: Whose,
    /// Is it the judge, so that what a text looks like only explains its verdict?
    pub(super) own: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Nobodys,
    /// All of an owner's policy.
    Owners,
    /// Without its lists and signatures, which only the service has.
    PartOfOwners,
}

impl Rules {
    /// What holds for every serial.
    pub fn none() -> Self {
        // Every key of a policy may be left out: a constant that every test here parses.
        Self { policy: Policy::parse("every serial", "").expect("an empty policy is one"), whose: Whose::Nobodys, own: false }
    }

    /// What the owner's policy says, which has its lists and keys.
    pub fn of(policy: Policy) -> Self {
        // One that takes every text is no judge of what a spreadsheet did.
        let own = policy.tells_serials();
        Self { policy, whose: Whose::Owners, own }
    }

    /// The same of what the service gives of its policy; `whole` says whether that is all of it.
    pub fn of_service(policy: Policy, whole: bool) -> Self {
        if whole { Self::of(policy) } else { Self { policy, whose: Whose::PartOfOwners, own: false } }
    }

    /// The policy's name, if it is the owner's, and all of it is here.
    pub fn name(&self) -> Option<&str> {
        (self.whose == Whose::Owners).then_some(self.policy.name.as_str())
    }

    /// Which valid serials a refused text may have been, in words; nothing where there is no owner's policy, or none is near.
    /// What stands on a row of its own (`taken`) is not the answer for another.
    pub(super) fn nearest(&self, text: &str, taken: &dyn Fn(&str) -> bool) -> Option<String> {
        if !self.own {
            return None;
        }
        nearest::in_words(&self.policy.nearest(text, taken, NEAREST_MAX))
    }

    /// The serial in a cell as it is sent to the service, and its normal form; without what only marked it as text.
    pub(super) fn serial_in<'t>(&self, raw: &'t str) -> Result<(Cow<'t, str>, String), SerialError> {
        let text = trimmed(raw);
        // A policy may have serials that look like a mark or a power; nobody else has.
        let as_it_is =
            if self.own { self.check(raw).map(|normal| (Cow::Borrowed(text), normal)).map_err(Some) } else { Err(None) };
        let error = match as_it_is {
            Ok(sound) => return Ok(sound),
            Err(error) => error,
        };
        if let Some(inner) = damage::unmarked(text) {
            // What is wrong is said of the serial, not of the mark around it.
            return self.check(inner).map(|normal| (Cow::Borrowed(inner), normal));
        }
        if let Some(digits) = damage::whole_power(text) {
            return self.check(&digits).map(|normal| (Cow::Owned(digits), normal));
        }
        match error {
            Some(error) => Err(error),
            None => self.check(raw).map(|normal| (Cow::Borrowed(text), normal)),
        }
    }

    /// What tells whether two serials are the same. Without a policy nobody knows whether small letters make another one.
    pub(super) fn key<'n>(&self, normal: &'n str) -> Cow<'n, str> {
        if self.own || !normal.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return Cow::Borrowed(normal);
        }
        Cow::Owned(normal.to_ascii_uppercase())
    }

    /// The normal form, if the text is a valid serial.
    pub(super) fn check(&self, text: &str) -> Result<String, SerialError> {
        match self.policy.check(text) {
            Ok(serial) => Ok(serial.into()),
            // What a device is called is for the owner's policy to say.
            Err(SerialError::DeviceId { .. }) if self.whose == Whose::Nobodys => Ok(self.policy.normalise(text)),
            Err(error) => Err(error),
        }
    }
}

/// A cell without the blanks around its text.
pub(super) fn trimmed(raw: &str) -> &str {
    raw.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}
