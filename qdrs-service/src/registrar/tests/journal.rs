//! A station is its journal: two of one name and one code are two, and what one has open the other takes only by naming it.

use qdrs_core::api::Problem;

use super::*;

/// What a station with that journal asks; with a reason it takes over, by name if it names one.
fn from(journal: u128, take_over: bool, replaces: Option<Uuid>) -> RegisterRequest {
    RegisterRequest {
        station: Some("line-1".into()),
        journal: Some(Uuid::from_u128(journal)),
        take_over: take_over.then(|| TakeOver { reason: "journal lost".into() }),
        replaces,
        ..Default::default()
    }
}

impl World {
    /// What a refused station receives about the holder of the serial.
    async fn refusal_of(&self, who: &Caller, serial: &str, job: &str, request: RegisterRequest) -> Refusal {
        self.registrar.register(&who.access, serial, job, request).await.expect_err("refused")
    }
}

#[tokio::test]
async fn another_journals_registration_is_taken_over_by_its_name_only() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    let (open, key) = world.register_with(&mine, "7", "a", from(1, false, None)).await.unwrap();

    let refusal = world.refusal_of(&mine, "7", "b", from(2, false, None)).await;
    let Problem { code, yours, station, journal, reservation, .. } = *refusal.problem;
    assert_eq!((code.as_str(), yours, station.as_deref()), ("serial-taken", Some(true), Some("line-1")));
    assert_eq!((journal, reservation), (Some(Uuid::from_u128(1)), Some(open.reservation)));
    // Neither by a reason alone, nor by a reason without a journal, nor by the name of what no longer stands.
    for (job, request) in [
        ("c", from(2, true, None)),
        ("d", RegisterRequest { journal: None, ..from(2, true, None) }),
        ("e", from(2, true, Some(Uuid::now_v7()))),
        ("f", from(1, true, Some(Uuid::now_v7()))),
    ] {
        assert_eq!(world.refusal_of(&mine, "7", job, request).await.code(), Some(Code::SerialTaken), "{job}");
    }
    assert_eq!(world.hub.key("7").map(|key| key.fingerprint()), Some(key.fingerprint()), "the first key is alive");
    assert_eq!(world.life().await, ["reserved", "issued"], "nothing was taken over");

    let (taken, new_key) = world.register_with(&mine, "7", "g", from(2, true, Some(open.reservation))).await.unwrap();
    assert_eq!(world.hub.key("7").map(|key| key.fingerprint()), Some(new_key.fingerprint()));
    assert_eq!(world.confirm(&mine, "7", &open, &key).await.unwrap_err(), Code::Released);
    // Whoever repeats what it sent names what it has taken over already: it hears its own answer again.
    let (again, _) = world.register_with(&mine, "7", "g", from(2, true, Some(open.reservation))).await.unwrap();
    assert_eq!(again.reservation, taken.reservation);
}

#[tokio::test]
async fn the_same_journal_and_clients_without_one_take_over_as_before() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    world.register_with(&mine, "7", "a", from(1, false, None)).await.unwrap();
    world.register_with(&mine, "7", "b", from(1, true, None)).await.expect("its own");
    // A client that names no journal, with what such a one has made.
    let without = |take_over| RegisterRequest { journal: None, ..from(1, take_over, None) };
    world.register_with(&mine, "14", "c", without(false)).await.unwrap();
    world.register_with(&mine, "14", "d", without(true)).await.expect("as before");
    world.register_with(&mine, "14", "e", from(1, true, None)).await.expect("the same station, updated");
    // A take-over of what is free by now is a registration.
    world.register_with(&mine, "21", "f", from(1, true, Some(Uuid::now_v7()))).await.expect("nothing stands");
    let refusal = world.refusal_of(&mine, "28", "g", from(1, false, Some(Uuid::now_v7()))).await;
    assert_eq!(refusal.code(), Some(Code::BadRequest), "a name without a reason");
}

#[tokio::test]
async fn whose_journal_it_is_only_its_own_code_hears() {
    let world = World::new();
    let (mine, other) = (world.station("line-1", |_| ()).await, world.station("line-2", |_| ()).await);
    world.register_with(&mine, "7", "a", from(1, false, None)).await.unwrap();
    let problem = world.refusal_of(&other, "7", "b", from(2, false, None)).await.problem;
    assert_eq!((problem.yours, problem.journal, problem.reservation), (Some(false), None, None));
    let status = async |who: &Caller| world.registrar.status(&who.access, "7").await.unwrap().journal;
    assert_eq!((status(&mine).await, status(&other).await), (Some(Uuid::from_u128(1)), None));
}

#[tokio::test]
async fn what_a_journal_has_made_is_counted_with_its_dead_and_for_each_code() {
    let world = World::new();
    let (mine, other) = (world.station("line-1", |_| ()).await, world.station("line-2", |_| ()).await);
    let (first, _) = world.register_with(&mine, "7", "a", from(1, false, None)).await.unwrap();
    world.register_with(&mine, "7", "a", from(1, false, None)).await.expect("a repeat is no other");
    world.register_with(&mine, "7", "b", from(1, true, Some(first.reservation))).await.unwrap();
    world.register_with(&mine, "14", "c", from(2, false, None)).await.unwrap();
    world.register_with(&other, "21", "d", from(1, false, None)).await.unwrap();
    let made = async |who: &Caller, journal| world.registrar.registered_by(&who.access, Uuid::from_u128(journal)).await.unwrap();
    assert_eq!((made(&mine, 1).await, made(&mine, 2).await, made(&mine, 3).await, made(&other, 1).await), (2, 1, 0, 1));
}
