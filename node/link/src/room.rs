//! Memory for batches between the socket and the disk, and for messages until the node has dealt with them.
//!
//! What does not fit waits in the peer, by QUIC's flow control. A neighbour that announces batches and does not send them holds
//! its own reserve and a bounded part of what is shared; whatever the others do, each neighbour has room for one batch and one
//! message. It must not know what they are, only how long.

use super::limits::{CONTROL_LEAST_BYTES, CONTROL_ROOM_BYTES, NEIGHBOUR_ROOM_BYTES, RESERVE_BYTES, ROOM_BYTES, SETUPS};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use tally_protocol::ids::Division;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The room of a node, for all its links.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    shared: Arc<Semaphore>,
    /// One for each neighbour that ever had a link: a link that is opened anew brings no more room. As many as the charter
    /// admits.
    neighbours: Arc<Mutex<BTreeMap<Division, NeighbourRoom>>>,
}

/// The room of one neighbour.
#[derive(Debug, Clone)]
pub(crate) struct NeighbourRoom {
    shared: Arc<Semaphore>,
    part: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
    control: Arc<Semaphore>,
    setups: Arc<Semaphore>,
}

/// The memory of one batch, until it is on disk or refused, or of one message, until it was dealt with.
#[derive(Debug)]
pub struct FrameRoom {
    _taken: Vec<OwnedSemaphorePermit>,
}

impl Room {
    pub(crate) fn new() -> Self {
        Self { shared: Arc::new(Semaphore::new(ROOM_BYTES)), neighbours: Arc::default() }
    }

    pub(crate) fn of(&self, division: Division) -> NeighbourRoom {
        let mut neighbours = self.neighbours.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || NeighbourRoom {
            shared: self.shared.clone(),
            part: Arc::new(Semaphore::new(NEIGHBOUR_ROOM_BYTES)),
            reserve: Arc::new(Semaphore::new(RESERVE_BYTES)),
            control: Arc::new(Semaphore::new(CONTROL_ROOM_BYTES)),
            setups: Arc::new(Semaphore::new(SETUPS)),
        };
        neighbours.entry(division).or_insert_with(new).clone()
    }
}

impl NeighbourRoom {
    /// Waits for room for a batch of so many bytes, at most `BATCH_BYTES_MAX`. `None` is never the answer while the node runs.
    ///
    /// Cancel-safe: it takes nothing before it returns.
    pub(crate) async fn take(&self, bytes: usize) -> Option<FrameRoom> {
        let bytes = u32::try_from(bytes).ok()?;
        let shared = async {
            let part = self.part.clone().acquire_many_owned(bytes).await.ok()?;
            let shared = self.shared.clone().acquire_many_owned(bytes).await.ok()?;
            Some(vec![part, shared])
        };
        let taken = tokio::select! {
            biased;
            own = self.reserve.clone().acquire_many_owned(bytes) => vec![own.ok()?],
            shared = shared => shared?,
        };
        Some(FrameRoom { _taken: taken })
    }

    /// Waits for room for a message of so many bytes, at most `CONTROL_BYTES_MAX`.
    ///
    /// Cancel-safe: it takes nothing before it returns.
    pub(crate) async fn take_control(&self, bytes: usize) -> Option<FrameRoom> {
        let bytes = u32::try_from(bytes.clamp(CONTROL_LEAST_BYTES, CONTROL_ROOM_BYTES)).ok()?;
        Some(FrameRoom { _taken: vec![self.control.clone().acquire_many_owned(bytes).await.ok()?] })
    }

    /// A place for a call of this neighbour that has not said hello; `None`: it has as many as it may.
    pub(crate) fn set_up(&self) -> Option<OwnedSemaphorePermit> {
        self.setups.clone().try_acquire_owned().ok()
    }

    /// Bytes that are free of the reserve and of the neighbour's part.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.reserve.available_permits() + self.part.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use tally_protocol::limits::BATCH_BYTES_MAX;

    #[test]
    fn messages_of_one_neighbour_wait_for_each_other_and_for_nobody_else() {
        let room = Room::new();
        let (greedy, honest) = (room.of("350102".parse().unwrap()), room.of("350103".parse().unwrap()));
        let mut held = Vec::new();
        while let Some(taken) = now(greedy.take_control(1)) {
            held.push(taken);
        }
        assert_eq!(held.len(), CONTROL_ROOM_BYTES / CONTROL_LEAST_BYTES, "small ones are counted too");
        assert!(now(honest.take_control(CONTROL_ROOM_BYTES)).is_some());
        drop(held);
        assert!(now(greedy.take_control(CONTROL_ROOM_BYTES)).is_some(), "one of any size finds room");
    }

    fn now(taking: impl Future<Output = Option<FrameRoom>>) -> Option<FrameRoom> {
        match pin!(taking).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(room) => room,
            Poll::Pending => None,
        }
    }

    #[test]
    fn whatever_others_hold_a_neighbour_has_room_for_one_batch() {
        let room = Room::new();
        let division = |n: u32| format!("3501{n:02}").parse::<Division>().unwrap();
        let mut held = Vec::new();
        // Each takes all that it gets, over as many links as it likes.
        for n in 1..40 {
            while let Some(taken) = now(room.of(division(n)).take(BATCH_BYTES_MAX)) {
                held.push(taken);
            }
        }
        let bytes = held.len() * BATCH_BYTES_MAX;
        assert!(bytes <= ROOM_BYTES + 39 * RESERVE_BYTES, "{bytes} bytes are out");
        let honest = room.of(division(40));
        let first = now(honest.take(BATCH_BYTES_MAX)).expect("the reserve of a neighbour that has nothing yet");
        assert!(now(honest.take(BATCH_BYTES_MAX)).is_none(), "more than the reserve was not free");
        drop(first);
        assert!(now(honest.take(BATCH_BYTES_MAX)).is_some(), "what reached the disk is free again");
    }

    #[test]
    fn one_neighbour_alone_takes_its_part_and_no_more() {
        let room = Room::new();
        let greedy = room.of("350102".parse().unwrap());
        let mut held = Vec::new();
        while let Some(taken) = now(greedy.take(1 << 20)) {
            held.push(taken);
        }
        assert_eq!(held.len(), (RESERVE_BYTES >> 20) + (NEIGHBOUR_ROOM_BYTES >> 20));
    }
}
