//! Words of others before people see them: what a terminal or a log takes for a command is written out.
//!
//! Names of files, reasons and names of peers, values of records and errors of other nodes may hold anything. Shown as they
//! are they could move the cursor, change what was written before, turn lines around, or begin a line of their own. A tamed
//! text shows the same, with such characters in the form in which JSON writes them, so that a JSON document that is tamed
//! is the same document.

use std::borrow::Cow;

/// Whether a character is written out: control characters (C0, DEL, C1), separators of lines and paragraphs, whatever turns
/// the direction of writing (UAX #9), and what is not seen at all (interlinear marks, tags, the byte order mark).
fn is_wild(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn tamed(text: &str, but: Option<char>) -> Cow<'_, str> {
    let wild = |c: char| is_wild(c) && Some(c) != but;
    let Some(first) = text.find(wild) else { return Cow::Borrowed(text) };
    let (start, rest) = text.split_at(first);
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(start);
    for c in rest.chars() {
        match c {
            _ if !wild(c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    Cow::Owned(out)
}

/// One field: line breaks are written out too.
pub fn tame(text: &str) -> Cow<'_, str> {
    tamed(text, None)
}

/// A text of several lines, whose fields were tamed one by one.
pub fn tame_lines(text: &str) -> Cow<'_, str> {
    tamed(text, Some('\n'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_terminal_obeys_is_written_out() {
        for (wild, shown) in [
            ("福州\u{1b}[2J", "福州\\u001b[2J"),
            ("a\nERROR the disk failed", "a\\nERROR the disk failed"),
            ("a\r\nb\tc\0", "a\\r\\nb\\tc\\u0000"),
            ("\u{9b}2J\u{7f}", "\\u009b2J\\u007f"),
            ("a\u{202e}b\u{2066}c\u{61c}", "a\\u202eb\\u2066c\\u061c"),
            ("\u{2028}\u{2029}\u{85}", "\\u2028\\u2029\\u0085"),
            ("x\u{e0041}", "x\\udb40\\udc41"),
        ] {
            assert_eq!(tame(wild), shown);
        }
        assert_eq!(tame_lines("a\nb\u{1b}"), "a\nb\\u001b");
        for plain in ["", "抽查〔2025〕12号 (甲)", "C:\\data\\new", "é 👨\u{200d}👩"] {
            assert!(matches!(tame(plain), Cow::Borrowed(same) if same == plain), "{plain:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_wild_is_left_and_nothing_else_is_changed(text in any::<String>()) {
            let tamed = tame(&text);
            prop_assert!(!tamed.contains(is_wild));
            prop_assert_eq!(tame(&tamed), tamed.clone(), "taming twice is taming once");
            let lines = tame_lines(&text);
            prop_assert!(!lines.contains(|c| is_wild(c) && c != '\n'));
            let kept: String = text.chars().filter(|c| !is_wild(*c)).collect();
            let mut left = tamed.chars();
            prop_assert!(kept.chars().all(|c| left.any(|l| l == c)), "what is plain stays, in its order");
        }

        #[test]
        fn a_tamed_document_is_the_same_document(text in any::<String>(), key in "[\u{0}-\u{ff}\u{2020}-\u{2070}]*") {
            let document = serde_json::json!({ key: [text], "wild": "\u{202e}\u{e0041}\u{9b}\\" });
            let written = document.to_string();
            let read: serde_json::Value = serde_json::from_str(&tame(&written)).unwrap();
            prop_assert_eq!(read, document);
        }
    }
}
