//! Where a tool is measured: a practice button of its own, and for each visit the next board, line and port.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use qdrs_tests::{Button, Line, LineOptions, Pty, boards};

/// The button's speed.
pub(crate) const BAUD: u32 = 115_200;

/// How long a board may take to boot and to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The board's timer when the tool comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// It was stopped before.
    Stopped,
    /// It ticks every second.
    Ticks,
}

/// A practice button, and how many boards were in its slot; the first one only holds the place.
pub(crate) struct Site {
    button: Button,
    folder: PathBuf,
    boards: usize,
}

/// A board that waits at its friendly prompt, at the far end of a paced line.
pub(crate) struct Visit {
    pub(crate) line: Line,
    pub(crate) port: Pty,
    /// Its flash.
    pub(crate) flash: PathBuf,
}

impl Site {
    pub(crate) fn start(folder: &Path, unit: usize, visits: u32) -> Result<Self> {
        // A board that switched itself off stays there until the next is put in by hand: none may tick on unseen.
        let options = ["--unit", &unit.to_string(), "--boards", &(visits + 1).to_string(), "--swap", "3600000"];
        let button = Button::start(folder, &options);
        Ok(Self { button, folder: folder.to_owned(), boards: 1 })
    }

    /// The next board; `phase` is how much of a tick passes before the visit.
    pub(crate) fn next(&mut self, timer: Timer, phase: f64) -> Result<Visit> {
        self.boards += 1;
        self.button.next();
        let begun = Instant::now();
        while boards(&self.folder).len() < self.boards {
            ensure!(begun.elapsed() < PATIENCE, "no new board comes");
            thread::sleep(Duration::from_millis(2));
        }
        self.to_prompt(timer)?;
        if timer == Timer::Ticks {
            thread::sleep(Duration::from_secs_f64(phase));
        }
        let options = LineOptions { baud: Some(BAUD), overruns: true, records: true, ..LineOptions::default() };
        let line = Line::to(self.button.port_name(), options, "device bench");
        let port = Pty::at(&line)?;
        let flash = boards(&self.folder).pop().context("the board has a flash")?;
        Ok(Visit { line, port, flash })
    }

    /// Past the line: waits for the prompt, and stops the timer if it is to be.
    fn to_prompt(&self, timer: Timer) -> Result<()> {
        let mut wire = TcpStream::connect(self.button.port_name().trim_start_matches("tcp://"))?;
        wire.set_read_timeout(Some(Duration::from_millis(50)))?;
        ask(&mut wire, b"\r", b">>> ")?;
        if timer == Timer::Stopped {
            ask(&mut wire, b"\x01", b"raw REPL; CTRL-B to exit\r\n>")?;
            let stop = b"import control\ncontrol.timer.deinit()\ncontrol.interruptCounter=120\x04";
            ask(&mut wire, stop, b"OK\x04\x04>")?;
            ask(&mut wire, b"\x02", b">>> ")?;
        }
        Ok(())
    }
}

/// Sends, and waits until what came since has this in it, and then is quiet.
fn ask(wire: &mut TcpStream, bytes: &[u8], end: &[u8]) -> Result<()> {
    let begun = Instant::now();
    let (mut seen, mut buffer) = (Vec::new(), [0; 256]);
    wire.write_all(bytes)?;
    loop {
        match wire.read(&mut buffer) {
            Ok(count) => seen.extend_from_slice(&buffer[..count]),
            // Quiet: is that all?
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if seen.windows(end.len()).any(|window| window == end) {
                    return Ok(());
                }
            }
            Err(error) => return Err(error.into()),
        }
        ensure!(begun.elapsed() < PATIENCE, "the board does not come to its prompt: {}", seen.escape_ascii());
    }
}
