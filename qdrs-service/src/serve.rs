//! Starts and stops the service: config to hubs, ledger and registrar, then a listener with TLS, or plain on loopback.
//!
//! `qdrs-service serve`, the sandbox and the tests all come through here.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use axum_server::{
    Handle,
    accept::NoDelayAcceptor,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use qdrs_core::{api::Code, explain::Explain, hub::HubSetupError};
use tokio::{sync::oneshot, task::JoinHandle};
use url::Url;

use crate::{
    config::{Config, ConfigError, check_mode, read},
    http::{self, App},
    ledger::{Ledger, LedgerError, SqliteLedger, forms::Form},
    limits::{Gate, Limits},
    registrar::Registrar,
};

pub mod hubs;

/// A TLS handshake that takes longer is given up.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A request whose headers take longer to arrive is given up; also how long a connection may idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests that run when the service is stopped get so long: more than a `PUT` ever waits for the hub.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the limits forget who has not asked for a while.
const UPKEEP_PERIOD: Duration = Duration::from_secs(60);

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
    handle: Handle<SocketAddr>,
    server: Option<JoinHandle<io::Result<()>>>,
    /// Ends the upkeep when dropped.
    _upkeep: oneshot::Sender<()>,
}

impl Running {
    /// Takes no more requests, and lets those that run finish.
    ///
    /// # Errors
    /// When the server had ended by itself before.
    pub async fn stop(mut self) -> Result<(), ServeError> {
        self.handle.graceful_shutdown(Some(STOP_TIMEOUT));
        self.wait().await
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
        match ended {
            Ok(ended) => ended.map_err(ServeError::Ended),
            Err(error) => Err(ServeError::Ended(io::Error::other(error))),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shutdown();
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
    for shared in hubs::shared_in_words(&hubs) {
        tracing::warn!("{shared}");
    }
    for missing in hubs::missing_in_words(&config, &hubs, ledger.as_ref()).await? {
        tracing::warn!("{missing}");
    }
    let registrar = Registrar::new(ledger, hubs, config.policies.loaded(&crate::env::process)?);
    start_with(registrar, config.limits, listen).await
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
pub async fn start_with(registrar: Registrar, limits: Limits, listen: Listen) -> Result<Running, ServeError> {
    let unbound = SocketAddr::from(([0, 0, 0, 0], 0));
    let address = listen.listener.local_addr().map_err(|error| ServeError::Listen { address: unbound, error })?;
    if listen.tls.is_none() && !address.ip().is_loopback() {
        return Err(ConfigError::PlainHttp(address).into());
    }
    let gate = Arc::new(Gate::new(limits));
    let service = http::router(App { registrar, gate: gate.clone() }).into_make_service_with_connect_info::<SocketAddr>();
    let handle = Handle::new();
    let mut server = axum_server::from_tcp(listen.listener).map_err(|error| ServeError::Listen { address, error })?;
    server.http_builder().http1().header_read_timeout(HEADER_TIMEOUT);
    let server = server.first_request_timeout(HEADER_TIMEOUT).handle(handle.clone());
    let (scheme, server) = match listen.tls {
        None => ("http", tokio::spawn(server.acceptor(NoDelayAcceptor::new()).serve(service))),
        Some((cert, key)) => {
            // Whoever starts first installs it; that it is there already is no error.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let config = RustlsConfig::from_pem(cert, key).await.map_err(ServeError::Certificate)?;
            let acceptor = RustlsAcceptor::new(config).handshake_timeout(HANDSHAKE_TIMEOUT).acceptor(NoDelayAcceptor::new());
            ("https", tokio::spawn(server.acceptor(acceptor).serve(service)))
        }
    };
    let url = Url::parse(&format!("{scheme}://{address}/")).map_err(|error| ServeError::Ended(io::Error::other(error)))?;
    let (upkeep, ended) = oneshot::channel();
    tokio::spawn(keep_up(gate, ended));
    tracing::info!(%url, "listening");
    Ok(Running { url, handle, server: Some(server), _upkeep: upkeep })
}

async fn keep_up(gate: Arc<Gate>, mut ended: oneshot::Receiver<()>) {
    let mut ticks = tokio::time::interval(UPKEEP_PERIOD);
    loop {
        tokio::select! {
            _ = &mut ended => return,
            _ = ticks.tick() => gate.upkeep(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use qdrs_core::{
        access::AccessCode,
        api::Kind,
        client::{Client, ClientOptions},
        policy::Policy,
    };

    use super::*;
    use crate::ledger::{Access, AccessState};

    async fn registrar(dir: &tempfile::TempDir) -> (Registrar, AccessCode) {
        let ledger = SqliteLedger::open_or_make(&dir.path().join("ledger.sqlite")).expect("opens");
        let code = AccessCode::generate(Kind::Station);
        let access = Access {
            key_id: code.key_id(),
            keys: code.public(),
            name: "line-1".into(),
            kind: Kind::Station,
            policy: "any".into(),
            hub: "main".into(),
            quota: None,
            made: 0,
            rework: 0,
            reworked: 0,
            rate_per_minute: None,
            not_before: None,
            expires: None,
            permissions: Vec::new(),
            state: AccessState::Active,
            created_at: jiff::Timestamp::now(),
        };
        ledger.access_create(access).await.expect("kept");
        let policies = BTreeMap::from([("any".to_owned(), Policy::parse("any", "").expect("reads"))]);
        (Registrar::new(Arc::new(ledger), BTreeMap::new(), policies), code)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_client_that_trusts_its_certificate_is_served_over_tls() {
        let dir = tempfile::tempdir().expect("a folder");
        let (registrar, code) = registrar(&dir).await;
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("made");
        let cert = made.cert.pem();
        let tls = Some((cert.clone().into_bytes(), made.signing_key.serialize_pem().into_bytes()));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let running = start_with(registrar, Limits::none(), Listen { listener, tls }).await.expect("starts");
        assert_eq!(running.url.scheme(), "https");
        let options = ClientOptions {
            service: running.url.clone(),
            code,
            ca_file_pem: Some(cert.into_bytes()),
            patience: Duration::ZERO,
            user_agent: "test".into(),
        };
        let info = Client::new(options).expect("a client").access().await.expect("answers");
        assert_eq!(info.name, "line-1");
        running.stop().await.expect("stops");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn plain_http_away_from_loopback_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let (registrar, _) = registrar(&dir).await;
        let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
        let refused = start_with(registrar, Limits::none(), Listen { listener, tls: None }).await;
        assert!(refused.is_err_and(|error| error.to_string().starts_with("plain HTTP is served on loopback only")));
    }
}
