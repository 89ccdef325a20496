//! The daemon: all wiring. It reads as the plan of a node's life: keys, journal, core, index, links, surfaces, and the
//! way down in the opposite order.

mod damage;
mod desk;
mod epoch;
pub(crate) mod first;
mod join_book;
mod joins;
mod log_writer;
mod logging;
mod parts;
mod prune;
mod reload;
mod signals;
pub(crate) mod start;
mod supervisor;
mod surfaces;
mod watchdog;

use crate::config::Config;
use anyhow::Context as _;
use damage::OwnDamage;
use desk::Desk;
use epoch::Overrun;
use joins::JoinDesk;
use logging::LevelSwitch;
use parts::{Base, Indexing, Operational, base, reconcile_context, submissions};
use reload::Reload;
use rustix::fs::Mode;
use signals::{Asked, Signals};
use std::{path::Path, sync::Arc, time::Duration};
use supervisor::Supervisor;
use surfaces::surfaces;
use tally_client::BindError;
use tally_console::{ApiContext, EpochDesk, Quotas, ShownToAll, TokenBook};
use tally_core::Input;
use tally_driver::{HeadQuestion, Mail, Mailbox, NodeLinkHost};
use tally_intake::{self, BatcherParts, DedupSources, IntakeHandle, folder::FolderTroubles};
use tally_link::{Answerers, Dial, Endpoints, Incoming, LinkContext, dial, listen};
use tally_protocol::{
    ids::{Division, LogId},
    keys::NodeKeys,
};
use tally_reconcile::{
    ReconcileContext,
    findings::{self, FindingsContext},
    session,
    task::{self, DamageBook},
};
use tally_reports::compare::Comparisons;
use tally_store::{index::IndexProgress, operational::OperationalState};
use tally_topology::in_force::CharterHandle;
use tokio::sync::{Notify, mpsc, watch};

/// A stop ends after this long, whatever still hangs.
const STOP_WITHIN: Duration = Duration::from_secs(8);
/// Of it, for answers that are on their way when the node is told to stop.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
const DRIVER: &str = "driver";
const INTAKE: &str = "intake";
const INDEX: &str = "index";
const SOCKET: &str = "admin socket";
const HTTP: &str = "http";
const FOLDER: &str = "folder";
/// The core hears of time passing this often.
const TICK: Duration = Duration::from_millis(200);

/// Why a node did not start, in the terms of the exit codes.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Exit 78.
    #[error("{0:#}")]
    Config(anyhow::Error),
    /// Exit 6.
    #[error("not admitted: {0}")]
    NotAdmitted(String),
    /// Exit 1.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
    /// Exit 75: whoever started the node starts it again.
    #[error("start this node again: {0}")]
    Restart(RestartReason),
}

/// What whoever starts a node says of this start.
#[derive(Debug, Clone, Copy, Default)]
pub struct StartOptions {
    /// Stop when standard input closes.
    pub until_stdin_closes: bool,
    /// This node has never run: it may begin on an empty data directory.
    pub new: bool,
    /// It may begin on an empty data directory, which is filled from the parent.
    pub restoring: bool,
}

/// Runs a node until SIGTERM or SIGINT, or until standard input closes if that is asked for.
///
/// # Errors
/// [`StartError`].
pub fn run(config: &Config, options: StartOptions) -> Result<(), StartError> {
    // What this process makes is its user's only. Whatever others are to read gets its mode by name.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let (log, level) = logging::start(&config.log).context("no thread for the log")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(64)
        .enable_all()
        .build()
        .context("the runtime cannot start")?;
    let result = runtime.block_on(async {
        let closes = standard_input(options.until_stdin_closes);
        let starting = watchdog::Starting::begin();
        let node = Node::start(config, options, runtime.handle().clone(), level).await?;
        drop(starting);
        node.run(closes).await
    });
    // A read of standard input may still hold a helper thread.
    runtime.shutdown_background();
    log.end();
    result
}

/// How a life of the node ended.
enum End {
    /// It was told to.
    Stopped,
    /// It cannot go on.
    Failed(String),
    /// It is to be started again.
    Restart(RestartReason),
}

/// Why a node is to be started again: what was derived from charter or journal at the start is no longer right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestartReason {
    /// The charter names another epoch of this node, and its secret is here.
    #[error("the charter names its next epoch, whose secret is here")]
    Epoch,
    /// The charter has closed a log before what is held of it.
    #[error("the charter has closed a log before what is held of it")]
    ClosedLog,
    /// The index is to be built anew.
    #[error("the index is to be built anew")]
    RebuildIndex,
    /// Another process has the admin socket.
    #[error(
        "another process answers at listen.admin: a node whose configuration names the same path, or an earlier start"
    )]
    SocketInUse,
    /// The data directory is not there.
    #[error(
        "the data directory (node.data) is not there, perhaps not mounted yet; for a first start say `tally run --new`"
    )]
    NoData,
}

/// A node that serves: what is needed to end it in order.
struct Node {
    parts: Supervisor,
    mailbox: Mailbox,
    endpoints: Endpoints,
    /// Told when nothing more is to be taken in.
    stop: watch::Sender<bool>,
    /// Why it is to be started again, once there is a reason.
    again: watch::Receiver<Option<RestartReason>>,
    index: watch::Receiver<IndexProgress>,
    close_index: parts::CloseIndex,
    state: Option<OperationalState>,
    reload: Reload,
    signals: Signals,
    /// Held as long as the node runs.
    _lock: std::fs::File,
}

impl Node {
    /// From the disk to a node that serves. What has begun by then ends in order if the rest cannot: a thread that is left
    /// behind would wait on a runtime that is gone.
    async fn start(
        config: &Config,
        options: StartOptions,
        runtime: tokio::runtime::Handle,
        level: LevelSwitch,
    ) -> Result<Self, StartError> {
        // From here on no signal ends the node without a word.
        let signals = Signals::listen().context("signals cannot be handled")?;
        let mut parts = Supervisor::new();
        let base = base(config, options, &mut parts, &runtime)?;
        let (mailbox, stop) = (base.mailbox.clone(), base.stop.clone());
        let served = Self::serve(config, base, &runtime, (level, signals), &mut parts).await;
        if served.is_err() && tokio::time::timeout(STOP_WITHIN, abandon(parts, mailbox, stop)).await.is_err() {
            tracing::warn!(event = "node.stop_late", "not everything ended in time; nothing confirmed is lost");
        }
        served
    }

    async fn serve(
        config: &Config,
        base: Base,
        runtime: &tokio::runtime::Handle,
        (level, signals): (LevelSwitch, Signals),
        parts: &mut Supervisor,
    ) -> Result<Self, StartError> {
        let Base { keys, found, beyond, overruns, lock, charter, reader, mailbox, durable, .. } = base;
        let Base { heads, full, stop, indexing, staged, lost, .. } = base;
        let (own, stopping) = (keys.node, stop.subscribe());
        let Indexing { known, engine, progress, close } = indexing;
        let (progressed, searched, dedup) = (progress.clone(), engine.clone(), known.clone());
        let sources = DedupSources { index: known, engine: searched, progress: progressed, durable: durable.clone() };
        let staged_book = staged.book().clone();
        let BatcherParts { handle: batcher, carry, run: take_in } =
            tally_intake::batcher(sources, staged, mailbox.clone(), stopping.clone(), runtime.clone());
        parts::intake(parts, take_in)?;

        let (answerers, incoming, asked) = answerers(config, (&keys, &charter, &mailbox), parts);
        let for_links = Arc::new(NodeLinkHost { mailbox: mailbox.clone(), reader: reader.clone() });
        let context = LinkContext::new(charter.clone(), for_links, full.clone(), keys, answerers);
        let reconcile = reconcile_context(&context, &mailbox, &reader, &durable, found.damage);
        let rebuild_index = Arc::new(Notify::new());
        let tasks_context = parts::task_context(&reconcile, engine.clone(), &progress, rebuild_index.clone());
        let Operational { state, tasks: list, history } = parts::operational(config);
        let endpoints = Endpoints::open(config.listen.quic, &context)?;
        let base_is_complete = config.intake.registrations_complete;
        let (held, staged) = (parts::held_records(&engine, &reader, &mailbox, &charter), staged_book);
        let (charter_too, known) = (charter.clone(), parts::known_rows()?);
        let intake = IntakeHandle { charter: charter_too, batcher, own, staged, full, base_is_complete, known, held };
        let (submissions, answers) = submissions(config, intake)?;
        let (me, engine_too) = (own.division, engine.clone());
        let above = parts::findings_context(me, &charter, engine_too, &progress, &mailbox);
        let (troubles, book) = (FolderTroubles::default(), DamageBook::open(config.data().join("damage.json")));
        let own_damage = OwnDamage::of(&reconcile, &list, &engine, dedup, &lost, (&config.schedule, &book));
        parts.task("own damage", own_damage.watch());
        let tokens = TokenBook::new(config.token.clone());
        let api = ApiContext {
            mailbox: mailbox.clone(),
            submissions: submissions.clone(),
            comparisons: Comparisons::default(),
            charter,
            engine,
            trees: reconcile.trees.clone(),
            reader: reader.clone(),
            progress: progress.clone(),
            durable,
            known_damage: reconcile.known_damage.clone(),
            damage_book: book,
            folders: troubles.clone(),
            reconcile: reconcile.clone(),
            tasks: list.clone(),
            own,
            tokens: tokens.clone(),
            quotas: Quotas::default(),
            epochs: epoch_desk(config, &mailbox, parts),
            lost,
            shown_to_all: ShownToAll::default(),
            history,
        };

        let again = starts_again(config, parts, (&reconcile, own, overruns), rebuild_index);
        parts.job("carry over", well(epoch::carry_over(carry, reader, own, beyond)));
        let mut reload = Reload::new(config, tokens, level, (submissions, troubles), runtime.clone());
        reload.folders(parts).context("no thread for a drop folder")?;
        surfaces(config, api, &stopping, parts).await?;
        calls(config, parts, &endpoints, (own.division, context));
        parts.task("tick", tick(mailbox.clone()));
        for_neighbours(parts, (above, asked), (reconcile, incoming), heads);
        parts.task("prune answers", prune::run(answers, config.staged(), mailbox.clone()));
        parts.task("tasks", task::work(tasks_context, list, config.schedule.clone(), stopping.clone()));
        parts.task("watchdog", watchdog::watch(mailbox.clone()));

        ready(config, own, found.frames, &endpoints);
        let parts = std::mem::replace(parts, Supervisor::new());
        let (index, close_index, _lock) = (progress, close, lock);
        Ok(Self { parts, mailbox, endpoints, stop, again, index, close_index, state, reload, signals, _lock })
    }

    /// Serves until it is told to stop, and ends in order: no new requests, then what is under way becomes durable, then
    /// the links, then the disk.
    async fn run(mut self, mut closes: watch::Receiver<bool>) -> Result<(), StartError> {
        let end = self.wait(&mut closes).await;
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        tracing::info!(event = "node.stopping", "stopping");
        let rebuild = matches!(end, End::Restart(RestartReason::RebuildIndex));
        if tokio::time::timeout(STOP_WITHIN, self.down(rebuild)).await.is_err() {
            tracing::warn!(event = "node.stop_late", "not everything ended in time; nothing confirmed is lost");
        }
        match end {
            End::Stopped => Ok(()),
            End::Failed(why) => Err(anyhow::anyhow!(why).into()),
            End::Restart(why) => {
                tracing::info!(event = "node.again", reason = %why, "the node ends, to be started again");
                Err(StartError::Restart(why))
            }
        }
    }

    async fn down(mut self, rebuild: bool) {
        self.stop.send_replace(true);
        self.reload.stop_folders();
        // At once: the rest may take too long, and what is not sound must not be opened again.
        if rebuild || self.index.borrow().trouble.is_some() {
            self.close_index(false).await;
        }
        self.parts.join(INTAKE).await;
        let _ = self.mailbox.send(Mail::Stop).await;
        self.parts.join(DRIVER).await;
        self.endpoints.close(b"stopping");
        self.endpoints.wait_idle().await;
        // Answers under way are given to their ends.
        let answers = async {
            self.parts.finish(SOCKET).await;
            self.parts.finish(HTTP).await;
        };
        let _ = tokio::time::timeout(ANSWERS_WITHIN, answers).await;
        self.parts.end_tasks().await;
        self.parts.join(INDEX).await;
        let sound = self.index.borrow().trouble.is_none() && !rebuild;
        self.close_index(sound).await;
        if let Some(state) = self.state.take() {
            tokio::task::spawn_blocking(move || state.close()).await.ok();
        }
        // The last, because a share that hangs holds its folder's thread.
        self.parts.join(FOLDER).await;
    }

    async fn close_index(&self, sound: bool) {
        let close = self.close_index.clone();
        tokio::task::spawn_blocking(move || close(sound)).await.ok();
    }

    /// Waits for a signal, for standard input to close, for a part to end, or for a reason to start again.
    async fn wait(&mut self, closes: &mut watch::Receiver<bool>) -> End {
        let closed = async {
            if closes.wait_for(|closed| *closed).await.is_err() {
                // Nobody watches standard input.
                std::future::pending::<()>().await;
            }
        };
        let again = async {
            match self.again.wait_for(Option::is_some).await {
                Ok(why) => *why,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::pin!(closed, again);
        loop {
            let asked = tokio::select! {
                () = &mut closed => return End::Stopped,
                ended = self.parts.ended() => {
                    tracing::error!(event = "part.ended", reason = %ended, "a part of the node has ended: the node stops");
                    return End::Failed(ended.to_string());
                }
                why = &mut again => return why.map_or(End::Stopped, End::Restart),
                asked = self.signals.next() => asked,
            };
            match asked {
                Asked::Stop => return End::Stopped,
                Asked::Reload => self.reload.reload(&mut self.parts),
                Asked::State => signals::tell_state(&self.mailbox.view(), &self.index.borrow()),
            }
        }
    }
}

/// Ends what has begun of a node that cannot serve.
async fn abandon(mut parts: Supervisor, mailbox: Mailbox, stop: watch::Sender<bool>) {
    stop.send_replace(true);
    parts.end_tasks().await;
    parts.join(INTAKE).await;
    let _ = mailbox.send(Mail::Stop).await;
    for part in [DRIVER, INDEX, FOLDER] {
        parts.join(part).await;
    }
}

/// Takes the calls of children, and calls the parent.
fn calls(config: &Config, parts: &mut Supervisor, endpoints: &Endpoints, (me, context): (Division, LinkContext)) {
    parts.task("listen", listen(endpoints.clone(), context.clone()));
    if !config.node.offline {
        parts.task("dial", dial(Dial { endpoints: endpoints.clone(), me, context }));
    }
}

/// Says that the node serves: to whoever started it, to systemd, and in the log file.
fn ready(config: &Config, own: LogId, frames: u64, endpoints: &Endpoints) {
    let quic = endpoints.local_addr().map_or(config.listen.quic, |a| a);
    errln!("ready {own} frames={frames} quic={quic} admin={}", config.admin().display());
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(event = "node.ready", node = %own, frames, %quic, "ready");
}

/// Where questions of neighbours go, and where they are read: to compare, and about findings; and who hears those who want to join.
fn answerers(
    config: &Config,
    (keys, charter, mailbox): (&Arc<NodeKeys>, &CharterHandle, &Mailbox),
    parts: &mut Supervisor,
) -> (Answerers, Questions, Questions) {
    let (reconcile, incoming) = mpsc::channel(16);
    let (findings, asked) = mpsc::channel(16);
    let (strangers, calls) = mpsc::channel(16);
    let book = config.data().join("joins.json");
    let desk = JoinDesk::open(keys.clone(), charter.clone(), mailbox.clone(), book);
    parts.task("who want to join", desk.serve(calls));
    (Answerers { reconcile, findings, strangers }, incoming, asked)
}

/// Questions of neighbours.
type Questions = mpsc::Receiver<Incoming>;

/// What answers neighbours, and the core's questions about them.
fn for_neighbours(
    parts: &mut Supervisor,
    (above, asked): (FindingsContext, mpsc::Receiver<Incoming>),
    (reconcile, incoming): (ReconcileContext, mpsc::Receiver<Incoming>),
    heads: mpsc::Receiver<HeadQuestion>,
) {
    parts.task("findings for children", findings::serve(above.clone(), asked));
    parts.task("findings from above", findings::follow(above, reconcile.links.clone()));
    parts.task("roots of heads", tally_reconcile::heads::answer(reconcile.clone(), heads));
    parts.task("reconcile with neighbours", session::serve(reconcile, incoming));
}

/// Watches for all that has the node start again; tells it, once.
fn starts_again(
    config: &Config,
    parts: &mut Supervisor,
    (reconcile, own, overruns): (&ReconcileContext, LogId, Vec<Overrun>),
    rebuild_index: Arc<Notify>,
) -> watch::Receiver<Option<RestartReason>> {
    let (tell, again) = watch::channel(None);
    parts.job("epochs", well(epoch::watch(config.clone(), reconcile.clone(), own, overruns, tell.clone())));
    parts.job("rebuild index", rebuilt(rebuild_index, tell));
    again
}

/// Has the node start again once a task asks for the index to be built anew.
async fn rebuilt(asked: Arc<Notify>, again: watch::Sender<Option<RestartReason>>) -> Result<(), String> {
    asked.notified().await;
    again.send_replace(Some(RestartReason::RebuildIndex));
    Ok(())
}

/// Where the next epoch is asked for.
fn epoch_desk(config: &Config, mailbox: &Mailbox, parts: &mut Supervisor) -> EpochDesk {
    let ((asks, asked_for), (tell, asked)) = (mpsc::channel(4), watch::channel(None));
    let desk = Desk { config: config.clone(), mailbox: mailbox.clone(), asks: asked_for, tell };
    parts.job("epoch desk", well(desk.serve()));
    EpochDesk { asks, asked }
}

/// A part that ends well whenever it ends.
async fn well(part: impl Future<Output = ()>) -> Result<(), String> {
    part.await;
    Ok(())
}

/// Tells when standard input closes, if that is asked for; otherwise it never tells. A thread of its own: a read of it
/// cannot be cancelled.
fn standard_input(until_it_closes: bool) -> watch::Receiver<bool> {
    let (closes, closed) = watch::channel(false);
    if until_it_closes {
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            closes.send_replace(true);
        });
    }
    closed
}

async fn tick(mailbox: Mailbox) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        if mailbox.send(Mail::Core(Input::Tick)).await.is_err() {
            return;
        }
    }
}

/// Why the admin socket cannot be this node's, and what whoever starts it does then.
fn no_socket(path: &Path, e: BindError) -> StartError {
    match e {
        BindError::InUse(_) => {
            tracing::error!(event = "admin.in_use", ?path, "another process answers at listen.admin");
            StartError::Restart(RestartReason::SocketInUse)
        }
        BindError::NoSocket(_) => StartError::Config(anyhow::Error::from(e).context("listen.admin")),
        BindError::Io(..) => StartError::Failed(anyhow::Error::from(e).context("listen.admin")),
    }
}
