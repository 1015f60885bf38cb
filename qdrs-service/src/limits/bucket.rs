//! Token buckets, one number each: the moment at which the bucket is full again (the generic cell rate algorithm).
//!
//! Our own, since a request is charged before anyone knows who sent it and gets its token back once its signature
//! verifies; no rate-limiting crate can give a token back. Times are nanoseconds since the buckets were made.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hash, RandomState},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::Wait;

/// Places for keys that strangers choose, such as addresses. Two keys in one place share its bucket, which is rare.
const PLACES: usize = 1 << 17;

/// How fast a bucket fills, and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    /// Nanoseconds until one token is back.
    each: u64,
    /// Nanoseconds until an empty bucket is full.
    full: u64,
}

impl Rate {
    /// Zero counts as one.
    pub(super) fn per_minute(tokens: u32, burst: u32) -> Self {
        let each = (60_000_000_000 / u64::from(tokens.max(1))).max(1);
        Self { each, full: each.saturating_mul(u64::from(burst.max(1))) }
    }

    /// Takes a token at `now` from a bucket that is full at `full_at`; an error is the time until there is one.
    fn take(self, full_at: u64, now: u64) -> Result<u64, Wait> {
        let after = full_at.max(now).saturating_add(self.each);
        match (after - now).checked_sub(self.full) {
            None | Some(0) => Ok(after),
            Some(nanos) => Err(Wait::of(Duration::from_nanos(nanos))),
        }
    }
}

/// Buckets for keys that strangers choose. The table has one size, whoever asks, and needs no upkeep: the place of a key
/// follows from a hash that nobody outside can foresee.
pub(super) struct Places {
    hasher: RandomState,
    full_at: Box<[AtomicU64]>,
}

impl Places {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), full_at: (0..PLACES).map(|_| AtomicU64::new(0)).collect() }
    }

    fn bucket(&self, key: &impl Hash) -> &AtomicU64 {
        // The remainder is below `PLACES`.
        &self.full_at[self.hasher.hash_one(key) as usize % PLACES]
    }

    /// Takes one token from each of the buckets, or from none.
    ///
    /// # Errors
    /// When one of them is empty.
    pub(super) fn take<K: Hash>(&self, keys: &[(K, Rate)], now: u64) -> Result<(), Wait> {
        for (at, (key, rate)) in keys.iter().enumerate() {
            let taken =
                self.bucket(key).fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| rate.take(full_at, now).ok());
            if let Err(full_at) = taken {
                self.give_back(&keys[..at]);
                // Another request may have given a token back since; the wait is then the shortest.
                return Err(rate.take(full_at, now).err().unwrap_or(Wait::of(Duration::ZERO)));
            }
        }
        Ok(())
    }

    /// Gives back what [`Places::take`] took.
    pub(super) fn give_back<K: Hash>(&self, keys: &[(K, Rate)]) {
        for (key, rate) in keys {
            let _ = self
                .bucket(key)
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| Some(full_at.saturating_sub(rate.each)));
        }
    }
}

/// Buckets for keys of which there are only so many, such as access codes: each has its own.
pub(super) struct Exact<K> {
    full_at: Mutex<HashMap<K, u64>>,
}

impl<K: Hash + Eq> Exact<K> {
    pub(super) fn new() -> Self {
        Self { full_at: Mutex::default() }
    }

    /// Takes one token. The rate may be another than last time: it holds from now on.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn take(&self, key: K, rate: Rate, now: u64) -> Result<(), Wait> {
        let mut buckets = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = buckets.entry(key).or_insert(0);
        // Never emptier than empty: at another rate it may have been.
        *full_at = (*full_at).min(now.saturating_add(rate.full));
        *full_at = rate.take(*full_at, now)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_bucket_holds_its_burst_and_fills_at_its_rate() {
        let (codes, rate) = (Exact::new(), Rate::per_minute(6, 3));
        let take = |now| codes.take("a", rate, now);
        assert_eq!([take(0), take(0), take(0)], [Ok(()); 3]);
        assert_eq!(take(0), Err(Wait { seconds: 10 }));
        assert_eq!(take(4 * SECOND), Err(Wait { seconds: 6 }));
        assert_eq!(take(10 * SECOND), Ok(()), "the wait that was named is the one that suffices");
        assert_eq!(take(10 * SECOND), Err(Wait { seconds: 10 }));
        assert_eq!([take(1000 * SECOND), take(1000 * SECOND), take(1000 * SECOND)], [Ok(()); 3]);
        assert!(take(1000 * SECOND).is_err(), "however long nobody asked, it holds no more than its burst");
        assert_eq!(codes.take("b", rate, 1000 * SECOND), Ok(()), "each key has its own");
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_nothing_more() {
        let (places, keys) = (Places::new(), [("a", Rate::per_minute(1, 2))]);
        assert_eq!([places.take(&keys, 0), places.take(&keys, 0)], [Ok(()); 2]);
        assert!(places.take(&keys, 0).is_err());
        places.give_back(&keys);
        assert_eq!(places.take(&keys, 0), Ok(()));
        assert!(places.take(&keys, 0).is_err());
        for _ in 0..10 {
            places.give_back(&keys);
        }
        let taken = (0..10).filter(|_| places.take(&keys, 100 * SECOND).is_ok()).count();
        assert_eq!(taken, 2, "it holds no more than its burst");
    }

    #[test]
    fn of_two_buckets_both_or_none_give_a_token() {
        let (places, wide, narrow) = (Places::new(), Rate::per_minute(1, 2), Rate::per_minute(1, 1));
        assert_eq!(places.take(&[("site", wide), ("one", narrow)], 0), Ok(()));
        assert!(places.take(&[("site", wide), ("one", narrow)], 0).is_err(), "the second is empty");
        assert_eq!(
            places.take(&[("site", wide), ("two", narrow)], 0),
            Ok(()),
            "what the refused one took from the first is back"
        );
        assert!(places.take(&[("site", wide), ("three", narrow)], 0).is_err());
    }

    #[test]
    fn no_rate_overflows() {
        for (tokens, burst) in [(0, 0), (1, u32::MAX), (u32::MAX, 1), (u32::MAX, u32::MAX)] {
            let rate = Rate::per_minute(tokens, burst);
            assert!(rate.take(0, 0).is_ok() && rate.take(0, u64::MAX).is_ok(), "{tokens} {burst}");
        }
    }
}
