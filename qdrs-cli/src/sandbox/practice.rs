//! Practice devices: AZ3166 boards that are not there, at a port that is.
//!
//! Each speaks the board's dialogue byte by byte over a real pseudo-terminal, or over TCP, so no driver knows that it
//! is not real. Each comes with an operator: when a board was told to restart, the operator puts a fresh one in. What
//! a board holds stays in memory and, if wanted, in a folder, so that tests can look into every board.

mod board;
mod line;

use std::{
    fmt, io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

pub use board::stored;
use board::{Act, Board};
use line::Line;

/// What the board's receive buffer holds, in bytes; what comes on top at once is lost.
const RECEIVE_BYTES_MAX: usize = 256;

/// How practice devices are to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which kind of port.
    pub port: PortKind,
    /// How long the operator takes to put the next board in.
    pub swap: Duration,
    /// How many boards the operator has; none: as many as it takes.
    pub boards_max: Option<u32>,
    /// Where each board keeps what it holds, as `board-0001.json`; numbers go on from what is there.
    pub folder: Option<PathBuf>,
    /// How fast the wire is, in bits a second; none: as fast as it goes.
    pub baud: Option<u32>,
    /// What goes wrong, each with the board it happens to, counted from 1 in this folder.
    pub faults: Vec<(u32, Fault)>,
}

impl Default for Options {
    fn default() -> Self {
        let port = if cfg!(unix) { PortKind::PseudoTerminal } else { PortKind::Tcp };
        Self { port, swap: Duration::from_millis(300), boards_max: None, folder: None, baud: None, faults: Vec::new() }
    }
}

/// Which kind of port a practice device is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortKind {
    /// A serial port like any other; on Unix only.
    PseudoTerminal,
    /// The same, under a name of its own (a link) that stays when the cable is pulled and put back.
    Linked(PathBuf),
    /// `tcp://127.0.0.1:…`, one caller at a time.
    Tcp,
}

/// What goes wrong with a board. Bytes are those from the host, counted from 0 since the board was put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The cable is pulled before that byte arrives: the port is gone until [`PracticeDevice::plug_in`].
    PullCable {
        /// Which byte.
        at_host_byte: u64,
    },
    /// That byte arrives with one bit flipped.
    FlipBit {
        /// Which byte.
        at_host_byte: u64,
    },
    /// From that byte on it says nothing more, and does nothing.
    Freeze {
        /// Which byte.
        at_host_byte: u64,
    },
    /// Another program types these bytes into the port before that byte of the host arrives.
    Typed {
        /// Which byte of the host.
        at_host_byte: u64,
        /// What the other program types.
        bytes: &'static [u8],
    },
    /// Its firmware shows a star for each character of a connection string but the first ones.
    Masks {
        /// So many characters are shown.
        shown: usize,
    },
    /// It writes, compares, and answers `ERROR: Verify failed.`
    VerifyFails,
    /// It says nothing at all.
    Silent,
    /// Its button was not held: the user's program runs.
    Program,
}

/// One board, as a test may look into it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardRecord {
    /// From 1.
    pub board: u32,
    /// The device connection string that its chip holds: a secret.
    pub holds: Option<String>,
    /// How often its chip was written.
    pub writes: u32,
    /// Was it told to restart, and taken out?
    pub done: bool,
}

/// Never shows the credential.
impl fmt::Debug for BoardRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holds = self.holds.as_ref().map(|_| "…");
        f.debug_struct("BoardRecord")
            .field("board", &self.board)
            .field("holds", &holds)
            .field("writes", &self.writes)
            .field("done", &self.done)
            .finish()
    }
}

/// A port with a practice device at it, until it is dropped.
pub struct PracticeDevice {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for PracticeDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PracticeDevice").field(&self.port_name()).finish()
    }
}

struct Shared {
    stop: AtomicBool,
    desk: Mutex<Desk>,
    wishes: Mutex<Vec<Wish>>,
}

/// What the one who holds the handle can look at.
#[derive(Default)]
struct Desk {
    port_name: String,
    boards: Vec<BoardRecord>,
    host_bytes: u64,
}

enum Wish {
    PlugIn,
    Swap,
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wishes(&self) -> MutexGuard<'_, Vec<Wish>> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PracticeDevice {
    /// Puts the first board in and lets it start.
    ///
    /// # Errors
    /// The system has no pseudo-terminal or no free port left, or the folder can't be used.
    pub fn start(options: Options) -> io::Result<Self> {
        let mut boards = Vec::new();
        if let Some(folder) = &options.folder {
            std::fs::create_dir_all(folder)?;
            boards = stored(folder)?;
        }
        let line = Line::open(&options.port)?;
        let desk = Desk { port_name: line.name().to_owned(), boards, host_bytes: 0 };
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), desk: Mutex::new(desk), wishes: Mutex::default() });
        let mut slot = Slot {
            options,
            line: Some(line),
            board: None,
            next_board_at: None,
            shared: Arc::clone(&shared),
            put_in: 0,
            host_bytes: 0,
        };
        slot.put_fresh_board_in()?;
        let thread = thread::Builder::new().name("practice device".to_owned()).spawn(move || slot.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// What `--port` takes. After a pulled cable a plain pseudo-terminal has another name.
    pub fn port_name(&self) -> String {
        self.shared.desk().port_name.clone()
    }

    /// Every board so far, in the order they were put in; with a folder also those of earlier times.
    pub fn boards(&self) -> Vec<BoardRecord> {
        self.shared.desk().boards.clone()
    }

    /// How many bytes the board in the slot has had from the host.
    pub fn host_bytes(&self) -> u64 {
        self.shared.desk().host_bytes
    }

    /// Puts the pulled cable back, with the same board at it, which starts anew; what went wrong, goes wrong no more.
    pub fn plug_in(&self) {
        self.shared.wishes().push(Wish::PlugIn);
    }

    /// Takes the board out, done or not, and puts a fresh one in.
    pub fn swap(&self) {
        self.shared.wishes().push(Wish::Swap);
    }
}

impl Drop for PracticeDevice {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It ends within one time-out; had it panicked, the tests that rely on it say so.
            let _ = thread.join();
        }
    }
}

/// The place where the boards are put in, and its operator.
struct Slot {
    options: Options,
    /// None while the cable is pulled.
    line: Option<Line>,
    board: Option<Board>,
    next_board_at: Option<Instant>,
    shared: Arc<Shared>,
    /// How many boards were put in this time.
    put_in: u32,
    host_bytes: u64,
}

impl Slot {
    fn run(mut self) {
        let mut buffer = [0; 4096];
        while !self.shared.stop.load(Ordering::Relaxed) {
            let result = self.turn(&mut buffer);
            if let Err(error) = result {
                // Nobody is there to hear it but the log; the slot stays as it is.
                tracing::warn!(%error, "a practice device");
                thread::sleep(line::WAIT);
            }
        }
    }

    fn turn(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let wishes = std::mem::take(&mut *self.shared.wishes());
        for wish in wishes {
            match wish {
                Wish::PlugIn => self.plug_in()?,
                Wish::Swap => {
                    self.board = None;
                    self.reconnect()?;
                    self.put_fresh_board_in()?;
                }
            }
        }
        if self.next_board_at.is_some_and(|at| Instant::now() >= at) {
            self.put_fresh_board_in()?;
        }
        let wait = self.next_board_at.map_or(line::WAIT, |at| at.saturating_duration_since(Instant::now()).min(line::WAIT));
        let Some(line) = &mut self.line else {
            thread::sleep(wait);
            return Ok(());
        };
        let count = line.receive(buffer, wait)?;
        self.take(&buffer[..count.min(RECEIVE_BYTES_MAX)])
    }

    /// Gives the bytes to the board, one by one, and sends what it says.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(mut board) = self.board.take() else { return Ok(()) };
        let mut out = Vec::new();
        let mut act = Act::GoOn;
        for &byte in bytes {
            let at = self.host_bytes;
            let mut byte = byte;
            match board.fault {
                Some(Fault::PullCable { at_host_byte }) if at == at_host_byte => {
                    act = Act::CablePulled;
                    break;
                }
                Some(Fault::FlipBit { at_host_byte }) if at == at_host_byte => byte ^= 0x01,
                Some(Fault::Freeze { at_host_byte }) if at >= at_host_byte => board.freeze(),
                Some(Fault::Typed { at_host_byte, bytes }) if at == at_host_byte => {
                    bytes.iter().for_each(|typed| {
                        board.take(*typed, &mut out);
                    });
                }
                _ => {}
            }
            self.host_bytes += 1;
            act = board.take(byte, &mut out);
            if act != Act::GoOn {
                break;
            }
        }
        // What the board holds is stored before it says so.
        self.keep(&board, act == Act::Restart)?;
        self.say(&out)?;
        match act {
            Act::GoOn => self.board = Some(board),
            Act::CablePulled => {
                self.board = Some(board);
                self.line = None;
            }
            Act::Restart => self.next_board_at = Some(Instant::now() + self.options.swap),
        }
        Ok(())
    }

    fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(bits_a_second) = self.options.baud {
            // Ten bits a byte on the wire.
            thread::sleep(Duration::from_secs_f64(bytes.len() as f64 * 10.0 / f64::from(bits_a_second.max(1))));
        }
        match &mut self.line {
            Some(line) => line.send(bytes, &self.shared.stop),
            None => Ok(()),
        }
    }

    fn keep(&mut self, board: &Board, done: bool) -> io::Result<()> {
        let mut desk = self.shared.desk();
        desk.host_bytes = self.host_bytes;
        let Some(record) = desk.boards.iter_mut().find(|record| record.board == board.number) else { return Ok(()) };
        let fresh =
            BoardRecord { board: board.number, holds: board.holds.clone(), writes: board.writes, done: record.done || done };
        if *record != fresh {
            *record = fresh.clone();
            drop(desk);
            if let Some(folder) = &self.options.folder {
                board::store(folder, &fresh)?;
            }
        }
        Ok(())
    }

    fn put_fresh_board_in(&mut self) -> io::Result<()> {
        self.next_board_at = None;
        if self.options.boards_max.is_some_and(|max| self.put_in >= max) {
            return Ok(());
        }
        self.put_in += 1;
        let mut desk = self.shared.desk();
        let number = desk.boards.last().map_or(1, |record| record.board + 1);
        let record = BoardRecord { board: number, holds: None, writes: 0, done: false };
        desk.boards.push(record.clone());
        drop(desk);
        if let Some(folder) = &self.options.folder {
            board::store(folder, &record)?;
        }
        let fault = self.options.faults.iter().find(|(board, _)| *board == number).map(|(_, fault)| *fault);
        self.boot(Board::new(number, fault))
    }

    fn boot(&mut self, mut board: Board) -> io::Result<()> {
        self.host_bytes = 0;
        self.shared.desk().host_bytes = 0;
        let mut out = Vec::new();
        board.boot(&mut out);
        self.board = Some(board);
        self.say(&out)
    }

    fn plug_in(&mut self) -> io::Result<()> {
        self.reconnect()?;
        match self.board.take() {
            Some(mut board) => {
                board.fault = None;
                self.boot(board)
            }
            None => Ok(()),
        }
    }

    fn reconnect(&mut self) -> io::Result<()> {
        if self.line.is_none() {
            let line = Line::open(&self.options.port)?;
            self.shared.desk().port_name = line.name().to_owned();
            self.line = Some(line);
        }
        Ok(())
    }
}
