//! `list`: a serial that stands in a list; further columns of the list are kept beside it.

use std::{collections::BTreeMap, fmt, io::Cursor, sync::Arc};

use serde::Deserialize;

use crate::{
    batch::ListFile,
    policy::text::{self, Table, text},
    serial::Shown,
};

/// The most bytes of a list's file.
const LIST_BYTES_MAX: u64 = 1 << 30;

/// Parts the columns of a kept row: no serial and no cell has it.
const PART: char = '\u{1f}';

/// `list`: the serial is one of a file's column, or of those written in the policy.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::policy) struct Rule {
    /// A CSV file or .xlsx; whoever loads the policy reads it.
    pub(in crate::policy) file: Option<String>,
    /// The sheet of an .xlsx; the first with data when left out.
    sheet: Option<String>,
    /// The column with the serials; found out as in a batch when left out.
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
    pub(super) const KEYS: &[&str] = &["file", "sheet", "column", "keep", "hwid", "serials"];

    pub(super) fn print(&self, table: &mut Table) {
        let Self { file, sheet, column, keep, hwid, serials, list: _ } = self;
        let words = |words: &mut dyn Iterator<Item = &String>| {
            let words: Vec<_> = words.map(|word| text(word)).collect();
            (!words.is_empty()).then(|| text::list(words))
        };
        table.put_some("file", file.as_deref().map(text));
        table.put_some("sheet", sheet.as_deref().map(text));
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
        if self.file.is_none() && (self.sheet.is_some() || self.column.is_some() || !self.keep.is_empty() || self.hwid.is_some())
        {
            return Err("in a `list` rule `sheet`, `column`, `keep` and `hwid` are about a `file`".to_owned());
        }
        if let Some(hwid) = &self.hwid {
            self.keep.retain(|name| name != hwid);
            self.keep.push(hwid.clone());
        }
        Ok(self)
    }

    /// Takes what its file holds; or, without one, its own serials.
    pub(in crate::policy) fn load(
        &mut self,
        file: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
        normalise: &dyn Fn(&str) -> String,
    ) -> Result<(), String> {
        let list = match &self.file {
            Some(name) => {
                let bytes = file(name).map_err(|why| format!("the list `{name}` can't be read: {why}"))?;
                let (sheet, column) = (self.sheet.as_deref(), self.column.as_deref());
                let list = ListFile { name, bytes_max: LIST_BYTES_MAX, sheet, column, beside: &self.keep };
                List::read(&bytes, &list, normalise).map_err(|why| format!("the list {why}"))?
            }
            None => List::own(&self.serials, normalise)?,
        };
        self.list = Some(Arc::new(list));
        Ok(())
    }

    /// The kept columns of a serial: name and value.
    pub(in crate::policy) fn row(&self, serial: &str) -> Option<BTreeMap<&str, &str>> {
        let row = self.list.as_ref()?.find(serial)?;
        Some(self.keep.iter().map(String::as_str).zip(row.split(PART).skip(1)).collect())
    }

    pub(super) fn check(&self, what: &str, text: &str) -> Result<(), String> {
        match &self.list {
            None => Err(format!("{what} can't be looked up, since the list has not been loaded")),
            Some(list) if list.find(text).is_some() => Ok(()),
            Some(list) => Err(format!("{what} is not among its {}", list.rows.len())),
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

/// Rows one after the other in one piece of memory: millions of them cost little more than their text.
#[derive(Clone)]
struct List {
    text: String,
    /// Where each row begins and ends, sorted by serial.
    rows: Vec<(u32, u32)>,
}

impl List {
    fn own(serials: &[String], normalise: &dyn Fn(&str) -> String) -> Result<Self, String> {
        let (mut text, mut rows) = (String::new(), Vec::new());
        for (serial, place) in serials.iter().zip(1..) {
            let start = text.len() as u32;
            text.push_str(&normalise(serial));
            rows.push((start, text.len() as u32, place));
        }
        Self::new(text, rows, "row").map_err(|why| format!("its {why}"))
    }

    /// Of serials in normal form, each with its place, which `word` names.
    fn new(text: String, mut rows: Vec<(u32, u32, u32)>, word: &str) -> Result<Self, String> {
        let name = |row: &(u32, u32, u32)| name_of(&text[row.0 as usize..row.1 as usize]);
        rows.sort_unstable_by(|a, b| name(a).cmp(name(b)).then(a.2.cmp(&b.2)));
        if let Some(twins) = rows.windows(2).find(|pair| name(&pair[0]) == name(&pair[1])) {
            let (first, second) = (twins[0].2, twins[1].2);
            return Err(format!("{word}s {first} and {second} hold the same serial `{}`", Shown::new(name(&twins[0]))));
        }
        let rows = rows.into_iter().map(|(start, end, _)| (start, end)).collect();
        Ok(Self { text, rows })
    }

    fn read(bytes: &[u8], file: &ListFile<'_>, normalise: &dyn Fn(&str) -> String) -> Result<Self, String> {
        let (mut text, mut rows) = (String::new(), Vec::new());
        let word = file.each(Cursor::new(bytes), &mut |line, serial, beside| {
            let start = text.len();
            text.push_str(&normalise(serial));
            for cell in beside {
                text.push(PART);
                text.extend(cell.chars().filter(|c| *c != PART));
            }
            // Both fit, or the list is refused below.
            rows.push((start as u32, text.len() as u32, line));
        })?;
        if rows.is_empty() {
            return Err(format!("`{}` holds no serial", file.name));
        }
        if u32::try_from(text.len()).is_err() {
            return Err(format!("`{}` holds more than 4 GiB", file.name));
        }
        text.shrink_to_fit();
        Self::new(text, rows, word).map_err(|why| format!("`{}`, {why}", file.name))
    }

    fn find(&self, serial: &str) -> Option<&str> {
        let row = |(start, end): (u32, u32)| &self.text[start as usize..end as usize];
        let at = self.rows.binary_search_by(|place| name_of(row(*place)).cmp(serial)).ok()?;
        Some(row(self.rows[at]))
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} serials", self.rows.len())
    }
}

fn name_of(row: &str) -> &str {
    row.split(PART).next().unwrap_or_default()
}
