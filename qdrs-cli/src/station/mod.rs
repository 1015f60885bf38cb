//! The pipeline: serials in, passed devices out.
//!
//! Each slot is an OS thread ([`slot`]) with a task on the async side ([`visit`]), joined by bounded channels. Slots work
//! in parallel, and the network beside the devices: while a device is written, the next serial is registered, at most
//! one ahead for each slot. Only kinds whose devices don't say which board they are get one ahead; for the others the
//! board belongs into the registration ("one board, one serial"). What was registered ahead stands in the journal and
//! goes to the next device, also of the next run.
//!
//! The service and the journal are [`job`]'s; which serial comes next is [`queue`]'s. Nothing here knows a port, a key
//! or a URL.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use qdrs_core::{
    api::{Code, Evidence, SerialStatus, State},
    batch::Extra,
    hardware_id::HardwareId,
};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    journal::{self, JobState, Journal, Maker},
    outcome::Outcome,
    screen::{Ending, Event, Fault, Screen, Step, Summary, Verdict},
};

pub(crate) mod job;
mod link;
mod queue;
mod releases;
mod service;
mod slot;
#[cfg(all(test, feature = "sandbox"))]
mod tests;
mod visit;

use job::{CONFIRM_WHEN_ENDING_MAX, Elsewhere, Job, Ready, Trouble};
use link::Link;
use queue::{Queue, Take, Work};
pub use service::Service;
pub use slot::Open;

/// Serials of earlier runs that are asked about or confirmed at the same time, before the first device.
const BEFORE_AT_ONCE_MAX: usize = 8;

/// How long what is in hand may take after the operator wanted to stop; the summary comes then.
const STOP_MAX: Duration = Duration::from_millis(1_300);

/// How often it is looked whether a wait has to be told.
const REMIND_EVERY: Duration = Duration::from_millis(500);

/// One place for a device.
pub struct SlotPlan {
    /// The port's name, for people.
    pub port: String,
    /// Opens port and device.
    pub open: Open,
    /// The best that this kind of device can show.
    pub evidence: Evidence,
    /// What a person does so that a device answers.
    pub call: Option<&'static str>,
    /// Do devices of this kind never say which board they are? Then serials may be registered before one is there.
    pub anonymous: bool,
}

/// What is to be made, where, and as whom.
pub struct Plan {
    /// The PC's name.
    pub station: String,
    /// The lot's name.
    pub batch: Option<String>,
    /// The serials, in their order, each once.
    pub serials: Vec<String>,
    /// What the batch has beside some of them.
    pub extras: HashMap<String, Extra>,
    /// Rows of the batch that can't be used, and that nobody makes.
    pub left_out: usize,
    /// The places.
    pub slots: Vec<SlotPlan>,
    /// May this access code take over registrations?
    pub may_take_over: bool,
    /// The operator's reason to take over a registration that is not plainly this station's own.
    pub take_over: Option<String>,
}

/// Why a run ends.
#[derive(Debug, Clone)]
enum End {
    AllSettled,
    Interrupted,
    Fault(Fault),
}

/// What the slots' tasks share.
struct Shop {
    left_out: usize,
    job: Job,
    screen: Screen,
    queue: Mutex<Queue<Ready>>,
    /// Told whenever the queue has changed.
    changed: watch::Sender<()>,
    end: watch::Sender<Option<End>>,
    tally: Mutex<Tally>,
    /// Boards that are done, and as which serial.
    made: Mutex<HashMap<HardwareId, String>>,
    interrupt: watch::Receiver<bool>,
    /// When the operator wanted to stop.
    interrupted_at: OnceLock<Instant>,
}

/// What is counted.
#[derive(Default)]
struct Tally {
    endings: HashMap<&'static str, usize>,
    failures: Vec<Ending>,
}

/// Works through the serials until all are settled, the service refuses the station, or `interrupt` becomes true.
///
/// Shows everything on the screen, the summary too, and returns it with the run's outcome.
pub async fn run(
    plan: Plan,
    service: Arc<dyn Service>,
    journal: Arc<Journal>,
    screen: Screen,
    interrupt: watch::Receiver<bool>,
) -> (Summary, Outcome) {
    let began = Instant::now();
    let serials = plan.serials.len();
    let job = Job {
        service,
        journal: Arc::clone(&journal),
        station: plan.station.clone(),
        batch: plan.batch.clone(),
        extras: plan.extras,
        may_take_over: plan.may_take_over,
        take_over: plan.take_over,
    };
    let mut stop = interrupt.clone();
    let heard = tokio::select! {
        biased;
        Ok(_) = stop.wait_for(|stop| *stop) => Ok(()),
        heard = job.hear_of_releases() => heard,
    };
    let states: HashMap<String, JobState> = journal.all().into_iter().map(|state| (state.serial.clone(), state)).collect();
    let made = states.values().filter(|state| state.confirmed_at.is_some());
    let made = made.filter_map(|state| Some((state.written.as_ref()?.hardware_id.clone()?, state.serial.clone()))).collect();
    let Before { done, written, elsewhere, works } = sort(&journal, plan.serials);
    screen.show(&Event::Start {
        station: plan.station,
        batch: plan.batch,
        serials,
        done_before: done.len(),
        written_before: written.len(),
        slots: plan.slots.iter().map(|slot| slot.port.clone()).collect(),
    });
    let shop = Arc::new(Shop {
        left_out: plan.left_out,
        job,
        screen,
        queue: Mutex::new(Queue::new(works, plan.slots.len())),
        changed: watch::Sender::new(()),
        end: watch::Sender::new(None),
        tally: Mutex::default(),
        made: Mutex::new(made),
        interrupt,
        interrupted_at: OnceLock::new(),
    });
    for serial in &done {
        shop.tell(Ending::of(serial, Verdict::DoneBefore));
    }
    if let Err(Trouble::Run(fault)) = heard {
        shop.end(End::Fault(fault));
    }
    // Owned, so that nothing goes on when this is dropped.
    let mut watching = JoinSet::new();
    watching.spawn(Arc::clone(&shop).watch_interrupt());
    let screen = shop.screen.clone();
    watching.spawn(async move {
        loop {
            tokio::time::sleep(REMIND_EVERY).await;
            screen.remind(Instant::now());
        }
    });
    shop.settle_what_needs_no_device(written, elsewhere).await;
    shop.end_if_all_settled();
    shop.work(plan.slots).await;
    drop(watching);
    shop.conclude(serials, began)
}

/// Where the serials of a batch stand when a run begins.
struct Before {
    done: Vec<String>,
    /// On a device, and only to be confirmed.
    written: Vec<String>,
    /// Another station had them; it may have given them up meanwhile.
    elsewhere: Vec<String>,
    works: Vec<Work>,
}

fn sort(journal: &Journal, serials: Vec<String>) -> Before {
    let mut before = Before { done: Vec::new(), written: Vec::new(), elsewhere: Vec::new(), works: Vec::new() };
    // A credential that is there already is used before another one is asked for.
    let mut registered = Vec::new();
    for serial in serials {
        let Some(state) = journal.state(&serial) else {
            before.works.push(Work::new(serial));
            continue;
        };
        if state.confirmed_at.is_some() {
            before.done.push(serial);
        } else if state.written.is_some() && state.failed.is_none() {
            before.written.push(serial);
        } else if state.elsewhere.is_some() || state.is_anothers() {
            before.elsewhere.push(serial);
        } else {
            // A board that held what was released gets its own serial again.
            let board = state.writing.as_ref().and_then(|attempt| attempt.hardware_id.clone());
            let board = board.or_else(|| state.released.as_ref()?.board.clone());
            let begun = job::may_be_on_another_board(&state, None);
            let work = Work { begun, board, ..Work::new(serial) };
            if state.registration.is_some() && !begun { registered.push(work) } else { before.works.push(work) }
        }
    }
    registered.append(&mut before.works);
    before.works = registered;
    before
}

impl Shop {
    /// Confirms what earlier runs have written, and asks what became of the serials that others had.
    async fn settle_what_needs_no_device(self: &Arc<Self>, written: Vec<String>, elsewhere: Vec<String>) {
        let mut tasks = JoinSet::new();
        let all = written.into_iter().map(|serial| (serial, true)).chain(elsewhere.into_iter().map(|serial| (serial, false)));
        for (serial, is_written) in all {
            // Held until it is settled, so that the run does not end before.
            self.with_queue(Queue::hold);
            while tasks.len() >= BEFORE_AT_ONCE_MAX {
                tasks.join_next().await;
            }
            let shop = Arc::clone(self);
            tasks.spawn(async move {
                if is_written { shop.confirm_without_device(serial).await } else { shop.look_elsewhere(serial).await }
            });
        }
        tasks.join_all().await;
    }

    async fn confirm_without_device(&self, serial: String) {
        let state = self.job.journal.state(&serial);
        let written = state.and_then(|state| state.written);
        let ending = Ending {
            evidence: written.as_ref().map(|written| written.evidence),
            hardware_id: written.and_then(|written| written.hardware_id),
            ..Ending::of(&serial, Verdict::Pass)
        };
        let confirmed = if self.is_ending() { None } else { Some(self.confirm(&serial).await) };
        match confirmed {
            Some(Ok(())) => self.settle(ending),
            Some(Err(Trouble::Serial(fault) | Trouble::Board(fault))) => {
                self.settle(Ending { verdict: Verdict::Fail, fault: Some(fault), ..ending });
            }
            Some(Err(Trouble::Run(fault))) => {
                self.end(End::Fault(fault.clone()));
                self.settle(Ending { verdict: Verdict::Written, fault: Some(fault), ..ending });
            }
            None | Some(Err(Trouble::Elsewhere(_) | Trouble::DoneBefore)) => {
                self.settle(Ending { verdict: Verdict::Written, ..ending })
            }
        }
    }

    /// Another station had it when it was asked for last. What it has given up comes back into the queue.
    async fn look_elsewhere(&self, serial: String) {
        let status = tokio::select! {
            biased;
            () = self.ended() => return self.back_last(serial),
            status = self.job.service.status(&serial) => status,
        };
        let open = |state| matches!(state, State::Reserved | State::Issued);
        let maker = |status: &SerialStatus| self.job.maker(status.yours, status.journal);
        match status {
            // Done, by a journal that this station had.
            Ok(status) if status.state == State::Confirmed && maker(&status) != Maker::Other => {
                let noted = self.job.note(&serial, journal::Step::Confirmed { confirmed_at: status.since }).await;
                if let Err(Trouble::Run(fault)) = noted {
                    self.end(End::Fault(fault));
                    return self.back_last(serial);
                }
                self.settle(Ending::of(&serial, Verdict::DoneBefore));
            }
            // A person has said that it is to be taken over, if the access code may.
            Ok(status) if open(status.state) && status.yours && self.job.take_over.is_some() => self.back_last(serial),
            Ok(status)
                if (open(status.state) || status.state == State::Confirmed)
                    && matches!(maker(&status), Maker::Other | Maker::Former) =>
            {
                let elsewhere = Elsewhere { station: status.station, since: Some(status.since) };
                self.settle(ended_by(&serial, Trouble::Elsewhere(elsewhere)));
            }
            // Free again, our own after all, or not to be asked about: registering will tell.
            _ => self.back_last(serial),
        }
    }

    /// A serial that was never in the queue comes into it.
    fn back_last(&self, serial: String) {
        self.with_queue(|queue| queue.back_last(Work::new(serial)));
    }

    /// Runs all slots until the end.
    async fn work(self: &Arc<Self>, slots: Vec<SlotPlan>) {
        let mut tasks = JoinSet::new();
        for (at, plan) in slots.into_iter().enumerate() {
            if self.is_ending() {
                break;
            }
            match Link::start(at + 1, plan.open) {
                Ok(link) => {
                    let (shop, call) = (Arc::clone(self), plan.call);
                    let visits = visit::Visits::new(shop, link, plan.evidence, plan.anonymous, plan.port).with_call(call);
                    tasks.spawn(visits.run());
                }
                Err(error) => self.end(End::Fault(Fault::new(Code::Internal, format!("no thread for a slot: {error}")))),
            }
        }
        let mut out = None;
        while let Some(ended) = tasks.join_next().await {
            match ended {
                Ok(Some(fault)) => out = out.or(Some(fault)),
                Ok(None) => {}
                Err(_) => self.end(End::Fault(Fault::new(Code::Internal, "a slot's task broke off"))),
            }
        }
        // Slots end by themselves only when they are out of use: nobody is left to go on.
        if !self.is_ending() {
            let fault = out.unwrap_or_else(|| Fault::new(Code::PortMissing, "no slot can be used"));
            self.end(End::Fault(fault));
        }
    }

    /// The serial that was written at this port by a run that ended before its device had left, if one was.
    ///
    /// A port goes by its name: whoever has adapters that change theirs names them by their path.
    fn left_at(&self, port: &str) -> Option<String> {
        let states = self.job.journal.all().into_iter();
        let mut held = states.filter(|state| state.written.is_some() && state.at_port.as_deref() == Some(port));
        held.next_back().map(|state| state.serial)
    }

    async fn watch_interrupt(self: Arc<Self>) {
        self.interrupted().await;
        self.end(End::Interrupted);
    }

    /// Returns when the operator wants to stop.
    async fn interrupted(&self) {
        let mut interrupt = self.interrupt.clone();
        if interrupt.wait_for(|stop| *stop).await.is_err() {
            std::future::pending().await
        }
        self.interrupted_at.get_or_init(Instant::now);
    }

    /// Returns so long after the operator wanted to stop.
    async fn interrupted_for(&self, time: Duration) {
        self.interrupted().await;
        let at = *self.interrupted_at.get_or_init(Instant::now);
        tokio::time::sleep_until((at + time).into()).await;
    }

    /// Ends the run; the first reason stands.
    fn end(&self, end: End) {
        self.end.send_if_modified(|slot| {
            let first = slot.is_none();
            if first {
                *slot = Some(end);
            }
            first
        });
    }

    fn is_ending(&self) -> bool {
        self.end.borrow().is_some()
    }

    /// Returns when the run is to end.
    async fn ended(&self) {
        // The sender lives as long as `self`.
        let _ = self.end.subscribe().wait_for(Option::is_some).await;
    }

    /// Changes the queue, and lets those who wait for a serial look again.
    fn with_queue<T>(&self, change: impl FnOnce(&mut Queue<Ready>) -> T) -> T {
        let answer = change(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.send_replace(());
        answer
    }

    fn end_if_all_settled(&self) {
        if self.with_queue(|queue| queue.all_settled()) {
            self.end(End::AllSettled);
        }
    }

    /// The next serial for a device; waits while others may give one back. None when the run ends.
    async fn take(&self, board: Option<&HardwareId>) -> Option<(Work, Option<Ready>)> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if self.is_ending() {
                return None;
            }
            let take = self.queue.lock().unwrap_or_else(PoisonError::into_inner).take(board);
            match take {
                Take::Serial(work, ready) => return Some((work, ready)),
                Take::AllSettled => return None,
                Take::NotNow => tokio::select! {
                    () = self.ended() => return None,
                    _ = changed.changed() => {}
                },
            }
        }
    }

    /// Registers the next serial while devices are being written.
    async fn register_ahead(self: Arc<Self>, slot: usize) {
        while let Some(work) = { if self.is_ending() { None } else { self.with_queue(|queue| queue.take_ahead()) } } {
            let credential = tokio::select! {
                biased;
                () = self.ended() => return self.with_queue(|queue| queue.ahead_ended(Some(work))),
                credential = self.job.credential(&work.serial, None, Some(slot)) => credential,
            };
            let ending = match credential {
                Ok(ready) => return self.with_queue(|queue| queue.ready(work, ready)),
                Err(Trouble::Run(fault)) => {
                    self.with_queue(|queue| queue.ahead_ended(Some(work)));
                    return self.end(End::Fault(fault));
                }
                Err(trouble) => ended_by(&work.serial, trouble),
            };
            self.tell(ending);
            self.with_queue(|queue| queue.ahead_ended(None));
            self.end_if_all_settled();
        }
    }

    /// Confirms; once the run is to end, not for long any more.
    async fn confirm(&self, serial: &str) -> Result<(), Trouble> {
        let hurry = async {
            let ends = async {
                self.ended().await;
                tokio::time::sleep(CONFIRM_WHEN_ENDING_MAX).await;
            };
            tokio::select! {
                () = ends => {}
                () = self.interrupted_for(STOP_MAX) => {}
            }
        };
        tokio::select! {
            biased;
            confirmed = self.job.confirm(serial) => confirmed,
            () = hurry => {
                let fault = Fault::new(Code::ServiceUnreachable, "the service has not taken the confirmation in time");
                Err(Trouble::Run(fault))
            }
        }
    }

    /// A serial that a slot held has ended: shows, counts and forgets it.
    fn settle(&self, ending: Ending) {
        self.tell(ending);
        self.with_queue(|queue| queue.settled());
        self.end_if_all_settled();
    }

    /// Shows and counts an ending.
    fn tell(&self, ending: Ending) {
        {
            let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
            *tally.endings.entry(ending.verdict.word()).or_default() += 1;
            if matches!(ending.verdict, Verdict::Fail | Verdict::Written) {
                tally.failures.push(ending.clone());
            }
        }
        self.screen.show(&Event::Result(ending));
    }

    fn made(&self) -> MutexGuard<'_, HashMap<HardwareId, String>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show_slot(&self, slot: usize, step: Step, serial: Option<&str>, hint: Option<&str>, fault: Option<Fault>) {
        let [serial, hint] = [serial, hint].map(|text| text.map(str::to_owned));
        self.screen.show(&Event::Slot { slot, step, serial, hint, fault });
    }

    fn conclude(&self, serials: usize, began: Instant) -> (Summary, Outcome) {
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |verdict: Verdict| tally.endings.get(verdict.word()).copied().unwrap_or(0);
        let [pass, written, fail, elsewhere, done_before] =
            [Verdict::Pass, Verdict::Written, Verdict::Fail, Verdict::Elsewhere, Verdict::DoneBefore].map(count);
        let left = serials.saturating_sub(pass + written + fail + elsewhere + done_before);
        let end = self.end.borrow().clone();
        let mut outcome = if fail > 0 { Outcome::SomeFailed } else { Outcome::AllPassed };
        let stopped = match end {
            Some(End::Fault(fault)) => {
                outcome = outcome.max(fault.row().into());
                Some(fault)
            }
            Some(End::Interrupted) => {
                outcome = outcome.max(Outcome::Interrupted);
                None
            }
            Some(End::AllSettled) | None => None,
        };
        let next = if written > 0 {
            Some(format!(
                "Run the same command again: it confirms what is WRITTEN without its device{}.",
                if left + fail > 0 { " and does what is left" } else { "" }
            ))
        } else if left > 0 {
            Some("Run the same command again: it does what is left.".to_owned())
        } else if fail > 0 {
            Some("Mend what failed as its help says, and run the same command again: it does what is left.".to_owned())
        } else {
            None
        };
        let summary = Summary {
            serials,
            pass,
            written,
            fail,
            elsewhere,
            done_before,
            left,
            left_out: self.left_out,
            seconds: began.elapsed().as_secs_f64(),
            exit: outcome.code(),
            interrupted: outcome == Outcome::Interrupted,
            stopped,
            failures: tally.failures.clone(),
            next,
        };
        self.screen.show(&Event::Summary(summary.clone()));
        (summary, outcome)
    }
}

/// The ending of a serial that came to no device.
fn ended_by(serial: &str, trouble: Trouble) -> Ending {
    match trouble {
        Trouble::Elsewhere(Elsewhere { station, since }) => Ending { station, since, ..Ending::of(serial, Verdict::Elsewhere) },
        Trouble::DoneBefore => Ending::of(serial, Verdict::DoneBefore),
        Trouble::Board(fault) | Trouble::Serial(fault) | Trouble::Run(fault) => {
            Ending { fault: Some(fault), ..Ending::of(serial, Verdict::Fail) }
        }
    }
}
