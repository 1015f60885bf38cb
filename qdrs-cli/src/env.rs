//! Every environment variable of `qdrs`, once, with a sentence. Help, `qdrs config` and the documentation use it.

use std::ffi::OsString;

/// A variable and what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it is for, in a sentence.
    pub help: &'static str,
}

macro_rules! variables {
    ($($(#[doc = $doc:literal])* $constant:ident = $name:literal, $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: Variable = Variable { name: $name, help: $help };)*

        /// Every variable, in the order of the settings.
        pub const ALL: &[Variable] = &[$($constant,)*];
    };
}

variables! {
    SERVICE = "QDRS_SERVICE", "URL of the service";
    STATION = "QDRS_STATION", "name of this station";
    CONFIG = "QDRS_CONFIG", "configuration file";
    JOURNAL = "QDRS_JOURNAL", "file with the station's record of its work";
    CODE_FILE = "QDRS_CODE_FILE", "file with the access code, readable by its owner only";
    KEY_STORE = "QDRS_KEY_STORE", "where the access code is kept: `auto`, `system` or `file`";
    CA_FILE = "QDRS_CA_FILE", "PEM file with the CA of the service's certificate";
    DEVICE = "QDRS_DEVICE", "kind of device, or a profile";
    PORTS = "QDRS_PORTS", "ports of the slots, separated by commas";
    LOG = "QDRS_LOG", "what is logged to stderr, such as `debug` or `qdrs_core=trace`";
}

/// Where variables are looked up: the process's environment, or a test's.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The process's own environment. A variable that is set to nothing counts as not set.
pub fn of_process(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Names in the process's environment that begin with `QDRS_` and mean nothing: most often misspelt.
pub fn unknown() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut unknown: Vec<_> =
        names.filter(|name| name.starts_with("QDRS_") && !ALL.iter().any(|known| known.name == name)).collect();
    unknown.sort();
    unknown
}

/// The end of `--help`: where settings come from, and each variable.
pub fn help() -> String {
    let width = ALL.iter().map(|variable| variable.name.len()).max().unwrap_or(0);
    let mut text = String::from(
        "Settings come from the flags, else from the environment, else from the configuration file, else they have a \
         default; `qdrs config` shows each with its origin.\n\nEnvironment:\n",
    );
    for Variable { name, help } in ALL {
        text.push_str(&format!("  {name:width$}  {help}\n"));
    }
    text.push_str(&format!("  {:width$}  no colours, whatever its value", "NO_COLOR"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variable_is_named_once_and_has_a_sentence() {
        for (at, variable) in ALL.iter().enumerate() {
            assert!(variable.name.starts_with("QDRS_") && !variable.help.is_empty());
            assert!(!ALL[..at].iter().any(|other| other.name == variable.name), "{} stands twice", variable.name);
        }
    }
}
