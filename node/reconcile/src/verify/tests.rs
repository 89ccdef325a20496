//! Verify on journals that are whole, damaged, cut, or put together wrongly.

use super::*;
use std::{fs::OpenOptions, os::unix::fs::FileExt, path::Path};
use tally_core::{Append, Disk as _};
use tally_journal::{SEGMENT_BYTES, segment_path};
use tally_protocol::{batch::seal, canonical::Object, ids::Federation, keys::NodeKeys, record::Record};
use tally_store::entries::{EntryJournal, owner};
use tally_topology::admit::admit;

struct Made {
    dir: tempfile::TempDir,
    charter: Charter,
    places: Vec<Place>,
    until: Place,
    held: ClaimedSizes,
}

const BATCH: u64 = 20;

/// A journal with `n` batches of one log and nothing else.
fn made(n: usize) -> Made {
    let dir = tempfile::tempdir().unwrap();
    let f = Federation::try_from("t.example".to_owned()).unwrap();
    let keys = NodeKeys::derive(&f, "350102/e1".parse().unwrap(), &[7; 32]);
    let epoch = tally_topology::charter::epoch_entry(&keys);
    let heading =
        tally_topology::charter::heading(&f, 1, tally_protocol::keys::authority_signer(&f, &[2; 32]).public());
    let text = format!(
        "{heading}[[node]]\ndivision = \"350102\"\nname = \"n\"\n\
         level = \"county\"\n{epoch}"
    );
    let charter = Charter::parse(&text).unwrap();
    let (mut journal, _) =
        EntryJournal::open(&dir.path().join("journal"), &owner(&f, keys.node.division), SEGMENT_BYTES, |_, _, _| {})
            .unwrap();
    let (mut tree, mut places) = (Tree::default(), Vec::new());
    for b in 0..n {
        let record = |i| Record::new(&Object::parse(format!("{{\"n\":\"{b} {i}\"}}").as_bytes()).unwrap()).unwrap();
        let records: Vec<_> = (0..BATCH).map(record).collect();
        let batch = admit(&charter, keys.node, &tree, seal(&keys, &tree, &records, 1)).unwrap();
        tree = batch.tree().clone();
        places.extend(journal.append(&[Append::admitted(batch)]).unwrap());
    }
    journal.flush().unwrap();
    let held = ClaimedSizes::from([(keys.node, tree.size())]);
    let until = journal.durable();
    // A clean stop: the next start believes all of it where it stands.
    journal.into_journal().stop().unwrap();
    Made { until, dir, charter, places, held }
}

impl Made {
    fn journal(&self) -> std::path::PathBuf {
        self.dir.path().join("journal")
    }

    fn open(&self) -> (EntryJournal, tally_journal::Found) {
        let division = self.held.keys().next().unwrap().division;
        let own = owner(self.charter.federation(), division);
        EntryJournal::open(&self.journal(), &own, SEGMENT_BYTES, |_, _, _| {}).unwrap()
    }

    fn report(&self) -> VerifyReport {
        self.survey().report
    }

    fn survey(&self) -> Survey {
        self.go_on(&Watermark::default(), &mut |_, _| Ok(())).unwrap()
    }

    fn go_on(&self, before: &Watermark, before_frame: BeforeFrame<'_>) -> Result<Survey, VerifyError> {
        let reader = EntryReader::new(self.journal());
        let (until, charter, held) = (self.until, &self.charter, &self.held);
        verify(
            &reader,
            VerifyInput { until, charter, held, known_damage: &[], dead: &[], only: None, before },
            before_frame,
        )
    }

    fn overwrite(&self, offset: u64, bytes: &[u8]) {
        let path = segment_path(&self.journal(), 1);
        OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, offset).unwrap();
    }

    fn byte(&self, offset: u64) -> u8 {
        let mut b = [0];
        std::fs::File::open(segment_path(&self.journal(), 1)).unwrap().read_exact_at(&mut b, offset).unwrap();
        b[0]
    }
}

fn ranges(report: &VerifyReport) -> Vec<(u64, u64, DefectKind)> {
    report.damaged.iter().map(|d| (d.from.unwrap(), d.to.unwrap(), d.kind)).collect()
}

#[test]
fn a_sound_journal_has_nothing_to_report() {
    let made = made(5);
    let report = made.report();
    assert_eq!((report.frames, report.records, report.damaged.len()), (5, 5 * BATCH, 0));
    assert_eq!(report.bytes, position(made.until).offset - position(made.places[0]).offset);
}

/// One byte of one frame, wherever it lies: exactly that batch is named, with its place.
#[test]
fn any_altered_byte_names_its_batch_and_no_other() {
    let made = made(5);
    let (from, to) = (position(made.places[2]).offset, position(made.places[3]).offset);
    for offset in (from..to).step_by(7) {
        let old = made.byte(offset);
        made.overwrite(offset, &[old ^ 0x10]);
        let report = made.report();
        let named: Vec<_> = report.damaged.iter().map(|d| (d.from, d.to, d.segment)).collect();
        assert_eq!(named, [(Some(2 * BATCH), Some(3 * BATCH), 1)], "offset {offset}: {report:?}");
        assert_eq!(report.damaged[0].offset, from);
        made.overwrite(offset, &[old]);
    }
    assert!(made.report().damaged.is_empty());
}

#[test]
fn what_is_gone_is_named_by_position() {
    let made = made(5);
    let path = segment_path(&made.journal(), 1);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(position(made.places[4]).offset + 30).unwrap();
    assert_eq!(ranges(&made.report()), [(4 * BATCH, 5 * BATCH, DefectKind::Truncated)]);
    file.set_len(position(made.places[3]).offset).unwrap();
    assert_eq!(ranges(&made.report()), [(3 * BATCH, 5 * BATCH, DefectKind::Truncated)]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(ranges(&made.report()), [(0, 5 * BATCH, DefectKind::MissingSegment)]);
    assert!(!Path::new(&path).exists());
}

/// A frame that was written anew with good checksums, by somebody without the key.
#[test]
fn a_forged_frame_is_seen_by_its_signature_or_root() {
    let real = made(2);
    let f = Federation::try_from("t.example".to_owned()).unwrap();
    let keys = NodeKeys::derive(&f, "350102/e1".parse().unwrap(), &[8; 32]);
    let epoch = tally_topology::charter::epoch_entry(&keys);
    let heading =
        tally_topology::charter::heading(&f, 1, tally_protocol::keys::authority_signer(&f, &[2; 32]).public());
    let text = format!(
        "{heading}[[node]]\ndivision = \"350102\"\nname = \"n\"\n\
         level = \"county\"\n{epoch}"
    );
    // The same bytes under a charter that names other keys: nothing of it is signed any more.
    let other = Made { charter: Charter::parse(&text).unwrap(), ..real };
    let report = other.report();
    assert_eq!(report.records, 0);
    assert!(report.damaged.iter().any(|d| d.kind == DefectKind::Signature), "{report:?}");
}

/// A sealed segment that was cut: its length tells, also where it ends exactly at a frame, and where less is gone than a
/// frame takes. Mended, it is whole.
#[test]
fn a_sealed_segment_that_was_cut_is_named_though_no_record_is_lost() {
    for cut in [0, 30, 70, 71] {
        let made = made(3);
        let (mut journal, _) = made.open();
        let (log, holder) = ("350102/e1".parse().unwrap(), "350100/e1".parse().unwrap());
        let receipt = Append::receipt(log, holder, 7, 1, "x".into());
        let place = position(journal.append(&[receipt]).unwrap()[0]);
        journal.flush().unwrap();
        journal.journal().leave(1).unwrap();
        let made = Made { until: journal.durable(), ..made };
        let before = made.report();
        assert!(before.damaged.is_empty(), "{before:?}");
        let path = segment_path(&made.journal(), 1);
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(place.offset + cut).unwrap();
        let survey = made.survey();
        let named: Vec<_> = survey.report.damaged.iter().map(|d| (d.segment, d.offset, d.from, d.kind)).collect();
        assert_eq!(named, [(1, place.offset, None, DefectKind::Truncated)], "{cut}");
        for place in &survey.places {
            journal.journal().mend(place, "test").unwrap();
        }
        let made = Made { until: journal.durable(), ..made };
        assert!(made.report().damaged.is_empty(), "{cut}: {:?}", made.report());
    }
}

/// Frames of logs that only a newer charter knows, which was lost: they are named, and no repair touches them.
#[test]
fn what_the_charter_does_not_know_is_named_and_left_alone() {
    let made = made(3);
    let f = Federation::try_from("t.example".to_owned()).unwrap();
    let keys = NodeKeys::derive(&f, "350103/e1".parse().unwrap(), &[8; 32]);
    let epoch = tally_topology::charter::epoch_entry(&keys);
    let heading =
        tally_topology::charter::heading(&f, 1, tally_protocol::keys::authority_signer(&f, &[2; 32]).public());
    let text = format!(
        "{heading}[[node]]\ndivision = \"350103\"\nname = \"n\"\n\
         level = \"county\"\n{epoch}"
    );
    let older = Made { charter: Charter::parse(&text).unwrap(), held: ClaimedSizes::new(), ..made };
    let survey = older.survey();
    assert!(survey.report.damaged.iter().all(|d| d.kind == DefectKind::NotInCharter && d.log.is_none()));
    assert_eq!((survey.report.damaged.len(), survey.places.len(), survey.lacks.len()), (3, 0, 0));
}

/// What lies beyond the end of a closed epoch does not count: it is called that, whether it can be read or not, and is no damage.
#[test]
fn a_closed_branch_is_no_damage() {
    let made = made(4);
    let head = EntryReader::new(made.journal()).head(made.places[1]).unwrap();
    let tally_core::Entry::Batch { log, tree, .. } = head else { panic!("{head:?}") };
    let f = made.charter.federation().clone();
    let keys = |epoch: u32| NodeKeys::derive(&f, LogId::records(log.division, epoch), &[6 + epoch as u8; 32]);
    let authority = tally_protocol::keys::authority_signer(&f, &[2; 32]);
    let text = tally_topology::charter::heading(&f, 1, authority.public())
        + "[[node]]\ndivision = \"350102\"\nname = \"n\"\nlevel = \"county\"\n"
        + &tally_topology::charter::epoch_entry(&keys(1));
    let ends = [(log, tree.size(), tree.root())];
    let next = tally_protocol::request::ProposedKeys::of(&keys(2));
    let text = tally_topology::charter::with_next_epoch(&text, &ends, &next).unwrap();
    let held = ClaimedSizes::from([(log, tree.size())]);
    let made = Made { charter: Charter::parse(&text).unwrap(), held, ..made };
    // The last byte of the third batch.
    let at = position(made.places[3]).offset - 1;
    made.overwrite(at, &[!made.byte(at)]);
    let report = made.report();
    assert!(report.damaged.is_empty(), "{report:?}");
    let beyond: Vec<_> = report.closed_branch.iter().map(|b| (b.from, b.to, b.readable)).collect();
    assert_eq!(beyond, [(2 * BATCH, 3 * BATCH, false), (3 * BATCH, 4 * BATCH, true)]);
    assert_eq!((report.frames, report.records), (3, 2 * BATCH));
}
