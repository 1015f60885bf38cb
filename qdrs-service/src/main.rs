//! `qdrs-service`: parse, one match, outcome to exit code.

use std::process::ExitCode;

use clap::Parser as _;
use qdrs_service::command::{self, Cli};

fn main() -> ExitCode {
    let cli = Cli::parse();
    command::log_to_stderr();
    match command::run(cli) {
        Ok(code) => code,
        Err(error) => command::explain(&error),
    }
}
