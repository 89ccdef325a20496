//! Verify, reconcile and tasks of a node, as an operator sees them.

use crate::{
    Federation, Ran, list,
    segments::{Range, union},
    wait_for,
};
use serde_json::Value;
use std::time::Duration;

impl Federation {
    pub fn verify(&self, division: &str) -> Ran {
        self.ask(division, &["verify", "--json"])
    }

    pub fn reconcile(&self, division: &str, with: &str, more: &[&str]) -> Ran {
        self.ask(division, &[&["reconcile", "--with", with, "--json"], more].concat())
    }

    /// Repairs, after which both sides have to agree; the report.
    pub fn repair(&self, division: &str, with: &str) -> Value {
        let ran = self.reconcile(division, with, &["--repair"]);
        let report = ran.json();
        assert!(ran.code == 0 && report["agree"] == true, "repair at {division} with {with}: {ran:?}");
        report
    }

    pub fn assert_verified(&self, division: &str) {
        let ran = self.verify(division);
        assert!(ran.code == 0 && list(&ran.json()["damaged"]).is_empty(), "verify at {division}: {ran:?}");
    }

    /// `tally task` with an id; the task.
    pub fn task(&self, division: &str, what: &str, id: &str) -> Value {
        let ran = self.ask(division, &["task", what, id, "--json"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.json()
    }

    /// Waits until a task is as wanted.
    pub fn wait_task(&self, division: &str, id: &str, within: Duration, is: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let ask = || {
            last = self.task(division, "show", id);
            is(&last).then(|| last.clone())
        };
        wait_for(&format!("task {id} at {division}"), within, ask)
    }
}

/// Records that a report of verify names.
pub fn named(report: &Value) -> Vec<Range> {
    let number = |v: &Value| v.as_u64().unwrap_or_else(|| panic!("{report}"));
    let lost = list(&report["damaged"]).iter().filter(|d| !d["log"].is_null());
    union(lost.map(|d| (d["log"].as_str().unwrap().to_owned(), number(&d["from"]), number(&d["to"]))))
}
