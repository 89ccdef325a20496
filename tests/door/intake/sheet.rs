//! Tables of licences, registrations and penalties, in the forms in which they come, and how they are handed in.

use serde_json::Value;
use std::{fs, ops::Range};
use tally_tests::{COUNTY, Federation, Plan, Ran, list};

/// A node without others, so that it may take rows in at once.
pub(super) const ALONE: &[Plan<'static>] = &[(COUNTY, "county", None)];
pub(super) const UNIT: &str = "福州市鼓楼区市场监督管理局";
pub(super) const UNIT_CODE: &str = "113501020036012589";
pub(super) const SUBJECT: &str = "福州榕盛餐饮管理有限公司";
pub(super) const SUBJECT_CODE: &str = "91350102MA2TE5T1X0";

pub(super) const DOCUMENT_NO: &str = "行政许可决定文书号";
pub(super) const CONTENT: &str = "许可内容";

/// Title of 2018, code of the interface, and what stands below.
const LICENSE: &[(&str, &str, &str)] = &[
    ("行政相对人名称", "XK_XDR_MC", SUBJECT),
    ("行政相对人类别", "XK_XDR_LB", "法人及非法人组织"),
    ("行政相对人代码_1（统一社会信用代码）", "XK_XDR_SHXYM", SUBJECT_CODE),
    ("法定代表人", "XK_FRDB", "陈志强"),
    ("行政许可决定文书名称", "XK_XKWS", "食品经营许可决定书"),
    (DOCUMENT_NO, "XK_WSH", ""),
    ("许可类别", "XK_XKLB", "普通"),
    (CONTENT, "XK_NR", "热食类食品制售"),
    ("许可决定日期", "XK_JDRQ", "2025-06-03"),
    ("有效期自", "XK_YXQZ", "2025-06-03"),
    ("有效期至", "XK_YXQZI", "2030-06-02"),
    ("许可机关", "XK_XKJG", UNIT),
    ("许可机关统一社会信用代码", "XK_XKJGDM", UNIT_CODE),
    ("当前状态", "XK_ZT", "1"),
    ("数据来源单位", "XK_LYDW", UNIT),
    ("数据来源单位统一社会信用代码", "XK_LYDWDM", UNIT_CODE),
];

/// A table of text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sheet {
    pub(super) heads: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

pub(super) fn owned(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|c| (*c).to_owned()).collect()
}

impl Sheet {
    pub(super) fn new(heads: &[&str], rows: &[&[&str]]) -> Self {
        Self { heads: owned(heads), rows: rows.iter().map(|r| owned(r)).collect() }
    }

    /// Licences with titles of 2018, one row for each number.
    pub(super) fn licenses(numbers: Range<usize>) -> Self {
        let heads: Vec<_> = LICENSE.iter().map(|(title, ..)| *title).collect();
        let mut sheet = Self::new(&heads, &[]);
        for n in numbers {
            sheet.rows.push(LICENSE.iter().map(|(.., value)| (*value).to_owned()).collect());
            sheet.set(sheet.rows.len() - 1, DOCUMENT_NO, &format!("榕鼓许〔2025〕{n}号"));
        }
        sheet
    }

    /// A registration of an enterprise, approved on a day.
    pub(super) fn registration(name: &str, code: &str, day: &str) -> Self {
        let heads = [
            "产生单位",
            "登记机关代码",
            "UNISCID",
            "ENTNAME",
            "ENTTYPE",
            "NAME",
            "ESTDATE",
            "APPRDATE",
            "REGSTATE",
            "DOM",
            "DOMDISTRICT",
            "REGORG",
        ];
        let row = [UNIT, "", code, name, "1130", "陈志强", "2020-01-02", day, "1", "福州市", "350102", "350102"];
        Self::new(&heads, &[&row])
    }

    /// The same under the codes of the interface.
    pub(super) fn coded(mut self) -> Self {
        for head in &mut self.heads {
            if let Some((_, code, _)) = LICENSE.iter().find(|(title, ..)| title == head) {
                *head = (*code).to_owned();
            }
        }
        self
    }

    /// Sets a cell; a head that is not there yet becomes a new column.
    pub(super) fn set(&mut self, row: usize, head: &str, value: &str) {
        let at = self.heads.iter().position(|h| h == head).unwrap_or_else(|| {
            self.heads.push(head.to_owned());
            self.heads.len() - 1
        });
        let row = &mut self.rows[row];
        row.resize(self.heads.len().max(row.len()), String::new());
        row[at] = value.to_owned();
    }

    pub(super) fn with(mut self, row: usize, head: &str, value: &str) -> Self {
        self.set(row, head, value);
        self
    }

    pub(super) fn text(&self, delimiter: char, line_end: &str) -> String {
        let quoted = |cell: &String| {
            let plain = !cell.contains([delimiter, '"', '\n', '\r']);
            if plain { cell.clone() } else { format!("\"{}\"", cell.replace('"', "\"\"")) }
        };
        let line = |cells: &Vec<String>| {
            let cells: Vec<_> = cells.iter().map(quoted).collect();
            cells.join(&delimiter.to_string()) + line_end
        };
        [&self.heads].into_iter().chain(&self.rows).map(line).collect()
    }

    pub(super) fn csv(&self) -> String {
        self.text(',', "\r\n")
    }

    /// What a CSV of an answer says, by a reader that knows only its own dialect.
    pub(super) fn parse(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').expect("a mark, so that Excel takes it for UTF-8");
        let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '"' if quoted && chars.next_if_eq(&'"').is_some() => cell.push('"'),
                '"' => quoted = !quoted,
                ',' if !quoted => row.push(std::mem::take(&mut cell)),
                '\r' if !quoted => {}
                '\n' if !quoted => {
                    row.push(std::mem::take(&mut cell));
                    rows.push(std::mem::take(&mut row));
                }
                c => cell.push(c),
            }
        }
        Self { heads: rows.remove(0), rows }
    }
}

/// What became of a file.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) ran: Ran,
    /// Null where the file was refused.
    pub(super) answer: Value,
}

impl Handed {
    /// Read, accepted, duplicate, rejected.
    pub(super) fn counts(&self) -> [u64; 4] {
        counts(&self.answer)
    }

    /// Codes said of a line.
    pub(super) fn codes(&self, line: u64) -> Vec<&str> {
        let errors = list(&self.answer["errors"]).iter().filter(|e| e["line"] == line);
        errors.map(|e| e["code"].as_str().unwrap()).collect()
    }

    /// Codes of the notes.
    pub(super) fn notes(&self) -> Vec<&str> {
        list(&self.answer["notes"]).iter().map(|n| n["code"].as_str().unwrap()).collect()
    }

    /// All rows are new, and nothing is wrong with them.
    pub(super) fn all_taken(&self, rows: u64) {
        assert_eq!((self.ran.code, self.counts()), (0, [rows, rows, 0, 0]), "{self:?}");
        assert_eq!((&self.answer["questions"], &self.answer["errors"]), (&0.into(), &Value::Array(vec![])), "{self:?}");
    }
}

/// Read, accepted, duplicate, rejected; they always add up.
pub(super) fn counts(answer: &Value) -> [u64; 4] {
    let n =
        ["read", "accepted", "duplicate", "rejected"].map(|f| answer[f].as_u64().unwrap_or_else(|| panic!("{answer}")));
    assert_eq!(n[0], n[1] + n[2] + n[3], "{answer}");
    n
}

/// Hands a file in by the command line, as it is.
pub(super) fn hand_in(federation: &Federation, name: &str, bytes: &[u8], args: &[&str]) -> Handed {
    let path = federation.at(name);
    fs::write(&path, bytes).unwrap();
    let ran = federation.ask(COUNTY, &[&["ingest", &path, "--json"], args].concat());
    let answer = ran.json();
    assert!(ran.err.is_empty() != answer.is_null(), "messages go to stderr: {ran:?}");
    if answer.is_null() {
        assert_eq!(ran.code, 1, "{ran:?}");
    } else {
        let rejected = counts(&answer)[3];
        assert_eq!(ran.code, if rejected > 0 { 3 } else { 0 }, "{ran:?}");
        for e in list(&answer["errors"]) {
            in_both_languages(e);
        }
    }
    Handed { ran, answer }
}

/// A message says something in English and in Chinese.
pub(super) fn in_both_languages(e: &Value) {
    let chinese = |t: &str| t.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
    let (en, zh) = (e["message"].as_str().unwrap(), e["message_zh"].as_str().unwrap());
    assert!(!en.trim().is_empty() && chinese(zh), "{e}");
}

/// The node never came to the end of its wits.
pub(super) fn unharmed(federation: &Federation) {
    let log = fs::read_to_string(federation.file(COUNTY, "node.log")).unwrap();
    let bad: Vec<_> = log.lines().filter(|l| l.contains("panicked")).collect();
    assert!(bad.is_empty(), "{bad:?}");
    assert!(federation.status(COUNTY)["records"].is_u64());
}
