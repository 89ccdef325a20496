//! `tally demo`: a federation on this machine, every node its own process, on generated records.

#[macro_use(outln, errln)]
extern crate tally_client;

mod feed;
mod fleet;
mod processes;
mod sample;
mod words;

use clap::Args;
use feed::{Fed, feed};
use fleet::{Fleet, Member, counties_max};
use processes::Processes;
use serde_json::json;
use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    time::{Duration, Instant},
};
use tally_client::{Exit, Failure, block_on};
use tally_console::status::{PeerState, Status};
use tally_sheet::text::{count, pad};
use tally_texts::said;
use tokio::task::JoinSet;

/// The table is drawn this often.
const REDRAW: Duration = Duration::from_millis(250);
/// All links are up within this, or something is wrong.
const LINKED_WITHIN: Duration = Duration::from_secs(60);
/// Without agreement after this, the demo has failed.
const PATIENCE: Duration = Duration::from_secs(900);

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Folder for the nodes; kept afterwards, and can be used again (default: a new one in the system's temporary folder).
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Number of counties.
    #[arg(long, default_value_t = 3, value_name = "N")]
    counties: usize,
    /// Records generated in all, duplicates and faulty ones included.
    #[arg(long, default_value_t = 3_000, value_name = "N")]
    records: usize,
    /// One JSON document on stdout at the end.
    #[arg(long)]
    json: bool,
    /// Stop when all nodes agree.
    #[arg(long)]
    exit: bool,
}

/// Runs the demo.
///
/// # Errors
/// [`Failure`] when a node does not start or records cannot be handed in.
pub fn run(args: &DemoArgs) -> Result<Exit, Failure> {
    let max = counties_max();
    if !(1..=max).contains(&args.counties) {
        return Err(Failure::new(Exit::Usage, format!("--counties: 1 to {max}")));
    }
    let dir =
        args.dir.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("tally-demo-{}", std::process::id())));
    let fleet = Fleet::open(&dir, args.counties)?;
    fleet.nobody_runs()?;
    let processes = Processes::start(&fleet)?;
    block_on(live(args, fleet, processes))
}

async fn live(args: &DemoArgs, fleet: Fleet, mut processes: Processes) -> Result<Exit, Failure> {
    processes.ready(&fleet).await?;
    errln!("{} nodes run, each its own process; their folders are in {}", fleet.members.len(), fleet.dir.display());
    linked(&fleet).await?;
    let started = Instant::now();
    let mut feeding = start_feeding(args, &fleet);
    let mut fed = Fed::default();
    let mut screen = Screen::new();
    let converged = loop {
        while let Some(done) = feeding.try_join_next() {
            fed += done.map_err(Failure::failed)??;
        }
        let statuses = statuses(&fleet, "/v1/status?wait=false").await?;
        screen.draw(&fleet, &statuses, &fed, started.elapsed(), false);
        if feeding.is_empty() && agree(&fleet, &statuses) {
            break true;
        }
        if started.elapsed() > PATIENCE {
            break false;
        }
        let pause = if feeding.is_empty() { REDRAW / 5 } else { REDRAW };
        tokio::time::sleep(pause).await;
    };
    let seconds = started.elapsed().as_secs_f64();
    // Counts come from the index, which follows the logs.
    let statuses = statuses(&fleet, "/v1/status").await?;
    screen.draw(&fleet, &statuses, &fed, started.elapsed(), true);
    if args.json {
        outln!("{}", document(&fleet, &statuses, &fed, converged, seconds, started.elapsed().as_secs_f64()));
    } else {
        summary(&fleet, &fed, converged, seconds);
    }
    if !args.exit {
        explain(&fleet);
        let _ = tokio::signal::ctrl_c().await;
        errln!("stopping ...");
    }
    tokio::task::spawn_blocking(move || processes.stop()).await.map_err(Failure::failed)?;
    Ok(if converged { Exit::Done } else { Exit::Failed })
}

/// Waits until every node has its parent: the clock starts with the first record, not with the processes.
async fn linked(fleet: &Fleet) -> Result<(), Failure> {
    let deadline = Instant::now() + LINKED_WITHIN;
    loop {
        let statuses = statuses(fleet, "/v1/status?wait=false").await?;
        let live = |s: &Status| s.parent.as_ref().is_none_or(|p| p.state == PeerState::Live);
        if statuses.iter().all(live) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Failure::failed("not every node reaches its parent; see node.log in their folders"));
        }
        tokio::time::sleep(REDRAW / 5).await;
    }
}

/// A few records enter at the province and the cities, the rest at the counties, all at the same time.
fn start_feeding(args: &DemoArgs, fleet: &Fleet) -> JoinSet<Result<Fed, Failure>> {
    let above = fleet.members.iter().filter(|m| m.level != "county").count();
    let few = (args.records / 100).min(args.records / (above + 1));
    let left = args.records - few * above;
    let mut county = 0;
    let mut feeding = JoinSet::new();
    for m in &fleet.members {
        let lines = if m.level == "county" {
            county += 1;
            left * county / args.counties - left * (county - 1) / args.counties
        } else {
            few
        };
        if lines > 0 {
            feeding.spawn(feed(fleet.client(m), fleet.place(m), lines));
        }
    }
    feeding
}

async fn statuses(fleet: &Fleet, path: &'static str) -> Result<Vec<Status>, Failure> {
    let mut asking = JoinSet::new();
    for (i, m) in fleet.members.iter().enumerate() {
        let client = fleet.client(m);
        asking.spawn(async move { (i, client.get(path).await) });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by_key(|(i, _)| *i);
    let mut all = Vec::new();
    for (_, answer) in answers {
        let bytes = answer?;
        all.push(serde_json::from_slice(&bytes).map_err(Failure::failed)?);
    }
    Ok(all)
}

/// Every parent holds exactly what its child holds, every receipt has come down, the province's too, and nothing is staged.
fn agree(fleet: &Fleet, statuses: &[Status]) -> bool {
    let of = |m: &Member| statuses.iter().find(|s| s.node.division == m.division);
    fleet.members.iter().all(|m| {
        let Some(mine) = of(m).filter(|s| s.staged.records == 0) else { return false };
        let Some(parent) = m.parent else { return true };
        let above = statuses.iter().find(|s| s.node.division == parent);
        let there = above.and_then(|s| s.divisions.iter().find(|d| d.division == m.division)).and_then(|d| d.digest);
        let reached = mine.logs.iter().filter(|l| l.size.is_some_and(|n| n > 0)).all(|l| {
            let covered = |r: &tally_console::status::ReceiptStatus| {
                r.level == Some(tally_topology::charter::Level::Province) && Some(r.size) == l.size
            };
            l.receipts.iter().any(covered)
        });
        there == mine.digest && mine.parent.as_ref().is_some_and(|p| p.unacked_records == 0) && reached
    })
}

fn document(
    fleet: &Fleet,
    statuses: &[Status],
    fed: &Fed,
    converged: bool,
    seconds: f64,
    indexed: f64,
) -> serde_json::Value {
    let nodes: Vec<_> = fleet
        .members
        .iter()
        .zip(statuses)
        .map(|(m, s)| {
            json!({
                "division": m.division.to_string(), "level": m.level, "records": s.records, "digest": s.digest,
                "config": fleet.config(m), "divisions": s.divisions,
            })
        })
        .collect();
    let records = statuses.first().and_then(|s| s.records);
    let rate = (fed.accepted as f64 / seconds).round();
    json!({
        "converged": converged, "records": records, "seconds": (seconds * 1e3).round() / 1e3, "nodes": nodes,
        "lines": fed.read, "accepted": fed.accepted, "duplicate": fed.duplicate, "rejected": fed.rejected,
        "records_per_second": rate, "indexed_seconds": (indexed * 1e3).round() / 1e3, "dir": fleet.dir,
    })
}

fn summary(fleet: &Fleet, fed: &Fed, converged: bool, seconds: f64) {
    let Fed { read, accepted, duplicate, rejected } = *fed;
    let word = if converged { "all nodes agree" } else { "NOT all nodes agree" };
    errln!("\n{read} lines handed in = {accepted} accepted + {duplicate} duplicates + {rejected} rejected");
    errln!(
        "{word} after {seconds:.2} s: {:.0} records/s through {} processes, each record on disk and receipted at every level",
        accepted as f64 / seconds,
        fleet.members.len()
    );
}

fn explain(fleet: &Fleet) {
    let tally = std::env::current_exe().map_or("tally".into(), |p| p.display().to_string());
    let Some(province) = fleet.members.first() else { return };
    let county = fleet.members.iter().find(|m| m.level == "county").unwrap_or(province);
    errln!("\nThe nodes stay up. In another terminal:");
    errln!("  {tally} status --config {}", fleet.config(province).display());
    errln!("  {tally} export --config {} | head -1", fleet.config(county).display());
    errln!("  curl http://127.0.0.1:{}/metrics", province.http);
    errln!("Ctrl-C stops all of it; the folder stays: {}", fleet.dir.display());
}

/// The live table: redrawn in place on a terminal, a line now and then elsewhere. Always on stderr.
struct Screen {
    terminal: bool,
    lines: usize,
    last: Option<Instant>,
}

impl Screen {
    fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), lines: 0, last: None }
    }

    fn draw(&mut self, fleet: &Fleet, statuses: &[Status], fed: &Fed, elapsed: Duration, last: bool) {
        let often = if self.terminal { Duration::ZERO } else { Duration::from_secs(2) };
        if !last && self.last.is_some_and(|t| t.elapsed() < often) {
            return;
        }
        self.last = Some(Instant::now());
        let text = if self.terminal || last { table(fleet, statuses, fed, elapsed) } else { line(statuses, elapsed) };
        let mut err = std::io::stderr().lock();
        if self.terminal && self.lines > 0 {
            let _ = write!(err, "\x1b[{}A\x1b[J", self.lines);
        }
        self.lines = text.lines().count();
        let _ = err.write_all(text.as_bytes());
    }
}

fn line(statuses: &[Status], elapsed: Duration) -> String {
    let held: Vec<_> = statuses
        .iter()
        .map(|s| {
            format!(
                "{} {}",
                s.node.division,
                s.divisions.iter().find(|d| d.division == s.node.division).map_or(0, |d| d.log_records)
            )
        })
        .collect();
    format!("{:6.1} s  {}\n", elapsed.as_secs_f64(), held.join("  "))
}

fn table(fleet: &Fleet, statuses: &[Status], fed: &Fed, elapsed: Duration) -> String {
    let mut out = String::new();
    let head = ["NODE", "NAME", "LEVEL", "IN LOGS", "DISTINCT", "UNCONFIRMED", "DIGEST", "COPY AT PARENT"];
    let widths = [8, 16, 12, 12, 12, 13, 14, 14];
    let row = |cells: &[String]| {
        let cells: Vec<_> = cells.iter().zip(widths).map(|(c, w)| pad(c, w)).collect();
        format!("{}\n", cells.concat().trim_end())
    };
    out.push_str(&row(&head.map(|h| said(h).into_owned())));
    for (m, s) in fleet.members.iter().zip(statuses) {
        let own = s.divisions.iter().find(|d| d.division == m.division);
        let above = statuses.iter().find(|p| Some(p.node.division) == m.parent);
        let there = above.and_then(|p| p.divisions.iter().find(|d| d.division == m.division)).and_then(|d| d.digest);
        let copy = match m.parent {
            None => "-".into(),
            Some(_) if s.digest.is_some() && there == s.digest => said("agrees"),
            Some(_) => said("behind"),
        };
        out.push_str(&row(&[
            m.division.to_string(),
            m.name.clone(),
            said(&m.level).into_owned(),
            count(own.map(|o| o.log_records)),
            s.records.map_or("...".into(), |r| count(Some(r))),
            s.parent.as_ref().map_or("-".into(), |p| count(Some(p.unacked_records))),
            s.digest.map_or("-".into(), |d| d.to_string()[..12].to_owned()),
            copy.into_owned(),
        ]));
    }
    let [accepted, duplicate, rejected] = [fed.accepted, fed.duplicate, fed.rejected].map(|n| count(Some(n)));
    let answered = format!("answered so far: {accepted} accepted, {duplicate} duplicates, {rejected} rejected");
    out.push_str(&format!("{:6.1} s   {}\n", elapsed.as_secs_f64(), said(&answered)));
    out
}
