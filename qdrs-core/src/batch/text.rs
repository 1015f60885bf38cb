//! Text files with separated values: finds separator and quotation mark, and gives row after row.
//!
//! The splitting is `csv-core`'s. Here is what no format says: which character separates, whether `'` quotes, a first line
//! `sep=;`, and on which line a row begins.

use std::{io, ops::ControlFlow};

use super::{
    damage,
    encoding::{Decoder, Encoding, Sniffed},
    layout::is_a_name,
    record::{Broken, COLUMNS_MAX, Record},
    source::Bytes,
};

/// The longest row, in bytes. A longer one is most often a quotation mark that nobody closed.
pub(super) const ROW_BYTES_MAX: usize = 64 * 1024;
/// How much is kept of the beginning of a longer one, in bytes.
const START_BYTES_MAX: usize = 256;
/// How many lines tell the separator.
const LINES_LOOKED_AT: usize = 50;
/// What may separate.
pub(super) const SEPARATORS: [u8; 6] = [b';', b'\t', b',', b'|', b'~', b'^'];
/// Separates where nothing does: a sign that no text has.
const NONE: u8 = 0x1f;

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

    /// Each row in its order, until `take` has seen enough. One that is none is given as [`Broken`], with all of its lines.
    pub(super) fn each(&mut self, take: &mut dyn FnMut(&Record) -> ControlFlow<()>) -> io::Result<()> {
        self.file.rewind()?;
        let mut decoder = Decoder::new(&mut *self.file, &self.sniffed);
        let mut reader = csv_core::ReaderBuilder::new().delimiter(self.separator).quote(self.quote).build();
        let mut record = Record::default();
        let mut skip = self.says_separator;
        let (mut text, mut ends) = (vec![0; ROW_BYTES_MAX], vec![0; COLUMNS_MAX]);
        let (mut written, mut cells) = (0, 0);
        let mut overlong = Overlong::default();
        loop {
            let mut piece = decoder.piece()?;
            let ended = piece.is_empty();
            // An empty piece would tell the reader that the file has ended.
            while ended || !piece.is_empty() {
                let (result, read, wrote, ended_cells) = reader.read_record(piece, &mut text[written..], &mut ends[cells..]);
                piece = &piece[read..];
                written += wrote;
                cells += ended_cells;
                match result {
                    csv_core::ReadRecordResult::InputEmpty => break,
                    csv_core::ReadRecordResult::End => return Ok(()),
                    csv_core::ReadRecordResult::OutputFull => {
                        overlong.see(&text, &ends[..cells]);
                        written = 0;
                        continue;
                    }
                    // The last cell takes what is too much.
                    csv_core::ReadRecordResult::OutputEndsFull => {
                        overlong.wide = true;
                        cells = COLUMNS_MAX - 1;
                        continue;
                    }
                    csv_core::ReadRecordResult::Record => {}
                }
                // Every line is ended, so what ends with the file only is within quotation marks.
                let inside = overlong.line_ends + line_ends(&text[..written]);
                let more = inside.saturating_sub(u32::from(ended));
                record.clear(line(&reader, more));
                record.lines_more = more;
                let (mut taken, mut taken_ends) = record.take();
                match overlong.start.take() {
                    Some(start) => {
                        taken_ends.push(start.len());
                        taken.extend_from_slice(&start);
                        record.broken = Some(Broken::Long);
                    }
                    None => {
                        taken.extend_from_slice(&text[..written]);
                        taken_ends.extend_from_slice(&ends[..cells]);
                        record.broken = overlong.wide.then_some(Broken::Wide);
                    }
                }
                if ended {
                    record.broken = Some(Broken::Unclosed);
                }
                record.fill(taken, taken_ends);
                // Separators without end are an empty spreadsheet's.
                if record.broken == Some(Broken::Wide) && record.get(COLUMNS_MAX - 1).trim().is_empty() {
                    record.broken = None;
                }
                (written, cells, overlong) = (0, 0, Overlong::default());
                if !std::mem::take(&mut skip) && take(&record).is_break() {
                    return Ok(());
                }
            }
            if ended {
                return Ok(());
            }
        }
    }
}

/// What is kept of a row that is longer than any.
#[derive(Debug, Default)]
struct Overlong {
    /// The first line of its first cell.
    start: Option<Vec<u8>>,
    /// The line ends in what is not kept.
    line_ends: u32,
    /// Has it too many columns?
    wide: bool,
}

impl Overlong {
    fn see(&mut self, text: &[u8], ends: &[usize]) {
        self.line_ends = self.line_ends.saturating_add(line_ends(text));
        self.start.get_or_insert_with(|| {
            let first = &text[..ends.first().copied().unwrap_or(text.len()).min(START_BYTES_MAX)];
            first.split(|byte| *byte == b'\n').next().unwrap_or_default().to_vec()
        });
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
        [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', separator] if *separator == b'\t' || separator.is_ascii_punctuation() => {
            Some(*separator)
        }
        _ => None,
    }
}

/// A line for people: `# …`. A header's `#` is none, and `#QD-0041713` may be a serial.
pub(super) fn is_comment(line: &str) -> bool {
    line.strip_prefix('#').is_some_and(|rest| {
        rest.chars().next().is_none_or(|c| c == '#' || c.is_whitespace())
            && !damage::is_error_value(line)
            && !rest.starts_with(SEPARATORS.map(char::from))
    })
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
        let counts: Vec<usize> = lines.iter().map(|line| outside_quotes(line, *separator).count()).collect();
        let agree = |count: usize| counts.iter().filter(|other| **other == count).count();
        let (agree, count) =
            counts.iter().filter(|count| **count > 0).map(|count| (agree(*count), *count)).max().unwrap_or_default();
        (agree * 5 >= lines.len() * 4 && parts(lines, *separator), agree, count)
    };
    SEPARATORS.iter().rev().copied().max_by_key(support).filter(|best| support(best).1 > 0).unwrap_or(NONE)
}

/// Does it part columns, or is it only within their texts: `1,5` and `red, or so`, in most lines?
fn parts(lines: &[&str], separator: u8) -> bool {
    let is_text = |line: &str, at: usize| {
        let byte = |at: Option<usize>| at.and_then(|at| line.as_bytes().get(at)).copied().unwrap_or(b'\n');
        let (before, after) = (byte(at.checked_sub(1)), byte(Some(at + 1)));
        (before.is_ascii_digit() && after.is_ascii_digit() && separator == b',') || (before != b' ' && after == b' ')
    };
    let with = lines.iter().filter(|line| outside_quotes(line, separator).next().is_some());
    let (all, texts) = with.fold((0, 0), |(all, texts), line| {
        (all + 1, texts + usize::from(outside_quotes(line, separator).all(|at| is_text(line, at))))
    });
    texts * 5 < all * 4
}

/// Where a byte stands in a line, but not within quotation marks.
fn outside_quotes(line: &str, separator: u8) -> impl Iterator<Item = usize> {
    let mut quoted = false;
    line.bytes().enumerate().filter_map(move |(at, byte)| {
        quoted ^= byte == b'"';
        (byte == separator && !quoted).then_some(at)
    })
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
            ("A1;1,5 x 2,5\nA2;1,5 x 2,5", b';'),
            ("serial;size, in cm, B x H\nA1;1,0 x 2,0\nA2;1,0 x 2,0\nA3;1,0 x 2,0\nA4;1,0 x 2,0", b';'),
            ("A1,x; y\nA2,x; z", b','),
            ("17001,17005\n17002,17006", b','),
            ("A1~red\nA2~blue", b'~'),
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
            ("#made", false),
            ("#QD-0041713", false),
            ("#", true),
            ("#REF!", false),
            ("#;serial", false),
            ("#########", false),
        ] {
            assert_eq!(is_comment(line), comment, "{line}");
        }
    }
}
