//! The report on a terminal, in the reader's language: columns by their width in cells, no borders.

use super::{DeadlineReport, Explained, LineKind, LineScope, ReportLine};
use std::fmt::Write as _;
use tally_sheet::text::{count, table};
use tally_texts::{Lang, lang, said as word};

/// In the reader's language; in English both, because whoever is told about it may read the other.
fn both(en: &str, zh: &str, indent: usize) -> String {
    match lang() {
        Lang::En => format!("{en}\n{}{zh}", " ".repeat(indent)),
        Lang::Zh => zh.to_owned(),
    }
}

/// An English word with its Chinese behind it, or that alone.
fn with_zh(en: &str, zh: &str) -> String {
    match lang() {
        Lang::En => format!("{en} {zh}"),
        Lang::Zh => zh.to_owned(),
    }
}

fn days(value: Option<f64>, passed: u64) -> String {
    let unknown = if passed > 0 { "?" } else { "-" };
    value.map_or_else(|| unknown.to_owned(), |d| format!("{d:.1}"))
}

fn named(code: Option<&str>, name: Option<&String>) -> String {
    match (code, name) {
        (Some(""), _) => with_zh("other units", "其他单位"),
        (_, Some(name)) => name.clone(),
        (Some(code), None) => code.to_owned(),
        (None, None) => "-".to_owned(),
    }
}

fn division(line: &ReportLine) -> String {
    let scope = if line.scope == Some(LineScope::WithBelow) { word("+below") } else { "".into() };
    match line.division {
        Some(d) => format!("{d} {} {scope}", line.division_name.as_deref().unwrap_or_default()).trim_end().to_owned(),
        None if line.kind == LineKind::Records || line.scope.is_some() => word("unknown").into_owned(),
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
        said.extend(parts.iter().filter(|(_, n)| *n > 0).map(|(what, n)| format!("{} {n}", word(what))));
    }
    if let Some(t) = &line.liaison {
        said.extend(t.owner.clone());
        said.extend(t.due_on.as_ref().map(|d| word(&format!("by {d}")).into_owned()));
        said.push(t.state.clone().unwrap_or_else(|| word("no record of it").into_owned()));
        said.extend(t.overdue.then(|| word("overdue").into_owned()));
    }
    if let Some(p) = &line.provider {
        let delivered = format!("delivered at {} by {}", p.division, named(p.unit.as_deref(), p.unit_name.as_ref()));
        said.push(word(&delivered).into_owned());
    }
    let backfill = line.counts.as_ref().map_or(0, |c| c.backfill);
    said.extend((backfill > 0).then(|| with_zh(&format!("history {backfill}"), &format!("历史补录 {backfill}"))));
    if line.counts.as_ref().is_some_and(|c| !c.certain) {
        said.push(word("NOT CERTAIN").into_owned());
    }
    said.extend(line.note.clone());
    said.join(", ")
}

fn row(line: &ReportLine) -> Vec<String> {
    let mut row = vec![
        word(line.kind.name()).into_owned(),
        division(line),
        named(line.unit.as_deref(), line.unit_name.as_ref()),
        named(line.category.as_deref(), line.category_name.as_ref()),
    ];
    match &line.counts {
        None => row.extend(vec![String::new(); 10]),
        Some(c) => {
            row.extend([c.records, c.on_time, c.late, c.due_soon, c.overdue, c.pending].map(|n| count(Some(n))));
            row.push(c.on_time_rate.map_or_else(|| word("too few").into_owned(), |r| format!("{:.1}%", r * 100.0)));
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
/// What the columns mean.
const LEGEND: [&str; 2] = [
    "U/C/C: at the unit, the county's node, the city's node. DAYS: average working days; ? is not known here, - is on no path.",
    "HELD UP: who had the late and overdue ones when their limit passed",
];
const NUMBERS: [usize; 10] = [4, 5, 6, 7, 8, 9, 10, 11, 12, 13];

/// The whole screen.
pub fn render(r: &DeadlineReport) -> String {
    let mut out = String::new();
    let month = match (&r.month, r.month_over) {
        (Some(m), true) => word(&format!("due in {m}")).into_owned(),
        (Some(m), false) => word(&format!("due in {m}, which is not over")).into_owned(),
        (None, _) => word("open, and due in the current month").into_owned(),
    };
    let until = r.calendar_until.clone().unwrap_or_else(|| word("unknown").into_owned());
    let _ = writeln!(
        out,
        "{}  {} {} ({})   {month}   {}   {}   {}",
        word("DEADLINES"),
        r.node,
        r.node_name,
        word(r.node_level.name()),
        word(&format!("today {}", r.today)),
        word(&format!("charter {}", r.charter_version)),
        word(&format!("calendar until {until}")),
    );
    for w in &r.warnings {
        let _ = writeln!(out, "{}    {}", word("WARNING"), both(&w.message, &w.message_zh, 11));
    }
    for n in &r.notes {
        let _ = writeln!(out, "{}       {}", word("NOTE"), both(&n.message, &n.message_zh, 11));
    }
    out.push('\n');
    let rows: Vec<Vec<String>> = r.rows.iter().chain([&r.total]).map(row).collect();
    let head = HEAD.map(word);
    table(&mut out, &head.each_ref().map(|h| &**h), &NUMBERS, &rows);
    for line in LEGEND {
        let _ = write!(out, "\n{}", word(line));
    }
    out.push('\n');
    out
}

/// How a deadline was counted.
pub fn render_explained(e: &Explained) -> String {
    let mut out = String::new();
    let of = e
        .category_name
        .as_deref()
        .map_or_else(|| word("any category").into_owned(), |n| format!("{n} ({})", named(e.category.as_deref(), None)));
    let _ = writeln!(out, "{}", word(&format!("produced on {}   {of}   the day itself is not counted", e.produced_on)));
    let limits = [
        ("collect by", &e.collect_due, e.collect_days, e.collect_certain),
        ("publish by", &e.publish_due, e.publish_days, e.publish_certain),
    ];
    for (what, due, days, certain) in limits {
        let certain = if certain { String::new() } else { format!("   {}", word("NOT CERTAIN")) };
        let _ = writeln!(out, "{}{certain}", word(&format!("{what}  {due}   {days} working days")));
    }
    for w in &e.warnings {
        let _ = writeln!(out, "{}     {}", word("WARNING"), both(&w.message, &w.message_zh, 12));
    }
    out.push('\n');
    let rows: Vec<Vec<String>> = e
        .days
        .iter()
        .map(|d| {
            let n = d.counts.map_or_else(|| "-".to_owned(), |n| n.to_string());
            let mut said = d.kind.name_zh().to_owned();
            for (day, what) in
                [(&e.collect_due, ("collect by", "归集期限")), (&e.publish_due, ("publish by", "公示期限"))]
            {
                if *day == d.day {
                    said += &format!(" <- {}", with_zh(what.0, what.1));
                }
            }
            if !d.covered {
                said += &format!(" ({})", with_zh("not covered by the calendar", "日历未覆盖"));
            }
            vec![d.day.clone(), d.weekday.clone(), n, said]
        })
        .collect();
    let head = ["DAY", "", "COUNTS AS", ""].map(word);
    table(&mut out, &head.each_ref().map(|h| &**h), &[2], &rows);
    if e.days_omitted > 0 {
        let _ = writeln!(out, "  {}", word(&format!("... and {} more days", e.days_omitted)));
    }
    out
}
