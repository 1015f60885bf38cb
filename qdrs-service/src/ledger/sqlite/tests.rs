//! Ledgers of old releases open for ever; newer ones are refused with a sentence; one deed's end is no other's.

use std::{
    path::PathBuf,
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use jiff::Timestamp;
use qdrs_core::{
    access::AccessCode,
    api::{Kind, State},
    connection_string::DeviceKey,
    explain::Explain as _,
};

use super::*;
use crate::ledger::{
    Life,
    audit::{Deed, check_chain},
    batch::NewBatch,
};

mod ways;
mod writer;

/// A copy of the kept ledger of that version, in a folder that goes with the test.
fn kept(version: u32) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let kept = format!("{}/../tests/data/ledgers/v{version}.sqlite", env!("CARGO_MANIFEST_DIR"));
    std::fs::copy(kept, &path).unwrap();
    (folder, path)
}

#[tokio::test]
async fn the_first_versions_ledger_opens() {
    let (_folder, path) = kept(1);
    let ledger = SqliteLedger::open_or_make(&path).unwrap();
    let record = ledger.find_serial("multiples-of-7".into(), "QD-0041713".into()).await.unwrap().expect("it is there");
    assert_eq!(record.life.state(), State::Confirmed);
    assert_eq!(ledger.access_list().await.unwrap().len(), 1);
    let entries = ledger.audit(1, 100).await.unwrap();
    assert!(check_chain(1, [0; 32], &entries).is_ok());
    let actions: Vec<_> = entries.iter().map(|entry| serde_json::from_str::<Deed>(&entry.text).unwrap().action).collect();
    assert_eq!(actions, ["access-created", "reserved", "issued", "confirmed"]);
}

#[tokio::test]
async fn the_first_versions_ledger_takes_a_batch() {
    let (_folder, path) = kept(1);
    let ledger = SqliteLedger::open_or_make(&path).unwrap();
    let record = ledger.find_serial("multiples-of-7".into(), "QD-0041713".into()).await.unwrap().expect("it is there");
    assert!(record.reservation.columns.is_empty());
    let name = record.reservation.batch.clone().unwrap_or_else(|| "w47".into());
    let new = NewBatch { name: name.clone(), policy: "multiples-of-7".into(), expected: Some(9), list: None, codes: vec![] };
    let batch = ledger.batch_open(new).await.unwrap();
    assert_eq!(batch.taken, u64::from(record.reservation.batch.is_some()), "what was registered before is in it");
    assert_eq!(ledger.unanswered_for(record.reservation.id).await.unwrap(), None);
    assert!(check_chain(1, [0; 32], &ledger.audit(1, 100).await.unwrap()).is_ok());
}

#[tokio::test]
async fn the_second_versions_ledger_opens() {
    let (_folder, path) = kept(2);
    let ledger = SqliteLedger::open_or_make(&path).unwrap();
    says_what_was_kept(&ledger).await;
    let access = &ledger.access_list().await.unwrap()[0];
    assert_eq!((access.rework, access.reworked), (0, 0), "nobody has allowed a release");
}

#[tokio::test]
async fn the_third_versions_ledger_opens() {
    let (_folder, path) = kept(3);
    let ledger = SqliteLedger::open_or_make(&path).unwrap();
    says_what_was_kept(&ledger).await;
    says_who_released_it(&ledger).await;
}

#[tokio::test]
async fn the_sixth_versions_ledger_opens() {
    let (_folder, path) = kept(6);
    let ledger = SqliteLedger::open_or_make(&path).unwrap();
    says_what_was_kept(&ledger).await;
    says_who_released_it(&ledger).await;
}

#[tokio::test]
async fn the_fourth_versions_ledger_opens() {
    let (_folder, path) = kept(4);
    let ledger = SqliteLedger::open_or_make(&path).unwrap();
    says_what_was_kept(&ledger).await;
    says_who_released_it(&ledger).await;
}

/// A hub is its host, however an older version spelled it; what stands in one hub twice keeps its spelling, and the ledger opens.
#[tokio::test]
async fn an_old_ledgers_hosts_are_brought_to_one_spelling() {
    let (_folder, path) = kept(3);
    let connection = Connection::open(&path).unwrap();
    for (serial, host, device_id) in [
        ("14", "Example.Azure-Devices.NET:443", "14"),
        ("7", "EXAMPLE.service.azure-devices.net", "7"),
        ("21", "Example.azure-devices.net.", "7"),
    ] {
        let set = "UPDATE reservation SET hub_host = ?2, device_id = ?3 WHERE serial = ?1";
        assert_eq!(connection.execute(set, [serial, host, device_id]).unwrap(), 1);
    }
    drop(connection);
    let ledger = SqliteLedger::open_or_make(&path).unwrap();
    let hosts = ledger.read(|connection| {
        let mut rows = connection.prepare("SELECT serial, hub_host FROM reservation ORDER BY serial")?;
        rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?.collect::<rusqlite::Result<Vec<_>>>()
    });
    let pairs = |all: &[(&str, &str)]| all.iter().map(|(one, two)| ((*one).to_owned(), (*two).to_owned())).collect::<Vec<_>>();
    let example = "example.azure-devices.net";
    assert_eq!(hosts.await.unwrap(), pairs(&[("14", example), ("21", "Example.azure-devices.net."), ("7", example)]));
    assert!(ledger.serials_at_other_hosts(vec![example.into()]).await.unwrap().is_empty());
}

/// Which are charged is known of a ledger that was made before it was kept.
#[tokio::test]
async fn what_an_old_ledger_has_released_is_numbered_and_pays_back_no_more() {
    let (_folder, path) = kept(2);
    let ledger = SqliteLedger::open_or_make(&path).unwrap();
    let charged = ledger.read(|connection| {
        let mut rows = connection.prepare("SELECT serial, charged FROM reservation ORDER BY serial")?;
        rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?)))?.collect::<rusqlite::Result<Vec<_>>>()
    });
    assert_eq!(charged.await.unwrap(), [("14".to_owned(), false), ("21".to_owned(), true), ("7".to_owned(), true)]);
}

async fn says_who_released_it(ledger: &SqliteLedger) {
    let access = &ledger.access_list().await.unwrap()[0];
    assert_eq!((access.rework, access.reworked), (5, 1));
    let entries = ledger.audit(1, 100).await.unwrap();
    let deeds = entries.iter().map(|entry| serde_json::from_str::<Deed>(&entry.text).unwrap());
    let by: Vec<_> = deeds.filter(|deed| deed.action == "releasing").map(|deed| deed.by).collect();
    assert_eq!(by, [access.key_id.to_string()]);
}

async fn says_what_was_kept(ledger: &SqliteLedger) {
    let books = ledger.batch_books("w47".into()).await.unwrap().expect("it is there");
    let states: Vec<_> =
        books.lines.iter().map(|line| (line.serial.as_str(), line.made.as_ref().map(|made| made.state))).collect();
    assert_eq!(
        states,
        [("14", Some(State::Released)), ("21", Some(State::Scrapped)), ("28", None), ("7", Some(State::Confirmed))]
    );
    assert_eq!(books.lines[3].made.as_ref().unwrap().columns["colour"], "blue");
    assert_eq!(
        (books.batch.taken, books.batch.codes, books.batch.missing_ok.as_deref()),
        (2, vec!["line-1".to_owned()], Some("lost"))
    );
    let access = &ledger.access_list().await.unwrap()[0];
    let tombstones = ledger.tombstones(access.key_id, 0, 9).await.unwrap();
    assert_eq!(tombstones.iter().map(|one| (one.number, one.serial.as_str())).collect::<Vec<_>>(), [(1, "14")]);
    assert!(check_chain(1, [0; 32], &ledger.audit(1, 100).await.unwrap()).is_ok());
}

#[tokio::test]
async fn the_ninth_versions_ledger_opens() {
    let (_folder, path) = kept(9);
    let ledger = SqliteLedger::open_or_make(&path).unwrap();
    says_what_was_kept(&ledger).await;
    says_who_released_it(&ledger).await;
}

/// Version 8 and older kept no numbers of the audit log beside a reservation; the log has them.
#[tokio::test]
async fn the_order_of_an_old_ledgers_attempts_is_that_of_its_log() {
    let (_folder, path) = kept(3);
    let ledger = SqliteLedger::open_or_make(&path).unwrap();
    let entries = ledger.read(|connection| {
        let mut rows =
            connection.prepare("SELECT serial, reserved_entry, last_entry FROM reservation ORDER BY reserved_entry")?;
        let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, u64>(1)?, row.get::<_, u64>(2)?));
        rows.query_map([], row)?.collect::<rusqlite::Result<Vec<_>>>()
    });
    let entries = entries.await.unwrap();
    assert_eq!(entries.iter().map(|(serial, ..)| serial.as_str()).collect::<Vec<_>>(), ["7", "14", "21"]);
    assert!(entries.iter().all(|(_, first, last)| 0 < *first && first < last), "{entries:?}");
    let books = ledger.batch_books("w47".into()).await.unwrap().unwrap();
    assert_eq!(books.changed_after_closing().count(), 0);
}

/// Version 6 and older took each spelling of a board for a board of its own, and a scrapped serial's board for free.
#[tokio::test]
async fn boards_of_an_old_ledger_are_folded_and_those_that_are_one_are_kept_and_told() {
    let (_folder, path) = kept(3);
    let old = Connection::open(&path).unwrap();
    old.execute_batch(
        "UPDATE reservation SET hardware_id = '5c:cf:7f:00:00:01' WHERE serial = '7';
         UPDATE reservation SET hardware_id = '5CCF7F000001' WHERE serial = '21';
         CREATE TEMP TABLE another AS SELECT * FROM reservation WHERE serial = '7';
         UPDATE another SET id = '01936b1a-7c10-7000-8000-0000000000aa', serial = '35', device_id = '35', job_hash = randomblob(32),
             hardware_id = '5c-cf-7f-00-00-01';
         INSERT INTO reservation SELECT * FROM another;
         UPDATE another SET id = '01936b1a-7c10-7000-8000-0000000000bb', serial = '42', device_id = '42',
             job_hash = randomblob(32), hardware_id = '  ';
         INSERT INTO reservation SELECT * FROM another;",
    )
    .unwrap();
    drop(old);
    let ledger = SqliteLedger::open_or_make(&path).unwrap();
    let board = HardwareId::from_record("5C:CF:7F:00:00:01").unwrap();
    for (serial, expected) in [("7", Some(&board)), ("21", Some(&board)), ("35", Some(&board)), ("42", None)] {
        let record = ledger.find_serial("sevens".into(), serial.into()).await.unwrap().expect("nothing is lost");
        assert_eq!(record.reservation.hardware_id.as_ref(), expected, "{serial}");
    }
    let shared = ledger.shared_boards().await.unwrap();
    let serials = ["21", "35", "7"].map(str::to_owned).to_vec();
    assert_eq!(shared, [SharedBoard { hardware_id: board.clone(), product: "sevens".into(), serials }]);
    assert!(shared[0].in_words().contains("`21` and as `35` and as `7`"), "{}", shared[0].in_words());
    let than = Made { policy: "sevens".into(), serial: "49".into() };
    assert!(ledger.board_made_as_other("sevens".into(), board, than).await.unwrap().is_some(), "it becomes no fourth one");
}

/// What this version writes says the same. With `QDRS_TEST_KEEP` set its file is kept, once for each migration.
#[tokio::test]
async fn this_versions_ledger_says_what_the_third_ones_did() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let ledger = SqliteLedger::open_or_make(&path).unwrap();
    let code = AccessCode::generate(Kind::Station);
    let access = Access {
        key_id: code.key_id(),
        keys: code.public(),
        name: "line-1".into(),
        kind: Kind::Station,
        policy: "sevens".into(),
        hub: "main".into(),
        quota: None,
        made: 0,
        rework: 5,
        reworked: 0,
        rate_per_minute: None,
        not_before: None,
        expires: None,
        permissions: Vec::new(),
        state: AccessState::Active,
        created_at: Timestamp::now(),
    };
    ledger.access_create(access).await.unwrap();
    let list = ["7", "14", "21", "28"].map(str::to_owned).to_vec();
    let new = NewBatch {
        name: "w47".into(),
        policy: "sevens".into(),
        expected: Some(4),
        list: Some(list),
        codes: vec!["line-1".into()],
    };
    ledger.batch_open(new).await.unwrap();
    for (number, serial) in ["7", "14", "21"].into_iter().enumerate() {
        let reservation = Reservation {
            id: Uuid::now_v7(),
            policy: "sevens".into(),
            serial: serial.into(),
            serial_sent: serial.into(),
            device_id: serial.into(),
            hub: "main".into(),
            hub_host: "example.azure-devices.net".into(),
            key_id: code.key_id(),
            job: [u8::try_from(number).unwrap(); 32],
            recipient: None,
            station: Some("bench".into()),
            journal: None,
            slot: None,
            batch: None,
            product: "sevens".into(),
            hardware_id: HardwareId::from_record(&format!("hw-{serial}")),
            columns: [("colour".to_owned(), "blue".to_owned())].into(),
            replaces: None,
            least_evidence: Some(Evidence::ReadBack),
            listed_board: None,
            reserved_at: Timestamp::now(),
        };
        let (id, key) = (reservation.id, DeviceKey::generate().fingerprint());
        ledger.reserve(reservation, key, PolicyLimits::default()).await.unwrap();
        assert!(ledger.issue(id, key, Some(key)).await.unwrap());
        ledger.confirm(id, key, Evidence::ReadBack, None).await.unwrap();
        match serial {
            "14" => {
                ledger.rework(id, code.key_id(), "released: x".into()).await.unwrap();
                assert!(ledger.released(id, By::Holder(code.key_id())).await.unwrap());
            }
            "21" => assert!(ledger.scrap(id, "scrapped: x".into()).await.unwrap()),
            _ => assert!(matches!(ledger.find(id).await.unwrap().unwrap().life, Life::Confirmed { .. })),
        }
    }
    ledger.batch_close("w47".into(), Some("lost".into())).await.unwrap();
    says_what_was_kept(&ledger).await;
    says_who_released_it(&ledger).await;
    let connection = Connection::open(&path).unwrap();
    let all_in_one_file: u32 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
    assert_eq!(all_in_one_file, 0);
    if std::env::var_os("QDRS_TEST_KEEP").is_some() {
        let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        let kept = format!("{}/../tests/data/ledgers/v{version}.sqlite", env!("CARGO_MANIFEST_DIR"));
        std::fs::copy(&path, kept).unwrap();
    }
}

#[test]
fn a_newer_ledger_is_refused_and_left_as_it_is() {
    let (_folder, path) = kept(1);
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 1000).unwrap();
    drop(connection);
    let Err(error) = SqliteLedger::open_or_make(&path) else { panic!("a newer ledger was opened") };
    let known = format!("was written by a newer QDRS (its version is 1000, this one knows {})", migrate::known());
    assert!(error.to_string().contains(&known), "{error}");
}

#[tokio::test]
async fn a_deed_that_breaks_off_is_undone_alone_and_the_ledger_goes_on() {
    let (_folder, path) = kept(1);
    let ledger = SqliteLedger::open_or_make(&path).unwrap();
    let count =
        |connection: &Connection| connection.query_row("SELECT count(*) FROM policy_count", [], |row| row.get::<_, u64>(0));
    let before = ledger.read(count).await.unwrap();
    let insert = |connection: &Connection, policy: &str| {
        connection.execute("INSERT INTO policy_count (policy, day, made) VALUES (?1, '', 1)", [policy])
    };
    let (broken, fine) = tokio::join!(
        ledger.write::<(), LedgerError>(move |connection| {
            insert(connection, "broken")?;
            panic!("as told")
        }),
        ledger.write::<(), LedgerError>(move |connection| {
            insert(connection, "fine")?;
            Ok(())
        }),
    );
    assert!(matches!(broken, Err(LedgerError::Damaged { .. })), "{broken:?}");
    fine.unwrap();
    ledger.ready().await.unwrap();
    assert_eq!(ledger.read(count).await.unwrap(), before + 1);
}

#[tokio::test]
async fn ready_means_that_a_page_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let ledger = SqliteLedger::open_or_make(&path).unwrap();
    let written = || std::fs::metadata(folder.path().join("ledger.sqlite-wal")).unwrap().len();
    for _ in 0..3 {
        let before = written();
        ledger.ready().await.unwrap();
        assert!(written() > before, "an empty transaction would write nothing");
    }
}

#[tokio::test]
async fn a_full_disk_is_called_so() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = SqliteLedger::open_or_make(&folder.path().join("ledger.sqlite")).unwrap();
    let limit = |connection: &Connection| {
        Ok::<_, LedgerError>(connection.query_row("PRAGMA max_page_count = 1", [], |row| row.get::<_, u32>(0))?)
    };
    ledger.write(limit).await.unwrap();
    let grow = |connection: &Connection| Ok::<_, LedgerError>(connection.execute_batch("CREATE TABLE further (a TEXT) STRICT")?);
    let full = ledger.write(grow).await.unwrap_err();
    assert!(matches!(full, LedgerError::DiskFull), "{full}");
    assert!(full.help().contains("space"), "{}", full.help());
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_read_a_few_connections_suffice() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Arc::new(SqliteLedger::open_or_make(&folder.path().join("ledger.sqlite")).unwrap());
    let (running, most, together) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(READERS_MAX)));
    let mut reads = tokio::task::JoinSet::new();
    for _ in 0..READERS_MAX * 16 {
        let (ledger, running, most, together) = (ledger.clone(), running.clone(), most.clone(), together.clone());
        reads.spawn(async move {
            let look = move |_: &Connection| {
                most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                together.wait();
                running.fetch_sub(1, SeqCst);
                Ok(())
            };
            ledger.read(look).await
        });
    }
    while let Some(read) = reads.join_next().await {
        read.unwrap().unwrap();
    }
    assert_eq!(most.load(SeqCst), READERS_MAX, "all of them at once, and never more");
    for _ in 0..READERS_MAX * 2 {
        assert!(ledger.read(|_| -> rusqlite::Result<()> { panic!("a fault while reading") }).await.is_err());
    }
    ledger.read(|_| Ok(())).await.expect("a reader that panicked has given its turn back");
    assert!(ledger.readers.lock().unwrap().len() <= READERS_MAX);
}
