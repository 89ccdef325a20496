//! Readings of what is held, for people: deadlines, questions, and the comparison with a department's own export.
//!
//! All of it is computed from index, journal and charter when it is asked for; nothing here is kept but which differences
//! were shown. HTTP, rights of tokens and quotas are the console's.

pub mod compare;
pub mod deadline;
pub mod question;
