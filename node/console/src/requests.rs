//! What is asked of the authority, on the admin socket: this node asks for its next epoch; requests of this node and those below
//! are listed, brought by hand, rejected. An approval is a charter, and comes in as one.
//!
//! Secrets are not handled here: whoever keeps them makes the request. The digits that both ends show are worked out where they
//! are shown, because that takes time.

use super::{
    ApiContext,
    problem::{Problem, bad},
};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use tally_clock::time;
use tally_core::{Input, RejectedRequest};
use tally_driver::Mail;
use tally_protocol::{hash::Hash, ids::Division, ids::LogId, limits::REQUEST_REASON_BYTES_MAX};
use tally_topology::request::NodeRequest;
use tokio::sync::{mpsc, oneshot, watch};

/// A request of this node for its next epoch, as it is kept until it was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedEpoch {
    /// The log of the epoch that is to end.
    pub log: LogId,
    /// Twelve digits, the same at both ends.
    pub code: String,
    /// When it was asked, RFC 3339.
    pub since: String,
    /// Why.
    pub reason: String,
    /// The signed note.
    pub note: String,
    /// Who rejected it, and why; null while it is pending.
    pub rejected: Option<String>,
}

/// Somebody asks for the next epoch.
#[derive(Debug)]
pub struct EpochAsk {
    /// Why.
    pub reason: String,
    /// The request, durable and on its way; or why there is none.
    pub reply: oneshot::Sender<Result<AskedEpoch, String>>,
}

/// Where the next epoch is asked for.
#[derive(Debug, Clone)]
pub struct EpochDesk {
    /// Asks.
    pub asks: mpsc::Sender<EpochAsk>,
    /// What was asked and is not answered yet.
    pub asked: watch::Receiver<Option<AskedEpoch>>,
}

/// What `POST /v1/epoch` and the like take.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithReason {
    /// Why; one line.
    pub reason: String,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestKind {
    /// A node's next epoch.
    #[default]
    NextEpoch,
    /// To be a node.
    Join,
    /// To take a node's place, in its next epoch.
    Replace,
}

/// One element of `GET /v1/requests`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RequestListed {
    /// Who asks.
    pub division: Division,
    /// What for: `next_epoch`, `join` or `replace`.
    #[serde(default)]
    pub kind: RequestKind,
    /// Its name by charter, or by its invitation.
    pub name: String,
    /// The log of the epoch that is to end, or of the first one of a node that is to join.
    pub log: LogId,
    /// Why.
    pub reason: String,
    /// When it came here, RFC 3339.
    pub since: String,
    /// The child that brought it; null: this node's own, or brought by hand.
    pub via: Option<Division>,
    /// The signed note.
    pub note: String,
    /// How much of the log this node holds, without a hole.
    pub held: HeldWhole,
}

/// How much of a log is held without a hole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldWhole {
    /// Records.
    pub size: u64,
    /// Root at that size.
    pub root: Hash,
    /// The signed checkpoint of that size; null for an empty log, or where the log goes on behind a hole.
    pub note: Option<String>,
    /// Two histories of the log were signed.
    pub frozen: bool,
}

/// Longest note in a request, and longest JSON beside it, in bytes.
pub(super) const REQUEST_BYTES_MAX: usize = 16 << 10;

fn one_line(reason: &str) -> Result<String, Problem> {
    let reason = reason.trim();
    if reason.is_empty() || reason.len() > REQUEST_REASON_BYTES_MAX || reason.contains(char::is_control) {
        return Err(bad(&format!("a reason is one line of 1 to {REQUEST_REASON_BYTES_MAX} bytes")));
    }
    Ok(reason.to_owned())
}

/// Asks for the next epoch of this node; the answer means that the request is durable here and on its way.
pub(super) async fn ask(
    State(api): State<ApiContext>,
    Json(WithReason { reason }): Json<WithReason>,
) -> Result<Json<AskedEpoch>, Problem> {
    let (reply, answer) = oneshot::channel();
    let ask = EpochAsk { reason: one_line(&reason)?, reply };
    api.epochs.asks.send(ask).await.map_err(|_| Problem::stopping())?;
    match answer.await.map_err(|_| Problem::stopping())? {
        Ok(asked) => Ok(Json(asked)),
        Err(why) => Err(Problem::new(StatusCode::CONFLICT, "not_asked", &why)),
    }
}

pub(super) async fn list(State(api): State<ApiContext>) -> Json<Vec<RequestListed>> {
    let view = api.mailbox.view();
    let one = |(division, pending): (&Division, &tally_core::PendingRequest)| {
        let log = pending.request.log();
        let (size, root) = view.whole_head(log);
        let held = view.log(log);
        let note = held.filter(|l| l.size() == size && size > 0).map(|l| l.note.clone());
        let frozen = held.is_some_and(|l| l.frozen.is_some());
        let (kind, name, reason) = match &pending.request {
            NodeRequest::Join(r) => {
                let kind = if r.invite.invite.ends().is_some() { RequestKind::Replace } else { RequestKind::Join };
                (kind, r.invite.invite.name.clone(), String::new())
            }
            NodeRequest::NextEpoch(r) => {
                let name = view.charter().node(*division).map_or(String::new(), |n| n.name.clone());
                (RequestKind::NextEpoch, name, r.reason.clone())
            }
        };
        RequestListed {
            division: *division,
            kind,
            name,
            log,
            reason,
            since: time(pending.since_ms / 1_000),
            via: pending.via,
            note: pending.note.as_ref().to_owned(),
            held: HeldWhole { size, root, note, frozen },
        }
    };
    // What a charter has answered is dropped within a second; it is not shown until then.
    let waits = view.requests().pending.iter().filter(|(_, p)| p.request.stands(view.charter()));
    Json(waits.map(one).collect())
}

/// Takes a request that was brought by hand.
pub(super) async fn bring(State(api): State<ApiContext>, note: String) -> Result<Json<serde_json::Value>, Problem> {
    let view = api.mailbox.view();
    let not_taken = |why: String| Problem::new(StatusCode::FORBIDDEN, "request_refused", &why);
    let request = NodeRequest::open(&note, view.charter()).map_err(not_taken)?;
    let (division, place, me) = (request.node().division, request.place(), view.me());
    if !view.charter().is_within(place, me) {
        return Err(not_taken(format!("{place} is not {me} nor below it: bring the request to a node above it")));
    }
    if let NodeRequest::Join(join) = &request
        && join.invite.invite.expires <= tally_clock::now_ms() / 1_000
    {
        let expired = time(join.invite.invite.expires);
        return Err(not_taken(format!("E1101: the invitation of {division} was good until {expired}: make a new one")));
    }
    api.mailbox.send(Mail::Core(Input::Request { note })).await.map_err(|_| Problem::stopping())?;
    let view = api.mailbox.settled().await.map_err(|_| Problem::stopping())?;
    match view.requests().pending.get(&division) {
        Some(p) if p.digest == request.digest() => Ok(Json(serde_json::json!({ "division": division }))),
        _ => Err(not_taken("it was rejected before: the node has to ask anew".into())),
    }
}

pub(super) async fn reject(
    State(api): State<ApiContext>,
    Path(division): Path<String>,
    Json(WithReason { reason }): Json<WithReason>,
) -> Result<Json<serde_json::Value>, Problem> {
    let division: Division = division.parse().map_err(|e| bad(&format!("{e}")))?;
    let (reason, view) = (one_line(&reason)?, api.mailbox.view());
    let pending = view.requests().pending.get(&division);
    let pending = pending.ok_or_else(|| bad(&format!("{division} has not asked for anything here")))?;
    let (node, digest, place) = (pending.request.node(), pending.digest, pending.request.place());
    let rejected = RejectedRequest { node, digest, by: view.me(), reason, place };
    api.mailbox.send(Mail::Core(Input::RejectRequest(rejected))).await.map_err(|_| Problem::stopping())?;
    api.mailbox.settled().await.map_err(|_| Problem::stopping())?;
    Ok(Json(serde_json::json!({ "division": division, "rejected": true })))
}

/// The operator's word that everybody concerned knows which records are lost.
pub(super) async fn acknowledge(
    State(api): State<ApiContext>,
    Json(WithReason { reason }): Json<WithReason>,
) -> Result<Json<serde_json::Value>, Problem> {
    let (reason, lost, now) = (one_line(&reason)?, api.lost.clone(), tally_clock::now_ms() / 1_000);
    let told = reason.clone();
    let done = tokio::task::spawn_blocking(move || lost.acknowledge(now, &told));
    let records = done.await.map_err(|_| Problem::stopping())?.map_err(|e| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "not_saved", &format!("data/lost.json cannot be written: {e}"))
    })?;
    tracing::warn!(event = "lost.acknowledged", records, %reason, "the operator says that everybody concerned knows");
    Ok(Json(serde_json::json!({ "records": records })))
}

/// The records that are lost, as far as they are known by id.
pub(super) async fn lost(State(api): State<ApiContext>) -> Json<Vec<tally_store::lost::LostRange>> {
    Json(api.lost.ranges().into_iter().filter(|r| r.certain).collect())
}
