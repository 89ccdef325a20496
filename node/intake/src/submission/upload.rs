//! The rows of one submission on their way: judged some at a time, handed to the batcher, settled by its outcomes.
//!
//! Memory is bounded, however long the submission is and whatever its rows contain: chunks wait for one another in queues of
//! fixed length, what is said of their rows is bounded in bytes ([`SAID_BYTES_MAX`]), and whoever hands in waits with them. What the answer counts as accepted is durable. A chunk is settled in the order of the input,
//! so findings are listed and kept in the order of the lines.

use super::{
    ERRORS_BYTES_MAX, EarlyEnd, HOPELESS_ROWS, InputNote, IntakeHandle, KeptRow, ListedErrors, SubmissionAnswer,
    SubmissionTerms, Trial,
    ahead::RowsAhead,
    answer::NotesByField,
    differs::{COMPARED_MAX, Differing, Meeting, differing},
    judged::{JUDGED_BYTES, JudgedChunk, Tagged, judge},
    kept::{Correction, SharedWriter},
    known::TakenRow,
    settled::{correction, finding_of, superseded},
};
use crate::{
    CheckedRecord, ChunkAnswer, ChunkError, ChunkResult, DedupPolicy, InputError, JudgedRow, RawRow, RecordChunk,
    RowChunk, RowFate, RowOutcome, RowSink, TableColumns,
};
use std::{
    collections::VecDeque,
    io,
    sync::{Arc, atomic::Ordering},
};
use tally_protocol::{
    finding::{AtLine, FINDING_BYTES_MAX, Finding, Severity},
    ids::Division,
};
use tally_topology::{catalog::Catalog, judge::FINDINGS_MAX};
use tokio::{sync::oneshot, task::JoinHandle};

/// Chunks being judged at the same time, for one submission.
const JUDGING: usize = 2;
/// Bytes of findings that may wait with their chunks to be durable.
const WAITING_BYTES: usize = 8 << 20;
/// What is said of one row takes at most so many bytes: what the rules say, and what the reader, the token and what is held add.
const ROW_SAID_BYTES: usize = (FINDINGS_MAX + 32) * FINDING_BYTES_MAX;
/// Bytes of memory that all that is said of one submission's rows takes, at most: of chunks being judged and the one being
/// settled, of those that wait, of what is listed.
pub const SAID_BYTES_MAX: usize =
    (JUDGING + 2) * (JUDGED_BYTES + ROW_SAID_BYTES) + WAITING_BYTES + JUDGED_BYTES + ERRORS_BYTES_MAX;
/// Chunks waiting to be durable, for one submission.
const WAITING: usize = 16;

/// Why a submission ended early. What was accepted until then is durable, and will be found to be a duplicate.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The disk is nearly full.
    #[error("the node's disk is nearly full; its operator has been told")]
    Full,
    /// The charter retires this node: what it took would never go up.
    #[error("{0} is retired by the charter, and takes no records any more: hand them in where the charter says now")]
    Retired(Division),
    /// As much is staged as may be, the index does not answer, or the node stops.
    #[error("{0}; send the same again later, nothing is doubled")]
    Chunk(ChunkError),
    /// A row that the rules could not cope with: a fault of this program.
    #[error("internal: the rows could not be judged; the node's log tells where")]
    Internal,
    /// The rows that were not taken cannot be kept.
    #[error("the answer cannot be kept")]
    Keep(#[source] io::Error),
}

impl From<ChunkError> for UploadError {
    fn from(e: ChunkError) -> Self {
        Self::Chunk(e)
    }
}

/// A submission under way. Dropped before `finish`, it has no answer.
pub struct Upload {
    intake: IntakeHandle,
    terms: Arc<SubmissionTerms>,
    /// So far.
    answer: SubmissionAnswer,
    notes: NotesByField,
    errors: ListedErrors,
    /// Bytes of findings that wait with their chunks.
    waiting_bytes: usize,
    writer: SharedWriter,
    /// Records that rows were compared with.
    compared: usize,
    /// Nothing is taken: it is only told what would become of the rows.
    trial: Option<Box<Trial>>,
    judging: VecDeque<JudgingChunk>,
    waiting: VecDeque<SubmittedChunk>,
    /// The numbers of rows on their way.
    ahead: RowsAhead,
}

/// A chunk being judged, and the mark that was taken when that began.
struct JudgingChunk {
    mark: u64,
    judged: JoinHandle<JudgedChunk>,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("answer", &self.answer).finish_non_exhaustive()
    }
}

/// A chunk at the batcher, or one of which nothing could be taken.
struct SubmittedChunk {
    rows: RowChunk,
    tags: Vec<Tagged>,
    judged: Vec<JudgedRow>,
    /// Bytes of what is said of its rows.
    bytes: usize,
    /// Outcomes of the rows that have a record, in their order.
    result: Option<oneshot::Receiver<Result<ChunkResult, ChunkError>>>,
}

/// Makes a chunk, and where its result will come.
type MakeChunk = fn(Vec<CheckedRecord>, DedupPolicy) -> (RecordChunk, ChunkAnswer);

/// What a settled chunk leaves to be kept.
#[derive(Default)]
struct ToKeep {
    rows: Vec<KeptRow>,
    corrections: Vec<Correction>,
}

impl Upload {
    /// A submission without rows yet.
    pub(super) fn new(intake: IntakeHandle, terms: SubmissionTerms, writer: SharedWriter) -> Self {
        let log = intake.charter.charter().charter().federation().origin(intake.own);
        let answer = SubmissionAnswer { log: Some(log), ..SubmissionAnswer::default() };
        let (judging, waiting) = (VecDeque::new(), VecDeque::new());
        let (notes, errors, terms) = (NotesByField::default(), ListedErrors::default(), Arc::new(terms));
        let (waiting_bytes, compared, trial, ahead) = (0, 0, None, RowsAhead::default());
        Self { intake, terms, answer, notes, errors, waiting_bytes, writer, compared, trial, judging, waiting, ahead }
    }

    /// The same, of which nothing is to be taken.
    pub(super) fn trial(intake: IntakeHandle, terms: SubmissionTerms, writer: SharedWriter) -> Self {
        Self { trial: Some(Box::default()), ..Self::new(intake, terms, writer) }
    }

    /// Takes some rows; waits when many are under way.
    ///
    /// Cancel-safe in that nothing is doubled or counted wrongly: a chunk that was handed over is settled later or never.
    ///
    /// # Errors
    /// [`UploadError`]; the submission is then over.
    pub async fn take(&mut self, rows: RowChunk) -> Result<(), UploadError> {
        if rows.is_empty() {
            return Ok(());
        }
        if self.trial.is_none() && self.intake.full.load(Ordering::Relaxed) {
            return Err(UploadError::Full);
        }
        let me = self.intake.own.division;
        if self.intake.charter.charter().charter().node(me).is_some_and(|n| n.retired) {
            return Err(UploadError::Retired(me));
        }
        if self.is_over(rows.line(0), rows.len()) {
            return Ok(());
        }
        self.answer.read += rows.len() as u64;
        let judging = self.judge(rows, true);
        self.judging.push_back(judging);
        while self.judging.len() > JUDGING {
            self.submit(RecordChunk::followed).await?;
        }
        Ok(())
    }

    fn judge(&self, rows: RowChunk, may_be_known: bool) -> JudgingChunk {
        let judged = judge(&self.intake, &self.terms, rows, may_be_known && self.trial.is_none());
        JudgingChunk { mark: self.ahead.mark(), judged }
    }

    /// Whether rows are not looked at any more, because all before them were rejected: then they are counted. They are still
    /// read, so that the client gets its answer and a repetition is known by its digest.
    fn is_over(&mut self, line: u64, rows: usize) -> bool {
        let a = &mut self.answer;
        if a.ended.is_none() && a.rejected >= HOPELESS_ROWS && a.accepted + a.duplicate == 0 {
            a.ended = Some(EarlyEnd::all_rejected(line));
        }
        match &mut a.ended {
            Some(ended) => {
                ended.rows += rows as u64;
                true
            }
            None => false,
        }
    }

    /// A row that could not even be cut out of the input.
    async fn take_broken(&mut self, at: AtLine) -> Result<(), UploadError> {
        self.drain().await?;
        if self.is_over(at.line, 1) {
            return Ok(());
        }
        self.answer.read += 1;
        self.answer.rejected += 1;
        self.errors.say(at.line, &at.finding);
        let row = KeptRow::new(at.line, &RawRow::Line(b""), vec![at.finding], None, None);
        self.keep(ToKeep { rows: vec![row], corrections: Vec::new() }).await
    }

    /// The answer, when everything has its verdict and all that was accepted is durable; and why there is not all of it.
    pub(super) async fn finish(mut self) -> (SubmissionAnswer, Result<(), UploadError>) {
        let drained = self.drain().await;
        self.answer.notes = self.notes.into_list();
        (self.answer.errors, self.answer.errors_omitted) = self.errors.into_parts();
        if self.trial.is_some() {
            (self.answer.log, self.answer.trial) = (None, self.trial);
        }
        (self.answer, drained)
    }

    async fn drain(&mut self) -> Result<(), UploadError> {
        let mut first = Ok(());
        while !self.judging.is_empty() && first.is_ok() {
            first = self.submit(RecordChunk::of).await;
        }
        // Also after a failure the others are durable, and counted.
        while !self.waiting.is_empty() {
            let settled = self.settle().await;
            first = first.and(settled);
        }
        first
    }

    /// The oldest judged chunk goes to the batcher.
    async fn submit(&mut self, chunk: MakeChunk) -> Result<(), UploadError> {
        let Some(JudgingChunk { mark, judged }) = self.judging.pop_front() else { return Ok(()) };
        let judged = judged.await.map_err(|e| match e.is_panic() {
            true => UploadError::Internal,
            false => ChunkError::Stopping.into(),
        })?;
        if judged.is_overtaken(|form| self.ahead.has(mark, form)) {
            // What stands before a known row may change what is to be said of it: all are read.
            let judging = self.judge(judged.into_rows(), false);
            self.judging.push_front(judging);
            return Ok(());
        }
        let (known, forms) = (judged.known(), judged.forms());
        let JudgedChunk { rows, tags, mut judged, rest, policy, .. } = judged;
        self.answer.duplicate += known;
        let totals = &self.intake.batcher.totals;
        totals.duplicate.fetch_add(known, Ordering::Relaxed);
        totals.known.fetch_add(known, Ordering::Relaxed);
        if !rest.is_empty() {
            // Before whatever came after them.
            let judging = self.judge(rest, true);
            self.judging.push_front(judging);
        }
        if self.trial.is_some() {
            return self.try_out(rows, judged, policy).await;
        }
        let records: Vec<CheckedRecord> = judged.iter_mut().filter_map(|row| row.record.take()).collect();
        let result = match records.is_empty() {
            true => None,
            false => Some(self.intake.batcher.submit(chunk(records, policy)).await?),
        };
        let bytes = judged.iter().flat_map(|r| &r.findings).map(Finding::bytes).sum();
        self.waiting_bytes += bytes;
        self.ahead.sent(forms);
        self.waiting.push_back(SubmittedChunk { rows, tags, judged, bytes, result });
        // Chunks of which nothing could be taken hold many findings: they do not wait for others.
        let settled = |w: &VecDeque<SubmittedChunk>| w.front().is_some_and(|w| w.result.is_none());
        while self.waiting.len() > WAITING || settled(&self.waiting) || self.waiting_bytes > WAITING_BYTES {
            self.settle().await?;
        }
        Ok(())
    }

    /// Tells what would become of the rows of a judged chunk.
    async fn try_out(
        &mut self,
        rows: RowChunk,
        mut judged: Vec<JudgedRow>,
        policy: DedupPolicy,
    ) -> Result<(), UploadError> {
        let records: Vec<CheckedRecord> = judged.iter_mut().filter_map(|row| row.record.take()).collect();
        let batcher = self.intake.batcher.clone();
        let looked = tokio::task::spawn_blocking(move || batcher.look(&records, &policy).map(|fates| (records, fates)));
        let (records, fates) = looked.await.map_err(|_| UploadError::Internal)??;
        let mut differ = self.differences(&rows, &judged, &fates).await?;
        let (mut would_be, mut keep) = (records.into_iter().zip(fates), ToKeep::default());
        for (place, mut row) in judged.into_iter().enumerate() {
            let found = row.id.and_then(|id| would_be.next().map(|(checked, outcome)| (id, checked, outcome)));
            let (record, fate) = match found {
                Some((id, checked, mut outcome)) => {
                    if self.trial.as_mut().is_some_and(|t| t.brought(id)) && outcome.fate == RowFate::Staged {
                        outcome.fate = RowFate::Duplicate { held: id };
                    }
                    let fate = outcome.fate.clone();
                    self.conclude((place, &mut row), outcome, &mut differ);
                    (Some(checked.record), fate)
                }
                None => {
                    self.answer.rejected += 1;
                    (None, RowFate::Rejected)
                }
            };
            if let Some(trial) = &mut self.trial {
                trial.tell(row.line, &fate, (record.as_ref(), &row.changes, &row.findings));
            }
            self.tell(&rows, place, row, &mut keep);
        }
        Ok(())
    }

    /// The oldest chunk at the batcher becomes durable: every row of it has its verdict now.
    async fn settle(&mut self) -> Result<(), UploadError> {
        let Some(SubmittedChunk { rows, tags, judged, bytes, result }) = self.waiting.pop_front() else {
            return Ok(());
        };
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
        let result = match result {
            Some(answer) => answer.await.map_err(|_| ChunkError::Stopping)??,
            None => ChunkResult::default(),
        };
        self.ahead.settled(self.judging.iter().map(|j| j.mark).min());
        if let Some((from, to)) = result.range {
            let a = &mut self.answer;
            a.from = Some(a.from.map_or(from, |f| f.min(from)));
            a.to = Some(a.to.map_or(to, |t| t.max(to)));
        }
        self.answer.staged += result.staged();
        self.answer.staged_runs.extend(&result.staged);
        if let Some(why) = &result.because {
            self.answer.staged_because = Some(why.code().to_owned());
        }
        let mut differ = self.differences(&rows, &judged, &result.rows).await?;
        let before = self.answer.rejected;
        let (mut outcomes, mut keep) = (result.rows.into_iter(), ToKeep::default());
        let (mut taken, mut tags) = (Vec::new(), tags.into_iter());
        for (place, mut row) in judged.into_iter().enumerate() {
            let tagged = tags.next().unwrap_or_default();
            // A row without a record was refused before the batcher.
            match row.id.and_then(|_| outcomes.next()) {
                Some(outcome) => {
                    keep.corrections.extend(correction(&row, &outcome.fate));
                    taken.extend(tagged.taken(&row, &outcome).filter(|_| !result.by_id));
                    self.conclude((place, &mut row), outcome, &mut differ);
                }
                None => self.answer.rejected += 1,
            }
            self.tell(&rows, place, row, &mut keep);
        }
        self.remember(taken).await;
        let rejected = self.answer.rejected - before;
        self.intake.batcher.totals.rejected.fetch_add(rejected, Ordering::Relaxed);
        self.keep(keep).await
    }

    /// Remembers rows of which nothing is said, where they stand.
    async fn remember(&self, taken: Vec<(TakenRow, bool)>) {
        let Some(held) = self.intake.batcher.held().filter(|_| !taken.is_empty()) else { return };
        let (known, own) = (self.intake.known.clone(), self.intake.own);
        let remembered = tokio::task::spawn_blocking(move || {
            let place = |(row, is_placed): (TakenRow, bool)| {
                if is_placed { Some(row) } else { Some(TakenRow { index: held.index_of(own, &row.id)?, ..row }) }
            };
            known.remember(taken.into_iter().filter_map(place));
        });
        // It only saves time later.
        let _ = remembered.await;
    }

    /// What is told of the first rows that meet a record.
    async fn differences(
        &mut self,
        rows: &RowChunk,
        judged: &[JudgedRow],
        outcomes: &[RowOutcome],
    ) -> Result<Differing, UploadError> {
        let limited = self.terms.rights.is_some();
        let with_record = judged.iter().enumerate().filter(|(_, row)| row.id.is_some()).zip(outcomes);
        let mut asked: Vec<_> = with_record
            .flat_map(|((place, _), outcome)| {
                outcome.findings.iter().filter_map(move |(f, _)| Meeting::of(place, f, limited))
            })
            .take(COMPARED_MAX - self.compared)
            .collect();
        if asked.is_empty() {
            return Ok(Differing::new());
        }
        for met in &mut asked {
            met.held_place = judged.iter().take(met.place).position(|row| row.id == Some(met.held));
        }
        self.compared += asked.len();
        let (intake, terms, rows) = (self.intake.clone(), self.terms.clone(), rows.clone());
        let compared = tokio::task::spawn_blocking(move || {
            let charter = intake.charter.charter();
            differing(&terms.row_context(charter.charter(), intake.own.division), &*intake.held, &rows, &asked)
        });
        compared.await.map_err(|_| UploadError::Internal)
    }

    /// Counts what became of a row, and puts together what is to be said of it; `differ`: what may be told of what it meets.
    fn conclude(
        &mut self,
        (place, row): (usize, &mut JudgedRow),
        RowOutcome { fate, findings }: RowOutcome,
        differ: &mut Differing,
    ) {
        let limited = self.terms.rights.is_some();
        let found = findings.into_iter().map(|(found, severity)| {
            let told = Meeting::of(place, &found, limited).and_then(|met| differ.remove(&(place, met.held)));
            told.unwrap_or_else(|| finding_of(&found, limited)).with_severity(severity)
        });
        match fate {
            RowFate::Accepted { .. } | RowFate::Staged => self.answer.accepted += 1,
            RowFate::Rejected => self.answer.rejected += 1,
            RowFate::Duplicate { .. } => {
                self.answer.duplicate += 1;
                // Its notes were told when it was accepted.
                row.findings.retain(|f| f.severity >= Severity::Question);
            }
            RowFate::Superseded { .. } => {
                self.answer.duplicate += 1;
                // It is not in force, so nothing is asked about it; it is only told that it is not.
                row.findings = vec![superseded()];
            }
        }
        row.findings.extend(found);
    }

    /// Lists what is said of a row, and puts it aside to be kept if it is to be looked at.
    fn tell(&mut self, rows: &RowChunk, place: usize, row: JudgedRow, keep: &mut ToKeep) {
        for c in &row.changes {
            self.notes.changed(row.line, c);
        }
        let (mut findings, notes): (Vec<_>, Vec<_>) =
            row.findings.into_iter().partition(|f| f.severity > Severity::Note);
        notes.into_iter().for_each(|n| self.notes.found(row.line, n));
        if findings.is_empty() {
            return;
        }
        if findings.iter().all(|f| f.severity == Severity::Question) {
            self.answer.questions += 1;
        }
        // The worst first: it decides.
        findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
        findings.iter().for_each(|f| self.errors.say(row.line, f));
        if let Some(raw) = rows.raw(place) {
            keep.rows.push(KeptRow::new(row.line, &raw, findings, row.key.as_ref(), row.reply.as_ref()));
        }
    }

    async fn keep(&self, ToKeep { rows, corrections }: ToKeep) -> Result<(), UploadError> {
        if self.trial.is_some() || (rows.is_empty() && corrections.is_empty()) {
            return Ok(());
        }
        self.writer.run(move |w| w.write(rows, &corrections)).await.map_err(UploadError::Keep)
    }
}

impl RowSink for Upload {
    async fn rows(&mut self, rows: RowChunk) -> Result<(), InputError> {
        Ok(self.take(rows).await?)
    }

    async fn broken_row(&mut self, at: AtLine) -> Result<(), InputError> {
        Ok(self.take_broken(at).await?)
    }

    fn note(&mut self, note: InputNote) {
        self.notes.add(note);
    }

    fn catalog(&self) -> Arc<Catalog> {
        self.intake.charter.charter().charter().catalogs().current(tally_clock::judging_day()).clone()
    }

    fn category(&self) -> Option<&str> {
        self.terms.category.as_deref()
    }

    fn table_found(&mut self, columns: &TableColumns, category: &str) {
        self.writer.table_found(columns, category);
        Arc::make_mut(&mut self.terms).category.get_or_insert_with(|| category.to_owned());
    }

    fn format_found(&mut self, format: String) {
        self.answer.format = Some(format);
    }
}
