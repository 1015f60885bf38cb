//! Batch accounts: what has a place in a batch, and when its books balance.

use super::*;
use crate::ledger::batch::{Books, NewBatch, NotDone};

fn new(name: &str) -> NewBatch {
    NewBatch { name: name.into(), policy: "sevens".into(), expected: None, list: None, codes: Vec::new() }
}

fn listed(name: &str, list: &[&str]) -> NewBatch {
    let list: Vec<String> = list.iter().map(|serial| (*serial).to_owned()).collect();
    NewBatch { expected: Some(list.len() as u64), list: Some(list), ..new(name) }
}

fn of(batch: &str) -> RegisterRequest {
    RegisterRequest { batch: Some(batch.into()), ..Default::default() }
}

impl World {
    async fn open(&self, new: NewBatch) -> Result<(), NotDone> {
        self.registrar.shared.ledger.batch_open(new).await.map(|_| ())
    }

    async fn close(&self, name: &str, missing_ok: Option<&str>) -> Result<Books, NotDone> {
        self.registrar.shared.ledger.batch_close(name.into(), missing_ok.map(str::to_owned)).await
    }

    async fn books(&self, name: &str) -> Books {
        self.registrar.shared.ledger.batch_books(name.into()).await.unwrap().unwrap()
    }

    async fn make(&self, who: &Caller, serial: &str, job: &str, batch: &str) -> Result<(), Code> {
        let (registration, key) = self.register_with(who, serial, job, of(batch)).await?;
        self.confirm(who, serial, &registration, &key).await.map(|_| ())
    }
}

/// Each serial that has not come to its end, and where it stands.
fn unsettled(books: &Books) -> Vec<(&str, Option<State>)> {
    books.unsettled().map(|line| (line.serial.as_str(), line.made.as_ref().map(|made| made.state))).collect()
}

#[tokio::test]
async fn a_batch_with_a_list_takes_what_stands_in_it_and_names_what_is_missing() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    world.open(listed("w47", &["7", "14", "21", "28"])).await.unwrap();
    assert!(matches!(world.open(new("w47")).await, Err(NotDone::IsThere)));
    world.make(&mine, "7", "a", "w47").await.unwrap();
    assert_eq!(world.make(&mine, "35", "b", "w47").await.unwrap_err(), Code::NotInBatch);
    world.register_with(&mine, "14", "c", of("w47")).await.unwrap();
    world.make(&mine, "21", "d", "another").await.expect("a batch that nobody opened is free text");
    world.make(&mine, "28", "e", "w47").await.unwrap();
    world.scrap("28").await.unwrap();

    let Err(NotDone::Unsettled(books)) = world.close("w47", None).await else { panic!("it does not balance") };
    assert_eq!(unsettled(&books), [("14", Some(State::Issued)), ("21", None)]);
    assert_eq!(books.lines[1].elsewhere.as_deref(), Some("another"), "21 is made, but in another batch");
    let books = world.close("w47", Some("label lost")).await.unwrap();
    assert!(books.batch.closed.is_some());
    assert_eq!(books.batch.missing_ok.as_deref(), Some("label lost"));
    assert!(matches!(world.close("w47", None).await, Err(NotDone::WasClosed(_))));

    assert_eq!(world.register_with(&mine, "14", "c", of("w47")).await.unwrap_err(), Code::BatchClosed, "not even a repeat");
    assert_eq!(world.make(&mine, "35", "f", "w47").await.unwrap_err(), Code::BatchClosed);
    let take_over = Some(TakeOver { reason: "lost".into() });
    let ask = RegisterRequest { take_over, ..of("other") };
    assert_eq!(world.register_with(&mine, "14", "g", ask).await.unwrap_err(), Code::BatchClosed, "nor by a take-over");
}

#[tokio::test]
async fn what_was_written_before_the_batch_was_closed_may_still_be_confirmed() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    world.open(new("w47")).await.unwrap();
    let (registration, key) = world.register_with(&mine, "7", "a", of("w47")).await.unwrap();
    world.close("w47", Some("shift is over")).await.unwrap();
    world.confirm(&mine, "7", &registration, &key).await.expect("the device holds it");
}

#[tokio::test]
async fn a_batch_with_a_number_refuses_one_more_until_one_is_given_back() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    world.make(&mine, "7", "a", "w47").await.expect("before it is opened");
    assert!(matches!(world.open(NewBatch { expected: Some(0), ..new("w47") }).await, Err(NotDone::TooMany { made: 1 })));
    world.open(NewBatch { expected: Some(2), ..new("w47") }).await.unwrap();
    *world.hub.refuses.lock().unwrap() = true;
    assert_eq!(world.make(&mine, "14", "b", "w47").await.unwrap_err(), Code::RejectedByHub);
    *world.hub.refuses.lock().unwrap() = false;
    world.make(&mine, "21", "c", "w47").await.expect("a refused entry gave its place back");
    assert_eq!(world.make(&mine, "28", "d", "w47").await.unwrap_err(), Code::QuotaExhausted);
    assert_eq!(world.make(&mine, "14", "b", "w47").await.unwrap_err(), Code::QuotaExhausted, "the refused one asks again");
    world.release("21").await.unwrap();
    world.make(&mine, "28", "e", "w47").await.expect("a released one gave its place back");
    let take_over = Some(TakeOver { reason: "lost".into() });
    world.release("28").await.unwrap();
    world.register_with(&mine, "28", "f", of("w47")).await.unwrap();
    world.register_with(&mine, "28", "g", RegisterRequest { take_over, ..of("other") }).await.expect("it has a place");
    let books = world.books("w47").await;
    assert_eq!((books.batch.taken, books.unnamed()), (2, 0));
    assert_eq!(unsettled(&books), [("14", Some(State::Rejected)), ("28", Some(State::Issued))]);
}

#[tokio::test]
async fn a_take_over_takes_a_place_where_its_predecessor_has_none() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    let take_over = || RegisterRequest { take_over: Some(TakeOver { reason: "lost".into() }), ..of("w47") };
    world.make(&mine, "7", "a", "w47").await.expect("before it is opened");
    world.open(NewBatch { expected: Some(1), ..new("w47") }).await.expect("as many as are made");
    world.register(&mine, "14", "b").await.expect("in no batch");
    assert_eq!(world.register_with(&mine, "14", "c", take_over()).await.unwrap_err(), Code::QuotaExhausted);
    world.release("7").await.unwrap();
    world.register_with(&mine, "14", "c", take_over()).await.expect("there is a place");
    assert_eq!(world.books("w47").await.batch.taken, 1);
    // A refused one has given its place back.
    world.open(NewBatch { expected: Some(1), ..new("w48") }).await.unwrap();
    *world.hub.refuses.lock().unwrap() = true;
    assert_eq!(world.register_with(&mine, "21", "d", of("w48")).await.unwrap_err(), Code::RejectedByHub);
    *world.hub.refuses.lock().unwrap() = false;
    world.register_with(&mine, "28", "e", of("w48")).await.expect("the place of the refused one");
    let again = RegisterRequest { batch: Some("w48".into()), ..take_over() };
    assert_eq!(world.register_with(&mine, "21", "f", again).await.unwrap_err(), Code::QuotaExhausted);
}

#[tokio::test]
async fn the_audit_log_has_what_the_owner_did_with_a_batch() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    world.open(NewBatch { expected: Some(3), ..new("w47") }).await.unwrap();
    world.open(listed("w46", &["14"])).await.unwrap();
    world.open(new("w45")).await.unwrap();
    let names = async || {
        let all = world.registrar.shared.ledger.batch_list().await.unwrap();
        all.into_iter().map(|batch| batch.name).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(names().await.into_iter().collect::<Vec<_>>(), ["w45", "w46", "w47"]);
    world.register_with(&mine, "7", "a", of("w47")).await.unwrap();
    world.make(&mine, "14", "b", "w46").await.unwrap();
    world.close("w47", Some("label lost")).await.unwrap();
    assert_eq!(world.close("w46", Some("in case")).await.unwrap().batch.missing_ok, None, "nothing is missing");
    let deeds = world.deeds().await;
    let did: Vec<_> = deeds
        .iter()
        .filter(|deed| deed.action.starts_with("batch-"))
        .map(|deed| (deed.action.as_str(), deed.by.as_str(), deed.policy.as_deref().unwrap(), deed.detail.as_deref().unwrap()))
        .collect();
    let expected = [
        ("batch-opened", "owner", "sevens", "w47: 3"),
        ("batch-opened", "owner", "sevens", "w46: 1 by a list"),
        ("batch-opened", "owner", "sevens", "w45: any number"),
        ("batch-closed", "owner", "sevens", "w47, 3 missing: label lost"),
        ("batch-closed", "owner", "sevens", "w46"),
    ];
    assert_eq!(did, expected);
    // Each batch names the entries of its own ends.
    let batch = world.books("w46").await.batch;
    for (number, action) in [(batch.opened.1, "batch-opened"), (batch.closed.unwrap().1, "batch-closed")] {
        let deed = &deeds[usize::try_from(number).unwrap() - 1];
        assert_eq!((deed.action.as_str(), deed.detail.as_ref().unwrap().starts_with("w46")), (action, true), "{number}");
    }
}

#[tokio::test]
async fn a_released_serial_that_nobody_made_again_leaves_one_missing() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    world.open(NewBatch { expected: Some(2), ..new("w47") }).await.unwrap();
    world.make(&mine, "7", "a", "w47").await.unwrap();
    world.make(&mine, "14", "b", "w47").await.unwrap();
    world.release("14").await.unwrap();
    let Err(NotDone::Unsettled(books)) = world.close("w47", None).await else { panic!("one is missing") };
    assert_eq!((books.unnamed(), unsettled(&books)), (1, vec![]));
    world.make(&mine, "21", "c", "w47").await.unwrap();
    world.close("w47", None).await.expect("two are made");
    assert_eq!(world.books("w47").await.changed_after_closing().count(), 0);
    world.release("21").await.unwrap();
    let books = world.books("w47").await;
    assert_eq!(books.changed_after_closing().map(|line| line.serial.as_str()).collect::<Vec<_>>(), ["21"]);
}

#[tokio::test]
async fn a_list_without_what_was_made_under_its_name_is_not_opened() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    world.make(&mine, "7", "a", "w47").await.expect("before it is opened");
    world.make(&mine, "14", "b", "w47").await.expect("before it is opened");
    let opened = world.open(listed("w47", &["14", "21", "28"])).await;
    assert!(matches!(opened, Err(NotDone::Strangers(serials)) if serials == ["7"]));
    world.release("7").await.unwrap();
    world.open(listed("w47", &["14", "21", "28"])).await.expect("now all of it is in the list");
    world.make(&mine, "21", "c", "w47").await.unwrap();
    world.make(&mine, "28", "d", "w47").await.expect("a stranger takes no place");
}

#[tokio::test]
async fn a_batch_that_is_closed_while_the_hub_works_hands_nothing_out() {
    let world = Arc::new(World::new());
    let mine = Arc::new(world.station("line-1", |_| ()).await);
    world.open(new("w47")).await.unwrap();
    let [come, go_on] = [Arc::new(Notify::new()), Arc::new(Notify::new())];
    *world.hub.holds.lock().unwrap() = Some([Arc::clone(&come), Arc::clone(&go_on)]);
    let asking = tokio::spawn({
        let (world, mine) = (Arc::clone(&world), Arc::clone(&mine));
        async move { world.register_with(&mine, "7", "a", of("w47")).await.map(|_| ()) }
    });
    come.notified().await;
    world.close("w47", Some("shift is over")).await.unwrap();
    go_on.notify_one();
    assert_eq!(asking.await.unwrap().unwrap_err(), Code::BatchClosed);
}

#[tokio::test]
async fn of_many_at_one_moment_as_many_as_expected_get_a_place() {
    let world = Arc::new(World::new());
    let mine = Arc::new(world.station("line-1", |_| ()).await);
    world.open(NewBatch { expected: Some(5), ..new("w47") }).await.unwrap();
    let asking = (1..=20).map(|n| {
        let (world, mine) = (Arc::clone(&world), Arc::clone(&mine));
        tokio::spawn(
            async move { world.register_with(&mine, &(7 * n).to_string(), &format!("job-{n}"), of("w47")).await.is_ok() },
        )
    });
    let mut placed = 0;
    for one in asking.collect::<Vec<_>>() {
        placed += usize::from(one.await.unwrap());
    }
    assert_eq!(placed, 5);
}

#[tokio::test]
async fn a_code_that_is_bound_registers_in_its_batch_and_nowhere_else() {
    let world = World::new();
    let (mine, other) = (world.station("line-1", |_| ()).await, world.station("line-2", |_| ()).await);
    let bound = |name: &str| NewBatch { codes: vec!["line-1".into()], ..new(name) };
    world.open(bound("w47")).await.unwrap();
    assert_eq!(world.make(&mine, "7", "a", "w46").await.unwrap_err(), Code::NotPermitted);
    world.register(&mine, "7", "b").await.expect("who names none means it");
    assert_eq!(world.record("7").await.unwrap().reservation.batch.as_deref(), Some("w47"));
    world.open(bound("w48")).await.unwrap();
    assert_eq!(world.register(&mine, "14", "c").await.unwrap_err(), Code::NotPermitted, "one of two has to be named");
    world.make(&mine, "14", "d", "w48").await.unwrap();
    world.close("w48", None).await.expect("it balances");
    world.close("w47", Some("late")).await.unwrap();
    assert_eq!(world.register(&mine, "21", "e").await.unwrap_err(), Code::BatchClosed);
    world.register(&other, "21", "f").await.expect("the other one is free");
    world.station("strict", |access| access.policy = "listed".into()).await;
    for code in ["nobody", "strict"] {
        let opened = world.open(NewBatch { codes: vec![code.into()], ..new(code) }).await;
        assert!(matches!(opened, Err(NotDone::NoCode(_) | NotDone::OtherPolicy { .. })), "{code}");
        assert!(world.registrar.shared.ledger.batch(code.into()).await.unwrap().is_none(), "nothing was opened");
    }
}

#[tokio::test]
async fn a_batch_belongs_to_its_policy() {
    let world = World::new();
    let listed = world.station("line-1", |access| access.policy = "listed".into()).await;
    world.open(new("w47")).await.unwrap();
    assert_eq!(world.register_with(&listed, "QD-1", "a", of("w47")).await.unwrap_err(), Code::NotPermitted);
}

#[tokio::test]
async fn further_columns_are_kept_and_bounded() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    let columns = |count: usize, value: &str| (0..count).map(|n| (format!("c{n}"), value.to_owned())).collect::<BTreeMap<_, _>>();
    let ask = |columns| RegisterRequest { columns, ..of("w47") };
    world.open(new("w47")).await.unwrap();
    for wrong in [columns(17, "x"), columns(1, &"x".repeat(201)), columns(1, "\n"), BTreeMap::from([(" ".into(), "x".into())])] {
        assert_eq!(world.register_with(&mine, "7", "a", ask(wrong)).await.unwrap_err(), Code::BadRequest);
    }
    world.register_with(&mine, "7", "a", ask(columns(16, &"é".repeat(100)))).await.unwrap();
    assert_eq!(world.record("7").await.unwrap().reservation.columns, columns(16, &"é".repeat(100)));
    let books = world.registrar.shared.ledger.batch_books("w47".into()).await.unwrap().unwrap();
    assert_eq!(books.lines[0].made.as_ref().unwrap().columns.len(), 16);
}
