//! `divisible` and `range`: rules about the number that a serial writes, in decimal or in digits of its own.

use std::{cmp::Ordering, fmt};

use serde::Deserialize;

use crate::policy::{
    number::{Digits, Number},
    text::{Table, list},
};

/// `divisible`: the number, of any length, is a multiple of `by`.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::policy) struct Divisible {
    by: u64,
    #[serde(default)]
    pub(super) digits: Digits,
}

impl Divisible {
    pub(super) const KEYS: &[&str] = &["by", "digits"];

    pub(super) fn print(&self, table: &mut Table) {
        let Self { by, digits } = self;
        table.put("by", by);
        table.put_some("digits", digits.toml());
    }

    pub(super) fn sound(self) -> Result<Self, String> {
        if self.by < 2 {
            return Err(format!("`by = {}` in a `divisible` rule says nothing; it is 2 or more", self.by));
        }
        Ok(self)
    }

    pub(super) fn check(&self, what: &str, text: &str) -> Result<(), String> {
        number(&self.digits, what, text)?;
        match self.digits.remainder(text, self.by) {
            0 => Ok(()),
            _ => Err(format!("{what} is not a multiple of {}", self.by)),
        }
    }
}

impl fmt::Display for Divisible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "be a multiple of {}", self.by)
    }
}

/// `range`: the number, of any length, lies between `from` and `to`, both included; or in one of several, `within`.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::policy) struct Range {
    from: Option<Number>,
    to: Option<Number>,
    #[serde(default)]
    within: Vec<Bounds>,
    #[serde(default)]
    pub(super) digits: Digits,
}

/// One range, both ends included; without an end it is open there.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    from: Option<Number>,
    to: Option<Number>,
}

impl Range {
    pub(super) const KEYS: &[&str] = &["from", "to", "within", "digits"];

    pub(super) fn print(&self, table: &mut Table) {
        // One range stands in `within` like several: `sound`.
        let Self { from: _, to: _, within, digits } = self;
        match within.as_slice() {
            [one] => one.print(digits, table),
            several => table.put("within", list(several.iter().map(|one| one.inline(digits)))),
        }
        table.put_some("digits", digits.toml());
    }

    pub(super) fn sound(mut self) -> Result<Self, String> {
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
        for bounds in &mut self.within {
            for end in [&mut bounds.from, &mut bounds.to].into_iter().flatten() {
                if !self.digits.write(&end.0) {
                    return Err(format!("`{end}` in a `range` rule is no number in {}", self.digits.about()));
                }
                end.0 = self.digits.shown(&end.0).to_owned();
            }
            match bounds {
                Bounds { from: None, to: None } => return Err("`within` has a range with neither `from` nor `to`".to_owned()),
                Bounds { from: Some(from), to: Some(to) } if self.digits.compare(&from.0, &to.0) == Ordering::Greater => {
                    return Err(format!("no number is from {from} to {to}; the smaller one comes first"));
                }
                _ => {}
            }
        }
        Ok(self)
    }

    pub(super) fn check(&self, what: &str, text: &str) -> Result<(), String> {
        number(&self.digits, what, text)?;
        if self.within.iter().any(|bounds| bounds.has(&self.digits, text)) {
            Ok(())
        } else {
            Err(format!("{what} is {}", self.digits.shown(text)))
        }
    }

    /// The fewest digits that a number in range has, leading zeros left out.
    pub(in crate::policy) fn least_digits(&self) -> usize {
        let least = |bounds: &Bounds| bounds.from.as_ref().map_or(1, |from| from.0.len());
        self.within.iter().map(least).min().unwrap_or(1)
    }

    /// Is there a number in both? Also when that can't be told, since their digits differ.
    pub(in crate::policy) fn meets(&self, other: &Self) -> bool {
        let below = |from: &Option<Number>, to: &Option<Number>| match (from, to) {
            (Some(from), Some(to)) => self.digits.compare(&from.0, &to.0) != Ordering::Greater,
            _ => true,
        };
        self.digits != other.digits
            || self.within.iter().any(|a| other.within.iter().any(|b| below(&a.from, &b.to) && below(&b.from, &a.to)))
    }

    /// May it hold a multiple? Also when that can't be told, since it is open or too large.
    pub(in crate::policy) fn may_hold_multiple(&self, rule: &Divisible) -> bool {
        let number = |number: &Option<Number>| number.as_ref()?.0.parse::<u128>().ok();
        let by = u128::from(rule.by);
        self.digits != rule.digits
            || self.digits != Digits::decimal()
            || self.within.iter().any(|bounds| match (number(&bounds.from).unwrap_or(0), number(&bounds.to)) {
                (from, Some(to)) => from.div_ceil(by).checked_mul(by).is_none_or(|multiple| multiple <= to),
                _ => true,
            })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("be ")?;
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
    fn print(&self, digits: &Digits, table: &mut Table) {
        let Self { from, to } = self;
        table.put_some("from", from.as_ref().map(|from| from.toml(digits)));
        table.put_some("to", to.as_ref().map(|to| to.toml(digits)));
    }

    fn inline(&self, digits: &Digits) -> String {
        let mut table = Table::default();
        self.print(digits, &mut table);
        table.inline()
    }

    fn has(&self, digits: &Digits, text: &str) -> bool {
        self.from.as_ref().is_none_or(|from| digits.compare(text, &from.0) != Ordering::Less)
            && self.to.as_ref().is_none_or(|to| digits.compare(text, &to.0) != Ordering::Greater)
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

fn number(digits: &Digits, what: &str, text: &str) -> Result<(), String> {
    if digits.write(text) { Ok(()) } else { Err(format!("{what} is no number in {}", digits.about())) }
}
