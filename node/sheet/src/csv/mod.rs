//! CSV and its relatives, in constant memory.

#![warn(clippy::indexing_slicing)]

mod delimiter;
mod quotes;

use super::{CELLS_MAX, Encoding, ROW_BYTES_MAX, Row, SheetError, Take, decode::Text};
use csv_core::{ReadRecordResult, ReaderBuilder};
pub use delimiter::KnownHeads;
use quotes::Flaw;
use std::io::Read;

/// Text by which the delimiter is found, in bytes.
const GUESS_BYTES: usize = 64 << 10;
/// The byte order mark in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";
/// Most lines that are handed over of a row of which it is not certain where it ends.
const FAULTY_LINES_MAX: usize = 10_000;

/// How to read.
#[derive(Debug, Clone, Copy, Default)]
pub struct CsvOptions<'h> {
    /// The delimiter; found if none is said.
    pub delimiter: Option<u8>,
    /// Which heads are known: the delimiter is the one under which most of them are found.
    pub heads: Option<KnownHeads<'h>>,
}

/// What a CSV was taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CsvFound {
    /// `None`: plain ASCII.
    pub encoding: Option<Encoding>,
    /// Between cells.
    pub delimiter: u8,
}

/// Reads rows until the end; blank ones are passed over. A row in which quotation marks do not stand as they should is
/// handed over line by line, each with its fault.
///
/// # Errors
/// [`SheetError`], after all rows before the fault were handed over.
pub fn read_csv(source: impl Read, options: CsvOptions<'_>, take: Take<'_>) -> Result<CsvFound, SheetError> {
    let mut text = Text::new(source);
    let mut input = Vec::new();
    while input.len() < GUESS_BYTES && text.next(&mut input).map_err(|e| SheetError::io(&e))? {}
    let delimiter = options.delimiter.unwrap_or_else(|| delimiter::find(&input, options.heads));
    let mut parser = ReaderBuilder::new().delimiter(delimiter).terminator(csv_core::Terminator::Any(b'\n')).build();
    let (mut output, mut ends) = (vec![0; ROW_BYTES_MAX], vec![0; CELLS_MAX]);
    let (mut done, mut written, mut ended) = (0, 0, 0);
    let mut more = true;
    let mut start = None;
    let mut record = Record { delimiter, usual: 0, from: 0, before: Vec::new(), open_since: None };
    let found = |text: &Text<_>| CsvFound { encoding: text.encoding, delimiter };
    loop {
        if done == input.len() && more {
            record.keep(&input, start.is_some());
            input.clear();
            done = 0;
            more = text.next(&mut input).map_err(|e| SheetError::io(&e))?;
            continue;
        }
        if start.is_none() {
            // Blank lines before a row are not its start.
            while input.get(done) == Some(&b'\n') {
                done += 1;
                parser.set_line(parser.line() + 1);
            }
            if done == input.len() && more {
                continue;
            }
            // The mark with which a joined file begins would hide the quotation mark behind it.
            while input.get(done..).is_some_and(|rest| rest.starts_with(MARK)) {
                done += MARK.len();
            }
            start = Some(parser.line());
            record.begin(done);
        }
        let line = start.unwrap_or(1);
        let (result, read, wrote, cells) = parser.read_record(
            input.get(done..).unwrap_or_default(),
            output.get_mut(written..).unwrap_or_default(),
            ends.get_mut(ended..).unwrap_or_default(),
        );
        done += read;
        written += wrote;
        ended += cells;
        match result {
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => return Err(endless(line)),
            ReadRecordResult::End => return text.mixed(parser.line()).map_or(Ok(found(&text)), Err),
            ReadRecordResult::Record => {
                // The text ends with a line end: what is only closed by the end of the input stands in open quotes.
                if done == input.len() && !more && read == 0 {
                    return Err(open_quote(line));
                }
                let ends = ends.get(..ended).unwrap_or_default();
                if record.hand_over(line, input.get(..done).unwrap_or_default(), &output, ends, take) {
                    return Ok(found(&text));
                }
                (written, ended, start) = (0, 0, None);
            }
        }
    }
}

/// The bytes of the row that is being read.
struct Record {
    delimiter: u8,
    /// How many delimiters the line before had.
    usual: usize,
    /// Where it begins in the piece.
    from: usize,
    /// What of it stood in the pieces before.
    before: Vec<u8>,
    /// The text of a cell goes on from this line, which ended with a backslash.
    open_since: Option<u64>,
}

impl Record {
    fn begin(&mut self, from: usize) {
        self.from = from;
        self.before.clear();
    }

    /// Another piece comes.
    fn keep(&mut self, piece: &[u8], begun: bool) {
        if begun {
            self.before.extend_from_slice(piece.get(self.from..).unwrap_or_default());
        }
        self.from = 0;
    }

    /// Hands over the row, which ends where `piece` does; answers whether no more is wanted.
    fn hand_over(&mut self, line: u64, piece: &[u8], output: &[u8], ends: &[usize], take: Take<'_>) -> bool {
        let mut bytes = piece.get(self.from..).unwrap_or_default();
        if !self.before.is_empty() {
            self.before.extend_from_slice(bytes);
            bytes = &self.before;
        }
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let flaw = memchr::memchr2(b'"', b'\\', bytes).and_then(|_| quotes::flaw(bytes, self.delimiter, self.usual));
        // What goes on behind a line that ends with a backslash is no row of its own.
        let goes_on = self.open_since.filter(|_| ends.len() <= self.usual);
        let (flaw, since) = match (flaw, goes_on) {
            (None | Some(Flaw::EscapedEnd), Some(since)) => (Some(Flaw::EscapedEnd), since),
            (flaw, _) => (flaw, line),
        };
        self.open_since = None;
        let Some(flaw) = flaw else {
            if memchr::memchr(b'\n', bytes).is_none() {
                self.usual = ends.len().saturating_sub(1);
            }
            let mut row = Row { line, cells: cut(output, ends), ..Row::default() };
            tidy(&mut row);
            return !row.is_blank() && take(row).is_break();
        };
        if flaw == Flaw::EscapedEnd && bytes.ends_with(b"\\") {
            self.open_since = Some(since);
        }
        let last = line + memchr::memchr_iter(b'\n', bytes).count() as u64;
        let lines = bytes.split(|b| *b == b'\n').take(FAULTY_LINES_MAX);
        lines.zip(line..).filter(|(bytes, _)| !bytes.trim_ascii().is_empty()).any(|(bytes, at)| {
            let text = String::from_utf8_lossy(bytes);
            let cells = text.split(char::from(self.delimiter)).take(CELLS_MAX).map(str::to_owned).collect();
            let fault = Some(Box::new(flaw.error(since, last)));
            take(Row { line: at, cells, fault, ..Row::default() }).is_break()
        })
    }
}

/// Cells as the parser wrote them.
fn cut(output: &[u8], ends: &[usize]) -> Vec<String> {
    let mut from = 0;
    let cell = |end: &usize| {
        let text = String::from_utf8_lossy(output.get(from..*end).unwrap_or_default()).into_owned();
        from = *end;
        text
    };
    ends.iter().map(cell).collect()
}

/// Leaves out what nobody sees: the delimiters that a spreadsheet writes for every column that it has formatted, the mark
/// with which another file began that was joined to this one, and the end mark and the filling of old systems.
fn tidy(row: &mut Row) {
    while row.cells.last().is_some_and(String::is_empty) {
        row.cells.pop();
    }
    if let Some(first) = row.cells.first_mut()
        && first.starts_with(['\u{feff}', '\u{1a}'])
    {
        *first = first.trim_start_matches(['\u{feff}', '\u{1a}']).to_owned();
    }
    if let Some(last) = row.cells.last_mut()
        && last.ends_with(['\u{1a}', '\0'])
    {
        last.truncate(last.trim_end_matches(['\u{1a}', '\0']).len());
    }
    row.mark_error_texts();
}

fn endless(line: u64) -> SheetError {
    SheetError::new(
        "endless_row",
        line,
        format!(
            "the row that starts on line {line} has more than {ROW_BYTES_MAX} bytes or {CELLS_MAX} cells: is a quotation mark in it not closed? Nothing from this line on was read"
        ),
        format!("第 {line} 行开始的一行过长，可能缺少右引号；自该行起未读取"),
    )
}

fn open_quote(line: u64) -> SheetError {
    SheetError::new(
        "open_quote",
        line,
        format!(
            "a quotation mark in the row that starts on line {line} is not closed: nothing from this line on was read"
        ),
        format!("第 {line} 行开始的一行缺少右引号；自该行起未读取"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ops::ControlFlow;

    type Rows = Vec<(u64, Vec<String>)>;

    fn read(bytes: &[u8]) -> (Rows, Result<CsvFound, SheetError>) {
        let mut rows = Vec::new();
        let result = read_csv(bytes, CsvOptions::default(), &mut |r| {
            rows.push((r.line, r.cells));
            ControlFlow::Continue(())
        });
        (rows, result)
    }

    fn rows(bytes: &[u8]) -> Rows {
        let (rows, result) = read(bytes);
        result.unwrap();
        rows
    }

    fn cells(row: &[&str]) -> Vec<String> {
        row.iter().map(|c| (*c).to_owned()).collect()
    }

    #[test]
    fn lines_are_those_of_an_editor() {
        let text = b"a,b\r\n\r\n\"x\ny\",\"say \"\"hi\"\"\"\r\rc,d\n,\n  ,\n\ne,f";
        assert_eq!(
            rows(text),
            [
                (1, cells(&["a", "b"])),
                (3, cells(&["x\ny", "say \"hi\""])),
                (6, cells(&["c", "d"])),
                (10, cells(&["e", "f"]))
            ]
        );
    }

    #[test]
    fn delimiters_are_guessed() {
        for (text, delimiter) in [
            ("标题，说明；一行\na\tb\tc\n1,5\t2\t3\n", b'\t'),
            ("a;b;c\n\"1;2,3,4,5\";x;y\n", b';'),
            ("a|b\n1|2\n", b'|'),
            ("a,b\n1,2\n", b','),
            ("only\n", b','),
            ("a\x01b\n1,5,6,7\x012\n", 1),
            ("a^b\n1^2\n", b'^'),
            // Free text that holds more of another one than there are columns.
            (&format!("a\tb\tc\n1\t2\t3\n1\t{}\t3\n", "一,".repeat(30)), b'\t'),
            (&format!("a,b,c,d\n1,2,3,{}\n", "一;".repeat(26)), b','),
        ] {
            let (_, found) = read(text.as_bytes());
            assert_eq!(found.unwrap().delimiter, delimiter, "{text}");
        }
    }

    #[test]
    fn an_open_quote_is_named_and_what_came_before_is_read() {
        let (rows, result) = read(b"a,b\n1,2\n3,\"4\n5,6\n");
        assert_eq!(rows.len(), 2);
        let why = result.unwrap_err();
        assert_eq!((why.code, why.line), ("open_quote", 3));
        let long = [b"a,b\n1,\"".as_slice(), &vec![b'x'; 2 << 20], b"\n"].concat();
        let (rows, result) = read(&long);
        assert_eq!((rows.len(), result.unwrap_err().code), (1, "endless_row"));
        let formatted = [b"a".to_vec(), vec![b','; CELLS_MAX - 1]].concat();
        assert_eq!(self::rows(&formatted), [(1, cells(&["a"]))]);
        let wide = ",".repeat(CELLS_MAX);
        assert_eq!(read(wide.as_bytes()).1.unwrap_err().code, "endless_row");
    }

    /// A10: a database writes a line end that belongs to a text behind a backslash; what follows is no row of its own.
    #[test]
    fn a_text_that_goes_on_behind_a_backslash_is_one_fault() {
        let mut seen = Vec::new();
        let text = b"a\tb\tc\n1\t2\t3\n4\t5\\\n6\t7\n8\t9\tx\\\ny\\\nz\n1\t2\t3\n";
        let found = read_csv(text.as_slice(), CsvOptions { delimiter: Some(b'\t'), heads: None }, &mut |r| {
            seen.push((r.line, r.fault.map(|f| (f.code, f.line))));
            ControlFlow::Continue(())
        });
        found.unwrap();
        let cut = |line| Some(("escaped_line_end", line));
        let wanted = [(1, None), (2, None), (3, cut(3)), (4, cut(3)), (5, cut(5)), (6, cut(5)), (7, cut(5)), (8, None)];
        assert_eq!(seen, wanted);
    }

    #[test]
    fn the_mark_of_a_joined_file_hides_no_quotation_mark() {
        let text = "\u{feff}\"甲\",1\n\u{feff}\"乙,丙\",2\n";
        assert_eq!(rows(text.as_bytes()), [(1, cells(&["甲", "1"])), (2, cells(&["乙,丙", "2"]))]);
    }

    #[test]
    fn many_rows_keep_their_lines() {
        let text: String = (1..=20_000).map(|i| format!("{i},\"第{i}行\"\r\n")).collect();
        let rows = rows(text.as_bytes());
        assert_eq!(rows.len(), 20_000);
        assert!(rows.iter().all(|(line, cells)| cells[0] == line.to_string()));
        assert_eq!(self::rows(b""), []);
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_rows_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..3_000)) {
            let _ = read(&bytes);
        }
    }
}
