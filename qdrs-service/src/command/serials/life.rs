//! `serials show`, `release` and `scrap`: what became of a serial, and the owner's ends of it.
//!
//! They work on the ledger beside a service that serves from it.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, bail};
use jiff::Timestamp;
use qdrs_core::{
    api::{Code, State},
    serial::{is_unprintable, visible},
};

use crate::{
    command::Refused,
    config::{Config, Flags},
    env,
    ledger::{Ledger as _, Life, Record, SqliteLedger, forms::Form},
    registrar::Registrar,
    serve::hubs,
};

/// The longest reason, in bytes.
const REASON_BYTES_MAX: usize = 200;

#[derive(Debug, clap::Args)]
pub(super) struct Named {
    #[command(flatten)]
    flags: Flags,
    /// The policy of the serial; not needed when it is made under one only
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// The serial number
    serial: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct Ended {
    #[command(flatten)]
    named: Named,
    /// Why; it stands in the ledger and in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Release,
    Scrap,
}

pub(super) async fn show(named: Named) -> Result<ExitCode> {
    let config = Config::load(&named.flags, &env::process)?;
    let ledger = SqliteLedger::open(&config.ledger)?;
    let codes: BTreeMap<_, _> =
        ledger.access_list().await?.into_iter().map(|access| (access.key_id.to_string(), access.name)).collect();
    let attempts = attempts(&config, &ledger, &named).await?;
    let mut out = io::stdout().lock();
    for (number, record) in attempts.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        let code = record.reservation.key_id.to_string();
        print(record, codes.get(&code).unwrap_or(&code), &mut out)?;
    }
    let stands = attempts.last().filter(|last| !matches!(last.life, Life::Released { .. } | Life::Scrapped { .. }));
    let hubs = hubs::usable(&config);
    if let Some(host) = stands.map(|last| &last.reservation.hub_host).filter(|host| !hubs.has(host)) {
        let what = "no hub of the configuration has that host, so it can't be released or scrapped";
        writeln!(io::stderr(), "note: the hub is {host}; {what}: {}", hubs.in_words())?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn end(ended: Ended, end: End) -> Result<ExitCode> {
    let reason = ended.reason.trim();
    if reason.is_empty() || reason.len() > REASON_BYTES_MAX || reason.chars().any(is_unprintable) {
        bail!("--reason is 1 to {REASON_BYTES_MAX} bytes on one line");
    }
    let config = Config::load(&ended.named.flags, &env::process)?;
    let ledger = SqliteLedger::open(&config.ledger)?;
    let Some(record) = attempts(&config, &ledger, &ended.named).await?.pop() else { bail!("the serial has no attempt") };
    let serial = record.reservation.serial.clone();
    let before = record.life.state();
    let registrar = Registrar::new(Arc::new(ledger), hubs::usable(&config), BTreeMap::new());
    let waiting = |left: Duration| {
        let text = format!("a call to the hub for {serial} may still be under way; waiting {} s at most", left.as_secs() + 1);
        // Nothing can be done when stderr is gone.
        let _ = writeln!(io::stderr(), "{text}");
    };
    let done = match end {
        End::Release => registrar.release(record, reason, &waiting).await,
        End::Scrap => registrar.scrap(record, reason, &waiting).await,
    };
    let state = done.map_err(Refused::from)?.life.state();
    let already = if before == state { " already" } else { "" };
    let then = if state == State::Released { "it may be made again" } else { "it is never made again" };
    writeln!(io::stderr(), "{serial} is {state}{already}: its credential is dead, and {then}")?;
    Ok(ExitCode::SUCCESS)
}

/// Every attempt at the serial, the oldest first; at least one.
async fn attempts(config: &Config, ledger: &SqliteLedger, named: &Named) -> Result<Vec<Record>> {
    let names = match &named.policy {
        Some(name) => vec![name.clone()],
        None => ledger.policies().await?,
    };
    let mut found = Vec::new();
    for name in names {
        // Without its policy there is no normal form: the serial as it stands in the ledger.
        let policy = config.policies.get(&name);
        let serial = policy.map_or_else(|| named.serial.clone(), |policy| policy.normalise(&named.serial));
        let mut attempts = ledger.attempts(name.clone(), serial.clone()).await?;
        if let (true, Some(policy)) = (attempts.is_empty(), policy) {
            // The form was changed, and the serial still stands in the old one.
            for (old, _) in ledger.moves(Form::of(policy)).await?.serials.into_iter().filter(|(_, new)| *new == serial) {
                attempts.extend(ledger.attempts(name.clone(), old).await?);
            }
        }
        if !attempts.is_empty() {
            found.push((name, attempts));
        }
    }
    if found.len() > 1 {
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        bail!("`{}` is made under the policies `{}`; say which with --policy", named.serial, names.join("` and `"));
    }
    match found.pop() {
        Some((_, attempts)) => Ok(attempts),
        None => Err(Refused { code: Code::SerialUnknown, detail: format!("`{}` is not registered", named.serial) }.into()),
    }
}

fn print(record: &Record, code: &str, out: &mut impl Write) -> io::Result<()> {
    let reservation = &record.reservation;
    let (fingerprint, evidence, reason) = match &record.life {
        Life::Issued { fingerprint } => (Some(fingerprint), None, None),
        Life::Confirmed { fingerprint, evidence } => (Some(fingerprint), Some(evidence.to_string()), None),
        Life::Reserved => (None, None, None),
        Life::Rejected { reason }
        | Life::Conflict { reason }
        | Life::Releasing { reason }
        | Life::Released { reason }
        | Life::Scrapped { reason } => (None, None, Some(reason.clone())),
    };
    let time = |time: Timestamp| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
    let rows = [
        ("serial", Some(reservation.serial.clone())),
        ("policy", Some(reservation.policy.clone())),
        ("state", Some(record.life.state().to_string())),
        ("since", Some(time(record.since))),
        ("reason", reason),
        ("reserved", Some(time(reservation.reserved_at))),
        ("device id", Some(reservation.device_id.clone())),
        ("hub", Some(reservation.hub_host.clone())),
        ("access code", Some(code.to_owned())),
        ("station", reservation.station.clone()),
        ("journal", reservation.journal.map(|journal| journal.to_string())),
        ("slot", reservation.slot.clone()),
        ("batch", reservation.batch.clone()),
        ("hardware id", reservation.hardware_id.as_ref().map(ToString::to_string)),
        ("evidence", evidence),
        ("fingerprint", fingerprint.map(ToString::to_string)),
        ("reservation", Some(reservation.id.to_string())),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            writeln!(out, "{name:<12} {}", visible(&value))?;
        }
    }
    for (name, value) in &reservation.columns {
        writeln!(out, "{:<12} {}", visible(&format!("[{name}]")), visible(value))?;
    }
    Ok(())
}
