//! What a node starts from: its key, its charter, its journal, its index; checked against each other.

use super::StartError;
use crate::config::Config;
use anyhow::Context as _;
use std::{
    cell::RefCell,
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tally_client::keyfile::{self, KeyFileError};
use tally_core::{Entry, FoundBy, Place, Replica, View, log::HeldLog};
use tally_driver::Anchor;
use tally_journal::{Found, JournalError, ReadError};
use tally_protocol::{
    ids::LogId,
    keys::{NodeKeys, VerifierKey},
    merkle::Tree,
    note::{Note, NoteError},
    tame::tame,
};
use tally_store::entries::{self, EntryJournal, EntryReader};
use tally_store::{
    index::{self, IndexCounts, OpenedIndex},
    lost::{LostRecords, Ranges, ids_of},
    staged::{StagedLimits, StagedStore},
};
use tally_topology::{
    charter::Charter,
    signed::{SignedCharter, SignedError},
};

/// A start without room tries again this often.
const ROOM_EVERY: Duration = Duration::from_secs(1);

/// Keys for an epoch from the secrets that lie in the node's folder of keys; `None`: none of them is its.
pub(crate) fn keys_for(config: &Config, charter: &Charter, log: LogId) -> Result<Option<NodeKeys>, StartError> {
    let derive = |secret: &[u8; 32]| NodeKeys::derive(charter.federation(), log, secret);
    let fits = |secret: &[u8; 32]| charter.epoch(log).is_some_and(|e| e.log == *derive(secret).log.public());
    let secret = keyfile::find(&config.key(), fits).map_err(no_secret)?;
    Ok(secret.as_ref().map(|s| derive(s)))
}

/// Keys and charter, checked against each other.
pub(super) fn identity(config: &Config) -> Result<(Arc<NodeKeys>, SignedCharter), StartError> {
    let authority = config.authority().map_err(|e| StartError::Config(anyhow::anyhow!(e)))?;
    let path = config.charter();
    let note = fs::read_to_string(&path).map_err(|e| {
        StartError::Config(anyhow::anyhow!(
            "node.charter {}: {e}: ask whoever signs charters for charter.note, and put it there",
            path.display()
        ))
    })?;
    let charter = SignedCharter::open(&note, &authority).map_err(|e| unsigned(&path, &note, &e, &authority))?;
    let division = config.node.division;
    let Some(own) = charter.charter().current_log(division) else {
        let why = format!(
            "{division} is not a node of charter version {} ({}): correct node.division, or ask for a charter that names this node",
            charter.charter().version(),
            path.display()
        );
        return Err(StartError::NotAdmitted(why));
    };
    let keys = match keys_for(config, charter.charter(), own)? {
        Some(keys) => keys,
        // The journal may hold a newer charter, which knows the key.
        None => {
            let secret = keyfile::read(&config.key()).map_err(no_secret)?;
            NodeKeys::derive(charter.charter().federation(), own, &secret)
        }
    };
    Ok((Arc::new(keys), charter))
}

/// Why the charter of the file does not count: by which key it is signed, if not by the one that is pinned. Of both keys the name
/// is the same; their ids tell them apart.
fn unsigned(path: &Path, note: &str, why: &SignedError, authority: &VerifierKey) -> StartError {
    let pinned = format!("{}+{:08x}", authority.name(), authority.id());
    let of_another = match why {
        SignedError::Note(NoteError::Unsigned(_)) => Note::parse(note).ok(),
        _ => None,
    };
    let signed_by = of_another.as_ref().and_then(|note| note.signatures().first());
    StartError::NotAdmitted(match signed_by {
        Some(by) => format!(
            "{} is signed by {}+{:08x}, and node.authority is {pinned}: copy the line of the authority as it was published (that \
             of the example is nobody's), or take this federation's charter",
            path.display(),
            tame(by.name),
            by.id
        ),
        None => format!("{}: {why}; node.authority is {pinned}. Copy the charter again as it is", path.display()),
    })
}

/// The node's secret cannot be read.
fn no_secret(e: KeyFileError) -> StartError {
    let is_missing = matches!(&e, KeyFileError::Io(_, why) if why.kind() == io::ErrorKind::NotFound);
    let next = "tally join or tally keygen makes it; one that was lost is replaced with the next epoch";
    StartError::Config(if is_missing { anyhow::anyhow!("node.key {e}: {next}") } else { e.into() })
}

/// The key must be that of the epoch in the charter in force, which may be newer than the file. Where bundles are carried, the
/// anchor says whether this disk is an old copy.
pub(super) fn admitted(config: &Config, replica: &mut Replica) -> Result<(Arc<NodeKeys>, Anchor), StartError> {
    let charter = replica.view().charter();
    let own = charter.current_log(replica.view().me()).unwrap_or(replica.view().own());
    let Some(keys) = keys_for(config, charter, own)? else {
        let (version, path) = (charter.version(), config.key());
        let why = format!(
            "neither {} nor another *.key file beside it is the secret of {own} in charter version {version}",
            path.display()
        );
        return Err(StartError::NotAdmitted(why));
    };
    if let Err(e) = keyfile::read(&config.key()) {
        tracing::warn!(event = "key.beside", reason = %e, log = %own, "the secret was found in another *.key file beside node.key");
        errln!("node.key {e}: the secret of {own} was found in another *.key file beside it, and is used");
    }
    if let Some(why) = retired(replica.view()).filter(|_| !config.node.offline) {
        let back = format!("in service again, it starts with the newest charter in {}", config.charter().display());
        return Err(StartError::NotAdmitted(format!("{why}; {back}")));
    }
    let keys = Arc::new(keys);
    if own != replica.view().own() {
        replica.adopt(keys.clone());
    }
    let (anchor, said) = Anchor::open(&config.anchor(), own).map_err(|e| StartError::Config(e.into()))?;
    if config.node.offline {
        // A retired node carries what it has, and signs nothing more.
        let retired = retired(replica.view()).is_some();
        replica.work_offline(said.filter(|_| !retired));
        return Ok((keys, anchor));
    }
    // From here on the log grows without it: it would say too little.
    Ok((keys, anchor.while_linked().map_err(|e| StartError::Failed(e.into()))?))
}

/// Whether the charter retires this node, and what to do with what it holds.
fn retired(view: &View) -> Option<String> {
    let charter = view.charter();
    let me = charter.node(view.me()).filter(|n| n.retired)?;
    let mut why = format!(
        "{} {} is retired by charter version {}: it has no link any more and takes no records",
        me.division,
        me.name,
        charter.version()
    );
    if let Some(parent) = charter.parent(view.me()) {
        let confirmed = |log: &HeldLog| log.receipts.get(&parent).map_or(0, |r| r.size);
        let waiting: u64 = view.logs().values().map(|log| log.size().saturating_sub(confirmed(log))).sum();
        if waiting > 0 {
            why += &format!(
                ". {waiting} records here have no receipt of {parent}: start it with node.offline = true, and carry them \
                 (tally bundle export --to {parent})"
            );
        }
    }
    Some(why)
}

pub(super) fn lock(data: &Path) -> Result<File, StartError> {
    make_durable_folder(data).map_err(|e| {
        use io::ErrorKind as Kind;
        let by_a_person = [Kind::NotFound, Kind::PermissionDenied, Kind::NotADirectory, Kind::AlreadyExists];
        let is_wrong = by_a_person.contains(&e.kind());
        let why = anyhow::anyhow!("node.data {} cannot be made: {e}", data.display());
        if is_wrong { StartError::Config(why) } else { StartError::Failed(why) }
    })?;
    // One that was made before, or by hand, may be open to others.
    let close = |mode: u32| fs::set_permissions(data, fs::Permissions::from_mode(mode & 0o700));
    let closed =
        fs::metadata(data).map(|m| m.permissions().mode()).and_then(|m| if m & 0o077 == 0 { Ok(()) } else { close(m) });
    if let Err(e) = closed {
        tracing::warn!(event = "data.open", path = ?data, reason = %e, "others may look into the data directory: chmod 700");
    }
    let path = data.join("lock");
    let file = File::create(&path).with_context(|| format!("{}", path.display()))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(|e| {
        let another =
            || anyhow::anyhow!("{}: another tally runs on this data: stop it, or correct node.data", data.display());
        if e == rustix::io::Errno::WOULDBLOCK {
            another()
        } else {
            anyhow::Error::from(e).context(format!("{}", path.display()))
        }
    })?;
    Ok(file)
}

/// Makes a folder with those above it that are missing; each is durable once the one above it was flushed.
fn make_durable_folder(folder: &Path) -> io::Result<()> {
    let missing: Vec<_> = folder.ancestors().take_while(|f| !f.as_os_str().is_empty() && !f.exists()).collect();
    fs::create_dir_all(folder)?;
    for above in missing.iter().filter_map(|f| f.parent()) {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        File::open(above)?.sync_all()?;
    }
    Ok(())
}

/// What the journal says.
pub(super) struct Recovery {
    pub(super) replica: Replica,
    pub(super) journal: EntryJournal,
    pub(super) found: Found,
    /// Batches of closed epochs beyond the size that the charter names, by log: they do not count any more.
    pub(super) beyond: Vec<(LogId, Vec<Place>)>,
    /// What this disk lacks of the node's own logs; of closed epochs, what nobody can bring back.
    pub(super) lacking: Lacking,
}

/// What this disk lacks of the node's own logs.
#[derive(Debug, Default)]
pub(super) struct Lacking {
    /// Of the current epoch: somebody above may have it.
    pub(super) current: Ranges,
    /// Of closed epochs, beyond their end: nobody takes it any more.
    pub(super) closed: Ranges,
}

/// A core that has read nothing yet.
fn empty(keys: Arc<NodeKeys>, charter: SignedCharter) -> Result<Replica, StartError> {
    let software = format!("tally {}", env!("CARGO_PKG_VERSION"));
    let mut replica = Replica::new(keys, charter, software);
    let mut instance = [0; 16];
    getrandom::fill(&mut instance).map_err(|e| anyhow::anyhow!("the system gives no random bytes: {e}"))?;
    replica.set_instance(instance);
    Ok(replica)
}

pub(super) fn recover(config: &Config, keys: Arc<NodeKeys>, charter: SignedCharter) -> Result<Recovery, StartError> {
    let segment_bytes = config.storage.segment_kib << 10;
    let read = |each_batch: bool| {
        until_there_is_room(|| {
            let mut replica = empty(keys.clone(), charter.clone())?;
            let owner = entries::owner(replica.view().charter().federation(), replica.view().me());
            let take = |entry, at, by| replica.recover(entry, at, if each_batch { FoundBy::Search } else { by });
            let opened = EntryJournal::open(&config.journal(), &owner, segment_bytes, take);
            Ok(opened.map(|(journal, found)| (replica, journal, found)))
        })
    };
    let (mut replica, mut journal, mut found) = read(false)?;
    if !replica.edges_hold() {
        tracing::error!(
            event = "journal.foreign",
            "the newest checkpoint of a log is not signed by its key: each batch is looked at again"
        );
        drop(journal);
        (replica, journal, found) = read(true)?;
    }
    replica.all_read();
    let (beyond, lacking) = close_epochs(&mut replica, &EntryReader::new(config.journal()));
    replica.recovered();
    if replica.view().unproved() > 0 {
        tracing::error!(
            event = "journal.unproved",
            frames = replica.view().unproved(),
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
    Ok(Recovery { replica, journal, found, beyond, lacking })
}

/// Opens files; for want of something again and again. What was not certain to be on the disk is written anew before it counts,
/// and that takes room.
fn until_there_is_room<T>(
    mut open: impl FnMut() -> Result<Result<T, JournalError>, StartError>,
) -> Result<T, StartError> {
    let mut told = false;
    loop {
        match open()? {
            Err(e) if e.shortage().is_some() => {
                if !std::mem::replace(&mut told, true) {
                    let reason = format!("{:#}", anyhow::Error::from(e));
                    tracing::error!(event = "storage.full", %reason, "no room to start: the node waits until there is");
                    errln!("waiting for room: {reason}");
                }
                std::thread::sleep(ROOM_EVERY);
            }
            opened => return opened.map_err(not_opened),
        }
    }
}

/// A foreign journal, or one of a later program, is for a person to look at; starting again helps nothing.
fn not_opened(e: JournalError) -> StartError {
    match e {
        JournalError::Disk { .. } | JournalError::NoRoom { .. } | JournalError::Gone { .. } => {
            StartError::Failed(e.into())
        }
        JournalError::LaterFormat { .. } | JournalError::Foreign { .. } => StartError::Config(e.into()),
    }
}

/// Cuts logs back to where the charter closed their epoch; also answers what this disk lacks of the node's own logs.
fn close_epochs(replica: &mut Replica, reader: &EntryReader) -> (Vec<(LogId, Vec<Place>)>, Lacking) {
    let (mut beyond, mut lacking) = (Vec::new(), Lacking::default());
    for (log, size, place) in replica.view().overruns() {
        let edge = match place.map(|p| reader.head(p)) {
            None => Some((Tree::default(), String::new())),
            Some(Ok(Entry::Batch { tree, note, .. })) if tree.size() == size => Some((tree, note)),
            Some(_) => None,
        };
        match edge {
            Some((tree, note)) => {
                if log.division == replica.view().me() {
                    lacking.closed.insert(log, unreadable(replica, reader, log, size));
                }
                let places = replica.cut(log, tree, note);
                tracing::warn!(event = "log.cut", %log, size, batches = places.len(), "the charter closed this log before what is held of it");
                beyond.push((log, places));
            }
            None => {
                tracing::error!(event = "log.not_cut", %log, size, "the batch at which the charter closed this log cannot be read")
            }
        }
    }
    let (me, view) = (replica.view().me(), replica.view());
    // Nothing of these is cut: what counts of such a log only those above hold. Its records go into the next epoch.
    for (log, from, to) in view.dead_branches() {
        let places: Vec<_> =
            view.log(log).into_iter().flat_map(|l| l.batches_within(from, to)).map(|(_, held)| held.place).collect();
        tracing::warn!(event = "log.dead_branch", %log, from, to, batches = places.len(), "the charter closed this log with another history");
        beyond.push((log, places));
    }
    let own = view.logs().iter().filter(|(id, log)| id.division == me && !log.is_whole());
    lacking.current = own.map(|(id, log)| (*id, log.missing())).collect();
    (beyond, lacking)
}

/// Rows that earlier lives took and did not sign.
pub(super) fn open_staged(config: &Config, replica: &Replica) -> Result<StagedStore, StartError> {
    let owner = entries::owner(replica.view().charter().federation(), replica.view().me());
    let limits = StagedLimits::of_bytes(config.storage.staged_mib << 20);
    until_there_is_room(|| Ok(StagedStore::open(&config.staged(), &owner, limits)))
}

/// Records of a log from `size` on that cannot be read from this disk: between its batches, and batches that are damaged.
fn unreadable(replica: &Replica, reader: &EntryReader, log: LogId, size: u64) -> Vec<(u64, u64)> {
    let Some(held) = replica.view().log(log) else { return Vec::new() };
    let (mut lacks, mut at) = (Vec::new(), size);
    for (end, batch) in held.batches_within(size, u64::MAX) {
        if at < batch.start {
            lacks.push((at, batch.start));
        }
        if matches!(reader.read(batch.place), Err(ReadError::Damaged { .. })) {
            lacks.push((batch.start, end));
        }
        at = end;
    }
    lacks
}

/// Opens the index. What it knows of records that this disk lacks is taken down in `lost` first: without those records its
/// counts are not the journal's, and it is built anew.
pub(super) fn open_index(
    config: &Config,
    replica: &Replica,
    durable: Place,
    lacking: &Lacking,
    lost: &LostRecords,
) -> anyhow::Result<OpenedIndex> {
    let (reader, ids) = (EntryReader::new(config.journal()), RefCell::new(Vec::new()));
    let agrees = |counts: &IndexCounts<'_>| {
        for ranges in [&lacking.current, &lacking.closed].into_iter().filter(|r| !r.is_empty()) {
            // An index that cannot be read names nothing; the ranges are known all the same.
            ids.borrow_mut().extend(ids_of(counts.engine(), ranges).unwrap_or_default());
        }
        agrees(replica.view(), durable, &reader, counts)
    };
    let opened = index::open(&config.index_dir(), agrees);
    let now = tally_clock::now_ms() / 1_000;
    for (ranges, certain) in [(&lacking.current, false), (&lacking.closed, true)] {
        lost.note(ranges, &ids.borrow(), certain, now).context("data/lost.json cannot be written")?;
    }
    if let Some(why) = &opened.rebuilt {
        tracing::warn!(event = "index.rebuild", reason = %why, "the index is rebuilt from the journal");
    }
    Ok(opened)
}

/// Whether an index holds what the journal has before its cursor. It may hold more: records that were damaged since, of
/// which it alone still knows what would be a duplicate.
pub(super) fn agrees(view: &View, durable: Place, reader: &EntryReader, counts: &IndexCounts<'_>) -> bool {
    // What the index has seen at a place may have been written anew since.
    let Ok(cursor) = reader.now_at(counts.cursor()) else { return false };
    let known = counts.logs().all(|l| view.logs().contains_key(&l));
    let of = |id, log: &HeldLog| {
        let before = log.batches().filter(|(_, h)| h.place < cursor).map(|(end, h)| end - h.start).sum::<u64>();
        let begun = log.batches().any(|(_, h)| h.place == cursor);
        let (mut least, has) = (before + if begun { counts.done() } else { 0 }, counts.of(id));
        // The core has read heads only. What is damaged behind its head nobody can index.
        for (end, batch) in log.batches().filter(|(_, h)| h.place < cursor) {
            if has >= least {
                break;
            }
            if matches!(reader.read(batch.place), Err(ReadError::Damaged { .. })) {
                least = least.saturating_sub(end - batch.start);
            }
        }
        (least..=log.size()).contains(&has)
    };
    cursor <= durable && known && view.logs().iter().all(|(id, log)| of(*id, log))
}

/// An empty folder for files that are gone after a request; what a stop left in it goes.
pub(super) fn clear_spool(dir: PathBuf) -> io::Result<PathBuf> {
    match fs::remove_dir_all(&dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    fs::create_dir_all(&dir)?;
    Ok(dir)
}
