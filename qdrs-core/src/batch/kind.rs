//! The kinds of things that can be said of a batch, and the sentence for each.
//!
//! A sentence says what, and what to do; where is said before it. At six in the evening somebody at a line that stands
//! still reads it once.

use super::damage::Damage;

/// What can be said of a row. In the order in which it is said when it concerns the same row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A spreadsheet or a person did something to the serial.
    Damaged(Damage),
    /// A numeric cell with more digits than a spreadsheet keeps.
    Rounded,
    /// A numeric cell that is no whole number.
    Fraction,
    /// A numeric cell below zero.
    Negative,
    /// A cell that shows something else than it holds, and nobody can know what.
    Masked,
    /// A formula without a value.
    Uncalculated,
    /// Zeros in front are gone.
    ZerosLost,
    /// The serial stands in another column.
    Shifted,
    /// No serial in a row that has something else.
    Missing,
    /// A row of a sheet that nobody sees.
    HiddenRow,
    /// A sum under the list.
    Total,
    /// A sum under the list that is not the number of its rows.
    TotalDiffers,
    /// A row whose first cell begins as a comment.
    StruckOut,
    /// The header, in the middle of the list.
    HeaderAgain,
    /// `----------`.
    Ruler,
    /// A word without a digit among serials that have digits.
    Word,
    /// `#QD-0041713`, or a comment: nobody knows.
    Hash,
    /// The row is separated by another sign than the others.
    OtherSeparator,
    /// What looks like a key stands where the serial should.
    SecretCell,
    /// Quotation marks that are not those of the file.
    Quoted,
    /// The serial runs over several lines.
    Lines,
    /// A quotation mark opens, and nothing closes it.
    Unclosed,
    /// It stands in the list before.
    Duplicate,
    /// It stands in the list before, but for capital and small letters, and no policy says whether that is another one.
    CapitalsOnly,
    /// The policy, or what holds for every serial, refuses it. The word tells its kinds apart.
    Refused(&'static str),
    /// The row is longer than any.
    TooLong,
    /// More columns than any list has.
    TooWide,
    /// More rows than a batch may have.
    TooMany,
    /// The service knows the serial, and it can't be made.
    NotFree(&'static str),

    /// The file was read as Windows-1252, or has bytes that are no text.
    Encoding,
    /// Other sheets that may be meant.
    OtherSheets,
    /// A sheet that nobody sees.
    HiddenSheet,
    /// A column that nobody sees.
    HiddenColumn,
    /// Rows above the header.
    Title,
    /// The header was found by its looks.
    Header,
    /// The column was found by its looks.
    Guessed,
    /// Lines for people.
    Comment,
    /// Nothing in the row.
    EmptyRow,
    /// More cells than the header has names.
    Wider,
    /// Blanks around the serial.
    Blanks,
    /// Non-breaking ones.
    NonBreaking,
    /// `'` or `="…"` around the serial.
    Marked,
    /// A number written with an exponent that has all of its digits.
    Power,
    /// A number that has all of its digits.
    Number,
    /// A number whose format shows its zeros, or letters beside it.
    Padded,
    /// A formula's last value.
    Cached,
    /// Small letters where the others have capitals.
    Letters,
    /// Numbers that are shorter than the others and may have lost zeros.
    Shorter,
    /// A serial that looks like no other.
    Odd,
    /// A hardware id that stands beside another serial as well.
    BoardTwice,
    /// Columns that may hold secrets, and stay out.
    SecretColumns,
    /// Cells of further columns that look like keys, and stay out.
    SecretCut,
    /// Further columns beyond the most that come along.
    ColumnsOver,
    /// Further columns that are too long to come along.
    ExtraCut,
    /// The service knows the serial.
    Known(&'static str),
}

impl Kind {
    /// Does it keep the row from being made?
    pub fn is_fault(self) -> bool {
        self < Self::Encoding
    }

    /// The word in `--json`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Damaged(Damage::Exponent) => "exponent",
            Self::Damaged(Damage::Date) => "date",
            Self::Damaged(Damage::Grouped) => "thousands-separators",
            Self::Damaged(Damage::Decimal) => "decimals",
            Self::Damaged(Damage::Formula) => "formula",
            Self::Damaged(Damage::ErrorValue) => "error-value",
            Self::Damaged(Damage::Hashes) => "column-too-narrow",
            Self::Damaged(Damage::TypographicQuotes) => "typographic-quotes",
            Self::Damaged(Damage::FullWidth) => "full-width",
            Self::Damaged(Damage::Amount) => "amount",
            Self::Damaged(Damage::Truth) => "truth-value",
            Self::Damaged(Damage::Nothing) => "nothing",
            Self::Rounded => "rounded",
            Self::Fraction => "fraction",
            Self::Negative => "negative-number",
            Self::Masked => "number-format",
            Self::Uncalculated => "formula-without-value",
            Self::ZerosLost => "zeros-lost",
            Self::Shifted => "shifted",
            Self::Missing => "no-serial",
            Self::HiddenRow => "hidden-row",
            Self::Total => "total-row",
            Self::TotalDiffers => "total-differs",
            Self::StruckOut => "struck-out",
            Self::HeaderAgain => "header-again",
            Self::Ruler => "ruler",
            Self::Word => "no-digit",
            Self::Hash => "number-sign",
            Self::OtherSeparator => "other-separator",
            Self::SecretCell => "looks-like-a-key",
            Self::Quoted => "quotation-marks",
            Self::Lines => "several-lines",
            Self::Unclosed => "quote-not-closed",
            Self::Duplicate => "duplicate",
            Self::CapitalsOnly => "duplicate-but-for-capitals",
            Self::Refused(_) => "serial-invalid",
            Self::TooLong => "row-too-long",
            Self::TooWide => "too-many-columns",
            Self::TooMany => "too-many-rows",
            Self::NotFree(state) | Self::Known(state) => state,
            Self::Encoding => "encoding",
            Self::OtherSheets => "other-sheets",
            Self::HiddenSheet => "hidden-sheet",
            Self::HiddenColumn => "hidden-column",
            Self::Title => "title",
            Self::Header => "header-guessed",
            Self::Guessed => "column-guessed",
            Self::Comment => "comment",
            Self::EmptyRow => "empty-row",
            Self::Wider => "row-wider",
            Self::Blanks => "blanks",
            Self::NonBreaking => "non-breaking-blanks",
            Self::Marked => "text-mark",
            Self::Power => "exponent-whole",
            Self::Number => "number",
            Self::Padded => "padded-number",
            Self::Cached => "formula-value",
            Self::Letters => "letter-case",
            Self::Shorter => "shorter",
            Self::Odd => "odd",
            Self::BoardTwice => "board-twice",
            Self::SecretColumns => "secret-columns",
            Self::SecretCut => "secret-cells",
            Self::ColumnsOver => "columns-over",
            Self::ExtraCut => "columns-cut",
        }
    }

    /// Does the advice how to export rightly help against it?
    pub(super) fn is_spreadsheets_doing(self) -> bool {
        use Damage::{Amount, Date, Decimal, Exponent, Grouped, Truth};
        matches!(
            self,
            Self::Damaged(Exponent | Date | Grouped | Decimal | Amount | Truth)
                | Self::Rounded
                | Self::Fraction
                | Self::ZerosLost
        )
    }

    /// Is each row of it for somebody to look at, rather than all to be exported again?
    pub(super) fn is_mended_row_by_row(self) -> bool {
        matches!(
            self,
            Self::Refused(_)
                | Self::Duplicate
                | Self::CapitalsOnly
                | Self::Missing
                | Self::Word
                | Self::NotFree(_)
                | Self::Shifted
                | Self::Odd
                | Self::BoardTwice
        )
    }

    /// The sentence for one row, and for several with the first as example. `{x}` is its text, `{y}` what belongs to it.
    pub(super) fn sentences(self) -> (&'static str, &'static str) {
        match self {
            Self::Damaged(Damage::Exponent) => (
                "`{x}` is a serial that a spreadsheet took for a number; its last digits are lost",
                "a spreadsheet took these serials for numbers, as `{x}`; their last digits are lost",
            ),
            Self::Damaged(Damage::Date) => {
                ("`{x}` is a date that a spreadsheet made of the serial", "a spreadsheet made dates of these serials, as `{x}`")
            }
            Self::Damaged(Damage::Grouped) => (
                "`{x}` is a number with thousands separators, not what is on the label",
                "these are numbers with thousands separators, as `{x}`, not what is on the labels",
            ),
            Self::Damaged(Damage::Decimal) => (
                "`{x}` has decimals: a program took the serial for a quantity, and zeros in front may be lost",
                "these have decimals, as `{x}`: a program took the serials for quantities, and zeros in front may be lost",
            ),
            Self::Damaged(Damage::Formula) => (
                "`{x}` is a formula, not its value; copy the column and paste it as values",
                "these are formulas, as `{x}`, not their values; copy the column and paste it as values",
            ),
            Self::Damaged(Damage::ErrorValue) => (
                "`{x}` is the error of a formula, not a serial; mend the formula, or delete the row",
                "these are errors of formulas, as `{x}`, not serials; mend the formulas, or delete the rows",
            ),
            Self::Damaged(Damage::Hashes) => (
                "`{x}` stood there because the column was too narrow; make it wider and export again",
                "`{x}` stood there because the column was too narrow; make it wider and export again",
            ),
            Self::Damaged(Damage::TypographicQuotes) => (
                "`{x}` has typographic quotation marks, as a word processor makes them; take them out",
                "these have typographic quotation marks, as `{x}`: a word processor made them; take them out",
            ),
            Self::Damaged(Damage::FullWidth) => (
                "`{x}` is in full-width characters; type it again with the keyboard set to plain Latin letters",
                "these are in full-width characters, as `{x}`; type them again with the keyboard set to plain Latin letters",
            ),
            Self::Damaged(Damage::Amount) => (
                "`{x}` is an amount (money, percent or below zero) that a spreadsheet made of the serial",
                "a spreadsheet made amounts of these serials (money, percent or below zero), as `{x}`",
            ),
            Self::Damaged(Damage::Nothing) => (
                "`{x}` stands where the serial should; write it in, or delete the row",
                "`{x}` and alike stand where serials should; write them in, or delete the rows",
            ),
            Self::Rounded => (
                "`{x}` is a number with more than the 15 digits that a spreadsheet keeps; the others became zeros",
                "these are numbers with more than the 15 digits that a spreadsheet keeps, as `{x}`; the others became zeros",
            ),
            Self::Fraction => {
                ("`{x}` is a number with a fraction, not a serial", "these are numbers with a fraction, as `{x}`, not serials")
            }
            Self::Negative => ("`{x}` is a negative number, not a serial", "these are negative numbers, as `{x}`, not serials"),
            Self::Masked => (
                "the cell holds `{x}`, but shows it in another way, by its number format `{y}`; format it as Text and write in what \
                 is on the label",
                "these cells show something else than they hold, by the number format `{y}`; the first holds `{x}`; format them as \
                 Text and write in what is on the labels",
            ),
            Self::Uncalculated => (
                "the formula has no value; open the file in the spreadsheet program, look why, and save it",
                "these formulas have no value; open the file in the spreadsheet program, look why, and save it",
            ),
            Self::Damaged(Damage::Truth) => (
                "`{x}` is a truth value that a spreadsheet made of the serial",
                "these are truth values that a spreadsheet made of the serials, as `{x}`",
            ),
            Self::ZerosLost => (
                "`{x}` has lost its zeros in front; it should be {y}",
                "these serials have lost their zeros in front, as `{x}`, which should be {y}",
            ),
            Self::Shifted => (
                "the row is shifted: its serial stands in {y}; a cell before it is missing, or has a separator and no quotation marks",
                "these rows are shifted: in the first the serial stands in {y}; a cell before it is missing, or has a separator and no \
                 quotation marks",
            ),
            Self::Missing => (
                "the row has no serial; write it in, or delete the row",
                "these rows have no serial; write them in, or delete the rows",
            ),
            Self::HiddenRow => (
                "the row is hidden, by a filter or by hand, so nobody knows whether `{x}` is meant; show the row, or delete it",
                "these rows are hidden, by a filter or by hand, so nobody knows whether they are meant, as `{x}`; show them, or \
                 delete them",
            ),
            Self::Total => (
                "`{x}` is a total under the list, not a serial; delete the row",
                "these rows are totals, as `{x}`, not serials; delete them",
            ),
            Self::TotalDiffers => (
                "`{x}` is a total under the list: it is {y}, so rows may be missing; get the list again from its source, or delete this \
                 row if it counts something else",
                "these rows are totals; the first, `{x}`, is {y}, so rows may be missing; get the list again from its source, or \
                 delete these rows if they count something else",
            ),
            Self::StruckOut => (
                "the row begins with `{x}`, as one that is struck out; take the mark out if its serial is to be made, or delete the row",
                "these rows begin as ones that are struck out, the first with `{x}`; take the marks out if their serials are to be \
                 made, or delete the rows",
            ),
            Self::HeaderAgain => (
                "`{x}` is the header once more, as where two lists were put together; delete the row",
                "these rows are the header once more, as where several lists were put together; delete them",
            ),
            Self::Ruler => (
                "`{x}` has neither a letter nor a digit, so it is no serial; delete the row",
                "these have neither a letter nor a digit, as `{x}`, so they are no serials; delete the rows",
            ),
            Self::Word => (
                "`{x}` has no digit and all other serials have, so it is hardly one; delete the row, or hand in the policy \
                 (`--policy FILE`) that takes it",
                "these have no digit and all other serials have, as `{x}`, so they are hardly serials; delete the rows, or hand in \
                 the policy (`--policy FILE`) that takes them",
            ),
            Self::Hash => (
                "`{x}` may be a serial or a remark; take out the `#`, or put a blank after it if the row is to be left out",
                "these may be serials or remarks, as `{x}`; take out the `#`, or put a blank after it if the rows are to be left out",
            ),
            Self::OtherSeparator => (
                "`{x}` is separated by another sign than the rest of the list; write the row as the others are written",
                "these rows are separated by another sign than the rest of the list, as `{x}`; write them as the others are written",
            ),
            Self::Quoted => (
                "`{x}` still has its quotation marks: a blank stands before them, or the other rows use others; take them out",
                "these still have their quotation marks, as `{x}`: blanks stand before them, or the other rows use others; take them \
                 out",
            ),
            Self::Lines => (
                "a quotation mark makes one row of these, from `{x}` on; take the mark out, or close it",
                "a quotation mark makes one row of these, from `{x}` on; take the mark out, or close it",
            ),
            Self::Unclosed => (
                "a quotation mark opens here and is never closed: the mark is too much, or the file was cut off here and rows are missing; \
                 compare the end of the list with its source",
                "a quotation mark opens in the first of these rows and is never closed, so nothing from there to the end could be \
                 read; take it out, or close it; if the file was cut off, rows are missing: compare its end with its source",
            ),
            Self::Duplicate => (
                "serial `{x}` stands in {y} already; take one of them out",
                "these serials stand in the list already; the first is `{x}`, which stands in {y} too",
            ),
            Self::CapitalsOnly => (
                "`{x}` is {y} but for capital and small letters; take one of them out, or hand in the policy (`--policy FILE`) that \
                 takes both",
                "these differ from serials above in capital and small letters only, as `{x}` from {y}; take them out, or hand in the \
                 policy (`--policy FILE`) that takes both",
            ),
            Self::Refused(_) => ("{y}", "these serials are refused; the first: {y}"),
            Self::TooLong => (
                "the row is longer than 64 KiB; is it a list with one serial a row?",
                "these rows are longer than 64 KiB; is it a list with one serial a row?",
            ),
            Self::TooWide => (
                "the row has more than 256 columns; is it a list with one serial a row?",
                "these rows have more than 256 columns; is it a list with one serial a row?",
            ),
            Self::TooMany => (
                "a batch has at most {y} serials, and here begins one more; divide it into several files",
                "a batch has at most {y} serials, and here begins one more; divide it into several files",
            ),
            Self::NotFree(_) => ("serial `{x}` {y}", "these serials can't be made; the first: `{x}` {y}"),
            Self::Encoding => ("{y}", "{y}"),
            Self::OtherSheets => ("{y}", "{y}"),
            Self::HiddenSheet => (
                "the sheet `{y}` is hidden; it is read, since no other has data",
                "the sheet `{y}` is hidden; it is read, since no other has data",
            ),
            Self::HiddenColumn => ("{y} with the serials is hidden", "{y} with the serials is hidden"),
            Self::Title => ("above the header, left out", "above the header, left out"),
            Self::Header => ("taken for the header, since `{x}` has no digit", "taken for the header, since `{x}` has no digit"),
            Self::Guessed => ("the serials are taken from {y}, by their looks", "the serials are taken from {y}, by their looks"),
            Self::Comment => ("a comment, left out", "comments, left out"),
            Self::EmptyRow => ("an empty row in the list, left out", "empty rows in the list, left out"),
            Self::Wider => (
                "the row has more cells than the header; the serial is where it should be, so it is taken",
                "these rows have more cells than the header; the serials are where they should be, so they are taken",
            ),
            Self::Blanks => ("blanks around `{x}` are left out", "blanks around these serials are left out, as around `{x}`"),
            Self::NonBreaking => (
                "non-breaking blanks around `{x}`, as web pages have them, are left out",
                "non-breaking blanks around these serials, as web pages have them, are left out; the first is `{x}`",
            ),
            Self::Marked => (
                "`{x}` is marked as text; it is taken as `{y}`",
                "these are marked as text, as `{x}`; they are taken without the mark, as `{y}`",
            ),
            Self::Power => (
                "`{x}` is a number written with an exponent; all of its digits are there, so it is taken as `{y}`",
                "these are numbers written with an exponent, as `{x}`; all of their digits are there, so they are taken, as `{y}`",
            ),
            Self::Number => (
                "`{x}` is a number, not text; it is taken, since {y}",
                "these are numbers, not text, as `{x}`; they are taken, since {y}",
            ),
            Self::Padded => (
                "the cell's number format shows `{x}`; it is taken as it is shown",
                "the cells' number format shows `{x}` and alike; they are taken as they are shown",
            ),
            Self::Cached => ("a formula; its last value `{x}` is taken", "formulas; their last values are taken, as `{x}`"),
            Self::Letters => (
                "`{x}` differs from {y} in capital and small letters; it is taken",
                "these differ from {y} in capital and small letters, as `{x}`; they are taken",
            ),
            Self::Shorter => (
                "`{x}` has fewer digits than {y}; if it had zeros in front, they are lost",
                "these have fewer digits than {y}, as `{x}`; if they had zeros in front, those are lost",
            ),
            Self::Odd => (
                "`{x}` looks like no other serial of the list, as {y}",
                "these look like no other serials of the list, as `{x}` beside {y}",
            ),
            Self::SecretCell => (
                "where the serial should stand is what looks like a key or a password, so it is not shown; write the serial number in",
                "where the serials should stand is what looks like keys or passwords, so they are not shown; write the serial numbers in",
            ),
            Self::BoardTwice => (
                "board `{x}` stands in {y} already; one board can't be two devices, so one of the two rows is wrong",
                "these boards stand in the list already, the first, `{x}`, in {y}; one board can't be two devices, so one of each two \
                 rows is wrong",
            ),
            Self::SecretColumns | Self::ColumnsOver => ("{y}", "{y}"),
            Self::SecretCut => (
                "a cell beside the serial looks like a key, so it stays out; `--keep-secrets` keeps it",
                "cells beside these serials look like keys, so they stay out; `--keep-secrets` keeps them",
            ),
            Self::ExtraCut => (
                "the further columns hold more than comes along, 2 KiB a row and 64 MiB a batch; the rest is not kept",
                "the further columns hold more than comes along, 2 KiB a row and 64 MiB a batch; the rest is not kept",
            ),
            Self::Known("done-before") => ("serial `{x}` was made before", "these serials were made before, as `{x}`"),
            Self::Known("begun") => (
                "serial `{x}` was begun before, and is finished next",
                "these serials were begun before, as `{x}`, and are finished next",
            ),
            Self::Known(_) => {
                ("serial `{x}` is made at another station{y}", "these serials are made at another station{y}, as `{x}`")
            }
        }
    }
}
