//! `tally verify`.

use super::{ConfigFile, Exit, Failure};
use crate::verify::Report;
use clap::Args;
use tally_protocol::ids::LogId;

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Only this log, such as 350102/e1.
    #[arg(long, value_name = "L")]
    log: Option<LogId>,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) async fn run(args: VerifyArgs) -> Result<Exit, Failure> {
    let client = args.config.client()?;
    let path = args.log.map_or("/v1/verify".to_owned(), |l| format!("/v1/verify?log={}%2Fe{}", l.division, l.epoch));
    let answer = client.get(&path).await?;
    let report: Report = serde_json::from_slice(&answer).map_err(Failure::failed)?;
    if args.json {
        outln!("{}", String::from_utf8_lossy(&answer));
    } else {
        print(&report);
    }
    Ok(if report.damaged.is_empty() { Exit::Done } else { Exit::Differences })
}

fn print(report: &Report) {
    let Report { frames, records, bytes, damaged } = report;
    outln!("{frames} frames and {records} records hold, {bytes} bytes read, {} damaged places", damaged.len());
    for d in damaged {
        let kind = serde_json::to_value(d.kind).ok().and_then(|k| k.as_str().map(str::to_owned)).unwrap_or_default();
        let records = match (&d.log, d.from, d.to) {
            (Some(log), Some(from), Some(to)) => format!("{log} records {from}..{to}"),
            _ => "no records named".to_owned(),
        };
        outln!("  segment {:08} at {}  {kind}  {records}", d.segment, d.offset);
    }
    if !damaged.is_empty() {
        outln!(
            "next: stop the node and restore data/journal from a backup; what the parent holds of the own log comes back by itself"
        );
    }
}
