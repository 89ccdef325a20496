//! How long a start takes that finds many small batches: beside reading the same bytes.
//!
//! `cargo bench -p tally-tests --bench restart -- 200000` (batches of one record, default 200,000). One thread; the files are in
//! the page cache. What grows with the batches of years must be little a batch: time, and memory.

use std::{
    fs,
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};
use tally_core::{Append, Disk as _, FoundBy, Replica};
use tally_journal::SEGMENT_BYTES;
use tally_protocol::{
    batch::seal,
    canonical::Object,
    ids::{Federation, LogId},
    keys::{NodeKeys, authority_signer},
    merkle::Tree,
    record::Record,
};
use tally_store::entries::{EntryJournal, owner};
use tally_topology::{
    admit::admit,
    charter::{epoch_entry, heading},
    signed::{SignedCharter, sign},
};

fn federation() -> Federation {
    Federation::try_from("bench.example".to_owned()).expect("a name")
}

fn keys() -> NodeKeys {
    let log: LogId = "350000/e1".parse().expect("a log");
    NodeKeys::derive(&federation(), log, &[7; 32])
}

fn charter() -> SignedCharter {
    let (authority, successor) = (authority_signer(&federation(), &[2; 32]), authority_signer(&federation(), &[3; 32]));
    let keys = keys();
    let text = format!(
        "{}[[node]]\ndivision = \"350000\"\nname = \"350000\"\nlevel = \"province\"\naddresses = [\"h:1\"]\n{}",
        heading(&federation(), 1, successor.public()),
        epoch_entry(&keys)
    );
    let note = sign(&text, &authority).expect("a charter");
    SignedCharter::open(&note, authority.public()).expect("a charter")
}

fn build(dir: &Path, batches: u64) {
    let (keys, signed) = (keys(), charter());
    let own = owner(&federation(), keys.node.division);
    let (mut journal, _) = EntryJournal::open(dir, &own, SEGMENT_BYTES, |_, _, _| {}).expect("a journal");
    let mut tree = Tree::default();
    for n in 0..batches {
        let json = format!(r#"{{"category":"bench","n":{n},"text":"{}"}}"#, "字".repeat(150));
        let record = Record::new(&Object::parse(json.as_bytes()).expect("JSON")).expect("a record");
        let bytes = seal(&keys, &tree, &[record], 1_790_000_000 + n);
        let admitted = admit(signed.charter(), keys.node, &tree, bytes).expect("our own batch");
        tree = admitted.tree().clone();
        journal.append(&[Append::admitted(admitted)]).expect("appends");
    }
    journal.flush().expect("flushes");
}

/// Anonymous memory of this process, in bytes.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1_024
}

fn started(dir: &Path, each: bool) -> (Duration, Replica) {
    let mut replica = Replica::new(keys().into(), charter(), "bench".into());
    let own = owner(&federation(), keys().node.division);
    let start = Instant::now();
    let take = |entry, at, by| replica.recover(entry, at, if each { FoundBy::Search } else { by });
    drop(EntryJournal::open(dir, &own, SEGMENT_BYTES, take).expect("opens"));
    assert!(replica.edges_hold());
    replica.all_read();
    (start.elapsed(), replica)
}

fn main() {
    let batches = std::env::args().filter_map(|a| a.parse::<u64>().ok()).next().unwrap_or(200_000).max(1);
    let holder = tempfile::tempdir().expect("a temporary folder");
    let dir = holder.path().join("journal");
    build(&dir, batches);
    let files = || fs::read_dir(&dir).into_iter().flatten().flatten().map(|f| f.path());
    let bytes: u64 = files().filter_map(|f| fs::metadata(f).ok()).map(|m| m.len()).sum();
    let start = Instant::now();
    for file in files() {
        black_box(fs::read(file).expect("reads"));
    }
    let reading = start.elapsed();
    let before = memory();
    let (took, replica) = started(&dir, false);
    let held = memory().saturating_sub(before);
    assert_eq!(replica.view().logs().values().map(|l| l.size()).sum::<u64>(), batches);
    drop(replica);
    let (each, _) = started(&dir, true);
    let a_batch = |d: Duration| d.as_secs_f64() * 1e6 / batches as f64;
    println!("{batches} batches of one record, {} bytes each in the journal", bytes / batches);
    println!(
        "start: {:.2} us a batch, {:.1} times reading the bytes",
        a_batch(took),
        took.as_secs_f64() / reading.as_secs_f64()
    );
    println!("each signature looked at (after somebody wrote to the journal): {:.2} us a batch", a_batch(each));
    println!("memory: {} bytes a batch", held / batches);
}
