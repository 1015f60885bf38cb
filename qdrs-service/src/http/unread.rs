//! A request that is answered before its body was read: HTTP/1.1 can't go on with that connection, and the answer says so.
//!
//! Without `Connection: close`, a client would send its next request into a connection that is being closed, and lose it.
//!
//! Source: RFC 9112, 9.6.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderValue, Version, header::CONNECTION},
    middleware::Next,
    response::Response,
};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// A body that records that it was read to its end.
struct Watched {
    body: Body,
    read: Arc<AtomicBool>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.read.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Around every request: an answer given before the whole body was read closes its HTTP/1 connection.
pub(super) async fn close_unread(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let is_http1 = parts.version < Version::HTTP_2;
    let read = Arc::new(AtomicBool::new(body.is_end_stream()));
    let watched = Watched { body, read: Arc::clone(&read) };
    let mut response = next.run(Request::from_parts(parts, Body::new(watched))).await;
    if is_http1 && !read.load(Ordering::Relaxed) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watched_body_is_as_long_as_it_is() {
        let watched = |body| Watched { body, read: Arc::default() };
        assert!(watched(Body::empty()).is_end_stream() && !watched(Body::from("x")).is_end_stream());
        assert_eq!(watched(Body::from("four")).size_hint().exact(), Some(4));
    }
}
