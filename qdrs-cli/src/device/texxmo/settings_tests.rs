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
        ("timeserver", "p".repeat(254)),
        ("userjson", "{Order_ID: 1234}".to_owned()),
        ("userjson", format!("\"{longest}x\"")),
        ("opsmode", "softap".to_owned()),
        ("FWurl", "ftp://x.example/u".to_owned()),
        ("FWurl", format!("http://x.example/{}", "u".repeat(239))),
        ("FWurl", "http://x.example/\u{e4}".to_owned()),
        ("FWnumber", "1.5".to_owned()),
        ("FWnumber", "1073741824".to_owned()),
        ("health", "-7".to_owned()),
    ];
    for (name, value) in wrong {
        let error = give(name, &value).expect_err(&value);
        assert!(matches!(&error, SettingError::Value { name: named, .. } if *named == name), "{error}");
        assert!(!error.to_string().contains(&value), "the value is repeated: {error}");
    }
    assert!(matches!(give("timeserver", ""), Err(SettingError::Value { .. })));
    let help = give("ip", "10.0.0").expect_err("is no address").help();
    assert!(help.contains("nothing was sent"), "{help}");
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
fn the_longest_settings_cross_without_a_copy_that_is_left_behind() {
    let mut settings = ButtonSettings::default();
    for (name, takes) in &ALL {
        let value = match takes {
            Takes::Nothing(_) => continue,
            Takes::Text(max) | Takes::Secret(max) => "\"".repeat(*max),
            Takes::Word(words) => words.iter().max_by_key(|word| word.len()).expect("is a word").to_string(),
            Takes::Number(max) => max.to_string(),
            Takes::Address => "255.255.255.255".to_owned(),
            Takes::Netmask => "255.255.255.255".to_owned(),
            Takes::Host => "h".repeat(253),
            Takes::Url => format!("http://{}", "u".repeat(248)),
            Takes::Json => format!("[{}1]", "\n".repeat(USERJSON_BYTES_MAX - 3)),
        };
        settings.give(name, Given::Text(Zeroizing::new(value))).unwrap_or_else(|error| panic!("{error}"));
    }
    assert!(settings.wire().len() <= WIRE_BYTES_MAX, "{}", settings.wire().len());
}

#[test]
fn the_password_alone_is_a_secret() {
    assert!(is_secret("password"));
    assert!(!is_secret("ssid") && !is_secret("secret"));
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
    let spaced = give("userjson", "{\n\t\"a\\\\\":\r1}").expect("is right");
    assert_eq!(*spaced.wire(), br#"[["userjson"], ["{\n\t\"a\\\\\":\r1}"]]"#);
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
