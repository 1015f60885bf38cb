//! Check digits: the schemes of the field, each by its own rule, told where it fails and what would be right.
//!
//! A text is checked as it is written: nothing is trimmed, no case is folded, no separator dropped (but where the scheme
//! itself says so, as Crockford's does). The check characters come last, but in a VIN (position 9) and an IBAN (3 and 4).
//! Time is linear in the text's length, and no number is ever larger than a machine word.
//!
//! Sources: GS1 General Specifications 7.9; ISO/IEC 7064:2003; ISO/IEC 7812-1 annex B (Luhn); Verhoeff, "Error detecting
//! decimal codes" (1969); Damm, "Total anti-symmetrische Quasigruppen" (2004); 3GPP TS 23.003 (IMEI); ISO 3779 and 49 CFR
//! 565.15 (VIN); ISO 13616 (IBAN); ISO 17442 (LEI); ISO 2108 (ISBN); Crockford, "Base 32"; IEEE Std 802 (EUI).

use std::{fmt, str::FromStr};

use crate::api::UnknownWord;

mod crockford;
mod decimal;
mod eui;
mod iso7064;
#[cfg(test)]
mod tests;
mod vin;

use iso7064::{Hybrid, Pure};

/// A scheme, by the name that policies use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Each second digit from the right doubled; sum divisible by 10.
    Luhn,
    /// Each second digit from the right three times; sum divisible by 10. Any length.
    Gs1,
    /// A GTIN of 8, 12, 13 or 14 digits.
    Gtin,
    /// 18 digits of a logistic unit.
    Sscc,
    /// 13 digits of a place or company.
    Gln,
    /// 13 digits, 978 or 979 first.
    Isbn13,
    /// Nine digits and a check digit or `X`.
    Isbn10,
    /// By the dihedral group of order 10.
    Verhoeff,
    /// By a totally anti-symmetric quasigroup of order 10.
    Damm,
    /// Digits; check character a digit or `X`.
    Mod11_2,
    /// Digits and letters; check character one of these or `*`.
    Mod37_2,
    /// Digits; two check digits.
    Mod97_10,
    /// Letters; two check letters.
    Mod661_26,
    /// Digits and letters; two check characters.
    Mod1271_36,
    /// Digits; hybrid system.
    Mod11_10,
    /// Letters; hybrid system.
    Mod27_26,
    /// Digits and letters; hybrid system.
    Mod37_36,
    /// Bank account: letters count as two digits, the first four characters go last.
    Iban,
    /// Legal entity: 20 characters, letters count as two digits.
    Lei,
    /// 15 digits of a modem, by Luhn.
    Imei,
    /// 17 characters of a vehicle, the check character ninth.
    Vin,
    /// A MAC address of 48 bits; has no check digit, only a form.
    Eui48,
    /// A MAC address of 64 bits; has no check digit, only a form.
    Eui64,
    /// Crockford's base 32, with its check symbol.
    Crockford32,
}

/// Why a text fails its scheme. Clauses that follow "it", as in "it has 7 characters, …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nothing is left to be protected.
    #[error("is too short for a check digit")]
    TooShort,
    /// It is not as long as the scheme wants.
    #[error("has {found} characters, and should have {expected}")]
    Length {
        /// So many it has.
        found: usize,
        /// As `15` or `8, 12, 13 or 14`.
        expected: &'static str,
    },
    /// A character that the scheme does not know, or not at that place.
    #[error("has {character} as its character {position}; {expected}")]
    Character {
        /// The character, in words where it can't be seen.
        character: String,
        /// Counted from 1.
        position: usize,
        /// As `there it has digits only`.
        expected: &'static str,
    },
    /// The check characters are others than the rest calls for.
    #[error("ends in the check {} `{found}`, but the rest calls for `{expected}`", if found.len() == 1 { "character" } else { "characters" })]
    Check {
        /// Those it has.
        found: String,
        /// Those it should have, if the rest is right.
        expected: String,
    },
    /// The same, of a scheme whose check characters don't stand last.
    #[error("has the check {} `{found}` {place}, but the rest calls for `{expected}`", if found.len() == 1 { "character" } else { "characters" })]
    CheckInside {
        /// Those it has.
        found: String,
        /// Where.
        place: &'static str,
        /// Those it should have, if the rest is right.
        expected: String,
    },
    /// It breaks another rule of the scheme.
    #[error("{0}")]
    Form(&'static str),
}

impl Scheme {
    /// Every scheme.
    pub const ALL: [Self; 24] = [
        Self::Luhn,
        Self::Gs1,
        Self::Gtin,
        Self::Sscc,
        Self::Gln,
        Self::Isbn13,
        Self::Isbn10,
        Self::Verhoeff,
        Self::Damm,
        Self::Mod11_2,
        Self::Mod37_2,
        Self::Mod97_10,
        Self::Mod661_26,
        Self::Mod1271_36,
        Self::Mod11_10,
        Self::Mod27_26,
        Self::Mod37_36,
        Self::Iban,
        Self::Lei,
        Self::Imei,
        Self::Vin,
        Self::Eui48,
        Self::Eui64,
        Self::Crockford32,
    ];

    /// The name that policies use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Luhn => "luhn",
            Self::Gs1 => "gs1-mod10",
            Self::Gtin => "gtin",
            Self::Sscc => "sscc",
            Self::Gln => "gln",
            Self::Isbn13 => "isbn-13",
            Self::Isbn10 => "isbn-10",
            Self::Verhoeff => "verhoeff",
            Self::Damm => "damm",
            Self::Mod11_2 => "iso7064-mod11-2",
            Self::Mod37_2 => "iso7064-mod37-2",
            Self::Mod97_10 => "iso7064-mod97-10",
            Self::Mod661_26 => "iso7064-mod661-26",
            Self::Mod1271_36 => "iso7064-mod1271-36",
            Self::Mod11_10 => "iso7064-mod11-10",
            Self::Mod27_26 => "iso7064-mod27-26",
            Self::Mod37_36 => "iso7064-mod37-36",
            Self::Iban => "iban",
            Self::Lei => "lei",
            Self::Imei => "imei",
            Self::Vin => "vin",
            Self::Eui48 => "eui-48",
            Self::Eui64 => "eui-64",
            Self::Crockford32 => "crockford32-check",
        }
    }

    /// What it checks, for people: follows "it ends in" or stands for itself.
    pub fn about(self) -> &'static str {
        match self {
            Self::Luhn => "a Luhn check digit",
            Self::Gs1 => "a GS1 check digit (mod 10)",
            Self::Gtin => "the check digit of a GTIN of 8, 12, 13 or 14 digits",
            Self::Sscc => "the check digit of an SSCC of 18 digits",
            Self::Gln => "the check digit of a GLN of 13 digits",
            Self::Isbn13 => "the check digit of an ISBN of 13 digits",
            Self::Isbn10 => "the check character of an ISBN of 10",
            Self::Verhoeff => "a Verhoeff check digit",
            Self::Damm => "a Damm check digit",
            Self::Mod11_2 => "an ISO 7064 MOD 11-2 check character",
            Self::Mod37_2 => "an ISO 7064 MOD 37-2 check character",
            Self::Mod97_10 => "two ISO 7064 MOD 97-10 check digits",
            Self::Mod661_26 => "two ISO 7064 MOD 661-26 check letters",
            Self::Mod1271_36 => "two ISO 7064 MOD 1271-36 check characters",
            Self::Mod11_10 => "an ISO 7064 MOD 11,10 check digit",
            Self::Mod27_26 => "an ISO 7064 MOD 27,26 check letter",
            Self::Mod37_36 => "an ISO 7064 MOD 37,36 check character",
            Self::Iban => "the check digits of an IBAN",
            Self::Lei => "the check digits of an LEI",
            Self::Imei => "the check digit of an IMEI of 15 digits",
            Self::Vin => "the check character of a VIN",
            Self::Eui48 => "a MAC address (EUI-48)",
            Self::Eui64 => "a MAC address (EUI-64)",
            Self::Crockford32 => "the check symbol of Crockford's base 32",
        }
    }

    /// Are letters of this scheme capital ones only, so that a text of small ones can't be whole?
    pub fn needs_capitals(self) -> bool {
        matches!(
            self,
            Self::Mod37_2
                | Self::Mod661_26
                | Self::Mod1271_36
                | Self::Mod27_26
                | Self::Mod37_36
                | Self::Iban
                | Self::Lei
                | Self::Vin
        )
    }

    /// The fewest and the most characters of a text that may be whole.
    pub(crate) fn lengths(self) -> (usize, usize) {
        const ANY: usize = usize::MAX;
        match self {
            Self::Luhn | Self::Gs1 | Self::Verhoeff | Self::Damm | Self::Crockford32 => (2, ANY),
            Self::Mod11_2 | Self::Mod37_2 | Self::Mod11_10 | Self::Mod27_26 | Self::Mod37_36 => (2, ANY),
            Self::Mod97_10 | Self::Mod661_26 | Self::Mod1271_36 => (3, ANY),
            Self::Gtin => (8, 14),
            Self::Sscc => (18, 18),
            Self::Gln | Self::Isbn13 => (13, 13),
            Self::Isbn10 => (10, 10),
            Self::Iban => (5, 34),
            Self::Lei => (20, 20),
            Self::Imei => (15, 15),
            Self::Vin => (17, 17),
            // Without separators, and with one after each byte.
            Self::Eui48 => (12, 17),
            Self::Eui64 => (16, 23),
        }
    }

    /// May a text that is whole have that character, check characters included?
    pub(crate) fn takes(self, byte: u8) -> bool {
        match self {
            Self::Luhn | Self::Gs1 | Self::Gtin | Self::Sscc | Self::Gln | Self::Isbn13 | Self::Verhoeff => byte.is_ascii_digit(),
            Self::Damm | Self::Mod97_10 | Self::Mod11_10 | Self::Imei => byte.is_ascii_digit(),
            Self::Isbn10 | Self::Mod11_2 => byte.is_ascii_digit() || matches!(byte, b'X' | b'x'),
            Self::Mod661_26 | Self::Mod27_26 => byte.is_ascii_uppercase(),
            Self::Mod1271_36 | Self::Mod37_36 | Self::Iban | Self::Lei | Self::Vin => {
                byte.is_ascii_digit() || byte.is_ascii_uppercase()
            }
            Self::Mod37_2 => byte.is_ascii_digit() || byte.is_ascii_uppercase() || byte == b'*',
            Self::Eui48 | Self::Eui64 => byte.is_ascii_hexdigit() || matches!(byte, b':' | b'-' | b'.'),
            Self::Crockford32 => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'*' | b'~' | b'$' | b'='),
        }
    }

    /// Is the text, check characters included, whole?
    ///
    /// # Errors
    ///
    /// Where it fails, and what would be right.
    pub fn check(self, text: &str) -> Result<(), Fault> {
        match self {
            Self::Luhn => last_digit(text, decimal::luhn),
            Self::Gs1 => last_digit(text, decimal::gs1),
            Self::Gtin => has_length(text, &[8, 12, 13, 14], "8, 12, 13 or 14").and_then(|()| Self::Gs1.check(text)),
            Self::Sscc => has_length(text, &[18], "18").and_then(|()| Self::Gs1.check(text)),
            Self::Gln => has_length(text, &[13], "13").and_then(|()| Self::Gs1.check(text)),
            Self::Isbn13 => {
                has_length(text, &[13], "13")?;
                digits(text)?;
                if !text.starts_with("978") && !text.starts_with("979") {
                    return Err(Fault::Form("begins with neither 978 nor 979"));
                }
                Self::Gs1.check(text)
            }
            Self::Isbn10 => decimal::isbn10(text),
            Self::Verhoeff => last_digit(text, decimal::verhoeff),
            Self::Damm => last_digit(text, decimal::damm),
            Self::Mod11_2 => Pure::MOD_11_2.check(text),
            Self::Mod37_2 => Pure::MOD_37_2.check(text),
            Self::Mod97_10 => Pure::MOD_97_10.check(text),
            Self::Mod661_26 => Pure::MOD_661_26.check(text),
            Self::Mod1271_36 => Pure::MOD_1271_36.check(text),
            Self::Mod11_10 => Hybrid::MOD_11_10.check(text),
            Self::Mod27_26 => Hybrid::MOD_27_26.check(text),
            Self::Mod37_36 => Hybrid::MOD_37_36.check(text),
            Self::Iban => iso7064::iban(text),
            Self::Lei => iso7064::lei(text),
            Self::Imei => has_length(text, &[15], "15").and_then(|()| Self::Luhn.check(text)),
            Self::Vin => vin::check(text),
            Self::Eui48 => eui::check(text, 6),
            Self::Eui64 => eui::check(text, 8),
            Self::Crockford32 => crockford::check(text),
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Scheme {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|scheme| scheme.as_str() == word);
        found.ok_or_else(|| UnknownWord::new(word, "check digit scheme", Self::ALL.map(Self::as_str)))
    }
}

/// Of digits whose last is the one that `wanted` computes from the others.
fn last_digit(text: &str, wanted: fn(&[u8]) -> u8) -> Result<(), Fault> {
    let values = digits(text)?;
    let [rest @ .., found] = values.as_slice() else { return Err(Fault::TooShort) };
    if rest.is_empty() {
        return Err(Fault::TooShort);
    }
    compare(char::from(b'0' + found), char::from(b'0' + wanted(rest)))
}

/// The values of decimal digits.
fn digits(text: &str) -> Result<Vec<u8>, Fault> {
    values(text, |byte| byte.is_ascii_digit().then(|| byte - b'0'), "there it has digits only")
}

/// The values of a text's characters, each as `value` gives it.
fn values(text: &str, value: impl Fn(u8) -> Option<u8>, expected: &'static str) -> Result<Vec<u8>, Fault> {
    let mut found = Vec::with_capacity(text.len());
    for (index, character) in text.chars().enumerate() {
        match u8::try_from(character).ok().filter(u8::is_ascii).and_then(&value) {
            Some(value) => found.push(value),
            None => return Err(stranger(character, index, expected)),
        }
    }
    Ok(found)
}

fn stranger(character: char, index: usize, expected: &'static str) -> Fault {
    Fault::Character { character: crate::serial::name_of(character), position: index + 1, expected }
}

fn has_length(text: &str, lengths: &[usize], expected: &'static str) -> Result<(), Fault> {
    let found = text.chars().count();
    if lengths.contains(&found) { Ok(()) } else { Err(Fault::Length { found, expected }) }
}

fn compare<F: ToString + PartialEq<E>, E: ToString>(found: F, expected: E) -> Result<(), Fault> {
    if found == expected { Ok(()) } else { Err(Fault::Check { found: found.to_string(), expected: expected.to_string() }) }
}
