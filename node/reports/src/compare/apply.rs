//! The records of a difference are handed in like any others: same rules, same answer, receipts.

use super::{CompareError, Comparison, Report, Shelf, records, source::Errors};
use std::sync::Arc;
use tally_intake::{ERRORS_MAX, PourError, Rows, Upload};
use tally_store::index::Engine;
use tokio::sync::mpsc;

/// Records that are handed in together.
const CHUNK: usize = 1_000;
/// The same in bytes.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks between the thread that makes records and the submission.
const CHUNKS: usize = 2;

/// Hands in what makes this node hold what the file says, and puts into the report what cannot be.
///
/// # Errors
/// [`PourError`]; what was accepted until then is durable.
pub async fn apply(
    comparison: Comparison,
    shelf: Shelf,
    engine: Arc<dyn Engine>,
    upload: &mut Upload,
    report: &mut Report,
) -> Result<(), PourError> {
    let (send, mut chunks) = mpsc::channel(CHUNKS);
    let maker = tokio::task::spawn_blocking(move || {
        let (mut left, mut chunk, mut bytes) = (Errors::default(), Vec::new(), 0);
        let made = records::make(&comparison, &shelf, &*engine, &mut left, |line, record| {
            bytes += record.len();
            chunk.push((line, record));
            if chunk.len() < CHUNK && bytes < CHUNK_BYTES {
                return true;
            }
            bytes = 0;
            send.blocking_send(std::mem::take(&mut chunk)).is_ok()
        });
        if made.is_ok() {
            let _ = send.blocking_send(chunk);
        }
        made.map(|()| left)
    });
    while let Some(chunk) = chunks.recv().await {
        upload.rows(Rows::Lines(chunk)).await?;
    }
    let ended = |e: CompareError| match e {
        CompareError::Index(e) => PourError::Ended { code: "index", message: e.to_string() },
        e => PourError::Spool(e.to_string()),
    };
    let stopping = |_| PourError::Ended { code: "stopping", message: "the node is stopping".to_owned() };
    let left = maker.await.map_err(stopping)?.map_err(ended)?;
    report.not_applied = left.meant;
    let room = ERRORS_MAX.saturating_sub(report.errors.len());
    report.errors_omitted += left.omitted + left.list.len().saturating_sub(room) as u64;
    report.errors.extend(left.list.into_iter().take(room));
    Ok(())
}
