//! Rework: a station gives up what it has made and makes it again, as often as the owner allows it, and hears what others gave up.

use std::process::{Command, Stdio};

use qdrs_service::emulator::{Fault, Operation, Rule};
use qdrs_tests::{Bench, Cloud, Station, binary, serials, until};

/// The owner's command beside the running service.
fn owner(cloud: &Cloud, arguments: &[&str]) -> String {
    let mut command = Command::new(binary("qdrs-service"));
    command.args(arguments).arg("--config").arg(cloud.folder().join("service.toml")).env_clear().stdin(Stdio::null());
    let out = command.output().expect("the owner's command runs");
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{arguments:?}\n{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_given_up_and_made_again_on_another_board() {
    let cloud = Cloud::start().await;
    let station = Station::new("line-1", &cloud.url(), &cloud.access_code("line-1", &["--rework", "1"]));
    let (serials, bench) = (serials(3), Bench::with(1));
    let list = cloud.folder().join("list.csv");
    std::fs::write(&list, format!("serial\n{}\n", serials.join("\n"))).expect("the list is written");
    owner(&cloud, &["batch", "open", "batch", "--list", list.to_str().expect("a path"), "--code", "line-1"]);
    station.provision(&station.batch(&serials), &bench).ends().await.with_code(0);

    let release = ["--json", "release", &serials[0], "--reason", "cracked case"];
    let released = station.run(&release).await.with_code(0);
    let event: serde_json::Value = serde_json::from_str(released.stdout.lines().next().unwrap_or_default()).expect("is JSON");
    assert_eq!((&event["event"], &event["serial"]), (&"released".into(), &serials[0].clone().into()));
    assert!(!cloud.books().hub.contains_key(&serials[0]), "its credential is dead");
    let told = station.run(&release[1..]).await.with_code(0);
    assert_eq!(told.stderr, format!("{} is released: its credential is dead, and it may be made again\n", serials[0]));

    // The owner releases one as well; the station's journal holds both as done until it hears of it.
    owner(&cloud, &["serials", "release", &serials[1], "--reason", "new firmware"]);
    let again = station.provision(&station.batch(&serials), &bench).ends().await.with_code(0);
    assert_eq!((&again.summary()["pass"], &again.summary()["done_before"]), (&2.into(), &1.into()), "{}", again.stdout);
    cloud.books().balance(&serials, &bench.held());
    let held = bench.held();
    let carry = |serial: &String| held.iter().filter(|held| held.device_id == *serial).count();
    assert_eq!(serials.iter().map(carry).collect::<Vec<_>>(), [2, 2, 1], "the old boards carry what is dead");
    assert!(owner(&cloud, &["batch", "show", "batch"]).contains("3 confirmed; the books balance"));
    let third = station.provision(&station.batch(&serials), &bench).ends().await.with_code(0);
    assert_eq!(third.summary()["done_before"], 3);

    // The budget is used up until the owner raises it; closed books stay closed.
    let release = ["release", &serials[2], "--reason", "scratched"];
    let refused = station.run(&release).await.with_code(3);
    assert!(refused.stderr.contains("(rework-used-up)"), "{}", refused.stderr);
    assert!(owner(&cloud, &["access", "show", "line-1"]).contains("1 of 1 releases used"));
    owner(&cloud, &["access", "rework", "line-1", "5"]);
    owner(&cloud, &["batch", "close", "batch"]);
    let refused = station.run(&release).await.with_code(3);
    assert!(refused.stderr.contains("(batch-closed)"), "{}", refused.stderr);
    cloud.books().balance(&serials, &bench.held());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_killed_in_a_release_goes_on_with_it_free_of_charge() {
    let mut cloud = Cloud::start().await;
    let station = Station::new("line-1", &cloud.url(), &cloud.access_code("line-1", &["--rework", "1"]));
    let (serials, bench) = (serials(1), Bench::with(1));
    station.provision(&station.batch(&serials), &bench).ends().await.with_code(0);
    cloud.hub.faults.add(Rule::new(Fault::DropRequest).on(Operation::Delete).always());
    let before = cloud.hub.faults.fired();
    let release = ["release", &serials[0], "--reason", "cracked case"];
    let mut killed = station.command(&release).spawn().expect("qdrs starts");
    until("the hub does not delete", || cloud.hub.faults.fired() > before).await;
    cloud.kill_service().await;
    killed.kill().await.expect("is killed");
    assert_eq!(cloud.books().ledger[&serials[0]].state, "releasing");
    assert!(cloud.books().hub.contains_key(&serials[0]), "the hub did not delete it yet");

    cloud.hub.faults.clear();
    cloud.start_service().await;
    station.run(&release).await.with_code(0);
    assert!(owner(&cloud, &["access", "show", "line-1"]).contains("1 of 1 releases used"));
    station.provision(&station.batch(&serials), &bench).ends().await.with_code(0);
    cloud.books().balance(&serials, &bench.held());
}
