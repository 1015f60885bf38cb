//! Which call is this, may it be made, and what is answered: the hub's REST surface.
//!
//! Order for every call: address and method, token, version, fault switch, effect, store, answer. Only the effect changes
//! anything, and it never waits, so that a caller who hangs up cannot stop it half-way. A call that is not supported is
//! refused as such, whatever its token: a 401 would send the caller to look for a fault in its credential.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, HeaderValue, Method, StatusCode, request::Parts};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{
    auth::{Auth, Need},
    bulk::{self, Bulk},
    device,
    errors::{self, Answer, Refusal, json_answer, no_content},
    faults::{self, Faults, Operation, Plan, Rule},
    registry::{IfMatch, Registry},
    tier::{Throttle, Verdict},
    twins::{self, Twin},
};

/// The longest body: 100 bulk entries with full twins.
pub(super) const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The longest message of a device.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Devices in one list or page of a query.
const PAGE_MAX: usize = 1000;
/// The first version of the API that the emulator takes.
const VERSION_MIN: &str = "2016-02-03";
/// The address of the fault switch.
const FAULTS_PATH: &str = "/_emulator/faults";

/// Every call that is supported: method, path, and what it does. All others are answered 400 "not supported by the emulator".
pub const SUPPORTED: &[(&str, &str, &str)] = &[
    ("PUT", "/devices/{id}", "create an identity; with If-Match, update it"),
    ("GET", "/devices/{id}", "read an identity, with its keys"),
    ("DELETE", "/devices/{id}", "delete an identity; needs If-Match, as at the hub"),
    ("GET", "/devices", "list identities, 1000 at most (top)"),
    ("POST", "/devices", "bulk: 100 entries at most, no modules"),
    ("GET", "/twins/{id}", "read a twin"),
    ("PATCH", "/twins/{id}", "change tags and desired properties"),
    ("PUT", "/twins/{id}", "replace tags and desired properties"),
    ("POST", "/devices/query", "`SELECT * FROM devices` only, in pages"),
    ("GET", "/statistics/devices", "how many devices, enabled and disabled"),
    ("GET", "/statistics/service", "connected devices: always 0"),
    ("POST", "/devices/{id}/messages/events", "a device's message; counted and thrown away"),
    ("GET", "/devices/{id}/messages/devicebound", "a message to a device; there is never one"),
];

/// The caller gets no answer: the connection closes.
#[derive(Debug, thiserror::Error)]
#[error("the connection is dropped on purpose")]
pub(super) struct Dropped;

/// One emulated hub.
pub(super) struct Hub {
    pub(super) registry: Arc<Registry>,
    pub(super) auth: Auth,
    pub(super) faults: Faults,
    pub(super) throttle: Throttle,
    pub(super) faults_over_http: bool,
    pub(super) strict_ids: bool,
}

/// What a path and method ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Device(String),
    Devices,
    Twin(String),
    DeviceStatistics,
    ServiceStatistics,
    Query,
    Events(String),
    DeviceBound(String),
    Unknown,
}

impl Target {
    /// Each segment is decoded once, after the path was split: an encoded slash stays part of an id.
    fn parse(method: &Method, path: &str) -> Self {
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let id = |text: &str| percent_decode_str(text).decode_utf8().ok().filter(|id| !id.is_empty()).map(|id| id.into_owned());
        let with_id = |text: &str, target: fn(String) -> Self| id(text).map_or(Self::Unknown, target);
        match segments.as_slice() {
            // Node's SDK lists with a slash at the end.
            ["devices"] | ["devices", ""] => Self::Devices,
            // A device may be called `query` too.
            ["devices", "query"] if method == Method::POST => Self::Query,
            ["devices", text] => with_id(text, Self::Device),
            ["twins", text] => with_id(text, Self::Twin),
            ["statistics", "devices"] => Self::DeviceStatistics,
            ["statistics", "service"] => Self::ServiceStatistics,
            ["devices", text, "messages", "events"] => with_id(text, Self::Events),
            ["devices", text, "messages", "devicebound"] => with_id(text, Self::DeviceBound),
            _ => Self::Unknown,
        }
    }

    /// The right that a supported call needs; `None` for a call that the emulator does not support.
    fn need(&self, method: &Method) -> Option<Need<'_>> {
        Some(match (self, method.as_str()) {
            (Self::Device(_), "PUT" | "DELETE") | (Self::Devices, "POST") => Need::RegistryWrite,
            (Self::Device(_) | Self::Devices | Self::DeviceStatistics, "GET") => Need::RegistryRead,
            (Self::Twin(_), "GET" | "PATCH" | "PUT") | (Self::Query, "POST") | (Self::ServiceStatistics, "GET") => {
                Need::ServiceConnect
            }
            (Self::Events(id), "POST") | (Self::DeviceBound(id), "GET") => Need::Device(id),
            _ => return None,
        })
    }
}

/// A call whose address and token are in order, body read: ready to be done.
enum Action {
    Create { id: String, given: device::Given },
    Update { id: String, if_match: IfMatch, given: device::Given },
    Get { id: String },
    Delete { id: String, if_match: Option<IfMatch> },
    List { top: usize },
    Bulk(Bulk),
    GetTwin { id: String },
    WriteTwin { id: String, if_match: IfMatch, given: twins::Given, replace: bool },
    DeviceStatistics,
    ServiceStatistics,
    Query { after: Option<String>, count: usize },
    Send { id: String, bytes: usize },
    Receive,
}

impl Action {
    fn operations(&self) -> Vec<Operation> {
        match self {
            Self::Bulk(bulk) => bulk.operations(),
            Self::Create { .. } => vec![Operation::Create],
            Self::Update { .. } | Self::WriteTwin { .. } => vec![Operation::Update],
            Self::Delete { .. } => vec![Operation::Delete],
            Self::Send { .. } | Self::Receive => vec![Operation::Send],
            _ => vec![Operation::Read],
        }
    }

    fn device_ids(&self) -> Vec<&str> {
        match self {
            Self::Bulk(bulk) => bulk.device_ids(),
            Self::Create { id, .. }
            | Self::Update { id, .. }
            | Self::Get { id }
            | Self::Delete { id, .. }
            | Self::GetTwin { id }
            | Self::WriteTwin { id, .. }
            | Self::Send { id, .. } => vec![id],
            _ => Vec::new(),
        }
    }

    /// As how many registry operations the hub's throttle counts it; none if another limit holds for it.
    fn registry_operations(&self) -> Option<usize> {
        match self {
            Self::Bulk(bulk) => Some(bulk.device_ids().len()),
            Self::Create { .. } | Self::Update { .. } | Self::Get { .. } | Self::Delete { .. } | Self::List { .. } => Some(1),
            _ => None,
        }
    }

    fn changes(&self) -> bool {
        matches!(self, Self::Create { .. } | Self::Update { .. } | Self::Delete { .. } | Self::Bulk(_) | Self::WriteTwin { .. })
    }
}

/// Answers one request.
pub(super) async fn answer(hub: &Arc<Hub>, peer: SocketAddr, parts: Parts, body: Bytes) -> Result<Answer, Dropped> {
    if parts.uri.path() == FAULTS_PATH && hub.faults_over_http {
        return Ok(if peer.ip().to_canonical().is_loopback() {
            faults_answer(&hub.faults, &parts.method, &body)
        } else {
            Refusal::unauthorized().answer()
        });
    }
    let action = match hub.admit(&parts, &body) {
        Ok(action) => action,
        Err(refusal) => return Ok(refusal.answer()),
    };
    let mut plan = hub.faults.plan(&faults::Call { operations: &action.operations(), device_ids: &action.device_ids() });
    if plan.drop_request {
        return Err(Dropped);
    }
    if let Some(operations) = action.registry_operations() {
        match hub.throttle.take(operations) {
            Verdict::Served(wait) => plan.delay += wait,
            Verdict::Refused(wait) => {
                plan.delay += wait;
                plan.refusal.get_or_insert_with(|| Refusal::throttled(None));
            }
        }
    }
    if plan.delay.is_zero() {
        return hub.carry_out(action, plan).await;
    }
    // The hub's queue does not forget a call whose caller has gone: it is done all the same, later.
    let hub = Arc::clone(hub);
    let delayed = tokio::spawn(async move {
        tokio::time::sleep(plan.delay).await;
        hub.carry_out(action, plan).await
    });
    delayed.await.unwrap_or(Err(Dropped))
}

impl Hub {
    async fn carry_out(&self, action: Action, plan: Plan) -> Result<Answer, Dropped> {
        if let Some(refusal) = plan.refusal {
            return Ok(refusal.answer());
        }
        if let Some(answer) = plan.answer {
            return Ok(answer);
        }
        let changes = action.changes();
        let mut answer = self.effect(action, plan.without_twin).unwrap_or_else(|refusal| refusal.answer());
        if changes && let Err(error) = self.registry.flush().await {
            answer = Refusal::new(errors::SERVER_ERROR, error).answer();
        }
        if !plan.delay_answer.is_zero() {
            tokio::time::sleep(plan.delay_answer).await;
        }
        if plan.drop_answer {
            return Err(Dropped);
        }
        if plan.fail_after {
            answer = Refusal::new(errors::SERVER_ERROR, "An error occurred, please retry").answer();
        }
        Ok(answer)
    }

    /// Address and method, token, version and body, in that order.
    fn admit(&self, parts: &Parts, body: &[u8]) -> Result<Action, Refusal> {
        let target = Target::parse(&parts.method, parts.uri.path());
        let need = target.need(&parts.method).ok_or_else(Refusal::not_supported)?;
        let path = percent_decode_str(parts.uri.path()).decode_utf8().map_err(|_| Refusal::argument("The path is not UTF-8"))?;
        self.auth.check(&parts.headers, &path, need, &self.registry)?;
        let query = parts.uri.query().unwrap_or_default();
        check_version(parameter(query, "api-version").as_deref())?;
        action(target, parts, query, body, self.strict_ids)
    }

    /// Does it, at once and wholly.
    fn effect(&self, action: Action, without_twin: bool) -> Result<Answer, Refusal> {
        let registry = &self.registry;
        let ok = |body: &Value| json_answer(StatusCode::OK, body);
        let identity = |device: &device::Device| with_etag(ok(&device.to_json()), &device.etag_text());
        let twin = |device: &device::Device| with_etag(ok(&device.twin_to_json()), &device.twin.etag_text());
        Ok(match action {
            Action::Create { id, given } => identity(&*registry.create(&id, given.settle()?, Twin::new(Timestamp::now()))?),
            Action::Update { id, if_match, given } => identity(&*registry.update(&id, &if_match, given.settle()?)?),
            Action::Get { id } => identity(&*registry.get(&id)?),
            Action::Delete { id, if_match } => {
                let if_match = if_match.ok_or_else(|| Refusal::new(errors::PRECONDITION_FAILED, "Etag missing"))?;
                registry.delete(&id, &if_match)?;
                no_content()
            }
            Action::List { top } => ok(&registry.page(None, top).iter().map(|device| device.to_json()).collect()),
            Action::Bulk(bulk) => bulk.apply(registry, &bulk::Options { strict_ids: self.strict_ids, without_twin }),
            Action::GetTwin { id } => twin(&*registry.get(&id)?),
            Action::WriteTwin { id, if_match, given, replace } => {
                let now = Timestamp::now();
                let write = |old: &Twin| if replace { old.replaced(now, given) } else { old.patched(now, given) };
                twin(&*registry.write_twin(&id, &if_match, write)?)
            }
            Action::DeviceStatistics => {
                let (total, enabled) = registry.count();
                ok(&json!({"totalDeviceCount": total, "enabledDeviceCount": enabled, "disabledDeviceCount": total - enabled}))
            }
            Action::ServiceStatistics => ok(&json!({"connectedDeviceCount": 0})),
            Action::Query { after, count } => query_page(registry, after.as_deref(), count),
            Action::Send { bytes, .. } if bytes > MESSAGE_BYTES_MAX => {
                return Err(Refusal::new(
                    errors::MESSAGE_TOO_LARGE,
                    format!("Message size {bytes} exceeds {MESSAGE_BYTES_MAX} bytes"),
                ));
            }
            Action::Send { id, .. } => {
                registry.message(&id);
                no_content()
            }
            Action::Receive => no_content(),
        })
    }
}

/// Reads what a call needs from its headers and body.
fn action(target: Target, parts: &Parts, query: &str, body: &[u8], strict_ids: bool) -> Result<Action, Refusal> {
    let if_match = if_match(&parts.headers);
    let device = |id: String| device::check_device_id(&id, strict_ids).map(|()| id);
    Ok(match (target, parts.method.as_str()) {
        (Target::Device(id), "PUT") => {
            let id = device(id)?;
            let given: device::Given = read(body)?;
            if given.device_id.as_ref().is_some_and(|named| *named != id) {
                return Err(Refusal::argument("The device id in the body differs from the one in the address"));
            }
            match if_match {
                None => Action::Create { id, given },
                Some(if_match) => Action::Update { id, if_match, given },
            }
        }
        (Target::Device(id), "GET") => Action::Get { id: device(id)? },
        (Target::Device(id), "DELETE") => Action::Delete { id: device(id)?, if_match },
        (Target::Devices, "GET") => {
            let top = parameter(query, "top").and_then(|top| top.parse().ok());
            Action::List { top: top.filter(|top| (1..=PAGE_MAX).contains(top)).unwrap_or(PAGE_MAX) }
        }
        (Target::Devices, "POST") => Action::Bulk(Bulk::parse(body)?),
        (Target::Twin(id), "GET") => Action::GetTwin { id: device(id)? },
        (Target::Twin(id), method @ ("PATCH" | "PUT")) => Action::WriteTwin {
            id: device(id)?,
            if_match: if_match.unwrap_or(IfMatch::Any),
            given: read(body)?,
            replace: method == "PUT",
        },
        (Target::DeviceStatistics, "GET") => Action::DeviceStatistics,
        (Target::ServiceStatistics, "GET") => Action::ServiceStatistics,
        (Target::Query, "POST") => query_action(&parts.headers, body)?,
        (Target::Events(id), "POST") => Action::Send { id, bytes: body.len() },
        (Target::DeviceBound(_), "GET") => Action::Receive,
        _ => return Err(Refusal::not_supported()),
    })
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::body(&error))
}

fn if_match(headers: &HeaderMap) -> Option<IfMatch> {
    // What is no text can be no etag of ours, but it is a condition all the same.
    headers.get(http::header::IF_MATCH).map(|value| IfMatch::parse(value.to_str().unwrap_or("\u{fffd}")))
}

fn with_etag(mut answer: Answer, etag: &str) -> Answer {
    if let Ok(value) = HeaderValue::from_str(&format!("\"{etag}\"")) {
        answer.headers_mut().insert(http::header::ETAG, value);
    }
    answer
}

/// A parameter of the query, decoded.
fn parameter(query: &str, name: &str) -> Option<String> {
    let (_, value) = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

/// Any version of the form `2021-04-12` or `2020-05-31-preview`, from the first that old SDKs send.
fn check_version(version: Option<&str>) -> Result<(), Refusal> {
    let is_date = |text: &str| text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok() && text >= VERSION_MIN;
    match version {
        Some(version) if is_date(version.strip_suffix("-preview").unwrap_or(version)) => Ok(()),
        _ => Err(Refusal::new(errors::INVALID_PROTOCOL_VERSION, "Invalid or missing api-version")),
    }
}

/// The one query that is understood.
fn query_action(headers: &HeaderMap, body: &[u8]) -> Result<Action, Refusal> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let body: Value = read(body)?;
    let words: Vec<_> = body["query"].as_str().unwrap_or_default().split_whitespace().map(str::to_ascii_lowercase).collect();
    if words != ["select", "*", "from", "devices"] {
        return Err(Refusal::not_supported());
    }
    let continuation = text("x-ms-continuation").filter(|token| !token.is_empty());
    let after = continuation.map(|token| BASE64URL_NOPAD.decode(token.as_bytes()).ok().and_then(|id| String::from_utf8(id).ok()));
    if after == Some(None) {
        return Err(Refusal::argument("The continuation token is not valid"));
    }
    let count = text("x-ms-max-item-count").and_then(|count| count.parse().ok()).filter(|count| (1..=PAGE_MAX).contains(count));
    Ok(Action::Query { after: after.flatten(), count: count.unwrap_or(PAGE_MAX) })
}

fn query_page(registry: &Registry, after: Option<&str>, count: usize) -> Answer {
    // One more than asked for shows whether this is the last page.
    let mut page = registry.page(after, count + 1);
    let more = page.len() > count;
    page.truncate(count);
    let mut answer = json_answer(StatusCode::OK, &page.iter().map(|device| device.twin_to_json()).collect());
    answer.headers_mut().insert("x-ms-item-type", HeaderValue::from_static("Twin"));
    if let (true, Some(last)) = (more, page.last())
        && let Ok(token) = HeaderValue::from_str(&BASE64URL_NOPAD.encode(last.id.as_bytes()))
    {
        answer.headers_mut().insert("x-ms-continuation", token);
    }
    answer
}

/// `GET` lists the rules, `POST` adds one or an array of them, `DELETE` lifts all.
fn faults_answer(faults: &Faults, method: &Method, body: &[u8]) -> Answer {
    let rules = || match serde_json::from_slice(body)? {
        many @ Value::Array(_) => serde_json::from_value::<Vec<Rule>>(many),
        one => serde_json::from_value(one).map(|rule| vec![rule]),
    };
    match method.as_str() {
        "GET" => {}
        "DELETE" => faults.clear(),
        "POST" => match rules() {
            Ok(rules) => rules.into_iter().for_each(|rule| faults.add(rule)),
            Err(error) => return Refusal::argument(error.to_string()).answer(),
        },
        _ => return Refusal::not_supported().answer(),
    }
    json_answer(StatusCode::OK, &json!(faults.list()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_split_first_and_decoded_once() {
        let device = |id: &str| Target::Device(id.into());
        for (path, target) in [
            ("/devices", Target::Devices),
            ("/devices/", Target::Devices),
            ("/devices/query", device("query")),
            ("/devices/dev1", device("dev1")),
            ("/devices/a%20b-.%2B%25_%23%2A%3F%21%28%29%2C%3D%40%24%27%3A", device("a b-.+%_#*?!(),=@$':")),
            ("/devices/a%20b-.%2B%25_%23*%3F!()%2C%3D%40%24'%3A", device("a b-.+%_#*?!(),=@$':")),
            ("/devices/a%2Fb", device("a/b")),
            ("/devices/%2520", device("%20")),
            ("/devices/%FF", Target::Unknown),
            ("/devices/dev1/modules/m1", Target::Unknown),
            ("/devices/dev1/messages/events", Target::Events("dev1".into())),
            ("/twins/dev1", Target::Twin("dev1".into())),
            ("/twins/dev1/methods", Target::Unknown),
            ("/", Target::Unknown),
        ] {
            assert_eq!(Target::parse(&Method::GET, path), target, "{path}");
        }
        assert_eq!(Target::parse(&Method::POST, "/devices/query"), Target::Query);
    }

    #[test]
    fn exactly_the_supported_calls_have_a_need() {
        let paths: std::collections::BTreeSet<&str> = SUPPORTED.iter().map(|(_, path, _)| *path).collect();
        for path in paths.into_iter().chain(["/", "/devices/{id}/modules", "/twins/{id}/methods", "/jobs/v2/{id}"]) {
            for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
                let listed = SUPPORTED.iter().any(|(one, at, _)| (*one, *at) == (method, path));
                let method = method.parse().expect("a method");
                // `query` is a device's id, too, except to POST.
                let listed = listed || path == "/devices/query" && [Method::GET, Method::PUT, Method::DELETE].contains(&method);
                let target = Target::parse(&method, &path.replace("{id}", "dev1"));
                assert_eq!(target.need(&method).is_some(), listed, "{method} {path}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_id_comes_through_its_encoding(id in ".{1,40}") {
            let path = format!("/devices/{}", percent_encoding::utf8_percent_encode(&id, percent_encoding::NON_ALPHANUMERIC));
            proptest::prop_assert_eq!(Target::parse(&Method::GET, &path), Target::Device(id));
        }

        #[test]
        fn no_address_query_or_condition_is_too_strange(text in ".{0,60}") {
            Target::parse(&Method::GET, &text);
            let _ = (parameter(&text, "top"), check_version(Some(&text)).is_ok(), IfMatch::parse(&text));
        }
    }

    #[test]
    fn versions_are_dates_from_2016_on() {
        for version in ["2016-02-03", "2018-06-30", "2020-05-31-preview", "2021-04-12"] {
            assert!(check_version(Some(version)).is_ok(), "{version}");
        }
        for version in
            [None, Some(""), Some("2016-02-02"), Some("2021-4-12"), Some("2021-13-01"), Some("latest"), Some("2021-04-12x")]
        {
            assert_eq!(check_version(version).expect_err("is refused").kind.number, 400_001, "{version:?}");
        }
    }

    #[test]
    fn if_match_takes_stars_and_etags_quoted_or_not() {
        for text in ["*", "\"*\"", " * "] {
            assert_eq!(IfMatch::parse(text), IfMatch::Any, "{text}");
        }
        for text in ["MA==", "\"MA==\"", "W/\"MA==\""] {
            assert!(IfMatch::parse(text).holds("MA==") && !IfMatch::parse(text).holds("MQ=="), "{text}");
        }
    }
}
