//! The digest of a request's body, the header `Content-Digest`: made with SHA-256, checked with SHA-256 and SHA-512.
//!
//! Knows no signature: [`super::sign`] covers the header, this module holds the body against it.
//!
//! Source: RFC 9530.

use data_encoding::BASE64;
use sfv::{BareItem, Dictionary, Item, ListEntry, Parser};
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

use crate::{api::Code, explain::Explain};

/// The longest header that is looked at, in bytes; ours has 54.
pub const DIGEST_BYTES_MAX: usize = 1024;

/// Why a body and its digest do not go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// The header is no dictionary of byte sequences.
    #[error("the header `Content-Digest` is malformed")]
    Malformed,
    /// No algorithm that can be trusted.
    #[error("the header `Content-Digest` has neither sha-256 nor sha-512")]
    NoneKnown,
    /// The body is not the one that was hashed.
    #[error("the body does not have the digest of the header `Content-Digest`")]
    Mismatch,
}

impl Explain for DigestError {
    fn code(&self) -> Code {
        Code::SignatureInvalid
    }
}

/// The header's value for a body: `sha-256=:…:`. An empty body has a digest too.
pub fn content_digest(body: &[u8]) -> String {
    let mut text = String::with_capacity(54);
    text.push_str("sha-256=:");
    BASE64.encode_append(&Sha256::digest(body), &mut text);
    text.push(':');
    text
}

/// Holds a body against the header's value. Several members may be there: every sha-256 and sha-512 must match, at
/// least one must be there, others are ignored.
///
/// # Errors
/// When the header is malformed, has no algorithm that can be trusted, or does not fit the body.
pub fn check_content_digest(header: &str, body: &[u8]) -> Result<(), DigestError> {
    // What our own client sends needs no parser.
    if let Some(digest) =
        header.strip_prefix("sha-256=:").and_then(|rest| rest.strip_suffix(':')).filter(|digest| digest.len() == 44)
    {
        let mut sent = [0; 33]; // `decode_mut` wants room for 44 characters without padding.
        if let Ok(32) = BASE64.decode_mut(digest.as_bytes(), &mut sent) {
            return matches(&sent[..32], &Sha256::digest(body)).then_some(()).ok_or(DigestError::Mismatch);
        }
    }
    if header.len() > DIGEST_BYTES_MAX {
        return Err(DigestError::Malformed);
    }
    let members = Parser::new(header).parse::<Dictionary>().map_err(|_| DigestError::Malformed)?;
    let mut any_known = false;
    for (name, member) in &members {
        let holds = match name.as_str() {
            "sha-256" => matches(bytes_of(member)?, &Sha256::digest(body)),
            "sha-512" => matches(bytes_of(member)?, &Sha512::digest(body)),
            _ => continue,
        };
        if !holds {
            return Err(DigestError::Mismatch);
        }
        any_known = true;
    }
    if any_known { Ok(()) } else { Err(DigestError::NoneKnown) }
}

fn matches(sent: &[u8], computed: &[u8]) -> bool {
    sent.ct_eq(computed).into()
}

fn bytes_of(member: &ListEntry) -> Result<&[u8], DigestError> {
    match member {
        ListEntry::Item(Item { bare_item: BareItem::ByteSequence(bytes), .. }) => Ok(bytes),
        _ => Err(DigestError::Malformed),
    }
}

#[cfg(test)]
mod tests;
