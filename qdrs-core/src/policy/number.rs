//! Decimal numbers of any size: as digits, never as a machine integer, so that nothing overflows.

use std::{cmp::Ordering, fmt};

use serde::{Deserialize, Deserializer, de};

/// A whole number from 0 up, of any size, kept as its digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Number(String);

impl Number {
    /// The number that ASCII digits write; leading zeros change nothing. None when there are no digits, or something else.
    pub(super) fn parse(digits: &str) -> Option<Self> {
        is_digits(digits).then(|| Self(significant(digits).to_owned()))
    }

    /// As [`compare`] with this number at the right.
    pub(super) fn compared_with(&self, digits: &str) -> Ordering {
        compare(digits, &self.0)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "0" } else { &self.0 })
    }
}

/// A TOML integer, or a string of digits: for leading zeros, and for what is larger than TOML's 64 bits.
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
                Ok(Number(significant(&value.to_string()).to_owned()))
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Number, E> {
                Number::parse(value).ok_or_else(|| E::invalid_value(de::Unexpected::Str(value), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// ASCII digits, and at least one.
pub(super) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Which of two numbers in ASCII digits is larger: the one with more digits after its leading zeros, else the first digit
/// that differs decides.
pub(super) fn compare(left: &str, right: &str) -> Ordering {
    let (left, right) = (significant(left), significant(right));
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// What is left when a number in ASCII digits is divided by `by`: reduced digit by digit, so its length does not matter.
///
/// `by` is not 0; the digits are digits.
pub(super) fn remainder(digits: &str, by: u64) -> u64 {
    let rest = digits.bytes().fold(0u128, |rest, digit| (rest * 10 + u128::from(digit - b'0')) % u128::from(by));
    u64::try_from(rest).unwrap_or(0) // Smaller than `by`, so it always fits.
}

/// Without leading zeros; nothing is left of 0.
fn significant(digits: &str) -> &str {
    digits.trim_start_matches('0')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn leading_zeros_change_nothing() {
        assert_eq!(compare("0007", "7"), Ordering::Equal);
        assert_eq!(compare("000", "0"), Ordering::Equal);
        assert_eq!(Number::parse("000").map(|number| number.to_string()), Some("0".to_owned()));
    }

    #[test]
    fn digits_are_ascii() {
        for text in ["", "+7", "-7", "7.0", " 7", "\u{663}", "１２"] {
            assert_eq!(Number::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn the_remainder_agrees_with_machine_arithmetic(number: u128, by in 1u64.., zeros in 0usize..5) {
            let digits = format!("{}{number}", "0".repeat(zeros));
            prop_assert_eq!(u128::from(remainder(&digits, by)), number % u128::from(by));
        }

        #[test]
        fn the_order_agrees_with_machine_arithmetic(left: u128, right: u128, zeros in 0usize..5) {
            prop_assert_eq!(compare(&format!("{}{left}", "0".repeat(zeros)), &right.to_string()), left.cmp(&right));
        }

        #[test]
        fn longer_than_any_machine_number(digits in "[1-9][0-9]{60,100}", by in 2u64..1000) {
            // n - (n mod by) is divisible, told without knowing n: a number of the form k * by, written out by schoolbook multiplication.
            let (mut carry, mut product) = (0u64, Vec::new());
            for digit in digits.bytes().rev() {
                let step = u64::from(digit - b'0') * by + carry;
                product.push(char::from(b'0' + (step % 10) as u8));
                carry = step / 10;
            }
            let product: String = carry.to_string().chars().chain(product.into_iter().rev()).collect();
            prop_assert_eq!(remainder(&product, by), 0);
            prop_assert_eq!(compare(&product, &digits), Ordering::Greater);
        }
    }
}
