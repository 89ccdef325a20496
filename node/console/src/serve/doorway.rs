//! Who is inside: every connection has a place, and while all are taken, the one that has waited longest without being
//! served makes room for the next. A connection is being served from where its request is known to be somebody's until its
//! answer is given; nobody is shown out then.

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    middleware::Next,
    response::Response,
};
use hyper::body::{Frame, SizeHint};
use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Connections that wait for their request, in the order in which they began to.
#[derive(Debug, Default)]
struct WaitingLine {
    next: u64,
    waiting: BTreeMap<u64, Arc<Notify>>,
}

type SharedLine = Arc<Mutex<WaitingLine>>;

fn change<R>(line: &SharedLine, change: impl FnOnce(&mut WaitingLine) -> R) -> R {
    change(&mut line.lock().unwrap_or_else(PoisonError::into_inner))
}

impl WaitingLine {
    /// Puts one at the end; answers where it stands.
    fn join(&mut self, leave: &Arc<Notify>) -> u64 {
        let place = self.next;
        self.next += 1;
        self.waiting.insert(place, leave.clone());
        place
    }
}

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Doorway {
    room: Arc<Semaphore>,
    line: SharedLine,
}

impl Doorway {
    pub(super) fn new(places: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(places)), line: SharedLine::default() }
    }

    /// A place, as soon as there is one.
    pub(super) async fn enter(&self) -> Visit {
        let room = match self.room.clone().try_acquire_owned() {
            Ok(room) => Some(room),
            Err(_) => {
                if let Some((_, oldest)) = change(&self.line, |l| l.waiting.pop_first()) {
                    oldest.notify_one();
                }
                // It is never closed.
                self.room.clone().acquire_owned().await.ok()
            }
        };
        let leave = Arc::new(Notify::new());
        let standing = Standing::Waits(change(&self.line, |l| l.join(&leave)));
        let visitor =
            Visitor(Arc::new(VisitorState { line: self.line.clone(), leave, standing: Mutex::new(standing) }));
        Visit { visitor, _room: room }
    }
}

/// How a connection stands.
#[derive(Debug, Clone, Copy)]
enum Standing {
    /// At this place of the line.
    Waits(u64),
    /// Its request is being served.
    Served,
    /// It has ended.
    Gone,
}

#[derive(Debug)]
struct VisitorState {
    line: SharedLine,
    leave: Arc<Notify>,
    standing: Mutex<Standing>,
}

impl VisitorState {
    /// Leaves the line, if it stands there.
    fn becomes(&self, next: Standing) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Standing::Waits(place) = *standing {
            change(&self.line, |l| l.waiting.remove(&place));
        }
        *standing = next;
    }

    /// Its request is answered: it waits for the next, unless it has ended.
    fn answered(&self) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Standing::Served = *standing {
            *standing = Standing::Waits(change(&self.line, |l| l.join(&self.leave)));
        }
    }
}

/// A connection, as its requests know it.
#[derive(Debug, Clone)]
pub(crate) struct Visitor(Arc<VisitorState>);

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Visit {
    visitor: Visitor,
    _room: Option<OwnedSemaphorePermit>,
}

impl Visit {
    pub(super) fn visitor(&self) -> Visitor {
        self.visitor.clone()
    }

    /// Ready when the place is wanted by somebody else.
    pub(super) async fn shown_out(&self) {
        self.visitor.0.leave.notified().await;
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.visitor.0.becomes(Standing::Gone);
    }
}

/// A request that is served: its connection is not shown out until this is dropped.
#[derive(Debug)]
struct Engaged(Visitor);

impl Drop for Engaged {
    fn drop(&mut self) {
        self.0.0.answered();
    }
}

/// A body that holds something until it was given, or given up.
struct HoldingBody<H> {
    body: Body,
    _held: H,
}

impl<H: Unpin> HttpBody for HoldingBody<H> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Serves a request of somebody who may ask; with it, `held` is kept until the answer is given.
pub(crate) async fn engage<H: Send + Unpin + 'static>(request: Request, next: Next, held: H) -> Response {
    // Tests call routes without a connection.
    let engaged = request.extensions().get::<Visitor>().cloned().map(|visitor| {
        visitor.0.becomes(Standing::Served);
        Engaged(visitor)
    });
    let response = next.run(request).await;
    response.map(|body| Body::new(HoldingBody { body, _held: (engaged, held) }))
}
