//! What the core once did wrong, by name: each run must hold its promise now.

use crate::{
    federation::division,
    oracle::Broken,
    scenario::{self, Scenario},
    step::Lie,
};

pub struct Mended {
    pub name: &'static str,
    /// What holds now.
    pub holds: &'static str,
    pub scenario: fn(&mut Scenario),
}

pub const MENDED: &[Mended] = &[
    Mended {
        name: "unsigned_head_freezes",
        holds: "an unsigned head of the parent freezes nothing, and stops its child no longer than it is there",
        scenario: |s| scenario::false_head(s, Lie::HeadUnsigned),
    },
    Mended {
        name: "unsigned_head_between_freezes",
        holds: "the same at a size where no batch ends",
        scenario: |s| scenario::false_head(s, Lie::HeadBetween),
    },
    Mended {
        name: "altered_batch_freezes",
        holds: "a parent that alters a batch proves no fork to a child that fetches",
        scenario: scenario::altered_batch,
    },
    Mended {
        name: "fork_of_another_length",
        holds: "a signed head of a second history is recognised where no batch ends, and freezes the log at every level",
        scenario: scenario::fork_elsewhere,
    },
    Mended {
        name: "fork_is_only_reported",
        holds: "a second history of the same size freezes the log at every level",
        scenario: |s| scenario::fork(s, Lie::Fork),
    },
    Mended {
        name: "both_restored",
        holds: "a county and its city, both restored from old copies, sign nothing before the province was asked",
        scenario: scenario::both_restored,
    },
    Mended {
        name: "old_copy_under_a_new_parent",
        holds: "a new parent that has nothing yet does not open the gate of an old copy before its own parent was asked",
        scenario: scenario::moved_old_copy,
    },
    Mended {
        name: "frontier_misses_its_round",
        holds: "a hello in one round with a batch is answered with that batch",
        scenario: scenario::hello_behind_a_batch,
    },
    Mended {
        name: "clock_poisons_sealed_at",
        holds: "after a clock that ran ahead batches are dated as they should be",
        scenario: scenario::clock_ahead,
    },
    Mended {
        name: "bundle_opens_old_copy",
        holds: "an old bundle does not open the gate of an old copy",
        scenario: scenario::old_bundle,
    },
    Mended {
        name: "receipts_lost_at_both",
        holds: "a city that takes back its receipts from the province hands them down to a county that has lost them too",
        scenario: scenario::receipts_lost_at_both,
    },
    Mended {
        name: "older_receipt_hides_the_newest",
        holds: "a receipt that a county with an old disk tells does not keep out the newer one that the province told",
        scenario: scenario::older_receipt_at_the_county,
    },
    Mended {
        name: "fetch_that_met_damage_stops",
        holds: "a fetch that met damage above goes on after the repair",
        scenario: scenario::fetch_meets_damage,
    },
    Mended {
        name: "moved_away_while_off",
        holds: "a node that was moved while it was off learns so from its old parent, and has the receipts of all above at the new",
        scenario: scenario::moved_while_off,
    },
    Mended {
        name: "parent_inside_a_batch",
        holds: "a parent that stands inside a batch of the same history opens the gate and gets the rest of it",
        scenario: |s| scenario::same_rows_in_other_batches(s, 3, 5),
    },
    Mended {
        name: "child_inside_a_batch",
        holds: "a child that stands inside a batch of its parent gets the rest of it",
        scenario: |s| scenario::same_rows_in_other_batches(s, 5, 3),
    },
    Mended {
        name: "province_inside_a_batch",
        holds: "a province that stands inside a batch of the city gets the rest of it",
        scenario: |s| scenario::same_rows_below_the_province(s, 3, 5),
    },
    Mended {
        name: "city_inside_a_batch",
        holds: "a city that stands inside a batch of the province gets the rest of it",
        scenario: |s| scenario::same_rows_below_the_province(s, 5, 3),
    },
];

/// Runs the scenario of a fault that was mended.
pub fn run(mended: &Mended) -> Result<(), Broken> {
    let mut scenario = Scenario::new(mended.name, Some(division(350_100)), None);
    (mended.scenario)(&mut scenario);
    scenario.end()
}
