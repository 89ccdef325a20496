//! What a round does while there is no room, and what becomes of mail meanwhile.

use super::*;
use std::{cell::Cell, io};
use tally_core::{Replica, View};
use tally_protocol::{
    ids::{Federation, LogId},
    keys::{Algorithm, NodeKeys, Signer, authority_signer},
};
use tally_store::entries;
use tally_topology::{
    charter::{epoch_entry, heading},
    signed::{SignedCharter, sign},
};
use tokio::sync::{oneshot, watch};

/// A node that is its own federation.
fn view() -> View {
    let federation = Federation::try_from("d.example".to_owned()).unwrap();
    let keys = NodeKeys::derive(&federation, LogId::records("350000".parse().unwrap(), 1), &[7; 32]);
    let authority = Signer::new(federation.authority_name(), Algorithm::Ed25519, &[1; 32]);
    let node = "[[node]]\ndivision = \"350000\"\nname = \"n\"\nlevel = \"province\"\naddresses = [\"h:1\"]\n";
    let successor = authority_signer(&federation, &[2; 32]);
    let text = heading(&federation, 1, successor.public()) + node + &epoch_entry(&keys);
    let charter = SignedCharter::open(&sign(&text, &authority).unwrap(), authority.public()).unwrap();
    Replica::new(Arc::new(keys), charter, "test".into()).view().clone()
}

fn no_room(shortage: Shortage) -> JournalError {
    let source = io::Error::other("no room");
    JournalError::NoRoom { path: "/data/journal".into(), action: "cannot be written", shortage, source }
}

#[test]
fn a_round_waits_for_room_and_its_node_lives() {
    let dir = tempfile::tempdir().unwrap();
    let view = view();
    let owner = entries::owner(view.charter().federation(), view.me());
    let (_tell, view) = watch::channel(Arc::new(view));
    let (mailbox, mut mail) = Mailbox::new(view);
    let (mut journal, _) = EntryJournal::open(&dir.path().join("journal"), &owner, 1 << 20, |_, _, _| {}).unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let space = Space { full: full.clone(), reserve: 0, data: dir.path().into(), mailbox: mailbox.clone() };
    let (reply, mut settled) = oneshot::channel();
    let (asked, _answer) = oneshot::channel();
    for sent in [Mail::Rescue(asked), Mail::Settle(reply), Mail::Core(Input::Tick), Mail::Core(Input::Tick)] {
        send(&mailbox, sent);
    }
    let mut held = VecDeque::new();
    let mut round = Patient { journal: &mut journal, mail: &mut mail, held: &mut held, space: &space };

    let (calls, before) = (Cell::new(0), mailbox.beats());
    let written = round.until_there_is_room(|_| {
        calls.set(calls.get() + 1);
        // It is shown before the first attempt has come back twice.
        assert_eq!(mailbox.shortage(), [None, Some(Shortage::Descriptors), Some(Shortage::Bytes)][calls.get() - 1]);
        match calls.get() {
            1 => Err(no_room(Shortage::Descriptors)),
            2 => Err(no_room(Shortage::Bytes)),
            _ => Ok(()),
        }
    });
    assert!(written.is_ok() && calls.get() == 3 && full.load(Ordering::Relaxed));
    assert_eq!(mailbox.beats(), before + 2, "the watchdog is told for each attempt");
    assert!(settled.try_recv().is_ok(), "whoever asks whether it lives is answered");
    assert!(matches!(held.pop_front(), Some(Mail::Rescue(_))) && held.is_empty(), "all other mail is kept");

    space.look();
    assert_eq!((mailbox.shortage(), full.load(Ordering::Relaxed)), (None, false), "there is room again");

    send(&mailbox, Mail::Stop);
    let mut round = Patient { journal: &mut journal, mail: &mut mail, held: &mut held, space: &space };
    let stopped = round.until_there_is_room(|_| Err::<(), _>(no_room(Shortage::Bytes)));
    assert!(matches!(stopped, Err(RoundError::Stopped)));
}

fn send(mailbox: &Mailbox, mail: Mail) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(mailbox.send(mail)).unwrap();
}

#[test]
fn few_inodes_are_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let (_tell, view) = watch::channel(Arc::new(view()));
    let space =
        Space { full: Arc::default(), reserve: 1 << 20, data: dir.path().into(), mailbox: Mailbox::new(view).0 };
    let of = |free_bytes: u64, inodes: u64, free_inodes: u64| {
        let mut stat = rustix::fs::statvfs(dir.path()).unwrap();
        (stat.f_frsize, stat.f_bavail) = (1, free_bytes);
        (stat.f_files, stat.f_favail) = (inodes, free_inodes);
        space.lacks(&stat)
    };
    assert_eq!(of(1 << 20, 1 << 20, 1_024), None);
    assert_eq!(of((1 << 20) - 1, 1 << 20, 1_024), Some(Shortage::Bytes));
    assert_eq!(of(1 << 20, 1 << 20, 1_023), Some(Shortage::Inodes));
    assert_eq!((of(1 << 20, 1_000, 50), of(1 << 20, 1_000, 49)), (None, Some(Shortage::Inodes)), "a small file system");
    assert_eq!(of(1 << 20, 0, 0), None, "it has as many as it needs");
}
