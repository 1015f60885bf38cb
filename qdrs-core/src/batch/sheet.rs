//! A sheet of an .xlsx, row after row.
//!
//! A cell that holds a number has lost what was not one: zeros in front, digits after the fifteenth. So each cell comes
//! with what it is ([`Cell`]), and only the judge takes one. Nothing is ever as large as the sheet says it is: cells are
//! read one by one.

use std::{borrow::Cow, io::Read, ops::ControlFlow};

use jiff::{ToSpan, civil};
use quick_xml::events::{BytesStart, Event};

use super::{
    layout::{is_a_name, letters_of},
    number_format::Shows,
    ranges::Ranges,
    record::{COLUMNS_MAX, Cell, Record},
    source::Bytes,
    workbook::{Broken, Known, Workbook, read_text},
    xml::{Xml, add_text, attribute, is_set, unescaped},
};

/// Rows of a sheet, by its format.
const ROWS_MAX: u32 = 1_048_576;
/// Columns of a sheet.
const SHEET_COLUMNS_MAX: u32 = 16_384;
/// From here on a number is not exact in a spreadsheet.
const EXACT_BELOW: f64 = 1e15;
/// How many rows are looked at for the name of a column.
const HEADER_ROWS_MAX: usize = 10;

/// An open sheet.
pub(super) struct Sheet<'f> {
    book: Workbook<'f>,
    /// Its name.
    pub(super) name: String,
    /// Is it hidden, though nobody asked for it?
    pub(super) hidden: bool,
    /// Other sheets with a column of serials.
    pub(super) others: Vec<String>,
}

/// What stands beside the values.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// Rows in which a formula made the column's value.
    pub(super) formulas: Ranges,
    /// Rows that nobody sees.
    pub(super) hidden_rows: Ranges,
    /// Is the column one that nobody sees?
    pub(super) hidden_column: bool,
}

/// What a sheet says, in its order.
enum Told<'t> {
    /// Columns that are hidden, from 0, both ends included.
    HiddenColumns(u32, u32),
    HiddenRow(u32),
    Cell {
        cell: &'t Spot,
        text: &'t str,
    },
}

/// Hears what a sheet says, until it has heard enough.
type Listener<'l> = dyn FnMut(Told<'_>, &Known) -> Result<ControlFlow<()>, Broken> + 'l;

/// Which cell it is, and what is known of it beside its text.
#[derive(Debug, Default)]
struct Spot {
    /// From 1.
    row: u32,
    /// From 0; none before the row's first.
    column: Option<u32>,
    style: usize,
    /// Its type, as the sheet writes it.
    kind: String,
    has_formula: bool,
}

/// What a look at the first rows of a sheet tells.
struct Glance {
    empty: bool,
    names_serials: bool,
}

impl<'f> Sheet<'f> {
    /// Opens the sheet that is asked for; else the first with a column called serial, else the first with data. What is
    /// hidden comes last.
    pub(super) fn open(file: &'f mut dyn Bytes, asked: Option<&str>) -> Result<Self, Broken> {
        let book = Workbook::open(file)?;
        let mut sheets = book.sheets.clone();
        sheets.sort_by_key(|sheet| sheet.hidden);
        let mut open = Self { book, name: String::new(), hidden: false, others: Vec::new() };
        if let Some(asked) = asked {
            let found = sheets.iter().find(|sheet| sheet.name.trim().to_lowercase() == asked.trim().to_lowercase());
            let names: Vec<&str> = sheets.iter().map(|sheet| &*sheet.name).collect();
            open.name = found.map(|sheet| sheet.name.clone()).ok_or_else(|| Broken {
                why: format!("has no sheet `{asked}`"),
                help: match &names[..] {
                    [] => "it has no sheet at all".into(),
                    names => format!("its sheets are `{}`", names.join("`, `")),
                },
            })?;
            return Ok(open);
        }
        let (mut with_data, mut named) = (None, Vec::new());
        for sheet in sheets {
            if sheet.hidden && with_data.is_some() {
                break;
            }
            open.name.clone_from(&sheet.name);
            let glance = open.glance()?;
            if glance.names_serials {
                named.push(sheet.clone());
            }
            if !glance.empty {
                with_data.get_or_insert(sheet);
            }
        }
        open.others = named.iter().skip(1).map(|sheet| sheet.name.clone()).collect();
        let sheet = named.into_iter().next().or(with_data).ok_or_else(|| Broken {
            why: "has no sheet with data".into(),
            help: "write one serial a row, under a header `serial`".into(),
        })?;
        (open.name, open.hidden) = (sheet.name, sheet.hidden);
        Ok(open)
    }

    fn glance(&mut self) -> Result<Glance, Broken> {
        let (mut glance, mut rows) = (Glance { empty: true, names_serials: false }, 0);
        self.each(&mut |record| {
            rows += usize::from(!record.is_blank());
            glance.empty = rows == 0;
            glance.names_serials |= record.cells().any(is_a_name);
            if glance.names_serials || rows >= HEADER_ROWS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(glance)
    }

    /// Each row that has something, in its order, until `take` has seen enough.
    pub(super) fn each(&mut self, take: &mut dyn FnMut(&Record) -> ControlFlow<()>) -> Result<(), Broken> {
        let mut record = Record::default();
        record.clear(0);
        let mut enough = false;
        self.walk(&mut |told, known| {
            let Told::Cell { cell, text } = told else { return Ok(ControlFlow::Continue(())) };
            if cell.row > record.line {
                enough = record.line > 0 && take(&record).is_break();
                if enough {
                    return Ok(ControlFlow::Break(()));
                }
                record.clear(cell.row);
            }
            put(&mut record, cell, text, known)?;
            Ok(ControlFlow::Continue(()))
        })?;
        if record.line > 0 && !enough {
            let _ = take(&record);
        }
        Ok(())
    }

    /// What stands beside the values of a column.
    pub(super) fn aside(&mut self, wanted: usize) -> Result<Aside, Broken> {
        let mut aside = Aside::default();
        self.walk(&mut |told, _| {
            match told {
                Told::HiddenColumns(from, to) => aside.hidden_column |= (from as usize..=to as usize).contains(&wanted),
                Told::HiddenRow(row) => aside.hidden_rows.add(row),
                Told::Cell { cell, .. } if cell.has_formula && cell.column == Some(wanted as u32) => aside.formulas.add(cell.row),
                Told::Cell { .. } => {}
            }
            Ok(ControlFlow::Continue(()))
        })?;
        aside.formulas.sort();
        aside.hidden_rows.sort();
        Ok(aside)
    }

    /// Tells all that a sheet says, until `take` has heard enough.
    fn walk(&mut self, take: &mut Listener<'_>) -> Result<(), Broken> {
        let (mut part, known) = self.book.sheet(&self.name)?;
        let (mut row, mut cell, mut text) = (0, Spot::default(), String::new());
        loop {
            let told = match part.next()? {
                Event::Start(tag) => match tag.local_name().as_ref() {
                    "col" if row == 0 && is_set(&tag, "hidden")? => {
                        let number = |name| Ok::<_, Broken>(attribute(&tag, name)?.and_then(|number| number.parse::<u32>().ok()));
                        match (number("min")?, number("max")?) {
                            (Some(from @ 1..), Some(to @ 1..)) => Told::HiddenColumns(from - 1, to - 1),
                            _ => continue,
                        }
                    }
                    "row" => {
                        row = match attribute(&tag, "r")? {
                            Some(number) => number.parse().map_err(|_| Broken::damaged("a row has no number"))?,
                            None => row + 1,
                        };
                        if row != cell.row {
                            cell.column = None;
                        }
                        if !is_set(&tag, "hidden")? {
                            continue;
                        }
                        Told::HiddenRow(row)
                    }
                    "c" => {
                        cell.begin(&tag, row)?;
                        text.clear();
                        continue;
                    }
                    "f" => {
                        cell.has_formula = true;
                        skip(&mut part, "f")?;
                        continue;
                    }
                    // What an inline text repeats here is not it.
                    "v" if cell.kind == "inlineStr" => {
                        skip(&mut part, "v")?;
                        continue;
                    }
                    "v" => {
                        read_value(&mut part, &mut text)?;
                        continue;
                    }
                    "is" => {
                        read_text(&mut part, "is", &mut text)?;
                        continue;
                    }
                    _ => continue,
                },
                Event::End(tag) => match tag.local_name().as_ref() {
                    "c" => Told::Cell { cell: &cell, text: &text },
                    "sheetData" => return Ok(()),
                    _ => continue,
                },
                Event::Eof => return Err(Broken::damaged("its sheet breaks off")),
                _ => continue,
            };
            if take(told, known)?.is_break() {
                return Ok(());
            }
        }
    }
}

impl Spot {
    /// A cell begins; where it does not say which it is, it is the next.
    fn begin(&mut self, tag: &BytesStart<'_>, row: u32) -> Result<(), Broken> {
        let damaged = || Broken::damaged("a cell has no place");
        let (mut at, before) = ((row, self.column.map_or(0, |column| column + 1)), (self.row, self.column));
        (self.style, self.has_formula) = (0, false);
        self.kind.clear();
        for attribute in tag.attributes().with_checks(false) {
            let attribute = attribute.map_err(|error| Broken::damaged(&error.to_string()))?;
            match attribute.key.as_ref() {
                "r" => at = place(&attribute.value).ok_or_else(damaged)?,
                "s" => self.style = attribute.value.parse().unwrap_or(0),
                "t" => self.kind.push_str(&attribute.value),
                _ => {}
            }
        }
        if !(1..=ROWS_MAX).contains(&at.0) || at.1 >= SHEET_COLUMNS_MAX {
            return Err(damaged());
        }
        if (at.0, Some(at.1)) <= before {
            let (row, column) = (before.0, before.1.unwrap_or(0));
            let name = |row: u32, column: u32| format!("{}{row}", letters_of(column as usize));
            return Err(Broken::damaged(&format!("cell {} follows cell {}", name(at.0, at.1), name(row, column))));
        }
        (self.row, self.column) = (at.0, Some(at.1));
        Ok(())
    }
}

/// The row from 1 and the column from 0 of `B7`.
fn place(name: &str) -> Option<(u32, u32)> {
    let letters = name.bytes().take_while(u8::is_ascii_alphabetic).count();
    let number = |sum: u32, letter: u8| sum.checked_mul(26)?.checked_add(u32::from(letter.to_ascii_uppercase() - b'A') + 1);
    let column = name[..letters].bytes().try_fold(0, number)?;
    Some((name[letters..].parse().ok()?, column.checked_sub(1)?))
}

/// The text of a value that has just begun, up to its end.
fn read_value<R: Read>(part: &mut Xml<R>, text: &mut String) -> Result<(), Broken> {
    text.clear();
    loop {
        match part.next()? {
            Event::End(tag) if tag.local_name().as_ref() == "v" => return Ok(()),
            Event::Eof => return Err(Broken::damaged("its sheet breaks off")),
            event => add_text(&event, text)?,
        }
    }
}

fn skip<R: Read>(part: &mut Xml<R>, name: &str) -> Result<(), Broken> {
    loop {
        match part.next()? {
            Event::End(tag) if tag.local_name().as_ref() == name => return Ok(()),
            Event::Eof => return Err(Broken::damaged("its sheet breaks off")),
            _ => {}
        }
    }
}

/// Puts a cell into its row as a person sees it.
fn put(record: &mut Record, cell: &Spot, text: &str, known: &Known) -> Result<(), Broken> {
    let column = cell.column.unwrap_or(0) as usize;
    let format = known.format(cell.style);
    let (kind, text): (Cell, Cow<'_, str>) = match cell.kind.as_str() {
        "s" if text.is_empty() => return Ok(()),
        "s" => {
            let text = text.trim().parse().ok().and_then(|number| known.text(number));
            let text = text.ok_or_else(|| Broken::damaged("a cell has a text that is not in its table"))?;
            (Cell::Text, text.into())
        }
        "str" => (Cell::Text, unescaped(text)),
        "inlineStr" => (Cell::Text, text.into()),
        "b" => (Cell::Bool, if matches!(text.trim(), "1" | "true") { "TRUE" } else { "FALSE" }.into()),
        "e" => (Cell::Error, text.into()),
        "d" => (Cell::Date, text.into()),
        _ if text.trim().is_empty() => return Ok(()),
        _ => match text.trim().parse::<f64>() {
            Ok(number) if format.is_some_and(|format| format.is_date) => (Cell::Date, day(number, known.from_1904).into()),
            Ok(number) => {
                let (kind, text) = number_in_text(number);
                (kind, text.into())
            }
            Err(_) => (Cell::Text, text.into()),
        },
    };
    if text.is_empty() {
        return Ok(());
    }
    if column >= COLUMNS_MAX {
        // A stray remark is nobody's concern there, the serials are.
        return if is_a_name(&text) {
            Err(Broken {
                why: format!(
                    "has the column `{}` in {}, and only the first {COLUMNS_MAX} columns are read",
                    text.trim(),
                    letters_of(column)
                ),
                help: "move that column to the left, or copy it into a sheet of its own".into(),
            })
        } else {
            Ok(())
        };
    }
    let shows = match (kind, format) {
        (Cell::Number, Some(format)) => format.number(&text),
        (Cell::Text, Some(format)) => format.text(&text),
        _ => Shows::Itself,
    };
    match (shows, format) {
        (Shows::Itself, _) | (_, None) => record.put(column, kind, &text),
        (Shows::Other(shown), _) => record.put(column, Cell::Padded, &shown),
        (Shows::Unknown, Some(format)) => record.put_masked(column, &text, &format.code),
    }
    Ok(())
}

/// A number in digits, and whether it still has all of them.
fn number_in_text(number: f64) -> (Cell, String) {
    if number.fract() != 0.0 || !number.is_finite() || number.abs() >= EXACT_BELOW {
        return (Cell::Rounded, number.to_string());
    }
    (if number < 0.0 { Cell::Negative } else { Cell::Number }, format!("{:.0}", number + 0.0))
}

/// A day in words; nobody's serial, only for the sentence that says so.
fn day(number: f64, from_1904: bool) -> String {
    let first = if from_1904 { civil::date(1904, 1, 1) } else { civil::date(1899, 12, 30) };
    let seconds = (number.fract() * 86_400.0).round();
    // A number that is no day's is none here either.
    let moment = (0.0..1e7).contains(&number).then(|| {
        let day = first.at(0, 0, 0, 0).checked_add((number.trunc() as i64).days()).ok()?;
        day.checked_add((seconds as i64).seconds()).ok()
    });
    match moment.flatten() {
        Some(moment) if seconds == 0.0 => moment.date().to_string(),
        Some(moment) => moment.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => "a date".to_owned(),
    }
}
