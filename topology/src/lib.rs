//! The charter: who may sign what and who reports to whom; and the one door into the journal.
//!
//! Pure, like `tally-protocol` below it. Rules are data: nothing here knows a division by its digits.
//!
//! * [`charter`]: the document, its checks, and what can be asked of it.
//! * [`signed`]: the signed form, and which charter may follow which.
//! * [`evidence`]: one text file that proves where a record is held, to anyone who has the authority's key.
//! * [`admit`]: the only maker of [`admit::AdmittedBatch`], the only thing the journal takes as a batch.
//!
//! Routes, catalog, units and calendar will stand beside `charter` as further parts of the same document.

pub mod admit;
pub mod charter;
pub mod evidence;
pub mod signed;
