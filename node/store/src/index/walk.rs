//! Every record that is held, once: as the log says that the route names, else the lowest that holds it.

use super::{EngineError, InForce, IndexEntry, query::each_record};
use std::ops::ControlFlow;
use tally_protocol::{ids::LogId, record::RecordId};

/// Hands over every record with that log, in the order of the ids.
///
/// # Errors
/// The engine's, and those of `take`.
pub fn walk(
    in_force: &InForce<'_>,
    mut take: impl FnMut(RecordId, LogId, &IndexEntry) -> Result<ControlFlow<()>, EngineError>,
) -> Result<(), EngineError> {
    each_record(in_force, |id, attested| match attested.first() {
        Some((log, e)) => take(id, *log, e),
        None => Ok(ControlFlow::Continue(())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{open, pairs};
    use tally_topology::{content::Dimensions, sample};

    #[test]
    fn each_record_comes_once_by_the_log_that_the_route_names() {
        let dir = tempfile::tempdir().unwrap();
        let opened = open(dir.path(), |_| true);
        let (city, county): (LogId, LogId) = ("350100/e1".parse().unwrap(), "350102/e1".parse().unwrap());
        // More than one page.
        let all = 4_096 + 3_u64;
        for n in 0..all {
            let id = RecordId::of(&n.to_be_bytes());
            // The city's log says that it had it first, which proves nothing.
            let entry = |sealed_at| IndexEntry {
                index: n,
                sealed_at,
                dimensions: Dimensions { division: if n == 7 { 350_102 } else { 350_100 }, ..Dimensions::default() },
                ..IndexEntry::default()
            };
            let mut two = pairs(id, city, &entry(9)).to_vec();
            two.extend(pairs(id, county, &entry(10)));
            two.sort_unstable();
            opened.engine.write(two).unwrap();
        }
        let charter = sample::charter("");
        let in_force = InForce::new(&*opened.engine, &charter);
        let (mut seen, mut of_county) = (0, Vec::new());
        walk(&in_force, |_, log, e| {
            seen += 1;
            if log == county {
                of_county.push(e.index);
            }
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        assert_eq!((seen, of_county), (all, vec![7]));
        let mut first = 0;
        walk(&in_force, |_, _, _| {
            first += 1;
            Ok(ControlFlow::Break(()))
        })
        .unwrap();
        assert_eq!(first, 1);
    }
}
