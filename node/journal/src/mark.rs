//! Where the journal ended at a clean stop, kept beside it. It is written at a clean stop only, and removed before the
//! first write after it: so a journal that is shorter than its mark lost bytes that were durable.

use super::{
    Position, Volume, VolumeFile,
    volume::{open_to_read, write_new},
};
use std::{io, path::Path};

/// A mark is shorter, in bytes.
const BYTES_MAX: u64 = 1 << 10;

/// Reads the mark; `None` if there is none that holds.
pub(super) fn read(volume: &impl Volume, path: &Path) -> io::Result<Option<Position>> {
    Ok(open_to_read(volume, path)?.and_then(|file| parse(&file)))
}

fn parse(file: &impl VolumeFile) -> Option<Position> {
    let mut text = vec![0; usize::try_from(file.look().ok()?.len.min(BYTES_MAX)).ok()?];
    file.read_exact_at(&mut text, 0).ok()?;
    let text = String::from_utf8(text).ok()?;
    let (position, sum) = text.trim_end().rsplit_once(' ')?;
    if sum != checksum(position) {
        return None;
    }
    let mut words = position.strip_prefix("durable ")?.split(' ');
    let (segment, offset) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(Position { segment, offset })
}

/// Writes the mark, and flushes it and its folder.
pub(super) fn write(volume: &impl Volume, path: &Path, position: Position) -> io::Result<()> {
    let text = format!("durable {} {}", position.segment, position.offset);
    let new = path.with_extension("mark.new");
    write_new(volume, &new, format!("{text} {}\n", checksum(&text)).as_bytes())?.sync_all()?;
    volume.rename(&new, path)?;
    sync_parent(volume, path)
}

/// Removes the mark, so that it never speaks of a journal that was written to since. No mark is no error; that there is
/// none is made durable too, because an attempt before this one may have ended half-way.
pub(super) fn remove(volume: &impl Volume, path: &Path) -> io::Result<()> {
    match volume.remove(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => sync_parent(volume, path),
    }
}

fn sync_parent(volume: &impl Volume, path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| volume.sync_folder(folder))
}

fn checksum(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::System;
    use std::fs;

    #[test]
    fn only_a_whole_mark_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.mark");
        assert_eq!(read(&System, &path).unwrap(), None);
        let position = Position { segment: 7, offset: 4_711 };
        write(&System, &path, position).unwrap();
        assert_eq!(read(&System, &path).unwrap(), Some(position));
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace(" 7 ", " 9 ")).unwrap();
        assert_eq!(read(&System, &path).unwrap(), None);
    }
}
