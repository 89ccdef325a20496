//! The mark that a row of an answer's file bears beside the codes of its errors: of which answer and line it is. So the
//! corrected row is known for a correction whatever was corrected in it, its business key too.

use std::fmt;

/// What a row handed in again replies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Name of the answer.
    pub answer: String,
    /// Line of the row in the input that was answered.
    pub line: u64,
    /// The row was taken and asked about: digits that tell whether the business key is still the same.
    pub held: Option<u32>,
}

const OPEN: char = '〔';
const CLOSE: char = '〕';
/// Said of rows that were taken.
const HELD: &str = "已入库";
/// Longest name of an answer, in bytes.
const ANSWER_MAX: usize = 64;

fn check(business_key: &str) -> u32 {
    let hash = *blake3::hash(business_key.as_bytes()).as_bytes();
    u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]])
}

impl Reply {
    /// To a row of an answer; with its business key, if it was taken.
    pub fn new(answer: &str, line: u64, held: Option<&str>) -> Self {
        Self { answer: answer.to_owned(), line, held: held.map(check) }
    }

    /// Reads the mark at the end of a cell.
    pub fn read(cell: &str) -> Option<Self> {
        let inner = cell.trim().strip_suffix(CLOSE)?.rsplit_once(OPEN)?.1;
        let mut parts = inner.split('/');
        let (answer, line) = (parts.next()?, parts.next()?.parse().ok()?);
        let named = answer.len() <= ANSWER_MAX && answer.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let held = match parts.next() {
            None => None,
            Some(held) => Some(u32::from_str_radix(held.strip_prefix(HELD)?, 16).ok()?),
        };
        (named && parts.next().is_none()).then(|| Self { answer: answer.to_owned(), line, held })
    }

    /// Whether a row with this business key is the record that was taken.
    pub fn is_of(&self, business_key: &str) -> bool {
        self.held == Some(check(business_key))
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answer, line, held } = self;
        match held {
            None => write!(f, "{OPEN}{answer}/{line}{CLOSE}"),
            Some(check) => write!(f, "{OPEN}{answer}/{line}/{HELD}{check:08x}{CLOSE}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_read_back_and_nothing_else_does() {
        for reply in [Reply::new("350102-20261125-0007", 5, None), Reply::new("350102-20261125-0007", 5, Some("键"))] {
            assert_eq!(Reply::read(&format!("V001；V008 {reply} ")), Some(reply.clone()));
            assert_eq!(reply.is_of("键"), reply.held.is_some());
            assert!(!reply.is_of("别的"));
        }
        for other in [
            "",
            "V001",
            "〔〕",
            "〔1/2/3〕",
            "〔1-2/x〕",
            "〔../5〕",
            "〔1/2/已入库zz〕",
            "〔1/2/已入库00/4〕",
            "榕鼓许〔2025〕",
        ] {
            assert_eq!(Reply::read(other), None, "{other}");
        }
        assert_eq!(Reply::read(&format!("〔{}/1〕", "1".repeat(65))), None);
    }
}
