//! What lies on this machine: charter, key, data directory, clock, calendar, drop folders.

use super::{Patient, Test, Verdict};
use crate::config::Config;
use rustix::fs::statvfs;
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::UNIX_EPOCH};
use tally_client::keyfile::{self, SecretKind};
use tally_protocol::keys::NodeKeys;
use tally_topology::{divisions, signed::SignedCharter};

/// Working days that the calendar should reach, from today: those of the publish limit.
const CALENDAR_DAYS: u32 = 20;
/// A file may be this much newer than the clock, in seconds: what was written a moment ago.
const AHEAD_S: u64 = 5;
/// A node that a clock shows differing by more, in milliseconds, is told so.
const SKEW_MS: u64 = 5_000;

/// The charter of the file, under the authority that the configuration pins, and the one in force (`note`), of the node that
/// runs: that one counts.
pub(super) fn charter(config: &Config, note: Option<&str>) -> (Option<SignedCharter>, Test) {
    const NAME: &str = "charter";
    let path = config.charter();
    let of_file = match fs::read_to_string(&path) {
        Ok(note) => note,
        Err(e) => {
            let next = "ask whoever signs charters for charter.note, and put it there (node.charter)";
            return (None, Test::failed(NAME, format!("{}: {e}", path.display()), next));
        }
    };
    let opened = config.authority().and_then(|key| SignedCharter::open(&of_file, &key).map_err(|e| e.to_string()));
    let of_file = match opened {
        Ok(charter) => charter,
        Err(e) => {
            let next = "copy charter.note again as it is; compare node.authority with the line that was published";
            return (None, Test::failed(NAME, format!("{}: {e}", path.display()), next));
        }
    };
    let (file, version) = (path.display(), of_file.charter().version());
    let others = note.filter(|note| *note != of_file.note());
    // By its signature it follows the one of the file, or the one of the file follows it.
    let follows = |note| SignedCharter::open_next(note, &of_file);
    let running = others.and_then(|n| follows(n).or_else(|_| SignedCharter::open(n, of_file.signed_by())).ok());
    let running = running.filter(|r| r.charter().version() != version);
    let is_another = others.is_some() && running.is_none();
    let versions = match (&running, note) {
        (Some(running), _) => {
            format!("version {} is in force, {file} has version {version} still", running.charter().version())
        }
        _ if is_another => format!("the node goes by another charter than {file}, which is version {version}"),
        (None, Some(_)) => format!("version {version} is in force, that of {file}"),
        (None, None) => format!("{file} is version {version}: whether a newer one is in force only the node can say"),
    };
    let charter = running.unwrap_or(of_file);
    let division = config.node.division;
    let test = match charter.charter().node(division) {
        _ if is_another => {
            Test::warning(NAME, versions, "tally status names both charters; only a newer one ends this")
        }
        Some(node) if node.retired => {
            Test::warning(NAME, format!("{versions}; it retires {division}"), "tally explain retired")
        }
        Some(node) => Test::ok(NAME, format!("{versions}; {division} {} is in it", node.name)),
        None => {
            let name = divisions::name(division).unwrap_or_default();
            let next = "correct node.division, or ask for a charter that names this node";
            Test::failed(NAME, format!("{versions}; it does not name {division} {name}"), next)
        }
    };
    (Some(charter), test)
}

/// The node's secret: readable by its owner alone, and that of the charter.
pub(super) fn key(p: &Patient) -> Test {
    const NAME: &str = "key";
    let path = p.config.key();
    let secret = match keyfile::read_as(&path, SecretKind::Node) {
        Ok(secret) => secret,
        Err(e) => {
            return Test::failed(NAME, e.to_string(), "tally keygen makes one; a lost secret means the next epoch");
        }
    };
    let Some(charter) = p.charter.as_ref().map(SignedCharter::charter) else {
        return Test::of(NAME, Verdict::Skipped, format!("{}: no charter to compare it with", path.display()), "");
    };
    let Some(log) = charter.current_log(p.config.node.division) else {
        return Test::of(
            NAME,
            Verdict::Skipped,
            format!("{}: the charter has no key of this node", path.display()),
            "",
        );
    };
    let fits = |s: &[u8; 32]| {
        let keys = NodeKeys::derive(charter.federation(), log, s);
        charter.epoch(log).is_some_and(|e| e.log == *keys.log.public())
    };
    match keyfile::find(&path, fits) {
        _ if fits(&secret) => Test::ok(NAME, format!("{}: the secret of {log}", path.display())),
        Ok(Some(_)) => Test::ok(NAME, format!("another file beside {} is the secret of {log}", path.display())),
        // The journal may hold a newer charter.
        Ok(None) if p.status.is_some() => Test::warning(
            NAME,
            format!("{}: not that of {log} by the charter of the file", path.display()),
            "copy the charter in force to node.charter: it is newer",
        ),
        _ => Test::failed(
            NAME,
            format!("{} is not the secret of {log}, nor is another *.key file beside it", path.display()),
            "put the right secret there, or ask for a charter with this key (tally keygen --show)",
        ),
    }
}

/// Journal, rights and room.
pub(super) fn data(p: &Patient) -> Vec<Test> {
    const NAME: &str = "data";
    let data = p.config.data();
    let meta = match fs::metadata(&data) {
        Ok(meta) => meta,
        Err(e) => {
            let next = "mount the disk, or for a first start: tally run --new";
            return vec![Test::failed(NAME, format!("{}: {e}", data.display()), next)];
        }
    };
    let mut tests = Vec::new();
    let mode = meta.permissions().mode() & 0o777;
    let journal = p.config.journal();
    let segments = fs::read_dir(&journal)
        .map(|d| d.flatten().filter(|f| f.path().extension().is_some_and(|e| e == "seg")).count());
    tests.push(match segments {
        _ if mode & 0o077 != 0 => Test::warning(
            NAME,
            format!("{}: others may look into it (mode {mode:03o})", data.display()),
            format!("chmod 700 {}", data.display()),
        ),
        Ok(0) | Err(_) if p.status.is_none() => Test::warning(
            NAME,
            format!("{} holds no journal", journal.display()),
            "if this node has run before, mount its disk or run tally restore; else tally run --new",
        ),
        Ok(n) => Test::ok(NAME, format!("{}: {n} segments", journal.display())),
        Err(e) => {
            Test::failed(NAME, format!("{}: {e}", journal.display()), "run it as the node's user, or mount the disk")
        }
    });
    tests.push(room(&data, p.config.storage.reserve_mib));
    tests
}

fn room(data: &Path, reserve_mib: u64) -> Test {
    const NAME: &str = "disk";
    match statvfs(data) {
        Ok(fs) => {
            let free = fs.f_bavail.saturating_mul(fs.f_frsize) >> 20;
            let what = format!("{free} MiB are free, {reserve_mib} MiB are kept back (storage.reserve_mib)");
            match free {
                _ if free < reserve_mib => Test::failed(NAME, what, "make room: nothing is taken in"),
                _ if free < reserve_mib.saturating_mul(4) => Test::warning(NAME, what, "make room soon"),
                _ => Test::ok(NAME, what),
            }
        }
        Err(e) => Test::failed(NAME, format!("{}: {e}", data.display()), ""),
    }
}

/// The clock against the neighbours if the node runs, else against what was written last.
pub(super) fn clock(p: &Patient) -> Test {
    const NAME: &str = "time";
    const SET: &str = "set the clock: chronyc makestep";
    let skew = p.status.as_ref().and_then(|s| s.parent.as_ref()).and_then(|parent| parent.clock_skew_ms);
    if let Some(ms) = skew {
        let what = format!("by that of the parent: {}", tally_core::clock::in_words(ms.saturating_neg()));
        return if ms.unsigned_abs() > SKEW_MS { Test::warning(NAME, what, SET) } else { Test::ok(NAME, what) };
    }
    let now = tally_clock::wall_ms() / 1_000;
    let written =
        |path: &Path| Some(fs::metadata(path).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_secs());
    let segments = fs::read_dir(p.config.journal()).into_iter().flatten().flatten().map(|f| f.path());
    let newest = segments.chain([p.config.charter()]).filter_map(|path| written(&path)).max();
    match newest {
        Some(t) if t > now + AHEAD_S => {
            let what =
                format!("it says {}, and files were written at {}", tally_clock::time(now), tally_clock::time(t));
            Test::failed(NAME, what, SET)
        }
        _ => Test::ok(NAME, format!("it says {}; nobody can be asked now", tally_clock::time(now))),
    }
}

/// Whether the deadlines of today can be counted.
pub(super) fn calendar(p: &Patient) -> Test {
    const NAME: &str = "calendar";
    let Some(charter) = p.charter.as_ref().map(SignedCharter::charter) else {
        return Test::of(NAME, Verdict::Skipped, "no charter", "");
    };
    let calendar = charter.calendar();
    let until = calendar.until().map_or_else(|| "never".to_owned(), |d| d.to_string());
    let what = format!("it covers days until {until}");
    if calendar.due(tally_clock::today(), CALENDAR_DAYS).certain {
        Test::ok(NAME, what)
    } else {
        Test::warning(NAME, what, "tally explain calendar_ends")
    }
}

/// Drop folders that cannot be used.
pub(super) fn folders(p: &Patient) -> Vec<Test> {
    const NAME: &str = "folders";
    let one = |section| {
        let path = p.config.drop_folder(section);
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => Test::ok(NAME, path.display().to_string()),
            Ok(_) => Test::failed(
                NAME,
                format!("{}: no folder, or a link to one", path.display()),
                "tally explain folder_refused",
            ),
            Err(e) => Test::failed(
                NAME,
                format!("{}: {e}", path.display()),
                "make it, or mount it; tally explain folder_refused",
            ),
        }
    };
    p.config.folders.iter().map(one).collect()
}
