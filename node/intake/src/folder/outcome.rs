//! What a department finds beside its file.

use super::{FileEnd, held::HeldFolder};
use crate::submission::{
    SubmissionAnswer, SubmissionStore,
    kept::{TableForm, write_table},
};
use std::{
    ffi::{OsStr, OsString},
    fmt::Write as _,
    io,
    path::Path,
};
use tally_protocol::tame::tame;

/// Findings that the text of a receipt lists; the workbook has all rows.
const LISTED: usize = 200;

/// Longest name of a file, in bytes; the longest ending that is put beside it needs some of them.
const NAME_MAX: usize = 255;
const ENDINGS: [&str; 4] = [".receipt.txt", ".receipt.json", "_需更正.xlsx", "_需更正.csv"];

/// A name still free in a folder, for the file and for everything written beside it.
pub(super) fn free_name(folder: &HeldFolder, file: &OsStr) -> io::Result<OsString> {
    let name = file.to_string_lossy().into_owned();
    let (stem, end) = match name.rsplit_once('.') {
        Some((stem, end)) if !stem.is_empty() && end.len() <= 16 => (stem.to_owned(), format!(".{end}")),
        _ => (name.clone(), String::new()),
    };
    let longest = ENDINGS.iter().map(|e| e.len()).max().unwrap_or(0) + end.len() + 8;
    let mut cut = stem.len().min(NAME_MAX - longest);
    while !stem.is_char_boundary(cut) {
        cut -= 1;
    }
    for n in 1_u32.. {
        let number = if n == 1 { String::new() } else { format!("-{n}") };
        let free = OsString::from(format!("{}{number}{end}", &stem[..cut]));
        let mut taken = folder.look(&free)?.is_some();
        for ending in ENDINGS {
            taken = taken || folder.look(&beside(&free, ending))?.is_some();
        }
        if !taken {
            return Ok(free);
        }
    }
    Err(io::Error::other("every name is taken"))
}

fn put(folder: &HeldFolder, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
    let mut file = folder.create_file(name)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()
}

fn beside(file: &OsStr, end: &str) -> OsString {
    let mut name = file.to_owned();
    name.push(end);
    name
}

/// Removes what was written beside a file that could not be put there, as far as that can be done.
pub(super) fn remove(folder: &HeldFolder, file: &OsStr) {
    for ending in ENDINGS {
        let name = beside(file, ending);
        if let Err(e) = folder.remove(&name) {
            let file = folder.shown(&name);
            tracing::warn!(event = "folder.left", ?file, reason = %e, "a receipt without its file stays: take it away");
        }
    }
}

/// Writes receipt, answer and the rows to correct. `spool`: a folder for what a workbook needs meanwhile.
pub(super) fn write(
    folder: &HeldFolder,
    file: &OsStr,
    end: &FileEnd,
    (store, spool): (&SubmissionStore, &Path),
) -> io::Result<()> {
    let name = file.to_string_lossy();
    let put = |end: &str, bytes: &[u8]| put(folder, &beside(file, end), bytes);
    match end {
        FileEnd::Answered(answer) => {
            put(".receipt.txt", text(&name, answer).as_bytes())?;
            put(".receipt.json", &serde_json::to_vec_pretty(answer)?)?;
            // An answer that is kept for its staged rows alone has none to correct.
            let rows = answer.rejected + answer.questions > 0;
            let kept = answer.answer.as_ref().filter(|_| rows).map(|id| store.open_kept(id)).transpose()?.flatten();
            if let Some(kept) = kept {
                // Where a workbook cannot be, a CSV can.
                let rows = |end: &str, form| -> io::Result<()> {
                    let mut out = folder.create_file(&beside(file, end))?;
                    write_table(&kept, form, spool, &mut out).map_err(|e| io::Error::other(e.message))?;
                    out.sync_all()
                };
                if rows("_需更正.xlsx", TableForm::Xlsx).is_err() {
                    let _ = folder.remove(&beside(file, "_需更正.xlsx"));
                    rows("_需更正.csv", TableForm::Csv)?;
                }
            }
        }
        FileEnd::Refused { code, message, message_zh } => {
            let lines =
                [format!("退回：{message_zh}"), format!("Refused ({code}): {message}"), format!("文件 File: {name}")];
            let text: String = lines.iter().map(|l| format!("{}\r\n", tame(l))).collect();
            put(".receipt.txt", text.as_bytes())?;
            let json = serde_json::json!({ "refused": { "code": code, "message": message, "message_zh": message_zh } });
            put(".receipt.json", json.to_string().as_bytes())?;
        }
        FileEnd::Later(_) => {}
    }
    Ok(())
}

fn text(name: &str, a: &SubmissionAnswer) -> String {
    let mut text = String::new();
    let mut line = |l: String| {
        // Names and values are others' words.
        let _ = write!(text, "{}\r\n", tame(&l));
    };
    let verdict = match (a.rejected, a.questions) {
        _ if a.read == 0 => "没有数据行",
        (0, 0) => "全部入库",
        (0, _) => "全部入库，有疑问数据",
        _ if a.accepted + a.duplicate == 0 => "全部退回",
        _ => "部分退回",
    };
    line(format!("{verdict}：{name}"));
    line(format!("时间 Time: {}", tally_clock::time(tally_clock::now_ms() / 1_000)));
    line(format!(
        "读取 {} = 入库 {} + 重复 {} + 退回 {}；疑问 {}",
        a.read, a.accepted, a.duplicate, a.rejected, a.questions
    ));
    let (accepted, duplicate, rejected, questions) = (a.accepted, a.duplicate, a.rejected, a.questions);
    line(format!(
        "read {} = accepted {accepted} + duplicate {duplicate} + rejected {rejected}; questions {questions}",
        a.read
    ));
    if let (Some(log), Some(from), Some(to)) = (&a.log, a.from, a.to) {
        line(format!("台账 Log: {log} {from}..{to}"));
    }
    if a.staged > 0 {
        let because = a.staged_because.as_deref().unwrap_or_default();
        line(format!(
            "其中暂存 {} 行（{because}）：已存于本节点磁盘，尚未签署，其他节点尚无副本；签署后可按答复编号查询",
            a.staged
        ));
        line(format!(
            "{} of them are staged ({because}): on this node's disk, not signed yet, nobody else has them",
            a.staged
        ));
    }
    if let Some(id) = &a.answer {
        let rows = a.rejected + a.questions > 0;
        let more = if rows {
            "（退回和疑问的行见同目录下的“_需更正.xlsx”，更正后重新放入 inbox）"
        } else {
            ""
        };
        line(format!("答复编号 Answer: {id}{more}"));
    }
    if let Some(not_kept) = &a.not_kept {
        let (rows, first, last) = (not_kept.rows, not_kept.first, not_kept.last);
        line(format!("另有 {rows} 行需更正（第 {first} 行至第 {last} 行），超出答复容量，仅计数：请先更正已列出的行"));
        line(format!("{rows} more rows (lines {first} to {last}) are counted and not kept: correct the others first"));
    }
    if let Some(ended) = &a.ended {
        line(format!("未审核 {} 行：{}", ended.rows, ended.message_zh));
        line(format!("{} rows were not looked at: {}", ended.rows, ended.message));
    }
    for n in &a.notes {
        let place = if n.line > 0 { format!("（第 {} 行起 {} 行）", n.line, n.count) } else { String::new() };
        line(format!("提示 {}{place}：{}", n.field, n.message_zh));
    }
    for at in a.errors.iter().take(LISTED) {
        let f = &at.finding;
        let severity = if f.severity == tally_topology::catalog::Severity::Reject { "退回" } else { "疑问" };
        line(format!("第 {} 行 {severity} {} {}", at.line, f.code, f.message_zh));
    }
    let more = a.errors.len().saturating_sub(LISTED) as u64 + a.errors_omitted;
    if more > 0 {
        line(format!("…… 另有 {more} 条"));
    }
    text
}
