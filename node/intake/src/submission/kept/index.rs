//! One short line for each answer in a folder, so that a start need not read the answers themselves.
//!
//! The folders are the truth: an answer that has no line is read once, and a line without a folder is left out. So nothing
//! is flushed here.
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
}

fn hex(hash: KeyHash) -> String {
    format!("{:032x}", u128::from_be_bytes(hash))
}

impl IndexLine {
    pub(super) fn new(id: String, owner: AnswerOwner, (bytes, rows): (u64, bool), key: Option<KeyHash>) -> Self {
        Self { id, owner, bytes, rows, key: key.map(hex) }
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

/// The lines of all answers in folders.
pub(super) fn lines(book: &AnswerBook, division: Division) -> Vec<IndexLine> {
    let line = |(owner, name, bytes, rows, key): (&AnswerOwner, AnswerName, u64, bool, Option<KeyHash>)| {
        IndexLine::new(name.id(division), owner.clone(), (bytes, rows), key)
    };
    book.folders().map(line).collect()
}

/// Writes all of it anew.
pub(super) fn write(dir: &Path, lines: Vec<IndexLine>) -> io::Result<()> {
    let new = dir.join("index.new");
    let mut out = BufWriter::new(File::create(&new)?);
    for line in lines {
        serde_json::to_writer(&mut out, &line)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    fs::rename(new, dir.join(FILE))
}
