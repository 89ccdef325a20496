//! `POST /v1/compare`: a department's full export against what is held, and `GET`: what the last dry run showed.
//!
//! Cancel-safe: a client that goes away drops the comparison; records of the difference that were handed in stay.

use super::{
    ApiContext,
    export::batch_maps,
    parameters::{body_pieces, division, input_format, unit as unit_of},
    problem::{Problem, bad, done, input_problem, submission_problem},
};
use axum::{
    Json,
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode},
};
use serde::Deserialize;
use serde_json::json;
use tally_intake::{chain, submission::SubmissionError};
use tally_reports::compare::{
    CompareError, CompareFailure, CompareJob, CompareReport, CompareRequest, CompareTerms, DryRun, RUN_HOURS,
    RecordReader, RunKey,
};

/// What is compared, and how.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CompareQuery {
    /// Code of the producing unit.
    unit: Option<String>,
    /// Category.
    category: Option<String>,
    /// Only what counts for this division or those below it.
    division: Option<String>,
    /// `ndjson`, `csv` or `xlsx`; else the content type says.
    format: Option<String>,
    /// Name of the file, for the kept answer.
    file: Option<String>,
    /// `cli` where the command line sends; the kept answer says `compare`.
    #[serde(rename = "source")]
    _source: Option<String>,
    /// Turn the difference into records.
    #[serde(default)]
    apply: bool,
    /// BLAKE3 of the file, to ask for its dry run.
    digest: Option<String>,
}

impl CompareQuery {
    fn request(self, api: &ApiContext, headers: &HeaderMap) -> Result<CompareRequest, Problem> {
        let missing = |name: &str| bad(&format!("{name} is needed: it says what is compared"));
        let unit = self.unit.filter(|u| !u.is_empty()).ok_or_else(|| missing("unit"))?;
        let category = self.category.ok_or_else(|| missing("category"))?;
        let charter = api.charter.charter();
        let category = charter.charter().catalogs().category_named(&category).unwrap_or(category);
        let catalog = charter.charter().catalogs().current(tally_clock::today());
        if catalog.category(&category).is_none() {
            let list: Vec<_> = catalog.categories().map(|c| &*c.id).collect();
            return Err(bad(&format!("category: {category:?} is not in the catalog; there are: {}", list.join(", "))));
        }
        let unit = unit_of(charter.charter(), unit)?;
        let terms = CompareTerms { unit, category, division: division(charter.charter(), self.division.as_ref())? };
        let format = input_format(self.format.as_deref(), headers)?;
        Ok(CompareRequest { terms, format, file: self.file, apply: self.apply })
    }
}

fn no_dry_run() -> Problem {
    let detail = format!(
        "this file was not compared on these terms here within the last {RUN_HOURS} hours, or the node was started again since: compare it without --apply first, and look at the difference / 请先不加 --apply 比对同一文件并查看差异"
    );
    Problem::new(StatusCode::CONFLICT, "no_dry_run", &detail)
}

fn shown(run: &DryRun) -> serde_json::Value {
    let at = tally_clock::time(run.at_ms / 1_000);
    json!({ "at": at, "missing_here": run.missing_here, "different": run.different, "withdraw": run.withdraw })
}

/// The dry run of the file with this digest.
pub(super) async fn last(
    State(api): State<ApiContext>,
    query: Result<Query<CompareQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<serde_json::Value>, Problem> {
    let Query(mut query) = query.map_err(|e| bad(&e.to_string()))?;
    let digest = query.digest.take();
    let CompareRequest { terms, format, .. } = query.request(&api, &headers)?;
    let digest = digest.ok_or_else(|| bad("digest is needed: BLAKE3 of the file"))?;
    let run = api.comparisons.find(&RunKey::of(&digest, format, &terms), tally_clock::now_ms());
    run.map(|r| Json(shown(&r))).ok_or_else(no_dry_run)
}

pub(super) async fn post(
    State(api): State<ApiContext>,
    query: Result<Query<CompareQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<CompareReport>, Problem> {
    let Query(query) = query.map_err(|e| bad(&e.to_string()))?;
    let request = query.request(&api, &headers)?;
    let Ok(_permit) = api.comparisons.room.clone().try_acquire_owned() else {
        let detail = "a comparison is running already";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry(10));
    };
    if api.index_caught_up().await.is_none() {
        let detail = "the index does not hold everything yet, so nobody can say what is missing";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "index_behind", detail).retry(10));
    }
    let batch_maps = batch_maps(&api.mailbox.view());
    let job = CompareJob {
        reader: RecordReader { reader: api.reader.clone(), batch_maps },
        submissions: api.submissions.clone(),
        engine: api.engine.clone(),
        runs: api.comparisons.clone(),
    };
    job.run(request, body_pieces(body, false)).await.map(Json).map_err(|e| problem(&e))
}

fn problem(e: &CompareFailure) -> Problem {
    match e {
        CompareFailure::Input(e) => input_problem(e),
        CompareFailure::Compare(e) => {
            let (status, code) = match e {
                CompareError::Index(_) => (StatusCode::SERVICE_UNAVAILABLE, "index"),
                CompareError::TooManyHeld => (StatusCode::UNPROCESSABLE_ENTITY, "too_many_held"),
                CompareError::Spool(_) => (StatusCode::SERVICE_UNAVAILABLE, "spool"),
            };
            Problem::new(status, code, &chain(e))
        }
        CompareFailure::NoDryRun => no_dry_run(),
        CompareFailure::Changed => {
            let detail = "what is held has changed since the dry run: compare once more, and look at the difference / 比对后本地数据已变化，请重新比对";
            Problem::new(StatusCode::CONFLICT, "changed", detail)
        }
        CompareFailure::NoRows => {
            let detail = "no row of the file is in order, and everything that is held would be withdrawn: nothing was changed / 文件中没有合格的行，未作任何改动";
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no_rows", detail)
        }
        CompareFailure::HandIn(SubmissionError::Ended { why, so_far }) => input_problem(why).with(done(so_far)),
        CompareFailure::HandIn(e) => submission_problem(e),
        CompareFailure::Stopping => Problem::stopping(),
    }
}
