//! An answer while it is being kept: its rows go into a folder that gets its name when everything in it is on the disk.
//!
//! Until then nobody finds it, and if it is dropped nothing of that folder stays. How rows are judged is not known here.

use super::{
    Correction, KeptRow, SubmissionMeta, SubmissionStore,
    corrections::{self, CorrectionFile},
    store,
};
use crate::{TableColumns, blocking, submission::SubmissionAnswer};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::PathBuf,
};

/// Most answers of which one submission corrects rows.
const ANSWERS_CORRECTED_MAX: usize = 64;

/// Writes an answer, row by row. Nothing is on the disk before the first row; if it is dropped before
/// [`AnswerWriter::finish`], nothing stays. A submission that broke off has no answer: it is given when the same is sent
/// again.
#[derive(Debug)]
pub struct AnswerWriter {
    store: SubmissionStore,
    meta: SubmissionMeta,
    rows: Option<BufWriter<File>>,
    /// Answers given before of which rows are corrected; `None`: it is not the submitter's, or is gone.
    corrected: BTreeMap<String, Option<CorrectionFile>>,
}

impl AnswerWriter {
    pub(super) fn new(store: SubmissionStore, meta: SubmissionMeta) -> Self {
        Self { store, meta, rows: None, corrected: BTreeMap::new() }
    }

    /// The heads of the input's table were found.
    pub fn table_found(&mut self, columns: &TableColumns, category: &str) {
        self.meta.heads.clone_from(&columns.heads);
        self.meta.category.get_or_insert_with(|| category.to_owned());
    }

    /// Keeps rows, and that rows of answers given before were corrected.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&mut self, rows: &[KeptRow], corrections: &[Correction]) -> io::Result<()> {
        for correction in corrections {
            self.correct(correction)?;
        }
        for row in rows {
            let out = self.begin()?;
            serde_json::to_writer(&mut *out, row)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn correct(&mut self, correction: &Correction) -> io::Result<()> {
        let answer = &correction.reply.answer;
        if !self.corrected.contains_key(answer) {
            if self.corrected.len() == ANSWERS_CORRECTED_MAX {
                return Ok(());
            }
            let of = self.store.load(answer)?.filter(|of| self.meta.may_correct(of));
            let path = self.store.folder(answer).join(corrections::FILE);
            let file = of.map(|_| CorrectionFile::open(&path)).transpose()?;
            self.corrected.insert(answer.clone(), file);
        }
        match self.corrected.get_mut(answer) {
            Some(Some(file)) => file.add(correction),
            _ => Ok(()),
        }
    }

    /// Ends the answer. It is kept if a row was, if rows are staged, or if the client named a key for it; then its name is
    /// answered.
    ///
    /// # Errors
    /// The system's.
    pub fn finish(&mut self, answer: &SubmissionAnswer, digest: Option<String>) -> io::Result<Option<String>> {
        for mut file in std::mem::take(&mut self.corrected).into_values().flatten() {
            file.flush()?;
        }
        if self.rows.is_none() && self.meta.idempotency_key.is_none() && answer.staged == 0 {
            return Ok(None);
        }
        self.begin()?;
        self.meta.digest = digest;
        self.meta.answered(answer);
        let part = self.part();
        if let Some(rows) = self.rows.take() {
            rows.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        }
        let mut file = File::create(part.join("answer.json"))?;
        file.write_all(&serde_json::to_vec_pretty(&self.meta).map_err(io::Error::other)?)?;
        file.sync_all()?;
        fs::rename(&part, self.store.folder(&self.meta.id))?;
        store::sync(self.store.dir())?;
        self.store.is_kept(&self.meta);
        Ok(Some(self.meta.id.clone()))
    }

    fn part(&self) -> PathBuf {
        self.store.dir().join(format!("{}.part", self.meta.id))
    }

    fn begin(&mut self) -> io::Result<&mut BufWriter<File>> {
        if self.rows.is_none() {
            self.meta.id = self.store.next_id();
            let part = self.part();
            fs::create_dir(&part)?;
            self.rows = Some(BufWriter::new(File::create(part.join("rows.ndjson"))?));
        }
        self.rows.as_mut().ok_or_else(|| io::Error::other("no file of rows"))
    }
}

impl Drop for AnswerWriter {
    fn drop(&mut self) {
        if let Some(rows) = self.rows.take() {
            let part = self.part();
            blocking::detached(move || {
                drop(rows);
                let _ = fs::remove_dir_all(part);
            });
        }
    }
}
