//! The audit log's entries, and the chain that shows if one was changed, dropped or slipped in.
//!
//! Each entry is JSON text, kept and hashed as it was written: `hash = SHA-256(previous hash | text)`, the first one
//! over 32 zero bytes. It says who did what to which serial; it never holds a key.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One entry as kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// 1, 2, 3 … without a gap.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// [`Deed`] as JSON, byte for byte as it was hashed.
    pub text: String,
    /// Covers this entry and all before it.
    pub hash: [u8; 32],
}

/// Who did what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deed {
    /// Version of this form.
    pub v: u32,
    /// What was done: `reserved`, `issued`, `access-created` …
    pub action: String,
    /// When, RFC 3339.
    pub at: Timestamp,
    /// The access code's key id, or `owner`.
    pub by: String,
    /// The policy and the serial, if it was about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The attempt, if it was about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<String>,
    /// Why, or with what evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The hash of an entry that follows `previous`.
pub fn link(previous: &[u8; 32], text: &str) -> [u8; 32] {
    Sha256::new().chain_update(previous).chain_update(text).finalize().into()
}

/// Do the entries follow one another from `previous`, entry number `first` on? The number of the first that does not.
pub fn check_chain(first: u64, previous: [u8; 32], entries: &[Entry]) -> Result<[u8; 32], u64> {
    let mut hash = previous;
    for (expected, entry) in (first..).zip(entries) {
        hash = link(&hash, &entry.text);
        if entry.seq != expected || entry.hash != hash {
            return Err(expected);
        }
    }
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(texts: &[&str]) -> Vec<Entry> {
        let mut hash = [0; 32];
        (1..)
            .zip(texts)
            .map(|(seq, text)| {
                hash = link(&hash, text);
                Entry { seq, at: Timestamp::UNIX_EPOCH, text: (*text).to_owned(), hash }
            })
            .collect()
    }

    #[test]
    fn a_changed_dropped_or_swapped_entry_breaks_the_chain() {
        let whole = chain(&["a", "b", "c", "d"]);
        assert!(check_chain(1, [0; 32], &whole).is_ok());

        let mut changed = whole.clone();
        changed[1].text = "B".into();
        assert_eq!(check_chain(1, [0; 32], &changed), Err(2));

        let mut dropped = whole.clone();
        dropped.remove(2);
        assert_eq!(check_chain(1, [0; 32], &dropped), Err(3));

        let mut swapped = whole.clone();
        swapped.swap(0, 1);
        assert_eq!(check_chain(1, [0; 32], &swapped), Err(1));
    }
}
