//! The report as CSV and XLSX: one line each, heads in Chinese. In a workbook counts, shares and days can be reckoned with.

use super::{DeadlineReport, LineKind, LineScope, ReportLine};
use std::io::{self, Seek, Write};
use tally_sheet::{CellKind, Column, SheetError, write_csv_row, write_xlsx};

/// Heads of the columns.
const HEADS: [&str; 39] = [
    "类型",
    "行政区划代码",
    "行政区划",
    "范围",
    "单位代码",
    "单位名称",
    "信息类别代码",
    "信息类别",
    "应报条数",
    "按时",
    "迟报",
    "临期",
    "逾期",
    "未到期",
    "未收到省级回执",
    "按时率",
    "最长超期工作日",
    "单位环节平均工作日",
    "县级环节平均工作日",
    "市级环节平均工作日",
    "滞留单位条数",
    "滞留县级条数",
    "滞留市级条数",
    "漏报项数",
    "零报告项数",
    "对接任务数",
    "对接未完成数",
    "统一归集项数",
    "归集路径",
    "统一归集单位代码",
    "统一归集单位",
    "责任人",
    "办理期限",
    "对接状态",
    "对接是否超期",
    "零报告份数",
    "时限是否确定",
    "历史补录",
    "说明",
];

/// As what the cells of a column are written in a workbook.
fn kind(head: &str) -> CellKind {
    match head {
        "按时率" => CellKind::Percent,
        "办理期限" => CellKind::Date,
        "应报条数"
        | "按时"
        | "迟报"
        | "临期"
        | "逾期"
        | "未到期"
        | "未收到省级回执"
        | "最长超期工作日"
        | "单位环节平均工作日"
        | "县级环节平均工作日"
        | "市级环节平均工作日"
        | "滞留单位条数"
        | "滞留县级条数"
        | "滞留市级条数"
        | "漏报项数"
        | "零报告项数"
        | "对接任务数"
        | "对接未完成数"
        | "统一归集项数"
        | "零报告份数" => CellKind::Number,
        _ => CellKind::Text,
    }
}

fn text(value: Option<impl ToString>) -> String {
    value.map(|v| v.to_string()).unwrap_or_default()
}

/// A share as percent; said where there is too little to tell.
fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "样本量不足".to_owned(), |s| format!("{:.2}%", s * 100.0))
}

/// An average; said where it is not known, and empty where no record has the stage on its path.
fn average((days, passed): (Option<f64>, u64)) -> String {
    match days {
        Some(d) => format!("{d:.2}"),
        None if passed > 0 => "未知".to_owned(),
        None => String::new(),
    }
}

fn yes(value: bool) -> &'static str {
    if value { "是" } else { "否" }
}

fn cells(line: &ReportLine) -> Vec<String> {
    let scope = line.scope.map(|s| match s {
        LineScope::Own => "本级",
        LineScope::WithBelow => "含下级",
    });
    let division = match (line.division_name.clone(), line.kind, line.scope) {
        (None, LineKind::Records, _) | (None, _, Some(_)) if line.division.is_none() => "不在本体系".to_owned(),
        (name, ..) => name.unwrap_or_default(),
    };
    let mut cells = vec![
        line.kind.name_zh().to_owned(),
        text(line.division),
        division,
        text(scope),
        text(line.unit.as_ref()),
        unit_name(line),
        text(line.category.as_ref()),
        text(line.category_name.as_ref()),
    ];
    match &line.counts {
        None => cells.extend(vec![String::new(); 15]),
        Some(c) => {
            let (days, passed, held) = (&c.stage_days, &c.stages_passed, &c.held_up_by);
            let stages = [(days.unit, passed.unit), (days.county, passed.county), (days.city, passed.city)];
            cells.extend([c.records, c.on_time, c.late, c.due_soon, c.overdue, c.pending].map(|n| n.to_string()));
            cells.extend([c.unconfirmed.to_string(), percent(c.on_time_rate), text(c.worst_days_over)]);
            cells.extend(stages.map(average));
            cells.extend([held.unit, held.county, held.city].map(|n| n.to_string()));
        }
    }
    match &line.lines {
        None => cells.extend(vec![String::new(); 5]),
        Some(l) => {
            cells.extend([l.missing, l.zero_reports, l.liaisons, l.liaisons_open, l.covered].map(|n| n.to_string()))
        }
    }
    let provider = line.provider.as_ref();
    let task = line.liaison.as_ref();
    let state = task.map(|t| match t.state.as_deref() {
        Some("open") => "对接中".to_owned(),
        Some("done") => "已完成".to_owned(),
        Some(other) => other.to_owned(),
        None => "无记录".to_owned(),
    });
    cells.extend([
        text(line.route.map(|r| r.name_zh())),
        text(provider.and_then(|p| p.unit.as_ref())),
        text(provider.and_then(|p| p.unit_name.as_ref())),
        text(task.and_then(|t| t.owner.as_ref())),
        text(task.and_then(|t| t.due_on.as_ref())),
        text(state),
        text(task.map(|t| yes(t.overdue))),
        text(line.zero_reports_held),
        text(line.counts.as_ref().map(|c| yes(c.certain))),
        text(line.counts.as_ref().map(|c| c.backfill)),
        text(line.note.as_ref()),
    ]);
    cells
}

/// A unit's name, else that it is in no registry.
fn unit_name(line: &ReportLine) -> String {
    match (&line.unit_name, line.unit.as_deref()) {
        (Some(name), _) => name.clone(),
        (None, Some("")) => "其他单位".to_owned(),
        (None, _) => String::new(),
    }
}

/// Every line, then the total; it carries the warnings.
fn rows(report: &DeadlineReport) -> impl Iterator<Item = Vec<String>> {
    let mut total = cells(&report.total);
    let said = report.warnings.iter().chain(&report.notes).map(|w| w.message_zh.as_str());
    if let Some(note) = total.last_mut() {
        *note = said.collect::<Vec<_>>().join("；");
    }
    report.rows.iter().map(cells).chain([total])
}

/// Writes the report as CSV in UTF-8 with a mark.
///
/// # Errors
/// The writer's.
pub fn write_csv(out: &mut impl Write, report: &DeadlineReport) -> io::Result<()> {
    out.write_all(b"\xef\xbb\xbf")?;
    write_csv_row(out, HEADS)?;
    for row in rows(report) {
        write_csv_row(out, row.iter().map(String::as_str))?;
    }
    Ok(())
}

/// Writes the report as a workbook; warnings and what the columns mean are on its second sheet.
///
/// # Errors
/// [`SheetError`].
pub fn write_workbook(out: impl Write + Seek + Send, report: &DeadlineReport) -> Result<(), SheetError> {
    let columns = HEADS.map(|head| Column { head: head.to_owned(), kind: kind(head), ..Column::default() });
    let mut notes: Vec<String> = report.warnings.iter().map(|w| format!("注意：{}", w.message_zh)).collect();
    notes.extend(report.notes.iter().map(|w| w.message_zh.clone()));
    let month = report.month.clone().unwrap_or_else(|| "未办结及当月".to_owned());
    notes.push(format!("时限报告：{} {}，范围 {month}，截至 {}", report.node, report.node_name, report.today));
    notes.push("应报条数：归集时限（产生之日起第 7 个工作日，或目录所定）落在本月的记录；日期均为北京时间".to_owned());
    notes.push("历史补录：补报以前年度产生的信息，不计迟报，也不计入应报条数".to_owned());
    notes.push("按时率 = 按时 ÷（按时＋迟报＋逾期）；均为 0 时为样本量不足。平均工作日“未知”表示该环节未结束或本机尚未收到上级回执".to_owned());
    write_xlsx(out, ("时限报告", &columns), rows(report).map(Ok), &notes)
}
