//! The callers: each asks for its next device as soon as it has the last one.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use qdrs_core::{
    api::{ConfirmRequest, Evidence, RegisterRequest},
    client::{Client, ClientOptions},
    hardware_id::HardwareId,
};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::world::Service;

/// What is asked for each device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// One signed `PUT`.
    Register,
    /// The same, then the confirmation, as a station does it.
    RegisterAndConfirm,
}

impl Work {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::RegisterAndConfirm => "register + confirm",
        }
    }
}

/// Gives each serial once; the policy of the bench takes multiples of 7.
#[derive(Debug, Default)]
pub(crate) struct Serials {
    given: usize,
}

impl Serials {
    fn take(&mut self, count: usize) -> Vec<String> {
        let from = self.given + 1;
        self.given += count;
        (from..from + count).map(|number| format!("QD-{:09}", number * 7)).collect()
    }

    /// How many were given.
    pub(crate) fn given(&self) -> usize {
        self.given
    }
}

/// Has that many devices made by that many callers; how long each took its caller.
pub(crate) async fn run(
    service: &Service,
    callers: usize,
    devices: usize,
    work: Work,
    serials: &mut Serials,
) -> Result<Vec<Duration>> {
    let serials = serials.take(devices);
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let own: Vec<String> = serials.iter().skip(caller).step_by(callers).cloned().collect();
        let client = Client::new(ClientOptions {
            service: service.url.clone(),
            code: service.code()?,
            ca_file_pem: None,
            // A try that fails is a fault of the run, not something to wait for.
            patience: Duration::ZERO,
            user_agent: "qdrs-load".to_owned(),
        })?;
        tasks.spawn(async move {
            let mut latencies = Vec::with_capacity(own.len());
            for serial in own {
                let began = Instant::now();
                make(&client, &serial, caller, work).await.with_context(|| format!("making {serial}"))?;
                latencies.push(began.elapsed());
            }
            Ok::<_, anyhow::Error>(latencies)
        });
    }
    let mut latencies = Vec::with_capacity(devices);
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done??);
    }
    Ok(latencies)
}

async fn make(client: &Client, serial: &str, caller: usize, work: Work) -> Result<()> {
    let request = RegisterRequest {
        station: Some("bench".to_owned()),
        slot: Some(format!("slot-{caller}")),
        batch: Some("bench-batch".to_owned()),
        hardware_id: HardwareId::from_record(&format!("hw-{serial}")),
        ..RegisterRequest::default()
    };
    let registered = client.register(serial, Uuid::now_v7(), &request).await?;
    if work == Work::RegisterAndConfirm {
        let request = ConfirmRequest {
            reservation: registered.registration.reservation,
            fingerprint: registered.credential.key.fingerprint(),
            evidence: Evidence::DeviceChecked,
            hardware_id: request.hardware_id,
        };
        client.confirm(serial, Uuid::now_v7(), &request).await?;
    }
    Ok(())
}
