//! Text that calls itself NDJSON, and what it is: a record a line; records in one JSON document, in a list or on several lines
//! each; or a table.

use super::records::JsonRecords;

/// What a text is, by its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextInput {
    /// One JSON object a line.
    Lines,
    /// JSON, but not a record a line.
    Document,
    /// No line of it begins as JSON does, and the first one is cut into cells: a table.
    Table,
}

/// Whether a text begins as JSON does, and as no table does.
pub(super) fn is_json(first: &[u8]) -> bool {
    let text = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first).trim_ascii_start();
    let (opens, within) = text.split_first().map_or((None, &[][..]), |(opens, within)| (Some(opens), within));
    match (opens, within.trim_ascii_start().first()) {
        (Some(b'{'), within) => within == Some(&b'"'),
        (Some(b'['), within) => within == Some(&b'{'),
        _ => false,
    }
}

/// Looks at the first bytes of a text, in UTF-8.
pub(super) fn look(first: &[u8]) -> TextInput {
    let text = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first);
    // The last of the lines is perhaps cut.
    let mut lines = text.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).peekable();
    let Some(line) = lines.peek().copied() else { return TextInput::Lines };
    if line.first() == Some(&b'[') {
        return TextInput::Document;
    }
    if line.first() == Some(&b'{') {
        let second = lines.nth(1);
        let goes_on =
            matches!(line, b"{") || (second.is_some() && matches!(line.last(), Some(b'{' | b'[' | b',' | b':')));
        // Of one object around all records there is no second line, or that one is no object.
        let is_alone = second.is_none_or(|line| line.first() != Some(&b'{'));
        return match goes_on || (is_alone && JsonRecords::is_wrapped(text)) {
            true => TextInput::Document,
            false => TextInput::Lines,
        };
    }
    let is_cut = |line: &[u8]| line.iter().any(|b| matches!(b, b',' | b'\t' | b';' | b'|'));
    let first_is_cut = is_cut(line);
    match lines.any(|line| matches!(line.first(), Some(b'{' | b'['))) {
        false if first_is_cut => TextInput::Table,
        _ => TextInput::Lines,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// JSON with the name of a table was refused for its heads.
    #[test]
    fn json_is_known_whatever_it_is_called() {
        for text in ["{\"a\":1}", "\u{feff} {\n \"a\": 1}", "[{\"a\":1}]", "[\n  {"] {
            assert!(is_json(text.as_bytes()), "{text}");
        }
        for text in ["", "{", "[1]", "{a},b", "[甲],乙", "\"a\",b", "{}", "a,{\"b\"}"] {
            assert!(!is_json(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn one_document_is_told_from_a_record_a_line() {
        for text in [
            "[{\"a\":1}]",
            "\u{feff} [\n  {\"a\":1}\n]",
            "{\n  \"a\": 1\n}\n",
            "{\"RECORDS\":[\n{\n\"a\":1}]}\n",
            "{\"RECORDS\":[{\"a\":1},{\"a\":2}]}\n",
            "{\"code\":0,\"data\":{\"rows\":[{\"a\":1},{",
            "{\"a\": 1,\n\"b\": 2}\n",
            "{\"a\":1},\n{\"a\":2},\n",
        ] {
            assert_eq!(look(text.as_bytes()), TextInput::Document, "{text}");
        }
        for text in [
            "",
            "\n",
            "{\"a\":1}",
            "{\"a\":1}\n{\"b\":2}\n",
            "{\"a\":[{\"b\":2}]}\n{\"a\":[{\"b\":2}]}\n",
            "x\n{\"a\":1}\n",
            "{\"a\":1,",
            "{\"a\":1}\n{\n",
            "no json",
        ] {
            assert_eq!(look(text.as_bytes()), TextInput::Lines, "{text}");
        }
        for text in ["a,b\n1,2\n", "名称|代码\n"] {
            assert_eq!(look(text.as_bytes()), TextInput::Table, "{text}");
        }
    }
}
