//! The screen on a terminal: a line for each slot, a bar for the batch, and the big lines above them.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    event::{Event, Step, Verdict},
    words,
};

/// How often the bars are drawn anew, so that times go on while nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// The bars. All drawing goes through here, so that lines and bars never mix.
pub(super) struct Terminal {
    all: MultiProgress,
    slots: Vec<ProgressBar>,
    batch: ProgressBar,
    colour: bool,
}

impl Terminal {
    /// An empty screen on standard error.
    pub(super) fn new(colour: bool) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        Self { all, slots: Vec::new(), batch: ProgressBar::hidden(), colour }
    }

    /// A line above the bars.
    pub(super) fn line(&self, line: &str) {
        // A terminal that is gone is no reason to stop a line.
        let _ = self.all.println(line);
    }

    /// Draws what an event changes in the bars.
    pub(super) fn draw(&mut self, event: &Event) {
        match event {
            Event::Start { serials, done_before, slots, .. } => {
                self.clear();
                let style = style("{prefix} {spinner} {msg}");
                self.slots = (1..=slots.len())
                    .map(|slot| {
                        let bar = self
                            .all
                            .add(ProgressBar::new_spinner())
                            .with_style(style.clone())
                            .with_prefix(format!("slot {slot:<2}"));
                        bar.enable_steady_tick(TICK);
                        bar
                    })
                    .collect();
                let style = style_bar(self.colour);
                self.batch = self.all.add(ProgressBar::new(*serials as u64)).with_style(style);
                self.batch.set_position(*done_before as u64);
                // What was done before says nothing about how fast this run is.
                self.batch.reset_eta();
                self.batch.enable_steady_tick(TICK);
            }
            Event::Slot { slot, step, serial, hint, fault } => {
                let Some(bar) = self.slots.get(slot.wrapping_sub(1)) else { return };
                // The verdict stays until the device is out: it must be plain which serial is in it.
                if *step == Step::TakeDeviceOut && fault.is_none() {
                    return;
                }
                let serial = serial.as_deref().map_or(String::new(), |serial| format!("{}  ", words::clean(serial)));
                let why = fault.as_ref().map(|fault| &fault.message).or(hint.as_ref());
                let why = why.map_or(String::new(), |why| format!(": {}", words::clean(why)));
                bar.set_message(format!("{serial}{}{why}", step.text()));
            }
            Event::Wait { why, seconds } => {
                self.batch.set_message(format!("waiting {}: {}", words::seconds(*seconds), words::clean(why)))
            }
            Event::Retry(ending) => {
                if let Some(bar) = ending.slot.and_then(|slot| self.slots.get(slot.wrapping_sub(1))) {
                    bar.set_message(format!("{}  failed, is tried again - take the device out", words::clean(&ending.serial)));
                }
            }
            Event::Result(ending) => {
                self.batch.set_message("");
                if ending.verdict != Verdict::Written {
                    self.batch.inc(1);
                }
                if let Some(bar) = ending.slot.and_then(|slot| self.slots.get(slot.wrapping_sub(1))) {
                    let advice = if ending.verdict == Verdict::Elsewhere { "" } else { " take the device out" };
                    bar.set_message(format!("{}{advice}", words::big_line(ending, self.colour)));
                }
            }
            Event::Summary(_) => self.clear(),
            Event::Notice { slot: Some(slot), text } => {
                if let Some(bar) = self.slots.get(slot.wrapping_sub(1)) {
                    bar.set_message(words::clean(text));
                }
            }
            Event::Notice { slot: None, .. } | Event::Plan { .. } => {}
        }
    }

    fn clear(&mut self) {
        for bar in self.slots.drain(..) {
            bar.finish_and_clear();
        }
        self.batch.finish_and_clear();
        self.batch = ProgressBar::hidden();
    }
}

/// A style of ours; the templates are constants, and a broken one would only look plain.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// A bar with the time left.
pub(crate) fn style_bar(colour: bool) -> ProgressStyle {
    let bar = if colour { "{bar:30.green}" } else { "{bar:30}" };
    style(&format!("{bar} {{pos}} of {{len}}  {{elapsed}} gone, about {{eta}} left  {{msg}}"))
}
