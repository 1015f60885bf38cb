//! Tokens that Azure's own SDKs made, and what a token must not open.

use proptest::prelude::*;

use super::*;

/// The bytes 0 to 31.
fn key() -> Vec<u8> {
    (0..32).collect()
}

const HUB: &str = "contoso.azure-devices.net";
const AT: i64 = 1_893_456_000;

type Vector = (&'static str, &'static str, Option<&'static str>, i64, &'static str, bool);

/// By whom, resource, key name, expiry, the token's fields, and whether ours has the very same text.
#[rustfmt::skip]
const VECTORS: &[Vector] = &[
    ("1 Python service", HUB, Some("iothubowner"), AT, "sr=contoso.azure-devices.net&sig=tOdZHfP50MJRonIVYDukXZnLqoNvyLSGRIu7lBlYxoc%3D&se=1893456000&skn=iothubowner", true),
    ("2 Node service", HUB, Some("iothubowner"), AT, "sr=contoso.azure-devices.net&sig=tOdZHfP50MJRonIVYDukXZnLqoNvyLSGRIu7lBlYxoc%3D&skn=iothubowner&se=1893456000", false),
    ("3 Python service, raw stroke", HUB, Some("iothubowner"), AT + 3, "sr=contoso.azure-devices.net&sig=4T6O/CtDFQ3HqXBmZunZw0LlUsPrBUrDSqtAfgDdOds%3D&se=1893456003&skn=iothubowner", false),
    ("4 Python service, port", "localhost:8443", Some("iothubowner"), AT, "sr=localhost%3A8443&sig=S82VeJ/uWysBysKErSrOWOc6EliEdc5yeDssWsNAbec%3D&se=1893456000&skn=iothubowner", false),
    ("5 both devices", "contoso.azure-devices.net/devices/dev-1", None, AT, "sr=contoso.azure-devices.net%2Fdevices%2Fdev-1&sig=nv2AELlBZnVxDL%2B9ZVM2W8%2Bsadq3Goit9SmzN3fdV2Q%3D&se=1893456000", true),
    ("6 both devices", "contoso.azure-devices.net/devices/a+b#c(1)'x!", None, AT, "sr=contoso.azure-devices.net%2Fdevices%2Fa%2Bb%23c%281%29%27x%21&sig=%2FiQaPAGVBTWOsoMrwQxsXk3It9%2BCSCjiF4k8KnKUvz4%3D&se=1893456000", true),
    ("7 Python module", "contoso.azure-devices.net/devices/dev-1/modules/m1", None, AT, "sr=contoso.azure-devices.net%2Fdevices%2Fdev-1%2Fmodules%2Fm1&sig=MCNGQuW4YEX8GtQe3TGCTYbyLOrJEpBEcQ6C%2Bqdv5u8%3D&se=1893456000", true),
    ("8 Python device, policy", "contoso.azure-devices.net/devices/dev-1", Some("device"), AT, "sr=contoso.azure-devices.net%2Fdevices%2Fdev-1&sig=nv2AELlBZnVxDL%2B9ZVM2W8%2Bsadq3Goit9SmzN3fdV2Q%3D&se=1893456000&skn=device", true),
    ("9 Node device, small hex", "contoso.azure-devices.net/devices/a*b", None, AT, "sr=contoso.azure-devices.net%2Fdevices%2Fa%2ab&sig=3%2BmnHHYqbB8a6VPZDs%2FRRcVwghVrrxnRyeDNgODam1k%3D&se=1893456000", false),
    ("10 Python device, capital hex", "contoso.azure-devices.net/devices/a*b", None, AT, "sr=contoso.azure-devices.net%2Fdevices%2Fa%2Ab&sig=KXF6i3wM%2FUaKD8DUqbeehjTmawznphnWAalJyWgth8Y%3D&se=1893456000", true),
];

#[test]
fn tokens_of_the_vendors_sdks_are_read_and_made() {
    for (by, resource, key_name, expires, fields, same_text) in VECTORS {
        let text = format!("SharedAccessSignature {fields}");
        let parsed = Token::parse(&text).unwrap_or_else(|error| panic!("{by}: {error}"));
        assert_eq!((parsed.resource(), parsed.key_name(), parsed.expires()), (*resource, *key_name, *expires), "{by}");
        assert!(parsed.signed_by(&key()), "{by}");
        assert!(!parsed.signed_by(&key()[1..]), "{by}");

        let ours = token(resource, &key(), *expires, *key_name);
        assert_eq!(*ours == text, *same_text, "{by}: {}", *ours);
        assert!(Token::parse(&ours).expect("reads its own").signed_by(&key()), "{by}");
    }
}

#[test]
fn the_signature_is_over_what_was_sent() {
    let (.., fields, _) = VECTORS[4];
    let changed = [
        ("dev-1", "dev-2"),
        ("se=1893456000", "se=1893456001"),
        ("se=1893456000", "se=01893456000"),
        ("%2Fdevices", "%2fdevices"),
    ];
    for (from, to) in changed {
        let parsed = Token::parse(&format!("SharedAccessSignature {}", fields.replace(from, to))).expect("is whole");
        assert!(!parsed.signed_by(&key()), "{from} became {to}");
    }
}

#[test]
fn fields_come_in_any_order_and_case_but_once() {
    let (.., fields, _) = VECTORS[4];
    let mut parts: Vec<_> = fields.split('&').collect();
    parts.reverse();
    let odd = format!("SharedAccessSignature &{}&&other=1", parts.join("&").replace("sr=", "SR="));
    assert!(Token::parse(&odd).expect("is taken").signed_by(&key()));
    let why = |text: &str| Token::parse(text).expect_err("is refused");
    assert_eq!(why(&format!("SharedAccessSignature {fields}&se=5")), SasError::Twice { field: "se" });
    assert_eq!(why(&format!("sharedaccesssignature {fields}")), SasError::Scheme);
    assert_eq!(why(&format!("SharedAccessSignature  {fields}")), SasError::Scheme);
    assert_eq!(why(&format!("SharedAccessSignature {fields} x")), SasError::Scheme);
    assert_eq!(why("SharedAccessSignature "), SasError::Scheme);
    assert_eq!(why("SharedAccessSignature sr=h&se=1"), SasError::Missing { field: "sig" });
    for field in ["sig=AAAA", "se=+5", "se=-5", "se=99999999999999999999", "sr=%FF"] {
        let rest = ["sr=h", "sig=nv2AELlBZnVxDL%2B9ZVM2W8%2Bsadq3Goit9SmzN3fdV2Q%3D", "se=1"];
        let name = field.split('=').next().unwrap();
        let all: Vec<_> = rest.iter().filter(|one| !one.starts_with(&format!("{name}="))).chain([&field]).copied().collect();
        assert!(matches!(why(&format!("SharedAccessSignature {}", all.join("&"))), SasError::Malformed { .. }), "{field}");
    }
}

#[test]
fn a_token_covers_whole_segments_of_its_own_host() {
    let aliases = vec![HUB.to_owned(), "localhost:8443".to_owned()];
    let covers = |resource: &str, path: &str| Token::parse(&token(resource, &key(), AT, None)).unwrap().covers(&aliases, path);
    assert!(covers("Contoso.Azure-Devices.NET", "/devices/dev-1"));
    assert!(covers("localhost:8443", "/twins/dev-1"));
    assert!(covers("localhost:8443/", "/twins/dev-1"));
    assert!(covers("contoso.azure-devices.net/devices/dev-1", "/devices/dev-1"));
    assert!(covers("contoso.azure-devices.net/devices/dev-1/", "/devices/dev-1/messages/events"));
    assert!(!covers("contoso.azure-devices.net/devices/dev-1", "/devices/dev-10"));
    assert!(!covers("contoso.azure-devices.net/devices/dev-1", "/devices"));
    assert!(!covers("contoso.azure-devices.net/devices/dev-1", "/devices/Dev-1"));
    assert!(!covers("other.azure-devices.net", "/devices/dev-1"));
    assert!(!covers("localhost", "/devices/dev-1"));
    assert!(!covers("/", "/devices/dev-1"));
}

#[test]
fn a_blank_sent_as_plus_is_a_blank() {
    let made = token("h/a b+c", &key(), AT, None);
    assert_eq!(Token::parse(&made).unwrap().resource(), "h/a b+c");
    assert_eq!(Token::parse(&made.replace("%20", "+")).unwrap().resource(), "h/a b+c");
}

#[test]
fn debug_hides_the_signature() {
    let (.., fields, _) = VECTORS[4];
    let shown = format!("{:?}", Token::parse(&format!("SharedAccessSignature {fields}")).unwrap());
    assert!(shown.contains("signature: …") && shown.len() < 120, "{shown}");
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "(SharedAccessSignature )?(\\PC{0,40}|((sr|sig|se|skn)=[%a-fA-F0-9+/=]{0,12}&?){0,6})") {
        let _ = Token::parse(&text);
    }

    #[test]
    fn whatever_is_signed_is_read_again(resource in "\\PC{1,40}", name in proptest::option::of("\\PC{1,20}"), at in 0_i64..) {
        let made = token(&resource, &key(), at, name.as_deref());
        prop_assert_eq!(made.len(), made.capacity(), "the buffer did not grow");
        let parsed = Token::parse(&made).expect("reads its own");
        prop_assert!(parsed.signed_by(&key()));
        prop_assert_eq!((parsed.resource(), parsed.key_name(), parsed.expires()), (resource.as_str(), name.as_deref(), at));
    }
}
