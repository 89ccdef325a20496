//! Writes the list's file on a thread that may block: whoever changes the list hands over its text and goes on.
//!
//! Of several texts that wait the last one is written, so the file may be a moment behind the list; after [`Saver::saved`] it
//! is not. No lock of the list is held meanwhile. What the text means is not known here.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// The file, and what is to be written to it.
#[derive(Debug)]
pub(super) struct Saver {
    path: PathBuf,
    next: Mutex<Option<Vec<u8>>>,
    /// Held by the thread that writes, so that an older text never follows a newer one.
    writing: Mutex<()>,
}

impl Saver {
    /// Of the file at `path`.
    pub(super) fn new(path: PathBuf) -> Arc<Self> {
        Arc::new(Self { path, next: Mutex::new(None), writing: Mutex::new(()) })
    }

    /// Has the text written; where there is no runtime, at once.
    pub(super) fn save(self: &Arc<Self>, text: Vec<u8>) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                let saver = self.clone();
                runtime.spawn_blocking(move || saver.write());
            }
            Err(_) => self.write(),
        }
    }

    /// Waits until what was handed over is on the disk, or has failed, which is logged.
    ///
    /// Cancel-safe: the text is written all the same.
    pub(super) async fn saved(self: &Arc<Self>) {
        let saver = self.clone();
        // It ends in an error only with the process.
        let _ = tokio::task::spawn_blocking(move || saver.write()).await;
    }

    fn write(&self) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(e)) = next.map(|text| write(&self.path, &text)) {
            tracing::warn!(event = "tasks.not_saved", reason = %e, "the list of tasks could not be saved");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a thread that may block calls it")]
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut out = fs::File::create(&new)?;
    io::Write::write_all(&mut out, text)?;
    out.sync_all()?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The folder hangs, as that of a dead disk does: whoever changes the list goes on, and the last text is the one that
    /// is there in the end.
    #[tokio::test]
    async fn a_disk_that_hangs_holds_nobody_up_and_the_last_text_counts() {
        let dir = tempfile::tempdir().unwrap();
        let saver = Saver::new(dir.path().join("tasks.json"));
        let hangs = saver.writing.lock().unwrap();
        for n in 0..20_u8 {
            saver.save(vec![n]);
        }
        assert!(!dir.path().join("tasks.json").exists(), "nothing waited for the disk");
        drop(hangs);
        saver.saved().await;
        assert_eq!(fs::read(dir.path().join("tasks.json")).unwrap(), [19]);
    }
}
