//! A row of a table: judged, and refused where the file does not say what a person sees. One cause is told once: what
//! the rules find in a cell that cannot be read, or in a row that is none of data, is a consequence.

use super::{
    TableColumns,
    context::RowContext,
    read::{JudgedRow, read_spoiled},
    reply::Reply,
};
use std::{collections::BTreeSet, sync::Arc};
use tally_protocol::{
    canonical::{Object, Value},
    finding::{Finding, Severity},
};
use tally_sheet::{CellMark, MarkKind, Row, column_name};
use tally_topology::{
    catalog::{Field, FieldType, Matched},
    judge::shown,
};

/// A table of so many columns has rows of data and others, such as totals.
const SPARSE_COLUMNS: usize = 6;
/// Of a row of data more than one cell in so many is filled.
const SPARSE_PART: usize = 4;
/// A row that is none of data breaks more rules than this.
const SPARSE_FINDINGS: usize = 3;
/// How totals and signatures begin.
const TOTALS: [&str; 15] = [
    "合计",
    "总计",
    "小计",
    "共计",
    "累计",
    "汇总",
    "制表",
    "填表",
    "填报",
    "审核",
    "复核",
    "负责人：",
    "单位负责人",
    "经办",
    "（盖章",
];

/// Reads and judges a row of a table. Empty cells say nothing.
pub(super) fn judged_cells(context: &RowContext<'_>, columns: &TableColumns, row: &Row) -> JudgedRow {
    let reply = columns.reply.and_then(|i| Reply::read(row.cells.get(i)?));
    if let Some(fault) = &row.fault {
        let finding = Finding::reject("F006", "", &*fault.message, &*fault.message_zh).named(fault.code);
        return JudgedRow { reply, ..JudgedRow::refused(row.line, finding) };
    }
    let cell = |i: &usize| {
        let (field, text) = (columns.fields.get(*i)?.as_deref()?, row.cells.get(*i)?);
        // Signs in parts are put together where the change is told.
        (!text.trim().is_empty()).then(|| (field, Value::Text(text.as_str().into())))
    };
    let object = Object::of_sorted(columns.order.iter().filter_map(cell));
    let unreadable =
        |mark: &&CellMark| matches!(mark.kind, MarkKind::DigitsLost | MarkKind::ErrorValue | MarkKind::NoResult);
    let field = |mark: &CellMark| columns.fields.get(mark.column)?.as_deref();
    let spoiled: Vec<&str> = row.marks.iter().filter(unreadable).filter_map(field).collect();
    let mut judged = read_spoiled(context, row.line, object, reply, &spoiled);
    for mark in &row.marks {
        let Some(Some(field)) = columns.fields.get(mark.column) else { continue };
        let Some(finding) = finding(columns, row, mark, field) else { continue };
        // The cell cannot be read, so whatever the rules found in it, or in the field that it is copied to, or made of it, is
        // a consequence.
        let copied_to = same_as(context, field);
        judged.findings.retain(|f| f.field != **field && Some(f.field.as_str()) != copied_to);
        judged.changes.retain(|c| c.field != **field && Some(c.field.as_str()) != copied_to);
        // A question leaves the row as it is, if it is not refused for other reasons.
        match finding.severity {
            Severity::Reject => judged.refuse(finding),
            _ if judged.record.is_none() => judged.findings.push(finding.with_severity(Severity::Reject)),
            _ => judged.findings.push(finding),
        }
    }
    if row.marks.iter().any(|m| m.kind == MarkKind::Overfull) || is_moved(context, &judged, columns, row) {
        overfull(&mut judged, columns, row);
    }
    sparse(&mut judged, columns, row);
    cut_short(&mut judged, columns, row);
    judged
}

/// Whether the cells that are refused are right below the heads before theirs: a sign between cells moved them.
fn is_moved(context: &RowContext<'_>, judged: &JudgedRow, columns: &TableColumns, row: &Row) -> bool {
    /// One cell may be like its neighbour by chance.
    const MOVED_MIN: usize = 2;
    if judged.record.is_some() {
        return false;
    }
    let catalog = context.charter.catalogs().current(context.today);
    let Some(category) = context.category.and_then(|c| catalog.category(c)) else { return false };
    let is_wrong = |f: &&Finding| f.severity == Severity::Reject && OF_CELLS.contains(&f.code.as_str());
    let (mut moved, mut stays) = (0, 0);
    for finding in judged.findings.iter().filter(is_wrong) {
        let column = columns.fields.iter().position(|f| f.as_deref() == Some(&*finding.field));
        let Some((column, field)) = column.zip(category.field(&finding.field)) else { continue };
        let next = row.cells.get(column + 1).map_or("", |c| c.trim());
        match fits(field, next) {
            true => moved += 1,
            false => stays += 1,
        }
    }
    moved >= MOVED_MIN && stays == 0
}

/// Rules that a cell breaks which belongs below another head.
const OF_CELLS: [&str; 4] = ["V002", "V003", "V004", "V008"];

/// Whether a text is of the sort that a field holds.
fn fits(field: &Field, text: &str) -> bool {
    let coded = |least: usize| text.len() >= least && text.bytes().all(|b| b.is_ascii_alphanumeric());
    match field.kind {
        FieldType::Uscc => coded(18) && text.len() == 18,
        FieldType::OrgCode | FieldType::IdNo | FieldType::RegNo => coded(8),
        FieldType::Division => coded(6),
        FieldType::Date => {
            text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().filter(u8::is_ascii_digit).count() >= 6
        }
        FieldType::Decimal | FieldType::Integer => text.parse::<f64>().is_ok(),
        FieldType::Text => field.list.as_ref().is_some_and(|list| list.find(text) != Matched::None),
    }
}

/// A row of text that has more cells than there are heads, and others do not, or whose cells stand one head too far: a sign
/// between cells that belongs to a text moved what stands behind it. Refused, it is told once; taken, it is asked about.
fn overfull(judged: &mut JudgedRow, columns: &TableColumns, row: &Row) {
    let there = row.cells.iter().rposition(|c| !c.trim().is_empty()).map_or(0, |last| last + 1);
    let (heads, last) = (columns.heads.len(), shown(row.cells.get(there.saturating_sub(1)).map_or("", |c| c.trim())));
    let (many, many_zh) = match there > heads {
        true => (
            format!("has {there} cells and the table {heads} heads, so from somewhere on its cells"),
            format!("有 {there} 格，表头只有 {heads} 列，内容"),
        ),
        false => ("has cells that".to_owned(), "的部分内容".to_owned()),
    };
    let en = format!(
        "the row {many} stand below other heads than their own (the last is {last:?}): put a cell that holds the sign between cells in quotation marks, or move them back"
    );
    let zh =
        format!("该行{many_zh}可能错列（最后一格为“{last}”）：请将含有分隔符的单元格用引号括起，或移回所属列后再报");
    let finding = Finding::of(Severity::Question, "F006", "", en, zh).named("more_cells");
    if judged.record.is_some() {
        judged.findings.push(finding);
    } else {
        judged.findings = vec![finding.with_severity(Severity::Reject)];
        judged.changes.clear();
    }
}

/// The field that a column's field is copied to.
fn same_as<'d>(context: &RowContext<'d>, field: &str) -> Option<&'d str> {
    let catalog = context.charter.catalogs().current(context.today);
    catalog.category(context.category?)?.field(field)?.same_as.as_deref()
}

/// What is said of a cell.
fn finding(columns: &TableColumns, row: &Row, mark: &CellMark, field: &Arc<str>) -> Option<Finding> {
    let head = columns.heads.get(mark.column).map_or(String::new(), |h| shown(h.trim()));
    let at = format!("{}{}", column_name(mark.column), row.line);
    let stands = shown(row.cells.get(mark.column).map_or("", |c| c.trim()));
    Some(match &mark.kind {
        MarkKind::DigitsLost => Finding::reject(
            "F001",
            field,
            format!(
                "{field} in {at} is a number of more than 15 digits: the spreadsheet has lost digits already. Make the column text, and type the code again"
            ),
            format!("{head}（{at}）：超过15位的数字，表格软件已丢失末尾数字，请将该列设为文本后重新填写"),
        ),
        MarkKind::ErrorValue => Finding::reject(
            "F002",
            field,
            format!(
                "{field} in {at} holds an error of the spreadsheet or a picture, {stands}: mend its formula, or type the value"
            ),
            format!("{head}（{at}）：单元格为公式错误、图片或无法显示（{stands}），请修正公式或直接填写内容"),
        ),
        MarkKind::NoResult => Finding::reject(
            "F004",
            field,
            format!(
                "{field} in {at} is a formula whose result the file does not have: open the file in a spreadsheet and save it, or type the value"
            ),
            format!("{head}（{at}）：公式没有保存计算结果，请用 Excel/WPS 打开并重新保存，或直接填写内容"),
        ),
        MarkKind::Merged(range) => Finding::of(
            Severity::Question,
            "F005",
            field,
            format!(
                "{field} in {at} is part of the merged cells {}: whether the number is that of each row or their sum is not known, so only the first row has it. Unmerge the cells, and type the number of each row",
                range.name
            ),
            format!(
                "{head}（{at}）：数字位于合并单元格 {}，无法确定是各行之数还是合计，仅首行保留；请取消合并后逐行填写",
                range.name
            ),
        ),
        MarkKind::Day(_) | MarkKind::ShownOtherwise | MarkKind::Struck | MarkKind::Overfull => return None,
    })
}

/// A row that is refused, of which hardly anything is filled in, or which begins as totals do, is told once.
fn sparse(judged: &mut JudgedRow, columns: &TableColumns, row: &Row) {
    if judged.record.is_some() || judged.findings.len() <= SPARSE_FINDINGS || columns.heads.len() < SPARSE_COLUMNS {
        return;
    }
    let there = || row.cells.iter().map(|c| c.trim()).filter(|c| !c.is_empty());
    // A text that is merged over columns is one.
    let (filled, all) = (there().collect::<BTreeSet<_>>().len(), columns.heads.len());
    let begins = TOTALS.iter().any(|word| there().next().is_some_and(|first| first.starts_with(word)));
    if !begins && SPARSE_PART * filled > all {
        return;
    }
    let first = shown(there().next().unwrap_or_default());
    judged.findings = vec![Finding::reject(
        "F007",
        "",
        format!(
            "only {filled} of {all} cells are filled, from {first:?} on: a total, a signature or a title is no record, so remove the row; a record needs the rest"
        ),
        format!("该行仅填写 {filled}/{all} 格（{first}）：如为合计、签章或标题请删除该行，如为数据请补全"),
    )];
    judged.changes.clear();
}

/// A row that is refused and ends long before the last head, with fields behind its end that must be filled in, was cut by a
/// line end that belongs to a text, or is the rest of one: it is told once.
fn cut_short(judged: &mut JudgedRow, columns: &TableColumns, row: &Row) {
    /// So many fields behind the end are no chance.
    const WANTING: usize = 3;
    if judged.record.is_some() || judged.findings.len() <= SPARSE_FINDINGS || columns.heads.len() < SPARSE_COLUMNS {
        return;
    }
    let there = row.cells.iter().rposition(|c| !c.trim().is_empty()).map_or(0, |last| last + 1);
    let behind = |f: &&Finding| {
        f.code == "V001" && columns.fields.iter().skip(there).any(|field| field.as_deref() == Some(&*f.field))
    };
    if judged.findings.iter().filter(behind).count() < WANTING {
        return;
    }
    let heads = columns.heads.len();
    let en = format!(
        "the row ends behind {there} of {heads} cells, and what must be filled in is wanting behind: perhaps a line end within a text cut it. Put that cell in quotation marks, or fill in the rest"
    );
    let zh = format!(
        "该行只到第 {there} 格（表头 {heads} 列），其后必填项均为空：可能因内容中的换行被分成两行，请将该单元格用引号括起，或补全后再报"
    );
    judged.findings = vec![Finding::reject("F006", "", en, zh).named("row_cut")];
    judged.changes.clear();
}
