//! The books: what the ledger and the hub say of each serial, held against what the devices hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use qdrs_core::connection_string::DeviceConnectionString;
use qdrs_service::emulator::Running;

/// The ledger's row of a serial's present life.
#[derive(Debug, Clone)]
pub struct LedgerRow {
    /// The word for where it stands.
    pub state: String,
    /// The device's name in the hub.
    pub device_id: String,
    /// The fingerprint of the key that was issued, hex.
    pub fingerprint: Option<String>,
    /// The station that made it.
    pub station: Option<String>,
    /// What showed that the device holds it.
    pub evidence: Option<String>,
}

/// What ledger and hub say.
pub struct Books {
    /// By serial.
    pub ledger: BTreeMap<String, LedgerRow>,
    /// By device id: the fingerprint of the hub's primary key, hex.
    pub hub: BTreeMap<String, String>,
    /// Rows that are tombstones.
    pub tombstones: usize,
}

impl Books {
    pub(crate) fn read(ledger: &Path, hub: &Running) -> Self {
        let connection =
            rusqlite::Connection::open_with_flags(ledger, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the ledger opens");
        let mut statement = connection
            .prepare("SELECT serial, state, device_id, lower(hex(fingerprint)), station, evidence FROM reservation")
            .expect("the ledger has its table");
        let rows = statement
            .query_map([], |row| {
                let serial: String = row.get(0)?;
                let fingerprint = row.get::<_, Option<String>>(3)?.filter(|hex| !hex.is_empty());
                let row = LedgerRow {
                    state: row.get(1)?,
                    device_id: row.get(2)?,
                    fingerprint,
                    station: row.get(4)?,
                    evidence: row.get(5)?,
                };
                Ok((serial, row))
            })
            .expect("the ledger answers");
        let (mut ledger, mut tombstones) = (BTreeMap::new(), 0);
        for row in rows {
            let (serial, row) = row.expect("a row reads");
            if row.state == "released" {
                tombstones += 1;
            } else {
                assert!(ledger.insert(serial.clone(), row).is_none(), "{serial} lives twice in the ledger");
            }
        }
        let hub = hub
            .identities()
            .into_iter()
            .filter_map(|known| Some((known.device_id, known.primary_key?.fingerprint().to_string())))
            .collect();
        Self { ledger, hub, tombstones }
    }

    /// Every serial is confirmed, the hub has its key, and exactly one of the credentials that devices hold is live.
    pub fn balance(&self, serials: &[String], held: &[DeviceConnectionString]) {
        assert_eq!(self.ledger.len(), serials.len(), "the ledger has other serials than the batch");
        assert_eq!(self.hub.len(), serials.len(), "the hub has other devices than the batch");
        for serial in serials {
            let row = self.ledger.get(serial).unwrap_or_else(|| panic!("{serial} is not in the ledger"));
            assert_eq!(row.state, "confirmed", "{serial} is {row:?}");
            let live = self.hub.get(&row.device_id).unwrap_or_else(|| panic!("{serial} is not in the hub"));
            assert_eq!(row.fingerprint.as_ref(), Some(live), "{serial}: ledger and hub differ");
            let holders =
                held.iter().filter(|held| held.device_id == row.device_id && held.key.fingerprint().to_string() == *live).count();
            assert_eq!(holders, 1, "{serial}: {holders} devices hold its live credential");
        }
        let live: BTreeSet<_> = self.hub.values().collect();
        assert_eq!(live.len(), self.hub.len(), "two devices share a key");
    }
}
