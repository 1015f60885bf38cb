//! What changes while a request waits for the hub, and how long it waits.

use super::*;
use crate::ledger::batch::NewBatch;

/// How a request comes to wait for the hub.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Path {
    /// A new registration.
    New,
    /// The same job again, while the first request still waits.
    Twin,
    /// The same job again, after the hub has not made it.
    Reserved,
    /// The same job again, after the hub has made it.
    Issued,
    /// Another job that takes it over, while it looks what the hub has.
    TakeOver,
    /// The same, once the old registration has ended.
    TakenOver,
}

const PATHS: [Path; 6] = [Path::New, Path::Twin, Path::Reserved, Path::Issued, Path::TakeOver, Path::TakenOver];

impl World {
    /// Changes the ledger behind the service's back.
    pub(super) fn sql(&self, sql: &str) {
        rusqlite::Connection::open(self.folder.path().join("ledger.sqlite")).unwrap().execute_batch(sql).unwrap();
    }

    fn rows(&self, table: &str) -> u64 {
        let connection = rusqlite::Connection::open(self.folder.path().join("ledger.sqlite")).unwrap();
        connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    /// Brings 7 to where that path begins, and returns the request that is to be sent.
    async fn prepare(&self, path: Path, mine: &Caller) -> (&'static str, RegisterRequest) {
        let ask = RegisterRequest { batch: Some("w47".into()), ..Default::default() };
        let take_over = Some(TakeOver { reason: "lost".into() });
        match path {
            Path::New | Path::Twin => ("a", ask),
            Path::Reserved => {
                *self.hub.full.lock().unwrap() = true;
                assert_eq!(self.register_with(mine, "7", "a", ask.clone()).await.unwrap_err(), Code::HubFull);
                *self.hub.full.lock().unwrap() = false;
                ("a", ask)
            }
            Path::Issued => {
                self.register_with(mine, "7", "a", ask.clone()).await.unwrap();
                ("a", ask)
            }
            Path::TakeOver => {
                self.register_with(mine, "7", "a", ask.clone()).await.unwrap();
                ("b", RegisterRequest { take_over, ..ask })
            }
            Path::TakenOver => {
                *self.hub.full.lock().unwrap() = true;
                assert_eq!(self.register_with(mine, "7", "a", ask.clone()).await.unwrap_err(), Code::HubFull);
                *self.hub.full.lock().unwrap() = false;
                ("b", RegisterRequest { take_over, ..ask })
            }
        }
    }

    /// Sends the request, and does `meanwhile` while it waits for the hub.
    async fn interfere(self: &Arc<Self>, path: Path, mine: &Arc<Caller>, meanwhile: impl AsyncFnOnce(&Self)) -> Result<(), Code> {
        let (job, ask) = self.prepare(path, mine).await;
        let [come, go_on] = [Arc::new(Notify::new()), Arc::new(Notify::new())];
        let hold = Some([Arc::clone(&come), Arc::clone(&go_on)]);
        if matches!(path, Path::New | Path::Twin) {
            *self.hub.holds.lock().unwrap() = hold;
        } else {
            *self.hub.holds_read.lock().unwrap() = hold;
        }
        let send = |ask: RegisterRequest| {
            let (world, mine) = (Arc::clone(self), Arc::clone(mine));
            tokio::spawn(async move { world.register_with(&mine, "7", job, ask).await.map(|_| ()) })
        };
        let mut asking = send(ask.clone());
        come.notified().await;
        if path == Path::Twin {
            asking = send(ask);
            tokio::task::yield_now().await;
        }
        meanwhile(self).await;
        go_on.notify_one();
        asking.await.unwrap()
    }
}

#[tokio::test]
async fn a_code_that_is_stopped_while_the_hub_works_gets_no_credential() {
    for path in PATHS {
        for (stop, code) in [
            ("state = 'suspended'", Code::AccessCodeSuspended),
            ("state = 'revoked'", Code::AccessCodeRevoked),
            ("expires = 1", Code::AccessCodeExpired),
        ] {
            let world = Arc::new(World::new());
            let mine = Arc::new(world.station("line-1", |_| ()).await);
            let stopped = async |world: &World| world.sql(&format!("UPDATE access_code SET {stop}"));
            assert_eq!(world.interfere(path, &mine, stopped).await.unwrap_err(), code, "{path:?}");
            if path == Path::TakeOver {
                assert_eq!(world.life().await, ["reserved", "issued"], "the old one stands");
            }
            world.sql("UPDATE access_code SET state = 'active', expires = NULL");
            let (job, ask) =
                if path == Path::TakenOver { ("b", RegisterRequest::default()) } else { ("a", RegisterRequest::default()) };
            world.register_with(&mine, "7", job, ask).await.unwrap_or_else(|code| panic!("{path:?} is lost: {code}"));
        }
    }
}

#[tokio::test]
async fn a_release_of_a_code_that_is_stopped_meanwhile_does_not_begin() {
    let world = Arc::new(World::new());
    let mine = Arc::new(world.station("line-1", |access| access.rework = 1).await);
    let (registration, _) = world.register(&mine, "7", "a").await.unwrap();
    let [come, go_on] = [Arc::new(Notify::new()), Arc::new(Notify::new())];
    *world.hub.holds_read.lock().unwrap() = Some([Arc::clone(&come), Arc::clone(&go_on)]);
    let giving_up = tokio::spawn({
        let (world, mine) = (Arc::clone(&world), Arc::clone(&mine));
        async move { world.registrar.give_up(&mine.access, world.record("7").await.unwrap(), "released: x".into()).await.map(|_| ()) }
    });
    come.notified().await;
    world.registrar.shared.ledger.access_set_state("line-1".into(), AccessState::Suspended).await.unwrap();
    go_on.notify_one();
    assert_eq!(giving_up.await.unwrap().unwrap_err().code(), Some(Code::AccessCodeSuspended));
    assert_eq!(world.record("7").await.unwrap().reservation.id, registration.reservation);
    assert_eq!(world.life().await, ["reserved", "issued"]);
}

#[tokio::test]
async fn a_batch_that_is_closed_while_any_request_waits_hands_nothing_out() {
    for path in PATHS {
        let world = Arc::new(World::new());
        let mine = Arc::new(world.station("line-1", |_| ()).await);
        let new = NewBatch { name: "w47".into(), policy: "sevens".into(), expected: None, list: None, codes: Vec::new() };
        world.registrar.shared.ledger.batch_open(new).await.unwrap();
        let close = async |world: &World| {
            world.registrar.shared.ledger.batch_close("w47".into(), Some("shift is over".into())).await.unwrap();
        };
        assert_eq!(world.interfere(path, &mine, close).await.unwrap_err(), Code::BatchClosed, "{path:?}");
    }
}

#[tokio::test]
async fn what_is_released_while_any_request_waits_is_not_handed_out_and_not_made_again() {
    for path in PATHS {
        let world = Arc::new(World::new());
        let mine = Arc::new(world.station("line-1", |_| ()).await);
        let release = async |world: &World| {
            let id = world.record("7").await.unwrap().reservation.id;
            assert!(world.registrar.shared.ledger.release(id, "released: x".into()).await.unwrap());
            world.hub.devices.lock().unwrap().clear();
            assert!(world.registrar.shared.ledger.released(id, crate::ledger::By::Owner).await.unwrap());
        };
        // The owner deletes what is there; what the hub does for this request alone is not stopped by that.
        let end = world.interfere(path, &mine, release).await.unwrap_err();
        assert!(matches!(end, Code::Released | Code::SerialTaken), "{path:?}: {end}");
        assert!(world.hub.key("7").is_none(), "{path:?} sent a call after the release");
    }
}

#[tokio::test]
async fn a_full_hub_leaves_no_trace_of_a_thousand_repeats() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    *world.hub.full.lock().unwrap() = true;
    for _ in 0..1000 {
        assert_eq!(world.register(&mine, "7", "a").await.unwrap_err(), Code::HubFull);
    }
    assert_eq!(world.rows("sent_key"), 0, "a call that was refused needs no fingerprint");
    let id = world.record("7").await.unwrap().reservation.id;
    assert_eq!(world.registrar.shared.ledger.unanswered_for(id).await.unwrap(), None, "nor does a release wait for it");
    *world.hub.full.lock().unwrap() = false;
    let (_, key) = world.register(&mine, "7", "a").await.unwrap();
    assert_eq!(world.hub.key("7").unwrap().fingerprint(), key.fingerprint());
    assert_eq!(world.rows("sent_key"), 1);
}

#[tokio::test]
async fn what_the_hub_refuses_or_never_gets_leaves_no_key_behind_and_a_lost_call_does() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    *world.hub.refuses.lock().unwrap() = true;
    for _ in 0..20 {
        assert_eq!(world.register(&mine, "7", "a").await.unwrap_err(), Code::RejectedByHub);
    }
    assert_eq!(world.rows("sent_key"), 0);
    *world.hub.refuses.lock().unwrap() = false;
    world.hub.devices.lock().unwrap().insert("14".into(), Device { primary: DeviceKey::generate(), etag: 1, enabled: true });
    assert_eq!(world.register(&mine, "14", "b").await.unwrap_err(), Code::Conflict);
    assert_eq!(world.rows("sent_key"), 0, "the hub has another key for it");
    *world.hub.full.lock().unwrap() = true;
    world.hub.will([Fate::CallLost]);
    assert_eq!(world.register(&mine, "21", "c").await.unwrap_err(), Code::HubFull);
    assert_eq!(world.rows("sent_key"), 1, "a call without an answer may still arrive");
}

#[tokio::test]
async fn no_request_waits_longer_than_its_one_deadline() {
    for path in PATHS {
        let mut world = World::new();
        // A twin has a shorter deadline of its own.
        if path != Path::Twin {
            Arc::get_mut(&mut world.registrar.shared).unwrap().answer_within = Duration::from_millis(200);
        }
        let world = Arc::new(world);
        let mine = Arc::new(world.station("line-1", |_| ()).await);
        let (job, ask) = world.prepare(path, &mine).await;
        let come = Arc::new(Notify::new());
        *world.hub.stalls.lock().unwrap() = Some(Arc::clone(&come));
        let send = || {
            let (world, mine, ask) = (Arc::clone(&world), Arc::clone(&mine), ask.clone());
            tokio::spawn(async move { world.register_with(&mine, "7", job, ask).await.map(|_| ()) })
        };
        let mut asking = send();
        come.notified().await;
        let mut expected = Code::HubSlow;
        if path == Path::Twin {
            asking = send();
            expected = Code::InProgress;
        }
        // Far above the deadline, and below what the hub's client waits for one call.
        let end = tokio::time::timeout(Duration::from_secs(40), asking).await;
        let end = end.unwrap_or_else(|_| panic!("{path:?} waits as long as the hub's client"));
        assert_eq!(end.unwrap().unwrap_err(), expected, "{path:?}");
    }
}

#[tokio::test]
async fn who_waits_in_vain_reads_what_the_last_try_failed_with() {
    let mut world = World::new();
    Arc::get_mut(&mut world.registrar.shared).unwrap().answer_within = Duration::from_millis(100);
    let mine = world.station("line-1", |_| ()).await;
    // More tries than fit before the deadline, each after a commit.
    world.hub.will(std::iter::repeat_n(Fate::NotSent, 100_000));
    let refusal = world.registrar.register(&mine.access, "7", "a", RegisterRequest::default()).await.unwrap_err();
    assert_eq!(refusal.code(), Some(Code::HubUnreachable));
    assert_eq!((refusal.problem.detail.as_str(), refusal.problem.retry_after), ("the hub can't be reached: as told", Some(2)));
    world.hub.fates.lock().unwrap().clear();
}
