//! Who may open a connection: so many in all, so many for one network, and a part kept for networks that have stations.
//!
//! At a limit the oldest connection that has shown no access code makes room, rather than the new one being refused:
//! connections that say nothing keep no station out, not even one behind the same address.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ipnet::IpNet;

use super::{Activity, Closing};
use crate::limits::{Refused, networks};

/// A network whose station has verified is known for so long.
const KNOWN_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// So many networks are known at most; the one that verified longest ago is forgotten first.
const KNOWN_MAX: usize = 1024;
/// A site of IPv6 may have so many times the connections of one network in it.
const SITE_FACTOR: usize = 4;
/// Descriptors that are not for connections: the ledger, the calls to the hub, the log. A small limit is shared.
const DESCRIPTORS_KEPT: u64 = 64;

/// How many connections there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Open at once.
    pub in_all: usize,
    /// Of these, only for networks that have stations.
    pub reserved: usize,
    /// Open at once from one network.
    pub per_network: usize,
}

impl Capacity {
    /// What the settings ask for, as far as the limit of file descriptors allows it.
    pub fn new(in_all: u32, per_network: u32, descriptors: Option<u64>) -> Self {
        let possible = descriptors.map_or(u64::MAX, |count| count - DESCRIPTORS_KEPT.min(count / 2));
        let in_all = usize::try_from(u64::from(in_all).min(possible)).unwrap_or(usize::MAX).max(1);
        Self { in_all, reserved: in_all / 4, per_network: (per_network as usize).min((in_all / 2).max(1)) }
    }
}

/// The connections that are open.
#[derive(Debug)]
pub struct Slots {
    capacity: Capacity,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The oldest first.
    open: VecDeque<Open>,
    /// How many of them each network has.
    of: HashMap<IpNet, usize>,
    known: HashMap<IpNet, Instant>,
}

#[derive(Debug)]
struct Open {
    activity: Arc<Activity>,
    /// None for a trusted proxy's.
    networks: Vec<IpNet>,
}

impl State {
    fn add(&mut self, networks: Vec<IpNet>) -> Arc<Activity> {
        let activity = Arc::<Activity>::default();
        for network in &networks {
            *self.of.entry(*network).or_default() += 1;
        }
        self.open.push_back(Open { activity: activity.clone(), networks });
        activity
    }

    fn remove(&mut self, place: usize) {
        for network in self.open.remove(place).into_iter().flat_map(|open| open.networks) {
            if let Entry::Occupied(mut count) = self.of.entry(network) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }

    /// Closes the oldest connection among these that has shown no access code; false when there is none.
    fn displace(&mut self, among: impl Fn(&[IpNet]) -> bool) -> bool {
        let oldest = self.open.iter().position(|open| !open.activity.is_verified() && among(&open.networks));
        if let Some(place) = oldest {
            self.open[place].activity.close(Closing::Now);
            self.remove(place);
        }
        oldest.is_some()
    }
}

/// An open connection's place, until it is dropped.
#[derive(Debug)]
pub struct Slot {
    slots: Arc<Slots>,
    /// What the connection is doing.
    pub activity: Arc<Activity>,
}

impl Slots {
    /// Nothing is open yet.
    pub fn new(capacity: Capacity) -> Arc<Self> {
        Arc::new(Self { capacity, state: Mutex::default() })
    }

    /// How many connections there may be.
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection that a trusted proxy opens. Its clients share it, so only the limit in all holds.
    ///
    /// # Errors
    /// When there is none.
    pub fn open_for_proxy(self: &Arc<Self>) -> Result<Slot, Refused> {
        let mut state = self.lock();
        if state.open.len() >= self.capacity.in_all {
            return Err(Refused::Connections);
        }
        Ok(Slot { slots: self.clone(), activity: state.add(Vec::new()) })
    }

    /// A place for a connection from that address. `displaced` receives why another had to make room, if one had.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(self: &Arc<Self>, address: IpAddr, displaced: impl FnOnce(Refused)) -> Result<Slot, Refused> {
        let mut state = self.lock();
        let networks: Vec<_> = networks(address).collect();
        let is_known = networks.first().and_then(|network| state.known.get(network)).is_some_and(|at| at.elapsed() < KNOWN_FOR);
        let Capacity { in_all, reserved, per_network } = self.capacity;
        let full = networks
            .iter()
            .zip([per_network, per_network.saturating_mul(SITE_FACTOR)])
            .find(|(network, limit)| state.of.get(network).is_some_and(|count| count >= limit));
        let (why, has_room) = if let Some((network, _)) = full {
            (Some(Refused::ConnectionsOfNetwork), state.displace(|networks| networks.contains(network)))
        } else if state.open.len() >= if is_known { in_all } else { in_all - reserved } {
            (Some(Refused::Connections), state.displace(|networks| !networks.is_empty()))
        } else {
            (None, true)
        };
        match why {
            Some(why) if !has_room => return Err(why),
            Some(why) => displaced(why),
            None => {}
        }
        Ok(Slot { slots: self.clone(), activity: state.add(networks) })
    }

    /// A station's signature has verified there: the kept part of the places is for this network, too.
    pub fn know(&self, address: IpAddr) {
        let Some(network) = networks(address).next() else { return };
        let mut state = self.lock();
        if state.known.len() >= KNOWN_MAX && !state.known.contains_key(&network) {
            let oldest = state.known.iter().min_by_key(|(_, at)| **at).map(|(network, _)| *network);
            oldest.and_then(|network| state.known.remove(&network));
        }
        state.known.insert(network, Instant::now());
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.slots.lock();
        // One that was displaced has left already.
        if let Some(place) = state.open.iter().position(|open| Arc::ptr_eq(&open.activity, &self.activity)) {
            state.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(in_all: usize, reserved: usize, per_network: usize) -> Arc<Slots> {
        Slots::new(Capacity { in_all, reserved, per_network })
    }

    fn open(slots: &Arc<Slots>, address: &str) -> Result<Slot, Refused> {
        slots.open(address.parse().expect("an address"), |_| {})
    }

    #[test]
    fn a_part_of_the_places_is_for_networks_that_have_stations() {
        let slots = slots(8, 2, 100);
        slots.know("192.0.2.7".parse().expect("an address"));
        let mut others: Vec<_> = (0..6).map(|at| open(&slots, &format!("198.51.100.{at}")).expect("room")).collect();
        others.iter().for_each(|other| other.activity.verified());
        assert_eq!(open(&slots, "198.51.100.9").err(), Some(Refused::Connections));
        let station = [open(&slots, "192.0.2.7").expect("kept"), open(&slots, "192.0.2.7").expect("kept")];
        station.iter().for_each(|one| one.activity.verified());
        assert_eq!(open(&slots, "192.0.2.7").err(), Some(Refused::Connections), "the limit in all holds for everybody");
        assert_eq!(slots.open_for_proxy().err(), Some(Refused::Connections));
        drop(station);
        assert!(slots.open_for_proxy().is_ok());
        others.pop();
        assert!(open(&slots, "198.51.100.9").is_ok(), "a place that was given back");
    }

    #[test]
    fn silent_connections_from_everywhere_make_room_for_the_next() {
        let slots = slots(8, 2, 100);
        let proxy = slots.open_for_proxy().expect("room");
        let silent: Vec<_> =
            (0..50).map(|at| open(&slots, &format!("198.51.100.{at}")).expect("the oldest makes room")).collect();
        let left = silent.iter().filter(|one| one.activity.closing() == Closing::Open).count();
        assert_eq!((left, silent[49].activity.closing()), (5, Closing::Open));
        assert_eq!(proxy.activity.closing(), Closing::Open, "a proxy's connection is not one of them");
        drop((silent, proxy));
        let state = slots.lock();
        assert!(state.open.is_empty() && state.of.is_empty(), "{state:?}");
    }

    #[test]
    fn a_network_at_its_limit_loses_its_oldest_unverified_connection() {
        let slots = slots(100, 0, 3);
        let held: Vec<_> = (0..3).map(|_| open(&slots, "192.0.2.1").expect("room")).collect();
        held[0].activity.verified();
        let mut displaced = None;
        let next = slots.open("192.0.2.1".parse().expect("an address"), |refused| displaced = Some(refused)).expect("displaces");
        assert_eq!(displaced, Some(Refused::ConnectionsOfNetwork));
        let closing = |slot: &Slot| slot.activity.closing() == Closing::Now;
        assert_eq!(held.iter().map(closing).collect::<Vec<_>>(), [false, true, false], "the oldest that has shown no code");
        for slot in [&held[2], &next] {
            slot.activity.verified();
        }
        assert_eq!(open(&slots, "192.0.2.1").err(), Some(Refused::ConnectionsOfNetwork), "none of a station's own is closed");
        assert!(open(&slots, "192.0.2.2").is_ok());
        drop(held);
        assert!(open(&slots, "192.0.2.1").is_ok());
    }

    #[test]
    fn a_site_of_ipv6_has_a_limit_too() {
        let slots = slots(1000, 0, 2);
        let mut held = Vec::new();
        let mut displaced = 0;
        for at in 0..20 {
            let address = format!("2001:db8:0:{at:x}::1").parse().expect("an address");
            held.push(slots.open(address, |_| displaced += 1).expect("room"));
        }
        assert_eq!(displaced, 20 - 2 * SITE_FACTOR);
        drop(held);
        assert!(slots.lock().of.is_empty(), "nothing is kept of a network that has gone");
    }

    #[test]
    fn the_descriptors_bound_the_connections() {
        let capacity = |in_all, descriptors| Capacity::new(in_all, 128, descriptors).in_all;
        assert_eq!([capacity(4096, None), capacity(4096, Some(1 << 20)), capacity(100, Some(1 << 20))], [4096, 4096, 100]);
        assert_eq!([capacity(4096, Some(256)), capacity(4096, Some(64)), capacity(4096, Some(0))], [192, 32, 1]);
        assert_eq!(Capacity::new(4096, 128, Some(256)), Capacity { in_all: 192, reserved: 48, per_network: 96 });
    }

    #[test]
    fn only_so_many_networks_are_known() {
        let slots = slots(2, 1, 100);
        for at in 0..u32::try_from(KNOWN_MAX).expect("small") + 1 {
            slots.know(IpAddr::V4((0x0a00_0000 + at).into()));
        }
        assert_eq!(slots.lock().known.len(), KNOWN_MAX);
        let one = open(&slots, "192.0.2.1").expect("room");
        one.activity.verified();
        assert!(open(&slots, "10.0.0.0").is_err(), "the one that verified longest ago is forgotten");
        assert!(open(&slots, "10.0.4.0").is_ok());
    }
}
