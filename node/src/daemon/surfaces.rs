//! Where the node can be asked: the admin socket, and HTTP over TCP; and who notes for them what happens and what is due.

use super::{HTTP, SOCKET, StartError, supervisor::Supervisor};
use crate::config::Config;
use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tally_console::{ApiContext, ServeBounds};
use tokio::sync::watch;

/// Descriptors that are counted with where the system sets no limit.
const NO_LIMIT: u64 = 65_536;

/// Raises what the process may have open to what it may raise it to, and answers that. Connections get a part of it; the
/// rest is for the journal, the index and what else the node has to open.
pub(super) fn descriptors() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit = raised,
            Err(e) => {
                tracing::debug!(event = "node.descriptors", reason = %e, "the limit of open files stays as it is")
            }
        }
    }
    usize::try_from(limit.current.unwrap_or(NO_LIMIT)).unwrap_or(usize::MAX)
}

/// Opens both, and serves until the node stops.
pub(super) async fn surfaces(
    config: &Config,
    api: ApiContext,
    stopping: &watch::Receiver<bool>,
    parts: &mut Supervisor,
) -> Result<(), StartError> {
    let stopped = |mut s: watch::Receiver<bool>| async move {
        let _ = s.wait_for(|s| *s).await;
    };
    parts.job("history", super::well(tally_console::note_changes(api.clone(), stopping.clone())));
    parts.job("count deadlines", super::well(tally_console::count_deadlines(api.clone(), stopping.clone())));
    let descriptors = descriptors();
    let path = config.admin();
    let socket = tally_client::bind(&path).map_err(|e| super::no_socket(&path, e))?;
    let (routes, bounds) = (tally_console::admin(api.clone()), ServeBounds::admin(descriptors));
    let serve = tally_console::serve(socket, routes, bounds, stopped(stopping.clone()));
    parts.job(SOCKET, super::well(serve));
    if let Some(address) = config.listen.http {
        let listener =
            tokio::net::TcpListener::bind(address).await.with_context(|| format!("listen.http {address}"))?;
        let (routes, bounds) = (tally_console::public(api), ServeBounds::public(descriptors));
        let serve = tally_console::serve(listener, routes, bounds, stopped(stopping.clone()));
        parts.job(HTTP, super::well(serve));
    }
    Ok(())
}
