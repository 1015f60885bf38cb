//! A stretch of network between station and service that can lose what it carries.
//!
//! It reads whole HTTP/1.1 messages off one connection at a time and forwards them; told to, it lets the service do its
//! work and then drops the answer and the connection, which is what a pulled network cable looks like to the station.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// The proxy; ends when dropped.
pub struct Proxy {
    url: String,
    drop_every: Arc<AtomicU32>,
    dropped: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free loopback port and forwards to `target` (`host:port`).
    pub async fn to(target: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let (drop_every, dropped, seen) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (every, lost, target) = (Arc::clone(&drop_every), Arc::clone(&dropped), target.to_owned());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (every, lost, seen, target) = (Arc::clone(&every), Arc::clone(&lost), Arc::clone(&seen), target.clone());
                tokio::spawn(async move {
                    // A broken connection is this part's purpose; the ends notice it.
                    let _ = carry(client, &target, &every, &seen, &lost).await;
                });
            }
        });
        Ok(Self { url, drop_every, dropped, task })
    }

    /// Where stations reach the service through it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on every n-th answer is lost after the service gave it; 0 carries all.
    pub fn drop_every(&self, n: u32) {
        self.drop_every.store(n, Ordering::SeqCst);
    }

    /// How many answers were lost.
    pub fn dropped(&self) -> u32 {
        self.dropped.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(mut client: TcpStream, target: &str, every: &AtomicU32, seen: &AtomicU32, lost: &AtomicU32) -> anyhow::Result<()> {
    client.set_nodelay(true)?;
    let mut service = TcpStream::connect(target).await?;
    service.set_nodelay(true)?;
    while let Some(request) = message(&mut client).await? {
        service.write_all(&request).await?;
        let Some(answer) = message(&mut service).await? else { break };
        let number = seen.fetch_add(1, Ordering::SeqCst) + 1;
        let n = every.load(Ordering::SeqCst);
        if n > 0 && number.is_multiple_of(n) {
            lost.fetch_add(1, Ordering::SeqCst);
            break;
        }
        client.write_all(&answer).await?;
    }
    Ok(())
}

/// One whole HTTP/1.1 message with a `Content-Length` body; none at the end of the connection.
async fn message(from: &mut TcpStream) -> anyhow::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .map_or(Ok(0), |length| length.trim().parse())?;
            let whole = head + 4 + length;
            if bytes.len() >= whole {
                return Ok(Some(bytes));
            }
        }
        let count = from.read(&mut piece).await?;
        if count == 0 {
            return Ok(None);
        }
        bytes.extend_from_slice(&piece[..count]);
    }
}
