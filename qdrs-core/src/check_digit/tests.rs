//! Published and cross-checked vectors, and what each scheme promises to find.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

#[test]
fn every_vector_is_judged_as_published() {
    let all: Value =
        serde_json::from_str(include_str!("../../../tests/data/vectors/check-digits.json")).expect("vectors are JSON");
    let mut seen = std::collections::BTreeSet::new();
    for case in all["cases"].as_array().expect("cases") {
        let scheme: Scheme = case["algorithm"].as_str().expect("a name").parse().expect("a known scheme");
        let input = case["input"].as_str().expect("a text");
        assert_eq!(scheme.check(input).is_ok(), case["valid"].as_bool().expect("a verdict"), "{case}: {:?}", scheme.check(input));
        seen.insert(scheme.as_str());
    }
    assert_eq!(seen.len(), 17, "{seen:?}");
}

#[test]
fn schemes_without_a_vector_follow_published_examples() {
    for (scheme, good, bad) in [
        (Scheme::Gtin, "04012345123456", "04012345123457"),
        (Scheme::Gtin, "40170725", "401707250"),
        (Scheme::Sscc, "106141411234567897", "106141411234567890"),
        (Scheme::Gln, "0614141000012", "06141410000125"),
        (Scheme::Isbn13, "9780306406157", "9770306406150"),
        (Scheme::Iban, "DE89370400440532013000", "DE98370400440532013000"),
        (Scheme::Iban, "GB82WEST12345698765432", "GB82WEST12345698765423"),
        (Scheme::Lei, "5493001KJTIIGC8Y1R12", "5493001KJTIIGC8Y1R21"),
        (Scheme::Lei, "213800WSGIIZCXF1P572", "213800WSGIIZCXF1P57"),
        // Its sum is right, and python-stdnum takes it; but ISO 17442 has 20 characters.
        (Scheme::Lei, "213800WSGIIZCXF1P572", "06VYXG3H45M1XY08QT028"),
        // MOD 1271-36 by its definition: 10 * 36^2 = 12960 = 250 modulo 1271, 1272 - 250 = 1022 = 28 * 36 + 14.
        (Scheme::Mod1271_36, "ASE", "ASF"),
    ] {
        assert_eq!(scheme.check(good), Ok(()), "{scheme} {good}");
        assert!(scheme.check(bad).is_err(), "{scheme} {bad}");
    }
}

#[test]
fn faults_say_where_and_what_would_be_right() {
    for (scheme, text, says) in [
        (Scheme::Luhn, "79927398710", "ends in the check character `0`, but the rest calls for `3`"),
        (Scheme::Luhn, "7992739871x", "has `x` as its character 11; there it has digits only"),
        (Scheme::Luhn, "7", "is too short for a check digit"),
        (Scheme::Imei, "49015420323751", "has 14 characters, and should have 15"),
        (Scheme::Isbn10, "080442957x", "has `x` as its character 10; there it has a digit or a capital `X`"),
        (Scheme::Mod97_10, "79445", "ends in the check characters `45`, but the rest calls for `44`"),
        (Scheme::Vin, "1M8GDM9A1KP042788", "has the check character `1` as its character 9, but the rest calls for `X`"),
        (
            Scheme::Iban,
            "DE98370400440532013000",
            "has the check characters `98` as its characters 3 and 4, but the rest calls for `89`",
        ),
        (Scheme::Eui48, "00:00:5e-00:53:af", "is no MAC address of 12 hex digits with one kind of separator throughout"),
        (Scheme::Crockford32, "1*6JD", "has `*` as its character 2; only the last may be a check symbol"),
    ] {
        assert_eq!(scheme.check(text).expect_err(text).to_string(), says);
    }
}

/// A valid text of the scheme: the rest, and the check characters that its own fault names.
fn completed(scheme: Scheme, rest: &str, wrong: &str) -> String {
    match scheme.check(&format!("{rest}{wrong}")) {
        Ok(()) => format!("{rest}{wrong}"),
        Err(Fault::Check { expected, .. }) => format!("{rest}{expected}"),
        Err(other) => panic!("{scheme} {rest}{wrong}: {other}"),
    }
}

/// Letters and digits that the rest of a scheme's text may have, a wrong ending, how far apart two characters may stand
/// that are swapped, and which swaps are missed.
type Promise = (Scheme, &'static str, &'static str, usize, fn(u8, u8) -> bool);

const PROMISES: [Promise; 14] = [
    (Scheme::Luhn, "[0-9]{1,20}", "0", 1, |a, b| matches!((a, b), (b'0', b'9') | (b'9', b'0'))),
    (Scheme::Gs1, "[0-9]{1,20}", "0", 1, |a, b| a.abs_diff(b) == 5),
    (Scheme::Verhoeff, "[0-9]{1,20}", "0", 1, |_, _| false),
    (Scheme::Damm, "[0-9]{1,20}", "0", 1, |_, _| false),
    (Scheme::Isbn10, "[0-9]{9}", "0", 9, |_, _| false),
    (Scheme::Mod11_2, "[0-9]{1,9}", "0", 9, |_, _| false),
    (Scheme::Mod37_2, "[0-9A-Z]{1,30}", "0", 30, |_, _| false),
    (Scheme::Mod97_10, "[0-9]{1,30}", "00", 30, |_, _| false),
    (Scheme::Mod661_26, "[A-Z]{1,30}", "AA", 1, |_, _| false),
    (Scheme::Mod1271_36, "[0-9A-Z]{1,30}", "00", 1, |_, _| false),
    // Hybrid systems miss a few swaps: only single characters are promised (ISO/IEC 7064 clause 4).
    (Scheme::Mod11_10, "[0-9]{1,20}", "0", 0, |_, _| false),
    (Scheme::Mod27_26, "[A-Z]{1,20}", "A", 0, |_, _| false),
    (Scheme::Mod37_36, "[0-9A-Z]{1,20}", "0", 0, |_, _| false),
    (Scheme::Crockford32, "[0-9A-HJKMNP-TV-Z]{1,26}", "0", 1, |_, _| false),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn each_scheme_finds_every_error_that_it_promises_to_find(index in 0..PROMISES.len(), seed: u64) {
        use proptest::{string::string_regex, strategy::ValueTree, test_runner::{Config, RngAlgorithm, TestRng, TestRunner}};
        let (scheme, rest, wrong, apart, missed) = PROMISES[index];
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let rest = string_regex(rest).expect("a pattern").new_tree(&mut runner).expect("a text").current();
        let whole = completed(scheme, &rest, wrong);
        let bytes = whole.as_bytes();
        let alphabet: Vec<u8> = (b'0'..=b'9').chain(b'A'..=b'Z').collect();
        for at in 0..bytes.len() {
            for other in alphabet.iter().filter(|other| **other != bytes[at]) {
                // Crockford reads these as the digits they look like.
                if scheme == Scheme::Crockford32 && b"ILO".contains(other) {
                    continue;
                }
                let mut changed = bytes.to_vec();
                changed[at] = *other;
                let changed = String::from_utf8(changed).expect("is ASCII");
                prop_assert!(scheme.check(&changed).is_err(), "{scheme}: {whole} became {changed}");
            }
            for next in at + 1..bytes.len().min(at + 1 + apart) {
                if bytes[at] == bytes[next] || missed(bytes[at], bytes[next]) {
                    continue;
                }
                let mut changed = bytes.to_vec();
                changed.swap(at, next);
                let changed = String::from_utf8(changed).expect("is ASCII");
                prop_assert!(scheme.check(&changed).is_err(), "{scheme}: {whole} became {changed}");
            }
        }
    }

    #[test]
    fn any_text_is_judged(text in any::<String>(), ascii in "[ -~]{0,40}") {
        for scheme in Scheme::ALL {
            let _ = scheme.check(&text);
            let _ = scheme.check(&ascii);
        }
    }

    #[test]
    fn what_a_fault_calls_for_is_right(rest in "[0-9]{14}") {
        for scheme in [Scheme::Luhn, Scheme::Gs1, Scheme::Verhoeff, Scheme::Damm, Scheme::Mod97_10, Scheme::Mod11_10, Scheme::Imei] {
            let wrong = if scheme == Scheme::Mod97_10 { "00" } else { "0" };
            prop_assert_eq!(scheme.check(&completed(scheme, &rest, wrong)), Ok(()));
        }
    }
}

#[test]
fn names_are_read_back() {
    for scheme in Scheme::ALL {
        assert_eq!(scheme.as_str().parse::<Scheme>().expect("is known"), scheme);
    }
    assert!("mod7".parse::<Scheme>().expect_err("is none").to_string().contains("luhn"));
}
