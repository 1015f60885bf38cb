//! Who is calling: from a raw request to an access code that may do this, in the order of DESIGN 4.8.
//!
//! Size and address rate were checked before ([`super::router`]). Here: key id and times; then the signature over what
//! was really sent; then rate and state of the code. Nothing is charged to a code before its signature holds, and what
//! holds is not charged to its address.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{FromRequest as _, Request},
    http::StatusCode,
};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use qdrs_core::{
    access::sign::{Claim, SignatureError, idempotency_key_value},
    api::Code,
    serial::SERIAL_BYTES_MAX,
};
use tokio::sync::SemaphorePermit;

use super::{App, answer, body, origin::Origin, target::Arrived};
use crate::{
    ledger::Access,
    registrar::{Refusal, check_access},
};

/// A body that takes longer to arrive is given up.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Where serials stand in a path.
const DEVICES: &str = "/v1/devices/";

/// What the caller wants: a suspended or expired code may still confirm what it made, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Have a credential.
    Register,
    /// Say that a device holds one.
    Confirm,
    /// Give a registration up.
    Release,
    /// Hear where a serial stands, or who one is.
    Ask,
}

/// A caller whose signature holds and whose code may do this now.
#[derive(Debug)]
pub struct Caller {
    /// The access code.
    pub access: Access,
    /// The Idempotency-Key without its quotes; empty unless it is a PUT.
    pub job: String,
    /// The body that was signed.
    pub body: Bytes,
}

impl Caller {
    /// Reads the signed body as JSON.
    ///
    /// # Errors
    /// `bad-request`, with where the body is wrong and what belongs there.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Refusal> {
        body::read(&self.body).map_err(|why| self.refuse(answer::bad(Code::BadRequest, why)))
    }

    /// What this caller may hear of a refusal: a product's code can be found in the product, so it hears one word.
    pub fn refuse(&self, refusal: Refusal) -> Refusal {
        refusal.for_kind(self.access.kind)
    }
}

/// Reads the request and finds out who signed it.
///
/// # Errors
/// The refusal of the first check that fails.
pub async fn authenticate(app: &App, wish: Wish, request: Request) -> Result<Caller, Refusal> {
    let origin = Origin::of(&request);
    let caller = match (identify(app, &origin, request).await, origin.over) {
        (Ok(caller), _) => {
            origin.verified(app);
            caller
        }
        (Err(refusal), Some(wait)) if refusal.problem.status < 500 && refusal.code() != Some(Code::ClockSkew) => {
            return Err(answer::wait(Code::AddressRateLimited, wait));
        }
        // A clock that is wrong is corrected whatever the neighbours do; what failed here is no fault of the address.
        (Err(refusal), _) => return Err(refusal),
    };
    let access = &caller.access;
    // The rate first: a code that may do nothing is as much work as any other, and its address does not pay for it.
    app.gate.code(access.key_id, access.kind, access.rate_per_minute, origin.address).map_err(|(refused, wait)| {
        app.tallies.count(refused, &access.name);
        caller.refuse(answer::wait(Code::CodeRateLimited, wait))
    })?;
    check_access(access, wish == Wish::Confirm).map_err(|refusal| caller.refuse(refusal))?;
    origin.admitted(app, access.kind);
    Ok(caller)
}

/// Who signed the request. For an address over its rate the two steps that cost something, the ledger and the
/// signature, wait their turn.
async fn identify(app: &App, origin: &Origin, request: Request) -> Result<Caller, Refusal> {
    let (parts, body) = request.into_parts();
    // The address exactly as it was sent is what was signed: no decoder has touched `parts.uri`.
    let arrived = Arrived::new(&app.network.path_prefix, &parts);
    let claim = arrived.claim().map_err(|error| {
        let mut refusal = signature(&error);
        if matches!(error, SignatureError::Missing { .. }) && arrived.says_signed() {
            refusal.problem.detail.push_str(": the client signed it, so a proxy dropped the header on the way");
            "the owner has the proxy between station and service pass all headers on".clone_into(&mut refusal.problem.help);
        }
        refusal
    })?;
    let job = job_of(&claim)?;
    claim.check_times(Timestamp::now().as_second()).map_err(|error| signature(&error))?;
    // The body comes after the key id: nobody without one makes the service hold bodies.
    let waited = turn(app, origin).await?;
    let access = app.registrar.access(claim.key_id()).await?;
    drop(waited);
    let Some(access) = access else {
        return Err(answer::bad(Code::AccessCodeUnknown, format!("no access code has the key id {}", claim.key_id())));
    };
    let body = read_body(Request::from_parts(parts, body)).await?;
    let _waited = turn(app, origin).await?;
    // Why a signature does not fit is told to nobody who is sent away in any case.
    let explains = origin.over.is_none();
    arrived.verify(&claim, &access.keys.signing, &body, explains).map_err(|error| signature(&error))?;
    Ok(Caller { access, job, body })
}

/// Waits its turn when the address is over its rate.
async fn turn<'a>(app: &'a App, origin: &Origin) -> Result<Option<SemaphorePermit<'a>>, Refusal> {
    match origin.over {
        None => Ok(None),
        Some(_) => app.gate.turn().await.map(Some).map_err(|wait| answer::wait(Code::AddressRateLimited, wait)),
    }
}

fn signature(error: &SignatureError) -> Refusal {
    let mut refusal = answer::refuse(error);
    if matches!(error, SignatureError::ClockSkew { .. }) {
        refusal.problem.server_time = Some(Timestamp::now());
    }
    refusal
}

/// The Idempotency-Key without its quotes; empty unless it is a PUT, which always has one.
fn job_of(claim: &Claim) -> Result<String, Refusal> {
    let Some(header) = claim.idempotency_key() else { return Ok(String::new()) };
    idempotency_key_value(header).map_err(|error| answer::refuse(&error))
}

async fn read_body(request: Request) -> Result<Bytes, Refusal> {
    // `Bytes` stops at the router's `DefaultBodyLimit`.
    match tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(super::too_large()),
        Ok(Err(_)) => Err(answer::bad(Code::BadRequest, "the body broke off before its end")),
        Err(_) => Err(answer::bad(Code::BadRequest, format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs()))),
    }
}

/// The serial in a path as it was sent, its one segment decoded once.
///
/// # Errors
/// `bad-request` when the segment is no percent-encoded UTF-8; `serial-invalid` when it is longer than any serial.
pub fn serial_of(path: &str) -> Result<String, Refusal> {
    let segment = path.strip_prefix(DEVICES).unwrap_or(path).split('/').next().unwrap_or_default();
    let bytes = segment.as_bytes();
    let hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    if (0..bytes.len()).any(|at| bytes[at] == b'%' && !(hex(at + 1) && hex(at + 2))) {
        return Err(answer::bad(Code::BadRequest, "the serial in the address holds a `%` without two hexadecimal digits"));
    }
    let serial = percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| answer::bad(Code::BadRequest, "the serial in the address is no percent-encoded UTF-8"))?;
    if serial.len() > SERIAL_BYTES_MAX {
        return Err(answer::bad(
            Code::SerialInvalid,
            format!("it has {} bytes, and no serial has more than {SERIAL_BYTES_MAX}", serial.len()),
        ));
    }
    Ok(serial.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_segment_is_decoded_once() {
        let longest = "1".repeat(SERIAL_BYTES_MAX);
        for (path, serial) in [
            ("/v1/devices/QD-1", "QD-1"),
            ("/v1/devices/QD-1/confirmation", "QD-1"),
            ("/v1/devices/QD%2F1", "QD/1"),
            ("/v1/devices/QD%252F1", "QD%2F1"),
            ("/v1/devices/a+b%20c", "a+b c"),
            ("/v1/devices/%C3%A9", "é"),
            (&format!("/v1/devices/{longest}"), &longest),
        ] {
            assert_eq!(serial_of(path).expect("reads"), serial, "{path}");
        }
    }

    #[test]
    fn what_is_no_encoding_is_refused() {
        for path in ["/v1/devices/%", "/v1/devices/%2", "/v1/devices/%zz", "/v1/devices/%ff"] {
            assert_eq!(serial_of(path).expect_err("refused").problem.code, "bad-request", "{path}");
        }
        let long = format!("/v1/devices/{}", "1".repeat(SERIAL_BYTES_MAX + 1));
        assert_eq!(serial_of(&long).expect_err("refused").problem.code, "serial-invalid");
    }
}
