//! Access codes: one printable string, from which come the key that signs requests and the key that opens answers.
//!
//! [`code`] is the string, [`digest`] the body's digest (RFC 9530), [`sign`] the signature (RFC 9421), [`seal`] the
//! sealed credential (RFC 9180). The service keeps public keys only.

pub mod code;
pub mod digest;
pub mod seal;
pub mod sign;

pub use code::{AccessCode, AccessCodeError, KeyId, OpeningKey, PublicKeys, PublicOpeningKey, PublicSigningKey};
pub use seal::{SealContext, SealError, Sealed};
pub use sign::{Claim, SignatureError, Signed};
