//! The daemon: all wiring. It reads as the plan of a node's life: keys, journal, core, index, links, surfaces, and the
//! way down in the opposite order.

mod epoch;
mod logging;
mod start;

use crate::config::Config;
use anyhow::Context as _;
use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use tally_console::{self, ApiContext, Quotas};
use tally_core::{Input, Place};
use tally_driver::{Driver, ForLinks};
use tally_driver::{Mail, Mailbox};
use tally_intake::{
    self, DedupSources, IntakeHandle,
    folder::{self, Folder},
    submission::{SubmissionStore, Submissions},
};
use tally_link::{Answerers, Dial, LinkContext, dial, endpoint, listen};
use tally_reconcile::{
    agree::{self, Ground, Noticed},
    task::{self, Tasks, Workshop},
    verdict::{self, Bench},
};
use tally_reports::compare::Comparisons;
use tally_store::entries::EntryReader;
use tally_store::{
    index::{DedupIndex, Progress, follow},
    tree::Trees,
};
use tally_topology::in_force::CharterHandle;
use tokio::{
    sync::{Notify, Semaphore, mpsc, watch},
    task::JoinSet,
};

/// A stop ends after this long, whatever still hangs.
const STOP_WITHIN: Duration = Duration::from_secs(8);
/// Pause before a node starts again in the same process.
const AGAIN_AFTER: Duration = Duration::from_millis(300);
/// Old answers are looked for this often.
const PRUNE_EVERY: Duration = Duration::from_secs(6 * 3_600);
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
}

/// Runs a node until SIGTERM or SIGINT, or until standard input closes if that is asked for.
///
/// # Errors
/// [`StartError`].
pub fn run(config: &Config, until_stdin_closes: bool) -> Result<(), StartError> {
    logging::start(&config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(64)
        .enable_all()
        .build()
        .context("the runtime cannot start")?;
    let left_alone = standard_input(until_stdin_closes);
    let result = runtime.block_on(async {
        loop {
            match serve(config, left_alone.clone(), runtime.handle().clone()).await? {
                End::Stopped => return Ok(()),
                End::Failed(why) => return Err(anyhow::anyhow!(why).into()),
                End::Again(why) => {
                    tracing::info!(event = "node.again", reason = ?why, "the node starts again from its disk");
                    // What was under way lets go of files and ports.
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            }
        }
    });
    // A read of standard input may still hold a helper thread.
    runtime.shutdown_background();
    result
}

/// How a life of the node ended.
enum End {
    /// It was told to.
    Stopped,
    /// It cannot go on.
    Failed(String),
    /// It starts again in the same process.
    Again(Again),
}

/// Why a node starts again: what was derived from charter or journal at the start is no longer right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// The charter names another epoch of this node, and its secret is here.
    Epoch,
    /// The charter has closed a log before what is held of it.
    ClosedLog,
    /// The index is to be built anew.
    RebuildIndex,
}

/// One life of the node, from the disk to the disk.
async fn serve(
    config: &Config,
    mut left_alone: watch::Receiver<bool>,
    runtime: tokio::runtime::Handle,
) -> Result<End, StartError> {
    let (keys, charter) = start::identity(config)?;
    let data = config.data();
    let _lock = start::lock(&data)?;
    let start::Recovery { mut replica, journal, found, beyond } = start::recover(config, keys, charter)?;
    let sound = found.damage.is_empty() && found.cut_bytes == 0;
    let keys = start::admitted(config, &mut replica, sound)?;
    let own = keys.node;
    let overruns = replica.view().overruns();

    let trust = CharterHandle::new(replica.view().signed_charter().clone());
    let reader = EntryReader::new(config.journal());
    let (durable_tell, durable) = watch::channel(journal.durable());
    let (view_tell, view) = watch::channel(Arc::new(replica.view().clone()));
    let full = Arc::new(AtomicBool::new(false));
    let (mailbox, mail) = Mailbox::new(view);

    // The index follows; nothing waits for it but the questions that need it.
    let opened = start::open_index(config, &replica, journal.durable())?;
    let known = Arc::new(DedupIndex::new(opened.engine.clone(), own, opened.is_empty()));
    let close_index = opened.closer();
    let engine = opened.engine.clone();
    let start = Progress { cursor: Place(0), distinct: 0, trouble: None };
    let (progress_tell, progress) = watch::channel(start);
    let indexer = {
        let (known, reader, durable, runtime) = (known.clone(), reader.clone(), durable.clone(), runtime.clone());
        let trust = trust.clone();
        let body = move || {
            // An engine may panic; that is a failure of the index, not of the node.
            let run = || follow(&opened, known, reader, &trust, durable, &progress_tell, &runtime);
            if std::panic::catch_unwind(AssertUnwindSafe(run)).is_err() {
                progress_tell.send_modify(|p| p.trouble = Some("the index engine panicked".into()));
            }
        };
        std::thread::Builder::new().name("index".into()).spawn(body).context("no thread for the index")?
    };

    let driver = Driver {
        replica,
        journal,
        mail,
        mailbox: mailbox.clone(),
        trust: trust.clone(),
        durable: durable_tell,
        view: view_tell,
        full: full.clone(),
        reserve: config.storage.reserve_mib << 20,
        data,
    };
    let index_state = progress.clone();
    let (failed_tell, mut failed) = watch::channel(None);
    let intake_failed = failed_tell.clone();
    let driver = std::thread::Builder::new()
        .name("driver".into())
        .spawn(move || {
            if let Err(e) = driver.run() {
                tracing::error!(event = "journal.failed", reason = %e, "the disk failed: the node stops");
                failed_tell.send_replace(Some(e.to_string()));
            }
        })
        .context("no thread for the driver")?;

    let (stop, stopping) = watch::channel(false);
    let sources = DedupSources { index: known, progress: progress.clone(), durable: durable.clone() };
    let (batcher, batcher_thread) =
        tally_intake::start(sources, mailbox.clone(), stopping.clone(), intake_failed, runtime.clone())
            .context("no thread for intake")?;
    let (reconcile, incoming) = mpsc::channel(16);
    let (verdicts, asked) = mpsc::channel(16);
    let answerers = Answerers { reconcile, verdicts };
    let node = Arc::new(ForLinks { mailbox: mailbox.clone(), reader: reader.clone() });
    let context = LinkContext::new(trust.clone(), node, full.clone(), keys, answerers);
    let ground = Ground {
        mailbox: mailbox.clone(),
        reader: reader.clone(),
        trust: trust.clone(),
        lines: context.lines.clone(),
        durable: durable.clone(),
        noticed: Noticed::new(found.damage),
        trees: Trees::new(reader.clone()),
        guests: Arc::new(Semaphore::new(1)),
    };
    let rebuild_index = Arc::new(Notify::new());
    let workshop = Workshop {
        ground: ground.clone(),
        engine: engine.clone(),
        progress: progress.clone(),
        rebuild_index: rebuild_index.clone(),
    };
    let list = Tasks::open(config.data().join("tasks.json"));
    let endpoint = patiently(|| endpoint(config.listen.quic, &context)).await?;
    let intake = IntakeHandle {
        trust: trust.clone(),
        batcher,
        own,
        full,
        base_is_complete: config.intake.registrations_complete,
    };
    let answers =
        SubmissionStore::open(config.answers(), own.division).context("the folder of answers cannot be used")?;
    let spool = start::clear_spool(config.spool()).context("the folder data/spool cannot be used")?;
    let submissions = Submissions::new(intake, answers.clone(), spool);
    let bench = Bench { me: own.division, trust: trust.clone(), engine: engine.clone(), mailbox: mailbox.clone() };
    let api = ApiContext {
        mailbox: mailbox.clone(),
        submissions: submissions.clone(),
        comparisons: Comparisons::default(),
        trust,
        engine,
        trees: ground.trees.clone(),
        reader,
        progress,
        durable,
        noticed: ground.noticed.clone(),
        ground: ground.clone(),
        tasks: list.clone(),
        own,
        tokens: Arc::new(config.token.clone()),
        quotas: Quotas::default(),
    };
    let (again_tell, mut again) = watch::channel(None);
    let mut tasks = JoinSet::new();
    tasks.spawn(epoch::watch(config.clone(), ground.clone(), own, overruns, again_tell.clone()));
    tasks.spawn(epoch::carry_over(submissions.intake().batcher.clone(), api.reader.clone(), own, beyond));
    tasks.spawn(async move {
        rebuild_index.notified().await;
        again_tell.send_replace(Some(Again::RebuildIndex));
    });
    let mut folders = Vec::new();
    for section in &config.folders {
        let path = config.drop_folder(section);
        let folder = Folder { section: section.clone(), path, submissions: submissions.clone() };
        folders.push(folder::watch(folder, stopping.clone(), runtime.clone()).context("no thread for a drop folder")?);
    }
    surfaces(config, api, &stopping, &mut tasks).await?;
    tasks.spawn(listen(endpoint.clone(), context.clone()));
    if !config.node.offline {
        tasks.spawn(dial(Dial { endpoint: endpoint.clone(), me: own.division, context }));
    }
    tasks.spawn(tick(mailbox.clone()));
    tasks.spawn(verdict::serve(bench.clone(), asked));
    tasks.spawn(verdict::follow(bench, ground.lines.clone()));
    tasks.spawn(agree::serve(ground, incoming));
    tasks.spawn(prune(answers));
    tasks.spawn(task::work(workshop, list, config.schedule.clone(), stopping.clone()));

    let quic = endpoint.local_addr().map_or(config.listen.quic, |a| a);
    eprintln!("ready {} frames={} quic={quic} admin={}", own, found.frames, config.admin().display());
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(event = "node.ready", node = %own, frames = found.frames, %quic, "ready");

    let end = wait(&mut failed, &mut again, &mut left_alone).await;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!(event = "node.stopping", "stopping");
    // Down again: no new requests, then what is under way becomes durable, then the links, then the disk.
    let down = async {
        stop.send_replace(true);
        tokio::time::sleep(Duration::from_millis(50)).await;
        tokio::task::spawn_blocking(move || batcher_thread.join()).await.ok();
        let _ = mailbox.send(Mail::Stop).await;
        tokio::task::spawn_blocking(move || driver.join()).await.ok();
        endpoint.close(0_u8.into(), b"stopping");
        endpoint.wait_idle().await;
        tasks.shutdown().await;
        tokio::task::spawn_blocking(move || indexer.join()).await.ok();
        let sound = index_state.borrow().trouble.is_none() && !matches!(end, End::Again(Again::RebuildIndex));
        tokio::task::spawn_blocking(move || close_index(sound)).await.ok();
        // The last, because a share that hangs holds its folder's thread.
        let joined = move || folders.into_iter().for_each(|f| drop(f.join()));
        tokio::task::spawn_blocking(joined).await.ok();
    };
    if tokio::time::timeout(STOP_WITHIN, down).await.is_err() {
        tracing::warn!(event = "node.stop_late", "not everything ended in time; nothing confirmed is lost");
        if matches!(end, End::Again(_)) {
            // The old driver may still write: a second one beside it would write over it.
            return Ok(End::Failed("not everything ended in time to start again in the same process".into()));
        }
    }
    Ok(end)
}

/// After a start in the same process, a port may be let go a moment later.
async fn patiently<T>(mut open: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    for _ in 0..20 {
        if let Ok(done) = open() {
            return Ok(done);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    open()
}

/// Waits for a signal, for standard input to close, for the driver to fail, or for a reason to start again.
async fn wait(
    failed: &mut watch::Receiver<Option<String>>,
    again: &mut watch::Receiver<Option<Again>>,
    left_alone: &mut watch::Receiver<bool>,
) -> End {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return End::Failed("signals cannot be handled".into());
    };
    tokio::select! {
        Ok(_) = left_alone.wait_for(|closed| *closed) => End::Stopped,
        _ = term.recv() => End::Stopped,
        _ = int.recv() => End::Stopped,
        why = failed.wait_for(Option::is_some) => {
            let why = why.ok().and_then(|w| w.clone());
            End::Failed(why.unwrap_or_else(|| "the driver ended".into()))
        }
        Ok(why) = again.wait_for(Option::is_some) => why.map_or(End::Stopped, End::Again),
    }
}

/// Tells when standard input closes, if that is asked for. A thread of its own: a read of it cannot be cancelled.
fn standard_input(until_it_closes: bool) -> watch::Receiver<bool> {
    let (closes, closed) = watch::channel(false);
    if until_it_closes {
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            closes.send_replace(true);
        });
    } else {
        // Never told; and never dropped, which would tell too.
        std::mem::forget(closes);
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

/// Answers that are too old go.
async fn prune(answers: SubmissionStore) {
    loop {
        tokio::time::sleep(PRUNE_EVERY).await;
        let store = answers.clone();
        let pruned = tokio::task::spawn_blocking(move || store.prune_old()).await;
        if let Ok(Err(e)) = pruned {
            tracing::warn!(event = "answers.prune", reason = %e, "old answers could not be removed");
        }
    }
}

async fn surfaces(
    config: &Config,
    api: ApiContext,
    stopping: &watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) -> Result<(), StartError> {
    let stopped = |mut s: watch::Receiver<bool>| async move {
        let _ = s.wait_for(|s| *s).await;
    };
    let path = config.admin();
    let socket = tally_client::bind(&path).with_context(|| format!("listen.admin {}", path.display()))?;
    let serve =
        axum::serve(socket, tally_console::admin(api.clone())).with_graceful_shutdown(stopped(stopping.clone()));
    tasks.spawn(async move {
        let _ = serve.await;
    });
    if let Some(address) = config.listen.http {
        let listener =
            tokio::net::TcpListener::bind(address).await.with_context(|| format!("listen.http {address}"))?;
        let serve = axum::serve(listener, tally_console::public(api)).with_graceful_shutdown(stopped(stopping.clone()));
        tasks.spawn(async move {
            let _ = serve.await;
        });
    }
    Ok(())
}
