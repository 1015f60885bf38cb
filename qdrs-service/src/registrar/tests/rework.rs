//! The holder's release: whose, how often, and what is left when it breaks off.

use super::*;
use crate::ledger::{audit::Deed, batch::NewBatch};
use qdrs_core::api::{RELEASES_MAX, ReleaseRequest, Released};

impl World {
    /// What the service knows of the caller by now.
    async fn access_of(&self, who: &Caller) -> Access {
        self.registrar.access(who.access.key_id).await.unwrap().expect("it is known")
    }

    /// The same request again until it hears the end.
    pub(super) async fn rework(&self, who: &Caller, serial: &str, reservation: Uuid) -> Result<Released, Code> {
        loop {
            let end = self.try_rework(who, serial, reservation).await.map_err(|refusal| refusal.code().unwrap());
            if !matches!(end, Err(Code::InProgress)) {
                return end;
            }
        }
    }

    async fn try_rework(&self, who: &Caller, serial: &str, reservation: Uuid) -> Result<Released, Refusal> {
        let request = ReleaseRequest { reservation, reason: "cracked case".into() };
        self.registrar.rework(&self.access_of(who).await, serial, request).await
    }

    async fn made(&self, who: &Caller, serial: &str, job: &str) -> (Registration, DeviceKey) {
        let (registration, key) = self.register(who, serial, job).await.unwrap();
        self.confirm(who, serial, &registration, &key).await.unwrap();
        (registration, key)
    }

    pub(super) async fn deeds(&self) -> Vec<Deed> {
        let entries = self.registrar.shared.ledger.audit(1, 10_000).await.unwrap();
        assert!(crate::ledger::audit::check_chain(1, [0; 32], &entries).is_ok(), "the audit chain is broken");
        entries.iter().map(|entry| serde_json::from_str(&entry.text).unwrap()).collect()
    }

    /// Quotas count what stands, and a rework budget what the audit log says that its code released.
    pub(super) async fn balance(&self, callers: &[Caller]) {
        let deeds = self.deeds().await;
        let mut made = 0;
        for caller in callers {
            let access = self.access_of(caller).await;
            let began = deeds.iter().filter(|deed| deed.action == "releasing" && deed.by == access.key_id.to_string());
            assert_eq!((access.reworked, access.reworked <= access.rework), (began.count() as u64, true));
            made += access.made;
        }
        let connection = rusqlite::Connection::open(self.folder.path().join("ledger.sqlite")).unwrap();
        // What is being released has paid, or has its own back since the hub refused it.
        let stand = "SELECT count(*) FILTER (WHERE charged = 1), count(*) FILTER (WHERE state NOT IN ('rejected', 'released')) - \
                     count(*) FILTER (WHERE state = 'releasing' AND charged = 0) FROM reservation";
        let stand: (u64, u64) = connection.query_row(stand, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!((made, made), stand, "the quota does not count what stands");
    }
}

#[tokio::test]
async fn a_station_releases_its_own_and_makes_it_again() {
    let world = World::new();
    let mine = world.station("line-1", |access| (access.rework, access.quota) = (2, Some(1))).await;
    let (first, key) = world.made(&mine, "7", "a").await;
    let released = world.rework(&mine, "0007", first.reservation).await.expect_err("another serial");
    assert_eq!(released, Code::SerialUnknown);
    let released = world.rework(&mine, "7", first.reservation).await.unwrap();
    assert!(world.hub.key("7").is_none());
    assert_eq!(world.rework(&mine, "7", first.reservation).await.unwrap(), released, "the same again answers the same");
    let access = world.access_of(&mine).await;
    assert_eq!((access.reworked, access.made), (1, 0), "charged once, and the quota is back");
    assert_eq!(world.confirm(&mine, "7", &first, &key).await.unwrap_err(), Code::Released, "a late confirmation");
    assert_eq!(world.register(&mine, "7", "a").await.unwrap_err(), Code::Released, "the old job");
    let (second, new) = world.register(&mine, "7", "b").await.unwrap();
    assert_ne!(new.fingerprint(), key.fingerprint());
    assert_eq!(world.rework(&mine, "7", first.reservation).await.unwrap(), released, "what was made since is left alone");
    assert_eq!(world.hub.key("7").unwrap().fingerprint(), new.fingerprint());
    world.rework(&mine, "7", second.reservation).await.expect("what was not confirmed yet, too");
    let deeds = world.deeds().await;
    let ends: Vec<_> = deeds.iter().filter(|deed| deed.action.starts_with("releas")).collect();
    assert_eq!(ends.len(), 4);
    assert!(ends.iter().all(|deed| deed.by == mine.access.key_id.to_string()));
    assert_eq!(ends[0].detail.as_deref(), Some("released: cracked case"));
}

#[tokio::test]
async fn a_budget_is_the_owners_and_ends() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    let product = world.station("app", |access| (access.kind, access.rework) = (Kind::Product, 1)).await;
    let (first, _) = world.made(&mine, "7", "a").await;
    let (second, _) = world.made(&mine, "14", "b").await;
    assert_eq!(world.rework(&mine, "7", first.reservation).await.unwrap_err(), Code::NotPermitted);
    let refused = world.try_rework(&product, "7", first.reservation).await.unwrap_err();
    assert_eq!(refused.for_kind(Kind::Product).code(), Some(Code::ProductRefused));
    let ledger = &world.registrar.shared.ledger;
    assert_eq!(ledger.access_set_rework("line-1".into(), 1).await.unwrap().rework, 1);
    ledger.access_set_rework("app".into(), 1).await.expect_err("a product has none");
    ledger.access_set_rework("app".into(), 0).await.expect("and keeps none");
    ledger.access_set_rework("line-9".into(), 1).await.expect_err("there is no such code");
    world.rework(&mine, "7", first.reservation).await.unwrap();
    assert_eq!(world.rework(&mine, "14", second.reservation).await.unwrap_err(), Code::ReworkUsedUp);
    assert!(world.hub.key("14").is_some());
    ledger.access_set_rework("line-1".into(), 2).await.unwrap();
    world.rework(&mine, "14", second.reservation).await.expect("the owner has raised it");
}

#[tokio::test]
async fn what_is_anothers_is_nothing_that_one_could_know() {
    let world = World::new();
    let mine = world.station("line-1", |access| access.rework = 9).await;
    let other = world.station("line-2", |access| access.rework = 9).await;
    let (theirs, _) = world.made(&other, "7", "a").await;
    let never = Uuid::now_v7();
    let said =
        [world.try_rework(&mine, "7", theirs.reservation).await, world.try_rework(&mine, "7", never).await].map(|refused| {
            let problem = refused.unwrap_err().problem;
            serde_json::to_string(&problem).unwrap().replace(&theirs.reservation.to_string(), &never.to_string())
        });
    assert_eq!(said[0], said[1]);
    assert!(said[0].contains("serial-unknown"), "{}", said[0]);
    assert_eq!(world.state("7").await, Some(State::Confirmed));
    for reason in ["", "  ", "two\nlines", &"x".repeat(201)] {
        let request = ReleaseRequest { reservation: theirs.reservation, reason: reason.into() };
        let refused = world.registrar.rework(&world.access_of(&other).await, "7", request).await.unwrap_err();
        assert_eq!(refused.code(), Some(Code::BadRequest), "{reason:?}");
    }
}

#[tokio::test]
async fn of_two_at_one_moment_each_costs_what_it_should() {
    let world = World::new();
    let mine = world.station("line-1", |access| access.rework = 1).await;
    let (first, _) = world.made(&mine, "7", "a").await;
    let (second, _) = world.made(&mine, "14", "b").await;
    let (one, two) = tokio::join!(world.rework(&mine, "7", first.reservation), world.rework(&mine, "7", first.reservation));
    assert_eq!(one.unwrap(), two.unwrap(), "the same request twice");
    assert_eq!(world.access_of(&mine).await.reworked, 1);

    world.registrar.shared.ledger.access_set_rework("line-1".into(), 2).await.unwrap();
    let (third, _) = world.made(&mine, "21", "c").await;
    let (one, two) = tokio::join!(world.rework(&mine, "14", second.reservation), world.rework(&mine, "21", third.reservation));
    assert_eq!(one.is_ok(), two.is_err(), "one of two has the last release");
    assert_eq!(one.err().or(two.err()), Some(Code::ReworkUsedUp));
    assert_eq!(world.access_of(&mine).await.reworked, 2);
}

#[tokio::test]
async fn what_breaks_off_goes_on_free_of_charge() {
    // The hub's calls of a release: look, look, delete. It answers no more from the n-th on, and the service is killed.
    for calls in 0..4 {
        for fate in [Fate::AnswerLost, Fate::CallLost, Fate::NotSent] {
            let mut world = World::new();
            let mine = world.station("line-1", |access| access.rework = 1).await;
            let (first, _) = world.made(&mine, "7", "a").await;
            world.hub.will(std::iter::repeat_n(Fate::Fine, calls));
            world.hub.will([fate; 3]);
            let access = world.access_of(&mine).await;
            // Not through `rework`: its work is a task that outlives its caller, and here the whole process ends.
            let record = world.record("7").await.unwrap();
            let _ = tokio::time::timeout(
                Duration::from_micros(200),
                world.registrar.give_up(&access, record, "released: cracked case".into()),
            )
            .await;
            // What it has given to the ledger's thread is still done.
            world.registrar.ready().await.unwrap();
            let begun = world.state("7").await != Some(State::Confirmed);
            assert_eq!(world.access_of(&mine).await.reworked, u64::from(begun));
            world.restart();
            world.hub.fates.lock().unwrap().clear();
            world.rework(&mine, "7", first.reservation).await.unwrap_or_else(|code| panic!("{calls} {fate:?}: {code}"));
            assert!(world.hub.key("7").is_none());
            assert_eq!(world.access_of(&mine).await.reworked, 1, "{calls} {fate:?}");
            world.balance(&[mine]).await;
        }
    }
}

#[tokio::test]
async fn a_lost_call_is_waited_for_and_the_same_request_hears_the_end() {
    let world = World::new();
    let mine = world.station("line-1", |access| access.rework = 1).await;
    let (first, key) = world.made(&mine, "7", "a").await;
    // As if a call were sent in a second from now, and its answer lost: so long its effect may come.
    let connection = rusqlite::Connection::open(world.folder.path().join("ledger.sqlite")).unwrap();
    let lost = "UPDATE sent_key SET sent_at = ?1, answered_at = NULL";
    assert_eq!(connection.execute(lost, [Timestamp::now().as_millisecond() + 1000]).unwrap(), 1);
    let refused = world.try_rework(&mine, "7", first.reservation).await.unwrap_err();
    assert_eq!((refused.code(), refused.problem.retry_after), (Some(Code::InProgress), Some(1)));
    assert_eq!(world.state("7").await, Some(State::Releasing), "it goes on without its caller");
    assert_eq!(world.register(&mine, "7", "b").await.unwrap_err(), Code::SerialTaken, "not free yet");
    assert!(world.hub.key("7").is_some(), "the lost call could still have its effect");
    let released = world.rework(&mine, "7", first.reservation).await.unwrap();
    assert_eq!(world.rework(&mine, "7", first.reservation).await.unwrap(), released);
    assert_eq!(world.access_of(&mine).await.reworked, 1);
    assert_eq!(world.confirm(&mine, "7", &first, &key).await.unwrap_err(), Code::Released, "a late confirmation");
}

#[tokio::test]
async fn what_the_owner_changed_in_the_hub_is_the_owners_to_release() {
    let world = World::new();
    let mine = world.station("line-1", |access| access.rework = 9).await;
    let (first, _) = world.made(&mine, "7", "a").await;
    world.hub.change("7", |device| device.enabled = false);
    assert_eq!(world.rework(&mine, "7", first.reservation).await.unwrap_err(), Code::IdentityDisabled);
    world.hub.change("7", |device| device.primary = DeviceKey::generate());
    assert_eq!(world.rework(&mine, "7", first.reservation).await.unwrap_err(), Code::IdentityChanged);
    assert!(world.hub.key("7").is_some(), "what is not ours is never deleted");
    world.hub.devices.lock().unwrap().clear();
    assert_eq!(world.rework(&mine, "7", first.reservation).await.unwrap_err(), Code::IdentityMissing);
    assert_eq!((world.state("7").await, world.access_of(&mine).await.reworked), (Some(State::Confirmed), 0));
    world.release("7").await.expect("the owner may");

    let (second, _) = world.made(&mine, "14", "b").await;
    world.scrap("14").await.unwrap();
    assert_eq!(world.rework(&mine, "14", second.reservation).await.unwrap_err(), Code::SerialTaken);
    assert_eq!(world.access_of(&mine).await.reworked, 0);
}

#[tokio::test]
async fn closed_books_stay_as_they_are() {
    let world = World::new();
    let mine = world.station("line-1", |access| access.rework = 9).await;
    let ledger = &world.registrar.shared.ledger;
    let new = NewBatch { name: "w47".into(), policy: "sevens".into(), expected: Some(1), list: None, codes: Vec::new() };
    ledger.batch_open(new).await.unwrap();
    let of = || RegisterRequest { batch: Some("w47".into()), ..Default::default() };
    let (first, _) = world.register_with(&mine, "7", "a", of()).await.unwrap();
    world.rework(&mine, "7", first.reservation).await.expect("the batch is open");
    let (second, key) = world.register_with(&mine, "7", "b", of()).await.expect("its place is free again");
    world.confirm(&mine, "7", &second, &key).await.unwrap();
    let books = ledger.batch_close("w47".into(), None).await.unwrap();
    assert_eq!(world.rework(&mine, "7", second.reservation).await.unwrap_err(), Code::BatchClosed);
    assert_eq!(ledger.batch_books("w47".into()).await.unwrap().unwrap(), books);
    assert_eq!((world.access_of(&mine).await.reworked, world.hub.key("7").is_some()), (1, true));
}

#[tokio::test]
async fn a_rejected_serial_is_freed_by_the_owner_for_others_and_pays_back_once() {
    let world = World::new();
    let mine = world.station("line-1", |access| access.rework = 9).await;
    let other = world.station("line-2", |_| ()).await;
    world.made(&mine, "14", "x").await;
    *world.hub.refuses.lock().unwrap() = true;
    assert_eq!(world.register(&mine, "7", "a").await.unwrap_err(), Code::RejectedByHub);
    *world.hub.refuses.lock().unwrap() = false;
    assert_eq!(world.register(&other, "7", "b").await.unwrap_err(), Code::SerialTaken, "the first code's, until the owner says");
    let id = world.record("7").await.unwrap().reservation.id;
    assert_eq!(world.rework(&mine, "7", id).await.unwrap_err(), Code::SerialTaken, "nothing was made that could be released");
    assert_eq!(world.release("7").await.unwrap().life.state(), State::Released);
    assert_eq!(world.access_of(&mine).await.made, 1, "its own quota came back when the hub refused it");
    world.register(&other, "7", "b").await.expect("the serial is free");
    assert_eq!(world.register(&mine, "7", "a").await.unwrap_err(), Code::Released);
}

#[tokio::test]
async fn a_code_hears_of_its_own_dead_in_their_order_a_page_at_a_time() {
    let world = World::new();
    let mine = world.station("line-1", |access| access.rework = 1).await;
    let other = world.station("line-2", |_| ()).await;
    let (first, _) = world.made(&mine, "7", "a").await;
    let (second, _) = world.register(&mine, "14", "b").await.unwrap();
    world.made(&other, "21", "c").await;
    world.release("21").await.unwrap();
    let none = world.registrar.releases(&mine.access, 0).await.unwrap();
    assert_eq!((none.releases.len(), none.next, none.more), (0, 0, false));
    // By itself, by a take-over, and by the owner.
    let take_over = || RegisterRequest { take_over: Some(TakeOver { reason: "lost".into() }), ..Default::default() };
    let (third, _) = world.register_with(&mine, "14", "d", take_over()).await.unwrap();
    world.rework(&mine, "7", first.reservation).await.unwrap();
    world.release("14").await.unwrap();
    let all = world.registrar.releases(&mine.access, 0).await.unwrap();
    let heard: Vec<_> = all.releases.iter().map(|one| (one.serial.as_str(), one.reservation)).collect();
    assert_eq!(heard, [("14", second.reservation), ("7", first.reservation), ("14", third.reservation)]);
    assert_eq!((all.next, all.more), (3, false));
    let last = world.registrar.releases(&mine.access, 2).await.unwrap();
    assert_eq!((last.releases.as_slice(), last.next), (&all.releases[2..], 3));
    assert!(world.registrar.releases(&mine.access, 3).await.unwrap().releases.is_empty());
    let of_another_ledger = world.registrar.releases(&mine.access, u64::MAX).await.unwrap();
    assert_eq!((of_another_ledger.releases, of_another_ledger.next), (all.releases, 3));
    assert_eq!(world.registrar.releases(&other.access, 0).await.unwrap().releases.len(), 1);

    for number in 0..RELEASES_MAX {
        let job = format!("again {number}");
        world.register_with(&other, "28", &job, take_over()).await.unwrap();
    }
    let page = world.registrar.releases(&other.access, 0).await.unwrap();
    assert_eq!((page.releases.len(), page.more), (RELEASES_MAX, false));
    world.register_with(&other, "28", "last", take_over()).await.unwrap();
    let page = world.registrar.releases(&other.access, 0).await.unwrap();
    assert_eq!((page.releases.len(), page.more), (RELEASES_MAX, true));
    let rest = world.registrar.releases(&other.access, page.next).await.unwrap();
    assert_eq!((rest.releases.len(), rest.more), (1, false));
}
