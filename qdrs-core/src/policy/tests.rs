//! What policies take and refuse, what they say, and that no text upsets them.

use proptest::prelude::*;

use super::*;

const BUTTONS: &str = r#"
    product = "button"
    example = "QD-0041713"

    [form]
    case = "upper"
    length = 10
    alphabet = "A-Z0-9-"
    pattern = 'QD-(?<number>[0-9]{7})'
    say = "`QD-` and seven digits"

    [[rule]]
    kind = "divisible"
    by = 7
    part = "number"
    say = "the number must be a multiple of 7"

    [[rule]]
    kind = "range"
    part = "number"
    within = [{ from = 41_000, to = "0069999" }, { from = 100_000 }]
"#;

fn policy(toml: &str) -> Policy {
    Policy::parse("p", toml).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(toml: &str) -> String {
    Policy::parse("p", toml).expect_err("is refused").to_string()
}

#[test]
fn a_label_is_read_into_its_normal_form() {
    let buttons = policy(BUTTONS);
    for text in ["QD-0041713", " qd-0041713\r\n", "\u{feff}\u{a0}Qd-0041713\t"] {
        assert_eq!(buttons.check(text).map(|serial| serial.to_string()), Ok("QD-0041713".to_owned()), "{text:?}");
    }
    assert_eq!(buttons.product(&buttons.check("QD-0041713").expect("is valid")), Some("button"));
}

#[test]
fn each_refusal_says_what_is_wrong_and_what_would_be_right() {
    let buttons = policy(BUTTONS);
    for (text, says) in [
        ("  ", "the serial is empty; it should have 10 characters"),
        ("QD-41713", "serial `QD-41713` is too short: it has 8 characters, and should have 10 characters"),
        ("QD-0041713-1", "serial `QD-0041713-1` is too long: it has 12 characters, and should have 10 characters"),
        ("QD-00 1713", "serial `QD-00 1713` has a blank as its character 6; a serial has ASCII letters, digits and signs only"),
        ("QD_0041713", "serial `QD_0041713` has `_` as its character 3; this policy takes only `A-Z0-9-`"),
        ("QD-OO41713", "serial `QD-OO41713` does not have the right form; it should be `QD-` and seven digits"),
        (
            "QD-0041714",
            "serial `QD-0041714` is not valid: the number must be a multiple of 7 (its part `number` is not a multiple of 7)",
        ),
        (
            "QD-0000007",
            "serial `QD-0000007` is not valid: its part `number` is 7; `number` must be from 41000 to 69999 or 100000 or more",
        ),
    ] {
        let error = buttons.check(text).expect_err(text);
        assert_eq!((error.to_string().as_str(), error.code()), (says, Code::SerialInvalid));
    }
}

#[test]
fn every_rule_gets_its_verdict() {
    let verdicts = policy(BUTTONS).explain("QD-0000008");
    let short: Vec<_> = verdicts.iter().map(|verdict| (verdict.rule.as_str(), verdict.outcome)).collect();
    assert_eq!(
        short,
        [
            ("it has 10 characters", Outcome::Holds),
            ("it has ASCII letters, digits and signs only, and no blank", Outcome::Holds),
            ("it has only `A-Z0-9-`", Outcome::Holds),
            ("it is `QD-` and seven digits", Outcome::Holds),
            ("the number must be a multiple of 7", Outcome::Fails),
            ("`number` must be from 41000 to 69999 or 100000 or more", Outcome::Fails),
            ("its device id is `{serial}`", Outcome::Holds),
        ]
    );
    let verdicts = policy(BUTTONS).explain("QD-41\u{661}");
    let outcomes: Vec<_> = verdicts.iter().map(|verdict| verdict.outcome).collect();
    assert_eq!(outcomes, [[Outcome::Fails; 2].as_slice(), &[Outcome::NotJudged; 5]].concat());
}

#[test]
fn a_device_id_is_made_from_the_parts() {
    let policy = policy("device_id = \"button-{number}\"\n[form]\npattern = 'QD-(?<number>[0-9]+)'");
    let serial = policy.check("QD-0007").expect("is valid");
    assert_eq!(policy.device_id(&serial).as_deref(), Ok("button-0007"));
}

#[test]
fn a_serial_that_no_hub_takes_is_refused_before_it_is_a_serial() {
    let anything = policy("");
    let error = anything.check("QD/7").expect_err("a slash");
    assert_eq!(
        error.to_string(),
        "serial `QD/7` makes no device id that every hub takes: `QD/7` has `/`; letters, digits, `-`, `.` and `_` are taken"
    );
    for text in ["", ".", "..", "a b", "\u{1d}", "１２３", "e\u{301}", &"7".repeat(129)] {
        assert!(anything.check(text).is_err(), "{text:?}");
    }
    assert!(anything.check(&"7".repeat(128)).is_ok());
}

#[test]
fn evidence_and_quota_are_read() {
    let strict = policy("least_evidence = \"read-back\"\n[quota]\ntotal = 5000\nper_day = 0");
    assert_eq!((strict.least_evidence(), strict.total_max(), strict.day_max()), (Evidence::ReadBack, Some(5000), Some(0)));
    let default = policy("");
    assert_eq!((default.least_evidence(), default.total_max(), default.day_max()), (Evidence::DeviceChecked, None, None));
}

#[test]
fn the_pattern_is_held_to_the_whole_serial() {
    let number = policy("[form]\npattern = '[0-9]+|x'");
    assert!(number.check("12").is_ok() && number.check("x").is_ok());
    assert!(number.check("12x").is_err() && number.check("x12").is_err());
    // The shorter alternative comes first, but the whole must match.
    assert!(policy("[form]\npattern = 'a|ab'").check("ab").is_ok());
    assert!(policy("[form]\npattern = '\\d+'").check("\u{663}").is_err());
}

#[test]
fn a_policy_that_can_not_be_meant_is_refused_with_its_line() {
    for (toml, says) in [
        (
            "[form]\ntrimm = true",
            "policy `p`, line 2: unknown field `trimm`, expected one of `trim`, `full_width`, `drop`, `case`, `zeros`, `length`, `alphabet`, `pattern`, `say`",
        ),
        (
            "[[rule]]\nkind = \"lucky\"",
            "policy `p`, line 1: `lucky` is no kind of rule; known are `divisible`, `range`, `check-digit`, `crc`, `date`, `list`, `signed`, `all`, `any`, `not`",
        ),
        (
            "[[rule]]\nby = 7",
            "policy `p`, line 1: a rule needs a `kind`; known are `divisible`, `range`, `check-digit`, `crc`, `date`, `list`, `signed`, `all`, `any`, `not`",
        ),
        (
            "\n[[rule]]\nkind = \"divisible\"\nbye = 7",
            "policy `p`, line 2: a `divisible` rule has no key `bye`; known are `kind`, `part`, `say`, `by`, `digits`",
        ),
        ("[[rule]]\nkind = \"divisible\"", "policy `p`, line 1: in a `divisible` rule: missing field `by`"),
        (
            "[[rule]]\nkind = \"divisible\"\nby = 0",
            "policy `p`, line 1: `by = 0` in a `divisible` rule says nothing; it is 2 or more",
        ),
        (
            "[[rule]]\nkind = \"range\"\nfrom = 9\nto = 3",
            "policy `p`, line 1: no number is from 9 to 3; the smaller one comes first",
        ),
        (
            "[form]\npattern = 'x(?<n>[0-9])'\n[[rule]]\nkind = \"divisible\"\nby = 7\npart = \"digits\"",
            "policy `p`: rule 1 (`divisible`) speaks of a part `digits`, but `pattern` names `n`, as in `(?<digits>[0-9]+)`; the serial as a whole needs no `part`",
        ),
        (
            "device_id = \"{nr}\"",
            "policy `p`: `device_id` speaks of `{nr}`, but `pattern` names none; `{serial}` stands for the whole",
        ),
        (
            "device_id = \"button\"",
            "policy `p`, line 1: `device_id` would be the same for every device; `{serial}` stands for the serial",
        ),
        ("[form]\npattern = 'a)|(?:b'", "policy `p`, line 2: `pattern` is no regular expression: unopened group"),
        ("[form]\npattern = '(x{1000}){1000}'", "policy `p`, line 2: `pattern` is too big once compiled; use smaller counts"),
        (
            "[form]\nlength = { min = 9, max = 3 }",
            "policy `p`, line 2: `length` says at least 9 and at most 3; no serial is both",
        ),
        ("[form]\nlength = 500", "policy `p`, line 2: a serial has 1 to 128 characters, but `length` says 500 characters"),
        ("[form]\nalphabet = \"Z-A\"", "policy `p`, line 2: `alphabet` has `Z-A`, which runs backwards"),
        (
            "example = \"8\"\n[[rule]]\nkind = \"divisible\"\nby = 7",
            "policy `p`: the policy refuses its own `example`: serial `8` is not valid: it is not a multiple of 7; the serial must be a multiple of 7",
        ),
    ] {
        assert_eq!(refused(toml), says);
    }
}

#[test]
fn a_configuration_holds_many_by_name() {
    #[derive(Deserialize)]
    struct Config {
        #[serde(deserialize_with = "by_name")]
        policies: BTreeMap<String, Policy>,
    }
    let config: Config =
        toml::from_str("[policies.a]\n[policies.b]\nproduct = \"x\"\n[[policies.b.rule]]\nkind = \"divisible\"\nby = 7")
            .expect("reads");
    assert_eq!(config.policies.values().map(|policy| policy.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(config.policies["b"].check("8").is_err());
}

#[test]
fn a_megabyte_is_refused_by_its_length() {
    let buttons = policy(BUTTONS);
    for text in ["7".repeat(1 << 20), "\u{663}".repeat(1 << 19), "a b".repeat(1 << 18)] {
        let error = buttons.check(&text).expect_err("is refused");
        assert!(matches!(error, SerialError::TooLong { .. }) && error.to_string().len() < 300, "{error}");
        assert_eq!(buttons.explain(&text)[0].outcome, Outcome::Fails);
    }
    assert!(matches!(buttons.check(&" ".repeat(1 << 20)), Err(SerialError::Empty { .. })));
}

/// Texts as they come from scanners and spreadsheets, and from people who mean harm.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[ \t]{0,2}[qQ][dD]-[0-9]{7}[\r\n ]{0,2}", "\\PC{0,200}", "[ -~\u{80}-\u{2ff}]{0,150}"]
}

proptest! {
    #[test]
    fn the_normal_form_is_idempotent(text in texts(), case in 0..3usize, trim: bool) {
        let policy = policy(&format!("[form]\ntrim = {trim}\ncase = \"{}\"", ["keep", "upper", "lower"][case]));
        let once = policy.normalise(&text);
        prop_assert_eq!(policy.normalise(&once), once);
    }

    #[test]
    fn no_text_panics_and_check_agrees_with_explain(text in texts()) {
        for policy in [policy(BUTTONS), policy("")] {
            let checked = policy.check(&text);
            let verdicts = policy.explain(&text);
            prop_assert_eq!(checked.is_ok(), verdicts.iter().all(Verdict::holds), "{:?} {:?}", checked, verdicts);
            match checked {
                Ok(serial) => {
                    prop_assert_eq!(serial.as_str(), policy.normalise(&text));
                    prop_assert_eq!(policy.check(serial.as_str()), Ok(serial.clone()));
                    prop_assert!(policy.device_id(&serial).is_ok());
                    prop_assert!(Serial::from_record(serial.as_str()).is_some());
                }
                Err(error) => {
                    let first = verdicts.iter().find(|verdict| !verdict.holds()).map(|verdict| verdict.why.clone());
                    prop_assert_eq!(first, Some(error.to_string()));
                    prop_assert!(!error.to_string().chars().any(char::is_control));
                }
            }
        }
    }

    #[test]
    fn divisible_agrees_with_machine_arithmetic(number: u128, by in 2u64..=u64::MAX >> 1) {
        let policy = policy(&format!("[[rule]]\nkind = \"divisible\"\nby = {by}"));
        prop_assert_eq!(policy.check(&number.to_string()).is_ok(), number % u128::from(by) == 0);
    }

    #[test]
    fn ranges_agree_with_machine_arithmetic(number: u128, bounds: (u128, u128)) {
        let (from, to) = (bounds.0.min(bounds.1), bounds.0.max(bounds.1));
        let policy = policy(&format!("[[rule]]\nkind = \"range\"\nfrom = \"{from}\"\nto = \"{to}\""));
        prop_assert_eq!(policy.check(&number.to_string()).is_ok(), (from..=to).contains(&number));
    }

    #[test]
    fn no_policy_text_panics(toml in "(\\[form\\]|\\[\\[rule\\]\\]|kind|by|=|[0-9]|\"|divisible|pattern|'|[(){}?<>|]|\n| ){0,40}") {
        let _ = Policy::parse("p", &toml);
    }
}

/// A file of `samples/`.
fn sample(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The serial and the note of each row of a sample.
fn rows(csv: &str) -> Vec<(&str, &str)> {
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("serial,product,lot,note"));
    lines.map(|line| (line.split(',').next().unwrap_or_default(), line.rsplit(',').next().unwrap_or_default())).collect()
}

#[test]
fn the_sample_batch_is_good() {
    let policy =
        Policy::parse("multiples-of-7", &sample("policies/multiples-of-7.toml")).unwrap_or_else(|error| panic!("{error}"));
    let csv = sample("serials.csv");
    let serials: std::collections::BTreeSet<_> =
        rows(&csv).into_iter().map(|(serial, _)| policy.check(serial).unwrap_or_else(|error| panic!("{error}"))).collect();
    assert_eq!(serials.len(), 24);
    assert!(rows(&csv).iter().all(|(written, _)| policy.normalise(written) == *written));
}

#[test]
fn the_sample_with_faults_has_the_faults_its_notes_tell() {
    let policy =
        Policy::parse("multiples-of-7", &sample("policies/multiples-of-7.toml")).unwrap_or_else(|error| panic!("{error}"));
    let csv = sample("serials-with-faults.csv");
    let mut faults = Vec::new();
    for (serial, note) in rows(&csv) {
        match policy.check(serial) {
            Ok(_) => assert_eq!(note, "good", "{serial}"),
            Err(error) => {
                assert_ne!(note, "good", "{error}");
                faults.push(error.to_string());
            }
        }
    }
    assert_eq!(
        faults,
        [
            "serial `QD-0042082` is not valid: the number must be a multiple of 7 (its part `number` is not a multiple of 7)",
            "serial `QD-OO42021` does not have the right form; it should be `QD-` and seven digits, as on the label",
            "serial `QD_0042028` has `_` as its character 3; this policy takes only `A-Z0-9-`",
            "serial `QD-004204` is too short: it has 9 characters, and should have 10 characters",
            "serial `QD-0000007` is not valid: labels are printed from QD-0010000 to QD-4999999 (its part `number` is 7)",
            "serial `QD-00420563` is too long: it has 11 characters, and should have 10 characters",
        ]
    );
}
