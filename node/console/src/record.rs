//! `GET /v1/record` and `GET /v1/record/list` on the admin socket: one record, named by the first digits of its id, and lists by
//! what records count for.

use super::{
    ApiContext,
    evidence::index_ready,
    export::batch_maps,
    parameters::{category, division, id_digits, unit},
    problem::{Problem, bad},
};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
};
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::{Value, json};
use tally_protocol::record::RecordId;
use tally_reports::deadline::{Arrivals, RecordFilter, RecordPage, RecordSources, list_records};
use tally_store::index::{
    EngineError, InForce, findings,
    query::{Source, attested, ids_beginning, read_each},
};

/// Most records that are named where several begin alike.
const NAMED_MAX: usize = 10;
/// Records of a page.
const LISTED: usize = 100;
/// See [`LISTED`].
const LISTED_MAX: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordQuery {
    /// The id, or its first digits.
    id: String,
    /// Only say which record it is.
    #[serde(default)]
    only_id: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordListQuery {
    division: Option<String>,
    category: Option<String>,
    unit: Option<String>,
    from: Option<String>,
    to: Option<String>,
    #[serde(default)]
    late: bool,
    #[serde(default)]
    question: bool,
    after: Option<RecordId>,
    limit: Option<usize>,
}

fn day(name: &str, text: Option<String>) -> Result<Option<Date>, Problem> {
    let day = |t: String| t.parse().map_err(|_| bad(&format!("{name}: {t:?} is no day such as 2026-11-24")));
    text.map(day).transpose()
}

fn index_failed(e: &EngineError) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "index", &e.to_string()).retry(10)
}

/// The record that these digits begin.
async fn named(api: &ApiContext, digits: &str) -> Result<RecordId, Problem> {
    let digits = id_digits("id", digits)?;
    let engine = api.engine.clone();
    let look = {
        let digits = digits.clone();
        move || ids_beginning(&*engine, &digits, NAMED_MAX + 1)
    };
    let found = tokio::task::spawn_blocking(look).await.map_err(|_| Problem::stopping())?;
    match found.map_err(|e| index_failed(&e))?.as_slice() {
        [id] => Ok(*id),
        [] => Err(Problem::new(StatusCode::NOT_FOUND, "not_held", &format!("no record here begins with {digits}"))),
        several => {
            let named: Vec<_> = several.iter().take(NAMED_MAX).map(ToString::to_string).collect();
            let more = if several.len() > NAMED_MAX { ", ..." } else { "" };
            Err(bad(&format!("several records begin with {digits}: {}{more}", named.join(", "))))
        }
    }
}

/// One record: what it says, where it stands, how it stands to its deadline, and what this node asks about it.
pub(super) async fn show(
    State(api): State<ApiContext>,
    query: Result<Query<RecordQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(query) = query.map_err(|e| bad(&e.to_string()))?;
    index_ready(&api).await?;
    let id = named(&api, &query.id).await?;
    if query.only_id {
        return Ok(Json(json!({ "id": id })));
    }
    let filter = RecordFilter { only: Some(id), limit: 1, ..RecordFilter::default() };
    let mut page = page(&api, filter).await?;
    let view = api.mailbox.view();
    let charter = api.charter.charter();
    let work = move || {
        let batch_maps = batch_maps(&view);
        let source = Source { reader: &api.reader, batch_maps: &batch_maps, charter: charter.charter() };
        let places = attested(&InForce::new(&*api.engine, charter.charter()), id)?;
        let mut record = Value::Null;
        read_each(&source, &[(id, places.clone())], |_, _, bytes| {
            record = serde_json::from_slice(bytes).unwrap_or(Value::Null);
        });
        let mut asked = Vec::new();
        let mut held = Vec::new();
        for (log, e) in &places {
            asked.extend(findings::at(&*api.engine, *log, e.index)?);
            held.push(crate::receipts::RecordReceipts::of(&view, id, *log, e.index));
        }
        Ok::<_, EngineError>((record, asked, held))
    };
    let done = tokio::task::spawn_blocking(work).await.map_err(|_| Problem::stopping())?;
    let (record, asked, held) = done.map_err(|e| index_failed(&e))?;
    Ok(Json(json!({ "id": id, "listed": page.records.pop(), "record": record, "findings": asked, "receipts": held })))
}

/// Records in force that fit, a page by record id.
pub(super) async fn list(
    State(api): State<ApiContext>,
    query: Result<Query<RecordListQuery>, QueryRejection>,
) -> Result<Json<RecordPage>, Problem> {
    let Query(query) = query.map_err(|e| bad(&e.to_string()))?;
    let signed = api.charter.charter();
    let charter = signed.charter();
    let filter = RecordFilter {
        division: division(charter, query.division.as_ref())?,
        category: category(charter, query.category)?,
        unit: query.unit.map(|u| unit(charter, u)).transpose()?,
        from: day("from", query.from)?,
        to: day("to", query.to)?,
        late: query.late,
        question: query.question,
        only: None,
        after: query.after,
        limit: query.limit.unwrap_or(LISTED).clamp(1, LISTED_MAX),
    };
    index_ready(&api).await?;
    page(&api, filter).await.map(Json)
}

async fn page(api: &ApiContext, filter: RecordFilter) -> Result<RecordPage, Problem> {
    let permit = api.quotas.evidence.wait().await?;
    let (api, signed, view) = (api.clone(), api.charter.charter(), api.mailbox.view());
    let work = move || {
        let _permit = permit;
        let batch_maps = batch_maps(&view);
        let arrivals = Arrivals::of(view.charter(), view.logs().iter().map(|(id, log)| (id, log.as_ref())));
        let source = Source { reader: &api.reader, batch_maps: &batch_maps, charter: signed.charter() };
        let now = tally_clock::now_ms() / 1_000;
        list_records(&RecordSources { engine: &*api.engine, source: &source, arrivals: &arrivals, now }, &filter)
    };
    let page = tokio::task::spawn_blocking(work).await.map_err(|_| Problem::stopping())?;
    page.map_err(|e| index_failed(&e))
}
