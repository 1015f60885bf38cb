//! `qdrs setup`: connects this station with a service, once.
//!
//! Asks for the access code, checks it with the service, and only then keeps it and writes the configuration file: a
//! setup that failed leaves what was there before.

use std::{
    io::{IsTerminal, Read},
    path::Path,
};

use qdrs_core::{
    access::AccessCode,
    api::{AccessInfo, Code, Kind},
};
use serde_json::json;
use zeroize::Zeroizing;

use super::connect_with;
use crate::{
    failure::Failure,
    keystore::{self, Place},
    outcome::Outcome,
    printer::{Printer, printable},
    secret_file,
    settings::{ConfigFile, FILE_VERSION, Origin, Setting, Settings, parse_service},
};

/// The longest line that is read from standard input, in bytes.
const CODE_BYTES_MAX: u64 = 4096;

/// Connect this station with a service: ask for the access code, check and keep it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// URL of the service, such as `https://qdrs.example`
    #[arg(value_name = "URL")]
    url: String,
}

/// Runs the command.
///
/// # Errors
///
/// When the code is none, the service refuses it or can't be reached, or nothing can be written.
pub async fn run(args: Args, settings: &mut Settings, printer: Printer) -> Result<Outcome, Failure> {
    if settings.sandbox {
        return Err(Failure::with_help(Code::SettingInvalid, "the sandbox needs no setup", "leave out `--sandbox`, or `setup`"));
    }
    let url = parse_service(args.url, &Origin::Flag("URL"))?;
    settings.set_service(Setting { value: url.clone(), origin: Origin::Flag("URL") })?;

    // A file that an earlier setup noted is about the code that is now replaced.
    let named = matches!(settings.code_file.origin, Origin::Flag(_) | Origin::Variable(_));
    let (code, from_file) = match settings.code_file.value.as_ref().filter(|_| named) {
        Some(path) => (keystore::from_file(path)?.0, Some(path.clone())),
        None => {
            // On a thread of its own: a person may press Ctrl-C instead.
            let asked = tokio::task::spawn_blocking(move || ask_for_code(printer)).await;
            (asked.map_err(|_| Failure::new(Code::Internal, "the prompt broke off"))??, None)
        }
    };
    if code.kind() != Kind::Station {
        return Err(Failure::with_help(
            Code::AccessCodeMalformed,
            format!("this is the access code of a {}, not of a station", code.kind()),
            "ask the product owner for a code of the kind `station`",
        ));
    }
    let client = connect_with(settings, code.clone(), super::PATIENCE_SHORT)?;
    super::tell_waits(&client, printer);
    let info = client.access().await?;

    let (place, because) = match &from_file {
        Some(path) => (Place::File(path.clone()), None),
        None => {
            let kept = keystore::keep(settings, &url, &code)?;
            (kept.place, kept.because)
        }
    };
    write_config(settings, from_file.as_deref())?;
    if printer.json {
        printer.event(&json!({
            "v": 1, "event": "setup", "service": url.as_str(), "station": *settings.station, "config": *settings.config,
            "code_kept_in": place.to_string(), "access": info,
        }));
        printer.summary(Outcome::AllPassed);
    } else {
        printer.talk(said(settings, &info, &place, because.as_deref()));
    }
    Ok(Outcome::AllPassed)
}

/// From a hidden prompt, or from standard input when that is no terminal; never from an argument.
fn ask_for_code(printer: Printer) -> Result<AccessCode, Failure> {
    let unreadable = |why: String| {
        Failure::with_help(
            Code::AccessCodeAbsent,
            format!("the access code can't be read: {why}"),
            "name a file with it: `--code-file FILE`",
        )
    };
    let text = if std::io::stdin().is_terminal() {
        let prompt = dialoguer::Password::new().with_prompt("Access code (it is not shown)").interact();
        Zeroizing::new(prompt.map_err(|error| match error {
            dialoguer::Error::IO(error) if error.kind() == std::io::ErrorKind::Interrupted => {
                Failure::new(Code::Interrupted, "interrupted")
            }
            error => unreadable(error.to_string()),
        })?)
    } else {
        printer.talk("reading the access code from standard input");
        let mut text = Zeroizing::new(String::new());
        std::io::stdin().take(CODE_BYTES_MAX).read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
        text
    };
    if text.trim().is_empty() {
        return Err(unreadable("nothing was given".into()));
    }
    Ok(AccessCode::parse(text.trim())?)
}

/// Writes the station's configuration: what was in the file stays, but for what setup has settled.
fn write_config(settings: &Settings, code_file: Option<&Path>) -> Result<(), Failure> {
    let path = &*settings.config;
    let unwritable = |error: std::io::Error| {
        Failure::new(Code::FileUnwritable, format!("the configuration file `{}` can't be written: {error}", path.display()))
    };
    let mut file = ConfigFile::read(&settings.config)?.unwrap_or_default();
    file.version = FILE_VERSION;
    file.service = settings.service.value.as_ref().map(ToString::to_string);
    file.station = Some(settings.station.value.clone());
    file.code_file = code_file.map(std::path::absolute).transpose().map_err(unwritable)?;
    if let (Origin::Flag(_) | Origin::Variable(_), Some(ca)) = (&settings.ca_file.origin, &settings.ca_file.value) {
        file.ca_file = Some(std::path::absolute(ca).map_err(unwritable)?);
    }
    if let Origin::Variable(_) = settings.key_store.origin {
        file.key_store = Some(settings.key_store.value);
    }
    let text = toml::to_string(&file)
        .map_err(|error| Failure::new(Code::Internal, format!("the configuration can't be written as TOML: {error}")))?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        secret_file::make_folder(folder).map_err(unwritable)?;
    }
    secret_file::write(path, format!("# Written by `qdrs setup`; `qdrs config` shows what holds.\n{text}").as_bytes())
        .map_err(unwritable)
}

fn said(settings: &Settings, info: &AccessInfo, place: &Place, because: Option<&str>) -> String {
    let left = match info.quota {
        Some(quota) => format!("{} of {quota} devices left", quota.saturating_sub(info.registered)),
        None => format!("{} devices registered, no limit of its own", info.registered),
    };
    let expires = info.expires.map(|time| format!(", until {}", time.strftime("%Y-%m-%d"))).unwrap_or_default();
    let mut text = format!(
        "The service knows this station's access code: `{}`, policy `{}`, {left}{expires}\nIt is kept in {place}",
        printable(&info.name),
        printable(&info.policy)
    );
    if let Some(why) = because {
        text.push_str(&format!(", readable by this user only, since the system's key store can't be used: {why}"));
    }
    text.push_str(&format!(
        "\nStation `{}`; settings are in {}\nNext: `qdrs ports`, then `qdrs provision --batch FILE --port PORT`",
        *settings.station,
        settings.config.display()
    ));
    text
}
