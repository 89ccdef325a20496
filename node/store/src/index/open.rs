//! Opening the index, or removing it so that it is built anew.
//!
//! An open that succeeds proves nothing: sled has lost flushed entries silently after power cuts. So an index is trusted
//! only after a clean stop, or when the machine has not rebooted since; its counts must be those of the journal; and
//! whatever fails or panics is removed and rebuilt. It must not touch the journal, which is what everything is rebuilt from.

use super::{
    Engine,
    engine::EngineError,
    entry::{STATE_KEY, State},
    fjall_engine::Fjall,
    sled_engine::Sled,
};
use crate::index::EngineName;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Beside the engine's folder: who wrote it, and how it was left.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Marker {
    format: u32,
    engine: String,
    boot: String,
    clean: bool,
}

/// Changes when the entries change their form; an index of another form is rebuilt.
const FORMAT: u32 = 6;

/// An open index.
#[derive(Debug)]
pub struct OpenedIndex {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// Why it starts empty, if something was there that could not be trusted.
    pub rebuilt: Option<String>,
    pub(super) state: State,
    dir: PathBuf,
    name: EngineName,
}

/// Opens an engine in `dir`, made if missing. May panic inside the engine: the caller catches.
pub(super) fn open_engine(name: EngineName, dir: &Path) -> Result<Arc<dyn Engine>, EngineError> {
    Ok(match name {
        EngineName::Sled => Arc::new(Sled::open(dir)?),
        EngineName::Fjall => Arc::new(Fjall::open(dir)?),
    })
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn marker_path(dir: &Path) -> PathBuf {
    dir.join("marker.json")
}

fn write_marker(dir: &Path, name: EngineName, clean: bool) -> io::Result<()> {
    let marker = Marker { format: FORMAT, engine: name.name().into(), boot: boot_id(), clean };
    let text = serde_json::to_string(&marker).map_err(io::Error::other)?;
    let new = dir.join("marker.new");
    let mut file = fs::File::create(&new)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    file.sync_all()?;
    fs::rename(new, marker_path(dir))?;
    fs::File::open(dir)?.sync_all()
}

/// Why an index that is there cannot be trusted; `None` if it can be, or nothing is there.
fn distrust(dir: &Path, name: EngineName) -> Option<String> {
    if !dir.join(name.name()).exists() && !marker_path(dir).exists() {
        return fs::read_dir(dir).ok()?.next().map(|_| "it is not this program's".to_owned());
    }
    let Ok(text) = fs::read_to_string(marker_path(dir)) else {
        return Some("its marker is missing".into());
    };
    let Ok(marker) = serde_json::from_str::<Marker>(&text) else {
        return Some("its marker cannot be read".into());
    };
    if marker.format != FORMAT {
        return Some("it has another form".into());
    }
    if marker.engine != name.name() {
        return Some(format!("it was kept by {}", marker.engine));
    }
    let same_boot = !marker.boot.is_empty() && marker.boot == boot_id();
    (!marker.clean && !same_boot).then(|| "the machine stopped while it was in use".into())
}

/// Opens the index in `dir`. `agrees` judges its counts by the journal: the records of each log up to its cursor.
///
/// # Errors
/// Only when even an empty index cannot be made.
pub fn open(
    dir: &Path,
    name: EngineName,
    agrees: impl Fn(&IndexCounts<'_>) -> bool,
) -> Result<OpenedIndex, EngineError> {
    let mut rebuilt = distrust(dir, name);
    if rebuilt.is_none() {
        match open_with_retry(dir, name) {
            Ok(opened) if agrees(&IndexCounts(&opened.state)) => return Ok(opened),
            Ok(_) => rebuilt = Some("its counts are not those of the journal".into()),
            Err(why) => rebuilt = Some(why.reason()),
        }
    }
    clear(dir)?;
    let opened = try_open(dir, name).or_else(|_| {
        // After a panic the engine may hold its own lock a moment longer.
        std::thread::sleep(Duration::from_millis(300));
        clear(dir)?;
        try_open(dir, name)
    })?;
    Ok(OpenedIndex { rebuilt, ..opened })
}

/// After a start in the same process, or a panic, an engine may hold its own lock a moment longer.
fn open_with_retry(dir: &Path, name: EngineName) -> Result<OpenedIndex, EngineError> {
    let mut left = 10;
    loop {
        match try_open(dir, name) {
            Err(EngineError::Locked) if left > 0 => {
                left -= 1;
                std::thread::sleep(Duration::from_millis(200));
            }
            done => return done,
        }
    }
}

fn clear(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn try_open(dir: &Path, name: EngineName) -> Result<OpenedIndex, EngineError> {
    fs::create_dir_all(dir)?;
    write_marker(dir, name, false)?;
    let folder = dir.join(name.name());
    let open = catch_unwind(AssertUnwindSafe(|| {
        let engine = open_engine(name, &folder)?;
        let state = engine.get(STATE_KEY)?;
        Ok::<_, EngineError>((engine, state))
    }));
    let (engine, state) = open.map_err(|_| EngineError::Panicked(name.name()))??;
    let state = match state {
        Some(bytes) => State::decode(&bytes)?,
        None => State::default(),
    };
    Ok(OpenedIndex { engine, rebuilt: None, state, dir: dir.to_owned(), name })
}

impl OpenedIndex {
    /// A way to mark the index as cleanly left, or, if it was not, as one to be rebuilt: at once, so that a stop that comes
    /// late does not forget it.
    pub fn closer(&self) -> impl Fn(bool) + Send + Sync + 'static {
        let (engine, dir, name) = (self.engine.clone(), self.dir.clone(), self.name);
        move |sound| {
            if !sound {
                let _ = fs::remove_file(marker_path(&dir));
            } else if engine.flush().is_ok()
                && let Err(e) = write_marker(&dir, name, true)
            {
                tracing::warn!(event = "index.marker", reason = %e, "the index will be rebuilt after a reboot");
            }
        }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.state == State::default()
    }
}

/// What an index says to hold.
#[derive(Debug)]
pub struct IndexCounts<'a>(&'a State);

impl IndexCounts<'_> {
    /// End of what is in.
    pub fn cursor(&self) -> tally_core::Place {
        tally_core::Place(self.0.place)
    }

    /// Records of the batch at the cursor that are in, too.
    pub fn done(&self) -> u64 {
        self.0.done.into()
    }

    /// Records of a log.
    pub fn of(&self, log: tally_protocol::ids::LogId) -> u64 {
        self.0.logs.get(&log).copied().unwrap_or(0)
    }

    /// Logs that it knows.
    pub fn logs(&self) -> impl Iterator<Item = tally_protocol::ids::LogId> {
        self.0.logs.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(dir: &Path, name: EngineName) -> OpenedIndex {
        open(dir, name, |_| true).unwrap()
    }

    #[test]
    fn what_cannot_be_trusted_is_rebuilt() {
        for name in [EngineName::Sled, EngineName::Fjall] {
            let dir = tempfile::tempdir().unwrap();
            let dir = dir.path().join("index");
            let first = again(&dir, name);
            assert!(first.rebuilt.is_none() && first.is_empty());
            let state = State { place: 99, distinct: 5, ..State::default() };
            first.engine.write(vec![(STATE_KEY.to_vec(), state.encode())]).unwrap();
            first.closer()(true);
            drop(first);
            std::thread::sleep(Duration::from_millis(300));
            let kept = again(&dir, name);
            assert_eq!((kept.rebuilt.as_deref(), &kept.state), (None, &state));
            drop(kept);
            std::thread::sleep(Duration::from_millis(300));
            // As after a power cut: not clean, and another boot.
            let marker = Marker { format: FORMAT, engine: name.name().into(), boot: "other".into(), clean: false };
            fs::write(marker_path(&dir), serde_json::to_string(&marker).unwrap()).unwrap();
            let rebuilt = again(&dir, name);
            assert!(rebuilt.rebuilt.is_some() && rebuilt.is_empty(), "{rebuilt:?}");
            drop(rebuilt);
            std::thread::sleep(Duration::from_millis(300));
            let refused = open(&dir, name, |_| false).unwrap();
            assert!(refused.rebuilt.unwrap().contains("counts"));
        }
    }

    #[test]
    fn an_index_that_failed_is_rebuilt_even_after_a_clean_stop() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("index");
        again(&dir, EngineName::Fjall).closer()(false);
        std::thread::sleep(Duration::from_millis(300));
        assert!(again(&dir, EngineName::Fjall).rebuilt.is_some());
    }

    #[test]
    fn garbage_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("index");
        again(&dir, EngineName::Sled).closer()(true);
        std::thread::sleep(Duration::from_millis(300));
        fs::remove_file(dir.join("sled/db")).unwrap();
        fs::create_dir(dir.join("sled/db")).unwrap();
        assert!(again(&dir, EngineName::Sled).rebuilt.is_some());
    }
}
