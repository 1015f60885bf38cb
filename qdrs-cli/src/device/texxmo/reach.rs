//! Reaching a device's raw prompt, whatever it is doing: starting, idle, deaf, with something left on its line.

use std::time::{Duration, Instant};

use super::session::{ACCEPT_MS_MAX, Session, after};
use crate::device::{
    DeviceError, Why,
    wire::raw_repl::{ENTER, INTERRUPT, Step},
};

/// How long an idle device may take to show its raw prompt, in milliseconds.
const PROMPT_MS_MAX: u64 = 300;
/// How long a device that says something may stay off its prompt, in milliseconds: it starts for 3 s, looks for its
/// Wi-Fi for 15 s, and hears nothing meanwhile.
const BUSY_MS_MAX: u64 = 25_000;
/// How long a device may take to start, in milliseconds; after that it may be interrupted though it talks.
const START_MS_MAX: u64 = 4_000;
/// After so long without a word it does not start any more, and may be interrupted, in milliseconds.
const QUIET_MS: u64 = 1_500;
/// After so long without another prompt all that was sent to a deaf device has been heard, in milliseconds.
const SETTLED_MS: u64 = 60;
/// The same of a device that was slow to start, and may be as slow to answer, in milliseconds.
const SLOW_SETTLED_MS: u64 = 1_000;
/// A device that was sent so many prompts before it answered is a slow one.
const SLOW_ATTEMPTS_MIN: u32 = 3;
/// How long a device that lost its file system is quiet between two complaints, in milliseconds; it is 3 s.
const LOST_MS_MAX: u64 = 4_500;

/// At which prompt the device was found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Ready,
    /// After a start.
    Restarted,
}

impl Session {
    /// Reaches the raw prompt, whatever the device is doing.
    ///
    /// First gently, since a device that starts must not be interrupted while it writes its backup; then by Ctrl-C, when
    /// it has been quiet or is long past its start. A device that says something is waited for: it may be deaf for a
    /// while.
    pub(super) fn enter(&mut self) -> Result<(), DeviceError> {
        self.repl.reset();
        self.steps.clear();
        self.heard = None;
        let (begun, deadline) = (Instant::now(), after(BUSY_MS_MAX));
        let past = |since: Instant, ms| since.elapsed() >= Duration::from_millis(ms);
        for attempt in 0_u32.. {
            self.send(&[ENTER])?;
            if self.await_ready(after(PROMPT_MS_MAX))?.is_some() {
                return if attempt == 0 { Ok(()) } else { self.settle(attempt) };
            }
            if self.heard.is_none_or(|heard| past(heard, QUIET_MS)) || past(begun, START_MS_MAX) {
                self.send(&[INTERRUPT, INTERRUPT, ENTER])?;
                if self.await_ready(after(PROMPT_MS_MAX))?.is_some() {
                    return self.settle(attempt);
                }
            }
            match self.heard {
                None if self.lost.is_some_and(|lost| !past(lost, LOST_MS_MAX)) => {
                    return Err(Why::FilesLost { port: self.name.clone() }.into());
                }
                None => return Err(self.silent()),
                Some(_) if Instant::now() >= deadline => break,
                Some(_) => {}
            }
        }
        Err(Why::Busy { port: self.name.clone() }.into())
    }

    /// Waits for the raw prompt. Says also whether the device started anew meanwhile.
    pub(super) fn await_ready(&mut self, deadline: Instant) -> Result<Option<Found>, DeviceError> {
        let mut restarted = false;
        loop {
            match self.next(deadline)? {
                Some(Step::Ready) => return Ok(Some(if restarted { Found::Restarted } else { Found::Ready })),
                Some(Step::Restarted) => {
                    restarted = true;
                    // Its friendly prompt is next: no need to wait for a better moment.
                    self.send(&[ENTER])?;
                }
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// A device that was deaf answers at last to all that it was sent: waits for the last answer.
    fn settle(&mut self, attempts: u32) -> Result<(), DeviceError> {
        let is_slow = attempts >= SLOW_ATTEMPTS_MIN;
        let (quiet_ms, ms_max) = if is_slow { (SLOW_SETTLED_MS, BUSY_MS_MAX) } else { (SETTLED_MS, ACCEPT_MS_MAX) };
        let deadline = after(ms_max);
        while self.await_ready(after(quiet_ms).min(deadline))?.is_some() {}
        Ok(())
    }

    /// Is the device that was here still at its raw prompt?
    pub(super) fn at_prompt(&mut self) -> Result<bool, DeviceError> {
        self.repl.reset();
        self.send(&[ENTER])?;
        Ok(self.await_ready(after(PROMPT_MS_MAX))? == Some(Found::Ready))
    }

    /// Does the device at its friendly prompt still answer? An empty line changes nothing there.
    ///
    /// What came is not forgotten in between: a banner, by which another device is known, may be cut anywhere.
    pub(super) fn at_friendly_prompt(&mut self) -> Result<bool, DeviceError> {
        self.heard = None;
        self.send(b"\r")?;
        let deadline = after(PROMPT_MS_MAX);
        while let Some(step) = self.next(deadline)? {
            if step == Step::Restarted {
                return Ok(false);
            }
        }
        Ok(self.heard.is_some())
    }
}
