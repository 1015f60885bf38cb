//! A hub is its host: what the config calls it may change, and nothing that was made in it goes elsewhere.

use super::*;
use qdrs_core::api::ReleaseRequest;

const A: &str = "a.azure-devices.net";
const B: &str = "b.azure-devices.net";

impl World {
    /// The service starts anew with these hubs.
    fn with_hubs(&mut self, hubs: &[(&str, &Arc<FakeHub>)]) {
        self.registrar = registrar_with(self.folder.path(), hubs);
    }

    /// What is said when that serial's hub is asked for.
    async fn refused(&self, serial: &str, end: &str) -> Refusal {
        let record = self.record(serial).await.unwrap();
        let end = match end {
            "release" => self.registrar.release(record, "rework", &|_| ()).await,
            _ => self.registrar.scrap(record, "fell down", &|_| ()).await,
        };
        end.expect_err("refused")
    }
}

fn two_hubs() -> (Arc<FakeHub>, Arc<FakeHub>) {
    (Arc::new(FakeHub { host: A, ..Default::default() }), Arc::new(FakeHub { host: B, ..Default::default() }))
}

fn take_over() -> RegisterRequest {
    RegisterRequest { take_over: Some(TakeOver { reason: "journal lost".into() }), ..Default::default() }
}

/// `main` was A, and is B now: nothing of A is done in B.
#[tokio::test]
async fn what_was_made_in_a_hub_is_never_looked_for_in_another() {
    let (a, b) = two_hubs();
    let mut world = World::new();
    world.with_hubs(&[("main", &a)]);
    let mine = world.station("line-1", |access| access.rework = 9).await;
    let (confirmed, key) = world.register(&mine, "7", "a").await.unwrap();
    world.confirm(&mine, "7", &confirmed, &key).await.unwrap();
    let (issued, _) = world.register(&mine, "14", "b").await.unwrap();
    a.will([Fate::CallLost; 1]);
    *a.refuses.lock().unwrap() = true;
    assert_eq!(world.register(&mine, "21", "c").await.unwrap_err(), Code::RejectedByHub);
    *a.refuses.lock().unwrap() = false;
    a.fates.lock().unwrap().clear();
    // Reserved, and the service was killed before the hub was asked.
    let policy = world.registrar.policy("sevens").unwrap();
    let serial = policy.check("28").unwrap();
    let hash = job_hash(mine.access.key_id, "d");
    let new = reservation(&mine.access, policy, A, "28", &serial, hash, &RegisterRequest::default()).unwrap();
    let keys = Keys::generate();
    world.registrar.shared.ledger.reserve(new, keys.primary.fingerprint(), PolicyLimits::default()).await.unwrap();
    let (charged, deeds) = (world.registrar.access(mine.access.key_id).await.unwrap().unwrap().made, world.life().await);

    for hubs in [&[("main", &b)][..], &[("other", &b)][..]] {
        world.with_hubs(hubs);
        for (serial, job) in [("14", "b"), ("21", "c"), ("28", "d")] {
            assert_eq!(world.register(&mine, serial, job).await.unwrap_err(), Code::HubNotConfigured, "a repeat of {serial}");
            let taken = world.register_with(&mine, serial, "x", take_over()).await;
            assert_eq!(taken.unwrap_err(), Code::HubNotConfigured, "a take-over of {serial}");
        }
        for (serial, of) in [("7", confirmed.reservation), ("14", issued.reservation)] {
            let request = ReleaseRequest { reservation: of, reason: "cracked".into() };
            let rework = world.registrar.rework(&mine.access, serial, request).await.expect_err("a station's release");
            assert_eq!(rework.code(), Some(Code::HubNotConfigured));
        }
        for (serial, end) in [("7", "release"), ("7", "scrap"), ("14", "release"), ("21", "release"), ("28", "release")] {
            let refusal = world.refused(serial, end).await;
            assert_eq!(refusal.code(), Some(Code::HubNotConfigured), "{end} of {serial}");
            let said = format!("{}; {}", refusal.problem.detail, refusal.cause.unwrap());
            assert!(said.contains(A) && said.contains(B) && said.contains("given in a test"), "{said}");
        }
        assert_eq!(world.life().await, deeds, "nothing was done");
        assert!(b.devices.lock().unwrap().is_empty() && *b.creates.lock().unwrap() == 0);
        assert_eq!(world.registrar.access(mine.access.key_id).await.unwrap().unwrap().made, charged);
    }
    let strays = world.registrar.shared.ledger.serials_at_other_hosts(vec![B.to_owned()]).await.unwrap();
    assert_eq!(strays, [crate::ledger::SerialsAtHost { host: A.into(), open: 3, confirmed: 1 }]);

    // Under any name.
    world.with_hubs(&[("main", &b), ("old", &a)]);
    assert!(world.registrar.shared.ledger.serials_at_other_hosts(vec![A.into(), B.into()]).await.unwrap().is_empty());
    for (serial, job) in [("14", "b"), ("21", "c"), ("28", "d")] {
        let (again, key) = world.register(&mine, serial, job).await.unwrap();
        assert_eq!((again.hub.as_str(), a.key(serial)), (A, Some(key)), "it stays in its hub");
    }
    let (taken, key) = world.register_with(&mine, "28", "e", take_over()).await.unwrap();
    assert_eq!((taken.hub.as_str(), a.key("28")), (A, Some(key)), "a take-over, too");
    world.rework(&mine, "14", issued.reservation).await.expect("a station's release");
    world.scrap("7").await.unwrap();
    world.release("21").await.unwrap();
    assert!(["7", "14", "21"].iter().all(|serial| a.key(serial).is_none()));
    let (anew, _) = world.register(&mine, "14", "f").await.unwrap();
    assert_eq!((anew.hub.as_str(), b.key("14").is_some()), (B, true), "what is new goes where the code's hub is today");
}

#[tokio::test]
async fn a_code_whose_hub_is_gone_registers_nothing_and_the_refusal_names_it() {
    let (a, b) = two_hubs();
    let mut world = World::new();
    world.with_hubs(&[("main", &a)]);
    let mine = world.station("line-1", |_| ()).await;
    world.with_hubs(&[("other", &b)]);
    let refusal = world.registrar.register(&mine.access, "7", "a", RegisterRequest::default()).await.expect_err("refused");
    assert_eq!(refusal.code(), Some(Code::HubNotConfigured));
    assert!(refusal.problem.detail.contains("`main`") && refusal.cause.unwrap().contains(B), "{}", refusal.problem.detail);
    assert!(world.life().await.is_empty());
}

#[tokio::test]
async fn every_spelling_of_a_host_is_one_hub() {
    let a = Arc::new(FakeHub { host: "A.Azure-Devices.net", ..Default::default() });
    let mut world = World::new();
    world.with_hubs(&[("main", &a)]);
    let mine = world.station("line-1", |_| ()).await;
    let (made, key) = world.register(&mine, "7", "a").await.unwrap();
    assert_eq!(made.hub, A, "what is recorded, and what devices get, is lower case");
    world.confirm(&mine, "7", &made, &key).await.unwrap();
    // The same device id under another policy in the same hub, by another spelling of its host.
    let small = Arc::new(FakeHub { host: "a.device.azure-devices.NET:443", ..Default::default() });
    *small.devices.lock().unwrap() = a.devices.lock().unwrap().clone();
    world.with_hubs(&[("main", &small)]);
    let other = world.station("line-2", |access| access.policy = "loose".into()).await;
    assert_eq!(world.register(&other, "7", "b").await.unwrap_err(), Code::SerialTaken);
    world.release("7").await.expect("it is the same hub");
    // A tombstone's key is known by any spelling.
    small.devices.lock().unwrap().insert("7".into(), Device { primary: key.clone(), etag: 1, enabled: true });
    let (_, new) = world.register(&mine, "7", "c").await.expect("a predecessor's, not a stranger's");
    assert_ne!(new.fingerprint(), key.fingerprint());
}

#[tokio::test]
async fn two_names_of_one_hub_are_one_hub() {
    let (a, _) = two_hubs();
    let mut world = World::new();
    world.with_hubs(&[("main", &a)]);
    let mine = world.station("line-1", |_| ()).await;
    world.register(&mine, "7", "a").await.unwrap();
    let alias = Arc::new(FakeHub { host: "A.azure-devices.net", ..Default::default() });
    world.with_hubs(&[("eu", &a), ("main", &alias)]);
    assert_eq!(world.registrar.shared.hubs.shared(), [(A, vec!["eu", "main"])]);
    world.register(&mine, "7", "a").await.expect("by the first of its names");
    world.register(&mine, "14", "b").await.unwrap();
    assert!(a.key("14").is_some() && alias.devices.lock().unwrap().is_empty(), "one client for one hub");
}

/// A call that came very late, or a release of an older version that looked in the wrong hub.
#[tokio::test]
async fn what_an_earlier_attempt_left_in_another_hub_dies_before_the_serial_is_made_anew() {
    for killed in [false, true] {
        let (a, b) = two_hubs();
        let mut world = World::new();
        world.with_hubs(&[("main", &a)]);
        let mine = world.station("line-1", |_| ()).await;
        let mut old = Vec::new();
        for serial in ["7", "14", "21"] {
            let (made, key) = world.register(&mine, serial, serial).await.unwrap();
            world.confirm(&mine, serial, &made, &key).await.unwrap();
            world.release(serial).await.unwrap();
            old.push(key);
        }
        let put = |serial: &str, key: &DeviceKey| {
            a.devices.lock().unwrap().insert(serial.into(), Device { primary: key.clone(), etag: 1, enabled: true });
        };
        put("7", &old[0]);
        put("14", &DeviceKey::generate());
        put("21", &old[2]);
        world.with_hubs(&[("main", &b), ("old", &a)]);
        if killed {
            a.will([Fate::NotSent; 2000]);
            tokio::time::timeout(Duration::from_millis(20), world.register(&mine, "7", "again")).await.expect_err("A is away");
            assert!(b.devices.lock().unwrap().is_empty(), "nothing is made while the other may live");
            a.fates.lock().unwrap().clear();
            world.with_hubs(&[("main", &b), ("old", &a)]);
        }
        let (made, key) = world.register(&mine, "7", "again").await.unwrap();
        assert_eq!((made.hub.as_str(), b.key("7")), (B, Some(key)));
        assert!(a.key("7").is_none(), "one label, one live credential");
        world.register(&mine, "14", "once more").await.unwrap();
        assert!(a.key("14").is_some(), "what was never ours is left as it is");
        world.with_hubs(&[("main", &b)]);
        world.register(&mine, "21", "and more").await.expect("a hub that is given up can't be asked");
    }
}
