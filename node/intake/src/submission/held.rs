//! Records that are held, to be read again by their ids.

use std::{collections::BTreeMap, fmt, sync::Arc};
use tally_driver::Mailbox;
use tally_protocol::record::RecordId;
use tally_store::{
    batch_map::BatchMap,
    entries::EntryReader,
    index::{
        Engine, InForce,
        query::{Source, attested, read_each},
    },
};
use tally_topology::in_force::CharterHandle;

/// Reads records that are held.
pub trait HeldReader: Send + Sync + fmt::Debug {
    /// The record's bytes; none if it is not in the index yet, or cannot be read. Blocking.
    fn read(&self, id: RecordId) -> Option<Vec<u8>>;
}

/// Records of the index, read from the journal.
#[derive(Debug)]
pub struct IndexedRecords {
    /// Where they stand.
    pub engine: Arc<dyn Engine>,
    /// The journal.
    pub reader: EntryReader,
    /// Where the batches lie.
    pub mailbox: Mailbox,
    /// Which logs count.
    pub charter: CharterHandle,
}

impl HeldReader for IndexedRecords {
    fn read(&self, id: RecordId) -> Option<Vec<u8>> {
        let (signed, view) = (self.charter.charter(), self.mailbox.view());
        let charter = signed.charter();
        let places = attested(&InForce::new(&*self.engine, charter), id).ok()?;
        let logs = places.iter().filter_map(|(log, _)| Some((*log, BatchMap::of(view.logs().get(log)?))));
        let batch_maps: BTreeMap<_, _> = logs.collect();
        let source = Source { reader: &self.reader, batch_maps: &batch_maps, charter };
        let mut record = None;
        read_each(&source, &[(id, places)], |_, _, bytes| record = Some(bytes.to_vec()));
        record
    }
}
