//! What stands between the cells of a text: the delimiter under which heads are found, else the one that cuts most lines
//! alike.

use super::cut;
use crate::ROW_BYTES_MAX;
use csv_core::{ReadRecordResult, ReaderBuilder};

/// Lines by which the delimiter is guessed, and rows among which heads are looked for.
const GUESS_LINES: usize = 30;
/// The last two are what Hive and some mainframes write.
const DELIMITERS: [u8; 8] = *b",\t;|^~\x01\x1f";
/// Columns that must be known for a row to be that of the heads.
const KNOWN_MIN: usize = 2;

/// How many heads of a table are known in a row.
#[derive(Clone, Copy)]
pub struct KnownHeads<'h>(pub &'h dyn Fn(&[String]) -> usize);

impl std::fmt::Debug for KnownHeads<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KnownHeads")
    }
}

/// The delimiter of a text that begins so.
pub(super) fn find(text: &[u8], known: Option<KnownHeads<'_>>) -> u8 {
    let guessed = guess(text);
    let Some(KnownHeads(known)) = known else { return guessed };
    let there = DELIMITERS.iter().filter(|d| memchr::memchr(**d, text).is_some());
    let scores = there.map(|d| (best(text, *d, known), *d == guessed, *d));
    match scores.max() {
        Some((heads, _, delimiter)) if heads >= KNOWN_MIN => delimiter,
        _ => guessed,
    }
}

/// Most heads that are known in one of the first rows, as this delimiter cuts them.
fn best(text: &[u8], delimiter: u8, known: &dyn Fn(&[String]) -> usize) -> usize {
    let mut parser = ReaderBuilder::new().delimiter(delimiter).terminator(csv_core::Terminator::Any(b'\n')).build();
    let (mut output, mut ends) = (vec![0; text.len().min(ROW_BYTES_MAX)], vec![0; text.len().min(crate::CELLS_MAX)]);
    let (mut rest, mut most) = (text, 0);
    for _ in 0..GUESS_LINES {
        let (result, read, _, cells) = parser.read_record(rest, &mut output, &mut ends);
        rest = rest.get(read..).unwrap_or_default();
        if result != ReadRecordResult::Record {
            break;
        }
        most = most.max(known(&cut(&output, ends.get(..cells).unwrap_or_default())));
    }
    most
}

/// The delimiter that cuts most of the first lines into the same number of cells, and into many: free text may hold more
/// of another one, but not in every line as many.
fn guess(text: &[u8]) -> u8 {
    let mut lines: Vec<[usize; DELIMITERS.len()]> = Vec::new();
    let (mut here, mut quoted) = ([0; DELIMITERS.len()], false);
    for b in text {
        match b {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => {
                lines.push(std::mem::take(&mut here));
                if lines.len() == GUESS_LINES {
                    break;
                }
            }
            _ if quoted => {}
            b => {
                if let Some((_, n)) = DELIMITERS.iter().zip(&mut here).find(|(d, _)| *d == b) {
                    *n += 1;
                }
            }
        }
    }
    if lines.len() < GUESS_LINES {
        lines.push(here);
    }
    // How many lines agree counts for more than how many cells they have; a line alone agrees with nothing.
    let weight = |i: usize| {
        let cells = || lines.iter().filter_map(|l| l.get(i).copied());
        let alike = |n: usize| cells().filter(|c| *c == n).count();
        let of = |n: usize| (if alike(n) > 1 { alike(n).pow(4) * n } else { 0 }, n);
        cells().filter(|n| *n > 0).map(of).max().unwrap_or_default()
    };
    let best = DELIMITERS.iter().enumerate().rev().max_by_key(|(i, _)| weight(*i));
    best.map_or(b',', |(_, delimiter)| *delimiter)
}
