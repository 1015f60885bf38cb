//! `qdrs`: takes serial numbers from a batch or a scanner, registers each with the service, and writes its connection
//! string to a device over the serial port.
//!
//! [`settings`] is where flags, variables and the file meet; [`command`] has one file for each command; [`journal`] is
//! the station's own record. Everything that talks to a device is below [`device`], everything that an operator sees
//! goes through `screen`. Knows no hub and no ledger: those are the service's.

pub mod batch;
pub mod command;
pub mod device;
pub mod env;
pub mod failure;
pub mod interrupt;
pub mod journal;
pub mod keystore;
pub mod outcome;
pub mod port;
pub mod printer;
pub mod progress;
pub mod report;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod screen;
pub mod secret_file;
pub mod settings;
pub mod station;
