//! `GET /v1/evidence` and `POST /v1/receipts` on the admin socket: what proves where records are.

use super::{
    ApiContext,
    problem::{Problem, bad},
};
use crate::receipts::{LostPlace, RecordReceipts};
use axum::{
    Json,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use tally_protocol::{ids::LogId, record::RecordId};
use tally_reconcile::evidence::{Snapshot, gather};
use tally_store::index::{EngineError, InForce, IndexEntry, query::attested};

/// Most records in one request for receipts.
pub const IDS_MAX: usize = 1_000;
/// Largest body of such a request, in bytes.
pub(super) const IDS_BYTES_MAX: usize = 128 << 10;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EvidenceQuery {
    record: String,
    log: Option<String>,
}

fn unreadable(e: &dyn std::fmt::Display) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", &e.to_string())
}

pub(super) async fn index_ready(api: &ApiContext) -> Result<(), Problem> {
    if api.index_caught_up().await.is_some() {
        return Ok(());
    }
    let detail = "the index is being built; where a record is will be known after that";
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "index_behind", detail).retry(10))
}

pub(super) async fn evidence(
    State(api): State<ApiContext>,
    wanted: Result<Query<EvidenceQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Query(wanted) = wanted.map_err(|e| bad(&e.to_string()))?;
    let id: RecordId = wanted.record.parse().map_err(|e| bad(&format!("record: {e}")))?;
    let log = wanted.log.map(|l| l.parse::<LogId>().map_err(|e| bad(&format!("log: {e}")))).transpose()?;
    index_ready(&api).await?;
    let (engine, charter) = (api.engine.clone(), api.charter.charter());
    let look = move || attested(&InForce::new(&*engine, charter.charter()), id);
    let found = tokio::task::spawn_blocking(look).await.map_err(|_| Problem::stopping())?;
    let mut found = found.map_err(|e| unreadable(&e))?.into_iter().map(|(log, e)| (log, e.index));
    let Some((log, index)) = found.find(|(l, _)| log.is_none_or(|wanted| wanted == *l)) else {
        let detail = match log {
            None => format!("no log here holds record {id}"),
            Some(log) => format!("{log} does not hold record {id} here"),
        };
        return Err(Problem::new(StatusCode::NOT_FOUND, "not_held", &detail));
    };
    let permit = api.quotas.evidence.wait().await?;
    let snapshot = Snapshot::of(&api.mailbox.view(), log, index);
    let snapshot = snapshot.ok_or_else(|| unreadable(&"the index names a log that is not held here"))?;
    let gathered = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        gather(&api.reader, &api.trees, &snapshot, id, index)
    });
    let gathered = gathered.await.map_err(|_| Problem::stopping())?.map_err(|e| unreadable(&e))?;
    for (holder, reason) in &gathered.left_out {
        tracing::warn!(event = "evidence.left_out", %holder, %reason, record = %id, "a holder is not in the evidence");
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], gathered.text).into_response())
}

/// Which records are asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ids {
    /// At most [`IDS_MAX`].
    pub ids: Vec<RecordId>,
}

pub(super) async fn receipts(
    State(api): State<ApiContext>,
    Json(Ids { ids }): Json<Ids>,
) -> Result<Json<Vec<RecordReceipts>>, Problem> {
    if ids.len() > IDS_MAX {
        return Err(bad(&format!("{} records in one request, {IDS_MAX} are answered", ids.len())));
    }
    index_ready(&api).await?;
    let (engine, charter, gone) = (api.engine.clone(), api.charter.charter(), api.lost.ranges());
    // What nobody has any more is not held, though the index may know it still.
    let before = api.mailbox.view();
    let (own, lost_now) = (before.own(), before.lost());
    // Nor what stands in a history that the charter has not closed with: no level above has it.
    let dead = before.dead_branches();
    let staged = api.submissions.intake().staged.clone();
    let gone: Vec<_> = gone.into_iter().filter(|r| r.certain).collect();
    let places = tokio::task::spawn_blocking(move || {
        let in_force = InForce::new(&*engine, charter.charter());
        let is_lost = |(log, e): &(LogId, IndexEntry)| {
            let now = *log == own && lost_now.iter().any(|(from, to)| (*from..*to).contains(&e.index));
            let dead = dead.iter().any(|(l, from, to)| l == log && (*from..*to).contains(&e.index));
            now || dead || gone.iter().any(|g| g.log == *log && (g.from..g.to).contains(&e.index))
        };
        let first = |id| {
            let held = attested(&in_force, id)?.into_iter().find(|a| !is_lost(a));
            Ok::<_, EngineError>((id, held.map(|(log, e)| (log, e.index))))
        };
        ids.into_iter().map(first).collect::<Result<Vec<_>, _>>()
    });
    let places = places.await.map_err(|_| Problem::stopping())?.map_err(|e| unreadable(&e))?;
    let view = api.mailbox.view();
    let origin = |log| view.charter().federation().origin(log);
    let lost = |id: &RecordId| api.lost.find(id).map(|(log, index)| LostPlace { log: origin(log), index });
    let of = |(id, place): (RecordId, Option<(LogId, u64)>)| match (place, staged.since(&id)) {
        (Some((log, index)), _) => RecordReceipts::of(&view, id, log, index),
        (None, Some(since)) => RecordReceipts::staged(id, since),
        (None, None) => RecordReceipts { lost: lost(&id), ..RecordReceipts::missing(id) },
    };
    Ok(Json(places.into_iter().map(of).collect()))
}
