//! Whom a request is charged to: addresses, proxies, access codes.

use super::{origin::Peer, *};
use crate::network::{Activity, Closing};

/// A request as it arrives over a connection from `peer`.
fn from(peer: &str, mut request: http::Request<Body>) -> http::Request<Body> {
    let peer = Peer { address: peer.parse().expect("an address"), ..Peer::default() };
    request.extensions_mut().insert(peer);
    request
}

/// The same, and what the connection is doing.
fn over_connection(peer: &str, mut request: http::Request<Body>) -> (http::Request<Body>, Arc<Activity>) {
    let peer = Peer { address: peer.parse().expect("an address"), ..Peer::default() };
    let activity = peer.activity.clone();
    request.extensions_mut().insert(peer);
    (request, activity)
}

/// The same through a proxy on this computer.
fn through(client: &str, mut request: http::Request<Body>) -> http::Request<Body> {
    request.headers_mut().insert("x-forwarded-for", client.parse().expect("a header"));
    from("127.0.0.1", request)
}

fn plain(path: &str) -> http::Request<Body> {
    http::Request::get(path).body(Body::empty()).expect("a request")
}

fn slow() -> Limits {
    Limits { address_per_minute: 1, address_burst: 3, ..Limits::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_from_an_address_does_not_stop_the_station_behind_it() {
    let world = World::with(slow()).await;
    let line = world.station("line-1").await;
    let stranger = Holder { code: AccessCode::generate(Kind::Station), job: Uuid::now_v7() };
    let mut forged = 0;
    for at in 0..30 {
        let unsigned = world.send(from("192.0.2.1", plain("/v1/access"))).await.problem();
        assert_eq!(unsigned, if at < 1 { "signature-missing" } else { "address-rate-limited" }, "{at}");
        let unknown = world.send(from("192.0.2.1", stranger.signed("GET", "/v1/access", ""))).await.problem();
        forged += usize::from(unknown == "access-code-unknown");
        let mut changed = line.signed("GET", "/v1/access", "");
        *changed.uri_mut() = Uri::from_static("/v1/policy");
        let changed = world.send(from("192.0.2.1", changed)).await.problem();
        assert!(["signature-invalid", "address-rate-limited"].contains(&changed.as_str()), "{changed}");
        let station = world.send(from("192.0.2.1", line.signed("GET", "/v1/access", ""))).await;
        assert_eq!(station.status, 200, "{at}");
    }
    assert!(forged <= 1, "what does not verify is charged, too: {forged}");
    // A wrong clock is corrected whatever the neighbours do.
    let skewed = line.signed_at(Timestamp::now().as_second() - 3600, "GET", "/v1/access", "");
    let skewed = world.send(from("192.0.2.1", skewed)).await;
    assert!(skewed.headers.contains_key("connection"), "it is counted as the others are");
    assert_eq!(skewed.problem(), "clock-skew");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_verifies_is_charged_to_its_code_and_not_to_its_address() {
    let world = World::with(slow()).await;
    let line = world.station("line-1").await;
    for _ in 0..20 {
        assert_eq!(world.send(from("192.0.2.1", line.signed("GET", "/v1/access", ""))).await.status, 200);
    }
    for expected in ["signature-missing", "signature-missing", "signature-missing", "address-rate-limited"] {
        assert_eq!(world.send(from("192.0.2.1", plain("/v1/access"))).await.problem(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_have_a_rate_of_their_own() {
    let world = World::with(slow()).await;
    for path in ["/healthz", "/readyz"].into_iter().cycle().take(30) {
        assert_eq!(world.send(from("192.0.2.1", plain(path))).await.status, 200);
    }
    for _ in 0..3 {
        assert_eq!(world.send(from("192.0.2.1", plain("/openapi.json"))).await.status, 200);
    }
    assert_eq!(world.send(from("192.0.2.1", plain("/openapi.json"))).await.problem(), "address-rate-limited");
    assert_eq!(world.send(from("192.0.2.1", plain("/healthz"))).await.status, 200);
    let mut asked = 0;
    while world.send(from("192.0.2.9", plain("/healthz"))).await.status == 200 {
        asked += 1;
        assert!(asked < 10_000, "without any limit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_behind_a_trusted_proxy_is_charged_by_its_own_address() {
    let world = World::with(slow()).await;
    for _ in 0..3 {
        assert_eq!(world.send(through("203.0.113.9, 192.0.2.66", plain("/nowhere"))).await.problem(), "route-unknown");
    }
    let refused = world.send(through("198.51.100.1, 192.0.2.66", plain("/nowhere"))).await;
    assert_eq!(refused.headers.get("connection"), None, "other clients use the proxy's connection as well");
    assert_eq!(refused.problem(), "address-rate-limited", "what the client writes itself does not count");
    assert_eq!(world.send(through("192.0.2.7", plain("/nowhere"))).await.problem(), "route-unknown", "another client");
    assert_eq!(world.send(from("127.0.0.1", plain("/nowhere"))).await.problem(), "route-unknown", "the proxy itself");
    for _ in 0..4 {
        let mut request = plain("/nowhere");
        request.headers_mut().insert("x-forwarded-for", HeaderValue::from_static("192.0.2.8"));
        world.send(from("192.0.2.99", request)).await;
    }
    assert_eq!(world.send(from("192.0.2.99", plain("/nowhere"))).await.problem(), "address-rate-limited", "who is no proxy");
    assert_eq!(world.send(through("192.0.2.8", plain("/nowhere"))).await.problem(), "route-unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_over_its_rate_loses_its_connection() {
    let world = World::with(slow()).await;
    let mut last = None;
    for _ in 0..4 {
        let answer = world.send(from("192.0.2.1", plain("/v1/access"))).await;
        last = answer.headers.get("connection").cloned();
        assert_eq!(last.is_some(), answer.problem() == "address-rate-limited");
    }
    assert_eq!(last, Some(HeaderValue::from_static("close")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_told_what_its_requests_came_to() {
    let world = World::with(slow()).await;
    let line = world.station("line-1").await;
    let (request, activity) = over_connection("192.0.2.1", plain("/v1/access"));
    assert_eq!(world.send(request).await.problem(), "signature-missing");
    assert!(!activity.is_verified() && activity.closing() == Closing::Open);
    let (request, activity) = over_connection("192.0.2.1", line.signed("GET", "/v1/access", ""));
    assert_eq!(world.send(request).await.status, 200);
    assert!(activity.is_verified() && activity.closing() == Closing::Open);
    for _ in 0..2 {
        world.send(from("192.0.2.1", plain("/v1/access"))).await;
    }
    // HTTP/2 has no header that ends a connection.
    let (mut request, activity) = over_connection("192.0.2.1", plain("/v1/access"));
    *request.version_mut() = Version::HTTP_2;
    let refused = world.send(request).await;
    assert_eq!((refused.headers.get("connection"), activity.closing()), (None, Closing::Finish));
    assert_eq!(refused.problem(), "address-rate-limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_of_a_station_keeps_its_part_of_the_connections() {
    let world = World::new().await;
    let line = world.station("line-1").await;
    let product = world.holder("product", |access| access.kind = Kind::Product).await;
    world.send(from("192.0.2.1", line.signed("GET", "/v1/access", ""))).await;
    world.send(from("192.0.2.2", product.signed("GET", "/v1/access", ""))).await;
    world.send(through("192.0.2.3", line.signed("GET", "/v1/access", ""))).await;
    let open = |address: &str| world.app.slots.open(address.parse().expect("an address"), |_| {});
    let others: Vec<_> = (0..12).map(|at| open(&format!("198.51.100.{at}")).expect("room")).collect();
    others.iter().for_each(|other| other.activity.verified());
    assert!(open("192.0.2.1").is_ok());
    assert!(open("192.0.2.2").is_err(), "anyone may hold a product's code");
    assert!(open("192.0.2.3").is_err(), "behind a proxy it is the proxy that connects");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_may_do_nothing_has_a_rate_all_the_same_and_no_place_among_the_stations() {
    let world = World::with(Limits { code_per_minute: 1, code_burst: 3, ..slow() }).await;
    let line = world.station("line-1").await;
    world.ledger.access_set_state("line-1".into(), AccessState::Revoked).await.expect("revoked");
    let mut came_to = Vec::new();
    for _ in 0..4 {
        let (request, activity) = over_connection("192.0.2.1", line.signed("GET", "/v1/access", ""));
        came_to.push(world.send(request).await.problem());
        assert!(!activity.is_verified());
    }
    assert_eq!(came_to, ["access-code-revoked", "access-code-revoked", "access-code-revoked", "code-rate-limited"]);
    let open = |address: &str| world.app.slots.open(address.parse().expect("an address"), |_| {});
    let others: Vec<_> = (0..12).map(|at| open(&format!("198.51.100.{at}")).expect("room")).collect();
    others.iter().for_each(|other| other.activity.verified());
    assert!(open("192.0.2.1").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_in_doubt_is_refused_whatever_the_connection_speaks() {
    let world = World::new().await;
    let line = world.station("line-1").await;
    for lengths in [&["2", "2"][..], &["2", "3"], &["+2"], &["2, 2"], &[""]] {
        let mut request = line.signed("PUT", "/v1/devices/QD-0001", "{}");
        *request.version_mut() = Version::HTTP_2;
        for length in lengths {
            request.headers_mut().append(CONTENT_LENGTH, length.parse().expect("a header"));
        }
        assert_eq!(world.send(request).await.problem(), "bad-request", "{lengths:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_installation_of_a_product_leaves_another_its_tries() {
    let world = World::with(Limits::default()).await;
    let product = world.holder("product", |access| access.kind = Kind::Product).await;
    let ask = async |from_address: &str| {
        let request =
            product.signed("PUT", "/v1/devices/nonsense", r#"{"recipient":"xQeAd7bSsqSKNMbhEQnd0GV0HZntCGIttGLvuF9IKXY="}"#);
        world.send(from(from_address, request)).await.problem()
    };
    let mut junk = Vec::new();
    for _ in 0..100 {
        junk.push(ask("192.0.2.66").await);
    }
    assert_eq!(junk.last().map(String::as_str), Some("code-rate-limited"));
    for at in 0..30 {
        assert_eq!(ask("198.51.100.7").await, "refused", "{at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_stands_in_its_field_and_not_in_the_sentence() {
    let world = World::with(Limits { code_per_minute: 2, code_burst: 1, ..Limits::none() }).await;
    let line = world.station("line-1").await;
    assert_eq!(world.get(&line, "/v1/access").await.status, 200);
    let refused = world.get(&line, "/v1/access").await;
    assert_eq!(refused.problem(), "code-rate-limited", "with the header Retry-After");
    let problem: Problem = refused.json();
    assert!(problem.retry_after.is_some_and(|seconds| (28..=30).contains(&seconds)), "{problem:?}");
    assert!(
        !problem.detail.contains(|char: char| char.is_ascii_digit()),
        "a client that waits longer prints its own: {}",
        problem.detail
    );
}
