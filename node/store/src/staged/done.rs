//! Files of outcomes: what became of the rows of a segment that is gone, a line of JSON for each of its frames.
//!
//! A file is there whole or not at all, and before its segment goes. It is kept longer than any answer that asks for it.

use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
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
    /// The frame's place.
    pub at: u64,
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
    pub fn of(at: u64) -> Self {
        Self { at, sealed: 0, duplicate: 0, lost: 0, place: None }
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

fn path(dir: &Path, segment: u32) -> PathBuf {
    dir.join(format!("{segment:08}.done"))
}

/// Numbers of the segments that have a file of outcomes.
pub(super) fn numbers(dir: &Path) -> io::Result<BTreeSet<u32>> {
    let mut numbers = BTreeSet::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|n| n.strip_suffix(".done")).filter(|n| n.len() == 8);
        numbers.extend(number.and_then(|n| n.parse::<u32>().ok()));
    }
    Ok(numbers)
}

/// Writes the file of a segment, durably.
pub(super) fn write<'o>(dir: &Path, segment: u32, outcomes: impl Iterator<Item = &'o FrameOutcome>) -> io::Result<()> {
    let mut bytes = Vec::new();
    for outcome in outcomes {
        serde_json::to_writer(&mut bytes, outcome)?;
        bytes.push(b'\n');
    }
    let (path, new) = (path(dir, segment), dir.join(format!("{segment:08}.new")));
    let mut file = File::create(&new)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    File::open(dir)?.sync_all()
}

/// Adds the outcomes of a segment's file, by place. No file adds none.
pub(super) fn read(dir: &Path, segment: u32, into: &mut BTreeMap<u64, FrameOutcome>) -> io::Result<()> {
    let text = match fs::read_to_string(path(dir, segment)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        text => text?,
    };
    for line in text.lines() {
        let outcome: FrameOutcome = serde_json::from_str(line).map_err(io::Error::other)?;
        into.insert(outcome.at, outcome);
    }
    Ok(())
}

/// Removes files that no answer asks for any more.
pub(super) fn prune(dir: &Path, now_s: u64) -> io::Result<()> {
    for segment in numbers(dir)? {
        let path = path(dir, segment);
        let written = fs::metadata(&path)?.modified()?.duration_since(std::time::UNIX_EPOCH);
        let age = now_s.saturating_sub(written.map_or(now_s, |w| w.as_secs()));
        if age > KEPT.as_secs() {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
