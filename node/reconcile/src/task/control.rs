//! How a running task is steered: cancel, give way, rate; and how far it is. A task that is paused gives way and keeps where
//! it is: it holds up nobody.

use super::TaskProgress;
use crate::verify::{Stopped, Watermark};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Of those that a task waits for, so many are named.
const NAMED: usize = 3;
/// A task that is ahead of its rate looks this often whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// Shared between the task and whoever steers it.
#[derive(Debug)]
pub struct TaskControl {
    cancelled: AtomicBool,
    /// Stop where you are, to go on later.
    yields: AtomicBool,
    /// Bytes a second; 0: as fast as the disk.
    rate: AtomicU64,
    /// When the bytes read so far are paid for.
    paid: Mutex<Option<Instant>>,
    told: Mutex<Told>,
    watermark: Mutex<Watermark>,
}

/// How far a task is, and for whom it waits: by what each is for.
#[derive(Debug, Default)]
struct Told {
    progress: TaskProgress,
    waits: BTreeMap<String, String>,
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TaskControl {
    /// Of a task that may read `rate` bytes a second (0: no limit) and has got this far. How much there is to do may have
    /// changed since.
    pub fn new(rate: u64, watermark: Watermark, before: TaskProgress) -> Self {
        let progress = TaskProgress { total: None, waiting_for: None, ..before };
        Self {
            cancelled: AtomicBool::new(false),
            yields: AtomicBool::new(false),
            rate: AtomicU64::new(rate),
            paid: Mutex::new(None),
            told: Mutex::new(Told { progress, waits: BTreeMap::new() }),
            watermark: Mutex::new(watermark),
        }
    }

    /// Ends the task for good.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Ends the task where it is, to go on later.
    pub fn give_way(&self) {
        self.yields.store(true, Ordering::Relaxed);
    }

    /// Bytes a second from now on; 0: as fast as the disk.
    pub fn set_rate(&self, rate: u64) {
        self.rate.store(rate, Ordering::Relaxed);
        *lock(&self.paid) = None;
    }

    /// Whether the task has been told to end for good.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Whether the task is to end, for whatever reason.
    pub fn is_stopped(&self) -> bool {
        self.is_cancelled() || self.yields.load(Ordering::Relaxed)
    }

    /// How far it is, and for whom it waits.
    pub fn progress(&self) -> TaskProgress {
        let told = lock(&self.told);
        let more = told.waits.len().saturating_sub(NAMED);
        let mut waits: Vec<_> = told.waits.values().take(NAMED).cloned().collect();
        waits.extend((more > 0).then(|| format!("{more} more")));
        TaskProgress { waiting_for: (!waits.is_empty()).then(|| waits.join(", ")), ..told.progress.clone() }
    }

    /// Says how far it is. What is done never goes beyond the total, and never back.
    pub fn tell(&self, change: impl FnOnce(&mut TaskProgress)) {
        let p = &mut lock(&self.told).progress;
        let before = (p.done, p.unit.clone());
        change(p);
        if p.unit == before.1 {
            p.done = p.done.max(before.0);
        }
        if let Some(total) = p.total {
            p.done = p.done.min(total);
        }
    }

    /// Says for whom it waits at one of the things that it does; `None`: no longer.
    pub fn waits(&self, at: &str, whom: Option<String>) {
        let waits = &mut lock(&self.told).waits;
        match whom {
            Some(whom) => waits.insert(at.to_owned(), whom),
            None => waits.remove(at),
        };
    }

    /// Where it could go on.
    pub fn watermark(&self) -> Watermark {
        lock(&self.watermark).clone()
    }

    /// Called before `bytes` are read: waits while ahead of the rate. For threads that may block.
    ///
    /// # Errors
    /// [`Stopped`].
    #[expect(clippy::disallowed_methods, reason = "the thread that works is the one that is to wait")]
    pub fn pace(&self, bytes: u64, watermark: &Watermark) -> Result<(), Stopped> {
        {
            let mut mine = lock(&self.watermark);
            if *mine != *watermark {
                *mine = watermark.clone();
            }
        }
        let rate = self.rate.load(Ordering::Relaxed);
        if rate > 0 {
            let mut paid = lock(&self.paid);
            let now = Instant::now();
            let until = paid.map_or(now, |p| p.max(now)) + Duration::from_secs_f64(bytes as f64 / rate as f64);
            *paid = Some(until);
        }
        loop {
            if self.is_stopped() {
                return Err(Stopped);
            }
            let ahead = lock(&self.paid).map_or(Duration::ZERO, |p| p.saturating_duration_since(Instant::now()));
            // Up to a tenth of a second ahead is not waited for: sleeps are coarse.
            if ahead < Duration::from_millis(100) {
                return Ok(());
            }
            std::thread::sleep(ahead.min(LOOK));
        }
    }
}
