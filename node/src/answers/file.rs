//! Rejected and questioned rows in the form in which they were handed in, with two columns added.

use super::{Kept, KeptRow};
use crate::{
    intake::ADDED_HEADS,
    sheet::{Column, SheetError, write_csv_row, write_xlsx},
};
use serde_json::Value;
use std::{io, path::Path};

/// A form of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// CSV in UTF-8 with a mark.
    Csv,
    /// Excel workbook.
    Xlsx,
}

/// Most columns that the members of NDJSON lines make.
const COLUMNS_MAX: usize = 500;
/// Head of what was no JSON at all.
const RAW_HEAD: &str = "原文";

fn disk(e: &io::Error) -> SheetError {
    SheetError::new(
        "answers",
        0,
        format!("the answer on the disk cannot be read: {e}"),
        format!("答复文件无法读取：{e}"),
    )
}

/// Writes the file of an answer. `spool`: a folder for what a workbook needs meanwhile.
///
/// # Errors
/// [`SheetError`].
pub fn write(kept: &Kept, form: Form, spool: &Path) -> Result<Vec<u8>, SheetError> {
    let heads = heads(kept)?;
    let all = heads.iter().map(String::as_str).chain(ADDED_HEADS);
    let rows = kept.rows().map_err(|e| disk(&e))?;
    let cells = |row: io::Result<KeptRow>| row.map(|r| cells(&heads, &kept.meta.heads, &r)).map_err(|e| disk(&e));
    match form {
        Form::Csv => {
            let mut out = b"\xef\xbb\xbf".to_vec();
            write_csv_row(&mut out, all).map_err(|e| disk(&e))?;
            for row in rows {
                let row = cells(row)?;
                write_csv_row(&mut out, row.iter().map(String::as_str)).map_err(|e| disk(&e))?;
            }
            Ok(out)
        }
        Form::Xlsx => {
            let added = heads.len();
            let column =
                |(i, head): (usize, &str)| Column { head: head.into(), marked: i >= added, ..Column::default() };
            let columns: Vec<Column> = all.enumerate().map(column).collect();
            std::fs::create_dir_all(spool).map_err(|e| disk(&e))?;
            let mut out = io::Cursor::new(Vec::new());
            write_xlsx(&mut out, ("需更正", &columns), rows.map(cells), &[])?;
            Ok(out.into_inner())
        }
    }
}

/// Heads of the table; for NDJSON the names of all members.
fn heads(kept: &Kept) -> Result<Vec<String>, SheetError> {
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

fn cells(heads: &[String], own: &[String], row: &KeptRow) -> Vec<String> {
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
    cells.push(codes.join("；"));
    cells.push(messages.join("；"));
    cells
}
