//! What people and programs outside read of the service: nothing of its source code, its documents or its parsers.

use super::*;

/// What no text for outside may hold: rustdoc's links, Rust's types, a parser's words, documents that are not there.
const INSIDE: [&str; 17] = [
    "[`",
    "`]",
    "::",
    "crate",
    "DESIGN",
    ".md",
    "Option<",
    "struct ",
    "enum ",
    "variant",
    "RegisterRequest",
    "ConfirmRequest",
    "invalid type",
    "deserialize",
    "sequence",
    "u64",
    "expected",
];

#[test]
fn the_description_speaks_of_nothing_that_a_reader_does_not_have() {
    fn texts(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(members) => members.iter().for_each(|(name, value)| match value {
                serde_json::Value::String(text) if matches!(name.as_str(), "description" | "summary" | "title") => {
                    found.push(text.clone());
                }
                value => texts(value, found),
            }),
            serde_json::Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    texts(&serde_json::to_value(openapi()).expect("JSON"), &mut found);
    assert!(found.len() > 100, "the texts were found: {}", found.len());
    for text in &found {
        for inside in INSIDE {
            assert!(!text.contains(inside), "`{inside}` in: {text}");
        }
    }
    for number in [qdrs_core::api::COLUMNS_MAX, qdrs_core::api::COLUMN_BYTES_MAX, qdrs_core::api::RELEASES_MAX] {
        assert!(found.iter().any(|text| text.contains(&number.to_string())), "{number} is not said");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_refusal_speaks_of_rust_or_repeats_what_was_sent() {
    let world = World::new().await;
    let line = world.station("line-1").await;
    let bodies = [
        "{",
        "7",
        "[]",
        "null",
        r#""HostName=h;SharedAccessKey=c2VjcmV0""#,
        r#"{"station":{"HostName":"SharedAccessKey=c2VjcmV0"}}"#,
        r#"{"station":7,"slot":[]}"#,
        r#"{"take_over":7}"#,
        r#"{"take_over":{}}"#,
        r#"{"recipient":"c2VjcmV0"}"#,
        r#"{"columns":["c2VjcmV0"]}"#,
        r#"{"reservation":"c2VjcmV0","reason":7}"#,
        r#"{"reservation":"01936b1a-7c10-7000-8000-000000000002","fingerprint":"c2VjcmV0"}"#,
        r#"{"hardware_id":null,"evidence":"c2VjcmV0"}"#,
    ];
    for body in bodies {
        for rest in ["", "/confirmation", "/release"] {
            let answer = world.send(line.signed("PUT", &format!("/v1/devices/QD-0001{rest}"), body)).await;
            if answer.status < 400 {
                continue;
            }
            let problem: Problem = answer.json();
            for inside in INSIDE.into_iter().chain(["c2VjcmV0"]) {
                assert!(!problem.detail.contains(inside), "`{inside}` for {body}: {}", problem.detail);
            }
            assert!(!problem.detail.is_empty(), "{body}");
        }
    }
    for query in ["after=x", "after=-1", "after=1&after=2", "after=99999999999999999999"] {
        let problem: Problem = world.get(&line, &format!("/v1/releases?{query}")).await.json();
        assert_eq!(problem.detail, "`after` of the query is a whole number from 0, given once", "{query}");
    }
    for query in ["journal=x", "journal=", "journal=01936b1a-7c10-7000-8000-000000000002&journal=x"] {
        let problem: Problem = world.get(&line, &format!("/v1/access?{query}")).await.json();
        assert_eq!(problem.detail, "`journal` of the query is a UUID, given once", "{query}");
    }
    let problem: Problem = world.get(&line, "/v1/devices/QD-%C3%A9").await.json();
    assert!(
        problem.detail.contains("a letter that is not ASCII") && problem.detail.contains("a serial has ASCII"),
        "{problem:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_may_tell_other_things_about_the_serial_but_spells_it_the_same() {
    let world = World::new().await;
    let line = world.station("line-1").await;
    let first: Registration = world.put(&line, "QD-0001", r#"{"slot":"1"}"#).await.json();
    let again = world.put(&line, "QD-0001", r#"{"slot":"2","columns":{"colour":"blue"}}"#).await;
    assert_eq!((again.status, again.json::<Registration>().reservation), (200, first.reservation));
    // The spelling is part of what the credential is sealed to.
    for other in ["qd-0001", "QD-0002"] {
        let problem: Problem = world.put(&line, other, "{}").await.json();
        assert_eq!((problem.code.as_str(), problem.status), ("idempotency-mismatch", 422), "{other}");
        assert!(problem.detail.contains("`QD-0001`") && problem.detail.contains("as it was first sent"), "{}", problem.detail);
    }
}
