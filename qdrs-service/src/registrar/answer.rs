//! The registrar's refusals in words: each case of what the ledger found has its own sentence.

use jiff::Timestamp;
use qdrs_core::{access::KeyId, api::Code, hardware_id::HardwareId};

use super::{Refusal, refusal::moment};
use crate::ledger::{Access, Life, NotReserved, Record, Stopped, batch::NoPlace};

/// May the code be used now? One that is suspended or expired may still confirm what it has fetched.
///
/// # Errors
/// The refusal that says why not.
pub fn check_access(access: &Access, confirms: bool) -> Result<(), Refusal> {
    match access.stopped(Timestamp::now()) {
        None => Ok(()),
        Some(Stopped::Suspended | Stopped::Expired(_)) if confirms => Ok(()),
        Some(why) => Err(stopped(&access.name, why)),
    }
}

fn stopped(name: &str, why: Stopped) -> Refusal {
    match why {
        Stopped::Revoked => Refusal::new(Code::AccessCodeRevoked, format!("the owner revoked `{name}`")),
        Stopped::Suspended => Refusal::new(Code::AccessCodeSuspended, format!("the owner suspended `{name}`")),
        Stopped::NotYetValid(from) => Refusal::new(Code::AccessCodeNotYetValid, format!("`{name}` is valid from {from}")),
        Stopped::Expired(until) => Refusal::new(Code::AccessCodeExpired, format!("`{name}` expired at {until}")),
    }
}

/// The refusal of a deed that found the code stopped.
pub(super) fn stopped_meanwhile(access: &Access) -> Refusal {
    // A code that was stopped and set going again within the deed may simply ask once more.
    let again = || Refusal::new(Code::InProgress, format!("`{}` was stopped for a moment", access.name));
    check_access(access, false).err().unwrap_or_else(again)
}

pub(super) fn not_reserved(not: NotReserved, caller: KeyId, asked: &str) -> Refusal {
    match not {
        NotReserved::Taken(record) => {
            let yours = record.reservation.key_id == caller;
            match &record.life {
                Life::Conflict { reason } if yours => Refusal::new(Code::Conflict, reason.clone()).standing(&record, yours),
                _ => taken(&record, yours),
            }
        }
        NotReserved::DeviceIdTaken(record) => Refusal::new(
            Code::SerialTaken,
            format!(
                "the device id `{}` belongs to serial `{}` of policy `{}`",
                record.reservation.device_id, record.reservation.serial, record.reservation.policy
            ),
        )
        .standing(&record, record.reservation.key_id == caller),
        NotReserved::CodeQuota(most) => code_quota(most),
        NotReserved::PolicyTotal(most) => policy_quota(most, "in all"),
        NotReserved::PolicyDay(most) => policy_quota(most, "today"),
        NotReserved::BoardTaken { hardware_id, serial } => board_taken(&hardware_id, asked, &serial),
        NotReserved::NoPlace(why) => no_place(why, asked),
        NotReserved::Stopped(access) => stopped_meanwhile(&access),
        NotReserved::Ledger(error) => error.into(),
    }
}

pub(super) fn no_place(why: NoPlace, serial: &str) -> Refusal {
    match why {
        NoPlace::Closed { batch } => Refusal::new(Code::BatchClosed, format!("batch `{batch}` is closed; it takes no more")),
        NoPlace::Full { batch, expected } => {
            Refusal::new(Code::QuotaExhausted, format!("batch `{batch}` takes {expected} devices, and they are made"))
        }
        NoPlace::NotListed { batch } => {
            Refusal::new(Code::NotInBatch, format!("`{serial}` does not stand in the list of batch `{batch}`"))
        }
        NoPlace::OtherPolicy { batch, policy } => {
            Refusal::new(Code::NotPermitted, format!("batch `{batch}` is one of policy `{policy}`"))
        }
        NoPlace::Bound { batches } => Refusal::new(
            Code::NotPermitted,
            format!("this access code registers in batch `{}` only; name it", batches.join("` or `")),
        ),
    }
}

pub(super) fn taken(record: &Record, yours: bool) -> Refusal {
    let reservation = &record.reservation;
    let station = reservation.station.as_deref().map(|station| format!(" by station `{station}`")).unwrap_or_default();
    let state = record.life.state();
    let detail = format!("`{}` is {state}{station} since {}", reservation.serial, moment(record.since));
    Refusal::new(Code::SerialTaken, detail).standing(record, yours)
}

pub(super) fn not_confirmable(record: &Record) -> Refusal {
    let serial = &record.reservation.serial;
    let refusal = match &record.life {
        Life::Reserved => Refusal::new(Code::BadRequest, format!("{serial} has not been issued yet")),
        Life::Issued { .. } | Life::Confirmed { .. } => {
            Refusal::new(Code::FingerprintMismatch, format!("{serial}: the key that came back is not the one that was issued"))
        }
        Life::Rejected { reason } => Refusal::new(Code::RejectedByHub, format!("{serial}: {reason}")),
        Life::Conflict { reason } => Refusal::new(Code::Conflict, format!("{serial}: {reason}")),
        Life::Releasing { reason } | Life::Released { reason } => Refusal::new(Code::Released, format!("{serial} was {reason}")),
        // Not `released`, which would have the job run again.
        Life::Scrapped { .. } => return taken(record, true),
    };
    refusal.standing(record, true)
}

pub(super) fn board_taken(hardware_id: &HardwareId, serial: &str, other: &str) -> Refusal {
    Refusal::new(Code::BoardTaken, format!("board `{hardware_id}` was confirmed as `{other}`, so it can't become {serial}"))
}

/// Where the policy's list names the board of a serial, it is that one and no other.
pub(super) fn check_listed_board(
    listed: Option<&HardwareId>,
    serial: &str,
    hardware_id: Option<&HardwareId>,
) -> Result<(), Refusal> {
    match (listed, hardware_id) {
        (Some(listed), Some(found)) if listed != found => Err(Refusal::new(
            Code::WrongBoard,
            format!("board `{found}` is in the slot, but {serial} belongs to board `{listed}`"),
        )),
        _ => Ok(()),
    }
}

fn code_quota(most: u64) -> Refusal {
    Refusal::new(Code::QuotaExhausted, format!("this access code may register {most} devices, and has"))
}

pub(super) fn no_rework(allowed: u64) -> Refusal {
    match allowed {
        0 => Refusal::new(Code::NotPermitted, "this access code may release nothing"),
        most => Refusal::new(Code::ReworkUsedUp, format!("this access code may release {most} of its registrations, and has")),
    }
}

fn policy_quota(most: u64, when: &str) -> Refusal {
    Refusal::new(Code::QuotaExhausted, format!("the policy allows {most} devices {when}, and they are made"))
}
