//! Export: what is in force or the history, by record id, in bounded memory. The index says which records, the journal has
//! their bytes, and each batch is read once for some hundred thousand records; one that cannot be read is counted and passed over. No bytes are given for an id that is not theirs. Nothing
//! is written here, and who asks, or what they may see, is not known.

mod cursor;
mod ordered;
mod prefix;
mod walk;

pub use cursor::{ExportCursor, NotACursor};
pub use prefix::ids_beginning;

use super::{Engine, EngineError, InForce, IndexEntry, entry, positions};
use crate::batch_map::BatchMap;
use crate::entries::EntryReader;
use ordered::OrderedLines;
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    io,
    ops::ControlFlow,
    path::Path,
};
use tally_protocol::{
    canonical::{Object, Value},
    ids::{Division, LogId},
    record::RecordId,
};
use tally_topology::charter::Charter;

/// Records that are read together: 80 bytes each in memory, and one reading of every batch for all of them.
const SLICE: usize = 262_144;
const _: () = assert!(SLICE <= u32::MAX as usize);

/// What to export.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only records that count for this division or those below it.
    pub division: Option<Division>,
    /// Only this category.
    pub category: Option<String>,
    /// Only what has come since.
    pub since: Option<ArrivedSince>,
    /// All versions, not only the current one of each business key.
    pub history: bool,
    /// This node: by its own receipts and seals it is told when a record came here.
    pub me: Option<Division>,
}

/// Since when records are wanted, by their arrival at this node. Whatever may have come since is told, so nobody is lost: of
/// a business key what is in force, as soon as any version of it has come, whose arrival is not known counts as new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArrivedSince {
    /// POSIX seconds by this node's clock.
    Time(u64),
    /// The end of an earlier export.
    Cursor(ExportCursor),
}

/// How an export ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    /// Lines written.
    pub lines: u64,
    /// Records whose batch cannot be read from this disk, now or when the index was built.
    pub unreadable: u64,
}

/// Every log that holds a record; the first is the one that the route names, else the lowest.
pub type Attested = Vec<(LogId, IndexEntry)>;

/// The entry of a record in a log: the first, if it stands there several times.
///
/// # Errors
/// The engine's.
pub fn entry_of(engine: &dyn Engine, id: RecordId, log: LogId) -> Result<Option<IndexEntry>, EngineError> {
    positions::of_record_in(engine, id, log)
}

/// Every log that holds a record, in the order of the logs.
///
/// # Errors
/// The engine's.
pub fn holders(engine: &dyn Engine, id: RecordId) -> Result<Vec<(LogId, IndexEntry)>, EngineError> {
    positions::of_record(engine, id)
}

/// Every log that holds a record, the one that the route names first; empty if none does.
///
/// # Errors
/// The engine's.
pub fn attested(in_force: &InForce<'_>, id: RecordId) -> Result<Attested, EngineError> {
    let mut attested = holders(in_force.engine(), id)?;
    in_force.sort(&mut attested)?;
    Ok(attested)
}

/// What an export reads besides the index.
#[derive(Debug)]
pub struct Source<'a> {
    /// The journal.
    pub reader: &'a EntryReader,
    /// Where the logs' batches lie.
    pub batch_maps: &'a BTreeMap<LogId, BatchMap>,
    /// Origins, and which division lies below which.
    pub charter: &'a Charter,
}

/// Why an export broke off.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The index.
    #[error(transparent)]
    Index(#[from] EngineError),
    /// The folder for lines that wait for their turn.
    #[error("data/spool: {0}")]
    Spool(#[from] io::Error),
}

/// A record of a slice: what its line needs beside its bytes.
struct WantedRecord {
    id: RecordId,
    /// The log that the route names, the index there, and when it was sealed.
    first: (LogId, u64, u64),
    /// The same of the other logs that hold it.
    others: Vec<(LogId, u64, u64)>,
}

impl WantedRecord {
    fn of((id, attested): (RecordId, Attested)) -> Option<Self> {
        let mut places = attested.into_iter().map(|(log, e)| (log, e.index, e.sealed_at));
        Some(Self { id, first: places.next()?, others: places.collect() })
    }

    fn places(&self) -> impl Iterator<Item = &(LogId, u64, u64)> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// Writes the selection, sorted by record id, one JSON line at a time; `emit` answers whether to go on. Lines that wait for
/// their turn beyond some megabytes lie in `spool`.
///
/// # Errors
/// [`ExportError`].
pub fn export(
    engine: &dyn Engine,
    source: &Source<'_>,
    selection: &Selection,
    spool: &Path,
    mut emit: impl FnMut(&[u8]) -> bool,
) -> Result<Exported, ExportError> {
    let mut exported = Exported::default();
    let mut slice: Vec<WantedRecord> = Vec::new();
    // What came since is not part of this export: it lies behind its cursor.
    let until = source.batch_maps.iter().map(|(log, map)| (*log, map.size())).collect();
    let in_force = InForce::of_all(engine, source.charter, !selection.history, until)?;
    let mut ended = Ok(true);
    each_record(&in_force, |id, attested| {
        if wants(&in_force, source, selection, (id, &attested))? {
            slice.extend(WantedRecord::of((id, attested)));
        }
        if slice.len() >= SLICE {
            ended = write_slice(source, selection, &slice, spool, &mut exported, &mut emit);
            slice.clear();
        }
        Ok(if matches!(ended, Ok(true)) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    if ended? {
        write_slice(source, selection, &slice, spool, &mut exported, &mut emit)?;
    }
    // Which of them the selection would have had nobody can say.
    let not_indexed = not_indexed(engine, source)?.into_values().fold(0, u64::saturating_add);
    exported.unreadable = exported.unreadable.saturating_add(not_indexed);
    Ok(exported)
}

/// Reads the records of a slice and writes their lines in its order; answers whether to go on.
fn write_slice(
    source: &Source<'_>,
    selection: &Selection,
    slice: &[WantedRecord],
    spool: &Path,
    exported: &mut Exported,
    emit: &mut impl FnMut(&[u8]) -> bool,
) -> io::Result<bool> {
    let mut lines = OrderedLines::new(spool, slice.len() as u32);
    let (mut unread, mut put) = (vec![true; slice.len()], Ok(()));
    let places = (0_u32..).zip(slice).map(|(n, w)| (w.first.0, w.first.1, n)).collect();
    read_in_order(source, places, |n, bytes| {
        let Some((wanted, unread)) = slice.get(n as usize).zip(unread.get_mut(n as usize)) else { return };
        if RecordId::of(bytes) != wanted.id || put.is_err() {
            return;
        }
        *unread = false;
        if let Some(line) = line(source, selection, wanted, bytes) {
            put = lines.put(n, &line);
        }
    });
    put?;
    for ((n, wanted), _) in (0_u32..).zip(slice).zip(unread).filter(|(_, unread)| *unread) {
        // A record whose first copy cannot be read may stand in another log too.
        let elsewhere = wanted.others.iter().find_map(|(log, index, _)| read_one(source, *log, *index, wanted.id));
        match elsewhere.map(|bytes| line(source, selection, wanted, &bytes)) {
            Some(line) => line.map_or(Ok(()), |line| lines.put(n, &line))?,
            None => exported.unreadable += 1,
        }
    }
    lines.give(|line| {
        let goes_on = emit(line);
        exported.lines += u64::from(goes_on);
        goes_on
    })
}

/// Records that are held and that the index lacks, by log: their batches could not be read when it was built. To be asked once
/// the index has come behind what the source names.
///
/// # Errors
/// The engine's.
pub fn not_indexed(engine: &dyn Engine, source: &Source<'_>) -> Result<BTreeMap<LogId, u64>, EngineError> {
    let state = entry::state(engine)?;
    let of = |all: &BTreeMap<LogId, u64>, log| all.get(log).copied().unwrap_or(0);
    let mut lacks = BTreeMap::new();
    for (log, map) in source.batch_maps {
        let (has, reached) = (of(&state.logs, log), of(&state.reached, log));
        // Of a log without holes all before the last is in. Else they are counted: what came since fills no hole.
        let indexed = match has == reached {
            true => has.min(map.size()),
            false => positions::count(engine, *log, map.size())?,
        };
        let missing = map.records().saturating_sub(indexed);
        lacks.extend((missing > 0).then_some((*log, missing)));
    }
    Ok(lacks)
}

/// Goes through every record that is held, by record id, with all logs that hold it, the one that the route names first. Some
/// ten thousand are in memory at a time.
///
/// # Errors
/// The engine's, and those of `take`.
pub fn each_record(
    in_force: &InForce<'_>,
    take: impl FnMut(RecordId, Attested) -> Result<ControlFlow<()>, EngineError>,
) -> Result<(), EngineError> {
    each_record_after(in_force, None, take)
}

/// The same, of those behind an id.
///
/// # Errors
/// The engine's, and those of `take`.
pub fn each_record_after(
    in_force: &InForce<'_>,
    after: Option<RecordId>,
    mut take: impl FnMut(RecordId, Attested) -> Result<ControlFlow<()>, EngineError>,
) -> Result<(), EngineError> {
    walk::by_id(in_force.engine(), after, |id, mut attested| {
        attested.retain(|(log, e)| in_force.covers(*log, e.index));
        if attested.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        in_force.sort(&mut attested)?;
        take(id, attested)
    })
}

/// Reads the records of `places`, each batch once, and hands them over in no order, with their first entries. The answer
/// is how many cannot be read from this disk, in whatever log they stand.
pub fn read_each(
    source: &Source<'_>,
    places: &[(RecordId, Attested)],
    mut take: impl FnMut(LogId, &IndexEntry, &[u8]),
) -> u64 {
    let mut left: HashSet<u32> = (0_u32..).zip(places).map(|(n, _)| n).collect();
    let first = |(n, (_, a)): (u32, &(RecordId, Attested))| a.first().map(|(log, e)| (*log, e.index, n));
    read_in_order(source, (0_u32..).zip(places).filter_map(first).collect(), |n, bytes| {
        let Some((id, attested)) = places.get(n as usize) else { return };
        if let Some((log, e)) = attested.first().filter(|_| RecordId::of(bytes) == *id) {
            left.remove(&n);
            take(*log, e, bytes);
        }
    });
    let mut unreadable = 0;
    for (id, attested) in left.iter().filter_map(|n| places.get(*n as usize)) {
        let elsewhere = attested.iter().skip(1).find_map(|(log, e)| read_one(source, *log, e.index, *id));
        match (attested.first(), elsewhere) {
            (Some((log, e)), Some(bytes)) => take(*log, e, &bytes),
            _ => unreadable += 1,
        }
    }
    unreadable
}

/// Reads records, each given by log, index and a number of its own, in the order in which they lie on the disk, and each batch
/// once. What cannot be read is passed over.
fn read_in_order(source: &Source<'_>, places: Vec<(LogId, u64, u32)>, mut take: impl FnMut(u32, &[u8])) {
    let lies =
        |(log, index, n): (LogId, u64, u32)| Some((source.batch_maps.get(&log)?.batch_of(index)?.place, index, log, n));
    let mut order: Vec<_> = places.into_iter().filter_map(lies).collect();
    order.sort_unstable();
    for same in order.chunk_by(|a, b| a.0 == b.0) {
        let Some((_, index, log, _)) = same.first() else { continue };
        let Some(Ok((batch, records))) = source.batch_maps.get(log).map(|m| m.read(source.reader, *index)) else {
            continue;
        };
        let mut wanted = same.iter().peekable();
        for (at, bytes) in (batch.start..).zip(records.iter()) {
            while let Some((.., n)) = wanted.next_if(|(_, index, ..)| *index == at) {
                take(*n, bytes);
            }
        }
    }
}

/// The bytes of a record, if they are read at this place of a log.
fn read_one(source: &Source<'_>, log: LogId, index: u64, id: RecordId) -> Option<Vec<u8>> {
    let (batch, records) = source.batch_maps.get(&log)?.read(source.reader, index).ok()?;
    let at = usize::try_from(index.checked_sub(batch.start)?).ok()?;
    records.iter().nth(at).filter(|bytes| RecordId::of(bytes) == id).map(<[u8]>::to_vec)
}

/// Whether a record is asked for, as far as the index can tell.
fn wants(
    in_force: &InForce<'_>,
    source: &Source<'_>,
    selection: &Selection,
    (id, attested): (RecordId, &Attested),
) -> Result<bool, EngineError> {
    let Some((_, first)) = attested.first() else { return Ok(false) };
    if !may_count(source.charter, selection, first) {
        return Ok(false);
    }
    let key = &first.content.key;
    if !selection.history && !in_force.is_current(id, attested)? {
        return Ok(false);
    }
    let Some(since) = &selection.since else { return Ok(true) };
    let is_new = |log: LogId, index: u64| match since {
        ArrivedSince::Time(time) => arrived(source, selection, log, index).is_none_or(|at| at >= *time),
        ArrivedSince::Cursor(cursor) => cursor.is_behind(source.charter, log, index),
    };
    if attested.iter().any(|(log, e)| is_new(*log, e.index)) {
        return Ok(true);
    }
    // What is in force may be so because of another version that came.
    Ok(!selection.history && in_force.versions(key)?.iter().any(|v| is_new(v.log, v.index)))
}

/// Whether category and division of a record are those that are asked for, as far as the index knows them.
fn may_count(charter: &Charter, selection: &Selection, e: &IndexEntry) -> bool {
    let category = selection.category.as_deref().is_none_or(|c| [c, ""].contains(&&*e.dimensions.category));
    let within = |top| match Division::try_from(e.dimensions.division) {
        Ok(division) => counts_for(charter, division, top),
        Err(_) => true,
    };
    category && selection.division.is_none_or(within)
}

/// Whether what is produced in a division counts for another one.
fn counts_for(charter: &Charter, division: Division, top: Division) -> bool {
    division == top || charter.entry_node(division).is_some_and(|n| charter.is_within(n, top))
}

/// When a record of a log came here, POSIX seconds.
fn arrived(source: &Source<'_>, selection: &Selection, log: LogId, index: u64) -> Option<u64> {
    source.batch_maps.get(&log)?.arrived(selection.me?, log, index)
}

/// The record with `_tally` put in: id, log, index, time of sealing, all attestations if there are several, and where it is
/// asked what has come since, the time of arrival here.
fn line(source: &Source<'_>, selection: &Selection, wanted: &WantedRecord, bytes: &[u8]) -> Option<Vec<u8>> {
    let charter = source.charter;
    let mut object = Object::parse(bytes).ok()?;
    if let Some(category) = &selection.category
        && object.text("category") != Some(category)
    {
        return None;
    }
    if let Some(top) = selection.division {
        let division: Division = object.text("producer_division")?.parse().ok()?;
        if !counts_for(charter, division, top) {
            return None;
        }
    }
    let attestation = |(log, index, sealed_at): &(LogId, u64, u64)| {
        let mut o = Object::default();
        o.set("log", Value::Text(Cow::Owned(charter.federation().origin(*log))));
        o.set("index", Value::Integer(index.cast_signed()));
        o.set("sealed_at", Value::Text(Cow::Owned(tally_clock::time(*sealed_at))));
        // Without that question nodes that hold the same say the same.
        if let Some(at) = selection.since.as_ref().and_then(|_| arrived(source, selection, *log, *index)) {
            o.set("arrived_at", Value::Text(Cow::Owned(tally_clock::time(at))));
        }
        o
    };
    let mut tally = attestation(&wanted.first);
    tally.set("id", Value::Text(Cow::Owned(wanted.id.to_string())));
    if !wanted.others.is_empty() {
        let all = wanted.places().map(|a| Value::Object(attestation(a))).collect();
        tally.set("attested", Value::List(all));
    }
    object.set("_tally", Value::Object(tally));
    let mut out = Vec::with_capacity(bytes.len() + 256);
    object.write(&mut out);
    Some(out)
}
