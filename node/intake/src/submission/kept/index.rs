//! One short line for each answer in a folder, so that a start need not read the answers themselves.
//!
//! The folders are the truth: an answer that has no line is read once. A line without a folder is that of a name that was given
//! and is given no more; of such only the highest of each day stays, until that day is cleared away. Only the removal of an
//! answer is flushed here: whatever else is lost is read from the folders.
//!
//! ```text
//! data/answers/index.ndjson    name, owner, bytes and hash of the key, a line
//! ```

use super::{
    AnswerOwner,
    book::{AnswerBook, AnswerName, KeyHash},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, BufWriter, Write as _},
    path::Path,
};
use tally_protocol::ids::Division;

/// Name of the file.
const FILE: &str = "index.ndjson";

/// A line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct IndexLine {
    id: String,
    owner: AnswerOwner,
    /// Of its rows, phrases and counts on the disk.
    pub(super) bytes: u64,
    /// Whether it has rows.
    pub(super) rows: bool,
    /// Hash of the client's own key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// It tells of the name only, which is given no more; the rest says nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) gone: bool,
}

fn hex(hash: KeyHash) -> String {
    format!("{:032x}", u128::from_be_bytes(hash))
}

impl IndexLine {
    pub(super) fn new(id: String, owner: AnswerOwner, (bytes, rows): (u64, bool), key: Option<KeyHash>) -> Self {
        Self { id, owner, bytes, rows, key: key.map(hex), gone: false }
    }

    pub(super) fn key(&self) -> Option<KeyHash> {
        u128::from_str_radix(self.key.as_deref()?, 16).ok().map(u128::to_be_bytes)
    }

    pub(super) fn into_owner(self) -> AnswerOwner {
        self.owner
    }
}

/// Every line that can be read; the last one of a name counts.
pub(super) fn read(dir: &Path, division: Division) -> io::Result<HashMap<AnswerName, IndexLine>> {
    let file = match File::open(dir.join(FILE)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        file => BufReader::new(file?),
    };
    let mut lines = HashMap::new();
    for line in file.split(b'\n') {
        if let Ok(line) = serde_json::from_slice::<IndexLine>(&line?)
            && let Some(name) = AnswerName::read(&line.id, division)
        {
            lines.insert(name, line);
        }
    }
    Ok(lines)
}

/// Adds the line of an answer, in one piece.
pub(super) fn add(dir: &Path, line: &IndexLine) -> io::Result<()> {
    let mut text = serde_json::to_vec(line).map_err(io::Error::other)?;
    text.push(b'\n');
    File::options().append(true).create(true).open(dir.join(FILE))?.write_all(&text)
}

/// Adds the line of a name that is given no more, though its answer goes. It is on the disk when this returns.
pub(super) fn add_gone(dir: &Path, name: AnswerName, division: Division) -> io::Result<()> {
    add(dir, &gone(name, division))?;
    File::open(dir.join(FILE))?.sync_all()
}

/// A program before this leaves such a line out.
fn gone(name: AnswerName, division: Division) -> IndexLine {
    IndexLine { gone: true, ..IndexLine::new(name.id(division), AnswerOwner::default(), (0, false), None) }
}

/// The lines of all answers in folders, and of the highest name of each day.
pub(super) fn lines(book: &AnswerBook, division: Division) -> Vec<IndexLine> {
    let line = |(owner, name, bytes, rows, key): (&AnswerOwner, AnswerName, u64, bool, Option<KeyHash>)| {
        IndexLine::new(name.id(division), owner.clone(), (bytes, rows), key)
    };
    // The last line of a name counts: one that has a folder has its own after this.
    book.highest().map(|name| gone(name, division)).chain(book.folders().map(line)).collect()
}

/// Writes all of it anew.
pub(super) fn write(dir: &Path, lines: Vec<IndexLine>) -> io::Result<()> {
    let new = dir.join("index.new");
    let mut out = BufWriter::new(File::create(&new)?);
    for line in lines {
        serde_json::to_writer(&mut out, &line)?;
        out.write_all(b"\n")?;
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(new, dir.join(FILE))
}
