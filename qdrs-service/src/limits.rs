//! How much anyone may ask: by address while nobody knows who asks, by access code once a signature verifies.
//!
//! A request is charged to its address when it arrives, and gets that back when its signature verifies: junk from an
//! address never stops a station behind the same address. An address that has used up its rate is refused at once what
//! bears no signature; what bears one is still looked at, a few requests at a time in the whole service, so that junk with
//! signatures can't take all processors. An access code is charged only when its signature verifies, so nobody can use up
//! another's rate. A product's code can be found in the product, so one network gets only a part of its rate.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use qdrs_core::{access::KeyId, api::Kind};
use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit};

mod bucket;
mod tally;

use bucket::{Exact, Places, Rate};
pub use tally::{Refused, Tallies};

/// A caller with IPv6 commonly owns a whole /64, so that counts as one address.
const IPV6_ADDRESS_BITS: u8 = 64;
/// What one site commonly gets: 65,536 networks of the kind above.
const IPV6_SITE_BITS: u8 = 48;
/// The site has so many times the rate of one address in it.
const SITE_FACTOR: u32 = 8;
/// One network gets a fourth of a product's rate at most, one site a half.
const PRODUCT_NETWORK_SHARE: u32 = 4;
const PRODUCT_SITE_SHARE: u32 = 2;
/// Probes from one address: more than any supervisor and its load balancers send.
const PROBES: (u32, u32) = (1200, 120);
/// How long a signed request from an address over its rate waits to be looked at.
const TURN_TIMEOUT: Duration = Duration::from_secs(3);

/// The limits as the config gives them (`[limits]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Requests a minute from one address whose signature does not verify, lasting.
    pub address_per_minute: u32,
    /// Such requests at once from one address.
    pub address_burst: u32,
    /// Requests a minute with one access code, lasting, unless it has a rate of its own.
    pub code_per_minute: u32,
    /// Requests at once with one access code.
    pub code_burst: u32,
    /// Requests a minute with one product's access code from one network, lasting.
    pub product_network_per_minute: u32,
    /// Requests at once with one product's access code from one network.
    pub product_network_burst: u32,
}

impl Default for Limits {
    /// A line behind one address with some tens of slots stays below; it is also more than any hub tier registers.
    fn default() -> Self {
        Self {
            address_per_minute: 1200,
            address_burst: 200,
            code_per_minute: 1200,
            code_burst: 200,
            product_network_per_minute: 120,
            product_network_burst: 60,
        }
    }
}

impl Limits {
    /// Nobody ever has to wait: for the sandbox and for tests, where all come from one address.
    pub fn none() -> Self {
        Self {
            address_per_minute: u32::MAX,
            address_burst: u32::MAX,
            code_per_minute: u32::MAX,
            code_burst: u32::MAX,
            product_network_per_minute: u32::MAX,
            product_network_burst: u32::MAX,
        }
    }

    /// Each value by its name in the config.
    pub fn named(&self) -> [(&'static str, u32); 6] {
        [
            ("address_per_minute", self.address_per_minute),
            ("address_burst", self.address_burst),
            ("code_per_minute", self.code_per_minute),
            ("code_burst", self.code_burst),
            ("product_network_per_minute", self.product_network_per_minute),
            ("product_network_burst", self.product_network_burst),
        ]
    }

    /// Checks that each value can be used.
    ///
    /// # Errors
    /// When one of them is 0.
    pub fn check(&self) -> Result<(), String> {
        match self.named().iter().find(|(_, value)| *value == 0) {
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

impl Wait {
    fn of(time: Duration) -> Self {
        Self { seconds: time.as_nanos().div_ceil(1_000_000_000).try_into().unwrap_or(u64::MAX).max(1) }
    }
}

/// The counters. Shared by all requests of one service.
pub struct Gate {
    limits: Limits,
    /// Nanoseconds since the counters were made.
    now: Box<dyn Fn() -> u64 + Send + Sync>,
    addresses: Places,
    probes: Places,
    /// By product code and network. Apart from the addresses: strangers can't fill it.
    products: Places,
    codes: Exact<KeyId>,
    turns: Semaphore,
}

impl Gate {
    /// Empty counters for these limits.
    pub fn new(limits: Limits) -> Self {
        let start = Instant::now();
        Self::with_clock(limits, move || u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn with_clock(limits: Limits, now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        // Half of the processors stay for the requests of those who keep to their rate.
        let turns = std::thread::available_parallelism().map_or(1, |count| count.get().div_ceil(2));
        Self {
            limits,
            now: Box::new(now),
            addresses: Places::new(),
            probes: Places::new(),
            products: Places::new(),
            codes: Exact::new(),
            turns: Semaphore::new(turns),
        }
    }

    fn rates(&self, address: IpAddr) -> Vec<(IpNet, Rate)> {
        let Limits { address_per_minute: rate, address_burst: burst, .. } = self.limits;
        networks(address)
            .zip([1, SITE_FACTOR])
            .map(|(network, factor)| (network, Rate::per_minute(rate.saturating_mul(factor), burst.saturating_mul(factor))))
            .collect()
    }

    /// Charges one request to its address, for as long as nobody knows who sent it.
    ///
    /// # Errors
    /// When the address has used up its rate.
    pub fn arrived(&self, address: IpAddr) -> Result<(), Wait> {
        self.addresses.take(&self.rates(address), (self.now)())
    }

    /// Gives back what [`Gate::arrived`] charged: the request's signature verifies.
    pub fn verified(&self, address: IpAddr) {
        self.addresses.give_back(&self.rates(address));
    }

    /// Charges one probe of a supervisor; requests and probes never wait for each other.
    ///
    /// # Errors
    /// When the address has to wait.
    pub fn probe(&self, address: IpAddr) -> Result<(), Wait> {
        let networks: Vec<_> = networks(address).take(1).map(|network| (network, Rate::per_minute(PROBES.0, PROBES.1))).collect();
        self.probes.take(&networks, (self.now)())
    }

    /// Waits until a request from an address over its rate may be looked at.
    ///
    /// # Errors
    /// When too many such requests wait.
    pub async fn turn(&self) -> Result<SemaphorePermit<'_>, Wait> {
        match tokio::time::timeout(TURN_TIMEOUT, self.turns.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            // It is never closed.
            Ok(Err(_)) | Err(_) => Err(Wait::of(TURN_TIMEOUT)),
        }
    }

    /// Charges one verified request to its access code; `own_rate` is its own rate in requests a minute. For a product
    /// also to the network that it comes from, first: what is refused there costs the other installations nothing.
    ///
    /// # Errors
    /// When it has to wait, and whose rate it is.
    pub fn code(&self, key_id: KeyId, kind: Kind, own_rate: Option<u32>, address: IpAddr) -> Result<(), (Refused, Wait)> {
        let now = (self.now)();
        let rate = own_rate.unwrap_or(self.limits.code_per_minute);
        // The burst is a minute's worth at most: a rate that the owner sets is kept to, minute by minute.
        let burst = own_rate.map_or(self.limits.code_burst, |rate| rate.min(self.limits.code_burst));
        let in_all = Rate::per_minute(rate, burst);
        if kind == Kind::Station {
            return self.codes.take(key_id, in_all, now).map_err(|wait| (Refused::CodeRate, wait));
        }
        let Limits { product_network_per_minute, product_network_burst, .. } = self.limits;
        let share = |factor: u32, part: u32| {
            let least = |limit: u32, whole: u32| limit.saturating_mul(factor).min((whole / part).max(1));
            Rate::per_minute(least(product_network_per_minute, rate), least(product_network_burst, burst))
        };
        let shares = [share(1, PRODUCT_NETWORK_SHARE), share(SITE_FACTOR, PRODUCT_SITE_SHARE)];
        let networks: Vec<_> = networks(address).zip(shares).map(|(network, rate)| ((key_id, network), rate)).collect();
        self.products.take(&networks, now).map_err(|wait| (Refused::CodeRate, wait))?;
        self.codes.take(key_id, in_all, now).map_err(|wait| {
            self.products.give_back(&networks);
            (Refused::ProductRate, wait)
        })
    }
}

/// What an address counts as, the narrowest first: an IPv4 address by itself, one of IPv6 as its /64 and its /48.
pub fn networks(address: IpAddr) -> impl Iterator<Item = IpNet> {
    let address = address.to_canonical();
    let lengths: &[u8] = if address.is_ipv4() { &[32] } else { &[IPV6_ADDRESS_BITS, IPV6_SITE_BITS] };
    lengths.iter().filter_map(move |bits| IpNet::new(address, *bits).ok()).map(|network| network.trunc())
}

#[cfg(test)]
mod tests;
