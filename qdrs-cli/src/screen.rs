//! Everything the operator sees, and nothing else does: talk and progress on standard error, data on standard output.
//!
//! On a terminal each slot has a line and the batch a bar; elsewhere (a log, CI) each event is a plain line. With
//! `--json` each event is one object a line on standard output. `-q` leaves what went wrong and the summary.
//! `NO_COLOR` is heeded. What is shown never holds a secret, since no [`Event`] can.

use std::{
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use jiff::Timestamp;

mod event;
mod terminal;
#[cfg(test)]
mod tests;
mod waits;
mod words;

pub use event::{Ending, Event, Fault, Intent, Step, Summary, VERSION, Verdict, json};
use terminal::Terminal;
pub(crate) use terminal::style_bar;
use waits::Waits;

/// How much is shown, and where.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScreenOptions {
    /// Events as JSON on standard output, one object a line.
    pub json: bool,
    /// Only what went wrong, and the summary.
    pub quiet: bool,
    /// Every step of every slot as a line.
    pub verbose: bool,
}

enum Talk {
    Terminal(Terminal),
    Plain(Box<dyn Write + Send>),
}

struct Inner {
    talk: Talk,
    data: Box<dyn Write + Send>,
    options: ScreenOptions,
    colour: bool,
    waits: Waits,
}

/// A handle to the one screen; clones draw on the same.
#[derive(Clone)]
pub struct Screen(Arc<Mutex<Inner>>);

impl Screen {
    /// The screen of this process.
    pub fn new(options: ScreenOptions) -> Self {
        let stderr = io::stderr();
        let colour = anstream::AutoStream::choice(&stderr) != anstream::ColorChoice::Never;
        let talk = if stderr.is_terminal() && !options.quiet {
            Talk::Terminal(Terminal::new(colour))
        } else {
            Talk::Plain(Box::new(stderr))
        };
        Self(Arc::new(Mutex::new(Inner { talk, data: Box::new(io::stdout()), options, colour, waits: Waits::default() })))
    }

    /// A screen that writes plain lines to `talk` and data to `data`: for tests, and for who embeds the pipeline.
    pub fn to(talk: impl Write + Send + 'static, data: impl Write + Send + 'static, options: ScreenOptions) -> Self {
        let (talk, data) = (Talk::Plain(Box::new(talk)), Box::new(data));
        Self(Arc::new(Mutex::new(Inner { talk, data, options, colour: false, waits: Waits::default() })))
    }

    /// Shows an event.
    ///
    /// What can't be shown (a closed pipe, a terminal that is gone) is left unsaid: a line must not stop for it.
    pub fn show(&self, event: &Event) {
        self.show_at(event, Instant::now());
    }

    fn show_at(&self, event: &Event, now: Instant) {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { talk, data, options, colour, waits } = &mut *guard;
        waits.note(event, now);
        if options.json {
            let _ = writeln!(data, "{}", json(event, Timestamp::now())).and_then(|()| data.flush());
        } else if let Some(line) = words::plan_line(event) {
            let _ = writeln!(data, "{line}").and_then(|()| data.flush());
        }
        match talk {
            Talk::Terminal(terminal) => {
                terminal.draw(event);
                if let Some(lines) = words::lines(event, *colour, options.verbose, options.quiet) {
                    terminal.line(&lines);
                }
            }
            Talk::Plain(out) => {
                if let Some(lines) = words::lines(event, *colour, options.verbose, options.quiet) {
                    let _ = writeln!(out, "{lines}").and_then(|()| out.flush());
                }
            }
        }
    }

    /// Tells what the slots wait for, where it is time to. A terminal shows it all the time; to be called now and then.
    pub fn remind(&self, now: Instant) {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { talk, options, waits, .. } = &mut *guard;
        let due = waits.due(now);
        if let (Talk::Plain(out), false) = (talk, options.quiet) {
            for line in due {
                let _ = writeln!(out, "{line}").and_then(|()| out.flush());
            }
        }
    }

    /// A sentence that is no failure.
    pub fn notice(&self, text: impl Into<String>) {
        self.show(&Event::Notice { slot: None, text: text.into() });
    }
}
