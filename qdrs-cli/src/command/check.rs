//! `qdrs check`: looks at a batch before the shift: its form, duplicates, the policy, what is taken; and says how long the
//! hub will need.
//!
//! With a policy file nothing but the file is needed. Without one the configured service is asked for its policy, and then
//! where each serial stands. Nothing is ever written.

use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use qdrs_core::{
    api::State,
    batch::{self, Examined, Finding, Kind},
    client::Client,
};
use serde_json::{Value, json};

use super::ask::{self, Answer};
use crate::{
    batch::Reading,
    failure::Failure,
    journal::{Journal, Records},
    outcome::Outcome,
    printer::{Printer, printable},
    progress::Progress,
    screen::Intent,
    settings::Settings,
};

/// What one unit of tier S1 or S2 lets through in a minute.
///
/// Source: Azure IoT Hub, "Quotas and throttling", identity registry operations.
const HUB_RATE_DEFAULT: u32 = 100;

/// Look at a batch before the shift: form, duplicates, policy, what is taken, how long the hub will need.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// CSV file or .xlsx, one serial number a row, up to 1,048,576 rows and 4 GiB
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Registrations a minute that the hub allows [default: 100, one unit of tier S1 or S2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    hub_rate: Option<u32>,
    #[command(flatten)]
    reading: Reading,
}

/// Runs the command.
///
/// # Errors
///
/// When the file can't be read, or the service can't be asked. Bad rows are no error but an outcome.
pub async fn run(args: Args, settings: &mut Settings, printer: Printer) -> Result<Outcome, Failure> {
    let skip = args.reading.skip_bad;
    let rate = args.hub_rate.unwrap_or(HUB_RATE_DEFAULT);
    let (examined, judged) = look(args, settings, printer).await?;
    let examined = if settings.verbose > 0 { examined.in_full() } else { examined };
    let outcome = outcome(&examined, skip);
    let skip = skip && examined.can_skip();
    if printer.json {
        events(&examined, &judged, rate, skip, outcome).iter().for_each(|event| printer.event(event));
    } else {
        printer.result(said(&examined, &judged, rate, skip, printer.quiet));
    }
    Ok(outcome)
}

/// Looks at the file, and asks the service if nobody else can judge.
pub(super) async fn look(args: Args, settings: &mut Settings, printer: Printer) -> Result<(Examined, Judged), Failure> {
    Reading::there_is(&args.file)?;
    let _sandbox = super::provision::sandbox(settings, printer).await?;
    let ask = args.reading.policy.is_none() && settings.service().is_ok();
    let client = if ask { Some(super::connect(settings)?) } else { None };
    if let Some(client) = &client {
        super::tell_waits(client, printer);
    }
    let rules = match &client {
        Some(client) => args.reading.rules_of(client).await?,
        None => args.reading.rules()?,
    };
    let mut serials = Vec::new();
    let mut examined = args.reading.examine(&args.file, &rules, &mut |taken| {
        if ask {
            serials.push((taken.line(), taken.serial().to_owned()));
        }
        true
    })?;
    let mut judged = Judged { by: rules.name().map(str::to_owned), asked: false, to_make: examined.good() };
    if let Some(client) = client.filter(|_| examined.good() > 0)
        && (examined.bad.count() == 0 || (args.reading.skip_bad && examined.can_skip()))
    {
        serials.retain(|(line, _)| !examined.bad_has(*line));
        judged.to_make = ask_service(&client, settings, printer, serials, &mut examined).await?;
        judged.asked = true;
    }
    Ok((examined, judged))
}

/// May the batch go to the line?
fn outcome(examined: &Examined, skip_bad: bool) -> Outcome {
    if examined.bad.count() == 0 || (skip_bad && examined.can_skip()) { Outcome::AllPassed } else { Outcome::BadInput }
}

/// Who has judged the serials, and how many are to be made.
#[derive(Debug)]
pub(super) struct Judged {
    by: Option<String>,
    asked: bool,
    to_make: usize,
}

/// Adds what the service says of each serial, and counts those that are still to be registered.
async fn ask_service(
    client: &Client,
    settings: &Settings,
    printer: Printer,
    serials: Vec<(u32, String)>,
    examined: &mut Examined,
) -> Result<usize, Failure> {
    let access = client.access().await?;
    printer.talk(format!(
        "asking the service about {} serials (access code {}, policy {})",
        serials.len(),
        access.name,
        access.policy
    ));
    let records = match settings.journal_path() {
        Ok(path) if path.exists() => Journal::read(path)?,
        _ => Records::default(),
    };
    let mut lines = serials.iter().map(|(line, _)| *line).collect::<Vec<_>>().into_iter();
    let progress = Progress::new(serials.len(), printer);
    progress.tell_waits(client);
    let (mut answers, mut to_make) = (Vec::new(), 0);
    let asked = serials.into_iter().map(|(_, serial)| serial);
    let told = ask::about_each(client, asked, |serial, answer| {
        progress.step();
        let line = lines.next().unwrap_or_default();
        match (ask::intent_of(&serial, &records, &answer), answer) {
            (Err(()), Err(error)) => return Err(error.into()),
            (Ok(Intent::Make), _) => to_make += 1,
            (Ok(intent), answer) => answers.extend(meaning(intent, &answer).map(|(kind, clause)| (line, serial, kind, clause))),
            // Only an error ends the run.
            (Err(()), Ok(_)) => {}
        }
        Ok(())
    })
    .await;
    progress.end();
    told?;
    let left = access.quota.map(|quota| quota.saturating_sub(access.registered));
    examined.add_answers(answers);
    if let Some(left) = left.filter(|left| *left < to_make as u64) {
        printer.warn(format!("the access code may register {left} more, and {to_make} are to be made"));
    }
    Ok(to_make)
}

/// What an answer means for a row, in a clause about the serial; nothing when it is to be made.
fn meaning(intent: Intent, answer: &Answer) -> Option<(Kind, String)> {
    let station = || match answer {
        Ok(status) => status.station.as_deref().map(|name| format!(" (`{}`)", printable(name))).unwrap_or_default(),
        Err(_) => String::new(),
    };
    Some(match intent {
        Intent::Make => return None,
        Intent::Skip => (Kind::Known("done-before"), String::new()),
        Intent::Finish | Intent::Confirm => (Kind::Known("begun"), String::new()),
        Intent::Elsewhere => (Kind::Known("elsewhere"), station()),
        Intent::Fail => match answer {
            Ok(status) => (
                Kind::NotFree(status.state.as_str()),
                match status.state {
                    State::Scrapped => "was scrapped, and is never made again".to_owned(),
                    State::Releasing => "is just being released; check again in ten minutes".to_owned(),
                    _ => "is in the hub with a key that QDRS never made; the product owner decides".to_owned(),
                },
            ),
            Err(error) => (Kind::NotFree("refused"), format!("is refused: {error}")),
        },
    })
}

/// Everything for a person.
pub(super) fn said(examined: &Examined, judged: &Judged, rate: u32, skip: bool, quiet: bool) -> String {
    let (bad, note, help, dim) = (
        AnsiColor::Red.on_default().bold(),
        AnsiColor::Yellow.on_default(),
        AnsiColor::Cyan.on_default().bold(),
        Style::new().dimmed(),
    );
    let mut text = String::new();
    if !quiet {
        let path = printable(&examined.path.display().to_string());
        text.push_str(&format!("{path}: {}; {dim}{}{dim:#}\n", rows(examined.rows), printable(&examined.about)));
    }
    for finding in examined.findings.iter().filter(|finding| !quiet || finding.kind.is_fault()) {
        let (style, word) = if finding.kind.is_fault() { (bad, "bad ") } else { (note, "note") };
        text.push_str(&format!("{style}{word}{style:#}  {}\n", line(finding)));
    }
    if let Some(advice) = batch::advice(examined) {
        text.push_str(&format!("{help}help{help:#}  {advice}\n"));
    }
    if examined.findings.iter().any(|finding| !finding.each.is_empty() || finding.place.contains('…')) {
        text.push_str(&format!("{help}help{help:#}  `-v` tells each of the rows\n"));
    }
    text.push_str(&format!("{}\n", verdict(examined, judged, skip)));
    if judged.to_make > 0 && (skip || examined.bad.count() == 0) && !quiet {
        text.push_str(&format!(
            "The hub needs {} for {} at {rate} a minute{}.\n",
            duration(judged.to_make, rate),
            count(judged.to_make, "registration"),
            if rate == HUB_RATE_DEFAULT { " (one unit of tier S1; `--hub-rate N` for another)" } else { "" },
        ));
    }
    text
}

fn line(finding: &Finding) -> String {
    let what = printable(&finding.what);
    if finding.place.is_empty() { what } else { format!("{}: {what}", finding.place) }
}

/// The last word.
fn verdict(examined: &Examined, judged: &Judged, skip: bool) -> String {
    let (good, bad) = (examined.good(), examined.bad.count());
    if bad > 0 && !skip {
        let are = if bad == 1 { "is" } else { "are" };
        return match good {
            0 => format!("BAD: {bad} of {} can't be used. Mend them, and check again.", rows(examined.rows)),
            _ if !examined.can_skip() => {
                format!("BAD: {bad} of {} {are} to be mended; then check again.", rows(examined.rows))
            }
            _ => format!(
                "BAD: {bad} of {} {are} to be mended; then check again. Or `--skip-bad` goes on with {}.",
                rows(examined.rows),
                batch::good_ones(good),
            ),
        };
    }
    let (word, by) = match (&judged.by, judged.asked) {
        (Some(policy), _) => ("GOOD", format!(" by the policy `{policy}`")),
        (None, true) => ("GOOD", ", as far as the service tells before they are registered".to_owned()),
        (None, false) => {
            ("GOOD in form", "; whether the serials are valid, a policy (`--policy FILE`) or the service tells".to_owned())
        }
    };
    match examined.left_out() {
        Some(left_out) => format!("{word}: {good} of {}{by}. {left_out}.", rows(examined.rows)),
        None => format!("{word}: {}{by}.", rows(examined.rows)),
    }
}

/// The same for programs.
fn events(examined: &Examined, judged: &Judged, rate: u32, skip: bool, outcome: Outcome) -> Vec<Value> {
    let finding = |finding: &Finding| {
        json!({
            "v": 1, "event": if finding.kind.is_fault() { "fault" } else { "note" }, "kind": finding.kind.word(),
            "rows": finding.rows.pieces(), "count": finding.rows.count(), "at": finding.place, "message": finding.what,
            "each": finding.each,
        })
    };
    let mut events: Vec<_> = examined.findings.iter().map(finding).collect();
    events.push(json!({
        "v": 1, "event": "summary", "outcome": outcome.as_str(), "exit": outcome.code(), "file": examined.path, "about": examined.about,
        "rows": examined.rows, "good": examined.good(), "bad": examined.bad.count(), "bad_rows": examined.bad.pieces(),
        "skipped": skip, "policy": judged.by, "asked": judged.asked, "to_register": judged.to_make,
        "hub_rate": rate, "hub_seconds": seconds(judged.to_make, rate), "help": batch::advice(examined),
    }));
    events
}

fn seconds(registrations: usize, rate: u32) -> u64 {
    (registrations as u64 * 60).div_ceil(u64::from(rate.max(1)))
}

/// How long the hub needs, for a person who plans a shift.
fn duration(registrations: usize, rate: u32) -> String {
    match seconds(registrations, rate) {
        ..60 => "less than a minute".to_owned(),
        seconds @ 60..7200 => format!("about {}", count(seconds.div_ceil(60) as usize, "minute")),
        seconds => format!("about {} hours", seconds.div_ceil(3600)),
    }
}

fn rows(number: usize) -> String {
    count(number, "row")
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests;
