//! What readers see of the core: status, exports, reports, metrics and long work read it, on their own threads.
//!
//! It is immutable for them: after each round the driver publishes a copy, which shares the maps of batches with the next
//! one. It decides nothing.

use crate::{
    ClockTrouble, Gate, NotSealed, Place, ToldHealth,
    log::HeldLog,
    replica::{Child, Parent, ParentLink, Requests},
};
use std::{collections::BTreeMap, sync::Arc};
use tally_protocol::{
    digest::{LogPart, fold},
    hash::Hash,
    health::AboveWord,
    ids::{Division, LogId, LogKind},
    merkle::Tree,
    wire::CharterMark,
};
use tally_topology::{
    charter::{Charter, RowsOfNode},
    signed::SignedCharter,
};

/// A node as it stands at the end of a round.
#[derive(Debug, Clone)]
pub struct View {
    pub(crate) own: LogId,
    pub(crate) charter: Arc<SignedCharter>,
    /// Another charter of the version that the file held, found in the journal at the start.
    pub(crate) charter_in_journal: Option<CharterMark>,
    pub(crate) logs: BTreeMap<LogId, Arc<HeldLog>>,
    pub(crate) gate: Gate,
    pub(crate) parent: Parent,
    pub(crate) children: BTreeMap<Division, Child>,
    /// Conflicts that a neighbour saw and that cannot be seen here.
    pub(crate) reported: BTreeMap<LogId, String>,
    /// Frames of the journal that were passed over at the start because no signature proves them.
    pub(crate) unproved: u64,
    /// No link to the parent: bundles are carried.
    pub(crate) offline: bool,
    /// The operator has opened the gate in this run, and why.
    pub(crate) opened_by_word: Option<String>,
    /// Why the clock cannot be trusted.
    pub(crate) clock: Option<ClockTrouble>,
    /// How far the clock has to be put forward to be right, in milliseconds.
    pub(crate) correction_ms: i64,
    /// Another machine runs with this node's key.
    pub(crate) same_key: bool,
    pub(crate) requests: Arc<Requests>,
    /// What was told of the nodes below.
    pub(crate) health: Arc<BTreeMap<Division, ToldHealth>>,
    /// What the levels above say of logs of this node and those below it.
    pub(crate) above: Vec<ToldAbove>,
}

/// A word of a level above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldAbove {
    /// What it says.
    pub word: AboveWord,
    /// Since when, by this node's clock, POSIX milliseconds.
    pub since_ms: u64,
}

impl ToldAbove {
    /// Whether another word says the same.
    pub(crate) fn is_of(&self, word: &AboveWord) -> bool {
        (self.word.log, self.word.by, self.word.fault) == (word.log, word.by, word.fault)
    }

    /// The word with its age as of now.
    pub(crate) fn now(&self, now_ms: u64) -> AboveWord {
        AboveWord { since_ms: now_ms.saturating_sub(self.since_ms), ..self.word.clone() }
    }
}

impl View {
    pub(crate) fn at_start(own: LogId, charter: Arc<SignedCharter>) -> Self {
        Self {
            own,
            charter,
            charter_in_journal: None,
            logs: BTreeMap::new(),
            gate: Gate::default(),
            parent: Parent::default(),
            children: BTreeMap::new(),
            reported: BTreeMap::new(),
            unproved: 0,
            offline: false,
            opened_by_word: None,
            clock: None,
            correction_ms: 0,
            same_key: false,
            requests: Arc::default(),
            health: Arc::default(),
            above: Vec::new(),
        }
    }

    pub(crate) fn log_mut(&mut self, id: LogId) -> &mut HeldLog {
        Arc::make_mut(self.logs.entry(id).or_default())
    }

    pub(crate) fn health_mut(&mut self) -> &mut BTreeMap<Division, ToldHealth> {
        Arc::make_mut(&mut self.health)
    }

    /// What the levels above say of logs of this node and those below it, as of the last word of the parent.
    pub fn above(&self) -> &[ToldAbove] {
        &self.above
    }

    /// The node's own log.
    pub fn own(&self) -> LogId {
        self.own
    }

    /// The node's division.
    pub fn me(&self) -> Division {
        self.own.division
    }

    /// The charter in force.
    pub fn charter(&self) -> &Charter {
        self.charter.charter()
    }

    /// The charter in force, signed.
    pub fn signed_charter(&self) -> &Arc<SignedCharter> {
        &self.charter
    }

    /// All logs that are held, also empty ones that were opened.
    pub fn logs(&self) -> &BTreeMap<LogId, Arc<HeldLog>> {
        &self.logs
    }

    /// A log that is held.
    pub fn log(&self, id: LogId) -> Option<&HeldLog> {
        self.logs.get(&id).map(Arc::as_ref)
    }

    /// Whether the own log may be signed.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The link to the parent.
    pub fn parent(&self) -> &Parent {
        &self.parent
    }

    /// Frames of the journal that were passed over at the start because no signature proves them.
    pub fn unproved(&self) -> u64 {
        self.unproved
    }

    /// Conflicts that neighbours have seen and that cannot be seen here.
    pub fn reported(&self) -> &BTreeMap<LogId, String> {
        &self.reported
    }

    /// Children that have called since the start.
    pub fn children(&self) -> &BTreeMap<Division, Child> {
        &self.children
    }

    /// Whether bundles are carried instead of a link to the parent.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// Why the operator has opened the gate in this run, if he has.
    pub fn opened_by_word(&self) -> Option<&str> {
        self.opened_by_word.as_deref()
    }

    /// Why the clock cannot be trusted; `None` if it can.
    pub fn clock(&self) -> Option<ClockTrouble> {
        self.clock
    }

    /// How far the clock has to be put forward to be right, in milliseconds.
    pub fn correction_ms(&self) -> i64 {
        self.correction_ms
    }

    /// Whether another machine runs with this node's key.
    pub fn same_key(&self) -> bool {
        self.same_key
    }

    /// Neighbours that have another charter of the version in force here, with its hash, as they last said.
    pub fn charters_that_differ(&self) -> Vec<(Division, Hash)> {
        let here = self.charter.mark();
        let parent = self.parent.link.iter().filter_map(|up| Some((up.peer, up.charter?)));
        let children = self.children.iter().filter_map(|(d, child)| Some((*d, child.charter?)));
        let differs = |(_, mark): &(Division, CharterMark)| mark.version == here.version && *mark != here;
        parent.chain(children).filter(differs).map(|(d, mark)| (d, mark.hash)).collect()
    }

    /// The hash of another charter of the version in force: it stands in this node's journal, the one in force came from the
    /// file.
    pub fn charter_replaced_by_file(&self) -> Option<Hash> {
        let here = self.charter.mark();
        self.charter_in_journal.filter(|mark| mark.version == here.version && *mark != here).map(|mark| mark.hash)
    }

    /// What this node and those below it ask of the authority.
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// The largest size up to which every record of a log can be had from this disk, and the root there.
    pub fn whole_head(&self, id: LogId) -> (u64, Hash) {
        let nothing = HeldLog::default();
        let log = self.log(id).unwrap_or(&nothing);
        let size = log.missing().first().map_or(log.size(), |(from, _)| *from);
        let root = log.root_at(size).unwrap_or_else(|| Tree::default().root());
        debug_assert!(log.root_at(size).is_some(), "what is missing begins where a batch ends");
        (size, root)
    }

    /// Records of the own log that are not to be had from this disk, nor from above: what the parent has been sent, and has
    /// said to hold, ends before them, and nobody above has confirmed them. Empty while the parent has not answered.
    pub fn lost(&self) -> Vec<(u64, u64)> {
        let Some(log) = self.log(self.own).filter(|l| !l.is_whole()) else { return Vec::new() };
        let Some(above) = self.held_above(log) else { return Vec::new() };
        log.missing().into_iter().filter(|(_, to)| *to > above).map(|(from, to)| (from.max(above), to)).collect()
    }

    /// More of the own log than this nobody above holds.
    fn held_above(&self, log: &HeldLog) -> Option<u64> {
        let told = match self.charter().parent(self.me()) {
            None => return Some(0),
            Some(_) => self.parent.own_head.map(|(size, _)| size),
        };
        let link = self.parent.link.as_ref().filter(|l| l.frontier_known);
        let push = |l: &ParentLink| l.pushes.get(&self.own).map(|p| (p.next(), p.stopped()));
        // A push that was stopped had not sent all that it was handed: what the parent said and confirmed counts then.
        let sent = match link.map(push) {
            None | Some(Some((_, true))) => None,
            Some(sent) => Some(sent.map_or(0, |(next, _)| next)),
        };
        // Of a head at which no batch ends here the link has no push: the frontier alone tells.
        let stands = match (sent, link.and_then(|l| l.ahead.get(&self.own))) {
            (Some(_), Some(_)) => told,
            (sent, _) => sent.or(told),
        };
        let confirmed = log.receipts.iter().filter(|(holder, _)| **holder != self.me()).map(|(_, r)| r.size).max();
        stands.map(|s| s.max(confirmed.unwrap_or(0)))
    }

    /// Digest of everything held of `division` and below.
    pub fn digest(&self, division: Division) -> Option<Hash> {
        let federation = self.charter().federation();
        let own: Vec<_> = self
            .logs
            .range(LogId::range_of(division))
            // What a division holds is its records; its other logs fold into nothing.
            .filter(|(id, _)| id.kind() == LogKind::Records)
            .map(|(id, log)| (federation.origin(*id), log))
            .collect();
        let part = |(origin, log): &(String, &Arc<HeldLog>)| (origin.clone(), log.size(), log.tree().root());
        let own: Vec<_> = own.iter().map(part).collect();
        let parts: Vec<_> =
            own.iter().map(|(origin, size, root)| LogPart { origin, size: *size, root: *root }).collect();
        let below: Vec<_> = self.charter().children(division).map(|n| (n.division, self.digest(n.division))).collect();
        fold(division, &parts, &below)
    }

    /// Records (counted per log) held of `division` and below.
    pub fn records_of(&self, division: Division) -> u64 {
        let within = |id: &LogId| self.charter().is_within(id.division, division);
        self.logs.iter().filter(|(id, _)| within(id)).map(|(_, log)| log.size()).sum()
    }

    /// What is known here of a node's records, by a charter that may be the next one. How many there are is told by the charter, if
    /// it closes the node's last epoch, or by the node itself: while it is linked, and what it said last once it is retired.
    pub fn rows_of(&self, division: Division, charter: &Charter) -> RowsOfNode {
        let gaps = |log: &HeldLog| log.missing().iter().map(|(from, to)| to - from).sum::<u64>();
        let held = |id: LogId| self.log(id).map_or(0, |log| log.size().saturating_sub(gaps(log)));
        let own_logs = || charter.records_logs(division).map(|id| (id, held(id)));
        if let Some(had) = charter.closed_records(division) {
            // What one epoch has too much makes up for nothing that another lacks.
            let within = |(id, size): (LogId, u64)| size.min(charter.closed_at(id).map_or(0, |(last, _)| last));
            return RowsOfNode { held: own_logs().map(within).sum(), had: Some(had) };
        }
        let retired = self.charter().node(division).is_some_and(|n| n.retired);
        let child = self.children.get(&division).filter(|c| retired || c.link.as_ref().is_some_and(|l| l.welcomed));
        match child.and_then(|c| c.records) {
            Some(had) => {
                let within = self.logs.keys().filter(|id| self.charter().is_within(id.division, division));
                RowsOfNode { held: within.map(|id| held(*id)).sum(), had: Some(had) }
            }
            None => RowsOfNode { held: own_logs().map(|(_, size)| size).sum(), had: None },
        }
    }

    /// Retired nodes below whose records are not all accounted for here.
    pub fn retired_and_missed(&self) -> Vec<(Division, RowsOfNode)> {
        let charter = self.charter();
        let retired = charter.nodes().filter(|n| n.retired && n.division != self.me()).map(|n| n.division);
        let below = retired.filter(|d| charter.is_within(*d, self.me()));
        below.map(|d| (d, self.rows_of(d, charter))).filter(|(_, rows)| !rows.are_accounted_for()).collect()
    }

    /// What may be compared with a neighbour: everything of this division with its parent, everything of the child's
    /// with a child.
    ///
    /// # Errors
    /// Why nothing may be: there is no live link.
    pub fn common_ground(&self, peer: Division) -> Result<Division, String> {
        let parent = self.parent.link.as_ref().filter(|l| l.peer == peer && l.welcomed).map(|_| self.me());
        let child = self.children.get(&peer).and_then(|c| c.link.as_ref()).filter(|l| l.welcomed);
        match parent.or(child.map(|_| peer)) {
            None => Err(format!("there is no live link with {peer}")),
            Some(division) => Ok(division),
        }
    }

    /// Records that are held and that the parent has, of this division's logs and of those below of which the parent has
    /// more; `None` until it has said so.
    pub fn restoring(&self) -> Option<(u64, u64)> {
        let link = self.parent.link.as_ref().filter(|l| l.frontier_known)?;
        let held = |id: &LogId| self.log(*id).map_or(0, HeldLog::size);
        let own = self.logs.keys().filter(|id| id.division == self.me()).map(|id| (*id, 0));
        let told = self.parent.own_sizes.iter().chain(&link.fetching).map(|(id, n)| (*id, *n));
        let mut wanted: BTreeMap<LogId, u64> = BTreeMap::new();
        for (id, there) in own.chain(told) {
            let most = wanted.entry(id).or_default();
            *most = there.max(held(&id)).max(*most);
        }
        let here = wanted.keys().map(held).fold(0, u64::saturating_add);
        Some((here, wanted.values().copied().fold(0, u64::saturating_add)))
    }

    /// Why nothing may be sealed now; `None` when it may.
    pub fn closed(&self) -> Option<NotSealed> {
        let damaged = || {
            let lost = self.lost();
            let (from, to) = (lost.first()?.0, lost.last()?.1);
            let count: u64 = lost.iter().map(|(from, to)| to - from).sum();
            let why = format!(
                "{count} of its records {from}..{to} are on no disk any more, so nothing can be sent past them"
            );
            Some(NotSealed::Damaged(why))
        };
        match &self.gate {
            Gate::Open => damaged()
                .or_else(|| self.clock.map(|c| NotSealed::Clock(c.to_string())))
                .or(self.same_key.then_some(NotSealed::SameKey)),
            // The parent has answered, and stands where records are missing here.
            Gate::Asking => damaged().or(Some(NotSealed::Asking)),
            Gate::Fetching(target) => {
                let held = self.logs.get(&self.own()).map_or(0, |l| l.size());
                Some(NotSealed::Fetching(target.saturating_sub(held)))
            }
            Gate::Frozen => {
                let log = self.logs.get(&self.own());
                let frozen = log.and_then(|l| l.frozen.as_ref());
                Some(NotSealed::Frozen(frozen.map_or_else(String::new, |f| f.reason.clone())))
            }
        }
    }

    /// Own logs that the charter closed at a history which this disk's contradicts: log, first record that does not count, one
    /// past the last. What a level above has confirmed is common to both. The records are whole and were acknowledged: they
    /// belong into the epoch that goes on.
    pub fn dead_branches(&self) -> Vec<(LogId, u64, u64)> {
        let dead = |(id, log): (&LogId, &Arc<HeldLog>)| {
            let (last, root) = self.charter().closed_at(*id)?;
            let contradicts = match log.root_at(last) {
                Some(held) => held != root,
                // Where no batch ends at the closing size, only two signed checkpoints tell.
                None => log.frozen.is_some(),
            };
            let confirmed = log.receipts.iter().filter(|(holder, r)| **holder != self.me() && r.size <= last);
            let common = confirmed.map(|(_, r)| r.size).filter(|size| log.root_at(*size).is_some()).max().unwrap_or(0);
            (contradicts && common < log.size()).then_some((*id, common, log.size()))
        };
        self.logs.iter().filter(|(id, _)| id.division == self.me()).filter_map(dead).collect()
    }

    /// Logs longer than the size at which the charter closed them: log, that size, and the place of the batch that ends
    /// there (none at 0).
    pub fn overruns(&self) -> Vec<(LogId, u64, Option<Place>)> {
        let overrun = |(id, log): (&LogId, &Arc<HeldLog>)| {
            let (last, root) = self.charter().closed_at(*id)?;
            if log.size() <= last || log.root_at(last) != Some(root) {
                return None;
            }
            let place = last.checked_sub(1).and_then(|i| log.batch_of(i)).map(|(_, held)| held.place);
            Some((*id, last, place))
        };
        self.logs.iter().filter_map(overrun).collect()
    }
}
