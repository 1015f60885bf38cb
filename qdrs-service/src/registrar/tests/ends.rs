//! What two do to the end of one serial at one moment, and what the hub does meanwhile.

use super::{door::Call, *};
use qdrs_core::api::ReleaseRequest;

impl World {
    /// What the holder's release answers in the end, in the words of its code.
    async fn gives_up(&self, who: &Caller, reservation: Uuid) -> Result<Timestamp, (Code, String)> {
        let access = self.registrar.access(who.access.key_id).await.unwrap().expect("it is known");
        loop {
            let request = ReleaseRequest { reservation, reason: "cracked case".into() };
            match self.registrar.rework(&access, "7", request).await {
                Ok(released) => return Ok(released.released_at),
                Err(refusal) if refusal.code() == Some(Code::InProgress) => {}
                Err(refusal) => return Err((refusal.code().unwrap(), refusal.problem.detail)),
            }
        }
    }

    /// What the owner's release or scrapping answers, in words.
    async fn ends(&self, serial: &str, scrap: bool) -> Result<State, String> {
        let record = self.record(serial).await.unwrap();
        let ended = match scrap {
            true => self.registrar.scrap(record, "fell down", &|_| ()).await,
            false => self.registrar.release(record, "rework", &|_| ()).await,
        };
        ended.map(|record| record.life.state()).map_err(|refusal| refusal.problem.detail)
    }
}

/// A confirmed serial 7, whose holder may give up one.
async fn confirmed() -> (World, Arc<door::Door>, Caller, Uuid) {
    let mut world = World::new();
    let door = world.with_door(&[]);
    let mine = world.station("line-1", |access| access.rework = 1).await;
    let (made, key) = world.register(&mine, "7", "a").await.unwrap();
    world.confirm(&mine, "7", &made, &key).await.unwrap();
    (world, door, mine, made.reservation)
}

#[tokio::test]
async fn a_holder_gives_up_what_the_owner_ends_at_the_same_moment() {
    let (world, door, mine, id) = confirmed().await;
    let ledger = &world.registrar.shared.ledger;
    let both = door.meanwhile(Call::Read, world.gives_up(&mine, id), async {
        world.release("7").await.expect("the owner was faster");
    });
    assert_eq!(both.await, Ok(world.record("7").await.unwrap().since), "it is what was asked for");
    assert_eq!(ledger.access_list().await.unwrap()[0].reworked, 0, "and costs nothing");

    let (world, door, mine, id) = confirmed().await;
    let begun = door.meanwhile(Call::Read, world.gives_up(&mine, id), async {
        assert!(world.registrar.shared.ledger.release(id, "released: by the owner".into()).await.unwrap());
    });
    begun.await.expect("what the owner has begun is finished");
    assert!(world.hub.key("7").is_none());

    let (world, door, mine, id) = confirmed().await;
    let scrapped = door.meanwhile(Call::Read, world.gives_up(&mine, id), async {
        world.scrap("7").await.expect("by the owner");
    });
    let (code, detail) = scrapped.await.unwrap_err();
    assert!(code == Code::SerialTaken && detail.starts_with("`7` is scrapped since "), "{detail}");
    assert_eq!(world.state("7").await, Some(State::Scrapped));
}

#[tokio::test]
async fn two_who_end_a_serial_at_one_moment_both_hear_its_end() {
    for scrap in [false, true] {
        let (world, door, ..) = confirmed().await;
        let both = door.meanwhile(Call::Delete, world.ends("7", scrap), async {
            world.ends("7", scrap).await.expect("the second was faster");
        });
        assert_eq!(both.await, Ok(if scrap { State::Scrapped } else { State::Released }));
    }
}

#[tokio::test]
async fn an_end_that_came_otherwise_is_not_told_as_ones_own() {
    let (world, door, _, id) = confirmed().await;
    let scrap = door.meanwhile(Call::Delete, world.ends("7", true), async {
        let ledger = &world.registrar.shared.ledger;
        assert!(ledger.release(id, "released: by another".into()).await.unwrap());
    });
    let told = scrap.await.expect_err("it is being released");
    assert!(told.contains("somebody else changed it at the same moment"), "{told}");
    assert_eq!(world.state("7").await, Some(State::Releasing));
}

#[tokio::test]
async fn what_can_not_end_so_is_said_before_the_hub_is_asked() {
    let mut world = World::new();
    let door = world.with_door(&[]);
    let mine = world.station("line-1", |access| access.rework = 1).await;
    let (made, key) = world.register(&mine, "7", "a").await.unwrap();
    let calls = door.calls();
    assert_eq!(world.ends("7", true).await.unwrap_err(), "`7` is issued; a serial that is issued can't be scrapped");
    assert!(world.hub.key("7").is_some());
    assert_eq!(door.calls(), calls);

    world.confirm(&mine, "7", &made, &key).await.unwrap();
    world.scrap("7").await.unwrap();
    let calls = door.calls();
    let told = "`7` is scrapped; a serial that is scrapped can't be released";
    assert_eq!(world.ends("7", false).await.unwrap_err(), told);
    assert_eq!(world.gives_up(&mine, made.reservation).await.unwrap_err(), (Code::SerialTaken, told.to_owned()));
    assert_eq!(door.calls(), calls);
}

#[tokio::test]
async fn what_the_hub_has_from_elsewhere_is_no_holders_to_release() {
    let world = World::new();
    let mine = world.station("line-1", |access| access.rework = 1).await;
    let foreign = Device { primary: DeviceKey::generate(), etag: 1, enabled: true };
    world.hub.devices.lock().unwrap().insert("7".into(), foreign);
    assert_eq!(world.register(&mine, "7", "a").await.unwrap_err(), Code::Conflict);
    let id = world.record("7").await.unwrap().reservation.id;
    assert_eq!(world.gives_up(&mine, id).await.unwrap_err().0, Code::Conflict);
    assert!(world.hub.key("7").is_some());
}

#[tokio::test]
async fn who_may_release_nothing_hears_so_though_the_hub_is_away() {
    let (world, door, mine, id) = confirmed().await;
    world.registrar.shared.ledger.access_set_rework("line-1".into(), 0).await.unwrap();
    let calls = door.calls();
    assert_eq!(world.gives_up(&mine, id).await.unwrap_err().0, Code::NotPermitted);
    assert_eq!(door.calls(), calls);
}

#[tokio::test]
async fn what_is_only_reserved_is_given_up_unless_it_was_disabled_by_hand() {
    let mut world = World::new();
    let door = world.with_door(&[]);
    let mine = world.station("line-1", |access| access.rework = 2).await;
    for enabled in [false, true] {
        // The identity is there, and the service has not heard of it.
        world.hub.will([Fate::AnswerLost]);
        door.says(Call::Read, HubError::Full);
        let asked = world.register(&mine, "7", if enabled { "b" } else { "a" }).await;
        let record = world.record("7").await.unwrap();
        assert_eq!((asked.unwrap_err(), record.life), (Code::HubFull, Life::Reserved));
        world.hub.change("7", |device| device.enabled = enabled);
        let given_up = world.gives_up(&mine, record.reservation.id).await.map_err(|(code, _)| code);
        assert_eq!(given_up.is_ok(), enabled, "{given_up:?}");
        assert_eq!(world.hub.key("7").is_none(), enabled);
        if !enabled {
            assert_eq!(given_up, Err(Code::IdentityDisabled));
            world.release("7").await.expect("the owner may");
        }
    }
}

#[tokio::test]
async fn a_release_looks_again_until_the_hub_has_done_it_or_says_no() {
    for says in [HubError::Changed, HubError::Unclear { why: "as told".into() }, HubError::Unreachable { why: "as told".into() }]
    {
        let (world, door, ..) = confirmed().await;
        door.says(Call::Delete, says.clone());
        assert_eq!(world.ends("7", false).await, Ok(State::Released), "{says}");
        assert!(world.hub.key("7").is_none());
    }
    let (world, door, ..) = confirmed().await;
    door.says(Call::Delete, HubError::NotFound);
    world.hub.change("7", |device| device.etag += 1);
    assert_eq!(world.ends("7", false).await, Ok(State::Released), "somebody else deleted it");

    let (world, door, ..) = confirmed().await;
    door.says(Call::Delete, HubError::Full);
    world.release("7").await.expect_err("that does not pass");
    assert!(world.hub.key("7").is_some());
    assert_eq!(door.calls().iter().filter(|call| **call == Call::Delete).count(), 1, "it is not asked again");
    assert_eq!(world.ends("7", false).await, Ok(State::Released), "the same command goes on");
}

#[tokio::test]
async fn a_look_at_the_hub_has_patience_with_what_passes_alone() {
    let (world, door, ..) = confirmed().await;
    door.says(Call::Read, HubError::Unreachable { why: "as told".into() });
    assert_eq!(world.ends("7", false).await, Ok(State::Released));

    let (world, door, ..) = confirmed().await;
    door.says(Call::Read, HubError::Full);
    world.release("7").await.expect_err("that does not pass");
    assert_eq!(world.state("7").await, Some(State::Confirmed), "nothing has begun");
}

#[tokio::test]
async fn what_lives_at_hosts_that_no_hub_has_is_counted_and_what_is_dead_is_not() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    for (serial, host, end) in [("7", "x", ""), ("14", "y", ""), ("21", "y", "confirmed"), ("28", "z", "scrapped")] {
        let (made, key) = world.register(&mine, serial, serial).await.unwrap();
        if !end.is_empty() {
            world.confirm(&mine, serial, &made, &key).await.unwrap();
        }
        if end == "scrapped" {
            world.scrap(serial).await.unwrap();
        }
        world.sql(&format!("UPDATE reservation SET hub_host = '{host}' WHERE serial = '{serial}'"));
    }
    let found = world.registrar.shared.ledger.serials_at_other_hosts(vec![world.hub.host_name().to_owned()]).await.unwrap();
    let found: Vec<_> = found.iter().map(|at| (at.host.as_str(), at.open, at.confirmed)).collect();
    assert_eq!(found, [("x", 1, 0), ("y", 1, 1)]);
}
