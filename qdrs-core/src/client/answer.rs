//! What the service's answers mean: bytes in, a verdict out. Knows no connection and does not wait.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header::LOCATION};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::ClientError;
use crate::{
    api::{Code, Problem, VERSION},
    wire::{self, plain},
};

/// How much of the service's texts is shown, in characters.
const TEXT_CHARS_MAX: usize = 600;

/// What follows from one try.
#[derive(Debug)]
pub(super) enum Verdict {
    /// An answer.
    Done(StatusCode, Zeroizing<Vec<u8>>),
    /// Asking again may help, after this long at least.
    Again { error: ClientError, at_least: Option<Duration> },
    /// Asking again helps once the clock is corrected.
    Skewed { server_unix: i64, error: ClientError },
    /// Asking again does not help.
    Over(ClientError),
}

/// What an answer means.
pub(super) fn judge(service: &str, status: StatusCode, headers: &HeaderMap, body: Zeroizing<Vec<u8>>) -> Verdict {
    if status.is_success() {
        return Verdict::Done(status, body);
    }
    let header = wire::retry_after(headers, Timestamp::now());
    let Some(problem) = problem(status, &body) else { return without_problem(service, status, headers, header) };
    let asked = problem.retry_after.map(|seconds| Duration::from_secs(seconds).min(Duration::from_secs(3600)));
    let at_least = header.max(asked);
    let (code, server_time) = (Code::find(&problem.code), problem.server_time);
    let error = ClientError::Refused(Box::new(problem));
    match (code, server_time) {
        (Some(Code::ClockSkew), Some(time)) => Verdict::Skewed { server_unix: time.as_second(), error },
        (Some(Code::ClockSkew), None) => Verdict::Over(error),
        // The table decides: a 503 may be for the owner to mend.
        (Some(code), _) if code.row().status.is_some() => {
            if code.row().retry {
                Verdict::Again { error, at_least }
            } else {
                Verdict::Over(error)
            }
        }
        _ if passing(status) => Verdict::Again { error, at_least },
        _ => Verdict::Over(error),
    }
}

/// Something between answers, or a service of another kind.
fn without_problem(service: &str, status: StatusCode, headers: &HeaderMap, at_least: Option<Duration>) -> Verdict {
    if passing(status) {
        let error = ClientError::Unreachable { service: service.to_owned(), why: format!("it answers {}", status.as_u16()) };
        return Verdict::Again { error, at_least };
    }
    let why = match headers.get(LOCATION).and_then(|location| location.to_str().ok()) {
        Some(location) if status.is_redirection() => format!("it points to `{}`, which is not followed", plain(location, 200)),
        _ => format!("it is {} and does not say why", status.as_u16()),
    };
    Verdict::Over(ClientError::Answer { why })
}

/// Statuses that pass by themselves.
fn passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 502 | 503 | 504)
}

/// A problem document, read leniently: a member that is missing or of the wrong type is left out, and only without any
/// usable code is it none at all. Texts are made fit for a terminal.
fn problem(status: StatusCode, body: &[u8]) -> Option<Problem> {
    let Ok(Value::Object(document)) = serde_json::from_slice::<Value>(body) else { return None };
    let text = |name: &str| document.get(name).and_then(Value::as_str).map(|text| plain(text, TEXT_CHARS_MAX));
    let kind = text("type").unwrap_or_default();
    let is_code = |code: &str| {
        (1..=64).contains(&code.len())
            && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let code = text("code").filter(|code| is_code(code)).or_else(|| {
        let last = kind.rsplit('/').next()?;
        (kind.contains("problems/") && is_code(last)).then(|| last.to_owned())
    })?;
    Some(Problem {
        title: text("title").unwrap_or_default(),
        status: status.as_u16(),
        detail: text("detail").unwrap_or_default(),
        help: text("help").unwrap_or_default(),
        retry_after: document.get("retry_after").and_then(Value::as_u64),
        state: member(&document, "state"),
        station: text("station"),
        since: member(&document, "since"),
        yours: document.get("yours").and_then(Value::as_bool),
        journal: member(&document, "journal"),
        reservation: member(&document, "reservation"),
        server_time: member(&document, "server_time"),
        kind,
        code,
    })
}

fn member<T: DeserializeOwned>(document: &Map<String, Value>, name: &str) -> Option<T> {
    document.get(name).and_then(|value| T::deserialize(value).ok())
}

/// The version that every answer begins with.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

/// The answer itself.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ClientError> {
    let wrong = |why: String| ClientError::Answer { why };
    let Head { version } = serde_json::from_slice(body).map_err(|_| wrong("it is none of a QDRS service".to_owned()))?;
    if version != VERSION {
        return Err(wrong(format!("it is of version {version}, and this program knows version {VERSION}")));
    }
    serde_json::from_slice(body).map_err(|error| wrong(plain(&error.to_string(), TEXT_CHARS_MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judged(status: u16, retry_after: Option<&str>, body: &str) -> Verdict {
        let mut headers = HeaderMap::new();
        if let Some(text) = retry_after {
            headers.insert(http::header::RETRY_AFTER, text.parse().expect("a header"));
        }
        let status = StatusCode::from_u16(status).expect("a status");
        judge("https://qdrs.example", status, &headers, Zeroizing::new(body.as_bytes().to_vec()))
    }

    fn coded(code: &str) -> String {
        format!(r#"{{"type":"/problems/{code}","title":"T","status":400,"code":"{code}"}}"#)
    }

    #[test]
    fn the_table_says_what_is_asked_again() {
        for code in Code::ALL.iter().filter(|code| code.row().status.is_some() && **code != Code::ClockSkew) {
            let verdict = judged(code.row().status.expect("filtered"), None, &coded(code.as_str()));
            let again = matches!(verdict, Verdict::Again { .. });
            assert_eq!(again, code.row().retry, "{code}");
        }
    }

    #[test]
    fn without_a_known_code_the_status_says_it() {
        for status in [408, 425, 429, 502, 503, 504] {
            assert!(
                matches!(judged(status, None, "<html>"), Verdict::Again { error: ClientError::Unreachable { .. }, .. }),
                "{status}"
            );
            assert!(
                matches!(judged(status, None, &coded("new-thing")), Verdict::Again { error: ClientError::Refused(_), .. }),
                "{status}"
            );
        }
        for status in [302, 400, 401, 403, 404, 409, 422, 500, 501] {
            assert!(matches!(judged(status, None, "<html>"), Verdict::Over(ClientError::Answer { .. })), "{status}");
            assert!(matches!(judged(status, None, &coded("new-thing")), Verdict::Over(ClientError::Refused(_))), "{status}");
        }
    }

    #[test]
    fn the_longer_of_both_waits_counts() {
        let wait = |header, body: &str| match judged(503, header, body) {
            Verdict::Again { at_least, .. } => at_least.map(|wait| wait.as_secs()),
            other => panic!("{other:?}"),
        };
        assert_eq!(wait(Some("7"), r#"{"code":"hub-throttled","retry_after":12}"#), Some(12));
        assert_eq!(wait(Some("17"), r#"{"code":"hub-throttled","retry_after":12}"#), Some(17));
        assert_eq!(wait(None, r#"{"code":"hub-throttled","retry_after":99999999}"#), Some(3600));
        assert_eq!(wait(Some("5"), "<html>"), Some(5));
        assert_eq!(wait(None, "<html>"), None);
    }

    #[test]
    fn a_problem_is_read_as_far_as_it_makes_sense() {
        let body = r#"{"type":"/problems/serial-taken","status":"odd","detail":"a\u001b[2Jb","state":"confirmed","station":7,
            "yours":true,"since":"yesterday","server_time":"2026-11-24T06:00:00Z","shape":"teapot"}"#;
        let Verdict::Over(ClientError::Refused(problem)) = judged(409, None, body) else { panic!("refused") };
        assert_eq!((problem.code.as_str(), problem.status, problem.detail.as_str()), ("serial-taken", 409, "a [2Jb"));
        assert_eq!((problem.state, problem.station, problem.yours), (Some(crate::api::State::Confirmed), None, Some(true)));
        assert_eq!(
            (problem.since, problem.server_time.map(|time| time.to_string())),
            (None, Some("2026-11-24T06:00:00Z".to_owned()))
        );
    }

    #[test]
    fn an_answer_of_another_version_is_refused_with_a_sentence() {
        let error = read::<crate::api::Confirmation>(br#"{"version":2,"serial":"x"}"#).expect_err("newer");
        assert_eq!(
            error.to_string(),
            "the service's answer makes no sense: it is of version 2, and this program knows version 1"
        );
        assert!(read::<crate::api::Confirmation>(b"<html>").is_err());
    }

    proptest! {
        #[test]
        fn no_answer_breaks_the_reader(status in 100u16..1000, header in "[ -~]{0,30}", body in ".{0,200}") {
            let _ = judged(status, Some(&header), &body);
        }
    }
}
