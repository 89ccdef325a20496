//! Evidence: one text file that proves to anyone who has the authority's key that a record stands in a log, and since
//! when each level has had it on disk.
//!
//! It holds the record, a C2SP tlog-proof for each holder, and the signed charter with the keys of all epochs; so it
//! stays verifiable after keys were rotated. It has one form: whoever verifies it writes the file again from what was
//! verified, and compares. Nothing stands in it that is not signed or follows from what is signed.
//!
//! * [`write()`]: checks the parts, and writes the file.
//! * [`verify()`]: reads the file and names the step that does not hold.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod changed;
mod read;
#[cfg(test)]
mod tests;

use changed::Changes;

use crate::{
    charter::{Charter, Level},
    signed::{SignedCharter, SignedError},
};
use std::{cmp::Reverse, fmt, fmt::Write as _};
use tally_protocol::{
    checkpoint::Checkpoint,
    hash::{Hash, sha256},
    ids::{Division, LogId},
    keys::VerifierKey,
    limits::{CHARTER_BYTES_MAX, RECORD_BYTES_MAX},
    merkle::proof::verify_inclusion,
    note::Note,
    record::RecordId,
    tlog_proof::{TLOG_PROOF_BYTES_MAX, TlogProof, hash_lines},
};

/// Largest evidence file, in bytes.
pub const EVIDENCE_BYTES_MAX: usize = 2 << 20;
/// Most holders in one file: there are four levels.
pub const HOLDERS_MAX: usize = 8;

const README: &str = include_str!("readme.txt");
const _: () = assert!(
    README.len() + CHARTER_BYTES_MAX + RECORD_BYTES_MAX + (HOLDERS_MAX + 1) * (TLOG_PROOF_BYTES_MAX + 1_024) + 4_096
        <= EVIDENCE_BYTES_MAX
);

/// What is checked, in the order of checking. `Display` is the stable name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvidenceStep {
    /// The file has the parts it should, and no others.
    Form,
    /// The authority signed the charter.
    CharterSignature,
    /// The charter can be read.
    Charter,
    /// The record has the id that the file names.
    Record,
    /// The log's key signed the checkpoint that this holder cosigned.
    CheckpointSignature(Division),
    /// The record is in the tree of that checkpoint.
    Inclusion(Division),
    /// The holder cosigned it.
    Cosignature(Division),
    /// The record is in what the charter closed the log with.
    EpochClosed,
    /// The last line is the SHA-256 of all lines before.
    Digest,
}

impl fmt::Display for EvidenceStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("form"),
            Self::CharterSignature => f.write_str("charter_signature"),
            Self::Charter => f.write_str("charter"),
            Self::Record => f.write_str("record"),
            Self::CheckpointSignature(d) => write!(f, "checkpoint_signature {d}"),
            Self::Inclusion(d) => write!(f, "inclusion {d}"),
            Self::Cosignature(d) => write!(f, "cosignature {d}"),
            Self::EpochClosed => f.write_str("epoch_closed"),
            Self::Digest => f.write_str("digest"),
        }
    }
}

/// A proof that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{step}: {reason}")]
pub struct Failed {
    /// The first step that failed.
    pub step: EvidenceStep,
    /// For people.
    pub reason: String,
}

impl Failed {
    fn at(step: EvidenceStep) -> impl Fn(&dyn fmt::Display) -> Self {
        move |reason| Self { step, reason: reason.to_string() }
    }
}

fn fail<T>(step: EvidenceStep, reason: impl Into<String>) -> Result<T, Failed> {
    Err(Failed { step, reason: reason.into() })
}

/// What a file is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The record's bytes: one line of text.
    pub record: String,
    /// The log it stands in.
    pub log: LogId,
    /// A proof for the origin (the log's own node in its epoch) and for every other holder. The note of a proof has the signature of the
    /// log's key, the cosignature of the origin and, for another holder, its cosignature, in this order.
    pub proofs: Vec<(LogId, TlogProof)>,
    /// If the charter has closed the log's epoch: the inclusion proof to its last root.
    pub closing: Option<Vec<Hash>>,
}

/// One holder's proved statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceHolding {
    /// Who had the record on disk.
    pub division: Division,
    /// Its name by the charter.
    pub name: String,
    /// Its level by the charter.
    pub level: Level,
    /// Records of the log that it had then.
    pub size: u64,
    /// By when, POSIX seconds: for the origin when it sealed the record's batch or a later one.
    pub time: u64,
}

/// What a file proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The record.
    pub record: String,
    /// Its id.
    pub id: RecordId,
    /// Origin line of the log.
    pub origin: String,
    /// Its index there.
    pub index: u64,
    /// Version of the charter whose keys were used.
    pub charter_version: u64,
    /// The origin, then the other holders, lower levels first.
    pub held_by: Vec<EvidenceHolding>,
}

/// Checks one holder's proof that the record with this leaf hash is in `log`.
///
/// # Errors
/// [`Failed`].
pub fn check_proof(
    charter: &Charter,
    log: LogId,
    leaf: &Hash,
    holder: LogId,
    proof: &TlogProof,
) -> Result<EvidenceHolding, Failed> {
    let (d, version) = (holder.division, charter.version());
    let (Some(keys), Some(key)) = (charter.epoch(log), charter.log_key(log)) else {
        return fail(EvidenceStep::CheckpointSignature(d), format!("{log} is not in charter version {version}"));
    };
    let checkpoint =
        Checkpoint::open(&proof.note, &key).map_err(|e| Failed::at(EvidenceStep::CheckpointSignature(d))(&e))?;
    verify_inclusion(proof.index, checkpoint.size, leaf, &proof.path, &checkpoint.root)
        .map_err(|e| Failed::at(EvidenceStep::Inclusion(d))(&e))?;
    let (Some(node), Some(theirs)) = (charter.node(d), charter.epoch(holder)) else {
        return fail(EvidenceStep::Cosignature(d), format!("{holder} is not in charter version {version}"));
    };
    let bad = Failed::at(EvidenceStep::Cosignature(d));
    let note = Note::parse(&proof.note).map_err(|e| bad(&e))?;
    note.verify(&keys.mirror).map_err(|e| bad(&e))?;
    let time = note.verify(&theirs.mirror).map_err(|e| bad(&e))?;
    let mut wanted = vec![key.name(), keys.mirror.name()];
    if holder != log.node() {
        wanted.push(theirs.mirror.name());
    }
    if !note.signatures().iter().map(|s| s.name).eq(wanted) {
        return fail(
            EvidenceStep::Form,
            format!("the checkpoint for {holder} does not have exactly its signature lines"),
        );
    }
    if let Some((last, root)) = charter.closed_at(log)
        && (checkpoint.size > last || (checkpoint.size == last && checkpoint.root != root))
    {
        let size = checkpoint.size;
        return fail(
            EvidenceStep::EpochClosed,
            format!("{log} was closed at {last} records; this checkpoint is of {size}"),
        );
    }
    Ok(EvidenceHolding { division: d, name: plain(&node.name), level: node.level, size: checkpoint.size, time })
}

/// Checks all parts; the proofs come out in the order of the file.
fn check(parts: &mut Parts, charter: &Charter) -> Result<Verified, Failed> {
    let Parts { record, log, proofs, closing } = parts;
    let log = *log;
    if record.is_empty() || record.len() > RECORD_BYTES_MAX || record.bytes().any(|b| b < 0x20) {
        return fail(EvidenceStep::Form, "the record is not one line of text");
    }
    let id = RecordId::of(record.as_bytes());
    let level = |holder: &LogId| charter.node(holder.division).map(|n| Reverse(n.level));
    proofs.sort_by_key(|(holder, _)| (*holder != log.node(), level(holder), *holder));
    let index = match proofs.first() {
        Some((holder, proof)) if *holder == log.node() && proofs.len() <= HOLDERS_MAX => proof.index,
        _ => return fail(EvidenceStep::Form, "a proof of the log's origin and at most seven others are needed"),
    };
    let mut divisions: Vec<_> = proofs.iter().map(|(holder, _)| holder.division).collect();
    divisions.sort();
    if !divisions.is_sorted_by(|a, b| a < b) {
        return fail(EvidenceStep::Form, "a holder stands there twice");
    }
    let mut held_by = Vec::new();
    for (holder, proof) in proofs.iter() {
        held_by.push(check_proof(charter, log, &id.0, *holder, proof)?);
        if proof.index != index {
            return fail(EvidenceStep::Form, "the proofs name different indices");
        }
    }
    let last = charter.closed_at(log);
    match (last, closing) {
        (None, None) => {}
        (None, Some(_)) => return fail(EvidenceStep::EpochClosed, format!("{log} is not closed by this charter")),
        (Some((size, _)), None) => {
            return fail(
                EvidenceStep::EpochClosed,
                format!("{log} was closed at {size} records; the proof for that is missing"),
            );
        }
        (Some((size, root)), Some(path)) => verify_inclusion(index, size, &id.0, path, &root).map_err(|e| {
            Failed::at(EvidenceStep::EpochClosed)(&format_args!("{log} was closed at {size} records: {e}"))
        })?,
    }
    let (record, origin) = (record.clone(), charter.federation().origin(log));
    Ok(Verified { record, id, origin, index, charter_version: charter.version(), held_by })
}

/// Writes the file, after checking every part of it.
///
/// # Errors
/// [`Failed`]: the part that would not verify.
pub fn write(mut parts: Parts, charter: &SignedCharter) -> Result<String, Failed> {
    let verified = check(&mut parts, charter.charter())?;
    Ok(render(&parts, &verified, charter))
}

/// Verifies a file. Work and memory are bounded, whatever the bytes are.
///
/// ```
/// # use tally_protocol::{ids::{Federation, LogId}, keys::{NodeKeys, authority_signer}};
/// # use tally_topology::{charter::{epoch_entry, heading}, signed::{SignedCharter, sign}};
/// use tally_protocol::{checkpoint::Checkpoint, record::RecordId, tlog_proof::TlogProof};
/// use tally_topology::evidence::{Parts, verify, write};
///
/// # let federation = Federation::try_from("t.example".to_owned())?;
/// # let log: LogId = "350102/e1".parse()?;
/// # let keys = NodeKeys::derive(&federation, log, &[7; 32]);
/// # let successor = authority_signer(&federation, &[2; 32]);
/// # let text = format!(
/// #     "{}[[node]]\ndivision = \"350102\"\nname = \"N\"\nlevel = \"county\"\n{}",
/// #     heading(&federation, 1, successor.public()),
/// #     epoch_entry(&keys),
/// # );
/// # let authority = authority_signer(&federation, &[1; 32]);
/// # let charter = SignedCharter::open(&sign(&text, &authority)?, authority.public())?;
/// // A log of one record: its root is the record's leaf hash, and the path to it is empty.
/// let record = r#"{"name":"A"}"#.to_owned();
/// let id = RecordId::of(record.as_bytes());
/// let note = Checkpoint { origin: federation.origin(log), size: 1, root: id.0 }.seal(&keys, 1_790_000_000);
/// let proofs = vec![(log, TlogProof { index: 0, path: Vec::new(), note })];
/// let file = write(Parts { record, log, proofs, closing: None }, &charter)?;
///
/// let verified = verify(file.as_bytes(), authority.public())?;
/// assert_eq!((verified.id, verified.index), (id, 0));
/// assert_eq!(verified.held_by[0].time, 1_790_000_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Failed`]: the first step that does not hold.
pub fn verify(bytes: &[u8], authority: &VerifierKey) -> Result<Verified, Failed> {
    verify_as_is(bytes, authority).map_err(|failed| with_changes(failed, bytes, authority))
}

/// Says of a file that does not hold what was done to it on its way, if that can be seen, and whether that is all.
fn with_changes(failed: Failed, bytes: &[u8], authority: &VerifierKey) -> Failed {
    let Some(Changes { what, text }) = changed::changes(bytes) else { return failed };
    let is_all = text.is_some_and(|text| verify_as_is(text.as_bytes(), authority).is_ok());
    let reason = if is_all {
        format!("the file was changed on its way, and would hold otherwise: {what}. Copy it again as it is, as a file")
    } else {
        format!("{}. The file was changed on its way: {what}. Copy it again as it is, as a file", failed.reason)
    };
    Failed { reason, ..failed }
}

fn verify_as_is(bytes: &[u8], authority: &VerifierKey) -> Result<Verified, Failed> {
    let found = read::parse(bytes)?;
    let charter = SignedCharter::open(found.charter, authority).map_err(|e| {
        let step =
            if matches!(e, SignedError::Content(_)) { EvidenceStep::Charter } else { EvidenceStep::CharterSignature };
        Failed::at(step)(&e)
    })?;
    let mut parts = found.parts;
    let id = RecordId::of(parts.record.as_bytes());
    if id.to_string() != found.id {
        let named: String = found.id.chars().take(64).collect();
        return fail(EvidenceStep::Record, format!("its leaf hash is {id}, the file names {named}"));
    }
    let verified = check(&mut parts, charter.charter())?;
    let digest = sha256(&[found.before_digest.as_bytes()]);
    if digest.to_string() != found.digest {
        return fail(EvidenceStep::Digest, format!("the SHA-256 of the lines before the last is {digest}"));
    }
    let again = render(&parts, &verified, &charter);
    if again.as_bytes() != bytes {
        let same = again.lines().zip(found.text.lines()).take_while(|(a, b)| a == b).count();
        let line = same.saturating_add(1);
        return fail(EvidenceStep::Form, format!("line {line} is not as it follows from what was verified"));
    }
    Ok(verified)
}

fn render(parts: &Parts, verified: &Verified, charter: &SignedCharter) -> String {
    let (federation, version) = (charter.charter().federation(), verified.charter_version);
    let bytes = [README.len(), charter.note().len(), parts.record.len(), 16 << 10];
    let mut out = String::with_capacity(bytes.iter().sum());
    out.push_str(README);
    // Writing to a String cannot fail.
    let _ = write!(out, "record   {}\nlog      {}\nindex    {}\n", verified.id, verified.origin, verified.index);
    let _ = writeln!(out, "charter  {federation} version {version}");
    for h in &verified.held_by {
        let (d, level, time) = (h.division, h.level.name(), utc(h.time));
        let _ = writeln!(out, "held by  {d} {level} {}, by {time}, with {} records of this log", h.name, h.size);
    }
    let _ = write!(out, "\n-----BEGIN RECORD-----\n{}\n-----END RECORD-----\n\n", parts.record);
    for (holder, proof) in &parts.proofs {
        let name = federation.mirror_name(*holder);
        let _ = write!(out, "-----BEGIN TLOG PROOF {name}-----\n{}-----END TLOG PROOF-----\n\n", proof.text());
    }
    if let Some(path) = &parts.closing {
        let _ = write!(out, "-----BEGIN CLOSING PROOF-----\n{}-----END CLOSING PROOF-----\n\n", hash_lines(path));
    }
    let _ = write!(out, "-----BEGIN CHARTER-----\n{}-----END CHARTER-----\n", charter.note());
    let digest = sha256(&[out.as_bytes()]);
    let _ = writeln!(out, "sha256 {digest}");
    out
}

/// A name that stays on its line.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// POSIX seconds in UTC as RFC 3339, by the proleptic Gregorian calendar; beyond the year 9999 just the number.
fn utc(seconds: u64) -> String {
    const DAY: u64 = 86_400;
    if seconds >= 253_402_300_800 {
        return format!("{seconds} s after 1970-01-01T00:00:00Z");
    }
    let (mut days, time) = (seconds / DAY, seconds % DAY);
    let (mut year, mut month) = (1970_u64, 1_u64);
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    while let Some(later) = days.checked_sub(if leap(year) { 366 } else { 365 }) {
        (days, year) = (later, year.saturating_add(1));
    }
    for length in [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        let Some(later) = days.checked_sub(length) else { break };
        (days, month) = (later, month.saturating_add(1));
    }
    let (h, m, s) = (time / 3_600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{:02}T{h:02}:{m:02}:{s:02}Z", days.saturating_add(1))
}
