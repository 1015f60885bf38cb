//! `/healthz` and `/readyz`: what a supervisor and a load balancer ask.

use std::time::{Duration, Instant};

use axum::{
    Json,
    extract::{Request, State},
};
use qdrs_core::api::{Code, Problem, VERSION};
use serde::Serialize;
use tokio::sync::Mutex;

use super::{App, origin::Origin};
use crate::registrar::{Refusal, Registrar};

/// The ledger is tried once in this time at most, whoever asks.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// A ledger that needs longer for one write is not ready.
const WRITE_TIMEOUT: Duration = Duration::from_secs(8);

/// The service is there.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Health {
    /// The wire format's version.
    pub version: u32,
    /// Always `ok`.
    pub status: &'static str,
}

/// True for the addresses that supervisors ask; they have a rate of their own.
pub fn is_probe(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz")
}

const OK: Health = Health { version: VERSION, status: "ok" };

/// Is the process alive?
#[utoipa::path(
    get, path = "/healthz", tag = "service", operation_id = "healthz",
    responses((status = 200, description = "It is", body = Health)),
)]
pub async fn healthz() -> Json<Health> {
    Json(OK)
}

/// What the last try of the ledger came to.
#[derive(Default)]
pub struct Readiness {
    last: Mutex<Option<(Instant, Result<(), Refusal>)>>,
}

impl Readiness {
    /// Tries to write into the ledger, unless that was just done. Whoever asks meanwhile waits for the same answer.
    async fn check(&self, registrar: &Registrar) -> Result<(), Refusal> {
        let mut last = self.last.lock().await;
        match &*last {
            Some((at, found)) if at.elapsed() < KEPT_FOR => found.clone(),
            _ => {
                let found = tokio::time::timeout(WRITE_TIMEOUT, registrar.ready()).await.unwrap_or_else(|_| {
                    let late = format!("the ledger did not take a write within {} s", WRITE_TIMEOUT.as_secs());
                    Err(Refusal { cause: Some(late), ..Refusal::from((Code::LedgerUnavailable, String::new())) })
                });
                *last = Some((Instant::now(), found.clone()));
                found
            }
        }
    }
}

/// Can it register devices?
///
/// Writes into the ledger, so that a full disk shows. Does not ask the hub: a hub that is away is waited for, request by
/// request. What is wrong stands in `detail` for a caller on the same computer, and in the service's log.
#[utoipa::path(
    get, path = "/readyz", tag = "service", operation_id = "readyz",
    responses(
        (status = 200, description = "It can", body = Health),
        (status = 503, description = "It can't right now", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn readyz(State(app): State<App>, request: Request) -> Result<Json<Health>, Refusal> {
    let is_local = Origin::of(&request).is_local;
    app.readiness.check(&app.registrar).await.map(|()| Json(OK)).map_err(|refusal| explained(refusal, is_local))
}

/// What went wrong inside is for the log, and for who could read the log.
fn explained(mut refusal: Refusal, is_local: bool) -> Refusal {
    if let (true, Some(cause)) = (is_local, &refusal.cause) {
        refusal.problem.detail.clone_from(cause);
    }
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::LedgerError;

    #[tokio::test]
    async fn what_was_found_is_kept_for_a_moment_and_then_asked_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let ledger = crate::ledger::SqliteLedger::open_or_make(&folder.path().join("ledger.sqlite")).expect("opens");
        let registrar = Registrar::new(std::sync::Arc::new(ledger), std::collections::BTreeMap::new(), Default::default());
        let found = |at| Readiness { last: Mutex::new(Some((at, Err(LedgerError::DiskFull.into())))) };
        // Far ahead, so that a busy machine does not outlast the moment.
        let just_now = Instant::now() + Duration::from_secs(3600);
        assert!(found(just_now).check(&registrar).await.is_err(), "it is not asked again");
        let before = Instant::now().checked_sub(2 * KEPT_FOR).expect("the machine runs longer");
        assert!(found(before).check(&registrar).await.is_ok());
        assert!(Readiness::default().check(&registrar).await.is_ok());
        rusqlite::Connection::open(folder.path().join("ledger.sqlite"))
            .and_then(|ledger| ledger.execute_batch("ALTER TABLE audit RENAME TO elsewhere"))
            .expect("renamed");
        let refused = Readiness::default().check(&registrar).await.expect_err("the ledger can't be used");
        assert_eq!(refused.code(), Some(Code::LedgerUnavailable));
    }

    #[test]
    fn the_cause_is_for_this_computer_only() {
        let detail = |is_local| explained(LedgerError::Database("disk I/O error".into()).into(), is_local).problem.detail;
        assert_eq!(detail(true), "ledger: disk I/O error");
        assert!(!detail(false).contains("I/O") && detail(false).contains("log"), "{}", detail(false));
        let full = explained(LedgerError::DiskFull.into(), false).problem;
        assert_eq!((full.code.as_str(), full.status), ("ledger-unavailable", 503));
        assert!(full.detail.contains("full"), "{}", full.detail);
    }
}
