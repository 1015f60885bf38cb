//! A serial port on Unix: a terminal device, raw, for this program alone, whose descriptor never blocks.
//!
//! Between a `poll` that found input and the read another program may have taken it, and an adapter may take nothing for
//! ever. So the descriptor is non-blocking from its opening to its end: every wait is a `poll` with a limit. What was
//! written and not sent is dropped at the end, since closing would wait for it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use rustix::{
    io::ioctl_fionread,
    termios::{
        ControlModes, InputModes, OptionalActions, QueueSelector, ioctl_tiocexcl, ioctl_tiocnxcl, tcflush, tcgetattr, tcsetattr,
    },
};

/// An open serial port.
pub(super) struct Tty(File);

impl Tty {
    /// Opens the port; what came in before is dropped.
    pub(super) fn open(name: &str, baud: u32) -> io::Result<Self> {
        let flags = OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open(name)?;
        let mut settings = tcgetattr(&file)?;
        // The lock first: it holds against root's programs too, and one that is held is not to lose its exclusive use.
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::ResourceBusy.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        ioctl_tiocexcl(&file)?;
        let port = Self(file);
        settings.make_raw();
        settings.input_modes.remove(InputModes::IXANY | InputModes::IXOFF);
        // With HUPCL the system drops DTR and RTS at the end, and boards that are wired to them reset.
        settings.control_modes.remove(
            ControlModes::CSIZE | ControlModes::CSTOPB | ControlModes::PARENB | ControlModes::CRTSCTS | ControlModes::HUPCL,
        );
        settings.control_modes.insert(ControlModes::CS8 | ControlModes::CREAD | ControlModes::CLOCAL);
        settings.set_speed(baud)?;
        tcsetattr(&port.0, OptionalActions::Now, &settings)?;
        tcflush(&port.0, QueueSelector::IFlush)?;
        Ok(port)
    }

    /// True if something has come in that was not read yet. Does not wait.
    pub(super) fn has_input(&self) -> io::Result<bool> {
        Ok(ioctl_fionread(&self.0)? > 0)
    }

    /// Waits until the port can be read or written, or has an error to tell; at most `wait`.
    fn wait(&self, flags: PollFlags, wait: Duration) -> io::Result<()> {
        let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO);
        match poll(&mut [PollFd::new(self.0.as_fd(), flags)], wait) {
            Ok(0) | Err(Errno::EINTR) => Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads what there is, waiting up to `wait` for it.
    pub(super) fn read(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        self.wait(PollFlags::POLLIN, wait)?;
        self.read_now(buffer)
    }

    /// Reads what there is now; [`io::ErrorKind::WouldBlock`] when there is nothing.
    pub(super) fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }

    /// Writes what the line takes, waiting up to `wait` until it takes something.
    pub(super) fn write(&mut self, bytes: &[u8], wait: Duration) -> io::Result<usize> {
        self.wait(PollFlags::POLLOUT, wait)?;
        self.0.write(bytes)
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        // Closing would wait up to 30 s for a line that takes nothing.
        let _ = tcflush(&self.0, QueueSelector::OFlush);
        // A pseudo-terminal that its device holds open would stay exclusive.
        let _ = ioctl_tiocnxcl(&self.0);
    }
}
