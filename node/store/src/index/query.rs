//! Export: current versions or history, by record id, in bounded memory. The index says which records, the journal has their
//! bytes; one that cannot be read is counted and passed over. No bytes are given for an id that is not theirs. Nothing is
//! written here, and who asks, or what they may see, is not known.

use super::{
    Engine, EngineError, IndexEntry, Version,
    entry::{read_record, read_version, record_key, record_prefix, version_prefix},
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
use tally_topology::content::{Operation, business_key_hash};

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
    /// Only records sealed at or after this, POSIX seconds.
    pub since: Option<u64>,
    /// All versions, not only the current one of each business key.
    pub history: bool,
}

/// How an export ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    /// Lines written.
    pub lines: u64,
    /// Records whose batch cannot be read from this disk.
    pub unreadable: u64,
}

/// Every log that holds a record; the first is the one that had it first.
pub type Attested = Vec<(LogId, IndexEntry)>;

/// The entry of a record in a log.
///
/// # Errors
/// The engine's.
pub fn entry_of(engine: &dyn Engine, id: RecordId, log: LogId) -> Result<Option<IndexEntry>, EngineError> {
    let key = record_key(id, log);
    Ok(engine.get(&key)?.and_then(|v| read_record(&key, &v)).map(|(_, _, e)| e))
}

/// Every log that holds a record, the first attestation first; empty if none does.
///
/// # Errors
/// The engine's.
pub fn attested(engine: &dyn Engine, id: RecordId) -> Result<Vec<(LogId, IndexEntry)>, EngineError> {
    let pairs = engine.scan(&record_prefix(id), b"", PAGE)?;
    let mut attested: Attested =
        pairs.iter().filter_map(|(k, v)| read_record(k, v)).map(|(_, log, e)| (log, e)).collect();
    attested.sort_by_key(|(log, e)| (e.sealed_at, *log));
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
    each_record(engine, |id, attested| {
        consider(engine, selection, (id, attested), &mut gathered)?;
        if gathered.len() >= GATHER_RECORDS {
            goes_on = send(source, selection, &gathered, &mut exported, &mut emit);
            gathered.clear();
        }
        Ok(if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    if goes_on {
        send(source, selection, &gathered, &mut exported, &mut emit);
    }
    Ok(exported)
}

/// Goes through every record that is held, by record id, with all logs that hold it, the first attestation first. A page
/// is in memory at a time.
///
/// # Errors
/// The engine's, and those of `take`.
pub fn each_record(
    engine: &dyn Engine,
    mut take: impl FnMut(RecordId, Attested) -> Result<ControlFlow<()>, EngineError>,
) -> Result<(), EngineError> {
    let mut whole = |(id, mut attested): (RecordId, Attested)| {
        attested.sort_by_key(|(log, e)| (e.sealed_at, *log));
        take(id, attested)
    };
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
    mut take: impl FnMut(&IndexEntry, &[u8]),
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
            if let Some((_, e)) = attested.first().filter(|_| RecordId::of(bytes) == *id) {
                left.remove(i);
                take(e, bytes);
            }
        }
    }
    let mut unreadable = 0;
    for (id, attested) in left.iter().filter_map(|i| places.get(*i)) {
        match (attested.first(), elsewhere(source, *id, attested)) {
            (Some((_, e)), Some(bytes)) => take(e, &bytes),
            _ => unreadable += 1,
        }
    }
    unreadable
}

fn consider(
    engine: &dyn Engine,
    selection: &Selection,
    (id, attested): (RecordId, Attested),
    gathered: &mut Vec<(RecordId, Attested)>,
) -> Result<(), EngineError> {
    let Some((_, first)) = attested.first() else { return Ok(()) };
    let old = selection.since.is_some_and(|t| first.sealed_at < t);
    if !old && (selection.history || current_version(engine, &first.content.key)? == Some(id)) {
        gathered.push((id, attested));
    }
    Ok(())
}

/// Versions of a business key, the oldest first: when each was sealed, and its id.
///
/// # Errors
/// The engine's.
pub fn versions_of_key(
    engine: &dyn Engine,
    category: &str,
    unit: &str,
    business_key: &str,
) -> Result<Vec<(u64, RecordId)>, EngineError> {
    versions_by_hash(engine, &business_key_hash(category, unit, business_key))
}

/// The same, by the hash of the business key.
///
/// # Errors
/// The engine's.
pub fn versions_by_hash(engine: &dyn Engine, key: &[u8; 16]) -> Result<Vec<(u64, RecordId)>, EngineError> {
    let prefix = version_prefix(key);
    let pairs = engine.scan(&prefix, b"", PAGE)?;
    let read = |(key, value): &(Vec<u8>, Vec<u8>)| {
        let at = key.get(17..25)?.try_into().ok().map(u64::from_be_bytes)?;
        Some((at, read_version(value)?.id))
    };
    Ok(pairs.iter().filter_map(read).collect())
}

/// The version of a business key that counts: the one that came last, when each is taken at its first attestation
/// (a late second path must not revive an old version). `None`: withdrawn.
///
/// # Errors
/// The engine's.
pub fn current_version(engine: &dyn Engine, key: &[u8; 16]) -> Result<Option<RecordId>, EngineError> {
    Ok(last_version(engine, key)?.filter(|v| v.operation != Operation::Withdraw).map(|v| v.id))
}

/// The same, also if it withdraws. `None`: nothing of the key was ever held.
///
/// # Errors
/// The engine's.
pub fn last_version(engine: &dyn Engine, key: &[u8; 16]) -> Result<Option<Version>, EngineError> {
    let prefix = version_prefix(key);
    let (mut seen, mut last, mut from) = (HashSet::new(), None, prefix.clone());
    loop {
        let page = engine.scan(&prefix, &from, PAGE)?;
        for (_, value) in &page {
            if let Some(v) = read_version(value)
                && seen.insert(v.id)
            {
                last = Some(v);
            }
        }
        match page.last() {
            Some((key, _)) if page.len() == PAGE => from = [key.as_slice(), &[0]].concat(),
            _ => return Ok(last),
        }
    }
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
        if let Some(line) = line(source.charter, selection, *id, attested, &bytes) {
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

/// The record with `_tally` put in: id, log, index, time of sealing, and all attestations if there are several.
fn line(charter: &Charter, selection: &Selection, id: RecordId, attested: &Attested, bytes: &[u8]) -> Option<Vec<u8>> {
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
