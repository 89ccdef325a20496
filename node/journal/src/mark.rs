//! How far the journal had got, kept beside it: a tail that vanished while the node was stopped is damage and not a torn
//! write. It is a hint with a checksum; without it nothing is lost but that distinction.

use std::{fs, io, path::Path};
use tally_protocol::log::Place;

/// Reads the mark; `None` if there is none that holds.
pub(super) fn read(path: &Path) -> Option<Place> {
    let text = fs::read_to_string(path).ok()?;
    let (place, sum) = text.trim_end().rsplit_once(' ')?;
    if sum != checksum(place) {
        return None;
    }
    let mut words = place.strip_prefix("durable ")?.split(' ');
    let (segment, offset) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(Place { segment, offset })
}

/// Writes the mark. Not flushed: an older one only notices less.
pub(super) fn write(path: &Path, place: Place) -> io::Result<()> {
    let text = format!("durable {} {}", place.segment, place.offset);
    let new = path.with_extension("mark.new");
    fs::write(&new, format!("{text} {}\n", checksum(&text)))?;
    fs::rename(new, path)
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
        let place = Place { segment: 7, offset: 4_711 };
        write(&path, place).unwrap();
        assert_eq!(read(&path), Some(place));
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace(" 7 ", " 9 ")).unwrap();
        assert_eq!(read(&path), None);
    }
}
