//! What people and scripts are shown of a node: one snapshot for screen, JSON, probes and metrics.

pub mod deadline;
pub mod receipts;
pub mod screen;
pub mod status;

/// POSIX seconds as RFC 3339 in UTC; `unknown` for times that no calendar has.
pub fn time(seconds: u64) -> String {
    let timestamp = i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    timestamp.map_or_else(|| "unknown".to_owned(), |t| t.to_string())
}
