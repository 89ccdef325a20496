//! An answer that is given before the whole request was read, as a refusal is, must reach a client that is still
//! sending: a connection closed with bytes unread is reset, and takes the answer with it. So what a handler leaves of
//! a body is read on for a while, and thrown away.

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    middleware::Next,
    response::Response,
};
use futures_util::StreamExt as _;
use hyper::body::{Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::runtime::Handle;

/// A client that sends for longer than this after its answer has lost it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A body that is read on when its handler has dropped it.
struct DrainOnDrop(Body);

impl HttpBody for DrainOnDrop {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl Drop for DrainOnDrop {
    fn drop(&mut self) {
        if self.0.is_end_stream() {
            return;
        }
        let mut rest = std::mem::take(&mut self.0).into_data_stream();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(tokio::time::timeout(PATIENCE, async move { while let Some(Ok(_)) = rest.next().await {} }));
        }
    }
}

/// Sees to it that early answers arrive.
pub(super) async fn drain_body(request: Request, next: Next) -> Response {
    next.run(request.map(|body| Body::new(DrainOnDrop(body)))).await
}
