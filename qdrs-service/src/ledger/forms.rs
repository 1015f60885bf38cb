//! A policy's normal form against the serials that stand in the ledger: what a changed form would make of them.

use std::collections::BTreeMap;

use qdrs_core::policy::Policy;

use super::LedgerError;

/// So many serials are named in a refusal.
const NAMED_MAX: usize = 3;

/// The part of a policy that says how serials are written.
pub struct Form {
    /// The policy's name.
    pub policy: String,
    /// The normal form as text; equal texts normalise equally.
    pub text: String,
    own: Policy,
}

impl Form {
    /// The form of that policy.
    pub fn of(policy: &Policy) -> Self {
        Self { policy: policy.name.clone(), text: policy.normal_form(), own: policy.clone() }
    }

    /// The text as this form writes it.
    pub fn normalise(&self, text: &str) -> String {
        self.own.normalise(text)
    }
}

/// What a form makes of the stored serials that it writes otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moves {
    /// The stored serial, and how the form writes its label.
    pub serials: BTreeMap<String, String>,
    /// Batch, entry of its list, and how the form writes it.
    pub listed: Vec<(String, String, String)>,
    /// What more than one stored serial, or entry of one list, would become, with those.
    pub collisions: BTreeMap<String, Vec<String>>,
}

impl Moves {
    /// True if the form writes every stored serial as it stands.
    pub fn is_empty(&self) -> bool {
        self.serials.is_empty() && self.listed.is_empty()
    }

    /// # Errors
    /// The form writes something otherwise than it stands.
    pub fn none(&self, policy: &str) -> Result<(), LedgerError> {
        if self.is_empty() {
            return Ok(());
        }
        let (policy, count) = (policy.to_owned(), self.serials.len() + self.listed.len());
        Err(LedgerError::OtherForm { policy, count, named: self.in_words(NAMED_MAX) })
    }

    /// How many serials and entries of lists are written otherwise, and the first few of them.
    fn in_words(&self, most: usize) -> String {
        let serials = self.serials.iter().map(|(old, new)| format!("`{old}` (now `{new}`)"));
        let listed = self.listed.iter().map(|(batch, old, new)| format!("`{old}` (now `{new}`) in the list of batch `{batch}`"));
        let count = self.serials.len() + self.listed.len();
        let named: Vec<_> = serials.chain(listed).take(most).collect();
        let more = count.saturating_sub(most);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}", named.join(", "))
    }
}
