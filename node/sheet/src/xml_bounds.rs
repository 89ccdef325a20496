//! Bounds on XML that is about to be read by a parser which keeps each element in memory.
//!
//! A parser holds one tag or one text at a time, and for a cell the text of all its parts: a file that unpacks to one
//! text of a gigabyte makes it hold a gigabyte. This measures without keeping anything.

#![warn(clippy::indexing_slicing)]

/// Longest tag, text, comment and so on. Excel's longest text is 32,767 characters.
const TOKEN_MAX: usize = 1 << 20;
/// Most bytes within one cell or one entry of the table of texts.
const ITEM_MAX: usize = 4 << 20;
/// Longest tag in the styles, of which the reader makes copies. A number format has up to 255 characters.
const STYLE_TAG_MAX: usize = 2048;
/// Most `xf`: Excel has up to 65,490 of each of two sorts.
const STYLES_MAX: u64 = 131_072;
/// Most texts in the table of texts.
const TEXTS_MAX: u64 = 8 << 20;
/// Most texts that the table may claim to have: so much is set aside at once.
const TEXTS_CLAIM_MAX: u64 = 32 << 20;
/// Of a tag so much is kept to look at.
const KEPT: usize = 512;

/// What a part of a workbook is, which sets its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    SharedTexts,
    Styles,
    Other,
}

/// Measures XML piece by piece.
#[derive(Debug)]
pub(super) struct XmlBounds {
    part: Part,
    state: ScanState,
    /// Bytes of the present tag, text or comment.
    token: usize,
    /// Beginning of the present tag.
    tag: Vec<u8>,
    /// The last two bytes of a comment or the like.
    tail: [u8; 2],
    /// Bytes since a cell or text began; none outside.
    item: Option<usize>,
    /// Texts, or styles.
    count: u64,
    special: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ScanState {
    Text,
    /// After `<`, before it is clear what follows.
    Open,
    Tag,
    Quoted(u8),
    /// Ends with `>` after these two bytes.
    Until([u8; 2]),
}

/// What is too much, and how much is allowed.
type Exceeded = (&'static str, u64);

impl XmlBounds {
    pub(super) fn new(part: Part) -> Self {
        let tag = Vec::with_capacity(KEPT);
        Self { part, state: ScanState::Text, token: 0, tag, tail: [0; 2], item: None, count: 0, special: false }
    }

    /// Whether a sheet has what its cells alone do not tell: formulas, merged cells, filters, rows or columns that are
    /// hidden; or a table of texts some that are struck out in part. It may be told of one that has none.
    pub(super) fn is_special(&self) -> bool {
        self.special
    }

    /// Looks at the next piece.
    pub(super) fn feed(&mut self, mut piece: &[u8]) -> Result<(), Exceeded> {
        while !piece.is_empty() {
            let end = match self.state {
                ScanState::Text => memchr::memchr(b'<', piece),
                ScanState::Open => Some(0),
                ScanState::Tag => memchr::memchr3(b'>', b'"', b'\'', piece),
                ScanState::Quoted(mark) => memchr::memchr(mark, piece),
                ScanState::Until(_) => memchr::memchr(b'>', piece),
            };
            let (seen, rest) = piece.split_at(end.map_or(piece.len(), |end| end + 1));
            self.measure(seen)?;
            if end.is_some() {
                self.turn(seen)?;
            }
            if let [.., before, last] = seen {
                self.tail = [*before, *last];
            } else if let [last] = seen {
                self.tail = [self.tail[1], *last];
            }
            piece = rest;
        }
        Ok(())
    }

    fn measure(&mut self, seen: &[u8]) -> Result<(), Exceeded> {
        self.token += seen.len();
        if matches!(self.state, ScanState::Open | ScanState::Tag | ScanState::Quoted(_)) {
            let room = KEPT.saturating_sub(self.tag.len());
            self.tag.extend(seen.iter().take(room));
            if self.part == Part::Styles && self.token > STYLE_TAG_MAX {
                return Err(("bytes of one style", STYLE_TAG_MAX as u64));
            }
        }
        if let Some(item) = &mut self.item {
            *item += seen.len();
        }
        if self.token > TOKEN_MAX || self.item.is_some_and(|item| item > ITEM_MAX) {
            return Err(("bytes in one element", TOKEN_MAX as u64));
        }
        Ok(())
    }

    /// The byte was found that ends the present state; it is the last of `seen`.
    fn turn(&mut self, seen: &[u8]) -> Result<(), Exceeded> {
        match self.state {
            ScanState::Text => self.next(ScanState::Open),
            ScanState::Open => match self.tag.as_slice() {
                b"!" | b"!-" | b"![" => (),
                b"!--" => self.state = ScanState::Until(*b"--"),
                [b'!', b'[', ..] => self.state = ScanState::Until(*b"]]"),
                [b'!', ..] => return Err(("document type declarations", 0)),
                b"?" => self.state = ScanState::Until([b'?', 0]),
                // The first byte of a tag may end it, or open a quotation.
                [b'>', ..] => self.next(ScanState::Text),
                [mark @ (b'"' | b'\''), ..] => self.state = ScanState::Quoted(*mark),
                _ => self.state = ScanState::Tag,
            },
            ScanState::Tag => match seen.last() {
                Some(mark @ (b'"' | b'\'')) => self.state = ScanState::Quoted(*mark),
                _ => {
                    self.tag_ends()?;
                    self.next(ScanState::Text);
                }
            },
            ScanState::Quoted(_) => self.state = ScanState::Tag,
            ScanState::Until(end) => {
                let before = match seen {
                    [.., first, second, _] => [*first, *second],
                    [second, _] => [self.tail[1], *second],
                    _ => self.tail,
                };
                if before == end || (end[1] == 0 && before[1] == end[0]) {
                    self.next(ScanState::Text);
                }
            }
        }
        Ok(())
    }

    fn next(&mut self, state: ScanState) {
        self.state = state;
        self.token = 0;
        self.tag.clear();
    }

    /// `tag` holds a tag without its `<`.
    fn tag_ends(&mut self) -> Result<(), Exceeded> {
        let closing = self.tag.first() == Some(&b'/');
        let empty = self.tag.ends_with(b"/>");
        let tag = self.tag.get(usize::from(closing)..).unwrap_or_default();
        let name = tag.split(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'/' | b'>')).next();
        let name = name.and_then(|name| name.rsplit(|byte| *byte == b':').next()).unwrap_or_default();
        self.special |= match name {
            b"f" | b"mergeCell" | b"autoFilter" => true,
            b"strike" => self.part == Part::SharedTexts,
            b"row" | b"col" => [&b" hidden"[..], b" ht=", b" width="].iter().any(|part| hides(tag, part)),
            _ => false,
        };
        if matches!(name, b"c" | b"si") {
            self.item = if closing || empty { None } else { self.item.or(Some(0)) };
        }
        match (self.part, name) {
            (Part::SharedTexts, b"si") if !closing => self.count_up("shared texts", TEXTS_MAX),
            (Part::Styles, b"xf") if !closing => self.count_up("styles", STYLES_MAX),
            (_, b"sst") if !closing && claim(tag).is_some_and(|claim| claim > TEXTS_CLAIM_MAX) => {
                Err(("shared texts", TEXTS_MAX))
            }
            _ => Ok(()),
        }
    }

    fn count_up(&mut self, what: &'static str, max: u64) -> Result<(), Exceeded> {
        self.count += 1;
        if self.count > max { Err((what, max)) } else { Ok(()) }
    }
}

/// Whether a tag has this attribute; of a size, whether it may be 0.
fn hides(tag: &[u8], part: &[u8]) -> bool {
    let after = memchr::memmem::find(tag, part).and_then(|at| tag.get(at + part.len()..));
    after.is_some_and(|after| !part.ends_with(b"=") || after.get(1) == Some(&b'0'))
}

/// The number that a tag gives as `uniqueCount`; more than fits is more than is allowed. A tag so long that the
/// attribute may be past what was kept claims too much.
fn claim(tag: &[u8]) -> Option<u64> {
    if tag.len() + 1 >= KEPT {
        return Some(u64::MAX);
    }
    let at = memchr::memmem::find(tag, b"uniqueCount")?;
    let digits =
        tag.get(at..)?.iter().skip_while(|byte| !byte.is_ascii_digit()).take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0_u64, |number, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(part: Part, xml: &[u8]) -> Result<(), Exceeded> {
        let whole = XmlBounds::new(part).feed(xml);
        for size in [1, 2, 3] {
            if xml.len() < 10_000 {
                let mut bounds = XmlBounds::new(part);
                let pieces: Result<(), Exceeded> = xml.chunks(size).try_for_each(|piece| bounds.feed(piece));
                assert_eq!(pieces, whole);
            }
        }
        whole
    }

    #[test]
    fn ordinary_xml_passes() {
        let xml = br#"<?xml version="1.0"?><!-- a > b --><x:sst count="3" uniqueCount="2"><si><t>a</t></si>
            <si/><si><t a='"' b=">"><![CDATA[ ]> ]]></t></si></x:sst>"#;
        for part in [Part::SharedTexts, Part::Styles, Part::Other] {
            assert_eq!(feed(part, xml), Ok(()));
        }
        let many = "<row r=\"1\"><c r=\"A1\"><v>1</v></c></row>".repeat(300_000);
        assert_eq!(feed(Part::Other, many.as_bytes()), Ok(()));
    }

    #[test]
    fn what_cells_alone_do_not_tell_is_noticed() {
        for (xml, special) in [
            ("<row r=\"1\" s=\"0\" ht=\"15\"><c r=\"A1\"><v>0</v></c></row><col min=\"1\" width=\"9\"/>", false),
            ("<row r=\"1\" hidden=\"1\"/>", true),
            ("<row r=\"1\" ht=\"0\" customHeight=\"1\"/>", true),
            ("<row customHeight=\"1\" ht=\"0\"/>", true),
            ("<col min='4' max='4' width='0'/>", true),
            ("<c r=\"A1\"><f>B1</f></c>", true),
            ("<x:mergeCell ref=\"A1:B1\"/>", true),
            ("<autoFilter ref=\"A1:B9\"/>", true),
        ] {
            let mut bounds = XmlBounds::new(Part::Other);
            assert_eq!(bounds.feed(xml.as_bytes()), Ok(()));
            assert_eq!(bounds.is_special(), special, "{xml}");
        }
    }

    #[test]
    fn nothing_long_hides() {
        let long = "x".repeat(TOKEN_MAX);
        let half = "x".repeat(TOKEN_MAX / 2);
        for xml in [
            format!("<a>{long}x</a>"),
            format!("<a b='{long}'/>"),
            format!("<a b='{half}>{half}'/>"),
            format!("<a><!--{half}> -> <a>{half}--></a>"),
            format!("<a><![CDATA[{half}]>{half}]]></a>"),
            format!("<?{half}>{half}?>"),
            long.clone() + "x",
            format!("<c><is>{}</is></c>", format!("<t>{half}</t>").repeat(9)),
            format!("<x:si>{}</x:si>", format!("<t>{half}</t>").repeat(9)),
        ] {
            assert_eq!(feed(Part::Other, xml.as_bytes()), Err(("bytes in one element", 1 << 20)), "{}", &xml[..20]);
        }
        assert_eq!(feed(Part::Other, b"<!DOCTYPE a [ <!ENTITY b 'c'> ]>"), Err(("document type declarations", 0)));
    }

    #[test]
    fn counts_are_bounded() {
        for claim in ["4000000000", "99999999999999999999999999", "33554433"] {
            let xml = format!("<sst  uniqueCount = '{claim}'>");
            assert_eq!(feed(Part::SharedTexts, xml.as_bytes()), Err(("shared texts", TEXTS_MAX)), "{claim}");
        }
        let xml = format!("<sst {} uniqueCount=\"4000000000\">", " ".repeat(600));
        assert_eq!(feed(Part::SharedTexts, xml.as_bytes()), Err(("shared texts", TEXTS_MAX)));
        assert_eq!(feed(Part::Styles, &b"<xf/>".repeat(131_072)), Ok(()));
        assert_eq!(feed(Part::Styles, &b"<xf/>".repeat(131_073)), Err(("styles", STYLES_MAX)));
        let font = format!("<name val=\"{}\"/>", "x".repeat(3000));
        assert_eq!(feed(Part::Styles, font.as_bytes()), Err(("bytes of one style", 2048)));
    }
}
