//! Published digests, and what must not pass for one.

use data_encoding::HEXLOWER;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../tests/data/vectors/content-digest.json")).expect("vectors are JSON")
}

#[test]
fn every_published_case() {
    for case in vectors()["cases"].as_array().expect("cases") {
        let body = HEXLOWER.decode(case["body_hex"].as_str().unwrap().as_bytes()).unwrap();
        let header = case["header"].as_str().unwrap();
        let checked = check_content_digest(header, &body);
        assert_eq!(Some(checked.is_ok()), case["valid"].as_bool(), "{}: {checked:?}", case["id"]);
        if checked.is_ok() && header.starts_with("sha-256=") && !header.contains(',') {
            assert_eq!(content_digest(&body), header, "{}", case["id"]);
        }
    }
}

#[test]
fn every_known_member_must_match_and_one_must_be_there() {
    let (good, other) = (content_digest(b"a"), content_digest(b"b"));
    let long = format!("sha-512=:{}:", BASE64.encode(&Sha512::digest(b"a")));
    assert_eq!(check_content_digest(&format!("{good}, {long}, new=:AAAA:, old=7"), b"a"), Ok(()));
    assert_eq!(check_content_digest(&format!("{long}, {other}"), b"a"), Err(DigestError::Mismatch));
    assert_eq!(check_content_digest(&other, b"a"), Err(DigestError::Mismatch));
    assert_eq!(check_content_digest("md5=:AAAA:", b"a"), Err(DigestError::NoneKnown));
    assert_eq!(check_content_digest("", b"a"), Err(DigestError::NoneKnown));
    assert_eq!(check_content_digest("sha-256=7", b"a"), Err(DigestError::Malformed));
    assert_eq!(check_content_digest(&"a".repeat(DIGEST_BYTES_MAX + 1), b"a"), Err(DigestError::Malformed));
}

#[test]
fn a_header_may_be_as_long_as_it_says() {
    let filled = format!("{}, pad={}", content_digest(b"a"), "9".repeat(15));
    let padded = format!("{filled}{}", " ".repeat(DIGEST_BYTES_MAX - filled.len()));
    assert_eq!(check_content_digest(&padded, b"a"), Ok(()), "the last one that is looked at");
    assert_eq!(check_content_digest(&format!("{padded} "), b"a"), Err(DigestError::Malformed));
    let long = format!("sha-512=:{}:", BASE64.encode(&Sha512::digest(b"a")));
    assert_eq!(check_content_digest(&format!("{}, {long}", content_digest(b"b")), b"b"), Err(DigestError::Mismatch));
}

proptest! {
    #[test]
    fn checking_never_panics(header in "(sha-(256|512)=:?)?[\\x20-\\x7e]{0,60}:?", body in prop::collection::vec(any::<u8>(), 0..40)) {
        prop_assert!(check_content_digest(&header, &body).is_err());
        prop_assert_eq!(check_content_digest(&content_digest(&body), &body), Ok(()));
    }
}
