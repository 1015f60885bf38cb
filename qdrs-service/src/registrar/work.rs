//! The hub's part of a registration: from *reserved* to *issued*, *rejected* or *conflict*, whatever the network does.
//!
//! One work a reservation in this process; it runs as a task of its own, and requests only wait for it. Other instances
//! may work on the same reservation: safety comes from create-only calls and from the fingerprints that are in the
//! ledger before a key is sent.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use qdrs_core::{
    api::Code,
    connection_string::{DeviceKey, Fingerprint},
    hub::{Hub, HubError, Identity, NewIdentity, backoff::Backoff},
};
use tokio::sync::watch;
use uuid::Uuid;

use super::{Keys, Refusal, Registrar, Shared};
use crate::ledger::{Life, Record, Reservation, SentBy};

/// What new work begins with: a reservation as it was just committed, and the keys that were reserved with it.
pub(super) struct Fresh {
    pub(super) record: Record,
    pub(super) keys: Keys,
    /// Where earlier attempts at the serial have been, if not where this one goes.
    pub(super) elsewhere: Vec<Reservation>,
}

/// How long one work goes on asking a hub that does not answer; then the reservation stands and waits to be asked again.
const WORK_WITHIN: Duration = Duration::from_secs(600);

/// The first wait before the hub is asked again, and the longest that the hub has not asked for.
const WAIT_FIRST: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 250 });
const WAIT_MAX: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 15 });

type Settled = Result<DeviceKey, Refusal>;

/// The works of one kind that run in this process, one a reservation; each ends in a `T`.
pub(super) struct Works<T> {
    running: Arc<Running<T>>,
}

type Running<T> = Mutex<HashMap<Uuid, Waiting<T>>>;

/// A work under way, as those see it who wait for it.
struct Waiting<T> {
    end: watch::Receiver<Option<Result<T, Refusal>>>,
    /// What its last try failed with.
    trouble: Option<Refusal>,
}

impl<T> Default for Works<T> {
    fn default() -> Self {
        Self { running: Arc::default() }
    }
}

impl<T: Clone + Send + Sync + 'static> Works<T> {
    pub(super) fn is_running(&self, reservation: Uuid) -> bool {
        lock(&self.running).contains_key(&reservation)
    }

    /// Keeps what the last try failed with, for those who can't wait any longer.
    fn note(&self, reservation: Uuid, trouble: Refusal) {
        if let Some(work) = lock(&self.running).get_mut(&reservation) {
            work.trouble = Some(trouble);
        }
    }

    /// What the last try of the reservation's work failed with, while it goes on.
    pub(super) fn trouble(&self, reservation: Uuid) -> Option<Refusal> {
        lock(&self.running).get(&reservation).and_then(|work| work.trouble.clone())
    }

    /// Waits for the end of the reservation's work, and starts `work` if none runs. The work goes on if nobody waits any more.
    pub(super) async fn join(
        &self,
        reservation: Uuid,
        work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Result<T, Refusal> {
        let mut end = {
            let mut running = lock(&self.running);
            match running.get(&reservation) {
                Some(work) => work.end.clone(),
                None => {
                    let (done, end) = watch::channel(None);
                    running.insert(reservation, Waiting { end: end.clone(), trouble: None });
                    // Leaves the table before its end is told, so that whoever asks again is not told of it once more;
                    // also if it panics.
                    let entry = Entry { running: Arc::clone(&self.running), reservation };
                    tokio::spawn(async move {
                        let end = work.await;
                        if let Err(refusal) = &end {
                            tracing::warn!(%reservation, code = refusal.problem.code, detail = refusal.problem.detail, "not settled");
                        }
                        drop(entry);
                        done.send_replace(Some(end));
                    });
                    end
                }
            }
        };
        match end.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(end)) => end.clone(),
            Ok(None) | Err(_) => Err(Refusal::new(Code::Internal, "the task for this registration panicked")),
        }
    }
}

fn lock<T>(running: &Running<T>) -> MutexGuard<'_, HashMap<Uuid, Waiting<T>>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Entry<T> {
    running: Arc<Running<T>>,
    reservation: Uuid,
}

impl<T> Drop for Entry<T> {
    fn drop(&mut self) {
        lock(&self.running).remove(&self.reservation);
    }
}

impl Registrar {
    /// Waits until the reservation is settled, and starts the work if nobody has. What is fresh is only used by new work.
    pub(super) async fn settle(&self, reservation: Uuid, fresh: Option<Fresh>) -> Settled {
        let registrar = self.clone();
        let work = async move {
            let elsewhere = match &fresh {
                Some(fresh) => fresh.elsewhere.clone(),
                None => match registrar.shared.ledger.find(reservation).await? {
                    Some(record) => registrar.shared.ledger.attempts_elsewhere(record.reservation).await?,
                    None => Vec::new(),
                },
            };
            registrar.clear_elsewhere(&elsewhere).await?;
            let just_reserved = fresh.is_some() && elsewhere.is_empty();
            Work::new(&registrar.shared, reservation, just_reserved).run(fresh).await
        };
        self.shared.works.join(reservation, work).await
    }
}

/// Whose key an identity in the hub holds.
enum Whose {
    /// This reservation sent it.
    Ours(DeviceKey),
    /// An attempt that was taken over or released sent it: it has to go.
    Predecessors,
    /// It was never ours.
    Foreign,
}

struct Work<'a> {
    shared: &'a Shared,
    reservation: Uuid,
    patience: Backoff,
    /// The key that the ledger has for this work's calls.
    key: Option<Fingerprint>,
    /// True from the commit that allows the first call until anything else is waited for: that call needs no other deed.
    just_reserved: bool,
    /// What the calls that were sent with the key have done.
    effect: Effect,
}

/// What the calls with one key have done in the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    /// Each was answered, and none had an effect.
    Nothing,
    /// One had its effect, or may have had it, and all were answered.
    Done,
    /// The answer to one was lost: it may have its effect at any time, for a while.
    Unknown,
}

impl<'a> Work<'a> {
    fn new(shared: &'a Shared, reservation: Uuid, just_reserved: bool) -> Self {
        let patience = Backoff::new(WAIT_FIRST, WAIT_MAX, Some(WORK_WITHIN));
        Self { shared, reservation, patience, key: None, just_reserved, effect: Effect::Nothing }
    }

    async fn run(mut self, fresh: Option<Fresh>) -> Settled {
        let end = self.ask(fresh).await;
        if let (Err(_), Some(key), Effect::Nothing) = (&end, self.key, self.effect) {
            // The hub can't have it, so nothing will ever look for it; else each repeat against a full hub would leave one more.
            self.shared.ledger.forget_key(self.reservation, key).await?;
        }
        end
    }

    /// Asks the hub until it is settled.
    async fn ask(&mut self, fresh: Option<Fresh>) -> Settled {
        // A fresh record may be overtaken before the hub is asked, as a record read here may: every deed is conditional.
        let (record, mut keys) = match fresh {
            Some(Fresh { record, keys, .. }) => (record, Some(keys)),
            None => (self.record().await?, None),
        };
        self.key = keys.as_ref().map(|keys| keys.primary.fingerprint());
        // Settled between the caller's look and now, by the work that has just ended or by another instance.
        if record.life != Life::Reserved {
            return self.as_it_stands().await;
        }
        let reservation = record.reservation;
        let hub = self.shared.hubs.of(&reservation)?;
        // Nothing was ever sent for a reservation that comes with its keys, unless it took another one over.
        let mut look_first = keys.is_none() || reservation.replaces.is_some();
        loop {
            if look_first {
                self.just_reserved = false;
                match hub.read(&reservation.device_id).await {
                    Ok(Some(identity)) => match self.whose(&identity).await? {
                        Whose::Ours(_) | Whose::Predecessors if !identity.enabled => return Err(super::disabled(&reservation)),
                        Whose::Ours(key) => return self.issued(&reservation, key).await,
                        Whose::Foreign => {
                            if self.effect == Effect::Done {
                                self.effect = Effect::Nothing;
                            }
                            return self.foreign(&reservation).await;
                        }
                        Whose::Predecessors => {
                            let Some(new) = self.keys(&mut keys).await? else { return self.as_it_stands().await };
                            let done = hub.replace_keys(&identity, &new.primary, &new.secondary).await;
                            self.note(&done);
                            match done {
                                Ok(()) => return self.issued(&reservation, new.primary.clone()).await,
                                // Changed meanwhile, or an answer was lost: look again.
                                Err(HubError::Changed | HubError::NotFound) => self.wait(HubError::Changed).await?,
                                Err(error) => self.wait(error).await?,
                            }
                            continue;
                        }
                    },
                    Ok(None) => {}
                    Err(error) => {
                        self.wait(error).await?;
                        continue;
                    }
                }
            }
            let Some(new) = self.keys(&mut keys).await? else { return self.as_it_stands().await };
            let done = self.create(hub.as_ref(), &reservation, new).await;
            self.note(&done);
            match done {
                Ok(()) => return self.issued(&reservation, new.primary.clone()).await,
                // There already: ours if an answer was lost, else somebody's. A 404 after it is unsettled: once more.
                Err(HubError::Exists) => {
                    if look_first {
                        self.wait(HubError::Exists).await?;
                    }
                    look_first = true;
                }
                Err(HubError::Rejected { code, text }) => return self.rejected(&reservation, &format!("{code}: {text}")).await,
                // The effect is unknown, or there is none: the same keys again. Create-only makes that harmless.
                Err(error) => self.wait(error).await?,
            }
        }
    }

    fn note(&mut self, answer: &Result<(), HubError>) {
        self.effect = self.effect.max(match answer {
            // A gateway may have sent the call twice, and this is the answer to the second.
            Ok(()) | Err(HubError::Exists | HubError::Changed) => Effect::Done,
            Err(error) if error.effect_unknown() => Effect::Unknown,
            Err(_) => Effect::Nothing,
        });
    }

    async fn create(&self, hub: &dyn Hub, reservation: &Reservation, keys: &Keys) -> Result<(), HubError> {
        let tags = serde_json::json!({ "qdrs": { "reservation": reservation.id, "batch": reservation.batch } });
        hub.create(NewIdentity { device_id: &reservation.device_id, primary: &keys.primary, secondary: &keys.secondary, tags })
            .await
    }

    /// The keys in memory, else new ones whose fingerprint is in the ledger before they are used. Each call is on record
    /// before it is sent, so that a release knows how long to wait, and none is sent after a release has begun.
    /// `None` once it is no longer *reserved*: another instance was faster, or it was ended meanwhile.
    async fn keys<'k>(&mut self, keys: &'k mut Option<Keys>) -> Result<Option<&'k Keys>, Refusal> {
        let keys = keys.get_or_insert_with(Keys::generate);
        let key = keys.primary.fingerprint();
        if !std::mem::take(&mut self.just_reserved) && !self.shared.ledger.add_key(self.reservation, key).await? {
            return Ok(None);
        }
        self.key = Some(key);
        Ok(Some(keys))
    }

    /// The end of a work that was overtaken: the credential that another instance issued, or why there is none.
    async fn as_it_stands(&self) -> Settled {
        let record = self.record().await?;
        match record.life {
            Life::Issued { fingerprint } => self.read_issued(&record.reservation, fingerprint).await,
            _ => Err(super::not_confirmable(&record)),
        }
    }

    /// The set of fingerprints is read anew each time: another instance may have added to it.
    async fn whose(&self, identity: &Identity) -> Result<Whose, Refusal> {
        let Some(key) = &identity.primary else { return Ok(Whose::Foreign) };
        Ok(match self.shared.ledger.sent_by(self.reservation, key.fingerprint()).await? {
            Some(SentBy::Itself) => Whose::Ours(key.clone()),
            Some(SentBy::Predecessor) => Whose::Predecessors,
            None => Whose::Foreign,
        })
    }

    async fn issued(&self, reservation: &Reservation, key: DeviceKey) -> Settled {
        let fingerprint = key.fingerprint();
        let answered = self.key.filter(|_| self.effect != Effect::Unknown);
        if self.shared.ledger.issue(self.reservation, fingerprint, answered).await? {
            tracing::info!(serial = reservation.serial, reservation = %self.reservation, "issued");
            return Ok(key);
        }
        // Another instance was faster, a commit's answer was lost, or it was taken over meanwhile.
        let record = self.record().await?;
        match record.life {
            Life::Issued { fingerprint: other } if other == fingerprint => Ok(key),
            _ => Err(super::not_confirmable(&record)),
        }
    }

    async fn rejected(&self, reservation: &Reservation, reason: &str) -> Settled {
        self.shared.ledger.reject(self.reservation, reason.to_owned()).await?;
        Err(Refusal::new(Code::RejectedByHub, format!("{}: the hub says {reason}", reservation.serial)))
    }

    async fn foreign(&self, reservation: &Reservation) -> Settled {
        let reason =
            format!("device `{}` is in {} with a key that this service never made", reservation.device_id, reservation.hub_host);
        self.shared.ledger.conflict(self.reservation, reason.clone()).await?;
        Err(Refusal::new(Code::Conflict, reason))
    }

    /// It was issued while the caller was on its way here; the key is in the hub.
    async fn read_issued(&self, reservation: &Reservation, issued: Fingerprint) -> Settled {
        let hub = self.shared.hubs.of(reservation)?;
        super::held_key(reservation, hub.read(&reservation.device_id).await?, issued)
    }

    async fn record(&self) -> Result<Record, Refusal> {
        let found = self.shared.ledger.find(self.reservation).await?;
        found.ok_or_else(|| Refusal::new(Code::Internal, "the reservation is gone"))
    }

    /// Waits before the hub is asked again; an error when asking again makes no sense or patience is at its end.
    async fn wait(&mut self, error: HubError) -> Result<(), Refusal> {
        // After `Exists` and `Changed` the hub is asked again to see what is there now.
        let unsettled = matches!(error, HubError::Exists | HubError::Changed);
        if !unsettled && !error.is_passing() {
            return Err(error.into());
        }
        let Some(wait) = self.patience.next(error.retry_after()) else {
            return Err(if unsettled {
                Refusal::new(Code::HubSlow, "the hub does not settle what it has")
            } else {
                error.into()
            });
        };
        tracing::info!(reservation = %self.reservation, wait_ms = wait.as_millis(), %error, "asking the hub again");
        if !unsettled {
            self.shared.works.note(self.reservation, error.into());
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }
}
