//! What became of the serials that this station has made: those that were released meanwhile are work again.
//!
//! The owner may have released them, or another station with the same access code. One request at the start of a run tells
//! which are new; a journal that holds nothing as done has nothing to ask.

use std::{collections::HashMap, time::Duration};

use qdrs_core::api::PastRelease;
use tokio::time::{Instant, timeout_at};

use super::job::{Job, Trouble};
use crate::journal::{JobState, Step};

/// How long a run may wait for the answer: without it, it does what its journal knows.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

impl Job {
    /// Notes which of the serials that the journal holds as done were released since it last asked. A service that does not
    /// say keeps nobody from working.
    ///
    /// # Errors
    ///
    /// When the journal can't be written.
    pub(super) async fn hear_of_releases(&self) -> Result<(), Trouble> {
        let done: Vec<JobState> = self.journal.all().into_iter().filter(|state| state.confirmed_at.is_some()).collect();
        if done.is_empty() {
            return Ok(());
        }
        // What the service said to be done when the journal had been lost, is known by its serial only.
        let by_id: HashMap<_, _> = done.iter().filter_map(|state| Some((state.reservation?, state))).collect();
        let by_serial = done.iter().filter(|state| state.reservation.is_none());
        let by_serial: HashMap<_, _> = by_serial.map(|state| (state.serial.as_str(), state)).collect();
        let code = self.service.key_id().to_string();
        let deadline = Instant::now() + ANSWER_WITHIN;
        loop {
            let after = self.journal.heard(&code);
            let Ok(answer) = timeout_at(deadline, self.service.releases(after)).await else { return Ok(()) };
            let page = match answer {
                Ok(page) => page,
                Err(error) => {
                    tracing::info!(%error, "what was released is not known");
                    return Ok(());
                }
            };
            for PastRelease { serial, reservation, released_at } in page.releases {
                let by_serial = || by_serial.get(serial.as_str()).filter(|state| state.confirmed_at < Some(released_at));
                if let Some(state) = by_id.get(&reservation).or_else(by_serial) {
                    self.note(&state.serial, Step::Released { reservation }).await?;
                }
            }
            if page.next == after {
                return Ok(());
            }
            // Last: who is killed before it, hears the same again.
            self.note("", Step::Heard { code: code.clone(), releases: page.next }).await?;
            if !page.more {
                return Ok(());
            }
        }
    }
}
