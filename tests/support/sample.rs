//! Records that every node takes, and numbers to vary them by.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    ops::Range,
};

const UNIT: &str = "福州市鼓楼区市场监督管理局";
const UNIT_CODE: &str = "113501020036012589";
const SUBJECT_CODE: &str = "91350102MA2TE5T1X0";

/// SplitMix64: the same seed gives the same run.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.draw() % n
    }
}

/// Business key of record `n`.
pub fn key(n: u64, division: &str) -> String {
    format!("{UNIT_CODE}|抽查〔2025〕{division}-{n}号|{SUBJECT_CODE}")
}

/// The `n`-th record of a division, as a line without its end.
pub fn record(n: u64, division: &str) -> String {
    version(n, division, "create", "1")
}

/// A version of the `n`-th record's business key; `result` is what a later version changes.
pub fn version(n: u64, division: &str, operation: &str, result: &str) -> String {
    let key = key(n, division);
    // Numbers that do not compress, as real document numbers and names do not.
    let mut random = Random(n);
    let (a, b) = (random.draw(), random.draw());
    format!(
        r#"{{"category":"spot_check","catalog_version":"2026.1","producer_name":"{UNIT}","producer_uscc":"{UNIT_CODE}","producer_division":"{division}","submitter_name":"{UNIT}","submitter_uscc":"{UNIT_CODE}","submitter_division":"{division}","produced_on":"2025-06-03","operation":"{operation}","business_key":"{key}","subject_type":"enterprise","subject_name":"福州榕盛餐饮管理有限公司","subject_uscc":"{SUBJECT_CODE}","authority_name":"{UNIT}","authority_uscc":"{UNIT_CODE}","task_no":"抽查〔2025〕{division}-{n}号","check_type":"1","checked_on":"2025-06-03","check_result":"{result}","source_row_id":"{a:016x}{b:016x}"}}"#
    )
}

/// Records as NDJSON.
pub fn records(range: Range<u64>, division: &str) -> String {
    range.map(|n| record(n, division) + "\n").collect()
}

/// Records as an NDJSON file.
pub fn write_records(path: &str, range: Range<u64>, division: &str) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    range.for_each(|n| writeln!(file, "{}", record(n, division)).unwrap());
    file.flush().unwrap();
}
