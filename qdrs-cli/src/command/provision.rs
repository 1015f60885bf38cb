//! `qdrs provision`: takes serials from a batch or the command line and makes a device ready for each, many at once.
//!
//! Run again after anything (a failure, Ctrl-C, a power cut), it does what is left.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

use qdrs_core::{
    api::{AccessInfo, Code, Permission},
    client::{Client, clock_sentence},
};

use super::ask;

use crate::{
    batch::Reading,
    device::{self, Kind, Profile},
    failure::Failure,
    interrupt::Interrupt,
    journal::{Journal, Records},
    outcome::Outcome,
    printer::Printer,
    report::{Format, Report},
    screen::{Event, Fault, Intent, Screen, ScreenOptions},
    settings::Settings,
    station::{self, Plan, SlotPlan},
};

/// Which serial for which device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Pair {
    /// The next serial of the batch goes to the next device
    Next,
}

/// Makes a device ready for each serial number: registers it, writes its connection string, checks, confirms.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["serial", "batch"]))]
pub struct Args {
    /// Serial number to make
    #[arg(value_name = "SERIAL", value_parser = super::serial_argument)]
    serial: Option<String>,
    /// CSV file or .xlsx, one serial number a row, up to 1,048,576 rows and 4 GiB; further columns go into journal and report
    #[arg(long, value_name = "FILE")]
    batch: Option<PathBuf>,
    /// Which serial goes to which device
    #[arg(long, value_enum, value_name = "HOW", default_value = "next")]
    pair: Pair,
    /// Kind of device: mxchip, texxmo or file; or a profile, FILE.toml [default: mxchip]
    #[arg(long, value_name = "KIND")]
    device: Option<String>,
    /// Give each device this setting as well; once for each setting
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The same, with the value from a file that only its owner can read: for passwords
    #[arg(long, value_name = "KEY=FILE")]
    set_file: Vec<String>,
    /// Port of a slot: a serial port, tcp://host:port, or a folder for `file`; once for each slot
    #[arg(long = "port", value_name = "PORT")]
    ports: Vec<String>,
    /// Write a report of these serial numbers when done; its ending says how: .csv, .json, else a table
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Take over unconfirmed registrations made with this access code, and say why; their old credentials die
    #[arg(long, value_name = "REASON")]
    take_over: Option<String>,
    /// Say what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    reading: Reading,
}

/// Runs the command.
///
/// # Errors
///
/// When input or settings are wrong, or the service refuses this station before the first device.
pub async fn run(args: Args, settings: &mut Settings, printer: Printer, interrupt: &Interrupt) -> Result<Outcome, Failure> {
    // One serial after another is the only pairing of this version.
    let Pair::Next = args.pair;
    settings.device.override_with("--device", args.device.clone());
    settings.ports.override_with("--port", Some(args.ports.clone()).filter(|ports| !ports.is_empty()));
    match (&args.serial, &args.batch) {
        (Some(_), _) => args.reading.refuse_without_batch()?,
        (None, Some(path)) => Reading::there_is(path)?,
        // clap asks for one of the two.
        (None, None) => return Err(Failure::new(Code::BatchInvalid, "no serial number is given")),
    }
    let _sandbox = interrupt.or(sandbox(settings, printer)).await?;
    let profile = Profile::settle(&settings.device, &args.set, &args.set_file)
        .map_err(|error| Failure::from(error).at(&settings.device.origin))?;
    let screen = Screen::new(ScreenOptions { json: settings.json, quiet: settings.quiet, verbose: settings.verbose > 0 });
    let client = super::connect(settings)?;
    show_waits(&client, &screen);
    let (mut extras, mut left_out) = (HashMap::new(), 0);
    let (batch, serials) = match &args.batch {
        None => (None, args.serial.iter().map(|serial| serial.trim().to_owned()).collect()),
        Some(path) => {
            let (batch, examined) = args.reading.batch(path, &interrupt.or(args.reading.rules_of(&client)).await?)?;
            examined.notices().into_iter().for_each(|notice| screen.notice(notice));
            left_out = examined.bad.count();
            let mut serials = Vec::with_capacity(batch.rows.len());
            for row in batch.rows {
                let serial = String::from(row.serial);
                if !row.extra.is_empty() {
                    extras.insert(serial.clone(), row.extra);
                }
                serials.push(serial);
            }
            (Some(batch.name), serials)
        }
    };
    if args.dry_run {
        return interrupt.or(dry_run(settings, &profile, &client, &screen, printer, serials)).await;
    }

    check_ports(settings, profile.kind)?;
    let journal = Arc::new(settings.open_journal()?);
    let access = interrupt.or(super::access_and_journal(&client, &journal, |notice| screen.notice(notice))).await?;
    check(&access, profile.kind)?;
    let slots = slots(settings, &Profile { least: access.least_evidence, ..profile });
    let reported = if args.report.is_some() { serials.clone() } else { Vec::new() };
    let plan = Plan {
        station: settings.station.value.clone(),
        batch: batch.clone(),
        serials,
        extras,
        left_out,
        slots,
        may_take_over: access.permissions.contains(&Permission::TakeOver),
        take_over: args.take_over,
    };
    let (_, outcome) = station::run(plan, Arc::new(client), Arc::clone(&journal), screen, interrupt.flag()).await;
    if let Some(path) = &args.report {
        report(&journal, &reported, path)?;
        printer.talk(format!("report written to {}", path.display()));
    }
    Ok(outcome)
}

/// Writes what the journal knows of these serials.
fn report(journal: &Journal, serials: &[String], path: &Path) -> Result<(), Failure> {
    let states: Vec<_> = serials.iter().filter_map(|serial| journal.state(serial)).collect();
    Report::of(&states).save(path, Format::of(path).unwrap_or(Format::Table), &jiff::tz::TimeZone::system())
}

/// Starts the sandbox if it is asked for; it ends with what is returned.
#[cfg(feature = "sandbox")]
pub(super) async fn sandbox(settings: &mut Settings, printer: Printer) -> Result<Option<crate::sandbox::Sandbox>, Failure> {
    if !settings.sandbox {
        return Ok(None);
    }
    let sandbox = crate::sandbox::start(settings).await?;
    printer.talk(sandbox.said());
    Ok(Some(sandbox))
}

/// There is none in this build.
#[cfg(not(feature = "sandbox"))]
pub(super) async fn sandbox(settings: &mut Settings, _: Printer) -> Result<(), Failure> {
    if settings.sandbox {
        let help = "use a `qdrs` that was built with its default features";
        return Err(Failure::with_help(Code::SettingInvalid, "this `qdrs` was built without the sandbox", help));
    }
    Ok(())
}

/// Refuses a run without ports, or with one port twice.
fn check_ports(settings: &Settings, kind: Kind) -> Result<(), Failure> {
    if settings.ports.is_empty() {
        let there = match crate::port::list::names() {
            names if names.is_empty() || kind == Kind::File => "`qdrs ports` shows what is plugged in".to_owned(),
            names => format!("there are {}", names.join(", ")),
        };
        let help = format!("name one with `--port` for each slot: {}; {there}", kind.port_about());
        return Err(Failure::with_help(Code::SettingInvalid, "no port is named", help));
    }
    if let Some((at, port)) = settings.ports.iter().enumerate().find(|(at, port)| settings.ports[..*at].contains(port)) {
        return Err(Failure::new(
            Code::SettingInvalid,
            format!("port `{port}` is named twice, the second time for slot {}", at + 1),
        )
        .at(&settings.ports.origin));
    }
    Ok(())
}

/// The slots, from the ports that are named; nothing is opened yet.
fn slots(settings: &Settings, profile: &Profile) -> Vec<SlotPlan> {
    let kind = profile.kind;
    let slot = |port: &String| {
        let (profile, name) = (profile.clone(), port.clone());
        let open = Box::new(move |cancel| device::open(&profile, &name, cancel));
        SlotPlan { port: port.clone(), open, evidence: kind.evidence(), call: kind.call(), anonymous: kind == Kind::File }
    };
    settings.ports.iter().map(slot).collect()
}

/// Refuses, before anything is registered, what could never end in PASS.
fn check(access: &AccessInfo, kind: Kind) -> Result<(), Failure> {
    if kind.evidence() >= access.least_evidence {
        return Ok(());
    }
    Err(Failure::new(
        Code::EvidenceTooWeak,
        format!(
            "this kind of device shows `{}`, the policy `{}` asks for `{}`",
            kind.evidence(),
            access.policy,
            access.least_evidence
        ),
    ))
}

/// Shows what the client waits for.
fn show_waits(client: &Client, screen: &Screen) {
    let screen = screen.clone();
    client.on_event(move |event| match event {
        qdrs_core::client::Event::Waiting { why, seconds } => screen.show(&Event::Wait { why, seconds: seconds as f64 }),
        qdrs_core::client::Event::ClockCorrected { seconds } => screen.notice(clock_sentence(seconds)),
    });
}

/// `--dry-run`: what would be done with each serial. Nothing is written, neither here nor at the service.
async fn dry_run(
    settings: &Settings,
    profile: &Profile,
    client: &Client,
    screen: &Screen,
    printer: Printer,
    serials: Vec<String>,
) -> Result<Outcome, Failure> {
    let access = client.access().await?;
    let left =
        access.quota.map_or(String::new(), |quota| format!(", {} of {quota} left", quota.saturating_sub(access.registered)));
    screen.notice(format!("access code {}, policy {}{left}", access.name, access.policy));
    if let Some(more) = profile.more() {
        screen.notice(format!("device {}: {more}", profile.kind));
    }
    // There may be no journal yet, and a dry run makes none.
    let records = match settings.journal_path() {
        Ok(path) if path.exists() => Journal::read(path)?,
        _ => Records::default(),
    };
    let mut outcome = Outcome::AllPassed;
    let mut counts = BTreeMap::new();
    let total = serials.len();
    ask::about_each(client, serials.into_iter(), |serial, status| {
        let event = intend(serial, &records, status)?;
        if let Event::Plan { intent, .. } = &event {
            *counts.entry(intent.text()).or_insert(0_usize) += 1;
            if *intent == Intent::Fail {
                outcome = Outcome::SomeFailed;
            }
        }
        screen.show(&event);
        Ok(())
    })
    .await?;
    let counts: Vec<_> = counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
    screen.notice(format!(
        "{total} in all: {}; nothing was written. Whether the policy takes a new serial shows when it is registered",
        counts.join(", ")
    ));
    printer.summary(outcome);
    Ok(outcome)
}

/// What would be done with a serial, as an event.
fn intend(serial: String, records: &Records, answer: ask::Answer) -> Result<Event, Failure> {
    match (ask::intent_of(&serial, records, &answer), answer) {
        (Ok(intent), Ok(status)) => {
            Ok(Event::Plan { serial, intent, state: Some(status.state), station: status.station, fault: None })
        }
        (Ok(intent), Err(error)) => {
            let fault = (intent == Intent::Fail).then(|| Fault::of(&error));
            Ok(Event::Plan { serial, intent, state: None, station: None, fault })
        }
        (Err(()), Err(error)) => Err(error.into()),
        // Only an error ends the run.
        (Err(()), Ok(_)) => Err(Failure::new(Code::Internal, "an answer ended the run")),
    }
}
