//! Azure's shared access signatures: making tokens for a hub, and checking those that others made.
//!
//! `SharedAccessSignature sr=<R>&sig=<S>&se=<E>[&skn=<N>]`, where S is HMAC-SHA256 over R as it stands there, a line
//! feed, and E. SDKs encode R differently (`%2a` or `%2A`, `+` or `%20`), so a checker takes R exactly as sent and
//! decodes it only to see what it covers. Knows no clock: the caller looks at [`Token::expires`].
//!
//! Source: Azure IoT Hub, "Control access by using shared access signatures"; tokens made by its SDKs.

use std::{borrow::Cow, fmt};

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{api::Code, explain::Explain};

/// The word before a token's fields.
const SCHEME: &str = "SharedAccessSignature";
/// The longest token that is looked at, in bytes; a real one is below 500.
pub const TOKEN_BYTES_MAX: usize = 4096;
/// Everything but what RFC 3986 calls unreserved, as Python's `quote(safe="")`.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~');

fn mac(key: &[u8], resource_as_sent: &str, expires_as_sent: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(resource_as_sent.as_bytes());
    mac.update(b"\n");
    mac.update(expires_as_sent.as_bytes());
    mac
}

/// A token for `resource` (host and path, no scheme, not encoded), signed with the decoded `key`, good until
/// `expires_unix` (seconds). `key_name` names the hub's policy whose key it is; none for a device's own key.
///
/// The text is a credential until it expires, so it is wiped when dropped.
pub fn token(resource: &str, key: &[u8], expires_unix: i64, key_name: Option<&str>) -> Zeroizing<String> {
    let resource = utf8_percent_encode(resource, ESCAPED).to_string();
    let expires = expires_unix.to_string();
    let signature = BASE64.encode(&mac(key, &resource, &expires).finalize().into_bytes());
    // All that is pushed is counted before, so that no copy stays behind in a buffer that was too small.
    let signature = utf8_percent_encode(&signature, ESCAPED);
    let key_name = key_name.map(|name| utf8_percent_encode(name, ESCAPED));
    let length = |encoded: &percent_encoding::PercentEncode<'_>| encoded.clone().map(str::len).sum::<usize>();
    let names = SCHEME.len() + " sr=&sig=&se=".len();
    let mut text = Zeroizing::new(String::with_capacity(
        names
            + resource.len()
            + length(&signature)
            + expires.len()
            + key_name.as_ref().map_or(0, |name| "&skn=".len() + length(name)),
    ));
    for part in [SCHEME, " sr=", &resource, "&sig="].into_iter().chain(signature).chain(["&se=", &expires]) {
        text.push_str(part);
    }
    if let Some(name) = key_name {
        text.push_str("&skn=");
        text.extend(name);
    }
    text
}

/// Why a text is no shared access signature. Holds none of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SasError {
    /// It is not `SharedAccessSignature`, one blank, and the fields.
    #[error("not a shared access signature")]
    Scheme,
    /// A field that is needed is absent.
    #[error("the shared access signature has no `{field}`")]
    Missing {
        /// `sr`, `sig` or `se`.
        field: &'static str,
    },
    /// A field stands there twice.
    #[error("the shared access signature has `{field}` twice")]
    Twice {
        /// Its name.
        field: &'static str,
    },
    /// A field holds what it can't.
    #[error("the `{field}` of the shared access signature is malformed")]
    Malformed {
        /// Its name.
        field: &'static str,
    },
    /// Far longer than any token.
    #[error("the shared access signature is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
}

impl Explain for SasError {
    fn code(&self) -> Code {
        Code::BadRequest
    }
}

/// A parsed token. Nothing in it is to be believed before [`Token::signed_by`] says yes. `Debug` hides the signature.
#[derive(Clone)]
pub struct Token {
    resource_as_sent: String,
    resource: String,
    expires_as_sent: String,
    expires: i64,
    key_name: Option<String>,
    signature: [u8; 32],
}

impl Token {
    /// Reads a token: fields in any order and any case of names, empty pairs skipped, unknown fields ignored.
    ///
    /// # Errors
    /// When a field is missing, twice or malformed.
    pub fn parse(text: &str) -> Result<Self, SasError> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(SasError::TooLong);
        }
        let fields = text.strip_prefix(SCHEME).and_then(|rest| rest.strip_prefix(' ')).ok_or(SasError::Scheme)?;
        if fields.is_empty() || fields.contains(char::is_whitespace) {
            return Err(SasError::Scheme);
        }
        let (mut resource, mut signature, mut expires, mut key_name) = (None, None, None, None);
        for (name, value) in fields.split('&').filter(|pair| !pair.is_empty()).filter_map(|pair| pair.split_once('=')) {
            let known = [("sr", &mut resource), ("sig", &mut signature), ("se", &mut expires), ("skn", &mut key_name)];
            if let Some((field, place)) = known.into_iter().find(|(field, _)| field.eq_ignore_ascii_case(name))
                && place.replace(value).is_some()
            {
                return Err(SasError::Twice { field });
            }
        }
        let needed = |field, value: Option<&'_ str>| {
            value.filter(|value| !value.is_empty()).ok_or(SasError::Missing { field }).map(str::to_owned)
        };

        let resource_as_sent = needed("sr", resource)?;
        // `quote_plus` of Python's service SDK writes a blank as `+`, and a plus as `%2B` as all others do.
        let resource = decode("sr", &resource_as_sent.replace('+', " "))?.into_owned();
        let expires_as_sent = needed("se", expires)?;
        if !expires_as_sent.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(SasError::Malformed { field: "se" }); // `parse` alone would also take `+5`.
        }
        let expires = expires_as_sent.parse().map_err(|_| SasError::Malformed { field: "se" })?;
        let signature = needed("sig", signature)?;
        let signature = BASE64.decode(decode("sig", &signature)?.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        let signature = signature.ok_or(SasError::Malformed { field: "sig" })?;
        // Python sends the name raw, Node encoded.
        let key_name = key_name.map(|name| decode("skn", name).map(Cow::into_owned)).transpose()?;
        Ok(Self { resource_as_sent, resource, expires_as_sent, expires, key_name, signature })
    }

    /// When it ends, in seconds since 1970.
    pub fn expires(&self) -> i64 {
        self.expires
    }

    /// The hub's policy whose key signed it; none when it is the device's own key.
    pub fn key_name(&self) -> Option<&str> {
        self.key_name.as_deref()
    }

    /// What it is for, decoded: host and path.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// Was it signed with this decoded key? Takes the same time wherever the first difference is.
    pub fn signed_by(&self, key: &[u8]) -> bool {
        mac(key, &self.resource_as_sent, &self.expires_as_sent).verify_slice(&self.signature).is_ok()
    }

    /// Does it cover `path_decoded` (with its leading `/`) on a host that answers to these names (with `:port` where
    /// clients put it)? The host is compared without regard to case; the path is a prefix of whole segments.
    pub fn covers(&self, host_aliases: &[String], path_decoded: &str) -> bool {
        let (host, prefix) = self.resource.split_at(self.resource.find('/').unwrap_or(self.resource.len()));
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        host_aliases.iter().any(|alias| alias.eq_ignore_ascii_case(host))
            && path_decoded.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, expires, key_name, .. } = self;
        write!(f, "Token {{ resource: {resource:?}, expires: {expires}, key_name: {key_name:?}, signature: … }}")
    }
}

fn decode<'a>(field: &'static str, text: &'a str) -> Result<Cow<'a, str>, SasError> {
    percent_decode_str(text).decode_utf8().map_err(|_| SasError::Malformed { field })
}

#[cfg(test)]
mod tests;
