//! A kept submission, read back.

use super::{KeptRow, SubmissionMeta, corrections, model::StoredRow, phrases::Phrases};
use crate::submission::{ListedErrors, SubmissionAnswer};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _},
    path::PathBuf,
};
use tally_protocol::record::RecordId;

/// Longest line of a kept row that is read back, in bytes.
const ROW_BYTES_MAX: u64 = 4 << 20;

/// A submission that is kept, with its rows on the disk.
#[derive(Debug, Clone)]
pub struct KeptSubmission {
    /// Without its rows.
    pub meta: SubmissionMeta,
    /// None: it has none.
    pub(super) rows: Option<PathBuf>,
    pub(super) phrases: Phrases,
}

impl KeptSubmission {
    /// Records by which rows of these lines were corrected, by line, and when, POSIX seconds.
    ///
    /// # Errors
    /// The system's.
    pub fn corrections(&self, wanted: &BTreeSet<u64>) -> io::Result<BTreeMap<u64, (RecordId, u64)>> {
        let file = self.rows.as_ref().map(|rows| rows.with_file_name(corrections::FILE));
        file.map_or_else(|| Ok(BTreeMap::new()), |file| corrections::read(&file, wanted))
    }

    /// Its rows, in order.
    ///
    /// # Errors
    /// The system's.
    pub fn rows(&self) -> io::Result<impl Iterator<Item = io::Result<KeptRow>> + use<>> {
        Ok(self.rows_from(0)?.map(|row| row.map(|(row, _)| row)))
    }

    /// Its rows from a place on, each with the place behind it.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::InvalidInput`] if no row begins there.
    pub fn rows_from(&self, place: u64) -> io::Result<impl Iterator<Item = io::Result<(KeptRow, u64)>> + use<>> {
        let mut file = self.rows.as_ref().map(File::open).transpose()?;
        if let Some(before) = place.checked_sub(1) {
            let mut end = [0];
            let file = file.as_mut().ok_or(io::ErrorKind::InvalidInput)?;
            file.seek(io::SeekFrom::Start(before))?;
            if file.read(&mut end)? != 1 || end != *b"\n" {
                return Err(io::ErrorKind::InvalidInput.into());
            }
        }
        let (mut file, mut place, phrases) = (file.map(BufReader::new), place, self.phrases.clone());
        Ok(std::iter::from_fn(move || {
            let mut line = Vec::new();
            match io::Read::take(file.as_mut()?, ROW_BYTES_MAX).read_until(b'\n', &mut line) {
                Ok(0) => None,
                Ok(n) => {
                    place += n as u64;
                    let stored = serde_json::from_slice::<StoredRow>(&line).map_err(io::Error::other);
                    Some(stored.and_then(|row| Ok((row.worded(&phrases)?, place))))
                }
                Err(e) => Some(Err(e)),
            }
        }))
    }

    /// The answer as it was given.
    ///
    /// # Errors
    /// The system's.
    pub fn answer(&self) -> io::Result<SubmissionAnswer> {
        let m = &self.meta;
        let mut answer = SubmissionAnswer {
            read: m.read,
            accepted: m.accepted,
            staged: m.staged,
            staged_because: m.staged_because.clone(),
            staged_lost: m.staged_lost,
            staged_runs: m.staged_runs.clone(),
            duplicate: m.duplicate,
            rejected: m.rejected,
            questions: m.questions,
            log: m.log.clone(),
            from: m.from,
            to: m.to,
            errors: Vec::new(),
            errors_omitted: 0,
            not_kept: m.not_kept,
            ended: m.ended.clone(),
            notes: m.notes.clone(),
            answer: Some(m.id.clone()),
            format: m.format.clone(),
            trial: None,
        };
        let mut errors = ListedErrors::default();
        for row in self.rows()? {
            let row = row?;
            row.findings.iter().for_each(|f| errors.say(row.line, f));
        }
        (answer.errors, answer.errors_omitted) = errors.into_parts();
        Ok(answer)
    }
}
