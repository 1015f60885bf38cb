//! What a cell with a whole number shows, where its number format makes that certain.
//!
//! `"QD-"0000000` shows 41713 as `QD-0041713`: that is what its author sees, and what stands on the label. Where digits are
//! grouped, cut or turned into something else, nobody can know which of the two is the serial, so nothing is guessed.
//!
//! Source: ECMA-376, part 1, 18.8.30 and 18.8.31.

use std::rc::Rc;

/// The most places for digits that are looked at.
const PLACES_MAX: usize = 64;
/// The most digits that a spreadsheet shows without being asked.
const GENERAL_DIGITS_MAX: usize = 11;

/// A number format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NumberFormat {
    /// As the workbook writes it.
    pub(super) code: Rc<str>,
    /// Is the number a day or a time?
    pub(super) is_date: bool,
    /// `0.00E+00` and alike.
    has_exponent: bool,
    sections: Vec<Option<Vec<Piece>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Literal(char),
    /// `0`: a digit, or a zero where there is none.
    Zero,
    /// `#` or `?`: a digit, if there is one.
    Digit,
    /// The number as it is.
    General,
    /// The text of a cell that has one.
    Text,
}

/// What a cell shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shows {
    /// What it holds.
    Itself,
    /// This instead.
    Other(String),
    /// Something that can't be known.
    Unknown,
}

impl NumberFormat {
    /// One of those that every workbook has, by its number. None is unknown: some differ from language to language.
    pub(super) fn built_in(number: u32) -> Self {
        let code = match number {
            1 => "0",
            2 => "0.00",
            3 => "#,##0",
            4 => "#,##0.00",
            9 => "0%",
            10 => "0.00%",
            11 => "0.00E+00",
            12 => "# ?/?",
            13 => "# ??/??",
            14..=22 | 27..=36 | 45..=47 | 50..=58 => "yyyy-mm-dd",
            37..=40 => "#,##0;(#,##0)",
            41..=44 => "_(* #,##0_)",
            48 => "##0.0E+0",
            49 => "@",
            _ => "General",
        };
        Self::parse(code)
    }

    pub(super) fn parse(code: &str) -> Self {
        let mut is_date = false;
        let mut sections = Vec::new();
        let mut rest = code;
        loop {
            let (section, after) = section(rest, &mut |date| is_date |= date && sections.is_empty());
            sections.push(section);
            match after {
                Some(after) if sections.len() < 4 => rest = after,
                Some(_) => {
                    sections = vec![None];
                    break;
                }
                None => break,
            }
        }
        let has_exponent = is_exponent(code);
        Self { code: code.into(), is_date, has_exponent, sections }
    }

    /// What a cell shows that holds a whole number, of which these are the digits.
    pub(super) fn number(&self, digits: &str) -> Shows {
        // With an exponent: rounded for the eye only, the cell holds every digit of a whole number.
        if self.has_exponent {
            return Shows::Itself;
        }
        let zero = digits == "0" && self.sections.len() > 2;
        let Some(Some(pieces)) = self.sections.get(if zero { 2 } else { 0 }) else { return Shows::Unknown };
        match pieces[..] {
            [Piece::General] => return Shows::Itself,
            [Piece::Text] if self.sections.len() == 1 => return Shows::Itself,
            _ => {}
        }
        match filled(pieces, digits) {
            Some(text) if text.trim() == digits => Shows::Itself,
            Some(text) => Shows::Other(text.trim().to_owned()),
            None => Shows::Unknown,
        }
    }

    /// What a cell shows that holds a text.
    pub(super) fn text(&self, text: &str) -> Shows {
        let Some(section) = self.sections.get(3).or(self.sections.last().filter(|_| self.sections.len() == 1)) else {
            return Shows::Itself;
        };
        match section {
            Some(pieces) if pieces.contains(&Piece::Text) => {
                let mut shown = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Literal(character) => shown.push(*character),
                        Piece::Text => shown.push_str(text),
                        _ => return Shows::Unknown,
                    }
                }
                if shown.trim() == text.trim() { Shows::Itself } else { Shows::Other(shown) }
            }
            // For numbers alone; a text is shown as it is.
            _ if self.sections.len() == 1 => Shows::Itself,
            _ => Shows::Unknown,
        }
    }
}

/// A format of digits and an exponent alone: nothing beside them that could be part of a serial.
fn is_exponent(code: &str) -> bool {
    let Some((number, power)) = code.split_once("E+").or(code.split_once("E-")) else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0' | b'#' | b'?' | b'.' | b','));
    digits(number) && digits(power)
}

/// Puts digits into their places, from the right; the first place takes all that are left.
fn filled(pieces: &[Piece], digits: &str) -> Option<String> {
    let places: Vec<usize> = (0..pieces.len()).filter(|at| matches!(pieces[*at], Piece::Zero | Piece::Digit)).collect();
    let general = pieces.iter().filter(|piece| **piece == Piece::General).count();
    if pieces.contains(&Piece::Text) || places.len() > PLACES_MAX || general > 1 || (general == 1) != places.is_empty() {
        return None;
    }
    if general == 1 && digits.len() > GENERAL_DIGITS_MAX {
        return None;
    }
    let zeros: Vec<bool> = places.iter().map(|at| pieces[*at] == Piece::Zero).collect();
    // A digit that may be left out, after one that may not, or before a sign: spreadsheets differ.
    let missing = zeros.len().saturating_sub(digits.len());
    let apart = places.windows(2).any(|two| two[1] - two[0] > 1);
    if !zeros.is_sorted() || (digits == "0" && !zeros.contains(&true) && general == 0) {
        return None;
    }
    if apart && zeros.iter().take(missing).any(|zero| !zero) {
        return None;
    }
    let mut text = String::new();
    let (mut left, mut place) = (digits, 0);
    for piece in pieces {
        match piece {
            Piece::Literal(character) => text.push(*character),
            Piece::Zero if place < missing => text.push('0'),
            Piece::Zero | Piece::Digit if place >= missing => {
                let (first, rest) = left.split_at(left.len() - (places.len() - place - 1).min(left.len()));
                text.push_str(first);
                left = rest;
            }
            Piece::General => text.push_str(digits),
            Piece::Zero | Piece::Digit | Piece::Text => {}
        }
        place += usize::from(matches!(piece, Piece::Zero | Piece::Digit));
    }
    Some(text)
}

/// The pieces of the first section, none when it has something that is not certain, and what follows its `;`.
fn section<'c>(code: &'c str, date: &mut dyn FnMut(bool)) -> (Option<Vec<Piece>>, Option<&'c str>) {
    let (mut pieces, mut known) = (Vec::new(), true);
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        let second = after.chars().next();
        let after_second = second.map_or("", |second| &after[second.len_utf8()..]);
        rest = after;
        match first {
            ';' => return (known.then_some(pieces), Some(after)),
            '"' => {
                let Some((text, behind)) = after.split_once('"') else { return (None, None) };
                pieces.extend(text.chars().map(Piece::Literal));
                rest = behind;
            }
            '\\' => {
                let Some(second) = second else { return (None, None) };
                pieces.push(Piece::Literal(second));
                rest = after_second;
            }
            // As wide as the next character, so that columns stand under each other.
            '_' => {
                pieces.push(Piece::Literal(' '));
                rest = after_second;
            }
            '[' => {
                let Some((inside, behind)) = after.split_once(']') else { return (None, None) };
                match bracket(inside) {
                    Bracket::Nothing => {}
                    Bracket::Currency(sign) => pieces.extend(sign.chars().map(Piece::Literal)),
                    Bracket::Time => {
                        date(true);
                        known = false;
                    }
                    Bracket::Unknown => known = false,
                }
                rest = behind;
            }
            '0' => pieces.push(Piece::Zero),
            '#' | '?' => pieces.push(Piece::Digit),
            '@' => pieces.push(Piece::Text),
            'G' | 'g' if after.get(..6).is_some_and(|word| word.eq_ignore_ascii_case("eneral")) => {
                pieces.push(Piece::General);
                rest = &after[6..];
            }
            'd' | 'D' | 'm' | 'M' | 'y' | 'Y' | 'h' | 'H' | 's' | 'S' => {
                date(true);
                known = false;
            }
            '-' | '+' | '(' | ')' | ' ' | '$' | '!' | '&' | '~' | '\'' | '{' | '}' | '€' | '£' | '¥' => {
                pieces.push(Piece::Literal(first));
            }
            _ => known = false,
        }
    }
    (known.then_some(pieces), None)
}

/// What stands in brackets.
enum Bracket<'c> {
    /// A colour, or a language without a sign.
    Nothing,
    Currency(&'c str),
    /// `[h]`: more than 24 hours.
    Time,
    /// A condition, or other digits than ours.
    Unknown,
}

fn bracket(inside: &str) -> Bracket<'_> {
    const COLOURS: [&str; 8] = ["black", "blue", "cyan", "green", "magenta", "red", "white", "yellow"];
    let word = inside.to_ascii_lowercase();
    if COLOURS.contains(&word.as_str()) || word.strip_prefix("color").is_some_and(|number| number.trim().parse::<u8>().is_ok()) {
        return Bracket::Nothing;
    }
    if !word.is_empty() && ['h', 'm', 's'].iter().any(|unit| word.chars().all(|c| c == *unit)) {
        return Bracket::Time;
    }
    let Some(currency) = inside.strip_prefix('$') else { return Bracket::Unknown };
    let (sign, language) = currency.rsplit_once('-').unwrap_or((currency, "0"));
    // Above 16 bits stands which digits are written, and which calendar.
    match u32::from_str_radix(language, 16) {
        Ok(0..=0xffff) => Bracket::Currency(sign),
        _ => Bracket::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_shown_as_its_format_says_or_nobody_knows() {
        let shown = |code: &str, digits: &str| match NumberFormat::parse(code).number(digits) {
            Shows::Itself => digits.to_owned(),
            Shows::Other(text) => text,
            Shows::Unknown => "?".to_owned(),
        };
        for (code, text) in [
            ("General", "41713"),
            ("@", "41713"),
            ("0", "41713"),
            ("#", "41713"),
            ("0000000", "0041713"),
            ("000", "41713"),
            ("\"QD-\"0000000", "QD-0041713"),
            ("\\Q\\D\\-0000000", "QD-0041713"),
            ("0000000\"-A\"", "0041713-A"),
            ("\"QD-\"General", "QD-41713"),
            ("000-0000", "004-1713"),
            ("000\\-0000", "004-1713"),
            ("00-00", "417-13"),
            ("000 0000", "004 1713"),
            ("0000000;-0000000;0;@", "0041713"),
            ("0000000_)", "0041713"),
            ("[$-409]0000000", "0041713"),
            ("[Blue]0000000", "0041713"),
            ("[Color 12]0000000", "0041713"),
            ("[$€-407]0", "€41713"),
            ("#0000000", "0041713"),
            ("?000000", "041713"),
            ("\"QD-\"0000000;\"D\"", "QD-0041713"),
            ("0000000\"h\"", "0041713h"),
            // Rounded for the eye only: the cell holds all digits.
            ("0.00E+00", "41713"),
            ("##0.0E+0", "41713"),
            // Not certain, or not the number.
            ("###-####", "?"),
            ("0#######", "?"),
            ("\"D\"", "?"),
            (";;;", "?"),
            ("#,##0", "?"),
            ("0.00", "?"),
            ("0%", "?"),
            ("\"N\"0.00E+00", "?"),
            ("# ?/?", "?"),
            ("_(* #,##0_)", "?"),
            ("* 0", "?"),
            ("[>5]0;0", "?"),
            ("[$-2000000]0", "?"),
            ("[DBNum1]0", "?"),
            ("\"QD-0", "?"),
            ("\"QD-\"@", "?"),
            ("yyyy-mm-dd", "?"),
            ("0;0;0;@;0", "?"),
        ] {
            assert_eq!(shown(code, "41713"), text, "{code}");
        }
        assert_eq!((shown("#", "0"), shown("0000;0000;\"none\"", "0")), ("?".into(), "?".into()));
        assert_eq!(shown("\"QD-\"General", "123456789012"), "?");
    }

    #[test]
    fn days_and_times_are_known_and_a_text_has_a_section_of_its_own() {
        for (code, date) in [
            ("yyyy-mm-dd", true),
            ("[h]:mm", true),
            ("[$-407]dd. mmm", true),
            ("\"Day \"0000000", false),
            ("[Red]0", false),
            ("0000000\"h\"", false),
            ("0;dd", false),
            ("General", false),
        ] {
            assert_eq!(NumberFormat::parse(code).is_date, date, "{code}");
        }
        for (code, shows) in [
            ("\"QD-\"@", Shows::Other("QD-7".into())),
            ("0;0;0;\"QD-\"@", Shows::Other("QD-7".into())),
            ("@", Shows::Itself),
            ("0000000", Shows::Itself),
            ("0;-0;0;@", Shows::Itself),
            ("0;-0", Shows::Itself),
            (";;;", Shows::Unknown),
        ] {
            assert_eq!(NumberFormat::parse(code).text("7"), shows, "{code}");
        }
    }

    proptest! {
        #[test]
        fn no_format_panics(code in "\\PC{0,20}|[0#?@;\"\\\\_\\[\\]$-]{0,20}", digits in "[0-9]{1,15}") {
            let format = NumberFormat::parse(&code);
            let _ = (format.number(&digits), format.text(&digits));
        }

        #[test]
        fn no_digit_is_lost_or_turned(code in "[0#a-]{1,12}", digits in "[1-9][0-9]{0,14}") {
            if let Shows::Other(text) = NumberFormat::parse(&code).number(&digits) {
                let kept: String = text.chars().filter(char::is_ascii_digit).collect();
                prop_assert_eq!(kept.trim_start_matches('0'), digits);
            }
        }
    }
}
