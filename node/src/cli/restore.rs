//! `tally restore`: pulls a node's history back from its parent. A node that runs restores itself, and this command
//! watches; one that does not is started for it and stopped afterwards.

use super::{Client, ClientError, ConfigFile, Exit, Failure, task};
use clap::Args;
use std::{
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tally_client::owner::{FolderOwner, make_folder};
use tally_reconcile::task::TaskKind;

/// A node that is started has this long to answer.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// A node that ends so as to be started again, as when a newer charter names its next epoch, is started so often.
const STARTS_MAX: u32 = 3;
/// Mode of the folder of the admin socket, as in `deploy/systemd/tally.service`.
const SOCKET_FOLDER_MODE: u32 = 0o750;

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    /// Why; kept with the task.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    config: ConfigFile,
}

/// The node of this command. Ends with it.
struct Started(Child);

impl Started {
    /// Waits until it has ended; answers its code.
    ///
    /// Cancel-safe.
    async fn ended(&mut self) -> Option<i32> {
        loop {
            match self.0.try_wait() {
                Ok(Some(status)) => return status.code(),
                Ok(None) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(_) => return None,
            }
        }
    }
}

/// What it means for this command that its node has ended. The node itself has said why.
fn ended_with(code: Option<i32>) -> Failure {
    let exit = match code {
        Some(6) => Exit::NotAdmitted,
        Some(78) => Exit::Config,
        _ => Exit::Failed,
    };
    Failure::new(exit, "the node that was started for this has ended, see above")
}

impl Drop for Started {
    fn drop(&mut self) {
        // Its standard input closes, which tells it to stop.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

pub(super) async fn run(args: RestoreArgs) -> Result<Exit, Failure> {
    let client = args.config.client()?;
    let mut started = match client.get("/version").await {
        Ok(_) => None,
        Err(ClientError::Unreachable { .. }) => Some(start(&client, &args.config).await?),
        Err(e) => return Err(e.into()),
    };
    let mut starts = 1;
    let restored = loop {
        let asked = task::carry_out(&client, TaskKind::Restore, args.reason.clone(), 0);
        let Some(node) = &mut started else { break asked.await };
        tokio::select! {
            restored = asked => break restored,
            code = node.ended() => {
                if code != Some(Exit::Restart as i32) || starts == STARTS_MAX {
                    return Err(ended_with(code));
                }
            }
        }
        starts += 1;
        *node = start(&client, &args.config).await?;
    };
    drop(started);
    let (mut result, exit) = restored?;
    if args.json {
        outln!("{result}");
        return Ok(exit);
    }
    tally_client::print::tame_all(&mut result);
    let logs = result["logs"].as_array().map_or(&[][..], Vec::as_slice);
    outln!("{} records of this node's own history are on this disk, verified", result["records"]);
    for log in logs {
        outln!("  {}  {} records", log["log"].as_str().unwrap_or_default(), log["records"]);
    }
    if let Some(why) = result["why"].as_str() {
        outln!("what the parent holds of nodes below could not be compared: {why}");
    } else if exit == Exit::Look {
        outln!("of nodes below not everything is alike here and at the parent yet: tally reconcile --with parent");
    }
    outln!("{} records of nodes below came from the parent too; the rest they send themselves", result["below"]);
    outln!(
        "What was accepted here and never reached the parent is not among them. `tally receipt FILE` names, for a file that"
    );
    outln!("was handed in, every row that is not held: hand those in again. Next: tally run");
    Ok(exit)
}

async fn start(client: &Client, config: &ConfigFile) -> Result<Started, Failure> {
    let (settings, config): (_, &Path) = (config.load()?, &config.config);
    let program = std::env::current_exe().map_err(Failure::failed)?;
    let mut node = Command::new(program);
    // An empty data directory is what a restore begins with, and no word that nothing was ever signed.
    node.args(["run", "--until-stdin-closes", "--restoring", "--config"]).arg(config);
    node.env("TALLY__LOG__LEVEL", "warn").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit());
    // What root would write, the node's own user could not read afterwards.
    let owner = FolderOwner::other_than_root(&settings.key()).ok().flatten();
    if let Some(owner) = owner {
        node.uid(owner.uid).gid(owner.gid);
    }
    // The service manager makes it for the service, and may have removed it since.
    if let Some(folder) = settings.admin().parent() {
        let failed = |e| Failure::failed(format!("{}: {e}", folder.display()));
        make_folder(folder, SOCKET_FOLDER_MODE, owner).map_err(failed)?;
    }
    let mut started = Started(node.spawn().map_err(Failure::failed)?);
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        if client.get("/version").await.is_ok() {
            return Ok(started);
        }
        if let Some(status) = started.0.try_wait().map_err(Failure::failed)? {
            return Err(ended_with(status.code()));
        }
        if Instant::now() > deadline {
            return Err(Failure::failed(format!("the node did not answer within {} s", READY_WITHIN.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
