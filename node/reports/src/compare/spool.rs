//! Rows of the file that are new or differ, on the disk until the comparison ends: memory holds only where they lie.
//!
//! ```text
//! key (16) ‖ line (8) ‖ operation (1) ‖ length (4) ‖ the record's bytes
//! ```
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tally_protocol::limits::RECORD_BYTES_MAX;
use tally_topology::content::Operation;

/// Bytes before the record's.
const HEAD: usize = 29;
/// Written at once, in bytes.
const BUFFER: usize = 256 << 10;

/// A file that nobody else sees, and that is gone with the process.
#[derive(Debug)]
pub(super) struct RowSpool {
    file: Arc<File>,
    buffer: Vec<u8>,
    written: u64,
}

/// A row as it is put into the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SpooledRow {
    /// Hash of its business key.
    pub(super) key: [u8; 16],
    /// Its line.
    pub(super) line: u64,
    /// What it does.
    pub(super) operation: Operation,
    /// Canonical JSON.
    pub(super) record: Vec<u8>,
}

impl RowSpool {
    /// An empty file in the folder.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn new(dir: &Path) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        fs::create_dir_all(dir)?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("{}-{number}.compare", std::process::id()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        // The open file is enough, and whatever happens nothing stays behind.
        fs::remove_file(&path)?;
        let file = Arc::new(file);
        Ok(Self { file, buffer: Vec::with_capacity(BUFFER), written: 0 })
    }

    /// Puts a row behind the last, in memory: see [`RowSpool::write_full`]. Answers where it lies.
    pub(super) fn put(&mut self, row: &SpooledRow) -> u64 {
        let place = self.written + self.buffer.len() as u64;
        self.buffer.extend_from_slice(&row.key);
        self.buffer.extend_from_slice(&row.line.to_be_bytes());
        self.buffer.push(row.operation as u8);
        self.buffer.extend_from_slice(&(row.record.len() as u32).to_be_bytes());
        self.buffer.extend_from_slice(&row.record);
        place
    }

    /// Writes what waits in memory, if that is much: after each chunk of rows.
    ///
    /// Not cancel-safe: as for [`RowSpool::flush`].
    ///
    /// # Errors
    /// The system's.
    pub(super) async fn write_full(&mut self) -> io::Result<()> {
        if self.buffer.len() >= BUFFER { self.flush().await } else { Ok(()) }
    }

    /// Everything is in the file after this, and can be read. A thread that may block writes it.
    ///
    /// Not cancel-safe: the comparison is over when a call was dropped.
    ///
    /// # Errors
    /// The system's.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        let (file, mut buffer) = (self.file.clone(), std::mem::take(&mut self.buffer));
        let write = move || {
            (&*file).write_all(&buffer)?;
            let written = buffer.len() as u64;
            buffer.clear();
            Ok::<_, io::Error>((buffer, written))
        };
        let (buffer, written) = tokio::task::spawn_blocking(write).await.map_err(io::Error::other)??;
        self.written += written;
        self.buffer = buffer;
        Ok(())
    }

    /// The row at a place.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn read(&self, place: u64) -> io::Result<SpooledRow> {
        let mut head = [0; HEAD];
        self.file.read_exact_at(&mut head, place)?;
        let (mut row, length) = parse(&head)?;
        row.record = vec![0; length];
        self.file.read_exact_at(&mut row.record, place + HEAD as u64)?;
        Ok(row)
    }

    /// All rows with where they lie, in the order in which they came.
    pub(super) fn rows(&self) -> impl Iterator<Item = io::Result<(u64, SpooledRow)>> {
        let mut input = BufReader::with_capacity(BUFFER, At { file: &self.file, at: 0 });
        let (mut place, end) = (0, self.written);
        std::iter::from_fn(move || {
            if place >= end {
                return None;
            }
            let row = next(&mut input);
            let at = place;
            // What cannot be read ends the walk.
            place = row.as_ref().map_or(end, |r| place + (HEAD + r.record.len()) as u64);
            Some(row.map(|r| (at, r)))
        })
    }
}

fn next(input: &mut impl Read) -> io::Result<SpooledRow> {
    let mut head = [0; HEAD];
    input.read_exact(&mut head)?;
    let (mut row, length) = parse(&head)?;
    row.record = vec![0; length];
    input.read_exact(&mut row.record)?;
    Ok(row)
}

fn parse(head: &[u8; HEAD]) -> io::Result<(SpooledRow, usize)> {
    let (mut key, mut line, mut length) = ([0; 16], [0; 8], [0; 4]);
    key.copy_from_slice(&head[..16]);
    line.copy_from_slice(&head[16..24]);
    length.copy_from_slice(&head[25..]);
    let operation = match head[24] {
        1 => Operation::Amend,
        2 => Operation::Withdraw,
        _ => Operation::Create,
    };
    let length = u32::from_be_bytes(length) as usize;
    if length > RECORD_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a row on the disk is not what was written"));
    }
    Ok((SpooledRow { key, line: u64::from_be_bytes(line), operation, record: Vec::new() }, length))
}

/// Reads on from a place, without moving the file's own.
struct At<'f> {
    file: &'f File,
    at: u64,
}

impl Read for At<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(out, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rows_come_back_by_place_and_in_order_and_no_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = RowSpool::new(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let operations = [Operation::Create, Operation::Amend, Operation::Withdraw];
        let rows: Vec<SpooledRow> = (0..50_u8)
            .map(|n| SpooledRow {
                key: [n; 16],
                line: u64::from(n) << 33,
                operation: operations[usize::from(n) % 3],
                record: vec![n; usize::from(n) * 1_000],
            })
            .collect();
        let places: Vec<u64> = rows.iter().map(|r| spool.put(r)).collect();
        spool.write_full().await.unwrap();
        assert!(spool.written > 0 && spool.buffer.is_empty(), "more than waits in memory");
        spool.flush().await.unwrap();
        let back: Vec<(u64, SpooledRow)> = spool.rows().map(Result::unwrap).collect();
        assert_eq!(back, places.iter().copied().zip(rows.clone()).collect::<Vec<_>>());
        assert_eq!(spool.read(places[33]).unwrap(), rows[33]);
        assert!(spool.read(places[49] + 1).is_err(), "not the start of a row");
    }
}
