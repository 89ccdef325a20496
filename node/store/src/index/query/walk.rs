//! Every record that is held, by id, each with the positions at which logs hold it: read in the order in which they lie, some ten
//! thousand at a time, and then brought into that of the ids.

use super::{
    super::{
        Engine, EngineError, IndexEntry,
        entry::{self, Position},
        positions::{self, SAME_MAX},
    },
    Attested,
};
use std::ops::ControlFlow;
use tally_protocol::record::RecordId;

/// Records that are read together: at first, for whoever wants only a few, and at most, some 300 bytes each.
const FIRST: usize = 256;
const MOST: usize = 32_768;
/// Keys read at once.
const PAGE: usize = 4_096;

/// Hands over every record behind `after`, with the first position in each log that holds it, in the order of the logs.
pub(super) fn by_id(
    engine: &dyn Engine,
    after: Option<RecordId>,
    mut take: impl FnMut(RecordId, Attested) -> Result<ControlFlow<()>, EngineError>,
) -> Result<(), EngineError> {
    let (mut from, mut most) = (Vec::new(), FIRST);
    if let Some(id) = after {
        from = entry::Lookup::Record(id).prefix().to_vec();
    }
    loop {
        let (mut wanted, next) = positions_from(engine, from, most)?;
        wanted.sort_unstable();
        let mut records = Vec::with_capacity(wanted.len());
        positions::at_each(engine, &wanted, |log, id, e| records.push((id, log, e)))?;
        records.retain(|(id, ..)| after.is_none_or(|after| *id > after));
        records.sort_unstable_by_key(|(id, log, e)| (*id, *log, e.index));
        records.dedup_by_key(|(id, log, _)| (*id, *log));
        if each_of(records, &mut take)?.is_break() {
            return Ok(());
        }
        match next {
            Some(next) => from = next,
            None => return Ok(()),
        }
        most = (most * 4).min(MOST);
    }
}

/// Hands over records that are sorted by id.
fn each_of(
    records: Vec<(RecordId, tally_protocol::ids::LogId, IndexEntry)>,
    take: &mut impl FnMut(RecordId, Attested) -> Result<ControlFlow<()>, EngineError>,
) -> Result<ControlFlow<()>, EngineError> {
    let mut records = records.into_iter().peekable();
    while let Some((id, log, e)) = records.next() {
        let mut attested = vec![(log, e)];
        while let Some((_, log, e)) = records.next_if(|(next, ..)| *next == id) {
            attested.push((log, e));
        }
        if take(id, attested)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Positions to which the next keys lead, some `most`, and where the next ones begin. Those of one beginning of an id stay
/// together.
fn positions_from(
    engine: &dyn Engine,
    mut from: Vec<u8>,
    most: usize,
) -> Result<(Vec<Position>, Option<Vec<u8>>), EngineError> {
    let (mut found, mut last, mut same) = (Vec::<Position>::new(), None, 0);
    loop {
        let page = engine.scan(entry::RECORDS, &from, PAGE.min(most))?;
        for (key, _) in &page {
            let (Some(position), Some(beginning)) = (entry::position(key), entry::beginning(key)) else { continue };
            let before = last.replace((beginning, position.0));
            if found.len() >= most && before.is_some_and(|(b, _)| b != beginning) {
                return Ok((found, Some(key.clone())));
            }
            same = if before == last { same + 1 } else { 0 };
            if same < SAME_MAX {
                found.push(position);
            }
        }
        match page.last() {
            Some((key, _)) if page.len() == PAGE.min(most) => from = [key.as_slice(), &[0]].concat(),
            _ => return Ok((found, None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{open, pairs};
    use tally_protocol::{hash::Hash, ids::LogId};

    /// More than one reading, in two logs, some ids that begin alike, and one that a log holds very often.
    #[test]
    fn all_come_once_in_the_order_of_their_ids() {
        let dir = tempfile::tempdir().unwrap();
        let opened = open(dir.path(), |_| true);
        let engine = &*opened.engine;
        let logs: [LogId; 2] = ["350102/e1".parse().unwrap(), "350103/e1".parse().unwrap()];
        let mut expected = Vec::new();
        let mut put = |id: RecordId, log: LogId, index: u64| {
            let e = IndexEntry { index, ..IndexEntry::default() };
            engine.write(pairs(id, log, &e).to_vec()).unwrap();
            expected.push((id, log, index));
        };
        let alike = |n: u8| RecordId(Hash([[7; 8], [n; 8], [0; 8], [0; 8]].concat().try_into().unwrap()));
        for n in 0..1_500_u64 {
            let id = if n < 5 { alike(n as u8) } else { RecordId::of(&n.to_be_bytes()) };
            put(id, logs[0], n);
            if n.is_multiple_of(3) {
                put(id, logs[1], n / 3);
            }
        }
        for n in 0..100 {
            put(alike(4), logs[0], 2_000 + n);
        }
        expected.sort_unstable();
        expected.dedup_by_key(|(id, log, _)| (*id, *log));
        let all = |after: Option<RecordId>| {
            let mut seen = Vec::new();
            by_id(engine, after, |id, attested| {
                seen.extend(attested.into_iter().map(|(log, e)| (id, log, e.index)));
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
            seen
        };
        assert_eq!(all(None), expected);
        for after in [0, 1, 700, 1_999] {
            let id = expected[after].0;
            let behind: Vec<_> = expected.iter().copied().filter(|(other, ..)| *other > id).collect();
            assert_eq!(all(Some(id)), behind);
        }
        let mut first = None;
        by_id(engine, None, |id, _| {
            first = Some(id);
            Ok(ControlFlow::Break(()))
        })
        .unwrap();
        assert_eq!(first, Some(expected[0].0));
    }
}
