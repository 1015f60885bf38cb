//! The button's further settings: which may be given, what each takes, and how they cross the wire.
//!
//! All is checked here, before anything is done: the button takes whatever it is given, and its user finds out. A value is
//! never shown, neither in an error nor by `Debug`: one of them is the Wi-Fi's password.
//!
//! Source: `config.json` as the button's firmware writes it.

use std::{collections::BTreeMap, fmt, net::Ipv4Addr};

use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::script;

/// The longest `userjson`, in bytes; the whole file may have 4096.
const USERJSON_BYTES_MAX: usize = 1024;
/// No settings that can be given are longer on the wire, in bytes; a test holds them to it.
const WIRE_BYTES_MAX: usize = 4096;
/// The largest whole number that MicroPython keeps in one word.
const NUMBER_MAX: u32 = (1 << 30) - 1;

/// What a setting takes.
enum Takes {
    /// Text of so many bytes at most.
    Text(usize),
    /// The same, and nobody may see it.
    Secret(usize),
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number up to this.
    Number(u32),
    Address,
    Netmask,
    Host,
    Url,
    Json,
    /// Nothing, and why.
    Nothing(&'static str),
}

const CREDENTIAL: &str = "it is part of the connection string, which the service gives out";
const MEASURED: &str = "the button itself writes what it measures";

/// All that stand in the factory's file.
const ALL: [(&str, Takes); 22] = [
    ("iothub", Takes::Nothing(CREDENTIAL)),
    ("iotdevicename", Takes::Nothing(CREDENTIAL)),
    ("iotdevicesecret", Takes::Nothing(CREDENTIAL)),
    ("ssid", Takes::Text(32)),
    ("password", Takes::Secret(64)),
    ("usedhcp", Takes::Word(&["yes", "no"])),
    ("ip", Takes::Address),
    ("netmask", Takes::Netmask),
    ("gateway", Takes::Address),
    ("dnsserver", Takes::Address),
    ("timeserver", Takes::Host),
    ("userjson", Takes::Json),
    ("opsmode", Takes::Word(&["SoftAP", "client"])),
    ("FWversion", Takes::Text(16)),
    ("FWurl", Takes::Url),
    ("FWnumber", Takes::Number(NUMBER_MAX)),
    ("FWnumberNew", Takes::Number(NUMBER_MAX)),
    ("health", Takes::Number(100)),
    ("hwid", Takes::Nothing(MEASURED)),
    ("RSSI", Takes::Nothing(MEASURED)),
    ("VBat", Takes::Nothing(MEASURED)),
    ("keypresses", Takes::Nothing(MEASURED)),
];

/// Why a setting can't be given.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// The factory's file has no such name.
    #[error("the button has no setting `{name}`")]
    Unknown {
        /// As it was given.
        name: String,
        /// Of those that can be given, the one that looks most like it.
        nearest: &'static str,
    },
    /// It is not for us to give.
    #[error("`{name}` can't be set: {why}")]
    NotOurs {
        /// Which.
        name: &'static str,
        /// Whose it is.
        why: &'static str,
    },
    /// The value makes no sense; it is not repeated here.
    #[error("`{name}` takes {what}")]
    Value {
        /// Which.
        name: &'static str,
        /// What would be right.
        what: String,
    },
}

impl SettingError {
    /// How to mend it.
    pub(crate) fn help(&self) -> String {
        match self {
            Self::Unknown { nearest, .. } => format!("the nearest is `{nearest}`; {}", all_in_words()),
            Self::NotOurs { .. } => format!("leave it out; {}", all_in_words()),
            Self::Value { .. } => "mend the value; nothing was sent to any device".to_owned(),
        }
    }
}

/// The names that can be given, in a sentence.
fn all_in_words() -> String {
    let names: Vec<_> = ALL.iter().filter(|(_, takes)| !matches!(takes, Takes::Nothing(_))).map(|(name, _)| *name).collect();
    format!("a button takes {}", names.join(", "))
}

/// Is it a setting that nobody may see?
pub(crate) fn is_secret(name: &str) -> bool {
    ALL.iter().any(|(known, takes)| *known == name && matches!(takes, Takes::Secret(_)))
}

/// A value as it was given: on a command line all are text.
pub(crate) enum Given {
    Text(Zeroizing<String>),
    Number(i64),
}

enum Value {
    Text(Zeroizing<String>),
    Number(u32),
}

/// Settings that every button gets besides its connection string; all have been checked.
#[derive(Default)]
pub struct ButtonSettings(BTreeMap<&'static str, Value>);

/// Shows the names only.
impl fmt::Debug for ButtonSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl ButtonSettings {
    /// Takes a setting, in the place of an earlier value.
    ///
    /// # Errors
    /// The button has no such setting, it is not ours to give, or the value makes no sense.
    pub(crate) fn give(&mut self, name: &str, value: Given) -> Result<(), SettingError> {
        let Some((name, takes)) = ALL.iter().find(|(known, _)| *known == name) else {
            return Err(SettingError::Unknown { name: name.to_owned(), nearest: nearest(name) });
        };
        let value = takes.check(value).map_err(|wrong| match wrong {
            Wrong::NotOurs(why) => SettingError::NotOurs { name, why },
            Wrong::Value(what) => SettingError::Value { name, what },
        })?;
        self.0.insert(name, value);
        Ok(())
    }

    /// The names, in their order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    /// None at all?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As the button is told: two lists, the names and the values.
    pub(crate) fn wire(&self) -> Zeroizing<Vec<u8>> {
        let names: Vec<_> = self.names().map(|name| format!("\"{name}\"")).collect();
        let mut wire = Zeroizing::new(Vec::with_capacity(WIRE_BYTES_MAX));
        wire.extend_from_slice(format!("[[{}], ", names.join(", ")).as_bytes());
        wire.extend_from_slice(&self.values());
        wire.push(b']');
        wire
    }

    /// The hash of the list of values, as the button writes JSON.
    pub(super) fn hash(&self) -> String {
        script::hex(&Sha256::digest(&*self.values()))
    }

    fn values(&self) -> Zeroizing<Vec<u8>> {
        // Once for the whole list: a vector that grows leaves copies behind.
        let mut list = Zeroizing::new(Vec::with_capacity(WIRE_BYTES_MAX));
        list.push(b'[');
        for (at, value) in self.0.values().enumerate() {
            if at > 0 {
                list.extend_from_slice(b", ");
            }
            match value {
                Value::Text(text) => push_json(&mut list, text),
                Value::Number(number) => list.extend_from_slice(number.to_string().as_bytes()),
            }
        }
        list.push(b']');
        list
    }
}

/// Appends text as MicroPython writes it in JSON: as it is, but for quotes, backslashes and control characters.
fn push_json(list: &mut Vec<u8>, text: &str) {
    list.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => list.extend_from_slice(&[b'\\', byte]),
            b'\n' => list.extend_from_slice(b"\\n"),
            b'\r' => list.extend_from_slice(b"\\r"),
            b'\t' => list.extend_from_slice(b"\\t"),
            // No value that was checked has any other control character.
            _ => list.push(byte),
        }
    }
    list.push(b'"');
}

/// The name that looks most like it, of those that can be given.
fn nearest(name: &str) -> &'static str {
    let name = name.to_lowercase();
    let can = ALL.iter().filter(|(_, takes)| !matches!(takes, Takes::Nothing(_))).map(|(known, _)| *known);
    can.min_by_key(|known| strsim::damerau_levenshtein(&known.to_lowercase(), &name)).unwrap_or("ssid")
}

enum Wrong {
    NotOurs(&'static str),
    Value(String),
}

impl Takes {
    fn check(&self, given: Given) -> Result<Value, Wrong> {
        let wrong = |what: &str| Err(Wrong::Value(what.to_owned()));
        let text = match (self, given) {
            (Self::Nothing(why), _) => return Err(Wrong::NotOurs(why)),
            (Self::Number(max), given) => {
                let number = match given {
                    Given::Number(number) => u32::try_from(number).ok(),
                    Given::Text(text) => text.parse().ok(),
                };
                return match number {
                    Some(number) if number <= *max => Ok(Value::Number(number)),
                    _ => Err(Wrong::Value(format!("a whole number from 0 to {max}"))),
                };
            }
            (_, Given::Number(_)) => return wrong("text: write the value in quotes"),
            (_, Given::Text(text)) => text,
        };
        let (right, what) = match self {
            Self::Nothing(_) | Self::Number(_) => (true, String::new()),
            Self::Text(max) | Self::Secret(max) => (
                text.len() <= *max && !text.chars().any(char::is_control),
                format!("text of at most {max} bytes, without control characters"),
            ),
            Self::Word(words) => (words.contains(&text.as_str()), format!("`{}`", words.join("` or `"))),
            Self::Address => (text.parse::<Ipv4Addr>().is_ok(), "an IPv4 address, such as `192.168.1.20`".to_owned()),
            Self::Netmask => (text.parse().is_ok_and(is_netmask), "a netmask, such as `255.255.255.0`".to_owned()),
            Self::Host => (is_host(&text), "a host name or address, such as `pool.ntp.org`".to_owned()),
            Self::Url => (is_url(&text), "a URL of at most 255 bytes, such as `http://updates.example/update.json`".to_owned()),
            Self::Json => (
                text.len() <= USERJSON_BYTES_MAX && serde_json::from_str::<IgnoredAny>(&text).is_ok(),
                format!("JSON of at most {USERJSON_BYTES_MAX} bytes, such as `{{\"Order_ID\": \"1234\"}}`"),
            ),
        };
        if right { Ok(Value::Text(text)) } else { Err(Wrong::Value(what)) }
    }
}

fn is_netmask(mask: Ipv4Addr) -> bool {
    let mask = mask.to_bits();
    mask.leading_ones() + mask.trailing_zeros() == 32
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.len() <= 253 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

fn is_url(text: &str) -> bool {
    let url = url::Url::parse(text);
    text.len() <= 255 && text.is_ascii() && url.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
