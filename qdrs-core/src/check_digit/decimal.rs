//! Schemes over decimal digits: Luhn, GS1, Verhoeff, Damm, ISBN of ten.

use super::{Fault, compare, has_length, stranger};

/// Luhn's check digit: from the right, each second digit is doubled and the digits of the products are summed.
pub(super) fn luhn(rest: &[u8]) -> u8 {
    let sum = rest.iter().rev().enumerate().fold(0, |sum, (index, digit)| {
        let value = if index % 2 == 0 { digit * 2 } else { *digit };
        (sum + if value > 9 { value - 9 } else { value }) % 10
    });
    (10 - sum) % 10
}

/// GS1's: from the right, each second digit counts three times.
pub(super) fn gs1(rest: &[u8]) -> u8 {
    let sum =
        rest.iter().rev().enumerate().fold(0, |sum, (index, digit)| (sum + if index % 2 == 0 { digit * 3 } else { *digit }) % 10);
    (10 - sum) % 10
}

/// Multiplication in the dihedral group D5.
const DIHEDRAL: [[u8; 10]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
    [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
    [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
    [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
    [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
    [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
    [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
    [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
    [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
];

/// Verhoeff's permutation; applied as often as the digit's place says, it comes round after eight.
const PERMUTATION: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];

/// Verhoeff's check digit.
pub(super) fn verhoeff(rest: &[u8]) -> u8 {
    let permuted = |digit: u8, times: usize| (0..times % 8).fold(digit, |digit, _| PERMUTATION[usize::from(digit)]);
    // The check digit itself stands at place 0, so the last of the rest is at place 1.
    let product = rest
        .iter()
        .rev()
        .enumerate()
        .fold(0, |product: u8, (index, digit)| DIHEDRAL[usize::from(product)][usize::from(permuted(*digit, index + 1))]);
    // The inverse: what multiplied from the right gives 0.
    (0..10).find(|digit| DIHEDRAL[usize::from(product)][usize::from(*digit)] == 0).unwrap_or(0)
}

/// Damm's quasigroup of order 10, its diagonal zero.
const QUASIGROUP: [[u8; 10]; 10] = [
    [0, 3, 1, 7, 5, 9, 8, 6, 4, 2],
    [7, 0, 9, 2, 1, 5, 4, 8, 6, 3],
    [4, 2, 0, 6, 8, 7, 1, 3, 5, 9],
    [1, 7, 5, 0, 9, 8, 3, 4, 2, 6],
    [6, 1, 2, 3, 0, 4, 5, 9, 7, 8],
    [3, 6, 7, 4, 2, 0, 9, 5, 8, 1],
    [5, 8, 6, 9, 7, 2, 0, 1, 3, 4],
    [8, 9, 4, 5, 3, 6, 2, 0, 1, 7],
    [9, 4, 3, 8, 6, 1, 7, 2, 0, 5],
    [2, 5, 8, 1, 4, 3, 6, 7, 9, 0],
];

/// Damm's check digit.
pub(super) fn damm(rest: &[u8]) -> u8 {
    rest.iter().fold(0, |interim: u8, digit| QUASIGROUP[usize::from(interim)][usize::from(*digit)])
}

/// An ISBN of ten: weights 10 to 1, sum divisible by 11; a check character of ten is `X`.
pub(super) fn isbn10(text: &str) -> Result<(), Fault> {
    has_length(text, &[10], "10")?;
    let mut sum = 0u32;
    for (index, character) in text.chars().enumerate().take(9) {
        let digit = character
            .to_digit(10)
            .ok_or_else(|| stranger(character, index, "there it has digits, and a capital `X` only as the last"))?;
        sum += (10 - index as u32) * digit;
    }
    let expected = match (11 - sum % 11) % 11 {
        10 => 'X',
        digit => char::from_digit(digit, 10).unwrap_or('X'),
    };
    let found = text.chars().last().unwrap_or_default();
    if !found.is_ascii_digit() && found != 'X' {
        return Err(stranger(found, 9, "there it has a digit or a capital `X`"));
    }
    compare(found, expected)
}
