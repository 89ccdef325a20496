//! Files of outcomes: what became of the rows of segments that are gone, a line of JSON for each of their frames. A file is named by
//! the first and last of them.
//!
//! A file is there whole or not at all, and before the segments go. It is kept longer than any answer that asks for it.

use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};
use tally_protocol::ids::LogId;

/// How long a file of outcomes is kept: answers are kept 90 days.
const KEPT: Duration = Duration::from_secs(100 * 86_400);

/// What became of the rows of a frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameOutcome {
    /// The frame's number.
    pub number: u64,
    /// Rows that were sealed.
    pub sealed: u64,
    /// Rows that turned out to be held.
    pub duplicate: u64,
    /// Rows that could not be read any more.
    pub lost: u64,
    /// The log that has the sealed ones, the first of them and one past the last; none if none was sealed.
    pub place: Option<(LogId, u64, u64)>,
}

impl FrameOutcome {
    /// Of a frame of which nothing became anything yet.
    pub fn of(number: u64) -> Self {
        Self { number, sealed: 0, duplicate: 0, lost: 0, place: None }
    }

    /// A row of it was sealed there.
    pub fn sealed_at(&mut self, log: LogId, index: u64) {
        self.sealed = self.sealed.saturating_add(1);
        self.place = span(self.place, (log, index, index.saturating_add(1)));
    }
}

/// Both together; of two logs the later one counts.
pub(super) fn span(known: Option<(LogId, u64, u64)>, new: (LogId, u64, u64)) -> Option<(LogId, u64, u64)> {
    Some(match known {
        Some((log, from, to)) if log == new.0 => (log, from.min(new.1), to.max(new.2)),
        Some(known) if known.0 > new.0 => known,
        _ => new,
    })
}

fn path(dir: &Path, (first, last): (u64, u64)) -> PathBuf {
    dir.join(format!("{first:016}-{last:016}.done"))
}

/// Numbers of the first and last frame of each file of outcomes, ascending.
pub(super) fn ranges(dir: &Path) -> io::Result<Vec<(u64, u64)>> {
    let mut ranges = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let range = name.to_str().and_then(|n| n.strip_suffix(".done")).and_then(|n| n.split_once('-'));
        ranges.extend(range.and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?))));
    }
    ranges.sort_unstable();
    Ok(ranges)
}

/// Writes a file of outcomes, durably. Of no outcomes there is none.
pub(super) fn write(dir: &Path, outcomes: &[FrameOutcome]) -> io::Result<()> {
    let (Some(first), Some(last)) = (outcomes.first(), outcomes.last()) else { return Ok(()) };
    let mut bytes = Vec::new();
    for outcome in outcomes {
        serde_json::to_writer(&mut bytes, outcome)?;
        bytes.push(b'\n');
    }
    let path = path(dir, (first.number, last.number));
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    File::open(dir)?.sync_all()
}

/// Adds the outcomes of a file, by the frames' numbers. No file adds none.
pub(super) fn read(dir: &Path, range: (u64, u64), into: &mut BTreeMap<u64, FrameOutcome>) -> io::Result<()> {
    let text = match fs::read_to_string(path(dir, range)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        text => text?,
    };
    for line in text.lines() {
        let outcome: FrameOutcome = serde_json::from_str(line).map_err(io::Error::other)?;
        into.insert(outcome.number, outcome);
    }
    Ok(())
}

/// Removes files that no answer asks for any more. The newest stays: numbers go on behind it.
pub(super) fn prune(dir: &Path, now_s: u64) -> io::Result<()> {
    let ranges = ranges(dir)?;
    for range in ranges.iter().rev().skip(1) {
        let path = path(dir, *range);
        let written = fs::metadata(&path)?.modified()?.duration_since(std::time::UNIX_EPOCH);
        let age = now_s.saturating_sub(written.map_or(now_s, |w| w.as_secs()));
        if age > KEPT.as_secs() {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
