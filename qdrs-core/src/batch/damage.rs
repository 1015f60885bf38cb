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
    /// `$41,713`, `41713%`, `(41713)`, `41713-`.
    Amount,
    /// `TRUE`, `WAHR`.
    Truth,
    /// `NULL`, `n/a`, `-`, `…`: something that stands for nothing.
    Nothing,
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
    // Before the quotation marks: a Swiss spreadsheet parts thousands with one of them.
    if is_grouped(text) {
        return Some(Damage::Grouped);
    }
    if text.contains(|c: char| matches!(c, '\u{2018}'..='\u{201f}' | '\u{00ab}' | '\u{00bb}' | '\u{2032}' | '\u{2033}')) {
        return Some(Damage::TypographicQuotes);
    }
    if text.contains(|c: char| matches!(c, '\u{ff01}'..='\u{ff5e}')) {
        return Some(Damage::FullWidth);
    }
    if is_exponent(text) {
        return Some(Damage::Exponent);
    }
    if is_decimal(text) {
        return Some(Damage::Decimal);
    }
    if is_amount(text) {
        return Some(Damage::Amount);
    }
    let word = text.to_lowercase();
    if TRUTHS.contains(&word.as_str()) {
        return Some(Damage::Truth);
    }
    if NOTHINGS.contains(&word.as_str()) {
        return Some(Damage::Nothing);
    }
    is_date(text).then_some(Damage::Date)
}

/// What spreadsheets call true and false, in small letters.
const TRUTHS: [&str; 14] = [
    "true",
    "false",
    "wahr",
    "falsch",
    "vrai",
    "faux",
    "vero",
    "falso",
    "verdadero",
    "verdadeiro",
    "waar",
    "onwaar",
    "prawda",
    "fałsz",
];
/// What programs and people write where there is nothing, in small letters.
const NOTHINGS: [&str; 18] = [
    "null", "(null)", "nan", "none", "nil", "n/a", "na", "\\n", "-", "--", "\u{2013}", "\u{2014}", "...", "\u{2026}", "\"",
    "\u{3003}", "?", "ditto",
];

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

/// `1.2E+11`, `1.2E11`, `123E+9`: with a sign or a point, and never more than three digits before it.
fn is_exponent(text: &str) -> bool {
    let Some(at) = text.find(['E', 'e']) else { return false };
    let (number, power) = (&text[..at], &text[at + 1..]);
    let mut parts = number.splitn(2, ['.', ',']);
    let whole = parts.next().unwrap_or_default();
    let signed = power.strip_prefix(['+', '-']);
    let power = signed.unwrap_or(power);
    let sound = (1..=3).contains(&whole.len()) && is_digits(whole) && (1..=3).contains(&power.len()) && is_digits(power);
    match parts.next() {
        Some(fraction) => sound && is_digits(fraction),
        None if whole.len() == 1 => sound && signed.is_some() && power.len() >= 2,
        // Engineers' powers are threes.
        None => sound && signed.is_some() && power.parse::<u32>().is_ok_and(|power| power % 3 == 0),
    }
}

/// The digits of a whole number written with an exponent that still has all of them, as `4.30118852096E+11`. `None` where
/// digits are lost, or may be.
pub(super) fn whole_power(text: &str) -> Option<String> {
    let (number, power) = text.split_once(['E', 'e'])?;
    let (whole, fraction) = number.split_once(['.', ','])?;
    let power: usize = power.strip_prefix('+').unwrap_or(power).parse().ok()?;
    let sound = whole.len() == 1 && whole != "0" && is_digits(whole) && is_digits(fraction);
    // A zero at the end may stand for digits that were rounded away.
    let exact = fraction.len() == power && power < KEPT_DIGITS && !fraction.ends_with('0');
    (sound && exact).then(|| format!("{whole}{fraction}"))
}

/// How many digits a spreadsheet keeps of a number.
const KEPT_DIGITS: usize = 15;

/// `1,234,567`, `1,234,567.00` or `12,34,567`: groups, all parted by the same sign.
pub(super) fn is_grouped(text: &str) -> bool {
    let whole = match text.rfind(['.', ',']) {
        Some(at) if is_digits(&text[at + 1..]) && text[at + 1..].len() <= 3 => {
            let mark = &text[at..=at];
            // The other of the two parts the groups.
            if text[..at].contains(mark) || is_digits(&text[..at]) { text } else { &text[..at] }
        }
        _ => text,
    };
    let separators = [',', '.', ' ', '\u{a0}', '\u{202f}', '\u{2009}', '\'', '\u{2019}'];
    let Some(separator) = whole.chars().find(|c| !c.is_ascii_digit()).filter(|c| separators.contains(c)) else { return false };
    let groups: Vec<&str> = whole.split(separator).collect();
    let [head, middle @ .., last] = &groups[..] else { return false };
    if !groups.iter().all(|group| is_digits(group)) || last.len() != 3 {
        return false;
    }
    let threes = head.len() <= 3 && middle.iter().all(|group| group.len() == 3);
    // As in India.
    let twos = separator == ',' && head.len() <= 2 && !middle.is_empty() && middle.iter().all(|group| group.len() == 2);
    // One point may be anybody's; one comma or blank before three digits is a thousand.
    twos || (threes && (separator != '.' || groups.len() > 2 || whole.len() < text.len()))
}

/// Money, a part of a hundred, or a number below zero, as spreadsheets and programs write them.
fn is_amount(text: &str) -> bool {
    let is_number = |text: &str| {
        let text = text.trim();
        text.bytes().any(|b| b.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b',' | b' '))
    };
    const SIGNS: [char; 8] = ['$', '€', '£', '¥', '₹', '%', '-', '\u{2212}'];
    let bare = text.strip_prefix('(').and_then(|text| text.strip_suffix(')'));
    let signed = text.strip_prefix(SIGNS).or_else(|| text.strip_suffix(SIGNS));
    let signed = signed.map(|text| text.strip_prefix(SIGNS).unwrap_or(text));
    bare.or(signed).is_some_and(is_number)
}

/// `41713.0`, as programs write what they took for a number.
fn is_decimal(text: &str) -> bool {
    text.split_once(['.', ',']).is_some_and(|(whole, rest)| {
        // Three zeros behind a few digits are thousands as well.
        let enough = rest.len() < 3 || (whole.len() > 3 && rest.len() <= 6);
        is_digits(whole) && !rest.is_empty() && rest.bytes().all(|b| b == b'0') && enough
    })
}

/// A day, a month of a year, or a time, as spreadsheets write them.
fn is_date(text: &str) -> bool {
    // `05. Mrz`
    let text = &*text.replace(". ", ".");
    let (day, clock) = text.split_once([' ', 'T']).map_or((text, None), |(day, clock)| (day, Some(clock)));
    if clock.is_some_and(|clock| !is_moment(clock)) {
        return false;
    }
    is_day(day) || (clock.is_none() && is_ideographic_day(text)) || (clock.is_none() && is_clock(text) && text.len() >= 5)
}

fn is_day(text: &str) -> bool {
    let Some(separator) = text.chars().find(|c| matches!(c, '-' | '/' | '.')) else { return false };
    let parts: Vec<&str> = text.trim_end_matches('.').split(separator).collect();
    let number = |text: &str, digits: std::ops::RangeInclusive<usize>, values: std::ops::RangeInclusive<u32>| {
        digits.contains(&text.len()) && is_digits(text) && text.parse().is_ok_and(|value| values.contains(&value))
    };
    let day = |text: &str| number(text, 1..=2, 1..=31);
    let month = |text: &str| number(text, 1..=2, 1..=12) || is_month(text) || is_month_abroad(text);
    let year = |text: &str| number(text, 2..=2, 0..=99) || number(text, 4..=4, 1900..=2100);
    match parts[..] {
        [a, b, c] => {
            (number(a, 4..=4, 1900..=2100) && month(b) && day(c)) || ((day(a) && month(b) || month(a) && day(b)) && year(c))
        }
        [a, b] => (day(a) && (is_month(b) || is_month_abroad(b))) || ((is_month(a) || is_french_month(a)) && year(b)),
        _ => false,
    }
}

/// `3月5日`, `2026年3月5日`.
fn is_ideographic_day(text: &str) -> bool {
    let Some(rest) = text.strip_suffix(['日', '일']) else { return false };
    let rest = rest.split_once(['年', '년']).map_or(rest, |(year, rest)| if is_digits(year) { rest } else { "" });
    rest.split_once(['月', '월']).is_some_and(|(month, day)| is_digits(month.trim()) && is_digits(day.trim()))
}

fn is_month(text: &str) -> bool {
    const NAMES: [&str; 37] = [
        "jan",
        "feb",
        "mar",
        "apr",
        "may",
        "jun",
        "jul",
        "aug",
        "sep",
        "oct",
        "nov",
        "dec",
        "mär",
        "mrz",
        "mai",
        "okt",
        "dez",
        "sept",
        "juin",
        "juil",
        "ago",
        "dic",
        "ene",
        "january",
        "february",
        "march",
        "april",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "januar",
        "februar",
        "märz",
    ];
    NAMES.contains(&text.to_lowercase().as_str())
}

/// In languages that write months small. In capitals each of these could be the beginning of a serial.
fn is_month_abroad(text: &str) -> bool {
    const NAMES: [&str; 18] = [
        "gen", "mag", "giu", "lug", "set", "ott", "abr", "mrt", "mei", "maj", "fev", "out", "sty", "kwi", "cze", "lip", "wrz",
        "paź",
    ];
    NAMES.contains(&text.trim_end_matches('.')) || is_french_month(text)
}

fn is_french_month(text: &str) -> bool {
    const NAMES: [&str; 11] = ["janv", "févr", "fevr", "mars", "avr", "avril", "août", "aout", "déc", "juillet", "mai"];
    NAMES.contains(&text.trim_end_matches('.'))
}

/// A time of day, to the millisecond and with its zone.
fn is_moment(text: &str) -> bool {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let text = text.rsplit_once('+').filter(|(_, zone)| is_clock(zone)).map_or(text, |(clock, _)| clock);
    is_clock(text.split_once('.').filter(|(_, parts)| is_digits(parts)).map_or(text, |(clock, _)| clock))
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
            ("1.5E11", Some(Damage::Exponent)),
            ("1.5e+11", Some(Damage::Exponent)),
            ("123.4E+9", Some(Damage::Exponent)),
            ("123E+9", Some(Damage::Exponent)),
            ("12E+45", Some(Damage::Exponent)),
            ("12E+44", None),
            ("1048.1E11", None),
            ("1,048,162.00", Some(Damage::Grouped)),
            ("1.048.162,00", Some(Damage::Grouped)),
            ("1.048,50", Some(Damage::Grouped)),
            ("41,71,377", Some(Damage::Grouped)),
            ("1\u{2019}048\u{2019}162", Some(Damage::Grouped)),
            ("1.048", None),
            ("10.200.301", Some(Damage::Grouped)),
            ("41713,000", Some(Damage::Decimal)),
            ("$41,713", Some(Damage::Amount)),
            ("41713 €", Some(Damage::Amount)),
            ("-$5", Some(Damage::Amount)),
            ("4171300%", Some(Damage::Amount)),
            ("(41713)", Some(Damage::Amount)),
            ("41713-", Some(Damage::Amount)),
            ("-41713", Some(Damage::Amount)),
            ("41-713", None),
            ("(01)0952", None),
            ("A-", None),
            ("WAHR", Some(Damage::Truth)),
            ("NULL", Some(Damage::Nothing)),
            ("...", Some(Damage::Nothing)),
            ("NULL-1", None),
            ("5-gen", Some(Damage::Date)),
            ("05-avr.", Some(Damage::Date)),
            ("mars-26", Some(Damage::Date)),
            ("5-mei", Some(Damage::Date)),
            ("GEN-12", None),
            ("SET-05", None),
            ("12-OUT", None),
            ("5 March", None),
            ("05-December-2026", Some(Damage::Date)),
            ("3月5日", Some(Damage::Date)),
            ("2026年3月5日", Some(Damage::Date)),
            ("2026-03-05T00:00:00.000Z", Some(Damage::Date)),
            ("2026-03-05T00:00:00+01:00", Some(Damage::Date)),
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
    fn a_power_with_all_of_its_digits_is_a_number_and_others_are_not() {
        for (text, digits) in [
            ("4.30118852096E+11", Some("430118852096")),
            ("4,30118852096E+11", Some("430118852096")),
            ("4.30118852096e11", Some("430118852096")),
            ("1.2E+11", None),
            ("4.30119E+11", None),
            ("4.30118852090E+11", None),
            ("1.234567890123456E+15", None),
            ("12.34E+2", None),
            ("4.3E-11", None),
            ("QD-1E+1", None),
        ] {
            assert_eq!(whole_power(text).as_deref(), digits, "{text}");
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
