//! Rows as the ledger's types.

use std::collections::BTreeMap;

use jiff::Timestamp;
use qdrs_core::{
    access::{KeyId, PublicOpeningKey},
    api::State,
    connection_string::Fingerprint,
    hub::host,
};
use rusqlite::{Connection, OptionalExtension, Params, Row, types::Type};
use uuid::Uuid;

use crate::ledger::{JobHash, Life, Made, Record, Reservation, SerialsAtHost, Tombstone, audit::Entry};

const COLUMNS: &str = "id, policy, serial, serial_sent, device_id, hub, hub_host, key_id, job_hash, recipient, station, slot, batch, \
                       product, hardware_id, replaces, reserved_at, state, since, fingerprint, evidence, reason, columns";

pub(super) fn by_job(connection: &Connection, key_id: KeyId, job: &JobHash) -> rusqlite::Result<Option<Record>> {
    one(connection, "key_id = ?1 AND job_hash = ?2", (key_id.to_string(), job))
}

pub(super) fn by_serial(connection: &Connection, policy: &str, serial: &str) -> rusqlite::Result<Option<Record>> {
    one(connection, "policy = ?1 AND serial = ?2 AND state <> 'released'", (policy, serial))
}

pub(super) fn by_device(connection: &Connection, hub_host: &str, device_id: &str) -> rusqlite::Result<Option<Record>> {
    one(connection, "hub_host = ?1 AND device_id = ?2 AND state <> 'released'", (hub_host, device_id))
}

pub(super) fn by_id(connection: &Connection, id: Uuid) -> rusqlite::Result<Option<Record>> {
    one(connection, "id = ?1", [id.to_string()])
}

/// The serial that the board was confirmed as, if it was.
pub(super) fn confirmed_board(connection: &Connection, product: &str, hardware_id: &str) -> rusqlite::Result<Option<Made>> {
    connection
        .prepare_cached("SELECT policy, serial FROM reservation WHERE product = ?1 AND hardware_id = ?2 AND state = 'confirmed'")?
        .query_row([product, hardware_id], |row| Ok(Made { policy: row.get(0)?, serial: row.get(1)? }))
        .optional()
}

pub(super) fn audit(connection: &Connection, from: u64, count: usize) -> rusqlite::Result<Vec<Entry>> {
    let mut statement =
        connection.prepare_cached("SELECT seq, at, entry, hash FROM audit WHERE seq >= ?1 ORDER BY seq LIMIT ?2")?;
    let entries = statement.query_map((from, count), |row| {
        Ok(Entry { seq: row.get(0)?, at: time(row, 1)?, text: row.get(2)?, hash: row.get(3)? })
    })?;
    entries.collect()
}

/// The present life's row and the tombstones' rows have an index each.
pub(super) fn attempts(connection: &Connection, policy: &str, serial: &str) -> rusqlite::Result<Vec<Record>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM reservation WHERE policy = ?1 AND serial = ?2 AND state = 'released' ORDER BY reserved_at, id"
    ))?;
    let rows = statement.query_map((policy, serial), record)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let tombstones = rows.into_iter().map(|row| with_keys(connection, row));
    tombstones.chain(by_serial(connection, policy, serial).transpose()).collect()
}

pub(super) fn unanswered_since(connection: &Connection, id: Uuid) -> rusqlite::Result<Option<Timestamp>> {
    connection
        .prepare_cached(
            "SELECT sent_at FROM sent_key WHERE reservation = ?1 AND answered_at IS NULL ORDER BY sent_at DESC LIMIT 1",
        )?
        .query_row([id.to_string()], |row| time(row, 0))
        .optional()
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

pub(super) fn was_sent(connection: &Connection, hub_host: &str, device_id: &str, key: Fingerprint) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM reservation JOIN sent_key ON reservation = id \
             WHERE hub_host = ?1 AND device_id = ?2 AND state = 'released' AND sent_key.fingerprint = ?3)",
        )?
        .query_row((hub_host, device_id, key.as_bytes()), |row| row.get(0))
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
    statement.query_row(params, record).optional()?.map(|row| with_keys(connection, row)).transpose()
}

fn with_keys(connection: &Connection, (reservation, life, since): (Reservation, Life, Timestamp)) -> rusqlite::Result<Record> {
    let mut statement = connection.prepare_cached("SELECT fingerprint FROM sent_key WHERE reservation = ?1 ORDER BY sent_at")?;
    let sent = statement
        .query_map([reservation.id.to_string()], |row| Ok(Fingerprint::from_bytes(row.get(0)?)))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Record { reservation, life, since, sent })
}

fn record(row: &Row<'_>) -> rusqlite::Result<(Reservation, Life, Timestamp)> {
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
        hardware_id: row.get(14)?,
        replaces: match row.get_ref(15)? {
            rusqlite::types::ValueRef::Null => None,
            _ => Some(word(row, 15)?),
        },
        reserved_at: time(row, 16)?,
        columns: columns(row, 22)?,
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
    Ok((reservation, life, time(row, 18)?))
}

/// A column whose text must parse.
pub(super) fn word<T: std::str::FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
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
