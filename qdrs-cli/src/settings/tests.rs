//! Flags, variables, file and defaults meet once; each fault has its sentence.

use std::ffi::OsString;

use super::*;

fn settle(flags: &[&str], variables: &[(&str, &str)], file: Option<&str>) -> Result<Settings, SettingsError> {
    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        flags: Flags,
    }
    let folder = tempfile::tempdir().expect("a folder");
    if let Some(text) = file {
        std::fs::create_dir(folder.path().join("config")).expect("makes");
        std::fs::write(folder.path().join("config/config.toml"), text).expect("writes");
    }
    let flags = <Cli as clap::Parser>::parse_from(["qdrs"].iter().chain(flags)).flags;
    let lookup = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
    Settings::resolve(&flags, &lookup, &Folders::below(folder.path()))
}

#[test]
fn a_flag_goes_before_a_variable_before_the_file_before_the_default() {
    let file = Some(
        "version = 1\nservice = \"https://file.example\"\nstation = \"from the file\"\nports = [\"/dev/ttyUSB0\"]\nca_file = \"ca.pem\"\n",
    );
    let variables = [("QDRS_SERVICE", "https://variable.example/base"), ("QDRS_DEVICE", "mxchip")];
    let settings = settle(&["--service", "https://flag.example"], &variables, file).expect("settles");
    assert_eq!(
        (settings.service().expect("set").as_str(), &settings.service.origin),
        ("https://flag.example/", &Origin::Flag("--service"))
    );
    assert_eq!((settings.device.as_str(), &settings.device.origin), ("mxchip", &Origin::Variable("QDRS_DEVICE")));
    assert_eq!(
        (settings.station.as_str(), &settings.station.origin),
        ("from the file", &Origin::File(settings.config.value.clone()))
    );
    assert_eq!(settings.ports.value, ["/dev/ttyUSB0"]);
    assert_eq!(settings.ca_file.value, Some(settings.config.with_file_name("ca.pem")), "beside the file that names it");
    assert_eq!((settings.key_store.value, &settings.key_store.origin), (KeyStore::Auto, &Origin::Default));

    let settings = settle(&[], &variables, file).expect("settles");
    assert_eq!(settings.service().expect("set").as_str(), "https://variable.example/base/");
    let journal =
        settings.journal_path().expect("follows from the service").file_name().expect("a name").to_string_lossy().into_owned();
    assert!(journal.starts_with("variable.example-") && journal.ends_with(".jsonl"), "{journal}");
}

#[test]
fn nothing_set_is_fine_until_a_service_is_needed() {
    let settings = settle(&[], &[], None).expect("settles");
    assert!(!settings.station.is_empty());
    assert!(matches!(settings.service(), Err(SettingsError::NoService)));
    assert!(matches!(settings.journal_path(), Err(SettingsError::NoService)));
}

#[test]
fn the_sandbox_takes_nothing_from_the_station() {
    let settings =
        settle(&["--sandbox"], &[("QDRS_SERVICE", "https://x.example")], Some("version = 1\nports = [\"/dev/ttyUSB0\"]\n"))
            .expect("settles");
    assert!(settings.service.value.is_none() && settings.ports.is_empty());
}

#[test]
fn what_makes_no_sense_is_said_with_its_place() {
    let said = |error: SettingsError| {
        format!(
            "{error}\n   at: {}\n help: {}",
            error
                .at()
                .unwrap_or_default()
                .rsplit_once('/')
                .map_or_else(|| error.at().unwrap_or_default(), |(_, name)| name.to_owned()),
            error.help()
        )
    };
    let all = [
        settle(&["--service", "http://qdrs.example"], &[], None),
        settle(&["--service", "https://me:hunter2@qdrs.example"], &[], None),
        settle(&["--service", "me:hunter2@[x"], &[], None),
        settle(&["--service", "https://qdrs.example/?a=b"], &[], None),
        settle(&[], &[("QDRS_STATION", "line\u{7}1")], None),
        settle(&[], &[("QDRS_KEY_STORE", "drawer")], None),
        settle(&[], &[], Some("version = 1\n\nserver = \"https://x.example\"\n")),
        settle(&[], &[], Some("version = 2\nshape = \"new\"\n")),
        settle(&[], &[], Some("version = 1\nstation = 7\n")),
        settle(&[], &[], Some("version = \n")),
        settle(&[], &[], Some("station = \"x\"\n")),
    ]
    .map(|result| said(result.expect_err("refused")));
    assert!(!all.iter().any(|text| text.contains("hunter2")));
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn plain_http_is_for_this_computer_only() {
    for url in ["http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost:8080"] {
        settle(&["--service", url], &[], None).expect(url);
    }
    for url in ["http://10.0.0.1", "ftp://localhost", "localhost:8080", "http://localhost.example"] {
        settle(&["--service", url], &[], None).expect_err(url);
    }
}
