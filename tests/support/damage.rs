//! Damage to a journal's files: drawn at random on a copy, so that it is known what is lost, then done.

use crate::{
    Federation,
    sample::Random,
    segments::{FIRST, Frame, Range, Segments, union},
};
use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions, Permissions},
    io::Write as _,
    os::unix::fs::{FileExt as _, PermissionsExt as _},
};

/// Longest run of bytes that is zeroed or overwritten.
const RUN: u64 = 8_192;

/// What is to happen to a journal.
#[derive(Debug)]
pub struct Damage {
    pub before: Segments,
    pub after: Segments,
    /// End of the last segment's frames.
    end: usize,
    /// Files that another file is put in the place of.
    exchanged: BTreeSet<u32>,
    /// For people.
    pub what: Vec<String>,
    /// Body of the one batch in which some bits of one block were flipped, and nothing else.
    pub small: Option<usize>,
}

impl Damage {
    pub fn none(before: Segments) -> Self {
        let (after, end) = (before.clone(), before.end());
        Self { before, after, end, exchanged: BTreeSet::new(), what: Vec::new(), small: None }
    }

    /// A node that starts knows no end beyond which its last file does not count.
    pub fn while_stopped(mut self) -> Self {
        self.end = usize::MAX;
        self
    }

    /// One to two places, of any kind.
    pub fn random(before: Segments, random: &mut Random) -> Self {
        let mut damage = Self::none(before);
        if random.below(6) == 0 {
            damage.flip_in_a_batch(random, |_| true);
            return damage;
        }
        for _ in 0..=u64::from(random.below(4) == 0) {
            damage.one(random);
        }
        damage
    }

    /// A few bits in one block of a batch's body.
    pub fn flip_in_a_batch(&mut self, random: &mut Random, which: impl Fn(&Range) -> bool) {
        let mut frames = self.live();
        frames.retain(|f| f.records.as_ref().is_some_and(&which));
        let frame = pick(&frames, random).clone();
        let at = frame.body_at + random.below((frame.end - frame.body_at) as u64) as usize;
        let bytes = self.after.0.get_mut(&frame.segment).unwrap();
        // Bits of one byte and of no two the same: they do not undo each other.
        bytes[at] ^= 1 + random.below(255) as u8;
        self.small = Some(frame.end - frame.body_at);
        self.what.push(format!("flip at {at} of segment {} in the body of {:?}", frame.segment, frame.records));
    }

    /// Batches that are whole before.
    fn live(&self) -> Vec<Frame> {
        let mut frames = self.before.frames();
        frames.retain(|f| f.whole && f.records.is_some());
        frames
    }

    fn one(&mut self, random: &mut Random) {
        let all: Vec<u32> = self.after.0.keys().copied().collect();
        // Mended places pile up, so most damage is aimed at what still matters.
        let live = pick(&self.live(), random).clone();
        let aimed = random.below(6) > 0;
        let segment = if aimed { live.segment } else { *pick(&all, random) };
        let other = *pick(&all, random);
        let theirs = self.after.0.get(&other).filter(|_| other != segment).cloned();
        let Some(bytes) = self.after.0.get_mut(&segment) else { return };
        let len = bytes.len();
        let range = if aimed { live.at.min(len)..live.end.min(len) } else { 0..len };
        if range.is_empty() {
            return;
        }
        let at = range.start + random.below(range.len() as u64) as usize;
        let end = (at + 1 + random.below(RUN) as usize).min(len);
        let what = match (random.below(10), theirs) {
            (0 | 1, _) => {
                let bits = 1 << random.below(8);
                for _ in 0..bits {
                    let at = at + random.below((end - at) as u64) as usize;
                    bytes[at] ^= 1 << random.below(8);
                }
                format!("flip up to {bits} bits within {at}..{end}")
            }
            (2, _) => {
                bytes[at..end].fill(0);
                format!("zero {at}..{end}")
            }
            (3, _) => {
                bytes[at..end].fill_with(|| random.draw() as u8);
                format!("overwrite {at}..{end}")
            }
            (4, _) => {
                bytes.truncate(at);
                format!("truncate to {at}")
            }
            (5, _) => {
                let at = if aimed { live.at } else { FIRST };
                bytes.truncate(at);
                format!("truncate to {at}, where a frame starts")
            }
            (6, _) => {
                self.after.0.remove(&segment);
                "delete".to_owned()
            }
            (7, Some(theirs)) => {
                let mine = std::mem::replace(bytes, theirs);
                self.after.0.insert(other, mine);
                self.exchanged.extend([segment, other]);
                format!("swap with {other}")
            }
            (8, Some(theirs)) => {
                *bytes = theirs;
                self.exchanged.insert(segment);
                format!("put a copy of {other} in its place")
            }
            _ => {
                bytes.extend((0..=random.below(RUN)).map(|_| random.draw() as u8));
                format!("append junk to {len}")
            }
        };
        self.what.push(format!("segment {segment}: {what}"));
    }

    /// What a reader sees of a segment: of the last one, which is written to, no more than there was; of one that another carries
    /// on, no more than that one says.
    fn seen(&self, segment: u32) -> Option<&[u8]> {
        let bytes = self.after.0.get(&segment)?.as_slice();
        let next = |segments: &Segments| Some(segments.0.get(&(segment + 1))?.get(..FIRST)?.to_vec());
        let told = next(&self.after) == next(&self.before);
        let carried = self.before.carried_on_from(segment).filter(|_| told);
        let end = if segment == self.before.last() { Some(self.end) } else { carried };
        Some(end.map_or(bytes, |end| &bytes[..bytes.len().min(end)]))
    }

    fn seen_all(&self) -> Segments {
        Segments(self.after.0.keys().filter_map(|s| Some((*s, self.seen(*s)?.to_vec()))).collect())
    }

    /// Records of which no whole copy is left.
    pub fn lost(&self) -> Vec<Range> {
        self.lost_in(&self.seen_all())
    }

    /// The same once a running node has put its open file back in the place of another.
    pub fn lost_to_repair(&self) -> Vec<Range> {
        let (mut seen, last) = (self.seen_all(), self.before.last());
        if self.exchanged.contains(&last) || !self.after.0.contains_key(&last) {
            seen.0.insert(last, self.before.0[&last].clone());
        }
        union([self.lost(), self.lost_in(&seen)].concat())
    }

    fn lost_in(&self, seen: &Segments) -> Vec<Range> {
        let (left, before) = (seen.batches(), self.before.batches());
        union(before.into_keys().filter(|range| !left.contains_key(range)))
    }

    /// Of these, those that later batches on the disk tell of: a node that starts must know that it had them.
    pub fn lost_for_sure(&self) -> Vec<Range> {
        let left = self.after.batches();
        let size = |log: &str| left.keys().filter(|(l, ..)| l == log).map(|(.., end)| *end).max().unwrap_or(0);
        let known = |(log, from, to): Range| {
            let to = to.min(size(&log));
            (from < to).then_some((log, from, to))
        };
        self.lost().into_iter().filter_map(known).collect()
    }

    /// Whether anything was changed that is to be seen: what fills a mended place is not.
    pub fn matters(&self) -> bool {
        let frames = self.before.frames();
        let fillers: Vec<_> = frames.iter().filter(|f| f.filler).collect();
        let kept =
            |segment: u32, at: usize| !fillers.iter().any(|f| f.segment == segment && (f.body_at..f.end).contains(&at));
        let last = self.before.last();
        !self.lost().is_empty()
            || self.before.0.iter().any(|(segment, old)| match self.seen(*segment) {
                None => true,
                Some(new) if new.len() < self.before_len(*segment) => true,
                Some(new) if new.len() > old.len() && *segment != last => true,
                Some(new) => old.iter().zip(new).enumerate().any(|(at, (a, b))| a != b && kept(*segment, at)),
            })
    }

    /// Whether the file that the node writes to is removed, replaced or cut.
    pub fn takes_the_open_file(&self) -> bool {
        let last = self.before.last();
        self.exchanged.contains(&last) || self.after.0.get(&last).is_none_or(|new| new.len() < self.end)
    }

    fn before_len(&self, segment: u32) -> usize {
        let (len, carried) = (self.before.0[&segment].len(), self.before.carried_on_from(segment));
        if segment == self.before.last() { self.end } else { carried.map_or(len, |end| len.min(end)) }
    }

    /// Segments whose bytes change.
    pub fn touched(&self) -> BTreeSet<u32> {
        self.before.0.iter().filter(|(s, old)| self.after.0.get(s) != Some(old)).map(|(s, _)| *s).collect()
    }

    /// Does it to the files of a node.
    pub fn apply(&self, federation: &Federation, division: &str) {
        for segment in self.touched() {
            let path = federation.segment(division, segment);
            let Some(new) = self.after.0.get(&segment) else {
                fs::remove_file(&path).unwrap();
                continue;
            };
            if self.exchanged.contains(&segment) {
                let beside = format!("{path}.exchanged");
                File::create(&beside).unwrap().write_all(new).unwrap();
                fs::rename(&beside, &path).unwrap();
                continue;
            }
            let mode = fs::metadata(&path).unwrap().permissions();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            let old = &self.before.0[&segment];
            let differ = |i: &usize| old.get(*i) != Some(&new[*i]);
            if let Some(from) = (0..new.len()).find(differ) {
                let to = (from..new.len()).rev().find(differ).unwrap() + 1;
                file.write_all_at(&new[from..to], from as u64).unwrap();
            }
            if new.len() < old.len() {
                file.set_len(new.len() as u64).unwrap();
            }
            fs::set_permissions(&path, mode).unwrap();
        }
    }
}

pub fn pick<'i, T>(items: &'i [T], random: &mut Random) -> &'i T {
    &items[random.below(items.len() as u64) as usize]
}
