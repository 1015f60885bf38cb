//! Row for row: is there a serial, is it sound, and if not, what happened to it?
//!
//! With the owner's policy at hand, the policy judges, and what a text looks like only explains its verdict. Without one,
//! what a spreadsheet plainly did to a serial is a fault, too. Nothing is mended silently: what is left out around a serial
//! is told, and what is lost stays lost.

use std::borrow::Cow;

use crate::serial::{SERIAL_BYTES_MAX, SerialError, Shown, check_characters, is_invisible};

use super::{
    BATCH_ROWS_MAX,
    column::Column,
    damage::{self, Damage},
    duplicates::Seen,
    finding::{Findings, Grid},
    kind::Kind,
    layout::{Layout, is_a_name},
    ranges::Ranges,
    record::{Cell, Record},
    rules::{self, Rules},
    secret, shape,
    text::{SEPARATORS, is_comment},
};

/// How short a text may be a serial though columns are called so, as `S-N`.
const NAME_BYTES_MIN: usize = 6;
/// The most zeros that are put back to explain a serial.
const ZEROS_MAX: usize = 12;

/// What stands in front of a sum, in small letters.
const TOTALS: [&str; 14] = [
    "total",
    "totals",
    "sum",
    "summe",
    "gesamt",
    "gesamtsumme",
    "somme",
    "suma",
    "totaal",
    "totale",
    "subtotal",
    "grand total",
    "合计",
    "合計",
];

/// A row that can be made, so far: a later look at the whole column, or a twin, may still refuse it.
#[derive(Debug)]
pub(super) struct Good<'a> {
    pub(super) line: u32,
    /// As it is sent to the service.
    pub(super) serial: Cow<'a, str>,
    pub(super) record: &'a Record,
}

/// Judges the rows of one file, in their order.
pub(super) struct Judge<'a> {
    rules: &'a Rules,
    layout: &'a Layout,
    grid: &'a Grid,
    formulas: &'a Ranges,
    pub(super) findings: Findings,
    pub(super) seen: Seen,
    whole: Column,
    /// Rows with something in them.
    pub(super) rows: usize,
    /// The line after the last row or comment.
    next: u32,
    /// A row without a serial: if it is the last one, it may be a total.
    missing: Option<(u32, String)>,
    /// The whole numbers in that row that are not the sum of their column.
    missing_sums: Vec<u64>,
    /// What all rows of a further column come to, and those since the last row of totals; none for one with fractions.
    sums: Vec<Option<(u64, u64)>>,
    /// How many rows of totals there were, and how many others since the last one.
    totals: usize,
    since_total: usize,
}

impl<'a> Judge<'a> {
    pub(super) fn new(rules: &'a Rules, layout: &'a Layout, grid: &'a Grid, formulas: &'a Ranges) -> Self {
        Self {
            rules,
            layout,
            grid,
            formulas,
            findings: Findings::default(),
            seen: Seen::default(),
            whole: Column::default(),
            rows: 0,
            next: 0,
            missing: None,
            missing_sums: Vec::new(),
            sums: Vec::new(),
            totals: 0,
            since_total: 0,
        }
    }

    /// Looks at one row. None when it is no serial, or a bad one.
    pub(super) fn judge<'r>(&mut self, record: &'r Record) -> Option<Good<'r>> {
        let line = record.line;
        if let Some(kind) = record.fault() {
            self.note_broken(record, kind);
            return None;
        }
        if self.layout.header.is_some_and(|header| line <= header) {
            if self.swallows_rows(record) {
                self.rows += 1;
                return None;
            }
            if self.layout.title.is_some_and(|title| title <= line) && Some(line) != self.layout.header && !record.is_blank() {
                self.findings.add(Kind::Title, line, "", String::new);
            }
            return None;
        }
        let serial = record.get(self.layout.column);
        if record.is_blank() {
            return None;
        }
        if !self.grid.is_sheet() && self.is_remark(record) {
            self.note_gap(line);
            self.next = line + 1;
            self.findings.add(Kind::Comment, line, "", String::new);
            return None;
        }
        self.note_gap(line);
        self.next = line + 1 + record.lines_more;
        self.rows += 1;
        if let Some((line, _)) = self.missing.take() {
            self.findings.add(Kind::Missing, line, "", String::new);
        }
        if self.seen.count() >= BATCH_ROWS_MAX {
            self.findings.add(Kind::TooMany, line, "", || BATCH_ROWS_MAX.to_string());
            return None;
        }
        if self.swallows_rows(record) {
            return None;
        }
        if self.is_struck_out(record) {
            let mark = self.unread(record.get(0).trim()).to_owned();
            self.findings.add(Kind::StruckOut, line, &mark, String::new);
            return None;
        }
        let serial = self.sound(record, serial);
        // A row that can't be made is in the total all the same.
        if serial.is_some() || !record.cells().any(is_total) {
            self.add_up(record);
            self.since_total += 1;
        }
        Some(Good { line, serial: serial?, record })
    }

    /// The list has ended.
    pub(super) fn conclude(mut self) -> (Findings, Seen, usize) {
        match self.missing.take() {
            Some((line, text)) if text.is_empty() => self.findings.add(Kind::Missing, line, "", String::new),
            Some((line, text)) => self.note_total(line, &text, self.missing_sums.clone()),
            None => {}
        }
        self.seen.settle();
        if !self.rules.own {
            let (seen, rules) = (&self.seen, self.rules);
            self.whole.conclude(&mut self.findings, &|serial| seen.has(&rules.key(serial)));
        }
        (self.findings, self.seen, self.rows)
    }

    /// A comment, but not a row that is numbered `# 1`.
    fn is_remark(&self, record: &Record) -> bool {
        let (first, serial) = (record.get(0), record.get(self.layout.column).trim());
        if !first.starts_with('#') || self.layout.column == 0 {
            return is_comment(first);
        }
        let alone = serial.is_empty() && record.cells().skip(1).all(|cell| cell.trim().is_empty());
        if serial.is_empty() {
            is_comment(first) || (alone && !damage::is_error_value(first))
        } else {
            is_comment(first) && !self.is_like_others(serial)
        }
    }

    /// True for a row whose first cell begins as a comment, with a serial in another cell: in a list that does not number
    /// its rows so, nobody knows whether it is meant.
    fn is_struck_out(&self, record: &Record) -> bool {
        let first = record.get(0).trim();
        // `#FF0000` is a colour.
        let is_colour = |text: &str| text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let marked = first.strip_prefix('#').is_some_and(|rest| !is_colour(rest)) && !damage::is_error_value(first)
            || first
                .strip_prefix("//")
                .or(first.strip_prefix("--"))
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_alphanumeric() || c == ' '));
        self.layout.column > 0 && marked && !self.layout.numbered && !record.get(self.layout.column).trim().is_empty()
    }

    /// Is the text a serial: by the owner's policy, or without one by the shape of the others?
    fn is_like_others(&self, text: &str) -> bool {
        match (&self.layout.shape, self.rules.own) {
            (_, true) => self.rules.check(text).is_ok(),
            (usual @ Some(_), false) => shape::of(text) == *usual,
            (None, false) => false,
        }
    }

    fn note_gap(&mut self, line: u32) {
        if self.rows > 0 && line > self.next {
            self.findings.add_range(Kind::EmptyRow, self.next, line - 1);
        }
    }

    /// A row that is none takes all of its lines with it.
    fn note_broken(&mut self, record: &Record, kind: Kind) {
        let (line, more) = (record.line, record.lines_more);
        self.note_gap(line);
        self.next = line + 1 + more;
        let text = self.unread(record.get(0).trim());
        self.rows += self.findings.add_taken(kind, line, line + more, text);
    }

    /// Does a quotation mark hold further rows in this one? A note of several lines is none, one with serials in it is.
    fn swallows_rows(&mut self, record: &Record) -> bool {
        let more = record.lines_more;
        if more == 0 {
            return false;
        }
        let column = self.layout.column;
        let is_row = self.layout.header.is_none_or(|header| record.line > header);
        let serial_has_lines = is_row && record.get(column).trim().contains('\n');
        if !serial_has_lines && !record.cells().any(|cell| self.holds_rows(record, cell)) {
            return false;
        }
        let first = record.cells().find(|cell| cell.contains('\n')).and_then(|cell| cell.lines().next()).unwrap_or_default();
        // The row itself is counted already.
        let first = self.unread(first);
        self.rows += self.findings.add_taken(Kind::Lines, record.line, record.line + more, first) - 1;
        true
    }

    /// True if lines of a cell after its first are rows. In a row that has all of its columns, and no more, a cell of several
    /// lines is a remark, even one with a serial in it, unless a line of it has all columns of a row.
    fn holds_rows(&self, record: &Record, cell: &str) -> bool {
        let lines = || cell.lines().skip(1);
        let is_whole = self.layout.width > 1 && record.len() == self.layout.width;
        let is_row = |line: &str| {
            SEPARATORS.iter().any(|separator| {
                let cells: Vec<&str> = line.split(char::from(*separator)).collect();
                cells.len() == self.layout.width && self.is_like_others(cells[self.layout.column.min(cells.len() - 1)].trim())
            })
        };
        if is_whole {
            if lines().any(is_row) {
                return true;
            }
        } else if lines().any(|line| {
            line.split(|c: char| c == '"' || SEPARATORS.map(char::from).contains(&c)).any(|text| self.is_like_others(text.trim()))
        }) {
            return true;
        }
        // Serials of no one shape: a line that has the list's columns, and a word with a digit where the serial is.
        let like_a_row = |line: &&str| {
            SEPARATORS.iter().any(|separator| {
                let mut cells = line.split(char::from(*separator));
                let serial = cells.clone().nth(self.layout.column).unwrap_or_default().trim();
                let is_word = serial.len() > 1 && !serial.contains(char::is_whitespace);
                self.layout.width > 1
                    && cells.by_ref().count() == self.layout.width
                    && is_word
                    && serial.contains(|c: char| c.is_ascii_digit())
            })
        };
        let (alike, all) = (lines().filter(like_a_row).count(), lines().count());
        let one_tells = !self.rules.own && self.layout.shape.is_none();
        alike * 2 >= all && alike >= if one_tells { 1 } else { 2 }
    }

    /// The serial in a row, if it can be made.
    fn sound<'r>(&mut self, record: &Record, raw: &'r str) -> Option<Cow<'r, str>> {
        let line = record.line;
        let kind = record.kind(self.layout.column);
        let text = rules::trimmed(raw);
        match kind {
            Cell::Text if text.is_empty() => {
                if self.formulas.has(line) {
                    self.findings.add(Kind::Uncalculated, line, "", String::new);
                } else if !self.note_shifted(record) {
                    self.missing = Some((line, total(record, self.layout.column)));
                    self.missing_sums = self.other_sums(record);
                }
                return None;
            }
            Cell::Text | Cell::Number | Cell::Padded => {}
            Cell::Rounded => self.damaged(if text.contains('.') { Kind::Fraction } else { Kind::Rounded }, line, text)?,
            Cell::Negative => self.damaged(Kind::Negative, line, text)?,
            Cell::Masked => {
                let format = Shown::new(record.format(self.layout.column)).to_string();
                self.findings.add(Kind::Masked, line, text, || format);
                return None;
            }
            Cell::Date => self.damaged(Kind::Damaged(Damage::Date), line, text)?,
            Cell::Bool => self.damaged(Kind::Damaged(Damage::Truth), line, text)?,
            Cell::Error => self.damaged(Kind::Damaged(Damage::ErrorValue), line, text)?,
        }
        // A million good rows of an owner's policy come here and no further.
        let (serial, normal) = match self.rules.serial_in(raw) {
            Ok(sound) if self.rules.own || self.is_plausible(record, &sound.0) => sound,
            Ok(_) => return None,
            Err(error) => {
                self.refused(record, text, error);
                return None;
            }
        };
        if serial.len() != text.len() {
            let kind = if matches!(serial, Cow::Owned(_)) { Kind::Power } else { Kind::Marked };
            self.findings.add(kind, line, text, || serial.clone().into_owned());
        }
        self.note(record, raw, &serial, &normal);
        self.seen.see(&self.rules.key(&normal), line);
        Some(serial)
    }

    /// Where nobody has a policy: did nobody do anything to it? Says so if somebody did.
    fn is_plausible(&mut self, record: &Record, serial: &str) -> bool {
        if self.note_secret(record.line, serial) || self.note_damage(record, serial) {
            return false;
        }
        if self.layout.shape.is_some() && shape::of(serial) == self.layout.shape {
            return true;
        }
        !self.note_other_separator(record, serial) && (self.layout.shape.is_none() || !self.note_shifted(record))
    }

    /// Adds the row's numbers to the sums of their columns.
    fn add_up(&mut self, record: &Record) {
        self.sums.resize(self.sums.len().max(record.len()), Some((0, 0)));
        for (column, sums) in self.sums.iter_mut().enumerate().filter(|(column, _)| *column != self.layout.column) {
            let cell = record.get(column).trim();
            *sums = match (*sums, whole_number(cell)) {
                (Some((all, part)), Some(number)) => Some((all.saturating_add(number), part.saturating_add(number))),
                // `3,5`, `7 EUR`: what these come to is not known here.
                (_, None) if cell.starts_with(|c: char| c.is_ascii_digit()) => None,
                (sums, _) => sums,
            };
        }
    }

    /// The whole numbers of a row of totals that are not the sum of their column: each may say how many rows there were.
    fn other_sums(&self, record: &Record) -> Vec<u64> {
        let numbers = (0..record.len()).filter_map(|column| {
            let cell = record.get(column).trim();
            // `Total: 620`
            let behind = cell.rsplit_once([':', ' ', '=']).filter(|(words, _)| is_total(words)).map(|(_, number)| number);
            Some((column, whole_number(cell).or_else(|| whole_number(behind?))?))
        });
        let is_other = |(column, number): &(usize, u64)| match self.sums.get(*column) {
            Some(Some((all, part))) => all != number && part != number,
            Some(None) => false,
            None => true,
        };
        numbers.filter(is_other).map(|(_, number)| number).collect()
    }

    /// A total under the list. One that counts more or fewer rows than there are means that rows are missing, or more.
    fn note_total(&mut self, line: u32, text: &str, numbers: Vec<u64>) {
        let rows = self.rows.saturating_sub(1 + self.totals);
        let is_count = |number: u64| number == rows as u64 || number == self.since_total as u64;
        match numbers[..] {
            [number] if !is_count(number) && number < 100_000_000 => {
                self.findings.add(Kind::TotalDiffers, line, text, || format!("{number}, and the list has {rows} rows above it"));
            }
            _ => self.findings.add(Kind::Total, line, text, String::new),
        }
        self.totals += 1;
        self.since_total = 0;
        self.sums.iter_mut().flatten().for_each(|(_, part)| *part = 0);
    }

    /// Says what was done to a text, if it can be seen.
    fn note_damage(&mut self, record: &Record, text: &str) -> bool {
        let line = record.line;
        // A sum beside its word: no zeros in front make a serial of it.
        if is_total(text) || (self.layout.column > 0 && whole_number(text).is_some() && is_total(record.get(0).trim())) {
            let word = if is_total(text) { text } else { record.get(0).trim() };
            self.note_total(line, word, self.other_sums(record));
            return true;
        }
        let kind = self.what_was_done(text);
        kind.inspect(|kind| self.findings.add(*kind, line, text, String::new)).is_some()
    }

    fn what_was_done(&self, text: &str) -> Option<Kind> {
        let is_name = |name: &String| name.eq_ignore_ascii_case(text);
        if self.layout.name.as_ref().is_some_and(is_name) || (text.len() >= NAME_BYTES_MIN && is_a_name(text)) {
            return Some(Kind::HeaderAgain);
        }
        if let Some(damage) = damage::of(text) {
            return Some(Kind::Damaged(damage));
        }
        if !text.contains(char::is_alphanumeric) {
            return Some(Kind::Ruler);
        }
        // `#VALEUR!`, in whatever language.
        if text.starts_with('#') {
            return Some(if text.ends_with(['!', '?']) { Kind::Damaged(Damage::ErrorValue) } else { Kind::Hash });
        }
        let quoted = |mark: char| text.len() > 2 && text.starts_with(mark) && text.ends_with(mark);
        (quoted('"') || quoted('\'')).then_some(Kind::Quoted)
    }

    /// Says that a row is not separated as the others are, if it looks like that.
    fn note_other_separator(&mut self, record: &Record, text: &str) -> bool {
        let alone = record.len() == 1 && self.layout.width > 1 && self.layout.shape.is_none() && !self.rules.own;
        let parts = |separator: &u8| {
            text.split_once(char::from(*separator)).is_some_and(|(first, _)| alone || self.is_like_others(first.trim()))
        };
        let found = SEPARATORS.iter().any(parts);
        if found {
            self.findings.add(Kind::OtherSeparator, record.line, self.unread(text), String::new);
        }
        found
    }

    /// What may be repeated of a row whose cells could not be told apart: nothing, if the list has a column of secrets.
    fn unread<'t>(&self, text: &'t str) -> &'t str {
        if self.layout.secrets.is_empty() { text } else { secret::MASK }
    }

    /// True, with a finding that does not repeat the text, if a cell of the serials looks like a key among others that don't.
    fn note_secret(&mut self, line: u32, text: &str) -> bool {
        let shape = shape::of(text);
        let is_like_those_beside = || {
            self.layout.shape.is_some()
                && shape != self.layout.shape
                && shape.as_ref().is_some_and(|shape| self.layout.secret_shapes.contains(shape))
        };
        let is_secret = !self.layout.serials_like_keys && secret::is_look(text) || is_like_those_beside();
        if is_secret {
            self.findings.add(Kind::SecretCell, line, "", String::new);
        }
        is_secret
    }

    fn damaged(&mut self, kind: Kind, line: u32, text: &str) -> Option<()> {
        self.findings.add(kind, line, text, String::new);
        None
    }

    /// Says why a text is no serial. The one place where a policy's word becomes a row's fault.
    fn refused(&mut self, record: &Record, text: &str, error: SerialError) {
        let line = record.line;
        if self.note_secret(line, text) || self.note_damage(record, damage::unmarked(text).unwrap_or(text)) {
            return;
        }
        if let Some(whole) = self.with_zeros(text) {
            let whole = Shown::new(&whole);
            return self.findings.add(Kind::ZerosLost, line, text, || format!("`{whole}`"));
        }
        if self.note_other_separator(record, text) || self.note_shifted(record) {
            return;
        }
        // What can't be seen makes a text too long, but that is not what is wrong with it.
        let error = check_characters(text).err().filter(|_| text.contains(is_invisible)).unwrap_or(error);
        self.findings.add(Kind::Refused(word_of(&error)), line, text, || error.as_written(text).to_string());
    }

    /// Says that the serial stands in another column, if it does.
    fn note_shifted(&mut self, record: &Record) -> bool {
        let Some((column, serial)) = self.elsewhere(record) else { return false };
        let place = format!("{} (`{}`)", self.grid.column(column), Shown::new(serial));
        self.findings.add(Kind::Shifted, record.line, "", || place);
        true
    }

    /// The serial that a number becomes with its zeros, if the owner's policy takes that.
    fn with_zeros(&self, text: &str) -> Option<String> {
        if !self.rules.own || text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) || text.len() > SERIAL_BYTES_MAX
        {
            return None;
        }
        (1..=ZEROS_MAX).map(|zeros| format!("{}{text}", "0".repeat(zeros))).find(|whole| self.rules.check(whole).is_ok())
    }

    /// Another column with a serial, where serials don't stand in other rows.
    fn elsewhere<'r>(&self, record: &'r Record) -> Option<(usize, &'r str)> {
        let layout = self.layout;
        let is_secret = |column: &usize| layout.secrets.iter().any(|(secret, _)| secret == column);
        let columns = (0..record.len()).filter(|column| *column != layout.column && !layout.alike.contains(column));
        let columns = columns.filter(|column| !is_secret(column) && !secret::is_look(record.get(*column)));
        let mut cells = columns.map(|column| (column, record.get(column).trim()));
        if self.rules.own {
            return cells.find(|(_, cell)| !cell.is_empty() && self.rules.check(cell).is_ok());
        }
        let usual = self.layout.shape.as_deref()?;
        cells.find(|(_, cell)| shape::of(cell).as_deref() == Some(usual))
    }

    /// What is worth knowing of a serial that is taken.
    fn note(&mut self, record: &Record, raw: &str, serial: &str, normal: &str) {
        let (line, kind) = (record.line, record.kind(self.layout.column));
        let around = |c: char| raw.starts_with(c) || raw.ends_with(c);
        if raw.len() != serial.len() && raw.trim().len() != raw.len() {
            let hard = ['\u{a0}', '\u{202f}', '\u{2007}'].into_iter().any(around);
            self.findings.add(if hard { Kind::NonBreaking } else { Kind::Blanks }, line, serial, String::new);
        }
        if self.layout.header.is_some() && (self.layout.width..record.len()).any(|column| !record.get(column).trim().is_empty()) {
            self.findings.add(Kind::Wider, line, "", String::new);
        }
        if self.formulas.has(line) {
            self.findings.add(Kind::Cached, line, serial, String::new);
        }
        if kind == Cell::Padded {
            self.findings.add(Kind::Padded, line, serial, String::new);
        }
        if !self.rules.own {
            return self.whole.see(line, serial, kind);
        }
        if kind == Cell::Number {
            self.findings.add(Kind::Number, line, serial, || "the policy takes it".to_owned());
        }
        if normal != serial && normal.eq_ignore_ascii_case(serial) {
            self.findings.add(Kind::Letters, line, serial, || "what the policy writes".to_owned());
        }
    }
}

/// What tells that a row without a serial is a sum: a word for it, or nothing but numbers.
fn total(record: &Record, column: usize) -> String {
    let others = record.cells().enumerate().filter(|(at, _)| *at != column).map(|(_, cell)| cell.trim());
    let cells: Vec<&str> = others.filter(|cell| !cell.is_empty()).collect();
    let is_number =
        |cell: &&str| !cell.starts_with('0') && cell.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b','));
    let told = cells.iter().find(|cell| is_total(cell));
    told.or_else(|| cells.first().filter(|_| cells.iter().all(is_number))).copied().unwrap_or_default().to_owned()
}

/// A whole number, if the text is nothing else.
fn whole_number(text: &str) -> Option<u64> {
    let text = text.trim();
    (text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn is_total(text: &str) -> bool {
    if text.len() > 40 {
        return false;
    }
    let words = text.trim_end_matches(|c: char| !c.is_alphabetic()).to_lowercase();
    TOTALS.contains(&words.as_str())
}

fn word_of(error: &SerialError) -> &'static str {
    match error {
        SerialError::Empty { .. } => "empty",
        SerialError::TooShort { .. } => "too-short",
        SerialError::TooLong { .. } => "too-long",
        SerialError::Character { .. } => "character",
        SerialError::Pattern { .. } => "pattern",
        SerialError::Rule { kind, .. } => kind,
        SerialError::DeviceId { .. } => "device-id",
    }
}
