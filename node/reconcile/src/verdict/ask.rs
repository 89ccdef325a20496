//! This node asks its parent.

use super::Bench;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tally_link::{ExchangeError, Lines, Purpose};
use tally_protocol::{
    ids::{Division, LogId},
    verdicts::{Answer, Ask, CURSORS_MAX, Cursor, Verdict},
};
use tally_store::index::{EngineError, verdicts};

/// Pause between two questions.
const EVERY: Duration = Duration::from_secs(5);
/// Pages of one round; the next goes on.
const ASKS: usize = 60;
/// A parent that does not know this kind of exchange, or is busy, is asked again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("an answer that cannot be")]
    Answer,
    #[error("a thread has ended")]
    Thread,
}

/// Asks until the node stops.
pub async fn follow(bench: Bench, lines: Lines) {
    loop {
        let parent = bench.charter.charter().charter().parent(bench.me);
        let pause = match parent {
            None => AGAIN_AFTER,
            Some(parent) => match round(&bench, &lines, parent).await {
                Ok(new) => {
                    if new > 0 {
                        tracing::info!(event = "verdicts.told", %parent, count = new, "findings of the nodes above");
                    }
                    EVERY
                }
                Err(Ended::Exchange(ExchangeError::Link)) => EVERY,
                Err(e) => {
                    tracing::debug!(event = "verdicts.failed", %parent, reason = %e, "asked again later");
                    AGAIN_AFTER
                }
            },
        };
        tokio::time::sleep(pause).await;
    }
}

/// Asks for everything that is new; answers how much there was.
async fn round(bench: &Bench, lines: &Lines, parent: Division) -> Result<usize, Ended> {
    let mut exchange = lines.open(parent, Purpose::Verdicts).await?;
    let asking = bench.clone();
    let known = tokio::task::spawn_blocking(move || cursors(&asking)).await.map_err(|_| Ended::Thread)??;
    // What is asked for next in this round: what is not held yet is asked for again in the next one.
    let mut from: BTreeMap<(Division, LogId), u64> = known.into_iter().map(|c| ((c.holder, c.log), c.from)).collect();
    let mut total = 0;
    for _ in 0..ASKS {
        let cursors = from.iter().map(|((holder, log), from)| Cursor { holder: *holder, log: *log, from: *from });
        exchange.send(&Ask { cursors: cursors.collect() }.encode()).await?;
        let frame = exchange.receive().await?.ok_or(Ended::Answer)?;
        let mut answer = Answer::decode(&frame).map_err(|_| Ended::Answer)?;
        // Each answer goes on from the last, or it is none.
        answer.verdicts.retain(|v| v.index >= from.get(&(v.holder, v.log)).copied().unwrap_or(0));
        for v in &answer.verdicts {
            let next = from.entry((v.holder, v.log)).or_default();
            *next = (*next).max(v.index + 1);
        }
        let (more, keeping) = (answer.more && !answer.verdicts.is_empty(), bench.clone());
        let kept = tokio::task::spawn_blocking(move || keep(&keeping, answer.verdicts));
        total += kept.await.map_err(|_| Ended::Thread)??;
        if !more || from.len() > CURSORS_MAX {
            break;
        }
    }
    exchange.finish();
    Ok(total)
}

/// Who may have judged a log, and what is known of that already.
fn cursors(bench: &Bench) -> Result<Vec<Cursor>, EngineError> {
    let signed = bench.charter.charter();
    let charter = signed.charter();
    let holders: Vec<Division> = charter.path(bench.me).skip(1).collect();
    let below = charter.nodes().filter(|n| charter.is_within(n.division, bench.me));
    let logs = below.flat_map(|n| (1..=n.epochs.len() as u32).map(|epoch| LogId::records(n.division, epoch)));
    let mut cursors = Vec::new();
    for log in logs {
        for holder in &holders {
            let from = verdicts::reached(&*bench.engine, *holder, log)?;
            if from > 0 {
                cursors.push(Cursor { holder: *holder, log, from });
            }
        }
    }
    Ok(cursors)
}

/// Keeps what can be: judged by a node above, about a record that this node holds at that place.
fn keep(bench: &Bench, found: Vec<Verdict>) -> Result<usize, EngineError> {
    let signed = bench.charter.charter();
    let charter = signed.charter();
    let above: Vec<Division> = charter.path(bench.me).skip(1).collect();
    let (mut good, mut gaps) = (Vec::new(), BTreeSet::new());
    for v in found {
        if !above.contains(&v.holder) || !charter.is_within(v.log.division, bench.me) {
            continue;
        }
        let place = (v.holder, v.log);
        if verdicts::is_held(&*bench.engine, v.id, v.log, v.index)? {
            // Behind one that is not held yet nothing is marked as known.
            if !gaps.contains(&place) {
                good.push(v);
            }
        } else {
            gaps.insert(place);
        }
    }
    verdicts::keep(&*bench.engine, &good)?;
    Ok(good.len())
}
