//! Evidence files: written, read by a stranger, and changed one byte at a time.

use super::*;
use crate::{
    charter::tests::{document, epoch, federation, keys, sample},
    signed::sign,
};
use tally_protocol::{
    keys::{Algorithm, NodeKeys, Signer},
    merkle::{FullTree, Tree, leaf_hash, proof::inclusion},
    note::cosign_line,
};

const COUNTY: &str = "350102/e1";
const CITY: &str = "350100/e1";
const PROVINCE: &str = "350000/e1";
const TIME: u64 = 1_790_000_000;

fn authority() -> Signer {
    Signer::new(federation().authority_name(), Algorithm::Ed25519, &[1; 32])
}

fn charter(version: u64, nodes: &[String]) -> SignedCharter {
    SignedCharter::open(&sign(&document(version, nodes), &authority()).unwrap(), authority().public()).unwrap()
}

fn entry(n: u64) -> String {
    format!("{{\"企业\":\"{n}\"}}")
}

/// A log as its origin signs it.
struct Log {
    keys: NodeKeys,
    nodes: FullTree,
    tree: Tree,
}

impl Log {
    fn of(keys: NodeKeys, size: u64) -> Self {
        let mut log = Self { keys, nodes: FullTree::default(), tree: Tree::default() };
        (0..size).for_each(|n| log.push(n));
        log
    }

    fn push(&mut self, n: u64) {
        let leaf = leaf_hash(entry(n).as_bytes());
        self.nodes.push(leaf);
        self.tree.push(leaf);
    }

    /// The proof of record `index` at size `size`, cosigned by `holder` if that is not the origin.
    fn proof(&self, index: u64, size: u64, holder: &NodeKeys, time: u64) -> (LogId, TlogProof) {
        let root = tally_protocol::merkle::proof::range_hash(&self.nodes, 0, size).unwrap();
        let checkpoint = Checkpoint { origin: self.keys.log.public().name().to_owned(), size, root };
        let mut note = checkpoint.seal(&self.keys, TIME);
        if holder.node != self.keys.node {
            note += &cosign_line(&checkpoint.text(), time, &holder.mirror);
        }
        (holder.node, TlogProof { index, path: inclusion(&self.nodes, index, size).unwrap(), note })
    }

    /// Record 3, in a batch that ends at 5, on disk above with 5 and 8 records.
    fn parts(&self) -> Parts {
        // In no particular order: the file has one.
        let proofs = vec![
            self.proof(3, 8, &keys(PROVINCE), TIME + 90),
            self.proof(3, 5, &keys(COUNTY), TIME),
            self.proof(3, 5, &keys(CITY), TIME + 2),
        ];
        Parts { record: entry(3), log: self.keys.node, proofs, closing: None }
    }
}

fn good() -> String {
    write(Log::of(keys(COUNTY), 8).parts(), &charter(1, &sample())).unwrap()
}

fn open(text: &str) -> Result<Verified, Failed> {
    verify(text.as_bytes(), authority().public())
}

fn step(text: &str) -> String {
    open(text).unwrap_err().step.to_string()
}

/// The same file with a last line that fits: what somebody writes who knows the format and has no key.
fn resealed(text: &str) -> String {
    let before = &text[..text.rfind("sha256 ").unwrap()];
    format!("{before}sha256 {}\n", sha256(&[before.as_bytes()]))
}

#[test]
fn a_file_proves_the_record_at_each_level() {
    let text = good();
    let v = open(&text).unwrap();
    assert_eq!((v.record.as_str(), v.index, v.charter_version), (entry(3).as_str(), 3, 1));
    assert_eq!((v.id, v.origin.as_str()), (RecordId::of(entry(3).as_bytes()), "t.example/350102/e1"));
    let held: Vec<_> = v.held_by.iter().map(|h| (h.division.code(), h.level, h.size, h.time)).collect();
    assert_eq!(
        held,
        [
            (350_102, Level::County, 5, TIME),
            (350_100, Level::Prefecture, 5, TIME + 2),
            (350_000, Level::Province, 8, TIME + 90)
        ]
    );
    assert!(text.contains("held by  350100 prefecture 350100, by 2026-09-21T14:13:22Z, with 5 records of this log\n"));
    let other = Signer::new(federation().authority_name(), Algorithm::Ed25519, &[2; 32]);
    assert_eq!(verify(text.as_bytes(), other.public()).unwrap_err().step, EvidenceStep::CharterSignature);
}

/// Every byte of the file, with one bit flipped: it fails, and the step that fails fits the part.
#[test]
fn every_flipped_byte_fails() {
    let text = good();
    let mut steps = std::collections::BTreeSet::new();
    for i in 0..text.len() {
        let mut bad = text.clone().into_bytes();
        bad[i] ^= 1 << (i % 8);
        let failed = verify(&bad, authority().public()).expect_err("a flipped byte");
        steps.insert(failed.step.to_string());
    }
    let all = [
        "form",
        "charter_signature",
        "record",
        "checkpoint_signature 350100",
        "inclusion 350000",
        "cosignature 350102",
        "digest",
    ];
    for step in all {
        assert!(steps.contains(step), "{step} in {steps:?}");
    }
    for cut in [0, 1, text.len() / 2, text.len() - 1] {
        assert!(open(&text[..cut]).is_err());
    }
    assert!(open(&(text.clone() + "\n")).is_err() && open(&(text + &"x".repeat(EVIDENCE_BYTES_MAX))).is_err());
}

/// Whoever knows the format can make the last line fit; what is signed and what follows from it they cannot change.
#[test]
fn a_rewritten_file_fails_where_it_lies() {
    let text = good();
    let altered = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        step(&resealed(&text.replace(from, to)))
    };
    assert_eq!(altered("合符证明文件", "合符証明文件"), "form");
    assert_eq!(altered("held by  350100 prefecture", "held by  350100 province"), "form");
    assert_eq!(altered("by 2026-09-21T14:13:22Z", "by 2026-09-20T14:13:22Z"), "form");
    assert_eq!(altered("\nindex    3\n", "\nindex    4\n"), "form");
    assert_eq!(altered("{\"企业\":\"3\"}", "{\"企业\":\"4\"}"), "record");
    assert_eq!(altered("version = 1", "version = 2"), "charter_signature");
    assert_eq!(altered("\nindex 3\n", "\nindex 4\n"), "inclusion 350102");
    assert_eq!(altered("\n8\n", "\n9\n"), "checkpoint_signature 350000");
    assert_eq!(
        altered("BEGIN TLOG PROOF t.example/350000/e1", "BEGIN TLOG PROOF t.example/350128/e1"),
        "cosignature 350128"
    );
    // Another record of the log, with its own id named: its proof is missing.
    let other = entry(4);
    let swapped = text
        .replace(&entry(3), &other)
        .replace(&RecordId::of(entry(3).as_bytes()).to_string(), &RecordId::of(other.as_bytes()).to_string());
    assert_eq!(step(&resealed(&swapped)), "inclusion 350102");
    // A part cut out whole.
    let from = text.find("-----BEGIN TLOG PROOF t.example/350100").unwrap();
    let to = text.find("-----BEGIN TLOG PROOF t.example/350000").unwrap();
    assert_eq!(step(&resealed(&(text[..from].to_owned() + &text[to..]))), "form");
}

#[test]
fn only_what_verifies_is_written() {
    let log = Log::of(keys(COUNTY), 8);
    let charter = charter(1, &sample());
    let refused = |change: &dyn Fn(&mut Parts)| {
        let mut parts = log.parts();
        change(&mut parts);
        write(parts, &charter).unwrap_err().step.to_string()
    };
    assert_eq!(refused(&|p| p.record = "two\nlines".into()), "form");
    assert_eq!(refused(&|p| p.record = entry(5)), "inclusion 350102");
    assert_eq!(refused(&|p| drop(p.proofs.remove(1))), "form", "without the origin");
    assert_eq!(refused(&|p| p.proofs.push(p.proofs[2].clone())), "form", "a holder twice");
    assert_eq!(refused(&|p| p.proofs[0] = log.proof(4, 8, &keys(PROVINCE), 1)), "inclusion 350000");
    assert_eq!(refused(&|p| p.proofs.push(log.proof(3, 8, &keys("350103/e1"), 1))), "cosignature 350103");
    assert_eq!(refused(&|p| p.proofs[2].1.note += "— somebody AAAAAAA=\n"), "form");
    assert_eq!(refused(&|p| p.closing = Some(Vec::new())), "epoch_closed");
    let forged = NodeKeys::derive(&federation(), "350100/e1".parse().unwrap(), &[9; 32]);
    assert_eq!(refused(&|p| p.proofs[2] = log.proof(3, 5, &forged, 1)), "cosignature 350100");
    let forged = NodeKeys::derive(&federation(), "350102/e1".parse().unwrap(), &[9; 32]);
    let theirs = Log::of(forged, 8).parts();
    assert_eq!(
        write(theirs, &charter).unwrap_err().step,
        EvidenceStep::CheckpointSignature(350_102.try_into().unwrap())
    );
}

fn rotated(version: u64, division: &str, size: u64, root: Hash) -> SignedCharter {
    let log = format!("{division}/e1");
    let close = epoch(&log, &format!("last_size = {size}\nlast_root = \"{root}\"\n"));
    let next = epoch(&format!("{division}/e2"), "");
    let swap = |n: String| {
        if n.contains(&format!("division = \"{division}\"")) { n.replace(&epoch(&log, ""), &close) + &next } else { n }
    };
    charter(version, &sample().into_iter().map(swap).collect::<Vec<_>>())
}

/// After a holder's keys were rotated, its old receipt proves what it did, and the file names the key by its epoch.
#[test]
fn evidence_outlives_a_rotated_key() {
    let log = Log::of(keys(COUNTY), 8);
    let later = rotated(2, "350100", 0, Tree::default().root());
    let text = write(log.parts(), &later).unwrap();
    assert_eq!(open(&text).unwrap().held_by.len(), 3);
    let mut parts = log.parts();
    parts.proofs[2] = log.proof(3, 8, &keys("350100/e2"), TIME + 500);
    let text = write(parts, &later).unwrap();
    assert!(text.contains("BEGIN TLOG PROOF t.example/350100/e2/mirror"));
    assert_eq!(open(&text).unwrap().held_by[1].time, TIME + 500);
}

/// A closed epoch: what the charter closed it with is proved too; what lies beyond, or beside it, is not evidence.
#[test]
fn a_closed_epoch_ends_where_the_charter_says() {
    let log = Log::of(keys(COUNTY), 8);
    let root = |log: &Log, n| tally_protocol::merkle::proof::range_hash(&log.nodes, 0, n).unwrap();
    let with_closing = |size: u64| {
        let closing = (size > 3).then(|| inclusion(&log.nodes, 3, size).unwrap());
        write(Parts { closing, ..log.parts() }, &rotated(2, "350102", size, root(&log, size)))
    };
    let text = with_closing(8).unwrap();
    assert!(text.contains("BEGIN CLOSING PROOF"));
    assert_eq!(open(&text).unwrap().held_by.len(), 3);
    for i in text.find("-----BEGIN CLOSING").unwrap()..text.find("-----BEGIN CHARTER").unwrap() {
        let mut bad = text.clone().into_bytes();
        bad[i] ^= 1 << (i % 8);
        let step = verify(&bad, authority().public()).unwrap_err().step;
        assert!(matches!(step, EvidenceStep::EpochClosed | EvidenceStep::Form), "byte {i}: {step}");
    }
    for size in [1, 3, 5, 7] {
        assert_eq!(
            with_closing(size).unwrap_err().step,
            EvidenceStep::EpochClosed,
            "the province's checkpoint of 8 is beyond"
        );
    }
    let missing = write(log.parts(), &rotated(2, "350102", 8, root(&log, 8)));
    assert_eq!(missing.unwrap_err().step, EvidenceStep::EpochClosed);
    // Another history under the old key, as a thief of it would write: shorter than the end, and not part of it.
    let mut stolen = Log::of(keys(COUNTY), 3);
    stolen.push(77);
    let parts = Parts {
        record: entry(77),
        log: stolen.keys.node,
        proofs: vec![stolen.proof(3, 4, &keys(COUNTY), TIME)],
        closing: Some(inclusion(&log.nodes, 3, 8).unwrap()),
    };
    assert!(
        write(parts.clone(), &rotated(2, "350102", 8, root(&log, 8)))
            .is_err_and(|f| f.step == EvidenceStep::EpochClosed)
    );
}

#[test]
fn times_are_those_of_the_calendar() {
    for (seconds, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (4_107_542_399, "2100-02-28T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
        (253_402_300_800, "253402300800 s after 1970-01-01T00:00:00Z"),
    ] {
        assert_eq!(utc(seconds), text);
    }
}

/// C01: a copy that a program changed does not hold, and is not taken for a forgery; one that was altered besides is.
#[test]
fn what_a_program_did_to_a_file_is_told_and_is_no_forgery() {
    let good = good();
    let utf16: Vec<u8> = std::iter::once(0xfeff).chain(good.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let last = good.trim_end().to_owned();
    let copies = [
        (format!("\u{feff}{good}").into_bytes(), "byte order mark"),
        (good.replace('\n', "\r\n").into_bytes(), "CR LF"),
        (
            good.replacen("level\n", "level \n", 1).replacen("\n\n", " \n\n", 1).into_bytes(),
            "spaces were put at the end of line",
        ),
        (good.replace("\n\u{2014} ", "\n- ").into_bytes(), "begins with '-'"),
        (last.into_bytes(), "no line end"),
        (utf16, "UTF-16"),
    ];
    for (bytes, word) in copies {
        let failed = verify(&bytes, authority().public()).unwrap_err();
        assert!(failed.reason.contains(word) && failed.reason.contains("would hold otherwise"), "{word}: {failed:?}");
        // The same done to a forged file is no excuse for it.
        let forged = good.replacen("企业", "企案", 1).replace('\n', "\r\n");
        let failed = open(&forged).unwrap_err();
        assert!(!failed.reason.contains("would hold otherwise") && failed.reason.contains("CR LF"), "{failed:?}");
    }
    // Another encoding cannot be undone here, and is named with its line.
    let gbk = [&good.as_bytes()[..20], &[0xb8, 0xa3, 0xd6, 0xdd], &good.as_bytes()[20..]].concat();
    let failed = verify(&gbk, authority().public()).unwrap_err();
    assert!(failed.reason.contains("GBK") && failed.reason.contains("line 2"), "{failed:?}");
}
