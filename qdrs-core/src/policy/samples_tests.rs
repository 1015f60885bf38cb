//! The policies of `samples/policies`, each with serials that it takes and serials that it refuses.

use super::*;

const FOLDER: &str = "../samples/policies";

fn text(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sample(name: &str) -> Policy {
    read(name, &text(&format!("{name}.toml")))
}

fn read(name: &str, toml: &str) -> Policy {
    Policy::parse(name, toml)
        .and_then(|policy| {
            policy.load(&mut |file| Ok(text(file).into_bytes()), &mut |_| Ok("MDEyMzQ1Njc4OWFiY2RlZg==".to_owned().into()))
        })
        .unwrap_or_else(|error| panic!("{error}"))
}

/// What the policy makes of serials: the device id, or why not. Printed and read again, it makes the same of them.
fn judged(name: &str, serials: &[&str]) -> String {
    let policy = sample(name);
    let again = read(name, &policy.to_string());
    assert_eq!(format!("{again:?}"), format!("{policy:?}"));
    let line = |given: &&str| {
        assert_eq!(again.explain(given), policy.explain(given));
        match policy.check(given).and_then(|serial| policy.device_id(&serial)) {
            Ok(device_id) => format!("{given:?} -> {device_id}"),
            Err(error) => format!("{given:?} {error}"),
        }
    };
    serials.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn there_are_ten_and_each_is_tested_here() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
    let names =
        std::fs::read_dir(folder).expect("is there").map(|file| file.expect("is one").file_name().into_string().expect("text"));
    let mut names: Vec<_> = names.filter_map(|name| name.strip_suffix(".toml").map(str::to_owned)).collect();
    names.sort_unstable();
    let tested = include_str!("samples_tests.rs");
    assert_eq!(names.len(), 10, "{names:?}");
    for name in &names {
        assert!(tested.contains(&format!("\"{name}\"")), "{name}");
    }
}

#[test]
fn the_reference_shows_policies_that_can_be_read() {
    let reference = text("README.md");
    let blocks: Vec<_> = reference.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("\n```")).collect();
    assert_eq!(blocks.len(), 5);
    for (toml, _) in blocks {
        Policy::parse("reference", toml).unwrap_or_else(|error| panic!("{error}\n{toml}"));
    }
    for scheme in crate::check_digit::Scheme::ALL {
        assert!(reference.contains(&format!("`{scheme}`")), "{scheme}");
    }
    for kind in rule::KINDS {
        assert!(reference.contains(&format!("\"{kind}\"")), "{kind}");
    }
}

/// It has further tests beside its batch.
#[test]
fn buttons_of_the_first_hour() {
    insta::assert_snapshot!(judged("multiples-of-7", &["QD-0041713", " qd-0041713\n", "QD-0041714", "QD-0000007", "QD-41713"]));
}

#[test]
fn modems_by_imei() {
    insta::assert_snapshot!(judged(
        "imei-modem",
        &["356938031234561", "35-693803-123456-1", "356938031234562", "490154203237518", "35693803123456", "3569380312345617"]
    ));
}

#[test]
fn goods_with_gtin_and_serial() {
    insta::assert_snapshot!(judged(
        "gs1-serialised",
        &[
            "010952123456789921A17-0042",
            "010952123456788221x",
            "010952123456789821A17-0042",
            "010401234512345621A17",
            "010952123456789921",
            "010952123456789921A/17",
            "0109521234567899-21A17"
        ]
    ));
}

#[test]
fn vehicles() {
    insta::assert_snapshot!(judged(
        "vin",
        &[
            "1XD4TRLR8R1000001",
            "1xd4trlr8r1000001",
            "1XD4TRLR8R1000010",
            "1XD4TRLR5N1000001",
            "1XD4TRLR8R100000O",
            "1HGCM82633A004352"
        ]
    ));
}

#[test]
fn gateways_by_mac() {
    insta::assert_snapshot!(judged(
        "mac-based",
        &[
            "5C:CF:7F:00:12:34",
            "5ccf.7f00.1234",
            "5CCF7F3FFFFF",
            "5CCF7F400000",
            "00:11:22:33:44:55",
            "5C:CF:7F:00:12",
            "5C:CF:7F:00:12:3G"
        ]
    ));
}

#[test]
fn sensors_by_date_code() {
    insta::assert_snapshot!(judged(
        "date-coded",
        &[
            "M2447-00017-D",
            "m2447-00017-d",
            "M2447-00018-H",
            "M2453-00017-D",
            "M2309-00017-Z",
            "M9940-00017-Z",
            "M2447-90001-Z",
            "X2447-00017-D",
            "M244700017D"
        ]
    ));
}

#[test]
fn boxes_of_a_product() {
    let policy = sample("signed-product");
    let box_1 = policy.sign("BOX-000001-").expect("signs");
    assert!(policy.check(&format!("{} {}", &box_1.as_str()[..11], box_1.as_str()[11..].to_lowercase())).is_ok());
    insta::assert_snapshot!(judged(
        "signed-product",
        &["BOX-000001-VY26HK8K", "BOX-000002-VY26HK8K", "BOX-000001-VY26HK8", "VY26HK8K"]
    ));
}

#[test]
fn boards_of_a_list() {
    let policy = sample("list-only");
    let serial = policy.check("cm-77122").expect("is listed");
    let board = policy.listed_hardware_id(&serial).map(|board| board.to_string());
    assert_eq!((board.as_deref(), policy.listed(&serial)["lot"]), (Some("5C:CF:7F:10:00:02"), "L-1"));
    insta::assert_snapshot!(judged("list-only", &["CM-77120", "CM-77121", "CM-7712"]));
}

#[test]
fn two_lines_in_one_service() {
    let policy = sample("two-lines");
    let product = |text: &str| policy.check(text).map(|serial| policy.product(&serial).map(str::to_owned));
    assert_eq!(product("TH-1000002"), Ok(Some("thermostat".to_owned())));
    insta::assert_snapshot!(judged(
        "two-lines",
        &["TH-1000002", "TH-1000008", "VA-07940X", "VA-07940", "VA-079401", "VA-20000A", "XX-1000002"]
    ));
}

#[test]
fn what_the_first_service_took() {
    insta::assert_snapshot!(judged(
        "old-service",
        &["14", "000014", "2147483646", "15", "0", "-7", "2147483648", "2147483654", "14.0"]
    ));
}
