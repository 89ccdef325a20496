//! Operational state: small, rewritten often, and such that losing the last moments or all of it does no harm. What was lost shows
//! as unknown; what must not be lost stands in the journal or in a file of its own.
//!
//! The only file that knows sled. Each kind of state has a shelf of its own. A store that does not open, or that a power cut may
//! have bent, is set aside, and begins anew. What stands on a shelf is not known here.

use crate::left;
use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Cache in bytes: the state is some megabytes at most.
const CACHE_BYTES: u64 = 4 << 20;
/// The engine writes out by itself this often, in milliseconds.
const FLUSH_EVERY_MS: u64 = 2_000;
/// Changes when something on a shelf changes its form; state of another form is begun anew.
const FORMAT: u32 = 1;
/// The engine's folder.
const FOLDER: &str = "sled";
/// After a start in the same process the engine may hold its own lock a moment longer.
const LOCKED_TRIES: u32 = 10;
const LOCKED_PAUSE: Duration = Duration::from_millis(200);

/// The store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OperationalState {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    db: sled::Db,
    dir: PathBuf,
}

/// One kind of state: values by key, in the order of the keys.
#[derive(Debug, Clone)]
pub struct StateShelf {
    tree: sled::Tree,
}

/// Keys with their values, in the order of the keys.
pub type StatePairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Why the state cannot be kept: in the engine's words.
#[derive(Debug, thiserror::Error)]
#[error("data/state: {0}")]
pub struct StateError(String);

/// Why the engine did not open.
enum NotOpened {
    /// The system refused, which says nothing about what is there.
    System(io::Error),
    /// What is there cannot be opened.
    Content(String),
}

impl From<io::Error> for StateError {
    fn from(e: io::Error) -> Self {
        Self(e.to_string())
    }
}

impl From<sled::Error> for StateError {
    fn from(e: sled::Error) -> Self {
        Self(e.to_string())
    }
}

impl OperationalState {
    /// Opens the state in `dir`, made if missing. What cannot be trusted or opened is set aside beside it, with a warning in
    /// the log.
    ///
    /// # Errors
    /// [`StateError`], if the system refuses, as for want of room; what is there stays as it is.
    pub fn open(dir: &Path) -> Result<Self, StateError> {
        let why = match left::distrust(dir, FORMAT)? {
            Some(why) => why,
            None => match opened(dir) {
                Ok(db) => return Ok(Self::of(db, dir)),
                Err(NotOpened::System(e)) => return Err(e.into()),
                Err(NotOpened::Content(why)) => why,
            },
        };
        let aside = set_aside(dir)?;
        tracing::warn!(event = "state.anew", reason = %why, aside = ?aside,
            "the list of tasks and what else is only of use while the node runs begins anew; no record is concerned");
        match opened(dir) {
            Ok(db) => Ok(Self::of(db, dir)),
            Err(NotOpened::System(e)) => Err(e.into()),
            Err(NotOpened::Content(why)) => Err(StateError(why)),
        }
    }

    fn of(db: sled::Db, dir: &Path) -> Self {
        Self { inner: Arc::new(Inner { db, dir: dir.to_owned() }) }
    }

    /// The shelf of this name, made if missing.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn shelf(&self, name: &str) -> Result<StateShelf, StateError> {
        guarded(|| Ok(StateShelf { tree: self.inner.db.open_tree(name)? }))
    }

    /// The node stops: what is on the shelves is trusted at the next start, also if the machine is started anew before.
    pub fn close(&self) {
        let closed = guarded(|| Ok(self.inner.db.flush()?));
        let marked = closed.and_then(|_| Ok(left::mark(&self.inner.dir, FORMAT, true)?));
        if let Err(reason) = marked {
            tracing::warn!(event = "state.marker", %reason, "operational state begins anew if the machine is started anew");
        }
    }
}

impl StateShelf {
    /// All that is on it.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn all(&self) -> Result<StatePairs, StateError> {
        let pairs = || self.tree.iter().map(|pair| pair.map(|(k, v)| (k.to_vec(), v.to_vec())));
        guarded(|| Ok(pairs().collect::<Result<_, sled::Error>>()?))
    }

    /// Puts values in, or takes them away, all together; on the disk when this returns. Blocking.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn change(&self, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), StateError> {
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        guarded(|| {
            self.tree.apply_batch(batch)?;
            self.tree.flush()?;
            Ok(())
        })
    }
}

/// Damage makes the engine panic in some places: that ends nothing but what was asked.
fn guarded<T>(work: impl FnOnce() -> Result<T, StateError>) -> Result<T, StateError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(StateError("the engine panicked".to_owned())))
}

/// Opens the engine, and reads all of it once: some megabytes, of which nothing is trusted that cannot be read.
fn opened(dir: &Path) -> Result<sled::Db, NotOpened> {
    fs::create_dir_all(dir).and_then(|()| left::mark(dir, FORMAT, false)).map_err(of_system)?;
    let folder = dir.join(FOLDER);
    let mut left = LOCKED_TRIES;
    loop {
        match catch_unwind(AssertUnwindSafe(|| open_engine(&folder))) {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(e)) if left > 0 && is_locked(&e) => {
                left -= 1;
                std::thread::sleep(LOCKED_PAUSE);
            }
            Ok(Err(sled::Error::Io(e))) => return Err(of_system(e)),
            Ok(Err(e)) => return Err(NotOpened::Content(e.to_string())),
            Err(_) => return Err(NotOpened::Content("the engine panicked while it opened".to_owned())),
        }
    }
}

/// What the system said: that something else stands there than should, or that it cannot do now what it was asked to.
fn of_system(e: io::Error) -> NotOpened {
    use io::ErrorKind as Kind;
    match e.kind() {
        Kind::AlreadyExists
        | Kind::IsADirectory
        | Kind::NotADirectory
        | Kind::InvalidData
        | Kind::UnexpectedEof
        | Kind::Other => NotOpened::Content(e.to_string()),
        _ => NotOpened::System(e),
    }
}

fn open_engine(folder: &Path) -> sled::Result<sled::Db> {
    fs::create_dir_all(folder)?;
    // A kill while sled was opening leaves a half-written snapshot that makes the next open fail.
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.file_name().to_string_lossy().ends_with(".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    let config = sled::Config::new().path(folder).cache_capacity(CACHE_BYTES).flush_every_ms(Some(FLUSH_EVERY_MS));
    let db = config.open()?;
    for name in db.tree_names() {
        db.open_tree(name)?.iter().try_for_each(|pair| pair.map(drop))?;
    }
    Ok(db)
}

/// Whether another process or engine holds sled's lock: sled itself says so only in words.
fn is_locked(e: &sled::Error) -> bool {
    matches!(e, sled::Error::Io(io) if io.to_string().contains("could not acquire lock"))
}

/// Moves what is there out of the way, and answers where to.
fn set_aside(dir: &Path) -> io::Result<Option<PathBuf>> {
    if fs::symlink_metadata(dir).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
        return Ok(None);
    }
    // One is enough to look at; the one before it goes.
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(".aside");
    let place = dir.with_file_name(name);
    match fs::symlink_metadata(&place) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(&place)?,
        Ok(_) => fs::remove_file(&place)?,
        Err(_) => {}
    }
    fs::rename(dir, &place)?;
    Ok(Some(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(k: &str, v: &str) -> (Vec<u8>, Vec<u8>) {
        (k.into(), v.into())
    }

    fn put(shelf: &StateShelf, k: &str, v: Option<&str>) {
        shelf.change(vec![(k.into(), v.map(Into::into))]).unwrap();
    }

    #[test]
    fn what_is_on_a_shelf_is_there_after_a_kill_and_after_a_stop() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("state");
        let state = OperationalState::open(&dir).unwrap();
        let (a, b) = (state.shelf("a").unwrap(), state.shelf("b").unwrap());
        put(&a, "2", Some("two"));
        put(&a, "1", Some("one"));
        put(&b, "1", Some("other"));
        put(&a, "2", None);
        // Without a word, as a kill does it.
        drop((state, a, b));
        let state = OperationalState::open(&dir).unwrap();
        assert_eq!(state.shelf("a").unwrap().all().unwrap(), [pair("1", "one")]);
        assert_eq!(state.shelf("b").unwrap().all().unwrap(), [pair("1", "other")]);
        state.close();
        drop(state);
        assert_eq!(OperationalState::open(&dir).unwrap().shelf("b").unwrap().all().unwrap().len(), 1);
    }

    /// Bytes of the engine's files that are wrong: it is there, or begins anew, and can be worked with.
    #[test]
    fn damage_ends_nothing() {
        for seed in 0..12_u64 {
            let parent = tempfile::tempdir().unwrap();
            let dir = parent.path().join("state");
            let state = OperationalState::open(&dir).unwrap();
            let shelf = state.shelf("a").unwrap();
            (0..200_u32).for_each(|n| put(&shelf, &n.to_string(), Some(&"v".repeat(n as usize))));
            state.close();
            drop((state, shelf));
            for file in fs::read_dir(dir.join(FOLDER)).unwrap().map(|f| f.unwrap().path()).filter(|p| p.is_file()) {
                let mut bytes = fs::read(&file).unwrap();
                let length = bytes.len() as u64;
                for n in 0..8 {
                    if let Some(byte) =
                        bytes.get_mut((seed * 7_919 + n * 104_729).checked_rem(length).unwrap_or(0) as usize)
                    {
                        *byte ^= 0x55;
                    }
                }
                fs::write(&file, bytes).unwrap();
            }
            let state = OperationalState::open(&dir).unwrap();
            let shelf = state.shelf("a").unwrap();
            put(&shelf, "new", Some("n"));
            assert!(shelf.all().unwrap().contains(&pair("new", "n")), "{seed}");
        }
    }

    #[test]
    fn what_cannot_be_trusted_is_set_aside() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("state");
        let anew = |spoil: &dyn Fn()| {
            let state = OperationalState::open(&dir).unwrap();
            put(&state.shelf("a").unwrap(), "1", Some("one"));
            state.close();
            drop(state);
            spoil();
            let state = OperationalState::open(&dir).unwrap();
            assert!(state.shelf("a").unwrap().all().unwrap().is_empty());
            assert!(parent.path().join("state.aside").exists());
        };
        // A power cut; garbage in the engine's place; another form; a file where the folder should be.
        anew(&|| left::mark_of_another_boot(&dir, FORMAT));
        anew(&|| {
            fs::remove_dir_all(dir.join(FOLDER)).unwrap();
            fs::create_dir_all(dir.join(FOLDER).join("db")).unwrap();
        });
        anew(&|| left::mark(&dir, FORMAT + 1, true).unwrap());
        anew(&|| {
            fs::remove_dir_all(&dir).unwrap();
            fs::write(&dir, "a file").unwrap();
        });
    }
}
