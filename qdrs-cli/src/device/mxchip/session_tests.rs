//! A session with a scripted console: what comes on the line at the moments that no practice board gets right.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex, atomic::AtomicBool},
    thread,
};

use qdrs_core::{api::Code, explain::Explain};

use super::*;

/// Longer than any test waits.
const LONG_MS: u64 = 600_000;

/// A console behind a TCP port, for one caller.
pub(in super::super) struct Scripted {
    pub(in super::super) port: String,
    received: Arc<Mutex<Vec<u8>>>,
}

impl Scripted {
    /// Starts it. `say` makes what is said of the number of the host's byte and of what a good console would say; with
    /// nothing it hangs up.
    pub(in super::super) fn start(mut say: impl FnMut(usize, Vec<u8>) -> Option<Vec<u8>> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = format!("tcp://{}", listener.local_addr().expect("an address"));
        let received = Arc::<Mutex<Vec<u8>>>::default();
        let theirs = Arc::clone(&received);
        thread::spawn(move || {
            let Ok((mut stream, _)) = listener.accept() else { return };
            stream.set_nodelay(true).expect("sets");
            let (mut line, mut byte) = (Vec::new(), [0]);
            while matches!(stream.read(&mut byte), Ok(1)) {
                let at = theirs.lock().map(|mut received| {
                    received.push(byte[0]);
                    received.len() - 1
                });
                let Some(said) = say(at.expect("not poisoned"), good(&mut line, byte[0])) else { return };
                if stream.write_all(&said).is_err() {
                    return;
                }
            }
        });
        Self { port, received }
    }

    pub(in super::super) fn received(&self) -> Vec<u8> {
        self.received.lock().expect("not poisoned").clone()
    }
}

/// What a good console says to a byte.
fn good(line: &mut Vec<u8>, byte: u8) -> Vec<u8> {
    match byte {
        b'\r' => match std::mem::take(line).as_slice() {
            b"version" => b"\r\nDevKitSDK version: 1.6.2\r\n\r\n# ".to_vec(),
            b"exit" => b"\r\nReboot\r\n".to_vec(),
            _ => b"\r\n# ".to_vec(),
        },
        0x7f => line.pop().map(|_| b"\x08 \x08".to_vec()).unwrap_or_default(),
        _ => {
            line.push(byte);
            vec![byte]
        }
    }
}

/// A session at its prompt, with a console that says this besides, behind what it says to the host's byte of that number.
fn besides(number: usize, said: &'static str) -> (Scripted, Session) {
    edited(move |at, good| if at == number { [&good, said.as_bytes()].concat() } else { good })
}

/// The same, with a console that says this instead.
fn instead(number: usize, said: &'static str) -> (Scripted, Session) {
    edited(move |at, good| if at == number { said.as_bytes().to_vec() } else { good })
}

/// The same, with a console that says what `say` makes of a good one's words.
fn edited(mut say: impl FnMut(usize, Vec<u8>) -> Vec<u8> + Send + 'static) -> (Scripted, Session) {
    let console = Scripted::start(move |at, good| Some(say(at, good)));
    let mut session = Session::open(&console.port, Cancel::of(Arc::default())).expect("opens");
    assert!(session.find_prompt(LONG_MS).expect("answers") == Found::Prompt);
    (console, session)
}

/// A command, its echo is the host's bytes from 1 on.
const COMMAND: &[u8] = b"set_az_iothub HostName=h;DeviceId=d;SharedAccessKey=a*b";
const NAME_BYTES: usize = "set_az_iothub ".len();

fn type_command(session: &mut Session) -> (Result<(), DeviceError>, Typed) {
    let mut typed = Typed::default();
    (session.type_in(COMMAND, &mut typed), typed)
}

#[test]
fn what_came_since_the_prompt_is_a_start_or_somebody_elses_or_nothing() {
    let restarts = [
        "Conf",
        "Configuration console:",
        "Configuration console:\r\n - help: Help.\r\n\r\n# ",
        "\r\nConfiguration console:\r\n",
        "\r\nConfiguration console:\r\nWhat?\r\n",
        "zConfiguration console:",
        "You can 1. pr",
        "zYou can 1. press Button A",
        "\r\nYou can 1. press Button A or B\r\n",
        "\r\n - version: Show version.\r\n",
    ];
    for said in restarts {
        let (_console, mut session) = besides(0, said);
        let error = session.need_quiet().expect_err(said);
        assert!(matches!(error.why, Why::Restarted { .. }) && !session.at_prompt, "{said:?}: {error}");
    }
    for said in ["x", "AT\r\n# ", "\r\nWhat?\r\n", "\r\nWhat?\r\n# "] {
        let (_console, mut session) = besides(0, said);
        let error = session.need_quiet().expect_err(said);
        assert!(matches!(error.why, Why::Foreign { .. }) && !session.at_prompt, "{said:?}: {error}");
    }
    for said in ["", "\r\n# "] {
        let (_console, mut session) = besides(0, said);
        session.need_quiet().expect(said);
        assert!(session.at_prompt);
    }
}

#[test]
fn stars_are_a_mask_in_an_argument_alone_and_to_its_end() {
    let masked_from = |number: usize| {
        let (_console, mut session) = edited(move |at, good| if at > number { b"*".to_vec() } else { good });
        let (result, typed) = type_command(&mut session);
        (result.map_err(|error| error.why), typed.masked)
    };
    assert!(matches!(masked_from(NAME_BYTES), (Ok(()), true)));
    for number in [2, NAME_BYTES - 2, NAME_BYTES - 1] {
        assert!(matches!(masked_from(number), (Err(Why::Garbled { .. }), false)), "{number}");
    }
    let (_console, mut session) = edited(|_, good| good);
    assert!(matches!(type_command(&mut session), (Ok(()), Typed { masked: false, .. })), "a star that was sent is no mask");
}

#[test]
fn a_line_that_ends_while_a_command_is_typed_has_been_run() {
    for number in [1, 9, COMMAND.len()] {
        let (_console, mut session) = besides(number, "\r\n# ");
        let (result, typed) = type_command(&mut session);
        let error = result.expect_err("ended");
        assert!(matches!(error.why, Why::Foreign { .. }) && typed.ran, "{number}: {error}");
    }
}

#[test]
fn a_late_answer_to_an_empty_line_is_no_part_of_a_command() {
    for late in ["\r\n# ", "\r\n# \r\n# "] {
        let (_console, mut session) = edited(move |at, good| if at == 1 { [late.as_bytes(), &good].concat() } else { good });
        let (result, typed) = type_command(&mut session);
        result.expect("is typed");
        assert!((typed.sent, typed.echoed, typed.ran) == (COMMAND.len(), COMMAND.len(), false));
    }
}

#[test]
fn a_byte_behind_a_commands_last_one_is_somebody_elses() {
    let (_console, mut session) = besides(COMMAND.len(), "x");
    let (result, typed) = type_command(&mut session);
    assert!(matches!(result.expect_err("is not ours").why, Why::Foreign { .. }));
    assert_eq!((typed.sent, typed.echoed, typed.ran), (COMMAND.len(), COMMAND.len() + 1, false));
}

#[test]
fn a_restart_and_a_program_in_the_middle_of_a_command_are_told_from_a_bad_line() {
    for number in [1, 9, 30] {
        for before in ["", "\r\n"] {
            for (said, is_restart) in [("Configuration console:\r\n", true), ("You can 1. press Button A or B\r\n", false)] {
                let (_console, mut session) =
                    edited(move |at, good| if at == number { format!("{before}{said}").into_bytes() } else { good });
                let error = type_command(&mut session).0.expect_err("is another");
                let why =
                    if is_restart { matches!(error.why, Why::Restarted { .. }) } else { error.code() == Code::DeviceNotReady };
                assert!(why, "{before:?} {said:?} at {number}: {error}");
            }
        }
    }
}

#[test]
fn a_device_that_says_nothing_to_a_command_is_silent_and_one_that_ceases_has_stopped() {
    for (number, code) in [(1, Code::DeviceSilent), (2, Code::DeviceGone)] {
        let (_console, mut session) = edited(move |at, good| if at >= number { Vec::new() } else { good });
        assert_eq!(type_command(&mut session).0.expect_err("ceases").code(), code);
    }
}

#[test]
fn an_answer_is_what_stands_between_the_commands_end_and_the_prompt() {
    let end = "version".len() + 1;
    let ask = |said: &'static str| instead(end, said).1.ask_version();
    for said in ["\r\nConfiguration console:\r\n# ", "\r\nYou can 1. press Button A or B\r\n# "] {
        assert!(matches!(ask(said).expect_err("is another").why, Why::Restarted { .. }), "{said:?}");
    }
    for said in ["x\r\nDevKitSDK version: 1.6.2\r\n\r\n# ", "xy\r\nDevKitSDK version: 1.6.2\r\n\r\n# "] {
        assert!(matches!(ask(said).expect_err("is not ours").why, Why::Foreign { .. }), "{said:?}");
    }
    assert!(matches!(ask("x").expect_err("is not ours, and ceases").why, Why::Foreign { .. }));
    assert!(matches!(ask("\r\nDevKitSDK").expect_err("ceases").why, Why::Stopped { .. }));
    let long = format!("\r\n{}# ", "a line\r\n".repeat(ANSWER_LINES_MAX + 6));
    assert_eq!(ask(long.leak()).expect("answers").len(), ANSWER_LINES_MAX);
}

#[test]
fn what_was_typed_is_taken_back_to_the_byte() {
    let (console, mut session) = edited(|_, good| good);
    let (result, typed) = type_command(&mut session);
    result.expect("is typed");
    assert!(session.take_back(&typed) && session.at_prompt);
    let expected = [b"\r", COMMAND, &[0x7f; COMMAND.len()], b"\r"].concat();
    assert_eq!(console.received(), expected);
    // More than was sent, since somebody else typed as well.
    let (_, typed) = type_command(&mut session);
    assert!(session.take_back(&Typed { sent: typed.sent - 3, ..typed }));
    assert_eq!(console.received().len(), 2 * expected.len() - 1);
    // The line is empty now; but it is known that it has been run before.
    assert!(!session.take_back(&Typed { ran: true, ..Typed::default() }));
    // One that runs something is not empty.
    let (_console, mut session) = edited(|at, good| if at == 3 { b"\r\nUsage: set_az_iothub\r\n\r\n# ".to_vec() } else { good });
    assert!(!session.take_back(&Typed { sent: 2, ..Typed::default() }));
}

#[test]
fn a_banner_before_the_prompt_is_a_restart_and_a_program_is_not_ready_unless_it_was_told_to_start() {
    for before in ["", "\r\n"] {
        let said = |text: &str| format!("{before}{text}\r\n - help: Help.\r\n\r\n# ").leak();
        let (_console, mut session) = instead(1, said("Configuration console:"));
        assert!(session.find_prompt(LONG_MS).expect("answers") == Found::Restarted);
        let program = || instead(1, said("You can 1. press Button A or B")).1;
        assert_eq!(program().find_prompt(LONG_MS).err().expect("is a program").code(), Code::DeviceNotReady);
        let mut session = program();
        session.farewell = true;
        assert!(session.find_prompt(LONG_MS).expect("answers") == Found::Prompt);
        assert!(!session.farewell, "it is the last word of one device");
    }
}

#[test]
fn a_device_that_leaves_need_not_end_its_last_word_and_one_that_stays_is_said() {
    let end = "exit".len() + 1;
    let leave = |said: &'static str| {
        let mut session = instead(end, said).1;
        session.type_in(b"exit", &mut Typed::default()).expect("is typed");
        session.see_off("Reboot", LONG_MS)
    };
    for said in ["\r\nReboot", "\r\nReboot\r\nConfiguration console:\r\n\r\n# ", "\r\nA word before.\r\nReboot"] {
        leave(said).expect(said);
    }
    for said in ["\r\nError:Invalid command: exit\r\n\r\n# ", "\r\n# "] {
        assert_eq!(leave(said).expect_err(said).code(), Code::DeviceRefused);
    }
    let (_console, mut session) = instead(end, "");
    session.type_in(b"exit", &mut Typed::default()).expect("is typed");
    session.see_off("Reboot", 1).expect("it need not say it");
}

#[test]
fn a_port_that_goes_with_the_device_is_its_last_word_and_a_stop_is_none() {
    let end = "exit".len() + 1;
    let console = Scripted::start(move |at, good| (at < end).then_some(good));
    let mut session = Session::open(&console.port, Cancel::of(Arc::default())).expect("opens");
    session.need_prompt(LONG_MS).expect("answers");
    session.type_in(b"exit", &mut Typed::default()).expect("is typed");
    session.see_off("Reboot", LONG_MS).expect("has gone");
    assert!(!session.has_port() && !session.at_prompt);

    let flag = Arc::new(AtomicBool::default());
    let stop = Arc::clone(&flag);
    let console = Scripted::start(move |at, good| {
        stop.store(at == end, std::sync::atomic::Ordering::Relaxed);
        Some(if at == end { Vec::new() } else { good })
    });
    let mut session = Session::open(&console.port, Cancel::of(flag)).expect("opens");
    session.need_prompt(LONG_MS).expect("answers");
    session.type_in(b"exit", &mut Typed::default()).expect("is typed");
    assert_eq!(session.see_off("Reboot", LONG_MS).expect_err("is stopped").code(), Code::Interrupted);
}

#[test]
fn what_was_known_of_a_device_ends_with_its_port() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = format!("tcp://{}", listener.local_addr().expect("an address"));
    let mut session = Session::open(&port, Cancel::of(Arc::default())).expect("opens");
    let (mut first, _) = listener.accept().expect("calls");
    first.write_all(b"\r\n# ").expect("says");
    session.need_prompt(LONG_MS).expect("is at its prompt");
    session.committed = true;
    drop(first);
    while session.need_quiet().is_ok() {}
    assert!(!session.has_port() && !session.at_prompt && !session.committed);
    session.reopen().expect("opens again");
    let (mut second, _) = listener.accept().expect("calls");
    // Nothing of the first one's line is joined with this.
    second.write_all(b"\r\n# ").expect("says");
    assert!(session.find_prompt(LONG_MS).expect("answers") == Found::Prompt);
    drop((second, listener));
    while session.need_quiet().is_ok() {}
    assert_eq!(session.reopen().expect_err("is away").code(), Code::DeviceGone);
}
