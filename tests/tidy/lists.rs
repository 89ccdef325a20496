//! What does not keep the rules yet, sorted; and words that have better ones.

/// Names of public types that stand for several things.
pub(crate) const SHARED_NAMES: &[&str] = &[];

/// Files that are too long.
pub(crate) const LONG_FILES: &[&str] =
    &["node/src/cli/demo/sample.rs", "node/src/verify/mod.rs", "node/src/view/status.rs"];

/// Functions that are too long.
pub(crate) const LONG_FUNCTIONS: &[&str] = &[
    "node/src/daemon/mod.rs: serve",
    "node/src/view/screen.rs: render",
    "node/src/view/status.rs: actions",
    "tests/door/compare.rs: from_the_four_classes_to_the_same",
    "tests/door/intake/csv.rs: a_table_of_2015_in_gb18030_is_read",
    "tests/door/intake/csv.rs: columns_of_the_publicity_system_are_known",
    "topology/src/catalog/compile.rs: category",
];

/// Files without a head.
pub(crate) const NO_HEAD: &[&str] = &[
    "node/src/cli/demo/sample/tests.rs",
    "node/src/compare/tests.rs",
    "node/src/evidence/tests.rs",
    "node/src/index/follow/tests.rs",
    "node/src/intake/door/tests.rs",
    "node/src/journal/tests.rs",
    "node/src/replica/tests.rs",
    "node/src/task/list/tests.rs",
    "node/src/tree/tests.rs",
    "node/src/verify/tests.rs",
    "node/src/view/deadline/expected/tests.rs",
    "protocol/src/session/reconcile/tests.rs",
    "topology/src/catalog/tests.rs",
    "topology/src/charter/tests.rs",
    "topology/src/evidence/tests.rs",
    "topology/src/judge/tests.rs",
];

/// Words that comments and messages do not use, in lower case, and what they use instead.
pub(crate) const BANNED_WORDS: &[(&str, &str)] = &[];
