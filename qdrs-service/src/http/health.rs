//! `/healthz` and `/readyz`: what a supervisor and a load balancer ask.

use axum::{Json, extract::State};
use qdrs_core::api::{Problem, VERSION};
use serde::Serialize;

use super::App;
use crate::registrar::Refusal;

/// The service is there.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Health {
    /// The wire format's version.
    pub version: u32,
    /// Always `ok`.
    pub status: &'static str,
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

/// Can it register devices?
///
/// Asks the ledger, not the hub: a hub that is away is waited for, request by request.
#[utoipa::path(
    get, path = "/readyz", tag = "service", operation_id = "readyz",
    responses(
        (status = 200, description = "It can", body = Health),
        (status = 503, description = "It can't right now", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn readyz(State(app): State<App>) -> Result<Json<Health>, Refusal> {
    app.registrar.ready().await.map(|()| Json(OK))
}
