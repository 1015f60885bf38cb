//! The rules of one serial's life, over the real ledger and a hub that fails as told.
//!
//! The hub here is a fake because a real one can't be asked to lose this very answer; the end-to-end tests use the
//! emulator over its sockets.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Mutex,
};

use proptest::prelude::*;
use qdrs_core::{
    Boxed,
    access::{AccessCode, PublicOpeningKey},
    api::{State, TakeOver},
    hub::{Hub, HubError, Identity, NewIdentity},
};
use tokio::sync::Notify;

use super::*;
use crate::ledger::{AccessState, SqliteLedger};

mod batch;
mod boards;
mod clocks;
mod door;
mod ends;
mod guards;
mod hubs;
mod journal;
mod meanwhile;
mod policies;
mod release;
mod rework;
mod spellings;
mod waits;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Fine,
    /// The effect is there, the answer is not.
    AnswerLost,
    /// Neither is.
    CallLost,
    NotSent,
}

/// A hub with its devices in memory and a list of fates for the calls to come.
#[derive(Default)]
struct FakeHub {
    /// Its host name; empty for the usual one.
    host: &'static str,
    devices: Mutex<BTreeMap<String, Device>>,
    fates: Mutex<VecDeque<Fate>>,
    creates: Mutex<u32>,
    refuses: Mutex<bool>,
    /// Told when the next creation has come; it is answered when the other is told.
    holds: Mutex<Option<[Arc<Notify>; 2]>>,
    /// The same for the next read.
    holds_read: Mutex<Option<[Arc<Notify>; 2]>>,
    /// Takes no more devices.
    full: Mutex<bool>,
    /// Told when a call has come that is never answered; the client gives it up.
    stalls: Mutex<Option<Arc<Notify>>>,
}

#[derive(Clone)]
struct Device {
    primary: DeviceKey,
    etag: u64,
    enabled: bool,
}

impl FakeHub {
    fn will(&self, fates: impl IntoIterator<Item = Fate>) {
        self.fates.lock().unwrap().extend(fates);
    }

    fn key(&self, device_id: &str) -> Option<DeviceKey> {
        self.devices.lock().unwrap().get(device_id).map(|device| device.primary.clone())
    }

    fn change(&self, device_id: &str, change: impl FnOnce(&mut Device)) {
        change(self.devices.lock().unwrap().get_mut(device_id).unwrap());
    }

    fn call<T>(&self, effect: impl FnOnce(&mut BTreeMap<String, Device>) -> Result<T, HubError>) -> Result<T, HubError> {
        let why = || "as told".to_owned();
        match self.fates.lock().unwrap().pop_front().unwrap_or(Fate::Fine) {
            Fate::Fine => effect(&mut self.devices.lock().unwrap()),
            Fate::AnswerLost => {
                let _ = effect(&mut self.devices.lock().unwrap());
                Err(HubError::Unclear { why: why() })
            }
            Fate::CallLost => Err(HubError::Unclear { why: why() }),
            Fate::NotSent => Err(HubError::Unreachable { why: why() }),
        }
    }
}

impl Hub for FakeHub {
    fn host_name(&self) -> &str {
        if self.host.is_empty() { "fake.azure-devices.net" } else { self.host }
    }

    fn create<'a>(&'a self, new: NewIdentity<'a>) -> Boxed<'a, Result<(), HubError>> {
        *self.creates.lock().unwrap() += 1;
        if *self.refuses.lock().unwrap() {
            return Box::pin(async { Err(HubError::Rejected { code: "ArgumentInvalid".into(), text: "as told".into() }) });
        }
        if let Some(come) = self.stalls.lock().unwrap().clone() {
            return Box::pin(stalled(come));
        }
        let full = *self.full.lock().unwrap();
        let done = self.call(|devices| {
            if devices.contains_key(new.device_id) {
                return Err(HubError::Exists);
            }
            if full {
                return Err(HubError::Full);
            }
            devices.insert(new.device_id.to_owned(), Device { primary: new.primary.clone(), etag: 1, enabled: true });
            Ok(())
        });
        let holds = self.holds.lock().unwrap().take();
        Box::pin(async move {
            tokio::task::yield_now().await;
            if let Some([come, go_on]) = holds {
                come.notify_one();
                go_on.notified().await;
            }
            done
        })
    }

    fn read<'a>(&'a self, device_id: &'a str) -> Boxed<'a, Result<Option<Identity>, HubError>> {
        if let Some(come) = self.stalls.lock().unwrap().clone() {
            return Box::pin(stalled(come));
        }
        let found = self.call(|devices| {
            let identity =
                |device: &Device| Identity::new(device_id, device.etag.to_string(), device.enabled, Some(device.primary.clone()));
            Ok(devices.get(device_id).map(identity))
        });
        let holds = self.holds_read.lock().unwrap().take();
        Box::pin(async move {
            if let Some([come, go_on]) = holds {
                come.notify_one();
                go_on.notified().await;
            }
            found
        })
    }

    fn replace_keys<'a>(
        &'a self,
        identity: &'a Identity,
        primary: &'a DeviceKey,
        _secondary: &'a DeviceKey,
    ) -> Boxed<'a, Result<(), HubError>> {
        let done = self.call(|devices| {
            let device = devices.get_mut(&identity.device_id).ok_or(HubError::NotFound)?;
            if device.etag.to_string() != identity.etag {
                return Err(HubError::Changed);
            }
            device.primary = primary.clone();
            device.etag += 1;
            Ok(())
        });
        Box::pin(async move { done })
    }

    fn delete<'a>(&'a self, identity: &'a Identity) -> Boxed<'a, Result<(), HubError>> {
        let done = self.call(|devices| devices.remove(&identity.device_id).map(|_| ()).ok_or(HubError::NotFound));
        Box::pin(async move { done })
    }
}

/// What the client of a hub that does not answer returns, and when.
async fn stalled<T>(come: Arc<Notify>) -> Result<T, HubError> {
    come.notify_one();
    tokio::time::sleep(qdrs_core::hub::azure::CALL_TIMEOUT).await;
    Err(HubError::Unclear { why: "as told".into() })
}

/// A ledger in a temporary folder, the fake hub, a policy, and the people.
struct World {
    folder: tempfile::TempDir,
    hub: Arc<FakeHub>,
    registrar: Registrar,
}

/// Someone with an access code.
struct Caller {
    code: AccessCode,
    access: Access,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hub = Arc::new(FakeHub::default());
        let registrar = registrar(folder.path(), &hub);
        Self { folder, hub, registrar }
    }

    /// The service is killed and started again: what was in memory is gone.
    fn restart(&mut self) {
        self.registrar = registrar(self.folder.path(), &self.hub);
    }

    async fn station(&self, name: &str, change: impl FnOnce(&mut Access)) -> Caller {
        let code = AccessCode::generate(Kind::Station);
        let mut access = Access {
            key_id: code.key_id(),
            keys: code.public(),
            name: name.into(),
            kind: Kind::Station,
            policy: "sevens".into(),
            hub: "main".into(),
            quota: None,
            made: 0,
            rework: 0,
            reworked: 0,
            rate_per_minute: None,
            not_before: None,
            expires: None,
            permissions: vec![Permission::TakeOver],
            state: AccessState::Active,
            created_at: Timestamp::now(),
        };
        change(&mut access);
        self.registrar.shared.ledger.access_create(access.clone()).await.unwrap();
        Caller { code, access }
    }

    async fn register(&self, who: &Caller, serial: &str, job: &str) -> Result<(Registration, DeviceKey), Code> {
        self.register_with(who, serial, job, RegisterRequest::default()).await
    }

    async fn register_with(
        &self,
        who: &Caller,
        serial: &str,
        job: &str,
        ask: RegisterRequest,
    ) -> Result<(Registration, DeviceKey), Code> {
        let (registration, _new) =
            self.registrar.register(&who.access, serial, job, ask).await.map_err(|refusal| refusal.code().unwrap())?;
        let context =
            SealContext { key_id: who.access.key_id, serial, idempotency_key: job, reservation: registration.reservation };
        let opened = seal::open(who.code.opening_key(), &context, &registration.sealed).unwrap();
        let credential = DeviceConnectionString::parse(std::str::from_utf8(&opened).unwrap()).unwrap();
        assert_eq!(credential.device_id, registration.device_id);
        Ok((registration, credential.key))
    }

    async fn confirm(&self, who: &Caller, serial: &str, of: &Registration, key: &DeviceKey) -> Result<Confirmation, Code> {
        self.confirm_with(who, serial, of, key, Evidence::DeviceChecked, None).await
    }

    async fn confirm_with(
        &self,
        who: &Caller,
        serial: &str,
        of: &Registration,
        key: &DeviceKey,
        evidence: Evidence,
        hardware_id: Option<&str>,
    ) -> Result<Confirmation, Code> {
        let request = ConfirmRequest {
            reservation: of.reservation,
            fingerprint: key.fingerprint(),
            evidence,
            hardware_id: hardware_id.and_then(HardwareId::from_record),
        };
        self.registrar.confirm(&who.access, serial, request).await.map_err(|refusal| refusal.code().unwrap())
    }

    async fn life(&self) -> Vec<String> {
        let entries = self.registrar.shared.ledger.audit(1, 10_000).await.unwrap();
        assert!(crate::ledger::audit::check_chain(1, [0; 32], &entries).is_ok(), "the audit chain is broken");
        entries
            .iter()
            .map(|entry| serde_json::from_str::<crate::ledger::audit::Deed>(&entry.text).unwrap().action)
            .filter(|action| !action.starts_with("access-"))
            .collect()
    }
}

fn registrar(folder: &std::path::Path, hub: &Arc<FakeHub>) -> Registrar {
    registrar_with(folder, &[("main", hub)])
}

/// With the hubs by the names that a config gives them.
fn registrar_with(folder: &std::path::Path, hubs: &[(&str, &Arc<FakeHub>)]) -> Registrar {
    let policy =
        Policy::parse("sevens", "[form]\nlength = { min = 1, max = 20 }\n[[rule]]\nkind = \"divisible\"\nby = 7\n").unwrap();
    let mut named = Hubs::default();
    for (name, hub) in hubs {
        named.add(name, "given in a test", Arc::clone(hub) as _);
    }
    Registrar::new(
        Arc::new(SqliteLedger::open_or_make(&folder.join("ledger.sqlite")).unwrap()),
        named,
        BTreeMap::from([
            ("sevens".to_owned(), policy),
            ("listed".to_owned(), listed()),
            ("loose".to_owned(), Policy::parse("loose", "").unwrap()),
        ]),
    )
}

/// Two serials, the board of each beside it.
fn listed() -> Policy {
    let csv = b"serial,mac\nQD-1,AA:BB:CC:DD:EE:01\nQD-2,AA:BB:CC:DD:EE:02\n".to_vec();
    let toml = "[[rule]]\nkind = \"list\"\nfile = \"list.csv\"\nhwid = \"mac\"";
    Policy::parse("listed", toml).unwrap().load(&mut |_| Ok(csv.clone()), &mut |_| Err(String::new())).unwrap()
}

#[tokio::test]
async fn a_serial_is_registered_repeated_confirmed_and_then_closed_to_all() {
    let world = World::new();
    let (mine, other) = (world.station("line-1", |_| ()).await, world.station("line-2", |_| ()).await);
    let (first, key) = world.register(&mine, "0014", "job-1").await.unwrap();
    let (again, same) = world.register(&mine, "0014", "job-1").await.unwrap();
    assert_eq!((first.reservation, key.fingerprint()), (again.reservation, same.fingerprint()));
    assert_eq!(world.hub.key("0014").unwrap().fingerprint(), key.fingerprint());
    assert_eq!(world.register(&other, "0014", "job-2").await.unwrap_err(), Code::SerialTaken);
    assert_eq!(world.register(&mine, "0014", "job-3").await.unwrap_err(), Code::SerialTaken);

    let confirmed = world.confirm(&mine, "0014", &first, &key).await.unwrap();
    assert_eq!(world.confirm(&mine, "0014", &first, &key).await.unwrap(), confirmed, "confirming is idempotent");
    assert_eq!(world.register(&mine, "0014", "job-1").await.unwrap_err(), Code::SerialTaken);
    assert_eq!(world.life().await, ["reserved", "issued", "confirmed"]);
    assert_eq!(*world.hub.creates.lock().unwrap(), 1, "one hub call creates");
}

#[tokio::test]
async fn a_typo_gives_away_no_serial_of_a_list_that_stations_may_not_have() {
    let world = World::new();
    let mine = world.station("line-1", |access| access.policy = "listed".into()).await;
    for near in ["QD-3", "QD1", "QD-11", "OD-1"] {
        let refusal = world.registrar.register(&mine.access, near, near, RegisterRequest::default()).await.expect_err("refused");
        let asked = world.registrar.status(&mine.access, near).await.expect_err("can't be made");
        for detail in [refusal.problem.detail, asked.problem.detail] {
            assert!(!detail.contains("QD-1`") && !detail.contains("QD-2`") && !detail.contains("is it"), "{near}: {detail}");
        }
    }
}

#[tokio::test]
async fn a_typo_is_explained_to_a_station_and_to_no_product() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    let product = world.station("app", |access| access.kind = Kind::Product).await;
    let refused = async |who: &Caller, ask| world.registrar.register(&who.access, "12", "a", ask).await.expect_err("refused");
    let told = refused(&mine, RegisterRequest::default()).await.problem;
    assert!(told.detail.ends_with("; is it `21` (two neighbours swapped)?"), "{}", told.detail);
    let asked = world.registrar.status(&mine.access, "12").await.expect_err("can't be made").problem;
    assert_eq!((&asked.code, &asked.detail), (&told.code, &told.detail), "who only asks hears the same");
    let recipient = Some(product.access.keys.opening);
    let refusal = refused(&product, RegisterRequest { recipient, ..Default::default() }).await;
    assert!(!refusal.problem.detail.contains("21"), "not even the log has it: {}", refusal.problem.detail);
    assert_eq!(refusal.for_kind(Kind::Product).problem.detail, "");
}

#[tokio::test]
async fn a_lost_answer_is_recognised_by_the_fingerprint_and_burns_nothing() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    for (serial, fates) in [
        ("7", vec![Fate::AnswerLost]),
        ("14", vec![Fate::CallLost]),
        ("21", vec![Fate::NotSent, Fate::AnswerLost, Fate::CallLost]),
        ("28", vec![Fate::AnswerLost, Fate::NotSent, Fate::Fine, Fate::AnswerLost]),
    ] {
        world.hub.will(fates);
        let (_, key) = world.register(&mine, serial, serial).await.unwrap();
        assert_eq!(world.hub.key(serial).unwrap().fingerprint(), key.fingerprint());
    }
}

#[tokio::test]
async fn an_identity_with_a_key_that_was_never_ours_is_a_conflict_for_good() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    let foreign = DeviceKey::generate();
    world.hub.devices.lock().unwrap().insert("7".into(), Device { primary: foreign.clone(), etag: 1, enabled: true });
    assert_eq!(world.register(&mine, "7", "a").await.unwrap_err(), Code::Conflict);
    assert_eq!(world.register(&mine, "7", "a").await.unwrap_err(), Code::Conflict);
    assert_eq!(world.register(&mine, "7", "b").await.unwrap_err(), Code::Conflict);
    assert_eq!(world.hub.key("7").unwrap().fingerprint(), foreign.fingerprint(), "never deleted by us");
}

#[tokio::test]
async fn a_killed_service_goes_on_where_it_stood() {
    for fates in [vec![Fate::AnswerLost], vec![Fate::CallLost]] {
        let mut world = World::new();
        let mine = world.station("line-1", |_| ()).await;
        // The first call's fate is known only to the hub: the service dies while it waits.
        let keys = Keys::generate();
        let policy = world.registrar.policy("sevens").unwrap();
        let serial = policy.check("7").unwrap();
        let hash = job_hash(mine.access.key_id, "a");
        let new =
            reservation(&mine.access, policy, "fake.azure-devices.net", "7", &serial, hash, &RegisterRequest::default()).unwrap();
        world.registrar.shared.ledger.reserve(new, keys.primary.fingerprint(), PolicyLimits::default()).await.unwrap();
        world.hub.will(fates.clone());
        let tags = serde_json::Value::Null;
        let _ = world.hub.create(NewIdentity { device_id: "7", primary: &keys.primary, secondary: &keys.secondary, tags }).await;
        world.restart();
        let (_, key) = world.register(&mine, "7", "a").await.unwrap();
        assert_eq!(world.hub.key("7").unwrap().fingerprint(), key.fingerprint());
        assert_eq!(key.fingerprint() == keys.primary.fingerprint(), fates == [Fate::AnswerLost]);
    }
}

#[tokio::test]
async fn quotas_hold_and_a_refused_entry_gives_its_own_back() {
    let world = World::new();
    let mine = world.station("line-1", |access| access.quota = Some(1)).await;
    *world.hub.refuses.lock().unwrap() = true;
    assert_eq!(world.register(&mine, "7", "a").await.unwrap_err(), Code::RejectedByHub);
    *world.hub.refuses.lock().unwrap() = false;
    world.register(&mine, "14", "b").await.unwrap();
    assert_eq!(world.register(&mine, "21", "c").await.unwrap_err(), Code::QuotaExhausted);
    world.register(&mine, "14", "b").await.expect("a repeat needs no quota");
    assert_eq!(world.register(&mine, "7", "a").await.unwrap_err(), Code::QuotaExhausted, "a second try is charged again");
}

#[tokio::test]
async fn a_take_over_kills_the_first_key_and_the_old_job() {
    let world = World::new();
    let (mine, other) = (world.station("line-1", |_| ()).await, world.station("line-2", |_| ()).await);
    let unpermitted = world.station("line-3", |access| access.permissions.clear()).await;
    let (old, old_key) = world.register(&mine, "7", "a").await.unwrap();
    let take_over = || RegisterRequest { take_over: Some(TakeOver { reason: "journal lost".into() }), ..Default::default() };

    assert_eq!(world.register_with(&other, "7", "x", take_over()).await.unwrap_err(), Code::SerialTaken);
    assert_eq!(world.register_with(&unpermitted, "7", "y", take_over()).await.unwrap_err(), Code::NotPermitted);
    world.hub.will([Fate::Fine, Fate::AnswerLost, Fate::CallLost]);
    let (new, new_key) = world.register_with(&mine, "7", "b", take_over()).await.unwrap();

    assert_ne!(old.reservation, new.reservation);
    assert_ne!(old_key.fingerprint(), new_key.fingerprint());
    assert_eq!(world.hub.key("7").unwrap().fingerprint(), new_key.fingerprint());
    assert_eq!(world.confirm(&mine, "7", &old, &old_key).await.unwrap_err(), Code::Released);
    assert_eq!(world.register(&mine, "7", "a").await.unwrap_err(), Code::Released);
    world.confirm(&mine, "7", &new, &new_key).await.unwrap();
    assert_eq!(world.register_with(&mine, "7", "c", take_over()).await.unwrap_err(), Code::SerialTaken, "confirmed is closed");
    assert_eq!(world.life().await, ["reserved", "issued", "taken-over", "reserved", "issued", "confirmed"]);
}

#[tokio::test]
async fn two_equal_requests_at_one_moment_make_one_identity() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    let (first, second) = tokio::join!(world.register(&mine, "7", "a"), world.register(&mine, "7", "a"));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.0.reservation, first.1.fingerprint()), (second.0.reservation, second.1.fingerprint()));
    assert_eq!(world.life().await, ["reserved", "issued"]);
}

#[tokio::test]
async fn a_key_used_for_another_serial_is_refused_but_another_slot_is_no_error() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    world.register(&mine, "7", "a").await.unwrap();
    assert_eq!(world.register(&mine, "14", "a").await.unwrap_err(), Code::IdempotencyMismatch);
    let elsewhere = RegisterRequest { slot: Some("4".into()), station: Some("bench".into()), ..Default::default() };
    world.register_with(&mine, "7", "a", elsewhere).await.unwrap();
}

#[tokio::test]
async fn changes_made_by_hand_in_the_hub_are_named_and_nothing_is_handed_out() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    world.register(&mine, "7", "a").await.unwrap();
    world.hub.change("7", |device| device.enabled = false);
    assert_eq!(world.register(&mine, "7", "a").await.unwrap_err(), Code::IdentityDisabled);
    world.hub.change("7", |device| device.primary = DeviceKey::generate());
    assert_eq!(world.register(&mine, "7", "a").await.unwrap_err(), Code::IdentityChanged);
    world.hub.devices.lock().unwrap().clear();
    assert_eq!(world.register(&mine, "7", "a").await.unwrap_err(), Code::IdentityMissing);
    assert!(world.hub.key("7").is_none(), "not recreated silently");
}

#[tokio::test]
async fn a_board_keeps_its_first_serial() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    let board = |id: &str| RegisterRequest { hardware_id: HardwareId::from_record(id), ..Default::default() };
    let (first, key) = world.register_with(&mine, "7", "a", board("AA:BB")).await.unwrap();
    let (second, second_key) = world.register_with(&mine, "14", "b", board("AA:BB")).await.unwrap();
    world.confirm(&mine, "7", &first, &key).await.unwrap();
    assert_eq!(world.confirm(&mine, "14", &second, &second_key).await.unwrap_err(), Code::BoardTaken);
    assert_eq!(world.register_with(&mine, "21", "c", board("AA:BB")).await.unwrap_err(), Code::BoardTaken);
}

#[tokio::test]
async fn a_serial_of_a_list_is_made_on_the_board_that_the_list_names() {
    let world = World::new();
    let mine = world.station("line-1", |access| access.policy = "listed".into()).await;
    let board = |id: &str| RegisterRequest { hardware_id: HardwareId::from_record(id), ..Default::default() };
    assert_eq!(world.register_with(&mine, "QD-1", "a", board("AA:BB:CC:DD:EE:02")).await.unwrap_err(), Code::WrongBoard);
    let (first, key) = world.register_with(&mine, "QD-1", "a", board("aa-bb-cc-dd-ee-01")).await.unwrap();
    assert_eq!(world.register_with(&mine, "QD-1", "a", board("AA:BB:CC:DD:EE:02")).await.unwrap_err(), Code::WrongBoard);
    let confirm = |id| world.confirm_with(&mine, "QD-1", &first, &key, Evidence::ReadBack, Some(id));
    assert_eq!(confirm("AA:BB:CC:DD:EE:02").await.unwrap_err(), Code::WrongBoard);
    confirm("AA:BB:CC:DD:EE:01").await.unwrap();
    assert_eq!(world.register(&mine, "QD-3", "c").await.unwrap_err(), Code::SerialInvalid);
    // Before a board is there nothing is known of it; but one that says nothing of itself can't be told from another.
    let (second, key) = world.register(&mine, "QD-2", "b").await.unwrap();
    assert_eq!(world.confirm(&mine, "QD-2", &second, &key).await.unwrap_err(), Code::WrongBoard);
}

#[tokio::test]
async fn confirming_asks_for_the_right_key_enough_evidence_and_the_right_caller() {
    let world = World::new();
    let (mine, other) = (world.station("line-1", |_| ()).await, world.station("line-2", |_| ()).await);
    let (registration, key) = world.register(&mine, "7", "a").await.unwrap();
    let wrong = DeviceKey::generate();
    assert_eq!(world.confirm(&mine, "7", &registration, &wrong).await.unwrap_err(), Code::FingerprintMismatch);
    assert_eq!(world.confirm(&other, "7", &registration, &key).await.unwrap_err(), Code::SerialUnknown);
    assert_eq!(world.confirm(&mine, "14", &registration, &key).await.unwrap_err(), Code::SerialUnknown);
    let weak = world.confirm_with(&mine, "7", &registration, &key, Evidence::Accepted, None).await;
    assert_eq!(weak.unwrap_err(), Code::EvidenceTooWeak);
    assert_eq!(world.life().await, ["reserved", "issued"]);
}

#[tokio::test]
async fn a_caller_who_hangs_up_stops_nothing() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    world.hub.will([Fate::CallLost, Fate::CallLost, Fate::AnswerLost]);
    let hasty = tokio::time::timeout(Duration::from_millis(1), world.register(&mine, "7", "a")).await;
    assert!(hasty.is_err() || hasty.unwrap().is_ok());
    // The repeat joins the work that went on without its caller, or finds what it did.
    let (_, key) = loop {
        match world.register(&mine, "7", "a").await {
            Err(Code::InProgress) => tokio::task::yield_now().await,
            answer => break answer.unwrap(),
        }
    };
    assert_eq!(world.hub.key("7").unwrap().fingerprint(), key.fingerprint());
    assert_eq!(world.life().await, ["reserved", "issued"]);
}

#[tokio::test]
async fn a_repeat_with_a_board_that_is_made_is_refused_before_it_is_written() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    let board = |id: &str| RegisterRequest { hardware_id: HardwareId::from_record(id), ..Default::default() };
    let (first, key) = world.register_with(&mine, "7", "a", board("AA:BB")).await.unwrap();
    world.confirm(&mine, "7", &first, &key).await.unwrap();
    world.register_with(&mine, "14", "b", board("CC:DD")).await.unwrap();
    assert_eq!(world.register_with(&mine, "14", "b", board("AA:BB")).await.unwrap_err(), Code::BoardTaken);
    world.register_with(&mine, "14", "b", board("EE:FF")).await.expect("a board that is new may come");
    world.register_with(&mine, "14", "b", board(" ")).await.expect("a board that says nothing of itself is none");
}

#[tokio::test]
async fn a_take_over_neither_recreates_nor_enables_what_was_changed_by_hand() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    let take_over = || RegisterRequest { take_over: Some(TakeOver { reason: "journal lost".into() }), ..Default::default() };
    world.register(&mine, "7", "a").await.unwrap();
    world.hub.change("7", |device| device.enabled = false);
    assert_eq!(world.register_with(&mine, "7", "b", take_over()).await.unwrap_err(), Code::IdentityDisabled);
    world.hub.devices.lock().unwrap().clear();
    assert_eq!(world.register_with(&mine, "7", "c", take_over()).await.unwrap_err(), Code::IdentityMissing);
    assert!(world.hub.key("7").is_none(), "not recreated silently");
    assert_eq!(world.life().await, ["reserved", "issued"], "and nothing was taken over");
}

#[tokio::test]
async fn taking_over_a_rejected_serial_is_charged_like_any_other() {
    let world = World::new();
    let mine = world.station("line-1", |access| access.quota = Some(1)).await;
    let take_over = || RegisterRequest { take_over: Some(TakeOver { reason: "again".into() }), ..Default::default() };
    *world.hub.refuses.lock().unwrap() = true;
    assert_eq!(world.register(&mine, "7", "a").await.unwrap_err(), Code::RejectedByHub);
    *world.hub.refuses.lock().unwrap() = false;
    world.register(&mine, "14", "b").await.unwrap();
    assert_eq!(world.register_with(&mine, "7", "c", take_over()).await.unwrap_err(), Code::QuotaExhausted);
    world.register_with(&mine, "14", "d", take_over()).await.expect("an open one has paid");
}

#[tokio::test]
async fn a_product_hears_one_word_and_may_take_nothing_over() {
    let world = World::new();
    let product = world.station("app", |access| access.kind = Kind::Product).await;
    let ask = |take_over: bool| RegisterRequest {
        recipient: Some(product.access.keys.opening),
        take_over: take_over.then(|| TakeOver { reason: "test".into() }),
        ..Default::default()
    };
    world.register_with(&product, "7", "a", ask(false)).await.unwrap();
    let refuse = async |serial: &str, job: &str, ask: RegisterRequest| {
        world.registrar.register(&product.access, serial, job, ask).await.unwrap_err().for_kind(Kind::Product)
    };
    let said = [
        refuse("7", "b", ask(false)).await,
        refuse("8", "c", ask(false)).await,
        refuse("14", "a", ask(false)).await,
        refuse("7", "d", ask(true)).await,
    ]
    .map(|refusal| serde_json::to_string(&refusal.problem).unwrap());
    assert!(said.iter().all(|words| *words == said[0]), "{said:#?}");
    assert!(said[0].contains("\"code\":\"refused\""));
    // A key that nothing can be sealed to is refused before anything is made.
    let unusable = RegisterRequest { recipient: Some(PublicOpeningKey::from_bytes([0; 32])), ..Default::default() };
    assert_eq!(refuse("21", "e", unusable).await.code(), Some(Code::BadRequest));
    assert!(world.hub.key("21").is_none());
}

#[tokio::test]
async fn one_service_process_a_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let first = SqliteLedger::open_to_serve(&path).unwrap();
    assert!(matches!(SqliteLedger::open_to_serve(&path), Err(crate::ledger::LedgerError::Serving { .. })));
    SqliteLedger::open(&path).expect("the owner's commands work beside it");
    first.ready().await.unwrap();
    drop(first);
    SqliteLedger::open_to_serve(&path).expect("after it has ended");
}

#[derive(Debug, Clone)]
enum Step {
    Register { who: usize, job: u8, take_over: bool },
    Confirm { who: usize },
    Release,
    Rework { who: usize },
    HubRefuses(bool),
    Scrap,
    Restart,
    HubWill(Vec<Fate>),
}

fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![Just(Fate::Fine), Just(Fate::AnswerLost), Just(Fate::CallLost), Just(Fate::NotSent)];
    prop_oneof![
        4 => (0..2usize, 0..3u8, any::<bool>()).prop_map(|(who, job, take_over)| Step::Register { who, job, take_over }),
        2 => (0..2usize).prop_map(|who| Step::Confirm { who }),
        1 => Just(Step::Release),
        1 => (0..2usize).prop_map(|who| Step::Rework { who }),
        1 => any::<bool>().prop_map(Step::HubRefuses),
        1 => Just(Step::Scrap),
        1 => Just(Step::Restart),
        2 => prop::collection::vec(fate, 0..4).prop_map(Step::HubWill),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever two stations, the owner, the hub and the service's restarts do to one serial: the credential handed out last
    /// is the one the hub has, only a key that the hub has is ever confirmed, and what is released or scrapped is dead.
    #[test]
    fn one_serial_has_one_live_credential(steps in prop::collection::vec(step(), 1..12)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            // The first may give up two of its registrations, the second none.
            let callers = [world.station("line-1", |access| access.rework = 2).await, world.station("line-2", |_| ()).await];
            let mut held: [Option<(Registration, DeviceKey)>; 2] = [None, None];
            let mut confirmed = None;
            // Nothing may be handed out: it is confirmed, or the owner has begun to end it, or it is scrapped.
            let (mut shut, mut scrapped) = (false, false);
            for step in steps {
                match step {
                    Step::HubWill(fates) => world.hub.will(fates),
                    Step::HubRefuses(refuses) => *world.hub.refuses.lock().unwrap() = refuses,
                    Step::Restart => world.restart(),
                    Step::Register { who, job, take_over } => {
                        let take_over = take_over.then(|| TakeOver { reason: "test".into() });
                        let request = RegisterRequest { take_over, ..Default::default() };
                        if let Ok(got) = world.register_with(&callers[who], "7", &format!("job-{job}"), request).await {
                            assert!(!shut, "a credential was handed out of a serial that is shut");
                            assert_eq!(world.hub.key("7").map(|key| key.fingerprint()), Some(got.1.fingerprint()));
                            held[who] = Some(got);
                        }
                    }
                    Step::Confirm { who } => {
                        if let Some((registration, key)) = &held[who] && world.confirm(&callers[who], "7", registration, key).await.is_ok() {
                            assert_eq!(world.hub.key("7").map(|key| key.fingerprint()), Some(key.fingerprint()), "a dead key was confirmed");
                            assert!(!scrapped, "a scrapped serial was confirmed");
                            (confirmed, shut) = (Some(key.fingerprint()), true);
                        }
                    }
                    Step::Rework { who } => {
                        let Some((registration, _)) = &held[who] else { continue };
                        let standing = world.registrar.shared.ledger.find(registration.reservation).await.unwrap().unwrap().life.state();
                        match world.rework(&callers[who], "7", registration.reservation).await {
                            Ok(_) if standing == State::Released => {}
                            Ok(_) => {
                                assert!(world.hub.key("7").is_none() && !scrapped, "it is free, but the hub has it");
                                (confirmed, shut) = (None, false);
                            }
                            Err(_) if world.state("7").await == Some(State::Releasing) => (confirmed, shut) = (None, true),
                            Err(_) => {}
                        }
                    }
                    Step::Release => match world.release("7").await {
                        Ok(_) => {
                            assert!(world.hub.key("7").is_none() && !scrapped, "it is free, but the hub has it");
                            (confirmed, shut) = (None, false);
                        }
                        Err(_) if world.state("7").await == Some(State::Releasing) => (confirmed, shut) = (None, true),
                        Err(_) => {}
                    }
                    Step::Scrap => match world.scrap("7").await {
                        Ok(_) => {
                            assert!(world.hub.key("7").is_none(), "it is scrapped, but the hub has it");
                            (confirmed, shut, scrapped) = (None, true, true);
                        }
                        // The hub comes first.
                        Err(_) => if shut && world.hub.key("7").is_none() { confirmed = None },
                    }
                }
                if let Some(confirmed) = confirmed {
                    assert_eq!(world.hub.key("7").map(|key| key.fingerprint()), Some(confirmed), "the confirmed key died");
                }
            }
            // A release costs its holder one, whatever broke off; the quota counts what stands.
            world.balance(&callers).await;
        });
    }
}
