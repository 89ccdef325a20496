//! What is left of a request that was answered before all of it was read: it is read and thrown away for a moment.
//!
//! A server that closes while its client still writes takes the answer away from it: the client meets a broken pipe where a
//! reason stood (RFC 9112 §9.6). Refusals come early, so that is what whoever is refused in an upload would see.

use axum::body::{Bytes, HttpBody};
use hyper::{
    Request,
    body::{Frame, Incoming, SizeHint},
    header::EXPECT,
};
use std::{
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};

/// The body that a connection's last request left behind.
#[derive(Debug, Default)]
pub(super) struct Leftover {
    body: Mutex<Option<Incoming>>,
    put: Notify,
}

impl Leftover {
    fn put(&self, body: Incoming) {
        *self.body.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        self.put.notify_one();
    }

    /// Reads what is left behind and throws it away, each for so long at most. Never ends; whoever has the connection drops it.
    pub(super) async fn read_on(&self, patience: Duration) -> Infallible {
        loop {
            self.put.notified().await;
            let left = self.body.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(mut body) = left {
                let read = async { while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {} };
                let _ = timeout(patience, read).await;
            }
        }
    }
}

/// A request's body. Dropped before its end, it is left to its connection.
#[derive(Debug)]
pub(super) struct LingeringBody {
    body: Option<Incoming>,
    /// Its client sends nothing before it is asked to (RFC 9110 §10.1.1), and it was not asked yet.
    unasked: bool,
    leftover: Arc<Leftover>,
}

impl LingeringBody {
    /// The request with a body that is left to its connection.
    pub(super) fn of(request: Request<Incoming>, leftover: &Arc<Leftover>) -> Request<Self> {
        let unasked = request.headers().contains_key(EXPECT);
        request.map(|body| Self { body: Some(body), unasked, leftover: leftover.clone() })
    }
}

impl HttpBody for LingeringBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.unasked = false;
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Incoming::size_hint).unwrap_or_default()
    }
}

impl Drop for LingeringBody {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !self.unasked && !body.is_end_stream()) {
            self.leftover.put(body);
        }
    }
}
