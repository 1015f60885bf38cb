//! The raw REPL's codec and the button's driver against a second real MicroPython, one of the button's age, in QEMU.
//!
//! What its file system allows: reaching it, asking it, being sure of the answer, and naming what it lacks. The write
//! itself needs `rename`, JSON and hashes, which it has not.

use qdrs_cli::device::wire::raw_repl::{ENTER, INTERRUPT, PASTE, RUN, Step};
use qdrs_core::{
    api::Code,
    connection_string::{DeviceConnectionString, DeviceKey},
    explain::Explain,
};
use qdrs_tests::{Hand, Line, LineOptions, Microbit, QUIET, driver_at};

/// What it holds while its program runs, in bytes.
const HELD_BYTES: usize = 63;

/// What its file system holds, and how long each is.
fn files(hand: &mut Hand) -> String {
    hand.ask_until_whole("import os\nprint('Qf:'+str(sorted([(n,os.size(n)) for n in os.listdir()]))+':Z')", "f")
}

fn make(hand: &mut Hand, name: &str, text: &str) {
    // Its length tells whether it came whole.
    let source = format!("f=open('{name}','w')\nn=f.write('{text}')\nf.close()\nprint('Qw:%d:Z'%n)");
    assert_eq!(hand.ask_until_whole(&source, "w").parse(), Ok(text.replace("\\n", "\n").len()), "{name}");
}

#[test]
fn the_codec_follows_it_byte_for_byte() {
    let microbit = Microbit::start();
    let mut hand = Hand::at_raw_prompt(&microbit.port_name());
    hand.is_in_step();

    let exceptions = [
        ("1/0", "ZeroDivisionError"),
        ("1 1", "SyntaxError"),
        ("no_such_name", "NameError"),
        ("import uhashlib", "ImportError"),
        ("raise OSError(28)", "OSError 28"),
        ("open('missing')", "OSError"),
        ("import os\nos.rename('a','b')", "AttributeError"),
        ("bytearray(20000)", "MemoryError"),
    ];
    for (source, exception) in exceptions {
        let answer = hand.ask(source);
        assert!(answer.failed(), "{source}");
        assert_eq!(answer.exception().as_deref(), Some(exception), "{source}");
    }
    // What was printed before it failed stands in its own half.
    let answer = hand.ask("print('Qa:half:Z')\n1/0");
    assert_eq!((answer.fenced("a"), answer.failed()), (Some(&b"half"[..]), true));
    let noisy = hand.ask("print('OK\\r\\nQb:no\\r\\n> ')\nprint('Qb:yes:Z')\nprint('5 sec')");
    assert_eq!(noisy.fenced("b"), Some(&b"yes"[..]));
    hand.is_in_step();
}

#[test]
fn what_a_function_executes_defines_for_all() {
    let microbit = Microbit::start();
    let mut hand = Hand::at_raw_prompt(&microbit.port_name());
    // As the driver's `E` runs a sealed piece.
    hand.ask("def E(s):\n global r\n r='!';exec(s)");
    assert!(!hand.ask("E('def R():return 7\\nr=str(R())')").failed());
    assert_eq!(hand.ask("print('Qa:'+r+str(R())+':Z')").fenced("a"), Some(&b"77"[..]));
}

#[test]
fn the_probe_for_raw_paste_is_refused_as_old_firmware_does() {
    let microbit = Microbit::start();
    let mut hand = Hand::at_raw_prompt(&microbit.port_name());
    hand.repl.expect_paste();
    hand.send(PASTE);
    assert_eq!(hand.step(), Step::Ready);
    assert_eq!(hand.within(QUIET), None, "nothing else comes of it");
    hand.is_in_step();
}

#[test]
fn its_line_is_cleared_and_its_resets_are_seen() {
    let microbit = Microbit::start();
    let mut hand = Hand::at_raw_prompt(&microbit.port_name());
    hand.send(b"print('never',");
    hand.repl.reset();
    hand.send(&[INTERRUPT, ENTER]);
    assert_eq!(hand.step(), Step::Ready);
    hand.is_in_step();

    // An empty line: a soft reset, into raw mode again.
    hand.ask("kept=1");
    hand.repl.expect_answer();
    hand.send(&[RUN]);
    assert_eq!([hand.step(), hand.step(), hand.step()], [Step::Accepted, Step::Restarted, Step::Ready]);
    assert_eq!(hand.ask("kept").exception().as_deref(), Some("NameError"));
}

#[test]
fn ctrl_c_interrupts_what_runs() {
    let microbit = Microbit::start();
    let mut hand = Hand::at_raw_prompt(&microbit.port_name());
    for program in ["while 1:pass", "import microbit\nwhile 1:\n print('tick')\n microbit.sleep(20)"] {
        hand.begin(program);
        assert_eq!(hand.within(QUIET), None, "it runs");
        hand.send(&[INTERRUPT]);
        assert_eq!(hand.answer().exception().as_deref(), Some("KeyboardInterrupt"));
        hand.is_in_step();
    }
}

#[test]
fn what_overruns_its_input_is_lost_and_the_line_found_again() {
    let microbit = Microbit::start();
    let mut hand = Hand::at_raw_prompt(&microbit.port_name());
    hand.begin("import microbit\nmicrobit.sleep(500)");
    hand.send_at_once(&[b'x'; 3 * HELD_BYTES]);
    let _ = hand.answer();
    // What is left of it is a name, of as many letters as fitted; it is taken in silence.
    hand.repl.expect_answer();
    assert_eq!(hand.within(QUIET), None);
    hand.send(&[RUN]);
    assert_eq!(hand.step(), Step::Accepted);
    assert_eq!(hand.answer().exception().as_deref(), Some("NameError"));
    let mut counts = |name: &str| hand.ask_until_whole(&format!("print('Qc:%d:Z'%len('{name}'))"), "c");
    // Paced, nothing is lost of as long a source as the driver ever sends.
    assert_eq!(counts(&"x".repeat(375)), "375");
    hand.repl.reset();
    hand.send(&[INTERRUPT, ENTER]);
    assert_eq!(hand.step(), Step::Ready);
    hand.is_in_step();
}

/// Names it for what it is, and leaves its files alone.
fn is_named(microbit: &Microbit, port: &str, what: &str) {
    let error = driver_at(port).identify().expect_err("is no button");
    assert_eq!((error.code(), error.touched()), (Code::DeviceNotReady, false), "{what}: {error}");
    assert!(error.to_string().contains("is no teXXmo IoT Button"), "{what}: {error}");
    assert_eq!(files(&mut Hand::at_raw_prompt(&microbit.port_name())), "[]", "{what}");
}

#[test]
fn the_driver_names_it_whatever_it_is_doing_and_writes_nothing() {
    let microbit = Microbit::start();
    let port = microbit.port_name();
    is_named(&microbit, &port, "at its raw prompt or starting");

    Hand::at_raw_prompt(&microbit.port_name()).leave_with("");
    is_named(&microbit, &port, "at its friendly prompt");
    Hand::at_raw_prompt(&microbit.port_name()).leave_with("print('left over',");
    is_named(&microbit, &port, "with something on its line");
    Hand::at_raw_prompt(&microbit.port_name()).leave_with("while 1:pass\r\r\r");
    is_named(&microbit, &port, "with a silent program");
    Hand::at_raw_prompt(&microbit.port_name()).leave_with("import microbit\rwhile 1:microbit.sleep(300);print('tick')\r\r\r");
    is_named(&microbit, &port, "with a program that talks");
    {
        let mut hand = Hand::at_raw_prompt(&microbit.port_name());
        hand.begin("while 1:pass");
    }
    is_named(&microbit, &port, "with a program in raw mode");
}

#[test]
fn the_driver_names_it_over_a_paced_line_too() {
    let microbit = Microbit::start();
    let options = LineOptions { baud: Some(115_200), ..LineOptions::default() };
    {
        let line = Line::to(&microbit.port_name(), options, "microbit");
        let error = driver_at(&line.port_name()).identify().expect_err("is no button");
        assert!(error.to_string().contains("is no teXXmo IoT Button"), "{error}");
    }
    assert_eq!(files(&mut Hand::at_raw_prompt(&microbit.port_name())), "[]");
}

#[test]
fn with_a_buttons_modules_it_is_asked_further_and_what_it_lacks_is_named() {
    let microbit = Microbit::start();
    let mut hand = Hand::at_raw_prompt(&microbit.port_name());
    make(&mut hand, "control.py", "interruptCounter=120");
    make(&mut hand, "setting.py", "");
    make(&mut hand, "network.py", "class WLAN:\\n def config(self,n):return b\"abc\"");
    // Its bytes have no `decode` either.
    make(&mut hand, "ubinascii.py", "class H:\\n def decode(self):return \"5c:cf:7f:00:00:01\"\\ndef hexlify(b,s):return H()");
    make(&mut hand, "uos.py", "from os import uname");
    let before = files(&mut hand);
    drop(hand);

    // Reached, calmed and asked who it is, with the driver's own pieces; then its new definitions need hashes. The line is
    // slower than a button's: this board holds a quarter of what a button holds, and has only a share of the processor.
    let line = Line::to(&microbit.port_name(), LineOptions { baud: Some(28_800), ..LineOptions::default() }, "microbit");
    let mut slot = driver_at(&line.port_name());
    let error = slot.identify().expect_err("has no hashes");
    assert_eq!((error.code(), error.touched()), (Code::DeviceUnverified, false), "{error}");
    assert!(error.to_string().contains("get ready for its settings: ImportError"), "{error}");
    let credential = DeviceConnectionString {
        host_name: "h.azure-devices.net".to_owned(),
        device_id: "QD-1".to_owned(),
        key: DeviceKey::generate(),
    };
    let error = slot.write(&credential).expect_err("was not identified");
    assert!(!error.touched(), "{error}");
    drop((slot, line));

    // Its timer is dead, as it says, and its files are what they were.
    let mut hand = Hand::at_raw_prompt(&microbit.port_name());
    assert_eq!(files(&mut hand), before);
}
