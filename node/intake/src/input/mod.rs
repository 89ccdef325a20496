//! From the bytes of an input to rows, whatever its format.

pub(crate) mod lines;
pub(crate) mod read;
pub(crate) mod sink;
pub(crate) mod table;
