//! A department's program that hands in records all the time and never gives up.

use crate::{
    Federation, poll,
    sample::{key, records},
    seconds,
};
use serde_json::Value;
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

/// A node that is killed again and again needs as long at most to take one chunk.
const PATIENCE: u64 = 120;

/// Hands in new records until it is stopped.
#[derive(Debug)]
pub struct Feeder<'f> {
    federation: &'f Federation,
    division: &'f str,
    first: u64,
    stop: AtomicBool,
    acknowledged: Mutex<Vec<String>>,
}

impl<'f> Feeder<'f> {
    pub fn new(federation: &'f Federation, division: &'f str) -> Self {
        Self::from(federation, division, 0)
    }

    /// With records from this one on.
    pub fn from(federation: &'f Federation, division: &'f str, first: u64) -> Self {
        Self { federation, division, first, stop: AtomicBool::new(false), acknowledged: Mutex::default() }
    }

    /// Hands in chunks of new records, of a size between two bounds, until it is stopped: each again and again until
    /// it is answered.
    pub fn run(&self, mut size: impl FnMut() -> u64) {
        let mut from = self.first;
        while !self.stop.load(Ordering::Relaxed) {
            let to = from + size();
            let lines = records(from..to, self.division);
            let answer = poll(seconds(PATIENCE), || self.offer(&lines)).expect("a chunk was never answered");
            let number = |field: &str| answer[field].as_u64();
            assert_eq!(number("read"), Some(to - from), "{answer}");
            assert_eq!(number("accepted").zip(number("duplicate")).map(|(a, d)| a + d), Some(to - from), "{answer}");
            let keys = (from..to).map(|n| key(n, self.division));
            self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).extend(keys);
            from = to;
        }
    }

    fn offer(&self, lines: &str) -> Option<Value> {
        let (code, answer) = self.federation.ingest(self.division, lines);
        assert!([0, 1, 7].contains(&code), "exit {code}: {answer}");
        (code == 0).then_some(answer)
    }

    /// Keys of all records that were acknowledged so far.
    pub fn acknowledged(&self) -> Vec<String> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn count(&self) -> usize {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The chunk that is under way is still handed in.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Stops the feeder when it goes out of scope, also when a test fails: its thread is waited for.
    pub fn stopper(&self) -> Stopper<'_, 'f> {
        Stopper(self)
    }
}

/// Stops its feeder when it goes out of scope.
#[derive(Debug)]
pub struct Stopper<'s, 'f>(&'s Feeder<'f>);

impl Drop for Stopper<'_, '_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Exactly the acknowledged records are at a node, each once.
pub fn assert_held(federation: &Federation, division: &str, acknowledged: &[String]) {
    let lines = federation.export(division, &["--history"]);
    let mut held: Vec<_> = lines.iter().map(|l| l["business_key"].as_str().expect("a business key")).collect();
    let mut wanted: Vec<_> = acknowledged.iter().map(String::as_str).collect();
    held.sort_unstable();
    wanted.sort_unstable();
    let lost: Vec<_> = wanted.iter().filter(|k| held.binary_search(k).is_err()).take(3).collect();
    let unknown: Vec<_> = held.iter().filter(|k| wanted.binary_search(k).is_err()).take(3).collect();
    let twice: Vec<_> = held.windows(2).filter(|w| w[0] == w[1]).take(3).collect();
    let good = lost.is_empty() && unknown.is_empty() && twice.is_empty() && held.len() == wanted.len();
    let (h, w) = (held.len(), wanted.len());
    assert!(good, "{division} holds {h} of {w}; such as: lost {lost:?}, unknown {unknown:?}, twice {twice:?}");
}
