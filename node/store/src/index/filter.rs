//! Ids and business keys that are known: filters in memory keep the common answer, "new", off the disk.
//!
//! A filter's "no" is certain; until it holds the whole index, and after each "perhaps", the engine is asked. While the index is
//! built anew the engine's "no" means nothing, and is an error. What is about to be sealed counts as held until the index has
//! it. What follows from being held is not decided here.

mod again;

pub use again::SubjectMark;

use super::{
    Effect, Engine, EngineError, HeldKeyVersion, InForce, Version,
    beside::Beside,
    entry::{self, SubjectName},
    positions,
};
use crate::lost::Ranges;
use again::Renamed;
use fastbloom::BloomFilter;
use std::{
    collections::{HashMap, hash_map::Entry as Slot},
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tally_protocol::{ids::LogId, record::RecordId};
use tally_topology::{
    content::{ContentId, KeyForms, Operation},
    in_force::CharterHandle,
};

/// First size of the filter, in ids; each further layer is twice the last.
const FIRST_LAYER: usize = 1 << 20;
/// Other forms of one number that are looked at.
pub(super) const FORMS_MAX: usize = 16;
/// More versions than this of one business key are not looked at.
const VERSIONS_MAX: usize = 4_096;
/// One lookup in so many finds a new id "perhaps known" and asks the engine.
const FALSE_POSITIVE: f64 = 0.005;

/// Answers "is this id in that log", exactly, mostly without the engine.
#[derive(Debug)]
pub struct DedupIndex {
    engine: Arc<dyn Engine>,
    charter: CharterHandle,
    own: LogId,
    ids: Mutex<Layers>,
    keys: Mutex<Layers>,
    /// Of what is in `keys` what came more than once.
    several: Mutex<Layers>,
    /// Where the next record may stand that is handed in again.
    beside: Mutex<Beside>,
    /// The same, for whoever remembers where such records stand.
    beside_again: Mutex<Beside>,
    renamed: Mutex<Renamed>,
    /// The filters hold every id and key of the index.
    complete: AtomicBool,
    /// The index has been at the end of the journal since it was opened or begun anew.
    whole: AtomicBool,
    judged: Mutex<Option<[u8; 8]>>,
    /// What is in the own log, or about to be, and not in the index yet.
    pending: Mutex<Pending>,
    /// What the index knows of the node's logs, and no disk has any more.
    lost: Mutex<Ranges>,
}

#[derive(Debug, Default)]
struct Pending {
    ids: HashMap<RecordId, KeyForms>,
    /// Versions that wait for the index.
    keys: HashMap<[u8; 16], Vec<Version>>,
    /// Business keys among them whose text is another than their form, by that form.
    forms: HashMap<[u8; 16], Vec<[u8; 16]>>,
}

impl Pending {
    fn remove(&mut self, id: &RecordId) {
        let Some(forms) = self.ids.remove(id) else { return };
        let Slot::Occupied(mut waiting) = self.keys.entry(forms.key) else { return };
        waiting.get_mut().retain(|w| w.id != *id);
        if !waiting.get().is_empty() {
            return;
        }
        waiting.remove();
        if let Some(Slot::Occupied(mut keys)) = forms.form.map(|form| self.forms.entry(form)) {
            keys.get_mut().retain(|key| *key != forms.key);
            if keys.get().is_empty() {
                keys.remove();
            }
        }
    }
}

/// Versions of a business key that are held here and change something: at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHistory {
    /// Those of other nodes' logs, then those of the own ones in their order.
    pub versions: Vec<Version>,
    /// Those of the own logs, also where they change nothing.
    pub own: Vec<Version>,
    /// Those that are not in the index yet, so perhaps not durable yet either.
    pub pending: Vec<Version>,
    /// What counts, as far as the index knows: normally one; a withdrawal too.
    pub standing: Vec<Version>,
    /// There are more than were read: what counts is not known.
    pub cut: bool,
}

impl KeyHistory {
    fn of(pending: Vec<Version>) -> Self {
        Self { versions: Vec::new(), own: Vec::new(), pending, standing: Vec::new(), cut: false }
    }

    /// The one that counts, as far as is known: what this node is about to seal comes after all that it holds.
    pub fn latest(&self) -> Option<&Version> {
        self.pending.last().or(self.standing.first())
    }

    /// Whether it withdraws.
    pub fn is_withdrawn(&self) -> bool {
        self.latest().is_some_and(|v| v.operation == Operation::Withdraw)
    }

    /// Whether one that counts is as asked.
    pub fn any_standing(&self, is: impl Fn(&Version) -> bool) -> bool {
        match self.pending.last() {
            Some(last) => is(last),
            None => self.standing.iter().any(is),
        }
    }
}

#[derive(Debug)]
struct Layers {
    layers: Vec<BloomFilter>,
    last_items: usize,
}

impl Layers {
    fn new() -> Self {
        Self { layers: vec![Self::layer(FIRST_LAYER)], last_items: 0 }
    }

    fn layer(items: usize) -> BloomFilter {
        // Ids are hashes already, and known to everybody: a fixed seed gives nothing away that a random one would not.
        BloomFilter::with_false_pos(FALSE_POSITIVE).seed(&0).expected_items(items)
    }

    fn contains(&self, item: &impl Hash) -> bool {
        self.layers.iter().any(|l| l.contains(item))
    }

    /// Whether it is in for certain only now. What comes again, as after a rebuild, takes no room.
    fn insert(&mut self, item: &impl Hash) -> bool {
        if self.contains(item) {
            return false;
        }
        if self.last_items >= FIRST_LAYER << (self.layers.len() - 1) {
            self.layers.push(Self::layer(FIRST_LAYER << self.layers.len()));
            self.last_items = 0;
        }
        if let Some(last) = self.layers.last_mut() {
            last.insert(item);
            self.last_items += 1;
        }
        true
    }
}

/// A form of which another text is held, told from a business key in the same filter.
#[derive(Hash)]
struct OtherText([u8; 16], u8);

/// Tells it apart.
const OTHER_TEXT: u8 = b'a';

/// Puts in a business key and its form; what may be in already is one of several then.
fn insert_forms(keys: &mut Layers, several: Option<&mut Layers>, forms: KeyForms) {
    let form = forms.form.map(|form| OtherText(form, OTHER_TEXT));
    let again = [!keys.insert(&forms.key), form.as_ref().is_some_and(|form| !keys.insert(form))];
    let Some(several) = several else { return };
    if again[0] {
        several.insert(&forms.key);
    }
    if let Some(form) = form.filter(|_| again[1]) {
        several.insert(&form);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DedupIndex {
    /// Of an index. `empty`: nothing is in it yet, so the filter is complete from the start.
    pub fn new(engine: Arc<dyn Engine>, charter: CharterHandle, own: LogId, empty: bool) -> Self {
        Self {
            engine,
            charter,
            own,
            ids: Mutex::new(Layers::new()),
            keys: Mutex::new(Layers::new()),
            several: Mutex::new(Layers::new()),
            beside: Mutex::default(),
            beside_again: Mutex::default(),
            renamed: Mutex::default(),
            complete: AtomicBool::new(empty),
            whole: AtomicBool::new(false),
            judged: Mutex::default(),
            pending: Mutex::default(),
            lost: Mutex::default(),
        }
    }

    /// These are lost: who hands them in again hands in what is new.
    pub fn set_lost(&self, lost: Ranges) {
        *lock(&self.lost) = lost;
    }

    fn is_lost(&self, log: LogId, index: u64) -> bool {
        lock(&self.lost).get(&log).is_some_and(|all| all.iter().any(|(from, to)| (*from..*to).contains(&index)))
    }

    /// The index failed: a write of which it said so may have gone in, and the filters lack it. The engine is asked until they
    /// are filled once more.
    pub(super) fn doubt(&self) {
        self.complete.store(false, Ordering::Release);
        [&self.beside, &self.beside_again].into_iter().for_each(|beside| *lock(beside) = Beside::default());
    }

    /// Fills the filters from the index; until this is done the engine is asked. What they hold already stays in: of an index
    /// that was begun anew they alone know what it held.
    ///
    /// # Errors
    /// The engine's.
    pub fn fill(&self) -> Result<(), EngineError> {
        if self.complete.load(Ordering::Acquire) {
            return Ok(());
        }
        let (mut once, mut several) = (Layers::new(), Layers::new());
        positions::each(&*self.engine, |log, id, e| {
            let forms = e.content.forms();
            insert_forms(&mut once, Some(&mut several), forms);
            lock(&self.ids).insert(&id);
            insert_forms(&mut lock(&self.keys), None, forms);
            // It went in, though its write seemed to fail.
            if log == self.own {
                lock(&self.pending).remove(&id);
            }
            Ok(())
        })?;
        *lock(&self.several) = several;
        self.complete.store(true, Ordering::Release);
        Ok(())
    }

    /// The index is at the end of the journal (or is begun anew): so what it does not hold is (not) new.
    pub fn set_whole(&self, whole: bool) {
        self.whole.store(whole, Ordering::Release);
    }

    /// What the engine does not hold is not held, unless it is being built.
    fn no(&self) -> Result<(), EngineError> {
        if self.whole.load(Ordering::Acquire) { Ok(()) } else { Err(EngineError::Unfinished) }
    }

    /// Whether `id` may be in any log here; `false` is certain.
    pub(super) fn maybe(&self, id: &RecordId) -> bool {
        !self.complete.load(Ordering::Acquire) || lock(&self.ids).contains(id)
    }

    /// Whether the own log, of whatever epoch, holds `id`, counting ids that were added and are not indexed yet.
    ///
    /// # Errors
    /// The engine's.
    pub fn holds(&self, id: &RecordId) -> Result<bool, EngineError> {
        if lock(&self.pending).ids.contains_key(id) {
            return Ok(true);
        }
        if !self.maybe(id) {
            return Ok(false);
        }
        let own = |log: LogId, index: u64| log.division == self.own.division && !self.is_lost(log, index);
        let mut beside = lock(&self.beside);
        let next = beside.next(&*self.engine)?.filter(|(_, held, _)| held == id).map(|(log, _, e)| (log, e.index));
        let held = match next.filter(|(log, index)| own(*log, *index)) {
            Some(here) => Some(here),
            None => {
                let mut all = positions::of_record(&*self.engine, *id)?.into_iter().map(|(log, e)| (log, e.index));
                all.find(|(log, index)| own(*log, *index))
            }
        };
        if let Some(here) = held {
            beside.found(here);
            return Ok(true);
        }
        drop(beside);
        // It may have come in between.
        if lock(&self.pending).ids.contains_key(id) {
            return Ok(true);
        }
        self.no().map(|()| false)
    }

    /// Whether the own log is known to hold `id`. While the index is being built, or does not work, more may be held.
    pub fn is_found(&self, id: &RecordId) -> bool {
        self.holds(id).unwrap_or(false)
    }

    /// Whether a business key may be held here; `false` is certain.
    pub(super) fn maybe_key(&self, key: &[u8; 16]) -> bool {
        !self.complete.load(Ordering::Acquire) || lock(&self.keys).contains(key)
    }

    /// Whether a business key may be held here whose text is another than this form; `false` is certain.
    pub(super) fn maybe_form(&self, form: &[u8; 16]) -> bool {
        !self.complete.load(Ordering::Acquire) || lock(&self.keys).contains(&OtherText(*form, OTHER_TEXT))
    }

    /// The only version of a business key, if it stands where it is expected.
    fn only_version(&self, in_force: &InForce<'_>, key: &[u8; 16]) -> Result<Option<HeldKeyVersion>, EngineError> {
        if !self.complete.load(Ordering::Acquire) || lock(&self.several).contains(key) {
            return Ok(None);
        }
        let mut beside = lock(&self.beside);
        let next = beside.next(&*self.engine)?.filter(|(.., e)| e.content.key == *key);
        next.map_or(Ok(None), |(log, id, e)| in_force.only_version(log, id, e).map(Some))
    }

    /// Business keys of other texts than this one's, of the same form (brackets, width, gaps, dashes), that may be held here:
    /// at most 16 that are in the index, and those on their way to it. `held`: this one is in the index.
    ///
    /// # Errors
    /// The engine's.
    pub fn other_forms(&self, forms: KeyForms, held: bool) -> Result<Vec<[u8; 16]>, EngineError> {
        let form = forms.common();
        let mut keys: Vec<[u8; 16]> = forms.form.into_iter().collect();
        keys.extend(lock(&self.pending).forms.get(&form).into_iter().flatten());
        // Of one text with this form, which is in the index, it is the text itself.
        let is_alone = held
            && forms.form.is_some()
            && self.complete.load(Ordering::Acquire)
            && !lock(&self.several).contains(&OtherText(form, OTHER_TEXT));
        if !is_alone && self.maybe_form(&form) {
            self.no()?;
            let held = self.engine.scan(&entry::form_prefix(&form), b"", FORMS_MAX)?;
            keys.extend(held.iter().filter_map(|(key, _)| entry::read_form(key)));
        }
        keys.sort_unstable();
        keys.dedup();
        keys.retain(|key| *key != forms.key);
        Ok(keys)
    }

    /// The versions of a business key that are held here; `None`: there is none.
    ///
    /// # Errors
    /// The engine's.
    pub fn versions(&self, key: &[u8; 16]) -> Result<Option<KeyHistory>, EngineError> {
        let pending = lock(&self.pending).keys.get(key).cloned().unwrap_or_default();
        let (mut history, mut own) = (KeyHistory::of(pending), Vec::new());
        if self.maybe_key(key) {
            self.no()?;
            let signed = self.charter.charter();
            let in_force = InForce::new(&*self.engine, signed.charter());
            let (mut held, cut) = match self.only_version(&in_force, key)? {
                Some(only) => (vec![only], false),
                None => in_force.versions_near(key, self.own.division, VERSIONS_MAX)?,
            };
            history.cut = cut;
            held.retain(|v| !self.is_lost(v.log, v.index));
            held.sort_by_key(|v| (v.effect != Effect::InForce, !v.is_current(), v.standing, v.log, v.index));
            history.standing.extend(held.iter().filter(|v| v.effect == Effect::InForce).map(|v| v.version));
            held.sort_by_key(|v| (v.log, v.index));
            for v in held {
                // One that is indexed just now is in both.
                history.pending.retain(|p| p.id != v.version.id);
                if v.log.division == self.own.division {
                    history.own.push(v.version);
                    own.extend((!v.effect.is_void()).then_some(v.version));
                } else if !v.effect.is_void() {
                    history.versions.push(v.version);
                }
            }
        }
        history.versions.extend(own);
        history.versions.extend(&history.pending);
        history.own.extend(&history.pending);
        Ok((!history.versions.is_empty() || !history.own.is_empty()).then_some(history))
    }

    /// Name of a subject by the newest registration held.
    ///
    /// # Errors
    /// The engine's.
    pub fn subject(&self, code: &str) -> Result<Option<String>, EngineError> {
        // While the index is built, an older name may be there before a newer one.
        self.no()?;
        let held = self.engine.get(&entry::subject_key(code))?.and_then(|v| SubjectName::decode(&v));
        // What was right by rules that are no more counts only until all has been judged again.
        let judged = *lock(&self.judged);
        Ok(held.filter(|h| judged.is_none_or(|rules| rules == h.rules)).map(|h| h.name))
    }

    /// By which rules everything was judged; `None`: it is being judged again.
    pub(super) fn set_judged(&self, rules: Option<[u8; 8]>) {
        if std::mem::replace(&mut *lock(&self.judged), rules) != rules {
            self.all_renamed();
        }
    }

    /// A record of the own log is about to be sealed.
    pub fn add_pending(&self, id: RecordId, content: &ContentId) {
        let mut pending = lock(&self.pending);
        if pending.ids.insert(id, content.forms()).is_some() {
            return;
        }
        if let Some(form) = content.form {
            let keys = pending.forms.entry(form).or_default();
            if !keys.contains(&content.key) {
                keys.push(content.key);
            }
        }
        let waiting = Version::of(id, content);
        // Most keys have one version: no room for more is made.
        pending.keys.entry(content.key).or_insert_with(|| Vec::with_capacity(1)).push(waiting);
    }

    /// These were not sealed after all.
    pub fn forget_pending<'a>(&self, ids: impl Iterator<Item = &'a RecordId>) {
        let mut pending = lock(&self.pending);
        ids.for_each(|id| pending.remove(id));
    }

    /// These are in the index now.
    pub(super) fn indexed(&self, records: &[(LogId, RecordId, KeyForms)]) {
        let (mut ids, mut keys, mut several) = (lock(&self.ids), lock(&self.keys), lock(&self.several));
        for (_, id, forms) in records {
            ids.insert(id);
            insert_forms(&mut keys, Some(&mut several), *forms);
        }
        drop((ids, keys, several));
        let mut pending = lock(&self.pending);
        // The same record in another log says nothing about the own one.
        for (_, id, _) in records.iter().filter(|(log, _, _)| *log == self.own) {
            pending.remove(id);
        }
        if pending.ids.is_empty() && pending.ids.capacity() > 1 << 16 {
            *pending = Pending::default();
        }
    }

    /// Ids waiting for the index.
    pub fn pending(&self) -> usize {
        lock(&self.pending).ids.len()
    }
}

#[cfg(test)]
mod tests;
