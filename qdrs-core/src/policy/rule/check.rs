//! `check-digit` and `crc`: what a serial ends in is computed from the rest of it.

use std::fmt;

use data_encoding::HEXUPPER_PERMISSIVE;
use serde::{Deserialize, Deserializer, de};

use crate::{
    check_digit::Scheme,
    crc::Algorithm,
    policy::{
        form::Case,
        text::{Table, text},
    },
};

/// `check-digit`: the text is whole by its scheme.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct CheckDigit {
    #[serde(deserialize_with = "scheme")]
    pub(super) scheme: Scheme,
}

fn scheme<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Scheme, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

impl CheckDigit {
    pub(super) const KEYS: &[&str] = &["scheme"];

    pub(super) fn print(&self, table: &mut Table) {
        let Self { scheme } = self;
        table.put("scheme", text(scheme.as_str()));
    }

    pub(super) fn check(&self, what: &str, text: &str) -> Result<(), String> {
        self.scheme.check(text).map_err(|fault| format!("{what} {fault}"))
    }

    /// Does the normal form let it hold?
    pub(super) fn fit(&self, case: Case) -> Result<(), String> {
        if case == Case::Lower && self.scheme.needs_capitals() {
            return Err(format!("`{}` knows capital letters only, but `case = \"lower\"` makes all letters small", self.scheme));
        }
        Ok(())
    }
}

impl fmt::Display for CheckDigit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            Scheme::Eui48 | Scheme::Eui64 => write!(f, "be {}", self.scheme.about()),
            _ => write!(f, "have {}", self.scheme.about()),
        }
    }
}

/// `crc`: the text ends in the CRC of what stands before.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Crc {
    #[serde(deserialize_with = "algorithm")]
    name: Algorithm,
    #[serde(default)]
    of: Of,
    #[serde(default)]
    written: Written,
    #[serde(default)]
    bytes: Bytes,
    /// Of hex digits; as the normal form has letters, else capital ones.
    letters: Option<Letters>,
    /// So they are small: by `letters`, or by the normal form.
    #[serde(skip)]
    small_letters: bool,
}

/// What the CRC is computed of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Of {
    /// The characters as they stand.
    #[default]
    Text,
    /// The bytes that they write in hex.
    Hex,
}

/// How the CRC stands in the serial, always with its leading zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Written {
    #[default]
    Hex,
    Decimal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Bytes {
    #[default]
    HighFirst,
    LowFirst,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Letters {
    Upper,
    Lower,
}

fn algorithm<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Algorithm, D::Error> {
    let name = String::deserialize(deserializer)?;
    Algorithm::by_name(&name).ok_or_else(|| {
        let near = Algorithm::near(&name);
        de::Error::custom(if near.is_empty() {
            format!("`{name}` is no CRC of the RevEng catalogue; names are as `CRC-16/MODBUS` and `CRC-32/ISO-HDLC`")
        } else {
            format!("`{name}` may mean several; say which: `{}`", near.join("`, `"))
        })
    })
}

impl Crc {
    pub(super) const KEYS: &[&str] = &["name", "of", "written", "bytes", "letters"];

    pub(super) fn print(&self, table: &mut Table) {
        let Self { name, of, written, bytes, letters, small_letters: _ } = self;
        table.put("name", text(name.name));
        table.put_some("of", (*of == Of::Hex).then(|| text("hex")));
        table.put_some("written", (*written == Written::Decimal).then(|| text("decimal")));
        table.put_some("bytes", (*bytes == Bytes::LowFirst).then(|| text("low-first")));
        table.put_some(
            "letters",
            letters.map(|letters| match letters {
                Letters::Upper => text("upper"),
                Letters::Lower => text("lower"),
            }),
        );
    }

    pub(super) fn sound(self) -> Result<Self, String> {
        if self.written == Written::Decimal && (self.bytes == Bytes::LowFirst || self.letters.is_some()) {
            return Err("in a `crc` rule `bytes` and `letters` are about hex digits, but `written = \"decimal\"`".to_owned());
        }
        Ok(self)
    }

    /// Takes its letters from the normal form, unless it says its own.
    pub(super) fn fit(&mut self, case: Case) -> Result<(), String> {
        let form = match case {
            Case::Keep => None,
            Case::Upper => Some(Letters::Upper),
            Case::Lower => Some(Letters::Lower),
        };
        match (self.letters, form) {
            (Some(own), Some(form)) if own != form => {
                Err("a `crc` rule's `letters` and the form's `case` contradict each other".to_owned())
            }
            (own, form) => {
                self.small_letters = own.or(form) == Some(Letters::Lower);
                Ok(())
            }
        }
    }

    pub(super) fn check(&self, what: &str, text: &str) -> Result<(), String> {
        let count = self.characters();
        // Within a serial, which is ASCII, any place is between two characters.
        let (rest, found) = text.len().checked_sub(count).and_then(|at| text.split_at_checked(at)).unwrap_or(("", ""));
        if rest.is_empty() {
            return Err(format!("{what} is too short for a {} of {count} characters", self.name.name));
        }
        let expected = match self.of {
            Of::Text => self.write(self.name.compute(rest.as_bytes())),
            Of::Hex => {
                let bytes = HEXUPPER_PERMISSIVE.decode(rest.as_bytes());
                self.write(self.name.compute(&bytes.map_err(|_| format!("{what} is not all pairs of hex digits"))?))
            }
        };
        if found == expected {
            return Ok(());
        }
        Err(format!("{what} ends in `{found}`, but the {} of the rest is `{expected}`", self.name.name))
    }

    /// How many characters the CRC has.
    pub(super) fn characters(&self) -> usize {
        match (self.written, self.bytes) {
            (Written::Decimal, _) => (u128::MAX >> (128 - u32::from(self.name.bits))).to_string().len(),
            (Written::Hex, Bytes::HighFirst) => usize::from(self.name.bits).div_ceil(4),
            (Written::Hex, Bytes::LowFirst) => self.name.bytes() * 2,
        }
    }

    fn write(&self, crc: u128) -> String {
        let crc = match self.bytes {
            Bytes::HighFirst => crc,
            Bytes::LowFirst => crc.swap_bytes() >> (128 - 8 * self.name.bytes()),
        };
        let width = self.characters();
        match (self.written, self.small_letters) {
            (Written::Decimal, _) => format!("{crc:0width$}"),
            (Written::Hex, true) => format!("{crc:0width$x}"),
            (Written::Hex, false) => format!("{crc:0width$X}"),
        }
    }
}

impl fmt::Display for Crc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = if self.written == Written::Decimal { "decimal digits" } else { "hex digits" };
        write!(f, "end in its {} in {} {written}", self.name.name, self.characters())
    }
}
