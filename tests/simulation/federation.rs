//! The federation as its authority sees it: the tree, the keys, the charter that is newest.
//!
//! The one place that makes charters, keys and names of logs. It knows no node, no disk and no oracle.

use crate::step::Change;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock},
};
use tally_protocol::{
    hash::Hash,
    ids::{Division, Federation as Name, LogId},
    keys::{Algorithm, NodeKeys, Signer, VerifierKey, authority_signer},
};
use tally_topology::{
    charter::{epoch_entry, heading},
    signed::{SignedCharter, sign},
};

/// (division, level, parent)
const NODES: [(u32, &str, u32); 7] = [
    (350_000, "province", 0),
    (350_100, "prefecture", 350_000),
    (350_200, "prefecture", 350_000),
    (350_102, "county", 350_100),
    (350_103, "county", 350_100),
    (350_203, "county", 350_200),
    (350_128, "county", 350_000),
];

pub fn division(code: u32) -> Division {
    code.try_into().unwrap()
}

/// The log of a node's records in an epoch.
pub fn records_log(division: Division, epoch: u32) -> LogId {
    LogId::records(division, epoch)
}

fn name() -> Name {
    Name::try_from("sim.example".to_owned()).unwrap()
}

pub fn authority() -> &'static Signer {
    static AUTHORITY: OnceLock<Signer> = OnceLock::new();
    AUTHORITY.get_or_init(|| Signer::new(name().authority_name(), Algorithm::Ed25519, &[1; 32]))
}

/// Keys follow from the log's name alone, so every run has the same ones and they are made once.
pub fn keys(log: LogId) -> Arc<NodeKeys> {
    static KEYS: Mutex<BTreeMap<LogId, Arc<NodeKeys>>> = Mutex::new(BTreeMap::new());
    let make = || {
        let mut secret = [9; 32];
        secret[..4].copy_from_slice(&log.division.code().to_le_bytes());
        secret[4..8].copy_from_slice(&log.epoch.to_le_bytes());
        Arc::new(NodeKeys::derive(&name(), log, &secret))
    };
    KEYS.lock().unwrap().entry(log).or_insert_with(make).clone()
}

/// Who signs the checkpoints of a log.
pub fn log_key(log: LogId) -> VerifierKey {
    keys(log).log.public().clone()
}

/// Who signs the receipts of a holder.
pub fn mirror_key(holder: LogId) -> VerifierKey {
    keys(holder).mirror.public().clone()
}

/// A log's name in what is signed.
pub fn origin(log: LogId) -> String {
    name().origin(log)
}

/// A node's place in the federation.
#[derive(Debug, Clone)]
pub struct Seat {
    level: &'static str,
    pub parent: Option<Division>,
    pub retired: bool,
    /// Closed epochs with their last word; the current one comes after.
    pub closed: Vec<(u64, Hash)>,
}

impl Seat {
    pub fn epoch(&self) -> u32 {
        self.closed.len() as u32 + 1
    }
}

/// What the authority has decided so far.
#[derive(Debug, Clone)]
pub struct Federation {
    pub seats: BTreeMap<Division, Seat>,
    version: u64,
    signed: SignedCharter,
}

impl Federation {
    pub fn new() -> Self {
        static FIRST: OnceLock<SignedCharter> = OnceLock::new();
        let seat = |(code, level, parent): &(u32, &'static str, u32)| {
            let parent = (*parent > 0).then(|| division(*parent));
            (division(*code), Seat { level, parent, retired: false, closed: Vec::new() })
        };
        let seats: BTreeMap<_, _> = NODES.iter().map(seat).collect();
        let signed = FIRST.get_or_init(|| charter(1, &seats)).clone();
        Self { seats, version: 1, signed }
    }

    /// The newest charter.
    pub fn charter(&self) -> &SignedCharter {
        &self.signed
    }

    pub fn top(&self) -> Division {
        *self.seats.iter().find(|(_, s)| s.parent.is_none()).unwrap().0
    }

    /// The nodes above, nearest first.
    pub fn above(&self, below: Division) -> Vec<Division> {
        let mut path = Vec::new();
        let mut at = self.seats[&below].parent;
        while let Some(d) = at {
            path.push(d);
            at = self.seats[&d].parent;
        }
        path
    }

    pub fn current(&self, division: Division) -> LogId {
        records_log(division, self.seats[&division].epoch())
    }

    /// All logs that the charter knows.
    pub fn logs(&self) -> impl Iterator<Item = LogId> {
        self.seats.iter().flat_map(|(d, s)| (1..=s.epoch()).map(|e| records_log(*d, e)))
    }

    /// Where the charter closed a log.
    pub fn last(&self, log: LogId) -> Option<(u64, Hash)> {
        self.seats.get(&log.division)?.closed.get(log.epoch as usize - 1).copied()
    }

    /// Writes the next version; `last` is the last word of an epoch that ends. The answer is whether it may be so.
    pub fn change(&mut self, change: Change, last: Option<(u64, Hash)>) -> bool {
        let mut seats = self.seats.clone();
        let childless = |d: Division| self.seats.values().all(|s| s.parent != Some(d));
        let sound = match change {
            Change::Reissue => true,
            Change::Retire { node } => {
                let seat = seats.get_mut(&node).unwrap();
                childless(node) && !std::mem::replace(&mut seat.retired, true)
            }
            Change::Move { node, to } => {
                let (above, gone) = (seats[&to].level, seats[&to].retired);
                let seat = seats.get_mut(&node).unwrap();
                let county_only = seat.level == "county" && above != "county" && !seat.retired && !gone;
                county_only && seat.parent.replace(to) != Some(to)
            }
            Change::NextEpoch { node, .. } => {
                let seat = seats.get_mut(&node).unwrap();
                let fits = last.filter(|_| !seat.retired && seat.epoch() < 4 && seat.parent.is_some());
                seat.closed.extend(fits);
                fits.is_some()
            }
        };
        if sound {
            self.version += 1;
            self.signed = charter(self.version, &seats);
            self.seats = seats;
        }
        sound
    }
}

fn charter(version: u64, seats: &BTreeMap<Division, Seat>) -> SignedCharter {
    let successor = authority_signer(&name(), &[2; 32]);
    let mut text = heading(&name(), version, successor.public());
    for (d, seat) in seats {
        let parent = seat.parent.map_or(String::new(), |p| format!("parent = \"{p}\"\n"));
        text += &format!(
            "[[node]]\ndivision = \"{d}\"\nname = \"n\"\nlevel = \"{}\"\naddresses = [\"h:1\"]\n{parent}retired = {}\n",
            seat.level, seat.retired
        );
        for epoch in 1..=seat.epoch() {
            text += &epoch_entry(&keys(records_log(*d, epoch)));
            if let Some((size, root)) = seat.closed.get(epoch as usize - 1) {
                text += &format!("last_size = {size}\nlast_root = \"{root}\"\n");
            }
        }
    }
    SignedCharter::open(&sign(&text, authority()).unwrap(), authority().public()).unwrap()
}
