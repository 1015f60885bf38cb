//! A console with a prompt and an echo, as the MXChip AZ3166 has it: bytes in, steps out.
//!
//! The console says lines, then the prompt `# ` at the start of a line; what follows the prompt on that line is the
//! echo of what the host sends. An echo may be a secret, so it is handed on byte by byte and never kept; nor does
//! anything here print what it holds. The stream is bytes, not text: it may be cut anywhere, hold anything, never end.
//!
//! Source: the AZ3166's own firmware, and sessions with it.

use std::{collections::VecDeque, fmt};

use zeroize::Zeroizing;

/// The prompt, at the start of a line.
const PROMPT: &[u8] = b"# ";

/// What is kept of one line, in bytes; the rest of a longer one is dropped.
pub const LINE_BYTES_MAX: usize = 512;

/// What the console did.
#[derive(Clone, PartialEq, Eq)]
pub enum Step {
    /// The console awaits a command.
    Prompt,
    /// One byte came back on the prompt's line: the echo, maybe masked, maybe a piece of a secret.
    Echo(u8),
    /// The prompt's line ended: the command runs.
    EchoEnd,
    /// A whole line that is not an echo.
    Line(Line),
}

/// Never shows the echo: it may be a secret.
impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prompt => f.write_str("Prompt"),
            Self::Echo(_) => f.write_str("Echo"),
            Self::EchoEnd => f.write_str("EchoEnd"),
            Self::Line(line) => line.fmt(f),
        }
    }
}

/// A line without its end. It may hold a secret too, when the device repeats what it did not understand.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Line(Zeroizing<Vec<u8>>);

impl Line {
    /// The bytes, at most [`LINE_BYTES_MAX`].
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Appends a byte; dropped when the line is as long as a line can be.
    pub fn push(&mut self, byte: u8) {
        if self.0.len() < LINE_BYTES_MAX {
            // Once for the whole line: a vector that grows leaves copies behind that nobody wipes.
            if self.0.capacity() == 0 {
                self.0.reserve_exact(LINE_BYTES_MAX);
            }
            self.0.push(byte);
        }
    }

    /// Does the line begin so?
    pub fn starts_with(&self, text: &str) -> bool {
        self.0.starts_with(text.as_bytes())
    }

    /// Does the text stand anywhere in the line?
    pub fn contains(&self, text: &str) -> bool {
        self.0.windows(text.len().max(1)).any(|window| window == text.as_bytes())
    }
}

/// Shows the length only.
impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({} bytes)", self.0.len())
    }
}

/// The console, as far as its bytes have been seen.
#[derive(Default)]
pub struct Console {
    /// Of the line that has not ended yet; empty on the prompt's line.
    line: Line,
    /// On the prompt's line?
    echoing: bool,
}

impl Console {
    /// Takes what came and appends what it means. Any split of the same bytes gives the same steps.
    pub fn feed(&mut self, bytes: &[u8], steps: &mut VecDeque<Step>) {
        for &byte in bytes {
            match byte {
                // Carriage returns only ever come with a line's end.
                b'\r' => {}
                b'\n' if self.echoing => {
                    self.echoing = false;
                    steps.push_back(Step::EchoEnd);
                }
                b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    // The console sends an empty line before each answer and each prompt; it means nothing.
                    if !line.0.is_empty() {
                        steps.push_back(Step::Line(line));
                    }
                }
                _ if self.echoing => steps.push_back(Step::Echo(byte)),
                _ => self.character(byte, steps),
            }
        }
    }

    fn character(&mut self, byte: u8, steps: &mut VecDeque<Step>) {
        self.line.push(byte);
        if self.line.as_bytes() == PROMPT {
            self.line = Line::default();
            self.echoing = true;
            steps.push_back(Step::Prompt);
        }
    }

    /// Does the line that has not ended yet begin so? For a last word that is not followed by a line's end.
    pub fn unfinished_starts_with(&self, text: &str) -> bool {
        self.line.starts_with(text)
    }

    /// Forgets everything: another device is at the wire.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("echoing", &self.echoing).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn steps_of(bytes: &[u8]) -> VecDeque<Step> {
        let mut steps = VecDeque::new();
        Console::default().feed(bytes, &mut steps);
        steps
    }

    fn line(text: &str) -> Step {
        Step::Line(Line(Zeroizing::new(text.as_bytes().to_vec())))
    }

    #[test]
    fn a_session_is_told_in_steps() {
        let mut expected = vec![line("Configuration console:"), line(" - help: Help document."), Step::Prompt];
        expected.extend(b"version".map(Step::Echo));
        expected.extend([Step::EchoEnd, line("DevKitSDK version: 1.6.2"), Step::Prompt]);
        let session = b"Configuration console:\r\n - help: Help document.\r\n\r\n# version\r\nDevKitSDK version: 1.6.2\r\n\r\n# ";
        assert_eq!(steps_of(session), expected);
    }

    #[test]
    fn an_empty_command_gives_the_prompt_again() {
        assert_eq!(steps_of(b"\r\n# \r\n# "), [Step::Prompt, Step::EchoEnd, Step::Prompt]);
    }

    #[test]
    fn a_prompt_inside_a_line_is_none() {
        assert_eq!(steps_of(b"take # of units\r\n #\r\n#\r\n"), [line("take # of units"), line(" #"), line("#")]);
    }

    #[test]
    fn nothing_shows_a_secret() {
        let mut console = Console::default();
        let mut steps = VecDeque::new();
        console.feed(b"SharedAccessKey=c2VjcmV0\r\n# c2VjcmV0\r\nc2Vj", &mut steps);
        let shown = format!("{steps:?} {console:?}");
        assert!(!shown.contains("c2Vj") && !shown.contains("99"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_steps(pieces in prop::collection::vec(prop::collection::vec(
            prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'#'), Just(b' '), any::<u8>()], 0..20), 0..20)) {
            let whole = steps_of(&pieces.concat());
            let mut steps = VecDeque::new();
            let mut console = Console::default();
            for piece in &pieces {
                console.feed(piece, &mut steps);
            }
            prop_assert_eq!(whole, steps);
        }

        #[test]
        fn garbage_neither_panics_nor_piles_up(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
            let mut console = Console::default();
            let mut steps = VecDeque::new();
            console.feed(&bytes, &mut steps);
            prop_assert!(console.line.as_bytes().len() <= LINE_BYTES_MAX);
            for step in steps {
                if let Step::Line(line) = step {
                    prop_assert!((1..=LINE_BYTES_MAX).contains(&line.as_bytes().len()));
                }
            }
        }
    }
}
