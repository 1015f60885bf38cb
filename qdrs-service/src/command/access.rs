//! `qdrs-service access`: makes access codes, and takes them away at once.
//!
//! The code itself is printed once, when it is made; the ledger keeps its public keys only.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use jiff::{SignedDuration, Timestamp, ToSpan as _, civil::Date};
use qdrs_core::{
    access::AccessCode,
    api::{Kind, Permission},
    serial::is_unprintable,
};
use secrecy::ExposeSecret as _;

use crate::{
    config::{Config, Flags},
    env,
    ledger::{Access, AccessState, Ledger as _, SqliteLedger},
};

/// The longest name of an access code, in characters.
const NAME_CHARS_MAX: usize = 64;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make an access code and print it, once, on standard output
    Create(Create),
    /// One line for each access code
    List {
        #[command(flatten)]
        flags: Flags,
    },
    /// Everything about one access code but the code itself
    Show {
        #[command(flatten)]
        named: Named,
    },
    /// Say how many registrations a station may release by itself in all, with those that it has released
    Rework {
        #[command(flatten)]
        named: Named,
        /// How many; 0 for none
        releases: u64,
    },
    /// Stop it for now: what it made may still be confirmed, nothing more is given out
    Suspend {
        #[command(flatten)]
        named: Named,
    },
    /// Let a suspended access code work again
    Resume {
        #[command(flatten)]
        named: Named,
    },
    /// Stop it for ever: nothing is given out and nothing is confirmed
    Revoke {
        #[command(flatten)]
        named: Named,
    },
}

#[derive(Debug, clap::Args)]
struct Named {
    #[command(flatten)]
    flags: Flags,
    /// The access code's name
    name: String,
}

#[derive(Debug, clap::Args)]
struct Create {
    #[command(flatten)]
    flags: Flags,
    /// What the owner calls it, e.g. the line's name
    name: String,
    /// Who will hold it: `station`, a PC on the line, or `product`, software that registers itself
    #[arg(long, default_value = "station")]
    kind: Kind,
    /// The policy that its serials must meet; not needed when the config has one only, or one called `default`
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// The hub that its devices are made in [default: the config's default hub]
    #[arg(long, value_name = "NAME")]
    hub: Option<String>,
    /// How many devices it may register in all [default: no limit of its own]
    #[arg(long, value_name = "N")]
    quota: Option<u64>,
    /// How many of its own registrations a station may release by itself (`qdrs release`), e.g. for rework
    #[arg(long, value_name = "N", default_value_t = 0)]
    rework: u64,
    /// How many requests a minute it may make [default: the config's limits]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// When it ends: `2027-01-31` (that day is the last one, UTC), `2027-01-31T18:00:00Z`, or in so many days: `90d`
    #[arg(long, value_name = "WHEN", value_parser = parse_end)]
    expires: Option<Timestamp>,
    /// When it begins, written in the same ways; a day begins at 00:00 UTC
    #[arg(long, value_name = "WHEN", value_parser = parse_begin)]
    not_before: Option<Timestamp>,
    /// What else it may do: `take-over`, `register-batch`, or `none` [default: take-over for a station, none for a product]
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = parse_permission)]
    permit: Option<Vec<Permit>>,
}

/// A permission, or the word that there shall be none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Permit {
    This(Permission),
    None,
}

fn parse_permission(word: &str) -> Result<Permit, String> {
    if word == "none" { Ok(Permit::None) } else { word.parse().map(Permit::This).map_err(|error| format!("{error}, none")) }
}

fn parse_begin(text: &str) -> Result<Timestamp, String> {
    parse_when(text, Timestamp::now(), 0)
}

fn parse_end(text: &str) -> Result<Timestamp, String> {
    parse_when(text, Timestamp::now(), 1)
}

/// A time, a day, or so many days from now. `days_after` is 1 for the end of a day, 0 for its begin.
fn parse_when(text: &str, now: Timestamp, days_after: i64) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Some(days) = text.strip_suffix('d').and_then(|days| days.parse::<u16>().ok()) {
        return now.checked_add(SignedDuration::from_hours(24 * i64::from(days))).map_err(|error| error.to_string());
    }
    let day: Date = text
        .parse()
        .map_err(|_| "it is no day (2027-01-31), no time (2027-01-31T18:00:00Z) and no number of days (90d)".to_owned())?;
    let begin = day.checked_add(days_after.days()).and_then(|day| day.in_tz("UTC"));
    begin.map(|begin| begin.timestamp()).map_err(|error| error.to_string())
}

pub(super) async fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::Create(args) => create(args).await,
        Command::List { flags } => list(&flags).await,
        Command::Show { named } => show(&named).await,
        Command::Rework { named, releases } => rework(&named, releases).await,
        Command::Suspend { named } => set_state(&named, AccessState::Suspended).await,
        Command::Resume { named } => set_state(&named, AccessState::Active).await,
        Command::Revoke { named } => set_state(&named, AccessState::Revoked).await,
    }
}

fn ledger(flags: &Flags) -> Result<(Config, SqliteLedger)> {
    let config = Config::load(flags, &env::process)?;
    let ledger = SqliteLedger::open(&config.ledger)?;
    Ok((config, ledger))
}

async fn create(args: Create) -> Result<ExitCode> {
    let name = args.name.trim();
    let printable = |c: char| !is_unprintable(c) && !c.is_whitespace();
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || !name.chars().all(printable) {
        bail!("`{}` is no name: 1 to {NAME_CHARS_MAX} characters without blanks", args.name.escape_debug());
    }
    let (config, ledger) = ledger(&args.flags)?;
    let policy = config.policy(args.policy.as_deref())?.name.clone();
    let hub = config.hub_name(args.hub.as_deref())?;
    let now = Timestamp::now();
    if let Some(end) = args.expires.filter(|end| *end <= now || args.not_before.is_some_and(|begin| begin >= *end)) {
        bail!("--expires {end} is before the access code could be used");
    }
    if args.kind == Kind::Product && args.rework > 0 {
        bail!("--rework is for a station: a product releases nothing");
    }
    let permissions = match args.permit {
        None if args.kind == Kind::Station => vec![Permission::TakeOver],
        None => Vec::new(),
        Some(permits) => {
            permits.into_iter().filter_map(|permit| if let Permit::This(one) = permit { Some(one) } else { None }).collect()
        }
    };
    let code = AccessCode::generate(args.kind);
    let access = Access {
        key_id: code.key_id(),
        keys: code.public(),
        name: name.to_owned(),
        kind: args.kind,
        policy,
        hub,
        quota: args.quota,
        made: 0,
        rework: args.rework,
        reworked: 0,
        rate_per_minute: args.rate,
        not_before: args.not_before,
        expires: args.expires,
        permissions,
        state: AccessState::Active,
        created_at: now,
    };
    let told = format!("access code `{name}` for a {}, policy `{}`, hub `{}`", access.kind, access.policy, access.hub);
    // Kept before it is shown: a code that is shown works.
    ledger.access_create(access).await?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", code.reveal().expose_secret())
        .and_then(|()| stdout.flush())
        .context("the access code could not be printed; revoke it and make another")?;
    writeln!(io::stderr(), "{told}. It is shown this once: paste it into `qdrs setup`, and keep no copy")?;
    Ok(ExitCode::SUCCESS)
}

async fn list(flags: &Flags) -> Result<ExitCode> {
    let (_, ledger) = ledger(flags)?;
    let all = ledger.access_list().await?;
    let mut out = io::stdout().lock();
    if all.is_empty() {
        writeln!(io::stderr(), "no access codes yet; make one with `qdrs-service access create NAME`")?;
    } else if io::stdout().is_terminal() {
        writeln!(
            out,
            "{:<24} {:<10} {:<8} {:<16} {:<12} {:<17} {:<10} expires",
            "NAME", "STATE", "KIND", "POLICY", "HUB", "REGISTERED", "REWORK"
        )?;
    }
    for access in all {
        let made = match access.quota {
            Some(quota) => format!("{} of {quota}", access.made),
            None => access.made.to_string(),
        };
        let rework = if access.rework == 0 { "none".to_owned() } else { format!("{} of {}", access.reworked, access.rework) };
        let expires = access.expires.map_or_else(|| "never".to_owned(), |time| time.to_string());
        let state = access.state.as_str();
        writeln!(
            out,
            "{:<24} {state:<10} {:<8} {:<16} {:<12} {made:<17} {rework:<10} {expires}",
            access.name, access.kind, access.policy, access.hub
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(named: &Named) -> Result<ExitCode> {
    let (_, ledger) = ledger(&named.flags)?;
    let access = find(&ledger, &named.name).await?;
    let none = || "none".to_owned();
    let time = |time: Option<Timestamp>| time.map_or_else(none, |time| time.to_string());
    let permissions: Vec<_> = access.permissions.iter().map(|one| one.as_str()).collect();
    let rows = [
        ("name", access.name),
        ("key id", access.key_id.to_string()),
        ("state", access.state.as_str().to_owned()),
        ("kind", access.kind.to_string()),
        ("policy", access.policy),
        ("hub", access.hub),
        ("registered", access.made.to_string()),
        ("quota", access.quota.map_or_else(none, |quota| quota.to_string())),
        ("rework", format!("{} of {} releases used", access.reworked, access.rework)),
        ("rate", access.rate_per_minute.map_or_else(none, |rate| format!("{rate} a minute"))),
        ("not before", time(access.not_before)),
        ("expires", time(access.expires)),
        ("permissions", if permissions.is_empty() { none() } else { permissions.join(", ") }),
        ("created", access.created_at.to_string()),
    ];
    let mut out = io::stdout().lock();
    for (name, value) in rows {
        writeln!(out, "{name:<12} {value}")?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn rework(named: &Named, releases: u64) -> Result<ExitCode> {
    let (_, ledger) = ledger(&named.flags)?;
    let access = ledger.access_set_rework(named.name.clone(), releases).await?;
    writeln!(
        io::stderr(),
        "access code `{}` may release {} of its registrations in all, and has released {}",
        access.name,
        access.rework,
        access.reworked
    )?;
    Ok(ExitCode::SUCCESS)
}

async fn set_state(named: &Named, state: AccessState) -> Result<ExitCode> {
    let (_, ledger) = ledger(&named.flags)?;
    let access = find(&ledger, &named.name).await?;
    if access.state == AccessState::Revoked && state != AccessState::Revoked {
        bail!("`{}` is revoked, and that is for ever; make a new one with `qdrs-service access create`", named.name);
    }
    ledger.access_set_state(named.name.clone(), state).await?;
    writeln!(io::stderr(), "access code `{}` is {} from now on", named.name, state.as_str())?;
    Ok(ExitCode::SUCCESS)
}

async fn find(ledger: &SqliteLedger, name: &str) -> Result<Access> {
    match ledger.access_list().await?.into_iter().find(|access| access.name == name) {
        Some(access) => Ok(access),
        None => bail!("there is no access code `{name}`; `qdrs-service access list` shows those that there are"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-24T08:00:00Z".parse().expect("a time")
    }

    #[test]
    fn an_end_is_a_time_a_day_or_some_days() {
        for (text, end) in [
            ("2027-01-31T18:00:00Z", "2027-01-31T18:00:00Z"),
            ("2027-01-31", "2027-02-01T00:00:00Z"),
            ("90d", "2027-02-22T08:00:00Z"),
        ] {
            assert_eq!(parse_when(text, now(), 1).map(|time| time.to_string()).as_deref(), Ok(end), "{text}");
        }
        assert_eq!(parse_when("2027-01-31", now(), 0).map(|time| time.to_string()).as_deref(), Ok("2027-01-31T00:00:00Z"));
        for text in ["", "soon", "31.01.2027", "-3d", "2027-02-30"] {
            assert!(parse_when(text, now(), 1).is_err(), "{text}");
        }
    }

    #[test]
    fn permissions_are_words() {
        assert_eq!(parse_permission("take-over"), Ok(Permit::This(Permission::TakeOver)));
        assert_eq!(parse_permission("none"), Ok(Permit::None));
        assert!(parse_permission("everything").is_err());
    }
}
