//! `GET /v1/deadlines`: the deadline report as JSON, CSV or XLSX.

use super::{App, EXPORTS, auth::Caller, problem::Problem};
use axum::{
    Extension, Json,
    body::Body,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    io::Cursor,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tally_core::Replica;
use tally_protocol::ids::{Division, LogId};
use tally_reports::deadline::{Arrivals, By, Held, Month, Question, Report, collect, write_csv, write_workbook};
use tally_store::{index::query::Source, layout::Layout};
use tally_topology::charter::Charter;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    month: Option<String>,
    division: Option<String>,
    by: Option<String>,
    format: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Csv,
    Xlsx,
}

fn bad(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_parameter", detail)
}

impl Wanted {
    fn form(&self) -> Result<Form, Problem> {
        match self.format.as_deref() {
            None | Some("json") => Ok(Form::Json),
            Some("csv") => Ok(Form::Csv),
            Some("xlsx") => Ok(Form::Xlsx),
            Some(other) => Err(bad(&format!("format: {other:?} is none of json, csv, xlsx"))),
        }
    }

    fn question(&self, charter: &Charter, caller: &Caller) -> Result<Question, Problem> {
        let division: Option<Division> =
            self.division.as_ref().map(|d| d.parse().map_err(|e| bad(&format!("division: {e}")))).transpose()?;
        if let Some(d) = division.filter(|d| charter.entry_node(*d).is_none()) {
            return Err(bad(&format!("division: {d} is not of this federation / 区划 {d} 不在本联盟内")));
        }
        let by = match self.by.as_deref() {
            None => None,
            Some("division") => Some(By::Division),
            Some("unit") => Some(By::Unit),
            Some("category") => Some(By::Category),
            Some(other) => return Err(bad(&format!("by: {other:?} is none of division, unit, category"))),
        };
        let month = self.month.as_ref().map(|m| m.parse::<Month>().map_err(|e| bad(&format!("month: {e}"))));
        let categories = may_see(charter, caller, division)?;
        Ok(Question { month: month.transpose()?, division, by, categories })
    }
}

/// A token of a unit sees its own rows only, and the report is of all units. One for some divisions has to ask for one of
/// them. The answer are the categories it may see; none named: all.
fn may_see(charter: &Charter, caller: &Caller, division: Option<Division>) -> Result<Vec<String>, Problem> {
    let Some(rights) = &caller.rights else { return Ok(Vec::new()) };
    let refuse = |detail: &str| Err(Problem::new(StatusCode::FORBIDDEN, "not_allowed", detail));
    if rights.unit.is_some() {
        return refuse(
            "the report is of all units, and this token is one unit's / 该令牌限于单个单位，不能查询时限报告",
        );
    }
    let within = |top: &Division| {
        division.is_some_and(|d| d == *top || charter.entry_node(d).is_some_and(|n| charter.is_within(n, *top)))
    };
    if !rights.divisions.is_empty() && !rights.divisions.iter().any(within) {
        let divisions: Vec<_> = rights.divisions.iter().map(ToString::to_string).collect();
        let list = divisions.join(", ");
        return refuse(&format!(
            "this token is for {list}: name one with division= / 该令牌限于 {list}，请注明 division="
        ));
    }
    Ok(rights.categories.clone())
}

/// A turn among those who read much of the disk.
struct Turn(Arc<AtomicUsize>);

impl Turn {
    fn take(running: &Arc<AtomicUsize>) -> Option<Self> {
        let turn = Self(running.clone());
        (running.fetch_add(1, Ordering::AcqRel) < EXPORTS).then_some(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

type Core = (BTreeMap<LogId, Layout>, Arrivals);

/// What the core knows of where batches lie and who has received them.
fn core(r: &Replica) -> Core {
    let layouts = r.logs().iter().map(|(id, log)| (*id, Layout::of(log))).collect();
    (layouts, Arrivals::of(r.charter(), r.logs()))
}

/// What is on time, late, overdue or missing, by division, unit and category.
#[utoipa::path(
    get,
    path = "/v1/deadlines",
    params(
        ("month" = Option<String>, Query, description = "2026-11: what is due in it; by default what is open, and due in this month"),
        ("division" = Option<String>, Query, description = "Only of this division and those below it"),
        ("by" = Option<String>, Query, description = "division, unit or category: only those totals"),
        ("format" = Option<String>, Query, description = "json (default), csv or xlsx"),
    ),
    responses(
        (status = 200, description = "`rows`, `total`, `warnings`; or a table"),
        (status = 403, description = "The token is limited to a unit"),
        (status = 503, description = "Not now; Retry-After says when"),
    )
)]
pub(super) async fn report(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Query(wanted) = wanted.map_err(|e| bad(&e.to_string()))?;
    let form = wanted.form()?;
    let question = wanted.question(app.trust.charter().charter(), &caller)?;
    if app.index_caught_up().await.is_none() {
        let detail = "the index is being built; the report is complete only after that";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "index_behind", detail).retry(10));
    }
    let Some(turn) = Turn::take(&app.exports) else {
        let detail = format!("{EXPORTS} exports or reports are running already");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", &detail).retry(5));
    };
    let core = app.mailbox.ask(|r, _| core(r)).await.map_err(|_| Problem::stopping())?;
    let work = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        made(&app, &core, &question).and_then(|report| shown(&report, form))
    });
    work.await.map_err(|_| Problem::stopping())?
}

fn made(app: &App, (layouts, arrivals): &Core, question: &Question) -> Result<Report, Problem> {
    let charter = app.trust.charter();
    let source = Source { reader: &app.reader, layouts, charter: charter.charter() };
    let held = Held {
        engine: &*app.engine,
        source: &source,
        arrivals,
        me: app.own.division,
        now: tally_clock::now_ms() / 1_000,
    };
    let failed = |e: &dyn std::fmt::Display| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "index", &format!("the index cannot be read: {e}"))
    };
    collect(&held, question).map_err(|e| failed(&e))
}

fn shown(report: &Report, form: Form) -> Result<Response, Problem> {
    let (kind, end, bytes) = match form {
        Form::Json => return Ok(Json(report).into_response()),
        Form::Csv => {
            let mut bytes = Vec::new();
            write_csv(&mut bytes, report).map_err(|e| not_written(&e))?;
            ("text/csv; charset=utf-8", "csv", bytes)
        }
        Form::Xlsx => {
            let mut out = Cursor::new(Vec::new());
            write_workbook(&mut out, report).map_err(|e| not_written(&e))?;
            ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx", out.into_inner())
        }
    };
    let name = format!(
        "attachment; filename=\"deadlines-{}-{}.{end}\"",
        report.node,
        report.month.as_deref().unwrap_or(&report.today)
    );
    Ok(([(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, name)], Body::from(bytes))
        .into_response())
}

fn not_written(e: &dyn std::fmt::Display) -> Problem {
    let detail = format!("the report cannot be written: {e}; is there room on the disk?");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "not_written", &detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_intake::Rights;
    use tally_topology::sample;

    fn question(wanted: &Wanted, rights: Option<Rights>) -> Result<Question, Problem> {
        wanted.question(&sample::charter(""), &Caller { token: rights.as_ref().map(|_| "t".to_owned()), rights })
    }

    fn text(t: &str) -> Option<String> {
        Some(t.to_owned())
    }

    #[test]
    fn what_cannot_be_asked_is_named() {
        let good = Wanted { month: text("2026-11"), division: text("350100"), by: text("unit"), format: text("csv") };
        let q = question(&good, None).unwrap();
        assert_eq!((q.month.unwrap().to_string().as_str(), q.by, good.form().unwrap()), {
            ("2026-11", Some(By::Unit), Form::Csv)
        });
        assert!(question(&Wanted { division: text("350199"), ..Wanted::default() }, None).is_ok(), "covered");
        for bad in [
            Wanted { month: text("2026-13"), ..Wanted::default() },
            Wanted { division: text("110101"), ..Wanted::default() },
            Wanted { division: text("x"), ..Wanted::default() },
            Wanted { by: text("colour"), ..Wanted::default() },
        ] {
            assert!(question(&bad, None).is_err(), "{bad:?}");
        }
        assert!(Wanted { format: text("docx"), ..Wanted::default() }.form().is_err());
    }

    #[test]
    fn a_token_sees_what_it_may() {
        let all = Wanted::default();
        let city = Wanted { division: text("350100"), ..Wanted::default() };
        let unit = Rights { unit: text("113501020036012589"), ..Rights::default() };
        assert!(question(&all, Some(unit)).is_err());
        let of_city = Rights { divisions: vec!["350100".parse().unwrap()], ..Rights::default() };
        assert!(question(&all, Some(of_city.clone())).is_err());
        assert!(question(&city, Some(of_city.clone())).is_ok());
        let county = Wanted { division: text("350102"), ..Wanted::default() };
        assert!(question(&county, Some(of_city)).is_ok());
        let of_county = Rights { divisions: vec!["350102".parse().unwrap()], ..Rights::default() };
        assert!(question(&city, Some(of_county)).is_err());
        let licences = Rights { categories: vec!["admin_license".to_owned()], ..Rights::default() };
        assert_eq!(question(&all, Some(licences)).unwrap().categories, ["admin_license"]);
    }

    #[test]
    fn turns_end() {
        let running = Arc::default();
        let turns: Vec<_> = (0..EXPORTS).map(|_| Turn::take(&running)).collect();
        assert!(turns.iter().all(Option::is_some) && Turn::take(&running).is_none());
        drop(turns);
        assert!(Turn::take(&running).is_some());
    }
}
