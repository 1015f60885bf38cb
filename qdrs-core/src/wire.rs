//! What the hub's client and the service's client share: how an HTTP client is built, and what a failed call means.
//!
//! The one question that matters after a failure is whether anything can have been sent. [`Failure`] answers it, and
//! when in doubt says that it was.

use std::{error::Error, io, net::IpAddr, time::Duration};

use http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Certificate, ClientBuilder, Response, Url, redirect, retry};
use zeroize::Zeroizing;

/// How long connecting may take, TLS and all.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long an idle connection is kept: less than what servers and the boxes between keep it.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest wait that a `Retry-After` can ask for; more is taken for a mistake.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Everything but RFC 3986's unreserved characters.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why a PEM file can't be used.
#[derive(Debug)]
pub(crate) struct BadCa(pub(crate) String);

/// What became of a call that has no whole answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No connection: not a byte of the request was sent.
    NotSent(String),
    /// No connection either: the other side's certificate is not trusted. `clock`: it is outside its dates, so this
    /// computer's clock may be the one that is wrong.
    Untrusted { why: String, clock: bool },
    /// Sent, or may be, and then no answer in time.
    TimedOut,
    /// Sent, or may be, and then the connection broke.
    Broken(String),
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        if error.is_connect() {
            match certificate_error(&error) {
                Some(certificate) => Self::Untrusted {
                    why: rustls::Error::InvalidCertificate(certificate.clone()).to_string(),
                    clock: matches!(
                        certificate,
                        rustls::CertificateError::Expired
                            | rustls::CertificateError::ExpiredContext { .. }
                            | rustls::CertificateError::NotValidYet
                            | rustls::CertificateError::NotValidYetContext { .. }
                    ),
                },
                None if error.is_timeout() => Self::NotSent(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs())),
                None => Self::NotSent(innermost(&error)),
            }
        } else if error.is_builder() {
            Self::NotSent(innermost(&error))
        } else if error.is_timeout() {
            Self::TimedOut
        } else {
            Self::Broken(innermost(&error))
        }
    }
}

impl Failure {
    /// The first cause of an error, for a person.
    pub(crate) fn text(error: reqwest::Error) -> String {
        innermost(&error)
    }
}

/// The certificate's fault, wherever in the chain of causes it is.
fn certificate_error(error: &reqwest::Error) -> Option<&rustls::CertificateError> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(found)) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // An `io::Error` hides the error it wraps: `source` skips it.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// The first cause of all: the only text of the chain that tells a person something.
fn innermost(error: &reqwest::Error) -> String {
    let mut deepest: &dyn Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    match deepest.downcast_ref::<reqwest::Error>() {
        // Its text would name the URL, and little else.
        Some(_) => "the connection failed".to_owned(),
        None => deepest.to_string(),
    }
}

/// Is it this very computer, by its name or number?
pub(crate) fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        host.eq_ignore_ascii_case("localhost")
            || host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

/// May credentials go there: over TLS, or in clear to this computer only?
pub(crate) fn is_private(url: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => is_loopback(url),
        _ => false,
    }
}

/// How both clients are built: kept connections, no delay, no redirects (a signature would not survive one), and no
/// try but the one that was asked for.
pub(crate) fn client(url: &Url, ca_pem: Option<&[u8]>) -> Result<ClientBuilder, BadCa> {
    crate::install_crypto();
    let mut builder = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .tcp_nodelay(true)
        .redirect(redirect::Policy::none())
        .referer(false)
        .retry(retry::never());
    if is_loopback(url) {
        // A proxy has no business between this computer and itself.
        builder = builder.no_proxy();
    }
    if let Some(pem) = ca_pem {
        let certificates = Certificate::from_pem_bundle(pem).map_err(|error| BadCa(innermost(&error)))?;
        if certificates.is_empty() {
            return Err(BadCa("it holds no certificate in PEM form".to_owned()));
        }
        builder = builder.tls_certs_merge(certificates);
    } else if url.scheme() == "http" {
        // No TLS will be spoken, so a bare machine without any trusted root will do.
        builder = builder.tls_certs_only([]);
    }
    Ok(builder)
}

/// One segment of a path, percent-encoded; none when no encoding keeps it: a URL takes `.` and `..` for steps.
pub(crate) fn segment(text: &str) -> Option<String> {
    (!matches!(text, "" | "." | "..")).then(|| utf8_percent_encode(text, SEGMENT).to_string())
}

/// The header `Retry-After`: seconds, or a date.
pub(crate) fn retry_after(headers: &HeaderMap, now: jiff::Timestamp) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            Duration::try_from(date.duration_since(now)).unwrap_or_default()
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// How far this computer's clock is ahead of the sender's `Date`, in seconds; negative when it is behind.
pub(crate) fn ahead_of_date(headers: &HeaderMap, now: jiff::Timestamp) -> Option<i64> {
    let date = jiff::fmt::rfc2822::parse(headers.get(http::header::DATE)?.to_str().ok()?.trim()).ok()?.timestamp();
    Some(now.as_second() - date.as_second())
}

/// Why an answer's body can't be had.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// Longer than the limit.
    TooLong,
    /// It broke off, or did not come in time.
    Failed(Failure),
}

/// The whole body, or an error as soon as it is longer than the limit. Wiped when dropped, since it may hold a key.
pub(crate) async fn body(mut response: Response, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, BodyError> {
    let announced = response.content_length().unwrap_or(0);
    if announced > bytes_max as u64 {
        return Err(BodyError::TooLong);
    }
    // Room for all that may come, so that growing leaves no copies behind.
    let mut body = Zeroizing::new(Vec::with_capacity(bytes_max));
    while let Some(chunk) = response.chunk().await.map_err(|error| BodyError::Failed(error.into()))? {
        if body.len() + chunk.len() > bytes_max {
            return Err(BodyError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A text from the other side made fit for a terminal and a log: no control characters, not endless.
pub(crate) fn plain(text: &str, chars_max: usize) -> String {
    let one_line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let trimmed = one_line.trim();
    match trimmed.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &trimmed[..end]),
        None => trimmed.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    #[test]
    fn plain_http_is_private_only_to_this_computer() {
        for private in ["https://qdrs.example", "http://localhost:1", "http://127.0.0.9", "http://[::1]:80", "https://10.0.0.1"] {
            assert!(is_private(&url(private)), "{private}");
        }
        for open in
            ["http://qdrs.example", "http://10.0.0.1", "http://localhost.example", "http://127.0.0.1.example", "ftp://localhost"]
        {
            assert!(!is_private(&url(open)), "{open}");
        }
    }

    #[test]
    fn a_segment_stays_one_segment() {
        assert_eq!(segment("QD-7_a.b~c").as_deref(), Some("QD-7_a.b~c"));
        assert_eq!(segment("a/b?c#d%2F e:é").as_deref(), Some("a%2Fb%3Fc%23d%252F%20e%3A%C3%A9"));
        assert_eq!([segment(""), segment("."), segment("..")], [None, None, None]);
        let mut url = url("https://h/");
        for text in ["a/b", "...", "%2e", "%2E%2e", "..%2f"] {
            let raw = format!("/v1/devices/{}/x", segment(text).expect("kept"));
            url.set_path(&raw);
            assert_eq!(url.path(), raw, "what is signed must be what is sent");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: jiff::Timestamp = "1994-11-06T08:49:00Z".parse().expect("a time");
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::RETRY_AFTER, text.parse().expect("a header"));
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!(read("7"), Some(7));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(37));
        assert_eq!(read("Sun, 06 Nov 1994 08:40:00 GMT"), Some(0));
        assert_eq!(read("99999999999"), Some(3600));
        assert_eq!(read("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn the_date_tells_how_far_this_clock_is_ahead() {
        let now: jiff::Timestamp = "1994-11-06T08:49:00Z".parse().expect("a time");
        let read =
            |text: &str| ahead_of_date(&HeaderMap::from_iter([(http::header::DATE, text.parse().expect("a header"))]), now);
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(-37));
        assert_eq!(read("Sun, 06 Nov 1994 06:49:00 GMT"), Some(7200));
        assert_eq!((read("yesterday"), ahead_of_date(&HeaderMap::new(), now)), (None, None));
    }

    #[test]
    fn a_foreign_text_is_one_short_line() {
        assert_eq!(plain("a\u{1b}[2J\r\nb", 80), "a [2J  b");
        assert_eq!(plain("äöü", 2), "äö…");
    }
}
