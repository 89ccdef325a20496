//! What editors, mail programs and copies do to a text: told, so that nobody takes a changed copy for a forgery. Nothing is
//! verified here, and nothing that was changed is accepted.

/// What was done to a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Changes {
    /// In words, with the first line that it is seen at.
    pub(super) what: String,
    /// The file without it; `None`: it cannot be told what that was.
    pub(super) text: Option<String>,
}

/// Bytes at the front by which UTF-16 without a mark is told.
const LOOKED_AT: usize = 32;

/// What seems to have been done to a file; `None`: nothing that is known.
pub(super) fn changes(bytes: &[u8]) -> Option<Changes> {
    let mut what = Vec::new();
    let text = match utf16(bytes) {
        Some(text) => {
            what.push("it was saved as UTF-16".to_owned());
            text
        }
        None => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(e) => {
                let whole = bytes.get(..e.valid_up_to()).unwrap_or_default();
                let line = whole.iter().filter(|b| **b == b'\n').count().saturating_add(1);
                let what = format!("line {line} is no UTF-8: it was saved in another encoding, such as GBK");
                return Some(Changes { what, text: None });
            }
        },
    };
    let mut text = match text.strip_prefix('\u{feff}') {
        Some(rest) => {
            if what.is_empty() {
                what.push("a byte order mark stands before line 1".to_owned());
            }
            rest.to_owned()
        }
        None => text,
    };
    if let Some((line, _)) = line_of(&text, |l| l.contains('\r')) {
        what.push(format!("line {line} ends with CR LF instead of LF"));
        text = text.replace("\r\n", "\n").replace('\r', "\n");
    }
    if let Some((line, _)) = line_of(&text, |l| l.ends_with(SPACES)) {
        what.push(format!("spaces were put at the end of line {line}"));
        text = text.split('\n').map(|l| l.trim_end_matches(SPACES)).collect::<Vec<_>>().join("\n");
    }
    if let Some((line, found)) = line_of(&text, |l| DASHES.iter().any(|d| l.starts_with(d))) {
        let dash = found.chars().next().unwrap_or_default();
        what.push(format!("line {line} begins with '{dash}' instead of '\u{2014}'"));
        let mended = |l: &str| match DASHES.iter().find_map(|d| l.strip_prefix(d)) {
            Some(rest) => format!("\u{2014} {rest}"),
            None => l.to_owned(),
        };
        text = text.split('\n').map(mended).collect::<Vec<_>>().join("\n");
    }
    let ended = format!("{}\n", text.trim_end_matches('\n'));
    if ended != text {
        let how = if text.ends_with('\n') { "empty lines were put behind" } else { "there is no line end behind" };
        what.push(format!("{how} the last line"));
        text = ended;
    }
    (!what.is_empty()).then(|| Changes { what: what.join("; "), text: Some(text) })
}

/// The first line for which `odd` holds, and its number.
fn line_of(text: &str, odd: impl Fn(&str) -> bool) -> Option<(usize, &str)> {
    (1..).zip(text.split('\n')).find(|(_, l)| odd(l))
}

/// What is invisible at the end of a line.
const SPACES: [char; 3] = [' ', '\t', '\u{a0}'];
/// What programs make of the dash before a signature.
const DASHES: [&str; 4] = ["- ", "\u{2013} ", "\u{2012} ", "\u{2212} "];

/// The text of a file in UTF-16; `None`: it is none.
fn utf16(bytes: &[u8]) -> Option<String> {
    let front = bytes.get(..LOOKED_AT.min(bytes.len())).unwrap_or_default();
    let zeros = |from: usize| front.iter().skip(from).step_by(2).all(|b| *b == 0) && front.len() >= 8;
    let big = match front.get(..2) {
        Some([0xfe, 0xff]) => true,
        Some([0xff, 0xfe]) => false,
        _ if zeros(1) => false,
        _ if zeros(0) => true,
        _ => return None,
    };
    let unit = |pair: &[u8]| match pair {
        [a, b] if big => u16::from_be_bytes([*a, *b]),
        [a, b] => u16::from_le_bytes([*a, *b]),
        _ => u16::from(b'?'),
    };
    let text: Result<String, _> = char::decode_utf16(bytes.chunks(2).map(unit)).collect();
    text.ok().map(|t| t.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(t))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_told_with_its_line_and_undone() {
        let good = "TALLY EVIDENCE 1\nrecord 福州\n\n\u{2014} name abc\nsha256 0\n";
        assert_eq!(changes(good.as_bytes()), None);
        let utf16 = |big: bool, mark: bool| {
            let units = mark.then_some(0xfeff).into_iter().chain(good.encode_utf16());
            units.flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect::<Vec<u8>>()
        };
        let cases: [(Vec<u8>, &[&str]); 11] = [
            ([b"\xef\xbb\xbf", good.as_bytes()].concat(), &["byte order mark", "line 1"]),
            (good.replace('\n', "\r\n").into_bytes(), &["line 1 ends with CR LF"]),
            (good.replacen("福州\n", "福州\r\n", 1).into_bytes(), &["line 2 ends with CR LF"]),
            (good.replacen("福州\n", "福州 \n", 1).into_bytes(), &["spaces", "line 2"]),
            (good.replacen("福州\n", "福州\u{a0}\t\n", 1).into_bytes(), &["spaces", "line 2"]),
            (good.replace('\u{2014}', "-").into_bytes(), &["line 4 begins with '-'"]),
            (good.trim_end().as_bytes().to_vec(), &["no line end"]),
            (format!("{good}\n\n").into_bytes(), &["empty lines"]),
            (utf16(false, true), &["UTF-16"]),
            (utf16(true, true), &["UTF-16"]),
            ([b"\xef\xbb\xbf", good.replace('\n', " \r\n").as_bytes()].concat(), &["mark", "CR LF", "spaces"]),
        ];
        for (bytes, words) in cases {
            let found = changes(&bytes).unwrap_or_else(|| panic!("{words:?}"));
            assert!(words.iter().all(|w| found.what.contains(w)), "{words:?}: {}", found.what);
            assert_eq!(found.text.as_deref(), Some(good), "{}", found.what);
        }
        assert!(changes(&utf16(false, false)).is_some_and(|c| c.what.contains("UTF-16")));
        let gbk = [&b"TALLY EVIDENCE 1\nrecord "[..], &[0xb8, 0xa3, 0xd6, 0xdd], b"\n"].concat();
        let found = changes(&gbk).unwrap();
        assert!(found.text.is_none() && found.what.contains("line 2") && found.what.contains("GBK"), "{}", found.what);
        // Whatever the bytes are, there is an answer.
        for bytes in [&b""[..], b"\xff\xfe", b"\xff\xfe\x00", b"\x00", b"\xfe\xff\xd8\x00", b"\n", b"\r"] {
            let _ = changes(bytes);
        }
    }
}
