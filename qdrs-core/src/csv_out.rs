//! CSV for people, who open it in a spreadsheet.
//!
//! What comes from a label, a device or a list may look like a formula, and a spreadsheet would run it. So each field is
//! quoted, and what begins like a formula gets an apostrophe in front, also behind a separator in a field: a spreadsheet
//! set to another separator than the comma begins a cell there.
//!
//! Source: OWASP, "CSV Injection".

use std::{borrow::Cow, io};

/// A writer of such CSV.
pub struct CsvWriter<W: io::Write>(csv::Writer<W>);

impl<W: io::Write> CsvWriter<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self(csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(out))
    }

    /// Writes one row.
    ///
    /// # Errors
    ///
    /// When `out` takes no more, or when a row has another number of fields than the first.
    pub fn write<T: AsRef<str>>(&mut self, fields: impl IntoIterator<Item = T>) -> io::Result<()> {
        for field in fields {
            self.0.write_field(&*no_formula(field.as_ref()))?;
        }
        Ok(self.0.write_record(None::<&[u8]>)?)
    }

    /// Gives all of it to `out`.
    ///
    /// # Errors
    ///
    /// When `out` takes no more.
    pub fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A field without a place where a spreadsheet would begin a formula.
fn no_formula(field: &str) -> Cow<'_, str> {
    let begins = |c: char| matches!(c, '=' | '+' | '-' | '@');
    let parts = |c: char| matches!(c, ';' | '\t' | '\r' | '\n' | '|');
    let mut guarded = String::new();
    // Is this where a cell could begin, blanks apart?
    let mut at_start = true;
    for c in field.chars() {
        if at_start && begins(c) {
            guarded.push('\'');
        }
        at_start = parts(c) || (at_start && c.is_whitespace());
        guarded.push(c);
    }
    if guarded.len() == field.len() { Cow::Borrowed(field) } else { Cow::Owned(guarded) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_whatever_parts_the_cells() {
        for (field, written) in [
            ("QD-0041713", "QD-0041713"),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "\t'=1"),
            (" =1", " '=1"),
            ("x;=cmd|'/C calc'!A0", "x;'=cmd|'/C calc'!A0"),
            ("a=b, -5 -> c", "a=b, -5 -> c"),
            ("", ""),
        ] {
            assert_eq!(no_formula(field), written);
        }
    }

    #[test]
    fn every_field_is_quoted() {
        let mut bytes = Vec::new();
        let mut csv = CsvWriter::new(&mut bytes);
        csv.write(["serial", "a \"note\""]).expect("writes");
        csv.write(["=1", ""]).expect("writes");
        assert!(csv.write(["one"]).is_err(), "a row too short");
        drop(csv);
        assert!(String::from_utf8_lossy(&bytes).starts_with("\"serial\",\"a \"\"note\"\"\"\n\"'=1\",\"\"\n"));
    }
}
