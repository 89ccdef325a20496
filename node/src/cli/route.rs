//! `tally route`: where the records of a unit, a category and a division enter, and why.

use super::{ConfigFile, Exit, Failure, language::in_both};
use clap::Subcommand;
use jiff::civil::Date;
use serde_json::json;
use tally_protocol::{canonical::Object, ids::Division, tame::tame};
use tally_topology::{
    catalog::Severity,
    charter::Charter,
    judge::{Finding, JudgeContext, judge},
    names::NameError,
    route::{Asked, Case, Route, RouteRule},
    unit::Unit,
};

#[derive(Debug, Subcommand)]
pub(super) enum RouteCommand {
    /// Say at which node a record enters, by which rule, and which nodes it passes.
    Explain {
        /// Credit code of the producing unit.
        #[arg(long, value_name = "CODE")]
        unit: String,
        /// Category, by identifier or Chinese name.
        #[arg(long, value_name = "C")]
        category: String,
        /// Division that the record counts for, by code or name; by default the unit's.
        #[arg(long, value_name = "D")]
        division: Option<String>,
        /// Day on which the record is produced, YYYY-MM-DD; by default today.
        #[arg(long, value_name = "DAY", value_parser = super::day)]
        on: Option<Date>,
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// List the rules of the charter, in the order in which they are tried.
    Ls {
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigFile,
    },
}

pub(super) async fn run(command: RouteCommand) -> Result<Exit, Failure> {
    match command {
        RouteCommand::Explain { unit, category, division, on, json, config } => {
            let charter = config.client()?.charter().await?;
            let usage = |e: NameError| Failure::new(Exit::Usage, format!("--division: {e}"));
            let division = division.map(|name| charter.division_named(&name).map_err(usage)).transpose()?;
            let category = charter.catalogs().category_named(&category).unwrap_or(category);
            explain(&charter, &unit, &category, division, on.unwrap_or_else(tally_clock::today), json)
        }
        RouteCommand::Ls { json, config } => {
            let charter = config.client()?.charter().await?;
            if json {
                outln!("{}", json!({ "routes": charter.routes() }));
            } else if charter.routes().is_empty() {
                outln!("no rules: everything enters by territory (R-40), at the node of its division");
            } else {
                for (i, r) in charter.routes().iter().enumerate() {
                    outln!("{:3}  {}", i + 1, shown(r));
                }
            }
            Ok(Exit::Done)
        }
    }
}

fn shown(r: &RouteRule) -> String {
    let part = |name: &str, value: Option<String>| value.map_or(String::new(), |v| format!("  {name} {v}"));
    [
        r.case.name().to_owned(),
        part("category", r.category.clone()),
        part("division", r.division.map(|d| d.to_string())),
        part("unit", r.unit.clone()),
        part("units called", r.unit_word.clone()),
        part("produced from", r.from.clone()),
        part("delivered by", r.by.clone()),
        part("owner", r.owner.clone()),
        part("due", r.due_on.clone()),
        part("note", r.note.clone()),
    ]
    .concat()
}

fn explain(
    charter: &Charter,
    code: &str,
    category: &str,
    division: Option<Division>,
    day: Date,
    json: bool,
) -> Result<Exit, Failure> {
    let registered = charter.units().get(code);
    let usage = |what: String| Failure::new(Exit::Usage, what);
    let known = charter.catalogs().current(day).category(category).is_some();
    if !known {
        return Err(usage(format!("--category: {category:?} is not a category of the catalog (tally catalog show)")));
    }
    let of_unit = || registered.map(|u| u.division).or_else(|| tally_topology::digits::uscc_division(code));
    let division = division.or_else(of_unit).ok_or_else(|| {
        usage(format!("--division is needed: the registry does not know {code}, and its digits name no division"))
    })?;
    let unit_name = registered.map_or("", |u| u.name.as_str());
    let route = charter.route(&Asked { unit: code, unit_name, category, division, day });
    let Some(route) = route else {
        return Err(usage(format!("{division} is not a division of this federation")));
    };
    let path: Vec<Division> = charter.path(route.entry).collect();
    let against = against(charter, &route, registered, (code, category, division, day));
    if json {
        outln!(
            "{}",
            json!({
                "unit": code, "unit_name": registered.map(|u| &u.name), "category": category, "division": division,
                "case": route.case, "rule": route.rule.map(|(n, _)| n), "entry": route.entry, "path": path,
                "expected_here": route.case != Case::Central, "delivered_by": route.rule.and_then(|(_, r)| r.by.clone()),
                "why": why(&route).0, "why_zh": why(&route).1,
                "against": against.iter().map(|f| json!({ "code": f.code, "severity": f.severity.name(), "message": f.message, "message_zh": f.message_zh })).collect::<Vec<_>>(),
            })
        );
        return Ok(Exit::Done);
    }
    let name = |d: &Division| charter.node(*d).map_or(String::new(), |n| format!(" {}", tame(&n.name)));
    outln!("unit      {code}  {}", registered.map_or("not in the registry", |u| u.name.as_str()));
    outln!("records   {category} of {division}{}", name(&division));
    outln!("case      {} ({})", route.case.name(), route.case.name_zh());
    match route.rule {
        Some((n, r)) => outln!("rule      {n}: {}", shown(r)),
        None => outln!("rule      none fits: by territory"),
    }
    let (en, zh) = why(&route);
    outln!("why       {}", in_both(en, zh, 10));
    outln!("enters    {}{}", route.entry, name(&route.entry));
    let way: Vec<String> = path.iter().map(|d| format!("{d}{}", name(d))).collect();
    outln!("path      {}", way.join(" -> "));
    for f in &against {
        outln!("BUT       {} {}: {}", f.code, f.severity.name(), in_both(&f.message, &f.message_zh, 10));
    }
    Ok(Exit::Done)
}

/// What the door would say of such a record, handed in there by the unit itself or by who delivers for it: a path is no
/// permission.
fn against(
    charter: &Charter,
    route: &Route<'_>,
    unit: Option<&Unit>,
    (code, category, division, day): (&str, &str, Division, Date),
) -> Vec<Finding> {
    let submitter = route.rule.and_then(|(_, r)| r.by.as_deref()).unwrap_or(code);
    let from = charter.units().get(submitter).map_or(division, |u| u.division);
    let record = json!({
        "category": category, "operation": "create", "produced_on": day.to_string(),
        "producer_uscc": code, "producer_name": unit.map(|u| &u.name), "producer_division": division,
        "submitter_uscc": submitter, "submitter_division": from,
    });
    let context = JudgeContext { charter, today: tally_clock::today(), origin: route.entry, least: Severity::Note };
    let text = record.to_string();
    let findings = Object::parse(text.as_bytes()).map(|o| judge(&context, &o).findings).unwrap_or_default();
    findings.into_iter().filter(|f| ["V016", "V017", "V018"].contains(&f.code.as_str())).collect()
}

fn why(route: &Route<'_>) -> (&'static str, &'static str) {
    match route.case {
        Case::Territorial => (
            "by territory: to the sharing platform of the division's own level (R-40)",
            "按照属地向本级政务信息共享交换平台归集",
        ),
        Case::Central => (
            "the data lie in the central authority's system: nothing is handed in below, a liaison task is kept (R-41)",
            "数据在中直部门业务系统集中，由有关中央驻闽机构与上级部门沟通对接",
        ),
        Case::Provincial => (
            "the data lie in a provincial system: the provincial department delivers once for all (R-42)",
            "数据已在省级业务系统集中，由省级有关部门统一向省级共享平台归集",
        ),
        Case::Prefecture => (
            "the data lie in the city's system: the city delivers for its counties (R-43)",
            "数据在设区市级业务系统集中，由设区市统一归集",
        ),
    }
}
