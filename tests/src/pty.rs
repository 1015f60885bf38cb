//! A pseudo-terminal at the station's end of a line, for programs that know serial ports only.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    os::fd::OwnedFd,
};

use nix::{
    pty::openpty,
    sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr},
    unistd::ttyname,
};

use crate::Line;

/// The terminal; ends when dropped.
pub struct Pty {
    name: String,
    line: TcpStream,
    // Held open, so that a program that closes the port hangs nothing up.
    _slave: OwnedFd,
}

impl Pty {
    /// Takes the station's end of that line.
    ///
    /// # Errors
    /// The system gives no pseudo-terminal, or the line has ended.
    pub fn at(line: &Line) -> io::Result<Self> {
        let pair = openpty(None, None)?;
        let mut raw = tcgetattr(&pair.slave)?;
        cfmakeraw(&mut raw);
        tcsetattr(&pair.slave, SetArg::TCSANOW, &raw)?;
        let name = ttyname(&pair.slave)?.to_string_lossy().into_owned();
        let line = TcpStream::connect(line.port_name().trim_start_matches("tcp://"))?;
        line.set_nodelay(true)?;
        let master = File::from(pair.master);
        carry(master.try_clone()?, line.try_clone()?);
        carry(line.try_clone()?, master);
        Ok(Self { name, line, _slave: pair.slave })
    }

    /// The port's name.
    pub fn port_name(&self) -> &str {
        &self.name
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // Ends one direction; the slave's end ends the other.
        let _ = self.line.shutdown(Shutdown::Both);
    }
}

/// One direction, until either end ends.
fn carry(mut from: impl Read + Send + 'static, mut to: impl Write + Send + 'static) {
    std::thread::spawn(move || {
        let mut bytes = [0; 256];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if to.write_all(&bytes[..count]).is_err() {
                return;
            }
        }
    });
}
