//! The nodes of the scenes: the real core on the journal that is tested, and neighbours whose memory never fails.

use crate::volume::RecordingVolume;
use std::{
    convert::Infallible,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    sync::{Arc, OnceLock},
};
use tally_core::{Append, Disk, Entry, Output, Place, Replica};
use tally_journal::{Found, JournalError};
use tally_protocol::{
    ids::{Federation, LogId},
    keys::{Algorithm, NodeKeys, Signer, authority_signer},
};
use tally_store::entries::{EntryJournal, EntryReader, owner};
use tally_topology::{
    charter::{epoch_entry, heading},
    signed::{SignedCharter, sign},
};

/// Who takes part, by place in [`NODES`].
pub type Who = usize;
pub const PROVINCE: Who = 0;
/// The node under test.
pub const CITY: Who = 1;
pub const COUNTY: Who = 2;
/// A county whose key will sign a second history.
pub const FORGER: Who = 3;

/// (division, level, parent)
const NODES: [(&str, &str, &str); 4] = [
    ("350000", "province", ""),
    ("350100", "prefecture", "350000"),
    ("350101", "county", "350100"),
    ("350102", "county", "350100"),
];

fn federation() -> Federation {
    Federation::try_from("d.example".to_owned()).unwrap()
}

fn authority() -> Signer {
    Signer::new(federation().authority_name(), Algorithm::Ed25519, &[1; 32])
}

pub fn log(who: Who) -> LogId {
    LogId::records(NODES[who].0.parse().unwrap(), 1)
}

pub fn keys(who: Who) -> Arc<NodeKeys> {
    static KEYS: OnceLock<[Arc<NodeKeys>; 4]> = OnceLock::new();
    let of = |who: Who| {
        let mut secret = [9; 32];
        secret[..6].copy_from_slice(NODES[who].0.as_bytes());
        Arc::new(NodeKeys::derive(&federation(), log(who), &secret))
    };
    KEYS.get_or_init(|| [0, 1, 2, 3].map(of))[who].clone()
}

pub fn charter(version: u64) -> String {
    let successor = authority_signer(&federation(), &[2; 32]);
    let mut text = heading(&federation(), version, successor.public());
    for (who, (code, level, parent)) in NODES.into_iter().enumerate() {
        let parent = if parent.is_empty() { String::new() } else { format!("parent = \"{parent}\"\n") };
        let node =
            format!("[[node]]\ndivision = \"{code}\"\nname = \"n\"\nlevel = \"{level}\"\naddresses = [\"h:1\"]\n");
        text += &(node + &parent + &epoch_entry(&keys(who)));
    }
    sign(&text, &authority()).unwrap()
}

fn replica(who: Who) -> Replica {
    static FIRST: OnceLock<SignedCharter> = OnceLock::new();
    static RUNS: AtomicU64 = AtomicU64::new(1);
    let first = || SignedCharter::open(&charter(1), authority().public()).unwrap();
    let mut replica = Replica::new(keys(who), FIRST.get_or_init(first).clone(), "disk".into());
    // Each life is a run of its own.
    replica.set_instance(u128::from(RUNS.fetch_add(1, Ordering::Relaxed)).to_be_bytes());
    replica
}

/// A disk that always works.
#[derive(Debug, Default)]
pub struct Memory(Vec<Append>);

impl Disk for Memory {
    type Error = Infallible;

    fn append(&mut self, frames: &[Append]) -> Result<Vec<Place>, Infallible> {
        let first = self.0.len();
        self.0.extend_from_slice(frames);
        Ok((first..self.0.len()).map(|i| Place(i as u64)).collect())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// A node whose disk is not in question.
#[derive(Debug)]
pub struct Neighbour {
    pub replica: Replica,
    pub memory: Memory,
}

impl Neighbour {
    pub fn new(who: Who) -> Self {
        Self { replica: replica(who), memory: Memory::default() }
    }

    pub fn batch(&self, place: Place) -> Option<Vec<u8>> {
        self.memory.0.get(place.0 as usize).map(|a| a.body().to_vec())
    }

    /// Bodies of its own batches, in order.
    pub fn own_batches(&self) -> impl Iterator<Item = &[u8]> {
        let own = self.replica.view().own();
        self.memory
            .0
            .iter()
            .filter(move |a| matches!(a.entry(), Entry::Batch { log, .. } if *log == own))
            .map(Append::body)
    }
}

/// The node under test.
#[derive(Debug)]
pub struct City {
    pub replica: Replica,
    pub journal: EntryJournal<RecordingVolume>,
    pub found: Found,
}

pub fn data() -> PathBuf {
    PathBuf::from("/data")
}

pub fn journal_dir() -> PathBuf {
    data().join("journal")
}

impl City {
    /// As the daemon starts: state from the journal alone.
    pub fn open(volume: &RecordingVolume, segment_bytes: u64) -> Result<Self, String> {
        let mut replica = replica(CITY);
        let owner = owner(replica.view().charter().federation(), replica.view().me());
        let dir = journal_dir();
        volume.begin();
        let opened =
            EntryJournal::open_on(volume.clone(), &dir, &owner, segment_bytes, |e, at, by| replica.recover(e, at, by));
        let (journal, found) = match opened {
            Ok(opened) => opened,
            // It waits until there is room.
            Err(e) if e.shortage().is_some() => return Self::open(volume, segment_bytes),
            Err(e) => return Err(said(&e)),
        };
        replica.all_read();
        replica.recovered();
        Ok(Self { replica, journal, found })
    }

    /// One round, as the driver runs it: for want of room it waits and tries again.
    pub fn round(&mut self, now: u64, out: Vec<Output>) -> Result<Vec<Output>, JournalError> {
        self.replica.commit(|| now, out, &mut Patient(&mut self.journal))
    }
}

/// Waits for room. Here it comes of itself: every fault ends.
struct Patient<'j>(&'j mut EntryJournal<RecordingVolume>);

impl Patient<'_> {
    fn until_there_is_room<T>(
        &mut self,
        mut call: impl FnMut(&mut EntryJournal<RecordingVolume>) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        loop {
            match call(self.0) {
                Err(e) if e.shortage().is_some() => {}
                done => return done,
            }
        }
    }
}

impl Disk for Patient<'_> {
    type Error = JournalError;

    fn append(&mut self, frames: &[Append]) -> Result<Vec<Place>, JournalError> {
        self.until_there_is_room(|journal| journal.append(frames))
    }

    fn flush(&mut self) -> Result<(), JournalError> {
        self.until_there_is_room(EntryJournal::flush)
    }
}

pub fn reader(volume: &RecordingVolume) -> EntryReader<RecordingVolume> {
    EntryReader::on(volume.clone(), journal_dir())
}

/// An error with all that it stems from.
pub fn said(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |s| format!("{error}: {s}"))
}
