//! Programs that are not ours: clients and SDKs of others, in Python and in Node, that judge the service and the emulator.

use std::path::{Path, PathBuf};

use crate::repository;

/// The Python of a venv below `target/tests`, which `tests/run` makes from a file with requirements in `tests`.
///
/// # Panics
/// When it is not there; the message has the command that makes it.
pub fn python(venv: &str, requirements: &str) -> PathBuf {
    let venv = repository().join("target/tests").join(venv);
    let python = venv.join("bin/python");
    let file = repository().join("tests").join(requirements);
    assert!(
        python.exists(),
        "{} is missing; tests/run makes it, and so does: python3 -m venv {venv} && {venv}/bin/pip install -r {}",
        python.display(),
        file.display(),
        venv = venv.display(),
    );
    python
}

/// A folder with the packages of a `package-lock.json`, which `tests/run` installs.
///
/// # Panics
/// When they are not installed; the message has the command that installs them.
pub fn node_packages(folder: &Path) {
    let packages = folder.join("node_modules");
    assert!(packages.exists(), "{} is missing; tests/run makes it, and so does: npm ci, in its folder", packages.display());
}
