//! The client against a server that answers, breaks off or keeps silent as it is told.

use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::{
    access::{Claim, Sealed},
    api::{Kind, VERSION},
    explain::Explain,
    raw_server::{RawServer, Seen, Then, TlsServer, answer, nobody},
};

const CREDENTIAL: &str =
    "HostName=contoso.azure-devices.net;DeviceId=QD-7;SharedAccessKey=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const CONFIRMED: &str = r#"{"version":1,"serial":"QD-7","confirmed_at":"2026-11-24T06:00:00Z"}"#;
const QUICK: Pace =
    Pace { try_timeout: Duration::from_millis(300), wait_first: Duration::from_millis(1), wait_max: Duration::from_millis(2) };

struct World {
    server: RawServer,
    client: Client,
    events: Arc<Mutex<Vec<Event>>>,
}

fn client_at(service: Url, code: AccessCode, patience: Duration) -> Client {
    let options = ClientOptions { service, code, ca_file_pem: None, patience, user_agent: "test/1".into() };
    Client::with_pace(options, QUICK).expect("a client")
}

async fn world(code: &AccessCode, script: impl IntoIterator<Item = Then>) -> World {
    let server = RawServer::start(script).await;
    let client = client_at(server.url(), code.clone(), Duration::from_secs(20));
    let events = Arc::<Mutex<Vec<Event>>>::default();
    let told = Arc::clone(&events);
    client.on_event(move |event| told.lock().expect("no panic").push(event));
    World { server, client, events }
}

fn registration(code: &AccessCode, serial: &str, job: Uuid, credential: &str) -> Registration {
    let reservation = Uuid::now_v7();
    let job = job.to_string();
    let context = SealContext { key_id: code.key_id(), serial, idempotency_key: &job, reservation };
    let sealed = seal::seal(&code.public().opening, &context, credential.as_bytes()).expect("seals");
    let (device_id, hub) = ("QD-7".to_owned(), "contoso.azure-devices.net".to_owned());
    Registration {
        version: VERSION,
        serial: "QD-7".into(),
        device_id,
        hub,
        reservation,
        sealed,
        least_evidence: crate::api::Evidence::DeviceChecked,
    }
}

fn json_answer(status: u16, value: &impl Serialize) -> Then {
    answer(status, "", &serde_json::to_string(value).expect("JSON"))
}

fn problem(status: u16, headers: &str, code: &str) -> Then {
    answer(status, headers, &json!({"type": format!("/problems/{code}"), "code": code, "title": "T"}).to_string())
}

/// The signature holds for what was really sent.
fn check(seen: &Seen, code: &AccessCode, now: i64) -> Result<(), crate::access::SignatureError> {
    let mut line = seen.request_line().split(' ');
    let (method, target) = (line.next().expect("a method"), line.next().expect("a path"));
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let mut headers = HeaderMap::new();
    for (name, value) in seen.head.lines().skip(1).filter_map(|line| line.split_once(": ")) {
        headers.append(HeaderName::from_bytes(name.as_bytes()).expect("a name"), value.parse().expect("a value"));
    }
    let claim = Claim::parse(method, path, query, &headers)?;
    claim.check_times(now)?;
    claim.verify(&code.public().signing, &seen.body)
}

fn confirm_request() -> ConfirmRequest {
    let fingerprint = crate::connection_string::Fingerprint::from_bytes([7; 32]);
    ConfirmRequest { reservation: Uuid::nil(), fingerprint, evidence: crate::api::Evidence::ReadBack, hardware_id: None }
}

#[tokio::test]
async fn a_registration_is_signed_as_sent_and_opened() {
    let (code, job, serial) = (AccessCode::generate(Kind::Station), Uuid::now_v7(), "a/b c");
    let first = registration(&code, serial, job, CREDENTIAL);
    let world = world(&code, [json_answer(201, &first), json_answer(200, &first)]).await;
    let request = RegisterRequest { station: Some("S1".into()), ..RegisterRequest::default() };
    let new = world.client.register(serial, job, &request).await.expect("registered");
    let again = world.client.register(serial, job, &request).await.expect("repeated");
    assert_eq!((new.repeated, again.repeated), (false, true));
    assert_eq!(&*new.credential.reveal(), CREDENTIAL);
    let seen = world.server.seen();
    assert_eq!(seen[0].request_line(), "PUT /v1/devices/a%2Fb%20c HTTP/1.1");
    assert_eq!(seen[0].header("idempotency-key"), Some(format!("\"{job}\"").as_str()));
    check(&seen[0], &code, clock_unix()).expect("the signature holds");
    assert_eq!(seen[1].connection, 0, "connections are kept");
}

#[tokio::test]
async fn a_get_is_signed_too() {
    let code = AccessCode::generate(Kind::Station);
    let page = json_answer(200, &json!({"version": 1, "releases": [], "next": 7, "more": false}));
    let world = world(&code, [problem(404, "", "serial-unknown"), page]).await;
    let error = world.client.status("QD-7").await.expect_err("unknown");
    assert_eq!(error.code(), Code::SerialUnknown);
    assert_eq!(world.client.releases(7).await.expect("answers").next, 7);
    let seen = world.server.seen();
    assert_eq!(seen[1].request_line(), "GET /v1/releases?after=7 HTTP/1.1");
    for seen in &seen {
        check(seen, &code, clock_unix()).expect("the signature holds");
    }
}

#[tokio::test]
async fn what_passes_is_asked_again_under_the_same_key() {
    let (code, job) = (AccessCode::generate(Kind::Station), Uuid::now_v7());
    let script = [
        Then::Close,
        Then::Reset,
        Then::Silence,
        Then::SendAndClose("HTTP/1.1 201 X\r\nContent-Length: 500\r\n\r\n{\"version\":1".into()),
        answer(502, "", "<html>"),
        problem(409, "", "in-progress"),
        problem(503, "Retry-After: 0\r\n", "hub-slow"),
        answer(200, "", CONFIRMED),
    ];
    let tries = script.len();
    let world = world(&code, script).await;
    world.client.confirm("QD-7", job, &confirm_request()).await.expect("confirmed");
    let seen = world.server.seen();
    assert_eq!(seen.len(), tries);
    for seen in &seen {
        assert_eq!(seen.header("idempotency-key"), Some(format!("\"{job}\"").as_str()));
        check(seen, &code, clock_unix()).expect("each try is signed");
    }
    let events = world.events.lock().expect("no panic");
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Waiting { .. })).count(), tries - 1);
}

#[tokio::test]
async fn what_does_not_pass_is_told_at_once() {
    let code = AccessCode::generate(Kind::Station);
    for (then, expected) in [
        (problem(409, "", "serial-taken"), Code::SerialTaken),
        (problem(403, "", "access-code-revoked"), Code::AccessCodeRevoked),
        (problem(503, "", "hub-refuses-owner"), Code::HubRefusesOwner),
        (problem(422, "", "of-a-newer-service"), Code::ProductRefused),
        (answer(404, "", "<html>"), Code::AnswerInvalid),
        (answer(301, "Location: https://elsewhere.example/\r\n", ""), Code::AnswerInvalid),
        (answer(200, "", &" ".repeat(70_000)), Code::AnswerInvalid),
        (answer(200, "", "<html>"), Code::AnswerInvalid),
    ] {
        let world = world(&code, [then]).await;
        assert_eq!(world.client.access().await.expect_err("refused").code(), expected);
        assert_eq!(world.server.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_wait_longer_than_the_patience_is_not_begun() {
    let code = AccessCode::generate(Kind::Station);
    let world = world(&code, [problem(503, "Retry-After: 60\r\n", "hub-throttled")]).await;
    let error = world.client.access().await.expect_err("throttled");
    assert_eq!(error.code(), Code::HubThrottled);
    assert!(world.events.lock().expect("no panic").is_empty());
}

#[tokio::test]
async fn nobody_there_is_unreachable_once_the_patience_is_gone() {
    let code = AccessCode::generate(Kind::Station);
    let client = client_at(nobody().await, code, Duration::from_millis(20));
    let waits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&waits);
    client.on_event(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!(client.access().await.expect_err("nobody").code(), Code::ServiceUnreachable);
    assert!(waits.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_and_told_once() {
    let code = AccessCode::generate(Kind::Station);
    let ahead = 7200;
    let time = Timestamp::from_second(clock_unix() + ahead).expect("a time");
    let skewed = || answer(401, "", &json!({"code": "clock-skew", "server_time": time}).to_string());
    let world = world(&code, [skewed(), answer(200, "", CONFIRMED), skewed(), answer(200, "", CONFIRMED)]).await;
    world.client.confirm("QD-7", Uuid::now_v7(), &confirm_request()).await.expect("confirmed");
    world.client.clone().confirm("QD-8", Uuid::now_v7(), &confirm_request()).await.expect("confirmed");
    let seen = world.server.seen();
    assert_eq!(seen[0].header("qdrs-signed-target"), Some("PUT /v1/devices/QD-7/confirmation"));
    check(&seen[0], &code, clock_unix()).expect("signed with the wrong time");
    for seen in &seen[1..] {
        check(seen, &code, clock_unix() + ahead).expect("signed with the service's time");
    }
    let events = world.events.lock().expect("no panic");
    assert!(matches!(events[..], [Event::ClockCorrected { seconds }] if seconds.abs_diff(ahead) < 30), "{events:?}");
}

#[test]
fn the_side_of_a_clock_that_is_off_is_said_right() {
    // Added to this computer's time: what has to be added was missing, so it is behind.
    assert!(clock_sentence(7200).starts_with("this computer's clock is 7200 s behind the service's;"));
    assert!(clock_sentence(-7200).starts_with("this computer's clock is 7200 s ahead of the service's;"));
}

#[tokio::test]
async fn a_clock_that_no_correction_mends_is_told() {
    let code = AccessCode::generate(Kind::Station);
    let skewed = || answer(401, "", &json!({"code": "clock-skew", "server_time": "2026-11-24T06:00:00Z"}).to_string());
    let world = world(&code, [skewed(), skewed(), skewed(), skewed()]).await;
    assert_eq!(world.client.access().await.expect_err("skewed").code(), Code::ClockSkew);
    assert_eq!(world.server.seen().len(), 3);
}

#[test]
fn a_credential_is_checked_before_it_is_handed_out() {
    let (code, job) = (AccessCode::generate(Kind::Station), Uuid::now_v7());
    let open = |serial, job, registration: &Registration| {
        open_registration(&code, serial, job, registration).map(drop).map_err(|error| error.code())
    };
    let good = registration(&code, "qd-7", job, CREDENTIAL);
    assert_eq!(open("qd-7", job, &good), Ok(()));
    assert_eq!(open("QD-7", job, &good), Err(Code::SealBroken), "sealed for the serial as sent");
    assert_eq!(open("qd-7", Uuid::now_v7(), &good), Err(Code::SealBroken));
    assert_eq!(open("qd-7", job, &Registration { reservation: Uuid::nil(), ..good.clone() }), Err(Code::SealBroken));
    assert_eq!(open("qd-7", job, &Registration { device_id: "qd-7".into(), ..good.clone() }), Err(Code::SealBroken));
    assert_eq!(open("qd-7", job, &Registration { hub: "other.example".into(), ..good.clone() }), Err(Code::SealBroken));
    assert_eq!(open("qd-7", job, &Registration { hub: "CONTOSO.azure-devices.net".into(), ..good.clone() }), Ok(()));
    assert_eq!(open("qd-7", job, &Registration { sealed: Sealed { enc: vec![], ct: vec![] }, ..good }), Err(Code::SealBroken));
    let odd = registration(&code, "qd-7", job, "HostName=x;SharedAccessKey=SECRET");
    let error = open_registration(&code, "qd-7", job, &odd).expect_err("no connection string");
    assert!(!error.to_string().contains("SECRET"), "{error}");
}

#[tokio::test]
async fn a_serial_that_no_address_can_hold_is_not_sent() {
    let code = AccessCode::generate(Kind::Station);
    let world = world(&code, []).await;
    for serial in ["", ".", ".."] {
        assert_eq!(world.client.status(serial).await.expect_err("refused").code(), Code::SerialInvalid);
    }
    assert!(world.server.seen().is_empty());
}

#[test]
fn plain_http_is_refused_but_to_this_computer() {
    let new = |service: &str| {
        let code = AccessCode::generate(Kind::Station);
        let (service, patience) = (service.parse().expect("a URL"), Duration::ZERO);
        Client::new(ClientOptions { service, code, ca_file_pem: None, patience, user_agent: "test/1".into() })
            .map(drop)
            .map_err(|error| error.code())
    };
    assert_eq!(new("http://qdrs.example"), Err(Code::SettingInvalid));
    assert_eq!(new("https://user:secret@qdrs.example"), Err(Code::SettingInvalid));
    assert_eq!(new("http://127.0.0.1:8080"), Ok(()));
}

#[tokio::test]
async fn an_untrusted_certificate_fails_at_once_and_a_trusted_one_does_not() {
    let (code, server) = (AccessCode::generate(Kind::Station), TlsServer::with_a_certificate_of_its_own());
    let client = client_at(server.url(), code.clone(), Duration::from_secs(20));
    let error = client.access().await.expect_err("untrusted");
    assert_eq!((error.code(), server.tries()), (Code::CertificateUntrusted, 1), "{error}");
    let (service, ca_file_pem) = (server.url(), Some(server.pem()));
    let options = ClientOptions { service, code, ca_file_pem, patience: Duration::ZERO, user_agent: "test/1".into() };
    let error = Client::new(options).expect("a client").access().await.expect_err("it answers 503");
    assert_eq!(
        error.to_string(),
        format!("the service at `{}` can't be reached: it answers 503", server.url().as_str().trim_end_matches('/'))
    );
}
