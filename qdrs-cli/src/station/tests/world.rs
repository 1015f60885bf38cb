//! The people and things of the pipeline's tests: a world with a service, trays with boards, and a network that fails.

use std::{collections::VecDeque, io::Write, path::PathBuf};

use qdrs_core::{
    Boxed,
    access::KeyId,
    api::{ConfirmRequest, Confirmation, RegisterRequest, Registration, ReleaseRequest, Releases},
    client::Registered,
    connection_string::DeviceConnectionString,
    hardware_id::HardwareId,
};
use tokio::sync::Notify;
use uuid::Uuid;

use super::*;
use crate::{
    device::{Device, DeviceError, Identity, Why},
    port::PortError,
    sandbox::{self, Sandbox},
    settings::{Folders, Settings},
};

/// Nothing here takes long; what takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service with its hub, and a station with its journal.
pub(super) struct World {
    sandbox: Sandbox,
    pub(super) client: Client,
    pub(super) station: String,
    pub(super) take_over: Option<String>,
    folder: tempfile::TempDir,
    journals: usize,
}

impl World {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut settings = Settings::resolve(&Default::default(), &|_| None, &Folders::below(folder.path())).expect("settles");
        // The devices are the test's own.
        settings.ports.set_for_sandbox(vec!["none".into()]);
        let sandbox = sandbox::start(&mut settings).await.expect("starts");
        let client = crate::command::connect_for(&settings, Duration::ZERO).expect("has its code");
        Self { sandbox, client, station: "line 1".into(), take_over: None, folder, journals: 0 }
    }

    pub(super) async fn provision(&self, serials: &[&str], trays: &[Tray]) -> (Summary, Outcome) {
        self.provision_with(FaultyService::of(&self.client), serials, trays).await
    }

    pub(super) async fn provision_with(&self, service: FaultyService, serials: &[&str], trays: &[Tray]) -> (Summary, Outcome) {
        self.provision_until(service, serials, trays, watch::channel(false).1).await
    }

    pub(super) async fn provision_until(
        &self,
        service: FaultyService,
        serials: &[&str],
        trays: &[Tray],
        interrupt: watch::Receiver<bool>,
    ) -> (Summary, Outcome) {
        let screen = Screen::to(std::io::sink(), std::io::sink(), ScreenOptions::default());
        let run = run(self.plan(serials, trays), Arc::new(service), self.journal(), screen, interrupt);
        tokio::time::timeout(PATIENCE, run).await.expect("the run ends")
    }

    /// The process is no more at that call of the service, which still does it or not.
    pub(super) async fn provision_killed_at(
        &self,
        service: &FaultyService,
        call: usize,
        done: bool,
        serials: &[&str],
        tray: &Tray,
    ) {
        service.stop_answering_at(call, done);
        let screen = Screen::to(std::io::sink(), std::io::sink(), ScreenOptions::default());
        let plan = self.plan(serials, std::slice::from_ref(tray));
        let task = tokio::spawn(run(plan, Arc::new(service.clone()), self.journal(), screen, watch::channel(false).1));
        tokio::select! {
            () = service.stopped_answering() => {}
            () = async { while !task.is_finished() { tokio::task::yield_now().await } } => {}
        }
        task.abort();
        // What was done before the last call is of no interest here.
        let _ = task.await;
    }

    pub(super) async fn provision_on_screen(&self, serials: &[&str], tray: &Tray, options: ScreenOptions) -> (String, String) {
        let (talk, data) = (Paper::default(), Paper::default());
        let screen = Screen::to(talk.clone(), data.clone(), options);
        let plan = self.plan(serials, std::slice::from_ref(tray));
        let run = run(plan, Arc::new(self.client.clone()), self.journal(), screen, watch::channel(false).1);
        tokio::time::timeout(PATIENCE, run).await.expect("the run ends");
        (talk.text(), data.text())
    }

    fn plan(&self, serials: &[&str], trays: &[Tray]) -> Plan {
        Plan {
            extras: Default::default(),
            left_out: 0,
            station: self.station.clone(),
            batch: Some("autumn".into()),
            serials: serials.iter().map(ToString::to_string).collect(),
            slots: trays.iter().enumerate().map(|(at, tray)| tray.slot(&format!("tray {}", at + 1))).collect(),
            may_take_over: true,
            take_over: self.take_over.clone(),
        }
    }

    fn journal_path(&self) -> PathBuf {
        self.folder.path().join(format!("journal-{}.jsonl", self.journals))
    }

    fn journal(&self) -> Arc<Journal> {
        Arc::new(Journal::open(&self.journal_path(), self.client.service().as_str()).expect("opens"))
    }

    pub(super) fn lose_journal(&self) {
        std::fs::remove_file(self.journal_path()).expect("is there");
    }

    /// Another PC, of the same name and with the same access code.
    pub(super) fn go_to_another_pc(&mut self) {
        self.journals += 1;
    }

    /// Back at the first PC.
    pub(super) fn go_back(&mut self) {
        self.journals = 0;
    }

    /// The disk of this PC is copied to another one, where the work goes on.
    pub(super) fn go_to_a_clone(&mut self) {
        let from = self.journal_path();
        self.go_to_another_pc();
        let born = |path: &PathBuf| std::fs::metadata(path).expect("is there").created().ok();
        loop {
            std::fs::copy(&from, self.journal_path()).expect("copies");
            if born(&from).is_none() || born(&from) != born(&self.journal_path()) {
                return;
            }
            std::fs::remove_file(self.journal_path()).expect("removes");
        }
    }

    pub(super) fn backup(&self) -> Vec<u8> {
        std::fs::read(self.journal_path()).expect("reads")
    }

    /// Writes over the journal, so that its file stays the same; with all that lies beside it when the whole disk goes back.
    pub(super) fn restore(&self, backup: &[u8], whole_disk: bool) {
        std::fs::write(self.journal_path(), backup).expect("restores");
        if whole_disk {
            std::fs::write(self.journal_path().with_extension("jsonl.lock"), "").expect("restores");
        }
    }

    /// Released with this station's access code, but not by this station: its journal does not know.
    pub(super) async fn release(&self, serial: &str) {
        let reservation = self.client.status(serial).await.expect("is known").reservation.expect("is its own");
        let request = ReleaseRequest { reservation, reason: "rework".into() };
        self.client.release(serial, Uuid::now_v7(), &request).await.expect("is released");
    }

    pub(super) fn serials_in_hub(&self) -> HashSet<String> {
        self.sandbox.hub().identities().into_iter().map(|known| known.device_id).collect()
    }

    /// One serial, one live credential, one device.
    pub(super) fn each_serial_is_on_one_board(&self, serials: &[&str], trays: &[Tray]) {
        let identities = self.sandbox.hub().identities();
        for serial in serials {
            let live: Vec<_> = identities.iter().filter(|known| known.device_id == *serial).collect();
            assert_eq!(live.len(), 1, "{serial} is in the hub once");
            let key = live[0].primary_key.as_ref().expect("has a key").fingerprint();
            let boards: usize = trays.iter().map(|tray| tray.boards_with(key)).sum();
            assert_eq!(boards, 1, "the live credential of {serial} is on one board");
        }
    }
}

/// What goes wrong with a board when it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It answers nothing, and takes nothing.
    SilentWhenAsked,
    /// It takes the credential, then it is gone.
    GoneWhileWriting,
    /// It does not take the end of its visit.
    TakesNoEnd,
    /// Its driver never comes back: the system itself is stuck.
    NeverAnswers,
    /// It says yes, and holds something else.
    HoldsSomethingElse,
    /// It holds the credential until it is put through what its profile asks for.
    ForgetsWhenProved,
}

/// A device made of memory.
#[derive(Clone)]
pub(super) struct Board {
    name: Option<String>,
    fault: Option<Fault>,
    always: bool,
    forgets: bool,
    stays: bool,
    holds: Option<DeviceConnectionString>,
}

impl Board {
    pub(super) fn named(name: &str) -> Self {
        Self { name: Some(name.into()), fault: None, always: false, forgets: false, stays: false, holds: None }
    }

    pub(super) fn anonymous() -> Self {
        Self { name: None, fault: None, always: false, forgets: false, stays: false, holds: None }
    }

    pub(super) fn failing(self, fault: Fault) -> Self {
        Self { fault: Some(fault), ..self }
    }

    pub(super) fn failing_always(self, fault: Fault) -> Self {
        Self { fault: Some(fault), always: true, ..self }
    }
}

#[derive(Default)]
struct Place {
    waiting: VecDeque<Board>,
    in_slot: Option<Board>,
    out: Vec<Board>,
    failed_again: bool,
    no_port: bool,
    anonymous: bool,
    evidence: Option<Evidence>,
    finished: usize,
    writes: usize,
}

/// A slot and its operator, who puts the next board in as soon as one is done.
#[derive(Clone, Default)]
pub(super) struct Tray(Arc<Mutex<Place>>);

impl Tray {
    pub(super) fn empty() -> Self {
        Self::default()
    }

    pub(super) fn empty_for_anonymous() -> Self {
        let tray = Self::default();
        tray.place().anonymous = true;
        tray
    }

    pub(super) fn without_port() -> Self {
        let tray = Self::default();
        tray.place().no_port = true;
        tray
    }

    pub(super) fn of(boards: impl IntoIterator<Item = Board>) -> Self {
        let tray = Self::default();
        tray.add(boards);
        tray
    }

    pub(super) fn with_boards(count: usize) -> Self {
        let tray = Self::default();
        tray.add((0..count).map(|_| Board::named(&Uuid::now_v7().to_string())));
        tray
    }

    pub(super) fn add(&self, boards: impl IntoIterator<Item = Board>) {
        self.place().waiting.extend(boards);
    }

    pub(super) fn showing(self, evidence: Evidence) -> Self {
        self.place().evidence = Some(evidence);
        self
    }

    pub(super) fn puts_failed_boards_in_again(&self) {
        self.place().failed_again = true;
    }

    /// Puts in again what was taken out.
    pub(super) fn put_in_again(&self) {
        let mut place = self.place();
        let boards = std::mem::take(&mut place.out);
        place.waiting.extend(boards);
    }

    /// Takes out whatever is in the slot.
    pub(super) fn swap(&self) {
        let mut place = self.place();
        let board = place.in_slot.take();
        place.out.extend(board);
    }

    pub(super) fn finished(&self) -> usize {
        self.place().finished
    }

    pub(super) fn writes(&self) -> usize {
        self.place().writes
    }

    pub(super) fn holder_of(&self, serial: &str) -> Option<String> {
        let holds = |board: &&Board| board.holds.as_ref().is_some_and(|held| held.device_id == serial);
        self.place().out.iter().find(holds).and_then(|board| board.name.clone())
    }

    /// What the boards hold that were taken out, in their order.
    pub(super) fn serials(&self) -> Vec<String> {
        let place = self.place();
        place.out.iter().chain(&place.in_slot).filter_map(|board| Some(board.holds.as_ref()?.device_id.clone())).collect()
    }

    pub(super) fn boards_with(&self, key: qdrs_core::connection_string::Fingerprint) -> usize {
        let place = self.place();
        let boards = place.out.iter().chain(&place.in_slot).chain(&place.waiting);
        boards.filter(|board| board.holds.as_ref().is_some_and(|held| held.key.fingerprint() == key)).count()
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, port: &str) -> SlotPlan {
        let (tray, name) = (self.clone(), port.to_owned());
        let open = Box::new(move |_| {
            if tray.place().no_port {
                return Err(Why::Port(PortError::Missing { port: name.clone(), there: Vec::new() }).into());
            }
            Ok(Box::new(tray.clone()) as Box<dyn Device>)
        });
        let place = self.place();
        let evidence = place.evidence.unwrap_or(Evidence::ReadBack);
        SlotPlan { port: port.to_owned(), open, evidence, call: None, anonymous: place.anonymous }
    }
}

fn silent() -> DeviceError {
    Why::Silent { port: "tray".into() }.into()
}

impl Device for Tray {
    fn identify(&mut self) -> Result<Identity, DeviceError> {
        let mut place = self.place();
        if place.in_slot.is_none() {
            place.in_slot = place.waiting.pop_front();
        }
        let board = place.in_slot.as_ref().ok_or_else(silent)?;
        Ok(Identity { hardware_id: board.name.as_deref().and_then(HardwareId::from_record), firmware: None })
    }

    fn write(&mut self, credential: &DeviceConnectionString) -> Result<Evidence, DeviceError> {
        let mut place = self.place();
        place.writes += 1;
        let board = place.in_slot.as_mut().ok_or_else(silent)?;
        let fault = if board.always { board.fault } else { board.fault.take() };
        match fault {
            Some(SilentWhenAsked) => {
                let board = place.in_slot.take();
                place.out.extend(board);
                Err(silent())
            }
            Some(GoneWhileWriting) => {
                board.holds = Some(credential.clone());
                let again = place.failed_again;
                match place.in_slot.take() {
                    Some(board) if again => place.waiting.push_front(board),
                    board => place.out.extend(board),
                }
                Err(DeviceError::from(Why::Stopped { port: "tray".into(), doing: "take its connection string" }).and_touched())
            }
            Some(NeverAnswers) => {
                drop(place);
                loop {
                    std::thread::park();
                }
            }
            Some(HoldsSomethingElse) => {
                let key = qdrs_core::connection_string::DeviceKey::generate();
                board.holds = Some(DeviceConnectionString { key, ..credential.clone() });
                Ok(Evidence::DeviceChecked)
            }
            Some(ForgetsWhenProved | TakesNoEnd) | None => {
                board.holds = Some(credential.clone());
                board.forgets = fault == Some(ForgetsWhenProved);
                board.stays = fault == Some(TakesNoEnd);
                Ok(Evidence::DeviceChecked)
            }
        }
    }

    fn read_back(&mut self) -> Result<Option<DeviceConnectionString>, DeviceError> {
        Ok(self.place().in_slot.as_ref().ok_or_else(silent)?.holds.clone())
    }

    fn prove(&mut self) -> Result<(), DeviceError> {
        let mut place = self.place();
        let board = place.in_slot.as_mut().ok_or_else(silent)?;
        if !std::mem::take(&mut board.forgets) {
            return Ok(());
        }
        board.holds = None;
        Err(Why::Unverified { port: "tray".into(), said: "it has started with other settings".into() }.into())
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        let mut place = self.place();
        place.finished += 1;
        if place.in_slot.as_ref().is_some_and(|board| board.stays) {
            return Err(Why::Foreign { port: "tray".into() }.into());
        }
        let board = place.in_slot.take();
        place.out.extend(board);
        Ok(())
    }

    fn present(&mut self) -> Result<bool, DeviceError> {
        // The operator takes out what failed.
        self.swap();
        Ok(false)
    }
}

#[derive(Default)]
struct Faults {
    confirm: Option<ClientError>,
    register: Option<ClientError>,
    take_overs: Vec<String>,
    registrations: usize,
    confirmations: usize,
    asked_after: Vec<u64>,
    interrupt: Option<(usize, watch::Sender<bool>)>,
    calls: usize,
    stop_at: Option<(usize, bool)>,
}

/// The service behind a network that fails as told.
#[derive(Clone)]
pub(super) struct FaultyService {
    client: Client,
    faults: Arc<Mutex<Faults>>,
    stopped: Arc<Notify>,
}

impl FaultyService {
    pub(super) fn of(client: &Client) -> Self {
        Self { client: client.clone(), faults: Arc::default(), stopped: Arc::default() }
    }

    pub(super) fn refusing_confirmations(self, error: ClientError) -> Self {
        self.faults().confirm = Some(error);
        self
    }

    pub(super) fn refusing_registrations(self, error: ClientError) -> Self {
        self.faults().register = Some(error);
        self
    }

    pub(super) fn interrupting_after_registrations(&self, count: usize) -> watch::Receiver<bool> {
        let (sender, receiver) = watch::channel(false);
        self.faults().interrupt = Some((count, sender));
        receiver
    }

    fn stop_answering_at(&self, call: usize, done: bool) {
        self.faults().stop_at = Some((call, done));
    }

    async fn stopped_answering(&self) {
        self.stopped.notified().await;
    }

    pub(super) fn take_overs(&self) -> Vec<String> {
        self.faults().take_overs.clone()
    }

    /// After which numbers it was asked for releases.
    pub(super) fn asked_after(&self) -> Vec<u64> {
        self.faults().asked_after.clone()
    }

    pub(super) fn registrations(&self) -> usize {
        self.faults().registrations
    }

    pub(super) fn confirmations(&self) -> usize {
        self.faults().confirmations
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers, or is never heard of again.
    async fn call<T>(&self, call: impl Future<Output = T>) -> T {
        let stop = {
            let mut faults = self.faults();
            faults.calls += 1;
            faults.stop_at.filter(|(at, _)| faults.calls > *at)
        };
        let Some((_, done)) = stop else { return call.await };
        if done {
            call.await;
        }
        self.stopped.notify_one();
        std::future::pending().await
    }
}

/// Errors are told once and again.
fn again(error: &ClientError) -> ClientError {
    match error {
        ClientError::Refused(problem) => ClientError::Refused(problem.clone()),
        ClientError::Unreachable { service, why } => ClientError::Unreachable { service: service.clone(), why: why.clone() },
        other => panic!("not a fault of these tests: {other}"),
    }
}

impl Service for FaultyService {
    fn register<'a>(
        &'a self,
        serial: &'a str,
        job: Uuid,
        request: &'a RegisterRequest,
    ) -> Boxed<'a, Result<Registered, ClientError>> {
        if let Some(error) = &self.faults().register {
            return Box::pin(std::future::ready(Err(again(error))));
        }
        if let Some(take_over) = &request.take_over {
            self.faults().take_overs.push(take_over.reason.clone());
        }
        Box::pin(async move {
            let registered = self.call(self.client.register(serial, job, request)).await;
            let mut faults = self.faults();
            faults.registrations += usize::from(registered.is_ok());
            let count = faults.registrations;
            if let Some((_, sender)) = faults.interrupt.take_if(|(at, _)| count >= *at) {
                let _ = sender.send(true);
            }
            registered
        })
    }

    fn confirm<'a>(
        &'a self,
        serial: &'a str,
        key: Uuid,
        request: &'a ConfirmRequest,
    ) -> Boxed<'a, Result<Confirmation, ClientError>> {
        self.faults().confirmations += 1;
        if let Some(error) = &self.faults().confirm {
            return Box::pin(std::future::ready(Err(again(error))));
        }
        Box::pin(self.call(self.client.confirm(serial, key, request)))
    }

    fn status<'a>(&'a self, serial: &'a str) -> Boxed<'a, Result<SerialStatus, ClientError>> {
        Box::pin(self.client.status(serial))
    }

    fn releases(&self, after: u64) -> Boxed<'_, Result<Releases, ClientError>> {
        self.faults().asked_after.push(after);
        Box::pin(self.client.releases(after))
    }

    fn key_id(&self) -> KeyId {
        self.client.code().key_id()
    }

    fn open(&self, serial: &str, job: Uuid, registration: &Registration) -> Result<DeviceConnectionString, ClientError> {
        Service::open(&self.client, serial, job, registration)
    }
}

/// Keeps what is written to it.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()).expect("is text")
    }
}
