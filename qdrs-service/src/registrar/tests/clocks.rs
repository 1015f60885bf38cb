//! The wall clock steps: orders and ages stay as they are.

use super::*;
use crate::ledger::batch::NewBatch;

const HOUR: i64 = 3600;

impl World {
    /// The wall clock steps by so many seconds: to every clock that is read from now on, whatever was written is that much
    /// further away.
    fn clock_steps(&self, seconds: i64) {
        let back = seconds * 1000;
        self.sql(&format!(
            "UPDATE reservation SET reserved_at = reserved_at - {back}, since = since - {back};
             UPDATE sent_key SET sent_at = sent_at - {back}, answered_at = answered_at - {back};
             UPDATE batch SET opened_at = opened_at - {back}, closed_at = closed_at - {back};"
        ));
    }

    async fn make_in_w47(&self, who: &Caller, serial: &str, job: &str) {
        let ask = RegisterRequest { batch: Some("w47".into()), ..Default::default() };
        let (made, key) = self.register_with(who, serial, job, ask).await.unwrap();
        self.confirm(who, serial, &made, &key).await.unwrap();
    }
}

#[tokio::test]
async fn a_step_of_the_clock_hides_no_attempt_in_history_and_books() {
    for step in [-HOUR, HOUR, -24 * HOUR] {
        let world = World::new();
        let mine = world.station("line-1", |_| ()).await;
        let ledger = &world.registrar.shared.ledger;
        let new =
            |name: &str| NewBatch { name: name.into(), policy: "sevens".into(), expected: None, list: None, codes: Vec::new() };
        ledger.batch_open(new("w47")).await.unwrap();
        world.make_in_w47(&mine, "7", "a").await;
        world.make_in_w47(&mine, "14", "b").await;
        world.clock_steps(step);
        world.release("7").await.unwrap();
        world.clock_steps(step);
        world.make_in_w47(&mine, "7", "c").await;
        let states = async || {
            let attempts = ledger.attempts("sevens".into(), "7".into()).await.unwrap();
            attempts.iter().map(|one| one.life.state()).collect::<Vec<_>>()
        };
        let books = async || ledger.batch_books("w47".into()).await.unwrap().unwrap();
        let in_books = async |serial: &str| {
            let line = books().await.lines.into_iter().find(|line| line.serial == serial);
            line.unwrap().made.unwrap().state
        };
        assert_eq!(states().await, [State::Released, State::Confirmed], "{step}");
        assert_eq!(in_books("7").await, State::Confirmed, "{step}: the last attempt counts");

        world.clock_steps(step);
        world.release("7").await.unwrap();
        world.clock_steps(step);
        world.make_in_w47(&mine, "7", "d").await;
        assert_eq!(states().await, [State::Released, State::Released, State::Confirmed], "{step}");
        assert_eq!(in_books("7").await, State::Confirmed, "{step}: not a tombstone");
        let opened = {
            ledger.batch_open(new("w48")).await.unwrap();
            world.clock_steps(step);
            ledger.batch_open(new("w49")).await.unwrap();
            ledger.batch_list().await.unwrap().into_iter().map(|batch| batch.name).collect::<Vec<_>>()
        };
        assert_eq!(opened, ["w47", "w48", "w49"], "{step}");

        ledger.batch_close("w47".into(), None).await.unwrap();
        world.clock_steps(step);
        assert_eq!(books().await.changed_after_closing().count(), 0, "{step}");
        world.release("14").await.unwrap();
        let changed = books().await.changed_after_closing().map(|line| line.serial.clone()).collect::<Vec<_>>();
        assert_eq!(changed, ["14"], "{step}: what changed after closing is named");
    }
}

#[tokio::test]
async fn a_release_waits_as_long_for_a_lost_call_whatever_the_clock_does() {
    for step in [-HOUR, HOUR] {
        let world = World::new();
        let mine = world.station("line-1", |_| ()).await;
        world.hub.will([Fate::AnswerLost]);
        let (made, key) = world.register(&mine, "7", "a").await.unwrap();
        // As if it were sent this moment.
        world.sql("UPDATE reservation SET state = 'reserved'");
        let sent = std::time::Instant::now();
        assert!(world.registrar.shared.ledger.add_key(made.reservation, key.fingerprint()).await.unwrap());
        world.clock_steps(step);
        let record = world.record("7").await.unwrap();
        let release = world.registrar.release(record, "x", &|_| ());
        let released = tokio::time::timeout(Duration::from_secs(20), release).await;
        released.unwrap_or_else(|_| panic!("{step}: it waits for the clock to come back")).unwrap();
        assert!(sent.elapsed() >= Duration::from_millis(130), "{step}: it did not wait");
    }
}

#[tokio::test]
async fn a_call_of_which_no_reading_is_known_is_waited_for_from_the_first_look_on() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    world.hub.will([Fate::AnswerLost]);
    world.register(&mine, "7", "a").await.unwrap();
    // As an older version has written it, or another system.
    world.sql("UPDATE sent_key SET boot = NULL, boot_ms = NULL, sent_at = 0");
    let began = std::time::Instant::now();
    world.release("7").await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(150), "it was not waited for");
}

#[tokio::test]
async fn a_days_quota_counts_by_the_days_name_whichever_way_the_clock_steps() {
    let mut world = World::new();
    let door = world.with_door(&[("daily", "[quota]\nper_day = 1\n")]);
    let mine = world.station("line-1", |access| access.policy = "daily".into()).await;
    world.register(&mine, "A", "a").await.unwrap();
    assert_eq!(world.register(&mine, "B", "b").await.unwrap_err(), Code::QuotaExhausted);
    // It was made on a day that the clock has left again; what is counted there stays there.
    world.sql("UPDATE policy_count SET day = '2099-01-01' WHERE day <> ''; UPDATE reservation SET day = '2099-01-01'");
    world.register(&mine, "B", "b").await.expect("another day");
    assert_eq!(world.register(&mine, "C", "c").await.unwrap_err(), Code::QuotaExhausted);
    drop(door);
}
