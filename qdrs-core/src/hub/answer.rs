//! What IoT Hub's answers mean: bytes in, a [`HubError`] or an identity out.
//!
//! Knows no connection. The hub says why in up to three places, believed in this order: the header
//! `iothub-errorcode`, the envelope `{"Message":"ErrorCode:…;…"}`, the newer envelope `{"errorCode":…,"message":…}`.
//!
//! Holds always: a refusal of a device is believed only from a hub. A 404 without the hub's own code may come from anything
//! between, and taking it for "no such device" could free a serial whose device lives. So it is [`HubError::Stranger`].

use std::time::Duration;

use serde_json::{Map, Value};
use zeroize::{Zeroize, Zeroizing};

use super::{Denial, HubError, Identity, THROTTLE_WAIT_MIN};
use crate::{connection_string::DeviceKey, wire::plain};

/// The longest text of a hub that goes into an error.
const TEXT_CHARS_MAX: usize = 300;

/// The longest wait that the text of an answer can ask for.
const WAIT_TEXT_MAX: Duration = Duration::from_secs(3600);

/// The hub's codes that QDRS decides by; the first three digits are the status.
const CODES: &[(u32, &str)] = &[
    (400_000, "GenericBadRequest"),
    (400_001, "InvalidProtocolVersion"),
    (400_004, "ArgumentInvalid"),
    (400_005, "ArgumentNull"),
    (400_006, "IotHubFormatError"),
    (400_011, "DeviceDefinedMultipleTimes"),
    (400_012, "DeserializationError"),
    (400_013, BULK_FAILURE),
    (401_001, "IotHubNotFound"),
    (401_002, "IotHubUnauthorizedAccess"),
    (401_003, "IotHubUnauthorized"),
    (403_001, "IotHubSuspended"),
    (403_002, "IotHubQuotaExceeded"),
    (403_010, "OperationNotAvailableInCurrentTier"),
    (404_001, "DeviceNotFound"),
    (409_001, "DeviceAlreadyExists"),
    (412_001, "PreconditionFailed"),
    (413_001, "MessageTooLarge"),
    (413_002, "TooManyDevices"),
    (429_001, "ThrottlingException"),
    (429_002, "ThrottleBacklogLimitExceeded"),
    (429_003, "ThrottlingBacklogTimeout"),
    (500_001, "ServerError"),
    (500_008, "GenericTimeout"),
    (503_001, "ServiceUnavailable"),
    (503_005, "ServerBusy"),
];

/// The code of a bulk call in which an entry failed; the entries' own codes are in the body.
const BULK_FAILURE: &str = "BulkRegistryOperationFailure";

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The header `iothub-errorcode`.
    pub(super) error_code: Option<String>,
    /// The header `Retry-After`.
    pub(super) retry_after: Option<Duration>,
    /// This computer's clock less the hub's (`Date`), in seconds, as the answer came.
    pub(super) ahead_s: Option<i64>,
    /// None when it broke off or is too long.
    pub(super) body: Option<Zeroizing<Vec<u8>>>,
}

/// A code of the hub: as a number where it is known, and as it was said.
#[derive(Debug, Clone, PartialEq)]
struct HubCode {
    number: Option<u32>,
    name: String,
}

impl HubCode {
    /// From a number, a numeric string or a name: the same hub writes all three.
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => Self::numbered(u32::try_from(number.as_u64()?).ok()?),
            Value::String(text) => Self::named(text),
            _ => None,
        }
    }

    fn numbered(number: u32) -> Option<Self> {
        if !(400_000..600_000).contains(&number) {
            return None;
        }
        let name =
            CODES.iter().find(|(known, _)| *known == number).map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned());
        Some(Self { number: Some(number), name })
    }

    fn named(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(number) = text.parse() {
            return Self::numbered(number);
        }
        let is_name = (1..=80).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_name.then(|| {
            let known = CODES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text));
            Self { number: known.map(|(number, _)| *number), name: known.map_or(text, |(_, name)| name).to_owned() }
        })
    }
}

/// What the hub said: why, and in words.
#[derive(Debug, Default)]
struct Said {
    code: Option<HubCode>,
    text: String,
    /// `ExceptionMessage`: the cause, at times, among much else. Never shown.
    exception: String,
}

impl Said {
    /// Reads either envelope; nothing when the body is neither.
    fn in_body(body: &[u8]) -> Self {
        serde_json::from_slice::<Value>(body).ok().and_then(|value| Self::in_value(&value, 0)).unwrap_or_default()
    }

    fn in_value(value: &Value, depth: u8) -> Option<Self> {
        let object = value.as_object()?;
        if let Some(message) = object.get("Message").and_then(Value::as_str) {
            if let Some(rest) = message.strip_prefix("ErrorCode:") {
                let (code, text) = rest.split_once(';').unwrap_or((rest, ""));
                let exception = object.get("ExceptionMessage").and_then(Value::as_str).unwrap_or_default().to_owned();
                return Some(Self { code: HubCode::named(code), text: text.to_owned(), exception });
            }
            // The newer envelope is seen as a string inside the older one.
            let inner =
                (depth == 0).then(|| serde_json::from_str(message).ok().and_then(|value| Self::in_value(&value, 1))).flatten();
            return Some(inner.unwrap_or(Self { text: message.to_owned(), ..Self::default() }));
        }
        let text = object.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
        let code = object.get("errorCode").and_then(HubCode::read);
        (code.is_some() || !text.is_empty()).then_some(Self { code, text, ..Self::default() })
    }

    fn of(answer: &Answer) -> Self {
        let mut said = answer.body.as_deref().map(|body| Self::in_body(body)).unwrap_or_default();
        if let Some(code) = answer.error_code.as_deref().and_then(HubCode::named) {
            said.code = Some(code);
        }
        said
    }
}

/// Whether the hub says that there is no hub of its name. It does so at random, right after good calls, and nothing was done.
pub(super) fn is_no_hub(answer: &Answer) -> bool {
    matches!(answer.status, 401 | 404) && Said::of(answer).code.and_then(|code| code.number) == Some(401_001)
}

/// What an answer that is no success means. `secrets` are what was sent and must not come back in a text.
pub(super) fn refusal(answer: &Answer, secrets: &[&str]) -> HubError {
    let said = Said::of(answer);
    match answer.status {
        // The effect may have come before the fault, whatever the code says.
        status @ (408 | 500..) => HubError::Unclear { why: failed(status, &said, secrets) },
        status => meaning(status, said, answer.retry_after, secrets),
    }
}

fn failed(status: u16, said: &Said, secrets: &[&str]) -> String {
    let words = match &said.code {
        Some(code) => format!(" {}", code.name),
        None => String::new(),
    };
    let text = clean(&said.text, secrets);
    if text.is_empty() { format!("it answers {status}{words}") } else { format!("it answers {status}{words}: {text}") }
}

fn meaning(http_status: u16, said: Said, retry_after: Option<Duration>, secrets: &[&str]) -> HubError {
    let text = clean(&said.text, secrets);
    let number = said.code.as_ref().and_then(|code| code.number);
    let status = number.map_or(u32::from(http_status), |number| number / 1000);
    let words = || match (&said.code, text.is_empty()) {
        (Some(code), true) => code.name.clone(),
        (Some(code), false) => format!("{text} ({})", code.name),
        (None, true) => format!("it answers {http_status}"),
        (None, false) => text.clone(),
    };
    let denied = |why| HubError::Denied { why, text: words() };
    match (status, number, &said.code) {
        (_, Some(409_001), _) => HubError::Exists,
        (_, Some(404_001), _) => HubError::NotFound,
        (_, Some(403_002), _) if text.contains("messages") => denied(Denial::DayQuota),
        (_, Some(403_002), _) => HubError::Full,
        (_, Some(401_001), _) => denied(Denial::NoHub),
        // Not the entry's fault: each one would be refused, so none of them for good.
        (_, Some(400_001 | 403_001 | 403_010), _) => denied(Denial::Call),
        // The bulk call's own code says nothing about the entry; its body should have.
        (_, Some(400_013), _) => HubError::Unclear { why: "it refuses the entry without saying why".to_owned() },
        (401 | 403, _, Some(code)) => denied(Denial::by_words(&code.name, &format!("{} {}", said.text, said.exception))),
        // Every refusal of a hub has a code; a proxy's has none.
        (401 | 403 | 407, _, None) => denied(match Denial::by_words("", &said.text) {
            Denial::Credential => Denial::Network,
            other => other,
        }),
        (410, _, Some(_)) => denied(Denial::NoHub),
        (412, ..) => HubError::Changed,
        (429, ..) => HubError::Throttled { retry_after: throttle_wait(retry_after, &text) },
        (400 | 413, _, Some(code)) => HubError::Rejected {
            code: code.name.clone(),
            text: if text.is_empty() { "no reason given".to_owned() } else { text },
        },
        (404..=407 | 411 | 414..=428 | 430..=499, _, Some(_)) => denied(Denial::Call),
        (500.., ..) => HubError::Unclear { why: failed(http_status, &said, secrets) },
        // A conflict of another kind, or an answer that no hub gives.
        (_, _, Some(_)) => HubError::Unclear { why: failed(http_status, &said, secrets) },
        (_, _, None) => HubError::Stranger { why: failed(http_status, &said, secrets) },
    }
}

/// At least ten seconds; longer when the header or the words ("Wait 30 seconds") say so.
fn throttle_wait(header: Option<Duration>, text: &str) -> Duration {
    let said = text
        .to_ascii_lowercase()
        .split_once("wait ")
        .and_then(|(_, rest)| rest.split_once(' '))
        .filter(|(_, unit)| unit.starts_with("second"))
        .and_then(|(number, _)| number.parse().ok())
        .map(|seconds| Duration::from_secs(seconds).min(WAIT_TEXT_MAX));
    [header, said].into_iter().flatten().fold(THROTTLE_WAIT_MIN, Duration::max)
}

/// The hub's words without what must not be seen: it has been known to repeat the value it could not read.
fn clean(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "…");
    }
    plain(&text, TEXT_CHARS_MAX)
}

/// What a bulk call of one entry did. The outer success is the identity being made; the inner is what the hub warned of.
///
/// Source: Azure IoT Hub, "Bulk registry operations"; a failed entry is HTTP 400 with a body of the same form.
pub(super) fn bulk_of_one(answer: &Answer, device_id: &str, secrets: &[&str]) -> Result<Vec<String>, HubError> {
    let success = answer.status == 200;
    let unreadable = || HubError::Stranger { why: format!("it answers {} and something that makes no sense", answer.status) };
    let result = answer.body.as_deref().and_then(|body| serde_json::from_slice::<Value>(body).ok());
    let Some(is_successful) = result.as_ref().and_then(|result| result.get("isSuccessful")).and_then(Value::as_bool) else {
        return Err(if (200..300).contains(&answer.status) { unreadable() } else { refusal(answer, secrets) });
    };
    let list =
        |name| result.as_ref().and_then(|result| result.get(name)).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if success && is_successful {
        return Ok(list("warnings")
            .iter()
            .map(|warning| {
                let word = |name| warning.get(name).and_then(Value::as_str).unwrap_or_default();
                clean(format!("{} {}", word("warningCode"), word("warningStatus")).trim(), secrets)
            })
            .collect());
    }
    if !matches!(answer.status, 200 | 400) {
        return Err(refusal(answer, secrets));
    }
    // One entry was sent, so an error that names no device is about it too; one that names another device is nonsense.
    let ours = |error: &&Value| error.get("deviceId").and_then(Value::as_str).is_none_or(|id| id == device_id);
    let Some(error) = list("errors").iter().find(ours) else { return Err(unreadable()) };
    let text = error.get("errorStatus").and_then(Value::as_str).unwrap_or_default().to_owned();
    let said = Said { code: error.get("errorCode").and_then(HubCode::read), text, ..Said::default() };
    Err(meaning(answer.status, said, answer.retry_after, secrets))
}

/// The identity of that name, out of the answer to a read. The keys leave the JSON and are not kept in it.
pub(super) fn identity(answer: &Answer, device_id: &str) -> Result<Identity, HubError> {
    let unclear = |why: &str| HubError::Unclear { why: format!("its answer about the device {why}") };
    let body = answer.body.as_deref().ok_or_else(|| unclear("broke off"))?;
    let Ok(Value::Object(mut rest)) = serde_json::from_slice::<Value>(body) else { return Err(unclear("is no JSON object")) };
    // First of all, so that no way out leaves the keys behind.
    let (primary, secondary) = take_keys(&mut rest);
    drop(secondary);
    let word = |name: &str| rest.get(name).and_then(Value::as_str);
    if word("deviceId") != Some(device_id) {
        return Err(unclear("is about another one"));
    }
    let etag = word("etag")
        .map(|etag| etag.trim_matches('"'))
        .filter(|etag| is_etag(etag))
        .ok_or_else(|| unclear("has no ETag"))?
        .to_owned();
    let enabled = match word("status") {
        Some(status) if status.eq_ignore_ascii_case("enabled") => true,
        Some(status) if status.eq_ignore_ascii_case("disabled") => false,
        _ => return Err(unclear("does not say whether it is enabled")),
    };
    let primary = match primary.as_deref().map(String::as_str) {
        None | Some("") => None,
        Some(text) => Some(DeviceKey::from_base64(text).map_err(|_| unclear("holds a key that is none"))?),
    };
    Ok(Identity { device_id: device_id.to_owned(), etag, enabled, primary, rest })
}

/// An ETag that may stand in `If-Match`: never `*`, which would match whatever is there.
pub(super) fn is_etag(etag: &str) -> bool {
    !etag.is_empty() && etag != "*" && etag.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"')
}

type Key = Option<Zeroizing<String>>;

/// Takes both keys out of an identity's JSON, and wipes what is left of them.
fn take_keys(identity: &mut Map<String, Value>) -> (Key, Key) {
    let keys = identity.get_mut("authentication").and_then(Value::as_object_mut).and_then(|part| part.remove("symmetricKey"));
    let Some(Value::Object(mut keys)) = keys else { return (None, None) };
    let mut take = |name| match keys.remove(name) {
        Some(Value::String(text)) => Some(Zeroizing::new(text)),
        _ => None,
    };
    let taken = (take("primaryKey"), take("secondaryKey"));
    for (_, mut other) in keys {
        if let Value::String(text) = &mut other {
            text.zeroize();
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(status: u16, header: Option<&str>, body: &str) -> Answer {
        Answer {
            status,
            error_code: header.map(str::to_owned),
            retry_after: None,
            ahead_s: None,
            body: Some(Zeroizing::new(body.as_bytes().to_vec())),
        }
    }

    fn refused(status: u16, header: Option<&str>, body: &str) -> HubError {
        refusal(&answer(status, header, body), &["SECRET="])
    }

    #[test]
    fn the_code_is_found_in_the_header_then_in_either_envelope() {
        let old = r#"{"Message":"ErrorCode:DeviceNotFound;dev1","ExceptionMessage":"Tracking ID:x"}"#;
        let new = r#"{"errorCode":404001,"message":"dev1","trackingId":"x"}"#;
        let nested = r#"{"Message":"{\"errorCode\":404001,\"message\":\"dev1\"}"}"#;
        for (header, body) in [
            (Some("DeviceNotFound"), ""),
            (Some("404001"), "garbage"),
            (None, old),
            (None, new),
            (None, nested),
            (Some("DeviceNotFound"), r#"{"Message":"ErrorCode:ServerError;x"}"#),
        ] {
            assert_eq!(refused(404, header, body), HubError::NotFound, "{header:?} {body}");
        }
    }

    #[test]
    fn each_refusal_has_its_meaning() {
        let coded = |status, code: &str| refused(status, None, &format!(r#"{{"Message":"ErrorCode:{code};some words"}}"#));
        assert_eq!(coded(409, "DeviceAlreadyExists"), HubError::Exists);
        assert_eq!(coded(412, "PreconditionFailed"), HubError::Changed);
        assert_eq!(coded(403, "IotHubQuotaExceeded"), HubError::Full);
        let denied = |why, text: &str| HubError::Denied { why, text: text.into() };
        assert_eq!(coded(403, "IotHubSuspended"), denied(Denial::Call, "some words (IotHubSuspended)"));
        assert_eq!(coded(401, "IotHubNotFound"), denied(Denial::NoHub, "some words (IotHubNotFound)"));
        assert_eq!(coded(404, "IotHubNotFound"), denied(Denial::NoHub, "some words (IotHubNotFound)"));
        assert_eq!(coded(410, "Gone"), denied(Denial::NoHub, "some words (Gone)"));
        assert_eq!(coded(404, "JobNotFound"), denied(Denial::Call, "some words (JobNotFound)"));
        assert_eq!(coded(415, "Odd"), denied(Denial::Call, "some words (Odd)"));
        assert_eq!(
            coded(400, "ArgumentInvalid"),
            HubError::Rejected { code: "ArgumentInvalid".into(), text: "some words".into() }
        );
        assert_eq!(coded(400, "SomethingNew"), HubError::Rejected { code: "SomethingNew".into(), text: "some words".into() });
        assert_eq!(coded(400, "InvalidProtocolVersion"), denied(Denial::Call, "some words (InvalidProtocolVersion)"));
        assert_eq!(coded(401, "IotHubUnauthorizedAccess"), denied(Denial::Credential, "some words (IotHubUnauthorizedAccess)"));
    }

    #[test]
    fn a_quota_of_devices_and_one_of_messages_are_two_things() {
        let body =
            r#"{"Message":"ErrorCode:IotHubQuotaExceeded;Total number of messages on IotHub 'x' exceeded the allocated quota."}"#;
        assert!(matches!(refused(403, None, body), HubError::Denied { why: Denial::DayQuota, .. }));
        let body =
            r#"{"Message":"ErrorCode:IotHubQuotaExceeded;Total number of devices on IotHub exceeded the allocated quota."}"#;
        assert_eq!(refused(403, None, body), HubError::Full);
    }

    #[test]
    fn a_cause_that_stands_only_in_the_exception_is_found_and_not_shown() {
        let body = r#"{"Message":"ErrorCode:IotHubUnauthorizedAccess;Unauthorized","ExceptionMessage":"Exception: Local authentication is disabled\r\n at X in C:\\source"}"#;
        assert_eq!(
            refused(401, None, body),
            HubError::Denied { why: Denial::KeysOff, text: "Unauthorized (IotHubUnauthorizedAccess)".into() }
        );
    }

    #[test]
    fn a_refusal_without_a_hubs_code_is_a_proxys() {
        for status in [401, 403, 407] {
            let refused = refused(status, None, "<html>Forbidden</html>");
            assert_eq!(refused, HubError::Denied { why: Denial::Network, text: format!("it answers {status}") });
        }
    }

    #[test]
    fn what_no_hub_says_is_unclear_and_never_a_refusal() {
        for status in [302, 400, 404, 408, 409, 410, 418, 500, 502, 503, 599] {
            let refused = refused(status, None, "<html>Proxy</html>");
            assert!(refused.effect_unknown() && refused.is_passing(), "{status}");
            assert_eq!(matches!(refused, HubError::Stranger { .. }), !matches!(status, 408 | 500..), "{status}");
        }
        // A fault is a fault, whatever its code: the effect may have come first.
        assert!(refused(500, Some("DeviceAlreadyExists"), "").effect_unknown());
    }

    #[test]
    fn a_throttle_waits_ten_seconds_or_longer() {
        let wait = |header: Option<u64>, text: &str| {
            let body = format!(r#"{{"Message":"ErrorCode:ThrottlingBacklogTimeout;{text}"}}"#);
            let answer = Answer { retry_after: header.map(Duration::from_secs), ..answer(429, None, &body) };
            refusal(&answer, &[]).retry_after().expect("throttled").as_secs()
        };
        assert_eq!(wait(None, "The request has been throttled. Wait 10 seconds and try again. Operation type: CRUD"), 10);
        assert_eq!(wait(None, "The request has been throttled. Wait 45 seconds and try again."), 45);
        assert_eq!(wait(Some(3), ""), 10);
        assert_eq!(wait(Some(60), "Wait 45 seconds"), 60);
        assert_eq!(wait(None, "Wait for it"), 10);
        assert!(matches!(refused(429, None, ""), HubError::Throttled { retry_after: THROTTLE_WAIT_MIN }));
    }

    #[test]
    fn a_secret_that_the_hub_repeats_is_not_passed_on() {
        let error =
            refused(400, None, r#"{"Message":"ErrorCode:DeserializationError;Error converting value \"SECRET=\" to type"}"#);
        assert!(!error.to_string().contains("SECRET"), "{error}");
    }

    #[test]
    fn a_bulk_entry_fails_with_a_number_a_numeric_string_or_a_name() {
        for code in ["409001", r#""409001""#, r#""DeviceAlreadyExists""#] {
            let body = format!(
                r#"{{"isSuccessful":false,"errors":[{{"deviceId":"d1","errorCode":{code},"errorStatus":"x"}}],"warnings":[]}}"#
            );
            let answer = answer(400, Some(BULK_FAILURE), &body);
            assert_eq!(bulk_of_one(&answer, "d1", &[]), Err(HubError::Exists), "{code}");
            assert!(
                bulk_of_one(&answer, "D1", &[]).is_err_and(|error| error.effect_unknown()),
                "another device's error is not ours"
            );
        }
        let entry = |code: &str| {
            let body =
                format!(r#"{{"isSuccessful":false,"errors":[{{"deviceId":"d1","errorCode":{code},"errorStatus":"words"}}]}}"#);
            bulk_of_one(&answer(400, Some(BULK_FAILURE), &body), "d1", &[]).expect_err("refused")
        };
        assert_eq!(entry("403002"), HubError::Full);
        assert_eq!(entry("400004"), HubError::Rejected { code: "ArgumentInvalid".into(), text: "words".into() });
        assert!(matches!(entry("429003"), HubError::Throttled { .. }));
        assert!(entry("500001").effect_unknown());
        assert!(entry("null").effect_unknown());
        assert!(entry("409999").effect_unknown());
    }

    #[test]
    fn a_bulk_call_is_a_success_only_when_it_says_so() {
        let made = |status, body: &str| bulk_of_one(&answer(status, None, body), "d1", &[]);
        assert_eq!(made(200, r#"{"isSuccessful":true,"errors":[],"warnings":[]}"#), Ok(vec![]));
        let warned = made(
            200,
            r#"{"isSuccessful":true,"errors":[],"warnings":[{"deviceId":"d1","warningCode":"DeviceRegisteredWithoutTwin","warningStatus":"no twin"}]}"#,
        );
        assert_eq!(warned, Ok(vec!["DeviceRegisteredWithoutTwin no twin".to_owned()]));
        for (status, body) in [
            (200, ""),
            (200, "{}"),
            (204, ""),
            (200, r#"{"isSuccessful":false}"#),
            (400, r#"{"isSuccessful":false,"errors":[]}"#),
            (503, r#"{"isSuccessful":true}"#),
        ] {
            assert!(made(status, body).is_err_and(|error| error.effect_unknown()), "{status} {body}");
        }
        let broken_off = Answer { body: None, ..answer(400, Some(BULK_FAILURE), "") };
        assert!(bulk_of_one(&broken_off, "d1", &[]).is_err_and(|error| error.effect_unknown()));
    }

    const IDENTITY: &str = r#"{"deviceId":"dev1","generationId":"638","etag":"MA==","status":"enabled","statusReason":"why",
        "authentication":{"symmetricKey":{"primaryKey":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","secondaryKey":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="},"type":"sas"}}"#;

    #[test]
    fn an_identity_is_read_and_keeps_no_key_in_its_json() {
        let read = identity(&answer(200, None, IDENTITY), "dev1").expect("reads");
        assert_eq!((read.etag.as_str(), read.enabled, read.primary.is_some()), ("MA==", true, true));
        let kept = serde_json::to_string(&read.rest).expect("JSON");
        assert!(kept.contains("statusReason") && !kept.contains("AAEC"), "{kept}");
        assert!(!format!("{read:?}").contains("AAEC"));
    }

    #[test]
    fn an_identity_that_is_not_whole_is_unclear() {
        for (from, to) in
            [("dev1", "Dev1"), ("MA==", "*"), ("MA==", ""), ("enabled", "odd"), ("\"primaryKey\":\"AAEC", "\"primaryKey\":\"AA")]
        {
            let error = identity(&answer(200, None, &IDENTITY.replace(from, to)), "dev1").expect_err("refused");
            assert!(error.effect_unknown() && !error.to_string().contains("AwQF"), "{from} -> {to}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_breaks_the_reader(status in 100u16..1000, header in proptest::option::of(".{0,30}"), body in ".{0,200}", id in ".{0,10}") {
            let answer = answer(status, header.as_deref(), &body);
            let _ = refusal(&answer, &[&id]);
            let _ = bulk_of_one(&answer, &id, &[]);
            let _ = identity(&answer, &id);
        }
    }
}
