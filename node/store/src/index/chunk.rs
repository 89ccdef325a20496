//! Records that stand together in a log, by columns: what the index knows of each, in some 80 bytes, and read by position without
//! the others.
//!
//! What many records of a log have in common (units, category, division, the moment of sealing) stands once for all of them.
//!
//! ```text
//! count (2) ‖ length of the two lists (4) ‖ what is common (list) ‖ forms and amended records (list)
//! position in the chunk (1 each) ‖ operation (1) ‖ which of what is common (1) ‖ day (4) ‖ ids (32) ‖ keys (16)
//!   ‖ contents (16) ‖ substances (8)
//! ```

use super::{EngineError, IndexEntry};
use serde::{Deserialize, Serialize};
use tally_protocol::{
    codec::{self, CodecError},
    hash::Hash,
    record::RecordId,
};
use tally_topology::content::{ContentId, Dimensions, Operation};

/// Records of a chunk: few enough that one of them is read quickly, enough to share what they have in common.
pub(super) const CHUNK: u64 = 128;
const _: () = assert!(CHUNK <= 256, "a position takes one byte");
/// Longest encoded lists of a chunk, in bytes: each record may have units and forms of its own.
const LISTS_BYTES_MAX: usize = 512 * CHUNK as usize;
/// Before the lists.
const HEAD_BYTES: usize = 6;
/// Bytes of a record in the columns.
const COLUMNS_BYTES: usize = 1 + 1 + 1 + 4 + 32 + 16 + 16 + 8;

/// What neighbouring records have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Common {
    sealed_at: u64,
    division: u32,
    submitter_division: u32,
    submitter: [u8; 8],
    unit_name: [u8; 8],
    backfill: bool,
    category: String,
    unit: String,
}

impl Common {
    fn of(e: &IndexEntry) -> Self {
        let d = e.dimensions.clone();
        Self {
            sealed_at: e.sealed_at,
            division: d.division,
            submitter_division: d.submitter_division,
            submitter: d.submitter,
            unit_name: d.unit_name,
            backfill: d.backfill,
            category: d.category,
            unit: d.unit,
        }
    }

    fn is_of(&self, e: &IndexEntry) -> bool {
        let d = &e.dimensions;
        (self.unit_name, self.sealed_at, self.division) == (d.unit_name, e.sealed_at, d.division)
            && (self.submitter, self.submitter_division, self.backfill)
                == (d.submitter, d.submitter_division, d.backfill)
            && (&self.category, &self.unit) == (&d.category, &d.unit)
    }

    fn dimensions(&self, produced_on: u32) -> Dimensions {
        Dimensions {
            produced_on,
            division: self.division,
            category: self.category.clone(),
            unit: self.unit.clone(),
            submitter_division: self.submitter_division,
            submitter: self.submitter,
            unit_name: self.unit_name,
            backfill: self.backfill,
        }
    }
}

/// What few records have: where in the columns, the form of the business key, and the record that is amended.
type More = (u8, Option<[u8; 16]>, Option<[u8; 16]>);

/// A record in memory, without what is common.
#[derive(Debug)]
struct Row {
    position: u8,
    common: u8,
    day: u32,
    id: RecordId,
    content: ContentId,
}

/// Records of one chunk that are about to be written.
#[derive(Debug, Default)]
pub(super) struct ChunkBuilder {
    common: Vec<Common>,
    rows: Vec<Row>,
}

impl ChunkBuilder {
    /// Takes the record that stands at the entry's index; one that is there already stays.
    pub(super) fn put(&mut self, id: RecordId, e: &IndexEntry) {
        let position = (e.index % CHUNK) as u8;
        let at = match self.rows.last() {
            Some(last) if last.position >= position => {
                match self.rows.binary_search_by_key(&position, |r| r.position) {
                    Ok(_) => return,
                    Err(at) => at,
                }
            }
            _ => self.rows.len(),
        };
        let same = self.common.iter().rposition(|c| c.is_of(e));
        let common = same.unwrap_or_else(|| {
            self.common.push(Common::of(e));
            self.common.len() - 1
        });
        let row = Row { position, common: common as u8, day: e.dimensions.produced_on, id, content: e.content };
        self.rows.insert(at, row);
    }

    /// Takes what stands in another value of the same chunk, which begins at `first`.
    ///
    /// # Errors
    /// [`EngineError::Form`] if it is none.
    pub(super) fn put_all(&mut self, bytes: &[u8], first: u64) -> Result<(), EngineError> {
        Chunk::read(bytes)?.all(first).for_each(|(id, e)| self.put(id, &e));
        Ok(())
    }

    /// Whether every position of the chunk is taken.
    pub(super) fn is_complete(&self) -> bool {
        self.rows.len() as u64 == CHUNK
    }

    /// All of them in one value.
    pub(super) fn encode(&self) -> Vec<u8> {
        encode(&self.common, self.rows.iter().map(|row| (row, row.common)))
    }

    /// Each by itself, with its position in the chunk.
    pub(super) fn singles(&self) -> impl Iterator<Item = (u8, Vec<u8>)> {
        self.rows.iter().filter_map(|row| Some((row.position, self.single(row)?)))
    }

    /// The one at a position by itself.
    pub(super) fn single_at(&self, position: u8) -> Option<Vec<u8>> {
        let at = self.rows.binary_search_by_key(&position, |r| r.position).ok()?;
        self.single(self.rows.get(at)?)
    }

    fn single(&self, row: &Row) -> Option<Vec<u8>> {
        let common = self.common.get(usize::from(row.common))?;
        Some(encode(std::slice::from_ref(common), std::iter::once((row, 0))))
    }
}

fn encode<'r>(common: &[Common], rows: impl Iterator<Item = (&'r Row, u8)> + Clone) -> Vec<u8> {
    let few = |(at, (row, _)): (u8, (&Row, u8))| {
        let ContentId { form, amends, .. } = row.content;
        (form.is_some() || amends.is_some()).then_some((at, form, amends))
    };
    let more: Vec<More> = (0..=u8::MAX).zip(rows.clone()).filter_map(few).collect();
    let lists = [codec::encode(&common), codec::encode(&more)].concat();
    let count = rows.clone().count();
    let mut out = Vec::with_capacity(HEAD_BYTES + lists.len() + count * COLUMNS_BYTES);
    out.extend_from_slice(&(count as u16).to_be_bytes());
    out.extend_from_slice(&(lists.len() as u32).to_be_bytes());
    out.extend(lists);
    out.extend(rows.clone().map(|(row, _)| row.position));
    out.extend(rows.clone().map(|(row, _)| row.content.operation as u8));
    out.extend(rows.clone().map(|(_, common)| common));
    rows.clone().for_each(|(row, _)| out.extend_from_slice(&row.day.to_be_bytes()));
    rows.clone().for_each(|(row, _)| out.extend_from_slice(&row.id.0.0));
    rows.clone().for_each(|(row, _)| out.extend_from_slice(&row.content.key));
    rows.clone().for_each(|(row, _)| out.extend_from_slice(&row.content.content));
    rows.for_each(|(row, _)| out.extend_from_slice(&row.content.substance));
    out
}

/// A chunk as it is stored, whole or of one record.
#[derive(Debug)]
pub(super) struct Chunk<'b> {
    count: usize,
    common: Vec<Common>,
    more: Vec<More>,
    columns: &'b [u8],
}

impl<'b> Chunk<'b> {
    /// Reads the lists; records are read when they are asked for.
    ///
    /// # Errors
    /// [`EngineError::Form`] if it is none.
    pub(super) fn read(bytes: &'b [u8]) -> Result<Self, EngineError> {
        let malformed = || EngineError::Form(CodecError::Malformed("a chunk of the index".into()));
        let (count, rest) = bytes.split_first_chunk::<2>().ok_or_else(malformed)?;
        let (lists, rest) = rest.split_first_chunk::<4>().ok_or_else(malformed)?;
        let (count, lists) = (usize::from(u16::from_be_bytes(*count)), u32::from_be_bytes(*lists) as usize);
        let (lists, columns) = rest.split_at_checked(lists).ok_or_else(malformed)?;
        if columns.len() != count * COLUMNS_BYTES {
            return Err(malformed());
        }
        let form = EngineError::Form;
        let (common, lists) = codec::decode_prefix::<_, LISTS_BYTES_MAX>(lists).map_err(form)?;
        let more = codec::decode::<_, LISTS_BYTES_MAX>(lists).map_err(form)?;
        Ok(Self { count, common, more, columns })
    }

    /// Positions in the chunk, ascending.
    fn positions(&self) -> &'b [u8] {
        self.columns.get(..self.count).unwrap_or_default()
    }

    /// The record at a position in the chunk, which begins at `first` in the log.
    pub(super) fn at(&self, first: u64, position: u8) -> Option<(RecordId, IndexEntry)> {
        let row = self.positions().binary_search(&position).ok()?;
        self.row(first, row)
    }

    /// All records, in the order of their positions.
    pub(super) fn all(&self, first: u64) -> impl Iterator<Item = (RecordId, IndexEntry)> {
        (0..self.count).filter_map(move |row| self.row(first, row))
    }

    fn row(&self, first: u64, row: usize) -> Option<(RecordId, IndexEntry)> {
        let position = *self.positions().get(row)?;
        let mut before = 1;
        let operation = match self.column::<1>(&mut before, row)? {
            [1] => Operation::Amend,
            [2] => Operation::Withdraw,
            _ => Operation::Create,
        };
        let [common] = self.column::<1>(&mut before, row)?;
        let day = u32::from_be_bytes(self.column(&mut before, row)?);
        let id = RecordId(Hash(self.column(&mut before, row)?));
        let (key, content) = (self.column(&mut before, row)?, self.column(&mut before, row)?);
        let substance = self.column(&mut before, row)?;
        let more = self.more.binary_search_by_key(&row, |(at, ..)| usize::from(*at)).ok();
        let (_, form, amends) = more.and_then(|at| self.more.get(at)).copied().unwrap_or_default();
        let common = self.common.get(usize::from(common))?;
        let content = ContentId { operation, key, form, content, substance, amends };
        let index = first + u64::from(position);
        Some((id, IndexEntry { index, sealed_at: common.sealed_at, content, dimensions: common.dimensions(day) }))
    }

    /// What a column of values of `N` bytes says of a row; `before`: bytes that a row has in the columns before it.
    fn column<const N: usize>(&self, before: &mut usize, row: usize) -> Option<[u8; N]> {
        let at = *before * self.count + row * N;
        *before += N;
        self.columns.get(at..)?.first_chunk().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records that differ in everything that may differ.
    fn entry(n: u64) -> (RecordId, IndexEntry) {
        let byte = n as u8;
        let content = ContentId {
            operation: [Operation::Create, Operation::Amend, Operation::Withdraw][(n % 3) as usize],
            key: [byte; 16],
            form: n.is_multiple_of(5).then_some([byte + 1; 16]),
            content: [byte + 2; 16],
            substance: [byte + 3; 8],
            amends: n.is_multiple_of(7).then_some([byte + 4; 16]),
        };
        let dimensions = Dimensions {
            produced_on: 20_260_100 + n as u32,
            division: 350_100 + (n / 20) as u32,
            category: if n.is_multiple_of(2) { "licence".into() } else { String::new() },
            unit: format!("unit {}", n / 10),
            submitter_division: (n / 30) as u32,
            submitter: [byte / 40; 8],
            unit_name: [byte / 50; 8],
            backfill: n > 100,
        };
        (
            RecordId::of(&n.to_be_bytes()),
            IndexEntry { index: 3 * CHUNK + n, sealed_at: 1_000 + n / 16, content, dimensions },
        )
    }

    #[test]
    fn a_chunk_says_of_each_record_what_it_was_told() {
        let mut builder = ChunkBuilder::default();
        // Late ones come behind others, and one twice.
        for n in (60..CHUNK).chain(0..60).chain([7]) {
            let (id, e) = entry(n);
            builder.put(id, &e);
        }
        assert!(builder.is_complete());
        let bytes = builder.encode();
        let chunk = Chunk::read(&bytes).unwrap();
        let all: Vec<_> = chunk.all(3 * CHUNK).collect();
        assert_eq!(all, (0..CHUNK).map(entry).collect::<Vec<_>>());
        assert_eq!(chunk.at(3 * CHUNK, 77), Some(entry(77)));
        let alone = builder.single_at(5).unwrap();
        let single = Chunk::read(&alone).unwrap();
        assert_eq!((single.at(3 * CHUNK, 5), single.at(3 * CHUNK, 6)), (Some(entry(5)), None));
        assert_eq!(builder.singles().count() as u64, CHUNK);
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        let mut builder = ChunkBuilder::default();
        (0..9).map(entry).for_each(|(id, e)| builder.put(id, &e));
        let bytes = builder.encode();
        for cut in 0..bytes.len() {
            assert!(Chunk::read(&bytes[..cut]).is_err(), "{cut}");
        }
        assert!(Chunk::read(&[&bytes[..], &[0]].concat()).is_err());
        // Whatever stands in it, reading it answers.
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 0xff;
            if let Ok(chunk) = Chunk::read(&other) {
                assert!(chunk.all(0).count() <= 9);
            }
        }
    }
}
