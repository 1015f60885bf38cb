//! The owner's books: a batch by a list, made by two stations, one device scrapped, one released and made again, one missing.

use std::process::{Output, Stdio};

use qdrs_service::emulator::{Fault, Operation, Rule};
use qdrs_tests::{Bench, Cloud, Station, binary, serials, until};

/// The owner's command beside the running service.
fn owner(cloud: &Cloud, arguments: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(binary("qdrs-service"));
    command.args(arguments).arg("--config").arg(cloud.folder().join("service.toml")).env_clear().stdin(Stdio::null());
    command
}

fn owner_does(cloud: &Cloud, arguments: &[&str], code: i32) -> (String, String) {
    let Output { status, stdout, stderr } = owner(cloud, arguments).output().expect("the owner's command runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned());
    assert_eq!(status.code(), Some(code), "{arguments:?}\n{stdout}\n{stderr}");
    (stdout, stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_ends_with_books_that_balance() {
    let cloud = Cloud::start().await;
    let station = Station::new("line-1", &cloud.url(), &cloud.access_code("line-1", &[]));
    let second = Station::new("line-2", &cloud.url(), &cloud.access_code("line-2", &[]));
    let (six, bench) = (serials(7), Bench::with(1));
    let (six, stranger) = (&six[..6], &six[6]);
    let list = cloud.folder().join("list.csv");
    std::fs::write(&list, format!("serial\n{}\n", six.join("\n"))).expect("the list is written");
    // Stations call a batch by its file's name.
    let open = ["batch", "open", "batch", "--list", list.to_str().expect("a path"), "--code", "line-1", "--code", "line-2"];
    owner_does(&cloud, &open, 0);

    let with_columns = station.batch(&[]);
    let rows: Vec<_> = six[..5].iter().map(|serial| format!("{serial},blue")).collect();
    std::fs::write(&with_columns, format!("serial,colour\n{}\n", rows.join("\n"))).expect("the batch is written");
    station.provision(&with_columns, &bench).ends().await.with_code(0);
    owner_does(&cloud, &["serials", "scrap", &six[0], "--reason", "fell down"], 0);
    owner_does(&cloud, &["serials", "release", &six[1], "--reason", "new firmware"], 0);
    second.provision(&second.batch(&[six[1].clone()]), &bench).ends().await.with_code(0);
    let refused = second.provision(&second.batch(std::slice::from_ref(stranger)), &bench).ends().await.with_code(1);
    assert!(refused.stdout.contains("not-in-batch"), "{}", refused.stdout);

    let (table, _) = owner_does(&cloud, &["batch", "show", "batch"], 0);
    assert!(table.contains("serials   4 confirmed, 1 missing, 1 scrapped; the books do not balance yet"), "{table}");
    assert!(table.contains(&format!("{}  missing: never registered", six[5])), "{table}");
    let (csv, _) = owner_does(&cloud, &["batch", "show", "batch", "--csv"], 0);
    assert!(csv.lines().next().is_some_and(|header| header.ends_with(r#","reason","[colour]""#)), "{csv}");
    assert_eq!(csv.lines().filter(|row| row.ends_with(r#","blue""#)).count(), 4, "one was made again from a list without: {csv}");
    let (json, _) = owner_does(&cloud, &["batch", "show", "batch", "--json"], 0);
    let json: serde_json::Value = serde_json::from_str(&json).expect("is JSON");
    assert_eq!(json["totals"], serde_json::json!({ "confirmed": 4, "missing": 1, "scrapped": 1 }));
    let counts: Vec<_> = json["counts"].as_array().expect("counts").iter().map(|row| (&row["station"], &row["states"])).collect();
    assert_eq!(counts[0], (&"line-1".into(), &serde_json::json!({ "confirmed": 3, "scrapped": 1 })));
    assert_eq!(counts[1], (&"line-2".into(), &serde_json::json!({ "confirmed": 1 })));
    let (shown, _) = owner_does(&cloud, &["serials", "show", &six[1]], 0);
    assert!(shown.contains("reason       released: new firmware") && shown.contains("[colour]     blue"), "{shown}");
    assert_eq!(shown.matches("reservation ").count(), 2, "the tombstone and the present one: {shown}");

    let (_, said) = owner_does(&cloud, &["batch", "close", "batch"], 1);
    assert!(said.contains(&format!("{}  missing: never registered", six[5])) && said.contains("stays open"), "{said}");
    owner_does(&cloud, &["batch", "close", "batch", "--missing-ok", "label torn"], 0);
    let late = second.provision(&second.batch(&[six[5].clone()]), &bench).ends().await.with_code(3);
    assert!(late.stdout.contains("batch-closed") || late.stderr.contains("batch-closed"), "{}\n{}", late.stdout, late.stderr);

    // Ledger and hub agree: four live devices, each with a key that a board holds; what was ended is dead.
    let books = cloud.books();
    assert_eq!((books.hub.len(), books.tombstones), (4, 1));
    for serial in &six[1..5] {
        let row = &books.ledger[serial];
        assert_eq!((row.state.as_str(), row.fingerprint.as_ref()), ("confirmed", books.hub.get(&row.device_id)), "{serial}");
        let live = |held: &qdrs_core::connection_string::DeviceConnectionString| {
            Some(&held.key.fingerprint().to_string()) == books.hub.get(&row.device_id)
        };
        assert_eq!(bench.held().iter().filter(|held| live(held)).count(), 1, "{serial}");
    }
    assert_eq!(books.ledger[&six[0]].state, "scrapped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_is_killed_is_finished_by_the_same_command() {
    let cloud = Cloud::start().await;
    let station = Station::new("line-1", &cloud.url(), &cloud.access_code("line-1", &[]));
    let (serials, bench) = (serials(2), Bench::with(1));
    station.provision(&station.batch(&serials), &bench).ends().await.with_code(0);
    for (serial, fault, end) in [(&serials[0], Fault::DropRequest, "release"), (&serials[1], Fault::FailBefore, "scrap")] {
        cloud.hub.faults.clear();
        cloud.hub.faults.add(Rule::new(fault).on(Operation::Delete).always());
        let before = cloud.hub.faults.fired();
        let command = ["serials", end, serial, "--reason", "test"];
        let mut child = owner(&cloud, &command).stderr(Stdio::null()).spawn().expect("starts");
        until("the hub does not delete", || cloud.hub.faults.fired() > before).await;
        child.kill().expect("is killed");
        child.wait().expect("has ended");
        let state = cloud.books().ledger[serial].state.clone();
        assert_eq!(state, if end == "release" { "releasing" } else { "confirmed" });
        assert!(cloud.books().hub.contains_key(serial), "the hub did not delete it yet");
        cloud.hub.faults.clear();
        let (_, said) = owner_does(&cloud, &command, 0);
        assert!(said.contains(&format!("{serial} is {end}")), "{said}");
        assert!(!cloud.books().hub.contains_key(serial));
    }
    assert_eq!((cloud.books().tombstones, cloud.books().ledger.len()), (1, 1));
    // A released serial is free for the next station; a scrapped one is nobody's.
    let second = Station::new("line-2", &cloud.url(), &cloud.access_code("line-2", &[]));
    let again = second.provision(&second.batch(&serials), &bench).ends().await.with_code(1);
    assert_eq!((&again.summary()["pass"], &again.summary()["fail"]), (&1.into(), &1.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_with_a_serial_that_the_services_policy_refuses_is_not_begun() {
    let (cloud, bench) = (Cloud::start().await, Bench::with(1));
    let station = Station::new("line-1", &cloud.url(), &cloud.access_code("line-1", &[]));
    let mut serials = serials(3);
    let good = serials[1].clone();
    serials[1] = format!("{}{}", &good[..good.len() - 1], if good.ends_with('1') { '2' } else { '1' });
    let batch = station.batch(&serials);
    let refused = station.provision(&batch, &bench).ends().await.with_code(2);
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(said.contains("batch-invalid") && said.contains(&serials[1]) && said.contains("line 3"), "{said}");
    assert!(cloud.books().ledger.is_empty(), "nothing is made before all is checked");
}
