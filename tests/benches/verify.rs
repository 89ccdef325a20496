//! How fast the journal is verified: beside what it could not do without, reading and hashing.
//!
//! `cargo bench -p tally-tests --bench verify -- 1000000` (records, default 1,000,000). One thread; the files are in
//! the page cache. Records are ~600-byte lines, in batches of 1,000, of two logs in turns. Read the figures as ratios.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};
use tally_core::{Append, Disk as _, Entry, Place};
use tally_journal::{SEGMENT_BYTES, Step};
use tally_protocol::{
    batch::{Batch, seal},
    canonical::Object,
    ids::{Federation, LogId},
    keys::NodeKeys,
    merkle::{Tree, leaf_hash},
    record::Record,
};
use tally_reconcile::verify::{ClaimedSizes, VerifyInput, Watermark, verify};
use tally_store::entries::{self, EntryJournal, EntryReader, owner, position};
use tally_topology::{admit::admit, charter::Charter};

const BATCH: u64 = 1_000;
/// Records a second on one core.
const GOAL: f64 = 800_000.0;

fn keys(log: &str) -> NodeKeys {
    let federation = Federation::try_from("bench.example".to_owned()).expect("a name");
    let log: LogId = log.parse().expect("a log");
    NodeKeys::derive(&federation, log, &[log.division.code() as u8; 32])
}

fn charter(nodes: &[&NodeKeys]) -> Charter {
    let node = |k: &NodeKeys, level: &str, parent: &str| {
        let d = k.node.division;
        let epoch = tally_topology::charter::epoch_entry(k);
        format!(
            "[[node]]\ndivision = \"{d}\"\nname = \"{d}\"\nlevel = \"{level}\"\n{parent}addresses = [\"h:1\"]\n\
             {epoch}"
        )
    };
    let parent = format!("parent = \"{}\"\n", nodes[0].node.division);
    let federation = Federation::try_from("bench.example".to_owned()).expect("a name");
    let text = format!(
        "{}{}{}",
        tally_topology::charter::heading(
            &federation,
            1,
            tally_protocol::keys::authority_signer(&federation, &[2; 32]).public()
        ),
        node(nodes[0], "prefecture", ""),
        node(nodes[1], "county", &parent)
    );
    Charter::parse(&text).expect("a charter")
}

/// As different from each other as real rows are: they compress to some 80 bytes.
fn record(n: u64) -> Record {
    const NAMES: [&str; 8] =
        ["榕盛餐饮", "海诺腾物流", "闽江建设", "鼓山食品", "三坊商贸", "乌塔科技", "白马纺织", "金山医药"];
    const FACTS: [&str; 5] =
        ["未按规定明码标价", "货车总质量超过限定标准", "未取得许可从事经营", "未按期公示年度报告", "广告内容不实"];
    let mut state = n.wrapping_add(1);
    let mut draw = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let (name, fact) = (NAMES[(draw() % 8) as usize], FACTS[(draw() % 5) as usize]);
    let (code, row, serial, fine) = (draw(), draw(), draw() % 100_000_000, draw() % 5_000_000);
    let (month, day) = (1 + draw() % 12, 1 + draw() % 28);
    let subject = format!("91350102MA{:08X}", code as u32);
    let json = format!(
        r#"{{"business_key":"113501020036012589|榕鼓市监罚〔2026〕{serial}号|{subject}","catalog_version":"2026.1","category":"admin_penalty","document_no":"榕鼓市监罚〔2026〕{serial}号","fine_wan":"{}.{:06}","legal_basis":"《中华人民共和国行政处罚法》第{}条","operation":"create","penalty_kinds":"罚款","produced_on":"2026-{month:02}-{day:02}","producer_division":"350102","producer_name":"福州市鼓楼区市场监督管理局","producer_uscc":"113501020036012589","source_row_id":"{row:016x}","subject_name":"福州{name}有限公司","subject_type":"enterprise","subject_uscc":"{subject}","violation_fact":"{month}月{day}日经查，{fact}，涉案{}元"}}"#,
        fine / 1_000_000,
        fine % 1_000_000,
        1 + code % 80,
        row % 90_000,
    );
    Record::new(&Object::parse(json.as_bytes()).expect("JSON")).expect("a record")
}

/// The journal, its end, and the size of each log.
fn build(dir: &Path, charter: &Charter, keys: &[NodeKeys], records: u64) -> (Place, ClaimedSizes) {
    let own = owner(charter.federation(), keys[0].node.division);
    let (mut journal, _) = EntryJournal::open(dir, &own, SEGMENT_BYTES, |_, _, _| {}).expect("a journal");
    let mut trees: Vec<_> = keys.iter().map(|_| Tree::default()).collect();
    for b in 0..records / BATCH {
        let turn = (b % 2) as usize;
        let batch: Vec<_> = (b * BATCH..(b + 1) * BATCH).map(record).collect();
        let bytes = seal(&keys[turn], &trees[turn], &batch, 1_790_000_000);
        let admitted = admit(charter, keys[turn].node, &trees[turn], bytes).expect("our own batch");
        trees[turn] = admitted.tree().clone();
        journal.append(&[Append::admitted(admitted)]).expect("appends");
    }
    journal.flush().expect("flushes");
    let held = keys.iter().zip(&trees).map(|(k, t)| (k.node, t.size())).collect();
    (journal.durable(), held)
}

/// Every batch frame of the journal, read and checked by its checksums.
fn read_all(reader: &EntryReader, until: Place, mut take: impl FnMut(&[u8])) {
    for segment in 1..=position(until).segment {
        let Ok(Some(mut walk)) = reader.walk(segment, until) else { continue };
        while let Some(step) = walk.step() {
            if let Step::Frame { head, at, .. } = step
                && matches!(entries::decode(&head), Some(Entry::Batch { .. }))
            {
                take(&reader.read(entries::place(at)).expect("a whole frame").body);
            }
        }
    }
}

fn best(mut work: impl FnMut()) -> Duration {
    let once = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..3).map(|_| once(&mut work)).min().unwrap_or_default()
}

fn main() {
    let records = std::env::args().filter_map(|a| a.parse::<u64>().ok()).next().unwrap_or(1_000_000);
    let records = records.max(BATCH) / BATCH * BATCH;
    let holder = tempfile::tempdir().expect("a temporary folder");
    let dir = holder.path().join("journal");
    let keys = [keys("350100/e1"), keys("350102/e1")];
    let charter = charter(&[&keys[0], &keys[1]]);
    let start = Instant::now();
    let (until, held) = build(&dir, &charter, &keys, records);
    let built = start.elapsed();
    let bytes: u64 = std::fs::read_dir(&dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|f| f.metadata().ok())
        .map(|m| m.len())
        .sum();
    let reader = EntryReader::new(dir.clone());

    let mut frames = 0_u64;
    let opening = best(|| {
        frames = 0;
        let own = owner(charter.federation(), keys[0].node.division);
        drop(EntryJournal::open(&dir, &own, SEGMENT_BYTES, |_, _, _| frames += 1).expect("opens"));
    });
    let reading = best(|| read_all(&reader, until, |_| {}));
    let hashing = best(|| {
        read_all(&reader, until, |body| {
            let records = Batch::decode(body).and_then(|b| b.records()).expect("a batch");
            records.iter().for_each(|r| {
                std::hint::black_box(leaf_hash(r));
            });
        });
    });
    let before = Watermark::default();
    let mut report = None;
    let verifying = best(|| {
        let wanted = VerifyInput {
            until,
            charter: &charter,
            held: &held,
            known_damage: &[],
            dead: &[],
            only: None,
            before: &before,
        };
        report = verify(&reader, wanted, &mut |_, _| Ok(())).ok().map(|s| s.report);
    });
    let report = report.expect("a report");
    assert_eq!(
        (report.records, report.damaged.len()),
        (records, 0),
        "{:?}",
        BTreeMap::from([("damaged", &report.damaged)])
    );

    let rate = |d: Duration| records as f64 / d.as_secs_f64();
    println!(
        "{records} records in {frames} frames, {} MiB of journal; built in {:.1} s",
        bytes >> 20,
        built.as_secs_f64()
    );
    for (what, took) in [
        ("open (heads only)", opening),
        ("read, checksums", reading),
        ("read, expand, hash leaves", hashing),
        ("verify", verifying),
    ] {
        let (ms, ratio) = (took.as_secs_f64() * 1e3, took.as_secs_f64() / hashing.as_secs_f64());
        let mb = bytes as f64 / 1e6 / took.as_secs_f64();
        println!("{what:<26} {ms:>9.1} ms {:>12.0} records/s {mb:>8.0} MB/s   {ratio:.2} of hashing alone", rate(took));
    }
    let verdict = if rate(verifying) >= GOAL { "met" } else { "missed" };
    println!("goal for verify, {GOAL:.0} records/s on one core: {verdict}");
}
