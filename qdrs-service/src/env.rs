//! Every environment variable that the service reads, once, with a sentence each.
//!
//! A variable wins over the config file and loses to a flag. An empty variable counts as absent, so that a container's
//! `QDRS_LISTEN=` does no harm.

use std::ffi::OsString;

/// Declares each variable with its sentence: as a constant, and in [`ALL`] for `--help` and the documentation.
macro_rules! variables {
    ($($name:ident = $variable:literal: $says:literal;)*) => {
        $(#[doc = $says] pub const $name: &str = $variable;)*

        /// Every variable with its sentence.
        pub const ALL: &[(&str, &str)] = &[$(($variable, $says)),*];
    };
}

variables! {
    CONFIG = "QDRS_CONFIG": "the config file";
    LISTEN = "QDRS_LISTEN": "the address to listen on, e.g. 0.0.0.0:8443";
    TLS_CERT = "QDRS_TLS_CERT": "the TLS certificate chain, a PEM file";
    TLS_KEY = "QDRS_TLS_KEY": "its private key, a PEM file with mode 0600";
    LEDGER = "QDRS_LEDGER": "the ledger, an SQLite file";
    DEFAULT_HUB = "QDRS_DEFAULT_HUB": "the hub of access codes that name none";
    HUB_CONNECTION = "QDRS_HUB_CONNECTION": "the default hub's owner connection string (a secret: no flag)";
    HUB_CONNECTION_FILE = "QDRS_HUB_CONNECTION_FILE": "a file with mode 0600 that holds it";
    HUB_ENDPOINT = "QDRS_HUB_ENDPOINT": "where the default hub is reached, if not at its host name";
    HUB_DEVICE_HOST = "QDRS_HUB_DEVICE_HOST": "which of its names the default hub's devices get: classic, device or a full name";
    HUB_CA_FILE = "QDRS_HUB_CA_FILE": "a PEM file with a further CA to trust for the default hub";
    EMULATOR_KEY = "QDRS_EMULATOR_KEY": "the owner key of `qdrs-service emulator`, base64 (no flag)";
    LOG = "QDRS_LOG": "what to log, e.g. `info,qdrs_service=debug`";
}

/// Where variables are looked up: the process's environment, or a test's list.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The process's environment.
pub fn process(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
