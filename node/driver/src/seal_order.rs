//! Batches of the own log in the order in which they were handed over: after one that was not sealed, none is that was handed
//! over before its answer. The gate may open between two of them, and what was refused first would be sealed behind.

use tally_core::{NotSealed, Output, Ticket};

/// How the last batch fared.
#[derive(Debug, Default)]
pub(crate) struct SealOrder {
    refused: Option<NotSealed>,
}

impl SealOrder {
    /// Why a batch is not to be sealed. `follows`: the answer to the one before it was not known when it was handed over.
    pub(crate) fn why_not(&mut self, follows: bool) -> Option<NotSealed> {
        if !follows {
            self.refused = None;
        }
        self.refused.clone()
    }

    /// Looks at what the core said of a batch at once.
    pub(crate) fn judged(&mut self, ticket: Ticket, out: &[Output]) {
        let refused = out.iter().rev().find_map(|output| match output {
            Output::Sealed { ticket: of, result: Err(why) } if *of == ticket => Some(why.clone()),
            _ => None,
        });
        self.refused = refused.or(self.refused.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overtakes_what_was_refused() {
        let mut order = SealOrder::default();
        let refused = |n| vec![Output::Sealed { ticket: Ticket(n), result: Err(NotSealed::Asking) }];
        assert_eq!(order.why_not(true), None);
        order.judged(Ticket(1), &[]);
        assert_eq!(order.why_not(true), None);
        order.judged(Ticket(2), &refused(1));
        assert_eq!(order.why_not(true), None, "another's answer");
        order.judged(Ticket(2), &refused(2));
        // The gate has opened meanwhile; two more were on their way.
        assert_eq!((order.why_not(true), order.why_not(true)), (Some(NotSealed::Asking), Some(NotSealed::Asking)));
        // What comes now, whoever handed it over knows of the refusal.
        assert_eq!((order.why_not(false), order.why_not(true)), (None, None));
    }
}
