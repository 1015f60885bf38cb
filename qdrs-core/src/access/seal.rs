//! Sealing a credential to the one who registered the serial (HPKE): only the holder of the opening key can read it.
//!
//! One suite alone: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM, base mode, one message for each `enc`. What
//! it belongs to ([`SealContext`]) is bound in, so an answer can't be passed off as that of another serial, job or
//! reservation. Does not say who sealed it: TLS does.
//!
//! Source: RFC 9180.

use std::fmt;

use data_encoding::BASE64;
use hpke::{
    Deserializable, OpModeR, OpModeS, Serializable, aead::AesGcm128, kdf::HkdfSha256, kem::X25519HkdfSha256, single_shot_open,
    single_shot_seal,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::code::{KeyId, OpeningKey, PublicOpeningKey};
use crate::{api::Code, explain::Explain};

/// HPKE's `info`: what this seal is for.
const INFO: &[u8] = b"qdrs/v1 device connection string";

type PublicKey = <X25519HkdfSha256 as hpke::Kem>::PublicKey;
type PrivateKey = <X25519HkdfSha256 as hpke::Kem>::PrivateKey;
type EncappedKey = <X25519HkdfSha256 as hpke::Kem>::EncappedKey;

/// A sealed message. Not secret: only the holder of the opening key can read it. In JSON both members are base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The encapsulated key, 32 bytes.
    #[serde(with = "as_base64")]
    pub enc: Vec<u8>,
    /// The ciphertext and its tag.
    #[serde(with = "as_base64")]
    pub ct: Vec<u8>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.ct.len())
    }
}

mod as_base64 {
    use super::{BASE64, Deserialize};

    pub(super) fn serialize<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&BASE64.encode_display(bytes))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text.as_bytes()).map_err(|_| serde::de::Error::custom("not base64"))
    }
}

/// What a sealed credential belongs to; sealer and opener must name the same.
#[derive(Debug, Clone, Copy)]
pub struct SealContext<'a> {
    /// The access code that registered it.
    pub key_id: KeyId,
    /// The serial as the caller sent it, decoded from the path.
    pub serial: &'a str,
    /// The job's key, without quotes.
    pub idempotency_key: &'a str,
    /// The attempt.
    pub reservation: Uuid,
}

impl SealContext<'_> {
    /// HPKE's `aad`: each member's text after its length as two bytes, so that no two contexts give the same bytes.
    fn aad(&self) -> Result<Vec<u8>, SealError> {
        let (key_id, reservation) = (self.key_id.to_string(), self.reservation.hyphenated().to_string());
        let parts = [key_id.as_str(), self.serial, self.idempotency_key, reservation.as_str()];
        let mut aad = Vec::new();
        for part in parts {
            let length = u16::try_from(part.len()).map_err(|_| SealError::Context)?;
            aad.extend_from_slice(&length.to_be_bytes());
            aad.extend_from_slice(part.as_bytes());
        }
        Ok(aad)
    }
}

/// Why sealing or opening failed. It says no more on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The recipient's key is one that anybody can open.
    #[error("the recipient's key is no usable X25519 key")]
    Recipient,
    /// A member of the context is longer than 65535 bytes.
    #[error("the serial or the Idempotency-Key is too long to seal for")]
    Context,
    /// Not sealed to this key, not for this context, or changed on the way.
    #[error("the sealed credential can't be opened: it is for another key or another job, or it was changed")]
    Broken,
}

impl Explain for SealError {
    fn code(&self) -> Code {
        match self {
            Self::Recipient | Self::Context => Code::BadRequest,
            Self::Broken => Code::SealBroken,
        }
    }
}

/// Seals `plaintext` to a key, anew each time.
///
/// # Errors
/// When the key is no usable one (a product sends its own), or the context is too long.
pub fn seal(to: &PublicOpeningKey, context: &SealContext, plaintext: &[u8]) -> Result<Sealed, SealError> {
    let to = PublicKey::from_bytes(to.as_bytes()).map_err(|_| SealError::Recipient)?;
    let aad = context.aad()?;
    let (enc, ct) = single_shot_seal::<AesGcm128, HkdfSha256, X25519HkdfSha256>(&OpModeS::Base, &to, INFO, plaintext, &aad)
        .map_err(|_| SealError::Recipient)?;
    Ok(Sealed { enc: enc.to_bytes().to_vec(), ct })
}

/// Opens what was sealed to a key for this context.
///
/// # Errors
/// When it was not, or was changed.
pub fn open(with: &OpeningKey, context: &SealContext, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SealError> {
    open_raw(with.secret(), INFO, &context.aad()?, &sealed.enc, &sealed.ct)
}

fn open_raw(secret: &[u8; 32], info: &[u8], aad: &[u8], enc: &[u8], ct: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let secret = PrivateKey::from_bytes(secret).map_err(|_| SealError::Broken)?;
    let enc = EncappedKey::from_bytes(enc).map_err(|_| SealError::Broken)?;
    single_shot_open::<AesGcm128, HkdfSha256, X25519HkdfSha256>(&OpModeR::Base, &secret, &enc, info, ct, aad)
        .map(Zeroizing::new)
        .map_err(|_| SealError::Broken)
}

#[cfg(test)]
mod tests;
