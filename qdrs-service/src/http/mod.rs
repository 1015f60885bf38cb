//! The HTTP surface: routes grouped by who calls them, and what holds for every answer.
//!
//! Every answer carries `Cache-Control: no-store` and an `X-Request-Id` that the log has too; every refusal is
//! problem+json from the one table, also axum's own and that of a panic. Bodies are never logged.

use std::{
    fmt::Write as _,
    net::IpAddr,
    sync::{Arc, LazyLock},
    time::Instant,
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{
        HeaderMap, HeaderValue, Method, Uri, Version,
        header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE},
    },
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use qdrs_core::api::{BODY_BYTES_MAX, Code};
use tower::ServiceExt as _;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::{
    OpenApi as _,
    openapi::security::{ApiKey, ApiKeyValue, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use origin::{DoublyFramed, Origin};

use crate::{
    limits::{Gate, Refused, Tallies},
    network::{Network, Slots},
    registrar::{Refusal, Registrar},
};

pub mod answer;
mod body;
pub mod caller;
pub mod health;
pub mod origin;
mod target;
#[cfg(test)]
mod tests;
mod unread;
pub mod v1;

/// The header that names a request, in the answer and in the log.
const REQUEST_ID: &str = "x-request-id";
/// How much of a request's method and path stands in its log line, in characters.
const METHOD_CHARS_MAX: usize = 20;
const PATH_CHARS_MAX: usize = 200;

/// What every handler gets. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The use case.
    pub registrar: Registrar,
    /// The limits' counters.
    pub gate: Arc<Gate>,
    /// What was refused and is not in the log yet.
    pub tallies: Arc<Tallies>,
    /// Whom the service trusts to name a client's address.
    pub network: Arc<Network>,
    /// The connections that are open.
    pub slots: Arc<Slots>,
    /// Whether the ledger can be written.
    pub readiness: Arc<health::Readiness>,
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
    let prefix = app.network.path_prefix.clone();
    let served = finish(router, app);
    if prefix.is_empty() {
        return served;
    }
    // Before the routes are looked at, which a layer of theirs would not be.
    Router::new().fallback_service(served.map_request(move |request| target::without_prefix(&prefix, request)))
}

/// What holds for every route.
fn finish(router: Router<App>, app: App) -> Router {
    router
        .fallback(async |method: Method, uri: Uri, headers: HeaderMap| {
            let hint = target::hint(&method, &uri, &headers);
            answer::bad(Code::RouteUnknown, format!("there is no `{}`{hint}", uri.path()))
        })
        .method_not_allowed_fallback(async |method: Method, uri: Uri, headers: HeaderMap| {
            let hint = target::hint(&method, &uri, &headers);
            answer::bad(Code::MethodNotAllowed, format!("`{}` does not take {method}{hint}", uri.path()))
        })
        .layer(CatchPanicLayer::custom(answer::panicked))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(app.clone(), guard))
        .layer(from_fn(unread::close_unread))
        .with_state(app)
}

/// Around every request: its address's rate and its size before it, headers and the log line after it.
async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = Uuid::now_v7().to_string();
    let version = request.version();
    // A head may have tens of kilobytes, and anyone may send it.
    let method = answer::shown(request.method().as_str(), METHOD_CHARS_MAX);
    let path = answer::shown(request.uri().path(), PATH_CHARS_MAX);
    let mut origin = Origin::find(&app, &request);
    let is_doubly_framed = request.extensions().get::<DoublyFramed>().is_some();
    let mut response = match origin.charge(&app, &request).and_then(|()| check_size(&request)) {
        Ok(()) => {
            request.extensions_mut().insert(origin.clone());
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    };
    let code = response.extensions().get::<answer::Said>().and_then(|said| Code::find(&said.code));
    let is_over = code == Some(Code::AddressRateLimited) || (code == Some(Code::ClockSkew) && origin.over.is_some());
    if is_over {
        app.tallies.count(Refused::AddressRate, origin.address);
    }
    let headers = response.headers_mut();
    if (is_over && origin.hang_up() || is_doubly_framed) && version < Version::HTTP_2 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    let is_counted = is_over || code == Some(Code::CodeRateLimited);
    log(&id, &method, &path, origin.address, began, &response, is_counted);
    response
}

/// How long the body is, from its headers: in one way, and not too long.
fn check_size(request: &Request) -> Result<(), Refusal> {
    let lengths: Vec<_> = request.headers().get_all(CONTENT_LENGTH).iter().collect();
    let length: Option<u64> = match lengths[..] {
        [] => Some(0),
        [length] if length.as_bytes().iter().all(u8::is_ascii_digit) => length.to_str().ok().and_then(|text| text.parse().ok()),
        _ => None,
    };
    match length {
        Some(length) if request.extensions().get::<DoublyFramed>().is_none() => {
            if length > BODY_BYTES_MAX as u64 {
                Err(too_large())
            } else {
                Ok(())
            }
        }
        _ => {
            let why = "the end of the body is in doubt: send one Content-Length, or `Transfer-Encoding: chunked`, and not both";
            Err(answer::bad(Code::BadRequest, why))
        }
    }
}

fn too_large() -> Refusal {
    answer::bad(Code::BodyTooLarge, format!("a body has {BODY_BYTES_MAX} bytes at most"))
}

/// One line a request. Probes of a supervisor are only worth a line when they fail.
fn log(id: &str, method: &str, path: &str, address: IpAddr, began: Instant, response: &Response, is_counted: bool) {
    let status = response.status().as_u16();
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    match response.extensions().get::<answer::Said>() {
        Some(said) => {
            let (code, detail, cause) = (&said.code, &said.detail, said.cause.as_deref());
            if is_counted {
                // See `limits::Tallies`.
                tracing::debug!(id, method, path, %address, status, ms, code, detail, cause, "refused");
            } else if status >= 500 {
                tracing::error!(id, method, path, %address, status, ms, code, detail, cause, "refused");
            } else {
                tracing::info!(id, method, path, %address, status, ms, code, detail, cause, "refused");
            }
        }
        None if health::is_probe(path) => tracing::debug!(id, method, path, %address, status, ms, "answered"),
        None => tracing::info!(id, method, path, %address, status, ms, "answered"),
    }
}
