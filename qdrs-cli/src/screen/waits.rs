//! What each slot waits for, so that a log says it too: at the start of each wait and every half minute.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    event::{Event, Step},
    words,
};

/// How long a person is given before they are asked; a device that is exchanged at once costs no line.
const START: Duration = Duration::from_secs(1);
/// How often a wait that lasts is told.
const EVERY: Duration = Duration::from_secs(30);

/// The slots' waits.
#[derive(Default)]
pub(super) struct Waits(BTreeMap<usize, Wait>);

struct Wait {
    line: String,
    since: Instant,
    next: Instant,
}

impl Waits {
    /// Notes what an event changes.
    pub(super) fn note(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Slot { slot, step: Step::Out, .. } => {
                self.0.remove(slot);
            }
            Event::Slot { slot, step, serial, hint, fault } => {
                let why = fault.as_ref().map(|fault| fault.message.as_str()).or(hint.as_deref());
                let line = words::slot_line(*slot, *step, serial.as_deref(), why);
                // A fault has a line of its own, at once.
                let first = if step.is_operators() && fault.is_none() { START } else { EVERY };
                self.0.insert(*slot, Wait { line, since: now, next: now + first });
            }
            Event::Summary(_) => self.0.clear(),
            _ => {}
        }
    }

    /// The lines that are due.
    pub(super) fn due(&mut self, now: Instant) -> Vec<String> {
        let due = self.0.values_mut().filter(|wait| now >= wait.next);
        due.map(|wait| {
            let lasted = now.saturating_duration_since(wait.since);
            wait.next = now + EVERY;
            if lasted < EVERY {
                // The next one is half a minute from its start.
                wait.next = wait.since + EVERY;
                return wait.line.clone();
            }
            format!("{} ({} so far)", wait.line, words::seconds(lasted.as_secs_f64()))
        })
        .collect()
    }
}
