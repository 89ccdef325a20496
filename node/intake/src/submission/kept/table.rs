//! Rejected and questioned rows in the form in which they were handed in, with two columns added.

use super::{KeptRow, KeptSubmission, SubmissionMeta};
use crate::{ADDED_HEADS, Reply};
use serde_json::Value;
use std::{
    fs::File,
    io::{self, Seek as _, Write as _},
    path::Path,
};
use tally_protocol::finding::Severity;
use tally_sheet::{Column, ROWS_MAX, SheetError, too_many_rows, write_csv_row, write_xlsx};

/// A form of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableForm {
    /// CSV in UTF-8 with a mark.
    Csv,
    /// Excel workbook.
    Xlsx,
}

/// Most columns that the members of NDJSON lines make.
const COLUMNS_MAX: usize = 500;
/// Head of the column for lines that are no JSON.
const RAW_HEAD: &str = "原文";

fn disk(e: &io::Error) -> SheetError {
    SheetError::new(
        "answers",
        0,
        format!("the answer on the disk cannot be read: {e}"),
        format!("答复文件无法读取：{e}"),
    )
}

/// Writes the file of an answer, row by row. `spool`: a folder for what a workbook needs meanwhile.
///
/// # Errors
/// [`SheetError`]; a workbook that would have too many rows is not begun.
pub fn write_table(
    kept: &KeptSubmission,
    form: TableForm,
    spool: &Path,
    out: &mut impl io::Write,
) -> Result<(), SheetError> {
    let heads = heads(kept)?;
    let all = heads.iter().map(String::as_str).chain(ADDED_HEADS);
    let rows = kept.rows().map_err(|e| disk(&e))?;
    let cells = |row: io::Result<KeptRow>| row.map(|r| cells(&heads, &kept.meta, &r)).map_err(|e| disk(&e));
    match form {
        TableForm::Csv => {
            let mut out = io::BufWriter::new(out);
            out.write_all(b"\xef\xbb\xbf").map_err(|e| disk(&e))?;
            write_csv_row(&mut out, all).map_err(|e| disk(&e))?;
            for row in rows {
                let row = cells(row)?;
                write_csv_row(&mut out, row.iter().map(String::as_str)).map_err(|e| disk(&e))?;
            }
            out.flush().map_err(|e| disk(&e))
        }
        TableForm::Xlsx => {
            let added = heads.len();
            let column =
                |(i, head): (usize, &str)| Column { head: head.into(), marked: i >= added, ..Column::default() };
            let columns: Vec<Column> = all.enumerate().map(column).collect();
            if kept.meta.rejected + kept.meta.questions >= u64::from(ROWS_MAX) {
                return Err(too_many_rows(ROWS_MAX));
            }
            let mut book = scratch(spool).map_err(|e| disk(&e))?;
            write_xlsx(&mut book, ("需更正", &columns), rows.map(cells), &[])?;
            book.rewind().map_err(|e| disk(&e))?;
            io::copy(&mut book, out).map(|_| ()).map_err(|e| disk(&e))
        }
    }
}

/// A file without a name, which goes when it is closed.
fn scratch(dir: &Path) -> io::Result<File> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    std::fs::create_dir_all(dir)?;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = dir.join(format!(".answer-{}-{number}.part", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

/// Heads of the table; for NDJSON the names of all members.
fn heads(kept: &KeptSubmission) -> Result<Vec<String>, SheetError> {
    if !kept.meta.heads.is_empty() {
        let mut heads = kept.meta.heads.clone();
        // A file that was corrected before has the columns already.
        heads.retain(|h| !ADDED_HEADS.contains(&h.trim()));
        return Ok(heads);
    }
    let mut heads: Vec<String> = Vec::new();
    for row in kept.rows().map_err(|e| disk(&e))? {
        let row = row.map_err(|e| disk(&e))?;
        let names: Vec<String> = match serde_json::from_str(&row.text) {
            Ok(Value::Object(members)) => members.into_iter().map(|(name, _)| name).collect(),
            _ => vec![RAW_HEAD.to_owned()],
        };
        for name in names {
            if heads.len() < COLUMNS_MAX && !heads.contains(&name) {
                heads.push(name);
            }
        }
    }
    Ok(heads)
}

fn cells(heads: &[String], meta: &SubmissionMeta, row: &KeptRow) -> Vec<String> {
    let own = &meta.heads;
    let mut cells: Vec<String> = if own.is_empty() {
        let members = serde_json::from_str::<Value>(&row.text).ok();
        let cell = |head: &String| match members.as_ref().and_then(|m| m.get(head)) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) => String::new(),
            Some(other) => other.to_string(),
            None if head == RAW_HEAD && members.as_ref().is_none_or(|m| !m.is_object()) => row.text.clone(),
            None => String::new(),
        };
        heads.iter().map(cell).collect()
    } else {
        let kept = own.iter().enumerate().filter(|(_, h)| !ADDED_HEADS.contains(&h.trim()));
        kept.map(|(i, _)| row.cells.get(i).cloned().unwrap_or_default()).collect()
    };
    let codes: Vec<&str> = row.findings.iter().map(|f| f.code.as_str()).collect();
    let messages: Vec<&str> = row.findings.iter().map(|f| f.message_zh.as_str()).collect();
    // A row that was taken is in force as it is, so its correction is an amendment: the mark says so.
    let held = row.findings.iter().all(|f| f.severity != Severity::Reject);
    let mut reply = Reply::new(&meta.id, row.line, row.key.as_deref().filter(|_| held));
    if !held {
        // This row corrected a record and was rejected: that record is still held, so the mark keeps naming it.
        reply.held = row.reply.as_deref().and_then(Reply::read).and_then(|r| r.held);
    }
    cells.push(format!("{} {reply}", codes.join("；")));
    let state = if held { "（已入库，请核实）" } else { "（已退回）" };
    cells.push(format!("{}{state}", messages.join("；")));
    cells
}
