//! `qdrs-service ledger`: what is done to the ledger as a whole, while no service serves from it.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Result;

use crate::{
    config::{Config, Flags},
    env,
    ledger::{SqliteLedger, forms::Form},
};

/// Look after the ledger as a whole
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Bring a ledger of an older version to this one's; back it up first, older versions can't read it any more
    Migrate {
        #[command(flatten)]
        flags: Flags,
    },
    /// Move the serials of a policy to its normal form after that was changed; nothing is changed without --apply
    Renormalise {
        #[command(flatten)]
        flags: Flags,
        /// The policy
        policy: String,
        /// Do it; only while no service serves from the ledger
        #[arg(long)]
        apply: bool,
    },
}

pub(super) async fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::Migrate { flags } => migrate(&flags),
        Command::Renormalise { flags, policy, apply } => renormalise(&flags, &policy, apply).await,
    }
}

fn migrate(flags: &Flags) -> Result<ExitCode> {
    let config = Config::load(flags, &env::process)?;
    let path = config.ledger.display();
    match SqliteLedger::migrate(&config.ledger)? {
        (before, after) if before == after => writeln!(io::stderr(), "the ledger {path} has version {after} already")?,
        (before, after) => writeln!(io::stderr(), "the ledger {path} had version {before}, and has {after} now")?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn renormalise(flags: &Flags, policy: &str, apply: bool) -> Result<ExitCode> {
    let config = Config::load(flags, &env::process)?;
    let form = Form::of(config.policy(Some(policy))?);
    let moves = if apply {
        SqliteLedger::open_alone(&config.ledger)?.renormalise(form).await?
    } else {
        SqliteLedger::open(&config.ledger)?.moves(form).await?
    };
    let (mut out, mut stderr) = (io::stdout().lock(), io::stderr().lock());
    for (old, new) in &moves.serials {
        writeln!(out, "{old} -> {new}")?;
    }
    for (batch, old, new) in &moves.listed {
        writeln!(out, "{old} -> {new}  in the list of batch {batch}")?;
    }
    for (new, olds) in &moves.collisions {
        writeln!(stderr, "`{}` would all become `{new}`", olds.join("`, `"))?;
    }
    let what = format!("{} serials and {} entries of lists of policy `{policy}`", moves.serials.len(), moves.listed.len());
    if !moves.collisions.is_empty() {
        let how = "release those that are not on a label (with the policy's former `form`), or keep that form";
        writeln!(
            stderr,
            "{what} stand otherwise than its form writes them, and some would become one, so nothing is changed: {how}"
        )?;
        return Ok(ExitCode::FAILURE);
    }
    if moves.is_empty() {
        writeln!(stderr, "all serials of policy `{policy}` stand as its form writes them")?;
    } else if apply {
        writeln!(stderr, "{what} are written by its form now; their device ids stay as they are")?;
    } else {
        writeln!(stderr, "{what} would be written otherwise, their device ids would stay; nothing is changed without --apply")?;
    }
    Ok(ExitCode::SUCCESS)
}
