//! Method, path and query of a request as its caller signed them, where a proxy stands between.
//!
//! A proxy may put a prefix before the path or take one off. The setting `path_prefix` names it: the routes are found without
//! it, and a signature over the path with or without it is taken, since both mean the same. What else was changed fails the
//! signature; then the request's own hints, unsigned, only serve to say what it was.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, Method, Uri, request::Parts, uri::PathAndQuery},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use qdrs_core::access::{
    PublicSigningKey,
    sign::{Claim, SIGNED_TARGET, SignatureError, Target, is_path_prefix},
};

/// How many signatures over other targets are tried to find what was changed; each costs a verification.
const GUESSES_MAX: usize = 8;

/// In which headers proxies put the path that they were asked for.
const ORIGINAL_PATHS: [HeaderName; 6] = [
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-original-uri"),
    HeaderName::from_static("x-forwarded-uri"),
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("x-replaced-path"),
    HeaderName::from_static("x-envoy-original-path"),
];

/// In which header proxies put the prefix that they took off.
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Everything but RFC 3986's unreserved characters.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Takes the prefix off the path, so that it is a route's.
pub(super) fn without_prefix(prefix: &str, mut request: Request) -> Request {
    let Some(rest) = request.uri().path().strip_prefix(prefix).filter(|rest| rest.starts_with('/')) else { return request };
    let target = request.uri().query().map_or_else(|| rest.to_owned(), |query| format!("{rest}?{query}"));
    let mut parts = request.uri().clone().into_parts();
    // What is left of a path and query is a path and query.
    if let Ok(target) = PathAndQuery::try_from(target) {
        parts.path_and_query = Some(target);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// What the answer about an unknown address or method adds: what the client sent, or which setting may be missing.
pub(super) fn hint(method: &Method, uri: &Uri, headers: &HeaderMap) -> String {
    let sent = headers.get(SIGNED_TARGET).and_then(|value| value.to_str().ok()).and_then(Target::parse);
    match (sent, uri.path().find("/v1/")) {
        (Some(sent), _) if (sent.method.as_str(), &*sent.path) != (method.as_str(), uri.path()) => {
            format!("; the client sent `{sent}`, so a proxy changed it on the way")
        }
        (_, Some(end)) if is_path_prefix(&uri.path()[..end]) => {
            let prefix = &uri.path()[..end];
            format!("; if a proxy adds `{prefix}` or passes it on, the owner sets `path_prefix = \"{prefix}\"` under `[network]`")
        }
        _ => String::new(),
    }
}

/// What a request's signature is held against: its path without the prefix, then with it.
pub(super) struct Arrived {
    target: Target,
    with_prefix: Option<Target>,
    headers: HeaderMap,
}

impl Arrived {
    pub(super) fn new(prefix: &str, parts: &Parts) -> Self {
        let target = Target {
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
        };
        let with_prefix = (!prefix.is_empty()).then(|| Target { path: format!("{prefix}{}", target.path), ..target.clone() });
        Self { target, with_prefix, headers: parts.headers.clone() }
    }

    /// Reads the signature.
    ///
    /// # Errors
    /// As [`Claim::parse`].
    pub(super) fn claim(&self) -> Result<Claim, SignatureError> {
        self.claim_of(&self.target)
    }

    fn claim_of(&self, target: &Target) -> Result<Claim, SignatureError> {
        Claim::parse(&target.method, &target.path, target.query.as_deref(), &self.headers)
    }

    /// Verifies the signature and the body.
    ///
    /// # Errors
    /// When neither the path with the prefix nor the one without it was signed with this key; with `explains`, with what was
    /// changed if that can be found.
    pub(super) fn verify(
        &self,
        claim: &Claim,
        key: &PublicSigningKey,
        body: &[u8],
        explains: bool,
    ) -> Result<(), SignatureError> {
        match claim.verify(key, body) {
            Err(SignatureError::Invalid) => {}
            end => return end,
        }
        if let Some(target) = &self.with_prefix {
            match self.claim_of(target)?.verify(key, body) {
                Err(SignatureError::Invalid) => {}
                end => return end,
            }
        }
        if !explains {
            return Err(SignatureError::Invalid);
        }
        let fits = |target: &Target| {
            self.claim_of(target).is_ok_and(|claim| !matches!(claim.verify(key, body), Err(SignatureError::Invalid)))
        };
        Err(match self.guesses().into_iter().take(GUESSES_MAX).find(fits) {
            Some(signed) => SignatureError::ChangedOnTheWay { signed: Box::new(signed), arrived: Box::new(self.target.clone()) },
            None if claim.body_fits(body) => SignatureError::Elsewhere { arrived: Box::new(self.target.clone()) },
            None => SignatureError::Invalid,
        })
    }

    /// True if the client says that it signed the request.
    pub(super) fn says_signed(&self) -> bool {
        self.headers.contains_key(SIGNED_TARGET)
    }

    /// What may have been signed, the likeliest first.
    fn guesses(&self) -> Vec<Target> {
        let header = |name: &HeaderName| self.headers.get(name).and_then(|value| value.to_str().ok());
        let path = |path: String| Target { path, ..self.target.clone() };
        let mut guesses: Vec<Target> = header(&SIGNED_TARGET).and_then(Target::parse).into_iter().collect();
        guesses.extend(
            header(&FORWARDED_PREFIX).map(|prefix| path(format!("{}{}", prefix.trim_end_matches('/'), self.target.path))),
        );
        for original in ORIGINAL_PATHS.iter().filter_map(header) {
            if let Ok(uri) = original.parse::<Uri>() {
                let query = uri.query().map(str::to_owned).or_else(|| self.target.query.clone());
                guesses.push(Target { path: uri.path().to_owned(), query, ..self.target.clone() });
            }
        }
        // A proxy that decodes what needs no encoding, or that writes hexadecimal digits in the other case.
        let encoded = encoded(&self.target.path);
        guesses.extend([path(in_lower_hex(&self.target.path)), path(in_lower_hex(&encoded)), path(encoded)]);
        guesses.retain(|guess| *guess != self.target && Some(guess) != self.with_prefix.as_ref());
        guesses
    }
}

/// The same path with all encoded that may be.
fn encoded(path: &str) -> String {
    let segment = |segment| utf8_percent_encode(&percent_decode_str(segment).decode_utf8_lossy(), SEGMENT).to_string();
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// The same path with `%2f` for `%2F`.
fn in_lower_hex(path: &str) -> String {
    let mut left = 0;
    let lower = |character: char| {
        let is_digit = left > 0;
        left = if character == '%' { 2 } else { left - i32::from(is_digit) };
        if is_digit { character.to_ascii_lowercase() } else { character }
    };
    path.chars().map(lower).collect()
}
