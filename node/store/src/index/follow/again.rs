//! Under a new charter: what is in the index is judged again, from the first record on, so that findings are those of the
//! newest charter, as they would be in an index that was built anew.

use super::{Follower, counts, take::ReadRecord};
use crate::index::{Engine as _, EngineError, InForce, entry::Lookup};
use tally_core::{Entry as KeptAs, Place};
use tally_protocol::{batch::Batch, ids::LogId};
use tally_topology::charter::Charter;

/// Bytes of the journal after which it is told how far this is.
const TELL_EVERY: u64 = 4 << 20;

impl Follower<'_> {
    /// Judges on as long as `may_go_on`.
    pub(super) fn judge_again(&mut self, charter: &Charter, may_go_on: impl Fn() -> bool) -> Result<(), EngineError> {
        let Some(mut again) = self.state.judged.again.clone() else { return Ok(()) };
        let mut told = again.place;
        while may_go_on() && self.sources.charter.charter().charter().rules_mark() == again.rules {
            let found = self.sources.reader.next(Place(again.place), Place(again.until))?;
            let Some((_, kept, next)) = found else {
                (self.state.judged.rules, self.state.judged.charter) = (again.rules, again.charter);
                self.state.judged.again = None;
                self.sources.known.set_judged(Some(again.rules));
                tracing::info!(
                    event = "index.judged",
                    charter = again.charter,
                    "all records are judged by the newest charter"
                );
                return self.write_state();
            };
            if let KeptAs::Batch { log, start, tree, sealed_at, .. } = kept.entry
                && counts(charter, log, tree.size())
            {
                self.again_of(charter, log, (start, sealed_at), &kept.body)?;
            }
            again.place = next.0;
            self.state.judged.again = Some(again.clone());
            self.write()?;
            if next.0.saturating_sub(told) > TELL_EVERY {
                told = next.0;
                self.tell();
            }
        }
        Ok(())
    }

    fn again_of(
        &mut self,
        charter: &Charter,
        log: LogId,
        (start, sealed_at): (u64, u64),
        body: &[u8],
    ) -> Result<(), EngineError> {
        let Ok(records) = Batch::decode(body).and_then(|b| b.records()) else { return Ok(()) };
        let overlay = self.overlay.clone();
        let in_force = InForce::of_follower(&*overlay, charter);
        for (i, bytes) in records.iter().enumerate() {
            let record = ReadRecord::of(bytes, start + i as u64, sealed_at);
            if overlay.get(&Lookup::Record(record.id).key(log, record.entry.index))?.is_some() {
                self.judge(&in_force, log, &record, false)?;
            }
            if overlay.waiting() >= super::WRITE_PAIRS {
                self.write()?;
            }
        }
        Ok(())
    }
}
