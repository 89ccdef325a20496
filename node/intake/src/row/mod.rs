//! From a row as it was handed in to a record.

pub(crate) mod chunk;
pub(crate) mod normal;
pub(crate) mod prepare;
pub(crate) mod read;
pub(crate) mod reply;
