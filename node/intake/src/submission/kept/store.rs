//! The folder of kept answers.

use super::{
    KeptRow, Meta,
    corrections::{self, Corrected, Corrections},
};
use crate::{Answer, Keeper, Raw, Reply, RowKey};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, BufRead as _, BufReader, BufWriter, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tally_protocol::{finding::Finding, ids::Division, record::RecordId};

/// Days that an answer is kept.
pub const KEPT_DAYS: i32 = 90;
/// Most bytes of a row that are kept; as JSON, control characters take six.
const KEPT_BYTES_MAX: usize = 512 << 10;
/// Most answers of which one submission corrects rows.
const ANSWERS_CORRECTED_MAX: usize = 64;
/// Longest line of a kept row that is read back, in bytes.
const ROW_BYTES_MAX: u64 = 4 << 20;

/// Name of the token, and the client's own key.
type ClientKey = (Option<String>, String);

/// The store. One per node.
#[derive(Debug, Clone)]
pub struct Store {
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

impl Store {
    /// Opens the folder, makes it if it is missing, and clears away what a stop left half written and what is older than
    /// [`KEPT_DAYS`].
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
            if let Ok(Some(Meta { id, token, idempotency_key: Some(key), .. })) = store.load(&name) {
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

    /// Clears away what is too old, and at a start what is half written.
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
        self.prune_old()
    }

    /// Clears away answers older than [`KEPT_DAYS`].
    ///
    /// # Errors
    /// The system's.
    pub fn prune_old(&self) -> io::Result<()> {
        let today = tally_clock::today();
        for name in self.names()? {
            let day = name.split('-').nth(1).and_then(|d| jiff::civil::Date::strptime("%Y%m%d", d).ok());
            if day.is_some_and(|d| (today - d).get_days() > KEPT_DAYS) {
                fs::remove_dir_all(self.dir.join(name))?;
            }
        }
        Ok(())
    }

    /// Starts to keep an answer; nothing is written before its first row.
    pub fn keep(&self, meta: Meta) -> Keeping {
        Keeping(Arc::new(Mutex::new(Open { store: self.clone(), meta, rows: None, corrected: BTreeMap::new() })))
    }

    fn next_id(&self) -> String {
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
    pub fn list(&self, limit: usize, wanted: impl Fn(&Meta) -> bool) -> io::Result<Vec<Meta>> {
        let names = self.names()?;
        Ok(names.iter().rev().filter_map(|n| self.load(n).ok().flatten()).filter(wanted).take(limit).collect())
    }

    /// An answer; `None`: there is none of this name.
    ///
    /// # Errors
    /// The system's.
    pub fn load(&self, id: &str) -> io::Result<Option<Meta>> {
        if !valid(id) {
            return Ok(None);
        }
        match fs::read(self.dir.join(id).join("answer.json")) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).map_err(io::Error::other)?)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The newest answer to a submission for which the client named this key.
    ///
    /// # Errors
    /// The system's.
    pub fn by_key(&self, token: Option<&str>, key: &str) -> io::Result<Option<Meta>> {
        let key = (token.map(str::to_owned), key.to_owned());
        let id = self.keys.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        id.map_or(Ok(None), |id| self.load(&id))
    }

    /// An answer with its rows.
    ///
    /// # Errors
    /// The system's.
    pub fn open_answer(&self, id: &str) -> io::Result<Option<Kept>> {
        let Some(meta) = self.load(id)? else { return Ok(None) };
        Ok(Some(Kept { meta, rows: self.dir.join(id).join("rows.ndjson") }))
    }
}

/// An answer that is kept.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Without its rows.
    pub meta: Meta,
    rows: PathBuf,
}

impl Kept {
    /// Records by which rows of these lines were corrected, by line, and when, POSIX seconds.
    ///
    /// # Errors
    /// The system's.
    pub fn corrections(&self, wanted: &BTreeSet<u64>) -> io::Result<BTreeMap<u64, (RecordId, u64)>> {
        corrections::read(&self.rows.with_file_name(corrections::FILE), wanted)
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
        let mut file = File::open(&self.rows)?;
        if let Some(before) = place.checked_sub(1) {
            let mut end = [0];
            file.seek(io::SeekFrom::Start(before))?;
            if file.read(&mut end)? != 1 || end != *b"\n" {
                return Err(io::ErrorKind::InvalidInput.into());
            }
        }
        let (mut file, mut place) = (BufReader::new(file), place);
        Ok(std::iter::from_fn(move || {
            let mut line = Vec::new();
            match io::Read::take(&mut file, ROW_BYTES_MAX).read_until(b'\n', &mut line) {
                Ok(0) => None,
                Ok(n) => {
                    place += n as u64;
                    Some(serde_json::from_slice(&line).map(|row| (row, place)).map_err(io::Error::other))
                }
                Err(e) => Some(Err(e)),
            }
        }))
    }
}

/// An answer that is being kept.
#[derive(Debug, Clone)]
pub struct Keeping(Arc<Mutex<Open>>);

#[derive(Debug)]
struct Open {
    store: Store,
    meta: Meta,
    rows: Option<BufWriter<File>>,
    /// Answers given before of which rows are corrected; `None`: it is not the submitter's, or is gone.
    corrected: BTreeMap<String, Option<Corrections>>,
}

impl Open {
    fn corrected(&mut self, answer: &str, line: &Corrected) -> io::Result<()> {
        if !self.corrected.contains_key(answer) {
            if self.corrected.len() == ANSWERS_CORRECTED_MAX {
                return Ok(());
            }
            let of = self.store.load(answer)?.filter(|of| self.meta.may_correct(of));
            let path = self.store.dir.join(answer).join(corrections::FILE);
            let corrections = of.map(|_| Corrections::open(&path)).transpose()?;
            self.corrected.insert(answer.to_owned(), corrections);
        }
        let Some(Some(corrections)) = self.corrected.get_mut(answer) else { return Ok(()) };
        corrections.add(line)
    }

    fn part(&self) -> PathBuf {
        self.store.dir.join(format!("{}.part", self.meta.id))
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

    fn finish(&mut self, answer: &Answer) -> io::Result<String> {
        self.begin()?;
        let at = tally_clock::now_ms() / 1_000;
        let m = &mut self.meta;
        (m.read, m.accepted, m.duplicate) = (answer.read, answer.accepted, answer.duplicate);
        (m.log, m.from, m.to) = (answer.log.clone(), answer.from, answer.to);
        (m.rejected, m.questions, m.at) = (answer.rejected, answer.questions, tally_clock::time(at));
        (m.notes, m.format) = (answer.notes.clone(), answer.format.clone());
        let part = self.part();
        if let Some(rows) = self.rows.take() {
            rows.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        }
        let mut file = File::create(part.join("answer.json"))?;
        file.write_all(&serde_json::to_vec_pretty(&self.meta).map_err(io::Error::other)?)?;
        file.sync_all()?;
        fs::rename(&part, self.store.dir.join(&self.meta.id))?;
        sync(&self.store.dir)?;
        if let Some(key) = &self.meta.idempotency_key {
            let mut keys = self.store.keys.lock().unwrap_or_else(PoisonError::into_inner);
            keys.insert((self.meta.token.clone(), key.clone()), self.meta.id.clone());
        }
        Ok(self.meta.id.clone())
    }
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

impl Keeping {
    fn with<T>(&self, act: impl FnOnce(&mut Open) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known of the input only while it is read.
    pub fn describe(&self, change: impl FnOnce(&mut Meta)) {
        self.with(|o| change(&mut o.meta));
    }

    /// Ends the answer. It is kept if a row was, or if the client named a key for it; then its name is answered.
    ///
    /// # Errors
    /// The system's.
    pub fn finish(&self, answer: &Answer) -> io::Result<Option<String>> {
        self.with(|o| {
            for mut corrections in std::mem::take(&mut o.corrected).into_values().flatten() {
                corrections.flush()?;
            }
            if o.rows.is_none() && o.meta.idempotency_key.is_none() {
                return Ok(None);
            }
            o.finish(answer).map(Some)
        })
    }
}

impl Keeper for Keeping {
    fn corrected(&mut self, reply: &Reply, by: RecordId) -> Result<(), String> {
        let line = Corrected { line: reply.line, id: by, at: tally_clock::now_ms() / 1_000 };
        self.with(|o| o.corrected(&reply.answer, &line)).map_err(|e| e.to_string())
    }

    fn keep(
        &mut self,
        line: u64,
        raw: &Raw<'_>,
        findings: &[Finding],
        (key, reply): (Option<&RowKey>, Option<&Reply>),
    ) -> Result<(), String> {
        // What is longer than can be read back is kept by its beginning.
        let mut room = KEPT_BYTES_MAX;
        let mut kept = |text: &str| {
            let mut end = text.len().min(room);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            room -= end;
            text[..end].to_owned()
        };
        let (cells, text) = match raw {
            Raw::Line(l) => (Vec::new(), kept(&String::from_utf8_lossy(l))),
            Raw::Cells(c) => (c.iter().map(|c| kept(c)).collect(), String::new()),
        };
        let findings = findings.to_vec();
        let part = |p: fn(&RowKey) -> &String| key.map(p).filter(|p| !p.is_empty()).cloned();
        let row = KeptRow {
            line,
            cells,
            text,
            at: tally_clock::now_ms() / 1_000,
            category: part(|k| &k.category),
            unit: part(|k| &k.unit),
            key: part(|k| &k.business_key),
            reply: reply.map(ToString::to_string),
            findings,
        };
        let write = |o: &mut Open| -> io::Result<()> {
            let rows = o.begin()?;
            serde_json::to_writer(&mut *rows, &row)?;
            rows.write_all(b"\n")
        };
        self.with(write).map_err(|e| e.to_string())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // A submission that broke off has no answer; it is given when the same is sent again.
        if self.rows.take().is_some() {
            let _ = fs::remove_dir_all(self.part());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_kept_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let division = Division::try_from(350_102).unwrap();
        let open = || Store::open(dir.path().join("answers"), division).unwrap();
        let store = open();
        let nothing = store.keep(Meta::default());
        assert_eq!(nothing.finish(&Answer::default()).unwrap(), None);
        let mut kept = store.keep(Meta { source: "cli".into(), ..Meta::default() });
        let finding = Finding::reject("V001", "subject_name", "empty", "空");
        let cells = vec!["福州\n\"甲\"".to_owned(), "001".to_owned()];
        kept.keep(3, &Raw::Cells(&cells), std::slice::from_ref(&finding), (Some(&RowKey::default()), None)).unwrap();
        let broken = kept.clone();
        let id = kept.finish(&Answer { read: 5, rejected: 1, ..Answer::default() }).unwrap().unwrap();
        drop((kept, broken));
        let mut half = store.keep(Meta::default());
        half.keep(1, &Raw::Line(b"{"), &[finding], (None, None)).unwrap();
        assert_eq!(store.list(10, |_| true).unwrap().len(), 1, "one is under way");
        std::mem::forget(half);
        let store = open();
        let list = store.list(10, |_| true).unwrap();
        assert_eq!((list.len(), list[0].id.as_str(), list[0].read), (1, id.as_str(), 5));
        let rows: Vec<_> = store.open_answer(&id).unwrap().unwrap().rows().unwrap().map(Result::unwrap).collect();
        assert_eq!((rows[0].line, &rows[0].cells, rows[0].findings[0].code.as_str()), (3, &cells, "V001"));
        assert!(store.load("../x").unwrap().is_none() && store.load("350102-20990101-0001").unwrap().is_none());
        assert!(id.ends_with("-0001") && store.next_id().ends_with("-0002"), "numbers go on after a start");
    }
}
