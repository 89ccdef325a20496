//! A child asks what this node found, and what it was told from above, about the records of the child and below. It is
//! answered page by page; nothing is kept of what it asked.

use super::FindingsContext;
use std::{collections::BTreeMap, time::Duration};
use tally_link::{Exchange, Incoming, panicked};
use tally_protocol::{
    findings_exchange::{FindingsPage, FindingsQuery, FindingsReport, PAGE_BYTES_MAX, REPORTS_MAX},
    ids::{Division, LogId},
};
use tally_store::index::{EngineError, IndexProgress, findings_above};
use tokio::{sync::mpsc, task::JoinSet};
use tracing::Instrument as _;

/// Children that are answered at the same time, each once.
const ROOM: usize = 64;
/// Questions of one exchange, and how long it may take; the next exchange goes on where it ended.
const ASKS: usize = 64;
const WITHIN: Duration = Duration::from_secs(60);

/// Answers until the links have ended.
///
/// Cancel-safe: answers under way end with it, and the child asks again.
pub async fn serve(findings: FindingsContext, mut incoming: mpsc::Receiver<Incoming>) {
    let mut tasks = JoinSet::new();
    let mut answered: BTreeMap<Division, tokio::task::Id> = BTreeMap::new();
    loop {
        let next = tokio::select! {
            next = incoming.recv() => next,
            Some(done) = tasks.join_next_with_id() => {
                // Who is answered is known by the task, which may have panicked.
                let id = done.as_ref().map_or_else(tokio::task::JoinError::id, |(id, ())| *id);
                answered.retain(|_, task| *task != id);
                panicked("findings", &done);
                continue;
            }
        };
        let Some(Incoming { peer, exchange }) = next else { return };
        // Only those below are told of their records.
        let below = findings.charter.charter().charter().parent(peer) == Some(findings.me);
        if below && answered.len() < ROOM && !answered.contains_key(&peer) {
            let findings = findings.clone();
            let task = tasks.spawn(async move {
                let span = tracing::info_span!("exchange", purpose = "findings", %peer);
                let _ = tokio::time::timeout(WITHIN, answer(findings, peer, exchange).instrument(span)).await;
            });
            answered.insert(peer, task.id());
        }
    }
}

async fn answer(findings: FindingsContext, peer: Division, mut exchange: Exchange) {
    for _ in 0..ASKS {
        let Ok(Some(frame)) = exchange.receive().await else { return };
        let Ok(ask) = FindingsQuery::decode(&frame) else { return };
        // What an index does not tell that is being built, or judged again, would be taken for over.
        let complete = |p: &IndexProgress| p.whole && p.judging.is_none();
        if !complete(&findings.progress.borrow()) {
            return;
        }
        let findings = findings.clone();
        let found = tokio::task::spawn_blocking(move || page(&findings, peer, &ask)).await;
        let Ok(Ok(answer)) = found else { return };
        if exchange.send(&answer.encode()).await.is_err() {
            return;
        }
    }
}

/// The next page for a child.
fn page(findings: &FindingsContext, child: Division, ask: &FindingsQuery) -> Result<FindingsPage, EngineError> {
    let signed = findings.charter.charter();
    let charter = signed.charter();
    let cursors: BTreeMap<(Division, LogId), u64> = ask.cursors.iter().map(|c| ((c.holder, c.log), c.from)).collect();
    let mut answer = FindingsPage::default();
    let mut bytes = 0;
    let below = charter.nodes().filter(|n| charter.is_within(n.division, child));
    let logs = below.flat_map(|n| (1..=n.epochs.len() as u32).map(|epoch| LogId::records(n.division, epoch)));
    let holders: Vec<Division> = charter.path(findings.me).collect();
    for log in logs {
        for holder in &holders {
            let from = cursors.get(&(*holder, log)).copied().unwrap_or(0);
            let room = REPORTS_MAX.saturating_sub(answer.reports.len());
            let own = (*holder == findings.me).then_some(());
            let found: Vec<FindingsReport> = match own {
                Some(()) => findings_above::own(&*findings.engine, *holder, log, from, room.saturating_add(1))?,
                None => findings_above::told(&*findings.engine, *holder, log, from, room.saturating_add(1))?,
            };
            for report in found {
                let sizes = report.findings.iter().flat_map(|f| [f.message.len(), f.message_zh.len(), 128]);
                bytes = sizes.fold(bytes, usize::saturating_add);
                if answer.reports.len() == REPORTS_MAX || bytes > PAGE_BYTES_MAX / 2 {
                    answer.more = true;
                    return Ok(answer);
                }
                answer.reports.push(report);
            }
        }
    }
    Ok(answer)
}
