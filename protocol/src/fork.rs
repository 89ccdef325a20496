//! The proof that a log was forked: two signed checkpoints that cannot both be true (invariant I4).
//!
//! Two notes of one size with different roots prove it by themselves. For notes of sizes a < b the consistency path of
//! the longer tree shows which root that tree had at size a: another one than the shorter note says.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::{
    bounded,
    checkpoint::{Checkpoint, CheckpointError},
    hash::Hash,
    keys::VerifierKey,
    limits::{NOTE_BYTES_MAX, PROOF_HASHES_MAX},
    merkle::{
        Tree,
        proof::{ProofError, verify_consistency},
    },
};
use serde::{Deserialize, Serialize};

/// Two signed checkpoints of one log and what shows that they contradict each other. Whoever receives it believes
/// nothing of it before [`ForkEvidence::verify`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkEvidence {
    /// The signed notes, that of the smaller size first. At most [`NOTE_BYTES_MAX`] bytes each.
    #[serde(deserialize_with = "bounded::texts::<_, 2, NOTE_BYTES_MAX>")]
    pub notes: [String; 2],
    /// For different sizes: the root that the tree of the second note had at the size of the first.
    pub root_at: Option<Hash>,
    /// For different sizes: the consistency path from the first size to the second in the tree of the second note
    /// (RFC 9162 §2.1.4). At most [`PROOF_HASHES_MAX`] hashes.
    #[serde(deserialize_with = "bounded::list::<_, _, PROOF_HASHES_MAX>")]
    pub proof: Vec<Hash>,
}

/// Why something is not the proof of a fork.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForkError {
    /// A note is not a checkpoint that the log's key signed.
    #[error("fork evidence: note {note}: {why}")]
    Note {
        /// 1 or 2.
        note: usize,
        /// What is wrong with it.
        why: CheckpointError,
    },
    /// The second note is of a smaller size than the first.
    #[error("fork evidence: the note of the smaller size does not come first")]
    Order,
    /// A root and path stand there with notes of one size, or no root with notes of different sizes.
    #[error("fork evidence: a root and a path belong to notes of different sizes, and to no others")]
    Form,
    /// The path does not lead from the root to the second note's.
    #[error("fork evidence: {0}")]
    Proof(#[from] ProofError),
    /// Both notes can be true: one history.
    #[error("fork evidence: the notes do not contradict each other")]
    NoFork,
}

impl ForkEvidence {
    /// Two signed notes as evidence, in any order. For notes of different sizes, `shown` is the root that the longer
    /// tree had at the smaller size, and the consistency path that proves it.
    ///
    /// # Errors
    /// [`ForkError`] for what does not prove a fork.
    pub fn new(notes: [String; 2], shown: Option<(Hash, Vec<Hash>)>, log_key: &VerifierKey) -> Result<Self, ForkError> {
        let [a, b] = open(&notes, log_key)?;
        let [first, second] = notes;
        let notes = if (a.size, a.root) <= (b.size, b.root) { [first, second] } else { [second, first] };
        let (root_at, proof) = shown.map_or((None, Vec::new()), |(root, path)| (Some(root), path));
        let evidence = Self { notes, root_at, proof };
        evidence.verify(log_key).map(|_| evidence)
    }

    /// What follows from two notes alone, in any order: proof if they are of one size; otherwise just the notes, which
    /// do not verify as a fork. One of them may be missing (empty).
    pub fn of(notes: [String; 2], log_key: &VerifierKey) -> Self {
        Self::new(notes.clone(), None, log_key).unwrap_or(Self { notes, root_at: None, proof: Vec::new() })
    }

    /// Checks that the notes are signed by `log_key` and contradict each other; the answer is both checkpoints, the
    /// smaller one first.
    ///
    /// ```
    /// use tally_protocol::{checkpoint::Checkpoint, fork::ForkEvidence, keys::NodeKeys, merkle::leaf_hash};
    /// # use tally_protocol::ids::Federation;
    ///
    /// # let federation = Federation::try_from("t.example".to_owned())?;
    /// let keys = NodeKeys::derive(&federation, "350102/e1".parse()?, &[7; 32]);
    /// // Two histories of one record each.
    /// let note = |record: &[u8]| {
    ///     let origin = keys.log.public().name().to_owned();
    ///     Checkpoint { origin, size: 1, root: leaf_hash(record) }.seal(&keys, 1_790_000_000)
    /// };
    /// let evidence = ForkEvidence { notes: [note(b"one"), note(b"other")], ..ForkEvidence::default() };
    /// let [first, second] = evidence.verify(keys.log.public())?;
    /// assert_eq!((first.size, second.size), (1, 1));
    /// assert_ne!(first.root, second.root);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ForkError`].
    pub fn verify(&self, log_key: &VerifierKey) -> Result<[Checkpoint; 2], ForkError> {
        let [a, b] = open(&self.notes, log_key)?;
        if a.size > b.size {
            return Err(ForkError::Order);
        }
        let at = match self.root_at {
            None if self.proof.is_empty() && a.size == b.size => b.root,
            Some(root) if a.size < b.size => {
                verify_consistency(a.size, &root, b.size, &b.root, &self.proof)?;
                // From size 0 a path proves nothing: there is only one tree of no records.
                if a.size == 0 && root != Tree::default().root() {
                    return Err(ProofError::Root.into());
                }
                root
            }
            _ => return Err(ForkError::Form),
        };
        if at == a.root { Err(ForkError::NoFork) } else { Ok([a, b]) }
    }
}

fn open(notes: &[String; 2], key: &VerifierKey) -> Result<[Checkpoint; 2], ForkError> {
    let [first, second] = notes;
    let one = |note: usize, text: &str| Checkpoint::open(text, key).map_err(|why| ForkError::Note { note, why });
    Ok([one(1, first)?, one(2, second)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec,
        ids::Federation,
        keys::NodeKeys,
        merkle::{FullTree, leaf_hash, proof::consistency},
        note::sign_line,
    };

    fn keys() -> NodeKeys {
        let f = Federation::try_from("t.example".to_owned()).unwrap();
        NodeKeys::derive(&f, "350102/e1".parse().unwrap(), &[7; 32])
    }

    /// A history of `size` records; those from `from` on are the other history's.
    fn history(size: u64, from: u64) -> FullTree {
        let mut tree = FullTree::default();
        for i in 0..size {
            tree.push(leaf_hash(&[u8::from(i >= from), i as u8]));
        }
        tree
    }

    fn root(tree: &FullTree, size: u64) -> Hash {
        if size == 0 {
            return Tree::default().root();
        }
        crate::merkle::proof::range_hash(tree, 0, size).unwrap()
    }

    fn note(size: u64, root: Hash) -> String {
        let text = Checkpoint { origin: "t.example/350102/e1".into(), size, root }.text();
        format!("{text}\n{}", sign_line(&text, &keys().log))
    }

    /// Evidence of sizes `a` and `b`, of histories that part at record `from`.
    fn evidence(a: u64, b: u64, from: u64) -> ForkEvidence {
        let (one, other) = (history(a, u64::MAX), history(b, from));
        let shown = (root(&other, a), consistency(&other, a, b).unwrap());
        ForkEvidence::new([note(b, root(&other, b)), note(a, root(&one, a))], Some(shown), keys().log.public()).unwrap()
    }

    #[test]
    fn equal_sizes_with_different_roots_are_a_fork() {
        let (one, other) = (history(5, u64::MAX), history(5, 3));
        let notes = [note(5, root(&one, 5)), note(5, root(&other, 5))];
        let keys = keys();
        let found = ForkEvidence::new(notes.clone(), None, keys.log.public()).unwrap();
        let back = ForkEvidence::new([notes[1].clone(), notes[0].clone()], None, keys.log.public()).unwrap();
        assert_eq!(found, back, "the order of the arguments does not matter");
        let [a, b] = found.verify(keys.log.public()).unwrap();
        assert_eq!((a.size, b.size, a.root < b.root), (5, 5, true));
        let same = [notes[0].clone(), notes[0].clone()];
        assert_eq!(ForkEvidence::new(same, None, keys.log.public()), Err(ForkError::NoFork));
        let with_root = ForkEvidence { root_at: Some(a.root), ..found.clone() };
        assert_eq!(with_root.verify(keys.log.public()), Err(ForkError::Form));
        let with_path = ForkEvidence { proof: vec![a.root], ..found };
        assert_eq!(with_path.verify(keys.log.public()), Err(ForkError::Form));
    }

    #[test]
    fn different_sizes_are_a_fork_by_the_path() {
        let keys = keys();
        let key = keys.log.public();
        // Not a power of two, powers of two, the smallest, a last step, far apart.
        for (a, b, from) in [(3, 7, 1), (4, 7, 3), (8, 200, 0), (1, 2, 0), (6, 7, 5), (5, 64, 4)] {
            let good = evidence(a, b, from);
            let [first, second] = good.verify(key).unwrap();
            assert_eq!((first.size, second.size), (a, b));
            assert_ne!(Some(first.root), good.root_at);
            for i in 0..good.proof.len() {
                let mut bad = good.clone();
                bad.proof[i].0[0] ^= 1;
                assert_eq!(bad.verify(key), Err(ForkError::Proof(ProofError::Root)), "{a} {b} hash {i}");
            }
            let shorter = ForkEvidence { proof: good.proof[1..].to_vec(), ..good.clone() };
            assert!(matches!(shorter.verify(key), Err(ForkError::Proof(_))));
            let other_root = ForkEvidence { root_at: Some(leaf_hash(b"x")), ..good.clone() };
            assert_eq!(other_root.verify(key), Err(ForkError::Proof(ProofError::Root)));
            let none = ForkEvidence { root_at: None, ..good.clone() };
            assert_eq!(none.verify(key), Err(ForkError::Form));
            let [x, y] = good.notes.clone();
            assert_eq!(ForkEvidence { notes: [y, x], ..good }.verify(key), Err(ForkError::Order));
        }
    }

    #[test]
    fn an_honest_pair_is_no_evidence() {
        let (keys, tree) = (keys(), history(64, u64::MAX));
        for (a, b) in [(0, 5), (1, 2), (3, 7), (4, 7), (8, 64), (63, 64), (5, 5)] {
            let notes = [note(a, root(&tree, a)), note(b, root(&tree, b))];
            let path = consistency(&tree, a, b).unwrap();
            let shown = (a < b).then(|| (root(&tree, a), path.clone()));
            assert_eq!(ForkEvidence::new(notes.clone(), shown, keys.log.public()), Err(ForkError::NoFork), "{a} {b}");
            // Nor does a root that somebody made up make it one.
            let made_up = (a < b).then(|| (leaf_hash(b"x"), path));
            assert!(ForkEvidence::new(notes, made_up, keys.log.public()).is_err(), "{a} {b}");
        }
    }

    /// A log that signed another root for no records at all contradicts every other note.
    #[test]
    fn a_wrong_root_of_nothing_is_a_fork() {
        let (keys, tree) = (keys(), history(5, u64::MAX));
        let notes = [note(0, leaf_hash(b"x")), note(5, root(&tree, 5))];
        let shown = Some((Tree::default().root(), Vec::new()));
        assert!(ForkEvidence::new(notes, shown, keys.log.public()).is_ok());
    }

    #[test]
    fn notes_of_another_log_or_without_signature_are_no_evidence() {
        let good = evidence(3, 7, 1);
        let f = Federation::try_from("t.example".to_owned()).unwrap();
        let other = NodeKeys::derive(&f, "350103/e1".parse().unwrap(), &[7; 32]);
        assert!(matches!(good.verify(other.log.public()), Err(ForkError::Note { note: 1, .. })));
        let [first, second] = good.notes.clone();
        assert_eq!(ForkEvidence::of([first.clone(), second.clone()], keys().log.public()).notes, good.notes);
        let altered = ForkEvidence { notes: [first, second.replace("\n7\n", "\n8\n")], ..good };
        assert!(matches!(altered.verify(keys().log.public()), Err(ForkError::Note { note: 2, .. })));
        let empty = ForkEvidence::default();
        assert!(empty.verify(keys().log.public()).is_err());
    }

    #[test]
    fn what_is_decoded_is_bounded() {
        let good = evidence(3, 7, 1);
        let bytes = codec::encode(&good);
        assert_eq!(codec::decode::<ForkEvidence, 20_000>(&bytes), Ok(good));
        let long = ForkEvidence {
            notes: ["x".repeat(NOTE_BYTES_MAX), "x".repeat(NOTE_BYTES_MAX + 1)],
            ..ForkEvidence::default()
        };
        assert!(codec::decode::<ForkEvidence, 20_000>(&codec::encode(&long)).is_err());
        let many = |n| ForkEvidence { proof: vec![Hash([1; 32]); n], ..ForkEvidence::default() };
        assert!(codec::decode::<ForkEvidence, 20_000>(&codec::encode(&many(PROOF_HASHES_MAX))).is_ok());
        assert!(codec::decode::<ForkEvidence, 20_000>(&codec::encode(&many(PROOF_HASHES_MAX + 1))).is_err());
    }
}
