//! A door before the fake hub: a call waits at it until the test has done what happens meanwhile, or hears what it is told.

use super::*;

/// What a call meets at the door.
enum Meets {
    /// It has had its effect; its answer waits for the second after it has told the first.
    Waits([Arc<Notify>; 2]),
    /// This is the answer, and nothing is done.
    Hears(HubError),
    /// It has had its effect, and this is the answer: to the same call, sent a second time on its way.
    Repeated(HubError),
}

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Create,
    Read,
    Replace,
    Delete,
}

/// The fake hub behind a door.
pub(super) struct Door {
    hub: Arc<FakeHub>,
    meets: Mutex<VecDeque<(Call, Meets)>>,
    calls: Mutex<Vec<Call>>,
}

impl World {
    /// Puts a door before the hub, and adds policies of that name and text. The ledger is the same.
    pub(super) fn with_door(&mut self, policies: &[(&str, &str)]) -> Arc<Door> {
        let door = Arc::new(Door { hub: Arc::clone(&self.hub), meets: Mutex::default(), calls: Mutex::default() });
        let hub: Arc<dyn Hub> = Arc::clone(&door) as _;
        let shared = &self.registrar.shared;
        let mut all = shared.policies.clone();
        all.extend(policies.iter().map(|(name, toml)| ((*name).to_owned(), Policy::parse(name, toml).unwrap())));
        self.registrar = Registrar::new(Arc::clone(&shared.ledger), BTreeMap::from([("main".to_owned(), hub)]), all);
        door
    }
}

impl Door {
    /// The answer to the next such call.
    pub(super) fn says(&self, call: Call, error: HubError) {
        self.meets.lock().unwrap().push_back((call, Meets::Hears(error)));
    }

    /// The next such call is sent twice on its way and gets this answer.
    pub(super) fn repeats(&self, call: Call, error: HubError) {
        self.meets.lock().unwrap().push_back((call, Meets::Repeated(error)));
    }

    /// What somebody asks whose next such call has its answer only after what happens meanwhile.
    pub(super) async fn meanwhile<T>(&self, call: Call, asks: impl Future<Output = T>, happens: impl Future<Output = ()>) -> T {
        let [come, go_on] = [Arc::new(Notify::new()), Arc::new(Notify::new())];
        self.meets.lock().unwrap().push_back((call, Meets::Waits([Arc::clone(&come), Arc::clone(&go_on)])));
        let then = async {
            come.notified().await;
            happens.await;
            go_on.notify_one();
        };
        tokio::join!(asks, then).0
    }

    /// Every call so far.
    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    async fn pass<T>(&self, call: Call, done: impl AsyncFnOnce() -> Result<T, HubError>) -> Result<T, HubError> {
        self.calls.lock().unwrap().push(call);
        let meets = {
            let mut meets = self.meets.lock().unwrap();
            let found = meets.iter().position(|(kind, _)| *kind == call);
            found.and_then(|at| meets.remove(at))
        };
        match meets {
            None => done().await,
            Some((_, Meets::Hears(error))) => Err(error),
            Some((_, Meets::Repeated(error))) => {
                done().await.expect("the first has its effect");
                Err(error)
            }
            Some((_, Meets::Waits([come, go_on]))) => {
                let answer = done().await;
                come.notify_one();
                go_on.notified().await;
                answer
            }
        }
    }
}

impl Hub for Door {
    fn host_name(&self) -> &str {
        self.hub.host_name()
    }

    fn create<'a>(&'a self, new: NewIdentity<'a>) -> Boxed<'a, Result<(), HubError>> {
        Box::pin(self.pass(Call::Create, async move || self.hub.create(new).await))
    }

    fn read<'a>(&'a self, device_id: &'a str) -> Boxed<'a, Result<Option<Identity>, HubError>> {
        Box::pin(self.pass(Call::Read, async || self.hub.read(device_id).await))
    }

    fn replace_keys<'a>(
        &'a self,
        identity: &'a Identity,
        primary: &'a DeviceKey,
        secondary: &'a DeviceKey,
    ) -> Boxed<'a, Result<(), HubError>> {
        Box::pin(self.pass(Call::Replace, async || self.hub.replace_keys(identity, primary, secondary).await))
    }

    fn delete<'a>(&'a self, identity: &'a Identity) -> Boxed<'a, Result<(), HubError>> {
        Box::pin(self.pass(Call::Delete, async || self.hub.delete(identity).await))
    }
}
