//! Who works at what: one task at a time reads this node's disk, and one at a time compares with a neighbour. So a neighbour
//! that takes its time holds up no task with another one, and no reading of the disk.
//!
//! Which task goes first the list decides; here each waits in the order in which it came, and says for whom.

use super::TaskControl;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tally_protocol::ids::Division;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What it is called where a task waits for it.
pub(super) const DISK: &str = "this node's own disk";

/// What one task at a time has, and which task that is.
#[derive(Debug, Clone)]
struct Place {
    turn: Arc<Semaphore>,
    holder: Arc<Mutex<String>>,
}

impl Default for Place {
    fn default() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), holder: Arc::default() }
    }
}

/// The turns of one node. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns {
    disk: Place,
    /// As many as there are neighbours.
    neighbours: Arc<Mutex<HashMap<Division, Place>>>,
}

/// A turn: it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "it is held")] Option<OwnedSemaphorePermit>);

impl Turns {
    /// Waits until task `id` may read this node's disk.
    ///
    /// Cancel-safe: whoever gives up waiting loses its place in the row.
    pub(super) async fn disk(&self, id: &str, control: &TaskControl) -> Turn {
        self.disk.take(id, control, DISK).await
    }

    /// Waits until task `id` may compare with a neighbour.
    ///
    /// Cancel-safe: as [`Turns::disk`].
    pub(super) async fn with(&self, peer: Division, id: &str, control: &TaskControl) -> Turn {
        let place = self.neighbours.lock().unwrap_or_else(PoisonError::into_inner).entry(peer).or_default().clone();
        place.take(id, control, &peer.to_string()).await
    }
}

impl Place {
    async fn take(&self, id: &str, control: &TaskControl, what: &str) -> Turn {
        let turn = match self.turn.clone().try_acquire_owned() {
            Ok(turn) => Some(turn),
            Err(_) => {
                let holder = self.holder.lock().unwrap_or_else(PoisonError::into_inner).clone();
                control.waits(what, Some(format!("{holder}, which is at work with {what}")));
                let turn = self.turn.clone().acquire_owned().await;
                control.waits(what, None);
                // Nobody closes it.
                turn.ok()
            }
        };
        *self.holder.lock().unwrap_or_else(PoisonError::into_inner) = id.to_owned();
        Turn(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::TaskProgress, *};
    use crate::verify::Watermark;
    use futures_util::FutureExt as _;

    /// M15: whoever waits for one neighbour waits for that neighbour alone, and says which task has it.
    #[tokio::test]
    async fn one_neighbour_holds_up_neither_another_one_nor_the_disk() {
        let turns = Turns::default();
        let control = |()| TaskControl::new(0, Watermark::default(), TaskProgress::default());
        let (first, second) = (control(()), control(()));
        let (slow, other) = (Division::try_from(350_102).unwrap(), Division::try_from(350_103).unwrap());
        let held = turns.with(slow, "t-1", &first).await;
        {
            let waits = turns.with(slow, "t-2", &second);
            tokio::pin!(waits);
            assert!(waits.as_mut().now_or_never().is_none());
            let why = second.progress().waiting_for.unwrap();
            assert!(why.contains("t-1") && why.contains("350102"), "{why}");
            assert!(turns.with(other, "t-3", &control(())).now_or_never().is_some());
            assert!(turns.disk("t-4", &control(())).now_or_never().is_some());
            drop(held);
            assert!(waits.now_or_never().is_some());
        }
        assert_eq!(second.progress().waiting_for, None);
    }
}
