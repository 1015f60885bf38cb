//! Batch accounts in SQLite.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{access, read, write};
use crate::ledger::{
    LedgerError, NotReserved, Reservation,
    audit::Deed,
    batch::{Attempt, Batch, Books, Line, NewBatch, NoPlace, NotDone},
};

impl From<rusqlite::Error> for NotDone {
    fn from(error: rusqlite::Error) -> Self {
        Self::Ledger(error.into())
    }
}

/// Finds the reservation's place in its batch, if that has an account, and takes it unless it has been paid for.
///
/// A code that is bound to one open batch registers there when the station names none.
pub(super) fn admit(connection: &Connection, new: &mut Reservation, charge: bool) -> Result<(), NotReserved> {
    let no = |why| Err(NotReserved::NoPlace(why));
    let bound: Vec<(String, bool)> = connection
        .prepare_cached(
            "SELECT name, closed_at IS NULL FROM batch_code JOIN batch ON name = batch WHERE key_id = ?1 ORDER BY opened_entry",
        )?
        .query_map([new.key_id.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let open = || bound.iter().filter(|(_, open)| *open).map(|(name, _)| name.clone()).collect::<Vec<_>>();
    match (&new.batch, bound.last()) {
        (_, None) => {}
        (Some(batch), Some(_)) if bound.iter().any(|(name, _)| name == batch) => {}
        (Some(_), Some(_)) => return no(NoPlace::Bound { batches: bound.into_iter().map(|(name, _)| name).collect() }),
        (None, Some((last, _))) => match open().as_slice() {
            [] => return no(NoPlace::Closed { batch: last.clone() }),
            [only] => new.batch = Some(only.clone()),
            several => return no(NoPlace::Bound { batches: several.to_vec() }),
        },
    }
    let Some(batch) = new.batch.clone() else { return Ok(()) };
    let account: Option<(String, Option<u64>, bool, bool)> = connection
        .prepare_cached("SELECT policy, expected, listed, closed_at IS NULL FROM batch WHERE name = ?1")?
        .query_row([&batch], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let Some((policy, expected, listed, open)) = account else { return Ok(()) };
    if !open {
        return no(NoPlace::Closed { batch });
    }
    if policy != new.policy {
        return no(NoPlace::OtherPolicy { batch, policy });
    }
    if listed && !stands_in(connection, &batch, &new.serial)? {
        return no(NoPlace::NotListed { batch });
    }
    if charge {
        let taken = connection
            .prepare_cached("UPDATE batch SET taken = taken + 1 WHERE name = ?1 AND (expected IS NULL OR taken < expected)")?
            .execute([&batch])?;
        if taken == 0 {
            return no(NoPlace::Full { batch, expected: expected.unwrap_or(0) });
        }
    }
    Ok(())
}

/// Gives the place of a reservation back.
pub(super) fn give_back(connection: &Connection, of: &Reservation) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE batch SET taken = taken - 1 WHERE name = ?1 AND policy = ?2 AND taken > 0")?
        .execute(params![of.batch, of.policy])?;
    Ok(())
}

/// Is the batch of that name and policy one whose books are closed?
pub(super) fn is_closed(connection: &Connection, of: &Reservation) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM batch WHERE name = ?1 AND policy = ?2 AND closed_at IS NOT NULL)")?
        .query_row(params![of.batch, of.policy], |row| row.get(0))
}

fn stands_in(connection: &Connection, batch: &str, serial: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM batch_serial WHERE batch = ?1 AND serial = ?2)")?
        .query_row([batch, serial], |row| row.get(0))
}

pub(super) fn open(connection: &Connection, new: &NewBatch) -> Result<Batch, NotDone> {
    if find(connection, &new.name)?.is_some() {
        return Err(NotDone::IsThere);
    }
    let (now, last) = (Timestamp::now(), write::last_entry(connection)?);
    // What stations have called so before is in it.
    let made: u64 = connection.query_row(
        "SELECT count(*) FROM reservation WHERE batch = ?1 AND policy = ?2 AND charged = 1",
        [&new.name, &new.policy],
        |row| row.get(0),
    )?;
    if new.expected.is_some_and(|expected| made > expected) {
        return Err(NotDone::TooMany { made });
    }
    connection.execute(
        "INSERT INTO batch (name, policy, expected, listed, taken, opened_at, opened_entry) VALUES (?1,?2,?3,?4,?5,?6,?7)",
        params![new.name, new.policy, new.expected, new.list.is_some(), made, now.as_millisecond(), last + 1],
    )?;
    let mut insert = connection.prepare_cached("INSERT INTO batch_serial (batch, serial) VALUES (?1, ?2)")?;
    for serial in new.list.iter().flatten() {
        insert.execute([&new.name, serial])?;
    }
    if new.list.is_some() {
        let strangers: Vec<String> = connection
            .prepare_cached(
                "SELECT serial FROM reservation r WHERE batch = ?1 AND policy = ?2 AND charged = 1 \
                 AND NOT EXISTS (SELECT 1 FROM batch_serial b WHERE b.batch = ?1 AND b.serial = r.serial) ORDER BY serial",
            )?
            .query_map([&new.name, &new.policy], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        if !strangers.is_empty() {
            return Err(NotDone::Strangers(strangers));
        }
    }
    for name in &new.codes {
        let code = access::list(connection)?.into_iter().find(|code| code.name == *name);
        let code = code.ok_or_else(|| NotDone::NoCode(name.clone()))?;
        if code.policy != new.policy {
            return Err(NotDone::OtherPolicy { code: name.clone(), policy: code.policy });
        }
        connection
            .execute("INSERT OR IGNORE INTO batch_code (key_id, batch) VALUES (?1, ?2)", [&code.key_id.to_string(), &new.name])?;
    }
    let expected = new.expected.map_or_else(|| "any number".to_owned(), |expected| expected.to_string());
    let list = if new.list.is_some() { " by a list" } else { "" };
    owner_did(connection, "batch-opened", now, &new.policy, format!("{}: {expected}{list}", new.name))?;
    find(connection, &new.name)?.ok_or(NotDone::Unknown)
}

pub(super) fn close(connection: &Connection, name: &str, missing_ok: Option<&str>) -> Result<Books, NotDone> {
    let books = books(connection, name)?.ok_or(NotDone::Unknown)?;
    if let Some((at, _)) = books.batch.closed {
        return Err(NotDone::WasClosed(at));
    }
    if missing_ok.is_none() && !books.balance() {
        return Err(NotDone::Unsettled(Box::new(books)));
    }
    let missing = books.unsettled().count() as u64 + books.unnamed();
    let missing_ok = missing_ok.filter(|_| missing > 0);
    let (now, last) = (Timestamp::now(), write::last_entry(connection)?);
    connection.execute(
        "UPDATE batch SET closed_at = ?2, closed_entry = ?3, missing_ok = ?4 WHERE name = ?1 AND closed_at IS NULL",
        params![name, now.as_millisecond(), last + 1, missing_ok],
    )?;
    let detail = missing_ok.map_or_else(String::new, |reason| format!(", {missing} missing: {reason}"));
    owner_did(connection, "batch-closed", now, &books.batch.policy, format!("{name}{detail}"))?;
    let batch = find(connection, name)?.ok_or(NotDone::Unknown)?;
    Ok(Books { batch, lines: books.lines })
}

fn owner_did(connection: &Connection, action: &str, at: Timestamp, policy: &str, detail: String) -> Result<(), LedgerError> {
    let deed = Deed {
        v: 1,
        action: action.to_owned(),
        at,
        by: "owner".into(),
        policy: Some(policy.to_owned()),
        serial: None,
        reservation: None,
        detail: Some(detail),
    };
    write::audit(connection, &deed)
}

const COLUMNS: &str = "name, policy, expected, listed, taken, opened_at, opened_entry, closed_at, closed_entry, missing_ok";

pub(super) fn find(connection: &Connection, name: &str) -> rusqlite::Result<Option<Batch>> {
    let found = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM batch WHERE name = ?1"))?
        .query_row([name], batch)
        .optional()?;
    found.map(|batch| with_codes(connection, batch)).transpose()
}

pub(super) fn list(connection: &Connection) -> rusqlite::Result<Vec<Batch>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM batch ORDER BY opened_entry"))?;
    let batches = statement.query_map([], batch)?.collect::<rusqlite::Result<Vec<_>>>()?;
    batches.into_iter().map(|batch| with_codes(connection, batch)).collect()
}

fn with_codes(connection: &Connection, batch: Batch) -> rusqlite::Result<Batch> {
    let codes = connection
        .prepare_cached("SELECT name FROM batch_code JOIN access_code USING (key_id) WHERE batch = ?1 ORDER BY name")?
        .query_map([&batch.name], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Batch { codes, ..batch })
}

fn batch(row: &Row<'_>) -> rusqlite::Result<Batch> {
    let closed = row.get::<_, Option<u64>>(8)?.map(|entry| Ok::<_, rusqlite::Error>((read::time(row, 7)?, entry))).transpose()?;
    Ok(Batch {
        name: row.get(0)?,
        policy: row.get(1)?,
        expected: row.get(2)?,
        listed: row.get(3)?,
        taken: row.get(4)?,
        codes: Vec::new(),
        opened: (read::time(row, 5)?, row.get(6)?),
        closed,
        missing_ok: row.get(9)?,
    })
}

pub(super) fn books(connection: &Connection, name: &str) -> rusqlite::Result<Option<Books>> {
    let Some(batch) = find(connection, name)? else { return Ok(None) };
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    // A serial's last attempt in the batch is the one that counts.
    let mut statement = connection.prepare_cached(
        "SELECT serial, r.state, since, name, station, slot, evidence, hardware_id, device_id, reason, columns, last_entry \
         FROM reservation r JOIN access_code USING (key_id) WHERE batch = ?1 AND r.policy = ?2 ORDER BY reserved_entry, r.rowid",
    )?;
    let rows = statement.query_map([&batch.name, &batch.policy], |row| Ok((row.get::<_, String>(0)?, attempt(row)?)))?;
    for row in rows {
        let (serial, made) = row?;
        lines.insert(serial.clone(), Line { serial, made: Some(made), elsewhere: None });
    }
    let mut statement = connection.prepare_cached(
        "SELECT b.serial, CASE WHEN r.id IS NOT NULL THEN coalesce(r.batch, '') END FROM batch_serial b LEFT JOIN reservation r \
         ON r.policy = ?2 AND r.serial = b.serial AND r.state <> 'released' WHERE b.batch = ?1",
    )?;
    let rows = statement.query_map([&batch.name, &batch.policy], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    for row in rows {
        let (serial, elsewhere) = row?;
        lines.entry(serial.clone()).or_insert(Line { serial, made: None, elsewhere });
    }
    Ok(Some(Books { batch, lines: lines.into_values().collect() }))
}

fn attempt(row: &Row<'_>) -> rusqlite::Result<Attempt> {
    Ok(Attempt {
        state: read::word(row, 1)?,
        since: read::time(row, 2)?,
        entry: row.get(11)?,
        code: row.get(3)?,
        station: row.get(4)?,
        slot: row.get(5)?,
        evidence: read::optional_word(row, 6)?,
        hardware_id: read::board(row, 7)?,
        device_id: row.get(8)?,
        reason: row.get(9)?,
        columns: read::columns(row, 10)?,
    })
}
