//! How much anyone may ask: by address before a signature is looked at, by access code after.
//!
//! An address is cheap to be refused and expensive to have many of, so it is charged for every request; an access code is
//! charged only when its signature holds, so that nobody can use up another's rate. The tables are bounded whoever asks:
//! IPv6 addresses count by their /64 network, and addresses fall into a fixed number of places by a hash that nobody
//! outside can foresee; there are only so many access codes; and who has not asked for a while is forgotten every minute.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{Arc, RwLock},
    time::Duration,
};

use governor::{
    DefaultKeyedRateLimiter, Quota,
    clock::{Clock as _, DefaultClock},
};
use qdrs_core::access::KeyId;
use serde::Deserialize;

/// Places for addresses. Two addresses in one place share its rate, which is rare and does little harm.
const PLACES: u64 = 65_536;
/// Different rates of access codes; the owner sets them, so a few are usual.
const RATES_MAX: usize = 256;

/// The limits as the config says them (`[limits]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Requests a minute from one address, lasting.
    pub address_per_minute: u32,
    /// Requests at once from one address.
    pub address_burst: u32,
    /// Requests a minute with one access code, lasting, unless it has a rate of its own.
    pub code_per_minute: u32,
    /// Requests at once with one access code.
    pub code_burst: u32,
}

impl Default for Limits {
    /// A line behind one address with some tens of slots stays below; it is also more than any hub tier registers.
    fn default() -> Self {
        Self { address_per_minute: 1200, address_burst: 200, code_per_minute: 1200, code_burst: 200 }
    }
}

impl Limits {
    /// Nobody is ever told to wait: for the sandbox and for tests, where all come from one address.
    pub fn none() -> Self {
        Self { address_per_minute: u32::MAX, address_burst: u32::MAX, code_per_minute: u32::MAX, code_burst: u32::MAX }
    }

    /// Says in words what can't be.
    ///
    /// # Errors
    /// When one of them is 0.
    pub fn check(&self) -> Result<(), String> {
        let all = [
            ("address_per_minute", self.address_per_minute),
            ("address_burst", self.address_burst),
            ("code_per_minute", self.code_per_minute),
            ("code_burst", self.code_burst),
        ];
        match all.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(format!("`{name}` is 0, so nobody could ask anything; it is 1 at least")),
            None => Ok(()),
        }
    }
}

/// So many may not be asked now; ask again after these seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// 1 at least.
    pub seconds: u64,
}

/// The counters. Shared by all requests of one service.
pub struct Gate {
    limits: Limits,
    clock: DefaultClock,
    addresses: DefaultKeyedRateLimiter<u64>,
    hasher: RandomState,
    codes: DefaultKeyedRateLimiter<KeyId>,
    /// Access codes with a rate of their own, by that rate.
    own_rates: RwLock<BTreeMap<NonZeroU32, Arc<DefaultKeyedRateLimiter<KeyId>>>>,
}

impl Gate {
    /// Empty counters for these limits.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            clock: DefaultClock::default(),
            addresses: DefaultKeyedRateLimiter::keyed(quota(limits.address_per_minute, limits.address_burst)),
            hasher: RandomState::new(),
            codes: DefaultKeyedRateLimiter::keyed(quota(limits.code_per_minute, limits.code_burst)),
            own_rates: RwLock::default(),
        }
    }

    /// Charges one request to the address.
    ///
    /// # Errors
    /// When it has to wait.
    pub fn address(&self, address: IpAddr) -> Result<(), Wait> {
        self.wait(self.addresses.check_key(&(self.hasher.hash_one(network(address)) % PLACES)))
    }

    /// Charges one request to the access code; `own_rate` is its own rate in requests a minute.
    ///
    /// # Errors
    /// When it has to wait.
    pub fn code(&self, key_id: KeyId, own_rate: Option<u32>) -> Result<(), Wait> {
        match own_rate.and_then(NonZeroU32::new) {
            None => self.wait(self.codes.check_key(&key_id)),
            Some(rate) => self.wait(self.limiter(rate).check_key(&key_id)),
        }
    }

    /// Forgets who has not asked for a while. Call it every minute.
    pub fn upkeep(&self) {
        self.addresses.retain_recent();
        self.addresses.shrink_to_fit();
        self.codes.retain_recent();
        let mut rates = self.own_rates.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        rates.retain(|_, limiter| {
            limiter.retain_recent();
            !limiter.is_empty()
        });
    }

    fn limiter(&self, rate: NonZeroU32) -> Arc<DefaultKeyedRateLimiter<KeyId>> {
        if let Some(found) = self.own_rates.read().unwrap_or_else(std::sync::PoisonError::into_inner).get(&rate) {
            return found.clone();
        }
        let mut rates = self.own_rates.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if rates.len() >= RATES_MAX {
            rates.retain(|_, limiter| !limiter.is_empty());
        }
        // The burst is a minute's worth at most: a rate that the owner sets is kept to, minute by minute.
        let burst = rate.get().min(self.limits.code_burst);
        rates.entry(rate).or_insert_with(|| Arc::new(DefaultKeyedRateLimiter::keyed(quota(rate.get(), burst)))).clone()
    }

    fn wait(
        &self,
        checked: Result<(), governor::NotUntil<<DefaultClock as governor::clock::Clock>::Instant>>,
    ) -> Result<(), Wait> {
        checked.map_err(|until| {
            let wait = until.wait_time_from(self.clock.now());
            Wait { seconds: wait.as_secs_f64().ceil().max(1.0) as u64 }
        })
    }
}

/// One network counts as one: a caller with IPv6 commonly owns a whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn quota(per_minute: u32, burst: u32) -> Quota {
    let one = NonZeroU32::MIN;
    let (per_minute, burst) = (NonZeroU32::new(per_minute).unwrap_or(one), NonZeroU32::new(burst).unwrap_or(one));
    // `Quota::per_minute` would make the burst a minute's worth.
    let each = (Duration::from_secs(60) / per_minute.get()).max(Duration::from_nanos(1));
    Quota::with_period(each).unwrap_or(Quota::per_minute(per_minute)).allow_burst(burst)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_waits_after_its_burst_and_others_do_not() {
        let gate = Gate::new(Limits { address_per_minute: 6, address_burst: 2, ..Limits::default() });
        assert_eq!(gate.address(ip("192.0.2.1")), Ok(()));
        assert_eq!(gate.address(ip("::ffff:192.0.2.1")), Ok(()), "the same address, as a dual-stack socket shows it");
        let wait = gate.address(ip("192.0.2.1")).expect_err("the burst is used up");
        assert!((1..=10).contains(&wait.seconds), "{wait:?}");
        assert_eq!(gate.address(ip("192.0.2.2")), Ok(()));
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let gate = Gate::new(Limits { address_per_minute: 1, address_burst: 1, ..Limits::default() });
        assert_eq!(gate.address(ip("2001:db8::1")), Ok(()));
        assert!(gate.address(ip("2001:db8::2")).is_err());
        assert_eq!(gate.address(ip("2001:db8:0:1::1")), Ok(()));
    }

    #[test]
    fn a_code_keeps_to_its_own_rate() {
        let gate = Gate::new(Limits::default());
        let code = KeyId::from_bytes([1; 8]);
        assert_eq!(gate.code(code, Some(2)), Ok(()));
        assert_eq!(gate.code(code, Some(2)), Ok(()));
        assert!(gate.code(code, Some(2)).is_err_and(|wait| (1..=30).contains(&wait.seconds)));
        assert_eq!(gate.code(KeyId::from_bytes([2; 8]), Some(2)), Ok(()), "another code of the same rate");
        gate.upkeep();
        assert!(gate.code(code, Some(2)).is_err(), "upkeep forgives nothing");
    }

    #[test]
    fn no_limits_never_wait() {
        let gate = Gate::new(Limits::none());
        assert!((0..10_000).all(|_| gate.address(ip("127.0.0.1")).is_ok()));
    }
}
