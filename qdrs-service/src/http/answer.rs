//! How a refusal becomes an answer: problem+json from the one table, whoever refused.
//!
//! Axum's own refusals (no such route, wrong method, a body that is too long) and panics come through here as well, so a
//! client meets one shape only. What went wrong inside goes to the log, never to the caller.

use std::any::Any;

use axum::{
    body::Body,
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use qdrs_core::{
    api::{Code, Problem},
    explain::Explain,
};

use crate::{limits::Wait, registrar::Refusal};

/// The media type of every refusal (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";
/// A detail that quotes the request (a JSON error, a path) is cut after so many characters.
const DETAIL_CHARS_MAX: usize = 300;

/// What the log says of a refusal; travels beside the answer, not in it.
#[derive(Debug, Clone)]
pub struct Said {
    /// The problem's code.
    pub code: String,
    /// The problem's detail.
    pub detail: String,
    /// What went wrong inside; for the log only.
    pub cause: Option<String>,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // A problem is a flat struct of strings and numbers: serialising it can't fail.
        let body = serde_json::to_vec(&self.problem).unwrap_or_default();
        let mut response = (status, Body::from(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = self.problem.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        let said = Said { code: self.problem.code, detail: self.problem.detail, cause: self.cause };
        response.extensions_mut().insert(said);
        response
    }
}

/// A refusal for an error that explains itself.
pub fn refuse(error: &dyn Explain) -> Refusal {
    let mut refusal = bad(error.code(), error.to_string());
    // It may know more about this very case than the table does.
    refusal.problem.help = error.help();
    refusal
}

/// A refusal with a detail that may quote the request.
pub fn bad(code: Code, detail: impl AsRef<str>) -> Refusal {
    Refusal::from((code, shown(detail.as_ref(), DETAIL_CHARS_MAX)))
}

/// What others have written, for one line: cut after so many characters, control characters escaped.
pub fn shown(text: &str, chars_max: usize) -> String {
    let mut shown = String::new();
    for (count, char) in text.chars().enumerate() {
        if count == chars_max {
            shown.push('…');
            break;
        }
        if char.is_control() { shown.extend(char.escape_default()) } else { shown.push(char) }
    }
    shown
}

/// A refusal for a rate that is used up. The wait stands in `retry_after` and nowhere else: a client that waits longer
/// prints its own.
pub fn wait(code: Code, wait: Wait) -> Refusal {
    let mut problem = Problem::new(code, "the rate limit is reached");
    problem.retry_after = Some(wait.seconds);
    Refusal { problem: Box::new(problem), cause: None }
}

/// The answer of a handler that panicked: our fault, and only the log says which.
pub fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let refusal = Refusal::new(Code::Internal, "the service's log has the cause");
    Refusal { cause: Some(format!("panic: {}", words.unwrap_or("without words"))), ..refusal }.into_response()
}
