//! What is missing after all: holes by position, each named by the damaged place that may have held it.
//!
//! Records that are good anywhere on the disk are not missing, whatever else is damaged.

use super::{Damaged, DefectKind, Lack, Survey, Verifier, VerifyError, Walked, nothing_lost};
use std::collections::BTreeMap;
use tally_core::Place;
use tally_journal::{Position, ReadError};
use tally_protocol::ids::LogId;
use tally_store::entries::position;

impl Verifier<'_> {
    /// Batches that had to wait for the tree before them, then what is missing after all.
    pub(super) fn finish(mut self) -> Result<Survey, VerifyError> {
        let logs: Vec<_> = self.logs.keys().copied().collect();
        for log in logs {
            let waiting = self.logs.get_mut(&log).map(|w| std::mem::take(&mut w.waiting)).unwrap_or_default();
            for (start, end, place, bytes) in waiting {
                match self.logs.get(&log).and_then(|w| w.edges.get(&start)).cloned() {
                    Some(before) => self.batch(log, &before, start, end, place, bytes),
                    // The frames before it are lost, and with them the tree that its leaves would have to continue. Its
                    // checksum and its signature are what can be checked.
                    None => match self.reader.read_here(place) {
                        Ok(_) => {
                            self.report.frames += 1;
                            self.logs.entry(log).or_default().good(start, end, place);
                        }
                        Err(ReadError::Damaged { .. }) => self.bad(log, start, end, place, DefectKind::Altered, bytes),
                        Err(ReadError::Io { source, .. }) => {
                            self.trouble.get_or_insert(source);
                        }
                    },
                }
            }
        }
        match self.trouble.take() {
            Some(source) => Err(source.into()),
            None => Ok(self.name_what_is_missing()),
        }
    }

    fn name_what_is_missing(self) -> Survey {
        let Self { input, mut report, mut logs, places, nameless, apart, .. } = self;
        let origin = |log| input.charter.federation().origin(log);
        let mut lacks: BTreeMap<LogId, Vec<Lack>> = BTreeMap::new();
        let mut named = Vec::new();
        let copies = |(log, walked): (&LogId, &mut Walked)| {
            let mut copies = std::mem::take(&mut walked.copies);
            copies.sort_unstable_by_key(|c| (c.end, c.start, c.place));
            (*log, copies)
        };
        let copies = logs.iter_mut().map(copies).collect();
        let nothing = Walked::default();
        let mut all: Vec<_> = logs.keys().chain(input.held.keys()).copied().collect();
        all.sort_unstable();
        all.dedup();
        for log in all.into_iter().filter(|l| input.only.is_none_or(|only| only == *l)) {
            let walked = logs.get(&log).unwrap_or(&nothing);
            let size = input.held.get(&log).copied().unwrap_or(0).max(walked.edge.size());
            let tail = nameless.last().copied().unwrap_or((input.until, DefectKind::MissingFrame));
            let lack = lacks.entry(log).or_default();
            let mut add = |from, to, (place, kind): (Place, DefectKind), exact: bool| {
                lack.push(Lack { from, to, place: exact.then_some(place) });
                named.push(place);
                let Position { segment, offset } = position(place);
                let log = Some(origin(log));
                report.damaged.push(Damaged {
                    log,
                    from: Some(from),
                    to: Some(to),
                    index: Some(from),
                    segment,
                    offset,
                    kind,
                });
            };
            for (from, to) in walked.good.holes(size) {
                // Of the hole, what damaged frames say to have held; the rest lies where frames are no frames any more.
                let mut at = from;
                let mut inside: Vec<_> = walked.bad.iter().filter(|b| b.from >= from && b.to <= to).copied().collect();
                inside.sort_unstable_by_key(|b| (b.from, std::cmp::Reverse(b.place)));
                // A gap that was met before any damaged place: repaired copies stand out of order, so it lies behind.
                let seen_at = |at| match walked.gaps.range(..=at).next_back() {
                    Some((_, (_, DefectKind::MissingFrame))) | None => tail,
                    Some((_, seen)) => *seen,
                };
                for b in inside {
                    if b.from < at {
                        continue;
                    }
                    if b.from > at {
                        add(at, b.from, seen_at(at), false);
                    }
                    add(b.from, b.to, (b.place, b.kind), true);
                    at = b.to;
                }
                if at < to {
                    let beyond = at >= walked.edge.size();
                    add(at, to, if beyond { tail } else { seen_at(at) }, false);
                }
            }
            // Damaged copies of records that are good elsewhere.
            for b in walked.bad.iter().filter(|b| walked.good.covers(b.from, b.to)) {
                report.damaged.push(nothing_lost(b.place, b.kind));
            }
        }
        lacks.retain(|_, l| !l.is_empty());
        let unnamed = nameless.iter().filter(|(place, _)| !named.contains(place));
        report.damaged.extend(unnamed.map(|(place, kind)| nothing_lost(*place, *kind)));
        report.damaged.extend(apart);
        report.damaged.sort_by_key(|d| (d.segment, d.offset, d.from));
        Survey { report, lacks, copies, places }
    }
}
