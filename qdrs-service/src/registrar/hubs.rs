//! The hubs, each known by its host; the only way from a registration to a hub's client.
//!
//! A name in the config is only a label: today `main` may be another hub than the one in which a device was made. What is done
//! for a registration is done in the hub that stands in it, or not at all.

use std::{collections::BTreeMap, sync::Arc};

use qdrs_core::{
    api::Code,
    hub::{Hub, host},
};

use super::Refusal;
use crate::ledger::Reservation;

/// The hubs that can be called.
#[derive(Clone, Default)]
pub struct Hubs {
    /// By the host that identifies each.
    clients: BTreeMap<String, Arc<dyn Hub>>,
    /// What stands under each name of the config.
    names: BTreeMap<String, Named>,
}

/// What the config has under a name.
#[derive(Clone)]
enum Named {
    /// A hub, by its host, and where its connection string is from.
    Host { host: String, origin: String },
    /// A hub that can't be called, and why.
    Unusable(String),
}

impl Hubs {
    /// Adds a hub by a name of the config. `origin` says where its connection string is from, as in "given in FILE".
    ///
    /// Of several names for one host, the client that came first serves all.
    pub fn add(&mut self, name: &str, origin: impl Into<String>, hub: Arc<dyn Hub>) {
        let host = host::identity(hub.host_name());
        self.names.insert(name.to_owned(), Named::Host { host: host.clone(), origin: origin.into() });
        self.clients.entry(host).or_insert(hub);
    }

    /// Notes a hub of the config that can't be called, and why.
    pub fn add_unusable(&mut self, name: &str, why: impl Into<String>) {
        self.names.insert(name.to_owned(), Named::Unusable(why.into()));
    }

    /// The hosts of the hubs that can be called.
    pub fn hosts(&self) -> Vec<String> {
        self.clients.keys().cloned().collect()
    }

    /// True if a hub of that host can be called.
    pub fn has(&self, host_name: &str) -> bool {
        self.at(host_name).is_some()
    }

    /// The hosts that stand under more than one name, with these names.
    pub fn shared(&self) -> Vec<(&str, Vec<&str>)> {
        let mut by_host: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, named) in &self.names {
            if let Named::Host { host, .. } = named {
                by_host.entry(host).or_default().push(name);
            }
        }
        by_host.into_iter().filter(|(_, names)| names.len() > 1).collect()
    }

    /// What the config has under each name, in a sentence: as "`main` is a.azure-devices.net (connection string given in FILE)".
    pub fn in_words(&self) -> String {
        let one = |(name, named): (&String, &Named)| match named {
            Named::Host { host, origin } if origin.is_empty() => format!("`{name}` is {host}"),
            Named::Host { host, origin } => format!("`{name}` is {host} (connection string {origin})"),
            Named::Unusable(why) => format!("`{name}` can't be used ({why})"),
        };
        let all: Vec<_> = self.names.iter().map(one).collect();
        if all.is_empty() { "the configuration has no hub".to_owned() } else { all.join(", ") }
    }

    /// The client of the hub that a registration was made in, whatever the config calls it today.
    pub(super) fn of(&self, reservation: &Reservation) -> Result<&Arc<dyn Hub>, Refusal> {
        let Reservation { serial, hub: name, hub_host, .. } = reservation;
        self.at(hub_host).ok_or_else(|| {
            let now = match self.names.get(name) {
                Some(Named::Host { host, .. }) => format!("`{name}`, as it was called, is {host} now"),
                Some(Named::Unusable(_)) => format!("`{name}`, as it was called, can't be used"),
                None => format!("`{name}`, as it was called, is not there any more"),
            };
            self.refusal(format!(
                "`{serial}` belongs to the hub {hub_host}, and no hub of the service's configuration has that host: {now}"
            ))
        })
    }

    /// The client of the hub with that host, if the config names one.
    pub(super) fn at(&self, host_name: &str) -> Option<&Arc<dyn Hub>> {
        self.clients.get(&host::identity(host_name))
    }

    /// The host of the hub that the config names so: where new registrations go.
    pub(super) fn host_of(&self, name: &str) -> Result<&str, Refusal> {
        match self.names.get(name) {
            Some(Named::Host { host, .. }) => Ok(host),
            _ => Err(self.refusal(format!(
                "this access code registers in the hub `{name}`, and the service's configuration has none of that name"
            ))),
        }
    }

    /// Which hubs there are instead is for the owner's eyes.
    fn refusal(&self, detail: String) -> Refusal {
        Refusal { cause: Some(self.in_words()), ..Refusal::new(Code::HubNotConfigured, detail) }
    }
}

impl From<BTreeMap<String, Arc<dyn Hub>>> for Hubs {
    fn from(named: BTreeMap<String, Arc<dyn Hub>>) -> Self {
        let mut hubs = Self::default();
        for (name, hub) in named {
            hubs.add(&name, "", hub);
        }
        hubs
    }
}
