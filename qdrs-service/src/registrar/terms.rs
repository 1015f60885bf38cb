//! What a policy asks of a registration that is open, also after the policy has left the configuration.
//!
//! What was begun can be finished without its policy: it was accepted when it was reserved, and what confirming it takes is
//! kept with it.

use qdrs_core::{api::Evidence, hardware_id::HardwareId, serial::Serial};

use super::Registrar;
use crate::ledger::Reservation;

/// What confirming a registration takes.
pub(super) struct Terms {
    /// The least evidence.
    pub(super) least_evidence: Evidence,
    /// The one board that may become the serial.
    pub(super) listed_board: Option<HardwareId>,
}

impl Registrar {
    /// The policy decides as it stands. Once it has left the configuration, what it asked for at the reservation holds; of a
    /// ledger that did not keep that, the strictest.
    pub(super) fn terms(&self, of: &Reservation) -> Terms {
        match self.shared.policies.get(&of.policy) {
            Some(policy) => Terms {
                least_evidence: policy.least_evidence(),
                listed_board: Serial::from_record(&of.serial).and_then(|serial| policy.listed_hardware_id(&serial)),
            },
            None => {
                Terms { least_evidence: of.least_evidence.unwrap_or(Evidence::ReadBack), listed_board: of.listed_board.clone() }
            }
        }
    }

    /// True if the text names the serial of that registration: as it was sent first, or in any spelling that the policy folds.
    pub(super) fn is_of(&self, of: &Reservation, text: &str) -> bool {
        let folded = || self.shared.policies.get(&of.policy).map(|policy| policy.normalise(text));
        text == of.serial_sent || text == of.serial || folded().is_some_and(|text| text == of.serial)
    }
}
