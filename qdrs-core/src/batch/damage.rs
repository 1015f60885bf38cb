//! What spreadsheets and people do to serial numbers, recognised by the text that is left.
//!
//! Knows one text at a time: what needs the whole column (zeros that some rows lost, rows that are shifted) is
//! `column`'s. None of this is said of a text that the owner's policy takes.

/// What was done to a serial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Damage {
    /// `1.2E+11`.
    Exponent,
    /// `05-Mar`, `2026-03-05`.
    Date,
    /// `1,234,567`.
    Grouped,
    /// `41713.0`.
    Decimal,
    /// `=A1&B1`.
    Formula,
    /// `#REF!`.
    ErrorValue,
    /// `########`, a column too narrow for its number when it was printed or copied.
    Hashes,
    /// `“QD-0041713”`.
    TypographicQuotes,
    /// `４１７１３`.
    FullWidth,
}

/// What was done to this text, if it can be seen.
pub(super) fn of(text: &str) -> Option<Damage> {
    let first = text.chars().next()?;
    if is_error_value(text) {
        return Some(if text.starts_with("##") { Damage::Hashes } else { Damage::ErrorValue });
    }
    if text.starts_with('=') || (first == '+' && text.contains('(')) {
        return Some(Damage::Formula);
    }
    if text.contains(|c: char| matches!(c, '\u{2018}'..='\u{201f}' | '\u{00ab}' | '\u{00bb}' | '\u{2032}' | '\u{2033}')) {
        return Some(Damage::TypographicQuotes);
    }
    if text.contains(|c: char| matches!(c, '\u{ff01}'..='\u{ff5e}')) {
        return Some(Damage::FullWidth);
    }
    if is_grouped(text) {
        return Some(Damage::Grouped);
    }
    if is_exponent(text) {
        return Some(Damage::Exponent);
    }
    if is_decimal(text) {
        return Some(Damage::Decimal);
    }
    is_date(text).then_some(Damage::Date)
}

/// The text without what only told a spreadsheet to leave it alone: `'0041713` or `="0041713"`.
pub(super) fn unmarked(text: &str) -> Option<&str> {
    if let Some(inner) = text.strip_prefix("=\"").and_then(|rest| rest.strip_suffix('"')) {
        return Some(inner).filter(|inner| !inner.is_empty() && !inner.contains('"'));
    }
    text.strip_prefix('\'').filter(|rest| !rest.is_empty() && !rest.contains('\''))
}

/// What spreadsheets show instead of a value.
pub(super) fn is_error_value(text: &str) -> bool {
    const VALUES: [&str; 14] = [
        "#REF!",
        "#NAME?",
        "#VALUE!",
        "#DIV/0!",
        "#N/A",
        "#NULL!",
        "#NUM!",
        "#SPILL!",
        "#CALC!",
        "#BEZUG!",
        "#WERT!",
        "#NV",
        "#ZAHL!",
        "#GETTING_DATA",
    ];
    VALUES.iter().any(|value| text.get(..value.len()).is_some_and(|start| start.eq_ignore_ascii_case(value)))
        || text.starts_with("###")
}

/// `1.2E+11`: always with a sign, and as spreadsheets write it one digit before the point.
fn is_exponent(text: &str) -> bool {
    let Some(at) = text.find(['E', 'e']) else { return false };
    let (number, power) = (&text[..at], &text[at + 1..]);
    let mut parts = number.splitn(2, ['.', ',']);
    let whole = parts.next().unwrap_or_default();
    is_digits(whole)
        && whole.len() == 1
        && parts.next().is_none_or(is_digits)
        && power.strip_prefix(['+', '-']).is_some_and(|digits| digits.len() >= 2 && is_digits(digits))
}

/// `1,234,567`: groups of three, all parted by the same sign.
pub(super) fn is_grouped(text: &str) -> bool {
    let separators = [',', '.', ' ', '\u{a0}', '\u{202f}', '\u{2009}', '\''];
    let Some(separator) = text.chars().find(|c| !c.is_ascii_digit()).filter(|c| separators.contains(c)) else { return false };
    let mut groups = text.split(separator);
    let head = groups.next().unwrap_or_default();
    let mut count = 0;
    let threes = groups.all(|group| {
        count += 1;
        group.len() == 3 && is_digits(group)
    });
    // One point may be anybody's; one comma or blank before three digits is a thousand.
    (1..=3).contains(&head.len()) && is_digits(head) && threes && count >= if separator == '.' { 2 } else { 1 }
}

/// `41713.0`, as programs write what they took for a number.
fn is_decimal(text: &str) -> bool {
    text.split_once(['.', ','])
        .is_some_and(|(whole, rest)| is_digits(whole) && !rest.is_empty() && rest.bytes().all(|b| b == b'0') && rest.len() < 3)
}

/// A day, a month of a year, or a time, as spreadsheets write them.
fn is_date(text: &str) -> bool {
    // `05. Mrz`
    let text = &*text.replace(". ", ".");
    let (day, clock) = text.split_once([' ', 'T']).map_or((text, None), |(day, clock)| (day, Some(clock)));
    if clock.is_some_and(|clock| !is_clock(clock)) {
        return false;
    }
    is_day(day) || (clock.is_none() && is_clock(text) && text.len() >= 5)
}

fn is_day(text: &str) -> bool {
    let Some(separator) = text.chars().find(|c| matches!(c, '-' | '/' | '.')) else { return false };
    let parts: Vec<&str> = text.trim_end_matches('.').split(separator).collect();
    let number = |text: &str, digits: std::ops::RangeInclusive<usize>, values: std::ops::RangeInclusive<u32>| {
        digits.contains(&text.len()) && is_digits(text) && text.parse().is_ok_and(|value| values.contains(&value))
    };
    let day = |text: &str| number(text, 1..=2, 1..=31);
    let month = |text: &str| number(text, 1..=2, 1..=12) || is_month(text);
    let year = |text: &str| number(text, 2..=2, 0..=99) || number(text, 4..=4, 1900..=2100);
    match parts[..] {
        [a, b, c] => {
            (number(a, 4..=4, 1900..=2100) && month(b) && day(c)) || ((day(a) && month(b) || month(a) && day(b)) && year(c))
        }
        [a, b] => (day(a) && is_month(b)) || (is_month(a) && year(b)),
        _ => false,
    }
}

fn is_month(text: &str) -> bool {
    const NAMES: [&str; 23] = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "mär", "mrz", "mai", "okt", "dez",
        "sept", "juin", "juil", "ago", "dic", "ene",
    ];
    NAMES.contains(&text.to_lowercase().as_str())
}

fn is_clock(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    (2..=3).contains(&parts.len()) && parts.iter().all(|part| (1..=2).contains(&part.len()) && is_digits(part))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn damage_is_seen_and_serials_are_left_alone() {
        for (text, damage) in [
            ("1.2E+11", Some(Damage::Exponent)),
            ("1,20E+11", Some(Damage::Exponent)),
            ("4E-07", Some(Damage::Exponent)),
            ("12E45", None),
            ("1E5", None),
            ("1,234,567", Some(Damage::Grouped)),
            ("1.234.567", Some(Damage::Grouped)),
            ("1 234 567", Some(Damage::Grouped)),
            ("41\u{202f}713", Some(Damage::Grouped)),
            ("12.345", None),
            ("12.34.567", None),
            ("41713.0", Some(Damage::Decimal)),
            ("41713,00", Some(Damage::Decimal)),
            ("5-Mar", Some(Damage::Date)),
            ("Mar-05", Some(Damage::Date)),
            ("05.03.2026", Some(Damage::Date)),
            ("05. Mrz", Some(Damage::Date)),
            ("3/5/26", Some(Damage::Date)),
            ("2026-03-05 00:00:00", Some(Damage::Date)),
            ("12:30", Some(Damage::Date)),
            ("2026-47", None),
            ("12-34-56", None),
            ("QD-0041713", None),
            ("0041713", None),
            ("=A1&B1", Some(Damage::Formula)),
            ("#REF!", Some(Damage::ErrorValue)),
            ("#N/A", Some(Damage::ErrorValue)),
            ("########", Some(Damage::Hashes)),
            ("\u{201c}QD-1\u{201d}", Some(Damage::TypographicQuotes)),
            ("ＱＤ-１", Some(Damage::FullWidth)),
            ("", None),
        ] {
            assert_eq!(of(text), damage, "{text:?}");
        }
    }

    #[test]
    fn a_mark_for_text_is_taken_off_and_nothing_else() {
        for (text, inner) in [
            ("'0041713", Some("0041713")),
            ("=\"0041713\"", Some("0041713")),
            ("='0'", None),
            ("'", None),
            ("'a'b", None),
            ("0041713", None),
        ] {
            assert_eq!(unmarked(text), inner, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,20}|[0-9.,:/E+#=' -]{0,20}") {
            let _ = (of(&text), unmarked(&text));
        }
    }
}
