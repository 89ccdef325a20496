//! Opening the index, or beginning it anew, at the start and whenever it failed.
//!
//! An open that succeeds proves nothing: what was flushed may be lost after a power cut. So an index is trusted
//! only after a clean stop, or when the machine has not rebooted since; its counts must be those of the journal; and
//! whatever is damaged or panics is removed and rebuilt. What the system refuses (room, descriptors, a device's error that
//! passes) is no damage: it is tried again. It must not touch the journal, which is what everything is rebuilt from, nor
//! remove what is not an index.

use super::{
    Engine,
    engine::EngineError,
    entry::{STATE_KEY, State},
    fjall_engine::Fjall,
    shared::SharedEngine,
};
use crate::left;
use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The engine's folder.
const FOLDER: &str = "fjall";

/// An engine goes on with this: what it writes at once, and what it merges meanwhile.
const ROOM_BYTES: u64 = 128 << 20;

/// Changes when the entries change their form; an index of another form is rebuilt.
const FORMAT: u32 = 10;

/// The index of a node.
#[derive(Debug)]
pub struct OpenedIndex {
    /// The engine, or none while it is being brought back.
    pub engine: Arc<dyn Engine>,
    /// Why it starts empty, if something was there that could not be trusted.
    pub rebuilt: Option<String>,
    /// Why it could not be opened; it will be tried again.
    pub trouble: Option<EngineError>,
    pub(super) state: State,
    pub(super) shared: Arc<SharedEngine>,
    dir: PathBuf,
}

/// What an open found.
struct Found {
    state: State,
    rebuilt: Option<String>,
}

/// Opens the index in `dir`. `agrees` judges its counts by the journal: the records of each log up to its cursor. If it
/// cannot be opened now, nor begun anew, it says so in `trouble`.
pub fn open(dir: &Path, agrees: impl Fn(&IndexCounts<'_>) -> bool) -> OpenedIndex {
    let shared = Arc::new(SharedEngine::default());
    let mut index = OpenedIndex {
        engine: shared.clone(),
        rebuilt: None,
        trouble: None,
        state: State::default(),
        shared,
        dir: dir.to_owned(),
    };
    if let Err(e) = index.bring_back(false, agrees) {
        index.trouble = Some(e);
    }
    index
}

/// After a start in the same process, or a panic, an engine may hold its own lock a moment longer.
fn open_with_retry(dir: &Path) -> Result<(Arc<dyn Engine>, State), EngineError> {
    let mut left = 10;
    loop {
        match try_open(dir) {
            Err(EngineError::Locked) if left > 0 => {
                left -= 1;
                std::thread::sleep(Duration::from_millis(200));
            }
            done => return done,
        }
    }
}

/// Removes an index. What else lies in its place is set aside beside it, and its new place is the answer.
fn clear(dir: &Path) -> io::Result<Option<PathBuf>> {
    let ours = |name: &str| name == FOLDER || left::FILES.contains(&name);
    let kind = match fs::symlink_metadata(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found?.file_type(),
    };
    let mut foreign = !kind.is_dir();
    if kind.is_dir() {
        for entry in fs::read_dir(dir)? {
            let (entry, is_ours) = entry.map(|e| (e.path(), e.file_name().to_str().is_some_and(ours)))?;
            let done = match is_ours {
                false => {
                    foreign = true;
                    Ok(())
                }
                true if fs::symlink_metadata(&entry)?.is_dir() => fs::remove_dir_all(&entry),
                true => fs::remove_file(&entry),
            };
            done.or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })?;
        }
    }
    if !foreign {
        return Ok(None);
    }
    let mut place = dir.to_owned();
    for n in 1_u32.. {
        let mut name = dir.file_name().unwrap_or_default().to_owned();
        name.push(format!(".aside-{n}"));
        place = dir.with_file_name(name);
        if fs::symlink_metadata(&place).is_err() {
            break;
        }
    }
    fs::rename(dir, &place)?;
    Ok(Some(place))
}

fn try_open(dir: &Path) -> Result<(Arc<dyn Engine>, State), EngineError> {
    fs::create_dir_all(dir)?;
    left::mark(dir, FORMAT, false)?;
    let folder = dir.join(FOLDER);
    let open = catch_unwind(AssertUnwindSafe(|| {
        let engine: Arc<dyn Engine> = Arc::new(Fjall::open(&folder)?);
        let state = engine.get(STATE_KEY)?;
        Ok::<_, EngineError>((engine, state))
    }));
    let (engine, state) = open.map_err(|_| EngineError::Panicked(FOLDER))??;
    let state = match state {
        Some(bytes) => State::decode(&bytes)?,
        None => State::default(),
    };
    Ok((engine, state))
}

impl OpenedIndex {
    /// Opens it, also once more after it failed: as it is, if it can be trusted and `anew` does not say otherwise; else it
    /// begins anew. Blocking.
    ///
    /// # Errors
    /// The engine's or the system's; then there is no engine, and what was there is as it was if that may pass.
    pub(super) fn bring_back(
        &mut self,
        anew: bool,
        agrees: impl Fn(&IndexCounts<'_>) -> bool,
    ) -> Result<(), EngineError> {
        self.shared.take_away()?;
        let Found { state, rebuilt } = self.opened(anew, agrees)?;
        (self.state, self.rebuilt, self.trouble) = (state, rebuilt, None);
        Ok(())
    }

    fn opened(&self, anew: bool, agrees: impl Fn(&IndexCounts<'_>) -> bool) -> Result<Found, EngineError> {
        let mut why = left::distrust(&self.dir, FORMAT)?.or_else(|| anew.then(|| "it failed".to_owned()));
        if why.is_none() {
            match open_with_retry(&self.dir) {
                Ok((engine, state)) if agrees(&IndexCounts { state: &state, engine: &*engine }) => {
                    self.shared.put(engine);
                    return Ok(Found { state, rebuilt: None });
                }
                Ok(_) => why = Some("its counts are not those of the journal".into()),
                Err(e) if e.may_pass() => return Err(e),
                Err(e) => why = Some(e.reason()),
            }
        }
        if let Some(place) = clear(&self.dir)? {
            tracing::warn!(event = "index.aside", place = ?place, "what lay in the index's place is not this program's: it was set aside");
        }
        // After a panic the engine may hold its own lock a moment longer.
        let (engine, state) = open_with_retry(&self.dir)?;
        self.shared.put(engine);
        Ok(Found { state, rebuilt: why })
    }

    /// A way to mark the index as cleanly left, or, if it was not, as one to be rebuilt: at once, so that a stop that comes
    /// late does not forget it.
    pub fn closer(&self) -> impl Fn(bool) + Send + Sync + 'static {
        let (engine, dir) = (self.engine.clone(), self.dir.clone());
        move |sound| {
            if !sound {
                let _ = left::unmark(&dir);
            } else if engine.flush().is_ok()
                && let Err(e) = left::mark(&dir, FORMAT, true)
            {
                tracing::warn!(event = "index.marker", reason = %e, "the index will be rebuilt after a reboot");
            }
        }
    }

    /// Whether nothing is in it, for certain: of one that could not be opened yet nobody knows.
    pub fn is_empty(&self) -> bool {
        self.trouble.is_none() && self.state == State::default()
    }

    /// Whether its disk has less room than an engine needs to go on: one that stopped does not say why.
    pub(super) fn lacks_room(&self) -> bool {
        rustix::fs::statvfs(&self.dir).is_ok_and(|v| v.f_bavail.saturating_mul(v.f_frsize) < ROOM_BYTES)
    }
}

/// What an index says to hold.
#[derive(Debug)]
pub struct IndexCounts<'a> {
    pub(super) state: &'a State,
    pub(super) engine: &'a dyn Engine,
}

impl IndexCounts<'_> {
    /// End of what is in.
    pub fn cursor(&self) -> tally_core::Place {
        tally_core::Place(self.state.place)
    }

    /// Records of the batch at the cursor that are in, too.
    pub fn done(&self) -> u64 {
        self.state.done.into()
    }

    /// What it holds, for whoever needs to know before it is removed.
    pub fn engine(&self) -> &dyn Engine {
        self.engine
    }

    /// Records of a log.
    pub fn of(&self, log: tally_protocol::ids::LogId) -> u64 {
        self.state.logs.get(&log).copied().unwrap_or(0)
    }

    /// Logs that it knows.
    pub fn logs(&self) -> impl Iterator<Item = tally_protocol::ids::LogId> {
        self.state.logs.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(dir: &Path) -> OpenedIndex {
        let opened = open(dir, |_| true);
        assert!(opened.trouble.is_none(), "{opened:?}");
        opened
    }

    #[test]
    fn what_cannot_be_trusted_is_rebuilt() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("index");
        let first = again(&dir);
        assert!(first.rebuilt.is_none() && first.is_empty());
        let state = State { place: 99, distinct: 5, ..State::default() };
        first.engine.write(vec![(STATE_KEY.to_vec(), state.encode())]).unwrap();
        first.closer()(true);
        drop(first);
        std::thread::sleep(Duration::from_millis(300));
        let kept = again(&dir);
        assert_eq!((kept.rebuilt.as_deref(), &kept.state), (None, &state));
        drop(kept);
        std::thread::sleep(Duration::from_millis(300));
        // As after a power cut: not clean, and another boot.
        left::mark_of_another_boot(&dir, FORMAT);
        let rebuilt = again(&dir);
        assert!(rebuilt.rebuilt.is_some() && rebuilt.is_empty(), "{rebuilt:?}");
        drop(rebuilt);
        std::thread::sleep(Duration::from_millis(300));
        let refused = open(&dir, |_| false);
        assert!(refused.rebuilt.unwrap().contains("counts"));
    }

    #[test]
    fn an_index_that_failed_is_rebuilt_even_after_a_clean_stop() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("index");
        again(&dir).closer()(false);
        std::thread::sleep(Duration::from_millis(300));
        assert!(again(&dir).rebuilt.is_some());
    }

    #[test]
    fn garbage_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("index");
        again(&dir).closer()(true);
        std::thread::sleep(Duration::from_millis(300));
        fs::remove_dir_all(dir.join("fjall/keyspaces")).unwrap();
        fs::write(dir.join("fjall/keyspaces"), "no folder").unwrap();
        assert!(again(&dir).rebuilt.is_some());
    }

    #[test]
    fn what_is_not_an_index_is_set_aside_and_never_removed() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("index");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("thesis.txt"), "the only copy").unwrap();
        assert!(again(&dir).rebuilt.is_some());
        assert_eq!(fs::read_to_string(parent.path().join("index.aside-1/thesis.txt")).unwrap(), "the only copy");
        // Also beside an index that cannot be trusted, and in place of the folder.
        fs::write(dir.join("notes.txt"), "mine").unwrap();
        fs::write(dir.join(left::FILES[0]), "no marker").unwrap();
        assert!(again(&dir).rebuilt.is_some());
        assert_eq!(fs::read_to_string(parent.path().join("index.aside-2/notes.txt")).unwrap(), "mine");
        assert!(!parent.path().join("index.aside-2/fjall").exists());
        let other = parent.path().join("other");
        fs::write(&other, "a file").unwrap();
        assert!(again(&other).rebuilt.is_some());
        assert_eq!(fs::read_to_string(parent.path().join("other.aside-1")).unwrap(), "a file");
    }

    #[test]
    fn what_the_system_refuses_is_no_damage() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("index");
        let first = again(&dir);
        let state = State { place: 99, distinct: 5, ..State::default() };
        first.engine.write(vec![(STATE_KEY.to_vec(), state.encode())]).unwrap();
        first.closer()(true);
        drop(first);
        std::thread::sleep(Duration::from_millis(300));
        // The marker cannot be written, as without room: the system goes round in a circle.
        std::os::unix::fs::symlink("marker.new", dir.join("marker.new")).unwrap();
        let mut refused = open(&dir, |_| true);
        assert!(refused.trouble.is_some() && matches!(refused.engine.get(b"x"), Err(EngineError::Away)));
        fs::remove_file(dir.join("marker.new")).unwrap();
        refused.bring_back(false, |_| true).unwrap();
        assert_eq!((refused.rebuilt.as_deref(), &refused.state), (None, &state), "it goes on as it was");
        assert!(refused.engine.get(STATE_KEY).unwrap().is_some());
        refused.bring_back(true, |_| true).unwrap();
        assert!(refused.rebuilt.is_some() && refused.engine.get(STATE_KEY).unwrap().is_none());
    }
}
