//! Which comparisons took place here: records are only made of a difference that somebody has been shown.

use super::CompareTerms;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use tally_intake::InputFormat;
use tokio::sync::Semaphore;

/// Hours within which a difference that was shown may be applied.
pub const RUN_HOURS: u64 = 24;
/// Dry runs that are remembered; beyond, the oldest is forgotten.
const RUNS_MAX: usize = 1_000;

/// A file and the terms it was compared on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunKey([u8; 32]);

impl RunKey {
    /// `file`: BLAKE3 of the file in hexadecimal digits; `format`: as what it was read.
    pub fn of(file: &str, format: InputFormat, terms: &CompareTerms) -> Self {
        let mut h = blake3::Hasher::new();
        let division = terms.division.map(|d| d.to_string()).unwrap_or_default();
        for part in [file, format.name(), &terms.unit, &terms.category, &division] {
            h.update(&(part.len() as u64).to_be_bytes()).update(part.as_bytes());
        }
        Self(*h.finalize().as_bytes())
    }
}

/// What a dry run showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DryRun {
    /// When, POSIX milliseconds.
    pub at_ms: u64,
    /// Digest of the whole difference: what is applied is what was shown.
    pub difference: [u8; 32],
    /// Rows that are not held.
    pub missing_here: u64,
    /// Business keys with other content.
    pub different: u64,
    /// Records that are not in the file, and would be withdrawn.
    pub withdraw: u64,
}

/// Comparisons of a node: one at a time, and the dry runs of the last [`RUN_HOURS`]. A restart forgets them.
#[derive(Debug, Clone)]
pub struct Comparisons {
    /// Room for one.
    pub room: Arc<Semaphore>,
    runs: Arc<Mutex<BTreeMap<RunKey, DryRun>>>,
}

impl Default for Comparisons {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(1)), runs: Arc::default() }
    }
}

impl Comparisons {
    /// A dry run took place.
    pub fn remember(&self, key: RunKey, run: DryRun) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.insert(key, run);
        if runs.len() > RUNS_MAX
            && let Some(oldest) = runs.iter().min_by_key(|(_, r)| r.at_ms).map(|(k, _)| *k)
        {
            runs.remove(&oldest);
        }
    }

    /// The dry run of this file and these terms, if it is not too long ago.
    pub fn find(&self, key: &RunKey, now_ms: u64) -> Option<DryRun> {
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back makes none of them last longer.
        runs.get(key).copied().filter(|r| now_ms.abs_diff(r.at_ms) <= RUN_HOURS * 3_600_000)
    }

    /// It was applied: once.
    pub fn forget(&self, key: &RunKey) {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::terms, *};

    fn run(at_ms: u64) -> DryRun {
        DryRun { at_ms, difference: [0; 32], missing_here: 1, different: 2, withdraw: 3 }
    }

    #[test]
    fn a_dry_run_counts_for_its_file_and_terms_for_a_day() {
        let (runs, day) = (Comparisons::default(), RUN_HOURS * 3_600_000);
        let key = RunKey::of("ab", InputFormat::Csv, &terms());
        runs.remember(key, run(5));
        assert_eq!(runs.find(&key, 5 + day), Some(run(5)));
        assert_eq!(runs.find(&key, 6 + day), None);
        runs.remember(key, run(6 + day * 400));
        assert_eq!(runs.find(&key, 5), None, "of a clock that was ahead");
        runs.remember(key, run(5));
        let below = CompareTerms { division: Some("350102".parse().unwrap()), ..terms() };
        for other in [
            RunKey::of("ac", InputFormat::Csv, &terms()),
            RunKey::of("ab", InputFormat::Xlsx, &terms()),
            RunKey::of("ab", InputFormat::Csv, &below),
        ] {
            assert_eq!(runs.find(&other, 5), None);
        }
        runs.forget(&key);
        assert_eq!(runs.find(&key, 5), None);
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let runs = Comparisons::default();
        let key = |n: usize| RunKey::of(&n.to_string(), InputFormat::Csv, &terms());
        for n in 0..=RUNS_MAX {
            runs.remember(key(n), run(n as u64));
        }
        assert_eq!((runs.find(&key(0), 0), runs.find(&key(1), 1)), (None, Some(run(1))));
    }
}
