//! The list of tasks: what is queued, what runs, what was done, by whom and why.
//!
//! That it is kept is a convenience (`data/state`): a node whose list is lost starts with an empty one. It must not know what a task does.

use super::{
    Task, TaskControl, TaskKind, TaskProgress, TaskState, With,
    saver::{KeptEntries, Saver},
    since::Since,
};
use crate::verify::Watermark;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tally_clock::{now_ms, time};
use tally_store::operational::StateShelf;
use tokio::sync::Notify;

/// Finished tasks that are remembered.
const REMEMBERED: usize = 200;
/// Entries of a list in a result.
const LISTED: usize = 5_000;
/// Most tasks that wait.
const QUEUED_MAX: usize = 64;
/// Comparisons with neighbours under way at the same time, each with a neighbour of its own; each holds a few megabytes.
const COMPARING_MAX: usize = 8;

/// Key of the list's own entry; those of its tasks are [`TASK`] and their number.
const HEAD: &[u8] = b"list";
const TASK: u8 = b't';

#[derive(Debug, Default, Serialize, Deserialize)]
struct File {
    next: u64,
    /// When the node first kept this list, and when the schedule's work was last done, POSIX milliseconds.
    first_ms: u64,
    verified_ms: Option<u64>,
    reconciled_ms: Option<u64>,
    /// Each has an entry of its own.
    #[serde(skip)]
    tasks: Vec<Task>,
}

impl File {
    /// What is kept of it. What cannot be read is left out, with a word in the log: it must not keep a node from starting.
    fn of(entries: KeptEntries) -> Self {
        let unreadable = |e: serde_json::Error| {
            tracing::warn!(event = "tasks.unreadable", reason = %e, "an entry of the list of tasks cannot be read");
        };
        let mut file: Self = match entries.get(HEAD).map(|bytes| serde_json::from_slice(bytes)) {
            Some(Ok(head)) => head,
            Some(Err(e)) => {
                unreadable(e);
                Self::default()
            }
            None => Self::default(),
        };
        for (key, bytes) in entries {
            let Some(number) = key.strip_prefix(&[TASK]).and_then(|n| n.try_into().ok()).map(u64::from_be_bytes) else {
                continue;
            };
            // No number is given twice, whatever became of the list's own entry.
            file.next = file.next.max(number);
            match serde_json::from_slice(&bytes) {
                Ok(task) => file.tasks.push(task),
                Err(e) => unreadable(e),
            }
        }
        file
    }

    fn entries(&self) -> serde_json::Result<KeptEntries> {
        let mut entries = KeptEntries::from([(HEAD.to_vec(), serde_json::to_vec(self)?)]);
        for task in &self.tasks {
            let number = task.id.strip_prefix("t-").and_then(|n| n.parse::<u64>().ok()).unwrap_or_default();
            entries.insert([&[TASK][..], &number.to_be_bytes()].concat(), serde_json::to_vec(task)?);
        }
        Ok(entries)
    }
}

#[derive(Debug)]
struct Inner {
    file: File,
    /// The same as the file's times, by a clock that does not jump.
    verified: Since,
    reconciled: Since,
    running: BTreeMap<String, Arc<TaskControl>>,
}

/// The list. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tasks {
    saver: Arc<Saver>,
    inner: Arc<Mutex<Inner>>,
    queued: Arc<Notify>,
}

/// Why a task could not be put on the list, or not be steered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// No such task.
    #[error("there is no task {0}; `tally task ls` lists them")]
    Unknown(String),
    /// It has ended.
    #[error("task {0} has ended")]
    Over(String),
    /// It cannot be held.
    #[error("task {0} waits for the parent; there is nothing to pause")]
    Waits(String),
    /// Too many wait.
    #[error("{QUEUED_MAX} tasks are waiting already")]
    Full,
}

impl Tasks {
    /// Opens the list that stands on this shelf. What was under way when the node stopped is queued again. Without a shelf, or
    /// with one that cannot be read, it is empty and lives as long as the process: it must not keep a node from starting.
    pub fn open(shelf: Option<StateShelf>) -> Self {
        let (saver, entries) = Saver::open(shelf);
        let mut file = File::of(entries);
        // A clock that was ahead may have left times in the future, which would hold the schedule up until then.
        let now = now_ms();
        let passed = |ms: u64| ms.min(now);
        file.first_ms = if file.first_ms == 0 { now } else { file.first_ms.min(now) };
        file.verified_ms = file.verified_ms.map(passed);
        file.reconciled_ms = file.reconciled_ms.map(passed);
        let since = |last: Option<u64>| Since::told(last.unwrap_or(file.first_ms), now);
        let (verified, reconciled) = (since(file.verified_ms), since(file.reconciled_ms));
        for task in &mut file.tasks {
            if task.state == TaskState::Running {
                task.state = TaskState::Queued;
            }
        }
        let tasks = Self {
            saver,
            inner: Arc::new(Mutex::new(Inner { file, verified, reconciled, running: BTreeMap::new() })),
            queued: Arc::default(),
        };
        tasks.save(&mut tasks.lock());
        tasks.queued.notify_one();
        tasks
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self, inner: &mut Inner) {
        let over = inner.file.tasks.iter().filter(|t| t.state.is_over()).count();
        let mut surplus = over.saturating_sub(REMEMBERED);
        inner.file.tasks.retain(|t| {
            let drop = surplus > 0 && t.state.is_over();
            surplus -= usize::from(drop);
            !drop
        });
        match inner.file.entries() {
            Ok(entries) => self.saver.save(entries),
            Err(e) => tracing::error!(event = "tasks.not_saved", reason = %e, "the list of tasks has no form"),
        }
    }

    /// Waits until what is kept says what the list does.
    ///
    /// Cancel-safe: it is kept all the same.
    pub async fn saved(&self) {
        self.saver.saved().await;
    }

    /// Puts a task on the list.
    ///
    /// # Errors
    /// [`TaskError::Full`].
    pub fn add(&self, kind: TaskKind, reason: String, scheduled: bool, rate_mib: u64) -> Result<Task, TaskError> {
        let mut inner = self.lock();
        if inner.file.tasks.iter().filter(|t| !t.state.is_over()).count() >= QUEUED_MAX {
            return Err(TaskError::Full);
        }
        inner.file.next += 1;
        let task = Task {
            id: format!("t-{}", inner.file.next),
            kind,
            state: TaskState::Queued,
            reason,
            scheduled,
            rate_mib,
            created: time(now_ms() / 1_000),
            started: None,
            ended: None,
            progress: TaskProgress::default(),
            result: None,
            exit: None,
            error: None,
            watermark: Watermark::default(),
        };
        inner.file.tasks.push(task.clone());
        if !scheduled {
            // What the schedule does makes room.
            let makes_room = |t: &&Task| t.scheduled && task.kind.displaces(&t.kind);
            let scheduled: Vec<_> = inner.file.tasks.iter().filter(makes_room).map(|t| t.id.clone()).collect();
            inner.running.iter().filter(|(id, _)| scheduled.contains(id)).for_each(|(_, c)| c.give_way());
        }
        self.save(&mut inner);
        drop(inner);
        self.queued.notify_one();
        Ok(task)
    }

    /// All tasks, the latest last, with how far they are now.
    pub fn all(&self) -> Vec<Task> {
        let inner = self.lock();
        inner.file.tasks.iter().map(|t| now(t, &inner)).collect()
    }

    /// One task.
    ///
    /// # Errors
    /// [`TaskError::Unknown`].
    pub fn get(&self, id: &str) -> Result<Task, TaskError> {
        let inner = self.lock();
        let task = inner.file.tasks.iter().find(|t| t.id == id).ok_or_else(|| TaskError::Unknown(id.into()))?;
        Ok(now(task, &inner))
    }

    fn change(
        &self,
        id: &str,
        change: impl FnOnce(&mut Task, Option<&TaskControl>) -> Result<(), TaskError>,
    ) -> Result<Task, TaskError> {
        let mut inner = self.lock();
        let control = inner.running.get(id).cloned();
        let unknown = || TaskError::Unknown(id.into());
        let task = inner.file.tasks.iter_mut().find(|t| t.id == id).ok_or_else(unknown)?;
        if task.state.is_over() {
            return Err(TaskError::Over(id.into()));
        }
        change(task, control.as_deref())?;
        let task = task.clone();
        let task = now(&task, &inner);
        self.save(&mut inner);
        drop(inner);
        self.queued.notify_one();
        Ok(task)
    }

    /// Holds a task.
    ///
    /// # Errors
    /// [`TaskError`].
    pub fn pause(&self, id: &str) -> Result<Task, TaskError> {
        self.change(id, |task, control| {
            if task.kind == TaskKind::Restore {
                return Err(TaskError::Waits(task.id.clone()));
            }
            task.state = TaskState::Paused;
            if let Some(c) = control {
                c.give_way();
            }
            Ok(())
        })
    }

    /// Lets a task go on.
    ///
    /// # Errors
    /// [`TaskError`].
    pub fn resume(&self, id: &str) -> Result<Task, TaskError> {
        self.change(id, |task, control| {
            // One that was held a moment ago may not have ended yet; it goes on after that.
            let goes_on = control.is_some_and(|c| !c.is_stopped());
            task.state = if goes_on { TaskState::Running } else { TaskState::Queued };
            Ok(())
        })
    }

    /// Ends a task for good.
    ///
    /// # Errors
    /// [`TaskError`].
    pub fn cancel(&self, id: &str) -> Result<Task, TaskError> {
        self.change(id, |task, control| {
            match control {
                Some(c) => c.cancel(),
                None => {
                    task.state = TaskState::Cancelled;
                    task.ended = Some(time(now_ms() / 1_000));
                }
            }
            Ok(())
        })
    }

    /// Sets how many MiB a second a task may read; 0: as fast as the disk.
    ///
    /// # Errors
    /// [`TaskError`].
    pub fn set_rate(&self, id: &str, rate_mib: u64) -> Result<Task, TaskError> {
        self.change(id, |task, control| {
            task.rate_mib = rate_mib;
            if let Some(c) = control {
                c.set_rate(rate_mib.saturating_mul(1 << 20));
            }
            Ok(())
        })
    }

    /// Waits for a task to do, marks it as running, and hands over its control.
    ///
    /// Cancel-safe: a task is taken only in the moment in which this returns.
    pub(super) async fn next(&self) -> (String, TaskKind, Arc<TaskControl>) {
        loop {
            if let Some(next) = self.take() {
                return next;
            }
            self.queued.notified().await;
        }
    }

    fn take(&self) -> Option<(String, TaskKind, Arc<TaskControl>)> {
        let mut inner = self.lock();
        let Inner { file, running, .. } = &mut *inner;
        let at_work: Vec<_> =
            file.tasks.iter().filter(|t| running.contains_key(&t.id)).map(|t| t.kind.clone()).collect();
        let comparing = |kind: &TaskKind| matches!(kind, TaskKind::Reconcile { .. });
        let full = at_work.iter().filter(|k| comparing(k)).count() >= COMPARING_MAX;
        let queued = |t: &&mut Task| {
            let waits = at_work.iter().any(|k| t.kind.waits_for(k)) || full && comparing(&t.kind);
            t.state == TaskState::Queued && !running.contains_key(&t.id) && !waits
        };
        let task = file.tasks.iter_mut().filter(queued).min_by_key(|t| t.scheduled)?;
        task.state = TaskState::Running;
        task.started.get_or_insert_with(|| time(now_ms() / 1_000));
        let control =
            TaskControl::new(task.rate_mib.saturating_mul(1 << 20), task.watermark.clone(), task.progress.clone());
        let control = Arc::new(control);
        let (id, kind) = (task.id.clone(), task.kind.clone());
        inner.running.insert(id.clone(), control.clone());
        self.save(&mut inner);
        Some((id, kind, control))
    }

    /// The task has ended, or was told to.
    pub(super) fn finished(&self, id: &str, result: Result<super::Outcome, String>) {
        let mut inner = self.lock();
        let Some(control) = inner.running.remove(id) else { return };
        let (progress, watermark) = (control.progress(), control.watermark());
        let Some(task) = inner.file.tasks.iter_mut().find(|t| t.id == id) else { return };
        task.progress = progress;
        match result {
            Ok(outcome) => {
                task.state = TaskState::Done;
                task.result = Some(shortened(outcome.result));
                task.exit = Some(outcome.exit);
                task.watermark = Watermark::default();
            }
            Err(_) if control.is_cancelled() => task.state = TaskState::Cancelled,
            Err(_) if control.is_stopped() => {
                // A task that was held stays held.
                task.state = if task.state == TaskState::Paused { TaskState::Paused } else { TaskState::Queued };
                task.watermark = watermark;
            }
            Err(why) => {
                task.state = TaskState::Failed;
                task.error = Some(why);
            }
        }
        if task.state.is_over() {
            task.ended = Some(time(now_ms() / 1_000));
        }
        let (done, kind) = (task.state == TaskState::Done, task.kind.clone());
        match kind {
            TaskKind::Verify { log: None } if done => {
                (inner.file.verified_ms, inner.verified) = (Some(now_ms()), Since::now());
            }
            TaskKind::Reconcile { with: With::Parent | With::All, log: None, .. } if done => {
                (inner.file.reconciled_ms, inner.reconciled) = (Some(now_ms()), Since::now());
            }
            _ => {}
        }
        self.save(&mut inner);
        drop(inner);
        self.queued.notify_one();
    }

    /// Keeps where the running tasks are, for a start after a stop that is not clean.
    pub(super) fn remember(&self) {
        let mut inner = self.lock();
        let marks: Vec<_> = inner.running.iter().map(|(id, c)| (id.clone(), c.watermark(), c.progress())).collect();
        let mut changed = false;
        for (id, watermark, progress) in marks {
            if let Some(task) = inner.file.tasks.iter_mut().find(|t| t.id == id) {
                changed |= task.watermark != watermark;
                (task.watermark, task.progress) = (watermark, progress);
            }
        }
        if changed {
            self.save(&mut inner);
        }
    }

    /// The node stops.
    pub(super) fn suspend(&self) {
        let running: Vec<_> = self.lock().running.iter().map(|(id, c)| (id.clone(), c.clone())).collect();
        for (id, control) in running {
            control.give_way();
            self.finished(&id, Err("the node stops".into()));
        }
    }

    /// When the list began, when everything was last verified, and when there was last a comparison; POSIX milliseconds.
    pub fn last(&self) -> (u64, Option<u64>, Option<u64>) {
        let inner = self.lock();
        (inner.file.first_ms, inner.file.verified_ms, inner.file.reconciled_ms)
    }

    /// How long ago everything was last verified, and when there was last a comparison; before the first of them, how long ago
    /// the list began. By a clock that only goes forward.
    pub(super) fn since_last(&self) -> (Duration, Duration) {
        let inner = self.lock();
        (inner.verified.elapsed(), inner.reconciled.elapsed())
    }

    /// Whether a task for which `is` holds is not over.
    pub fn pending(&self, is: impl Fn(&TaskKind) -> bool) -> bool {
        self.lock().file.tasks.iter().any(|t| !t.state.is_over() && is(&t.kind))
    }
}

/// Lists in a result that is kept are cut, and say so: what was found stands in the log file, whole.
fn shortened(mut result: serde_json::Value) -> serde_json::Value {
    for name in ["damaged", "closed_branch", "differences"] {
        if let Some(list) = result.get_mut(name).and_then(|l| l.as_array_mut())
            && list.len() > LISTED
        {
            let omitted = list.len() - LISTED;
            list.truncate(LISTED);
            result[format!("{name}_omitted")] = omitted.into();
        }
    }
    result
}

fn now(task: &Task, inner: &Inner) -> Task {
    let mut task = task.clone();
    if let Some(control) = inner.running.get(&task.id) {
        task.progress = control.progress();
    } else if task.state == TaskState::Queued {
        let mut at_work = inner.file.tasks.iter().filter(|t| inner.running.contains_key(&t.id));
        let before = at_work.find(|t| task.kind.waits_for(&t.kind));
        task.progress.waiting_for = before.map(|t| format!("{}, which is at work", t.id));
    }
    task
}

#[cfg(test)]
mod tests;
