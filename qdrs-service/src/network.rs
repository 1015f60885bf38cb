//! The network side of the service, free of HTTP: `[network]` in the config, the proxies in front of the service, and the
//! connections that are open.

use std::time::Duration;

use qdrs_core::access::sign::is_path_prefix;
use serde::Deserialize;

mod activity;
mod proxies;
mod slots;

pub use activity::{Activity, Closing, Idle};
pub use proxies::TrustedProxies;
pub use slots::{Capacity, Slot, Slots};

/// A connection none of whose requests has verified is idle for so long at most.
const IDLE_UNVERIFIED: Duration = Duration::from_secs(10);

/// The settings of `[network]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// The proxies that are believed when they name the client's address.
    pub trusted_proxies: TrustedProxies,
    /// Each connection from a trusted proxy begins with a PROXY header, version 1 or 2.
    pub proxy_protocol: bool,
    /// The path before `/v1` that clients use and a proxy takes off, or that a proxy adds: `/qdrs`. Empty for none.
    pub path_prefix: String,
    /// Connections open at once, as far as the limit of file descriptors allows it.
    pub connections: u32,
    /// Connections open at once from one network: an IPv4 address, or a /64 of IPv6.
    pub connections_per_network: u32,
    /// HTTP/2 requests at once on one connection.
    pub streams_per_connection: u32,
    /// A connection without a request is closed after so many seconds.
    pub idle_seconds: u32,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            trusted_proxies: TrustedProxies::default(),
            proxy_protocol: false,
            path_prefix: String::new(),
            connections: 4096,
            connections_per_network: 128,
            streams_per_connection: 64,
            idle_seconds: 60,
        }
    }
}

impl Network {
    /// Each value by its name in the config.
    pub fn named(&self) -> [(&'static str, String); 7] {
        [
            ("trusted_proxies", self.trusted_proxies.to_string()),
            ("proxy_protocol", self.proxy_protocol.to_string()),
            ("path_prefix", self.path_prefix.clone()),
            ("connections", self.connections.to_string()),
            ("connections_per_network", self.connections_per_network.to_string()),
            ("streams_per_connection", self.streams_per_connection.to_string()),
            ("idle_seconds", self.idle_seconds.to_string()),
        ]
    }

    /// Checks that the values can be used.
    ///
    /// # Errors
    /// When one of them is 0, `path_prefix` is no path, or `proxy_protocol` has no proxy to hold for.
    pub fn check(&self) -> Result<(), String> {
        if let Some((name, _)) = self.named().iter().find(|(_, value)| value == "0") {
            return Err(format!("`{name}` is 0, so nobody could connect; it is 1 at least"));
        }
        if !self.path_prefix.is_empty() && !is_path_prefix(&self.path_prefix) {
            return Err(format!(
                "`path_prefix` is `{}`, and it is a path without a slash at its end, such as `/qdrs`",
                self.path_prefix
            ));
        }
        if self.proxy_protocol && self.trusted_proxies == TrustedProxies::default() {
            return Err(
                "`proxy_protocol` holds for the connections of `trusted_proxies`, and that is empty; name the proxy there".into(),
            );
        }
        Ok(())
    }

    /// How long a connection may be without a request.
    pub fn idle(&self) -> Idle {
        let verified = Duration::from_secs(self.idle_seconds.into());
        Idle { unverified: verified.min(IDLE_UNVERIFIED), verified }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<(), String> {
        toml::from_str::<Network>(text).map_err(|error| error.message().to_owned())?.check()
    }

    #[test]
    fn what_can_not_be_is_refused_by_its_name() {
        for name in ["connections", "connections_per_network", "streams_per_connection", "idle_seconds"] {
            assert!(checked(&format!("{name} = 0")).is_err_and(|why| why.contains(&format!("`{name}`"))), "{name}");
        }
        assert!(checked("proxy_protocol = true").is_err_and(|why| why.contains("`trusted_proxies`")));
        assert!(checked("trusted_proxies = ['nonsense']").is_err_and(|why| why.contains("`nonsense`")));
        assert_eq!(checked("proxy_protocol = true\ntrusted_proxies = ['127.0.0.1']"), Ok(()));
        assert_eq!(checked(""), Ok(()));
        for path in ["/qdrs", "/a/b-c.d"] {
            assert_eq!(checked(&format!("path_prefix = '{path}'")), Ok(()), "{path}");
        }
        for path in ["/", "qdrs", "/qdrs/", "//a", "/a b", "/a?b"] {
            assert!(checked(&format!("path_prefix = '{path}'")).is_err_and(|why| why.contains("`path_prefix`")), "{path}");
        }
    }

    #[test]
    fn who_has_shown_no_code_is_never_idle_for_longer_than_who_has() {
        let idle = |idle_seconds| Network { idle_seconds, ..Network::default() }.idle();
        assert_eq!((idle(60).unverified, idle(60).verified), (IDLE_UNVERIFIED, Duration::from_secs(60)));
        assert_eq!((idle(2).unverified, idle(2).verified), (Duration::from_secs(2), Duration::from_secs(2)));
    }
}
