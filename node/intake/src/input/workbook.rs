//! Excel workbooks: spooled to the disk, because an archive is read from its end.
//!
//! The file is written on threads that may block, and goes when it is no longer needed.

use super::{InputError, InputPieces, RowSink, tabular, tabular::TableRead};
use crate::{InputNote, blocking, input::table::Title};
use bytes::Bytes;
use futures_util::StreamExt as _;
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};
use tally_sheet::{SheetError, XlsxFound, read_xlsx};
use tally_topology::judge::shown;
use tokio::sync::Semaphore;

/// Largest workbook, in bytes.
const WORKBOOK_BYTES_MAX: u64 = 512 << 20;
/// Workbooks read at the same time: the texts of each stand in memory whole, which may be some hundreds of megabytes.
const WORKBOOKS: usize = 2;
/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 1 << 20;

pub(super) async fn read(sink: &mut impl RowSink, mut pieces: InputPieces, spool: &Path) -> Result<(), InputError> {
    static ROOM: Semaphore = Semaphore::const_new(WORKBOOKS);
    let spool = spool.to_owned();
    let mut book = on_disk(move || SpooledBook::new(&spool)).await?;
    let (mut total, mut gathered, mut bytes) = (0, Vec::new(), 0);
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(InputError::BrokenOff)?;
        total += piece.len() as u64;
        if total > WORKBOOK_BYTES_MAX {
            let most = WORKBOOK_BYTES_MAX >> 20;
            let en = format!("the workbook has more than {most} MiB: split it, or save it as CSV");
            return Err(
                SheetError::new("too_large", 0, en, format!("工作簿超过 {most} MiB，请拆分或另存为 CSV")).into()
            );
        }
        bytes += piece.len();
        gathered.push(piece);
        if bytes >= WRITE_BYTES {
            let some = std::mem::take(&mut gathered);
            bytes = 0;
            book = on_disk(move || book.write(&some)).await?;
        }
    }
    let book = on_disk(move || book.write(&gathered)).await?;
    let _room = ROOM.acquire().await.map_err(|_| InputError::stopping())?;
    let title: Title = Arc::default();
    let named = title.clone();
    tabular::read(sink, title, move |take| {
        let found = read_xlsx(&book.path, &mut |sheet| drop(named.set(sheet.to_owned())), take)?;
        let format = format!("XLSX, sheet {}", shown(&found.sheet));
        Ok(TableRead { format, notes: told(&found), instead: Some(sheets(&found)) })
    })
    .await
}

/// What of a workbook was not read, and what of the sheet a person does not see.
fn told(found: &XlsxFound) -> Vec<InputNote> {
    let note = |code: &str, count: usize, line: u64, message: String, message_zh: String| {
        let (field, code) = (String::new(), code.to_owned());
        InputNote { field, code, count: count as u64, line, message, message_zh }
    };
    let mut notes = Vec::new();
    let names: Vec<_> = found.others.iter().map(|n| shown(n)).collect();
    if !names.is_empty() {
        let en = format!("other sheets were not read, hand them in as files of their own: {}", names.join(", "));
        let zh = format!("以下工作表未读取，请另存为单独文件报送：{}", names.join("、"));
        notes.push(note("other_sheets", names.len(), 0, en, zh));
    }
    let looks = &found.looks;
    if let Some((first, _)) = looks.hidden_at.first() {
        let stretch = |(from, to): &(u64, u64)| if from == to { from.to_string() } else { format!("{from}-{to}") };
        let at: Vec<_> = looks.hidden_at.iter().map(stretch).collect();
        let named: u64 = looks.hidden_at.iter().map(|(from, to)| to - from + 1).sum();
        let at = at.join(", ") + if named < looks.hidden_rows { ", …" } else { "" };
        let (by, by_zh) = if looks.filtered { ("by a filter", "筛选") } else { ("", "") };
        let en = format!("{} rows are hidden {by} and were read all the same: rows {at}", looks.hidden_rows);
        let zh = format!("{} 行被{by_zh}隐藏，仍已读取：第 {at} 行；如不应报送请删除后重报", looks.hidden_rows);
        notes.push(note("hidden_rows", looks.hidden_rows as usize, *first, en.replace("  ", " "), zh));
    }
    if !looks.hidden_columns.is_empty() {
        let at = looks.hidden_columns.join(", ");
        let en = format!("hidden columns were read all the same: {at}");
        notes.push(note("hidden_columns", looks.hidden_columns.len(), 0, en, format!("隐藏的列仍已读取：{at}")));
    }
    notes
}

/// Which sheet was read, where there are no heads in it.
fn sheets(found: &XlsxFound) -> (String, String) {
    let sheet = shown(&found.sheet);
    let others: Vec<_> = found.others.iter().map(|n| shown(n)).collect();
    match others.as_slice() {
        [] => (
            format!("The sheet {sheet} was read; there is no other"),
            format!("读取的是工作表“{sheet}”，没有其他可见工作表"),
        ),
        others => (
            format!(
                "The sheet {sheet} was read, because it is the first that holds anything; others are: {}. Put the table first, or hand it in as a file of its own",
                others.join(", ")
            ),
            format!(
                "读取的是第一个有内容的工作表“{sheet}”，其他工作表为：{}；请将数据表移到最前或另存为单独文件",
                others.join("、")
            ),
        ),
    }
}

async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, InputError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|_| InputError::stopping())?;
    Ok(done?)
}

/// A file that goes when it is no longer needed.
struct SpooledBook {
    path: PathBuf,
    file: File,
}

impl SpooledBook {
    fn new(dir: &Path) -> io::Result<Self> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        fs::create_dir_all(dir)?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("{}-{number}.xlsx", std::process::id()));
        let file = File::create(&path)?;
        Ok(Self { path, file })
    }

    fn write(mut self, pieces: &[Bytes]) -> io::Result<Self> {
        pieces.iter().try_for_each(|p| self.file.write_all(p))?;
        Ok(self)
    }
}

impl Drop for SpooledBook {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        blocking::detached(move || drop(fs::remove_file(path)));
    }
}
