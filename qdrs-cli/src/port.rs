//! A port: the wire to a device. A serial port by its name, or `tcp://host:port` for a serial server or a test.
//!
//! A port is opened once, for this program alone, and held. Reads and writes come back within [`WAIT_MS`], so that a
//! driver can look at its deadline and at the operator's wish to stop. What ports there are, is in [`list`].

pub mod list;

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use qdrs_core::{api::Code, explain::Explain};
use serialport::{ClearBuffer, SerialPort};

/// How long a read or a write waits before it comes back with [`io::ErrorKind::TimedOut`], in milliseconds.
pub const WAIT_MS: u64 = 50;

/// How long a serial server may take to accept the connection, in milliseconds.
const CONNECT_MS_MAX: u64 = 5_000;

/// The speed of every device known so far, in bits a second; 8 bits, no parity, one stop bit, no flow control.
pub const BAUD: u32 = 115_200;

/// Why a port can't be opened, or can't be used any longer.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The name is that of no port here.
    #[error("there is no port `{port}`")]
    Missing {
        /// Its name, as it was given.
        port: String,
    },
    /// Most often another terminal program; on Linux also a modem manager that looks at every new port.
    #[error("another program holds the port `{port}`")]
    Busy {
        /// Its name, as it was given.
        port: String,
    },
    /// The port is there, but not for this user.
    #[error("this user may not open the port `{port}`")]
    Denied {
        /// Its name, as it was given.
        port: String,
        /// The group that may, where there is one.
        group: Option<String>,
    },
    /// The adapter or the board was unplugged, or the serial server hung up.
    #[error("the port `{port}` went away")]
    Gone {
        /// Its name, as it was given.
        port: String,
    },
    /// A `tcp://` name that names no host and port.
    #[error("`{port}` is no address; it looks like `tcp://192.168.1.20:7000`")]
    Address {
        /// The name, as it was given.
        port: String,
    },
    /// The serial server can't be reached.
    #[error("the serial server `{port}` can't be reached: {source}")]
    Unreachable {
        /// Its name, as it was given.
        port: String,
        /// What the system says.
        source: io::Error,
    },
    /// Whatever else the system says; most often the name of something that is not a serial port.
    #[error("`{port}` can't be used as a serial port: {why}")]
    Unusable {
        /// Its name, as it was given.
        port: String,
        /// What the system says.
        why: String,
    },
}

impl Explain for PortError {
    fn code(&self) -> Code {
        match self {
            Self::Missing { .. } | Self::Unreachable { .. } | Self::Unusable { .. } => Code::PortMissing,
            Self::Busy { .. } => Code::PortBusy,
            Self::Denied { .. } => Code::PortDenied,
            Self::Gone { .. } => Code::DeviceGone,
            Self::Address { .. } => Code::SettingInvalid,
        }
    }

    fn help(&self) -> String {
        match self {
            Self::Denied { group: Some(group), .. } => format!("add this user to the group `{group}` and log in again"),
            Self::Unreachable { .. } => "check that the serial server is on and that its address is right".to_owned(),
            Self::Address { .. } => "write the host and the port number of the serial server".to_owned(),
            _ => self.code().help().to_owned(),
        }
    }
}

/// An open port. Reading and writing may come back with [`io::ErrorKind::TimedOut`]: try again.
pub struct Port {
    name: String,
    line: Line,
}

enum Line {
    Serial(Box<dyn SerialPort>),
    Tcp(TcpStream),
}

impl std::fmt::Debug for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Port").field(&self.name).finish()
    }
}

impl Port {
    /// Opens the port of that name, for this program alone; what came in before is dropped.
    ///
    /// # Errors
    /// [`PortError`], but never [`PortError::Gone`].
    pub fn open(name: &str) -> Result<Self, PortError> {
        let line = match name.strip_prefix("tcp://") {
            Some(address) => Line::Tcp(connect(name, address)?),
            None => Line::Serial(open_serial(name)?),
        };
        Ok(Self { name: name.to_owned(), line })
    }

    /// The name, as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Has something come in that was not read yet? Does not wait.
    ///
    /// # Errors
    /// The port went away.
    pub fn has_input(&mut self) -> Result<bool, PortError> {
        let waiting = match &mut self.line {
            Line::Serial(port) => port.bytes_to_read().map(|count| count > 0).map_err(io::Error::from),
            Line::Tcp(stream) => stream.set_nonblocking(true).and_then(|()| {
                let peeked = stream.peek(&mut [0]);
                stream.set_nonblocking(false)?;
                match peeked {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
                    Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(_) => Ok(true),
                    Err(error) => Err(error),
                }
            }),
        };
        waiting.map_err(|_| self.gone())
    }

    /// Reads what there is, waiting up to [`WAIT_MS`] for it; 0 when nothing came.
    ///
    /// # Errors
    /// The port went away.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, PortError> {
        settle(self.read(buffer)).map_err(|_| self.gone())
    }

    /// Writes what the line takes within [`WAIT_MS`]; 0 when it takes nothing.
    ///
    /// # Errors
    /// The port went away.
    pub fn send(&mut self, bytes: &[u8]) -> Result<usize, PortError> {
        settle(self.write(bytes)).map_err(|_| self.gone())
    }

    /// Sends all of it; false when the other end does not take it before the deadline.
    ///
    /// # Errors
    /// The port went away.
    pub fn send_all(&mut self, bytes: &[u8], deadline: Instant) -> Result<bool, PortError> {
        let mut sent = 0;
        while sent < bytes.len() {
            sent += self.send(&bytes[sent..])?;
            if sent < bytes.len() && Instant::now() >= deadline {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn gone(&self) -> PortError {
        PortError::Gone { port: self.name.clone() }
    }
}

/// Nothing in time is no error; everything else means that the other end is gone: EIO, ENXIO, a hang-up, a reset.
fn settle(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
        {
            Ok(0)
        }
        other => other,
    }
}

impl Read for Port {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.line {
            Line::Serial(port) => port.read(buffer),
            Line::Tcp(stream) => stream.read(buffer),
        }?;
        // After waiting for input, nothing at all means the end of the line, on both kinds.
        if count == 0 && !buffer.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(count) }
    }
}

impl Write for Port {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.line {
            Line::Serial(port) => port.write(bytes),
            Line::Tcp(stream) => stream.write(bytes),
        }
    }

    /// Does nothing: nothing is held back here, and draining the line would wait without a limit.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open_serial(name: &str) -> Result<Box<dyn SerialPort>, PortError> {
    // Takes the port for itself (TIOCEXCL, and a lock that holds even against root's programs), raw, without flow
    // control. A pseudo-terminal has neither a speed nor modem lines; setting them is tried and failing is ignored.
    let port = serialport::new(name, BAUD)
        .timeout(Duration::from_millis(WAIT_MS))
        // As Linux does by itself at every open: some boards say nothing to a host that does not raise it.
        .dtr_on_open(true)
        .open()
        .map_err(|error| refusal(name, &error))?;
    // What came in before the settings were right is garbled, and what it answers is long past.
    port.clear(ClearBuffer::Input).map_err(|error| refusal(name, &error))?;
    Ok(port)
}

fn refusal(name: &str, error: &serialport::Error) -> PortError {
    let port = name.to_owned();
    match error.kind() {
        serialport::ErrorKind::Io(io::ErrorKind::NotFound) => PortError::Missing { port },
        serialport::ErrorKind::Io(io::ErrorKind::PermissionDenied) => PortError::Denied { group: list::group_of(name), port },
        // Windows says the same of a port that is held and of one that is not there.
        serialport::ErrorKind::NoDevice if cfg!(windows) && !list::exists(name) => PortError::Missing { port },
        serialport::ErrorKind::NoDevice => PortError::Busy { port },
        _ => PortError::Unusable { port, why: error.to_string() },
    }
}

fn connect(name: &str, address: &str) -> Result<TcpStream, PortError> {
    let valid = address
        .rsplit_once(':')
        .is_some_and(|(host, number)| !host.is_empty() && number.parse::<u16>().is_ok_and(|number| number > 0));
    if !valid {
        return Err(PortError::Address { port: name.to_owned() });
    }
    let unreachable = |source| PortError::Unreachable { port: name.to_owned(), source };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for candidate in address.to_socket_addrs().map_err(unreachable)? {
        match TcpStream::connect_timeout(&candidate, Duration::from_millis(CONNECT_MS_MAX)) {
            Ok(stream) => {
                // Answers of a few bytes go back and forth: nothing may wait for more to send.
                let wait = Some(Duration::from_millis(WAIT_MS));
                stream
                    .set_nodelay(true)
                    .and_then(|()| stream.set_read_timeout(wait))
                    .and_then(|()| stream.set_write_timeout(wait))
                    .map_err(unreachable)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(unreachable(last))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_is_not_there_is_missing() {
        let error = Port::open("/dev/no-such-port").expect_err("is not there");
        assert_eq!(error.code(), Code::PortMissing);
        assert!(error.to_string().contains("/dev/no-such-port"));
    }

    #[test]
    fn an_address_needs_host_and_port() {
        for name in
            ["tcp://", "tcp://localhost", "tcp://:7000", "tcp://localhost:x", "tcp://localhost:0", "tcp://localhost:70000"]
        {
            assert!(matches!(Port::open(name), Err(PortError::Address { .. })), "{name}");
        }
    }

    #[test]
    fn over_tcp_nothing_in_time_is_no_error_and_a_hang_up_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut port = Port::open(&format!("tcp://{}", listener.local_addr().expect("address"))).expect("opens");
        let (mut peer, _) = listener.accept().expect("accepts");
        let mut buffer = [0; 8];
        assert_eq!(port.receive(&mut buffer).expect("is there"), 0);
        assert!(!port.has_input().expect("is there"));
        peer.write_all(b"# ").expect("sends");
        assert_eq!(port.receive(&mut buffer).expect("is there"), 2);
        drop(peer);
        assert_eq!(port.receive(&mut buffer).expect_err("hung up").code(), Code::DeviceGone);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_no_port() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let name = file.path().to_str().expect("text");
        assert!(matches!(Port::open(name), Err(PortError::Unusable { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_pseudo_terminal_is_a_port_for_one_and_its_end_is_gone() {
        let pty = nix::pty::openpty(None, None).expect("a pseudo-terminal");
        let name = nix::unistd::ttyname(&pty.slave).expect("its name").to_str().expect("text").to_owned();
        nix::unistd::write(&pty.master, b"old news\n").expect("sends");
        let mut port = Port::open(&name).expect("opens");
        assert!(!port.has_input().expect("is there"), "old input is dropped");
        assert_eq!(Port::open(&name).expect_err("is held").code(), Code::PortBusy);
        nix::unistd::write(&pty.master, b"\r\n# ").expect("sends");
        let mut buffer = [0; 8];
        let count = port.receive(&mut buffer).expect("is there");
        assert_eq!(&buffer[..count], b"\r\n# ");
        drop(pty);
        assert_eq!(port.receive(&mut buffer).expect_err("hung up").code(), Code::DeviceGone);
    }
}
