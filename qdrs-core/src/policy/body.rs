//! What a signed serial begins with: the owner's own text with a running number in it.

use crate::serial::SERIAL_BYTES_MAX;

/// How many digits the number has when nobody says.
pub const DIGITS_DEFAULT: usize = 6;
/// The most digits that a 64-bit number fills.
const DIGITS_MAX: usize = 19;
/// Where the number stands.
const NUMBER: &str = "{number}";

/// `body = "QD-{number}-"`, where the number has leading zeros up to its count of digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    before: String,
    after: String,
    digits: usize,
}

impl Body {
    /// Reads the text with `{number}` in it.
    ///
    /// # Errors
    ///
    /// It has no `{number}` or two, or the count of digits is out of bounds.
    pub fn parse(text: &str, digits: usize) -> Result<Self, String> {
        if !(1..=DIGITS_MAX).contains(&digits) {
            return Err(format!("`digits = {digits}` is not from 1 to {DIGITS_MAX}"));
        }
        match text.split(NUMBER).collect::<Vec<_>>().as_slice() {
            [before, after] if text.len() < SERIAL_BYTES_MAX => {
                Ok(Self { before: (*before).to_owned(), after: (*after).to_owned(), digits })
            }
            _ => Err(format!("a body is a text with one `{NUMBER}` in it, as \"QD-{NUMBER}-\", not \"{text}\"")),
        }
    }

    /// The text with that number; none when the number has more digits than there is room for.
    pub fn write(&self, number: u64) -> Option<String> {
        let digits = format!("{number:0>width$}", width = self.digits);
        (digits.len() == self.digits).then(|| format!("{}{digits}{}", self.before, self.after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_fills_its_digits_and_no_more() {
        let body = Body::parse("QD-{number}-", 3).expect("reads");
        assert_eq!(body.write(7).as_deref(), Some("QD-007-"));
        assert_eq!(body.write(999).as_deref(), Some("QD-999-"));
        assert_eq!(body.write(1000), None);
    }

    #[test]
    fn a_body_has_one_number() {
        for text in ["QD-", "{number}{number}", "{Number}", ""] {
            assert!(Body::parse(text, 6).is_err(), "{text}");
        }
        assert!(Body::parse("{number}", 0).is_err() && Body::parse("{number}", 20).is_err());
    }
}
