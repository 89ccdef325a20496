//! The HTTP API: on the admin socket for this machine's operator, and over TCP for departments' programs.

mod answers;
mod auth;
mod bundle;
mod compare;
mod corrections;
mod deadlines;
mod evidence;
mod export;
mod keys;
mod metrics;
mod openapi;
mod problem;
mod questions;
pub mod receipts;
mod records;
mod schema;
pub mod screen;
pub mod status;
mod tasks;
mod tlog;
mod turns;
mod unread;

pub use auth::Token;
pub use evidence::{IDS_MAX, Ids};
pub use keys::Keys;
pub use tasks::{NewTask, Steer};
pub use turns::Turns;

use auth::Caller;
use axum::{
    Extension, Json, Router,
    extract::{DefaultBodyLimit, Query, Request, State},
    http::{Method, StatusCode},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use problem::Problem;
use status::{Around, Status};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tally_core::Place;
use tally_driver::{Mail, Mailbox};
use tally_intake::{Desk, answers::Store};
use tally_protocol::{ids::LogId, limits::CHARTER_BYTES_MAX};
use tally_reconcile::{
    agree::{Ground, Noticed},
    task::Tasks,
};
use tally_reports::compare::Comparisons;
use tally_store::entries::EntryReader;
use tally_store::{
    index::{Engine, Progress},
    tree::Trees,
};
use tally_topology::in_force::CharterHandle;
use tokio::sync::{Semaphore, oneshot, watch};

/// An answer that needs the index waits so long for it to catch up.
const INDEX_PATIENCE: Duration = Duration::from_secs(10);
/// Exports and reports at the same time; each reads the disk.
const EXPORTS: usize = 2;
/// Tiles and evidence files read from the journal at the same time; each takes a few megabytes.
pub const TREE_READS: usize = 4;

/// What the handlers use.
#[derive(Debug, Clone)]
pub struct App {
    /// The core's mailbox.
    pub mailbox: Mailbox,
    /// Where rows are handed in.
    pub desk: Desk,
    /// Answers that are kept.
    pub answers: Store,
    /// A folder for what a request needs on the disk while it runs.
    pub spool: PathBuf,
    /// Idempotency keys in use.
    pub keys: Keys,
    /// Comparisons with sources.
    pub comparisons: Comparisons,
    /// The charter in force.
    pub trust: CharterHandle,
    /// The index.
    pub engine: Arc<dyn Engine>,
    /// The journal, for exports.
    pub reader: EntryReader,
    /// How far the index is.
    pub progress: watch::Receiver<Progress>,
    /// End of the durable journal.
    pub durable: watch::Receiver<Place>,
    /// Damaged places that are known.
    pub noticed: Noticed,
    /// What bundles are taken in by.
    pub ground: Ground,
    /// Long work.
    pub tasks: Tasks,
    /// The own log.
    pub own: LogId,
    /// Secrets for TCP.
    pub tokens: Arc<Vec<Token>>,
    /// Exports and reports running.
    pub exports: Arc<AtomicUsize>,
    /// Room for uploads.
    pub uploads: Turns,
    /// Hashes of the logs' trees.
    pub trees: Trees,
    /// Room for those who read them.
    pub tree_reads: Arc<Semaphore>,
    /// Room for those who read kept answers.
    pub answer_reads: Turns,
}

impl App {
    fn around(&self) -> Around {
        Around {
            progress: self.progress.borrow().clone(),
            durable: *self.durable.borrow(),
            full: self.desk.full.load(Ordering::Relaxed),
            damaged_places: self.noticed.count(),
        }
    }

    /// Waits until the index holds everything that is durable now; answers up to where that is.
    async fn index_caught_up(&self) -> Option<Place> {
        let until = *self.durable.borrow();
        let mut progress = self.progress.clone();
        let wait = progress.wait_for(|p| p.cursor >= until || p.trouble.is_some());
        let caught_up = tokio::time::timeout(INDEX_PATIENCE, wait).await;
        caught_up.is_ok_and(|r| r.is_ok_and(|p| p.trouble.is_none())).then_some(until)
    }

    /// The snapshot. Its counts are those of the index, which are good if it holds everything up to `as_of` (or, by
    /// default, everything that is durable now).
    async fn status(&self, as_of: Option<Place>) -> Result<Status, Problem> {
        let mut around = self.around();
        around.durable = as_of.unwrap_or(around.durable);
        self.mailbox.ask(move |r, now| Status::of(r, now, &around)).await.map_err(|_| Problem::stopping())
    }
}

/// Routes of the admin socket: whoever may open the socket is the operator.
pub fn admin(app: App) -> Router {
    let operator = Router::new()
        .route("/v1/charter", post(load_charter).layer(DefaultBodyLimit::max(CHARTER_BYTES_MAX)))
        .route("/v1/evidence", get(evidence::evidence))
        .route("/v1/receipts", post(evidence::receipts).layer(DefaultBodyLimit::max(evidence::IDS_BYTES_MAX)))
        .route("/v1/bundle", get(bundle::export).post(bundle::import).layer(DefaultBodyLimit::disable()))
        .route("/v1/compare", get(compare::last).post(compare::post).layer(DefaultBodyLimit::disable()))
        .route("/v1/tasks", get(tasks::list).post(tasks::add))
        .route("/v1/tasks/{id}", get(tasks::show).post(tasks::steer))
        .merge(caller_routes())
        .merge(read_routes())
        .layer(Extension(Caller::default()));
    let all = operator.merge(open_routes()).fallback(not_found).method_not_allowed_fallback(wrong_method);
    all.layer(middleware::from_fn(unread::read_on)).with_state(app)
}

/// Routes over TCP. Health is open to all; everything else needs a token.
pub fn public(app: App) -> Router {
    let protected =
        caller_routes().merge(read_routes()).layer(middleware::from_fn_with_state(app.clone(), require_token));
    let all = protected.merge(open_routes()).fallback(not_found).method_not_allowed_fallback(wrong_method);
    all.layer(middleware::from_fn(unread::read_on)).with_state(app)
}

/// What depends on who asks.
fn caller_routes() -> Router<App> {
    Router::new()
        .route("/v1/records", post(records::post).layer(DefaultBodyLimit::disable()))
        .route("/v1/answers", get(answers::list))
        .route("/v1/answers/{name}", get(answers::show))
        .route("/v1/questions", get(questions::list))
        .route("/v1/deadlines", get(deadlines::report))
}

fn open_routes() -> Router<App> {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/version", get(version))
        .route("/v1/openapi.json", get(openapi::document))
        .route("/metrics", get(metrics::metrics))
}

fn read_routes() -> Router<App> {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/export", get(export::export))
        .route("/v1/charter", get(show_charter))
        .route("/tlog/{*path}", get(tlog::serve))
}

async fn require_token(State(app): State<App>, mut request: Request, next: middleware::Next) -> Response {
    match auth::check(&app.tokens, request.headers()).map(Caller::of) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

async fn not_found() -> Problem {
    let paths = "/v1/records, /v1/answers, /v1/questions, /v1/deadlines, /v1/status, /v1/export, /v1/charter, \
                 /v1/openapi.json, /tlog/, /metrics, /healthz, /readyz, /version";
    Problem::new(StatusCode::NOT_FOUND, "not_found", &format!("no such path here; there are: {paths}"))
}

async fn wrong_method(method: Method) -> Problem {
    let detail = format!("{method} is not what this path is for: see /v1/openapi.json");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", &detail)
}

/// Alive means: the driver answers.
async fn healthz(State(app): State<App>) -> Response {
    match tokio::time::timeout(INDEX_PATIENCE, app.mailbox.ask(|_, _| ())).await {
        Ok(Ok(())) => "ok\n".into_response(),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the driver does not answer\n").into_response(),
    }
}

/// Ready means: records can be taken in now, and the parent (if there is one) is linked. Names of checks only.
async fn readyz(State(app): State<App>) -> Response {
    let Ok(status) = app.status(None).await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "[-]stopping\n").into_response();
    };
    let failing = |codes: &[&str]| status.actions.iter().any(|a| codes.contains(&a.code.as_str()));
    let checks = [
        ("signing", !failing(&["not_signing"])),
        ("store", !failing(&["storage_full", "journal_damaged", "log_damaged"])),
        ("index", !failing(&["index_failed"])),
        ("parent", !failing(&["parent_not_live"])),
    ];
    let text: String = checks.iter().map(|(n, ok)| format!("[{}]{n}\n", if *ok { '+' } else { '-' })).collect();
    let code = if checks.iter().all(|(_, ok)| *ok) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, text).into_response()
}

async fn version() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "protocol": tally_protocol::wire::VERSION }))
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusWanted {
    /// Wait for the index, so that `records` is known.
    #[serde(default = "yes")]
    wait: bool,
}

fn yes() -> bool {
    true
}

async fn status(State(app): State<App>, Query(wanted): Query<StatusWanted>) -> Result<Json<Status>, Problem> {
    let as_of = if wanted.wait { app.index_caught_up().await } else { None };
    Ok(Json(app.status(as_of).await?))
}

async fn show_charter(State(app): State<App>) -> String {
    app.trust.charter().note().to_owned()
}

async fn load_charter(State(app): State<App>, note: String) -> Result<Json<serde_json::Value>, Problem> {
    let (reply, answer) = oneshot::channel();
    app.mailbox.send(Mail::Charter { note, reply }).await.map_err(|_| Problem::stopping())?;
    match answer.await.map_err(|_| Problem::stopping())? {
        Ok(version) => Ok(Json(serde_json::json!({ "version": version }))),
        Err(why) => Err(Problem::new(StatusCode::FORBIDDEN, "charter_refused", &why)),
    }
}
