//! A policy's form is changed: what a label was registered as stays that serial, by every spelling, and nothing is made twice.

use super::*;
use crate::ledger::{LedgerError, batch::NewBatch, forms::Form};

struct Forms {
    world: World,
    mine: Caller,
}

fn policy(form: &str) -> Policy {
    Policy::parse("spelled", &format!("[form]\n{form}\n")).unwrap()
}

impl Forms {
    async fn new(form: &str) -> Self {
        let mut world = World::new();
        let mine = world.station("line-1", |access| access.policy = "spelled".into()).await;
        world.registrar = Self::registrar(&world, form);
        Self { world, mine }
    }

    fn registrar(world: &World, form: &str) -> Registrar {
        let mut hubs = Hubs::default();
        hubs.add("main", "", Arc::clone(&world.hub) as _);
        Registrar::new(Arc::new(Self::ledger(world)), hubs, BTreeMap::from([("spelled".to_owned(), policy(form))]))
    }

    fn ledger(world: &World) -> SqliteLedger {
        SqliteLedger::open(&world.folder.path().join("ledger.sqlite")).unwrap()
    }

    /// Starts as `serve` does, with another form.
    async fn start(&mut self, form: &str) -> Result<(), LedgerError> {
        Self::ledger(&self.world).hold_to(vec![Form::of(&policy(form))]).await?;
        self.world.registrar = Self::registrar(&self.world, form);
        Ok(())
    }

    async fn made(&self, label: &str) -> (Registration, DeviceKey) {
        let (made, key) = self.world.register(&self.mine, label, label).await.unwrap();
        self.world.confirm(&self.mine, label, &made, &key).await.unwrap();
        (made, key)
    }

    async fn release(&self, serial: &str) {
        let record = self.world.registrar.shared.ledger.attempts("spelled".into(), serial.into()).await.unwrap().pop().unwrap();
        self.world.registrar.release(record, "x", &|_| ()).await.unwrap();
    }
}

#[tokio::test]
async fn a_label_is_one_serial_whatever_the_form_makes_of_it() {
    for (before, after, label, spellings) in [
        ("case = \"keep\"", "case = \"upper\"", "qd-7", ["qd-7", "QD-7", "Qd-7"]),
        ("case = \"upper\"", "case = \"keep\"", "qd-7", ["qd-7", "QD-7", " qd-7 "]),
        ("case = \"upper\"", "case = \"lower\"", "Qd-7", ["qd-7", "QD-7", "Qd-7"]),
        ("drop = \"-\"", "", "QD-7", ["QD-7", "QD7", "QD-7 "]),
        ("", "drop = \"-\"", "QD-7", ["QD-7", "QD7", "Q-D-7"]),
        ("zeros = \"strip\"", "", "007", ["007", "7", " 7"]),
        ("", "zeros = \"strip\"", "007", ["007", "7", "0007"]),
        ("zeros = { pad = 4 }", "zeros = { pad = 6 }", "007", ["007", "0007", "000007"]),
        ("full_width = true\ncase = \"lower\"", "case = \"upper\"", "ＱＤ-7", ["qd-7", "QD-7", "Qd-7"]),
    ] {
        let told = format!("{before} -> {after}");
        let mut forms = Forms::new(before).await;
        forms.start(before).await.expect("as it is");
        let (made, key) = forms.made(label).await;
        let error = forms.start(after).await.expect_err(&told);
        assert!(matches!(&error, LedgerError::OtherForm { count: 1, .. }), "{told}: {error}");
        assert!(error.to_string().contains(&format!("`{}` (now `", made.serial)), "{error}");
        forms.start(before).await.expect("as before");
        let ledger = Forms::ledger(&forms.world);
        let moved = ledger.renormalise(Form::of(&policy(after))).await.unwrap();
        assert_eq!(moved.serials.keys().collect::<Vec<_>>(), [&made.serial], "{told}");
        forms.start(after).await.unwrap_or_else(|error| panic!("{told}: {error}"));
        for spelling in spellings {
            let again = forms.world.register(&forms.mine, spelling, "another job").await;
            assert_eq!(again.unwrap_err(), Code::SerialTaken, "{told}: {spelling}");
        }
        assert_eq!(forms.world.hub.devices.lock().unwrap().len(), 1, "{told}");
        let status = forms.world.registrar.status(&forms.mine.access, spellings[1]).await.unwrap();
        assert_eq!((status.device_id, status.state), (Some(made.device_id.clone()), State::Confirmed), "its device is the same");
        assert_eq!(forms.world.hub.key(&made.device_id), Some(key), "{told}");
        let deeds = forms.world.life().await;
        assert_eq!(deeds[3..], ["renormalised", "policy-renormalised"], "{told}");
        // And back.
        let back = ledger.renormalise(Form::of(&policy(before))).await.unwrap();
        assert!(back.collisions.is_empty(), "{told}");
        forms.start(before).await.unwrap_or_else(|error| panic!("back from {told}: {error}"));
        for spelling in [label, &made.serial] {
            let again = forms.world.register(&forms.mine, spelling, "another job").await;
            assert_eq!(again.unwrap_err(), Code::SerialTaken, "back from {told}: {spelling}");
        }
        forms.release(&made.serial).await;
        assert!(forms.world.hub.devices.lock().unwrap().is_empty(), "{told}");
    }
}

#[tokio::test]
async fn what_is_open_goes_on_after_its_serial_was_moved() {
    let mut forms = Forms::new("case = \"keep\"").await;
    let (made, key) = forms.world.register(&forms.mine, "qd-7", "a").await.unwrap();
    Forms::ledger(&forms.world).renormalise(Form::of(&policy("case = \"upper\""))).await.unwrap();
    forms.start("case = \"upper\"").await.unwrap();
    let (again, same) = forms.world.register(&forms.mine, "qd-7", "a").await.unwrap();
    assert_eq!((again.serial.as_str(), again.reservation, &same), ("QD-7", made.reservation, &key));
    let take_over = RegisterRequest { take_over: Some(TakeOver { reason: "lost".into() }), ..Default::default() };
    let (taken, new) = forms.world.register_with(&forms.mine, "Qd-7", "b", take_over).await.unwrap();
    assert_eq!((taken.serial.as_str(), taken.device_id.as_str()), ("QD-7", "qd-7"));
    forms.world.confirm(&forms.mine, "QD-7", &taken, &new).await.unwrap();
}

/// What is registered anew by a former spelling is the same serial at every start.
#[tokio::test]
async fn a_former_spelling_stays_known() {
    let mut forms = Forms::new("drop = \"-\"").await;
    forms.world.register(&forms.mine, "QD-7", "a").await.unwrap();
    Forms::ledger(&forms.world).renormalise(Form::of(&policy(""))).await.unwrap();
    forms.start("").await.unwrap();
    let take_over = RegisterRequest { take_over: Some(TakeOver { reason: "lost".into() }), ..Default::default() };
    let (taken, _) = forms.world.register_with(&forms.mine, "QD7", "b", take_over).await.unwrap();
    assert_eq!((taken.serial.as_str(), taken.device_id.as_str()), ("QD-7", "QD7"));
    for form in ["trim = false", ""] {
        forms.start(form).await.unwrap_or_else(|error| panic!("{form}: {error}"));
    }
    forms.release("QD7").await;
    let (made, _) = forms.world.register(&forms.mine, "QD7", "c").await.unwrap();
    assert_eq!(made.serial, "QD-7", "and when it is free");
    assert_eq!(forms.world.register(&forms.mine, "QD-7", "d").await.unwrap_err(), Code::SerialTaken);
    assert_eq!(forms.world.hub.devices.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn labels_that_would_become_one_are_named_and_nothing_is_changed() {
    let mut forms = Forms::new("case = \"keep\"").await;
    for label in ["qd-7", "QD-7", "Qd-14", "qD-14", "ab-1"] {
        forms.made(label).await;
    }
    let upper = "case = \"upper\"";
    let ledger = Forms::ledger(&forms.world);
    let (before, form) = (forms.world.life().await, || Form::of(&policy(upper)));
    let moves = ledger.renormalise(form()).await.unwrap();
    let collisions: Vec<_> = moves.collisions.iter().map(|(new, olds)| (new.as_str(), olds.join(" "))).collect();
    assert_eq!(collisions, [("QD-14", "Qd-14 qD-14".to_owned()), ("QD-7", "qd-7 QD-7".to_owned())]);
    assert_eq!(forms.world.life().await, before);
    assert!(forms.start(upper).await.is_err());
    forms.release("qd-7").await;
    forms.release("qD-14").await;
    assert!(ledger.renormalise(form()).await.unwrap().collisions.is_empty(), "a tombstone is in nobody's way");
    forms.start(upper).await.unwrap();
    let attempts = forms.world.registrar.shared.ledger.attempts("spelled".into(), "QD-7".into()).await.unwrap();
    assert_eq!(attempts.iter().map(|one| one.life.state()).collect::<Vec<_>>(), [State::Released, State::Confirmed]);
}

#[tokio::test]
async fn the_list_of_a_batch_follows_its_serials() {
    let mut forms = Forms::new("case = \"keep\"").await;
    let ledger = Forms::ledger(&forms.world);
    let list = Some(["qd-7", "qd-14", "QD-21"].map(str::to_owned).to_vec());
    let new = NewBatch { name: "w47".into(), policy: "spelled".into(), expected: Some(3), list, codes: Vec::new() };
    ledger.batch_open(new).await.unwrap();
    let of = || RegisterRequest { batch: Some("w47".into()), ..Default::default() };
    let (made, key) = forms.world.register_with(&forms.mine, "qd-7", "a", of()).await.unwrap();
    forms.world.confirm(&forms.mine, "qd-7", &made, &key).await.unwrap();
    let upper = || Form::of(&policy("case = \"upper\""));
    let error = ledger.hold_list_to(upper()).await.expect_err("the next list by another form");
    assert!(error.to_string().contains("`qd-14` (now `QD-14`) in the list of batch `w47`"), "{error}");
    let moves = ledger.renormalise(upper()).await.unwrap();
    assert_eq!((moves.serials.len(), moves.listed.len()), (1, 2));
    forms.start("case = \"upper\"").await.unwrap();
    forms.world.register_with(&forms.mine, "qd-14", "b", of()).await.expect("it stands in the list");
    let books = ledger.batch_books("w47".into()).await.unwrap().unwrap();
    let lines: Vec<_> =
        books.lines.iter().map(|line| (line.serial.as_str(), line.made.as_ref().map(|made| made.state))).collect();
    assert_eq!(lines, [("QD-14", Some(State::Issued)), ("QD-21", None), ("QD-7", Some(State::Confirmed))]);
}

#[tokio::test]
async fn a_form_that_all_stand_in_is_not_looked_at_again() {
    let mut forms = Forms::new("case = \"upper\"").await;
    forms.made("QD-7").await;
    forms.start("case = \"upper\"").await.unwrap();
    let connection = rusqlite::Connection::open(forms.world.folder.path().join("ledger.sqlite")).unwrap();
    assert_eq!(connection.execute("UPDATE reservation SET serial = 'qd-7', serial_sent = 'qd-7'", []).unwrap(), 1);
    forms.start("case = \"upper\"\nlength = { max = 20 }").await.expect("the same normal form, not looked at");
    forms.start("case = \"upper\"\ndrop = \" \"").await.expect_err("another one is");
    // A list that came by another form leaves nothing known.
    assert_eq!(connection.execute("UPDATE reservation SET serial = 'QD-7', serial_sent = 'QD-7'", []).unwrap(), 1);
    Forms::ledger(&forms.world).hold_list_to(Form::of(&policy("case = \"keep\""))).await.unwrap();
    assert_eq!(connection.execute("UPDATE reservation SET serial = 'qd-7', serial_sent = 'qd-7'", []).unwrap(), 1);
    forms.start("case = \"upper\"").await.expect_err("all is looked at again");
}

#[tokio::test]
async fn a_policy_by_another_name_makes_no_second_device() {
    let forms = Forms::new("").await;
    forms.made("QD-7").await;
    let renamed = policy("").named("renamed");
    let mut hubs = Hubs::default();
    hubs.add("main", "", Arc::clone(&forms.world.hub) as _);
    let registrar =
        Registrar::new(Arc::new(Forms::ledger(&forms.world)), hubs, BTreeMap::from([("renamed".to_owned(), renamed)]));
    let other = forms.world.station("line-2", |access| access.policy = "renamed".into()).await;
    let refused = registrar.register(&other.access, "QD-7", "b", RegisterRequest::default()).await.expect_err("refused");
    let said = "the device id `QD-7` belongs to serial `QD-7` of policy `spelled`";
    assert_eq!((refused.code(), refused.problem.detail.as_str()), (Some(Code::SerialTaken), said));
    assert_eq!(*forms.world.hub.creates.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_changed_device_id_makes_no_second_device() {
    let mut forms = Forms::new("").await;
    let (_, old) = forms.made("QD-7").await;
    let changed = Policy::parse("spelled", "device_id = \"dev-{serial}\"").unwrap();
    let mut hubs = Hubs::default();
    hubs.add("main", "", Arc::clone(&forms.world.hub) as _);
    Forms::ledger(&forms.world).hold_to(vec![Form::of(&changed)]).await.expect("serials are written as before");
    let policies = BTreeMap::from([("spelled".to_owned(), changed)]);
    forms.world.registrar = Registrar::new(Arc::new(Forms::ledger(&forms.world)), hubs, policies);
    assert_eq!(forms.world.register(&forms.mine, "QD-7", "another job").await.unwrap_err(), Code::SerialTaken);
    forms.release("QD-7").await;
    // A call for the old device id that came very late.
    let late = Device { primary: old, etag: 1, enabled: true };
    forms.world.hub.devices.lock().unwrap().insert("QD-7".into(), late);
    let (made, _) = forms.world.register(&forms.mine, "QD-7", "another job").await.unwrap();
    let devices: Vec<_> = forms.world.hub.devices.lock().unwrap().keys().cloned().collect();
    assert_eq!((made.device_id.as_str(), devices), ("dev-QD-7", vec!["dev-QD-7".to_owned()]));
}
