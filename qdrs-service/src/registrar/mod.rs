//! The use case: a serial becomes an identity in the hub, exactly once, and its credential reaches who asked.
//!
//! reserve -> hub -> issue -> confirm. Knows no HTTP. Whoever calls has already shown who it is and that its code may be
//! used; here the serial's rules hold (DESIGN, "One serial's life"). The hub's part of it runs in `work`, detached from
//! the request: a caller who hangs up stops nothing.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use qdrs_core::{
    access::{KeyId, SealContext, seal},
    api::{
        AccessInfo, Code, ConfirmRequest, Confirmation, Evidence, Kind, Permission, PolicyText, RegisterRequest, Registration,
        SerialStatus, VERSION,
    },
    connection_string::{DeviceConnectionString, DeviceKey, Fingerprint},
    explain::Explain,
    hardware_id::HardwareId,
    hub::Identity,
    policy::Policy,
    serial::Serial,
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::ledger::{
    Access, JobHash, Ledger, Life, Made, NotConfirmed, NotReserved, PolicyLimits, Record, Reservation, Standing, batch::NoPlace,
};

mod answer;
mod hubs;
mod proposals;
mod refusal;
mod release;
mod request;
mod rework;
mod terms;
mod work;

#[cfg(test)]
mod tests;

pub use answer::check_access;
use answer::{board_taken, check_listed_board, no_place, not_confirmable, not_reserved, taken};
pub use hubs::Hubs;
pub use refusal::Refusal;
use request::{check_fields, recipient, same_request};
use work::{Fresh, Works};

/// How long a registration waits, in all, before the caller is sent away to ask again; below the 30 s at which proxies and
/// front ends tend to give up.
const ANSWER_WITHIN: Duration = Duration::from_secs(25);

/// How long the second of two equal requests waits for the first.
const TWIN_WAITS: Duration = Duration::from_secs(2);

/// How long a look at what failed may take once the deadline has passed.
const TROUBLE_WITHIN: Duration = Duration::from_secs(1);

/// The registrar; clones share one.
#[derive(Clone)]
pub struct Registrar {
    shared: Arc<Shared>,
}

struct Shared {
    ledger: Arc<dyn Ledger>,
    hubs: Hubs,
    policies: BTreeMap<String, Policy>,
    works: Works<DeviceKey>,
    releases: Works<Timestamp>,
    answer_within: Duration,
    twin_waits: Duration,
}

impl Registrar {
    /// A registrar over that ledger, with the hubs and policies by the names that access codes use.
    pub fn new(ledger: Arc<dyn Ledger>, hubs: impl Into<Hubs>, policies: BTreeMap<String, Policy>) -> Self {
        let hubs = hubs.into();
        let (works, releases) = (Works::default(), Works::default());
        Self {
            shared: Arc::new(Shared {
                ledger,
                hubs,
                policies,
                works,
                releases,
                answer_within: ANSWER_WITHIN,
                twin_waits: TWIN_WAITS,
            }),
        }
    }

    /// The access code of that key id.
    pub async fn access(&self, key_id: KeyId) -> Result<Option<Access>, Refusal> {
        Ok(self.shared.ledger.access(key_id).await?)
    }

    /// Can the ledger be read and written?
    pub async fn ready(&self) -> Result<(), Refusal> {
        Ok(self.shared.ledger.ready().await?)
    }

    /// Registers the serial for that job, or repeats the answer of the same job. True when it is new.
    ///
    /// One deadline bounds all of its waits. What it has begun goes on without it.
    pub async fn register(
        &self,
        caller: &Access,
        serial: &str,
        job: &str,
        request: RegisterRequest,
    ) -> Result<(Registration, bool), Refusal> {
        let within = self.shared.answer_within;
        if let Ok(end) = tokio::time::timeout(within, self.register_unbounded(caller, serial, job, request)).await {
            return end;
        }
        Err(self.last_trouble(caller, job).await.unwrap_or_else(|| {
            let seconds = within.as_secs();
            let detail =
                format!("no answer from the hub within {seconds} s; what was begun goes on, and the same request finds it");
            Refusal::new(Code::HubSlow, detail).retry_after(Duration::from_secs(2))
        }))
    }

    /// What the work for that job failed with last, which says more than that it takes long; none when it is not known at once.
    async fn last_trouble(&self, caller: &Access, job: &str) -> Option<Refusal> {
        let found = self.shared.ledger.find_job(caller.key_id, job_hash(caller.key_id, job));
        let record = tokio::time::timeout(TROUBLE_WITHIN, found).await.ok()?.ok()??;
        self.shared.works.trouble(record.reservation.id)
    }

    async fn register_unbounded(
        &self,
        caller: &Access,
        serial: &str,
        job: &str,
        request: RegisterRequest,
    ) -> Result<(Registration, bool), Refusal> {
        check_fields(&request)?;
        let recipient = recipient(caller, &request)?;
        let hash = job_hash(caller.key_id, job);
        let (record, key, new) = match self.shared.ledger.find_job(caller.key_id, hash).await? {
            // Its own job needs no policy and no quota, so that neither can strand what was begun.
            Some(record) => {
                same_request(&record, serial, &request)?;
                self.check_board(&record.reservation, request.hardware_id.as_ref()).await?;
                let (record, key) = self.repeat(record).await?;
                (record, key, false)
            }
            None => self.begin(caller, serial, hash, &request).await?,
        };
        self.check_before_handing_out(record.id, key.fingerprint()).await?;
        let context = SealContext { key_id: caller.key_id, serial, idempotency_key: job, reservation: record.id };
        let host_name = self.shared.hubs.of(&record)?.device_host();
        let credential = DeviceConnectionString { host_name: host_name.clone(), device_id: record.device_id.clone(), key };
        let sealed = seal::seal(&recipient, &context, credential.reveal().as_bytes())
            .map_err(|error| Refusal::new(Code::BadRequest, error.to_string()))?;
        let least_evidence = self.terms(&record).least_evidence;
        let registration = Registration {
            version: VERSION,
            serial: record.serial,
            device_id: record.device_id,
            hub: host_name,
            reservation: record.id,
            sealed,
            least_evidence,
        };
        Ok((registration, new))
    }

    /// A repeat may come with another board than the first request: it must not be one that is made already.
    async fn check_board(&self, reservation: &Reservation, hardware_id: Option<&HardwareId>) -> Result<(), Refusal> {
        let Some(hardware_id) = hardware_id else { return Ok(()) };
        check_listed_board(self.terms(reservation).listed_board.as_ref(), &reservation.serial, Some(hardware_id))?;
        let itself = Made { policy: reservation.policy.clone(), serial: reservation.serial.clone() };
        let made = self.shared.ledger.board_made_as_other(reservation.product.clone(), hardware_id.clone(), itself).await?;
        made.map_or(Ok(()), |made| Err(board_taken(hardware_id, &reservation.serial, &made.serial)))
    }

    /// The last look before a credential leaves, after every wait: the code may still have one, the batch is open, and the
    /// registration is issued with that very key. New, repeated and taken over registrations all come by here.
    async fn check_before_handing_out(&self, id: Uuid, key: Fingerprint) -> Result<(), Refusal> {
        let Some(Standing { record, access, batch_closed }) = self.shared.ledger.standing(id).await? else {
            return Err(Refusal::new(Code::Internal, "the reservation is gone"));
        };
        check_access(&access, false)?;
        check_open(&record, batch_closed)?;
        match &record.life {
            Life::Issued { fingerprint } if *fingerprint == key => Ok(()),
            Life::Releasing { reason } | Life::Released { reason } => {
                let detail = format!("{} was {reason}", record.reservation.serial);
                Err(Refusal::new(Code::Released, detail).standing(&record, true))
            }
            _ => Err(taken(&record, true)),
        }
    }

    /// A job that the ledger does not know yet.
    async fn begin(
        &self,
        caller: &Access,
        serial: &str,
        job: JobHash,
        request: &RegisterRequest,
    ) -> Result<(Reservation, DeviceKey, bool), Refusal> {
        let policy = self.policy(&caller.policy)?;
        let accepted = self.accepted(caller, serial).await?;
        let listed = policy.listed_hardware_id(&accepted);
        check_listed_board(listed.as_ref(), accepted.as_str(), request.hardware_id.as_ref())?;
        let old = match &request.take_over {
            None => None,
            Some(take_over) => {
                if caller.kind == Kind::Product || !caller.permissions.contains(&Permission::TakeOver) {
                    return Err(Refusal::new(
                        Code::NotPermitted,
                        format!("access code `{}` may not take over registrations", caller.name),
                    ));
                }
                if take_over.reason.trim().is_empty() {
                    return Err(Refusal::new(Code::BadRequest, "a take-over needs a reason"));
                }
                let old = self.shared.ledger.find_serial(caller.policy.clone(), accepted.to_string()).await?;
                match old {
                    Some(old) if old.life.open_to_take_over() && !may_take_over(&old.reservation, request) => {
                        return Err(taken(&old, old.reservation.key_id == caller.key_id));
                    }
                    old => old.map(|old| (old, take_over.reason.clone())),
                }
            }
        };
        let hubs = &self.shared.hubs;
        let host = match &old {
            // A take-over stays in the hub of the attempt that it ends.
            Some((old, _)) => old.reservation.hub_host.as_str(),
            None => hubs.host_of(&caller.hub)?,
        };
        let new = reservation(caller, policy, host, serial, &accepted, job, request)?;
        let keys = Keys::generate();
        let limits = limits(policy);
        let ledger = &self.shared.ledger;
        // A take-over stays where the old attempt is.
        let elsewhere = if old.is_none() { ledger.attempts_elsewhere(new.clone()).await? } else { Vec::new() };
        let reserved = match old {
            None => ledger.reserve(new, keys.primary.fingerprint(), limits).await,
            Some((old, reason)) => {
                if old.reservation.key_id == caller.key_id && old.life.open_to_take_over() {
                    // Before the old attempt ends: a hub that can't be called would leave the serial without either.
                    hubs.of(&old.reservation)?;
                    // What was changed in the hub by hand is the owner's to settle, not to be replaced silently.
                    if let Life::Issued { fingerprint } = &old.life {
                        self.fetch(&old, *fingerprint).await?;
                    }
                }
                ledger.take_over(old.reservation.id, new, keys.primary.fingerprint(), limits, reason).await
            }
        };
        match reserved {
            Ok(record) => {
                let reservation = record.reservation.clone();
                let key = self.settle(reservation.id, Some(Fresh { record, keys, elsewhere })).await?;
                Ok((reservation, key, true))
            }
            // Two equal requests at one moment: this one came second.
            Err(NotReserved::Taken(record)) if record.reservation.key_id == caller.key_id && record.reservation.job == job => {
                same_request(&record, serial, request)?;
                let (reservation, key) = self.repeat(*record).await?;
                Ok((reservation, key, false))
            }
            Err(not) => Err(not_reserved(not, caller.key_id, accepted.as_str())),
        }
    }

    /// The same job again: what follows depends on where its attempt stands.
    async fn repeat(&self, record: Record) -> Result<(Reservation, DeviceKey), Refusal> {
        let reservation = record.reservation.clone();
        let id = reservation.id;
        let in_progress = || Refusal::new(Code::InProgress, "the same request is being worked on");
        // Before the hub is asked for what could not be handed out.
        if reservation.batch.is_some()
            && let Some(standing) = self.shared.ledger.standing(id).await?
        {
            check_open(&record, standing.batch_closed)?;
        }
        let key = match &record.life {
            Life::Reserved if self.shared.works.is_running(id) => {
                tokio::time::timeout(self.shared.twin_waits, self.settle(id, None))
                    .await
                    .unwrap_or_else(|_| Err(in_progress()))?
            }
            Life::Reserved => self.settle(id, None).await?,
            Life::Issued { fingerprint } => self.fetch(&record, *fingerprint).await?,
            Life::Rejected { .. } => {
                self.shared.hubs.of(&reservation)?;
                let keys = Keys::generate();
                let limits = limits(self.policy(&reservation.policy)?);
                match self.shared.ledger.reserve_again(id, keys.primary.fingerprint(), limits).await {
                    Ok(record) => self.settle(id, Some(Fresh { record, keys, elsewhere: Vec::new() })).await?,
                    // Its twin was faster.
                    Err(NotReserved::Taken(_)) => return Err(in_progress()),
                    Err(not) => return Err(not_reserved(not, reservation.key_id, &reservation.serial)),
                }
            }
            Life::Confirmed { .. } | Life::Scrapped { .. } => return Err(taken(&record, true)),
            Life::Conflict { reason } => return Err(Refusal::new(Code::Conflict, reason.clone()).standing(&record, true)),
            Life::Releasing { reason } | Life::Released { reason } => {
                return Err(Refusal::new(Code::Released, format!("{} was {reason}", reservation.serial)).standing(&record, true));
            }
        };
        Ok((reservation, key))
    }

    /// The credential of an issued registration, read from the hub: the ledger has no key.
    async fn fetch(&self, record: &Record, issued: Fingerprint) -> Result<DeviceKey, Refusal> {
        let reservation = &record.reservation;
        let hub = self.shared.hubs.of(reservation)?;
        held_key(reservation, hub.read(&reservation.device_id).await?, issued).map_err(|refusal| refusal.standing(record, true))
    }

    /// The station claims that the device holds the credential. Idempotent.
    pub async fn confirm(&self, caller: &Access, serial: &str, request: ConfirmRequest) -> Result<Confirmation, Refusal> {
        let unknown = || {
            Refusal::new(
                Code::SerialUnknown,
                format!("no registration {} of `{serial}` by this access code", request.reservation),
            )
        };
        let record = self.shared.ledger.find(request.reservation).await?.ok_or_else(unknown)?;
        let reservation = &record.reservation;
        if reservation.key_id != caller.key_id || !self.is_of(reservation, serial) {
            return Err(unknown());
        }
        let terms = self.terms(reservation);
        let issued = match &record.life {
            Life::Issued { fingerprint } | Life::Confirmed { fingerprint, .. } => *fingerprint,
            _ => return Err(not_confirmable(&record)),
        };
        if issued != request.fingerprint {
            return Err(Refusal::new(
                Code::FingerprintMismatch,
                format!("{}: the key that came back from the device is not the one that was issued", reservation.serial),
            )
            .standing(&record, true));
        }
        if request.evidence < terms.least_evidence {
            return Err(Refusal::new(
                Code::EvidenceTooWeak,
                format!("policy `{}` asks for `{}`; `{}` is less", reservation.policy, terms.least_evidence, request.evidence),
            ));
        }
        let board = request.hardware_id.as_ref().or(reservation.hardware_id.as_ref());
        check_listed_board(terms.listed_board.as_ref(), &reservation.serial, board)?;
        if let (Some(listed), None) = (&terms.listed_board, board) {
            return Err(Refusal::new(
                Code::WrongBoard,
                format!("{} belongs to board `{listed}`, and the device did not report its hardware id", reservation.serial),
            ));
        }
        match self.shared.ledger.confirm(request.reservation, request.fingerprint, request.evidence, request.hardware_id).await {
            Ok(confirmed_at) => Ok(Confirmation { version: VERSION, serial: reservation.serial.clone(), confirmed_at }),
            Err(NotConfirmed::Elsewhere(Some(now))) => Err(not_confirmable(&now)),
            Err(NotConfirmed::Elsewhere(None)) => Err(unknown()),
            Err(NotConfirmed::BoardTaken { hardware_id, serial: other }) => {
                Err(board_taken(&hardware_id, &reservation.serial, &other))
            }
            Err(NotConfirmed::OtherBoard { confirmed }) => Err(Refusal::new(
                Code::WrongBoard,
                format!("{} was confirmed on board `{confirmed}`, so another board can't confirm it again", reservation.serial),
            )
            .standing(&record, true)),
            Err(NotConfirmed::Ledger(error)) => Err(error.into()),
        }
    }

    /// Where the serial stands, as far as the caller may know.
    pub async fn status(&self, caller: &Access, serial: &str) -> Result<SerialStatus, Refusal> {
        if caller.kind == Kind::Product {
            return Err(Refusal::new(Code::NotPermitted, "a product may not ask"));
        }
        let normal = self.policy(&caller.policy).map_or_else(|_| serial.to_owned(), |policy| policy.normalise(serial));
        let Some(record) = self.shared.ledger.find_serial(caller.policy.clone(), normal.clone()).await? else {
            // Who asks wants to know whether it can be made.
            self.accepted(caller, serial).await?;
            return Err(Refusal::new(Code::SerialUnknown, format!("`{normal}` is not registered")));
        };
        let yours = record.reservation.key_id == caller.key_id;
        let evidence = match &record.life {
            Life::Confirmed { evidence, .. } => Some(*evidence),
            _ => None,
        };
        Ok(SerialStatus {
            version: VERSION,
            serial: record.reservation.serial,
            state: record.life.state(),
            since: record.since,
            station: record.reservation.station,
            yours,
            reservation: Some(record.reservation.id).filter(|_| yours),
            device_id: Some(record.reservation.device_id).filter(|_| yours),
            hub: Some(record.reservation.hub_host).filter(|_| yours),
            evidence: evidence.filter(|_| yours),
            hardware_id: record.reservation.hardware_id.filter(|_| yours),
            journal: record.reservation.journal.filter(|_| yours),
        })
    }

    /// The policy of the caller's serials, as far as a station may have it.
    pub fn policy_text(&self, caller: &Access) -> Result<PolicyText, Refusal> {
        if caller.kind == Kind::Product {
            return Err(Refusal::new(Code::NotPermitted, "a product may not ask"));
        }
        let (policy, whole) = self.policy(&caller.policy)?.for_stations();
        Ok(PolicyText { version: VERSION, name: policy.name.clone(), toml: policy.to_string(), whole })
    }

    /// How many registrations that journal of the caller has made, the dead ones too.
    pub async fn registered_by(&self, caller: &Access, journal: Uuid) -> Result<u64, Refusal> {
        Ok(self.shared.ledger.registered_by(caller.key_id, journal).await?)
    }

    /// Who the caller is, and what is left to it.
    pub fn access_info(&self, caller: &Access) -> AccessInfo {
        AccessInfo {
            version: VERSION,
            name: caller.name.clone(),
            kind: caller.kind,
            policy: caller.policy.clone(),
            // Without the policy nothing new is made, and each registration carries its own.
            least_evidence: self.policy(&caller.policy).map_or(Evidence::Accepted, Policy::least_evidence),
            quota: caller.quota,
            registered: caller.made,
            rework: caller.rework,
            reworked: caller.reworked,
            expires: caller.expires,
            permissions: caller.permissions.clone(),
            journal_registered: None,
            time: Timestamp::now(),
        }
    }

    fn policy(&self, name: &str) -> Result<&Policy, Refusal> {
        self.shared
            .policies
            .get(name)
            .ok_or_else(|| Refusal::new(Code::PolicyNotConfigured, format!("the service's configuration has no policy `{name}`")))
    }
}

/// May that reservation be taken over by this request? Whoever names it knows which one; else it has to be of the same journal,
/// or of a client that named none.
fn may_take_over(old: &Reservation, request: &RegisterRequest) -> bool {
    match request.replaces {
        Some(named) => named == old.id,
        None => old.journal.is_none() || old.journal == request.journal,
    }
}

/// The key of an issued registration, out of what the hub has. Changes made there by hand are named, and nothing is
/// handed out.
fn held_key(reservation: &Reservation, identity: Option<Identity>, issued: Fingerprint) -> Result<DeviceKey, Refusal> {
    let (serial, device_id, hub) = (&reservation.serial, &reservation.device_id, &reservation.hub_host);
    let Some(identity) = identity else {
        return Err(Refusal::new(Code::IdentityMissing, format!("{serial}: device `{device_id}` is no longer in {hub}")));
    };
    let Some(key) = identity.primary.filter(|key| key.fingerprint() == issued) else {
        let what = "the hub holds another key for this device than the one that was issued";
        return Err(Refusal::new(Code::IdentityChanged, format!("{serial}: {what}")));
    };
    if identity.enabled { Ok(key) } else { Err(disabled(reservation)) }
}

fn disabled(reservation: &Reservation) -> Refusal {
    Refusal::new(Code::IdentityDisabled, format!("{}: the device is disabled in the hub", reservation.serial))
}

/// Nothing is handed out in a batch that is closed; what is out may still be confirmed.
fn check_open(record: &Record, batch_closed: bool) -> Result<(), Refusal> {
    match (&record.life, &record.reservation.batch) {
        (Life::Reserved | Life::Issued { .. }, Some(batch)) if batch_closed => {
            let closed = NoPlace::Closed { batch: batch.clone() };
            Err(no_place(closed, &record.reservation.serial).standing(record, true))
        }
        _ => Ok(()),
    }
}

/// The pair of keys of one identity. The second is never handed out; the hub wants both or neither.
struct Keys {
    primary: DeviceKey,
    secondary: DeviceKey,
}

impl Keys {
    fn generate() -> Self {
        Self { primary: DeviceKey::generate(), secondary: DeviceKey::generate() }
    }
}

/// Names the job without keeping its key; the code's id is in it, so two codes never meet.
fn job_hash(key_id: KeyId, job: &str) -> JobHash {
    Sha256::new().chain_update(key_id.to_string()).chain_update(b"|").chain_update(job).finalize().into()
}

fn limits(policy: &Policy) -> PolicyLimits {
    PolicyLimits { total: policy.total_max(), day: policy.day_max() }
}

fn reservation(
    caller: &Access,
    policy: &Policy,
    hub_host: &str,
    sent: &str,
    serial: &Serial,
    job: JobHash,
    request: &RegisterRequest,
) -> Result<Reservation, Refusal> {
    let device_id = policy.device_id(serial).map_err(|error| Refusal::new(error.code(), error.to_string()))?;
    // As the ledger keeps it, in milliseconds.
    let reserved_at = Timestamp::from_millisecond(Timestamp::now().as_millisecond()).unwrap_or(Timestamp::UNIX_EPOCH);
    Ok(Reservation {
        id: Uuid::now_v7(),
        policy: policy.name.clone(),
        serial: serial.to_string(),
        serial_sent: sent.to_owned(),
        device_id,
        hub: caller.hub.clone(),
        hub_host: hub_host.to_owned(),
        key_id: caller.key_id,
        job,
        recipient: request.recipient,
        station: request.station.clone(),
        journal: request.journal,
        slot: request.slot.clone(),
        batch: request.batch.clone(),
        product: policy.product(serial).unwrap_or(&policy.name).to_owned(),
        hardware_id: request.hardware_id.clone(),
        columns: request.columns.clone(),
        replaces: None,
        least_evidence: Some(policy.least_evidence()),
        listed_board: policy.listed_hardware_id(serial),
        reserved_at,
    })
}
