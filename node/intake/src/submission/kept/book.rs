//! What answers there are, in memory: by whom, their names, their keys, and how much room they take.
//!
//! A list reads only the answers of whoever asks, and whether there is room for more is known without the disk. About 120
//! bytes a kept answer, the key that a client named included; keys are known by a hash. What stands in an answer is not
//! known here.

use super::SubmissionMeta;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use tally_protocol::ids::Division;

/// Whose answers they are: each has room of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerOwner {
    /// The operator of this machine: by the command line, or a comparison.
    #[default]
    Operator,
    /// A drop folder, by its path.
    Folder(String),
    /// A token, by its name.
    Token(String),
}

impl AnswerOwner {
    /// For messages.
    fn shown(&self) -> String {
        match self {
            Self::Operator => "the operator of this machine".to_owned(),
            Self::Folder(path) => format!("the drop folder {path}"),
            Self::Token(name) => format!("the token {name}"),
        }
    }
}

impl SubmissionMeta {
    /// Whose answer it is.
    pub fn owner(&self) -> AnswerOwner {
        match (&self.token, &self.folder) {
            (Some(token), _) => AnswerOwner::Token(token.clone()),
            (None, Some(folder)) => AnswerOwner::Folder(folder.clone()),
            (None, None) => AnswerOwner::Operator,
        }
    }
}

/// How much may be kept. An answer beyond its rows or bytes counts the others; beyond the sums nothing more is taken in.
#[derive(Debug, Clone, Copy)]
pub struct KeptLimits {
    /// Rows of one answer.
    pub answer_rows: u64,
    /// Bytes of one answer's rows and phrases on the disk.
    pub answer_bytes: u64,
    /// Bytes of all answers with rows of one token or drop folder.
    pub owner_bytes: u64,
    /// And their number.
    pub owner_answers: usize,
    /// Bytes of all answers with rows of all tokens and drop folders together.
    pub all_bytes: u64,
    /// And their number.
    pub all_answers: usize,
    /// The operator's own: bytes.
    pub operator_bytes: u64,
    /// And number.
    pub operator_answers: usize,
    /// Answers without rows of one token, folder, or the operator: with a key, or for rows that were staged. The oldest is
    /// forgotten for a new one; at least half as many are kept.
    pub plain_answers: usize,
}

impl Default for KeptLimits {
    fn default() -> Self {
        Self {
            answer_rows: 100_000,
            answer_bytes: 64 << 20,
            owner_bytes: 512 << 20,
            owner_answers: 20_000,
            all_bytes: 4 << 30,
            all_answers: 100_000,
            operator_bytes: 2 << 30,
            operator_answers: 40_000,
            plain_answers: 20_000,
        }
    }
}

/// As many answers are kept as may be: no more rows are taken in from whoever it is.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "{whose} has {answers} answers of {mib} MiB, and as much is kept as may be: correct and hand in again what they name, \
     and ask the node's operator to remove those that are done with (tally answer rm); each goes by itself after {days} days / \
     答复已达保存上限：请按答复更正并重新报送，或请节点管理员删除已处理的答复（tally answer rm），{days} 天后自动删除",
    days = super::KEPT_DAYS
)]
pub struct AnswersFull {
    whose: String,
    answers: usize,
    mib: u64,
}

/// The name of an answer: its day, and its number on that day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct AnswerName {
    /// As in 20261125.
    pub(super) day: u32,
    pub(super) number: u32,
}

impl AnswerName {
    /// Reads `350102-20261125-0007`; none: it is no name of this division's.
    pub(super) fn read(id: &str, division: Division) -> Option<Self> {
        let (day, number) = id.strip_prefix(&division.to_string())?.strip_prefix('-')?.split_once('-')?;
        let name = Self { day: day.parse().ok()?, number: number.parse().ok()? };
        (name.id(division) == id).then_some(name)
    }

    pub(super) fn id(self, division: Division) -> String {
        format!("{division}-{:08}-{:04}", self.day, self.number)
    }
}

/// The first 16 bytes of the BLAKE3 of a client's own key.
pub(super) type KeyHash = [u8; 16];

pub(super) fn key_hash(key: &str) -> KeyHash {
    let mut hash = KeyHash::default();
    hash.copy_from_slice(&blake3::hash(key.as_bytes()).as_bytes()[..16]);
    hash
}

/// Where an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerPlace {
    /// In a folder of its own, with its rows; bytes of both.
    Folder(u64),
    /// A line of its owner's file of this number: where it begins, and its length.
    Line { file: u32, at: u64, bytes: u32 },
}

#[derive(Debug, Clone, Copy)]
struct BookEntry {
    place: AnswerPlace,
    key: Option<KeyHash>,
}

/// Answers of one owner.
#[derive(Debug, Default)]
struct Shelf {
    /// Those with rows.
    rows: BTreeMap<AnswerName, BookEntry>,
    /// Those without.
    plain: BTreeMap<AnswerName, BookEntry>,
    keys: HashMap<KeyHash, AnswerName>,
    /// Bytes of those with rows, and of those that are being written.
    bytes: u64,
    /// Answers with rows that are being written.
    writing: usize,
}

impl Shelf {
    fn answers(&self) -> usize {
        self.rows.len() + self.writing
    }

    fn forget_beyond(&mut self, most: usize) -> Vec<(AnswerName, AnswerPlace)> {
        let beyond = self.plain.len().saturating_sub(most);
        let oldest: Vec<_> = self.plain.keys().take(beyond).copied().collect();
        oldest.into_iter().filter_map(|name| Some((name, self.remove(name)?))).collect()
    }

    fn remove(&mut self, name: AnswerName) -> Option<AnswerPlace> {
        let entry = match self.rows.remove(&name) {
            Some(entry) => {
                if let AnswerPlace::Folder(bytes) = entry.place {
                    self.bytes = self.bytes.saturating_sub(bytes);
                }
                entry
            }
            None => self.plain.remove(&name)?,
        };
        if let Some(key) = entry.key
            && self.keys.get(&key) == Some(&name)
        {
            self.keys.remove(&key);
        }
        Some(entry.place)
    }
}

/// All answers.
#[derive(Debug)]
pub(super) struct AnswerBook {
    limits: KeptLimits,
    shelves: BTreeMap<AnswerOwner, Shelf>,
    /// Highest number of each day of which an answer may be kept.
    numbers: BTreeMap<u32, u32>,
}

impl AnswerBook {
    pub(super) fn new(limits: KeptLimits) -> Self {
        Self { limits, shelves: BTreeMap::new(), numbers: BTreeMap::new() }
    }

    pub(super) fn limits(&self) -> &KeptLimits {
        &self.limits
    }

    /// A name is taken.
    pub(super) fn seen(&mut self, name: AnswerName) {
        let highest = self.numbers.entry(name.day).or_default();
        *highest = name.number.max(*highest);
    }

    /// The highest names of days of which an answer may be kept.
    pub(super) fn highest(&self) -> impl Iterator<Item = AnswerName> {
        self.numbers.iter().map(|(day, number)| AnswerName { day: *day, number: *number })
    }

    /// The next name of a day; none is given twice.
    pub(super) fn next(&mut self, day: u32) -> AnswerName {
        let highest = self.numbers.entry(day).or_default();
        *highest = highest.saturating_add(1);
        AnswerName { day, number: *highest }
    }

    /// An answer is kept: with rows, or without. Answers without rows that have to go for it are answered.
    pub(super) fn add(
        &mut self,
        owner: AnswerOwner,
        name: AnswerName,
        place: (AnswerPlace, bool),
        key: Option<KeyHash>,
    ) -> Vec<(AnswerName, AnswerPlace)> {
        self.add_all(owner.clone(), name, place, key);
        let most = self.limits.plain_answers;
        self.shelves.get_mut(&owner).map(|s| s.forget_beyond(most)).unwrap_or_default()
    }

    /// Answers without rows that are too many go, the oldest first.
    pub(super) fn forget_beyond(&mut self) -> Vec<(AnswerName, AnswerPlace)> {
        let most = self.limits.plain_answers;
        self.shelves.values_mut().flat_map(|s| s.forget_beyond(most)).collect()
    }

    /// An answer is found on the disk.
    pub(super) fn add_all(
        &mut self,
        owner: AnswerOwner,
        name: AnswerName,
        (place, with_rows): (AnswerPlace, bool),
        key: Option<KeyHash>,
    ) {
        self.seen(name);
        let shelf = self.shelves.entry(owner).or_default();
        if let Some(key) = key {
            // Of two answers with one key the newer one counts.
            let newest = shelf.keys.entry(key).or_insert(name);
            *newest = name.max(*newest);
        }
        if with_rows {
            if let AnswerPlace::Folder(bytes) = place {
                shelf.bytes += bytes;
            }
            shelf.rows.insert(name, BookEntry { place, key });
        } else {
            shelf.plain.insert(name, BookEntry { place, key });
        }
    }

    /// Forgets an answer; answers where it was.
    pub(super) fn remove(&mut self, name: AnswerName) -> Option<AnswerPlace> {
        self.shelves.values_mut().find_map(|s| s.remove(name))
    }

    /// Forgets the answers that are lines of a file.
    pub(super) fn remove_file(&mut self, owner: &AnswerOwner, number: u32) {
        let Some(shelf) = self.shelves.get_mut(owner) else { return };
        let lines = |e: &BookEntry| matches!(e.place, AnswerPlace::Line { file, .. } if file == number);
        let names: Vec<_> = shelf.plain.iter().filter(|(_, e)| lines(e)).map(|(n, _)| *n).collect();
        names.into_iter().for_each(|n| _ = shelf.remove(n));
    }

    /// Forgets the answers and the numbers of days before this one.
    pub(super) fn forget_before(&mut self, day: u32) {
        self.numbers.retain(|d, _| *d >= day);
        for shelf in self.shelves.values_mut() {
            let first = AnswerName { day, number: 0 };
            let old: Vec<_> = shelf.rows.range(..first).chain(shelf.plain.range(..first)).map(|(n, _)| *n).collect();
            old.into_iter().for_each(|n| _ = shelf.remove(n));
        }
        self.shelves.retain(|_, s| !s.rows.is_empty() || !s.plain.is_empty() || s.bytes > 0 || s.writing > 0);
    }

    /// Where an answer is, and whose.
    pub(super) fn find(&self, name: AnswerName) -> Option<(&AnswerOwner, AnswerPlace)> {
        self.shelves.iter().find_map(|(owner, s)| {
            let entry = s.rows.get(&name).or_else(|| s.plain.get(&name))?;
            Some((owner, entry.place))
        })
    }

    /// The newest answer to a submission of this owner with this key.
    pub(super) fn by_key(&self, owner: &AnswerOwner, key: &str) -> Option<AnswerName> {
        self.shelves.get(owner)?.keys.get(&key_hash(key)).copied()
    }

    /// Names of the newest answers of one owner, or of all.
    pub(super) fn newest(&self, of: Option<&AnswerOwner>, limit: usize) -> Vec<AnswerName> {
        let shelves = self.shelves.iter().filter(|(owner, _)| of.is_none_or(|of| of == *owner));
        let newest = |s: &BTreeMap<AnswerName, BookEntry>| s.keys().rev().take(limit).copied().collect::<Vec<_>>();
        let mut names: Vec<_> = shelves.flat_map(|(_, s)| [newest(&s.rows), newest(&s.plain)]).flatten().collect();
        names.sort_unstable_by(|a, b| b.cmp(a));
        names.truncate(limit);
        names
    }

    /// Bytes and number of the owner's answers with rows, and what those with the same limit have together.
    fn taken(&self, owner: &AnswerOwner) -> ((u64, usize), (u64, usize)) {
        let own = self.shelves.get(owner).map_or((0, 0), |s| (s.bytes, s.answers()));
        let others = self.shelves.iter().filter(|(o, _)| **o != AnswerOwner::Operator);
        (own, others.fold((0, 0), |(bytes, n), (_, s)| (bytes + s.bytes, n + s.answers())))
    }

    /// Whether an answer with rows may have so many bytes more; `new`: it is one more.
    fn has_room(&self, owner: &AnswerOwner, bytes: u64, new: usize) -> bool {
        let l = &self.limits;
        let ((own_bytes, own), (all_bytes, all)) = self.taken(owner);
        match owner {
            AnswerOwner::Operator => own_bytes + bytes <= l.operator_bytes && own + new <= l.operator_answers,
            _ => {
                own_bytes + bytes <= l.owner_bytes
                    && own + new <= l.owner_answers
                    && all_bytes + bytes <= l.all_bytes
                    && all + new <= l.all_answers
            }
        }
    }

    /// Whether another answer with rows may be begun.
    ///
    /// # Errors
    /// [`AnswersFull`].
    pub(super) fn room(&self, owner: &AnswerOwner, bytes: u64) -> Result<(), AnswersFull> {
        if self.has_room(owner, bytes, 1) {
            return Ok(());
        }
        let ((own_bytes, own), (all_bytes, all)) = self.taken(owner);
        let l = &self.limits;
        // Its own room, or what it has together with the others.
        let its_own = *owner == AnswerOwner::Operator || own_bytes + bytes > l.owner_bytes || own >= l.owner_answers;
        let (whose, answers, bytes) = match its_own {
            true => (owner.shown(), own, own_bytes),
            false => ("all tokens and drop folders together".to_owned(), all, all_bytes),
        };
        Err(AnswersFull { whose, answers, mib: bytes >> 20 })
    }

    /// Takes room for an answer that is being written; `begins`: these are its first bytes.
    pub(super) fn reserve(&mut self, owner: &AnswerOwner, bytes: u64, begins: bool) -> bool {
        if !self.has_room(owner, bytes, usize::from(begins)) {
            return false;
        }
        let shelf = self.shelves.entry(owner.clone()).or_default();
        shelf.bytes += bytes;
        shelf.writing += usize::from(begins);
        true
    }

    /// An answer that was being written is no more: it is kept, or given up.
    pub(super) fn release(&mut self, owner: &AnswerOwner, bytes: u64) {
        // Nothing was begun that took no room.
        if let Some(shelf) = self.shelves.get_mut(owner).filter(|_| bytes > 0) {
            shelf.bytes = shelf.bytes.saturating_sub(bytes);
            shelf.writing = shelf.writing.saturating_sub(1);
        }
    }

    /// An answer with rows has grown, by what was corrected of it.
    pub(super) fn grow(&mut self, name: AnswerName, bytes: u64) -> bool {
        let Some(owner) = self.find(name).map(|(owner, _)| owner.clone()) else { return false };
        if !self.has_room(&owner, bytes, 0) {
            return false;
        }
        let Some(shelf) = self.shelves.get_mut(&owner) else { return false };
        if let Some(BookEntry { place: AnswerPlace::Folder(size), .. }) = shelf.rows.get_mut(&name) {
            *size += bytes;
            shelf.bytes += bytes;
        }
        true
    }

    /// Every answer in a folder: whose, its bytes, whether it has rows, and its key.
    pub(super) fn folders(&self) -> impl Iterator<Item = (&AnswerOwner, AnswerName, u64, bool, Option<KeyHash>)> {
        self.shelves.iter().flat_map(|(owner, s)| {
            let all = s.rows.iter().map(|e| (e, true)).chain(s.plain.iter().map(|e| (e, false)));
            all.filter_map(move |((name, e), with_rows)| match e.place {
                AnswerPlace::Folder(bytes) => Some((owner, *name, bytes, with_rows, e.key)),
                AnswerPlace::Line { .. } => None,
            })
        })
    }

    /// Whose answers there are.
    pub(super) fn owners(&self) -> Vec<AnswerOwner> {
        self.shelves.keys().cloned().collect()
    }

    /// Whether an answer still is a line of this file.
    pub(super) fn has_lines(&self, owner: &AnswerOwner, number: u32) -> bool {
        let in_file = |e: &BookEntry| matches!(e.place, AnswerPlace::Line { file, .. } if file == number);
        self.shelves.get(owner).is_some_and(|s| s.plain.values().any(in_file))
    }

    /// Answers, keys and days that are in memory.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        let answers = self.shelves.values().map(|s| s.rows.len() + s.plain.len()).sum();
        (answers, self.shelves.values().map(|s| s.keys.len()).sum(), self.numbers.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_nothing_else_does() {
        let division = Division::try_from(350_102).unwrap();
        for id in ["350102-20261125-0007", "350102-20261125-12345"] {
            assert_eq!(AnswerName::read(id, division).unwrap().id(division), id);
        }
        for id in ["350103-20261125-0007", "350102-20261125-7", "350102-2026112-0007", "../x", "", "350102-20261125-"] {
            assert_eq!(AnswerName::read(id, division), None, "{id}");
        }
    }

    #[test]
    fn each_has_room_of_its_own_and_the_operator_besides() {
        let limits = KeptLimits { owner_bytes: 100, all_bytes: 150, operator_bytes: 50, ..KeptLimits::default() };
        let mut book = AnswerBook::new(limits);
        let token = |name: &str| AnswerOwner::Token(name.to_owned());
        assert!(book.reserve(&token("a"), 90, true) && !book.reserve(&token("a"), 11, false));
        assert!(book.room(&token("a"), 11).unwrap_err().to_string().starts_with("the token a has 1 answers"));
        assert!(book.reserve(&token("b"), 60, true) && !book.reserve(&token("c"), 1, true));
        assert!(book.room(&token("c"), 1).unwrap_err().to_string().starts_with("all tokens"));
        assert!(book.reserve(&AnswerOwner::Operator, 50, true) && book.room(&AnswerOwner::Operator, 1).is_err());
        book.release(&token("a"), 90);
        assert!(book.room(&token("c"), 90).is_ok() && book.room(&token("a"), 91).is_err());
    }
}
