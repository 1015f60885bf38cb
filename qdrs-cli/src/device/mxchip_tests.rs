//! The driver against practice boards over real pseudo-terminals, and at every byte at which a cable can be pulled.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use qdrs_core::{api::Code, connection_string::DeviceKey, explain::Explain};

use super::{session::tests::Scripted, *};
use crate::device::Kind;
use crate::device::wire::prompt::{Console, Step};
use crate::port::Port;
use crate::sandbox::practice::{BoardRecord, Fault, Options, PortKind, PracticeDevice};

fn credential() -> DeviceConnectionString {
    let key = DeviceKey::generate();
    DeviceConnectionString { host_name: "h.azure-devices.net".to_owned(), device_id: "QD-1".to_owned(), key }
}

fn profile() -> Profile {
    Profile { least: Evidence::DeviceChecked, ..Kind::Mxchip.into() }
}

fn options() -> Options {
    Options { swap: Duration::ZERO, ..Options::default() }
}

fn with_fault(fault: Fault) -> Options {
    Options { faults: vec![(1, fault)], ..options() }
}

fn slot(options: Options) -> (PracticeDevice, Mxchip) {
    let practice = PracticeDevice::start(options).expect("a practice device");
    let slot = Mxchip::open(&practice.port_name(), &profile(), Cancel::of(Arc::default())).expect("opens");
    (practice, slot)
}

/// Asks until a device answers; the practice device's operator needs a moment.
fn await_device(slot: &mut Mxchip) -> Identity {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match slot.identify() {
            Ok(identity) => return identity,
            Err(error) => assert!(Instant::now() < deadline, "no device: {error}"),
        }
    }
}

/// Asks until the device answers: a busy machine may take longer than the driver waits.
fn await_presence(slot: &mut Mxchip) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !slot.present().expect("asks") {
        assert!(Instant::now() < deadline, "has gone");
    }
}

fn board(practice: &PracticeDevice, number: usize) -> BoardRecord {
    practice.boards()[number - 1].clone()
}

fn three_boards_in_a_row(options: Options) {
    let (practice, mut slot) = slot(options);
    for number in 1..=3 {
        let identity = await_device(&mut slot);
        assert_eq!(identity, Identity { hardware_id: None, firmware: Some("DevKitSDK 1.6.2".to_owned()) });
        let credential = credential();
        assert_eq!(slot.write(&credential).expect("writes"), Evidence::DeviceChecked);
        assert!(slot.read_back().expect("asks").is_none());
        await_presence(&mut slot);
        slot.finish().expect("finishes");
        assert!(!slot.present().expect("asks"), "told to restart, so gone");
        let record = board(&practice, number);
        assert_eq!((record.holds.as_deref(), record.writes, record.done), (Some(credential.reveal().as_str()), 1, true));
    }
}

#[test]
fn the_number_of_a_probe_is_a_boards_and_that_of_an_adapter_is_not() {
    let usb = |id: &str| port::list::Usb {
        id: id.to_owned(),
        location: None,
        serial_number: Some("066BFF".to_owned()),
        manufacturer: None,
        product: None,
        interface: None,
        likely: None,
    };
    assert_eq!(board_id(Some(&usb("0483:374b"))), HardwareId::from_record("066BFF"));
    assert_eq!(board_id(Some(&usb("1a86:7523"))), None);
    assert_eq!(board_id(None), None);
}

#[test]
fn boards_are_written_one_after_the_other() {
    three_boards_in_a_row(options());
}

#[test]
fn the_same_over_tcp() {
    three_boards_in_a_row(Options { port: PortKind::Tcp, ..options() });
}

#[test]
fn the_same_over_a_wire_as_slow_as_the_real_one() {
    three_boards_in_a_row(Options { baud: Some(port::BAUD), ..options() });
}

#[test]
fn the_wire_sees_five_lines_and_no_more() {
    let (practice, mut slot) = slot(options());
    let credential = credential();
    slot.identify().expect("answers");
    slot.write(&credential).expect("writes");
    let expected = "\r".len() + "version\r".len() + "set_az_iothub \r".len() + credential.reveal().len();
    assert_eq!(practice.host_bytes(), (expected + "version\r".len()) as u64);
}

#[test]
fn a_credential_of_the_longest_kind_fits_and_a_longer_one_is_never_sent() {
    let (practice, mut slot) = slot(options());
    slot.identify().expect("answers");
    let mut credential = credential();
    let room = CREDENTIAL_BYTES_MAX - credential.reveal().len();
    credential.device_id.push_str(&"x".repeat(room + 1));
    let before = practice.host_bytes();
    let error = slot.write(&credential).expect_err("too long");
    assert_eq!((error.code(), error.touched(), practice.host_bytes()), (Code::CredentialTooLong, false, before));
    credential.device_id.pop();
    slot.write(&credential).expect("fits");
    assert_eq!(board(&practice, 1).holds.as_deref(), Some(credential.reveal().as_str()));
}

#[test]
fn what_the_console_would_take_apart_is_never_sent() {
    let (practice, mut slot) = slot(options());
    for id in ["a b", "a\"b", "a\\b", "a\rb", "ä"] {
        let error = slot.write(&DeviceConnectionString { device_id: id.to_owned(), ..credential() }).expect_err("unfit");
        assert_eq!((error.code(), error.touched()), (Code::CredentialTooLong, false), "{id:?}");
    }
    assert_eq!(practice.host_bytes(), 0);
}

#[test]
fn a_port_is_for_one_program() {
    let (practice, _slot) = slot(options());
    let error = Mxchip::open(&practice.port_name(), &profile(), Cancel::of(Arc::default())).err().expect("is held");
    assert_eq!(error.code(), Code::PortBusy);
}

#[test]
fn a_silent_device_is_silent() {
    let (_practice, mut slot) = slot(with_fault(Fault::Silent));
    let error = slot.identify().expect_err("says nothing");
    assert_eq!((error.code(), error.touched()), (Code::DeviceSilent, false));
    assert!(!slot.present().expect("asks"));
}

#[test]
fn a_device_that_runs_its_program_hears_nothing_but_a_carriage_return() {
    let (practice, mut slot) = slot(Options { faults: vec![(2, Fault::Program)], ..options() });
    slot.identify().expect("answers");
    practice.swap();
    while practice.boards().len() < 2 {
        thread::yield_now();
    }
    let error = slot.identify().expect_err("runs its program");
    assert_eq!((error.code(), error.touched()), (Code::DeviceNotReady, false));
    let error = slot.write(&credential()).expect_err("runs its program");
    assert_eq!((error.code(), error.touched()), (Code::DeviceSilent, false));
    assert!(practice.host_bytes() <= 2, "two carriage returns");
    // Found out while it is asked whether it is still there.
    let console = Scripted::start(|_, _| Some(b"\r\nYou can 1. press Button A or B\r\n".to_vec()));
    let mut slot = Mxchip::open(&console.port, &profile(), Cancel::of(Arc::default())).expect("opens");
    assert!(!slot.present().expect("asks"));
}

#[test]
fn a_program_that_begins_in_the_middle_of_the_command_hears_nothing_more() {
    let console =
        Scripted::start(|at, good| Some(if at == 30 { b"\r\nYou can 1. press Button A or B\r\n".to_vec() } else { good }));
    let mut slot = Mxchip::open(&console.port, &profile(), Cancel::of(Arc::default())).expect("opens");
    let error = slot.write(&credential()).expect_err("runs its program");
    assert_eq!((error.code(), error.touched()), (Code::DeviceNotReady, true));
    let received = console.received();
    assert!(!received.contains(&0x7f) && received.iter().filter(|byte| **byte == b'\r').count() == 1);
}

#[test]
fn a_cable_pulled_while_the_device_is_asked_whether_it_is_there_is_a_device_that_has_gone() {
    let (_practice, mut slot) = slot(with_fault(Fault::PullCable { at_host_byte: BEFORE_COMMAND }));
    slot.identify().expect("answers");
    assert!(!slot.present().expect("asks"));
    assert!(!slot.present().expect("asks"));
}

#[test]
fn a_board_in_the_place_of_another_is_not_the_one_that_was_there() {
    let (practice, mut slot) = slot(options());
    slot.identify().expect("answers");
    practice.swap();
    while practice.boards().len() < 2 || !slot.session.with_port(Port::has_input).expect("is there") {
        thread::yield_now();
    }
    assert!(!slot.present().expect("asks"));
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_is_sent_while_another_program_has_the_port_open() {
    let practice = PracticeDevice::start(options()).expect("a practice device");
    let open = std::fs::File::open(practice.port_name()).expect("opens");
    let mut other = std::process::Command::new("sleep").arg("600").stdin(open).spawn().expect("starts");
    let mut slot = Mxchip::open(&practice.port_name(), &profile(), Cancel::of(Arc::default())).expect("opens");
    let errors = [slot.identify().expect_err("is shared"), slot.write(&credential()).expect_err("is shared")];
    other.kill().expect("ends");
    other.wait().expect("has ended");
    for error in errors {
        assert!(matches!(error.why, Why::Shared { .. }) && !error.touched(), "{error}");
    }
    assert_eq!(practice.host_bytes(), 0);
}

#[test]
fn a_version_that_is_none_is_not_reported() {
    let of = |line: &str| {
        let mut steps = VecDeque::new();
        Console::default().feed(format!("Mico version: 3.1.0\r\n{line}\r\n").as_bytes(), &mut steps);
        let lines: Vec<Line> =
            steps.into_iter().filter_map(|step| if let Step::Line(line) = step { Some(line) } else { None }).collect();
        firmware(&lines)
    };
    let (longest, too_long) = ("1".repeat(32), "1".repeat(33));
    assert_eq!(of("DevKitSDK version: 1.6.2"), Some("DevKitSDK 1.6.2".to_owned()));
    assert_eq!(of(&format!("DevKitSDK version: {longest}")), Some(format!("DevKitSDK {longest}")));
    for none in
        ["DevKitSDK version:", "DevKitSDK version: 1.6 2", "mbed-os version: 5.2.0", &format!("DevKitSDK version:{too_long}")]
    {
        assert_eq!(of(none), None, "{none}");
    }
}

#[test]
fn a_failed_comparison_touches_the_device() {
    let (_practice, mut slot) = slot(with_fault(Fault::VerifyFails));
    let credential = credential();
    let error = slot.write(&credential).expect_err("does not verify");
    assert_eq!((error.code(), error.touched()), (Code::DeviceUnverified, true));
    assert!(error.to_string().ends_with("`ERROR: Verify failed.`"));
    // It is still at its prompt, so that the operator may try again.
    await_presence(&mut slot);
}

#[test]
fn another_board_between_two_commands_is_noticed() {
    let (practice, mut slot) = slot(options());
    slot.identify().expect("answers");
    practice.swap();
    while practice.boards().len() < 2 || !slot.session.with_port(Port::has_input).expect("is there") {
        thread::yield_now();
    }
    let error = slot.write(&credential()).expect_err("is another");
    assert_eq!((error.code(), error.touched()), (Code::DeviceGone, false));
    assert!(practice.boards().iter().all(|record| record.holds.is_none()));
    assert_eq!(practice.host_bytes(), 0, "nothing was sent to the other one");
    slot.identify().expect("answers");
    slot.write(&credential()).expect("writes");
}

#[test]
fn a_stop_before_the_write_stops_and_a_stop_in_the_middle_waits_for_the_device() {
    let practice = PracticeDevice::start(Options { baud: Some(20_000), ..options() }).expect("a practice device");
    let stop = Arc::new(AtomicBool::new(false));
    let mut slot = Mxchip::open(&practice.port_name(), &profile(), Cancel::of(Arc::clone(&stop))).expect("opens");
    slot.identify().expect("answers");
    let before = practice.host_bytes();
    stop.store(true, Ordering::Relaxed);
    let credential = credential();
    let error = slot.write(&credential).expect_err("stops");
    assert_eq!((error.code(), error.touched(), practice.host_bytes()), (Code::Interrupted, false, before));
    stop.store(false, Ordering::Relaxed);
    let result = thread::scope(|scope| {
        scope.spawn(|| {
            while practice.host_bytes() < before + 40 {
                thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
        });
        slot.write(&credential)
    });
    assert_eq!(result.expect("the device is safe"), Evidence::DeviceChecked);
    assert_eq!(slot.present().expect_err("stops").code(), Code::Interrupted);
}

/// What the driver has sent before the command that writes.
const BEFORE_COMMAND: u64 = "\rversion\r".len() as u64;

/// Runs the trial for each host byte of a whole job, many at once.
fn at_every_byte(credential: &DeviceConnectionString, trial: impl Fn(u64) + Sync) {
    let end = BEFORE_COMMAND + ("set_az_iothub \r".len() + credential.reveal().len()) as u64;
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= end {
                        break;
                    }
                    trial(at);
                }
            });
        }
    });
}

#[cfg(unix)]
#[test]
fn a_cable_pulled_at_any_byte_is_known_and_mended() {
    let home = tempfile::tempdir().expect("a folder");
    let credential = credential();
    at_every_byte(&credential, |at_host_byte| {
        let port = PortKind::Linked(home.path().join(format!("port-{at_host_byte}")));
        let (practice, mut slot) = slot(Options { port, ..with_fault(Fault::PullCable { at_host_byte }) });
        let error = slot.identify().and_then(|_| slot.write(&credential)).expect_err("is pulled");
        assert_eq!(error.code(), Code::DeviceGone, "{at_host_byte}: {error}");
        assert_eq!(error.touched(), at_host_byte >= BEFORE_COMMAND, "{at_host_byte}: {error}");
        assert!(!slot.present().expect("asks"));
        practice.plug_in();
        await_device(&mut slot);
        slot.write(&credential).expect("writes");
        assert_eq!(board(&practice, 1).holds.as_deref(), Some(credential.reveal().as_str()), "{at_host_byte}");
    });
}

#[test]
fn a_flipped_bit_never_passes_for_a_credential() {
    let credential = credential();
    let key = credential.key.to_base64();
    // But for the last byte, the end of the line: without it the device waits, and so does the driver.
    let last = BEFORE_COMMAND + ("set_az_iothub ".len() + credential.reveal().len()) as u64;
    at_every_byte(&credential, |at_host_byte| {
        if at_host_byte < BEFORE_COMMAND || at_host_byte == last {
            return;
        }
        // A machine that rests for longer than the driver waits makes another story of it, as safe: then once more.
        let is_told = (0..20).any(|_| {
            let (practice, mut slot) = slot(with_fault(Fault::FlipBit { at_host_byte }));
            let error = slot.identify().and_then(|_| slot.write(&credential)).expect_err("is garbled");
            assert!(!error.to_string().contains(&key[..8]) && !format!("{error:?}").contains(&key[..8]));
            let held = board(&practice, 1).holds.is_some();
            assert!(!held || error.touched(), "{at_host_byte}: {error}");
            let is_told = !held && (error.code(), error.touched()) == (Code::DeviceUnverified, false);
            is_told
                && slot.write(&credential).is_ok()
                && board(&practice, 1).holds.as_deref() == Some(credential.reveal().as_str())
        });
        assert!(is_told, "{at_host_byte}");
    });
}

/// What another program may type into a port: what ModemManager types, a key, line ends, deletions, a command of ours.
const TYPED: [&[u8]; 8] = [b"AT\r", b"x", b"\r", b"\x08", b"x\x08", b"\x7e\x00\x78\xf0\x7e", b" x", b"\r\rset_az_iothub z\r"];

#[test]
fn what_another_program_types_at_any_moment_never_passes() {
    let credential = credential();
    let key = credential.key.to_base64();
    let stories: Vec<_> = TYPED.iter().flat_map(|typed| (0..=BEFORE_COMMAND + 200).map(move |at| (*typed, at))).collect();
    let end = BEFORE_COMMAND + ("set_az_iothub \r".len() + credential.reveal().len()) as u64;
    // Over TCP there is no limit to how many ports there are at once.
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while let Some((typed, at)) = stories.get(next.fetch_add(1, Ordering::Relaxed) as usize).copied() {
                    if at > end {
                        continue;
                    }
                    let fault = Fault::Typed { at_host_byte: at, bytes: typed };
                    let (practice, mut slot) = slot(Options { port: PortKind::Tcp, ..with_fault(fault) });
                    let story = format!("{:?} before byte {at}", String::from_utf8_lossy(typed));
                    let written = match slot.identify() {
                        Ok(_) => slot.write(&credential),
                        Err(error) => {
                            assert!(!error.touched(), "{story}: {error}");
                            continue;
                        }
                    };
                    let holds = board(&practice, 1).holds;
                    match written {
                        Ok(_) => assert_eq!(holds.as_deref(), Some(credential.reveal().as_str()), "{story}"),
                        Err(error) => {
                            let ours = holds.is_some_and(|held| held != "z");
                            assert!(error.touched() || !ours, "{story}: {error}");
                            assert!(!error.to_string().contains(&key[..8]), "{story}: {error}");
                            let is_said = error.to_string().contains("may hold a wrong connection string");
                            let is_foreign = matches!(error.why, Why::Foreign { .. });
                            assert_eq!(is_said, is_foreign && error.touched(), "{story}: {error}");
                        }
                    }
                }
            });
        }
    });
}

#[test]
fn a_byte_of_another_program_between_the_last_echo_and_our_line_end_is_named_as_such() {
    let credential = credential();
    let last = BEFORE_COMMAND + ("set_az_iothub ".len() + credential.reveal().len()) as u64;
    for (typed, at_host_byte) in [(&b"AT\r"[..], last), (b"x", last), (b"x", BEFORE_COMMAND + 30)] {
        let (practice, mut slot) = slot(with_fault(Fault::Typed { at_host_byte, bytes: typed }));
        slot.identify().expect("answers");
        let error = slot.write(&credential).expect_err("is not what was sent");
        assert!(matches!(error.why, Why::Foreign { .. }), "{error}");
        assert_eq!((error.code(), error.touched()), (Code::DeviceUnverified, true));
        assert!(error.help().contains(r#"ENV{ID_MM_DEVICE_IGNORE}="1""#) && !error.help().contains("cable"), "{}", error.help());
        // The line is clean again, and the same device takes it.
        slot.write(&credential).expect("writes");
        assert_eq!(board(&practice, 1).holds.as_deref(), Some(credential.reveal().as_str()));
    }
}

#[test]
fn another_program_that_typed_before_the_command_has_stored_nothing() {
    let credential = credential();
    for typed in [&b"x"[..], b"AT"] {
        let (practice, mut slot) = slot(with_fault(Fault::Typed { at_host_byte: BEFORE_COMMAND, bytes: typed }));
        slot.identify().expect("answers");
        let error = slot.write(&credential).expect_err("is not what was sent");
        assert!(matches!(error.why, Why::Foreign { .. }), "{error}");
        assert_eq!(board(&practice, 1).holds, None);
        slot.write(&credential).expect("writes");
        assert_eq!(board(&practice, 1).holds.as_deref(), Some(credential.reveal().as_str()));
    }
}

#[test]
fn stars_instead_of_an_echo_show_no_garbled_byte() {
    let credential = credential();
    for shown in [0, 70, credential.reveal().len() - 1] {
        let (practice, mut slot) = slot(with_fault(Fault::Masks { shown }));
        slot.identify().expect("answers");
        let error = slot.write(&credential).expect_err("shows too little");
        assert_eq!((error.code(), error.touched()), (Code::EvidenceTooWeak, false), "{error}");
        assert_eq!((board(&practice, 1).writes, board(&practice, 1).holds), (0, None), "it is said before anything is written");
        drop(slot);
        let mut slot = Mxchip::open(&practice.port_name(), &Kind::Mxchip.into(), Cancel::of(Arc::default())).expect("opens");
        slot.identify().expect("answers");
        assert_eq!(slot.write(&credential).expect("writes"), Evidence::Accepted);
        assert_eq!(board(&practice, 1).holds.as_deref(), Some(credential.reveal().as_str()));
    }
}

#[test]
fn a_device_that_freezes_while_it_takes_the_command_is_touched() {
    // Which byte the echo came to before is not the same on a busy machine.
    for at_host_byte in [BEFORE_COMMAND, BEFORE_COMMAND + 50] {
        let (_practice, mut slot) = slot(with_fault(Fault::Freeze { at_host_byte }));
        await_device(&mut slot);
        let error = slot.write(&credential()).expect_err("freezes");
        assert!(error.touched() && matches!(error.code(), Code::DeviceSilent | Code::DeviceGone), "{error}");
    }
}

fn verdict_of(answer: &str) -> Result<(), DeviceError> {
    let mut steps = VecDeque::new();
    Console::default().feed(answer.as_bytes(), &mut steps);
    let lines: Vec<Line> =
        steps.into_iter().filter_map(|step| if let Step::Line(line) = step { Some(line) } else { None }).collect();
    verdict("port", &lines)
}

#[test]
fn written_is_one_line_of_success_and_no_complaint() {
    let good = "INFO: Set Azure Iot hub connection string successfully.\r\n";
    verdict_of(good).expect("written");
    let cases = [
        (String::new(), Code::DeviceUnverified, true),
        (format!("{good}{good}"), Code::DeviceUnverified, true),
        (format!("{good}ERROR: Verify failed.\r\n"), Code::DeviceUnverified, true),
        (format!("Invalid Azure IoT hub connection string.\r\n{good}"), Code::DeviceUnverified, true),
        (format!(" {good}"), Code::DeviceUnverified, true),
        ("ERROR: Failed to write EEPROM: 0x05.\r\n".to_owned(), Code::DeviceUnverified, true),
        ("Invalid Azure IoT hub connection string.\r\n".to_owned(), Code::DeviceRefused, false),
        ("Usage: set_az_iothub <connection string>. Please\r\n".to_owned(), Code::DeviceRefused, false),
        ("Error:Syntax error\r\n".to_owned(), Code::DeviceRefused, false),
        ("Error:Syntax error\r\nERROR: Verify failed.\r\n".to_owned(), Code::DeviceUnverified, true),
    ];
    for (answer, code, touched) in cases {
        let error = verdict_of(&answer).expect_err("not written");
        assert_eq!((error.code(), error.touched()), (code, touched), "{answer}");
    }
}

#[test]
fn what_a_device_repeats_is_not_shown() {
    let error = verdict_of("Error:Invalid command: set_az_iothubHostName=h;SharedAccessKey=c2VjcmV0\r\n").expect_err("refused");
    assert_eq!(error.to_string(), "the device at `port` refuses: `Error:Invalid command`");
    let error = verdict_of("Error c2VjcmV0\r\n").expect_err("refused");
    assert!(!format!("{error} {error:?}").contains("c2Vj"));
}
