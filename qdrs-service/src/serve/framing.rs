//! Finds requests that are framed in two ways: `Transfer-Encoding` beside `Content-Length`, or one of them twice.
//!
//! hyper takes such a request and drops a header of it, so the layers above can't find it, while a proxy before the
//! service may have taken the other header for the right one (request smuggling, RFC 9112, section 6.1). So the bytes are
//! looked at on their way to hyper, with its own parser. HTTP/2 frames are not looked at: h2 refuses these headers.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest head of a request, in bytes. hyper has the same limit.
pub(super) const HEAD_BYTES_MAX: usize = 32 * 1024;
/// More headers than hyper takes.
const HEADERS_MAX: usize = 128;

/// Which requests of a connection are framed badly, by their number; the first is 1, and 0 means none.
#[derive(Debug, Default)]
pub(super) struct Framing {
    bad: AtomicU64,
    chunked: AtomicU64,
}

impl Framing {
    /// True for a request that is to be refused.
    pub(super) fn is_bad(&self, number: u64) -> bool {
        self.bad.load(Ordering::Relaxed) == number
    }

    /// True for a request whose end is not looked for: it must be the last of its connection.
    pub(super) fn is_last(&self, number: u64) -> bool {
        self.chunked.load(Ordering::Relaxed) == number
    }
}

/// What the next byte belongs to.
#[derive(Debug)]
enum Next {
    /// The head of a request; what has come of it.
    Head(Vec<u8>),
    /// A body, of which so many bytes are to come.
    Body(u64),
    /// Nothing that can be followed: HTTP/2, a chunked body, or what hyper refuses.
    Opaque,
}

/// A stream whose requests are looked at as they are read.
pub(super) struct Framed<S> {
    stream: S,
    framing: Arc<Framing>,
    next: Next,
    requests: u64,
}

impl<S> Framed<S> {
    pub(super) fn new(stream: S, framing: Arc<Framing>) -> Self {
        Self { stream, framing, next: Next::Head(Vec::new()), requests: 0 }
    }

    fn look(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match &mut self.next {
                Next::Opaque => return,
                Next::Body(left) => {
                    let here = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= here as u64;
                    bytes = &bytes[here..];
                    if *left == 0 {
                        self.next = Next::Head(Vec::new());
                    }
                }
                Next::Head(head) => {
                    let before = head.len();
                    head.extend_from_slice(bytes);
                    // A head ends with a line.
                    let read = if bytes.contains(&b'\n') { read(head) } else { Read::Part };
                    let (next, used) = match read {
                        Read::Part if head.len() <= HEAD_BYTES_MAX => return,
                        Read::Part | Read::Unreadable => (Next::Opaque, 0),
                        Read::Head { bytes, body } => {
                            self.requests += 1;
                            let next = match body {
                                Body::Bytes(0) => Next::Head(Vec::new()),
                                Body::Bytes(count) => Next::Body(count),
                                Body::Chunked => {
                                    self.framing.chunked.store(self.requests, Ordering::Relaxed);
                                    Next::Opaque
                                }
                                Body::Doubtful => {
                                    self.framing.bad.store(self.requests, Ordering::Relaxed);
                                    Next::Opaque
                                }
                            };
                            (next, bytes - before)
                        }
                    };
                    self.next = next;
                    bytes = &bytes[used..];
                }
            }
        }
    }
}

/// What has come of a head.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    Part,
    /// hyper refuses it as well.
    Unreadable,
    Head {
        bytes: usize,
        body: Body,
    },
}

/// How a body ends.
#[derive(Debug, PartialEq, Eq)]
enum Body {
    Bytes(u64),
    Chunked,
    /// In two ways, or in one that is none.
    Doubtful,
}

fn read(head: &[u8]) -> Read {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let bytes = match request.parse(head) {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) => return Read::Part,
        Err(_) => return Read::Unreadable,
    };
    let values = |name: &str| {
        let of_that_name = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        of_that_name.map(|header| header.value.trim_ascii()).collect::<Vec<_>>()
    };
    let body = match (&values("content-length")[..], &values("transfer-encoding")[..]) {
        ([], []) => Body::Bytes(0),
        ([length], []) => length_of(length).map_or(Body::Doubtful, Body::Bytes),
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") && request.version == Some(1) => Body::Chunked,
        _ => Body::Doubtful,
    };
    Read::Head { bytes, body }
}

/// Digits and nothing else.
fn length_of(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

impl<S: AsyncRead + Unpin> AsyncRead for Framed<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.look(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Framed<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: [&str; 4] = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /",
        "PUT / HTTP/1.0\r\ncontent-LENGTH:\t0\r\n\r\n",
        "PUT / HTTP/1.1\nContent-Length: 3\n\n\n\n\n",
    ];
    const DOUBTFUL: [&str; 9] = [
        "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "PUT / HTTP/1.1\r\nContent-Length: 5\r\nTRANSFER-ENCODING: chunked\r\n\r\n0\r\n\r\n",
        "PUT / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "PUT / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\nhello",
        "PUT / HTTP/1.1\r\nContent-Length: +5\r\n\r\nhello",
        "PUT / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "PUT / HTTP/1.1\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length:\r\n\r\n0\r\n\r\n",
    ];

    /// The numbers of the bad and of the chunked request, the bytes arriving in pieces of that size.
    fn found(bytes: &str, piece: usize) -> (u64, u64) {
        let mut framed = Framed::new((), Arc::default());
        bytes.as_bytes().chunks(piece).for_each(|piece| framed.look(piece));
        (framed.framing.bad.load(Ordering::Relaxed), framed.framing.chunked.load(Ordering::Relaxed))
    }

    #[test]
    fn the_first_doubtful_request_is_found_wherever_it_stands() {
        for piece in [1, 2, 7, 4096] {
            for bad in DOUBTFUL {
                assert_eq!(found(bad, piece), (1, 0), "{bad:?}");
                assert_eq!(found(&(GOOD.concat() + bad), piece), (GOOD.len() as u64 + 1, 0), "{bad:?}");
            }
            assert_eq!(found(&GOOD.concat(), piece), (0, 0));
        }
    }

    #[test]
    fn a_chunked_request_is_the_last_that_is_followed() {
        let chunked = "PUT / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        for piece in [1, 3, 4096] {
            assert_eq!(found(&format!("{}{chunked}{}", GOOD[1], DOUBTFUL[0]), piece), (0, 2));
        }
        let framing = Framing { bad: AtomicU64::new(3), chunked: AtomicU64::new(2) };
        assert_eq!(
            [1, 2, 3].map(|number| (framing.is_last(number), framing.is_bad(number))),
            [(false, false), (true, false), (false, true)]
        );
    }

    #[test]
    fn http_2_and_what_is_no_request_are_let_through() {
        for bytes in ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\x02\n", "GET / HTTP/1.1\r\n: x\r\n\r\n"] {
            assert_eq!(found(&format!("{bytes}{}", DOUBTFUL[0]), 4096), (0, 0), "{bytes:?}");
        }
        let endless = format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(HEAD_BYTES_MAX));
        let mut framed = Framed::new((), Arc::default());
        endless.as_bytes().chunks(4096).for_each(|piece| framed.look(piece));
        assert!(matches!(framed.next, Next::Opaque), "no more is kept than a head may have");
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..20)) {
            let mut framed = Framed::new((), Arc::default());
            for piece in &pieces {
                framed.look(piece);
            }
        }

        #[test]
        fn a_body_is_not_taken_for_a_head(body in "(PUT / HTTP/1.1|Content-Length: 1|Transfer-Encoding: chunked|\r\n){0,12}", piece in 1usize..40) {
            let requests = format!("PUT / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}{}", body.len(), DOUBTFUL[1]);
            prop_assert_eq!(found(&requests, piece), (2, 0));
        }
    }
}
