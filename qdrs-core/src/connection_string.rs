//! Connection strings of IoT Hub: a device's and the hub owner's; parsed leniently, printed masked, revealed by name.
//!
//! Knows the text form alone; [`crate::sas`] makes tokens from the keys. Holds always: no error, `Debug` or `Display`
//! of this module holds a key, and keys are wiped from memory when dropped.
//!
//! Source: the behaviour of Azure's own SDKs. They disagree on what they take, so what is written here is the one form
//! that all of them read: `HostName`, `DeviceId`, `SharedAccessKey`, in this order, no blanks, no `;` at the end.

use std::{fmt, str::FromStr, sync::LazyLock};

use data_encoding::{BASE64, Encoding, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{api::Code, explain::Explain};

mod given;

/// The shortest key that a hub takes, in bytes.
pub const KEY_BYTES_MIN: usize = 16;
/// The longest key that a hub takes, in bytes.
pub const KEY_BYTES_MAX: usize = 64;
/// The longest connection string that is looked at, in bytes; a real one is below 500.
pub const CONNECTION_STRING_BYTES_MAX: usize = 4096;
/// The longest device id, in bytes.
const DEVICE_ID_BYTES_MAX: usize = 128;
/// The longest host name with its port, in bytes (RFC 1035).
const HOST_NAME_BYTES_MAX: usize = 253 + ":65535".len();

/// Standard base64 that also takes unused bits that are not zero, as Azure's SDKs do: a hub echoes such a key as is.
static BASE64_LENIENT: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = BASE64.specification();
    specification.check_trailing_bits = false;
    specification.encoding().unwrap_or(BASE64)
});

/// Why a connection string, or a key in it, can't be used. Never holds any of its text but names of fields.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionStringError {
    /// A field that is needed is absent or empty.
    #[error("the connection string has no `{field}`")]
    Missing {
        /// The field's name.
        field: &'static str,
    },
    /// The same field twice: which of them counts, every reader would decide differently.
    #[error("the connection string has `{field}` twice")]
    Twice {
        /// The field's name.
        field: &'static str,
    },
    /// Something between two `;` that is no `Name=value`. Its text may be a piece of a key, so only its place is told.
    #[error("part {part} of the connection string is no `Name=value`")]
    NotAPair {
        /// Counted from 1.
        part: usize,
    },
    /// A field that makes it another kind of connection string.
    #[error("the connection string has `{field}`: {why}")]
    OtherKind {
        /// The field's name.
        field: &'static str,
        /// What that means.
        why: &'static str,
    },
    /// The host name holds what none can hold.
    #[error("the `HostName` of the connection string is no host name")]
    HostName,
    /// The device id holds what no hub takes.
    #[error("the `DeviceId` of the connection string is no device id of IoT Hub")]
    DeviceId,
    /// Nothing, or nothing but remarks.
    #[error("there is no connection string in it")]
    Empty,
    /// Several that differ; which one is meant is unknown.
    #[error("there are {count} connection strings in it that differ")]
    Several {
        /// How many.
        count: usize,
    },
    /// Several lines, and not all of them are understood.
    #[error("it has {lines} lines, and a connection string is one line")]
    Lines {
        /// How many, without remarks.
        lines: usize,
    },
    /// Text of unknown meaning before the connection string.
    #[error("what stands before `HostName=` is no part of a connection string")]
    Around,
    /// Neither UTF-8 nor UTF-16.
    #[error("it is no text in UTF-8 or UTF-16")]
    NotText,
    /// A key without the rest.
    #[error("this is a key alone, without the hub and the policy that it belongs to")]
    KeyAlone,
    /// A host name without the rest.
    #[error("this is a host name alone, without a policy and its key")]
    HostAlone,
    /// A token, which ends by itself.
    #[error("this is a shared access signature, a token that ends; the key itself is needed")]
    Token,
    /// A name and no key: the portal masks it, and documents write something in its place.
    #[error("the key is masked or a placeholder")]
    Masked,
    /// The key is no base64.
    #[error("the key is not base64")]
    KeyNotBase64,
    /// The key is too short or too long for a hub.
    #[error("the key has {bytes} bytes; a hub takes {KEY_BYTES_MIN} to {KEY_BYTES_MAX}")]
    KeyLength {
        /// Its length after decoding.
        bytes: usize,
    },
    /// Far longer than any connection string.
    #[error("the connection string is longer than {CONNECTION_STRING_BYTES_MAX} bytes")]
    TooLong,
}

impl Explain for ConnectionStringError {
    fn code(&self) -> Code {
        Code::SettingInvalid
    }

    fn help(&self) -> String {
        match self {
            Self::Several { .. } => "keep the one that is meant and delete the others",
            Self::Around => "keep what stands from `HostName=` to the end of the key and delete the rest",
            Self::Lines { .. } => "keep the one line from `HostName=` to the end of the key and delete the others",
            Self::NotText => "save it as plain text in UTF-8",
            Self::Masked => "show the key before you copy it: the portal copies it whole with the button beside the field",
            Self::OtherKind { .. } | Self::KeyAlone | Self::HostAlone | Self::Token => {
                "copy the primary connection string of `registryReadWrite` or `iothubowner` from the hub's \"Shared access policies\""
            }
            _ => "copy the whole connection string, from `HostName=` to the end of the key",
        }
        .to_owned()
    }
}

/// Reads base64 into a key that is wiped when dropped.
fn key_from_base64(text: &str) -> Result<Zeroizing<Vec<u8>>, ConnectionStringError> {
    let bytes = Zeroizing::new(BASE64_LENIENT.decode(text.as_bytes()).map_err(|_| ConnectionStringError::KeyNotBase64)?);
    match bytes.len() {
        KEY_BYTES_MIN..=KEY_BYTES_MAX => Ok(bytes),
        bytes => Err(ConnectionStringError::KeyLength { bytes }),
    }
}

/// A symmetric key of a device: 16 to 64 bytes, wiped when dropped. `Debug` is masked.
#[derive(Clone)]
pub struct DeviceKey(Zeroizing<Vec<u8>>);

impl DeviceKey {
    /// A new key: 32 random bytes from the operating system.
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new(vec![0; 32]);
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        Self(bytes)
    }

    /// Reads a key as the hub writes it.
    ///
    /// # Errors
    /// When it is no base64, or not 16 to 64 bytes.
    pub fn from_base64(text: &str) -> Result<Self, ConnectionStringError> {
        key_from_base64(text).map(Self)
    }

    /// The key as the hub writes it.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64.encode(&self.0))
    }

    /// The decoded key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// SHA-256 of the decoded key: what the ledger keeps instead of it.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(Sha256::digest(self.0.as_slice()).into())
    }
}

/// Takes the same time wherever the first difference is.
impl PartialEq for DeviceKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for DeviceKey {}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceKey(…)")
    }
}

/// SHA-256 of a decoded device key; written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// From the 32 bytes of the hash.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HEXLOWER.encode_display(&self.0).fmt(f)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// The text is not 64 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 64 lower-case hex digits")]
pub struct NotAFingerprint;

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return Err(NotAFingerprint);
        }
        HEXLOWER.decode_mut(text.as_bytes(), &mut bytes).map_err(|_| NotAFingerprint)?;
        Ok(Self(bytes))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The fields that any kind of connection string may have.
#[derive(Default)]
struct Fields<'a> {
    host_name: Option<&'a str>,
    device_id: Option<&'a str>,
    module_id: Option<&'a str>,
    key_name: Option<&'a str>,
    key: Option<&'a str>,
    signature: Option<&'a str>,
    gateway: Option<&'a str>,
    x509: Option<&'a str>,
    endpoint: Option<&'a str>,
    account: Option<&'a str>,
}

impl<'a> Fields<'a> {
    /// Any order, blanks around parts, a `;` at the end, any case of names (as .NET takes it), unknown names ignored.
    fn split(text: &'a str) -> Result<Self, ConnectionStringError> {
        if text.len() > CONNECTION_STRING_BYTES_MAX {
            return Err(ConnectionStringError::TooLong);
        }
        let mut fields = Self::default();
        for (index, part) in text.split(';').enumerate() {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            // At the first `=` only: keys end in that character.
            let (name, value) = part.split_once('=').ok_or(ConnectionStringError::NotAPair { part: index + 1 })?;
            let (name, value) = (name.trim_end(), value.trim_start());
            let known: [(&'static str, &mut Option<&'a str>); 10] = [
                ("HostName", &mut fields.host_name),
                ("DeviceId", &mut fields.device_id),
                ("ModuleId", &mut fields.module_id),
                ("SharedAccessKeyName", &mut fields.key_name),
                ("SharedAccessKey", &mut fields.key),
                ("SharedAccessSignature", &mut fields.signature),
                ("GatewayHostName", &mut fields.gateway),
                ("x509", &mut fields.x509),
                ("Endpoint", &mut fields.endpoint),
                ("AccountKey", &mut fields.account),
            ];
            if let Some((field, place)) = known.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name))
                && place.replace(value).is_some()
            {
                return Err(ConnectionStringError::Twice { field });
            }
        }
        Ok(fields)
    }

    fn host_name(&self) -> Result<&'a str, ConnectionStringError> {
        let host = needed("HostName", self.host_name)?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
        if host.len() > HOST_NAME_BYTES_MAX || !host.bytes().all(allowed) {
            return Err(ConnectionStringError::HostName);
        }
        Ok(host)
    }

    fn device_id(&self) -> Result<&'a str, ConnectionStringError> {
        let id = needed("DeviceId", self.device_id)?;
        // Both of the vendor's lists, so that old ids load; what we make ourselves is narrower (`Policy::device_id`).
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-:.+%_#*?!(),=@$'".contains(&byte);
        if id.len() > DEVICE_ID_BYTES_MAX || !id.bytes().all(allowed) {
            return Err(ConnectionStringError::DeviceId);
        }
        Ok(id)
    }

    fn key(&self) -> Result<Zeroizing<Vec<u8>>, ConnectionStringError> {
        let key = needed("SharedAccessKey", self.key)?;
        if key.contains(['*', '\u{2022}', '…', '<', '{', '[']) || key.contains("...") {
            return Err(ConnectionStringError::Masked);
        }
        key_from_base64(key)
    }
}

/// A credential of another kind that has no fields at all.
fn without_fields(line: &str) -> Result<(), ConnectionStringError> {
    if line.get(..21).is_some_and(|word| word.eq_ignore_ascii_case("SharedAccessSignature")) && !line[21..].starts_with('=') {
        return Err(ConnectionStringError::Token);
    }
    if line.contains(';') || line.trim_end_matches('=').contains('=') {
        return Ok(());
    }
    if key_from_base64(line).is_ok() {
        return Err(ConnectionStringError::KeyAlone);
    }
    let is_host =
        line.contains('.') && line.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'/'));
    if is_host { Err(ConnectionStringError::HostAlone) } else { Ok(()) }
}

fn needed<'a>(field: &'static str, value: Option<&'a str>) -> Result<&'a str, ConnectionStringError> {
    value.filter(|value| !value.is_empty()).ok_or(ConnectionStringError::Missing { field })
}

fn refused(field: &'static str, value: Option<&str>, why: &'static str) -> Result<(), ConnectionStringError> {
    if value.is_some() { Err(ConnectionStringError::OtherKind { field, why }) } else { Ok(()) }
}

/// Joins the parts in a buffer that never grows, so that no copy of the key stays behind.
fn join(parts: &[&str]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(parts.iter().map(|part| part.len()).sum()));
    for part in parts {
        text.push_str(part);
    }
    text
}

/// A device's credential: `HostName=…;DeviceId=…;SharedAccessKey=…`. `Display` and `Debug` mask the key.
///
/// Two are equal when their texts are; keys are compared in constant time.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceConnectionString {
    /// The hub; may carry `:port` (the emulator).
    pub host_name: String,
    /// The device's name in the hub.
    pub device_id: String,
    /// Its key.
    pub key: DeviceKey,
}

impl DeviceConnectionString {
    /// Reads one leniently: any order, blanks around the parts, a `;` at the end.
    ///
    /// # Errors
    /// When a part is missing, twice or wrong, and when it says what a device with one symmetric key can't hold:
    /// X.509, a module, a gateway, a token instead of a key.
    pub fn parse(text: &str) -> Result<Self, ConnectionStringError> {
        let fields = Fields::split(text)?;
        if fields.x509.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Err(ConnectionStringError::OtherKind { field: "x509", why: "devices with certificates are not supported" });
        }
        refused("ModuleId", fields.module_id, "this is a module's, and only a device's can be used")?;
        refused("GatewayHostName", fields.gateway, "devices behind a gateway are not supported")?;
        refused("SharedAccessSignature", fields.signature, "it has a token that ends, where the key is needed")?;
        refused("SharedAccessKeyName", fields.key_name, "this is the hub owner's, and must never get to a device")?;
        let (host_name, device_id) = (fields.host_name()?.to_owned(), fields.device_id()?.to_owned());
        Ok(Self { host_name, device_id, key: DeviceKey(fields.key()?) })
    }

    /// The text with the key in it, in the one form that every SDK reads.
    pub fn reveal(&self) -> Zeroizing<String> {
        join(&["HostName=", &self.host_name, ";DeviceId=", &self.device_id, ";SharedAccessKey=", &self.key.to_base64()])
    }
}

impl FromStr for DeviceConnectionString {
    type Err = ConnectionStringError;

    fn from_str(text: &str) -> Result<Self, ConnectionStringError> {
        Self::parse(text)
    }
}

impl fmt::Display for DeviceConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostName={};DeviceId={};SharedAccessKey=…", self.host_name, self.device_id)
    }
}

impl fmt::Debug for DeviceConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceConnectionString({self})")
    }
}

/// The hub owner's credential: `HostName=…;SharedAccessKeyName=…;SharedAccessKey=…`. `Display` and `Debug` mask the key.
///
/// Only the service holds one: whoever has it can do everything to every device.
#[derive(Clone)]
pub struct OwnerConnectionString {
    /// The hub; may carry `:port` (the emulator).
    pub host_name: String,
    /// The name of the hub's policy, such as `iothubowner`.
    pub key_name: String,
    key: Zeroizing<Vec<u8>>,
}

impl OwnerConnectionString {
    /// One made of its parts, for a hub of our own (the emulator).
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn new(host_name: &str, key_name: &str, key: &DeviceKey) -> Result<Self, ConnectionStringError> {
        Self::parse(&join(&["HostName=", host_name, ";SharedAccessKeyName=", key_name, ";SharedAccessKey=", &key.to_base64()]))
    }

    /// Reads one as people give it: any order, blanks around the parts, a `;` at the end; in quotes, after a name, in JSON, with
    /// remarks of the Azure CLI around it.
    ///
    /// # Errors
    /// When a part is missing, twice or wrong, when there are several, and when it is of another kind: a device's, a
    /// provisioning service's, an Event Hub's, a token, a key or a host name alone.
    pub fn parse(text: &str) -> Result<Self, ConnectionStringError> {
        let line = given::line(text)?;
        without_fields(&line)?;
        let fields = Fields::split(&line)?;
        refused(
            "Endpoint",
            fields.endpoint,
            "this is an Event Hub's or a Service Bus', where messages are read; the IoT Hub's own begins with `HostName=`",
        )?;
        refused("AccountKey", fields.account, "this is a storage account's; the IoT Hub's own begins with `HostName=`")?;
        refused("ModuleId", fields.module_id, "this is a module's; the hub owner's is needed")?;
        refused("DeviceId", fields.device_id, "this is a device's; the hub owner's is needed")?;
        refused("SharedAccessSignature", fields.signature, "it has a token that ends, where the key is needed")?;
        if fields.host_name.is_none() && given::names_host(&line) {
            return Err(ConnectionStringError::Around);
        }
        let host_name = fields.host_name()?.to_owned();
        if host_name.to_ascii_lowercase().contains(".azure-devices-provisioning.") {
            let why = "this is a Device Provisioning Service's; the IoT Hub's own is needed, whose host name ends in `.azure-devices.net` or as in your cloud";
            return Err(ConnectionStringError::OtherKind { field: "HostName", why });
        }
        let key_name = needed("SharedAccessKeyName", fields.key_name)?.to_owned();
        Ok(Self { host_name, key_name, key: fields.key()? })
    }

    /// Reads the content of a file: the same, in UTF-8 or UTF-16, with or without a byte order mark.
    ///
    /// # Errors
    /// As [`Self::parse`], and when it is no text.
    pub fn parse_file(bytes: &[u8]) -> Result<Self, ConnectionStringError> {
        Self::parse(&given::text(bytes)?)
    }

    /// What the policy lacks of what QDRS needs, if it is one of those that every hub begins with; none when it suffices or is
    /// the owner's own, of which nobody can know.
    pub fn lacks(&self) -> Option<&'static str> {
        match self.key_name.as_str() {
            "registryRead" => Some("registry write"),
            "service" | "device" => Some("registry read and registry write"),
            _ => None,
        }
    }

    /// The decoded key.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The text with the key in it.
    pub fn reveal(&self) -> Zeroizing<String> {
        let key = Zeroizing::new(BASE64.encode(&self.key));
        join(&["HostName=", &self.host_name, ";SharedAccessKeyName=", &self.key_name, ";SharedAccessKey=", &key])
    }
}

impl FromStr for OwnerConnectionString {
    type Err = ConnectionStringError;

    fn from_str(text: &str) -> Result<Self, ConnectionStringError> {
        Self::parse(text)
    }
}

impl fmt::Display for OwnerConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostName={};SharedAccessKeyName={};SharedAccessKey=…", self.host_name, self.key_name)
    }
}

impl fmt::Debug for OwnerConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnerConnectionString({self})")
    }
}

#[cfg(test)]
mod tests;
