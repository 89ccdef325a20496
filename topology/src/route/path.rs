//! Whether the path by which a record entered is the prescribed one: one answer for the judge, who words it (V017), and for
//! what is in force.
//!
//! It follows from the charter and from what the record says of itself, never from a clock or from what else is held.

use super::{Asked, Case, Route};
use crate::charter::Charter;
use jiff::civil::Date;
use tally_protocol::ids::Division;

/// What a record says of its way in.
#[derive(Debug, Clone, Copy)]
pub struct PathClaim<'a> {
    /// What its route depends on.
    pub asked: Asked<'a>,
    /// Division of the submitting unit, if it names one.
    pub submitter_division: Option<Division>,
    /// It amends or withdraws.
    pub changes: bool,
    /// Records of its category count; liaison tasks do not.
    pub counts: bool,
}

/// How the node whose log a record entered stands to the record's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathStanding<'c> {
    /// It is the prescribed one.
    Right,
    /// No rule speaks, and the node may take it: it is asked about.
    Lenient(Route<'c>),
    /// It belongs to another node.
    Elsewhere(Route<'c>),
    /// A unit that the rule names delivers this for all.
    DeliveredBy(Route<'c>, &'c str),
    /// Its division is not of this federation.
    NoDivision,
    /// Its submitter's division is not of this federation.
    NoSubmitter(Division),
}

impl Charter {
    /// How node `origin` stands to a record's path. `submitted_by` tells whether the record names this unit as its submitter.
    pub fn path_standing(
        &self,
        origin: Division,
        claim: &PathClaim<'_>,
        submitted_by: impl Fn(&str) -> bool,
    ) -> PathStanding<'_> {
        let division = claim.asked.division;
        let Some(route) = self.route(&claim.asked) else { return PathStanding::NoDivision };
        let submitter = claim.submitter_division;
        if let Some(s) = submitter.filter(|s| self.entry_node(*s).is_none()) {
            return PathStanding::NoSubmitter(s);
        }
        let right = route.entry;
        // Where nothing is handed in, a task is kept and told by whoever sees to it, at any of the levels.
        let own = self.entry_node(division).unwrap_or(right);
        if !claim.counts && route.case == Case::Central && self.is_within(own, origin) {
            return PathStanding::Right;
        }
        // What entered before a rule began is amended and withdrawn where it is held.
        let before = self.route(&Asked { day: Date::MIN, ..claim.asked });
        if claim.changes
            && before.is_some_and(|r| r.entry == origin && r.rule.map(|(n, _)| n) != route.rule.map(|(n, _)| n))
        {
            return PathStanding::Right;
        }
        if let Some(by) = route.rule.and_then(|(_, rule)| rule.by.as_deref()).filter(|by| !submitted_by(by)) {
            return PathStanding::DeliveredBy(route, by);
        }
        if origin == right {
            return PathStanding::Right;
        }
        // Where no rule of the charter speaks, a unit that submits for another's division may do so at its own node, and
        // a node above takes what belongs below it; then a record can come by two paths, so it is asked about.
        let elsewhere = submitter.filter(|s| *s != division).and_then(|s| self.entry_node(s));
        let lenient = route.rule.is_none() && !self.units().strict_paths;
        match lenient && (elsewhere == Some(origin) || self.is_within(right, origin)) {
            true => PathStanding::Lenient(route),
            false => PathStanding::Elsewhere(route),
        }
    }
}
