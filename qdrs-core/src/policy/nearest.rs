//! The typo explained: which valid serials a refused one may have been, by the errors that people and scanners make.
//!
//! Never used to correct anything: only to say, in a sentence, what to look at. Nothing is said under a signed policy,
//! where each valid serial is a secret until its label is read.

use std::{collections::BTreeSet, fmt};

use super::Policy;
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

/// What keys of a US keyboard write on a German and on a French one: a scanner set to another layout than its PC.
const LAYOUTS: [(&str, &str); 2] = [("yzYZ-/_?:;=", "zyZYß-?_ÖöÄ"), ("aqwzAQWZmM1234567890-", "qazwQAZW,?&é\"'(-è_çà)")];

/// How a refused serial may have come about, the likeliest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slip {
    /// A spreadsheet took it for a number.
    LostZeros,
    /// It has a dash that is not `-`, as a word processor writes it, or a character that can't be seen.
    Unseen,
    /// One character is read for another that looks like it.
    LookedAlike,
    /// The scanner has another keyboard layout than the PC.
    Layout,
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
            Self::LookedAlike => "a character taken for one that looks like it",
            Self::Layout => "the scanner set to another keyboard layout",
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
    /// Does it stand in the batch?
    pub in_batch: bool,
}

impl Policy {
    /// The valid serials nearest to a refused text. If some stand in the batch, these, the likeliest slip first; else those
    /// of the likeliest slip. Empty when there are none, when there are more than `most` (each would be a guess), or when
    /// serials are signed.
    pub fn nearest(&self, text: &str, in_batch: &dyn Fn(&str) -> bool, most: usize) -> Vec<Near> {
        let text = self.normalise(text);
        if self.guess_bits().is_some() || text.is_empty() || text.chars().count() > SERIAL_BYTES_MAX || self.check(&text).is_ok()
        {
            return Vec::new();
        }
        let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
        for (slip, candidates) in slips(&text) {
            let valid = candidates.into_iter().filter_map(|candidate| self.check(&candidate).ok());
            let new = valid.filter(|serial| serial.as_str() != text && seen.insert(serial.clone()));
            found.extend(new.map(|serial| Near { in_batch: in_batch(serial.as_str()), serial, slip }).collect::<Vec<_>>());
        }
        let likeliest = found.iter().map(|near| near.slip).min();
        if found.iter().any(|near| near.in_batch) {
            found.retain(|near| near.in_batch);
            found.truncate(most);
        } else {
            found.retain(|near| Some(near.slip) == likeliest);
        }
        if found.len() > most { Vec::new() } else { found }
    }
}

/// For people: `is it `QD-0041713` (two neighbours swapped)?`; none when nothing is near.
pub fn in_words(near: &[Near]) -> Option<String> {
    let each: Vec<_> = near
        .iter()
        .map(|near| format!("`{}` ({}{})", near.serial, near.slip, if near.in_batch { "; it stands in this batch" } else { "" }))
        .collect();
    let (last, before) = each.split_last()?;
    Some(if before.is_empty() { format!("is it {last}?") } else { format!("is it {} or {last}?", before.join(", ")) })
}

/// Each kind of slip, and all texts from which it makes this one.
fn slips(text: &str) -> Vec<(Slip, Vec<String>)> {
    let layout = (Slip::Layout, layouts(text));
    // All further ones are about ASCII texts: a serial has nothing else.
    if !text.is_ascii() {
        return vec![(Slip::Unseen, vec![plain(text)]), layout];
    }
    let bytes = text.as_bytes();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = bytes.to_vec();
        change(&mut changed);
        String::from_utf8(changed).unwrap_or_default()
    };
    let places = 0..bytes.len();
    let swapped = places.clone().skip(1).map(|at| with(&|bytes| bytes.swap(at - 1, at))).collect();
    let too_many = places.map(|at| text.chars().take(at).chain(text.chars().skip(at + 1)).collect()).collect();
    let mut wrong = Vec::new();
    let mut missing = Vec::new();
    for at in 0..=bytes.len() {
        let neighbour = bytes.get(at).or(bytes.last()).copied().unwrap_or(b'0');
        for other in alternatives(neighbour) {
            if at < bytes.len() {
                wrong.push(with(&|bytes| bytes[at] = other));
            }
            missing.push(with(&|bytes| bytes.insert(at, other)));
        }
    }
    let (looked_alike, two_looked_alike) = looked_alike(bytes);
    vec![
        (Slip::LostZeros, lost_zeros(bytes)),
        (Slip::LookedAlike, looked_alike),
        layout,
        (Slip::Swapped, swapped),
        (Slip::OneTooMany, too_many),
        (Slip::OneWrong, wrong),
        (Slip::OneMissing, missing),
        (Slip::TwoLookedAlike, two_looked_alike),
    ]
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

/// What the keys that wrote this text would have written on a US keyboard, and the other way round.
fn layouts(text: &str) -> Vec<String> {
    let mapped = |from: &str, to: &str| -> String {
        let key = |character| from.chars().position(|known| known == character).and_then(|at| to.chars().nth(at));
        text.chars().map(|character| key(character).unwrap_or(character)).collect()
    };
    LAYOUTS.iter().flat_map(|(us, other)| [mapped(other, us), mapped(us, other)]).collect()
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
        policy.nearest(text, &|_| false, 3).first().map(|near| (near.serial.to_string(), near.slip))
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
            ("ad)àà'&è&\"", "QD-0041713", Slip::Layout),
            ("QD-0047113", "QD-0041713", Slip::Swapped),
            ("QD-00041713", "QD-0041713", Slip::OneTooMany),
            ("QX-0041713", "QD-0041713", Slip::OneWrong),
            ("QD0041713", "QD-0041713", Slip::OneMissing),
            ("QD_0041713", "QD-0041713", Slip::OneWrong),
        ] {
            let near = buttons().nearest(text, &|serial| serial == meant, 20);
            assert!(near.iter().any(|near| near.serial.as_str() == meant && near.slip == slip), "{text}: {near:?}");
        }
        assert_eq!(first(&buttons(), "QD-41713"), Some(("QD-0041713".to_owned(), Slip::LostZeros)));
    }

    #[test]
    fn those_of_the_batch_come_first() {
        let in_batch = |serial: &str| serial == "QD-0041720";
        let near = buttons().nearest("QD-0041721", &in_batch, 3);
        assert_eq!((near[0].serial.as_str(), near[0].in_batch), ("QD-0041720", true));
        assert_eq!(near.len(), 1, "no guess beside it");
        let words = in_words(&near[..1]).expect("there is one");
        assert_eq!(words, "is it `QD-0041720` (one character wrong; it stands in this batch)?");
    }

    #[test]
    fn nothing_is_said_of_what_is_valid_far_off_or_signed() {
        assert_eq!(buttons().nearest("QD-0041713", &|_| true, 3), []);
        assert_eq!(first(&buttons(), "http://example.com"), None);
        // One wrong digit has seven right ones.
        assert_eq!(first(&buttons(), "QD-0000001"), None);
        assert_eq!(first(&buttons(), &"7".repeat(1 << 20)), None);
        let toml = "[[rule]]\nkind = \"signed\"\nkey_env = \"K\"\ncharacters = 4";
        let key = |_: crate::policy::KeyPlace<'_>| Ok("MDEyMzQ1Njc4OWFiY2RlZg==".to_owned().into());
        let signed =
            Policy::parse("s", toml).and_then(|policy| policy.load(&mut |_| Err(String::new()), &mut { key })).expect("is sound");
        let serial = signed.sign("BOX-1").expect("signs").to_string();
        let swapped: String = serial.chars().rev().take(2).collect();
        assert_eq!(signed.nearest(&format!("{}{swapped}", &serial[..serial.len() - 2]), &|_| true, 3), []);
    }
}
