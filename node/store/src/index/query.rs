//! Export: what is in force or the history, by record id, in bounded memory. The index says which records, the journal has
//! their bytes; one that cannot be read is counted and passed over. No bytes are given for an id that is not theirs. Nothing
//! is written here, and who asks, or what they may see, is not known.

mod cursor;

pub use cursor::{ExportCursor, NotACursor};

use super::{
    Engine, EngineError, InForce, IndexEntry,
    entry::{STATE_KEY, State, read_record, record_key, record_prefix},
};
use crate::batch_map::BatchMap;
use crate::entries::EntryReader;
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    ops::ControlFlow,
};
use tally_protocol::{
    canonical::{Object, Value},
    ids::{Division, LogId},
    record::RecordId,
};
use tally_topology::charter::Charter;

/// Index pairs read at once.
const PAGE: usize = 4_096;
/// Records gathered before they are sent.
const GATHER_RECORDS: usize = 16_000;
/// Bytes gathered at most, about; a gathering that would be larger is cut in two.
const GATHER_BYTES: usize = 32 << 20;

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

/// The entry of a record in a log.
///
/// # Errors
/// The engine's.
pub fn entry_of(engine: &dyn Engine, id: RecordId, log: LogId) -> Result<Option<IndexEntry>, EngineError> {
    let key = record_key(id, log);
    Ok(engine.get(&key)?.and_then(|v| read_record(&key, &v)).map(|(_, _, e)| e))
}

/// Every log that holds a record, in the order of the logs.
///
/// # Errors
/// The engine's.
pub fn holders(engine: &dyn Engine, id: RecordId) -> Result<Vec<(LogId, IndexEntry)>, EngineError> {
    let pairs = engine.scan(&record_prefix(id), b"", PAGE)?;
    Ok(pairs.iter().filter_map(|(k, v)| read_record(k, v)).map(|(_, log, e)| (log, e)).collect())
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

/// Writes the selection, sorted by record id, one JSON line at a time; `emit` answers whether to go on.
///
/// # Errors
/// The engine's.
pub fn export(
    engine: &dyn Engine,
    source: &Source<'_>,
    selection: &Selection,
    mut emit: impl FnMut(Vec<u8>) -> bool,
) -> Result<Exported, EngineError> {
    let mut exported = Exported::default();
    let mut gathered: Vec<(RecordId, Attested)> = Vec::new();
    let mut goes_on = true;
    let in_force = InForce::new(engine, source.charter);
    each_record(&in_force, |id, attested| {
        if wants(&in_force, source, selection, (id, &attested))? {
            gathered.push((id, attested));
        }
        if gathered.len() >= GATHER_RECORDS {
            goes_on = send(source, selection, &gathered, &mut exported, &mut emit);
            gathered.clear();
        }
        Ok(if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    if goes_on {
        send(source, selection, &gathered, &mut exported, &mut emit);
    }
    // Which of them the selection would have had nobody can say.
    let not_indexed = not_indexed(engine, source)?.into_values().fold(0, u64::saturating_add);
    exported.unreadable = exported.unreadable.saturating_add(not_indexed);
    Ok(exported)
}

/// Records that are held and that the index lacks, by log: their batches could not be read when it was built. To be asked once
/// the index has come behind what the source names.
///
/// # Errors
/// The engine's.
pub fn not_indexed(engine: &dyn Engine, source: &Source<'_>) -> Result<BTreeMap<LogId, u64>, EngineError> {
    let state = engine.get(STATE_KEY)?.and_then(|bytes| State::decode(&bytes).ok()).unwrap_or_default();
    let indexed = |log: &LogId| state.logs.get(log).copied().unwrap_or(0);
    let lacks = source.batch_maps.iter().map(|(log, map)| (*log, map.records().saturating_sub(indexed(log))));
    Ok(lacks.filter(|(_, lacks)| *lacks > 0).collect())
}

/// Goes through every record that is held, by record id, with all logs that hold it, the one that the route names first. A
/// page is in memory at a time.
///
/// # Errors
/// The engine's, and those of `take`.
pub fn each_record(
    in_force: &InForce<'_>,
    mut take: impl FnMut(RecordId, Attested) -> Result<ControlFlow<()>, EngineError>,
) -> Result<(), EngineError> {
    each_attested(in_force.engine(), |id, mut attested| {
        in_force.sort(&mut attested)?;
        take(id, attested)
    })
}

/// The same; the logs that hold a record come in the order of their ids.
///
/// # Errors
/// The engine's, and those of `take`.
pub fn each_attested(
    engine: &dyn Engine,
    mut take: impl FnMut(RecordId, Attested) -> Result<ControlFlow<()>, EngineError>,
) -> Result<(), EngineError> {
    let mut whole = |(id, attested): (RecordId, Attested)| take(id, attested);
    let mut current: Option<(RecordId, Attested)> = None;
    let mut from = b"r".to_vec();
    loop {
        let page = engine.scan(b"r", &from, PAGE)?;
        let done = page.len() < PAGE;
        if let Some((key, _)) = page.last() {
            from = [key.as_slice(), &[0]].concat();
        }
        for (key, value) in &page {
            let Some((id, log, e)) = read_record(key, value) else { continue };
            match &mut current {
                Some((open, attested)) if *open == id => attested.push((log, e)),
                _ => {
                    if let Some(before) = current.replace((id, vec![(log, e)]))
                        && whole(before)?.is_break()
                    {
                        return Ok(());
                    }
                }
            }
        }
        if done {
            return current.map_or(Ok(()), |last| whole(last).map(|_| ()));
        }
    }
}

/// Reads the records of `places`, each batch once, and hands them over in no order, with their first entries. The answer
/// is how many cannot be read from this disk, in whatever log they stand.
pub fn read_each(
    source: &Source<'_>,
    places: &[(RecordId, Attested)],
    mut take: impl FnMut(LogId, &IndexEntry, &[u8]),
) -> u64 {
    let first = |(i, (_, a)): (usize, &(RecordId, Attested))| {
        let (log, e) = a.first()?;
        Some((source.batch_maps.get(log)?.batch_of(e.index)?, *log, e.index, i))
    };
    let mut order: Vec<_> = places.iter().enumerate().filter_map(first).collect();
    order.sort_unstable_by_key(|(batch, _, index, _)| (batch.place, *index));
    let mut left: HashSet<usize> = (0..places.len()).collect();
    for same in order.chunk_by(|a, b| a.0.place == b.0.place) {
        let Some((start, records)) = same.first().and_then(|(_, log, index, _)| read_batch(source, *log, *index))
        else {
            continue;
        };
        for (_, _, index, i) in same {
            let bytes = index.checked_sub(start).and_then(|n| records.get(usize::try_from(n).ok()?));
            let Some((bytes, (id, attested))) = bytes.zip(places.get(*i)) else { continue };
            if let Some((log, e)) = attested.first().filter(|_| RecordId::of(bytes) == *id) {
                left.remove(i);
                take(*log, e, bytes);
            }
        }
    }
    let mut unreadable = 0;
    for (id, attested) in left.iter().filter_map(|i| places.get(*i)) {
        match (attested.first(), elsewhere(source, *id, attested)) {
            (Some((log, e)), Some(bytes)) => take(*log, e, &bytes),
            _ => unreadable += 1,
        }
    }
    unreadable
}

/// Whether a record is asked for, as far as the index can tell.
fn wants(
    in_force: &InForce<'_>,
    source: &Source<'_>,
    selection: &Selection,
    (id, attested): (RecordId, &Attested),
) -> Result<bool, EngineError> {
    let Some((_, first)) = attested.first() else { return Ok(false) };
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

/// When a record of a log came here, POSIX seconds.
fn arrived(source: &Source<'_>, selection: &Selection, log: LogId, index: u64) -> Option<u64> {
    source.batch_maps.get(&log)?.arrived(selection.me?, log, index)
}

/// Reads the records of `gathered`, each batch once, and sends them in their order.
fn send(
    source: &Source<'_>,
    selection: &Selection,
    gathered: &[(RecordId, Attested)],
    exported: &mut Exported,
    emit: &mut impl FnMut(Vec<u8>) -> bool,
) -> bool {
    let mut bytes: Vec<Option<Vec<u8>>> = vec![None; gathered.len()];
    let batch = |log: LogId, e: &IndexEntry| source.batch_maps.get(&log)?.batch_of(e.index);
    let first = |(i, (_, a)): (usize, &(RecordId, Attested))| Some((batch(a[0].0, &a[0].1)?.place, a[0].1.index, i));
    let mut order: Vec<_> = gathered.iter().enumerate().filter_map(first).collect();
    order.sort_unstable();
    let mut total = 0;
    for same in order.chunk_by(|a, b| a.0 == b.0) {
        let (log, e) = &gathered[same[0].2].1[0];
        let Some((start, records)) = read_batch(source, *log, e.index) else { continue };
        for (_, index, i) in same {
            if let Some(record) = records.get((index - start) as usize) {
                total += record.len();
                bytes[*i] = Some(record.clone());
            }
        }
        if total > GATHER_BYTES && gathered.len() > 1 {
            drop(bytes);
            let (left, right) = gathered.split_at(gathered.len() / 2);
            return send(source, selection, left, exported, emit) && send(source, selection, right, exported, emit);
        }
    }
    for ((id, attested), bytes) in gathered.iter().zip(bytes) {
        let Some(bytes) = bytes.filter(|b| RecordId::of(b) == *id).or_else(|| elsewhere(source, *id, attested)) else {
            exported.unreadable += 1;
            continue;
        };
        if let Some(line) = line(source, selection, *id, attested, &bytes) {
            if !emit(line) {
                return false;
            }
            exported.lines += 1;
        }
    }
    true
}

/// A record whose first copy cannot be read may stand in another log too.
fn elsewhere(source: &Source<'_>, id: RecordId, attested: &Attested) -> Option<Vec<u8>> {
    attested.iter().skip(1).find_map(|(log, e)| {
        let (start, records) = read_batch(source, *log, e.index)?;
        records.get((e.index - start) as usize).filter(|b| RecordId::of(b) == id).cloned()
    })
}

fn read_batch(source: &Source<'_>, log: LogId, index: u64) -> Option<(u64, Vec<Vec<u8>>)> {
    let (batch, records) = source.batch_maps.get(&log)?.read(source.reader, index).ok()?;
    Some((batch.start, records.iter().map(<[u8]>::to_vec).collect()))
}

/// The record with `_tally` put in: id, log, index, time of sealing, all attestations if there are several, and where it is
/// asked what has come since, the time of arrival here.
fn line(
    source: &Source<'_>,
    selection: &Selection,
    id: RecordId,
    attested: &Attested,
    bytes: &[u8],
) -> Option<Vec<u8>> {
    let charter = source.charter;
    let mut object = Object::parse(bytes).ok()?;
    if let Some(category) = &selection.category
        && object.text("category") != Some(category)
    {
        return None;
    }
    if let Some(top) = selection.division {
        let division: Division = object.text("producer_division")?.parse().ok()?;
        let node = charter.entry_node(division);
        if division != top && !node.is_some_and(|n| charter.is_within(n, top)) {
            return None;
        }
    }
    let attestation = |(log, e): &(LogId, IndexEntry)| {
        let mut o = Object::default();
        o.set("log", Value::Text(Cow::Owned(charter.federation().origin(*log))));
        o.set("index", Value::Integer(e.index.cast_signed()));
        o.set("sealed_at", Value::Text(Cow::Owned(tally_clock::time(e.sealed_at))));
        // Without that question nodes that hold the same say the same.
        if let Some(at) = selection.since.as_ref().and_then(|_| arrived(source, selection, *log, e.index)) {
            o.set("arrived_at", Value::Text(Cow::Owned(tally_clock::time(at))));
        }
        o
    };
    let mut tally = attestation(attested.first()?);
    tally.set("id", Value::Text(Cow::Owned(id.to_string())));
    if attested.len() > 1 {
        let all = attested.iter().map(|a| Value::Object(attestation(a))).collect();
        tally.set("attested", Value::List(all));
    }
    object.set("_tally", Value::Object(tally));
    let mut out = Vec::with_capacity(bytes.len() + 256);
    object.write(&mut out);
    Some(out)
}
