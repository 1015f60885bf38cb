//! For tests: an HTTP server that does, request by request, exactly what it is told, down to breaking off anywhere.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What to do with the next request, once it was read whole.
#[derive(Debug, Clone)]
pub(crate) enum Then {
    /// Send these bytes and keep the connection.
    Send(String),
    /// Send these bytes and close.
    SendAndClose(String),
    /// Close without a word.
    Close,
    /// Close with a reset.
    Reset,
    /// Never answer.
    Silence,
}

/// An answer with that status, further header lines, and body.
pub(crate) fn answer(status: u16, headers: &str, body: &str) -> Then {
    Then::Send(format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()))
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Request line and headers.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Which connection it came on, from 0.
    pub(crate) connection: usize,
}

impl Seen {
    /// A header's value; names in any case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub(crate) fn request_line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }
}

/// The server; gone with the test's runtime.
pub(crate) struct RawServer {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl RawServer {
    /// Does these things with the requests in the order they come; a request too many is closed on.
    pub(crate) async fn start(script: impl IntoIterator<Item = Then>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let script: Arc<Mutex<VecDeque<Then>>> = Arc::new(Mutex::new(script.into_iter().collect()));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let server = Self { address, seen: Arc::clone(&seen) };
        tokio::spawn(async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                tokio::spawn(serve(stream, connection, Arc::clone(&script), Arc::clone(&seen)));
            }
        });
        server
    }

    pub(crate) fn url(&self) -> reqwest::Url {
        format!("http://{}", self.address).parse().expect("a URL")
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic").clone()
    }
}

/// An address on which nobody listens.
pub(crate) async fn nobody() -> reqwest::Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    format!("http://{}", listener.local_addr().expect("bound")).parse().expect("a URL")
}

/// A server on whose handshake no client of ours may go on; it counts who tried.
pub(crate) struct TlsServer {
    address: SocketAddr,
    tries: Arc<AtomicUsize>,
    pem: Option<String>,
}

impl TlsServer {
    /// It answers every connection in clear.
    pub(crate) fn that_speaks_none() -> Self {
        Self::start(None, |mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            let _ = stream.read(&mut [0; 512]);
        })
    }

    /// It has a certificate for `127.0.0.1` that nobody signed.
    pub(crate) fn with_a_certificate_of_its_own() -> Self {
        crate::install_crypto();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("they belong together");
        let config = Arc::new(config);
        Self::start(Some(made.cert.pem()), move |mut stream| {
            let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let mut tls = rustls::Stream::new(&mut tls, &mut stream);
            let mut request = [0; 8192];
            if tls.read(&mut request).is_ok_and(|length| length > 0) {
                let _ = tls.write_all(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n");
            }
        })
    }

    fn start(pem: Option<String>, serve: impl Fn(std::net::TcpStream) + Send + 'static) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (address, tries) = (listener.local_addr().expect("bound"), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&tries);
        // Lives as long as the test's process; it sleeps in `accept`.
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                counted.fetch_add(1, Ordering::SeqCst);
                serve(stream);
            }
        });
        Self { address, tries, pem }
    }

    pub(crate) fn url(&self) -> reqwest::Url {
        format!("https://{}", self.address).parse().expect("a URL")
    }

    pub(crate) fn tries(&self) -> usize {
        self.tries.load(Ordering::SeqCst)
    }

    /// Its certificate, for whoever wants to trust it.
    pub(crate) fn pem(&self) -> Vec<u8> {
        self.pem.clone().unwrap_or_default().into_bytes()
    }
}

async fn serve(mut stream: TcpStream, connection: usize, script: Arc<Mutex<VecDeque<Then>>>, seen: Arc<Mutex<Vec<Seen>>>) {
    let mut buffer = Vec::new();
    while let Some((head, body)) = request(&mut stream, &mut buffer).await {
        seen.lock().expect("no panic").push(Seen { head, body, connection });
        let then = script.lock().expect("no panic").pop_front().unwrap_or(Then::Close);
        match then {
            Then::Send(bytes) => {
                let _ = stream.write_all(bytes.as_bytes()).await;
            }
            Then::SendAndClose(bytes) => {
                let _ = stream.write_all(bytes.as_bytes()).await;
                return;
            }
            Then::Close => return,
            Then::Reset => {
                let _ = stream.set_zero_linger();
                return;
            }
            Then::Silence => std::future::pending().await,
        }
    }
}

/// One request with its body, or none when the other side is gone.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let length = head
                .lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .and_then(|(_, value)| value.parse::<usize>().ok())
                .unwrap_or(0);
            if buffer.len() >= end + 4 + length {
                let body = buffer[end + 4..end + 4 + length].to_vec();
                buffer.drain(..end + 4 + length);
                return Some((head, body));
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}
