//! `qdrs-service policy`: what a policy makes of serials, rule by rule, before a line depends on it; and the policy itself, as
//! this version reads it.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use qdrs_core::{
    explain::Explain,
    policy::{Outcome, Policy, Verdict, nearest},
};
use serde::Serialize;

use super::guess;
use crate::{
    config::{self, Config, Flags},
    env,
    limits::Limits,
};

/// The version of a line of `--json`.
const JSON_VERSION: u32 = 1;

/// How many valid serials are named that a refused one may have been.
const NEAREST_MAX: usize = 3;

/// Try and show the policies that say which serials are valid
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show what each rule of a policy says of each serial; exits with 1 when one is refused
    #[command(
        override_usage = "qdrs-service policy test [--json] FILE SERIAL...\n       qdrs-service policy test [--json] --config FILE --policy NAME SERIAL..."
    )]
    Test(Test),
    /// Print a policy as this version reads it, in TOML; its comments and what is the default anyway are left out
    Show(Show),
}

/// `policy show`: needs neither the lists nor the keys that the policy names.
#[derive(Debug, clap::Args)]
struct Show {
    #[command(flatten)]
    flags: Flags,
    /// A file that ends in `.toml`, or one of the config's policies by its name
    #[arg(value_name = "NAME|FILE")]
    policy: String,
}

/// `policy test`: see [`run`].
#[derive(Debug, clap::Args)]
struct Test {
    /// The service's configuration, whose `[policies.NAME]` is tried
    #[arg(long, value_name = "FILE", requires = "policy")]
    config: Option<PathBuf>,
    /// Which of the configuration's policies
    #[arg(long, value_name = "NAME", requires = "config")]
    policy: Option<String>,
    /// Print one JSON object a line, one for each serial
    #[arg(long)]
    json: bool,
    /// The policy's file, unless `--config` says where it is; then serials, as a label or a scanner has them. One that begins
    /// with `-` goes after `--`
    #[arg(value_name = "FILE SERIAL", required = true)]
    words: Vec<String>,
}

/// Runs the command.
///
/// # Errors
///
/// The policy can't be read, or standard output can't be written. A refused serial is no error but exit code 1.
pub fn run(args: Args) -> Result<ExitCode> {
    let mut out = io::stdout().lock();
    let test = match args.command {
        Command::Test(test) => test,
        Command::Show(show) => {
            write!(out, "{}", show.policy()?).context("can't write the policy")?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let (policy, serials) = test.policy_and_serials()?;
    let all_valid = if test.json { print_json(&policy, serials, &mut out) } else { print_table(&policy, serials, &mut out) };
    Ok(if all_valid.context("can't write the verdicts")? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Test {
    fn policy_and_serials(&self) -> Result<(Policy, &[String])> {
        let (policy, serials) = match (&self.config, &self.policy, self.words.split_first()) {
            (Some(config), Some(name), _) => (from_config(config, name)?, self.words.as_slice()),
            (_, _, Some((file, serials))) => (from_file(Path::new(file))?, serials),
            (_, _, None) => bail!("no policy to try: give its file, or `--config FILE --policy NAME`"),
        };
        if serials.is_empty() {
            bail!("no serial to try: give one or more after the policy");
        }
        Ok((policy, serials))
    }
}

impl Show {
    fn policy(&self) -> Result<Policy> {
        if self.policy.ends_with(".toml") {
            return written_in(Path::new(&self.policy));
        }
        Ok(Config::load(&self.flags, &env::process)?.policy(Some(&self.policy))?.clone())
    }
}

/// A policy ready to be asked, from a file that ends in `.toml` or the config's of that name; and how many requests a minute
/// an access code may make.
pub(super) fn named_or_file(flags: &Flags, which: &str) -> Result<(Policy, u32)> {
    if which.ends_with(".toml") {
        return Ok((from_file(Path::new(which))?, Limits::default().code_per_minute));
    }
    let config = Config::load(flags, &env::process)?;
    config.policy(Some(which))?;
    let policy = config.policies.only(which).loaded(&env::process)?.remove(which);
    Ok((policy.with_context(|| format!("there is no policy `{which}`"))?, config.limits.code_per_minute))
}

/// A policy in a file of its own is called as the file.
fn written_in(file: &Path) -> Result<Policy> {
    let text = fs_err::read_to_string(file)?;
    let name = file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    Policy::parse(&name, &text).with_context(|| format!("can't use {}", file.display()))
}

/// The same, with its lists and keys.
fn from_file(file: &Path) -> Result<Policy> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let policy = config::load_policy(written_in(file)?, folder, &env::process);
    policy.with_context(|| format!("can't use {}", file.display()))
}

fn from_config(file: &Path, name: &str) -> Result<Policy> {
    let policies = config::read_policies(file)?;
    let known: Vec<_> = policies.names().iter().map(|known| format!("`{known}`")).collect();
    let Some(policy) = policies.only(name).loaded(&env::process)?.remove(name) else {
        bail!(
            "{} has no policy `{name}`; it has {}",
            file.display(),
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        );
    };
    Ok(policy)
}

/// True when every serial is valid.
fn print_table(policy: &Policy, serials: &[String], out: &mut impl Write) -> io::Result<bool> {
    let mut valid = 0;
    for given in serials {
        match policy.check(given).and_then(|serial| policy.device_id(&serial).map(|device_id| (serial, device_id))) {
            Ok((serial, device_id)) => {
                valid += 1;
                writeln!(out, "{serial}  valid, device id {device_id}")?;
            }
            Err(error) => {
                writeln!(out, "REFUSED  {error} ({})", error.code())?;
                if let Some(words) = nearest::in_words(&policy.nearest(given, &|_| false, NEAREST_MAX)) {
                    writeln!(out, "         {words}")?;
                }
            }
        }
        for verdict in policy.explain(given) {
            let word = match verdict.outcome {
                Outcome::Holds => "yes",
                Outcome::Fails => "NO",
                Outcome::NotJudged => "-",
            };
            writeln!(out, "  {word:<3}  {}", verdict.rule)?;
        }
        writeln!(out)?;
    }
    writeln!(out, "{valid} of {} valid under policy `{}`", serials.len(), policy.name)?;
    if let Some(bits) = policy.guess_bits() {
        writeln!(out, "it signs serials: {}", guess::in_words(bits, Limits::default().code_per_minute))?;
    }
    Ok(valid == serials.len())
}

/// One line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    policy: &'a str,
    given: &'a str,
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nearest: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guess_bits: Option<usize>,
    rules: &'a [Verdict],
}

/// True when every serial is valid.
fn print_json(policy: &Policy, serials: &[String], out: &mut impl Write) -> io::Result<bool> {
    let mut all_valid = true;
    for given in serials {
        let checked = policy.check(given).and_then(|serial| policy.device_id(&serial).map(|device_id| (serial, device_id)));
        all_valid &= checked.is_ok();
        let (found, error) = (checked.as_ref().ok(), checked.as_ref().err());
        let line = Line {
            v: JSON_VERSION,
            policy: &policy.name,
            given,
            valid: checked.is_ok(),
            serial: found.map(|(serial, _)| serial.as_str()),
            device_id: found.map(|(_, device_id)| device_id.as_str()),
            code: error.map(|error| error.code().as_str()),
            detail: error.map(ToString::to_string),
            nearest: policy
                .nearest(given, &|_| false, NEAREST_MAX)
                .near
                .into_iter()
                .map(|near| near.serial.to_string())
                .collect(),
            guess_bits: policy.guess_bits(),
            rules: &policy.explain(given),
        };
        serde_json::to_writer(&mut *out, &line)?;
        writeln!(out)?;
    }
    Ok(all_valid)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    const SEVENS: &str = "[[rule]]\nkind = \"divisible\"\nby = 7\nsay = \"the number must be a multiple of 7\"\n";

    fn test(words: &[&str]) -> Test {
        let cli = Cli::try_parse_from(["policy", "test"].iter().chain(words)).unwrap_or_else(|error| panic!("{error}"));
        match cli.args.command {
            Command::Test(test) => test,
            Command::Show(show) => panic!("{show:?}"),
        }
    }

    fn shown(words: &[&str]) -> Result<String> {
        let cli = Cli::try_parse_from(["policy", "show"].iter().chain(words)).unwrap_or_else(|error| panic!("{error}"));
        match cli.args.command {
            Command::Show(show) => Ok(show.policy()?.to_string()),
            Command::Test(test) => panic!("{test:?}"),
        }
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    #[test]
    fn a_table_says_what_each_rule_makes_of_each_serial() {
        let folder = folder();
        let file = folder.path().join("sevens.toml");
        fs_err::write(&file, SEVENS).expect("is written");
        let test = test(&[&file.to_string_lossy(), "21", "22"]);
        let (policy, serials) = test.policy_and_serials().expect("is read");
        let mut out = Vec::new();
        assert!(!print_table(&policy, serials, &mut out).expect("is printed"));
        assert_eq!(
            String::from_utf8_lossy(&out),
            "21  valid, device id 21
  yes  it has 1 to 128 characters
  yes  it has ASCII letters, digits and signs only, and no blank
  yes  the number must be a multiple of 7
  yes  its device id is `{serial}`

REFUSED  serial `22` is not valid: the number must be a multiple of 7 (it is not a multiple of 7) (serial-invalid)
         is it `42` (one character wrong), `21` (one character wrong) or `28` (one character wrong)?
  yes  it has 1 to 128 characters
  yes  it has ASCII letters, digits and signs only, and no blank
  NO   the number must be a multiple of 7
  yes  its device id is `{serial}`

1 of 2 valid under policy `sevens`
"
        );
    }

    #[test]
    fn json_has_a_line_for_each_serial() {
        let policy = Policy::parse("sevens", SEVENS).unwrap_or_else(|error| panic!("{error}"));
        let mut out = Vec::new();
        assert!(!print_json(&policy, &[" 21 ".to_owned(), "x\u{1b}".to_owned()], &mut out).expect("is printed"));
        let lines: Vec<serde_json::Value> =
            String::from_utf8_lossy(&out).lines().map(|line| serde_json::from_str(line).expect("is JSON")).collect();
        assert_eq!((&lines[0]["serial"], &lines[0]["given"], &lines[0]["valid"]), (&"21".into(), &" 21 ".into(), &true.into()));
        assert_eq!((&lines[1]["code"], &lines[1]["rules"][1]["outcome"]), (&"serial-invalid".into(), &"fails".into()));
        assert_eq!(lines.len(), 2);
        let mut out = Vec::new();
        assert!(!print_json(&policy, &["12".to_owned()], &mut out).expect("is printed"));
        assert!(String::from_utf8_lossy(&out).contains("\"nearest\":[\"21\"]"), "two swapped: {}", String::from_utf8_lossy(&out));
    }

    #[test]
    fn a_configuration_is_asked_by_name() {
        let folder = folder();
        let file = folder.path().join("service.toml");
        fs_err::write(&file, "version = 1\nlisten = \"127.0.0.1:0\"\n[[policies.sevens.rule]]\nkind = \"divisible\"\nby = 7\n")
            .expect("is written");
        let file = file.to_string_lossy();
        let named = |name| test(&["--config", &file, "--policy", name, "21"]).policy_and_serials().map(|(policy, _)| policy.name);
        assert_eq!(named("sevens").expect("is found"), "sevens");
        assert_eq!(
            named("eights").expect_err("is refused").to_string(),
            format!("{file} has no policy `eights`; it has `sevens`")
        );
    }

    #[test]
    fn a_policy_is_shown_without_what_it_needs_to_be_asked() {
        let folder = folder();
        let written = |name: &str, text: &str| {
            let file = folder.path().join(name);
            fs_err::write(&file, text).expect("is written");
            file.to_string_lossy().into_owned()
        };
        let toml = "# Boxes.\n[[rule]]\nkey_file = \"nowhere.key\"\nkind = \"signed\"\ncharacters = 8 # the default\n";
        let shown_as = "[[rule]]\nkind = \"signed\"\nkey_file = \"nowhere.key\"\n";
        let boxes = written("boxes.toml", toml);
        assert_eq!(shown(&[&boxes]).expect("is read"), shown_as);
        let config = written("service.toml", "version = 1\npolicy_files = [\"boxes.toml\"]\n");
        assert_eq!(shown(&["boxes", "--config", &config]).expect("is read"), shown_as);
        let error = shown(&["bags", "--config", &config]).expect_err("is refused").to_string();
        assert!(error.contains("`bags`") && error.contains("boxes"), "{error}");
        let error = shown(&[&written("bad.toml", "[[rule]]\nkind = \"signed\"\n")]).expect_err("is refused");
        assert!(format!("{error:#}").contains("bad.toml: policy `bad`, line 1: a `signed` rule needs `key_file`"), "{error:#}");
    }

    #[test]
    fn a_forgotten_serial_is_told() {
        let folder = folder();
        let file = folder.path().join("sevens.toml");
        fs_err::write(&file, SEVENS).expect("is written");
        let error = test(&[&file.to_string_lossy()]).policy_and_serials().expect_err("is refused");
        assert_eq!(error.to_string(), "no serial to try: give one or more after the policy");
    }
}
