//! The list of a batch: the serials of a CSV, each valid and none twice.

use std::{collections::HashMap, path::Path};

use anyhow::{Context as _, Result, bail};
use qdrs_core::policy::Policy;

/// The serials in normal form, in the order of the file.
pub(super) fn read(path: &Path, policy: &Policy) -> Result<Vec<String>> {
    parse(&fs_err::read(path)?, policy).with_context(|| format!("can't use {}", path.display()))
}

fn parse(bytes: &[u8], policy: &Policy) -> Result<Vec<String>> {
    let text = std::str::from_utf8(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes))
        .context("it is not UTF-8; save it as `CSV UTF-8`")?;
    let first = text.lines().next().unwrap_or_default();
    let count = |sign: &u8| first.bytes().filter(|byte| byte == sign).count();
    let separator = *b"\t;,".iter().max_by_key(|sign| count(sign)).unwrap_or(&b',');
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let (mut column, mut serials, mut lines) = (0, Vec::new(), HashMap::new());
    for (number, row) in reader.records().enumerate() {
        let row = row?;
        let line = row.position().map_or(0, csv::Position::line);
        let named = row.iter().position(|cell| cell.eq_ignore_ascii_case("serial"));
        if let (0, Some(place)) = (number, named) {
            column = place;
            continue;
        }
        let Some(cell) = row.get(column).filter(|cell| !cell.is_empty()) else { continue };
        let serial = policy.check(cell).with_context(|| format!("line {line}"))?.to_string();
        if let Some(before) = lines.insert(serial.clone(), line) {
            bail!("lines {before} and {line} hold the same serial `{serial}`");
        }
        serials.push(serial);
    }
    if serials.is_empty() {
        bail!("it holds no serial");
    }
    Ok(serials)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        let policy = Policy::parse("p", "[[rule]]\nkind = \"divisible\"\nby = 7").expect("reads");
        parse(text.as_bytes(), &policy).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn with_a_header_or_without() {
        for text in ["7\n14\n", "\u{feff}serial\n7\n14\n", "no;Serial\n1; 7 \n2;14", "7,a\n\n14,b\n"] {
            assert_eq!(read(text), Ok(vec!["7".to_owned(), "14".to_owned()]), "{text:?}");
        }
    }

    #[test]
    fn a_fault_is_told_with_its_line() {
        for (text, says) in [
            ("7\n8\n", "line 2: serial `8` is not valid"),
            ("serial\n7\n14\n7\n", "lines 2 and 4 hold the same serial `7`"),
            ("serial\n", "it holds no serial"),
        ] {
            let error = read(text).expect_err("refused");
            assert!(error.starts_with(says), "{error}");
        }
    }
}
