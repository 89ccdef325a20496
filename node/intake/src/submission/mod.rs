//! A submission: rows handed in together, from their first byte to the answer that is kept. The one way in for HTTP, drop
//! folders and comparisons.
//!
//! ```text
//! hand_in: key ─> source ─> upload: rows judged ─> batcher ─> outcome of every row ─> answer ─> kept
//! ```
//!
//! What holds:
//! * What an answer calls accepted is durable before the answer is given.
//! * The same handed in twice doubles nothing: what was accepted is a duplicate the second time. So whatever breaks off may
//!   be sent again.
//! * Of two submissions with the same idempotency key one runs; the other is refused, or gets the first one's answer.
//! * An answer is kept whole or not at all; a row for which it has no room is counted in it. What became since of rows that were staged is not written into it, but added when
//!   it is shown.
//!
//! Not known here: who may hand in, how many may at the same time, and how an outcome is shown.

mod ahead;
mod answer;
mod differs;
mod errors;
mod held;
mod judged;
pub mod kept;
mod keys;
mod known;
mod settled;
mod since;
mod source;
mod terms;
mod trial;
mod upload;

pub use answer::{InputNote, SubmissionAnswer};
pub use errors::{ERRORS_BYTES_MAX, ERRORS_MAX, EarlyEnd, HOPELESS_ROWS, ListedErrors, RowsNotKept};
pub use held::{HeldReader, IndexedRecords};
pub use kept::{KeptRow, KeptSubmission, SubmissionMeta, SubmissionStore};
pub use known::{KNOWN_BYTES_MAX, KnownRows};
pub use source::{InputSource, RowSource};
pub use terms::{IntakeHandle, SubmissionTerms};
pub use trial::{Trial, TrialChange, TrialRow};
pub use upload::{SAID_BYTES_MAX, Upload, UploadError};

use crate::InputError;
use kept::{AnswerOwner, AnswersFull, SharedWriter};
use keys::KeysInUse;
use std::{
    io,
    path::{Path, PathBuf},
};

/// Where submissions are handed in. One per node; clones share it.
#[derive(Debug, Clone)]
pub struct Submissions {
    intake: IntakeHandle,
    kept: SubmissionStore,
    spool: PathBuf,
    keys: KeysInUse,
}

/// Rows that somebody hands in, but for the rows.
#[derive(Debug, Clone, Default)]
pub struct Submission {
    /// By whom and as what they are handed in.
    pub terms: SubmissionTerms,
    /// What is kept of that: by which way they came, from which file, under which idempotency key.
    pub meta: SubmissionMeta,
}

/// How a submission ended well.
#[derive(Debug)]
pub enum SubmissionOutcome {
    /// Every row has its verdict, and what was accepted is durable.
    Answered(Box<SubmissionAnswer>),
    /// The same was handed in before under the same key: this is the answer that was given then.
    Repeated(Box<SubmissionAnswer>),
}

/// Why a submission has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SubmissionError {
    /// Another one with the same key is under way.
    #[error("a submission with this Idempotency-Key is under way")]
    KeyInUse,
    /// The key came before with another content, or with the same under other terms.
    #[error(
        "this Idempotency-Key came before with another content, or under other terms (category, unit, division, format or \
         backfill): use a new key for what is new"
    )]
    KeyReused,
    /// The answer that was given under this key is gone.
    #[error("there is no answer {0}; answers are kept {days} days", days = kept::KEPT_DAYS)]
    AnswerGone(String),
    /// No more can be kept of what is said of rows, so none are taken in.
    #[error(transparent)]
    AnswersFull(#[from] AnswersFull),
    /// The source changed while it was read.
    #[error("the file changed while it was read")]
    Changed,
    /// The rows were not taken to their end.
    #[error("the rows were not taken to their end")]
    Ended {
        /// Why.
        #[source]
        why: InputError,
        /// What was done until then, and stays.
        so_far: Box<SubmissionAnswer>,
    },
    /// The answers on the disk cannot be used.
    #[error("the answers on the disk cannot be used")]
    Kept(#[from] io::Error),
    /// The node ends.
    #[error("the node is stopping")]
    Stopping,
}

impl Submissions {
    /// Of what takes the rows, of where answers are kept, and of a folder for what is needed on the disk meanwhile.
    pub fn new(intake: IntakeHandle, kept: SubmissionStore, spool: PathBuf) -> Self {
        Self { intake, kept, spool, keys: KeysInUse::default() }
    }

    /// What takes the rows.
    pub fn intake(&self) -> &IntakeHandle {
        &self.intake
    }

    /// Answers that are kept.
    pub fn kept(&self) -> &SubmissionStore {
        &self.kept
    }

    /// A folder for what is needed on the disk meanwhile.
    pub fn spool(&self) -> &Path {
        &self.spool
    }

    /// Hands in what a source says.
    ///
    /// Cancel-safe: if the future is dropped, records that the batcher has been given are taken all the same, no answer is
    /// kept unless that had begun, and the key is free again. The same handed in again finds them to be duplicates.
    ///
    /// # Errors
    /// [`SubmissionError`]; what was accepted until then is durable.
    pub async fn hand_in(
        &self,
        submission: Submission,
        mut source: impl RowSource,
    ) -> Result<SubmissionOutcome, SubmissionError> {
        let Submission { terms, mut meta } = submission;
        let claim = match &meta.idempotency_key {
            None => None,
            Some(key) => {
                let claim = self.keys.claim(meta.token.as_deref(), key).ok_or(SubmissionError::KeyInUse)?;
                let mark = meta.terms.insert(terms.mark(source.format())).clone();
                if let Some(answer) = self.repeated(meta.owner(), (key.clone(), mark), &mut source).await? {
                    return Ok(SubmissionOutcome::Repeated(Box::new(answer)));
                }
                Some(claim)
            }
        };
        self.kept.room(&meta.owner())?;
        let writer = SharedWriter::new(self.kept.writer(meta));
        let mut upload = Upload::new(self.intake.clone(), terms, writer.clone());
        let read = source.read_into(&mut upload).await;
        let (mut answer, drained) = upload.finish().await;
        if !source.is_unchanged().await {
            return Err(SubmissionError::Changed);
        }
        if let Err(why) = read.and(drained.map_err(InputError::from)) {
            return Err(SubmissionError::Ended { why, so_far: Box::new(answer) });
        }
        let (digest, so_far) = (source.digest(), Box::new(answer.counts()));
        let kept = writer.run(move |w| {
            // Where the client goes away meanwhile, the answer is kept all the same: the key is in use until then.
            let _claim = claim;
            w.finish(&mut answer, digest)?;
            // Where only a part of the rows went is no range of them.
            if answer.staged > 0 {
                (answer.log, answer.from, answer.to) = (None, None, None);
            }
            Ok(answer)
        });
        match kept.await {
            Ok(answer) => Ok(SubmissionOutcome::Answered(Box::new(answer))),
            // What was taken stays taken, so it is told.
            Err(e) => Err(SubmissionError::Ended { why: UploadError::Keep(e).into(), so_far }),
        }
    }

    /// Tells what would become of rows if they were handed in now. Nothing is taken, and no answer is kept.
    ///
    /// # Errors
    /// [`SubmissionError`], as of rows that are handed in.
    pub async fn try_out(
        &self,
        submission: Submission,
        mut source: impl RowSource,
    ) -> Result<Box<SubmissionAnswer>, SubmissionError> {
        let Submission { terms, meta } = submission;
        // Nothing is written by it: it is asked for the columns of a table only.
        let writer = SharedWriter::new(self.kept.writer(meta));
        let mut upload = Upload::trial(self.intake.clone(), terms, writer);
        let read = source.read_into(&mut upload).await;
        let (answer, drained) = upload.finish().await;
        if let Err(why) = read.and(drained.map_err(InputError::from)) {
            return Err(SubmissionError::Ended { why, so_far: Box::new(answer) });
        }
        Ok(Box::new(answer))
    }

    /// The answer that was given when this key came before. The input must be the same, and its terms.
    async fn repeated(
        &self,
        owner: AnswerOwner,
        (key, terms): (String, String),
        source: &mut impl RowSource,
    ) -> Result<Option<SubmissionAnswer>, SubmissionError> {
        let store = self.kept.clone();
        let find = tokio::task::spawn_blocking(move || store.by_key(&owner, &key));
        let Some(found) = find.await.map_err(|_| SubmissionError::Stopping)?? else { return Ok(None) };
        let broken_off = |why| SubmissionError::Ended { why, so_far: Box::default() };
        source.read_through().await.map_err(broken_off)?;
        if found.digest != source.digest() || found.terms.is_some_and(|before| before != terms) {
            return Err(SubmissionError::KeyReused);
        }
        let (store, staged) = (self.kept.clone(), self.intake.staged.clone());
        let read = tokio::task::spawn_blocking(move || {
            let mut kept = store.open_kept(&found.id)?.ok_or(SubmissionError::AnswerGone(found.id))?;
            kept.meta.as_of_now(&staged)?;
            Ok::<_, SubmissionError>(kept.answer()?)
        });
        read.await.map_err(|_| SubmissionError::Stopping)?.map(Some)
    }
}

#[cfg(test)]
pub(crate) mod tests;
