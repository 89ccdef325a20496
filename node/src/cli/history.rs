//! `tally history`: what happened at this node and below it, by day.

use super::{ConfigFile, Exit, Failure, ingest::encoded};
use clap::Args;
use tally_client::shown;
use tally_console::{HistoryNote, NoteKind};
use tally_sheet::text::pad;
use tally_texts::{local_times, said};

/// Days that are told where nobody says since when.
const DAYS: u64 = 7;
/// Seconds of a day.
const DAY_S: u64 = 86_400;

#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// Only what happened since then: a day (2026-11-28) or an RFC 3339 time; by default the last seven days.
    #[arg(long, value_name = "T")]
    since: Option<String>,
    /// Only of this division and those below it, by code or name.
    #[arg(long, value_name = "D")]
    division: Option<String>,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) async fn run(args: HistoryArgs) -> Result<Exit, Failure> {
    let client = args.config.client()?;
    let week = || tally_clock::time((tally_clock::wall_ms() / 1_000).saturating_sub(DAYS * DAY_S));
    let mut path = format!("/v1/history?since={}", encoded(&args.since.unwrap_or_else(week)));
    if let Some(division) = &args.division {
        path += &format!("&division={}", encoded(division));
    }
    let answer = client.get(&path).await?;
    if args.json {
        outln!("{}", String::from_utf8_lossy(&answer));
        return Ok(Exit::Done);
    }
    let notes: Vec<HistoryNote> = shown(&answer)?;
    let mut day = String::new();
    for n in &notes {
        let at = local_times(&n.at).into_owned();
        let (on, time) = at.split_once(' ').unwrap_or((&at, ""));
        if on != day {
            outln!("{on}");
            on.clone_into(&mut day);
        }
        outln!("  {time}  {}  {}", pad(&kind(n.kind), 8), words(n));
    }
    if notes.is_empty() {
        outln!("nothing was noted in this time");
    }
    Ok(Exit::Done)
}

fn kind(kind: NoteKind) -> String {
    let name = match kind {
        NoteKind::Started => "start",
        NoteKind::Stopped => "stop",
        NoteKind::Link => "link",
        NoteKind::Charter => "charter",
        NoteKind::Problem => "problem",
        NoteKind::Over => "over",
        NoteKind::Task => "task",
    };
    said(name).into_owned()
}

fn words(n: &HistoryNote) -> String {
    let code = match n.kind {
        NoteKind::Problem | NoteKind::Over => format!("[{}] ", n.code),
        NoteKind::Task => format!("{} ", said(&n.code)),
        _ => String::new(),
    };
    let why = if n.why.is_empty() { String::new() } else { format!(": {}", said(&n.why)) };
    format!("{code}{}{why}", said(&n.what))
}
