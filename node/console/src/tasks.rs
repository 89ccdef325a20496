//! `/v1/tasks` on the admin socket: put a task on the list, look at it, steer it.

use super::{ApiContext, problem::Problem};
use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tally_core::View;
use tally_protocol::ids::LogId;
use tally_reconcile::task::{Task, TaskError, TaskKind, With};

/// Longest wait for news of a task, in seconds.
const WAIT_MAX: u64 = 30;
/// A task that is waited for is looked at this often.
const LOOK: Duration = Duration::from_millis(50);

/// A task that was cancelled is waited for so long.
const CANCEL_WITHIN: Duration = Duration::from_secs(5);

/// What `POST /v1/tasks` takes.
#[derive(Debug, Serialize, Deserialize)]
pub struct NewTask {
    /// What to do.
    #[serde(flatten)]
    pub kind: TaskKind,
    /// Why; kept with the task.
    #[serde(default)]
    pub reason: String,
    /// MiB a second that it may read; 0: as fast as the disk.
    #[serde(default)]
    pub rate_mib: u64,
}

/// What `POST /v1/tasks/ID` takes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Steer {
    /// Hold it.
    Pause,
    /// Let it go on.
    Resume,
    /// End it for good.
    Cancel,
    /// Set its rate.
    Rate {
        /// MiB a second; 0: as fast as the disk.
        mib: u64,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wait {
    /// Answer when it is over, or after so many seconds.
    #[serde(default)]
    wait: u64,
}

fn problem(e: &TaskError) -> Problem {
    let (status, code) = match e {
        TaskError::Unknown(_) => (StatusCode::NOT_FOUND, "no_such_task"),
        TaskError::Over(_) | TaskError::Waits(_) => (StatusCode::CONFLICT, "not_possible"),
        TaskError::Full => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
    };
    Problem::new(status, code, &e.to_string())
}

pub(super) async fn list(State(api): State<ApiContext>) -> Json<Vec<Task>> {
    Json(api.tasks.all())
}

pub(super) async fn add(State(api): State<ApiContext>, body: String) -> Result<Json<Task>, Problem> {
    let bad = |e: &dyn std::fmt::Display| Problem::new(StatusCode::BAD_REQUEST, "bad_parameter", &e.to_string());
    let new: NewTask = serde_json::from_str(&body).map_err(|e| bad(&e))?;
    let view = api.mailbox.view();
    exists(&view, &new.kind).map_err(|why| bad(&why))?;
    if new.kind == TaskKind::Restore {
        if view.is_offline() {
            let detail = "this node has no link to its parent: import a bundle made there with `--since start`";
            return Err(Problem::new(StatusCode::CONFLICT, "not_possible", detail));
        }
        if let Some(waiting) = api.tasks.all().into_iter().find(|t| t.kind == TaskKind::Restore && !t.state.is_over()) {
            return Ok(Json(waiting));
        }
    }
    let reason = new.reason.chars().take(300).collect();
    let task = api.tasks.add(new.kind, reason, false, new.rate_mib).map_err(|e| problem(&e))?;
    api.tasks.saved().await;
    Ok(Json(task))
}

/// Whether there is what a task is about: a neighbour, a log, and that log at that neighbour. An error is for people.
fn exists(view: &View, kind: &TaskKind) -> Result<(), String> {
    let charter = view.charter();
    let known = |log: LogId| match charter.epoch(log) {
        Some(_) => Ok(()),
        None => Err(format!("log: the charter has no log {log}")),
    };
    match *kind {
        TaskKind::Verify { log: Some(log) } => {
            known(log)?;
            let held = view.log(log).is_some();
            if held { Ok(()) } else { Err(format!("log: nothing of {log} is held here")) }
        }
        TaskKind::Reconcile { with, log, .. } => {
            let parent = charter.parent(view.me());
            // What is held by both.
            let common = match with {
                With::All => None,
                With::Parent if parent.is_none() => return Err("with: this node has no parent".to_owned()),
                With::Parent => Some(view.me()),
                With::Division(d) if parent == Some(d) => Some(view.me()),
                With::Division(d) if charter.children(view.me()).any(|n| n.division == d) => Some(d),
                With::Division(d) => return Err(format!("with: {d} is neither the parent nor a child of this node")),
            };
            let Some(log) = log else { return Ok(()) };
            known(log)?;
            let shared = charter.is_within(log.division, common.unwrap_or(view.me()));
            if shared { Ok(()) } else { Err(format!("log: {log} is not shared with {with}")) }
        }
        TaskKind::Verify { log: None } | TaskKind::Restore | TaskKind::Rebuild => Ok(()),
    }
}

pub(super) async fn show(
    State(api): State<ApiContext>,
    Path(id): Path<String>,
    Query(Wait { wait }): Query<Wait>,
) -> Result<Json<Task>, Problem> {
    let mut left = Duration::from_secs(wait.min(WAIT_MAX));
    loop {
        let task = api.tasks.get(&id).map_err(|e| problem(&e))?;
        if task.state.is_over() || left.is_zero() {
            return Ok(Json(task));
        }
        tokio::time::sleep(LOOK.min(left)).await;
        left = left.saturating_sub(LOOK);
    }
}

pub(super) async fn steer(
    State(api): State<ApiContext>,
    Path(id): Path<String>,
    body: String,
) -> Result<Json<Task>, Problem> {
    let bad = |e: &dyn std::fmt::Display| Problem::new(StatusCode::BAD_REQUEST, "bad_parameter", &e.to_string());
    let steer: Steer = serde_json::from_str(&body).map_err(|e| bad(&e))?;
    let done = match steer {
        Steer::Pause => api.tasks.pause(&id),
        Steer::Resume => api.tasks.resume(&id),
        Steer::Cancel => match api.tasks.cancel(&id) {
            // One that is at work ends in a moment: what is shown is how it ended.
            Ok(task) if !task.state.is_over() => return ended(&api, &id).await,
            other => other,
        },
        Steer::Rate { mib } => api.tasks.set_rate(&id, mib),
    };
    let task = done.map_err(|e| problem(&e))?;
    api.tasks.saved().await;
    Ok(Json(task))
}

/// How far a task is once it is over, or after [`CANCEL_WITHIN`].
async fn ended(api: &ApiContext, id: &str) -> Result<Json<Task>, Problem> {
    let over = async {
        loop {
            let task = api.tasks.get(id)?;
            if task.state.is_over() {
                return Ok(task);
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let task = tokio::time::timeout(CANCEL_WITHIN, over).await.unwrap_or_else(|_| api.tasks.get(id));
    let task = task.map_err(|e| problem(&e))?;
    api.tasks.saved().await;
    Ok(Json(task))
}
