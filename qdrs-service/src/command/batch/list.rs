//! The list of a batch: a file as any spreadsheet program saves it, judged by the batch's policy.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use qdrs_core::{
    batch::{Batch, BatchError, Reading, Rules},
    policy::Policy,
};

/// Which file, and how it is read: as `qdrs` reads a batch.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Its serials, a CSV file or .xlsx with one a row; all others are refused
    #[arg(long = "list", value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Column of the list with the serials: its name, or its number from 1 (of an .xlsx its letter, too)
    #[arg(long, value_name = "NAME|N", requires = "file")]
    column: Option<String>,
    /// Sheet of an .xlsx [default: the first with data]
    #[arg(long, value_name = "NAME", requires = "file")]
    sheet: Option<String>,
    /// Whether the list has a header, `yes` or `no` [default: found out, and asked where it can't be]
    #[arg(long, value_name = "yes|no", value_parser = clap::builder::BoolishValueParser::new(), hide_possible_values = true, requires = "file")]
    header: Option<bool>,
    /// Open the batch for the good rows of the list, and say which are left out
    #[arg(long, requires = "file")]
    skip_bad: bool,
}

impl List {
    /// The serials in normal form, in the order of the file, and what is worth knowing of it. All that is wrong is told at once.
    pub(super) fn read(&self, path: &Path, policy: &Policy) -> Result<(Vec<String>, Vec<String>), BatchError> {
        let file = File::open(path).map_err(|source| BatchError::Unreadable { path: path.to_owned(), source })?;
        // Only the serials are kept, so no column that stays out is worth a word.
        let reading = Reading {
            column: self.column.clone(),
            sheet: self.sheet.clone(),
            skip_bad: self.skip_bad,
            header: self.header,
            keep_secrets: true,
        };
        let (batch, examined) = Batch::read(file, path, &reading, &Rules::of(policy.clone()))?;
        Ok((batch.rows.iter().map(|row| policy.normalise(&row.serial)).collect(), examined.notices()))
    }
}

#[cfg(test)]
mod tests {
    use qdrs_core::explain::Explain as _;

    use super::*;

    fn repository(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
    }

    fn read(file: &str, skip_bad: bool) -> Result<(Vec<String>, Vec<String>), BatchError> {
        let sevens = std::fs::read_to_string(repository("samples/policies/multiples-of-7.toml")).expect("is there");
        let policy = Policy::parse("sevens", &sevens).expect("is a policy");
        let file = repository(&format!("tests/data/batches/{file}"));
        List { file: None, column: None, sheet: None, header: None, skip_bad }.read(&file, &policy)
    }

    #[test]
    fn a_list_is_read_as_a_spreadsheet_program_saves_it() {
        for file in ["far-cell.xlsx", "windows-1252.csv", "utf16.txt"] {
            let (serials, _) = read(file, false).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert_eq!(serials[..2], ["QD-0041713", "QD-0041720"], "{file}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once_with_its_line() {
        let error = read("typos.csv", false).expect_err("has typos");
        let told: Vec<_> = error.each().iter().map(|fault| (fault.at().unwrap_or_default(), fault.to_string())).collect();
        assert_eq!(told.len(), 4);
        assert!(told[1].0.ends_with("typos.csv, line 4") && told[1].1.contains("is it `QD-0041727`"), "{told:?}");
        assert!(
            error.help().ends_with("nothing was done yet, and `--skip-bad` goes on with the 2 good ones"),
            "{}",
            error.help()
        );
    }

    #[test]
    fn serials_are_in_normal_form_and_what_is_left_out_is_told() {
        let (serials, notices) = read("duplicates.csv", true).expect("has good rows");
        assert_eq!(serials, ["QD-0041713", "QD-0041720", "QD-0041727", "QD-0041734"]);
        assert_eq!(notices[0], "line 4: serial `QD-0041713` stands in line 2 already; take one of them out");
        assert_eq!(notices.last().map(String::as_str), Some("2 of 6 rows are left out: lines 4, 6"));
    }
}
