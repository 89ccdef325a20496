//! Lines that are made in the order of the disk and given in another one: beyond some megabytes they lie in a file that nobody
//! else sees, and that is gone with the process.
//!
//! Lines have numbers. Those of one part are brought into order in memory, one part after another. What a line says is not known
//! here.
//!
//! ```text
//! number (4) ‖ length (4) ‖ the line
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

/// Lines of one part: the memory that it takes to bring it into order.
const PART: u32 = 4_096;
/// Bytes that wait in memory; beyond, they go to the file.
const HELD_MAX: usize = 16 << 20;
/// The fastest that still makes a fifth of it.
const ZSTD_LEVEL: i32 = 1;

/// Lines that wait for their turn.
#[derive(Debug)]
pub(super) struct OrderedLines<'d> {
    dir: &'d Path,
    parts: Vec<Part>,
    held: usize,
    /// The file, and its length.
    file: Option<(File, u64)>,
}

/// Lines of numbers that stand together.
#[derive(Debug, Default)]
struct Part {
    held: Vec<u8>,
    /// Where in the file more of them lie, compressed, and how long that is expanded.
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    at: u64,
    bytes: usize,
    expanded: usize,
}

impl<'d> OrderedLines<'d> {
    /// For lines with the numbers below `count`; the file is made in `dir` when it is needed.
    pub(super) fn new(dir: &'d Path, count: u32) -> Self {
        let parts = (0..count.div_ceil(PART)).map(|_| Part::default()).collect();
        Self { dir, parts, held: 0, file: None }
    }

    /// Takes a line.
    ///
    /// # Errors
    /// The system's, or a number that was not announced.
    pub(super) fn put(&mut self, number: u32, line: &[u8]) -> io::Result<()> {
        let part = self.parts.get_mut((number / PART) as usize).ok_or(io::ErrorKind::InvalidInput)?;
        let length = u32::try_from(line.len()).map_err(io::Error::other)?;
        part.held.extend_from_slice(&number.to_be_bytes());
        part.held.extend_from_slice(&length.to_be_bytes());
        part.held.extend_from_slice(line);
        self.held += line.len() + 8;
        if self.held > HELD_MAX { self.write_out() } else { Ok(()) }
    }

    fn write_out(&mut self) -> io::Result<()> {
        let (file, end) = match &mut self.file {
            Some(file) => file,
            none => none.insert((unseen(self.dir)?, 0)),
        };
        for part in self.parts.iter_mut().filter(|p| !p.held.is_empty()) {
            let packed = zstd::bulk::compress(&part.held, ZSTD_LEVEL)?;
            file.write_all_at(&packed, *end)?;
            part.blocks.push(Block { at: *end, bytes: packed.len(), expanded: part.held.len() });
            *end += packed.len() as u64;
            part.held = Vec::new();
        }
        self.held = 0;
        Ok(())
    }

    /// Gives all lines in the order of their numbers; `take` answers whether to go on, and so does this.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn give(self, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<bool> {
        for part in self.parts {
            let mut all = Vec::new();
            for block in &part.blocks {
                let (file, _) = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
                let mut packed = vec![0; block.bytes];
                file.read_exact_at(&mut packed, block.at)?;
                all.extend(zstd::bulk::decompress(&packed, block.expanded)?);
            }
            all.extend(part.held);
            let (mut lines, mut rest) = (Vec::new(), all.as_slice());
            while let Some((number, line, after)) = split(rest) {
                lines.push((number, line));
                rest = after;
            }
            lines.sort_unstable_by_key(|(number, _)| *number);
            if !lines.into_iter().all(|(_, line)| take(line)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn split(bytes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (line, after) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    Some((u32::from_be_bytes(*number), line, after))
}

/// An empty file in the folder, without a name.
fn unseen(dir: &Path) -> io::Result<File> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    fs::create_dir_all(dir)?;
    let path = dir.join(format!("{}-{}.export", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    // The open file is enough, and whatever happens nothing stays behind.
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u32, bytes: usize) -> Vec<u8> {
        format!("{number:0bytes$}").into_bytes()
    }

    /// Numbers in an order that has nothing to do with theirs; some are left out.
    #[test]
    fn lines_come_in_the_order_of_their_numbers() {
        let dir = tempfile::tempdir().unwrap();
        // A few that stay in memory, and more than memory takes, twice over.
        for (count, bytes) in [(10, 10), (3 * PART + 5, 3_000)] {
            let mut lines = OrderedLines::new(dir.path(), count);
            for n in 0..count {
                let number = (n * 7_919) % count;
                if number % 10 != 3 {
                    lines.put(number, &line(number, bytes)).unwrap();
                }
            }
            assert_eq!(lines.file.is_some(), count > 10);
            assert!(fs::read_dir(dir.path()).unwrap().next().is_none(), "nobody sees the file");
            let mut expected = (0..count).filter(|n| n % 10 != 3);
            assert!(lines.give(|l| l == line(expected.next().unwrap(), bytes)).unwrap());
            assert_eq!(expected.next(), None);
        }
    }

    #[test]
    fn whoever_has_enough_is_given_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let mut lines = OrderedLines::new(dir.path(), 9);
        (0..9).for_each(|n| lines.put(n, b"x").unwrap());
        let mut left = 3;
        assert!(
            !lines
                .give(|_| {
                    left -= 1;
                    left > 0
                })
                .unwrap()
        );
        assert_eq!(left, 0);
        assert!(OrderedLines::new(dir.path(), 9).put(PART, b"x").is_err());
    }

    #[test]
    fn a_folder_that_takes_no_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let mut lines = OrderedLines::new(&file, 1);
        assert!(lines.put(0, &vec![0; HELD_MAX]).is_err());
    }
}
