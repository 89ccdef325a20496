//! When the charter moves this node to its next epoch, or closes a log before what is held of it: the node starts again
//! from its disk, so that everything that follows from epoch and charter is made anew in one way only.
use super::{RestartReason, start::keys_for};
use crate::config::Config;
use std::time::Duration;
use tally_core::Place;
use tally_intake::{CarryHandle, CheckedRecord, ChunkError, DedupPolicy, RecordChunk};
use tally_protocol::{batch::Batch, ids::LogId};
use tally_reconcile::ReconcileContext;
use tally_store::entries::EntryReader;
use tokio::sync::watch;

/// The charter in force, and the folder of keys, are looked at this often.
const LOOK: Duration = Duration::from_millis(300);

/// A log that is held beyond where the charter closed it: how far it counts, and the batch that ends there.
pub(super) type Overrun = (LogId, u64, Option<Place>);

/// Tells when the node has to start again. `known`: logs that could not be cut back at this start either.
pub(super) async fn watch(
    config: Config,
    reconcile: ReconcileContext,
    own: LogId,
    known: Vec<Overrun>,
    again: watch::Sender<Option<RestartReason>>,
) {
    loop {
        tokio::time::sleep(LOOK).await;
        let charter = reconcile.charter.charter();
        let current = charter.charter().current_log(own.division).unwrap_or(own);
        if current != own {
            let config = config.clone();
            // Files are read on a thread that may block, not on a worker.
            let look = move || matches!(keys_for(&config, charter.charter(), current), Ok(Some(_)));
            if tokio::task::spawn_blocking(look).await.unwrap_or(false) {
                again.send_replace(Some(RestartReason::Epoch));
                return;
            }
        }
        if reconcile.mailbox.view().overruns().iter().any(|o| !known.contains(o)) {
            again.send_replace(Some(RestartReason::ClosedLog));
            return;
        }
    }
}

/// Records that were acknowledged in an epoch which the charter then closed before them are not lost (I1): they are
/// handed in again, for the epoch that goes on, before everything that is staged or new. Those that are held already are found
/// to be duplicates.
pub(super) async fn carry_over(carry: CarryHandle, reader: EntryReader, own: LogId, beyond: Vec<(LogId, Vec<Place>)>) {
    let mine = beyond.into_iter().filter(|(log, _)| log.division == own.division && *log != own);
    for (log, places) in mine {
        for place in places {
            let read = reader.clone();
            let records = tokio::task::spawn_blocking(move || records(&read, place)).await;
            let records = match records {
                Ok(Ok(records)) => records,
                Ok(Err(why)) => {
                    tracing::error!(event = "epoch.not_carried_over", %log, reason = %why, "records of a closed epoch cannot be read from this disk; who handed them in has to do so again (tally receipt)");
                    continue;
                }
                Err(_) => return,
            };
            let count = records.len();
            // The parent may take its time, and the node may be told to stop: the next start tries again.
            while let Ok(answer) = carry.submit(RecordChunk::of(records.clone(), DedupPolicy::default())).await {
                match answer.await {
                    Ok(Ok(done)) => {
                        tracing::info!(event = "epoch.carried_over", %log, records = count, accepted = done.accepted(), "records beyond the end of a closed epoch");
                        break;
                    }
                    // It is handed in as soon as the gate is open; while it is not, nobody needs to be told each second.
                    Ok(Err(ChunkError::NotSealed(_))) => tokio::time::sleep(Duration::from_secs(1)).await,
                    Ok(Err(why)) => {
                        tracing::warn!(event = "epoch.not_carried_over", %log, records = count, reason = %why, "tried again");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                    Err(_) => return,
                }
            }
        }
    }
}

fn records(reader: &EntryReader, place: Place) -> Result<Vec<CheckedRecord>, String> {
    let frame = reader.read(place).map_err(|e| e.to_string())?;
    let records = Batch::decode(&frame.body).and_then(|b| b.records()).map_err(|e| e.to_string())?;
    Ok(records.iter().filter_map(CheckedRecord::acknowledged).collect())
}
