//! `qdrs config`: each setting and where it comes from, for the moment when something is not as expected.

use serde_json::json;

use crate::{
    device::profile::{self, Profile},
    env,
    failure::Failure,
    keystore::{self, KeystoreError},
    outcome::Outcome,
    printer::Printer,
    settings::{Setting, Settings},
};

/// Show each setting and where it comes from.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
///
/// None at present.
pub fn run(_: &Args, settings: &Settings, printer: Printer) -> Result<Outcome, Failure> {
    let rows = rows(settings);
    if printer.json {
        for (name, value, origin) in &rows {
            printer.event(&json!({ "v": 1, "event": "setting", "name": name, "value": value, "origin": origin }));
        }
        printer.summary(Outcome::AllPassed);
    } else {
        printer.result(table(&rows));
    }
    for name in env::unknown() {
        printer.warn(format!("the variable {name} means nothing to this version"));
    }
    Ok(Outcome::AllPassed)
}

type Row = (&'static str, Option<String>, String);

fn rows(settings: &Settings) -> Vec<Row> {
    fn row<T>(name: &'static str, setting: &Setting<T>, value: impl FnOnce(&T) -> Option<String>) -> Row {
        (name, value(&setting.value), setting.origin.to_string())
    }
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let found = if settings.config_found { "" } else { ", not there" };
    // The code itself is never shown.
    let code = match keystore::load(settings) {
        Ok((code, place)) => ("access code", Some(format!("{} code, key id {}", code.kind(), code.key_id())), place.to_string()),
        Err(KeystoreError::Absent { .. } | KeystoreError::Settings(_)) => ("access code", None, "default".to_owned()),
        Err(error) => ("access code", None, error.to_string()),
    };
    let mut rows = vec![
        ("config", Some(settings.config.display().to_string()), format!("{}{found}", settings.config.origin)),
        row("service", &settings.service, |url| url.as_ref().map(ToString::to_string)),
        row("station", &settings.station, |name| Some(name.clone())),
        row("journal", &settings.journal, path),
        row("code_file", &settings.code_file, path),
        row("key_store", &settings.key_store, |kept| Some(kept.to_string())),
        code,
        row("ca_file", &settings.ca_file, path),
        row("device", &settings.device, |device| Some(device.clone())),
        row("ports", &settings.ports, |ports| (!ports.is_empty()).then(|| ports.join(", "))),
    ];
    // What it sets, by name; never a value.
    if profile::is_file(&settings.device) {
        let (says, origin) = match Profile::settle(&settings.device, &[], &[]) {
            Ok(profile) => {
                let more = profile.more().map_or(String::new(), |more| format!(", {more}"));
                (Some(format!("{}{more}", profile.kind)), settings.device.value.clone())
            }
            Err(error) => (None, error.to_string()),
        };
        rows.push(("profile", says, origin));
    }
    rows
}

fn table(rows: &[Row]) -> String {
    let name = rows.iter().map(|row| row.0.len()).max().unwrap_or(0);
    let value = rows.iter().map(|row| row.1.as_ref().map_or(1, |value| value.chars().count())).max().unwrap_or(0);
    let dim = anstyle::Style::new().dimmed();
    let line = |row: &Row| format!("{:name$}  {:value$}  {dim}{}{dim:#}\n", row.0, row.1.as_deref().unwrap_or("-"), row.2);
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Flags, Folders};

    #[test]
    fn a_profile_is_shown_by_the_names_of_what_it_sets() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("writes");
        write("config.toml", "version = 1\ndevice = \"button.toml\"\n");
        write("button.toml", "version = 1\nkind = \"texxmo\"\nfinish = \"leave\"\n[set]\nssid = \"hall 3\"\nip = \"10.0.0.9\"\n");
        let flags = Flags { config: Some(folder.path().join("config.toml")), ..Flags::default() };
        let settings = Settings::resolve(&flags, &|_| None, &Folders::below(folder.path())).expect("settles");
        let shown = || rows(&settings).into_iter().next_back().expect("a row");
        // Beside the configuration file that names it.
        let path = folder.path().join("button.toml").display().to_string();
        assert_eq!(shown(), ("profile", Some("texxmo, sets ip, ssid; finish leave".to_owned()), path));
        write("button.toml", "version = 1\nkind = \"texxmo\"\n[set]\npassword = \"hunter2\"\n");
        let (_, says, why) = shown();
        assert!(says.is_none() && why.contains("[set_file]") && !why.contains("hunter2"), "{why}");
    }
}
