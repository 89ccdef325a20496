//! Everything that runs in a node, by name: threads and tasks in one set.
//!
//! Whichever ends or panics ends the node, with its reason: a node of which a part is dead would only look alive. A job
//! may end well, and only then. The one part that may fail and be done without is the index: its thread catches its
//! engine's panics itself. The supervisor must not know what its parts do.

use std::{
    any::Any,
    collections::HashMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    thread::JoinHandle,
};
use tokio::{
    sync::mpsc,
    task::{Id, JoinSet},
    time::{Duration, Instant, timeout_at},
};

/// How long the reason is waited for where a part has ended without one: it may have ended because another did.
const REASON: Duration = Duration::from_secs(1);
/// Parts whose ends may wait to be seen: one is enough to end the node.
const ENDS: usize = 64;

/// The end of a part that should have gone on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part} has ended: {}", reason.as_deref().unwrap_or("it was not told to"))]
pub(crate) struct PartEnded {
    part: &'static str,
    /// `None`: it has ended as if it had been told to.
    reason: Option<String>,
}

/// Threads and tasks by name.
#[derive(Debug)]
pub(crate) struct Supervisor {
    tasks: JoinSet<Result<(), Option<String>>>,
    names: HashMap<Id, &'static str>,
    threads: Vec<(&'static str, JoinHandle<()>)>,
    tell: mpsc::Sender<PartEnded>,
    ends: mpsc::Receiver<PartEnded>,
    /// The first that was seen and gave no reason, and how long one is waited for.
    unexplained: Option<(PartEnded, Instant)>,
}

impl Supervisor {
    pub(crate) fn new() -> Self {
        let (tell, ends) = mpsc::channel(ENDS);
        Self { tasks: JoinSet::new(), names: HashMap::new(), threads: Vec::new(), tell, ends, unexplained: None }
    }

    /// Runs `body` on a thread of its own, until the node ends.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn thread(
        &mut self,
        part: &'static str,
        body: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> io::Result<()> {
        self.run_on_thread(part, false, body)
    }

    /// The same of a part that may be told to end before the node does, and then ends well.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn thread_until_told(
        &mut self,
        part: &'static str,
        body: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> io::Result<()> {
        self.run_on_thread(part, true, body)
    }

    fn run_on_thread(
        &mut self,
        part: &'static str,
        may_end: bool,
        body: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> io::Result<()> {
        let tell = self.tell.clone();
        let run = move || {
            let reason = match catch_unwind(AssertUnwindSafe(body)) {
                Ok(Ok(())) if may_end => return,
                Ok(Ok(())) => None,
                Ok(Err(reason)) => Some(reason),
                Err(panic) => Some(panicked(&*panic)),
            };
            // Full: an end is to be seen already.
            let _ = tell.try_send(PartEnded { part, reason });
        };
        let thread = std::thread::Builder::new().name(part.to_owned()).spawn(run)?;
        self.threads.push((part, thread));
        Ok(())
    }

    /// Runs a task until the node ends.
    pub(crate) fn task(&mut self, part: &'static str, body: impl Future<Output = ()> + Send + 'static) {
        self.spawn(part, async {
            body.await;
            Err(None)
        });
    }

    /// Runs a task that may end well, or fail with a reason.
    pub(crate) fn job(&mut self, part: &'static str, body: impl Future<Output = Result<(), String>> + Send + 'static) {
        self.spawn(part, async { body.await.map_err(Some) });
    }

    fn spawn(&mut self, part: &'static str, body: impl Future<Output = Result<(), Option<String>>> + Send + 'static) {
        let task = self.tasks.spawn(body);
        self.names.insert(task.id(), part);
    }

    /// Waits for the first part that ends and should not. A part that only follows another ends with it and may be seen
    /// first, so that a reason is waited for a little.
    ///
    /// Cancel-safe: an end that is not taken is there at the next call.
    pub(crate) async fn ended(&mut self) -> PartEnded {
        loop {
            let Some((_, until)) = self.unexplained else {
                let end = self.next().await;
                if end.reason.is_some() {
                    return end;
                }
                self.unexplained = Some((end, Instant::now() + REASON));
                continue;
            };
            let explained = timeout_at(until, async {
                loop {
                    let end = self.next().await;
                    if end.reason.is_some() {
                        return end;
                    }
                }
            });
            let explained = explained.await.ok();
            if let Some(end) = explained.or_else(|| self.unexplained.take().map(|(first, _)| first)) {
                return end;
            }
        }
    }

    async fn next(&mut self) -> PartEnded {
        loop {
            tokio::select! {
                Some(end) = self.ends.recv() => return end,
                Some(end) = self.tasks.join_next_with_id() => {
                    let (id, reason) = match end {
                        Ok((id, Ok(()))) => (id, None),
                        Ok((id, Err(reason))) => (id, Some(reason)),
                        Err(e) => (e.id(), e.try_into_panic().ok().map(|panic| Some(panicked(&*panic)))),
                    };
                    if let (Some(part), Some(reason)) = (self.names.remove(&id), reason) {
                        return PartEnded { part, reason };
                    }
                }
            }
        }
    }

    /// Waits for the tasks of a part, which were told to end.
    pub(crate) async fn finish(&mut self, part: &str) {
        while self.names.values().any(|name| *name == part) {
            let Some(ended) = self.tasks.join_next_with_id().await else { return };
            self.names.remove(&ended.map_or_else(|e| e.id(), |(id, _)| id));
        }
    }

    /// Ends all tasks now.
    pub(crate) async fn end_tasks(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Waits for a thread that was told to end. May be called once for each.
    pub(crate) async fn join(&mut self, part: &str) {
        let (these, others) = std::mem::take(&mut self.threads).into_iter().partition(|(name, _)| *name == part);
        self.threads = others;
        let these: Vec<(_, JoinHandle<()>)> = these;
        let joined = move || these.into_iter().for_each(|(_, thread)| drop(thread.join()));
        tokio::task::spawn_blocking(joined).await.ok();
    }
}

fn panicked(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    format!("it panicked: {}", text.unwrap_or_else(|| "without a word".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whichever_ends_is_named() {
        let mut parts = Supervisor::new();
        parts.task("waits", std::future::pending());
        parts.job("done", async { Ok(()) });
        parts.thread("driver", || panic!("the disk is gone")).unwrap();
        assert_eq!(parts.ended().await.to_string(), "driver has ended: it panicked: the disk is gone");
        parts.thread_until_told("folder", || Ok(())).unwrap();
        parts.join("folder").await;
        parts.thread("index", || Ok(())).unwrap();
        assert_eq!(parts.ended().await.to_string(), "index has ended: it was not told to");
        parts.thread_until_told("folder", || panic!("a share")).unwrap();
        assert_eq!(parts.ended().await.to_string(), "folder has ended: it panicked: a share");
        parts.thread("intake", || Err("no room".into())).unwrap();
        assert_eq!(parts.ended().await.to_string(), "intake has ended: no room");
    }

    #[tokio::test]
    async fn a_part_that_was_told_to_end_is_waited_for() {
        let mut parts = Supervisor::new();
        let (stop, mut stopped) = tokio::sync::watch::channel(false);
        let (done, was_done) = tokio::sync::oneshot::channel();
        parts.task("waits", std::future::pending());
        parts.job("answers", async move {
            let _ = stopped.wait_for(|s| *s).await;
            tokio::task::yield_now().await;
            done.send(()).map_err(|()| String::new())
        });
        stop.send_replace(true);
        parts.finish("answers").await;
        was_done.await.unwrap();
        parts.finish("nobody").await;
        parts.end_tasks().await;
    }

    #[tokio::test]
    async fn the_reason_is_named_and_not_who_ended_for_it() {
        let mut parts = Supervisor::new();
        parts.thread("index", || Ok(())).unwrap();
        parts.join("index").await;
        parts.thread("driver", || Err("the disk is gone".into())).unwrap();
        assert_eq!(parts.ended().await.to_string(), "driver has ended: the disk is gone");
    }

    #[tokio::test]
    async fn tasks_that_end_or_panic_are_named_and_jobs_may_end_well() {
        let mut parts = Supervisor::new();
        parts.job("done", async { Ok(()) });
        parts.task("tick", async {});
        assert_eq!(parts.ended().await.to_string(), "tick has ended: it was not told to");
        parts.task("listen", async { panic!("a peer") });
        assert_eq!(parts.ended().await.to_string(), "listen has ended: it panicked: a peer");
        parts.job("carry over", async { Err("unreadable".into()) });
        assert_eq!(parts.ended().await.to_string(), "carry over has ended: unreadable");
        parts.task("waits", std::future::pending());
        let (alive, ends) = mpsc::channel::<()>(1);
        parts.task("holds", async move {
            let _alive = alive;
            std::future::pending().await
        });
        parts.end_tasks().await;
        assert!(ends.is_closed(), "a task that was ended is gone, with all that it held");
        parts.join("driver").await;
    }
}
