//! What is remembered of the logs of those above, whatever they say.

use super::*;
use tally_protocol::{checkpoint::Checkpoint, codec, hash::Hash, ids::LogKind, note::sign_line, wire::Welcome};

/// A head of one of the city's logs, padded with lines of others to what a note may have.
fn padded(log: LogId, size: u64) -> Head {
    let (city, root) = (keys(350_100), Hash([size as u8; 32]));
    let checkpoint = Checkpoint { origin: federation().origin(log), size, root };
    let text = checkpoint.text();
    let line = match log.kind() {
        LogKind::Return(to) => sign_line(&text, &city.return_log(to).unwrap()),
        LogKind::Operations => sign_line(&text, &city.operations),
        LogKind::Records => sign_line(&text, &city.log),
    };
    let mut note = format!("{text}\n{line}");
    let lines = tally_protocol::limits::NOTE_SIGNATURES_MAX - 1;
    let name = "x".repeat(tally_protocol::limits::NOTE_BYTES_MAX / lines - 100);
    (0..lines).for_each(|_| note += &format!("— {name} AAAAAAA=\n"));
    Head { log, size, root, note }
}

/// A parent that tells ever other heads, of each log that it may have, fills no journal below it.
#[test]
fn what_a_parent_makes_a_child_write_has_a_bound() {
    let mut county = replica(350_101, 10);
    round(&mut county, NOW, Input::ParentUp { link: LinkId(1), parent: 350_100.try_into().unwrap() });
    let welcome = Welcome { version: 1, node: keys(350_100).node, charter: county.view.charter.mark(), clock_ms: NOW };
    round(&mut county, NOW, Input::Control { link: LinkId(1), message: Control::Welcome(welcome) });
    let city = keys(350_100).node.division;
    let to_nodes = (350_101..350_110).map(|to| LogId::to(city, 1, to.try_into().unwrap()).unwrap());
    let logs: Vec<_> = to_nodes.chain([LogId::records(city, 1), LogId::operations(city, 1)]).collect();
    let mut bytes = 0;
    for minute in 0..10 {
        let now = NOW + minute * 60_001;
        for log in logs.iter().copied() {
            for size in [minute + 100, 99 - minute] {
                let message = Control::Stands { log, head: Some(padded(log, size)), sure: false };
                round(&mut county, now, Input::Control { link: LinkId(1), message });
            }
        }
        let mut out = Vec::new();
        county.handle(now, Input::Tick, &mut out);
        let written = out.iter().filter_map(|o| if let Output::Append(append) = o { Some(append) } else { None });
        bytes += written.map(|append| codec::encode(append.entry()).len()).sum::<usize>();
        county.commit(|| now, out, &mut Memory(now)).unwrap();
    }
    assert!(bytes > 0 && bytes < 2 * 400 * 10, "{bytes} bytes in ten minutes");
    let hello = county.ancestor_heads();
    assert!(hello.len() <= 2 && hello.iter().all(|head| head.note.len() < 400), "{hello:?}");
}
