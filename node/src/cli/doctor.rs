//! `tally doctor`: tests what can be tested on this machine, also while the node does not run. Each test says what it looked at,
//! what stands in the way, and what to do. It changes nothing.

mod machine;
mod network;

use super::{ConfigFile, Exit, Failure};
use crate::config::Config;
use clap::Args;
use serde::Serialize;
use tally_console::status::Status;
use tally_sheet::text::pad;
use tally_texts::said;
use tally_topology::signed::SignedCharter;

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    /// It works, and something is to be looked at.
    Warning,
    /// The node cannot work so.
    Failed,
    /// It could not be tested, because of something above.
    Skipped,
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Test {
    name: &'static str,
    verdict: Verdict,
    /// What was found.
    what: String,
    /// What to do; empty where there is nothing.
    next: String,
}

impl Test {
    fn ok(name: &'static str, what: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, what: what.into(), next: String::new() }
    }

    fn of(name: &'static str, verdict: Verdict, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { name, verdict, what: what.into(), next: next.into() }
    }

    fn failed(name: &'static str, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::of(name, Verdict::Failed, what, next)
    }

    fn warning(name: &'static str, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::of(name, Verdict::Warning, what, next)
    }
}

/// What the tests look at.
struct Patient {
    config: Config,
    /// The charter that is in force here as far as it is known: the running node's, else that of the file.
    charter: Option<SignedCharter>,
    /// What the running node says; `None`: it does not run.
    status: Option<Status>,
}

pub(super) async fn run(args: DoctorArgs) -> Result<Exit, Failure> {
    let tests = examined(&args.config).await;
    let well = tests.iter().all(|t| t.verdict == Verdict::Ok);
    if args.json {
        outln!("{}", serde_json::json!({ "ok": well, "tests": tests }));
    } else {
        tests.iter().for_each(print);
        let odd = tests.iter().filter(|t| t.verdict != Verdict::Ok).count();
        if well {
            outln!("all in order");
        } else {
            outln!("{odd} of {} tests have something to look at", tests.len());
        }
    }
    Ok(if well { Exit::Done } else { Exit::Look })
}

fn print(t: &Test) {
    let verdict = match t.verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "look at",
        Verdict::Failed => "FAILED",
        Verdict::Skipped => "skipped",
    };
    outln!("{}  {}  {}", pad(&said(t.name), 10), pad(&said(verdict), 8), said(&t.what));
    if !t.next.is_empty() {
        outln!("{}  {}  next: {}", pad("", 10), pad("", 8), t.next);
    }
}

async fn examined(place: &ConfigFile) -> Vec<Test> {
    let config = match place.load() {
        Ok(config) => config,
        Err(e) => {
            let next = "mend the file; tally config check looks at it again";
            return vec![Test::failed("config", e.to_string(), next)];
        }
    };
    let mut tests = vec![Test::ok("config", config.file.display().to_string())];
    let status = running(place, &mut tests).await;
    let note = match &status {
        Some(_) => in_force(place).await,
        None => None,
    };
    let (charter, told) = machine::charter(&config, note.as_deref());
    let patient = Patient { config, charter, status };
    tests.push(told);
    tests.push(machine::key(&patient));
    tests.extend(machine::data(&patient));
    tests.push(machine::clock(&patient));
    tests.push(machine::calendar(&patient));
    tests.extend(machine::folders(&patient));
    tests.extend(network::ports(&patient));
    tests.push(network::parent(&patient));
    tests
}

/// The charter in force, of the node that runs.
async fn in_force(place: &ConfigFile) -> Option<String> {
    let note = place.client().ok()?.get("/v1/charter").await.ok()?;
    String::from_utf8(note.to_vec()).ok()
}

/// Asks the node, if it runs.
async fn running(place: &ConfigFile, tests: &mut Vec<Test>) -> Option<Status> {
    const NAME: &str = "node";
    let answer = match place.client() {
        Ok(client) => client.get("/v1/status?wait=false").await,
        Err(e) => {
            tests.push(Test::failed(NAME, e.to_string(), ""));
            return None;
        }
    };
    match answer {
        Ok(answer) => match tally_client::shown::<Status>(&answer) {
            Ok(status) if status.actions.is_empty() => {
                tests.push(Test::ok(NAME, "it runs, and nothing needs attention"));
                Some(status)
            }
            Ok(status) => {
                let codes: Vec<_> = status.actions.iter().map(|a| a.code.as_str()).collect();
                let what = format!("it runs; to look at: {}", codes.join(" "));
                tests.push(Test::warning(NAME, what, "tally status says why; tally explain CODE"));
                Some(status)
            }
            Err(e) => {
                tests.push(Test::warning(NAME, e.to_string(), "is the program of the same release as the node?"));
                None
            }
        },
        Err(e) => {
            tests.push(Test::failed(
                NAME,
                e.to_string(),
                "systemctl start tally, or tally run; journalctl -u tally says why it ended",
            ));
            None
        }
    }
}
