//! What stands in a batch beside a serial (lot, colour, order): it comes along into journal and report.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::Arc,
};

use crate::api::{COLUMN_BYTES_MAX, COLUMNS_MAX};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
    ser::SerializeMap,
};

/// The most that comes along with one serial, in bytes.
pub(super) const EXTRA_BYTES_MAX: usize = 2048;
/// The most that comes along with all serials of a batch, in bytes; what several have alike counts once.
const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Of how many rows it is known what they have, to be shared by others that have the same.
const SHARED_MAX: usize = 1024;

/// Parts the values; a control character, which no value keeps.
const BETWEEN: char = '\u{1f}';

/// Named values of one serial, in the batch's order. The names are shared by all rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extra {
    names: Arc<[String]>,
    values: Arc<str>,
}

/// Keeps what stands beside the serials of one batch: its names once, and what is the same in many rows once.
#[derive(Debug)]
pub(super) struct Extras {
    names: Arc<[String]>,
    shared: HashSet<Arc<str>>,
    bytes: usize,
}

impl Extras {
    /// Of columns with these names. Two of one name become `lot` and `lot (2)`, so that each is found by its own.
    pub(super) fn new(names: impl IntoIterator<Item = String>) -> Self {
        let mut own: Vec<String> = Vec::new();
        for name in names {
            let numbered = (2..).map(|number| format!("{name} ({number})"));
            let free = std::iter::once(name.clone()).chain(numbered).find(|name| !own.contains(name));
            own.push(free.unwrap_or(name));
        }
        Self { names: own.into(), shared: HashSet::new(), bytes: 0 }
    }

    /// Keeps one row's. False when something was cut off, since it was too long.
    pub(super) fn keep<'v>(&mut self, values: impl Iterator<Item = &'v str>) -> (Extra, bool) {
        let (mut extra, whole) = Extra::new(&self.names, values);
        if extra.is_empty() {
            return (extra, whole);
        }
        if let Some(same) = self.shared.get(&extra.values) {
            extra.values = Arc::clone(same);
            return (extra, whole);
        }
        self.bytes += extra.values.len();
        if self.bytes > BATCH_BYTES_MAX {
            return (Extra::default(), false);
        }
        if self.shared.len() >= SHARED_MAX {
            self.shared.clear();
        }
        self.shared.insert(Arc::clone(&extra.values));
        (extra, whole)
    }
}

impl Extra {
    /// Puts them together. False when something was cut off, since it was too long.
    pub(super) fn new<'v>(names: &Arc<[String]>, values: impl Iterator<Item = &'v str>) -> (Self, bool) {
        let (mut joined, mut whole) = (String::new(), true);
        for (at, value) in values.take(names.len()).enumerate() {
            if at > 0 {
                joined.push(BETWEEN);
            }
            for c in value.trim().chars() {
                if joined.len() + c.len_utf8() + names.len() > EXTRA_BYTES_MAX {
                    whole = false;
                    break;
                }
                joined.push(if c.is_control() { ' ' } else { c });
            }
        }
        let nothing = joined.chars().all(|c| c == BETWEEN);
        (if nothing { Self::default() } else { Self { names: Arc::clone(names), values: joined.into() } }, whole)
    }

    /// The values that are there, each with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.iter().map(String::as_str).zip(self.values.split(BETWEEN)).filter(|(_, value)| !value.is_empty())
    }

    /// As many of them, and as much of each, as a registration carries.
    pub fn columns(&self) -> BTreeMap<String, String> {
        // Cut between two characters.
        let short = |text: &str| {
            let whole = text.char_indices().take_while(|(at, c)| at + c.len_utf8() <= COLUMN_BYTES_MAX);
            whole.map(|(_, c)| if c.is_control() { ' ' } else { c }).collect()
        };
        let named = self.iter().filter(|(name, _)| !name.trim().is_empty());
        named.take(COLUMNS_MAX).map(|(name, value)| (short(name), short(value))).collect()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The value of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

impl Serialize for Extra {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Extra {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Extra;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("names with their texts")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Extra, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry::<String, String>()? {
                    pairs.push(pair);
                }
                let (names, values): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
                Ok(Extra::new(&names.into(), values.iter().map(String::as_str)).0)
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_names_and_their_order_through_json() {
        let names: Arc<[String]> = ["lot", "colour", "an empty one", "note"].map(str::to_owned).into();
        let (extra, whole) = Extra::new(&names, ["W47", " red ", "", "two\nlines"].into_iter());
        assert!(whole);
        let json = serde_json::to_string(&extra).expect("serialises");
        assert_eq!(json, r#"{"lot":"W47","colour":"red","note":"two lines"}"#);
        let back: Extra = serde_json::from_str(&json).expect("reads");
        assert!(back.iter().eq(extra.iter()));
        assert_eq!((back.get("note"), back.get("an empty one"), back.get("size")), (Some("two lines"), None, None));
    }

    #[test]
    fn two_columns_of_one_name_are_told_apart_and_equal_rows_share_their_values() {
        let mut extras = Extras::new(["lot", "lot (2)", "lot", "lot"].map(str::to_owned));
        let (first, _) = extras.keep(["A", "B", "C", "D"].into_iter());
        let named: Vec<_> = first.iter().collect();
        assert_eq!(named, [("lot", "A"), ("lot (2)", "B"), ("lot (3)", "C"), ("lot (4)", "D")]);
        let (second, _) = extras.keep(["A", "B", "C", "D"].into_iter());
        assert!(Arc::ptr_eq(&first.values, &second.values));
    }

    #[test]
    fn a_batch_keeps_no_more_than_its_share() {
        let mut extras = Extras::new(["note".to_owned()]);
        let kept = (0..60_000).filter(|row| extras.keep([format!("{row:0>2000}").as_str()].into_iter()).1).count();
        assert_eq!(kept, BATCH_BYTES_MAX / 2000);
    }

    #[test]
    fn a_registration_carries_what_the_service_takes() {
        let names: Arc<[String]> = (0..20).map(|n| format!("c{n}")).collect();
        let (extra, _) = Extra::new(&names, std::iter::repeat_n("x", 20));
        assert_eq!(extra.columns().len(), COLUMNS_MAX);
        let names: Arc<[String]> = ["note".to_owned(), " ".to_owned()].into();
        let (extra, _) = Extra::new(&names, [format!("x{}", "é".repeat(150)).as_str(), "nameless"].into_iter());
        let columns = extra.columns();
        assert_eq!((columns.len(), columns["note"].len()), (1, 199), "cut between two characters");
    }

    #[test]
    fn what_is_too_long_is_cut_and_nothing_is_no_extra() {
        let names: Arc<[String]> = ["a".to_owned(), "b".to_owned()].into();
        let (extra, whole) = Extra::new(&names, [&*"ä".repeat(3000), "x"].into_iter());
        assert!(!whole && extra.get("a").is_some_and(|text| text.len() <= EXTRA_BYTES_MAX));
        assert!(Extra::new(&names, ["", " "].into_iter()).0.is_empty());
    }
}
