//! Characters as an owner lists them, `A-Z0-9-`: a `-` between two means all from one to the other; first or last it is itself.

use crate::serial::name_of;

/// All of them, in their order; `key` is what the list is called in the policy.
pub(super) fn expand(key: &str, written: &str) -> Result<Vec<u8>, String> {
    if let Some(character) = written.chars().find(|character| !character.is_ascii_graphic()) {
        return Err(format!("`{key}` has {}; a serial has ASCII letters, digits and signs only", name_of(character)));
    }
    let (mut characters, mut rest) = (Vec::new(), written.as_bytes());
    while let [first, after @ ..] = rest {
        let last = match after {
            [b'-', last, after @ ..] => {
                rest = after;
                *last
            }
            _ => {
                rest = after;
                *first
            }
        };
        if last < *first {
            return Err(format!("`{key}` has `{}-{}`, which runs backwards", char::from(*first), char::from(last)));
        }
        characters.extend(*first..=last);
    }
    Ok(characters)
}
