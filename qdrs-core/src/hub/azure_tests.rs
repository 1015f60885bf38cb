//! The hub's client against a server that answers, breaks off or keeps silent as it is told: what was sent, and what
//! each failure is taken for. Whether nothing was sent or the effect is unknown is what the serial's life rests on.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::{
    api::Code,
    connection_string::OwnerConnectionString,
    raw_server::{RawServer, Then, TlsServer, answer, nobody},
};

const OWNER: &str = "HostName=contoso.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const MADE: &str = r#"{"isSuccessful":true,"errors":[],"warnings":[]}"#;
const IDENTITY: &str = r#"{"deviceId":"a b","generationId":"638","etag":"MA==","status":"enabled","statusReason":"why","capabilities":{"iotEdge":false},
    "authentication":{"symmetricKey":{"primaryKey":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","secondaryKey":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="},"type":"sas"}}"#;

fn hub_at(url: reqwest::Url) -> AzureHub {
    let owner = OwnerConnectionString::parse(OWNER).expect("a connection string");
    AzureHub::new(owner, Some(url), None).expect("a hub")
}

async fn hub(script: impl IntoIterator<Item = Then>) -> (RawServer, AzureHub) {
    let server = RawServer::start(script).await;
    let hub = hub_at(server.url());
    (server, hub)
}

async fn create(hub: &AzureHub) -> Result<(), HubError> {
    let (primary, secondary) = (DeviceKey::generate(), DeviceKey::generate());
    Hub::create(
        hub,
        NewIdentity { device_id: "dev1", primary: &primary, secondary: &secondary, tags: json!({"qdrs": {"batch": "B1"}}) },
    )
    .await
}

fn old(code: &str) -> String {
    format!(r#"{{"Message":"ErrorCode:{code};words","ExceptionMessage":"Tracking ID:x"}}"#)
}

#[tokio::test]
async fn a_create_is_one_bulk_call_with_keys_and_tags() {
    let (server, hub) = hub([answer(200, "", MADE)]).await;
    create(&hub).await.expect("made");
    let seen = &server.seen()[0];
    assert_eq!(seen.request_line(), "POST /devices?api-version=2021-04-12 HTTP/1.1");
    assert!(
        seen.header("authorization")
            .is_some_and(|token| token.starts_with("SharedAccessSignature sr=contoso.azure-devices.net&sig="))
    );
    let body: Value = serde_json::from_slice(&seen.body).expect("JSON");
    let entry = &body[0];
    assert_eq!((&entry["id"], &entry["importMode"], &entry["status"]), (&json!("dev1"), &json!("create"), &json!("enabled")));
    assert_eq!((&entry["tags"], &entry["authentication"]["type"]), (&json!({"qdrs": {"batch": "B1"}}), &json!("sas")));
    assert_eq!(entry["authentication"]["symmetricKey"].as_object().map(serde_json::Map::len), Some(2));
    assert_eq!(body.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn one_connection_and_one_token_serve_many_calls_and_a_401_makes_a_new_one() {
    let unauthorized = || answer(401, "", &old("IotHubUnauthorizedAccess"));
    let (server, hub) = hub([answer(200, "", MADE), unauthorized(), unauthorized(), answer(200, "", MADE)]).await;
    create(&hub).await.expect("made");
    assert!(matches!(create(&hub).await, Err(HubError::Denied { why: Denial::Credential, .. })));
    assert!(!hub.has_token(), "a token that was refused is not used again");
    create(&hub).await.expect("made");
    let seen = server.seen();
    assert_eq!(seen[0].header("authorization"), seen[1].header("authorization"));
    assert_eq!(seen.iter().map(|seen| seen.connection).max(), Some(0));
}

#[tokio::test]
async fn nothing_was_sent_when_there_is_no_connection() {
    let refused = create(&hub_at(nobody().await)).await.expect_err("nobody there");
    assert!(matches!(refused, HubError::Unreachable { .. }), "{refused}");
    let owner =
        OwnerConnectionString::parse(&OWNER.replace("contoso.azure-devices.net", "no-such-host.invalid")).expect("parses");
    let unknown = create(&AzureHub::new(owner, None, None).expect("a hub")).await.expect_err("no such host");
    assert!(matches!(unknown, HubError::Unreachable { .. }), "{unknown}");
    // Neither a server that speaks no TLS nor one with another CA's certificate gets to see the request.
    let clear = create(&hub_at(TlsServer::that_speaks_none().url())).await.expect_err("no TLS");
    assert!(matches!(clear, HubError::Unreachable { .. }), "{clear}");
    let untrusted = create(&hub_at(TlsServer::with_a_certificate_of_its_own().url())).await.expect_err("another CA");
    assert!(matches!(untrusted, HubError::Untrusted { .. }) && !untrusted.is_passing(), "{untrusted}");
}

#[tokio::test]
async fn whatever_happens_after_sending_leaves_the_effect_unknown() {
    let cut = |text: &str| Then::SendAndClose(text.to_owned());
    let cases = [
        ("closed", Then::Close),
        ("reset", Then::Reset),
        ("half a status line", cut("HTTP/1.1 20")),
        ("half a body", cut("HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n{\"isSuccessful\":true")),
        ("no HTTP", cut("SSH-2.0-OpenSSH\r\n")),
        ("garbage", answer(200, "", "<html>ok</html>")),
        ("empty", answer(200, "", "")),
        ("a 204", Then::Send("HTTP/1.1 204 X\r\n\r\n".to_owned())),
        ("too long", answer(200, "", &" ".repeat(70_000))),
        ("a redirect", answer(307, "Location: /elsewhere\r\n", "")),
        ("a fault", answer(500, "", &old("ServerError"))),
        ("a gateway", answer(502, "", "<html>bad gateway</html>")),
        ("busy", answer(503, "iothub-errorcode: ServerBusy\r\n", "")),
        ("a stranger's 404", answer(404, "", "not found")),
        ("a stranger's 400", answer(400, "", "bad request")),
        (
            "a failed bulk cut short",
            cut("HTTP/1.1 400 X\r\niothub-errorcode: BulkRegistryOperationFailure\r\nContent-Length: 90\r\n\r\n{\"isSucc"),
        ),
    ];
    for (name, then) in cases {
        let (server, hub) = hub([then]).await;
        let error = create(&hub).await.expect_err(name);
        assert!(error.effect_unknown(), "{name}: {error:?}");
        assert_eq!(server.seen().len(), 1, "{name}: a hub's client never asks twice by itself");
    }
}

#[tokio::test]
async fn silence_after_sending_leaves_the_effect_unknown() {
    let (_server, hub) = hub([Then::Silence]).await;
    let hub = hub.with_call_timeout(Duration::from_millis(200));
    assert!(create(&hub).await.is_err_and(|error| error.effect_unknown()));
}

#[tokio::test]
async fn a_kept_connection_that_breaks_under_a_call_is_not_tried_again() {
    let (server, hub) = hub([answer(200, "", MADE), Then::Close, answer(200, "", MADE)]).await;
    create(&hub).await.expect("made");
    assert!(create(&hub).await.is_err_and(|error| error.effect_unknown()));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn each_refusal_of_a_create_has_its_meaning() {
    let entry = |code: &str| {
        let body = format!(
            r#"{{"isSuccessful":false,"errors":[{{"deviceId":"dev1","errorCode":{code},"errorStatus":"words"}}],"warnings":[]}}"#
        );
        answer(400, "iothub-errorcode: BulkRegistryOperationFailure\r\n", &body)
    };
    let rejected = HubError::Rejected { code: "ArgumentInvalid".into(), text: "words".into() };
    let cases = [
        (entry("409001"), HubError::Exists),
        (entry(r#""DeviceAlreadyExists""#), HubError::Exists),
        (entry("400004"), rejected.clone()),
        (answer(400, "", &old("ArgumentInvalid")), rejected),
        (answer(403, "", &old("IotHubQuotaExceeded")), HubError::Full),
        (
            answer(429, "Retry-After: 3\r\n", &old("ThrottlingException")),
            HubError::Throttled { retry_after: Duration::from_secs(10) },
        ),
        (answer(429, "Retry-After: 30\r\n", ""), HubError::Throttled { retry_after: Duration::from_secs(30) }),
    ];
    for (then, meaning) in cases {
        let (_server, hub) = hub([then]).await;
        assert_eq!(create(&hub).await, Err(meaning));
    }
    let warned = r#"{"isSuccessful":true,"errors":[],"warnings":[{"deviceId":"dev1","warningCode":"DeviceRegisteredWithoutTwin","warningStatus":"x"}]}"#;
    let (_server, hub) = hub([answer(200, "", warned)]).await;
    assert_eq!(create(&hub).await, Ok(()));
}

/// The cause and the sentence of a call that the hub refuses as a whole.
fn denial(result: Result<impl fmt::Debug, HubError>) -> (Denial, String) {
    match result {
        Err(HubError::Denied { why, text }) => (why, text),
        other => panic!("{other:?}"),
    }
}

fn hub_of_policy(server: &RawServer, policy: &str) -> AzureHub {
    let owner = OwnerConnectionString::parse(&OWNER.replace("iothubowner", policy)).expect("a connection string");
    AzureHub::new(owner, Some(server.url()), None).expect("a hub")
}

#[tokio::test]
async fn a_hub_that_does_not_find_itself_for_a_moment_is_asked_again_and_one_that_is_gone_is_named() {
    let not_found = || answer(401, "", &old("IotHubNotFound"));
    let (server, hub) = hub([not_found(), not_found(), not_found(), not_found(), answer(200, "", MADE)]).await;
    let hub = hub.with_no_hub_wait(Duration::ZERO);
    assert_eq!(create(&hub).await, Ok(()));
    let bodies: Vec<_> = server.seen().into_iter().map(|seen| seen.body).collect();
    assert!(bodies.len() == 5 && bodies.windows(2).all(|pair| pair[0] == pair[1]), "the same keys each time");

    let server = RawServer::start((0..6).map(|_| not_found())).await;
    let gone = hub_at(server.url()).with_no_hub_wait(Duration::ZERO);
    let (why, text) = denial(Hub::read(&gone, "dev1").await);
    assert_eq!((why, server.seen().len()), (Denial::NoHub, 5));
    assert_eq!(text, "there is no IoT Hub at contoso.azure-devices.net: words (IotHubNotFound)");
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_from_a_wrong_key_with_the_right_side() {
    for (date, side) in [("Fri, 01 Jan 2100 00:00:00 GMT", "behind"), ("Thu, 01 Jan 1970 00:00:00 GMT", "ahead of")] {
        let (server, hub) = hub([answer(401, &format!("Date: {date}\r\n"), &old("IotHubUnauthorizedAccess"))]).await;
        let (why, text) = denial(create(&hub).await);
        assert_eq!((why, why.code()), (Denial::Clock, Code::ServiceClockWrong));
        let said = format!(" s {side} the clock of contoso.azure-devices.net, so the hub refuses the service's tokens: words");
        assert!(text.starts_with("the service's clock is ") && text.contains(&said), "{text}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_right_that_is_missing_is_told_from_a_wrong_key_by_a_read() {
    let unauthorized = || answer(401, "", &old("IotHubUnauthorizedAccess"));
    let server = RawServer::start([unauthorized(), answer(200, "", "{}")]).await;
    let (why, text) = denial(create(&hub_of_policy(&server, "our-own")).await);
    assert_eq!((why, why.code()), (Denial::Right, Code::HubRightMissing));
    assert!(text.starts_with("policy `our-own` of contoso.azure-devices.net lacks the right `registry write`"), "{text}");
    assert_eq!(server.seen()[1].request_line(), "GET /statistics/devices?api-version=2021-04-12 HTTP/1.1");

    let server = RawServer::start([unauthorized(), unauthorized()]).await;
    let (why, text) = denial(create(&hub_of_policy(&server, "our-own")).await);
    assert_eq!((why, why.code()), (Denial::Credential, Code::HubRefusesOwner));
    assert!(text.starts_with("contoso.azure-devices.net does not take the key of policy `our-own`: words"), "{text}");

    // A policy that every hub has is known by its name, also for a read.
    let server = RawServer::start([unauthorized(), unauthorized()]).await;
    let (why, text) = denial(Hub::read(&hub_of_policy(&server, "service"), "dev1").await);
    assert!(why == Denial::Right && text.contains("`service`") && text.contains("`registry read`"), "{text}");
    assert_eq!(denial(create(&hub_of_policy(&server, "registryRead")).await).0, Denial::Right);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn shared_keys_that_are_off_and_network_rules_have_their_own_code() {
    let says = |text: &str| format!(r#"{{"Message":"ErrorCode:IotHubUnauthorizedAccess;{text}"}}"#);
    for (then, code) in [
        (answer(401, "", &says("Local authentication is disabled")), Code::HubKeysOff),
        (answer(401, "", &says("Public network access is disabled")), Code::HubNetworkDenied),
        (answer(403, "", "<h1>Forbidden</h1>"), Code::HubNetworkDenied),
        (answer(403, "", &old("OperationNotAvailableInCurrentTier")), Code::HubRefuses),
    ] {
        let (server, hub) = hub([then]).await;
        let (why, text) = denial(create(&hub).await);
        assert_eq!((why.code(), server.seen().len()), (code, 1), "{text}");
        assert!(text.contains("contoso.azure-devices.net"), "{text}");
    }
}

#[tokio::test]
async fn an_identity_is_read_changed_and_deleted_by_its_etag() {
    let (server, hub) =
        hub([answer(200, "", IDENTITY), answer(200, "", "{}"), Then::Send("HTTP/1.1 204 X\r\n\r\n".into())]).await;
    let identity = Hub::read(&hub, "a b").await.expect("read").expect("there");
    let (primary, secondary) = (DeviceKey::generate(), DeviceKey::generate());
    Hub::replace_keys(&hub, &identity, &primary, &secondary).await.expect("replaced");
    Hub::delete(&hub, &identity).await.expect("deleted");
    let seen = server.seen();
    assert_eq!(seen[0].request_line(), "GET /devices/a%20b?api-version=2021-04-12 HTTP/1.1");
    assert_eq!((seen[1].header("if-match"), seen[2].header("if-match")), (Some("\"MA==\""), Some("\"MA==\"")));
    let body: Value = serde_json::from_slice(&seen[1].body).expect("JSON");
    assert_eq!((&body["deviceId"], &body["statusReason"], &body["status"]), (&json!("a b"), &json!("why"), &json!("enabled")));
    assert_eq!(body["authentication"]["symmetricKey"]["primaryKey"], json!(*primary.to_base64()));
    assert!(seen[2].request_line().starts_with("DELETE /devices/a%20b?"));
}

#[tokio::test]
async fn gone_is_believed_only_from_a_hub() {
    let gone = || answer(404, "iothub-errorcode: DeviceNotFound\r\n", "");
    let (_server, hub) =
        hub([gone(), answer(404, "", "<html>"), gone(), answer(404, "", ""), answer(412, "", &old("PreconditionFailed"))]).await;
    let identity = Identity::new("dev1", "MA==", true, None);
    assert!(Hub::read(&hub, "dev1").await.expect("an answer").is_none());
    assert!(Hub::read(&hub, "dev1").await.is_err_and(|error| error.effect_unknown()));
    assert_eq!(Hub::delete(&hub, &identity).await, Err(HubError::NotFound));
    assert!(Hub::delete(&hub, &identity).await.is_err_and(|error| error.effect_unknown()));
    assert_eq!(Hub::delete(&hub, &identity).await, Err(HubError::Changed));
}

#[tokio::test]
async fn no_star_and_no_name_that_is_a_step_ever_reaches_the_hub() {
    let (server, hub) = hub([]).await;
    for etag in ["*", "", "\"*\"", "a\"b"] {
        assert!(matches!(Hub::delete(&hub, &Identity::new("dev1", etag, true, None)).await, Err(HubError::Unreachable { .. })));
    }
    for name in ["", ".", ".."] {
        assert!(matches!(Hub::read(&hub, name).await, Err(HubError::Rejected { .. })));
    }
    assert!(server.seen().is_empty());
}

#[test]
fn only_https_or_this_computer() {
    let new = |base: &str| {
        AzureHub::new(OwnerConnectionString::parse(OWNER).expect("parses"), Some(base.parse().expect("a URL")), None).map(drop)
    };
    assert!(new("http://localhost:1").is_ok());
    assert!(matches!(new("http://hub.example"), Err(HubSetupError::NotPrivate { .. })));
    let ca = |pem: &[u8]| AzureHub::new(OwnerConnectionString::parse(OWNER).expect("parses"), None, Some(pem)).map(drop);
    assert!(matches!(ca(b"no PEM"), Err(HubSetupError::Ca { .. })));
}
