//! Who makes and migrates a ledger, what is refused and left as it is, and who may read it.

use std::{collections::BTreeMap, ffi::OsString, fs, path::Path};

use qdrs_core::explain::Explain as _;

use super::*;

/// Opens, makes or migrates a ledger.
type Way = fn(&Path) -> Result<(), LedgerError>;

/// Each way to a ledger, by its name.
fn ways() -> [(&'static str, Way); 5] {
    [
        ("open", |path| SqliteLedger::open(path).map(drop)),
        ("open_or_make", |path| SqliteLedger::open_or_make(path).map(drop)),
        ("open_to_serve", |path| SqliteLedger::open_to_serve(path).map(drop)),
        ("make", |path| SqliteLedger::make(path).map(drop)),
        ("migrate", |path| SqliteLedger::migrate(path).map(drop)),
    ]
}

/// Everything in a folder: names, and bytes of files.
fn all_in(folder: &Path) -> BTreeMap<OsString, Option<Vec<u8>>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name(), fs::read(entry.path()).ok()))
        .collect()
}

fn version_of(path: &Path) -> u32 {
    Connection::open(path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

#[test]
fn only_who_says_so_makes_a_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    for open in [|path: &Path| SqliteLedger::open(path).map(drop), |path: &Path| SqliteLedger::migrate(path).map(drop)] {
        let error = open(&path).unwrap_err();
        assert!(matches!(error, LedgerError::Missing { .. }) && error.help().contains("qdrs-service init"), "{error}");
    }
    assert!(all_in(folder.path()).is_empty());
    // What a killed run left is no ledger, and no obstacle.
    fs::write(folder.path().join(".ledger.sqlite.new"), b"half of").unwrap();
    assert!(SqliteLedger::make(&path).unwrap());
    assert!(!SqliteLedger::make(&path).unwrap(), "once");
    SqliteLedger::open(&path).unwrap();
    assert!(!all_in(folder.path()).contains_key(&OsString::from(".ledger.sqlite.new")));
}

#[test]
fn what_is_no_ledger_is_refused_and_left_as_it_is() {
    type Make = fn(&Path);
    let other: Make = |path| {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch("CREATE TABLE audit (seq INTEGER); PRAGMA user_version = 3").unwrap();
    };
    let cases: [(&str, Make); 8] = [
        ("it is no SQLite database", |path| fs::write(path, "serial\nQD-0041713\n".repeat(100)).unwrap()),
        ("the file is empty", |path| fs::write(path, "").unwrap()),
        ("it is an SQLite database of another program", other),
        ("it is no file", |path| fs::create_dir(path).unwrap()),
        ("ledger.sqlite-wal is still there", |path| {
            fs::write(file::beside(path, "-wal"), "what was not in the file yet").unwrap()
        }),
        ("ledger.sqlite-journal is still there", |path| fs::write(file::beside(path, "-journal"), "half a deed").unwrap()),
        #[cfg(unix)]
        ("it is a link to /none/such.sqlite, and nothing is there", |path| {
            std::os::unix::fs::symlink("/none/such.sqlite", path).unwrap();
        }),
        #[cfg(not(unix))]
        ("the file is empty", |path| fs::write(path, "").unwrap()),
        ("is not there", |path| fs::remove_dir(path.parent().unwrap()).unwrap()),
    ];
    for (why, make) in cases {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("inner");
        fs::create_dir(&folder).unwrap();
        let path = folder.join("ledger.sqlite");
        make(&path);
        let look = || if folder.exists() { all_in(&folder) } else { all_in(outer.path()) };
        let before = look();
        for (way, open) in ways() {
            let error = open(&path).expect_err(why);
            assert!(error.to_string().contains(why) && !error.help().is_empty(), "{way}: {error}");
            assert!(look() == before, "{way} has changed what is there: {why}");
        }
    }
}

#[test]
fn an_older_ledger_is_brought_up_to_date_by_name_and_under_no_service() {
    let (folder, path) = kept(2);
    let before = all_in(folder.path());
    let error = SqliteLedger::open(&path).map(drop).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("ledger {} has version 2, and this QDRS works with version {}", path.display(), migrate::known())
    );
    assert!(error.help().contains("qdrs-service ledger migrate"));
    assert!(!SqliteLedger::make(&path).unwrap(), "nor does `init` change it");
    assert!(all_in(folder.path()) == before, "nothing is changed");
    let older_service = file::lock(&path).unwrap();
    for open in [|path: &Path| SqliteLedger::migrate(path).map(drop), |path: &Path| SqliteLedger::open_to_serve(path).map(drop)] {
        assert!(matches!(open(&path), Err(LedgerError::Serving { .. })));
    }
    assert_eq!(version_of(&path), 2);
    drop(older_service);
    assert_eq!(SqliteLedger::migrate(&path).unwrap(), (2, migrate::known()));
    assert_eq!(SqliteLedger::migrate(&path).unwrap(), (migrate::known(), migrate::known()), "again is no error");
    SqliteLedger::open(&path).unwrap();
}

#[cfg(unix)]
#[test]
fn a_ledger_can_be_read_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let modes = |folder: &Path| {
        let mode = |entry: fs::DirEntry| {
            (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().permissions().mode() & 0o777)
        };
        fs::read_dir(folder).unwrap().map(|entry| mode(entry.unwrap())).collect::<BTreeMap<_, _>>()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let served = SqliteLedger::open_to_serve(&path).unwrap();
    let all = ["", "-shm", "-wal", ".lock"].map(|end| (format!("ledger.sqlite{end}"), 0o600));
    assert_eq!(modes(folder.path()), BTreeMap::from(all.clone()));
    // As an older version made them; the service that is killed leaves all of them.
    let killed = tempfile::tempdir().unwrap();
    for (name, _) in &all {
        fs::copy(folder.path().join(name), killed.path().join(name)).unwrap();
        fs::set_permissions(killed.path().join(name), fs::Permissions::from_mode(0o664)).unwrap();
    }
    drop(served);
    let _served = SqliteLedger::open_to_serve(&killed.path().join("ledger.sqlite")).unwrap();
    assert_eq!(modes(killed.path()), BTreeMap::from(all));
}

#[cfg(unix)]
#[test]
fn a_read_only_ledger_is_refused_and_stays_so() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    assert!(SqliteLedger::make(&path).unwrap());
    fs::remove_file(file::beside(&path, ".lock")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    let before = all_in(folder.path());
    for open in [|path: &Path| SqliteLedger::open(path).map(drop), |path: &Path| SqliteLedger::open_or_make(path).map(drop)] {
        let error = open(&path).unwrap_err();
        assert!(error.to_string().ends_with("can't be used: the file is read-only"), "{error}");
        assert!(all_in(folder.path()) == before && fs::metadata(&path).unwrap().permissions().readonly());
    }
}

#[cfg(unix)]
#[test]
fn two_names_of_one_ledger_meet_at_one_lock() {
    let (folder, path) = kept(1);
    let link = folder.path().join("link.sqlite");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let first = SqliteLedger::open_to_serve(&link).unwrap();
    assert!(matches!(SqliteLedger::open_to_serve(&path), Err(LedgerError::Serving { .. })));
    SqliteLedger::open(&path).expect("the owner's commands work beside it");
    drop(first);
    SqliteLedger::open_to_serve(&path).expect("after it has ended");
}
