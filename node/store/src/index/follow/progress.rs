//! How far the index is, as everybody else sees it.

use tally_core::Place;

/// How far the index is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexProgress {
    /// Everything before this place is in.
    pub cursor: Place,
    /// Distinct records in the index.
    pub distinct: u64,
    /// Why the index does not work, if it does not; it is being brought back.
    pub trouble: Option<String>,
    /// It has been at the end of the journal since it was opened or begun anew: what is not in it is new, or on its way.
    pub whole: bool,
    /// Records of this node's own logs that are missing before others that are in: what they say, and so what would be
    /// a duplicate of them, nobody knows here.
    pub own_missing: u64,
    /// Version of the charter by which all findings are.
    pub judged_by: u64,
    /// What is in is being judged again, by a newer one.
    pub judging: Option<Judging>,
}

impl IndexProgress {
    /// Nothing is in yet but what lies before this place.
    pub fn at(cursor: Place) -> Self {
        Self { cursor, distinct: 0, trouble: None, whole: false, own_missing: 0, judged_by: 0, judging: None }
    }
}

/// Records that are in are judged again by a newer charter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judging {
    /// Its version.
    pub charter: u64,
    /// Everything before this place was.
    pub cursor: Place,
    /// Where it ends.
    pub until: Place,
}
