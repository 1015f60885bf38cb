//! Who is calling: a request's signature, made and checked (RFC 9421, Ed25519).
//!
//! Our profile of the standard: covered are `@method`, `@path`, `@query` where there is one, `content-digest` (also of
//! an empty body) and, on PUT, `idempotency-key`; other header fields may be covered too. `created` and `expires` are
//! needed and at most [`LIFETIME_SECONDS_MAX`] apart; `keyid` is a [`KeyId`]; `alg` is `ed25519` or absent. Derived
//! components that a proxy changes (`@authority`, `@target-uri`, …) and parameters of components are refused.
//!
//! Knows no clock, no ledger and no web server. Holds always: what the signature does not cover is not believed, and
//! what a [`Claim`] says of itself is not believed before [`Claim::verify`] says yes.
//!
//! Source: RFC 9421; RFC 9651 for the headers' form; the Idempotency-Key draft for that header's two forms.

use std::fmt::Write;

use data_encoding::BASE64;
use ed25519_dalek::{Signature, Signer, VerifyingKey};
use http::{HeaderMap, HeaderName, header::AsHeaderName};
use sfv::{BareItem, Dictionary, InnerList, Item, ListEntry, ListSerializer, Parser};

use super::{
    AccessCode, KeyId,
    code::PublicSigningKey,
    digest::{DigestError, check_content_digest, content_digest},
};
use crate::{api::Code, explain::Explain};

/// How long a signature may hold, in seconds, from `created` to `expires`.
pub const LIFETIME_SECONDS_MAX: i64 = 300;
/// How far a caller's clock may be ahead, in seconds.
pub const SKEW_SECONDS_MAX: i64 = 60;
/// The longest signature header that is looked at, in bytes; ours has about 170.
pub const HEADER_BYTES_MAX: usize = 4096;
/// How many components a signature may cover; ours has up to 5.
pub const COMPONENTS_MAX: usize = 16;
/// The longest Idempotency-Key, in bytes; ours has 36.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;
/// Our signature's name in the headers; a verifier ignores it.
const LABEL: &str = "qdrs";

const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The header in which a client repeats, unsigned, what it signed of the request line. It proves nothing, and where a
/// signature does not fit it shows what was changed on the way.
pub const SIGNED_TARGET: HeaderName = HeaderName::from_static("qdrs-signed-target");

/// A request's method, path and query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// In capitals.
    pub method: String,
    /// The absolute path, still percent-encoded, without the query.
    pub path: String,
    /// The query without its `?`.
    pub query: Option<String>,
}

impl Target {
    /// Reads `METHOD /path?query`.
    pub fn parse(text: &str) -> Option<Self> {
        let (method, address) = text.trim().split_once(' ')?;
        let (path, query) = address.split_once('?').map_or((address, None), |(path, query)| (path, Some(query.to_owned())));
        let is_target = path.starts_with('/') && method.bytes().all(|byte| byte.is_ascii_uppercase());
        is_target.then(|| Self { method: method.to_owned(), path: path.to_owned(), query })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        self.query.as_ref().map_or(Ok(()), |query| write!(f, "?{query}"))
    }
}

/// What is signed of a request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// As sent, in capitals.
    pub method: &'a str,
    /// The absolute path, still percent-encoded, without the query.
    pub path: &'a str,
    /// The query without its `?`.
    pub query: Option<&'a str>,
    /// The header's text as sent; needed on PUT.
    pub idempotency_key: Option<&'a str>,
    /// As sent; may be empty.
    pub body: &'a [u8],
}

/// The values of the three headers that a signed request carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// `Content-Digest`.
    pub content_digest: String,
    /// `Signature-Input`.
    pub signature_input: String,
    /// `Signature`.
    pub signature: String,
}

/// Signs a request as of `created_unix` (seconds); the signature holds for 5 minutes.
pub fn sign(code: &AccessCode, request: &Request, created_unix: i64) -> Signed {
    let content_digest = content_digest(request.body);
    let mut base = String::with_capacity(512);
    let mut covered = String::with_capacity(160);
    covered.push('(');
    let mut cover = |name: &str, values: &[&str]| {
        if covered.len() > 1 {
            covered.push(' ');
        }
        for part in ["\"", name, "\""] {
            covered.push_str(part);
        }
        push_line(&mut base, name, values);
    };
    cover("@method", &[request.method]);
    cover("@path", &[path_or_root(request.path)]);
    if let Some(query) = request.query {
        cover("@query", &["?", query]);
    }
    cover("content-digest", &[&content_digest]);
    if let Some(key) = request.idempotency_key {
        cover("idempotency-key", &[key.trim_matches([' ', '\t'])]);
    }
    let expires_unix = created_unix.saturating_add(LIFETIME_SECONDS_MAX);
    // In the order of the standard's own list: some verifiers write the parameters again in that order.
    let _ = write!(covered, ");created={created_unix};expires={expires_unix};alg=\"ed25519\";keyid=\"{}\"", code.key_id());
    push_params(&mut base, &covered);

    let bytes = code.signing_key().sign(base.as_bytes()).to_bytes();
    let mut signature = String::with_capacity(LABEL.len() + 91);
    signature.push_str(LABEL);
    signature.push_str("=:");
    BASE64.encode_append(&bytes, &mut signature);
    signature.push(':');
    Signed { content_digest, signature_input: format!("{LABEL}={covered}"), signature }
}

/// One line of the signature base.
fn push_line(base: &mut String, name: &str, values: &[&str]) {
    base.push('"');
    base.push_str(name);
    base.push_str("\": ");
    base.extend(values.iter().copied());
    base.push('\n');
}

/// The signature base's last line.
fn push_params(base: &mut String, params: &str) {
    base.push_str("\"@signature-params\": ");
    base.push_str(params);
}

fn path_or_root(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

/// Why a request's signature is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// A header that makes up the signature is absent.
    #[error("the request has no header `{header}`")]
    Missing {
        /// Its name.
        header: &'static str,
    },
    /// A PUT without the header that makes its repetition harmless.
    #[error("the request has no header `Idempotency-Key`")]
    NoIdempotencyKey,
    /// The signature's headers can't be read, or don't keep to the profile.
    #[error("the request's signature is malformed: {why}")]
    Malformed {
        /// What is wrong.
        why: String,
    },
    /// Made in the future or expired: most likely the caller's clock is wrong.
    #[error("the request's signature is {} s {} the service's clock", seconds.unsigned_abs(), if *seconds < 0 { "behind" } else { "ahead of" })]
    ClockSkew {
        /// `created` less the service's time: positive when the caller's clock is ahead.
        seconds: i64,
    },
    /// The signature does not fit the request and the key.
    #[error("the request's signature does not fit the request and the key")]
    Invalid,
    /// The body fits the digest that was signed, and the signature does not fit the rest.
    #[error(
        "the signature does not fit `{arrived}`, though the body fits its digest: method, path or query was changed on the way, or \
         the client signed another one"
    )]
    Elsewhere {
        /// What arrived.
        arrived: Box<Target>,
    },
    /// The signature fits another method, path or query than those that arrived.
    #[error("the request was changed on the way: `{signed}` was signed, and `{arrived}` arrived")]
    ChangedOnTheWay {
        /// What the signature fits.
        signed: Box<Target>,
        /// What arrived.
        arrived: Box<Target>,
    },
    /// The signature fits, but the body is not the one that was signed.
    #[error("the request was changed on the way: its body is not the one that was signed")]
    DigestMismatch,
    /// The signature fits, and the body that was signed did not arrive.
    #[error("the request was changed on the way: a body was signed, and none arrived")]
    BodyDropped,
}

impl Explain for SignatureError {
    fn code(&self) -> Code {
        match self {
            Self::Missing { .. } => Code::SignatureMissing,
            Self::NoIdempotencyKey => Code::IdempotencyKeyMissing,
            Self::ClockSkew { .. } => Code::ClockSkew,
            Self::Malformed { .. }
            | Self::Invalid
            | Self::Elsewhere { .. }
            | Self::ChangedOnTheWay { .. }
            | Self::DigestMismatch
            | Self::BodyDropped => Code::SignatureInvalid,
        }
    }

    fn help(&self) -> String {
        match self {
            Self::Elsewhere { .. } => {
                "the owner sets `path_prefix` under `[network]` in the service's config to what a proxy takes off \
                                       the path or adds; a client of your own signs the path as it sends it"
                    .to_owned()
            }
            Self::ChangedOnTheWay { signed, arrived } => match dropped_prefix(signed, arrived) {
                Some(prefix) => format!(
                    "the owner sets `path_prefix = \"{prefix}\"` under `[network]` in the service's config, or has the proxy pass the \
                     path on as it is"
                ),
                None => {
                    "the owner has the proxy between station and service pass method, path and query on as they are".to_owned()
                }
            },
            Self::DigestMismatch => "the owner has the proxy between station and service pass the body on as it is".to_owned(),
            Self::BodyDropped => {
                "the owner has the proxy between station and service pass bodies on, also those without `Content-Length`"
                    .to_owned()
            }
            _ => self.code().help().to_owned(),
        }
    }
}

/// The prefix that was taken off the path, if that is all that was changed.
fn dropped_prefix<'a>(signed: &'a Target, arrived: &Target) -> Option<&'a str> {
    let same = signed.method == arrived.method && signed.query == arrived.query;
    signed.path.strip_suffix(&arrived.path).filter(|prefix| same && is_path_prefix(prefix))
}

/// Can the text stand before a path, as `/qdrs` before `/v1/access`? The setting `path_prefix` takes nothing else.
pub fn is_path_prefix(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%/".contains(&byte);
    text.starts_with('/') && !text.ends_with('/') && !text.contains("//") && text.bytes().all(allowed)
}

/// The longest reason, in characters: it may hold a name that a stranger chose, and goes to the answer and the log.
const REASON_CHARS_MAX: usize = 160;

fn malformed(why: impl Into<String>) -> SignatureError {
    SignatureError::Malformed { why: why.into().chars().take(REASON_CHARS_MAX).collect() }
}

/// A request's signature, parsed and not yet verified.
#[derive(Debug, Clone)]
pub struct Claim {
    key_id: KeyId,
    created: i64,
    expires: i64,
    base: String,
    signature: [u8; 64],
    content_digest: String,
    idempotency_key: Option<String>,
}

impl Claim {
    /// Reads the signature of a request: `path` still percent-encoded (of the original URI), `query` without its `?`.
    ///
    /// Of several signatures the first that names a [`KeyId`] is taken, whatever its label.
    ///
    /// # Errors
    /// When there is none, or it is malformed, or it does not keep to the profile.
    pub fn parse(method: &str, path: &str, query: Option<&str>, headers: &HeaderMap) -> Result<Self, SignatureError> {
        Self::parse_with(method, path, query, headers, |key_id| key_id.parse().ok())
    }

    fn parse_with(
        method: &str,
        path: &str,
        query: Option<&str>,
        headers: &HeaderMap,
        key_id_of: impl Fn(&str) -> Option<KeyId>,
    ) -> Result<Self, SignatureError> {
        let inputs = dictionary(headers, &SIGNATURE_INPUT, "Signature-Input")?;
        let signatures = dictionary(headers, &SIGNATURE, "Signature")?;
        let (label, list, key_id) = inputs
            .iter()
            .find_map(|(label, entry)| match entry {
                ListEntry::InnerList(list) => {
                    list.params.get("keyid")?.as_string().and_then(|id| key_id_of(id.as_str())).map(|id| (label, list, id))
                }
                ListEntry::Item(_) => None,
            })
            .ok_or_else(|| malformed("no `keyid` is that of an access code"))?;
        let signature = match signatures.get(label) {
            Some(ListEntry::Item(Item { bare_item: BareItem::ByteSequence(bytes), .. })) => {
                bytes.as_slice().try_into().map_err(|_| malformed("an Ed25519 signature has 64 bytes"))?
            }
            _ => return Err(malformed("`Signature` has no byte sequence of the same label as `Signature-Input`")),
        };
        let (created, expires) = check_params(list)?;
        Self::covering(method, path, query, headers, list, key_id).map(|claim| Self { created, expires, signature, ..claim })
    }

    /// Builds the signature base, and sees that all that must be covered is.
    fn covering(
        method: &str,
        path: &str,
        query: Option<&str>,
        headers: &HeaderMap,
        list: &InnerList,
        key_id: KeyId,
    ) -> Result<Self, SignatureError> {
        if list.items.len() > COMPONENTS_MAX {
            return Err(malformed(format!("more than {COMPONENTS_MAX} components are covered")));
        }
        let mut base = String::with_capacity(512);
        let (mut covers_method, mut covers_path, mut covers_query) = (false, false, false);
        let (mut digest, mut idempotency_key) = (None, None);
        for (index, item) in list.items.iter().enumerate() {
            let name = item
                .bare_item
                .as_string()
                .map(|name| name.as_str())
                .ok_or_else(|| malformed("a component's name is no string"))?;
            if !item.params.is_empty() {
                return Err(malformed(format!("parameters of the component `{name}` are not supported")));
            }
            if list.items[..index].iter().any(|earlier| earlier.bare_item == item.bare_item) {
                return Err(malformed(format!("the component `{name}` is covered twice")));
            }
            match name {
                "@method" => {
                    covers_method = true;
                    push_line(&mut base, name, &[method]);
                }
                "@path" => {
                    covers_path = true;
                    push_line(&mut base, name, &[path_or_root(path)]);
                }
                "@query" => {
                    covers_query = true;
                    push_line(&mut base, name, &["?", query.unwrap_or_default()]);
                }
                _ if name.starts_with('@') => return Err(malformed(format!("the component `{name}` is not supported"))),
                _ => {
                    let header = HeaderName::from_lowercase(name.as_bytes())
                        .map_err(|_| malformed("a component's name is no header's"))?;
                    let value =
                        field(headers, &header)?.ok_or_else(|| malformed(format!("the covered header `{name}` is absent")))?;
                    push_line(&mut base, name, &[&value]);
                    if header == CONTENT_DIGEST {
                        digest = Some(value);
                    } else if header == IDEMPOTENCY_KEY {
                        idempotency_key = Some(value);
                    }
                }
            }
        }
        let needed = [(covers_method, "@method"), (covers_path, "@path"), (covers_query || query.is_none(), "@query")];
        if let Some((_, name)) = needed.into_iter().find(|(there, _)| !there) {
            return Err(not_covered(name));
        }
        let content_digest = digest.ok_or_else(|| not_covered("content-digest"))?;
        if method == "PUT" && idempotency_key.is_none() {
            return Err(if headers.contains_key(IDEMPOTENCY_KEY) {
                not_covered("idempotency-key")
            } else {
                SignatureError::NoIdempotencyKey
            });
        }
        // Written again from what was parsed, which keeps the order and is the one text that RFC 9421, 2.3 allows.
        push_params(&mut base, "");
        let mut params = ListSerializer::with_buffer(&mut base);
        let mut inner = params.inner_list();
        inner.items(&list.items);
        let _ = inner.finish().parameters(&list.params);
        Ok(Self { key_id, created: 0, expires: 0, base, signature: [0; 64], content_digest, idempotency_key })
    }

    /// The access code that the request claims to come from.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The covered `Idempotency-Key` as sent; [`idempotency_key_value`] reads it. Always there on PUT.
    pub fn idempotency_key(&self) -> Option<&str> {
        self.idempotency_key.as_deref()
    }

    /// Holds the signature's times against the service's clock (seconds since 1970).
    ///
    /// # Errors
    /// [`SignatureError::ClockSkew`] when it expired, or was made more than a minute in the future.
    pub fn check_times(&self, now_unix: i64) -> Result<(), SignatureError> {
        let seconds = self.created.saturating_sub(now_unix);
        if seconds > SKEW_SECONDS_MAX || self.expires < now_unix { Err(SignatureError::ClockSkew { seconds }) } else { Ok(()) }
    }

    /// Verifies the signature strictly, then holds the body against the digest that was signed.
    ///
    /// # Errors
    /// When either does not fit.
    pub fn verify(&self, key: &PublicSigningKey, body: &[u8]) -> Result<(), SignatureError> {
        self.verify_signature(key)?;
        check_content_digest(&self.content_digest, body).map_err(|error| match error {
            DigestError::Mismatch if body.is_empty() => SignatureError::BodyDropped,
            DigestError::Mismatch => SignatureError::DigestMismatch,
            other => malformed(other.to_string()),
        })
    }

    /// Whether the body is the one that the header says was signed. Proves nothing by itself.
    pub fn body_fits(&self, body: &[u8]) -> bool {
        check_content_digest(&self.content_digest, body).is_ok()
    }

    fn verify_signature(&self, key: &PublicSigningKey) -> Result<(), SignatureError> {
        let key = VerifyingKey::from_bytes(key.as_bytes()).map_err(|_| SignatureError::Invalid)?;
        key.verify_strict(self.base.as_bytes(), &Signature::from_bytes(&self.signature)).map_err(|_| SignatureError::Invalid)
    }
}

fn not_covered(name: &str) -> SignatureError {
    malformed(format!("`{name}` is not covered"))
}

/// The signature's parameters: all known, times there and close enough.
fn check_params(list: &InnerList) -> Result<(i64, i64), SignatureError> {
    let (mut created, mut expires) = (None, None);
    for (name, value) in &list.params {
        match (name.as_str(), value) {
            ("created", BareItem::Integer(seconds)) => created = Some(i64::from(*seconds)),
            ("expires", BareItem::Integer(seconds)) => expires = Some(i64::from(*seconds)),
            ("alg", BareItem::String(alg)) if alg.as_str() == "ed25519" => {}
            ("keyid" | "nonce" | "tag", BareItem::String(_)) => {}
            (name, _) => return Err(malformed(format!("the parameter `{name}` is unknown or has a wrong value"))),
        }
    }
    let (Some(created), Some(expires)) = (created, expires) else {
        return Err(malformed("`created` and `expires` are needed"));
    };
    // Structured integers have 15 digits, so this can't overflow.
    match expires - created {
        0..=LIFETIME_SECONDS_MAX => Ok((created, expires)),
        _ => Err(malformed(format!("`expires` is to be at most {LIFETIME_SECONDS_MAX} s after `created`"))),
    }
}

/// A header's value as RFC 9421, 2.1 wants it: all lines trimmed, joined by `, `.
fn field(headers: &HeaderMap, name: impl AsHeaderName) -> Result<Option<String>, SignatureError> {
    let mut joined: Option<String> = None;
    for line in headers.get_all(name) {
        let line = line.to_str().map_err(|_| malformed("a covered header is not ASCII"))?.trim_matches([' ', '\t']);
        match &mut joined {
            None => joined = Some(line.to_owned()),
            Some(joined) => {
                joined.push_str(", ");
                joined.push_str(line);
            }
        }
    }
    Ok(joined)
}

fn dictionary(headers: &HeaderMap, name: &HeaderName, called: &'static str) -> Result<Dictionary, SignatureError> {
    let text = field(headers, name)?.ok_or(SignatureError::Missing { header: called })?;
    if text.len() > HEADER_BYTES_MAX {
        return Err(malformed(format!("the header `{called}` is longer than {HEADER_BYTES_MAX} bytes")));
    }
    Parser::new(&text).parse().map_err(|_| malformed(format!("the header `{called}` is no dictionary of structured fields")))
}

/// The header `Idempotency-Key` can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the header `Idempotency-Key` is no string of 1 to {IDEMPOTENCY_KEY_BYTES_MAX} printable characters")]
pub struct IdempotencyKeyError;

impl Explain for IdempotencyKeyError {
    fn code(&self) -> Code {
        Code::BadRequest
    }
}

/// The value of an `Idempotency-Key`, which is a string in quotes by the draft, and bare from most clients.
///
/// # Errors
/// When it is neither, empty or too long.
pub fn idempotency_key_value(header: &str) -> Result<String, IdempotencyKeyError> {
    let text = header.trim_matches([' ', '\t']);
    let value = if text.starts_with('"') {
        match Parser::new(text).parse::<Item>() {
            Ok(Item { bare_item: BareItem::String(value), params }) if params.is_empty() => value.as_str().to_owned(),
            _ => return Err(IdempotencyKeyError),
        }
    } else if text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b',' | b';')) {
        text.to_owned()
    } else {
        return Err(IdempotencyKeyError);
    };
    if value.is_empty() || value.len() > IDEMPOTENCY_KEY_BYTES_MAX { Err(IdempotencyKeyError) } else { Ok(value) }
}

#[cfg(test)]
mod tests;
