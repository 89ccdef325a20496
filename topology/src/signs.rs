//! Signs that nobody sees, signs that look like others, and signs that mean something at one place only; by the properties
//! that Unicode gives each character (UAX #44), so that no list of our own grows old.
//!
//! Pure. What follows from such a sign is decided where a value is brought into form, and where a record is judged.

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{DefaultIgnorableCodePoint, GeneralCategory, PrependedConcatenationMark, WhiteSpace},
};
use std::borrow::Cow;
use tally_protocol::canonical::is_everyday;
use unicode_normalization::UnicodeNormalization as _;

/// Whether a character is one of those that nearly every value consists of: printable ASCII, Chinese characters, and the
/// punctuation that stands between them. Nothing has to be looked up for it.
fn is_common(c: char) -> bool {
    matches!(c,
        ' '..='~' | '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}' | '\u{3001}'..='\u{3020}' | '\u{ff01}'..='\u{ff5e}'
        | '\u{2014}' | '\u{2018}'..='\u{201d}' | '\u{2026}' | '\u{b7}')
}

/// Whether a text consists of common characters only, so that none of its signs has to be looked at.
pub fn is_plain(text: &str) -> bool {
    is_everyday(text) || text.chars().all(is_common)
}

/// Whether nobody sees it: default ignorable characters (zero width, joiners, direction marks, soft hyphens, selectors of
/// variants, the byte order mark), and other characters that only format.
pub fn is_unseen(c: char) -> bool {
    if is_common(c) || c.is_ascii() {
        return false;
    }
    let formats = || {
        CodePointMapData::<GeneralCategory>::new().get(c) == GeneralCategory::Format
            && !CodePointSetData::new::<PrependedConcatenationMark>().contains(c)
            // Egyptian hieroglyphs are put together by such characters.
            && !matches!(c, '\u{13430}'..='\u{1343f}')
    };
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c) || formats()
}

/// Whether it is seen as nothing but a gap: white space, and the empty pattern of Braille.
pub fn is_blank(c: char) -> bool {
    match c {
        ' ' | '\t' | '\n' | '\r' | '\u{2800}' => true,
        c if is_common(c) => false,
        c => CodePointSetData::new::<WhiteSpace>().contains(c),
    }
}

/// Whether it stands before or after a value without belonging to it.
pub fn is_margin(c: char) -> bool {
    is_blank(c) || is_unseen(c)
}

/// A joiner, or a selector of variants, that is a part of the spelling in the script of the letter before it: Arabic, the
/// scripts of India, Mongolian and their neighbours.
pub fn spells(before: Option<char>, c: char) -> bool {
    let shapes = matches!(c, '\u{200c}' | '\u{200d}' | '\u{180b}'..='\u{180f}');
    shapes
        && before
            .is_some_and(|b| matches!(b, '\u{600}'..='\u{109f}' | '\u{1780}'..='\u{18af}' | '\u{a840}'..='\u{abff}'))
}

/// Whether it has a meaning only where somebody gave it one (private use): another machine shows another sign, or none.
pub fn is_private(c: char) -> bool {
    !is_common(c) && CodePointMapData::<GeneralCategory>::new().get(c) == GeneralCategory::PrivateUse
}

/// Whether it is a radical that looks like a Chinese character and is none: of the Kangxi dictionary, or a supplementary one.
pub fn is_radical(c: char) -> bool {
    matches!(c, '\u{2e80}'..='\u{2fdf}')
}

/// The character that a radical stands for, if Unicode names one (NFKC).
pub fn of_radical(c: char) -> Option<char> {
    let mut formed = std::iter::once(c).nfkc();
    let one = formed.next().filter(|f| is_radical(c) && *f != c && !is_radical(*f));
    one.filter(|_| formed.next().is_none())
}

/// Whether it is written across two columns, so that no gap belongs between it and its like.
pub fn is_wide(c: char) -> bool {
    matches!(c, '\u{2e80}'..='\u{2fff}' | '\u{3001}'..='\u{a4cf}' | '\u{f900}'..='\u{faff}' | '\u{ff01}'..='\u{ff60}' | '\u{20000}'..='\u{3fffd}')
}

/// A sign by its number, as Unicode writes it, with what it is called where people know it by a name.
pub fn named(c: char) -> (String, &'static str, &'static str) {
    let (en, zh) = match c {
        '\0' => ("null", "空字符"),
        '\u{1c}'..='\u{1f}' => ("separator of fields", "字段分隔符"),
        '\u{fffd}' => ("replacement character", "替换字符"),
        '\u{ad}' => ("soft hyphen", "软连字符"),
        '\u{200c}' | '\u{200d}' | '\u{2060}' => ("joiner", "连接符"),
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}' => {
            ("direction mark", "方向控制符")
        }
        c if c.is_control() => ("control character", "控制字符"),
        c if is_private(c) => ("private use", "专用区字符"),
        c if is_radical(c) => ("radical", "部首字符"),
        c if is_blank(c) => ("space", "空白字符"),
        c if is_unseen(c) => ("invisible", "不可见字符"),
        _ => ("character", "字符"),
    };
    (format!("U+{:04X}", c as u32), en, zh)
}

/// Longest text that is folded, in bytes: a business key is shorter.
const FOLDED_BYTES_MAX: usize = 4_096;

/// A document number as it is compared with others: half-width capital letters, `-` for every dash, `〔〕` for every pair of
/// brackets, and no gaps. Most numbers are written so, and are given back as they are.
pub fn folded(number: &str) -> Cow<'_, str> {
    let is_folded = |c: char| match c {
        '〔' | '〕' | '|' | '-' | '.' | '/' | '_' | ':' | '0'..='9' | 'A'..='Z' => true,
        c => matches!(c, '\u{4e00}'..='\u{9fff}'),
    };
    if number.chars().all(is_folded) || number.len() > FOLDED_BYTES_MAX {
        return number.into();
    }
    let category = CodePointMapData::<GeneralCategory>::new();
    let fold = |c: char| match category.get(c) {
        _ if is_margin(c) => None,
        GeneralCategory::OpenPunctuation => Some('〔'),
        GeneralCategory::ClosePunctuation => Some('〕'),
        GeneralCategory::DashPunctuation => Some('-'),
        // A minus sign, and lines for drawing, are typed for dashes; signs of comparison for brackets.
        _ if matches!(c, '\u{2212}' | '\u{2500}' | '\u{2501}') => Some('-'),
        _ if c == '<' => Some('〔'),
        _ if c == '>' => Some('〕'),
        _ => Some(c),
    };
    // What is compatible first: a full-width bracket is a bracket then, and a wide space a space.
    let formed = number.nfkc().filter_map(fold).flat_map(char::to_uppercase);
    let text: String = formed.collect();
    if text == number { number.into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_is_told_from_what_is_seen() {
        for c in "\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\u{202a}\u{202d}\u{202e}\u{2060}\u{2066}\u{2069}\u{ad}\u{feff}\u{61c}\u{34f}\u{180e}\u{fe0f}\u{e0100}\u{3164}\u{fff9}\u{e0001}"
            .chars()
        {
            assert!(is_unseen(c) && is_margin(c), "U+{:04X}", c as u32);
        }
        for c in "\u{a0}\u{1680}\u{2000}\u{2007}\u{200a}\u{2028}\u{202f}\u{205f}\u{3000}\u{2800} \t".chars() {
            assert!(is_blank(c) && !is_unseen(c), "U+{:04X}", c as u32);
        }
        for c in "a甲（·—“é😀\u{e000}⽅\u{600}\u{13430}".chars() {
            assert!(!is_unseen(c) && !is_blank(c), "U+{:04X}", c as u32);
        }
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            assert_eq!(is_plain(&format!("市{c}a")), is_common(c), "U+{:04X}", c as u32);
        }
        assert!(is_plain("福州（市）“a”—·1") && !is_plain("a\u{200b}") && !is_plain("\u{3000}") && !is_plain("\t"));
    }

    #[test]
    fn joiners_are_kept_where_they_spell() {
        assert!(spells(Some('\u{915}'), '\u{200d}') && spells(Some('\u{1820}'), '\u{180b}'));
        assert!(!spells(Some('甲'), '\u{200d}') && !spells(None, '\u{200c}') && !spells(Some('\u{915}'), '\u{ad}'));
    }

    #[test]
    fn signs_that_look_like_others() {
        assert_eq!(
            (of_radical('⽅'), of_radical('⻓'), of_radical('方'), of_radical('㈱')),
            (Some('方'), None, None, None)
        );
        assert!(is_private('\u{e5e5}') && is_private('\u{f0000}') && !is_private('甲') && !is_private('\u{fffd}'));
        assert_eq!(named('\u{1f}').0, "U+001F");
    }

    #[test]
    fn one_number_has_one_form() {
        let one = "榕鼓许〔2026〕9001号";
        assert!(matches!(folded(one), Cow::Borrowed(_)));
        for written in [
            "榕鼓许[2026]9001号",
            "榕鼓许（2026）9001号",
            "榕鼓许［2026］9001号",
            "榕鼓许【2026】9001号",
            "榕鼓许(2026)9001号",
            "榕鼓许〖2026〗9001号",
            "榕鼓许﹝2026﹞9001号",
            "榕鼓许<2026>9001号",
            "榕鼓许〔２０２６〕９００１号",
            " 榕鼓许 〔2026〕\u{3000}9001 号",
            "榕鼓许\u{200b}〔2026〕9001号",
        ] {
            assert_eq!(folded(written), one, "{written}");
        }
        for dash in ["JY1-35", "jy1－35", "JY1—35", "JY1–35", "JY1−35", "JY1 ‐ 35", "ＪＹ1-35"] {
            assert_eq!(folded(dash), "JY1-35", "{dash}");
        }
        for other in ["榕鼓许〔2026〕9002号", "榕鼓罚〔2026〕9001号", "榕鼓许〔2026〕9001", "榕鼓许2026〕9001号"]
        {
            assert_ne!(folded(other), one, "{other}");
        }
        let long = "（".repeat(FOLDED_BYTES_MAX);
        assert_eq!(folded(&long), long, "what is no number is left alone");
    }
}
