//! The thin HTTP service: it holds the hub owner credential, and makes one identity in the hub for each serial.
//!
//! [`registrar`] is the use case, free of HTTP; [`ledger`] is its record of every serial; [`emulator`] is a local IoT Hub
//! for tests and for trying things out, and knows neither.

pub mod emulator;
pub mod ledger;
pub mod registrar;
