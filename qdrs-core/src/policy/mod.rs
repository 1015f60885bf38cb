//! Policies: which serials are valid, how many may be made, and what a device is called.
//!
//! A policy is a TOML table that its owner reads like a sentence. It is a file of its own, or `[policies.NAME]` in the
//! service's configuration:
//!
//! ```
//! use qdrs_core::policy::Policy;
//!
//! let policy = Policy::parse("buttons", r#"
//!     [form]
//!     case = "upper"
//!     pattern = 'QD-(?<number>[0-9]{7})'
//!     say = "`QD-` and seven digits"
//!
//!     [[rule]]
//!     kind = "divisible"
//!     by = 7
//!     part = "number"
//! "#)?;
//! assert_eq!(policy.check(" qd-0041713\n")?.as_str(), "QD-0041713");
//! assert_eq!(
//!     policy.check("QD-0041714").unwrap_err().to_string(),
//!     "serial `QD-0041714` is not valid: its part `number` leaves 1 when divided by 7; `number` must be a multiple of 7"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Whatever an owner writes, checking a serial takes time linear in its length, and what is longer than any serial is
//! refused before it is looked at.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    api::{Code, Evidence},
    explain::Explain,
    serial::{SERIAL_BYTES_MAX, Serial, SerialError, check_characters},
};

mod device_id;
mod form;
mod number;
mod rule;
#[cfg(test)]
mod tests;

use device_id::Template;
use form::Form;
use rule::Rule;

/// A policy, read and found sound.
#[derive(Debug, Clone)]
pub struct Policy {
    /// What access codes and the ledger call it.
    pub name: String,
    written: Written,
}

/// The policy's table as its owner writes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, expecting = "the table of a policy")]
struct Written {
    product: Option<String>,
    example: Option<String>,
    #[serde(default = "default_evidence")]
    least_evidence: Evidence,
    #[serde(default)]
    device_id: Template,
    #[serde(default)]
    form: Form,
    #[serde(default, rename = "rule", deserialize_with = "rule::list")]
    rules: Vec<Rule>,
    #[serde(default)]
    quota: Quota,
}

fn default_evidence() -> Evidence {
    Evidence::DeviceChecked
}

/// `[quota]`: how many may be registered.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table with `total` and `per_day`")]
struct Quota {
    #[serde(deserialize_with = "count")]
    total: Option<u64>,
    #[serde(deserialize_with = "count")]
    per_day: Option<u64>,
}

/// Serde's own words for a negative number would be those of a programmer.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let count = i64::deserialize(deserializer)?;
    u64::try_from(count)
        .map(Some)
        .map_err(|_| serde::de::Error::custom(format!("a quota is a number of devices from 0 up, not {count}")))
}

/// A policy that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy `{policy}`{}: {why}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub struct PolicyError {
    /// Its name.
    pub policy: String,
    /// Where in its text, counted from 1, if it is one place.
    pub line: Option<usize>,
    /// What is wrong, and what would be right.
    pub why: String,
}

impl Explain for PolicyError {
    fn code(&self) -> Code {
        Code::SettingInvalid
    }

    fn help(&self) -> String {
        "mend the policy; `qdrs-service policy test` shows what it makes of a serial".to_owned()
    }
}

/// What one rule of a policy says of one text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// What must hold, in words.
    pub rule: String,
    /// Does it?
    pub outcome: Outcome,
    /// Why it does not hold, or could not be judged; empty when it holds.
    pub why: String,
}

impl Verdict {
    /// Does the rule hold?
    pub fn holds(&self) -> bool {
        self.outcome == Outcome::Holds
    }
}

/// Does a rule hold?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Yes.
    Holds,
    /// No.
    Fails,
    /// An earlier rule fails, and without it this one makes no sense.
    NotJudged,
}

impl Policy {
    /// Reads a policy from its TOML text.
    ///
    /// # Errors
    ///
    /// The text is no TOML, a key or kind of rule is not known, a value makes no sense, or the policy contradicts itself.
    pub fn parse(name: &str, toml: &str) -> Result<Self, PolicyError> {
        let policy: Self = toml::from_str(toml).map_err(|error| PolicyError {
            policy: name.to_owned(),
            line: error.span().filter(|span| *span != (0..toml.len())).map(|span| line_of(toml, span.start)),
            why: error.message().trim_end().replace('\n', "; "),
        })?;
        Ok(policy.named(name))
    }

    /// The same policy by another name: the table in a configuration does not know its own.
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// The text as this policy writes serials: without blanks around it, in its case. Doing it twice changes nothing more.
    ///
    /// A normal form is not yet a valid serial.
    pub fn normalise(&self, text: &str) -> String {
        self.written.form.normalise(text)
    }

    /// The serial, if the text is a valid one.
    ///
    /// # Errors
    ///
    /// The first rule that does not hold, in one sentence.
    pub fn check(&self, text: &str) -> Result<Serial, SerialError> {
        let serial = self.short_normal_form(text)?;
        let parts = Step::FORM
            .iter()
            .try_fold((), |(), step| self.judge_form(*step, &serial))
            .and_then(|()| self.written.form.parts(&serial))?;
        self.written.rules.iter().try_for_each(|rule| rule.check(&parts))?;
        self.written.device_id.device_id(&parts)?;
        drop(parts);
        Ok(Serial::accepted(serial))
    }

    /// What each rule says of the text, in the order in which they are asked. The text is valid when all hold.
    pub fn explain(&self, text: &str) -> Vec<Verdict> {
        let form = &self.written.form;
        let mut verdicts = Vec::new();
        let mut say = |rule: String, result: Option<Result<(), SerialError>>| {
            let (outcome, why) = match result {
                Some(Ok(())) => (Outcome::Holds, String::new()),
                Some(Err(error)) => (Outcome::Fails, error.to_string()),
                None => (Outcome::NotJudged, "an earlier rule fails".to_owned()),
            };
            verdicts.push(Verdict { rule, outcome, why });
        };
        let normal = self.short_normal_form(text);
        let serial = normal.as_deref().unwrap_or_default();
        let mut sound = normal.is_ok();
        for step in Step::FORM {
            if step == Step::Alphabet && form.alphabet.is_none() {
                continue;
            }
            let result = match &normal {
                Err(error) => (step == Step::Length).then(|| Err(error.clone())),
                Ok(_) if step != Step::Length && !sound => None,
                Ok(_) => Some(self.judge_form(step, serial)),
            };
            // A serial that is too short may still be looked at; one with strange characters may not.
            sound &= step == Step::Length || matches!(result, Some(Ok(())));
            say(self.words_for(step), result);
        }
        let parts = sound.then(|| form.parts(serial));
        if let Some(pattern) = &form.pattern {
            let words = form.say.clone().unwrap_or_else(|| format!("all of `{pattern}`"));
            say(format!("it is {words}"), parts.as_ref().map(|parts| parts.as_ref().map(|_| ()).map_err(Clone::clone)));
        }
        let parts = parts.and_then(Result::ok);
        for rule in &self.written.rules {
            say(rule.to_string(), parts.as_ref().map(|parts| rule.check(parts)));
        }
        say(
            format!("its device id is `{}`", self.written.device_id),
            parts.as_ref().map(|parts| self.written.device_id.device_id(parts).map(|_| ())),
        );
        verdicts
    }

    /// What the device is called in the hub.
    ///
    /// # Errors
    ///
    /// Only for a serial of another policy, or of an earlier version of this one.
    pub fn device_id(&self, serial: &Serial) -> Result<String, SerialError> {
        self.written.device_id.device_id(&self.written.form.parts(serial.as_str())?)
    }

    /// The weakest evidence with which a serial may be confirmed.
    pub fn least_evidence(&self) -> Evidence {
        self.written.least_evidence
    }

    /// How many may be registered in all; none means no limit.
    pub fn total_max(&self) -> Option<u64> {
        self.written.quota.total
    }

    /// How many may be registered a day (UTC); none means no limit.
    pub fn day_max(&self) -> Option<u64> {
        self.written.quota.per_day
    }

    /// What is made, as the owner calls it: a board is one serial within a product.
    pub fn product(&self) -> Option<&str> {
        self.written.product.as_deref()
    }

    /// A serial of this form, for a person to compare with.
    pub fn example(&self) -> Option<&str> {
        self.written.example.as_deref()
    }

    /// The normal form; what is longer than any serial is refused before it is copied.
    fn short_normal_form(&self, text: &str) -> Result<String, SerialError> {
        let trimmed = self.written.form.trimmed(text);
        if trimmed.len() > 4 * SERIAL_BYTES_MAX {
            self.written.form.check_length(trimmed)?;
        }
        Ok(self.normalise(trimmed))
    }

    fn judge_form(&self, step: Step, serial: &str) -> Result<(), SerialError> {
        match step {
            Step::Length => self.written.form.check_length(serial),
            Step::Characters if serial.is_empty() => self.written.form.check_length(serial),
            Step::Characters => check_characters(serial),
            Step::Alphabet => self.written.form.check_alphabet(serial),
        }
    }

    fn words_for(&self, step: Step) -> String {
        match step {
            Step::Length => format!("it has {}", self.written.form.length),
            Step::Characters => "it has ASCII letters, digits and signs only, and no blank".to_owned(),
            Step::Alphabet => {
                self.written.form.alphabet.as_ref().map_or_else(String::new, |alphabet| format!("it has only `{alphabet}`"))
            }
        }
    }

    /// What can be seen only of the whole.
    fn sound(self) -> Result<Self, String> {
        let names = self.written.form.part_names();
        let known = || {
            if names.is_empty() { "`pattern` names none".to_owned() } else { format!("`pattern` names `{}`", names.join("`, `")) }
        };
        for (index, rule) in self.written.rules.iter().enumerate() {
            if let Some(part) = rule.part().filter(|part| !names.contains(part)) {
                return Err(format!(
                    "rule {} (`{}`) speaks of a part `{part}`, but {}, as in `(?<{part}>[0-9]+)`",
                    index + 1,
                    rule.kind(),
                    known()
                ));
            }
        }
        if let Some(part) = self.written.device_id.part_names().find(|part| !names.contains(part)) {
            return Err(format!("`device_id` speaks of `{{{part}}}`, but {}; `{{serial}}` stands for the whole", known()));
        }
        if let Some(example) = &self.written.example {
            self.check(example).map_err(|error| format!("the policy refuses its own `example`: {error}"))?;
        }
        Ok(self)
    }
}

/// Without a name: see [`Policy::named`] and [`by_name`].
impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        Self { name: String::new(), written }.sound().map_err(serde::de::Error::custom)
    }
}

/// `[policies.NAME]` of a configuration; for serde's `deserialize_with`.
///
/// # Errors
///
/// Those of [`Policy::parse`].
pub fn by_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Policy>, D::Error> {
    let policies = BTreeMap::<String, Policy>::deserialize(deserializer)?;
    Ok(policies.into_iter().map(|(name, policy)| (name.clone(), policy.named(&name))).collect())
}

/// What is asked of the text before its pattern, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Length,
    Characters,
    Alphabet,
}

impl Step {
    const FORM: [Self; 3] = [Self::Length, Self::Characters, Self::Alphabet];
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}
