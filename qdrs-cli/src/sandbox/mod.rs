//! The sandbox: what QDRS needs around it, in this process and without hardware.

pub mod practice;
