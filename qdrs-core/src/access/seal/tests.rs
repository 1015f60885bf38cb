//! HPKE's published messages, and that a sealed credential opens for nothing else than it was made for.

use data_encoding::HEXLOWER;
use hpke::rand_core::{TryCryptoRng, TryRng};
use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn hex(value: &Value) -> Vec<u8> {
    HEXLOWER.decode(value.as_str().expect("text").as_bytes()).expect("hex")
}

/// Gives the published randomness instead of the system's.
struct Scripted(Vec<u8>);

impl TryRng for Scripted {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        unimplemented_here()
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        unimplemented_here()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        bytes.copy_from_slice(&self.0);
        Ok(())
    }
}

impl TryCryptoRng for Scripted {}

fn unimplemented_here() -> ! {
    panic!("a key is made of bytes")
}

/// Ours is one message for each `enc` under AES-128-GCM. So these must open; cases of ChaCha20Poly1305, and of the
/// second and later messages of one `enc`, are refused on purpose.
#[test]
fn every_published_case() {
    let all: Value = serde_json::from_str(include_str!("../../../../tests/data/vectors/hpke.json")).expect("vectors are JSON");
    let (mut opened, mut refused) = (0, 0);
    for case in all["cases"].as_array().expect("cases") {
        let secret: [u8; 32] = hex(&case["skRm"]).try_into().expect("32 bytes");
        let (info, aad, enc, ct) = (hex(&case["info"]), hex(&case["aad"]), hex(&case["enc"]), hex(&case["ct"]));
        let ours = case["aead_id"] == 1 && case["seq"] == 0 && case.get("error").is_none();
        match open_raw(&secret, &info, &aad, &enc, &ct) {
            Ok(plaintext) => assert_eq!((ours, &*plaintext), (true, &hex(&case["pt"])), "{}", case["id"]),
            Err(error) => assert_eq!((ours, error), (false, SealError::Broken), "{}", case["id"]),
        }
        assert_eq!(OpeningKey::from_bytes(&secret).public().as_bytes().to_vec(), hex(&case["pkRm"]), "{}", case["id"]);
        if !ours {
            refused += 1;
            continue;
        }
        opened += 1;
        // Sealed with the published randomness, it is the published message to the byte.
        let to = PublicKey::from_bytes(&hex(&case["pkRm"])).expect("a key");
        let (made_enc, made_ct) = hpke::single_shot_seal_with_rng::<AesGcm128, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &to,
            &info,
            &hex(&case["pt"]),
            &aad,
            &mut Scripted(hex(&case["ikmE"])),
        )
        .expect("seals");
        assert_eq!((made_enc.to_bytes().to_vec(), made_ct), (enc, ct), "{}", case["id"]);
    }
    assert!(opened > 0 && refused > 0, "the vectors are there");
}

fn context() -> SealContext<'static> {
    SealContext {
        key_id: KeyId::from_bytes([7; 8]),
        serial: "QD-00417-8",
        idempotency_key: "job-1",
        reservation: Uuid::from_u128(5),
    }
}

#[test]
fn it_opens_for_its_own_key_and_context_alone() {
    let key = OpeningKey::generate();
    let sealed = seal(&key.public(), &context(), b"the credential").expect("seals");
    assert_eq!(**open(&key, &context(), &sealed).expect("opens"), *b"the credential");
    assert_eq!(open(&OpeningKey::generate(), &context(), &sealed), Err(SealError::Broken));
    let others = [
        SealContext { key_id: KeyId::from_bytes([8; 8]), ..context() },
        SealContext { serial: "QD-00417-9", ..context() },
        SealContext { idempotency_key: "job-2", ..context() },
        SealContext { reservation: Uuid::from_u128(6), ..context() },
        SealContext { serial: "QD-00417-8j", idempotency_key: "ob-1", ..context() }, // The same letters in all.
    ];
    for other in others {
        assert_eq!(open(&key, &other, &sealed), Err(SealError::Broken), "{other:?}");
    }
    assert_ne!(seal(&key.public(), &context(), b"the credential").expect("seals"), sealed, "a new enc each time");
}

#[test]
fn the_context_is_bound_as_written_down() {
    let text = "\0\u{10}0707070707070707\0\u{a}QD-00417-8\0\u{5}job-1\0\u{24}00000000-0000-0000-0000-000000000005";
    assert_eq!(context().aad().expect("fits"), text.as_bytes());
    let long = "s".repeat(65_536);
    assert_eq!(SealContext { serial: &long, ..context() }.aad(), Err(SealError::Context));
    assert!(SealContext { serial: &long[1..], ..context() }.aad().is_ok());
}

#[test]
fn a_recipient_that_anybody_can_open_is_refused() {
    for first in [0, 1] {
        let mut bytes = [0; 32];
        bytes[0] = first;
        assert_eq!(seal(&PublicOpeningKey::from_bytes(bytes), &context(), b"x"), Err(SealError::Recipient));
    }
    let sealed = Sealed { enc: vec![0; 32], ct: vec![0; 20] };
    assert_eq!(open(&OpeningKey::generate(), &context(), &sealed), Err(SealError::Broken));
}

#[test]
fn json_is_base64_and_debug_is_short() {
    let sealed = Sealed { enc: vec![1, 2, 3], ct: vec![0; 20] };
    let json = serde_json::to_string(&sealed).expect("writes");
    assert_eq!(json, r#"{"enc":"AQID","ct":"AAAAAAAAAAAAAAAAAAAAAAAAAAA="}"#);
    assert_eq!(serde_json::from_str::<Sealed>(&json).expect("reads"), sealed);
    assert!(serde_json::from_str::<Sealed>(r#"{"enc":"?","ct":""}"#).is_err());
    assert_eq!(format!("{sealed:?}"), "Sealed(20 bytes)");
}

proptest! {
    #[test]
    fn opening_garbage_never_panics(enc in prop::collection::vec(any::<u8>(), 0..70), ct in prop::collection::vec(any::<u8>(), 0..70)) {
        prop_assert_eq!(open(&OpeningKey::from_bytes(&[7; 32]), &context(), &Sealed { enc, ct }), Err(SealError::Broken));
    }

    #[test]
    fn what_is_sealed_opens_and_one_changed_bit_does_not(plaintext in prop::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index, bit in 0_u8..8) {
        let key = OpeningKey::from_bytes(&[7; 32]);
        let mut sealed = seal(&key.public(), &context(), &plaintext).expect("seals");
        prop_assert_eq!(&**open(&key, &context(), &sealed).expect("opens"), &plaintext);
        let at = at.index(sealed.enc.len() + sealed.ct.len());
        // The top bit of an X25519 key is no part of it, but of what is bound in: it counts too.
        let place = if at < 32 { &mut sealed.enc[at] } else { &mut sealed.ct[at - 32] };
        *place ^= 1 << bit;
        prop_assert_eq!(open(&key, &context(), &sealed), Err(SealError::Broken));
    }
}
