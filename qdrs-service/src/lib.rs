//! The thin HTTP service: it holds the hub owner credential, and makes one identity in the hub for each serial.
//!
//! [`registrar`] is the use case, free of HTTP; [`ledger`] is its record of every serial; [`emulator`] is a local IoT Hub
//! for tests and for trying things out, and knows neither. [`http`] only translates; [`config`] is where file, variables
//! and flags meet; [`command`] has the owner's commands.

pub mod boot_clock;
pub mod command;
pub mod config;
pub mod emulator;
pub mod env;
pub mod http;
pub mod ledger;
pub mod limits;
pub mod network;
pub mod registrar;
pub mod serve;
