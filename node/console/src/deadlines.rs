//! `GET /v1/deadlines`: the deadline report as JSON, CSV or XLSX.

use super::{
    ApiContext,
    auth::Caller,
    parameters::division,
    problem::{Problem, bad},
};
use axum::{
    Extension, Json,
    body::Body,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use std::{collections::BTreeMap, io::Cursor};
use tally_core::View;
use tally_protocol::ids::{Division, LogId};
use tally_reports::deadline::{
    Arrivals, DeadlineQuestion, DeadlineReport, DeadlineSources, GroupBy, Month, collect, write_csv, write_workbook,
};
use tally_store::{batch_map::BatchMap, index::query::Source};
use tally_topology::charter::Charter;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeadlinesQuery {
    month: Option<String>,
    division: Option<String>,
    by: Option<String>,
    format: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReportForm {
    Json,
    Csv,
    Xlsx,
}

impl DeadlinesQuery {
    fn form(&self) -> Result<ReportForm, Problem> {
        match self.format.as_deref() {
            None | Some("json") => Ok(ReportForm::Json),
            Some("csv") => Ok(ReportForm::Csv),
            Some("xlsx") => Ok(ReportForm::Xlsx),
            Some(other) => Err(bad(&format!("format: {other:?} is none of json, csv, xlsx"))),
        }
    }

    fn question(&self, charter: &Charter, caller: &Caller) -> Result<DeadlineQuestion, Problem> {
        let division = division(charter, self.division.as_ref())?;
        let by = match self.by.as_deref() {
            None => None,
            Some("division") => Some(GroupBy::Division),
            Some("unit") => Some(GroupBy::Unit),
            Some("category") => Some(GroupBy::Category),
            Some(other) => return Err(bad(&format!("by: {other:?} is none of division, unit, category"))),
        };
        let month = self.month.as_ref().map(|m| m.parse::<Month>().map_err(|e| bad(&format!("month: {e}"))));
        let categories = may_see(charter, caller, division)?;
        Ok(DeadlineQuestion { month: month.transpose()?, division, by, categories })
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

type Core = (BTreeMap<LogId, BatchMap>, Arrivals);

/// What the core knows of where batches lie and who has received them.
fn core(r: &View) -> Core {
    let batch_maps = r.logs().iter().map(|(id, log)| (*id, BatchMap::of(log))).collect();
    (batch_maps, Arrivals::of(r.charter(), r.logs().iter().map(|(id, log)| (id, log.as_ref()))))
}

/// What is on time, late, overdue or missing, by division, unit and category.
#[utoipa::path(
    get,
    path = "/v1/deadlines",
    operation_id = "reportDeadlines",
    params(
        ("month" = Option<String>, Query, pattern = "^[0-9]{4}-(0[1-9]|1[0-2])$", description = "2026-11: what is due in it; by default what is open, and due in this month"),
        ("division" = Option<String>, Query, description = "Only of this division and those below it"),
        ("by" = Option<String>, Query, description = "division, unit or category: only those totals"),
        ("format" = Option<String>, Query, description = "json (default), csv or xlsx"),
    ),
    responses(
        (status = 200, description = "`rows`, `total`, `warnings`; or a table", content((DeadlineReport = "application/json"), (String = "text/csv"), ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"))),
        (status = 403, description = "The token is limited to a unit, or to divisions and none of them was named (`not_allowed`)"),
    )
)]
pub(super) async fn report(
    State(api): State<ApiContext>,
    Extension(caller): Extension<Caller>,
    wanted: Result<Query<DeadlinesQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Query(wanted) = wanted.map_err(|e| bad(&e.to_string()))?;
    let form = wanted.form()?;
    let question = wanted.question(api.charter.charter().charter(), &caller)?;
    if api.index_caught_up().await.is_none() {
        let detail = "the index is being built; the report is complete only after that";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "index_behind", detail).retry(10));
    }
    let permit = api.quotas.exports.take(&caller)?;
    let core = core(&api.mailbox.view());
    let work = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        made(&api, &core, &question).and_then(|report| shown(&report, form))
    });
    work.await.map_err(|_| Problem::stopping())?
}

/// The totals over all that is held, now. Blocking.
pub(super) fn counted(api: &ApiContext, by: GroupBy) -> Result<DeadlineReport, Problem> {
    let question = DeadlineQuestion { by: Some(by), ..DeadlineQuestion::default() };
    made(api, &core(&api.mailbox.view()), &question)
}

fn made(
    api: &ApiContext,
    (batch_maps, arrivals): &Core,
    question: &DeadlineQuestion,
) -> Result<DeadlineReport, Problem> {
    let charter = api.charter.charter();
    let source = Source { reader: &api.reader, batch_maps, charter: charter.charter() };
    let held = DeadlineSources {
        engine: &*api.engine,
        source: &source,
        arrivals,
        me: api.own.division,
        now: tally_clock::now_ms() / 1_000,
    };
    let failed = |e: &dyn std::fmt::Display| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "index", &format!("the index cannot be read: {e}"))
    };
    collect(&held, question).map_err(|e| failed(&e))
}

fn shown(report: &DeadlineReport, form: ReportForm) -> Result<Response, Problem> {
    let (kind, end, bytes) = match form {
        ReportForm::Json => return Ok(Json(report).into_response()),
        ReportForm::Csv => {
            let mut bytes = Vec::new();
            write_csv(&mut bytes, report).map_err(|e| not_written(&e))?;
            ("text/csv; charset=utf-8", "csv", bytes)
        }
        ReportForm::Xlsx => {
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

    fn question(wanted: &DeadlinesQuery, rights: Option<Rights>) -> Result<DeadlineQuestion, Problem> {
        wanted.question(
            &sample::charter(""),
            &Caller { token: rights.as_ref().map(|_| "t".to_owned()), rights, logs: false },
        )
    }

    fn text(t: &str) -> Option<String> {
        Some(t.to_owned())
    }

    #[test]
    fn what_cannot_be_asked_is_named() {
        let good =
            DeadlinesQuery { month: text("2026-11"), division: text("350100"), by: text("unit"), format: text("csv") };
        let q = question(&good, None).unwrap();
        assert_eq!((q.month.unwrap().to_string().as_str(), q.by, good.form().unwrap()), {
            ("2026-11", Some(GroupBy::Unit), ReportForm::Csv)
        });
        assert!(
            question(&DeadlinesQuery { division: text("350199"), ..DeadlinesQuery::default() }, None).is_ok(),
            "covered"
        );
        for bad in [
            DeadlinesQuery { month: text("2026-13"), ..DeadlinesQuery::default() },
            DeadlinesQuery { division: text("110101"), ..DeadlinesQuery::default() },
            DeadlinesQuery { division: text("x"), ..DeadlinesQuery::default() },
            DeadlinesQuery { by: text("colour"), ..DeadlinesQuery::default() },
        ] {
            assert!(question(&bad, None).is_err(), "{bad:?}");
        }
        assert!(DeadlinesQuery { format: text("docx"), ..DeadlinesQuery::default() }.form().is_err());
    }

    #[test]
    fn a_token_sees_what_it_may() {
        let all = DeadlinesQuery::default();
        let city = DeadlinesQuery { division: text("350100"), ..DeadlinesQuery::default() };
        let unit = Rights { unit: text("113501020036012589"), ..Rights::default() };
        assert!(question(&all, Some(unit)).is_err());
        let of_city = Rights { divisions: vec!["350100".parse().unwrap()], ..Rights::default() };
        assert!(question(&all, Some(of_city.clone())).is_err());
        assert!(question(&city, Some(of_city.clone())).is_ok());
        let county = DeadlinesQuery { division: text("350102"), ..DeadlinesQuery::default() };
        assert!(question(&county, Some(of_city)).is_ok());
        let of_county = Rights { divisions: vec!["350102".parse().unwrap()], ..Rights::default() };
        assert!(question(&city, Some(of_county)).is_err());
        let licences = Rights { categories: vec!["admin_license".to_owned()], ..Rights::default() };
        assert_eq!(question(&all, Some(licences)).unwrap().categories, ["admin_license"]);
    }
}
