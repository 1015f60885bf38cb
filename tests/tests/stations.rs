//! A station is its journal: PCs of one name and one access code, cloned and restored disks. Nobody's open serials are taken.

use std::path::{Path, PathBuf};

use qdrs_tests::{Bench, Cloud, Station, serials};

/// What of the summary is counted.
fn count(ended: &qdrs_tests::Ended, word: &str) -> u64 {
    ended.summary()[word].as_u64().unwrap_or_else(|| panic!("no `{word}`: {}", ended.summary()))
}

/// Runs a batch until so many serials have passed, and kills the station in the middle of the next ones.
async fn killed_after(passed: usize, station: &Station, batch: &Path, bench: &Bench) {
    let mut running = station.provision(batch, bench);
    let mut seen = 0;
    while let Some(event) = running.event().await {
        seen += usize::from(event["verdict"] == "pass");
        if seen >= passed && event["step"] == "write" {
            break;
        }
    }
    assert!(running.kill_after(0).await, "it was at work");
}

/// The journal as it is now.
fn backup(station: &Station) -> Vec<u8> {
    std::fs::read(station.journal()).expect("the journal is there")
}

fn lock_of(station: &Station) -> PathBuf {
    station.journal().with_extension("jsonl.lock")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pcs_of_one_name_and_one_code_share_a_batch_and_take_nothing_from_each_other() {
    let cloud = Cloud::start().await;
    let code = cloud.access_code("hall-1", &[]);
    let [one, two] = ["line-1", "line-1"].map(|name| Station::new(name, &cloud.url(), &code));
    let (serials, left, right) = (serials(24), Bench::with(2), Bench::with(2));
    killed_after(4, &one, &one.batch(&serials), &left).await;
    let before = cloud.books();
    assert!(before.ledger.values().any(|row| row.state == "issued"), "nothing was left open");

    let open =
        before.ledger.iter().find(|(_, row)| row.state == "issued").map(|(serial, _)| serial.clone()).expect("one is open");
    let plan = two.run(&["--json", "provision", &open, "--device", "mxchip", "--dry-run"]).await.with_code(0);
    assert!(plan.stdout.contains(r#""intent":"elsewhere""#), "{}", plan.stdout);
    let status = two.run(&["status", &open]).await.with_code(0);
    assert!(status.stdout.contains("line-1 (another one of this name)"), "{}", status.stdout);
    let out = two.home().join("string");
    let refused = two.run(&["register", &open, "--out", &out.to_string_lossy()]).await;
    assert!(refused.stderr.contains("registered by another station (`line-1`, since "), "{}", refused.stderr);
    assert!(refused.code != Some(0) && !out.exists());

    let ended = two.run_batch(&serials, &right).await.with_code(0);
    assert!(count(&ended, "pass") > 0 && count(&ended, "elsewhere") > 0, "{}", ended.summary());
    assert!(ended.stderr.contains("registered by another station (line-1, since "), "{}", ended.stderr);
    assert_eq!(cloud.books().tombstones, 0, "something was taken over");

    // The first goes on with what is its own.
    let ended = one.run_batch(&serials, &left).await.with_code(0);
    assert!(count(&ended, "elsewhere") > 0, "{}", ended.summary());
    cloud.books().balance(&serials, &[left.held(), right.held()].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pcs_of_one_name_work_at_the_same_time() {
    let cloud = Cloud::start().await;
    let code = cloud.access_code("hall-1", &[]);
    let [one, two] = ["line-1", "line-1"].map(|name| Station::new(name, &cloud.url(), &code));
    let (serials, left, right) = (serials(40), Bench::with(2), Bench::with(2));
    let (first, second) = tokio::join!(one.run_batch(&serials, &left), two.run_batch(&serials, &right));
    let (first, second) = (first.with_code(0), second.with_code(0));
    assert_eq!(count(&first, "pass") + count(&second, "pass"), 40, "{}\n{}", first.summary(), second.summary());
    cloud.books().balance(&serials, &[left.held(), right.held()].concat());
    assert_eq!(cloud.books().tombstones, 0, "something was taken over");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_pcs_open_serial_is_taken_over_when_a_person_says_why() {
    let cloud = Cloud::start().await;
    let code = cloud.access_code("hall-1", &[]);
    let [one, two] = ["line-1", "line-1"].map(|name| Station::new(name, &cloud.url(), &code));
    let (serials, left, right) = (serials(8), Bench::with(1), Bench::with(2));
    killed_after(2, &one, &one.batch(&serials), &left).await;
    let open = cloud.books().ledger.values().filter(|row| row.state == "issued").count();
    let batch = two.batch(&serials);
    let flags = ["--take-over", "line 1 burnt down"];
    two.provision_with(&batch, &right, &flags).ends().await.with_code(0);
    let books = cloud.books();
    books.balance(&serials, &[left.held(), right.held()].concat());
    assert!(books.tombstones >= open && open > 0, "{open} were open, {} taken over", books.tombstones);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloned_disk_is_another_station_and_says_so() {
    let cloud = Cloud::start().await;
    let one = Station::new("line-1", &cloud.url(), &cloud.access_code("hall-1", &[]));
    let (serials, left, right) = (serials(16), Bench::with(2), Bench::with(2));
    killed_after(4, &one, &one.batch(&serials), &left).await;
    let two = one.cloned();

    let ended = two.run_batch(&serials, &right).await.with_code(0);
    assert!(ended.stderr.contains("this station's journal is a copy"), "{}", ended.stderr);
    assert!(count(&ended, "elsewhere") > 0, "{}", ended.summary());
    assert_eq!(cloud.books().tombstones, 0, "something was taken over");
    let again = two.run_batch(&serials, &right).await.with_code(0);
    assert!(!again.stderr.contains("is a copy"), "said once: {}", again.stderr);

    let ended = one.run_batch(&serials, &left).await.with_code(0);
    assert!(!ended.stderr.contains("is a copy"), "{}", ended.stderr);
    cloud.books().balance(&serials, &[left.held(), right.held()].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_journal_is_noticed_and_makes_nothing_twice() {
    // The journal alone came back, or all that was on the disk with it: then only the service knows more.
    for whole_disk in [false, true] {
        let cloud = Cloud::start().await;
        let station = Station::new("line-1", &cloud.url(), &cloud.access_code("hall-1", &[]));
        let (all, bench) = (serials(20), Bench::with(2));
        killed_after(4, &station, &station.batch(&all), &bench).await;
        let (journal, lock) = (backup(&station), std::fs::read(lock_of(&station)).expect("is there"));
        station.run_batch(&all[..16], &bench).await.with_code(0);
        // Its own, of boards that had gone when it was killed.
        let tombstones = cloud.books().tombstones;

        std::fs::write(station.journal(), &journal).expect("restores");
        if whole_disk {
            std::fs::write(lock_of(&station), &lock).expect("restores");
        }
        let ended = station.run_batch(&all, &bench).await.with_code(0);
        assert!(ended.stderr.contains("as after a restore from a backup"), "whole disk: {whole_disk}: {}", ended.stderr);
        assert_eq!((count(&ended, "pass"), count(&ended, "done_before")), (4, 16), "{}", ended.summary());
        cloud.books().balance(&all, &bench.held());
        assert_eq!(cloud.books().tombstones, tombstones, "something was taken over");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_restored_journal_holds_as_begun_waits_for_a_persons_word() {
    let cloud = Cloud::start().await;
    let station = Station::new("line-1", &cloud.url(), &cloud.access_code("hall-1", &[]));
    let (serials, bench) = (serials(12), Bench::with(2));
    killed_after(2, &station, &station.batch(&serials), &bench).await;
    let journal = backup(&station);
    killed_after(2, &station, &station.batch(&serials), &bench).await;
    let before = cloud.books();
    let open: Vec<_> = before.ledger.iter().filter(|(_, row)| row.state == "issued").collect();
    assert!(!open.is_empty(), "nothing was left open");

    std::fs::write(station.journal(), &journal).expect("restores");
    station.run_batch(&serials, &bench).await.with_code(0);
    let after = cloud.books();
    assert_eq!(after.tombstones, before.tombstones, "something was taken over");
    for (serial, row) in &open {
        assert_eq!(after.hub.get(&row.device_id), row.fingerprint.as_ref(), "{serial}: its key is dead");
    }

    let flags = ["--take-over", "the disk was replaced"];
    station.provision_with(&station.batch(&serials), &bench, &flags).ends().await.with_code(0);
    cloud.books().balance(&serials, &bench.held());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_home_is_the_same_station() {
    let cloud = Cloud::start().await;
    let station = Station::new("line-1", &cloud.url(), &cloud.access_code("hall-1", &[]));
    let (serials, bench) = (serials(12), Bench::with(2));
    killed_after(4, &station, &station.batch(&serials), &bench).await;
    let station = station.moved();
    let ended = station.run_batch(&serials, &bench).await.with_code(0);
    assert_eq!(count(&ended, "elsewhere"), 0, "{}", ended.summary());
    assert!(!ended.stderr.contains("journal"), "{}", ended.stderr);
    cloud.books().balance(&serials, &bench.held());
}
