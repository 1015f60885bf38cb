//! A hand at a MicroPython's REPL: the driver's codec over a port, and nothing of the driver; and the driver itself.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use qdrs_cli::{
    device::{
        self, Device, Kind,
        wire::raw_repl::{Answer, ENTER, LEAVE, RUN, RawRepl, Step},
    },
    port::Port,
};

/// How long a device may take for anything.
const STEP_MAX: Duration = Duration::from_secs(10);
/// So long nothing more comes, and nothing will.
pub const QUIET: Duration = Duration::from_millis(300);
/// What any device takes at once and the pause after, when it is to lose nothing.
const PIECE: (usize, Duration) = (16, Duration::from_millis(4));

/// A hand at a device's REPL.
pub struct Hand {
    port: Port,
    /// What it makes of what comes.
    pub repl: RawRepl,
    steps: VecDeque<Step>,
}

impl Hand {
    /// At the port of that name.
    pub fn at(port: &str) -> Self {
        let port = Port::open(port).expect("opens");
        Self { port, repl: RawRepl::default(), steps: VecDeque::new() }
    }

    /// At its raw prompt, after it has started.
    pub fn at_raw_prompt(port: &str) -> Self {
        let mut hand = Self::at(port);
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

    /// Sends, paced.
    pub fn send(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE.0) {
            self.send_at_once(piece);
            std::thread::sleep(PIECE.1);
        }
    }

    /// Sends as fast as it goes.
    pub fn send_at_once(&mut self, bytes: &[u8]) {
        let mut sent = 0;
        while sent < bytes.len() {
            sent += self.port.send(&bytes[sent..]).expect("is there");
        }
    }

    /// The next step, if one comes in that time.
    pub fn within(&mut self, time: Duration) -> Option<Step> {
        let deadline = Instant::now() + time;
        let mut buffer = [0; 64];
        while self.steps.is_empty() && Instant::now() < deadline {
            let count = self.port.receive(&mut buffer).expect("is there");
            self.repl.feed(&buffer[..count], &mut self.steps);
        }
        self.steps.pop_front()
    }

    /// The next step.
    pub fn step(&mut self) -> Step {
        self.within(STEP_MAX).expect("does something")
    }

    /// Sends source; it begins to run.
    pub fn begin(&mut self, source: &str) {
        self.repl.expect_answer();
        self.send(source.as_bytes());
        self.send(&[RUN]);
        assert_eq!(self.step(), Step::Accepted, "{source}");
    }

    /// What the source that runs has printed.
    pub fn answer(&mut self) -> Answer {
        match self.step() {
            Step::Answer(answer) => answer,
            other => panic!("no answer but {other:?}"),
        }
    }

    /// Runs source.
    pub fn ask(&mut self, source: &str) -> Answer {
        self.begin(source);
        self.answer()
    }

    /// The same until the answer is whole: where the machine has other work, a byte may be lost all the same. Only for what
    /// may be done twice.
    pub fn ask_until_whole(&mut self, source: &str, word: &str) -> String {
        for _ in 0..5 {
            if let Some(fenced) = self.ask(source).fenced(word) {
                return String::from_utf8(fenced.to_vec()).expect("text");
            }
        }
        panic!("no whole answer to {source}");
    }

    /// Is the REPL in step? Asks what only a whole answer tells.
    pub fn is_in_step(&mut self) {
        let answer = self.ask("print('Q7:'+str(6*7)+':Z')");
        assert_eq!(answer.fenced("7"), Some(&b"42"[..]));
    }

    /// Leaves it at its friendly prompt, with that program running.
    pub fn leave_with(mut self, program: &str) {
        self.repl.reset();
        self.send(&[LEAVE]);
        assert_eq!(self.step(), Step::Restarted, "its banner");
        self.send(program.as_bytes());
        // At that prompt it shows what it takes.
        let (begun, mut shown, mut buffer) = (Instant::now(), 0, [0; 64]);
        while shown < program.len() && begun.elapsed() < STEP_MAX {
            shown += self.port.receive(&mut buffer).expect("is there");
        }
        assert!(shown >= program.len(), "it does not take the program");
    }
}

/// The button's driver at the port of that name, as a slot has it.
pub fn driver_at(port: &str) -> Box<dyn Device> {
    device::open(&Kind::Texxmo.into(), port, Arc::default()).expect("opens")
}
