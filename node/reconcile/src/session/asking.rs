//! The asking side: this node compares itself with a neighbour, and repairs on both sides if that is asked for.
//!
//! What to say next `protocol::session::reconcile` decides. A neighbour may be slow, busy or hostile: whatever it sends is
//! bounded and proved, and one that gets nowhere is left.

use super::{
    allowance::Allowance,
    descent::{self, NoDescent},
    roots,
};
use crate::{
    ReconcileContext, ReconcileError,
    repair::{RepairReader, RepairWriter},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::{Duration, Instant},
};
use tally_link::{Exchange, Purpose};
use tally_protocol::{
    ids::{Division, LogId},
    session::{
        Descent, TreeQuestion,
        reconcile::{
            Difference, Lacking, RangeHolding, Reconcile, ReconcileReply, ReconcileRequest, ReconcileStep, Scope,
            Violation,
        },
    },
};
use tracing::Instrument as _;

/// Comparisons until what is on its way has arrived, and the pause between two.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(250);

/// One reconcile with one neighbour.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// With whom.
    pub peer: Division,
    /// Only this log.
    pub log: Option<LogId>,
    /// The neighbour reads its disk first.
    pub deep: bool,
    /// Fetch and give what is missing; the neighbour puts its damaged places right.
    pub repair: bool,
}

/// Records that do not stand alike at both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDifference {
    /// Where and how.
    pub difference: Difference,
    /// Whether it is gone by now.
    pub mended: bool,
}

/// How a reconcile ended.
#[derive(Debug, Clone, Default)]
pub struct Reconciled {
    /// In the end both sides hold the same, and all of it.
    pub agree: bool,
    /// What was found, before anything was mended.
    pub found: Vec<FoundDifference>,
    /// Records that came back, here and there.
    pub repaired: u64,
    /// Bytes of the exchanges.
    pub fetched_bytes: u64,
    /// Bytes of the exchanges.
    pub sent_bytes: u64,
    /// Round trips.
    pub rounds: u64,
    /// Why something could not be mended, the last of it.
    pub trouble: Option<String>,
}

/// Told while the neighbour reads its disk: bytes done and to do.
pub(super) type OnWorking<'w> = &'w (dyn Fn(u64, u64) + Send + Sync);

/// One comparison.
#[derive(Debug)]
struct ComparisonResult {
    differences: Vec<Difference>,
    /// Size of each log, by the head that was compared.
    here: BTreeMap<LogId, u64>,
    there: BTreeMap<LogId, u64>,
    /// Records that came back, here and there.
    repaired: u64,
    /// Some blocks did not make up their batch: it is to be asked for whole.
    again: bool,
    /// Pieces came or went. If they were no news where they arrived, another repair was faster.
    passed: bool,
}

impl ReconcileContext {
    /// Compares with a neighbour. If this node's disk is to be read for it, that was done before ([`ReconcileContext::survey`]); its
    /// damaged places are put right after ([`ReconcileContext::mend`]).
    ///
    /// Answers what came of it, also of one that ended early: what was mended until then stays mended, and the bytes were
    /// fetched.
    ///
    /// Cancel-safe: what was taken by then is kept, and the neighbour sees the exchange end.
    pub async fn reconcile(
        &self,
        options: &SessionOptions,
        waiting: OnWorking<'_>,
    ) -> (Reconciled, Result<(), ReconcileError>) {
        let peer = options.peer;
        let division = match self.shared_with(options) {
            Ok(division) => division,
            Err(why) => return (Reconciled::default(), Err(ReconcileError::NoPeer(why))),
        };
        let scope = options.log.map_or(Scope::Division(division), Scope::Log);
        let (no_blocks, done, allowance) =
            (BTreeSet::new(), Reconciled::default(), Allowance::new(options.deep, Instant::now()));
        let mut comparing = Comparison { context: self, options, scope, division, no_blocks, done, waiting, allowance };
        let span = tracing::info_span!("exchange", purpose = "reconcile", %peer);
        let ended = comparing.until_all_is_said().instrument(span).await;
        (comparing.done, ended)
    }

    /// The division of which both hold everything; an error is for people.
    fn shared_with(&self, options: &SessionOptions) -> Result<Division, String> {
        let peer = options.peer;
        let division = self.mailbox.view().common_ground(peer)?;
        match options.log {
            Some(log) if !self.charter.charter().charter().is_within(log.division, division) => {
                Err(format!("{log} is not shared with {peer}"))
            }
            _ => Ok(division),
        }
    }
}

struct Comparison<'c> {
    context: &'c ReconcileContext,
    options: &'c SessionOptions,
    scope: Scope,
    division: Division,
    /// Batches whose blocks did not make up the whole: they are asked for whole.
    no_blocks: BTreeSet<(LogId, u64)>,
    done: Reconciled,
    waiting: OnWorking<'c>,
    /// For all comparisons together: a neighbour that always differs a little gains nothing by it.
    allowance: Allowance,
}

impl Comparison<'_> {
    /// Compares until nothing more comes back and nothing is on its way.
    async fn until_all_is_said(&mut self) -> Result<(), ReconcileError> {
        let (mut first, mut left): (Option<ComparisonResult>, _) = (None, TRIES);
        // What another repair brought at the same time is seen by looking once more; a piece that is refused stays open.
        let mut looked_again = false;
        let open = loop {
            let now = self.compare(self.options.deep && first.is_none()).await?;
            let open: Vec<Difference> = match &first {
                None => now.differences.clone(),
                Some(was) => now.differences.iter().filter(|d| !now.has_caught_up(d, was)).copied().collect(),
            };
            let no_news = now.passed && now.repaired == 0 && !std::mem::replace(&mut looked_again, true);
            let (moved, again) = (now.repaired > 0, now.again || no_news);
            if first.is_none() {
                self.done.found = open.iter().map(|d| FoundDifference { difference: *d, mended: false }).collect();
                first = Some(now);
            }
            self.done.agree = open.is_empty();
            left = left.saturating_sub(1);
            let missing = |d: &Difference| d.here == RangeHolding::Missing || d.there == RangeHolding::Missing;
            let on_its_way = !open.is_empty() && open.iter().all(missing);
            if left == 0 || !(on_its_way || self.options.repair && (moved || again)) {
                break open;
            }
            if !moved && !again {
                tokio::time::sleep(PAUSE).await;
            }
        };
        for found in &mut self.done.found {
            found.mended = !open.iter().any(|d| overlap(d, &found.difference));
        }
        Ok(())
    }

    /// One comparison over an exchange of its own.
    async fn compare(&mut self, deep: bool) -> Result<ComparisonResult, ReconcileError> {
        let (context, peer, division) = (self.context, self.options.peer, self.division);
        let exchange = context
            .links
            .open(peer, Purpose::Reconcile)
            .await
            .map_err(|source| ReconcileError::Exchange { peer, source })?;
        let (digest, mut mine) = context.standing(self.scope).await?;
        for (log, lacking) in &mut mine.lacks {
            lacking.remains.retain(|r| !self.no_blocks.contains(&(*log, r.start)));
        }
        let here: BTreeMap<_, _> = mine.heads.iter().map(|(l, h)| (*l, h.size)).collect();
        let session = Reconcile::new(self.scope, digest, mine, deep, self.options.repair);
        let (settle, waiting) = (deep && self.options.repair, self.waiting);
        let (received, sent, passed) = (0, 0, false);
        let allowance = &mut self.allowance;
        let mut asking =
            Session { context, peer, exchange, session, received, sent, passed, waiting, settle, allowance };
        let mut writer = RepairWriter::new(context, division);
        let ended = asking.run(&mut writer).await;
        self.done.repaired = self.done.repaired.saturating_add(writer.repaired);
        self.done.rounds = self.done.rounds.saturating_add(asking.session.rounds);
        self.done.fetched_bytes = self.done.fetched_bytes.saturating_add(asking.received);
        self.done.sent_bytes = self.done.sent_bytes.saturating_add(asking.sent);
        self.done.trouble = writer.trouble.take().or(self.done.trouble.take());
        let given = ended?;
        self.done.repaired = self.done.repaired.saturating_add(given);
        let charter = context.charter.charter();
        let within = |d: &&Difference| charter.charter().is_within(d.log.division, division);
        let compared = ComparisonResult {
            differences: asking.session.differences().iter().filter(within).copied().collect(),
            here,
            there: asking.session.theirs().heads.iter().map(|(l, h)| (*l, h.size)).collect(),
            repaired: writer.repaired.saturating_add(given),
            again: !writer.whole.is_empty(),
            passed: asking.passed,
        };
        self.no_blocks.append(&mut writer.whole);
        Ok(compared)
    }
}

impl ComparisonResult {
    /// Records that were on their way when the first comparison was made, and have arrived since, are no difference:
    /// by now there are newer ones on their way.
    fn has_caught_up(&self, d: &Difference, was: &Self) -> bool {
        let size = |sizes: &BTreeMap<LogId, u64>| sizes.get(&d.log).copied().unwrap_or(0);
        match (d.here, d.there) {
            (RangeHolding::Ok, RangeHolding::Missing) => size(&self.there) >= size(&was.here),
            (RangeHolding::Missing, RangeHolding::Ok) => size(&self.here) >= size(&was.there),
            _ => false,
        }
    }
}

fn overlap(a: &Difference, b: &Difference) -> bool {
    a.log == b.log && a.from < b.to && b.from < a.to
}

struct Session<'t> {
    context: &'t ReconcileContext,
    peer: Division,
    exchange: Exchange,
    session: Reconcile,
    /// Bytes that came in and went out.
    received: u64,
    sent: u64,
    /// Pieces came or went.
    passed: bool,
    waiting: OnWorking<'t>,
    /// The neighbour's damaged places are to be put right, also if no record has to go there.
    settle: bool,
    allowance: &'t mut Allowance,
}

impl Session<'_> {
    /// Plays the session to its end; answers how many records came back at the other side.
    async fn run(&mut self, writer: &mut RepairWriter<'_>) -> Result<u64, ReconcileError> {
        // A neighbour that has read its disk mends its places when it is told that this was all.
        let mut gave = self.settle;
        loop {
            match self.session.step() {
                ReconcileStep::Send(ask) => {
                    self.send(&ask).await?;
                    loop {
                        let answer = self.answer().await?;
                        let (piece, more) = self.taken(answer)?;
                        if let Some(piece) = piece {
                            self.passed = true;
                            writer.take(piece).await?;
                        }
                        if !more {
                            break;
                        }
                    }
                }
                ReconcileStep::OwnRoots(wanted) => {
                    let roots = roots(self.context, &wanted);
                    self.session.own_roots(wanted.into_iter().map(|(log, _)| log).zip(roots).collect());
                }
                ReconcileStep::Give { log, lacking } => {
                    let given = self.give(log, lacking).await?;
                    (gave, self.passed) = (gave || given, self.passed || given);
                }
                ReconcileStep::Descend { log, size } => {
                    let ranges = self.descend(log, size).await?;
                    self.session.descended(log, &ranges);
                }
                ReconcileStep::Finished => break,
            }
        }
        writer.flush().await?;
        let mut given = 0;
        if gave {
            self.send(&ReconcileRequest::Taken).await?;
            match self.answer().await? {
                ReconcileReply::Taken { repaired } => given = repaired,
                _ => return Err(self.violation(Violation::OutOfTurn)),
            }
        }
        self.exchange.finish();
        Ok(given)
    }

    /// Finds where two histories part. If the neighbour cannot say, the whole common range is in doubt.
    async fn descend(&mut self, log: LogId, size: u64) -> Result<Vec<Range<u64>>, ReconcileError> {
        let unknown = std::iter::once(0..size).collect();
        let tree = match self.context.tree(log).await {
            Ok(tree) => tree,
            Err(NoDescent::Fatal(e)) => return Err(e),
            Err(_) => return Ok(unknown),
        };
        let mut walk = Descent::new(size);
        loop {
            let questions: Vec<_> = walk.ask().map(TreeQuestion::encode).collect();
            if questions.is_empty() {
                return Ok(walk.differences().to_vec());
            }
            self.session.rounds = self.session.rounds.saturating_add(1);
            // One at a time: the neighbour reads its disk for each.
            for question in questions {
                self.send(&ReconcileRequest::Nodes { log, question }).await?;
                let bytes = match self.answer().await? {
                    ReconcileReply::Nodes(bytes) => bytes,
                    ReconcileReply::Refused { .. } => return Ok(unknown),
                    _ => return Err(self.violation(Violation::OutOfTurn)),
                };
                walk = match descent::compare(tree.clone(), walk, bytes).await {
                    Ok(walk) => walk,
                    Err(NoDescent::Fatal(e)) => return Err(e),
                    Err(why) => return Err(self.violation(Violation::Malformed(why.to_string()))),
                };
            }
        }
    }

    /// Sends what the neighbour lacks of a log; answers whether there was anything to send.
    async fn give(&mut self, log: LogId, lacking: Lacking) -> Result<bool, ReconcileError> {
        let mut batches = RepairReader::new(self.context, log, lacking)?;
        let mut gave = false;
        loop {
            let (back, piece) = batches.next().await?;
            batches = back;
            let Some(piece) = piece else { return Ok(gave) };
            self.send(&ReconcileRequest::Here(piece)).await?;
            gave = true;
        }
    }

    fn violation(&self, source: Violation) -> ReconcileError {
        ReconcileError::Violation { peer: self.peer, source }
    }

    fn taken(
        &mut self,
        answer: ReconcileReply,
    ) -> Result<(Option<tally_protocol::session::reconcile::Piece>, bool), ReconcileError> {
        self.session.take(answer).map_err(|v| ReconcileError::Violation { peer: self.peer, source: v })
    }

    async fn send(&mut self, ask: &ReconcileRequest) -> Result<(), ReconcileError> {
        let bytes = ask.encode();
        self.sent = self.sent.saturating_add(bytes.len() as u64).saturating_add(4);
        let (peer, left) = (self.peer, self.left()?);
        let sent = tokio::time::timeout(left, self.exchange.send(&bytes)).await;
        sent.map_err(|_| ReconcileError::TooSlow { peer })?
            .map_err(|source| ReconcileError::Exchange { peer, source })?;
        self.allowance.moved(bytes.len(), Instant::now());
        Ok(())
    }

    /// How long the neighbour may still take.
    fn left(&self) -> Result<Duration, ReconcileError> {
        let left = self.allowance.left(Instant::now());
        if left.is_zero() { Err(ReconcileError::TooSlow { peer: self.peer }) } else { Ok(left) }
    }

    /// The next answer. While the neighbour says that it is at work, that is told on, as long as it may take.
    async fn answer(&mut self) -> Result<ReconcileReply, ReconcileError> {
        let peer = self.peer;
        loop {
            let frame = tokio::time::timeout(self.left()?, self.exchange.receive()).await;
            let frame = frame.map_err(|_| ReconcileError::TooSlow { peer })?;
            let Some(bytes) = frame.map_err(|source| ReconcileError::Exchange { peer, source })? else {
                return Err(ReconcileError::Exchange { peer, source: tally_link::ExchangeError::Link });
            };
            self.received = self.received.saturating_add(bytes.len() as u64).saturating_add(4);
            match ReconcileReply::decode(&bytes).map_err(|e| self.violation(Violation::Malformed(e.to_string())))? {
                ReconcileReply::Working { done, total } => {
                    (self.waiting)(done, total);
                    self.allowance.reads(done, total, Instant::now());
                }
                answer => {
                    self.allowance.moved(bytes.len(), Instant::now());
                    return Ok(answer);
                }
            }
        }
    }
}
