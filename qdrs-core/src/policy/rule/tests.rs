//! Each kind of rule: what it takes, what it says of what it refuses, and which policies it makes no sense in.

use proptest::prelude::*;

use crate::{
    hardware_id::HardwareId,
    policy::{KeyPlace, Policy},
};

fn policy(toml: &str) -> Policy {
    Policy::parse("p", toml).unwrap_or_else(|error| panic!("{toml}: {error}"))
}

fn rule(toml: &str) -> Policy {
    policy(&format!("[[rule]]\n{toml}"))
}

/// Why the serial is refused, without the serial.
fn why(policy: &Policy, serial: &str) -> String {
    let error = policy.check(serial).expect_err(serial).to_string();
    error.split_once("is not valid: ").map_or(error.clone(), |(_, why)| why.to_owned())
}

fn unsound(toml: &str) -> String {
    let error = Policy::parse("p", toml).expect_err(toml).to_string();
    error.split_once(": ").map_or(error.clone(), |(_, why)| why.to_owned())
}

#[test]
fn numbers_may_have_digits_of_their_own() {
    let range = rule("kind = \"range\"\ndigits = \"0-9A-HJ-NP-Z\"\nfrom = \"A00\"\nto = \"B99\"");
    assert!(range.check("0A7Z").is_ok() && range.check("B99").is_ok());
    assert_eq!(why(&range, "9ZZ"), "it is 9ZZ; the serial must be from A00 to B99");
    assert_eq!(why(&range, "A0O"), "it is no number in the digits `0-9A-HJ-NP-Z`; the serial must be from A00 to B99");
    let divisible = rule("kind = \"divisible\"\ndigits = \"0-9A-F\"\nby = 255");
    assert!(divisible.check("FF").is_ok() && divisible.check("1FE").is_ok() && divisible.check("100").is_err());
    assert_eq!(unsound("[[rule]]\nkind = \"range\"\nfrom = \"A\"").as_str(), "`A` in a `range` rule is no number in digits");
}

#[test]
fn a_check_digit_is_about_the_parts_that_are_named_in_their_order() {
    let whole = rule("kind = \"check-digit\"\nscheme = \"luhn\"");
    assert!(whole.check("79927398713").is_ok());
    assert_eq!(
        why(&whole, "79927398710"),
        "it ends in the check character `0`, but the rest calls for `3`; the serial must have a Luhn check digit"
    );
    // The check digit stands first, after a prefix.
    let parts = policy(
        "[form]\npattern = 'X(?<check>.)-(?<number>.+)'\n[[rule]]\nkind = \"check-digit\"\nscheme = \"luhn\"\npart = [\"number\", \"check\"]",
    );
    assert!(parts.check("X3-7992739871").is_ok());
    assert_eq!(
        why(&parts, "X4-7992739871"),
        "the text of its parts `number` and `check` ends in the check character `4`, but the rest calls for `3`; `number` and `check` together must have a Luhn check digit"
    );
    assert!(unsound("[[rule]]\nkind = \"check-digit\"\nscheme = \"mod10\"").contains("luhn"));
    assert_eq!(
        unsound("[form]\ncase = \"lower\"\n[[rule]]\nkind = \"check-digit\"\nscheme = \"vin\""),
        "rule 1 (`check-digit`) `vin` knows capital letters only, but `case = \"lower\"` makes all letters small"
    );
}

#[test]
fn a_crc_stands_as_it_is_printed() {
    // CRC-16/MODBUS of the ASCII digits 1 to 9 is 4B37.
    let plain = rule("kind = \"crc\"\nname = \"CRC-16/MODBUS\"");
    assert!(plain.check("1234567894B37").is_ok());
    assert_eq!(
        why(&plain, "1234567894b37"),
        "it ends in `4b37`, but the CRC-16/MODBUS of the rest is `4B37`; the serial must end in its CRC-16/MODBUS in 4 hex digits"
    );
    assert_eq!(
        why(&plain, "4B37"),
        "it is too short for a CRC-16/MODBUS of 4 characters; the serial must end in its CRC-16/MODBUS in 4 hex digits"
    );
    assert!(rule("kind = \"crc\"\nname = \"crc-16/modbus\"\nbytes = \"low-first\"").check("123456789374B").is_ok());
    assert!(
        policy("[form]\ncase = \"lower\"\n[[rule]]\nkind = \"crc\"\nname = \"CRC-16/MODBUS\"").check("1234567894B37").is_ok()
    );
    assert!(rule("kind = \"crc\"\nname = \"CRC-16/MODBUS\"\nwritten = \"decimal\"").check("12345678919255").is_ok());
    assert!(rule("kind = \"crc\"\nname = \"CRC-16/MODBUS\"\nof = \"hex\"").check("3132333435363738394B37").is_ok());
    // 31 bits take eight hex digits, five bits two; 82 bits twenty-one.
    assert!(rule("kind = \"crc\"\nname = \"CRC-82/DARC\"").check("12345678909EA83F625023801FD612").is_ok());
    assert!(
        unsound("[[rule]]\nkind = \"crc\"\nname = \"CRC-16\"").contains("`CRC-16` may mean several; say which: `CRC-16/ARC`")
    );
    assert!(
        unsound("[form]\ncase = \"upper\"\n[[rule]]\nkind = \"crc\"\nname = \"CRC-8/SMBUS\"\nletters = \"lower\"")
            .contains("contradict")
    );
}

#[test]
fn a_date_is_one_that_there_was() {
    for (form, more, good, bad) in [
        (
            "YYMMDD",
            "",
            vec!["240229", "991231"],
            vec![("230229", "the month 2023-02 has no day 29"), ("241301", "`13` is no month")],
        ),
        (
            "YYYY-MM-DD",
            "",
            vec!["2024-02-29"],
            vec![("2024/02/29", "`/` should be `-`"), ("2024-2-29", "it should have 10 characters, as `YYYY-MM-DD`")],
        ),
        ("YYWW", "", vec!["2053", "2401"], vec![("2153", "2021 has no week 53"), ("2400", "2024 has no week 0")]),
        ("YYWWE", "", vec!["24017"], vec![("24018", "`8` is no weekday; 1 is Monday, 7 is Sunday")]),
        ("YYDDD", "", vec!["24366"], vec![("23366", "2023 has no day 366"), ("23000", "2023 has no day 0")]),
        ("YM", "first_year = 2020", vec!["4D", "9O"], vec![("4A", "`A` is no month; months are `123456789OND`")]),
        (
            "YM",
            "first_year = 2010\nyears = \"ABCDEFGHJK\"\nmonths = \"ABCDEFGHIJKL\"",
            vec!["KL"],
            vec![("IA", "`I` is no year; years are `ABCDEFGHJK`, from 2010 on")],
        ),
    ] {
        let date = rule(&format!("kind = \"date\"\nform = \"{form}\"\n{more}"));
        for text in good {
            assert!(date.check(text).is_ok(), "{form} {text}: {}", why(&date, text));
        }
        for (text, says) in bad {
            // A slash makes no device id; the rule comes first all the same.
            assert_eq!(why(&date, text), format!("it is `{text}`: {says}; the serial must be a date as `{form}`"));
        }
    }
    let bounded = rule("kind = \"date\"\nform = \"YYWW\"\nfrom = 2024-03-01\nto = \"2024-12-31\"");
    assert!(bounded.check("2409").is_ok() && bounded.check("2501").is_ok());
    assert_eq!(
        why(&bounded, "2408"),
        "it is `2408`, which is 2024-02-19 to 2024-02-25; the serial must be a date as `YYWW` from 2024-03-01 to 2024-12-31"
    );
    // A year of one digit is the one of its decade.
    let decade = rule("kind = \"date\"\nform = \"YWW\"\nfirst_year = 2024\nfrom = 2030-01-01");
    assert!(decade.check("301").is_ok() && decade.check("901").is_err());
    for (toml, says) in [
        ("form = \"MMDD\"", "makes no date"),
        ("form = \"YYQ\"", "`Q` in `form` is no part of a date"),
        ("form = \"YM\"", "needs `first_year`"),
        ("form = \"YY\"\nfrom = 2024-01-02\nto = 2024-01-01", "no date is right"),
        ("form = \"YYMM\"\nfrom = \"soon\"", "`soon` is no date; write it as 2024-01-31"),
    ] {
        assert!(unsound(&format!("[[rule]]\nkind = \"date\"\n{toml}")).contains(says), "{toml}");
    }
}

#[test]
fn rules_are_made_of_rules() {
    let any = policy(
        "[form]\npattern = '(?<n>[0-9]+)'\n[[rule]]\nkind = \"any\"\npart = \"n\"\nrules = [{ kind = \"divisible\", by = 7 }, { kind = \"range\", from = 1, to = 9 }]",
    );
    assert!(any.check("14").is_ok() && any.check("3").is_ok());
    assert_eq!(
        why(&any, "15"),
        "its part `n` is not a multiple of 7; `n` must be a multiple of 7, and its part `n` is 15; `n` must be from 1 to 9"
    );
    let not = rule("kind = \"not\"\nrules = [{ kind = \"range\", from = 100, to = 199 }]");
    assert!(not.check("99").is_ok() && not.check("X").is_ok());
    assert_eq!(why(&not, "150"), "the serial must not be from 100 to 199");
    let all = rule(
        "kind = \"all\"\nsay = \"ask Ann\"\nrules = [{ kind = \"divisible\", by = 7 }, { kind = \"not\", rules = [{ kind = \"divisible\", by = 2 }] }]",
    );
    assert!(all.check("21").is_ok());
    assert_eq!(why(&all, "14"), "ask Ann (the serial must not be a multiple of 2)");
    assert_eq!(
        unsound("[[rule]]\nkind = \"any\"\nrules = [{ kind = \"divisible\", by = 7 }]"),
        "an `any` rule needs two rules or more in `rules = [{ kind = … }, …]`"
    );
    let deep =
        (0..9).fold("{ kind = \"divisible\", by = 2 }".to_owned(), |inner, _| format!("{{ kind = \"not\", rules = [{inner}] }}"));
    assert!(unsound(&format!("[[rule]]\nkind = \"not\"\nrules = [{deep}]")).contains("8 deep"));
}

#[test]
fn a_list_is_looked_up_and_keeps_its_columns() {
    let csv = "\u{feff}Serial;MAC;lot\nqd-2;5C:CF:7F:00:00:02;7\n\nQD-1 ;5C:CF:7F:00:00:01;7\nQD-10;;8\n";
    let toml = "[form]\ncase = \"upper\"\n[[rule]]\nkind = \"list\"\nfile = \"list.csv\"\nkeep = [\"lot\"]\nhwid = \"mac\"";
    let unloaded = policy(toml);
    assert!(unloaded.wants());
    assert_eq!(
        why(&unloaded, "QD-1"),
        "it can't be looked up, since the list has not been loaded; the serial must stand in the list `list.csv`"
    );
    let load = |policy: Policy, csv: &str| {
        let bytes = csv.as_bytes().to_vec();
        policy.load(&mut |name| if name == "list.csv" { Ok(bytes.clone()) } else { Err("no such file".to_owned()) }, &mut |_| {
            Err(String::new())
        })
    };
    let loaded = load(unloaded.clone(), csv).expect("loads");
    let serial = loaded.check(" qd-1").expect("is listed");
    assert_eq!(loaded.listed_hardware_id(&serial).as_ref().map(HardwareId::as_str), Some("5C:CF:7F:00:00:01"));
    assert_eq!(loaded.listed(&serial).get("lot"), Some(&"7"));
    assert_eq!(loaded.listed_hardware_id(&loaded.check("QD-10").expect("is listed")), None);
    for other in ["QD-3", "QD-", "QD-100", "QD", "A", "Z"] {
        assert_eq!(why(&loaded, other), "it is not among its 3; the serial must stand in the list `list.csv`");
    }
    let fault = |csv: &str| {
        let error = load(unloaded.clone(), csv).expect_err("is refused").to_string();
        error.trim_start_matches("policy `p`: the list ").to_owned()
    };
    for (csv, says) in [
        ("serial,mac,lot\nA,1,2\na,1,2\n", "`list.csv`, lines 2 and 3 hold the same serial `A`"),
        ("serial,lot\nA,1\n", "`list.csv`: there is no column `mac`; its columns are `serial`, `lot`; name one, or its number"),
        ("serial,mac,lot\n", "`list.csv` holds no serial"),
        (
            "serial,mac,lot\nA,1,2\n1.2E+11,1,2",
            "`list.csv`, line 3: `1.2E+11` is a serial that a spreadsheet took for a number; its last digits are lost",
        ),
        (
            "serial,mac,lot\nA,\"1,2\nB,1,2\n",
            "`list.csv`, line 2: a quotation mark opens here and is never closed: the mark is too much, or the file was cut off here and rows are \
             missing; compare the end of the list with its source",
        ),
        ("%PDF-1.7", "`list.csv` is a PDF; ask for the list as .xlsx, or as `CSV UTF-8`"),
        (
            "no,label,mac,lot\n4701,AB-0001,0001,1\n4705,AB-0002,0002,1\n4709,AB-0003,0003,1\n",
            "`list.csv`: two columns look like serial numbers, column 1 `no` (`4701`, …) and column 2 `label` (`AB-0001`, …); \
             say which with `column = 'no'`",
        ),
    ] {
        assert_eq!(fault(csv), says, "{csv}");
    }

    // A list about a part, and another one that names its boards in another way.
    let both = policy(
        "[form]\npattern = '(?<kind>[AB])-(?<n>[0-9]+)'\nzeros = \"strip\"\n[[rule]]\nkind = \"any\"\npart = \"n\"\nrules = [\
         { kind = \"list\", file = \"list.csv\", hwid = \"mac\" }, { kind = \"list\", file = \"list2.csv\", hwid = \"imei\", keep = [\"lot\"] }]",
    );
    let both = both.load(
        &mut |name| Ok(if name == "list.csv" { "serial,mac\n007,AA\n" } else { "serial,imei,lot\n8,BB,9\n" }.as_bytes().to_vec()),
        &mut |_| Err(String::new()),
    );
    let both = both.expect("loads");
    let board = |text: &str| both.listed_hardware_id(&both.check(text).expect(text)).map(|board| board.to_string());
    assert_eq!((board("A-007").as_deref(), board("B-8").as_deref()), (Some("AA"), Some("BB")));
    assert!(both.check("A-7").is_err(), "a part keeps its zeros");
    assert_eq!(both.listed(&both.check("A-8").expect("is listed")).get("lot"), Some(&"9"));

    let own = rule("kind = \"list\"\nserials = [\"A1\", \"A2\"]");
    assert!(!own.wants() && own.check("A2").is_ok() && own.check("A3").is_err());
}

#[test]
fn a_list_may_be_a_workbook_or_what_a_spreadsheet_program_saves() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/batches");
    let load = |rule: &str| {
        let policy = policy(&format!("[[rule]]\nkind = \"list\"\n{rule}"));
        policy.load(&mut |name| std::fs::read(folder.join(name)).map_err(|error| error.to_string()), &mut |_| Err(String::new()))
    };
    let windows = load("file = \"windows-1252.csv\"\nkeep = [\"Farbe\"]").expect("loads");
    let serial = windows.check("QD-0041713").expect("is listed");
    assert_eq!(windows.listed(&serial).get("Farbe"), Some(&"grün"));
    for (rule, serial) in [
        ("file = \"utf16.txt\"", "QD-0041713"),
        ("file = \"title-and-comments.csv\"", "QD-0041713"),
        ("file = \"apostrophes.csv\"", "0041713"),
        ("file = \"padded.xlsx\"", "0041713"),
        ("file = \"second-sheet.xlsx\"\nsheet = \"old list\"\ncolumn = \"A\"", "QD-0000001"),
    ] {
        let policy = load(rule).unwrap_or_else(|error| panic!("{rule}: {error}"));
        assert!(policy.check(serial).is_ok() && policy.check("QD-1").is_err(), "{rule}");
    }
    for (file, says) in [
        ("dates.xlsx", "row 3: `2026-03-05` is a date that a spreadsheet made of the serial"),
        ("long-numbers.xlsx", "is a number with more than the 15 digits that a spreadsheet keeps; the others became zeros"),
    ] {
        let error = load(&format!("file = \"{file}\"")).expect_err("is refused").to_string();
        assert!(error.starts_with(&format!("policy `p`: the list `{file}`, ")) && error.ends_with(says), "{error}");
    }
}

/// Sixteen bytes and thirty-two, in base64.
const KEYS: [&str; 2] = ["MDEyMzQ1Njc4OWFiY2RlZg==", "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU="];

fn signed(toml: &str) -> Policy {
    let key = |place: KeyPlace<'_>| match place {
        KeyPlace::File("a.key") | KeyPlace::Variable("A") => Ok(KEYS[0].to_owned().into()),
        KeyPlace::File("b.key") => Ok(KEYS[1].to_owned().into()),
        _ => Err("there is none".to_owned()),
    };
    policy(toml).load(&mut |_| Err(String::new()), &mut { key }).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_signed_serial_is_made_by_the_key_only() {
    let policy = signed("[[rule]]\nkind = \"signed\"\ncharacters = 8\nkey_file = \"a.key\"");
    let serial = policy.sign("BOX-000001-").expect("signs");
    // Fixed for ever: labels are printed.
    insta::assert_snapshot!(serial, @"BOX-000001-VY26HK8K");
    assert_eq!(policy.guess_bits(), Some(40));
    assert_eq!(policy.check(serial.as_str()), Ok(serial.clone()));
    let text = serial.as_str();
    for at in 0..text.len() {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] ^= 1;
        let changed = String::from_utf8(bytes).expect("is ASCII");
        assert_eq!(
            why(&policy, &changed),
            "it does not end in the characters that belong to the rest; the serial must end in 8 characters that only the owner's key makes"
        );
    }
    assert!(policy.check(&text.to_ascii_lowercase()).is_err(), "one label is one serial");
    assert!(policy.check(&text[text.len() - 8..]).is_err());
    let small = signed("[form]\ncase = \"lower\"\n[[rule]]\nkind = \"signed\"\nkey_env = \"A\"");
    let serial = small.sign("box-1-").expect("signs");
    assert_eq!(small.check(&serial.as_str().to_ascii_uppercase()), Ok(serial));
}

#[test]
fn a_signature_among_other_rules_is_one_all_the_same() {
    let old_and_new = signed(
        "[[rule]]\nkind = \"any\"\nrules = [{ kind = \"signed\", characters = 8, key_file = \"b.key\", body = \"N-{number}-\" }, \
         { kind = \"signed\", characters = 6, key_file = \"a.key\" }, { kind = \"list\", serials = [\"KIT-1\"] }]",
    );
    assert!(old_and_new.check("KIT-1").is_ok());
    assert_eq!(old_and_new.guess_bits(), Some(30), "the easier one");
    let serial = old_and_new.sign("N-000001-").expect("by the first key").to_string();
    assert_eq!(old_and_new.body().and_then(|body| body.write(1)).as_deref(), Some("N-000001-"));
    let wrong = format!("{}{}", &serial[..serial.len() - 1], if serial.ends_with('7') { '8' } else { '7' });
    assert_eq!(
        old_and_new.nearest(&wrong, &|_| false, 3),
        crate::policy::nearest::Nearest::default(),
        "nobody is told what would be right"
    );
    assert!(unsound("[[rule]]\nkind = \"not\"\nrules = [{ kind = \"signed\", key_env = \"A\" }]").contains("whoever guesses"));
}

#[test]
fn keys_come_and_go_by_generation() {
    let both = signed(
        "[[rule]]\nkind = \"signed\"\nkeys = [{ generation = \"A\", file = \"a.key\" }, { generation = \"B\", file = \"b.key\" }]",
    );
    let old = signed("[[rule]]\nkind = \"signed\"\nkeys = [{ generation = \"A\", file = \"a.key\" }]");
    let (of_old, of_both) = (old.sign("X1").expect("signs"), both.sign("X1").expect("signs"));
    assert!(of_old.as_str().starts_with("X1A") && of_both.as_str().starts_with("X1B"));
    assert!(both.check(of_old.as_str()).is_ok() && old.check(of_both.as_str()).is_err());
    for (toml, says) in [
        ("characters = 3\nkey_env = \"A\"", "from 4 to 16"),
        ("", "needs `key_file`"),
        ("key_env = \"A\"\nkey_file = \"b\"", "needs `key_file`"),
        ("keys = [{ generation = \"I\", file = \"a\" }]", "not `I`"),
        ("keys = [{ generation = \"A\" }]", "either `file` or `env`"),
        ("key_env = \"A\"\nbody = \"QD-\"", "one `{number}` in it"),
        ("key_env = \"A\"\ndigits = 3", "it has no `body`"),
        ("keys = [{ generation = \"A\", file = \"a\" }, { generation = \"A\", file = \"b\" }]", "two keys"),
    ] {
        let error = unsound(&format!("[[rule]]\nkind = \"signed\"\n{toml}"));
        assert!(error.contains(says), "{toml}: {error}");
    }
    let missing = policy("[[rule]]\nkind = \"signed\"\nkey_file = \"c.key\"")
        .load(&mut |_| Err(String::new()), &mut |_| Ok("short".to_owned().into()));
    assert!(missing.expect_err("is no key").to_string().contains("qdrs-service serials key"));
}

#[test]
fn a_label_parts_the_signature_where_separators_are_left_out() {
    let rule = "[[rule]]\nkind = \"signed\"\nkey_file = \"a.key\"\nbody = \"qd-{number}-\"\ndigits = 4";
    let parted = signed(&format!("[form]\ncase = \"upper\"\ndrop = \"- \"\n{rule}"));
    let text = parted.body().and_then(|body| body.write(7)).expect("there is room");
    let serial = parted.sign(&text).expect("signs");
    let label = parted.label(&text, &serial);
    assert!(serial.as_str().starts_with("QD0007") && serial.as_str().len() == 14, "{serial}");
    assert!(label.starts_with("qd-0007-") && label.len() == 17 && label.as_bytes()[12] == b'-', "{label}");
    assert_eq!(parted.check(&label), Ok(serial));
    let whole = signed(&format!("[form]\ncase = \"upper\"\n{rule}"));
    let serial = whole.sign("QD-0007-").expect("signs");
    assert_eq!(whole.label("QD-0007-", &serial), serial.as_str());
}

#[test]
fn the_normal_form_has_its_own_rules() {
    let form = policy("[form]\nfull_width = true\ndrop = \"- /\"\ncase = \"upper\"\nzeros = { pad = 6 }");
    for (text, serial) in [("ａ－１２", "A12"), ("12-34", "001234"), (" - 7 /", "000007"), ("1234567", "1234567"), ("x 7", "X7")]
    {
        assert_eq!(form.check(text).map(|serial| serial.to_string()), Ok(serial.to_owned()), "{text}");
    }
    let strip = policy("[form]\nzeros = \"strip\"");
    for (text, serial) in [("007", "7"), ("000", "0"), ("A007", "A007")] {
        assert_eq!(strip.check(text).map(|serial| serial.to_string()), Ok(serial.to_owned()));
    }
    assert!(unsound("[form]\ndrop = \"-x\"").contains("only separators"));
    assert!(unsound("[form]\nzeros = \"lots\"").contains("`zeros` is \"strip\""));
}

#[test]
fn a_station_gets_what_it_can_judge() {
    let toml = "[form]\npattern = '[A-Z0-9-]+'\n[[rule]]\nkind = \"not\"\nrules = [{ kind = \"list\", serials = [\"KIT-0\"] }]\n";
    let (text, whole) = policy(&format!("{toml}[quota]\ntotal = 7\n")).for_stations();
    assert!(whole && text.total_max().is_none());
    for more in [
        "kind = \"any\"\nrules = [{ kind = \"signed\", key_file = \"a.key\" }, { kind = \"list\", serials = [\"KIT-1\"] }]",
        "kind = \"list\"\nfile = \"l.csv\"",
    ] {
        let (part, whole) = policy(&format!("{toml}[[rule]]\n{more}")).for_stations();
        assert_eq!((part.to_string(), whole), (text.to_string(), false), "{more}");
        let (part, _) = policy(&format!("example = \"QD-1\"\n{toml}[[rule]]\n{more}")).for_stations();
        assert_eq!(part.example(), None, "{more}");
        let again = policy(&part.to_string());
        assert!(again.check("QD-1").is_ok() && again.check("KIT-0").is_err() && again.check("qd").is_err());
    }
}

#[test]
fn a_product_may_go_by_prefix() {
    let two = policy("product = { \"QD-\" = \"button\", \"QD-9\" = \"gateway\" }");
    let product = |text: &str| two.check(text).map(|serial| two.product(&serial).map(str::to_owned)).expect(text);
    assert_eq!((product("QD-1").as_deref(), product("QD-91").as_deref()), (Some("button"), Some("gateway")));
    assert_eq!(why(&two, "X-1"), "it begins with none of `QD-`, `QD-9`, so it is no product's");
}

proptest! {
    #[test]
    fn every_normal_form_is_idempotent(text in "\\PC{0,40}|[ \\-/0-9a-zＡ-ｚ０-９\u{3000}]{0,30}", drop in "[-/. :]{0,3}", case in 0..3usize, wide: bool, zeros in 0..3usize) {
        let case = ["keep", "upper", "lower"][case];
        let zeros = ["", "zeros = \"strip\"", "zeros = { pad = 9 }"][zeros];
        let policy = policy(&format!("[form]\nfull_width = {wide}\ndrop = \"{drop}\"\ncase = \"{case}\"\n{zeros}"));
        let once = policy.normalise(&text);
        prop_assert_eq!(policy.normalise(&once), once);
    }

    #[test]
    fn no_serial_upsets_any_rule(text in "\\PC{0,40}|[ -~]{0,130}") {
        let rules = [
            "kind = \"crc\"\nname = \"CRC-16/MODBUS\"\nof = \"hex\"",
            "kind = \"crc\"\nname = \"CRC-82/DARC\"\nwritten = \"decimal\"",
            "kind = \"date\"\nform = \"YYYYDDD\"",
            "kind = \"date\"\nform = \"YYWWE\"",
            "kind = \"list\"\nserials = [\"A\"]",
            "kind = \"range\"\ndigits = \"0-9A-Z\"\nfrom = \"Z\"",
        ];
        for toml in rules {
            let policy = rule(toml);
            let valid = policy.check(&text).is_ok();
            prop_assert_eq!(policy.explain(&text).iter().all(crate::policy::Verdict::holds), valid);
        }
    }

    #[test]
    fn any_text_is_near_something_or_not(text in "\\PC{0,20}|[ -~]{0,20}") {
        for near in rule("kind = \"check-digit\"\nscheme = \"luhn\"").nearest(&text, &|_| false, 3).near {
            prop_assert_ne!(near.serial.as_str(), text.trim());
        }
    }

    #[test]
    fn what_is_signed_is_valid(text in "[A-Z0-9-]{1,60}") {
        let policy = signed("[[rule]]\nkind = \"signed\"\nkey_file = \"a.key\"");
        prop_assert!(policy.sign(&text).is_ok());
    }
}
