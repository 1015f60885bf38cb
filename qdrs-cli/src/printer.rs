//! What commands print: results to stdout, talk to stderr; colours only where a person looks.
//!
//! The operator's screen is `screen`'s; this is for the commands that say something once.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::json;

use crate::{failure::Failure, outcome::Outcome, settings::Settings};

/// Prints, as the global flags ask.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    /// Print JSON on stdout.
    pub json: bool,
    /// Say only what went wrong.
    pub quiet: bool,
}

impl From<&Settings> for Printer {
    fn from(settings: &Settings) -> Self {
        Self { json: settings.json, quiet: settings.quiet }
    }
}

impl Printer {
    /// A result, to stdout. Colours are taken out where nobody sees them.
    pub fn result(self, text: impl AsRef<str>) {
        ignore_closed(write!(anstream::stdout().lock(), "{}", text.as_ref()));
    }

    /// A result as one line of JSON, to stdout.
    pub fn event(self, event: &impl Serialize) {
        let Ok(line) = serde_json::to_string(event) else { return };
        ignore_closed(writeln!(io::stdout().lock(), "{line}"));
    }

    /// What ends every run in JSON: how it went.
    pub fn summary(self, outcome: Outcome) {
        if self.json {
            self.event(&json!({ "v": 1, "event": "summary", "outcome": outcome.as_str(), "exit": outcome.code() }));
        }
    }

    /// What is being done, to stderr.
    pub fn talk(self, text: impl AsRef<str>) {
        if !self.quiet {
            ignore_closed(writeln!(anstream::stderr().lock(), "{}", text.as_ref()));
        }
    }

    /// Something that a person should mend although the command goes on.
    pub fn warn(self, text: impl AsRef<str>) {
        let yellow = anstyle::AnsiColor::Yellow.on_default().bold();
        ignore_closed(writeln!(anstream::stderr().lock(), "{yellow}warning:{yellow:#} {}", text.as_ref()));
    }

    /// Why the command ended early: to stderr for people, to stdout for programs.
    pub fn failure(self, failure: &Failure) {
        if self.json {
            self.event(&failure.json());
        }
        self.summary(failure.outcome());
        ignore_closed(write!(anstream::stderr().lock(), "{}", failure.said()));
    }
}

/// Text that can't move the terminal's cursor or change its colours: serials, devices and services may send anything.
pub fn printable(text: &str) -> String {
    qdrs_core::serial::visible(text)
}

/// Writes to stdout what was made for it; a reader that has seen enough (`qdrs man | head`) is no fault.
///
/// # Errors
///
/// When stdout can't be written for another reason, such as a full disk.
pub fn to_stdout(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    unless_closed(stdout.write_all(bytes).and_then(|()| stdout.flush()))
}

fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// A reader that has seen enough (`qdrs report | head`) is no fault.
fn ignore_closed(result: io::Result<()>) {
    let _ = result;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_went_away_is_no_fault_and_a_full_disk_is_one() {
        assert!(unless_closed(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        assert!(unless_closed(Err(io::ErrorKind::StorageFull.into())).is_err());
    }
}
