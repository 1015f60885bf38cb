//! Sets of rows, as `2 to 811`: a million rows with the same fault take as little as one.

use std::fmt::Write as _;

/// How many pieces a person reads in one line.
pub(super) const TOLD_MAX: usize = 20;

/// Rows, counted from 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges(Vec<(u32, u32)>);

impl From<u32> for Ranges {
    fn from(row: u32) -> Self {
        Self(vec![(row, row)])
    }
}

impl Ranges {
    /// Adds a row. Most often the one after the last.
    pub(super) fn add(&mut self, row: u32) {
        self.add_all(row, row);
    }

    /// Adds rows, both ends included.
    pub(super) fn add_all(&mut self, from: u32, to: u32) {
        match self.0.last_mut() {
            Some((_, last)) if *last + 1 == from => *last = to,
            _ => self.0.push((from, to)),
        }
    }

    /// Puts them in order, each row once.
    pub(super) fn sort(&mut self) {
        self.0.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(self.0.len().min(64));
        for (from, to) in self.0.drain(..) {
            match merged.last_mut() {
                Some((_, last)) if from <= last.saturating_add(1) => *last = to.max(*last),
                _ => merged.push((from, to)),
            }
        }
        self.0 = merged;
    }

    /// Adds all of another set.
    pub(super) fn join(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// Is the row among them? Only after [`Ranges::sort`], or if they were added in order.
    pub(super) fn has(&self, row: u32) -> bool {
        let after = self.0.partition_point(|(from, _)| *from <= row);
        after > 0 && self.0[after - 1].1 >= row
    }

    /// The first row.
    pub(super) fn first(&self) -> Option<u32> {
        self.0.first().map(|(from, _)| *from)
    }

    /// How many rows.
    pub fn count(&self) -> usize {
        self.0.iter().map(|(from, to)| (to - from) as usize + 1).sum()
    }

    /// Each piece, both ends included.
    pub fn pieces(&self) -> &[(u32, u32)] {
        &self.0
    }

    /// For people: `lines 3, 7, 9 to 12`; `cells B3, B9 to B12` with `one` = "cell", `before` = "B". At most so many pieces.
    pub(super) fn said(&self, one: &str, before: &str, pieces_max: usize) -> String {
        let mut text = one.to_owned();
        if self.count() > 1 {
            text.push('s');
        }
        for (at, (from, to)) in self.0.iter().take(pieces_max).enumerate() {
            text.push_str(if at == 0 { " " } else { ", " });
            let _ = match to - from {
                0 => write!(text, "{before}{from}"),
                1 => write!(text, "{before}{from}, {before}{to}"),
                _ => write!(text, "{before}{from} to {before}{to}"),
            };
        }
        if self.0.len() > pieces_max {
            text.push_str(", …");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_told_in_pieces() {
        let mut rows = Ranges::default();
        for row in [3, 4, 5, 9, 7, 11, 12] {
            rows.add(row);
        }
        rows.sort();
        assert_eq!(rows.said("line", "", 6), "lines 3 to 5, 7, 9, 11, 12");
        assert_eq!((rows.count(), rows.has(4), rows.has(6), rows.has(12), rows.has(2)), (7, true, false, true, false));
        for row in 0..10 {
            rows.add(100 + 2 * row);
        }
        assert_eq!(rows.said("cell", "B", 6), "cells B3 to B5, B7, B9, B11, B12, B100, B102, …");
    }
}
