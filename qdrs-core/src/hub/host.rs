//! Which hub a host name belongs to, and which of a hub's names its devices get.
//!
//! One hub has several spellings of its name, and up to three names: the classic one, one for devices, one for services. The
//! last is not valid in a device connection string, so no device ever gets it.
//!
//! Source: Azure IoT Hub, "TLS support".

use std::{fmt, str::FromStr};

/// The port that an address without one has.
const HTTPS_PORT: &str = ":443";

/// The labels that an IoT Hub's further names have after its own: `NAME.device.azure-devices.net`.
const FURTHER_NAMES: [&str; 2] = ["device", "service"];

/// The name that identifies the hub: in lower case, without a final dot and without the port of HTTPS. Of the three names of
/// one IoT Hub it is the classic one, `NAME.azure-devices.net`.
///
/// Two host names are one hub if this is equal for both.
pub fn identity(host_name: &str) -> String {
    let host = spelled(host_name);
    let labels: Vec<&str> = host.split('.').collect();
    match labels.as_slice() {
        [name, further, domain, rest @ ..] if FURTHER_NAMES.contains(further) && is_azures(domain) => {
            [&[*name, *domain], rest].concat().join(".")
        }
        _ => host,
    }
}

/// A host name as certificates and tokens have it: in lower case, without a final dot and without the port of HTTPS.
fn spelled(host_name: &str) -> String {
    let lower = host_name.trim().to_ascii_lowercase();
    lower.strip_suffix(HTTPS_PORT).unwrap_or(&lower).trim_end_matches('.').to_owned()
}

/// Which of a hub's names goes into a device connection string.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DeviceHost {
    /// `NAME.azure-devices.net`, or whatever else identifies the hub.
    #[default]
    Classic,
    /// `NAME.device.azure-devices.net`.
    Device,
    /// A full name: of a private endpoint, for example.
    Named(String),
}

impl FromStr for DeviceHost {
    type Err = DeviceHostError;

    fn from_str(text: &str) -> Result<Self, DeviceHostError> {
        match text.trim() {
            "classic" => Ok(Self::Classic),
            "device" => Ok(Self::Device),
            "service" => Err(DeviceHostError::Service),
            name if name.contains(['.', ':']) || name == "localhost" => Ok(Self::Named(spelled(name))),
            other => Err(DeviceHostError::NoName { name: other.to_owned() }),
        }
    }
}

impl fmt::Display for DeviceHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classic => "classic",
            Self::Device => "device",
            Self::Named(name) => name,
        })
    }
}

/// Why a name can't go into device connection strings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceHostError {
    /// The name that is for services only.
    #[error("a hub's service name is not valid in a device connection string")]
    Service,
    /// Neither a word that is known nor a host name.
    #[error("`{name}` is neither `classic` nor `device` nor a full host name")]
    NoName {
        /// As given.
        name: String,
    },
    /// The host is not one of Azure's, so its device name is unknown.
    #[error("what the device name of {hub} is can't be known; write it in full")]
    Unknown {
        /// The hub.
        hub: String,
    },
    /// A name of another hub.
    #[error("`{name}` is a name of another hub than {hub}")]
    OtherHub {
        /// As given.
        name: String,
        /// The hub.
        hub: String,
    },
}

/// The host name that devices of a hub get; `host_name` is any of the hub's names.
///
/// # Errors
/// When the hub has no such name, or it is one that devices can't use.
pub fn for_devices(host_name: &str, which: &DeviceHost) -> Result<String, DeviceHostError> {
    let hub = identity(host_name);
    match which {
        DeviceHost::Classic => Ok(hub),
        DeviceHost::Device => match hub.split_once('.') {
            Some((name, domain)) if is_azures(domain) => Ok(format!("{name}.device.{domain}")),
            _ => Err(DeviceHostError::Unknown { hub }),
        },
        DeviceHost::Named(name) => {
            let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
            if !name.bytes().all(is_host) {
                return Err(DeviceHostError::NoName { name: name.clone() });
            }
            match name.split('.').collect::<Vec<_>>().as_slice() {
                [_, "service", rest @ ..] if is_azures(&rest.join(".")) => Err(DeviceHostError::Service),
                [_, rest @ ..] if rest.iter().any(|label| is_azures(label)) && identity(name) != hub => {
                    Err(DeviceHostError::OtherHub { name: name.clone(), hub })
                }
                _ => Ok(name.clone()),
            }
        }
    }
}

/// The domain of Azure's hubs, in any of its clouds.
fn is_azures(domain: &str) -> bool {
    domain.starts_with("azure-devices")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_and_name_of_a_hub_is_that_hub() {
        for name in [
            "contoso.azure-devices.net",
            "Contoso.Azure-Devices.NET",
            "contoso.azure-devices.net.",
            "contoso.azure-devices.net:443",
            "contoso.device.azure-devices.net",
            "CONTOSO.service.azure-devices.net:443",
        ] {
            assert_eq!(identity(name), "contoso.azure-devices.net", "{name}");
        }
        assert_eq!(identity("a.device.azure-devices.cn"), "a.azure-devices.cn");
    }

    fn given(host_name: &str, which: &str) -> Result<String, DeviceHostError> {
        for_devices(host_name, &which.parse()?)
    }

    #[test]
    fn devices_get_the_classic_name_or_the_one_that_is_asked_for_whatever_the_owners_string_has() {
        for owner in ["Contoso.azure-devices.net", "contoso.service.azure-devices.net", "contoso.device.azure-devices.net:443"] {
            assert_eq!(given(owner, "classic").as_deref(), Ok("contoso.azure-devices.net"), "{owner}");
            assert_eq!(given(owner, "device").as_deref(), Ok("contoso.device.azure-devices.net"), "{owner}");
            assert_eq!(given(owner, "hub.private.example").as_deref(), Ok("hub.private.example"), "{owner}");
        }
        for which in ["Hub.Private.example.", "hub.private.example:443"] {
            assert_eq!(given("contoso.azure-devices.net", which).as_deref(), Ok("hub.private.example"), "{which}");
        }
        assert_eq!(given("a.service.azure-devices.cn", "device").as_deref(), Ok("a.device.azure-devices.cn"));
        assert_eq!(given("localhost:18443", "classic").as_deref(), Ok("localhost:18443"));
    }

    #[test]
    fn no_device_gets_the_service_name_or_another_hubs() {
        let hub = || "contoso.azure-devices.net".to_owned();
        assert_eq!(given(&hub(), "service"), Err(DeviceHostError::Service));
        assert_eq!(given(&hub(), "Contoso.service.azure-devices.net"), Err(DeviceHostError::Service));
        let other = "fabrikam.azure-devices.net".to_owned();
        assert_eq!(given(&hub(), &other), Err(DeviceHostError::OtherHub { name: other.clone(), hub: hub() }));
        for name in ["", "classical", "https://hub.example/", "a b.example"] {
            assert_eq!(given(&hub(), name), Err(DeviceHostError::NoName { name: name.to_owned() }), "{name}");
        }
        assert_eq!(given("hub.example", "device"), Err(DeviceHostError::Unknown { hub: "hub.example".to_owned() }));
    }

    #[test]
    fn other_hubs_stay_apart() {
        for name in [
            "localhost",
            "localhost:18443",
            "[::1]:8081",
            "device.azure-devices.net",
            "a.device.example.net",
            "other.azure-devices.net",
        ] {
            assert_eq!(identity(name), name);
        }
    }
}
