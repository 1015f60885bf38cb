//! ISO/IEC 7064: pure and hybrid systems, and what IBAN and LEI make of MOD 97-10.

use super::{Fault, compare, has_length, stranger, values};

/// The characters of a system, in the order of their values, and what is said of any other.
struct Alphabet {
    characters: &'static [u8],
    expected: &'static str,
}

const DIGITS: Alphabet = Alphabet { characters: b"0123456789", expected: "there it has digits only" };
const LETTERS: Alphabet = Alphabet { characters: b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", expected: "there it has capital letters only" };
const BOTH: Alphabet =
    Alphabet { characters: b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", expected: "there it has digits and capital letters only" };

impl Alphabet {
    fn value(&self, byte: u8) -> Option<u8> {
        self.characters.iter().position(|known| *known == byte).and_then(|at| u8::try_from(at).ok())
    }
}

/// A pure system: the sum of values times powers of the radix leaves 1, modulo the modulus.
pub(super) struct Pure {
    modulus: u32,
    radix: u32,
    alphabet: Alphabet,
    /// Besides the alphabet's characters, what may only be a check character; its value is the alphabet's size.
    extra: Option<u8>,
    /// How many check characters.
    checks: usize,
}

impl Pure {
    pub(super) const MOD_11_2: Self = Self { modulus: 11, radix: 2, alphabet: DIGITS, extra: Some(b'X'), checks: 1 };
    pub(super) const MOD_37_2: Self = Self { modulus: 37, radix: 2, alphabet: BOTH, extra: Some(b'*'), checks: 1 };
    pub(super) const MOD_97_10: Self = Self { modulus: 97, radix: 10, alphabet: DIGITS, extra: None, checks: 2 };
    pub(super) const MOD_661_26: Self = Self { modulus: 661, radix: 26, alphabet: LETTERS, extra: None, checks: 2 };
    pub(super) const MOD_1271_36: Self = Self { modulus: 1271, radix: 36, alphabet: BOTH, extra: None, checks: 2 };

    pub(super) fn check(&self, text: &str) -> Result<(), Fault> {
        let count = text.chars().count();
        let at = count.saturating_sub(self.checks);
        let (rest, found) = text.split_at(text.char_indices().nth(at).map_or(text.len(), |(at, _)| at));
        let rest = values(rest, |byte| self.alphabet.value(byte), self.alphabet.expected)?;
        let mut sum = self.sum(0, &rest);
        for (index, character) in found.chars().enumerate() {
            let value = u8::try_from(character).ok().and_then(|byte| self.check_value(byte));
            sum = self.sum(sum, &[value.ok_or_else(|| stranger(character, at + index, self.alphabet.expected))?]);
        }
        if rest.is_empty() {
            return Err(Fault::TooShort);
        }
        if sum == 1 { Ok(()) } else { compare(found, self.wanted(&rest)) }
    }

    fn check_value(&self, byte: u8) -> Option<u8> {
        let extra = (self.extra == Some(byte)).then_some(self.alphabet.characters.len());
        self.alphabet.value(byte).or_else(|| extra.and_then(|value| u8::try_from(value).ok()))
    }

    fn sum(&self, before: u32, values: &[u8]) -> u32 {
        values.iter().fold(before, |sum, value| (sum * self.radix + u32::from(*value)) % self.modulus)
    }

    /// The check characters of the rest. Where two characters have more values than the modulus, the largest: a MOD 97-10
    /// is 02 to 98.
    fn wanted(&self, rest: &[u8]) -> String {
        let shifted = (0..self.checks).fold(self.sum(0, rest), |sum, _| self.sum(sum, &[0]));
        let missing = if self.checks == 2 { self.modulus + 1 - shifted } else { (self.modulus + 1 - shifted) % self.modulus };
        let character = |value: u32| {
            let known = usize::try_from(value).ok().and_then(|at| self.alphabet.characters.get(at)).copied();
            char::from(known.or(self.extra).unwrap_or(b'?'))
        };
        if self.checks == 1 {
            character(missing).to_string()
        } else {
            [character(missing / self.radix), character(missing % self.radix)].iter().collect()
        }
    }
}

/// A hybrid system: two moduli, one check character of the alphabet itself.
pub(super) struct Hybrid {
    alphabet: Alphabet,
}

impl Hybrid {
    pub(super) const MOD_11_10: Self = Self { alphabet: DIGITS };
    pub(super) const MOD_27_26: Self = Self { alphabet: LETTERS };
    pub(super) const MOD_37_36: Self = Self { alphabet: BOTH };

    pub(super) fn check(&self, text: &str) -> Result<(), Fault> {
        let all = values(text, |byte| self.alphabet.value(byte), self.alphabet.expected)?;
        let [rest @ .., found] = all.as_slice() else { return Err(Fault::TooShort) };
        if rest.is_empty() {
            return Err(Fault::TooShort);
        }
        let modulus = self.alphabet.characters.len();
        let product = rest.iter().fold(modulus, |product, value| {
            let sum = (product + usize::from(*value)) % modulus;
            if sum == 0 { modulus * 2 % (modulus + 1) } else { sum * 2 % (modulus + 1) }
        });
        let character = |value: usize| char::from(self.alphabet.characters[value % modulus]);
        compare(character(usize::from(*found)), character(modulus + 1 - product))
    }
}

/// The number, modulo 97, that a text writes when a letter counts as two digits (`A` is 10).
fn mod97(text: impl Iterator<Item = u8>) -> u32 {
    text.fold(0, |rest, byte| match char::from(byte).to_digit(36) {
        Some(value) if value > 9 => (rest * 100 + value) % 97,
        Some(value) => (rest * 10 + value) % 97,
        None => rest,
    })
}

/// An IBAN: country, two check digits, 11 to 30 characters of the account. Which length a country has is not checked.
pub(super) fn iban(text: &str) -> Result<(), Fault> {
    let found = text.chars().count();
    if !(15..=34).contains(&found) {
        return Err(Fault::Length { found, expected: "15 to 34" });
    }
    values(text, |byte| BOTH.value(byte), BOTH.expected)?;
    let bytes = text.as_bytes();
    for (index, byte) in bytes.iter().enumerate().take(4) {
        if index < 2 && !byte.is_ascii_uppercase() {
            return Err(stranger(char::from(*byte), index, "there it has the letters of the country"));
        }
        if index >= 2 && !byte.is_ascii_digit() {
            return Err(stranger(char::from(*byte), index, "there it has its check digits"));
        }
    }
    let expected = 98 - mod97(bytes[4..].iter().chain(&bytes[..2]).copied().chain(*b"00"));
    compare(&text[2..4], format!("{expected:02}")).map_err(|fault| match fault {
        Fault::Check { found, expected } => Fault::CheckInside { found, place: "as its characters 3 and 4", expected },
        other => other,
    })
}

/// A legal entity identifier: 18 characters and two check digits.
pub(super) fn lei(text: &str) -> Result<(), Fault> {
    has_length(text, &[20], "20")?;
    values(text, |byte| BOTH.value(byte), BOTH.expected)?;
    for (index, byte) in text.bytes().enumerate().skip(18) {
        if !byte.is_ascii_digit() {
            return Err(stranger(char::from(byte), index, "there it has its check digits"));
        }
    }
    let expected = 98 - mod97(text.bytes().take(18).chain(*b"00"));
    compare(&text[18..], format!("{expected:02}"))
}
