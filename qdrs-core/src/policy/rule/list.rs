//! `list`: a serial that stands in a list; further columns of the list are kept beside it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::Deserialize;

use crate::policy::text::{self, Table, text};

/// The most bytes of a list's file.
const LIST_BYTES_MAX: usize = 1 << 30;

/// Parts the columns of a kept row: no serial and no cell has it.
const PART: u8 = 0x1f;

/// `list`: the serial is one of a file's column, or of those written in the policy.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::policy) struct Rule {
    /// A CSV file; whoever loads the policy reads it.
    pub(in crate::policy) file: Option<String>,
    /// The column with the serials; `serial`, or the first, when left out.
    column: Option<String>,
    /// Further columns to keep.
    #[serde(default)]
    pub(in crate::policy) keep: Vec<String>,
    /// The kept column with the hardware id that each serial's device must have.
    pub(in crate::policy) hwid: Option<String>,
    #[serde(default)]
    serials: Vec<String>,
    #[serde(skip)]
    list: Option<Arc<List>>,
}

impl Rule {
    pub(super) const KEYS: &[&str] = &["file", "column", "keep", "hwid", "serials"];

    pub(super) fn print(&self, table: &mut Table) {
        let Self { file, column, keep, hwid, serials, list: _ } = self;
        let words = |words: &mut dyn Iterator<Item = &String>| {
            let words: Vec<_> = words.map(|word| text(word)).collect();
            (!words.is_empty()).then(|| text::list(words))
        };
        table.put_some("file", file.as_deref().map(text));
        table.put_some("column", column.as_deref().map(text));
        // The one with the hardware id is kept in any case.
        table.put_some("keep", words(&mut keep.iter().filter(|name| Some(*name) != hwid.as_ref())));
        table.put_some("hwid", hwid.as_deref().map(text));
        table.put_some("serials", words(&mut serials.iter()));
    }

    pub(super) fn sound(mut self) -> Result<Self, String> {
        if self.file.is_some() != self.serials.is_empty() {
            return Err("a `list` rule needs either `file = \"serials.csv\"` or `serials = [\"…\"]`".to_owned());
        }
        if self.file.is_none() && (self.column.is_some() || !self.keep.is_empty() || self.hwid.is_some()) {
            return Err("in a `list` rule `column`, `keep` and `hwid` are about a `file`".to_owned());
        }
        if let Some(hwid) = &self.hwid {
            self.keep.retain(|name| name != hwid);
            self.keep.push(hwid.clone());
        }
        Ok(self)
    }

    /// Takes what its file holds; or, without one, its own serials.
    pub(in crate::policy) fn load(&mut self, bytes: &[u8], normalise: &dyn Fn(&str) -> String) -> Result<(), String> {
        let list = if self.file.is_some() {
            List::read(bytes, self.column.as_deref(), &self.keep, normalise)?
        } else {
            List::new(self.serials.iter().zip(1..).map(|(serial, row)| (normalise(serial).into_bytes(), row)).collect())?
        };
        self.list = Some(Arc::new(list));
        Ok(())
    }

    /// The kept columns of a serial: name and value.
    pub(in crate::policy) fn row(&self, serial: &str) -> Option<BTreeMap<&str, &str>> {
        let row = self.list.as_ref()?.find(serial)?;
        Some(self.keep.iter().map(String::as_str).zip(row.split(char::from(PART)).skip(1)).collect())
    }

    pub(super) fn check(&self, what: &str, text: &str) -> Result<(), String> {
        match &self.list {
            None => Err(format!("{what} can't be looked up, since the list has not been loaded")),
            Some(list) if list.find(text).is_some() => Ok(()),
            Some(list) => Err(format!("{what} is not among its {}", list.starts.len())),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "stand in the list `{file}`"),
            None => f.write_str("stand in the policy's list"),
        }
    }
}

/// Rows sorted by serial, one after the other in one piece of memory: millions of them cost little more than their text.
#[derive(Clone)]
struct List {
    text: String,
    starts: Vec<u32>,
}

impl List {
    /// Of rows that begin with their serial, each with its place in the file.
    fn new(mut rows: Vec<(Vec<u8>, u64)>) -> Result<Self, String> {
        let serial = |row: &[u8]| row.split(|byte| *byte == PART).next().unwrap_or_default().to_vec();
        rows.sort_unstable_by(|a, b| serial(&a.0).cmp(&serial(&b.0)).then(a.1.cmp(&b.1)));
        let mut list = Self { text: String::new(), starts: Vec::with_capacity(rows.len()) };
        let mut last: Option<(Vec<u8>, u64)> = None;
        for (row, line) in rows {
            let name = serial(&row);
            if let Some((before, first)) = &last
                && *before == name
            {
                return Err(format!("rows {first} and {line} hold the same serial `{}`", String::from_utf8_lossy(&name)));
            }
            last = Some((name, line));
            list.starts.push(u32::try_from(list.text.len()).map_err(|_| "the list is longer than 4 GiB".to_owned())?);
            list.text.push_str(&String::from_utf8_lossy(&row));
        }
        list.text.shrink_to_fit();
        Ok(list)
    }

    fn read(bytes: &[u8], column: Option<&str>, keep: &[String], normalise: &dyn Fn(&str) -> String) -> Result<Self, String> {
        if bytes.len() > LIST_BYTES_MAX {
            return Err("the list is larger than 1 GiB".to_owned());
        }
        let text = std::str::from_utf8(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes))
            .map_err(|_| "the list is not UTF-8; save it as `CSV UTF-8`".to_owned())?;
        let header = text.lines().next().unwrap_or_default();
        let separator = *b",;\t"
            .iter()
            .max_by_key(|separator| (header.bytes().filter(|byte| byte == *separator).count(), **separator == b','))
            .unwrap_or(&b',');
        let mut reader =
            csv::ReaderBuilder::new().delimiter(separator).flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
        let names = reader.headers().map_err(|error| format!("the list has no header: {error}"))?.clone();
        let place = |name: &str| names.iter().position(|known| known.eq_ignore_ascii_case(name));
        let missing = |name: &str| {
            let known: Vec<_> = names.iter().collect();
            format!("the list has no column `{name}`; its first row has `{}`", known.join("`, `"))
        };
        let serial = match column {
            Some(name) => place(name).ok_or_else(|| missing(name))?,
            None => place("serial").unwrap_or(0),
        };
        let kept = keep.iter().map(|name| place(name).ok_or_else(|| missing(name))).collect::<Result<Vec<_>, _>>()?;
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| format!("the list can't be read: {error}"))?;
            let line = record.position().map_or(0, csv::Position::line);
            let name = record.get(serial).unwrap_or_default();
            if name.is_empty() {
                continue;
            }
            let mut row = normalise(name).into_bytes();
            for column in &kept {
                row.push(PART);
                row.extend(record.get(*column).unwrap_or_default().bytes().filter(|byte| *byte != PART));
            }
            rows.push((row, line));
        }
        if rows.is_empty() {
            return Err("the list holds no serial".to_owned());
        }
        Self::new(rows)
    }

    fn find(&self, serial: &str) -> Option<&str> {
        let row = |at: usize| {
            let start = self.starts[at] as usize;
            let end = self.starts.get(at + 1).map_or(self.text.len(), |end| *end as usize);
            &self.text[start..end]
        };
        let (mut at, mut end) = (0, self.starts.len());
        while at < end {
            let middle = at + (end - at) / 2;
            if name_of(row(middle)) < serial { at = middle + 1 } else { end = middle }
        }
        (at < self.starts.len()).then(|| row(at)).filter(|row| name_of(row) == serial)
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} serials", self.starts.len())
    }
}

fn name_of(row: &str) -> &str {
    row.split(char::from(PART)).next().unwrap_or_default()
}
