//! The last of what is taken, and the first of what is not.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Bytes, HttpBody};
use hyper::body::Frame;

use super::*;

/// A body whose sender goes away.
struct Broken;

impl HttpBody for Broken {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionReset.into())))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_and_a_body_may_be_as_long_as_it_says() {
    let world = World::new().await;
    let line = world.station("line-1").await;
    let put = |job: &str, body: &str| {
        let job = format!("\"{job}\"");
        let (path, now) = ("/v1/devices/QD-0001", Timestamp::now().as_second());
        let of = sign::Request { method: "PUT", path, query: None, idempotency_key: Some(&job), body: body.as_bytes() };
        let signed = sign::sign(&line.code, &of, now);
        http::Request::put(path)
            .header("content-digest", signed.content_digest)
            .header("signature-input", signed.signature_input)
            .header("signature", signed.signature)
            .header("idempotency-key", job)
            .header(CONTENT_LENGTH, body.len())
            .body(Body::from(body.to_owned()))
            .expect("a request")
    };
    for length in [129, 200] {
        let refused: Problem = world.send(put(&"k".repeat(length), "{}")).await.json();
        assert_eq!((refused.code.as_str(), refused.detail.contains("1 to 128 ")), ("bad-request", true), "{}", refused.detail);
    }
    let longest = format!("{{{}}}", " ".repeat(BODY_BYTES_MAX - 2));
    assert_eq!(world.send(put(&"k".repeat(128), &format!("{longest} "))).await.problem(), "body-too-large");
    assert_eq!(world.send(put(&"k".repeat(128), &longest)).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_not_called_too_large() {
    let world = World::new().await;
    let line = world.station("line-1").await;
    let (parts, _) = line.signed("PUT", "/v1/devices/QD-0001", "{}").into_parts();
    let refused: Problem = world.send(http::Request::from_parts(parts, Body::new(Broken))).await.json();
    assert_eq!((refused.code.as_str(), refused.detail.as_str()), ("bad-request", "the body broke off before its end"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_may_be_used_between_its_dates() {
    let world = World::new().await;
    let now = Timestamp::now();
    let dates = |access: &mut Access| (access.not_before, access.expires) = (Some(now - 1.hour()), Some(now + 1.hour()));
    let line = world.holder("line-1", dates).await;
    let made: Registration = world.put(&line, "QD-0001", "{}").await.json();
    assert_eq!(world.confirm(&line, "QD-0001", &made).await.status, 200);
    let info: qdrs_core::api::AccessInfo = world.get(&line, "/v1/access").await.json();
    assert_eq!(info.expires.map(Timestamp::as_second), Some((now + 1.hour()).as_second()));
}

#[test]
fn what_a_panic_said_is_for_the_log_alone() {
    for (panic, said) in [
        (Box::new("words") as Box<dyn std::any::Any + Send>, "panic: words"),
        (Box::new("words".to_owned()), "panic: words"),
        (Box::new(7), "panic: without words"),
    ] {
        let response = answer::panicked(panic);
        let cause = response.extensions().get::<answer::Said>().expect("for the log").cause.clone();
        assert_eq!((response.status().as_u16(), cause.as_deref()), (500, Some(said)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_over_its_rate_is_looked_at_only_where_a_signature_counts() {
    let world = World::with(Limits { address_per_minute: 1, address_burst: 1, ..Limits::none() }).await;
    let line = world.station("line-1").await;
    let plain = |path: &str| http::Request::get(path).body(Body::empty()).expect("a request");
    assert_eq!(world.send(plain("/nowhere")).await.problem(), "route-unknown");
    assert_eq!(world.send(plain("/v1/access")).await.problem(), "address-rate-limited", "unsigned");
    assert_eq!(world.get(&line, "/openapi.json").await.problem(), "address-rate-limited", "signed, where nobody asks for it");
    assert_eq!(world.get(&line, "/v1/access").await.status, 200);
}
