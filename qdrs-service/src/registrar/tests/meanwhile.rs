//! What happens while the hub is asked: to the serial, in the hub, and to the service itself.

use qdrs_core::hub::Denial;

use super::{door::Call, *};

fn take_over() -> RegisterRequest {
    RegisterRequest { take_over: Some(TakeOver { reason: "journal lost".into() }), ..Default::default() }
}

impl World {
    /// A reservation whose service was killed before it had done anything for it; its keys were in that memory.
    async fn left_behind(&self, who: &Caller, serial: &str, job: &str) -> (Uuid, Keys) {
        let keys = Keys::generate();
        let policy = self.registrar.policy("sevens").unwrap();
        let accepted = policy.check(serial).unwrap();
        let (host, hash) = (self.hub.host_name(), job_hash(who.access.key_id, job));
        let new = reservation(&who.access, policy, host, serial, &accepted, hash, &RegisterRequest::default()).unwrap();
        let id = new.id;
        let ledger = &self.registrar.shared.ledger;
        ledger.reserve(new, keys.primary.fingerprint(), PolicyLimits::default()).await.unwrap();
        (id, keys)
    }

    async fn sent(&self, keys: &Keys, serial: &str) {
        let tags = serde_json::Value::Null;
        let new = NewIdentity { device_id: serial, primary: &keys.primary, secondary: &keys.secondary, tags };
        self.hub.create(new).await.unwrap();
    }
}

#[tokio::test]
async fn what_ends_or_is_done_while_the_hub_is_asked_is_not_handed_out_any_more() {
    let mut world = World::new();
    let door = world.with_door(&[]);
    let mine = world.station("line-1", |_| ()).await;
    let (first, key) = world.register(&mine, "7", "a").await.unwrap();
    let confirmed = door.meanwhile(Call::Read, world.register(&mine, "7", "a"), async {
        world.confirm(&mine, "7", &first, &key).await.expect("it was open");
    });
    assert_eq!(confirmed.await.unwrap_err(), Code::SerialTaken, "its device holds it");

    world.register(&mine, "14", "b").await.unwrap();
    let taken = door.meanwhile(Call::Read, world.register(&mine, "14", "b"), async {
        world.register_with(&mine, "14", "c", take_over()).await.expect("its own");
    });
    assert_eq!(taken.await.unwrap_err(), Code::Released, "its key is dead");

    world.register(&mine, "21", "d").await.unwrap();
    let released = door.meanwhile(Call::Read, world.register(&mine, "21", "d"), async {
        world.release("21").await.expect("by the owner");
    });
    assert_eq!(released.await.unwrap_err(), Code::Released, "its key is dead");
}

#[tokio::test]
async fn a_credential_is_handed_out_only_with_the_very_key_that_the_ledger_has_by_then() {
    let mut world = World::new();
    let door = world.with_door(&[]);
    let mine = world.station("line-1", |_| ()).await;
    world.register(&mine, "7", "a").await.unwrap();
    let other = door.meanwhile(Call::Read, world.register(&mine, "7", "a"), async {
        world.sql("UPDATE reservation SET fingerprint = randomblob(32)");
    });
    assert_eq!(other.await.unwrap_err(), Code::SerialTaken);
}

#[tokio::test]
async fn no_call_is_sent_for_a_reservation_that_has_ended() {
    let mut world = World::new();
    let door = world.with_door(&[]);
    let mine = world.station("line-1", |_| ()).await;
    world.hub.will([Fate::CallLost]);
    let asked = door.meanwhile(Call::Create, world.register(&mine, "7", "a"), async {
        let id = world.record("7").await.unwrap().reservation.id;
        assert!(world.registrar.shared.ledger.release(id, "released: by the owner".into()).await.unwrap());
    });
    assert_eq!(asked.await.unwrap_err(), Code::Released);
    assert!(world.hub.key("7").is_none());
    assert_eq!(door.calls(), [Call::Create], "and none after the release has begun");
}

#[tokio::test]
async fn a_request_has_a_twins_patience_only_beside_a_twin() {
    let mut world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    world.left_behind(&mine, "7", "a").await;
    let door = world.with_door(&[]);
    Arc::get_mut(&mut world.registrar.shared).unwrap().twin_waits = Duration::ZERO;
    let alone = door.meanwhile(Call::Read, world.register(&mine, "7", "a"), async {
        assert_eq!(world.register(&mine, "7", "a").await.unwrap_err(), Code::InProgress, "it came second");
    });
    alone.await.expect("what nobody else works on is waited for");
}

#[tokio::test]
async fn a_service_that_was_killed_reads_before_it_sends_and_keeps_each_key_on_record() {
    let mut world = World::new();
    let door = world.with_door(&[]);
    let mine = world.station("line-1", |_| ()).await;
    let (_, keys) = world.left_behind(&mine, "7", "a").await;
    world.sent(&keys, "7").await;
    let (_, key) = world.register(&mine, "7", "a").await.unwrap();
    assert_eq!(key.fingerprint(), keys.primary.fingerprint());
    assert_eq!(door.calls(), [Call::Read], "what is there is not made again");

    let (id, keys) = world.left_behind(&mine, "14", "b").await;
    let (_, key) = world.register(&mine, "14", "b").await.unwrap();
    assert_ne!(key.fingerprint(), keys.primary.fingerprint(), "those keys are gone");
    for sent in [keys.primary.fingerprint(), key.fingerprint()] {
        let by = world.registrar.shared.ledger.sent_by(id, sent).await.unwrap();
        assert_eq!(by, Some(crate::ledger::SentBy::Itself), "a key that is sent is known");
    }
}

#[tokio::test]
async fn what_was_disabled_by_hand_is_not_handed_out_though_nobody_had_heard_of_it_yet() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    for (serial, ask) in [("7", RegisterRequest::default()), ("14", take_over())] {
        let (_, keys) = world.left_behind(&mine, serial, serial).await;
        world.sent(&keys, serial).await;
        world.hub.change(serial, |device| device.enabled = false);
        let job = if ask.take_over.is_some() { "another" } else { serial };
        assert_eq!(world.register_with(&mine, serial, job, ask).await.unwrap_err(), Code::IdentityDisabled);
        assert_eq!(world.hub.key(serial).unwrap().fingerprint(), keys.primary.fingerprint(), "it is left as it is");
        world.hub.change(serial, |device| device.enabled = true);
        world.register_with(&mine, serial, job, RegisterRequest::default()).await.expect("the owner has enabled it");
    }
}

#[tokio::test]
async fn of_two_services_at_one_reservation_both_answer_with_the_key_that_the_hub_has() {
    let mut world = World::new();
    let door = world.with_door(&[]);
    let mine = world.station("line-1", |_| ()).await;
    let shared = &world.registrar.shared;
    let other = Registrar::new(Arc::clone(&shared.ledger), shared.hubs.clone(), shared.policies.clone());
    let other = World { folder: tempfile::tempdir().unwrap(), hub: Arc::clone(&world.hub), registrar: other };
    let (first, key) = door
        .meanwhile(Call::Create, world.register(&mine, "7", "a"), async {
            other.register(&mine, "7", "a").await.expect("it is there");
        })
        .await
        .expect("somebody else was faster");
    let (second, same) = other.register(&mine, "7", "a").await.unwrap();
    assert_eq!((first.reservation, key.fingerprint()), (second.reservation, same.fingerprint()));

    // Deleted by hand in between, and made with another key: the first service's is dead.
    let late = door.meanwhile(Call::Create, world.register(&mine, "14", "b"), async {
        world.hub.devices.lock().unwrap().remove("14");
        other.register(&mine, "14", "b").await.expect("made anew");
    });
    assert_eq!(late.await.unwrap_err(), Code::FingerprintMismatch, "its key is not the one that was issued");
}

#[tokio::test]
async fn what_was_issued_while_the_caller_was_on_its_way_is_read_from_the_hub() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    let (made, key) = world.register(&mine, "7", "a").await.unwrap();
    // As if the caller had seen it reserved, and another instance had settled it since.
    let settled = world.registrar.settle(made.reservation, None).await.expect("it is settled");
    assert_eq!(settled.fingerprint(), key.fingerprint());
    assert_eq!(*world.hub.creates.lock().unwrap(), 1, "nothing is made again");
    world.confirm(&mine, "7", &made, &key).await.unwrap();
    let late = world.registrar.settle(made.reservation, None).await.expect_err("its device holds it");
    assert_eq!(late.code(), Some(Code::FingerprintMismatch));
}

#[tokio::test]
async fn an_identity_that_goes_while_its_keys_are_replaced_is_made_anew() {
    let mut world = World::new();
    let door = world.with_door(&[]);
    let mine = world.station("line-1", |_| ()).await;
    let (_, keys) = world.left_behind(&mine, "7", "a").await;
    world.sent(&keys, "7").await;
    let (_, key) = door
        .meanwhile(Call::Read, world.register_with(&mine, "7", "b", take_over()), async {
            world.hub.devices.lock().unwrap().clear();
        })
        .await
        .expect("the serial is made all the same");
    assert_eq!(world.hub.key("7").unwrap().fingerprint(), key.fingerprint());
    assert_eq!(door.calls(), [Call::Read, Call::Replace, Call::Read, Call::Create]);
}

#[tokio::test]
async fn a_hub_that_says_exists_and_then_not_found_is_asked_until_it_has_settled() {
    let mut world = World::new();
    let door = world.with_door(&[]);
    let mine = world.station("line-1", |_| ()).await;
    for _ in 0..2 {
        door.says(Call::Create, HubError::Exists);
    }
    let (_, key) = world.register(&mine, "7", "a").await.expect("it has settled");
    assert_eq!(world.hub.key("7").unwrap().fingerprint(), key.fingerprint());
}

#[tokio::test]
async fn a_hub_that_is_full_is_asked_once() {
    let mut world = World::new();
    let door = world.with_door(&[]);
    let mine = world.station("line-1", |_| ()).await;
    door.says(Call::Create, HubError::Full);
    assert_eq!(world.register(&mine, "7", "a").await.unwrap_err(), Code::HubFull);
    assert_eq!(door.calls(), [Call::Create]);
    world.register(&mine, "7", "a").await.expect("there is room again");
}

#[tokio::test]
async fn an_answer_that_is_lost_twice_is_not_taken_for_known() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    let unanswered = async |serial: &str| {
        let id = world.record(serial).await.unwrap().reservation.id;
        world.registrar.shared.ledger.unanswered_for(id).await.unwrap()
    };
    world.hub.will([Fate::CallLost, Fate::CallLost]);
    world.register(&mine, "7", "a").await.unwrap();
    assert!(unanswered("7").await.is_some(), "a release has to wait for it");
    // The hub is read for the take-over, read by its work, and told the new keys; then read again after each lost answer.
    for (serial, lost) in [("14", vec![Fate::CallLost]), ("21", vec![Fate::CallLost, Fate::Fine, Fate::CallLost])] {
        world.register(&mine, serial, serial).await.unwrap();
        assert!(unanswered(serial).await.is_none());
        world.hub.will([Fate::Fine, Fate::Fine].into_iter().chain(lost));
        world.register_with(&mine, serial, &format!("{serial} again"), take_over()).await.unwrap();
        assert!(unanswered(serial).await.is_some(), "{serial}: a release has to wait for it");
    }
}

#[tokio::test]
async fn the_same_job_tries_again_what_the_hub_had_refused() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    *world.hub.refuses.lock().unwrap() = true;
    for _ in 0..2 {
        assert_eq!(world.register(&mine, "7", "a").await.unwrap_err(), Code::RejectedByHub);
    }
    *world.hub.refuses.lock().unwrap() = false;
    let (_, key) = world.register(&mine, "7", "a").await.expect("the hub takes it now");
    assert_eq!(world.hub.key("7").unwrap().fingerprint(), key.fingerprint());
}

#[tokio::test]
async fn a_key_whose_call_was_sent_twice_on_its_way_is_still_known_when_the_hub_can_not_be_read_just_then() {
    let mut world = World::new();
    let door = world.with_door(&[]);
    let mine = world.station("line-1", |_| ()).await;
    let denied = || HubError::Denied { why: Denial::Credential, text: "as told".into() };
    door.repeats(Call::Create, HubError::Exists);
    door.says(Call::Read, denied());
    assert_eq!(world.register(&mine, "7", "a").await.unwrap_err(), Code::HubRefusesOwner);
    let (_, key) = world.register(&mine, "7", "a").await.expect("what is there is ours");
    assert_eq!(world.hub.key("7").unwrap().fingerprint(), key.fingerprint());

    let (_, keys) = world.left_behind(&mine, "14", "b").await;
    world.sent(&keys, "14").await;
    let taken_over = door.meanwhile(Call::Read, world.register_with(&mine, "14", "c", take_over()), async {
        door.repeats(Call::Replace, HubError::Changed);
        door.says(Call::Read, denied());
    });
    assert_eq!(taken_over.await.unwrap_err(), Code::HubRefusesOwner);
    let (_, key) = world.register_with(&mine, "14", "c", take_over()).await.expect("what is there is ours");
    assert_eq!(world.hub.key("14").unwrap().fingerprint(), key.fingerprint());
}
