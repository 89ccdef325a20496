//! A submission: rows handed in together, from the first byte to the answer that is kept.

pub(crate) mod answer;
pub mod kept;
pub(crate) mod upload;
