//! Which settings a button takes, and how they are written down for it.

use proptest::prelude::*;

use super::*;

fn give(name: &str, value: &str) -> Result<ButtonSettings, SettingError> {
    let mut settings = ButtonSettings::default();
    settings.give(name, Given::Text(Zeroizing::new(value.to_owned())))?;
    Ok(settings)
}

#[test]
fn each_key_takes_what_it_takes() {
    let longest = "x".repeat(USERJSON_BYTES_MAX - 2);
    let right = [
        ("ssid", "line 3 'é' \"'''\\"),
        ("ssid", ""),
        ("password", "p|w=\\'\""),
        ("usedhcp", "no"),
        ("ip", "192.168.1.20"),
        ("netmask", "255.255.254.0"),
        ("gateway", "0.0.0.0"),
        ("dnsserver", "9.9.9.9"),
        ("timeserver", "pool.ntp.org"),
        ("userjson", "{\"Order_ID\":\n \"ä🔥\"}"),
        ("userjson", &format!("\"{longest}\"")),
        ("opsmode", "client"),
        ("FWversion", "1.00"),
        ("FWurl", "http://updates.example/update.json"),
        ("FWnumber", "100"),
        ("FWnumberNew", "1073741823"),
        ("health", "0"),
    ];
    for (name, value) in right {
        let settings = give(name, value).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(settings.names().collect::<Vec<_>>(), [name]);
        assert!(!settings.is_empty());
    }
    let wrong = [
        ("ssid", "x".repeat(33)),
        ("ssid", "a\tb".to_owned()),
        ("password", "x".repeat(65)),
        ("usedhcp", "true".to_owned()),
        ("ip", "10.0.0".to_owned()),
        ("ip", "::1".to_owned()),
        ("netmask", "255.0.255.0".to_owned()),
        ("timeserver", "pool ntp".to_owned()),
        ("userjson", "{Order_ID: 1234}".to_owned()),
        ("userjson", format!("\"{longest}x\"")),
        ("opsmode", "softap".to_owned()),
        ("FWurl", "ftp://x.example/u".to_owned()),
        ("FWnumber", "1.5".to_owned()),
        ("FWnumber", "1073741824".to_owned()),
        ("health", "-7".to_owned()),
    ];
    for (name, value) in wrong {
        let error = give(name, &value).expect_err(&value);
        assert!(matches!(&error, SettingError::Value { name: named, .. } if *named == name), "{error}");
        assert!(!error.to_string().contains(&value), "the value is repeated: {error}");
    }
    let number = ButtonSettings::default().give("ssid", Given::Number(7)).expect_err("is no text");
    assert_eq!(number.to_string(), "`ssid` takes text: write the value in quotes");
}

#[test]
fn what_is_not_ours_or_unknown_is_refused_with_what_would_be_right() {
    for name in ["iothub", "iotdevicename", "iotdevicesecret", "hwid", "RSSI", "VBat", "keypresses"] {
        assert!(matches!(give(name, "1"), Err(SettingError::NotOurs { .. })), "{name}");
    }
    for (name, right) in [
        ("SSID", "ssid"),
        ("dnsserver1", "dnsserver"),
        ("time_server", "timeserver"),
        ("userJson", "userjson"),
        ("fwurl", "FWurl"),
    ] {
        let error = give(name, "1").expect_err(name);
        assert!(matches!(error, SettingError::Unknown { nearest, .. } if nearest == right), "{name}: {}", error.help());
        assert!(error.help().contains("dnsserver") && !error.help().contains("hwid"), "{}", error.help());
    }
}

#[test]
fn no_value_is_shown() {
    let settings = give("password", "hunter22").expect("is right");
    assert_eq!(format!("{settings:?}"), "{\"password\"}");
}

#[test]
fn they_cross_the_wire_as_two_lists() {
    let mut settings = give("ssid", "it's \"here\"").expect("is right");
    settings.give("FWnumber", Given::Number(7)).expect("is right");
    settings.give("FWnumber", Given::Number(8)).expect("wins");
    assert_eq!(*settings.wire(), br#"[["FWnumber", "ssid"], [8, "it's \"here\""]]"#);
}

proptest! {
    #[test]
    fn any_text_comes_back_from_the_wire(text in "[^\\p{Cc}]{0,32}") {
        prop_assume!(text.len() <= 32);
        let settings = give("ssid", &text).expect("is right");
        let [names, values]: [Vec<String>; 2] = serde_json::from_slice(&settings.wire()).expect("is JSON");
        prop_assert_eq!((names, values), (vec!["ssid".to_owned()], vec![text]));
    }
}
