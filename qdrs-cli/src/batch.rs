//! The batch that a command line names: how its file is read, and which policy its serials must follow.
//!
//! Opens files; what is in them is [`qdrs_core::batch`]'s to read and judge.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use qdrs_core::{
    api::Code,
    batch::{self, BATCH_BYTES_MAX, Batch, BatchError, Examined, Rules, Taken},
    client::Client,
    explain::Explain as _,
    policy::Policy,
};

use crate::failure::Failure;

/// The longest policy file, in bytes.
const POLICY_BYTES_MAX: u64 = 1024 * 1024;
/// The longest list of a policy, in bytes.
const LIST_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// How a batch is read: the same flags for every command that reads one.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "How the batch is read")]
pub struct Reading {
    /// Column with the serial numbers: its name, or its number from 1 (of an .xlsx its letter, too)
    #[arg(long, value_name = "NAME|N")]
    pub column: Option<String>,
    /// Sheet of an .xlsx [default: the first with data]
    #[arg(long, value_name = "NAME")]
    pub sheet: Option<String>,
    /// Policy that the serial numbers must follow, as a file from the product owner
    #[arg(long, value_name = "FILE.toml")]
    pub policy: Option<PathBuf>,
    /// Whether the list has a header [default: found out, and asked where it can't be]
    #[arg(long, value_name = "yes|no", value_parser = clap::builder::BoolishValueParser::new(), hide_possible_values = true)]
    pub header: Option<bool>,
    /// Keep further columns and cells that may hold secrets; without it they stay out of journal, report and the owner's books
    #[arg(long)]
    pub keep_secrets: bool,
    /// Go on with the good rows, and say which are left out
    #[arg(long)]
    pub skip_bad: bool,
}

impl Reading {
    /// Refuses flags that would say nothing.
    ///
    /// # Errors
    ///
    /// When any is set.
    pub fn refuse_without_batch(&self) -> Result<(), Failure> {
        if *self == Self::default() {
            return Ok(());
        }
        let help = "leave out `--column`, `--sheet`, `--header`, `--policy`, `--keep-secrets` and `--skip-bad`: they say how a batch is read";
        Err(Failure::with_help(Code::SettingInvalid, "a single serial number is no batch", help).at("SERIAL"))
    }

    /// What a serial must be: the named policy's, or that of the service.
    ///
    /// # Errors
    ///
    /// When the policy can't be used or the service can't be asked.
    pub async fn rules_of(&self, service: &Client) -> Result<Rules, Failure> {
        if self.policy.is_some() {
            return self.rules();
        }
        match service.policy().await {
            Ok(text) => Ok(Rules::of_service(Policy::parse(&text.name, &text.toml)?, text.whole)),
            // An older service judges each serial when it is registered.
            Err(error) if error.code() == Code::RouteUnknown => Ok(Rules::none()),
            Err(error) => Err(error.into()),
        }
    }

    /// What a serial must be: the named policy's, or what holds for every serial.
    ///
    /// # Errors
    ///
    /// When the policy can't be used.
    pub fn rules(&self) -> Result<Rules, Failure> {
        self.policy.as_deref().map_or_else(|| Ok(Rules::none()), |path| Ok(Rules::of(read_policy(path)?)))
    }

    /// Reads a batch: all of it, or nothing if anything is wrong; with `--skip-bad` the good rows.
    ///
    /// # Errors
    ///
    /// All that is wrong with the file, at once.
    pub fn batch(&self, path: &Path, rules: &Rules) -> Result<(Batch, Examined), BatchError> {
        Batch::read(open(path)?, path, &self.of_file(), rules)
    }

    /// Is the file there? Told before the service is asked for its policy.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub fn there_is(path: &Path) -> Result<(), BatchError> {
        // Not opened: a pipe can be opened only once.
        fs::metadata(path).map(|_| ()).map_err(|source| BatchError::Unreadable { path: path.to_owned(), source })
    }

    /// Looks at all of a batch, and gives each row that is good so far to `take`.
    ///
    /// # Errors
    ///
    /// When the file is no batch. Bad rows are no error here.
    pub fn examine(&self, path: &Path, rules: &Rules, take: &mut dyn FnMut(Taken<'_>) -> bool) -> Result<Examined, BatchError> {
        batch::examine(open(path)?, path, &self.of_file(), rules, take)
    }

    fn of_file(&self) -> batch::Reading {
        batch::Reading {
            column: self.column.clone(),
            sheet: self.sheet.clone(),
            skip_bad: self.skip_bad,
            keep_secrets: self.keep_secrets,
            header: self.header,
        }
    }
}

/// What a batch is read from, several times.
trait Bytes: io::Read + io::Seek {}

impl<T: io::Read + io::Seek> Bytes for T {}

/// Opens a batch. What comes out of a pipe can be read once only, so it is kept in a file without a name.
fn open(path: &Path) -> Result<Box<dyn Bytes>, BatchError> {
    let opened = File::open(path).and_then(|file| -> io::Result<Box<dyn Bytes>> {
        if file.metadata()?.is_file() {
            return Ok(Box::new(file));
        }
        let mut kept = tempfile::tempfile()?;
        io::copy(&mut file.take(BATCH_BYTES_MAX + 1), &mut kept)?;
        Ok(Box::new(kept))
    });
    opened.map_err(|source| BatchError::Unreadable { path: path.to_owned(), source })
}

/// The owner's policy; its lists are read from beside it. One whose serials only the owner's key can check is refused.
fn read_policy(path: &Path) -> Result<Policy, Failure> {
    let unreadable =
        |error: io::Error| Failure::new(Code::SettingInvalid, format!("the policy `{}` can't be read: {error}", path.display()));
    let toml = read_up_to(path, POLICY_BYTES_MAX).map_err(unreadable)?;
    let toml = String::from_utf8(toml).map_err(|_| unreadable(io::Error::from(io::ErrorKind::InvalidData)))?;
    let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let unsound = |error| Failure::from(error).at(path.display());
    let policy = Policy::parse(&name, &toml).map_err(unsound)?;
    if policy.guess_bits().is_some() {
        let help = "leave `--policy` out: the form is checked here, and the service checks each signature";
        let text = format!("the serials of policy `{name}` are signed, and only the service has the key");
        return Err(Failure::with_help(Code::SettingInvalid, text, help).at(path.display()));
    }
    if !policy.wants() {
        return Ok(policy);
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut list = |name: &str| read_up_to(&folder.join(name), LIST_BYTES_MAX).map_err(|error| error.to_string());
    policy.load(&mut list, &mut |_| Err("only the service has it".into())).map_err(unsound)
}

/// All of a file, unless it is longer than any may be.
fn read_up_to(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max { Err(io::Error::from(io::ErrorKind::FileTooLarge)) } else { Ok(bytes) }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{io::Write as _, os::fd::AsRawFd as _};

    use super::*;

    #[test]
    fn a_batch_may_come_out_of_a_pipe() {
        let (from, mut to) = io::pipe().expect("opens");
        to.write_all(b"serial\nA1\nA2\n").expect("fits");
        drop(to);
        let path = PathBuf::from(format!("/dev/fd/{}", from.as_raw_fd()));
        let (batch, _) = Reading::default().batch(&path, &Rules::none()).expect("reads");
        assert_eq!(batch.rows.iter().map(|row| &*row.serial).collect::<Vec<_>>(), ["A1", "A2"]);
    }
}
