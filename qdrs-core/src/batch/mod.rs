//! The batch: which serial numbers are to be made, one a row of a file that came out of a spreadsheet.
//!
//! Text with any usual separator, quote, encoding and line end, or an .xlsx itself. The file is read row by row and never
//! held: once for its encoding, once for what its columns are, once for its serials, and once more only where two may be
//! the same. All that is wrong is said at once, by kind and with all rows; nothing is done while anything is wrong, unless
//! the good rows are asked for. Whoever asks opens the file; its path is only for sentences.
//!
//! `encoding`, `text` and `sheet` give rows; `layout` finds the column; `judge` looks at each row, `column` and `duplicates`
//! at all of them; `finding` is what is said. Which serials are valid is the policy's to say, which are free the service's.

use std::{
    io::{Read, Seek},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

mod boards;
mod column;
mod damage;
mod duplicates;
mod encoding;
mod error;
mod extra;
mod finding;
mod judge;
mod kind;
mod layout;
mod list_file;
mod number_format;
mod ranges;
mod record;
mod rules;
mod secret;
mod shape;
mod sheet;
mod source;
#[cfg(test)]
mod tests;
mod text;
mod workbook;
mod xml;

pub use error::BatchError;
pub use extra::Extra;
pub use finding::{Finding, advice};
pub use kind::Kind;
pub(crate) use list_file::ListFile;
pub use ranges::Ranges;
pub use rules::Rules;

use crate::{api::COLUMNS_MAX, serial::Shown};
use boards::Boards;
use extra::Extras;
use finding::{Findings, Grid};
use judge::{Good, Judge};
use layout::{Asked, Further, HEAD_ROWS, Layout, Unclear};
use ranges::TOLD_MAX;
use record::Record;
use source::Source;

/// The longest file, in bytes. It is read in pieces and never held, so what bounds it is patience, not memory: a million rows
/// with 4 KiB beside each serial.
pub const BATCH_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// The most serials in one file: as many as a sheet has rows.
const BATCH_ROWS_MAX: usize = 1_048_576;

/// How a batch is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// The serials' column: its name, or its number from 1 (of an .xlsx its letter, too); found out when left out.
    pub column: Option<String>,
    /// The sheet of an .xlsx; the first with data when left out.
    pub sheet: Option<String>,
    /// True if the good rows are taken when others are bad.
    pub skip_bad: bool,
    /// True if further columns and cells that may hold secrets come along into journal, report and the owner's books.
    pub keep_secrets: bool,
    /// Whether the list has a header. `None`: found out, and an error where it can't be.
    pub header: Option<bool>,
}

/// The serials of one file, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The file's name without its ending: the batch's name unless it is given another.
    pub name: String,
    /// The serials.
    pub rows: Vec<Row>,
}

/// One serial of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it stands in the file, counted from 1.
    pub line: u32,
    /// The serial as it stands there, without blanks around it.
    pub serial: Box<str>,
    /// What stands beside it.
    pub extra: Extra,
}

/// What a look at all of a file told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// The file.
    pub path: PathBuf,
    /// How it is written and which column was taken, in words.
    pub about: String,
    /// Rows with something in them.
    pub rows: usize,
    /// Rows that can't be used.
    pub bad: Ranges,
    /// All there is to say, faults first.
    pub findings: Vec<Finding>,
    grid: Grid,
}

impl Examined {
    /// How many rows can be used.
    pub fn good(&self) -> usize {
        self.rows.saturating_sub(self.bad.count())
    }

    /// Can the good rows be made without the bad ones? Not where a quotation mark took rows that nobody could read.
    pub fn can_skip(&self) -> bool {
        self.good() > 0 && !self.findings.iter().any(Finding::loses_rows)
    }

    /// Adds what the service said of some serials: the row, the serial, what it means, and a clause about it.
    pub fn add_answers(&mut self, answers: impl IntoIterator<Item = (u32, String, Kind, String)>) {
        let mut findings = Findings::default();
        for (row, serial, kind, clause) in answers {
            findings.add(kind, row, &serial, || clause);
        }
        self.bad.join(&findings.bad());
        self.bad.sort();
        self.findings.extend(findings.told(&self.grid));
        self.findings.sort_by_key(|finding| !finding.kind.is_fault());
    }

    /// Is that row one that can't be used?
    pub fn bad_has(&self, row: u32) -> bool {
        self.bad.has(row)
    }

    /// The same in full: every row is named, and has a sentence of its own where one was kept.
    #[must_use]
    pub fn in_full(mut self) -> Self {
        for mut finding in std::mem::take(&mut self.findings) {
            let each = std::mem::take(&mut finding.each);
            // Beyond those that were kept, the sentence of all stands for the others.
            if each.len() < finding.rows.count() {
                finding.place = self.grid.place(finding.kind, &finding.rows, usize::MAX);
                self.findings.push(finding.clone());
            }
            for (row, what) in each {
                let rows = Ranges::from(row);
                let place = self.grid.place(finding.kind, &rows, 1);
                self.findings.push(Finding { rows, place, what, ..finding.clone() });
            }
        }
        self
    }

    /// The faults alone.
    pub fn faults(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.kind.is_fault())
    }

    /// What is to be said before the batch is made: what is worth knowing, each fault of a row that is left out, and which.
    pub fn notices(&self) -> Vec<String> {
        let said = |finding: &Finding| match finding.place.as_str() {
            "" => finding.what.clone(),
            place => format!("{place}: {}", finding.what),
        };
        self.findings.iter().map(said).chain(self.left_out()).collect()
    }

    /// `2 of 24 rows are left out: lines 3, 7`; none when all are good.
    pub fn left_out(&self) -> Option<String> {
        let count = self.bad.count();
        let are = if count == 1 { "is" } else { "are" };
        let word = if self.grid.is_sheet() { "row" } else { "line" };
        (count > 0).then(|| format!("{count} of {} rows {are} left out: {}", self.rows, self.bad.said(word, "", TOLD_MAX)))
    }
}

impl Batch {
    /// Reads a batch: all of it, or nothing if anything is wrong; with `--skip-bad` the good rows.
    ///
    /// # Errors
    ///
    /// All that is wrong with the file, at once.
    pub fn read(file: impl Read + Seek, path: &Path, reading: &Reading, rules: &Rules) -> Result<(Self, Examined), BatchError> {
        let mut rows = Vec::new();
        let mut extras: Option<Extras> = None;
        let examined = examine(file, path, reading, rules, &mut |good| {
            let extras = extras.get_or_insert_with(|| good.extras());
            let (extra, whole) = extras.keep(good.beside());
            rows.push(Row { line: good.line(), serial: good.serial().into(), extra });
            whole
        })?;
        rows.retain(|row| !examined.bad.has(row.line));
        if rows.is_empty() || (examined.bad.count() > 0 && !(reading.skip_bad && examined.can_skip())) {
            return Err(BatchError::Rows(Box::new(examined)));
        }
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok((Self { name, rows }, examined))
    }
}

/// A row that can be made, as far as it can be told before all are seen.
pub struct Taken<'a> {
    good: Good<'a>,
    layout: &'a Layout,
}

impl Taken<'_> {
    /// Where it stands.
    pub fn line(&self) -> u32 {
        self.good.line
    }

    /// As it is sent to the service.
    pub fn serial(&self) -> &str {
        &self.good.serial
    }

    /// A place for what stands beside the serials.
    fn extras(&self) -> Extras {
        Extras::new(self.layout.extras.iter().map(|further| further.name.clone()))
    }

    /// True if a cell beside it looks like a key and stays out.
    fn holds_secrets(&self) -> bool {
        self.layout.extras.iter().any(|further| self.is_secret(further))
    }

    fn is_secret(&self, further: &Further) -> bool {
        let text = self.good.record.get(further.column);
        !further.keeps_all && (secret::holds_marker(text) || (!further.is_harmless && secret::is_look(text)))
    }

    /// What stands beside this one; empty in place of a cell that may hold a secret.
    fn beside(&self) -> impl Iterator<Item = &str> {
        self.layout.extras.iter().map(|further| if self.is_secret(further) { "" } else { self.good.record.get(further.column) })
    }
}

/// Looks at all of a file, and gives each row that is good so far to `take`, which answers whether it could keep all of it.
///
/// # Errors
///
/// When the file can't be read, is no list, or does not say which column is meant. Bad rows are no error here.
pub fn examine(
    mut file: impl Read + Seek,
    path: &Path,
    reading: &Reading,
    rules: &Rules,
    take: &mut dyn FnMut(Taken<'_>) -> bool,
) -> Result<Examined, BatchError> {
    let mut source = Source::open(&mut file, path, reading.sheet.as_deref(), BATCH_BYTES_MAX)?;
    let letters = source.is_sheet();
    let (column, keep_secrets, header) = (reading.column.as_deref(), reading.keep_secrets, reading.header);
    let asked = Asked { column, keep_secrets, header, ..Asked::default() };
    let layout = layout_of(&mut source, path, &asked, rules)?;
    let grid = Grid { path: path.to_owned(), letter: letters.then(|| layout::letters_of(layout.column)) };
    let aside = source.aside(path, layout.column)?;
    let mut judge = Judge::new(rules, &layout, &grid, &aside.formulas);
    let mut boards = Boards::of(&layout);
    source.each(path, &mut |record| {
        if let Some(good) = judge.judge(record) {
            boards.see(record);
            let line = good.line;
            if aside.hidden_rows.has(line) {
                judge.findings.add(Kind::HiddenRow, line, &good.serial, String::new);
            } else {
                let taken = Taken { good, layout: &layout };
                if taken.holds_secrets() {
                    judge.findings.add(Kind::SecretCut, line, "", String::new);
                }
                if !take(taken) {
                    judge.findings.add(Kind::ExtraCut, line, "", String::new);
                }
            }
        }
        ControlFlow::Continue(())
    })?;
    let (mut findings, seen, rows) = judge.conclude();
    findings.note_listed(&|serial| seen.has(&rules.key(serial)));
    findings.explain(&|text| rules.nearest(text, &|serial| seen.has(serial)));
    if rows == 0 {
        return Err(BatchError::NoBatch {
            path: path.to_owned(),
            why: "holds no serial number".into(),
            help: "write one serial number a row, under a header `serial`".into(),
        });
    }
    let candidates = seen.candidates();
    if !candidates.is_empty() {
        find_twins(&mut source, path, rules, &layout, &candidates, &grid, &mut findings)?;
    }
    boards.conclude(&mut source, path, &grid, &mut findings)?;
    source.note(&mut findings);
    if aside.hidden_column {
        findings.add_whole(Kind::HiddenColumn, grid.column(layout.column));
    }
    if let (Some(line), Some(name)) = (layout.header, &layout.name)
        && layout.unnamed
    {
        findings.add(Kind::Header, line, name, String::new);
    }
    note_left_out(&layout, reading, &mut findings);
    if layout.guessed {
        findings.add_whole(Kind::Guessed, grid.column(layout.column));
    }
    let bad = findings.bad();
    let about = source.about(&layout, letters);
    Ok(Examined { path: path.to_owned(), about, rows, findings: findings.told(&grid), bad, grid })
}

/// Says which further columns stay out, and why.
fn note_left_out(layout: &Layout, reading: &Reading, findings: &mut Findings) {
    let names: Vec<&str> = layout.secrets.iter().map(|(_, name)| name.as_str()).collect();
    if !reading.keep_secrets && !names.is_empty() {
        let (verb, pronoun) =
            if names.len() == 1 { ("may hold secrets and stays", "it") } else { ("may hold secrets and stay", "them") };
        let names = names.join(", ");
        findings.add_whole(
            Kind::SecretColumns,
            format!("{names} {verb} out of journal, report and the owner's books; `--keep-secrets` keeps {pronoun}"),
        );
    }
    let further = layout.extras.len() + layout.extras_over;
    if layout.extras_over > 0 {
        let most = layout::EXTRA_COLUMNS_MAX;
        findings.add_whole(
            Kind::ColumnsOver,
            format!("of {further} further columns the first {most} come along into journal and report, and {COLUMNS_MAX} into the owner's books"),
        );
    } else if further > COLUMNS_MAX {
        findings.add_whole(
            Kind::ColumnsOver,
            format!("of {further} further columns the first {COLUMNS_MAX} come along into the owner's books"),
        );
    }
}

/// Finds out from the first rows what the columns are.
fn layout_of(source: &mut Source<'_>, path: &Path, asked: &Asked<'_>, rules: &Rules) -> Result<Layout, BatchError> {
    let mut head: Vec<Record> = Vec::new();
    let letters = source.is_sheet();
    source.each(path, &mut |record| {
        if record.broken.is_none() && !record.is_blank() && (letters || !text::is_comment(record.get(0))) {
            head.push(record.clone());
        }
        if head.len() < HEAD_ROWS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Layout::of(&head, asked, rules, letters).map_err(|unclear| unclear_in(path, letters, unclear))
}

/// Compares serials with equal hashes, and adds those that are really the same.
fn find_twins(
    source: &mut Source<'_>,
    path: &Path,
    rules: &Rules,
    layout: &Layout,
    candidates: &[u32],
    grid: &Grid,
    findings: &mut Findings,
) -> Result<(), BatchError> {
    let mut again = duplicates::Again::default();
    source.each(path, &mut |record| {
        if candidates.binary_search(&record.line).is_ok()
            && let Ok((serial, normal)) = rules.serial_in(record.get(layout.column))
            && let Some((first, form)) = again.first(rules.key(&normal).into_owned(), normal.clone(), record.line)
        {
            let same = *form == normal;
            let place = || if same { grid.one(*first) } else { format!("`{}` in {}", Shown::new(form), grid.one(*first)) };
            findings.add(if same { Kind::Duplicate } else { Kind::CapitalsOnly }, record.line, &serial, place);
        }
        ControlFlow::Continue(())
    })?;
    Ok(())
}

/// `the good one`, `the 7 good ones`.
pub fn good_ones(good: usize) -> String {
    if good == 1 { "the good one".to_owned() } else { format!("the {good} good ones") }
}

fn unclear_in(path: &Path, letters: bool, unclear: Unclear) -> BatchError {
    let at = match unclear.line {
        Some(line) => format!("{}, {} {line}", path.display(), if letters { "row" } else { "line" }),
        None => path.display().to_string(),
    };
    BatchError::Unclear { at, why: unclear.why, help: unclear.help }
}
