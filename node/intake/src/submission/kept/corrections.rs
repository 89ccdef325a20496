//! What was corrected of an answer: a file beside its rows, to which later submissions add. The last one that corrects a
//! line counts.

use crate::Reply;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, Write as _},
    path::Path,
};
use tally_protocol::record::RecordId;

/// Name of the file, beside the answer's rows.
pub(super) const FILE: &str = "corrected.ndjson";
/// Largest file of what was corrected, in bytes: some 120,000 rows, more than an answer keeps.
const BYTES_MAX: u64 = 16 << 20;
/// Bytes of it that are gathered before they are written.
const BUFFER: usize = 64 << 10;

/// A row of an answer given before has been corrected, by this record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// Which row.
    pub reply: Reply,
    /// The record.
    pub by: RecordId,
    /// When, POSIX seconds.
    pub at: u64,
}

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct CorrectionLine {
    line: u64,
    id: RecordId,
    at: u64,
}

/// What one submission corrects of one answer.
#[derive(Debug)]
pub(super) struct CorrectionFile {
    file: File,
    room: u64,
    lines: BTreeSet<u64>,
    /// Whole lines that are not written yet.
    buffer: Vec<u8>,
}

impl CorrectionFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::options().read(true).append(true).create(true).open(path)?;
        let length = file.metadata()?.len();
        let mut buffer = Vec::new();
        // The last line may be cut by a stop: a line end keeps it apart from the next.
        if length > 0 {
            let mut end = [0];
            file.seek(io::SeekFrom::End(-1))?;
            file.read_exact(&mut end)?;
            if end != *b"\n" {
                buffer.push(b'\n');
            }
        }
        Ok(Self { file, room: BYTES_MAX.saturating_sub(length), lines: BTreeSet::new(), buffer })
    }

    /// The first correction of a line counts for the submission. `has_room`: takes room on the disk for so many bytes.
    pub(super) fn add(&mut self, correction: &Correction, has_room: impl Fn(u64) -> bool) -> io::Result<()> {
        let line = CorrectionLine { line: correction.reply.line, id: correction.by, at: correction.at };
        let before = self.buffer.len();
        if self.room == 0 || !self.lines.insert(line.line) {
            return Ok(());
        }
        serde_json::to_writer(&mut self.buffer, &line)?;
        self.buffer.push(b'\n');
        self.room = self.room.saturating_sub((self.buffer.len() - before) as u64);
        if self.buffer.len() >= BUFFER { self.flush(has_room) } else { Ok(()) }
    }

    /// In one piece, so that two submissions do not write into each other's lines. Where there is no room, what was corrected
    /// is not kept; the row's business key still tells it.
    pub(super) fn flush(&mut self, has_room: impl Fn(u64) -> bool) -> io::Result<()> {
        let lines = std::mem::take(&mut self.buffer);
        if lines.is_empty() || !has_room(lines.len() as u64) {
            return Ok(());
        }
        self.file.write_all(&lines)
    }
}

/// Records by which rows of these lines were corrected, by line, and when, POSIX seconds.
pub(super) fn read(path: &Path, wanted: &BTreeSet<u64>) -> io::Result<BTreeMap<u64, (RecordId, u64)>> {
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        file => BufReader::new(file?),
    };
    let mut found = BTreeMap::new();
    for line in file.split(b'\n') {
        // A line that a stop has cut is passed over: the same file handed in again writes it once more.
        if let Ok(c) = serde_json::from_slice::<CorrectionLine>(&line?)
            && wanted.contains(&c.line)
        {
            found.insert(c.line, (c.id, c.at));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_line_costs_itself_and_a_line_counts_once_for_a_submission() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let line = |line, id: &[u8]| Correction { reply: Reply::new("1-2", line, None), by: RecordId::of(id), at: 5 };
        let all = || read(&path, &(0..100).collect()).unwrap();
        assert!(all().is_empty());
        let mut first = CorrectionFile::open(&path).unwrap();
        first.add(&line(3, b"a"), |_| true).unwrap();
        first.add(&line(3, b"b"), |_| true).unwrap();
        first.flush(|_| true).unwrap();
        assert_eq!(all(), [(3, (RecordId::of(b"a"), 5))].into());
        File::options().append(true).open(&path).unwrap().write_all(b"{\"line\":4").unwrap();
        let mut second = CorrectionFile::open(&path).unwrap();
        second.add(&line(3, b"c"), |_| true).unwrap();
        second.add(&line(200, b"d"), |_| true).unwrap();
        second.flush(|_| true).unwrap();
        assert_eq!(all(), [(3, (RecordId::of(b"c"), 5))].into(), "the last submission counts");
    }
}
