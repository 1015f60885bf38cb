//! The batch file: which serial numbers are to be made, one a row.
//!
//! A CSV file as spreadsheets save it: separated by `,` `;` or tab, with or without a byte order mark, with or without a
//! header. The column is the one that is called `serial`, `serial number` or alike, else the first. All that is wrong is
//! said at once, with file and line. Whether a serial is valid is the policy's to say, not this file's.

use std::{
    collections::HashMap,
    fmt,
    io::Read,
    ops::Range,
    path::{Path, PathBuf},
};

use qdrs_core::{api::Code, explain::Explain, serial::SERIAL_BYTES_MAX};

/// The longest file, in bytes.
pub const BATCH_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// The most serials in one file.
pub const BATCH_ROWS_MAX: usize = 1_000_000;
/// The longest field of any column, in bytes. A longer one is most often a quotation mark that nobody closed.
pub const FIELD_BYTES_MAX: usize = 4096;
/// The most faults that are told one by one.
pub const FAULTS_MAX: usize = 50;

const SEPARATORS: [u8; 3] = [b',', b';', b'\t'];
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// The serials of one file, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Where they come from.
    pub path: PathBuf,
    /// The file's name without its ending: the batch's name unless it is given another.
    pub name: String,
    /// The serials.
    pub rows: Vec<Row>,
}

/// One serial of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it stands in the file, counted from 1.
    pub line: u64,
    /// The serial as it stands there, without spaces around it.
    pub serial: String,
}

/// Why a batch can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The file can't be read at all.
    #[error("the batch `{}` can't be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("`{}` {why}", path.display())]
    NotCsv {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        why: &'static str,
        /// How to mend it.
        help: &'static str,
    },
    /// Some rows are wrong.
    #[error("{count} of the rows in `{}` can't be used", path.display())]
    Rows {
        /// The file.
        path: PathBuf,
        /// How many faults there are.
        count: usize,
        /// The first [`FAULTS_MAX`] of them.
        faults: Vec<Fault>,
    },
}

/// One thing that is wrong in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: u64,
    /// The line of the first occurrence, for a serial that stands twice.
    pub first: Option<u64>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Fault {}

impl Explain for Fault {
    fn code(&self) -> Code {
        Code::BatchInvalid
    }

    fn at(&self) -> Option<String> {
        let path = self.path.display();
        Some(match self.first {
            Some(first) => format!("{path}, lines {first} and {}", self.line),
            None => format!("{path}, line {}", self.line),
        })
    }
}

impl Explain for BatchError {
    fn code(&self) -> Code {
        Code::BatchInvalid
    }

    fn help(&self) -> String {
        match self {
            Self::Unreadable { .. } => "check the path and that this user may read the file".into(),
            Self::NotCsv { help, .. } => (*help).to_owned(),
            Self::Rows { .. } => self.code().help().to_owned(),
        }
    }

    fn each(&self) -> Vec<&dyn Explain> {
        match self {
            Self::Rows { faults, .. } => faults.iter().map(|fault| fault as &dyn Explain).collect(),
            _ => Vec::new(),
        }
    }
}

impl Batch {
    /// Reads a batch from a file.
    ///
    /// # Errors
    ///
    /// All that is wrong with the file, at once.
    pub fn open(path: &Path) -> Result<Self, BatchError> {
        let mut bytes = Vec::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(BATCH_BYTES_MAX + 1).read_to_end(&mut bytes));
        read.map_err(|source| BatchError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(path, &bytes)
    }

    /// Reads a batch from the bytes of a file; `path` is for the messages and the name.
    ///
    /// # Errors
    ///
    /// All that is wrong with the file, at once.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, BatchError> {
        let not_csv = |why, help| BatchError::NotCsv { path: path.to_owned(), why, help };
        if bytes.len() as u64 > BATCH_BYTES_MAX {
            return Err(not_csv("is larger than 256 MiB", "divide the batch into several files"));
        }
        if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"\xD0\xCF\x11\xE0") {
            return Err(not_csv("is a spreadsheet, not a CSV file", "open it and save it as `CSV UTF-8`"));
        }
        if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
            return Err(not_csv("is UTF-16 text, not UTF-8", "save it as `CSV UTF-8`"));
        }
        let mut faults = Faults { path, count: 0, first: Vec::new() };
        let text = match std::str::from_utf8(bytes.strip_prefix(BOM).unwrap_or(bytes)) {
            Ok(text) => text,
            Err(error) => {
                let good = &bytes[..error.valid_up_to()];
                faults.add(line_at(good, good.len()), "the text is not UTF-8; save the file as `CSV UTF-8`");
                return Err(faults.into_error());
            }
        };
        let rows = read_rows(text, &mut faults);
        if faults.count > 0 {
            return Err(faults.into_error());
        }
        if rows.is_empty() {
            return Err(not_csv("holds no serial number", "write one serial number a row, under a header `serial`"));
        }
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { path: path.to_owned(), name, rows })
    }
}

struct Faults<'a> {
    path: &'a Path,
    count: usize,
    first: Vec<Fault>,
}

impl Faults<'_> {
    fn add(&mut self, line: u64, what: impl Into<String>) {
        self.push(line, None, what.into());
    }

    fn push(&mut self, line: u64, first: Option<u64>, what: String) {
        self.count += 1;
        if self.first.len() < FAULTS_MAX {
            self.first.push(Fault { path: self.path.to_owned(), line, first, what });
        }
    }

    fn into_error(self) -> BatchError {
        BatchError::Rows { path: self.path.to_owned(), count: self.count, faults: self.first }
    }
}

fn read_rows(text: &str, faults: &mut Faults<'_>) -> Vec<Row> {
    let (separator, body) = separator_of(text);
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .has_headers(false)
        .flexible(true)
        .from_reader(text[body.clone()].as_bytes());
    let mut lines = Lines { text: text.as_bytes(), at: 0, line: 1 };
    let mut record = csv::StringRecord::new();
    let mut column = None;
    let mut rows: Vec<Row> = Vec::new();
    let mut seen: HashMap<String, u64> = HashMap::new();
    // The text is UTF-8 and in memory, and rows may differ in length: nothing is left that the reader could refuse.
    while matches!(reader.read_record(&mut record), Ok(true)) {
        let line = lines.line_of(body.start + record.position().map_or(0, csv::Position::byte) as usize);
        if record.iter().any(|field| field.len() > FIELD_BYTES_MAX) {
            faults.add(line, format!("a field is longer than {FIELD_BYTES_MAX} bytes; is a quotation mark not closed?"));
            continue;
        }
        if record.iter().all(|field| field.trim_matches([' ', '\t', ',', ';']).is_empty()) {
            continue;
        }
        let column = match column {
            Some(column) => column,
            None => {
                let header = header(&record, line, faults);
                column = Some(header.unwrap_or(0));
                if header.is_some() {
                    continue;
                }
                0
            }
        };
        let serial = record.get(column).unwrap_or_default().trim();
        if let Some(what) = fault_of(serial) {
            faults.add(line, what);
        } else if let Some(first) = seen.get(serial) {
            faults.push(line, Some(*first), format!("serial number `{serial}` stands twice"));
        } else if rows.len() == BATCH_ROWS_MAX {
            faults.add(line, format!("a batch holds at most {BATCH_ROWS_MAX} serial numbers; divide it into several files"));
            break;
        } else {
            seen.insert(serial.to_owned(), line);
            rows.push(Row { line, serial: serial.to_owned() });
        }
    }
    rows
}

/// What is wrong with a serial before any policy looks at it.
fn fault_of(serial: &str) -> Option<String> {
    if serial.is_empty() {
        Some("the row has no serial number".into())
    } else if serial.contains(['\n', '\r']) {
        Some("the serial number runs over several lines; is a quotation mark not closed?".into())
    } else if serial.chars().any(char::is_control) {
        Some(format!("serial number `{}` holds a control character", serial.escape_debug()))
    } else if serial.len() > SERIAL_BYTES_MAX {
        Some(format!("the serial number is longer than {SERIAL_BYTES_MAX} bytes"))
    } else {
        None
    }
}

/// The column with the serials, if the first row is a header.
fn header(record: &csv::StringRecord, line: u64, faults: &mut Faults<'_>) -> Option<usize> {
    const NAMES: [&str; 7] = ["serial", "serialnumber", "serialno", "serialnr", "serials", "sn", "sno"];
    let words: Vec<String> =
        record.iter().map(|field| field.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase()).collect();
    let named: Vec<usize> = (0..words.len()).filter(|at| NAMES.contains(&words[*at].as_str())).collect();
    if let [one] = named[..] {
        return Some(one);
    }
    if let [one, other, ..] = named[..] {
        if let Some(plain) = words.iter().position(|word| word == "serial") {
            return Some(plain);
        }
        let (one, other) = (record.get(one).unwrap_or_default(), record.get(other).unwrap_or_default());
        faults.add(line, format!("two columns may hold the serial numbers, `{one}` and `{other}`; call one of them `serial`"));
        return Some(named[0]);
    }
    // "Serial number of the device": nobody's serial says so and has no digit.
    words.iter().position(|word| word.contains("serial") && !word.contains(|c: char| c.is_ascii_digit()))
}

/// The separator, and the part of the text with the rows. Spreadsheets may say it in a first line `sep=;`.
fn separator_of(text: &str) -> (u8, Range<usize>) {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if let [b's', b'e', b'p', b'=', separator] = line.trim().as_bytes()
            && SEPARATORS.contains(separator)
        {
            return (*separator, start + line.len()..text.len());
        }
        if !line.trim().is_empty() {
            let mut quoted = false;
            let mut counts = [0; SEPARATORS.len()];
            for byte in line.bytes() {
                quoted ^= byte == b'"';
                if let Some(at) = SEPARATORS.iter().position(|separator| *separator == byte && !quoted) {
                    counts[at] += 1;
                }
            }
            let best = (0..counts.len()).rev().max_by_key(|at| counts[*at]).unwrap_or(0);
            return (SEPARATORS[best], start..text.len());
        }
        start += line.len();
    }
    (SEPARATORS[0], 0..text.len())
}

/// Counts lines up to rising places, once over the text in all.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of a record that begins at `at` or, since the reader counts blank lines to the next record, after them.
    fn line_of(&mut self, at: usize) -> u64 {
        let blank = self.text[at..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.line += self.text[self.at..at + blank].iter().filter(|byte| **byte == b'\n').count() as u64;
        self.at = at + blank;
        self.line
    }
}

fn line_at(text: &[u8], at: usize) -> u64 {
    1 + text[..at].iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(text: &str) -> Vec<(u64, String)> {
        let batch = Batch::parse(Path::new("serials.csv"), text.as_bytes())
            .unwrap_or_else(|error| panic!("{text:?}: {error}: {:?}", said(&error)));
        batch.rows.into_iter().map(|row| (row.line, row.serial)).collect()
    }

    fn said(error: &BatchError) -> Vec<String> {
        match error.each()[..] {
            [] => vec![error.to_string()],
            ref each => each.iter().map(|fault| format!("{}: {fault}", fault.at().unwrap_or_default())).collect(),
        }
    }

    fn faults(text: impl AsRef<[u8]>) -> Vec<String> {
        said(&Batch::parse(Path::new("serials.csv"), text.as_ref()).expect_err("faulty"))
    }

    #[test]
    fn the_column_is_found_by_its_name_else_it_is_the_first() {
        let two = vec![(2, "A1".to_owned()), (3, "A2".to_owned())];
        for text in [
            "serial\nA1\nA2\n",
            "\u{feff}Serial Number\r\nA1\r\nA2\r\n",
            "id;S/N;colour\n1;A1;red\n2; A2 ;blue",
            "id\tserial_number\n1\tA1\n2\tA2\n",
            "\"id, old\",serial\n7,A1\n8,A2\n",
            "serial number,serial\nx,A1\ny,A2\n",
            "Serial number of the device,x\nA1,\nA2,\n",
        ] {
            assert_eq!(rows(text), two, "{text:?}");
        }
        assert_eq!(rows("A1,red\nA2,blue\n"), [(1, "A1".to_owned()), (2, "A2".to_owned())]);
    }

    #[test]
    fn lines_are_those_of_the_file() {
        assert_eq!(rows("\n\nserial\n\n\r\nA1\n  \n;;\n\"A2\"\n"), [(6, "A1".to_owned()), (9, "A2".to_owned())]);
        assert_eq!(rows("sep=;\nserial;note\nA1;\"two\nlines\"\nA2;\n"), [(3, "A1".to_owned()), (5, "A2".to_owned())]);
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let long = "9".repeat(SERIAL_BYTES_MAX + 1);
        insta::assert_snapshot!(faults(format!("serial,note\nA1,\n,forgotten\nA2,\nA1,\nA\u{7}3,\n{long},\n\"A4\nA5,\n")).join("\n"), @r"
        serials.csv, line 3: the row has no serial number
        serials.csv, lines 2 and 5: serial number `A1` stands twice
        serials.csv, line 6: serial number `A\u{7}3` holds a control character
        serials.csv, line 7: the serial number is longer than 128 bytes
        serials.csv, line 8: the serial number runs over several lines; is a quotation mark not closed?
        ");
        assert_eq!(faults(b"serial\nA1\nA\xE42\n"), ["serials.csv, line 3: the text is not UTF-8; save the file as `CSV UTF-8`"]);
        assert_eq!(
            faults("serial number;sn\n1;2\n"),
            ["serials.csv, line 1: two columns may hold the serial numbers, `serial number` and `sn`; call one of them `serial`"]
        );
        assert_eq!(faults("serial\n\n"), ["`serials.csv` holds no serial number"]);
        assert_eq!(faults(b"PK\x03\x04\0"), ["`serials.csv` is a spreadsheet, not a CSV file"]);
    }

    #[test]
    fn faults_are_bounded() {
        let error = Batch::parse(Path::new("x.csv"), "serial\nA1\n".repeat(3000).as_bytes()).expect_err("faulty");
        assert_eq!(error.each().len(), FAULTS_MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_give_rows_or_a_sentence(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b','), Just(b'"'), Just(b';')], 0..400)) {
            match Batch::parse(Path::new("x.csv"), &bytes) {
                Ok(batch) => prop_assert!(!batch.rows.is_empty()),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }

        #[test]
        fn plain_serials_come_back_with_their_lines(serials in proptest::collection::hash_set("[A-Z0-9-]{1,20}", 1..40)) {
            let serials: Vec<String> = serials.into_iter().filter(|serial| !["SERIAL", "SN", "SERIALS"].contains(&serial.as_str())).collect();
            prop_assume!(!serials.is_empty());
            let found = rows(&format!("serial\n{}\n", serials.join("\n")));
            prop_assert_eq!(found, (2..).zip(serials).collect::<Vec<_>>());
        }
    }
}
