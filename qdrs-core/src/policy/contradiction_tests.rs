//! What no serial can fulfil, and what only looks so.

use super::Policy;

fn unsound(toml: &str) -> String {
    Policy::parse("p", toml).expect_err(toml).why
}

#[test]
fn what_no_serial_can_fulfil_is_refused() {
    let range = "[[rule]]\nkind = \"range\"\n";
    for (toml, says) in [
        (
            "[form]\nlength = 5\npattern = '[0-9]{7}'".to_owned(),
            "`pattern` wants 7 characters or more, but `length` says 5 characters",
        ),
        (
            "[form]\nlength = 9\npattern = 'A?[0-9]{7}'".to_owned(),
            "`pattern` takes 8 characters at most, but `length` says 9 characters",
        ),
        (
            "[form]\nalphabet = \"A-Z\"\npattern = '[A-Z]+-[A-Z]+'".to_owned(),
            "`pattern` wants a character that `alphabet`, or any serial, does not have",
        ),
        ("[form]\npattern = 'A B'".to_owned(), "`pattern` wants a character that `alphabet`, or any serial, does not have"),
        ("[form]\ncase = \"upper\"\npattern = 'qd[0-9]+|x'".to_owned(), "`pattern` wants small letters, but `case` leaves none"),
        ("[form]\ndrop = \"-\"\npattern = '[0-9]+-[0-9]'".to_owned(), "`pattern` wants a separator that `drop` leaves out"),
        (
            format!("[form]\nlength = 4\n{range}from = 10_000"),
            "the serial must be 10000 or more, which takes 5 characters or more, but there are 4 at most",
        ),
        (
            format!("[form]\npattern = 'X(?<n>[0-9]{{3}})'\n{range}part = \"n\"\nfrom = 1000"),
            "`n` must be 1000 or more, which takes 4 characters or more, but there are 3 at most",
        ),
        (
            format!("{range}to = 9\n{range}within = [{{ from = 10, to = 12 }}, {{ from = 20 }}]"),
            "two rules contradict each other: the serial must be 9 or less, but the serial must be from 10 to 12 or 20 or more",
        ),
        (
            format!("{range}from = 8\nto = 13\n[[rule]]\nkind = \"divisible\"\nby = 7"),
            "two rules contradict each other: the serial must be from 8 to 13, but the serial must be a multiple of 7",
        ),
        (
            "[[rule]]\nkind = \"divisible\"\nby = 7\n[[rule]]\nkind = \"not\"\nrules = [{ kind = \"divisible\", by = 7 }]"
                .to_owned(),
            "two rules contradict each other: the serial must be a multiple of 7, but the serial must not be a multiple of 7",
        ),
    ] {
        assert_eq!(unsound(&toml), says, "{toml}");
    }
    for sound in [
        "[form]\npattern = '(?<plant>[0-9]{2})[0-9]+'\n[[rule]]\nkind = \"list\"\npart = \"plant\"\nserials = [\"07\", \"11\"]\n[[rule]]\n\
         kind = \"not\"\npart = \"plant\"\nrules = [{ kind = \"list\", serials = [\"99\"] }]"
            .to_owned(),
        "[[rule]]\nkind = \"crc\"\nname = \"CRC-16/MODBUS\"\nbytes = \"low-first\"\n[[rule]]\nkind = \"not\"\nrules = [{ kind = \"crc\", name = \
         \"CRC-16/MODBUS\" }]"
            .to_owned(),
        "[form]\npattern = '(?<a>[A-Z]+)(?<n>[0-9]*)'\n[[rule]]\nkind = \"check-digit\"\nscheme = \"luhn\"\npart = \"n\"".to_owned(),
        "product = { \"\" = \"others\", \"QD-\" = \"button\" }\n[form]\npattern = '[A-Z]{2}-[0-9]+'".to_owned(),
        "[form]\nzeros = { pad = 10 }\npattern = '(?<plant>[0-9]{2})[0-9]{8}'\n[[rule]]\nkind = \"list\"\npart = \"plant\"\nserials = [\"07\"]"
            .to_owned(),
        "[form]\ncase = \"upper\"\npattern = '(?i)qd[0-9]+'".to_owned(),
        "[form]\ncase = \"upper\"\npattern = 'qd|QD'".to_owned(),
        format!("{range}from = 8\nto = 14\n[[rule]]\nkind = \"divisible\"\nby = 7"),
        format!("{range}from = \"99999999999999999999999999999999999999999\"\n[[rule]]\nkind = \"divisible\"\nby = 7"),
    ] {
        Policy::parse("p", &sound).unwrap_or_else(|error| panic!("{sound}: {error}"));
    }
}

/// A line of a policy, and why it is refused.
#[test]
fn a_rule_that_its_part_leaves_no_room_for_is_refused() {
    let part = |pattern: &str, rule: &str| format!("[form]\npattern = '{pattern}'\n[[rule]]\npart = \"n\"\n{rule}");
    let head = |head: &str, pattern: &str| format!("{head}\n[form]\npattern = '{pattern}'");
    let refused: Vec<String> = [
        part("A(?<n>[0-9])", "kind = \"check-digit\"\nscheme = \"luhn\""),
        part("A(?<n>[0-9]{7})", "kind = \"check-digit\"\nscheme = \"sscc\""),
        part("A(?<n>[A-Z]{4,})", "kind = \"check-digit\"\nscheme = \"luhn\""),
        part("A(?<n>[A-Z]{7})", "kind = \"range\"\nfrom = 1"),
        part("A(?<n>[0-9]{3})", "kind = \"date\"\nform = \"YYMMDD\""),
        part("A(?<n>[0-9A-F]{4})", "kind = \"crc\"\nname = \"CRC-16/MODBUS\""),
        "[form]\nlength = 16\n[[rule]]\nkind = \"check-digit\"\nscheme = \"vin\"".to_owned(),
        "[form]\nalphabet = \"A-Z\"\n[[rule]]\nkind = \"check-digit\"\nscheme = \"damm\"".to_owned(),
        "[form]\npattern = '[0-9]{3}'\n[[rule]]\nkind = \"range\"\nfrom = 1000".to_owned(),
        "[form]\nlength = 8\n[[rule]]\nkind = \"signed\"\nkey_env = \"A\"".to_owned(),
        "[form]\nalphabet = \"0-9A-Y-\"\n[[rule]]\nkind = \"signed\"\nkey_env = \"A\"".to_owned(),
        "[[rule]]\nkind = \"signed\"\nkey_env = \"A\"\n[[rule]]\nkind = \"signed\"\nkey_env = \"B\"".to_owned(),
        "[form]\npattern = 'A(?<n>[0-9]{6})'\n[[rule]]\nkind = \"date\"\nform = \"YYMMDD\"\npart = \"n\"\nto = 2024-01-01\n[[rule]]\nkind = \
         \"date\"\nform = \"YYMMDD\"\npart = \"n\"\nfrom = 2024-02-01"
            .to_owned(),
        "[[rule]]\nkind = \"date\"\nform = \"YWW\"\nfirst_year = 2020\nfrom = 2031-01-01".to_owned(),
        "[[rule]]\nkind = \"date\"\nform = \"YWW\"\nfirst_year = 32767".to_owned(),
        head("product = { \"ZZ-\" = \"button\" }", "TH-[0-9]+"),
        head("product = { \"qd-\" = \"button\" }", "QD-[0-9]+") + "\ncase = \"upper\"",
        head("product = {}", "TH-[0-9]+"),
        head("product = { \"TH-\" = \"\" }", "TH-[0-9]+"),
        head("device_id = \"{n}-{serial}\"", "(?<n>[0-9]+)/[0-9]+"),
        head("device_id = \"d-{n}\"", "(?<n>[0-9]+\\*)[0-9]+"),
        head("device_id = \"{gtin}-{serial}\"", "01(?<gtin>[0-9]{14})21(?<serial>[A-Z0-9]+)"),
        "[quota]\nper_day = 1e3".to_owned(),
        "least_evidence = \"readback\"".to_owned(),
        "[form]\nzeros = { pad = 10, strp = true }".to_owned(),
        "[[rule]]\nkind = \"list\"\nserials = [\"7\", \" 7\"]".to_owned(),
    ]
    .iter()
    .map(|toml| format!("{}\n    {}\n", toml.replace('\n', " | "), unsound(toml)))
    .collect();
    insta::assert_snapshot!(refused.join("\n"));
}
