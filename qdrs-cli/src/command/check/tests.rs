//! What `qdrs check` says of each damaged spreadsheet in `tests/data/batches`, as a line engineer reads it.

use std::path::Path;

use super::*;

/// A file of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// What is said, without a service: with a policy of the samples, or of the spreadsheets' own folder, or none.
fn checked(file: &str, policy: Option<&str>, reading: Reading) -> (String, Outcome) {
    let policy = policy.map(repository);
    let reading = Reading { policy, ..reading };
    let rules = reading.rules().expect("is a policy");
    let skip = reading.skip_bad;
    let (text, outcome) = match reading.examine(&repository(file), &rules, &mut |_| true) {
        Ok(examined) => {
            let judged = Judged { by: rules.name().map(str::to_owned), asked: false, to_make: examined.good() };
            let outcome = outcome(&examined, skip);
            (said(&examined, &judged, HUB_RATE_DEFAULT, skip, false), outcome)
        }
        Err(error) => {
            let failure = Failure::from(error);
            (failure.said(), failure.outcome())
        }
    };
    let folder = format!("{}/", repository(Path::new(file).parent().and_then(Path::to_str).unwrap_or_default()).display());
    (anstream::adapter::strip_str(&text).to_string().replace(&folder, ""), outcome)
}

const SEVENS: &str = "samples/policies/multiples-of-7.toml";
const DIGITS: &str = "tests/data/batches/seven-digits.toml";

/// Each spreadsheet, the policy that it is held against, and whether it may go to the line as it is.
const SPREADSHEETS: &[(&str, Option<&str>, bool)] = &[
    ("amounts.csv", None, false),
    ("another-product.csv", Some(SEVENS), false),
    ("apostrophes.csv", None, true),
    ("blanks.csv", Some(SEVENS), true),
    ("column-of-another-name.csv", Some(SEVENS), true),
    ("cover-sheet.xlsx", Some(SEVENS), true),
    ("dashes.csv", Some(SEVENS), false),
    ("dates-abroad.csv", None, false),
    ("dates-english.csv", None, false),
    ("dates-german.csv", None, false),
    ("dates.xlsx", None, false),
    ("decimals.csv", None, false),
    ("duplicates-many.csv", Some(SEVENS), false),
    ("duplicates.csv", Some(SEVENS), false),
    ("empty-rows.csv", Some(SEVENS), true),
    ("equal-numbers.xlsx", None, true),
    ("errors.xlsx", Some(SEVENS), false),
    ("exponents-java.csv", None, false),
    ("exponents.csv", None, false),
    ("far-cell.xlsx", Some(SEVENS), true),
    ("far-column.xlsx", Some(SEVENS), false),
    ("formulas-never-calculated.xlsx", Some(SEVENS), false),
    ("formulas.csv", Some(SEVENS), false),
    ("formulas.xlsx", Some(SEVENS), false),
    ("full-width.csv", Some(SEVENS), false),
    ("header-with-digit.csv", None, false),
    ("hidden-column.xlsx", Some(SEVENS), true),
    ("hidden-rows.xlsx", Some(SEVENS), false),
    ("hidden-sheet.xlsx", Some(SEVENS), true),
    ("long-numbers.xlsx", None, false),
    ("mac.csv", Some(SEVENS), false),
    ("mixed-case.csv", None, true),
    ("negative-numbers.xlsx", None, false),
    ("new-errors.xlsx", Some(SEVENS), false),
    ("nothing.csv", None, false),
    ("numbers.xlsx", None, false),
    ("padded.xlsx", Some(DIGITS), true),
    ("quote-not-closed.csv", Some(SEVENS), false),
    ("quotes-around-rows.csv", Some(SEVENS), false),
    ("rounded.csv", None, false),
    ("same-names.csv", Some(SEVENS), true),
    ("saved-as-html.xls", None, false),
    ("second-sheet.xlsx", Some(SEVENS), false),
    ("secrets.csv", None, true),
    ("shifted-no-policy.csv", None, false),
    ("shifted.csv", Some(SEVENS), false),
    ("shown-with-a-dash.xlsx", None, true),
    ("shown-with-letters.xlsx", Some(SEVENS), true),
    ("shown-with-separators.xlsx", Some(DIGITS), false),
    ("single-quotes.csv", Some(SEVENS), true),
    ("stand-ins.csv", None, false),
    ("thousands-and-decimals.csv", None, false),
    ("thousands-blank.txt", None, false),
    ("thousands-comma.csv", None, false),
    ("thousands-point.csv", None, false),
    ("thousands-swiss.csv", None, false),
    ("three-sheets.xlsx", Some(SEVENS), true),
    ("title-and-comments.csv", Some(SEVENS), true),
    ("too-narrow.csv", Some(SEVENS), false),
    ("total-row.csv", Some(SEVENS), false),
    ("total-without-a-word.csv", Some(SEVENS), false),
    ("truth-values.csv", None, false),
    ("two-columns.csv", None, false),
    ("two-names.csv", None, false),
    ("typographic-quotes.csv", Some(SEVENS), false),
    ("typos.csv", Some(SEVENS), false),
    ("utf16.txt", Some(SEVENS), true),
    ("windows-1252.csv", Some(SEVENS), true),
    ("zeros-lost-by-all.csv", Some(DIGITS), false),
    ("zeros-lost-by-some.csv", None, false),
    // What once lost rows, took the wrong column, or made a device of what is no serial, without a word.
    ("byte-order-mark-within.csv", None, false),
    ("capitals-once.csv", None, false),
    ("count-below.csv", None, false),
    ("cut-here-and-there.csv", Some(SEVENS), false),
    ("decimals-in-notes.csv", None, true),
    ("dos-end.csv", Some(SEVENS), true),
    ("duplicates-some.csv", Some(SEVENS), false),
    ("ebcdic.csv", None, false),
    ("errors-french.csv", None, false),
    ("header-again.csv", None, false),
    ("header-far-below.csv", None, true),
    ("json-lines.csv", None, false),
    ("number-signs.csv", None, false),
    ("numbered-with-number-signs.csv", None, true),
    ("old-and-new.csv", None, false),
    ("other-quotes-below.csv", None, false),
    ("other-separator-below.csv", None, false),
    ("quote-mixed-shapes.csv", None, false),
    ("row-too-wide.csv", None, false),
    ("says-its-separator.csv", None, true),
    ("scanned-with-tabs.txt", None, false),
    ("serial-interface.csv", None, true),
    ("shift-jis.csv", None, true),
    ("sqlplus.txt", None, false),
    ("the-end.csv", None, false),
    ("title-is-a-name.csv", None, true),
    ("title-of-serials.csv", None, true),
    ("two-tables.csv", None, false),
    ("typos-many.csv", Some(SEVENS), false),
    ("utf16-japanese.csv", None, true),
    ("utf32.csv", None, false),
];

#[test]
fn every_spreadsheet_gets_a_verdict_that_a_line_engineer_understands() {
    for (file, policy, good) in SPREADSHEETS.iter().copied() {
        let (text, outcome) = checked(&format!("tests/data/batches/{file}"), policy, Reading::default());
        insta::assert_snapshot!(file, text);
        assert_eq!(outcome == Outcome::AllPassed, good, "{text}");
        assert!(good || outcome == Outcome::BadInput, "{text}");
    }
}

#[test]
fn no_spreadsheet_of_the_folder_is_forgotten() {
    let folder = std::fs::read_dir(repository("tests/data/batches")).expect("lists");
    let mut files: Vec<_> = folder.map(|entry| entry.expect("lists").file_name().into_string().expect("is text")).collect();
    files.retain(|file| !file.starts_with('.') && !file.ends_with(".py") && !file.ends_with(".toml"));
    files.sort();
    let mut known: Vec<_> = SPREADSHEETS.iter().map(|(file, ..)| (*file).to_owned()).collect();
    known.sort();
    assert_eq!(files, known);
}
