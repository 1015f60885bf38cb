//! The typo explained: which valid serials a refused one may have been, by the errors that people and scanners make.
//!
//! Never used to correct anything: only to say, in a sentence, what to look at. Nothing is proposed under a signed policy,
//! where each valid serial is a secret until its label is read; nor where signs that no serial has part the text, since then
//! the scanner's set-up is the likely cause, and a proposal would join what belongs apart.

use std::{collections::BTreeSet, fmt};

use super::{Policy, layout};
use crate::serial::{SERIAL_BYTES_MAX, Serial, is_invisible, is_other_dash};

/// The most leading zeros that are taken to be lost.
const ZEROS_MAX: usize = 12;

/// Characters that look alike on a label.
const ALIKE: [(u8, u8); 9] = [
    (b'0', b'O'),
    (b'1', b'I'),
    (b'8', b'B'),
    (b'5', b'S'),
    (b'2', b'Z'),
    (b'6', b'G'),
    (b'1', b'L'),
    (b'0', b'Q'),
    (b'0', b'D'),
];

/// Signs that part the groups of a serial.
const SEPARATORS: &[u8] = b"-_./:+";

/// Signs that scanners put in place of the separator of a GS1 label, and that hardly any serial has.
const PARTS: &[u8] = b"|~^<>{}[]\\`";

/// What parts a serial from other text in one scan.
const AROUND: [char; 12] = [' ', ':', '=', '/', '?', '&', '#', ',', ';', '*', '(', ')'];

/// How a refused serial may have come about, the likeliest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slip {
    /// A spreadsheet took it for a number.
    LostZeros,
    /// It has a dash that is not `-`, as a word processor writes it, or a character that can't be seen.
    Unseen,
    /// Other text stands around it: `SN: …`, a URL, the start and stop signs of a barcode.
    Within,
    /// Scanner and PC are set to different keyboard layouts.
    Layout,
    /// One character is read for another that looks like it.
    LookedAlike,
    /// Two neighbours changed places.
    Swapped,
    /// One character is there twice, or too much.
    OneTooMany,
    /// One character is another one.
    OneWrong,
    /// One character is not there.
    OneMissing,
    /// Two characters are read for others that look like them.
    TwoLookedAlike,
}

impl fmt::Display for Slip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LostZeros => "leading zeros lost",
            Self::Unseen => "in plain characters",
            Self::Within => "other text around it",
            Self::Layout => "another keyboard layout",
            Self::LookedAlike => "a character taken for one that looks like it",
            Self::Swapped => "two neighbours swapped",
            Self::OneTooMany => "one character too many",
            Self::OneWrong => "one character wrong",
            Self::OneMissing => "one character missing",
            Self::TwoLookedAlike => "two characters taken for others that look like them",
        })
    }
}

/// A valid serial that a refused one may have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Near {
    /// The valid one.
    pub serial: Serial,
    /// What would have gone wrong.
    pub slip: Slip,
    /// The keyboard layouts that explain it; empty for other slips.
    pub layouts: Vec<&'static str>,
}

/// The valid serials nearest to a refused text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nearest {
    /// Those of the likeliest slip.
    pub near: Vec<Near>,
    /// So many are as likely as each other, by this slip, that none of them is named.
    pub more: Option<(usize, Slip)>,
}

impl Policy {
    /// The valid serials nearest to a refused text, by the likeliest slip, at most `most`. Those that are `taken`, since they
    /// stand on a row of their own, can't be meant. Empty when serials are signed, and when the text holds signs that part
    /// the fields of a scan.
    pub fn nearest(&self, text: &str, taken: &dyn Fn(&str) -> bool, most: usize) -> Nearest {
        let text = self.normalise(text);
        let mut nearest = Nearest::default();
        if self.guess_bits().is_some() || text.is_empty() || text.chars().count() > SERIAL_BYTES_MAX || self.check(&text).is_ok()
        {
            return nearest;
        }
        let mut known: BTreeSet<Serial> = BTreeSet::new();
        for (slip, candidates) in slips(&text) {
            let mut found: Vec<Near> = Vec::new();
            for (candidate, layout) in candidates {
                let Ok(serial) = self.check(&candidate) else { continue };
                if let Some(same) = found.iter_mut().find(|near| near.serial == serial) {
                    same.layouts.extend(layout);
                } else if serial.as_str() != text && !taken(serial.as_str()) && known.insert(serial.clone()) {
                    found.push(Near { serial, slip, layouts: layout.into_iter().collect() });
                }
            }
            // Two parts of a longer text that are both valid say nothing of which is meant.
            if slip == Slip::Within && found.len() > 1 {
                continue;
            }
            if found.is_empty() {
                continue;
            }
            // The likeliest slip alone: what is named beside it would only be a further guess.
            if found.len() > most {
                nearest.more = Some((found.len(), slip));
            } else {
                nearest.near = found;
            }
            break;
        }
        nearest
    }
}

/// For people: `is it `QD-0041713` (two neighbours swapped)?`; `None` when nothing is near.
pub fn in_words(nearest: &Nearest) -> Option<String> {
    let slip = |near: &Near| match &near.layouts[..] {
        [] => near.slip.to_string(),
        layouts => format!("scanner and PC set to different keyboard layouts, one of them {}", layouts.join(", ")),
    };
    let each: Vec<_> = nearest.near.iter().map(|near| format!("`{}` ({})", near.serial, slip(near))).collect();
    match (each.split_last(), nearest.more) {
        (None, None) => None,
        (None, Some((count, slip))) => Some(format!("{count} valid serials are equally near ({slip}), so none is named")),
        (Some((last, [])), _) => Some(format!("is it {last}?")),
        (Some((last, before)), _) => Some(format!("is it {} or {last}?", before.join(", "))),
    }
}

/// A text that may be meant, and the keyboard layout that explains it.
type Candidate = (String, Option<&'static str>);

/// Each kind of slip, and all texts from which it makes this one.
fn slips(text: &str) -> Vec<(Slip, Vec<Candidate>)> {
    let plain_ones = |texts: Vec<String>| texts.into_iter().map(|text| (text, None)).collect::<Vec<Candidate>>();
    let layouts = layout::unmapped(text).into_iter().map(|(text, name)| (text, Some(name))).collect();
    let (within, layout) = ((Slip::Within, plain_ones(parts(text))), (Slip::Layout, layouts));
    // All further ones are about ASCII texts: a serial has nothing else.
    if !text.is_ascii() {
        return vec![(Slip::Unseen, plain_ones(vec![plain(text)])), within, layout];
    }
    let bytes = text.as_bytes();
    if bytes.iter().any(|byte| PARTS.contains(byte) || byte.is_ascii_whitespace() || byte.is_ascii_control()) {
        return vec![within, layout];
    }
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = bytes.to_vec();
        change(&mut changed);
        String::from_utf8(changed).unwrap_or_default()
    };
    let places = 0..bytes.len();
    let swapped = places.clone().skip(1).map(|at| with(&|bytes| bytes.swap(at - 1, at))).collect();
    // What a sign parts is never joined.
    let parts = |at: usize| {
        let is_text = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_alphanumeric);
        !bytes[at].is_ascii_alphanumeric() && at > 0 && is_text(at - 1) && is_text(at + 1)
    };
    let too_many = places.filter(|at| !parts(*at)).map(|at| text.chars().take(at).chain(text.chars().skip(at + 1)).collect());
    let too_many = too_many.collect();
    let mut wrong = Vec::new();
    let mut missing = Vec::new();
    for at in 0..=bytes.len() {
        let neighbour = bytes.get(at).or(bytes.last()).copied().unwrap_or(b'0');
        for other in alternatives(neighbour) {
            if at < bytes.len() && !(parts(at) && other.is_ascii_alphanumeric()) {
                wrong.push(with(&|bytes| bytes[at] = other));
            }
            missing.push(with(&|bytes| bytes.insert(at, other)));
        }
    }
    let (looked_alike, two_looked_alike) = looked_alike(bytes);
    vec![
        (Slip::LostZeros, plain_ones(lost_zeros(bytes))),
        within,
        layout,
        (Slip::LookedAlike, plain_ones(looked_alike)),
        (Slip::Swapped, plain_ones(swapped)),
        (Slip::OneTooMany, plain_ones(too_many)),
        (Slip::OneWrong, plain_ones(wrong)),
        (Slip::OneMissing, plain_ones(missing)),
        (Slip::TwoLookedAlike, plain_ones(two_looked_alike)),
    ]
}

/// The parts of a longer text: what stands between other signs, and without an identifier of the barcode (`]C1`) before it.
fn parts(text: &str) -> Vec<String> {
    let bare = match text.as_bytes() {
        [b']', symbology, modifier, ..] if symbology.is_ascii_alphabetic() && modifier.is_ascii_alphanumeric() => &text[3..],
        _ => text,
    };
    let mut parts: Vec<String> = bare.split(AROUND).chain([bare]).map(|part| part.trim().to_owned()).collect();
    parts.retain(|part| !part.is_empty() && part != text);
    parts.sort_unstable();
    parts.dedup();
    parts
}

/// With `-` for what only looks like it, and without what can't be seen.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !is_invisible(*c)).map(|c| if is_other_dash(c) { '-' } else { c }).collect()
}

/// Zeros before each run of digits.
fn lost_zeros(bytes: &[u8]) -> Vec<String> {
    let starts = (0..bytes.len()).filter(|at| bytes[*at].is_ascii_digit() && (*at == 0 || !bytes[*at - 1].is_ascii_digit()));
    let insert = |(at, count): (usize, usize)| {
        let mut changed = bytes.to_vec();
        changed.splice(at..at, std::iter::repeat_n(b'0', count));
        String::from_utf8(changed).unwrap_or_default()
    };
    starts.flat_map(|at| (1..=ZEROS_MAX).map(move |count| (at, count))).map(insert).collect()
}

/// One character replaced by one that it looks like, or all of one kind; and two that are.
fn looked_alike(bytes: &[u8]) -> (Vec<String>, Vec<String>) {
    let mut single = Vec::new();
    for (at, byte) in bytes.iter().enumerate() {
        for (digit, letter) in ALIKE {
            if *byte == digit {
                single.push((at, letter));
            } else if byte.eq_ignore_ascii_case(&letter) {
                single.push((at, digit));
            }
        }
    }
    let with = |changes: &[(usize, u8)]| {
        let mut changed = bytes.to_vec();
        changes.iter().for_each(|(at, byte)| changed[*at] = *byte);
        String::from_utf8(changed).unwrap_or_default()
    };
    let mut found: Vec<String> = single.iter().map(|change| with(&[*change])).collect();
    // A label with more than these is not read, but made up.
    let pairs = single.iter().take(32);
    let two = pairs.clone().flat_map(|one| pairs.clone().filter(|two| one.0 < two.0).map(|two| with(&[*one, *two]))).collect();
    for (digit, letter) in ALIKE {
        let all = |from: u8, to: u8| -> Vec<(usize, u8)> {
            bytes.iter().enumerate().filter(|(_, byte)| byte.eq_ignore_ascii_case(&from)).map(|(at, _)| (at, to)).collect()
        };
        found.extend([with(&all(letter, digit)), with(&all(digit, letter))]);
    }
    (found, two)
}

/// What may stand in place of a character, or beside it: those of its own kind, and separators.
fn alternatives(byte: u8) -> impl Iterator<Item = u8> {
    let kind: &[u8] = match byte {
        b'0'..=b'9' => b"0123456789",
        b'A'..=b'Z' => b"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        b'a'..=b'z' => b"abcdefghijklmnopqrstuvwxyz",
        _ => b"",
    };
    kind.iter().chain(SEPARATORS).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buttons() -> Policy {
        let toml = "[form]\ncase = \"upper\"\npattern = 'QD-(?<number>[0-9]{7})'\n[[rule]]\nkind = \"divisible\"\nby = 7\npart = \"number\"";
        Policy::parse("buttons", toml).expect("is sound")
    }

    fn first(policy: &Policy, text: &str) -> Option<(String, Slip)> {
        policy.nearest(text, &|_| false, 3).near.first().map(|near| (near.serial.to_string(), near.slip))
    }

    #[test]
    fn each_slip_is_known_by_what_it_leaves() {
        for (text, meant, slip) in [
            ("QD-41713", "QD-0041713", Slip::LostZeros),
            ("QD-OO41713", "QD-0041713", Slip::LookedAlike),
            ("QD-004I7I3", "QD-0041713", Slip::LookedAlike),
            ("QD-0O4I713", "QD-0041713", Slip::TwoLookedAlike),
            ("QD\u{2013}0041713", "QD-0041713", Slip::Unseen),
            ("QD-00\u{200b}41713", "QD-0041713", Slip::Unseen),
            ("QDß0041713", "QD-0041713", Slip::Layout),
            ("QD'0041713", "QD-0041713", Slip::Layout),
            ("ad)àà'&è&\"", "QD-0041713", Slip::Layout),
            ("SN: QD-0041713", "QD-0041713", Slip::Within),
            ("https://example.com/d?sn=QD-0041713&x=1", "QD-0041713", Slip::Within),
            ("]C1QD-0041713", "QD-0041713", Slip::Within),
            ("*QD-0041713*", "QD-0041713", Slip::Within),
            ("QD-0047113", "QD-0041713", Slip::Swapped),
            ("QD-00041713", "QD-0041713", Slip::OneTooMany),
            ("QX-0041713", "QD-0041713", Slip::OneWrong),
            ("QD0041713", "QD-0041713", Slip::OneMissing),
            ("QD_0041713", "QD-0041713", Slip::OneWrong),
        ] {
            let near = buttons().nearest(text, &|serial| serial != meant, 20);
            assert!(near.near.iter().any(|near| near.serial.as_str() == meant && near.slip == slip), "{text}: {near:?}");
        }
        assert_eq!(first(&buttons(), "QD-41713"), Some(("QD-0041713".to_owned(), Slip::LostZeros)));
    }

    #[test]
    fn a_serial_with_a_row_of_its_own_is_not_the_answer_for_another_row() {
        let all = buttons().nearest("QD-0041731", &|_| false, 3);
        assert!(all.near.iter().any(|near| near.serial.as_str() == "QD-0041713"), "{all:?}");
        let free = buttons().nearest("QD-0041731", &|serial| serial == "QD-0041713", 3);
        assert!(free.near.iter().all(|near| near.serial.as_str() != "QD-0041713"), "{free:?}");
        // The right one is not pushed out by others that are taken.
        let near = buttons().nearest("QD-0047113", &|serial| serial != "QD-0041713", 3);
        assert_eq!(in_words(&near).as_deref(), Some("is it `QD-0041713` (two neighbours swapped)?"));
    }

    #[test]
    fn more_than_a_few_equally_near_ones_are_counted_and_not_named() {
        let near = buttons().nearest("QD-0000001", &|_| false, 3);
        let words = in_words(&near).expect("some are near");
        assert!(
            near.more.is_some_and(|(count, _)| count > 3) && words.contains(&near.more.expect("is some").0.to_string()),
            "{words}"
        );
    }

    #[test]
    fn what_a_scanner_parted_is_never_joined() {
        let wide = Policy::parse("wide", "[form]\npattern = '01[0-9]{14}21[0-9A-Za-z._-]{1,20}'").expect("is sound");
        for sign in ["|", "~", "^", " ", "<GS>", "{GS}", "\u{1d}", "`", "\\F", "]"] {
            let text = format!("010952123456789921A17-0042{sign}10LOT7");
            let near = wide.nearest(&text, &|_| false, 3);
            assert!(
                near.near.iter().all(|near| near.slip == Slip::Within && !near.serial.as_str().ends_with("LOT7")),
                "{text:?}: {near:?}"
            );
        }
        for sign in ["#", "*", ";", "/", "%"] {
            let text = format!("010952123456789921A17-0042{sign}10LOT7");
            let near = wide.nearest(&text, &|_| false, 3);
            assert!(near.near.iter().all(|near| !near.serial.as_str().contains("004210LOT7")), "{text:?}: {near:?}");
        }
    }

    #[test]
    fn several_layouts_that_give_one_serial_are_all_named() {
        let near = buttons().nearest("QD'0041713", &|_| false, 3);
        let words = in_words(&near).expect("one is near");
        assert!(words.contains("one of them Italian, Spanish, Portuguese, Swiss"), "{words}");
    }

    #[test]
    fn nothing_is_said_of_what_is_valid_far_off_or_signed() {
        assert_eq!(buttons().nearest("QD-0041713", &|_| false, 3), Nearest::default());
        assert_eq!(first(&buttons(), "http://example.com"), None);
        assert_eq!(first(&buttons(), &"7".repeat(1 << 20)), None);
        let toml = "[[rule]]\nkind = \"signed\"\nkey_env = \"K\"\ncharacters = 4";
        let key = |_: crate::policy::KeyPlace<'_>| Ok("MDEyMzQ1Njc4OWFiY2RlZg==".to_owned().into());
        let signed =
            Policy::parse("s", toml).and_then(|policy| policy.load(&mut |_| Err(String::new()), &mut { key })).expect("is sound");
        let serial = signed.sign("BOX-1").expect("signs").to_string();
        let swapped: String = serial.chars().rev().take(2).collect();
        let wrong = format!("{}{swapped}", &serial[..serial.len() - 2]);
        assert_eq!(signed.nearest(&wrong, &|_| false, 3), Nearest::default());
    }
}
