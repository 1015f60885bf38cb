//! What a request may say: fields within their bounds, a recipient that fits its caller, the same job the same words.

use qdrs_core::{
    access::{PublicOpeningKey, SealContext, seal},
    api::{COLUMN_BYTES_MAX, COLUMNS_MAX, Code, FIELD_BYTES_MAX, Kind, RegisterRequest},
    serial::is_unprintable,
};
use uuid::Uuid;

use super::Refusal;
use crate::ledger::{Access, Record};

/// To whom the credential is sealed: a station to its code's own key, a product to the key that this installation made.
pub(super) fn recipient(caller: &Access, request: &RegisterRequest) -> Result<PublicOpeningKey, Refusal> {
    match (caller.kind, request.recipient) {
        (Kind::Station, None) => Ok(caller.keys.opening),
        // A key that nothing can be sealed to is refused before anything is made.
        (Kind::Product, Some(key)) => {
            let context = SealContext { key_id: caller.key_id, serial: "", idempotency_key: "", reservation: Uuid::nil() };
            seal::seal(&key, &context, b"").map_err(|error| Refusal::new(Code::BadRequest, error.to_string()))?;
            Ok(key)
        }
        (Kind::Station, Some(_)) => {
            Err(Refusal::new(Code::BadRequest, "a station's answer is sealed to its access code; leave `recipient` out"))
        }
        (Kind::Product, None) => Err(Refusal::new(Code::BadRequest, "a product names the key to seal to in `recipient`")),
    }
}

/// Other words about the same serial (another slot) are no error; another serial or recipient is.
pub(super) fn same_request(record: &Record, serial: &str, request: &RegisterRequest) -> Result<(), Refusal> {
    let known = &record.reservation;
    if known.serial_sent != serial {
        return Err(Refusal::new(
            Code::IdempotencyMismatch,
            format!(
                "this Idempotency-Key was used for `{}`, and a repeat has the serial as it was first sent",
                known.serial_sent
            ),
        ));
    }
    if known.recipient != request.recipient {
        return Err(Refusal::new(Code::IdempotencyMismatch, "this Idempotency-Key was used with another `recipient`"));
    }
    Ok(())
}

pub(super) fn check_fields(request: &RegisterRequest) -> Result<(), Refusal> {
    let fields = [("station", &request.station), ("slot", &request.slot), ("batch", &request.batch)];
    for (name, value) in fields {
        if let Some(value) = value {
            check_field(name, value)?;
        }
    }
    if request.columns.len() > COLUMNS_MAX {
        return Err(Refusal::new(Code::BadRequest, format!("`columns` has more than {COLUMNS_MAX} columns")));
    }
    for (name, value) in &request.columns {
        let short = |text: &str| text.len() <= COLUMN_BYTES_MAX && !text.chars().any(is_unprintable);
        if name.trim().is_empty() || !short(name) || !short(value) {
            let why = "has no name, is longer than";
            return Err(Refusal::new(
                Code::BadRequest,
                format!("a column of `columns` {why} {COLUMN_BYTES_MAX} bytes or holds control characters"),
            ));
        }
    }
    if request.replaces.is_some() && request.take_over.is_none() {
        return Err(Refusal::new(Code::BadRequest, "`replaces` names what is taken over; `take_over` says why, and is missing"));
    }
    request.take_over.as_ref().map_or(Ok(()), |take_over| check_field("reason", &take_over.reason))
}

pub(super) fn check_field(name: &str, value: &str) -> Result<(), Refusal> {
    if value.len() > FIELD_BYTES_MAX || value.chars().any(is_unprintable) {
        return Err(Refusal::new(
            Code::BadRequest,
            format!("`{name}` is longer than {FIELD_BYTES_MAX} bytes or holds control characters"),
        ));
    }
    Ok(())
}
