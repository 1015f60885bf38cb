//! The hub: where device identities are made, as the registrar needs it.
//!
//! Declares what the registrar asks of a hub ([`Hub`]) and the ways it can fail ([`HubError`]); [`azure`] speaks to a
//! real IoT Hub, or to the emulator, which it can't tell apart; [`backoff`] says how long to wait before asking again.
//!
//! A hub never repeats by itself a call that may have had an effect. Whether a create may be repeated depends on which keys
//! the ledger has on record for the serial, and only the registrar knows that. A hub that says "there is no such hub", as it
//! does at random right after good calls, has done nothing: that call is repeated a few times ([`azure`]).

use std::{fmt, time::Duration};

use crate::{Boxed, api::Code, connection_string::DeviceKey, explain::Explain};

mod answer;
pub mod azure;
#[cfg(test)]
mod azure_tests;
pub mod backoff;
mod denial;
#[cfg(test)]
mod edge_tests;
pub mod host;

pub use azure::{AzureHub, HubSetupError};
pub use backoff::Backoff;
pub use denial::Denial;

/// The shortest wait after a throttled call: what IoT Hub asks for in words, since it sends no `Retry-After`.
pub const THROTTLE_WAIT_MIN: Duration = Duration::from_secs(10);

/// A device identity to make.
///
/// Both keys go into one call with the tags; IoT Hub takes both keys or none.
#[derive(Debug)]
pub struct NewIdentity<'a> {
    /// Its name in the hub.
    pub device_id: &'a str,
    /// The key that the device will use.
    pub primary: &'a DeviceKey,
    /// The second key, never handed out.
    pub secondary: &'a DeviceKey,
    /// The twin's tags, an object such as `{"qdrs":{"reservation":"…"}}`; null for none. No name in it may hold `.`,
    /// `$`, `#` or a blank.
    pub tags: serde_json::Value,
}

/// A device identity as the hub has it.
///
/// Holds a secret, so `Debug` shows none of it but what a log may have.
pub struct Identity {
    /// Its name in the hub; letters' case counts.
    pub device_id: String,
    /// Which version of the identity this is, without quotes: replacing and deleting are conditional on it.
    pub etag: String,
    /// May the device connect?
    pub enabled: bool,
    /// The primary key; none when the device proves itself by certificate.
    pub primary: Option<DeviceKey>,
    /// All else that the hub said, without the keys: sent back when the keys are replaced, or it would be lost.
    pub(crate) rest: serde_json::Map<String, serde_json::Value>,
}

impl Identity {
    /// An identity with nothing but these; for a [`Hub`] that is none of this module's.
    pub fn new(device_id: impl Into<String>, etag: impl Into<String>, enabled: bool, primary: Option<DeviceKey>) -> Self {
        Self { device_id: device_id.into(), etag: etag.into(), enabled, primary, rest: serde_json::Map::new() }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("device_id", &self.device_id)
            .field("etag", &self.etag)
            .field("enabled", &self.enabled)
            .field("fingerprint", &self.primary.as_ref().map(|key| key.fingerprint().to_string()))
            .finish_non_exhaustive()
    }
}

/// What the registrar asks of a hub. Each method is one call, never repeated by the hub itself, and may take more than
/// a minute when the hub queues it.
pub trait Hub: Send + Sync {
    /// The host name as the owner's credential has it; [`host::identity`] says which hub that is.
    fn host_name(&self) -> &str;

    /// The host name that goes into device connection strings; the classic one unless a setting says another.
    fn device_host(&self) -> String {
        host::identity(self.host_name())
    }

    /// Makes the identity, with its keys and tags; never touches one that exists.
    ///
    /// # Errors
    /// [`HubError::Exists`] also when an earlier call whose answer was lost has made it: read, and compare fingerprints.
    fn create<'a>(&'a self, new: NewIdentity<'a>) -> Boxed<'a, Result<(), HubError>>;

    /// The identity, or none when the hub says that it has no device of that name.
    ///
    /// Just after [`HubError::Exists`], none means "not settled yet", not "free".
    ///
    /// # Errors
    /// All but [`HubError::NotFound`].
    fn read<'a>(&'a self, device_id: &'a str) -> Boxed<'a, Result<Option<Identity>, HubError>>;

    /// Puts new keys into the identity, so that the old ones are dead; all else stays.
    ///
    /// # Errors
    /// [`HubError::Changed`] when the identity is not the one that was read.
    fn replace_keys<'a>(
        &'a self,
        identity: &'a Identity,
        primary: &'a DeviceKey,
        secondary: &'a DeviceKey,
    ) -> Boxed<'a, Result<(), HubError>>;

    /// Deletes the very identity that was read.
    ///
    /// # Errors
    /// [`HubError::Changed`] when the identity is not the one that was read; [`HubError::NotFound`] when it is gone.
    fn delete<'a>(&'a self, identity: &'a Identity) -> Boxed<'a, Result<(), HubError>>;
}

/// Why a hub did not do what was asked. Three kinds matter to the registrar, and are told by the two methods below:
/// refused (nothing was done), nothing was sent, effect unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// The hub has a device of that name.
    #[error("the hub has this device already")]
    Exists,
    /// The identity is not the one that was read: its ETag moved.
    #[error("the device was changed in the hub meanwhile")]
    Changed,
    /// The hub has no device of that name.
    #[error("the hub has no such device")]
    NotFound,
    /// The hub refuses this very entry, for good.
    #[error("the hub refuses the device: {text} ({code})")]
    Rejected {
        /// The hub's own word for it.
        code: String,
        /// What it says, without a secret.
        text: String,
    },
    /// The hub has had too many calls; this one was refused as a whole.
    #[error("the hub is throttling; it asks to wait {} s", retry_after.as_secs())]
    Throttled {
        /// At least [`THROTTLE_WAIT_MIN`].
        retry_after: Duration,
    },
    /// The hub takes no more devices.
    #[error("the hub takes no more devices")]
    Full,
    /// The hub refuses the service, whatever device the call is about. Nothing was done.
    #[error("{text}")]
    Denied {
        /// The cause.
        why: Denial,
        /// The cause in a sentence, with the hub's own words and without a secret.
        text: String,
    },
    /// The call may or may not have had its effect: no answer, or a fault of the hub.
    #[error("whether the hub did it is unknown: {why}")]
    Unclear {
        /// What happened.
        why: String,
    },
    /// The answer is none of an IoT Hub. The call may have had its effect all the same: a proxy can answer after it.
    #[error("what answers is no IoT Hub: {why}")]
    Stranger {
        /// What it answered.
        why: String,
    },
    /// The certificate is not trusted. Nothing was sent.
    #[error("the hub's certificate is not trusted: {why}")]
    Untrusted {
        /// What is wrong with it.
        why: String,
    },
    /// Nothing was sent, so nothing happened: no connection, no address.
    #[error("the hub can't be reached: {why}")]
    Unreachable {
        /// What happened.
        why: String,
    },
}

impl HubError {
    /// May the call have had its effect? Then only reading the identity can tell.
    pub fn effect_unknown(&self) -> bool {
        matches!(self, Self::Unclear { .. } | Self::Stranger { .. })
    }

    /// Does asking again, unchanged, make sense?
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Throttled { .. } | Self::Unclear { .. } | Self::Stranger { .. } | Self::Unreachable { .. } => true,
            Self::Exists
            | Self::Changed
            | Self::NotFound
            | Self::Rejected { .. }
            | Self::Full
            | Self::Denied { .. }
            | Self::Untrusted { .. } => false,
        }
    }

    /// How long the hub wants to be left alone, if it says so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after } => Some(*retry_after),
            _ => None,
        }
    }
}

impl Explain for HubError {
    fn code(&self) -> Code {
        match self {
            Self::Exists => Code::Conflict,
            Self::Changed => Code::IdentityChanged,
            Self::NotFound => Code::IdentityMissing,
            Self::Rejected { .. } => Code::RejectedByHub,
            Self::Throttled { .. } => Code::HubThrottled,
            Self::Full => Code::HubFull,
            Self::Denied { why, .. } => why.code(),
            Self::Unclear { .. } => Code::HubSlow,
            Self::Stranger { .. } => Code::HubUnrecognised,
            Self::Untrusted { .. } => Code::HubUntrusted,
            Self::Unreachable { .. } => Code::HubUnreachable,
        }
    }
}
