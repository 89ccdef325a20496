//! When a batch closes and goes to the driver.

use super::{Batcher, FLYING, SealingBatch, WITHOUT_BUDGET, next_result};
use tally_core::NotSealed;
use tally_driver::Mail;
use tally_journal::JournalError;
use tally_protocol::record::Record;
use tokio::{sync::oneshot, time::Instant};

impl Batcher {
    /// Closes the open batch if somebody waits for it and nothing is on its way.
    pub(super) async fn close_if_awaited(&mut self) -> Result<(), JournalError> {
        if !self.awaited || !self.flying.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        if self.small.take(now) {
            return self.close().await;
        }
        let latest = now + WITHOUT_BUDGET;
        self.deadline = self.deadline.map(|d| d.min(latest));
        // Until then it is not asked for again.
        self.awaited = false;
        Ok(())
    }

    /// Closes the open batch. Where one before it was refused and is staged, it is staged behind that: what it holds may rest on
    /// what is there, and nothing overtakes.
    pub(super) async fn close(&mut self) -> Result<(), JournalError> {
        (self.deadline, self.awaited) = (None, false);
        if self.open.is_empty() {
            return Ok(());
        }
        while self.flying.len() >= FLYING {
            let result = next_result(&mut self.flying).await;
            self.finished(result).await?;
        }
        let (records, number) = (std::mem::take(&mut self.open), self.number);
        self.open_bytes = 0;
        self.number += 1;
        if let Some(why) = self.comes_behind_staged() {
            return self.is_refused(number, &records, &why).await;
        }
        let (reply, result) = oneshot::channel();
        let follows = !self.flying.is_empty();
        let sent = Mail::Seal { records: records.clone(), follows, reply };
        // If the driver has ended, the reply is dropped and the chunk is told so.
        let _ = self.mailbox.send(sent).await;
        self.flying.push_back(SealingBatch { records, result });
        Ok(())
    }

    /// Why a batch that closes now must be staged: what came before it is, and nothing is on its way that it would follow. The
    /// core refuses by itself what follows a batch that it refused.
    fn comes_behind_staged(&self) -> Option<NotSealed> {
        let behind = self.flying.is_empty() && (self.cut || !self.staged.is_empty());
        self.refused.as_ref().filter(|_| behind).map(|(why, _)| why.clone())
    }

    /// The records of a closed batch may not be signed: they are staged, and whoever waits for them is answered.
    pub(super) async fn is_refused(
        &mut self,
        number: u64,
        records: &[Record],
        why: &NotSealed,
    ) -> Result<(), JournalError> {
        for record in records {
            self.unsealed.remove(&record.id());
        }
        self.stage_batch(number, records, why).await?;
        self.answer();
        Ok(())
    }

    /// Closes the open batch, and waits for all that are on their way.
    pub(super) async fn land(&mut self) -> Result<(), JournalError> {
        self.close().await?;
        while !self.flying.is_empty() {
            let result = next_result(&mut self.flying).await;
            self.finished(result).await?;
        }
        Ok(())
    }
}
