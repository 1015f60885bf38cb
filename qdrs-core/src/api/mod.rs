//! The wire format of the service's `/v1`: what is sent, what is answered, and the table of problems.
//!
//! `/v1` only grows; a reader ignores members it does not know. Bodies are JSON; times are RFC 3339; bytes are base64,
//! fingerprints lower-case hex. `qdrs-service/PROTOCOL.md` tells it to people who write a client without this crate.

use std::{collections::BTreeMap, fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    access::{PublicOpeningKey, Sealed},
    connection_string::Fingerprint,
    hardware_id::{self, HardwareId},
};

pub mod problem;

pub use problem::{Code, Problem, Scope, Turn};

/// The version that every answer carries.
pub const VERSION: u32 = 1;

/// The longest body of any request, in bytes.
pub const BODY_BYTES_MAX: usize = 16 * 1024;

/// The longest text of a field that only describes (station, slot, batch, reason), in bytes.
pub const FIELD_BYTES_MAX: usize = 200;

/// The most further columns that a registration may carry.
pub const COLUMNS_MAX: usize = 16;

/// The longest name and the longest value of a further column, in bytes.
pub const COLUMN_BYTES_MAX: usize = 200;

/// The most releases that one answer tells.
pub const RELEASES_MAX: usize = 200;

/// Where a serial stands; the words of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum State {
    /// Durable in the ledger, before any byte goes to the hub.
    Reserved,
    /// The hub has the identity with our key.
    Issued,
    /// The station has claimed it, with evidence.
    Confirmed,
    /// The hub refused this very entry, for good.
    Rejected,
    /// The hub has this device id with a key that was never ours.
    Conflict,
    /// The hub's identity is being deleted.
    Releasing,
    /// The serial is free again; this is its tombstone.
    Released,
    /// Made, then destroyed; never again.
    Scrapped,
}

impl State {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 8] = [
        Self::Reserved,
        Self::Issued,
        Self::Confirmed,
        Self::Rejected,
        Self::Conflict,
        Self::Releasing,
        Self::Released,
        Self::Scrapped,
    ];

    /// The word, as in JSON and in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Issued => "issued",
            Self::Confirmed => "confirmed",
            Self::Rejected => "rejected",
            Self::Conflict => "conflict",
            Self::Releasing => "releasing",
            Self::Released => "released",
            Self::Scrapped => "scrapped",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that is none of a fixed list.
#[derive(Debug, thiserror::Error)]
#[error("`{word}` is no {what}; it is one of {choices}")]
pub struct UnknownWord {
    word: String,
    what: &'static str,
    choices: String,
}

impl UnknownWord {
    /// The error for `word`, which is none of `choices`.
    pub fn new(word: &str, what: &'static str, choices: impl IntoIterator<Item = &'static str>) -> Self {
        Self { word: word.to_owned(), what, choices: choices.into_iter().collect::<Vec<_>>().join(", ") }
    }
}

impl FromStr for State {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or_else(|| UnknownWord::new(word, "state", Self::ALL.map(Self::as_str)))
    }
}

/// What shows that the device holds its credential, from weak to strong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Evidence {
    /// The device only said yes.
    Accepted,
    /// The device reports its own comparison of what it stored.
    DeviceChecked,
    /// The station read it back from the device and compared.
    ReadBack,
}

impl Evidence {
    /// Every kind, from weak to strong.
    pub const ALL: [Self; 3] = [Self::Accepted, Self::DeviceChecked, Self::ReadBack];

    /// The word, as in JSON and in a policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::DeviceChecked => "device-checked",
            Self::ReadBack => "read-back",
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Evidence {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or_else(|| UnknownWord::new(word, "evidence", Self::ALL.map(Self::as_str)))
    }
}

/// Who holds an access code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Kind {
    /// A PC on the line: hears why, and where a serial was made.
    Station,
    /// A software product that registers itself: its code can be found, so it hears one word for every refusal.
    Product,
}

impl Kind {
    /// The word, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Station => "station",
            Self::Product => "product",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        [Self::Station, Self::Product]
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or_else(|| UnknownWord::new(word, "kind of access code", ["station", "product"]))
    }
}

/// What an access code may do beyond registering and confirming.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Permission {
    /// Take over an unconfirmed registration of the same code, whose journal was lost.
    TakeOver,
    /// Register a whole batch without devices (`qdrs register --batch`).
    RegisterBatch,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 2] = [Self::TakeOver, Self::RegisterBatch];

    /// The word, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TakeOver => "take-over",
            Self::RegisterBatch => "register-batch",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Permission {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|one| one.as_str() == word)
            .ok_or_else(|| UnknownWord::new(word, "permission", Self::ALL.map(Self::as_str)))
    }
}

/// Body of `PUT /v1/devices/{serial}`. Everything may be left out by a station; a product sends its `recipient`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegisterRequest {
    /// The PC's name, as its people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub station: Option<String>,
    /// The place for the device at that PC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// The lot that the serial is made in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// What the device reports of itself (MAC, IMEI), if it was asked before.
    #[serde(default, deserialize_with = "hardware_id::deserialize", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub hardware_id: Option<HardwareId>,
    /// The X25519 key to seal the credential to; needed from a product, refused from a station.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub recipient: Option<PublicOpeningKey>,
    /// Names the station's own record of its work, a UUID made with it: two PCs of one name are two stations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Uuid))]
    pub journal: Option<Uuid>,
    /// Take over an unconfirmed registration of the same access code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take_over: Option<TakeOver>,
    /// With `take_over`: the reservation that is taken over, and no other. Needed where another journal made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Uuid))]
    pub replaces: Option<Uuid>,
    /// What stands beside the serial in the station's list, by the names of its columns; for the owner's books. At most
    /// 16, each name and value at most 200 bytes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, String>,
}

/// Why an unconfirmed registration is taken over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TakeOver {
    /// For the audit log; not empty.
    pub reason: String,
}

/// Answer to `PUT /v1/devices/{serial}`: 201 when new, 200 when repeated.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Registration {
    /// The version of the protocol: 1.
    pub version: u32,
    /// The serial in its normal form.
    pub serial: String,
    /// The device's name in the hub.
    pub device_id: String,
    /// The hub's host name, as it is in the device connection string.
    pub hub: String,
    /// This attempt; confirming names it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Uuid))]
    pub reservation: Uuid,
    /// The device connection string, sealed to the caller (RFC 9180).
    #[cfg_attr(feature = "openapi", schema(value_type = SealedSchema))]
    pub sealed: Sealed,
    /// The least evidence that the policy takes when confirming.
    pub least_evidence: Evidence,
}

/// A sealed credential: both members are base64.
#[cfg(feature = "openapi")]
#[derive(utoipa::ToSchema)]
#[schema(as = Sealed)]
#[allow(dead_code)]
pub struct SealedSchema {
    /// The encapsulated key, 32 bytes.
    enc: String,
    /// The ciphertext and its tag.
    ct: String,
}

/// Body of `PUT /v1/devices/{serial}/confirmation`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConfirmRequest {
    /// The attempt that is confirmed.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Uuid))]
    pub reservation: Uuid,
    /// SHA-256 of the decoded key that came back from the device.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub fingerprint: Fingerprint,
    /// What shows that the device holds it.
    pub evidence: Evidence,
    /// What the device reports of itself.
    #[serde(default, deserialize_with = "hardware_id::deserialize", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub hardware_id: Option<HardwareId>,
}

/// Answer to `PUT /v1/devices/{serial}/confirmation`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Confirmation {
    /// The version of the protocol: 1.
    pub version: u32,
    /// The serial in its normal form.
    pub serial: String,
    /// When it was confirmed first.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub confirmed_at: Timestamp,
}

/// Body of `PUT /v1/devices/{serial}/release`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReleaseRequest {
    /// The attempt that is given up.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Uuid))]
    pub reservation: Uuid,
    /// For the ledger and the audit log: one line, 1 to 200 bytes.
    pub reason: String,
}

/// Answer to `PUT /v1/devices/{serial}/release`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Released {
    /// The version of the protocol: 1.
    pub version: u32,
    /// The serial in its normal form.
    pub serial: String,
    /// The attempt whose credential is dead.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Uuid))]
    pub reservation: Uuid,
    /// When it was released.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub released_at: Timestamp,
}

/// Answer to `GET /v1/releases`: registrations of the caller's own that were released or taken over, by whomever.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Releases {
    /// The version of the protocol: 1.
    pub version: u32,
    /// In the order in which they died; at most 200.
    pub releases: Vec<PastRelease>,
    /// What to ask `after` next.
    pub next: u64,
    /// Are there more by now?
    pub more: bool,
}

/// A registration whose credential is dead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PastRelease {
    /// The serial in its normal form.
    pub serial: String,
    /// The attempt.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Uuid))]
    pub reservation: Uuid,
    /// When it was released or taken over.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub released_at: Timestamp,
}

/// Answer to `GET /v1/policy`: what a station needs to look at a batch before anything is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PolicyText {
    /// The version of the protocol: 1.
    pub version: u32,
    /// The name of the access code's policy.
    pub name: String,
    /// The policy in TOML, without what only the service has: lists in files, keys, quotas.
    pub toml: String,
    /// Are all of its rules in it? Else a serial that it takes may still be refused.
    pub whole: bool,
}

/// Answer to `GET /v1/devices/{serial}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SerialStatus {
    /// The version of the protocol: 1.
    pub version: u32,
    /// The serial in its normal form.
    pub serial: String,
    /// Where it stands.
    pub state: State,
    /// Since when.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub since: Timestamp,
    /// The station that works on it or made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub station: Option<String>,
    /// Was it registered with the caller's own access code?
    pub yours: bool,
    /// The attempt; only for the code that registered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Uuid))]
    pub reservation: Option<Uuid>,
    /// The device's name in the hub; only for the code that registered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// The host name that identifies the hub, the classic one of its three; only for the code that registered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
    /// What showed that the device holds its credential; only for the code that registered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// What the device reported of itself, in its normal form; only for the code that registered it.
    #[serde(default, deserialize_with = "hardware_id::deserialize_record", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub hardware_id: Option<HardwareId>,
    /// The journal of the station that registered it, if that named one; only for the code that registered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Uuid))]
    pub journal: Option<Uuid>,
}

/// Answer to `GET /v1/access`: who am I, and what is left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccessInfo {
    /// The version of the protocol: 1.
    pub version: u32,
    /// The access code's name.
    pub name: String,
    /// Who holds it.
    pub kind: Kind,
    /// The policy that its serials must meet.
    pub policy: String,
    /// The least evidence that the policy takes.
    pub least_evidence: Evidence,
    /// How many it may register in all; none means no limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<u64>,
    /// How many it has registered.
    pub registered: u64,
    /// How many of its registrations it may release by itself.
    #[serde(default)]
    pub rework: u64,
    /// How many it has released by itself.
    #[serde(default)]
    pub reworked: u64,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub expires: Option<Timestamp>,
    /// What it may do beyond registering and confirming.
    pub permissions: Vec<Permission>,
    /// How many registrations of this access code the journal has made that the query names, the dead ones too. A journal that
    /// has begun fewer jobs lacks some: it was restored or copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal_registered: Option<u64>,
    /// The service's clock.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub time: Timestamp,
}
