//! One AZ3166 board: bytes in, bytes out, as its firmware does it; and the file that is its chip.
//!
//! Source: the AZ3166's own firmware (console, commands, limits, texts).

use std::{fs, io, io::Write, path::Path};

use super::{BoardRecord, Fault};

/// What the board's line buffer holds, in bytes.
const LINE_BYTES_MAX: usize = 1024;
/// What the chip's zone for the connection string holds, in bytes.
const CREDENTIAL_BYTES_MAX: usize = 511;
/// How many words a command has.
const WORDS_MAX: usize = 4;

const PROMPT: &[u8] = b"\r\n# ";
const BANNER: &[u8] = b"Configuration console:\r\n";
const PROGRAM: &[u8] = b"You can 1. press Button A and reset to enter configuration mode.\r\n        \
                         2. press Button B and reset to enter AP mode.\r\n\r\n";

/// The commands and what `help` says of them.
const COMMANDS: [(&str, &str); 9] = [
    ("help", "Help document"),
    ("version", "System version"),
    ("exit", "Exit and reboot"),
    ("scan", "Scan Wi-Fi AP"),
    ("set_wifissid", "Set Wi-Fi SSID"),
    ("set_wifipwd", "Set Wi-Fi password"),
    ("set_az_iothub", "Set the connection string of Microsoft Azure IoT Hub"),
    ("set_dps_uds", "Set DPS Unique Device String (DPS UDS)"),
    ("enable_secure", "Enable secure channel between AZ3166 and secure chip"),
];

/// What comes of a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    GoOn,
    /// It was told to restart, and the operator takes it out.
    Restart,
    CablePulled,
}

/// The board.
pub(super) struct Board {
    pub(super) number: u32,
    pub(super) fault: Option<Fault>,
    /// What the chip holds.
    pub(super) holds: Option<String>,
    pub(super) writes: u32,
    line: Vec<u8>,
    frozen: bool,
}

impl Board {
    pub(super) fn new(number: u32, fault: Option<Fault>) -> Self {
        Self { number, fault, holds: None, writes: 0, line: Vec::new(), frozen: false }
    }

    /// Power on.
    pub(super) fn boot(&mut self, out: &mut Vec<u8>) {
        self.line.clear();
        self.frozen = false;
        match self.fault {
            Some(Fault::Silent) => self.frozen = true,
            Some(Fault::Program) => {
                self.frozen = true;
                out.extend_from_slice(PROGRAM);
            }
            _ => {
                out.extend_from_slice(BANNER);
                help(out);
                out.extend_from_slice(PROMPT);
            }
        }
    }

    /// Says and does nothing more.
    pub(super) fn freeze(&mut self) {
        self.frozen = true;
    }

    /// One byte from the host.
    pub(super) fn take(&mut self, byte: u8, out: &mut Vec<u8>) -> Act {
        if self.frozen {
            return Act::GoOn;
        }
        match byte {
            b'\r' => return self.end_of_line(out),
            0x08 | 0x7f => {
                if self.line.pop().is_some() {
                    out.extend_from_slice(b"\x08 \x08");
                }
            }
            b'\t' => self.character(b' ', out),
            0..=0x1f => {}
            _ => self.character(byte, out),
        }
        Act::GoOn
    }

    fn character(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.line.len() >= LINE_BYTES_MAX - 1 {
            self.line.clear();
            out.extend_from_slice(b"\r\nError: input buffer overflow\r\n");
            out.extend_from_slice(PROMPT);
            return;
        }
        const SET: &[u8] = b"set_az_iothub ";
        let masked = [&b"set_wifipwd "[..], b"set_dps_uds "].iter().any(|name| self.line.starts_with(name))
            || matches!(self.fault, Some(Fault::Masks { shown }) if self.line.starts_with(SET) && self.line.len() >= SET.len() + shown);
        self.line.push(byte);
        out.push(if masked { b'*' } else { byte });
    }

    fn end_of_line(&mut self, out: &mut Vec<u8>) -> Act {
        let line = std::mem::take(&mut self.line);
        out.extend_from_slice(b"\r\n");
        if line.is_empty() {
            // The one line's end is the prompt's own.
            out.extend_from_slice(&PROMPT[2..]);
            return Act::GoOn;
        }
        let act = match words(&line) {
            Some(words) => self.command(&words, out),
            None => {
                out.extend_from_slice(b"Error:Syntax error\r\n");
                Act::GoOn
            }
        };
        if act == Act::GoOn {
            out.extend_from_slice(PROMPT);
        }
        act
    }

    fn command(&mut self, words: &[String], out: &mut Vec<u8>) -> Act {
        let Some((name, arguments)) = words.split_first() else { return Act::GoOn };
        match name.as_str() {
            "help" => help(out),
            "version" => out.extend_from_slice(
                b"DevKitSDK version: 1.6.2\r\nMico version: 3.1.0\r\nmbed-os version: 5.2.0\r\n\
                  mbed TLS version: 2.4.0\r\nWIFI version: wl0: Sep 10 2014 11:28:46 version 5.90.230.10\r\n",
            ),
            "scan" => out.extend_from_slice(b"No available network.\r\n"),
            "set_az_iothub" => self.set_az_iothub(arguments, out),
            // What these store, nobody looks at here.
            "set_wifissid" => set(arguments, 31, "Wi-Fi SSID", "Wi-Fi SSID", out),
            "set_wifipwd" => set(arguments, 63, "Wi-Fi password", "Wi-Fi password", out),
            "set_dps_uds" => set(arguments, 64, "DPS UDS", "UDS", out),
            "exit" => {
                // Nobody holds its button any more, so its user's program begins.
                out.extend_from_slice(b"Reboot\r\n");
                out.extend_from_slice(PROGRAM);
                return Act::Restart;
            }
            "enable_secure" => out.extend_from_slice(b"Usage: enable_secure <level>.\r\n"),
            other => out.extend_from_slice(format!("\r\nError:Invalid command: {other}\r\n").as_bytes()),
        }
        Act::GoOn
    }

    fn set_az_iothub(&mut self, arguments: &[String], out: &mut Vec<u8>) {
        let [credential, ..] = arguments else {
            out.extend_from_slice(
                b"Usage: set_az_iothub <connection string>. Please provide the connection string of Azure IoT hub.\r\n",
            );
            return;
        };
        // The board looks at the length only.
        if credential.len() > CREDENTIAL_BYTES_MAX || credential.is_empty() {
            out.extend_from_slice(b"Invalid Azure IoT hub connection string.\r\n");
            return;
        }
        self.writes += 1;
        if self.fault == Some(Fault::VerifyFails) {
            let half = credential.chars().take(credential.len() / 2).collect();
            self.holds = Some(half);
            out.extend_from_slice(b"ERROR: Verify failed.\r\n");
        } else {
            self.holds = Some(credential.clone());
            out.extend_from_slice(b"INFO: Set Azure Iot hub connection string successfully.\r\n");
        }
    }
}

fn set(arguments: &[String], bytes_max: usize, done: &str, invalid: &str, out: &mut Vec<u8>) {
    let fits = arguments.first().is_none_or(|text| text.len() <= bytes_max);
    let text = if fits { format!("INFO: Set {done} successfully.\r\n") } else { format!("Invalid {invalid}.\r\n") };
    out.extend_from_slice(text.as_bytes());
}

fn help(out: &mut Vec<u8>) {
    for (name, text) in COMMANDS {
        out.extend_from_slice(format!(" - {name}: {text}.\r\n").as_bytes());
    }
}

/// Splits a line at its spaces; `"` quotes, `\"` and `\ ` escape. None when a quote is left open.
fn words(line: &[u8]) -> Option<Vec<String>> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let (mut in_word, mut quoted) = (false, false);
    let mut bytes = line.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let taken = match byte {
            b'\\' if matches!(bytes.peek(), Some(b'"' | b' ')) => bytes.next(),
            b'"' => {
                quoted = !quoted;
                if !in_word {
                    words.push(Vec::new());
                    in_word = true;
                }
                continue;
            }
            b' ' if !quoted => {
                in_word = false;
                continue;
            }
            other => Some(other),
        };
        if !in_word {
            words.push(Vec::new());
            in_word = true;
        }
        if let (Some(word), Some(byte)) = (words.last_mut(), taken) {
            word.push(byte);
        }
    }
    words.truncate(WORDS_MAX);
    (!quoted).then(|| words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

/// Stores what a board holds; only this user can read it.
pub(super) fn store(folder: &Path, record: &BoardRecord) -> io::Result<()> {
    // A file of that kind has mode 0600 and goes away when it is not kept.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(serde_json::to_string(record)?.as_bytes())?;
    file.persist(folder.join(format!("board-{:04}.json", record.board)))?;
    Ok(())
}

/// The boards of a folder, by number; for a look at boards that another process has.
///
/// # Errors
/// The folder can't be read, or holds something else under a board's name.
pub fn stored(folder: &Path) -> io::Result<Vec<BoardRecord>> {
    let mut records = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("board-") && name.ends_with(".json") {
            records.push(serde_json::from_slice(&fs::read(&path)?)?);
        }
    }
    records.sort_by_key(|record: &BoardRecord| record.board);
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(board: &mut Board, typed: &[u8]) -> String {
        let mut out = Vec::new();
        for &byte in typed {
            board.take(byte, &mut out);
        }
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn it_starts_with_a_banner_and_takes_a_connection_string() {
        let mut board = Board::new(1, None);
        let mut out = Vec::new();
        board.boot(&mut out);
        assert!(out.starts_with(b"Configuration console:\r\n - help: ") && out.ends_with(b".\r\n\r\n# "));
        let said = talk(&mut board, b"set_az_iothub HostName=h;DeviceId=d;SharedAccessKey=aGk=\r");
        let expected = "set_az_iothub HostName=h;DeviceId=d;SharedAccessKey=aGk=\r\n\
                        INFO: Set Azure Iot hub connection string successfully.\r\n\r\n# ";
        assert_eq!(said, expected);
        assert_eq!((board.holds.as_deref(), board.writes), (Some("HostName=h;DeviceId=d;SharedAccessKey=aGk="), 1));
    }

    #[test]
    fn only_carriage_return_ends_a_line_and_deleting_is_echoed() {
        let mut board = Board::new(1, None);
        assert_eq!(talk(&mut board, b"\n\x01he\nlx\x7fp"), "helx\x08 \x08p");
        assert!(talk(&mut board, b"\r").contains(" - version: "));
        assert_eq!(talk(&mut board, b"\r"), "\r\n# ");
    }

    #[test]
    fn secrets_are_echoed_as_stars_but_for_the_connection_string() {
        let mut board = Board::new(1, None);
        let said = talk(&mut board, b"set_wifipwd hidden\r");
        assert!(said.starts_with("set_wifipwd ******\r\nINFO: Set Wi-Fi password successfully.\r\n"), "{said}");
    }

    #[test]
    fn limits_are_its_own() {
        let mut board = Board::new(1, None);
        let long = [b"set_az_iothub ".as_slice(), &[b'x'; 512], b"\r"].concat();
        assert!(talk(&mut board, &long).contains("\r\nInvalid Azure IoT hub connection string.\r\n"));
        assert!(talk(&mut board, b"set_az_iothub\r").contains("\r\nUsage: set_az_iothub"));
        assert!(talk(&mut board, b"set_az_iotkub x\r").contains("\r\nError:Invalid command: set_az_iotkub\r\n"));
        assert!(talk(&mut board, b"set_wifissid \"x\r").contains("\r\nError:Syntax error\r\n"));
        assert!(talk(&mut board, &[b'x'; 1024]).contains("\r\nError: input buffer overflow\r\n"));
        assert_eq!((board.holds, board.writes), (None, 0));
    }

    #[test]
    fn words_are_split_as_the_board_does() {
        let split = |line: &str| words(line.as_bytes());
        assert_eq!(split("a  b").expect("words"), ["a", "b"]);
        assert_eq!(split(r#"a "b c" d\ e \"f"#).expect("words"), ["a", "b c", "d e", "\"f"]);
        assert_eq!(split("\"a"), None);
        assert_eq!(split(r#"a """#).expect("words"), ["a", ""]);
    }
}
