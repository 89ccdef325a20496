//! Checkpoints: what a log's key signs (c2sp.org/tlog-checkpoint).

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::{
    hash::Hash,
    keys::VerifierKey,
    limits::NOTE_BYTES_MAX,
    note::{Note, NoteError, NoteSignature, cosign_line, sign_line},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

/// A log's statement of its whole history: its first `size` records have this `root`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// Records in the tree.
    pub size: u64,
    /// RFC 9162 tree hash.
    pub root: Hash,
}

/// Why a note is not a checkpoint of the log it should be of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note itself.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Longer than [`NOTE_BYTES_MAX`].
    #[error("the checkpoint is longer than {NOTE_BYTES_MAX} bytes")]
    TooLong,
    /// Not exactly three lines: origin, decimal size, base64 root. Extension lines are refused: nothing audits them.
    #[error("not a checkpoint: the lines origin, size, root are needed")]
    Form,
    /// Signed by the right key but for another origin.
    #[error("the checkpoint is of {found}, not of {wanted}")]
    Origin {
        /// Origin line.
        found: String,
        /// Name of the key.
        wanted: String,
    },
}

impl Checkpoint {
    /// Text that is signed.
    ///
    /// ```
    /// use tally_protocol::{checkpoint::Checkpoint, merkle::Tree};
    ///
    /// let origin = "t.example/350102/e1".to_owned();
    /// let checkpoint = Checkpoint { origin, size: 0, root: Tree::default().root() };
    /// let text = "t.example/350102/e1\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
    /// assert_eq!(checkpoint.text(), text);
    /// assert_eq!(Checkpoint::parse(text)?, checkpoint);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root.0))
    }

    /// Reads the text of a note.
    ///
    /// # Errors
    /// [`CheckpointError::Form`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Form)?.split('\n');
        let (Some(origin), Some(size), Some(root), None) = (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::Form);
        };
        let decimal = size.bytes().all(|b| b.is_ascii_digit()) && (size == "0" || !size.starts_with('0'));
        let size = decimal.then(|| size.parse().ok()).flatten().ok_or(CheckpointError::Form)?;
        let root = BASE64.decode(root).ok().and_then(|b| b.try_into().ok()).ok_or(CheckpointError::Form)?;
        if origin.is_empty() {
            return Err(CheckpointError::Form);
        }
        Ok(Self { origin: origin.to_owned(), size, root: Hash(root) })
    }

    /// Reads a signed note and checks the log's signature. The origin line must be the key's name.
    ///
    /// ```
    /// use tally_protocol::{checkpoint::Checkpoint, keys::NodeKeys, merkle::Tree};
    /// # use tally_protocol::ids::Federation;
    ///
    /// # let federation = Federation::try_from("t.example".to_owned())?;
    /// let keys = NodeKeys::derive(&federation, "350102/e1".parse()?, &[7; 32]);
    /// let origin = keys.log.public().name().to_owned();
    /// let checkpoint = Checkpoint { origin, size: 0, root: Tree::default().root() };
    /// let note = checkpoint.seal(&keys, 1_790_000_000);
    /// assert_eq!(Checkpoint::open(&note, keys.log.public())?, checkpoint);
    /// assert!(Checkpoint::open(&note.replace("\n0\n", "\n1\n"), keys.log.public()).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Any [`CheckpointError`].
    pub fn open(note: &str, log_key: &VerifierKey) -> Result<Self, CheckpointError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(CheckpointError::TooLong);
        }
        let note = Note::parse(note)?;
        note.verify(log_key)?;
        let checkpoint = Self::parse(note.text())?;
        if checkpoint.origin != log_key.name() {
            return Err(CheckpointError::Origin { found: checkpoint.origin, wanted: log_key.name().to_owned() });
        }
        Ok(checkpoint)
    }

    /// A note with the line of `log_key` and no other. `None`: that key has not signed it.
    pub fn bare(note: &str, log_key: &VerifierKey) -> Option<String> {
        let parsed = Note::parse(note).ok()?;
        let text = parsed.text();
        let own = |line: &&str| NoteSignature::parse(line).is_ok_and(|s| s.verify(log_key, text).is_ok());
        let line = note.strip_prefix(text)?.lines().find(own)?;
        Some(format!("{text}\n{line}\n"))
    }

    /// Signs with the log's key, and cosigns with the same node's mirror key at `time` (POSIX seconds): the note that
    /// closes a batch. The cosignature's time is the batch's `sealed_at`.
    pub fn seal(&self, keys: &crate::keys::NodeKeys, time: u64) -> String {
        let text = self.text();
        format!("{text}\n{}{}", sign_line(&text, &keys.log), cosign_line(&text, time, &keys.mirror))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::Federation, keys::NodeKeys};

    fn keys() -> NodeKeys {
        let f = Federation::try_from("t.example".to_owned()).unwrap();
        NodeKeys::derive(&f, "350102/e1".parse().unwrap(), &[7; 32])
    }

    fn sample() -> Checkpoint {
        Checkpoint { origin: "t.example/350102/e1".into(), size: 3, root: crate::hash::sha256(&[b"x"]) }
    }

    #[test]
    fn sealed_checkpoint_opens_with_its_key_only() {
        let keys = keys();
        let note = sample().seal(&keys, 1_790_000_000);
        assert_eq!(Checkpoint::open(&note, keys.log.public()), Ok(sample()));
        assert_eq!(Note::parse(&note).unwrap().verify(keys.mirror.public()), Ok(1_790_000_000));
        let other = NodeKeys::derive(
            &Federation::try_from("t.example".to_owned()).unwrap(),
            "350103/e1".parse().unwrap(),
            &[7; 32],
        );
        assert!(matches!(
            Checkpoint::open(&note, other.log.public()),
            Err(CheckpointError::Note(NoteError::Unsigned(_)))
        ));
    }

    #[test]
    fn another_origin_under_the_right_key_is_refused() {
        let keys = keys();
        let text = Checkpoint { origin: "t.example/350103/e1".into(), ..sample() }.text();
        let note = format!("{text}\n{}", sign_line(&text, &keys.log));
        assert!(matches!(Checkpoint::open(&note, keys.log.public()), Err(CheckpointError::Origin { .. })));
    }

    #[test]
    fn bad_forms_are_refused() {
        let root = BASE64.encode([0; 32]);
        for bad in [
            format!("o\n01\n{root}\n"),
            format!("o\n+1\n{root}\n"),
            format!("o\n1\n{root}\nextension\n"),
            format!("\n1\n{root}\n"),
            format!("o\n1\n{root}"),
            "o\n1\nAAAA\n".to_owned(),
            format!("o\n18446744073709551616\n{root}\n"),
        ] {
            assert_eq!(Checkpoint::parse(&bad), Err(CheckpointError::Form), "{bad:?}");
        }
    }
}
