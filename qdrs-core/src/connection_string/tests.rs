//! What the SDKs take and refuse of connection strings, and that no key shows where it should not.

use proptest::prelude::*;

use super::*;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn device() -> String {
    format!("HostName=contoso.azure-devices.net;DeviceId=dev-1;SharedAccessKey={KEY}")
}

#[test]
fn a_device_string_comes_back_as_every_sdk_reads_it() {
    let lenient = [
        device(),
        format!("{};", device()),
        format!(" SharedAccessKey={KEY} ; DeviceId=dev-1;; hostname = contoso.azure-devices.net;\n"),
        format!("{};Unknown=x;x509=false", device()),
    ];
    for text in lenient {
        let parsed = DeviceConnectionString::parse(&text).expect("is taken");
        assert_eq!((parsed.host_name.as_str(), parsed.device_id.as_str()), ("contoso.azure-devices.net", "dev-1"));
        assert_eq!(*parsed.reveal(), device());
    }
}

#[test]
fn what_a_device_with_one_key_cannot_hold_is_refused_by_name() {
    let why = |text: &str| DeviceConnectionString::parse(text).expect_err("is refused");
    let kind_of = |text: String| match why(&text) {
        ConnectionStringError::OtherKind { field, .. } => field,
        other => panic!("{other}"),
    };
    assert_eq!(kind_of("HostName=h;DeviceId=d;x509=true".into()), "x509");
    assert_eq!(kind_of(format!("{};x509=true", device())), "x509");
    assert_eq!(kind_of(format!("{};ModuleId=m1", device())), "ModuleId");
    assert_eq!(kind_of(format!("{};GatewayHostName=edge.local", device())), "GatewayHostName");
    assert_eq!(
        kind_of("HostName=h;DeviceId=d;SharedAccessSignature=SharedAccessSignature sr=h&sig=a&se=1".into()),
        "SharedAccessSignature"
    );
    assert_eq!(kind_of(format!("HostName=h;SharedAccessKeyName=iothubowner;SharedAccessKey={KEY}")), "SharedAccessKeyName");

    assert_eq!(why(""), ConnectionStringError::Missing { field: "HostName" });
    assert_eq!(why("HostName=;DeviceId=d"), ConnectionStringError::Missing { field: "HostName" });
    assert_eq!(why("HostName=h;DeviceId=d"), ConnectionStringError::Missing { field: "SharedAccessKey" });
    assert_eq!(why("HostName=h;DeviceId=d;DeviceId=d"), ConnectionStringError::Twice { field: "DeviceId" });
    assert_eq!(why("HostName=h;DeviceId"), ConnectionStringError::NotAPair { part: 2 });
    assert_eq!(why("HostName=https://h/;DeviceId=d"), ConnectionStringError::HostName);
    assert_eq!(why("HostName=h;DeviceId=a/b"), ConnectionStringError::DeviceId);
    assert_eq!(why(&format!("HostName=h;DeviceId={}", "d".repeat(129))), ConnectionStringError::DeviceId);
    assert_eq!(why("HostName=h;DeviceId=d;SharedAccessKey=***"), ConnectionStringError::Masked);
    assert_eq!(why("HostName=h;DeviceId=d;SharedAccessKey=!!!"), ConnectionStringError::KeyNotBase64);
    assert_eq!(why("HostName=h;DeviceId=d;SharedAccessKey=AAAA"), ConnectionStringError::KeyLength { bytes: 3 });
}

#[test]
fn an_owner_string_may_carry_a_port_and_is_no_device_string() {
    let text = format!("HostName=localhost:8443;SharedAccessKeyName=iothubowner;SharedAccessKey={KEY}");
    let owner = OwnerConnectionString::parse(&text).expect("is taken");
    assert_eq!((owner.host_name.as_str(), owner.key_name.as_str(), owner.key().len()), ("localhost:8443", "iothubowner", 32));
    assert_eq!(*owner.reveal(), text);
    let key = DeviceKey::from_base64(KEY).expect("reads");
    assert_eq!(*OwnerConnectionString::new("localhost:8443", "iothubowner", &key).expect("is made").reveal(), text);
    let refused = OwnerConnectionString::parse(&device()).expect_err("is a device's");
    assert!(matches!(refused, ConnectionStringError::OtherKind { field: "DeviceId", .. }));
    let no_name = OwnerConnectionString::parse(&format!("HostName=h;SharedAccessKey={KEY}")).expect_err("has no name");
    assert_eq!(no_name, ConnectionStringError::Missing { field: "SharedAccessKeyName" });
}

fn owner() -> String {
    format!("HostName=contoso.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey={KEY}")
}

#[test]
fn an_owner_string_is_taken_with_what_tools_put_around_it() {
    let owner = owner();
    let json = serde_json::json!({ "connectionString": owner }).to_string();
    let pretty = format!("{{\n  \"connectionString\": \"{owner}\"\n}}\n");
    let given = [
        format!("\u{feff}{owner}\r\n"),
        format!("{owner};\r\n\r\n"),
        format!("\"{owner}\""),
        format!("'{owner}'\n"),
        format!("\u{201c}{owner}\u{201d}"),
        serde_json::json!(owner).to_string(),
        serde_json::json!([owner]).to_string(),
        json.clone(),
        pretty.clone(),
        format!("WARNING: The behavior of this command has been altered by the extension: azure-iot\n{json}"),
        format!("WARNING: one\nWARNING: two\n\n{pretty}"),
        format!("Warning: one\r\n{owner}\r\n"),
        format!("ConnectionString\n----------------\n{owner}\n"),
        format!("connectionString: {owner}\n"),
        format!("# the hub of line 1\nQDRS_HUB_CONNECTION={owner}\n"),
        format!("export HUB=\"{owner}\""),
        format!("connection = \"{owner}\"  "),
        format!("{owner}\n{owner}\n"),
        format!("$env:QDRS_HUB_CONNECTION = \"{owner}\""),
        owner.replace(';', ";\r\n"),
        format!("\"{}\"", owner.replace(';', ";\n  ")),
        format!("SharedAccessKey={KEY};SharedAccessKeyName=iothubowner;HostName=contoso.azure-devices.net"),
    ];
    for text in given {
        let parsed = OwnerConnectionString::parse(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
        assert_eq!(*parsed.reveal(), owner, "{text:?}");
    }
}

#[test]
fn a_file_is_read_in_the_encodings_that_editors_and_shells_write() {
    let owner = owner();
    let units = || owner.encode_utf16().chain("\r\n".encode_utf16());
    let little: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
    for bytes in [
        owner.clone().into_bytes(),
        [&[0xef, 0xbb, 0xbf], owner.as_bytes()].concat(),
        [&[0xff, 0xfe], little.as_slice()].concat(),
        [&[0xfe, 0xff], big.as_slice()].concat(),
        little,
        big,
    ] {
        assert_eq!(*OwnerConnectionString::parse_file(&bytes).expect("is taken").reveal(), owner, "{:?}", &bytes[..4]);
    }
    assert_eq!(OwnerConnectionString::parse_file(b"HostName=\xe9").expect_err("no text"), ConnectionStringError::NotText);
    assert_eq!(OwnerConnectionString::parse_file(&[b'a'; 100_000]).expect_err("long"), ConnectionStringError::TooLong);
}

#[test]
fn what_is_no_owner_string_is_named_for_what_it_is() {
    let owner = owner();
    let why = |text: &str| OwnerConnectionString::parse(text).expect_err("is refused");
    let kind = |text: String| match why(&text) {
        ConnectionStringError::OtherKind { why, .. } => why.split([';', ',']).next().unwrap_or_default().to_owned(),
        other => panic!("{other}: {text}"),
    };
    let dps = owner.replace("contoso.azure-devices.net", "Contoso.azure-devices-provisioning.net");
    assert_eq!(kind(dps), "this is a Device Provisioning Service's");
    let events = format!(
        "Endpoint=sb://ihsuprod.servicebus.windows.net/;SharedAccessKeyName=iothubowner;SharedAccessKey={KEY};EntityPath=contoso"
    );
    assert_eq!(kind(events.clone()), "this is an Event Hub's or a Service Bus'");
    assert_eq!(kind(format!("WARNING: x\n\"{events}\"")), "this is an Event Hub's or a Service Bus'");
    assert_eq!(kind(device()), "this is a device's");
    assert_eq!(kind(format!("{};ModuleId=m", device())), "this is a module's");
    assert_eq!(kind(format!("DefaultEndpointsProtocol=https;AccountName=a;AccountKey={KEY}")), "this is a storage account's");
    let token = "HostName=h;SharedAccessKeyName=n;SharedAccessSignature=SharedAccessSignature sr=h&sig=a&se=1";
    assert_eq!(kind(token.into()), "it has a token that ends");

    let another = owner.replace("contoso", "fabrikam");
    for (text, error) in [
        ("", ConnectionStringError::Empty),
        ("\u{feff}\r\n# nothing\n", ConnectionStringError::Empty),
        (r#"{"connectionString": null}"#, ConnectionStringError::Empty),
        ("SharedAccessSignature sr=h&sig=a&se=1&skn=iothubowner", ConnectionStringError::Token),
        (KEY, ConnectionStringError::KeyAlone),
        ("contoso.azure-devices.net", ConnectionStringError::HostAlone),
        ("https://contoso.azure-devices.net/", ConnectionStringError::HostAlone),
        (&format!("{owner}\n{another}"), ConnectionStringError::Several { count: 2 }),
        (&serde_json::json!({ "connectionString": [owner, another] }).to_string(), ConnectionStringError::Several { count: 2 }),
        (&format!("{owner}\nand a note"), ConnectionStringError::Lines { lines: 2 }),
        (&format!("{owner};\n{another};"), ConnectionStringError::Several { count: 2 }),
        (&format!("setx HUB \"{owner}\""), ConnectionStringError::Around),
        (&format!("{{'connectionString': '{owner}'}}"), ConnectionStringError::Around),
        (&format!("<add value=\"{owner}\" />"), ConnectionStringError::Around),
        (&owner.replace(KEY, "****************"), ConnectionStringError::Masked),
        (&owner.replace(KEY, "<your key>"), ConnectionStringError::Masked),
        (&owner.replace(KEY, "{key}"), ConnectionStringError::Masked),
        (&owner.replace(KEY, "AAEC..."), ConnectionStringError::Masked),
    ] {
        assert_eq!(why(text), error, "{text:?}");
    }
    for text in [KEY, &format!("{owner}\n{another}"), &format!("x {owner}")] {
        let error = why(text);
        assert!(!format!("{error} {error:?} {}", error.help()).contains("AAEC"), "{error}");
    }
}

#[test]
fn what_a_policy_lacks_is_known_by_the_names_that_every_hub_begins_with() {
    let lacks = |name: &str| OwnerConnectionString::parse(&owner().replace("iothubowner", name)).expect("is taken").lacks();
    assert_eq!((lacks("iothubowner"), lacks("registryReadWrite"), lacks("our-own")), (None, None, None));
    assert_eq!(lacks("registryRead"), Some("registry write"));
    assert_eq!((lacks("service"), lacks("device")), (lacks("service"), Some("registry read and registry write")));
}

#[test]
fn keys_never_show_unless_revealed() {
    let parsed = DeviceConnectionString::parse(&device()).expect("is taken");
    let owner =
        OwnerConnectionString::parse(&format!("HostName=h;SharedAccessKeyName=n;SharedAccessKey={KEY}")).expect("is taken");
    for text in [format!("{parsed} {parsed:?} {parsed:#?}"), format!("{owner} {owner:?}"), format!("{:?}", parsed.key)] {
        assert!(!text.contains("AAEC") && text.contains('…'), "{text}");
    }
    // A key with a stroke too many is no pair of its own; the error must not quote it.
    let error =
        DeviceConnectionString::parse(&format!("HostName=h;DeviceId=d;{}", KEY.trim_end_matches('='))).expect_err("no pair");
    assert!(!format!("{error} {error:?}").contains("AAEC"));
}

#[test]
fn keys_have_16_to_64_bytes_and_a_fingerprint() {
    for (bytes, fits) in [(0, false), (15, false), (16, true), (32, true), (64, true), (65, false)] {
        assert_eq!(DeviceKey::from_base64(&BASE64.encode(&vec![7; bytes])).is_ok(), fits, "{bytes} bytes");
    }
    let key = DeviceKey::from_base64(KEY).expect("reads");
    assert_eq!(*key.to_base64(), KEY);
    let fingerprint = key.fingerprint();
    // SHA-256 of the bytes 0 to 31.
    assert_eq!(fingerprint.to_string(), "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd");
    assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
    let json = serde_json::to_value(fingerprint).expect("writes");
    assert_eq!(serde_json::from_value::<Fingerprint>(json).expect("reads"), fingerprint);
    assert_eq!("630DCD".repeat(8).parse::<Fingerprint>(), Err(NotAFingerprint));
    assert_ne!(DeviceKey::generate(), DeviceKey::generate());
    // The last character has unused bits; the vendor's SDKs and hubs take any.
    assert_eq!(DeviceKey::from_base64(&KEY.replace("h8=", "h9=")).expect("is taken"), key);
}

proptest! {
    #[test]
    fn parsers_never_panic_nor_repeat_what_they_were_given(text in "\\PC{0,80}", pairs in "([A-Za-z0-9]{0,20}[=; ]{0,2}){0,12}") {
        for text in [text, pairs] {
            let _ = DeviceConnectionString::parse(&text);
            let _ = OwnerConnectionString::parse(&text);
            let _ = DeviceKey::from_base64(&text);
            let _ = text.parse::<Fingerprint>();
        }
    }

    #[test]
    fn what_is_revealed_is_read_again(host in "[a-z0-9.-]{1,40}(:[0-9]{1,5})?", id in "[A-Za-z0-9._-]{1,128}", key in prop::collection::vec(any::<u8>(), 16..=64)) {
        let made = DeviceConnectionString { host_name: host, device_id: id, key: DeviceKey(Zeroizing::new(key)) };
        prop_assert_eq!(DeviceConnectionString::parse(&made.reveal()).expect("reads its own"), made);
    }
}
