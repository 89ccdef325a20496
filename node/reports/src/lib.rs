//! Readings of what is held, for people: deadlines, and the comparison with a department's own export.

pub mod compare;
pub mod deadline;
