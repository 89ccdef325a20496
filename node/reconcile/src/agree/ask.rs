//! This node compares itself with a neighbour, and mends on both sides if that is asked for.

use super::{AgreeError, Ground, pieces, trees};
use pieces::{Cutter, Putter};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::{Duration, Instant},
};
use tally_link::{Exchange, Purpose};
use tally_protocol::{
    ids::{Division, LogId},
    session::{
        Descent, Question,
        reconcile::{Answer, Ask, Difference, Holding, Lacking, Reconcile, Scope, Step, Violation},
    },
};

/// Comparisons until what is on its way has arrived, and the pause between two.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(250);
/// A neighbour that is at work and gets nowhere is left after this. It may have to let others go first.
const STANDSTILL: Duration = Duration::from_secs(30 * 60);

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Order {
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
pub struct Found {
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
    pub found: Vec<Found>,
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
pub(super) type Waiting<'w> = &'w (dyn Fn(u64, u64) + Send + Sync);

/// One comparison.
#[derive(Debug)]
struct Compared {
    differences: Vec<Difference>,
    /// Size of each log, by the head that was compared.
    here: BTreeMap<LogId, u64>,
    there: BTreeMap<LogId, u64>,
    /// Records that came back, here and there.
    put_back: u64,
    /// Some blocks did not make up their batch: it is to be asked for whole.
    again: bool,
}

impl Ground {
    /// Compares with a neighbour. If this node's disk is to be read for it, that was done before ([`Ground::survey`]); its
    /// damaged places are put right after ([`Ground::mend`]).
    ///
    /// # Errors
    /// [`AgreeError`]; what was mended until then stays mended.
    pub async fn reconcile(&self, order: &Order, waiting: Waiting<'_>) -> Result<Reconciled, AgreeError> {
        let peer = order.peer;
        let division = self.mailbox.view().common_ground(peer).map_err(AgreeError::NoPeer)?;
        let scope = order.log.map_or(Scope::Division(division), Scope::Log);
        if let Some(log) = order.log {
            let charter = self.charter.charter();
            if !charter.charter().is_within(log.division, division) {
                return Err(AgreeError::NoPeer(format!("{log} is not shared with {peer}")));
            }
        }
        let (no_blocks, done) = (BTreeSet::new(), Reconciled::default());
        let mut comparing = Comparing { ground: self, order, scope, division, no_blocks, done, waiting };
        comparing.until_all_is_said().await?;
        Ok(comparing.done)
    }
}

struct Comparing<'c> {
    ground: &'c Ground,
    order: &'c Order,
    scope: Scope,
    division: Division,
    /// Batches whose blocks did not make up the whole: they are asked for whole.
    no_blocks: BTreeSet<(LogId, u64)>,
    done: Reconciled,
    waiting: Waiting<'c>,
}

impl Comparing<'_> {
    /// Compares again and again, as long as something comes back or is on its way.
    async fn until_all_is_said(&mut self) -> Result<(), AgreeError> {
        let (mut first, mut left): (Option<Compared>, _) = (None, TRIES);
        let open = loop {
            let now = self.compare(self.order.deep && first.is_none()).await?;
            let open: Vec<Difference> = match &first {
                None => now.differences.clone(),
                Some(was) => now.differences.iter().filter(|d| !now.has_caught_up(d, was)).copied().collect(),
            };
            let (moved, again) = (now.put_back > 0, now.again);
            if first.is_none() {
                self.done.found = open.iter().map(|d| Found { difference: *d, mended: false }).collect();
                first = Some(now);
            }
            self.done.agree = open.is_empty();
            left -= 1;
            let missing = |d: &Difference| d.here == Holding::Missing || d.there == Holding::Missing;
            let on_its_way = !open.is_empty() && open.iter().all(missing);
            if left == 0 || !(on_its_way || self.order.repair && (moved || again)) {
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

    async fn compare(&mut self, deep: bool) -> Result<Compared, AgreeError> {
        let (ground, peer, division) = (self.ground, self.order.peer, self.division);
        let exchange = ground
            .lines
            .open(peer, Purpose::Reconcile)
            .await
            .map_err(|source| AgreeError::Exchange { peer, source })?;
        let (digest, mut mine) = ground.standing(self.scope).await?;
        for (log, lacking) in &mut mine.lacks {
            lacking.remains.retain(|r| !self.no_blocks.contains(&(*log, r.start)));
        }
        let here: BTreeMap<_, _> = mine.heads.iter().map(|(l, h)| (*l, h.size)).collect();
        let session = Reconcile::new(self.scope, digest, mine, deep, self.order.repair);
        let (settle, waiting) = (deep && self.order.repair, self.waiting);
        let mut talk = Talk { ground, peer, exchange, session, received: 0, sent: 0, waiting, settle };
        let mut putter = Putter::new(ground, division);
        let given = talk.run(&mut putter).await?;
        let charter = ground.charter.charter();
        let within = |d: &&Difference| charter.charter().is_within(d.log.division, division);
        let compared = Compared {
            differences: talk.session.differences().iter().filter(within).copied().collect(),
            here,
            there: talk.session.theirs().heads.iter().map(|(l, h)| (*l, h.size)).collect(),
            put_back: putter.put_back + given,
            again: !putter.whole.is_empty(),
        };
        self.no_blocks.append(&mut putter.whole);
        self.done.repaired += compared.put_back;
        self.done.rounds += talk.session.rounds;
        self.done.fetched_bytes += talk.received;
        self.done.sent_bytes += talk.sent;
        self.done.trouble = putter.trouble.take().or(self.done.trouble.take());
        Ok(compared)
    }
}

impl Compared {
    /// Records that were on their way when the first comparison was made, and have arrived since, are no difference:
    /// by now there are newer ones on their way.
    fn has_caught_up(&self, d: &Difference, was: &Self) -> bool {
        let size = |sizes: &BTreeMap<LogId, u64>| sizes.get(&d.log).copied().unwrap_or(0);
        match (d.here, d.there) {
            (Holding::Ok, Holding::Missing) => size(&self.there) >= size(&was.here),
            (Holding::Missing, Holding::Ok) => size(&self.here) >= size(&was.there),
            _ => false,
        }
    }
}

fn overlap(a: &Difference, b: &Difference) -> bool {
    a.log == b.log && a.from < b.to && b.from < a.to
}

struct Talk<'t> {
    ground: &'t Ground,
    peer: Division,
    exchange: Exchange,
    session: Reconcile,
    /// Bytes that came in and went out.
    received: u64,
    sent: u64,
    waiting: Waiting<'t>,
    /// The neighbour's damaged places are to be put right, also if no record has to go there.
    settle: bool,
}

impl Talk<'_> {
    /// Plays the session to its end; answers how many records came back at the other side.
    async fn run(&mut self, putter: &mut Putter<'_>) -> Result<u64, AgreeError> {
        // A neighbour that has read its disk mends its places when it is told that this was all.
        let mut gave = self.settle;
        loop {
            match self.session.step() {
                Step::Send(ask) => {
                    self.send(&ask).await?;
                    loop {
                        let answer = self.answer().await?;
                        let (piece, more) = self.taken(answer)?;
                        if let Some(piece) = piece {
                            putter.take(piece).await?;
                        }
                        if !more {
                            break;
                        }
                    }
                }
                Step::OwnRoots(wanted) => {
                    let roots = pieces::roots(self.ground, &wanted);
                    self.session.own_roots(wanted.into_iter().map(|(log, _)| log).zip(roots).collect());
                }
                Step::Give { log, lacking } => {
                    gave |= self.give(log, lacking).await?;
                }
                Step::Descend { log, size } => {
                    let ranges = self.descend(log, size).await?;
                    self.session.descended(log, &ranges);
                }
                Step::Finished => break,
            }
        }
        putter.flush().await?;
        let mut given = 0;
        if gave {
            self.send(&Ask::Taken).await?;
            match self.answer().await? {
                Answer::Taken { put_back } => given = put_back,
                _ => return Err(self.violation(Violation::OutOfTurn)),
            }
        }
        self.exchange.finish();
        Ok(given)
    }

    /// Where two histories part. A neighbour that cannot say leaves the whole common range in doubt.
    async fn descend(&mut self, log: LogId, size: u64) -> Result<Vec<Range<u64>>, AgreeError> {
        let unknown = std::iter::once(0..size).collect();
        let Ok(tree) = self.ground.tree(log).await? else { return Ok(unknown) };
        let mut descent = Descent::new(size);
        loop {
            let questions: Vec<_> = descent.ask().map(Question::encode).collect();
            if questions.is_empty() {
                return Ok(descent.differences().to_vec());
            }
            self.session.rounds += 1;
            // One at a time: the neighbour reads its disk for each.
            for question in questions {
                self.send(&Ask::Nodes { log, question }).await?;
                let bytes = match self.answer().await? {
                    Answer::Nodes(bytes) => bytes,
                    Answer::Refused { .. } => return Ok(unknown),
                    _ => return Err(self.violation(Violation::OutOfTurn)),
                };
                descent = match trees::compare(tree.clone(), descent, bytes).await? {
                    Ok(descent) => descent,
                    Err(why) => return Err(self.violation(Violation::Malformed(why))),
                };
            }
        }
    }

    async fn give(&mut self, log: LogId, lacking: Lacking) -> Result<bool, AgreeError> {
        let mut cutter = Cutter::new(self.ground, log, lacking)?;
        let mut gave = false;
        loop {
            let (back, piece) = cutter.next().await?;
            cutter = back;
            let Some(piece) = piece else { return Ok(gave) };
            self.send(&Ask::Here(piece)).await?;
            gave = true;
        }
    }

    fn violation(&self, source: Violation) -> AgreeError {
        AgreeError::Violation { peer: self.peer, source }
    }

    fn taken(
        &mut self,
        answer: Answer,
    ) -> Result<(Option<tally_protocol::session::reconcile::Piece>, bool), AgreeError> {
        self.session.take(answer).map_err(|v| AgreeError::Violation { peer: self.peer, source: v })
    }

    async fn send(&mut self, ask: &Ask) -> Result<(), AgreeError> {
        let bytes = ask.encode();
        self.sent += bytes.len() as u64 + 4;
        let peer = self.peer;
        self.exchange.send(&bytes).await.map_err(|source| AgreeError::Exchange { peer, source })
    }

    /// The next answer. That the neighbour is at work is told on, as long as it gets anywhere.
    async fn answer(&mut self) -> Result<Answer, AgreeError> {
        let peer = self.peer;
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let frame = self.exchange.receive().await.map_err(|source| AgreeError::Exchange { peer, source })?;
            let Some(bytes) = frame else {
                return Err(AgreeError::Exchange { peer, source: tally_link::ExchangeError::Link });
            };
            self.received += bytes.len() as u64 + 4;
            match Answer::decode(&bytes).map_err(|e| self.violation(Violation::Malformed(e.to_string())))? {
                Answer::Working { done, total } => {
                    (self.waiting)(done, total);
                    if done > last {
                        (last, since) = (done, Instant::now());
                    }
                    if since.elapsed() > STANDSTILL {
                        return Err(AgreeError::NoPeer(format!(
                            "{peer} says that it is at work, and has got nowhere for {} minutes",
                            STANDSTILL.as_secs() / 60
                        )));
                    }
                }
                answer => return Ok(answer),
            }
        }
    }
}
