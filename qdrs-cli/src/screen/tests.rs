//! What an operator reads and what a program reads, as snapshots; times are fixed.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use qdrs_core::api::{Code, Evidence, State};
use qdrs_core::hardware_id::HardwareId;

use super::*;

/// Keeps what is written to it.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("is text")
    }
}

/// A shift with everything in it.
fn shift() -> Vec<Event> {
    let fault = |code: Code, message: &str| Some(Fault::new(code, message));
    let pass = Ending {
        slot: Some(2),
        evidence: Some(Evidence::ReadBack),
        hardware_id: HardwareId::from_record("24:6F:28:00:00:2A"),
        seconds: Some(1.24),
        ..Ending::of("QD-0041713", Verdict::Pass)
    };
    let fail = Ending {
        slot: Some(1),
        seconds: Some(12.0),
        fault: fault(Code::DeviceUnverified, "the device at `/dev/ttyUSB0` could not verify what it stored: Verify failed"),
        ..Ending::of("QD-0041720", Verdict::Fail)
    };
    let written = Ending {
        slot: Some(3),
        evidence: Some(Evidence::DeviceChecked),
        seconds: Some(300.0),
        fault: fault(Code::ServiceUnreachable, "the service at `https://qdrs.example/` can't be reached: no answer in time"),
        ..Ending::of("QD-0041727", Verdict::Written)
    };
    vec![
        Event::Start {
            station: "line 1".into(),
            batch: Some("autumn".into()),
            serials: 6,
            done_before: 1,
            written_before: 1,
            slots: vec!["/dev/ttyUSB0".into(), "/dev/ttyUSB1".into(), "tcp://10.0.0.7:7000".into(), "/dev/ttyUSB9".into()],
        },
        Event::Result(Ending::of("QD-0041706", Verdict::DoneBefore)),
        Event::Slot {
            slot: 4,
            step: Step::Out,
            serial: None,
            hint: None,
            fault: fault(Code::PortMissing, "there is no port `/dev/ttyUSB9`"),
        },
        Event::Slot { slot: 2, step: Step::Register, serial: Some("QD-0041713".into()), hint: None, fault: None },
        Event::Wait { why: "the hub is throttling".into(), seconds: 7.0 },
        Event::Slot { slot: 2, step: Step::Write, serial: Some("QD-0041713".into()), hint: None, fault: None },
        Event::Result(pass),
        Event::Notice { slot: Some(2), text: "this device is done, it is QD-0041713: take it out".into() },
        Event::Retry(fail.clone()),
        Event::Result(fail.clone()),
        Event::Result(Ending { station: Some("line 2\u{1b}[2J".into()), ..Ending::of("QD-0041734", Verdict::Elsewhere) }),
        Event::Result(written.clone()),
        Event::Summary(Summary {
            serials: 6,
            pass: 1,
            written: 1,
            fail: 1,
            elsewhere: 1,
            done_before: 1,
            left: 1,
            left_out: 2,
            seconds: 754.0,
            exit: 4,
            interrupted: false,
            stopped: written.fault.clone(),
            failures: vec![fail, written],
            next: Some(
                "Run the same command again: it confirms what is WRITTEN without its device and does what is left.".into(),
            ),
        }),
    ]
}

fn shown(events: &[Event], options: ScreenOptions) -> (String, String) {
    let (talk, data) = (Paper::default(), Paper::default());
    let screen = Screen::to(talk.clone(), data.clone(), options);
    for event in events {
        screen.show(event);
    }
    (talk.text(), data.text())
}

#[test]
fn plain_lines_tell_the_shift() {
    let (talk, data) = shown(&shift(), ScreenOptions::default());
    insta::assert_snapshot!("plain", talk);
    assert_eq!(data, "", "standard output is for data");
}

#[test]
fn quiet_leaves_what_went_wrong_and_the_summary() {
    insta::assert_snapshot!("quiet", shown(&shift(), ScreenOptions { quiet: true, ..ScreenOptions::default() }).0);
}

#[test]
fn verbose_tells_every_step() {
    let (talk, _) = shown(&shift(), ScreenOptions { verbose: true, ..ScreenOptions::default() });
    assert!(talk.contains("slot 2: QD-0041713: writing - do not take it out"), "{talk}");
    assert!(talk.contains("DONE BEFORE  QD-0041706"), "{talk}");
}

#[test]
fn json_is_an_object_a_line_and_ends_in_the_summary() {
    let (_, data) = shown(&shift(), ScreenOptions { json: true, quiet: true, ..ScreenOptions::default() });
    let mut lines = Vec::new();
    for line in data.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("each line is one object");
        let time = event["time"].as_str().expect("each has a time").to_owned();
        time.parse::<Timestamp>().expect("RFC 3339");
        lines.push(line.replace(&time, "[TIME]"));
    }
    assert!(lines.last().is_some_and(|line| line.starts_with(r#"{"v":1,"event":"summary","#)));
    insta::assert_snapshot!("json", lines.join("\n"));
}

#[test]
fn a_dry_run_is_data() {
    let plan = |intent, state, fault| Event::Plan {
        serial: "QD-0041706".into(),
        intent,
        state,
        station: state.map(|_| "line 2".into()),
        fault,
    };
    let events = [
        plan(Intent::Make, None, None),
        plan(Intent::Elsewhere, Some(State::Confirmed), None),
        plan(Intent::Fail, None, Some(Fault::new(Code::SerialInvalid, "serial `QD-0041706` is not divisible by 7"))),
    ];
    let (talk, data) = shown(&events, ScreenOptions::default());
    insta::assert_snapshot!(data, @r"
    QD-0041706  would be made
    QD-0041706  made elsewhere (confirmed at line 2)
    QD-0041706  would fail
        serial `QD-0041706` is not divisible by 7 (serial-invalid)
        help: scan the label again; if it fails again, set the device aside
    ");
    assert_eq!(talk, "");
}

#[test]
fn colours_are_blocks_that_end() {
    let line = words::big_line(&Ending { slot: Some(2), ..Ending::of("QD-0041713", Verdict::Pass) }, true);
    assert_eq!(line, "\u{1b}[1m\u{1b}[30m\u{1b}[102m PASS  slot 2  QD-0041713 \u{1b}[0m");
}

#[test]
fn in_a_log_each_wait_is_told_at_its_start_and_every_half_minute() {
    let paper = Paper::default();
    let screen = Screen::to(paper.clone(), io::sink(), ScreenOptions::default());
    let begun = Instant::now();
    let told_at = |seconds: u64| {
        let before = paper.text().len();
        screen.remind(begun + Duration::from_secs(seconds));
        paper.text()[before..].to_owned()
    };
    let slot = |step, serial: Option<&str>, hint: Option<&str>, fault| Event::Slot {
        slot: 1,
        step,
        serial: serial.map(str::to_owned),
        hint: hint.map(str::to_owned),
        fault,
    };
    screen.show_at(&slot(Step::PutDeviceIn, None, Some("hold A, press Reset"), None), begun);
    assert_eq!(told_at(0), "", "a device that comes at once costs no line");
    assert_eq!(told_at(1), "slot 1: put a device in: hold A, press Reset\n");
    assert_eq!(told_at(29), "");
    assert_eq!(told_at(31), "slot 1: put a device in: hold A, press Reset (31 s so far)\n");
    assert_eq!(told_at(32), "");
    assert_eq!(told_at(75), "slot 1: put a device in: hold A, press Reset (75 s so far)\n");
    // What QDRS does itself is told when it lasts.
    screen.show_at(&slot(Step::Write, Some("QD-1"), None, None), begun + Duration::from_secs(100));
    assert_eq!(told_at(110), "");
    assert_eq!(told_at(131), "slot 1: QD-1: writing - do not take it out (31 s so far)\n");
    screen.show_at(&slot(Step::TakeDeviceOut, None, None, None), begun + Duration::from_secs(140));
    assert_eq!(told_at(141), "slot 1: take the device out\n");
    // What is wrong is said at once, and again while it lasts.
    let fault = Fault::new(Code::DeviceNotReady, "it runs its program");
    screen.show_at(&slot(Step::PutDeviceIn, None, None, Some(fault)), begun + Duration::from_secs(150));
    assert_eq!(told_at(151), "");
    assert_eq!(told_at(180), "slot 1: put a device in: it runs its program (30 s so far)\n");
    screen.show_at(&slot(Step::Out, None, None, None), begun + Duration::from_secs(190));
    assert_eq!(told_at(1000), "");
}

#[test]
fn a_quiet_log_is_told_of_no_wait() {
    let paper = Paper::default();
    let screen = Screen::to(paper.clone(), io::sink(), ScreenOptions { quiet: true, ..ScreenOptions::default() });
    screen.show(&Event::Slot { slot: 1, step: Step::PutDeviceIn, serial: None, hint: None, fault: None });
    screen.remind(Instant::now() + Duration::from_secs(100));
    assert_eq!(paper.text(), "");
}
