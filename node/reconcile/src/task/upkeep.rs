//! Damage that is known is mended without anybody asking: one repair at a time, ever more seldom while it brings nothing, and
//! not at all once the same disk has damaged what was whole for the third time within a day.
//!
//! Here is decided when; what is damaged the core and the last reading know, and how it is mended the task does. What was
//! found is kept in a file, so that a start does not forget it; a file that is lost costs no more than that.

use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// So often may what was whole be damaged within [`DAY_S`] before nothing is mended by itself any more.
const TIMES_MAX: usize = 3;
/// A day, in seconds.
const DAY_S: u64 = 86_400;
/// Times that are kept.
const KEPT: usize = 16;
/// A repair that has not mended everything is tried again after this, then after twice as long, and so on.
const AGAIN_FIRST: Duration = Duration::from_mins(5);
/// The longest time between two repairs of the same damage.
const AGAIN_LAST: Duration = Duration::from_hours(12);
/// Two repairs are not closer together, whatever else was found meanwhile.
const APART: Duration = Duration::from_mins(1);

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Found {
    /// When what had been whole was found damaged, POSIX seconds, the latest last.
    found_s: Vec<u64>,
    /// The latest of them is not mended yet.
    open: bool,
}

/// The same disk has damaged what was whole again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepeatedDamage {
    /// How often within a day.
    pub times: usize,
    /// The latest, POSIX seconds.
    pub latest_s: u64,
    /// It is not mended yet, and nobody mends it by itself.
    pub open: bool,
}

/// When damage was found. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DamageBook {
    path: PathBuf,
    found: Arc<Mutex<Found>>,
}

impl DamageBook {
    /// Opens the file at `path`; one that cannot be read counts as empty.
    #[expect(clippy::disallowed_methods, reason = "it is read at the start, before anything is served")]
    pub fn open(path: PathBuf) -> Self {
        let found = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|e| {
                tracing::warn!(event = "damage.unreadable", reason = %e, "the list of damage that was found cannot be read; it starts anew");
                Found::default()
            }),
            Err(_) => Found::default(),
        };
        Self { path, found: Arc::new(Mutex::new(found)) }
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the disk has damaged what was whole too often within a day before `now_s`, POSIX seconds.
    pub fn repeated(&self, now_s: u64) -> Option<RepeatedDamage> {
        let found = self.lock();
        // A clock that was ahead has left times in the future: they count.
        let times = found.found_s.iter().filter(|t| now_s.saturating_sub(**t) < DAY_S).count();
        let latest_s = *found.found_s.last()?;
        (times >= TIMES_MAX).then_some(RepeatedDamage { times, latest_s, open: found.open })
    }

    /// Notes that something is damaged, or that nothing is any more; answers whether that is news. Writes the file then.
    fn note(&self, damaged: bool, now_s: u64) -> bool {
        let mut found = self.lock();
        if found.open == damaged {
            return false;
        }
        found.open = damaged;
        if damaged {
            found.found_s.push(now_s);
            let surplus = found.found_s.len().saturating_sub(KEPT);
            found.found_s.drain(..surplus);
        }
        if let Err(e) = save(&self.path, &found) {
            tracing::warn!(event = "damage.not_saved", reason = %e, "when damage was found cannot be kept");
        }
        true
    }
}

#[expect(clippy::disallowed_methods, reason = "some bytes, a few times in the life of a disk")]
fn save(path: &Path, found: &Found) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, serde_json::to_vec(found)?)?;
    fs::rename(new, path)
}

/// What is damaged as far as is known: ranges of records by log, and places of the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownHoles {
    /// Records that are missing and that somebody may have.
    pub records: Vec<(String, u64, u64)>,
    /// Places of the journal that are not put right.
    pub places: usize,
}

impl KnownHoles {
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.places == 0
    }
}

/// Decides when damage is mended by itself.
#[derive(Debug)]
pub struct Upkeep {
    book: DamageBook,
    /// What the last repair was for, when it was asked for, and how many there were for the same.
    last: Option<(KnownHoles, Instant, u32)>,
}

impl Upkeep {
    /// With what is known from before.
    pub fn new(book: DamageBook) -> Self {
        Self { book, last: None }
    }

    /// Whether a repair is to begin now. `able`: there is a neighbour to ask, no repair is under way, and it is allowed to.
    pub fn is_due(&mut self, holes: &KnownHoles, able: bool, now: Instant, now_s: u64) -> bool {
        let damaged = !holes.is_empty();
        if self.book.note(damaged, now_s) && damaged {
            let (ranges, places) = (holes.records.len(), holes.places);
            tracing::info!(event = "damage.found", ranges, places, "what was whole is damaged");
        }
        if !damaged {
            self.last = None;
            return false;
        }
        if !able || self.book.repeated(now_s).is_some() {
            return false;
        }
        let (wait, times) = match &self.last {
            None => (Duration::ZERO, 0),
            Some((same, _, times)) if same == holes => {
                (AGAIN_FIRST.saturating_mul(2_u32.saturating_pow(*times)).min(AGAIN_LAST), times.saturating_add(1))
            }
            Some(_) => (APART, 0),
        };
        let due = self.last.as_ref().is_none_or(|(_, at, _)| now.saturating_duration_since(*at) >= wait);
        if due {
            self.last = Some((holes.clone(), now, times));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hole(from: u64) -> KnownHoles {
        KnownHoles { records: vec![("350102/e1".to_owned(), from, from + 5)], places: 1 }
    }

    fn upkeep(dir: &tempfile::TempDir) -> Upkeep {
        Upkeep::new(DamageBook::open(dir.path().join("damage.json")))
    }

    #[test]
    fn damage_is_mended_at_once_and_ever_more_seldom_while_nobody_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut upkeep = upkeep(&dir);
        let (begun, day) = (Instant::now(), 1_790_000_000);
        let at = |s: u64| begun + Duration::from_secs(s);
        assert!(!upkeep.is_due(&KnownHoles::default(), true, at(0), day));
        assert!(!upkeep.is_due(&hole(0), false, at(0), day), "nobody can be asked");
        assert!(upkeep.is_due(&hole(0), true, at(1), day), "now somebody can");
        let times: Vec<_> = (2..400_000).step_by(2).filter(|s| upkeep.is_due(&hole(0), true, at(*s), day)).collect();
        let pauses: Vec<_> = times.windows(2).map(|t| t[1] - t[0]).collect();
        assert!(pauses.windows(2).all(|p| p[0] <= p[1]), "{pauses:?}");
        assert_eq!(pauses.last(), Some(&AGAIN_LAST.as_secs()), "{pauses:?}");
        // What is new is not put off, and is no second time: the first was never mended.
        assert!(upkeep.is_due(&hole(90), true, at(400_060), day));
        assert!(!upkeep.is_due(&hole(95), true, at(400_061), day), "not closer together");
        assert_eq!(upkeep.book.lock().found_s.len(), 1);
    }

    #[test]
    fn a_disk_that_damages_for_the_third_time_in_a_day_is_left_to_the_operator() {
        let dir = tempfile::tempdir().unwrap();
        let mut up = upkeep(&dir);
        let begun = Instant::now();
        let at = |s: u64| begun + Duration::from_secs(s);
        let (day, none) = (1_790_000_000, KnownHoles::default());
        for n in 0..2 {
            assert!(up.is_due(&hole(n), true, at(n * 100), day + n * 100), "{n}");
            assert!(!up.is_due(&none, true, at(n * 100 + 50), day + n * 100 + 50));
            assert_eq!(up.book.repeated(day + n * 100 + 50), None);
        }
        // A start in between forgets nothing.
        let mut up = upkeep(&dir);
        assert!(!up.is_due(&hole(7), true, at(300), day + 300));
        assert!(!up.is_due(&hole(7), true, at(90_000), day + 3_000));
        let repeated = up.book.repeated(day + 3_000).unwrap();
        assert_eq!((repeated.times, repeated.latest_s, repeated.open), (3, day + 300, true));
        // Mended by hand it is still said, until a day has passed.
        let mut up = upkeep(&dir);
        assert!(!up.is_due(&none, true, at(90_001), day + 3_001));
        assert!(up.book.repeated(day + 3_001).is_some_and(|r| !r.open));
        assert_eq!(up.book.repeated(day + 90_000), None);
        assert!(up.is_due(&hole(8), true, at(90_002), day + 90_000), "one damage in a day is mended again");
    }

    #[test]
    fn a_list_that_cannot_be_read_counts_as_empty() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("damage.json"), "{").unwrap();
        assert_eq!(*upkeep(&dir).book.lock(), Found::default());
        assert_eq!(upkeep(&dir).book.repeated(0), None);
    }
}
