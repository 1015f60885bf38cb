//! A list's serials and what stands beside them, for a policy that is not yet there to judge: encoding, separator, header,
//! column and sheet are found as in a batch, and no row is looked at twice.

use std::{
    io::{Read, Seek},
    ops::ControlFlow,
    path::Path,
};

use super::{
    Rules, damage,
    damage::Damage,
    kind::Kind,
    layout::Asked,
    layout_of,
    record::{Cell, Record},
    rules,
    source::Source,
    text::is_comment,
};
use crate::explain::Explain as _;

/// A list's file, and which of its columns are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListFile<'a> {
    /// The file's name, for sentences.
    pub(crate) name: &'a str,
    /// The longest file, in bytes.
    pub(crate) bytes_max: u64,
    /// The sheet; the first with data when left out.
    pub(crate) sheet: Option<&'a str>,
    /// The serials' column; found out when left out.
    pub(crate) column: Option<&'a str>,
    /// Further columns.
    pub(crate) beside: &'a [String],
}

impl ListFile<'_> {
    /// Gives each row with a serial: where it stands, its serial, and the further columns. Returns what the file calls a row:
    /// `line`, or `row` of a sheet.
    ///
    /// The sentence for what is wrong names the file, and the line where there is one.
    pub(crate) fn each(
        &self,
        mut file: impl Read + Seek,
        take: &mut dyn FnMut(u32, &str, &mut dyn Iterator<Item = &str>),
    ) -> Result<&'static str, String> {
        let path = Path::new(self.name);
        let asked = Asked { column: self.column, beside: self.beside, in_rule: true, ..Asked::default() };
        let said = |error: super::BatchError| match error.at() {
            Some(at) => format!("`{}`{}: {error}; {}", self.name, at.trim_start_matches(self.name), error.help()),
            None => format!("{error}; {}", error.help()),
        };
        let mut source = Source::open(&mut file, path, self.sheet, self.bytes_max).map_err(said)?;
        let layout = layout_of(&mut source, path, &asked, &Rules::none()).map_err(said)?;
        let word = if source.is_sheet() { "row" } else { "line" };
        let mut fault = None;
        let read = source.each(path, &mut |record| {
            if let Some(kind) = record.fault() {
                fault = Some((record.line, kind, record.get(0).to_owned(), String::new()));
                return ControlFlow::Break(());
            }
            if layout.header.is_some_and(|header| record.line <= header) || (word == "line" && is_comment(record.get(0))) {
                return ControlFlow::Continue(());
            }
            let text = rules::trimmed(record.get(layout.column));
            if let Some(kind) = lost(record, layout.column, text) {
                fault = Some((record.line, kind, text.to_owned(), record.format(layout.column).to_owned()));
                return ControlFlow::Break(());
            }
            if !text.is_empty() {
                let mut beside = layout.beside.iter().map(|column| record.get(*column).trim());
                let power = damage::whole_power(text);
                take(record.line, power.as_deref().or(damage::unmarked(text)).unwrap_or(text), &mut beside);
            }
            ControlFlow::Continue(())
        });
        read.map_err(said)?;
        let Some((line, kind, text, format)) = fault else { return Ok(word) };
        let what =
            kind.sentences().0.replace("{y}", &super::finding::shown(&format)).replace("{x}", &super::finding::shown(&text));
        Err(format!("`{}`, {word} {line}: {what}", self.name))
    }
}

/// What was surely done to a serial. What only may be is the policy's to say, and there is none yet.
fn lost(record: &Record, column: usize, text: &str) -> Option<Kind> {
    match record.kind(column) {
        Cell::Rounded => Some(if text.contains('.') { Kind::Fraction } else { Kind::Rounded }),
        Cell::Date => Some(Kind::Damaged(Damage::Date)),
        Cell::Bool => Some(Kind::Damaged(Damage::Truth)),
        Cell::Negative => Some(Kind::Negative),
        Cell::Masked => Some(Kind::Masked),
        Cell::Error => Some(Kind::Damaged(Damage::ErrorValue)),
        Cell::Text | Cell::Number | Cell::Padded if damage::whole_power(text).is_some() => None,
        Cell::Text | Cell::Number | Cell::Padded => match damage::of(text)? {
            surely @ (Damage::Exponent | Damage::ErrorValue | Damage::Hashes) => Some(Kind::Damaged(surely)),
            _ => None,
        },
    }
}
