//! One device as the emulator keeps it, and the identity as it is read from and written to the wire.
//!
//! Keys are kept as the caller wrote them, since the hub echoes them byte for byte; their `Debug` is masked.
//! Source: the vendor's REST documents and SDKs.

use std::fmt;

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use jiff::Timestamp;
use qdrs_core::connection_string::DeviceKey;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::errors::Refusal;

/// Length of a device id, in characters.
const DEVICE_ID_LENGTH_MAX: usize = 128;
const STATUS_REASON_LENGTH_MAX: usize = 128;
/// The hub's way to say "never".
const NEVER: &str = "0001-01-01T00:00:00";

/// A symmetric key as the caller wrote it: base64 of 16 to 64 bytes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Key(String);

impl Key {
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        match DeviceKey::from_base64(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(Refusal::argument("Invalid device key length")),
        }
    }

    /// A key made by the hub: 32 random bytes.
    pub(super) fn generate() -> Self {
        Self::from(&DeviceKey::generate())
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// The key decoded. `parse` is the only way in, but a store can be edited by hand: such a key opens nothing.
    pub(super) fn decoded(&self) -> Option<DeviceKey> {
        DeviceKey::from_base64(&self.0).ok()
    }
}

impl From<&DeviceKey> for Key {
    fn from(key: &DeviceKey) -> Self {
        Self(key.to_base64().as_str().to_owned())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// How a device shows who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Authentication {
    Sas { primary: Key, secondary: Key },
    SelfSigned { primary: Option<String>, secondary: Option<String> },
    CertificateAuthority,
}

impl Authentication {
    fn generate() -> Self {
        Self::Sas { primary: Key::generate(), secondary: Key::generate() }
    }

    /// The word on the wire.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Sas { .. } => "sas",
            Self::SelfSigned { .. } => "selfSigned",
            Self::CertificateAuthority => "certificateAuthority",
        }
    }

    pub(super) fn thumbprints(&self) -> Value {
        match self {
            Self::SelfSigned { primary, secondary } => json!({"primaryThumbprint": primary, "secondaryThumbprint": secondary}),
            _ => json!({"primaryThumbprint": null, "secondaryThumbprint": null}),
        }
    }

    fn to_json(&self) -> Value {
        let keys = match self {
            Self::Sas { primary, secondary } => json!({"primaryKey": primary.text(), "secondaryKey": secondary.text()}),
            _ => json!({"primaryKey": null, "secondaryKey": null}),
        };
        json!({"symmetricKey": keys, "x509Thumbprint": self.thumbprints(), "type": self.kind()})
    }
}

/// What a caller says of an identity, alone (`PUT`) or as a bulk entry; what is left out has the hub's default.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Given {
    pub(super) device_id: Option<String>,
    status: Option<String>,
    status_reason: Option<String>,
    authentication: Option<GivenAuthentication>,
    capabilities: Option<GivenCapabilities>,
    device_scope: Option<String>,
    parent_scopes: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenAuthentication {
    #[serde(rename = "type")]
    kind: Option<String>,
    symmetric_key: Option<GivenKeys>,
    x509_thumbprint: Option<GivenThumbprints>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenKeys {
    primary_key: Option<String>,
    secondary_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenThumbprints {
    primary_thumbprint: Option<String>,
    secondary_thumbprint: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenCapabilities {
    iot_edge: Option<bool>,
}

/// An identity that was given and is in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) enabled: bool,
    pub(super) status_reason: Option<String>,
    pub(super) authentication: Authentication,
    iot_edge: bool,
    device_scope: Option<String>,
    parent_scopes: Vec<String>,
}

impl Settings {
    /// An enabled device with all else at the hub's defaults.
    pub(super) fn new(authentication: Authentication) -> Self {
        Self {
            enabled: true,
            status_reason: None,
            authentication,
            iot_edge: false,
            device_scope: None,
            parent_scopes: Vec::new(),
        }
    }
}

impl Given {
    /// Checks all that was given. Keys left out, or empty, are made by the hub, at an update too: that is how a
    /// careless update kills a device's credential.
    pub(super) fn settle(self) -> Result<Settings, Refusal> {
        let enabled = match self.status.as_deref() {
            None | Some("enabled") => true,
            Some("disabled") => false,
            Some(_) => return Err(Refusal::argument("status must be enabled or disabled")),
        };
        if self.status_reason.as_ref().is_some_and(|reason| reason.chars().count() > STATUS_REASON_LENGTH_MAX) {
            return Err(Refusal::argument("statusReason is longer than 128 characters"));
        }
        Ok(Settings {
            enabled,
            status_reason: self.status_reason,
            authentication: self.authentication.map_or_else(|| Ok(Authentication::generate()), GivenAuthentication::settle)?,
            iot_edge: self.capabilities.and_then(|given| given.iot_edge).unwrap_or_default(),
            device_scope: self.device_scope,
            parent_scopes: self.parent_scopes.unwrap_or_default(),
        })
    }
}

impl GivenAuthentication {
    fn settle(self) -> Result<Authentication, Refusal> {
        let thumbprints =
            self.x509_thumbprint.map(|given| (given.primary_thumbprint, given.secondary_thumbprint)).unwrap_or_default();
        let has_thumbprint = thumbprints.0.is_some() || thumbprints.1.is_some();
        match self.kind.as_deref() {
            None if has_thumbprint => self_signed(thumbprints),
            Some("selfSigned") => self_signed(thumbprints),
            Some("certificateAuthority") => Ok(Authentication::CertificateAuthority),
            None | Some("sas") => sas(self.symmetric_key),
            Some(_) => Err(Refusal::argument("authentication type is not valid for a device")),
        }
    }
}

fn sas(keys: Option<GivenKeys>) -> Result<Authentication, Refusal> {
    let present = |key: Option<String>| key.filter(|key| !key.is_empty()).map(Zeroizing::new);
    let (primary, secondary) = keys.map_or((None, None), |keys| (present(keys.primary_key), present(keys.secondary_key)));
    match (primary, secondary) {
        (None, None) => Ok(Authentication::generate()),
        (Some(primary), Some(secondary)) => {
            Ok(Authentication::Sas { primary: Key::parse(&primary)?, secondary: Key::parse(&secondary)? })
        }
        _ => Err(Refusal::argument("Either no keys or both keys can be set")),
    }
}

fn self_signed((primary, secondary): (Option<String>, Option<String>)) -> Result<Authentication, Refusal> {
    let is_thumbprint = |text: &String| matches!(text.len(), 40 | 64) && HEXLOWER_PERMISSIVE.decode(text.as_bytes()).is_ok();
    if primary.iter().chain(&secondary).all(is_thumbprint) && (primary.is_some() || secondary.is_some()) {
        return Ok(Authentication::SelfSigned { primary, secondary });
    }
    Err(Refusal::argument("StringIsNotThumbprint"))
}

/// One device: identity and twin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Device {
    pub(super) id: String,
    /// New with every creation of the id; looks like the .NET ticks that the hub uses.
    pub(super) generation: u64,
    /// New with every change of the identity.
    pub(super) etag: u64,
    pub(super) settings: Settings,
    pub(super) status_changed: Option<Timestamp>,
    pub(super) twin: super::twins::Twin,
}

impl Device {
    /// The etag without quotes, as in a body: base64 of a decimal number.
    pub(super) fn etag_text(&self) -> String {
        BASE64.encode(self.etag.to_string().as_bytes())
    }

    /// The identity as the hub answers it, with both keys.
    pub(super) fn to_json(&self) -> Value {
        let settings = &self.settings;
        let mut identity = json!({
            "deviceId": self.id,
            "generationId": self.generation.to_string(),
            "etag": self.etag_text(),
            "connectionState": "Disconnected",
            "status": status_word(settings.enabled),
            "statusReason": settings.status_reason,
            "connectionStateUpdatedTime": NEVER,
            "statusUpdatedTime": self.status_changed.map_or_else(|| NEVER.to_owned(), hub_time),
            "lastActivityTime": NEVER,
            "cloudToDeviceMessageCount": 0,
            "authentication": settings.authentication.to_json(),
            "capabilities": {"iotEdge": settings.iot_edge},
        });
        if let Some(scope) = &settings.device_scope {
            identity["deviceScope"] = json!(scope);
        }
        if !settings.parent_scopes.is_empty() {
            identity["parentScopes"] = json!(settings.parent_scopes);
        }
        identity
    }

    /// The twin as the hub answers it; it holds no keys.
    pub(super) fn twin_to_json(&self) -> Value {
        let settings = &self.settings;
        let mut twin = json!({
            "deviceId": self.id,
            "etag": self.twin.etag_text(),
            "deviceEtag": self.etag_text(),
            "status": status_word(settings.enabled),
            "statusReason": settings.status_reason,
            "statusUpdateTime": self.status_changed.map_or_else(|| format!("{NEVER}Z"), |time| format!("{}Z", hub_time(time))),
            "connectionState": "Disconnected",
            "lastActivityTime": format!("{NEVER}Z"),
            "cloudToDeviceMessageCount": 0,
            "authenticationType": settings.authentication.kind(),
            "x509Thumbprint": settings.authentication.thumbprints(),
            "modelId": "",
            "version": self.twin.version,
            "properties": self.twin.properties_to_json(),
            "capabilities": {"iotEdge": settings.iot_edge},
        });
        if let Some(members) = twin.as_object_mut() {
            if settings.status_reason.is_none() {
                members.remove("statusReason");
            }
            if !self.twin.tags.is_empty() {
                members.insert("tags".into(), Value::Object(self.twin.tags.clone()));
            }
        }
        twin
    }

    /// The symmetric keys, if it has any.
    pub(super) fn keys(&self) -> Option<(&Key, &Key)> {
        match &self.settings.authentication {
            Authentication::Sas { primary, secondary } => Some((primary, secondary)),
            _ => None,
        }
    }

    /// The tags, as they were written.
    pub(super) fn tags(&self) -> &Map<String, Value> {
        &self.twin.tags
    }
}

/// A time as in an identity: seven digits of a second, no zone.
pub(super) fn hub_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%7f").to_string()
}

fn status_word(enabled: bool) -> &'static str {
    if enabled { "enabled" } else { "disabled" }
}

/// May an identity have this id? By default the union of what old and new documents list, so that old ids load;
/// `strict` is the newest list alone.
pub(super) fn check_device_id(id: &str, strict: bool) -> Result<(), Refusal> {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-.%_*?!(),:=@$'".contains(&byte) || (!strict && b"+#".contains(&byte));
    if id.is_empty() || id.len() > DEVICE_ID_LENGTH_MAX || !id.bytes().all(allowed) {
        return Err(Refusal::argument(
            "The device id is not valid: 1 to 128 of letters, digits and - . % _ * ? ! ( ) , : = @ $ '",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn settle(body: Value) -> Result<Settings, Refusal> {
        serde_json::from_value::<Given>(body).expect("has the shape").settle()
    }

    fn keys(primary: Value, secondary: Value) -> Result<Settings, Refusal> {
        settle(json!({"authentication": {"symmetricKey": {"primaryKey": primary, "secondaryKey": secondary}}}))
    }

    #[test]
    fn keys_are_both_given_or_both_made() {
        assert_eq!(keys(json!(KEY), json!(null)).expect_err("one key").text, "Either no keys or both keys can be set");
        assert_eq!(keys(json!(""), json!(KEY)).expect_err("one key").text, "Either no keys or both keys can be set");
        for made in [settle(json!({})), keys(json!(""), json!("")), keys(json!(null), json!(null))] {
            let Authentication::Sas { primary, secondary } = made.expect("settles").authentication else {
                panic!("sas by default")
            };
            assert_eq!(primary.decoded().map(|key| key.as_bytes().len()), Some(32));
            assert_ne!(primary, secondary);
        }
    }

    #[test]
    fn keys_are_16_to_64_bytes() {
        for (bytes, good) in [(0, true), (1, false), (15, false), (16, true), (64, true), (65, false)] {
            let text = BASE64.encode(&vec![7; bytes]);
            assert_eq!(keys(json!(text), json!(text)).is_ok(), good, "{bytes} bytes");
        }
        assert_eq!(keys(json!("not base64"), json!("!!!")).expect_err("no base64").text, "Invalid device key length");
    }

    #[test]
    fn type_none_and_unknown_words_are_refused() {
        assert!(settle(json!({"authentication": {"type": "none"}})).is_err());
        assert!(settle(json!({"status": "Enabled"})).is_err());
        assert!(settle(json!({"statusReason": "x".repeat(129)})).is_err());
        assert!(
            settle(json!({"authentication": {"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": "AB:CD"}}})).is_err()
        );
        let thumbprint = json!({"x509Thumbprint": {"primaryThumbprint": "Ab".repeat(20)}});
        assert_eq!(settle(json!({"authentication": thumbprint})).expect("settles").authentication.kind(), "selfSigned");
    }

    #[test]
    fn ids_are_the_union_of_old_and_new_lists_unless_strict() {
        for (id, union, strict) in [
            ("a-.%_*?!(),:=@$'Z9", true, true),
            ("a+b#c", true, false),
            ("", false, false),
            ("a b", false, false),
            ("a/b", false, false),
            ("ä", false, false),
        ] {
            assert_eq!((check_device_id(id, false).is_ok(), check_device_id(id, true).is_ok()), (union, strict), "{id}");
        }
        assert!(check_device_id(&"x".repeat(128), true).is_ok() && check_device_id(&"x".repeat(129), true).is_err());
    }

    #[test]
    fn no_key_is_shown_by_debug() {
        let settings = keys(json!(KEY), json!(KEY)).expect("settles");
        assert!(!format!("{settings:?}").contains("AAEC"));
    }
}
