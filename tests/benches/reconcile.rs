//! Three ways to find which of n records differ between two copies: a want-list (the node knows its own damage), a
//! descent through both trees, and the crate `negentropy` over the same ids.
//!
//! `cargo bench -p tally-tests --bench reconcile -- 100000 10000000` (records, default 100,000 and 1,000,000; 10
//! million take 2.6 GB). Everything goes through encoded bytes. CPU is of the comparison on both sides together, the
//! best of several runs in one thread; trees and sorted sets are built before. Read the CPU figures as ratios.

use negentropy::{Id, Negentropy, NegentropyStorageVector};
use std::time::{Duration, Instant};
use tally_protocol::{
    hash::{Hash, sha256},
    ids::LogId,
    merkle::{FullTree, leaf_hash},
    session::{Descent, TreeAnswer, TreeQuestion, Wants, answer},
};

/// What a comparison took.
#[derive(Clone, Copy)]
struct Cost {
    rounds: u32,
    bytes: usize,
    cpu: Duration,
}

/// Which records differ.
#[derive(Clone, Copy, PartialEq)]
enum Pattern {
    Scattered,
    Clustered,
}

fn positions(n: u64, d: u64, pattern: Pattern) -> Vec<u64> {
    let from = n / 3;
    let mut all = std::collections::BTreeSet::new();
    let mut seed = 1;
    while (all.len() as u64) < d {
        all.insert(match pattern {
            Pattern::Clustered => from + all.len() as u64,
            Pattern::Scattered => {
                seed = u64::from_le_bytes(sha256(&[&u64::to_le_bytes(seed)]).0[..8].try_into().expect("8 bytes"));
                seed % n
            }
        });
    }
    all.into_iter().collect()
}

fn tree(leaves: &[Hash]) -> FullTree {
    let mut tree = FullTree::default();
    leaves.iter().for_each(|l| tree.push(*l));
    tree
}

/// A set in log order: the position is the timestamp, so that neighbours in the log are neighbours here.
fn set(leaves: &[Hash]) -> NegentropyStorageVector {
    let mut set = NegentropyStorageVector::with_capacity(leaves.len());
    for (at, leaf) in (0..).zip(leaves) {
        set.insert(at, Id::from_byte_array(leaf.0)).expect("an open set");
    }
    set.seal().expect("an open set");
    set
}

fn timed<T>(f: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let out = f();
    (out, start.elapsed())
}

/// The cheapest of several runs.
fn best(runs: usize, f: impl Fn() -> Cost) -> Cost {
    (0..runs).map(|_| f()).min_by_key(|c| c.cpu).expect("one run at least")
}

fn by_wants(which: &[u64]) -> Cost {
    let log: LogId = "350102/e1".parse().expect("a log");
    let ((bytes, read), cpu) = timed(|| {
        let mut wants = Wants::new(log);
        which.iter().for_each(|i| wants.insert(*i..*i + 1));
        let pages: Vec<_> = wants.pages().map(|p| p.encode()).collect();
        let read = pages.iter().map(|p| Wants::decode(p).expect("our own bytes").len()).sum::<u64>();
        (pages.iter().map(Vec::len).sum(), read)
    });
    assert_eq!(read, which.len() as u64);
    Cost { rounds: 1, bytes, cpu }
}

fn by_descent(n: u64, mine: &FullTree, theirs: &FullTree, which: &[u64]) -> Cost {
    let ((descent, bytes), cpu) = timed(|| {
        let (mut descent, mut bytes) = (Descent::new(n), 0);
        while descent.ask().len() > 0 {
            let asked: Vec<_> = descent.ask().map(TreeQuestion::encode).collect();
            for question in asked {
                let said = answer(theirs, &TreeQuestion::decode(&question).expect("our own bytes")).encode();
                bytes += question.len() + said.len();
                descent.take(mine, &TreeAnswer::decode(&said).expect("our own bytes")).expect("an answer");
            }
        }
        (descent, bytes)
    });
    assert!(descent.differences().iter().cloned().flatten().eq(which.iter().copied()), "not what was altered");
    Cost { rounds: descent.rounds(), bytes, cpu }
}

fn by_negentropy(mine: &NegentropyStorageVector, theirs: &NegentropyStorageVector, which: &[u64]) -> Cost {
    let ((have, need, rounds, bytes), cpu) = timed(|| {
        let mut client = Negentropy::borrowed(mine, 0).expect("no limit");
        let (mut have, mut need, mut rounds, mut bytes) = (Vec::new(), Vec::new(), 0, 0);
        let mut message = Some(client.initiate().expect("first message"));
        while let Some(asked) = message {
            let said = Negentropy::borrowed(theirs, 0).expect("no limit").reconcile(&asked).expect("an answer");
            rounds += 1;
            bytes += asked.len() + said.len();
            message = client.reconcile_with_ids(&said, &mut have, &mut need).expect("a comparison");
        }
        (have, need, rounds, bytes)
    });
    assert_eq!((have.len(), need.len()), (which.len(), which.len()), "not what was altered");
    Cost { rounds, bytes, cpu }
}

/// The table, and how many goals were missed.
#[derive(Default)]
struct Table {
    missed: u32,
}

impl Table {
    /// One row; the goals are a name, the value and the most it may be.
    fn row(&mut self, case: &str, way: &str, cost: Cost, yardstick: Cost, d: usize, goals: &[(&str, f64, f64)]) {
        let us = cost.cpu.as_secs_f64() * 1e6;
        let each = if d > 0 { format!("{:.1}", cost.bytes as f64 / d as f64) } else { "-".to_owned() };
        let less = format!("1/{:.0}", 1.0 / ratio(cost, yardstick));
        let mut verdicts = String::new();
        for (what, got, most) in goals {
            self.missed += u32::from(got > most);
            verdicts += &format!("  {what} {}", if got <= most { "met" } else { "MISSED" });
        }
        println!("{case:18} {way:10} {:>2} {:>9} {each:>7} {us:>9.1} {less:>9}{verdicts}", cost.rounds, cost.bytes);
    }
}

fn ratio(cost: Cost, yardstick: Cost) -> f64 {
    cost.cpu.as_secs_f64() / yardstick.cpu.as_secs_f64()
}

fn cpu_goal(cost: Cost, yardstick: Cost) -> (&'static str, f64, f64) {
    ("CPU 1/50", ratio(cost, yardstick), 1.0 / 50.0)
}

fn size(n: u64, table: &mut Table) {
    let leaves: Vec<_> = (0..n).map(|i| leaf_hash(&i.to_le_bytes())).collect();
    let (mine, tree_time) = timed(|| tree(&leaves));
    let (my_set, set_time) = timed(|| set(&leaves));
    println!("\nn = {n}: a tree takes {tree_time:.2?} to build, negentropy's sorted set {set_time:.2?}");
    println!("{:18} {:10} RT     bytes  a record  CPU us  CPU ratio  goals", "differ", "way");

    let descent = best(20, || by_descent(n, &mine, &mine, &[]));
    let other = best(3, || by_negentropy(&my_set, &my_set, &[]));
    let goals = [("1 RT", descent.rounds.into(), 1.0), cpu_goal(descent, other)];
    table.row("0", "descent", descent, other, 0, &goals);
    table.row("0", "negentropy", other, other, 0, &[]);

    for (d, pattern) in [
        (1, Pattern::Scattered),
        (100, Pattern::Scattered),
        (100, Pattern::Clustered),
        (10_000, Pattern::Scattered),
        (10_000, Pattern::Clustered),
    ] {
        let which = positions(n, d, pattern);
        let mut altered = leaves.clone();
        which.iter().for_each(|i| altered[*i as usize] = leaf_hash(&altered[*i as usize].0));
        let (theirs, their_set) = (tree(&altered), set(&altered));
        let d = which.len();
        let wants = best(20, || by_wants(&which));
        let descent = best(if d < 1_000 { 20 } else { 5 }, || by_descent(n, &mine, &theirs, &which));
        let other = best(3, || by_negentropy(&my_set, &their_set, &which));

        let each = |cost: Cost| cost.bytes as f64 / d as f64;
        let (case, want_goal, descent_goal) = match pattern {
            Pattern::Scattered => (format!("{d} scattered"), ("12 B each", each(wants), 12.0), ("900 B each", 900.0)),
            Pattern::Clustered => (format!("{d} clustered"), ("1 B each", each(wants), 1.0), ("20 B each", 20.0)),
        };
        let mut goals = vec![cpu_goal(descent, other)];
        match d {
            1 => goals.extend([("6 RT", descent.rounds.into(), 6.0), ("3.3 KB", descent.bytes as f64, 3_300.0)]),
            10_000 => goals.push((descent_goal.0, each(descent), descent_goal.1)),
            _ => {}
        }
        table.row(&case, "want-list", wants, other, d, &[want_goal]);
        table.row(&case, "descent", descent, other, d, &goals);
        table.row(&case, "negentropy", other, other, d, &[]);
    }
}

fn main() {
    let mut sizes: Vec<u64> = std::env::args().filter_map(|a| a.parse().ok()).filter(|n| *n >= 20_000).collect();
    if sizes.is_empty() {
        sizes = vec![100_000, 1_000_000];
    }
    let mut table = Table::default();
    sizes.into_iter().for_each(|n| size(n, &mut table));
    println!("\n{} goals missed", table.missed);
}
