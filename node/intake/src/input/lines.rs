//! A stream of bytes as numbered lines, in bounded memory.

use tally_protocol::limits::RECORD_BYTES_MAX;

/// Longest line that is kept; of a longer one only so much is, which is enough to refuse it.
pub(super) const LINE_BYTES_MAX: usize = 4 * RECORD_BYTES_MAX + 2;

/// Collects pieces until there are whole lines. Blank lines are passed over but counted, so that numbers are those
/// of an editor.
#[derive(Debug, Default)]
pub struct LineSplitter {
    rest: Vec<u8>,
    number: u64,
}

impl LineSplitter {
    /// Takes a piece and hands over every line that is now whole, with its number from 1.
    pub fn feed(&mut self, mut piece: &[u8], mut line: impl FnMut(u64, &[u8])) {
        while let Some(end) = piece.iter().position(|b| *b == b'\n') {
            let (head, tail) = piece.split_at(end);
            if self.rest.is_empty() {
                self.number += 1;
                deliver(self.number, head, &mut line);
            } else {
                self.keep(head);
                self.flush(&mut line);
            }
            piece = &tail[1..];
        }
        self.keep(piece);
    }

    /// The input has ended: the last line may lack its newline.
    pub fn finish(&mut self, mut line: impl FnMut(u64, &[u8])) {
        if !self.rest.is_empty() {
            self.flush(&mut line);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES_MAX.saturating_sub(self.rest.len());
        self.rest.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn flush(&mut self, line: &mut impl FnMut(u64, &[u8])) {
        self.number += 1;
        let rest = std::mem::take(&mut self.rest);
        deliver(self.number, &rest, line);
    }
}

fn deliver(number: u64, bytes: &[u8], line: &mut impl FnMut(u64, &[u8])) {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    // What Windows editors put before the first line.
    let bytes = if number == 1 { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes) } else { bytes };
    if !bytes.iter().all(u8::is_ascii_whitespace) {
        line(number, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &[&[u8]]) -> Vec<(u64, usize, Vec<u8>)> {
        let (mut lines, mut seen) = (LineSplitter::default(), Vec::new());
        let mut take = |n, l: &[u8]| seen.push((n, l.len(), l[..l.len().min(9)].to_vec()));
        pieces.iter().for_each(|p| lines.feed(p, &mut take));
        lines.finish(&mut take);
        seen
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_are_cut() {
        let text = b"\xef\xbb\xbfa\r\n\n  \nbb\nccc";
        let whole = all(&[text]);
        assert_eq!(
            whole.iter().map(|(n, _, l)| (*n, l.as_slice())).collect::<Vec<_>>(),
            [(1, &b"a"[..]), (4, b"bb"), (5, b"ccc")]
        );
        for cut in 0..text.len() {
            assert_eq!(all(&[&text[..cut], &text[cut..]]), whole, "{cut}");
        }
        assert_eq!(all(&text.chunks(1).collect::<Vec<_>>()), whole);
    }

    #[test]
    fn an_endless_line_takes_bounded_memory() {
        let piece = vec![b'x'; 1 << 20];
        let seen = all(&[&piece, &piece, b"\nok\n"]);
        assert_eq!(seen[0].1, LINE_BYTES_MAX);
        assert_eq!((seen[1].0, seen[1].2.as_slice()), (2, &b"ok"[..]));
    }
}
