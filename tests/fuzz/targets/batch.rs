//! Batches of a neighbour: read, unpacked, admitted.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use std::sync::LazyLock;
use tally_fuzz::{hex_example, seeded};
use tally_protocol::{
    batch::{Batch, seal},
    canonical::Object,
    ids::LogId,
    limits::{BATCH_RAW_MAX, BATCH_RECORDS_MAX},
    merkle::Tree,
    record::Record,
};
use tally_topology::{admit::admit, charter::Charter, sample};

static CHARTER: LazyLock<Charter> = LazyLock::new(|| sample::charter(""));
/// A batch that is admitted, and the example of FORMATS.md, which is only a head.
static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let record = |json: &str| Record::new(&Object::parse(json.as_bytes()).expect("an object")).expect("short");
    let records = [record(r#"{"a":1,"b":"二"}"#), record(r#"{"n":"2"}"#)];
    vec![seal(&sample::keys("350102"), &Tree::default(), &records, 1_790_000_000), hex_example("batch header")]
});

fuzz_target!(|data: &[u8]| {
    let log: LogId = "350102/e1".parse().expect("a log");
    let Ok(batch) = Batch::decode(data) else { return };
    assert!((1..=BATCH_RECORDS_MAX).contains(&batch.len()));
    if let Ok(records) = batch.records() {
        assert_eq!(records.iter().count(), batch.len());
        assert!(records.iter().map(|r| r.len() + 2).sum::<usize>() <= BATCH_RAW_MAX);
    }
    if let Ok(admitted) = admit(&CHARTER, log, &Tree::default(), data.to_vec()) {
        assert_eq!((admitted.start(), admitted.end()), (0, batch.end));
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { seeded(data, size, max_size, seed, &SEEDS) });
