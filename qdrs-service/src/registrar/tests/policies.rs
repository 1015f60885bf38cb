//! What is open when its policy leaves the configuration.

use super::*;

impl World {
    /// The service is started again with a config that has no policy.
    fn restart_without_policies(&mut self) {
        let hub: Arc<dyn Hub> = Arc::clone(&self.hub) as _;
        let ledger = Arc::new(SqliteLedger::open(&self.folder.path().join("ledger.sqlite")).unwrap());
        self.registrar = Registrar::new(ledger, BTreeMap::from([("main".to_owned(), hub)]), BTreeMap::new());
    }
}

#[tokio::test]
async fn what_is_open_is_finished_without_its_policy() {
    let mut world = World::new();
    let mine = world.station("line-1", |access| access.rework = 1).await;
    let (issued, _) = world.register(&mine, "7", "a").await.unwrap();
    *world.hub.full.lock().unwrap() = true;
    assert_eq!(world.register(&mine, "14", "b").await.unwrap_err(), Code::HubFull);
    *world.hub.full.lock().unwrap() = false;
    world.restart_without_policies();

    let (again, key) = world.register(&mine, "7", "a").await.expect("a repeat needs no policy");
    assert_eq!((again.reservation, again.least_evidence), (issued.reservation, Evidence::DeviceChecked));
    world.register(&mine, "14", "b").await.expect("nor does one that the hub has not seen yet");
    assert_eq!(world.registrar.status(&mine.access, "7").await.unwrap().state, State::Issued);
    assert_eq!(world.registrar.access_info(&mine.access).policy, "sevens");
    let weak = world.confirm_with(&mine, "7", &again, &key, Evidence::Accepted, None).await;
    assert_eq!(weak.unwrap_err(), Code::EvidenceTooWeak, "what the policy asked for is kept");
    world.confirm(&mine, "7", &again, &key).await.expect("confirmed");
    world.rework(&mine, "7", again.reservation).await.expect("and given up");

    assert_eq!(world.register(&mine, "21", "c").await.unwrap_err(), Code::PolicyNotConfigured, "nothing new is made");
    assert_eq!(world.registrar.status(&mine.access, "21").await.unwrap_err().code(), Some(Code::PolicyNotConfigured));
}

#[tokio::test]
async fn a_listed_board_holds_without_its_policy() {
    let mut world = World::new();
    let mine = world.station("line-1", |access| access.policy = "listed".into()).await;
    let (registration, key) = world.register(&mine, "QD-1", "a").await.unwrap();
    world.restart_without_policies();
    let other = RegisterRequest { hardware_id: HardwareId::from_record("AA:BB:CC:DD:EE:02"), ..Default::default() };
    assert_eq!(world.register_with(&mine, "QD-1", "a", other).await.unwrap_err(), Code::WrongBoard);
    for (board, refused) in [(Some("AA:BB:CC:DD:EE:02"), true), (None, true), (Some("aabbccddee01"), false)] {
        let confirmed = world.confirm_with(&mine, "QD-1", &registration, &key, Evidence::DeviceChecked, board).await;
        assert_eq!(confirmed.err(), refused.then_some(Code::WrongBoard), "{board:?}");
    }
}

#[tokio::test]
async fn a_ledger_that_kept_no_terms_asks_for_the_strictest() {
    let mut world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    let (registration, key) = world.register(&mine, "7", "a").await.unwrap();
    world.sql("UPDATE reservation SET least_evidence = NULL");
    world.restart_without_policies();
    let confirmed = world.confirm(&mine, "7", &registration, &key).await;
    assert_eq!(confirmed.unwrap_err(), Code::EvidenceTooWeak);
    world.confirm_with(&mine, "7", &registration, &key, Evidence::ReadBack, None).await.expect("read back");
}
