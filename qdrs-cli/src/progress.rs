//! How far a command has come that a person waits for: a bar with the time left on a terminal, a line now and then elsewhere.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressFinish};
use qdrs_core::client::{Client, Event};

use crate::{
    command,
    printer::{Printer, printable},
    screen::style_bar,
};

/// How often a line tells how far it has come where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// How often the bar is drawn anew, so that times go on while nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// The progress of one command; clones are the same one. Off the screen when dropped.
#[derive(Clone)]
pub struct Progress {
    bar: ProgressBar,
    printer: Printer,
    told: Arc<Mutex<Told>>,
}

/// When something was told last.
#[derive(Debug)]
struct Told {
    progress: Option<Instant>,
    wait: Option<Instant>,
}

impl Progress {
    /// Begins with so many things to do.
    pub fn new(total: usize, printer: Printer) -> Self {
        let target = if printer.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let colour = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
        let bar = ProgressBar::with_draw_target(Some(total as u64), target).with_style(style_bar(colour));
        let bar = bar.with_finish(ProgressFinish::AndClear);
        bar.enable_steady_tick(TICK);
        // What is done at once needs no line.
        Self { bar, printer, told: Arc::new(Mutex::new(Told { progress: Some(Instant::now()), wait: None })) }
    }

    /// One more is done.
    pub fn step(&self) {
        self.bar.set_message("");
        self.bar.inc(1);
        if self.bar.is_hidden() && is_due(&mut self.told().progress, Instant::now()) {
            self.printer.talk(line(self.bar.position(), self.bar.length().unwrap_or(0), self.bar.eta()));
        }
    }

    /// Says here what the client waits for. Many requests at once may wait for the same; a log hears it now and then.
    pub fn tell_waits(&self, client: &Client) {
        let progress = self.clone();
        client.on_event(move |event| match event {
            Event::Waiting { why, seconds } => progress.wait(format!("{why}; asking again in {seconds} s")),
            event => progress.bar.suspend(|| command::tell(event, progress.printer)),
        });
    }

    fn wait(&self, why: String) {
        if !self.bar.is_hidden() {
            self.bar.set_message(printable(&why));
        } else if is_due(&mut self.told().wait, Instant::now()) {
            self.printer.talk(why);
        }
    }

    /// Takes it off the screen.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_due(last: &mut Option<Instant>, now: Instant) -> bool {
    let due = last.is_none_or(|last| now.saturating_duration_since(last) >= LINE_EVERY);
    if due {
        *last = Some(now);
    }
    due
}

fn line(done: u64, total: u64, left: Duration) -> String {
    match done {
        done if done >= total => format!("{done} of {total}"),
        _ => format!("{done} of {total}, about {} left", HumanDuration(left)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_hears_of_it_at_once_and_then_now_and_then() {
        let start = Instant::now();
        let mut last = None;
        let said = (0..30).filter(|second| is_due(&mut last, start + Duration::from_secs(*second)));
        assert_eq!(said.collect::<Vec<_>>(), [0, 10, 20]);
    }

    #[test]
    fn a_line_tells_how_long_it_will_take() {
        assert_eq!(line(1200, 10_000, Duration::from_secs(440)), "1200 of 10000, about 7 minutes left");
        assert_eq!(line(10_000, 10_000, Duration::ZERO), "10000 of 10000");
    }
}
