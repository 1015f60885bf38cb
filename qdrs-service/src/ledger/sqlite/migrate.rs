//! The numbered migrations, each applied once; `PRAGMA user_version` holds the number of the last one.
//!
//! A migration is never edited once released. A ledger with a number above ours is refused.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

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
    for sql in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(usize::MAX)) {
        transaction.execute_batch(sql)?;
    }
    transaction.pragma_update(None, "application_id", file::APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", known())?;
    transaction.commit()?;
    Ok(())
}
