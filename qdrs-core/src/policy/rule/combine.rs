//! `all`, `any`, `not`: rules made of rules.

use std::fmt;

use serde::Deserialize;

use super::{Parts, Rule};

/// How its rules are taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    All,
    Any,
    Not,
}

/// Several rules as one.
#[derive(Debug, Clone)]
pub(super) struct Combined {
    pub(super) how: How,
    pub(super) rules: Vec<Rule>,
}

/// As it is written. `not` takes one rule or several, of which none may hold.
#[derive(Debug, Deserialize)]
pub(super) struct Written {
    rules: Vec<Rule>,
}

impl Written {
    pub(super) const KEYS: &[&str] = &["rules"];

    pub(super) fn sound(self, how: How) -> Result<Combined, String> {
        let least = if how == How::Not { 1 } else { 2 };
        if self.rules.len() < least {
            return Err(match how {
                How::Not => "a `not` rule needs `rules = [{ kind = … }]`, of which none may hold".to_owned(),
                How::All => "an `all` rule needs two rules or more in `rules = [{ kind = … }, …]`".to_owned(),
                How::Any => "an `any` rule needs two rules or more in `rules = [{ kind = … }, …]`".to_owned(),
            });
        }
        if how == How::Not && self.rules.iter().flat_map(Rule::leaves).any(|rule| rule.signed().is_some()) {
            return Err("a `not` rule can't have a `signed` rule in it: whoever guesses would be let in".to_owned());
        }
        Ok(Combined { how, rules: self.rules })
    }
}

impl Combined {
    pub(super) fn check(&self, parts: &Parts<'_>) -> Result<(), String> {
        match self.how {
            How::All => self.rules.iter().try_for_each(|rule| rule.judge(parts)),
            How::Any => {
                let mut faults = Vec::new();
                for rule in &self.rules {
                    match rule.judge(parts) {
                        Ok(()) => return Ok(()),
                        Err(fault) => faults.push((rule.is_about(parts), fault)),
                    }
                }
                // A rule about parts that the serial has not says nothing of it, where others do.
                let telling = faults.iter().any(|(about, _)| *about);
                let faults: Vec<_> = faults.into_iter().filter(|(about, _)| *about == telling).map(|(_, fault)| fault).collect();
                Err(faults.join(", and "))
            }
            How::Not => match self.rules.iter().find(|rule| rule.judge(parts).is_ok()) {
                Some(rule) => Err(rule.clause("must not")),
                None => Ok(()),
            },
        }
    }
}

impl fmt::Display for Combined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, between) = match self.how {
            How::All => ("must", ", and "),
            How::Any => ("must", ", or "),
            How::Not => ("must not", ", and "),
        };
        let clauses: Vec<_> = self.rules.iter().map(|rule| rule.clause(verb)).collect();
        f.write_str(&clauses.join(between))
    }
}
