//! What the core does wrong today, by name, each with a run that shows it.
//!
//! A run in this list must break the promise that it names: when the core is mended the run holds, the test fails, and the
//! entry goes, with whatever the other runs do to keep clear of the fault (search for its name).

use crate::{
    federation::division,
    oracle::Broken,
    scenario::{self, Scenario},
    step::Lie,
};

pub struct Known {
    pub name: &'static str,
    /// What is wrong, and how the random runs keep clear of it.
    pub why: &'static str,
    /// How what is broken begins.
    pub breaks: &'static str,
    pub scenario: fn(&mut Scenario),
}

pub const KNOWN: &[Known] = &[
    Known {
        name: "unsigned_head_freezes",
        why: "an unsigned head of the parent freezes a child's own log; no enemy sends one",
        breaks: "liveness: 350102 does not sign: this node's log is frozen",
        scenario: |s| scenario::false_head(s, Lie::HeadUnsigned),
    },
    Known {
        name: "unsigned_head_between_freezes",
        why: "the same at a size where no batch ends; no enemy sends one",
        breaks: "liveness: 350102 does not sign: this node's log is frozen",
        scenario: |s| scenario::false_head(s, Lie::HeadBetween),
    },
    Known {
        name: "altered_batch_freezes",
        why: "a parent that alters a batch makes a restoring child freeze its log without proof; no enemy does",
        breaks: "I4: 350102 called an honest log a fork",
        scenario: scenario::altered_batch,
    },
    Known {
        name: "fork_of_another_length",
        why: "a signed head of a second history is not recognised where no batch ends; forks are of one length",
        breaks: "I4: 350100 does not know of the fork",
        scenario: scenario::fork_elsewhere,
    },
    Known {
        name: "fork_is_only_reported",
        why: "two notes of different sizes prove nothing to who has no tree over them; above the parent a report is enough",
        breaks: "I4: 350000 does not know of the fork",
        scenario: |s| scenario::fork(s, Lie::Fork),
    },
    Known {
        name: "both_restored",
        why: "a county and its city, both restored from old copies, sign a second history; one of a path is set back",
        breaks: "I4: two histories of 350102",
        scenario: scenario::both_restored,
    },
    Known {
        name: "old_copy_under_a_new_parent",
        why: "a parent that has nothing yet opens the gate of an old copy, although its own parent has more; no node is both \
              moved and set back",
        breaks: "I4: two histories of 350102",
        scenario: scenario::moved_old_copy,
    },
    Known {
        name: "frontier_misses_its_round",
        why: "a hello in one round with a batch is answered without that batch, and opens the gate of an old copy; a parent \
              writes all it has before a child gets an old disk",
        breaks: "I4: two histories of 350102",
        scenario: scenario::hello_behind_a_batch,
    },
    Known {
        name: "clock_poisons_sealed_at",
        why: "after a clock that ran ahead every batch is dated ahead; dates of nodes whose clock was wrong do not count",
        breaks: "clock: 350102 sealed at",
        scenario: scenario::clock_ahead,
    },
    Known {
        name: "bundle_opens_old_copy",
        why: "an old bundle opens the gate of an old copy, which signs a second history; old copies get no old bundles",
        breaks: "I4: two histories of 350102",
        scenario: scenario::old_bundle,
    },
    Known {
        name: "fetch_that_met_damage_stops",
        why: "a child's fetch that met damage above is not taken up after the repair; the links below are broken then",
        breaks: "liveness: 350102 does not sign: fetching",
        scenario: scenario::fetch_meets_damage,
    },
    Known {
        name: "cut_records_are_not_fetched",
        why: "acknowledged records beyond the end of a closed epoch are carried over from the own disk alone, also where the \
              parent has them and this disk is damaged; a submitter is not owed them then",
        breaks: "I1: 350102 lost 5 records",
        scenario: scenario::closed_below_damage,
    },
    Known {
        name: "moved_away_while_off",
        why: "a node that was off when it was moved is refused by its old parent and never told; its operator loads the charter",
        breaks: "liveness: 350102 does not sign",
        scenario: scenario::moved_while_off,
    },
];

/// Lies that no enemy of a random run tells, because a known fault of the core answers them.
pub const UNTOLD: &[Lie] = &[Lie::HeadUnsigned, Lie::HeadBetween, Lie::BatchAltered, Lie::Fork, Lie::ForkElsewhere];

/// Runs the scenario of a known fault.
pub fn show(known: &Known) -> Result<(), Broken> {
    let mut scenario = Scenario::new(known.name, Some(division(350_100)), Some(known.name));
    (known.scenario)(&mut scenario);
    scenario.end()
}
