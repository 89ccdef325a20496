//! `POST /v1/compare`: a department's full export against what is held, and `GET`: what the last dry run showed.

use super::{
    App,
    auth::Caller,
    export::layouts,
    problem::Problem,
    records::{self, bad, kept, pieces},
};
use axum::{
    Json,
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode},
};
use serde::Deserialize;
use serde_json::json;
use tally_intake::{Answer, Format, PourError, Submission, Upload, pour};
use tally_reports::compare::{self, CompareError, Comparison, DryRun, Node, RUN_HOURS, Report, RunKey, Shelf, Terms};

/// What is compared, and how.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
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

impl Wanted {
    fn terms(&self, app: &App) -> Result<Terms, Problem> {
        let missing = |name: &str| bad(&format!("{name} is needed: it says what is compared"));
        let unit = self.unit.clone().filter(|u| !u.is_empty()).ok_or_else(|| missing("unit"))?;
        let category = self.category.clone().ok_or_else(|| missing("category"))?;
        let charter = app.trust.charter();
        let catalog = charter.charter().catalogs().current(tally_clock::today());
        if catalog.category(&category).is_none() {
            let list: Vec<_> = catalog.categories().map(|c| &*c.id).collect();
            return Err(bad(&format!("category: {category:?} is not in the catalog; there are: {}", list.join(", "))));
        }
        let division = self.division.as_ref().map(|d| d.parse().map_err(|e| bad(&format!("division: {e}"))));
        Ok(Terms { unit, category, division: division.transpose()? })
    }

    fn format(&self, headers: &HeaderMap) -> Result<Format, Problem> {
        records::Wanted { format: self.format.clone(), ..records::Wanted::default() }.format(headers)
    }
}

fn name(format: Format) -> &'static str {
    match format {
        Format::Ndjson => "ndjson",
        Format::Csv => "csv",
        Format::Xlsx => "xlsx",
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
    State(app): State<App>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<serde_json::Value>, Problem> {
    let Query(wanted) = wanted.map_err(|e| bad(&e.to_string()))?;
    let (terms, format) = (wanted.terms(&app)?, wanted.format(&headers)?);
    let digest = wanted.digest.as_deref().ok_or_else(|| bad("digest is needed: BLAKE3 of the file"))?;
    let run = app.comparisons.find(&RunKey::of(digest, name(format), &terms), tally_clock::now_ms());
    run.map(|r| Json(shown(&r))).ok_or_else(no_dry_run)
}

pub(super) async fn post(
    State(app): State<App>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Report>, Problem> {
    let Query(wanted) = wanted.map_err(|e| bad(&e.to_string()))?;
    let (terms, format) = (wanted.terms(&app)?, wanted.format(&headers)?);
    let Ok(_room) = app.comparisons.room.clone().try_acquire_owned() else {
        let detail = "a comparison is running already";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry(10));
    };
    if app.index_caught_up().await.is_none() {
        let detail = "the index does not hold everything yet, so nobody can say what is missing";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "index_behind", detail).retry(10));
    }
    let layouts = app.mailbox.ask(|r, _| layouts(r)).await.map_err(|_| Problem::stopping())?;
    let shelf = Shelf { reader: app.reader.clone(), layouts };
    let mut comparison = opened(&app, terms.clone()).await?;
    let (pieces, digest) = pieces(body);
    pour(&mut comparison, pieces, format, &app.spool, &mut |_, _| {}).await.map_err(|e| records::problem(&e))?;
    comparison.finish().await.map_err(|e| records::problem(&e))?;
    let digest = records::hex(&digest);
    let key = RunKey::of(&digest, name(format), &terms);
    let work = move || {
        let run = comparison.dry_run(tally_clock::now_ms());
        comparison.report(&shelf).map(|report| (comparison, shelf, run, report))
    };
    let worked = tokio::task::spawn_blocking(work).await.map_err(|_| Problem::stopping())?;
    let (comparison, shelf, run, mut report) = worked.map_err(|e| refused(&e))?;
    if !wanted.apply {
        app.comparisons.remember(key, run);
        return Ok(Json(report));
    }
    may_apply(&app, &key, &run, &report)?;
    let answer = applied(&app, &wanted, (comparison, shelf), &mut report).await?;
    report.applied = Some(kept(answer.1, digest, answer.0).await?);
    Ok(Json(report))
}

async fn opened(app: &App, terms: Terms) -> Result<Comparison, Problem> {
    let app = app.clone();
    let open = move || {
        let charter = app.trust.charter();
        let (me, full) = (app.own.division, app.desk.full.clone());
        Comparison::open(Node { engine: &*app.engine, charter, me, full, spool: &app.spool }, terms)
    };
    let opened = tokio::task::spawn_blocking(open).await.map_err(|_| Problem::stopping())?;
    opened.map_err(|e| refused(&e))
}

/// Records are made only of what was shown.
fn may_apply(app: &App, key: &RunKey, now: &DryRun, report: &Report) -> Result<(), Problem> {
    let shown = app.comparisons.find(key, now.at_ms).ok_or_else(no_dry_run)?;
    if shown.difference != now.difference {
        let detail = "what is held has changed since the dry run: compare once more, and look at the difference / 比对后本地数据已变化，请重新比对";
        return Err(Problem::new(StatusCode::CONFLICT, "changed", detail));
    }
    if report.read == report.rejected {
        let detail = "no row of the file is in order, and everything that is held would be withdrawn: nothing was changed / 文件中没有合格的行，未作任何改动";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no_rows", detail));
    }
    app.comparisons.forget(key);
    Ok(())
}

async fn applied(
    app: &App,
    wanted: &Wanted,
    (comparison, shelf): (Comparison, Shelf),
    report: &mut Report,
) -> Result<(Answer, tally_intake::answers::Keeping), Problem> {
    let meta = records::Wanted { category: wanted.category.clone(), file: wanted.file.clone(), ..Default::default() };
    let meta = tally_intake::answers::Meta { source: "compare".to_owned(), ..meta.meta(&Caller::default()) };
    let keeping = app.answers.keep(meta);
    // Every record says everything itself.
    let submission = Submission::default();
    let mut upload = Upload::new(app.desk.clone(), submission, Box::new(keeping.clone()));
    let done = compare::apply(comparison, shelf, app.engine.clone(), &mut upload, report).await;
    let (answer, ended) = match upload.finish().await {
        Ok(answer) => (answer, done),
        Err((e, answer)) => (answer, done.and(Err(PourError::Upload(e)))),
    };
    match ended {
        Ok(()) => Ok((answer, keeping)),
        Err(e) => {
            let done =
                json!({ "accepted": answer.accepted, "duplicate": answer.duplicate, "rejected": answer.rejected });
            Err(records::problem(&e).with(done))
        }
    }
}

fn refused(e: &CompareError) -> Problem {
    let (status, code) = match e {
        CompareError::Index(_) => (StatusCode::SERVICE_UNAVAILABLE, "index"),
        CompareError::TooManyHeld => (StatusCode::UNPROCESSABLE_ENTITY, "too_many_held"),
        CompareError::Spool(_) => (StatusCode::SERVICE_UNAVAILABLE, "spool"),
    };
    Problem::new(status, code, &e.to_string())
}
