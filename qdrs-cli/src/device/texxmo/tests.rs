//! The driver against a scripted peer: every branch that a real MicroPython takes too seldom.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use qdrs_core::{api::Code, explain::Explain};

use super::{
    peer::{Lapse, Options, Paste, Peer, READY, STARTED},
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
        let seen = peer.seen();
        assert_eq!(seen.soft_resets, 0);
        if paste == Paste::Window {
            // What the device can hold whole needs no raw paste.
            assert!(!seen.pasted.is_empty() && seen.pasted.iter().all(|bytes| *bytes > 255), "{:?}", seen.pasted);
            assert!(!seen.plain.is_empty() && seen.plain.iter().all(|bytes| *bytes <= 255), "{:?}", seen.plain);
        }
        // One that can't do it is asked once.
        assert!(
            paste == Paste::Window || seen.paste_asked == usize::from(paste != Paste::Old),
            "{paste:?}: {}",
            seen.paste_asked
        );
    }
}

#[test]
fn a_source_as_long_as_the_device_can_hold_is_not_pasted() {
    for (bytes, is_pasted) in [(255, false), (256, true)] {
        let (peer, mut slot) = slot(Options { paste: Paste::Window, ..Options::default() });
        slot.identify().expect("is a button");
        let source = format!("{:bytes$}", "print('Q0:ok:Z')#");
        slot.session.ask("be long", Script::Bare(&source)).expect_err("has a word of another question");
        let seen = peer.seen();
        assert_eq!((seen.pasted.contains(&bytes), seen.plain.contains(&bytes)), (is_pasted, !is_pasted));
    }
}

#[test]
fn the_next_device_in_the_slot_is_not_taken_for_one_that_can_paste() {
    let says = vec![("import control", "119")];
    let peer = Peer::start(Options { paste: Paste::Window, says, ..Options::default() });
    let mut slot = Texxmo::open(&peer.port, Ending::Leave, Cancel::of(Arc::default())).expect("opens");
    for _ in 0..2 {
        slot.identify().expect("is a button");
    }
    let seen = peer.seen();
    assert!(seen.plain.iter().any(|bytes| *bytes > 255) && seen.pasted.is_empty(), "nothing before it has said its version");
}

#[test]
fn a_late_prompt_costs_no_question_and_a_line_that_was_forgotten_is_a_garbled_one() {
    let lapse = Some(("r=W(", Lapse::Late));
    let peer = whole_visit(Options { lapse, ..Options::default() }).expect("passes");
    assert_eq!(peer.seen().ran.iter().filter(|piece| piece.contains("r=W(")).count(), 1);
    let error = whole_visit(Options { noise: READY, ..Options::default() }).err().expect("forgets each");
    assert!(matches!(error.why, Why::Garbled { .. }), "{error}");
}

#[test]
fn an_order_to_switch_off_is_repeated_until_it_was_received_and_needs_no_answer() {
    for lapse in [Lapse::Unheard, Lapse::Late] {
        let peer = whole_visit(Options { lapse: Some(("power", lapse)), ..Options::default() }).expect("passes");
        assert!(peer.seen().ran.last().expect("was run").contains("power"), "{lapse:?}");
    }
    for lapse in [Lapse::Accepted, Lapse::HangsUp] {
        let peer = whole_visit(Options { lapse: Some(("power", lapse)), ..Options::default() }).expect("has switched off");
        assert!(!peer.seen().ran.iter().any(|piece| piece.contains("power")), "{lapse:?}: it is not told twice");
    }
    let restart_at = Some(("power", true));
    whole_visit(Options { restart_at, ..Options::default() }).expect("has taken the order");
    let error = whole_visit(Options { says: vec![("power", "OSError: [Errno 5] EIO")], ..Options::default() }).err();
    assert!(error.expect("can't").to_string().contains("OSError 5"));
}

#[test]
fn the_operator_can_stop_before_the_button_is_switched_off() {
    let peer = Peer::start(Options::default());
    let flag = Arc::new(AtomicBool::default());
    let mut slot = Texxmo::open(&peer.port, Ending::PowerOff, Cancel::of(Arc::clone(&flag))).expect("opens");
    slot.identify().expect("is a button");
    slot.write(&credential()).expect("is written");
    flag.store(true, Ordering::Relaxed);
    assert_eq!(slot.finish().expect_err("is stopped").code(), Code::Interrupted);
    assert_eq!(slot.present().expect_err("is stopped").code(), Code::Interrupted);
}

#[test]
fn a_button_whose_port_went_away_has_gone_and_its_port_is_opened_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = format!("tcp://{}", listener.local_addr().expect("an address"));
    let mut slot = Texxmo::open(&port, Ending::PowerOff, Cancel::of(Arc::default())).expect("opens");
    drop(listener.accept().expect("calls"));
    assert!(!slot.present().expect("asks"));
    assert!(!slot.session.has_port() && !slot.present().expect("asks"));
    assert_eq!(slot.identify().expect_err("says nothing").code(), Code::DeviceSilent);
    assert!(slot.session.has_port());
    let (mut nobody, _) = listener.accept().expect("calls again");
    assert!(!slot.present().expect("asks"), "there is a port, but nobody at it");
    slot.left = true;
    assert!(!slot.present().expect("asks"));
    nobody.write_all(STARTED.as_bytes()).expect("says");
    assert!(!slot.present().expect("asks"), "another one");
    drop((nobody, listener));
    slot.left = false;
    while slot.session.has_port() {
        assert!(!slot.present().expect("asks"));
    }
    assert_eq!(slot.identify().expect_err("is away").code(), Code::DeviceGone);
}

#[test]
fn what_the_button_says_unasked_is_known_before_it_is_told_anything() {
    let lost = "\r\nThe FAT filesystem starting at sector 153 with size 98 sectors appears to be corrupted. If you\r\n";
    for (said, is_lost) in [(STARTED, false), (lost, true)] {
        let (peer, mut slot) = slot(Options { says_after: Some(("WLAN", said)), ..Options::default() });
        slot.identify().expect("is a button");
        let error = slot.write(&credential()).expect_err("is not as it was");
        assert_eq!(matches!(error.why, Why::FilesLost { .. }), is_lost, "{error}");
        assert_eq!(matches!(error.why, Why::Restarted { .. }), !is_lost, "{error}");
        assert!(!error.touched());
        // Had it been asked anything in between, it had answered that first.
        slot.identify().expect("is a button");
        assert!(!peer.seen().ran.iter().any(|piece| piece.contains("str(c.interruptCounter)+")));
    }
}

#[test]
fn a_timer_that_is_dead_is_not_waited_for_and_one_that_ticks_is() {
    let ran = |peer: &Peer, text: &str| peer.seen().ran.iter().filter(|piece| piece.contains(text)).count();
    for (answer, is_dead) in [("119", false), ("120", true), ("121", true)] {
        let (peer, mut slot) = slot(Options { says_first: Some((1, "import control", answer)), ..Options::default() });
        slot.identify().expect("is a button");
        assert_eq!(ran(&peer, "def E("), usize::from(is_dead), "{answer}");
    }
    const LOOK: &str = "str(c.interruptCounter)+";
    let (peer, mut waited) = slot(Options { says_first: Some((1, LOOK, "119")), ..Options::default() });
    waited.identify().expect("is a button");
    waited.ticking_until = Some(after(600_000));
    waited.write(&credential()).expect("is written");
    assert_eq!(ran(&peer, LOOK), 2);
    // It was none, or does not tick: it is waited for as long as a tick takes.
    let (peer, mut never) = slot(Options { says: vec![(LOOK, "119")], ..Options::default() });
    never.identify().expect("is a button");
    never.ticking_until = Some(Instant::now());
    never.write(&credential()).expect("is written");
    assert_eq!(ran(&peer, LOOK), 1);
}

#[test]
fn a_wait_ends_when_something_comes_and_not_before() {
    let (_peer, mut slot) = slot(Options::default());
    let begun = Instant::now();
    slot.session.rest_until_heard(120).expect("rests");
    assert!(begun.elapsed() >= Duration::from_millis(120));
    let (_peer, mut slot) = self::slot(Options { deaf: Duration::from_secs(600), ..Options::default() });
    slot.session.rest_until_heard(600_000).expect("is woken");
    assert!(slot.session.heard.is_some());
}

#[test]
fn helpers_that_fail_are_defined_anew_on_the_same_button_alone() {
    const LOOK: &str = "str(c.interruptCounter)+";
    let visit = |options| {
        let (peer, mut slot) = slot(options);
        slot.identify().expect("is a button");
        slot.ticking_until = None;
        let written = slot.write(&credential());
        (written.map(|_| ()).map_err(|error| error.why), peer.seen().ran)
    };
    let failed = ("def R(", "MemoryError: ");
    let (written, _) = visit(Options { says_first: Some((5, failed.0, failed.1)), ..Options::default() });
    assert!(written.is_ok(), "{written:?}");
    let (written, _) = visit(Options { says: vec![failed], ..Options::default() });
    assert!(matches!(written, Err(Why::Failed { .. })), "{written:?}");
    // Its timer ticks: it is another one, or has started anew.
    let (written, _) = visit(Options { says: vec![failed, (LOOK, "3")], ..Options::default() });
    assert!(matches!(written, Err(Why::Restarted { .. })), "{written:?}");
    // One that says itself that it started anew is asked nothing more.
    let (written, ran) = visit(Options { restart_at: Some(("def W(", true)), ..Options::default() });
    assert!(matches!(written, Err(Why::Restarted { .. })) && ran.last().is_some_and(|piece| piece.contains("def R(")), "{ran:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_button_that_is_not_understood_is_not_blamed_for_another_program() {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    let nix::pty::OpenptyResult { master, slave } = nix::pty::openpty(None, None).expect("a pseudo-terminal");
    // Who has the other end as well is taken for the device itself.
    fcntl(&master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("sets");
    let name = nix::unistd::ttyname(&slave).expect("its name").to_str().expect("text").to_owned();
    let mut other = std::process::Command::new("sleep").arg("600").stdin(slave).spawn().expect("starts");
    let opened = Texxmo::open(&name, Ending::PowerOff, Cancel::of(Arc::default()));
    let error = opened.and_then(|mut slot| slot.identify()).expect_err("nobody answers");
    other.kill().expect("ends");
    other.wait().expect("has ended");
    assert!(matches!(error.why, Why::Shared { .. }) && error.to_string().contains("`sleep`"), "{error}");
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
fn a_device_that_starts_is_not_interrupted_and_is_asked_when_it_has_answered_all_its_prompts() {
    // A machine that rests for longer than the driver waits makes another story of it: then once more.
    let visit = |options: Options| {
        let seen = whole_visit(options).expect("passes").seen();
        (seen.interrupts, seen.hurried)
    };
    let gently = || visit(Options { deaf: Duration::from_millis(700), ..Options::default() }) == (0, false);
    assert!((0..10).any(|_| gently()));
    let slow = Duration::from_millis(200);
    let patiently = || visit(Options { deaf: Duration::from_millis(1_500), slow, ..Options::default() }) == (0, false);
    assert!((0..10).any(|_| patiently()));
}

#[test]
fn a_device_that_lost_its_files_a_moment_ago_is_not_called_silent() {
    let long_ago = Instant::now().checked_sub(Duration::from_secs(5));
    for (complained, is_lost) in [(Some(after(60_000)), true), (long_ago, false)] {
        let (_peer, mut slot) = slot(Options { die_at: Some(0), ..Options::default() });
        slot.session.lost = complained;
        let error = slot.identify().expect_err("says nothing");
        assert_eq!(matches!(error.why, Why::FilesLost { .. }), is_lost, "{error}");
    }
}

#[test]
fn nobody_and_another_kind_and_a_lost_file_system_are_told_apart_before_any_write() {
    let silent = Options { die_at: Some(0), ..Options::default() };
    assert_eq!(fails(silent), (Code::DeviceSilent, false));
    let (peer, mut slot) = slot(Options { other: true, ..Options::default() });
    let error = slot.identify().expect_err("is no button");
    assert_eq!((error.code(), error.touched()), (Code::DeviceNotReady, false));
    assert!(error.to_string().contains(&peer.port), "{error}");
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
    let error = whole_visit(Options { says: vec![("r=W(", "new")], ..Options::default() }).err().expect("differs");
    assert!(error.touched() && error.to_string().contains("its new file is not what was written"), "{error}");
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
        let peer = Peer::start(Options { says_first: Some((1, "import control", answer)), ..Options::default() });
        let mut slot = Texxmo::open(&peer.port, Ending::PowerOff, Cancel::of(Arc::default())).expect("opens");
        slot.identify().unwrap_or_else(|error| panic!("{answer}: {error}"));
    }
}

#[test]
fn what_the_button_cannot_hold_is_refused_before_a_byte_is_sent() {
    let (peer, mut slot) = slot(Options::default());
    // Host name, device id and key.
    let longest = "h".repeat(script::VALUES_BYTES_MAX - 4 - 44);
    check(&DeviceConnectionString { host_name: longest.clone(), ..credential() }).expect("fits");
    for (host, id) in [(longest + "h", "QD-1"), ("h".to_owned(), "a\"b"), ("h".to_owned(), "a|b"), ("h|h".to_owned(), "QD-1")] {
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
    for wrong in ["5c-cf-7f-00-00-01", "5c:cf:7f:00:00:01:", "5c:cf:7f:00:00", "12345678901234567", "5c:cf:7f:00:00:0g"] {
        assert!(identity(&format!("{wrong}|1.9|v")).is_none(), "{wrong}");
    }
}

#[test]
fn what_a_button_says_of_its_firmware_is_reported_where_it_is_plain() {
    let firmware = |text: &str| identity(&format!("5c:cf:7f:00:00:01|1.9|{text}")).expect("is a button").0.firmware;
    assert_eq!(firmware("v1.9.3-548 on 2018"), Some("MicroPython v1.9.3-548 on 2018".to_owned()));
    assert_eq!(firmware(&"v".repeat(96)).map(|text| text.len()), Some("MicroPython ".len() + 96));
    for wrong in ["", "v1\t9", "v1\u{e4}", &"v".repeat(97)] {
        assert_eq!(firmware(wrong), None, "{wrong}");
    }
    let paste = |version: &str| identity(&format!("5c:cf:7f:00:00:01|{version}|v")).map(|(_, paste)| paste);
    for (version, has) in [("1.9", false), ("1.13", false), ("1.14", true), ("1.27", true), ("2.0", true)] {
        assert_eq!(paste(version), Some(has), "{version}");
    }
    assert_eq!(paste("1"), None);
}

#[test]
fn settings_that_make_no_connection_string_are_none() {
    let key = DeviceKey::generate().to_base64();
    let composed = |text: String| composed(text.as_bytes()).is_some();
    assert!(composed(format!("h|d|{}", *key)));
    for wrong in ["||".to_owned(), "h|d|!!!".to_owned(), format!("|d|{}", *key), format!("h||{}", *key), format!("||{}", *key)] {
        assert!(!composed(wrong));
    }
}
