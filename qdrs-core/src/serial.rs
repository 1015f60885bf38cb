//! The serial number: what is printed on the label, in its normal form.
//!
//! A [`Serial`] exists only when a [`crate::policy::Policy`] accepted it, so whoever holds one need not check again.
//! Whatever the policy, a serial is 1 to [`SERIAL_BYTES_MAX`] visible ASCII characters without a blank.

use std::fmt;

use serde::Serialize;

use crate::{api::Code, explain::Explain};

/// The longest serial in its normal form, in bytes: as long as the longest device id of IoT Hub.
pub const SERIAL_BYTES_MAX: usize = 128;

/// How much of a refused serial an error repeats, in characters.
const SHOWN_CHARS_MAX: usize = 48;

/// A serial number in its normal form, accepted by a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Serial(String);

impl Serial {
    /// Only for the policy that accepted it.
    pub(crate) fn accepted(text: String) -> Self {
        Self(text)
    }

    /// A serial out of the ledger, where only accepted ones come; its policy may have changed since. None when it could
    /// never have been one.
    pub fn from_record(text: &str) -> Option<Self> {
        check_characters(text).ok().map(|()| Self(text.to_owned()))
    }

    /// The normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Serial> for String {
    fn from(serial: Serial) -> Self {
        serial.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for Serial {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Why a text is no valid serial. The serial in it is already fit to be shown: cut, and without control characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SerialError {
    /// Nothing but blanks.
    #[error("the serial is empty; it should have {expected}")]
    Empty {
        /// As `10 characters`.
        expected: String,
    },
    /// Most often half a label, or a scan cut short.
    #[error("serial `{serial}` is too short: it has {found}, and should have {expected}")]
    TooShort {
        /// What was given.
        serial: Shown,
        /// As `8 characters`.
        found: String,
        /// As `10 characters`.
        expected: String,
    },
    /// Most often two labels in one scan, or another barcode of the same label.
    #[error("serial `{serial}` is too long: it has {found}, and should have {expected}")]
    TooLong {
        /// What was given.
        serial: Shown,
        /// As `12 characters`.
        found: String,
        /// As `10 characters`.
        expected: String,
    },
    /// A character that no serial has, or that this policy's alphabet lacks.
    #[error("serial `{serial}` has {character} as its character {position}; {expected}")]
    Character {
        /// What was given.
        serial: Shown,
        /// The character, or its name where it can't be seen.
        character: String,
        /// Counted from 1.
        position: usize,
        /// A clause: which characters are taken.
        expected: String,
    },
    /// It does not match the policy's pattern.
    #[error("serial `{serial}` does not have the right form; it should be {expected}")]
    Pattern {
        /// What was given.
        serial: Shown,
        /// The policy's words for the form, or its pattern.
        expected: String,
    },
    /// A rule of the policy does not hold.
    #[error("serial `{serial}` is not valid: {why}")]
    Rule {
        /// What was given.
        serial: Shown,
        /// The rule's `kind`.
        kind: &'static str,
        /// The policy's words, or what the rule found; always with what would be right.
        why: String,
    },
    /// The hub takes no device of the name that the policy would make of it.
    #[error("serial `{serial}` makes no device id that every hub takes: {why}")]
    DeviceId {
        /// What was given.
        serial: Shown,
        /// What is wrong with the device id, and what would be right.
        why: String,
    },
}

impl SerialError {
    /// The same with the serial as it stands where it came from, if only its capital and small letters differ.
    #[must_use]
    pub fn as_written(mut self, text: &str) -> Self {
        match &mut self {
            Self::Empty { .. } => {}
            Self::TooShort { serial, .. }
            | Self::TooLong { serial, .. }
            | Self::Character { serial, .. }
            | Self::Pattern { serial, .. }
            | Self::Rule { serial, .. }
            | Self::DeviceId { serial, .. } => {
                let written = Shown::new(text);
                if written.to_string().eq_ignore_ascii_case(&serial.to_string()) {
                    *serial = written;
                }
            }
        }
        self
    }
}

impl Explain for SerialError {
    fn code(&self) -> Code {
        Code::SerialInvalid
    }

    fn help(&self) -> String {
        match self {
            Self::DeviceId { .. } => {
                "ask the product owner: the policy's `device_id` and `alphabet` don't fit each other".to_owned()
            }
            _ => self.code().help().to_owned(),
        }
    }
}

/// A refused serial, made fit for a screen: escaped, and cut where it is very long.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Shown(String);

impl Shown {
    /// Never longer than a line, whatever the text holds.
    pub fn new(text: &str) -> Self {
        let mut shown = String::new();
        for (count, character) in text.chars().enumerate() {
            if count == SHOWN_CHARS_MAX {
                shown.push('…');
                break;
            }
            // What turns the direction of writing or has no width would make the line lie about what stands in it.
            if character == ' ' || character.is_ascii_graphic() || (character.is_alphanumeric() && !character.is_control()) {
                shown.push(character);
            } else {
                shown.extend(character.escape_default());
            }
        }
        Self(shown)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What holds for every serial of every policy, apart from its length: visible ASCII, and no blank.
///
/// `.` and `..` are refused too: a URL can't carry them as an element of its path, however they are escaped
/// (WHATWG URL, "double-dot path segment").
pub(crate) fn check_characters(text: &str) -> Result<(), SerialError> {
    if text.is_empty() {
        return Err(SerialError::Empty { expected: format!("1 to {SERIAL_BYTES_MAX} characters") });
    }
    if let Some((index, character)) = text.chars().enumerate().find(|(_, character)| !character.is_ascii_graphic()) {
        return Err(SerialError::Character {
            serial: Shown::new(text),
            character: name_of(character),
            position: index + 1,
            expected: "a serial has ASCII letters, digits and signs only".to_owned(),
        });
    }
    if text.len() > SERIAL_BYTES_MAX {
        return Err(SerialError::TooLong {
            serial: Shown::new(text),
            found: characters(text.len()),
            expected: format!("{SERIAL_BYTES_MAX} characters at most"),
        });
    }
    if text == "." || text == ".." {
        return Err(SerialError::Pattern { serial: Shown::new(text), expected: "more than dots".to_owned() });
    }
    Ok(())
}

/// A character as a person would call it: itself where it can be told by sight, else what it is.
pub(crate) fn name_of(character: char) -> String {
    let number = u32::from(character);
    match character {
        '`' => "a backtick".to_owned(),
        ' ' => "a blank".to_owned(),
        '\t' => "a tab".to_owned(),
        '\r' | '\n' => "a line end".to_owned(),
        '\u{a0}' | '\u{202f}' => format!("a non-breaking blank (U+{number:04X})"),
        _ if is_other_dash(character) => {
            let name = match character {
                '\u{2011}' => "a non-breaking hyphen",
                '\u{2013}' => "an en dash",
                '\u{2014}' => "an em dash",
                '\u{2212}' => "a minus sign",
                _ => "another dash",
            };
            format!("{name} (U+{number:04X}), not `-`,")
        }
        '\u{ad}' => "a soft hyphen (U+00AD), which can't be seen,".to_owned(),
        _ if is_invisible(character) => format!("a character that can't be seen (U+{number:04X})"),
        '\u{1d}' => "the GS1 separator (GS, U+001D)".to_owned(),
        _ if character.is_ascii_graphic() => format!("`{character}`"),
        _ if character.is_control() => format!("a control character (U+{number:04X})"),
        _ if character.is_whitespace() => format!("a blank that is not ASCII (U+{number:04X})"),
        _ if character.is_numeric() => format!("`{character}`, a digit that is not ASCII (U+{number:04X}),"),
        _ if character.is_alphabetic() => format!("`{character}`, a letter that is not ASCII (U+{number:04X}),"),
        _ => format!("a sign that is not ASCII (U+{number:04X})"),
    }
}

/// Has it no width, or does it only turn the direction of writing?
pub(crate) fn is_invisible(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Is it a control character, or one that can't be seen? No name of anything needs one.
pub fn is_unprintable(character: char) -> bool {
    character.is_control() || is_invisible(character)
}

/// Text that can't move a terminal's cursor, change its colours or turn its direction: devices, lists and services may send
/// anything.
pub fn visible(text: &str) -> String {
    text.chars().map(|c| if is_unprintable(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Does it only look like `-`?
pub(crate) fn is_other_dash(character: char) -> bool {
    matches!(character, '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}')
}

/// `1 character`, `7 characters`.
pub(crate) fn characters(count: usize) -> String {
    if count == 1 { "1 character".to_owned() } else { format!("{count} characters") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_serial_is_told_by_character_and_place() {
        for (text, says) in [
            ("QD 7", "serial `QD 7` has a blank as its character 3; a serial has ASCII letters, digits and signs only"),
            (
                "QD\u{663}",
                "serial `QD٣` has `٣`, a digit that is not ASCII (U+0663), as its character 3; a serial has ASCII letters, digits and signs only",
            ),
            (
                "Q\u{1d}7",
                "serial `Q\\u{1d}7` has the GS1 separator (GS, U+001D) as its character 2; a serial has ASCII letters, digits and signs only",
            ),
            (
                "Q\u{202e}7",
                "serial `Q\\u{202e}7` has a character that can't be seen (U+202E) as its character 2; a serial has ASCII letters, digits and signs only",
            ),
            ("..", "serial `..` does not have the right form; it should be more than dots"),
            ("", "the serial is empty; it should have 1 to 128 characters"),
        ] {
            assert_eq!(check_characters(text).expect_err("is refused").to_string(), says);
        }
    }

    #[test]
    fn what_is_shown_stays_short() {
        assert_eq!(Shown::new(&"7".repeat(1 << 20)).to_string(), format!("{}…", "7".repeat(SHOWN_CHARS_MAX)));
    }

    #[test]
    fn a_record_is_believed_but_for_what_no_serial_can_be() {
        assert_eq!(Serial::from_record("QD-0041713").map(|serial| serial.to_string()), Some("QD-0041713".to_owned()));
        assert_eq!(Serial::from_record("QD 41713"), None);
    }
}
