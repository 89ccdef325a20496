//! The report on a terminal: columns by their width in cells, no borders.

use super::{DeadlineReport, Explained, LineKind, LineScope, ReportLine};
use std::fmt::Write as _;
use tally_sheet::text::{count, table};

fn days(value: Option<f64>, passed: u64) -> String {
    let unknown = if passed > 0 { "?" } else { "-" };
    value.map_or_else(|| unknown.to_owned(), |d| format!("{d:.1}"))
}

fn named(code: Option<&str>, name: Option<&String>) -> String {
    match (code, name) {
        (Some(""), _) => "other units 其他单位".to_owned(),
        (_, Some(name)) => name.clone(),
        (Some(code), None) => code.to_owned(),
        (None, None) => "-".to_owned(),
    }
}

fn division(line: &ReportLine) -> String {
    let scope = if line.scope == Some(LineScope::WithBelow) { " +below" } else { "" };
    match line.division {
        Some(d) => format!("{d} {}{scope}", line.division_name.as_deref().unwrap_or_default()).trim_end().to_owned(),
        None if line.kind == LineKind::Records || line.scope.is_some() => "unknown".to_owned(),
        None => "-".to_owned(),
    }
}

/// What else is to be said of a line.
fn said(line: &ReportLine) -> String {
    let mut said = Vec::new();
    if let Some(l) = line.lines {
        let parts = [
            ("missing", l.missing),
            ("zero reports", l.zero_reports),
            ("liaison open", l.liaisons_open),
            ("covered", l.covered),
        ];
        said.extend(parts.iter().filter(|(_, n)| *n > 0).map(|(what, n)| format!("{what} {n}")));
    }
    if let Some(t) = &line.liaison {
        said.extend(t.owner.clone());
        said.extend(t.due_on.as_ref().map(|d| format!("by {d}")));
        said.push(t.state.clone().unwrap_or_else(|| "no record of it".to_owned()));
        said.extend(t.overdue.then(|| "overdue".to_owned()));
    }
    if let Some(p) = &line.provider {
        said.push(format!("delivered at {} by {}", p.division, named(p.unit.as_deref(), p.unit_name.as_ref())));
    }
    let backfill = line.counts.as_ref().map_or(0, |c| c.backfill);
    said.extend((backfill > 0).then(|| format!("history {backfill} 历史补录")));
    if line.counts.as_ref().is_some_and(|c| !c.certain) {
        said.push("NOT CERTAIN".to_owned());
    }
    said.extend(line.note.clone());
    said.join(", ")
}

fn row(line: &ReportLine) -> Vec<String> {
    let mut row = vec![
        line.kind.name().to_owned(),
        division(line),
        named(line.unit.as_deref(), line.unit_name.as_ref()),
        named(line.category.as_deref(), line.category_name.as_ref()),
    ];
    match &line.counts {
        None => row.extend(vec![String::new(); 10]),
        Some(c) => {
            row.extend([c.records, c.on_time, c.late, c.due_soon, c.overdue, c.pending].map(|n| count(Some(n))));
            row.push(c.on_time_rate.map_or_else(|| "too few".to_owned(), |r| format!("{:.1}%", r * 100.0)));
            row.push(c.worst_days_over.map_or_else(|| "-".to_owned(), |d| d.to_string()));
            let (d, p, h) = (&c.stage_days, &c.stages_passed, &c.held_up_by);
            row.push(format!("{}/{}/{}", days(d.unit, p.unit), days(d.county, p.county), days(d.city, p.city)));
            row.push(format!("{}/{}/{}", h.unit, h.county, h.city));
        }
    }
    row.push(said(line));
    row
}

const HEAD: [&str; 15] = [
    "KIND",
    "DIVISION",
    "UNIT",
    "CATEGORY",
    "RECORDS",
    "ON TIME",
    "LATE",
    "DUE SOON",
    "OVERDUE",
    "PENDING",
    "ON-TIME RATE",
    "WORST DAYS",
    "DAYS U/C/C",
    "HELD UP U/C/C",
    "",
];
const NUMBERS: [usize; 10] = [4, 5, 6, 7, 8, 9, 10, 11, 12, 13];

/// The whole screen.
pub fn render(r: &DeadlineReport) -> String {
    let mut out = String::new();
    let month = match (&r.month, r.month_over) {
        (Some(m), true) => format!("due in {m}"),
        (Some(m), false) => format!("due in {m}, which is not over"),
        (None, _) => "open, and due in the current month".to_owned(),
    };
    let until = r.calendar_until.as_deref().unwrap_or("unknown");
    let _ = writeln!(
        out,
        "DEADLINES  {} {} ({})   {month}   today {}   charter {}   calendar until {until}",
        r.node,
        r.node_name,
        r.node_level.name(),
        r.today,
        r.charter_version
    );
    for w in &r.warnings {
        let _ = writeln!(out, "WARNING    {}\n           {}", w.message, w.message_zh);
    }
    for n in &r.notes {
        let _ = writeln!(out, "NOTE       {}\n           {}", n.message, n.message_zh);
    }
    out.push('\n');
    let rows: Vec<Vec<String>> = r.rows.iter().chain([&r.total]).map(row).collect();
    table(&mut out, &HEAD, &NUMBERS, &rows);
    out.push_str(
        "\nU/C/C: at the unit, the county's node, the city's node. DAYS: average working days; ? is not known here, - is on \
         no path.\nHELD UP: who had the late and overdue ones when their limit passed\n",
    );
    out
}

/// How a deadline was counted.
pub fn render_explained(e: &Explained) -> String {
    let mut out = String::new();
    let of = e
        .category_name
        .as_deref()
        .map_or_else(|| "any category".to_owned(), |n| format!("{n} ({})", named(e.category.as_deref(), None)));
    let _ = writeln!(out, "produced on {}   {of}   the day itself is not counted", e.produced_on);
    let certain = |c: bool| if c { "" } else { "   NOT CERTAIN" };
    let _ =
        writeln!(out, "collect by  {}   {} working days{}", e.collect_due, e.collect_days, certain(e.collect_certain));
    let _ =
        writeln!(out, "publish by  {}   {} working days{}", e.publish_due, e.publish_days, certain(e.publish_certain));
    for w in &e.warnings {
        let _ = writeln!(out, "WARNING     {}\n            {}", w.message, w.message_zh);
    }
    out.push('\n');
    let rows: Vec<Vec<String>> = e
        .days
        .iter()
        .map(|d| {
            let n = d.counts.map_or_else(|| "-".to_owned(), |n| n.to_string());
            let mut said = d.kind.name_zh().to_owned();
            for (day, what) in
                [(&e.collect_due, " <- collect by 归集期限"), (&e.publish_due, " <- publish by 公示期限")]
            {
                if *day == d.day {
                    said += what;
                }
            }
            if !d.covered {
                said += " (not covered by the calendar 日历未覆盖)";
            }
            vec![d.day.clone(), d.weekday.clone(), n, said]
        })
        .collect();
    table(&mut out, &["DAY", "", "COUNTS AS", ""], &[2], &rows);
    if e.days_omitted > 0 {
        let _ = writeln!(out, "  ... and {} more days", e.days_omitted);
    }
    out
}
