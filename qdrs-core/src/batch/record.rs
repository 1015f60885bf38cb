//! One row of a batch as it was read, before anybody knows which column is which.

use std::rc::Rc;

use super::kind::Kind;

/// The most columns that are looked at; what stands further right is left out.
pub(super) const COLUMNS_MAX: usize = 256;

/// What a sheet's cell says of its value beyond its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Cell {
    /// Text: what was typed is what is there. Every field of a text file is one.
    #[default]
    Text,
    /// A number that is shown as it was typed, but for zeros in front of it.
    Number,
    /// A number that its format shows in another way, as with zeros: the text is what is shown.
    Padded,
    /// A number, or a text, that its format shows in a way that can't be known: the text is what the cell holds.
    Masked,
    /// A number below zero.
    Negative,
    /// A number with more digits than a spreadsheet keeps, or with a fraction.
    Rounded,
    /// A date or a time.
    Date,
    /// `TRUE` or `FALSE`.
    Bool,
    /// `#REF!` and its like.
    Error,
}

/// Why a row of a text file is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// It is longer than any row; its beginning is its only cell.
    Long,
    /// It has more than [`COLUMNS_MAX`] columns; the last cell is all that is too much.
    Wide,
    /// It is within quotation marks to the last line of the file.
    Unclosed,
}

/// One row. Reused from row to row, so that a million of them cost no allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Where it begins in the file: the line, or the sheet's row; counted from 1.
    pub(super) line: u32,
    /// How many further lines of a text file it runs over.
    pub(super) lines_more: u32,
    /// Can nobody tell its cells?
    pub(super) broken: Option<Broken>,
    /// All cells, one after the other.
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
    /// Of a sheet: what each cell is. Empty for a text file.
    kinds: Vec<Cell>,
    /// The number formats of cells that are [`Cell::Masked`], by their columns.
    formats: Vec<(usize, Rc<str>)>,
}

impl Record {
    /// The cell of a column, counted from 0; empty when the row is shorter.
    pub(super) fn get(&self, column: usize) -> &str {
        match self.ends.get(column) {
            Some(end) => {
                let start = if column == 0 { 0 } else { self.ends[column - 1] };
                self.text.get(start..*end).unwrap_or_default()
            }
            None => "",
        }
    }

    /// What the cell is.
    pub(super) fn kind(&self, column: usize) -> Cell {
        self.kinds.get(column).copied().unwrap_or_default()
    }

    /// What is said of it if nobody can tell its cells.
    pub(super) fn fault(&self) -> Option<Kind> {
        Some(match self.broken? {
            Broken::Long if self.lines_more == 0 => Kind::TooLong,
            Broken::Long => Kind::Lines,
            Broken::Wide => Kind::TooWide,
            Broken::Unclosed => Kind::Unclosed,
        })
    }

    /// The number format that hides what is in a cell.
    pub(super) fn format(&self, column: usize) -> &str {
        self.formats.iter().find(|(of, _)| *of == column).map_or("", |(_, format)| format)
    }

    /// How many cells it has.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// All cells.
    pub(super) fn cells(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).map(|column| self.get(column))
    }

    /// Is there nothing in it? The mark that ends a file of DOS is nothing.
    pub(super) fn is_blank(&self) -> bool {
        self.text.chars().all(|c| c.is_whitespace() || matches!(c, ',' | ';' | '\u{feff}' | '\u{1a}'))
    }

    /// An empty one in the same memory.
    pub(super) fn clear(&mut self, line: u32) {
        (self.line, self.lines_more, self.broken) = (line, 0, None);
        self.text.clear();
        self.ends.clear();
        self.kinds.clear();
        self.formats.clear();
    }

    /// Adds a cell of a sheet, after empty ones up to its column.
    pub(super) fn put(&mut self, column: usize, kind: Cell, text: &str) {
        if column < self.ends.len() || column >= COLUMNS_MAX {
            return;
        }
        self.ends.resize(column, self.text.len());
        self.kinds.resize(column, Cell::Text);
        self.text.push_str(text);
        self.ends.push(self.text.len());
        self.kinds.push(kind);
    }

    /// Adds a cell that shows something else than it holds.
    pub(super) fn put_masked(&mut self, column: usize, text: &str, format: &Rc<str>) {
        self.put(column, Cell::Masked, text);
        self.formats.push((column, Rc::clone(format)));
    }

    /// Takes the buffers out, to be filled by a reader of text.
    pub(super) fn take(&mut self) -> (Vec<u8>, Vec<usize>) {
        self.kinds.clear();
        (std::mem::take(&mut self.text).into_bytes(), std::mem::take(&mut self.ends))
    }

    /// Puts them back. What is no UTF-8 (the file changed while it was read) becomes U+FFFD.
    pub(super) fn fill(&mut self, text: Vec<u8>, ends: Vec<usize>) {
        self.text = String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        self.ends = ends;
    }
}
