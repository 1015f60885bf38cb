//! Numbers of any size, in decimal or in a serial's own digits: never as a machine integer, so that nothing overflows.

use std::{cmp::Ordering, fmt};

use serde::{Deserialize, Deserializer, de};

use super::{characters::expand, text::text};

/// The digits of a number system, in the order of their values.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Digits {
    written: String,
    /// By ASCII code: the value, or [`NONE`].
    values: [u8; 128],
    count: u8,
}

const NONE: u8 = u8::MAX;

impl Digits {
    /// `0` to `9`.
    pub(super) fn decimal() -> Self {
        let mut values = [NONE; 128];
        (b'0'..=b'9').for_each(|digit| values[usize::from(digit)] = digit - b'0');
        Self { written: "0-9".to_owned(), values, count: 10 }
    }

    /// As `0-9A-HJ-NP-Z`: the first one is zero.
    fn parse(written: &str) -> Result<Self, String> {
        let (mut values, mut count) = ([NONE; 128], 0);
        for digit in expand("digits", written)? {
            let value = &mut values[usize::from(digit)];
            if *value != NONE {
                return Err(format!("`digits` has `{}` twice", char::from(digit)));
            }
            (*value, count) = (count, count + 1);
        }
        if count < 2 {
            return Err("`digits` needs two or more, as \"0-9A-F\"; the first one is zero".to_owned());
        }
        Ok(Self { written: written.to_owned(), values, count })
    }

    /// As they are written; none where they are the usual ones.
    pub(super) fn toml(&self) -> Option<String> {
        (*self != Self::decimal()).then(|| text(&self.written))
    }

    fn value(&self, byte: u8) -> u8 {
        self.values.get(usize::from(byte)).copied().unwrap_or(NONE)
    }

    /// Is it one of them?
    pub(super) fn has(&self, byte: u8) -> bool {
        self.value(byte) != NONE
    }

    /// Digits only, and at least one.
    pub(super) fn write(&self, text: &str) -> bool {
        !text.is_empty() && text.bytes().all(|byte| self.value(byte) != NONE)
    }

    /// Which of two numbers is larger: the one with more digits after its leading zeros, else the first digit that differs
    /// decides. Both are written in these digits.
    pub(super) fn compare(&self, left: &str, right: &str) -> Ordering {
        let (left, right) = (self.significant(left), self.significant(right));
        let values = |text: &'_ str| text.bytes().map(|byte| self.value(byte)).collect::<Vec<_>>();
        left.len().cmp(&right.len()).then_with(|| values(left).cmp(&values(right)))
    }

    /// What is left when a number is divided by `by`: reduced digit by digit, so its length does not matter.
    ///
    /// `by` is not 0; the digits are digits.
    pub(super) fn remainder(&self, text: &str, by: u64) -> u64 {
        let step = |rest, byte| (rest * u128::from(self.count) + u128::from(self.value(byte))) % u128::from(by);
        u64::try_from(text.bytes().fold(0u128, step)).unwrap_or(0) // Smaller than `by`, so it always fits.
    }

    /// Without leading zeros; nothing is left of 0.
    pub(super) fn significant<'t>(&self, text: &'t str) -> &'t str {
        text.trim_start_matches(|digit: char| u8::try_from(digit).is_ok_and(|byte| self.value(byte) == 0))
    }

    /// Without leading zeros, for people.
    pub(super) fn shown<'t>(&self, text: &'t str) -> &'t str {
        let significant = self.significant(text);
        if significant.is_empty() { text.get(..1).unwrap_or(text) } else { significant }
    }

    /// In words, for "it is no number in …".
    pub(super) fn about(&self) -> String {
        if self.written == "0-9" { "digits".to_owned() } else { format!("the digits `{}`", self.written) }
    }
}

impl fmt::Debug for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Default for Digits {
    fn default() -> Self {
        Self::decimal()
    }
}

impl<'de> Deserialize<'de> for Digits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// A number as an owner writes it: a TOML integer, or a string of digits: for leading zeros, for what is larger than TOML's
/// 64 bits, and for digits of one's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Number(pub(super) String);

impl Number {
    /// As it is written: in quotes where TOML takes no number, or where its digits mean another one.
    pub(super) fn toml(&self, digits: &Digits) -> String {
        if *digits == Digits::decimal() && self.0.parse::<i64>().is_ok() { self.0.clone() } else { text(&self.0) }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number from 0 up, as 70000 or \"0070000\"")
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Number, E> {
                u64::try_from(value)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
                    .and_then(|value| self.visit_u64(value))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Number, E> {
                Ok(Number(value.to_string()))
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Number, E> {
                Ok(Number(value.to_owned()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn leading_zeros_change_nothing() {
        let decimal = Digits::decimal();
        assert_eq!(decimal.compare("0007", "7"), Ordering::Equal);
        assert_eq!(decimal.compare("000", "0"), Ordering::Equal);
        assert_eq!((decimal.shown("000"), decimal.shown("007")), ("0", "7"));
    }

    #[test]
    fn digits_are_ascii() {
        for text in ["", "+7", "-7", "7.0", " 7", "\u{663}", "１２"] {
            assert!(!Digits::decimal().write(text), "{text:?}");
        }
    }

    #[test]
    fn a_serial_may_have_digits_of_its_own() {
        let digits = Digits::parse("0-9A-HJ-NP-Z").expect("are digits");
        assert_eq!((digits.count, digits.value(b'J')), (34, 18));
        assert!(digits.write("7Z") && !digits.write("7O"));
        assert_eq!(digits.compare("A0", "9Z"), Ordering::Greater);
        assert_eq!(digits.remainder("10", 7), 34 % 7);
        for (written, says) in [("Z-A", "backwards"), ("AA", "twice"), ("A", "two or more"), ("", "two or more"), ("a ", "ASCII")]
        {
            assert!(Digits::parse(written).expect_err(written).contains(says), "{written}");
        }
    }

    proptest! {
        #[test]
        fn the_remainder_agrees_with_machine_arithmetic(number: u128, by in 1u64.., zeros in 0usize..5) {
            let digits = format!("{}{number}", "0".repeat(zeros));
            prop_assert_eq!(u128::from(Digits::decimal().remainder(&digits, by)), number % u128::from(by));
            let hex = Digits::parse("0-9A-F").expect("are digits");
            prop_assert_eq!(u128::from(hex.remainder(&format!("{number:X}"), by)), number % u128::from(by));
        }

        #[test]
        fn the_order_agrees_with_machine_arithmetic(left: u128, right: u128, zeros in 0usize..5) {
            let padded = format!("{}{left}", "0".repeat(zeros));
            prop_assert_eq!(Digits::decimal().compare(&padded, &right.to_string()), left.cmp(&right));
            let hex = Digits::parse("0-9A-F").expect("are digits");
            prop_assert_eq!(hex.compare(&format!("{left:X}"), &format!("{right:X}")), left.cmp(&right));
        }

        #[test]
        fn longer_than_any_machine_number(digits in "[1-9][0-9]{60,100}", by in 2u64..1000) {
            // A number of the form k * by, written out by schoolbook multiplication, is divisible.
            let (mut carry, mut product) = (0u64, Vec::new());
            for digit in digits.bytes().rev() {
                let step = u64::from(digit - b'0') * by + carry;
                product.push(char::from(b'0' + (step % 10) as u8));
                carry = step / 10;
            }
            let product: String = carry.to_string().chars().chain(product.into_iter().rev()).collect();
            prop_assert_eq!(Digits::decimal().remainder(&product, by), 0);
            prop_assert_eq!(Digits::decimal().compare(&product, &digits), Ordering::Greater);
        }
    }
}
