//! The HTTP surface, from the outside: real signatures, the real ledger, and the emulator as the hub.

use std::{collections::BTreeMap, sync::Mutex};

use axum::{body::Body, routing::get};
use http::HeaderMap;
use jiff::{Timestamp, ToSpan as _};
use qdrs_core::{
    access::{AccessCode, sign},
    api::{ConfirmRequest, Evidence, Kind, Permission, Problem, Registration},
    client::open_registration,
    hub::{AzureHub, Hub},
    policy::Policy,
};
use serde::de::DeserializeOwned;
use tower::ServiceExt as _;

use super::*;
use crate::{
    emulator::{self, Emulator, EmulatorOptions},
    ledger::{Access, AccessState, Ledger, SqliteLedger},
    limits::Limits,
};

mod addresses;
mod edges;
mod hub;
mod log;
mod proxy;
mod words;

const POLICY: &str = "[form]\npattern = 'QD-[0-9]{4}'\nsay = '`QD-` and four digits'";

struct World {
    _dir: tempfile::TempDir,
    emulator: emulator::Running,
    ledger: Arc<SqliteLedger>,
    app: App,
    router: Router,
}

/// One station or product, and its job's key.
struct Holder {
    code: AccessCode,
    job: Uuid,
}

/// What came back.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The problem's code, after seeing that it is a whole problem.
    #[track_caller]
    fn problem(&self) -> String {
        let problem: Problem = self.json();
        assert_eq!(self.headers[CONTENT_TYPE], answer::PROBLEM_JSON);
        assert_eq!(self.headers[CACHE_CONTROL], "no-store");
        assert_eq!((problem.status, problem.kind.as_str()), (self.status, format!("/problems/{}", problem.code).as_str()));
        let retry_after = self.headers.get("retry-after").map(|value| value.to_str().expect("text").parse().expect("seconds"));
        assert_eq!(retry_after, problem.retry_after);
        let row = Code::find(&problem.code).expect("a code of the table").row();
        assert_eq!(retry_after.is_some(), row.retry, "{}: `Retry-After` says that a retry makes sense", problem.code);
        problem.code
    }
}

impl World {
    async fn new() -> Self {
        Self::with(Limits::none()).await
    }

    async fn with(limits: Limits) -> Self {
        Self::over(limits, "localhost", |hub| hub).await
    }

    /// With a hub of that name.
    async fn over(limits: Limits, host_name: &str, setting: impl FnOnce(AzureHub) -> AzureHub) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let options = EmulatorOptions { hub_name: host_name.into(), ..EmulatorOptions::default() };
        let emulator = Emulator::start(options).await.expect("an emulator");
        let base = emulator.http_url.parse().expect("a URL");
        let owner = emulator.connection_string(host_name, "iothubowner").expect("a connection string");
        let hub: Arc<dyn Hub> = Arc::new(setting(AzureHub::new(owner, Some(base), None).expect("a hub")));
        let ledger = Arc::new(SqliteLedger::open_or_make(&dir.path().join("ledger.sqlite")).expect("a ledger"));
        let policies = BTreeMap::from([("buttons".to_owned(), Policy::parse("buttons", POLICY).expect("a policy"))]);
        let registrar = Registrar::new(ledger.clone(), BTreeMap::from([("main".to_owned(), hub)]), policies);
        let network = toml::from_str("trusted_proxies = ['127.0.0.0/8']").expect("settings");
        let app = App {
            registrar,
            gate: Arc::new(Gate::new(limits)),
            tallies: Arc::default(),
            network: Arc::new(network),
            slots: Slots::new(crate::network::Capacity::new(16, 16, None)),
            readiness: Arc::default(),
        };
        Self { _dir: dir, emulator, ledger, router: router(app.clone()), app }
    }

    async fn station(&self, name: &str) -> Holder {
        self.holder(name, |_| {}).await
    }

    async fn holder(&self, name: &str, change: impl FnOnce(&mut Access)) -> Holder {
        let mut access = Access {
            key_id: qdrs_core::access::KeyId::from_bytes([0; 8]),
            keys: AccessCode::generate(Kind::Station).public(),
            name: name.into(),
            kind: Kind::Station,
            policy: "buttons".into(),
            hub: "main".into(),
            quota: None,
            made: 0,
            rework: 0,
            reworked: 0,
            rate_per_minute: None,
            not_before: None,
            expires: None,
            permissions: vec![Permission::TakeOver],
            state: AccessState::Active,
            created_at: Timestamp::now(),
        };
        change(&mut access);
        let code = AccessCode::generate(access.kind);
        (access.key_id, access.keys) = (code.key_id(), code.public());
        self.ledger.access_create(access).await.expect("kept");
        Holder { code, job: Uuid::now_v7() }
    }

    async fn send(&self, request: http::Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        assert!(parts.headers.contains_key(REQUEST_ID), "every answer has a name");
        let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body").to_vec();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn put(&self, who: &Holder, serial: &str, body: &str) -> Answer {
        self.send(who.signed("PUT", &format!("/v1/devices/{serial}"), body)).await
    }

    async fn get(&self, who: &Holder, path: &str) -> Answer {
        self.send(who.signed("GET", path, "")).await
    }

    async fn confirm(&self, who: &Holder, serial: &str, registration: &Registration) -> Answer {
        let credential = open_registration(&who.code, serial, who.job, registration).expect("opens");
        let body = ConfirmRequest {
            reservation: registration.reservation,
            fingerprint: credential.key.fingerprint(),
            evidence: Evidence::ReadBack,
            hardware_id: None,
        };
        let body = serde_json::to_string(&body).expect("JSON");
        self.send(who.signed("PUT", &format!("/v1/devices/{serial}/confirmation"), &body)).await
    }
}

impl Holder {
    fn signed(&self, method: &str, target: &str, body: &str) -> http::Request<Body> {
        self.signed_at(Timestamp::now().as_second(), method, target, body)
    }

    fn signed_at(&self, created: i64, method: &str, target: &str, body: &str) -> http::Request<Body> {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let job = format!("\"{}\"", self.job);
        let idempotency_key = (method == "PUT").then_some(job.as_str());
        let signed =
            sign::sign(&self.code, &sign::Request { method, path, query, idempotency_key, body: body.as_bytes() }, created);
        let mut request = http::Request::builder()
            .method(method)
            .uri(target)
            .header("content-digest", signed.content_digest)
            .header("signature-input", signed.signature_input)
            .header("signature", signed.signature);
        if let Some(job) = idempotency_key {
            request = request.header("idempotency-key", job);
        }
        request.body(Body::from(body.to_owned())).expect("a request")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serial_is_registered_repeated_and_confirmed() {
    let world = World::new().await;
    let line = world.station("line-1").await;
    let first = world.put(&line, "QD-0001", r#"{"station":"bench 3"}"#).await;
    assert_eq!((first.status, &first.headers[CACHE_CONTROL]), (201, &HeaderValue::from_static("no-store")));
    let again = world.put(&line, "QD-0001", "").await;
    assert_eq!(again.status, 200, "the same job, and an empty body is an empty object");
    let (first, again): (Registration, Registration) = (first.json(), again.json());
    let opened =
        |registration| open_registration(&line.code, "QD-0001", line.job, registration).expect("opens").key.fingerprint();
    assert_eq!(opened(&first), opened(&again));
    assert_eq!(world.emulator.identities().len(), 1);

    assert_eq!(world.confirm(&line, "QD-0001", &first).await.status, 200);
    assert_eq!(world.confirm(&line, "QD-0001", &first).await.status, 200, "idempotent");
    assert_eq!(world.put(&line, "QD-0001", "{}").await.problem(), "serial-taken");
    let status: qdrs_core::api::SerialStatus = world.get(&line, "/v1/devices/QD-0001").await.json();
    assert_eq!((status.state.as_str(), status.yours, status.station.as_deref()), ("confirmed", true, Some("bench 3")));
    let info: qdrs_core::api::AccessInfo = world.get(&line, "/v1/access?and=a%20query").await.json();
    assert_eq!((info.name.as_str(), info.registered), ("line-1", 1));
    let policy: qdrs_core::api::PolicyText = world.get(&line, "/v1/policy").await.json();
    let known = Policy::parse(&policy.name, &policy.toml).expect("a policy");
    assert!(policy.whole && known.check("QD-0001").is_ok() && known.check("QD-1").is_err(), "{policy:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn others_hear_what_their_kind_may_hear() {
    let world = World::new().await;
    let (line, other) = (world.station("line-1").await, world.station("line-2").await);
    let product = world.holder("product", |access| access.kind = Kind::Product).await;
    assert_eq!(world.put(&line, "QD-0001", r#"{"station":"bench 3"}"#).await.status, 201);
    let taken: Problem = world.put(&other, "QD-0001", "{}").await.json();
    assert_eq!((taken.code.as_str(), taken.station.as_deref(), taken.yours), ("serial-taken", Some("bench 3"), Some(false)));
    let recipient = r#"{"recipient":"xQeAd7bSsqSKNMbhEQnd0GV0HZntCGIttGLvuF9IKXY="}"#;
    assert_eq!(world.get(&product, "/v1/policy").await.problem(), "refused");
    for serial in ["QD-0001", "QD-1", "nonsense"] {
        assert_eq!(world.put(&product, serial, recipient).await.problem(), "refused", "{serial}");
    }
    assert_eq!(world.get(&product, "/v1/devices/QD-0001").await.problem(), "refused");
    assert_eq!(world.get(&other, "/v1/devices/QD-0002").await.problem(), "serial-unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_station_hears_which_of_its_codes_journals_has_a_serial() {
    let world = World::new().await;
    let (line, job) = (world.station("line-1").await, Uuid::now_v7());
    let (mine, other) = (Uuid::now_v7(), Uuid::now_v7());
    assert_eq!(world.put(&line, "QD-0001", &format!(r#"{{"station":"bench 3","journal":"{mine}"}}"#)).await.status, 201);
    let cloned = Holder { code: line.code.clone(), job };
    let taken: Problem = world.put(&cloned, "QD-0001", &format!(r#"{{"station":"bench 3","journal":"{other}"}}"#)).await.json();
    assert_eq!((taken.code.as_str(), taken.yours, taken.journal), ("serial-taken", Some(true), Some(mine)));
    let by_name = format!(
        r#"{{"journal":"{other}","take_over":{{"reason":"bench 3 burnt"}},"replaces":"{}"}}"#,
        taken.reservation.expect("it is its own")
    );
    assert_eq!(world.put(&cloned, "QD-0001", &by_name.replace("replaces", "ignored")).await.problem(), "serial-taken");
    assert_eq!(world.put(&cloned, "QD-0001", &by_name).await.status, 201);
    let info: qdrs_core::api::AccessInfo = world.get(&line, &format!("/v1/access?journal={mine}")).await.json();
    assert_eq!(info.journal_registered, Some(1));
    assert_eq!(world.get(&line, "/v1/access?journal=x").await.problem(), "bad-request");
    assert_eq!(world.put(&line, "QD-0002", r#"{"journal":"x"}"#).await.problem(), "bad-request");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_check_has_its_own_word() {
    let world = World::new().await;
    let line = world.station("line-1").await;
    let unsigned = http::Request::get("/v1/access").body(Body::empty()).expect("a request");
    assert_eq!(world.send(unsigned).await.problem(), "signature-missing");

    let mut changed = line.signed("PUT", "/v1/devices/QD-0001", "{}");
    *changed.body_mut() = Body::from("{ }");
    assert_eq!(world.send(changed).await.problem(), "signature-invalid");
    let mut moved = line.signed("PUT", "/v1/devices/QD-0001", "{}");
    *moved.uri_mut() = Uri::from_static("/v1/devices/QD-0002");
    assert_eq!(world.send(moved).await.problem(), "signature-invalid");

    let stranger = Holder { code: AccessCode::generate(Kind::Station), job: Uuid::now_v7() };
    assert_eq!(world.get(&stranger, "/v1/access").await.problem(), "access-code-unknown");
    for (skew, ahead) in [(-3600, false), (3600, true)] {
        let skewed = world.send(line.signed_at(Timestamp::now().as_second() + skew, "GET", "/v1/access", "")).await;
        assert_eq!(skewed.problem(), "clock-skew", "ahead: {ahead}");
        let told = skewed.json::<Problem>().server_time.expect("the service's time");
        assert!(told.duration_until(Timestamp::now()).as_secs().abs() < 60);
    }
    let mut without = line.signed("PUT", "/v1/devices/QD-0001", "{}");
    let input = without.headers()["signature-input"].to_str().expect("text").replace(" \"idempotency-key\"", "");
    without.headers_mut().insert("signature-input", input.parse().expect("a header"));
    without.headers_mut().remove("idempotency-key");
    assert_eq!(world.send(without).await.problem(), "idempotency-key-missing");

    assert_eq!(world.put(&line, "QD-0001", "{").await.problem(), "bad-request");
    assert_eq!(world.put(&line, "QD-0001", r#"{"station":7}"#).await.problem(), "bad-request");
    assert_eq!(world.put(&line, "QD-%zz", "{}").await.problem(), "bad-request");
    assert_eq!(world.put(&line, "QD-1", "{}").await.problem(), "serial-invalid");
    let encoded: Problem = world.put(&line, "QD%2F0001", "{}").await.json();
    assert!(encoded.detail.contains("QD/0001"), "signed as sent, read decoded: {}", encoded.detail);
    assert!(world.emulator.identities().is_empty(), "nothing of this has reached the hub");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_axum_refuses_is_a_problem_too() {
    let world = World::new().await;
    let line = world.station("line-1").await;
    let plain =
        |method: &str, path: &str| http::Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
    assert_eq!(world.send(plain("GET", "/nowhere")).await.problem(), "route-unknown");
    assert_eq!(world.send(plain("GET", "/v1/devices/")).await.problem(), "route-unknown");
    let wrong = world.send(plain("DELETE", "/v1/devices/QD-0001")).await;
    assert_eq!(wrong.problem(), "method-not-allowed");
    assert!(wrong.headers["allow"].to_str().is_ok_and(|allow| allow.contains("PUT")));

    let long = "x".repeat(BODY_BYTES_MAX + 1);
    assert_eq!(world.put(&line, "QD-0001", &long).await.problem(), "body-too-large");
    let mut announced = line.signed("PUT", "/v1/devices/QD-0001", "{}");
    announced.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(1_000_000));
    assert_eq!(world.send(announced).await.problem(), "body-too-large");

    let world = World {
        router: finish(Router::new().route("/panic", get(async || -> () { panic!("a secret") })), world.app.clone()),
        ..world
    };
    let panicked = world.send(plain("GET", "/panic")).await;
    assert_eq!((panicked.problem().as_str(), panicked.status), ("internal", 500));
    assert!(!String::from_utf8_lossy(&panicked.body).contains("secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_the_body_was_read_closes_the_connection() {
    let world = World::new().await;
    let line = world.station("line-1").await;
    let closes = |answer: &Answer| answer.headers.get("connection").is_some_and(|value| value == "close");
    let put = |path: &str| http::Request::put(path).body(Body::from("{}")).expect("a request");
    let mut announced = line.signed("PUT", "/v1/devices/QD-0001", "{}");
    announced.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(1_000_000));
    for (request, code) in [
        (announced, "body-too-large"),
        (put("/v1/devices/QD-0001"), "signature-missing"),
        (put("/v1/access"), "method-not-allowed"),
        (put("/nowhere"), "route-unknown"),
        (line.signed_at(0, "PUT", "/v1/devices/QD-0001", "{}"), "clock-skew"),
    ] {
        let answer = world.send(request).await;
        assert_eq!((answer.problem().as_str(), closes(&answer)), (code, true));
    }
    let mut http2 = put("/nowhere");
    *http2.version_mut() = Version::HTTP_2;
    assert!(!closes(&world.send(http2).await), "there it is a stream that ends");
    for answer in [
        world.put(&line, "QD-0001", "{").await,
        world.put(&line, "QD-0001", "{}").await,
        world.get(&line, "/v1/access").await,
        world.send(http::Request::get("/nowhere").body(Body::empty()).expect("a request")).await,
    ] {
        assert!(!closes(&answer), "{}", answer.status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_is_stopped_may_confirm_and_nothing_else() {
    let world = World::new().await;
    let line = world.station("line-1").await;
    let made: Registration = world.put(&line, "QD-0001", "{}").await.json();
    let set = async |state| world.ledger.access_set_state("line-1".into(), state).await.expect("set");
    set(AccessState::Suspended).await;
    assert_eq!(world.put(&line, "QD-0001", "{}").await.problem(), "access-code-suspended");
    assert_eq!(world.get(&line, "/v1/access").await.problem(), "access-code-suspended");
    assert_eq!(world.confirm(&line, "QD-0001", &made).await.status, 200);
    set(AccessState::Revoked).await;
    assert_eq!(world.confirm(&line, "QD-0001", &made).await.problem(), "access-code-revoked");

    let now = Timestamp::now();
    let past = world.holder("past", |access| access.expires = Some(now - 1.hour())).await;
    assert_eq!(world.put(&past, "QD-0002", "{}").await.problem(), "access-code-expired");
    let future = world.holder("future", |access| access.not_before = Some(now + 1.hour())).await;
    assert_eq!(world.put(&future, "QD-0002", "{}").await.problem(), "access-code-not-yet-valid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_station_releases_what_it_made_as_often_as_it_may() {
    let world = World::new().await;
    let line = world.holder("line-1", |access| access.rework = 1).await;
    let other = world.holder("line-2", |access| access.rework = 1).await;
    let product = world.holder("product", |access| (access.kind, access.rework) = (Kind::Product, 1)).await;
    let made: Registration = world.put(&line, "QD-0001", "{}").await.json();
    world.confirm(&line, "QD-0001", &made).await;
    let release = async |who: &Holder, serial: &str, reservation: Uuid| {
        let body = format!(r#"{{"reservation":"{reservation}","reason":"cracked case"}}"#);
        // On a busy machine the hub's part takes longer than a test's answer waits; a station asks again, too.
        loop {
            let answer = world.send(who.signed("PUT", &format!("/v1/devices/{serial}/release"), &body)).await;
            if answer.status != 409 || answer.problem() != "in-progress" {
                return answer;
            }
        }
    };
    let status: qdrs_core::api::SerialStatus = world.get(&line, "/v1/devices/QD-0001").await.json();
    assert_eq!(status.reservation, Some(made.reservation), "who has lost its journal hears what to release");
    let others: qdrs_core::api::SerialStatus = world.get(&other, "/v1/devices/QD-0001").await.json();
    assert_eq!(others.reservation, None);
    assert_eq!(release(&other, "QD-0001", made.reservation).await.problem(), "serial-unknown");
    assert_eq!(release(&product, "QD-0001", made.reservation).await.problem(), "refused");
    assert_eq!(world.send(line.signed("PUT", "/v1/devices/QD-0001/release", "{}")).await.problem(), "bad-request");
    let set = async |state| world.ledger.access_set_state("line-1".into(), state).await.expect("set");
    set(AccessState::Suspended).await;
    assert_eq!(release(&line, "QD-0001", made.reservation).await.problem(), "access-code-suspended");
    assert_eq!(world.emulator.identities().len(), 1, "nothing of this has reached the hub");
    set(AccessState::Active).await;

    let released = release(&line, "QD-0001", made.reservation).await;
    assert_eq!(released.status, 200);
    assert!(world.emulator.identities().is_empty());
    assert_eq!(release(&line, "QD-0001", made.reservation).await.body, released.body, "the same again");
    assert_eq!(world.confirm(&line, "QD-0001", &made).await.problem(), "released");
    let again = Holder { code: line.code.clone(), job: Uuid::now_v7() };
    let again: Registration = world.put(&again, "QD-0001", "{}").await.json();
    assert_eq!(release(&line, "QD-0001", again.reservation).await.problem(), "rework-used-up");
    let info: qdrs_core::api::AccessInfo = world.get(&line, "/v1/access").await.json();
    assert_eq!((info.rework, info.reworked, info.registered), (1, 1, 1));

    let dead: qdrs_core::api::Releases = world.get(&line, "/v1/releases?after=0").await.json();
    assert_eq!(dead.releases.iter().map(|one| one.reservation).collect::<Vec<_>>(), [made.reservation]);
    let none: qdrs_core::api::Releases = world.get(&line, &format!("/v1/releases?after={}", dead.next)).await.json();
    assert!(none.releases.is_empty() && !none.more);
    assert_eq!(world.get(&other, "/v1/releases").await.json::<qdrs_core::api::Releases>().releases, []);
    assert_eq!(world.get(&line, "/v1/releases?after=-1").await.problem(), "bad-request");
    assert_eq!(world.get(&product, "/v1/releases").await.problem(), "refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_charged_only_for_what_it_signed() {
    let world = World::with(Limits { code_per_minute: 1, code_burst: 1, ..Limits::none() }).await;
    let line = world.station("line-1").await;
    for _ in 0..5 {
        let mut forged = line.signed("GET", "/v1/access", "");
        *forged.uri_mut() = Uri::from_static("/v1/devices/QD-0001");
        assert_eq!(world.send(forged).await.problem(), "signature-invalid");
    }
    assert_eq!(world.get(&line, "/v1/access").await.status, 200);
    assert_eq!(world.get(&line, "/v1/access").await.problem(), "code-rate-limited");
}

#[test]
fn the_description_is_as_it_was() {
    insta::assert_snapshot!("openapi", openapi().to_pretty_json().expect("JSON"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_route_of_the_description_is_served_and_says_who_may_ask() {
    let world = World::new().await;
    let ready = world.send(http::Request::get("/readyz").body(Body::empty()).expect("a request")).await;
    assert_eq!(ready.status, 200);
    let served: serde_json::Value =
        world.send(http::Request::get("/openapi.json").body(Body::empty()).expect("a request")).await.json();
    assert_eq!(served["openapi"], "3.1.0");
    let paths = served["paths"].as_object().expect("paths");
    let seen = Mutex::new(Vec::new());
    for (path, methods) in paths {
        for (method, what) in methods.as_object().expect("methods") {
            let uri = path.replace("{serial}", "QD-0001");
            let request =
                http::Request::builder().method(method.to_uppercase().as_str()).uri(uri).body(Body::empty()).expect("a request");
            let signed = what.get("security").is_some();
            let answer = world.send(request).await;
            assert_eq!(answer.status, if signed { 401 } else { 200 }, "{method} {path}");
            seen.lock().expect("whole").push(format!("{method} {path}"));
        }
    }
    // What DESIGN 9 lists of this version, all of it described.
    for route in [
        "put /v1/devices/{serial}",
        "get /v1/devices/{serial}",
        "put /v1/devices/{serial}/confirmation",
        "put /v1/devices/{serial}/release",
        "get /v1/releases",
        "get /v1/access",
        "get /healthz",
        "get /readyz",
        "get /openapi.json",
    ] {
        assert!(seen.lock().expect("whole").iter().any(|one| one == route), "{route} is not described");
    }
}

#[test]
fn each_problem_reads_as_it_did() {
    let problems: Vec<_> = Code::ALL
        .iter()
        .filter(|code| code.row().status.is_some())
        .map(|code| Problem::new(*code, "what happened this time"))
        .collect();
    insta::assert_json_snapshot!("problems", problems);
}
