//! An answer while it is being kept: its rows go into a folder that gets its name when everything in it is on the disk.
//!
//! Until then nobody finds it, and if it is dropped nothing of that folder stays. Room is taken before anything is written, so
//! that the answers of all together never take more than they may; a row for which there is none is counted. How rows are
//! judged is not known here.

use super::{
    AnswerOwner, Correction, KeptRow, SubmissionMeta, SubmissionStore,
    corrections::{self, CorrectionFile},
    model::StoredRow,
    phrases::{self, PhraseBook},
    store::{self, META_FILE, ROWS_FILE},
};
use crate::{
    TableColumns, blocking,
    submission::{RowsNotKept, SubmissionAnswer},
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

/// Most answers of which one submission corrects rows.
const ANSWERS_CORRECTED_MAX: usize = 64;
/// Most rows of answers given before that one submission corrects, as far as it is kept: some 5 MB of memory.
const CORRECTIONS_MAX: u64 = 200_000;
/// An answer with rows counts for so many bytes at least: its folder and files take as much of a disk.
pub(super) const LEAST_BYTES: u64 = 16 << 10;
/// Longest head of a column that is kept, in bytes; no field of a catalog has so long a name.
const HEAD_BYTES_MAX: usize = 200;

/// Writes an answer, row by row. Nothing is on the disk before the first row; if it is dropped before
/// [`AnswerWriter::finish`], nothing stays. A submission that broke off has no answer: it is given when the same is sent
/// again.
#[derive(Debug)]
pub struct AnswerWriter {
    store: SubmissionStore,
    owner: AnswerOwner,
    meta: SubmissionMeta,
    rows: Option<BufWriter<File>>,
    /// The folder that it has made, as long as that is no answer: it goes with the writer.
    unfinished: Option<PathBuf>,
    rows_kept: u64,
    /// Bytes for which room was taken.
    reserved: u64,
    /// Bytes of rows and phrases.
    bytes: u64,
    phrases: PhraseBook,
    not_kept: Option<RowsNotKept>,
    /// Answers given before of which rows are corrected; `None`: it is not the submitter's, or is gone.
    corrected: BTreeMap<String, Option<CorrectionFile>>,
    corrections: u64,
}

impl AnswerWriter {
    pub(super) fn new(store: SubmissionStore, meta: SubmissionMeta) -> Self {
        Self {
            owner: meta.owner(),
            store,
            meta,
            rows: None,
            unfinished: None,
            rows_kept: 0,
            reserved: 0,
            bytes: 0,
            phrases: PhraseBook::default(),
            not_kept: None,
            corrected: BTreeMap::new(),
            corrections: 0,
        }
    }

    /// The heads of the input's table were found.
    pub fn table_found(&mut self, columns: &TableColumns, category: &str) {
        let head = |h: &String| tally_protocol::bounded::cut(h, HEAD_BYTES_MAX).to_owned();
        self.meta.heads = columns.heads.iter().map(head).collect();
        self.meta.category.get_or_insert_with(|| category.to_owned());
    }

    /// Keeps rows as far as there is room, and that rows of answers given before were corrected.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&mut self, rows: Vec<KeptRow>, corrections: &[Correction]) -> io::Result<()> {
        for correction in corrections {
            self.correct(correction)?;
        }
        for row in rows {
            self.keep(row)?;
        }
        Ok(())
    }

    /// Once a row was not kept, none after it is: those that are kept are the first ones.
    fn keep(&mut self, row: KeptRow) -> io::Result<()> {
        let (line, limits) = (row.line, self.store.limits());
        if self.not_kept.is_none() && self.rows_kept < limits.answer_rows {
            let known = self.phrases.len();
            let mut text = serde_json::to_vec(&StoredRow::new(row, &mut self.phrases))?;
            text.push(b'\n');
            let more = (text.len() + self.phrases.bytes_from(known)) as u64;
            if self.bytes + more <= limits.answer_bytes && self.has_room(self.bytes + more) {
                self.begin()?.write_all(&text)?;
                (self.bytes, self.rows_kept) = (self.bytes + more, self.rows_kept + 1);
                return Ok(());
            }
        }
        RowsNotKept::count(&mut self.not_kept, line);
        Ok(())
    }

    /// Takes room for all of the answer's bytes until now.
    fn has_room(&mut self, bytes: u64) -> bool {
        let wanted = bytes.max(LEAST_BYTES);
        let more = wanted.saturating_sub(self.reserved);
        let has = more == 0 || self.store.reserve(&self.owner, more, self.reserved == 0);
        if has {
            self.reserved = self.reserved.max(wanted);
        }
        has
    }

    fn correct(&mut self, correction: &Correction) -> io::Result<()> {
        self.corrections += 1;
        if self.corrections > CORRECTIONS_MAX {
            return Ok(());
        }
        let answer = &correction.reply.answer;
        if !self.corrected.contains_key(answer) {
            if self.corrected.len() == ANSWERS_CORRECTED_MAX {
                return Ok(());
            }
            let of = self.store.load(answer)?.filter(|of| self.meta.may_correct(of));
            // An answer without rows has none that could be corrected.
            let folder = of.and_then(|_| self.store.folder(answer));
            let file = folder.map(|f| CorrectionFile::open(&f.join(corrections::FILE))).transpose()?;
            self.corrected.insert(answer.clone(), file);
        }
        if let Some(Some(file)) = self.corrected.get_mut(answer) {
            let store = &self.store;
            file.add(correction, |bytes| store.grow(answer, bytes))?;
        }
        Ok(())
    }

    /// Ends the answer. It is kept if there is a row to look at, if rows are staged, or if the client named a key for it; then
    /// its name is told in the answer, and which rows were not kept.
    ///
    /// # Errors
    /// The system's.
    pub fn finish(&mut self, answer: &mut SubmissionAnswer, digest: Option<String>) -> io::Result<()> {
        for (answer, mut file) in std::mem::take(&mut self.corrected).into_iter().filter_map(|(a, f)| Some((a, f?))) {
            file.flush(|bytes| self.store.grow(&answer, bytes))?;
        }
        answer.not_kept = self.not_kept;
        let wanted = self.meta.idempotency_key.is_some() || answer.staged > 0 || self.not_kept.is_some();
        if self.rows.is_none() && !wanted {
            return Ok(());
        }
        self.meta.digest = digest;
        self.meta.answered(answer);
        if self.rows.is_none() {
            self.meta.id = self.store.next_id();
            if self.store.put_plain(&self.meta)?.is_none() {
                self.put_folder()?;
            }
        } else {
            self.put_folder()?;
        }
        answer.answer = Some(self.meta.id.clone());
        Ok(())
    }

    fn put_folder(&mut self) -> io::Result<()> {
        self.begin()?;
        let part = self.part();
        if let Some(rows) = self.rows.take() {
            rows.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        }
        let meta = serde_json::to_vec_pretty(&self.meta).map_err(io::Error::other)?;
        put(&part.join(phrases::FILE), &serde_json::to_vec(self.phrases.phrases()).map_err(io::Error::other)?)?;
        put(&part.join(META_FILE), &meta)?;
        let folder = self.store.dir().join(&self.meta.id);
        fs::rename(&part, &folder)?;
        self.unfinished = Some(folder);
        store::sync(self.store.dir())?;
        self.unfinished = None;
        let bytes = (self.bytes + meta.len() as u64).max(LEAST_BYTES);
        self.store.is_kept(&self.meta, (std::mem::take(&mut self.reserved), bytes))
    }

    fn part(&self) -> PathBuf {
        self.store.dir().join(format!("{}.part", self.meta.id))
    }

    fn begin(&mut self) -> io::Result<&mut BufWriter<File>> {
        if self.rows.is_none() {
            if self.meta.id.is_empty() {
                self.meta.id = self.store.next_id();
            }
            let part = self.part();
            fs::create_dir(&part)?;
            self.unfinished = Some(part.clone());
            self.rows = Some(BufWriter::new(File::create(part.join(ROWS_FILE))?));
        }
        self.rows.as_mut().ok_or_else(|| io::Error::other("no file of rows"))
    }
}

/// A new file, durable but for its name.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

impl Drop for AnswerWriter {
    fn drop(&mut self) {
        if self.reserved > 0 {
            self.store.release(&self.owner, self.reserved);
        }
        if let Some(unfinished) = self.unfinished.take() {
            let rows = self.rows.take();
            blocking::detached(move || {
                drop(rows);
                let _ = fs::remove_dir_all(unfinished);
            });
        }
    }
}
