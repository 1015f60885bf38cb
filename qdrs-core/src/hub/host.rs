//! Which hub a host name belongs to. One hub has several spellings of its name, and up to three names.

/// The port that an address without one has.
const HTTPS_PORT: &str = ":443";

/// The labels that an IoT Hub's further names have after its own: `NAME.device.azure-devices.net`.
const FURTHER_NAMES: [&str; 2] = ["device", "service"];

/// The name that identifies the hub: in lower case, without a final dot and without the port of HTTPS. Of the three names of
/// one IoT Hub it is the classic one, `NAME.azure-devices.net`.
///
/// Two host names are one hub if this is equal for both.
pub fn identity(host_name: &str) -> String {
    let lower = host_name.trim().to_ascii_lowercase();
    let host = lower.strip_suffix(HTTPS_PORT).unwrap_or(&lower).trim_end_matches('.');
    let labels: Vec<&str> = host.split('.').collect();
    match labels.as_slice() {
        [name, further, domain, rest @ ..] if FURTHER_NAMES.contains(further) && domain.starts_with("azure-devices") => {
            [&[*name, *domain], rest].concat().join(".")
        }
        _ => host.to_owned(),
    }
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
