//! `GET /v1/questions`: what was found wrong with records that are held, by this node and by those above.

use super::{
    ApiContext,
    auth::Caller,
    export::batch_maps,
    parameters::division,
    problem::{Problem, bad},
};
use axum::{
    Extension, Json,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
};
use serde::Deserialize;
use tally_reports::question::{QuestionPage, QuestionPlace, QuestionQuery, QuestionSources, gather};
use tally_store::index::query::Source;

/// Records that an answer lists, if no other number is asked for, and at most.
const LISTED: usize = 1_000;
/// See [`LISTED`].
const LISTED_MAX: usize = 5_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QuestionsQuery {
    division: Option<String>,
    /// Also those that a later version has answered.
    #[serde(default)]
    all: bool,
    limit: Option<usize>,
    after: Option<String>,
}

/// Records that are held and asked about, by this node or by those above.
#[utoipa::path(
    get,
    path = "/v1/questions",
    operation_id = "listQuestions",
    params(
        ("division" = Option<String>, Query, description = "Only of this division and those below it"),
        ("all" = Option<bool>, Query, description = "Also those that a later version has answered"),
        ("limit" = Option<usize>, Query, description = "Records listed, 1,000 by default, at most 5,000", minimum = 0),
        ("after" = Option<String>, Query, description = "Go on behind what `next` of the last answer says"),
    ),
    responses((status = 200, description = "`questions`, how many more there are (`omitted`; counted on the first page, to 100,000), and if there are any, `next`", body = QuestionPage))
)]
pub(super) async fn list(
    State(api): State<ApiContext>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<QuestionsQuery>, QueryRejection>,
) -> Result<Json<QuestionPage>, Problem> {
    let Query(query) = query.map_err(|e| bad(&e.to_string()))?;
    let after = query.after.map(|t| t.parse::<QuestionPlace>().map_err(|_| bad("after: give what `next` said")));
    let after = after.transpose()?;
    let signed = api.charter.charter();
    let charter = signed.charter();
    let top = division(charter, query.division.as_ref())?.unwrap_or(api.own.division);
    if charter.node(top).is_none() {
        let node = charter.entry_node(top).map_or(String::new(), |n| format!(": its records enter at {n}"));
        return Err(bad(&format!("division: {top} has no node of its own{node}, and questions are told by node")));
    }
    if let Some(place) = &after
        && charter.epoch(place.log).is_none()
    {
        return Err(bad(&format!("after: {} is no log of this federation", place.log)));
    }
    let query = QuestionQuery {
        top,
        after,
        limit: query.limit.unwrap_or(LISTED).clamp(1, LISTED_MAX),
        answered_too: query.all,
        rights: caller.rights.clone().unwrap_or_default(),
    };
    let permit = api.quotas.tree_reads.take(&caller)?;
    let batch_maps = batch_maps(&api.mailbox.view());
    let page = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let held = Source { reader: &api.reader, batch_maps: &batch_maps, charter: signed.charter() };
        gather(&QuestionSources { engine: &*api.engine, held: &held, me: api.own.division }, &query)
    });
    let page = page.await.map_err(|_| Problem::stopping())?;
    page.map(Json).map_err(|e| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "index", &e.to_string()).retry(10))
}
