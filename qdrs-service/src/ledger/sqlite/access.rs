//! Access codes in SQLite.

use jiff::Timestamp;
use qdrs_core::{
    access::{KeyId, PublicKeys, PublicOpeningKey, PublicSigningKey},
    api::Kind,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{read, write};
use crate::ledger::{Access, AccessState, LedgerError, audit::Deed};

const COLUMNS: &str = "key_id, name, kind, signing_key, opening_key, policy, hub, quota, made, rate_per_minute, not_before, expires, \
                       permissions, state, created_at, rework, reworked";

pub(super) fn find(connection: &Connection, key_id: KeyId) -> rusqlite::Result<Option<Access>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM access_code WHERE key_id = ?1"))?
        .query_row([key_id.to_string()], access)
        .optional()
}

/// The code, if it may not be used now. A deed that follows a wait asks this again, in its own transaction.
pub(super) fn stopped(connection: &Connection, key_id: KeyId) -> rusqlite::Result<Option<Access>> {
    Ok(find(connection, key_id)?.filter(|access| access.stopped(Timestamp::now()).is_some()))
}

pub(super) fn list(connection: &Connection) -> rusqlite::Result<Vec<Access>> {
    connection.prepare_cached(&format!("SELECT {COLUMNS} FROM access_code ORDER BY name"))?.query_map([], access)?.collect()
}

pub(super) fn create(connection: &Connection, new: &Access) -> Result<(), LedgerError> {
    let taken: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM access_code WHERE name = ?1)")?
        .query_row([&new.name], |row| row.get(0))?;
    if taken {
        return Err(LedgerError::AccessCode(format!(
            "an access code named `{}` is there already; choose another name",
            new.name
        )));
    }
    let permissions = new.permissions.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(" ");
    connection
        .prepare_cached(&format!(
            "INSERT INTO access_code ({COLUMNS}) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17)"
        ))?
        .execute(params![
            new.key_id.to_string(),
            new.name,
            new.kind.as_str(),
            new.keys.signing.as_bytes(),
            new.keys.opening.as_bytes(),
            new.policy,
            new.hub,
            new.quota,
            new.made,
            new.rate_per_minute,
            new.not_before.map(Timestamp::as_millisecond),
            new.expires.map(Timestamp::as_millisecond),
            permissions,
            new.state.as_str(),
            new.created_at.as_millisecond(),
            new.rework,
            new.reworked,
        ])?;
    owner_did(connection, "access-created", &new.name, new.key_id, None)
}

pub(super) fn set_state(connection: &Connection, name: &str, state: AccessState) -> Result<(), LedgerError> {
    let found = named(connection, name)?;
    if found.state == state {
        return Ok(());
    }
    if found.state == AccessState::Revoked {
        return Err(LedgerError::AccessCode(format!("access code `{name}` is revoked, and stays so; create a new one")));
    }
    connection.prepare_cached("UPDATE access_code SET state = ?2 WHERE name = ?1")?.execute([name, state.as_str()])?;
    owner_did(connection, &format!("access-{}", state.as_str()), name, found.key_id, None)
}

pub(super) fn set_rework(connection: &Connection, name: &str, rework: u64) -> Result<Access, LedgerError> {
    let found = named(connection, name)?;
    if found.kind == Kind::Product && rework > 0 {
        return Err(LedgerError::AccessCode(format!("access code `{name}` is a product's, and a product releases nothing")));
    }
    if found.rework != rework {
        connection.prepare_cached("UPDATE access_code SET rework = ?2 WHERE name = ?1")?.execute(params![name, rework])?;
        owner_did(connection, "access-rework", name, found.key_id, Some(format!("{} -> {rework}", found.rework)))?;
    }
    Ok(Access { rework, ..found })
}

fn named(connection: &Connection, name: &str) -> Result<Access, LedgerError> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM access_code WHERE name = ?1"))?
        .query_row([name], access)
        .optional()?
        .ok_or_else(|| LedgerError::AccessCode(format!("no access code is named `{name}`; `access list` shows them")))
}

fn owner_did(connection: &Connection, action: &str, name: &str, key_id: KeyId, what: Option<String>) -> Result<(), LedgerError> {
    let deed = Deed {
        v: 1,
        action: action.to_owned(),
        at: Timestamp::now(),
        by: "owner".into(),
        policy: None,
        serial: None,
        reservation: None,
        detail: Some(what.map_or_else(String::new, |what| format!("{what}: ")) + &format!("{name} ({key_id})")),
    };
    write::audit(connection, &deed)
}

fn access(row: &Row<'_>) -> rusqlite::Result<Access> {
    let permissions: String = row.get(12)?;
    let state: String = row.get(13)?;
    let optional_time = |column| -> rusqlite::Result<Option<Timestamp>> {
        Ok(match row.get::<_, Option<i64>>(column)? {
            None => None,
            Some(_) => Some(read::time(row, column)?),
        })
    };
    Ok(Access {
        key_id: read::word(row, 0)?,
        name: row.get(1)?,
        kind: read::word(row, 2)?,
        keys: PublicKeys {
            signing: PublicSigningKey::from_bytes(row.get(3)?),
            opening: PublicOpeningKey::from_bytes(row.get(4)?),
        },
        policy: row.get(5)?,
        hub: row.get(6)?,
        quota: row.get(7)?,
        made: row.get(8)?,
        rate_per_minute: row.get(9)?,
        not_before: optional_time(10)?,
        expires: optional_time(11)?,
        // A permission that an older version does not know gives nothing.
        permissions: permissions.split_whitespace().filter_map(|word| word.parse().ok()).collect(),
        state: match state.as_str() {
            "active" => AccessState::Active,
            "suspended" => AccessState::Suspended,
            _ => AccessState::Revoked,
        },
        created_at: read::time(row, 14)?,
        rework: row.get(15)?,
        reworked: row.get(16)?,
    })
}
