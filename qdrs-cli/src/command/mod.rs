//! The commands: one file for each, with its `Args` and its `run`.

use std::time::Duration;

use clap::{Parser, Subcommand};
use qdrs_core::{
    api::{AccessInfo, Code},
    client::{Client, ClientOptions, Event, clock_sentence},
};

use crate::{
    env,
    failure::Failure,
    journal::Journal,
    keystore,
    outcome::Outcome,
    printer::Printer,
    settings::{Flags, Settings},
};

mod ask;
pub mod check;
pub mod completions;
pub mod config;
pub mod man;
pub mod ports;
pub mod provision;
pub mod register;
pub mod release;
pub mod report;
pub mod setup;
pub mod status;

/// How long a station goes on asking a service that does not answer.
pub const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// How long a person is kept waiting for one answer.
pub const PATIENCE_SHORT: Duration = Duration::from_secs(20);
/// The longest file with CA certificates, in bytes.
const CA_BYTES_MAX: u64 = 1024 * 1024;

/// Registers devices and writes their connection strings to them.
#[derive(Debug, Parser)]
#[command(name = "qdrs", version, arg_required_else_help = true, after_help = after_help(), after_long_help = after_long_help())]
pub struct Cli {
    /// For every command.
    #[command(flatten)]
    pub flags: Flags,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `qdrs` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Connect this station with a service: ask for the access code, check and keep it
    Setup(setup::Args),
    /// Make a device ready for each serial number: register it, write, check, confirm
    Provision(provision::Args),
    /// Look at a batch before the shift: form, duplicates, policy, what is taken, how long the hub will need
    Check(check::Args),
    /// Register a serial number without a device; its connection string goes to a file
    Register(register::Args),
    /// Give up a serial number for rework: its credential dies, then it may be made again
    Release(release::Args),
    /// Say what the service and this station know of a serial number
    Status(status::Args),
    /// Tell what this station has done, as a table, CSV or JSON
    Report(report::Args),
    /// List the serial ports of this computer and what is plugged in
    Ports(ports::Args),
    /// Show each setting and where it comes from
    Config(config::Args),
    /// Print the completions of a shell
    Completions(completions::Args),
    /// Print the manual page, or write all of them to a folder
    Man(man::Args),
}

fn after_help() -> String {
    "Try it without a service and without devices:  qdrs --sandbox provision --batch samples/serials.csv".into()
}

fn after_long_help() -> String {
    let mut text = after_help();
    text.push_str("\n\nExit codes:\n");
    let mut outcomes = Outcome::ALL;
    outcomes.sort_by_key(|outcome| outcome.code());
    for outcome in outcomes {
        text.push_str(&format!("  {:>3}  {}\n", outcome.code(), outcome.meaning()));
    }
    text.push('\n');
    text.push_str(&env::help());
    text
}

/// The service's client, with this station's access code.
///
/// # Errors
///
/// When no service is set, there is no access code, or the CA's file can't be used.
pub fn connect(settings: &Settings) -> Result<Client, Failure> {
    connect_for(settings, PATIENCE)
}

/// The same, for a person who waits for one answer.
///
/// # Errors
///
/// As [`connect`].
pub fn connect_for(settings: &Settings, patience: Duration) -> Result<Client, Failure> {
    let (code, _) = keystore::load(settings)?;
    connect_with(settings, code, patience)
}

/// Says on stderr what the client waits for.
pub fn tell_waits(client: &Client, printer: Printer) {
    client.on_event(move |event| tell(event, printer));
}

/// Says what the client does beside its work.
pub(crate) fn tell(event: Event, printer: Printer) {
    match event {
        Event::Waiting { why, seconds } => printer.talk(format!("{why}; asking again in {seconds} s")),
        Event::ClockCorrected { seconds } => printer.warn(clock_sentence(seconds)),
    }
}

/// Who the access code is, asked with the journal that is about to work. A journal that lacks what the service knows of it goes on
/// under another id from here on. What a person has to know of the journal is told.
///
/// # Errors
///
/// When the service refuses or can't be asked, or the journal can't be written.
async fn access_and_journal(client: &Client, journal: &Journal, tell: impl Fn(&str)) -> Result<AccessInfo, Failure> {
    journal.notice().into_iter().for_each(&tell);
    let Some(id) = journal.id() else { return Ok(client.access().await?) };
    let access = client.access_of(id).await?;
    // Each job is noted before it is sent.
    if access.journal_registered.is_some_and(|registered| registered > journal.jobs()) {
        tell(journal.renew()?);
    }
    Ok(access)
}

fn connect_with(settings: &Settings, code: qdrs_core::access::AccessCode, patience: Duration) -> Result<Client, Failure> {
    let ca_file_pem = match (&settings.ca_pem, &settings.ca_file.value) {
        (Some(pem), _) => Some(pem.clone()),
        (None, Some(path)) => Some(read_ca(path).map_err(|failure| failure.at(&settings.ca_file.origin))?),
        (None, None) => None,
    };
    Ok(Client::new(ClientOptions {
        service: settings.service()?.clone(),
        code,
        ca_file_pem,
        patience,
        user_agent: concat!("qdrs/", env!("CARGO_PKG_VERSION")).to_owned(),
    })?)
}

/// A serial number as an argument: without blanks around it, and never empty.
fn serial_argument(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("the serial number is empty; scan the label, or type what is printed on it".into()),
        serial => Ok(serial.to_owned()),
    }
}

fn read_ca(path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    let mut pem = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| std::io::Read::read_to_end(&mut std::io::Read::take(file, CA_BYTES_MAX), &mut pem));
    read.map_err(|error| {
        Failure::new(Code::SettingInvalid, format!("the CA's file `{}` can't be read: {error}", path.display()))
    })?;
    Ok(pem)
}

#[cfg(all(test, feature = "sandbox"))]
mod tests;

#[cfg(test)]
mod help_tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_text_is_as_it_should_be() {
        let mut cli = Cli::command().term_width(100);
        cli.build();
        insta::assert_snapshot!("help", cli.render_long_help());
        for command in cli.get_subcommands_mut().filter(|command| command.get_name() != "help") {
            insta::assert_snapshot!(format!("help-{}", command.get_name()), command.render_help());
        }
    }
}
