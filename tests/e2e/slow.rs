//! A neighbour that takes its time: it holds up what is done with it, and nothing else.

use crate::hostile::{Peer, keys_of, port_of};
use std::time::Duration;
use tally_protocol::session::reconcile::ReconcileReply;
use tally_tests::{CITY, COUNTY, Federation, LINE, NEIGHBOUR, PROVINCE, Plan, seconds};

const TREE: &[Plan<'static>] = &[LINE[0], LINE[1], LINE[2], (NEIGHBOUR, "county", Some(CITY))];

/// M15: it says every moment that it has read one byte more of a disk that has no end.
#[test]
fn a_neighbour_that_is_at_work_for_ever_holds_up_no_task_with_another() {
    let federation = Federation::running(TREE);
    federation.expects(&["link.refused", "link.lost", "link.down", "task.failed"]);
    for division in [COUNTY, NEIGHBOUR, CITY] {
        federation.enter(division, 0..50);
    }
    federation.wait_converged(&[PROVINCE, CITY, COUNTY, NEIGHBOUR], seconds(60));
    federation.stop(COUNTY);
    let (port, keys) = (port_of(&federation, CITY), keys_of(&federation, COUNTY));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let peer = runtime.block_on(Peer::welcomed(port, &keys));
    let hostile = runtime.spawn(peer.works_for_ever());
    let begin = |with: &str| {
        let ran = federation.ask(CITY, &["reconcile", "--with", with, "--repair", "--detach", "--json"]);
        ran.json()["id"].as_str().unwrap().to_owned()
    };
    let waits_for = |id: &str, whom: &str| {
        federation.wait_task(CITY, id, seconds(20), |t| {
            t["progress"]["waiting_for"].as_str().is_some_and(|w| w.contains(whom))
        })
    };
    let held = begin(COUNTY);
    waits_for(&held, "350102, which has read");
    // A second task with the same neighbour waits, and says for which.
    let second = begin(COUNTY);
    waits_for(&second, &held);
    // With everybody else, and of the own disk, all goes on.
    assert_eq!(federation.repair(CITY, "parent")["agree"], true);
    assert_eq!(federation.repair(CITY, NEIGHBOUR)["agree"], true);
    federation.assert_verified(CITY);
    // Also within one task.
    let all = begin("all");
    federation.wait_task(CITY, &all, seconds(20), |t| t["progress"]["done"] == 2);
    waits_for(&all, &held);
    for id in [&all, &second, &held] {
        assert_eq!(federation.task(CITY, "cancel", id)["state"], "cancelled", "what is shown is how it ended");
    }
    hostile.abort();
    runtime.shutdown_timeout(Duration::from_secs(1));
}

impl Peer {
    /// Answers whatever it is asked with the word that it is at work, a byte further each time.
    async fn works_for_ever(mut self) {
        let mut answering = tokio::task::JoinSet::new();
        loop {
            let connection = self.connection().clone();
            let accepted = tokio::select! {
                accepted = connection.accept_bi() => accepted,
                () = tokio::time::sleep(Duration::from_secs(2)) => {
                    self.beat().await;
                    continue;
                }
            };
            let Ok((mut send, receive)) = accepted else { return };
            answering.spawn(async move {
                let _asked = receive;
                for done in 1.. {
                    let bytes = ReconcileReply::Working { done, total: u64::MAX }.encode();
                    let frame = [&(bytes.len() as u32).to_le_bytes()[..], &bytes].concat();
                    if send.write_all(&frame).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
        }
    }
}
