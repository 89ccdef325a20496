//! Text that calls itself NDJSON and is something else: one JSON document over several lines, or around all records; another
//! encoding; or a table. Of it a reader of lines would only say of each line that it is no JSON.

use tally_sheet::SheetError;

/// What a text is, by its beginning.
#[derive(Debug)]
pub(super) enum TextInput {
    /// One JSON object a line.
    Lines,
    /// No line of it begins as JSON does, and the first one is cut into cells: a table.
    Table,
    /// JSON, but not a record a line.
    Refused(SheetError),
}

/// Looks at the first bytes of a text.
pub(super) fn look(first: &[u8]) -> TextInput {
    if first.starts_with(b"\xff\xfe") || first.starts_with(b"\xfe\xff") {
        let en = "the file is UTF-16: records as JSON are read in UTF-8 only, so save it as UTF-8";
        return TextInput::Refused(SheetError::new(
            "json_encoding",
            1,
            en,
            "该文件为 UTF-16 编码，JSON 只接受 UTF-8，请另存为 UTF-8 后再报",
        ));
    }
    let text = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first);
    // The last of the lines is perhaps cut.
    let mut lines = text.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).peekable();
    let Some(line) = lines.peek().copied() else { return TextInput::Lines };
    if line.first() == Some(&b'[') {
        return TextInput::Refused(document(
            "all records stand in one list [ ... ]",
            "所有记录写在同一个列表 [ … ] 中",
        ));
    }
    if line.first() == Some(&b'{') {
        let is_whole = lines.nth(1).is_some();
        let goes_on = matches!(line, b"{") || (is_whole && matches!(line.last(), Some(b'{' | b'[' | b',' | b':')));
        return match goes_on {
            true if line.ends_with(b"},") => TextInput::Refused(document(
                "a comma stands behind each record, as in a list",
                "每条记录后有逗号，是列表的一部分",
            )),
            true => TextInput::Refused(document("a record stands on several lines", "一条记录写成了多行")),
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

fn document(en: &str, zh: &str) -> SheetError {
    SheetError::new(
        "json_document",
        1,
        format!(
            "this is one JSON document, not a record a line: {en}. Export it as NDJSON (JSON Lines: one {{...}} a line, without commas behind them), or as CSV or XLSX"
        ),
        format!(
            "该文件是一个完整的 JSON 文档，不是每行一条记录：{zh}；请导出为 NDJSON（JSON Lines，每行一个 {{…}}，行末不加逗号），或导出为 CSV、XLSX"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_document_is_told_from_a_record_a_line() {
        for (text, zh) in [
            ("[{\"a\":1}]", "列表"),
            ("\u{feff} [\n  {\"a\":1}\n]", "列表"),
            ("{\n  \"a\": 1\n}\n", "多行"),
            ("{\"RECORDS\":[\n{\n\"a\":1}]}\n", "多行"),
            ("{\"a\": 1,\n\"b\": 2}\n", "多行"),
            ("{\"a\":1},\n{\"a\":2},\n", "逗号"),
        ] {
            let TextInput::Refused(why) = look(text.as_bytes()) else { panic!("{text}") };
            assert!(why.code == "json_document" && why.message_zh.contains(zh), "{text}: {why:?}");
        }
        for text in [
            "",
            "\n",
            "{\"a\":1}",
            "{\"a\":1}\n{\"b\":2}\n",
            "x\n{\"a\":1}\n",
            "{\"a\":1,",
            "{\"a\":1}\n{\n",
            "no json",
        ] {
            assert!(matches!(look(text.as_bytes()), TextInput::Lines), "{text}");
        }
        for text in ["a,b\n1,2\n", "名称|代码\n"] {
            assert!(matches!(look(text.as_bytes()), TextInput::Table), "{text}");
        }
        assert!(matches!(look(b"\xff\xfe{\0"), TextInput::Refused(_)));
    }
}
