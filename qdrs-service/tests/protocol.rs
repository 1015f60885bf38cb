//! PROTOCOL.md against the code: every byte of its example, its limits, its requests, and its table of problems.
//!
//! The example was computed by an independent implementation, so this is also a second opinion on ours.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::{BASE64, HEXLOWER};
use hkdf::Hkdf;
use qdrs_core::{
    access::{AccessCode, SealContext, digest, seal, sign},
    api::{
        BODY_BYTES_MAX, COLUMN_BYTES_MAX, COLUMNS_MAX, Code, ConfirmRequest, Evidence, FIELD_BYTES_MAX, RELEASES_MAX,
        RegisterRequest, Registration, Turn,
    },
    connection_string::DeviceConnectionString,
    hardware_id::HARDWARE_ID_BYTES_MAX,
    serial::SERIAL_BYTES_MAX,
};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use sha2::Sha256;

const PROTOCOL: &str = include_str!("../PROTOCOL.md");

/// The fenced blocks by the second word of their first line.
fn blocks() -> BTreeMap<&'static str, &'static str> {
    let mut blocks = BTreeMap::new();
    for part in PROTOCOL.split("\n```").skip(1).step_by(2) {
        let (head, body) = part.split_once('\n').expect("a fenced block has a body");
        let (_, name) = head.split_once(' ').expect("a fenced block has a name");
        assert!(blocks.insert(name, body).is_none(), "two blocks are called {name}");
    }
    blocks
}

fn keys() -> Value {
    serde_json::from_str(blocks()["keys"]).expect("reads")
}

fn code() -> AccessCode {
    AccessCode::parse(blocks()["access-code"]).expect("reads")
}

#[test]
fn the_access_code_gives_the_keys() {
    let (code, keys) = (code(), keys());
    assert_eq!(code.reveal().expose_secret(), blocks()["access-code"]);
    assert_eq!(HEXLOWER.encode(&code.signing_key().to_bytes()), keys["signing_seed"]);
    assert_eq!(BASE64.encode(code.public().signing.as_bytes()), keys["signing_public"]);
    assert_eq!(BASE64.encode(code.public().opening.as_bytes()), keys["opening_public"]);
    assert_eq!(code.key_id().to_string(), keys["key_id"]);
    let secret: Vec<u8> = (0..32).collect();
    for (label, member) in [("qdrs/v1 signing key", "signing_seed"), ("qdrs/v1 opening key", "opening_secret")] {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(None, &secret).expand(label.as_bytes(), &mut key).expect("32 bytes");
        assert_eq!(HEXLOWER.encode(&key), keys[member]);
    }
}

#[test]
fn the_request_is_what_our_client_would_send() {
    let request = blocks()["request"];
    let (head, body) = request.split_once("\n\n").expect("head and body");
    let mut lines = head.lines();
    let mut line = lines.next().expect("a request line").split(' ');
    let (method, path) = (line.next().expect("a method"), line.next().expect("a path"));
    let headers: BTreeMap<_, _> = lines.map(|line| line.split_once(": ").expect("a header")).collect();
    let job = headers["Idempotency-Key"];
    let signed = sign::sign(
        &code(),
        &sign::Request { method, path, query: None, idempotency_key: Some(job), body: body.as_bytes() },
        1_795_507_200,
    );
    assert_eq!(signed.content_digest, headers["Content-Digest"]);
    assert_eq!(signed.signature_input, headers["Signature-Input"]);
    assert_eq!(signed.signature, headers["Signature"]);
    let bytes =
        BASE64.decode(headers["Signature"].trim_start_matches("qdrs=:").trim_end_matches(':').as_bytes()).expect("base64");
    let signature = bytes.as_slice().try_into().expect("64 bytes");
    code().signing_key().verify_strict(blocks()["signature-base"].as_bytes(), &signature).expect("it is over that base");
    let sent: RegisterRequest = serde_json::from_str(body).expect("reads");
    assert_eq!(sent.station.as_deref(), Some("line-1"));
}

#[test]
fn the_answer_opens_and_is_confirmed() {
    let answer: Registration = serde_json::from_str(blocks()["answer"]).expect("reads");
    let job = "01936b1a-7c00-7000-8000-000000000001";
    let key_id = code().key_id();
    let context = SealContext { key_id, serial: "QD-0041713", idempotency_key: job, reservation: answer.reservation };
    let opened = seal::open(code().opening_key(), &context, &answer.sealed).expect("opens");
    assert_eq!(std::str::from_utf8(&opened).expect("text"), blocks()["credential"]);
    let mut aad = Vec::new();
    for part in [key_id.to_string().as_str(), "QD-0041713", job, answer.reservation.to_string().as_str()] {
        aad.extend(u16::try_from(part.len()).expect("short").to_be_bytes());
        aad.extend(part.as_bytes());
    }
    assert_eq!(HEXLOWER.encode(&aad), blocks()["aad"]);
    let confirm: ConfirmRequest = serde_json::from_str(blocks()["confirmation"]).expect("reads");
    let credential = DeviceConnectionString::parse(blocks()["credential"]).expect("reads");
    assert_eq!(confirm.fingerprint, credential.key.fingerprint());
    assert_eq!((confirm.reservation, confirm.evidence), (answer.reservation, Evidence::ReadBack));
}

/// The rows of a table, from its head's first cells on.
fn rows(head: &str) -> Vec<&'static str> {
    let lines = PROTOCOL.lines().skip_while(|line| !line.starts_with(head));
    lines.skip(2).take_while(|line| line.starts_with('|')).collect()
}

#[test]
fn the_limits_are_the_codes() {
    let limits = [
        ("a request's body", BODY_BYTES_MAX, "bytes"),
        ("a serial as it is sent, decoded", SERIAL_BYTES_MAX, "bytes"),
        ("`Idempotency-Key`, without quotes; it is not empty", sign::IDEMPOTENCY_KEY_BYTES_MAX, "bytes"),
        ("`station`, `slot`, `batch`, each", FIELD_BYTES_MAX, "bytes"),
        ("`hardware_id`, without the blanks around it", HARDWARE_ID_BYTES_MAX, "bytes"),
        ("`reason`; it is not blank", FIELD_BYTES_MAX, "bytes"),
        ("`columns`", COLUMNS_MAX, "columns"),
        ("the name and the value of a column, each; the name is not blank", COLUMN_BYTES_MAX, "bytes"),
        ("`Signature-Input`, `Signature`, each", sign::HEADER_BYTES_MAX, "bytes"),
        ("`Content-Digest`", digest::DIGEST_BYTES_MAX, "bytes"),
        ("covered components", sign::COMPONENTS_MAX, "components"),
        ("from `created` to `expires`", usize::try_from(sign::LIFETIME_SECONDS_MAX).expect("small"), "s"),
        ("`created` ahead of the service's clock", usize::try_from(sign::SKEW_SECONDS_MAX).expect("small"), "s"),
        ("releases in one answer", RELEASES_MAX, "releases"),
    ];
    let limits = limits.map(|(what, most, unit)| format!("| {what} | {most} {unit} |"));
    assert_eq!(rows("| limit |"), limits);
}

#[test]
fn the_requests_are_those_of_the_description() {
    let document = serde_json::to_value(qdrs_service::http::openapi()).expect("JSON");
    let described = document["paths"].as_object().expect("paths").iter().filter(|(path, _)| path.starts_with("/v1/"));
    let described: BTreeSet<String> = described
        .flat_map(|(path, methods)| {
            methods.as_object().expect("methods").keys().map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let named = rows("| request |").into_iter().filter_map(|row| row.split('`').nth(1));
    let named: BTreeSet<String> = named.map(|request| request.split('?').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(named, described);
}

#[test]
fn the_digest_of_an_empty_body_is_the_one_that_is_given() {
    assert!(PROTOCOL.contains(&format!("`{}`", digest::content_digest(b""))));
}

#[test]
fn the_table_of_problems_is_the_one_table() {
    let said = PROTOCOL.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() == 6);
    let said: Vec<&str> = said.collect();
    let table: Vec<String> = Code::ALL
        .iter()
        .map(|code| code.row())
        .filter_map(|row| {
            let turn = match row.turn {
                Turn::Operator => "operator",
                Turn::Engineer => "engineer",
                Turn::Owner => "owner",
                Turn::Nobody => "nobody",
            };
            let retry = if row.retry { "yes" } else { "no" };
            row.status.map(|status| format!("| `{}` | {status} | {retry} | {turn} | {} |", row.code, row.title))
        })
        .collect();
    assert_eq!(said, table);
}

#[test]
fn the_emulators_page_lists_the_calls_that_it_supports() {
    let page = include_str!("../EMULATOR.md").lines().skip_while(|line| !line.starts_with("| method |"));
    let listed: Vec<&str> = page.skip(2).take_while(|line| line.starts_with('|')).collect();
    let supported = qdrs_service::emulator::SUPPORTED.iter();
    let supported: Vec<String> = supported.map(|(method, path, what)| format!("| {method} | `{path}` | {what} |")).collect();
    assert_eq!(listed, supported, "the page should have:\n{}", supported.join("\n"));
}
