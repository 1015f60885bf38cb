//! The raw REPL's codec and the button's driver against a second real MicroPython, one of the button's age, in QEMU.
//!
//! What its file system allows: reaching it, asking it, being sure of the answer, and naming what it lacks. The write
//! itself needs `rename`, JSON and hashes, which it has not.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use qdrs_cli::{
    device::{
        self, Device, Kind,
        wire::raw_repl::{Answer, ENTER, INTERRUPT, LEAVE, PASTE, RUN, RawRepl, Step},
    },
    port::Port,
};
use qdrs_core::{
    api::Code,
    connection_string::{DeviceConnectionString, DeviceKey},
    explain::Explain,
};
use qdrs_tests::{Line, LineOptions, Microbit};

const STEP_MAX: Duration = Duration::from_secs(10);
/// So long nothing more comes, and nothing will.
const QUIET: Duration = Duration::from_millis(300);
/// What it holds while its program runs, in bytes.
const HELD_BYTES: usize = 63;
/// What it takes at once and the pause after, when it is to lose nothing.
const PIECE: (usize, Duration) = (16, Duration::from_millis(4));

/// A hand at its REPL: the codec over a port, and nothing of the driver.
struct Hand {
    port: Port,
    repl: RawRepl,
    steps: VecDeque<Step>,
}

impl Hand {
    fn at(microbit: &Microbit) -> Self {
        let port = Port::open(&microbit.port_name()).expect("opens");
        Self { port, repl: RawRepl::default(), steps: VecDeque::new() }
    }

    /// At its raw prompt, after it has started.
    fn at_raw_prompt(microbit: &Microbit) -> Self {
        let mut hand = Self::at(microbit);
        let begun = Instant::now();
        while begun.elapsed() < STEP_MAX {
            hand.send(&[ENTER]);
            if hand.within(QUIET) == Some(Step::Ready) {
                while hand.within(QUIET).is_some() {}
                return hand;
            }
        }
        panic!("it does not start");
    }

    fn send(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE.0) {
            self.send_at_once(piece);
            std::thread::sleep(PIECE.1);
        }
    }

    fn send_at_once(&mut self, bytes: &[u8]) {
        let mut sent = 0;
        while sent < bytes.len() {
            sent += self.port.send(&bytes[sent..]).expect("is there");
        }
    }

    fn within(&mut self, time: Duration) -> Option<Step> {
        let deadline = Instant::now() + time;
        let mut buffer = [0; 64];
        while self.steps.is_empty() && Instant::now() < deadline {
            let count = self.port.receive(&mut buffer).expect("is there");
            self.repl.feed(&buffer[..count], &mut self.steps);
        }
        self.steps.pop_front()
    }

    fn step(&mut self) -> Step {
        self.within(STEP_MAX).expect("does something")
    }

    fn begin(&mut self, source: &str) {
        self.repl.expect_answer();
        self.send(source.as_bytes());
        self.send(&[RUN]);
        assert_eq!(self.step(), Step::Accepted, "{source}");
    }

    fn answer(&mut self) -> Answer {
        match self.step() {
            Step::Answer(answer) => answer,
            other => panic!("no answer but {other:?}"),
        }
    }

    fn ask(&mut self, source: &str) -> Answer {
        self.begin(source);
        self.answer()
    }

    /// The same until the answer is whole: where the machine has other work, a byte may be lost all the same. Only for what
    /// may be done twice.
    fn ask_until_whole(&mut self, source: &str, word: &str) -> String {
        for _ in 0..5 {
            if let Some(fenced) = self.ask(source).fenced(word) {
                return String::from_utf8(fenced.to_vec()).expect("text");
            }
        }
        panic!("no whole answer to {source}");
    }

    /// Is the REPL in step? Asks what only a whole answer tells.
    fn is_in_step(&mut self) {
        let answer = self.ask("print('Q7:'+str(6*7)+':Z')");
        assert_eq!(answer.fenced("7"), Some(&b"42"[..]));
    }

    /// What its file system holds, and how long each is.
    fn files(&mut self) -> String {
        self.ask_until_whole("import os\nprint('Qf:'+str(sorted([(n,os.size(n)) for n in os.listdir()]))+':Z')", "f")
    }

    fn make(&mut self, name: &str, text: &str) {
        // Its length tells whether it came whole.
        let source = format!("f=open('{name}','w')\nn=f.write('{text}')\nf.close()\nprint('Qw:%d:Z'%n)");
        assert_eq!(self.ask_until_whole(&source, "w").parse(), Ok(text.replace("\\n", "\n").len()), "{name}");
    }

    /// Leaves it at its friendly prompt, with that program running.
    fn leave_with(mut self, program: &str) {
        self.repl.reset();
        self.send(&[LEAVE]);
        assert_eq!(self.step(), Step::Restarted, "its banner");
        self.send(program.as_bytes());
        std::thread::sleep(QUIET);
    }
}

fn driver_at(port: &str) -> Box<dyn Device> {
    device::open(&Kind::Texxmo.into(), port, Arc::default()).expect("opens")
}

#[test]
fn the_codec_follows_it_byte_for_byte() {
    let microbit = Microbit::start();
    let mut hand = Hand::at_raw_prompt(&microbit);
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
    let mut hand = Hand::at_raw_prompt(&microbit);
    // As the driver's `E` runs a sealed piece.
    hand.ask("def E(s):\n global r\n r='!';exec(s)");
    assert!(!hand.ask("E('def R():return 7\\nr=str(R())')").failed());
    assert_eq!(hand.ask("print('Qa:'+r+str(R())+':Z')").fenced("a"), Some(&b"77"[..]));
}

#[test]
fn the_probe_for_raw_paste_is_refused_as_old_firmware_does() {
    let microbit = Microbit::start();
    let mut hand = Hand::at_raw_prompt(&microbit);
    hand.repl.expect_paste();
    hand.send(PASTE);
    assert_eq!(hand.step(), Step::Ready);
    assert_eq!(hand.within(QUIET), None, "nothing else comes of it");
    hand.is_in_step();
}

#[test]
fn its_line_is_cleared_and_its_resets_are_seen() {
    let microbit = Microbit::start();
    let mut hand = Hand::at_raw_prompt(&microbit);
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
    let mut hand = Hand::at_raw_prompt(&microbit);
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
    let mut hand = Hand::at_raw_prompt(&microbit);
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
    assert_eq!(Hand::at_raw_prompt(microbit).files(), "[]", "{what}");
}

#[test]
fn the_driver_names_it_whatever_it_is_doing_and_writes_nothing() {
    let microbit = Microbit::start();
    let port = microbit.port_name();
    is_named(&microbit, &port, "at its raw prompt or starting");

    Hand::at_raw_prompt(&microbit).leave_with("");
    is_named(&microbit, &port, "at its friendly prompt");
    Hand::at_raw_prompt(&microbit).leave_with("print('left over',");
    is_named(&microbit, &port, "with something on its line");
    Hand::at_raw_prompt(&microbit).leave_with("while 1:pass\r\r\r");
    is_named(&microbit, &port, "with a silent program");
    Hand::at_raw_prompt(&microbit).leave_with("import microbit\rwhile 1:microbit.sleep(300);print('tick')\r\r\r");
    is_named(&microbit, &port, "with a program that talks");
    {
        let mut hand = Hand::at_raw_prompt(&microbit);
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
    assert_eq!(Hand::at_raw_prompt(&microbit).files(), "[]");
}

#[test]
fn with_a_buttons_modules_it_is_asked_further_and_what_it_lacks_is_named() {
    let microbit = Microbit::start();
    let mut hand = Hand::at_raw_prompt(&microbit);
    hand.make("control.py", "interruptCounter=120");
    hand.make("setting.py", "");
    hand.make("network.py", "class WLAN:\\n def config(self,n):return b\"abc\"");
    // Its bytes have no `decode` either.
    hand.make("ubinascii.py", "class H:\\n def decode(self):return \"5c:cf:7f:00:00:01\"\\ndef hexlify(b,s):return H()");
    hand.make("uos.py", "from os import uname");
    let before = hand.files();
    drop(hand);

    // Reached, calmed and asked who it is, with the driver's own pieces and pace; then its new definitions need hashes.
    let mut slot = driver_at(&microbit.port_name());
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
    drop(slot);

    // Its timer is dead, as it says, and its files are what they were.
    let mut hand = Hand::at_raw_prompt(&microbit);
    assert_eq!(hand.files(), before);
}
