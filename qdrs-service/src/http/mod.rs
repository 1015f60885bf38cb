//! The HTTP surface: routes grouped by who calls them, and what holds for every answer.
//!
//! Every answer carries `Cache-Control: no-store` and an `X-Request-Id` that the log has too; every refusal is
//! problem+json from the one table, also axum's own and that of a panic. Bodies are never logged.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, LazyLock},
    time::Instant,
};

use axum::{
    Router,
    extract::{ConnectInfo, DefaultBodyLimit, Request, State},
    http::{
        HeaderValue, Method, Uri,
        header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE},
    },
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use qdrs_core::api::{BODY_BYTES_MAX, Code};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::{
    OpenApi as _,
    openapi::security::{ApiKey, ApiKeyValue, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    limits::Gate,
    registrar::{Refusal, Registrar},
};

pub mod answer;
mod body;
pub mod caller;
pub mod health;
#[cfg(test)]
mod tests;
mod unread;
pub mod v1;

/// The header that names a request, in the answer and in the log.
const REQUEST_ID: &str = "x-request-id";

/// What every handler gets. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The use case.
    pub registrar: Registrar,
    /// The limits' counters.
    pub gate: Arc<Gate>,
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "QDRS", description = "The Quick Device Registration Service", license(name = "MIT")),
    tags(
        (name = "devices", description = "For stations and products: registering and confirming"),
        (name = "access", description = "For stations: who am I"),
        (name = "service", description = "For supervisors and developers; not signed"),
    ),
)]
struct Document;

/// All routes; whatever stands here stands in the document too.
fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(v1::register, v1::status))
        .routes(routes!(v1::confirm))
        .routes(routes!(v1::release))
        .routes(routes!(v1::releases))
        .routes(routes!(v1::access))
        .routes(routes!(v1::policy))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(openapi_json))
}

/// The description of the API, OpenAPI 3.1, with the table of problems.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let (_, mut document) = routes().split_for_parts();
    let mut table = String::from(
        "The Quick Device Registration Service. How to sign a request and how to open a credential is told by the protocol's \
         page that comes with QDRS.\n\n\
         Every refusal is `application/problem+json`; programs decide by its `code`:\n\n\
         | code | status | retry | what it means |\n| --- | --- | --- | --- |\n",
    );
    for row in Code::ALL.iter().map(|code| code.row()) {
        if let Some(status) = row.status {
            let retry = if row.retry { "yes" } else { "no" };
            let _ = writeln!(table, "| `{}` | {status} | {retry} | {} |", row.code, row.title);
        }
    }
    document.info.description = Some(table);
    let scheme = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
        "Signature",
        "HTTP Message Signatures (RFC 9421), Ed25519, with the signing key of an access code. Covered: `@method`, `@path`, \
         `@query` where there is one, `content-digest` (also of an empty body), and on PUT `idempotency-key`",
    )));
    document.components.get_or_insert_default().add_security_scheme("signature", scheme);
    document
}

/// This description
#[utoipa::path(
    get, path = "/openapi.json", tag = "service", operation_id = "openapi",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")),
)]
async fn openapi_json() -> Result<Response, Refusal> {
    static DOCUMENT: LazyLock<Option<String>> = LazyLock::new(|| openapi().to_pretty_json().ok());
    match DOCUMENT.as_deref() {
        Some(text) => Ok(([(CONTENT_TYPE, "application/json")], text).into_response()),
        None => Err(answer::bad(Code::Internal, "the description can't be written")),
    }
}

/// The whole service as axum serves it.
pub fn router(app: App) -> Router {
    let (router, _) = routes().split_for_parts();
    finish(router, app)
}

/// What holds for every route.
fn finish(router: Router<App>, app: App) -> Router {
    router
        .fallback(async |uri: Uri| answer::bad(Code::RouteUnknown, format!("there is no `{}`", uri.path())))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            answer::bad(Code::MethodNotAllowed, format!("`{}` does not take {method}", uri.path()))
        })
        .layer(CatchPanicLayer::custom(answer::panicked))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(app.clone(), guard))
        .layer(from_fn(unread::close_unread))
        .with_state(app)
}

/// Around every request: its size and its address's rate before it, headers and the log line after it.
async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = Uuid::now_v7().to_string();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let mut response = match admit(&app, &request, address) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    log(&id, &method, &path, address, began, &response);
    response
}

fn admit(app: &App, request: &Request, address: Option<IpAddr>) -> Result<(), Refusal> {
    let length =
        request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<u64>().ok());
    if length.is_some_and(|length| length > BODY_BYTES_MAX as u64) {
        return Err(too_large());
    }
    let address = address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    app.gate.address(address).map_err(|wait| answer::wait(Code::AddressRateLimited, wait))
}

fn too_large() -> Refusal {
    answer::bad(Code::BodyTooLarge, format!("a body has {BODY_BYTES_MAX} bytes at most"))
}

/// One line a request. Probes of a supervisor are only worth a line when they fail.
fn log(id: &str, method: &Method, path: &str, address: Option<IpAddr>, began: Instant, response: &Response) {
    let status = response.status().as_u16();
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let address = address.map(tracing::field::display);
    match response.extensions().get::<answer::Said>() {
        Some(said) => {
            let (code, detail, cause) = (&said.code, &said.detail, said.cause.as_deref());
            if status >= 500 {
                tracing::error!(id, %method, path, address, status, ms, code, detail, cause, "refused");
            } else {
                tracing::info!(id, %method, path, address, status, ms, code, detail, cause, "refused");
            }
        }
        None if path == "/healthz" || path == "/readyz" => tracing::debug!(id, %method, path, address, status, ms, "answered"),
        None => tracing::info!(id, %method, path, address, status, ms, "answered"),
    }
}
