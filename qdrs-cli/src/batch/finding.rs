//! What is wrong with a batch, or worth knowing: one sentence for each kind, with all of its rows.
//!
//! A few rows of a kind are told one by one, since somebody has to find each; more are one sentence with the first as its
//! example. A thousand rows that one spreadsheet damaged are one fault.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use qdrs_core::{api::Code, explain::Explain, serial::Shown};

use super::{damage::Damage, layout, ranges::Ranges};

/// How many rows of a kind that a person mends one by one are told one by one.
const ALONE_MAX: usize = 5;

/// What can be said of a row. In the order in which it is said when it concerns the same row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A spreadsheet or a person did something to the serial.
    Damaged(Damage),
    /// A numeric cell with more digits than a spreadsheet keeps.
    Rounded,
    /// `TRUE` where a serial should be.
    Truth,
    /// Zeros in front are gone.
    ZerosLost,
    /// The serial stands in another column.
    Shifted,
    /// No serial in a row that has something else.
    Missing,
    /// A sum under the list.
    Total,
    /// The serial runs over several lines.
    Lines,
    /// It stands in the list before.
    Duplicate,
    /// The policy, or what holds for every serial, refuses it. The word tells its kinds apart.
    Refused(&'static str),
    /// The row never ends.
    TooLong,
    /// More columns than any list has.
    TooWide,
    /// More rows than a batch may have.
    TooMany,
    /// The service knows the serial, and it can't be made.
    NotFree(&'static str),

    /// The file was read as Windows-1252, or has bytes that are no text.
    Encoding,
    /// Rows above the header.
    Title,
    /// The column was found by its looks.
    Guessed,
    /// Lines for people.
    Comment,
    /// Nothing in the row.
    EmptyRow,
    /// More cells than the header has names.
    Wider,
    /// Blanks around the serial.
    Blanks,
    /// Non-breaking ones.
    NonBreaking,
    /// `'` or `="…"` around the serial.
    Marked,
    /// A number that has all of its digits.
    Number,
    /// A number whose format shows its zeros.
    Padded,
    /// A formula's last value.
    Cached,
    /// Small letters where the others have capitals.
    Letters,
    /// Numbers that are shorter than the others and may have lost zeros.
    Shorter,
    /// A serial that looks like no other.
    Odd,
    /// Further columns that are too long to come along.
    ExtraCut,
    /// The service knows the serial.
    Known(&'static str),
}

impl Kind {
    /// Does it keep the row from being made?
    pub fn is_fault(self) -> bool {
        self < Self::Encoding
    }

    /// The word in `--json`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Damaged(Damage::Exponent) => "exponent",
            Self::Damaged(Damage::Date) => "date",
            Self::Damaged(Damage::Grouped) => "thousands-separators",
            Self::Damaged(Damage::Decimal) => "decimals",
            Self::Damaged(Damage::Formula) => "formula",
            Self::Damaged(Damage::ErrorValue) => "error-value",
            Self::Damaged(Damage::Hashes) => "column-too-narrow",
            Self::Damaged(Damage::TypographicQuotes) => "typographic-quotes",
            Self::Damaged(Damage::FullWidth) => "full-width",
            Self::Rounded => "rounded",
            Self::Truth => "truth-value",
            Self::ZerosLost => "zeros-lost",
            Self::Shifted => "shifted",
            Self::Missing => "no-serial",
            Self::Total => "total-row",
            Self::Lines => "several-lines",
            Self::Duplicate => "duplicate",
            Self::Refused(_) => "serial-invalid",
            Self::TooLong => "row-too-long",
            Self::TooWide => "too-many-columns",
            Self::TooMany => "too-many-rows",
            Self::NotFree(state) | Self::Known(state) => state,
            Self::Encoding => "encoding",
            Self::Title => "title",
            Self::Guessed => "column-guessed",
            Self::Comment => "comment",
            Self::EmptyRow => "empty-row",
            Self::Wider => "row-wider",
            Self::Blanks => "blanks",
            Self::NonBreaking => "non-breaking-blanks",
            Self::Marked => "text-mark",
            Self::Number => "number",
            Self::Padded => "padded-number",
            Self::Cached => "formula-value",
            Self::Letters => "letter-case",
            Self::Shorter => "shorter",
            Self::Odd => "odd",
            Self::ExtraCut => "columns-cut",
        }
    }

    /// Does the advice how to export rightly help against it?
    fn is_spreadsheets_doing(self) -> bool {
        match self {
            Self::Damaged(damage) => !matches!(damage, Damage::TypographicQuotes | Damage::FullWidth),
            Self::Rounded | Self::Truth | Self::ZerosLost | Self::Shifted => true,
            _ => false,
        }
    }

    /// Is each row of it for somebody to look at, rather than all to be exported again?
    fn is_mended_row_by_row(self) -> bool {
        matches!(
            self,
            Self::Refused(_) | Self::Duplicate | Self::Missing | Self::Lines | Self::NotFree(_) | Self::Shifted | Self::Odd
        )
    }

    /// The sentence for one row, and for several with the first as example. `{x}` is its text, `{y}` what belongs to it.
    fn sentences(self) -> (&'static str, &'static str) {
        match self {
            Self::Damaged(Damage::Exponent) => (
                "`{x}` is a serial that a spreadsheet took for a number; its last digits are lost",
                "a spreadsheet took these serials for numbers, as `{x}`; their last digits are lost",
            ),
            Self::Damaged(Damage::Date) => {
                ("`{x}` is a date that a spreadsheet made of the serial", "a spreadsheet made dates of these serials, as `{x}`")
            }
            Self::Damaged(Damage::Grouped) => (
                "`{x}` is a number with thousands separators, not what is on the label",
                "these are numbers with thousands separators, as `{x}`, not what is on the labels",
            ),
            Self::Damaged(Damage::Decimal) => (
                "`{x}` has decimals: a program took the serial for a quantity, and zeros in front may be lost",
                "these have decimals, as `{x}`: a program took the serials for quantities, and zeros in front may be lost",
            ),
            Self::Damaged(Damage::Formula) => (
                "`{x}` is a formula, not its value; copy the column and paste it as values",
                "these are formulas, as `{x}`, not their values; copy the column and paste it as values",
            ),
            Self::Damaged(Damage::ErrorValue) => (
                "`{x}` is the error of a formula, not a serial; mend the formula, or delete the row",
                "these are errors of formulas, as `{x}`, not serials; mend the formulas, or delete the rows",
            ),
            Self::Damaged(Damage::Hashes) => (
                "`{x}` stood there because the column was too narrow; make it wider and export again",
                "`{x}` stood there because the column was too narrow; make it wider and export again",
            ),
            Self::Damaged(Damage::TypographicQuotes) => (
                "`{x}` has typographic quotation marks, as a word processor makes them; take them out",
                "these have typographic quotation marks, as `{x}`: a word processor made them; take them out",
            ),
            Self::Damaged(Damage::FullWidth) => (
                "`{x}` is in full-width characters; type it again with the keyboard set to plain Latin letters",
                "these are in full-width characters, as `{x}`; type them again with the keyboard set to plain Latin letters",
            ),
            Self::Rounded => {
                ("`{x}` is a number, and {y}; the serial is lost", "these are numbers, as `{x}`, and {y}; the serials are lost")
            }
            Self::Truth => (
                "`{x}` is a truth value that a spreadsheet made of the serial",
                "these are truth values that a spreadsheet made of the serials, as `{x}`",
            ),
            Self::ZerosLost => (
                "`{x}` has lost its zeros in front; it should be {y}",
                "these serials have lost their zeros in front, as `{x}`, which should be {y}",
            ),
            Self::Shifted => (
                "the row is shifted: `{x}` stands where the serial should, and the serial stands in {y}",
                "these rows are shifted: in the first, `{x}` stands where the serial should, and the serial stands in {y}",
            ),
            Self::Missing => (
                "the row has no serial; write it in, or delete the row",
                "these rows have no serial; write them in, or delete the rows",
            ),
            Self::Total => (
                "`{x}` is a total under the list, not a serial; delete the row",
                "these rows are totals, as `{x}`, not serials; delete them",
            ),
            Self::Lines => (
                "the serial runs over several lines, from `{x}`; is a quotation mark not closed?",
                "these serials run over several lines, the first from `{x}`; is a quotation mark not closed?",
            ),
            Self::Duplicate => (
                "serial `{x}` stands in {y} already; take one of them out",
                "these serials stand in the list already; the first is `{x}`, which stands in {y} too",
            ),
            Self::Refused(_) => ("{y}", "these serials are refused; the first: {y}"),
            Self::TooLong => (
                "the row does not end within 64 KiB; close the quotation mark that is open",
                "the row does not end within 64 KiB; close the quotation mark that is open",
            ),
            Self::TooWide => (
                "the row has more than 256 columns; is it a list with one serial a row?",
                "the row has more than 256 columns; is it a list with one serial a row?",
            ),
            Self::TooMany => (
                "a batch has at most {y} serials, and here begins one more; divide it into several files",
                "a batch has at most {y} serials, and here begins one more; divide it into several files",
            ),
            Self::NotFree(_) => ("serial `{x}` {y}", "these serials can't be made; the first: `{x}` {y}"),
            Self::Encoding => ("{y}", "{y}"),
            Self::Title => ("above the header, left out", "above the header, left out"),
            Self::Guessed => ("the serials are taken from {y}, by their looks", "the serials are taken from {y}, by their looks"),
            Self::Comment => ("a comment, left out", "comments, left out"),
            Self::EmptyRow => ("an empty row in the list, left out", "empty rows in the list, left out"),
            Self::Wider => (
                "the row has more cells than the header; the serial is where it should be, so it is taken",
                "these rows have more cells than the header; the serials are where they should be, so they are taken",
            ),
            Self::Blanks => ("blanks around `{x}` are left out", "blanks around these serials are left out, as around `{x}`"),
            Self::NonBreaking => (
                "non-breaking blanks around `{x}`, as web pages have them, are left out",
                "non-breaking blanks around these serials, as web pages have them, are left out; the first is `{x}`",
            ),
            Self::Marked => (
                "`{x}` is marked as text; it is taken as `{y}`",
                "these are marked as text, as `{x}`; they are taken without the mark, as `{y}`",
            ),
            Self::Number => (
                "`{x}` is a number, not text; it is taken, since {y}",
                "these are numbers, not text, as `{x}`; they are taken, since {y}",
            ),
            Self::Padded => (
                "a number that is shown as `{x}`; it is taken as it is shown",
                "numbers that are shown with zeros, as `{x}`; they are taken as they are shown",
            ),
            Self::Cached => ("a formula; its last value `{x}` is taken", "formulas; their last values are taken, as `{x}`"),
            Self::Letters => (
                "`{x}` is in other letters than {y}; it is taken",
                "these are in other letters than {y}, as `{x}`; they are taken",
            ),
            Self::Shorter => (
                "`{x}` has fewer digits than {y}; if it had zeros in front, they are lost",
                "these have fewer digits than {y}, as `{x}`; if they had zeros in front, those are lost",
            ),
            Self::Odd => (
                "`{x}` looks like no other serial of the list, as {y}",
                "these look like no other serials of the list, as `{x}` beside {y}",
            ),
            Self::ExtraCut => (
                "what stands in the further columns is longer than 2 KiB; the end of it is not kept",
                "what stands in the further columns is longer than 2 KiB; the end of it is not kept",
            ),
            Self::Known(_) => ("serial `{x}` {y}", "these serials: {y}; the first is `{x}`"),
        }
    }
}

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
    /// The file.
    pub path: PathBuf,
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
    fn place(&self, kind: Kind, rows: &Ranges) -> String {
        let whole_row = matches!(kind, Kind::Comment | Kind::EmptyRow | Kind::Title | Kind::Wider);
        let mut place = match &self.letter {
            Some(_) if whole_row => rows.said("row", ""),
            Some(letter) => rows.said("cell", letter),
            None => rows.said("line", ""),
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

    pub(super) fn column(&self, column: usize) -> String {
        layout::place(column, self.letter.is_some())
    }
}

/// The first of a kind are kept, to be told one by one or as an example.
#[derive(Debug, Default)]
struct Group {
    rows: Ranges,
    examples: Vec<(u32, String, String)>,
}

/// All that was found, by kind.
#[derive(Debug, Default)]
pub(super) struct Findings(BTreeMap<Kind, Group>);

impl Findings {
    /// Adds a row. `x` and `y` are asked for only while examples are wanted.
    pub(super) fn add(&mut self, kind: Kind, row: u32, x: &str, y: impl FnOnce() -> String) {
        let group = self.0.entry(kind).or_default();
        group.rows.add(row);
        if group.examples.len() < ALONE_MAX {
            group.examples.push((row, Shown::new(x).to_string(), y()));
        }
    }

    /// Adds many rows with the first as example.
    pub(super) fn add_rows(&mut self, kind: Kind, rows: &Ranges, x: &str, y: &str) {
        let Some(first) = rows.first() else { return };
        let group = self.0.entry(kind).or_default();
        group.rows.join(rows);
        group.examples.push((first, Shown::new(x).to_string(), y.to_owned()));
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
            let mut say = |rows: Ranges, (_, x, y): &(u32, String, String)| {
                let (one, many) = kind.sentences();
                let what = if rows.count() > 1 { many } else { one };
                // The text of the file last: whatever it holds, it is not a place to put something.
                let what = what.split("{y}").map(|part| part.replace("{x}", x)).collect::<Vec<_>>().join(y);
                let place = if rows.count() == 0 { String::new() } else { grid.place(kind, &rows) };
                told.push(Finding { kind, rows, place, what, path: grid.path.clone() });
            };
            if kind.is_mended_row_by_row() && group.rows.count() == group.examples.len() {
                for example in &group.examples {
                    let mut row = Ranges::default();
                    row.add(example.0);
                    say(row, example);
                }
            } else if let Some(first) = group.examples.iter().min_by_key(|example| example.0) {
                say(group.rows.clone(), first);
            }
        }
        told.sort_by_key(|finding| (!finding.kind.is_fault(), finding.rows.first().unwrap_or(0), finding.kind));
        told
    }
}

/// How to export rightly, if that would have helped.
pub fn advice(findings: &[Finding]) -> Option<&'static str> {
    findings.iter().any(|finding| finding.kind.is_spreadsheets_doing()).then_some(
        "export the list again: format the serials' column as Text before the serials go in, then save as `CSV UTF-8`; \
         or hand in the .xlsx itself",
    )
}
