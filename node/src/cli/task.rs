//! `tally task`, and how other commands attach to a task of the node.

use super::{Client, ClientError, ConfigFile, Exit, Failure};
use clap::{Args, Subcommand};
use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};
use tally_client::{print::draw, shown};
use tally_console::{NewTask, Steer};
use tally_protocol::tame::tame;
use tally_reconcile::task::{Task, TaskKind, TaskState};
use tally_sheet::text::pad;
use tally_texts::said;

/// A node that does not answer is waited for so long.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Subcommand)]
pub(super) enum TaskCommand {
    /// List tasks, the latest last.
    Ls(TaskList),
    /// Show one task with its result.
    Show(One),
    /// Follow a task until it ends; Ctrl-C leaves it running.
    Watch(One),
    /// Hold a task.
    Pause(One),
    /// Let a task go on.
    Resume(One),
    /// End a task for good; what it has mended stays mended.
    Cancel(One),
    /// Set how fast a task may read.
    Rate {
        /// MiB a second; 0: as fast as the disk.
        mib: u64,
        #[command(flatten)]
        one: One,
    },
    /// Build the index anew from the journal: counts and exports wait, replication does not.
    RebuildIndex(TaskList),
}

#[derive(Debug, Args)]
pub(super) struct TaskList {
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// Name of the task, such as t-3.
    id: String,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) async fn run(command: TaskCommand) -> Result<Exit, Failure> {
    match command {
        TaskCommand::Ls(TaskList { json, config }) => {
            let answer = config.client()?.get("/v1/tasks").await?;
            if json {
                outln!("{}", String::from_utf8_lossy(&answer));
            } else {
                let tasks: Vec<Task> = shown(&answer)?;
                list(&tasks);
            }
        }
        TaskCommand::Show(one) => {
            let task = one.config.client()?.get(&path(&one.id)).await?;
            show(&task, one.json)?;
        }
        TaskCommand::Watch(one) => {
            let client = one.config.client()?;
            let task = follow(&client, &one.id).await?;
            show(&serde_json::to_vec(&task).map_err(Failure::failed)?, one.json)?;
            return Ok(exit_of(&task));
        }
        TaskCommand::Pause(one) => steer(one, &Steer::Pause).await?,
        TaskCommand::Resume(one) => steer(one, &Steer::Resume).await?,
        TaskCommand::Cancel(one) => steer(one, &Steer::Cancel).await?,
        TaskCommand::Rate { mib, one } => steer(one, &Steer::Rate { mib }).await?,
        TaskCommand::RebuildIndex(TaskList { json, config }) => {
            let client = config.client()?;
            let task = add(&client, TaskKind::Rebuild, String::new(), 0).await?;
            show(&serde_json::to_vec(&task).map_err(Failure::failed)?, json)?;
        }
    }
    Ok(Exit::Done)
}

/// A task's name goes into a path: nothing but letters, digits and '-' is one.
fn path(id: &str) -> String {
    let plain: String = id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    format!("/v1/tasks/{}", if plain == id && !id.is_empty() { id } else { "-" })
}

async fn steer(one: One, steer: &Steer) -> Result<(), Failure> {
    let body = serde_json::to_string(steer).map_err(Failure::failed)?;
    let task = one.config.client()?.post(&path(&one.id), body.into()).await?;
    show(&task, one.json)
}

fn show(task: &[u8], json: bool) -> Result<(), Failure> {
    if json {
        outln!("{}", String::from_utf8_lossy(task));
        return Ok(());
    }
    let task: Task = shown(task)?;
    list(std::slice::from_ref(&task));
    if let Some(error) = &task.error {
        outln!("error: {error}");
    }
    if let Some(result) = &task.result {
        outln!("{}", serde_json::to_string_pretty(result).map_err(Failure::failed)?);
    }
    Ok(())
}

fn list(tasks: &[Task]) {
    let heads = [("ID", 7), ("STATE", 9), ("KIND", 22), ("PROGRESS", 28), ("STARTED", 21), ("REASON", 0)];
    outln!("{}", heads.map(|(head, width)| pad(&said(head), width)).join("  "));
    for t in tasks {
        let kind = match &t.kind {
            TaskKind::Verify { log: None } => said("verify").into_owned(),
            TaskKind::Verify { log: Some(log) } => format!("{} {log}", said("verify")),
            TaskKind::Reconcile { with, repair, .. } => {
                format!("{} {with}", said(if *repair { "repair" } else { "reconcile" }))
            }
            TaskKind::Restore => said("restore").into_owned(),
            TaskKind::Rebuild => said("rebuild index").into_owned(),
        };
        let state = serde_json::to_value(t.state).ok().and_then(|s| s.as_str().map(str::to_owned)).unwrap_or_default();
        outln!(
            "{}  {}  {}  {}  {}  {}",
            pad(&t.id, 7),
            pad(&said(&state), 9),
            pad(&kind, 22),
            pad(&said(&progress(t)), 28),
            pad(t.started.as_deref().unwrap_or("-"), 21),
            said(&t.reason)
        );
    }
}

fn progress(t: &Task) -> String {
    let p = &t.progress;
    let of = match (p.total, p.unit.as_str()) {
        (Some(total), "bytes") if total < 10 << 20 => format!("{} of {} KiB", p.done >> 10, total >> 10),
        (Some(total), "bytes") => format!("{} of {} MiB", p.done >> 20, total >> 20),
        (Some(total), unit) => format!("{} of {total} {unit}", p.done),
        (None, _) => "-".to_owned(),
    };
    match &p.waiting_for {
        Some(whom) if !t.state.is_over() => format!("{of}, waits for {whom}"),
        _ => of,
    }
}

/// For whom a task waits, without how far that one is.
fn waits_for(task: &Task) -> Option<String> {
    let whom = task.progress.waiting_for.as_ref().filter(|_| !task.state.is_over())?;
    Some(whom.split(", which has read").next().unwrap_or_default().to_owned())
}

/// Says which task was put on the list, to whoever does not wait for it.
pub(super) fn detached(task: &Task, json: bool) -> Result<Exit, Failure> {
    if json {
        outln!("{}", serde_json::to_string(task).map_err(Failure::failed)?);
    } else {
        outln!("{}", task.id);
    }
    Ok(Exit::Done)
}

/// Puts a task on the node's list.
pub(super) async fn add(client: &Client, kind: TaskKind, reason: String, rate_mib: u64) -> Result<Task, Failure> {
    let body = serde_json::to_string(&NewTask { kind, reason, rate_mib }).map_err(Failure::failed)?;
    let answer = client.post("/v1/tasks", body.into()).await?;
    serde_json::from_slice(&answer).map_err(Failure::failed)
}

/// Follows a task to its end. Whoever interrupts the command leaves the task running.
pub(super) async fn follow(client: &Client, id: &str) -> Result<Task, Failure> {
    let terminal = std::io::stderr().is_terminal();
    let watch = async {
        let (mut shown, mut waits) = (String::new(), None);
        let mut heard = Instant::now();
        loop {
            let answer = match client.get(&format!("{}?wait=1", path(id))).await {
                Ok(answer) => answer,
                // A node that starts again goes on with its tasks.
                Err(ClientError::Unreachable { .. } | ClientError::Broken(_)) if heard.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
                Err(e) => return Err(e.into()),
            };
            heard = Instant::now();
            let task: Task = serde_json::from_slice(&answer).map_err(Failure::failed)?;
            let whom = waits_for(&task);
            if !terminal && whom.is_some() && whom != waits {
                errln!("{id} waits for {}", task.progress.waiting_for.as_deref().unwrap_or_default());
            }
            waits = whom;
            if terminal {
                let now = format!("{id}  {}", progress(&task));
                if now != shown {
                    draw(format_args!("\r\x1b[K{}", tame(&now)));
                    shown = now;
                }
            }
            if task.state.is_over() {
                if terminal && !shown.is_empty() {
                    draw(format_args!("\r\x1b[K"));
                }
                return Ok(task);
            }
        }
    };
    tokio::select! {
        task = watch => task,
        _ = tokio::signal::ctrl_c() => {
            errln!("\n{id} goes on; `tally task watch {id}` shows it again, `tally task cancel {id}` ends it");
            // Nothing was decided yet, and the shell should see that.
            tokio::time::sleep(Duration::from_millis(1)).await;
            Err(Failure::new(Exit::Interrupted, format!("left task {id} running")))
        }
    }
}

/// The exit code of a command that waited for this task.
pub(super) fn exit_of(task: &Task) -> Exit {
    match (task.state, task.exit) {
        (TaskState::Done, Some(3)) => Exit::Look,
        (TaskState::Done, Some(4)) => Exit::Differences,
        (TaskState::Done, _) => Exit::Done,
        _ => Exit::Failed,
    }
}

/// Puts a task on the list and follows it; the result, or why there is none.
pub(super) async fn carry_out(
    client: &Client,
    kind: TaskKind,
    reason: String,
    rate_mib: u64,
) -> Result<(serde_json::Value, Exit), Failure> {
    let task = add(client, kind, reason, rate_mib).await?;
    let task = follow(client, &task.id).await?;
    let exit = exit_of(&task);
    match (task.state, task.result) {
        (TaskState::Done, Some(result)) => Ok((result, exit)),
        (TaskState::Cancelled, _) => Err(Failure::failed(format!("{} was cancelled", task.id))),
        _ => Err(Failure::failed(task.error.unwrap_or_else(|| format!("{} failed", task.id)))),
    }
}
