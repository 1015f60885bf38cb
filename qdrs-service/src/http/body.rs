//! A request's body as JSON, and what is wrong with it in the protocol's words: members and kinds of values.
//!
//! Neither types of Rust nor values are in a sentence: the first tell a client's author nothing, the second may be a secret
//! that was put in the wrong place.

use serde::de::DeserializeOwned;
use serde_json::error::Category;

/// The body as a `T`; an empty body is an empty object, since a station may leave everything out.
///
/// # Errors
/// A sentence that says where the body is wrong and what belongs there.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    let body = if body.is_empty() { b"{}" } else { body };
    // serde would also read a struct out of a list, by the order of its fields.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(wrong_value(".", "invalid type: sequence, expected struct"));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let value =
        serde_path_to_error::deserialize(&mut json).map_err(|error| in_words(&error.path().to_string(), error.inner()))?;
    json.end().map_err(|error| in_words(".", &error))?;
    Ok(value)
}

fn in_words(path: &str, error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Data => wrong_value(path, &error.to_string()),
        Category::Eof => "the body is no JSON: it ends too early".to_owned(),
        Category::Syntax | Category::Io => {
            let (line, column) = (error.line(), error.column());
            format!("the body is no JSON: what is in line {line}, column {column} does not belong there")
        }
    }
}

/// `message` is serde's: its few forms are known, and the rest are sentences of our own types.
fn wrong_value(path: &str, message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let what = if path == "." { "the body".to_owned() } else { format!("`{path}` of the body") };
    let quoted = |prefix: &str| message.strip_prefix(prefix).and_then(|rest| rest.strip_suffix('`'));
    if let Some(name) = quoted("missing field `") {
        return format!("{what} has no `{name}`");
    }
    if let Some(name) = quoted("duplicate field `") {
        return format!("{what} has `{name}` twice");
    }
    if let Some((found, expected)) = message.split_once(", expected ") {
        if found.starts_with("unknown variant") {
            return format!("{what} is none of {}", expected.trim_start_matches("one of ").replace(" or ", ", "));
        }
        let found = found.split_once(": ").map_or(found, |(_, found)| found);
        return format!("{what} is {}; {} belongs there", kind_found(found), kind_expected(expected));
    }
    if message.contains("UUID") {
        return format!("{what} is no UUID");
    }
    format!("{what}: {message}")
}

fn kind_found(found: &str) -> &'static str {
    match found.split([' ', '`']).next().unwrap_or_default() {
        "null" | "unit" => "null",
        "boolean" => "true or false",
        "integer" | "floating" => "a number",
        "string" | "character" => "a text",
        "sequence" | "invalid" => "a list",
        "map" => "an object",
        _ => "of another kind",
    }
}

fn kind_expected(expected: &str) -> &'static str {
    let is_integer = |text: &str| {
        text.strip_prefix(['u', 'i']).is_some_and(|bits| !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    match expected {
        _ if expected.contains("UUID") => "a UUID",
        _ if expected.contains("string") => "a text",
        _ if expected.contains("struct") || expected.contains("map") => "an object",
        _ if expected.contains("sequence") => "a list",
        _ if expected.contains("boolean") => "true or false",
        _ if is_integer(expected) => "a whole number",
        _ => "a value of another kind",
    }
}

#[cfg(test)]
mod tests {
    use qdrs_core::api::{ConfirmRequest, RegisterRequest, ReleaseRequest};

    use super::*;

    fn wrong<T: DeserializeOwned>(body: &str) -> String {
        read::<T>(body.as_bytes()).map(drop).expect_err("is wrong")
    }

    #[test]
    fn each_kind_of_value_has_its_name() {
        for (found, name) in [
            ("null", "null"),
            ("unit value", "null"),
            ("boolean `true`", "true or false"),
            ("integer `7`", "a number"),
            ("floating point `7.5`", "a number"),
            ("string \"a\"", "a text"),
            ("character `a`", "a text"),
            ("sequence", "a list"),
            ("map", "an object"),
            ("enum", "of another kind"),
        ] {
            assert_eq!(kind_found(found), name, "{found}");
        }
        for (expected, name) in [
            ("a formatted UUID string", "a UUID"),
            ("a string", "a text"),
            ("struct TakeOver", "an object"),
            ("a map", "an object"),
            ("a sequence", "a list"),
            ("a boolean", "true or false"),
            ("u64", "a whole number"),
            ("i8", "a whole number"),
            ("u", "a value of another kind"),
            ("ux1", "a value of another kind"),
            ("unit", "a value of another kind"),
        ] {
            assert_eq!(kind_expected(expected), name, "{expected}");
        }
    }

    #[test]
    fn a_body_is_judged_in_the_protocols_words() {
        assert!(read::<RegisterRequest>(b"").is_ok() && read::<RegisterRequest>(br#"{"new": {}}"#).is_ok());
        for (body, says) in [
            ("{", "the body is no JSON: it ends too early"),
            ("{}x", "the body is no JSON: what is in line 1, column 3 does not belong there"),
            ("7", "the body is a number; an object belongs there"),
            ("\"SharedAccessKey=AAEC\"", "the body is a text; an object belongs there"),
            ("null", "the body is null; an object belongs there"),
            (r#"{"station":7}"#, "`station` of the body is a number; a text belongs there"),
            (r#"{"slot":["a"]}"#, "`slot` of the body is a list; a text belongs there"),
            (r#"{"columns":{"a":null}}"#, "`columns.a` of the body is null; a text belongs there"),
            (r#"{"columns":[]}"#, "`columns` of the body is a list; an object belongs there"),
            (r#"{"take_over":[]}"#, "`take_over` of the body is a list; an object belongs there"),
            (r#"{"take_over":{}}"#, "`take_over` of the body has no `reason`"),
            (r#"{"station":"a","station":"b"}"#, "the body has `station` twice"),
        ] {
            assert_eq!(wrong::<RegisterRequest>(body), says, "{body}");
        }
        let reservation = "01936b1a-7c10-7000-8000-000000000002";
        for (body, says) in [
            ("{}".to_owned(), "the body has no `reservation`"),
            (r#"{"reservation":"x"}"#.to_owned(), "`reservation` of the body is no UUID"),
            (r#"{"reservation":7}"#.to_owned(), "`reservation` of the body is a number; a UUID belongs there"),
            (
                format!(r#"{{"reservation":"{reservation}","fingerprint":"aa"}}"#),
                "`fingerprint` of the body: a fingerprint is 64 lower-case hex digits",
            ),
            (
                format!(r#"{{"reservation":"{reservation}","fingerprint":"{}","evidence":"seen"}}"#, "a".repeat(64)),
                "`evidence` of the body is none of `accepted`, `device-checked`, `read-back`",
            ),
        ] {
            assert_eq!(wrong::<ConfirmRequest>(&body), says, "{body}");
        }
        for list in ["[]", " [\"a\", \"b\"]"] {
            assert_eq!(wrong::<ReleaseRequest>(list), "the body is a list; an object belongs there");
            assert_eq!(wrong::<RegisterRequest>(list), "the body is a list; an object belongs there");
        }
    }
}
