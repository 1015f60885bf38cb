//! Starts and stops the service: config to hubs, ledger and registrar, then a listener with TLS, or plain on loopback.
//!
//! `qdrs-service serve`, the sandbox and the tests all come through here.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use qdrs_core::{api::Code, explain::Explain, hub::HubSetupError};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{sync::watch, task::JoinHandle};
use tokio_rustls::TlsAcceptor;
use url::Url;

use crate::{
    config::{Config, ConfigError, check_mode, read},
    http::{self, App},
    ledger::{Ledger, LedgerError, SqliteLedger, forms::Form},
    limits::{Gate, Limits, Tallies},
    network::{Capacity, Network, Slots},
    registrar::Registrar,
};

mod connection;
mod descriptors;
mod framing;
pub mod hubs;

use connection::Shared;

/// Requests that run when the service is stopped get so long: more than a `PUT` ever waits for the hub.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// How often what was refused is looked through for lines that are due in the log.
const FLUSH_PERIOD: Duration = Duration::from_secs(5);

/// Why the service can't start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The ledger can't be opened.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A hub's client can't be made.
    #[error("hub `{name}`: {error}")]
    Hub {
        /// The hub's name in the config.
        name: String,
        /// What is wrong.
        error: HubSetupError,
    },
    /// There is no hub.
    #[error("there is no hub to register devices in")]
    NoHub,
    /// The address can't be listened on.
    #[error("can't listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The certificate or its key can't be used.
    #[error("the TLS certificate or its key can't be used: {0}")]
    Certificate(io::Error),
    /// The server ended by itself.
    #[error("the server ended: {0}")]
    Ended(io::Error),
}

impl Explain for ServeError {
    fn code(&self) -> Code {
        match self {
            Self::Config(error) => error.code(),
            Self::Ledger(error) => error.code(),
            Self::Hub { .. } | Self::NoHub | Self::Listen { .. } | Self::Certificate(_) => Code::SettingInvalid,
            Self::Ended(_) => Code::Internal,
        }
    }

    fn help(&self) -> String {
        match self {
            Self::Config(error) => error.help(),
            Self::Ledger(error) => error.help(),
            Self::Hub { .. } => "check `endpoint`, `ca_file` and `device_host` of the hub in the config".into(),
            Self::NoHub => "name one in the config: `[hubs.main]` with `connection_file`".into(),
            Self::Listen { .. } => {
                "another program may have the port, or the address is not this machine's; change `listen`".into()
            }
            Self::Certificate(_) => {
                "both are PEM files: the certificate first, then the CAs between; the key without a password".into()
            }
            Self::Ended(_) => Code::Internal.help().to_owned(),
        }
    }
}

/// Where to listen, and how. The certificate and its key are PEM.
pub struct Listen {
    /// A bound socket; port 0 was a free one.
    pub listener: TcpListener,
    /// Certificate chain and key; without them the listener must be on loopback.
    pub tls: Option<(Vec<u8>, Vec<u8>)>,
}

/// A service that runs. Dropping it ends it at once; [`Running::stop`] lets running requests finish.
pub struct Running {
    /// Where it is reached; with TLS, by an address rather than by the certificate's name.
    pub url: Url,
    /// Ends the service, and [`flush`] with it.
    stop: watch::Sender<bool>,
    server: Option<JoinHandle<()>>,
}

impl Running {
    /// Takes no more requests, and lets those that run finish.
    ///
    /// # Errors
    /// When the server had ended by itself before.
    pub async fn stop(mut self) -> Result<(), ServeError> {
        self.stop.send_replace(true);
        // What has not ended by then ends with `self`.
        tokio::time::timeout(STOP_TIMEOUT, self.wait()).await.unwrap_or(Ok(()))
    }

    /// Waits until the server ends, which it does not by itself.
    ///
    /// # Errors
    /// When it did.
    pub async fn wait(&mut self) -> Result<(), ServeError> {
        // Taken only when it has ended: who waits may give up and wait again.
        let Some(server) = &mut self.server else { return Ok(()) };
        let ended = server.await;
        self.server = None;
        ended.map_err(|error| ServeError::Ended(io::Error::other(error)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

/// Starts the service that the config describes.
///
/// # Errors
/// When a hub, the ledger, the certificate or the address can't be used.
pub async fn start(config: Config) -> Result<Running, ServeError> {
    if config.hubs.is_empty() {
        return Err(ServeError::NoHub);
    }
    // The address first: a second service on this machine fails before it touches the ledger.
    let listen = listen(&config)?;
    let hubs = hubs::all(&config)?;
    let ledger = SqliteLedger::open_to_serve(&config.ledger)?;
    ledger.hold_to(config.policies.iter().map(Form::of).collect()).await?;
    let ledger: Arc<dyn Ledger> = Arc::new(ledger);
    for access in ledger.access_list().await? {
        if !config.hubs.contains_key(&access.hub) || config.policies.get(&access.policy).is_none() {
            let (name, hub, policy) = (access.name, access.hub, access.policy);
            tracing::warn!(
                name,
                hub,
                policy,
                "the config has no such hub or policy, so this access code can't register anything"
            );
        }
    }
    for doubt in hubs::doubts_in_words(&config) {
        tracing::warn!("{doubt}");
    }
    for shared in hubs::shared_in_words(&hubs) {
        tracing::warn!("{shared}");
    }
    for missing in hubs::missing_in_words(&config, &hubs, ledger.as_ref()).await? {
        tracing::warn!("{missing}");
    }
    for shared in ledger.shared_boards().await? {
        tracing::warn!("{}", shared.in_words());
    }
    let registrar = Registrar::new(ledger, hubs, config.policies.loaded(&crate::env::process)?);
    start_with(registrar, config.limits, config.network, listen).await
}

fn listen(config: &Config) -> Result<Listen, ServeError> {
    let address = config.listen;
    if config.tls.is_none() && !address.ip().is_loopback() {
        return Err(ConfigError::PlainHttp(address).into());
    }
    let tls = match &config.tls {
        None => None,
        Some(tls) => {
            check_mode(&tls.key)?;
            Some((read(&tls.cert)?, read(&tls.key)?))
        }
    };
    let listener = TcpListener::bind(address).map_err(|error| ServeError::Listen { address, error })?;
    Ok(Listen { listener, tls })
}

/// Starts the HTTP side around a registrar that the caller has made.
///
/// # Errors
/// When the certificate or the listener can't be used, or it is plain and not on loopback.
pub async fn start_with(registrar: Registrar, limits: Limits, network: Network, listen: Listen) -> Result<Running, ServeError> {
    let unbound = SocketAddr::from(([0, 0, 0, 0], 0));
    let address = listen.listener.local_addr().map_err(|error| ServeError::Listen { address: unbound, error })?;
    if listen.tls.is_none() && !address.ip().is_loopback() {
        return Err(ConfigError::PlainHttp(address).into());
    }
    let tls = listen.tls.map(|(cert, key)| acceptor(&cert, &key)).transpose().map_err(ServeError::Certificate)?;
    let unlistened = |error| ServeError::Listen { address, error };
    listen.listener.set_nonblocking(true).map_err(unlistened)?;
    let listener = tokio::net::TcpListener::from_std(listen.listener).map_err(unlistened)?;
    let descriptors = descriptors::raise();
    let slots = Slots::new(Capacity::new(network.connections, network.connections_per_network, descriptors));
    let (network, tallies) = (Arc::new(network), Arc::new(Tallies::default()));
    let app = App {
        registrar,
        gate: Arc::new(Gate::new(limits)),
        tallies: tallies.clone(),
        network: network.clone(),
        slots: slots.clone(),
        readiness: Arc::default(),
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = Url::parse(&format!("{scheme}://{address}/")).map_err(|error| ServeError::Ended(io::Error::other(error)))?;
    let Capacity { in_all, reserved, per_network } = slots.capacity();
    tracing::info!(
        %url,
        descriptors,
        connections = in_all,
        connections_reserved = reserved,
        connections_per_network = per_network,
        "listening"
    );
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(flush(tallies.clone(), stopped.clone()));
    let shared = Arc::new(Shared { router: http::router(app), tls, network, slots, tallies });
    let server = tokio::spawn(connection::serve(listener, shared, stopped));
    Ok(Running { url, stop, server: Some(server) })
}

/// TLS with this certificate chain and key, for HTTP/2 and HTTP/1.1.
fn acceptor(cert: &[u8], key: &[u8]) -> Result<TlsAcceptor, io::Error> {
    let chain = CertificateDer::pem_slice_iter(cert).collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(io::Error::other)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Writes what was refused into the log until the service ends.
async fn flush(tallies: Arc<Tallies>, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(FLUSH_PERIOD);
    loop {
        tokio::select! {
            _ = stop.changed() => return,
            _ = ticks.tick() => tallies.flush(),
        }
    }
}

#[cfg(test)]
mod tests;
