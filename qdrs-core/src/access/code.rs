//! The access code: one printable string, and the keys that come from it.
//!
//! `qdrs1…` is bech32m over a version byte, a byte for the kind, and 32 secret bytes. From the secret come, by
//! HKDF-SHA256 with two labels, an Ed25519 key that signs requests and an X25519 key that opens answers. The service
//! keeps [`PublicKeys`] only. Holds always: no error, `Debug` or `Display` of this module holds a secret, and secrets
//! are wiped from memory when dropped.
//!
//! Source: BIP 350 (bech32m); RFC 5869 (HKDF); RFC 8032 (Ed25519); RFC 7748 (X25519).

use std::{cmp::Ordering, fmt, str::FromStr};

use bech32::{
    Bech32m, Hrp,
    primitives::decode::{CharError, CheckedHrpstring, CheckedHrpstringError, UncheckedHrpstringError},
};
use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::SigningKey;
use hkdf::Hkdf;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::{
    api::{Code, Kind},
    explain::Explain,
};

/// What every access code begins with, before bech32's separator `1`.
const HRP: Hrp = Hrp::parse_unchecked("qdrs");
/// The version of codes that this program makes and reads.
const VERSION: u8 = 1;
/// Version, kind, secret.
const PAYLOAD_BYTES: usize = 2 + 32;
/// The length of every code of this version, in characters: `qdrs1`, 55 for the payload, 6 for the checksum.
const CODE_CHARS: usize = 66;

/// Why a text is no access code. Holds none of its text: it may be a code with one wrong character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessCodeError {
    /// It begins otherwise, or nothing is there.
    #[error("an access code begins with `qdrs1`")]
    NotOurs,
    /// Upper and lower case letters are mixed.
    #[error("an access code has either capital or small letters, not both")]
    MixedCase,
    /// A character that no code holds.
    #[error("a character that no access code holds")]
    Character,
    /// The checksum does not fit.
    #[error("a character of the access code is wrong, missing or too many")]
    Checksum,
    /// Whole, but made by a newer version.
    #[error("the access code is of version {found}; this program knows version {VERSION}")]
    Newer {
        /// Its version.
        found: u8,
    },
    /// The checksum fits, but not what is inside.
    #[error("the access code is whole, but holds what version {VERSION} never does")]
    Content,
}

impl Explain for AccessCodeError {
    fn code(&self) -> Code {
        Code::AccessCodeMalformed
    }

    fn help(&self) -> String {
        match self {
            Self::Newer { .. } => "install a newer QDRS, or ask the product owner for a code of this version".to_owned(),
            _ => self.code().help().to_owned(),
        }
    }
}

impl From<CheckedHrpstringError> for AccessCodeError {
    fn from(error: CheckedHrpstringError) -> Self {
        match error {
            CheckedHrpstringError::Parse(UncheckedHrpstringError::Char(CharError::MixedCase)) => Self::MixedCase,
            CheckedHrpstringError::Parse(_) => Self::Character,
            _ => Self::Checksum,
        }
    }
}

/// An access code with the keys that come from it. `Debug` shows the kind and the public key's id.
#[derive(Clone)]
pub struct AccessCode {
    kind: Kind,
    secret: Zeroizing<[u8; 32]>,
    signing: SigningKey,
    opening: OpeningKey,
    key_id: KeyId,
}

impl AccessCode {
    /// A new code: 32 random bytes from the operating system.
    pub fn generate(kind: Kind) -> Self {
        Self::from_secret(kind, random_32())
    }

    fn from_secret(kind: Kind, secret: Zeroizing<[u8; 32]>) -> Self {
        let signing = SigningKey::from_bytes(&derive(&secret, b"qdrs/v1 signing key"));
        let opening = OpeningKey::from_bytes(&derive(&secret, b"qdrs/v1 opening key"));
        let key_id = KeyId::of(signing.verifying_key().as_bytes());
        Self { kind, secret, signing, opening, key_id }
    }

    /// Reads a code; all in capitals too (a QR code is smaller so), blanks around it are ignored.
    ///
    /// # Errors
    /// When it is no code, a character is wrong, or a newer version made it.
    pub fn parse(text: &str) -> Result<Self, AccessCodeError> {
        let text = text.trim();
        if !text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("qdrs1")) {
            return Err(AccessCodeError::NotOurs);
        }
        let checked = CheckedHrpstring::new::<Bech32m>(text)?;
        // A `1` further on would be another prefix; with the checksum right, that is another program's text.
        if checked.hrp() != HRP {
            return Err(AccessCodeError::NotOurs);
        }
        let mut payload = Zeroizing::new([0_u8; PAYLOAD_BYTES]);
        for (place, byte) in payload.iter_mut().zip(checked.byte_iter()) {
            *place = byte;
        }
        let [version, kind, secret @ ..] = &*payload;
        match version.cmp(&VERSION) {
            Ordering::Equal => {}
            Ordering::Greater => return Err(AccessCodeError::Newer { found: *version }),
            Ordering::Less => return Err(AccessCodeError::Content),
        }
        let kind = match kind {
            0 => Kind::Station,
            1 => Kind::Product,
            _ => return Err(AccessCodeError::Content),
        };
        let code = Self::from_secret(kind, Zeroizing::new(*secret));
        // One text a code: bech32 leaves three bits over, which must be zero; and no byte may be missing or too many.
        if code.reveal().expose_secret().eq_ignore_ascii_case(text) { Ok(code) } else { Err(AccessCodeError::Content) }
    }

    /// The code's text, in small letters.
    pub fn reveal(&self) -> SecretString {
        let kind = match self.kind {
            Kind::Station => 0,
            Kind::Product => 1,
        };
        let mut payload = Zeroizing::new([0_u8; PAYLOAD_BYTES]);
        payload[0] = VERSION;
        payload[1] = kind;
        payload[2..].copy_from_slice(&*self.secret);
        let mut text = String::with_capacity(CODE_CHARS); // Exactly: a buffer that grows would leave copies behind.
        bech32::encode_lower_to_fmt::<Bech32m, _>(&mut text, HRP, &*payload).expect("34 bytes fit a bech32m string");
        SecretString::from(text)
    }

    /// Who is to hold it.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What the service keeps of it.
    pub fn public(&self) -> PublicKeys {
        PublicKeys { signing: PublicSigningKey(self.signing.verifying_key().to_bytes()), opening: self.opening.public() }
    }

    /// The short name of its signing key.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// Signs requests.
    pub fn signing_key(&self) -> &SigningKey {
        &self.signing
    }

    /// Opens what is sealed to it.
    pub fn opening_key(&self) -> &OpeningKey {
        &self.opening
    }
}

impl FromStr for AccessCode {
    type Err = AccessCodeError;

    fn from_str(text: &str) -> Result<Self, AccessCodeError> {
        Self::parse(text)
    }
}

impl fmt::Debug for AccessCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessCode({}, key id {})", self.kind, self.key_id)
    }
}

fn random_32() -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).expect("the operating system gives random bytes");
    bytes
}

fn derive(secret: &[u8; 32], label: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, secret).expand(label, &mut *key).expect("HKDF-SHA256 gives 32 bytes");
    key
}

/// A public key: 32 bytes, written as base64.
macro_rules! public_key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// From the 32 bytes of the key.
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes of the key.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                BASE64.encode_display(&self.0).fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = NotAPublicKey;

            fn from_str(text: &str) -> Result<Self, NotAPublicKey> {
                if text.len() != 44 {
                    return Err(NotAPublicKey);
                }
                let bytes = BASE64.decode(text.as_bytes()).map_err(|_| NotAPublicKey)?;
                Ok(Self(bytes.try_into().map_err(|_| NotAPublicKey)?))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

public_key! {
    /// The Ed25519 key that proves a request's signature.
    PublicSigningKey
}

public_key! {
    /// The X25519 key that a credential is sealed to.
    PublicOpeningKey
}

/// The text is not base64 of 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a public key is 32 bytes in base64")]
pub struct NotAPublicKey;

/// What the service keeps of an access code; nobody can sign or open with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKeys {
    /// Proves signatures.
    pub signing: PublicSigningKey,
    /// Seals credentials.
    pub opening: PublicOpeningKey,
}

impl PublicKeys {
    /// The short name of the signing key.
    pub fn key_id(&self) -> KeyId {
        KeyId::of(&self.signing.0)
    }
}

/// The name of a signing key: the first 8 bytes of SHA-256 of the public key, written as 16 lower-case hex digits.
///
/// Not a proof of anything: two codes may be made to share one, and the signature alone decides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

impl KeyId {
    fn of(public: &[u8; 32]) -> Self {
        let mut id = [0; 8];
        id.copy_from_slice(&Sha256::digest(public)[..8]);
        Self(id)
    }

    /// From its 8 bytes.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HEXLOWER.encode_display(&self.0).fmt(f)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// The text is not 16 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key id is 16 lower-case hex digits")]
pub struct NotAKeyId;

impl FromStr for KeyId {
    type Err = NotAKeyId;

    fn from_str(text: &str) -> Result<Self, NotAKeyId> {
        let mut bytes = [0; 8];
        if text.len() != 16 {
            return Err(NotAKeyId);
        }
        HEXLOWER.decode_mut(text.as_bytes(), &mut bytes).map_err(|_| NotAKeyId)?;
        Ok(Self(bytes))
    }
}

impl Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An X25519 secret key that opens what is sealed to its public key. `Debug` shows the public key.
#[derive(Clone)]
pub struct OpeningKey {
    secret: Zeroizing<[u8; 32]>,
    public: PublicOpeningKey, // Kept, since making it again is as dear as a signature.
}

impl OpeningKey {
    /// A new key: 32 random bytes from the operating system. Each installation of a product makes its own.
    pub fn generate() -> Self {
        Self::from_bytes(&random_32())
    }

    pub(crate) fn from_bytes(secret: &[u8; 32]) -> Self {
        let public = PublicOpeningKey(PublicKey::from(&StaticSecret::from(*secret)).to_bytes());
        Self { secret: Zeroizing::new(*secret), public }
    }

    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// What others seal to.
    pub fn public(&self) -> PublicOpeningKey {
        self.public
    }
}

impl fmt::Debug for OpeningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpeningKey(public {})", self.public)
    }
}

#[cfg(test)]
mod tests;
