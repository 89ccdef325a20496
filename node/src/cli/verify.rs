//! `tally verify`.

use super::{ConfigFile, Exit, Failure, task};
use clap::Args;
use tally_client::print::tame_all;
use tally_protocol::ids::LogId;
use tally_reconcile::{
    task::TaskKind,
    verify::{IndexState, VerifyReport},
};

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Only this log, such as 350102/e1.
    #[arg(long, value_name = "L")]
    log: Option<LogId>,
    /// Read at most so many MiB a second.
    #[arg(long, value_name = "MIB", default_value_t = 0)]
    rate: u64,
    /// Why; kept with the task.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Do not wait: print the task's name, or with --json the task.
    #[arg(long)]
    detach: bool,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) async fn run(args: VerifyArgs) -> Result<Exit, Failure> {
    let client = args.config.client()?;
    let kind = TaskKind::Verify { log: args.log };
    if args.detach {
        return task::detached(&task::add(&client, kind, args.reason, args.rate).await?, args.json);
    }
    let (mut result, exit) = task::carry_out(&client, kind, args.reason, args.rate).await?;
    if args.json {
        outln!("{result}");
    } else {
        tame_all(&mut result);
        print(&serde_json::from_value(result).map_err(Failure::failed)?);
    }
    Ok(exit)
}

fn print(report: &VerifyReport) {
    let VerifyReport { frames, records, bytes, damaged, closed_branch, index } = report;
    outln!("{frames} frames and {records} records hold, {bytes} bytes read, {} damaged places", damaged.len());
    for d in damaged {
        let records = match (&d.log, d.from, d.to) {
            (Some(log), Some(from), Some(to)) => format!("{log} records {from}..{to}"),
            _ => "no record is lost by it".to_owned(),
        };
        outln!("  segment {:08} at {}  {}  {records}", d.segment, d.offset, d.kind.name());
    }
    for b in closed_branch {
        let state = if b.readable { "does not count" } else { "does not count, and cannot be read" };
        outln!(
            "  segment {:08} at {}  closed_branch  {} records {}..{}: not of what its epoch was closed with, {state}",
            b.segment,
            b.offset,
            b.log,
            b.from,
            b.to
        );
    }
    match index {
        Some(IndexState::Differs) => {
            outln!("the index does not hold what the journal holds; no record is lost by that");
            outln!("next: tally task rebuild-index");
        }
        Some(IndexState::Behind) => outln!("the index is being built; it was not looked at"),
        Some(IndexState::Ok) | None => {}
    }
    if !damaged.is_empty() {
        outln!(
            "next: tally reconcile --with all --repair   (without --repair it only says what it would do); a node with \
             schedule.repair mends it by itself"
        );
    }
}
