//! Ctrl-C and SIGTERM: the device in hand is safe, the end says how to go on, and the same command does what is left.
#![cfg(unix)]

use std::{
    net::TcpListener,
    process::{Command, Stdio},
    time::Duration,
};

use qdrs_cli::{
    port::holder::holder_of,
    sandbox::practice::{Fault, Options},
};
use qdrs_tests::{Bench, Cloud, Provision, Station, serials};
use tokio::io::{AsyncBufReadExt, BufReader};

fn signal(pid: u32, signal: &str) {
    let sent = Command::new("kill").args([signal, &pid.to_string()]).status().expect("kill runs");
    assert!(sent.success());
}

/// Reads events until one is as told.
async fn await_event(running: &mut Provision, is_it: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    loop {
        let event = running.event().await.expect("the run goes on");
        if is_it(&event) {
            return event;
        }
    }
}

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
    self::signal(running.pid().expect("it runs"), signal);
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

/// A process that is ended when the test ends.
struct Program(std::process::Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_reader_at_the_port_is_named_and_ctrl_c_ends_the_run() {
    let cloud = Cloud::start().await;
    let station = Station::new("line-1", &cloud.url(), &cloud.access_code("line-1", &[]));
    let (serials, bench) = (serials(1), Bench::with(1));
    let port = bench.device(0).port_name();
    let reader = Command::new("cat").arg(&port).stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("cat runs");
    let reader = Program(reader);
    while holder_of(&port).is_none() {
        tokio::task::yield_now().await;
    }
    let batch = station.batch(&serials);
    let mut running = station.provision(&batch, &bench);
    let event = await_event(&mut running, |event| event["code"] == "port-busy").await;
    let (message, help) = (event["message"].as_str().expect("text"), event["help"].as_str().expect("text"));
    assert!(message.contains(&format!("`cat` (process {}) has the port", reader.0.id())), "{message}");
    assert!(help.contains("end `cat`"), "{help}");
    signal(running.pid().expect("it runs"), "-INT");
    let summary = running.ends().await.with_code(130).summary();
    assert_eq!((&summary["interrupted"], &summary["left"]), (&true.into(), &1.into()), "{summary}");

    // With the reader gone, the same command does it.
    drop(reader);
    station.provision(&batch, &bench).ends().await.with_code(0);
    cloud.books().balance(&serials, &bench.held());
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_run_whose_device_froze_in_the_middle_of_its_credential() {
    let cloud = Cloud::start().await;
    let station = Station::new("line-1", &cloud.url(), &cloud.access_code("line-1", &[]));
    let serials = serials(1);
    let freezes = Fault::Freeze { at_host_byte: "\rversion\rset_az_iothub Host".len() as u64 };
    let bench = Bench::of([Options { faults: vec![(1, freezes)], ..Options::default() }]);
    let batch = station.batch(&serials);
    let mut running = station.provision(&batch, &bench);
    await_event(&mut running, |event| event["step"] == "write").await;
    signal(running.pid().expect("it runs"), "-INT");
    let summary = running.ends().await.with_code(130).summary();
    assert_eq!((&summary["interrupted"], &summary["fail"], &summary["left"]), (&true.into(), &0.into(), &1.into()), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_a_run_tells_what_it_waits_for_and_how_a_silent_board_is_woken() {
    let cloud = Cloud::start().await;
    let station = Station::new("line-1", &cloud.url(), &cloud.access_code("line-1", &[]));
    let bench = Bench::of([Options { faults: vec![(1, Fault::Silent)], ..Options::default() }]);
    let port = bench.device(0).port_name();
    let mut command = station.command(&["provision", "--device", "mxchip", "--port", &port, &serials(1)[0]]);
    let mut child = command.spawn().expect("qdrs starts");
    let mut talk = BufReader::new(child.stderr.take().expect("is piped")).lines();
    let call = "slot 1: put a device in: hold its button A, press and release Reset, then let go of A";
    while talk.next_line().await.expect("text").expect("it goes on") != call {}
    signal(child.id().expect("it runs"), "-INT");
    assert_eq!(child.wait().await.expect("ends").code(), Some(130));
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_command_that_waits_for_a_deaf_service() {
    let cloud = Cloud::start().await;
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", deaf.local_addr().expect("an address"));
    let station = Station::new("line-1", &url, &cloud.access_code("line-1", &[]));
    let batch = station.batch(&serials(1));
    let mut provision = station.command(&["--json", "provision", "--port", "/dev/null", "--batch"]);
    provision.arg(&batch);
    for mut command in [provision, station.command(&["--json", "status", "QD-0000007"])] {
        let child = command.spawn().expect("qdrs starts");
        let (connection, _) = tokio::task::block_in_place(|| deaf.accept()).expect("it connects");
        signal(child.id().expect("it runs"), "-INT");
        let out = child.wait_with_output().await.expect("ends");
        assert_eq!(out.status.code(), Some(130), "{out:?}");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(text.lines().last().is_some_and(|last| last.contains(r#""event":"summary""#)), "{text}");
        drop(connection);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_command_that_waits_for_its_input() {
    let cloud = Cloud::start().await;
    let station = Station::new("line-1", &cloud.url(), &cloud.access_code("line-1", &[]));
    // Nothing ever comes from standard input.
    let mut command = station.command(&["setup", &cloud.url()]);
    command.env_remove("QDRS_CODE_FILE").stdin(Stdio::piped());
    let mut child = command.spawn().expect("qdrs starts");
    // Waiting for a child closes its input.
    let _input = child.stdin.take().expect("is piped");
    let mut talk = BufReader::new(child.stderr.take().expect("is piped")).lines();
    while !talk.next_line().await.expect("text").expect("it goes on").contains("reading the access code") {}
    signal(child.id().expect("it runs"), "-INT");
    assert_eq!(child.wait().await.expect("ends").code(), Some(130));
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_command_whose_batch_never_comes() {
    let cloud = Cloud::start().await;
    let station = Station::new("line-1", &cloud.url(), &cloud.access_code("line-1", &[]));
    let folder = tempfile::tempdir().expect("a folder");
    let fifo = folder.path().join("batch.csv");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs").success());
    let mut command = station.command(&["--json", "provision", "--port", "/dev/null", "--batch"]);
    let child = command.arg(&fifo).spawn().expect("qdrs starts");
    let opened = fifo.clone();
    let writer = tokio::task::spawn_blocking(move || std::fs::OpenOptions::new().write(true).open(opened));
    let writer = tokio::time::timeout(Duration::from_secs(60), writer).await.expect("it is opened").expect("no panic");
    signal(child.id().expect("it runs"), "-INT");
    let out = child.wait_with_output().await.expect("ends");
    assert_eq!(out.status.code(), Some(130), "{out:?}");
    drop(writer);
}
