//! Refusals in the log: the first of a kind at once, those after it counted and written as one line a minute.
//!
//! Whoever causes them must not be able to fill the disk with log lines.

use std::{
    fmt::Display,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// One line of a kind in this time at most.
const PERIOD: Duration = Duration::from_secs(60);

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// A request, for the rate of its address.
    AddressRate,
    /// A request, for the rate of its access code.
    CodeRate,
    /// A request, for the rate that a product's code has in all. The owner is to look at it.
    ProductRate,
    /// A connection: there are as many as may be.
    Connections,
    /// A connection: its network has as many as it may have.
    ConnectionsOfNetwork,
    /// A connection: the system has no file descriptor left.
    Descriptors,
    /// A connection that did not finish its TLS handshake.
    Handshake,
    /// A connection without the PROXY header that `proxy_protocol` asks for.
    ProxyHeader,
    /// A connection for another reason of the system's.
    Accept,
}

impl Refused {
    const ALL: [Self; 9] = [
        Self::AddressRate,
        Self::CodeRate,
        Self::ProductRate,
        Self::Connections,
        Self::ConnectionsOfNetwork,
        Self::Descriptors,
        Self::Handshake,
        Self::ProxyHeader,
        Self::Accept,
    ];

    /// The stable name in the log's field `refused`.
    fn name(self) -> &'static str {
        match self {
            Self::AddressRate => "address-rate",
            Self::CodeRate => "code-rate",
            Self::ProductRate => "product-rate",
            Self::Connections => "connections",
            Self::ConnectionsOfNetwork => "connections-of-network",
            Self::Descriptors => "descriptors",
            Self::Handshake => "handshake",
            Self::ProxyHeader => "proxy-header",
            Self::Accept => "accept",
        }
    }

    /// Stands in the log's field `alert` when the owner is to look at it.
    fn alert(self) -> Option<&'static str> {
        (self == Self::ProductRate).then_some("product-rate")
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::AddressRate => "requests refused: too many unverified ones from one address ([limits] address_per_minute)",
            Self::CodeRate => "requests refused: too many with one access code ([limits] code_per_minute, access create --rate)",
            Self::ProductRate => {
                "requests refused: a product's access code is used more than its rate in all; if these are not real \
                 installations, suspend the code and hand out a new one with the next version of the product"
            }
            Self::Connections => "connections closed or refused: as many as may be are open ([network] connections)",
            Self::ConnectionsOfNetwork => {
                "connections closed or refused: one network has as many as it may have ([network] connections_per_network)"
            }
            Self::Descriptors => {
                "connections not accepted: no file descriptor is left; raise the limit (`ulimit -n`, LimitNOFILE)"
            }
            Self::Handshake => "connections closed: the TLS handshake failed or took too long",
            Self::ProxyHeader => "connections closed: no PROXY header from a trusted proxy ([network] proxy_protocol)",
            Self::Accept => "connections not accepted",
        }
    }
}

/// How many of one kind are not in the log yet.
#[derive(Debug, Default)]
struct Tally {
    count: u64,
    /// Whom it was about, the last time.
    last: String,
    /// No line before.
    not_before: Option<Instant>,
}

impl Tally {
    /// How many to write a line about, and the last one; none while the last line is not old enough.
    fn due(&mut self, now: Instant) -> Option<(u64, String)> {
        if self.count == 0 || self.not_before.is_some_and(|moment| now < moment) {
            return None;
        }
        self.not_before = Some(now + PERIOD);
        Some((std::mem::take(&mut self.count), std::mem::take(&mut self.last)))
    }
}

/// The counts of every kind.
#[derive(Debug, Default)]
pub struct Tallies {
    tallies: [Mutex<Tally>; Refused::ALL.len()],
}

impl Tallies {
    /// Counts one; `whom` is an address or the name of an access code.
    pub fn count(&self, refused: Refused, whom: impl Display) {
        self.write(refused, Instant::now(), |tally| {
            tally.count += 1;
            tally.last = whom.to_string();
        });
    }

    /// Writes what is due. Call it every few seconds.
    pub fn flush(&self) {
        for refused in Refused::ALL {
            self.write(refused, Instant::now(), |_| {});
        }
    }

    fn write(&self, refused: Refused, now: Instant, change: impl FnOnce(&mut Tally)) {
        let mut tally = self.tallies[refused as usize].lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut tally);
        let due = tally.due(now);
        drop(tally);
        if let Some((count, last)) = due {
            tracing::warn!(refused = refused.name(), alert = refused.alert(), count, last, "{}", refused.sentence());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_written_without_a_new_one_and_each_kind_in_its_own_words() {
        let tallies = Tallies::default();
        for _ in 0..3 {
            tallies.count(Refused::Handshake, "192.0.2.1");
        }
        let waiting = || tallies.tallies[Refused::Handshake as usize].lock().expect("whole");
        assert_eq!(waiting().count, 2, "the first has its line");
        tallies.flush();
        assert_eq!(waiting().count, 2, "not yet");
        waiting().not_before = None;
        tallies.flush();
        assert_eq!(waiting().count, 0);
        let sentences: std::collections::BTreeSet<_> = Refused::ALL.map(Refused::sentence).into();
        assert_eq!(sentences.len(), Refused::ALL.len());
        assert!(sentences.iter().all(|sentence| sentence.contains(' ')));
    }

    #[test]
    fn the_first_is_written_at_once_and_the_others_as_one_line_a_minute() {
        let (mut tally, start) = (Tally::default(), Instant::now());
        let mut count = |last: &str, seconds| {
            tally.count += 1;
            tally.last = last.into();
            tally.due(start + Duration::from_secs(seconds))
        };
        assert_eq!(count("a", 0), Some((1, "a".into())));
        assert_eq!([count("b", 1), count("c", 30), count("d", 59)], [None, None, None]);
        assert_eq!(count("e", 60), Some((4, "e".into())));
        assert_eq!(count("f", 61), None);
        assert_eq!(tally.due(start + Duration::from_secs(119)), None);
        assert_eq!(tally.due(start + Duration::from_secs(120)), Some((1, "f".into())), "what was last is not forgotten");
        assert_eq!(tally.due(start + Duration::from_secs(500)), None, "nothing is no line");
    }

    #[test]
    fn each_kind_has_a_name_and_a_place_of_its_own() {
        let names: std::collections::BTreeSet<_> = Refused::ALL.iter().map(|refused| refused.name()).collect();
        assert_eq!(names.len(), Refused::ALL.len());
        assert!(Refused::ALL.iter().enumerate().all(|(at, refused)| *refused as usize == at));
    }
}
