//! Connections that are silent, slow, too many, or framed in two ways; and a station that works beside them.

use std::net::IpAddr;

use qdrs_core::access::sign;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use super::*;

/// The HTTP/2 preface with an empty SETTINGS frame.
const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

struct World {
    _dir: tempfile::TempDir,
    running: Running,
    code: AccessCode,
}

impl World {
    async fn new(settings: &str, limits: Limits) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let (registrar, code) = registrar(&dir).await;
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let network = toml::from_str(settings).expect("settings");
        let running = start_with(registrar, limits, network, Listen { listener, tls: None }).await.expect("starts");
        Self { _dir: dir, running, code }
    }

    /// A connection from that address of this computer.
    async fn connect(&self, from: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((from.parse::<IpAddr>().expect("an address"), 0).into()).expect("an address of this computer");
        let service = self.running.url.socket_addrs(|| None).expect("an address")[0];
        socket.connect(service).await.expect("connects")
    }

    /// What comes back for these bytes until the service closes the connection.
    async fn send(&self, from: &str, bytes: impl AsRef<[u8]>) -> String {
        let mut connection = self.connect(from).await;
        connection.write_all(bytes.as_ref()).await.expect("sent");
        read_to_end(connection).await
    }

    /// The same with a request that asks for its connection to be closed.
    async fn get(&self, from: &str, path: &str) -> String {
        self.send(from, format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await
    }

    /// What a station at that address gets when it asks who it is.
    async fn station(&self, from: &str) -> String {
        self.send(from, self.signed("GET", "/v1/access", "Connection: close\r\n", "")).await
    }

    /// A signed request with further headers.
    fn signed(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let idempotency_key = (method == "PUT").then_some("\"8f14e45f\"");
        let request = sign::Request { method, path, query: None, idempotency_key, body: body.as_bytes() };
        let signed = sign::sign(&self.code, &request, jiff::Timestamp::now().as_second());
        let key = idempotency_key.map(|key| format!("Idempotency-Key: {key}\r\n")).unwrap_or_default();
        format!(
            "{method} {path} HTTP/1.1\r\nHost: a\r\n{headers}{key}Content-Digest: {}\r\nSignature-Input: {}\r\nSignature: {}\r\n\r\n{body}",
            signed.content_digest, signed.signature_input, signed.signature
        )
    }
}

/// What comes until the connection ends, however it ends.
async fn read_to_end(mut connection: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = connection.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_of_one_address_keep_no_station_out() {
    let world = World::new("connections = 20\nconnections_per_network = 8", Limits::default()).await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(world.connect("127.0.0.1").await);
    }
    assert_eq!(status(&world.station("127.0.0.2").await), "200", "at another address");
    assert_eq!(status(&world.station("127.0.0.1").await), "200", "at the same address");
    // Of the silent ones only as many are open as an address may have.
    for connection in silent.drain(..292) {
        assert_eq!(read_to_end(connection).await, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_of_many_addresses_keep_no_station_out() {
    let world = World::new("connections = 20\nconnections_per_network = 8", Limits::default()).await;
    let mut silent = Vec::new();
    for at in 0..100 {
        silent.push(world.connect(&format!("127.0.1.{at}")).await);
    }
    assert_eq!(status(&world.station("127.0.0.2").await), "200");
    for connection in silent.drain(..80) {
        assert_eq!(read_to_end(connection).await, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_hold_their_bodies_back_keep_no_station_out() {
    let world = World::new("connections = 20\nconnections_per_network = 8", Limits::default()).await;
    let mut held = Vec::new();
    for _ in 0..40 {
        let mut connection = world.connect("127.0.0.1").await;
        let request = world.signed("PUT", "/v1/devices/1", "Content-Length: 100\r\n", "");
        connection.write_all(request.as_bytes()).await.expect("sent");
        held.push(connection);
    }
    assert_eq!(status(&world.station("127.0.0.1").await), "200");
    for connection in held.drain(..32) {
        assert_eq!(read_to_end(connection).await, "", "closed without an answer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_idles_is_closed_whatever_it_speaks() {
    let world = World::new("idle_seconds = 1", Limits::default()).await;
    let get = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let settings = [HTTP_2, b"\0\0\0\x04\x01\0\0\0\0"].concat();
    let (silent, begun, kept, http_2, preface) = tokio::join!(
        world.send("127.0.0.1", ""),
        world.send("127.0.0.1", "GET /healthz HT"),
        world.send("127.0.0.1", get),
        world.send("127.0.0.1", settings),
        world.send("127.0.0.1", &HTTP_2[..10]),
    );
    assert_eq!((silent.as_str(), begun.as_str(), preface.as_str()), ("", "", ""));
    assert_eq!(status(&kept), "200");
    // Frame type 7 on stream 0.
    assert!(http_2.contains("\x07\0\0\0\0\0"), "GOAWAY comes first: {http_2:?}");
    let signed = world.send("127.0.0.1", world.signed("GET", "/v1/access", "", "")).await;
    assert_eq!(status(&signed), "200", "also after a request that verified");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_only_so_many_streams() {
    let world = World::new("streams_per_connection = 5\nidle_seconds = 1", Limits::default()).await;
    let answer = world.send("127.0.0.1", HTTP_2).await;
    // SETTINGS_MAX_CONCURRENT_STREAMS is number 3; h2 holds the client to it.
    assert!(answer.contains("\0\x03\0\0\0\x05"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_two_ends_is_refused_and_is_the_last() {
    let world = World::new("", Limits::default()).await;
    for headers in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Content-Length: +4\r\n",
    ] {
        let first = world.signed("GET", "/v1/access", "", "");
        let second = world.signed("PUT", "/v1/devices/1", headers, "0\r\n\r\n");
        let third = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
        let answers = world.send("127.0.0.1", format!("{first}{second}{third}")).await;
        let statuses: Vec<_> = answers.split("HTTP/1.1").skip(1).map(|answer| answer.split(' ').nth(1)).collect();
        assert_eq!(statuses, [Some("200"), Some("400")], "{headers:?}: {answers}");
    }
    let both = world.signed("PUT", "/v1/devices/1", "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n");
    let answer = world.send("127.0.0.1", both).await;
    assert!(answer.contains("connection: close") && answer.contains(r#""code":"bad-request""#), "{answer}");
    assert!(answer.contains("x-request-id") && answer.contains("application/problem+json"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_is_read_and_is_the_last_of_its_connection() {
    let world = World::new("", Limits::default()).await;
    let request = sign::Request {
        method: "PUT",
        path: "/v1/devices/1",
        query: None,
        idempotency_key: Some("\"8f14e45f\""),
        body: b"{nonsense",
    };
    let signed = sign::sign(&world.code, &request, jiff::Timestamp::now().as_second());
    let text = format!(
        "PUT /v1/devices/1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nIdempotency-Key: \"8f14e45f\"\r\nContent-Digest: {}\r\n\
         Signature-Input: {}\r\nSignature: {}\r\n\r\n9\r\n{{nonsense\r\n0\r\n\r\n",
        signed.content_digest, signed.signature_input, signed.signature
    );
    let answer = world.send("127.0.0.1", text).await;
    assert!(answer.contains("bad-request") && answer.contains("connection: close"), "the signature holds: {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_over_its_rate_is_hung_up_on() {
    let limits = Limits { address_per_minute: 1, address_burst: 1, ..Limits::default() };
    let world = World::new("", limits).await;
    let unsigned = "GET /v1/access HTTP/1.1\r\nHost: a\r\n\r\n";
    let answers = world.send("127.0.0.1", unsigned.repeat(3)).await;
    let statuses: Vec<_> = answers.split("HTTP/1.1").skip(1).map(|answer| answer.split(' ').nth(1)).collect();
    assert_eq!(statuses, [Some("401"), Some("429")], "{answers}");
    assert_eq!(status(&world.station("127.0.0.1").await), "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_header_names_the_client() {
    let limits = Limits { address_per_minute: 1, address_burst: 1, ..Limits::default() };
    let world = World::new("proxy_protocol = true\ntrusted_proxies = ['127.0.0.1']\nidle_seconds = 1", limits).await;
    let get = "GET /openapi.json HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let from = async |client: &str| {
        let answer = world.send("127.0.0.1", format!("PROXY TCP4 {client} 127.0.0.1 40000 443\r\n{get}")).await;
        status(&answer).to_owned()
    };
    assert_eq!(from("192.0.2.66").await, "200");
    assert_eq!(from("192.0.2.66").await, "429");
    assert_eq!(from("192.0.2.7").await, "200", "another client of the same proxy");
    let binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x08\x7f\0\0\x01\x9c\x40\x01\xbb";
    assert_eq!(status(&world.send("127.0.0.1", [binary, get.as_bytes()].concat()).await), "200", "version 2, 192.0.2.8");
    assert_eq!(from("192.0.2.8").await, "429");
    assert_eq!(world.send("127.0.0.1", get).await, "", "a trusted proxy has to send one");
    assert_eq!(status(&world.get("127.0.0.2", "/openapi.json").await), "200", "who is no proxy sends none");
    let forged = world.send("127.0.0.3", format!("PROXY TCP4 192.0.2.9 127.0.0.1 40000 443\r\n{get}")).await;
    assert_eq!(status(&forged), "400", "and is not believed: {forged}");
    let unknown = world.send("127.0.0.1", "PROXY UNKNOWN\r\nGET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&unknown), "200", "the proxy itself asks whether the service is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stops_closes_what_idles_and_answers_what_runs() {
    let world = World::new("", Limits::default()).await;
    let mut silent = world.connect("127.0.0.1").await;
    silent.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    let mut first = [0; 12];
    silent.read_exact(&mut first).await.expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 200");
    let World { running, .. } = world;
    let (stopped, rest) = tokio::join!(running.stop(), read_to_end(silent));
    assert!(stopped.is_ok() && rest.ends_with('}'), "{rest}");
}
