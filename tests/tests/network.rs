//! A service that strangers send junk to, or whose system is short of something: descriptors, or space on its disk.
#![cfg(unix)]

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use qdrs_tests::{Bench, Cloud, Station, serials};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

async fn connect(cloud: &Cloud, from: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(from.parse::<IpAddr>().expect("an address"), 0)).expect("an address of this computer");
    socket.connect(cloud.address().parse().expect("an address")).await.expect("connects")
}

/// The whole answer to a GET from that address.
async fn get(cloud: &Cloud, from: &str, path: &str, headers: &str) -> String {
    let mut stream = connect(cloud, from).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

/// The `detail` of a problem.
fn detail(answer: &str) -> String {
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    let problem: serde_json::Value = serde_json::from_str(body).expect("JSON");
    problem["detail"].as_str().expect("text").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_makes_all_its_devices_through_junk_from_its_own_address() {
    let mut cloud = Cloud::start().await;
    cloud.kill_service().await;
    let config = cloud.folder().join("service.toml");
    let text = std::fs::read_to_string(&config).expect("a config");
    let (without_limits, _) = text.split_once("[limits]").expect("the limits come last");
    std::fs::write(&config, without_limits).expect("the limits that an owner has who sets none");
    cloud.start_service().await;
    let address = cloud.address();
    let (over, mut is_over) = tokio::sync::watch::channel(false);
    let junk = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
            let Ok(mut stream) = TcpStream::connect(&address).await else { continue };
            let request = |last| format!("PUT /v1/devices/QD-0000007 HTTP/1.1\r\nHost: a\r\n{last}\r\n");
            let requests = request("").repeat(9) + &request("Connection: close\r\n");
            let mut answers = String::new();
            let sent = stream.write_all(requests.as_bytes()).await;
            let _ = sent.and(stream.read_to_string(&mut answers).await);
            if answers.contains(" 429 ") {
                over.send_replace(true);
            }
        }
    });
    is_over.wait_for(|is_over| *is_over).await.expect("the junk goes on");
    let station = Station::new("line-1", &cloud.url(), &cloud.access_code("line-1", &[]));
    let (serials, bench) = (serials(39), Bench::with(3));
    station.provision(&station.batch(&serials), &bench).ends().await.with_code(0);
    assert!(!junk.is_finished(), "the junk went on all the time");
    junk.abort();
    cloud.books().balance(&serials, &bench.held());
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_silent_connections_and_few_descriptors_leave_the_service_usable() {
    let mut cloud = Cloud::start().await;
    cloud.kill_service().await;
    cloud.start_service_after("ulimit -n 256").await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(connect(&cloud, "127.0.0.1").await);
    }
    for from in ["127.0.0.2", "127.0.0.1"] {
        let answer = get(&cloud, from, "/readyz", "").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{from}: {answer}");
    }
    let log = std::fs::read_to_string(cloud.log()).expect("a log");
    assert!(log.contains("\"descriptors\":256") && log.contains("\"connections\":192"), "said at the start: {log}");
    let refused = log.lines().filter(|line| line.contains("\"refused\":\"connections-of-network\"")).count();
    assert_eq!(refused, 1, "one line, however many were refused: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_descriptors_is_raised_to_what_the_system_allows() {
    let mut cloud = Cloud::start().await;
    cloud.kill_service().await;
    cloud.start_service_after("ulimit -S -n 100 && ulimit -H -n 300").await;
    let log = std::fs::read_to_string(cloud.log()).expect("a log");
    assert!(log.contains("\"descriptors\":300"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_can_not_write_is_not_ready_and_says_why_to_this_computer_only() {
    let mut cloud = Cloud::start().await;
    cloud.kill_service().await;
    std::fs::remove_file(cloud.log()).expect("removed");
    // Blocks of 512 bytes, or of 1024 in some shells; the ledger's shared memory alone is 32 KiB.
    cloud.start_service_after("trap '' XFSZ; ulimit -f 80").await;
    // The owner's commands have no such limit, and what they write comes first.
    for at in 0.. {
        assert!(at < 30, "the limit is never reached");
        cloud.access_code(&format!("filler-{at}"), &[]);
        let answer = get(&cloud, "127.0.0.1", "/readyz", "").await;
        if answer.starts_with("HTTP/1.1 503") {
            assert!(answer.contains("ledger-unavailable") && detail(&answer).contains("disk"), "{answer}");
            break;
        }
        // An answer is kept for a second.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let elsewhere = get(&cloud, "127.0.0.1", "/readyz", "X-Forwarded-For: 192.0.2.1\r\n").await;
    assert!(elsewhere.starts_with("HTTP/1.1 503") && detail(&elsewhere).contains("log"), "{elsewhere}");
    assert!(!detail(&elsewhere).contains("disk"), "{elsewhere}");
}
