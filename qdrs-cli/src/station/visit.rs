//! A slot's task on the async side: what happens from a device's coming to its going.
//!
//! The slot's thread reports, this decides, the thread does. While a device is written, nothing but its answer is
//! waited for: neither Ctrl-C nor a service that refuses the station leaves a device half done.

use std::{sync::Arc, time::Instant};

use qdrs_core::api::{Code, Evidence, Scope};
use qdrs_core::hardware_id::HardwareId;
use tokio::task::JoinSet;

use super::{
    End, Ready, STOP_MAX, Shop, Trouble, ended_by,
    link::Link,
    queue::{ATTEMPTS_MAX, Work},
    slot::{Held, Order, Report, Unwritten},
};
use crate::{
    device::Identity,
    journal::{self, Written},
    screen::{Ending, Event, Fault, Step, Verdict},
};

/// The visits of devices to one slot.
pub(super) struct Visits {
    shop: Arc<Shop>,
    link: Link,
    slot: usize,
    port: String,
    evidence: Evidence,
    anonymous: bool,
    /// What a person does so that a device answers.
    call: Option<&'static str>,
    /// The board that failed last, if it is still in the slot: it gets one more chance, then it has to go.
    failed_board: Option<HardwareId>,
    /// The board that was told last that all is over.
    ended: Option<HardwareId>,
    /// The serial whose credential the device in the slot holds, or may hold since a run that was killed. It stays until
    /// the device was told that all is over: else the next serial would be written over it.
    holding: Option<String>,
    /// True while that device has not taken the end of its visit.
    lingers: bool,
    /// Registrations ahead that this slot has started.
    ahead: JoinSet<()>,
}

/// The slot's thread is no more.
struct Lost;

impl Visits {
    pub(super) fn new(shop: Arc<Shop>, link: Link, evidence: Evidence, anonymous: bool, port: String) -> Self {
        let holding = shop.left_at(&port);
        Self {
            slot: link.slot,
            port,
            shop,
            link,
            evidence,
            anonymous,
            holding,
            lingers: false,
            call: None,
            failed_board: None,
            ended: None,
            ahead: JoinSet::new(),
        }
    }

    /// The same, with what a person does so that a device answers.
    pub(super) fn with_call(self, call: Option<&'static str>) -> Self {
        Self { call, ..self }
    }

    /// Serves devices until the run ends. Returns why the slot is out of use, if it is.
    pub(super) async fn run(mut self) -> Option<Fault> {
        let fault = self.serve().await;
        // What is registered ahead is for the other slots, too.
        while self.ahead.join_next().await.is_some() {}
        self.link.stop().await;
        fault
    }

    async fn serve(&mut self) -> Option<Fault> {
        if self.anonymous {
            self.register_ahead();
        }
        let shop = Arc::clone(&self.shop);
        loop {
            let report = tokio::select! {
                biased;
                () = shop.ended() => break,
                report = self.link.report() => report,
            };
            match report {
                Some(Report::Came(identity)) => {
                    let Ok(order) = self.visit(identity).await else { return Some(self.broken()) };
                    let finishing = matches!(order, Order::Finish);
                    self.link.order(order);
                    // A device is told to the end that all is over, even when this was the last one.
                    if finishing {
                        match self.finished().await {
                            Ok(true) => self.note_left().await,
                            Ok(false) => self.lingers = true,
                            Err(Lost) => return Some(self.broken()),
                        }
                    }
                }
                Some(Report::Step(step, fault)) => {
                    self.show(step, None, fault);
                    // Its place is empty now.
                    if step == Step::PutDeviceIn && std::mem::take(&mut self.lingers) {
                        self.note_left().await;
                    }
                }
                Some(Report::Out(fault)) => {
                    self.show(Step::Out, None, Some(fault.clone()));
                    return Some(fault);
                }
                // Nobody ordered anything that these would answer.
                Some(Report::Written(_) | Report::Finished(_)) => {}
                None => return Some(self.broken()),
            }
        }
        None
    }

    /// A device is there: finds its serial, has it written, confirms. Returns what the slot is to do next.
    async fn visit(&mut self, identity: Identity) -> Result<Order, Lost> {
        let came = Instant::now();
        let board = identity.hardware_id.as_ref();
        self.show(Step::DeviceCame, None, None);
        if let (Some(serial), None) = (&self.holding, board) {
            let text =
                format!("the device here may be {serial}, which was written before: take it out, then put the next one in");
            self.shop.screen.show(&Event::Notice { slot: Some(self.slot), text });
            return Ok(Order::Finish);
        }
        if let Some(serial) = board.and_then(|board| self.shop.made().get(board).cloned()) {
            let text = format!("this device is done, it is {serial}: take it out");
            self.shop.screen.show(&Event::Notice { slot: Some(self.slot), text });
            // It was put in again, or a run that was killed did not tell it the end; to find out which one it is has stopped
            // its program. One that this slot ended last only looked gone for a while: its end was told.
            let again = self.ended.as_ref() == board;
            self.ended = board.cloned();
            return Ok(if again { Order::SetAside } else { Order::Finish });
        }
        let (work, ready) = match self.serial_for(board).await {
            Ok(found) => found,
            Err(order) => return Ok(order),
        };
        let serial = work.serial.as_str();
        let ending =
            Ending { slot: Some(self.slot), hardware_id: identity.hardware_id.clone(), ..Ending::of(serial, Verdict::Fail) };

        let reservation = ready.registration.reservation;
        let port = self.must_leave(board).then(|| self.port.clone());
        let writing = journal::Step::Writing { reservation, hardware_id: identity.hardware_id.clone(), port };
        if let Err(trouble) = self.shop.job.note(serial, writing).await {
            return Ok(self.give_up(work, trouble));
        }
        self.show(Step::Write, Some(serial), None);
        self.link.order(Order::Write(Box::new(ready.credential)));
        if board.is_none() {
            self.register_ahead();
        }
        let written = match self.written(serial).await {
            Ok(written) => written,
            Err(lost) => {
                // No verdict: the journal says so, and the next board can't get this credential.
                self.shop.with_queue(|queue| queue.back_last(Work { begun: true, board: identity.hardware_id, ..work }));
                return Err(lost);
            }
        };
        let least = ready.registration.least_evidence;
        let held = match written {
            Ok(held) if held.evidence >= least => held,
            Ok(held) => {
                let unwritten = Unwritten { fault: too_weak(held.evidence, least), touched: true };
                return Ok(self.unwritten(work, board, unwritten, ending).await);
            }
            Err(unwritten) => return Ok(self.unwritten(work, board, unwritten, ending).await),
        };
        self.failed_board = None;
        let ending = Ending { evidence: Some(held.evidence), ..ending };
        let order = self.held(&work, held, identity.hardware_id.clone(), ending, came).await;
        if matches!(order, Order::Finish) {
            self.ended = identity.hardware_id;
        }
        Ok(order)
    }

    /// The serial for the device in the slot, with its credential; else what the slot is to do.
    async fn serial_for(&mut self, board: Option<&HardwareId>) -> Result<(Work, Ready), Order> {
        let shop = Arc::clone(&self.shop);
        loop {
            let Some((work, ready)) = shop.take(board).await else { return Err(Order::SetAside) };
            let ready = match ready {
                Some(ready) => Ok(ready),
                None => {
                    self.show(Step::Register, Some(&work.serial), None);
                    tokio::select! {
                        biased;
                        () = shop.ended() => {
                            shop.with_queue(|queue| queue.back_first(work));
                            return Err(Order::SetAside);
                        }
                        credential = shop.job.credential(&work.serial, board, Some(self.slot)) => credential,
                    }
                }
            };
            let trouble = match ready {
                Ok(ready) if ready.registration.least_evidence <= self.evidence => return Ok((work, ready)),
                Ok(ready) => shop.job.failed(&work.serial, too_weak(self.evidence, ready.registration.least_evidence)).await,
                Err(trouble) => trouble,
            };
            match trouble {
                Trouble::Run(_) => return Err(self.give_up(work, trouble)),
                Trouble::Board(fault) => {
                    // The board is at fault, not the serial: the next board gets it.
                    shop.with_queue(|queue| queue.back_first(work));
                    self.show(Step::TakeDeviceOut, None, Some(fault));
                    return Err(Order::SetAside);
                }
                // The device is as good as before: the next serial is for it.
                trouble => shop.settle(ended_by(&work.serial, trouble)),
            }
        }
    }

    /// The device holds its credential: noted, confirmed, PASS.
    async fn held(&mut self, work: &Work, held: Held, hardware_id: Option<HardwareId>, ending: Ending, came: Instant) -> Order {
        let (shop, serial) = (Arc::clone(&self.shop), work.serial.as_str());
        let Held { fingerprint, evidence } = held;
        let step = journal::Step::Written(Written { fingerprint, evidence, hardware_id: hardware_id.clone() });
        if let Err(trouble) = shop.job.note(serial, step).await {
            return self.give_up(work.clone(), trouble);
        }
        self.show(Step::Confirm, Some(serial), None);
        let confirmed = shop.confirm(serial).await;
        let ending = Ending { seconds: Some(came.elapsed().as_secs_f64()), ..ending };
        match confirmed {
            Ok(()) => {
                self.holding = self.must_leave(hardware_id.as_ref()).then(|| serial.to_owned());
                if let Some(board) = hardware_id {
                    shop.made().insert(board, serial.to_owned());
                }
                shop.settle(Ending { verdict: Verdict::Pass, ..ending });
                Order::Finish
            }
            Err(Trouble::Run(fault)) => {
                self.holding = self.must_leave(hardware_id.as_ref()).then(|| serial.to_owned());
                // The reason first: were this the last serial, the run would end as if all were well.
                shop.end(End::Fault(fault.clone()));
                shop.settle(Ending { verdict: Verdict::Written, fault: Some(fault), ..ending });
                Order::Finish
            }
            Err(Trouble::Board(fault)) => {
                // The service knows this board as another serial; what it holds now must die before another board gets it.
                shop.with_queue(|queue| queue.back_last(Work { begun: true, board: None, ..work.clone() }));
                self.show(Step::TakeDeviceOut, None, Some(fault));
                Order::SetAside
            }
            Err(Trouble::Serial(fault)) => {
                shop.settle(Ending { fault: Some(fault), ..ending });
                Order::SetAside
            }
            Err(Trouble::Elsewhere(_) | Trouble::DoneBefore) => Order::SetAside,
        }
    }

    /// Writing failed: again with the next device, or FAIL.
    async fn unwritten(&mut self, work: Work, board: Option<&HardwareId>, unwritten: Unwritten, ending: Ending) -> Order {
        let Unwritten { fault, touched } = unwritten;
        let step = journal::Step::NotWritten { touched, code: fault.code.clone(), detail: fault.message.clone() };
        if let Err(trouble) = self.shop.job.note(&work.serial, step).await {
            return self.give_up(work, trouble);
        }
        let code = fault.row();
        let work = Work { attempts: work.attempts + 1, begun: touched, board: board.filter(|_| touched).cloned(), ..work };
        let ending = Ending { fault: Some(fault.clone()), ..ending };
        match code {
            Code::Interrupted => {
                self.shop.with_queue(|queue| queue.back_first(work));
                return Order::SetAside;
            }
            // These say nothing of the serial and nothing of other devices.
            Code::PortMissing | Code::PortBusy | Code::PortDenied => {}
            // The next device would fare no better.
            Code::CredentialTooLong | Code::EvidenceTooWeak => {
                self.shop.settle(ending);
                return Order::SetAside;
            }
            code if code.scope() != Scope::Device => return self.give_up(work, Trouble::Run(fault)),
            _ => {}
        }
        if work.attempts >= ATTEMPTS_MAX {
            self.shop.settle(ending);
            return Order::SetAside;
        }
        self.shop.screen.show(&Event::Retry(ending));
        self.shop.with_queue(|queue| queue.back_last(work));
        // A board that is known again gets a second chance without being taken out.
        if board.is_some() && self.failed_board.as_ref() != board {
            self.failed_board = board.cloned();
            return Order::LookAgain;
        }
        self.failed_board = None;
        Order::SetAside
    }

    /// The run can't go on: the serial stays as the journal has it.
    fn give_up(&self, work: Work, trouble: Trouble) -> Order {
        self.shop.with_queue(|queue| queue.back_first(work));
        if let Trouble::Run(fault) = trouble {
            self.shop.end(End::Fault(fault));
        }
        Order::SetAside
    }

    /// Waits for the end of writing, whatever else happens; after a stop the driver hurries, and not for long.
    async fn written(&mut self, serial: &str) -> Result<Result<Held, Unwritten>, Lost> {
        let shop = Arc::clone(&self.shop);
        let mut hurried = false;
        loop {
            let report = tokio::select! {
                biased;
                report = self.link.report() => report.ok_or(Lost)?,
                () = shop.interrupted(), if !hurried => {
                    self.link.hurry(true);
                    hurried = true;
                    continue;
                }
                () = shop.interrupted_for(STOP_MAX) => {
                    let fault = Fault::new(Code::Interrupted, "the device did not say in time that it has taken its credential");
                    return Ok(Err(Unwritten { fault, touched: true }));
                }
            };
            match report {
                Report::Written(written) => {
                    // A device that holds its credential is told the end all the same, or the next run would find it there.
                    self.link.hurry(false);
                    return Ok(written);
                }
                Report::Step(step, fault) => self.show(step, Some(serial), fault),
                Report::Out(_) => return Err(Lost),
                Report::Came(_) | Report::Finished(_) => {}
            }
        }
    }

    /// Waits until the device was told that all is over, or has gone. False if it may still be there with what it holds, since
    /// it did not take that or since the operator wanted to stop.
    async fn finished(&mut self) -> Result<bool, Lost> {
        let shop = Arc::clone(&self.shop);
        loop {
            let report = tokio::select! {
                biased;
                report = self.link.report() => report.ok_or(Lost)?,
                () = shop.interrupted_for(STOP_MAX) => return Ok(false),
            };
            match report {
                Report::Finished(None) => return Ok(true),
                Report::Finished(Some(fault)) => {
                    let text = format!("the device took its credential but not the end of its visit: {}", fault.message);
                    self.shop.screen.show(&Event::Notice { slot: Some(self.slot), text });
                    return Ok(matches!(fault.row(), Code::DeviceGone | Code::DeviceSilent));
                }
                Report::Step(step, fault) => self.show(step, None, fault),
                Report::Out(_) => return Err(Lost),
                Report::Came(_) | Report::Written(_) => {}
            }
        }
    }

    /// Would the next serial go over this one, unseen, if the device stayed? A board that says which one it is, is known
    /// again; where a serial has a file of its own, nothing is written over.
    fn must_leave(&self, board: Option<&HardwareId>) -> bool {
        board.is_none() && !self.anonymous
    }

    /// The device has gone with what it holds. If the journal can't be told, the next run asks for it to be taken out.
    async fn note_left(&mut self) {
        if let Some(serial) = self.holding.take() {
            let _ = self.shop.job.note(&serial, journal::Step::Left).await;
        }
    }

    fn register_ahead(&mut self) {
        while self.ahead.try_join_next().is_some() {}
        self.ahead.spawn(Arc::clone(&self.shop).register_ahead(self.slot));
    }

    /// The thread ended without being told to: a fault of ours.
    fn broken(&self) -> Fault {
        let fault = Fault::new(Code::Internal, format!("slot {} broke off", self.slot));
        self.show(Step::Out, None, Some(fault.clone()));
        fault
    }

    fn show(&self, step: Step, serial: Option<&str>, fault: Option<Fault>) {
        let hint = self.call.filter(|_| step == Step::PutDeviceIn);
        self.shop.show_slot(self.slot, step, serial, hint, fault);
    }
}

/// The kind of device can't show what the policy asks for.
fn too_weak(evidence: Evidence, least: Evidence) -> Fault {
    Fault::new(Code::EvidenceTooWeak, format!("this kind of device shows `{evidence}`, the policy asks for `{least}`"))
}
