//! The encoding of single lines: which one a text begins in, and where it changes because texts were joined.

use super::Encoding;
use encoding_rs::GB18030;

/// Chinese characters that make a line's encoding certain: so many are not made by chance in the other one.
const CERTAIN: usize = 4;

/// The encoding of a text, by its first line of which it is certain; else by all of them.
pub(super) fn decide(text: &[u8]) -> Encoding {
    let whole = memchr::memrchr2(b'\n', b'\r', text).map_or(text.len(), |at| at + 1);
    let lines = text.get(..whole).unwrap_or_default().split(|b| matches!(b, b'\n' | b'\r'));
    lines.filter(|line| !line.is_ascii()).find_map(certain).unwrap_or(match is_utf8(text) {
        true => Encoding::Utf8,
        false => Encoding::Gb18030,
    })
}

/// Where a line begins that is certainly not of this encoding, and of which it is.
pub(super) fn change(text: &[u8], encoding: Encoding) -> Option<(usize, Encoding)> {
    // Of UTF-8 that is whole nothing need be looked at closely; what may be is far behind the damage before it.
    let mut at = match (encoding, std::str::from_utf8(text)) {
        (Encoding::Utf8, Ok(_)) => return None,
        (Encoding::Utf8, Err(e)) => {
            let before = text.get(..e.valid_up_to()).unwrap_or_default();
            memchr::memrchr2(b'\n', b'\r', before).map_or(0, |line| line + 1)
        }
        _ => 0,
    };
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let line = rest.get(..end).unwrap_or_default();
        // In GB18030 the first Chinese character tells most lines apart.
        let suspect = !line.is_ascii() && std::str::from_utf8(line).is_ok() == (encoding == Encoding::Gb18030);
        if suspect && let Some(other) = certain(line).filter(|e| *e != encoding) {
            return Some((at, other));
        }
        at += end + 1;
    }
    None
}

/// The encoding of a line, if it holds enough to tell.
fn certain(line: &[u8]) -> Option<Encoding> {
    if let Ok(text) = std::str::from_utf8(line) {
        return (text.chars().filter(|c| c.len_utf8() >= 3).count() >= CERTAIN).then_some(Encoding::Utf8);
    }
    let (chinese, damaged) = counts(line);
    if chinese > 4 * damaged {
        return Some(Encoding::Utf8);
    }
    let (text, damaged) = GB18030.decode_without_bom_handling(line);
    let chinese = text.chars().filter(|c| !c.is_ascii()).count();
    (!damaged && chinese >= CERTAIN).then_some(Encoding::Gb18030)
}

/// Whether text is UTF-8, perhaps with a damaged character here and there. GB18030 makes hardly any three bytes that are
/// a Chinese character of UTF-8.
fn is_utf8(text: &[u8]) -> bool {
    let (chinese, damaged) = counts(text);
    // A character may be cut at the end of the piece.
    let cut = text.utf8_chunks().last().is_some_and(|c| !c.invalid().is_empty() && c.invalid().len() < 4);
    let damaged = damaged - usize::from(cut && damaged > 0 && text.len() > 4);
    damaged == 0 || chinese > 4 * damaged
}

/// Characters of three bytes of UTF-8 and more, and places that are no UTF-8.
fn counts(text: &[u8]) -> (usize, usize) {
    let (mut chinese, mut damaged) = (0_usize, 0_usize);
    for chunk in text.utf8_chunks() {
        chinese += chunk.valid().chars().filter(|c| c.len_utf8() >= 3).count();
        damaged += usize::from(!chunk.invalid().is_empty());
    }
    (chinese, damaged)
}
