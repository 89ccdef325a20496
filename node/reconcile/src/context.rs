//! What comparing and repairing work with: the core, the journal, the neighbours; what is known to be damaged; and why
//! a comparison can fail. It decides nothing.

use crate::verify::VerifyError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tally_core::Place;
use tally_driver::{Mailbox, Stopping};
use tally_journal::Damage;
use tally_link::{ExchangeError, LinkRegistry};
use tally_protocol::{ids::Division, session::reconcile::Violation};
use tally_store::entries::EntryReader;
use tally_store::merkle_store::MerkleStore;
use tally_topology::in_force::CharterHandle;
use tokio::sync::{Semaphore, watch};

/// What comparing and repairing work with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ReconcileContext {
    /// The core.
    pub mailbox: Mailbox,
    /// The journal.
    pub reader: EntryReader,
    /// The charter in force.
    pub charter: CharterHandle,
    /// The neighbours.
    pub links: LinkRegistry,
    /// End of the durable journal.
    pub durable: watch::Receiver<Place>,
    /// Damaged places that are known.
    pub known_damage: KnownDamage,
    /// Hashes of the logs' trees.
    pub trees: MerkleStore,
    /// Held while the disk is read for a neighbour: for one at a time. Own work neither waits for it nor holds it, because
    /// two nodes that compare with each other would then wait for each other for ever.
    pub guests: Arc<Semaphore>,
}

/// Damaged places of the journal that are known: from the start of the node, and from the last reading of everything.
#[derive(Debug, Clone, Default)]
pub struct KnownDamage(Arc<Mutex<Places>>);

#[derive(Debug, Default)]
struct Places {
    /// What opening the journal found. A missing tail is seen only at the start, not by reading again.
    at_start: Vec<Damage>,
    /// What the last reading of everything found, which the next finds again or not.
    latest: Vec<Damage>,
}

impl KnownDamage {
    /// With what opening the journal found.
    pub fn new(found: Vec<Damage>) -> Self {
        Self(Arc::new(Mutex::new(Places { latest: found.clone(), at_start: found })))
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn at_start(&self) -> Vec<Damage> {
        self.lock().at_start.clone()
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.lock().latest.len()
    }

    pub(crate) fn set(&self, places: Vec<Damage>) {
        self.lock().latest = places;
    }

    pub(crate) fn mended(&self, place: &Damage) {
        let mut places = self.lock();
        let other = |d: &Damage| (d.segment, d.offset) != (place.segment, place.offset);
        places.at_start.retain(other);
        places.latest.retain(other);
    }
}

/// An error with all that it comes from, on one line: for people.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source()).map(|e| format!(": {e}"));
    error.to_string() + &causes.collect::<String>()
}

/// Why two nodes could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The node ends.
    #[error(transparent)]
    Stopping(#[from] Stopping),
    /// The own disk could not be read, or it was told to stop.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// There is nothing to compare with.
    #[error("{0}")]
    NoPeer(String),
    /// The exchange broke off.
    #[error("with {peer}")]
    Exchange {
        /// With whom.
        peer: Division,
        /// Why.
        source: ExchangeError,
    },
    /// The neighbour does not keep to the protocol, or refuses.
    #[error("{peer}")]
    Violation {
        /// Who.
        peer: Division,
        /// What.
        source: Violation,
    },
    /// The neighbour takes longer than what was asked for may take.
    #[error("{peer} is at work and gets on too slowly; it was left, and what it gave until then is kept")]
    TooSlow {
        /// Who.
        peer: Division,
    },
    /// A thread that read the disk has panicked.
    #[error("internal: a thread that read the disk has ended")]
    Thread,
}
