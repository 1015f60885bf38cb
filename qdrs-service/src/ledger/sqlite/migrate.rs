//! The numbered migrations, each applied once; `PRAGMA user_version` holds the number of the last one.
//!
//! A migration is never edited once released. A ledger with a number above ours is refused.

use std::path::Path;

use qdrs_core::hardware_id::HardwareId;
use rusqlite::{
    Connection, TransactionBehavior,
    functions::{Context, FunctionFlags},
};

use super::file;
use crate::ledger::LedgerError;

/// Every migration, in order; the first is number 1.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/sqlite/0001_ledger.sql"),
    include_str!("../../../migrations/sqlite/0002_batches.sql"),
    include_str!("../../../migrations/sqlite/0003_rework.sql"),
    include_str!("../../../migrations/sqlite/0004_hub_is_its_host.sql"),
    include_str!("../../../migrations/sqlite/0005_terms.sql"),
    include_str!("../../../migrations/sqlite/0006_forms.sql"),
    include_str!("../../../migrations/sqlite/0007_boards.sql"),
    include_str!("../../../migrations/sqlite/0008_journal.sql"),
    include_str!("../../../migrations/sqlite/0009_sequence.sql"),
];

/// The version that this QDRS writes.
pub(super) fn known() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// Brings the ledger up to date.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), LedgerError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known() {
        return Err(LedgerError::Newer { path: path.display().to_string(), found, known: known() });
    }
    if found < known() {
        transaction.create_scalar_function("normal_hardware_id", 1, FunctionFlags::SQLITE_UTF8, normal_hardware_id)?;
    }
    for sql in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(usize::MAX)) {
        transaction.execute_batch(sql)?;
    }
    transaction.pragma_update(None, "application_id", file::APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", known())?;
    transaction.commit()?;
    Ok(())
}

/// For the migrations: the normal form of a hardware id.
fn normal_hardware_id(context: &mut Context<'_>) -> rusqlite::Result<Option<String>> {
    let text: Option<String> = context.get(0)?;
    Ok(text.and_then(|text| HardwareId::from_record(&text)).map(|id| id.to_string()))
}
