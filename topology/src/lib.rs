//! The charter: who may sign what and who reports to whom; and the one door into the journal.
//!
//! Pure, like `tally-protocol` below it. Rules are data: nothing here knows a division by its digits.
//!
//! * [`catalog`]: categories, fields, code lists and rules, as data.
//! * [`charter`]: the document, its checks, and what can be asked of it.
//! * [`signed`]: the signed form, and which charter may follow which.
//! * [`in_force`]: the charter in force, one handle for everybody who judges by it.
//! * [`evidence`]: one text file that proves where a record is held, to anyone who has the authority's key.
//! * [`admit`]: the only maker of [`admit::AdmittedBatch`], the only thing that `Append` takes as a batch.
//! * [`mod@unit`], [`route`]: who may hand in what, and at which node it enters.
//! * [`calendar`], [`deadline`]: working days, and whether a record is in time.
//! * [`digits`], [`divisions`]: check digits, and the table of divisions.
//! * [`names`]: categories and divisions as people name them.
//! * [`content`]: what a record is: its content, its business key, what it counts for.
//! * [`signs`]: characters that nobody sees or that look like others, and the form in which numbers are compared.
//! * [`request`]: whether what a node asks of the authority may be looked at.
//! * [`judge`]: whether a record is right.
//! * `sample`: a charter for the tests of other crates.

pub mod admit;
pub mod calendar;
pub mod catalog;
pub mod charter;
pub mod content;
pub mod deadline;
pub mod digits;
pub mod divisions;
pub mod evidence;
#[cfg(test)]
mod formats;
pub mod in_force;
pub mod join;
pub mod judge;
pub mod names;
pub mod request;
pub mod route;
#[doc(hidden)]
pub mod sample;
pub mod signed;
pub mod signs;
pub mod toml_fault;
pub mod unit;
