//! `qdrs release`: gives up a serial that this station's access code has registered, for rework: its credential dies in the
//! hub, and `provision` or `register` makes the serial again.
//!
//! The owner says how often a code may. Killed or refused in the middle, the same command goes on, free of charge.

use std::time::Duration;

use qdrs_core::api::{Code, ReleaseRequest};
use serde_json::json;
use uuid::Uuid;

use crate::{
    failure::Failure,
    journal::{Entry, Journal, Step},
    outcome::Outcome,
    printer::Printer,
    settings::Settings,
};

/// How long a release may take: a lost call to the hub is waited for up to ten minutes.
const PATIENCE: Duration = Duration::from_secs(12 * 60);
/// The longest reason, in bytes.
const REASON_BYTES_MAX: usize = 200;

/// Give up a serial number that this station's access code has registered, for rework: its credential dies.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Serial number, as on the label
    #[arg(value_name = "SERIAL", value_parser = super::serial_argument)]
    serial: String,
    /// Why; it stands in the owner's ledger and audit log
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Runs the command.
///
/// # Errors
///
/// When the service refuses the release or can't be asked, or the journal can't be written.
pub async fn run(args: &Args, settings: &mut Settings, printer: Printer) -> Result<Outcome, Failure> {
    let (serial, reason) = (args.serial.trim(), args.reason.trim());
    if reason.is_empty() || reason.len() > REASON_BYTES_MAX || reason.chars().any(char::is_control) {
        let text = format!("`--reason` is not 1 to {REASON_BYTES_MAX} bytes on one line");
        return Err(Failure::with_help(Code::SettingInvalid, text, "say in a few words why the device is made again"));
    }
    let _sandbox = super::provision::sandbox(settings, printer).await?;
    let client = super::connect_for(settings, PATIENCE)?;
    super::tell_waits(&client, printer);
    let journal = settings.open_journal()?;
    journal.notice().into_iter().for_each(|notice| printer.warn(notice));
    let here = journal.state(serial);
    // What this station made, unless it knows that it is dead.
    let ours = here.as_ref().and_then(|state| state.reservation);
    let now = match client.status(serial).await {
        Ok(status) if !status.yours => {
            let help = "a station releases what its own access code has registered; for the rest ask the product owner";
            let text = format!("serial number `{serial}` was registered with another access code");
            return Err(Failure::with_help(Code::NotPermitted, text, help));
        }
        Ok(status) => Ok(status),
        Err(error) => Err(Failure::from(error)),
    };
    let reservation = match (now, ours) {
        // Released before, and made again since: that one nobody has asked to release.
        (Ok(now), Some(ours)) if now.reservation.is_some_and(|now| now != ours) => {
            note(&journal, serial, ours)?;
            let place = now.station.map_or_else(|| "elsewhere".to_owned(), |name| format!("by station `{name}`"));
            let text = format!("what this station made as `{serial}` is released already, and it was made again since, {place}");
            return Err(Failure::with_help(Code::Released, text, "to release that one too, give the same command again"));
        }
        (Ok(now), _) => now.reservation.ok_or_else(|| {
            Failure::new(Code::NotSupported, "the service is older than this `qdrs` and takes no releases from stations")
        })?,
        // Released before, whether that was noted or not: asking again says so.
        (Err(failure), _) if failure.code() == Code::SerialUnknown => {
            let dead = || Some(here.as_ref()?.released.as_ref()?.reservation);
            ours.or_else(dead).ok_or(failure)?
        }
        (Err(failure), _) => return Err(failure),
    };
    let sent = here.map_or_else(|| serial.to_owned(), |state| state.serial);
    let request = ReleaseRequest { reservation, reason: reason.to_owned() };
    let released = client.release(&sent, Uuid::now_v7(), &request).await?;
    note(&journal, &sent, reservation)?;
    if printer.json {
        printer.event(&json!({
            "v": 1, "event": "released", "serial": released.serial, "reservation": reservation,
            "released_at": released.released_at,
        }));
        printer.summary(Outcome::AllPassed);
    } else {
        printer.talk(format!("{} is released: its credential is dead, and it may be made again", released.serial));
    }
    Ok(Outcome::AllPassed)
}

/// What the journal holds of the serial is dead. Of a serial that it does not know there is nothing to note.
fn note(journal: &Journal, serial: &str, reservation: Uuid) -> Result<(), Failure> {
    match journal.state(serial) {
        Some(state) => Ok(journal.append(Entry::new(state.serial, Step::Released { reservation }))?),
        None => Ok(()),
    }
}
