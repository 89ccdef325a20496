//! Rows that are known byte for byte: handed in before under the same terms, taken without anything to be said of them, and at
//! this place of the own log. Most files are handed in again as a whole, with little that is new; what is known is neither
//! read nor judged once more.
//!
//! It only remembers, in bounded memory, and forgets at a stop. Whether the record still stands as it did is the index's to say:
//! a row is a duplicate by this only if nothing has come since that could change the answer. All other rows go the long way.

use super::ahead::CommonForm;
use crate::{Rights, RowChunk, RowContext};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tally_protocol::{finding::Severity, ids::LogId, record::RecordId};
use tally_sheet::Row;
use tally_store::index::{DedupIndex, SubjectMark};
use tally_topology::catalog::{Bound, Catalog};

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

/// Rows of a chunk that are known and stand as they did.
#[derive(Debug)]
pub(super) struct KnownPart {
    /// As they came.
    pub(super) rows: RowChunk,
    /// Where they stood in the chunk.
    pub(super) places: Vec<usize>,
    /// Their numbers.
    pub(super) forms: Vec<CommonForm>,
}

impl KnownPart {
    /// Takes off those that stood at a place or behind it.
    pub(super) fn split_off(&mut self, place: usize) -> Self {
        let at = self.places.partition_point(|p| *p < place);
        let (places, forms) = (self.places.split_off(at), self.forms.split_off(at));
        Self { rows: self.rows.split_off(at), places, forms }
    }
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

    /// Takes off the rows that are known and stand as they did; the tags of those that are left, in order. A row of which a reader
    /// has to say something has none that anything is remembered by.
    pub(super) fn take_off(
        &self,
        terms: &Terms<'_>,
        index: &DedupIndex,
        rows: &mut RowChunk,
    ) -> (KnownPart, Vec<Option<RowTag>>) {
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
        let known: Vec<Option<CommonForm>> = found.iter().map(|row| row.and_then(|_| stand.next().flatten())).collect();
        let (mut row, mut tag) = (known.iter(), known.iter());
        let rows = rows.take_out(|| row.next().is_some_and(Option::is_some));
        tags.retain(|_| tag.next().is_none_or(Option::is_none));
        let (places, forms) = known.iter().enumerate().filter_map(|(place, form)| Some((place, (*form)?))).unzip();
        (KnownPart { rows, places, forms }, tags)
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

/// Whether one day after another more may be said of a row: that it comes late, or that a day in it lies before today. Else the
/// day changes nothing that is said of a duplicate, but for the year: it says what is history.
fn is_by_day(catalog: &Catalog) -> bool {
    let asks_late = catalog.rule("V020").and_then(|r| r.severity).is_some_and(|s| s >= Severity::Question);
    asks_late || catalog.categories().any(|c| c.fields().iter().any(|f| f.not_before == Some(Bound::Today)))
}

fn part(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

impl Terms<'_> {
    fn mark(&self, rows: &RowChunk) -> [u8; 32] {
        let RowContext { charter, me, today, category, unit, division, rights, backfill } = self.context;
        let catalogs = charter.catalogs();
        // A row is judged by the version that it claims, as long as that is in force; else by the current one.
        let claimed: Vec<_> = catalogs.versions().iter().filter(|c| c.in_force(today)).collect();
        let versions: Vec<&str> = claimed.iter().map(|c| &*c.version).collect();
        let current = catalogs.current(today);
        let by_day = is_by_day(current) || claimed.iter().any(|c| is_by_day(c));
        let day = if by_day { today.to_string() } else { today.year().to_string() };
        let of_rights =
            |Rights { unit, divisions, categories }: &Rights| format!("{unit:?}{divisions:?}{categories:?}");
        let mut bytes = Vec::new();
        let words = [
            format!("{} {me} {} {backfill} {:?}", self.own, charter.version(), self.policy),
            format!("{:?} {} {versions:?} {day}", charter.rules_mark(), current.version),
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

#[cfg(test)]
mod tests {
    use super::*;
    use tally_topology::{catalog::SHIPPED, charter::Charter, sample};

    /// A charter with the shipped catalog, and one after it.
    fn charter(from: &str, more: &str) -> Charter {
        let newest = sample::charter(SHIPPED).catalogs().versions().last().unwrap().version.to_string();
        let next = format!("[[catalog]]\nversion = \"next\"\nextends = \"{newest}\"\neffective = \"{from}\"\n{more}");
        sample::charter(&format!("{SHIPPED}\n{next}"))
    }

    fn mark(charter: &Charter, today: &str) -> [u8; 32] {
        let (me, category, unit, division, rights) = ("350102".parse().unwrap(), None, None, None, None);
        let today = today.parse().unwrap();
        let context = RowContext { charter, me, today, category, unit, division, rights, backfill: false };
        let terms = Terms { context, own: "350102/e1".parse().unwrap(), policy: crate::DedupPolicy::default() };
        terms.mark(&RowChunk::Lines(Vec::new()))
    }

    const LATE: &str = "[[catalog.rule]]\nid = \"V020\"\nseverity = \"question\"\nzh = \"a\"\nen = \"a\"\n";

    /// F6: a row is judged by the version that it claims, and is known only as long as that stands as it did.
    #[test]
    fn every_version_that_a_row_may_claim_is_among_its_terms() {
        // `next` ends on the 15th, and a version that begins on the 1st is the current one meanwhile.
        let newer = "[[catalog]]\nversion = \"newer\"\nextends = \"next\"\neffective = \"2027-12-01\"\n";
        let ending = charter("2027-11-01", &format!("until = \"2027-12-15\"\n{newer}"));
        assert_eq!(&*ending.catalogs().current("2027-12-02".parse().unwrap()).version, "newer");
        assert_eq!(mark(&ending, "2027-12-02"), mark(&ending, "2027-12-15"));
        assert_ne!(mark(&ending, "2027-12-15"), mark(&ending, "2027-12-16"), "it may not be claimed any more");
        assert_ne!(mark(&ending, "2027-11-30"), mark(&ending, "2027-12-01"), "another may be claimed");
        let far = charter("2027-11-01", newer);
        assert_eq!(mark(&far, "2027-12-02"), mark(&far, "2027-12-31"));
    }

    /// F6: of a row that claims another version than the current one, lateness is asked by that one.
    #[test]
    fn lateness_is_asked_by_any_version_that_a_row_may_claim() {
        let on = |charter: &Charter, day: &str| mark(charter, day);
        let off = "[[catalog]]\nversion = \"newer\"\nextends = \"next\"\neffective = \"2027-12-01\"\n".to_owned()
            + &LATE.replace("question", "note");
        let asks = charter("2027-11-01", &format!("{LATE}{off}"));
        assert_ne!(on(&asks, "2027-12-02"), on(&asks, "2027-12-03"), "the version before asks still");
        let never = charter("2027-11-01", &format!("{}{off}", LATE.replace("question", "note")));
        assert_eq!(on(&never, "2027-12-02"), on(&never, "2027-12-03"));
    }
}
