//! A serial port where there is no Unix. Not tried there.

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use serialport::{ClearBuffer, SerialPort};

/// An open serial port.
pub(super) struct Tty(Box<dyn SerialPort>);

impl Tty {
    /// Opens the port; what came in before is dropped.
    pub(super) fn open(name: &str, baud: u32) -> io::Result<Self> {
        let port = serialport::new(name, baud).dtr_on_open(true).open()?;
        port.clear(ClearBuffer::Input)?;
        Ok(Self(port))
    }

    /// True if something has come in that was not read yet. Does not wait.
    pub(super) fn has_input(&self) -> io::Result<bool> {
        Ok(self.0.bytes_to_read()? > 0)
    }

    /// Reads what there is, waiting up to `wait` for it.
    pub(super) fn read(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        self.0.set_timeout(wait)?;
        self.0.read(buffer)
    }

    /// Writes what the line takes, waiting up to `wait` until it takes something.
    pub(super) fn write(&mut self, bytes: &[u8], wait: Duration) -> io::Result<usize> {
        self.0.set_timeout(wait)?;
        self.0.write(bytes)
    }
}
