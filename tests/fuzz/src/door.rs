//! An input, read as the door reads it, up to judged rows. Nothing is held and nothing written.

use bytes::Bytes;
use std::{path::PathBuf, sync::Arc};
use tally_intake::{
    InputError, InputFormat, InputNote, RowChunk, RowContext, RowSink, TableColumns, identify, read_input, read_line,
};
use tally_protocol::finding::AtLine;
use tally_topology::{catalog::Catalog, charter::Charter, sample};
use tokio::runtime::{Builder, Runtime};

/// Day on which rows are judged.
const TODAY: &str = "2026-11-25";
/// Bytes that come at once.
const PIECE: usize = 4_096;

/// A sink that judges rows, and holds what it was promised against what comes.
struct JudgingSink<'c> {
    charter: &'c Charter,
    category: Option<String>,
    columns: usize,
}

impl RowSink for JudgingSink<'_> {
    async fn rows(&mut self, rows: RowChunk) -> Result<(), InputError> {
        let context = context(self.charter, self.category.as_deref());
        if let RowChunk::Table(columns, rows) = &rows {
            assert_eq!(columns.heads.len(), columns.fields.len());
            assert!(self.columns > 0 || rows.is_empty(), "rows come before the heads");
        }
        let judged = rows.judged(&context);
        assert_eq!(judged.len(), rows.len(), "each row has its verdict");
        for row in judged {
            let Some(checked) = row.record else {
                assert!(!row.findings.is_empty(), "line {} is refused without a reason", row.line);
                continue;
            };
            again(self.charter, checked.record.bytes());
        }
        Ok(())
    }

    async fn broken_row(&mut self, at: AtLine) -> Result<(), InputError> {
        assert!(!at.finding.message.is_empty());
        Ok(())
    }

    fn note(&mut self, note: InputNote) {
        assert!(!note.message.is_empty() && !note.message_zh.is_empty());
    }

    fn catalog(&self) -> Arc<Catalog> {
        self.charter.catalogs().current(today()).clone()
    }

    fn category(&self) -> Option<&str> {
        self.category.as_deref()
    }

    fn table_found(&mut self, columns: &TableColumns, category: &str) {
        self.columns = columns.heads.len();
        self.category.get_or_insert_with(|| category.to_owned());
    }

    fn format_found(&mut self, _: String) {}
}

fn today() -> jiff::civil::Date {
    TODAY.parse().expect("a day")
}

fn context<'c>(charter: &'c Charter, category: Option<&'c str>) -> RowContext<'c> {
    let me = 350_102.try_into().expect("a division");
    RowContext { charter, me, today: today(), category, unit: None, division: None, rights: None, backfill: false }
}

/// A record that is handed in as it is stored is the same record.
fn again(charter: &Charter, stored: &[u8]) {
    let context = context(charter, None);
    let shown = || String::from_utf8_lossy(stored);
    let id = identify(&context, stored).unwrap_or_else(|f| panic!("{f:?}: {}", shown()));
    let row = read_line(&context, 1, stored);
    assert_eq!(row.id, Some(id), "{:?}: {}", row.findings, shown());
    let record = row.record.expect("it has an id").record;
    assert_eq!(record.bytes(), stored, "{:?}: {}", row.changes, shown());
    assert!(row.changes.is_empty(), "{:?}: {}", row.changes, shown());
}

/// Reads and judges an input.
pub fn read(bytes: &[u8], format: InputFormat) {
    thread_local! {
        static CHARTER: Charter = sample::charter("");
        static RUNTIME: Runtime = Builder::new_current_thread().build().expect("a runtime");
        static SPOOL: PathBuf = std::env::temp_dir().join(format!("tally-fuzz-{}", std::process::id()));
    }
    let pieces: Vec<_> = bytes.chunks(PIECE).map(|p| Ok(Bytes::copy_from_slice(p))).collect();
    let pieces = Box::pin(futures_util::stream::iter(pieces));
    CHARTER.with(|charter| {
        let mut sink = JudgingSink { charter, category: None, columns: 0 };
        let read = SPOOL.with(|spool| RUNTIME.with(|r| r.block_on(read_input(&mut sink, pieces, format, spool))));
        if let Err(e) = read {
            assert!(!matches!(e, InputError::Spool(_) | InputError::BrokenOff(_)), "{e}");
        }
    });
}
