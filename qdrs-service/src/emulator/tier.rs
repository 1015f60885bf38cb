//! Throttling as a tier of the real hub does it: a free burst, then a queue that is served at the tier's rate, then 429.
//!
//! Counts registry operations, and each device of a bulk call as one. Twins, queries and messages have limits of their
//! own, far above what QDRS needs, and are not throttled here. A time scale makes minutes pass faster, for tests.
//!
//! Source: the vendor's "Quotas and throttling"; the waits from published measurements on a live hub.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The longest that the real hub was seen to keep a call waiting before it refused it, in seconds.
const QUEUE_S: f64 = 40.0;

/// What a hub of some tier and size takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tier {
    /// Registry operations a minute, over all units.
    pub per_minute: u32,
    /// How many may come at once before the rate counts.
    pub burst: u32,
    /// How many times faster than on a clock the hub's time passes.
    pub time_scale: f64,
}

impl Tier {
    /// F1, S1, B1, S2 and B2: 100 a minute a unit.
    pub fn standard(units: u32) -> Self {
        Self::of(100, units)
    }

    /// S3 and B3: 5,000 a minute a unit.
    pub fn large(units: u32) -> Self {
        Self::of(5000, units)
    }

    fn of(per_minute_a_unit: u32, units: u32) -> Self {
        let per_minute = per_minute_a_unit.saturating_mul(units.max(1));
        Self { per_minute, burst: per_minute, time_scale: 1.0 }
    }

    /// The same with time passing that many times faster.
    #[must_use]
    pub fn scaled(self, time_scale: f64) -> Self {
        Self { time_scale, ..self }
    }

    /// Operations a second, on the clock.
    fn per_second(&self) -> f64 {
        // Never 0: a hub that serves nothing for ever would keep every caller waiting for ever.
        (f64::from(self.per_minute) / 60.0 * self.time_scale).max(f64::MIN_POSITIVE)
    }

    fn queue_s(&self) -> f64 {
        QUEUE_S / self.time_scale.max(f64::MIN_POSITIVE)
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Verdict {
    /// It is served after that wait.
    Served(Duration),
    /// It is refused after that wait.
    Refused(Duration),
}

/// The tier of a hub, and what of it is used up. Without a tier nothing is throttled.
#[derive(Default)]
pub(super) struct Throttle(Mutex<Option<Bucket>>);

struct Bucket {
    tier: Tier,
    /// Operations that may come at once; below 0 while calls wait in the queue.
    left: f64,
    at: Instant,
}

impl Throttle {
    /// Sets another tier, with its whole burst free.
    pub(super) fn set(&self, tier: Option<Tier>) {
        let bucket = tier.map(|tier| Bucket { tier, left: tier.burst.into(), at: Instant::now() });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = bucket;
    }

    /// What becomes of a call that counts as `operations`.
    pub(super) fn take(&self, operations: usize) -> Verdict {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(bucket) => bucket.take(operations, Instant::now()),
            None => Verdict::Served(Duration::ZERO),
        }
    }
}

impl Bucket {
    fn take(&mut self, operations: usize, now: Instant) -> Verdict {
        #[expect(clippy::cast_precision_loss, reason = "a bulk call has 100 at most")]
        let operations = operations as f64;
        let rate = self.tier.per_second();
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * rate;
        (self.left, self.at) = ((self.left + gained).min(self.tier.burst.into()), now);
        let wait_s = ((operations - self.left) / rate).max(0.0);
        if wait_s > self.tier.queue_s() {
            return Verdict::Refused(seconds(self.tier.queue_s()));
        }
        self.left -= operations;
        Verdict::Served(seconds(wait_s))
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(tier: Tier) -> (Bucket, Instant) {
        let now = Instant::now();
        (Bucket { tier, left: tier.burst.into(), at: now }, now)
    }

    #[test]
    fn a_unit_serves_a_burst_at_once_then_queues_then_refuses() {
        let (mut bucket, now) = bucket(Tier::standard(1));
        for _ in 0..100 {
            assert_eq!(bucket.take(1, now), Verdict::Served(Duration::ZERO));
        }
        // 100 a minute: the next waits for 0.6 s, and so on until the queue is 40 s long.
        assert_eq!(bucket.take(1, now), Verdict::Served(Duration::from_millis(600)));
        let served = (0..1000).take_while(|_| matches!(bucket.take(1, now), Verdict::Served(_))).count();
        assert_eq!(served, 65, "66 calls are 39.6 s");
        assert_eq!(bucket.take(1, now), Verdict::Refused(Duration::from_secs(40)));
        assert_eq!(bucket.take(1, now + Duration::from_secs(40)), Verdict::Served(Duration::from_millis(200)));
    }

    #[test]
    fn each_device_of_a_bulk_call_counts() {
        let (mut bucket, now) = bucket(Tier::standard(1));
        assert_eq!(bucket.take(50, now), Verdict::Served(Duration::ZERO));
        assert_eq!(bucket.take(50, now), Verdict::Served(Duration::ZERO));
        assert_eq!(bucket.take(50, now), Verdict::Served(Duration::from_secs(30)));
        assert_eq!(bucket.take(50, now), Verdict::Refused(Duration::from_secs(40)));
    }

    #[test]
    fn what_was_not_used_does_not_add_up_beyond_the_burst_and_time_can_be_scaled() {
        let (mut bucket, now) = bucket(Tier::large(2).scaled(60.0));
        assert_eq!(bucket.take(10_000, now + Duration::from_secs(3600)), Verdict::Served(Duration::ZERO));
        assert_eq!(bucket.take(10_000, now + Duration::from_secs(3600)), Verdict::Refused(seconds(40.0 / 60.0)));
        assert_eq!(bucket.take(5_000, now + Duration::from_secs(3600)), Verdict::Served(seconds(0.5)));
    }
}
