//! What needs attention on this machine: its journal, its room, its drop folders, its index. It follows from the snapshot alone.

use super::{Action, Status, StatusInputs};
use tally_driver::Shortage;

/// Places that are damaged, folders that cannot be used, room that is wanting, an index that is not there.
pub(super) fn actions(inputs: &StatusInputs, status: &Status) -> Vec<Action> {
    let mut found = Vec::new();
    let mut add = |code: &str, what: String, why: String, next: &str| {
        found.push(Action { code: code.into(), what, why, next: next.into() });
    };
    if inputs.damaged_places > 0 {
        let what = format!("{} damaged places in data/journal", inputs.damaged_places);
        add(
            "journal_damaged",
            what,
            "found at the start or by the last verify".into(),
            "check the disk; tally verify names the places, tally reconcile --with all --repair mends them",
        );
    }
    if let Some(again) = &inputs.damaged_again {
        let what = format!("data/journal was damaged {} times within a day", again.times);
        let now = if again.open { "nothing is mended by itself any more" } else { "it is whole again for now" };
        let since = tally_clock::time(again.latest_s);
        let why = format!("the latest was found at {since}: a disk that damages what was mended goes on; {now}");
        let next = "look at the disk (dmesg, smartctl -a) and replace it: stop the node, copy its directory, start it from the \
                    copy; what is damaged comes back by hand: tally reconcile --with all --repair";
        add("damaged_again", what, why, next);
    }
    for (path, why) in &inputs.folders {
        let what = format!("the drop folder {} is not used: what is dropped there stays there", path.display());
        let next = "make it a folder of its own (no link) that this node's user may read and write, or mount it again; the node \
                    uses it again by itself";
        add("folder_refused", what, why.clone(), next);
    }
    if let Some(wanting) = inputs.short_of {
        let (why, next) = shortage(wanting);
        add("storage_full", "nothing more is taken in".into(), why.into(), next);
    }
    if let Some(why) = &inputs.progress.trouble {
        add(
            "index_failed",
            "counts and exports".into(),
            why.clone(),
            "wait: it is brought back by itself; replication is not affected, and rows that are new for certain are taken",
        );
    } else if status.index_behind {
        let why = "the index is being built from the journal".to_owned();
        add("index_behind", "counts and exports".into(), why, "wait; replication is not affected");
    }
    found
}

/// Why nothing more is taken in, and what to do.
fn shortage(wanting: Shortage) -> (&'static str, &'static str) {
    match wanting {
        Shortage::Bytes => {
            ("less free space than storage.reserve_mib", "make room on the disk; the node goes on by itself")
        }
        Shortage::Inodes => (
            "the file system has hardly any free inodes, for files of whatever size",
            "remove small files that are not this node's, or enlarge the file system; the node goes on by itself",
        ),
        Shortage::Descriptors => (
            "the process or the machine may not open more files",
            "raise LimitNOFILE of the service, or fs.file-max; the node goes on by itself once there are descriptors",
        ),
    }
}
