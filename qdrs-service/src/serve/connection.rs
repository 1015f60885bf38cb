//! The sockets: accepts connections, gives each its place, speaks TLS and HTTP on it, and closes what is idle.
//!
//! A small loop of our own around hyper's connections: no server crate closes an idle HTTP/2 connection, knows how many
//! connections a network has, or closes one that has had too much refused.

use std::{
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::Request};
use http::{HeaderValue, Response, Version, header::CONNECTION};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use proxy_header::{ParseConfig, io::ProxiedStream};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::framing::{Framed, Framing, HEAD_BYTES_MAX};
use crate::{
    http::origin::{DoublyFramed, Peer},
    limits::{Refused, Tallies},
    network::{Closing, Idle, Network, Slot, Slots},
};

/// A TLS handshake or PROXY header that takes longer is given up.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A request whose head takes longer to arrive is given up.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection that is to end may take to send what it has to, once no request is in flight.
const GRACE: Duration = Duration::from_secs(3);
/// How long to leave an exhausted system alone before accepting again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often an HTTP/2 client has to show that it is still there, and how long it may take to.
const PING_PERIOD: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Whether the service is to end, as its connections see it.
pub(super) type Stop = watch::Receiver<bool>;

async fn stopped(stop: &mut Stop) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) router: Router,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) network: Arc<Network>,
    pub(super) slots: Arc<Slots>,
    pub(super) tallies: Arc<Tallies>,
}

impl Shared {
    /// A place for a connection that is accepted. Without one it is closed at once.
    fn place(&self, peer: SocketAddr) -> Option<Slot> {
        if !self.network.trusted_proxies.trusts(peer.ip()) {
            return self.place_of(peer);
        }
        self.slots.open_for_proxy().map_err(|refused| self.count(refused, peer)).ok()
    }

    /// A place among those of the client's network.
    fn place_of(&self, client: SocketAddr) -> Option<Slot> {
        let opened = self.slots.open(client.ip(), |displaced| self.count(displaced, client));
        opened.map_err(|refused| self.count(refused, client)).ok()
    }

    fn count(&self, refused: Refused, peer: SocketAddr) {
        self.tallies.count(refused, peer.ip().to_canonical());
    }
}

/// Serves until `stop` is true or its sender is gone; then lets the requests in flight end. Dropping it ends all at once.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stop: Stop) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if let Some(place) = shared.place(peer) {
                        connections.spawn(connection(place, stream, peer, shared.clone(), stop.clone()));
                    }
                }
                Err(error) => failed(&error, &shared.tallies).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            () = stopped(&mut stop) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Nothing could be accepted. A system that is short of something is left alone for a moment.
async fn failed(error: &io::Error, tallies: &Tallies) {
    match error.kind() {
        // The client has gone meanwhile.
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted => return,
        _ if is_short_of_descriptors(error) => tallies.count(Refused::Descriptors, error),
        _ => tallies.count(Refused::Accept, error),
    }
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// This process has as many descriptors as it may have, or the system has.
fn is_short_of_descriptors(error: &io::Error) -> bool {
    #[cfg(unix)]
    let is_short = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    // WSAEMFILE
    #[cfg(not(unix))]
    let is_short = [Some(10024)];
    is_short.contains(&error.raw_os_error())
}

/// One connection, from its first byte to its end.
async fn connection(mut place: Slot, stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>, stop: Stop) {
    // Answers are small and callers wait for each.
    let _ = stream.set_nodelay(true);
    if !(shared.network.proxy_protocol && shared.network.trusted_proxies.trusts(peer.ip())) {
        return until_closed(place, peer, ProxiedStream::unproxied(stream), &shared, stop).await;
    }
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    match timeout(HANDSHAKE_TIMEOUT, ProxiedStream::create_from_tokio(stream, config)).await {
        Ok(Ok(stream)) => {
            // Without an address the proxy itself asks, to see whether the service is there.
            let client = stream.proxy_header().proxied_address().map_or(peer, |address| address.source);
            if client != peer {
                let Some(own) = shared.place_of(client) else { return };
                place = own;
            }
            until_closed(place, client, stream, &shared, stop).await;
        }
        Ok(Err(_)) | Err(_) => shared.count(Refused::ProxyHeader, peer),
    }
}

/// The connection, unless its place is needed by another.
async fn until_closed(place: Slot, peer: SocketAddr, stream: ProxiedStream<TcpStream>, shared: &Shared, stop: Stop) {
    tokio::select! {
        () = place.activity.asked_to_close(Closing::Now) => {}
        () = secure(&place, peer, stream, shared, stop) => {}
    }
}

async fn secure(place: &Slot, peer: SocketAddr, stream: ProxiedStream<TcpStream>, shared: &Shared, mut stop: Stop) {
    let Some(tls) = &shared.tls else { return talk(place, peer, stream, shared, stop).await };
    let handshake = tokio::select! {
        handshake = timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)) => handshake,
        () = stopped(&mut stop) => return,
    };
    match handshake {
        Ok(Ok(stream)) => talk(place, peer, stream, shared, stop).await,
        Ok(Err(_)) | Err(_) => shared.count(Refused::Handshake, peer),
    }
}

async fn talk<S>(place: &Slot, peer: SocketAddr, stream: S, shared: &Shared, mut stop: Stop)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (framing, activity) = (Arc::<Framing>::default(), &place.activity);
    let peer = Peer { address: peer.ip(), activity: activity.clone() };
    let requests = AtomicU64::new(0);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let number = requests.fetch_add(1, Ordering::Relaxed) + 1;
        answer(number, request, peer.clone(), framing.clone(), shared.router.clone())
    });
    let builder = builder(shared.network.streams_per_connection);
    let mut http = pin!(builder.serve_connection(TokioIo::new(Framed::new(stream, framing.clone())), service));
    tokio::select! {
        _ = http.as_mut() => return,
        () = stopped(&mut stop) => {}
        () = activity.asked_to_close(Closing::Finish) => {}
        () = activity.idle(shared.network.idle()) => {}
    }
    http.as_mut().graceful_shutdown();
    tokio::select! {
        _ = http => {}
        () = activity.idle(Idle { unverified: GRACE, verified: GRACE }) => {}
    }
}

fn builder(streams: u32) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_PERIOD)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(streams);
    builder
}

/// One request, the `number`th of its connection.
async fn answer(
    number: u64,
    request: hyper::Request<Incoming>,
    peer: Peer,
    framing: Arc<Framing>,
    router: Router,
) -> Result<Response<Body>, std::convert::Infallible> {
    let activity = peer.activity.clone();
    let _in_flight = activity.begin();
    let is_last = request.version() < Version::HTTP_2 && framing.is_last(number);
    let mut request: Request = request.map(Body::new);
    if framing.is_bad(number) {
        request.extensions_mut().insert(DoublyFramed);
    }
    request.extensions_mut().insert(peer);
    let mut response = router.oneshot(request).await?;
    if is_last {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_lack_of_descriptors_is_told_from_other_faults() {
        let is_short = |errno: rustix::io::Errno| is_short_of_descriptors(&io::Error::from_raw_os_error(errno.raw_os_error()));
        assert!(is_short(rustix::io::Errno::MFILE) && is_short(rustix::io::Errno::NFILE));
        assert!(!is_short(rustix::io::Errno::NOMEM) && !is_short_of_descriptors(&io::ErrorKind::ConnectionAborted.into()));
    }
}
