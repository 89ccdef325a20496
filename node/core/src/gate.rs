//! The gate before signing (I4): a node signs its own log only while it knows that nobody above holds more of it than it
//! does. After a start it does not know that, and asks.
//!
//! Who can answer: the parent, once it is sure itself; at the top more than half of the direct children; where bundles are
//! carried, the anchor. Where nobody can, the operator's word opens. An open gate stays open while the node runs, also when
//! the parent goes away, until a signed head shows that this disk is an old copy. It must not know who said what.

/// Whether the node may sign its own log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Gate {
    /// Nobody who can has answered since the start.
    #[default]
    Asking,
    /// The own key has signed so many records, and this disk has fewer: it is an old copy. The rest is fetched first.
    Fetching(u64),
    /// Signing.
    Open,
    /// Two histories were signed. Only a new epoch, admitted by the charter, can go on.
    Frozen,
}

/// What is known of the own log when the gate is judged.
#[derive(Debug, Clone, Copy)]
pub struct GateFacts {
    /// Records of it on this disk.
    pub held: u64,
    /// Records of it that the own key is known to have signed, wherever they are.
    pub known: u64,
    /// Whoever can answer has answered, and holds no more than this disk.
    pub confirmed: bool,
    /// The log is frozen.
    pub frozen: bool,
}

impl Gate {
    /// Judges the gate anew. `word`: the operator has opened it when so many records were known to be signed.
    pub fn judge(&mut self, facts: GateFacts, word: Option<u64>) {
        let over_there = facts.known > facts.held && word.is_none_or(|then| facts.known > then);
        *self = match () {
            () if facts.frozen => Self::Frozen,
            () if over_there => Self::Fetching(facts.known),
            () if self.is_open() || facts.confirmed || word.is_some() => Self::Open,
            () => Self::Asking,
        };
    }

    /// Whether a checkpoint may be signed now.
    pub fn is_open(&self) -> bool {
        *self == Self::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(held: u64, known: u64, confirmed: bool) -> GateFacts {
        GateFacts { held, known, confirmed, frozen: false }
    }

    #[test]
    fn signs_only_after_somebody_has_answered() {
        let mut gate = Gate::default();
        gate.judge(facts(5, 0, false), None);
        assert_eq!(gate, Gate::Asking);
        gate.judge(facts(5, 7, false), None);
        gate.judge(facts(6, 7, true), None);
        assert_eq!(gate, Gate::Fetching(7));
        gate.judge(facts(7, 7, true), None);
        assert!(gate.is_open());
        gate.judge(facts(7, 7, false), None);
        assert!(gate.is_open(), "it stays open when the parent goes away");
        gate.judge(facts(7, 9, true), None);
        assert_eq!(gate, Gate::Fetching(9), "somebody knows more");
        gate.judge(GateFacts { frozen: true, ..facts(9, 9, true) }, Some(9));
        assert_eq!(gate, Gate::Frozen);
    }

    #[test]
    fn the_operators_word_is_for_what_was_known_then() {
        let mut gate = Gate::default();
        gate.judge(facts(5, 8, false), Some(8));
        assert!(gate.is_open());
        gate.judge(facts(6, 9, false), Some(8));
        assert_eq!(gate, Gate::Fetching(9));
    }
}
