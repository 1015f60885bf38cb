//! `[[rule]]`: what must hold of a serial beyond its form; one kind of rule for each `kind`.
//!
//! Each kind is a struct with the keys that are its own; `kind`, `part` and `say` belong to every rule. A new kind is a
//! struct, a row in [`Kind::read`] and its name in [`KINDS`].

use std::{cmp::Ordering, fmt};

use serde::{Deserialize, Deserializer, de};
use toml::{Table, Value};

use super::{
    form::Parts,
    number::{Number, is_digits, remainder},
};
use crate::serial::{SerialError, Shown};

/// Every kind of rule that this version knows.
pub(super) const KINDS: [&str; 2] = ["divisible", "range"];

/// The keys that every kind of rule has.
const COMMON_KEYS: [&str; 3] = ["kind", "part", "say"];

/// One `[[rule]]` of a policy.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    kind: Kind,
    /// What it is about: a named group of the form's pattern; the whole serial when left out.
    part: Option<String>,
    /// The owner's words for what must hold, as in "the number must be a multiple of 7".
    say: Option<String>,
}

impl Rule {
    /// Its `kind`.
    pub(super) fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Divisible(_) => "divisible",
            Kind::Range(_) => "range",
        }
    }

    /// The part it is about, if not the whole serial.
    pub(super) fn part(&self) -> Option<&str> {
        self.part.as_deref()
    }

    /// Does it hold?
    pub(super) fn check(&self, parts: &Parts<'_>) -> Result<(), SerialError> {
        let found = match &self.part {
            None => self.kind.check("it", parts.whole()),
            Some(name) => match parts.get(name) {
                Some(part) => self.kind.check(&format!("its part `{name}`"), part),
                None => Err(format!("it has no part `{name}`")),
            },
        };
        found.map_err(|found| SerialError::Rule {
            serial: Shown::new(parts.whole()),
            kind: self.kind(),
            why: match &self.say {
                Some(say) => format!("{say} ({found})"),
                None => format!("{found}; {self}"),
            },
        })
    }
}

/// What must hold, in words: the owner's, if there are any.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.say, &self.part) {
            (Some(say), _) => f.write_str(say),
            (None, Some(part)) => write!(f, "`{part}` must be {}", self.kind),
            (None, None) => write!(f, "the serial must be {}", self.kind),
        }
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = Table::deserialize(deserializer)?;
        let known = || KINDS.join("`, `");
        let kind = match table.remove("kind") {
            Some(Value::String(kind)) => kind,
            Some(_) => return Err(de::Error::custom(format!("a rule's `kind` is a word; known are `{}`", known()))),
            None => return Err(de::Error::custom(format!("a rule needs a `kind`; known are `{}`", known()))),
        };
        let mut words = |key: &str| match table.remove(key) {
            None => Ok(None),
            Some(Value::String(words)) => Ok(Some(words)),
            Some(other) => Err(de::Error::custom(format!("a rule's `{key}` is a text in quotes, not {other}"))),
        };
        let (part, say) = (words("part")?, words("say")?);
        Ok(Self { kind: Kind::read(&kind, table).map_err(de::Error::custom)?, part, say })
    }
}

/// All `[[rule]]` tables, in the order in which they are asked.
pub(super) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Rule>, D::Error> {
    struct Visitor;
    impl<'de> de::Visitor<'de> for Visitor {
        type Value = Vec<Rule>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("`[[rule]]` with two brackets, once for each rule")
        }
        fn visit_seq<A: de::SeqAccess<'de>>(self, sequence: A) -> Result<Vec<Rule>, A::Error> {
            Vec::deserialize(de::value::SeqAccessDeserializer::new(sequence))
        }
    }
    deserializer.deserialize_any(Visitor)
}

#[derive(Debug, Clone)]
enum Kind {
    Divisible(Divisible),
    Range(Range),
}

impl Kind {
    fn read(kind: &str, table: Table) -> Result<Self, String> {
        match kind {
            "divisible" => read(kind, &["by"], table).and_then(Divisible::sound).map(Self::Divisible),
            "range" => read(kind, &["from", "to", "within"], table).and_then(Range::sound).map(Self::Range),
            _ => Err(format!("`{kind}` is no kind of rule; known are `{}`", KINDS.join("`, `"))),
        }
    }

    /// The error says what was found of `what`, which names the text in a sentence.
    fn check(&self, what: &str, text: &str) -> Result<(), String> {
        match self {
            Self::Divisible(rule) => rule.check(what, text),
            Self::Range(rule) => rule.check(what, text),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Divisible(rule) => rule.fmt(f),
            Self::Range(rule) => rule.fmt(f),
        }
    }
}

/// The keys of one kind; any other is refused, with those that would be right.
fn read<T: de::DeserializeOwned>(kind: &str, keys: &[&str], table: Table) -> Result<T, String> {
    if let Some(unknown) = table.keys().find(|key| !keys.contains(&key.as_str())) {
        let known: Vec<&str> = COMMON_KEYS.iter().chain(keys).copied().collect();
        return Err(format!("a `{kind}` rule has no key `{unknown}`; known are `{}`", known.join("`, `")));
    }
    table.try_into().map_err(|error: toml::de::Error| format!("in a `{kind}` rule: {}", error.message()))
}

/// `divisible`: the decimal number, of any length, is a multiple of `by`.
#[derive(Debug, Clone, Deserialize)]
struct Divisible {
    by: u64,
}

impl Divisible {
    fn sound(self) -> Result<Self, String> {
        if self.by < 2 {
            return Err(format!("`by = {}` in a `divisible` rule says nothing; it is 2 or more", self.by));
        }
        Ok(self)
    }

    fn check(&self, what: &str, text: &str) -> Result<(), String> {
        number(what, text)?;
        match remainder(text, self.by) {
            0 => Ok(()),
            rest => Err(format!("{what} leaves {rest} when divided by {}", self.by)),
        }
    }
}

impl fmt::Display for Divisible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a multiple of {}", self.by)
    }
}

/// `range`: the decimal number, of any length, lies between `from` and `to`, both included; or in one of several, `within`.
#[derive(Debug, Clone, Deserialize)]
struct Range {
    from: Option<Number>,
    to: Option<Number>,
    #[serde(default)]
    within: Vec<Bounds>,
}

/// One range, both ends included; without an end it is open there.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    from: Option<Number>,
    to: Option<Number>,
}

impl Range {
    fn sound(mut self) -> Result<Self, String> {
        match (self.from.take(), self.to.take(), self.within.is_empty()) {
            (None, None, true) => {
                return Err(
                    "a `range` rule needs `from` or `to`, or several of them in `within = [{ from = 1, to = 9 }, …]`".to_owned()
                );
            }
            (None, None, false) => {}
            (from, to, true) => self.within.push(Bounds { from, to }),
            (_, _, false) => return Err("a `range` rule has either `from` and `to`, or `within`, not both".to_owned()),
        }
        for bounds in &self.within {
            match bounds {
                Bounds { from: None, to: None } => return Err("`within` has a range with neither `from` nor `to`".to_owned()),
                Bounds { from: Some(from), to: Some(to) } if from.compared_with(&to.to_string()) == Ordering::Less => {
                    return Err(format!("no number is from {from} to {to}; the smaller one comes first"));
                }
                _ => {}
            }
        }
        Ok(self)
    }

    fn check(&self, what: &str, text: &str) -> Result<(), String> {
        number(what, text)?;
        if self.within.iter().any(|bounds| bounds.has(text)) {
            Ok(())
        } else {
            Err(format!("{what} is {}", significant_or_zero(text)))
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, bounds) in self.within.iter().enumerate() {
            if index > 0 {
                f.write_str(if index + 1 == self.within.len() { " or " } else { ", " })?;
            }
            bounds.fmt(f)?;
        }
        Ok(())
    }
}

impl Bounds {
    fn has(&self, digits: &str) -> bool {
        self.from.as_ref().is_none_or(|from| from.compared_with(digits) != Ordering::Less)
            && self.to.as_ref().is_none_or(|to| to.compared_with(digits) != Ordering::Greater)
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => write!(f, "from {from} to {to}"),
            (Some(from), None) => write!(f, "{from} or more"),
            (None, Some(to)) => write!(f, "{to} or less"),
            (None, None) => f.write_str("any number"),
        }
    }
}

fn number(what: &str, text: &str) -> Result<(), String> {
    if is_digits(text) { Ok(()) } else { Err(format!("{what} is no number in digits")) }
}

fn significant_or_zero(digits: &str) -> String {
    Number::parse(digits).map_or_else(|| digits.to_owned(), |number| number.to_string())
}
