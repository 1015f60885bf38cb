//! A connection string as people give it: out of a file, a variable or a clipboard, with what tools put around it.
//!
//! Finds the one line that is meant, and takes off only what is plainly no part of it: a byte order mark, quotes, a name before
//! it, JSON around it, remarks of the Azure CLI. Knows no fields; the parsers judge the line. Copies are wiped when dropped.

use encoding_rs::{UTF_16BE, UTF_16LE};
use serde_json::Value;
use zeroize::{Zeroize as _, Zeroizing};

use super::{CONNECTION_STRING_BYTES_MAX, ConnectionStringError};

/// The longest file that is looked at: many times a connection string, for remarks around it and two bytes a character.
const GIVEN_BYTES_MAX: usize = 8 * CONNECTION_STRING_BYTES_MAX;

/// What a connection string of any kind begins with, in lower case. The rest of it follows in any order.
const BEGINNINGS: [&str; 5] = ["hostname=", "endpoint=", "deviceid=", "sharedaccesskeyname=", "sharedaccesskey="];

/// Quotes of keyboards and of word processors.
const QUOTES: [char; 9] = ['"', '\'', '`', '\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}', '\u{ab}'];

/// The text of a file: UTF-8, or UTF-16 as PowerShell writes it.
///
/// # Errors
/// When it is neither, or far too long.
pub(super) fn text(bytes: &[u8]) -> Result<Zeroizing<String>, ConnectionStringError> {
    if bytes.len() > GIVEN_BYTES_MAX {
        return Err(ConnectionStringError::TooLong);
    }
    let wide = match bytes {
        [0xff, 0xfe, rest @ ..] => Some((UTF_16LE, rest)),
        [0xfe, 0xff, rest @ ..] => Some((UTF_16BE, rest)),
        // Without a mark: a connection string is ASCII, so every other byte of it is zero.
        [first, 0, ..] if *first != 0 => Some((UTF_16LE, bytes)),
        [0, second, ..] if *second != 0 => Some((UTF_16BE, bytes)),
        _ => None,
    };
    match wide {
        Some((encoding, bytes)) => encoding
            .decode_without_bom_handling_and_without_replacement(bytes)
            .map(|text| Zeroizing::new(text.into_owned()))
            .ok_or(ConnectionStringError::NotText),
        None => {
            std::str::from_utf8(bytes).map(|text| Zeroizing::new(text.to_owned())).map_err(|_| ConnectionStringError::NotText)
        }
    }
}

/// The one connection string in a text, without what is around it.
///
/// # Errors
/// The text has no connection string, several that differ, or further lines of unknown meaning.
pub(super) fn line(text: &str) -> Result<Zeroizing<String>, ConnectionStringError> {
    if text.len() > GIVEN_BYTES_MAX {
        return Err(ConnectionStringError::TooLong);
    }
    let lines: Vec<&str> = text.lines().map(bare).filter(|line| !is_remark(line)).collect();
    match lines.as_slice() {
        [] => Err(ConnectionStringError::Empty),
        lines => {
            let whole = Zeroizing::new(lines.join("\n"));
            match (serde_json::from_str::<Value>(&whole), lines) {
                (Ok(json @ (Value::Object(_) | Value::Array(_) | Value::Null)), _) => one_of(&in_json(json)),
                (_, [only]) => Ok(unwrapped(only)),
                _ if is_broken(lines) => Ok(unwrapped(&Zeroizing::new(lines.concat()))),
                _ => {
                    let found: Vec<_> =
                        lines.iter().filter(|line| begins(&unwrapped(line))).map(|line| unwrapped(line)).collect();
                    if found.len() < lines.len() {
                        Err(ConnectionStringError::Lines { lines: lines.len() })
                    } else {
                        one_of(&found)
                    }
                }
            }
        }
    }
}

/// True for one connection string over several lines, each but the last with its `;` at the end.
fn is_broken(lines: &[&str]) -> bool {
    let [before @ .., _] = lines else { return false };
    let hosts = lines.iter().filter(|line| names_host(line)).count();
    hosts == 1 && before.iter().all(|line| line.ends_with(';'))
}

/// True if the text holds the host name of a connection string.
pub(super) fn names_host(line: &str) -> bool {
    Zeroizing::new(line.to_ascii_lowercase()).contains(BEGINNINGS[0])
}

/// Equal ones are one.
fn one_of(found: &[Zeroizing<String>]) -> Result<Zeroizing<String>, ConnectionStringError> {
    match found {
        [] => Err(ConnectionStringError::Empty),
        [first, rest @ ..] if rest.iter().all(|other| other == first) => Ok(first.clone()),
        several => Err(ConnectionStringError::Several { count: several.len() }),
    }
}

/// Without blanks, byte order marks and other characters that can't be seen.
fn bare(text: &str) -> &str {
    text.trim_matches(|c: char| {
        c.is_whitespace() || c.is_control() || matches!(c, '\u{feff}' | '\u{200b}'..='\u{200d}' | '\u{2060}')
    })
}

/// A line that the Azure CLI, its table form or a person put beside a connection string.
fn is_remark(line: &str) -> bool {
    let first = line.get(..8).unwrap_or(line).to_ascii_lowercase();
    line.is_empty()
        || line.starts_with('#')
        || first.starts_with("warning:")
        || line.chars().all(|c| matches!(c, '-' | '=' | ' '))
        || line.eq_ignore_ascii_case("connectionstring")
}

fn begins(line: &str) -> bool {
    BEGINNINGS.iter().any(|beginning| line.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning)))
}

/// Without quotes, and without a name before it, as in `export HUB="HostName=…"` and `connectionString: HostName=…`.
fn unwrapped(line: &str) -> Zeroizing<String> {
    let strip = |text: &str| {
        let text = text.trim_end_matches([',', ' ']);
        bare(text.trim_matches(QUOTES)).to_owned()
    };
    let plain = Zeroizing::new(strip(line));
    if begins(&plain) {
        return plain;
    }
    let lower = Zeroizing::new(plain.to_ascii_lowercase());
    let Some(at) = lower.find(BEGINNINGS[0]) else { return plain };
    let (before, rest) = plain.split_at(at);
    let before = before.trim_end().trim_end_matches(QUOTES).trim_end();
    let is_name = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.$: \"'".contains(c));
    match before.strip_suffix(['=', ':']) {
        Some(name) if is_name(name) => Zeroizing::new(strip(rest)),
        _ => plain,
    }
}

/// Every text in the JSON that begins like a connection string; all others are wiped.
fn in_json(json: Value) -> Vec<Zeroizing<String>> {
    match json {
        Value::String(mut text) => {
            let line = unwrapped(bare(&text));
            text.zeroize();
            if begins(&line) { vec![line] } else { Vec::new() }
        }
        Value::Array(values) => values.into_iter().flat_map(in_json).collect(),
        Value::Object(members) => members.into_iter().flat_map(|(_, value)| in_json(value)).collect(),
        _ => Vec::new(),
    }
}
