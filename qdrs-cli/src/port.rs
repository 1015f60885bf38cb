//! A port: the wire to a device. A serial port by its name, or `tcp://host:port` for a serial server or a test.
//!
//! A port is opened once, for this program alone, and held. Reads and writes come back within [`WAIT_MS`], whatever the
//! other end does, so that a driver can look at its deadline and at the operator's request to stop. What ports there are,
//! is in [`list`]; who else has one open, in [`holder`].

pub mod holder;
pub mod list;
#[cfg_attr(unix, path = "port/tty.rs")]
#[cfg_attr(not(unix), path = "port/com.rs")]
mod tty;

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use qdrs_core::{api::Code, explain::Explain};
use tty::Tty;

/// How long a read or a write waits before it comes back with [`io::ErrorKind::TimedOut`], in milliseconds.
pub const WAIT_MS: u64 = 50;

/// How long a serial server may take to accept the connection, in milliseconds.
const CONNECT_MS_MAX: u64 = 5_000;

/// How often it is looked for who else has a port open.
const HOLDER_EVERY: Duration = Duration::from_secs(2);

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
        /// The names of those that are there.
        there: Vec<String>,
    },
    /// Most often another terminal program; on Linux also a modem manager that looks at every new port.
    #[error("another program holds the port `{port}`{}", holder.as_ref().map_or(String::new(), |holder| format!(": {holder}")))]
    Busy {
        /// Its name, as it was given.
        port: String,
        /// Which program, where that can be known.
        holder: Option<String>,
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
            Self::Missing { there, .. } if !there.is_empty() => {
                format!("name one that is there, {}, or plug the adapter in", there.join(", "))
            }
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
    /// Who else had it open, and when that was looked for.
    shared: Option<(Instant, Option<String>)>,
}

enum Line {
    Serial(Tty),
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
            None => Line::Serial(Tty::open(name, BAUD).map_err(|error| refusal(name, &error))?),
        };
        Ok(Self { name: name.to_owned(), line, shared: None })
    }

    /// The name, as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which other program has the port open as well, as far as that can be known: it opened it before this one, or it is
    /// root's. What it types arrives at the device, and what it reads does not arrive here. An answer is good for a while.
    pub fn shared_with(&mut self) -> Option<String> {
        match &self.shared {
            Some((at, holder)) if at.elapsed() < HOLDER_EVERY => holder.clone(),
            _ => self.shared_now(),
        }
    }

    /// The same at this moment.
    pub fn shared_now(&mut self) -> Option<String> {
        let holder = match self.line {
            Line::Serial(_) => holder::holder_of(&self.name),
            Line::Tcp(_) => None,
        };
        self.shared = Some((Instant::now(), holder.clone()));
        holder
    }

    /// Has something come in that was not read yet? Does not wait.
    ///
    /// # Errors
    /// The port went away.
    pub fn has_input(&mut self) -> Result<bool, PortError> {
        let waiting = match &mut self.line {
            Line::Serial(port) => port.has_input(),
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
            Line::Serial(port) => port.read(buffer, Duration::from_millis(WAIT_MS)),
            Line::Tcp(stream) => stream.read(buffer),
        }?;
        // After waiting for input, nothing at all means the end of the line, on both kinds.
        if count == 0 && !buffer.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(count) }
    }
}

impl Write for Port {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.line {
            Line::Serial(port) => port.write(bytes, Duration::from_millis(WAIT_MS)),
            Line::Tcp(stream) => stream.write(bytes),
        }
    }

    /// Does nothing: nothing is held back here, and draining the line would wait without a limit.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn refusal(name: &str, error: &io::Error) -> PortError {
    let port = name.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound => PortError::Missing { port, there: list::names() },
        io::ErrorKind::PermissionDenied => PortError::Denied { group: list::group_of(name), port },
        // Windows says the same of a port that is held and of one that is not there.
        _ if cfg!(windows) && !list::exists(name) => PortError::Missing { port, there: list::names() },
        io::ErrorKind::ResourceBusy => PortError::Busy { holder: holder::holder_of(name), port },
        _ if cfg!(windows) => PortError::Busy { port, holder: None },
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
    struct Pty {
        master: std::os::fd::OwnedFd,
        slave: std::os::fd::OwnedFd,
        name: String,
    }

    #[cfg(unix)]
    fn pty() -> Pty {
        let nix::pty::OpenptyResult { master, slave } = nix::pty::openpty(None, None).expect("a pseudo-terminal");
        let name = nix::unistd::ttyname(&slave).expect("its name").to_str().expect("text").to_owned();
        Pty { master, slave, name }
    }

    #[cfg(unix)]
    #[test]
    fn a_second_reader_takes_bytes_away_and_blocks_nothing() {
        let Pty { master, slave, name } = pty();
        let mut port = Port::open(&name).expect("opens");
        let mut buffer = [0; 8];
        // Found by a poll, and gone before it was read: the same as a byte that is not there.
        nix::unistd::write(&master, b"x").expect("sends");
        while !port.has_input().expect("is there") {}
        nix::unistd::read(&slave, &mut buffer).expect("the second reader reads");
        let Line::Serial(tty) = &mut port.line else { panic!("is a serial port") };
        assert_eq!(tty.read_now(&mut buffer).expect_err("nothing is left").kind(), io::ErrorKind::WouldBlock);
        assert_eq!(port.receive(&mut buffer).expect("is there"), 0);
    }

    #[cfg(unix)]
    #[test]
    fn a_line_that_takes_nothing_blocks_neither_a_write_nor_the_end() {
        let pty = pty();
        let mut port = Port::open(&pty.name).expect("opens");
        let full = vec![b'x'; 1 << 20];
        assert!(!port.send_all(&full, Instant::now()).expect("is there"), "nobody reads it");
        assert!(!port.send_all(&full, Instant::now()).expect("is there"), "nobody reads it");
        drop(port);
    }

    #[cfg(unix)]
    #[test]
    fn over_tcp_a_peer_that_takes_nothing_blocks_no_write() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut port = Port::open(&format!("tcp://{}", listener.local_addr().expect("address"))).expect("opens");
        let (_peer, _) = listener.accept().expect("accepts");
        assert!(!port.send_all(&vec![b'x'; 32 << 20], Instant::now()).expect("is there"), "nobody reads it");
    }

    #[cfg(unix)]
    #[test]
    fn the_modem_lines_are_not_dropped_at_the_end_and_the_line_is_raw() {
        use rustix::termios::{ControlModes, InputModes, LocalModes, tcgetattr};
        let pty = pty();
        let port = Port::open(&pty.name).expect("opens");
        let settings = tcgetattr(&pty.slave).expect("has settings");
        assert!(!settings.control_modes.contains(ControlModes::HUPCL));
        assert!(settings.control_modes.contains(ControlModes::CLOCAL | ControlModes::CREAD | ControlModes::CS8));
        assert!(!settings.input_modes.intersects(InputModes::ICRNL | InputModes::IXON | InputModes::IXOFF));
        assert!(!settings.local_modes.intersects(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG));
        drop(port);
        assert!(!tcgetattr(&pty.slave).expect("has settings").control_modes.contains(ControlModes::HUPCL));
        Port::open(&pty.name).expect("is free again");
    }

    #[cfg(unix)]
    #[test]
    fn a_fifo_is_no_port_and_nobody_waits_for_its_other_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
        assert!(matches!(Port::open(path.to_str().expect("text")), Err(PortError::Unusable { .. })));
    }

    #[test]
    fn a_missing_port_names_those_that_are_there() {
        let missing = |there: &[&str]| PortError::Missing {
            port: "ttyUSB7".into(),
            there: there.iter().map(|name| format!("`{name}`")).collect(),
        };
        let error = missing(&["/dev/ttyACM0", "/dev/ttyUSB1"]);
        assert_eq!(error.help(), "name one that is there, `/dev/ttyACM0`, `/dev/ttyUSB1`, or plug the adapter in");
        assert_eq!(missing(&[]).help(), Code::PortMissing.help());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_program_that_has_the_port_open_is_named_unless_it_is_the_device() {
        let pty = pty();
        let mut port = Port::open(&pty.name).expect("opens");
        assert_eq!(port.shared_with(), None, "this process has both ends");
    }

    #[cfg(unix)]
    #[test]
    fn a_pseudo_terminal_is_a_port_for_one_and_its_end_is_gone() {
        let pty = pty();
        let name = pty.name.clone();
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
