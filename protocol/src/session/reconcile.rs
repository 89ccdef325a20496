//! Reconcile: two neighbours compare what they hold, find what differs, and give each other what is missing.
//!
//! The side that opened the stream asks, the other answers; both are pure. Logs are signed, so each side knows its own
//! damage and its gaps by itself and says so; what is wanted is asked for by position, in one round trip. Only where two
//! whole histories contradict each other are trees compared ([`super::Descent`]).

mod messages;

pub use messages::{
    EXCHANGE_BYTES_MAX, Lacking, Piece, REMAINS_MAX, ROOTS_MAX, ReconcileReply, ReconcileRequest, Remains, Scope,
};

use super::Wants;
use crate::tame::tame;
use crate::{
    hash::Hash,
    ids::LogId,
    wire::{Head, Refusal, head_pages},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Ranges of records named in a result; beyond, they are only counted.
pub const DIFFERENCES_MAX: usize = 10_000;
/// Most bytes of heads and lacks that are kept of an answer: some 30,000 logs.
const STANDING_BYTES_MAX: usize = 16 << 20;

/// What a side holds and lacks, of all logs in scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScopeStanding {
    /// Head of each log that is not empty.
    pub heads: BTreeMap<LogId, Head>,
    /// What is missing.
    pub lacks: BTreeMap<LogId, Lacking>,
}

impl ScopeStanding {
    /// As messages.
    pub fn messages(&self) -> impl Iterator<Item = ReconcileReply> {
        let pages = head_pages(self.heads.values().cloned().collect())
            .into_iter()
            .filter(|p| !p.is_empty())
            .map(ReconcileReply::Heads);
        let lacks =
            self.lacks.iter().map(|(log, lacking)| ReconcileReply::Lacks { log: *log, lacking: lacking.clone() });
        pages.chain(lacks).chain([ReconcileReply::Stands])
    }

    /// Adds to what is missing of a log.
    fn add(&mut self, log: LogId, lacking: Lacking) {
        let mut wants = self.wants(log);
        if let Ok(more) = Wants::decode(&lacking.wants) {
            more.ranges().for_each(|r| wants.insert(r));
        }
        let entry = self.lacks.entry(log).or_default();
        entry.wants = wants.encode();
        entry.remains.extend(lacking.remains);
    }

    fn wants(&self, log: LogId) -> Wants {
        self.lacks.get(&log).and_then(|l| Wants::decode(&l.wants).ok()).unwrap_or_else(|| Wants::new(log))
    }

    fn size(&self, log: LogId) -> u64 {
        self.heads.get(&log).map_or(0, |h| h.size)
    }
}

/// How a range of records stands at one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RangeHolding {
    /// There, and it leads to the signed root.
    Ok,
    /// Lost to damage.
    Damaged,
    /// Never arrived.
    Missing,
    /// There, but not what the other side holds.
    Other,
}

/// Records that the two sides do not hold alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// Of which log.
    pub log: LogId,
    /// First record.
    pub from: u64,
    /// One past the last.
    pub to: u64,
    /// At the asking side.
    pub here: RangeHolding,
    /// At the answering side.
    pub there: RangeHolding,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReconcileStep {
    /// Send this and hand over every answer.
    Send(ReconcileRequest),
    /// Read from the disk what the other side lacks of this log, and send it as [`ReconcileRequest::Here`].
    Give {
        /// Of which log.
        log: LogId,
        /// What.
        lacking: Lacking,
    },
    /// Look up this side's roots at these sizes, for [`Reconcile::own_roots`]. The time to look up is now: logs grow.
    OwnRoots(Vec<(LogId, u64)>),
    /// Compare the tree of this log at this size; questions go out as [`ReconcileRequest::Nodes`].
    Descend {
        /// Which log.
        log: LogId,
        /// Common size.
        size: u64,
    },
    /// All that can be said is known.
    Finished,
}

/// A message that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Not an answer to the last question.
    #[error("an answer to another question")]
    OutOfTurn,
    /// A part cannot be read.
    #[error("an answer that cannot be read: {0}")]
    Malformed(String),
    /// More than was asked for.
    #[error("more was sent than was asked for")]
    TooMuch,
    /// It refused.
    #[error("refused ({0}): {1}")]
    Refused(Refusal, String),
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Compare,
    Comparing,
    OwnRoots,
    Roots(Vec<(LogId, u64)>),
    AskingRoots(Vec<(LogId, u64)>),
    Work,
    Fetching(LogId),
    Finished,
}

/// The asking side of one comparison. What is missing here is fetched, and what is missing there is given, if `repair`.
#[derive(Debug)]
pub struct Reconcile {
    scope: Scope,
    digest: Option<Hash>,
    deep: bool,
    repair: bool,
    mine: ScopeStanding,
    theirs: ScopeStanding,
    theirs_bytes: usize,
    phase: Phase,
    own_roots: BTreeMap<LogId, Option<Hash>>,
    descend: Vec<(LogId, u64)>,
    fetch: Vec<(LogId, Lacking)>,
    give: Vec<(LogId, Lacking)>,
    differences: Vec<Difference>,
    /// Pieces that may still come for what was asked for last.
    pieces_left: u64,
    /// Round trips so far.
    pub rounds: u64,
    agree: bool,
}

impl Reconcile {
    /// A comparison of `mine` with whoever answers. `digest` is that of the scope, as the other side would compute it.
    pub fn new(scope: Scope, digest: Option<Hash>, mine: ScopeStanding, deep: bool, repair: bool) -> Self {
        Self {
            scope,
            digest,
            deep,
            repair,
            mine,
            theirs: ScopeStanding::default(),
            theirs_bytes: 0,
            phase: Phase::Compare,
            own_roots: BTreeMap::new(),
            descend: Vec::new(),
            fetch: Vec::new(),
            give: Vec::new(),
            differences: Vec::new(),
            pieces_left: 0,
            rounds: 0,
            agree: false,
        }
    }

    /// Whether both sides hold the same and all of it.
    pub fn agree(&self) -> bool {
        self.agree
    }

    /// What the two sides do not hold alike, as found before anything was mended.
    pub fn differences(&self) -> &[Difference] {
        &self.differences
    }

    /// Where the other side said to stand.
    pub fn theirs(&self) -> &ScopeStanding {
        &self.theirs
    }

    /// What to do next.
    pub fn step(&mut self) -> ReconcileStep {
        match std::mem::replace(&mut self.phase, Phase::Work) {
            Phase::Compare => {
                self.phase = Phase::Comparing;
                self.rounds += 1;
                ReconcileStep::Send(ReconcileRequest::Compare {
                    scope: self.scope,
                    digest: self.digest,
                    deep: self.deep,
                })
            }
            Phase::OwnRoots => {
                self.phase = Phase::OwnRoots;
                let shorter = |(log, head): (&LogId, &Head)| {
                    let mine = self.mine.size(*log);
                    (head.size < mine).then_some((*log, head.size))
                };
                ReconcileStep::OwnRoots(self.theirs.heads.iter().filter_map(shorter).collect())
            }
            Phase::Roots(wanted) => {
                self.phase = Phase::AskingRoots(wanted.clone());
                self.rounds += 1;
                ReconcileStep::Send(ReconcileRequest::Roots(wanted))
            }
            Phase::Work => self.work(),
            phase @ (Phase::Comparing | Phase::AskingRoots(_) | Phase::Fetching(_)) => {
                self.phase = phase;
                ReconcileStep::Finished
            }
            Phase::Finished => {
                self.phase = Phase::Finished;
                ReconcileStep::Finished
            }
        }
    }

    fn work(&mut self) -> ReconcileStep {
        if let Some((log, size)) = self.descend.pop() {
            return ReconcileStep::Descend { log, size };
        }
        if let Some((log, lacking)) = self.fetch.pop() {
            self.phase = Phase::Fetching(log);
            // A batch has one record at least.
            self.pieces_left = Wants::decode(&lacking.wants).map_or(0, |w| w.len());
            self.rounds += 1;
            return ReconcileStep::Send(ReconcileRequest::Want { log, lacking });
        }
        if let Some((log, lacking)) = self.give.pop() {
            return ReconcileStep::Give { log, lacking };
        }
        self.phase = Phase::Finished;
        ReconcileStep::Finished
    }

    /// Takes an answer; a piece is handed on to be proved. The flag says whether more answers to the same question
    /// follow.
    ///
    /// # Errors
    /// [`Violation`]; the exchange is then over.
    pub fn take(&mut self, answer: ReconcileReply) -> Result<(Option<Piece>, bool), Violation> {
        if let ReconcileReply::Refused { code, reason } = answer {
            return Err(Violation::Refused(code, tame(&reason).chars().take(300).collect()));
        }
        match (&self.phase, answer) {
            (Phase::Comparing, ReconcileReply::Working { .. }) => Ok((None, true)),
            (Phase::Comparing, ReconcileReply::Agree) => {
                self.phase = Phase::Work;
                self.theirs = ScopeStanding { heads: self.mine.heads.clone(), lacks: BTreeMap::new() };
                self.judge(&BTreeMap::new());
                Ok((None, false))
            }
            (Phase::Comparing, ReconcileReply::Heads(heads)) => {
                let scope = self.scope;
                self.theirs_bytes += heads.iter().map(|h| 128 + h.note.len()).sum::<usize>();
                self.theirs.heads.extend(heads.into_iter().filter(|h| scope.has(h.log)).map(|h| (h.log, h)));
                self.bounded().map(|()| (None, true))
            }
            (Phase::Comparing, ReconcileReply::Lacks { log, lacking }) => {
                Wants::decode(&lacking.wants).map_err(|e| Violation::Malformed(e.to_string()))?;
                // A range takes a byte on the wire and forty here.
                let sums: usize = lacking.remains.iter().map(|r| 64 + 4 * r.sums.len()).sum();
                self.theirs_bytes += 128 + 40 * lacking.wants.len() + sums;
                if self.scope.has(log) {
                    self.theirs.add(log, lacking);
                }
                self.bounded().map(|()| (None, true))
            }
            (Phase::Comparing, ReconcileReply::Stands) => {
                self.phase = Phase::OwnRoots;
                Ok((None, false))
            }
            (Phase::AskingRoots(wanted), ReconcileReply::Roots(roots)) => {
                if roots.len() != wanted.len() {
                    return Err(Violation::TooMuch);
                }
                let known = wanted.iter().map(|(log, _)| *log).zip(roots).collect();
                self.phase = Phase::Work;
                self.judge(&known);
                Ok((None, false))
            }
            (Phase::Fetching(wanted), ReconcileReply::Piece(piece)) => {
                let (Piece::Whole { log, .. } | Piece::Blocks { log, .. }) = &piece;
                if log != wanted {
                    return Err(Violation::OutOfTurn);
                }
                self.pieces_left = self.pieces_left.checked_sub(1).ok_or(Violation::TooMuch)?;
                Ok((Some(piece), true))
            }
            (Phase::Fetching(_), ReconcileReply::End) => {
                self.phase = Phase::Work;
                Ok((None, false))
            }
            _ => Err(Violation::OutOfTurn),
        }
    }

    fn bounded(&self) -> Result<(), Violation> {
        if self.theirs_bytes > STANDING_BYTES_MAX { Err(Violation::TooMuch) } else { Ok(()) }
    }

    /// Takes this side's roots where the other side stands. Where it has more, only it can say whether that continues
    /// what is here.
    pub fn own_roots(&mut self, roots: BTreeMap<LogId, Option<Hash>>) {
        if self.phase != Phase::OwnRoots {
            return;
        }
        self.own_roots = roots;
        let longer = |(log, head): (&LogId, &Head)| {
            let mine = self.mine.size(*log);
            (head.size > mine && mine > 0).then_some((*log, mine))
        };
        let wanted: Vec<_> = self.theirs.heads.iter().filter_map(longer).take(ROOTS_MAX).collect();
        if wanted.is_empty() {
            self.phase = Phase::Work;
            self.judge(&BTreeMap::new());
        } else {
            self.phase = Phase::Roots(wanted);
        }
    }

    /// Everything is known: what differs, and what is to be done about it.
    fn judge(&mut self, theirs_at_mine: &BTreeMap<LogId, Option<Hash>>) {
        let mut logs: BTreeSet<_> = self.mine.heads.keys().chain(self.theirs.heads.keys()).copied().collect();
        logs.extend(self.mine.lacks.keys().chain(self.theirs.lacks.keys()));
        let logs: Vec<_> = logs.into_iter().filter(|l| self.scope.has(*l)).collect();
        for log in logs {
            let (here, there) = (self.mine.size(log), self.theirs.size(log));
            let common = here.min(there);
            let same = match (self.mine.heads.get(&log), self.theirs.heads.get(&log)) {
                (Some(a), Some(b)) if a.size == b.size => Some(a.root == b.root),
                (Some(_), Some(b)) if here > there => self.own_roots.get(&log).copied().flatten().map(|r| r == b.root),
                (Some(a), Some(_)) => theirs_at_mine.get(&log).copied().flatten().map(|r| r == a.root),
                _ => Some(true),
            };
            if same != Some(true) {
                // Nothing is fetched or given across two histories.
                self.descend.push((log, common));
                continue;
            }
            self.compare_lacks(log, here, there);
        }
        self.differences.truncate(DIFFERENCES_MAX);
        self.agree = self.differences.is_empty() && self.descend.is_empty();
    }

    fn compare_lacks(&mut self, log: LogId, here: u64, there: u64) {
        let (mut i_lack, mut they_lack) = (self.mine.wants(log), self.theirs.wants(log));
        let holding = |size: u64, lacks: &Wants, from: u64| match () {
            () if from >= size => RangeHolding::Missing,
            () if lacks.contains(from) => RangeHolding::Damaged,
            () => RangeHolding::Ok,
        };
        if here < there {
            i_lack.insert(here..there);
        }
        if there < here {
            they_lack.insert(there..here);
        }
        let mut edges: BTreeSet<u64> = [here, there].into();
        for wants in [&i_lack, &they_lack] {
            edges.extend(wants.ranges().flat_map(|r| [r.start, r.end]));
        }
        let edges: Vec<_> = edges.into_iter().collect();
        for pair in edges.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            let (at_mine, at_theirs) = (holding(here, &i_lack, from), holding(there, &they_lack, from));
            if (at_mine, at_theirs) != (RangeHolding::Ok, RangeHolding::Ok) {
                self.differences.push(Difference { log, from, to, here: at_mine, there: at_theirs });
            }
        }
        if !self.repair {
            return;
        }
        let (fetch, give) = (i_lack.without(&they_lack), they_lack.without(&i_lack));
        for wants in fetch.pages() {
            self.fetch.push((log, lacking(&wants, self.mine.lacks.get(&log))));
        }
        for wants in give.pages() {
            self.give.push((log, lacking(&wants, self.theirs.lacks.get(&log))));
        }
    }

    /// A descent has found these records of `log` to be different.
    pub fn descended(&mut self, log: LogId, ranges: &[std::ops::Range<u64>]) {
        let (here, there) = (RangeHolding::Other, RangeHolding::Other);
        let found = ranges.iter().map(|r| Difference { log, from: r.start, to: r.end, here, there });
        let room = DIFFERENCES_MAX.saturating_sub(self.differences.len());
        self.differences.extend(found.take(room));
        self.agree = self.differences.is_empty() && self.descend.is_empty();
    }
}

/// `wants` with the remains of those batches.
fn lacking(wants: &Wants, all: Option<&Lacking>) -> Lacking {
    let remains = all.map_or(&[][..], |l| &l.remains);
    let remains = remains.iter().filter(|r| wants.contains(r.start)).cloned().collect();
    Lacking { wants: wants.encode(), remains }
}

#[cfg(test)]
mod tests;
