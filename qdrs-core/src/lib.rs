//! The domain of QDRS, the Quick Device Registration Service.
//!
//! Knows serials and their policies, access codes, signatures and seals, IoT Hub's REST API, and the service's own
//! wire format. Knows no command line, no web server, no database and no serial port: its only I/O is HTTP to the hub
//! ([`hub`]) and to the service ([`client`]).

#![warn(missing_docs)]

pub mod access;
pub mod api;
pub mod client;
pub mod connection_string;
pub mod explain;
pub mod hub;
pub mod policy;
pub mod sas;
pub mod serial;

/// A future that can be kept behind `dyn`: what the traits [`hub::Hub`] and the service's ledger return.
pub type Boxed<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
