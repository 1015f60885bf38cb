//! Who is calling: SAS tokens of the hub's policies and of its devices, checked as the real hub checks them.
//!
//! Every failure gives the caller the same 401; only the log (debug) says which it was, and never the token. What
//! the real hub takes instead of a SAS token is not supported, and the answer says so.
//! Source: the vendor's documents on tokens and its .NET token class, which has the five minutes of grace.

use std::sync::atomic::{AtomicI64, Ordering};

use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use qdrs_core::{connection_string::DeviceKey, sas::Token};
use tracing::debug;

use super::{device::Key, errors::Refusal, registry::Registry};

/// How long after its end a token is still taken, for clocks that differ.
const GRACE_S: i64 = 300;

/// What a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need<'a> {
    RegistryRead,
    RegistryWrite,
    ServiceConnect,
    /// The device side: this device's own token, or one of a policy that may speak for devices.
    Device(&'a str),
}

/// One of the hub's policies.
pub(super) struct Policy {
    name: &'static str,
    key: DeviceKey,
    registry_read: bool,
    registry_write: bool,
    service: bool,
    device: bool,
}

/// The five policies of a new hub: name, registry read, registry write, service, device.
const POLICIES: [(&str, bool, bool, bool, bool); 5] = [
    (OWNER, true, true, true, true),
    ("service", false, false, true, false),
    ("device", false, false, false, true),
    ("registryRead", true, false, false, false),
    ("registryReadWrite", true, true, false, false),
];

/// The name of the owner's policy.
pub(super) const OWNER: &str = "iothubowner";

/// Checks tokens for one hub.
pub(super) struct Auth {
    policies: Vec<Policy>,
    /// The names a token may give the hub, without a port.
    hosts: Vec<String>,
    /// Seconds added to the clock, for tests of what expires.
    clock_offset_s: AtomicI64,
}

impl Auth {
    /// The owner has the given key; the other policies get new ones.
    pub(super) fn new(owner_key: DeviceKey, hosts: Vec<String>) -> Self {
        let policy = |(name, registry_read, registry_write, service, device)| {
            let key = if name == OWNER { owner_key.clone() } else { DeviceKey::generate() };
            Policy { name, key, registry_read, registry_write, service, device }
        };
        Self { policies: POLICIES.map(policy).into(), hosts, clock_offset_s: AtomicI64::new(0) }
    }

    /// A policy's key.
    pub(super) fn key(&self, policy: &str) -> Option<&DeviceKey> {
        self.policies.iter().find(|known| known.name == policy).map(|known| &known.key)
    }

    /// Lets the hub's clock differ from this machine's by that many seconds.
    pub(super) fn set_clock_offset(&self, seconds: i64) {
        self.clock_offset_s.store(seconds, Ordering::Relaxed);
    }

    /// The hub's time.
    pub(super) fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now.checked_add(SignedDuration::from_secs(self.clock_offset_s.load(Ordering::Relaxed))).unwrap_or(now)
    }

    /// Does the request's token allow what it asks for? `path` is decoded.
    pub(super) fn check(&self, headers: &HeaderMap, path: &str, need: Need, registry: &Registry) -> Result<(), Refusal> {
        if !is_by_sas(headers, need, registry) {
            return Err(Refusal::not_supported());
        }
        self.why_not(headers, path, need, registry).map_err(|reason| {
            debug!(reason, path, "unauthorized");
            Refusal::unauthorized()
        })
    }

    fn why_not(&self, headers: &HeaderMap, path: &str, need: Need, registry: &Registry) -> Result<(), &'static str> {
        let header = headers.get(http::header::AUTHORIZATION).ok_or("no token")?;
        let token = Token::parse(header.to_str().map_err(|_| "token is not text")?).map_err(|_| "token is malformed")?;
        if token.expires().saturating_add(GRACE_S) < self.now().as_second() {
            return Err("token has expired");
        }
        if !self.is_for(&token, path) {
            return Err("token is for another address");
        }
        match token.key_name() {
            Some(name) => self.policy_may(name, &token, need),
            None => device_may(&token, need, registry),
        }
    }

    /// Clients put the port into the name or leave it out, and a forwarded port is another one than ours: any will do.
    fn is_for(&self, token: &Token, path: &str) -> bool {
        let host = token.resource().split('/').next().unwrap_or_default();
        let name = match host.rsplit_once(':') {
            Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name)) && token.covers(&[host.to_owned()], path)
    }

    fn policy_may(&self, name: &str, token: &Token, need: Need) -> Result<(), &'static str> {
        let policy = self.policies.iter().find(|policy| policy.name == name).ok_or("no such policy")?;
        if !token.signed_by(policy.key.as_bytes()) {
            return Err("not signed with the policy's key");
        }
        let may = match need {
            Need::RegistryRead => policy.registry_read,
            Need::RegistryWrite => policy.registry_write,
            Need::ServiceConnect => policy.service,
            Need::Device(_) => policy.device,
        };
        if may { Ok(()) } else { Err("the policy does not allow this") }
    }
}

/// False for a bearer token of Entra ID, and for a device with a certificate, which sends no token.
fn is_by_sas(headers: &HeaderMap, need: Need, registry: &Registry) -> bool {
    match (headers.get(http::header::AUTHORIZATION), need) {
        (Some(value), _) => !value.as_bytes().get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer ")),
        (None, Need::Device(id)) => registry.get(id).map_or(true, |device| device.keys().is_some()),
        (None, _) => true,
    }
}

/// A token without a policy's name is a device's own: good for its own addresses, while it is enabled.
fn device_may(token: &Token, need: Need, registry: &Registry) -> Result<(), &'static str> {
    let Need::Device(id) = need else { return Err("a device's token opens no registry") };
    let device = registry.get(id).map_err(|_| "no such device")?;
    let (primary, secondary) = device.keys().ok_or("the device has no keys")?;
    if ![primary, secondary].into_iter().filter_map(Key::decoded).any(|key| token.signed_by(key.as_bytes())) {
        return Err("not signed with a key of the device");
    }
    // A device's key must not sign for the whole hub or for its neighbours.
    let own = token.resource().split('/').nth(2);
    if own != Some(id) {
        return Err("not for this device alone");
    }
    if device.settings.enabled { Ok(()) } else { Err("the device is disabled") }
}
