//! `product`: what is made; one name for all serials, or one for each prefix.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::text::{Table, text};
use crate::serial::{SerialError, Shown};

/// `"button"`, or `{ "QD-1" = "button", "QD-2" = "gateway" }`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "`product` is a name, or a table of names by prefix: { \"QD-1\" = \"button\" }")]
pub(super) enum Product {
    One(String),
    ByPrefix(BTreeMap<String, String>),
}

impl Product {
    /// The name for that serial: of several prefixes that fit, the longest decides.
    pub(super) fn of(&self, serial: &str) -> Option<&str> {
        match self {
            Self::One(name) => Some(name),
            Self::ByPrefix(names) => {
                let fitting = names.iter().filter(|(prefix, _)| serial.starts_with(prefix.as_str()));
                fitting.max_by_key(|(prefix, _)| prefix.len()).map(|(_, name)| name.as_str())
            }
        }
    }

    /// As it is written.
    pub(super) fn toml(&self) -> String {
        match self {
            Self::One(name) => text(name),
            Self::ByPrefix(names) => {
                let mut table = Table::default();
                names.iter().for_each(|(prefix, name)| table.put(prefix, text(name)));
                table.inline()
            }
        }
    }

    /// Is it the serial of any product?
    pub(super) fn check(&self, serial: &str) -> Result<(), SerialError> {
        match self {
            Self::ByPrefix(names) if self.of(serial).is_none() => {
                let prefixes: Vec<_> = names.keys().map(String::as_str).collect();
                Err(SerialError::Rule {
                    serial: Shown::new(serial),
                    kind: "product",
                    why: format!("it begins with none of `{}`, so it is no product's", prefixes.join("`, `")),
                })
            }
            _ => Ok(()),
        }
    }
}
