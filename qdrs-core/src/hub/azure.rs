//! Azure IoT Hub's own REST API, `api-version` 2021-04-12; the emulator speaks the same.
//!
//! One call for each thing asked, and no second try of what may have had an effect: see [`super`]. What the answers mean
//! stands in `answer`; here is how they are asked for, and which failures of the connection mean that nothing was sent.
//!
//! Holds always: the owner's key and the tokens made of it are in no log and no error; a device's keys leave this file
//! only in a request's body, which is wiped once it is sent.
//! Source: Azure IoT Hub, "Device identity registry" and "Bulk registry operations"; its throttle as seen on a live hub.

use std::{
    fmt, iter,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, IF_MATCH},
};
use reqwest::Url;
use serde::Serialize;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{
    Denial, Hub, HubError, Identity, NewIdentity,
    answer::{self, Answer},
    denial::{Refused, Right},
    host::{self, DeviceHost, DeviceHostError},
};
use crate::{
    Boxed,
    api::Code,
    connection_string::{DeviceKey, OwnerConnectionString},
    explain::Explain,
    sas,
    wire::{self, BadCa, Failure},
};

/// The version of the API that every call names.
pub const API_VERSION: &str = "2021-04-12";

/// How long one call may take. A hub at its limit queues calls for tens of seconds before it answers 429, so less than
/// a minute would make clear refusals unclear.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(75);

/// How often a call is repeated when the hub says that there is no such hub, which passes within seconds when it is untrue.
const NO_HUB_REPEATS: usize = 4;

/// The wait before the first of these repeats; each further one is twice as long.
const NO_HUB_WAIT: Duration = Duration::from_millis(250);

/// How long a token is good for; it is renewed at half of it, so that a clock some minutes off does no harm.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// The longest answer that is read; an identity has about one KiB.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The code of the only warning that a bulk call is known to give: the identity is made, its tags are not.
const WITHOUT_TWIN: &str = "DeviceRegisteredWithoutTwin";

/// One IoT Hub, with one owner connection string. Cheap to share behind an `Arc`, not to make: it keeps connections.
pub struct AzureHub {
    http: reqwest::Client,
    base: Url,
    owner: OwnerConnectionString,
    token: Mutex<Option<Token>>,
    call_timeout: Duration,
    no_hub_wait: Duration,
    device_host: String,
}

/// A token made before, good for many calls.
struct Token {
    header: HeaderValue,
    made_unix: u64,
}

/// Why a hub can't even be asked.
#[derive(Debug, thiserror::Error)]
pub enum HubSetupError {
    /// Most often a connection string that was cut or mistyped.
    #[error("`{host_name}` in the hub owner connection string is no host name")]
    HostName {
        /// As given.
        host_name: String,
    },
    /// Keys would cross the network in clear.
    #[error("the hub's address `{url}` is not https, and plain http is only for this very computer")]
    NotPrivate {
        /// As given.
        url: String,
    },
    /// The file is not PEM, or holds no certificate.
    #[error("the CA file for the hub can't be used: {why}")]
    Ca {
        /// What is wrong with it.
        why: String,
    },
    /// The setting of the name that devices get.
    #[error("`device_host`: {0}")]
    DeviceHost(#[from] DeviceHostError),
    /// Most often a machine without any trusted certificate.
    #[error("no HTTP client can be made: {why}")]
    Client {
        /// What it says.
        why: String,
    },
}

impl Explain for HubSetupError {
    fn code(&self) -> Code {
        Code::SettingInvalid
    }

    fn help(&self) -> String {
        match self {
            Self::HostName { .. } => "copy the whole hub owner connection string from the hub's \"Shared access policies\"",
            Self::NotPrivate { .. } => "use https, or an emulator on localhost",
            Self::Ca { .. } => "give a PEM file with the certificate of the CA",
            Self::DeviceHost(_) => "write `classic`, `device`, or the full name that devices reach the hub by",
            Self::Client { .. } => "install the system's CA certificates, or give a CA file",
        }
        .to_owned()
    }
}

/// One entry of a bulk call.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    id: &'a str,
    import_mode: &'static str,
    status: &'static str,
    authentication: Authentication<'a>,
    #[serde(skip_serializing_if = "Value::is_null")]
    tags: &'a Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Authentication<'a> {
    r#type: &'static str,
    symmetric_key: SymmetricKey<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SymmetricKey<'a> {
    primary_key: &'a str,
    secondary_key: &'a str,
}

impl<'a> Authentication<'a> {
    fn new(primary_key: &'a str, secondary_key: &'a str) -> Self {
        Self { r#type: "sas", symmetric_key: SymmetricKey { primary_key, secondary_key } }
    }
}

/// An identity as it is sent back: all that was read, but new keys.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Update<'a> {
    #[serde(flatten)]
    rest: &'a Map<String, Value>,
    device_id: &'a str,
    authentication: Authentication<'a>,
}

impl AzureHub {
    /// A hub of that owner; nothing is sent yet. `base` is where to connect when it is not `https://` and the host name
    /// of the connection string: an emulator, in clear only on this computer. `extra_ca_pem` is trusted besides what
    /// the system trusts.
    ///
    /// # Errors
    /// When the address or the CA can't be used.
    pub fn new(owner: OwnerConnectionString, base: Option<Url>, extra_ca_pem: Option<&[u8]>) -> Result<Self, HubSetupError> {
        let base = match base {
            Some(base) => base,
            None => host_url(&owner.host_name).ok_or_else(|| HubSetupError::HostName { host_name: owner.host_name.clone() })?,
        };
        if !wire::is_private(&base) {
            return Err(HubSetupError::NotPrivate { url: base.to_string() });
        }
        let http = wire::client(&base, extra_ca_pem)
            .map_err(|BadCa(why)| HubSetupError::Ca { why })?
            .user_agent(concat!("qdrs/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| HubSetupError::Client { why: error.to_string() })?;
        let device_host = host::identity(&owner.host_name);
        Ok(Self { http, base, device_host, owner, token: Mutex::new(None), call_timeout: CALL_TIMEOUT, no_hub_wait: NO_HUB_WAIT })
    }

    /// Gives devices another of the hub's names than the classic one.
    ///
    /// # Errors
    /// When the hub has no such name, or devices can't use it.
    pub fn with_device_host(mut self, which: &DeviceHost) -> Result<Self, HubSetupError> {
        self.device_host = host::for_devices(&self.owner.host_name, which)?;
        Ok(self)
    }

    /// For tests, which do not wait a minute.
    #[cfg(test)]
    pub(super) fn with_call_timeout(mut self, call_timeout: Duration) -> Self {
        self.call_timeout = call_timeout;
        self
    }

    /// For tests, which do not wait between repeats.
    #[cfg(test)]
    pub(super) fn with_no_hub_wait(mut self, no_hub_wait: Duration) -> Self {
        self.no_hub_wait = no_hub_wait;
        self
    }

    #[cfg(test)]
    pub(super) fn has_token(&self) -> bool {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The header that shows who calls. One signature serves many calls.
    fn authorization(&self) -> HeaderValue {
        self.authorization_at(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs())
    }

    /// The clock is a parameter.
    pub(super) fn authorization_at(&self, now: u64) -> HeaderValue {
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        match &*token {
            // A clock that was set back counts as half a life passed.
            Some(token) if (token.made_unix..token.made_unix + TOKEN_LIFE.as_secs() / 2).contains(&now) => token.header.clone(),
            _ => {
                let header = self.signed(now);
                *token = Some(Token { header: header.clone(), made_unix: now });
                header
            }
        }
    }

    fn signed(&self, now_unix: u64) -> HeaderValue {
        let expires = i64::try_from(now_unix + TOKEN_LIFE.as_secs()).unwrap_or(i64::MAX);
        let token = sas::token(&self.owner.host_name, self.owner.key(), expires, Some(&self.owner.key_name));
        // A policy's name that fits no header fits no hub either: it is refused as an empty token is.
        let mut header = HeaderValue::from_str(&token).unwrap_or_else(|_| HeaderValue::from_static(""));
        header.set_sensitive(true);
        header
    }

    /// After a 401 the next call signs anew: the clock may have been wrong when this one was made.
    fn forget_token(&self, used: &HeaderValue) {
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if token.as_ref().is_some_and(|token| token.header == used) {
            *token = None;
        }
    }

    /// The address of a device; none when no URL can name it.
    fn device_url(&self, device_id: &str) -> Result<Url, HubError> {
        let segment = wire::segment(device_id).ok_or_else(|| HubError::Rejected {
            code: "ArgumentInvalid".to_owned(),
            text: format!("no address can name the device `{device_id}`"),
        })?;
        Ok(self.url(&format!("/devices/{segment}")))
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let path = format!("{}{path}", self.base.path().trim_end_matches('/'));
        url.set_path(&path);
        url.set_query(Some(&format!("api-version={API_VERSION}")));
        url
    }

    /// One call: sends, and reads the whole answer. Sends again while the hub says that there is no such hub.
    ///
    /// # Errors
    /// As [`Self::send`].
    async fn call(&self, method: Method, url: Url, if_match: Option<&str>, body: Option<Bytes>) -> Result<Answer, HubError> {
        for wait in iter::successors(Some(self.no_hub_wait), |wait| wait.checked_mul(2)).take(NO_HUB_REPEATS) {
            let answer = self.send(method.clone(), url.clone(), if_match, body.clone()).await?;
            if !answer::is_no_hub(&answer) {
                return Ok(answer);
            }
            tracing::info!(%method, wait_ms = wait.as_millis(), "the hub says that there is no such hub; asking again");
            tokio::time::sleep(wait).await;
        }
        self.send(method, url, if_match, body).await
    }

    /// Sends once, and reads the whole answer.
    ///
    /// # Errors
    /// [`HubError::Unreachable`] and [`HubError::Untrusted`] only when not a byte was sent, else [`HubError::Unclear`].
    async fn send(&self, method: Method, url: Url, if_match: Option<&str>, body: Option<Bytes>) -> Result<Answer, HubError> {
        let authorization = self.authorization();
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization.clone());
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(etag) = if_match {
            headers.insert(IF_MATCH, condition(etag)?);
        }
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        }
        let mut request = self.http.request(method.clone(), url).headers(headers).timeout(self.call_timeout);
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.map_err(|error| failure(error.into(), self.call_timeout))?;
        let status = response.status().as_u16();
        let error_code = response.headers().get("iothub-errorcode").and_then(|code| code.to_str().ok()).map(str::to_owned);
        let now = jiff::Timestamp::now();
        let (retry_after, ahead_s) = (wire::retry_after(response.headers(), now), wire::ahead_of_date(response.headers(), now));
        if status == 401 {
            self.forget_token(&authorization);
        }
        // The status and the header may say enough without the body; whoever needs it says so.
        let body = wire::body(response, ANSWER_BYTES_MAX).await.ok();
        tracing::debug!(%method, status, error_code, "the hub answers");
        Ok(Answer { status, error_code, retry_after, ahead_s, body })
    }

    /// What a refusal means, with the hub's name and the policy's in it. A write that is refused without a reason is held
    /// against a read: a hub that takes the key for one refuses the other for want of a right.
    async fn explained(&self, error: HubError, right: Right, answer: &Answer) -> HubError {
        let HubError::Denied { why, text } = error else { return error };
        let (host, policy) = (&*self.owner.host_name, &*self.owner.key_name);
        let refused = Refused { host, policy, right, ahead_s: answer.ahead_s };
        let mut why = refused.settle(why);
        if why == Denial::Credential && right == Right::Write && self.may_read().await {
            why = Denial::Right;
        }
        HubError::Denied { why, text: refused.sentence(why, &text) }
    }

    /// Whether the hub takes the key for a read that shows no device.
    async fn may_read(&self) -> bool {
        self.send(Method::GET, self.url("/statistics/devices"), None, None).await.is_ok_and(|answer| answer.status == 200)
    }

    async fn create(&self, new: NewIdentity<'_>) -> Result<(), HubError> {
        // Also checks the name, which the path of this call does not hold: it must be readable later.
        self.device_url(new.device_id)?;
        let (primary, secondary) = (new.primary.to_base64(), new.secondary.to_base64());
        let authentication = Authentication::new(&primary, &secondary);
        let entry = Entry { id: new.device_id, import_mode: "create", status: "enabled", authentication, tags: &new.tags };
        let answer = self.call(Method::POST, self.url("/devices"), None, Some(secret_json(&[entry])?)).await?;
        let warnings = match answer::bulk_of_one(&answer, new.device_id, &[&primary, &secondary]) {
            Ok(warnings) => warnings,
            Err(error) => return Err(self.explained(error, Right::Write, &answer).await),
        };
        for warning in warnings {
            if warning.starts_with(WITHOUT_TWIN) {
                tracing::warn!(device_id = new.device_id, warning, "the device is made, but its tags are not set");
            } else {
                tracing::warn!(device_id = new.device_id, warning, "the hub made the device and warns");
            }
        }
        Ok(())
    }

    async fn read(&self, device_id: &str) -> Result<Option<Identity>, HubError> {
        let answer = self.call(Method::GET, self.device_url(device_id)?, None, None).await?;
        if answer.status == 200 {
            return answer::identity(&answer, device_id).map(Some);
        }
        match answer::refusal(&answer, &[]) {
            HubError::NotFound => Ok(None),
            error => Err(self.explained(error, Right::Read, &answer).await),
        }
    }

    async fn replace_keys(&self, identity: &Identity, primary: &DeviceKey, secondary: &DeviceKey) -> Result<(), HubError> {
        let url = self.device_url(&identity.device_id)?;
        let (primary, secondary) = (primary.to_base64(), secondary.to_base64());
        let mut rest = identity.rest.clone();
        rest.remove("deviceId");
        rest.remove("authentication");
        let authentication = Authentication::new(&primary, &secondary);
        let body = secret_json(&Update { rest: &rest, device_id: &identity.device_id, authentication })?;
        let answer = self.call(Method::PUT, url, Some(&identity.etag), Some(body)).await?;
        if answer.status == 200 {
            return Ok(());
        }
        Err(self.explained(answer::refusal(&answer, &[&primary, &secondary]), Right::Write, &answer).await)
    }

    async fn delete(&self, identity: &Identity) -> Result<(), HubError> {
        let answer = self.call(Method::DELETE, self.device_url(&identity.device_id)?, Some(&identity.etag), None).await?;
        if matches!(answer.status, 200 | 204) {
            return Ok(());
        }
        Err(self.explained(answer::refusal(&answer, &[]), Right::Write, &answer).await)
    }
}

impl Hub for AzureHub {
    fn host_name(&self) -> &str {
        &self.owner.host_name
    }

    fn device_host(&self) -> String {
        self.device_host.clone()
    }

    fn create<'a>(&'a self, new: NewIdentity<'a>) -> Boxed<'a, Result<(), HubError>> {
        Box::pin(self.create(new))
    }

    fn read<'a>(&'a self, device_id: &'a str) -> Boxed<'a, Result<Option<Identity>, HubError>> {
        Box::pin(self.read(device_id))
    }

    fn replace_keys<'a>(
        &'a self,
        identity: &'a Identity,
        primary: &'a DeviceKey,
        secondary: &'a DeviceKey,
    ) -> Boxed<'a, Result<(), HubError>> {
        Box::pin(self.replace_keys(identity, primary, secondary))
    }

    fn delete<'a>(&'a self, identity: &'a Identity) -> Boxed<'a, Result<(), HubError>> {
        Box::pin(self.delete(identity))
    }
}

impl fmt::Debug for AzureHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureHub")
            .field("host_name", &self.owner.host_name)
            .field("base", &self.base.as_str())
            .finish_non_exhaustive()
    }
}

/// `https://` and the host of a connection string, whose parser has let nothing pass that could be another part of a URL.
fn host_url(host_name: &str) -> Option<Url> {
    Url::parse(&format!("https://{host_name}/")).ok()
}

/// `If-Match` for exactly that version; never for any.
fn condition(etag: &str) -> Result<HeaderValue, HubError> {
    Some(etag)
        .filter(|etag| answer::is_etag(etag))
        .and_then(|etag| HeaderValue::from_str(&format!("\"{etag}\"")).ok())
        .ok_or_else(|| HubError::Unreachable { why: "the identity has no ETag to go by, so nothing was sent".to_owned() })
}

/// JSON in memory that is wiped once it is sent.
fn secret_json<T: Serialize>(value: &T) -> Result<Bytes, HubError> {
    let mut json = Zeroizing::new(Vec::with_capacity(4096));
    serde_json::to_writer(&mut *json, value)
        .map_err(|error| HubError::Unreachable { why: format!("nothing was sent: {error}") })?;
    Ok(Bytes::from_owner(json))
}

fn failure(failure: Failure, call_timeout: Duration) -> HubError {
    match failure {
        Failure::NotSent(why) => HubError::Unreachable { why },
        Failure::Untrusted { why, clock: false } => HubError::Untrusted { why },
        Failure::Untrusted { why, clock: true } => {
            HubError::Untrusted { why: format!("{why}; the service's clock says {}", jiff::Timestamp::now()) }
        }
        Failure::TimedOut => HubError::Unclear { why: format!("no answer within {} s", call_timeout.as_secs()) },
        Failure::Broken(why) => HubError::Unclear { why },
    }
}
