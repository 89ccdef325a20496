//! What stands behind the record that was found last: rows that are handed in again mostly come in the order in which they were
//! sealed, so each is found without being looked for. It only guesses; whoever asks compares.

use super::{Engine, EngineError, IndexEntry, chunk::CHUNK, entry::Position, positions};
use tally_protocol::{ids::LogId, record::RecordId};

/// The place behind the last record that was found, and what stands there and after it.
#[derive(Debug, Default)]
pub(super) struct Beside {
    next: Option<Position>,
    /// What was read from there on, in the order of a log.
    read: std::collections::VecDeque<(RecordId, IndexEntry)>,
}

impl Beside {
    /// The record that stands behind the last one that was found, if the index has it.
    ///
    /// # Errors
    /// The engine's.
    pub(super) fn next(&mut self, engine: &dyn Engine) -> Result<Option<(LogId, RecordId, &IndexEntry)>, EngineError> {
        let Some((log, index)) = self.next else { return Ok(None) };
        if self.read.is_empty() {
            let until = index - index % CHUNK + CHUNK;
            let positions: Vec<_> = (index..until).map(|index| (log, index)).collect();
            let read = &mut self.read;
            positions::at_each(engine, &positions, |_, id, e| read.push_back((id, e)))?;
            if self.read.is_empty() {
                self.next = None;
            }
        }
        Ok(self.read.front().map(|(id, e)| (log, *id, e)))
    }

    /// A record was found there.
    pub(super) fn found(&mut self, (log, index): Position) {
        if self.next == Some((log, index)) {
            self.read.pop_front();
        } else {
            self.read.clear();
        }
        self.next = Some((log, index + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{open, pairs};

    #[test]
    fn what_stands_behind_is_what_the_log_has_there() {
        let dir = tempfile::tempdir().unwrap();
        let opened = open(dir.path(), |_| true);
        let engine = &*opened.engine;
        let log: LogId = "350102/e1".parse().unwrap();
        let id = |n: u64| RecordId::of(&n.to_be_bytes());
        for n in 0..2 * CHUNK + 5 {
            engine.write(pairs(id(n), log, &IndexEntry { index: n, ..IndexEntry::default() }).to_vec()).unwrap();
        }
        let mut beside = Beside::default();
        assert!(beside.next(engine).unwrap().is_none(), "nothing was found yet");
        for n in (0..2 * CHUNK + 4).chain([17, 18, CHUNK - 1, CHUNK]) {
            beside.found((log, n));
            let next = beside.next(engine).unwrap().map(|(log, id, e)| (log, id, e.index));
            assert_eq!(next, Some((log, id(n + 1), n + 1)));
        }
        beside.found((log, 2 * CHUNK + 4));
        assert!(beside.next(engine).unwrap().is_none(), "the log ends there");
        // It has grown since.
        let n = 2 * CHUNK + 5;
        engine.write(pairs(id(n), log, &IndexEntry { index: n, ..IndexEntry::default() }).to_vec()).unwrap();
        beside.found((log, n - 1));
        assert_eq!(beside.next(engine).unwrap().map(|(_, id, _)| id), Some(id(n)));
    }
}
