//! Versions of business keys as the index holds them, and what became of each by a charter: the one place that puts the
//! index, the charter and the rule of [`super::effect`] together.
//!
//! Nothing of it is stored, so a new charter counts at once, and an index that was built anew answers the same. It is made
//! for one question (an export, a report) and keeps a little in memory for it.

use super::{
    Effect, Engine, EngineError, IndexEntry, Version, effect,
    effect::KeyVersion,
    entry::{self, Lookup},
    positions,
};
use std::{
    cell::RefCell,
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    rc::Rc,
};
use tally_protocol::{
    ids::{Division, LogId},
    record::RecordId,
};
use tally_topology::{
    charter::Charter,
    content::Operation,
    route::{Door, LogStanding, Submitted},
};

/// Index keys read at once.
const PAGE: usize = 4_096;
/// Keys with more versions than this are remembered, so that nobody can make a question slow by signing many.
const REMEMBERED_FROM: usize = 16;
/// Versions that are remembered at most, and unit names.
const REMEMBERED_MAX: usize = 200_000;
const NAMES_MAX: usize = 10_000;
/// Keys with several versions that are remembered for a question about all records, 16 bytes each; of more, each is looked up.
const SEVERAL_MAX: usize = 1_000_000;

/// A version of a business key, and what became of it.
#[derive(Debug, Clone)]
pub struct HeldKeyVersion {
    /// What it says.
    pub version: Version,
    /// The log that holds it.
    pub log: LogId,
    /// Its index there.
    pub index: u64,
    /// The index's entry of the record in that log.
    pub entry: IndexEntry,
    /// How the log stands to the record.
    pub standing: LogStanding,
    /// What became of it.
    pub effect: Effect,
}

impl HeldKeyVersion {
    /// Whether it is what counts now, and not a withdrawal.
    pub fn is_current(&self) -> bool {
        self.effect == Effect::InForce && self.version.operation != Operation::Withdraw
    }

    /// Whether the route names its log.
    pub(super) fn standing_is_named(&self) -> bool {
        self.standing == LogStanding::Named
    }
}

/// Versions of one business key, in the order of log and index.
pub type KeyVersions = Rc<Vec<HeldKeyVersion>>;

/// Says what is in force, by one charter.
#[derive(Debug)]
pub struct InForce<'a> {
    engine: &'a dyn Engine,
    charter: &'a Charter,
    /// Whether a route goes by the name of a unit.
    by_name: bool,
    remembers: bool,
    /// Of each log only so many records count, of others none; `None`: all that is in.
    until: Option<BTreeMap<LogId, u64>>,
    /// Beginnings of keys with more than one version, for a question about all records; `None`: each key is looked up.
    several: Option<HashSet<[u8; 8]>>,
    names: RefCell<HashMap<[u8; 8], Rc<str>>>,
    remembered: RefCell<(usize, HashMap<[u8; 16], KeyVersions>)>,
}

impl<'a> InForce<'a> {
    /// For one question.
    pub fn new(engine: &'a dyn Engine, charter: &'a Charter) -> Self {
        let by_name = charter.routes().iter().any(|r| r.unit_word.is_some());
        let (names, remembered) = Default::default();
        Self { engine, charter, by_name, remembers: true, until: None, several: None, names, remembered }
    }

    /// For a question about all records before `until` in each log: one walk over the keys, where looking each up would take some
    /// fifty times as long. What comes meanwhile does not count.
    /// Whoever does not ask what is current needs no walk.
    ///
    /// # Errors
    /// The engine's.
    pub fn of_all(
        engine: &'a dyn Engine,
        charter: &'a Charter,
        asks_for_current: bool,
        until: BTreeMap<LogId, u64>,
    ) -> Result<Self, EngineError> {
        let mut all = Self { until: Some(until), ..Self::new(engine, charter) };
        if asks_for_current {
            all.several = all.keys_with_several()?;
        }
        Ok(all)
    }

    /// For a question that goes through what is held for a while: what comes meanwhile does not count, or of one key the old
    /// version could be met before it came and the new one after.
    ///
    /// # Errors
    /// The engine's.
    pub fn as_of_now(engine: &'a dyn Engine, charter: &'a Charter) -> Result<Self, EngineError> {
        // Before its first write an index has no account, and holds nothing.
        let until = engine.get(entry::STATE_KEY)?.map(|_| entry::reached(engine)).transpose()?;
        Ok(Self { until, ..Self::new(engine, charter) })
    }

    /// Whether what stands there is among what is asked about.
    pub(super) fn covers(&self, log: LogId, index: u64) -> bool {
        self.until.as_ref().is_none_or(|until| until.get(&log).is_some_and(|size| index < *size))
    }

    /// For the follower, under whose hands versions come: none is remembered.
    pub(super) fn of_follower(engine: &'a dyn Engine, charter: &'a Charter) -> Self {
        Self { remembers: false, ..Self::new(engine, charter) }
    }

    /// The index that is asked.
    pub fn engine(&self) -> &'a dyn Engine {
        self.engine
    }

    /// The charter by which it is judged.
    pub fn charter(&self) -> &'a Charter {
        self.charter
    }

    /// Where a record belongs, and how a log that holds it stands to that.
    ///
    /// # Errors
    /// The engine's.
    pub fn door(&self, log: LogId, e: &IndexEntry) -> Result<Door, EngineError> {
        let name = self.unit_name(e)?;
        Ok(self.charter.door(log.division, &submitted(e, &name)))
    }

    fn unit_name(&self, e: &IndexEntry) -> Result<Rc<str>, EngineError> {
        if !self.by_name {
            return Ok("".into());
        }
        let mark = e.dimensions.unit_name;
        if let Some(name) = self.names.borrow().get(&mark) {
            return Ok(name.clone());
        }
        let name = self.engine.get(&entry::unit_name_key(mark))?.unwrap_or_default();
        let name: Rc<str> = String::from_utf8_lossy(&name).into();
        let mut names = self.names.borrow_mut();
        if names.len() >= NAMES_MAX {
            names.clear();
        }
        names.insert(mark, name.clone());
        Ok(name)
    }

    /// All versions of a business key.
    ///
    /// # Errors
    /// The engine's.
    pub fn versions(&self, key: &[u8; 16]) -> Result<KeyVersions, EngineError> {
        if let Some(versions) = self.remembered.borrow().1.get(key) {
            return Ok(versions.clone());
        }
        let mut held = positions::of_key(self.engine, key)?;
        held.retain(|(log, _, e)| self.covers(*log, e.index));
        let versions = Rc::new(self.judged(held)?);
        if self.remembers && versions.len() > REMEMBERED_FROM {
            let mut remembered = self.remembered.borrow_mut();
            if remembered.0 > REMEMBERED_MAX {
                *remembered = Default::default();
            }
            remembered.0 += versions.len();
            remembered.1.insert(*key, versions.clone());
        }
        Ok(versions)
    }

    /// A version of a business key that has no other.
    pub(super) fn only_version(&self, log: LogId, id: RecordId, e: &IndexEntry) -> Result<HeldKeyVersion, EngineError> {
        let mut one = self.judged(vec![(log, id, e.clone())])?;
        one.pop().ok_or(EngineError::Differs)
    }

    /// The versions of a business key that logs of one division hold, and so many others as `most` says: whether there are
    /// more.
    ///
    /// # Errors
    /// The engine's.
    pub fn versions_near(
        &self,
        key: &[u8; 16],
        own: Division,
        most: usize,
    ) -> Result<(Vec<HeldKeyVersion>, bool), EngineError> {
        let lookup = Lookup::Key(*key);
        let mut keys = self.engine.scan(&lookup.prefix(), b"", most)?;
        let cut = keys.len() >= most;
        if cut {
            keys.extend(self.engine.scan(&lookup.prefix_of(own), b"", most)?);
            keys.sort_unstable();
            keys.dedup();
        }
        let mut found = Vec::new();
        positions::of_key_at(self.engine, key, &keys, &mut found)?;
        Ok((self.judged(found)?, cut))
    }

    fn judged(&self, found: Vec<(LogId, RecordId, IndexEntry)>) -> Result<Vec<HeldKeyVersion>, EngineError> {
        let mut versions = Vec::with_capacity(found.len());
        for (log, id, e) in &found {
            let (operation, amends) = (e.content.operation, e.content.amends);
            versions.push(KeyVersion {
                id: *id,
                log: *log,
                index: e.index,
                operation,
                amends,
                door: self.door(*log, e)?,
            });
        }
        let names = found.iter().map(|(.., e)| self.unit_name(e)).collect::<Result<Vec<_>, _>>()?;
        let may_change = |node: Division, at: usize| {
            let of = found.get(at).zip(names.get(at));
            of.is_some_and(|((.., e), name)| self.charter.may_change(node, &submitted(e, name)))
        };
        let effects = effect::effects(&versions, may_change);
        let held = found.into_iter().zip(versions).zip(effects);
        Ok(held
            .map(|(((log, id, entry), v), effect)| HeldKeyVersion {
                version: Version::of(id, &entry.content),
                log,
                index: entry.index,
                entry,
                standing: v.door.standing,
                effect,
            })
            .collect())
    }

    /// What counts of a business key now: normally one, a withdrawal too; of several the one that people mean comes first.
    ///
    /// # Errors
    /// The engine's.
    pub fn standing(&self, key: &[u8; 16]) -> Result<Vec<HeldKeyVersion>, EngineError> {
        let versions = self.versions(key)?;
        let mut standing: Vec<_> = versions.iter().filter(|v| v.effect == Effect::InForce).cloned().collect();
        standing.sort_by_key(|v| (Reverse(v.is_current()), v.standing, v.log));
        Ok(standing)
    }

    /// Beginnings of business keys with more than one version; `None`: they are too many.
    fn keys_with_several(&self) -> Result<Option<HashSet<[u8; 8]>>, EngineError> {
        let (mut several, mut from, mut last) = (HashSet::new(), entry::KEYS.to_vec(), None);
        loop {
            let page = self.engine.scan(entry::KEYS, &from, PAGE)?;
            let covered = |key: &[u8]| entry::position(key).is_some_and(|(log, index)| self.covers(log, index));
            let counting = page.iter().filter(|(key, _)| covered(key));
            for key in counting.filter_map(|(key, _)| entry::beginning(key)) {
                if last.replace(key) == Some(key) {
                    several.insert(key);
                }
            }
            if several.len() > SEVERAL_MAX {
                return Ok(None);
            }
            match page.last() {
                Some((key, _)) if page.len() == PAGE => from = [key.as_slice(), &[0]].concat(),
                _ => return Ok(Some(several)),
            }
        }
    }

    /// Whether a record is in force; `attested`: every log that holds it.
    ///
    /// # Errors
    /// The engine's.
    pub fn is_current(&self, id: RecordId, attested: &[(LogId, IndexEntry)]) -> Result<bool, EngineError> {
        let Some((log, first)) = attested.first() else { return Ok(false) };
        let original = first.content.operation == Operation::Create && first.content.amends.is_none();
        if original
            && self.several.as_ref().is_some_and(|several| !several.contains(entry::beginning_of(&first.content.key)))
        {
            // Nothing can have taken its place.
            return Ok(self.door(*log, first)?.standing != LogStanding::Closed);
        }
        let versions = self.versions(&first.content.key)?;
        Ok(versions.iter().any(|v| v.version.id == id && v.is_current()))
    }

    /// Of the logs that hold a record those by which it counts at all: they may submit for its producer, and it does not
    /// amend or withdraw what they may not change.
    ///
    /// # Errors
    /// The engine's.
    pub fn counting(
        &self,
        id: RecordId,
        attested: Vec<(LogId, IndexEntry)>,
    ) -> Result<Vec<(LogId, IndexEntry)>, EngineError> {
        let mut counting = Vec::with_capacity(attested.len());
        for (log, e) in attested {
            let original = e.content.operation == Operation::Create && e.content.amends.is_none();
            let is_it = |v: &HeldKeyVersion| v.version.id == id && v.log == log && !v.effect.is_void();
            let counts = self.door(log, &e)?.standing != LogStanding::Closed
                && (original || self.versions(&e.content.key)?.iter().any(is_it));
            counting.extend(counts.then_some((log, e)));
        }
        Ok(counting)
    }

    /// Sorts the logs that hold a record: the one that the route names first.
    ///
    /// # Errors
    /// The engine's.
    pub fn sort(&self, attested: &mut [(LogId, IndexEntry)]) -> Result<(), EngineError> {
        if attested.len() > 1 {
            let mut standings = HashMap::new();
            for (log, e) in attested.iter() {
                standings.insert(*log, self.door(*log, e)?.standing);
            }
            attested.sort_by_key(|(log, _)| (standings.get(log).copied(), *log));
        }
        Ok(())
    }
}

fn submitted<'e>(e: &'e IndexEntry, unit_name: &'e str) -> Submitted<'e> {
    Submitted { dimensions: &e.dimensions, unit_name, operation: e.content.operation }
}
