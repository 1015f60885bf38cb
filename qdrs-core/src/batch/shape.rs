//! The shape of a text: what is left when each digit is `9`, each capital `A` and each small letter `a`.
//!
//! Without a policy, shapes are all that tells a serial from what is none: the serials of one batch look alike.

use std::collections::HashMap;

/// The longest text that has a shape, in bytes.
const TEXT_BYTES_MAX: usize = 128;

/// The shape of a text; none when it is empty or too long.
pub(super) fn of(text: &str) -> Option<String> {
    if text.is_empty() || text.len() > TEXT_BYTES_MAX {
        return None;
    }
    Some(text.chars().map(class).collect())
}

/// The text with each run of digits, capitals or small letters as one sign: `A-9` of `QD-0041713`.
pub(super) fn skeleton(text: &str) -> String {
    let mut signs: Vec<char> = text.chars().take(TEXT_BYTES_MAX).map(class).collect();
    signs.dedup();
    signs.into_iter().collect()
}

fn class(c: char) -> char {
    match c {
        '0'..='9' => '9',
        'A'..='Z' => 'A',
        'a'..='z' => 'a',
        other => other,
    }
}

/// Is it made of digits alone?
pub(super) fn is_digits(shape: &str) -> bool {
    !shape.is_empty() && shape.bytes().all(|byte| byte == b'9')
}

/// How many digits has a text of that shape?
pub(super) fn digits(shape: &str) -> usize {
    shape.bytes().filter(|byte| *byte == b'9').count()
}

/// The shape that at least four in five have, and how many digits and letters it has.
pub(super) fn common<'t>(texts: impl IntoIterator<Item = &'t str>) -> Option<String> {
    let (mut counts, mut total) = (HashMap::<String, usize>::new(), 0);
    for shape in texts.into_iter().filter_map(of) {
        total += 1;
        *counts.entry(shape).or_default() += 1;
    }
    let (shape, count) = counts.into_iter().max_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)))?;
    (count * 5 >= total * 4).then_some(shape)
}
