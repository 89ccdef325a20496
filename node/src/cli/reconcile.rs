//! `tally reconcile`.

use super::{ConfigFile, Exit, Failure, task};
use clap::Args;
use tally_client::print::tame_all;
use tally_protocol::{ids::LogId, session::reconcile::RangeHolding};
use tally_reconcile::task::{ReconcileResult, TaskKind, With};

#[derive(Debug, Args)]
pub(super) struct ReconcileArgs {
    /// `parent`, the division of a neighbour, or `all`.
    #[arg(long, value_name = "WHOM")]
    with: With,
    /// Only this log, such as 350102/e1.
    #[arg(long, value_name = "L")]
    log: Option<LogId>,
    /// Fetch and give what is missing, and put damaged places right. Without it nothing is changed.
    #[arg(long)]
    repair: bool,
    /// Compare what both nodes know, without reading their disks first.
    #[arg(long)]
    quick: bool,
    /// Read at most so many MiB a second here.
    #[arg(long, value_name = "MIB", default_value_t = 0)]
    rate: u64,
    /// Why; kept with the task and with the damaged bytes.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Do not wait: print the task's name.
    #[arg(long)]
    detach: bool,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) async fn run(args: ReconcileArgs) -> Result<Exit, Failure> {
    let client = args.config.client()?;
    let kind = TaskKind::Reconcile { with: args.with, log: args.log, repair: args.repair, quick: args.quick };
    if args.detach {
        outln!("{}", task::add(&client, kind, args.reason, args.rate).await?.id);
        return Ok(Exit::Done);
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

fn name(holding: RangeHolding) -> &'static str {
    match holding {
        RangeHolding::Ok => "ok",
        RangeHolding::Damaged => "damaged",
        RangeHolding::Missing => "missing",
        RangeHolding::Other => "another record",
    }
}

fn print(r: &ReconcileResult) {
    let verdict = if r.agree { "agree" } else { "differ" };
    outln!(
        "with {}: {verdict}   {} round trips, {} bytes in, {} bytes out",
        r.with,
        r.rounds,
        r.fetched_bytes,
        r.sent_bytes
    );
    for d in &r.differences {
        let now = if d.mended { "   mended" } else { "" };
        outln!(
            "  {} records {}..{}   here {}, at {} {}{now}",
            d.log,
            d.index,
            d.to,
            name(d.here),
            d.with,
            name(d.there)
        );
    }
    if r.repaired > 0 || r.mended_places > 0 {
        outln!(
            "{} records came back; {} damaged places of this journal were put right (data/quarantine)",
            r.repaired,
            r.mended_places
        );
    }
    if r.index_rebuilt {
        outln!("the index did not hold what the journal holds; it is being built anew");
    }
    for s in &r.skipped {
        outln!("  {} was not compared: {}", s.division, s.why);
    }
    if let Some(why) = r.trouble.as_ref().filter(|_| !r.agree) {
        outln!("  not everything could be mended: {why}");
    }
    let of = |from: fn(&ReconcileResult) -> Vec<u64>| from(r).iter().sum::<u64>();
    let fetch = of(|r| {
        r.differences
            .iter()
            .filter(|d| d.here != RangeHolding::Ok && d.there == RangeHolding::Ok)
            .map(|d| d.to - d.index)
            .collect()
    });
    let give = of(|r| {
        r.differences
            .iter()
            .filter(|d| d.there != RangeHolding::Ok && d.here == RangeHolding::Ok)
            .map(|d| d.to - d.index)
            .collect()
    });
    if r.dry_run && fetch + give > 0 {
        outln!(
            "next: the same with --repair fetches up to {fetch} records and gives up to {give} (about 85 bytes each, less where parts are left)"
        );
    }
}
