//! Frames of links: the messages between neighbours, by the first byte of the input. What is read is written and read again as
//! the same.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use std::{fmt::Debug, sync::LazyLock};
use tally_fuzz::{hex_example, seeded};
use tally_protocol::{
    bundle::BundleReader,
    codec::CodecError,
    findings_exchange::{FindingsPage, FindingsQuery},
    join::{JoinAnswer, JoinAsk},
    session::{
        TreeAnswer, TreeQuestion, Wants,
        reconcile::{ReconcileReply, ReconcileRequest},
    },
    wire::{Control, StreamOpen},
};

/// Names of the examples of each kind, as FORMATS.md has them.
const EXAMPLES: [&[&str]; 12] = [
    &["control hello", "control welcome", "control busy", "control refused", "control frontier", "control heartbeat"],
    &["control receipt", "control charter", "control reject", "control conflict", "control fetch", "control stands"],
    &["control health", "control above", "control in force", "control request", "control request rejected"],
    &["stream open"],
    &["join call", "join request", "join go", "join pending", "join admitted", "join rejected", "join refused"],
    &["verdicts ask"],
    &["verdicts answer"],
    &["descent question"],
    &["descent answer"],
    &["wants"],
    &["ask compare", "ask compare division", "ask roots", "ask nodes", "ask want", "ask here", "ask taken"],
    &["bundle"],
];
static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for (kind, names) in (0_u8..).zip(EXAMPLES) {
        seeds.extend(names.iter().map(|name| [vec![kind], hex_example(name)].concat()));
    }
    let answers = ["working", "agree", "heads", "lacks", "stands", "roots", "nodes", "piece", "end", "taken", "refused"];
    seeds.extend(answers.iter().map(|name| [vec![12], hex_example(&format!("answer {name}"))].concat()));
    seeds
});

fn same<T: PartialEq + Debug>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, CodecError>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    if let Ok(read) = decode(bytes) {
        assert_eq!(decode(&encode(&read)).as_ref(), Ok(&read));
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind {
        0..=2 => same(bytes, Control::decode, Control::encode),
        3 => same(bytes, StreamOpen::decode, StreamOpen::encode),
        4 => {
            same(bytes, JoinAsk::decode, JoinAsk::encode);
            same(bytes, JoinAnswer::decode, JoinAnswer::encode);
        }
        5 => same(bytes, FindingsQuery::decode, FindingsQuery::encode),
        6 => same(bytes, FindingsPage::decode, FindingsPage::encode),
        7 => same(bytes, TreeQuestion::decode, TreeQuestion::encode),
        8 => same(bytes, TreeAnswer::decode, TreeAnswer::encode),
        9 => same(bytes, Wants::decode, Wants::encode),
        10 => same(bytes, ReconcileRequest::decode, ReconcileRequest::encode),
        11 => {
            let mut reader = BundleReader::default();
            for piece in bytes.chunks(7) {
                reader.feed(piece);
                while let Ok(Some(_)) = reader.next_item() {}
            }
            let _ = reader.finish();
        }
        _ => same(bytes, ReconcileReply::decode, ReconcileReply::encode),
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { seeded(data, size, max_size, seed, &SEEDS) });
