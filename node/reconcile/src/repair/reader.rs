//! The giving end of a repair: reads batches that a neighbour wants, one at a time. What cannot be read is passed over; it
//! never judges whether the neighbour should have them.

use crate::{ReconcileContext, ReconcileError};
use std::collections::BTreeMap;
use tally_core::Entry;
use tally_protocol::{
    blocks,
    ids::LogId,
    session::{
        Wants,
        reconcile::{Lacking, Piece},
    },
};
use tally_store::{batch_map::BatchMap, entries::EntryReader};

/// Cuts the batches of one log that are wanted, one at a time.
pub(crate) struct RepairReader {
    log: LogId,
    batches: BatchMap,
    reader: EntryReader,
    wants: Wants,
    remains: BTreeMap<u64, Vec<u32>>,
    at: u64,
}

impl RepairReader {
    pub(crate) fn new(context: &ReconcileContext, log: LogId, lacking: Lacking) -> Result<Self, ReconcileError> {
        let batches = context.mailbox.view().logs().get(&log).map(BatchMap::of).unwrap_or_default();
        let wants = Wants::decode(&lacking.wants).ok().filter(|w| w.log == log).unwrap_or_else(|| Wants::new(log));
        let remains = lacking.remains.into_iter().map(|r| (r.start, r.sums)).collect();
        Ok(Self { log, batches, reader: context.reader.clone(), wants, remains, at: 0 })
    }

    /// The next piece; what cannot be read here either is passed over. Reads the disk.
    fn cut(&mut self) -> Option<Piece> {
        loop {
            let index = self.wants.first_from(self.at)?;
            let Some(batch) = self.batches.batch_of(index) else {
                // Not held: go on where the next batch starts.
                self.at = self.batches.next_start(index).unwrap_or(u64::MAX);
                continue;
            };
            self.at = batch.end;
            let Ok(frame) = self.reader.read(batch.place) else { continue };
            let Entry::Batch { log, start, .. } = frame.entry else { continue };
            if (log, start) != (self.log, batch.start) {
                continue;
            }
            let total = frame.body.len();
            if let Some(sums) = self.remains.get(&start) {
                let blocks = blocks::differing(&frame.body, sums);
                if blocks.len().saturating_mul(blocks::BLOCK_BYTES) < total / 2 {
                    let blocks = blocks.into_iter().map(|(i, b)| (i, b.to_vec())).collect();
                    return Some(Piece::Blocks { log, start, total: total as u32, blocks });
                }
            }
            return Some(Piece::Whole { log, bytes: frame.body });
        }
    }

    /// The next piece, and the reader to ask for the one after it.
    ///
    /// Not cancel-safe: the reader is lost with a call that is dropped.
    pub(crate) async fn next(mut self) -> Result<(Self, Option<Piece>), ReconcileError> {
        tokio::task::spawn_blocking(move || {
            let piece = self.cut();
            (self, piece)
        })
        .await
        .map_err(|_| ReconcileError::Thread)
    }
}
