//! What a node says of its own state: alive, ready, which version, and the whole snapshot.

use super::{
    ApiContext, INDEX_PATIENCE,
    due::DueLast,
    judged, metrics,
    problem::{Problem, bad},
    status::Status,
};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tally_core::View;
use tokio::sync::Mutex;

/// Alive means: the driver answers.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "isAlive",
    security(()),
    responses((status = 200, description = "Alive", body = String, content_type = "text/plain"), (status = 503, description = "It hangs", body = String, content_type = "text/plain"))
)]
pub(super) async fn healthz(State(api): State<ApiContext>) -> Response {
    let ask = || async { matches!(tokio::time::timeout(INDEX_PATIENCE, api.mailbox.settled()).await, Ok(Ok(_))) };
    if api.shown_to_all.alive(ask).await {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the driver does not answer\n").into_response()
    }
}

/// Ready means: records can be taken in now, and the parent (if there is one) is linked. Names of checks only, and of a check
/// that fails the code of its reason, as the status has it.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "isReady",
    security(()),
    responses((status = 200, description = "Ready", body = String, content_type = "text/plain"), (status = 503, description = "Which check fails", content((String = "text/plain"), (super::schema::RefusalSent = "application/problem+json"))))
)]
pub(super) async fn readyz(State(api): State<ApiContext>) -> Response {
    match api.shown_to_all.now(&api).await {
        Some(shown) => (shown.ready.0, shown.ready.1.clone()).into_response(),
        None => Problem::stopping().into_response(),
    }
}

/// See [`readyz`].
fn ready(status: &Status) -> (StatusCode, String) {
    let checks = judged::readiness(status);
    let line = |(check, why): &(&str, Option<&str>)| match why {
        None => format!("[+]{check}\n"),
        Some(why) => format!("[-]{check} {why}\n"),
    };
    let text: String = checks.iter().map(line).collect();
    let code =
        if checks.iter().all(|(_, why)| why.is_none()) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, text)
}

/// What is shown without a token: worked out for one, and shown to all who ask then.
#[derive(Debug)]
pub(super) struct Shown {
    ready: (StatusCode, String),
    pub(super) metrics: String,
}

/// What whoever reaches the port may ask as often as they like. It goes through all divisions and logs, so it is worked out
/// again only if a second has passed, or if the node has changed and a tenth of a second has passed.
#[derive(Debug, Clone, Default)]
pub struct ShownToAll {
    shown: Arc<Mutex<Option<ShownLast>>>,
    /// What is due, as it was counted last.
    pub(super) due: DueLast,
    /// Whether the driver answered, and when.
    alive: Arc<Mutex<Option<(Instant, bool)>>>,
}

/// What was shown last, and of which view.
#[derive(Debug)]
struct ShownLast {
    at: Instant,
    view: Arc<View>,
    shown: Arc<Shown>,
}

/// What is shown is no older, in any case.
const SHOWN_FOR: Duration = Duration::from_secs(1);
/// Even if the node changes all the time it is not worked out more often.
const SHOWN_AT_LEAST: Duration = Duration::from_millis(100);

impl ShownToAll {
    /// As it is now; `None`: the node is stopping.
    pub(super) async fn now(&self, api: &ApiContext) -> Option<Arc<Shown>> {
        // Whoever comes meanwhile waits, and takes what comes of it.
        let mut last = self.shown.lock().await;
        let (now, view) = (Instant::now(), api.mailbox.view());
        if let Some(last) = &*last
            && is_fresh(now.duration_since(last.at), Arc::ptr_eq(&last.view, &view))
        {
            return Some(last.shown.clone());
        }
        let status = api.status(None);
        let shown = Arc::new(Shown { ready: ready(&status), metrics: metrics::text(api, &status)? });
        *last = Some(ShownLast { at: now, view, shown: shown.clone() });
        Some(shown)
    }

    /// Whether the driver answers: asked at most ten times a second, however many want to know.
    ///
    /// Cancel-safe: whoever comes next asks again.
    async fn alive<F: Future<Output = bool>>(&self, ask: impl FnOnce() -> F) -> bool {
        let came = Instant::now();
        let mut last = self.alive.lock().await;
        // Whoever waited takes what came of the question that it waited for.
        if let Some((at, alive)) = *last
            && (at >= came || is_fresh(at.elapsed(), false))
        {
            return alive;
        }
        let alive = ask().await;
        *last = Some((Instant::now(), alive));
        alive
    }
}

/// Whether what is so old may be shown once more.
fn is_fresh(age: Duration, same_view: bool) -> bool {
    age < if same_view { SHOWN_FOR } else { SHOWN_AT_LEAST }
}

/// Version of the software, and of the protocol between nodes.
#[utoipa::path(get, path = "/version", operation_id = "showVersion", security(()), responses((status = 200, description = "`version` and `protocol`", body = super::schema::VersionSent)))]
pub(super) async fn version() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "protocol": tally_protocol::wire::VERSION }))
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusQuery {
    /// Wait for the index, so that `records` is known.
    #[serde(default = "yes")]
    wait: bool,
}

fn yes() -> bool {
    true
}

/// The node's logs, its neighbours, how far each has what, and what needs somebody's attention.
#[utoipa::path(
    get,
    path = "/v1/status",
    operation_id = "showStatus",
    params(("wait" = Option<bool>, Query, description = "false: do not wait until the index knows how many records there are")),
    responses(
        (status = 200, description = "As `tally status --json` prints it", body = Status),
    )
)]
pub(super) async fn status(
    State(api): State<ApiContext>,
    query: Result<Query<StatusQuery>, QueryRejection>,
) -> Result<Json<Status>, Problem> {
    let Query(wanted) = query.map_err(|e| bad(&e.to_string()))?;
    let as_of = if wanted.wait { api.index_caught_up().await } else { None };
    Ok(Json(api.status(as_of)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_ask_is_worked_out_ten_times_a_second_at_most() {
        let ms = Duration::from_millis;
        assert!(is_fresh(ms(0), false) && is_fresh(ms(99), false) && !is_fresh(ms(100), false));
        assert!(is_fresh(ms(999), true) && !is_fresh(ms(1_000), true));
    }

    /// However many ask at once, and one after the other, the driver is asked once; and a driver that hangs makes each of them
    /// wait once, not all after one another.
    #[tokio::test]
    async fn the_driver_is_asked_once_for_all_who_want_to_know_whether_it_lives() {
        let shown = ShownToAll::default();
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let one = || {
            shown.alive(|| async {
                asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                tokio::task::yield_now().await;
                false
            })
        };
        let (a, b, c, d) = tokio::join!(one(), one(), one(), one());
        assert_eq!([a, b, c, d, one().await], [false; 5]);
        assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 1);
    }
}
