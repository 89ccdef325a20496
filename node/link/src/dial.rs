//! Calling the parent, again and again, with growing and jittered pauses. One link at a time; which node is the parent, and
//! where it is, the charter in force says at each call.

use super::{
    Endpoints, LinkContext, LinkEvent, Peer,
    call::{Called, InVain, call},
    frame::Heard,
    join::ask_for_charter,
    run::{Start, run},
    trouble::{CallFailure, LinkEnd},
};
use std::time::{Duration, Instant};
use tally_protocol::ids::Division;

/// Shortest pause between two calls.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// Longest pause between two calls.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Longest pause while the parent is only not to be reached: whoever waits for a line to come back is there soon after it.
const PAUSE_UNREACHED: Duration = Duration::from_secs(10);
/// A link that lasted so long starts the pauses anew.
const LASTED: Duration = Duration::from_secs(10);
/// A reason that stays the same is logged again after this.
const SAID_AGAIN: Duration = Duration::from_secs(600);

/// Whom to call, as the charter in force says.
#[derive(Debug)]
pub struct Dial {
    /// The node's sockets.
    pub endpoints: Endpoints,
    /// This node.
    pub me: Division,
    /// For the links.
    pub context: LinkContext,
}

/// Keeps a link to the parent until the node closes its sockets.
///
/// Not cancel-safe while a link is up: the host would not hear that it is down.
pub async fn dial(dial: Dial) {
    let mut pause = PAUSE_MIN;
    let mut turn = 0_usize;
    let mut said = Said::default();
    loop {
        let charter = dial.context.charter.charter();
        let Some(parent) = charter.charter().parent(dial.me) else {
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        let addresses = charter.charter().node(parent).map(|n| n.addresses.clone()).unwrap_or_default();
        drop(charter);
        let started = Instant::now();
        let (event, longest) = match call(&dial, parent, &addresses, turn).await {
            Ok(called) => {
                said = Said::default();
                linked(&dial, parent, called).await
            }
            Err(in_vain) if in_vain.0.iter().any(|(_, why)| *why == CallFailure::ClosedHere) => return,
            Err(in_vain) => {
                said.log(parent, &in_vain);
                let passes = in_vain.0.iter().any(|(_, why)| why.passes());
                let reason = format!("{parent} cannot be reached: {in_vain}");
                let refused = in_vain.0.iter().any(|(_, why)| matches!(why, CallFailure::WrongNode(_)));
                let event = LinkEvent::DialFailed { reason, refused, linked: false };
                (event, if passes { PAUSE_UNREACHED } else { PAUSE_MAX })
            }
        };
        let refused = matches!(event, LinkEvent::DialFailed { refused: true, .. });
        if dial.context.node.tell(event).await.is_err() {
            return;
        }
        // A charter may have come into force while this node was off: it has moved, or one of the two has another key.
        if refused && let Some(note) = newer_charter(&dial, &addresses).await {
            let _ = dial.context.node.tell(LinkEvent::Charter { note }).await;
        }
        if started.elapsed() > LASTED {
            pause = PAUSE_MIN;
        } else {
            // Whoever answered there was of no use: another address first.
            turn = turn.wrapping_add(1);
        }
        tokio::time::sleep(pause.min(longest).max(dial.context.node.parent_pause())).await;
        // Decorrelated jitter: neighbours that lost the same parent spread out.
        pause = jittered(PAUSE_MIN, pause * 3).min(PAUSE_MAX);
    }
}

/// The charter that whoever answers at the parent's addresses has, if it says that it is newer.
async fn newer_charter(dial: &Dial, addresses: &[String]) -> Option<String> {
    let version = dial.context.charter.charter().charter().version();
    ask_for_charter(addresses, &dial.context.keys, version).await
}

fn jittered(low: Duration, high: Duration) -> Duration {
    let mut random = [0; 4];
    // Without randomness the pauses are regular, which is only less polite.
    let _ = getrandom::fill(&mut random);
    let part = f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX);
    low + (high - low).mul_f64(part)
}

/// Runs the link to its end, and says why it ended, and how long the next call may be put off.
async fn linked(dial: &Dial, parent: Division, called: Called) -> (LinkEvent, Duration) {
    let Called { connection, control, address } = called;
    let start = Start { connection, control, first: None, heard: Heard::now() };
    let end = run(dial.context.clone(), dial.context.name(), start, Peer::Parent(parent)).await;
    let refused = end == LinkEnd::NotAdmitted;
    let reason = format!("the link to {parent} at {address} has ended: {end}");
    let longest = if matches!(end, LinkEnd::Reset | LinkEnd::Idle(_)) { PAUSE_UNREACHED } else { PAUSE_MAX };
    (LinkEvent::DialFailed { reason, refused, linked: !refused }, longest)
}

/// What the log was told last: it is told again when the reasons are others, or after a while.
#[derive(Default)]
struct Said(Option<(Vec<&'static str>, Instant)>);

impl Said {
    fn log(&mut self, parent: Division, in_vain: &InVain) {
        let mut kinds: Vec<_> = in_vain.0.iter().map(|(_, why)| why.kind()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        if self.0.as_ref().is_some_and(|(last, when)| *last == kinds && when.elapsed() < SAID_AGAIN) {
            return;
        }
        let kind = kinds.join(",");
        // What passes by itself is no warning: the parent may only be starting.
        if in_vain.0.iter().any(|(_, why)| CallFailure::passes(why)) {
            tracing::info!(event = "link.unreached", %parent, kind, reason = %in_vain, "the parent cannot be reached");
        } else {
            tracing::warn!(event = "link.unreached", %parent, kind, reason = %in_vain, "the parent cannot be reached");
        }
        self.0 = Some((kinds, Instant::now()));
    }
}
