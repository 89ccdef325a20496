//! Connections of HTTP: how many there may be, for how long each may say nothing, and who makes room when all places are
//! taken.
//!
//! Whoever reaches the port can open connections, and each takes a descriptor and some memory. So they are bounded well
//! below what the process may open, which leaves the journal and the admin socket theirs; a head has to come soon, an answer
//! has to be taken, and a stranger that only holds its place loses it to the next one ([`Doorway`]). HTTP itself is hyper's.

mod doorway;
mod linger;
mod stall;
#[cfg(test)]
mod tests;

pub(super) use doorway::engage;

use axum::{Router, serve::Listener};
use doorway::Doorway;
use hyper::{Request, body::Incoming, server::conn::http1, service::Service as _};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use linger::{Leftover, LingeringBody};
use stall::StallGuard;
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// TCP connections at the same time, at most.
const CONNECTIONS_MAX: usize = 256;
/// Connections to the admin socket at the same time, at most: only the operator's commands open it.
const ADMIN_CONNECTIONS_MAX: usize = 32;
/// Both get at least so many, however few descriptors there are.
const CONNECTIONS_MIN: usize = 4;
/// The head of a request has to be there so long after its connection was opened, or the request before was answered. So
/// an idle connection is kept no longer.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Longest head of a request, and what is read of a connection at a time, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// A client over TCP that takes nothing of an answer for so long has lost it.
const STALL: Duration = Duration::from_secs(60);
/// The same on the admin socket, where a person may be looking through an export page by page.
const ADMIN_STALL: Duration = Duration::from_secs(600);
/// What comes of a request after its answer is read for so long.
const LINGER: Duration = Duration::from_secs(20);

/// Bounds of one listener.
#[derive(Debug, Clone, Copy)]
pub struct ServeBounds {
    /// Connections at the same time.
    connections: usize,
    /// The head of a request comes within this time.
    head: Duration,
    /// An answer that is not taken for so long breaks off.
    stall: Duration,
    /// What comes of a request after its answer is read for so long.
    linger: Duration,
}

impl ServeBounds {
    /// Over TCP, for a process that may have so many descriptors open: at most a quarter of them.
    pub fn public(descriptors: usize) -> Self {
        let connections = (descriptors / 4).clamp(CONNECTIONS_MIN, CONNECTIONS_MAX);
        Self { connections, head: HEAD_WITHIN, stall: STALL, linger: LINGER }
    }

    /// On the admin socket: at most an eighth of the descriptors.
    pub fn admin(descriptors: usize) -> Self {
        let connections = (descriptors / 8).clamp(CONNECTIONS_MIN, ADMIN_CONNECTIONS_MAX);
        Self { connections, head: HEAD_WITHIN, stall: ADMIN_STALL, linger: LINGER }
    }
}

/// Serves until `stop` is ready; then takes no more connections, and ends when the last answer is given.
pub async fn serve<L: Listener>(mut listener: L, routes: Router, bounds: ServeBounds, stop: impl Future<Output = ()>) {
    let (doorway, graceful) = (Doorway::new(bounds.connections), GracefulShutdown::new());
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds.head).max_buf_size(HEAD_BYTES_MAX);
    let routes = TowerToHyperService::new(routes);
    let (mut stop, mut connections) = (pin!(stop), JoinSet::new());
    loop {
        let (io, _) = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = &mut stop => break,
        };
        // Not with the arm above: a connection that ends to make room must not take the place of the one it makes room for.
        let visit = tokio::select! {
            visit = doorway.enter() => visit,
            () = &mut stop => break,
        };
        let (routes, visitor) = (routes.clone(), visit.visitor());
        let leftover = Arc::new(Leftover::default());
        let left_to = leftover.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(visitor.clone());
            routes.call(LingeringBody::of(request, &left_to))
        });
        let connection = http.serve_connection(TokioIo::new(StallGuard::new(io, bounds.stall)), service);
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            tokio::select! {
                ended = connection => if let Err(reason) = ended {
                    tracing::debug!(event = "http.broken_off", %reason, "a connection broke off");
                },
                never = leftover.read_on(bounds.linger) => match never {},
                () = visit.shown_out() => tracing::debug!(event = "http.shown_out", "a silent connection made room"),
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
    while connections.join_next().await.is_some() {}
}
