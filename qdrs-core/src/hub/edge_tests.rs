//! What each answer and each failure is taken for, at the edges; and what is shown of what holds a secret.

use serde_json::json;
use zeroize::Zeroizing;

use super::{answer::Answer, *};
use crate::connection_string::{DeviceKey, OwnerConnectionString};

fn owner(host_name: &str) -> OwnerConnectionString {
    owner_with(host_name, &DeviceKey::generate())
}

fn owner_with(host_name: &str, key: &DeviceKey) -> OwnerConnectionString {
    OwnerConnectionString::new(host_name, "iothubowner", key).expect("a connection string")
}

fn refused(status: u16, header: Option<&str>, body: serde_json::Value) -> HubError {
    let body = Some(Zeroizing::new(body.to_string().into_bytes()));
    answer::refusal(&Answer { status, error_code: header.map(str::to_owned), retry_after: None, ahead_s: None, body }, &[])
}

#[test]
fn only_a_call_without_a_clear_answer_may_have_had_its_effect_and_only_what_passes_is_asked_again() {
    let text = || "x".to_owned();
    let wait = Duration::from_secs(10);
    for (error, effect_unknown, is_passing) in [
        (HubError::Exists, false, false),
        (HubError::Changed, false, false),
        (HubError::NotFound, false, false),
        (HubError::Rejected { code: text(), text: text() }, false, false),
        (HubError::Throttled { retry_after: wait }, false, true),
        (HubError::Full, false, false),
        (HubError::Denied { why: Denial::Credential, text: text() }, false, false),
        (HubError::Unclear { why: text() }, true, true),
        (HubError::Stranger { why: text() }, true, true),
        (HubError::Untrusted { why: text() }, false, false),
        (HubError::Unreachable { why: text() }, false, true),
    ] {
        assert_eq!((error.effect_unknown(), error.is_passing()), (effect_unknown, is_passing), "{error:?}");
        assert_eq!(error.retry_after(), matches!(error, HubError::Throttled { .. }).then_some(wait));
    }
}

#[test]
fn what_is_no_code_of_a_hub_is_none_and_a_new_one_is() {
    for no_code in ["<html>", "not found", "", "é", &"x".repeat(81)] {
        assert!(matches!(refused(400, Some(no_code), json!({})), HubError::Stranger { .. }), "{no_code}");
    }
    for code in ["Some_New_Code", &"x".repeat(80)] {
        let rejected = HubError::Rejected { code: code.to_owned(), text: "no reason given".to_owned() };
        assert_eq!(refused(400, Some(code), json!({})), rejected);
    }
}

#[test]
fn the_words_of_each_envelope_are_passed_on() {
    let denied = |body| match refused(401, None, body) {
        HubError::Denied { text, .. } => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(denied(json!({"Message": "words"})), "words");
    assert_eq!(denied(json!({"message": "words"})), "words");
    assert_eq!(denied(json!({"errorCode": 401_002})), "IotHubUnauthorizedAccess");
    assert_eq!(denied(json!({"errorCode": 401_002, "message": "words"})), "words (IotHubUnauthorizedAccess)");
    assert_eq!(denied(json!({"trackingId": "x"})), "it answers 401");
    let fault = |body| refused(500, None, body).to_string();
    let unknown = "whether the hub did it is unknown: it answers 500";
    assert_eq!(fault(json!({})), unknown);
    assert_eq!(fault(json!({"Message": "ErrorCode:ServerError;words"})), format!("{unknown} ServerError: words"));
    assert_eq!(fault(json!({"errorCode": 500_001})), format!("{unknown} ServerError"));
}

#[test]
fn a_device_may_be_disabled_and_may_have_no_key() {
    let read = |status: &str, authentication: serde_json::Value| {
        let body = json!({"deviceId": "dev1", "etag": "MA==", "status": status, "authentication": authentication});
        let body = Some(Zeroizing::new(body.to_string().into_bytes()));
        answer::identity(&Answer { status: 200, error_code: None, retry_after: None, ahead_s: None, body }, "dev1")
            .expect("reads")
    };
    let by_certificate = || json!({"type": "selfSigned", "symmetricKey": {"primaryKey": null, "secondaryKey": null}});
    for (status, enabled) in [("enabled", true), ("Enabled", true), ("disabled", false), ("Disabled", false)] {
        let identity = read(status, by_certificate());
        assert_eq!((identity.enabled, identity.primary.is_none()), (enabled, true), "{status}");
    }
    assert!(read("enabled", json!({"symmetricKey": {"primaryKey": "", "secondaryKey": ""}})).primary.is_none());
    let key = DeviceKey::generate();
    let identity = read("enabled", json!({"symmetricKey": {"primaryKey": *key.to_base64()}}));
    let shown = format!("{identity:?}");
    assert!(shown.contains("dev1") && shown.contains(&key.fingerprint().to_string()), "{shown}");
    assert!(!shown.contains(key.to_base64().as_str()), "{shown}");
}

#[test]
fn an_etag_is_one_word_and_never_a_star() {
    for no_etag in ["", "*", "a b", "a\"b", "é", "a\n"] {
        assert!(!answer::is_etag(no_etag), "{no_etag:?}");
    }
    assert!(answer::is_etag("MA==") && answer::is_etag("**"));
}

#[test]
fn a_token_serves_half_its_life_and_a_clock_that_was_set_back_ends_it() {
    let hub = AzureHub::new(owner("contoso.azure-devices.net"), None, None).expect("a hub");
    let at = |now: u64| {
        let header = hub.authorization_at(now);
        assert!(header.is_sensitive());
        let text = header.to_str().expect("text").to_owned();
        let expires = text.split('&').find_map(|part| part.strip_prefix("se=")).expect("an end").parse::<u64>().expect("seconds");
        (text, expires)
    };
    let (first, expires) = at(1_000_000);
    assert_eq!(expires, 1_003_600, "good for an hour");
    assert_eq!(at(1_000_000).0, first);
    assert_eq!(at(1_001_799).0, first, "the last second of its first half");
    let (second, expires) = at(1_001_800);
    assert_eq!(expires, 1_005_400);
    assert_ne!(second, first);
    assert_eq!(at(1_001_799).1, 1_005_399, "set back");
}

#[test]
fn a_hub_is_shown_by_its_host_and_its_address_alone() {
    let key = DeviceKey::generate();
    let hub = AzureHub::new(owner_with("Contoso.azure-devices.net", &key), None, None).expect("a hub");
    assert_eq!(hub.host_name(), "Contoso.azure-devices.net", "as the connection string has it");
    let shown = format!("{hub:?}");
    assert!(shown.contains("Contoso.azure-devices.net") && shown.contains("https://contoso.azure-devices.net/"), "{shown}");
    assert!(!shown.contains(key.to_base64().as_str()), "{shown}");
}

#[test]
fn what_keeps_a_hub_from_being_asked_is_said_with_its_remedy() {
    let fault = |host: &str, base: Option<&str>, ca: Option<&[u8]>| {
        let base = base.map(|base| base.parse().expect("a URL"));
        AzureHub::new(owner(host), base, ca).map(drop).expect_err("refused").help()
    };
    let host = "contoso.azure-devices.net";
    assert!(fault("contoso:port", None, None).starts_with("copy the whole hub owner connection string"));
    assert!(fault(host, Some("http://hub.example"), None).starts_with("use https"));
    assert!(fault(host, None, Some(b"no PEM")).starts_with("give a PEM file"));
}
