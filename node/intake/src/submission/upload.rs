//! One submission, from its first rows to its answer: the one path of every source. Bounded memory, however long it is;
//! what is answered is durable.

use crate::{
    Answer, Chunk, ChunkError, ChunkResult, Door, Good, Intake, Policy, Raw, Reply, Rights, Row, RowKey, Rows, Verdict,
    submission::answer::{ERRORS_MAX, Noted, Notes},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tally_core::NotSealed;
use tally_protocol::{
    finding::{AtLine, Finding},
    ids::{Division, LogId},
    record::RecordId,
};
use tally_topology::in_force::CharterHandle;
use tally_topology::{catalog::Severity, charter::Charter, signed::SignedCharter};
use tokio::{sync::oneshot, task::JoinHandle};

/// Rows that are read and judged together, and their bytes.
pub(crate) const CHUNK_ROWS: usize = 2_000;
/// See [`CHUNK_ROWS`].
pub(crate) const CHUNK_BYTES: usize = 256 << 10;
/// Chunks being judged at the same time, for one submission.
const JUDGING: usize = 2;
/// Findings that may wait with their chunks: some 10 MB.
const FINDINGS_WAITING: usize = 20_000;
/// Chunks waiting to be durable, for one submission.
const WAITING: usize = 16;

/// What every submission needs of the node.
#[derive(Debug, Clone)]
pub struct Desk {
    /// The charter in force.
    pub trust: CharterHandle,
    /// The batcher.
    pub intake: Intake,
    /// The own log.
    pub own: LogId,
    /// The disk is nearly full.
    pub full: Arc<AtomicBool>,
    /// The registrations held are all there are: a subject that is not among them is asked about (V011).
    pub base_is_complete: bool,
}

/// By whom and as what rows are handed in.
#[derive(Debug, Clone, Default)]
pub struct Submission {
    /// Category of rows that name none.
    pub category: Option<String>,
    /// Code of the unit that hands in.
    pub unit: Option<String>,
    /// Division that rows count for which do not say.
    pub division: Option<Division>,
    /// What the one who hands in may do.
    pub rights: Option<Rights>,
}

impl Submission {
    /// The door at which its rows are judged today, at the node `me`.
    pub fn door<'a>(&'a self, charter: &'a Charter, me: Division) -> Door<'a> {
        Door {
            charter,
            me,
            today: tally_clock::today(),
            category: self.category.as_deref(),
            unit: self.unit.as_deref(),
            division: self.division,
            rights: self.rights.as_ref(),
        }
    }
}

/// Why a submission ended early. What was accepted until then is durable, and will be found to be a duplicate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// The disk is nearly full.
    #[error("the node's disk is nearly full; its operator has been told")]
    Full,
    /// Nothing may be signed, the index does not answer, or the node stops.
    #[error("{0}; send the same again later, nothing is doubled")]
    Chunk(#[from] ChunkError),
    /// A row that the rules could not cope with: a fault of this program.
    #[error("internal: the rows could not be judged; the node's log tells where")]
    Internal,
    /// The rows that were not taken cannot be kept.
    #[error("the answer cannot be kept: {0}")]
    Keep(String),
}

/// Where rows that were not taken, or are asked about, are kept with what is said of them.
pub trait Keeper: Send {
    /// Keeps a row.
    ///
    /// # Errors
    /// When it cannot be written.
    fn keep(
        &mut self,
        line: u64,
        raw: &Raw<'_>,
        findings: &[Finding],
        by: (Option<&RowKey>, Option<&Reply>),
    ) -> Result<(), String>;

    /// Keeps that a row of an answer given before has been corrected, by this record.
    ///
    /// # Errors
    /// When it cannot be written.
    fn corrected(&mut self, reply: &Reply, by: RecordId) -> Result<(), String>;
}

/// A submission under way.
pub struct Upload {
    desk: Desk,
    terms: Arc<Submission>,
    /// So far.
    pub answer: Answer,
    notes: Notes,
    keeper: Box<dyn Keeper>,
    judging: VecDeque<JoinHandle<Judged>>,
    waiting: VecDeque<Waiting>,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("answer", &self.answer).finish_non_exhaustive()
    }
}

struct Judged {
    rows: Rows,
    judged: Vec<Row>,
    policy: Policy,
}

/// A chunk at the batcher, or one of which nothing could be taken.
struct Waiting {
    rows: Rows,
    judged: Vec<Row>,
    /// Places in the chunk of the records that the batcher was given.
    given: Vec<usize>,
    /// Things said of its rows.
    findings: usize,
    result: Option<oneshot::Receiver<Result<ChunkResult, ChunkError>>>,
}

fn policy(charter: &Charter, base_is_complete: bool) -> Policy {
    let catalog = charter.catalogs().current(tally_clock::today());
    let of = |rule: &str| catalog.rule(rule).and_then(|r| r.severity);
    Policy {
        other_name: of("V010"),
        no_subject: of("V011").filter(|_| base_is_complete),
        conflict: of("V013"),
        no_original: of("V014"),
    }
}

impl Upload {
    /// A submission without rows yet.
    pub fn new(desk: Desk, terms: Submission, keeper: Box<dyn Keeper>) -> Self {
        let log = desk.trust.charter().charter().federation().origin(desk.own);
        let answer = Answer { log, ..Answer::default() };
        let (judging, waiting) = (VecDeque::new(), VecDeque::new());
        Self { desk, terms: Arc::new(terms), answer, notes: Notes::default(), keeper, judging, waiting }
    }

    /// The charter in force.
    pub fn charter(&self) -> Arc<SignedCharter> {
        self.desk.trust.charter()
    }

    /// Category of rows that name none.
    pub fn category(&self) -> Option<&str> {
        self.terms.category.as_deref()
    }

    /// The rows' category has become known.
    pub(crate) fn of_category(&mut self, category: &str) {
        Arc::make_mut(&mut self.terms).category.get_or_insert_with(|| category.to_owned());
    }

    /// Takes some rows; waits when many are under way.
    ///
    /// # Errors
    /// [`UploadError`]; the submission is then over.
    pub async fn rows(&mut self, rows: Rows) -> Result<(), UploadError> {
        if rows.is_empty() {
            return Ok(());
        }
        if self.desk.full.load(Ordering::Relaxed) {
            return Err(UploadError::Full);
        }
        self.answer.read += rows.len() as u64;
        let (trust, me, terms) = (self.desk.trust.clone(), self.desk.own.division, self.terms.clone());
        let base_is_complete = self.desk.base_is_complete;
        self.judging.push_back(tokio::task::spawn_blocking(move || {
            let charter = trust.charter();
            let charter = charter.charter();
            let judged = rows.judged(&terms.door(charter, me));
            Judged { rows, judged, policy: policy(charter, base_is_complete) }
        }));
        while self.judging.len() > JUDGING {
            self.submit().await?;
        }
        Ok(())
    }

    /// Something to know about the input that no row is wrong for.
    pub fn note(&mut self, noted: Noted) {
        self.notes.add(noted);
    }

    /// A row that could not even be cut out of the input.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn broken_row(&mut self, at: AtLine) -> Result<(), UploadError> {
        self.drain().await?;
        self.answer.read += 1;
        self.answer.rejected += 1;
        self.keeper
            .keep(at.line, &Raw::Line(b""), std::slice::from_ref(&at.finding), (None, None))
            .map_err(UploadError::Keep)?;
        self.list(at);
        Ok(())
    }

    /// The answer, when everything has its verdict and all that was accepted is durable.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn finish(mut self) -> Result<Answer, (UploadError, Answer)> {
        let drained = self.drain().await;
        self.answer.notes = self.notes.into_list();
        match drained {
            Ok(()) => Ok(self.answer),
            Err(e) => Err((e, self.answer)),
        }
    }

    async fn drain(&mut self) -> Result<(), UploadError> {
        let mut first = Ok(());
        while !self.judging.is_empty() && first.is_ok() {
            first = self.submit().await;
        }
        // Also after a failure the others are durable, and counted.
        while !self.waiting.is_empty() {
            let settled = self.settle().await;
            first = first.and(settled);
        }
        first
    }

    /// The oldest judged chunk goes to the batcher.
    async fn submit(&mut self) -> Result<(), UploadError> {
        let Some(judging) = self.judging.pop_front() else { return Ok(()) };
        let Judged { rows, mut judged, policy } = judging.await.map_err(|e| match e.is_panic() {
            true => UploadError::Internal,
            false => ChunkError::Stopping.into(),
        })?;
        let mut given = Vec::new();
        let mut records: Vec<Good> = Vec::new();
        for (place, row) in judged.iter_mut().enumerate() {
            if let Some(good) = row.good.take() {
                given.push(place);
                records.push(good);
            }
        }
        let result = match records.is_empty() {
            true => None,
            false => Some(self.desk.intake.submit(Chunk::of(records, policy)).await?),
        };
        let findings = judged.iter().map(|r| r.findings.len()).sum();
        self.waiting.push_back(Waiting { rows, judged, given, findings, result });
        // Chunks of which nothing could be taken hold many findings: they do not wait for others.
        let settled = |w: &VecDeque<Waiting>| w.front().is_some_and(|w| w.result.is_none());
        while self.waiting.len() > WAITING || settled(&self.waiting) || self.findings_waiting() > FINDINGS_WAITING {
            self.settle().await?;
        }
        Ok(())
    }

    fn findings_waiting(&self) -> usize {
        self.waiting.iter().map(|w| w.findings).sum()
    }

    /// The oldest chunk at the batcher becomes durable: every row of it has its verdict now.
    async fn settle(&mut self) -> Result<(), UploadError> {
        let Some(Waiting { rows, mut judged, given, result, .. }) = self.waiting.pop_front() else { return Ok(()) };
        let result = match result {
            Some(answer) => answer.await.map_err(|_| ChunkError::Stopping)??,
            None => ChunkResult::default(),
        };
        let a = &mut self.answer;
        a.accepted += result.accepted;
        a.duplicate += result.duplicate;
        let rejected = (judged.len() - given.len()) as u64 + result.rejected;
        a.rejected += rejected;
        self.desk.intake.totals.rejected.fetch_add(rejected, Ordering::Relaxed);
        if let Some((from, to)) = result.range {
            a.from = Some(a.from.map_or(from, |f| f.min(from)));
            a.to = Some(a.to.map_or(to, |t| t.max(to)));
        }
        // Of what is held, notes were told when it came; and what is not in force any more is not asked about.
        let not_in_force = result.verdicts.iter().filter(|(_, v, _)| *v == Verdict::NotInForce);
        let superseded: BTreeSet<usize> = not_in_force.map(|(i, ..)| *i).collect();
        for (i, _) in &result.held {
            if let Some(row) = given.get(*i).and_then(|place| judged.get_mut(*place)) {
                let least = if superseded.contains(i) { Severity::Reject } else { Severity::Question };
                row.findings.retain(|f| f.severity >= least);
            }
        }
        for (i, verdict, severity) in result.verdicts {
            if let Some(row) = given.get(i).and_then(|place| judged.get_mut(*place)) {
                row.findings.push(said(&verdict, severity));
            }
        }
        // Of what is held the record that is; what is not in force corrects nothing.
        let in_force = result.held.iter().filter(|(i, _)| !superseded.contains(i));
        let held: BTreeMap<usize, RecordId> = in_force.filter_map(|(i, id)| Some((*given.get(*i)?, *id))).collect();
        let gone: BTreeSet<usize> = superseded.iter().filter_map(|i| given.get(*i).copied()).collect();
        let given: BTreeSet<usize> = given.into_iter().collect();
        for (place, row) in judged.into_iter().enumerate() {
            let taken = given.contains(&place) && row.findings.iter().all(|f| f.severity < Severity::Reject);
            if let Some((reply, id)) = row.reply.as_ref().zip(row.record).filter(|_| taken && !gone.contains(&place)) {
                let by = held.get(&place).copied().unwrap_or(id);
                // A row that was asked about and is the same still corrects nothing.
                let key = row.key.as_ref().map_or("", |k| k.business_key.as_str());
                if !(held.contains_key(&place) && reply.is_of(key) && by != id) {
                    self.keeper.corrected(reply, by).map_err(UploadError::Keep)?;
                }
            }
            self.tell(&rows, place, row)?;
        }
        Ok(())
    }

    fn tell(&mut self, rows: &Rows, place: usize, row: Row) -> Result<(), UploadError> {
        for c in &row.changes {
            self.notes.changed(row.line, &c.field, c.change);
        }
        if row.findings.is_empty() {
            return Ok(());
        }
        let (mut findings, notes): (Vec<_>, Vec<_>) =
            row.findings.into_iter().partition(|f| f.severity > Severity::Note);
        notes.into_iter().for_each(|n| self.notes.found(row.line, n));
        if findings.is_empty() {
            return Ok(());
        }
        if findings.iter().all(|f| f.severity == Severity::Question) {
            self.answer.questions += 1;
        }
        // The worst first: it decides.
        findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
        if let Some(raw) = rows.raw(place) {
            self.keeper
                .keep(row.line, &raw, &findings, (row.key.as_ref(), row.reply.as_ref()))
                .map_err(UploadError::Keep)?;
        }
        findings.into_iter().for_each(|f| self.list(f.at_line(row.line)));
        Ok(())
    }

    fn list(&mut self, finding: AtLine) {
        if self.answer.errors.len() < ERRORS_MAX {
            self.answer.errors.push(finding);
        } else {
            self.answer.errors_omitted += 1;
        }
    }
}

fn said(verdict: &Verdict, severity: Severity) -> Finding {
    let (code, field, en, zh): (&'static str, _, String, String) = match verdict {
        Verdict::OtherName(name) => (
            "V010",
            "subject_name",
            format!("the subject is registered as {name}: compare the name with the certificate"),
            format!("名称与登记信息不一致：登记名称为 {name}"),
        ),
        Verdict::NoSubject => (
            "V011",
            "subject_uscc",
            "no registration of this subject is held: compare its code with the certificate".into(),
            "未找到对应主体（记名不成功）".into(),
        ),
        Verdict::Conflict => (
            "V013",
            "business_key",
            "another record with the same business key and other content is held: amend that one, or correct the number".into(),
            "同一文号内容不一致：请变更原记录或更正文号".into(),
        ),
        Verdict::NoOriginal => (
            "V014",
            "operation",
            "no original is held that this could amend or withdraw: hand in the original first".into(),
            "变更/撤销无原记录：请先报送原记录".into(),
        ),
        Verdict::NotInForce => (
            "V013",
            "business_key",
            "held already, but amended or withdrawn since, and that stays so: to bring it back into force, hand it in with operation amend, and in amends the id of the record that is in force (tally compare does so)".into(),
            "该记录此前已报送，其后已变更或撤销，重复报送不恢复其效力：如需恢复，请以“变更”方式报送并在 amends 中填写现行记录的标识（tally compare 可自动完成）".into(),
        ),
    };
    Finding { severity, ..Finding::reject(code, field, en, zh) }
}

impl From<NotSealed> for UploadError {
    fn from(e: NotSealed) -> Self {
        Self::Chunk(e.into())
    }
}
