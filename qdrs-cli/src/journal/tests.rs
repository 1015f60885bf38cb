//! The journal's tests: what a kill, a power cut and a flipped bit leave.

use std::{fs, sync::Arc};

use proptest::prelude::*;
use qdrs_core::hardware_id::HardwareId;
use qdrs_core::{access::Sealed, api::Evidence};
use uuid::Uuid;

use super::*;

mod identity;

const SERVICE: &str = "https://qdrs.example/";

fn registration(serial: &str, reservation: Uuid) -> Box<Registration> {
    Box::new(Registration {
        version: 1,
        serial: serial.to_uppercase(),
        device_id: serial.to_uppercase(),
        hub: "hub.example".into(),
        reservation,
        sealed: Sealed { enc: vec![1; 32], ct: vec![2; 48] },
        least_evidence: Evidence::DeviceChecked,
    })
}

fn job(job: u128) -> Step {
    let (job, confirm) = (Uuid::from_u128(job), Uuid::from_u128(job + 1));
    Step::Job {
        job,
        confirm,
        slot: Some("1".into()),
        batch: None,
        hardware_id: None,
        take_over: None,
        replaces: None,
        extra: Default::default(),
    }
}

fn written() -> Step {
    Step::Written(Written {
        fingerprint: qdrs_core::connection_string::Fingerprint::from_bytes([7; 32]),
        evidence: Evidence::ReadBack,
        hardware_id: None,
    })
}

/// A good run of one serial.
fn whole_life(serial: &str, key: u128) -> Vec<Entry> {
    let reservation = Uuid::from_u128(key + 2);
    [
        job(key),
        Step::Registered { registration: registration(serial, reservation) },
        Step::Writing { reservation, hardware_id: HardwareId::from_record("aa:bb"), port: None },
        written(),
        Step::Confirmed { confirmed_at: Timestamp::UNIX_EPOCH },
    ]
    .into_iter()
    .map(|step| Entry::new(serial, step))
    .collect()
}

fn journal_with(entries: impl IntoIterator<Item = Entry>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    let journal = Journal::open(&path, SERVICE).expect("opens");
    entries.into_iter().for_each(|entry| journal.append(entry).expect("appends"));
    (folder, path)
}

#[test]
fn what_was_appended_is_there_after_opening_again() {
    let (_folder, path) = journal_with(whole_life("qd-1", 10).into_iter().chain(whole_life("qd-0", 20).into_iter().take(3)));
    let journal = Journal::open(&path, SERVICE).expect("opens again");
    let states = journal.all();
    assert_eq!(
        states.iter().map(|state| (state.serial.as_str(), state.phase())).collect::<Vec<_>>(),
        [("qd-1", Phase::Passed), ("qd-0", Phase::Open)]
    );
    assert!(states[0].registration.is_none() && states[1].registration.is_some());
    assert!(!states[0].may_be_on_a_device() && states[1].may_be_on_a_device());
    assert_eq!(journal.state("QD-1").expect("found by its normal form").job, Uuid::from_u128(10));
    assert!(journal.state("qd-2").is_none());
}

#[test]
fn a_new_job_keeps_the_doubt_until_the_old_key_is_dead() {
    let (_folder, path) = journal_with(whole_life("qd-1", 10).into_iter().take(3));
    let journal = Journal::open(&path, SERVICE).expect("opens");
    journal.append(Entry::new("qd-1", job(50))).expect("appends");
    assert!(journal.state("qd-1").expect("known").may_be_on_a_device());
    journal
        .append(Entry::new("qd-1", Step::Registered { registration: registration("qd-1", Uuid::from_u128(99)) }))
        .expect("appends");
    assert!(!journal.state("qd-1").expect("known").may_be_on_a_device());
}

#[test]
fn what_was_released_is_work_again_and_what_followed_it_is_left_alone() {
    let (_folder, path) = journal_with(whole_life("qd-1", 10).into_iter().chain(whole_life("qd-2", 20)));
    let journal = Journal::open(&path, SERVICE).expect("opens");
    let released = |reservation: u128| Step::Released { reservation: Uuid::from_u128(reservation) };
    journal.append(Entry::new("qd-1", released(12))).expect("appends");
    journal.append(Entry::new("qd-2", released(12))).expect("appends");
    journal.append(Entry::new("", Step::Heard { code: "a".into(), releases: 7 })).expect("appends");
    drop(journal);
    let journal = Journal::open(&path, SERVICE).expect("opens again");
    let one = journal.state("QD-1").expect("by its normal form");
    assert_eq!((one.phase(), one.released), (Phase::Released, Some(Dead { reservation: Uuid::from_u128(12), board: None })));
    assert!(one.confirmed_at.is_none() && one.written.is_none() && one.writing.is_none() && one.reservation.is_none());
    assert_eq!(journal.state("qd-2").map(|state| state.phase()), Some(Phase::Passed), "that was another attempt");
    assert_eq!((journal.heard("a"), journal.heard("b"), journal.all().len()), (7, 0, 2));
    whole_life("qd-1", 30).into_iter().for_each(|entry| journal.append(entry).expect("appends"));
    journal.append(Entry::new("qd-1", released(12))).expect("appends");
    assert_eq!(journal.state("qd-1").map(|state| state.phase()), Some(Phase::Passed), "and that was the first one");
}

#[test]
fn only_one_process_works_with_it_and_others_may_read() {
    let (_folder, path) = journal_with(whole_life("qd-1", 10));
    let held = Journal::open(&path, SERVICE).expect("opens");
    assert!(matches!(Journal::open(&path, SERVICE), Err(JournalError::Busy { .. })));
    assert_eq!(Journal::read(&path).expect("reads").all().len(), 1);
    drop(held);
    Journal::open(&path, SERVICE).expect("opens once it is free");
}

#[cfg(unix)]
#[test]
fn it_is_private_and_a_link_meets_the_same_lock() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, path) = journal_with([]);
    for file in ["journal", "journal.lock"].map(|name| folder.path().join(name)) {
        let mode = || fs::metadata(&file).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        // As an early version made the lock, or a copy came.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("changes the mode");
        drop(Journal::open(&path, SERVICE).expect("opens"));
        assert_eq!(mode(), 0o600, "{}", file.display());
    }
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).expect("links");
    let _held = Journal::open(&path, SERVICE).expect("opens");
    assert!(matches!(Journal::open(&link, SERVICE), Err(JournalError::Busy { .. })));
}

#[test]
fn slots_that_append_together_lose_nothing() {
    let (_folder, path) = journal_with([]);
    let journal = Arc::new(Journal::open(&path, SERVICE).expect("opens"));
    std::thread::scope(|scope| {
        for slot in 0..4 {
            let journal = Arc::clone(&journal);
            scope.spawn(move || {
                for entry in whole_life(&format!("slot-{slot}"), slot) {
                    journal.append(entry).expect("appends");
                }
            });
        }
    });
    drop(journal);
    let journal = Journal::open(&path, SERVICE).expect("opens again");
    assert!(journal.all().iter().all(|state| state.phase() == Phase::Passed));
    assert_eq!(journal.all().len(), 4);
}

#[test]
fn other_files_are_refused_and_left_as_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes");
    for text in ["a shopping list", "a shopping list\n", "{\"crc\":\"00000000\",\"entry\":{}}\n", "{}\n"] {
        fs::write(&path, text).expect("writes");
        let error = Journal::open(&path, SERVICE).expect_err("refused");
        assert!(matches!(error, JournalError::Foreign { .. }), "{text:?}: {error}");
        assert_eq!(fs::read_to_string(&path).expect("reads"), text);
    }
}

#[test]
fn a_newer_version_another_service_and_an_unknown_step_get_a_sentence() {
    let (_folder, path) = journal_with([]);
    let error = Journal::open(&path, "https://other.example/").expect_err("refused");
    assert!(
        error.to_string().ends_with("belongs to the service https://qdrs.example/, not to https://other.example/"),
        "{error}"
    );

    let (line, crc) = encode(&serde_json::json!({"journal": "qdrs", "version": 2, "shape": "new"}), 0).expect("encodes");
    fs::write(&path, &line).expect("writes");
    let error = Journal::open(&path, SERVICE).expect_err("refused");
    assert!(error.to_string().ends_with("was written by a newer QDRS (version 2; this one reads up to 1)"), "{error}");

    let (header, crc_of_header) =
        encode(&Header { journal: "qdrs".into(), version: 1, service: SERVICE.into(), made_at: Timestamp::UNIX_EPOCH }, 0)
            .expect("encodes");
    let (entry, _) = encode(&serde_json::json!({"at": "2026-01-01T00:00:00Z", "serial": "x", "step": "blessed"}), crc_of_header)
        .expect("encodes");
    fs::write(&path, [header, entry].concat()).expect("writes");
    assert!(matches!(Journal::open(&path, SERVICE), Err(JournalError::Newer { .. })));
    let _ = crc;
}

#[test]
fn what_the_batch_has_beside_a_serial_is_kept_and_a_later_job_without_it_takes_nothing_away() {
    let (_folder, path) = journal_with([]);
    let journal = Journal::open(&path, SERVICE).expect("opens");
    let extra: qdrs_core::batch::Extra = serde_json::from_str(r#"{"lot":"W47","colour":"red"}"#).expect("reads");
    let Step::Job { job: key, confirm, slot, .. } = job(1) else { panic!("it is a job") };
    let with = Step::Job {
        job: key,
        confirm,
        slot,
        batch: None,
        hardware_id: None,
        take_over: None,
        replaces: None,
        extra: extra.clone(),
    };
    journal.append(Entry::new("qd-1", with)).expect("appends");
    journal.append(Entry::new("qd-1", job(2))).expect("appends");
    drop(journal);
    let state = Journal::open(&path, SERVICE).expect("opens again").state("qd-1").expect("is known");
    assert!(state.extra.iter().eq(extra.iter()), "{:?}", state.extra);
}

#[test]
fn a_lost_line_is_found() {
    let (_folder, path) = journal_with(whole_life("qd-1", 10));
    let text = fs::read_to_string(&path).expect("reads");
    let without: String = text.split_inclusive('\n').enumerate().filter(|(at, _)| *at != 2).map(|(_, line)| line).collect();
    fs::write(&path, without).expect("writes");
    let error = Journal::open(&path, SERVICE).expect_err("refused");
    assert!(matches!(error, JournalError::Damaged { line: 3, .. }), "{error}");
}

/// Power cut, kill or full disk at any byte: what had been promised is there, and the next run goes on. Every byte of
/// the first line and of the last; between them some, since each cut waits for the disk several times.
#[test]
fn a_journal_cut_at_any_byte_opens_with_all_whole_lines() {
    let (folder, path) = journal_with(whole_life("qd-1", 10));
    let whole = fs::read(&path).expect("reads");
    let first = whole.iter().position(|byte| *byte == b'\n').expect("a header") + 1;
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').expect("several lines");
    for cut in (0..=first).chain((first + 1..last).step_by(13)).chain(last..=whole.len()) {
        fs::write(&path, &whole[..cut]).expect("writes");
        // What the disk has lost, the lock file has not seen.
        fs::remove_file(folder.path().join("journal.lock")).expect("is there");
        // The header and the id are made anew where they were cut.
        let lines = whole[..cut].iter().filter(|byte| **byte == b'\n').count().max(2);
        let journal = Journal::open(&path, SERVICE).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        assert_eq!((journal.book().lines as usize, journal.notice()), (lines, None), "cut at {cut}");
        journal.append(Entry::new("qd-2", job(90))).expect("appends");
        drop(journal);
        let journal = Journal::open(&path, SERVICE).unwrap_or_else(|error| panic!("cut at {cut}, then appended: {error}"));
        assert_eq!(journal.book().lines as usize, lines + 1, "cut at {cut}");
    }
}

/// Written by version 0.1.0 and never to be edited: a station that is updated must go on where it stood.
#[test]
fn the_first_versions_journal_opens() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    fs::copy(kept("v1"), &path).expect("copies");
    says_what_was_kept(&path);
}

fn says_what_was_kept(path: &Path) {
    let journal = Journal::open(path, "https://qdrs.example/").expect("opens");
    let states: Vec<_> = journal.all().iter().map(|state| (state.serial.clone(), state.phase())).collect();
    let expected = [
        ("QD-00001-5", Phase::Passed),
        ("QD-00002-3", Phase::Written),
        ("qd-00003-1", Phase::Open),
        ("QD-00004-9", Phase::Failed),
        ("QD-00005-7", Phase::Elsewhere),
    ];
    assert_eq!(states, expected.map(|(serial, phase)| (serial.to_owned(), phase)));
    assert!(journal.state("QD-00003-1").expect("by its normal form").may_be_on_a_device());
}

/// Written by the first version with ids, and never to be edited. Here it is a copy, which has begun nothing of its own.
#[test]
fn the_first_journal_with_an_id_opens() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    fs::copy(kept("v1-with-id"), &path).expect("copies");
    let journal = Journal::open(&path, "https://qdrs.example/").expect("opens");
    assert_eq!(journal.notice(), Some(COPIED));
    let phases: Vec<_> = journal.all().iter().map(JobState::phase).collect();
    let (elsewhere, written) = (Phase::Elsewhere, Phase::Written);
    assert_eq!(phases, [Phase::Passed, written, elsewhere, elsewhere, elsewhere]);
}

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/data/journals/{name}.jsonl"))
}

/// What this version writes says the same. With `QDRS_TEST_KEEP` set its file is kept, once for each form of the journal.
#[test]
fn this_versions_journal_says_what_the_first_ones_did() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    let journal = Journal::open(&path, "https://qdrs.example/").expect("opens");
    let elsewhere = Step::Elsewhere { station: Some("line-2".into()), since: Some(Timestamp::UNIX_EPOCH) };
    let entries = [
        whole_life("QD-00001-5", 10),
        whole_life("QD-00002-3", 20).into_iter().take(4).collect(),
        whole_life("qd-00003-1", 30).into_iter().take(3).collect(),
        vec![
            Entry::new("QD-00004-9", job(40)),
            Entry::new("QD-00004-9", Step::failed(Code::SerialInvalid, "the check digit is wrong")),
        ],
        vec![Entry::new("QD-00005-7", job(50)), Entry::new("QD-00005-7", elsewhere)],
    ];
    entries.into_iter().flatten().for_each(|entry| journal.append(entry).expect("appends"));
    drop(journal);
    says_what_was_kept(&path);
    if let Some(name) = std::env::var_os("QDRS_TEST_KEEP") {
        fs::copy(&path, kept(&name.to_string_lossy())).expect("copies");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_flipped_bit_before_the_last_line_is_a_clear_error(at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let (_folder, path) = journal_with(whole_life("qd-1", 10));
        let mut bytes = fs::read(&path).expect("reads");
        let last = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').expect("several lines");
        bytes[at.index(last)] ^= 1_u8 << bit;
        fs::write(&path, &bytes).expect("writes");
        let error = Journal::open(&path, SERVICE).expect_err("found");
        prop_assert!(matches!(error, JournalError::Damaged { .. } | JournalError::Foreign { .. }), "{}", error);
        prop_assert_eq!(fs::read(&path).expect("reads"), bytes, "a damaged journal is left as it is");
    }

    #[test]
    fn zeros_after_a_power_cut_are_cut_off(zeros in 1..5000_usize) {
        let (_folder, path) = journal_with(whole_life("qd-1", 10));
        let whole = fs::read(&path).expect("reads");
        fs::write(&path, [whole, vec![0; zeros]].concat()).expect("writes");
        prop_assert_eq!(Journal::open(&path, SERVICE).expect("opens").all().len(), 1);
    }
}
