//! The list of tasks: order, pause, cancel, and what outlives a restart.

use super::*;
use tally_store::operational::OperationalState;

fn verify() -> TaskKind {
    TaskKind::Verify { log: None }
}

/// Where lists are kept, one after the other.
struct Kept {
    state: OperationalState,
    _dir: tempfile::TempDir,
}

fn kept() -> Kept {
    let dir = tempfile::tempdir().unwrap();
    Kept { state: OperationalState::open(&dir.path().join("state")).unwrap(), _dir: dir }
}

impl Kept {
    fn shelf(&self) -> StateShelf {
        self.state.shelf("tasks").unwrap()
    }

    /// Puts an entry on the shelf, as somebody else may have done it.
    fn put(&self, key: &[u8], text: &str) {
        self.shelf().change(vec![(key.to_vec(), Some(text.as_bytes().to_vec()))]).unwrap();
    }
}

fn open(kept: &Kept) -> Tasks {
    Tasks::open(Some(kept.shelf()))
}

fn done() -> Result<super::super::Outcome, String> {
    Ok(super::super::Outcome::new(serde_json::json!({ "frames": 1 }), 4))
}

#[test]
fn what_ran_at_a_stop_goes_on_where_it_was() {
    let dir = kept();
    let tasks = open(&dir);
    let id = tasks.add(verify(), "disk was noisy".into(), false, 5).unwrap().id;
    let (taken, kind, control) = tasks.take().unwrap();
    assert_eq!((&taken, kind, tasks.get(&id).unwrap().state), (&id, verify(), TaskState::Running));
    let watermark = Watermark { segment: 7, records: 9, bytes: 11, bad: vec![(3, 16)] };
    control.pace(1, &watermark).unwrap();
    control.tell(|p| (p.done, p.total) = (500, Some(100)));
    assert_eq!(tasks.get(&id).unwrap().progress.done, 100, "never beyond the total");
    // The process is killed: what was saved last counts.
    tasks.remember();
    let again = open(&dir);
    let task = again.get(&id).unwrap();
    assert_eq!((task.state, task.reason.as_str(), task.rate_mib), (TaskState::Queued, "disk was noisy", 5));
    let (_, _, control) = again.take().unwrap();
    assert_eq!(control.watermark(), watermark);
    again.finished(&id, done());
    let task = again.get(&id).unwrap();
    assert_eq!((task.state, task.exit), (TaskState::Done, Some(4)));
    assert!(again.last().1.is_some());
    assert_eq!(again.cancel(&id).unwrap_err(), TaskError::Over(id));
}

/// A clock that was ahead once, or is back in 1970 now: what is due comes due all the same, and no start puts it off again.
#[test]
fn a_last_time_in_the_future_counts_as_now() {
    let dir = kept();
    let year = 365 * 86_400_000;
    let far = now_ms() + year;
    let text = format!(r#"{{"next":1,"first_ms":{far},"verified_ms":{far},"reconciled_ms":null}}"#);
    dir.put(HEAD, &text);
    let soon = |t: Duration| t < Duration::from_mins(10);
    let tasks = open(&dir);
    let (verified, reconciled) = tasks.since_last();
    assert!(soon(verified) && soon(reconciled), "{verified:?} {reconciled:?}");
    let (first, verified, _) = tasks.last();
    assert!(first <= now_ms() && verified.is_some_and(|v| v <= now_ms()), "the file says so from now on");
    // The file is what the next start reckons from: 40 days later that is 40 days.
    let past = now_ms() - 40 * 86_400_000;
    let text = format!(r#"{{"next":1,"first_ms":{past},"verified_ms":{past},"reconciled_ms":{far}}}"#);
    dir.put(HEAD, &text);
    let tasks = open(&dir);
    let (verified, reconciled) = tasks.since_last();
    assert!(verified >= Duration::from_hours(40 * 24) && soon(reconciled), "{verified:?} {reconciled:?}");
    // What is done now is done now, whatever the wall clock says.
    let id = tasks.add(verify(), String::new(), true, 0).unwrap().id;
    tasks.take().unwrap();
    tasks.finished(&id, done());
    assert!(soon(tasks.since_last().0));
}

#[test]
fn an_operators_task_goes_before_the_schedules() {
    let dir = kept();
    let tasks = open(&dir);
    let scheduled = tasks.add(verify(), "schedule".into(), true, 1).unwrap().id;
    let (_, _, control) = tasks.take().unwrap();
    let urgent = tasks.add(TaskKind::Rebuild, "now".into(), false, 0).unwrap().id;
    assert!(control.is_stopped() && !control.is_cancelled());
    tasks.finished(&scheduled, Err("stopped".into()));
    assert_eq!(tasks.get(&scheduled).unwrap().state, TaskState::Queued);
    assert_eq!(tasks.take().unwrap().0, urgent);
    assert!(tasks.pending(|k| *k == verify()));
}

fn with(division: &str) -> TaskKind {
    TaskKind::Reconcile { with: division.parse().unwrap(), log: None, repair: true, quick: false, own_disk: false }
}

/// M15: what is done with one neighbour waits for that one, and neither a verify nor another neighbour waits for it.
#[test]
fn tasks_with_different_neighbours_are_at_work_side_by_side() {
    let dir = kept();
    let tasks = open(&dir);
    let add = |kind| tasks.add(kind, String::new(), false, 0).unwrap().id;
    let slow = add(with("350102"));
    let (second, other, verifies) = (add(with("350102")), add(with("350103")), add(verify()));
    let taken: Vec<_> = std::iter::from_fn(|| tasks.take()).map(|(id, ..)| id).collect();
    assert_eq!(taken, [slow.clone(), other.clone(), verifies]);
    let waits = tasks.get(&second).unwrap();
    assert_eq!(waits.state, TaskState::Queued);
    assert!(waits.progress.waiting_for.unwrap().contains(&slow));
    tasks.finished(&slow, done());
    assert_eq!(tasks.take().unwrap().0, second);
    // However many neighbours stand still, a verify is not held up by their number.
    tasks.finished(&taken[2], done());
    (350_200..350_200 + 2 * COMPARING_MAX).for_each(|d| drop(add(with(&d.to_string()))));
    let last = add(verify());
    let taken: Vec<_> = std::iter::from_fn(|| tasks.take()).map(|(id, ..)| id).collect();
    assert_eq!((taken.len(), taken.last()), (COMPARING_MAX - 2 + 1, Some(&last)));
}

/// U16: what is done only grows, also over a pause, a start and a cancel; and whoever waits for several says for whom.
#[test]
fn progress_never_runs_back_and_says_for_whom_it_waits() {
    let dir = kept();
    let tasks = open(&dir);
    let id = tasks.add(with("350102"), String::new(), false, 0).unwrap().id;
    let (_, _, control) = tasks.take().unwrap();
    control.tell(|p| (p.done, p.total, p.unit) = (6, Some(16), "neighbours".into()));
    control.tell(|p| p.done = 5);
    assert_eq!(tasks.get(&id).unwrap().progress.done, 6);
    for n in 1..=5 {
        control.waits(&n.to_string(), Some(format!("35010{n}")));
    }
    assert_eq!(tasks.get(&id).unwrap().progress.waiting_for.as_deref(), Some("350101, 350102, 350103, 2 more"));
    assert_eq!(tasks.pause(&id).unwrap().progress.done, 6, "what is shown is how far it is now");
    tasks.finished(&id, Err("stopped".into()));
    assert_eq!(tasks.get(&id).unwrap().progress.done, 6);
    tasks.resume(&id).unwrap();
    let (_, _, control) = tasks.take().unwrap();
    assert_eq!(control.progress().waiting_for, None);
    control.tell(|p| (p.done, p.total) = (0, Some(16)));
    assert_eq!(tasks.get(&id).unwrap().progress.done, 6, "it begins anew, and shows no less");
    assert_eq!(tasks.cancel(&id).unwrap().progress.done, 6);
}

#[test]
fn reins_hold_release_and_end() {
    let dir = kept();
    let tasks = open(&dir);
    let id = tasks.add(verify(), String::new(), false, 0).unwrap().id;
    assert_eq!(tasks.pause(&id).unwrap().state, TaskState::Paused);
    assert!(tasks.take().is_none(), "held before it began");
    tasks.resume(&id).unwrap();
    let (_, _, control) = tasks.take().unwrap();
    let watermark = Watermark { segment: 4, ..Watermark::default() };
    control.pace(0, &watermark).unwrap();
    tasks.pause(&id).unwrap();
    assert_eq!(control.pace(1, &watermark), Err(crate::verify::Stopped), "it gives way");
    tasks.finished(&id, Err("stopped".into()));
    assert_eq!(tasks.get(&id).unwrap().state, TaskState::Paused);
    assert!(tasks.take().is_none(), "and others may work");
    tasks.resume(&id).unwrap();
    let (_, _, control) = tasks.take().unwrap();
    assert_eq!(control.watermark(), watermark, "it goes on where it was");
    // Held and let go before it has ended.
    tasks.pause(&id).unwrap();
    assert_eq!(tasks.resume(&id).unwrap().state, TaskState::Queued);
    tasks.finished(&id, Err("stopped".into()));
    let (_, _, control) = tasks.take().unwrap();
    tasks.cancel(&id).unwrap();
    assert_eq!(control.pace(1, &watermark), Err(crate::verify::Stopped));
    tasks.finished(&id, Err("stopped".into()));
    assert_eq!(tasks.get(&id).unwrap().state, TaskState::Cancelled);
    assert_eq!(tasks.pause("t-99").unwrap_err(), TaskError::Unknown("t-99".into()));
    let restore = tasks.add(TaskKind::Restore, String::new(), false, 0).unwrap().id;
    assert!(matches!(tasks.pause(&restore), Err(TaskError::Waits(_))));
}

#[test]
fn the_list_is_bounded_and_a_broken_one_is_set_aside() {
    let dir = kept();
    let tasks = open(&dir);
    for _ in 0..REMEMBERED + 20 {
        let id = tasks.add(TaskKind::Rebuild, String::new(), false, 0).unwrap().id;
        tasks.take().unwrap();
        tasks.finished(&id, done());
    }
    assert_eq!(tasks.all().len(), REMEMBERED);
    for _ in 0..QUEUED_MAX {
        tasks.add(verify(), String::new(), false, 0).unwrap();
    }
    assert_eq!(tasks.add(verify(), String::new(), false, 0).unwrap_err(), TaskError::Full);
    // What cannot be read is left out, and no number is given again.
    let last = tasks.all().last().unwrap().id.clone();
    dir.put(HEAD, "{");
    dir.put(&[&[TASK][..], &1_u64.to_be_bytes()].concat(), "no task");
    let again = open(&dir);
    assert_eq!(again.all().len(), REMEMBERED + QUEUED_MAX);
    let queued = again.all().into_iter().find(|t| !t.state.is_over()).unwrap();
    again.cancel(&queued.id).unwrap();
    let next = again.add(verify(), String::new(), false, 0).unwrap().id;
    assert!(again.all().iter().filter(|t| t.id == next).count() == 1 && next != last, "{next}");
    assert!(Tasks::open(None).all().is_empty());
}

#[test]
fn kinds_are_read_as_they_are_written() {
    let log = "350102/e1".parse().ok();
    for kind in [
        verify(),
        TaskKind::Verify { log },
        TaskKind::Reconcile { with: With::Parent, log, repair: true, quick: false, own_disk: false },
        TaskKind::Reconcile { with: "350102".parse().unwrap(), log: None, repair: false, quick: true, own_disk: true },
        TaskKind::Restore,
    ] {
        let text = serde_json::to_string(&kind).unwrap();
        assert_eq!(serde_json::from_str::<TaskKind>(&text).unwrap(), kind, "{text}");
    }
    assert!("3501".parse::<With>().unwrap_err().contains("parent"));
    assert!(serde_json::from_str::<TaskKind>(r#"{"kind":"reconcile","with":"all"}"#).is_ok());
}
