//! What an answer of the ledger rests on: a writer whose commits are on the disk, shared by those who wait for it.

use std::sync::mpsc;

use super::*;

/// The number that the writer's connection has for a setting.
async fn setting(ledger: &SqliteLedger, name: &'static str) -> i64 {
    let read = move |connection: &Connection| Ok(connection.pragma_query_value(None, name, |row| row.get(0))?);
    ledger.write::<i64, LedgerError>(read).await.unwrap()
}

#[tokio::test]
async fn the_writer_waits_for_the_disk_and_keeps_what_it_often_reads() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = SqliteLedger::open_or_make(&folder.path().join("ledger.sqlite")).unwrap();
    assert_eq!(setting(&ledger, "synchronous").await, 2, "FULL");
    assert_eq!(setting(&ledger, "foreign_keys").await, 1);
    assert_eq!(setting(&ledger, "trusted_schema").await, 0);
    assert_eq!(setting(&ledger, "cache_size").await, -32_768, "KiB, since it is negative");
    let mode = |connection: &Connection| connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0));
    assert_eq!(ledger.read(mode).await.unwrap(), "wal");
    let writes = |connection: &Connection| connection.execute("UPDATE access_code SET made = 0", []);
    assert!(matches!(ledger.read(writes).await, Err(LedgerError::Database(_))), "who reads can only read");
}

#[tokio::test]
async fn those_who_wait_for_the_writer_share_one_commit() {
    let (_folder, path) = kept(1);
    let ledger = SqliteLedger::open_or_make(&path).unwrap();
    let count =
        |connection: &Connection| connection.query_row("SELECT count(*) FROM policy_count", [], |row| row.get::<_, u64>(0));
    let before = ledger.read(count).await.unwrap();
    let (all_wait, go_on) = mpsc::channel();
    let insert = |connection: &Connection, policy: &str| {
        connection.execute("INSERT INTO policy_count (policy, day, made) VALUES (?1, '', 1)", [policy])?;
        Ok::<(), LedgerError>(())
    };
    let (.., seen_outside, ()) = tokio::join!(
        ledger.write(move |_| {
            go_on.recv().expect("the others wait");
            Ok::<(), LedgerError>(())
        }),
        ledger.write(move |connection| insert(connection, "first")),
        ledger.write(move |connection| {
            insert(connection, "second")?;
            let outside = Connection::open(&path)?;
            Ok::<u64, LedgerError>(count(&outside)?)
        }),
        async move { all_wait.send(()).expect("the writer waits") },
    );
    assert_eq!(seen_outside.unwrap(), before, "the second was done before the first was committed");
    assert_eq!(ledger.read(count).await.unwrap(), before + 2);
}
