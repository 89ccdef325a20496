//! Keeps the list on its shelf on a thread that may block: whoever changes the list hands over how it stands and goes on.
//!
//! Of several lists that wait the last one is kept, so the shelf may be a moment behind; after [`Saver::saved`] it is not. Only
//! what has changed since is written. No lock of the list is held meanwhile. What an entry means is not known here.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tally_store::operational::StateShelf;

/// Entries by key.
pub(super) type KeptEntries = BTreeMap<Vec<u8>, Vec<u8>>;

/// The shelf, and what is to stand on it.
#[derive(Debug)]
pub(super) struct Saver {
    /// `None`: it cannot be kept, and lives as long as the process.
    shelf: Option<StateShelf>,
    next: Mutex<Option<KeptEntries>>,
    /// What stands there, by its hash. Held by the thread that writes, so that an older list never follows a newer one.
    kept: Mutex<BTreeMap<Vec<u8>, blake3::Hash>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Saver {
    /// On this shelf; also what stands there. A shelf that cannot be read is not written either.
    pub(super) fn open(shelf: Option<StateShelf>) -> (Arc<Self>, KeptEntries) {
        let (shelf, all) = match shelf.as_ref().map(StateShelf::all) {
            Some(Ok(all)) => (shelf, all),
            Some(Err(e)) => {
                tracing::warn!(event = "tasks.unreadable", reason = %e, "the list of tasks cannot be read, and is not kept");
                (None, Vec::new())
            }
            None => (None, Vec::new()),
        };
        let list: KeptEntries = all.into_iter().collect();
        let kept = list.iter().map(|(key, value)| (key.clone(), blake3::hash(value))).collect();
        (Arc::new(Self { shelf, next: Mutex::new(None), kept: Mutex::new(kept) }), list)
    }

    /// Has the list kept as it stands; where there is no runtime, at once.
    pub(super) fn save(self: &Arc<Self>, list: KeptEntries) {
        *lock(&self.next) = Some(list);
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
    /// Cancel-safe: the list is kept all the same.
    pub(super) async fn saved(self: &Arc<Self>) {
        let saver = self.clone();
        // It ends in an error only with the process.
        let _ = tokio::task::spawn_blocking(move || saver.write()).await;
    }

    fn write(&self) {
        let mut kept = lock(&self.kept);
        let Some((shelf, next)) = self.shelf.as_ref().zip(lock(&self.next).take()) else { return };
        let hashes: BTreeMap<_, _> = next.iter().map(|(key, value)| (key.clone(), blake3::hash(value))).collect();
        let gone = kept.keys().filter(|key| !hashes.contains_key(*key)).map(|key| (key.clone(), None));
        let mut changes: Vec<_> = gone.collect();
        let news = |(key, _): &(Vec<u8>, Vec<u8>)| kept.get(key) != hashes.get(key);
        changes.extend(next.into_iter().filter(news).map(|(key, value)| (key, Some(value))));
        if changes.is_empty() {
            return;
        }
        match shelf.change(changes) {
            Ok(()) => *kept = hashes,
            // What is written is written again with the next change.
            Err(e) => tracing::warn!(event = "tasks.not_saved", reason = %e, "the list of tasks could not be saved"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_store::operational::OperationalState;

    fn list(n: u8) -> KeptEntries {
        // One that stays, one that changes, one that comes and goes.
        let mut list = KeptEntries::from([(vec![1], vec![1]), (vec![2], vec![n])]);
        if n.is_multiple_of(2) {
            list.insert(vec![3, n], vec![n]);
        }
        list
    }

    /// The disk hangs: whoever changes the list goes on, and the last list is the one that is there in the end.
    #[tokio::test]
    async fn a_disk_that_hangs_holds_nobody_up_and_the_last_list_counts() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = OperationalState::open(&dir.path().join("state")).unwrap().shelf("tasks").unwrap();
        let (saver, kept) = Saver::open(Some(shelf.clone()));
        assert!(kept.is_empty());
        saver.save(list(0));
        saver.saved().await;
        let hangs = saver.kept.lock().unwrap();
        for n in 1..20_u8 {
            saver.save(list(n));
        }
        assert_eq!(shelf.all().unwrap(), list(0).into_iter().collect::<Vec<_>>(), "nothing waited for the disk");
        drop(hangs);
        saver.saved().await;
        assert_eq!(shelf.all().unwrap(), list(19).into_iter().collect::<Vec<_>>());
        assert_eq!(Saver::open(Some(shelf)).1, list(19));
    }

    #[tokio::test]
    async fn without_a_shelf_nothing_is_kept_and_nothing_waits() {
        let (saver, _) = Saver::open(None);
        saver.save(list(1));
        saver.saved().await;
        assert!(Saver::open(None).1.is_empty());
    }
}
