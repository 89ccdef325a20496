//! `GET /v1/charter`: the charter in force; `GET /v1/authority`: whose it is; `POST`: the operator loads a charter. What may follow which is judged by the core; here it is asked whether the
//! operator knows what the charter does to nodes that it retires, and that this is not the node where charters are loaded.

use super::{ApiContext, problem::Problem};
use axum::{
    Json,
    extract::{Query, State},
    http::StatusCode,
};
use serde::Deserialize;
use tally_core::View;
use tally_driver::Mail;
use tally_protocol::ids::Division;
use tally_topology::{
    charter::{RetireConcern, retire_concerns},
    signed::SignedCharter,
};
use tokio::sync::oneshot;

/// The charter in force, as its signed note.
#[utoipa::path(
    get,
    path = "/v1/charter",
    operation_id = "showCharter",
    responses(
        (status = 200, description = "A signed note: who is in the federation, with keys, units and catalog", body = String, content_type = "text/plain"),
    )
)]
pub(super) async fn show(State(api): State<ApiContext>) -> String {
    api.charter.charter().note().to_owned()
}

/// The authority's public key that signed the charter in force.
pub(super) async fn authority(State(api): State<ApiContext>) -> String {
    api.charter.charter().signed_by().to_string()
}

/// What the operator says with it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoadQuery {
    /// Retired nodes whose children are cut off, or whose records are not all here, and who may be retired all the same:
    /// codes, with commas between them.
    #[serde(default)]
    retire_anyway: String,
    /// Load it here, although charters are loaded at the top and come down from there.
    #[serde(default)]
    here: bool,
}

pub(super) async fn load(
    State(api): State<ApiContext>,
    Query(query): Query<LoadQuery>,
    note: String,
) -> Result<Json<serde_json::Value>, Problem> {
    let anyway = divisions(&query.retire_anyway)?;
    let view = api.mailbox.view();
    if let Some(parent) = view.charter().parent(view.me()).filter(|_| !query.here) {
        let detail = format!(
            "{} is below {parent}: a charter is loaded at the top ({}) and comes down from there by itself; add --here to load \
             it at this node alone",
            view.me(),
            view.charter().top().map_or_else(String::new, |d| d.to_string())
        );
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad_parameter", &detail));
    }
    let concerns = open_concerns(&view, &note, &anyway);
    if !concerns.is_empty() {
        return Err(needs_a_word(&view, &concerns));
    }
    let (reply, answer) = oneshot::channel();
    api.mailbox.send(Mail::Charter { note, reply }).await.map_err(|_| Problem::stopping())?;
    match answer.await.map_err(|_| Problem::stopping())? {
        Ok(version) => Ok(Json(serde_json::json!({ "version": version }))),
        Err(why) => Err(Problem::new(StatusCode::FORBIDDEN, "charter_refused", &why.to_string())),
    }
}

/// What the operator has to say, or to wait for: a child that has not called yet tells by itself how many records it has.
fn needs_a_word(view: &View, concerns: &[RetireConcern]) -> Problem {
    let said: Vec<_> = concerns.iter().map(|c| waits_for(view, *c).unwrap_or_else(|| c.to_string())).collect();
    let mut nodes: Vec<_> = concerns.iter().map(|c| c.node().to_string()).collect();
    nodes.dedup();
    let tells_here = |c: &RetireConcern| {
        matches!(c, RetireConcern::Unknown { .. }) && view.charter().parent(c.node()) == Some(view.me())
    };
    let code = if concerns.iter().all(tells_here) { "retire_waits" } else { "retire_needs_a_word" };
    let detail =
        format!("not loaded: {}. Or say that it is meant: --retire-anyway {}", said.join("; "), nodes.join(","));
    Problem::new(StatusCode::FORBIDDEN, code, &detail)
}

/// Of a node in service whose number of records is not known here: to whom it tells it, and when. `None`: nothing is waited for.
fn waits_for(view: &View, concern: RetireConcern) -> Option<String> {
    let RetireConcern::Unknown { node, held } = concern else { return None };
    let unknown = format!("{node} is retired, and how many records it has is not known here ({held} are held)");
    let parent = view.charter().parent(node)?;
    Some(if parent == view.me() {
        format!(
            "{unknown}. It reports to this node and has not said so yet: wait until `tally node show {node}` says live, then the \
             same again"
        )
    } else {
        format!(
            "{unknown}: it tells {parent}, to which it reports. Wait until `tally node show {node}` says live and 0 \
             waiting_records, also of {parent}; then nothing of it is missing"
        )
    })
}

fn divisions(text: &str) -> Result<Vec<Division>, Problem> {
    let code = |code: &str| code.trim().parse::<Division>();
    let codes = text.split(',').filter(|c| !c.trim().is_empty()).map(code).collect::<Result<_, _>>();
    codes.map_err(|e| Problem::new(StatusCode::BAD_REQUEST, "bad_parameter", &format!("retire_anyway: {e}")))
}

/// What the charter does to nodes that it retires, without those that are named. One that cannot follow the charter in force
/// is refused by the core, with its reason.
fn open_concerns(view: &View, note: &str, anyway: &[Division]) -> Vec<RetireConcern> {
    let Ok(next) = SignedCharter::open_next(note, view.signed_charter()) else { return Vec::new() };
    let next = next.charter();
    let all = retire_concerns(Some(view.charter()), next, Some(&|division| view.rows_of(division, next)));
    all.into_iter().filter(|c| !anyway.contains(&c.node())).collect()
}
