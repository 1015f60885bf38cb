//! A policy as text: TOML that reads back as the same policy, in the order of the reference, and nothing that goes without
//! saying. Comments are not kept.
//!
//! Each part of a policy puts its own keys into a [`Table`]; a new key is printed where it is read.

use std::fmt::{self, Display};

use toml_writer::{ToTomlKey as _, ToTomlValue as _, TomlKeyBuilder, TomlStringBuilder};

use super::{Policy, Quota, Written, default_evidence};

/// The longest list that stands on one line, in bytes.
const LINE_BYTES_MAX: usize = 100;

/// Keys and their values in TOML, in the order in which they are put.
#[derive(Debug, Default)]
pub(super) struct Table(Vec<(String, String)>);

impl Table {
    /// A key with its value, which is TOML already.
    pub(super) fn put(&mut self, key: &str, value: impl Display) {
        let key = TomlKeyBuilder::new(key);
        self.0.push((key.as_unquoted().unwrap_or_else(|| key.as_basic()).to_toml_key(), value.to_string()));
    }

    /// The same, unless there is no value.
    pub(super) fn put_some(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    /// On one line, but for long lists in it.
    pub(super) fn inline(&self) -> String {
        let pairs: Vec<_> = self.0.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        format!("{{ {} }}", pairs.join(", "))
    }

    /// A key a line.
    fn lines(&self) -> String {
        self.0.iter().map(|(key, value)| format!("{key} = {value}\n")).collect()
    }
}

/// A text in quotes.
pub(super) fn text(text: &str) -> String {
    let text = TomlStringBuilder::new(text);
    text.as_basic_pretty().or_else(|| text.as_literal()).unwrap_or_else(|| text.as_basic()).to_toml_value()
}

/// A text in which a backslash is itself, as in patterns.
pub(super) fn literal(text: &str) -> String {
    let text = TomlStringBuilder::new(text);
    text.as_literal().unwrap_or_else(|| text.as_basic()).to_toml_value()
}

/// A list, an item a line where one line would be too long.
pub(super) fn list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<_> = items.into_iter().collect();
    let line = format!("[{}]", items.join(", "));
    if line.len() <= LINE_BYTES_MAX && !line.contains('\n') {
        return line;
    }
    // No text holds a line end as it is, so whatever begins a line here may be moved to the right.
    let lines: String = items.iter().map(|item| format!("    {},\n", item.replace('\n', "\n    "))).collect();
    format!("[\n{lines}]")
}

/// Its TOML, without the name.
impl Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Written { product, example, least_evidence, device_id, form, rules, quota } = &self.written;
        let mut head = Table::default();
        head.put_some("product", product.as_ref().map(super::Product::toml));
        head.put_some("example", example.as_deref().map(text));
        if *least_evidence != default_evidence() {
            head.put("least_evidence", text(least_evidence.as_str()));
        }
        if *device_id != super::Template::default() {
            head.put("device_id", text(&device_id.to_string()));
        }
        let Quota { total, per_day } = quota;
        let mut quota = Table::default();
        quota.put_some("total", *total);
        quota.put_some("per_day", *per_day);

        let rules = rules.iter().map(|rule| ("[[rule]]\n", rule.table(&[])));
        let tables = [("", head), ("[form]\n", form.table())].into_iter().chain(rules).chain([("[quota]\n", quota)]);
        let printed: Vec<_> =
            tables.filter(|(_, table)| !table.0.is_empty()).map(|(header, table)| format!("{header}{}", table.lines())).collect();
        f.write_str(&printed.join("\n"))
    }
}
