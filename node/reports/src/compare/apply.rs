//! The difference as a submission: its records are handed in like any others, by the same rules and with the same answer.

use super::{CompareError, Comparison, RecordReader, records, source::RowErrors};
use std::sync::Arc;
use tally_intake::{InputError, RowChunk, RowSink as _, Upload, submission::RowSource};
use tally_store::index::Engine;
use tokio::sync::mpsc;

/// Records that are handed in together.
const CHUNK: usize = 1_000;
/// The same in bytes.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks between the thread that makes records and the submission.
const CHUNKS: usize = 2;

/// Makes the records that make this node hold what the file says.
pub(super) struct DifferenceSource<'l> {
    /// Taken when the records are made.
    pub(super) parts: Option<(Comparison, RecordReader, Arc<dyn Engine>)>,
    /// Digest of the file.
    pub(super) digest: String,
    /// What no record could be made of.
    pub(super) left: &'l mut RowErrors,
}

impl RowSource for DifferenceSource<'_> {
    async fn read_into(&mut self, upload: &mut Upload) -> Result<(), InputError> {
        let Some((comparison, reader, engine)) = self.parts.take() else { return Ok(()) };
        let (send, mut chunks) = mpsc::channel(CHUNKS);
        let maker = tokio::task::spawn_blocking(move || {
            let (mut left, mut chunk, mut bytes) = (RowErrors::default(), Vec::new(), 0);
            let made = records::make(&comparison, &reader, &*engine, &mut left, |line, record| {
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
            upload.rows(RowChunk::Lines(chunk)).await?;
        }
        let ended = |e: CompareError| match e {
            CompareError::Index(e) => InputError::SinkEnded { code: "index", message: e.to_string() },
            CompareError::Spool(e) => InputError::Spool(e),
            e @ CompareError::TooManyHeld => InputError::SinkEnded { code: "too_many_held", message: e.to_string() },
        };
        *self.left = maker.await.map_err(|_| InputError::stopping())?.map_err(ended)?;
        Ok(())
    }

    /// The records are the difference's, not somebody's bytes: there is nothing to read past.
    async fn read_through(&mut self) -> Result<(), InputError> {
        Ok(())
    }

    fn digest(&self) -> Option<String> {
        Some(self.digest.clone())
    }
}
