//! The limits against a clock that the test moves.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::*;

struct World {
    gate: Gate,
    clock: Arc<AtomicU64>,
}

impl World {
    fn new(limits: Limits) -> Self {
        let clock = Arc::<AtomicU64>::default();
        let now = clock.clone();
        Self { gate: Gate::with_clock(limits, move || now.load(Ordering::SeqCst)), clock }
    }

    fn advance(&self, seconds: u64) {
        self.clock.fetch_add(seconds * 1_000_000_000, Ordering::SeqCst);
    }

    /// How many of a hundred requests from there are within the rate.
    fn within(&self, address: &str) -> usize {
        (0..100).filter(|_| self.gate.arrived(ip(address)).is_ok()).count()
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn code(number: u8) -> KeyId {
    KeyId::from_bytes([number; 8])
}

#[test]
fn an_address_waits_after_its_burst_and_others_do_not() {
    let world = World::new(Limits { address_per_minute: 6, address_burst: 2, ..Limits::default() });
    let gate = &world.gate;
    assert_eq!(gate.arrived(ip("192.0.2.1")), Ok(()));
    assert_eq!(gate.arrived(ip("::ffff:192.0.2.1")), Ok(()), "the same address, as a dual-stack socket shows it");
    let wait = gate.arrived(ip("192.0.2.1")).expect_err("the burst is used up");
    assert_eq!(wait, Wait { seconds: 10 });
    assert_eq!(gate.arrived(ip("192.0.2.2")), Ok(()));
    world.advance(wait.seconds);
    assert_eq!(gate.arrived(ip("192.0.2.1")), Ok(()), "after the wait that was named");
    assert_eq!(gate.arrived(ip("192.0.2.1")), Err(Wait { seconds: 10 }));
}

#[test]
fn what_verifies_costs_its_address_nothing() {
    let world = World::new(Limits { address_per_minute: 1, address_burst: 2, ..Limits::default() });
    for _ in 0..1000 {
        assert_eq!(world.gate.arrived(ip("192.0.2.1")), Ok(()));
        world.gate.verified(ip("192.0.2.1"));
    }
    assert_eq!(world.within("192.0.2.1"), 2);
}

#[test]
fn probes_and_requests_do_not_wait_for_each_other() {
    let world = World::new(Limits { address_per_minute: 1, address_burst: 1, ..Limits::default() });
    assert_eq!(world.within("192.0.2.1"), 1);
    let probes = (0..1000).filter(|_| world.gate.probe(ip("192.0.2.1")).is_ok()).count();
    assert_eq!(probes, PROBES.1 as usize);
    assert_eq!(world.gate.probe(ip("192.0.2.2")), Ok(()));
    world.advance(3600);
    assert_eq!((world.within("192.0.2.1"), world.gate.probe(ip("192.0.2.1"))), (1, Ok(())));
}

#[test]
fn a_network_of_ipv6_counts_as_one_address_and_a_site_as_eight() {
    let world = World::new(Limits { address_per_minute: 1, address_burst: 3, ..Limits::default() });
    assert_eq!(world.within("2001:db8::1"), 3);
    assert_eq!(world.within("2001:db8::2"), 0, "the same /64");
    let of_the_site: usize = (1..100).map(|network| world.within(&format!("2001:db8:0:{network:x}::1"))).sum();
    assert_eq!(3 + of_the_site, 3 * SITE_FACTOR as usize, "whoever owns the /48 has 65,536 networks and eight times the rate");
    assert_eq!(world.within("2001:db8:1::1"), 3, "another site");
    let counts_as = |address| networks(ip(address)).map(|network| network.to_string()).collect::<Vec<_>>();
    assert_eq!(counts_as("2001:db8:a:b:c:d:e:f"), ["2001:db8:a:b::/64", "2001:db8:a::/48"]);
    assert_eq!(counts_as("::ffff:192.0.2.1"), ["192.0.2.1/32"]);
}

#[test]
fn a_code_keeps_to_its_own_rate_wherever_it_asks_from() {
    let world = World::new(Limits::default());
    let ask = |key_id, rate, from| world.gate.code(key_id, Kind::Station, rate, ip(from));
    assert_eq!(ask(code(1), Some(2), "192.0.2.1"), Ok(()));
    assert_eq!(ask(code(1), Some(2), "192.0.2.2"), Ok(()));
    assert_eq!(ask(code(1), Some(2), "192.0.2.3"), Err((Refused::CodeRate, Wait { seconds: 30 })));
    assert_eq!(ask(code(2), Some(2), "192.0.2.1"), Ok(()), "another code of the same rate");
    let rest = (0..1000).filter(|_| ask(code(3), None, "192.0.2.1").is_ok()).count();
    assert_eq!(rest, 200, "without a rate of its own, that of the config");
    world.advance(30);
    assert_eq!(ask(code(1), Some(2), "192.0.2.1"), Ok(()));
    assert!(ask(code(1), Some(2), "192.0.2.1").is_err());
    assert_eq!(ask(code(1), Some(1200), "192.0.2.1"), Err((Refused::CodeRate, Wait { seconds: 1 })), "the owner has raised it");
    world.advance(1);
    assert_eq!(ask(code(1), Some(1200), "192.0.2.1"), Ok(()));
}

#[test]
fn one_holder_of_a_product_leaves_the_others_their_tries() {
    let world = World::new(Limits::default());
    let ask = |from: &str| world.gate.code(code(1), Kind::Product, None, ip(from));
    let mut installed = 0;
    for second in 0..30 {
        let junk = (0..60).filter(|_| ask("192.0.2.66").is_ok()).count();
        assert!(second == 0 || junk <= 2, "{junk}");
        installed += usize::from(ask("198.51.100.7").is_ok());
        world.advance(1);
    }
    assert_eq!(installed, 30);
    let of_a_site = (0..1000).filter(|at| ask(&format!("2001:db8:0:{at:x}::1")).is_ok()).count();
    assert_eq!(of_a_site, 100, "half of the burst for one site, however many networks it has");
}

#[test]
fn a_products_rate_in_all_is_an_alert_and_holds() {
    let world = World::new(Limits { code_per_minute: 60, code_burst: 40, ..Limits::default() });
    let ask = |from: u8| world.gate.code(code(1), Kind::Product, None, ip(&format!("192.0.2.{from}")));
    let answers: Vec<_> = (0..50).map(ask).collect();
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 40);
    assert_eq!(answers[49], Err((Refused::ProductRate, Wait { seconds: 1 })));
    // What the code's rate in all refused has cost its network nothing.
    world.advance(60);
    assert_eq!((0..20).filter(|_| ask(49).is_ok()).count(), 10, "a fourth of the burst");
    let own = |from: u8| world.gate.code(code(2), Kind::Product, Some(8), ip(&format!("192.0.2.{from}")));
    assert_eq!((0..20).filter(|_| own(1).is_ok()).count(), 2, "a fourth of its own rate");
    assert_eq!((2..50).filter(|from| own(*from).is_ok()).count(), 6);
}

#[test]
fn no_limits_never_wait() {
    let world = World::new(Limits::none());
    let asked = |_| {
        world.gate.arrived(ip("127.0.0.1")).is_ok()
            && world.gate.code(code(1), Kind::Product, None, ip("127.0.0.1")).is_ok()
            && world.gate.code(code(2), Kind::Station, None, ip("127.0.0.1")).is_ok()
    };
    assert!((0..10_000).all(asked));
}

#[tokio::test]
async fn few_requests_over_the_rate_are_looked_at_at_once() {
    let gate = Gate::new(Limits::default());
    let turns = gate.turns.available_permits();
    assert!(turns <= std::thread::available_parallelism().map_or(1, std::num::NonZero::get).div_ceil(2));
    let mut held = Vec::new();
    for _ in 0..turns {
        held.push(gate.turn().await.expect("a turn"));
    }
    let mut next = std::pin::pin!(gate.turn());
    assert!(std::future::poll_fn(|context| std::task::Poll::Ready(next.as_mut().poll(context).is_pending())).await);
    held.pop();
    assert!(next.await.is_ok(), "it waits its turn");
}

#[test]
fn a_limit_of_nothing_is_refused_by_its_name() {
    for at in 0..Limits::default().named().len() {
        let mut text: Vec<_> = Limits::default().named().iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let name = Limits::default().named()[at].0;
        text[at] = format!("{name} = 0");
        let limits: Limits = toml::from_str(&text.join("\n")).expect("reads");
        assert!(limits.check().is_err_and(|why| why.contains(&format!("`{name}`"))), "{name}");
    }
    assert_eq!(Limits::default().check(), Ok(()));
}
