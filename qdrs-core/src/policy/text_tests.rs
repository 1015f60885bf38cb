//! What is printed reads back as the same policy: for the samples, and for policies made at random of every rule and key.

use std::collections::BTreeSet;

use proptest::{
    collection::{btree_set, vec},
    option,
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::TestRunner,
};

use super::*;
use crate::{check_digit::Scheme, crc::CATALOGUE};

/// With what its lists and keys need.
fn loaded(policy: &Policy) -> Result<Policy, PolicyError> {
    let mut file = |_: &str| Ok(b"serial,mac,lot\n12-AB,5C:CF:7F:00:00:01,7\n77,,8\n".to_vec());
    policy.clone().load(&mut file, &mut |_| Ok("MDEyMzQ1Njc4OWFiY2RlZg==".to_owned().into()))
}

/// Prints it, reads that, and gives what was printed. All of what was read is the same, and what is made of each serial.
fn printed(policy: &Policy, serials: &[String]) -> String {
    let text = policy.to_string();
    let again = Policy::parse(&policy.name, &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(again.to_string(), text);
    let Ok(policy) = loaded(policy) else { return text };
    let again = loaded(&again).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(format!("{again:#?}"), format!("{policy:#?}"), "{text}");
    for serial in serials {
        assert_eq!(again.normalise(serial), policy.normalise(serial), "{text}");
        assert_eq!(again.explain(serial), policy.explain(serial), "{text}");
        assert_eq!(again.check(serial), policy.check(serial), "{text}");
        if let Ok(serial) = policy.check(serial) {
            assert_eq!(again.device_id(&serial), policy.device_id(&serial), "{text}");
            assert_eq!(again.product(&serial), policy.product(&serial), "{text}");
            assert_eq!(again.listed(&serial), policy.listed(&serial), "{text}");
        }
    }
    text
}

/// Any text, in TOML; also those that need quotes of another kind.
fn words() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z ]{0,12}", "[ -~]{0,20}", "[\"'\\\\\n\t a]{0,8}", "\\PC{0,9}", any::<String>()]
        .prop_map(|text| toml::Value::String(text).to_string())
}

/// `key = value`, or nothing.
fn maybe(key: &'static str, value: impl Strategy<Value = impl ToString> + 'static) -> BoxedStrategy<Option<String>> {
    option::of(value.prop_map(move |value| format!("{key} = {}", value.to_string()))).boxed()
}

/// `key = value`.
fn always(key: &'static str, value: impl Strategy<Value = impl ToString> + 'static) -> BoxedStrategy<Option<String>> {
    value.prop_map(move |value| Some(format!("{key} = {}", value.to_string()))).boxed()
}

fn either(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(words).prop_map(|word| format!("\"{word}\""))
}

fn keys(keys: Vec<BoxedStrategy<Option<String>>>) -> BoxedStrategy<Vec<String>> {
    keys.prop_map(|keys| keys.into_iter().flatten().collect()).boxed()
}

fn inline(keys: impl Strategy<Value = Vec<String>> + 'static) -> BoxedStrategy<String> {
    keys.prop_map(|keys| format!("{{ {} }}", keys.join(", "))).boxed()
}

fn list_of(items: impl Strategy<Value = Vec<String>> + 'static) -> BoxedStrategy<String> {
    items.prop_map(|items| format!("[{}]", items.join(", "))).boxed()
}

/// The ends of a range, in one kind of digits; one may be missing.
fn bounds(digits: &'static str) -> BoxedStrategy<Vec<String>> {
    let number = move |number: u128, zeros: usize| match digits {
        "" if number < 1 << 60 && zeros == 0 => number.to_string(),
        "" => format!("\"{}{number}\"", "0".repeat(zeros)),
        "0-9A-F" => format!("\"{}{number:X}\"", "0".repeat(zeros)),
        _ => format!("\"{}\"", number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'A')).collect::<String>()),
    };
    (prop_oneof![0..100_000u128, any::<u128>()], any::<u128>(), 0..3usize, 0..3usize)
        .prop_map(move |(one, other, zeros, which)| {
            let from = format!("from = {}", number(one.min(other), zeros));
            let to = format!("to = {}", number(one.max(other), 0));
            match which {
                0 => vec![from, to],
                1 => vec![from],
                _ => vec![to],
            }
        })
        .boxed()
}

fn range() -> BoxedStrategy<Vec<String>> {
    let digits = select(&["", "0-9A-F", "A-J"][..]);
    let range = digits.prop_flat_map(|digits| {
        let several = list_of(vec(inline(bounds(digits)), 1..6)).prop_map(|several| vec![format!("within = {several}")]);
        (Just(digits), prop_oneof![bounds(digits), several])
    });
    range
        .prop_map(|(digits, mut keys)| {
            keys.extend((!digits.is_empty()).then(|| format!("digits = \"{digits}\"")));
            keys
        })
        .boxed()
}

/// The own keys of a rule of some kind that is not made of rules, and its kind.
fn kind() -> BoxedStrategy<(&'static str, Vec<String>)> {
    let day = || prop_oneof![Just("2024-02-29"), Just("\"2031-12-01\""), Just("\"-000044-03-15\"")];
    let file = keys(vec![
        always("file", words()),
        maybe("sheet", either(&["Week 47", "1"])),
        maybe("column", either(&["serial", "MAC"])),
        maybe("keep", list_of(vec(either(&["lot", "serial", "mac"]), 0..3))),
        maybe("hwid", either(&["mac", "lot"])),
    ]);
    let serials = list_of(
        btree_set("[0-9]{2,3}-[A-Z]{1,4}|[ -!#-&(-\\[\\]-~]{1,9}", 1..30)
            .prop_map(|set| set.into_iter().map(|serial| toml::Value::String(serial).to_string()).collect()),
    );
    let generation = |generation: &'static str| {
        let place = prop_oneof![Just("file = \"a b.key\""), Just("env = \"KEY\"")];
        inline(place.prop_map(move |place| vec![format!("generation = \"{generation}\""), place.to_owned()]))
    };
    let key = prop_oneof![
        Just("key_file = \"box.key\"".to_owned()),
        Just("key_env = \"BOX_KEY\"".to_owned()),
        (generation("A"), generation("7")).prop_map(|(one, other)| format!("keys = [{one}, {other}]")),
    ];
    prop_oneof![
        keys(vec![always("by", 2..1000u32), maybe("digits", either(&["0-9A-F", "0-9A-HJ-NP-Z", "0123456789"]))])
            .prop_map(|keys| ("divisible", keys)),
        range().prop_map(|keys| ("range", keys)),
        keys(vec![always("scheme", select(&Scheme::ALL[..]).prop_map(|scheme| format!("\"{scheme}\"")))])
            .prop_map(|keys| ("check-digit", keys)),
        keys(vec![
            always("name", select(&CATALOGUE[..]).prop_map(|crc| format!("\"{}\"", crc.name.to_lowercase()))),
            maybe("of", either(&["text", "hex"])),
            maybe("written", either(&["hex", "hex", "hex", "decimal"])),
            maybe("bytes", either(&["high-first", "low-first"])),
            maybe("letters", either(&["upper", "lower"])),
        ])
        .prop_map(|keys| ("crc", keys)),
        keys(vec![
            always("form", either(&["YYWW", "YYYY-MM-DD", "YDDD", "YM", "YYWWE", "YY", "/YYMM"])),
            maybe("from", day()),
            maybe("to", prop_oneof![Just("\"today\""), day()]),
            always("first_year", 1990..2030),
            maybe("years", either(&["0123456789", "ABCDEFGHJK", "PRSTVWXY"])),
            maybe("months", either(&["123456789OND", "ABCDEFGHJKLM"])),
        ])
        .prop_map(|keys| ("date", keys)),
        prop_oneof![file, keys(vec![always("serials", serials)])].prop_map(|keys| ("list", keys)),
        (key, keys(vec![maybe("characters", 4..=16), maybe("body", either(&["QD-{number}-", "{number}"]))]), 0..20usize)
            .prop_map(|(key, mut keys, digits)| {
                keys.extend((keys.iter().any(|key| key.starts_with("body")) && digits > 0).then(|| format!("digits = {digits}")));
                keys.push(key);
                ("signed", keys)
            }),
    ]
    .boxed()
}

/// A rule, perhaps of rules; `parts` says whether the pattern names some.
fn rule(parts: bool) -> BoxedStrategy<String> {
    let common = move |kind: &'static str, keys: Vec<String>| {
        (option::of(select(&["\"a\"", "[\"c\"]", "[\"b\", \"a\", \"c\"]"][..])), option::of(words())).prop_map(
            move |(part, say)| {
                let part = part.filter(|_| parts && kind != "signed").map(|part| format!("part = {part}"));
                let say = say.map(|say| format!("say = {say}"));
                let all = [format!("kind = \"{kind}\"")].into_iter().chain(part).chain(say).chain(keys.clone());
                format!("{{ {} }}", all.collect::<Vec<_>>().join(", "))
            },
        )
    };
    let leaf = kind().prop_flat_map(move |(kind, keys)| common(kind, keys));
    leaf.prop_recursive(3, 12, 4, move |rule| {
        (select(&["all", "any", "not"][..]), list_of(vec(rule, 2..4)))
            .prop_flat_map(move |(kind, rules)| common(kind, vec![format!("rules = {rules}")]))
    })
    .boxed()
}

/// What an owner may write, sound or not.
fn source() -> BoxedStrategy<String> {
    let form = |pattern: &'static str| {
        let pattern = (!pattern.is_empty()).then(|| format!("pattern = {pattern}"));
        keys(vec![
            maybe("trim", any::<bool>()),
            maybe("full_width", any::<bool>()),
            maybe("drop", either(&["- ", "/"])),
            maybe("case", either(&["keep", "upper", "lower"])),
            maybe("zeros", prop_oneof![Just("\"strip\""), Just("{ pad = 7 }")]),
            maybe(
                "length",
                prop_oneof![Just("9"), Just("{ min = 2 }"), Just("{ max = 40 }"), Just("{ min = 3, max = 12 }"), Just("{}")],
            ),
            maybe("alphabet", either(&["!-~", "A-Za-z0-9-"])),
            Just(pattern).boxed(),
            maybe("say", words()),
        ])
    };
    let patterns = [
        "",
        "'(?<a>[0-9]{1,20})-?(?<b>[0-9A-Za-z]{1,20})(?<c>\\d?)'",
        "\"(?<a>[^']+)'?(?<b>.)(?<c>.*)\"",
        "\"\"\"(?<a>\\\\d+)[\"']?(?<b>.*)(?<c>)\"\"\"",
    ];
    let product = prop_oneof![
        words(),
        vec((prop_oneof!["[0-9]{0,2}", "[ -~]{0,6}"], words()), 1..3).prop_map(|pairs| {
            let pairs: BTreeMap<_, _> = pairs.into_iter().collect();
            let pairs: Vec<_> = pairs.into_iter().map(|(prefix, name)| format!("{prefix:?} = {name}")).collect();
            format!("{{ {} }}", pairs.join(", "))
        }),
    ];
    let head = move |parts: bool| {
        keys(vec![
            maybe("product", product.clone()),
            maybe("least_evidence", select(&Evidence::ALL[..]).prop_map(|evidence| format!("\"{evidence}\""))),
            maybe(
                "device_id",
                if parts {
                    either(&["{a}-{b}", "x_{serial}.y", "{serial}"]).boxed()
                } else {
                    either(&["{serial}", "x_{serial}"]).boxed()
                },
            ),
            maybe("rule", list_of(vec(rule(parts), 0..3))),
        ])
    };
    let quota = keys(vec![maybe("total", 0..i64::MAX), maybe("per_day", 0..100i64)]);
    select(patterns.to_vec())
        .prop_flat_map(move |pattern| (head(!pattern.is_empty()), form(pattern), quota.clone()))
        .prop_map(|(head, form, quota)| {
            format!("{}\n[form]\n{}\n[quota]\n{}\n", head.join("\n"), form.join("\n"), quota.join("\n"))
        })
        .boxed()
}

fn serials() -> impl Strategy<Value = Vec<String>> {
    vec(prop_oneof!["[0-9]{1,6}-?[0-9A-Za-z]{1,9}", "[ -~]{0,20}", "[0-9A-F]{1,16}", "[A-J]{1,9}", Just("12-AB".to_owned())], 8)
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_as_the_same((policy, source, serials) in (source(), serials()).prop_filter_map("unsound", |(source, serials)| {
        Some((Policy::parse("p", &source).ok()?, source, serials))
    })) {
        printed(&policy, &serials);
        // With an example, if there is one.
        if let Some(example) = serials.iter().find(|serial| policy.check(serial).is_ok()) {
            let text = format!("example = {}\n{source}", toml::Value::String(example.clone()));
            let policy = Policy::parse("p", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            prop_assert!(printed(&policy, &serials).contains("example = "));
        }
    }
}

#[test]
fn every_key_is_among_what_is_printed_at_random() {
    let (mut runner, strategy) = (TestRunner::deterministic(), source());
    let sources = (0..1500).map(|_| strategy.new_tree(&mut runner).expect("a text").current());
    let printed: Vec<String> = sources.filter_map(|source| Some(Policy::parse("p", &source).ok()?.to_string())).collect();
    assert!(printed.len() > 200, "{} are sound", printed.len());
    let words: BTreeSet<&str> = printed.iter().flat_map(|text| text.split([' ', '\n', '{', ','])).collect();
    let head = ["product", "least_evidence", "device_id", "total", "per_day", "kind", "part", "say"];
    let form = ["trim", "full_width", "drop", "case", "zeros", "length", "alphabet", "pattern"];
    for key in head.into_iter().chain(form).chain(rule::keys()) {
        assert!(words.contains(key), "{key}");
    }
    for kind in rule::KINDS {
        assert!(words.contains(format!("\"{kind}\"").as_str()), "{kind}");
    }
}

#[test]
fn a_policy_is_printed_as_its_owner_would_write_it() {
    let policy = Policy::parse(
        "p",
        r#"
        example = "QD-12-0007"
        least_evidence = "device-checked"       # the default
        device_id = "{serial}"
        [quota]
        total = 500_000
        [form]
        trim = true
        case = "upper"
        length = { max = 12, min = 10 }
        pattern = "QD-(?<plant>\\d\\d)-(?<number>[0-9]+)"
        [[rule]]
        part = ["number"]
        kind = "range"
        within = [{ from = "0007", to = 7_000 }]
        [[rule]]
        kind = "any"
        part = "number"
        say = "it's \"ours\""
        [[rule.rules]]
        kind = "divisible"
        by = 7
        part = "number"
        [[rule.rules]]
        kind = "all"
        [[rule.rules.rules]]
        kind = "range"
        within = [{ from = 1, to = 3 }, { from = "99999999999999999999" }]
        [[rule.rules.rules]]
        kind = "list"
        part = "plant"
        serials = ["10", "11", "12", "13", "14", "15", "16", "17", "18", "19", "20", "21", "22", "23", "24"]
        "#,
    );
    let policy = policy.unwrap_or_else(|error| panic!("{error}"));
    insta::assert_snapshot!(printed(&policy, &["QD-12-0007".to_owned()]), @r#"
    example = "QD-12-0007"

    [form]
    case = "upper"
    length = { min = 10, max = 12 }
    pattern = 'QD-(?<plant>\d\d)-(?<number>[0-9]+)'

    [[rule]]
    kind = "range"
    from = 7
    to = 7000
    part = "number"

    [[rule]]
    kind = "any"
    part = "number"
    say = "it's \"ours\""
    rules = [
        { kind = "divisible", by = 7 },
        { kind = "all", rules = [
            { kind = "range", within = [{ from = 1, to = 3 }, { from = "99999999999999999999" }] },
            { kind = "list", serials = ["10", "11", "12", "13", "14", "15", "16", "17", "18", "19", "20", "21", "22", "23", "24"], part = "plant" },
        ] },
    ]

    [quota]
    total = 500000
    "#);
}

#[test]
fn an_empty_policy_has_nothing_to_say() {
    assert_eq!(printed(&Policy::parse("p", "[form]\nlength = {}").expect("is sound"), &[]), "");
}

#[test]
fn the_text_of_a_normal_form_changes_with_what_it_makes_of_a_serial_and_with_nothing_else() {
    let of = |form: &str| Policy::parse("p", &format!("[form]\n{form}\n")).expect("reads").normal_form();
    let forms = [
        "",
        "trim = false",
        "full_width = true",
        "drop = \"-\"",
        "drop = \"- \"",
        "case = \"upper\"",
        "case = \"lower\"",
        "zeros = \"strip\"",
        "zeros = { pad = 4 }",
    ];
    let texts: std::collections::HashSet<_> = forms.iter().map(|form| of(form)).collect();
    assert_eq!(texts.len(), forms.len());
    for form in forms {
        let more = format!("{form}\nlength = {{ max = 20 }}\nalphabet = \"A-Za-z0-9\"\npattern = '.*'\nsay = 'anything'");
        assert_eq!(of(form), of(&more), "{form}");
    }
}
