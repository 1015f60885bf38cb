//! A release by the code that registered the serial, for rework; and which of its registrations such a code hears are dead.
//!
//! The owner says how many releases a station's code may have. Each is charged in the transaction that begins it: whatever
//! breaks off afterwards, the same request goes on free of charge. The hub's part is that of the owner's release
//! ([`super::release`]), and runs detached from the request, since a lost call to the hub may have to be waited for.

use std::time::Duration;

use jiff::Timestamp;
use qdrs_core::api::{Code, Kind, PastRelease, RELEASES_MAX, ReleaseRequest, Released, Releases, State, VERSION};

use super::{
    Refusal, Registrar,
    answer::{no_place, no_rework, stopped_meanwhile, taken},
    disabled, held_key,
    release::stands,
    request::check_field,
};
use crate::ledger::{Access, By, Life, NotReworked, Record, batch::NoPlace};

/// How long a release waits for its end before the caller is sent away to ask again.
const ANSWER_WITHIN: Duration = if cfg!(test) { Duration::from_millis(50) } else { super::ANSWER_WITHIN };

/// When to ask again at the latest, while a lost call to the hub is waited for.
const ASK_AGAIN_WITHIN: Duration = Duration::from_secs(30);

impl Registrar {
    /// Gives up a registration of the caller's own: its credential dies, and the serial may be registered again. Idempotent.
    pub async fn rework(&self, caller: &Access, serial: &str, request: ReleaseRequest) -> Result<Released, Refusal> {
        if caller.kind == Kind::Product {
            return Err(Refusal::new(Code::NotPermitted, "a product releases nothing"));
        }
        let reason = request.reason.trim();
        check_field("reason", reason)?;
        if reason.is_empty() {
            return Err(Refusal::new(Code::BadRequest, "a release needs a reason"));
        }
        let id = request.reservation;
        let unknown = || Refusal::new(Code::SerialUnknown, format!("no registration {id} of `{serial}` by this access code"));
        let record = self.shared.ledger.find(id).await?.ok_or_else(unknown)?;
        let reservation = &record.reservation;
        if reservation.key_id != caller.key_id || !self.is_of(reservation, serial) {
            return Err(unknown());
        }
        let serial = reservation.serial.clone();
        match &record.life {
            Life::Released { .. } | Life::Releasing { .. } => {}
            Life::Conflict { reason } => return Err(Refusal::new(Code::Conflict, reason.clone()).standing(&record, true)),
            life if !life.open_to_rework() => {
                return Err(stands(reservation, life.state(), "released").standing(&record, true));
            }
            // The hub is not even asked for who may release nothing; the ledger has the last word when it charges.
            _ if caller.reworked >= caller.rework => return Err(no_rework(caller.rework)),
            _ => {}
        }
        let (registrar, caller, reason) = (self.clone(), caller.clone(), format!("released: {reason}"));
        let work = async move { registrar.give_up(&caller, record, reason).await };
        let Ok(end) = tokio::time::timeout(ANSWER_WITHIN, self.shared.releases.join(id, work)).await else {
            let left = self.call_under_way(id, Duration::ZERO).await?.unwrap_or_default();
            let detail = match left.as_secs() {
                0 => format!("{serial} is being released, but the hub has not answered yet"),
                left => format!("{serial} is being released; a call to the hub may still be under way, for {left} s at most"),
            };
            return Err(Refusal::new(Code::InProgress, detail).retry_after(left.min(ASK_AGAIN_WITHIN)));
        };
        Ok(Released { version: VERSION, serial, reservation: id, released_at: end? })
    }

    /// The detached part: looks, charges, deletes. Answers when it was released.
    pub(super) async fn give_up(&self, caller: &Access, record: Record, reason: String) -> Result<Timestamp, Refusal> {
        let (reservation, ledger) = (&record.reservation, &self.shared.ledger);
        match &record.life {
            Life::Released { .. } => return Ok(record.since),
            Life::Releasing { .. } => {}
            life => {
                // What was changed in the hub by hand is the owner's to settle.
                self.is_as_it_was_made(&record).await.map_err(|refusal| refusal.standing(&record, true))?;
                match ledger.rework(reservation.id, caller.key_id, reason).await {
                    Ok(()) => tracing::info!(serial = reservation.serial, code = caller.name, from = %life.state(), "releasing"),
                    // Somebody else released it at the same moment, or the owner ended it otherwise.
                    Err(NotReworked::Elsewhere) => match ledger.find(reservation.id).await? {
                        Some(now) if now.life.state() == State::Released => return Ok(now.since),
                        Some(now) if now.life.state() == State::Releasing => {}
                        now => return Err(taken(now.as_ref().unwrap_or(&record), true)),
                    },
                    Err(NotReworked::NotPermitted) => return Err(no_rework(0)),
                    Err(NotReworked::UsedUp(allowed)) => return Err(no_rework(allowed)),
                    Err(NotReworked::Closed { batch }) => {
                        return Err(no_place(NoPlace::Closed { batch }, &reservation.serial).standing(&record, true));
                    }
                    Err(NotReworked::Stopped(access)) => return Err(stopped_meanwhile(&access)),
                    Err(NotReworked::Ledger(error)) => return Err(error.into()),
                }
            }
        }
        let told =
            |left: Duration| tracing::info!(serial = reservation.serial, seconds = left.as_secs(), "waiting for a lost call");
        Ok(self.finish_release(reservation, By::Holder(caller.key_id), &told).await?.since)
    }

    /// Has the hub what was made, as it was made? What is only reserved may be there or not.
    async fn is_as_it_was_made(&self, record: &Record) -> Result<(), Refusal> {
        let reservation = &record.reservation;
        match &record.life {
            Life::Issued { fingerprint } | Life::Confirmed { fingerprint, .. } => {
                held_key(reservation, self.look(reservation).await?, *fingerprint).map(|_| ())
            }
            _ => match self.ours_in_hub(reservation).await? {
                Some(identity) if !identity.enabled => Err(disabled(reservation)),
                _ => Ok(()),
            },
        }
    }

    /// Which of the caller's registrations are released or taken over, in the order in which they died, after the one of that
    /// number.
    pub async fn releases(&self, caller: &Access, after: u64) -> Result<Releases, Refusal> {
        if caller.kind == Kind::Product {
            return Err(Refusal::new(Code::NotPermitted, "a product may not ask"));
        }
        // The ledger counts in 63 bits.
        let after = after.min(i64::MAX.unsigned_abs());
        let found = self.shared.ledger.tombstones(caller.key_id, after, RELEASES_MAX + 1).await?;
        let more = found.len() > RELEASES_MAX;
        let page = found.into_iter().take(RELEASES_MAX);
        let mut next = after;
        let releases = page.map(|one| {
            next = one.number;
            PastRelease { serial: one.serial, reservation: one.reservation, released_at: one.since }
        });
        Ok(Releases { version: VERSION, releases: releases.collect(), next, more })
    }
}
