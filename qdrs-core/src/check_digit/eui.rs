//! MAC addresses, EUI-48 and EUI-64: no check digit, but a form: pairs of hex digits, one separator throughout.

use super::{Fault, stranger};

/// As `aa:bb:…`, `aa-bb-…`, `aabb.ccdd.…` or bare.
pub(super) fn check(text: &str, octets: usize) -> Result<(), Fault> {
    if let Some((index, character)) =
        text.chars().enumerate().find(|(_, character)| !character.is_ascii_hexdigit() && !matches!(character, ':' | '-' | '.'))
    {
        return Err(stranger(character, index, "there it has hex digits, and `:`, `-` or `.` between them"));
    }
    let group = match text.bytes().find(|byte| !byte.is_ascii_hexdigit()) {
        None => octets * 2,
        Some(b'.') => 4,
        Some(_) => 2,
    };
    let separator = text.chars().find(|character| !character.is_ascii_hexdigit()).unwrap_or(':');
    let groups: Vec<&str> = text.split(separator).collect();
    let fit = groups.len() * group == octets * 2
        && groups.iter().all(|digits| digits.len() == group && digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if fit {
        return Ok(());
    }
    Err(Fault::Form(if octets == 6 {
        "is no MAC address of 12 hex digits with one kind of separator throughout"
    } else {
        "is no MAC address of 16 hex digits with one kind of separator throughout"
    }))
}
