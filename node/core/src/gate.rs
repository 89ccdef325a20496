//! The gate before signing (I4): a node signs its own log only while it knows that its parent holds no more of it than it
//! does. After a start it does not know that, and asks.

use crate::log::HeadStanding;

/// Whether the node may sign its own log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// The parent has not answered since the start.
    Asking,
    /// The parent holds more: this disk is an old copy. The rest is fetched up to this size first.
    Fetching(u64),
    /// Signing.
    Open,
    /// The histories conflict. Only a new epoch, admitted by the charter, can go on.
    Frozen,
}

impl Gate {
    /// A node without a parent has nobody to ask.
    pub fn at_start(has_parent: bool) -> Self {
        if has_parent { Self::Asking } else { Self::Open }
    }

    /// The parent told its head: `size`, standing to ours as `standing`.
    ///
    /// An open gate stays open when the parent is behind: a parent that lost its disk is refilled from here. It
    /// closes when the parent is ahead, which an open gate makes impossible without a second copy of this node.
    pub fn parent_stands(&mut self, size: u64, standing: HeadStanding) {
        *self = match (&*self, standing) {
            (Self::Frozen, _) | (_, HeadStanding::Conflict | HeadStanding::Unaligned) => Self::Frozen,
            (_, HeadStanding::TheyAreAhead) => Self::Fetching(size),
            (_, HeadStanding::Equal | HeadStanding::TheyAreBehind) => Self::Open,
        };
    }

    /// The own log now has `size` records, fetched from the parent or sealed here.
    pub fn grew(&mut self, size: u64) {
        if let Self::Fetching(target) = *self
            && size >= target
        {
            *self = Self::Open;
        }
    }

    /// Two histories were seen.
    pub fn freeze(&mut self) {
        *self = Self::Frozen;
    }

    /// Whether a checkpoint may be signed now.
    pub fn is_open(&self) -> bool {
        *self == Self::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_only_after_the_parent_has_answered() {
        let mut gate = Gate::at_start(true);
        assert!(!gate.is_open());
        gate.grew(5);
        assert!(!gate.is_open());
        gate.parent_stands(7, HeadStanding::TheyAreAhead);
        gate.grew(6);
        assert_eq!(gate, Gate::Fetching(7));
        gate.grew(7);
        assert!(gate.is_open());
        gate.parent_stands(3, HeadStanding::TheyAreBehind);
        assert!(gate.is_open());
        gate.parent_stands(3, HeadStanding::Conflict);
        gate.parent_stands(3, HeadStanding::Equal);
        assert_eq!(gate, Gate::Frozen);
        assert!(Gate::at_start(false).is_open());
    }
}
