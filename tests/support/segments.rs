//! A node's journal as a stranger reads it: segment files, frames, which records lie where. The layout is that of
//! `node/journal/FORMAT.md`, read here anew.

use crate::{FEDERATION, Federation};
use std::{collections::BTreeMap, fs};

/// Bytes of a segment before its first frame.
pub const FIRST: usize = 128;
const HEAD: usize = 72;
/// What the head's own checksum covers, before the meta.
const FIXED: usize = 56;
const MAGIC: &[u8] = b"\xffTLY";
const BATCH: u8 = 1;
const FILLER: u8 = 0;

/// A log and records of it: the origin, the first, one past the last.
pub type Range = (String, u64, u64);

/// A frame whose head holds.
#[derive(Debug, Clone)]
pub struct Frame {
    pub segment: u32,
    pub at: usize,
    pub body_at: usize,
    /// May lie beyond the file.
    pub end: usize,
    /// What it holds, if it is a batch.
    pub records: Option<Range>,
    pub filler: bool,
    /// The body is the one that was written.
    pub whole: bool,
}

/// Content of all segment files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Segments(pub BTreeMap<u32, Vec<u8>>);

impl Segments {
    pub fn last(&self) -> u32 {
        self.0.keys().next_back().copied().unwrap_or(0)
    }

    /// End of the last segment's frames: what lies behind is not the node's.
    pub fn end(&self) -> usize {
        let last = self.last();
        let bytes = self.0.get(&last).map_or(&[][..], Vec::as_slice);
        frames(last, bytes).iter().map(|f| f.end).max().unwrap_or(FIRST)
    }

    /// From where on of a segment the one behind it carries on: what is left behind that does not count.
    pub fn carried_on_from(&self, segment: u32) -> Option<usize> {
        let next = self.0.get(&(segment + 1)).filter(|next| next.get(10) == Some(&1))?;
        Some(u64::from_le_bytes(next.get(56..64)?.try_into().ok()?) as usize)
    }

    pub fn frames(&self) -> Vec<Frame> {
        self.0.iter().flat_map(|(segment, bytes)| frames(*segment, bytes)).collect()
    }

    /// Whole batches with their bytes; of several copies one.
    pub fn batches(&self) -> BTreeMap<Range, &[u8]> {
        let whole = |f: Frame| Some((f.records.filter(|_| f.whole)?, &self.0[&f.segment][f.body_at..f.end]));
        self.frames().into_iter().filter_map(whole).collect()
    }
}

impl Federation {
    pub fn segments(&self, division: &str) -> Segments {
        let numbered = |path: std::path::PathBuf| {
            let number = path.file_name()?.to_str()?.strip_suffix(".seg")?.parse().ok()?;
            Some((number, fs::read(&path).unwrap()))
        };
        let files = fs::read_dir(self.file(division, "data/journal")).unwrap();
        Segments(files.filter_map(|f| numbered(f.unwrap().path())).collect())
    }

    pub fn segment(&self, division: &str, segment: u32) -> String {
        self.file(division, &format!("data/journal/{segment:08}.seg"))
    }
}

/// Frames of a segment, over damage: a frame whose head holds is passed whole, else the next head is looked for.
fn frames(segment: u32, bytes: &[u8]) -> Vec<Frame> {
    let (mut at, mut found) = (FIRST, Vec::new());
    while at < bytes.len() {
        match frame(segment, bytes, at) {
            Some(frame) => {
                at = frame.end;
                found.push(frame);
            }
            None => at += 1,
        }
    }
    found
}

fn frame(segment: u32, bytes: &[u8], at: usize) -> Option<Frame> {
    let head = bytes.get(at..at + HEAD).filter(|h| h.starts_with(MAGIC))?;
    let number = |i: usize| u32::from_le_bytes(head[i..i + 4].try_into().unwrap()) as usize;
    let body_at = at + HEAD + number(8);
    let meta = bytes.get(at + HEAD..body_at)?;
    let mut sum = blake3::Hasher::new();
    sum.update(&head[..FIXED]).update(meta);
    if sum.finalize().as_bytes()[..16] != head[FIXED..] {
        return None;
    }
    let (end, filler) = (body_at + number(12), head[5] == FILLER);
    let records = (head[5] == BATCH).then(|| batch(meta));
    let holds = |body| filler || *blake3::hash(body).as_bytes() == head[24..FIXED];
    let whole = bytes.get(body_at..end).is_some_and(holds);
    Some(Frame { segment, at, body_at, end, records, filler, whole })
}

/// The start of a batch's meta: variant, log (division 3, epoch 4, kind 3 bytes, big-endian), first record, one past the
/// last.
fn batch(meta: &[u8]) -> Range {
    let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |n, b| n << 8 | u64::from(*b));
    let (division, epoch) = (number(&meta[1..4]), number(&meta[4..8]));
    let mut rest = &meta[11..];
    let [start, end] = [(); 2].map(|()| varint(&mut rest));
    (format!("{FEDERATION}/{division}/e{epoch}"), start, end)
}

fn varint(rest: &mut &[u8]) -> u64 {
    let (first, more) = rest.split_first().unwrap();
    let wide = match first {
        251 => 2,
        252 => 4,
        253 => 8,
        small => {
            *rest = more;
            return u64::from(*small);
        }
    };
    let (number, more) = more.split_at(wide);
    *rest = more;
    number.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))
}

/// Ranges that touch become one.
pub fn union(ranges: impl IntoIterator<Item = Range>) -> Vec<Range> {
    let mut sorted: Vec<_> = ranges.into_iter().collect();
    sorted.sort();
    let mut union: Vec<Range> = Vec::new();
    for (log, from, to) in sorted {
        match union.last_mut().filter(|(l, _, end)| *l == log && from <= *end) {
            Some((.., end)) => *end = to.max(*end),
            None => union.push((log, from, to)),
        }
    }
    union
}

/// Whether every record of `some` is in `all`, which is a union.
pub fn within(some: &[Range], all: &[Range]) -> bool {
    some.iter().all(|(log, from, to)| all.iter().any(|(l, f, t)| l == log && f <= from && to <= t))
}

/// Whether any record is in both.
pub fn overlap(some: &[Range], others: &[Range]) -> bool {
    some.iter().any(|(log, from, to)| others.iter().any(|(l, f, t)| l == log && f < to && from < t))
}
