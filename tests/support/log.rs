//! What nodes write to their log: warnings and errors that a test does not provoke fail it.

use crate::Federation;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// The event as which a panic of a node counts.
const PANIC: &str = "panic";
/// Warnings that any test may see that stops a node. One that comes back opens its link before the other end knows that
/// the old one is gone, or calls one that is about to end; and on a busy machine not all of a node ends in time.
const OF_A_STOP: [&str; 2] = ["link.refused", "node.stop_late"];
/// Warnings of a node that was killed, when it starts again.
pub(crate) const OF_A_KILL: &[&str] = &["journal.cut", "index.rebuild"];

/// Names of events that may be warnings or errors.
#[derive(Debug)]
pub(crate) struct Expected(Mutex<BTreeSet<String>>);

impl Default for Expected {
    fn default() -> Self {
        Self(Mutex::new(OF_A_STOP.map(str::to_owned).into()))
    }
}

impl Federation {
    /// The test provokes these: warnings and errors with events of these names are no reason for it to fail. A panic is
    /// called `panic`.
    pub fn expects(&self, events: &[&str]) {
        let mut expected = self.expected.0.lock().unwrap_or_else(PoisonError::into_inner);
        expected.extend(events.iter().map(|e| (*e).to_owned()));
    }

    /// Lines of all logs that are warnings or errors and not expected, with the node's division.
    pub(crate) fn unexpected(&self) -> Vec<String> {
        let expected = self.expected.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |division: &str| {
            let log = self.log(division);
            let bad = log.lines().filter(|line| trouble(line).is_some_and(|event| !expected.contains(&event)));
            bad.map(|line| format!("{division}: {line}")).collect::<Vec<_>>()
        };
        self.members.iter().flat_map(|m| of(&m.division)).collect()
    }
}

/// The event's name, if the line is a warning or an error.
fn trouble(line: &str) -> Option<String> {
    // Lines that are not JSON are what the command says, or what the standard library says of a panic.
    let Ok(line) = serde_json::from_str::<Value>(line) else {
        return line.contains(" panicked at ").then(|| PANIC.to_owned());
    };
    let of_event = || line["fields"]["event"].as_str().unwrap_or_default().to_owned();
    ["WARN", "ERROR"].iter().any(|level| line["level"] == *level).then(of_event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_errors_and_panics_are_told_from_the_rest() {
        let line = |level: &str| format!(r#"{{"level":"{level}","fields":{{"event":"journal.damaged"}}}}"#);
        assert_eq!(trouble(&line("ERROR")).as_deref(), Some("journal.damaged"));
        assert_eq!(trouble(&line("WARN")).as_deref(), Some("journal.damaged"));
        assert_eq!(trouble(&line("INFO")), None);
        // An error without a name is not expected by anybody.
        assert_eq!(trouble(r#"{"level":"ERROR","fields":{"message":"of a library"}}"#).as_deref(), Some(""));
        assert_eq!(trouble("thread 'main' (7) panicked at src/main.rs:1:1:").as_deref(), Some(PANIC));
        assert_eq!(trouble("ready 350102/e1 frames=0"), None);
    }
}
