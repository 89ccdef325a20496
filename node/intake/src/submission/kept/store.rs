//! The folder of kept submissions: what is in it, and by which names and keys it is found again.
//!
//! The folder is the truth: what is in memory is read from it at a start, and what a stop left half written is cleared away
//! then. A start reads a short line for each answer, and an answer itself only if it has none. No name of a kept answer is
//! given twice. What a row says and who may see an answer is not known here.

use super::{
    AnswerOwner, AnswerWriter, AnswersFull, KeptLimits, KeptSubmission, SubmissionMeta,
    book::{AnswerBook, AnswerName, AnswerPlace, KeyHash, key_hash},
    corrections,
    index::{self, IndexLine},
    phrases::{self, Phrases},
    plain::PlainFiles,
};
use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tally_protocol::ids::Division;

/// Days that an answer is kept.
pub const KEPT_DAYS: i32 = 90;
/// Files of an answer with rows.
pub(super) const META_FILE: &str = "answer.json";
/// See [`META_FILE`].
pub(super) const ROWS_FILE: &str = "rows.ndjson";

/// The store. One per node; clones share it.
#[derive(Debug, Clone)]
pub struct SubmissionStore {
    dir: PathBuf,
    division: Division,
    book: Arc<Mutex<AnswerBook>>,
    plain: PlainFiles,
    /// Held while the index is written.
    index: Arc<Mutex<()>>,
}

fn day_of(day: jiff::civil::Date) -> u32 {
    day.strftime("%Y%m%d").to_string().parse().unwrap_or(0)
}

impl SubmissionStore {
    /// Opens the folder, makes it if it is missing, and clears away what a stop left half written.
    ///
    /// # Errors
    /// The system's.
    pub fn open(dir: PathBuf, division: Division) -> io::Result<Self> {
        Self::open_within(dir, division, KeptLimits::default())
    }

    /// The same with other limits.
    ///
    /// # Errors
    /// The system's.
    pub fn open_within(dir: PathBuf, division: Division, limits: KeptLimits) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        let mut book = AnswerBook::new(limits);
        let mut indexed = index::read(&dir, division)?;
        let mut unindexed = false;
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(id) = name.to_str() else { continue };
            if id.ends_with(".part") {
                fs::remove_dir_all(entry.path())?;
                continue;
            }
            let Some(name) = AnswerName::read(id, division) else { continue };
            book.seen(name);
            let line = indexed.remove(&name).filter(|line| !line.gone);
            unindexed |= line.is_none();
            // An answer that cannot be read costs itself.
            let Some(line) = line.or_else(|| line_of(&entry.path(), id)) else { continue };
            let corrected = fs::metadata(entry.path().join(corrections::FILE)).map_or(0, |m| m.len());
            let place = (AnswerPlace::Folder(line.bytes + corrected), line.rows);
            let (key, owner) = (line.key(), line.into_owner());
            // Too many without rows go when old ones are cleared away, not at the start.
            book.add_all(owner, name, place, key);
        }
        let plain = PlainFiles::open(dir.join("plain"), limits.plain_answers, |head, place| {
            if let Some(name) = AnswerName::read(&head.id, division) {
                book.add_all(head.owner(), name, (place, false), head.key());
            }
        })?;
        // Their answers were removed: their names are not given to others.
        indexed.keys().for_each(|name| book.seen(*name));
        if unindexed || indexed.keys().any(|name| book.highest().all(|highest| highest != *name)) {
            index::write(&dir, index::lines(&book, division))?;
        }
        Ok(Self { dir, division, book: Arc::new(Mutex::new(book)), plain, index: Arc::default() })
    }

    fn book(&self) -> MutexGuard<'_, AnswerBook> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much may be kept.
    pub fn limits(&self) -> KeptLimits {
        *self.book().limits()
    }

    /// Whether rows may be handed in, as far as answers to them can be kept.
    ///
    /// # Errors
    /// [`AnswersFull`].
    pub fn room(&self, owner: &AnswerOwner) -> Result<(), AnswersFull> {
        self.book().room(owner, super::writer::LEAST_BYTES)
    }

    /// Clears away answers older than [`KEPT_DAYS`] on the day that is told, and what is in memory of them. A day that is
    /// wrong removes what should stay, so whoever asks answers for it.
    ///
    /// # Errors
    /// The system's.
    pub fn prune_old(&self, today: jiff::civil::Date) -> io::Result<()> {
        let first = day_of(today.saturating_sub(jiff::Span::new().days(KEPT_DAYS)));
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name().to_str().and_then(|id| AnswerName::read(id, self.division));
            if name.is_some_and(|n| n.day < first) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let (gone, owners) = {
            let mut book = self.book();
            book.forget_before(first);
            (book.forget_beyond(), book.owners())
        };
        self.clear(&gone)?;
        self.plain.remove_unwanted(&owners, |owner, file| self.book().has_lines(owner, file))?;
        self.write_index()
    }

    /// Removes the folders of answers that were forgotten.
    fn clear(&self, gone: &[(AnswerName, AnswerPlace)]) -> io::Result<()> {
        for (name, place) in gone {
            if let AnswerPlace::Folder(_) = place {
                remove_folder(&self.dir.join(name.id(self.division)))?;
            }
        }
        Ok(())
    }

    fn write_index(&self) -> io::Result<()> {
        let _one = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        // The book is free while the disk is written to.
        let lines = index::lines(&self.book(), self.division);
        index::write(&self.dir, lines)
    }

    /// Removes an answer with rows; whether there was one of this name.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(&self, id: &str) -> io::Result<bool> {
        let Some(name) = self.name(id) else { return Ok(false) };
        if !matches!(self.place(name), Some((_, AnswerPlace::Folder(_)))) {
            return Ok(false);
        }
        {
            let _one = self.index.lock().unwrap_or_else(PoisonError::into_inner);
            index::add_gone(&self.dir, name, self.division)?;
        }
        remove_folder(&self.dir.join(id))?;
        self.book().remove(name);
        Ok(true)
    }

    /// Starts to keep an answer; nothing is written before its first row.
    pub fn writer(&self, meta: SubmissionMeta) -> AnswerWriter {
        AnswerWriter::new(self.clone(), meta)
    }

    pub(in crate::submission) fn dir(&self) -> &Path {
        &self.dir
    }

    fn name(&self, id: &str) -> Option<AnswerName> {
        AnswerName::read(id, self.division)
    }

    fn place(&self, name: AnswerName) -> Option<(AnswerOwner, AnswerPlace)> {
        self.book().find(name).map(|(owner, place)| (owner.clone(), place))
    }

    /// Takes room for bytes of an answer that is being written; `begins`: these are its first.
    pub(super) fn reserve(&self, owner: &AnswerOwner, bytes: u64, begins: bool) -> bool {
        self.book().reserve(owner, bytes, begins)
    }

    /// An answer that was being written is given up.
    pub(super) fn release(&self, owner: &AnswerOwner, bytes: u64) {
        self.book().release(owner, bytes);
    }

    /// Takes room for what is corrected of an answer.
    pub(super) fn grow(&self, id: &str, bytes: u64) -> bool {
        self.name(id).is_some_and(|name| self.book().grow(name, bytes))
    }

    /// An answer's folder is on the disk now: the client finds it by its name and its key, and it counts.
    pub(super) fn is_kept(&self, meta: &SubmissionMeta, (reserved, bytes): (u64, u64)) -> io::Result<()> {
        let (owner, key) = (meta.owner(), meta.idempotency_key.as_deref().map(key_hash));
        let _one = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = {
            let mut book = self.book();
            book.release(&owner, reserved);
            let name = self.name(&meta.id).ok_or_else(|| io::Error::other("no name of an answer"))?;
            book.add(owner.clone(), name, (AnswerPlace::Folder(bytes), true), key)
        };
        // Without its line the next start reads the answer itself.
        let _ = index::add(&self.dir, &IndexLine::new(meta.id.clone(), owner, (bytes, true), key));
        self.clear(&gone)
    }

    /// Keeps an answer without rows, durable when it returns. None: it is too long for a line.
    pub(super) fn put_plain(&self, meta: &SubmissionMeta) -> io::Result<Option<()>> {
        let line = super::plain::line(meta)?;
        if line.len() >= super::plain::LINE_BYTES_MAX {
            return Ok(None);
        }
        let owner = meta.owner();
        let (place, old_file) = self.plain.put(&owner, &line)?;
        let name = self.name(&meta.id).ok_or_else(|| io::Error::other("no name of an answer"))?;
        let key = meta.idempotency_key.as_deref().map(key_hash);
        let gone = {
            let mut book = self.book();
            if let Some(file) = old_file {
                book.remove_file(&owner, file);
            }
            book.add(owner, name, (place, false), key)
        };
        self.clear(&gone)?;
        Ok(Some(()))
    }

    pub(super) fn next_id(&self) -> String {
        self.book().next(day_of(tally_clock::today())).id(self.division)
    }

    /// The newest answers first, of one owner or of all, at most `limit`. Of others nothing is read.
    ///
    /// # Errors
    /// The system's.
    pub fn list(&self, limit: usize, of: Option<&AnswerOwner>) -> io::Result<Vec<SubmissionMeta>> {
        let names = self.book().newest(of, limit);
        Ok(names.into_iter().filter_map(|n| self.read(n).ok().flatten()).collect())
    }

    /// An answer; `None`: there is none of this name.
    ///
    /// # Errors
    /// The system's.
    pub fn load(&self, id: &str) -> io::Result<Option<SubmissionMeta>> {
        self.name(id).map_or(Ok(None), |name| self.read(name))
    }

    fn read(&self, name: AnswerName) -> io::Result<Option<SubmissionMeta>> {
        let bytes = match self.place(name) {
            None => None,
            Some((owner, AnswerPlace::Line { file, at, bytes })) => self.plain.get(&owner, file, at, bytes)?,
            Some((_, AnswerPlace::Folder(_))) => {
                match fs::read(self.dir.join(name.id(self.division)).join(META_FILE)) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                    read => Some(read?),
                }
            }
        };
        bytes.map(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::other)).transpose()
    }

    /// The newest answer to a submission for which the client named this key.
    ///
    /// # Errors
    /// The system's.
    pub fn by_key(&self, owner: &AnswerOwner, key: &str) -> io::Result<Option<SubmissionMeta>> {
        let name = self.book().by_key(owner, key);
        name.map_or(Ok(None), |name| self.read(name))
    }

    /// The folder of an answer that is in one.
    pub(super) fn folder(&self, id: &str) -> Option<PathBuf> {
        let in_folder = matches!(self.place(self.name(id)?)?, (_, AnswerPlace::Folder(_)));
        in_folder.then(|| self.dir.join(id))
    }

    /// An answer with its rows.
    ///
    /// # Errors
    /// The system's.
    pub fn open_kept(&self, id: &str) -> io::Result<Option<KeptSubmission>> {
        let Some(meta) = self.load(id)? else { return Ok(None) };
        let folder = self.folder(id);
        let phrases = folder.as_deref().map(read_phrases).transpose()?.unwrap_or_default();
        Ok(Some(KeptSubmission { meta, rows: folder.map(|f| f.join(ROWS_FILE)), phrases }))
    }

    /// Answers, keys and days that are in memory.
    #[cfg(test)]
    pub(in crate::submission) fn sizes(&self) -> (usize, usize, usize) {
        self.book().sizes()
    }
}

/// The phrases of an answer; one of a program before this has none.
fn read_phrases(folder: &Path) -> io::Result<Phrases> {
    let file = match File::open(folder.join(phrases::FILE)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Phrases::default()),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(phrases::FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    serde_json::from_slice(&bytes).map_err(io::Error::other)
}

/// The line of an answer that has none yet: one that a program before this kept, or that a stop came after.
fn line_of(folder: &Path, id: &str) -> Option<IndexLine> {
    let meta: SubmissionMeta = serde_json::from_slice(&fs::read(folder.join(META_FILE)).ok()?).ok()?;
    let size = |file: &str| fs::metadata(folder.join(file)).map_or(0, |m| m.len());
    let rows = size(ROWS_FILE);
    let bytes = rows + size(META_FILE) + size(phrases::FILE);
    let key: Option<KeyHash> = meta.idempotency_key.as_deref().map(key_hash);
    Some(IndexLine::new(id.to_owned(), meta.owner(), (bytes.max(super::writer::LEAST_BYTES), rows > 0), key))
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

pub(super) fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests;
