//! Every record that is held, once: as the log says that attested it first.

use super::{Engine, EngineError, IndexEntry, entry::read_record};
use std::ops::ControlFlow;
use tally_protocol::{ids::LogId, record::RecordId};

/// Index pairs read at once.
const PAGE: usize = 4_096;

/// Hands over every record with the log that had it first, in the order of the ids.
///
/// # Errors
/// The engine's.
pub fn walk(
    engine: &dyn Engine,
    mut take: impl FnMut(RecordId, LogId, &IndexEntry) -> ControlFlow<()>,
) -> Result<(), EngineError> {
    let mut open: Option<(RecordId, LogId, IndexEntry)> = None;
    let mut from = b"r".to_vec();
    loop {
        let page = engine.scan(b"r", &from, PAGE)?;
        for (key, value) in &page {
            let Some((id, log, e)) = read_record(key, value) else { continue };
            match &mut open {
                Some((same, first, held)) if *same == id => {
                    if (e.sealed_at, log) < (held.sealed_at, *first) {
                        (*first, *held) = (log, e);
                    }
                }
                _ => {
                    if let Some((id, log, e)) = open.replace((id, log, e))
                        && take(id, log, &e).is_break()
                    {
                        return Ok(());
                    }
                }
            }
        }
        match page.last() {
            Some((key, _)) if page.len() == PAGE => from = [key.as_slice(), &[0]].concat(),
            _ => break,
        }
    }
    if let Some((id, log, e)) = open {
        let _ = take(id, log, &e);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{EngineName, open, pairs};

    #[test]
    fn each_record_comes_once_by_the_path_that_had_it_first() {
        let dir = tempfile::tempdir().unwrap();
        let opened = open(dir.path(), EngineName::Fjall, |_| true).unwrap();
        let (city, county): (LogId, LogId) = ("350100/e1".parse().unwrap(), "350102/e1".parse().unwrap());
        let all = PAGE as u64 + 3;
        for n in 0..all {
            let id = RecordId::of(&n.to_be_bytes());
            let entry = |sealed_at| IndexEntry { index: n, sealed_at, ..IndexEntry::default() };
            let mut two = pairs(id, city, &entry(9)).to_vec();
            two.extend(pairs(id, county, &entry(if n == 7 { 8 } else { 10 })));
            two.sort_unstable();
            opened.engine.write(two).unwrap();
        }
        let (mut seen, mut of_county) = (0, Vec::new());
        walk(&*opened.engine, |_, log, e| {
            seen += 1;
            if log == county {
                of_county.push(e.index);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!((seen, of_county), (all, vec![7]));
        let mut first = 0;
        walk(&*opened.engine, |_, _, _| {
            first += 1;
            ControlFlow::Break(())
        })
        .unwrap();
        assert_eq!(first, 1);
    }
}
