//! Held records, read from the journal: each batch once.
use super::table::{HeldTable, HeldVersion};
use std::{collections::BTreeMap, ops::ControlFlow};
use tally_protocol::{canonical::Object, ids::LogId};
use tally_store::batch_map::BatchMap;
use tally_store::entries::EntryReader;
use tally_topology::content::business_key_hash;

/// Where the records lie.
#[derive(Debug)]
pub struct RecordReader {
    /// The journal.
    pub reader: EntryReader,
    /// Where the logs' batches lie.
    pub batch_maps: BTreeMap<LogId, BatchMap>,
}

impl RecordReader {
    /// Hands over the records at these places of the table, which are sorted as by [`HeldTable::sort`]; `None` where a record
    /// cannot be read from this disk, or is not the one that the index says.
    pub(super) fn read(
        &self,
        table: &HeldTable,
        places: &[u32],
        mut take: impl FnMut(u32, &HeldVersion, Option<&Object<'_>>) -> ControlFlow<()>,
    ) {
        let mut rest = places;
        while let Some((first, _)) = rest.split_first() {
            let Some((h, log)) = table.get(*first as usize).and_then(|h| Some((h, table.log(h)?))) else { return };
            let batch = self.batch_maps.get(&log).and_then(|l| l.read(&self.reader, h.index).ok());
            let end = batch.as_ref().map_or(h.index + 1, |(lying, _)| lying.end);
            let within = |i: &u32| table.get(*i as usize).is_some_and(|o| o.log == h.log && o.index < end);
            let (same, after) = rest.split_at(rest.iter().take_while(|i| within(i)).count().max(1));
            rest = after;
            let start = batch.as_ref().map_or(0, |(lying, _)| lying.start);
            let records: Vec<&[u8]> = batch.as_ref().map(|(_, r)| r.iter().collect()).unwrap_or_default();
            for place in same {
                let Some(h) = table.get(*place as usize) else { return };
                let bytes = h.index.checked_sub(start).and_then(|i| records.get(i as usize));
                let object = bytes.and_then(|b| Object::parse(b).ok()).filter(|o| key(o) == Some(h.key));
                if take(*place, h, object.as_ref()).is_break() {
                    return;
                }
            }
        }
    }
}

fn key(object: &Object<'_>) -> Option<[u8; 16]> {
    let (category, unit) = (object.text("category")?, object.text("producer_uscc")?);
    Some(business_key_hash(category, unit, object.text("business_key")?))
}
