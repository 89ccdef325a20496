//! Bytes of unknown encoding as UTF-8 with one kind of line end: mark first, else strict UTF-8, else GB18030.

#![warn(clippy::indexing_slicing)]

use encoding_rs::{Decoder, GB18030, UTF_8, UTF_16BE, UTF_16LE};
use std::io::Read;

/// Bytes read at once.
const PIECE: usize = 64 << 10;

/// What the bytes were taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, with or without a mark.
    Utf8,
    /// GB18030, of which GBK and GB2312 are parts.
    Gb18030,
    /// UTF-16, by its mark ("Unicode text" of Excel).
    Utf16,
}

impl Encoding {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Gb18030 => "GB18030",
            Self::Utf16 => "UTF-16",
        }
    }
}

/// A reader of text. What cannot be decoded comes out as U+FFFD. Line ends come out as `\n`, also at the end of the input.
pub(super) struct Text<R> {
    source: R,
    decoder: Option<Decoder>,
    /// Known from the first byte that is not ASCII on.
    pub(super) encoding: Option<Encoding>,
    raw: Vec<u8>,
    first: bool,
    after_cr: bool,
    ended: bool,
    last: u8,
}

impl<R: Read> Text<R> {
    pub(super) fn new(source: R) -> Self {
        let (decoder, encoding, raw) = (None, None, Vec::new());
        Self { source, decoder, encoding, raw, first: true, after_cr: false, ended: false, last: b'\n' }
    }

    /// Appends the next piece of text to `out`; `false`: there is no more.
    pub(super) fn next(&mut self, out: &mut Vec<u8>) -> std::io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        let at_end = self.fill()?;
        if std::mem::take(&mut self.first) {
            self.mark();
        }
        if self.decoder.is_none()
            && let Some(at) = self.raw.iter().position(|b| !b.is_ascii())
        {
            self.decide(at, at_end)?;
        }
        let from = out.len();
        let raw = std::mem::take(&mut self.raw);
        match &mut self.decoder {
            None => out.extend_from_slice(&raw),
            Some(decoder) => {
                let most = decoder.max_utf8_buffer_length(raw.len()).unwrap_or(raw.len() * 3 + 64);
                out.resize(from + most, 0);
                let (_, _, written, _) = decoder.decode_to_utf8(&raw, out.get_mut(from..).unwrap_or_default(), at_end);
                out.truncate(from + written);
            }
        }
        self.line_ends(out, from);
        if at_end {
            self.ended = true;
            if self.last != b'\n' {
                out.push(b'\n');
            }
        }
        Ok(true)
    }

    /// Reads until there is a piece; answers whether the input has ended.
    fn fill(&mut self) -> std::io::Result<bool> {
        let start = self.raw.len();
        let read = self.source.by_ref().take((PIECE - start.min(PIECE - 1)) as u64).read_to_end(&mut self.raw)?;
        Ok(read == 0)
    }

    fn mark(&mut self) {
        let marks: [(&[u8], _, _); 3] = [
            (b"\xef\xbb\xbf", UTF_8, Encoding::Utf8),
            (b"\xff\xfe", UTF_16LE, Encoding::Utf16),
            (b"\xfe\xff", UTF_16BE, Encoding::Utf16),
        ];
        if let Some((mark, encoding, name)) = marks.into_iter().find(|(m, _, _)| self.raw.starts_with(m)) {
            self.raw.drain(..mark.len());
            self.decoder = Some(encoding.new_decoder_without_bom_handling());
            self.encoding = Some(name);
        }
    }

    /// The first byte that is not ASCII lies at `at`: a whole piece from there decides.
    fn decide(&mut self, at: usize, at_end: bool) -> std::io::Result<()> {
        if !at_end {
            self.source.by_ref().take((at + PIECE) as u64).read_to_end(&mut self.raw)?;
        }
        let (encoding, name) = if is_utf8(self.raw.get(at..).unwrap_or_default()) {
            (UTF_8, Encoding::Utf8)
        } else {
            (GB18030, Encoding::Gb18030)
        };
        self.decoder = Some(encoding.new_decoder_without_bom_handling());
        self.encoding = Some(name);
        Ok(())
    }

    /// `\r\n` and lone `\r` become `\n`.
    fn line_ends(&mut self, out: &mut Vec<u8>, from: usize) {
        let new = out.get(from..).unwrap_or_default();
        if let Some(last) = new.last() {
            self.last = if *last == b'\r' { b'\n' } else { *last };
        }
        let starts_after_cr = std::mem::take(&mut self.after_cr);
        self.after_cr = new.last() == Some(&b'\r');
        let cut_in_two = starts_after_cr && new.first() == Some(&b'\n');
        if !cut_in_two && !new.contains(&b'\r') {
            if new.is_empty() {
                self.after_cr = starts_after_cr;
            }
            return;
        }
        let mut cr = starts_after_cr;
        let second_of_two = out.extract_if(from.., |b| {
            let second = *b == b'\n' && cr;
            cr = *b == b'\r';
            if cr {
                *b = b'\n';
            }
            second
        });
        second_of_two.for_each(drop);
    }
}

/// Whether text is UTF-8, perhaps with a damaged character here and there. GB18030 makes hardly any three bytes that are
/// a Chinese character of UTF-8.
fn is_utf8(text: &[u8]) -> bool {
    let (mut chinese, mut damaged) = (0_usize, 0_usize);
    for chunk in text.utf8_chunks() {
        chinese += chunk.valid().chars().filter(|c| c.len_utf8() >= 3).count();
        damaged += usize::from(!chunk.invalid().is_empty());
    }
    // A character may be cut at the end of the piece.
    let cut = text.utf8_chunks().last().is_some_and(|c| !c.invalid().is_empty() && c.invalid().len() < 4);
    let damaged = damaged - usize::from(cut && damaged > 0 && text.len() > 4);
    damaged == 0 || chinese > 4 * damaged
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that gives a few bytes at a time.
    struct Slow<'s>(&'s [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            let n = self.1.min(self.0.len()).min(out.len());
            out[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn decoded(bytes: &[u8]) -> (String, Option<Encoding>) {
        let mut all = Vec::new();
        let mut seen = Vec::new();
        for step in [1, 3, 1 << 20] {
            let (mut text, mut out) = (Text::new(Slow(bytes, step)), Vec::new());
            while text.next(&mut out).unwrap() {}
            all.push(text.encoding);
            seen.push(String::from_utf8(out).unwrap());
        }
        assert!(seen.windows(2).all(|w| w[0] == w[1]), "{seen:?}");
        (seen.remove(0), all[0])
    }

    #[test]
    fn encodings_are_found_however_the_bytes_come() {
        // 𠮷 (U+20BB7) and 䶮 (U+4DAE) are rare characters of names: four bytes in GB18030.
        let text = "名称,代码\n福州𠮷䶮公司,9135\n";
        assert_eq!(decoded(text.as_bytes()), (text.to_owned(), Some(Encoding::Utf8)));
        let (gb, _, _) = GB18030.encode(text);
        assert_eq!(decoded(&gb), (text.to_owned(), Some(Encoding::Gb18030)));
        assert_eq!(decoded(&[b"\xef\xbb\xbf", text.as_bytes()].concat()), (text.to_owned(), Some(Encoding::Utf8)));
        let wide: Vec<u8> = [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        assert_eq!(decoded(&wide), (text.to_owned(), Some(Encoding::Utf16)));
        assert_eq!(decoded(b"a,b\n"), ("a,b\n".to_owned(), None));
        let late = [vec![b'a'; 200_000], gb.to_vec()].concat();
        assert_eq!(decoded(&late).1, Some(Encoding::Gb18030));
        // A stray byte in a file of UTF-8, far behind: replaced, not guessed anew.
        let stray = [text.repeat(5_000).as_bytes(), b"\xb8\xa3\n"].concat();
        let (out, encoding) = decoded(&stray);
        assert_eq!(encoding, Some(Encoding::Utf8));
        assert!(out.ends_with("\u{fffd}\u{fffd}\n"));
        // And near the beginning, as is one row of another encoding.
        let cut = [&"名称,代码\n福州甲".as_bytes()[..21], b",1\n", text.as_bytes()].concat();
        assert_eq!(decoded(&cut).1, Some(Encoding::Utf8));
        let mixed = [text.repeat(20).as_bytes(), &gb[10..]].concat();
        assert_eq!(decoded(&mixed).1, Some(Encoding::Utf8));
        for gb in ["序号\t单位\n1\t鼓楼区\n", "啊阿埃挨哎唉哀皑癌蔼矮艾碍爱隘", "é,ü\n福州"] {
            assert_eq!(decoded(&GB18030.encode(gb).0).1, Some(Encoding::Gb18030), "{gb}");
        }
    }

    #[test]
    fn line_ends_of_all_kinds_become_one() {
        assert_eq!(decoded(b"a\r\nb\rc\nd\r\n\r\ne").0, "a\nb\nc\nd\n\ne\n");
        assert_eq!(decoded(b"a\r").0, "a\n");
        assert_eq!(decoded(b"").0, "");
    }
}
