//! `qdrs register`: registers a serial without a device; its connection string goes to a file that only this user can read.
//!
//! The same journal, keys and steps as `provision`: run again after anything, it does what is left. The file is there
//! whole or not at all, it is read back, and only then is the registration confirmed.

use std::{
    collections::HashMap,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use qdrs_core::{
    api::{Code, Evidence, Permission, Scope, State},
    batch::Extra,
    client::Client,
    connection_string::DeviceConnectionString,
    explain::Explain,
    hardware_id::HardwareId,
};
use serde_json::json;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    batch::Reading,
    failure::Failure,
    journal::{JobState, Step, Written},
    outcome::Outcome,
    printer::Printer,
    secret_file::{self, ReadError},
    settings::Settings,
    station::job::{Elsewhere, Job, Trouble},
};

/// Register a serial number without a device; its connection string goes to a file.
#[derive(Debug, Default, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["serial", "batch"]))]
pub struct Args {
    /// Serial number to register
    #[arg(value_name = "SERIAL", value_parser = super::serial_argument)]
    serial: Option<String>,
    /// CSV file or .xlsx, one serial number a row, up to 1,048,576 rows and 4 GiB, if the access code permits whole batches
    #[arg(long, value_name = "FILE")]
    batch: Option<PathBuf>,
    /// File for the device connection string, readable by this user only; must not exist. Of a batch: a folder
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// With `--out -`: print the connection string on stdout, which must not be a terminal
    #[arg(long, conflicts_with_all = ["json", "batch"])]
    reveal: bool,
    /// Take over an unconfirmed registration made with this access code, and say why; its old credential dies
    #[arg(long, value_name = "REASON")]
    take_over: Option<String>,
    #[command(flatten)]
    reading: Reading,
}

/// Where the connection string goes.
#[derive(Debug)]
enum Out {
    File(PathBuf),
    Stdout,
}

/// Runs the command.
///
/// # Errors
///
/// When the service refuses the serial or this station, or the file can't be written.
pub async fn run(args: Args, settings: &mut Settings, printer: Printer) -> Result<Outcome, Failure> {
    let Some(batch) = args.batch.clone() else {
        args.reading.refuse_without_batch()?;
        let serial = args.serial.clone().unwrap_or_default();
        let out = Out::of(&args, std::io::stdout().is_terminal())?;
        let _sandbox = super::provision::sandbox(settings, printer).await?;
        let client = client(settings, printer)?;
        let (job, _) = job(client, &args, out.evidence(), settings, printer).await?;
        one(&job, &serial, &out, printer).await?;
        if printer.json {
            printer.summary(Outcome::AllPassed);
        }
        return Ok(Outcome::AllPassed);
    };
    // Before anything is registered that then has nowhere to go.
    if !args.out.is_dir() {
        let text = format!("`{}` is no folder", args.out.display());
        return Err(Failure::with_help(Code::FileUnwritable, text, "name a folder for the connection strings: `--out FOLDER`"));
    }
    Reading::there_is(&batch)?;
    let _sandbox = super::provision::sandbox(settings, printer).await?;
    let client = client(settings, printer)?;
    let (batch, examined) = args.reading.batch(&batch, &args.reading.rules_of(&client).await?)?;
    examined.notices().iter().for_each(|notice| printer.talk(notice));
    let (mut job, permissions) = job(client, &args, Evidence::ReadBack, settings, printer).await?;
    if !permissions.contains(&Permission::RegisterBatch) {
        let help = "ask the product owner for a code with the permission `register-batch`, or register one serial after another";
        return Err(Failure::with_help(Code::NotPermitted, "this access code may not register whole batches", help));
    }
    job.batch = Some(batch.name);
    let (mut passed, mut outcome) = (0, Outcome::AllPassed);
    let serials = batch.rows.len();
    for row in batch.rows {
        let serial = String::from(row.serial);
        if !row.extra.is_empty() {
            job.extras.insert(serial.clone(), row.extra);
        }
        let ended = match Out::in_folder(&args.out, &serial) {
            Ok(out) => one(&job, &serial, &out, printer).await,
            Err(failure) => Err(failure),
        };
        match ended {
            Ok(()) => passed += 1,
            Err(failure) if failure.code().scope() == Scope::Device => {
                outcome = outcome.max(failure.outcome());
                failed(&serial, &failure, printer);
            }
            Err(failure) => return Err(failure.at(format!("serial {serial}, after {passed} of {serials}"))),
        }
    }
    if printer.json {
        printer.event(&json!({
            "v": 1, "event": "summary", "outcome": outcome.as_str(), "exit": outcome.code(), "serials": serials, "pass": passed,
            "fail": serials - passed, "left_out": examined.bad.count(),
        }));
    } else {
        printer.talk(format!("{passed} of {serials} serials registered; the connection strings are in {}", args.out.display()));
    }
    Ok(outcome)
}

fn client(settings: &Settings, printer: Printer) -> Result<Client, Failure> {
    let client = super::connect(settings)?;
    super::tell_waits(&client, printer);
    Ok(client)
}

/// What registering takes, and what the access code permits.
async fn job(
    client: Client,
    args: &Args,
    evidence: Evidence,
    settings: &Settings,
    printer: Printer,
) -> Result<(Job, Vec<Permission>), Failure> {
    let journal = settings.open_journal()?;
    let access = super::access_and_journal(&client, &journal, |notice| printer.warn(notice)).await?;
    if evidence < access.least_evidence {
        let text = format!(
            "what goes to stdout shows `{evidence}`, the policy `{}` asks for `{}`",
            access.policy, access.least_evidence
        );
        return Err(Failure::with_help(Code::EvidenceTooWeak, text, "name a file: `--out FILE`"));
    }
    let job = Job {
        service: Arc::new(client),
        journal: Arc::new(journal),
        station: settings.station.value.clone(),
        batch: None,
        extras: HashMap::new(),
        may_take_over: access.permissions.contains(&Permission::TakeOver),
        take_over: args.take_over.clone(),
    };
    Ok((job, access.permissions))
}

/// Registers one serial, and says so.
async fn one(job: &Job, serial: &str, out: &Out, printer: Printer) -> Result<(), Failure> {
    match make(job, serial, out).await {
        Ok(()) => said(job, serial, out, printer, "registered"),
        Err(Stopped::DoneBefore) if out.holds(job.journal.state(serial).as_ref())? => {
            said(job, serial, out, printer, "was registered before");
        }
        Err(Stopped::DoneBefore) => {
            return Err(Failure::with_help(
                Code::SerialTaken,
                format!(
                    "serial number `{serial}` is registered and confirmed, and its connection string is handed out only once"
                ),
                "if the file is lost, the product owner releases the serial number, then this command makes a new one",
            ));
        }
        Err(Stopped::Failed(failure)) => return Err(failure),
    }
    Ok(())
}

/// One serial of a batch could not be registered; the others may.
fn failed(serial: &str, failure: &Failure, printer: Printer) {
    if printer.json {
        let mut event = failure.json();
        (event["event"], event["serial"]) = ("failed".into(), serial.into());
        printer.event(&event);
    } else {
        printer.warn(format!("FAIL  {serial}: {} ({})", failure.text(), failure.code()));
    }
}

/// Why it goes no further.
enum Stopped {
    DoneBefore,
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Trouble> for Stopped {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::DoneBefore => Self::DoneBefore,
            Trouble::Elsewhere(Elsewhere { station, since }) => {
                let who = [station.map(|name| format!("`{name}`")), since.map(|time| format!("since {time:.0}"))];
                let who: Vec<String> = who.into_iter().flatten().collect();
                let who = if who.is_empty() { String::new() } else { format!(" ({})", who.join(", ")) };
                Self::Failed(Failure::new(Code::SerialTaken, format!("the serial number was registered by another station{who}")))
            }
            Trouble::Board(fault) | Trouble::Serial(fault) | Trouble::Run(fault) => {
                Self::Failed(Failure::with_help(fault.row(), fault.message, fault.help))
            }
        }
    }
}

/// Does what is left: register, write, read back, confirm.
async fn make(job: &Job, serial: &str, out: &Out) -> Result<(), Stopped> {
    if job.journal.state(serial).is_some_and(|state| state.confirmed_at.is_some()) {
        start_anew_if_released(job, serial).await?;
    }
    let (reservation, credential) = match job.journal.state(serial).and_then(|state| earlier(job, &state, out)) {
        Some(earlier) => earlier,
        None => {
            let ready = job.credential(serial, None, None).await?;
            (ready.registration.reservation, ready.credential)
        }
    };
    // The journal knows the serial by the text that was sent first.
    let serial = job.journal.state(serial).map_or_else(|| serial.to_owned(), |state| state.serial);
    job.note(&serial, Step::Writing { reservation, hardware_id: HardwareId::from_record(&out.place()), port: None }).await?;
    if let Err(failure) = out.write(&credential) {
        let step = Step::NotWritten { touched: false, code: failure.code().as_str().into(), detail: failure.text() };
        job.note(&serial, step).await?;
        return Err(failure.into());
    }
    let written = Written { fingerprint: credential.key.fingerprint(), evidence: out.evidence(), hardware_id: None };
    job.note(&serial, Step::Written(written)).await?;
    Ok(job.confirm(&serial).await?)
}

/// The credential that the journal holds, if it went to this very place before: it can't be anywhere else.
fn earlier(job: &Job, state: &JobState, out: &Out) -> Option<(Uuid, DeviceConnectionString)> {
    let (attempt, registration) = (state.writing.as_ref()?, state.registration.as_ref()?);
    let here = attempt.hardware_id == HardwareId::from_record(&out.place()) && attempt.reservation == registration.reservation;
    let in_doubt =
        state.failed.as_ref().is_some_and(|failed| Code::find(&failed.code).is_none_or(|code| code.row().status.is_some()));
    if !here || in_doubt || state.is_anothers() {
        return None;
    }
    let credential = job.service.open(&state.serial, state.job, registration).ok()?;
    Some((registration.reservation, credential))
}

/// A serial that this station has made may have been released by its owner since; then there is a new job.
async fn start_anew_if_released(job: &Job, serial: &str) -> Result<(), Stopped> {
    let free = match job.service.status(serial).await {
        Ok(status) => status.state == State::Released,
        Err(error) if error.code() == Code::SerialUnknown => true,
        Err(error) => return Err(error.into()),
    };
    if !free {
        return Err(Stopped::DoneBefore);
    }
    let serial = job.journal.state(serial).map_or_else(|| serial.to_owned(), |state| state.serial);
    let (key, confirm) = (Uuid::now_v7(), Uuid::now_v7());
    let step = Step::Job {
        job: key,
        confirm,
        slot: None,
        batch: None,
        hardware_id: None,
        take_over: None,
        replaces: None,
        extra: Extra::default(),
    };
    Ok(job.note(&serial, step).await?)
}

fn said(job: &Job, serial: &str, out: &Out, printer: Printer, how: &str) {
    let state = job.journal.state(serial);
    let device_id = state.as_ref().and_then(|state| state.device_id.clone());
    if printer.json {
        printer.event(&json!({
            "v": 1, "event": "registered", "serial": serial, "device_id": device_id, "out": out.place(), "evidence": out.evidence(),
            "confirmed_at": state.and_then(|state| state.confirmed_at),
        }));
    } else {
        let place = match out {
            Out::File(path) => format!("; its connection string is in {}", path.display()),
            Out::Stdout => String::new(),
        };
        printer.talk(format!("PASS  {serial} {how} as device `{}`{place}", device_id.unwrap_or_default()));
    }
}

impl Out {
    fn of(args: &Args, terminal: bool) -> Result<Self, Failure> {
        let refused = |text: &str, help: &str| Err(Failure::with_help(Code::SettingInvalid, text, help));
        match (args.out.as_os_str() == "-", args.reveal) {
            (true, false) => refused(
                "a connection string is a secret and is not printed by accident",
                "name a file, or add `--reveal` and send stdout to where it is needed",
            ),
            (true, true) if terminal => refused(
                "stdout is a terminal, where a secret would stay on the screen",
                "name a file, or pipe stdout to where it is needed",
            ),
            (true, true) => Ok(Self::Stdout),
            (false, true) => {
                refused("`--reveal` is for `--out -` only", "leave out `--reveal`: the file is readable by you alone")
            }
            (false, false) => {
                let path = std::path::absolute(&args.out).map_err(|error| unwritable(&args.out, &error))?;
                // Before anything is registered that then has nowhere to go.
                match path.parent() {
                    Some(folder) if folder.is_dir() && !path.is_dir() => Ok(Self::File(path)),
                    _ => Err(Failure::with_help(
                        Code::FileUnwritable,
                        format!("`{}` can't be a file", path.display()),
                        "name a file in a folder that exists",
                    )),
                }
            }
        }
    }

    /// The file of a serial in a folder. It becomes a name only when it can be nothing but a name in this very folder.
    fn in_folder(folder: &Path, serial: &str) -> Result<Self, Failure> {
        let safe = serial.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) && !serial.starts_with('.');
        if !safe {
            let help = "register it by itself, with `--out FILE`";
            return Err(Failure::with_help(Code::SerialInvalid, format!("`{serial}` can't be the name of a file"), help));
        }
        let path = folder.join(format!("{serial}.txt"));
        std::path::absolute(&path).map(Self::File).map_err(|error| unwritable(&path, &error))
    }

    /// How the journal names it. Not a hardware id that the service hears of.
    fn place(&self) -> String {
        match self {
            Self::File(path) => format!("file:{}", path.display()),
            Self::Stdout => "stdout".to_owned(),
        }
    }

    fn evidence(&self) -> Evidence {
        match self {
            Self::File(_) => Evidence::ReadBack,
            Self::Stdout => Evidence::Accepted,
        }
    }

    /// Does the file hold the connection string of the serial's device?
    fn holds(&self, state: Option<&JobState>) -> Result<bool, Failure> {
        let (Self::File(path), Some(state)) = (self, state) else { return Ok(false) };
        Ok(held_by(path)?
            .is_some_and(|held| state.written.as_ref().is_some_and(|written| held.key.fingerprint() == written.fingerprint)))
    }

    /// Writes it, and reads it back. Afterwards the file holds it whole, or nothing of it.
    fn write(&self, credential: &DeviceConnectionString) -> Result<(), Failure> {
        let line = Zeroizing::new(format!("{}\n", *credential.reveal()));
        let path = match self {
            Self::File(path) => path,
            Self::Stdout => {
                let mut stdout = std::io::stdout().lock();
                let written = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
                return written.map_err(|error| unwritable(Path::new("stdout"), &error));
            }
        };
        match secret_file::write_new(path, line.as_bytes()) {
            Ok(()) => {}
            // An earlier run has written it, perhaps; what is in it decides.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(unwritable(path, &error)),
        }
        let same = |held: DeviceConnectionString| {
            held.host_name == credential.host_name
                && held.device_id == credential.device_id
                && held.key.fingerprint() == credential.key.fingerprint()
        };
        if held_by(path)?.is_some_and(same) {
            return Ok(());
        }
        Err(Failure::with_help(
            Code::FileUnwritable,
            format!("`{}` exists and holds something else", path.display()),
            "name another file, or move this one away",
        ))
    }
}

/// The connection string in a file; none when there is no file or it holds something else.
fn held_by(path: &Path) -> Result<Option<DeviceConnectionString>, Failure> {
    match secret_file::read(path) {
        Ok(bytes) => Ok(std::str::from_utf8(&bytes).ok().and_then(|text| DeviceConnectionString::parse(text.trim()).ok())),
        Err(ReadError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(Failure::with_help(Code::FileUnwritable, error.to_string(), "name another file, or move this one away"))
        }
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Code::FileUnwritable, format!("`{}` can't be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(out: &str, reveal: bool, terminal: bool) -> Result<Out, Failure> {
        Out::of(&Args { serial: Some("QD-1".into()), out: out.into(), reveal, ..Args::default() }, terminal)
    }

    #[test]
    fn a_secret_is_printed_only_when_asked_plainly_and_never_on_a_terminal() {
        for (name, reveal, terminal) in [
            ("-", false, false),
            ("-", false, true),
            ("-", true, true),
            ("file", true, false),
            ("/nowhere/file", false, false),
            ("/", false, false),
        ] {
            out(name, reveal, terminal).expect_err(name);
        }
        assert!(matches!(out("-", true, false), Ok(Out::Stdout)));
        assert!(matches!(out("file", false, true), Ok(Out::File(path)) if path.is_absolute()));
    }

    #[test]
    fn a_file_is_written_once_and_never_over_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("device");
        let out = out(path.to_str().expect("is text"), false, false).expect("can be a file");
        let string = |id: &str| {
            DeviceConnectionString::parse(&format!("HostName=h.example;DeviceId={id};SharedAccessKey={}", "A".repeat(43) + "="))
                .expect("parses")
        };
        out.write(&string("one")).expect("writes");
        out.write(&string("one")).expect("finds it written");
        let error = out.write(&string("two")).expect_err("refused");
        assert!(error.text().ends_with("exists and holds something else"), "{error:?}");
        assert_eq!(held_by(&path).expect("reads").expect("holds one").device_id, "one");
    }
}
