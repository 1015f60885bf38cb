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
    assert_eq!(why("HostName=h;DeviceId=d;SharedAccessKey=***"), ConnectionStringError::KeyNotBase64);
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
