//! What is wrong with a batch, or worth knowing: one sentence for each kind, with all of its rows.
//!
//! A few rows of a kind are told one by one, since somebody has to find each; more are one sentence with the first as its
//! example. A thousand rows that one spreadsheet damaged are one fault.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use crate::{
    api::Code,
    explain::Explain,
    serial::{SERIAL_BYTES_MAX, Shown},
};

use super::{
    kind::Kind,
    layout,
    ranges::{Ranges, TOLD_MAX},
    secret,
};

/// How many rows of a kind that a person mends one by one are told one by one.
const ALONE_MAX: usize = 20;
/// How many rows of such a kind keep a sentence of their own, for a report.
const SENTENCES_MAX: usize = 10_000;
/// How many refused serials are held against those that they may have been.
const NEAREST_MAX: usize = 100;
/// How much of a text is repeated, in characters.
const SHOWN_CHARS_MAX: usize = 48;

/// One thing to say, with all rows that it concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// The rows; none when it concerns the whole file.
    pub rows: Ranges,
    /// Where, in words: `lines 2 to 811 (810 rows)`.
    pub place: String,
    /// The sentence, without the place.
    pub what: String,
    /// Where the sentence is of many rows that a person mends one by one: each row with its own, of the first 10,000.
    pub each: Vec<(u32, String)>,
    /// The file.
    pub path: PathBuf,
}

impl Finding {
    /// Are there rows in it that nobody could read?
    pub(super) fn loses_rows(&self) -> bool {
        matches!(self.kind, Kind::Lines | Kind::Unclosed) && self.rows.count() > 1
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Finding {}

impl Explain for Finding {
    fn code(&self) -> Code {
        Code::BatchInvalid
    }

    fn at(&self) -> Option<String> {
        let path = self.path.display();
        Some(if self.place.is_empty() { path.to_string() } else { format!("{path}, {}", self.place) })
    }
}

/// How a file calls its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) path: PathBuf,
    /// The column's letter, of a sheet.
    pub(super) letter: Option<String>,
}

impl Grid {
    /// `lines 2, 5, 8`, at most so many pieces.
    pub(super) fn place(&self, kind: Kind, rows: &Ranges, pieces_max: usize) -> String {
        if rows.count() == 0 {
            return String::new();
        }
        let whole_row =
            matches!(kind, Kind::BoardTwice | Kind::Comment | Kind::EmptyRow | Kind::Title | Kind::Header | Kind::Wider);
        let mut place = match &self.letter {
            Some(_) if whole_row => rows.said("row", "", pieces_max),
            Some(letter) => rows.said("cell", letter, pieces_max),
            None => rows.said("line", "", pieces_max),
        };
        if rows.pieces().iter().any(|(from, to)| to - from > 1) || rows.pieces().len() > 6 {
            place.push_str(&format!(" ({} rows)", rows.count()));
        }
        place
    }

    pub(super) fn is_sheet(&self) -> bool {
        self.letter.is_some()
    }

    /// `line 3`, `cell B3`.
    pub(super) fn one(&self, row: u32) -> String {
        match &self.letter {
            Some(letter) => format!("cell {letter}{row}"),
            None => format!("line {row}"),
        }
    }

    /// `line 3`, `row 3`.
    pub(super) fn row(&self, row: u32) -> String {
        format!("{} {row}", if self.is_sheet() { "row" } else { "line" })
    }

    pub(super) fn column(&self, column: usize) -> String {
        layout::place(column, self.letter.is_some())
    }
}

/// The first of a kind are kept, to be told one by one or as an example. In the order of the file.
#[derive(Debug, Default)]
struct Group {
    rows: Ranges,
    examples: Vec<Example>,
}

/// A row, its text, and what belongs to it.
type Example = (u32, String, String);

/// All that was found, by kind.
#[derive(Debug, Default)]
pub(super) struct Findings(BTreeMap<Kind, Group>);

impl Findings {
    /// Adds a row. `x` and `y` are asked for only while examples are wanted.
    pub(super) fn add(&mut self, kind: Kind, row: u32, x: &str, y: impl FnOnce() -> String) {
        let group = self.0.entry(kind).or_default();
        group.rows.add(row);
        if group.examples.len() < if kind.is_mended_row_by_row() || kind == Kind::ZerosLost { SENTENCES_MAX } else { 1 } {
            // What is refused is not shown again, but compared with what is near it.
            let x = if matches!(kind, Kind::Refused(_)) { x.chars().take(SERIAL_BYTES_MAX).collect() } else { shown(x) };
            group.examples.push((row, x, y()));
        }
    }

    /// Adds many rows with the first as example.
    pub(super) fn add_rows(&mut self, kind: Kind, rows: &Ranges, x: &str, y: &str) {
        let Some(first) = rows.first() else { return };
        let group = self.0.entry(kind).or_default();
        group.rows.join(rows);
        group.examples.push((first, shown(x), y.to_owned()));
    }

    /// Adds rows that one fault takes with it, both ends included. Returns how many.
    pub(super) fn add_taken(&mut self, kind: Kind, from: u32, to: u32, x: &str) -> usize {
        let group = self.0.entry(kind).or_default();
        group.rows.add_all(from, to);
        if group.examples.is_empty() {
            group.examples.push((from, shown(x), String::new()));
        }
        (to.saturating_sub(from) as usize) + 1
    }

    /// Adds rows that need no example, both ends included.
    pub(super) fn add_range(&mut self, kind: Kind, from: u32, to: u32) {
        let group = self.0.entry(kind).or_default();
        group.rows.add_all(from, to);
        if group.examples.is_empty() {
            group.examples.push((from, String::new(), String::new()));
        }
    }

    /// Adds what concerns no row.
    pub(super) fn add_whole(&mut self, kind: Kind, y: String) {
        self.0.entry(kind).or_default().examples.push((0, String::new(), y));
    }

    /// Says of serials that lost their zeros which of them stand in the list already with them, so that none is made twice.
    pub(super) fn note_listed(&mut self, is_listed: &dyn Fn(&str) -> bool) {
        let Some(group) = self.0.get_mut(&Kind::ZerosLost) else { return };
        let whole = |y: &str| y.strip_prefix('`').and_then(|y| y.strip_suffix('`')).map(str::to_owned);
        let Some(twin) = group.examples.iter().filter_map(|(_, _, y)| whole(y)).find(|whole| is_listed(whole)) else { return };
        if let Some((_, _, y)) = group.examples.first_mut() {
            y.push_str(&format!("; but `{twin}` stands in the list already, so take one of the two out"));
        }
    }

    /// Adds to each serial that the policy refuses which one it may have been. For the examples only: nobody reads more.
    pub(super) fn explain(&mut self, nearest: &dyn Fn(&str) -> Option<String>) {
        for (_, group) in self.0.iter_mut().filter(|(kind, _)| matches!(kind, Kind::Refused(_))) {
            for (_, text, why) in group.examples.iter_mut().take(NEAREST_MAX) {
                if let Some(nearest) = nearest(text) {
                    why.push_str("; ");
                    why.push_str(&nearest);
                }
            }
        }
    }

    /// Each kind, and how many rows it has.
    #[cfg(test)]
    pub(super) fn counts(&self) -> Vec<(&'static str, usize)> {
        self.0.iter().map(|(kind, group)| (kind.word(), group.rows.count())).collect()
    }

    /// All rows that have a fault.
    pub(super) fn bad(&self) -> Ranges {
        let mut bad = Ranges::default();
        self.0.iter().filter(|(kind, _)| kind.is_fault()).for_each(|(_, group)| bad.join(&group.rows));
        bad.sort();
        bad
    }

    /// Faults first, then what is only worth knowing; each in the order of the file.
    pub(super) fn told(self, grid: &Grid) -> Vec<Finding> {
        let mut told = Vec::new();
        for (kind, mut group) in self.0 {
            group.rows.sort();
            group.examples.sort_by_key(|example| example.0);
            let one = |example: &Example| filled(kind.sentences().0, example);
            let mut say = |rows: Ranges, what: String, each: Vec<(u32, String)>| {
                let place = grid.place(kind, &rows, TOLD_MAX);
                told.push(Finding { kind, rows, place, what, each, path: grid.path.clone() });
            };
            let (count, kept) = (group.rows.count(), group.examples.len());
            if kind.is_mended_row_by_row() && count == kept && count <= ALONE_MAX {
                for example in &group.examples {
                    say(Ranges::from(example.0), one(example), Vec::new());
                }
            } else if let Some(first) = group.examples.first() {
                let what = if count > 1 { filled(kind.sentences().1, first) } else { one(first) };
                let each = group.examples.iter().filter(|_| kind.is_mended_row_by_row());
                let each = each.map(|example| (example.0, one(example))).collect();
                say(group.rows, what, each);
            }
        }
        told.sort_by_key(|finding| (!finding.kind.is_fault(), finding.rows.first().unwrap_or(0), finding.kind));
        told
    }
}

/// A sentence with what belongs to it.
fn filled(sentence: &str, (_, x, y): &Example) -> String {
    // The text of the file last: whatever it holds, it is not a place to put something.
    sentence.split("{y}").map(|part| part.replace("{x}", x)).collect::<Vec<_>>().join(y)
}

/// A text as a person sees it in the spreadsheet, but never longer than a line, nothing that can't be seen, and no key.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::new();
    for (count, c) in secret::masked(text).chars().enumerate() {
        match c {
            _ if count == SHOWN_CHARS_MAX => {
                shown.push('…');
                break;
            }
            '\u{a0}' | '\u{202f}' | '\u{2007}' | '\u{2009}' => shown.push(' '),
            '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}' | '\u{2032}' | '\u{2033}' | '\u{ff01}'..='\u{ff5e}' => shown.push(c),
            _ => shown.push_str(&Shown::new(c.encode_utf8(&mut [0; 4])).to_string()),
        }
    }
    shown
}

/// How to export rightly, if that would have helped.
pub fn advice(examined: &super::Examined) -> Option<&'static str> {
    examined.findings.iter().any(|finding| finding.kind.is_spreadsheets_doing()).then_some(if examined.grid.is_sheet() {
        "make the list again from its source: first format the serials' column as Text, then put the serials in"
    } else {
        "export the list again from its source: format the serials' column as Text before the serials go in, then save as \
         `CSV UTF-8`, or hand in the .xlsx itself"
    })
}
