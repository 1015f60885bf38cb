//! What strangers can write into the log: little.

use std::io;

use tracing_subscriber::fmt::MakeWriter;

use super::*;

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("whole").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    /// What is logged on this thread from now on.
    fn begin() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_ansi(false).with_writer(log.clone());
        (log, tracing::subscriber::set_default(subscriber.finish()))
    }

    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().expect("whole"))).expect("text")
    }
}

fn get(path: &str) -> http::Request<Body> {
    http::Request::get(path).body(Body::empty()).expect("a request")
}

#[tokio::test]
async fn a_long_request_is_a_short_line() {
    let world = World::new().await;
    let (log, _guard) = Log::begin();
    for path in ["/v1/devices/".to_owned(), "/".to_owned()].map(|path| path + &"x".repeat(60_000)) {
        world.send(get(&path)).await;
        let line = log.take();
        assert!(line.contains(&"x".repeat(100)) && line.len() < 1000, "{} bytes: {line}", line.len());
    }
    let long = http::Request::builder().method("M".repeat(5000).as_str()).uri("/healthz").body(Body::empty()).expect("a request");
    world.send(long).await;
    let line = log.take();
    assert!(!line.is_empty() && line.len() < 1000, "{line}");
}

#[tokio::test]
async fn what_is_refused_for_a_rate_is_counted_and_not_a_line_each() {
    let world =
        World::with(Limits { address_per_minute: 1, address_burst: 1, code_per_minute: 1, code_burst: 1, ..Limits::none() })
            .await;
    let line = world.station("line-1").await;
    let (log, _guard) = Log::begin();
    for _ in 0..100 {
        world.send(get("/nowhere")).await;
        world.get(&line, "/v1/access").await;
    }
    let text = log.take();
    assert_eq!(text.lines().filter(|line| line.contains("refused=\"address-rate\"")).count(), 1, "{text}");
    assert_eq!(
        text.lines().filter(|line| line.contains("refused=\"code-rate\"") && line.contains("line-1")).count(),
        1,
        "{text}"
    );
    assert!(text.lines().count() <= 4, "and the two that were answered: {text}");
}

#[tokio::test]
async fn a_product_over_its_rate_in_all_is_an_alert() {
    let world = World::with(Limits { code_per_minute: 1, code_burst: 1, ..Limits::none() }).await;
    let product = world.holder("gadget", |access| access.kind = Kind::Product).await;
    let (log, _guard) = Log::begin();
    for _ in 0..5 {
        world.get(&product, "/v1/devices/QD-0001").await;
    }
    let text = log.take();
    // One network may use up the smallest rate there is.
    assert!(!text.contains("alert"), "{text}");
    for at in 0..5 {
        let mut request = product.signed("GET", "/v1/devices/QD-0001", "");
        request.extensions_mut().insert(origin::Peer { address: [192, 0, 2, at].into(), ..Default::default() });
        world.send(request).await;
    }
    let text = log.take();
    let alerts: Vec<_> = text.lines().filter(|line| line.contains("alert=\"product-rate\"")).collect();
    assert!(alerts.len() == 1 && alerts[0].contains("gadget") && alerts[0].contains("WARN"), "{text}");
}

#[test]
fn control_characters_are_escaped_and_the_rest_is_cut() {
    assert_eq!(answer::shown("a\r\nb\u{1b}[2J\u{85}é", 80), "a\\r\\nb\\u{1b}[2J\\u{85}é");
    assert_eq!([answer::shown("abc", 3), answer::shown("abcd", 3), answer::shown("", 3)], ["abc", "abc…", ""]);
}

#[tokio::test]
async fn a_good_probe_is_no_line_a_refusal_is_one_and_a_fault_is_an_error() {
    let world = World::new().await;
    let line = world.station("line-1").await;
    let (log, _guard) = Log::begin();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(world.send(get(path)).await.status, 200);
        assert_eq!(log.take(), "", "{path}");
    }
    let said = |level: &str, what: &str| {
        let text = log.take();
        assert_eq!(text.lines().filter(|line| line.contains(level) && line.contains(what)).count(), 1, "{what}: {text}");
    };
    world.get(&line, "/v1/access").await;
    said(" INFO ", "answered");
    world.send(get("/v1/access")).await;
    said(" INFO ", "signature-missing");
    // Its clock is off, and its address keeps to its rate.
    world.send(line.signed_at(Timestamp::now().as_second() - 3600, "GET", "/v1/access", "")).await;
    said(" INFO ", "clock-skew");
    let ledger = rusqlite::Connection::open(world._dir.path().join("ledger.sqlite")).expect("opens");
    ledger.execute_batch("ALTER TABLE access_code RENAME TO elsewhere").expect("renamed");
    world.get(&line, "/v1/access").await;
    said("ERROR ", "ledger-unavailable");
}

#[tokio::test]
async fn only_a_connection_of_http_1_is_told_to_close() {
    let world = World::with(Limits { address_per_minute: 1, address_burst: 1, ..Limits::none() }).await;
    let closes = async |version: Version| {
        let mut closes = 0;
        for _ in 0..200 {
            let mut request = get("/nowhere");
            *request.version_mut() = version;
            closes += usize::from(world.send(request).await.headers.contains_key("connection"));
        }
        closes
    };
    assert!(closes(Version::HTTP_11).await > 0);
    assert_eq!(closes(Version::HTTP_2).await, 0);
}
