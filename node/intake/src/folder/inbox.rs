//! Which files of an inbox are ready: whole, and not still being copied.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

/// Ends of names that programs use while they write.
const UNFINISHED: [&str; 5] = [".tmp", ".part", ".crdownload", ".filepart", ".swp"];

#[derive(Debug)]
pub(super) struct Inbox {
    path: PathBuf,
    work: PathBuf,
    settle: Duration,
    /// Since when each file has not changed.
    seen: BTreeMap<OsString, (u64, Option<SystemTime>, Instant)>,
}

impl Inbox {
    pub(super) fn new(folder: &Path, settle: Duration) -> Self {
        Self { path: folder.join("inbox"), work: folder.join("work"), settle, seen: BTreeMap::new() }
    }

    /// Moves every file that is ready to `work`.
    pub(super) fn take_ready(&mut self) -> io::Result<()> {
        let mut here = BTreeMap::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            // A link might lead anywhere.
            let meta = fs::symlink_metadata(entry.path());
            if is_passed_over(&name.to_string_lossy()) || !meta.as_ref().is_ok_and(fs::Metadata::is_file) {
                continue;
            }
            if let Ok(meta) = meta {
                here.insert(name, (meta.len(), meta.modified().ok()));
            }
        }
        let now = Instant::now();
        self.seen.retain(|name, _| here.contains_key(name));
        for (name, (size, time)) in here {
            let known = self.seen.entry(name.clone()).or_insert((size, time, now));
            if (known.0, known.1) != (size, time) {
                *known = (size, time, now);
            }
            let mark = self.path.join({
                let mut mark = name.clone();
                mark.push(".ok");
                mark
            });
            let marked = mark.is_file();
            if marked || now.duration_since(known.2) >= self.settle {
                // A mark that stayed behind would call the next file of this name whole.
                if marked {
                    fs::remove_file(mark)?;
                }
                let target = super::outcome::free_name(&self.work, Path::new(&name));
                if let Err(e) = fs::rename(self.path.join(&name), target) {
                    let file = self.path.join(&name);
                    tracing::warn!(event = "folder.later", file = %file.display(), reason = %e, "not taken");
                    continue;
                }
                self.seen.remove(&name);
            }
        }
        Ok(())
    }
}

fn is_passed_over(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    name.starts_with('.')
        || name.starts_with("~$")
        || lower.ends_with(".ok")
        || UNFINISHED.iter().any(|e| lower.ends_with(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_what_has_settled_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (inbox, work) = (dir.path().join("inbox"), dir.path().join("work"));
        fs::create_dir_all(&inbox).unwrap();
        fs::create_dir_all(&work).unwrap();
        let write = |name: &str, text: &str| fs::write(inbox.join(name), text).unwrap();
        for name in ["a.csv", "b.csv.part", "~$c.xlsx", ".d.csv", "e.tmp"] {
            write(name, "1");
        }
        std::os::unix::fs::symlink("/etc/passwd", inbox.join("link.csv")).unwrap();
        fs::create_dir(inbox.join("folder.csv")).unwrap();
        let mut patient = Inbox::new(dir.path(), Duration::from_secs(3_600));
        patient.take_ready().unwrap();
        assert_eq!(names(&work), [""; 0], "it may still be written");
        write("a.csv", "12");
        patient.take_ready().unwrap();
        write("a.csv.ok", "");
        patient.take_ready().unwrap();
        assert_eq!(names(&work), ["a.csv"]);
        assert!(!inbox.join("a.csv.ok").exists());
        write("a.csv", "another of the same name");
        let mut hasty = Inbox::new(dir.path(), Duration::ZERO);
        hasty.take_ready().unwrap();
        assert_eq!(names(&work), ["a-2.csv", "a.csv"]);
        assert_eq!(names(&inbox), [".d.csv", "b.csv.part", "e.tmp", "folder.csv", "link.csv", "~$c.xlsx"]);
    }
}
