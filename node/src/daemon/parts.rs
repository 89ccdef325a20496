//! The parts of a node, made one by one: what is read from the disk, then the driver, the index, intake and the folders.
//!
//! It knows how each part is made and which thread it gets; in what order they come and go, the node itself says.

use super::{
    DRIVER, INDEX, INTAKE, StartError, StartOptions, epoch::Overrun, first, no_socket, start, supervisor::Supervisor,
};
use crate::config::Config;
use anyhow::Context as _;
use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use tally_console::HistoryBook;
use tally_core::Place;
use tally_driver::{Driver, HeadQuestion, Mailbox};
use tally_intake::{
    IntakeHandle,
    submission::{HeldReader, IndexedRecords, KnownRows, SubmissionStore, Submissions},
};
use tally_journal::{Damage, Found, JournalError};
use tally_link::LinkContext;
use tally_protocol::{
    ids::{Division, LogId},
    keys::NodeKeys,
};
use tally_reconcile::{
    KnownDamage, ReconcileContext,
    findings::FindingsContext,
    task::{TaskContext, Tasks},
};
use tally_store::{
    entries::EntryReader,
    index::{DedupIndex, Engine, FollowSources, IndexCounts, IndexProgress, follow},
    lost::LostRecords,
    merkle_store::MerkleStore,
    operational::OperationalState,
    staged::StagedStore,
};
use tally_topology::in_force::CharterHandle;
use tokio::sync::{Notify, Semaphore, mpsc, watch};

/// How far the index gives way to all else of the node, in the system's steps of niceness: where both want the processor, rows are
/// taken in and sent on first. It keeps a quarter of what one of them gets.
const INDEX_GIVES_WAY: i32 = 5;
/// Questions of the core about heads that may wait: it asks one of a log at a time.
const HEAD_QUESTIONS: usize = 256;

/// A round's view is published so long after it became durable, at most, unless the machine is very busy.
const VIEW_AFTER: Duration = Duration::from_secs(1);

/// No row is known yet.
pub(super) fn known_rows() -> Result<KnownRows, StartError> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|e| anyhow::anyhow!("the system gives no random bytes: {e}"))?;
    Ok(KnownRows::new(key))
}

/// What intake reads records again from.
pub(super) fn held_records(
    engine: &Arc<dyn Engine>,
    reader: &EntryReader,
    mailbox: &Mailbox,
    charter: &CharterHandle,
) -> Arc<dyn HeldReader> {
    let (engine, reader, mailbox) = (engine.clone(), reader.clone(), mailbox.clone());
    Arc::new(IndexedRecords { engine, reader, mailbox, charter: charter.clone() })
}

/// What every part works with: the node's identity, its recovered journal, and the running driver and index.
pub(super) struct Base {
    pub(super) keys: Arc<NodeKeys>,
    /// What opening the journal found.
    pub(super) found: Found,
    /// Batches of a closed epoch that are to be carried over.
    pub(super) beyond: Vec<(LogId, Vec<Place>)>,
    /// Logs that hold more than their closed epoch had, which are cut already: see [`tally_core::View::overruns`].
    pub(super) overruns: Vec<Overrun>,
    /// Records that are on no disk any more.
    pub(super) lost: LostRecords,
    pub(super) lock: std::fs::File,
    pub(super) charter: CharterHandle,
    pub(super) reader: EntryReader,
    pub(super) mailbox: Mailbox,
    pub(super) durable: watch::Receiver<Place>,
    /// Questions of the core about heads.
    pub(super) heads: mpsc::Receiver<HeadQuestion>,
    pub(super) full: Arc<AtomicBool>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) indexing: Indexing,
    /// Rows that are not signed yet.
    pub(super) staged: StagedStore,
}

/// Marks the index as sound, or as one to be rebuilt.
pub(super) type CloseIndex = Arc<dyn Fn(bool) + Send + Sync>;

/// What the index thread works with, and what it tells.
pub(super) struct Indexing {
    pub(super) known: Arc<DedupIndex>,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) progress: watch::Receiver<IndexProgress>,
    pub(super) close: CloseIndex,
}

/// From the disk to a core that runs: keys and charter, the journal read through, the driver's thread, the index's.
pub(super) fn base(
    config: &Config,
    options: StartOptions,
    parts: &mut Supervisor,
    runtime: &tokio::runtime::Handle,
) -> Result<Base, StartError> {
    let (keys, charter) = start::identity(config)?;
    let data = config.data();
    let first_start = first::is_first(config, options)?;
    let lock = start::lock(&data)?;
    // Before anything runs that would have to be ended again.
    let socket = config.admin();
    tally_client::look(&socket).map_err(|e| no_socket(&socket, e))?;
    let start::Recovery { mut replica, journal, found, beyond, lacking } = start::recover(config, keys, charter)?;
    let lost =
        LostRecords::open(data.join("lost.json")).context("data/lost.json cannot be read: mend it, or set it aside")?;
    if first_start {
        replica.first_start();
    }
    let (keys, anchor) = start::admitted(config, &mut replica)?;
    // A node that is not admitted has not started, and is started for the first time again.
    first::use_up(config);
    let own = keys.node;
    let staged = start::open_staged(config, &replica)?;
    let overruns = replica.view().overruns();

    let charter = CharterHandle::new(replica.view().signed_charter().clone());
    let reader = EntryReader::new(config.journal());
    let (durable_tell, durable) = watch::channel(journal.durable());
    let (view_tell, view) = watch::channel(Arc::new(replica.view().clone()));
    let full = Arc::new(AtomicBool::new(false));
    let (ask_heads, heads) = mpsc::channel(HEAD_QUESTIONS);
    let (mailbox, mail) = Mailbox::new(view);
    let opened = start::open_index(config, &replica, journal.durable(), &lacking, &lost)?;
    let follows = Follows { own, mailbox: &mailbox, reader: &reader, charter: &charter, durable: &durable };
    let indexing = index(parts, opened, &follows, runtime)?;
    let driver = Driver {
        replica,
        journal,
        mail,
        mailbox: mailbox.clone(),
        charter: charter.clone(),
        durable: durable_tell,
        view: view_tell,
        full: full.clone(),
        reserve: config.storage.reserve_mib << 20,
        data,
        heads: ask_heads,
        staged: staged.book().clone(),
        anchor,
    };
    let drive = move || {
        driver.run().map_err(|e| {
            let reason = format!("{:#}", anyhow::Error::from(e));
            tracing::error!(event = "journal.failed", %reason, "the disk failed: the node stops");
            reason
        })
    };
    parts.thread(DRIVER, drive).context("no thread for the driver")?;
    let (stop, _) = watch::channel(false);
    Ok(Base {
        keys,
        found,
        beyond,
        overruns,
        lost,
        lock,
        charter,
        reader,
        mailbox,
        durable,
        heads,
        full,
        stop,
        indexing,
        staged,
    })
}

/// Intake on a thread of its own. It ends with the node, or because the disk of staged rows failed.
pub(super) fn intake(
    parts: &mut Supervisor,
    take_in: impl FnOnce() -> Result<(), JournalError> + Send + 'static,
) -> anyhow::Result<()> {
    let take_in = || {
        take_in().map_err(|e| {
            let reason = format!("{:#}", anyhow::Error::from(e));
            tracing::error!(event = "staged.failed", %reason, "the disk failed under staged rows: the node stops");
            reason
        })
    };
    parts.thread(INTAKE, take_in).context("no thread for intake")
}

/// What the index follows.
pub(super) struct Follows<'a> {
    own: LogId,
    mailbox: &'a Mailbox,
    reader: &'a EntryReader,
    charter: &'a CharterHandle,
    durable: &'a watch::Receiver<Place>,
}

/// The index follows the journal on a thread of its own; nothing waits for it but the questions that need it. If it fails,
/// an engine's panic too, the thread brings it back, and the node goes on meanwhile.
fn index(
    parts: &mut Supervisor,
    opened: tally_store::index::OpenedIndex,
    follows: &Follows<'_>,
    runtime: &tokio::runtime::Handle,
) -> Result<Indexing, StartError> {
    let charter = follows.charter.clone();
    let known = Arc::new(DedupIndex::new(opened.engine.clone(), charter.clone(), follows.own, opened.is_empty()));
    let (close, engine) = (Arc::new(opened.closer()), opened.engine.clone());
    let (tell, progress) = watch::channel(IndexProgress::at(Place(0)));
    let (mailbox, durable, runtime) = (follows.mailbox.clone(), follows.durable.clone(), runtime.clone());
    let sources = FollowSources {
        known: known.clone(),
        reader: follows.reader.clone(),
        charter,
        durable: durable.clone(),
        progress: tell,
        own: follows.own,
    };
    let body = move || {
        let agrees = |counts: &IndexCounts<'_>| {
            let now = || start::agrees(&mailbox.view(), *durable.borrow(), &sources.reader, counts);
            // A view comes a moment after what it shows is durable.
            now() || {
                std::thread::sleep(VIEW_AFTER);
                now()
            }
        };
        // On Linux it is the thread's own. A system that refuses has an index that is only less polite.
        if let Err(e) = rustix::process::nice(INDEX_GIVES_WAY) {
            tracing::debug!(event = "index.nice", reason = %e, "the index does not give way to the rest of the node");
        }
        follow(opened, &sources, agrees, &runtime);
        Ok(())
    };
    parts.thread(INDEX, body).context("no thread for the index")?;
    Ok(Indexing { known, engine, progress, close })
}

pub(super) fn findings_context(
    me: Division,
    charter: &CharterHandle,
    engine: Arc<dyn Engine>,
    progress: &watch::Receiver<IndexProgress>,
    mailbox: &Mailbox,
) -> FindingsContext {
    FindingsContext { me, charter: charter.clone(), engine, progress: progress.clone(), mailbox: mailbox.clone() }
}

pub(super) fn task_context(
    reconcile: &ReconcileContext,
    engine: Arc<dyn Engine>,
    progress: &watch::Receiver<IndexProgress>,
    rebuild_index: Arc<Notify>,
) -> TaskContext {
    TaskContext { reconcile: reconcile.clone(), engine, progress: progress.clone(), rebuild_index }
}

pub(super) fn reconcile_context(
    links: &LinkContext,
    mailbox: &Mailbox,
    reader: &EntryReader,
    durable: &watch::Receiver<Place>,
    damage: Vec<Damage>,
) -> ReconcileContext {
    ReconcileContext {
        mailbox: mailbox.clone(),
        reader: reader.clone(),
        charter: links.charter.clone(),
        links: links.links.clone(),
        durable: durable.clone(),
        known_damage: KnownDamage::new(damage),
        trees: MerkleStore::new(reader.clone()),
        guests: Arc::new(Semaphore::new(1)),
    }
}

/// What takes rows in, and what was said of rows, kept.
pub(super) fn submissions(config: &Config, intake: IntakeHandle) -> anyhow::Result<(Submissions, SubmissionStore)> {
    let answers =
        SubmissionStore::open(config.answers(), intake.own.division).context("the folder of answers cannot be used")?;
    let spool = start::clear_spool(config.spool()).context("the folder data/spool cannot be used")?;
    Ok((Submissions::new(intake, answers.clone(), spool), answers))
}

/// What is only of use while the node runs, and what is kept in it.
pub(super) struct Operational {
    /// The store; none where the system refuses it.
    pub(super) state: Option<OperationalState>,
    pub(super) tasks: Tasks,
    pub(super) history: HistoryBook,
}

/// Opens it. Where there is no store, what is in it lasts as long as this run of the node.
pub(super) fn operational(config: &Config) -> Operational {
    let opened = OperationalState::open(&config.state());
    let state = opened
        .inspect_err(|reason| {
            tracing::warn!(event = "state.failed", %reason, "the list of tasks is not kept beyond this run of the node");
        })
        .ok();
    let shelf = |name| state.as_ref().and_then(|s| s.shelf(name).ok());
    Operational { tasks: Tasks::open(shelf("tasks")), history: HistoryBook::open(shelf("history")), state }
}
