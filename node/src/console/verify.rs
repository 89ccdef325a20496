//! `GET /v1/verify` on the admin socket: reads the whole journal, one at a time.

use super::{App, problem::Problem};
use crate::verify::{self, Held, Report};
use axum::{
    Json,
    extract::{Query, State},
    http::StatusCode,
};
use serde::Deserialize;
use std::sync::atomic::Ordering;
use tally_protocol::ids::LogId;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    log: Option<String>,
}

pub(super) async fn run(State(app): State<App>, Query(wanted): Query<Wanted>) -> Result<Json<Report>, Problem> {
    let bad = |detail: &str| Problem::new(StatusCode::BAD_REQUEST, "bad_parameter", detail);
    let only = wanted.log.map(|l| l.parse::<LogId>().map_err(|e| bad(&format!("log: {e}")))).transpose()?;
    // Sizes first: the journal holds at least as much by the time it is read.
    let held: Held = app
        .mailbox
        .ask(|r, _| r.logs().iter().map(|(id, log)| (*id, log.size())).collect())
        .await
        .map_err(|_| Problem::stopping())?;
    if only.is_some_and(|log| !held.contains_key(&log)) {
        return Err(bad("log: this node holds no such log"));
    }
    if app.verifying.swap(true, Ordering::AcqRel) {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "a verify is running already").retry(30));
    }
    let until = *app.durable.borrow();
    let flag = app.verifying.clone();
    let report = tokio::task::spawn_blocking(move || {
        let charter = app.trust.charter();
        let charter = charter.charter();
        let wanted = verify::Wanted { until, charter, held: &held, noticed: &[], only, from_segment: 0 };
        let survey = verify::verify(&app.reader, wanted, &mut |_, _| Ok(()));
        flag.store(false, Ordering::Release);
        survey.map(|s| s.report)
    });
    let report = report.await.map_err(|_| Problem::stopping())?;
    let report = report.map_err(|e| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", &e.to_string()))?;
    for d in &report.damaged {
        tracing::error!(event = "verify.damaged", segment = d.segment, offset = d.offset, kind = ?d.kind, log = ?d.log, from = ?d.from, to = ?d.to, "damaged");
    }
    Ok(Json(report))
}
