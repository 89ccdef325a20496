//! Commands that talk to a running node.

use crate::{
    Federation, Ran, list, poll,
    program::{run, tally},
    sample::records,
    wait_for,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::Write as _,
    ops::Range,
    process::{Child, Command, Stdio},
    time::Duration,
};

impl Federation {
    /// Runs a command that talks to a node.
    pub fn ask(&self, division: &str, args: &[&str]) -> Ran {
        let config = self.config(division);
        run(&[args, &["--config", &config]].concat())
    }

    pub fn status(&self, division: &str) -> Value {
        let ran = self.ask(division, &["status", "--json"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.json()
    }

    /// `None` while the node does not answer.
    pub fn try_status(&self, division: &str) -> Option<Value> {
        let ran = self.ask(division, &["status", "--json"]);
        (ran.code == 0).then(|| ran.json())
    }

    /// Whether the status of a node comes to be as wanted in that time; one that cannot be had is looked at again.
    pub fn poll_status(&self, division: &str, within: Duration, mut is: impl FnMut(&Value) -> bool) -> bool {
        poll(within, || is(&self.try_status(division)?).then_some(())).is_some()
    }

    /// Hands in lines through stdin; exit code and answer.
    pub fn ingest(&self, division: &str, lines: &str) -> (i32, Value) {
        let mut child = self.upload(division);
        // A command that has ended already does not read on; its exit code says why.
        let _ = child.stdin.take().unwrap().write_all(lines.as_bytes());
        let ran = Ran::of(child.wait_with_output().unwrap());
        (ran.code, ran.json())
    }

    /// `tally ingest` that waits for lines on its stdin.
    pub fn upload(&self, division: &str) -> Child {
        let mut command = Command::new(tally());
        command.args(["ingest", "-", "--json", "--config", &self.config(division)]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub fn ingest_file(&self, division: &str, path: &str) -> (i32, Value) {
        let ran = self.ask(division, &["ingest", path, "--json"]);
        (ran.code, ran.json())
    }

    /// Rows that a node has taken and not signed.
    pub fn staged(&self, division: &str) -> u64 {
        let status = self.status(division);
        status["staged"]["records"].as_u64().unwrap_or_else(|| panic!("{status}"))
    }

    /// Hands in new records, all of which have to be taken, and waits until they are signed: right after a start they are staged.
    pub fn enter(&self, division: &str, range: Range<u64>) {
        let wanted = range.end - range.start;
        let (code, answer) = self.ingest(division, &records(range, division));
        assert_eq!((code, answer["accepted"].as_u64()), (0, Some(wanted)), "{division}: {answer}");
        if answer["staged"] != 0 {
            wait_for("what was taken is signed", Duration::from_secs(30), || {
                (self.staged(division) == 0).then_some(())
            });
        }
    }

    /// Stdout of an export as it is.
    pub fn export_text(&self, division: &str, args: &[&str]) -> String {
        self.ask(division, &[&["export"], args].concat()).done()
    }

    pub fn export(&self, division: &str, args: &[&str]) -> Vec<Value> {
        self.export_text(division, args).lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }

    /// Every node of the list that has its parent there too is confirmed by it, both hold the same, and nothing is staged.
    pub fn converged(&self, divisions: &[&str]) -> bool {
        self.agree(divisions, true)
    }

    /// The same, confirmed or not.
    pub fn hold_the_same(&self, divisions: &[&str]) -> bool {
        self.agree(divisions, false)
    }

    fn agree(&self, divisions: &[&str], and_confirmed: bool) -> bool {
        let all: Option<BTreeMap<_, _>> = divisions.iter().map(|d| Some((*d, self.try_status(d)?))).collect();
        let Some(all) = all else { return false };
        all.values().all(|mine| {
            let own = &mine["node"]["division"];
            let above = mine["parent"]["division"].as_str().and_then(|p| all.get(p));
            let agrees = above.is_none_or(|above| {
                let held = list(&above["divisions"]).iter().find(|d| d["division"] == *own);
                let confirmed = !and_confirmed || mine["parent"]["unacked_records"] == 0;
                confirmed && held.is_some_and(|held| held["digest"] == mine["digest"])
            });
            agrees && mine["records"].is_u64() && mine["staged"]["records"] == 0
        })
    }

    pub fn wait_converged(&self, divisions: &[&str], within: Duration) {
        wait_for("all nodes agree", within, || self.converged(divisions).then_some(()));
    }

    /// `records` of a status, which must be known.
    pub fn count(&self, division: &str) -> u64 {
        let status = self.status(division);
        status["records"].as_u64().unwrap_or_else(|| panic!("{status}"))
    }
}
