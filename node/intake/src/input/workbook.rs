//! Excel workbooks: spooled to the disk, because an archive is read from its end.
//!
//! The file is written on threads that may block, and goes when it is no longer needed.

use super::{InputError, InputPieces, RowSink, tabular};
use crate::{InputNote, blocking, input::table::Title};
use bytes::Bytes;
use futures_util::StreamExt as _;
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};
use tally_sheet::{SheetError, read_xlsx};
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
        let names: Vec<_> = found.others.iter().map(|n| shown(n)).collect();
        let unread = (!names.is_empty()).then(|| InputNote {
            field: String::new(),
            code: "other_sheets".to_owned(),
            count: names.len() as u64,
            line: 0,
            message: format!("other sheets were not read, hand them in as files of their own: {}", names.join(", ")),
            message_zh: format!("以下工作表未读取，请另存为单独文件报送：{}", names.join("、")),
        });
        Ok((format!("XLSX, sheet {}", shown(&found.sheet)), unread))
    })
    .await
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
