//! Every environment variable that the service reads, once, with a sentence each.
//!
//! A variable wins over the config file and loses to a flag. An empty variable counts as absent, so that a container's
//! `QDRS_LISTEN=` does no harm.

use std::ffi::OsString;

/// The config file, instead of `qdrs-service.toml` here or `/etc/qdrs/service.toml`.
pub const CONFIG: &str = "QDRS_CONFIG";
/// The address to listen on, e.g. `0.0.0.0:8443`.
pub const LISTEN: &str = "QDRS_LISTEN";
/// The TLS certificate chain, a PEM file.
pub const TLS_CERT: &str = "QDRS_TLS_CERT";
/// The TLS certificate's private key, a PEM file with mode 0600.
pub const TLS_KEY: &str = "QDRS_TLS_KEY";
/// The ledger, an SQLite file.
pub const LEDGER: &str = "QDRS_LEDGER";
/// The hub that access codes get when none is named.
pub const DEFAULT_HUB: &str = "QDRS_DEFAULT_HUB";
/// The default hub's owner connection string; a secret, so there is no flag for it.
pub const HUB_CONNECTION: &str = "QDRS_HUB_CONNECTION";
/// A file with mode 0600 that holds the default hub's owner connection string.
pub const HUB_CONNECTION_FILE: &str = "QDRS_HUB_CONNECTION_FILE";
/// Where the default hub's REST API is reached, if not at its host name: a local emulator.
pub const HUB_ENDPOINT: &str = "QDRS_HUB_ENDPOINT";
/// A PEM file with a further CA to trust for the default hub: a local emulator's.
pub const HUB_CA_FILE: &str = "QDRS_HUB_CA_FILE";
/// The owner key of `qdrs-service emulator`, base64 of 16 to 64 bytes; without it the one in its store, or a new one.
pub const EMULATOR_KEY: &str = "QDRS_EMULATOR_KEY";
/// What to log, as a filter of the crate `tracing`, e.g. `info,qdrs_service=debug`.
pub const LOG: &str = "QDRS_LOG";

/// All of the above with their sentences, for `--help` and the documentation.
pub const ALL: &[(&str, &str)] = &[
    (CONFIG, "the config file"),
    (LISTEN, "the address to listen on"),
    (TLS_CERT, "the TLS certificate chain, a PEM file"),
    (TLS_KEY, "its private key, a PEM file with mode 0600"),
    (LEDGER, "the ledger, an SQLite file"),
    (DEFAULT_HUB, "the hub of access codes that name none"),
    (HUB_CONNECTION, "the default hub's owner connection string (a secret: no flag)"),
    (HUB_CONNECTION_FILE, "a file with mode 0600 that holds it"),
    (HUB_ENDPOINT, "where the default hub is reached, if not at its host name"),
    (HUB_CA_FILE, "a PEM file with a further CA to trust for the default hub"),
    (EMULATOR_KEY, "the owner key of `qdrs-service emulator`, base64 (no flag)"),
    (LOG, "what to log, e.g. `info,qdrs_service=debug`"),
];

/// Where variables are looked up: the process's environment, or a test's list.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The process's environment.
pub fn process(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
