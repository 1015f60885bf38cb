//! The owner's commands, one file each. Data goes to stdout, talk to stderr.
//!
//! Exit codes: 0 done; 1 done, and the answer is no (a check found something); 2 bad input or settings; 4 something can't
//! be reached; 5 a fault in QDRS.

use std::{
    fs::File,
    io::{IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Result, anyhow};
use qdrs_core::{
    api::{Code, Scope},
    batch::BatchError,
    explain::Explain,
    policy::PolicyError,
};
use tracing_subscriber::EnvFilter;

use crate::{config::ConfigError, emulator::EmulatorError, env, ledger::LedgerError, registrar::Refusal, serve::ServeError};

mod access;
mod batch;
mod config;
mod emulator;
mod guess;
mod init;
mod ledger;
pub mod policy;
mod serials;
mod serve;

/// The Quick Device Registration Service: holds the hub owner connection string and registers devices
#[derive(Debug, clap::Parser)]
#[command(name = "qdrs-service", version, about, after_help = variables(), arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Serve stations and products until it is interrupted
    Serve(serve::Args),
    /// Write a commented config file, and make the ledger
    Init(init::Args),
    /// Look at the config without serving
    Config(config::Args),
    /// Make, show, suspend and revoke access codes
    Access(access::Args),
    Policy(policy::Args),
    /// Make signed serials; show, release and scrap what was registered
    Serials(serials::Args),
    /// Open, show and close batch accounts
    Batch(batch::Args),
    /// Look after the ledger as a whole
    Ledger(ledger::Args),
    /// Serve a local IoT Hub to try things on: no cloud account, no real devices
    Emulator(emulator::Args),
}

fn variables() -> String {
    let mut text = String::from("Environment variables; a flag wins over them, they win over the config file:\n");
    for (name, says) in env::ALL {
        text.push_str(&format!("  {name:<26} {says}\n"));
    }
    text
}

/// Runs one command.
///
/// # Errors
/// Whatever stopped it; [`explain`] says it.
pub fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Serve(args) => runtime()?.block_on(serve::run(args)),
        Command::Init(args) => init::run(args),
        Command::Config(args) => runtime()?.block_on(config::run(args)),
        Command::Access(args) => runtime()?.block_on(access::run(args)),
        Command::Policy(args) => policy::run(args),
        Command::Serials(args) => runtime()?.block_on(serials::run(args)),
        Command::Batch(args) => runtime()?.block_on(batch::run(args)),
        Command::Ledger(args) => runtime()?.block_on(ledger::run(args)),
        Command::Emulator(args) => runtime()?.block_on(emulator::run(args)),
    }
}

/// Threads for what blocks: the connections that read the ledger, and looking up host names.
const BLOCKING_THREADS_MAX: usize = 32;

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().max_blocking_threads(BLOCKING_THREADS_MAX).enable_all().build()?)
}

/// The registrar has refused an owner's command.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
struct Refused {
    code: Code,
    detail: String,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let code = refusal.code().unwrap_or(Code::Internal);
        let detail = if refusal.problem.detail.is_empty() { code.title().to_owned() } else { refusal.problem.detail };
        Self { code, detail: refusal.cause.map_or(detail.clone(), |cause| format!("{detail}: {cause}")) }
    }
}

impl Explain for Refused {
    fn code(&self) -> Code {
        self.code
    }

    fn help(&self) -> String {
        self.code.help().to_owned()
    }
}

/// A file that only this user can read; an error if there is one of that name.
fn new_private_file(path: &Path) -> Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            anyhow!("{} is there already, and it is left as it is; name another file, or move it away", path.display())
        }
        _ => anyhow!("can't write {}: {error}", path.display()),
    })
}

/// Logs go to stderr: JSON unless a person looks. `QDRS_LOG` says what.
pub fn log_to_stderr() {
    let wanted = env::process(env::LOG).map(|text| text.to_string_lossy().into_owned());
    let filter = wanted.as_deref().map_or_else(|| Ok(EnvFilter::new("info")), EnvFilter::try_new);
    let wrong = filter.as_ref().err().map(ToString::to_string);
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter.unwrap_or_else(|_| EnvFilter::new("info"))).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.init()
    } else {
        builder.json().flatten_event(true).init()
    }
    // One shape of log: a panic is a line like any other.
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a fault in QDRS")));
    if let Some(error) = wrong {
        tracing::warn!(error, "{} can't be used; logging `info`", env::LOG);
    }
}

/// Says what stopped a command, where and how to mend it, and which exit code that is.
pub fn explain(error: &anyhow::Error) -> ExitCode {
    let known: Option<&dyn Explain> = error.chain().find_map(|cause| {
        (cause.downcast_ref::<ServeError>().map(|error| error as &dyn Explain))
            .or_else(|| cause.downcast_ref::<ConfigError>().map(|error| error as _))
            .or_else(|| cause.downcast_ref::<LedgerError>().map(|error| error as _))
            .or_else(|| cause.downcast_ref::<EmulatorError>().map(|error| error as _))
            .or_else(|| cause.downcast_ref::<Refused>().map(|error| error as _))
            .or_else(|| cause.downcast_ref::<PolicyError>().map(|error| error as _))
            .or_else(|| cause.downcast_ref::<BatchError>().map(|error| error as _))
    });
    let mut stderr = std::io::stderr().lock();
    // Nothing can be done when stderr is gone; the exit code still tells.
    let _ = match known {
        Some(known) => {
            for (fault, at) in known.each().into_iter().filter_map(|fault| Some((fault, fault.at()?))) {
                let _ = writeln!(stderr, "{at}: {fault}");
            }
            let at = known.at().map(|at| format!("\n   at: {at}")).unwrap_or_default();
            writeln!(stderr, "error: {error:#} ({}){at}\n help: {}", known.code(), known.help())
        }
        None => writeln!(stderr, "error: {error:#}"),
    };
    ExitCode::from(known.map_or(Scope::Input, |known| known.code().scope()) as u8)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
