//! `device_id`: how a device's name in the hub is made from its serial.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

use super::form::Parts;
use crate::serial::{SerialError, Shown, characters, name_of};

/// The longest device id, in characters.
///
/// Source: Azure IoT Hub, "Understand the identity registry", device identity properties.
pub(super) const DEVICE_ID_CHARS_MAX: usize = 128;

/// A text in which `{serial}` stands for the serial, and `{part}` for a part of it that the pattern names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Serial,
    Part(String),
}

impl Default for Template {
    fn default() -> Self {
        Self(vec![Piece::Serial])
    }
}

impl Template {
    fn parse(written: &str) -> Result<Self, String> {
        let (mut pieces, mut rest) = (Vec::new(), written);
        while !rest.is_empty() {
            let (text, after) = rest.split_once('{').map_or((rest, None), |(text, after)| (text, Some(after)));
            if let Some(character) = text.chars().find(|character| !is_safe(*character)) {
                return Err(format!(
                    "`device_id` has {}; a device id has letters, digits, `-`, `.` and `_` only",
                    name_of(character)
                ));
            }
            if !text.is_empty() {
                pieces.push(Piece::Text(text.to_owned()));
            }
            let Some(after) = after else { break };
            let (name, after) =
                after.split_once('}').ok_or("`device_id` has a `{` without its `}`; `{serial}` stands for the serial")?;
            pieces.push(if name == "serial" { Piece::Serial } else { Piece::Part(name.to_owned()) });
            rest = after;
        }
        if !pieces.iter().any(|piece| !matches!(piece, Piece::Text(_))) {
            return Err("`device_id` would be the same for every device; `{serial}` stands for the serial".to_owned());
        }
        Ok(Self(pieces))
    }

    /// Does it say so that the whole serial is meant? The default needs no saying.
    pub(super) fn says_serial(&self) -> bool {
        *self != Self::default() && self.0.contains(&Piece::Serial)
    }

    /// What it is made of: the fixed characters, and the parts of the serial; none is the whole.
    pub(super) fn pieces(&self) -> (usize, Vec<Option<&str>>) {
        let fixed = self.0.iter().map(|piece| if let Piece::Text(text) = piece { text.len() } else { 0 }).sum();
        let taken = self.0.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Serial => Some(None),
            Piece::Part(name) => Some(Some(name.as_str())),
        });
        (fixed, taken.collect())
    }

    /// The parts it speaks of.
    pub(super) fn part_names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| if let Piece::Part(name) = piece { Some(name.as_str()) } else { None })
    }

    /// The device id of a serial: 1 to 128 of the characters that every hub and MQTT topic takes.
    pub(super) fn device_id(&self, parts: &Parts<'_>) -> Result<String, SerialError> {
        let refuse = |why: String| SerialError::DeviceId { serial: Shown::new(parts.whole()), why };
        let mut id = String::with_capacity(DEVICE_ID_CHARS_MAX);
        for piece in &self.0 {
            id.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Serial => parts.whole(),
                Piece::Part(name) => parts.get(name).ok_or_else(|| refuse(format!("it has no part `{name}`")))?,
            });
        }
        if let Some(character) = id.chars().find(|character| !is_safe(*character)) {
            return Err(refuse(format!(
                "`{}` has {}; letters, digits, `-`, `.` and `_` are taken",
                Shown::new(&id),
                name_of(character)
            )));
        }
        if id.is_empty() || id.len() > DEVICE_ID_CHARS_MAX {
            return Err(refuse(format!("it would have {}, and should have 1 to {DEVICE_ID_CHARS_MAX}", characters(id.len()))));
        }
        if id == "." || id == ".." {
            return Err(refuse(format!("`{id}` can't stand in a URL; it should be more than dots")));
        }
        Ok(id)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Serial => f.write_str("{serial}"),
            Piece::Part(name) => write!(f, "{{{name}}}"),
        })
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// The characters that no hub, no API version and no MQTT topic has trouble with.
pub(super) fn is_safe(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '.' | '_')
}
