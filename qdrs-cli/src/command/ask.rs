//! Asks the service where many serials stand, some at the same time, and tells the answers in the serials' order.

use std::collections::BTreeMap;

use qdrs_core::{
    api::{Code, SerialStatus, State},
    client::{Client, ClientError},
    explain::Explain,
};
use tokio::task::JoinSet;

use crate::{
    failure::Failure,
    journal::{JobState, Maker, Phase, Records},
    screen::Intent,
};

/// Serials that are asked about at the same time. More would only wait for the service's limit, 20 a second for a code unless
/// the owner sets another.
const AT_ONCE_MAX: usize = 8;

/// What the service said of a serial.
pub(super) type Answer = Result<SerialStatus, ClientError>;

/// Asks about each serial; `told` hears the answers in order, whichever comes first.
///
/// # Errors
///
/// What `told` returns, or a fault of ours.
pub(super) async fn about_each(
    client: &Client,
    serials: impl ExactSizeIterator<Item = String>,
    mut told: impl FnMut(String, Answer) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (mut next, total) = (0, serials.len());
    let (mut asked, mut answers) = (JoinSet::new(), BTreeMap::new());
    let mut serials = serials.enumerate();
    while next < total {
        while asked.len() < AT_ONCE_MAX {
            let Some((at, serial)) = serials.next() else { break };
            let client = client.clone();
            asked.spawn(async move {
                let status = client.status(&serial).await;
                (at, serial, status)
            });
        }
        match asked.join_next().await {
            Some(Ok((at, serial, status))) => answers.insert(at, (serial, status)),
            Some(Err(_)) | None => return Err(Failure::new(Code::Internal, "asking for a serial's status broke off")),
        };
        while let Some((serial, status)) = answers.remove(&next) {
            told(serial, status)?;
            next += 1;
        }
    }
    Ok(())
}

/// What would be done with a serial, from what the journal and the service know of it.
///
/// # Errors
///
/// When the service refuses this station, or can't be reached.
pub(super) fn intent_of(serial: &str, records: &Records, answer: &Answer) -> Result<Intent, ()> {
    match answer {
        Ok(status) => Ok(match (status.state, records.state(serial).map(JobState::phase), records.maker_of(status)) {
            (_, Some(Phase::Passed), _) => Intent::Skip,
            (State::Issued, Some(Phase::Written), _) => Intent::Confirm,
            (State::Confirmed, _, Maker::This | Maker::Lost | Maker::Former) => Intent::Skip,
            (State::Reserved | State::Issued, _, Maker::This | Maker::Lost) => Intent::Finish,
            (State::Confirmed | State::Reserved | State::Issued, _, _) => Intent::Elsewhere,
            (State::Released | State::Rejected, _, _) => Intent::Make,
            (State::Conflict | State::Releasing | State::Scrapped, _, _) => Intent::Fail,
        }),
        Err(error) if error.code() == Code::SerialUnknown => Ok(Intent::Make),
        Err(error) if error.code().scope().stops_the_run() => Err(()),
        Err(_) => Ok(Intent::Fail),
    }
}
