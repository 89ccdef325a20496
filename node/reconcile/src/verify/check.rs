//! The content of frames: batches by `admit()`, the door they came in by, and receipts by their holder's key.
//!
//! What the system refuses to read, for want of memory or descriptors, is no damage: then nothing is said at all.

use super::{Bad, DefectKind, LateReceipt, Verifier, nothing_lost};
use tally_core::Place;
use tally_journal::{Damage, DamageKind, Position, ReadError};
use tally_protocol::{checkpoint::Checkpoint, ids::LogId, merkle::Tree, note::NoteSignature};
use tally_store::entries::position;
use tally_topology::admit::{AdmitError, admit};

impl Verifier<'_> {
    /// Reads a batch and checks it as if it came in now.
    pub(super) fn batch(&mut self, log: LogId, before: &Tree, start: u64, end: u64, place: Place, bytes: u64) {
        // A copy that stands elsewhere continues from the same edge.
        self.logs.entry(log).or_default().edges.insert(start, before.clone());
        let frame = match self.reader.read_here(place) {
            Ok(frame) => frame,
            Err(ReadError::Io { source, .. }) => {
                self.trouble.get_or_insert(source);
                return;
            }
            Err(ReadError::Damaged { .. }) => return self.bad(log, start, end, place, DefectKind::Altered, bytes),
        };
        match admit(self.input.charter, log, before, frame.body) {
            Ok(batch) if batch.end() == end => {
                self.good(log, start, end, place);
                self.logs.entry(log).or_default().edges.remove(&start);
            }
            Err(AdmitError::Root { .. }) => self.bad(log, start, end, place, DefectKind::Root, bytes),
            Err(AdmitError::Checkpoint(_) | AdmitError::Cosignature(_)) => {
                self.bad(log, start, end, place, DefectKind::Signature, bytes);
            }
            Ok(_) | Err(_) => self.bad(log, start, end, place, DefectKind::Altered, bytes),
        }
    }

    fn good(&mut self, log: LogId, start: u64, end: u64, place: Place) {
        self.report.frames += 1;
        self.report.records += end - start;
        self.logs.entry(log).or_default().good(start, end, place);
    }

    pub(super) fn bad(&mut self, log: LogId, from: u64, to: u64, place: Place, kind: DefectKind, bytes: u64) {
        let Position { segment, offset } = position(place);
        self.places.push(Damage { segment, offset, bytes, kind: DamageKind::Altered });
        if !self.watermark.bad.contains(&(segment, offset)) {
            self.watermark.bad.push((segment, offset));
        }
        self.logs.entry(log).or_default().bad.push(Bad { from, to, place, kind });
    }

    pub(super) fn late_receipts(&mut self) {
        for receipt in std::mem::take(&mut self.receipts) {
            if self.logs.get(&receipt.log).is_some_and(|w| w.roots.contains_key(&receipt.size)) {
                self.receipt(&receipt);
            } else {
                // Its batch is damaged or gone, which is reported there.
                self.report.frames += 1;
            }
        }
    }

    pub(super) fn receipt(&mut self, r: &LateReceipt) {
        let charter = self.input.charter;
        let Some(root) = self.logs.get(&r.log).and_then(|w| w.roots.get(&r.size)).copied() else { return };
        let text = Checkpoint { origin: charter.federation().origin(r.log), size: r.size, root }.text();
        let line = r.line.strip_suffix('\n').map(NoteSignature::parse);
        let Some(holder) = charter.epoch(r.holder) else {
            self.apart.push(nothing_lost(r.place, DefectKind::NotInCharter));
            return;
        };
        let holds = matches!(line, Some(Ok(line)) if line.verify(&holder.mirror, &text).is_ok());
        if holds {
            self.report.frames += 1;
        } else {
            let Position { segment, offset } = position(r.place);
            self.nameless.push((r.place, DefectKind::Signature));
            self.places.push(Damage { segment, offset, bytes: r.bytes, kind: DamageKind::Altered });
        }
    }
}
