//! `qdrs-service config check`: what the config comes to, and everything that is wrong with it, before a line depends on it.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Result;
use qdrs_core::explain::Explain;

use super::guess;
use crate::{
    config::{Config, ConfigError, Flags, check_mode, read},
    env,
    ledger::{Ledger as _, LedgerError, SqliteLedger, forms::Form},
    serve::hubs,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Read it, show each value and its origin, and say what is wrong; exits with 1 when something is
    Check {
        #[command(flatten)]
        flags: Flags,
    },
}

pub(super) async fn run(args: Args) -> Result<ExitCode> {
    let Command::Check { flags } = args.command;
    let config = Config::load(&flags, &env::process)?;
    let mut out = io::stdout().lock();
    for (name, value, origin) in &config.origins {
        writeln!(out, "{name:<26} {value}  ({origin})")?;
    }
    if !config.origins.iter().any(|(name, ..)| *name == "ledger") {
        writeln!(out, "{:<26} {}  (default)", "ledger", config.ledger.display())?;
    }
    for (name, hub) in &config.hubs {
        let default = if config.default_hub.as_deref() == Some(name) { ", the default" } else { "" };
        writeln!(out, "{:<26} connection string {}{default}", format!("hub `{name}`"), hub.connection)?;
    }
    for (name, hub) in &config.hubs {
        if let Ok(owner) = hub.owner(name)
            && let Ok(host) = hub.host_for_devices(name, &owner)
        {
            let which = &hub.device_host;
            writeln!(out, "{:<26} {host} (`device_host = \"{which}\"`)", format!("devices of hub `{name}`"))?;
        }
    }
    for policy in config.policies.iter() {
        let quota = policy.total_max().map_or_else(|| "any number".to_owned(), |total| format!("{total} in all"));
        let name = format!("policy `{}`", policy.name);
        let per_minute = config.limits.code_per_minute;
        let guess = policy.guess_bits().map(|bits| format!(", signed: {}", guess::in_words(bits, per_minute)));
        writeln!(out, "{name:<26} {quota}, evidence {} at least{}", policy.least_evidence(), guess.unwrap_or_default())?;
    }
    for (name, value) in config.limits.named() {
        writeln!(out, "{:<26} {value}", format!("limits.{name}"))?;
    }
    for (name, value) in config.network.named() {
        writeln!(out, "{:<26} {value}", format!("network.{name}"))?;
    }
    for doubt in hubs::doubts_in_words(&config) {
        writeln!(io::stderr(), "note: {doubt}")?;
    }
    // Not every contradiction can be found; an example shows that there is a serial that the policy takes.
    for policy in config.policies.iter().filter(|policy| policy.tells_serials() && policy.example().is_none()) {
        let why = "with one, as `example = \"QD-0041713\"`, a policy that takes no serial at all is found here";
        writeln!(io::stderr(), "note: policy `{}` has no `example`; {why}", policy.name)?;
    }
    let wrong = faults(&config);
    for error in &wrong {
        say(error)?;
    }
    let fits = wrong.is_empty() & look_at_ledger(&config).await?;
    if fits {
        writeln!(io::stderr(), "the config is sound")?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

fn say(error: &dyn Explain) -> io::Result<()> {
    writeln!(io::stderr(), "error: {error} ({})\n help: {}", error.code(), error.help())
}

/// What the ledger has that the config does not fit. False if `serve` could not start with it.
async fn look_at_ledger(config: &Config) -> Result<bool> {
    let ledger = match SqliteLedger::open(&config.ledger) {
        Ok(ledger) => ledger,
        Err(error @ (LedgerError::Missing { .. } | LedgerError::Older { .. })) => {
            writeln!(io::stderr(), "note: {error}; {}", error.help())?;
            return Ok(true);
        }
        Err(error) => {
            say(&error)?;
            return Ok(false);
        }
    };
    let hubs = hubs::usable(config);
    for note in hubs::shared_in_words(&hubs).chain(hubs::missing_in_words(config, &hubs, &ledger).await?) {
        writeln!(io::stderr(), "note: {note}")?;
    }
    for shared in ledger.shared_boards().await? {
        writeln!(io::stderr(), "note: {}", shared.in_words())?;
    }
    let mut fits = true;
    for form in config.policies.iter().map(Form::of) {
        let policy = form.policy.clone();
        if let Err(error) = ledger.moves(form).await?.none(&policy) {
            say(&error)?;
            fits = false;
        }
    }
    let gone = ledger.policies().await?.into_iter().filter(|name| config.policies.get(name).is_none());
    for name in gone {
        let what = "a label of it that comes under another policy is another serial, unless both make the same device id of it";
        writeln!(
            io::stderr(),
            "note: serials are registered under the policy `{name}`, and the config does not have it; {what}"
        )?;
    }
    Ok(fits)
}

/// What `serve` would stumble over, all at once.
fn faults(config: &Config) -> Vec<ConfigError> {
    let mut wrong = Vec::new();
    if config.hubs.is_empty() {
        wrong.push(ConfigError::Unknown { what: "hub", name: "main".into(), known: Vec::new() });
    }
    for (name, hub) in &config.hubs {
        wrong.extend(hub.owner(name).and_then(|owner| hub.host_for_devices(name, &owner)).err());
        wrong.extend(hub.ca_pem().err());
    }
    if config.policies.iter().next().is_none() {
        wrong.push(ConfigError::Unknown { what: "policy", name: "default".into(), known: Vec::new() });
    }
    wrong.extend(config.policies.clone().loaded(&env::process).err());
    match &config.tls {
        Some(tls) => {
            wrong.extend(check_mode(&tls.key).err());
            wrong.extend(read(&tls.cert).err());
        }
        None if config.listen.ip().is_loopback() => {}
        None => wrong.push(ConfigError::PlainHttp(config.listen)),
    }
    wrong
}
