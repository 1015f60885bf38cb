//! `serials key`: a new signing key, in a file that only its owner can read.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use data_encoding::BASE64;
use zeroize::Zeroizing;

use crate::command::new_private_file;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file to write; one that is there is left as it is
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(args: Args) -> Result<ExitCode> {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(key.as_mut_slice()).context("the system gives no random bytes")?;
    let text = Zeroizing::new(BASE64.encode(key.as_slice()) + "\n");
    let mut file = new_private_file(&args.out)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.with_context(|| format!("can't write {}", args.out.display()))?;
    writeln!(
        io::stderr(),
        "{} holds a new signing key. Name it in the policy's `signed` rule (`key_file`), and keep a copy in a safe place: \
         whoever has it can make valid serials, and without it no more can be made or checked",
        args.out.display()
    )?;
    Ok(ExitCode::SUCCESS)
}
