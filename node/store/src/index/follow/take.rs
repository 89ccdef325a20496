//! Takes the records of a batch into the index: counts each once, and judges it.

use super::{Follower, WRITE_PAIRS};
use crate::index::{
    Engine as _, EngineError, InForce,
    entry::{self, IndexEntry, Lookup, SubjectName},
    findings, key_findings, positions,
};
use tally_core::Place;
use tally_protocol::{batch::Batch, canonical::Object, ids::LogId, record::RecordId};
use tally_topology::{
    catalog::Severity,
    charter::Charter,
    content::{ContentId, Dimensions, KeyForms, Operation},
};

/// Names of units that are remembered as written.
const NAMES_MAX: usize = 10_000;
/// Longest name that is kept, in bytes.
const NAME_BYTES_MAX: usize = 512;

/// A record of a batch, read.
pub(super) struct ReadRecord<'b> {
    pub(super) id: RecordId,
    pub(super) entry: IndexEntry,
    /// `None`: its bytes are no object.
    pub(super) object: Option<Object<'b>>,
}

impl<'b> ReadRecord<'b> {
    pub(super) fn of(bytes: &'b [u8], index: u64, sealed_at: u64) -> Self {
        let id = RecordId::of(bytes);
        let object = Object::parse(bytes).ok();
        let content = match &object {
            Some(object) => ContentId::of(id, object),
            None => ContentId::unreadable(id),
        };
        let dimensions = object.as_ref().map(Dimensions::of).unwrap_or_default();
        Self { id, entry: IndexEntry { index, sealed_at, content, dimensions }, object }
    }
}

impl Follower<'_> {
    pub(super) fn take(
        &mut self,
        charter: &Charter,
        (log, (start, end), sealed_at): (LogId, (u64, u64), u64),
        place: Place,
        body: &[u8],
    ) -> Result<(), EngineError> {
        let records = match Batch::decode(body).and_then(|b| b.records()) {
            Ok(records) => records,
            Err(e) => {
                // It was let in, so a later program wrote it: this one cannot say what is in it, and goes on.
                let reached = self.state.reached.entry(log).or_default();
                if end > *reached {
                    *reached = end;
                    *self.state.logs.entry(log).or_default() += end - start;
                }
                tracing::error!(event = "index.batch", %log, start, reason = %e, "a batch cannot be read and is not in the index");
                return Ok(());
            }
        };
        let done = if self.cursor() == place { usize::from(self.state.done) } else { 0 };
        self.state.place = place.0;
        let overlay = self.overlay.clone();
        let in_force = InForce::of_follower(&*overlay, charter);
        for (i, bytes) in records.iter().enumerate().skip(done) {
            let record = ReadRecord::of(bytes, start + i as u64, sealed_at);
            let content = record.entry.content;
            if !self.count(log, record.id, record.entry.index)? {
                let alone = !self.may_have_versions(&content.key) && !self.may_have_forms(content.forms());
                self.keep_name(&record);
                overlay.put_record(record.id, log, &record.entry);
                if let Some((key, value)) = entry::form_pair(content.forms()) {
                    overlay.put(key, value);
                }
                self.judge(&in_force, log, &record, alone && content.operation == Operation::Create)?;
            }
            self.ids.push((log, record.id, content.forms()));
            self.state.done = i as u16 + 1;
            if self.ids.len() >= self.write_at || overlay.waiting() >= WRITE_PAIRS {
                self.write()?;
            }
        }
        Ok(())
    }

    fn may_have_versions(&self, key: &[u8; 16]) -> bool {
        self.overlay.is_fresh(Lookup::Key(*key)) || self.sources.known.maybe_key(key)
    }

    /// Whether the same number may be held in another form.
    fn may_have_forms(&self, forms: KeyForms) -> bool {
        let form = forms.common();
        self.sources.known.maybe_form(&form)
            || self.overlay.is_fresh_pair(&entry::form_prefix(&form))
            || forms.form.is_some_and(|key| self.may_have_versions(&key))
    }

    /// Counts a record. Answers whether the index knows already that this log holds it here: a batch that was repaired comes a
    /// second time, or late, and must not count twice.
    fn count(&mut self, log: LogId, id: RecordId, index: u64) -> Result<bool, EngineError> {
        let new = self.is_new(id)?;
        let known = !new && self.overlay.get(&Lookup::Record(id).key(log, index))?.is_some();
        if !known {
            *self.state.keys.entry(log).or_default() += 1;
            *self.state.logs.entry(log).or_default() += 1;
        }
        if new {
            self.state.distinct += 1;
        }
        let reached = self.state.reached.entry(log).or_default();
        *reached = (*reached).max(index + 1);
        Ok(known)
    }

    /// Whether no log is known to hold the record yet.
    fn is_new(&self, id: RecordId) -> Result<bool, EngineError> {
        let may_be_held = self.overlay.is_fresh(Lookup::Record(id)) || self.sources.known.maybe(&id);
        Ok(!may_be_held || positions::of_record(&*self.overlay, id)?.is_empty())
    }

    /// Keeps the name of the producing unit, which some routes go by.
    fn keep_name(&mut self, record: &ReadRecord<'_>) {
        let mark = record.entry.dimensions.unit_name;
        let Some(name) = record.object.as_ref().and_then(|o| o.text("producer_name")) else { return };
        if self.names.len() >= NAMES_MAX {
            self.names.clear();
        }
        if name.len() <= NAME_BYTES_MAX && self.names.insert(mark) {
            self.overlay.put(entry::unit_name_key(mark), name.as_bytes().to_vec());
        }
    }

    /// Judges a record and keeps what is wrong with it beside it (I3: reported, and never in the way of replication).
    /// `alone`: its business key has no other version, and it is an original.
    pub(super) fn judge(
        &mut self,
        in_force: &InForce<'_>,
        log: LogId,
        record: &ReadRecord<'_>,
        alone: bool,
    ) -> Result<(), EngineError> {
        let e = &record.entry;
        let mut found = Vec::new();
        if let Some(object) = &record.object {
            let judged = findings::judged(in_force.charter(), log, e, object);
            let right = judged.findings.iter().all(|f| f.severity != Severity::Reject);
            if judged.base && right && e.content.operation != Operation::Withdraw {
                self.register(object, e.dimensions.produced_on, in_force.charter().rules_mark())?;
            }
            found = judged.findings;
        }
        if !alone {
            return key_findings::keep(in_force, e.content.forms(), (record.id, log, e.index, found));
        }
        if !found.is_empty() {
            self.overlay.put(entry::finding_key(log, e.index), findings::encode(record.id, &found));
        }
        Ok(())
    }

    /// The newest registration says what a subject is called; of two of one day the greater name, so that no order counts.
    fn register(&mut self, object: &Object<'_>, day: u32, rules: [u8; 8]) -> Result<(), EngineError> {
        let Some((code, name)) = object.text("subject_uscc").zip(object.text("subject_name")) else { return Ok(()) };
        let key = entry::subject_key(code);
        let new = SubjectName { day, name: name.to_owned(), rules };
        let held = self.overlay.get(&key)?.and_then(|v| SubjectName::decode(&v));
        if held.as_ref().is_none_or(|h| h.rules != rules || *h < new) {
            if held.is_none_or(|h| h.name != new.name) {
                self.renamed.push(code.to_owned());
            }
            self.overlay.put(key, new.encode());
        }
        Ok(())
    }
}
