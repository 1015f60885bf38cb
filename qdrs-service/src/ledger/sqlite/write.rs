//! The deeds: each is conditional on what it expects, and writes its audit entry beside it.

use jiff::Timestamp;
use qdrs_core::{
    api::{Evidence, State},
    connection_string::Fingerprint,
    hardware_id::HardwareId,
};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::{access, batch, end, forms, read};
use crate::boot_clock::Reading;
use crate::ledger::{
    LedgerError, Life, Made, NotConfirmed, NotReserved, PolicyLimits, Record, Reservation,
    audit::{self, Deed},
};

impl From<rusqlite::Error> for NotReserved {
    fn from(error: rusqlite::Error) -> Self {
        Self::Ledger(error.into())
    }
}

impl From<rusqlite::Error> for NotConfirmed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Ledger(error.into())
    }
}

pub(super) fn reserve(
    connection: &Connection,
    mut new: Reservation,
    key: Fingerprint,
    limits: PolicyLimits,
) -> Result<Record, NotReserved> {
    new.serial = forms::resolve(connection, &new.policy, &new.serial)?;
    // The job first: a repeat that raced its own first request must find itself, not a refusal.
    if let Some(record) = read::by_job(connection, new.key_id, &new.job)? {
        return Err(NotReserved::Taken(Box::new(record)));
    }
    if let Some(record) = read::by_serial(connection, &new.policy, &new.serial)? {
        return Err(NotReserved::Taken(Box::new(record)));
    }
    let day = day_of(new.reserved_at);
    insert(connection, new, key, Charge { limits: Some(limits), place: true, day }, None)
}

pub(super) fn take_over(
    connection: &Connection,
    old: Uuid,
    mut new: Reservation,
    key: Fingerprint,
    limits: PolicyLimits,
    reason: &str,
) -> Result<Record, NotReserved> {
    if let Some(record) = read::by_job(connection, new.key_id, &new.job)? {
        return Err(NotReserved::Taken(Box::new(record)));
    }
    let Some(record) = read::by_id(connection, old)? else {
        return Err(LedgerError::Damaged { what: format!("reservation {old} is gone") }.into());
    };
    if record.reservation.key_id != new.key_id || !record.life.open_to_take_over() {
        return Err(NotReserved::Taken(Box::new(record)));
    }
    // A rejected one gave its quota back; the others hand theirs on.
    let charge = matches!(record.life, Life::Rejected { .. });
    let now = Timestamp::now();
    connection
        .prepare_cached("UPDATE reservation SET state = 'released', since = ?2, reason = ?3, charged = 0 WHERE id = ?1")?
        .execute(params![old.to_string(), now.as_millisecond(), format!("taken over: {reason}")])?;
    end::number(connection, &record.reservation)?;
    entry(connection, &record.reservation, "taken-over", now, Some(reason.to_owned()))?;
    // Where the identity lives can't change under it.
    new.hub.clone_from(&record.reservation.hub);
    new.hub_host.clone_from(&record.reservation.hub_host);
    new.device_id.clone_from(&record.reservation.device_id);
    new.serial.clone_from(&record.reservation.serial);
    new.replaces = Some(old);
    // A charge that is handed on stays on the day it was made.
    let day = if charge {
        day_of(new.reserved_at)
    } else {
        connection.query_row("SELECT day FROM reservation WHERE id = ?1", [old.to_string()], |row| row.get(0))?
    };
    // Nor does it leave its batch.
    let stays = !charge && record.reservation.batch.is_some();
    if stays {
        new.batch.clone_from(&record.reservation.batch);
    }
    insert(connection, new, key, Charge { limits: charge.then_some(limits), place: !stays, day }, Some(reason))
}

/// What a new reservation costs: without limits its predecessor has paid, on that day.
struct Charge {
    limits: Option<PolicyLimits>,
    /// It takes a place in its batch; else it has its predecessor's.
    place: bool,
    day: String,
}

fn insert(
    connection: &Connection,
    mut new: Reservation,
    key: Fingerprint,
    charge: Charge,
    detail: Option<&str>,
) -> Result<Record, NotReserved> {
    if let Some(access) = access::stopped(connection, new.key_id)? {
        return Err(NotReserved::Stopped(Box::new(access)));
    }
    if let Some(record) = read::by_device(connection, &new.hub_host, &new.device_id)? {
        return Err(NotReserved::DeviceIdTaken(Box::new(record)));
    }
    if let Some((hardware_id, serial)) = board_elsewhere(connection, &new, new.hardware_id.as_ref())? {
        return Err(NotReserved::BoardTaken { hardware_id, serial });
    }
    let Charge { limits, place, day } = charge;
    batch::admit(connection, &mut new, place)?;
    if let Some(limits) = limits {
        charge_quota(connection, &new.key_id.to_string(), &new.policy, &day, limits)?;
    }
    let at = new.reserved_at.as_millisecond();
    let columns = (!new.columns.is_empty()).then(|| serde_json::to_string(&new.columns)).transpose();
    let columns = columns.map_err(|error| LedgerError::Damaged { what: error.to_string() })?;
    connection
        .prepare_cached(
            "INSERT INTO reservation (id, policy, serial, serial_sent, device_id, hub, hub_host, key_id, job_hash, recipient, station, slot, \
             batch, product, hardware_id, day, replaces, reserved_at, state, since, columns, least_evidence, listed_board, journal) \
             VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,'reserved',?18,?19,?20,?21,?22)",
        )?
        .execute(params![
            new.id.to_string(),
            new.policy,
            new.serial,
            new.serial_sent,
            new.device_id,
            new.hub,
            new.hub_host,
            new.key_id.to_string(),
            new.job,
            new.recipient.as_ref().map(|key| key.as_bytes()),
            new.station,
            new.slot,
            new.batch,
            new.product,
            new.hardware_id.as_ref().map(HardwareId::as_str),
            day,
            new.replaces.map(|id| id.to_string()),
            at,
            columns,
            new.least_evidence.map(Evidence::as_str),
            new.listed_board.as_ref().map(HardwareId::as_str),
            new.journal.map(|journal| journal.to_string()),
        ])?;
    keep_key(connection, new.id, key)?;
    entry(connection, &new, "reserved", new.reserved_at, detail.map(str::to_owned))?;
    Ok(Record { since: new.reserved_at, reservation: new, life: Life::Reserved })
}

pub(super) fn reserve_again(
    connection: &Connection,
    id: Uuid,
    key: Fingerprint,
    limits: PolicyLimits,
) -> Result<Record, NotReserved> {
    let Some(mut record) = read::by_id(connection, id)? else {
        return Err(LedgerError::Damaged { what: format!("reservation {id} is gone") }.into());
    };
    if !record.life.may_become(State::Reserved) {
        return Err(NotReserved::Taken(Box::new(record)));
    }
    if let Some(access) = access::stopped(connection, record.reservation.key_id)? {
        return Err(NotReserved::Stopped(Box::new(access)));
    }
    let now = Timestamp::now();
    let day = day_of(now);
    batch::admit(connection, &mut record.reservation, true)?;
    charge_quota(connection, &record.reservation.key_id.to_string(), &record.reservation.policy, &day, limits)?;
    connection
        .prepare_cached(
            "UPDATE reservation SET state = 'reserved', since = ?2, day = ?3, batch = ?4, reason = NULL, charged = 1 \
             WHERE id = ?1 AND state = 'rejected'",
        )?
        .execute(params![id.to_string(), now.as_millisecond(), day, record.reservation.batch])?;
    keep_key(connection, id, key)?;
    entry(connection, &record.reservation, "reserved", now, Some("again, after the hub had refused it".into()))?;
    (record.life, record.since) = (Life::Reserved, now);
    Ok(record)
}

pub(super) fn add_key(connection: &Connection, id: Uuid, key: Fingerprint) -> Result<bool, LedgerError> {
    let open: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM reservation WHERE id = ?1 AND state = 'reserved')")?
        .query_row([id.to_string()], |row| row.get(0))?;
    if open {
        keep_key(connection, id, key)?;
    }
    Ok(open)
}

/// No call with that key had an effect.
pub(super) fn forget_key(connection: &Connection, id: Uuid, key: Fingerprint) -> Result<(), LedgerError> {
    connection
        .prepare_cached("DELETE FROM sent_key WHERE reservation = ?1 AND fingerprint = ?2")?
        .execute(params![id.to_string(), key.as_bytes()])?;
    Ok(())
}

/// Every call with that key has been answered.
pub(super) fn answered(connection: &Connection, id: Uuid, key: Option<Fingerprint>) -> Result<(), LedgerError> {
    if let Some(key) = key {
        connection
            .prepare_cached("UPDATE sent_key SET answered_at = ?3 WHERE reservation = ?1 AND fingerprint = ?2")?
            .execute(params![id.to_string(), key.as_bytes(), Timestamp::now().as_millisecond()])?;
    }
    Ok(())
}

/// *reserved* -> where the hub's answer puts it. False if it stands elsewhere by now.
pub(super) fn settle(
    connection: &Connection,
    id: Uuid,
    next: State,
    key: Option<Fingerprint>,
    reason: Option<&str>,
) -> Result<bool, LedgerError> {
    let Some(record) = read::by_id(connection, id)? else { return Ok(false) };
    if !record.life.may_become(next) {
        return Ok(false);
    }
    let now = Timestamp::now();
    connection
        .prepare_cached(
            "UPDATE reservation SET state = ?2, since = ?3, fingerprint = ?4, reason = ?5 WHERE id = ?1 AND state = 'reserved'",
        )?
        .execute(params![id.to_string(), next.as_str(), now.as_millisecond(), key.as_ref().map(Fingerprint::as_bytes), reason])?;
    if next == State::Rejected {
        give_quota_back(connection, id, &record.reservation)?;
    }
    entry(connection, &record.reservation, next.as_str(), now, reason.map(str::to_owned))?;
    Ok(true)
}

pub(super) fn confirm(
    connection: &Connection,
    id: Uuid,
    key: Fingerprint,
    evidence: Evidence,
    hardware_id: Option<HardwareId>,
) -> Result<Timestamp, NotConfirmed> {
    let Some(record) = read::by_id(connection, id)? else { return Err(NotConfirmed::Elsewhere(None)) };
    match record.life {
        Life::Issued { fingerprint } if fingerprint == key => {}
        Life::Confirmed { fingerprint, .. } if fingerprint == key => {
            add_board(connection, &record.reservation, hardware_id)?;
            return Ok(record.since);
        }
        _ => return Err(NotConfirmed::Elsewhere(Some(Box::new(record)))),
    }
    let hardware_id = hardware_id.or_else(|| record.reservation.hardware_id.clone());
    let reservation = &record.reservation;
    if let Some((hardware_id, serial)) = board_elsewhere(connection, reservation, hardware_id.as_ref())? {
        return Err(NotConfirmed::BoardTaken { hardware_id, serial });
    }
    let now = Timestamp::now();
    connection
        .prepare_cached(
            "UPDATE reservation SET state = 'confirmed', since = ?2, evidence = ?3, hardware_id = ?4 \
             WHERE id = ?1 AND state = 'issued' AND fingerprint = ?5",
        )?
        .execute(params![
            id.to_string(),
            now.as_millisecond(),
            evidence.as_str(),
            hardware_id.as_ref().map(HardwareId::as_str),
            key.as_bytes()
        ])?;
    entry(connection, &record.reservation, "confirmed", now, Some(evidence.as_str().to_owned()))?;
    // As it will be read back: the ledger keeps milliseconds.
    read::millis(now.as_millisecond()).map_err(|error| LedgerError::Damaged { what: error.to_string() }.into())
}

/// A confirmation that comes again: a board that was not known before is added, and another one than before is refused.
fn add_board(connection: &Connection, of: &Reservation, hardware_id: Option<HardwareId>) -> Result<(), NotConfirmed> {
    let Some(hardware_id) = hardware_id else { return Ok(()) };
    match &of.hardware_id {
        Some(confirmed) if *confirmed == hardware_id => return Ok(()),
        Some(confirmed) => return Err(NotConfirmed::OtherBoard { confirmed: confirmed.clone() }),
        None => {}
    }
    if let Some((hardware_id, serial)) = board_elsewhere(connection, of, Some(&hardware_id))? {
        return Err(NotConfirmed::BoardTaken { hardware_id, serial });
    }
    connection
        .prepare_cached("UPDATE reservation SET hardware_id = ?2 WHERE id = ?1 AND state = 'confirmed' AND hardware_id IS NULL")?
        .execute(params![of.id.to_string(), hardware_id.as_str()])?;
    Ok(entry(connection, of, "board-added", Timestamp::now(), Some(hardware_id.to_string()))?)
}

/// The board and the other serial that it was confirmed as, if it was.
fn board_elsewhere(
    connection: &Connection,
    of: &Reservation,
    hardware_id: Option<&HardwareId>,
) -> rusqlite::Result<Option<(HardwareId, String)>> {
    let Some(hardware_id) = hardware_id else { return Ok(None) };
    let than = Made { policy: of.policy.clone(), serial: of.serial.clone() };
    let other = read::board_made_as_other(connection, &of.product, hardware_id, &than)?;
    Ok(other.map(|other| (hardware_id.clone(), other.serial)))
}

/// Conditional updates: whoever would pass a limit changes nothing.
fn charge_quota(connection: &Connection, key_id: &str, policy: &str, day: &str, limits: PolicyLimits) -> Result<(), NotReserved> {
    let charged = connection
        .prepare_cached("UPDATE access_code SET made = made + 1 WHERE key_id = ?1 AND (quota IS NULL OR made < quota)")?
        .execute([key_id])?;
    if charged == 0 {
        let quota: Option<Option<u64>> =
            connection.query_row("SELECT quota FROM access_code WHERE key_id = ?1", [key_id], |row| row.get(0)).optional()?;
        return Err(NotReserved::CodeQuota(quota.flatten().unwrap_or(0)));
    }
    let mut count = connection.prepare_cached(
        "INSERT INTO policy_count (policy, day, made) SELECT ?1, ?2, 1 WHERE ?3 IS NULL OR ?3 > 0 \
         ON CONFLICT (policy, day) DO UPDATE SET made = made + 1 WHERE ?3 IS NULL OR made < ?3",
    )?;
    if count.execute(params![policy, "", limits.total])? == 0 {
        return Err(NotReserved::PolicyTotal(limits.total.unwrap_or(0)));
    }
    if count.execute(params![policy, day, limits.day])? == 0 {
        return Err(NotReserved::PolicyDay(limits.day.unwrap_or(0)));
    }
    Ok(())
}

/// Gives back what a reservation was charged with, once.
pub(super) fn give_quota_back(connection: &Connection, id: Uuid, reservation: &Reservation) -> Result<(), LedgerError> {
    let charged = connection
        .prepare_cached("UPDATE reservation SET charged = 0 WHERE id = ?1 AND charged = 1")?
        .execute([id.to_string()])?;
    if charged == 0 {
        return Ok(());
    }
    connection
        .prepare_cached("UPDATE access_code SET made = made - 1 WHERE key_id = ?1 AND made > 0")?
        .execute([reservation.key_id.to_string()])?;
    connection
        .prepare_cached(
            "UPDATE policy_count SET made = made - 1 \
             WHERE policy = ?1 AND made > 0 AND day IN ('', (SELECT day FROM reservation WHERE id = ?2))",
        )?
        .execute([&reservation.policy, &id.to_string()])?;
    batch::give_back(connection, reservation)?;
    Ok(())
}

fn keep_key(connection: &Connection, id: Uuid, key: Fingerprint) -> Result<(), LedgerError> {
    let (boot, up) = Reading::now().map(|now| (now.boot, u64::try_from(now.up.as_millis()).unwrap_or(0))).unzip();
    connection
        .prepare_cached(
            "INSERT INTO sent_key (reservation, fingerprint, sent_at, boot, boot_ms) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT DO UPDATE SET sent_at = excluded.sent_at, boot = excluded.boot, boot_ms = excluded.boot_ms, answered_at = NULL",
        )?
        .execute(params![id.to_string(), key.as_bytes(), Timestamp::now().as_millisecond(), boot, up])?;
    Ok(())
}

fn day_of(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

fn entry(
    connection: &Connection,
    of: &Reservation,
    action: &str,
    at: Timestamp,
    detail: Option<String>,
) -> Result<(), LedgerError> {
    entry_by(connection, of.key_id.to_string(), of, action, at, detail)
}

pub(super) fn entry_by(
    connection: &Connection,
    by: String,
    of: &Reservation,
    action: &str,
    at: Timestamp,
    detail: Option<String>,
) -> Result<(), LedgerError> {
    let deed = Deed {
        v: 1,
        action: action.to_owned(),
        at,
        by,
        policy: Some(of.policy.clone()),
        serial: Some(of.serial.clone()),
        reservation: Some(of.id.to_string()),
        detail,
    };
    audit(connection, &deed)?;
    connection
        .prepare_cached(
            "UPDATE reservation SET last_entry = ?2, reserved_entry = iif(reserved_entry = 0, ?2, reserved_entry) WHERE id = ?1",
        )?
        .execute(params![of.id.to_string(), last_entry(connection)?])?;
    Ok(())
}

/// The number of the audit log's last entry.
pub(super) fn last_entry(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT coalesce(max(seq), 0) FROM audit", [], |row| row.get(0))
}

/// Appends to the audit log, chained to the last entry.
pub(super) fn audit(connection: &Connection, deed: &Deed) -> Result<(), LedgerError> {
    let text = serde_json::to_string(deed).map_err(|error| LedgerError::Damaged { what: error.to_string() })?;
    let last: Option<(u64, [u8; 32])> = connection
        .prepare_cached("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (seq, previous) = last.unwrap_or((0, [0; 32]));
    connection.prepare_cached("INSERT INTO audit (seq, at, entry, hash) VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        seq + 1,
        deed.at.as_millisecond(),
        text,
        audit::link(&previous, &text),
    ])?;
    Ok(())
}
