//! Normal forms in SQLite: a form is held against what is stored only when it is another than the last one, and stored serials
//! are moved to another form in one transaction.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use qdrs_core::serial::Serial;
use rusqlite::{Connection, OptionalExtension};

use super::write;
use crate::ledger::{
    LedgerError,
    audit::Deed,
    forms::{Form, Moves},
};

/// What stands before a serial while others move: no serial begins with it.
const AWAY: &str = "\u{1}";

/// The stored spelling of a serial: an earlier one leads to the present one.
pub(super) fn resolve(connection: &Connection, policy: &str, serial: &str) -> rusqlite::Result<String> {
    let present = connection
        .prepare_cached("SELECT serial FROM serial_alias WHERE policy = ?1 AND spelling = ?2")?
        .query_row([policy, serial], |row| row.get(0))
        .optional()?;
    Ok(present.unwrap_or_else(|| serial.to_owned()))
}

/// What the form would move; nothing is looked at if it is the one that all stand in.
pub(super) fn moves(connection: &Connection, form: &Form) -> rusqlite::Result<Moves> {
    let known: Option<String> = connection
        .prepare_cached("SELECT form FROM policy_form WHERE policy = ?1")?
        .query_row([&form.policy], |row| row.get(0))
        .optional()?;
    if known.as_deref() == Some(&form.text) { Ok(Moves::default()) } else { compare(connection, form) }
}

fn compare(connection: &Connection, form: &Form) -> rusqlite::Result<Moves> {
    let mut moves = Moves::default();
    let rows = |sql: &str, each: &mut dyn FnMut(String, String) -> rusqlite::Result<()>| -> rusqlite::Result<()> {
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([&form.policy])?;
        while let Some(row) = rows.next()? {
            each(row.get(0)?, row.get(1)?)?;
        }
        Ok(())
    };
    // A spelling that is known to be the serial's makes no other one.
    let mut aliases: HashMap<String, String> = HashMap::new();
    rows("SELECT spelling, serial FROM serial_alias WHERE policy = ?1", &mut |spelling, serial| {
        aliases.insert(spelling, serial);
        Ok(())
    })?;
    let written = |serial: &str, sent: &str| {
        let new = written(form, serial, sent);
        aliases.get(&new).cloned().unwrap_or(new)
    };
    // What the label says was sent; what was dropped from it is not in the stored serial any more.
    rows("SELECT serial, serial_sent FROM reservation WHERE policy = ?1 AND state <> 'released'", &mut |serial, sent| {
        let new = written(&serial, &sent);
        if new != serial {
            moves.serials.insert(serial, new);
        }
        Ok(())
    })?;
    // The last attempt of a serial that is free says how it is written.
    let mut free = BTreeMap::new();
    rows(
        "SELECT serial, serial_sent FROM reservation WHERE policy = ?1 AND state = 'released' ORDER BY rowid",
        &mut |serial, sent| {
            if form.normalise(&serial) != serial && !moves.serials.contains_key(&serial) {
                let new = written(&serial, &sent);
                free.insert(serial, new);
            }
            Ok(())
        },
    )?;
    let mut become_one: HashMap<&String, Vec<&String>> = HashMap::new();
    for (old, new) in &moves.serials {
        become_one.entry(new).or_default().push(old);
    }
    let mut stands = connection
        .prepare("SELECT EXISTS (SELECT 1 FROM reservation WHERE policy = ?1 AND serial = ?2 AND state <> 'released')")?;
    for (new, olds) in become_one {
        let stays = !moves.serials.contains_key(new) && stands.query_row([&form.policy, new], |row| row.get(0))?;
        if olds.len() > 1 || stays {
            let all = olds.into_iter().chain(Some(new).filter(|_| stays)).cloned().collect();
            moves.collisions.insert(new.clone(), all);
        }
    }
    moves.serials.extend(free);
    lists(connection, form, &mut moves)?;
    Ok(moves)
}

/// How the form writes the label: what was sent of it tells more than the stored serial, if the form can make a serial of it.
fn written(form: &Form, serial: &str, sent: &str) -> String {
    let new = form.normalise(sent);
    if Serial::from_record(&new).is_some() { new } else { form.normalise(serial) }
}

/// The lists of the policy's batches: an entry goes where the serial of that spelling goes.
fn lists(connection: &Connection, form: &Form, moves: &mut Moves) -> rusqlite::Result<()> {
    let mut statement = connection
        .prepare("SELECT batch, serial FROM batch_serial JOIN batch ON name = batch WHERE policy = ?1 ORDER BY batch, serial")?;
    let mut stands = connection.prepare("SELECT EXISTS (SELECT 1 FROM batch_serial WHERE batch = ?1 AND serial = ?2)")?;
    let mut rows = statement.query([&form.policy])?;
    let mut taken: HashMap<(String, String), String> = HashMap::new();
    while let Some(row) = rows.next()? {
        let (batch, old): (String, String) = (row.get(0)?, row.get(1)?);
        let goes = |serial: &str| moves.serials.get(serial).cloned().unwrap_or_else(|| form.normalise(serial));
        let new = goes(&old);
        if new == old {
            continue;
        }
        let stays = goes(&new) == new && stands.query_row([&batch, &new], |row| row.get(0))?;
        let other = taken.insert((batch.clone(), new.clone()), old.clone());
        if let Some(other) = other.or_else(|| stays.then(|| new.clone())) {
            let what = moves.collisions.entry(new.clone()).or_default();
            what.extend([other, old.clone()].map(|entry| format!("{entry} in the list of batch {batch}")));
        }
        moves.listed.push((batch, old, new));
    }
    Ok(())
}

/// All stored serials of the policy stand in that form.
pub(super) fn note(connection: &Connection, form: &Form) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO policy_form (policy, form) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET form = excluded.form \
             WHERE form <> excluded.form",
        )?
        .execute([&form.policy, &form.text])?;
    Ok(())
}

/// In another form than this one nothing is known to stand any more.
pub(super) fn forget_others(connection: &Connection, form: &Form) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM policy_form WHERE policy = ?1 AND form <> ?2")?.execute([&form.policy, &form.text])?;
    Ok(())
}

/// Brings what is stored to the form, unless serials would become one; device ids in the hub stay as they are.
pub(super) fn renormalise(connection: &Connection, form: &Form) -> Result<Moves, LedgerError> {
    let moves = moves(connection, form)?;
    if !moves.collisions.is_empty() {
        return Ok(moves);
    }
    if moves.is_empty() {
        note(connection, form)?;
        return Ok(moves);
    }
    let now = Timestamp::now();
    let mut ids =
        connection.prepare("SELECT id FROM reservation WHERE policy = ?1 AND serial = ?2 ORDER BY rowid DESC LIMIT 1")?;
    let mut put = connection.prepare("UPDATE reservation SET serial = ?3 WHERE policy = ?1 AND serial = ?2")?;
    let away = |serial: &str| format!("{AWAY}{serial}");
    // In two steps, since one may move to where another has been.
    for old in moves.serials.keys() {
        put.execute([&form.policy, old, &away(old)])?;
    }
    let mut lead = connection.prepare("UPDATE serial_alias SET serial = ?3 WHERE policy = ?1 AND serial = ?2")?;
    let mut alias = connection.prepare("INSERT OR REPLACE INTO serial_alias (policy, spelling, serial) VALUES (?1, ?2, ?3)")?;
    let mut is_serial = connection.prepare("DELETE FROM serial_alias WHERE policy = ?1 AND spelling = ?2")?;
    for (old, new) in &moves.serials {
        put.execute([&form.policy, &away(old), new])?;
        lead.execute([&form.policy, old, new])?;
        let reservation: String = ids.query_row([&form.policy, new], |row| row.get(0))?;
        let deed = deed(form, "renormalised", now, Some((new, reservation)), format!("was {old}"));
        write::audit(connection, &deed)?;
    }
    for (old, new) in &moves.serials {
        alias.execute([&form.policy, old, new])?;
    }
    for new in moves.serials.values() {
        is_serial.execute([&form.policy, new])?;
    }
    let mut take = connection.prepare("DELETE FROM batch_serial WHERE batch = ?1 AND serial = ?2")?;
    let mut enter = connection.prepare("INSERT INTO batch_serial (batch, serial) VALUES (?1, ?2)")?;
    for (batch, old, _) in &moves.listed {
        take.execute([batch, old])?;
    }
    for (batch, _, new) in &moves.listed {
        enter.execute([batch, new])?;
    }
    let what = format!("{} serials and {} entries of lists, to {}", moves.serials.len(), moves.listed.len(), form.text);
    write::audit(connection, &deed(form, "policy-renormalised", now, None, what))?;
    note(connection, form)?;
    Ok(moves)
}

fn deed(form: &Form, action: &str, at: Timestamp, of: Option<(&String, String)>, detail: String) -> Deed {
    let (serial, reservation) = of.map(|(serial, reservation)| (serial.clone(), reservation)).unzip();
    let (action, policy) = (action.to_owned(), Some(form.policy.clone()));
    Deed { v: 1, action, at, by: "owner".into(), policy, serial, reservation, detail: Some(detail) }
}
