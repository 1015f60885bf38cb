//! `signed`: a serial that ends in a short HMAC, so that only who holds the key can make one.
//!
//! The tag is the first characters, in Crockford's base 32, of HMAC-SHA-256 over a label and all that stands before the tag.
//! Each character carries five bits, so that one guess in 32^n is right. With several keys, one for each generation, the
//! character before the tag says which one signed. What stands before is the owner's `body`, a text with a running number.

use std::fmt;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::policy::{
    body::{self, Body},
    form::Case,
    text::{Table, list, text},
};

/// Keeps these tags apart from any other use of the same key.
const LABEL: &[u8] = b"qdrs/v1 signed serial\0";

/// Crockford's base 32, in the letters of a label.
const SYMBOLS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The shortest key, in bytes.
const KEY_BYTES_MIN: usize = 16;

/// `signed`: the serial ends in `characters` that only a key makes.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::policy) struct Rule {
    /// 4 to 16.
    #[serde(default = "default_characters")]
    pub(in crate::policy) characters: usize,
    key_file: Option<String>,
    key_env: Option<String>,
    #[serde(default)]
    keys: Vec<Generation>,
    /// What `serials generate` puts before the tag, as "QD-{number}-".
    #[serde(rename = "body")]
    body_text: Option<String>,
    /// How many digits its number has.
    digits: Option<usize>,
    #[serde(skip)]
    pub(in crate::policy) body: Option<Body>,
    /// As the normal form has letters.
    #[serde(skip)]
    small_letters: bool,
    #[serde(skip)]
    loaded: Vec<Key>,
}

fn default_characters() -> usize {
    8
}

/// One key of several.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Generation {
    /// The one character before the tag.
    generation: char,
    file: Option<String>,
    env: Option<String>,
}

impl Generation {
    fn inline(&self) -> String {
        let Self { generation, file, env } = self;
        let mut table = Table::default();
        table.put("generation", text(&generation.to_string()));
        table.put_some("file", file.as_deref().map(text));
        table.put_some("env", env.as_deref().map(text));
        table.inline()
    }
}

/// Where a key lies. Whoever loads the policy reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPlace<'a> {
    /// A file, as private as it should be.
    File(&'a str),
    /// A variable of the environment.
    Variable(&'a str),
}

#[derive(Clone)]
struct Key {
    generation: Option<char>,
    bytes: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a key of {} bytes", self.bytes.len())
    }
}

impl Rule {
    pub(super) const KEYS: &[&str] = &["characters", "key_file", "key_env", "keys", "body", "digits"];

    /// Where its keys lie, never a key.
    pub(super) fn print(&self, table: &mut Table) {
        let Self { characters, key_file, key_env, keys, body_text, digits, body: _, small_letters: _, loaded: _ } = self;
        table.put_some("characters", (*characters != default_characters()).then_some(characters));
        table.put_some("key_file", key_file.as_deref().map(text));
        table.put_some("key_env", key_env.as_deref().map(text));
        table.put_some("keys", (!keys.is_empty()).then(|| list(keys.iter().map(Generation::inline))));
        table.put_some("body", body_text.as_deref().map(text));
        table.put_some("digits", *digits);
    }

    pub(super) fn sound(mut self) -> Result<Self, String> {
        if !(4..=16).contains(&self.characters) {
            return Err(format!("`characters = {}` in a `signed` rule is not from 4 to 16", self.characters));
        }
        let one = self.key_file.is_some() || self.key_env.is_some();
        if one != self.keys.is_empty() || (self.key_file.is_some() && self.key_env.is_some()) {
            return Err("a `signed` rule needs `key_file`, or `key_env`, or `keys = [{ generation = \"A\", file = \"…\" }, …]`"
                .to_owned());
        }
        self.body = match (&self.body_text, self.digits) {
            (None, Some(_)) => {
                return Err("`digits` in a `signed` rule are those of the number in `body`; it has no `body`".to_owned());
            }
            (None, None) => None,
            (Some(text), digits) => {
                let body = Body::parse(text, digits.unwrap_or(body::DIGITS_DEFAULT));
                Some(body.map_err(|why| format!("in a `signed` rule: {why}"))?)
            }
        };
        let mut seen = Vec::new();
        for key in &mut self.keys {
            if key.file.is_some() == key.env.is_some() {
                return Err(format!("the key of generation `{}` needs either `file` or `env`", key.generation));
            }
            if !SYMBOLS.contains(&u8::try_from(key.generation).unwrap_or(0)) {
                return Err(format!("a generation is a digit or capital letter but I, L, O and U, not `{}`", key.generation));
            }
            if seen.contains(&key.generation) {
                return Err(format!("generation `{}` has two keys", key.generation));
            }
            seen.push(key.generation);
        }
        Ok(self)
    }

    /// Takes its letters from the normal form: were both taken, one label would be several serials.
    pub(super) fn fit(&mut self, case: Case) {
        self.small_letters = case == Case::Lower;
    }

    /// Reads its keys from where they lie; each is 16 bytes or more, in base64.
    pub(in crate::policy) fn load(
        &mut self,
        read: &mut dyn FnMut(KeyPlace<'_>) -> Result<Zeroizing<String>, String>,
    ) -> Result<(), String> {
        let place = |file: &'_ Option<String>, env: &'_ Option<String>| match (file, env) {
            (Some(file), _) => read(KeyPlace::File(file)),
            (None, env) => read(KeyPlace::Variable(env.as_deref().unwrap_or_default())),
        };
        let mut place = place;
        let mut loaded = Vec::new();
        if self.keys.is_empty() {
            loaded.push((None, place(&self.key_file, &self.key_env)?));
        }
        for key in &self.keys {
            loaded.push((Some(key.generation), place(&key.file, &key.env)?));
        }
        self.loaded = loaded
            .into_iter()
            .map(|(generation, text)| {
                let bytes = BASE64.decode(text.trim().as_bytes()).ok().filter(|bytes| bytes.len() >= KEY_BYTES_MIN);
                let bytes = bytes.ok_or("the key is no base64 of 16 bytes or more; `qdrs-service serials key` makes one")?;
                Ok(Key { generation, bytes: Zeroizing::new(bytes) })
            })
            .collect::<Result<_, String>>()?;
        Ok(())
    }

    /// The characters at the end that say who made it.
    pub(super) fn signature_characters(&self) -> usize {
        self.characters + usize::from(!self.keys.is_empty())
    }

    /// A character that signatures have and the alphabet has not.
    pub(in crate::policy) fn missing_in(&self, has: &dyn Fn(u8) -> bool) -> Option<char> {
        SYMBOLS.iter().map(|symbol| self.letter(char::from(*symbol))).find(|symbol| !u8::try_from(*symbol).is_ok_and(has))
    }

    /// How many guesses one needs for one that is right, as a power of two.
    pub(in crate::policy) fn bits(&self) -> usize {
        5 * self.characters
    }

    /// The whole serial: the text, the newest generation if there are several, the tag. None without a key.
    pub(in crate::policy) fn sign(&self, text: &str) -> Option<String> {
        let key = self.loaded.last()?;
        let body: String = text.chars().chain(key.generation.map(|generation| self.letter(generation))).collect();
        let tag = self.tag(key, &body);
        Some(body + &tag)
    }

    pub(super) fn check(&self, what: &str, text: &str) -> Result<(), String> {
        if self.loaded.is_empty() {
            return Err(format!("{what} can't be checked, since the key has not been loaded"));
        }
        let refused = || format!("{what} does not end in the characters that belong to the rest");
        let (body, tag) = text.len().checked_sub(self.characters).and_then(|at| text.split_at_checked(at)).ok_or_else(refused)?;
        let generation = body.chars().last().ok_or_else(refused)?;
        let key = self.loaded.iter().find(|key| key.generation.is_none_or(|known| self.letter(known) == generation));
        let key = key.ok_or_else(refused)?;
        let expected = self.tag(key, body);
        if bool::from(expected.as_bytes().ct_eq(tag.as_bytes())) { Ok(()) } else { Err(refused()) }
    }

    fn tag(&self, key: &Key, body: &str) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&key.bytes).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        mac.update(LABEL);
        mac.update(body.as_bytes());
        let hash = mac.finalize().into_bytes();
        let bits = hash.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
        let bits: Vec<u8> = bits.take(self.bits()).collect();
        let symbol = |five: &[u8]| SYMBOLS[usize::from(five.iter().fold(0, |value, bit| value << 1 | bit))];
        bits.chunks(5).map(|five| self.letter(char::from(symbol(five)))).collect()
    }

    fn letter(&self, letter: char) -> char {
        if self.small_letters { letter.to_ascii_lowercase() } else { letter }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "end in {} characters that only the owner's key makes", self.characters)
    }
}
