//! `batch show`: the books of a batch as a table, as CSV with a row for each serial, or as JSON.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use qdrs_core::{api::State, csv_out::CsvWriter};
use serde_json::{Value, json};

use crate::{
    config::{Config, Flags},
    env,
    ledger::{
        Ledger as _, SqliteLedger,
        batch::{Books, Line, NotDone},
    },
};

/// The version of the JSON.
const JSON_VERSION: u32 = 1;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    flags: Flags,
    /// The batch's name
    name: String,
    /// A row for each serial, with the further columns of the stations' lists
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// One JSON object with the counts and every serial
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args) -> Result<ExitCode> {
    let config = Config::load(&args.flags, &env::process)?;
    let books = SqliteLedger::open(&config.ledger)?.batch_books(args.name.clone()).await?;
    let books = books.ok_or_else(|| super::why(&args.name, NotDone::Unknown))?;
    let mut out = io::stdout().lock();
    match (args.csv, args.json) {
        (true, _) => print_csv(&books, &mut out)?,
        (_, true) => writeln!(out, "{}", to_json(&books))?,
        _ => print_table(&books, &mut out)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// How many stand where.
type Counts = BTreeMap<&'static str, u64>;

/// By access code, station and day (UTC) on which each serial came to where it stands.
fn counts(books: &Books) -> BTreeMap<(&str, &str, String), Counts> {
    let mut counts = BTreeMap::<_, Counts>::new();
    for made in books.lines.iter().filter_map(|line| line.made.as_ref()) {
        let day = made.since.strftime("%Y-%m-%d").to_string();
        let row = counts.entry((made.code.as_str(), made.station.as_deref().unwrap_or_default(), day)).or_default();
        *row.entry(made.state.as_str()).or_default() += 1;
    }
    counts
}

fn totals(books: &Books) -> Counts {
    let mut totals = Counts::new();
    for line in &books.lines {
        *totals.entry(line.made.as_ref().map_or("missing", |made| made.state.as_str())).or_default() += 1;
    }
    if books.unnamed() > 0 {
        *totals.entry("missing").or_default() += books.unnamed();
    }
    totals
}

/// Where a serial stands, in words.
pub(super) fn standing(line: &Line) -> String {
    match (&line.made, line.elsewhere.as_deref()) {
        (Some(made), _) => {
            let station = made.station.as_deref().map(|station| format!(" by station `{station}`")).unwrap_or_default();
            let reason = made.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("{}{station} since {}{reason}", made.state, moment(made.since))
        }
        (None, Some("")) => "missing: it was registered, but in no batch".to_owned(),
        (None, Some(batch)) => format!("missing: it was registered in batch `{batch}`"),
        (None, None) => "missing: never registered".to_owned(),
    }
}

/// To the second.
pub(super) fn moment(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

fn print_table(books: &Books, out: &mut impl Write) -> io::Result<()> {
    let batch = &books.batch;
    writeln!(out, "batch     {}", batch.name)?;
    writeln!(out, "policy    {}", batch.policy)?;
    let list = if batch.listed { ", by a list" } else { "" };
    let expected = batch.expected.map_or_else(|| "any number".to_owned(), |expected| expected.to_string());
    writeln!(out, "expected  {expected}{list}")?;
    if !batch.codes.is_empty() {
        writeln!(out, "codes     {}", batch.codes.join(", "))?;
    }
    let (at, entry) = batch.opened;
    writeln!(out, "opened    {} (audit entry {entry})", moment(at))?;
    if let Some((at, entry)) = batch.closed {
        let missing = batch.missing_ok.as_deref().map(|reason| format!(", with serials missing: {reason}")).unwrap_or_default();
        writeln!(out, "closed    {} (audit entry {entry}){missing}", moment(at))?;
    }
    let balance = if books.balance() { "the books balance" } else { "the books do not balance yet" };
    let totals: Vec<_> = totals(books).into_iter().map(|(state, count)| format!("{count} {state}")).collect();
    writeln!(out, "serials   {}; {balance}", if totals.is_empty() { "none".to_owned() } else { totals.join(", ") })?;
    let counts = counts(books);
    // Only the states that there are.
    let present = |state: &&str| counts.values().any(|row| row.contains_key(state));
    let states: Vec<_> = State::ALL.map(State::as_str).into_iter().filter(present).collect();
    if !counts.is_empty() {
        write!(out, "\n{:<20} {:<20} {:<10}", "ACCESS CODE", "STATION", "DAY")?;
        for state in &states {
            write!(out, " {:>9}", state.to_uppercase())?;
        }
        writeln!(out)?;
    }
    for ((code, station, day), row) in &counts {
        write!(out, "{code:<20} {station:<20} {day:<10}")?;
        for state in &states {
            write!(out, " {:>9}", row.get(state).copied().unwrap_or_default())?;
        }
        writeln!(out)?;
    }
    for (number, line) in books.unsettled().enumerate() {
        let gap = if number == 0 { "\n" } else { "" };
        writeln!(out, "{gap}{}  {}", line.serial, standing(line))?;
    }
    for (number, line) in books.changed_after_closing().enumerate() {
        let head = if number == 0 { "\nchanged after it was closed:\n" } else { "" };
        writeln!(out, "{head}{}  {}", line.serial, standing(line))?;
    }
    Ok(())
}

const COLUMNS: [&str; 10] =
    ["serial", "state", "since", "access_code", "station", "slot", "evidence", "hardware_id", "device_id", "reason"];

fn print_csv(books: &Books, out: &mut impl Write) -> Result<()> {
    let made = books.lines.iter().filter_map(|line| line.made.as_ref());
    let further: BTreeSet<&str> = made.flat_map(|made| made.columns.keys()).map(String::as_str).collect();
    let mut csv = CsvWriter::new(out);
    // In brackets, so that no station's column can pass for one of the account's.
    csv.write(COLUMNS.map(str::to_owned).into_iter().chain(further.iter().map(|name| format!("[{name}]"))))?;
    for line in &books.lines {
        let Some(made) = &line.made else {
            let standing = standing(line);
            let row = [line.serial.as_str(), "missing", "", "", "", "", "", "", "", standing.as_str()];
            csv.write(row.into_iter().chain(std::iter::repeat_n("", further.len())))?;
            continue;
        };
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let row = [
            line.serial.clone(),
            made.state.to_string(),
            made.since.to_string(),
            made.code.clone(),
            text(&made.station),
            text(&made.slot),
            made.evidence.map(|evidence| evidence.to_string()).unwrap_or_default(),
            made.hardware_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            made.device_id.clone(),
            text(&made.reason),
        ];
        let beside = further.iter().map(|name| made.columns.get(*name).cloned().unwrap_or_default());
        csv.write(row.into_iter().chain(beside))?;
    }
    if books.unnamed() > 0 {
        let reason = format!("{} more were expected", books.unnamed());
        let row = ["", "missing", "", "", "", "", "", "", "", &reason];
        csv.write(row.into_iter().chain(std::iter::repeat_n("", further.len())))?;
    }
    csv.flush().context("can't write the books")
}

fn to_json(books: &Books) -> Value {
    let batch = &books.batch;
    let deed = |(at, entry): (Timestamp, u64)| json!({ "at": at, "audit_entry": entry });
    let counts: Vec<Value> = counts(books)
        .into_iter()
        .map(|((code, station, day), states)| json!({ "access_code": code, "station": station, "day": day, "states": states }))
        .collect();
    let serial = |line: &Line| match &line.made {
        None => json!({ "serial": line.serial, "state": "missing", "elsewhere": line.elsewhere }),
        Some(made) => json!({
            "serial": line.serial, "state": made.state, "since": made.since, "access_code": made.code, "station": made.station,
            "slot": made.slot, "evidence": made.evidence, "hardware_id": made.hardware_id, "device_id": made.device_id,
            "reason": made.reason, "columns": made.columns,
        }),
    };
    json!({
        "v": JSON_VERSION, "batch": batch.name, "policy": batch.policy, "expected": batch.expected, "listed": batch.listed,
        "codes": batch.codes, "opened": deed(batch.opened), "closed": batch.closed.map(deed), "missing_ok": batch.missing_ok,
        "balance": books.balance(), "changed_after_closing": books.changed_after_closing().map(|line| &line.serial).collect::<Vec<_>>(), "totals": totals(books), "counts": counts,
        "serials": books.lines.iter().map(serial).collect::<Vec<_>>(),
    })
}
