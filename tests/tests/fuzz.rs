//! Hostile input: what people, spreadsheets and the network give, mutated. Nothing panics, and time stays in proportion.
//!
//! Each target is a function of bytes. Mutations start from real files of this repository, so that they reach beyond the
//! first check. A failure prints the target, the seed and the input in hex; a few hundred each here, many in the deep run.

use std::{
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

use qdrs_core::{
    access::AccessCode,
    batch::{Reading, Rules, examine},
    check_digit::Scheme,
    connection_string::{DeviceConnectionString, OwnerConnectionString},
    policy::Policy,
};
use qdrs_tests::{Dice, deep, repository};

/// Linear time on this input, with all the slack of a busy machine: a quadratic step over it would take minutes.
const LONG_BYTES: usize = 4 << 20;
/// The same in the short run.
const SHORTER_BYTES: usize = 128 << 10;
const LONG_MAX: Duration = Duration::from_secs(60);

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 6] = [
    ("policy", |bytes| drop(Policy::parse("fuzz", &String::from_utf8_lossy(bytes)))),
    ("serial", |bytes| judge_serial(&String::from_utf8_lossy(bytes))),
    ("check-digit", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        Scheme::ALL.iter().for_each(|scheme| drop(scheme.check(&text)));
    }),
    ("batch", read_batch),
    ("workbook", read_batch),
    ("strings", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        drop(AccessCode::parse(&text));
        drop(DeviceConnectionString::parse(&text));
        drop(OwnerConnectionString::parse(&text));
    }),
];

fn policies() -> Vec<Policy> {
    let files = seeds("samples/policies", "toml");
    // Those with lists and keys judge by their form, and refuse all else: that must not panic either.
    files.iter().map(|text| Policy::parse("sample", &String::from_utf8_lossy(text)).expect("a sample is sound")).collect()
}

fn judge_serial(text: &str) {
    thread_local!(static POLICIES: Vec<Policy> = policies());
    POLICIES.with(|policies| {
        for policy in policies {
            match policy.check(text) {
                Ok(serial) => assert_eq!(policy.normalise(serial.as_str()), serial.as_str(), "its normal form is its own"),
                Err(error) => assert!(error.to_string().len() < 2_000, "{error}"),
            }
            assert!(policy.explain(text).len() < 20);
        }
    });
}

fn read_batch(bytes: &[u8]) {
    let mut rows = 0;
    let examined = examine(Cursor::new(bytes), Path::new("batch"), &Reading::default(), &Rules::none(), &mut |_| {
        rows += 1;
        true
    });
    match examined {
        Ok(examined) => assert!(examined.good() <= examined.rows && rows >= examined.good()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The files of a folder with that ending.
fn seeds(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    let files =
        std::fs::read_dir(repository().join(folder)).expect("the folder is there").map(|file| file.expect("is one").path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|found| found == ending)).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} has no *.{ending}");
    files.iter().map(|path: &std::path::PathBuf| std::fs::read(path as &Path).expect("can be read")).collect()
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let lines = |text: &str| text.lines().map(|line| line.as_bytes().to_vec()).collect();
    match target {
        "policy" => seeds("samples/policies", "toml"),
        "batch" => seeds("tests/data/batches", "csv"),
        "workbook" => seeds("tests/data/batches", "xlsx"),
        "serial" | "check-digit" => lines(
            "QD-0041713\n356938031234561\n010952123456789921A17-0042\n1XD4TRLR8R1000001\n5C:CF:7F:00:12:34\nM2447-00017-D\nBOX-000001-VY26HK8K\nVA-07940X\n000014\nDE89370400440532013000",
        ),
        _ => lines(
            "HostName=h.azure-devices.net;DeviceId=QD-1;SharedAccessKey=c2VjcmV0IG9mIHRoZSBvd25lcg==\nHostName=h.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey=c2VjcmV0IG9mIHRoZSBvd25lcg==\nqdrs1qqqsyqcyq5rqwzqfpg9scrgwpugpzysn",
        ),
    }
}

/// One of the corpus, changed in a few places: bits, bytes, pieces doubled, dropped, taken from another.
fn mutated(corpus: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let pick = |dice: &mut Dice, count: usize| usize::try_from(dice.below(count.max(1) as u64)).unwrap_or(0);
    let mut bytes = corpus[pick(dice, corpus.len())].clone();
    for _ in 0..=pick(dice, 6) {
        let at = pick(dice, bytes.len() + 1);
        let end = at + pick(dice, bytes.len() - at + 1).min(200);
        match pick(dice, 7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << pick(dice, 8),
            1 => bytes.insert(at, [b'"', b'\n', b',', b';', 0, 0xff, b'[', b'{', b'=', b'9'][pick(dice, 10)]),
            2 => drop(bytes.drain(at..end)),
            3 => bytes.extend_from_within(at..end),
            4 => bytes.truncate(at),
            5 => {
                let other = &corpus[pick(dice, corpus.len())];
                let from = pick(dice, other.len() + 1);
                let to = from + pick(dice, other.len() - from + 1).min(200);
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            _ => bytes.splice(at..at, "\u{663}\u{feff}\u{a0}\u{202e}".bytes()).for_each(drop),
        }
    }
    bytes
}

#[test]
fn mutated_input_never_panics() {
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        let mut dice = Dice::new(name);
        for seed in &corpus {
            target(seed);
        }
        for round in 0..if deep() { 4_000 } else { 300 } {
            let input = mutated(&corpus, &mut dice);
            let outcome = catch_unwind(AssertUnwindSafe(|| target(&input)));
            assert!(outcome.is_ok(), "{name}, round {round}: {}", data_encoding::HEXLOWER.encode(&input));
        }
    }
}

#[test]
fn long_input_takes_time_in_proportion() {
    for (name, target) in TARGETS {
        for unit in ["7", "\"", "\n", ",", "[", "a=1\n", "QD-0041713\n", "\u{663}", " ", "[[rule]]\n", "=1E9;"] {
            let input = unit.repeat(if deep() { LONG_BYTES } else { SHORTER_BYTES } / unit.len());
            let begun = Instant::now();
            target(input.as_bytes());
            let took = begun.elapsed();
            eprintln!("{name}: {took:?} for {} bytes of {unit:?}", input.len());
            assert!(took < LONG_MAX, "{name} takes {took:?} for {} bytes of {unit:?}", input.len());
        }
    }
}
