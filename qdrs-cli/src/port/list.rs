//! Which serial ports this machine has, where each is plugged in, and whether this user may open it.
//!
//! Looks only: no port is opened, so no byte is sent and no board resets. Pseudo-terminals and network ports are not
//! listed, yet may be named.

use std::path::Path;

use serde::Serialize;
use serialport::SerialPortType;

/// One serial port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// What `--port` takes; the system may give another name after the next plugging in.
    pub port: String,
    /// A name for the place where it is plugged in, which stays the same; also good for `--port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What USB says of it; none for a port that is built in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usb: Option<Usb>,
    /// Why this user can't open it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// What USB says of a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Usb {
    /// Vendor and product, four hex digits each, `0483:374b`.
    pub id: String,
    /// Bus and chain of sockets, `1-1.4.2`: the same for whatever is plugged in there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Of the adapter or the board's probe; some have none, some cheap ones all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<String>,
    /// The maker's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<String>,
    /// The product's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// Which of the adapter's interfaces, where it has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<u8>,
    /// What such an id most often is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub likely: Option<&'static str>,
}

/// Every serial port, by name.
///
/// # Errors
/// The system does not tell.
pub fn list() -> Result<Vec<Listed>, serialport::Error> {
    // The library panics where the folder is missing, as in some containers; then there are no ports either.
    if cfg!(target_os = "linux") && !Path::new("/sys/class/tty").is_dir() {
        return Ok(Vec::new());
    }
    let mut ports: Vec<Listed> = serialport::available_ports()?
        .into_iter()
        .filter(|info| has_hardware(&info.port_name))
        // macOS has each port twice; `tty.` waits for a carrier that never comes.
        .filter(|info| !info.port_name.starts_with("/dev/tty.") || !cfg!(target_os = "macos"))
        .map(|info| Listed {
            place: place(&info.port_name),
            trouble: trouble(&info.port_name),
            usb: match info.port_type {
                SerialPortType::UsbPort(usb) => Some(usb_of(usb)),
                _ => None,
            },
            port: info.port_name,
        })
        .collect();
    ports.sort_by_key(|listed| natural(&listed.port));
    Ok(ports)
}

/// The USB serial number and vendor of the port of that name; links are followed. None for all but USB ports.
pub fn usb_of_port(name: &str) -> Option<Usb> {
    if name.contains("://") {
        return None;
    }
    let node =
        std::fs::canonicalize(name).ok().and_then(|path| path.to_str().map(str::to_owned)).unwrap_or_else(|| name.to_owned());
    list().ok()?.into_iter().find(|listed| listed.port == node || listed.port == name)?.usb
}

/// The names of the ports that are plugged in, each for people; empty where the system does not tell.
pub fn names() -> Vec<String> {
    list().unwrap_or_default().into_iter().map(|listed| format!("`{}`", listed.port)).collect()
}

/// Is a port of that name plugged in?
pub(super) fn exists(name: &str) -> bool {
    list().is_ok_and(|ports| ports.iter().any(|listed| listed.port.eq_ignore_ascii_case(name.trim_start_matches(r"\\.\"))))
}

fn usb_of(usb: serialport::UsbPortInfo) -> Usb {
    Usb {
        id: format!("{:04x}:{:04x}", usb.vid, usb.pid),
        location: usb.location.map(|location| location.to_string()),
        likely: likely(usb.vid, usb.pid),
        serial_number: usb.serial_number.filter(|number| !number.trim().is_empty()),
        manufacturer: usb.manufacturer,
        product: usb.product,
        interface: usb.interface,
    }
}

/// What such an id most often is. Sources: the makers' drivers and the USB id lists.
fn likely(vid: u16, pid: u16) -> Option<&'static str> {
    Some(match (vid, pid) {
        (0x0483, 0x374b | 0x3752) => "ST-Link V2-1: MXChip AZ3166 (`mxchip`) or another ST board",
        (0x0483, 0x374e..=0x3753) => "ST-Link V3",
        (0x0d28, 0x0204) => "DAPLink board",
        (0x10c4, 0xea60) => "CP210x adapter",
        (0x1a86, 0x7522 | 0x7523 | 0x5523) => "CH340 adapter",
        (0x1a86, 0x55d3 | 0x55d4) => "CH343 or CH9102 adapter",
        (0x0403, 0x6001 | 0x6015) => "FTDI adapter",
        (0x0403, 0x6010 | 0x6011 | 0x6014) => "FTDI adapter, several interfaces",
        (0x067b, 0x2303 | 0x23a3..=0x23f3) => "PL2303 adapter",
        (0x303a, _) => "Espressif board",
        (0x2e8a, _) => "Raspberry Pi Pico",
        (0x2341, _) => "Arduino",
        (0xf055, 0x9800) => "MicroPython board",
        (0x05e0, 0x1701) | (0x0c2e | 0x05f9 | 0x1eab, _) => "barcode scanner",
        _ => return None,
    })
}

/// The name by place that udev keeps, where there is udev.
fn place(port: &str) -> Option<String> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let mut names: Vec<String> = std::fs::read_dir("/dev/serial/by-path")
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| std::fs::canonicalize(path).is_ok_and(|target| target == Path::new(port)))
        .filter_map(|path| path.to_str().map(str::to_owned))
        .collect();
    // Newer systems keep two links for one place; the shorter is the older form, known everywhere.
    names.sort_by_key(|name| (name.len(), name.clone()));
    names.into_iter().next()
}

/// On Linux a PC shows ports for which it has no hardware; the kernel knows their type as 0.
fn has_hardware(port: &str) -> bool {
    let Some(name) = port.strip_prefix("/dev/ttyS").filter(|_| cfg!(target_os = "linux")) else { return true };
    std::fs::read_to_string(format!("/sys/class/tty/ttyS{name}/type")).map_or(true, |kind| kind.trim() != "0")
}

#[cfg(unix)]
fn trouble(port: &str) -> Option<String> {
    use nix::unistd::{AccessFlags, access};
    match access(port, AccessFlags::R_OK | AccessFlags::W_OK) {
        Ok(()) => None,
        Err(nix::errno::Errno::EACCES | nix::errno::Errno::EPERM) => Some(match group_of(port) {
            Some(group) => format!("no permission: add this user to the group `{group}` and log in again"),
            None => "no permission: this user may not open it".to_owned(),
        }),
        Err(nix::errno::Errno::ENOENT) => Some("the system knows it, but there is no such file in /dev".to_owned()),
        Err(error) => Some(error.desc().to_owned()),
    }
}

#[cfg(not(unix))]
fn trouble(_port: &str) -> Option<String> {
    None
}

/// The group that owns the port, if membership would help: `dialout`, `uucp`.
#[cfg(unix)]
pub(super) fn group_of(port: &str) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let file = std::fs::metadata(port).ok()?;
    let members_may = file.mode() & 0o060 == 0o060;
    let id = file.gid().to_string();
    // Root's own group is nobody's to join.
    let groups = std::fs::read_to_string("/etc/group").ok().filter(|_| members_may && id != "0")?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    })
}

#[cfg(not(unix))]
pub(super) fn group_of(_port: &str) -> Option<String> {
    None
}

/// Sorts `COM10` after `COM9`.
fn natural(name: &str) -> (String, u64) {
    let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (stem, number) = name.split_at(name.len() - digits);
    (stem.to_owned(), number.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listing_never_fails_here() {
        let ports = list().expect("lists");
        assert!(ports.iter().all(|listed| !listed.port.is_empty()));
    }

    #[test]
    fn ports_sort_as_people_count() {
        let mut names = ["COM10", "COM9", "/dev/ttyUSB2", "/dev/ttyACM11", "/dev/ttyACM2"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["/dev/ttyACM2", "/dev/ttyACM11", "/dev/ttyUSB2", "COM9", "COM10"]);
    }

    #[test]
    fn network_and_pseudo_ports_have_no_usb() {
        assert_eq!(usb_of_port("tcp://localhost:7000"), None);
        assert_eq!(usb_of_port("/dev/ptmx"), None);
    }
}
