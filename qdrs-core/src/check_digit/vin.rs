//! Vehicle identification numbers: the check character of North America, ninth of seventeen.

use super::{Fault, has_length, values};

const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];

/// Letters count as the digit of their column: A to H from 1, J to R from 1 (without O and Q), S to Z from 2.
fn value(byte: u8) -> Option<u8> {
    Some(match byte {
        b'0'..=b'9' => byte - b'0',
        b'A'..=b'H' => byte - b'A' + 1,
        b'J'..=b'N' => byte - b'J' + 1,
        b'P' => 7,
        b'R' => 9,
        b'S'..=b'Z' => byte - b'S' + 2,
        _ => return None,
    })
}

pub(super) fn check(text: &str) -> Result<(), Fault> {
    has_length(text, &[17], "17")?;
    let values = values(text, value, "a VIN has digits and capital letters but I, O and Q")?;
    let sum: u32 = values.iter().zip(WEIGHTS).map(|(value, weight)| u32::from(*value) * weight).sum();
    let expected = char::from_digit(sum % 11, 10).unwrap_or('X');
    let found = char::from(text.as_bytes()[8]);
    if found == expected {
        return Ok(());
    }
    Err(Fault::CheckInside { found: found.to_string(), place: "as its character 9", expected: expected.to_string() })
}
