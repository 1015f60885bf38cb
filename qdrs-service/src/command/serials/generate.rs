//! `serials generate`: signed serials by the running number, for the label printer and for the batch.

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use qdrs_core::{
    csv_out::CsvWriter,
    policy::{
        Policy,
        body::{Body, DIGITS_DEFAULT},
    },
};

use super::symbol::Symbol;
use crate::{
    command::{guess, new_private_file, policy},
    config::Flags,
};

/// What may stand in a file's name on every system.
const FILE_NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    flags: Flags,
    /// The policy: a file that ends in `.toml`, or one of the config's by its name
    #[arg(long, value_name = "NAME|FILE")]
    policy: String,
    /// How many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    count: u64,
    /// The first one's number
    #[arg(long, value_name = "N", default_value_t = 1)]
    start: u64,
    /// What stands before the signature, as 'QD-{number}-' [default: `body` of the policy's `signed` rule]
    #[arg(long, value_name = "TEXT")]
    body: Option<String>,
    /// How many digits its number has [default: 6]
    #[arg(long, value_name = "N", requires = "body")]
    digits: Option<usize>,
    /// Where to write the CSV, mode 0600 [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Also write a symbol for each serial into this folder, as SVG
    #[arg(long, value_name = "DIR")]
    labels: Option<PathBuf>,
    /// Which symbol
    #[arg(long, value_name = "KIND", default_value = "qr", requires = "labels")]
    symbol: Symbol,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let (policy, rate) = policy::named_or_file(&args.flags, &args.policy)?;
    let Some(bits) = policy.guess_bits() else {
        bail!("policy `{}` does not sign serials; that takes a rule of `kind = \"signed\"`", policy.name);
    };
    let body = match (&args.body, policy.body()) {
        (Some(text), _) => Body::parse(text, args.digits.unwrap_or(DIGITS_DEFAULT)).map_err(anyhow::Error::msg)?,
        (None, Some(body)) => body.clone(),
        (None, None) => bail!(
            "policy `{}` does not say what serials begin with: add `body = \"QD-{{number}}-\"` to its `signed` rule, or give --body",
            policy.name
        ),
    };
    let last = args.start.checked_add(args.count - 1).filter(|last| body.write(*last).is_some());
    let Some(last) = last else {
        bail!("the number of the last one has more digits than the body has room for; give it more `digits`");
    };
    // The first one by itself: what a policy refuses is told before a file is made.
    write(args, &policy, &body, args.start..=args.start, &mut io::sink(), None)?;
    if let Some(folder) = &args.labels {
        private_folder(folder)?;
    }
    let out: Box<dyn Write> = match &args.out {
        Some(path) => Box::new(new_private_file(path)?),
        None => Box::new(io::stdout().lock()),
    };
    write(args, &policy, &body, args.start..=last, &mut BufWriter::new(out), args.labels.as_deref())?;
    let mut stderr = io::stderr().lock();
    writeln!(stderr, "{} serials, {} to {last}; the next ones begin with --start {}", args.count, args.start, last + 1)?;
    writeln!(stderr, "{}", guess::in_words(bits, rate))?;
    Ok(ExitCode::SUCCESS)
}

/// A folder that only this user can look into: the names of its files are serials that nobody is to guess.
fn private_folder(folder: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).with_context(|| format!("can't make the folder {}", folder.display()))?;
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&fs_err::metadata(folder)?.permissions()) & 0o077 != 0 {
        let folder = folder.display();
        bail!(
            "others can look into {folder}, and the symbols' names are the serials; `chmod 700 {folder}`, or name a new folder"
        );
    }
    Ok(())
}

/// Writes the CSV, and the symbols where a folder for them is given.
fn write(
    args: &Args,
    policy: &Policy,
    body: &Body,
    numbers: std::ops::RangeInclusive<u64>,
    out: &mut dyn Write,
    labels: Option<&Path>,
) -> Result<()> {
    let mut csv = CsvWriter::new(out);
    csv.write(["serial", "label"])?;
    for number in numbers {
        let text = body.write(number).context("the number has no room")?;
        let serial = policy.sign(&text)?;
        let label = policy.label(&text, &serial);
        csv.write([serial.as_str(), &label])?;
        if let Some(folder) = labels {
            let name = format!("{}.svg", utf8_percent_encode(serial.as_str(), FILE_NAME));
            let svg = args.symbol.svg(serial.as_str(), &label)?;
            new_private_file(&folder.join(name))?.write_all(svg.as_bytes()).context("can't write a symbol")?;
        }
    }
    csv.flush().context("can't write the serials")
}
