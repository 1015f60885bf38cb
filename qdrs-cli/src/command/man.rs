//! `qdrs man`: the manual pages, made from the same text as `--help`.

use std::path::PathBuf;

use clap::CommandFactory;
use clap_mangen::Man;
use qdrs_core::api::Code;

use super::Cli;
use crate::{failure::Failure, outcome::Outcome, printer::to_stdout};

/// Print the manual page, or write all of them to a folder.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write a page for each command to this folder
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
///
/// When stdout or the folder can't be written.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let (place, written) = match &args.dir {
        Some(folder) => (
            folder.display().to_string(),
            std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Cli::command(), folder)),
        ),
        None => ("stdout".to_owned(), page().and_then(|page| to_stdout(&page))),
    };
    written.map_err(|error| Failure::new(Code::FileUnwritable, format!("{place} can't be written: {error}")))?;
    Ok(Outcome::AllPassed)
}

fn page() -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(Cli::command()).render(&mut page)?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_page_for_each_command() {
        assert!(String::from_utf8(page().expect("renders")).expect("is text").starts_with(".ie"));
        let folder = tempfile::tempdir().expect("a folder");
        run(&Args { dir: Some(folder.path().to_owned()) }).expect("writes");
        for command in Cli::command().get_subcommands() {
            assert!(folder.path().join(format!("qdrs-{}.1", command.get_name())).exists(), "no page for {}", command.get_name());
        }
    }
}
