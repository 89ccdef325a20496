//! `tally reconcile`.

use super::{ConfigFile, Exit, Failure, task};
use clap::Args;
use tally_client::print::tame_all;
use tally_protocol::{ids::LogId, session::reconcile::RangeHolding};
use tally_reconcile::task::{DifferenceOut, ReconcileResult, TaskKind, With};

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
    /// Do not wait: print the task's name, or with --json the task.
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
    let ReconcileArgs { with, log, repair, quick, .. } = args;
    let kind = TaskKind::Reconcile { with, log, repair, quick, own_disk: false };
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
    let fetch = records(r, |d| d.here != RangeHolding::Ok && d.there == RangeHolding::Ok);
    let give = records(r, |d| d.there != RangeHolding::Ok && d.here == RangeHolding::Ok);
    if r.dry_run && fetch + give > 0 {
        outln!(
            "next: the same with --repair fetches up to {fetch} records and gives up to {give} (about 85 bytes each, less where parts are left)"
        );
    }
}

/// How many records the differences that are `meant` cover: what several neighbours have is fetched from one.
fn records(r: &ReconcileResult, meant: impl Fn(&DifferenceOut) -> bool) -> u64 {
    let mut ranges: Vec<_> = r.differences.iter().filter(|d| meant(d)).map(|d| (&*d.log, d.index, d.to)).collect();
    ranges.sort_unstable();
    let (mut sum, mut log, mut end) = (0_u64, "", 0);
    for (of, from, to) in ranges {
        if of != log {
            (log, end) = (of, 0);
        }
        sum = sum.saturating_add(to.saturating_sub(from.max(end)));
        end = end.max(to);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_protocol::ids::Division;

    #[test]
    fn what_several_neighbours_have_is_counted_once() {
        let difference = |log: &str, index, to, here, there| DifferenceOut {
            with: Division::try_from(350_102).unwrap(),
            log: log.to_owned(),
            index,
            to,
            here,
            there,
            mended: false,
        };
        use RangeHolding::{Missing, Ok};
        let differences = vec![
            difference("a", 0, 10, Missing, Ok),
            difference("a", 0, 10, Missing, Ok),
            difference("a", 5, 20, Missing, Ok),
            difference("b", 3, 4, Missing, Ok),
            difference("a", 30, 40, Ok, Missing),
        ];
        let result = ReconcileResult { differences, ..ReconcileResult::default() };
        assert_eq!(records(&result, |d| d.here == Missing), 21);
        assert_eq!(records(&result, |d| d.there == Missing), 10);
        assert_eq!(records(&ReconcileResult::default(), |_| true), 0);
    }
}
