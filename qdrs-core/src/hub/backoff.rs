//! How long to wait before asking again: a hub that throttles, a service that is away.
//!
//! Knows neither what is asked nor how to sleep: the caller waits. Not a retry library, since the wait must never be
//! shorter than what the other side asked for, and the caller must hear at once when the time left does not suffice.

use std::time::Duration;

use tokio::time::Instant;

/// How long to wait before asking again.
///
/// Waits double up to a cap; each is spread at random by up to a fifth, so that stations refused together do not come
/// back together. A longer wait that the other side asks for wins, and is spread upwards only.
///
/// Source: RFC 9110, section 10.2.3; Azure IoT Hub, "Quotas and throttling".
#[derive(Debug, Clone)]
pub struct Backoff {
    wait: Duration,
    wait_max: Duration,
    deadline: Option<Instant>,
}

impl Backoff {
    /// The first wait, the longest, and how long from now all the waiting may go on; none means for ever.
    pub fn new(first: Duration, wait_max: Duration, patience: Option<Duration>) -> Self {
        // A patience beyond what the clock can count is none.
        let deadline = patience.and_then(|patience| Instant::now().checked_add(patience));
        Self { wait: first.min(wait_max), wait_max, deadline }
    }

    /// The next wait, at least what the other side asked for; none when the deadline would pass first.
    pub fn next(&mut self, at_least: Option<Duration>) -> Option<Duration> {
        self.next_at(Instant::now(), at_least, fraction())
    }

    /// How long until the deadline; none means for ever.
    pub fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Clock and chance are parameters: `chance` is in 0..=1.
    fn next_at(&mut self, now: Instant, at_least: Option<Duration>, chance: f64) -> Option<Duration> {
        let own = self.wait.mul_f64(0.8 + 0.4 * chance);
        self.wait = self.wait.saturating_mul(2).min(self.wait_max);
        let asked = at_least.unwrap_or_default();
        let spread = if asked > own { asked.saturating_add((asked / 5).mul_f64(chance)) } else { own };
        let Some(deadline) = self.deadline else { return Some(spread) };
        let left = deadline.checked_duration_since(now).filter(|left| !left.is_zero())?;
        // The last wait is cut short rather than given up, but never below what was asked for.
        (asked <= left).then(|| spread.min(left))
    }
}

/// A number in 0..=1 at random. Without a source of randomness nothing else works either; a fixed spread is harmless.
fn fraction() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn backoff(patience: Option<u64>) -> Backoff {
        Backoff::new(SECOND, 8 * SECOND, patience.map(Duration::from_secs))
    }

    #[test]
    fn waits_double_up_to_the_cap() {
        let mut backoff = backoff(None);
        let waits: Vec<_> = (0..6).map(|_| backoff.next_at(Instant::now(), None, 0.5).expect("no deadline").as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 8, 8]);
    }

    #[test]
    fn what_the_other_side_asks_for_wins_when_longer() {
        let mut backoff = backoff(None);
        assert_eq!(backoff.next_at(Instant::now(), Some(10 * SECOND), 0.0), Some(10 * SECOND));
        assert_eq!(backoff.next_at(Instant::now(), Some(10 * SECOND), 1.0), Some(12 * SECOND));
        assert_eq!(backoff.next_at(Instant::now(), Some(SECOND), 0.5), Some(4 * SECOND));
        assert_eq!(backoff.next_at(Instant::now(), Some(8 * SECOND), 0.5), Some(8 * SECOND), "its own wait serves");
    }

    #[test]
    fn a_deadline_that_would_pass_first_ends_it_at_once() {
        let mut backoff = backoff(Some(5));
        let now = Instant::now();
        assert_eq!(backoff.next_at(now, Some(60 * SECOND), 0.5), None);
        assert_eq!(backoff.next_at(now + 4 * SECOND, None, 0.5).map(|wait| wait <= SECOND), Some(true));
        assert_eq!(backoff.next_at(now + 6 * SECOND, None, 0.5), None);
    }

    #[test]
    fn no_patience_means_no_second_try() {
        assert_eq!(backoff(Some(0)).next(None), None);
    }

    #[test]
    fn the_clock_and_chance_of_this_machine_are_used() {
        let mut backoff = backoff(None);
        assert_eq!(backoff.left(), None, "for ever");
        assert!(backoff.next(None).is_some_and(|wait| (0.8..=1.2).contains(&wait.as_secs_f64())));
        let left = Backoff::new(SECOND, SECOND, Some(3600 * SECOND)).left().expect("an hour");
        assert!((3000 * SECOND..=3600 * SECOND).contains(&left), "{left:?}");
        let chances: Vec<f64> = (0..64).map(|_| fraction()).collect();
        assert!(chances.iter().all(|chance| (0.0..=1.0).contains(chance)));
        assert!(chances.iter().any(|chance| *chance != chances[0]), "stations are spread");
    }

    proptest! {
        #[test]
        fn never_less_than_asked_and_never_past_the_deadline(first in 0u64..100_000, most in 0u64..100_000, patience in 0u64..1_000_000,
            asked in proptest::option::of(0u64..2_000_000), chance in 0.0f64..=1.0, tries in 1usize..20) {
            let milliseconds = Duration::from_millis;
            let mut backoff = Backoff::new(milliseconds(first), milliseconds(most), Some(milliseconds(patience)));
            let mut now = Instant::now();
            let end = now + milliseconds(patience);
            for _ in 0..tries {
                let Some(wait) = backoff.next_at(now, asked.map(milliseconds), chance) else { return Ok(()) };
                prop_assert!(wait >= milliseconds(asked.unwrap_or(0)));
                now += wait;
                prop_assert!(now <= end + milliseconds(50)); // `Backoff::new` read the clock a moment before or after.
            }
        }
    }
}
