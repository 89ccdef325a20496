//! Damaged places of the journal: put right once nothing that they held is missing any more. The driver writes; here is decided
//! which places may be.

use crate::verify::Survey;
use crate::{ReconcileContext, ReconcileError};
use std::collections::{BTreeMap, BTreeSet};
use tally_core::Input;
use tally_core::Place;
use tally_driver::Mail;
use tally_journal::{Damage, DamageKind, Position};
use tally_protocol::ids::LogId;
use tally_store::entries;
use tokio::sync::oneshot;

impl ReconcileContext {
    /// Puts the journal's open file back if it was deleted or exchanged: the process still holds what was in it.
    ///
    /// Cancel-safe: the driver finishes by itself what was asked for.
    ///
    /// # Errors
    /// [`ReconcileError`].
    pub async fn rescue(&self) -> Result<(), ReconcileError> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.send(Mail::Rescue(reply)).await?;
        answer.await.map_err(|_| tally_driver::Stopping)?;
        self.reader.forget_files();
        Ok(())
    }

    /// Mends what can be mended of a survey; the places that are left stay in it. Answers how many were put right.
    ///
    /// Not cancel-safe: the survey loses places that were not reached.
    ///
    /// # Errors
    /// [`ReconcileError`].
    pub async fn mend(&self, survey: &mut Survey, why: &str) -> Result<u64, ReconcileError> {
        let view = self.mailbox.settled().await?;
        let missing: BTreeMap<LogId, Vec<(u64, u64)>> =
            view.logs().iter().map(|(id, l)| (*id, l.missing())).filter(|(_, m)| !m.is_empty()).collect();
        let still = |log: &LogId, from, to| {
            missing.get(log).is_some_and(|m| m.iter().any(|(f, t): &(u64, u64)| *f < to && from < *t))
        };
        // Places whose records are known: they wait for these only. All others wait for everything.
        let mut waits: BTreeMap<Place, bool> = BTreeMap::new();
        for (log, lacks) in &survey.lacks {
            for lack in lacks {
                if let Some(place) = lack.place {
                    *waits.entry(place).or_default() |= still(log, lack.from, lack.to);
                }
            }
        }
        let mut done = BTreeSet::new();
        let (mut mended, mut resave) = (0_u64, false);
        for damage in std::mem::take(&mut survey.places) {
            let place = entries::place(Position { segment: damage.segment, offset: damage.offset });
            let known = waits.get(&place).copied();
            let whole_frame = damage.kind == DamageKind::Altered;
            let wait = known.unwrap_or(!whole_frame && !missing.is_empty());
            if !done.insert((place, damage.kind as u8)) {
                continue;
            }
            if wait || !self.mend_one(&damage, why).await? {
                survey.places.push(damage);
                continue;
            }
            mended = mended.saturating_add(1);
            resave |= known.is_none();
            self.known_damage.mended(&damage);
        }
        if resave {
            self.mailbox.send(Mail::Core(Input::Resave)).await?;
        }
        Ok(mended)
    }

    async fn mend_one(&self, damage: &Damage, why: &str) -> Result<bool, ReconcileError> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.send(Mail::Mend { damage: damage.clone(), why: why.to_owned(), reply }).await?;
        let result = answer.await.map_err(|_| tally_driver::Stopping)?;
        self.reader.forget_files();
        Ok(result.is_ok())
    }
}
