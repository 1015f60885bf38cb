//! `qdrs report`: what this station has done, from its journal; also while `provision` is at work.

use std::path::PathBuf;

use jiff::tz::TimeZone;
use qdrs_core::api::Code;

use crate::{
    failure::Failure,
    journal::Journal,
    outcome::Outcome,
    printer::Printer,
    report::{Format, Report},
    settings::Settings,
};

/// Tell what this station has done, as a table, CSV or JSON.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only the serial numbers of this batch
    #[arg(long, value_name = "NAME")]
    batch: Option<String>,
    /// Only what has not passed
    #[arg(long)]
    open: bool,
    /// How it is written [default: by the ending of --out, else table]
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with = "json")]
    format: Option<Format>,
    /// Write it to a file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
///
/// When there is no journal, or it or the file can't be used.
pub fn run(args: &Args, settings: &Settings, printer: Printer) -> Result<Outcome, Failure> {
    if settings.sandbox {
        let help = "`qdrs --sandbox provision … --report FILE` writes one before the sandbox is gone";
        return Err(Failure::with_help(Code::SettingInvalid, "the sandbox keeps no journal", help));
    }
    let path = settings.journal_path()?;
    if !path.exists() {
        let text = format!("there is no journal `{}`: this station has made nothing yet", path.display());
        return Err(Failure::with_help(Code::JournalInvalid, text, "`qdrs config` shows which service and journal are set"));
    }
    let records = Journal::read(path)?;
    let mut report = Report::of(records.all());
    if let Some(batch) = &args.batch {
        report.keep(|row| row.batch.as_deref() == Some(batch));
    }
    if args.open {
        report.keep(|row| row.state != crate::journal::Phase::Passed);
    }
    let by_ending = args.out.as_deref().and_then(Format::of);
    let format = if printer.json { Format::Json } else { args.format.or(by_ending).unwrap_or(Format::Table) };
    match &args.out {
        None => printer.result(report.write(format, &TimeZone::system())),
        Some(out) => {
            report.save(out, format, &TimeZone::system())?;
            printer.talk(format!("report written to {}", out.display()));
        }
    }
    Ok(Outcome::AllPassed)
}
