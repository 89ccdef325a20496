//! Where a node is told to keep things: what lies there already is not taken for its own, and what it makes is its user's.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};
use tally_tests::{CITY, COUNTY, Federation, LINE, run, sample::records};

/// B03: a socket's path that leads to something else is a wrong configuration, and nothing is lost by it.
#[test]
fn a_file_at_the_place_of_the_admin_socket_is_left_as_it_is() {
    let federation = Federation::new(LINE);
    let before = fs::read(federation.file(COUNTY, "keys/node.key")).unwrap();
    federation.configure(COUNTY, "admin = \"keys/node.key\"\n");
    assert_eq!(federation.refused(COUNTY), 78);
    assert_eq!(fs::read(federation.file(COUNTY, "keys/node.key")).unwrap(), before);
    assert!(federation.log(COUNTY).contains("is no socket"), "{}", federation.log(COUNTY));
}

/// U5: two configurations that name one path. The node that has it keeps it, and no command takes it for the other one.
#[test]
fn a_socket_in_use_is_never_taken_and_never_mistaken() {
    let federation = Federation::running(LINE);
    let (county, inode) = (federation.config(COUNTY), |path: &str| fs::metadata(path).unwrap().ino());
    federation.stop(COUNTY);
    let socket = federation.file(CITY, "admin.sock");
    let before = inode(&socket);
    federation.configure(COUNTY, &format!("admin = {socket:?}\n"));
    let second = run(&["run", "--config", &county]);
    assert_eq!((second.code, inode(&socket)), (75, before), "{second:?}");
    for args in [&["status"][..], &["status", "--json"], &["export"], &["task", "ls"], &["ingest", "-", "--json"]] {
        let ran = run(&[args, &["--config", &county]].concat());
        assert!(ran.code == 6 && ran.out.is_empty() && ran.err.contains(CITY), "{args:?}: {ran:?}");
    }
    let (code, answer) = federation.ingest(COUNTY, &records(0..3, COUNTY));
    assert_eq!((code, answer), (6, serde_json::Value::Null));
    assert_eq!(federation.count(CITY), 0, "nothing was done before it was refused");
}

/// S16: whatever the umask was, nobody else looks into what a node keeps.
#[test]
fn what_a_node_keeps_is_its_users_only_whatever_the_umask() {
    let federation = Federation::new(&[(COUNTY, "county", None)]);
    // As a node of an earlier version has left it.
    fs::create_dir(federation.file(COUNTY, "data")).unwrap();
    fs::set_permissions(federation.file(COUNTY, "data"), fs::Permissions::from_mode(0o755)).unwrap();
    federation.may_begin(COUNTY);
    federation.starts_with_umask(COUNTY, "0000");
    federation.start(COUNTY);
    let (code, answer) = federation.ingest(COUNTY, &format!("{}not a record\n", records(0..3, COUNTY)));
    assert_eq!((code, &answer["rejected"]), (3, &1.into()), "{answer}");
    assert!(!federation.export(COUNTY, &[]).is_empty());
    let mut seen = 0;
    closed(Path::new(&federation.file(COUNTY, "data")), &mut seen);
    closed(Path::new(&federation.file(COUNTY, "keys")), &mut seen);
    closed(Path::new(&federation.file(COUNTY, "admin.sock")), &mut seen);
    assert!(seen > 10, "only {seen} files");
}

/// No bit for others on this, nor on anything in it.
fn closed(path: &Path, seen: &mut usize) {
    let meta = fs::symlink_metadata(path).unwrap();
    assert_eq!(meta.mode() & 0o077, 0, "{path:?} has mode {:o}", meta.mode());
    *seen += 1;
    if meta.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| closed(&entry.unwrap().path(), seen));
    }
}
