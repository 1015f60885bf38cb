//! `[form]`: how a serial is brought into its normal form, and what that form is.

use std::{fmt, ops::Range};

use regex::bytes::{Captures, Regex, RegexBuilder};
use serde::{Deserialize, Deserializer, de};

use super::{
    characters::expand,
    text::{Table, literal, text},
};
use crate::serial::{SERIAL_BYTES_MAX, SerialError, Shown, characters, name_of};

/// The most memory a pattern may take once compiled, in bytes; far more than any sane pattern of 128 characters needs.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// The table `[form]` of a policy. Every key may be left out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table such as `[form]`")]
pub(super) struct Form {
    /// Blanks and line ends around the serial are no part of it.
    pub(super) trim: bool,
    /// Full-width letters, digits and signs, as an Asian keyboard types them, are read as the plain ones.
    pub(super) full_width: bool,
    /// Separators that a label may have or not: they are left out.
    pub(super) drop: Option<Separators>,
    /// Which letters the label has.
    pub(super) case: Case,
    /// Leading zeros of a serial that is all digits.
    pub(super) zeros: Option<Zeros>,
    /// How many characters.
    pub(super) length: Length,
    /// Which characters; all visible ASCII ones when left out.
    pub(super) alphabet: Option<Alphabet>,
    /// What the whole serial must match; its named groups are the parts that rules speak of.
    pub(super) pattern: Option<Pattern>,
    /// The pattern in words, as in "`QD-` and seven digits".
    pub(super) say: Option<String>,
}

impl Default for Form {
    fn default() -> Self {
        Self {
            trim: true,
            full_width: false,
            drop: None,
            case: Case::Keep,
            zeros: None,
            length: Length::default(),
            alphabet: None,
            pattern: None,
            say: None,
        }
    }
}

impl Form {
    /// The text as this policy writes serials. Doing it twice changes nothing more, because of the order: what one step
    /// makes is seen by those after it only.
    pub(super) fn normalise(&self, text: &str) -> String {
        let serial = self.normalise_part(text);
        let digits = !serial.is_empty() && serial.bytes().all(|byte| byte.is_ascii_digit());
        match self.zeros {
            Some(Zeros::Strip) if digits => {
                let significant = serial.trim_start_matches('0');
                if significant.is_empty() { "0".to_owned() } else { significant.to_owned() }
            }
            Some(Zeros::Pad(count)) if digits => format!("{serial:0>count$}"),
            _ => serial,
        }
    }

    /// The same for a part of a serial: the zeros before a part are its own.
    pub(super) fn normalise_part(&self, text: &str) -> String {
        let mut plain: String = if self.full_width { text.chars().map(narrow).collect() } else { text.to_owned() };
        if let Some(separators) = &self.drop {
            plain.retain(|character| !separators.has(character));
        }
        let trimmed = self.trimmed(&plain);
        let mut serial = if trimmed.len() == plain.len() { plain } else { trimmed.to_owned() };
        match self.case {
            Case::Keep => {}
            Case::Upper => serial.make_ascii_uppercase(),
            Case::Lower => serial.make_ascii_lowercase(),
        }
        serial
    }

    /// One step alone: costs no memory, so what is far too long can be refused after it.
    pub(super) fn trimmed<'t>(&self, text: &'t str) -> &'t str {
        if self.trim { text.trim_matches(|character: char| character.is_whitespace() || character == '\u{feff}') } else { text }
    }

    /// Is it as long as it should be?
    pub(super) fn check_length(&self, serial: &str) -> Result<(), SerialError> {
        // Only a serial that is refused needs the words.
        let expected = || self.length.to_string();
        if serial.is_empty() {
            return Err(SerialError::Empty { expected: expected() });
        }
        // Only a text that is near the limit is counted, so a megabyte costs as little as a line.
        let found = if serial.len() > 4 * SERIAL_BYTES_MAX { usize::MAX } else { serial.chars().count() };
        let in_words =
            || if found == usize::MAX { format!("more than {}", characters(SERIAL_BYTES_MAX)) } else { characters(found) };
        if found > self.length.max {
            return Err(SerialError::TooLong { serial: Shown::new(serial), found: in_words(), expected: expected() });
        }
        if found < self.length.min {
            return Err(SerialError::TooShort { serial: Shown::new(serial), found: in_words(), expected: expected() });
        }
        Ok(())
    }

    /// Has it only characters of the alphabet?
    pub(super) fn check_alphabet(&self, serial: &str) -> Result<(), SerialError> {
        let Some(alphabet) = &self.alphabet else { return Ok(()) };
        match serial.bytes().enumerate().find(|(_, byte)| !alphabet.has(*byte)) {
            None => Ok(()),
            Some((index, byte)) => Err(SerialError::Character {
                serial: Shown::new(serial),
                character: name_of(char::from(byte)),
                position: index + 1,
                expected: format!("this policy takes only `{alphabet}`"),
            }),
        }
    }

    /// Does the whole of it match the pattern? Then its named parts.
    pub(super) fn parts<'s>(&self, serial: &'s str) -> Result<Parts<'s>, SerialError> {
        let captures = match &self.pattern {
            None => None,
            Some(pattern) => Some(pattern.captures(serial).ok_or_else(|| SerialError::Pattern {
                serial: Shown::new(serial),
                expected: self.say.clone().unwrap_or_else(|| format!("all of `{}`", pattern.written)),
            })?),
        };
        Ok(Parts { serial, captures })
    }

    /// What it says that does not go without saying.
    pub(super) fn table(&self) -> Table {
        let mut table = self.normal_form();
        let Self { length, alphabet, pattern, say, .. } = self;
        table.put_some("length", length.toml());
        table.put_some("alphabet", alphabet.as_ref().map(|alphabet| text(&alphabet.written)));
        table.put_some("pattern", pattern.as_ref().map(|pattern| literal(&pattern.written)));
        table.put_some("say", say.as_deref().map(text));
        table
    }

    /// All of it that [`Self::normalise`] goes by.
    pub(super) fn normal_form(&self) -> Table {
        let Self { trim, full_width, drop, case, zeros, length: _, alphabet: _, pattern: _, say: _ } = self;
        let mut table = Table::default();
        table.put_some("full_width", full_width.then_some(true));
        table.put_some("drop", drop.as_ref().map(|separators| text(&separators.0)));
        table.put_some("trim", (!trim).then_some(false));
        table.put_some(
            "case",
            match case {
                Case::Keep => None,
                Case::Upper => Some(text("upper")),
                Case::Lower => Some(text("lower")),
            },
        );
        table.put_some(
            "zeros",
            zeros.map(|zeros| match zeros {
                Zeros::Strip => text("strip"),
                Zeros::Pad(count) => format!("{{ pad = {count} }}"),
            }),
        );
        table
    }

    /// The parts that a serial has besides the whole.
    pub(super) fn part_names(&self) -> Vec<&str> {
        self.pattern.iter().flat_map(|pattern| pattern.regex.capture_names().flatten()).collect()
    }
}

/// A serial that matches the pattern, and its parts.
#[derive(Debug)]
pub(super) struct Parts<'s> {
    serial: &'s str,
    captures: Option<Captures<'s>>,
}

impl<'s> Parts<'s> {
    /// The whole serial.
    pub(super) fn whole(&self) -> &'s str {
        self.serial
    }

    /// The part that the pattern's group of that name matched; none when the group took no part in the match.
    pub(super) fn get(&self, name: &str) -> Option<&'s str> {
        let Range { start, end } = self.captures.as_ref()?.name(name)?.range();
        self.serial.get(start..end)
    }
}

/// `case`: which letters the label has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Case {
    /// `a` and `A` are two serials.
    Keep,
    /// `a` is read as `A`.
    Upper,
    /// `A` is read as `a`.
    Lower,
}

/// The plain letter, digit or sign of a full-width one.
fn narrow(character: char) -> char {
    match u32::from(character) {
        0x3000 => ' ',
        wide @ 0xff01..=0xff5e => char::from_u32(wide - 0xfee0).unwrap_or(character),
        _ => character,
    }
}

/// `drop`: the separators in a text, as `"- "`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Separators(String);

impl Separators {
    /// Is the character one of them?
    pub(super) fn has(&self, character: char) -> bool {
        // Few, so that going through them is faster than a search.
        self.0.chars().any(|separator| separator == character)
    }

    /// The one that its owner names first.
    pub(super) fn first(&self) -> Option<char> {
        self.0.chars().next()
    }
}

impl<'de> Deserialize<'de> for Separators {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = String::deserialize(deserializer)?;
        // A letter that is dropped here could come back by `case`.
        match written.chars().find(|character| character.is_alphanumeric()) {
            Some(letter) => Err(de::Error::custom(format!("`drop` has `{letter}`; only separators are left out, as in \"- /\""))),
            None => Ok(Self(written)),
        }
    }
}

/// `zeros`: `"strip"`, or `{ pad = 10 }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zeros {
    /// `0007` is `7`.
    Strip,
    /// `7` is `0007`, when four digits are wanted.
    Pad(usize),
}

impl<'de> Deserialize<'de> for Zeros {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "`zeros` is \"strip\", or { pad = 10 } with the number of digits";
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Word(String),
            Table(Table),
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            pad: usize,
        }
        match Written::deserialize(deserializer) {
            Ok(Written::Word(word)) if word == "strip" => Ok(Self::Strip),
            Ok(Written::Table(Table { pad })) if (2..=SERIAL_BYTES_MAX).contains(&pad) => Ok(Self::Pad(pad)),
            _ => Err(de::Error::custom(EXPECTED)),
        }
    }
}

/// `length`: `10`, or `{ min = 8, max = 12 }`, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Length {
    /// At least so many.
    pub(super) min: usize,
    /// At most so many.
    pub(super) max: usize,
}

impl Default for Length {
    fn default() -> Self {
        Self { min: 1, max: SERIAL_BYTES_MAX }
    }
}

impl Length {
    /// As it is written; none where it says nothing.
    fn toml(self) -> Option<String> {
        let (Self { min, max }, free) = (self, Self::default());
        match (min != free.min, max != free.max) {
            (false, false) => None,
            _ if min == max => Some(min.to_string()),
            (true, false) => Some(format!("{{ min = {min} }}")),
            (false, true) => Some(format!("{{ max = {max} }}")),
            (true, true) => Some(format!("{{ min = {min}, max = {max} }}")),
        }
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            f.write_str(&characters(self.min))
        } else {
            write!(f, "{} to {}", self.min, characters(self.max))
        }
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            min: Option<usize>,
            max: Option<usize>,
        }
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Written;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of characters, as 10 or { min = 8, max = 12 }")
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Written, E> {
                let value = usize::try_from(value).map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))?;
                Ok(Written { min: Some(value), max: Some(value) })
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Written, E> {
                self.visit_i64(i64::try_from(value).unwrap_or(i64::MAX))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Written, A::Error> {
                Written::deserialize(de::value::MapAccessDeserializer::new(map))
            }
        }
        let written = deserializer.deserialize_any(Visitor)?;
        let length = Self { min: written.min.unwrap_or(1), max: written.max.unwrap_or(SERIAL_BYTES_MAX) };
        if length.min < 1 || length.max > SERIAL_BYTES_MAX {
            return Err(de::Error::custom(format!(
                "a serial has 1 to {SERIAL_BYTES_MAX} characters, but `length` says {length}"
            )));
        }
        if length.min > length.max {
            return Err(de::Error::custom(format!(
                "`length` says at least {} and at most {}; no serial is both",
                length.min, length.max
            )));
        }
        Ok(length)
    }
}

/// `alphabet`: the characters a serial may have, as `A-Z0-9-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alphabet {
    written: String,
    has: u128,
}

impl Alphabet {
    /// Is the ASCII character in it?
    pub(super) fn has(&self, byte: u8) -> bool {
        byte < 128 && self.has >> byte & 1 == 1
    }

    fn parse(written: &str) -> Result<Self, String> {
        let characters = expand("alphabet", written)?;
        if characters.is_empty() {
            return Err("`alphabet` is empty; leave it out to take every letter, digit and sign".to_owned());
        }
        let has = characters.iter().fold(0, |set, byte| set | 1u128 << byte);
        Ok(Self { written: written.to_owned(), has })
    }
}

impl fmt::Display for Alphabet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl<'de> Deserialize<'de> for Alphabet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// `pattern`: a regular expression that the whole serial must match. Linear in time, ASCII only (`\d` is `0` to `9`).
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    written: String,
    regex: Regex,
}

impl Pattern {
    fn parse(written: &str) -> Result<Self, String> {
        let build = |text: &str| {
            RegexBuilder::new(text).unicode(false).size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX).build()
        };
        // First by itself: `a)|(?:b` must not reach out of the brackets that hold it to the whole serial.
        let regex = build(written).and_then(|_| build(&format!("^(?:{written})$"))).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "`pattern` is too big once compiled; use smaller counts".to_owned(),
            error => {
                let text = error.to_string();
                format!("`pattern` is no regular expression: {}", text.rsplit("error: ").next().unwrap_or(&text))
            }
        })?;
        Ok(Self { written: written.to_owned(), regex })
    }

    fn captures<'s>(&self, serial: &'s str) -> Option<Captures<'s>> {
        self.regex
            .captures(serial.as_bytes())
            .filter(|captures| captures.get(0).is_some_and(|whole| whole.range() == (0..serial.len())))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
