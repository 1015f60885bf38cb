//! The identity registry: every device of the hub, in memory, with the hub's rules for creating and changing them.
//!
//! One lock around a map of shared records: a call holds it for a look-up and a swap, never while it reads or writes
//! JSON. Changes are handed to the store under that lock, so that their order is the same in both.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::Timestamp;
use qdrs_core::connection_string::DeviceKey;
use serde_json::{Map, Value};

use super::{
    device::{Authentication, Device, Key, Settings},
    errors::Refusal,
    store::Store,
    twins::Twin,
};

/// .NET ticks (100 ns since the year 1) at the Unix epoch.
const TICKS_AT_EPOCH: u64 = 621_355_968_000_000_000;
/// Milliseconds since 1970 at the start of 2026: etags begin at the milliseconds since then.
const ETAG_EPOCH_MS: i64 = 1_767_225_600_000;

/// What an `If-Match` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum IfMatch {
    Any,
    Etag(String),
}

impl IfMatch {
    /// `*` and `"*"` alike; an etag with or without quotes.
    pub(super) fn parse(header: &str) -> Self {
        let text = header.trim();
        let text = text.strip_prefix("W/").unwrap_or(text);
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        if text == "*" { Self::Any } else { Self::Etag(text.to_owned()) }
    }

    pub(super) fn holds(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Etag(asked) => asked == etag,
        }
    }
}

/// A device as tests look at it, past the API.
#[derive(Debug, Clone)]
pub struct Known {
    /// The device id.
    pub device_id: String,
    /// The primary key; none for a device with certificates.
    pub primary_key: Option<DeviceKey>,
    /// May it connect?
    pub enabled: bool,
    /// The twin's tags.
    pub tags: Map<String, Value>,
    /// New with each creation of the id.
    pub generation_id: String,
    /// How many messages it has sent since the emulator's start.
    pub messages: u64,
}

/// Every device of the hub. Beside the API, tests and the sandbox look at it and change it as an owner's hand would.
pub struct Registry {
    devices: Mutex<BTreeMap<String, Arc<Device>>>,
    messages: Mutex<HashMap<String, u64>>,
    next_etag: AtomicU64,
    last_generation: AtomicU64,
    devices_max: usize,
    store: Option<Store>,
}

impl Registry {
    pub(super) fn new(devices: Vec<Device>, devices_max: usize, store: Option<Store>) -> Self {
        // Etags go on above all that were ever seen, and above those of deleted devices, which no one remembers.
        let since = Timestamp::now().as_millisecond().saturating_sub(ETAG_EPOCH_MS).unsigned_abs();
        let next_etag = devices.iter().map(|device| device.etag + 1).max().unwrap_or(0).max(since);
        let last_generation = devices.iter().map(|device| device.generation).max().unwrap_or(0);
        Self {
            devices: Mutex::new(devices.into_iter().map(|device| (device.id.clone(), Arc::new(device))).collect()),
            messages: Mutex::default(),
            next_etag: next_etag.into(),
            last_generation: last_generation.into(),
            devices_max,
            store,
        }
    }

    /// Makes an identity; the id must not exist yet, whatever etag the caller may know.
    pub(super) fn create(&self, id: &str, settings: Settings, twin: Twin) -> Result<Arc<Device>, Refusal> {
        let device = Arc::new(Device {
            id: id.to_owned(),
            generation: self.generation(),
            etag: self.etag(),
            settings,
            status_changed: None,
            twin,
        });
        let mut devices = self.devices();
        if devices.contains_key(id) {
            return Err(Refusal::already_exists(id));
        }
        if devices.len() >= self.devices_max {
            return Err(Refusal::full(self.devices_max));
        }
        devices.insert(id.to_owned(), Arc::clone(&device));
        self.keep(&device);
        Ok(device)
    }

    /// Replaces all that an identity says; the twin stays.
    pub(super) fn update(&self, id: &str, if_match: &IfMatch, settings: Settings) -> Result<Arc<Device>, Refusal> {
        self.change(id, |device| {
            if !if_match.holds(&device.etag_text()) {
                return Err(Refusal::stale());
            }
            let changed = device.settings.enabled != settings.enabled;
            let status_changed = if changed { Some(Timestamp::now()) } else { device.status_changed };
            Ok(Device { etag: self.etag(), settings, status_changed, ..device.clone() })
        })
    }

    pub(super) fn delete(&self, id: &str, if_match: &IfMatch) -> Result<(), Refusal> {
        let mut devices = self.devices();
        let device = devices.get(id).ok_or_else(|| Refusal::not_found(id))?;
        if !if_match.holds(&device.etag_text()) {
            return Err(Refusal::stale());
        }
        devices.remove(id);
        if let Some(store) = &self.store {
            store.delete(id);
        }
        Ok(())
    }

    pub(super) fn get(&self, id: &str) -> Result<Arc<Device>, Refusal> {
        self.devices().get(id).cloned().ok_or_else(|| Refusal::not_found(id))
    }

    /// Up to `count` devices whose id comes after `after`, in the order of their ids.
    pub(super) fn page(&self, after: Option<&str>, count: usize) -> Vec<Arc<Device>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.devices().range::<str, _>((from, Bound::Unbounded)).take(count).map(|(_, device)| Arc::clone(device)).collect()
    }

    /// How many there are, and how many of them are enabled.
    pub(super) fn count(&self) -> (usize, usize) {
        let devices = self.devices();
        (devices.len(), devices.values().filter(|device| device.settings.enabled).count())
    }

    /// Writes a twin: `write` makes the new one from the old.
    pub(super) fn write_twin(
        &self,
        id: &str,
        if_match: &IfMatch,
        write: impl FnOnce(&Twin) -> Result<Twin, Refusal>,
    ) -> Result<Arc<Device>, Refusal> {
        self.change(id, |device| {
            if !if_match.holds(&device.twin.etag_text()) {
                return Err(Refusal::stale());
            }
            Ok(Device { twin: write(&device.twin)?, ..device.clone() })
        })
    }

    /// Counts a message from a device.
    pub(super) fn message(&self, id: &str) {
        *self.messages.lock().unwrap_or_else(PoisonError::into_inner).entry(id.to_owned()).or_default() += 1;
    }

    /// Waits until all changes so far are in the store's file, if there is one.
    pub(super) async fn flush(&self) -> Result<(), String> {
        match &self.store {
            Some(store) => store.flush().await,
            None => Ok(()),
        }
    }

    fn change(&self, id: &str, change: impl FnOnce(&Device) -> Result<Device, Refusal>) -> Result<Arc<Device>, Refusal> {
        let mut devices = self.devices();
        let slot = devices.get_mut(id).ok_or_else(|| Refusal::not_found(id))?;
        *slot = Arc::new(change(slot)?);
        self.keep(slot);
        Ok(Arc::clone(slot))
    }

    fn keep(&self, device: &Arc<Device>) {
        if let Some(store) = &self.store {
            store.put(Arc::clone(device));
        }
    }

    fn etag(&self) -> u64 {
        self.next_etag.fetch_add(1, Ordering::Relaxed)
    }

    /// The present ticks, or one more than the last that was given out.
    fn generation(&self) -> u64 {
        let ticks = u64::try_from(Timestamp::now().as_nanosecond() / 100).unwrap_or(0) + TICKS_AT_EPOCH;
        let last = self.last_generation.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(ticks.max(last + 1)));
        ticks.max(last.unwrap_or(0) + 1)
    }

    fn devices(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Device>>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an owner's hand does in the portal, and what a test asks: past tokens, faults and JSON.
impl Registry {
    /// Every device, in the order of their ids.
    pub fn identities(&self) -> Vec<Known> {
        let devices: Vec<_> = self.devices().values().cloned().collect();
        devices.iter().map(|device| self.known(device)).collect()
    }

    /// One device.
    pub fn identity(&self, device_id: &str) -> Option<Known> {
        self.get(device_id).ok().map(|device| self.known(&device))
    }

    /// How many devices there are.
    pub fn len(&self) -> usize {
        self.devices().len()
    }

    /// Is there no device?
    pub fn is_empty(&self) -> bool {
        self.devices().is_empty()
    }

    /// Makes a device with this key by hand; false if the id exists.
    pub fn add(&self, device_id: &str, key: &DeviceKey) -> bool {
        let key = Key::from(key);
        let authentication = Authentication::Sas { primary: key.clone(), secondary: key };
        self.create(device_id, Settings::new(authentication), Twin::new(Timestamp::now())).is_ok()
    }

    /// Deletes a device by hand; false if there is none.
    pub fn remove(&self, device_id: &str) -> bool {
        self.delete(device_id, &IfMatch::Any).is_ok()
    }

    /// Enables or disables a device by hand; false if there is none.
    pub fn set_enabled(&self, device_id: &str, enabled: bool) -> bool {
        self.by_hand(device_id, |settings| settings.enabled = enabled)
    }

    /// Gives a device new keys by hand; false if there is none.
    pub fn replace_keys(&self, device_id: &str, key: &DeviceKey) -> bool {
        let key = Key::from(key);
        self.by_hand(device_id, |settings| settings.authentication = Authentication::Sas { primary: key.clone(), secondary: key })
    }

    fn by_hand(&self, device_id: &str, change: impl FnOnce(&mut Settings)) -> bool {
        let Ok(device) = self.get(device_id) else { return false };
        let mut settings = device.settings.clone();
        change(&mut settings);
        self.update(device_id, &IfMatch::Any, settings).is_ok()
    }

    fn known(&self, device: &Device) -> Known {
        Known {
            device_id: device.id.clone(),
            primary_key: device.keys().and_then(|(primary, _)| primary.decoded()),
            enabled: device.settings.enabled,
            tags: device.tags().clone(),
            generation_id: device.generation.to_string(),
            messages: self.messages.lock().unwrap_or_else(PoisonError::into_inner).get(&device.id).copied().unwrap_or(0),
        }
    }
}
