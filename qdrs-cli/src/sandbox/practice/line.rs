//! The practice device's end of the wire: the far end of a pseudo-terminal, or a listener on loopback.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::atomic::AtomicBool,
    time::Duration,
};

use super::PortKind;

/// How long one wait is; after each, the device looks whether it shall end.
pub(super) const WAIT: Duration = Duration::from_millis(20);

/// How long a host may leave the wire full before what is said is lost.
const FULL_MAX: Duration = Duration::from_secs(2);

/// One end of a wire. When it is dropped, the host sees its port go away.
pub(super) struct Line {
    name: String,
    end: End,
}

enum End {
    #[cfg(unix)]
    Pty(pty::Pty),
    Tcp {
        listener: TcpListener,
        caller: Option<TcpStream>,
    },
}

impl Line {
    pub(super) fn open(kind: &PortKind) -> io::Result<Self> {
        match kind {
            #[cfg(unix)]
            PortKind::PseudoTerminal | PortKind::Linked(_) => {
                let link = if let PortKind::Linked(path) = kind { Some(path.as_path()) } else { None };
                let (pty, name) = pty::Pty::open(link)?;
                Ok(Self { name, end: End::Pty(pty) })
            }
            #[cfg(not(unix))]
            PortKind::PseudoTerminal | PortKind::Linked(_) => Err(io::ErrorKind::Unsupported.into()),
            PortKind::Tcp => {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                listener.set_nonblocking(true)?;
                Ok(Self { name: format!("tcp://{}", listener.local_addr()?), end: End::Tcp { listener, caller: None } })
            }
        }
    }

    /// What `--port` takes.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What the host sent, waiting a moment for it; 0 when nothing came.
    pub(super) fn receive(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        match &mut self.end {
            #[cfg(unix)]
            End::Pty(pty) => pty.receive(buffer, wait),
            End::Tcp { listener, caller } => {
                if caller.is_none() {
                    match listener.accept() {
                        Ok((stream, _)) => {
                            stream.set_nonblocking(false)?;
                            stream.set_nodelay(true)?;
                            stream.set_write_timeout(Some(FULL_MAX))?;
                            *caller = Some(stream);
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            std::thread::sleep(wait.min(Duration::from_millis(2)))
                        }
                        Err(error) => return Err(error),
                    }
                }
                let Some(stream) = caller else { return Ok(0) };
                stream.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
                match stream.read(buffer) {
                    Err(error)
                        if matches!(
                            error.kind(),
                            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                        ) =>
                    {
                        Ok(0)
                    }
                    Ok(0) | Err(_) => {
                        *caller = None;
                        Ok(0)
                    }
                    other => other,
                }
            }
        }
    }

    /// Says it to whoever listens; like a wire, it does not care when nobody does.
    pub(super) fn send(&mut self, bytes: &[u8], stop: &AtomicBool) -> io::Result<()> {
        if cfg!(not(unix)) {
            // A caller over TCP has a time-out of its own.
            let _ = stop;
        }
        match &mut self.end {
            #[cfg(unix)]
            End::Pty(pty) => pty.send_all(bytes, stop)?,
            End::Tcp { caller, .. } => {
                if caller.as_mut().is_some_and(|stream| stream.write_all(bytes).is_err()) {
                    *caller = None;
                }
            }
        }
        Ok(())
    }
}

#[cfg(unix)]
mod pty {
    use std::{
        io,
        os::fd::{AsFd, OwnedFd},
        path::{Path, PathBuf},
        sync::atomic::{AtomicBool, Ordering},
        time::{Duration, Instant},
    };

    use nix::{
        errno::Errno,
        fcntl::{FcntlArg, FdFlag, OFlag, fcntl},
        poll::{PollFd, PollFlags, PollTimeout, poll},
        pty::openpty,
        sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr},
        unistd::{read, ttyname, write},
    };

    use super::{FULL_MAX, WAIT};

    pub(super) struct Pty {
        master: OwnedFd,
        /// Held open: otherwise the first host that closes its port would end the wire.
        slave: OwnedFd,
        link: Option<PathBuf>,
    }

    impl Pty {
        pub(super) fn open(link: Option<&Path>) -> io::Result<(Self, String)> {
            let pair = openpty(None, None)?;
            // A program that is started meanwhile must not hold the wire.
            for end in [&pair.master, &pair.slave] {
                fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
            }
            // Raw from the start: the terminal's own echo would answer before the board does.
            let mut settings = tcgetattr(&pair.slave)?;
            cfmakeraw(&mut settings);
            tcsetattr(&pair.slave, SetArg::TCSANOW, &settings)?;
            let flags = OFlag::from_bits_retain(fcntl(&pair.master, FcntlArg::F_GETFL)?);
            fcntl(&pair.master, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
            let node = ttyname(&pair.slave)?;
            if let Some(link) = link {
                let _ = std::fs::remove_file(link);
                std::os::unix::fs::symlink(&node, link)?;
            }
            let name = link.unwrap_or(&node).to_str().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
            Ok((Self { master: pair.master, slave: pair.slave, link: link.map(Path::to_owned) }, name))
        }

        /// A host that takes the port for itself and is then killed leaves it taken, since the slave stays open here; a
        /// serial port would be free again. The host's lock on the file, which ends with it, still keeps others out.
        fn free(&self) -> io::Result<()> {
            Ok(rustix::termios::ioctl_tiocnxcl(&self.slave)?)
        }

        fn wait(&self, flags: PollFlags, wait: Duration) -> io::Result<bool> {
            let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO);
            match poll(&mut [PollFd::new(self.master.as_fd(), flags)], timeout) {
                Ok(count) => Ok(count > 0),
                Err(Errno::EINTR) => Ok(false),
                Err(error) => Err(error.into()),
            }
        }

        pub(super) fn receive(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
            if !self.wait(PollFlags::POLLIN, wait)? {
                self.free()?;
                return Ok(0);
            }
            match read(&self.master, buffer) {
                Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
                other => Ok(other?),
            }
        }

        pub(super) fn send_all(&mut self, bytes: &[u8], stop: &AtomicBool) -> io::Result<()> {
            let deadline = Instant::now() + FULL_MAX;
            let mut left = bytes;
            while !left.is_empty() && Instant::now() < deadline && !stop.load(Ordering::Relaxed) {
                if self.wait(PollFlags::POLLOUT, WAIT)? {
                    match write(&self.master, left) {
                        Err(Errno::EAGAIN | Errno::EINTR) => {}
                        other => left = &left[other?..],
                    }
                }
            }
            Ok(())
        }
    }

    impl Drop for Pty {
        fn drop(&mut self) {
            if let Some(link) = &self.link {
                // A link to nothing is as good as none; the next one replaces it.
                let _ = std::fs::remove_file(link);
            }
        }
    }
}
