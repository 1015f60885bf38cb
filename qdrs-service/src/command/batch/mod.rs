//! `qdrs-service batch`: opens a batch account, shows its books, and closes it when they balance.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result, anyhow, bail};
use qdrs_core::serial::is_unprintable;

use crate::{
    config::{Config, Flags},
    env,
    ledger::{
        Ledger as _, SqliteLedger,
        batch::{Books, NewBatch, NotDone},
        forms::Form,
    },
};

mod list;
mod show;

/// The longest name, as of any field that a station sends; and of a reason.
const TEXT_BYTES_MAX: usize = 200;
/// So many serials are named on stderr at most; `batch show` names all.
const NAMED_MAX: usize = 20;

/// Open, show and close batch accounts
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Open a batch: what stations register under its name is counted and bounded from now on
    Open(Box<Open>),
    /// One line for each batch that was opened
    List {
        #[command(flatten)]
        flags: Flags,
    },
    /// What was made in a batch, by access code, station and day, and what is missing
    Show(show::Args),
    /// Close a batch: nothing is registered in it any more; exits with 1, naming them, when serials are missing or unfinished
    Close(Close),
}

#[derive(Debug, clap::Args)]
struct Open {
    #[command(flatten)]
    flags: Flags,
    /// What stations call it: the name of their list's file without its ending
    name: String,
    /// The policy of its serials; not needed when the config has one only, or one called `default`
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// How many are to be made; the next one is refused
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=i64::MAX as u64), conflicts_with = "file")]
    expect: Option<u64>,
    #[command(flatten)]
    list: list::List,
    /// An access code that registers in this batch only; may be given more than once
    #[arg(long, value_name = "NAME")]
    code: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Close {
    #[command(flatten)]
    flags: Flags,
    /// The batch's name
    name: String,
    /// Close it although serials are missing or unfinished, because of this reason
    #[arg(long, value_name = "REASON")]
    missing_ok: Option<String>,
}

pub(super) async fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::Open(args) => open(*args).await,
        Command::List { flags } => list_all(&flags).await,
        Command::Show(args) => show::run(&args).await,
        Command::Close(args) => close(args).await,
    }
}

fn check_text(what: &str, text: &str) -> Result<()> {
    if text.trim().is_empty() || text.len() > TEXT_BYTES_MAX || text.chars().any(is_unprintable) {
        bail!("{what} is 1 to {TEXT_BYTES_MAX} bytes on one line");
    }
    Ok(())
}

async fn open(args: Open) -> Result<ExitCode> {
    check_text("a batch's name", &args.name)?;
    if args.name != args.name.trim() {
        bail!("a batch's name has no blanks around it: stations would have to send them, too");
    }
    let config = Config::load(&args.flags, &env::process)?;
    let policy = config.policy(args.policy.as_deref())?.name.clone();
    let (list, notices) = match &args.list.file {
        None => (None, Vec::new()),
        Some(path) => {
            let loaded = config.policies.clone().only(&policy).loaded(&env::process)?.remove(&policy);
            let loaded = loaded.with_context(|| format!("there is no policy `{policy}`"))?;
            let (serials, notices) = args.list.read(path, &loaded)?;
            (Some((Form::of(&loaded), serials)), notices)
        }
    };
    let ledger = SqliteLedger::open(&config.ledger)?;
    let list = match list {
        None => None,
        Some((form, serials)) => {
            ledger.hold_list_to(form).await?;
            Some(serials)
        }
    };
    let expected = args.expect.or(list.as_ref().map(|list| list.len() as u64));
    let name = args.name.clone();
    let opened = ledger.batch_open(NewBatch { name, policy, expected, list, codes: args.code }).await;
    let batch = opened.map_err(|not| why(&args.name, not))?;
    let how_many = batch.expected.map_or_else(|| "any number".to_owned(), |expected| expected.to_string());
    let taken = if batch.taken > 0 { format!("; {} were registered before", batch.taken) } else { String::new() };
    let mut stderr = io::stderr().lock();
    for notice in notices {
        writeln!(stderr, "{notice}")?;
    }
    writeln!(stderr, "batch `{}` is open for {how_many} of policy `{}`{taken}", batch.name, batch.policy)?;
    Ok(ExitCode::SUCCESS)
}

async fn list_all(flags: &Flags) -> Result<ExitCode> {
    let config = Config::load(flags, &env::process)?;
    let mut out = io::stdout().lock();
    for batch in SqliteLedger::open(&config.ledger)?.batch_list().await? {
        let state = if batch.closed.is_some() { "closed" } else { "open" };
        let of = batch.expected.map(|expected| format!(" of {expected}")).unwrap_or_default();
        writeln!(out, "{:<24} {state:<8} {:<16} {}{of}", batch.name, batch.policy, batch.taken)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn close(args: Close) -> Result<ExitCode> {
    if let Some(reason) = &args.missing_ok {
        check_text("--missing-ok", reason)?;
    }
    let config = Config::load(&args.flags, &env::process)?;
    let ledger = SqliteLedger::open(&config.ledger)?;
    match ledger.batch_close(args.name.clone(), args.missing_ok).await {
        Ok(books) => {
            say_missing(&books)?;
            writeln!(io::stderr(), "batch `{}` is closed", args.name)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(NotDone::Unsettled(books)) => {
            say_missing(&books)?;
            let how = "finish, release or scrap them, or close it with --missing-ok REASON";
            writeln!(io::stderr(), "batch `{}` stays open: {how}", args.name)?;
            Ok(ExitCode::FAILURE)
        }
        Err(not) => Err(why(&args.name, not)),
    }
}

/// Names what has not come to its end.
fn say_missing(books: &Books) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    for line in books.unsettled().take(NAMED_MAX) {
        writeln!(stderr, "{}  {}", line.serial, show::standing(line))?;
    }
    let more = books.unsettled().count().saturating_sub(NAMED_MAX);
    if more > 0 {
        writeln!(stderr, "and {more} more; `batch show` has all")?;
    }
    if books.unnamed() > 0 {
        writeln!(stderr, "{} more were expected, and never registered", books.unnamed())?;
    }
    Ok(())
}

/// The refusal in words.
fn why(batch: &str, not: NotDone) -> anyhow::Error {
    match not {
        NotDone::IsThere => anyhow!("batch `{batch}` is there already; choose another name"),
        NotDone::Unknown => anyhow!("no batch `{batch}` was opened; `batch list` shows those that were"),
        NotDone::WasClosed(at) => anyhow!("batch `{batch}` was closed at {}", show::moment(at)),
        NotDone::NoCode(name) => anyhow!("no access code is named `{name}`; `access list` shows them"),
        NotDone::OtherPolicy { code, policy } => {
            anyhow!("access code `{code}` is one of policy `{policy}`, so it can't register in this batch")
        }
        NotDone::TooMany { made } => {
            anyhow!("stations have registered {made} as batch `{batch}` already, more than it would be opened for")
        }
        NotDone::Strangers(serials) => {
            let named = serials.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join("`, `");
            let more = serials.len().saturating_sub(NAMED_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            anyhow!(
                "stations have registered `{named}`{more} as batch `{batch}` already, and the list does not have them; add them to \
                 the list, release them, or open the batch under another name"
            )
        }
        NotDone::Unsettled(_) => anyhow!("batch `{batch}` has serials that have not come to their end"),
        NotDone::Ledger(error) => error.into(),
    }
}
