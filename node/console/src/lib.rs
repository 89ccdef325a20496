//! The HTTP API: on the admin socket for this machine's operator, and over TCP for departments' programs.
//!
//! A handler reads the request, looks whether the caller may, takes a permit, asks, and encodes what comes back. What is
//! asked for is done elsewhere: submissions in `tally-intake`, readings of what is held in `tally-reports`. Whatever takes memory
//! or a thread needs a permit first. Neighbours' sockets and the files of the disk are not known here.

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests may block: what is built for the program is checked")
)]

mod answers;
mod auth;
mod bundle;
mod charter;
mod compare;
mod corrections;
mod deadlines;
mod drain;
mod evidence;
mod export;
mod gate;
mod metrics;
mod openapi;
mod parameters;
mod problem;
mod questions;
mod quota;
pub mod receipts;
mod records;
mod requests;
mod schema;
pub mod screen;
pub mod status;
mod tasks;
mod tlog;

pub use auth::Token;
pub use evidence::{IDS_MAX, Ids};
pub use quota::Quotas;
pub use requests::{AskedEpoch, EpochAsk, EpochDesk, HeldWhole, RequestListed, WithReason};
pub use tasks::{NewTask, Steer};

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
use status::{Status, StatusInputs};
use std::{sync::Arc, time::Duration};
use tally_core::Place;
use tally_driver::Mailbox;
use tally_intake::submission::Submissions;
use tally_protocol::{ids::LogId, limits::CHARTER_BYTES_MAX};
use tally_reconcile::{KnownDamage, ReconcileContext, task::Tasks};
use tally_reports::compare::Comparisons;
use tally_store::entries::EntryReader;
use tally_store::{
    index::{Engine, IndexProgress},
    lost::LostRecords,
    merkle_store::MerkleStore,
};
use tally_topology::in_force::CharterHandle;
use tokio::sync::watch;

/// An answer that needs the index waits so long for it to catch up.
const INDEX_PATIENCE: Duration = Duration::from_secs(10);

/// What the handlers ask: a handle to every part of the node; clones share them.
#[derive(Debug, Clone)]
pub struct ApiContext {
    /// The core's mailbox.
    pub mailbox: Mailbox,
    /// Where rows are handed in, and answers kept.
    pub submissions: Submissions,
    /// Comparisons with sources.
    pub comparisons: Comparisons,
    /// The charter in force.
    pub charter: CharterHandle,
    /// The index.
    pub engine: Arc<dyn Engine>,
    /// The journal, for exports.
    pub reader: EntryReader,
    /// How far the index is.
    pub progress: watch::Receiver<IndexProgress>,
    /// End of the durable journal.
    pub durable: watch::Receiver<Place>,
    /// Damaged places that are known.
    pub known_damage: KnownDamage,
    /// What bundles are taken in by.
    pub reconcile: ReconcileContext,
    /// Long work.
    pub tasks: Tasks,
    /// The own log.
    pub own: LogId,
    /// Secrets for TCP.
    pub tokens: Arc<Vec<Token>>,
    /// How much may go on at the same time.
    pub quotas: Quotas,
    /// Hashes of the logs' trees.
    pub trees: MerkleStore,
    /// Where the next epoch is asked for.
    pub epochs: EpochDesk,
    /// Records that are on no disk any more.
    pub lost: LostRecords,
}

impl ApiContext {
    fn status_inputs(&self) -> StatusInputs {
        StatusInputs {
            progress: self.progress.borrow().clone(),
            durable: *self.durable.borrow(),
            short_of: self.mailbox.shortage(),
            damaged_places: self.known_damage.count(),
            staged: self.submissions.intake().staged.counts(),
            lost: self.lost.open_ranges(),
            asked: self.epochs.asked.borrow().clone(),
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
    fn status(&self, as_of: Option<Place>) -> Status {
        let mut inputs = self.status_inputs();
        inputs.durable = as_of.unwrap_or(inputs.durable);
        Status::of(&self.mailbox.view(), tally_clock::wall_ms(), &inputs)
    }
}

/// Routes of the admin socket: whoever may open the socket is the operator.
pub fn admin(api: ApiContext) -> Router {
    let operator = Router::new()
        .route("/v1/charter", post(charter::load).layer(DefaultBodyLimit::max(CHARTER_BYTES_MAX)))
        .route("/v1/epoch", post(requests::ask))
        .route("/v1/lost", get(requests::lost).post(requests::acknowledge))
        .route(
            "/v1/requests",
            get(requests::list).post(requests::bring).layer(DefaultBodyLimit::max(requests::REQUEST_BYTES_MAX)),
        )
        .route("/v1/requests/{division}", post(requests::reject))
        .route("/v1/evidence", get(evidence::evidence))
        .route("/v1/gate/open", post(gate::open))
        .route("/v1/receipts", post(evidence::receipts).layer(DefaultBodyLimit::max(evidence::IDS_BYTES_MAX)))
        .route("/v1/bundle", get(bundle::export).post(bundle::import).layer(DefaultBodyLimit::disable()))
        .route("/v1/compare", get(compare::last).post(compare::post).layer(DefaultBodyLimit::disable()))
        .route("/v1/tasks", get(tasks::list).post(tasks::add))
        .route("/v1/tasks/{id}", get(tasks::show).post(tasks::steer))
        .merge(caller_routes())
        .merge(read_routes())
        .layer(Extension(Caller::default()));
    let all = operator.merge(open_routes()).fallback(not_found).method_not_allowed_fallback(wrong_method);
    all.layer(middleware::from_fn(drain::drain_body)).with_state(api)
}

/// Routes over TCP. Health is open to all; everything else needs a token.
pub fn public(api: ApiContext) -> Router {
    let protected =
        caller_routes().merge(read_routes()).layer(middleware::from_fn_with_state(api.clone(), require_token));
    let all = protected.merge(open_routes()).fallback(not_found).method_not_allowed_fallback(wrong_method);
    all.layer(middleware::from_fn(drain::drain_body)).with_state(api)
}

/// What depends on who asks.
fn caller_routes() -> Router<ApiContext> {
    Router::new()
        .route("/v1/records", post(records::post).layer(DefaultBodyLimit::disable()))
        .route("/v1/answers", get(answers::list))
        .route("/v1/answers/{name}", get(answers::show))
        .route("/v1/questions", get(questions::list))
        .route("/v1/deadlines", get(deadlines::report))
}

fn open_routes() -> Router<ApiContext> {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/version", get(version))
        .route("/v1/openapi.json", get(openapi::document))
        .route("/metrics", get(metrics::metrics))
}

fn read_routes() -> Router<ApiContext> {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/export", get(export::export))
        .route("/v1/charter", get(show_charter))
        .route("/tlog/{*path}", get(tlog::serve))
}

async fn require_token(State(api): State<ApiContext>, mut request: Request, next: middleware::Next) -> Response {
    match auth::check(&api.tokens, request.headers()).map(Caller::of) {
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
async fn healthz(State(api): State<ApiContext>) -> Response {
    match tokio::time::timeout(INDEX_PATIENCE, api.mailbox.settled()).await {
        Ok(Ok(_)) => "ok\n".into_response(),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the driver does not answer\n").into_response(),
    }
}

/// Ready means: records can be taken in now, and the parent (if there is one) is linked. Names of checks only.
async fn readyz(State(api): State<ApiContext>) -> Response {
    let status = api.status(None);
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
struct StatusQuery {
    /// Wait for the index, so that `records` is known.
    #[serde(default = "yes")]
    wait: bool,
}

fn yes() -> bool {
    true
}

async fn status(State(api): State<ApiContext>, Query(wanted): Query<StatusQuery>) -> Result<Json<Status>, Problem> {
    let as_of = if wanted.wait { api.index_caught_up().await } else { None };
    Ok(Json(api.status(as_of)))
}

async fn show_charter(State(api): State<ApiContext>) -> String {
    api.charter.charter().note().to_owned()
}
