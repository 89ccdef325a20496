//! Entries of the core as frames of the journal: the one place that knows both.
//!
//! A frame's kind is the number of the entry's kind, its meta the entry in bincode, its body a batch's bytes. What an entry
//! means is not known here, nor how a frame is kept.

use std::{
    io,
    path::{Path, PathBuf},
};
use tally_core::{Append, Disk, Entry, FoundBy, Place};
use tally_journal::{
    BODY_BYTES_MAX, Damage, Found, Frame, FrameHead, Journal, JournalError, META_BYTES_MAX, Owner, Position, ReadError,
    ReadFrame, Reader, Step, System, Volume, Walk,
};
use tally_protocol::{
    codec,
    ids::{Division, Federation},
    limits::{BATCH_BYTES_MAX, CHARTER_BYTES_MAX},
};

const _: () = assert!(BATCH_BYTES_MAX <= BODY_BYTES_MAX && CHARTER_BYTES_MAX + 4_096 <= META_BYTES_MAX);

/// Where the journal keeps an entry, as the core names it.
pub fn place(position: Position) -> Place {
    Place(position.pack())
}

/// The position in the journal that the core knows as `place`.
pub fn position(place: Place) -> Position {
    Position::unpack(place.0)
}

/// Where the first entry ever stands.
pub fn origin() -> Place {
    place(Journal::origin())
}

/// The journal's owner is the node.
pub fn owner(federation: &Federation, division: Division) -> Owner {
    Owner { federation: federation.to_string(), division: division.code() }
}

fn kind(entry: &Entry) -> u8 {
    match entry {
        Entry::Batch { .. } => 1,
        Entry::Receipt { .. } => 2,
        Entry::Freeze { .. } => 3,
        Entry::Charter { .. } => 4,
        Entry::Seen { .. } => 5,
    }
}

/// The entry that a frame's head says; `None` if it says nothing, or nothing that this program knows.
pub fn decode(head: &FrameHead) -> Option<Entry> {
    let entry: Entry = codec::decode::<_, META_BYTES_MAX>(&head.meta).ok().filter(|e| kind(e) == head.kind)?;
    match &entry {
        Entry::Batch { start, tree, .. } if *start >= tree.size() => None,
        _ => Some(entry),
    }
}

/// The writing end of the journal, for the core's rounds.
#[derive(Debug)]
pub struct EntryJournal<V: Volume = System> {
    journal: Journal<V>,
}

impl EntryJournal {
    /// Opens the journal and hands every entry to `take`, in order, with how it was found.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open(
        dir: &Path,
        owner: &Owner,
        segment_bytes: u64,
        take: impl FnMut(Entry, Place, FoundBy),
    ) -> Result<(Self, Found), JournalError> {
        Self::open_on(System, dir, owner, segment_bytes, take)
    }
}

impl<V: Volume> EntryJournal<V> {
    /// The same on a volume.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open_on(
        volume: V,
        dir: &Path,
        owner: &Owner,
        segment_bytes: u64,
        mut take: impl FnMut(Entry, Place, FoundBy),
    ) -> Result<(Self, Found), JournalError> {
        let mut edge = None;
        let (mut journal, found) = Journal::open_on(volume, dir, owner, segment_bytes, |head, at| {
            let Some(entry) = decode(&head) else { return };
            if let Entry::Batch { tree, .. } = &entry {
                edge = Some(tree.clone());
            }
            take(entry, place(at), if head.sought { FoundBy::Search } else { FoundBy::Order });
        })?;
        if let Some(tree) = edge {
            journal.ends_at(tree.root().0);
        }
        Ok((Self { journal }, found))
    }

    /// The journal itself: to mend, to rest, to stop.
    pub fn journal(&mut self) -> &mut Journal<V> {
        &mut self.journal
    }

    /// The journal, to stop it.
    pub fn into_journal(self) -> Journal<V> {
        self.journal
    }

    /// End of what is durable.
    pub fn durable(&self) -> Place {
        place(self.journal.durable())
    }
}

impl<V: Volume> Disk for EntryJournal<V> {
    type Error = JournalError;

    fn append(&mut self, entries: &[Append]) -> Result<Vec<Place>, JournalError> {
        let metas: Vec<_> = entries.iter().map(|a| codec::encode(a.entry())).collect();
        let frames: Vec<_> = entries
            .iter()
            .zip(&metas)
            .map(|(a, meta)| {
                let root = if let Entry::Batch { tree, .. } = a.entry() { Some(tree.root().0) } else { None };
                Frame { kind: kind(a.entry()), meta, body: a.body(), root }
            })
            .collect();
        Ok(self.journal.append(&frames)?.into_iter().map(place).collect())
    }

    fn flush(&mut self) -> Result<(), JournalError> {
        self.journal.flush()
    }
}

/// An entry that was read back, checksums checked.
#[derive(Debug)]
pub struct KeptEntry {
    /// The entry.
    pub entry: Entry,
    /// A batch's bytes.
    pub body: Vec<u8>,
}

/// Reads entries. Cheap to clone; clones share their open files.
#[derive(Debug, Clone)]
pub struct EntryReader<V: Volume = System> {
    reader: Reader<V>,
}

impl EntryReader {
    /// Of the journal in `dir`.
    pub fn new(dir: PathBuf) -> Self {
        Self::on(System, dir)
    }
}

impl<V: Volume> EntryReader<V> {
    /// Of the journal in `dir` of a volume.
    pub fn on(volume: V, dir: PathBuf) -> Self {
        Self { reader: Reader::on(volume, dir) }
    }

    /// Folder of the segments.
    pub fn dir(&self) -> &Path {
        self.reader.dir()
    }

    /// Where a place is now: elsewhere, if what was written there had to be written anew.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn now_at(&self, at: Place) -> Result<Place, ReadError> {
        Ok(place(self.reader.now_at(position(at))?))
    }

    /// The entry at `place`, checked whole, or a second copy of it.
    ///
    /// # Errors
    /// [`ReadError`]; a frame that is no entry is damaged.
    pub fn read(&self, place: Place) -> Result<KeptEntry, ReadError> {
        Self::entry(place, self.reader.read(position(place))?)
    }

    /// The entry at `place` itself, checked whole, whether there is a second copy or not.
    ///
    /// # Errors
    /// [`ReadError`]; a frame that is no entry is damaged.
    pub fn read_here(&self, place: Place) -> Result<KeptEntry, ReadError> {
        Self::entry(place, self.reader.read_here(position(place))?)
    }

    fn entry(place: Place, frame: ReadFrame) -> Result<KeptEntry, ReadError> {
        let entry = decode(&frame.head).ok_or_else(|| no_entry(place))?;
        Ok(KeptEntry { entry, body: frame.body })
    }

    /// The entry at `place`; its body is not read.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn head(&self, place: Place) -> Result<Entry, ReadError> {
        decode(&self.reader.head(position(place))?).ok_or_else(|| no_entry(place))
    }

    /// The next whole entry at or after `from` and before `until`: where it is kept, what it is, and where to go on.
    /// Damage and frames that say nothing are stepped over.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn next(&self, from: Place, until: Place) -> Result<Option<(Place, KeptEntry, Place)>, ReadError> {
        let mut from = position(from);
        while let Some((at, frame)) = self.reader.next(from, position(until))? {
            if let Some(entry) = decode(&frame.head) {
                return Ok(Some((place(at), KeptEntry { entry, body: frame.body }, place(frame.next))));
            }
            from = frame.next;
        }
        Ok(None)
    }

    /// Whether a whole frame that says nothing stands at `place`.
    pub fn is_filler(&self, place: Place) -> bool {
        self.reader.head(position(place)).is_ok_and(|h| h.kind == 0)
    }

    /// Walks through a segment, as far as `until`; `None` if there is no such file.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn walk(&self, segment: u32, until: Place) -> io::Result<Option<Walk<V>>> {
        self.reader.walk(segment, position(until))
    }

    /// How long a sealed segment is; `None` while the next one does not tell.
    ///
    /// # Errors
    /// When the next one's file cannot be opened.
    pub fn sealed_length(&self, segment: u32) -> io::Result<Option<u64>> {
        self.reader.sealed_length(segment)
    }

    /// The bytes that stand where the body of the entry at `place` should, and how many there should be.
    pub fn remains(&self, place: Place) -> Option<(Vec<u8>, usize)> {
        self.reader.remains(position(place))
    }

    /// Forgets open files: a segment's file was put back or replaced.
    pub fn forget_files(&self) {
        self.reader.forget_files();
    }
}

fn no_entry(place: Place) -> ReadError {
    let Position { segment, offset } = position(place);
    ReadError::Damaged { segment, offset }
}

/// The entry of a step through a segment, or the damage that stands there; `None` for a frame that says nothing.
pub fn step(step: Step) -> Option<Result<(Entry, Position, u64), Damage>> {
    match step {
        Step::Frame { head, at, end } => decode(&head).map(|entry| Ok((entry, at, end))),
        Step::Bad(damage) => Some(Err(damage)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The encoding is frozen: a journal written today must stay readable.
    #[test]
    fn frozen_bytes() {
        let (log, holder) = ("350102/e1".parse().unwrap(), "350100/e1".parse().unwrap());
        let receipt = Entry::Receipt { log, holder, size: 5, time: 9, line: "l\n".into() };
        let meta = codec::encode(&receipt);
        assert_eq!(meta, b"\x01\x05\x57\x96\0\0\0\x01\0\0\0\x05\x57\x94\0\0\0\x01\0\0\0\x05\x09\x02l\n");
        let head = |kind, meta: Vec<u8>| FrameHead { kind, meta, durable_to: 0, sought: false };
        assert_eq!(decode(&head(2, meta.clone())), Some(receipt));
        assert_eq!(decode(&head(1, meta)), None, "the kind is another one");
        let empty = Entry::Batch { log, start: 0, tree: Default::default(), sealed_at: 1, note: "n".into() };
        assert_eq!(decode(&head(1, codec::encode(&empty))), None, "a batch has a record");
    }
}
