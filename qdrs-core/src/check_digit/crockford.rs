//! Crockford's base 32 with its check symbol: the number modulo 37.

use super::{Fault, compare, stranger};

/// The symbols, by value; the last five are check symbols only.
const SYMBOLS: &[u8; 37] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ*~$=U";

/// As the scheme decodes: any case, `I` and `L` are 1, `O` is 0.
fn value(byte: u8) -> Option<usize> {
    let byte = match byte.to_ascii_uppercase() {
        b'I' | b'L' => b'1',
        b'O' => b'0',
        byte => byte,
    };
    SYMBOLS.iter().position(|symbol| *symbol == byte)
}

pub(super) fn check(text: &str) -> Result<(), Fault> {
    let mut symbols = Vec::with_capacity(text.len());
    for (index, character) in text.chars().enumerate().filter(|(_, character)| *character != '-') {
        let value = u8::try_from(character).ok().and_then(value);
        symbols.push((
            value.ok_or_else(|| stranger(character, index, "there it has digits and letters but U"))?,
            index,
            character,
        ));
    }
    let Some(((found, _, _), rest)) = symbols.split_last() else { return Err(Fault::TooShort) };
    if rest.is_empty() {
        return Err(Fault::TooShort);
    }
    if let Some((_, index, character)) = rest.iter().find(|(value, _, _)| *value > 31) {
        return Err(stranger(*character, *index, "only the last may be a check symbol"));
    }
    let rest = rest.iter().fold(0, |number, (value, _, _)| (number * 32 + value) % 37);
    compare(char::from(SYMBOLS[*found]), char::from(SYMBOLS[rest]))
}
