//! What the core does wrong today, by name, each with a run that shows it.
//!
//! A run in this list must break the promise that it names: when the core is mended the run holds, the test fails, and the
//! entry goes, with whatever the other runs do to keep clear of the fault (search for its name).

use crate::{
    federation::division,
    oracle::Broken,
    scenario::{self, Scenario},
};

pub struct Known {
    pub name: &'static str,
    /// What is wrong, and how the random runs keep clear of it.
    pub why: &'static str,
    /// How what is broken begins.
    pub breaks: &'static str,
    pub scenario: fn(&mut Scenario),
}

pub const KNOWN: &[Known] = &[Known {
    name: "cut_records_are_not_fetched",
    why: "acknowledged records beyond the end of a closed epoch are carried over from the own disk alone, also where the \
              parent has them and this disk is damaged; a submitter is not owed them then",
    breaks: "I1: 350102 lost 5 records",
    scenario: scenario::closed_below_damage,
}];

/// Runs the scenario of a known fault.
pub fn show(known: &Known) -> Result<(), Broken> {
    let mut scenario = Scenario::new(known.name, Some(division(350_100)), Some(known.name));
    (known.scenario)(&mut scenario);
    scenario.end()
}
