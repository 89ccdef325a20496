//! `GET /v1/evidence` on the admin socket: what proves where a record is.

use super::{
    ApiContext,
    problem::{Problem, bad},
};
use axum::{
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use tally_protocol::{ids::LogId, record::RecordId};
use tally_reconcile::evidence::{Snapshot, gather};
use tally_store::index::{InForce, query::attested};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EvidenceQuery {
    record: String,
    log: Option<String>,
}

pub(super) fn unreadable(e: &dyn std::fmt::Display) -> Problem {
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
