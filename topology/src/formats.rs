//! Compares the examples of FORMATS.md that this crate makes with what the code makes.

use crate::{
    charter::{
        epoch_entry, heading,
        tests::{federation, keys},
    },
    evidence::{self, Parts},
    signed::{SignedCharter, sign},
};
use tally_protocol::{
    checkpoint::Checkpoint, keys::authority_signer, merkle::Tree, record::RecordId, tlog_proof::TlogProof,
};

const FORMATS: &str = include_str!("../../protocol/FORMATS.md");

fn example(name: &str) -> &'static str {
    let (_, rest) = FORMATS.split_once(&format!("\n```example {name}\n")).expect("FORMATS.md has it");
    &rest[..rest.find("\n```\n").expect("the example ends") + 1]
}

fn charter() -> SignedCharter {
    let [authority, successor] = [1, 2].map(|seed| authority_signer(&federation(), &[seed; 32]));
    let node = "\n[[node]]\ndivision = \"350102\"\nname = \"鼓楼区\"\nlevel = \"county\"\n";
    let text = heading(&federation(), 1, successor.public()) + node + &epoch_entry(&keys("350102/e1"));
    SignedCharter::open(&sign(&text, &authority).unwrap(), authority.public()).unwrap()
}

fn file(charter: &SignedCharter) -> String {
    let (keys, record) = (keys("350102/e1"), r#"{"a":1}"#.to_owned());
    let mut tree = Tree::default();
    tree.push(RecordId::of(record.as_bytes()).0);
    let origin = keys.log.public().name().to_owned();
    let note = Checkpoint { origin, size: 1, root: tree.root() }.seal(&keys, 1_790_000_000);
    let proofs = vec![(keys.node, TlogProof { index: 0, path: Vec::new(), note })];
    evidence::write(Parts { record, log: keys.node, proofs, closing: None }, charter).unwrap()
}

/// What is installed reads these for ever: an example changes only with a new format.
#[test]
fn the_examples_are_what_the_code_makes() {
    let charter = charter();
    assert_eq!(example("charter"), charter.note());
    let file = file(&charter);
    assert_eq!(example("evidence"), file);
    assert!(evidence::verify(file.as_bytes(), charter.signed_by()).is_ok());
}
