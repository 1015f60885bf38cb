//! `/v1`: what stations and products ask. Translation only; the registrar decides.

use axum::{
    Json,
    extract::{Query, Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use qdrs_core::api::{
    AccessInfo, Code, ConfirmRequest, Confirmation, PolicyText, Problem, RegisterRequest, Registration, ReleaseRequest, Released,
    Releases, SerialStatus,
};

use super::{
    App,
    answer::bad,
    caller::{Caller, Wish, authenticate, serial_of},
};
use crate::registrar::Refusal;

/// Register a serial, or repeat the answer of the same job
///
/// 201 when the registration is new, 200 when the same Idempotency-Key asked before: the same credential, sealed anew.
#[utoipa::path(
    put, path = "/v1/devices/{serial}", tag = "devices", operation_id = "register", security(("signature" = [])),
    params(
        ("serial" = String, Path, description = "The serial number as it was scanned, percent-encoded UTF-8"),
        ("Idempotency-Key" = String, Header, description = "A UUIDv7 made for this serial's job; the same with every retry"),
    ),
    request_body = RegisterRequest,
    responses(
        (status = 201, description = "Registered", body = Registration),
        (status = 200, description = "The answer of the same job again", body = Registration),
        (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn register(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    let (caller, serial) = caller_and_serial(&app, Wish::Register, request).await?;
    let body: RegisterRequest = caller.json()?;
    let registered = app.registrar.register(&caller.access, &serial, &caller.job, body).await;
    let (registration, new) = registered.map_err(|refusal| caller.refuse(refusal))?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(registration)).into_response())
}

/// Confirm that the device holds its credential
///
/// Idempotent. A suspended or expired access code may still confirm.
#[utoipa::path(
    put, path = "/v1/devices/{serial}/confirmation", tag = "devices", operation_id = "confirm", security(("signature" = [])),
    params(
        ("serial" = String, Path, description = "The serial number as it was scanned, percent-encoded UTF-8"),
        ("Idempotency-Key" = String, Header, description = "The key of the serial's job"),
    ),
    request_body = ConfirmRequest,
    responses(
        (status = 200, description = "Confirmed", body = Confirmation),
        (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn confirm(State(app): State<App>, request: Request) -> Result<Json<Confirmation>, Refusal> {
    let (caller, serial) = caller_and_serial(&app, Wish::Confirm, request).await?;
    let body: ConfirmRequest = caller.json()?;
    app.registrar.confirm(&caller.access, &serial, body).await.map(Json).map_err(|refusal| caller.refuse(refusal))
}

/// Give a registration up: its credential dies, and the serial may be registered again
///
/// Only a registration of the caller's own, and only as often as the owner allows it. Idempotent, and charged once; while a
/// call to the hub may still be under way, the answer is `in-progress`, and the same request again hears the end.
#[utoipa::path(
    put, path = "/v1/devices/{serial}/release", tag = "devices", operation_id = "release", security(("signature" = [])),
    params(
        ("serial" = String, Path, description = "The serial number as it was scanned, percent-encoded UTF-8"),
        ("Idempotency-Key" = String, Header, description = "A key of this request's own"),
    ),
    request_body = ReleaseRequest,
    responses(
        (status = 200, description = "Released", body = Released),
        (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn release(State(app): State<App>, request: Request) -> Result<Json<Released>, Refusal> {
    let (caller, serial) = caller_and_serial(&app, Wish::Release, request).await?;
    let body: ReleaseRequest = caller.json()?;
    app.registrar.rework(&caller.access, &serial, body).await.map(Json).map_err(|refusal| caller.refuse(refusal))
}

/// Which registrations of the caller's own are dead: released or taken over, by whomever
///
/// In the order in which they died, a page at a time: ask `after` the last answer's `next`. Keep that number, and each start
/// of a station costs one request.
#[utoipa::path(
    get, path = "/v1/releases", tag = "devices", operation_id = "releases", security(("signature" = [])),
    params(("after" = Option<u64>, Query, description = "`next` of the last answer; 0, or left out, for all")),
    responses(
        (status = 200, description = "A page of them", body = Releases),
        (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn releases(State(app): State<App>, request: Request) -> Result<Json<Releases>, Refusal> {
    let after = Query::<After>::try_from_uri(request.uri());
    let caller = authenticate(&app, Wish::Ask, request).await?;
    let Query(After { after }) =
        after.map_err(|_| caller.refuse(bad(Code::BadRequest, "`after` of the query is a whole number from 0, given once")))?;
    app.registrar.releases(&caller.access, after).await.map(Json).map_err(|refusal| caller.refuse(refusal))
}

/// The query of [`releases`].
#[derive(serde::Deserialize)]
struct After {
    #[serde(default)]
    after: u64,
}

/// Where a serial stands
#[utoipa::path(
    get, path = "/v1/devices/{serial}", tag = "devices", operation_id = "status", security(("signature" = [])),
    params(("serial" = String, Path, description = "The serial number as it was scanned, percent-encoded UTF-8")),
    responses(
        (status = 200, description = "Where it stands", body = SerialStatus),
        (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn status(State(app): State<App>, request: Request) -> Result<Json<SerialStatus>, Refusal> {
    let (caller, serial) = caller_and_serial(&app, Wish::Ask, request).await?;
    app.registrar.status(&caller.access, &serial).await.map(Json).map_err(|refusal| caller.refuse(refusal))
}

/// The policy that the caller's serials must follow
///
/// Enough to look at a batch before anything is made: without lists in files, keys and quotas.
#[utoipa::path(
    get, path = "/v1/policy", tag = "access", operation_id = "policy", security(("signature" = [])),
    responses(
        (status = 200, description = "The policy in TOML", body = PolicyText),
        (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn policy(State(app): State<App>, request: Request) -> Result<Json<PolicyText>, Refusal> {
    let caller = authenticate(&app, Wish::Ask, request).await?;
    app.registrar.policy_text(&caller.access).map(Json).map_err(|refusal| caller.refuse(refusal))
}

/// Who am I, and what is left
#[utoipa::path(
    get, path = "/v1/access", tag = "access", operation_id = "access", security(("signature" = [])),
    params(("journal" = Option<String>, Query, description = "A station's journal; `journal_registered` then says what it has made")),
    responses(
        (status = 200, description = "The access code that signed", body = AccessInfo),
        (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn access(State(app): State<App>, request: Request) -> Result<Json<AccessInfo>, Refusal> {
    let query = Query::<OfJournal>::try_from_uri(request.uri());
    let caller = authenticate(&app, Wish::Ask, request).await?;
    let Query(OfJournal { journal }) =
        query.map_err(|_| caller.refuse(bad(Code::BadRequest, "`journal` of the query is a UUID, given once")))?;
    let mut info = app.registrar.access_info(&caller.access);
    if let Some(journal) = journal {
        let registered = app.registrar.registered_by(&caller.access, journal).await;
        info.journal_registered = Some(registered.map_err(|refusal| caller.refuse(refusal))?);
    }
    Ok(Json(info))
}

/// The query of [`access`].
#[derive(serde::Deserialize)]
struct OfJournal {
    #[serde(default)]
    journal: Option<uuid::Uuid>,
}

/// Who is calling, then what about: nobody without a code hears what the service thinks of a serial.
async fn caller_and_serial(app: &App, wish: Wish, request: Request) -> Result<(Caller, String), Refusal> {
    let serial = serial_of(request.uri().path());
    let caller = authenticate(app, wish, request).await?;
    let serial = serial.map_err(|refusal| caller.refuse(refusal))?;
    Ok((caller, serial))
}
