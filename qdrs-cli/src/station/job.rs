//! One serial's steps on the async side: the journal, the registration, the confirmation, and taking over.
//!
//! Whatever is told to the service or to a device stands in the journal before. So each step may be repeated after a
//! `kill -9`, with the same keys and therefore the same effect. Knows no slot's thread and no order of serials.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use qdrs_core::{
    api::{Code, ConfirmRequest, Problem, RegisterRequest, Registration, Scope, State, TakeOver},
    batch::Extra,
    client::ClientError,
    connection_string::DeviceConnectionString,
    explain::Explain,
    hardware_id::HardwareId,
};
use uuid::Uuid;

use super::service::Service;
use crate::{
    journal::{Entry, JobState, Journal, Maker, Step, Verdict},
    screen::Fault,
};

/// The reason of a take-over when a credential may be on a board that is not in the slot.
pub(super) const MAYBE_ON_ANOTHER_BOARD: &str = "may be on another board";
/// The reason of a take-over when the service knows a job of a journal that this station has lost.
pub(super) const UNKNOWN_TO_THE_JOURNAL: &str = "the station's journal does not know this job";
/// How long a confirmation is still tried after something else has ended the run.
pub(super) const CONFIRM_WHEN_ENDING_MAX: Duration = Duration::from_secs(10);

/// A serial with its credential, for the next device.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) registration: Box<Registration>,
    pub(crate) credential: DeviceConnectionString,
}

/// Why a step of a serial did not succeed, and what that means for what comes next.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Another station has it; this one moves on.
    Elsewhere(Elsewhere),
    /// It was made in an earlier run.
    DoneBefore,
    /// This board can't be made as this serial; the serial itself is well.
    Board(Fault),
    /// The serial fails.
    Serial(Fault),
    /// The run can't go on.
    Run(Fault),
}

/// Who has a serial that is not this station's, as far as the service says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Elsewhere {
    pub(crate) station: Option<String>,
    pub(crate) since: Option<Timestamp>,
}

/// A registration that is taken over.
#[derive(Debug, Clone, Copy)]
struct Taking<'a> {
    reason: &'a str,
    /// This one and no other.
    replaces: Option<Uuid>,
}

/// What all serials of a run share.
pub(crate) struct Job {
    pub(crate) service: Arc<dyn Service>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) station: String,
    pub(crate) batch: Option<String>,
    /// What the batch has beside some serials; for the journal and the owner's books.
    pub(crate) extras: HashMap<String, Extra>,
    /// May this access code take over at all?
    pub(crate) may_take_over: bool,
    /// The operator's reason to take over what is not plainly this station's own.
    pub(crate) take_over: Option<String>,
}

impl Job {
    /// Writes to the journal, off the async threads, since the disk may take its time.
    pub(crate) async fn note(&self, serial: &str, step: Step) -> Result<(), Trouble> {
        let (journal, entry) = (Arc::clone(&self.journal), Entry::new(serial, step));
        match tokio::task::spawn_blocking(move || journal.append(entry)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Trouble::Run(Fault::of(&error))),
            Err(_) => Err(Trouble::Run(Fault::new(Code::Internal, "writing the journal broke off"))),
        }
    }

    /// The credential of a serial: from the journal if it is there and may be used, else from the service.
    ///
    /// `board` is the hardware id of the device in the slot; none when it does not say, or when none is there yet.
    pub(crate) async fn credential(
        &self,
        serial: &str,
        board: Option<&HardwareId>,
        slot: Option<usize>,
    ) -> Result<Ready, Trouble> {
        let known = self.journal.state(serial);
        if let Some(state) = &known {
            if state.confirmed_at.is_some() {
                return Err(Trouble::DoneBefore);
            }
            if state.is_anothers() {
                return self.register_anew(serial, board, slot, None).await;
            }
            // Sent perhaps, and never answered: what it asked for comes first. Its credential has reached no board.
            let unanswered = !state.job.is_nil() && state.reservation.is_none();
            if !unanswered && may_be_on_another_board(state, board) {
                // Asking would cost the credential that the journal holds for the board, should it come back.
                if !self.may_take_over {
                    let fault = Fault::new(
                        Code::NotPermitted,
                        "the serial may be on another board, and this access code may not take it over",
                    )
                    .with_help("put that board in again, or ask the product owner for a code that may take over");
                    return Err(self.failed(serial, fault).await);
                }
                let replaces = state.writing.as_ref().map(|attempt| attempt.reservation);
                let taking = Taking { reason: MAYBE_ON_ANOTHER_BOARD, replaces };
                return self.register_anew(serial, board, slot, Some(taking)).await;
            }
            if is_dead(state) {
                return self.register_anew(serial, board, slot, None).await;
            }
            // Of an answer that an earlier run has noted the service says whether it still holds: the journal may have been put
            // back with all else on its disk, and the credential be on a device. So it does of one that is sealed to an access
            // code that this station no longer has.
            if let Some(registration) = state.registration.as_ref().filter(|_| state.answered_now && !is_in_doubt(state))
                && let Ok(credential) = self.service.open(&state.serial, state.job, registration)
            {
                return Ok(Ready { registration: registration.clone(), credential });
            }
            if !state.job.is_nil() {
                let board = board.or(state.hardware_id.as_ref());
                let taking = state.take_over.as_deref().map(|reason| Taking { reason, replaces: state.replaces });
                return self.register(state, self.request(&state.serial, board, slot, taking), false).await;
            }
        }
        self.register_anew(serial, board, slot, None).await
    }

    /// Registers under a new job key. With a reason, the registration that stands is taken over: its key dies first.
    async fn register_anew(
        &self,
        serial: &str,
        board: Option<&HardwareId>,
        slot: Option<usize>,
        taking: Option<Taking<'_>>,
    ) -> Result<Ready, Trouble> {
        // What the seal is bound to is the text as it was sent first.
        let serial = self.journal.state(serial).map_or_else(|| serial.to_owned(), |state| state.serial);
        let step = Step::Job {
            job: Uuid::now_v7(),
            confirm: Uuid::now_v7(),
            slot: slot.map(|slot| slot.to_string()),
            batch: self.batch.clone(),
            hardware_id: board.cloned(),
            take_over: taking.map(|taking| taking.reason.to_owned()),
            replaces: taking.and_then(|taking| taking.replaces),
            extra: self.extras.get(&serial).cloned().unwrap_or_default(),
        };
        self.note(&serial, step).await?;
        let Some(state) = self.journal.state(&serial) else {
            return Err(Trouble::Run(Fault::new(Code::Internal, "the journal does not know what it was just told")));
        };
        self.register(&state, self.request(&serial, board, slot, taking), true).await
    }

    fn request(
        &self,
        serial: &str,
        board: Option<&HardwareId>,
        slot: Option<usize>,
        taking: Option<Taking<'_>>,
    ) -> RegisterRequest {
        RegisterRequest {
            station: Some(self.station.clone()),
            journal: self.journal.id(),
            slot: slot.map(|slot| slot.to_string()),
            batch: self.batch.clone(),
            hardware_id: board.cloned(),
            recipient: None,
            take_over: taking.map(|taking| TakeOver { reason: taking.reason.to_owned() }),
            replaces: taking.and_then(|taking| taking.replaces),
            columns: self.extras.get(serial).map(Extra::columns).unwrap_or_default(),
        }
    }

    /// Sends the registration of the job that stands in the journal, and notes the answer. `fresh`: the job is new.
    async fn register(&self, state: &JobState, request: RegisterRequest, fresh: bool) -> Result<Ready, Trouble> {
        match self.service.register(&state.serial, state.job, &request).await {
            Ok(registered) => {
                let registration = Box::new(registered.registration);
                self.note(&state.serial, Step::Registered { registration: registration.clone() }).await?;
                Ok(Ready { registration, credential: registered.credential })
            }
            Err(ClientError::Refused(problem)) if Code::find(&problem.code) == Some(Code::SerialTaken) => {
                self.taken(state, request, &problem).await
            }
            // The owner released what this job had made; that frees the serial for a new one.
            Err(error) if error.code() == Code::Released && !fresh => {
                let (board, slot) = (request.hardware_id.as_ref(), slot_of(&request));
                Box::pin(self.register_anew(&state.serial, board, slot, None)).await
            }
            // Everything else may still be registered; only this one is not to be taken over.
            Err(error) if error.code() == Code::NotPermitted && request.take_over.is_some() => {
                Err(self.failed(&state.serial, Fault::of(&error)).await)
            }
            Err(error) => Err(self.trouble(&state.serial, &error).await),
        }
    }

    /// The serial is another job's: done, another station's, or one of a journal that this station has lost.
    async fn taken(&self, state: &JobState, request: RegisterRequest, problem: &Problem) -> Result<Ready, Trouble> {
        let yours = problem.yours == Some(true);
        let maker = self.maker(yours, problem.journal);
        let open = matches!(problem.state, Some(State::Reserved | State::Issued));
        // A job that was never answered knows as little as no job: a `kill -9` may have come right after it was noted.
        let unknown = state.reservation.is_none();
        if maker == Maker::This && open && unknown {
            self.refuse_what_stands_twice(&state.serial).await?;
        }
        let reason = match &self.take_over {
            _ if !yours || !open => None,
            // Asked by its name and refused: asking for ever would help nobody.
            _ if request.take_over.is_some() && request.replaces == problem.reservation => None,
            Some(reason) => Some(reason.as_str()),
            None if self.may_take_over && maker == Maker::Lost && unknown => Some(UNKNOWN_TO_THE_JOURNAL),
            None => None,
        };
        if let Some(reason) = reason {
            let (board, slot) = (request.hardware_id.as_ref(), slot_of(&request));
            let taking = Taking { reason, replaces: problem.reservation };
            return Box::pin(self.register_anew(&state.serial, board, slot, Some(taking))).await;
        }
        match (problem.state, maker) {
            (Some(State::Confirmed | State::Reserved | State::Issued) | None, Maker::Other)
            | (Some(State::Reserved | State::Issued), Maker::Former) => {
                let (station, since) = (problem.station.clone(), problem.since);
                self.note(&state.serial, Step::Elsewhere { station: station.clone(), since }).await?;
                Err(Trouble::Elsewhere(Elsewhere { station, since }))
            }
            (Some(State::Confirmed), _) => {
                let confirmed_at = problem.since.unwrap_or_else(Timestamp::now);
                self.note(&state.serial, Step::Confirmed { confirmed_at }).await?;
                Err(Trouble::DoneBefore)
            }
            _ => {
                let mut fault = Fault::of(&ClientError::Refused(Box::new(problem.clone())));
                if maker == Maker::This && open && unknown {
                    let text =
                        "this station's journal has registered it and does not know of it, as after a restore from a backup";
                    fault = Fault::new(Code::SerialTaken, text);
                }
                if yours && open {
                    fault = fault
                        .with_help("if no device carries it, run again with `--take-over REASON`: the old credential dies first");
                }
                Err(self.failed(&state.serial, fault).await)
            }
        }
    }

    /// How the maker of a registration stands to this station. With another access code it is another one.
    pub(super) fn maker(&self, yours: bool, journal: Option<Uuid>) -> Maker {
        if yours { self.journal.maker(journal) } else { Maker::Other }
    }

    /// A batch may have one serial in two spellings; the journal then knows the job after all, under the other one.
    async fn refuse_what_stands_twice(&self, serial: &str) -> Result<(), Trouble> {
        let status = match self.service.status(serial).await {
            Ok(status) => status,
            Err(error) => return Err(self.trouble(serial, &error).await),
        };
        match self.journal.state(&status.serial) {
            Some(other) if other.serial != serial && other.reservation.is_some() => {
                let text = format!("this is the serial number `{}` again, written differently", other.serial);
                Err(self.failed(serial, Fault::new(Code::SerialTaken, text)).await)
            }
            _ => Ok(()),
        }
    }

    /// Tells the service that the device holds its credential; notes its answer.
    pub(crate) async fn confirm(&self, serial: &str) -> Result<(), Trouble> {
        let (state, reservation, written) = match self.journal.state(serial) {
            Some(JobState { confirmed_at: Some(_), .. }) => return Ok(()),
            Some(state) => match (state.reservation, state.written.clone()) {
                (Some(reservation), Some(written)) => (state, reservation, written),
                _ => return Err(Trouble::Run(Fault::new(Code::Internal, "what is to be confirmed was never written"))),
            },
            None => return Err(Trouble::Run(Fault::new(Code::Internal, "what is to be confirmed is not in the journal"))),
        };
        let request = ConfirmRequest {
            reservation,
            fingerprint: written.fingerprint,
            evidence: written.evidence,
            hardware_id: written.hardware_id,
        };
        match self.service.confirm(&state.serial, state.confirm, &request).await {
            Ok(confirmation) => self.note(&state.serial, Step::Confirmed { confirmed_at: confirmation.confirmed_at }).await,
            Err(error) => Err(self.trouble(&state.serial, &error).await),
        }
    }

    /// What an error of the service means for what comes next. What fails for good is noted.
    async fn trouble(&self, serial: &str, error: &ClientError) -> Trouble {
        let fault = Fault::of(error);
        match error.code() {
            Code::BoardTaken => match self.note(serial, Step::failed(Code::BoardTaken, fault.message.as_str())).await {
                Ok(()) => Trouble::Board(fault),
                Err(trouble) => trouble,
            },
            // Whatever broke this seal would break the next one, and each costs a serial.
            Code::SealBroken => Trouble::Run(fault),
            code if code.scope() == Scope::Device => self.failed(serial, fault).await,
            _ => Trouble::Run(fault),
        }
    }

    /// Notes that a serial has failed.
    pub(super) async fn failed(&self, serial: &str, fault: Fault) -> Trouble {
        let step = Step::Failed { code: fault.code.clone(), detail: fault.message.clone() };
        match self.note(serial, step).await {
            Ok(()) => Trouble::Serial(fault),
            Err(trouble) => trouble,
        }
    }
}

/// Could the credential of this serial be on a board that can't be shown to be the one in the slot?
///
/// It could when it was on its way to a device and nobody saw that it never arrived.
pub(super) fn may_be_on_another_board(state: &JobState, board: Option<&HardwareId>) -> bool {
    state.writing.as_ref().is_some_and(|attempt| {
        let same = attempt.hardware_id.is_some() && attempt.hardware_id.as_ref() == board;
        attempt.verdict != Some(Verdict::Untouched) && !same
    })
}

/// Was the registration in the journal released or taken over, so that only a new job can go on?
fn is_dead(state: &JobState) -> bool {
    state.failed.as_ref().is_some_and(|failure| failure.code == Code::Released.as_str())
}

/// Did somebody change the identity in the hub by hand, so that only the service knows whether the credential holds?
fn is_in_doubt(state: &JobState) -> bool {
    let doubts = [Code::IdentityMissing, Code::IdentityChanged, Code::IdentityDisabled].map(Code::as_str);
    state.failed.as_ref().is_some_and(|failure| doubts.contains(&failure.code.as_str()))
}

fn slot_of(request: &RegisterRequest) -> Option<usize> {
    request.slot.as_deref()?.parse().ok()
}
