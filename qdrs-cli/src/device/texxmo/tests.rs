//! The driver against a scripted peer: every branch that a real MicroPython takes too seldom.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use qdrs_core::{api::Code, explain::Explain};

use super::{
    peer::{Options, Paste, Peer},
    *,
};

fn credential() -> DeviceConnectionString {
    DeviceConnectionString {
        host_name: "h.azure-devices.net".to_owned(),
        device_id: "QD-1".to_owned(),
        key: DeviceKey::generate(),
    }
}

fn slot(options: Options) -> (Peer, Texxmo) {
    let peer = Peer::start(options);
    let slot = Texxmo::open(&peer.port, Ending::PowerOff, Cancel::of(Arc::default())).expect("opens");
    (peer, slot)
}

/// A button whose flash needs a repair.
const UNSOUND: (&str, &str) = ("def R(", "");

/// Stands in the piece that repairs it.
const REPAIRS: &str = "if not Q(C)";

/// Identify, write, read back, finish.
fn whole_visit(options: Options) -> Result<Peer, DeviceError> {
    let (peer, mut slot) = slot(options);
    let identity = slot.identify()?;
    assert_eq!(identity.hardware_id.as_ref().map(|id| id.as_str()), Some("5C:CF:7F:00:00:01"));
    assert_eq!(identity.firmware.as_deref(), Some("MicroPython v1.9.3-548"));
    let credential = credential();
    assert_eq!(slot.write(&credential)?, Evidence::ReadBack);
    let found = slot.read_back()?.expect("is there");
    assert_eq!(*found.reveal(), *credential.reveal());
    slot.finish()?;
    Ok(peer)
}

fn fails(options: Options) -> (Code, bool) {
    let error = whole_visit(options).err().expect("does not pass");
    (error.code(), error.touched())
}

#[test]
fn firmware_with_and_without_raw_paste_is_written() {
    for paste in [Paste::Old, Paste::Refused, Paste::Window, Paste::Broken] {
        let peer = whole_visit(Options { paste, ..Options::default() }).unwrap_or_else(|error| panic!("{paste:?}: {error}"));
        assert_eq!(peer.seen().soft_resets, 0);
    }
}

#[test]
fn the_timer_is_stopped_first_and_its_death_awaited_before_memory_is_used() {
    let peer = whole_visit(Options::default()).expect("passes");
    let ran = peer.seen().ran;
    let place = |text: &str| ran.iter().position(|piece| piece.contains(text)).expect("was run");
    assert_eq!(place("c.interruptCounter=119"), 0);
    assert!(place("str(c.interruptCounter)+") < place("def E("));
    assert!(place("def R(") < place("r=W("));
    assert!(!ran.iter().any(|piece| piece.contains(REPAIRS) || piece.contains("r=V()")), "nothing that nobody needs");
    assert!(ran.last().expect("was run").contains("power.value(0)"));
}

#[test]
fn noise_around_answers_is_no_answer() {
    for noise in ["15 sec\r\n", "Q1:x:Z\r\n", "RSSI 31 OK > ", "ERROR in setting.load Load Backup\r\n"] {
        whole_visit(Options { noise, ..Options::default() }).unwrap_or_else(|error| panic!("{noise}: {error}"));
    }
}

#[test]
fn a_deaf_device_is_waited_for_and_a_left_over_line_is_cleared() {
    whole_visit(Options { deaf: Duration::from_secs(3), ..Options::default() }).expect("passes");
    whole_visit(Options { left_over: true, greeting: ">>> x = (1,", ..Options::default() }).expect("passes");
    whole_visit(Options { left_over: true, ..Options::default() }).expect("passes");
}

#[test]
fn nobody_and_another_kind_and_a_lost_file_system_are_told_apart_before_any_write() {
    let silent = Options { die_at: Some(0), ..Options::default() };
    assert_eq!(fails(silent), (Code::DeviceSilent, false));
    let (peer, mut slot) = slot(Options { other: true, ..Options::default() });
    let error = slot.identify().expect_err("is no button");
    assert_eq!((error.code(), error.touched()), (Code::DeviceNotReady, false));
    assert!(peer.seen().ran.iter().all(|piece| piece.contains("import control")), "nothing but the question");
    let greeting = "\r\nThe FAT filesystem starting at sector 153 with size 98 sectors appears to be corrupted. If you\r\n";
    let error = whole_visit(Options { greeting, ..Options::default() }).err().expect("is lost");
    assert!(matches!(error.why, Why::FilesLost { .. }) && error.help().contains("flash"));
    let error = whole_visit(Options { says: vec![UNSOUND, (REPAIRS, "lost")], ..Options::default() }).err().expect("is lost");
    assert!(matches!(error.why, Why::SettingsLost { .. }) && !error.touched());
}

#[test]
fn what_the_device_reports_of_its_files_decides() {
    let says = |text, answer| fails(Options { says: vec![(text, answer)], ..Options::default() });
    let unsound = |answer| fails(Options { says: vec![UNSOUND, (REPAIRS, answer)], ..Options::default() });
    assert_eq!(unsound("bak"), (Code::DeviceUnverified, false));
    assert_eq!(unsound("OSError: [Errno 28] ENOSPC"), (Code::DeviceUnverified, false));
    let peer = whole_visit(Options { says: vec![UNSOUND], ..Options::default() }).expect("is repaired");
    let place = |text: &str| peer.seen().ran.iter().position(|piece| piece.contains(text)).expect("was run");
    assert!(place(REPAIRS) < place("r=W("));
    assert_eq!(says("r=W(", "new"), (Code::DeviceUnverified, true));
    assert_eq!(says("r=W(", "long"), (Code::CredentialTooLong, true));
    assert_eq!(says("r=W(", "cfg"), (Code::DeviceUnverified, true));
    assert_eq!(says("r=W(", "h.azure-devices.net|QD-1|AAAA"), (Code::DeviceUnverified, true));
    let error = whole_visit(Options { says: vec![("r=W(", "MemoryError: c2VjcmV0")], ..Options::default() });
    let error = error.err().expect("fails");
    assert!(error.touched() && error.to_string().contains("MemoryError") && !error.to_string().contains("c2Vj"));
}

#[test]
fn a_device_that_restarts_is_not_told_the_credential() {
    for aloud in [true, false] {
        let options = |text| Options { restart_at: Some((text, aloud)), ..Options::default() };
        assert_eq!(fails(options("def W(")), (Code::DeviceGone, false));
        assert_eq!(fails(options("r=W(")), (Code::DeviceGone, true));
    }
    // Nor later, until it was identified anew.
    let (peer, mut failed) = slot(Options { restart_at: Some(("r=W(", true)), ..Options::default() });
    failed.identify().expect("is a button");
    failed.write(&credential()).expect_err("has restarted");
    let ran = peer.seen().ran.len();
    let error = failed.write(&credential()).expect_err("was not identified anew");
    assert_eq!((error.code(), error.touched(), peer.seen().ran.len()), (Code::DeviceGone, false, ran));
    let (_peer, mut slot) = slot(Options::default());
    let error = slot.write(&credential()).expect_err("nobody was identified");
    assert_eq!((error.code(), error.touched()), (Code::DeviceGone, false));
}

#[test]
fn a_board_in_the_place_of_another_is_not_written_even_if_it_has_our_helpers() {
    let (peer, mut slot) = slot(Options { exchange_at: Some("r=W("), ..Options::default() });
    slot.identify().expect("is there");
    let error = slot.write(&credential()).expect_err("is another one");
    assert_eq!((error.code(), error.touched()), (Code::DeviceGone, true));
    assert!(peer.seen().values.is_none());

    let (peer, mut slot) = self::slot(Options { exchange_at: Some("power"), ..Options::default() });
    slot.identify().expect("is there");
    slot.write(&credential()).expect("is written");
    assert_eq!(slot.finish().expect_err("is another one").code(), Code::DeviceGone);
    assert!(!peer.seen().ran.iter().any(|piece| piece.contains("power")));
}

#[test]
fn an_order_to_the_timer_that_came_garbled_is_repeated() {
    for answer in ["3", "11y", "no"] {
        let peer = Peer::start(Options { says_once: Some(("import control", answer)), ..Options::default() });
        let mut slot = Texxmo::open(&peer.port, Ending::PowerOff, Cancel::of(Arc::default())).expect("opens");
        slot.identify().unwrap_or_else(|error| panic!("{answer}: {error}"));
    }
}

#[test]
fn what_the_button_cannot_hold_is_refused_before_a_byte_is_sent() {
    let (peer, mut slot) = slot(Options::default());
    for (host, id) in [("h".repeat(300), "QD-1"), ("h".to_owned(), "a\"b"), ("h".to_owned(), "a|b")] {
        let credential = DeviceConnectionString { host_name: host, device_id: id.to_owned(), key: DeviceKey::generate() };
        let error = slot.write(&credential).expect_err("does not fit");
        assert_eq!((error.code(), error.touched()), (Code::CredentialTooLong, false));
    }
    assert_eq!(peer.seen().host_bytes, 0);
}

#[test]
fn the_operator_can_stop_while_nothing_is_written() {
    let peer = Peer::start(Options { deaf: Duration::from_secs(20), ..Options::default() });
    let flag = Arc::new(AtomicBool::default());
    let mut slot = Texxmo::open(&peer.port, Ending::PowerOff, Cancel::of(Arc::clone(&flag))).expect("opens");
    let stopper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(500));
        flag.store(true, Ordering::Relaxed);
    });
    assert_eq!(slot.identify().expect_err("is stopped").code(), Code::Interrupted);
    stopper.join().expect("ends");
}

#[test]
fn a_byte_garbled_or_lost_anywhere_costs_time_and_nothing_else() {
    let total = whole_visit(Options::default()).expect("passes").seen().host_bytes;
    let steps: Vec<usize> = (0..total).step_by(if cfg!(debug_assertions) { 3 } else { 1 }).collect();
    thread::scope(|scope| {
        for group in steps.chunks(steps.len().div_ceil(16)) {
            scope.spawn(move || {
                for &at in group {
                    for options in
                        [Options { flip_at: Some(at), ..Options::default() }, Options { lose_at: Some(at), ..Options::default() }]
                    {
                        whole_visit(options).unwrap_or_else(|error| panic!("byte {at} of {total}: {error}"));
                    }
                }
            });
        }
    });
}

#[test]
fn what_another_program_types_at_any_moment_is_never_stored() {
    const TYPED: [&[u8]; 7] = [b"AT\r", b"x", b"\r", b"\x08", b"\x7e\x00\x78\xf0\x7e", b"\x03", b"\x04"];
    let total = whole_visit(Options::default()).expect("passes").seen().host_bytes;
    let steps: Vec<usize> = (0..total).step_by(if cfg!(debug_assertions) { 7 } else { 1 }).collect();
    thread::scope(|scope| {
        for group in steps.chunks(steps.len().div_ceil(16)) {
            scope.spawn(move || {
                for &at in group {
                    let typed = TYPED[at % TYPED.len()];
                    // Whoever passes has compared what the device holds.
                    let visited = whole_visit(Options { typed_at: Some((at, typed)), ..Options::default() });
                    let story = format!("{typed:?} before byte {at} of {total}");
                    if let Ok(peer) = visited {
                        let values = peer.seen().values.unwrap_or_else(|| panic!("{story}: nothing is stored"));
                        assert_eq!(values[..2], ["h.azure-devices.net", "QD-1"], "{story}");
                    }
                }
            });
        }
    });
}

#[test]
fn identities_that_are_none_are_not_believed() {
    for wrong in
        ["", "#", "a#a", "5c:cf:7f:00:00:0x|1.9|v#5c:cf:7f:00:00:0x|1.9|v", "5c:cf:7f:00:00:01|1.9|v#5c:cf:7f:00:00:02|1.9|v"]
    {
        assert!(once(wrong.as_bytes()).and_then(identity).is_none(), "{wrong}");
    }
    assert!(composed(b"||").is_none() && composed(b"h|d|!!!").is_none());
}
