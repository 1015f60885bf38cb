//! The hardware id: what a device reports of itself, in its one normal form.
//!
//! The same board is reported in many spellings: by its firmware, on its label, in a list. So every edge parses its text into a
//! [`HardwareId`] once, and boards are compared by nothing else. MAC addresses (EUI-48 and EUI-64), IMEIs and UUIDs have a
//! normal form; every other id is taken as it is, without the blanks around it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use uuid::Uuid;

use crate::serial::is_unprintable;

/// The longest hardware id, in bytes.
pub const HARDWARE_ID_BYTES_MAX: usize = 200;

/// The normal form of what a device reports of itself; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct HardwareId(String);

/// The text can't be a hardware id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`hardware_id` is longer than {HARDWARE_ID_BYTES_MAX} bytes or holds control characters")]
pub struct NoHardwareId;

impl HardwareId {
    /// The id in a text from outside. `None`: the text is blank, or an address of zeros or ones alone, as a chip reports that was
    /// never given one; so the device did not report one.
    ///
    /// # Errors
    /// The text is too long, or has a character that can't be seen within it.
    pub fn parse(text: &str) -> Result<Option<Self>, NoHardwareId> {
        let id = Self::from_record(text);
        let unfit = |id: &Self| id.0.len() > HARDWARE_ID_BYTES_MAX || id.0.chars().any(is_unprintable);
        if id.as_ref().is_some_and(unfit) { Err(NoHardwareId) } else { Ok(id) }
    }

    /// The id in a text that was kept: in a ledger, a journal, or the list of a policy. Older versions folded nothing and
    /// bounded less.
    pub fn from_record(text: &str) -> Option<Self> {
        let text = text.trim_matches(is_blank);
        match uuid(text).or_else(|| eui(text)).or_else(|| imei(text)) {
            Some(form) => (!is_unset(&form)).then_some(Self(form)),
            None => (!text.is_empty()).then(|| Self(text.to_owned())),
        }
    }

    /// The normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HardwareId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// For a field of a request: blank is absent, and what can't be an id is an error.
///
/// # Errors
/// See [`HardwareId::parse`].
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<HardwareId>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map_or(Ok(None), |text| HardwareId::parse(&text).map_err(D::Error::custom))
}

/// For a field that was kept, or that the service has sent: see [`HardwareId::from_record`].
///
/// # Errors
/// The field is no text.
pub fn deserialize_record<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<HardwareId>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.and_then(|text| HardwareId::from_record(&text)))
}

/// Is it nothing that a person could see? Some fillers are letters to Unicode.
fn is_blank(character: char) -> bool {
    character.is_whitespace()
        || is_unprintable(character)
        || matches!(character, '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}')
}

/// True for a normal form of zeros or ones alone.
fn is_unset(form: &str) -> bool {
    let digits = || form.bytes().filter(u8::is_ascii_alphanumeric);
    digits().all(|digit| digit == b'0') || digits().all(|digit| digit.eq_ignore_ascii_case(&b'f'))
}

/// `aa:bb:cc:dd:ee:ff` and its spellings, or the 8 bytes of an EUI-64: as `AA:BB:CC:DD:EE:FF`.
fn eui(text: &str) -> Option<String> {
    let separator = text.chars().find(|character| !character.is_ascii_hexdigit());
    let groups: Vec<&str> = match separator {
        None => vec![text],
        Some(separator @ (':' | '-' | '.' | ' ')) => text.split(separator).collect(),
        Some(_) => return None,
    };
    if !groups.iter().all(|group| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return None;
    }
    let width = groups[0].len();
    let digits = match (groups.len(), separator) {
        (1, _) => text.to_owned(),
        // Some systems leave out the zero in front.
        (6 | 8, Some(':')) if groups.iter().all(|group| group.len() <= 2) => {
            groups.iter().map(|group| format!("{group:0>2}")).collect()
        }
        _ if groups.iter().all(|group| group.len() == width) && matches!(width, 2 | 4 | 6) => groups.concat(),
        _ => return None,
    };
    if !matches!(digits.len(), 12 | 16) {
        return None;
    }
    let digits = digits.to_ascii_uppercase();
    let byte = |at: usize| &digits[at..at + 2];
    Some((0..digits.len()).step_by(2).map(byte).collect::<Vec<_>>().join(":"))
}

/// The 15 digits of an IMEI, also with blanks, dashes or slashes between its parts: the digits alone.
fn imei(text: &str) -> Option<String> {
    let groups: Vec<&str> = text.split([' ', '-', '/']).collect();
    let widths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let usual: [&[usize]; 5] = [&[15], &[8, 6, 1], &[2, 6, 6, 1], &[6, 2, 6, 1], &[14, 1]];
    let digits = groups.concat();
    (usual.contains(&widths.as_slice()) && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(digits)
}

/// A UUID with or without dashes, in braces, or as a URN: in small letters with dashes.
fn uuid(text: &str) -> Option<String> {
    let urn = text.get(..9).filter(|start| start.eq_ignore_ascii_case("urn:uuid:"));
    let text = urn.map_or(text, |start| &text[start.len()..]);
    let bare = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
    matches!(bare.len(), 32 | 36).then(|| Uuid::try_parse(bare).ok()).flatten().map(|uuid| uuid.hyphenated().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> Option<String> {
        HardwareId::parse(text).expect("fits").map(|id| id.to_string())
    }

    #[test]
    fn each_spelling_of_one_board_is_one_board() {
        for (normal, spellings) in [
            (
                "5C:CF:7F:10:00:0A",
                &[
                    "5C:CF:7F:10:00:0A",
                    "5c:cf:7f:10:00:0a",
                    "5c:cf:7f:10:0:a",
                    "5C-CF-7F-10-00-0A",
                    "5c cf 7f 10 00 0a",
                    "5ccf.7f10.000a",
                    "5ccf-7f10-000a",
                    "5ccf7f-10000a",
                    "5CCF7F10000A",
                    " 5ccf7f10000A\u{a0}",
                    "\u{feff}5ccf7f10000a\r\n",
                ][..],
            ),
            (
                "00:11:22:FF:FE:33:44:55",
                &[
                    "001122fffe334455",
                    "00-11-22-FF-FE-33-44-55",
                    "00:11:22:ff:fe:33:44:55",
                    "0011.22ff.fe33.4455",
                    "0011:22FF:FE33:4455",
                ],
            ),
            (
                "490154203237518",
                &[
                    "490154203237518",
                    "49-015420-323751-8",
                    "49 015420 323751 8",
                    "490154/20/323751/8",
                    "490154-20-323751-8",
                    "49015420-323751-8",
                    "49015420 323751 8",
                    "49015420323751-8",
                ],
            ),
            (
                "6f9619ff-8b86-d011-b42d-00c04fc964ff",
                &[
                    "6F9619FF-8B86-D011-B42D-00C04FC964FF",
                    "6f9619ff-8b86-d011-b42d-00c04fc964ff",
                    "{6F9619FF-8B86-D011-B42D-00C04FC964FF}",
                    "urn:uuid:6f9619ff-8b86-d011-b42d-00c04fc964ff",
                    "URN:UUID:6F9619FF-8B86-D011-B42D-00C04FC964FF",
                    "6f9619ff8b86d011b42d00c04fc964ff",
                    "{6f9619ff8b86d011b42d00c04fc964ff}",
                ],
            ),
        ] {
            for spelling in spellings {
                assert_eq!(folded(spelling).as_deref(), Some(normal), "{spelling:?}");
            }
        }
    }

    #[test]
    fn what_has_no_normal_form_is_taken_as_it_is() {
        for text in [
            "hw-1",
            "HW-1",
            "AA:BB",
            "AA:BB:CC:DD:EE:FF:00",
            "AA:BB-CC:DD-EE:FF",
            "AA:BB:CC:DD:EE:GG",
            "AABBCCDDEEF",
            "4901-5420-3237-518",
            "49015420323751",
            "066DFF575251717867013127",
            "6f9619ff-8b86-d011-b42d00c04fc964ff",
            "{hw-1}",
        ] {
            assert_eq!(folded(text).as_deref(), Some(text));
        }
        assert_eq!(folded(" ab c\t").as_deref(), Some("ab c"));
    }

    #[test]
    fn an_address_that_was_never_set_is_none() {
        for text in [
            "00:00:00:00:00:00",
            "ff-ff-ff-ff-ff-ff",
            "0000.0000.0000",
            "FFFFFFFFFFFF",
            "00:00:00:00:00:00:00:00",
            "000000000000000",
            "00000000-0000-0000-0000-000000000000",
            "{ffffffff-ffff-ffff-ffff-ffffffffffff}",
        ] {
            assert_eq!(folded(text), None, "{text}");
        }
        assert_eq!(folded("00:00:00:00:00:01").as_deref(), Some("00:00:00:00:00:01"));
        assert_eq!(folded("0").as_deref(), Some("0"), "what has no normal form is taken as it is");
    }

    #[test]
    fn a_blank_id_is_none_whatever_the_blank() {
        for blank in ["", " ", "\t\r\n", "\u{a0}", "\u{2003}\u{3000}", "\u{200b}", "\u{feff}", "\u{2060}", "\u{3164}", "\u{2800}"]
        {
            assert_eq!(HardwareId::parse(blank), Ok(None), "{blank:?}");
        }
    }

    #[test]
    fn what_is_too_long_or_can_not_be_seen_is_refused_at_an_edge_and_kept_in_a_record() {
        for wrong in ["a\u{7}b".to_owned(), "a\u{200b}b".to_owned(), "x".repeat(HARDWARE_ID_BYTES_MAX + 1)] {
            assert_eq!(HardwareId::parse(&wrong), Err(NoHardwareId));
            assert_eq!(HardwareId::from_record(&wrong).map(|id| id.to_string()), Some(wrong));
        }
        let longest = "x".repeat(HARDWARE_ID_BYTES_MAX);
        assert_eq!(folded(&longest), Some(longest));
    }

    proptest::proptest! {
        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,40}|[0-9a-fA-F:. /{}-]{0,40}") {
            if let Some(once) = HardwareId::from_record(&text) {
                proptest::prop_assert_eq!(HardwareId::from_record(once.as_str()), Some(once.clone()));
            }
        }
    }
}
