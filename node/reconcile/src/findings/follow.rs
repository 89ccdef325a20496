//! This node asks its parent what was found wrong with its records, again and again. It keeps only what nodes above said about
//! records that it holds: behind one that it does not hold yet nothing is marked as known, so that is asked for again. What a
//! parent tells is bounded and may be wrong; it changes nothing but what is kept of findings.
//!
//! What was told changes: by a new charter, and when another version of a record comes late. So from time to time, and after
//! each new charter, everything is asked for once more from the beginning; what is not told again is over.

use super::FindingsContext;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tally_link::{ExchangeError, LinkRegistry, Purpose};
use tally_protocol::{
    findings_exchange::{CURSORS_MAX, FindingsCursor, FindingsPage, FindingsQuery, FindingsReport},
    ids::{Division, LogId, LogKind},
};
use tally_store::index::{EngineError, findings_above};
use tally_topology::charter::Charter;
use tokio::time::Instant;
use tracing::Instrument as _;

/// Pause between two questions.
const EVERY: Duration = Duration::from_secs(5);
/// Pages of one round; the next goes on.
const ASKS: usize = 60;
/// A parent that does not know this kind of exchange, or is busy, is asked again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// After a new charter everything is asked for again after these pauses, because the parent judges anew as well, and then
/// each time after the last of them.
const ONCE_MORE: [Duration; 4] =
    [Duration::ZERO, Duration::from_secs(30), Duration::from_secs(600), Duration::from_secs(3_600)];
/// Reports that are remembered while everything is told once more; of more nothing is concluded.
const REMEMBERED_MAX: usize = 1_000_000;

/// Everything is being told once more, by one parent.
#[derive(Debug)]
struct OnceMore {
    parent: Division,
    /// Where to go on.
    from: BTreeMap<(Division, LogId), u64>,
    /// What was told.
    told: BTreeMap<(Division, LogId), BTreeSet<u64>>,
    count: usize,
}

/// When everything is asked for once more.
#[derive(Debug)]
struct Timetable {
    rules: [u8; 8],
    parent: Option<Division>,
    times: usize,
    due: Instant,
}

impl Timetable {
    fn new() -> Self {
        // What was told in an earlier life of the node may be over.
        Self { rules: [0; 8], parent: None, times: 0, due: Instant::now() }
    }

    /// Whether it is time, by these rules and of this parent.
    fn is_due(&mut self, rules: [u8; 8], parent: Division) -> bool {
        if self.rules != rules || self.parent != Some(parent) {
            (self.rules, self.parent, self.times, self.due) = (rules, Some(parent), 0, Instant::now());
        }
        Instant::now() >= self.due
    }

    /// It was done.
    fn done(&mut self) {
        self.times = self.times.saturating_add(1).min(ONCE_MORE.len().saturating_sub(1));
        let pause = ONCE_MORE.get(self.times).copied().unwrap_or_default();
        // A pause that no clock can hold is none.
        self.due = Instant::now().checked_add(pause).unwrap_or_else(Instant::now);
    }
}

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("an answer that cannot be")]
    FindingsPage,
    #[error("a thread has ended")]
    Thread,
}

fn exchange(parent: Division) -> tracing::Span {
    tracing::info_span!("exchange", purpose = "findings", peer = %parent)
}

/// Asks until the node stops.
///
/// Cancel-safe: what was told by then is kept or is told again.
pub async fn follow(findings: FindingsContext, links: LinkRegistry) {
    let (mut timetable, mut once_more) = (Timetable::new(), None);
    loop {
        let signed = findings.charter.charter();
        let (parent, rules) = (signed.charter().parent(findings.me), signed.charter().rules_mark());
        drop(signed);
        // What another parent has told is no beginning of what this one tells.
        once_more.take_if(|o: &mut OnceMore| Some(o.parent) != parent);
        if let Some(parent) = parent.filter(|parent| timetable.is_due(rules, *parent) && once_more.is_none()) {
            once_more = Some(OnceMore { parent, from: BTreeMap::new(), told: BTreeMap::new(), count: 0 });
        }
        let pause = match parent {
            None => AGAIN_AFTER,
            Some(parent) => match round(&findings, &links, parent, &mut once_more).instrument(exchange(parent)).await {
                Ok(new) => {
                    if once_more.is_none() && timetable.is_due(rules, parent) {
                        timetable.done();
                    }
                    if new > 0 {
                        tracing::info!(event = "verdicts.told", %parent, count = new, "findings of the nodes above");
                    }
                    EVERY
                }
                Err(Ended::Exchange(ExchangeError::Link)) => EVERY,
                Err(e) => {
                    if matches!(e, Ended::FindingsPage) {
                        once_more = None;
                    }
                    tracing::debug!(event = "verdicts.failed", %parent, reason = %e, "asked again later");
                    AGAIN_AFTER
                }
            },
        };
        tokio::time::sleep(pause).await;
    }
}

/// Asks for everything that is new, or for everything `once_more`, which is gone when that has come to its end; answers how
/// much there was.
async fn round(
    findings: &FindingsContext,
    links: &LinkRegistry,
    parent: Division,
    once_more: &mut Option<OnceMore>,
) -> Result<usize, Ended> {
    let mut exchange = links.open(parent, Purpose::Findings).await?;
    let asking = findings.clone();
    let known = tokio::task::spawn_blocking(move || cursors(&asking)).await.map_err(|_| Ended::Thread)??;
    // What is asked for next in this round: what is not held yet is asked for again in the next one.
    let known = known.into_iter().map(|c| ((c.holder, c.log), c.from)).collect::<BTreeMap<_, _>>();
    let mut from: BTreeMap<(Division, LogId), u64> = once_more.as_ref().map_or(known, |o| o.from.clone());
    let mut total = 0_usize;
    for _ in 0..ASKS {
        let cursors =
            from.iter().map(|((holder, log), from)| FindingsCursor { holder: *holder, log: *log, from: *from });
        exchange.send(&FindingsQuery { cursors: cursors.collect() }.encode()).await?;
        let frame = exchange.receive().await?.ok_or(Ended::FindingsPage)?;
        let mut answer = FindingsPage::decode(&frame).map_err(|_| Ended::FindingsPage)?;
        // Each answer goes on from the last, or it is none; and of what does not concern this node nothing is kept in mind.
        let signed = findings.charter.charter();
        answer.reports.retain(|v| {
            concerns(signed.charter(), findings.me, v) && v.index >= from.get(&(v.holder, v.log)).copied().unwrap_or(0)
        });
        drop(signed);
        for v in &answer.reports {
            let next = from.entry((v.holder, v.log)).or_default();
            *next = (*next).max(v.index.saturating_add(1));
            if let Some(o) = once_more.as_mut().filter(|o| o.count < REMEMBERED_MAX) {
                o.count = o.count.saturating_add(1);
                o.told.entry((v.holder, v.log)).or_default().insert(v.index);
            }
        }
        let (more, keeping) = (answer.more && !answer.reports.is_empty(), findings.clone());
        let kept = tokio::task::spawn_blocking(move || keep(&keeping, answer.reports));
        total = total.saturating_add(kept.await.map_err(|_| Ended::Thread)??);
        if let Some(o) = once_more.as_mut() {
            o.from.clone_from(&from);
        }
        if let Some(whole) = once_more.take_if(|_| !more) {
            let ending = findings.clone();
            let ended = tokio::task::spawn_blocking(move || end(&ending, &whole));
            total = total.saturating_add(ended.await.map_err(|_| Ended::Thread)??);
        }
        if !more || from.len() > CURSORS_MAX {
            break;
        }
    }
    exchange.finish();
    Ok(total)
}

/// For each node above and each log, up to where its findings are known here.
fn cursors(findings: &FindingsContext) -> Result<Vec<FindingsCursor>, EngineError> {
    let signed = findings.charter.charter();
    let charter = signed.charter();
    let holders: Vec<Division> = charter.path(findings.me).skip(1).collect();
    let below = charter.nodes().filter(|n| charter.is_within(n.division, findings.me));
    let logs = below.flat_map(|n| (1..=n.epochs.len() as u32).map(|epoch| LogId::records(n.division, epoch)));
    let mut cursors = Vec::new();
    for log in logs {
        for holder in &holders {
            let from = findings_above::reached(&*findings.engine, *holder, log)?;
            if from > 0 {
                cursors.push(FindingsCursor { holder: *holder, log, from });
            }
        }
    }
    Ok(cursors)
}

/// What nodes above had found and did not tell again is over.
fn end(findings: &FindingsContext, whole: &OnceMore) -> Result<usize, EngineError> {
    if whole.count >= REMEMBERED_MAX {
        return Ok(0);
    }
    let signed = findings.charter.charter();
    let charter = signed.charter();
    let below = charter.nodes().filter(|n| charter.is_within(n.division, findings.me));
    let logs = below.flat_map(|n| (1..=n.epochs.len() as u32).map(|epoch| LogId::records(n.division, epoch)));
    let (none, mut ended) = (BTreeSet::new(), 0_usize);
    let above: BTreeSet<Division> = charter.path(findings.me).skip(1).collect();
    // Of those that are not above any more nothing is told again.
    let holders: BTreeSet<_> = findings_above::holders(&*findings.engine)?.into_iter().chain(above.clone()).collect();
    for log in logs {
        for holder in holders.iter().copied() {
            let told = whole.told.get(&(holder, log)).filter(|_| above.contains(&holder)).unwrap_or(&none);
            ended = ended.saturating_add(findings_above::end_others(&*findings.engine, holder, log, told)?);
        }
    }
    Ok(ended)
}

/// Whether a report is of a node above, on a log of this node's branch.
fn concerns(charter: &Charter, me: Division, v: &FindingsReport) -> bool {
    let above = v.holder != me && charter.is_within(me, v.holder);
    above && v.log.kind() == LogKind::Records && charter.is_within(v.log.division, me) && charter.epoch(v.log).is_some()
}

/// Keeps the reports that a node above made about records which this node holds at that place; answers how many.
fn keep(findings: &FindingsContext, found: Vec<FindingsReport>) -> Result<usize, EngineError> {
    let (mut good, mut gaps) = (Vec::new(), BTreeSet::new());
    for v in found {
        let place = (v.holder, v.log);
        if findings_above::is_held(&*findings.engine, v.id, v.log, v.index)? {
            // Behind one that is not held yet nothing is marked as known.
            if !gaps.contains(&place) {
                good.push(v);
            }
        } else {
            gaps.insert(place);
        }
    }
    findings_above::keep(&*findings.engine, &good)?;
    Ok(good.len())
}
