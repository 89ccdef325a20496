//! What a node does to keep its copy true: verify the disk, compare with neighbours, repair, restore, hear what the levels
//! above found, prove a record; and the tasks that run all this.
//!
//! ```text
//! session/    compare with a neighbour: asking and answering side ─┐
//! bundle.rs   the same by a file that is carried                  ─┼─ repair/ (batches in and out, proved; damaged places)
//! survey.rs   what does the own disk lack?                        ─┘
//! verify/     what does the journal hold that does not hold?
//! findings/   what nodes above found wrong with records of this one
//! heads.rs    roots for the core, to tell a fork
//! evidence/   the file that proves one record
//! task/       all of it as tasks: queued, paused, resumed, cancelled
//! ```
//!
//! The decisions are made in `protocol::session::reconcile` and in the core; here are the disk, the core's mailbox and the
//! links. Nothing here writes the journal or decides what counts: it asks the core to.

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests may block: what is built for the program is checked")
)]

#[warn(clippy::arithmetic_side_effects)] // a neighbour's numbers
pub mod bundle;
mod context;
pub mod evidence;
#[warn(clippy::arithmetic_side_effects)] // a neighbour's numbers
pub mod findings;
pub mod heads;
#[warn(clippy::arithmetic_side_effects)] // a neighbour's numbers
mod repair;
#[warn(clippy::arithmetic_side_effects)] // a neighbour's numbers
pub mod session;
pub mod survey;
pub mod task;
pub mod verify;

pub use context::{KnownDamage, ReconcileContext, ReconcileError};
