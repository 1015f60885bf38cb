//! The owner's ends of a serial: *released*, so that it may be made again, and *scrapped*, so that it never is.
//!
//! Each step is durable before the next begins, and the same command again goes on where the last one broke off. What is
//! in the hub is deleted by its ETag, and only if its key is ours: what somebody has made or changed there by hand is theirs
//! to delete.
//!
//! A scrapped device's identity is deleted, not disabled: nobody can enable it again by mistake, and it takes no place in
//! the hub. The hub comes first: a serial that is called scrapped has no live credential.

use std::time::{Duration, Instant};

use qdrs_core::{
    api::{Code, State},
    hub::{Backoff, HubError, Identity},
};
use uuid::Uuid;

use super::{Refusal, Registrar};
use crate::ledger::{By, Life, Record, Reservation};

/// A call whose answer was lost has had its effect after so long, or never will.
const CALL_DIES_AFTER: Duration = if cfg!(test) { Duration::from_millis(150) } else { Duration::from_secs(600) };
/// How often it is looked whether the answer has come.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long a hub that does not answer is asked again.
const PATIENCE: Duration = Duration::from_secs(60);
const WAIT_FIRST: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 250 });
const WAIT_MAX: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 15 });

impl Registrar {
    /// Deletes the identity and frees the serial. `waiting` hears how long a lost call to the hub is still waited for.
    ///
    /// # Errors
    /// The serial can't be released from where it stands, the hub has what is not ours, or it can't be reached; then the
    /// serial stays *releasing*, and the same again goes on.
    pub async fn release(&self, record: Record, reason: &str, waiting: &(dyn Fn(Duration) + Sync)) -> Result<Record, Refusal> {
        let reservation = &record.reservation;
        let ledger = &self.shared.ledger;
        match &record.life {
            Life::Released { .. } => return Ok(record),
            Life::Releasing { .. } => {}
            life if life.may_become(State::Releasing) => {
                // Nothing has begun yet: what must not be deleted is told first.
                self.ours_in_hub(reservation).await?;
                if !ledger.release(reservation.id, format!("released: {reason}")).await? {
                    return Err(moved(reservation));
                }
                tracing::info!(serial = reservation.serial, "releasing");
            }
            life => return Err(stands(reservation, life.state(), "released")),
        }
        self.finish_release(reservation, By::Owner, waiting).await
    }

    /// *releasing* -> *released*.
    pub(super) async fn finish_release(
        &self,
        reservation: &Reservation,
        by: By,
        waiting: &(dyn Fn(Duration) + Sync),
    ) -> Result<Record, Refusal> {
        self.delete(reservation, waiting).await?;
        let ledger = &self.shared.ledger;
        let released = ledger.released(reservation.id, by).await?;
        // Another one who released it may have been faster.
        let now = ledger.find(reservation.id).await?;
        now.filter(|now| released || now.life.state() == State::Released).ok_or_else(|| moved(reservation))
    }

    /// How long a call to the hub may still be under way; none when every one is answered, or old enough. `watched`: for how
    /// long the caller knows that none was sent.
    pub(super) async fn call_under_way(&self, reservation: Uuid, watched: Duration) -> Result<Option<Duration>, Refusal> {
        let Some(age) = self.shared.ledger.unanswered_for(reservation).await? else { return Ok(None) };
        Ok(CALL_DIES_AFTER.checked_sub(age.max(watched)).filter(|left| !left.is_zero()))
    }

    /// Deletes the identity of a confirmed device and closes its serial for ever. The quota is not given back: it was made.
    ///
    /// # Errors
    /// The serial is not confirmed, the hub has what is not ours, or it can't be reached; the same again goes on.
    pub async fn scrap(&self, record: Record, reason: &str, waiting: &(dyn Fn(Duration) + Sync)) -> Result<Record, Refusal> {
        let reservation = &record.reservation;
        match &record.life {
            Life::Scrapped { .. } => return Ok(record),
            life if life.may_become(State::Scrapped) => {}
            life => return Err(stands(reservation, life.state(), "scrapped")),
        }
        self.delete(reservation, waiting).await?;
        let ledger = &self.shared.ledger;
        let scrapped = ledger.scrap(reservation.id, format!("scrapped: {reason}")).await?;
        let now = ledger.find(reservation.id).await?;
        now.filter(|now| scrapped || now.life.state() == State::Scrapped).ok_or_else(|| moved(reservation))
    }

    /// Waits until no call can make or change the identity any more, then deletes it if it is there.
    async fn delete(&self, reservation: &Reservation, waiting: &(dyn Fn(Duration) + Sync)) -> Result<(), Refusal> {
        // None is sent any more, so what was under way at the first look is as old as that look at least.
        let first_look = Instant::now();
        while let Some(left) = self.call_under_way(reservation.id, first_look.elapsed()).await? {
            waiting(left);
            tokio::time::sleep(left.min(LOOK_EVERY)).await;
        }
        let hub = self.shared.hubs.of(reservation)?;
        let mut patience = Backoff::new(WAIT_FIRST, WAIT_MAX, Some(PATIENCE));
        loop {
            let error = match self.ours_in_hub(reservation).await? {
                None => return Ok(()),
                Some(identity) => match hub.delete(&identity).await {
                    Ok(()) | Err(HubError::NotFound) => return Ok(()),
                    Err(error) => error,
                },
            };
            // Somebody changed it meanwhile, or an answer was lost: look again.
            if error != HubError::Changed && !error.is_passing() {
                return Err(error.into());
            }
            let Some(wait) = patience.next(error.retry_after()) else { return Err(error.into()) };
            tokio::time::sleep(wait).await;
        }
    }

    /// Deletes what earlier attempts at a serial have left where the present one does not go: in another hub, or by another
    /// device id. They were released, but a call that came very late, or a release by a version that looked in the wrong hub,
    /// can have left a live credential. A hub that the config does not have any more can't be asked.
    pub(super) async fn clear_elsewhere(&self, attempts: &[Reservation]) -> Result<(), Refusal> {
        for attempt in attempts {
            let (serial, device_id, hub) = (&attempt.serial, &attempt.device_id, &attempt.hub_host);
            if self.shared.hubs.at(hub).is_none() {
                tracing::warn!(serial, device_id, hub, "an earlier attempt was in a hub that the config does not have");
                continue;
            }
            let cleared = match self.ours_in_hub(attempt).await {
                Ok(None) => Ok(()),
                Ok(Some(_)) => {
                    tracing::warn!(serial, device_id, hub, "an earlier attempt has left a device; it is deleted");
                    self.delete(attempt, &|_| ()).await
                }
                // Somebody else's.
                Err(refusal) if refusal.code() == Some(Code::Conflict) => Ok(()),
                Err(refusal) => Err(refusal),
            };
            cleared.map_err(|mut refusal| {
                let detail = &mut refusal.problem.detail;
                *detail = format!("`{serial}` was in the hub {hub} before, and nothing of it may be left there: {detail}");
                refusal
            })?;
        }
        Ok(())
    }

    /// What the hub has, asked with patience.
    pub(super) async fn look(&self, reservation: &Reservation) -> Result<Option<Identity>, Refusal> {
        let hub = self.shared.hubs.of(reservation)?;
        let mut patience = Backoff::new(WAIT_FIRST, WAIT_MAX, Some(PATIENCE));
        loop {
            match hub.read(&reservation.device_id).await {
                Ok(identity) => return Ok(identity),
                // A name that it does not even take is no device's.
                Err(HubError::Rejected { .. }) => return Ok(None),
                Err(error) if error.is_passing() => match patience.next(error.retry_after()) {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => return Err(error.into()),
                },
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The identity with a key of ours, if there is one; an error if there is one with another key.
    pub(super) async fn ours_in_hub(&self, reservation: &Reservation) -> Result<Option<Identity>, Refusal> {
        let Some(identity) = self.look(reservation).await? else { return Ok(None) };
        let ledger = &self.shared.ledger;
        if let Some(key) = identity.primary.as_ref().map(|key| key.fingerprint())
            && ledger.sent_by(reservation.id, key).await?.is_some()
        {
            return Ok(Some(identity));
        }
        Err(Refusal::new(
            Code::Conflict,
            format!(
                "{}: device `{}` is in {} with a key that this service never made, so it is left as it is; delete it there by hand, \
                 then give the same command again",
                reservation.serial, reservation.device_id, reservation.hub_host
            ),
        ))
    }
}

pub(super) fn stands(reservation: &Reservation, state: State, wanted: &str) -> Refusal {
    Refusal::new(Code::SerialTaken, format!("`{}` is {state}; a serial that is {state} can't be {wanted}", reservation.serial))
}

fn moved(reservation: &Reservation) -> Refusal {
    let what = "somebody else changed it at the same moment; look at it with `serials show`, then give the command again";
    Refusal::new(Code::SerialTaken, format!("`{}`: {what}", reservation.serial))
}
