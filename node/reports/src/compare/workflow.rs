//! A comparison from the file to the report, and to the answer if the difference is applied.
//!
//! Records are made of a difference only after somebody was shown exactly that difference: a dry run is remembered by file
//! and terms, and applied once.

use super::{
    CompareError, CompareInputs, CompareReport, CompareTerms, Comparison, Comparisons, DryRun, RecordReader, RunKey,
    apply::DifferenceSource, source::RowErrors,
};
use std::sync::Arc;
use tally_intake::{
    ERRORS_MAX, InputError, InputFormat, InputPieces, digested, read_input,
    submission::{Submission, SubmissionError, SubmissionMeta, SubmissionOutcome, SubmissionTerms, Submissions},
};
use tally_store::index::Engine;

/// What a comparison works on.
#[derive(Debug)]
pub struct CompareJob {
    /// Where the difference is handed in.
    pub submissions: Submissions,
    /// The index, which has caught up.
    pub engine: Arc<dyn Engine>,
    /// Held records.
    pub reader: RecordReader,
    /// What was shown before.
    pub runs: Comparisons,
}

/// What is compared, and whether the difference is applied.
#[derive(Debug, Clone)]
pub struct CompareRequest {
    /// What is compared.
    pub terms: CompareTerms,
    /// As what the file is read.
    pub format: InputFormat,
    /// Name of the file, for the kept answer.
    pub file: Option<String>,
    /// Make records of the difference.
    pub apply: bool,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum CompareFailure {
    /// The file was not read to its end.
    #[error(transparent)]
    Input(#[from] InputError),
    /// What is held cannot be compared.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// Nobody was shown this difference.
    #[error("this file was not compared on these terms here lately")]
    NoDryRun,
    /// What is held has changed since it was shown.
    #[error("what is held has changed since the dry run")]
    Changed,
    /// Everything that is held would be withdrawn.
    #[error("no row of the file is in order")]
    NoRows,
    /// The records of the difference were not all taken.
    #[error(transparent)]
    HandIn(#[from] SubmissionError),
    /// The node ends.
    #[error("the node is stopping")]
    Stopping,
}

impl CompareJob {
    /// Compares a file, and hands in the difference if that is asked for.
    ///
    /// Cancel-safe: a future that is dropped leaves nothing behind but records that were handed in already.
    ///
    /// # Errors
    /// [`CompareFailure`].
    pub async fn run(self, request: CompareRequest, pieces: InputPieces) -> Result<CompareReport, CompareFailure> {
        let CompareRequest { terms, format, file, apply } = request;
        let mut comparison = self.open(terms.clone()).await?;
        let (pieces, digest) = digested(pieces);
        read_input(&mut comparison, pieces, format, self.submissions.spool()).await?;
        comparison.finish().await?;
        let digest = digest.hex();
        let key = RunKey::of(&digest, format, &terms);
        let reader = self.reader;
        let work = move || {
            let run = comparison.dry_run(tally_clock::now_ms());
            comparison.report(&reader).map(|report| (comparison, reader, run, report))
        };
        let worked = tokio::task::spawn_blocking(work).await.map_err(|_| CompareFailure::Stopping)?;
        let (comparison, reader, run, mut report) = worked?;
        if !apply {
            self.runs.remember(key, run);
            return Ok(report);
        }
        may_apply(&self.runs, &key, &run, &report)?;
        let meta = SubmissionMeta {
            file,
            source: "compare".to_owned(),
            category: Some(terms.category),
            ..SubmissionMeta::default()
        };
        // Every record says everything itself, so the terms say nothing.
        let submission = Submission { terms: SubmissionTerms::default(), meta };
        let mut left = RowErrors::default();
        let source = DifferenceSource { parts: Some((comparison, reader, self.engine)), digest, left: &mut left };
        let outcome = self.submissions.hand_in(submission, source).await?;
        let (SubmissionOutcome::Answered(answer) | SubmissionOutcome::Repeated(answer)) = outcome;
        report.left_out(left);
        report.applied = Some(*answer);
        Ok(report)
    }

    async fn open(&self, terms: CompareTerms) -> Result<Comparison, CompareFailure> {
        let (submissions, engine) = (self.submissions.clone(), self.engine.clone());
        let open = move || {
            let intake = submissions.intake();
            let (me, full) = (intake.own.division, intake.full.clone());
            let charter = intake.charter.charter();
            let inputs = CompareInputs { engine: &*engine, charter, me, full, spool: submissions.spool() };
            Comparison::open(inputs, terms)
        };
        Ok(tokio::task::spawn_blocking(open).await.map_err(|_| CompareFailure::Stopping)??)
    }
}

/// Records are made only of what was shown.
fn may_apply(runs: &Comparisons, key: &RunKey, now: &DryRun, report: &CompareReport) -> Result<(), CompareFailure> {
    let shown = runs.find(key, now.at_ms).ok_or(CompareFailure::NoDryRun)?;
    if shown.difference != now.difference {
        return Err(CompareFailure::Changed);
    }
    if report.read == report.rejected {
        return Err(CompareFailure::NoRows);
    }
    runs.forget(key);
    Ok(())
}

impl CompareReport {
    /// Puts in what no record could be made of.
    fn left_out(&mut self, left: RowErrors) {
        self.not_applied = left.meant;
        let room = ERRORS_MAX.saturating_sub(self.errors.len());
        let (list, omitted) = left.listed.into_parts();
        self.errors_omitted += omitted + list.len().saturating_sub(room) as u64;
        self.errors.extend(list.into_iter().take(room));
    }
}
