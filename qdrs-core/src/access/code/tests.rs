//! Round trips, single wrong characters, and the keys' derivations against published vectors.

use bech32::Bech32;
use data_encoding::HEXLOWER_PERMISSIVE;
use ed25519_dalek::{Signature, Signer, VerifyingKey};
use proptest::prelude::*;
use serde_json::Value;

use super::*;

macro_rules! vectors {
    ($file:literal) => {{
        let all: Value =
            serde_json::from_str(include_str!(concat!("../../../../tests/data/vectors/", $file))).expect("vectors are JSON");
        all["cases"].as_array().expect("cases").clone()
    }};
}

fn hex(value: &Value) -> Vec<u8> {
    HEXLOWER_PERMISSIVE.decode(value.as_str().expect("text").as_bytes()).expect("hex")
}

fn hex_32(value: &Value) -> [u8; 32] {
    hex(value).try_into().expect("32 bytes")
}

fn text(code: &AccessCode) -> String {
    code.reveal().expose_secret().to_owned()
}

/// The code that everything else in this file and the documentation may rely on for ever.
fn known() -> AccessCode {
    AccessCode::from_secret(Kind::Station, Zeroizing::new(std::array::from_fn(|at| at as u8)))
}

#[test]
fn a_code_of_today_reads_the_same_for_ever() {
    let code = known();
    let keys = code.public();
    insta::assert_snapshot!(format!("{}\n{}\n{}\n{}", text(&code), code.key_id(), keys.signing, keys.opening));
    assert_eq!(keys.key_id(), code.key_id());
    assert_eq!(text(&code).len(), CODE_CHARS);
}

#[test]
fn capitals_and_blanks_around_are_taken_and_mixed_case_is_not() {
    let code = AccessCode::generate(Kind::Product);
    let shown = text(&code);
    for taken in [shown.clone(), shown.to_uppercase(), format!(" \t{shown}\r\n")] {
        let read = AccessCode::parse(&taken).expect("is taken");
        assert_eq!((read.key_id(), read.kind(), text(&read)), (code.key_id(), Kind::Product, shown.clone()));
    }
    let mixed = format!("{}{}", &shown[..40].to_uppercase(), &shown[40..]);
    assert!(matches!(AccessCode::parse(&mixed), Err(AccessCodeError::MixedCase | AccessCodeError::Checksum)), "{mixed}");
    assert_eq!(AccessCode::parse("Qdrs1qpzr").err(), Some(AccessCodeError::MixedCase));
}

#[test]
fn other_texts_get_the_sentence_that_helps() {
    let encode = |payload: &[u8]| bech32::encode::<Bech32m>(HRP, payload).expect("encodes");
    let mut payload = [0_u8; PAYLOAD_BYTES];
    payload[0] = VERSION;
    let why = |text: &str| AccessCode::parse(text).expect_err("is refused");
    for (text, expected) in [
        (String::new(), AccessCodeError::NotOurs),
        ("HostName=h;DeviceId=d".to_owned(), AccessCodeError::NotOurs),
        ("qdrs1".to_owned(), AccessCodeError::Checksum),
        ("qdrs1b".to_owned(), AccessCodeError::Character),
        (bech32::encode::<Bech32>(HRP, &payload).unwrap(), AccessCodeError::Checksum),
        (bech32::encode::<Bech32m>(Hrp::parse_unchecked("qdrx"), &payload).unwrap(), AccessCodeError::NotOurs),
        (bech32::encode::<Bech32m>(Hrp::parse_unchecked("qdrs1a"), &payload).unwrap(), AccessCodeError::NotOurs),
        (encode(&[]), AccessCodeError::Content),
        (encode(&payload[..33]), AccessCodeError::Content),
        (encode(&[payload.as_slice(), &[0]].concat()), AccessCodeError::Content),
        (encode(&[&[VERSION, 2], &payload[2..]].concat()), AccessCodeError::Content),
        (encode(&[&[0, 0], &payload[2..]].concat()), AccessCodeError::Content),
        // A newer version may be of any length and any kind.
        (encode(&[VERSION + 1, 9, 9]), AccessCodeError::Newer { found: VERSION + 1 }),
        (format!("qdrs1{}", "q".repeat(2000)), AccessCodeError::Checksum),
    ] {
        assert_eq!(why(&text), expected, "{text}");
    }
}

#[test]
fn bits_that_are_left_over_must_be_zero() {
    use bech32::{ByteIterExt, Fe32, Fe32IterExt};
    let mut payload = [0_u8; PAYLOAD_BYTES];
    payload[0] = VERSION;
    let mut letters: Vec<Fe32> = payload.iter().copied().bytes_to_fes().collect();
    let last = letters.last_mut().expect("has letters");
    *last = Fe32::try_from(last.to_u8() | 1).expect("below 32");
    let text: String = letters.into_iter().with_checksum::<Bech32m>(&HRP).chars().collect();
    assert_eq!(AccessCode::parse(&text).err(), Some(AccessCodeError::Content));
}

#[test]
fn secrets_never_show_unless_revealed() {
    let code = known();
    let shown = format!("{code:?} {:?} {:?} {:?}", code.opening_key(), code.reveal(), code.public());
    assert!(!shown.contains(&text(&code)[8..40]) && !shown.contains("1, 2, 3"), "{shown}");
    let (station, mut broken) = (text(&code), text(&code));
    broken.replace_range(30..31, if &station[30..31] == "q" { "p" } else { "q" });
    let error = AccessCode::parse(&broken).expect_err("is broken");
    assert!(!format!("{error} {error:?}").contains(&station[10..20]));
}

#[test]
fn what_is_shown_for_the_log_names_whose_it_is() {
    let code = known();
    assert_eq!(format!("{code:?}"), format!("AccessCode(station, key id {})", code.key_id()));
    assert_eq!(format!("{:?}", code.key_id()), format!("KeyId({})", code.key_id()));
    assert_eq!(format!("{:?}", code.opening_key()), format!("OpeningKey(public {})", code.public().opening));
    assert_eq!(format!("{:?}", code.public().signing), format!("PublicSigningKey({})", code.public().signing));
}

#[test]
fn a_newer_code_needs_a_newer_program_and_another_fault_the_codes_own_remedy() {
    let newer = AccessCodeError::Newer { found: 2 }.help();
    assert_eq!(newer, "install a newer QDRS, or ask the product owner for a code of this version");
    assert_eq!(AccessCodeError::Checksum.help(), Code::AccessCodeMalformed.help());
}

#[test]
fn names_and_public_keys_are_written_and_read() {
    let keys = AccessCode::generate(Kind::Station).public();
    let json = serde_json::to_string(&keys).expect("writes");
    assert_eq!(serde_json::from_str::<PublicKeys>(&json).expect("reads"), keys);
    let id = keys.key_id();
    assert_eq!((id.to_string().parse(), id.to_string().len()), (Ok(id), 16));
    let json = serde_json::to_value(id).expect("writes");
    assert_eq!(serde_json::from_value::<KeyId>(json).expect("reads"), id);
    assert_eq!(id.to_string().to_uppercase().parse::<KeyId>().is_ok(), id.to_string().bytes().all(|b| b.is_ascii_digit()));
    assert_eq!("AAAA".parse::<PublicOpeningKey>(), Err(NotAPublicKey));
    assert_eq!(keys.opening.to_string().parse(), Ok(keys.opening));
}

#[test]
fn hkdf_as_published() {
    for case in vectors!("hkdf.json") {
        let (salt, mut okm) = (hex(&case["salt"]), vec![0; case["L"].as_u64().expect("length") as usize]);
        let (prk, hkdf) = Hkdf::<Sha256>::extract(Some(salt.as_slice()), &hex(&case["ikm"]));
        hkdf.expand(&hex(&case["info"]), &mut okm).expect("fits");
        assert_eq!((prk.to_vec(), &okm), (hex(&case["prk"]), &hex(&case["okm"])), "{}", case["id"]);
        // Ours is the case without a salt, 32 bytes long.
        if salt.is_empty() && okm.len() == 32 {
            assert_eq!(*derive(&hex_32(&case["ikm"]), &hex(&case["info"])), hex_32(&case["okm"]), "{}", case["id"]);
        }
    }
}

#[test]
fn ed25519_as_published_and_strictly() {
    for case in vectors!("ed25519.json") {
        let (public, message, signature) = (hex_32(&case["public"]), hex(&case["msg"]), hex(&case["sig"]));
        if case.get("seed").is_some() {
            let key = SigningKey::from_bytes(&hex_32(&case["seed"]));
            assert_eq!(
                (key.verifying_key().to_bytes(), key.sign(&message).to_bytes().to_vec()),
                (public, signature.clone()),
                "{}",
                case["id"]
            );
        }
        let signature = Signature::from_slice(&signature).expect("64 bytes");
        let holds = VerifyingKey::from_bytes(&public).is_ok_and(|key| key.verify_strict(&message, &signature).is_ok());
        assert_eq!(Some(holds), case["valid"].as_bool(), "{}", case["id"]);
    }
}

#[test]
fn x25519_as_published() {
    for case in vectors!("x25519.json") {
        if case["kind"] == "iterated" {
            let mut base = [0; 32];
            base[0] = 9;
            assert_eq!(x25519_dalek::x25519(base, base), hex_32(&case["out"]));
            continue;
        }
        let shared = StaticSecret::from(hex_32(&case["scalar"])).diffie_hellman(&PublicKey::from(hex_32(&case["u"])));
        // Sealing to a point of low order, and opening from one, is refused: see `seal`.
        assert_eq!(shared.was_contributory(), !case["out"].is_null(), "{}", case["id"]);
        if shared.was_contributory() {
            assert_eq!(shared.to_bytes(), hex_32(&case["out"]), "{}", case["id"]);
        }
    }
}

proptest! {
    #[test]
    fn a_code_comes_back_and_one_changed_character_is_refused(secret: [u8; 32], product: bool, at in 0_usize..CODE_CHARS, to in prop::sample::select(b" !#1bio023qpzry9x8gf2tvdw0s3jn54khce6mua7lQPZ\xe9".to_vec())) {
        let kind = if product { Kind::Product } else { Kind::Station };
        let code = AccessCode::from_secret(kind, Zeroizing::new(secret));
        let shown = text(&code);
        let read = AccessCode::parse(&shown).expect("reads its own");
        prop_assert_eq!((read.kind(), *read.secret), (kind, secret));

        let mut changed = shown.clone().into_bytes();
        changed[at] = to;
        let changed = String::from_utf8_lossy(&changed);
        // A blank at an end is trimmed, and then a character is missing.
        prop_assert!(changed == shown || AccessCode::parse(&changed).is_err(), "{} {}", at, to);
        let mut missing = shown.clone();
        missing.remove(at);
        prop_assert!(AccessCode::parse(&missing).is_err());
    }

    #[test]
    fn parsing_never_panics(text in "(qdrs1|QDRS1)?\\PC{0,80}", letters in "qdrs1[qpzry9x8gf2tvdw0s3jn54khce6mua7l]{0,90}") {
        prop_assert!(AccessCode::parse(&text).is_err());
        prop_assert!(AccessCode::parse(&letters).is_err());
        let _ = (text.parse::<KeyId>(), text.parse::<PublicOpeningKey>());
    }
}
