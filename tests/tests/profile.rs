//! Further settings and the three endings of a button's visit, on a real MicroPython: what the flash and the memory hold.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use qdrs_cli::device::{self, Device, Profile};
use qdrs_core::connection_string::{DeviceConnectionString, DeviceKey};
use qdrs_tests::{
    Button, Cloud, Dice, Ended, Flash, Line, LineOptions, Station, boards, connection_string, deep, factory_settings, others,
    repository, serials, settings_that_a_boot_would_load, until,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A second of the board is this long here, in ms.
const SECOND: [&str; 2] = ["--second", "200"];
/// With everything that would end a string somewhere on its way.
const PASSWORD: &str = "p'''a\"s\\s|wörd\u{1f511}$";

/// The sample profile with other lines in it, and the password's file beside it.
fn profile(folder: &Path, lines: &[(&str, &str)]) -> PathBuf {
    let mut text = fs::read_to_string(repository().join("samples/profiles/texxmo.toml")).expect("the sample is there");
    for (from, to) in lines {
        assert!(text.contains(from), "the sample has no `{from}`");
        text = text.replace(from, to);
    }
    let secret = folder.join("wifi-password");
    fs::write(&secret, format!("{PASSWORD}\n")).expect("writes");
    #[cfg(unix)]
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("is private");
    let path = folder.join("button.toml");
    fs::write(&path, text).expect("writes");
    path
}

fn flash_of(button: &Button) -> PathBuf {
    button.boards().pop().expect("the board has a flash")
}

/// What the file holds besides the connection string, as far as it differs from the factory's.
fn changed(settings: &Flash) -> Flash {
    let factory = factory_settings();
    others(settings).into_iter().filter(|(name, value)| factory.get(name) != Some(value)).collect()
}

/// All texts of the file but the values named are the factory's, byte for byte.
fn assert_bytes_kept(flash: &Path, names: &[&str]) {
    let text = fs::read_to_string(flash.join("config.json")).expect("the settings are there");
    let factory = fs::read_to_string(repository().join("samples/practice-button/flash/config.json")).expect("is there");
    // Members are parted by `, "`, which no value of the factory's has.
    let members = |text: &str| -> Vec<String> {
        let kept = |member: &&str| !names.iter().any(|name| member.starts_with(&format!("{name}\"")));
        let inner = text.trim_matches(['{', '}']).trim_start_matches('"');
        inner.split(", \"").filter(kept).map(str::to_owned).collect()
    };
    let written = members(&text);
    for member in members(&factory) {
        assert!(written.contains(&member), "`{member}` is not kept: {written:?}");
    }
}

/// Someone at the button's friendly prompt, after the station.
struct Hand(TcpStream);

impl Hand {
    fn at(button: &Button) -> Self {
        let stream = TcpStream::connect(button.port_name().trim_start_matches("tcp://")).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("sets");
        Self(stream)
    }

    /// Types a line, and returns what is said up to the next prompt.
    fn types(&mut self, line: &str) -> String {
        self.0.write_all(format!("{line}\r").as_bytes()).expect("sends");
        let mut said = Vec::new();
        let mut byte = [0];
        while !said.ends_with(b"\r\n>>> ") {
            match self.0.read(&mut byte) {
                Ok(1) => said.push(byte[0]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => panic!("{line}: {other:?} after {}", String::from_utf8_lossy(&said)),
            }
        }
        String::from_utf8_lossy(&said).into_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profiles_settings_are_written_with_the_credential_and_read_back() {
    let cloud = Cloud::start().await;
    let station = Station::new("line-1", &cloud.url(), &cloud.access_code("line-1", &[]));
    let folder = tempfile::tempdir().expect("a folder");
    let profile = profile(folder.path(), &[("# password", "password")]);
    let (serials, long) = (serials(2), long_userjson());
    let mut held = Vec::new();
    for (serial, firmware) in serials.iter().zip(["old", "new"]) {
        let options = [&SECOND[..], &["--noise", "--firmware", firmware, "--unit", &serial[3..]]].concat();
        let button = Button::start(&folder.path().join(firmware), &options);
        let paced = LineOptions { baud: Some(115_200), overruns: true, ..LineOptions::default() };
        let line = Line::to(button.port_name(), paced, "profile");
        let set = ["--set", "ip=10.0.0.7", "--set", "FWnumber=101", "--set", &format!("userjson={long}")];
        let batch = station.batch(std::slice::from_ref(serial));
        let port = line.port_name();
        let arguments =
            [&["--json", "provision", "--port", &port, "--device", text_of(&profile), "--batch", text_of(&batch)], &set[..]]
                .concat();

        let dry = station.run(&[&arguments[..], &["--dry-run"]].concat()).await.with_code(0);
        let said = "device texxmo: sets FWnumber, ip, opsmode, password, ssid, timeserver, usedhcp, userjson";
        assert!(dry.stdout.contains(said), "{}", dry.stdout);
        let run = station.run(&arguments).await.with_code(0);

        let settings = settings_that_a_boot_would_load(&flash_of(&button)).expect("it would boot");
        let wanted = json!({
            "ssid": "Customer Wi-Fi", "opsmode": "client", "password": PASSWORD, "userjson": long, "ip": "10.0.0.7", "FWnumber": 101,
        });
        assert_eq!(changed(&settings), *wanted.as_object().expect("an object"));
        let names = ["iothub", "iotdevicename", "iotdevicesecret", "ssid", "opsmode", "password", "userjson", "ip", "FWnumber"];
        assert_bytes_kept(&flash_of(&button), &names);
        held.extend(connection_string(&settings));
        for ended in [dry, run] {
            assert!(!ended.stdout.contains("wörd") && !ended.stderr.contains("wörd"), "the password is shown");
        }
        assert_eq!(line.lost(), 0, "the device was sent more than it can hold");
    }
    cloud.books().balance(&serials, &held);
    let journal = fs::read_to_string(station.journal()).expect("is there");
    assert!(!journal.contains("wörd"), "the password is kept");
}

/// As long as it may be, with everything that would end a string.
fn long_userjson() -> String {
    json!({ "Order_ID": "'''\"\\ä\u{1f511}", "filler": "x".repeat(960) }).to_string()
}

/// The driver itself, for what a station would not do twice.
fn driver(profile: &Path, set: &[String], port: &str) -> Box<dyn Device> {
    let profile = Profile::settle(text_of(profile), set, &[]).expect("is a profile");
    device::open(&profile, port, Arc::default()).expect("opens")
}

fn credential() -> DeviceConnectionString {
    let (host_name, device_id) = ("hub.example".to_owned(), "QD-1".to_owned());
    DeviceConnectionString { host_name, device_id, key: DeviceKey::generate() }
}

#[test]
fn what_a_board_holds_already_is_not_written_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let profile = profile(folder.path(), &[("# password", "password")]);
    let button = Button::start(folder.path(), &SECOND);
    let credential = credential();
    let write = |set: &[String]| {
        let mut slot = driver(&profile, set, button.port_name());
        slot.identify().expect("answers");
        slot.write(&credential).expect("is written");
        let found = slot.read_back().expect("answers").expect("holds one");
        assert_eq!(*found.reveal(), *credential.reveal());
        fs::metadata(flash_of(&button).join("config.json")).expect("is there").modified().expect("has a time")
    };
    let first = write(&[]);
    assert_eq!(write(&[]), first, "the same was written again");
    let longer = [format!("userjson={}", long_userjson())];
    assert_ne!(write(&longer), first);
    let settings = settings_that_a_boot_would_load(&flash_of(&button)).expect("it would boot");
    assert_eq!(settings["userjson"], long_userjson());
    assert!(!flash_of(&button).join("config.json.new").exists());
}

#[test]
fn a_cut_anywhere_leaves_all_old_or_all_new_settings() {
    let folder = tempfile::tempdir().expect("a folder");
    let profile = profile(folder.path(), &[("# password", "password")]);
    let whole = {
        let button = Button::start(&folder.path().join("whole"), &SECOND);
        let line = Line::to(button.port_name(), LineOptions::default(), "whole");
        let mut slot = driver(&profile, &[], &line.port_name());
        slot.identify().expect("answers");
        slot.write(&credential()).expect("is written");
        line.to_device()
    };
    let mut dice = Dice::new("a_cut_anywhere_leaves_all");
    let share = if deep() { 1 } else { 300 };
    let at_byte = (whole / 3..whole).filter(|_| dice.below(share) == 0).map(|at| ["--cut".to_owned(), at.to_string()]);
    // Each step of the flash after the first boot.
    let at_step = (3..12).map(|step| ["--cut-op".to_owned(), step.to_string()]);
    let in_rename = ["before", "after"].map(|when| ["--cut-in-rename".to_owned(), when.to_owned()]);
    let (mut old, mut new) = (0, 0);
    for (at, cut) in at_byte.chain(at_step).chain(in_rename).enumerate() {
        let flash = folder.path().join(format!("cut-{at}"));
        let credential = credential();
        let button = Button::start(&flash, &[&SECOND[..], &[&cut[0], &cut[1]]].concat());
        let mut slot = driver(&profile, &[], button.port_name());
        // Most cuts break the write off; one in its last bytes may come too late for that.
        let _ = slot.identify().and_then(|_| slot.write(&credential));
        drop((slot, button));
        let flash_now = boards(&flash).pop().expect("the board has a flash");
        let loads = settings_that_a_boot_would_load(&flash_now).unwrap_or_else(|| panic!("{cut:?}: neither old nor new"));
        match connection_string(&loads) {
            None => {
                old += 1;
                assert_eq!(loads, factory_settings(), "{cut:?}: some of the new settings");
            }
            Some(held) => {
                new += 1;
                assert_eq!(*held.reveal(), *credential.reveal());
                assert_eq!((&loads["password"], &loads["ssid"]), (&json!(PASSWORD), &json!("Customer Wi-Fi")), "{cut:?}");
            }
        }

        let button = Button::start(&flash, &SECOND);
        let mut slot = driver(&profile, &[], button.port_name());
        slot.identify().expect("answers");
        slot.write(&credential).unwrap_or_else(|error| panic!("{cut:?}: {error}"));
        slot.read_back().expect("answers").expect("holds one");
        let settings = settings_that_a_boot_would_load(&flash_now).expect("it would boot");
        assert_eq!(settings["password"], PASSWORD, "{cut:?}");
        assert!(!flash_now.join("config.json.new").exists(), "{cut:?}: something is left over");
    }
    assert!(old > 0 && new > 0, "the cuts left {old} old and {new} new: they hit one side only");
}

/// A job of two boards with another ending than off: nobody switches a board off, so the hand takes it out.
async fn two_boards(ending: &str, second: &str, taken_out_at: impl Fn(&Value) -> bool) -> (Button, TempDir, Ended) {
    let cloud = Cloud::start().await;
    let station = Station::new("line-1", &cloud.url(), &cloud.access_code("line-1", &[]));
    let folder = tempfile::tempdir().expect("a folder");
    let profile = profile(folder.path(), &[("finish = \"off\"", &format!("finish = \"{ending}\""))]);
    let mut button = Button::start(folder.path(), &["--second", second, "--boards", "2"]);
    let serials = serials(2);
    let port = button.port_name().to_owned();
    let mut run = station.provision_at(text_of(&profile), &station.batch(&serials), &[port]);
    let mut passed = false;
    while let Some(event) = run.event().await {
        passed |= event["verdict"] == "pass";
        if passed && taken_out_at(&event) {
            break;
        }
        assert_ne!(event["event"], "summary", "the run ends before its second board");
    }
    assert_eq!(button.boards().len(), 1, "the board was thought gone, and is not");
    button.next();
    let ended = run.ends().await.with_code(0);
    let held: Vec<_> = button
        .boards()
        .iter()
        .filter_map(|flash| connection_string(&settings_that_a_boot_would_load(flash).expect("it would boot")))
        .collect();
    cloud.books().balance(&serials, &held);
    assert!(!ended.stdout.contains("not the end of its visit"), "{}", ended.stdout);
    (button, folder, ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_button_that_is_left_is_as_it_was_but_for_its_timer() {
    let (button, _folder, _) = two_boards("leave", "200", |event| event["step"] == "take-device-out").await;
    let mut hand = Hand::at(&button);
    assert!(hand.types("").ends_with("\r\n>>> "), "it is at its friendly prompt");
    hand.types("import control,setting,machine");
    assert!(hand.types("control.shutdown").contains("<function shutdown at"), "put back");
    assert!(hand.types("control.print is print").contains("True"), "put back");
    assert!(hand.types("machine.Timer._callback is None").contains("True"), "the timer is stopped");
    assert!(hand.types("control.interruptCounter").contains("120"));
    // Were it to save, it would save what was written.
    let before = settings_that_a_boot_would_load(&flash_of(&button)).expect("it would boot");
    hand.types("setting.save('config.json')");
    let after = settings_that_a_boot_would_load(&flash_of(&button)).expect("it would boot");
    for (name, value) in before {
        let measured = ["hwid", "RSSI", "VBat", "keypresses"].contains(&name.as_str());
        assert!(measured || after[&name] == value, "`{name}` is {} in memory", after[&name]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_button_has_booted_its_new_settings_and_is_known_when_it_shows_up_again() {
    let done = |event: &Value| event["text"].as_str().is_some_and(|text| text.contains("this device is done"));
    // Deaf at its 15th second, it says something more seldom than it is looked at, and so it looks gone.
    let (button, _folder, _) = two_boards("reset", "600", done).await;
    let flash = flash_of(&button);
    let read = |name: &str| -> Flash { serde_json::from_slice(&fs::read(flash.join(name)).expect("is there")).expect("is JSON") };
    assert_eq!(read("config.json"), read("config.json.bak"), "the boot has rewritten the backup");
    assert_eq!(read("config.json")["ssid"], "Customer Wi-Fi");
    let mut hand = Hand::at(&button);
    assert!(hand.types("").ends_with("\r\n>>> "), "it is at its friendly prompt");
    hand.types("import control,machine");
    assert!(hand.types("hasattr(control,'print')").contains("False"), "nothing is replaced");
    assert!(hand.types("machine.Timer._callback is None").contains("False"), "its program runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_button_whose_settings_are_gone_after_its_start_never_passes() {
    let cloud = Cloud::start().await;
    let station = Station::new("line-1", &cloud.url(), &cloud.access_code("line-1", &[]));
    let folder = tempfile::tempdir().expect("a folder");
    let profile = profile(folder.path(), &[("finish = \"off\"", "finish = \"reset\"")]);
    let serials = serials(1);
    let batch = station.batch(&serials);
    let mut button = Button::start(folder.path(), &[&SECOND[..], &["--boards", "2", "--forgets"]].concat());
    let mut run = station.provision_at(text_of(&profile), &batch, &[button.port_name().to_owned()]);
    let mut retries = 0;
    while let Some(event) = run.event().await {
        assert!(event["verdict"] != "pass" && event["step"] != "confirm", "{event}");
        if event["event"] == "retry" {
            assert_eq!(event["code"], "device-unverified", "{event}");
            let message = event["message"].as_str().expect("has a sentence");
            assert!(message.contains("after its start `config.json` is not what was written to it"), "{message}");
            retries += 1;
            // A board gets a second chance, then it has to go.
            if retries == 2 {
                button.next();
            }
        }
    }
    let ended = run.ends().await.with_code(1);
    assert_eq!(retries, 2, "{}", ended.stderr);
    assert_eq!(cloud.books().ledger[&serials[0]].state, "issued", "what was not shown was confirmed");
    drop(button);

    let mut button = Button::start(folder.path(), &[&SECOND[..], &["--boards", "2"]].concat());
    station.provision_at(text_of(&profile), &batch, &[button.port_name().to_owned()]).ends().await.with_code(0);
    assert!(button.was_reset());
    let settings = settings_that_a_boot_would_load(&flash_of(&button)).expect("it would boot");
    cloud.books().balance(&serials, &Vec::from_iter(connection_string(&settings)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_station_killed_between_the_reset_and_the_confirmation_goes_on_with_the_same_credential() {
    let mut cloud = Cloud::start().await;
    let station = Station::new("line-1", &cloud.url(), &cloud.access_code("line-1", &[]));
    let folder = tempfile::tempdir().expect("a folder");
    let profile = profile(folder.path(), &[("finish = \"off\"", "finish = \"reset\"")]);
    let serials = serials(1);
    let batch = station.batch(&serials);
    let mut button = Button::start(folder.path(), &SECOND);
    let ports = [button.port_name().to_owned()];
    let mut run = station.provision_at(text_of(&profile), &batch, &ports);
    while let Some(event) = run.event().await {
        assert_ne!(event["event"], "summary", "the run ends before it writes");
        if event["step"] == "write" {
            break;
        }
    }
    // No confirmation can come through.
    cloud.kill_service().await;
    until("the button starts anew", || button.was_reset()).await;
    assert!(run.kill_after(0).await, "the run had ended");
    cloud.start_service().await;

    station.provision_at(text_of(&profile), &batch, &ports).ends().await.with_code(0);
    let settings = settings_that_a_boot_would_load(&flash_of(&button)).expect("it would boot");
    cloud.books().balance(&serials, &Vec::from_iter(connection_string(&settings)));
    assert_eq!(cloud.books().tombstones, 0, "the same board needs no new credential");
}

/// As an argument.
fn text_of(path: &Path) -> &str {
    path.to_str().expect("is text")
}
