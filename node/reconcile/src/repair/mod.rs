//! Repair: batches in and out of the journal, and damaged places put right. What is taken in is proved first; what is
//! damaged is put right only once nothing that it held is missing any more.

mod mend;
mod reader;
mod writer;

pub(crate) use reader::RepairReader;
pub(crate) use writer::RepairWriter;
