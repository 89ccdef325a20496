//! Charters that neighbours have, and what is known of a node that one of them retires.

use super::*;
use tally_protocol::wire::CharterMark;
use tally_topology::{charter::RowsOfNode, signed::SignedError};

/// Two charters of one version: both sides see it, by hello and welcome and when one of them comes while the link is there;
/// nothing is adopted, and a newer one ends it.
#[test]
fn two_charters_of_one_version_are_told_at_both_ends_and_neither_is_adopted() {
    let (mut city, mut county) = (replica(350_100, 3), replica(350_101, 3));
    let link = LinkId(1);
    let carry = |to: &mut Replica, messages: Vec<Control>| -> (Vec<Control>, usize) {
        let all: Vec<_> =
            messages.into_iter().flat_map(|message| round(to, NOW, Input::Control { link, message })).collect();
        let told = all.iter().filter(|o| matches!(o, Output::Note(Event::CharterDiffers { version: 2, .. }))).count();
        (sent(all), told)
    };
    let load = |to: &mut Replica, note: String| round(to, NOW, Input::Charter { ticket: Ticket(1), note });
    let differs = |r: &Replica| r.view().charters_that_differ().into_iter().map(|(d, _)| d.code()).collect::<Vec<_>>();

    // On a live link: the city's second version comes to a county that has got another one meanwhile.
    let own = county.own();
    round(&mut city, NOW, Input::ChildUp { link, peer: own });
    let hello = sent(round(&mut county, NOW, Input::ParentUp { link, parent: city.me() }));
    let (down, _) = carry(&mut city, hello);
    carry(&mut county, down);
    let (here, there) = (charter(2, 3, 350_103), charter(2, 3, 350_102));
    let up = sent(load(&mut county, there.clone()));
    let (_, told) = carry(&mut city, up);
    assert_eq!((told, differs(&city)), (0, vec![]), "a newer one below is no other one");
    let down = sent(load(&mut city, here.clone()));
    assert_eq!(differs(&city), [350_101]);
    let (_, told) = carry(&mut county, down);
    assert_eq!((told, differs(&county)), (1, vec![350_100]));
    assert_eq!(county.view().signed_charter().note(), there, "nothing is adopted");

    // On a new link, by hello and welcome. The link stays.
    round(&mut county, NOW, Input::LinkDown { link });
    assert_eq!(differs(&county), [0_u32; 0], "without a link nothing is known of the parent's");
    round(&mut city, NOW, Input::LinkDown { link });
    round(&mut city, NOW, Input::ChildUp { link, peer: own });
    let hello = sent(round(&mut county, NOW, Input::ParentUp { link, parent: city.me() }));
    let (down, _) = carry(&mut city, hello);
    assert!(welcomed(&down), "{down:?}");
    let (_, told) = carry(&mut county, down);
    assert_eq!((told, differs(&county), differs(&city)), (1, vec![350_100], vec![350_101]));

    // The operator hears it too; the same one again is no news.
    let refused = load(&mut city, there);
    assert!(
        refused.iter().any(|o| matches!(
            o,
            Output::CharterLoaded { result: Err(SignedError::OtherContent { version: 2, .. }), .. }
        )),
        "{refused:?}"
    );
    let again = load(&mut city, here);
    assert!(matches!(again[..], [Output::CharterLoaded { result: Ok(2), .. }]), "{again:?}");

    // A newer one heals it, at both ends.
    let down = sent(load(&mut city, charter(3, 3, 350_103)));
    let (up, _) = carry(&mut county, down);
    assert_eq!(county.view().charter().version(), 3);
    carry(&mut city, up);
    assert_eq!((differs(&county), differs(&city)), (vec![], vec![]));
}

/// The file beside the config is read first: if the journal holds another charter of its version, that is told.
#[test]
fn a_file_that_takes_the_place_of_the_journals_charter_is_told() {
    let signed = |note: &str| SignedCharter::open(note, authority().public()).unwrap();
    let (file, journal) = (charter(2, 3, 350_103), charter(2, 3, 350_102));
    let start = |notes: &[&String]| {
        let mut city = Replica::new(keys(350_100), signed(&file), "test".into());
        for note in notes {
            city.recover(Entry::Charter { note: (*note).clone() }, Place(1), FoundBy::Search);
        }
        city.view().charter_replaced_by_file()
    };
    assert_eq!(start(&[&journal]), Some(signed(&journal).mark().hash));
    assert_eq!(start(&[&file]), None);
    assert_eq!(start(&[&journal, &charter(3, 3, 350_103)]), None, "a newer one follows");
}

/// What is known of a node's records: while it is linked its own word, after it was retired its last one, and the charter's
/// where it closes the node's last epoch. Without any of them nothing is.
#[test]
fn how_many_records_a_retired_node_had_is_known_from_it_or_from_the_charter() {
    let node = Division::try_from(350_103).unwrap();
    let mut city = replica(350_100, 3);
    let rows = |r: &Replica| (r.view().rows_of(node, r.view().charter()), r.view().retired_and_missed().len());
    let known = |held, had| RowsOfNode { held, had };
    assert_eq!(rows(&city), (known(0, None), 0), "it was never linked");
    call(&mut city, NOW, 350_103);
    let link = city.view().children()[&node].link.as_ref().unwrap().id;
    let beat = Heartbeat { clock_ms: NOW, records: 5, digest: None, echo: None, above_ms: None };
    round(&mut city, NOW, Input::Control { link, message: Control::Heartbeat(beat) });
    assert_eq!(rows(&city), (known(0, Some(5)), 0));
    let bytes = tally_protocol::batch::seal(&keys(350_103), &Tree::default(), &super::rows(0, 4, "a"), 1);
    round(&mut city, NOW, Input::Batch { link, log: keys(350_103).node, bytes });
    assert_eq!(rows(&city), (known(4, Some(5)), 0));
    round(&mut city, NOW, Input::LinkDown { link });
    assert_eq!(rows(&city), (known(4, None), 0), "it may have taken more since");
    round(&mut city, NOW, Input::Charter { ticket: Ticket(1), note: charter(2, 3, 350_103) });
    assert_eq!(rows(&city), (known(4, Some(5)), 1), "what it said last");
    let closing = |version: u64, size: u64| {
        let note = charter(version, 3, 350_103);
        let text = note.split("\n\n").next().unwrap();
        let root = Hash([0; 32]);
        sign(&format!("{text}\nlast_size = {size}\nlast_root = \"{root}\"\n"), &authority()).unwrap()
    };
    round(&mut city, NOW, Input::Charter { ticket: Ticket(1), note: closing(3, 6) });
    assert_eq!(rows(&city), (known(4, Some(6)), 1));
    let mut other = replica(350_100, 3);
    round(&mut other, NOW, Input::Charter { ticket: Ticket(1), note: closing(3, 0) });
    assert_eq!(rows(&other), (known(0, Some(0)), 0), "closed before its first record");
}

/// A child only ever puts a newer charter into force.
#[test]
fn a_child_that_goes_back_in_its_charters_loses_its_link() {
    let mut city = replica(350_100, 3);
    call(&mut city, NOW, 350_101);
    let link = city.view().children()[&350_101.try_into().unwrap()].link.as_ref().unwrap().id;
    let mark = |version| CharterMark { version, hash: Hash([1; 32]) };
    let mut say = |version| round(&mut city, NOW, Input::Control { link, message: Control::InForce(mark(version)) });
    assert!(say(2).is_empty());
    assert!(say(2).iter().any(|o| matches!(o, Output::Close { code: Refusal::Protocol, .. })));
}
