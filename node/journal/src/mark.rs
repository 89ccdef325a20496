//! Where the journal ended at a clean stop, kept beside it. It is written at a clean stop only, and removed before the
//! first write after it: so a journal that is shorter than its mark lost bytes that were durable.

use super::Position;
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

/// Reads the mark; `None` if there is none that holds.
pub(super) fn read(path: &Path) -> Option<Position> {
    let text = fs::read_to_string(path).ok()?;
    let (position, sum) = text.trim_end().rsplit_once(' ')?;
    if sum != checksum(position) {
        return None;
    }
    let mut words = position.strip_prefix("durable ")?.split(' ');
    let (segment, offset) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(Position { segment, offset })
}

/// Writes the mark, and flushes it and its folder.
pub(super) fn write(path: &Path, position: Position) -> io::Result<()> {
    let text = format!("durable {} {}", position.segment, position.offset);
    let new = path.with_extension("mark.new");
    let mut file = File::create(&new)?;
    file.write_all(format!("{text} {}\n", checksum(&text)).as_bytes())?;
    file.sync_all()?;
    fs::rename(new, path)?;
    sync_parent(path)
}

/// Removes the mark, so that it never speaks of a journal that was written to since. No mark is no error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn checksum(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_mark_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.mark");
        assert_eq!(read(&path), None);
        let position = Position { segment: 7, offset: 4_711 };
        write(&path, position).unwrap();
        assert_eq!(read(&path), Some(position));
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace(" 7 ", " 9 ")).unwrap();
        assert_eq!(read(&path), None);
    }
}
