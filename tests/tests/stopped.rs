//! Ctrl-C and SIGTERM: the device in hand is safe, the end says how to go on, and the same command does what is left.
#![cfg(unix)]

use qdrs_tests::{Bench, Cloud, Station, serials};

async fn stopped_by(signal: &str) {
    let cloud = Cloud::start().await;
    let station = Station::new("line-1", &cloud.url(), &cloud.access_code("line-1", &[]));
    let (serials, bench) = (serials(60), Bench::with(3));
    let batch = station.batch(&serials);
    let mut running = station.provision(&batch, &bench);
    let mut writes = 0;
    while let Some(event) = running.event().await {
        writes += u32::from(event["event"] == "slot" && event["step"] == "write");
        if writes == 8 {
            break;
        }
    }
    let pid = running.pid().expect("it runs").to_string();
    let sent = std::process::Command::new("kill").args([signal, &pid]).status().expect("kill runs");
    assert!(sent.success());
    let ended = running.ends().await.with_code(130);
    let summary = ended.summary();
    assert_eq!(summary["interrupted"], true, "{summary}");
    assert!(summary["next"].as_str().is_some_and(|next| next.contains("same command again")), "{summary}");
    assert_eq!(summary["fail"], 0, "no device was left half done: {summary}");

    station.provision(&batch, &bench).ends().await.with_code(0);
    cloud.books().balance(&serials, &bench.held());
    assert_eq!(cloud.books().tombstones, 0, "a clean stop needs no take-over");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_leaves_the_device_in_hand_safe_and_says_how_to_go_on() {
    stopped_by("-INT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_is_as_gentle_as_ctrl_c() {
    stopped_by("-TERM").await;
}
