//! `[[rule]]`: what must hold of a serial beyond its form; one kind of rule for each `kind`.
//!
//! Each kind is a struct with the keys that are its own; `kind`, `part` and `say` belong to every rule. A new kind is a
//! struct, its name in [`KINDS`], and a row in [`Kind::read`], [`Kind::check`], [`Rule::table`] and its `Display`, which says
//! what a serial must do, as "be a multiple of 7".

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, de};
use toml::{Table, Value};

use super::{
    form::{Form, Parts},
    text::{Table as Printed, list as several, text},
};
use crate::serial::{SerialError, Shown};

mod check;
mod combine;
mod date;
pub(super) mod list;
mod number;
pub(super) mod signed;
#[cfg(test)]
mod tests;

use combine::{Combined, How};

/// Every kind of rule that this version knows.
pub(super) const KINDS: [&str; 10] = ["divisible", "range", "check-digit", "crc", "date", "list", "signed", "all", "any", "not"];

/// Every key that is one kind's own.
#[cfg(test)]
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    [
        number::Divisible::KEYS,
        number::Range::KEYS,
        check::CheckDigit::KEYS,
        check::Crc::KEYS,
        date::Code::KEYS,
        list::Rule::KEYS,
        signed::Rule::KEYS,
        combine::Written::KEYS,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// The keys that every kind of rule has.
const COMMON_KEYS: [&str; 3] = ["kind", "part", "say"];

/// How deep rules may stand in rules.
const DEPTH_MAX: usize = 8;

/// One `[[rule]]` of a policy.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    kind: Kind,
    /// What it is about: named groups of the form's pattern, read one after the other; the whole serial when there is none.
    parts: Vec<String>,
    /// The owner's words for what must hold, as in "the number must be a multiple of 7".
    say: Option<String>,
}

#[derive(Debug, Clone)]
enum Kind {
    Divisible(number::Divisible),
    Range(number::Range),
    CheckDigit(check::CheckDigit),
    Crc(check::Crc),
    Date(date::Code),
    List(list::Rule),
    Signed(signed::Rule),
    Combined(Combined),
}

impl Rule {
    /// Its `kind`.
    pub(super) fn kind(&self) -> &'static str {
        match &self.kind {
            Kind::Divisible(_) => "divisible",
            Kind::Range(_) => "range",
            Kind::CheckDigit(_) => "check-digit",
            Kind::Crc(_) => "crc",
            Kind::Date(_) => "date",
            Kind::List(_) => "list",
            Kind::Signed(_) => "signed",
            Kind::Combined(Combined { how: How::All, .. }) => "all",
            Kind::Combined(Combined { how: How::Any, .. }) => "any",
            Kind::Combined(Combined { how: How::Not, .. }) => "not",
        }
    }

    /// As it is written among others that are about those parts.
    pub(super) fn table(&self, about: &[String]) -> Printed {
        let Self { kind, parts, say } = self;
        let mut table = Printed::default();
        table.put("kind", text(self.kind()));
        match kind {
            Kind::Divisible(rule) => rule.print(&mut table),
            Kind::Range(rule) => rule.print(&mut table),
            Kind::CheckDigit(rule) => rule.print(&mut table),
            Kind::Crc(rule) => rule.print(&mut table),
            Kind::Date(rule) => rule.print(&mut table),
            Kind::List(rule) => rule.print(&mut table),
            Kind::Signed(rule) => rule.print(&mut table),
            Kind::Combined(_) => {}
        }
        match parts.as_slice() {
            same if same == about => {}
            [name] => table.put("part", text(name)),
            names => table.put("part", several(names.iter().map(|name| text(name)))),
        }
        table.put_some("say", say.as_deref().map(text));
        if let Kind::Combined(combined) = kind {
            table.put("rules", several(combined.rules.iter().map(|rule| rule.table(parts).inline())));
        }
        table
    }

    /// Does it hold?
    pub(super) fn check(&self, parts: &Parts<'_>) -> Result<(), SerialError> {
        self.judge(parts).map_err(|why| SerialError::Rule { serial: Shown::new(parts.whole()), kind: self.kind(), why })
    }

    /// Does it hold? The error says what was found, and what must hold.
    fn judge(&self, parts: &Parts<'_>) -> Result<(), String> {
        let found = match &self.kind {
            Kind::Combined(combined) => combined.check(parts),
            // Its words only where they are needed: a million good serials need none.
            kind => self.text(parts).and_then(|text| kind.check("", &text).or_else(|_| kind.check(&self.what(), &text))),
        };
        found.map_err(|found| match (&self.say, &self.kind) {
            (Some(say), _) => format!("{say} ({found})"),
            // Those of its rules that failed have said what must hold.
            (None, Kind::Combined(_)) => found,
            (None, _) => format!("{found}; {self}"),
        })
    }

    /// Has the serial the parts that it is about?
    fn is_about(&self, parts: &Parts<'_>) -> bool {
        self.parts.iter().all(|name| parts.get(name).is_some())
    }

    /// What it is about.
    pub(super) fn text<'s>(&self, parts: &Parts<'s>) -> Result<Cow<'s, str>, String> {
        let get = |name: &String| parts.get(name).ok_or_else(|| format!("it has no part `{name}`"));
        match self.parts.as_slice() {
            [] => Ok(parts.whole().into()),
            [name] => Ok(get(name)?.into()),
            names => Ok(names.iter().map(get).collect::<Result<String, _>>()?.into()),
        }
    }

    /// How that is called in a sentence.
    fn what(&self) -> String {
        match self.parts.as_slice() {
            [] => "it".to_owned(),
            [name] => format!("its part `{name}`"),
            names => format!("the text of its parts {}", listed(names)),
        }
    }

    /// What must hold, or must not, in words: the owner's, if there are any.
    fn clause(&self, verb: &str) -> String {
        match (&self.say, self.parts.as_slice(), &self.kind) {
            (Some(say), _, _) if verb == "must" => say.clone(),
            (Some(say), _, _) => format!("this must not hold: {say}"),
            (None, _, Kind::Combined(combined)) if verb == "must" => combined.to_string(),
            (None, _, Kind::Combined(combined)) => format!("this must not hold: {combined}"),
            (None, [], kind) => format!("the serial {verb} {kind}"),
            (None, [name], kind) => format!("`{name}` {verb} {kind}"),
            (None, names, kind) => format!("{} together {verb} {kind}", listed(names)),
        }
    }

    /// Sees whether it and the form go together, and takes from the form what it does not say itself.
    pub(super) fn fit(&mut self, form: &Form) -> Result<(), String> {
        let names = form.part_names();
        if let Some(part) = self.parts.iter().find(|part| !names.contains(&part.as_str())) {
            let known = if names.is_empty() {
                "`pattern` names none".to_owned()
            } else {
                format!("`pattern` names `{}`", names.join("`, `"))
            };
            return Err(format!(
                "speaks of a part `{part}`, but {known}, as in `(?<{part}>[0-9]+)`; the serial as a whole needs no `part`"
            ));
        }
        match &mut self.kind {
            Kind::CheckDigit(rule) => rule.fit(form.case),
            Kind::Crc(rule) => rule.fit(form.case),
            Kind::Signed(_) if !self.parts.is_empty() => Err("signs the serial as a whole, so it has no `part`".to_owned()),
            Kind::Signed(rule) => {
                rule.fit(form.case);
                Ok(())
            }
            Kind::Combined(combined) => combined.rules.iter_mut().try_for_each(|rule| rule.fit(form)),
            _ => Ok(()),
        }
    }

    /// The parts that it is about; none when it is the whole serial.
    pub(super) fn part_names(&self) -> &[String] {
        &self.parts
    }

    /// Its range, if it is one.
    pub(super) fn range(&self) -> Option<&number::Range> {
        if let Kind::Range(rule) = &self.kind { Some(rule) } else { None }
    }

    /// What it divides by, if it does.
    pub(super) fn divisible(&self) -> Option<&number::Divisible> {
        if let Kind::Divisible(rule) = &self.kind { Some(rule) } else { None }
    }

    /// Is it a `not` of that very rule?
    pub(super) fn denies(&self, other: &Self) -> bool {
        match &self.kind {
            Kind::Combined(Combined { how: How::Not, rules }) => rules.iter().any(|rule| rule.is_same(other)),
            _ => false,
        }
    }

    /// Does it ask the same of the same parts?
    fn is_same(&self, other: &Self) -> bool {
        let asked = |rule: &Self| Self { say: None, ..rule.clone() }.table(&[]).inline();
        asked(self) == asked(other)
    }

    /// The fewest and the most characters of a text for which it may hold.
    pub(super) fn lengths(&self) -> (usize, usize) {
        match &self.kind {
            Kind::Divisible(_) | Kind::List(_) | Kind::Combined(_) => (1, usize::MAX),
            Kind::Range(rule) => (rule.least_digits(), usize::MAX),
            Kind::CheckDigit(rule) => rule.scheme.lengths(),
            Kind::Crc(rule) => (rule.characters() + 1, usize::MAX),
            Kind::Date(rule) => (rule.characters(), rule.characters()),
            Kind::Signed(rule) => (rule.signature_characters() + 1, usize::MAX),
        }
    }

    /// May a text for which it holds have that character?
    pub(super) fn takes(&self, byte: u8) -> bool {
        match &self.kind {
            Kind::Divisible(rule) => rule.digits.has(byte),
            Kind::Range(rule) => rule.digits.has(byte),
            Kind::CheckDigit(rule) => rule.scheme.takes(byte),
            Kind::Crc(_) | Kind::Date(_) | Kind::List(_) | Kind::Signed(_) | Kind::Combined(_) => true,
        }
    }

    /// The rules that must hold, or of which one must: not those under a `not`.
    pub(super) fn wanted(&self) -> Vec<&Self> {
        match &self.kind {
            Kind::Combined(Combined { how: How::Not, .. }) => Vec::new(),
            Kind::Combined(combined) => combined.rules.iter().flat_map(Self::wanted).collect(),
            _ => vec![self],
        }
    }

    /// Its date, if it is one.
    pub(super) fn date(&self) -> Option<&date::Code> {
        if let Kind::Date(rule) = &self.kind { Some(rule) } else { None }
    }

    /// This rule, or those it is made of.
    pub(super) fn each<'r>(&'r mut self, see: &mut dyn FnMut(&'r mut Self)) {
        if matches!(self.kind, Kind::Combined(_)) {
            if let Kind::Combined(combined) = &mut self.kind {
                combined.rules.iter_mut().for_each(|rule| rule.each(see));
            }
        } else {
            see(self);
        }
    }

    /// The same, to look at.
    pub(super) fn leaves(&self) -> Vec<&Self> {
        match &self.kind {
            Kind::Combined(combined) => combined.rules.iter().flat_map(Self::leaves).collect(),
            _ => vec![self],
        }
    }

    /// Its list, if it is one.
    pub(super) fn list(&self) -> Option<&list::Rule> {
        if let Kind::List(rule) = &self.kind { Some(rule) } else { None }
    }

    /// The same, to be filled.
    pub(super) fn list_mut(&mut self) -> Option<&mut list::Rule> {
        if let Kind::List(rule) = &mut self.kind { Some(rule) } else { None }
    }

    /// How serials are signed, if it says so.
    pub(super) fn signed(&self) -> Option<&signed::Rule> {
        if let Kind::Signed(rule) = &self.kind { Some(rule) } else { None }
    }

    /// The same, to be given its keys.
    pub(super) fn signed_mut(&mut self) -> Option<&mut signed::Rule> {
        if let Kind::Signed(rule) = &mut self.kind { Some(rule) } else { None }
    }

    /// Rules within rules speak of the same parts, unless they say others.
    fn inherit(&mut self, parts: &[String]) {
        if self.parts.is_empty() {
            self.parts = parts.to_vec();
        }
        if let Kind::Combined(combined) = &mut self.kind {
            combined.rules.iter_mut().for_each(|rule| rule.inherit(&self.parts));
        }
    }

    fn depth(&self) -> usize {
        match &self.kind {
            Kind::Combined(combined) => 1 + combined.rules.iter().map(Self::depth).max().unwrap_or(0),
            _ => 0,
        }
    }
}

/// As "`a`, `b` and `c`".
fn listed(names: &[String]) -> String {
    match names.split_last() {
        Some((last, before)) if !before.is_empty() => format!("`{}` and `{last}`", before.join("`, `")),
        _ => format!("`{}`", names.join("")),
    }
}

/// What must hold, in words.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.clause("must"))
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
        let say = match table.remove("say") {
            None => None,
            Some(Value::String(words)) => Some(words),
            Some(other) => return Err(de::Error::custom(format!("a rule's `say` is a text in quotes, not {other}"))),
        };
        let parts = match table.remove("part") {
            None => Vec::new(),
            Some(Value::String(name)) => vec![name],
            Some(Value::Array(names)) => {
                let names: Option<Vec<String>> = names.iter().map(|name| name.as_str().map(str::to_owned)).collect();
                names.filter(|names| !names.is_empty()).ok_or_else(|| {
                    de::Error::custom("a rule's `part` is a name, or several that are read one after the other: [\"a\", \"b\"]")
                })?
            }
            Some(other) => return Err(de::Error::custom(format!("a rule's `part` is a name in quotes, not {other}"))),
        };
        let mut rule = Self { kind: Kind::read(&kind, table).map_err(de::Error::custom)?, parts: Vec::new(), say };
        if rule.depth() > DEPTH_MAX {
            return Err(de::Error::custom(format!("rules stand more than {DEPTH_MAX} deep in rules; nobody could read that")));
        }
        rule.inherit(&parts);
        Ok(rule)
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

impl Kind {
    fn read(kind: &str, table: Table) -> Result<Self, String> {
        let combined =
            |how| read::<combine::Written>(kind, combine::Written::KEYS, table.clone()).and_then(|rule| rule.sound(how));
        match kind {
            "divisible" => read(kind, number::Divisible::KEYS, table).and_then(number::Divisible::sound).map(Self::Divisible),
            "range" => read(kind, number::Range::KEYS, table).and_then(number::Range::sound).map(Self::Range),
            "check-digit" => read(kind, check::CheckDigit::KEYS, table).map(Self::CheckDigit),
            "crc" => read(kind, check::Crc::KEYS, table).and_then(check::Crc::sound).map(Self::Crc),
            "date" => read(kind, date::Code::KEYS, table).map(Self::Date),
            "list" => read(kind, list::Rule::KEYS, table).and_then(list::Rule::sound).map(Self::List),
            "signed" => read(kind, signed::Rule::KEYS, table).and_then(signed::Rule::sound).map(Self::Signed),
            "all" => combined(How::All).map(Self::Combined),
            "any" => combined(How::Any).map(Self::Combined),
            "not" => combined(How::Not).map(Self::Combined),
            _ => Err(format!("`{kind}` is no kind of rule; known are `{}`", KINDS.join("`, `"))),
        }
    }

    /// The error says what was found of `what`, which names the text in a sentence.
    fn check(&self, what: &str, text: &str) -> Result<(), String> {
        match self {
            Self::Divisible(rule) => rule.check(what, text),
            Self::Range(rule) => rule.check(what, text),
            Self::CheckDigit(rule) => rule.check(what, text),
            Self::Crc(rule) => rule.check(what, text),
            Self::Date(rule) => rule.check(what, text),
            Self::List(rule) => rule.check(what, text),
            Self::Signed(rule) => rule.check(what, text),
            // Rules of rules are about no text of their own: `Rule::judge`.
            Self::Combined(_) => Ok(()),
        }
    }
}

/// What a serial must do.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Divisible(rule) => rule.fmt(f),
            Self::Range(rule) => rule.fmt(f),
            Self::CheckDigit(rule) => rule.fmt(f),
            Self::Crc(rule) => rule.fmt(f),
            Self::Date(rule) => rule.fmt(f),
            Self::List(rule) => rule.fmt(f),
            Self::Signed(rule) => rule.fmt(f),
            Self::Combined(rule) => rule.fmt(f),
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
