//! What does not keep the rules yet, sorted; and words that have better ones.

/// Names of public types that stand for several things.
pub(crate) const SHARED_NAMES: &[&str] = &[];

/// Files that are too long.
pub(crate) const LONG_FILES: &[&str] = &[];

/// Functions that are too long.
pub(crate) const LONG_FUNCTIONS: &[&str] = &[
    "tests/door/compare.rs: from_the_four_classes_to_the_same",
    "tests/door/intake/csv.rs: a_table_of_2015_in_gb18030_is_read",
    "tests/door/intake/csv.rs: columns_of_the_publicity_system_are_known",
];

/// Files without a head.
pub(crate) const NO_HEAD: &[&str] = &[];

/// Words that comments and messages do not use, in lower case, and what they use instead.
pub(crate) const BANNED_WORDS: &[(&str, &str)] = &[];
