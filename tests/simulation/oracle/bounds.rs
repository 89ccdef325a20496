//! I7: what a peer sends makes a node keep and say no more than the charter bounds.

use super::{Judgement, promise};
use tally_core::Replica;
use tally_protocol::ids::Division;

/// Refused logs of a child that a node may remember.
const REFUSED_MAX: usize = 256;

/// What a node keeps is bounded by the logs of the charter.
pub fn memory(node: Division, replica: &Replica) -> Judgement {
    let nodes: Vec<_> = replica.view().charter().nodes().collect();
    let logs = nodes.iter().map(|n| n.epochs.len()).sum::<usize>();
    let parent = replica.view().parent();
    let link = parent.link.as_ref();
    let of_parent = [
        ("own sizes", parent.own_sizes.len()),
        ("refused logs", parent.rejected.len()),
        ("damaged logs", parent.damaged.len()),
        ("logs set back", parent.set_back.len()),
        ("pushes", link.map_or(0, |l| l.pushes.len())),
        ("heads ahead", link.map_or(0, |l| l.ahead.len())),
        ("logs being fetched", link.map_or(0, |l| l.fetching.len())),
        ("logs", replica.view().logs().len()),
        ("reported conflicts", replica.view().reported().len()),
    ];
    for (what, n) in of_parent {
        promise(n <= logs, || format!("I7: {node} keeps {n} {what}, the charter has {logs} logs"))?;
    }
    promise(replica.view().children().len() <= nodes.len(), || format!("I7: {node} keeps too many children"))?;
    for (child, c) in replica.view().children() {
        let serving = c.link.as_ref().map_or(0, |l| l.serving.len());
        let refused = c.rejected.len();
        promise(serving <= logs && refused <= REFUSED_MAX, || {
            format!("I7: {node} keeps {serving} pushes and {refused} refusals for {child}")
        })?;
    }
    Ok(())
}

/// A round says no more than so much for each input.
pub fn words(node: Division, logs: usize, nodes: usize, mails: usize, said: usize) -> Judgement {
    let bound = (mails + 1) * (16 + logs * (nodes + 4));
    promise(said <= bound, || format!("I7: {node} answers {mails} inputs with {said} messages"))
}
