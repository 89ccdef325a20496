//! Bytes of unknown encoding as UTF-8 with one kind of line end: mark first, else strict UTF-8, else GB18030.

#![warn(clippy::indexing_slicing)]

mod lines;

use super::SheetError;
use encoding_rs::{Decoder, GB18030, UTF_8, UTF_16BE, UTF_16LE};
use std::{io::Read, ops::ControlFlow};

/// Bytes read at once.
const PIECE: usize = 64 << 10;
/// A line is looked at whole up to so many bytes.
const LINE_MAX: usize = 8 * PIECE;

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

/// The beginning of a text as UTF-8, and its encoding as far as that shows it; `None`: plain ASCII.
pub fn text_beginning(first: &[u8]) -> (Option<Encoding>, Vec<u8>) {
    let (mut text, mut out) = (Text::new(first), Vec::new());
    while text.next(&mut out).is_ok_and(|more| more) {}
    (text.encoding, out)
}

/// Reads a text of whatever encoding as UTF-8, piece by piece, with `\n` at the ends of lines; `Break` ends the reading. What
/// cannot be decoded comes out as U+FFFD.
///
/// # Errors
/// [`SheetError`]: the bytes stopped coming, or another encoding begins at a line; after the text before it was handed over.
pub fn read_text(source: impl Read, take: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> Result<(), SheetError> {
    let (mut text, mut piece, mut line) = (Text::new(source), Vec::new(), 1);
    while text.next(&mut piece).map_err(|e| SheetError::io(&e))? {
        line += memchr::memchr_iter(b'\n', &piece).count() as u64;
        if take(&piece).is_break() {
            return Ok(());
        }
        piece.clear();
    }
    text.mixed(line).map_or(Ok(()), Err)
}

/// A reader of text. What cannot be decoded comes out as U+FFFD. Line ends come out as `\n`, also at the end of the input.
/// Where the encoding changes, the text ends.
pub(super) struct Text<R> {
    source: R,
    decoder: Option<Decoder>,
    /// Known from the first byte that is not ASCII on.
    pub(super) encoding: Option<Encoding>,
    /// Of the line that does not end in the piece before.
    raw: Vec<u8>,
    /// The encoding of the line before which the text ends.
    other: Option<Encoding>,
    first: bool,
    after_cr: bool,
    ended: bool,
    last: u8,
}

impl<R: Read> Text<R> {
    pub(super) fn new(source: R) -> Self {
        let (decoder, encoding, raw, other) = (None, None, Vec::new(), None);
        Self { source, decoder, encoding, raw, other, first: true, after_cr: false, ended: false, last: b'\n' }
    }

    /// Appends the next piece of text to `out`; `false`: there is no more.
    pub(super) fn next(&mut self, out: &mut Vec<u8>) -> std::io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        let mut at_end = self.fill()?;
        if std::mem::take(&mut self.first) {
            self.mark();
        }
        if self.decoder.is_none()
            && let Some(at) = self.raw.iter().position(|b| !b.is_ascii())
        {
            self.decide(at, at_end)?;
        }
        let from = out.len();
        let mut raw = std::mem::take(&mut self.raw);
        if let Some(encoding) = self.encoding.filter(|e| *e != Encoding::Utf16) {
            if !at_end && raw.len() < LINE_MAX {
                let whole = memchr::memrchr2(b'\n', b'\r', &raw).map_or(0, |at| at + 1);
                self.raw = raw.split_off(whole);
            }
            if let Some((at, other)) = lines::change(&raw, encoding) {
                raw.truncate(at);
                (self.other, at_end) = (Some(other), true);
            }
        }
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
        Ok(self.source.by_ref().take(PIECE as u64).read_to_end(&mut self.raw)? == 0)
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
        } else if let Some(encoding) = unmarked_utf16(&self.raw) {
            self.decoder = Some(encoding.new_decoder_without_bom_handling());
            self.encoding = Some(Encoding::Utf16);
        }
    }

    /// The text ended at a line because its encoding changes there, and it is this one.
    pub(super) fn mixed(&self, line: u64) -> Option<SheetError> {
        let (before, here) = (self.encoding?.name(), self.other?.name());
        let en = format!(
            "from line {line} on the text is {here}, before it is {before}: files of several programs were joined. Save all \
             of it in one encoding, or hand each part in as a file of its own. Nothing from this line on was read"
        );
        let zh = format!(
            "自第 {line} 行起编码为 {here}，此前为 {before}，可能由不同系统的文件拼接而成；请统一编码或分开报送；自该行起未读取"
        );
        Some(SheetError::new("mixed_encodings", line, en, zh))
    }

    /// The first byte that is not ASCII lies at `at`: the first line from there whose encoding is certain decides.
    fn decide(&mut self, at: usize, at_end: bool) -> std::io::Result<()> {
        if !at_end {
            self.source.by_ref().take((at + PIECE) as u64).read_to_end(&mut self.raw)?;
        }
        let from = memchr::memrchr2(b'\n', b'\r', self.raw.get(..at).unwrap_or_default()).map_or(0, |line| line + 1);
        let name = lines::decide(self.raw.get(from..).unwrap_or_default());
        let encoding = if name == Encoding::Utf8 { UTF_8 } else { GB18030 };
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

/// UTF-16 without its mark, as databases export it. Between cells and lines stand signs of ASCII, there each with a byte 0,
/// which text in UTF-8 or GB18030 does not have; old systems fill up with it, at the end only.
fn unmarked_utf16(raw: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    /// So many such signs are no chance.
    const SIGNS: usize = 4;
    let is_sign = |b: u8| matches!(b, b',' | b'\t' | b';' | b'|' | b'"' | b'\n' | b'\r');
    let (mut little, mut big) = (0, 0);
    for unit in raw.chunks_exact(2) {
        match *unit {
            [sign, 0] if is_sign(sign) => little += 1,
            [0, sign] if is_sign(sign) => big += 1,
            _ => {}
        }
    }
    match (little, big) {
        (SIGNS.., 0) => Some(UTF_16LE),
        (0, SIGNS..) => Some(UTF_16BE),
        _ => None,
    }
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
        for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
            let unmarked: Vec<u8> = format!("{text}{text}").encode_utf16().flat_map(bytes).collect();
            assert_eq!(decoded(&unmarked), (format!("{text}{text}"), Some(Encoding::Utf16)));
        }
        let filled = [text.as_bytes(), &[0; 64]].concat();
        assert_eq!(decoded(&filled).1, Some(Encoding::Utf8), "filling is none");
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

    /// A13c: one part in another encoding made garbage of the whole file.
    #[test]
    fn where_the_encoding_changes_the_text_ends_and_the_line_is_named() {
        let utf8 = "名称,代码\n福州甲贸易公司,1\n";
        let gb = GB18030.encode("福州乙贸易公司,2\r\n福州丙贸易公司,3\n").0.into_owned();
        let heads = GB18030.encode("名称,代码\r\n福州甲贸易公司,1\r\n").0.into_owned();
        let many = utf8.repeat(10_000);
        for (first, second, end, other) in [
            (utf8.as_bytes(), gb.as_slice(), "公司,1\n", Encoding::Gb18030),
            (&heads, "福州乙贸易公司,2\n".as_bytes(), "公司,1\n", Encoding::Utf8),
            (&heads, "\u{feff}名称,代码\n福州乙公司,2\n".as_bytes(), "代码\n福州甲贸易公司,1\n", Encoding::Utf8),
            (many.as_bytes(), &gb, "公司,1\n", Encoding::Gb18030),
        ] {
            for step in [1, 1 << 20] {
                let bytes = [first, second].concat();
                let (mut text, mut out) = (Text::new(Slow(&bytes, step)), Vec::new());
                while text.next(&mut out).unwrap() {}
                let out = String::from_utf8(out).unwrap();
                assert!(out.ends_with(end) && out.starts_with("名称"), "{out}");
                let why = text.mixed(3).unwrap();
                assert_eq!((why.code, why.line), ("mixed_encodings", 3));
                assert_eq!(text.other, Some(other));
            }
        }
        assert!(Text::new(&b""[..]).mixed(1).is_none());
    }

    #[test]
    fn line_ends_of_all_kinds_become_one() {
        assert_eq!(decoded(b"a\r\nb\rc\nd\r\n\r\ne").0, "a\nb\nc\nd\n\ne\n");
        assert_eq!(decoded(b"a\r").0, "a\n");
        assert_eq!(decoded(b"").0, "");
    }
}
