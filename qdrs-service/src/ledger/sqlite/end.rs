//! The ends of a serial in SQLite: given up by its owner or by the code that registered it, and scrapped.

use jiff::Timestamp;
use qdrs_core::{access::KeyId, api::State};
use rusqlite::{Connection, params};
use uuid::Uuid;

use super::{access, batch, read, write};
use crate::ledger::{By, LedgerError, NotReworked, Record, Reservation};

impl From<rusqlite::Error> for NotReworked {
    fn from(error: rusqlite::Error) -> Self {
        Self::Ledger(error.into())
    }
}

/// Where its end puts it. False if it may not go there from where it stands.
pub(super) fn end(connection: &Connection, id: Uuid, next: State, by: By, reason: Option<String>) -> Result<bool, LedgerError> {
    match read::by_id(connection, id)? {
        Some(record) if record.life.may_become(next) => put(connection, &record, next, by, reason).map(|()| true),
        _ => Ok(false),
    }
}

/// The holder begins a release: its own, still open to it, in books that are open, and within its budget.
pub(super) fn rework(connection: &Connection, id: Uuid, key_id: KeyId, reason: String) -> Result<(), NotReworked> {
    let found = read::by_id(connection, id)?.filter(|record| record.reservation.key_id == key_id);
    let Some(record) = found.filter(|record| record.life.open_to_rework()) else { return Err(NotReworked::Elsewhere) };
    if batch::is_closed(connection, &record.reservation)? {
        return Err(NotReworked::Closed { batch: record.reservation.batch.unwrap_or_default() });
    }
    if let Some(access) = access::stopped(connection, key_id)? {
        return Err(NotReworked::Stopped(Box::new(access)));
    }
    // Conditional, as quotas are: of many at one moment as many as the budget has left.
    let charged = connection
        .prepare_cached("UPDATE access_code SET reworked = reworked + 1 WHERE key_id = ?1 AND reworked < rework")?
        .execute([key_id.to_string()])?;
    if charged == 0 {
        let allowed: u64 = connection
            .prepare_cached("SELECT rework FROM access_code WHERE key_id = ?1")?
            .query_row([key_id.to_string()], |row| row.get(0))?;
        return Err(if allowed == 0 { NotReworked::NotPermitted } else { NotReworked::UsedUp(allowed) });
    }
    Ok(put(connection, &record, State::Releasing, By::Holder(key_id), Some(reason))?)
}

fn put(connection: &Connection, record: &Record, next: State, by: By, reason: Option<String>) -> Result<(), LedgerError> {
    let (reservation, now) = (&record.reservation, Timestamp::now());
    let id = reservation.id.to_string();
    connection
        .prepare_cached(
            "UPDATE reservation SET state = ?2, since = ?3, reason = coalesce(?4, reason) WHERE id = ?1 AND state = ?5",
        )?
        .execute(params![id, next.as_str(), now.as_millisecond(), reason, record.life.state().as_str()])?;
    if next == State::Released {
        write::give_quota_back(connection, reservation.id, reservation)?;
        number(connection, reservation)?;
    }
    let by = match by {
        By::Owner => "owner".to_owned(),
        By::Holder(key_id) => key_id.to_string(),
    };
    write::entry_by(connection, by, reservation, next.as_str(), now, reason)
}

/// Gives a new tombstone its number.
pub(super) fn number(connection: &Connection, of: &Reservation) -> rusqlite::Result<()> {
    let key_id = of.key_id.to_string();
    connection.prepare_cached("UPDATE access_code SET released = released + 1 WHERE key_id = ?1")?.execute([&key_id])?;
    connection
        .prepare_cached(
            "UPDATE reservation SET released_no = (SELECT released FROM access_code WHERE key_id = ?2) WHERE id = ?1",
        )?
        .execute([&of.id.to_string(), &key_id])?;
    Ok(())
}
