//! Profiles that are right, and what is said of those that are not.

use std::fs;

use super::*;

/// A folder with a profile and a file with a secret beside it.
fn settle(profile: &str, set: &[&str], set_file: &[&str]) -> Result<Profile, ProfileError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("button.toml");
    fs::write(&path, profile).expect("writes");
    secret_file::write(&folder.path().join("wifi"), b"hunter 22\r\n").expect("writes");
    let own = |list: &[&str]| -> Vec<String> {
        list.iter().map(|text| text.replace("DIR", folder.path().to_str().expect("is text"))).collect()
    };
    Profile::settle(path.to_str().expect("is text"), &own(set), &own(set_file))
}

/// All that is given, as the button is told.
fn wire(profile: &Profile) -> String {
    String::from_utf8(profile.button.wire().to_vec()).expect("is text")
}

const HEAD: &str = "version = 1\nkind = \"texxmo\"\n";

#[test]
fn the_sample_is_a_profile() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../samples/profiles/texxmo.toml");
    let profile = Profile::settle(path, &[], &[]).expect("is a profile");
    assert_eq!((profile.kind, profile.ending), (Kind::Texxmo, Ending::PowerOff));
    assert_eq!(profile.more().expect("sets something"), "sets opsmode, ssid, timeserver, usedhcp, userjson");
    assert!(
        wire(&profile).contains(r#""{\"Order_ID\":\"1234\",\"line\":3,\"parts\":[\"cap\",\"cell\"]}""#),
        "{}",
        wire(&profile)
    );
}

#[test]
fn a_board_is_known_by_its_usb_number_only_where_the_profile_says_so() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../samples/profiles/mxchip.toml");
    let profile = Profile::settle(path, &[], &[]).expect("is a profile");
    assert_eq!((profile.kind, profile.board_id), (Kind::Mxchip, BoardId::Usb));
    assert_eq!(profile.more().expect("says so"), "boards known by their USB serial number");
    let bare = Profile::settle("mxchip", &[], &[]).expect("is a kind");
    assert_eq!((bare.board_id, bare.more()), (BoardId::None, None));
    let none = settle("version = 1\nkind = \"mxchip\"\nboard_id = \"none\"\n", &[], &[]).expect("is right");
    assert_eq!(none.board_id, BoardId::None);
    let error = settle("version = 1\nkind = \"mxchip\"\nboard_id = \"mac\"\n", &[], &[]).expect_err("is no word");
    assert!(error.at().is_some_and(|at| at.ends_with("line 3")) && error.to_string().contains("usb"), "{error}");
    let error = settle(&format!("{HEAD}board_id = \"usb\"\n"), &[], &[]).expect_err("has a MAC");
    assert_eq!(error.to_string(), "`board_id` is for devices of kind `mxchip`; devices of kind `texxmo` need none");
}

#[test]
fn a_word_is_a_profile_and_arguments_win_over_the_file() {
    let bare = Profile::settle("texxmo", &[], &[]).expect("is a kind");
    assert_eq!((bare.kind, bare.ending, bare.more()), (Kind::Texxmo, Ending::PowerOff, None));
    let file = format!("{HEAD}finish = \"reset\"\n[set]\nssid = \"file\"\nFWnumber = 7\n[set_file]\npassword = \"wifi\"\n");
    let profile = settle(&file, &["ssid=a=b"], &[]).expect("is right");
    assert_eq!(wire(&profile), r#"[["FWnumber", "password", "ssid"], [7, "hunter 22", "a=b"]]"#);
    assert_eq!(profile.more().expect("sets something"), "sets FWnumber, password, ssid; finish reset");
    assert!(!format!("{profile:?}").contains("hunter"));
    let profile = settle(&format!("{HEAD}finish = \"leave\"\n"), &[], &["password=DIR/wifi", "ssid=DIR/wifi"]).expect("is right");
    assert_eq!((wire(&profile).matches("hunter 22").count(), profile.ending), (2, Ending::Leave));
}

#[test]
fn a_userjson_table_becomes_the_text_that_the_button_wants() {
    let file =
        format!("{HEAD}[set.userjson]\nwhen = 2026-08-01\nlist = [1, 2.5, true]\n[set.userjson.inner]\nquote = \"'''\\\"ä\"\n");
    let profile = settle(&file, &[], &[]).expect("is right");
    let [_, values]: [Vec<String>; 2] = serde_json::from_str(&wire(&profile)).expect("two lists of texts");
    let json: serde_json::Value = serde_json::from_str(&values[0]).expect("is JSON");
    let wanted = serde_json::json!({ "inner": { "quote": "'''\"ä" }, "list": [1, 2.5, true], "when": "2026-08-01" });
    assert_eq!(json, wanted);
}

// The modes of files are a Unix matter.
#[cfg(unix)]
#[test]
fn what_is_wrong_is_said_with_its_place_and_without_its_value() {
    let set = |line: &str| format!("{HEAD}[set]\n\n{line}\n");
    let mut said = Vec::new();
    let mut wrong = |result: Result<Profile, ProfileError>| {
        let error = result.expect_err("is wrong");
        assert_eq!(error.code(), Code::SettingInvalid);
        let file_only = |text: String| match text.find("/button.toml").or(text.find("/wifi")) {
            Some(at) => format!("{}[DIR]{}", &text[..text.find('/').unwrap_or(0)], &text[at..]),
            None => text,
        };
        let at = error.at().map_or(String::new(), |at| format!("\n   at: {}", file_only(at)));
        said.push(format!("{}{at}\n help: {}", file_only(error.to_string()), file_only(error.help())));
    };
    wrong(Profile::settle("toaster", &[], &[]));
    wrong(Profile::settle("/no/such/button.toml", &[], &[]).map_err(|mut error| {
        error.at = None;
        error
    }));
    wrong(settle("kind = \"texxmo\"\n", &[], &[]));
    wrong(settle("version = 2\nkind = \"texxmo\"\nshape = 1\n", &[], &[]));
    wrong(settle("version = 1\nkind = \"toaster\"\n", &[], &[]));
    wrong(settle("version = 1\n\nkind =\n", &[], &[]));
    wrong(settle(&format!("{HEAD}finnish = \"off\"\n"), &[], &[]));
    wrong(settle(&format!("{HEAD}finish = \"sleep\"\n"), &[], &[]));
    wrong(settle("version = 1\nkind = \"mxchip\"\nfinish = \"off\"\n", &[], &[]));
    wrong(settle("version = 1\nkind = \"mxchip\"\n[set]\nssid = \"x\"\n", &[], &[]));
    wrong(settle(&set("sssid = \"hunter2\""), &[], &[]));
    wrong(settle(&set("iothub = \"hunter2\""), &[], &[]));
    wrong(settle(&set("hwid = \"hunter2\""), &[], &[]));
    wrong(settle(&set("ssid = [\"hunter2\"]"), &[], &[]));
    wrong(settle(&set("ssid = 2"), &[], &[]));
    wrong(settle(&set("userjson = \"hunter2\""), &[], &[]));
    wrong(settle(&set("userjson = { a = nan }"), &[], &[]));
    wrong(settle(&set("password = \"hunter2\""), &[], &[]));
    wrong(settle(&set("ssid = \"x\"\n[set_file]\nssid = \"wifi\""), &[], &[]));
    wrong(settle(&format!("{HEAD}[set_file]\npassword = \"button.toml\"\n"), &[], &[]));
    wrong(settle(HEAD, &["password=hunter2"], &[]));
    wrong(settle(HEAD, &["hunter2"], &[]));
    wrong(settle(HEAD, &["ip=hunter2"], &[]));
    wrong(settle(HEAD, &["ip=1.2.3.4", "ip=1.2.3.5"], &[]));
    wrong(settle(HEAD, &["ssid=a"], &["ssid=DIR/wifi"]));
    wrong(settle(HEAD, &[], &["ip=DIR/wifi"]));
    wrong(settle(HEAD, &[], &["ip=DIR/button.toml"]));
    wrong(Profile::settle("file", &["ssid=x".to_owned()], &[]));
    assert!(!said.iter().any(|text| text.contains("hunter")), "{said:#?}");
    insta::assert_snapshot!(said.join("\n\n"));
}
