//! The sockets: accepts connections, speaks TLS and HTTP/1.1 on them, and closes them in the middle when asked to.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::{
    errors::{self, Answer, Refusal},
    route::{self, BODY_BYTES_MAX, Dropped, Hub},
};

/// How long requests that are being worked on may take after `stop`.
const STOP_PATIENCE: Duration = Duration::from_secs(1);
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// How long to leave an exhausted system alone before accepting again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` changes or its sender is gone.
pub(super) async fn serve(listener: TcpListener, tls: Option<Arc<ServerConfig>>, hub: Arc<Hub>, mut stop: watch::Receiver<bool>) {
    let tls = tls.map(TlsAcceptor::from);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(connection(stream, peer, tls.clone(), Arc::clone(&hub), stop.clone()));
                }
                Err(error) => {
                    debug!(%error, "can't accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            _ = stop.changed() => break,
        }
    }
    drop(listener);
    let _ = timeout(STOP_PATIENCE, async { while connections.join_next().await.is_some() {} }).await;
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, peer: SocketAddr, tls: Option<TlsAcceptor>, hub: Arc<Hub>, stop: watch::Receiver<bool>) {
    // Answers are small and callers wait for each.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return talk(stream, peer, hub, stop).await };
    match timeout(HANDSHAKE_PATIENCE, tls.accept(stream)).await {
        Ok(Ok(stream)) => talk(stream, peer, hub, stop).await,
        Ok(Err(error)) => debug!(%error, "TLS failed"),
        Err(_) => debug!("TLS took too long"),
    }
}

async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin, peer: SocketAddr, hub: Arc<Hub>, mut stop: watch::Receiver<bool>) {
    let service = service_fn(|request| respond(&hub, peer, request));
    let mut http = pin!(http1::Builder::new().header_read_timeout(None).serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = http.as_mut() => ended,
        _ = stop.changed() => {
            http.as_mut().graceful_shutdown();
            http.await
        }
    };
    if let Err(error) = ended {
        // Also how a fault ends a connection: an error of the service, upon which nothing more is sent.
        debug!(%error, "connection ended");
    }
}

async fn respond(hub: &Arc<Hub>, peer: SocketAddr, request: Request<Incoming>) -> Result<Answer, Dropped> {
    let (parts, body) = request.into_parts();
    let mut unread = None;
    let body = match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            unread = Some(Refusal::new(errors::MESSAGE_TOO_LARGE, format!("The body is longer than {BODY_BYTES_MAX} bytes")));
            Bytes::new()
        }
        Err(_) => return Err(Dropped),
    };
    let mut answer = match unread {
        None => route::answer(hub, peer, parts, body).await?,
        Some(refusal) => {
            let mut answer = refusal.answer();
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            answer
        }
    };
    if let Some(date) = date(hub.auth.now()) {
        answer.headers_mut().insert(header::DATE, date);
    }
    Ok(answer)
}

/// The hub's time in HTTP's form; none for a time that this form can't hold.
fn date(now: jiff::Timestamp) -> Option<HeaderValue> {
    let text = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).ok()?;
    HeaderValue::from_str(&text).ok()
}
