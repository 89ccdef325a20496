//! A neighbour compares itself with this node: what it asks is answered, what it gives is proved and put back.

use super::{
    AgreeError, Ground, Pace, Progress,
    pieces::{self, Cutter, Putter},
    trees,
};
use crate::verify::{Stopped, Survey, Watermark};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tally_link::{Exchange, Incoming};
use tally_protocol::{
    ids::{Division, LogId},
    session::reconcile::{Answer, Ask, Lacking, ROOTS_MAX, Scope},
    wire::Refusal,
};
use tally_store::tree::LogTree;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
};

/// Exchanges that are answered at the same time, one of each neighbour; each holds a few megabytes at most.
const EXCHANGES: usize = 8;
/// A neighbour that waits is told so this often.
const TELL: Duration = Duration::from_secs(2);

/// Until when the disk is not read again for neighbours: no more than half of its time goes to all of them.
type Rest = Arc<Mutex<Option<Instant>>>;

/// What was last read for a neighbour and is not mended yet: it may bring what is missing in a later exchange.
type Surveys = Arc<Mutex<HashMap<Division, Survey>>>;

/// Answers exchanges until the links have ended. Those that have to wait do so apart: none holds up the others.
pub async fn serve(ground: Ground, mut incoming: mpsc::Receiver<Incoming>) {
    let room = Arc::new(Semaphore::new(EXCHANGES));
    let (rest, surveys) = (Rest::default(), Surveys::default());
    let mut turns: HashMap<Division, Arc<Semaphore>> = HashMap::new();
    let mut tasks = JoinSet::new();
    loop {
        let next = tokio::select! {
            next = incoming.recv() => next,
            Some(_) = tasks.join_next() => continue,
        };
        let Some(Incoming { peer, exchange }) = next else { return };
        let turn = turns.entry(peer).or_insert_with(|| Arc::new(Semaphore::new(1))).clone();
        let (ground, rest, surveys, room) = (ground.clone(), rest.clone(), surveys.clone(), room.clone());
        tasks.spawn(async move {
            let mut exchange = exchange;
            let waits = async { (turn.acquire().await, room.acquire().await) };
            let Ok((Ok(_turn), Ok(_room))) = at_work(&mut exchange, peer, waits).await else { return };
            let mut answering = Answering { ground: &ground, peer, exchange, surveys, tree: None, rest };
            if let Err(e) = answering.run().await {
                tracing::info!(event = "reconcile.ended", %peer, reason = %e, "a neighbour's comparison ended early");
            }
        });
    }
}

/// Does something that takes its time, and tells the neighbour all the while that it is being done.
async fn at_work<T>(exchange: &mut Exchange, peer: Division, work: impl Future<Output = T>) -> Result<T, AgreeError> {
    let working = Answer::Working { done: 0, total: 0 }.encode();
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            () = tokio::time::sleep(TELL) => {
                exchange.send(&working).await.map_err(|source| AgreeError::Exchange { peer, source })?;
            }
        }
    }
}

struct Answering<'g> {
    ground: &'g Ground,
    peer: Division,
    exchange: Exchange,
    surveys: Surveys,
    tree: Option<(LogId, Arc<LogTree>)>,
    rest: Rest,
}

impl<'g> Answering<'g> {
    async fn run(&mut self) -> Result<(), AgreeError> {
        let peer = self.peer;
        let common = self.ground.mailbox.view().common_ground(peer);
        let within = match common {
            Ok(division) => division,
            Err(reason) => return self.refuse(Refusal::NotAChild, reason).await,
        };
        let mut putter = Putter::new(self.ground, within);
        loop {
            let frame = self.exchange.receive().await.map_err(|source| AgreeError::Exchange { peer, source })?;
            let Some(bytes) = frame else { return Ok(()) };
            let ask = match Ask::decode(&bytes) {
                Ok(ask) => ask,
                Err(e) => return self.refuse(Refusal::Malformed, e.to_string()).await,
            };
            match ask {
                Ask::Compare { scope, digest, deep } => {
                    if !self.may(within, scope) {
                        return self.refuse(Refusal::NotBelow, format!("{within} and below can be compared")).await;
                    }
                    if deep {
                        self.read_disk(scope).await?;
                    }
                    let standing = self.ground.standing(scope);
                    let (mine, standing) = at_work(&mut self.exchange, peer, standing).await??;
                    if mine == digest && standing.lacks.is_empty() {
                        self.send(&Answer::Agree).await?;
                    } else {
                        for answer in standing.messages().collect::<Vec<_>>() {
                            self.send(&answer).await?;
                        }
                    }
                }
                Ask::Roots(wanted) => {
                    if wanted.len() > ROOTS_MAX || !wanted.iter().all(|(l, _)| self.may(within, Scope::Log(*l))) {
                        return self.refuse(Refusal::NotBelow, format!("{within} and below can be compared")).await;
                    }
                    let roots = pieces::roots(self.ground, &wanted);
                    self.send(&Answer::Roots(roots)).await?;
                }
                Ask::Nodes { log, question } => {
                    if !self.may(within, Scope::Log(log)) {
                        return self.refuse(Refusal::NotBelow, format!("{within} and below can be compared")).await;
                    }
                    self.nodes(log, &question).await?;
                }
                Ask::Want { log, lacking } => {
                    if !self.may(within, Scope::Log(log)) {
                        return self.refuse(Refusal::NotBelow, format!("{within} and below can be had")).await;
                    }
                    self.give(log, lacking).await?;
                }
                Ask::Here(piece) => putter.take(piece).await?,
                Ask::Taken => {
                    let survey = self.surveys().remove(&peer);
                    let settle = async {
                        putter.flush().await?;
                        let Some(mut survey) = survey else { return Ok(None) };
                        let why = format!("found when {peer} compared; what it held came back from there");
                        self.ground.mend(&mut survey, &why).await?;
                        Ok::<_, AgreeError>(Some(survey).filter(|s| !s.places.is_empty()))
                    };
                    if let Some(left) = at_work(&mut self.exchange, peer, settle).await?? {
                        self.surveys().insert(peer, left);
                    }
                    if let Some(reason) = putter.trouble.take() {
                        tracing::warn!(event = "reconcile.not_taken", %peer, %reason, "something that a neighbour gave was not taken");
                    }
                    self.send(&Answer::Taken { put_back: std::mem::take(&mut putter.put_back) }).await?;
                }
            }
        }
    }

    fn may(&self, within: Division, scope: Scope) -> bool {
        let charter = self.ground.charter.charter();
        let division = match scope {
            Scope::Division(d) => d,
            Scope::Log(log) => log.division,
        };
        charter.charter().is_within(division, within)
    }

    /// Reads the disk, and tells the neighbour all the while that it is at work.
    async fn read_disk(&mut self, scope: Scope) -> Result<(), AgreeError> {
        let (ground, peer, rest) = (self.ground, self.peer, self.rest.clone());
        let turn = async {
            let one = ground.guests.acquire().await;
            let until = *rest.lock().unwrap_or_else(PoisonError::into_inner);
            tokio::time::sleep(until.map_or(Duration::ZERO, |u| u.saturating_duration_since(Instant::now()))).await;
            one
        };
        let one = at_work(&mut self.exchange, peer, turn).await?.map_err(|_| tally_driver::Stopping)?;
        let started = Instant::now();
        let (tell, told) = watch::channel(Progress::default());
        // A neighbour that has gone is not read for any longer.
        let pace = Pace(Arc::new(move |p, _| tell.send(p.clone()).map_err(|_| Stopped)));
        let only = match scope {
            Scope::Log(log) => Some(log),
            Scope::Division(_) => None,
        };
        ground.rescue().await?;
        let survey = {
            let read = ground.survey(only, Watermark::default(), pace);
            tokio::pin!(read);
            loop {
                tokio::select! {
                    survey = &mut read => break survey?,
                    () = tokio::time::sleep(TELL) => {
                        let Progress { done, total, .. } = told.borrow().clone();
                        self.send(&Answer::Working { done, total }).await?;
                    }
                }
            }
        };
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + started.elapsed());
        drop(one);
        self.surveys().insert(self.peer, survey);
        Ok(())
    }

    fn surveys(&self) -> MutexGuard<'_, HashMap<Division, Survey>> {
        self.surveys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn nodes(&mut self, log: LogId, question: &[u8]) -> Result<(), AgreeError> {
        let tree = match self.tree.take().filter(|(l, _)| *l == log) {
            Some((_, tree)) => Ok(tree),
            None => at_work(&mut self.exchange, self.peer, self.ground.tree(log)).await??,
        };
        let answer = match tree {
            Ok(tree) => {
                self.tree = Some((log, tree.clone()));
                at_work(&mut self.exchange, self.peer, trees::hashes(tree, question)).await??
            }
            Err(why) => Err(why),
        };
        match answer {
            Ok(bytes) => self.send(&Answer::Nodes(bytes)).await,
            Err(reason) => self.send(&Answer::Refused { code: Refusal::Malformed, reason }).await,
        }
    }

    async fn give(&mut self, log: LogId, lacking: Lacking) -> Result<(), AgreeError> {
        let mut cutter = Cutter::new(self.ground, log, lacking)?;
        loop {
            let (back, piece) = cutter.next().await?;
            cutter = back;
            match piece {
                Some(piece) => self.send(&Answer::Piece(piece)).await?,
                None => return self.send(&Answer::End).await,
            }
        }
    }

    async fn send(&mut self, answer: &Answer) -> Result<(), AgreeError> {
        let peer = self.peer;
        self.exchange.send(&answer.encode()).await.map_err(|source| AgreeError::Exchange { peer, source })
    }

    async fn refuse(&mut self, code: Refusal, reason: String) -> Result<(), AgreeError> {
        self.send(&Answer::Refused { code, reason }).await?;
        self.exchange.finish();
        Ok(())
    }
}
