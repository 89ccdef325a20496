//! What a node says of its own state: alive, ready, which version, and the whole snapshot.

use super::{
    ApiContext, INDEX_PATIENCE,
    problem::{Problem, bad},
    status::Status,
};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};

/// Alive means: the driver answers.
#[utoipa::path(
    get,
    path = "/healthz",
    security(()),
    responses((status = 200, description = "Alive", content_type = "text/plain"), (status = 503, description = "It hangs"))
)]
pub(super) async fn healthz(State(api): State<ApiContext>) -> Response {
    match tokio::time::timeout(INDEX_PATIENCE, api.mailbox.settled()).await {
        Ok(Ok(_)) => "ok\n".into_response(),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the driver does not answer\n").into_response(),
    }
}

/// Ready means: records can be taken in now, and the parent (if there is one) is linked. Names of checks only.
#[utoipa::path(
    get,
    path = "/readyz",
    security(()),
    responses((status = 200, description = "Ready", content_type = "text/plain"), (status = 503, description = "Which check fails"))
)]
pub(super) async fn readyz(State(api): State<ApiContext>) -> Response {
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

/// Version of the software, and of the protocol between nodes.
#[utoipa::path(get, path = "/version", security(()), responses((status = 200, description = "`version` and `protocol`")))]
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
    params(("wait" = Option<bool>, Query, description = "false: do not wait until the index knows how many records there are")),
    responses(
        (status = 200, description = "As `tally status --json` prints it"),
        (status = 403, description = "The token is limited"),
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
