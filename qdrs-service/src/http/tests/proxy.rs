//! What a proxy does to a request on its way: a prefix put before its path or taken off, and what else it may change.

use super::*;

const PREFIX: &str = "/qdrs";

/// A request as a proxy passes it on: to another address, with further headers.
fn passed(mut request: http::Request<Body>, target: &str, headers: &[(&'static str, &str)]) -> http::Request<Body> {
    *request.uri_mut() = target.parse().expect("a target");
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().expect("a header"));
    }
    request
}

impl World {
    async fn behind(prefix: &str) -> Self {
        let world = Self::new().await;
        let mut app = world.app.clone();
        app.network = Arc::new(Network { path_prefix: prefix.to_owned(), ..(*app.network).clone() });
        Self { router: router(app.clone()), app, ..world }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_that_a_proxy_takes_off_or_puts_before_is_a_setting() {
    let world = World::behind(PREFIX).await;
    let line = world.station("line-1").await;
    for (signed, arrives) in [
        ("/qdrs/v1/access", "/v1/access"),
        ("/qdrs/v1/access", "/qdrs/v1/access"),
        ("/v1/access", "/qdrs/v1/access"),
        ("/v1/access", "/v1/access"),
        ("/qdrs/v1/releases?after=0", "/v1/releases?after=0"),
    ] {
        let answer = world.send(passed(line.signed("GET", signed, ""), arrives, &[])).await;
        assert_eq!(answer.status, 200, "{signed} arrives as {arrives}: {}", String::from_utf8_lossy(&answer.body));
    }
    let put = line.signed("PUT", "/qdrs/v1/devices/QD-0001", "{}");
    let made = world.send(passed(put, "/v1/devices/QD-0001", &[])).await;
    assert_eq!(made.status, 201, "the serial is found behind the prefix");
    for path in ["/qdrs/healthz", "/healthz", "/qdrs/openapi.json"] {
        let plain = http::Request::get(path).body(Body::empty()).expect("a request");
        assert_eq!(world.send(plain).await.status, 200, "{path}");
    }
    // Only this prefix, and only as a whole.
    for (signed, arrives) in [("/other/v1/access", "/v1/access"), ("/qdrs/v1/access", "/v1/policy")] {
        let answer = world.send(passed(line.signed("GET", signed, ""), arrives, &[])).await;
        assert_eq!(answer.problem(), "signature-invalid", "{signed} arrives as {arrives}");
    }
    let near = world.send(passed(line.signed("GET", "/qdrsv1/access", ""), "/qdrsv1/access", &[])).await;
    assert_eq!(near.problem(), "route-unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_changed_is_said_with_the_setting_that_fixes_it() {
    let world = World::new().await;
    let line = world.station("line-1").await;
    let hint = |target: &'static str| [("qdrs-signed-target", target)];
    for (signed, arrives, headers) in [
        ("/qdrs/v1/access", "/v1/access", hint("GET /qdrs/v1/access")),
        ("/qdrs/v1/access", "/v1/access", [("x-forwarded-prefix", "/qdrs/")]),
        ("/qdrs/v1/access", "/v1/access", [("x-original-uri", "/qdrs/v1/access")]),
        ("/qdrs/v1/access", "/v1/access", [("x-original-url", "https://qdrs.example/qdrs/v1/access")]),
    ] {
        let problem: Problem = world.send(passed(line.signed("GET", signed, ""), arrives, &headers)).await.json();
        assert_eq!((problem.code.as_str(), problem.status), ("signature-invalid", 401), "{headers:?}");
        assert!(problem.detail.starts_with("the request was changed on the way: `GET /qdrs/v1/access`"), "{}", problem.detail);
        assert!(problem.help.contains("`path_prefix = \"/qdrs\"`") && !problem.help.contains("setup"), "{}", problem.help);
    }
    for (signed, arrives, headers) in [
        ("/v1/releases?after=0&x=1", "/v1/releases?x=1&after=0", hint("GET /v1/releases?after=0&x=1")),
        ("/v1/devices/QD%2D0001", "/v1/devices/QD-0001", hint("GET /v1/devices/QD%2D0001")),
        ("/v1/devices/QD%2f1", "/v1/devices/QD%2F1", [("x", "y")]),
        ("/v1/devices/QD%3A1", "/v1/devices/QD:1", [("x", "y")]),
    ] {
        let problem: Problem = world.send(passed(line.signed("GET", signed, ""), arrives, &headers)).await.json();
        assert!(problem.detail.contains("changed on the way") && problem.detail.contains(signed), "{}", problem.detail);
        assert!(problem.help.contains("pass method, path and query on"), "{}", problem.help);
    }

    // Without a hint the answer says what arrived, and both ways out.
    let bare = world.send(passed(line.signed("GET", "/qdrs/v1/access", ""), "/v1/access", &[])).await;
    let problem: Problem = bare.json();
    assert!(problem.detail.contains("`GET /v1/access`") && problem.detail.contains("changed on the way"), "{}", problem.detail);
    assert!(problem.help.contains("`path_prefix`") && !problem.help.contains("setup"), "{}", problem.help);

    // The body: another one, and none where one was signed.
    for (body, says) in [("{ }", "its body is not the one that was signed"), ("", "a body was signed, and none arrived")] {
        let mut request = line.signed("PUT", "/v1/devices/QD-0001", "{}");
        *request.body_mut() = Body::from(body);
        let problem: Problem = world.send(request).await.json();
        assert_eq!((problem.code.as_str(), problem.detail.contains(says)), ("signature-invalid", true), "{}", problem.detail);
        assert!(problem.help.contains("the proxy between station and service"), "{}", problem.help);
    }
    assert!(world.emulator.identities().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hint_proves_nothing() {
    let world = World::new().await;
    let line = world.station("line-1").await;
    // A stranger repeats a request line for which there is no signature.
    let mut forged = line.signed("GET", "/v1/access", "");
    let other = AccessCode::generate(Kind::Station);
    let signed = Holder { code: other, job: line.job }.signed("GET", "/v1/access", "");
    forged.headers_mut().insert("signature", signed.headers()["signature"].clone());
    let problem: Problem = world.send(passed(forged, "/v1/access", &[("qdrs-signed-target", "GET /v1/access")])).await.json();
    assert_eq!(problem.code, "signature-invalid");
    assert!(!problem.detail.contains("was signed, and"), "{}", problem.detail);
    assert!(!problem.help.contains("run `qdrs setup`"), "{}", problem.help);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_that_is_not_set_and_a_header_that_was_dropped_are_named() {
    let world = World::new().await;
    let line = world.station("line-1").await;
    let problem: Problem = world.send(line.signed("GET", "/api/v1/access", "")).await.json();
    assert_eq!(problem.code, "route-unknown");
    assert!(problem.detail.contains("`path_prefix = \"/api\"`"), "{}", problem.detail);
    for no_prefix in ["//v1/access", "/api//v1/access"] {
        let problem: Problem = world.send(line.signed("GET", no_prefix, "")).await.json();
        assert_eq!((problem.code.as_str(), problem.detail.contains("path_prefix")), ("route-unknown", false), "{no_prefix}");
    }
    let mut stripped = passed(line.signed("GET", "/v1/access", ""), "/v1/access", &[("qdrs-signed-target", "GET /v1/access")]);
    stripped.headers_mut().remove("signature-input");
    let problem: Problem = world.send(stripped).await.json();
    assert_eq!(problem.code, "signature-missing");
    assert!(problem.detail.contains("on the way"), "{}", problem.detail);
    // The router finds no address or method before any signature is looked at.
    let decoded = passed(
        line.signed("GET", "/v1/devices/QD%2F1", ""),
        "/v1/devices/QD/1",
        &[("qdrs-signed-target", "GET /v1/devices/QD%2F1")],
    );
    let problem: Problem = world.send(decoded).await.json();
    assert!(problem.detail.contains("the client sent `GET /v1/devices/QD%2F1`"), "{}", problem.detail);
    let mut posted = passed(
        line.signed("PUT", "/v1/devices/QD-0001", "{}"),
        "/v1/devices/QD-0001",
        &[("qdrs-signed-target", "PUT /v1/devices/QD-0001")],
    );
    *posted.method_mut() = Method::POST;
    let problem: Problem = world.send(posted).await.json();
    assert_eq!(problem.code, "method-not-allowed");
    assert!(problem.detail.contains("the client sent `PUT /v1/devices/QD-0001`"), "{}", problem.detail);
}
