//! The languages that devices speak over a wire, without the wire: bytes in, steps out; no port, no clock, no thread.

pub mod prompt;
pub mod raw_repl;
