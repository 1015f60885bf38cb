//! Ctrl-C and SIGTERM: the first asks the command to end, and the process ends soon in any case.
//!
//! The signals are waited for on a thread of the runtime's own, so that a command that is waiting for the system (a file on a
//! network drive, a name server, a pipe that nobody writes) can't keep the process from ending. What is done when the
//! process ends hard is what is done at `kill -9`: the journal is whole at every instant.

use std::time::Duration;

use qdrs_core::api::Code;
use tokio::sync::watch;

use crate::{failure::Failure, outcome::Outcome, printer::Printer};

/// How long a command may take to end after it was asked to.
const END_MAX: Duration = Duration::from_secs(2);

/// The request to stop, as the commands see it.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Listens from now on. The second request, or [`END_MAX`] after the first, ends the process.
    pub fn listen(printer: Printer) -> Self {
        let (sender, receiver) = watch::channel(false);
        let terminal = terminal::State::now();
        // Registered here, so that no signal is missed. A system without signals has nobody who could press Ctrl-C.
        let Ok(mut signals) = signals::Signals::register() else { return Self(receiver) };
        tokio::spawn(async move {
            signals.next().await;
            let _ = sender.send(true);
            let again = tokio::select! {
                () = signals.next() => true,
                () = tokio::time::sleep(END_MAX) => false,
            };
            terminal.restore();
            if !again {
                printer.failure(&interrupted("interrupted, and what was in hand did not end in time"));
            }
            std::process::exit(Outcome::Interrupted.code().into());
        });
        Self(receiver)
    }

    /// Becomes true when the command is asked to stop.
    pub fn flag(&self) -> watch::Receiver<bool> {
        self.0.clone()
    }

    /// Does the work unless the command is asked to stop meanwhile.
    ///
    /// # Errors
    ///
    /// What the work ends in; [`Code::Interrupted`].
    pub async fn or<T, E: Into<Failure>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, Failure> {
        let mut flag = self.0.clone();
        tokio::select! {
            done = work => done.map_err(Into::into),
            Ok(_) = flag.wait_for(|asked| *asked) => Err(interrupted("interrupted")),
        }
    }
}

fn interrupted(text: &str) -> Failure {
    Failure::new(Code::Interrupted, text)
}

/// Ctrl-C, and the system's request to end.
#[cfg(unix)]
mod signals {
    use tokio::signal::unix::{Signal, SignalKind, signal};

    pub(super) struct Signals {
        interrupt: Signal,
        terminate: Signal,
    }

    impl Signals {
        pub(super) fn register() -> std::io::Result<Self> {
            Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
        }

        pub(super) async fn next(&mut self) {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
        }
    }
}

#[cfg(not(unix))]
mod signals {
    use tokio::signal::windows::{CtrlC, ctrl_c};

    pub(super) struct Signals(CtrlC);

    impl Signals {
        pub(super) fn register() -> std::io::Result<Self> {
            Ok(Self(ctrl_c()?))
        }

        pub(super) async fn next(&mut self) {
            self.0.recv().await;
        }
    }
}

/// The terminal's settings: a hidden prompt that is cut short would leave its echo off.
#[cfg(unix)]
mod terminal {
    use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

    pub(super) struct State(Option<Termios>);

    impl State {
        pub(super) fn now() -> Self {
            Self(tcgetattr(std::io::stdin()).ok())
        }

        pub(super) fn restore(&self) {
            if let Some(settings) = &self.0 {
                // A terminal that is gone needs no echo.
                let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, settings);
            }
        }
    }
}

#[cfg(not(unix))]
mod terminal {
    pub(super) struct State;

    impl State {
        pub(super) fn now() -> Self {
            Self
        }

        pub(super) fn restore(&self) {}
    }
}
