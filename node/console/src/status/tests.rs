//! The snapshot: what is not known, and what must not be taken for records.

use super::*;
use std::sync::Arc;
use tally_core::{Place, Replica};
use tally_store::index::IndexProgress;
use tally_topology::sample;

/// I10: a child that was never heard of stands on the screen, and what is not known is not 0.
#[test]
fn a_silent_child_stays_on_the_screen() {
    let city = Replica::new(Arc::new(sample::keys("350100")), sample::signed(""), "test".into());
    let progress = IndexProgress::at(Place(16));
    let staged = StagedCounts::default();
    let inputs = StatusInputs {
        progress,
        durable: Place(16),
        short_of: None,
        damaged_places: 0,
        damaged_again: None,
        folders: Vec::new(),
        staged,
        lost: Vec::new(),
        asked: None,
    };
    let status = Status::of(city.view(), 1_790_000_000_000, &inputs);
    assert_eq!(status.children.len(), 2);
    for c in &status.children {
        assert_eq!((c.state, c.behind_records, c.agrees), (PeerState::NeverSeen, None, None));
        let told = |a: &Action| a.code == "node_never_seen" && a.what.contains(&c.division.to_string());
        assert!(status.actions.iter().any(told));
    }
    let log = |d: &str| status.logs.iter().find(|l| l.log.contains(d)).unwrap();
    assert_eq!((log("350102").size, log("350102").state), (None, LogState::Unknown));
    assert_eq!((log("350100").size, log("350100").state), (Some(0), LogState::Ok));
    let behind = StatusInputs { durable: Place(1 << 40), ..inputs };
    assert_eq!(Status::of(city.view(), 1_790_000_000_000, &behind).records, None, "the index is behind: not 0");
}

/// Rows that only this disk has are no records, and stand on the screen with their age, the reason and what to do.
#[test]
fn staged_rows_are_told_apart_from_records() {
    let county = Replica::new(Arc::new(sample::keys("350102")), sample::signed(""), "test".into());
    let progress = IndexProgress::at(Place(16));
    let damaged = vec!["staged segment 00000001 at 128: the frame is damaged".to_owned()];
    let staged = StagedCounts { records: 7, oldest: Some(1_790_000_000), damaged };
    let (lost, asked, damaged_places) = (Vec::new(), None, 0);
    let again = RepeatedDamage { times: 3, latest_s: 1_790_000_000, open: true };
    let folders = vec![("/srv/处罚".into(), "/srv/处罚/inbox: a link, not a folder".to_owned())];
    let (durable, short_of, damaged_again) = (Place(16), None, Some(again));
    let inputs =
        StatusInputs { progress, durable, short_of, damaged_places, folders, damaged_again, staged, lost, asked };
    let status = Status::of(county.view(), 1_790_000_000_000, &inputs);
    assert_eq!((status.records, status.staged.records), (Some(0), 7));
    let signing = |status: &Status| crate::judged::readiness(status)[0].1.map(str::to_owned);
    assert_eq!(signing(&status).as_deref(), Some("parent_unknown"), "{:?}", crate::judged::readiness(&status));
    // Whatever keeps it from signing, and whatever the page calls that.
    for why in ["clock", "same_key", "frozen", "damaged", "behind"] {
        let (staged, actions) = (StagedStatus { because: Some(why.into()), ..status.staged.clone() }, Vec::new());
        assert_eq!(signing(&Status { staged, actions, ..status.clone() }).as_deref(), Some(why));
    }
    let open = Status { staged: StagedStatus { because: None, ..status.staged.clone() }, ..status.clone() };
    assert_eq!(signing(&open), None);
    assert_eq!(status.staged.because.as_deref(), Some("parent_unknown"));
    let action = |code: &str| status.actions.iter().find(|a| a.code == code).unwrap_or_else(|| panic!("{code}"));
    assert!(action("staged").what.contains('7') && action("staged").why.contains("parent"));
    assert!(action("staged_damaged").what.contains("00000001 at 128"));
    let folder = action("folder_refused");
    assert!(folder.what.contains("/srv/处罚") && folder.why.contains("a link") && !folder.next.is_empty());
    let again = action("damaged_again");
    assert!(again.what.contains("3 times") && again.next.contains("replace") && again.next.contains("--repair"));
    let screen = crate::screen::render(&status);
    assert!(screen.contains("STAGED   7 rows since 2026-"), "{screen}");
}

/// What was compared on a link that is gone, or that is silent, says nothing of now.
#[test]
fn only_a_live_neighbour_agrees_or_differs() {
    use super::neighbours::agreement;
    use tally_core::Agreement::{Agrees, Differs, Unknown};
    let at = 1_790_000_000_000;
    for state in [PeerState::Stalled, PeerState::Lost, PeerState::NeverSeen, PeerState::Refused] {
        for compared in [Agrees(at), Differs(at), Unknown] {
            assert_eq!(agreement(state, compared, true), (None, None), "{state:?} {compared:?}");
        }
    }
    for (compared, agrees) in [(Agrees(at), Some(true)), (Differs(at), Some(false)), (Unknown, None)] {
        let (shown, since) = agreement(PeerState::Live, compared, true);
        assert_eq!((shown, since.is_some()), (agrees, agrees.is_some()));
    }
    assert_eq!(
        agreement(PeerState::Live, Agrees(at), false),
        (None, None),
        "equal roots, and records that cannot be read"
    );
    assert_eq!(agreement(PeerState::Live, Differs(at), false).0, Some(false));
}
