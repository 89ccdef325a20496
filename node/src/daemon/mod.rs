//! The daemon: all wiring. It reads as the plan of a node's life: keys, journal, core, index, links, surfaces, and the
//! way down in the opposite order.

mod driver;
mod logging;

use crate::{
    agree::{self, Ground, Noticed},
    config::Config,
    console::{self, App},
    index::{self, Known, Opened, Progress, follow},
    intake::{self, Holdings},
    journal::{Found, Journal, Reader},
    keyfile,
    link::{Dial, LinkContext, Trust, dial, endpoint, listen},
    mail::{Mail, Mailbox},
    replica::{Input, NotSealed, RecoverError, Recovered, Replica},
    task::{self, Tasks, Workshop},
    tree::Trees,
};
use anyhow::Context as _;
use driver::Driver;
use std::{
    fs::{self, File},
    panic::AssertUnwindSafe,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use tally_protocol::{keys::NodeKeys, log::Place};
use tally_topology::signed::SignedCharter;
use tokio::{
    sync::{Notify, Semaphore, mpsc, watch},
    task::JoinSet,
};

/// A stop ends after this long, whatever still hangs.
const STOP_WITHIN: Duration = Duration::from_secs(8);
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
        .max_blocking_threads(8)
        .enable_all()
        .build()
        .context("the runtime cannot start")?;
    let result = runtime.block_on(serve(config, until_stdin_closes, runtime.handle().clone()));
    // A read of standard input may still hold a helper thread.
    runtime.shutdown_background();
    result
}

/// Keys and charter, checked against each other.
fn identity(config: &Config) -> Result<(Arc<NodeKeys>, SignedCharter), StartError> {
    let authority = config.authority().map_err(|e| StartError::Config(anyhow::anyhow!(e)))?;
    let path = config.charter();
    let note = fs::read_to_string(&path)
        .with_context(|| format!("node.charter {}", path.display()))
        .map_err(StartError::Config)?;
    let charter = SignedCharter::open(&note, &authority).map_err(|e| {
        StartError::NotAdmitted(format!("{}: {e}; node.authority pins {}", path.display(), authority.name()))
    })?;
    let secret = keyfile::read(&config.key()).map_err(|e| StartError::Config(e.into()))?;
    let division = config.node.division;
    let Some(own) = charter.charter().current_log(division) else {
        return Err(StartError::NotAdmitted(format!("{division} is not a node of charter {}", path.display())));
    };
    let keys = NodeKeys::derive(charter.charter().federation(), own, &secret);
    Ok((Arc::new(keys), charter))
}

/// The key must be that of the epoch in the charter in force, which may be newer than the file.
fn admitted(config: &Config, replica: &mut Replica) -> Result<Arc<NodeKeys>, StartError> {
    let charter = replica.charter();
    let own = charter.current_log(replica.me()).unwrap_or(replica.own());
    let secret = keyfile::read(&config.key()).map_err(|e| StartError::Config(e.into()))?;
    let keys = Arc::new(NodeKeys::derive(charter.federation(), own, &secret));
    if charter.epoch(own).is_none_or(|e| e.log != *keys.log.public()) {
        let (version, found) = (charter.version(), keys.log.public());
        let why = format!("the key file is not that of {own} in charter version {version}: its log key is {found}");
        return Err(StartError::NotAdmitted(why));
    }
    if own != replica.own() {
        replica.adopt(keys.clone());
    }
    Ok(keys)
}

fn lock(data: &Path) -> anyhow::Result<File> {
    fs::create_dir_all(data).with_context(|| format!("{}", data.display()))?;
    let path = data.join("lock");
    let file = File::create(&path).with_context(|| format!("{}", path.display()))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("{}: another tally runs on this data", path.display()))?;
    Ok(file)
}

fn recover(config: &Config, keys: Arc<NodeKeys>, charter: SignedCharter) -> anyhow::Result<(Replica, Journal, Found)> {
    let authority = config.authority().map_err(|e| anyhow::anyhow!(e))?;
    let software = format!("tally {}", env!("CARGO_PKG_VERSION"));
    let mut replica = Replica::new(keys, authority, charter, software);
    let mut trouble: Option<RecoverError> = None;
    let (journal, found) =
        Journal::open_with(&config.journal(), config.storage.segment_kib << 10, |frame: Recovered| {
            if let Err(e) = replica.recover(frame) {
                trouble.get_or_insert(e);
            }
        })?;
    if let Some(e) = trouble {
        return Err(e.into());
    }
    replica.recovered();
    if replica.unproved() > 0 {
        tracing::error!(
            event = "journal.unproved",
            frames = replica.unproved(),
            "frames that no signature proves were passed over"
        );
    }
    for d in &found.damage {
        tracing::error!(event = "journal.damaged", segment = d.segment, offset = d.offset, bytes = d.bytes, kind = ?d.kind,
            "damaged place in the journal");
    }
    if found.cut_bytes > 0 {
        tracing::warn!(
            event = "journal.cut",
            bytes = found.cut_bytes,
            "a torn tail was cut: it had never been confirmed"
        );
    }
    Ok((replica, journal, found))
}

fn open_index(config: &Config, replica: &Replica, durable: Place) -> anyhow::Result<Opened> {
    let opened = index::open(&config.index_dir(), config.index.engine, |counts| {
        let cursor = counts.cursor();
        let known = counts.logs().all(|l| replica.logs().contains_key(&l));
        let of = |id, log: &tally_protocol::log::HeldLog| {
            let before = log.batches().filter(|(_, h)| h.place < cursor).map(|(end, h)| end - h.start).sum::<u64>();
            let begun = log.batches().any(|(_, h)| h.place == cursor);
            before + if begun { counts.done() } else { 0 } == counts.of(id)
        };
        cursor <= durable && known && replica.logs().iter().all(|(id, log)| of(*id, log))
    })?;
    if let Some(why) = &opened.rebuilt {
        tracing::warn!(event = "index.rebuild", reason = %why, "the index is rebuilt from the journal");
    }
    Ok(opened)
}

async fn serve(config: &Config, until_stdin_closes: bool, runtime: tokio::runtime::Handle) -> Result<(), StartError> {
    let (keys, charter) = identity(config)?;
    let data = config.data();
    let _lock = lock(&data)?;
    let (mut replica, journal, found) = recover(config, keys, charter)?;
    let keys = admitted(config, &mut replica)?;
    let own = keys.node;

    let trust = Trust::new(replica.signed_charter().clone());
    let reader = Reader::new(config.journal());
    let (durable_tell, durable) = watch::channel(journal.durable());
    let (closed_tell, closed) = watch::channel(Some(NotSealed::Asking));
    let full = Arc::new(AtomicBool::new(false));
    let (mailbox, mail) = Mailbox::new(closed);

    // The index follows; nothing waits for it but the questions that need it.
    let opened = open_index(config, &replica, journal.durable())?;
    let known = Arc::new(Known::new(opened.engine.clone(), own, opened.is_empty()));
    let close_index = opened.closer();
    let engine = opened.engine.clone();
    let start = Progress { cursor: Place { segment: 0, offset: 0 }, distinct: 0, trouble: None };
    let (progress_tell, progress) = watch::channel(start);
    let indexer = {
        let (known, reader, durable, runtime) = (known.clone(), reader.clone(), durable.clone(), runtime.clone());
        let body = move || {
            // An engine may panic; that is a failure of the index, not of the node.
            let run = || follow(&opened, known, reader, durable, &progress_tell, &runtime);
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
        closed: closed_tell,
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
    let holdings = Holdings { known, progress: progress.clone(), durable: durable.clone() };
    let (intake, batcher) = intake::start(holdings, mailbox.clone(), stopping.clone(), intake_failed, runtime.clone())
        .context("no thread for intake")?;
    let (answerer, incoming) = mpsc::channel(16);
    let context = LinkContext::new(trust.clone(), mailbox.clone(), reader.clone(), full.clone(), keys, answerer);
    let ground = Ground {
        mailbox: mailbox.clone(),
        reader: reader.clone(),
        trust: trust.clone(),
        lines: context.lines.clone(),
        durable: durable.clone(),
        noticed: Noticed::new(found.damage),
        trees: Trees::new(reader.clone()),
        heavy: Arc::new(Semaphore::new(1)),
    };
    let rebuild_index = Arc::new(Notify::new());
    let workshop = Workshop { ground: ground.clone(), rebuild_index: rebuild_index.clone() };
    let list = Tasks::open(config.data().join("tasks.json"));
    let endpoint = endpoint(config.listen.quic, &context)?;
    let app = App {
        mailbox: mailbox.clone(),
        intake,
        trust,
        engine,
        trees: ground.trees.clone(),
        tree_reads: Arc::new(Semaphore::new(console::TREE_READS)),
        reader,
        progress,
        durable,
        full,
        noticed: ground.noticed.clone(),
        tasks: list.clone(),
        own,
        tokens: Arc::new(config.token.clone()),
        exports: Arc::default(),
        uploads: Arc::new(Semaphore::new(console::UPLOADS)),
    };
    let mut tasks = JoinSet::new();
    surfaces(config, app, &stopping, &mut tasks).await?;
    tasks.spawn(listen(endpoint.clone(), context.clone()));
    tasks.spawn(dial(Dial { endpoint: endpoint.clone(), me: own.division, context }));
    tasks.spawn(tick(mailbox.clone()));
    tasks.spawn(agree::serve(ground, incoming));
    tasks.spawn(task::work(workshop, list, config.schedule.clone(), stopping.clone()));

    let quic = endpoint.local_addr().map_or(config.listen.quic, |a| a);
    eprintln!("ready {} frames={} quic={quic} admin={}", own, found.frames, config.admin().display());
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(event = "node.ready", node = %own, frames = found.frames, %quic, "ready");

    let broken = wait(&mut failed, until_stdin_closes).await;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!(event = "node.stopping", "stopping");
    // Down again: no new requests, then what is under way becomes durable, then the links, then the disk.
    let down = async {
        stop.send_replace(true);
        tokio::time::sleep(Duration::from_millis(50)).await;
        tokio::task::spawn_blocking(move || batcher.join()).await.ok();
        let _ = mailbox.send(Mail::Stop).await;
        tokio::task::spawn_blocking(move || driver.join()).await.ok();
        endpoint.close(0_u8.into(), b"stopping");
        endpoint.wait_idle().await;
        tasks.shutdown().await;
        tokio::task::spawn_blocking(move || indexer.join()).await.ok();
        let sound = index_state.borrow().trouble.is_none();
        tokio::task::spawn_blocking(move || close_index(sound)).await.ok();
    };
    if tokio::time::timeout(STOP_WITHIN, down).await.is_err() {
        tracing::warn!(event = "node.stop_late", "not everything ended in time; nothing confirmed is lost");
    }
    match broken {
        Some(why) => Err(anyhow::anyhow!(why).into()),
        None => Ok(()),
    }
}

/// Waits for a signal, for standard input to close, or for the driver to fail.
async fn wait(failed: &mut watch::Receiver<Option<String>>, until_stdin_closes: bool) -> Option<String> {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return Some("signals cannot be handled".into());
    };
    let (closes, closed) = tokio::sync::oneshot::channel::<()>();
    if until_stdin_closes {
        // A thread of its own: a read of standard input cannot be cancelled.
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            let _ = closes.send(());
        });
    }
    tokio::select! {
        Ok(()) = closed => None,
        _ = term.recv() => None,
        _ = int.recv() => None,
        why = failed.wait_for(Option::is_some) => {
            let why = why.ok().and_then(|w| w.clone());
            Some(why.unwrap_or_else(|| "the driver ended".into()))
        }
    }
}

async fn tick(mailbox: Mailbox) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        if mailbox.send(Mail::Core(Input::Tick, None)).await.is_err() {
            return;
        }
    }
}

async fn surfaces(
    config: &Config,
    app: App,
    stopping: &watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) -> Result<(), StartError> {
    let stopped = |mut s: watch::Receiver<bool>| async move {
        let _ = s.wait_for(|s| *s).await;
    };
    let path = config.admin();
    let socket = console::bind(&path).with_context(|| format!("listen.admin {}", path.display()))?;
    let serve = axum::serve(socket, console::admin(app.clone())).with_graceful_shutdown(stopped(stopping.clone()));
    tasks.spawn(async move {
        let _ = serve.await;
    });
    if let Some(address) = config.listen.http {
        let listener =
            tokio::net::TcpListener::bind(address).await.with_context(|| format!("listen.http {address}"))?;
        let serve = axum::serve(listener, console::public(app)).with_graceful_shutdown(stopped(stopping.clone()));
        tasks.spawn(async move {
            let _ = serve.await;
        });
    }
    Ok(())
}
