//! Which files of an inbox are ready: whole, and not still being copied.

use super::{
    held::{FileState, Found},
    outcome,
    places::Places,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    io,
    time::{Duration, Instant},
};

/// Ends of names that programs use while they write.
const UNFINISHED: [&str; 5] = [".tmp", ".part", ".crdownload", ".filepart", ".swp"];

#[derive(Debug)]
pub(super) struct Inbox {
    settle: Duration,
    /// Since when each file has not changed.
    seen: BTreeMap<OsString, (FileState, Instant)>,
    /// Files with other names that were told of.
    linked: BTreeSet<OsString>,
}

impl Inbox {
    pub(super) fn new(settle: Duration) -> Self {
        Self { settle, seen: BTreeMap::new(), linked: BTreeSet::new() }
    }

    /// Moves every file that is ready to `work`.
    pub(super) fn take_ready(&mut self, places: &Places) -> io::Result<()> {
        let here = self.look(places)?;
        let now = Instant::now();
        self.seen.retain(|name, _| here.contains_key(name));
        for (name, state) in here {
            let known = self.seen.entry(name.clone()).or_insert((state, now));
            if known.0 != state {
                *known = (state, now);
            }
            let mut mark = name.clone();
            mark.push(".ok");
            let marked = places.inbox.look(&mark)?.is_some_and(|m| m != Found::Other);
            if marked || now.duration_since(known.1) >= self.settle {
                // A mark that stayed behind would call the next file of this name whole.
                if marked {
                    places.inbox.remove(&mark)?;
                }
                let moved = outcome::free_name(&places.work, &name)
                    .and_then(|target| places.inbox.rename(&name, &places.work, &target));
                if let Err(e) = moved {
                    let file = places.inbox.shown(&name);
                    tracing::warn!(event = "folder.later", ?file, reason = %e, "not taken");
                    continue;
                }
                self.seen.remove(&name);
            }
        }
        Ok(())
    }

    /// The files that may be taken once they have settled: a link might lead anywhere, and a file with other names may be
    /// somebody else's.
    fn look(&mut self, places: &Places) -> io::Result<BTreeMap<OsString, FileState>> {
        let (mut here, mut linked) = (BTreeMap::new(), BTreeSet::new());
        for name in places.inbox.names()?.into_iter().filter(|name| !is_passed_over(name)) {
            match places.inbox.look(&name)? {
                Some(Found::File(state)) => drop(here.insert(name, state)),
                Some(Found::Linked) => drop(linked.insert(name)),
                Some(Found::Other) | None => {}
            }
        }
        for name in linked.difference(&self.linked) {
            let file = places.inbox.shown(name);
            tracing::warn!(
                event = "folder.linked",
                ?file,
                "not taken: the file has other names (hard links): drop a copy"
            );
        }
        self.linked = linked;
        Ok(here)
    }
}

fn is_passed_over(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let lower = name.to_ascii_lowercase();
    name.starts_with('.')
        || name.starts_with("~$")
        || lower.ends_with(".ok")
        || UNFINISHED.iter().any(|e| lower.ends_with(e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_what_has_settled_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::open(dir.path()).unwrap();
        let (inbox, work) = (dir.path().join("inbox"), dir.path().join("work"));
        let write = |name: &str, text: &str| fs::write(inbox.join(name), text).unwrap();
        for name in ["a.csv", "b.csv.part", "~$c.xlsx", ".d.csv", "e.tmp"] {
            write(name, "1");
        }
        let secret = dir.path().join("secret");
        fs::write(&secret, "the secret").unwrap();
        std::os::unix::fs::symlink(&secret, inbox.join("link.csv")).unwrap();
        fs::hard_link(&secret, inbox.join("hard.csv")).unwrap();
        fs::create_dir(inbox.join("folder.csv")).unwrap();
        let mut patient = Inbox::new(Duration::from_secs(3_600));
        patient.take_ready(&places).unwrap();
        assert_eq!(names(&work), [""; 0], "it may still be written");
        write("a.csv", "12");
        patient.take_ready(&places).unwrap();
        std::os::unix::fs::symlink(&secret, inbox.join("a.csv.ok")).unwrap();
        patient.take_ready(&places).unwrap();
        assert_eq!(names(&work), [""; 0], "a link is no mark");
        fs::remove_file(inbox.join("a.csv.ok")).unwrap();
        write("a.csv.ok", "");
        patient.take_ready(&places).unwrap();
        assert_eq!(names(&work), ["a.csv"]);
        assert!(!inbox.join("a.csv.ok").exists());
        write("a.csv", "another of the same name");
        let mut hasty = Inbox::new(Duration::ZERO);
        hasty.take_ready(&places).unwrap();
        assert_eq!(names(&work), ["a-2.csv", "a.csv"]);
        let left = [".d.csv", "b.csv.part", "e.tmp", "folder.csv", "hard.csv", "link.csv", "~$c.xlsx"];
        assert_eq!(names(&inbox), left);
    }
}
