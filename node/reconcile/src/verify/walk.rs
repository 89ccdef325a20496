//! The walk through the segments: every frame's head in journal order, and what is damaged so that it names no log.
//!
//! Heads say where each batch belongs; whether its content holds is checked in `check`. It must not rely on caches or on the
//! index.

use super::{
    BeforeFrame, ClosedBranch, DefectKind, LateReceipt, Stopped, Verifier, VerifyError, nothing_lost, numbers,
};
use tally_core::{Entry, Place};
use tally_journal::{Damage, DamageKind, HEAD_BYTES, Position, ReadError, Step, Walk};
use tally_protocol::{checkpoint::Checkpoint, ids::LogId, merkle::Tree};
use tally_store::entries::{self, position};

impl Verifier<'_> {
    pub(super) fn segment(
        &mut self,
        segment: u32,
        walk: &mut Walk,
        before_frame: BeforeFrame<'_>,
    ) -> Result<(), VerifyError> {
        self.lengths.insert(segment, walk.bytes());
        if !walk.head_holds() {
            self.nameless(Damage { segment, offset: 0, bytes: 0, kind: DamageKind::Header });
        }
        let mut bad_until = 0;
        while let Some(step) = walk.step() {
            match step {
                Step::Frame { head, at, end } => {
                    let bytes = end - at.offset;
                    if self.bodies {
                        before_frame(bytes, &self.watermark).map_err(|Stopped| VerifyError::Stopped)?;
                        self.report.bytes += bytes;
                    }
                    self.frame(entries::decode(&head), entries::place(at), bytes);
                    if let Some(source) = self.trouble.take() {
                        return Err(source.into());
                    }
                }
                Step::Bad(d) => {
                    if self.bodies {
                        self.report.bytes += d.bytes;
                    }
                    bad_until = d.offset + d.bytes;
                    self.nameless(d);
                }
            }
        }
        // A frame that runs beyond the end has been named already.
        if let Some((offset, bytes)) = walk.cut_off().filter(|(end, _)| *end != bad_until) {
            self.nameless(Damage { segment, offset, bytes, kind: DamageKind::Truncated });
        }
        Ok(())
    }

    /// Sealed segments that are shorter than they were, and whose end is not damaged otherwise.
    pub(super) fn cut_segments(&mut self) {
        let last = position(self.input.until).segment;
        for (segment, end) in std::mem::take(&mut self.lengths) {
            let told = match self.reader.sealed_length(segment) {
                Ok(told) => told.filter(|told| end < *told && segment < last),
                Err(e) => {
                    self.trouble.get_or_insert(e);
                    return;
                }
            };
            let Some(told) = told else { continue };
            let touches = |d: &&mut Damage| d.segment == segment && d.offset <= end && d.offset + d.bytes >= end;
            match self.places.iter_mut().find(touches) {
                // One place: what is left of a frame and what is gone of it are mended together.
                Some(d) => d.bytes = told - d.offset,
                // Less than a frame takes cannot have been one, and no filler fits there: as at a start, it is nothing.
                None if told - end < HEAD_BYTES as u64 => {}
                None => self.nameless(Damage { segment, offset: end, bytes: told - end, kind: DamageKind::Truncated }),
            }
        }
    }

    pub(super) fn nameless(&mut self, d: Damage) {
        self.nameless.push((place_of(&d), kind_of(d.kind)));
        self.places.push(d);
    }

    fn frame(&mut self, entry: Option<Entry>, place: Place, bytes: u64) {
        match entry {
            Some(Entry::Batch { log, start, tree, note, .. }) => {
                self.batch_frame(log, start, tree, &note, place, bytes);
            }
            Some(Entry::Receipt { log, holder, size, line, .. }) => {
                let receipt = LateReceipt { log, holder, size, line, place, bytes };
                if self.logs.get(&log).is_some_and(|w| w.roots.contains_key(&size)) {
                    self.receipt(&receipt);
                } else {
                    self.receipts.push(receipt);
                }
            }
            Some(Entry::Freeze { .. } | Entry::Charter { .. } | Entry::Seen { .. }) | None => self.report.frames += 1,
        }
    }

    fn batch_frame(&mut self, log: LogId, start: u64, tree: Tree, note: &str, place: Place, bytes: u64) {
        let (charter, end) = (self.input.charter, tree.size());
        // What no key is known for cannot be checked; it is not touched either.
        let Some(key) = charter.log_key(log) else {
            self.apart.push(nothing_lost(place, DefectKind::NotInCharter));
            return;
        };
        // Records beyond the end of a closed epoch, or in a history that it was not closed with, do not count, and are not
        // missed: what could be read of them was carried over, and what could not is listed as lost.
        let beyond = charter.closed_at(log).is_some_and(|(last, _)| end > last);
        if beyond || self.input.dead.iter().any(|(of, from, to)| *of == log && *from <= start && end <= *to) {
            let readable = match self.reader.read_here(place) {
                Ok(_) => true,
                Err(ReadError::Damaged { .. }) => false,
                Err(ReadError::Io { source, .. }) => {
                    self.trouble.get_or_insert(source);
                    return;
                }
            };
            self.report.frames += u64::from(readable);
            let (segment, offset) = numbers(place);
            let log = charter.federation().origin(log);
            self.report.closed_branch.push(ClosedBranch { log, from: start, to: end, segment, offset, readable });
            return;
        }
        let signed = Checkpoint::open(note, &key).ok();
        let tree = Some(tree).filter(|t| signed.is_some_and(|c| (c.size, c.root) == (end, t.root())));
        let mut last = self.nameless.last().copied();
        let walked = self.logs.entry(log).or_default();
        let Some(tree) = tree else {
            self.bad(log, start, end, place, DefectKind::Signature, bytes);
            return;
        };
        let size = walked.edge.size();
        let before = match start {
            0 => Some(Tree::default()),
            _ if start == size => Some(walked.edge.clone()),
            _ => walked.edges.get(&start).cloned(),
        };
        if start > size {
            walked.gaps.entry(size).or_insert_with(|| last.take().unwrap_or((place, DefectKind::MissingFrame)));
            walked.edges.insert(size, walked.edge.clone());
        }
        walked.roots.insert(end, tree.root());
        if end > size {
            walked.edge = tree;
        } else {
            walked.edges.insert(end, tree);
        }
        let read = self.bodies && self.input.only.is_none_or(|only| only == log);
        match before {
            before if !read => {
                if self.input.before.bad.contains(&numbers(place)) {
                    walked.edges.extend(before.map(|tree| (start, tree)));
                    self.bad(log, start, end, place, DefectKind::Altered, bytes);
                } else {
                    walked.good(start, end, place);
                    self.report.frames += 1;
                }
            }
            Some(before) => self.batch(log, &before, start, end, place, bytes),
            None => walked.waiting.push((start, end, place, bytes)),
        }
    }
}

fn kind_of(kind: DamageKind) -> DefectKind {
    match kind {
        DamageKind::Unreadable | DamageKind::Altered => DefectKind::Unreadable,
        DamageKind::Truncated => DefectKind::Truncated,
        DamageKind::Refused => DefectKind::UnreadableFile,
        DamageKind::Header => DefectKind::SegmentHeader,
        DamageKind::Missing => DefectKind::MissingSegment,
    }
}

fn place_of(d: &Damage) -> Place {
    entries::place(Position { segment: d.segment, offset: d.offset })
}
