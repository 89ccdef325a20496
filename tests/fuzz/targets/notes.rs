//! Signed texts that others wrote: notes, checkpoints, proofs, evidence, invitations, requests.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use std::sync::LazyLock;
use tally_fuzz::{example, seeded};
use tally_protocol::{
    checkpoint::Checkpoint,
    ids::Federation,
    invite::SignedInvite,
    join::JoinRequest,
    keys::{Signer, authority_signer},
    note::{Note, NoteSignature},
    tlog_proof::{TlogProof, parse_hash_lines},
};
use tally_topology::{charter::Charter, evidence, request::NodeRequest, sample, signed};

static CHARTER: LazyLock<Charter> = LazyLock::new(|| sample::charter(""));
static AUTHORITY: LazyLock<Signer> =
    LazyLock::new(|| authority_signer(&Federation::try_from("t.example".to_owned()).expect("a name"), &[1; 32]));
static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let names = ["checkpoint", "tlog-proof", "charter", "request", "invite token", "join request note", "evidence"];
    names.iter().map(|name| format!("{}\n", example(name)).into_bytes()).collect()
});

fuzz_target!(|data: &[u8]| {
    let _ = evidence::verify(data, AUTHORITY.public());
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(note) = Note::parse(text) {
        let signed: usize = note.signatures().len();
        assert!(signed > 0 && text.starts_with(note.text()));
        if let Ok(checkpoint) = Checkpoint::parse(note.text()) {
            assert_eq!(checkpoint.text(), note.text(), "a checkpoint has one form");
        }
    }
    let _ = NoteSignature::parse(text);
    let _ = parse_hash_lines(text);
    if let Ok(proof) = TlogProof::parse(text) {
        assert_eq!(TlogProof::parse(&proof.text()).as_ref(), Ok(&proof));
    }
    if let Ok(invite) = SignedInvite::read(text) {
        assert_eq!(invite.token(), text.trim(), "an invitation has one form");
    }
    let _ = JoinRequest::open(text);
    let _ = NodeRequest::open(text, &CHARTER);
    let _ = signed::changes_to(text);
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { seeded(data, size, max_size, seed, &SEEDS) });
