//! `qdrs ports`: which serial ports this machine has, what is plugged in where, and what keeps this user from it.
//!
//! Looks only: no port is opened and no byte is sent, since it may be a scanner, a machine, or a board at work.

use std::collections::BTreeMap;

use comfy_table::{Table, presets};
use qdrs_core::api::Code;
use serde::Serialize;

use crate::{
    failure::Failure,
    outcome::Outcome,
    port::{
        holder::holder_of,
        list::{Listed, list},
    },
    printer::{Printer, printable},
};

/// `qdrs ports` has no flags of its own.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {}

/// Runs the command. It needs no settings.
///
/// # Errors
///
/// The system does not tell its ports.
pub fn run(_: &Args, printer: Printer) -> Result<Outcome, Failure> {
    let mut ports =
        list().map_err(|error| Failure::new(Code::PortMissing, format!("the system does not tell its ports: {error}")))?;
    for port in ports.iter_mut().filter(|port| port.trouble.is_none()) {
        port.trouble = holder_of(&port.port).map(|holder| format!("{holder} has it open"));
    }
    if printer.json {
        events(&ports).iter().for_each(|event| printer.event(event));
    } else {
        printer.result(table(&ports));
    }
    Ok(Outcome::AllPassed)
}

/// One line of `--json`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event<'a> {
    Port(&'a Listed),
    Summary { ports: usize },
}

#[derive(Serialize)]
struct Versioned<'a> {
    v: u32,
    #[serde(flatten)]
    event: Event<'a>,
}

fn events(ports: &[Listed]) -> Vec<Versioned<'_>> {
    let ends = Event::Summary { ports: ports.len() };
    ports.iter().map(Event::Port).chain([ends]).map(|event| Versioned { v: 1, event }).collect()
}

fn table(ports: &[Listed]) -> String {
    if ports.is_empty() {
        return "no serial ports here; plug an adapter or a board in (`tcp://host:port` works as well)\n".to_owned();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["PORT", "USB ID", "WHAT", "SERIAL NUMBER", "SOCKET", "TROUBLE"]);
    for port in ports {
        let usb = port.usb.as_ref();
        let product = usb.and_then(|usb| usb.likely.or(usb.product.as_deref()));
        let socket = usb.and_then(|usb| {
            let location = usb.location.as_deref()?;
            // An adapter with several ports has them all in one socket.
            Some(usb.interface.map_or_else(|| location.to_owned(), |interface| format!("{location} if{interface:02}")))
        });
        let cells = [
            port.port.as_str(),
            usb.map_or("built in", |usb| usb.id.as_str()),
            product.unwrap_or(""),
            usb.and_then(|usb| usb.serial_number.as_deref()).unwrap_or(""),
            socket.as_deref().unwrap_or(""),
            port.trouble.as_deref().unwrap_or(""),
        ];
        // What is plugged in says of itself what it likes.
        table.add_row(cells.map(printable));
    }
    let mut text = table.trim_fmt() + "\n";
    for (several, number) in indistinct(ports) {
        let names = several.iter().map(|port| port.port.as_str()).collect::<Vec<_>>().join(", ");
        let number = match number {
            Some(number) => format!("have the same serial number `{}`", printable(number)),
            None => "have no serial number".to_owned(),
        };
        text.push_str(&format!("\n{names} {number}: `/dev/serial/by-id` can't tell them apart, the socket can\n"));
    }
    let mut places = ports.iter().filter_map(|port| Some((port, port.place.as_deref()?))).peekable();
    if places.peek().is_some() {
        text.push_str("\nnames that stay with the socket, for `--port`:\n");
    }
    for (port, place) in places {
        text.push_str(&format!("  {}  {place}\n", port.port));
    }
    text
}

/// Groups of ports that have one name in `/dev/serial/by-id`: adapters of one make with one serial number, or with none.
fn indistinct(ports: &[Listed]) -> Vec<(Vec<&Listed>, Option<&str>)> {
    let mut groups: BTreeMap<_, Vec<&Listed>> = BTreeMap::new();
    for port in ports {
        if let Some(usb) = &port.usb {
            groups.entry((&usb.id, usb.serial_number.as_deref(), usb.interface)).or_default().push(port);
        }
    }
    let several = groups.into_iter().filter(|(_, ports)| ports.len() > 1);
    several.map(|((_, number, _), ports)| (ports, number)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::list::Usb;

    #[test]
    fn adapters_that_only_their_socket_tells_apart_are_named() {
        let adapter = |port: &str, socket: &str, number: Option<&str>| {
            let own = some().swap_remove(0);
            let usb = own.usb.map(|usb| Usb {
                id: "1a86:7523".to_owned(),
                location: Some(socket.to_owned()),
                serial_number: number.map(str::to_owned),
                interface: None,
                ..usb
            });
            Listed { port: port.to_owned(), place: Some(format!("/dev/serial/by-path/usb-{socket}")), usb, ..own }
        };
        let ports = [
            adapter("/dev/ttyUSB0", "1-1", None),
            adapter("/dev/ttyUSB1", "1-2", None),
            adapter("/dev/ttyUSB2", "1-3", Some("0001")),
            adapter("/dev/ttyUSB3", "1-4", Some("0001")),
            adapter("/dev/ttyUSB4", "1-5", Some("A7")),
        ];
        let text = table(&ports);
        let none = "/dev/ttyUSB0, /dev/ttyUSB1 have no serial number: `/dev/serial/by-id` can't tell them apart, the socket can";
        let same = "/dev/ttyUSB2, /dev/ttyUSB3 have the same serial number `0001`: `/dev/serial/by-id` can't";
        assert!(text.contains(none) && text.contains(same) && text.matches("tell them apart").count() == 2, "{text}");
        assert!(text.contains("  /dev/ttyUSB1  /dev/serial/by-path/usb-1-2\n"), "{text}");
        assert_eq!(table(&some()).matches("tell them apart").count(), 0);
    }

    fn some() -> Vec<Listed> {
        let usb = Usb {
            id: "0483:374b".to_owned(),
            location: Some("1-1.4".to_owned()),
            serial_number: Some("066BFF".to_owned()),
            manufacturer: None,
            product: Some("STM32 STLink".to_owned()),
            interface: Some(2),
            likely: Some("ST-Link V2-1"),
        };
        let place = Some("/dev/serial/by-path/pci-0000:00:14.0-usb-0:1.4:1.2".to_owned());
        vec![
            Listed { port: "/dev/ttyACM0".to_owned(), place, usb: Some(usb), trouble: None },
            Listed { port: "/dev/ttyS0".to_owned(), place: None, usb: None, trouble: Some("no permission".to_owned()) },
        ]
    }

    #[test]
    fn a_table_for_people() {
        let text = table(&some());
        assert!(text.ends_with('\n'));
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let expected = [
            "PORT          USB ID     WHAT          SERIAL NUMBER  SOCKET      TROUBLE",
            "/dev/ttyACM0  0483:374b  ST-Link V2-1  066BFF         1-1.4 if02",
            "/dev/ttyS0    built in                                            no permission",
            "",
            "names that stay with the socket, for `--port`:",
            "/dev/ttyACM0  /dev/serial/by-path/pci-0000:00:14.0-usb-0:1.4:1.2",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn one_object_a_line_for_programs() {
        let text: String = events(&some()).iter().map(|event| serde_json::to_string(event).expect("JSON") + "\n").collect();
        let expected = concat!(
            r#"{"v":1,"event":"port","port":"/dev/ttyACM0","place":"/dev/serial/by-path/pci-0000:00:14.0-usb-0:1.4:1.2","#,
            r#""usb":{"id":"0483:374b","location":"1-1.4","serial_number":"066BFF","product":"STM32 STLink","interface":2,"#,
            r#""likely":"ST-Link V2-1"}}"#,
            "\n",
            r#"{"v":1,"event":"port","port":"/dev/ttyS0","trouble":"no permission"}"#,
            "\n",
            r#"{"v":1,"event":"summary","ports":2}"#,
            "\n",
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn no_ports_is_said_so() {
        assert!(table(&[]).starts_with("no serial ports here"));
    }
}
