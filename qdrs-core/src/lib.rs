//! The domain of QDRS, the Quick Device Registration Service.
//!
//! Knows serials and their policies, the lists that they come in ([`batch`]), access codes, signatures and seals, IoT
//! Hub's REST API, and the service's own wire format. Knows no command line, no web server, no database and no serial
//! port, and opens no file: its only I/O is HTTP to the hub ([`hub`]) and to the service ([`client`]).

#![warn(missing_docs)]

pub mod access;
pub mod api;
pub mod batch;
pub mod check_digit;
pub mod client;
pub mod connection_string;
pub mod crc;
pub mod csv_out;
pub mod explain;
pub mod hardware_id;
pub mod hub;
pub mod policy;
#[cfg(test)]
mod raw_server;
pub mod sas;
pub mod serial;
mod wire;

/// A future that can be kept behind `dyn`: what the traits [`hub::Hub`] and the service's ledger return.
pub type Boxed<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Chooses `ring` for all TLS of this process. Done by everything in this crate that needs it; `main` may do it first.
/// Harmless when done again, or when another provider was chosen before.
pub fn install_crypto() {
    // An error only says that one is chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
