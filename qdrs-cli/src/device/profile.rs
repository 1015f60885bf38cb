//! A device profile: which kind of device, what each gets besides its connection string, how its time in the slot ends.
//!
//! It is a kind's word, or a small TOML file; single settings on the command line win over the file. A secret stands in a
//! file of its own that only its owner can read, never in the profile and never in an argument.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use qdrs_core::{
    api::{Code, Evidence, UnknownWord},
    explain::Explain,
};
use serde::Deserialize;
use toml::{Spanned, Value};
use zeroize::Zeroizing;

use super::{
    Kind,
    mxchip::BoardId,
    texxmo::{self, ButtonSettings, Ending, Given, SettingError},
};
use crate::secret_file::{self, ReadError};

/// The version of the file that this QDRS reads.
pub const VERSION: i64 = 1;
/// The longest file, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// How the devices of a run are written.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Their kind.
    pub kind: Kind,
    /// How a button's time in the slot ends.
    pub(crate) ending: Ending,
    /// What each button gets besides its connection string.
    pub(crate) button: Arc<ButtonSettings>,
    /// The identifier by which AZ3166 boards are told apart.
    pub(crate) board_id: BoardId,
    /// The least evidence that the policy asks for, as far as it is known: a device that can't show it is not written.
    pub least: Evidence,
}

/// Nothing but the connection string.
impl From<Kind> for Profile {
    fn from(kind: Kind) -> Self {
        Self { kind, ending: Ending::default(), button: Arc::default(), board_id: BoardId::default(), least: Evidence::Accepted }
    }
}

/// Is that a profile's file, and no kind's word?
pub fn is_file(device: &str) -> bool {
    Path::new(device).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml"))
}

impl Profile {
    /// The profile that is named, a kind or a file, with the settings of `--set` and `--set-file` in it.
    ///
    /// # Errors
    /// A file that can't be read, is no profile, or has a setting that the device does not take.
    pub fn settle(device: &str, set: &[String], set_file: &[String]) -> Result<Self, ProfileError> {
        let mut draft = if is_file(device) {
            let path = Path::new(device);
            Draft::parse(path, &read(path).map_err(|source| Fault::Unreadable(source).in_file(path, None))?)?
        } else {
            Draft::of(device.parse().map_err(|unknown| ProfileError { fault: Fault::Word(unknown), at: None })?)
        };
        let mut named = BTreeSet::new();
        for (flag, argument) in set.iter().map(|text| ("--set", text)).chain(set_file.iter().map(|text| ("--set-file", text))) {
            let at = |fault: Fault, place: String| ProfileError { fault, at: Some(place) };
            // What has no `=` may be a secret all the same: it is not repeated.
            let (name, value) = argument.split_once('=').ok_or_else(|| at(Fault::NoValue(flag), flag.to_owned()))?;
            let place = format!("{flag} {name}");
            let given = if flag == "--set" {
                if texxmo::is_secret(name) {
                    return Err(at(Fault::SecretArgument(name.to_owned()), place));
                }
                Given::Text(Zeroizing::new(value.to_owned()))
            } else {
                read_secret(Path::new(value)).map_err(|fault| at(fault, place.clone()))?
            };
            if !named.insert(name) {
                return Err(at(Fault::Twice(name.to_owned()), place));
            }
            draft.give(name, given).map_err(|fault| at(fault, place))?;
        }
        Ok(draft.profile())
    }

    /// What is set besides the connection string, by name only, and how it ends; none when there is nothing to say.
    pub fn more(&self) -> Option<String> {
        let names: Vec<_> = self.button.names().collect();
        let finish = (self.ending != Ending::default()).then(|| format!("finish {}", self.ending.as_str()));
        let sets = (!names.is_empty()).then(|| format!("sets {}", names.join(", ")));
        let board_id = (self.board_id == BoardId::Usb).then(|| "boards known by their USB serial number".to_owned());
        let parts: Vec<_> = sets.into_iter().chain(finish).chain(board_id).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// A profile that still takes settings.
struct Draft {
    kind: Kind,
    ending: Ending,
    board_id: BoardId,
    button: ButtonSettings,
}

/// The file as it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "version")]
    _version: Spanned<i64>,
    kind: Spanned<String>,
    finish: Option<Spanned<String>>,
    board_id: Option<Spanned<String>>,
    #[serde(default)]
    set: BTreeMap<Spanned<String>, Value>,
    #[serde(default)]
    set_file: BTreeMap<Spanned<String>, PathBuf>,
}

impl Draft {
    fn of(kind: Kind) -> Self {
        Self { kind, ending: Ending::default(), board_id: BoardId::default(), button: ButtonSettings::default() }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ProfileError> {
        let line = |at: usize| Some(1 + text[..at.min(text.len())].matches('\n').count());
        let wrong = |error: toml::de::Error| {
            let at = error.span().and_then(|span| line(span.start));
            Fault::Toml(error.message().replace('\n', " ")).in_file(path, at)
        };
        // The version first: a newer file may have other members.
        let table: toml::Table = toml::from_str(text).map_err(wrong)?;
        if let Some(found) = table.get("version").and_then(Value::as_integer).filter(|found| *found != VERSION) {
            return Err(Fault::Version(found).in_file(path, None));
        }
        let file: File = toml::from_str(text).map_err(wrong)?;

        fn word<T: FromStr<Err = UnknownWord>>(word: &Spanned<String>) -> Result<T, (Fault, usize)> {
            word.get_ref().parse().map_err(|unknown| (Fault::Word(unknown), word.span().start))
        }
        let found = || -> Result<Self, (Fault, usize)> {
            let mut draft = Self::of(word(&file.kind)?);
            if let Some(finish) = &file.finish {
                if draft.kind != Kind::Texxmo {
                    return Err((Fault::EndsItsOwnWay(draft.kind), finish.span().start));
                }
                draft.ending = word(finish)?;
            }
            if let Some(board_id) = &file.board_id {
                if draft.kind != Kind::Mxchip {
                    return Err((Fault::KnowsItsBoard(draft.kind), board_id.span().start));
                }
                draft.board_id = word(board_id)?;
            }
            for (name, value) in file.set {
                let at = |fault| (fault, name.span().start);
                if texxmo::is_secret(name.get_ref()) {
                    return Err(at(Fault::SecretInProfile(name.get_ref().clone())));
                }
                if file.set_file.contains_key(name.get_ref().as_str()) {
                    return Err(at(Fault::Twice(name.get_ref().clone())));
                }
                let given = given(name.get_ref(), value).map_err(at)?;
                draft.give(name.get_ref(), given).map_err(at)?;
            }
            for (name, file) in file.set_file {
                let at = |fault| (fault, name.span().start);
                let file = path.parent().map_or(file.clone(), |folder| folder.join(&file));
                draft.give(name.get_ref(), read_secret(&file).map_err(at)?).map_err(at)?;
            }
            Ok(draft)
        };
        found().map_err(|(fault, at)| fault.in_file(path, line(at)))
    }

    fn give(&mut self, name: &str, value: Given) -> Result<(), Fault> {
        if self.kind != Kind::Texxmo {
            return Err(Fault::TakesNone(self.kind));
        }
        Ok(self.button.give(name, value)?)
    }

    fn profile(self) -> Profile {
        Profile { ending: self.ending, board_id: self.board_id, button: Arc::new(self.button), ..self.kind.into() }
    }
}

/// A value of the file; a table is for a setting that wants JSON, as text.
fn given(name: &str, value: Value) -> Result<Given, Fault> {
    match value {
        Value::String(text) => Ok(Given::Text(Zeroizing::new(text))),
        Value::Integer(number) => Ok(Given::Number(number)),
        Value::Table(_) if name == "userjson" => {
            let json = json(value).ok_or_else(|| Fault::NoJson(name.to_owned()))?;
            Ok(Given::Text(Zeroizing::new(json.to_string())))
        }
        _ => Err(Fault::WrongType(name.to_owned())),
    }
}

/// The same as JSON; none for numbers that JSON does not have. Times become text.
fn json(value: Value) -> Option<serde_json::Value> {
    Some(match value {
        Value::String(text) => text.into(),
        Value::Integer(number) => number.into(),
        Value::Float(number) => serde_json::Number::from_f64(number)?.into(),
        Value::Boolean(flag) => flag.into(),
        Value::Datetime(time) => time.to_string().into(),
        Value::Array(list) => list.into_iter().map(json).collect::<Option<Vec<_>>>()?.into(),
        Value::Table(table) => {
            let members = table.into_iter().map(|(name, value)| Some((name, json(value)?)));
            serde_json::Value::Object(members.collect::<Option<_>>()?)
        }
    })
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    std::io::Read::read_to_string(&mut std::io::Read::take(file, FILE_BYTES_MAX), &mut text)?;
    Ok(text)
}

/// What a file holds that only its owner can read, without the line end that editors add.
fn read_secret(path: &Path) -> Result<Given, Fault> {
    let bytes = secret_file::read(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Fault::NotText(path.to_owned()))?;
    let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(Given::Text(Zeroizing::new(text.to_owned())))
}

/// Why a profile can't be used, and where that stands. Never holds a value.
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct ProfileError {
    #[source]
    fault: Fault,
    at: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the device profile can't be read: {0}")]
    Unreadable(std::io::Error),
    #[error("the device profile is wrong: {0}")]
    Toml(String),
    #[error("the device profile has version {0}; this QDRS reads version {VERSION}")]
    Version(i64),
    #[error(transparent)]
    Word(UnknownWord),
    #[error("devices of kind `{0}` take no further settings")]
    TakesNone(Kind),
    #[error("devices of kind `{0}` have only one way to finish")]
    EndsItsOwnWay(Kind),
    #[error("`board_id` is for devices of kind `mxchip`; devices of kind `{0}` need none")]
    KnowsItsBoard(Kind),
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error("`{0}` takes a text or a whole number")]
    WrongType(String),
    #[error("`{0}` holds a number that JSON does not have")]
    NoJson(String),
    #[error("`{0}` is set twice")]
    Twice(String),
    #[error("`{0}` without `=`: it takes a setting's name, `=` and what is to be set")]
    NoValue(&'static str),
    #[error("`{0}` can't be given as an argument, which everyone on this computer sees: use `--set-file {0}=FILE`")]
    SecretArgument(String),
    #[error("`{0}` does not belong into a profile, which others may read: name a file with it below `[set_file]`")]
    SecretInProfile(String),
    #[error(transparent)]
    SecretFile(#[from] ReadError),
    #[error("`{}` holds no text", .0.display())]
    NotText(PathBuf),
}

impl Fault {
    fn in_file(self, path: &Path, line: Option<usize>) -> ProfileError {
        let line = line.map_or(String::new(), |line| format!(", line {line}"));
        ProfileError { fault: self, at: Some(format!("{}{line}", path.display())) }
    }
}

impl Explain for ProfileError {
    fn code(&self) -> Code {
        Code::SettingInvalid
    }

    fn at(&self) -> Option<String> {
        self.at.clone()
    }

    fn help(&self) -> String {
        match &self.fault {
            Fault::Unreadable(_) => "check its path and permissions".to_owned(),
            Fault::Toml(_) => "mend the file; `samples/profiles/texxmo.toml` is one to go by".to_owned(),
            Fault::Version(_) => "use the QDRS that it was written for, or another profile".to_owned(),
            // Of `--device` itself.
            Fault::Word(_) if self.at.is_none() => "name another one, or a profile `FILE.toml`, with `--device`".to_owned(),
            Fault::Word(_) => "mend the file".to_owned(),
            Fault::TakesNone(_) => "leave the settings out, or name another kind of device".to_owned(),
            Fault::KnowsItsBoard(_) => "leave `board_id` out".to_owned(),
            Fault::EndsItsOwnWay(_) => "leave `finish` out".to_owned(),
            Fault::Setting(error) => error.help(),
            Fault::WrongType(_) | Fault::NoJson(_) => "mend the value; a table is for `userjson` only".to_owned(),
            Fault::Twice(_) => "leave one of them out".to_owned(),
            Fault::NoValue(flag) => format!("write `{flag} ssid=…`, and mind the quotes of your shell"),
            Fault::SecretArgument(_) | Fault::SecretInProfile(_) => "put it into a file that only you can read".to_owned(),
            Fault::SecretFile(ReadError::OpenToOthers { path, .. }) => format!("`chmod 600 {}`", path.display()),
            Fault::SecretFile(_) | Fault::NotText(_) => "check which file is named".to_owned(),
        }
    }
}

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;
