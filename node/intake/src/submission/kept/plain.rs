//! Answers without rows: submissions in which all was well, kept because the client named a key, or because rows are staged.
//!
//! Each is one line of a file of its owner's, durable with one flush. An owner has two such files at most: when the newer
//! one is full, the older one goes, with the oldest answers. So what is kept of keys is bounded, however many are named.
//!
//! ```text
//! data/answers/plain/9f86d081884c7d65-00000003.ndjson    one answer a line
//! ```

use super::{
    AnswerOwner, SubmissionMeta,
    book::{AnswerPlace, KeyHash, key_hash},
    store::sync,
};
use crate::InputNote;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Longest line, in bytes: as many runs of staged rows as there may be, and [`NOTES_BYTES`]. A longer answer has a folder.
pub(super) const LINE_BYTES_MAX: usize = 256 << 10;
/// Bytes of notes that a line has, about; beyond them, notes are left out.
const NOTES_BYTES: usize = 32 << 10;
/// Bytes of a file beyond which the next one begins.
const FILE_BYTES: u64 = 8 << 20;

/// The folder of these files; clones share it.
#[derive(Debug, Clone)]
pub(super) struct PlainFiles {
    dir: PathBuf,
    /// Lines after which the next file begins.
    lines_max: usize,
    owners: Arc<Mutex<BTreeMap<String, Arc<Mutex<OwnerFiles>>>>>,
}

/// Files of one owner.
#[derive(Debug, Default)]
struct OwnerFiles {
    /// Number of the newest; 0: there is none.
    newest: u32,
    lines: usize,
    bytes: u64,
    /// Number of an older one, if there is one.
    older: Option<u32>,
}

/// What an answer's line says of it.
#[derive(Debug, Deserialize)]
pub(super) struct PlainHead {
    pub(super) id: String,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    folder: Option<String>,
    #[serde(default)]
    idempotency_key: Option<String>,
}

impl PlainHead {
    pub(super) fn owner(&self) -> AnswerOwner {
        let (token, folder) = (self.token.clone(), self.folder.clone());
        SubmissionMeta { token, folder, ..SubmissionMeta::default() }.owner()
    }

    pub(super) fn key(&self) -> Option<KeyHash> {
        self.idempotency_key.as_deref().map(key_hash)
    }
}

/// An answer as a line, without its end. Without rows to give back, nobody needs the heads of its table.
pub(super) fn line(meta: &SubmissionMeta) -> io::Result<Vec<u8>> {
    let mut room = NOTES_BYTES;
    let bytes = |n: &InputNote| n.field.len() + n.code.len() + n.message.len() + n.message_zh.len() + 64;
    let has_room = |n: &&InputNote| {
        room = room.saturating_sub(bytes(n));
        room > 0
    };
    let notes = meta.notes.iter().take_while(has_room).cloned().collect();
    let meta = SubmissionMeta { notes, heads: Vec::new(), ..meta.clone() };
    serde_json::to_vec(&meta).map_err(io::Error::other)
}

/// What the files of an owner are named by.
fn tag(owner: &AnswerOwner) -> String {
    let (kind, name) = match owner {
        AnswerOwner::Operator => ("operator", ""),
        AnswerOwner::Folder(path) => ("folder", path.as_str()),
        AnswerOwner::Token(name) => ("token", name.as_str()),
    };
    blake3::hash(format!("{kind}:{name}").as_bytes()).to_hex()[..16].to_owned()
}

/// Reads `9f86d081884c7d65-00000003.ndjson`.
fn read_name(name: &str) -> Option<(&str, u32)> {
    let (tag, number) = name.strip_suffix(".ndjson")?.split_once('-')?;
    Some((tag, number.parse().ok()?))
}

impl PlainFiles {
    /// Opens the folder, makes it if it is missing, and hands over every answer in it.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn open(
        dir: PathBuf,
        answers: usize,
        mut found: impl FnMut(PlainHead, AnswerPlace),
    ) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        let mut owners: BTreeMap<String, OwnerFiles> = BTreeMap::new();
        let mut names: Vec<String> =
            fs::read_dir(&dir)?.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
        names.sort_unstable();
        for name in names {
            let Some((tag, number)) = read_name(&name) else { continue };
            let (lines, bytes) = read(&dir.join(&name), number, &mut found)?;
            let files = owners.entry(tag.to_owned()).or_default();
            // A stop came between the beginning of a file and the end of the oldest.
            if let Some(oldest) = files.older.take() {
                fs::remove_file(path(&dir, tag, oldest))?;
            }
            let older = Some(files.newest).filter(|n| *n > 0);
            *files = OwnerFiles { newest: number, lines, bytes, older };
        }
        let owners = owners.into_iter().map(|(tag, files)| (tag, Arc::new(Mutex::new(files)))).collect();
        Ok(Self { dir, lines_max: (answers / 2).max(1), owners: Arc::new(Mutex::new(owners)) })
    }

    fn of(&self, tag: String) -> Arc<Mutex<OwnerFiles>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner).entry(tag).or_default().clone()
    }

    /// Keeps a line, durable when it returns. Answers where it is, and the number of the file that went for it.
    ///
    /// # Errors
    /// The system's; then nothing of the line stays.
    pub(super) fn put(&self, owner: &AnswerOwner, line: &[u8]) -> io::Result<(AnswerPlace, Option<u32>)> {
        let tag = tag(owner);
        let files = self.of(tag.clone());
        let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gone = None;
        if files.newest == 0 || files.lines >= self.lines_max || files.bytes >= FILE_BYTES {
            let number = files.newest.saturating_add(1);
            File::create(path(&self.dir, &tag, number))?.sync_all()?;
            sync(&self.dir)?;
            gone = files.older.take();
            let older = Some(files.newest).filter(|n| *n > 0);
            *files = OwnerFiles { newest: number, lines: 0, bytes: 0, older };
            if let Some(gone) = gone {
                remove(&path(&self.dir, &tag, gone))?;
            }
        }
        let mut file = File::options().write(true).open(path(&self.dir, &tag, files.newest))?;
        file.seek(io::SeekFrom::Start(files.bytes))?;
        let whole = [line, b"\n"].concat();
        if let Err(e) = file.write_all(&whole).and_then(|()| file.sync_data()) {
            // A later line begins where this one did.
            let _ = file.set_len(files.bytes);
            return Err(e);
        }
        let bytes = u32::try_from(line.len()).map_err(io::Error::other)?;
        let place = AnswerPlace::Line { file: files.newest, at: files.bytes, bytes };
        (files.lines, files.bytes) = (files.lines + 1, files.bytes + whole.len() as u64);
        Ok((place, gone))
    }

    /// An answer's line; none: its file is gone.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn get(&self, owner: &AnswerOwner, file: u32, at: u64, bytes: u32) -> io::Result<Option<Vec<u8>>> {
        let mut line = vec![0; bytes as usize];
        match File::open(path(&self.dir, &tag(owner), file)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            file => file?.read_exact_at(&mut line, at).map(|()| Some(line)),
        }
    }

    /// Removes the older files of which `is_wanted` says that nothing in them is kept. The newer one, to which a line may be
    /// added meanwhile, stays.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn remove_unwanted(
        &self,
        owners: &[AnswerOwner],
        is_wanted: impl Fn(&AnswerOwner, u32) -> bool,
    ) -> io::Result<()> {
        let wanted_by_tag: BTreeMap<String, &AnswerOwner> = owners.iter().map(|o| (tag(o), o)).collect();
        let all: Vec<_> = {
            let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
            owners.iter().map(|(tag, files)| (tag.clone(), files.clone())).collect()
        };
        for (tag, files) in all {
            let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
            let wanted = |number: u32| wanted_by_tag.get(&tag).is_some_and(|o| is_wanted(o, number));
            if let Some(older) = files.older.take_if(|n| !wanted(*n)) {
                remove(&path(&self.dir, &tag, older))?;
            }
        }
        Ok(())
    }
}

fn path(dir: &Path, tag: &str, number: u32) -> PathBuf {
    dir.join(format!("{tag}-{number:08}.ndjson"))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Hands over the answers of a file, and cuts off a last line that a stop has cut. Answers its lines and bytes.
fn read(path: &Path, number: u32, found: &mut impl FnMut(PlainHead, AnswerPlace)) -> io::Result<(usize, u64)> {
    let file = File::options().read(true).write(true).open(path)?;
    let (mut reader, mut line) = (BufReader::new(&file), Vec::new());
    let (mut lines, mut at) = (0, 0);
    loop {
        line.clear();
        let read = reader.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line)?;
        let Some(text) = line.strip_suffix(b"\n") else {
            if read > 0 {
                file.set_len(at)?;
            }
            return Ok((lines, at));
        };
        // A line that cannot be read costs itself.
        if let (Ok(head), Ok(bytes)) = (serde_json::from_slice::<PlainHead>(text), u32::try_from(text.len())) {
            found(head, AnswerPlace::Line { file: number, at, bytes });
        }
        (lines, at) = (lines + 1, at + read as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_files_an_owner_and_a_cut_line_costs_itself() {
        let dir = tempfile::tempdir().unwrap();
        let owner = AnswerOwner::Token("局".to_owned());
        let open = || {
            let mut ids = Vec::new();
            let files =
                PlainFiles::open(dir.path().join("plain"), 8, |head, place| ids.push((head.id, place))).unwrap();
            (files, ids)
        };
        let (files, ids) = open();
        assert!(ids.is_empty());
        let line = |n: u32| format!("{{\"id\":\"{n}\",\"token\":\"局\"}}");
        let places: Vec<_> = (0..30).map(|n| files.put(&owner, line(n).as_bytes()).unwrap()).collect();
        let gone: Vec<_> = places.iter().filter_map(|(_, gone)| *gone).collect();
        assert_eq!(gone, [1, 2, 3, 4, 5, 6], "four lines a file, two files");
        assert_eq!(fs::read_dir(dir.path().join("plain")).unwrap().count(), 2);
        let AnswerPlace::Line { file, at, bytes } = places[29].0 else { panic!("a line") };
        assert_eq!(files.get(&owner, file, at, bytes).unwrap().unwrap(), line(29).as_bytes());
        let AnswerPlace::Line { file: old, at: from, bytes: n } = places[0].0 else { panic!("a line") };
        assert_eq!(files.get(&owner, old, from, n).unwrap(), None, "it is forgotten");
        let newest = path(&dir.path().join("plain"), &tag(&owner), file);
        File::options().append(true).open(&newest).unwrap().write_all(b"{\"id\":\"cut").unwrap();
        let (files, ids) = open();
        assert_eq!(ids.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["24", "25", "26", "27", "28", "29"]);
        assert_eq!(ids[5].1, places[29].0);
        let (place, _) = files.put(&owner, line(30).as_bytes()).unwrap();
        assert!(
            matches!(place, AnswerPlace::Line { file: f, at: a, .. } if f == file && a == at + u64::from(bytes) + 1)
        );
        assert_eq!(open().1.len(), 7);
        files.remove_unwanted(&[owner], |_, _| false).unwrap();
        assert_eq!(fs::read_dir(dir.path().join("plain")).unwrap().count(), 1, "the newer one stays");
    }
}
