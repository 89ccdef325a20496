//! What is taken away from a running node: the file that it writes to, the end of it, or the whole folder. The rest of the
//! journal is damaged in `repair`.

use std::{fs, fs::OpenOptions, os::unix::fs::PermissionsExt};
use tally_tests::{CITY, COUNTY, Federation, LINE, PROVINCE, seconds, wait_for};

const ALL: &[&str] = &[PROVINCE, CITY, COUNTY];

fn begun() -> Federation {
    let federation = Federation::new(LINE);
    federation.expects(&["journal.rescued", "journal.renewed", "journal.failed", "part.ended", "journal.damaged"]);
    federation.expects(&["index.rebuild", "disk.old_copy", "parent.set_back", "batch.refused"]);
    ALL.iter().for_each(|d| federation.start(d));
    federation.enter(COUNTY, 0..300);
    federation.wait_converged(ALL, seconds(60));
    federation
}

/// F10: rows that are acknowledged after the file was unlinked, before anybody could notice, are there after a restart.
#[test]
fn nothing_acknowledged_goes_into_a_file_without_a_name() {
    let federation = begun();
    let open = federation.segment(COUNTY, 1);
    fs::remove_file(&open).unwrap();
    federation.enter(COUNTY, 300..400);
    assert!(fs::exists(&open).unwrap(), "it is back before anything was acknowledged");
    // And with nothing going on, within a second or so.
    fs::remove_file(&open).unwrap();
    wait_for("the open file is put back", seconds(20), || fs::exists(&open).unwrap().then_some(()));
    ALL.iter().for_each(|d| federation.kill9(d));
    ALL.iter().for_each(|d| federation.start(d));
    federation.wait_converged(ALL, seconds(60));
    wait_for("the index", seconds(60), || (federation.count(COUNTY) == 400).then_some(()));
    ALL.iter().for_each(|d| federation.assert_verified(d));
}

/// What was cut off and is still in memory is written anew; the node goes on, and nothing is missing.
#[test]
fn the_end_that_was_cut_off_a_running_journal_comes_back() {
    let federation = begun();
    let open = federation.segment(COUNTY, 1);
    let len = fs::metadata(&open).unwrap().len();
    OpenOptions::new().write(true).open(&open).unwrap().set_len(len - 100).unwrap();
    wait_for("a new segment", seconds(20), || (federation.segments(COUNTY).last() == 2).then_some(()));
    federation.enter(COUNTY, 300..310);
    federation.wait_converged(ALL, seconds(60));
    federation.assert_verified(COUNTY);
    federation.kill9(COUNTY);
    federation.start(COUNTY);
    federation.wait_converged(ALL, seconds(60));
    wait_for("the index", seconds(60), || (federation.count(COUNTY) == 310).then_some(()));
    federation.assert_verified(COUNTY);
}

/// The folder is gone, or another one stands there: the node ends and says so, instead of writing where nobody will look.
#[test]
fn a_node_without_its_folder_ends_and_says_so() {
    let federation = begun();
    let folder = federation.file(COUNTY, "data/journal");
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(federation.ends(COUNTY), 1);
    assert!(federation.log(COUNTY).contains("was removed while the node ran"), "{}", federation.log(COUNTY));
    // All that was in the open file is there again; this journal has one segment.
    federation.start(COUNTY);
    federation.wait_converged(ALL, seconds(60));
    federation.assert_verified(COUNTY);

    let elsewhere = federation.file(COUNTY, "elsewhere");
    fs::rename(&folder, &elsewhere).unwrap();
    fs::create_dir(&folder).unwrap();
    assert_eq!(federation.ends(COUNTY), 1);
    assert!(federation.log(COUNTY).contains("was replaced by another folder"), "{}", federation.log(COUNTY));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing is written into a strange folder");
    fs::remove_dir(&folder).unwrap();
    fs::rename(&elsewhere, &folder).unwrap();
    federation.start(COUNTY);
    federation.wait_converged(ALL, seconds(60));
    let sealed = fs::metadata(federation.segment(COUNTY, 1)).unwrap();
    assert!(sealed.permissions().mode() & 0o777 == 0o400, "what was left is read-only");
}
