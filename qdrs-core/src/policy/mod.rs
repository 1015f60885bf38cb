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
//!     "serial `QD-0041714` is not valid: its part `number` is not a multiple of 7; `number` must be a multiple of 7"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Whatever an owner writes, checking a serial takes time linear in its length, and what is longer than any serial is
//! refused before it is looked at.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use crate::{
    api::{Code, Evidence},
    explain::Explain,
    hardware_id::HardwareId,
    serial::{SERIAL_BYTES_MAX, Serial, SerialError, check_characters},
};

pub mod body;
mod characters;
mod contradiction;
#[cfg(test)]
mod contradiction_tests;
mod device_id;
mod form;
mod layout;
pub mod nearest;
mod number;
mod product;
mod rule;
#[cfg(test)]
mod samples_tests;
#[cfg(test)]
mod tests;
mod text;
#[cfg(test)]
mod text_tests;

use device_id::Template;
use form::{Form, Separators};
use product::Product;
use rule::Rule;
pub use rule::signed::KeyPlace;

/// Counted up when [`Policy::normalise`] makes something else of a text by the same form.
const NORMAL_FORM_VERSION: u32 = 1;

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
    product: Option<Product>,
    example: Option<String>,
    #[serde(default = "default_evidence", deserialize_with = "evidence")]
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

/// Serde's own words for a number that is none would be those of a programmer.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let count = toml::Value::deserialize(deserializer)?;
    let devices = count.as_integer().and_then(|count| u64::try_from(count).ok());
    devices
        .map(Some)
        .ok_or_else(|| serde::de::Error::custom(format!("a quota is a whole number of devices from 0 up, not {count}")))
}

fn evidence<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Evidence, D::Error> {
    let value = toml::Value::deserialize(deserializer)?;
    value.as_str().and_then(|word| word.parse().ok()).ok_or_else(|| {
        let known = "\"read-back\", \"device-checked\" or \"accepted\"";
        serde::de::Error::custom(format!("`least_evidence` is {known}, not {value}"))
    })
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

    /// What [`Self::normalise`] goes by, as text: two policies with equal texts write every serial equally.
    pub fn normal_form(&self) -> String {
        format!("{NORMAL_FORM_VERSION}: {}", self.written.form.normal_form().inline())
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
        self.check_product(&serial)?;
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
        if let Some(Product::ByPrefix(products)) = &self.written.product {
            let prefixes: Vec<_> = products.keys().map(String::as_str).collect();
            say(format!("it begins with `{}`", prefixes.join("` or `")), parts.as_ref().map(|_| self.check_product(serial)));
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

    /// Does it say what a serial is like, so that not any text is one?
    pub fn tells_serials(&self) -> bool {
        self.written.form.pattern.is_some() || !self.written.rules.is_empty()
    }

    /// What a station may have of it to look at a batch: without the rules that need a list's file or a key, and without
    /// how many may be made. True if no rule was left out.
    pub fn for_stations(&self) -> (Self, bool) {
        let mut policy = self.clone();
        let wants = |rule: &&Rule| rule.signed().is_some() || rule.list().is_some_and(|list| list.file.is_some());
        policy.written.rules.retain(|rule| !rule.leaves().iter().any(wants));
        policy.written.quota = Quota::default();
        let whole = policy.written.rules.len() == self.written.rules.len();
        // Of serials that nobody is to guess, an example would be one.
        policy.written.example.take_if(|_| !whole);
        (policy, whole)
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
    pub fn product(&self, serial: &Serial) -> Option<&str> {
        self.written.product.as_ref()?.of(serial.as_str())
    }

    /// The columns that the policy's lists keep beside the serial, by name.
    pub fn listed(&self, serial: &Serial) -> BTreeMap<&str, &str> {
        self.rows(serial).into_iter().flat_map(|(_, row)| row).collect()
    }

    /// The hardware id that a list of the policy has for the serial: its device must be that one.
    pub fn listed_hardware_id(&self, serial: &Serial) -> Option<HardwareId> {
        let hardware_id = |(list, row): (&rule::list::Rule, BTreeMap<&str, _>)| row.get(list.hwid.as_deref()?).copied();
        self.rows(serial).into_iter().filter_map(hardware_id).find_map(HardwareId::from_record)
    }

    /// Each list that has the serial, or the part of it that the list is about, with the row that it has.
    fn rows(&self, serial: &Serial) -> Vec<(&rule::list::Rule, BTreeMap<&str, &str>)> {
        // One of an earlier version of this policy has no parts any more, and no row.
        let Ok(parts) = self.written.form.parts(serial.as_str()) else { return Vec::new() };
        let row = |rule: &'_ Rule| rule.text(&parts).ok().map(|text| text.into_owned());
        let rows = self.leaves().filter_map(|rule| rule.list().zip(row(rule)));
        rows.filter_map(|(list, text)| Some((list, list.row(&text)?))).collect()
    }

    /// How hard it is to guess a valid serial, as a power of two; none where serials are not signed.
    pub fn guess_bits(&self) -> Option<usize> {
        self.leaves().filter_map(Rule::signed).map(rule::signed::Rule::bits).min()
    }

    /// The serial that begins with that text and ends in what the policy's key makes of it.
    ///
    /// # Errors
    ///
    /// The policy does not sign serials, its key has not been loaded, or it refuses the result.
    pub fn sign(&self, text: &str) -> Result<Serial, PolicyError> {
        let refuse = |why: String| PolicyError { policy: self.name.clone(), line: None, why };
        let rule = self
            .signed()
            .ok_or_else(|| refuse("it does not sign serials; that takes a rule of `kind = \"signed\"`".to_owned()))?;
        let serial = rule
            .sign(&self.normalise(text))
            .ok_or_else(|| refuse("the key of its `signed` rule has not been loaded".to_owned()))?;
        self.check(&serial).map_err(|error| refuse(format!("it refuses what it signed: {error}")))
    }

    /// What signed serials begin with, if the policy says so.
    pub fn body(&self) -> Option<&body::Body> {
        self.signed()?.body.as_ref()
    }

    /// How a signed serial that begins with that text may stand on its label: where the form leaves separators out, the
    /// signature is parted by one of them into groups of four, which are easier to read and to type.
    pub fn label(&self, text: &str, serial: &Serial) -> String {
        let separator = self.written.form.drop.as_ref().and_then(Separators::first);
        let groups = separator.zip(serial.as_str().strip_prefix(&self.normalise(text))).map(|(separator, tag)| {
            let groups: Vec<_> = tag.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
            let body = text.trim_end_matches(separator);
            format!("{body}{separator}{}", groups.join(&separator.to_string()))
        });
        // A label that would not be read as its serial is none.
        groups.filter(|label| self.check(label).as_ref() == Ok(serial)).unwrap_or_else(|| serial.to_string())
    }

    /// Does it want files or variables besides its own text? Then it accepts nothing before [`Policy::load`].
    pub fn wants(&self) -> bool {
        self.leaves().any(|rule| rule.signed().is_some() || rule.list().is_some_and(|list| list.file.is_some()))
    }

    /// Takes what its lists and keys need: `file` gives the bytes of a list's file, `key` the text of a key, both by the
    /// names that the policy has for them; their errors are the reasons in a sentence.
    ///
    /// # Errors
    ///
    /// One of them can't be had, or is not what it should be; or the policy refuses its own example.
    pub fn load(
        mut self,
        file: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
        key: &mut dyn FnMut(KeyPlace<'_>) -> Result<Zeroizing<String>, String>,
    ) -> Result<Self, PolicyError> {
        let refuse = |policy: &str, why: String| PolicyError { policy: policy.to_owned(), line: None, why };
        let form = self.written.form.clone();
        let mut result = Ok(());
        for rule in &mut self.written.rules {
            rule.each(&mut |rule| {
                let whole = rule.part_names().is_empty();
                if let Some(list) = rule.list_mut() {
                    let normalise = |text: &str| if whole { form.normalise(text) } else { form.normalise_part(text) };
                    let loaded = list.load(file, &normalise);
                    result = std::mem::replace(&mut result, Ok(())).and(loaded);
                } else if let Some(signed) = rule.signed_mut() {
                    result = std::mem::replace(&mut result, Ok(())).and(signed.load(key));
                }
            });
        }
        result.map_err(|why| refuse(&self.name, why))?;
        self.check_example().map_err(|why| refuse(&self.name, why))?;
        Ok(self)
    }

    /// The rule that new serials are signed by: of several, the first.
    fn signed(&self) -> Option<&rule::signed::Rule> {
        self.leaves().find_map(Rule::signed)
    }

    fn leaves(&self) -> impl Iterator<Item = &Rule> {
        self.written.rules.iter().flat_map(Rule::leaves)
    }

    fn check_product(&self, serial: &str) -> Result<(), SerialError> {
        match &self.written.product {
            Some(product) => product.check(serial),
            None => Ok(()),
        }
    }

    fn check_example(&self) -> Result<(), String> {
        match &self.written.example {
            Some(example) => {
                self.check(example).map(|_| ()).map_err(|error| format!("the policy refuses its own `example`: {error}"))
            }
            None => Ok(()),
        }
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
    fn sound(mut self) -> Result<Self, String> {
        for (index, rule) in self.written.rules.iter_mut().enumerate() {
            let kind = rule.kind();
            rule.fit(&self.written.form).map_err(|why| format!("rule {} (`{kind}`) {why}", index + 1))?;
        }
        let names = self.written.form.part_names();
        if names.contains(&"serial") && self.written.device_id.says_serial() {
            return Err("`device_id` says `{serial}`, which is the whole, but `pattern` has a part of that name, too; give the \
                        part another name"
                .to_owned());
        }
        if let Some(contradiction) = contradiction::find(&self.written) {
            return Err(contradiction);
        }
        if let Some(part) = self.written.device_id.part_names().find(|part| !names.contains(part)) {
            let known = if names.is_empty() {
                "`pattern` names none".to_owned()
            } else {
                format!("`pattern` names `{}`", names.join("`, `"))
            };
            return Err(format!("`device_id` speaks of `{{{part}}}`, but {known}; `{{serial}}` stands for the whole"));
        }
        if self.wants() {
            return Ok(self);
        }
        // Lists in the policy's own text are loaded from nowhere.
        let nowhere = |_: &str| Err("it needs no file".to_owned());
        self.load(&mut { nowhere }, &mut |_| Err("it needs no key".to_owned())).map_err(|error| error.why)
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
