//! After any interruption and the same command again: ledger, hub, journal and devices agree, every serial exactly once.

use std::time::Duration;

use qdrs_core::{
    access::AccessCode,
    api::RegisterRequest,
    client::{Client, ClientOptions},
};
use qdrs_service::emulator::{Fault, Operation, Rule};
use qdrs_tests::{Bench, Cloud, Dice, Proxy, Station, deep, serials, until};
use uuid::Uuid;

/// How many random moments, in a batch of how many: five times as many in the deep run.
fn moments() -> (usize, usize) {
    if deep() { (100, 1000) } else { (20, 200) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hubs_answer_is_lost_after_the_effect() {
    let cloud = Cloud::start().await;
    let station = Station::new("line-1", &cloud.url(), &cloud.access_code("line-1", &[]));
    let (serials, bench) = (serials(40), Bench::with(4));
    cloud.hub.faults.add(Rule::new(Fault::DropAnswer).on(Operation::Create).share(0.3, Dice::new("hubs_answer").below(1000)));
    cloud.hub.faults.add(Rule::new(Fault::FailBefore).on(Operation::Create).share(0.1, 7));

    station.provision(&station.batch(&serials), &bench).ends().await.with_code(0);

    assert!(cloud.hub.faults.fired() > 0, "no answer was lost, so nothing was tested");
    cloud.books().balance(&serials, &bench.held());
    assert_eq!(cloud.books().tombstones, 0, "a lost answer needs no take-over");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_services_answer_is_lost() {
    let cloud = Cloud::start().await;
    let network = Proxy::to(&cloud.address()).await.expect("the network starts");
    network.drop_every(3);
    let station = Station::new("line-1", network.url(), &cloud.access_code("line-1", &[]));
    let (serials, bench) = (serials(40), Bench::with(4));

    station.provision(&station.batch(&serials), &bench).ends().await.with_code(0);

    assert!(network.dropped() > 20, "too few answers were lost: {}", network.dropped());
    cloud.books().balance(&serials, &bench.held());
    assert_eq!(cloud.books().tombstones, 0, "a lost answer needs no take-over");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_station_is_killed_at_twenty_moments_of_a_batch_of_200() {
    let cloud = Cloud::start().await;
    let station = Station::new("line-1", &cloud.url(), &cloud.access_code("line-1", &[]));
    let (moments, devices) = moments();
    let (serials, bench) = (serials(devices), Bench::with(4));
    let batch = station.batch(&serials);
    let mut dice = Dice::new("station_is_killed");
    let mut kills = 0;
    for _ in 0..moments {
        if station.provision(&batch, &bench).kill_after(1 + dice.below(60)).await {
            kills += 1;
        }
    }
    station.provision(&batch, &bench).ends().await.with_code(0);

    assert!(kills >= moments * 3 / 4, "only {kills} of {moments} runs were killed at work");
    cloud.books().balance(&serials, &bench.held());
    let again = station.provision(&batch, &bench).ends().await.with_code(0);
    assert_eq!(again.summary()["done_before"], devices, "the journal agrees: {}", again.summary());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_is_killed_at_twenty_moments_of_a_batch_of_200() {
    let mut cloud = Cloud::start().await;
    let station = Station::new("line-1", &cloud.url(), &cloud.access_code("line-1", &[]));
    let (moments, devices) = moments();
    let (serials, bench) = (serials(devices), Bench::with(4));
    let running = tokio::spawn(station.provision(&station.batch(&serials), &bench).ends());
    let mut dice = Dice::new("service_is_killed");
    let (mut at, mut kills) = (0, 0);
    for _ in 0..moments {
        at += 1 + usize::try_from(dice.below(18)).expect("small");
        if at >= serials.len() {
            break;
        }
        until("the hub has the next devices", || cloud.hub.registry.len() >= at || running.is_finished()).await;
        if running.is_finished() {
            break;
        }
        cloud.kill_service().await;
        cloud.start_service().await;
        kills += 1;
    }
    running.await.expect("the station ends").with_code(0);

    assert!(kills >= moments * 3 / 4, "only {kills} of {moments} kills");
    cloud.books().balance(&serials, &bench.held());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stations_share_a_batch() {
    let cloud = Cloud::start().await;
    let one = Station::new("line-1", &cloud.url(), &cloud.access_code("line-1", &[]));
    let two = Station::new("line-2", &cloud.url(), &cloud.access_code("line-2", &[]));
    let (serials, left, right) = (serials(60), Bench::with(3), Bench::with(3));

    let (first, second) = (one.provision(&one.batch(&serials), &left), two.provision(&two.batch(&serials), &right));
    let (first, second) = tokio::join!(first.ends(), second.ends());
    let (first, second) = (first.with_code(0).summary(), second.with_code(0).summary());

    let passed = |summary: &serde_json::Value| summary["pass"].as_u64().unwrap_or(0);
    assert_eq!(passed(&first) + passed(&second), 60, "{first}\n{second}");
    let held = [left.held(), right.held()].concat();
    cloud.books().balance(&serials, &held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_from_two_connections_at_one_moment_makes_one_device() {
    let cloud = Cloud::start().await;
    let text = std::fs::read_to_string(cloud.access_code("line-1", &[])).expect("the code");
    let code = AccessCode::parse(text.trim()).expect("an access code");
    // Slow enough that both are under way before either is done.
    cloud.hub.faults.add(Rule::new(Fault::Delay { ms: 20 }).on(Operation::Create).always());
    for serial in serials(30) {
        let connection = || {
            let options = ClientOptions {
                service: cloud.url().parse().expect("a URL"),
                code: code.clone(),
                ca_file_pem: None,
                patience: Duration::from_secs(30),
                user_agent: "two connections".into(),
            };
            Client::new(options).expect("a client")
        };
        let (left, right, job, request) = (connection(), connection(), Uuid::now_v7(), RegisterRequest::default());
        let (left, right) = tokio::join!(left.register(&serial, job, &request), right.register(&serial, job, &request));
        let (left, right) = (left.expect("registered"), right.expect("registered"));
        assert_eq!(left.registration.reservation, right.registration.reservation);
        assert_eq!(left.credential.key.fingerprint(), right.credential.key.fingerprint());
        let live = cloud.hub.registry.identity(&left.registration.device_id).and_then(|known| known.primary_key);
        assert_eq!(live.map(|key| key.fingerprint()), Some(left.credential.key.fingerprint()));
    }
    assert_eq!(cloud.books().hub.len(), 30);
    assert!(cloud.books().ledger.values().all(|row| row.state == "issued"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_journal_costs_a_take_over_and_the_first_key_is_dead() {
    let cloud = Cloud::start().await;
    let station = Station::new("line-1", &cloud.url(), &cloud.access_code("line-1", &[]));
    let (serials, bench) = (serials(12), Bench::with(2));
    let batch = station.batch(&serials);
    let mut running = station.provision(&batch, &bench);
    while let Some(event) = running.event().await {
        if event["event"] == "slot" && event["step"] == "write" {
            break;
        }
    }
    running.kill_after(0).await;
    let before = cloud.books();
    std::fs::remove_file(station.journal()).expect("the journal is there");

    station.provision(&batch, &bench).ends().await.with_code(0);

    let after = cloud.books();
    after.balance(&serials, &bench.held());
    let open: Vec<_> = before.ledger.values().filter(|row| row.state == "issued").collect();
    assert!(!open.is_empty() && after.tombstones >= open.len(), "nothing was taken over");
    for row in open {
        assert_ne!(after.hub.get(&row.device_id), row.fingerprint.as_ref(), "{}: the first key is alive", row.device_id);
    }
}
