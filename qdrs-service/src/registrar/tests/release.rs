//! The owner's ends of a serial, and what is left when they break off.

use super::*;
use crate::ledger::SentBy;

impl World {
    pub(super) async fn record(&self, serial: &str) -> Option<Record> {
        self.registrar.shared.ledger.attempts("sevens".into(), serial.into()).await.unwrap().pop()
    }

    pub(super) async fn state(&self, serial: &str) -> Option<State> {
        self.record(serial).await.map(|record| record.life.state())
    }

    pub(super) async fn release(&self, serial: &str) -> Result<Record, Code> {
        let record = self.record(serial).await.ok_or(Code::SerialUnknown)?;
        self.registrar.release(record, "rework", &|_| ()).await.map_err(|refusal| refusal.code().unwrap())
    }

    pub(super) async fn scrap(&self, serial: &str) -> Result<Record, Code> {
        let record = self.record(serial).await.ok_or(Code::SerialUnknown)?;
        self.registrar.scrap(record, "fell down", &|_| ()).await.map_err(|refusal| refusal.code().unwrap())
    }

    async fn count(&self) -> u64 {
        self.registrar.shared.ledger.access_list().await.unwrap()[0].made
    }
}

#[tokio::test]
async fn a_released_serial_is_made_again_and_its_first_key_is_dead() {
    let world = World::new();
    let mine = world.station("line-1", |access| access.quota = Some(1)).await;
    let (first, key) = world.register(&mine, "7", "a").await.unwrap();
    world.confirm(&mine, "7", &first, &key).await.unwrap();
    let tombstone = world.release("7").await.unwrap();
    assert_eq!(tombstone.life, Life::Released { reason: "released: rework".into() });
    let sent = world.registrar.shared.ledger.sent_by(first.reservation, key.fingerprint()).await.unwrap();
    assert_eq!((sent, world.count().await), (Some(SentBy::Itself), 0), "a tombstone stays, the quota is back");
    assert_eq!(tombstone.reservation.id, first.reservation);
    assert!(world.hub.key("7").is_none());
    assert_eq!(world.release("7").await.unwrap().life.state(), State::Released, "again is no error");
    assert_eq!(world.confirm(&mine, "7", &first, &key).await.unwrap_err(), Code::Released, "a late confirmation");
    assert_eq!(world.register(&mine, "7", "a").await.unwrap_err(), Code::Released, "the old job");
    let (_, new) = world.register(&mine, "7", "b").await.unwrap();
    assert_ne!(new.fingerprint(), key.fingerprint());
    assert_eq!(world.life().await, ["reserved", "issued", "confirmed", "releasing", "released", "reserved", "issued"]);
    let attempts = world.registrar.shared.ledger.attempts("sevens".into(), "7".into()).await.unwrap();
    assert_eq!(attempts.iter().map(|one| one.life.state()).collect::<Vec<_>>(), [State::Released, State::Issued]);
}

#[tokio::test]
async fn a_scrapped_serial_is_never_again() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    let (first, key) = world.register(&mine, "7", "a").await.unwrap();
    assert_eq!(world.scrap("7").await.unwrap_err(), Code::SerialTaken, "only what is confirmed is scrapped");
    world.confirm(&mine, "7", &first, &key).await.unwrap();
    assert_eq!(world.scrap("7").await.unwrap().life, Life::Scrapped { reason: "scrapped: fell down".into() });
    assert!(world.hub.key("7").is_none());
    world.scrap("7").await.expect("again is no error");
    assert_eq!(world.release("7").await.unwrap_err(), Code::SerialTaken);
    assert_eq!(world.register(&mine, "7", "a").await.unwrap_err(), Code::SerialTaken);
    assert_eq!(world.register(&mine, "7", "b").await.unwrap_err(), Code::SerialTaken);
    let late = world.confirm(&mine, "7", &first, &key).await;
    assert_eq!(late.unwrap_err(), Code::SerialTaken, "`released` would have the station run the job again");
    assert_eq!(world.count().await, 1, "it was made");
}

#[tokio::test]
async fn what_breaks_off_at_any_step_is_finished_by_the_same_again() {
    // The hub's calls of a release: look, look, delete. Nobody answers from the n-th on: the command gives up.
    for calls in 0..4 {
        for fate in [Fate::AnswerLost, Fate::CallLost, Fate::NotSent] {
            for scrap in [false, true] {
                let mut world = World::new();
                let mine = world.station("line-1", |_| ()).await;
                let (first, key) = world.register(&mine, "7", "a").await.unwrap();
                world.confirm(&mine, "7", &first, &key).await.unwrap();
                world.hub.will(std::iter::repeat_n(Fate::Fine, calls));
                world.hub.will([fate; 3]);
                // Dropped in the middle of a wait for the hub, as a killed process is.
                let end = async { if scrap { world.scrap("7").await } else { world.release("7").await } };
                let _ = tokio::time::timeout(Duration::from_micros(200), end).await;
                assert!(world.register(&mine, "7", "b").await.is_err() || world.state("7").await != Some(State::Confirmed));
                world.restart();
                world.hub.fates.lock().unwrap().clear();
                let end = if scrap { world.scrap("7").await } else { world.release("7").await };
                let state = end.unwrap_or_else(|code| panic!("{calls} {fate:?} {scrap}: {code}")).life.state();
                assert_eq!(state, if scrap { State::Scrapped } else { State::Released });
                assert!(world.hub.key("7").is_none());
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_ours_is_never_deleted() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    let foreign = DeviceKey::generate();
    world.hub.devices.lock().unwrap().insert("7".into(), Device { primary: foreign.clone(), etag: 1, enabled: true });
    assert_eq!(world.register(&mine, "7", "a").await.unwrap_err(), Code::Conflict);
    assert_eq!(world.release("7").await.unwrap_err(), Code::Conflict);
    assert_eq!(world.hub.key("7").unwrap().fingerprint(), foreign.fingerprint());
    assert_eq!(world.state("7").await, Some(State::Conflict), "nothing has begun");
    world.hub.devices.lock().unwrap().clear();
    world.release("7").await.expect("the owner has deleted it by hand");
    world.register(&mine, "7", "b").await.expect("the serial is free");

    world.hub.change("7", |device| device.primary = foreign.clone());
    assert_eq!(world.release("7").await.unwrap_err(), Code::Conflict, "its key was changed by hand");
    assert_eq!(world.state("7").await, Some(State::Issued));
}

#[tokio::test]
async fn a_call_that_arrives_after_the_release_gives_nobody_a_live_credential() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    let (_, old) = world.register(&mine, "7", "a").await.unwrap();
    world.release("7").await.unwrap();
    world.hub.devices.lock().unwrap().insert("7".into(), Device { primary: old.clone(), etag: 1, enabled: true });
    let (_, new) = world.register(&mine, "7", "b").await.expect("a tombstone's key is known");
    assert_ne!(new.fingerprint(), old.fingerprint());
    assert_eq!(world.hub.key("7").unwrap().fingerprint(), new.fingerprint());
}

#[tokio::test]
async fn a_release_waits_for_the_answers_that_are_not_known() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    world.hub.will([Fate::AnswerLost]);
    world.register(&mine, "7", "a").await.unwrap();
    world.register(&mine, "14", "b").await.unwrap();
    let waits = Mutex::new(0);
    for (serial, waited) in [("14", false), ("7", true)] {
        let record = world.record(serial).await.unwrap();
        let lost = world.registrar.shared.ledger.unanswered_for(record.reservation.id).await.unwrap();
        assert_eq!(lost.is_some(), waited, "{serial}");
        let sent = waited.then(std::time::Instant::now);
        // As if it were sent this moment.
        if waited {
            let key = world.hub.key(serial).unwrap().fingerprint();
            world.sql("UPDATE reservation SET state = 'reserved' WHERE serial = '7'");
            assert!(world.registrar.shared.ledger.add_key(record.reservation.id, key).await.unwrap());
        }
        *waits.lock().unwrap() = 0;
        world.registrar.release(record, "x", &|_| *waits.lock().unwrap() += 1).await.unwrap();
        // The boot clock is read in hundredths of a second.
        let since = sent.map(|sent| sent.elapsed());
        assert!(since.is_none_or(|since| since >= Duration::from_millis(130)), "{serial} was not waited for: {since:?}");
        assert!(waited || *waits.lock().unwrap() == 0, "{serial} had nothing to wait for");
    }
}
