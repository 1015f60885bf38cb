//! Which valid serials a refused one may have been, as far as its caller may know.
//!
//! A product, whose code can be found in the product, gets no proposal; nor does a station get one out of a policy of which
//! it may not have all: a serial of a list that is kept from stations would be given away by a text that is near it.

use std::sync::Arc;

use qdrs_core::{
    api::Kind,
    explain::Explain as _,
    policy::nearest,
    serial::{Serial, SerialError},
};

use super::{Refusal, Registrar};
use crate::ledger::Access;

/// How many valid serials are named that a refused one may have been.
const NEAREST_MAX: usize = 3;
/// The longest text for which near serials are looked for, in characters: how many are tried grows with it.
const TEXT_CHARS_MAX: usize = 40;

impl Registrar {
    /// The serial, judged by the caller's policy.
    ///
    /// # Errors
    /// `serial-invalid` and its kin, with the valid serials that are near, if the caller may know them.
    pub(super) async fn accepted(&self, caller: &Access, sent: &str) -> Result<Serial, Refusal> {
        match self.policy(&caller.policy)?.check(sent) {
            Ok(serial) => Ok(serial),
            Err(error) => Err(self.invalid(caller, sent, &error).await),
        }
    }

    async fn invalid(&self, caller: &Access, sent: &str, error: &SerialError) -> Refusal {
        let may_know = caller.kind == Kind::Station && self.policy(&caller.policy).is_ok_and(|policy| !policy.wants());
        let near = if may_know && sent.chars().count() <= TEXT_CHARS_MAX { self.near(caller, sent).await } else { None };
        Refusal::new(error.code(), near.map_or_else(|| error.to_string(), |near| format!("{error}; {near}")))
    }

    /// Thousands of texts are judged, so not on a thread that other requests wait for.
    async fn near(&self, caller: &Access, sent: &str) -> Option<String> {
        let (shared, name, sent) = (Arc::clone(&self.shared), caller.policy.clone(), sent.to_owned());
        let work = move || nearest::in_words(&shared.policies.get(&name)?.nearest(&sent, &|_| false, NEAREST_MAX));
        tokio::task::spawn_blocking(work).await.ok().flatten()
    }
}
