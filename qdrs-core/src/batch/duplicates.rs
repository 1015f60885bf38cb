//! Which serials stand in a list twice, at 16 bytes a serial.
//!
//! A keyed hash of each normal form is kept with its row. Equal hashes are only candidates: their rows are read again and
//! compared, so two serials are never taken for one.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

/// The serials seen so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    by: RandomState,
    hashes: Vec<(u64, u32)>,
}

impl Seen {
    /// Sees the normal form in a row.
    pub(super) fn see(&mut self, serial: &str, row: u32) {
        self.hashes.push((self.by.hash_one(serial), row));
    }

    /// How many were seen.
    pub(super) fn count(&self) -> usize {
        self.hashes.len()
    }

    /// All have been seen: from here on they can be looked up.
    pub(super) fn settle(&mut self) {
        self.hashes.sort_unstable();
    }

    /// Was it seen? By its hash alone, so for a hint only; after [`Seen::settle`].
    pub(super) fn has(&self, serial: &str) -> bool {
        let hash = self.by.hash_one(serial);
        self.hashes.binary_search_by_key(&hash, |(known, _)| *known).is_ok()
    }

    /// As many as that, without looking at any.
    #[cfg(test)]
    pub(super) fn fill(&mut self, count: usize) {
        self.hashes.resize(count, (0, 0));
    }

    /// The rows that may be the same as others, in order; after [`Seen::settle`].
    pub(super) fn candidates(self) -> Vec<u32> {
        let alike = self.hashes.chunk_by(|a, b| a.0 == b.0).filter(|chunk| chunk.len() > 1);
        let mut rows: Vec<u32> = alike.flatten().map(|(_, row)| *row).collect();
        rows.sort_unstable();
        rows
    }
}

/// The candidates, read again: what is compared, and where it stood first in which form.
#[derive(Debug, Default)]
pub(super) struct Again(HashMap<String, (u32, String)>);

impl Again {
    /// The row where the same key stood first, and its form there, if it did.
    pub(super) fn first(&mut self, key: String, form: String, row: u32) -> Option<&(u32, String)> {
        match self.0.entry(key) {
            std::collections::hash_map::Entry::Occupied(first) => Some(first.into_mut()),
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert((row, form));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_serials_are_candidates_and_no_others_are_twins() {
        let mut seen = Seen::default();
        for (serial, row) in [("A1", 2), ("A2", 3), ("A1", 5), ("A3", 6), ("A2", 9), ("A1", 11)] {
            seen.see(serial, row);
        }
        seen.settle();
        assert!(seen.has("A3") && !seen.has("A4"));
        assert_eq!(seen.candidates(), [2, 3, 5, 9, 11]);
        let mut again = Again::default();
        let firsts = [("A1", "a1", 2), ("A2", "A2", 3), ("A1", "A1", 5)]
            .map(|(key, form, row)| again.first(key.into(), form.into(), row).cloned());
        assert_eq!(firsts, [None, None, Some((2, "a1".to_owned()))]);
    }
}
