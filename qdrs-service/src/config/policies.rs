//! The policies of a config: those in its text, those in files of their own, and the lists and keys that they want.
//!
//! Names of files in a policy are relative to the file that the policy stands in.

use std::{collections::BTreeMap, path::Path};

use qdrs_core::policy::{KeyPlace, Policy, PolicyError};
use zeroize::Zeroizing;

use super::{ConfigError, PathBuf, read, read_secret};
use crate::env;

/// Policies as they are written, each with the folder that its files are in.
#[derive(Debug, Clone, Default)]
pub struct Policies(BTreeMap<String, (Policy, PathBuf)>);

impl Policies {
    pub(super) fn resolve(policies: BTreeMap<String, Policy>, files: &[PathBuf], base: &Path) -> Result<Self, ConfigError> {
        let mut resolved: BTreeMap<_, _> = policies.into_iter().map(|(name, policy)| (name, (policy, base.to_owned()))).collect();
        for file in files {
            let file = base.join(file);
            let text = std::fs::read_to_string(&file).map_err(|error| ConfigError::read(&file, error))?;
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let policy = Policy::parse(&name, &text).map_err(|error| wrong(&name, &file, error.to_string()))?;
            let folder = file.parent().unwrap_or(base).to_owned();
            if resolved.insert(name.clone(), (policy, folder)).is_some() {
                return Err(wrong(&name, &file, "there is another policy of that name".into()));
            }
        }
        Ok(Self(resolved))
    }

    /// Each policy as it is written: it accepts nothing yet if it wants a list or a key.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.0.values().map(|(policy, _)| policy)
    }

    /// The policy of that name, as it is written.
    pub fn get(&self, name: &str) -> Option<&Policy> {
        self.0.get(name).map(|(policy, _)| policy)
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// Only the one of that name, if there is one: what the others want is not needed.
    #[must_use]
    pub fn only(mut self, name: &str) -> Self {
        self.0.retain(|known, _| known == name);
        self
    }

    /// Every policy, ready to be asked.
    ///
    /// # Errors
    /// A list or key can't be had.
    pub fn loaded(self, env: env::Lookup<'_>) -> Result<BTreeMap<String, Policy>, ConfigError> {
        let load = |(name, (policy, folder)): (String, (Policy, PathBuf))| {
            let policy = load(policy, &folder, env).map_err(|error| wrong(&name, &folder, error.to_string()))?;
            Ok((name, policy))
        };
        self.0.into_iter().map(load).collect()
    }
}

fn wrong(name: &str, origin: &Path, why: String) -> ConfigError {
    ConfigError::Value { what: format!("policy `{name}`"), origin: origin.display().to_string(), why }
}

/// Reads the lists and keys that a policy wants, from files below a folder and from variables.
///
/// # Errors
/// One can't be read or is not what it should be, or others may read the file of a key.
pub fn load(policy: Policy, folder: &Path, env: env::Lookup<'_>) -> Result<Policy, PolicyError> {
    if !policy.wants() {
        return Ok(policy);
    }
    let mut file = |name: &str| read(&folder.join(name)).map_err(|error| error.to_string());
    let mut key = |place: KeyPlace<'_>| match place {
        KeyPlace::File(name) => read_secret(&folder.join(name)).map_err(|error| error.to_string()),
        KeyPlace::Variable(name) => env(name)
            .and_then(|value| value.into_string().ok())
            .map(Zeroizing::new)
            .ok_or_else(|| format!("the variable `{name}` with its key is not set")),
    };
    policy.load(&mut file, &mut key)
}
