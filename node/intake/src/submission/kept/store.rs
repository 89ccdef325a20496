//! The folder of kept submissions: their names, their numbers, and by which keys clients find them again.
//!
//! The folder is the truth: numbers and keys are in memory and read from it at a start, and what a stop left half written is
//! cleared away then. No name of a kept answer is given twice. What a row says and who may see an answer is not known here.

use super::{AnswerWriter, KeptSubmission, SubmissionMeta};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tally_protocol::ids::Division;

/// Days that an answer is kept.
pub const KEPT_DAYS: i32 = 90;
/// Name of the token, and the client's own key.
type ClientKey = (Option<String>, String);

/// The store. One per node; clones share it.
#[derive(Debug, Clone)]
pub struct SubmissionStore {
    dir: PathBuf,
    division: Division,
    /// Highest number of each day.
    numbers: Arc<Mutex<BTreeMap<String, u32>>>,
    /// Answers by name of the token and the client's own key.
    keys: Arc<Mutex<BTreeMap<ClientKey, String>>>,
}

fn valid(id: &str) -> bool {
    id.len() <= 64 && !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit() || b == b'-')
}

impl SubmissionStore {
    /// Opens the folder, makes it if it is missing, and clears away what a stop left half written.
    ///
    /// # Errors
    /// The system's.
    pub fn open(dir: PathBuf, division: Division) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        let store = Self { dir, division, numbers: Arc::default(), keys: Arc::default() };
        store.prune()?;
        for name in store.names()? {
            if let Some((day, number)) = name.rsplit_once('-')
                && let Ok(number) = number.parse::<u32>()
            {
                let mut numbers = store.numbers.lock().unwrap_or_else(PoisonError::into_inner);
                let highest = numbers.entry(day.to_owned()).or_default();
                *highest = number.max(*highest);
            }
            if let Ok(Some(SubmissionMeta { id, token, idempotency_key: Some(key), .. })) = store.load(&name) {
                store.keys.lock().unwrap_or_else(PoisonError::into_inner).insert((token, key), id);
            }
        }
        Ok(store)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.dir)?.filter_map(|e| e.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|n| valid(n)).collect();
        // A day may have more than 9,999.
        let place = |(day, n): (&str, &str)| (day.to_owned(), n.parse::<u32>().unwrap_or(0));
        names.sort_by_cached_key(|n| n.rsplit_once('-').map(place));
        Ok(names)
    }

    /// Clears away what a stop left half written.
    ///
    /// # Errors
    /// The system's.
    fn prune(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().ends_with(".part") {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// Clears away answers older than [`KEPT_DAYS`] on the day that is told. A day that is wrong removes what should stay, so
    /// whoever asks answers for it.
    ///
    /// # Errors
    /// The system's.
    pub fn prune_old(&self, today: jiff::civil::Date) -> io::Result<()> {
        for name in self.names()? {
            let day = name.split('-').nth(1).and_then(|d| jiff::civil::Date::strptime("%Y%m%d", d).ok());
            if day.is_some_and(|d| (today - d).get_days() > KEPT_DAYS) {
                fs::remove_dir_all(self.dir.join(name))?;
            }
        }
        Ok(())
    }

    /// Starts to keep an answer; nothing is written before its first row.
    pub fn writer(&self, meta: SubmissionMeta) -> AnswerWriter {
        AnswerWriter::new(self.clone(), meta)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder of an answer.
    pub(super) fn folder(&self, id: &str) -> PathBuf {
        self.dir.join(id)
    }

    /// An answer is on the disk now: the client finds it by its key.
    pub(super) fn is_kept(&self, meta: &SubmissionMeta) {
        if let Some(key) = &meta.idempotency_key {
            let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            keys.insert((meta.token.clone(), key.clone()), meta.id.clone());
        }
    }

    pub(super) fn next_id(&self) -> String {
        let day = format!("{}-{}", self.division, tally_clock::today().strftime("%Y%m%d"));
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let number = numbers.entry(day.clone()).or_default();
        *number += 1;
        format!("{day}-{number:04}")
    }

    /// The newest answers that are wanted first, at most `limit`.
    ///
    /// # Errors
    /// The system's.
    pub fn list(&self, limit: usize, wanted: impl Fn(&SubmissionMeta) -> bool) -> io::Result<Vec<SubmissionMeta>> {
        let names = self.names()?;
        Ok(names.iter().rev().filter_map(|n| self.load(n).ok().flatten()).filter(wanted).take(limit).collect())
    }

    /// An answer; `None`: there is none of this name.
    ///
    /// # Errors
    /// The system's.
    pub fn load(&self, id: &str) -> io::Result<Option<SubmissionMeta>> {
        if !valid(id) {
            return Ok(None);
        }
        match fs::read(self.folder(id).join("answer.json")) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).map_err(io::Error::other)?)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The newest answer to a submission for which the client named this key.
    ///
    /// # Errors
    /// The system's.
    pub fn by_key(&self, token: Option<&str>, key: &str) -> io::Result<Option<SubmissionMeta>> {
        let key = (token.map(str::to_owned), key.to_owned());
        let id = self.keys.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        id.map_or(Ok(None), |id| self.load(&id))
    }

    /// An answer with its rows.
    ///
    /// # Errors
    /// The system's.
    pub fn open_kept(&self, id: &str) -> io::Result<Option<KeptSubmission>> {
        let Some(meta) = self.load(id)? else { return Ok(None) };
        Ok(Some(KeptSubmission { meta, rows: self.folder(id).join("rows.ndjson") }))
    }
}

pub(super) fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        RawRow, RowKey,
        submission::{KeptRow, SubmissionAnswer},
    };
    use tally_protocol::finding::Finding;

    #[test]
    fn answers_are_kept_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let division = Division::try_from(350_102).unwrap();
        let open = || SubmissionStore::open(dir.path().join("answers"), division).unwrap();
        let store = open();
        let mut nothing = store.writer(SubmissionMeta::default());
        assert_eq!(nothing.finish(&SubmissionAnswer::default(), None).unwrap(), None);
        let mut writer = store.writer(SubmissionMeta { source: "cli".into(), ..SubmissionMeta::default() });
        let finding = || vec![Finding::reject("V001", "subject_name", "empty", "空")];
        let cells = vec!["福州\n\"甲\"".to_owned(), "001".to_owned()];
        let row = KeptRow::new(3, &RawRow::Cells(&cells), finding(), Some(&RowKey::default()), None);
        writer.write(&[row], &[]).unwrap();
        let answer = SubmissionAnswer { read: 5, rejected: 1, ..SubmissionAnswer::default() };
        let id = writer.finish(&answer, None).unwrap().unwrap();
        drop(writer);
        let broken = KeptRow::new(1, &RawRow::Line(b"{"), finding(), None, None);
        let mut dropped = store.writer(SubmissionMeta::default());
        dropped.write(std::slice::from_ref(&broken), &[]).unwrap();
        drop(dropped);
        assert_eq!(fs::read_dir(dir.path().join("answers")).unwrap().count(), 1, "nothing stays of it");
        let mut half = store.writer(SubmissionMeta::default());
        half.write(&[broken], &[]).unwrap();
        assert_eq!(store.list(10, |_| true).unwrap().len(), 1, "one is under way");
        std::mem::forget(half);
        let store = open();
        let list = store.list(10, |_| true).unwrap();
        assert_eq!((list.len(), list[0].id.as_str(), list[0].read), (1, id.as_str(), 5));
        let kept = store.open_kept(&id).unwrap().unwrap();
        let rows: Vec<_> = kept.rows().unwrap().map(Result::unwrap).collect();
        assert_eq!((rows[0].line, &rows[0].cells, rows[0].findings[0].code.as_str()), (3, &cells, "V001"));
        let again = kept.answer().unwrap();
        assert_eq!((again.read, again.rejected, again.errors[0].line), (5, 1, 3));
        assert!(store.load("../x").unwrap().is_none() && store.load("350102-20990101-0001").unwrap().is_none());
        let day = tally_clock::today();
        let later = |days: i32| day.checked_add(jiff::Span::new().days(days)).unwrap();
        store.prune_old(later(KEPT_DAYS)).unwrap();
        assert!(store.load(&id).unwrap().is_some());
        assert!(id.ends_with("-0001") && store.next_id().ends_with("-0002"), "numbers go on after a start");
        store.prune_old(later(KEPT_DAYS + 1)).unwrap();
        assert!(store.load(&id).unwrap().is_none(), "too old");
    }
}
