//! From the config to the hubs' clients, and which serials of the ledger belong to none of them.

use std::sync::Arc;

use qdrs_core::hub::{
    AzureHub, Hub,
    host::{self, DeviceHost},
};

use super::ServeError;
use crate::{
    config::{Config, HubConfig},
    ledger::{Ledger, LedgerError, SerialsAtHost},
    registrar::Hubs,
};

/// Every hub of the config.
///
/// # Errors
/// The first one that can't be used.
pub fn all(config: &Config) -> Result<Hubs, ServeError> {
    let mut hubs = Hubs::default();
    for (name, hub) in &config.hubs {
        hubs.add(name, hub.connection.to_string(), client(name, hub)?);
    }
    Ok(hubs)
}

/// The hubs of the config that can be used here; why another can't is said when it is asked for.
pub fn usable(config: &Config) -> Hubs {
    let mut hubs = Hubs::default();
    for (name, hub) in &config.hubs {
        match client(name, hub) {
            Ok(client) => {
                hubs.add(name, hub.connection.to_string(), client);
            }
            Err(error) => hubs.add_unusable(name, error.to_string()),
        }
    }
    hubs
}

fn client(name: &str, hub: &HubConfig) -> Result<Arc<dyn Hub>, ServeError> {
    let made = AzureHub::new(hub.owner(name)?, hub.endpoint.clone(), hub.ca_pem()?.as_deref())
        .and_then(|client| client.with_device_host(&hub.device_host));
    Ok(Arc::new(made.map_err(|error| ServeError::Hub { name: name.to_owned(), error })?))
}

/// What may keep a hub from serving, as far as its owner connection string shows it, in a sentence each.
pub fn doubts_in_words(config: &Config) -> Vec<String> {
    let mut doubts = Vec::new();
    for (name, hub) in &config.hubs {
        let Ok(owner) = hub.owner(name) else { continue };
        let (host, policy) = (&owner.host_name, &owner.key_name);
        if let Some(lacks) = owner.lacks() {
            doubts.push(format!(
                "hub `{name}`: policy `{policy}` of {host} lacks {lacks} unless its rights were changed; QDRS needs those of \
                 `registryReadWrite`"
            ));
        }
        let classic = host::identity(host);
        if host::for_devices(host, &DeviceHost::Device).is_ok_and(|device| device.eq_ignore_ascii_case(host)) {
            doubts.push(format!(
                "hub `{name}`: its connection string has {host}, the name for devices, and the service may not be answered there; \
                 write {classic} as its `HostName`, and `device_host = \"device\"` if devices are to get the other"
            ));
        }
    }
    doubts
}

/// Names of the config that are one hub, in a sentence each.
pub fn shared_in_words(hubs: &Hubs) -> impl Iterator<Item = String> {
    hubs.shared().into_iter().map(|(host, names)| {
        format!("hubs `{}` are one hub, {host}: `{}` is used for all of them", names.join("` and `"), names[0])
    })
}

/// The serials that belong to hubs that the config does not have, in a sentence for each hub, with what is to be done.
///
/// # Errors
/// The ledger can't be read.
pub async fn missing_in_words(config: &Config, hubs: &Hubs, ledger: &dyn Ledger) -> Result<Vec<String>, LedgerError> {
    let names = (1..).map(|number| format!("old-{number}")).filter(|name| !config.hubs.contains_key(name));
    let strays = ledger.serials_at_other_hosts(hubs.hosts()).await?;
    Ok(strays.into_iter().zip(names).map(|(stray, name)| in_words(&stray, config, hubs, &name)).collect())
}

fn in_words(SerialsAtHost { host, open, confirmed }: &SerialsAtHost, config: &Config, hubs: &Hubs, name: &str) -> String {
    // A second hub takes its being the default away from the only one there is.
    let said = config.origins.iter().any(|(name, ..)| *name == "default_hub");
    let default = config.default_hub.as_ref().filter(|_| !said);
    let default = default.map_or_else(String::new, |hub| format!(", and `default_hub = \"{hub}\"` above its tables"));
    format!(
        "serials of this ledger are in the hub {host} (open: {open}, confirmed: {confirmed}), and no hub of the configuration has that \
         host: {}; they can't be issued, taken over, released or scrapped before the config has `[hubs.{name}]` with \
         `connection_file = \"FILE\"`, a file of mode 0600 with the owner connection string of {host}{default}",
        hubs.in_words()
    )
}
