//! Rows that are known byte for byte: handed in before under the same terms, taken without anything to be said of them, and at
//! this place of the own log. Most files are handed in again as a whole, with little that is new; what is known is neither
//! read nor judged once more.
//!
//! It only remembers, in bounded memory, and forgets at a stop. Whether the record still stands as it did is the index's to say:
//! a row is a duplicate by this only if nothing has come since that could change the answer. All other rows go the long way.

use crate::{Rights, RowChunk, RowContext};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tally_protocol::{finding::Severity, ids::LogId, record::RecordId};
use tally_sheet::Row;
use tally_store::index::{DedupIndex, SubjectMark};

/// Bytes that say which row, under which terms.
const TAG_BYTES: usize = 12;
/// Places of a bucket.
const WAYS: usize = 8;
/// Buckets at first, and at most: 28 MiB, a million rows.
const BUCKETS_FIRST: usize = 1 << 10;
const BUCKETS_MAX: usize = 1 << 17;
/// Memory of all that is remembered, in bytes, at most.
pub const KNOWN_BYTES_MAX: usize = BUCKETS_MAX * WAYS * size_of::<KnownRow>();
const _: () = assert!(KNOWN_BYTES_MAX <= 32 << 20);

/// Which row, under which terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct RowTag([u8; TAG_BYTES]);

/// What was taken of a row: enough to ask whether it stands.
#[derive(Debug, Clone, Copy, Default)]
struct KnownRow {
    tag: RowTag,
    /// Index in the own log, least byte first, and one more: 0 says that nothing is here.
    index: [u8; 5],
    /// Beginning of the record's id.
    id: [u8; 3],
    subject: SubjectMark,
}

/// A row of which the record stands in the own log.
#[derive(Debug, Clone, Copy)]
pub(super) struct TakenRow {
    pub(super) tag: RowTag,
    pub(super) index: u64,
    pub(super) id: RecordId,
    pub(super) subject: SubjectMark,
}

/// The rows that are known. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct KnownRows(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    key: [u8; 32],
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    all: Vec<[KnownRow; WAYS]>,
    rows: usize,
}

impl Buckets {
    fn bucket(tag: RowTag, buckets: usize) -> usize {
        let [a, b, c, d, ..] = tag.0;
        // The number of buckets is a power of two.
        u32::from_le_bytes([a, b, c, d]) as usize & (buckets - 1)
    }

    fn find(&self, tag: RowTag) -> Option<KnownRow> {
        let bucket = self.all.get(Self::bucket(tag, self.all.len()))?;
        bucket.iter().copied().find(|row| row.tag == tag && row.index != [0; 5])
    }

    fn insert(&mut self, row: KnownRow) {
        if self.rows > self.all.len() * WAYS / 2 && self.all.len() < BUCKETS_MAX {
            let twice = vec![Default::default(); self.all.len() * 2];
            let before = std::mem::replace(&mut self.all, twice);
            self.rows = 0;
            before.into_iter().flatten().filter(|row| row.index != [0; 5]).for_each(|row| self.put(row));
        }
        self.put(row);
    }

    fn put(&mut self, row: KnownRow) {
        let at = Self::bucket(row.tag, self.all.len());
        let Some(bucket) = self.all.get_mut(at) else { return };
        let same = bucket.iter().position(|held| held.tag == row.tag);
        let free = || bucket.iter().position(|held| held.index == [0; 5]);
        // Where none is free, any goes: the tag's last byte says which.
        let way = same.or_else(free).unwrap_or(usize::from(row.tag.0[TAG_BYTES - 1]) % WAYS);
        if let Some(place) = bucket.get_mut(way) {
            self.rows += usize::from(place.index == [0; 5]);
            *place = row;
        }
    }
}

impl KnownRows {
    /// None yet. The key is this process's own and secret, so that nobody can make two rows alike.
    pub fn new(key: [u8; 32]) -> Self {
        let buckets = Buckets { all: vec![Default::default(); BUCKETS_FIRST], rows: 0 };
        Self(Arc::new(Inner { key, buckets: Mutex::new(buckets) }))
    }

    fn buckets(&self) -> MutexGuard<'_, Buckets> {
        self.0.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes off the rows that are known and stand as they did, and counts them; the tags of those that are left, in order. A row
    /// of which a reader has to say something has none that anything is remembered by.
    pub(super) fn take_off(
        &self,
        terms: &Terms<'_>,
        index: &DedupIndex,
        rows: &mut RowChunk,
    ) -> (u64, Vec<Option<RowTag>>) {
        let mut tags = self.tags(terms, rows);
        let buckets = self.buckets();
        let found: Vec<Option<KnownRow>> = tags.iter().map(|tag| buckets.find((*tag)?)).collect();
        drop(buckets);
        let asked: Vec<_> = found
            .iter()
            .flatten()
            .map(|row| {
                let [a, b, c, d, e] = row.index;
                (u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]) - 1, row.id, row.subject)
            })
            .collect();
        // What cannot be told now is looked at as ever.
        let stand = if asked.is_empty() { Vec::new() } else { index.stand(terms.own, &asked).unwrap_or_default() };
        let mut stand = stand.into_iter();
        let known: Vec<bool> =
            found.iter().map(|row| row.is_some() && stand.next().is_some_and(|stands| stands)).collect();
        let count = known.iter().filter(|known| **known).count() as u64;
        if count > 0 {
            let mut left = known.iter();
            rows.retain(|| left.next().is_none_or(|known| !known));
            let mut left = known.iter();
            tags.retain(|_| left.next().is_none_or(|known| !known));
        }
        (count, tags)
    }

    /// Remembers rows whose records are durable in the own log, and of which nothing was said.
    pub(super) fn remember(&self, taken: impl Iterator<Item = TakenRow>) {
        let mut buckets = self.buckets();
        for TakenRow { tag, index, id, subject } in taken {
            let [a, b, c, d, e, 0, 0, 0] = index.saturating_add(1).to_le_bytes() else { continue };
            let [first, second, third, ..] = id.0.0;
            buckets.insert(KnownRow { tag, index: [a, b, c, d, e], id: [first, second, third], subject });
        }
    }

    fn tags(&self, terms: &Terms<'_>, rows: &RowChunk) -> Vec<Option<RowTag>> {
        let mark = terms.mark(rows);
        let tag = |row: &[u8]| {
            let mut hash = blake3::Hasher::new_keyed(&self.0.key);
            hash.update(&mark).update(row);
            hash.finalize().as_bytes().first_chunk().copied().map(RowTag)
        };
        match rows {
            RowChunk::Lines(lines) => lines.iter().map(|(_, line)| tag(line)).collect(),
            RowChunk::Table(_, rows) => {
                let mut bytes = Vec::new();
                let mut one = |row: &Row| {
                    bytes.clear();
                    row.cells.iter().for_each(|cell| part(&mut bytes, cell.as_bytes()));
                    (row.marks.is_empty() && row.fault.is_none()).then(|| tag(&bytes)).flatten()
                };
                rows.iter().map(&mut one).collect()
            }
        }
    }
}

/// All that a verdict depends on besides the row and what is held.
pub(super) struct Terms<'t> {
    /// As what rows are judged.
    pub(super) context: RowContext<'t>,
    /// The own log.
    pub(super) own: LogId,
    /// What follows from what is held.
    pub(super) policy: crate::DedupPolicy,
}

fn part(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

impl Terms<'_> {
    fn mark(&self, rows: &RowChunk) -> [u8; 32] {
        let RowContext { charter, me, today, category, unit, division, rights, backfill } = self.context;
        let catalog = charter.catalogs().current(today);
        // A row that comes late may be asked about by how late it is; else the day changes nothing that is said of a duplicate,
        // but for the year: it says what is history.
        let by_day = catalog.rule("V020").and_then(|r| r.severity).is_some_and(|s| s >= Severity::Question);
        let day = if by_day { today.to_string() } else { today.year().to_string() };
        let of_rights =
            |Rights { unit, divisions, categories }: &Rights| format!("{unit:?}{divisions:?}{categories:?}");
        let mut bytes = Vec::new();
        let words = [
            format!("{} {me} {} {backfill} {:?}", self.own, charter.version(), self.policy),
            format!("{:?} {} {day}", charter.rules_mark(), catalog.version),
            format!("{category:?} {unit:?} {division:?}"),
            rights.map(of_rights).unwrap_or_default(),
        ];
        words.iter().for_each(|word| part(&mut bytes, word.as_bytes()));
        if let RowChunk::Table(columns, _) = rows {
            columns.heads.iter().for_each(|head| part(&mut bytes, head.as_bytes()));
            columns.fields.iter().for_each(|field| part(&mut bytes, field.as_deref().unwrap_or_default().as_bytes()));
        }
        *blake3::hash(&bytes).as_bytes()
    }
}
