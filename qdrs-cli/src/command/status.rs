//! `qdrs status`: what the service knows of a serial, and what this station's journal says beside it.

use jiff::{Timestamp, tz::TimeZone};
use qdrs_core::api::SerialStatus;
use serde_json::json;

use crate::{
    failure::Failure,
    journal::{JobState, Journal, Maker},
    outcome::Outcome,
    printer::{Printer, printable},
    settings::Settings,
};

/// Say what the service and this station know of a serial number.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Serial number, as on the label
    #[arg(value_name = "SERIAL", value_parser = super::serial_argument)]
    serial: String,
}

/// Runs the command.
///
/// # Errors
///
/// When the service can't be asked or knows no such serial, or the journal can't be read.
pub async fn run(args: &Args, settings: &mut Settings, printer: Printer) -> Result<Outcome, Failure> {
    let _sandbox = super::provision::sandbox(settings, printer).await?;
    let client = super::connect_for(settings, super::PATIENCE_SHORT)?;
    super::tell_waits(&client, printer);
    let status = client.status(args.serial.trim()).await?;
    // This station may never have worked, and then it has no journal.
    let records = match settings.journal_path()? {
        path if path.exists() => Some(Journal::read(path)?),
        _ => None,
    };
    let here = records.as_ref().and_then(|records| records.state(&status.serial).or_else(|| records.state(args.serial.trim())));
    if printer.json {
        let journal = here.map(|state| json!({ "state": state.phase(), "slot": state.slot, "changed_at": state.changed_at }));
        let mut event = json!({ "v": 1, "event": "status", "status": status });
        if let Some(journal) = journal {
            event["journal"] = journal;
        }
        printer.event(&event);
        printer.summary(Outcome::AllPassed);
    } else {
        let maker = records.as_ref().map_or(Maker::Other, |records| records.maker_of(&status));
        printer.result(lines(&status, here, maker, &settings.station, &TimeZone::system()));
    }
    Ok(Outcome::AllPassed)
}

fn lines(status: &SerialStatus, here: Option<&JobState>, maker: Maker, station: &str, zone: &TimeZone) -> String {
    let at = |time: Timestamp| time.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string();
    let mut text = String::new();
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!("{name:12}  {}\n", printable(&value)));
        }
    };
    line("serial", Some(status.serial.clone()));
    line("state", Some(format!("{} since {}", status.state, at(status.since))));
    line(
        "station",
        status.station.as_ref().map(|name| match maker {
            Maker::Other if name == station => format!("{name} (another one of this name)"),
            Maker::Other => name.clone(),
            Maker::This | Maker::Lost | Maker::Former => format!("{name} (this one)"),
        }),
    );
    line("access code", Some(if status.yours { "this station's".into() } else { "another".to_owned() }));
    line("device id", status.device_id.clone());
    line("hub", status.hub.clone());
    line("evidence", status.evidence.map(|evidence| evidence.to_string()));
    line("hardware id", status.hardware_id.as_ref().map(ToString::to_string));
    line("journal", here.map(|state| format!("{} since {}", state.phase().as_str(), at(state.changed_at))));
    line(
        "last failure",
        here.and_then(|state| state.failed.as_ref()).map(|failure| format!("{} ({})", failure.detail, failure.code)),
    );
    text
}

#[cfg(test)]
mod tests {
    use qdrs_core::api::{Evidence, State};

    use super::*;

    #[test]
    fn what_is_known_is_said_line_by_line() {
        let mut status = SerialStatus {
            version: 1,
            serial: "QD-00417-8".into(),
            state: State::Confirmed,
            since: Timestamp::UNIX_EPOCH,
            station: Some("line-1".into()),
            yours: true,
            reservation: None,
            device_id: Some("QD-00417-8".into()),
            hub: Some("hub.example".into()),
            evidence: Some(Evidence::ReadBack),
            hardware_id: None,
            journal: None,
        };
        let own = lines(&status, None, Maker::This, "line-1", &TimeZone::UTC);
        let named_alike = lines(&status, None, Maker::Other, "line-1", &TimeZone::UTC);
        assert!(named_alike.contains("line-1 (another one of this name)"), "{named_alike}");
        (status.yours, status.device_id, status.hub, status.evidence) = (false, None, None, None);
        insta::assert_snapshot!(format!("{own}\n{}", lines(&status, None, Maker::Other, "line-2", &TimeZone::UTC)), @r"
        serial        QD-00417-8
        state         confirmed since 1970-01-01 00:00:00
        station       line-1 (this one)
        access code   this station's
        device id     QD-00417-8
        hub           hub.example
        evidence      read-back

        serial        QD-00417-8
        state         confirmed since 1970-01-01 00:00:00
        station       line-1
        access code   another
        ");
    }
}
