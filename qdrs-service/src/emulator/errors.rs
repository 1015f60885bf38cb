//! How the hub says no: its error codes, the texts seen on live hubs, and the envelope they travel in.
//!
//! Holds always: every refusal carries the header `iothub-errorcode`, for the vendor's SDKs read that first.
//! Source: the vendor's SDKs and REST documents; texts from published answers of live hubs.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};

/// An answer as it goes to the socket.
pub(super) type Answer = Response<Full<Bytes>>;

/// One of the hub's error codes: HTTP status, name and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) number: u32,
}

macro_rules! kinds {
    ($($name:ident = $status:ident, $code:literal, $number:literal;)*) => {
        $(pub(super) const $name: Kind = Kind { status: StatusCode::$status, code: $code, number: $number };)*
        #[cfg(test)]
        const ALL: &[Kind] = &[$($name),*];
    };
}

kinds! {
    INVALID_PROTOCOL_VERSION = BAD_REQUEST, "InvalidProtocolVersion", 400_001;
    ARGUMENT_INVALID = BAD_REQUEST, "ArgumentInvalid", 400_004;
    FORMAT_ERROR = BAD_REQUEST, "IotHubFormatError", 400_006;
    DEVICE_DEFINED_MULTIPLE_TIMES = BAD_REQUEST, "DeviceDefinedMultipleTimes", 400_011;
    DESERIALIZATION_ERROR = BAD_REQUEST, "DeserializationError", 400_012;
    BULK_FAILURE = BAD_REQUEST, "BulkRegistryOperationFailure", 400_013;
    UNAUTHORIZED = UNAUTHORIZED, "IotHubUnauthorizedAccess", 401_002;
    QUOTA_EXCEEDED = FORBIDDEN, "IotHubQuotaExceeded", 403_002;
    DEVICE_NOT_FOUND = NOT_FOUND, "DeviceNotFound", 404_001;
    DEVICE_ALREADY_EXISTS = CONFLICT, "DeviceAlreadyExists", 409_001;
    PRECONDITION_FAILED = PRECONDITION_FAILED, "PreconditionFailed", 412_001;
    MESSAGE_TOO_LARGE = PAYLOAD_TOO_LARGE, "MessageTooLarge", 413_001;
    TOO_MANY_DEVICES = PAYLOAD_TOO_LARGE, "TooManyDevices", 413_002;
    THROTTLING_BACKLOG_TIMEOUT = TOO_MANY_REQUESTS, "ThrottlingBacklogTimeout", 429_003;
    SERVER_ERROR = INTERNAL_SERVER_ERROR, "ServerError", 500_001;
    SERVICE_UNAVAILABLE = SERVICE_UNAVAILABLE, "ServiceUnavailable", 503_001;
}

/// A refusal: which code, and what the hub says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) kind: Kind,
    pub(super) text: String,
    /// Seconds for `Retry-After`; the real hub sends none, not even with a 429.
    pub(super) retry_after: Option<u64>,
}

impl Refusal {
    pub(super) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), retry_after: None }
    }

    pub(super) fn argument(text: impl Into<String>) -> Self {
        Self::new(ARGUMENT_INVALID, text)
    }

    /// For every call that this emulator does not know.
    pub(super) fn not_supported() -> Self {
        Self::argument("not supported by the emulator")
    }

    /// The hub's text is the device id itself.
    pub(super) fn not_found(device_id: &str) -> Self {
        Self::new(DEVICE_NOT_FOUND, device_id)
    }

    pub(super) fn already_exists(device_id: &str) -> Self {
        Self::new(DEVICE_ALREADY_EXISTS, format!("A device with ID '{device_id}' is already registered."))
    }

    pub(super) fn stale() -> Self {
        Self::new(PRECONDITION_FAILED, "PreconditionFailed, ETag may be invalid.")
    }

    /// One answer for a missing, malformed, expired or wrongly signed token, and for a right that it lacks.
    pub(super) fn unauthorized() -> Self {
        Self::new(UNAUTHORIZED, "Unauthorized")
    }

    pub(super) fn full(devices_max: usize) -> Self {
        let text =
            format!("Total number of devices on IotHub exceeded the allocated quota. Max allowed device count : '{devices_max}'");
        Self::new(QUOTA_EXCEEDED, text)
    }

    pub(super) fn throttled(retry_after: Option<u64>) -> Self {
        let text = "The request has been throttled. Wait 10 seconds and try again. Operation type: CRUD";
        Self { kind: THROTTLING_BACKLOG_TIMEOUT, text: text.into(), retry_after }
    }

    /// A body that can't be read: not JSON at all, or JSON of another shape.
    pub(super) fn body(error: &serde_json::Error) -> Self {
        match error.classify() {
            serde_json::error::Category::Data => Self::new(
                DESERIALIZATION_ERROR,
                format!("Error converting value at line {}, column {}", error.line(), error.column()),
            ),
            _ => Self::new(FORMAT_ERROR, "The body is not well-formed JSON"),
        }
    }

    pub(super) fn answer(&self) -> Answer {
        let mut answer = envelope(self.kind.status, self.kind.code, &self.text);
        let headers = answer.headers_mut();
        if self.kind == UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("SharedAccessSignature"));
        }
        if self.kind == THROTTLING_BACKLOG_TIMEOUT {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

/// Envelope A of the registry; a code that no header can hold stands in the body only.
pub(super) fn envelope(status: StatusCode, code: &str, text: &str) -> Answer {
    let body = json!({
        "Message": format!("ErrorCode:{code};{text}"),
        "ExceptionMessage": format!("Tracking ID:{}", tracking_id()),
    });
    let mut answer = json_answer(status, &body);
    if let Ok(code) = HeaderValue::from_str(code) {
        answer.headers_mut().insert("iothub-errorcode", code);
    }
    answer
}

/// What a fault rule tells the hub to answer; without a code what a proxy might. A status that is none counts as 500.
pub(super) fn stated(status: u16, code: &str, text: &str) -> Answer {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if !code.is_empty() {
        return envelope(status, code, text);
    }
    let mut answer = Response::new(Full::new(Bytes::from(text.to_owned())));
    *answer.status_mut() = status;
    answer
}

/// An answer with a JSON body and the headers that every answer has.
pub(super) fn json_answer(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())));
    *answer.status_mut() = status;
    // Node's SDK reads a body only if this holds `application/json`.
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    with_request_id(answer)
}

/// 204 without a body.
pub(super) fn no_content() -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    with_request_id(answer)
}

fn with_request_id(mut answer: Answer) -> Answer {
    if let Ok(id) = HeaderValue::from_str(&random_hex()) {
        answer.headers_mut().insert("x-ms-request-id", id);
    }
    answer
}

/// `{32 hex}-G:{n}-TimeStamp:{MM/dd/yyyy HH:mm:ss}`: what the vendor's support asks for.
fn tracking_id() -> String {
    let now = jiff::tz::TimeZone::UTC.to_datetime(jiff::Timestamp::now());
    format!("{}-G:1-TimeStamp:{}", random_hex(), now.strftime("%m/%d/%Y %H:%M:%S"))
}

/// 16 random bytes in lower-case hex; zeros should the system have none, for it is only a label.
fn random_hex() -> String {
    let mut bytes = [0; 16];
    let _ = getrandom::fill(&mut bytes);
    data_encoding::HEXLOWER.encode(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kinds_number_begins_with_its_status() {
        for kind in ALL {
            assert_eq!(kind.number / 1000, u32::from(kind.status.as_u16()), "{}", kind.code);
        }
    }

    #[test]
    fn a_tracking_id_has_the_vendors_form() {
        let id = tracking_id();
        let (hex, rest) = id.split_once("-G:").expect("has a group");
        assert!(hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        let (_, time) = rest.split_once("-TimeStamp:").expect("has a time");
        assert!(jiff::civil::DateTime::strptime("%m/%d/%Y %H:%M:%S", time).is_ok(), "{id}");
    }

    #[test]
    fn a_throttled_answer_closes_and_names_no_time() {
        let answer = Refusal::throttled(None).answer();
        assert_eq!((answer.status().as_u16(), answer.headers().get("retry-after")), (429, None));
        assert_eq!(answer.headers()["connection"], "close");
        assert_eq!(answer.headers()["iothub-errorcode"], "ThrottlingBacklogTimeout");
        assert_eq!(Refusal::throttled(Some(3)).answer().headers()["retry-after"], "3");
    }
}
