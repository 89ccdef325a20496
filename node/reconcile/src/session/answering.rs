//! The answering side: a neighbour compares itself with this node. What it asks is answered, what it gives is proved and kept.
//!
//! A neighbour is told only of what it shares with this node. One exchange of each neighbour at a time, and no more than half
//! of the disk's time goes to all of them together; who has to wait is told so.

use super::{
    descent::{self, NoDescent},
    roots,
};
use crate::{
    ReconcileContext, ReconcileError,
    context::chain,
    repair::{RepairReader, RepairWriter},
    survey::{SurveyProgress, Throttle},
    verify::{Stopped, Survey, Watermark},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tally_link::{Exchange, Incoming, panicked};
use tally_protocol::{
    ids::{Division, LogId},
    session::reconcile::{Lacking, ROOTS_MAX, ReconcileReply, ReconcileRequest, Scope},
    wire::Refusal,
};
use tally_store::merkle_store::LogTree;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
};
use tracing::Instrument as _;

/// Exchanges that are answered at the same time, one of each neighbour; each holds a few megabytes at most.
const EXCHANGES: usize = 8;
/// A neighbour that waits is told so this often.
const TELL: Duration = Duration::from_secs(2);

/// The disk is not read for neighbours again before this: it rests as long as the last reading took, so readings take at
/// most half its time.
type Rest = Arc<Mutex<Option<Instant>>>;

/// For each neighbour, what the last reading for it found and is not mended yet: the neighbour may bring what is missing in
/// a later exchange.
type Surveys = Arc<Mutex<HashMap<Division, Survey>>>;

/// Answers exchanges until the links have ended, each in a task and a span of its own: none holds up the others.
///
/// Cancel-safe: exchanges under way end with it, and what was taken by then is kept.
pub async fn serve(context: ReconcileContext, mut incoming: mpsc::Receiver<Incoming>) {
    let room = Arc::new(Semaphore::new(EXCHANGES));
    let (rest, surveys) = (Rest::default(), Surveys::default());
    let mut turns: HashMap<Division, Arc<Semaphore>> = HashMap::new();
    let mut tasks = JoinSet::new();
    loop {
        let next = tokio::select! {
            next = incoming.recv() => next,
            Some(done) = tasks.join_next() => {
                panicked("reconcile", &done);
                continue;
            }
        };
        let Some(Incoming { peer, exchange }) = next else { return };
        let turn = turns.entry(peer).or_insert_with(|| Arc::new(Semaphore::new(1))).clone();
        let (context, rest, surveys, room) = (context.clone(), rest.clone(), surveys.clone(), room.clone());
        let span = tracing::info_span!("exchange", purpose = "reconcile", %peer);
        let answer = async move {
            let mut exchange = exchange;
            let waits = async { (turn.acquire().await, room.acquire().await) };
            let Ok((Ok(_turn), Ok(_room))) = at_work(&mut exchange, peer, waits).await else { return };
            let mut answering = Answering { context: &context, peer, exchange, surveys, tree: None, rest };
            if let Err(e) = answering.run().await {
                let reason = chain(&e);
                tracing::info!(event = "reconcile.ended", %peer, %reason, "a neighbour's comparison ended early");
            }
        };
        tasks.spawn(answer.instrument(span));
    }
}

/// Waits for `work`, and tells the neighbour every few seconds that it is being done.
async fn at_work<T>(
    exchange: &mut Exchange,
    peer: Division,
    work: impl Future<Output = T>,
) -> Result<T, ReconcileError> {
    let working = ReconcileReply::Working { done: 0, total: 0 }.encode();
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            () = tokio::time::sleep(TELL) => {
                exchange.send(&working).await.map_err(|source| ReconcileError::Exchange { peer, source })?;
            }
        }
    }
}

struct Answering<'g> {
    context: &'g ReconcileContext,
    peer: Division,
    exchange: Exchange,
    surveys: Surveys,
    tree: Option<(LogId, Arc<LogTree>)>,
    rest: Rest,
}

impl<'g> Answering<'g> {
    async fn run(&mut self) -> Result<(), ReconcileError> {
        let peer = self.peer;
        let common = self.context.mailbox.view().common_ground(peer);
        let within = match common {
            Ok(division) => division,
            Err(reason) => return self.refuse(Refusal::NotAChild, reason).await,
        };
        let mut writer = RepairWriter::new(self.context, within);
        loop {
            let frame = self.exchange.receive().await.map_err(|source| ReconcileError::Exchange { peer, source })?;
            let Some(bytes) = frame else { return Ok(()) };
            let ask = match ReconcileRequest::decode(&bytes) {
                Ok(ask) => ask,
                Err(e) => return self.refuse(Refusal::Malformed, e.to_string()).await,
            };
            match ask {
                ReconcileRequest::Compare { scope, digest, deep } => {
                    if !self.may(within, scope) {
                        return self.refuse(Refusal::NotBelow, format!("{within} and below can be compared")).await;
                    }
                    if deep {
                        self.read_disk(scope).await?;
                    }
                    let standing = self.context.standing(scope);
                    let (mine, standing) = at_work(&mut self.exchange, peer, standing).await??;
                    if mine == digest && standing.lacks.is_empty() {
                        self.send(&ReconcileReply::Agree).await?;
                    } else {
                        for answer in standing.messages().collect::<Vec<_>>() {
                            self.send(&answer).await?;
                        }
                    }
                }
                ReconcileRequest::Roots(wanted) => {
                    if wanted.len() > ROOTS_MAX || !wanted.iter().all(|(l, _)| self.may(within, Scope::Log(*l))) {
                        return self.refuse(Refusal::NotBelow, format!("{within} and below can be compared")).await;
                    }
                    let roots = roots(self.context, &wanted);
                    self.send(&ReconcileReply::Roots(roots)).await?;
                }
                ReconcileRequest::Nodes { log, question } => {
                    if !self.may(within, Scope::Log(log)) {
                        return self.refuse(Refusal::NotBelow, format!("{within} and below can be compared")).await;
                    }
                    self.nodes(log, &question).await?;
                }
                ReconcileRequest::Want { log, lacking } => {
                    if !self.may(within, Scope::Log(log)) {
                        return self.refuse(Refusal::NotBelow, format!("{within} and below can be had")).await;
                    }
                    self.give(log, lacking).await?;
                }
                ReconcileRequest::Here(piece) => writer.take(piece).await?,
                ReconcileRequest::Taken => {
                    let survey = self.surveys().remove(&peer);
                    let settle = async {
                        writer.flush().await?;
                        let Some(mut survey) = survey else { return Ok(None) };
                        let why = format!("found when {peer} compared; what it held came back from there");
                        self.context.mend(&mut survey, &why).await?;
                        Ok::<_, ReconcileError>(Some(survey).filter(|s| !s.places.is_empty()))
                    };
                    if let Some(left) = at_work(&mut self.exchange, peer, settle).await?? {
                        self.surveys().insert(peer, left);
                    }
                    if let Some(reason) = writer.trouble.take() {
                        tracing::warn!(event = "reconcile.not_taken", %peer, %reason, "something that a neighbour gave was not taken");
                    }
                    self.send(&ReconcileReply::Taken { repaired: std::mem::take(&mut writer.repaired) }).await?;
                }
            }
        }
    }

    /// Whether the neighbour shares this scope with the node.
    fn may(&self, within: Division, scope: Scope) -> bool {
        let charter = self.context.charter.charter();
        let division = match scope {
            Scope::Division(d) => d,
            Scope::Log(log) => log.division,
        };
        charter.charter().is_within(division, within)
    }

    /// Reads the disk, and tells the neighbour all the while that it is at work.
    async fn read_disk(&mut self, scope: Scope) -> Result<(), ReconcileError> {
        let (context, peer, rest) = (self.context, self.peer, self.rest.clone());
        let turn = async {
            let one = context.guests.acquire().await;
            let until = *rest.lock().unwrap_or_else(PoisonError::into_inner);
            tokio::time::sleep(until.map_or(Duration::ZERO, |u| u.saturating_duration_since(Instant::now()))).await;
            one
        };
        let one = at_work(&mut self.exchange, peer, turn).await?.map_err(|_| tally_driver::Stopping)?;
        let started = Instant::now();
        let (tell, told) = watch::channel(SurveyProgress::default());
        // A neighbour that has gone is not read for any longer.
        let throttle = Throttle(Arc::new(move |p, _| tell.send(p.clone()).map_err(|_| Stopped)));
        let only = match scope {
            Scope::Log(log) => Some(log),
            Scope::Division(_) => None,
        };
        context.rescue().await?;
        let survey = {
            let read = context.survey(only, Watermark::default(), throttle);
            tokio::pin!(read);
            loop {
                tokio::select! {
                    survey = &mut read => break survey?,
                    () = tokio::time::sleep(TELL) => {
                        let SurveyProgress { done, total, .. } = told.borrow().clone();
                        self.send(&ReconcileReply::Working { done, total }).await?;
                    }
                }
            }
        };
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now().checked_add(started.elapsed());
        drop(one);
        self.surveys().insert(self.peer, survey);
        Ok(())
    }

    fn surveys(&self) -> MutexGuard<'_, HashMap<Division, Survey>> {
        self.surveys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a question for hashes of a log's tree. The tree stays open for the next question.
    async fn nodes(&mut self, log: LogId, question: &[u8]) -> Result<(), ReconcileError> {
        let (context, kept) = (self.context, self.tree.take().filter(|(l, _)| *l == log));
        let hashes = async {
            let tree = match kept {
                Some((_, tree)) => tree,
                None => context.tree(log).await?,
            };
            Ok::<_, NoDescent>((descent::hashes(tree.clone(), question).await, tree))
        };
        let answer = match at_work(&mut self.exchange, self.peer, hashes).await? {
            Ok((answer, tree)) => {
                self.tree = Some((log, tree));
                answer
            }
            Err(why) => Err(why),
        };
        match answer {
            Ok(bytes) => self.send(&ReconcileReply::Nodes(bytes)).await,
            Err(NoDescent::Fatal(e)) => Err(e),
            Err(why) => {
                let (code, reason) = (Refusal::Malformed, why.to_string());
                self.send(&ReconcileReply::Refused { code, reason }).await
            }
        }
    }

    /// Sends what is wanted of a log, as far as it can be read here.
    async fn give(&mut self, log: LogId, lacking: Lacking) -> Result<(), ReconcileError> {
        let mut batches = RepairReader::new(self.context, log, lacking)?;
        loop {
            let (back, piece) = batches.next().await?;
            batches = back;
            match piece {
                Some(piece) => self.send(&ReconcileReply::Piece(piece)).await?,
                None => return self.send(&ReconcileReply::End).await,
            }
        }
    }

    async fn send(&mut self, answer: &ReconcileReply) -> Result<(), ReconcileError> {
        let peer = self.peer;
        self.exchange.send(&answer.encode()).await.map_err(|source| ReconcileError::Exchange { peer, source })
    }

    async fn refuse(&mut self, code: Refusal, reason: String) -> Result<(), ReconcileError> {
        self.send(&ReconcileReply::Refused { code, reason }).await?;
        self.exchange.finish();
        Ok(())
    }
}
