//! The service's client: what a station, or a product that registers itself, asks of `/v1`.
//!
//! Knows no journal and no device. Asks again by itself as long as that can help and its patience lasts: each try is
//! signed anew, and all tries of a job carry the same `Idempotency-Key`, so a lost answer costs nothing. The caller
//! keeps that key before it asks the first time.
//!
//! Holds always: nothing goes out but over TLS, or in clear to this very computer; the access code itself is never
//! sent; a credential is handed out only after it was opened and found to be for this job, device and hub.
//! Source: RFC 9421 (signatures), RFC 9457 (problems), DESIGN "Standards, not inventions".

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use reqwest::Url;
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    access::{AccessCode, SealContext, seal, sign},
    api::{
        AccessInfo, Code, ConfirmRequest, Confirmation, PolicyText, Problem, RegisterRequest, Registration, ReleaseRequest,
        Released, Releases, SerialStatus,
    },
    connection_string::DeviceConnectionString,
    hub::Backoff,
    wire::{self, BadCa, BodyError, Failure},
};

mod answer;
mod error;
#[cfg(test)]
mod tests;

use answer::Verdict;
pub use error::ClientError;

/// The longest answer that is read, in bytes; the longest of the protocol has about two KiB.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How often one call may correct the clock; a second time only if the clock was set meanwhile.
const CLOCK_CORRECTIONS_MAX: u32 = 2;

/// A correction this near to the one already told is not told again, in seconds.
const CLOCK_TOLD_SECONDS: i64 = 30;

/// How to reach the service, and as whom.
pub struct ClientOptions {
    /// The service's address; a path before `/v1` is kept.
    pub service: Url,
    /// Who calls.
    pub code: AccessCode,
    /// A CA to trust besides what the system trusts, as PEM.
    pub ca_file_pem: Option<Vec<u8>>,
    /// How long one call may go on asking again; zero means one try. A try that is under way is not cut short.
    pub patience: Duration,
    /// Name and version of the program.
    pub user_agent: String,
}

/// What a call tells while it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A try failed, and the next one comes later.
    Waiting {
        /// What failed, for a person.
        why: String,
        /// Until the next try, rounded up.
        seconds: u64,
    },
    /// This computer's clock and the service's differ; it is corrected in memory. Told once; [`clock_sentence`] words it.
    ClockCorrected {
        /// What is added to this computer's time.
        seconds: i64,
    },
}

/// A registration, opened.
#[derive(Debug, Clone)]
pub struct Registered {
    /// As the service answered: still sealed, fit for the journal.
    pub registration: Registration,
    /// What the device is to hold.
    pub credential: DeviceConnectionString,
    /// Did the service repeat an earlier answer to this job?
    pub repeated: bool,
}

/// The service, as one access code sees it. Clones share connections, clock correction and the callback.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    http: reqwest::Client,
    base: Url,
    code: AccessCode,
    patience: Duration,
    pace: Pace,
    clock: Mutex<Clock>,
    on_event: Mutex<Option<Callback>>,
}

type Callback = Arc<dyn Fn(Event) + Send + Sync>;

/// How long things take.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// One try. The service answers a PUT after 25 s at the latest.
    try_timeout: Duration,
    wait_first: Duration,
    wait_max: Duration,
}

impl Pace {
    const USUAL: Self =
        Self { try_timeout: Duration::from_secs(40), wait_first: Duration::from_millis(500), wait_max: Duration::from_secs(15) };
}

/// What is known of this computer's clock, in seconds.
#[derive(Debug, Default)]
struct Clock {
    /// Added to what it says.
    offset: i64,
    told: Option<i64>,
}

/// One call, the same in every try.
struct Call<'a> {
    method: Method,
    path: String,
    query: Option<String>,
    job: Option<&'a str>,
    body: Bytes,
}

impl Client {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// When the address is not private or the CA can't be used.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        Self::with_pace(options, Pace::USUAL)
    }

    fn with_pace(options: ClientOptions, pace: Pace) -> Result<Self, ClientError> {
        let ClientOptions { service: mut base, code, ca_file_pem, patience, user_agent } = options;
        let setting = |why: String| ClientError::Setting { why };
        if !base.username().is_empty() || base.password().is_some() {
            return Err(setting("the service's URL holds a user name or password, and QDRS uses none".to_owned()));
        }
        if !wire::is_private(&base) {
            return Err(setting(format!("the service's URL `{base}` is not https; plain http is only for this very computer")));
        }
        base.set_query(None);
        base.set_fragment(None);
        let http = wire::client(&base, ca_file_pem.as_deref())
            .map_err(|BadCa(why)| setting(format!("the CA file can't be used: {why}")))?
            .user_agent(user_agent)
            .timeout(pace.try_timeout)
            .build()
            .map_err(|error| setting(format!("no HTTP client can be made: {}", Failure::text(error))))?;
        let inner = Inner { http, base, code, patience, pace, clock: Mutex::default(), on_event: Mutex::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whom to tell while calls go on; replaces whoever was told before. Called on the task of the call, so it must
    /// not block.
    pub fn on_event(&self, callback: impl Fn(Event) + Send + Sync + 'static) {
        *self.inner.on_event.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(callback));
    }

    /// The access code that signs.
    pub fn code(&self) -> &AccessCode {
        &self.inner.code
    }

    /// The service's address.
    pub fn service(&self) -> &Url {
        &self.inner.base
    }

    /// Registers a serial, or repeats the answer of the same job. The credential is sealed to the access code.
    ///
    /// # Errors
    /// What the service refuses, what keeps it from answering, and a credential that is not for this job.
    pub async fn register(&self, serial: &str, job: Uuid, request: &RegisterRequest) -> Result<Registered, ClientError> {
        let (status, registration): (_, Registration) = self.put(device_path(serial, "")?, job, request).await?;
        let credential = open_registration(&self.inner.code, serial, job, &registration)?;
        Ok(Registered { registration, credential, repeated: status != StatusCode::CREATED })
    }

    /// Claims that a device holds the credential. `job` is this confirmation's own key, not the registration's.
    ///
    /// # Errors
    /// What the service refuses, and what keeps it from answering.
    pub async fn confirm(&self, serial: &str, job: Uuid, request: &ConfirmRequest) -> Result<Confirmation, ClientError> {
        self.put(device_path(serial, "/confirmation")?, job, request).await.map(|(_, confirmation)| confirmation)
    }

    /// Gives a registration up. `job` is this request's own key; the reservation is what makes a repeat harmless.
    ///
    /// # Errors
    /// What the service refuses, and what keeps it from answering.
    pub async fn release(&self, serial: &str, job: Uuid, request: &ReleaseRequest) -> Result<Released, ClientError> {
        self.put(device_path(serial, "/release")?, job, request).await.map(|(_, released)| released)
    }

    /// Which registrations of this access code are dead, those that died after `after` (0, or an answer's `next`).
    ///
    /// # Errors
    /// What the service refuses, and what keeps it from answering.
    pub async fn releases(&self, after: u64) -> Result<Releases, ClientError> {
        self.get("/v1/releases".to_owned(), Some(format!("after={after}"))).await
    }

    /// What the service knows of a serial.
    ///
    /// # Errors
    /// What the service refuses, and what keeps it from answering.
    pub async fn status(&self, serial: &str) -> Result<SerialStatus, ClientError> {
        self.get(device_path(serial, "")?, None).await
    }

    /// The policy that the access code's serials must follow, as far as a station may have it.
    ///
    /// # Errors
    /// What the service refuses, and what keeps it from answering.
    pub async fn policy(&self) -> Result<PolicyText, ClientError> {
        self.get("/v1/policy".to_owned(), None).await
    }

    /// Who the access code is, and what is left of it.
    ///
    /// # Errors
    /// What the service refuses, and what keeps it from answering.
    pub async fn access(&self) -> Result<AccessInfo, ClientError> {
        self.get("/v1/access".to_owned(), None).await
    }

    /// The same, and how many registrations that journal has made.
    ///
    /// # Errors
    /// What the service refuses, and what keeps it from answering.
    pub async fn access_of(&self, journal: Uuid) -> Result<AccessInfo, ClientError> {
        self.get("/v1/access".to_owned(), Some(format!("journal={journal}"))).await
    }

    async fn put<T: DeserializeOwned>(
        &self,
        path: String,
        job: Uuid,
        body: &impl Serialize,
    ) -> Result<(StatusCode, T), ClientError> {
        let body = serde_json::to_vec(body)
            .map_err(|error| ClientError::Setting { why: format!("the request can't be written: {error}") })?;
        // A structured-field string: with its quotes, also in what is signed.
        let job = format!("\"{job}\"");
        let call = Call { method: Method::PUT, path, query: None, job: Some(&job), body: Bytes::from(body) };
        let (status, body) = self.ask(&call).await?;
        Ok((status, answer::read(&body)?))
    }

    async fn get<T: DeserializeOwned>(&self, path: String, query: Option<String>) -> Result<T, ClientError> {
        let call = Call { method: Method::GET, path, query, job: None, body: Bytes::new() };
        let (_, body) = self.ask(&call).await?;
        answer::read(&body)
    }

    /// Tries until there is an answer, a refusal, or no patience left.
    async fn ask(&self, call: &Call<'_>) -> Result<(StatusCode, Zeroizing<Vec<u8>>), ClientError> {
        let inner = &*self.inner;
        let mut backoff = Backoff::new(inner.pace.wait_first, inner.pace.wait_max, Some(inner.patience));
        let mut corrections = 0;
        loop {
            let (error, at_least) = match self.try_once(call).await {
                Verdict::Done(status, body) => return Ok((status, body)),
                Verdict::Over(error) => return Err(error),
                Verdict::Skewed { server_unix, error } => {
                    corrections += 1;
                    if corrections > CLOCK_CORRECTIONS_MAX || !self.correct_clock(server_unix) {
                        return Err(error);
                    }
                    continue;
                }
                Verdict::Again { error, at_least } => (error, at_least),
            };
            let Some(wait) = backoff.next(at_least) else { return Err(error) };
            self.tell(Event::Waiting {
                why: error.to_string(),
                seconds: wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX),
            });
            tokio::time::sleep(wait).await;
        }
    }

    /// One try: signs, sends, and says what the answer means.
    async fn try_once(&self, call: &Call<'_>) -> Verdict {
        let inner = &*self.inner;
        let mut url = inner.base.clone();
        url.set_path(&format!("{}{}", inner.base.path().trim_end_matches('/'), call.path));
        url.set_query(call.query.as_deref());
        // What is signed is what the URL really holds: it is sent as it stands.
        let request = sign::Request {
            method: call.method.as_str(),
            path: url.path(),
            query: url.query(),
            idempotency_key: call.job,
            body: &call.body,
        };
        let signed = sign::sign(&inner.code, &request, self.now_unix());
        let mut headers = HeaderMap::new();
        let values = [
            (HeaderName::from_static("content-digest"), signed.content_digest.as_str()),
            (HeaderName::from_static("signature-input"), signed.signature_input.as_str()),
            (HeaderName::from_static("signature"), signed.signature.as_str()),
        ];
        let job = call.job.map(|job| (HeaderName::from_static("idempotency-key"), job));
        for (name, value) in values.into_iter().chain(job) {
            match HeaderValue::from_str(value) {
                Ok(value) => headers.insert(name, value),
                Err(error) => {
                    return Verdict::Over(ClientError::Setting { why: format!("the request can't be signed: {error}") });
                }
            };
        }
        let target = sign::Target {
            method: request.method.to_owned(),
            path: request.path.to_owned(),
            query: request.query.map(str::to_owned),
        };
        // Only a hint for a service behind a proxy: without it, it can't say what the proxy changed.
        if let Ok(target) = HeaderValue::from_str(&target.to_string()) {
            headers.insert(sign::SIGNED_TARGET, target);
        }
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, application/problem+json"));
        let mut sending = inner.http.request(call.method.clone(), url).headers(headers);
        if !call.body.is_empty() {
            sending = sending.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(call.body.clone());
        }
        let response = match sending.send().await {
            Ok(response) => response,
            Err(error) => return self.failed(error.into()),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        match wire::body(response, ANSWER_BYTES_MAX).await {
            Ok(body) => answer::judge(&self.name(), status, &headers, body),
            Err(BodyError::TooLong) => {
                Verdict::Over(ClientError::Answer { why: format!("it is longer than {ANSWER_BYTES_MAX} bytes") })
            }
            // A lost answer is asked for again, whatever its status line said.
            Err(BodyError::Failed(failure)) => self.failed(failure),
        }
    }

    fn failed(&self, failure: Failure) -> Verdict {
        let service = self.name();
        let why = match failure {
            Failure::Untrusted { why, clock } => return Verdict::Over(ClientError::Untrusted { service, why, clock }),
            Failure::NotSent(why) => why,
            Failure::TimedOut => format!("no answer within {} s", self.inner.pace.try_timeout.as_secs()),
            Failure::Broken(why) => format!("the connection broke: {why}"),
        };
        Verdict::Again { error: ClientError::Unreachable { service, why }, at_least: None }
    }

    /// The service's name for a person.
    fn name(&self) -> String {
        self.inner.base.as_str().trim_end_matches('/').to_owned()
    }

    /// The time as the service has it, as far as known.
    fn now_unix(&self) -> i64 {
        clock_unix().saturating_add(self.inner.clock.lock().unwrap_or_else(PoisonError::into_inner).offset)
    }

    /// Takes the service's time for the right one; false when it can't be believed.
    fn correct_clock(&self, server_unix: i64) -> bool {
        // Nobody between could have said it: over TLS, or on this computer.
        if !wire::is_private(&self.inner.base) {
            return false;
        }
        let offset = server_unix.saturating_sub(clock_unix());
        let tell = {
            let mut clock = self.inner.clock.lock().unwrap_or_else(PoisonError::into_inner);
            clock.offset = offset;
            let tell = clock.told.is_none_or(|told| told.abs_diff(offset) > CLOCK_TOLD_SECONDS.unsigned_abs());
            if tell {
                clock.told = Some(offset);
            }
            tell
        };
        if tell {
            self.tell(Event::ClockCorrected { seconds: offset });
        }
        true
    }

    fn tell(&self, event: Event) {
        // Cloned out, so that the callback may set another one.
        let callback = self.inner.on_event.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(callback) = callback {
            callback(event);
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("service", &self.inner.base.as_str())
            .field("key_id", &self.inner.code.key_id())
            .finish_non_exhaustive()
    }
}

/// Opens a registration, now or out of the journal, and checks that it is what this job asked for.
///
/// # Errors
/// When it is not sealed to this code for this serial, job and reservation, or holds another device's or hub's credential.
pub fn open_registration(
    code: &AccessCode,
    serial: &str,
    job: Uuid,
    registration: &Registration,
) -> Result<DeviceConnectionString, ClientError> {
    let broken = |why: String| ClientError::Seal { why };
    let job = job.to_string();
    let context = SealContext { key_id: code.key_id(), serial, idempotency_key: &job, reservation: registration.reservation };
    let opened = seal::open(code.opening_key(), &context, &registration.sealed).map_err(|error| broken(error.to_string()))?;
    // The causes are not told: they could repeat a part of what was opened.
    let text = std::str::from_utf8(&opened).map_err(|_| broken("what was sealed is no text".to_owned()))?;
    let credential =
        DeviceConnectionString::parse(text).map_err(|_| broken("what was sealed is no device connection string".to_owned()))?;
    if credential.device_id != registration.device_id {
        return Err(broken(format!("it is for the device `{}`, not `{}`", credential.device_id, registration.device_id)));
    }
    if !credential.host_name.eq_ignore_ascii_case(&registration.hub) {
        return Err(broken(format!("it is for the hub `{}`, not `{}`", credential.host_name, registration.hub)));
    }
    if registration.serial.is_empty() {
        return Err(broken("the service names no serial".to_owned()));
    }
    Ok(credential)
}

/// The path of a serial; its bytes are one segment, whatever they are.
fn device_path(serial: &str, rest: &str) -> Result<String, ClientError> {
    let segment = wire::segment(serial).ok_or_else(|| {
        let detail = if serial.is_empty() {
            "the serial is empty".to_owned()
        } else {
            format!("`{serial}` can't be a serial: no address can hold it")
        };
        ClientError::Refused(Box::new(Problem::new(Code::SerialInvalid, detail)))
    })?;
    Ok(format!("/v1/devices/{segment}{rest}"))
}

/// [`Event::ClockCorrected`] for a person. Which of the two clocks is wrong can't be known here.
pub fn clock_sentence(seconds: i64) -> String {
    let side = if seconds < 0 { "ahead of" } else { "behind" };
    let apart = seconds.unsigned_abs();
    format!("this computer's clock is {apart} s {side} the service's; QDRS corrects it for itself, but set the one that is wrong")
}

/// What this computer's clock says, in seconds since 1970.
fn clock_unix() -> i64 {
    match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, i64::wrapping_neg),
    }
}
