//! MicroPython's raw REPL: bytes in, steps out.
//!
//! Knows the protocol (plain source, and the windowed raw paste of newer firmware), but no port, no clock and no button:
//! `texxmo` owns those. The stream is bytes, not text: it may be cut anywhere, hold anything, never end; a program on
//! the device may print before, between and inside answers. So what an answer means stands in a line of its own, with a
//! word that was made for this one question (a [`fence`](Answer::fenced)), and all around it is noise.
//!
//! Holds always: what is kept is bounded, and nothing here prints what it holds, since an answer may be a secret. After
//! [`Step::Ready`] the device awaits source, whatever was asked of it before.
//!
//! Source: MicroPython at d12483d (the button's) and its `mpremote`.

use std::{collections::VecDeque, fmt};

use zeroize::Zeroizing;

/// Interrupts what runs, or clears the line.
pub const INTERRUPT: u8 = 0x03;
/// Enters raw mode; in raw mode clears the line and says the banner again.
pub const ENTER: u8 = 0x01;
/// Leaves raw mode.
pub const LEAVE: u8 = 0x02;
/// Ends source; the device runs it.
pub const RUN: u8 = 0x04;
/// Asks for raw paste. Old firmware takes it for source, and its last byte for [`ENTER`].
pub const PASTE: &[u8] = b"\x05A\x01";

/// What is kept of each half of an answer, in bytes; of a longer one the first bytes are dropped.
pub const ANSWER_BYTES_MAX: usize = 2048;
/// What is kept to find a known text, in bytes.
const TAIL_BYTES_MAX: usize = 48;

/// Said when raw mode begins or its line was cleared; a line's end and `>` follow.
const BANNER: &[u8] = b"raw REPL; CTRL-B to exit";
/// Said in any soft reset, after a name that changed over the years.
const SOFT_RESET: &[u8] = b"soft reboot";
/// The end of the banner that begins the friendly prompt: the device started, or left raw mode.
const STARTED: &[u8] = b"Type \"help()\" for more information.";
/// Said every three seconds by a device that lost its file system.
const CORRUPT: &[u8] = b"appears to be corrupted";

/// What the device did.
#[derive(Clone, PartialEq, Eq)]
pub enum Step {
    /// It awaits source, and has forgotten what was on its line.
    Ready,
    /// It has received the source, and begins to run it.
    Accepted,
    /// Raw paste begins; so many bytes may follow, and as many again for each [`Step::More`].
    Window(u16),
    /// It has no raw paste, and awaits plain source. Old firmware says so by [`Step::Ready`].
    NoPaste,
    /// It has taken a window's worth of source.
    More,
    /// It wants no more source: answer with [`RUN`], unless that was sent already.
    Enough,
    /// It has run the source.
    Answer(Answer),
    /// It started anew: what was on its line and in its memory is gone.
    Restarted,
    /// Its file system is lost.
    Corrupt,
}

/// Never shows an answer: it may be a secret.
impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("Ready"),
            Self::Accepted => f.write_str("Accepted"),
            Self::Window(bytes) => write!(f, "Window({bytes})"),
            Self::NoPaste => f.write_str("NoPaste"),
            Self::More => f.write_str("More"),
            Self::Enough => f.write_str("Enough"),
            Self::Answer(answer) => answer.fmt(f),
            Self::Restarted => f.write_str("Restarted"),
            Self::Corrupt => f.write_str("Corrupt"),
        }
    }
}

/// What the source printed, and the traceback if it failed. Both may hold a secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Answer {
    out: Zeroizing<Vec<u8>>,
    err: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// What stands in the last line's worth between `Q`, the word, `:` and `:Z` at a line's end; noise around it is left
    /// out.
    pub fn fenced(&self, word: &str) -> Option<&[u8]> {
        let start = format!("Q{word}:");
        let from = rfind(&self.out, start.as_bytes())? + start.len();
        let rest = &self.out[from..];
        let ends = |at: usize| rest[at..].starts_with(b":Z") && matches!(rest.get(at + 2), Some(b'\r' | b'\n'));
        (0..rest.len()).find(|at| ends(*at)).map(|to| &rest[..to])
    }

    /// Did the source fail?
    pub fn failed(&self) -> bool {
        !self.err.is_empty()
    }

    /// The kind of the exception, and for the system's errors its number. Nothing else of a traceback is shown: it may
    /// quote what the source held.
    pub fn exception(&self) -> Option<String> {
        let line = self.err.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).rfind(|line| !line.is_empty())?;
        let end = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (kind, rest) = line.split_at(end);
        let known = kind.len() <= 32 && kind.iter().all(u8::is_ascii_alphabetic);
        let kind = std::str::from_utf8(kind).ok().filter(|kind| {
            known && ["Error", "Exception", "Interrupt", "Exit", "Iteration"].iter().any(|end| kind.ends_with(end))
        })?;
        let number: String = rest
            .iter()
            .map(|byte| char::from(*byte))
            .skip_while(|c| !c.is_ascii_digit())
            .take_while(char::is_ascii_digit)
            .collect();
        let numbered = kind == "OSError" && (1..=4).contains(&number.len());
        Some(if numbered { format!("{kind} {number}") } else { kind.to_owned() })
    }
}

/// Shows the lengths only.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({} and {} bytes)", self.out.len(), self.err.len())
    }
}

/// What the next bytes are taken for.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Expect {
    /// Nothing was asked.
    #[default]
    Nothing,
    /// The answer to [`PASTE`], up to the `R` that begins it.
    PasteAnswer,
    /// What follows the `R`.
    PasteVerdict,
    /// The low byte of the window.
    WindowLow,
    /// The high byte of the window.
    WindowHigh(u8),
    /// Room for more source.
    PasteRoom,
    /// `OK`, then what the source prints.
    Plain { accepted: bool, last: u8 },
    /// What the source prints.
    Out,
    /// The traceback.
    Err,
    /// The `>` that ends an answer.
    Prompt,
}

/// The raw REPL, as far as its bytes have been seen.
#[derive(Default)]
pub struct RawRepl {
    expect: Expect,
    answer: Answer,
    /// The last bytes, to find known texts in.
    tail: Zeroizing<Vec<u8>>,
}

impl RawRepl {
    /// Source is about to be sent in the plain way; what comes next is its answer.
    pub fn expect_answer(&mut self) {
        self.begin(Expect::Plain { accepted: false, last: 0 });
    }

    /// [`PASTE`] is about to be sent.
    pub fn expect_paste(&mut self) {
        self.begin(Expect::PasteAnswer);
    }

    /// Forgets everything: another device is at the wire, or the line is to be cleared.
    pub fn reset(&mut self) {
        self.begin(Expect::Nothing);
        self.tail.clear();
    }

    fn begin(&mut self, expect: Expect) {
        self.expect = expect;
        self.answer = Answer::default();
    }

    /// Takes what came and appends what it means. Any split of the same bytes gives the same steps.
    pub fn feed(&mut self, bytes: &[u8], steps: &mut VecDeque<Step>) {
        for &byte in bytes {
            if let Some(step) = self.known_text(byte) {
                match step {
                    // A device that was slow to start answers late to what it was asked before; the answer is still to come.
                    Step::Ready if self.awaits_answer() => {}
                    Step::Ready => self.begin(Expect::Nothing),
                    // An answer that was begun will never end; the texts after a restart are no answer.
                    Step::Restarted => self.begin(Expect::Nothing),
                    _ => {}
                }
                steps.push_back(step);
            } else {
                self.take(byte, steps);
            }
        }
    }

    /// True while the answer to plain source has not begun.
    fn awaits_answer(&self) -> bool {
        matches!(self.expect, Expect::Plain { accepted: false, .. })
    }

    /// Texts that mean the same wherever they come.
    fn known_text(&mut self, byte: u8) -> Option<Step> {
        if self.tail.len() == TAIL_BYTES_MAX {
            self.tail.remove(0);
        }
        if self.tail.capacity() == 0 {
            self.tail.reserve_exact(TAIL_BYTES_MAX);
        }
        self.tail.push(byte);
        match byte {
            b'>' => {
                let line = self.tail.strip_suffix(b"\n>")?;
                line.strip_suffix(b"\r").unwrap_or(line).ends_with(BANNER).then_some(Step::Ready)
            }
            b't' if self.tail.ends_with(SOFT_RESET) => Some(Step::Restarted),
            b'.' if self.tail.ends_with(STARTED) => Some(Step::Restarted),
            b'd' if self.tail.ends_with(CORRUPT) => Some(Step::Corrupt),
            _ => None,
        }
    }

    fn take(&mut self, byte: u8, steps: &mut VecDeque<Step>) {
        match (self.expect, byte) {
            (Expect::Nothing, _) => {}
            // Noise may hold an `R`, and so does the start of an old firmware's banner: what follows tells.
            (Expect::PasteAnswer, b'R') => self.expect = Expect::PasteVerdict,
            (Expect::PasteAnswer, _) => {}
            (Expect::PasteVerdict, 0x01) => self.expect = Expect::WindowLow,
            (Expect::PasteVerdict, 0x00) => {
                self.expect = Expect::Nothing;
                steps.push_back(Step::NoPaste);
            }
            (Expect::PasteVerdict, b'R') => {}
            (Expect::PasteVerdict, _) => self.expect = Expect::PasteAnswer,
            (Expect::WindowLow, low) => self.expect = Expect::WindowHigh(low),
            (Expect::WindowHigh(low), high) => {
                self.expect = Expect::PasteRoom;
                steps.push_back(Step::Window(u16::from_le_bytes([low, high])));
            }
            (Expect::PasteRoom, 0x01) => steps.push_back(Step::More),
            (Expect::PasteRoom, RUN) => {
                self.expect = Expect::Out;
                steps.push_back(Step::Enough);
            }
            (Expect::PasteRoom, _) => {}
            (Expect::Plain { .. } | Expect::Out, RUN) => self.expect = Expect::Err,
            (Expect::Plain { accepted, last }, _) => {
                if !accepted && (last, byte) == (b'O', b'K') {
                    steps.push_back(Step::Accepted);
                }
                self.expect = Expect::Plain { accepted: accepted || (last, byte) == (b'O', b'K'), last: byte };
                keep(&mut self.answer.out, byte);
            }
            (Expect::Out, _) => keep(&mut self.answer.out, byte),
            (Expect::Err, RUN) => self.expect = Expect::Prompt,
            (Expect::Err, _) => keep(&mut self.answer.err, byte),
            (Expect::Prompt, b'>') => {
                self.expect = Expect::Nothing;
                steps.push_back(Step::Answer(std::mem::take(&mut self.answer)));
            }
            (Expect::Prompt, _) => {}
        }
    }
}

/// Shows no bytes.
impl fmt::Debug for RawRepl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawRepl").field("answer", &self.answer).finish_non_exhaustive()
    }
}

/// Appends a byte; of too long a text the first half goes, since what matters is said last.
fn keep(kept: &mut Zeroizing<Vec<u8>>, byte: u8) {
    // Once for the whole text: a vector that grows leaves copies behind that nobody wipes.
    if kept.capacity() == 0 {
        kept.reserve_exact(ANSWER_BYTES_MAX);
    }
    if kept.len() == ANSWER_BYTES_MAX {
        kept.drain(..ANSWER_BYTES_MAX / 2);
    }
    kept.push(byte);
}

/// Where the text stands last.
fn rfind(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len().max(1)).rposition(|window| window == text)
}

#[cfg(test)]
#[path = "raw_repl_tests.rs"]
mod tests;
