//! Rows as the ledger's types.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use qdrs_core::{
    access::{KeyId, PublicOpeningKey},
    api::State,
    connection_string::Fingerprint,
    hardware_id::HardwareId,
    hub::host,
};
use rusqlite::{
    Connection, OptionalExtension, Params, Row,
    types::{Type, ValueRef},
};
use uuid::Uuid;

use super::{access, batch, forms};
use crate::boot_clock::{Reading, age_at_least};
use crate::ledger::{
    JobHash, Life, Made, Record, Reservation, SentBy, SerialsAtHost, SharedBoard, Standing, Tombstone, audit::Entry,
};

const COLUMNS: &str = "id, policy, serial, serial_sent, device_id, hub, hub_host, key_id, job_hash, recipient, station, slot, batch, \
                       product, hardware_id, replaces, reserved_at, state, since, fingerprint, evidence, reason, columns, \
                       least_evidence, listed_board, journal";

pub(super) fn by_job(connection: &Connection, key_id: KeyId, job: &JobHash) -> rusqlite::Result<Option<Record>> {
    one(connection, "key_id = ?1 AND job_hash = ?2", (key_id.to_string(), job))
}

pub(super) fn by_serial(connection: &Connection, policy: &str, serial: &str) -> rusqlite::Result<Option<Record>> {
    let serial = &forms::resolve(connection, policy, serial)?;
    one(connection, "policy = ?1 AND serial = ?2 AND state <> 'released'", (policy, serial))
}

pub(super) fn by_device(connection: &Connection, hub_host: &str, device_id: &str) -> rusqlite::Result<Option<Record>> {
    one(connection, "hub_host = ?1 AND device_id = ?2 AND state <> 'released'", (hub_host, device_id))
}

pub(super) fn by_id(connection: &Connection, id: Uuid) -> rusqlite::Result<Option<Record>> {
    one(connection, "id = ?1", [id.to_string()])
}

/// A serial was made on its board from the confirmation on, also when it is scrapped; a release frees the board.
pub(super) fn board_made_as_other(
    connection: &Connection,
    product: &str,
    hardware_id: &HardwareId,
    than: &Made,
) -> rusqlite::Result<Option<Made>> {
    connection
        .prepare_cached(
            "SELECT policy, serial FROM reservation WHERE product = ?1 AND hardware_id = ?2 \
             AND evidence IS NOT NULL AND state <> 'released' AND NOT (policy = ?3 AND serial = ?4) LIMIT 1",
        )?
        .query_row([product, hardware_id.as_str(), &than.policy, &than.serial], |row| {
            Ok(Made { policy: row.get(0)?, serial: row.get(1)? })
        })
        .optional()
}

pub(super) fn shared_boards(connection: &Connection) -> rusqlite::Result<Vec<SharedBoard>> {
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT r.hardware_id, r.product, r.serial FROM reservation one JOIN reservation r ON r.product = one.product \
         AND r.hardware_id = one.hardware_id AND r.evidence IS NOT NULL AND r.state <> 'released' \
         WHERE one.board_no > 0 AND one.state <> 'released' ORDER BY r.product, r.hardware_id, r.serial",
    )?;
    let mut rows = statement.query([])?;
    let mut found: Vec<SharedBoard> = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(hardware_id) = board(row, 0)? else { continue };
        let (product, serial) = (row.get::<_, String>(1)?, row.get(2)?);
        match found.last_mut().filter(|last| last.product == product && last.hardware_id == hardware_id) {
            Some(last) => last.serials.push(serial),
            None => found.push(SharedBoard { hardware_id, product, serials: vec![serial] }),
        }
    }
    // Once all but one are released, nothing is shared any more.
    found.retain(|shared| shared.serials.len() > 1);
    Ok(found)
}

pub(super) fn audit(connection: &Connection, from: u64, count: usize) -> rusqlite::Result<Vec<Entry>> {
    let mut statement =
        connection.prepare_cached("SELECT seq, at, entry, hash FROM audit WHERE seq >= ?1 ORDER BY seq LIMIT ?2")?;
    let entries = statement.query_map((from, count), |row| {
        Ok(Entry { seq: row.get(0)?, at: time(row, 1)?, text: row.get(2)?, hash: row.get(3)? })
    })?;
    entries.collect()
}

pub(super) fn registered_by(connection: &Connection, key_id: KeyId, journal: Uuid) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT count(*) FROM reservation WHERE journal = ?1 AND key_id = ?2")?
        .query_row([journal.to_string(), key_id.to_string()], |row| row.get(0))
}

/// The present life's row and the tombstones' rows have an index each.
pub(super) fn attempts(connection: &Connection, policy: &str, serial: &str) -> rusqlite::Result<Vec<Record>> {
    let serial = &forms::resolve(connection, policy, serial)?;
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM reservation WHERE policy = ?1 AND serial = ?2 AND state = 'released' ORDER BY reserved_entry, rowid"
    ))?;
    let tombstones = statement.query_map((policy, serial), record)?;
    tombstones.chain(by_serial(connection, policy, serial).transpose()).collect()
}

pub(super) fn unanswered_for(connection: &Connection, id: Uuid) -> rusqlite::Result<Option<Duration>> {
    let (wall, now) = (Timestamp::now(), Reading::now());
    let mut statement = connection
        .prepare_cached("SELECT sent_at, boot, boot_ms FROM sent_key WHERE reservation = ?1 AND answered_at IS NULL")?;
    let ages = statement.query_map([id.to_string()], |row| {
        let (boot, up): (Option<String>, Option<u64>) = (row.get(1)?, row.get(2)?);
        let then = boot.zip(up).map(|(boot, up)| Reading { boot, up: Duration::from_millis(up) });
        Ok(age_at_least(time(row, 0)?, then.as_ref(), wall, now.as_ref()))
    })?;
    ages.collect::<rusqlite::Result<Vec<_>>>().map(|ages| ages.into_iter().min())
}

pub(super) fn tombstones(connection: &Connection, key_id: KeyId, after: u64, count: usize) -> rusqlite::Result<Vec<Tombstone>> {
    let mut statement = connection.prepare_cached(
        "SELECT released_no, serial, id, since FROM reservation WHERE key_id = ?1 AND state = 'released' AND released_no > \
         CASE WHEN ?2 > (SELECT released FROM access_code WHERE key_id = ?1) THEN 0 ELSE ?2 END ORDER BY released_no LIMIT ?3",
    )?;
    let rows = statement.query_map((key_id.to_string(), after, count), |row| {
        Ok(Tombstone { number: row.get(0)?, serial: row.get(1)?, reservation: word(row, 2)?, since: time(row, 3)? })
    })?;
    rows.collect()
}

pub(super) fn sent_by(connection: &Connection, id: Uuid, key: Fingerprint) -> rusqlite::Result<Option<SentBy>> {
    let id = id.to_string();
    let itself: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM sent_key WHERE reservation = ?1 AND fingerprint = ?2)")?
        .query_row((&id, key.as_bytes()), |row| row.get(0))?;
    if itself {
        return Ok(Some(SentBy::Itself));
    }
    let predecessor: bool = connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM reservation it JOIN reservation past ON past.hub_host = it.hub_host \
             AND past.device_id = it.device_id AND past.state = 'released' \
             JOIN sent_key ON sent_key.reservation = past.id AND sent_key.fingerprint = ?2 WHERE it.id = ?1)",
        )?
        .query_row((&id, key.as_bytes()), |row| row.get(0))?;
    Ok(predecessor.then_some(SentBy::Predecessor))
}

pub(super) fn standing(connection: &Connection, id: Uuid) -> rusqlite::Result<Option<Standing>> {
    // One transaction, so that all of it is of one moment.
    let at_once = connection.unchecked_transaction()?;
    let Some(record) = by_id(&at_once, id)? else { return Ok(None) };
    let access = access::find(&at_once, record.reservation.key_id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let batch_closed = batch::is_closed(&at_once, &record.reservation)?;
    Ok(Some(Standing { record, access, batch_closed }))
}

pub(super) fn policies(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    // Each charge counts in its policy's total.
    connection
        .prepare_cached("SELECT policy FROM policy_count WHERE day = '' ORDER BY policy")?
        .query_map([], |row| row.get(0))?
        .collect()
}

pub(super) fn attempts_elsewhere(connection: &Connection, than: &Reservation) -> rusqlite::Result<Vec<Reservation>> {
    let serial = forms::resolve(connection, &than.policy, &than.serial)?;
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS}, max(rowid) FROM reservation WHERE policy = ?1 AND serial = ?2 AND state = 'released' \
         AND (hub_host <> ?3 OR device_id <> ?4) GROUP BY hub_host, device_id"
    ))?;
    let rows = statement.query_map((&than.policy, &serial, &than.hub_host, &than.device_id), record)?;
    rows.map(|row| row.map(|record| record.reservation)).collect()
}

/// Steps from host to host by the index, so that only the rows of unknown ones are looked at.
pub(super) fn at_other_hosts(connection: &Connection, known: &[String]) -> rusqlite::Result<Vec<SerialsAtHost>> {
    let mut next =
        connection.prepare_cached("SELECT min(hub_host) FROM reservation WHERE state <> 'released' AND hub_host > ?1")?;
    let mut count = connection.prepare_cached(
        "SELECT count(*) FILTER (WHERE state NOT IN ('confirmed', 'scrapped')), count(*) FILTER (WHERE state = 'confirmed') \
         FROM reservation WHERE state <> 'released' AND hub_host = ?1",
    )?;
    let (mut found, mut last) = (Vec::new(), String::new());
    while let Some(host) = next.query_row([&last], |row| row.get::<_, Option<String>>(0))? {
        if !known.contains(&host::identity(&host)) {
            let at_host = count
                .query_row([&host], |row| Ok(SerialsAtHost { host: host.clone(), open: row.get(0)?, confirmed: row.get(1)? }))?;
            found.extend(Some(at_host).filter(|at_host| at_host.open + at_host.confirmed > 0));
        }
        last = host;
    }
    Ok(found)
}

fn one(connection: &Connection, condition: &str, params: impl Params) -> rusqlite::Result<Option<Record>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM reservation WHERE {condition}"))?;
    statement.query_row(params, record).optional()
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let reservation = Reservation {
        id: word(row, 0)?,
        policy: row.get(1)?,
        serial: row.get(2)?,
        serial_sent: row.get(3)?,
        device_id: row.get(4)?,
        hub: row.get(5)?,
        hub_host: row.get(6)?,
        key_id: word(row, 7)?,
        job: row.get(8)?,
        recipient: row.get::<_, Option<[u8; 32]>>(9)?.map(PublicOpeningKey::from_bytes),
        station: row.get(10)?,
        slot: row.get(11)?,
        batch: row.get(12)?,
        product: row.get(13)?,
        hardware_id: board(row, 14)?,
        replaces: optional_word(row, 15)?,
        journal: optional_word(row, 25)?,
        reserved_at: time(row, 16)?,
        columns: columns(row, 22)?,
        least_evidence: optional_word(row, 23)?,
        listed_board: board(row, 24)?,
    };
    let fingerprint = || row.get(19).map(Fingerprint::from_bytes);
    let reason = || row.get::<_, Option<String>>(21).map(Option::unwrap_or_default);
    let life = match word(row, 17)? {
        State::Reserved => Life::Reserved,
        State::Issued => Life::Issued { fingerprint: fingerprint()? },
        State::Confirmed => Life::Confirmed { fingerprint: fingerprint()?, evidence: word(row, 20)? },
        State::Rejected => Life::Rejected { reason: reason()? },
        State::Conflict => Life::Conflict { reason: reason()? },
        State::Releasing => Life::Releasing { reason: reason()? },
        State::Released => Life::Released { reason: reason()? },
        State::Scrapped => Life::Scrapped { reason: reason()? },
    };
    Ok(Record { reservation, life, since: time(row, 18)? })
}

/// A column whose text must parse.
pub(super) fn word<T: std::str::FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// A column whose text must parse, or that is empty.
pub(super) fn optional_word<T: std::str::FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        _ => word(row, column).map(Some),
    }
}

/// A board, if one is known.
pub(super) fn board(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<HardwareId>> {
    Ok(row.get::<_, Option<String>>(column)?.and_then(|text| HardwareId::from_record(&text)))
}

/// The further columns of the station's list.
pub(super) fn columns(row: &Row<'_>, column: usize) -> rusqlite::Result<BTreeMap<String, String>> {
    let text: Option<String> = row.get(column)?;
    let read = text.map_or_else(|| Ok(BTreeMap::new()), |text| serde_json::from_str(&text));
    read.map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// A column of milliseconds since 1970.
pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    millis(row.get(column)?).map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, Box::new(error)))
}

pub(super) fn millis(millis: i64) -> Result<Timestamp, jiff::Error> {
    Timestamp::from_millisecond(millis)
}
