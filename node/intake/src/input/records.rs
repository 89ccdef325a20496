//! The records of one JSON document, in bounded memory: in a list, in a list within an object, or one behind another on as
//! many lines as they like. Each is handed over as one line, which is then read as any line of NDJSON is; whether it is JSON at
//! all is decided there. A reader of JSON holds a value whole before its size is known, so here only brackets and quotation
//! marks are looked at.

use super::lines::LINE_BYTES_MAX;
use tally_sheet::SheetError;

/// Most objects around the list of the records.
const AROUND_MAX: usize = 4;

/// Cuts a document into records.
#[derive(Debug, Default)]
pub(super) struct JsonRecords {
    /// Brackets that stand open around the records.
    around: Vec<u8>,
    /// The value that is being read, each gap in it as one space.
    value: Vec<u8>,
    /// How many brackets stand open within the value, and the first ones of them.
    depth: usize,
    open: Vec<u8>,
    /// Where in the value its last text begins and ends.
    text: (usize, usize),
    in_text: bool,
    escaped: bool,
    /// Records so far.
    number: u64,
    /// Line ends before this place, and before the value.
    lines: u64,
    began: u64,
    /// Name of the list within an object that holds the records.
    list: Option<String>,
    /// Something else stands beside that list.
    beside: bool,
    fault: Option<SheetError>,
}

impl JsonRecords {
    /// Whether a document begins with an object around a list of objects.
    pub(super) fn is_wrapped(text: &[u8]) -> bool {
        let mut records = Self::default();
        records.feed(text, |_, _| {});
        records.list.is_some()
    }

    /// Takes a piece and hands over each record that is now whole, with its number from 1.
    pub(super) fn feed(&mut self, piece: &[u8], mut record: impl FnMut(u64, Vec<u8>)) {
        for byte in piece {
            if self.fault.is_some() {
                return;
            }
            self.lines += u64::from(*byte == b'\n');
            match self.in_text {
                true => self.text(*byte),
                false => self.sign(*byte, &mut record),
            }
        }
    }

    /// The document has ended. What [`Self::fault`] then says comes behind the record that is handed over.
    pub(super) fn finish(&mut self, mut record: impl FnMut(u64, Vec<u8>)) {
        if self.fault.is_some() {
            return;
        }
        let is_open = self.in_text || self.depth > 0;
        let line = 1 + if is_open { self.began } else { self.lines };
        self.value_ends(&mut record);
        if is_open || !self.around.is_empty() {
            let n = self.number;
            let en = format!(
                "the JSON ends within its brackets (behind record {n}; the last one begins on line {line}): the file was cut, or a bracket or quotation mark is wanting. What stands before was read; export it again"
            );
            let zh = format!(
                "JSON 在括号内中断（第 {n} 条之后；最后一条始于第 {line} 行）：文件不完整，或缺少括号、引号；此前的记录已读取，请重新导出"
            );
            self.fault = Some(SheetError::new("json_cut", n + 1, en, zh));
        }
    }

    /// Why there are no more records, if the document is not whole.
    pub(super) fn fault(&mut self) -> Option<SheetError> {
        self.fault.take()
    }

    /// The name of the list that was read, where other things stand beside it that were not.
    pub(super) fn only_list(&self) -> Option<&str> {
        self.list.as_deref().filter(|_| self.beside)
    }

    /// A byte of a text. A line end within one is no JSON; it stays none, and in one line.
    fn text(&mut self, byte: u8) {
        let ends = byte == b'"' && !self.escaped;
        self.escaped = byte == b'\\' && !self.escaped;
        self.push(if matches!(byte, b'\n' | b'\r') { b'\t' } else { byte });
        if ends {
            self.in_text = false;
            self.text.1 = self.value.len().saturating_sub(1);
        }
    }

    /// A byte outside of texts.
    fn sign(&mut self, byte: u8, record: &mut impl FnMut(u64, Vec<u8>)) {
        let is_between = self.value.is_empty();
        match byte {
            // What old systems and joined files leave behind.
            b'\0' | b'\x1a' | b'\xef' | b'\xbb' | b'\xbf' if is_between => {}
            b' ' | b'\t' | b'\r' | b'\n' if is_between => {}
            // What is no record is told by its line.
            b'\n' if self.depth == 0 && self.around.is_empty() => self.value_ends(record),
            b' ' | b'\t' | b'\r' | b'\n' => {
                if self.value.last() != Some(&b' ') {
                    self.push(b' ');
                }
            }
            b',' if self.depth == 0 => self.value_ends(record),
            b'"' => {
                self.push(byte);
                (self.in_text, self.text.0) = (true, self.value.len());
            }
            b'[' if is_between && self.around.is_empty() => self.around.push(byte),
            b'{' | b'[' => {
                if byte == b'{' && self.open.last() == Some(&b'[') && self.open.len() == self.depth {
                    self.list_found();
                }
                self.push(byte);
                self.depth += 1;
                if self.open.len() + 1 == self.depth && self.depth <= AROUND_MAX + 1 {
                    self.open.push(byte);
                }
            }
            b'}' | b']' if self.depth == 0 && self.around.last() == Some(&(byte - 2)) => {
                self.value_ends(record);
                self.around.pop();
            }
            b'}' | b']' => {
                self.push(byte);
                self.depth = self.depth.saturating_sub(1);
                self.open.truncate(self.depth);
                if self.depth == 0 {
                    self.value_ends(record);
                }
            }
            _ => self.push(byte),
        }
    }

    /// A list of objects begins in the value, behind objects only: it holds the records, if none were found before.
    fn list_found(&mut self) {
        let (list, objects) = self.open.split_last().map_or((None, &[][..]), |(list, objects)| (Some(list), objects));
        if list != Some(&b'[') || objects.is_empty() || objects.iter().any(|b| *b != b'{') {
            return;
        }
        if self.around.is_empty() && (self.number == 0 || self.list.is_some()) {
            let name = self.value.get(self.text.0..self.text.1).unwrap_or_default();
            self.list = Some(String::from_utf8_lossy(name).into_owned());
            self.beside |= memchr::memchr(b',', &self.value).is_some();
            self.around = std::mem::take(&mut self.open);
            self.value.clear();
            self.depth = 0;
        }
    }

    /// A value is whole: a record, or what stands beside the list of the records.
    fn value_ends(&mut self, record: &mut impl FnMut(u64, Vec<u8>)) {
        let mut value = std::mem::take(&mut self.value);
        (self.depth, self.in_text) = (0, false);
        self.open.clear();
        if value.is_empty() {
            return;
        }
        if self.around.last() != Some(&b'{') {
            value.truncate(value.trim_ascii_end().len());
            self.number += 1;
            return record(self.number, value);
        }
        self.beside = true;
        let second = memchr::memmem::find(&value, b"[{").or_else(|| memchr::memmem::find(&value, b"[ {"));
        if second.is_some() {
            let (n, line) = (self.number, self.began + 1);
            let first = self.list.as_deref().unwrap_or_default();
            let en = format!(
                "the JSON holds a second list of objects on line {line}, beside {first:?}: nothing from there on was read. Hand each list in as a file of its own"
            );
            let zh = format!("JSON 中除“{first}”外还有第二个列表（第 {line} 行）：自该处起未读取，请将各列表分别报送");
            self.fault = Some(SheetError::new("json_lists", n + 1, en, zh));
        }
    }

    fn push(&mut self, byte: u8) {
        if self.value.is_empty() {
            self.began = self.lines;
        }
        if self.value.len() < LINE_BYTES_MAX {
            self.value.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> (Vec<String>, Option<SheetError>, Option<String>) {
        let mut seen = Vec::new();
        for step in [1, 7, 1 << 20] {
            let (mut records, mut here) = (JsonRecords::default(), Vec::new());
            let mut take = |n, record: Vec<u8>| {
                here.push(String::from_utf8(record).unwrap());
                assert_eq!(n, here.len() as u64);
            };
            text.as_bytes().chunks(step).for_each(|piece| records.feed(piece, &mut take));
            records.finish(&mut take);
            let only = records.only_list().map(str::to_owned);
            seen.push((here, records.fault(), only));
        }
        assert!(seen.windows(2).all(|w| w[0] == w[1]), "{seen:?}");
        seen.remove(0)
    }

    #[test]
    fn records_are_those_of_the_document_however_it_is_laid_out() {
        for text in [
            "[{\"a\":1},{\"a\":\"x]},{\"}]",
            "\u{feff}[\n  {\"a\":1},\r\n  {\"a\":\"x]},{\"}\n]\n\u{1a}",
            "{\"a\":1},\n{\"a\":\"x]},{\"},\n",
            "{\"a\":1}{\"a\":\"x]},{\"}",
            "{\"RECORDS\":[{\"a\":1},{\"a\":\"x]},{\"}]}",
            "{\"RECORDS\":[{\"a\":1}]}\n{\"RECORDS\":[{\"a\":\"x]},{\"}]}",
            "[{\"a\":1}]\n[{\"a\":\"x]},{\"}]",
        ] {
            let (records, fault, only) = all(text);
            assert_eq!(
                (records, fault, only),
                (vec!["{\"a\":1}".into(), "{\"a\":\"x]},{\"}".into()], None, None),
                "{text}"
            );
        }
        let (records, fault, only) = all(
            "{\"code\": 0, \"data\": {\"total\": 2, \"rows\": [{\"a\": 1}, {\"a\": {\"b\": [2]}}], \"x\": {}}, \"ok\": true}",
        );
        assert_eq!(records, ["{\"a\": 1}", "{\"a\": {\"b\": [2]}}"]);
        assert_eq!((fault, only.as_deref()), (None, Some("rows")));
        let (records, ..) = all("{\n \"a\": \"x\\\"}\",\n \"b\": \"\\\\\"\n}\n{\n}\n");
        assert_eq!(records, ["{ \"a\": \"x\\\"}\", \"b\": \"\\\\\" }", "{ }"]);
    }

    /// What is no JSON stays none: nothing is put together that did not stand so.
    #[test]
    fn what_is_no_record_is_handed_over_as_it_is() {
        for (text, wanted) in [
            ("[1, \"x\", [2]]", &["1", "\"x\"", "[2]"][..]),
            ("[{\"a\":1 \n 2}]", &["{\"a\":1 2}"]),
            ("[{\"a\":\"x\ny\"}]", &["{\"a\":\"x\ty\"}"]),
            ("[{\"a\":1}\n{\"a\":2}]", &["{\"a\":1}", "{\"a\":2}"]),
            ("{\"a\":[{\"b\":1}]}\n", &["{\"b\":1}"]),
            ("{\"a\":1}\nx y\n{\"a\":[{\"b\":1}]}", &["{\"a\":1}", "x y", "{\"a\":[{\"b\":1}]}"]),
        ] {
            let (records, fault, _) = all(text);
            assert_eq!((records, fault), (wanted.iter().map(|w| (*w).to_owned()).collect(), None), "{text}");
        }
    }

    #[test]
    fn a_document_that_is_cut_says_so() {
        for (text, count, line) in [
            ("[{\"a\":1},\n{\"a\":2}", 2, "第 2 行"),
            ("[{\"a\":1},\n{\"a\":2},\n{\"a\"", 3, "第 3 行"),
            ("{\"RECORDS\":[{\"a\":1}]", 1, "第 1 行"),
            ("{\n\"a\": \"1\n}\n{\n", 1, "第 1 行"),
        ] {
            let (records, fault, _) = all(text);
            let fault = fault.unwrap();
            assert_eq!((records.len(), fault.code), (count, "json_cut"), "{text}");
            assert!(fault.message_zh.contains(line), "{text}: {fault:?}");
        }
        let (records, fault, _) = all("{\"a\":[{\"x\":1}],\n\"b\":[{\"x\":2}]}");
        let fault = fault.unwrap();
        assert_eq!((records.len(), fault.code), (1, "json_lists"));
        assert!(fault.message_zh.contains("“a”"), "{fault:?}");
    }

    #[test]
    fn an_endless_record_takes_bounded_memory() {
        let piece = vec![b'x'; 1 << 20];
        let (mut records, mut seen) = (JsonRecords::default(), Vec::new());
        let mut take = |_, record: Vec<u8>| seen.push(record.len());
        for piece in [&b"[{\"a\":\""[..], &piece, &piece, b"\"},{}", &vec![b'['; 1 << 20]] {
            records.feed(piece, &mut take);
        }
        assert_eq!(seen, [LINE_BYTES_MAX, 2]);
        assert!(records.value.capacity() <= 2 * LINE_BYTES_MAX && records.open.len() <= AROUND_MAX + 1);
    }
}
