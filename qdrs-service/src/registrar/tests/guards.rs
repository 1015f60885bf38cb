//! Each of these guards stands alone between somebody and what is not theirs to have or to know.

use super::*;

const CASED: (&str, &str) = ("cased", "[form]\ncase = \"upper\"");

fn take_over() -> RegisterRequest {
    RegisterRequest { take_over: Some(TakeOver { reason: "journal lost".into() }), ..Default::default() }
}

fn board(id: &str) -> RegisterRequest {
    RegisterRequest { hardware_id: HardwareId::from_record(id), ..Default::default() }
}

#[tokio::test]
async fn a_label_is_confirmed_and_released_as_it_was_sent_and_as_it_is_written() {
    let mut world = World::new();
    world.with_door(&[CASED]);
    let of_cased = |access: &mut Access| (access.policy, access.rework) = ("cased".into(), 1);
    let (mine, other) = (world.station("line-1", of_cased).await, world.station("line-2", of_cased).await);
    let (made, key) = world.register(&mine, "qd-7", "a").await.unwrap();
    assert_eq!(made.serial, "QD-7");
    for serial in ["qd-7", "QD-7"] {
        assert_eq!(world.confirm(&other, serial, &made, &key).await.unwrap_err(), Code::SerialUnknown, "another code's");
    }
    for serial in ["qd-8", "QD-8", "", "qd-77"] {
        assert_eq!(world.confirm(&mine, serial, &made, &key).await.unwrap_err(), Code::SerialUnknown, "another serial");
    }
    let shared = &world.registrar.shared;
    let without_policies = Registrar::new(Arc::clone(&shared.ledger), shared.hubs.clone(), BTreeMap::new());
    let with_policies = std::mem::replace(&mut world.registrar, without_policies);
    for serial in ["qd-7", "QD-7"] {
        world.confirm(&mine, serial, &made, &key).await.expect("as it was sent, and as the ledger has it");
    }
    world.registrar = with_policies;
    let confirmed = world.confirm(&mine, "QD-7", &made, &key).await.expect("as it is written");
    assert_eq!(world.confirm(&mine, "qd-7", &made, &key).await.expect("as it was sent"), confirmed);
    for serial in ["qd-8", "QD-8", "", "qd-77"] {
        assert_eq!(world.rework(&mine, serial, made.reservation).await.unwrap_err(), Code::SerialUnknown, "another serial");
    }
    for serial in ["qd-7", "QD-7"] {
        assert_eq!(world.rework(&other, serial, made.reservation).await.unwrap_err(), Code::SerialUnknown, "another code's");
    }
    world.rework(&mine, "QD-7", made.reservation).await.expect("as it is written");
    world.rework(&mine, "qd-7", made.reservation).await.expect("as it was sent");
}

#[tokio::test]
async fn an_old_job_hears_of_its_end_also_from_the_board_that_its_serial_lives_on() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    world.register_with(&mine, "7", "a", board("AA:BB")).await.unwrap();
    let (made, key) = world.register_with(&mine, "7", "b", take_over()).await.unwrap();
    world.confirm_with(&mine, "7", &made, &key, Evidence::ReadBack, Some("CC:DD")).await.unwrap();
    let again = world.register_with(&mine, "7", "a", board("CC:DD")).await;
    assert_eq!(again.unwrap_err(), Code::Released, "the board is not made as another serial");
}

#[tokio::test]
async fn a_policy_bounds_what_is_made_in_all_and_on_one_day() {
    let mut world = World::new();
    world.with_door(&[("few", "[quota]\ntotal = 2"), ("daily", "[quota]\nper_day = 1")]);
    let of = |policy: &'static str| move |access: &mut Access| access.policy = policy.into();
    let (mine, other) = (world.station("line-1", of("few")).await, world.station("line-2", of("few")).await);
    let refused = async |who: &Caller, serial: &str, job: &str| {
        let problem = world.registrar.register(&who.access, serial, job, RegisterRequest::default()).await.unwrap_err().problem;
        (problem.code, problem.detail)
    };
    let exhausted = |detail: &str| ("quota-exhausted".to_owned(), detail.to_owned());
    *world.hub.refuses.lock().unwrap() = true;
    assert_eq!(world.register(&mine, "1", "a").await.unwrap_err(), Code::RejectedByHub);
    *world.hub.refuses.lock().unwrap() = false;
    world.register(&mine, "2", "b").await.expect("the first of two");
    world.register(&other, "3", "c").await.expect("the second of two");
    let in_all = exhausted("the policy allows 2 devices in all, and they are made");
    assert_eq!(refused(&other, "4", "d").await, in_all);
    assert_eq!(refused(&mine, "1", "a").await, in_all, "the one that the hub refused asks again");
    world.register(&mine, "2", "b").await.expect("a repeat is none more");

    let daily = world.station("line-3", of("daily")).await;
    world.register(&daily, "5", "e").await.expect("the first of today");
    let today = exhausted("the policy allows 1 devices today, and they are made");
    assert_eq!(refused(&daily, "6", "f").await, today);
    let connection = rusqlite::Connection::open(world.folder.path().join("ledger.sqlite")).unwrap();
    // Midnight may have passed since.
    let yesterday =
        "UPDATE policy_count SET day = '2001-01-01' WHERE policy = 'daily' AND day IN (date('now'), date('now', '-1 day'))";
    assert_eq!(connection.execute(yesterday, []).unwrap(), 1);
    assert_eq!(world.registrar.shared.ledger.policies().await.unwrap(), ["daily", "few"], "those that something was made under");
    world.register(&daily, "6", "f").await.expect("another day");
}

#[tokio::test]
async fn a_take_over_has_a_reason() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    let (_, key) = world.register(&mine, "7", "a").await.unwrap();
    for reason in ["", "  ", "two\nlines", &"x".repeat(201)] {
        let ask = RegisterRequest { take_over: Some(TakeOver { reason: reason.into() }), ..Default::default() };
        assert_eq!(world.register_with(&mine, "7", "b", ask).await.unwrap_err(), Code::BadRequest, "{reason:?}");
    }
    assert_eq!(world.hub.key("7").unwrap().fingerprint(), key.fingerprint(), "nothing was taken over");
    let ask = RegisterRequest { take_over: Some(TakeOver { reason: "x".repeat(200) }), ..Default::default() };
    world.register_with(&mine, "7", "b", ask).await.expect("as long as a reason may be");
}

#[tokio::test]
async fn whoever_would_take_anothers_over_hears_nothing_of_its_identity() {
    let mut world = World::new();
    let door = world.with_door(&[]);
    let (mine, other) = (world.station("line-1", |_| ()).await, world.station("line-2", |_| ()).await);
    world.register(&mine, "7", "a").await.unwrap();
    world.hub.change("7", |device| device.enabled = false);
    let calls = door.calls();
    assert_eq!(world.register_with(&other, "7", "b", take_over()).await.unwrap_err(), Code::SerialTaken);
    assert_eq!(door.calls(), calls, "the hub is not even asked");
}

#[tokio::test]
async fn only_the_code_that_met_a_conflict_hears_what_it_is() {
    let world = World::new();
    let (mine, other) = (world.station("line-1", |_| ()).await, world.station("line-2", |_| ()).await);
    let foreign = Device { primary: DeviceKey::generate(), etag: 1, enabled: true };
    world.hub.devices.lock().unwrap().insert("7".into(), foreign);
    assert_eq!(world.register(&mine, "7", "a").await.unwrap_err(), Code::Conflict);
    let told = async |who: &Caller| {
        world.registrar.register(&who.access, "7", "b", RegisterRequest::default()).await.expect_err("refused").problem
    };
    let (mine, other) = (told(&mine).await, told(&other).await);
    assert_eq!((mine.code.as_str(), mine.yours), ("conflict", Some(true)));
    assert_eq!((other.code.as_str(), other.yours), ("serial-taken", Some(false)));
    assert!(mine.detail.contains("never made") && !other.detail.contains("never made"), "{}", other.detail);
}

#[tokio::test]
async fn two_serials_that_make_one_device_id_are_told_apart() {
    let mut world = World::new();
    world.with_door(&[("plants", "device_id = \"{number}\"\n[form]\npattern = '(?<plant>[AB])(?<number>[0-9]+)'\nsay = 'x'")]);
    let mine = world.station("line-1", |access| access.policy = "plants".into()).await;
    let other = world.station("line-2", |_| ()).await;
    world.register(&mine, "A7", "a").await.unwrap();
    for (who, serial, yours) in [(&mine, "B7", true), (&other, "7", false)] {
        let refused = world.registrar.register(&who.access, serial, "b", RegisterRequest::default()).await;
        let problem = refused.expect_err("the hub has one device of that id").problem;
        assert_eq!((problem.code.as_str(), problem.yours), ("serial-taken", Some(yours)), "{serial}");
        assert_eq!(problem.detail, "the device id `7` belongs to serial `A7` of policy `plants`");
    }
}

#[tokio::test]
async fn who_asks_where_a_serial_stands_hears_all_of_its_own_and_little_of_others() {
    let world = World::new();
    let (mine, other) = (world.station("line-1", |_| ()).await, world.station("line-2", |_| ()).await);
    let at_bench = RegisterRequest { station: Some("bench 3".into()), ..board("AA:BB") };
    let (made, key) = world.register_with(&mine, "7", "a", at_bench).await.unwrap();
    let open = world.registrar.status(&mine.access, "7").await.unwrap();
    assert_eq!((open.state, open.evidence), (State::Issued, None));
    world.confirm(&mine, "7", &made, &key).await.unwrap();
    let own = world.registrar.status(&mine.access, "7").await.unwrap();
    assert_eq!((own.state, own.yours, own.evidence), (State::Confirmed, true, Some(Evidence::DeviceChecked)));
    assert_eq!((own.reservation, own.device_id.as_deref()), (Some(made.reservation), Some("7")));
    assert_eq!(own.hardware_id, HardwareId::from_record("AA:BB"));
    let theirs = world.registrar.status(&other.access, "7").await.unwrap();
    assert_eq!((theirs.state, theirs.yours, theirs.station.as_deref()), (State::Confirmed, false, Some("bench 3")));
    assert_eq!((theirs.evidence, theirs.reservation, theirs.device_id), (None, None, None));
    assert_eq!((theirs.hub, theirs.hardware_id), (None, None));

    let taken = world.registrar.register(&other.access, "7", "b", RegisterRequest::default()).await.expect_err("taken");
    let since = theirs.since.strftime("%Y-%m-%d %H:%M:%S").to_string();
    assert_eq!(taken.problem.detail, format!("`7` is confirmed by station `bench 3` since {since}Z"));
}

#[tokio::test]
async fn a_field_may_be_as_long_as_it_says_and_holds_no_control_characters() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    let ask = |field: &str, value: &str| {
        let mut ask = RegisterRequest::default();
        let place = match field {
            "station" => &mut ask.station,
            "slot" => &mut ask.slot,
            _ => &mut ask.batch,
        };
        *place = Some(value.to_owned());
        ask
    };
    for field in ["station", "slot", "batch"] {
        for value in ["x\u{7}", &"x".repeat(201)] {
            let refused = world.registrar.register(&mine.access, "7", "a", ask(field, value)).await.expect_err("refused").problem;
            assert_eq!(refused.code, "bad-request", "{field}");
            assert!(refused.detail.starts_with(&format!("`{field}` is longer than 200 bytes")), "{}", refused.detail);
        }
    }
    for (field, serial) in [("station", "7"), ("slot", "14"), ("batch", "21")] {
        world.register_with(&mine, serial, serial, ask(field, &"x".repeat(200))).await.expect(field);
    }
}

#[tokio::test]
async fn the_ledger_confirms_the_very_key_that_was_issued_whoever_asks_it() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    let (made, key) = world.register(&mine, "7", "a").await.unwrap();
    let ledger = &world.registrar.shared.ledger;
    let confirm = |key: &DeviceKey| ledger.confirm(made.reservation, key.fingerprint(), Evidence::ReadBack, None);
    let other = DeviceKey::generate();
    assert!(matches!(confirm(&other).await, Err(NotConfirmed::Elsewhere(Some(_)))));
    assert_eq!(world.state("7").await, Some(State::Issued));
    let at = confirm(&key).await.unwrap();
    assert!(matches!(confirm(&other).await, Err(NotConfirmed::Elsewhere(Some(_)))), "nor once it is confirmed");
    assert_eq!(confirm(&key).await.unwrap(), at);
    assert!(matches!(
        ledger.confirm(Uuid::nil(), key.fingerprint(), Evidence::ReadBack, None).await,
        Err(NotConfirmed::Elsewhere(None))
    ));
}

#[tokio::test]
async fn the_audit_log_has_what_the_owner_did_with_a_code() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    let ledger = &world.registrar.shared.ledger;
    for state in [AccessState::Suspended, AccessState::Suspended, AccessState::Active, AccessState::Revoked] {
        ledger.access_set_state("line-1".into(), state).await.unwrap();
    }
    for rework in [3, 3] {
        ledger.access_set_rework("line-1".into(), rework).await.unwrap();
    }
    ledger.access_set_state("line-1".into(), AccessState::Active).await.expect_err("a revoked one stays so");
    let deeds = world.deeds().await;
    assert!(deeds.iter().all(|deed| deed.by == "owner"));
    let did: Vec<_> = deeds.iter().map(|deed| (deed.action.as_str(), deed.detail.clone().unwrap())).collect();
    let name = format!("line-1 ({})", mine.access.key_id);
    let expected = [
        ("access-created", name.clone()),
        ("access-suspended", name.clone()),
        ("access-active", name.clone()),
        ("access-revoked", name.clone()),
        ("access-rework", format!("0 -> 3: {name}")),
    ];
    assert_eq!(did, expected);
}

#[tokio::test]
async fn what_is_wrong_with_the_ledger_is_for_the_log_alone() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    let connection = rusqlite::Connection::open(world.folder.path().join("ledger.sqlite")).unwrap();
    connection.execute_batch("ALTER TABLE reservation RENAME TO elsewhere").unwrap();
    let refused = world.registrar.register(&mine.access, "7", "a", RegisterRequest::default()).await.expect_err("refused");
    assert_eq!(refused.code(), Some(Code::LedgerUnavailable));
    assert!(!serde_json::to_string(&refused.problem).unwrap().contains("reservation"), "{refused:?}");
    assert!(refused.cause.is_some_and(|cause| cause.contains("no such table")));
}

#[test]
fn the_hubs_of_a_config_are_named_with_their_hosts_and_where_they_are_from() {
    let hub = |host| Arc::new(FakeHub { host, ..Default::default() }) as Arc<dyn Hub>;
    let mut hubs = Hubs::default();
    assert_eq!((hubs.in_words().as_str(), hubs.hosts()), ("the configuration has no hub", vec![]));
    hubs.add("eu", "given in a.toml", hub("a.azure-devices.net"));
    hubs.add("us", "", hub("b.azure-devices.net"));
    hubs.add_unusable("old", "its key is no base64");
    let words = "`eu` is a.azure-devices.net (connection string given in a.toml), `old` can't be used (its key is no base64), \
                 `us` is b.azure-devices.net";
    assert_eq!(hubs.in_words(), words);
    assert_eq!(hubs.hosts(), ["a.azure-devices.net", "b.azure-devices.net"]);
    assert!(hubs.shared().is_empty(), "each has a name of its own");
}
