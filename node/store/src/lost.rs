//! Records of this node's own logs that were acknowledged and are on no disk any more, by log, position and, where the index
//! knew them, by id: `data/lost.json`.
//!
//! It is no cache: the journal cannot tell what it does not hold. A range is noted when this disk is seen to lack it, and counts
//! as lost once nobody above can have it either; one that came back is taken out. It stays until the operator has said that
//! everybody concerned knows. Who acts on it is not known here.

use crate::index::{Engine, EngineError, each_position};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tally_protocol::{ids::LogId, record::RecordId};

/// Most ids that are named; of more the ranges tell.
const IDS_MAX: usize = 100_000;

/// Ranges of records, by log: first, and one past the last.
pub type Ranges = BTreeMap<LogId, Vec<(u64, u64)>>;

/// Records that this disk lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostRange {
    /// Of which log.
    pub log: LogId,
    /// First record.
    pub from: u64,
    /// One past the last.
    pub to: u64,
    /// Those of them that are known by id, with their positions.
    #[serde(default)]
    pub ids: BTreeMap<u64, RecordId>,
    /// When it was noted, POSIX seconds.
    pub since: u64,
    /// Nobody above can have them either.
    pub certain: bool,
    /// The operator's word that everybody concerned knows: when, POSIX seconds, and why.
    #[serde(default)]
    pub acknowledged: Option<(u64, String)>,
}

impl LostRange {
    fn touches(&self, log: LogId, from: u64, to: u64) -> bool {
        self.log == log && self.from < to && from < self.to
    }
}

/// The list and its file. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LostRecords {
    path: Arc<PathBuf>,
    ranges: Arc<Mutex<Vec<LostRange>>>,
}

impl LostRecords {
    /// Opens the list in `path`; one that is not there is empty.
    ///
    /// # Errors
    /// The file system's; [`io::ErrorKind::InvalidData`] if the file is not such a list.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let ranges = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e),
        };
        Ok(Self { path: Arc::new(path), ranges: Arc::new(Mutex::new(ranges)) })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<LostRange>> {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it, as noted.
    pub fn ranges(&self) -> Vec<LostRange> {
        self.lock().clone()
    }

    /// What is lost for certain and not acknowledged.
    pub fn open_ranges(&self) -> Vec<LostRange> {
        self.lock().iter().filter(|r| r.certain && r.acknowledged.is_none()).cloned().collect()
    }

    /// Where a record stood that is lost for certain.
    pub fn find(&self, id: &RecordId) -> Option<(LogId, u64)> {
        let of = |r: &LostRange| r.ids.iter().find(|(_, i)| *i == id).map(|(at, _)| (r.log, *at));
        self.lock().iter().filter(|r| r.certain).find_map(of)
    }

    /// Notes that this disk lacks these records; `ids` are those that are known. What is noted already keeps its ids.
    ///
    /// # Errors
    /// The file system's; then nothing is noted.
    pub fn note(&self, lacking: &Ranges, ids: &[(LogId, u64, RecordId)], certain: bool, now: u64) -> io::Result<()> {
        self.change(|ranges| {
            for (log, from, to) in lacking.iter().flat_map(|(log, all)| all.iter().map(|(f, t)| (*log, *f, *t))) {
                let known = ranges.iter_mut().find(|r| r.touches(log, from, to));
                let range = match known {
                    Some(range) => range,
                    None => {
                        let ids = BTreeMap::new();
                        let none = LostRange { log, from, to, ids, since: now, certain, acknowledged: None };
                        ranges.push(none);
                        let Some(last) = ranges.last_mut() else { continue };
                        last
                    }
                };
                (range.from, range.to) = (range.from.min(from), range.to.max(to));
                range.certain |= certain;
                let within = ids.iter().filter(|(l, at, _)| *l == log && (range.from..range.to).contains(at));
                for (_, at, id) in within {
                    if range.ids.len() < IDS_MAX {
                        range.ids.insert(*at, *id);
                    }
                }
            }
        })
    }

    /// Takes out what is there again: ranges of which `lacks` says that nothing is missing any more.
    ///
    /// # Errors
    /// The file system's; then nothing is taken out.
    pub fn came_back(&self, lacks: impl Fn(&LostRange) -> bool) -> io::Result<()> {
        self.change(|ranges| ranges.retain(&lacks))
    }

    /// The operator's word that everybody concerned knows; answers for how many records.
    ///
    /// # Errors
    /// The file system's; then it does not count.
    pub fn acknowledge(&self, now: u64, why: &str) -> io::Result<u64> {
        let mut records = 0;
        self.change(|ranges| {
            for range in ranges.iter_mut().filter(|r| r.certain && r.acknowledged.is_none()) {
                records += range.to - range.from;
                range.acknowledged = Some((now, why.to_owned()));
            }
        })?;
        Ok(records)
    }

    fn change(&self, change: impl FnOnce(&mut Vec<LostRange>)) -> io::Result<()> {
        let mut held = self.lock();
        let mut ranges = held.clone();
        change(&mut ranges);
        if *held != ranges {
            write(&self.path, &ranges)?;
            *held = ranges;
        }
        Ok(())
    }
}

fn write(path: &Path, ranges: &[LostRange]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = fs::File::create(&new)?;
    io::Write::write_all(&mut file, &serde_json::to_vec(ranges).map_err(io::Error::other)?)?;
    file.sync_all()?;
    fs::rename(new, path)?;
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Ids of the records in `ranges`, as the index has them; at most 100,000. Reads the whole index.
///
/// # Errors
/// The engine's.
pub fn ids_of(engine: &dyn Engine, ranges: &Ranges) -> Result<Vec<(LogId, u64, RecordId)>, EngineError> {
    let mut found = Vec::new();
    let within = |log: LogId, index: u64| {
        ranges.get(&log).is_some_and(|all| all.iter().any(|(from, to)| (*from..*to).contains(&index)))
    };
    each_position(engine, |log, id, e| {
        if found.len() < IDS_MAX && within(log, e.index) {
            found.push((log, e.index, id));
        }
        Ok(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> RecordId {
        RecordId::of(&[n])
    }

    #[test]
    fn what_is_lost_is_named_until_everybody_knows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lost.json");
        let log: LogId = "350102/e1".parse().unwrap();
        let lost = LostRecords::open(path.clone()).unwrap();
        let ranges = Ranges::from([(log, vec![(5, 8), (9, 10)])]);
        lost.note(&ranges, &[(log, 6, id(6)), (log, 8, id(8))], false, 1).unwrap();
        assert!(lost.open_ranges().is_empty() && lost.find(&id(6)).is_none(), "it may come back");
        // Later it is certain, and its ids are known still.
        lost.note(&Ranges::from([(log, vec![(5, 8)])]), &[], true, 2).unwrap();
        assert_eq!(lost.find(&id(6)), Some((log, 6)));
        assert_eq!(lost.open_ranges().iter().map(|r| (r.from, r.to, r.since)).collect::<Vec<_>>(), [(5, 8, 1)]);
        lost.came_back(|r| r.certain).unwrap();
        let again = LostRecords::open(path.clone()).unwrap();
        assert_eq!(again.ranges(), lost.ranges());
        assert_eq!(again.acknowledge(3, "told the department").unwrap(), 3);
        let again = LostRecords::open(path.clone()).unwrap();
        assert!(again.open_ranges().is_empty() && again.find(&id(6)).is_some());
        fs::write(&path, "x").unwrap();
        assert!(LostRecords::open(path).is_err());
    }
}
