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

    /// What makes no sense of it.
    pub(super) fn fault(&self) -> Option<String> {
        let unnamed = |name: &str| name.trim().is_empty();
        match self {
            Self::One(name) if unnamed(name) => Some("`product` is empty; leave it out where there is only one".to_owned()),
            Self::ByPrefix(names) if names.is_empty() => {
                Some("`product` has no prefix, so no serial would be any product's".to_owned())
            }
            Self::ByPrefix(names) => {
                let (prefix, _) = names.iter().find(|(_, name)| unnamed(name))?;
                Some(format!("`product` has no name for `{prefix}`"))
            }
            Self::One(_) => None,
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

    /// What serials begin with, where that says what they are.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = &str> {
        let names = if let Self::ByPrefix(names) = self { Some(names) } else { None };
        names.into_iter().flat_map(BTreeMap::keys).map(String::as_str)
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
