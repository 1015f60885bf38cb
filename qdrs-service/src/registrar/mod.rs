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
        AccessInfo, Code, ConfirmRequest, Confirmation, Kind, Permission, PolicyText, RegisterRequest, Registration,
        SerialStatus, State, VERSION,
    },
    connection_string::{DeviceConnectionString, DeviceKey, Fingerprint},
    explain::Explain,
    hub::Identity,
    policy::Policy,
    serial::Serial,
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::ledger::{
    Access, JobHash, Ledger, Life, NotConfirmed, NotReserved, PolicyLimits, Record, Reservation, batch::NoPlace,
};

mod answer;
mod hubs;
mod refusal;
mod release;
mod request;
mod rework;
mod work;

#[cfg(test)]
mod tests;

use answer::{
    board_taken, check_listed_board, code_quota, invalid, misconfigured, no_place, not_confirmable, not_reserved, policy_quota,
    taken,
};
pub use hubs::Hubs;
pub use refusal::Refusal;
use request::{check_field, check_fields, recipient, same_request};
use work::{Fresh, Works};

/// How long a registration waits for the hub before the caller is sent away to ask again; below the 30 s at which
/// proxies and front ends tend to give up.
const ANSWER_WITHIN: Duration = Duration::from_secs(25);

/// How long the second of two equal requests waits for the first.
const TWIN_WAITS: Duration = Duration::from_secs(2);

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
}

impl Registrar {
    /// A registrar over that ledger, with the hubs and policies by the names that access codes use.
    pub fn new(ledger: Arc<dyn Ledger>, hubs: impl Into<Hubs>, policies: BTreeMap<String, Policy>) -> Self {
        let hubs = hubs.into();
        Self { shared: Arc::new(Shared { ledger, hubs, policies, works: Works::default(), releases: Works::default() }) }
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
    pub async fn register(
        &self,
        caller: &Access,
        serial: &str,
        job: &str,
        request: RegisterRequest,
    ) -> Result<(Registration, bool), Refusal> {
        // A board that says nothing of itself is none.
        let hardware_id = request.hardware_id.filter(|id| !id.trim().is_empty());
        let request = RegisterRequest { hardware_id, ..request };
        check_fields(&request)?;
        let recipient = recipient(caller, &request)?;
        let hash = job_hash(caller.key_id, job);
        let (record, key, new) = match self.shared.ledger.find_job(caller.key_id, hash).await? {
            // Its own job needs no policy and no quota, so that neither can strand what was begun.
            Some(record) => {
                same_request(&record, serial, &request)?;
                self.check_board(&record.reservation, request.hardware_id.as_deref()).await?;
                self.check_batch(&record).await?;
                let (record, key) = self.repeat(record).await?;
                (record, key, false)
            }
            None => self.begin(caller, serial, hash, &request).await?,
        };
        let context = SealContext { key_id: caller.key_id, serial, idempotency_key: job, reservation: record.id };
        let credential = DeviceConnectionString { host_name: record.hub_host.clone(), device_id: record.device_id.clone(), key };
        let sealed = seal::seal(&recipient, &context, credential.reveal().as_bytes())
            .map_err(|error| Refusal::new(Code::BadRequest, error.to_string()))?;
        let registration = Registration {
            version: VERSION,
            serial: record.serial,
            device_id: record.device_id,
            hub: record.hub_host,
            reservation: record.id,
            sealed,
            least_evidence: self.policy(&record.policy)?.least_evidence(),
        };
        Ok((registration, new))
    }

    /// A repeat may come with another board than the first request: it must not be one that is made already.
    async fn check_board(&self, reservation: &Reservation, hardware_id: Option<&str>) -> Result<(), Refusal> {
        let Some(hardware_id) = hardware_id.filter(|id| reservation.hardware_id.as_deref() != Some(*id)) else { return Ok(()) };
        if let (Ok(policy), Some(serial)) = (self.policy(&reservation.policy), Serial::from_record(&reservation.serial)) {
            check_listed_board(policy, &serial, Some(hardware_id))?;
        }
        match self.shared.ledger.board_made_as(reservation.product.clone(), hardware_id.to_owned()).await? {
            Some(made) if (&made.policy, &made.serial) != (&reservation.policy, &reservation.serial) => {
                Err(board_taken(hardware_id, &reservation.serial, &made.serial))
            }
            _ => Ok(()),
        }
    }

    /// Nothing is handed out any more in a batch that is closed; what is out may still be confirmed.
    async fn check_batch(&self, record: &Record) -> Result<(), Refusal> {
        let (Life::Reserved | Life::Issued { .. }, Some(name)) = (&record.life, &record.reservation.batch) else { return Ok(()) };
        match self.shared.ledger.batch(name.clone()).await? {
            Some(batch) if batch.closed.is_some() && batch.policy == record.reservation.policy => {
                Err(no_place(NoPlace::Closed { batch: batch.name }, &record.reservation.serial).standing(record, true))
            }
            _ => Ok(()),
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
        let accepted = policy.check(serial).map_err(|error| invalid(policy, caller, serial, &error))?;
        check_listed_board(policy, &accepted, request.hardware_id.as_deref())?;
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
                old.map(|old| (old, take_over.reason.clone()))
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
                let key = self.settle(reservation.id, Some(Fresh { record: record.clone(), keys }), ANSWER_WITHIN).await?;
                // The hub took its time; meanwhile the batch may have been closed.
                self.check_batch(&record).await?;
                Ok((reservation, key, true))
            }
            // Two equal requests at one moment: this one came second.
            Err(NotReserved::Taken(record)) if record.reservation.key_id == caller.key_id && record.reservation.job == job => {
                same_request(&record, serial, request)?;
                let (reservation, key) = self.repeat(*record).await?;
                Ok((reservation, key, false))
            }
            Err(not) => Err(not_reserved(not, caller, &accepted)),
        }
    }

    /// The same job again: what follows depends on where its attempt stands.
    async fn repeat(&self, record: Record) -> Result<(Reservation, DeviceKey), Refusal> {
        let reservation = record.reservation.clone();
        let id = reservation.id;
        let key = match &record.life {
            Life::Reserved => {
                self.settle(id, None, if self.shared.works.is_running(id) { TWIN_WAITS } else { ANSWER_WITHIN }).await?
            }
            Life::Issued { fingerprint } => self.fetch(&record, *fingerprint).await?,
            Life::Rejected { .. } => {
                self.shared.hubs.of(&reservation)?;
                let keys = Keys::generate();
                let limits = limits(self.policy(&reservation.policy)?);
                match self.shared.ledger.reserve_again(id, keys.primary.fingerprint(), limits).await {
                    Ok(record) => self.settle(id, Some(Fresh { record, keys }), ANSWER_WITHIN).await?,
                    // Its twin was faster.
                    Err(NotReserved::Taken(_)) => {
                        return Err(Refusal::new(Code::InProgress, "the same request is being worked on"));
                    }
                    Err(NotReserved::CodeQuota(most)) => return Err(code_quota(most)),
                    Err(NotReserved::PolicyTotal(most)) => return Err(policy_quota(most, "in all")),
                    Err(NotReserved::PolicyDay(most)) => return Err(policy_quota(most, "today")),
                    Err(NotReserved::NoPlace(why)) => return Err(no_place(why, &reservation.serial)),
                    Err(NotReserved::Ledger(error)) => return Err(error.into()),
                    Err(NotReserved::DeviceIdTaken(_) | NotReserved::BoardTaken { .. }) => {
                        return Err(Refusal::new(Code::Internal, "a repeat met a new obstacle"));
                    }
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
        let serial = &reservation.serial;
        let key = held_key(reservation, hub.read(&reservation.device_id).await?, issued)
            .map_err(|refusal| refusal.standing(record, true))?;
        // What was taken over or confirmed while the hub was asked is no longer this caller's to have.
        match self.shared.ledger.find(reservation.id).await? {
            Some(Record { life: Life::Issued { fingerprint }, .. }) if fingerprint == issued => Ok(key),
            Some(now) => Err(if now.life.state() == State::Released {
                Refusal::new(Code::Released, format!("{serial} was released meanwhile")).standing(&now, true)
            } else {
                taken(&now, true)
            }),
            None => Err(Refusal::new(Code::Internal, "the reservation is gone")),
        }
    }

    /// The station claims that the device holds the credential. Idempotent.
    pub async fn confirm(&self, caller: &Access, serial: &str, request: ConfirmRequest) -> Result<Confirmation, Refusal> {
        if let Some(id) = &request.hardware_id {
            check_field("hardware_id", id)?;
        }
        let unknown = || {
            Refusal::new(
                Code::SerialUnknown,
                format!("no registration {} of `{serial}` by this access code", request.reservation),
            )
        };
        let record = self.shared.ledger.find(request.reservation).await?.ok_or_else(unknown)?;
        let reservation = &record.reservation;
        let policy = self.policy(&reservation.policy)?;
        let same = reservation.serial_sent == serial || policy.normalise(serial) == reservation.serial;
        if reservation.key_id != caller.key_id || !same {
            return Err(unknown());
        }
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
        if request.evidence < policy.least_evidence() {
            return Err(Refusal::new(
                Code::EvidenceTooWeak,
                format!("policy `{}` asks for `{}`; `{}` is less", reservation.policy, policy.least_evidence(), request.evidence),
            ));
        }
        if let Some(serial) = Serial::from_record(&reservation.serial) {
            let board = request.hardware_id.as_deref().or(reservation.hardware_id.as_deref());
            check_listed_board(policy, &serial, board)?;
            if let (Some(listed), None) = (policy.listed_hardware_id(&serial), board) {
                return Err(Refusal::new(
                    Code::WrongBoard,
                    format!("{serial} belongs to board `{listed}`, and the device did not say which one it is"),
                ));
            }
        }
        match self.shared.ledger.confirm(request.reservation, request.fingerprint, request.evidence, request.hardware_id).await {
            Ok(confirmed_at) => Ok(Confirmation { version: VERSION, serial: reservation.serial.clone(), confirmed_at }),
            Err(NotConfirmed::Elsewhere(Some(now))) => Err(not_confirmable(&now)),
            Err(NotConfirmed::Elsewhere(None)) => Err(unknown()),
            Err(NotConfirmed::BoardTaken { hardware_id, serial: other }) => {
                Err(board_taken(&hardware_id, &reservation.serial, &other))
            }
            Err(NotConfirmed::Ledger(error)) => Err(error.into()),
        }
    }

    /// Where the serial stands, as far as the caller may know.
    pub async fn status(&self, caller: &Access, serial: &str) -> Result<SerialStatus, Refusal> {
        if caller.kind == Kind::Product {
            return Err(Refusal::new(Code::NotPermitted, "a product may not ask"));
        }
        let policy = self.policy(&caller.policy)?;
        let normal = policy.normalise(serial);
        let Some(record) = self.shared.ledger.find_serial(caller.policy.clone(), normal.clone()).await? else {
            // Who asks wants to know whether it can be made.
            policy.check(serial).map_err(|error| invalid(policy, caller, serial, &error))?;
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

    /// Who the caller is, and what is left to it.
    pub fn access_info(&self, caller: &Access) -> Result<AccessInfo, Refusal> {
        Ok(AccessInfo {
            version: VERSION,
            name: caller.name.clone(),
            kind: caller.kind,
            policy: caller.policy.clone(),
            least_evidence: self.policy(&caller.policy)?.least_evidence(),
            quota: caller.quota,
            registered: caller.made,
            rework: caller.rework,
            reworked: caller.reworked,
            expires: caller.expires,
            permissions: caller.permissions.clone(),
            time: Timestamp::now(),
        })
    }

    fn policy(&self, name: &str) -> Result<&Policy, Refusal> {
        self.shared
            .policies
            .get(name)
            .ok_or_else(|| misconfigured(format!("the service's configuration has no policy `{name}` (any more)")))
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
        slot: request.slot.clone(),
        batch: request.batch.clone(),
        product: policy.product(serial).unwrap_or(&policy.name).to_owned(),
        hardware_id: request.hardware_id.clone(),
        columns: request.columns.clone(),
        replaces: None,
        reserved_at,
    })
}
