//! `GET /v1/questions`: what was found wrong with records that are held, by this node and by those above.

use super::{App, auth::Caller, problem::Problem, records::bad};
use crate::{
    index::{Engine, EngineError, entry_of, verdicts, versions_by_hash},
    intake::Rights,
};
use axum::{
    Extension, Json,
    extract::{Query, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tally_protocol::{
    ids::{Division, LogId},
    record::RecordId,
    verdicts::Verdict,
};
use tally_topology::charter::Charter;

/// Records that an answer lists, if no other number is asked for, and at most.
const LISTED: usize = 1_000;
/// See [`LISTED`].
const LISTED_MAX: usize = 10_000;
/// Findings read from the index at once.
const PAGE: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    division: Option<String>,
    /// Also those that a later version has answered.
    #[serde(default)]
    all: bool,
    limit: Option<usize>,
}

/// A record that is asked about.
#[derive(Debug, Serialize)]
struct Question {
    id: RecordId,
    log: String,
    index: u64,
    category: String,
    unit: String,
    /// When it was sealed.
    sealed_at: String,
    /// `open`, or `answered` when a later version of its business key is held.
    state: &'static str,
    judged_by: Vec<Judgement>,
}

#[derive(Debug, Serialize)]
struct Judgement {
    division: Division,
    findings: Vec<Found>,
}

#[derive(Debug, Serialize)]
struct Found {
    field: String,
    code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    severity: &'static str,
    message: String,
    message_zh: String,
}

/// Records that are held and asked about, by this node or by those above.
#[utoipa::path(
    get,
    path = "/v1/questions",
    params(
        ("division" = Option<String>, Query, description = "Only of this division and those below it"),
        ("all" = Option<bool>, Query, description = "Also those that a later version has answered"),
        ("limit" = Option<usize>, Query, description = "Records listed, 1,000 by default"),
    ),
    responses((status = 200, description = "`questions`, and how many were `omitted`"))
)]
pub(super) async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<serde_json::Value>, Problem> {
    let Query(wanted) = wanted.map_err(|e| bad(&e.to_string()))?;
    let top = match &wanted.division {
        None => app.own.division,
        Some(d) => d.parse().map_err(|e| bad(&format!("division: {e}")))?,
    };
    let limit = wanted.limit.unwrap_or(LISTED).min(LISTED_MAX);
    let rights = caller.rights.unwrap_or_default();
    let Ok(_room) = app.tree_reads.clone().try_acquire_owned() else {
        let detail = "others read the index already; ask again in a moment";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry(2));
    };
    let list = tokio::task::spawn_blocking(move || {
        let signed = app.trust.charter();
        let gather =
            Gather { engine: &*app.engine, charter: signed.charter(), me: app.own.division, rights, all: wanted.all };
        gather.list(top, limit)
    });
    let (questions, omitted) = list
        .await
        .map_err(|_| Problem::stopping())?
        .map_err(|e| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "index", &e.to_string()).retry(10))?;
    Ok(Json(serde_json::json!({ "questions": questions, "omitted": omitted })))
}

struct Gather<'g> {
    engine: &'g dyn Engine,
    charter: &'g Charter,
    me: Division,
    rights: Rights,
    all: bool,
}

impl Gather<'_> {
    fn list(&self, top: Division, limit: usize) -> Result<(Vec<Question>, u64), EngineError> {
        let below = self.charter.nodes().filter(|n| self.charter.is_within(n.division, top));
        let logs = below.flat_map(|n| (1..=n.epochs.len() as u32).map(|epoch| LogId { division: n.division, epoch }));
        let (mut questions, mut omitted) = (Vec::new(), 0);
        for log in logs {
            for ((index, id), by) in self.of_log(log)? {
                // Beyond the limit they are only counted, answered or not.
                if questions.len() >= limit {
                    omitted += 1;
                } else if let Some(question) = self.question(log, index, id, by)? {
                    questions.push(question);
                }
            }
        }
        Ok((questions, omitted))
    }

    fn of_log(&self, log: LogId) -> Result<BTreeMap<(u64, RecordId), Vec<Verdict>>, EngineError> {
        let mut by_record: BTreeMap<(u64, RecordId), Vec<Verdict>> = BTreeMap::new();
        for holder in self.charter.path(self.me) {
            let mut from = 0;
            loop {
                let page = if holder == self.me {
                    verdicts::own(self.engine, holder, log, from, PAGE)?
                } else {
                    verdicts::told(self.engine, holder, log, from, PAGE)?
                };
                let Some(last) = page.last().map(|v| v.index) else { break };
                from = last + 1;
                for v in page {
                    if by_record.len() < LISTED_MAX {
                        by_record.entry((v.index, v.id)).or_default().push(v);
                    }
                }
            }
        }
        Ok(by_record)
    }

    fn question(
        &self,
        log: LogId,
        index: u64,
        id: RecordId,
        by: Vec<Verdict>,
    ) -> Result<Option<Question>, EngineError> {
        let Some(e) = entry_of(self.engine, id, log)? else { return Ok(None) };
        let r = &self.rights;
        let division = e.counts.division.try_into().ok();
        let may = r.unit.as_ref().is_none_or(|u| *u == e.counts.unit)
            && (r.categories.is_empty() || r.categories.contains(&e.counts.category))
            && (r.divisions.is_empty() || division.is_some_and(|d| r.divisions.contains(&d)));
        if !may {
            return Ok(None);
        }
        let later = versions_by_hash(self.engine, &e.facts.key)?;
        let answered =
            later.iter().any(|(at, other)| *at >= e.sealed_at && *other != id && is_after(&later, id, *other));
        if answered && !self.all {
            return Ok(None);
        }
        let found = |f: tally_protocol::verdicts::Finding| Found {
            field: f.field,
            code: f.code,
            name: f.name,
            severity: if f.severity == 2 { "reject" } else { "question" },
            message: f.message,
            message_zh: f.message_zh,
        };
        let judgement =
            |v: Verdict| Judgement { division: v.holder, findings: v.findings.into_iter().map(found).collect() };
        Ok(Some(Question {
            id,
            log: self.charter.federation().origin(log),
            index,
            category: e.counts.category,
            unit: e.counts.unit,
            sealed_at: crate::view::time(e.sealed_at),
            state: if answered { "answered" } else { "open" },
            judged_by: by.into_iter().map(judgement).collect(),
        }))
    }
}

/// Whether `other` came after `id` among the versions of their key.
fn is_after(versions: &[(u64, RecordId)], id: RecordId, other: RecordId) -> bool {
    let place = |r: RecordId| versions.iter().position(|(_, v)| *v == r);
    place(other) > place(id)
}
