//! Whole files in, rows or sentences out; whatever the bytes, no panic and no memory without bound.

use std::io::{Cursor, Read, Write};

use crate::{explain::Explain, policy::Policy};
use proptest::prelude::*;
use zip::{ZipArchive, ZipWriter, write::SimpleFileOptions};

use super::*;

fn open(bytes: impl AsRef<[u8]>, reading: &Reading) -> Result<(Batch, Examined), BatchError> {
    Batch::read(Cursor::new(bytes), Path::new("serials.csv"), reading, &Rules::none())
}

fn kept(name: &str) -> std::fs::File {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/batches").join(name);
    std::fs::File::open(path).expect("opens")
}

fn rows(text: impl AsRef<[u8]>) -> Vec<(u32, String)> {
    let text = text.as_ref();
    let (batch, _) = open(text, &Reading::default()).unwrap_or_else(|error| panic!("{text:?}: {error}: {:?}", said(&error)));
    batch.rows.into_iter().map(|row| (row.line, row.serial.into())).collect()
}

/// Each fault with its place.
fn said(error: &BatchError) -> Vec<String> {
    let line = |fault: &dyn Explain| match fault.at() {
        Some(at) => format!("{}: {fault}", at.trim_start_matches("serials.csv, ")),
        None => fault.to_string(),
    };
    match error.each()[..] {
        [] => vec![line(error)],
        ref each => each.iter().map(|fault| line(*fault)).collect(),
    }
}

fn faults(text: impl AsRef<[u8]>) -> Vec<String> {
    match open(text, &Reading::default()) {
        Ok((batch, _)) => panic!("{} rows and no fault", batch.rows.len()),
        Err(error) => said(&error),
    }
}

#[test]
fn the_column_is_found_by_its_name_else_it_is_the_first() {
    let two = vec![(2, "A1".to_owned()), (3, "A2".to_owned())];
    for text in [
        "serial\nA1\nA2\n",
        "\u{feff}Serial Number\r\nA1\r\nA2\r\n",
        "id;S/N;colour\n1;A1;red\n2; A2 ;blue",
        "id\tserial_number\n1\tA1\n2\tA2\n",
        "id|serial\r1|A1\r2|A2\r",
        "\"id, old\",serial\n7,A1\n8,A2\n",
        "Serial number of the device,x\nA1,\nA2,\n",
    ] {
        assert_eq!(rows(text), two, "{text:?}");
    }
    assert_eq!(rows("A1,red\nA2,blue\n"), [(1, "A1".to_owned()), (2, "A2".to_owned())]);
    for column in ["name", "2"] {
        let reading = Reading { column: Some(column.into()), ..Reading::default() };
        let (batch, _) = open("no,Name\n1,A1\n", &reading).expect("reads");
        assert_eq!((batch.rows[0].line, &*batch.rows[0].serial), (2, "A1"));
    }
}

#[test]
fn lines_are_those_of_the_file() {
    assert_eq!(rows("\n\nserial\n\n\r\nA1\n  \n;;\n\"A2\"\n"), [(6, "A1".to_owned()), (9, "A2".to_owned())]);
    assert_eq!(rows("sep=;\nserial;note\nA1;\"two\nlines\"\nA2;\n"), [(3, "A1".to_owned()), (5, "A2".to_owned())]);
    assert_eq!(rows("# made by hand\nserial\nA1\n# the end\nA2"), [(3, "A1".to_owned()), (5, "A2".to_owned())]);
}

#[test]
fn all_faults_are_told_at_once() {
    let long = "9".repeat(crate::serial::SERIAL_BYTES_MAX + 1);
    let text = format!("serial,note\nA1,\n,forgotten\nA2,\nA1,\nA\u{7}3,\n{long},\n\"A4\nA5\",\n");
    insta::assert_snapshot!(faults(text).join("\n"), @r"
    line 3: the row has no serial; write it in, or delete the row
    line 5: serial `A1` stands in line 2 already; take one of them out
    line 6: serial `A\u{7}3` has a control character (U+0007) as its character 2; a serial has ASCII letters, digits and signs only
    line 7: serial `999999999999999999999999999999999999999999999999…` is too long: it has 129 characters, and should have 1 to 128 characters
    lines 8, 9: a quotation mark makes one row of these, from `A4` on; take the mark out, or close it
    ");
    assert_eq!(faults("serial\n\n"), ["`serials.csv` holds no serial number"]);
    assert_eq!(faults(b"\xD0\xCF\x11\xE0\0"), ["`serials.csv` is an .xls of old, or a workbook with a password"]);
    assert_eq!(faults(b"%PDF-1.7"), ["`serials.csv` is a PDF"]);
    assert_eq!(faults([b'a', 0, 1, 2, 3, b'b', 4, 5]), ["`serials.csv` is no text"]);
    assert_eq!(faults(b"PK\x03\x04\0"), ["`serials.csv` is damaged, or no XLSX file"]);
}

#[test]
fn one_bad_row_never_takes_the_rest_of_the_list_in_silence() {
    let too_wide = format!("A2{}", ",x".repeat(300));
    let text = format!("serial,x\nA1,\n{too_wide}\nA3{}\nA4,{}\nA5,", ",".repeat(300), "x".repeat(70_000));
    assert_eq!(
        faults(&text),
        [
            "line 3: the row has more than 256 columns; is it a list with one serial a row?",
            "line 5: the row is longer than 64 KiB; is it a list with one serial a row?"
        ]
    );
    let skipping = Reading { skip_bad: true, ..Reading::default() };
    let (batch, _) = open(&text, &skipping).expect("has good rows");
    assert_eq!(batch.rows.iter().map(|row| &*row.serial).collect::<Vec<_>>(), ["A1", "A3", "A5"]);

    // Marks that nothing closes, or only a long way below: nobody knows which rows are in them, so none is left out.
    let rows = |from: u32, to: u32| (from..=to).map(|row| format!("ZZ-{row:06},a note\n")).collect::<String>();
    let unclosed = format!("serial,note\n{}ZZ-900000,\"a note\n{}", rows(1, 3), rows(4, 9000));
    let closed = format!("{unclosed}ZZ-900001,\"a note\n{}", rows(9001, 9005));
    for (text, rows, line) in [
        (unclosed, 9001, "lines 5 to 9002 (8998 rows): a quotation mark opens in the first of these rows and is never closed"),
        (closed, 9007, "lines 5 to 9003 (8999 rows): a quotation mark makes one row of these, from `ZZ-900000` on"),
    ] {
        let error = open(&text, &skipping).map(|_| ()).expect_err("is not whole");
        assert!(said(&error)[0].starts_with(line), "{:?}", said(&error));
        let BatchError::Rows(examined) = &error else { panic!("{error:?}") };
        assert_eq!((examined.rows, examined.can_skip()), (rows, false));
        assert!(error.help().ends_with("`--skip-bad` would leave out rows that nobody could read"), "{}", error.help());
    }
}

#[test]
fn a_serial_and_the_same_with_a_mark_for_text_are_twins() {
    assert_eq!(faults("serial\nA1\n'A1\n"), ["line 3: serial `A1` stands in line 2 already; take one of them out"]);
}

#[test]
fn many_rows_of_a_kind_are_one_fault() {
    let error = open(format!("serial\n{}", "A1\nA2\n".repeat(3000)), &Reading::default()).map(|_| ()).expect_err("faulty");
    assert_eq!(error.each().len(), 1);
    assert_eq!(error.to_string().split(" in `").next(), Some("5998 of the 6000 rows"));
}

#[test]
fn each_row_is_told_with_its_own_sentence_however_many_there_are() {
    let text: String = (0..30).map(|row| format!("A{row}\n")).chain((0..30).rev().map(|row| format!("A{row}\n"))).collect();
    let Err(BatchError::Rows(examined)) = open(format!("serial\n{text}B1\n"), &Reading::default()) else { panic!("no fault") };
    let [finding] = &examined.findings[..] else { panic!("{:?}", examined.findings) };
    assert_eq!(finding.place, "lines 32 to 61 (30 rows)");
    let each: Vec<_> = (32..62)
        .map(|row: u32| (row, format!("serial `A{}` stands in line {} already; take one of them out", 61 - row, 63 - row)))
        .collect();
    assert_eq!(finding.each, each);

    let scattered: String = (0..60).map(|row| if row % 2 == 0 { ",x\n".to_owned() } else { format!("A{row},x\n") }).collect();
    let Err(BatchError::Rows(examined)) = open(format!("serial,x\n{scattered}"), &Reading::default()) else { panic!("no fault") };
    let [finding] = &examined.findings[..] else { panic!("{:?}", examined.findings) };
    assert!(finding.place.ends_with("38, 40, … (30 rows)"), "{}", finding.place);
    let full = examined.in_full().findings;
    assert_eq!(full.len(), 30);
    assert_eq!(
        (full[29].place.as_str(), full[29].what.as_str()),
        ("line 60", "the row has no serial; write it in, or delete the row")
    );
}

#[test]
fn capital_letters_make_no_other_serial_where_no_policy_says_so() {
    let said = faults("serial\nQD-1a\nqd-1A\nQD-1a\n");
    insta::assert_snapshot!(said.join("\n"), @r"
    line 3: `qd-1A` is `QD-1a` in line 2 but for capital and small letters; take one of them out, or hand in the policy (`--policy FILE`) that takes both
    line 4: serial `QD-1a` stands in line 2 already; take one of them out
    ");
}

#[test]
fn the_good_rows_are_made_when_that_is_asked_for() {
    let reading = Reading { skip_bad: true, ..Reading::default() };
    let (batch, examined) = open("serial,lot\nA1,W47\n,W47\nA2,\nA1,W48\n", &reading).expect("has good rows");
    let made: Vec<_> = batch.rows.iter().map(|row| (row.line, &*row.serial, row.extra.get("lot"))).collect();
    assert_eq!(made, [(2, "A1", Some("W47")), (4, "A2", None)]);
    assert_eq!(examined.left_out().as_deref(), Some("2 of 4 rows are left out: lines 3, 5"));
    assert!(matches!(open("serial\n#REF!\n", &reading), Err(BatchError::Rows(_))), "nothing is no batch");
}

#[test]
fn a_batch_has_as_many_rows_as_a_sheet() {
    let mut record = Record::default();
    record.clear(7);
    record.put(0, record::Cell::Text, "A1");
    let rules = Rules::none();
    let layout = Layout::of(std::slice::from_ref(&record), &Asked::default(), &rules, false).expect("one column");
    let grid = Grid { path: PathBuf::new(), letter: None };
    let none = Ranges::default();
    for (before, taken) in [(BATCH_ROWS_MAX - 1, true), (BATCH_ROWS_MAX, false)] {
        let mut judge = Judge::new(&rules, &layout, &grid, &none);
        judge.seen.fill(before);
        assert_eq!(judge.judge(&record).is_some(), taken);
        let said: Vec<_> = judge.findings.told(&grid).iter().map(|finding| format!("{}: {finding}", finding.place)).collect();
        let expected = "line 7: a batch has at most 1048576 serials, and here begins one more; divide it into several files";
        assert_eq!(said, [expected].into_iter().filter(|_| !taken).collect::<Vec<_>>());
    }
}

/// What is to be known of a list that can be made.
fn notices(text: impl AsRef<[u8]>, reading: &Reading) -> Vec<String> {
    open(text, reading).map(|(_, examined)| examined.notices()).unwrap_or_else(|error| panic!("{error}: {:?}", said(&error)))
}

/// Names and values that come along with the first row.
fn beside(text: &str, reading: &Reading) -> Vec<(String, String)> {
    let (batch, _) = open(text, reading).unwrap_or_else(|error| panic!("{error}: {:?}", said(&error)));
    batch.rows[0].extra.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn secrets_in_a_list_stay_out_and_are_named() {
    let mut text = String::new();
    kept("secrets.csv").read_to_string(&mut text).expect("reads");
    let (batch, examined) = open(&text, &Reading::default()).unwrap_or_else(|error| panic!("{error}: {:?}", said(&error)));
    assert_eq!(batch.rows.iter().map(|row| &*row.serial).collect::<Vec<_>>()[..2], ["d8905151", "d8905152"]);
    assert!(batch.rows.iter().all(|row| row.extra.get("DeviceSecret").is_none() && row.extra.get("ProductKey").is_some()));
    let said = examined.notices().join("\n");
    assert!(said.contains("column 3 `DeviceSecret` may hold secrets and stays out"), "{said}");
    assert!(!said.contains("wto064haIA59x3"), "{said}");

    let list = "serial,lot,app_key\nQD-1,W47,8B6B2F7A5C0E4D3A9F1C7E2B4D6A8C0E\n";
    let own = |text: &str, keep_secrets| beside(text, &Reading { keep_secrets, ..Reading::default() });
    let lot = ("lot".to_owned(), "W47".to_owned());
    assert_eq!(own(list, false), std::slice::from_ref(&lot));
    assert_eq!(own(list, true)[1].0, "app_key");
    // Without a header a key is known by its look; and so is one in a column for notes.
    let headless = "QD-0001,W47,AAECAwQFBgcICQoLDA0ODw==\nQD-0002,W47,EAECAwQFBgcICQoLDA0ODw==\n";
    assert_eq!(own(headless, false), [("column 2".to_owned(), "W47".to_owned())]);
    let noted =
        "serial,lot,note\nQD-1,W47,HostName=a.azure-devices.net;DeviceId=x;SharedAccessKey=AAEC\nQD-2,W47,red\nQD-3,W47,blue\n";
    assert_eq!(own(noted, false), [lot]);
    assert!(
        notices(noted, &Reading::default())
            .iter()
            .any(|said| said.starts_with("line 2: a cell beside the serial looks like a key"))
    );
    // Long random values that are no secrets.
    let uuids = "serial,uuid\nQD-1,550e8400e29b41d4a716446655440000\n";
    assert_eq!(own(uuids, false).len(), 1);
    // But a harmless name makes no secret public, whether in all rows or in one.
    let signed = "serial,url\nQD-1,https://x.example/d?sv=1&sig=AAEC\nQD-2,https://x.example/e\nQD-3,https://x.example/f\n";
    assert!(own(signed, false).is_empty() && own(signed, true).len() == 1);
    assert!(own("serial,hubid\nQD-1,HostName=h;SharedAccessKey=AAEC\n", false).is_empty());
    // Those of SIM cards, of routers and of a vendor whose product key is public.
    let sim = "serial,PIN1,PUK1,ADM1\nQD-1,1234,12345678,87654321\n";
    assert!(own(sim, false).is_empty(), "{:?}", own(sim, false));
    let router = "serial,SSID,WiFi Pass,Admin PW,Growatt password\nQD-1,net,hunter2,hunter3,hunter4\n";
    assert_eq!(own(router, false), [("SSID".to_owned(), "net".to_owned())]);
    let vendor = "ProductKey,serial,ProductSecret\na1TGu0u,QD-1,Pw1toX4haI\n";
    assert_eq!(own(vendor, false), [("ProductKey".to_owned(), "a1TGu0u".to_owned())]);
}

#[test]
fn a_column_called_key_that_holds_serials_has_a_way_out_that_works() {
    let list = "Key,Summary\nQD-0001,x\nQD-0002,y\n";
    for column in [None, Some("Key".to_owned()), Some("1".to_owned())] {
        let error = open(list, &Reading { column, ..Reading::default() }).expect_err("is a name of secrets");
        assert!(error.help().contains("call it `serial` in the list"), "{}", error.help());
    }
    assert_eq!(rows(list.replace("Key", "serial")).len(), 2);
}

#[test]
fn a_policy_that_refuses_keys_repeats_none_of_them() {
    let list: String = (1..6).map(|n| format!("8B6{n}2F7A5C0E4D3A9F1C7E2B4D6A8C0E\n")).collect();
    let reading = Reading { column: Some("1".into()), ..Reading::default() };
    let buttons = Policy::parse("buttons", "[form]\npattern = 'QD-[0-9]{7}'").expect("is sound");
    let error = Batch::read(Cursor::new(list), Path::new("serials.csv"), &reading, &Rules::of(buttons)).expect_err("faulty");
    let said = said(&error).join("\n");
    assert!(said.contains("looks like keys") && !said.contains("2F7A"), "{said}");
}

#[test]
fn a_key_is_never_taken_for_a_serial_nor_repeated() {
    let key = "8B6B2F7A5C0E4D3A9F1C7E2B4D6A8C0E";
    let keys = |from: u32| (from..from + 5).map(|n| format!("{key}\n").replace("8B6B", &format!("8B6{n:X}"))).collect::<String>();
    for text in [keys(1), format!("app_key\n{}", keys(1)), format!("app_key,lot\n{}", keys(1).replace('\n', ",W47\n"))] {
        let said = faults(&text).join("\n");
        assert!(said.contains("column 1") && !said.contains("2F7A5C0E"), "{said}");
    }
    let first = keys(1).lines().zip(1..).map(|(key, n)| format!("{key},QD-000{n}\n")).collect::<String>();
    assert_eq!(rows(&first)[0].1, "QD-0001");
    let said = faults(format!("serial\nQD-0001\nQD-0002\n{key}\nQD-0003\nHostName=a;SharedAccessKey=AAEC\n")).join("\n");
    assert!(said.contains("looks like a key") && !said.contains("2F7A") && !said.contains("AAEC"), "{said}");
    // Whoever says so has serials like that.
    assert_eq!(open(keys(1), &Reading { column: Some("1".into()), ..Reading::default() }).expect("reads").0.rows.len(), 5);
    assert_eq!(rows(format!("serial\n{}", keys(1))).len(), 5);
    // A shifted or differently separated row shows nothing of a column of secrets.
    let said = faults("serial,pin\nQD-0001,4711\nQD-0002,4712\nQD-0003;hunter2\nQD-0004,4714\n").join("\n");
    assert!(!said.contains("hunter2"), "{said}");
    // Nor does one that stands where the serial should, however short it is.
    let said = faults("serial,pin\nQD-0001,4711\nQD-0002,4712\n4713,\nQD-0004,4714\nQD-0005,4715\nQD-0006,4716\n").join("\n");
    assert!(said.contains("looks like a key or a password") && !said.contains("4713"), "{said}");
}

#[test]
fn a_first_row_unlike_all_others_is_asked_about() {
    for text in [
        "Id,RX1\n00110011001100,x\n",
        "Column1\nQD-0041713\nQD-0041720\nQD-0041727\n",
        "IMEI\n490154203237518\n",
        "Id1\n4711\n4712\n",
        "Board2,lot3\nQD-0041713,A1\nQD-0041720,A1\nQD-0041727,A1\n",
        "SN2,Lot2\nQD0041713,A1\nQD0041720,A1\n",
        "ICCID,PIN1\n8944500012345670001,1234\n",
        "Sensor,PIN1\nQD-0041713,1234\n",
        "Part,IMEI1\nA,490154203237518\nB,490154203237526\n",
    ] {
        if let [(1, _), ..] | [] = open(text, &Reading::default())
            .map_or(vec![], |(batch, _)| batch.rows.iter().map(|row| (row.line, row.serial.to_string())).collect::<Vec<_>>())[..]
        {
            let said = faults(text);
            assert!(said[0].contains("may be the name of the column or the first serial number"), "{said:?}");
        }
        let with =
            |header| open(text, &Reading { header: Some(header), ..Reading::default() }).map(|(batch, _)| batch.rows[0].line);
        assert_eq!(with(true).ok(), Some(2), "{text:?}");
        assert_eq!(with(false).ok(), Some(1), "{text:?}");
    }
    // Numbers grow by a digit, and words among words are serials.
    for (text, count) in [
        ("A9\nA10\nA11\nA12\n", 4),
        ("SN9\nSN10\nSN11\n", 3),
        ("X100,Device\nQD-1,Device\n", 2),
        ("ALPHA\nBRAVO\n", 2),
        ("99\n100\n101\n", 3),
        ("K7QMXA\nABCDEF\n9PLQR2\n", 3),
    ] {
        assert_eq!(rows(text).len(), count, "{text:?}");
    }
}

#[test]
fn a_remark_of_several_lines_with_a_serial_in_it_is_no_row() {
    let list = |remark: &str| format!("serial,remark\nQD-0001,\"{remark}\"\nQD-0002,x\nQD-0003,x\nQD-0004,x\n");
    for remark in ["made anew\nreplaces QD-0009", "replaces:\nQD-0009", "checked\nQD-0009, QD-0010, QD-0011", "a\nb\nc"] {
        assert_eq!(rows(list(remark)).len(), 4, "{remark:?}");
    }
    // Rows that a quotation mark took.
    assert!(faults(list("note\nQD-0007,x\nQD-0008,y"))[0].contains("a quotation mark makes one row of these"));
    assert!(
        faults("serial,remark\nQD-0001,\"note\nQD-0002,x\nQD-0003,\"y\"\nQD-0004,x\nQD-0005,x\n")[0].contains("quotation mark")
    );
}

#[test]
fn a_board_beside_two_serials_is_named_whatever_its_spelling() {
    let list = |header: &str, last: &str| {
        let rows: String = (1..=12).map(|n| format!("QD-{n:04},AA:BB:CC:DD:EE:{n:02X}\n")).collect();
        format!("{header}{rows}QD-0013,{last}\n")
    };
    let said = |header: &str, last: &str| notices(list(header, last), &Reading::default()).join("\n");
    for spelling in ["aa-bb-cc-dd-ee-03", "aabb.ccdd.ee03", "AABBCCDDEE03", "AA:BB:CC:DD:EE:03"] {
        let said = said("serial,mac\n", spelling);
        assert!(said.contains("line 14: board `AA:BB:CC:DD:EE:03` stands in column 2 of line 4 already"), "{said}");
    }
    assert!(said("", "aa-bb-cc-dd-ee-03").contains("board `AA:BB:CC:DD:EE:03` stands in column 2 of line 3"), "by its look");
    assert!(!said("serial,mac\n", "AA:BB:CC:DD:EE:99").contains("board"));
    // A gateway that many devices share is no device's board.
    let shared: String = (1..=12).map(|n| format!("QD-{n:04},AA:BB:CC:DD:EE:{:02X}\n", n % 2)).collect();
    assert!(!notices(format!("serial,mac\n{shared}"), &Reading::default()).join("\n").contains("board"));
}

#[test]
fn a_row_that_is_struck_out_is_asked_about() {
    let list = |rows: &str| format!("art,serial\nA,0000021\n{rows}\nA,0000049\nA,0000056\n");
    for mark in ["#B", "# B", "//B", "--B"] {
        let said = faults(list(&format!("{mark},0000035"))).join("\n");
        assert!(said.starts_with("line 3: the row begins with") && said.contains(mark), "{said}");
    }
    // Rows that are numbered so, and cells that only begin with a dash.
    assert_eq!(rows("nr,serial\n#1,0000021\n#2,0000035\n#3,0000042\n").len(), 3);
    assert_eq!(rows(list("-,0000035")).len(), 4);
    // A colour is no mark.
    assert_eq!(rows(list("#FF0000,0000035")).len(), 4);
}

#[test]
fn a_total_that_is_not_the_number_of_rows_means_that_rows_are_missing() {
    let list = |end: &str| format!("serial,qty\nA1,1\nA2,1\nA3,2\n{end}\n");
    for (end, says) in [
        (",8", "line 5: `8` is a total under the list: it is 8, and the list has 3 rows above it, so rows may be missing"),
        ("Total,620", "line 5: `Total` is a total under the list: it is 620, and the list has 3 rows above it"),
        ("Total: 620,", "line 5: `Total: 620` is a total under the list: it is 620, and the list has 3 rows above it"),
        (",4", "line 5: `4` is a total under the list, not a serial"),
        (",3", "line 5: `3` is a total under the list, not a serial"),
        ("Total,4", "line 5: `Total` is a total under the list, not a serial"),
    ] {
        let said = faults(list(end)).join("\n");
        assert!(said.starts_with(says), "{end}: {said}");
    }
    // Subtotals are those of their rows, and of fractions nobody knows the sum.
    let said =
        faults("serial,qty\nQD-1,2\nQD-2,2\nSubtotal,4\nQD-3,2\nSubtotal,2\nQD-4,2\nQD-5,2\nSubtotal,2\nTotal,10\n").join("\n");
    assert!(!said.contains("missing"), "{said}");
    let said = faults("serial;kg\nQD-1;3,5\nQD-2;3,5\n;7\n").join("\n");
    assert!(!said.contains("missing"), "{said}");
    let said = faults("serial,qty\nQD-1,2\nSubtotal,2\nQD-2,2\nTotal,620\n").join("\n");
    assert!(said.contains("it is 620, and the list has 2 rows above it"), "{said}");
    // What a row that can't be made adds is in the total, too.
    let said = faults("serial,qty\nQD-1,3\nQD-2,3\n1.2E+11,3\nTotal,9\n").join("\n");
    assert!(said.contains("line 5: `Total` is a total under the list, not a serial"), "{said}");
    // A sum beside its word is no serial that lost its zeros.
    let said = faults("what;serial\na;0041713\nb;0041720\nSum:;24\n").join("\n");
    assert!(said.starts_with("line 4: `Sum:` is a total") && !said.contains("zeros"), "{said}");
}

#[test]
fn no_advice_makes_a_serial_twice() {
    let without = faults("serial\n0041713\n0041720\n41713\n").join("\n");
    assert!(without.contains("should be `0041713`") && without.contains("`0041713` stands in the list already"), "{without}");
    let sevens = Policy::parse("sevens", "[form]\npattern = '[0-9]{7}'").expect("is sound");
    let list = "serial\n0041713\n0041720\n41713\n";
    let error =
        Batch::read(Cursor::new(list), Path::new("serials.csv"), &Reading::default(), &Rules::of(sevens)).expect_err("faulty");
    let told = said(&error).join("\n");
    assert!(told.contains("should be `0041713`; but `0041713` stands in the list already"), "{told}");
}

#[test]
fn a_number_with_an_exponent_that_has_all_of_its_digits_is_read() {
    assert_eq!(
        rows("serial\n4.30118852096E+11\n430118852103\n"),
        [(2, "430118852096".to_owned()), (3, "430118852103".to_owned())]
    );
    assert!(faults("serial\n4.30119E+11\n")[0].contains("its last digits are lost"));
    // What is wrong is said of the serial, not of its mark.
    let sevens =
        Policy::parse("sevens", "[form]\npattern = '[0-9]{7}'\n[[rule]]\nkind = \"divisible\"\nby = 7").expect("is sound");
    let list = "serial\n=\"0000022\"\n";
    let error =
        Batch::read(Cursor::new(list), Path::new("serials.csv"), &Reading::default(), &Rules::of(sevens)).expect_err("faulty");
    assert!(said(&error)[0].contains("not a multiple of 7"), "{:?}", said(&error));
}

#[test]
fn a_file_of_another_kind_is_named_by_its_first_bytes() {
    for (begins, what) in [
        (&b"\x89PNG\r\n\x1a\nQD-0041713\n"[..], "is a PNG picture"),
        (b"\x7FELF QD-0041713", "is a program"),
        (b"\x1F\x8Bserial\nA1\n", "is a gzip archive"),
        (b"SQLite format 3\0serial", "is an SQLite database"),
        (b"-----BEGIN CERTIFICATE-----\nMIIB\n", "is a certificate or a key"),
        (b"%PDF-1.7\nserial\nA1", "is a PDF"),
    ] {
        let mut file = begins.to_vec();
        file.extend(b"serial\nQD-0041713\n".repeat(200));
        assert_eq!(faults(file), [format!("`serials.csv` {what}")]);
    }
    for serial in ["PAR1-0001", "BZh9-0001", "RIFF0001", "GIF80001"] {
        assert_eq!(rows(format!("{serial}\n"))[0].1, serial);
    }
}

#[test]
fn columns_beyond_the_limits_are_said_to_be_left_out() {
    let list = |columns: usize| {
        let names: String = (0..columns).map(|n| format!(",c{n}")).collect();
        format!("serial{names}\nQD-1{}\n", ",x".repeat(columns))
    };
    let said = |columns| notices(list(columns), &Reading::default());
    assert_eq!(said(16), Vec::<String>::new());
    assert_eq!(said(20), ["of 20 further columns the first 16 come along into the owner's books"]);
    assert_eq!(
        said(40),
        ["of 40 further columns the first 32 come along into journal and report, and 16 into the owner's books"]
    );
}

/// An .xlsx of parts, as they stand there.
fn zipped(parts: &[(String, Vec<u8>)], method: zip::CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in parts {
        zip.start_file(name.as_str(), SimpleFileOptions::default().compression_method(method)).expect("starts a part");
        zip.write_all(bytes).expect("writes to memory");
    }
    zip.finish().expect("finishes").into_inner()
}

/// The parts of one of the kept workbooks.
fn parts(name: &str) -> Vec<(String, Vec<u8>)> {
    let mut zip = ZipArchive::new(kept(name)).expect("is a zip");
    (0..zip.len())
        .map(|at| {
            let mut part = zip.by_index(at).expect("has it");
            let mut bytes = Vec::new();
            part.read_to_end(&mut bytes).expect("unpacks");
            (part.name().expect("has a name").into_owned(), bytes)
        })
        .collect()
}

fn with_part(name: &str, part: &str, bytes: Vec<u8>) -> Vec<(String, Vec<u8>)> {
    let mut parts = parts(name);
    parts.retain(|(name, _)| name != part);
    parts.push((part.to_owned(), bytes));
    parts
}

#[test]
fn a_workbook_that_unpacks_to_a_mountain_is_refused() {
    for part in ["xl/sharedStrings.xml", "xl/styles.xml", "xl/worksheets/sheet1.xml", "xl/workbook.xml"] {
        let mountain = with_part("formulas.xlsx", part, vec![b' '; 2 * 1024 * 1024]);
        let why = faults(zipped(&mountain, zip::CompressionMethod::Deflated)).remove(0);
        assert_eq!(why, "`serials.csv` unpacks to more than any list of serials has", "{part}");
    }
}

#[test]
fn a_sheet_is_taken_by_its_name() {
    let book = |name: &str| {
        let reading = Reading { sheet: Some(name.into()), ..Reading::default() };
        Batch::read(kept("second-sheet.xlsx"), Path::new("book.xlsx"), &reading, &Rules::none())
    };
    let (batch, _) = book("old list").expect("reads");
    assert_eq!(&*batch.rows[0].serial, "QD-0000001");
    let error = book("Week 48").expect_err("is not there");
    assert_eq!(error.to_string(), "`book.xlsx` has no sheet `Week 48`");
    assert_eq!(error.help(), "its sheets are `Cover`, `Week 47`, `Old list`");
    assert_eq!(book("Cover").expect_err("is empty").to_string(), "`book.xlsx` holds no serial number");
    let reading = Reading { sheet: Some("x".into()), ..Reading::default() };
    let error = open("A1", &reading).expect_err("no sheets");
    assert_eq!(error.to_string(), "`serials.csv` is no .xlsx, so it has no sheets");
}

/// Rows that fit, or a sentence.
fn survives(bytes: &[u8], reading: &Reading) -> Result<(), TestCaseError> {
    match open(bytes, reading) {
        Ok((batch, examined)) => {
            prop_assert!(!batch.rows.is_empty() && batch.rows.len() == examined.good());
            prop_assert!(batch.rows.is_sorted_by_key(|row| row.line));
        }
        Err(error) => {
            prop_assert!(!error.to_string().is_empty() && !error.help().is_empty());
            if let BatchError::Rows(examined) = &error {
                prop_assert!(examined.faults().count() > 0 && examined.bad.count() <= examined.rows, "{:?}", examined);
            }
        }
    }
    Ok(())
}

fn readings() -> impl Strategy<Value = Reading> {
    (proptest::option::of(prop_oneof![Just("2"), Just("serial"), Just("0")]), any::<bool>())
        .prop_map(|(column, skip_bad)| Reading { column: column.map(Into::into), skip_bad, ..Reading::default() })
}

proptest! {
    #[test]
    fn any_bytes_give_rows_or_a_sentence(
        bytes in proptest::collection::vec(prop_oneof![any::<u8>(), proptest::sample::select(b"\n\r,;\"'0A#=\t| ".to_vec())], 0..400),
        reading in readings(),
    ) {
        survives(&bytes, &reading)?;
    }

    #[test]
    fn any_list_gives_rows_or_a_sentence(
        cells in proptest::collection::vec(proptest::sample::select(vec![
            "serial", "A1", "A2", "0041713", "41713", "1.2E+11", "=A1", "#REF!", "# x", "\"", "'", "05-Mar", "1,234,567", "", " ", "\u{a0}A3",
            "Total", "\n", "\r\n", ",", ";", "\t", "sep=;\n", "a\nb", "ä", "\u{feff}",
        ]), 0..60),
        reading in readings(),
    ) {
        survives(cells.concat().as_bytes(), &reading)?;
    }

    #[test]
    fn plain_serials_come_back_with_their_lines(serials in proptest::collection::hash_set("[A-Z][A-Z0-9-]{0,19}", 1..40)) {
        let serials: Vec<String> = serials.into_iter().filter(|serial| !["SERIAL", "SN", "SERIALS", "TOTAL", "SUM", "NA", "NULL", "NONE", "NIL", "NAN", "TRUE", "FALSE"].contains(&serial.trim_end_matches('-'))).collect();
        prop_assume!(!serials.is_empty());
        let found = rows(format!("serial\n{}\n", serials.join("\n")));
        prop_assert_eq!(found, (2..).zip(serials).collect::<Vec<_>>());
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Bytes changed, left out or doubled inside a part: what a broken writer or a hostile one hands in.
    #[test]
    fn any_workbook_gives_rows_or_a_sentence(
        book in proptest::sample::select(vec!["dates.xlsx", "padded.xlsx", "formulas.xlsx", "errors.xlsx"]),
        part in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), proptest::sample::select(b"\0<>/\"&;='[A9z \xff".to_vec()), 0..4_u8), 1..6),
    ) {
        let mut parts = parts(book);
        let at = part.index(parts.len());
        for (place, byte, how) in changes {
            let bytes = &mut parts[at].1;
            let place = place.index(bytes.len().max(1));
            match how {
                0 => bytes.truncate(place),
                1 => bytes.insert(place, byte),
                2 => bytes.splice(place..place, vec![byte; 300]).for_each(drop),
                _ => if let Some(old) = bytes.get_mut(place) { *old = byte },
            }
        }
        survives(&zipped(&parts, zip::CompressionMethod::Stored), &Reading::default())?;
    }
}
