//! Ledgers of old releases open for ever; newer ones are refused with a sentence; one deed's end is no other's.

use std::path::PathBuf;

use qdrs_core::api::State;

use super::*;
use crate::ledger::audit::{Deed, check_chain};

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
    let ledger = SqliteLedger::open(&path).unwrap();
    let record = ledger.find_serial("multiples-of-7".into(), "QD-0041713".into()).await.unwrap().expect("it is there");
    assert_eq!(record.life.state(), State::Confirmed);
    assert_eq!(ledger.access_list().await.unwrap().len(), 1);
    let entries = ledger.audit(1, 100).await.unwrap();
    assert!(check_chain(1, [0; 32], &entries).is_ok());
    let actions: Vec<_> = entries.iter().map(|entry| serde_json::from_str::<Deed>(&entry.text).unwrap().action).collect();
    assert_eq!(actions, ["access-created", "reserved", "issued", "confirmed"]);
}

#[test]
fn a_newer_ledger_is_refused_and_left_as_it_is() {
    let (_folder, path) = kept(1);
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 1000).unwrap();
    drop(connection);
    let Err(error) = SqliteLedger::open(&path) else { panic!("a newer ledger was opened") };
    assert!(error.to_string().contains("was written by a newer QDRS (its version is 1000, this one knows 1)"), "{error}");
}

#[tokio::test]
async fn a_deed_that_breaks_off_is_undone_alone_and_the_ledger_goes_on() {
    let (_folder, path) = kept(1);
    let ledger = SqliteLedger::open(&path).unwrap();
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
