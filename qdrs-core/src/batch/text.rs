//! Text files with separated values: finds separator and quotation mark, and gives row after row.
//!
//! The splitting is `csv-core`'s. Here is what no format says: which character separates, whether `'` quotes, a first line
//! `sep=;`, and on which line a row begins.

use std::{io, ops::ControlFlow};

use super::{
    damage,
    encoding::{Decoder, Encoding, Sniffed},
    layout::is_a_name,
    record::{COLUMNS_MAX, Record},
    source::Bytes,
};

/// The longest row, in bytes. A longer one is most often a quotation mark that nobody closed.
pub(super) const ROW_BYTES_MAX: usize = 64 * 1024;
/// How many lines tell the separator.
const LINES_LOOKED_AT: usize = 50;
/// What may separate.
const SEPARATORS: [u8; 4] = [b';', b'\t', b',', b'|'];
/// Separates where nothing does: a sign that no text has.
const NONE: u8 = 0x1f;

/// Why there are no more rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// All were seen, or as many as were asked for.
    Whole,
    /// The row that begins on this line is longer than [`ROW_BYTES_MAX`].
    TooLong(u32),
    /// The row that begins on this line is within quotation marks to the last line of the file.
    Unclosed {
        /// Where it begins.
        line: u32,
        /// Where the file ends.
        last: u32,
    },
    /// The row that begins on this line has more than [`COLUMNS_MAX`] columns.
    TooWide(u32),
}

/// A text file and how it is written.
pub(super) struct Text<'f> {
    file: &'f mut dyn Bytes,
    sniffed: Sniffed,
    separator: u8,
    quote: u8,
    /// Is the first line `sep=…`?
    says_separator: bool,
}

impl<'f> Text<'f> {
    /// Finds out how a file is written.
    pub(super) fn open(file: &'f mut dyn Bytes, sniffed: Sniffed) -> io::Result<Self> {
        file.rewind()?;
        let beginning = Decoder::new(&mut *file, &sniffed).piece()?.to_vec();
        // A piece may end within a character; the lines that are looked at hardly ever do.
        let beginning = String::from_utf8_lossy(&beginning);
        let lines: Vec<&str> =
            beginning.lines().filter(|line| !line.trim().is_empty() && !is_comment(line)).take(LINES_LOOKED_AT).collect();
        let said = lines.first().and_then(|line| said_separator(line));
        let lines = if said.is_some() { &lines[1..] } else { &lines[..] };
        let separator = said.unwrap_or_else(|| separator_of(lines));
        Ok(Self { quote: quote_of(lines, separator), separator, says_separator: said.is_some(), file, sniffed })
    }

    /// In words, as "separated by `;`"; nothing where there is nothing to say.
    pub(super) fn about(&self) -> String {
        let separator = match self.separator {
            NONE => String::new(),
            b'\t' => "separated by tabs".to_owned(),
            other => format!("separated by `{}`", char::from(other)),
        };
        match (self.sniffed.encoding, self.separator) {
            (Encoding::Utf8, _) => separator,
            (other, NONE) => other.name().to_owned(),
            (other, _) => format!("{}, {separator}", other.name()),
        }
    }

    /// How its bytes are text.
    pub(super) fn sniffed(&self) -> &Sniffed {
        &self.sniffed
    }

    /// Each row in its order, until `take` has seen enough; or until one is too long: where it ends, nobody knows.
    pub(super) fn each(&mut self, take: &mut dyn FnMut(&Record) -> ControlFlow<()>) -> io::Result<Ended> {
        self.file.rewind()?;
        let mut decoder = Decoder::new(&mut *self.file, &self.sniffed);
        let mut reader = csv_core::ReaderBuilder::new().delimiter(self.separator).quote(self.quote).build();
        let mut record = Record::default();
        let mut skip = self.says_separator;
        let (mut text, mut ends) = (vec![0; ROW_BYTES_MAX], vec![0; COLUMNS_MAX]);
        let (mut written, mut cells) = (0, 0);
        loop {
            let mut piece = decoder.piece()?;
            let ended = piece.is_empty();
            // An empty piece would tell the reader that the file has ended.
            while ended || !piece.is_empty() {
                let (result, read, wrote, ended_cells) = reader.read_record(piece, &mut text[written..], &mut ends[cells..]);
                piece = &piece[read..];
                written += wrote;
                cells += ended_cells;
                // Only a row's end is counted in its lines; these have none.
                let begins = |text: &[u8]| line(&reader, line_ends(text)).saturating_add(1);
                match result {
                    csv_core::ReadRecordResult::InputEmpty => break,
                    csv_core::ReadRecordResult::End => return Ok(Ended::Whole),
                    csv_core::ReadRecordResult::OutputFull => return Ok(Ended::TooLong(begins(&text[..written]))),
                    csv_core::ReadRecordResult::OutputEndsFull => return Ok(Ended::TooWide(begins(&text[..written]))),
                    // Every line is ended, so what ends with the file only is within quotation marks.
                    csv_core::ReadRecordResult::Record if ended => {
                        let last = u32::try_from(reader.line().saturating_sub(1)).unwrap_or(u32::MAX);
                        return Ok(Ended::Unclosed { line: begins(&text[..written]), last });
                    }
                    csv_core::ReadRecordResult::Record => {}
                }
                let more = line_ends(&text[..written]);
                record.clear(line(&reader, more));
                record.lines_more = more;
                let (mut taken, mut taken_ends) = record.take();
                taken.extend_from_slice(&text[..written]);
                taken_ends.extend_from_slice(&ends[..cells]);
                record.fill(taken, taken_ends);
                (written, cells) = (0, 0);
                if std::mem::take(&mut skip) {
                    continue;
                }
                if take(&record).is_break() {
                    return Ok(Ended::Whole);
                }
            }
            if ended {
                return Ok(Ended::Whole);
            }
        }
    }
}

/// The line on which the row begins that was just read: its `inside` line ends are counted already, and the one after it.
fn line(reader: &csv_core::Reader, inside: u32) -> u32 {
    u32::try_from(reader.line().saturating_sub(1 + u64::from(inside))).unwrap_or(u32::MAX)
}

fn line_ends(text: &[u8]) -> u32 {
    text.iter().filter(|byte| **byte == b'\n').count() as u32
}

/// `sep=;`, as spreadsheets write and read it.
fn said_separator(line: &str) -> Option<u8> {
    match line.trim_matches(|c: char| c == '"' || c == ' ').as_bytes() {
        [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', separator] if SEPARATORS.contains(separator) => Some(*separator),
        _ => None,
    }
}

/// A line for people: `# …`. An error value such as `#REF!` is none, and neither is a header's `#`.
pub(super) fn is_comment(line: &str) -> bool {
    line.starts_with('#') && !damage::is_error_value(line) && !line[1..].starts_with(SEPARATORS.map(char::from))
}

/// The separator that most lines have equally often.
fn separator_of(lines: &[&str]) -> u8 {
    // `1,234,567` alone on a line is one serial, not three columns.
    let values = if lines.first().is_some_and(|first| is_a_name(first)) { &lines[1..] } else { lines };
    let grouped = values.iter().filter(|line| damage::is_grouped(line.trim())).count();
    if grouped > 0 && grouped * 2 >= values.len() {
        return NONE;
    }
    let support = |separator: &u8| {
        let counts: Vec<usize> = lines.iter().map(|line| count_outside_quotes(line, *separator)).collect();
        let agree = |count: usize| counts.iter().filter(|other| **other == count).count();
        counts.iter().filter(|count| **count > 0).map(|count| (agree(*count), *count)).max().unwrap_or_default()
    };
    SEPARATORS.iter().rev().copied().max_by_key(support).filter(|best| support(best).0 > 0).unwrap_or(NONE)
}

fn count_outside_quotes(line: &str, separator: u8) -> usize {
    let mut quoted = false;
    let count = |byte: u8| {
        quoted ^= byte == b'"';
        byte == separator && !quoted
    };
    line.bytes().map(count).filter(|counts| *counts).count()
}

/// `'` where the file uses it: no field is in `"`, and some begin and end with `'`.
fn quote_of(lines: &[&str], separator: u8) -> u8 {
    let fields = || lines.iter().flat_map(|line| line.split(char::from(separator))).map(str::trim);
    let in_single = |field: &str| field.len() > 2 && field.starts_with('\'') && field.ends_with('\'');
    if fields().any(in_single) && !fields().any(|field| field.starts_with('"')) { b'\'' } else { b'"' }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_separator_is_the_one_that_lines_agree_on() {
        for (text, separator) in [
            ("serial,note\nA1,x", b','),
            ("id;S/N;colour\n1;A1;red, or so", b';'),
            ("\"id; old\",serial\n\"7; x\",A1", b','),
            ("a\tb\nc\td, e", b'\t'),
            ("a|b\nc|d", b'|'),
            ("A1,red\nA2,blue", b','),
            ("serial\n1,234,567\n1,234,574", NONE),
            ("1.234.567\n1.234.574", NONE),
            ("A1\nA2", NONE),
            ("", NONE),
        ] {
            assert_eq!(separator_of(&text.lines().collect::<Vec<_>>()), separator, "{text:?}");
        }
    }

    #[test]
    fn a_comment_is_no_error_value_and_no_header() {
        for (line, comment) in [
            ("# made on Monday", true),
            ("#made", true),
            ("#", true),
            ("#REF!", false),
            ("#;serial", false),
            ("#########", false),
        ] {
            assert_eq!(is_comment(line), comment, "{line}");
        }
    }
}
