//! The HTTP API: on the admin socket for this machine's operator, and over TCP for departments' programs.
//!
//! A handler reads the request, looks whether the caller may, takes a permit, asks, and encodes what comes back. What is
//! asked for is done elsewhere: submissions in `tally-intake`, readings of what is held in `tally-reports`. Whatever takes memory
//! or a thread needs a permit first. Neighbours' sockets and the files of the disk are not known here; the connections of
//! HTTP are ([`serve`]), and how many there may be.

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests may block: what is built for the program is checked")
)]

mod addressed;
mod answers;
mod auth;
mod bundle;
mod charter;
mod compare;
mod corrections;
mod deadlines;
mod due;
mod evidence;
mod export;
mod gate;
mod health;
mod held;
mod history;
mod judged;
mod metrics;
mod openapi;
mod parameters;
mod problem;
mod questions;
mod quota;
pub mod receipts;
mod record;
mod records;
mod requests;
mod routes;
mod schema;
pub mod screen;
mod serve;
pub mod status;
mod tasks;
mod tlog;

pub use auth::{Token, TokenBook};
pub use due::count_deadlines;
pub use health::ShownToAll;
pub use held::{IDS_MAX, Ids};
pub use history::{HistoryBook, HistoryNote, NoteKind, note_changes};
pub use judged::{CheckFinding, CheckLevel, CheckScope, action_codes, judged};
pub use quota::Quotas;
pub use requests::{AskedEpoch, EpochAsk, EpochDesk, HeldWhole, RequestKind, RequestListed, WithReason};
pub use routes::{admin, public};
pub use serve::{ServeBounds, serve};
pub use tasks::{NewTask, Steer};

use status::{Status, StatusInputs};
use std::{sync::Arc, time::Duration};
use tally_core::Place;
use tally_driver::Mailbox;
use tally_intake::{folder::FolderTroubles, submission::Submissions};
use tally_protocol::ids::LogId;
use tally_reconcile::{
    KnownDamage, ReconcileContext,
    task::{DamageBook, Tasks},
};
use tally_reports::compare::Comparisons;
use tally_store::entries::EntryReader;
use tally_store::{
    index::{Engine, IndexProgress},
    lost::LostRecords,
    merkle_store::MerkleStore,
};
use tally_topology::in_force::CharterHandle;
use tokio::sync::watch;

/// An answer that needs the index waits so long for it to catch up.
const INDEX_PATIENCE: Duration = Duration::from_secs(10);

/// What the handlers ask: a handle to every part of the node; clones share them.
#[derive(Debug, Clone)]
pub struct ApiContext {
    /// The core's mailbox.
    pub mailbox: Mailbox,
    /// Where rows are handed in, and answers kept.
    pub submissions: Submissions,
    /// Comparisons with sources.
    pub comparisons: Comparisons,
    /// The charter in force.
    pub charter: CharterHandle,
    /// The index.
    pub engine: Arc<dyn Engine>,
    /// The journal, for exports.
    pub reader: EntryReader,
    /// How far the index is.
    pub progress: watch::Receiver<IndexProgress>,
    /// End of the durable journal.
    pub durable: watch::Receiver<Place>,
    /// Damaged places that are known.
    pub known_damage: KnownDamage,
    /// When what was whole was found damaged.
    pub damage_book: DamageBook,
    /// Drop folders that cannot be used.
    pub folders: FolderTroubles,
    /// What bundles are taken in by.
    pub reconcile: ReconcileContext,
    /// Long work.
    pub tasks: Tasks,
    /// The own log.
    pub own: LogId,
    /// Secrets for TCP.
    pub tokens: TokenBook,
    /// How much may go on at the same time.
    pub quotas: Quotas,
    /// Hashes of the logs' trees.
    pub trees: MerkleStore,
    /// Where the next epoch is asked for.
    pub epochs: EpochDesk,
    /// Records that are on no disk any more.
    pub lost: LostRecords,
    /// What is shown without a token.
    pub shown_to_all: ShownToAll,
    /// What happened.
    pub history: HistoryBook,
}

impl ApiContext {
    fn status_inputs(&self) -> StatusInputs {
        StatusInputs {
            progress: self.progress.borrow().clone(),
            durable: *self.durable.borrow(),
            short_of: self.mailbox.shortage(),
            damaged_places: self.known_damage.count(),
            folders: self.folders.list(),
            damaged_again: self.damage_book.repeated(tally_clock::now_ms() / 1_000),
            staged: self.submissions.intake().staged.counts(),
            lost: self.lost.open_ranges(),
            asked: self.epochs.asked.borrow().clone(),
        }
    }

    /// Waits until the index holds everything that is durable now; answers up to where that is.
    async fn index_caught_up(&self) -> Option<Place> {
        let until = *self.durable.borrow();
        let mut progress = self.progress.clone();
        let wait = progress.wait_for(|p| p.cursor >= until || p.trouble.is_some());
        let caught_up = tokio::time::timeout(INDEX_PATIENCE, wait).await;
        caught_up.is_ok_and(|r| r.is_ok_and(|p| p.trouble.is_none())).then_some(until)
    }

    /// The snapshot. Its counts are those of the index, which are good if it holds everything up to `as_of` (or, by
    /// default, everything that is durable now).
    fn status(&self, as_of: Option<Place>) -> Status {
        let mut inputs = self.status_inputs();
        inputs.durable = as_of.unwrap_or(inputs.durable);
        Status::of(&self.mailbox.view(), tally_clock::wall_ms(), &inputs)
    }
}
