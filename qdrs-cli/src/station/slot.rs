//! A slot: one OS thread that owns a port and the device in it, and does what it is ordered.
//!
//! Synchronous from end to end: it waits in the driver's short read time-outs and on its channel of orders, and never
//! sees the async side. It knows serials only by the credential it is told to write, and decides nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use qdrs_core::{
    api::{Code, Evidence},
    connection_string::{DeviceConnectionString, Fingerprint},
    explain::Explain,
};

use crate::{
    device::{Device, DeviceError, Identity, Why},
    screen::{Fault, Step},
};

/// How long a slot rests between two looks at an empty place, and between two looks whether the device is gone.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a slot rests before it tries again to open a port that vanished.
const REOPEN_EVERY: Duration = Duration::from_millis(500);

/// How often a device that stopped answering is looked for before a person is asked to switch it on.
const SILENT_LOOKS_MIN: u32 = 3;

/// Opens a slot's port and device. Called again when the port has vanished and come back.
///
/// The flag is the slot's: once it is set, every wait of the driver ends soon.
pub type Open = Box<dyn FnMut(Arc<AtomicBool>) -> Result<Box<dyn Device>, DeviceError> + Send>;

/// What a slot tells.
#[derive(Debug)]
pub(super) enum Report {
    /// It is at another step; with what is wrong, if something is.
    Step(Step, Option<Fault>),
    /// A device has come.
    Came(Identity),
    /// How writing ended.
    Written(Result<Held, Unwritten>),
    /// The device was told that all is over; with what went wrong in that.
    Finished(Option<Fault>),
    /// The port can't be used; the thread has ended.
    Out(Fault),
}

/// What a slot is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Write this, and read it back if the kind can. Answered by [`Report::Written`].
    Write(Box<DeviceConnectionString>),
    /// Tell the device that all is over ([`Report::Finished`]), then wait until it is gone.
    Finish,
    /// Wait until the device is gone.
    SetAside,
    /// Look at once which device is there.
    LookAgain,
    /// End.
    Stop,
}

/// A device holds its credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    /// Of the key that came back or, if this kind can't read back, was written.
    pub(super) fingerprint: Fingerprint,
    /// What shows it.
    pub(super) evidence: Evidence,
}

/// Writing failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unwritten {
    /// Why.
    pub(super) fault: Fault,
    /// May the device hold (part of) the credential?
    pub(super) touched: bool,
}

/// One slot, before its thread runs.
pub(super) struct Slot {
    pub(super) open: Open,
    pub(super) cancel: Arc<AtomicBool>,
    pub(super) orders: Receiver<Order>,
    /// Blocks while the other side is behind; false when nobody listens any more.
    pub(super) tell: Box<dyn Fn(Report) -> bool + Send>,
}

/// The thread ends, for whatever reason: ordered, or nobody is there any more.
struct End;

impl Slot {
    /// Runs until it is told to stop.
    pub(super) fn run(mut self) {
        // Whoever ends it, the thread's end closes the channel, and the other side sees that.
        let _ = self.work();
    }

    fn work(&mut self) -> Result<(), End> {
        self.tell(Report::Step(Step::OpenPort, None))?;
        let mut device = match (self.open)(Arc::clone(&self.cancel)) {
            Ok(device) => device,
            Err(error) => return self.tell(Report::Out(Fault::of(&error))),
        };
        loop {
            let identity = self.wait_for_device(&mut device)?;
            self.tell(Report::Came(identity))?;
            loop {
                match self.orders.recv().map_err(|_| End)? {
                    Order::Write(credential) => {
                        let written = self.write(device.as_mut(), &credential)?;
                        self.tell(Report::Written(written))?;
                    }
                    Order::LookAgain => break,
                    Order::Finish => {
                        let fault = device.finish().err().map(|error| Fault::of(&error));
                        self.tell(Report::Finished(fault))?;
                        self.wait_until_gone(device.as_mut())?;
                        break;
                    }
                    Order::SetAside => {
                        self.wait_until_gone(device.as_mut())?;
                        break;
                    }
                    Order::Stop => return Err(End),
                }
            }
        }
    }

    fn wait_for_device(&mut self, device: &mut Box<dyn Device>) -> Result<Identity, End> {
        self.tell(Report::Step(Step::PutDeviceIn, None))?;
        let mut said = None;
        // What a device stopped in, and how often nobody has answered since.
        let (mut stopped, mut silent_looks) = (None, 0);
        loop {
            let error = match device.identify() {
                Ok(identity) => return Ok(identity),
                Err(error) => error,
            };
            self.end_if_told(LOOK_EVERY)?;
            match (error.code(), &error.why) {
                (_, Why::Port(_)) => {
                    *device = self.reopen(&error)?;
                    said = None;
                    self.tell(Report::Step(Step::PutDeviceIn, None))?;
                }
                // Nobody is there yet. One that was there and does not come back by itself may have switched itself off.
                (code @ (Code::DeviceSilent | Code::DeviceGone), _) => {
                    if said.take().is_some() {
                        self.tell(Report::Step(Step::PutDeviceIn, None))?;
                    }
                    silent_looks += 1;
                    if code == Code::DeviceGone {
                        (stopped, silent_looks) = (Some(Fault::of(&error)), 0);
                    } else if silent_looks >= SILENT_LOOKS_MIN
                        && let Some(fault) = stopped.take()
                    {
                        self.tell(Report::Step(Step::PutDeviceIn, Some(fault)))?;
                    }
                }
                // Somebody is there, but it is not what it should be: said once, not at every look.
                (code, _) => {
                    if said.replace(code) != Some(code) {
                        self.tell(Report::Step(Step::PutDeviceIn, Some(Fault::of(&error))))?;
                    }
                }
            }
        }
    }

    /// The adapter was pulled in the middle of the day: waits until it is back.
    fn reopen(&mut self, why: &DeviceError) -> Result<Box<dyn Device>, End> {
        self.tell(Report::Step(Step::PortLost, Some(Fault::of(why))))?;
        loop {
            self.end_if_told(REOPEN_EVERY)?;
            if let Ok(device) = (self.open)(Arc::clone(&self.cancel)) {
                return Ok(device);
            }
        }
    }

    fn wait_until_gone(&mut self, device: &mut dyn Device) -> Result<(), End> {
        self.tell(Report::Step(Step::TakeDeviceOut, None))?;
        // A port that is gone took the device with it; looking for the next device finds out.
        while device.present().unwrap_or(false) {
            self.end_if_told(LOOK_EVERY)?;
        }
        // A look that the operator's stop has cut short shows no gone device: what is there is not to be touched any more.
        if self.cancel.load(Ordering::Relaxed) { Err(End) } else { Ok(()) }
    }

    /// Writes, reads back, compares: what came back must be what was sent, whole. Then the device proves what else its
    /// profile asks for.
    fn write(&self, device: &mut dyn Device, credential: &DeviceConnectionString) -> Result<Result<Held, Unwritten>, End> {
        let evidence = match device.write(credential) {
            Ok(evidence) => evidence,
            Err(error) => return Ok(Err(Unwritten { fault: Fault::of(&error), touched: error.touched() })),
        };
        self.tell(Report::Step(Step::ReadBack, None))?;
        let held = match device.read_back() {
            Ok(None) => Ok(Held { fingerprint: credential.key.fingerprint(), evidence }),
            Ok(Some(found)) if same(&found, credential) => {
                Ok(Held { fingerprint: found.key.fingerprint(), evidence: Evidence::ReadBack })
            }
            Ok(Some(_)) => Err(Fault::new(Code::DeviceUnverified, "the device holds something else than what was written")),
            Err(error) => Err(Fault::of(&error)),
        };
        let proved = held.and_then(|held| device.prove().map(|()| held).map_err(|error| Fault::of(&error)));
        Ok(proved.map_err(|fault| Unwritten { fault, touched: true }))
    }

    fn tell(&self, report: Report) -> Result<(), End> {
        if (self.tell)(report) { Ok(()) } else { Err(End) }
    }

    /// Rests, and ends when told so meanwhile.
    fn end_if_told(&self, rest: Duration) -> Result<(), End> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(End);
        }
        match self.orders.recv_timeout(rest) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            // Nothing but an end is ordered while no device is there.
            Ok(_) | Err(RecvTimeoutError::Disconnected) => Err(End),
        }
    }
}

/// Is it the same credential? Host names know no case.
fn same(found: &DeviceConnectionString, sent: &DeviceConnectionString) -> bool {
    found.host_name.eq_ignore_ascii_case(&sent.host_name)
        && found.device_id == sent.device_id
        && found.key.fingerprint() == sent.key.fingerprint()
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc::sync_channel};

    use super::*;

    /// A device that switched itself off while its timer was stopped: it answers nothing any more.
    struct SwitchedOff {
        stopped: bool,
    }

    impl Device for SwitchedOff {
        fn identify(&mut self) -> Result<Identity, DeviceError> {
            let port = "port".to_owned();
            let first = !std::mem::replace(&mut self.stopped, true);
            Err(if first { Why::Stopped { port, doing: "stop its timer" } } else { Why::Silent { port } }.into())
        }

        fn write(&mut self, _: &DeviceConnectionString) -> Result<Evidence, DeviceError> {
            unreachable!("it never comes")
        }

        fn read_back(&mut self) -> Result<Option<DeviceConnectionString>, DeviceError> {
            unreachable!("it never comes")
        }

        fn finish(&mut self) -> Result<(), DeviceError> {
            unreachable!("it never comes")
        }

        fn present(&mut self) -> Result<bool, DeviceError> {
            Ok(false)
        }
    }

    #[test]
    fn a_device_that_switched_itself_off_is_asked_for_again() {
        let said = Arc::new(Mutex::new(Vec::new()));
        let (orders, receiver) = sync_channel(1);
        let tell = {
            let said = Arc::clone(&said);
            // Told what it waits for, the test ends it.
            Box::new(move |report| {
                if let Report::Step(Step::PutDeviceIn, Some(fault)) = &report {
                    said.lock().expect("not poisoned").push(fault.clone());
                    let _ = orders.try_send(Order::Stop);
                }
                true
            })
        };
        let open: Open = Box::new(|_| Ok(Box::new(SwitchedOff { stopped: false })));
        Slot { open, cancel: Arc::default(), orders: receiver, tell }.run();
        let said = said.lock().expect("not poisoned");
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].message, "the device at `port` stopped answering while it was asked to stop its timer");
        assert_eq!(said[0].help, "switch the device on again, or put it back in; nothing is lost");
    }
}
