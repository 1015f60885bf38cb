//! Columns of hardware ids (MAC, EUI, IMEI) beside the serials: one board can't be two devices.
//!
//! A column is known by its name or by the look of its cells. One in which many rows share a value is not of the devices but
//! of something that they share, as a gateway, and nothing is said of it.

use std::ops::ControlFlow;

use crate::hardware_id::HardwareId;

use super::{
    BatchError,
    duplicates::{Again, Seen},
    finding::{Findings, Grid},
    kind::Kind,
    layout::Layout,
    record::Record,
    source::Source,
};

/// What such columns are called, without blanks and signs, in small letters.
const NAMES: [&str; 18] = [
    "mac",
    "macaddress",
    "macaddr",
    "macid",
    "wifimac",
    "wlanmac",
    "ethmac",
    "btmac",
    "blemac",
    "eui",
    "eui48",
    "eui64",
    "deveui",
    "deviceeui",
    "imei",
    "hwid",
    "hardwareid",
    "boardid",
];

/// One row in so many may share a value before the column counts as one of something shared.
const SHARED_ONE_IN: usize = 5;

/// True if a column holds hardware ids, by its name or by what most of its cells look like.
pub(super) fn is_of_boards<'t>(name: &str, mut texts: impl Iterator<Item = &'t str> + Clone) -> bool {
    let word: String = name.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    NAMES.contains(&word.as_str()) || (texts.clone().next().is_some() && texts.all(is_mac))
}

/// `AA:BB:CC:DD:EE:FF` in any of its spellings with signs. Twelve bare digits may be anything.
fn is_mac(text: &str) -> bool {
    let text = text.trim();
    text.contains([':', '-', '.'])
        && HardwareId::from_record(text).is_some_and(|id| {
            let bytes: Vec<&str> = id.as_str().split(':').collect();
            matches!(bytes.len(), 6 | 8)
                && bytes.iter().all(|byte| byte.len() == 2 && byte.bytes().all(|b| b.is_ascii_hexdigit()))
        })
}

/// The hardware ids seen so far, for each such column.
#[derive(Debug)]
pub(super) struct Boards(Vec<(usize, Seen)>);

impl Boards {
    /// Of the columns that the layout has found.
    pub(super) fn of(layout: &Layout) -> Self {
        Self(layout.boards.iter().map(|column| (*column, Seen::default())).collect())
    }

    /// Sees the row of a good serial.
    pub(super) fn see(&mut self, record: &Record) {
        for (column, seen) in &mut self.0 {
            if let Some(id) = HardwareId::from_record(record.get(*column)) {
                seen.see(id.as_str(), record.line);
            }
        }
    }

    /// Names each board that stands in more than one row.
    pub(super) fn conclude(
        self,
        source: &mut Source<'_>,
        path: &std::path::Path,
        grid: &Grid,
        findings: &mut Findings,
    ) -> Result<(), BatchError> {
        for (column, mut seen) in self.0 {
            seen.settle();
            let count = seen.count();
            let candidates = seen.candidates();
            if candidates.is_empty() || candidates.len() * SHARED_ONE_IN > count.max(2 * SHARED_ONE_IN) {
                continue;
            }
            let mut again = Again::default();
            source.each(path, &mut |record| {
                if candidates.binary_search(&record.line).is_ok()
                    && let Some(id) = HardwareId::from_record(record.get(column))
                    && let Some((first, _)) = again.first(id.as_str().to_owned(), String::new(), record.line)
                {
                    let place = format!("{} of {}", grid.column(column), grid.row(*first));
                    findings.add(Kind::BoardTwice, record.line, id.as_str(), || place);
                }
                ControlFlow::Continue(())
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_boards_are_known_by_name_and_by_look() {
        let is = |name: &str, texts: &[&'static str]| is_of_boards(name, texts.iter().copied());
        assert!(is("MAC address", &[]) && is("dev_eui", &["1"]) && is("IMEI", &["490154203237518"]));
        assert!(is("", &["AA:BB:CC:DD:EE:FF", "aabb.ccdd.eeff", "aa-bb-cc-dd-ee-01"]));
        assert!(
            !is("lot", &["W47", "W48"]) && !is("", &[]) && !is("", &["AA:BB:CC:DD:EE:FF", "red"]) && !is("x", &["001122334455"])
        );
    }
}
