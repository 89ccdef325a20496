//! Charters: whole documents, and what is added to one (units, routes, catalog, calendar).
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use std::sync::LazyLock;
use tally_fuzz::{example, seeded};
use tally_topology::{charter::Charter, sample, signed::SignedCharter};

static SIGNED: LazyLock<SignedCharter> = LazyLock::new(|| sample::signed(""));

/// A charter without its signature.
fn text(note: &str) -> &str {
    note.split_once("\n\n\u{2014} ").map_or(note, |(text, _)| text)
}

static BASE: LazyLock<String> = LazyLock::new(|| format!("{}\n", text(SIGNED.note())));
static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let unit = "[[unit]]\ncode = \"113501020036012589\"\nname = \"A\"\ndivision = \"350102\"\n";
    let route = "[[route]]\ncase = \"central\"\ncategory = \"admin_license\"\nfrom = \"2026-01-01\"\nbasis = \"B\"\n";
    [BASE.as_str(), text(example("charter")), unit, route].iter().map(|t| t.as_bytes().to_vec()).collect()
});

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = SignedCharter::open(text, SIGNED.signed_by());
    let _ = SignedCharter::open_next(text, &SIGNED);
    for document in [text.to_owned(), format!("{}{text}", *BASE)] {
        let Ok(charter) = Charter::parse(&document) else { continue };
        // What was read can be asked.
        let _ = (charter.top(), charter.version(), charter.units().is_empty(), charter.catalogs().versions().len());
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { seeded(data, size, max_size, seed, &SEEDS) });
