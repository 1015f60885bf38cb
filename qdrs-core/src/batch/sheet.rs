//! A sheet of an .xlsx, row after row.
//!
//! A cell that holds a number has lost what was not one: zeros in front, digits after the fifteenth. So each cell comes
//! with what it is ([`Cell`]), and only the judge takes one. Nothing is ever as large as the sheet says it is: cells are
//! read one by one.

use std::{
    cell::Cell as Flag,
    io::BufReader,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
};

use calamine::{DataRef, ExcelDateTime, Reader, SheetType, SheetVisible, Style, Xlsx, XlsxError};

use super::{
    ranges::Ranges,
    record::{COLUMNS_MAX, Cell, Record},
    source::Bytes,
    zip_guard,
};

/// Rows of a sheet, by its format.
const ROWS_MAX: u32 = 1_048_576;
/// The longest text of a cell that is looked at, in bytes.
const CELL_BYTES_MAX: usize = 4096;
/// From here on a number is not exact in a spreadsheet.
const EXACT_BELOW: f64 = 1e15;
/// The most zeros that a format may show.
const PADDED_DIGITS_MAX: usize = 64;

/// Why a workbook can't be read: what is wrong with it, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) why: String,
    pub(super) help: String,
}

impl Broken {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), help: "open it in the spreadsheet program and save it again as .xlsx, or as `CSV UTF-8`".into() }
    }
}

/// An open sheet.
pub(super) struct Sheet<'f> {
    book: Xlsx<BufReader<&'f mut dyn Bytes>>,
    /// Its name.
    pub(super) name: String,
}

thread_local! {
    static READING: Flag<bool> = const { Flag::new(false) };
}

/// Is this thread inside the reader of foreign workbooks? A panic there is the file's doing and becomes a sentence.
pub fn is_reading_a_workbook() -> bool {
    READING.get()
}

/// Reads with a reader that may stumble over what it does not expect.
fn guarded<T>(read: impl FnOnce() -> Result<T, XlsxError>) -> Result<T, Broken> {
    READING.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(read));
    READING.set(false);
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(XlsxError::CellError(value))) => Err(Broken {
            why: format!("has a cell with the error `{value}`"),
            help: "mend its formula, or delete the row".into(),
        }),
        Ok(Err(XlsxError::Password)) => {
            Err(Broken { why: "is protected by a password".into(), help: "save it without one, or as `CSV UTF-8`".into() })
        }
        Ok(Err(error)) => Err(Broken::new(format!("is damaged: {error}"))),
        Err(_) => Err(Broken::new("is damaged")),
    }
}

impl<'f> Sheet<'f> {
    /// Opens the sheet that is asked for, else the first with data; what is hidden comes last.
    pub(super) fn open(file: &'f mut dyn Bytes, asked: Option<&str>) -> Result<Self, Broken> {
        let io = |error: std::io::Error| Broken::new(format!("can't be read: {error}"));
        zip_guard::check(BufReader::new(&mut *file)).map_err(Broken::new)?;
        file.rewind().map_err(io)?;
        let mut book: Xlsx<_> = guarded(|| Xlsx::new(BufReader::new(file)))?;
        let mut sheets: Vec<_> = book.sheets_metadata().iter().filter(|sheet| sheet.typ == SheetType::WorkSheet).collect();
        sheets.sort_by_key(|sheet| sheet.visible != SheetVisible::Visible);
        let names: Vec<String> = sheets.into_iter().map(|sheet| sheet.name.clone()).collect();
        if let Some(asked) = asked {
            let found = names.iter().find(|name| name.trim().to_lowercase() == asked.trim().to_lowercase());
            return match found.cloned() {
                Some(name) => Ok(Self { book, name }),
                None => Err(Broken {
                    why: format!("has no sheet `{asked}`"),
                    help: match &names[..] {
                        [] => "it has no sheet at all".into(),
                        names => format!("its sheets are `{}`", names.join("`, `")),
                    },
                }),
            };
        }
        for name in names {
            let mut sheet = Self { book, name };
            let mut empty = true;
            sheet.each(&mut |record| {
                empty = record.is_blank();
                if empty { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            if !empty {
                return Ok(sheet);
            }
            book = sheet.book;
        }
        Err(Broken { why: "has no sheet with data".into(), help: "write one serial a row, under a header `serial`".into() })
    }

    /// Each row that has something, in its order, until `take` has seen enough.
    pub(super) fn each(&mut self, take: &mut dyn FnMut(&Record) -> ControlFlow<()>) -> Result<(), Broken> {
        let mut cells = guarded(|| self.book.worksheet_cells_reader(&self.name))?;
        let paddings: Vec<Option<usize>> = cells.styles().iter().map(padding).collect();
        let mut record = Record::default();
        record.clear(0);
        while let Some((cell, style)) = guarded(|| cells.next_cell_with_style_id())? {
            let (row, column) = cell.get_position();
            let row = row.saturating_add(1);
            if row > ROWS_MAX || row < record.line {
                return Err(Broken::new(format!("is damaged: row {row} follows row {}", record.line)));
            }
            if row > record.line {
                if record.line > 0 && take(&record).is_break() {
                    return Ok(());
                }
                record.clear(row);
            }
            if (column as usize) < COLUMNS_MAX {
                put(&mut record, column as usize, cell.get_value(), paddings.get(style).copied().flatten());
            }
        }
        if record.line > 0 {
            let _ = take(&record);
        }
        Ok(())
    }

    /// The rows in which a formula made the column's value.
    pub(super) fn formulas(&mut self, column: usize) -> Result<Ranges, Broken> {
        let mut cells = guarded(|| self.book.worksheet_cells_reader(&self.name))?;
        let mut rows = Ranges::default();
        while let Some(cell) = guarded(|| cells.next_cell_with_formula_metadata())? {
            if cell.formula.is_some() && cell.pos.1 as usize == column {
                rows.add(cell.pos.0.saturating_add(1));
            }
        }
        rows.sort();
        Ok(rows)
    }
}

fn put(record: &mut Record, column: usize, value: &DataRef<'_>, padding: Option<usize>) {
    let (kind, text) = match value {
        DataRef::Empty => return,
        DataRef::String(text) => return record.put(column, Cell::Text, cut(text)),
        DataRef::SharedString(text) => return record.put(column, Cell::Text, cut(text)),
        DataRef::Int(number) => (Cell::Number, number.to_string()),
        DataRef::Float(number) => number_in_text(*number, padding),
        DataRef::Bool(truth) => (Cell::Bool, if *truth { "TRUE".to_owned() } else { "FALSE".to_owned() }),
        DataRef::DateTime(time) => (Cell::Date, day(time)),
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => (Cell::Date, cut(text).to_owned()),
        DataRef::Error(error) => (Cell::Error, error.to_string()),
    };
    record.put(column, kind, &text);
}

/// A number as the spreadsheet shows it in a cell that is wide enough.
fn number_in_text(number: f64, padding: Option<usize>) -> (Cell, String) {
    if number.fract() != 0.0 || !number.is_finite() || number.abs() >= EXACT_BELOW {
        return (Cell::Rounded, number.to_string());
    }
    let digits = format!("{number:.0}");
    match padding {
        Some(length) if digits.len() < length && number >= 0.0 => (Cell::Padded, format!("{digits:0>length$}")),
        _ => (Cell::Number, digits),
    }
}

/// How many digits a format such as `0000000` shows at least.
fn padding(style: &Style) -> Option<usize> {
    let code = style.number_format.as_ref()?.format_code.as_str();
    let zeros = (2..=PADDED_DIGITS_MAX).contains(&code.len()) && code.bytes().all(|byte| byte == b'0');
    zeros.then_some(code.len())
}

fn day(time: &ExcelDateTime) -> String {
    // Nobody's serial; only for the sentence that says so.
    let read = guarded(|| Ok(time.to_ymd_hms_milli()));
    match read {
        Ok((year, month, day, 0, 0, 0, _)) => format!("{year:04}-{month:02}-{day:02}"),
        Ok((year, month, day, hour, minute, second, _)) => {
            format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
        }
        Err(_) => "a date".to_owned(),
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(CELL_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
