//! Where a batch's rows come from: told by what the file begins with, never by its name.

use std::{
    io::{Read, Seek},
    ops::ControlFlow,
    path::Path,
};

use super::{
    BatchError,
    encoding::{self, Encoding, NoText, Sniffed},
    finding::Findings,
    kind::Kind,
    layout::{self, Layout},
    record::Record,
    sheet::{Aside, Sheet},
    text::Text,
    workbook::Broken,
};
use crate::serial::{Shown, visible};

/// Bytes that can be read again from their beginning, which they may be at already or not.
pub(super) trait Bytes: Read + Seek {}

impl<T: Read + Seek> Bytes for T {}

/// Where rows come from.
pub(super) enum Source<'f> {
    Text(Text<'f>),
    Sheet(Box<Sheet<'f>>),
}

impl<'f> Source<'f> {
    pub(super) fn open(file: &'f mut dyn Bytes, path: &Path, sheet: Option<&str>, bytes_max: u64) -> Result<Self, BatchError> {
        let no_batch = |why: &str, help: &str| BatchError::NoBatch { path: path.to_owned(), why: why.into(), help: help.into() };
        let unreadable = |source| BatchError::Unreadable { path: path.to_owned(), source };
        file.rewind().map_err(unreadable)?;
        let mut begins = [0; 512];
        let read = file.read(&mut begins).map_err(unreadable)?;
        let begins = &begins[..read];
        let starts = |text: &str| begins.to_ascii_lowercase().windows(text.len()).any(|window| window == text.as_bytes());
        if begins.starts_with(b"PK\x03\x04") {
            if starts("mimetypeapplication/vnd.oasis") {
                return Err(no_batch("is an OpenDocument spreadsheet", "save it as .xlsx, or as `CSV UTF-8`"));
            }
            return Sheet::open(file, sheet).map(|sheet| Self::Sheet(Box::new(sheet))).map_err(|broken| broken_in(path, broken));
        }
        if let Some(sheet) = sheet {
            return Err(no_batch(
                "is no .xlsx, so it has no sheets",
                &format!("leave out the sheet `{sheet}`, or name another file"),
            ));
        }
        if begins.starts_with(b"\xD0\xCF\x11\xE0") {
            return Err(no_batch(
                "is an .xls of old, or a workbook with a password",
                "save it as .xlsx without a password, or as `CSV UTF-8`",
            ));
        }
        if let Some(what) = binary(begins) {
            return Err(no_batch(&format!("is {what}"), "ask for the list as .xlsx, or as `CSV UTF-8`"));
        }
        if starts("<html") || starts("<table") || starts("<!doctype") || starts("<?xml") {
            return Err(no_batch(
                "is a web page or XML, whatever its name says",
                "ask for the list as .xlsx, or as `CSV UTF-8`; a spreadsheet program that opens this file may drop zeros in front of numbers",
            ));
        }
        if is_json(begins) {
            return Err(no_batch("is JSON, not a list with one serial a row", "ask for the list as .xlsx, or as `CSV UTF-8`"));
        }
        file.rewind().map_err(unreadable)?;
        let sniffed = encoding::sniff(&mut *file, bytes_max).map_err(unreadable)?;
        if sniffed.bytes > bytes_max {
            return Err(no_batch(&format!("is larger than {} GiB", bytes_max >> 30), "divide it into several files"));
        }
        match sniffed.no_text {
            None => {}
            Some(NoText::Binary) => return Err(no_batch("is no text", "name a CSV file or an .xlsx with the serial numbers")),
            Some(NoText::Utf32) => {
                return Err(no_batch("is in UTF-32, which no spreadsheet writes", "export it again as `CSV UTF-8`"));
            }
            Some(NoText::Foreign) => {
                let why = "is in an encoding that QDRS does not know, such as EBCDIC of a mainframe";
                return Err(no_batch(why, "ask for it as `CSV UTF-8`"));
            }
        }
        Ok(Self::Text(Text::open(file, sniffed).map_err(unreadable)?))
    }

    pub(super) fn is_sheet(&self) -> bool {
        matches!(self, Self::Sheet(_))
    }

    pub(super) fn each(&mut self, path: &Path, take: &mut dyn FnMut(&Record) -> ControlFlow<()>) -> Result<(), BatchError> {
        match self {
            Self::Text(text) => text.each(take).map_err(|source| BatchError::Unreadable { path: path.to_owned(), source }),
            Self::Sheet(sheet) => sheet.each(take).map_err(|broken| broken_in(path, broken)),
        }
    }

    /// What stands beside the values of a column.
    pub(super) fn aside(&mut self, path: &Path, column: usize) -> Result<Aside, BatchError> {
        match self {
            Self::Text(_) => Ok(Aside::default()),
            Self::Sheet(sheet) => sheet.aside(column).map_err(|broken| broken_in(path, broken)),
        }
    }

    /// How it is written, and which column was taken.
    pub(super) fn about(&self, layout: &Layout, letters: bool) -> String {
        let column = layout::place(layout.column, letters);
        let column = match &layout.name {
            Some(name) => format!("{column} `{}`", visible(name)),
            None => format!("{column}, no header"),
        };
        match self {
            Self::Text(text) if text.about().is_empty() => column,
            Self::Text(text) => format!("{}, {column}", text.about()),
            Self::Sheet(sheet) => format!("sheet `{}`, {column}", visible(&sheet.name)),
        }
    }

    /// What is worth knowing of its encoding, or of its sheets.
    pub(super) fn note(&self, findings: &mut Findings) {
        let text = match self {
            Self::Text(text) => text,
            Self::Sheet(sheet) => {
                if sheet.hidden {
                    findings.add_whole(Kind::HiddenSheet, Shown::new(&sheet.name).to_string());
                }
                if !sheet.others.is_empty() {
                    findings.add_whole(Kind::OtherSheets, other_sheets(sheet));
                }
                return;
            }
        };
        let Sniffed { encoding, not_utf8: Some(line), .. } = text.sniffed() else { return };
        let what = match encoding {
            Encoding::Utf8 => "the file has bytes that are no UTF-8, from here on; export it again as `CSV UTF-8`".to_owned(),
            other => {
                format!(
                    "the file is not UTF-8, so it is read as {}; if names look wrong, export it again as `CSV UTF-8`",
                    other.name()
                )
            }
        };
        findings.add(Kind::Encoding, *line, "", || what);
    }
}

/// What a file of another kind is, by its first bytes. Some of these hold mostly printable text.
fn binary(begins: &[u8]) -> Option<&'static str> {
    const SIGNATURES: [(&[u8], &str); 23] = [
        (b"%PDF", "a PDF"),
        (b"\x89PNG", "a PNG picture"),
        (b"GIF87a", "a GIF picture"),
        (b"GIF89a", "a GIF picture"),
        (b"\xFF\xD8\xFF", "a JPEG picture"),
        (b"II*\0", "a TIFF picture"),
        (b"MM\0*", "a TIFF picture"),
        (b"\x7FELF", "a program"),
        (b"MZ\x90\0", "a program"),
        (b"\0asm", "a program"),
        (b"\xCA\xFE\xBA\xBE", "a program"),
        (b"PK\x05\x06", "an empty ZIP archive"),
        (b"\x1F\x8B", "a gzip archive"),
        (b"\xFD7zXZ\0", "an xz archive"),
        (b"7z\xBC\xAF\x27\x1C", "a 7z archive"),
        (b"Rar!\x1A", "a RAR archive"),
        (b"\x28\xB5\x2F\xFD", "a Zstandard archive"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"PAR1\x15", "a Parquet file"),
        (b"{\\rtf", "an RTF document"),
        (b"%!PS", "a PostScript document"),
        (b"-----BEGIN", "a certificate or a key"),
        (b"BEGIN:VCARD", "an address book"),
    ];
    let known = SIGNATURES.iter().find(|(signature, _)| begins.starts_with(signature)).map(|(_, what)| *what);
    // Letters begin these as well, so what stands behind them is looked at: `BZh9-0001` is a serial.
    let is_at = |at: usize, text: &[u8]| begins.get(at..).is_some_and(|rest| rest.starts_with(text));
    match begins {
        [b'B', b'Z', b'h', ..] if is_at(4, b"1AY&SY") => Some("a bzip2 archive"),
        [b'R', b'I', b'F', b'F', ..] if is_at(8, b"WAVE") || is_at(8, b"WEBP") || is_at(8, b"AVI ") => {
            Some("a sound, picture or video file")
        }
        _ => known,
    }
}

/// `[{"serial": …`, or an object a line.
fn is_json(begins: &[u8]) -> bool {
    let text = begins.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(begins).trim_ascii_start();
    let inner = text.strip_prefix(b"[").map_or(text, <[u8]>::trim_ascii_start);
    inner.strip_prefix(b"{").is_some_and(|rest| rest.trim_ascii_start().starts_with(b"\""))
        || (inner.len() < text.len() && inner.starts_with(b"\""))
}

/// `only the sheet `Reel 1` is read; the sheet `Reel 2` has serials, too: …`.
fn other_sheets(sheet: &Sheet<'_>) -> String {
    let names: Vec<String> = sheet.others.iter().take(5).map(|name| format!("`{}`", Shown::new(name))).collect();
    let (more, have) = (sheet.others.len() - names.len(), if sheet.others.len() == 1 { "sheet" } else { "sheets" });
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let has = if sheet.others.len() == 1 { "has" } else { "have" };
    format!(
        "only the sheet `{}` is read; the {have} {}{more} {has} serials, too: `--sheet` says which is meant",
        Shown::new(&sheet.name),
        names.join(", ")
    )
}

fn broken_in(path: &Path, broken: Broken) -> BatchError {
    BatchError::NoBatch { path: path.to_owned(), why: broken.why, help: broken.help }
}
