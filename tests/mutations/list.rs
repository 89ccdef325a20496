//! Ways to break a promise with one small change, each with the test that has to fail for it.
//!
//! The text that is sought stands exactly once in its file, or the list is stale and says so.

/// One change to one source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mutation {
    pub(crate) name: &'static str,
    pub(crate) file: &'static str,
    pub(crate) find: &'static str,
    pub(crate) put: &'static str,
    /// Arguments of `cargo test`, before the filter.
    pub(crate) target: &'static [&'static str],
    /// A part of the names of the tests that are run; one of them has to fail.
    pub(crate) test: &'static str,
    /// Quick enough for every run of CI.
    pub(crate) sample: bool,
}

mod disk;
mod intake;
mod words;

const JOURNAL: &[&str] = &["-p", "tally-journal", "--lib"];
const CORE: &[&str] = &["-p", "tally-core", "--lib"];
const TOPOLOGY: &[&str] = &["-p", "tally-topology", "--lib"];
const PROTOCOL: &[&str] = &["-p", "tally-protocol", "--lib"];
const INTAKE: &[&str] = &["-p", "tally-intake", "--lib"];
const DRIVER: &[&str] = &["-p", "tally-driver", "--lib"];
const STORE: &[&str] = &["-p", "tally-store", "--lib"];
const DISK: &[&str] = &["-p", "tally-tests", "--test", "disk"];
const SIMULATION: &[&str] = &["-p", "tally-tests", "--test", "simulation"];
const LINK: &[&str] = &["-p", "tally-link", "--lib"];
const E2E: &[&str] = &["-p", "tally-tests", "--test", "e2e"];

const fn mutation(
    name: &'static str,
    (file, find, put): (&'static str, &'static str, &'static str),
    target: &'static [&'static str],
    test: &'static str,
) -> Mutation {
    Mutation { name, file, find, put, target, test, sample: false }
}

const fn sampled(mutation: Mutation) -> Mutation {
    Mutation { sample: true, ..mutation }
}

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = &'static Mutation> {
    disk::LIST.iter().chain(intake::LIST).chain(words::LIST)
}
