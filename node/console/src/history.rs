//! What happened at a node and below it, as far as it was seen here: links, charters, problems and their ends, long work,
//! starts and stops.
//!
//! One part of the node looks at the snapshot every few seconds and notes what has changed. The notes are operational state: a
//! power cut may take the last of them, and no decision rests on them. Times are those of this node's clock.

use super::{
    ApiContext,
    parameters::division,
    problem::{Problem, bad},
};
use crate::status::{PeerState, Status};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tally_protocol::ids::Division;
use tally_reconcile::task::{Task, TaskKind, TaskState};
use tally_store::operational::StateShelf;
use tokio::sync::watch;

/// Notes that are kept; the oldest go first.
const NOTES_MAX: usize = 5_000;
/// The snapshot is looked at this often.
const LOOK: Duration = Duration::from_secs(2);
/// A problem is noted once it was there in so many looks: what passes by itself at once is none.
const LOOKS: u8 = 2;
/// Codes that links tell already, or that are there after every start.
const NOT_NOTED: [&str; 6] =
    ["parent_not_live", "node_lost", "node_never_seen", "index_behind", "staged", "not_signing"];

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteKind {
    /// The node has started.
    Started,
    /// It was told to stop.
    Stopped,
    /// A link has come or gone: the parent's, a child's, or of a node below as others tell.
    Link,
    /// Another charter is in force.
    Charter,
    /// Something needs attention.
    Problem,
    /// It does not any more.
    Over,
    /// Long work has ended.
    Task,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryNote {
    /// When it was seen, RFC 3339.
    pub at: String,
    /// At which node.
    pub division: Division,
    /// What kind.
    pub kind: NoteKind,
    /// Its code: of a problem; the state of a link; the state of a task.
    pub code: String,
    /// In words.
    pub what: String,
    /// Why, as far as it is known.
    #[serde(default)]
    pub why: String,
}

/// The notes. Clones share them.
#[derive(Debug, Clone)]
pub struct HistoryBook(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None`: they live as long as the process.
    shelf: Option<StateShelf>,
    notes: Mutex<VecDeque<(u64, HistoryNote)>>,
}

impl HistoryBook {
    /// The notes on this shelf. Blocking.
    pub fn open(shelf: Option<StateShelf>) -> Self {
        let all = shelf.as_ref().and_then(|s| s.all().ok()).unwrap_or_default();
        let one = |(key, value): (Vec<u8>, Vec<u8>)| {
            Some((u64::from_be_bytes(key.try_into().ok()?), serde_json::from_slice(&value).ok()?))
        };
        Self(Arc::new(Inner { shelf, notes: Mutex::new(all.into_iter().filter_map(one).collect()) }))
    }

    /// Adds notes, and lets the oldest go. Blocking.
    pub fn add(&self, new: Vec<HistoryNote>) {
        if new.is_empty() {
            return;
        }
        let mut changes = Vec::new();
        let mut notes = self.0.notes.lock().unwrap_or_else(PoisonError::into_inner);
        for note in new {
            let key = notes.back().map_or(0, |(key, _)| key.saturating_add(1));
            changes.push((key.to_be_bytes().to_vec(), serde_json::to_vec(&note).ok()));
            notes.push_back((key, note));
        }
        while notes.len() > NOTES_MAX {
            changes.extend(notes.pop_front().map(|(key, _)| (key.to_be_bytes().to_vec(), None)));
        }
        // In the order in which they were made: the lock is held.
        if let Some(Err(e)) = self.0.shelf.as_ref().map(|shelf| shelf.change(changes)) {
            tracing::warn!(event = "history.not_kept", reason = %e, "what happened could not be noted");
        }
    }

    /// Those since a time (RFC 3339 in UTC), of these divisions, the oldest first.
    fn list(&self, since: &str, wanted: impl Fn(Division) -> bool) -> Vec<HistoryNote> {
        let notes = self.0.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.iter().map(|(_, n)| n).filter(|n| n.at.as_str() >= since && wanted(n.division)).cloned().collect()
    }
}

/// What is remembered of the last look.
#[derive(Debug, Default)]
struct Seen {
    charter: Option<u64>,
    links: BTreeMap<Division, Option<PeerState>>,
    /// By code and what they are about: how often seen, and the words.
    problems: BTreeMap<(String, String), (u8, String)>,
    tasks: BTreeMap<String, TaskState>,
}

/// What a problem is about: the first division or log that it names.
fn about(what: &str) -> String {
    let mut words = what.split([' ', ',', ':']);
    words.find(|w| w.contains('/') || (w.len() == 6 && w.bytes().all(|b| b.is_ascii_digit()))).unwrap_or("").to_owned()
}

impl Seen {
    /// What has changed since the last look. The first look notes problems, and no changes of links.
    fn changes(&mut self, status: &Status, tasks: &[Task], at: &str) -> Vec<HistoryNote> {
        let me = status.node.division;
        let mut found = Vec::new();
        let mut add = |division, kind, code: &str, what: String, why: String| {
            found.push(HistoryNote { at: at.to_owned(), division, kind, code: code.to_owned(), what, why });
        };
        let version = status.charter_version;
        if let Some(before) = self.charter.replace(version).filter(|before| *before != version) {
            let what = format!("charter version {version} is in force");
            add(me, NoteKind::Charter, "charter", what, format!("before it was {before}"));
        }
        let parent = status.parent.iter().map(|p| (p.division, "parent", Some(p.state)));
        let below = status.nodes.iter().map(|n| (n.division, n.name.as_str(), n.state));
        for (division, name, now) in parent.chain(below) {
            let before = self.links.insert(division, now);
            if let Some(before) = before.filter(|before| *before != now) {
                let state = |s: Option<PeerState>| s.map_or("unknown", PeerState::name);
                let what = format!("{division} {name}: {}, before {}", state(now), state(before));
                add(division, NoteKind::Link, state(now), what, String::new());
            }
        }
        let mut still = BTreeMap::new();
        for a in status.actions.iter().filter(|a| !NOT_NOTED.contains(&a.code.as_str())) {
            let key = (a.code.clone(), about(&a.what));
            let looks = self.problems.get(&key).map_or(0, |(looks, _)| *looks).saturating_add(1);
            if looks == LOOKS {
                let division = key.1.parse().unwrap_or(me);
                add(division, NoteKind::Problem, &a.code, a.what.clone(), a.why.clone());
            }
            still.insert(key, (looks, a.what.clone()));
        }
        for ((code, about), (_, what)) in
            self.problems.iter().filter(|(key, (looks, _))| *looks >= LOOKS && !still.contains_key(*key))
        {
            add(about.parse().unwrap_or(me), NoteKind::Over, code, what.clone(), String::new());
        }
        self.problems = still;
        let first = self.tasks.is_empty();
        for t in tasks {
            let before = self.tasks.insert(t.id.clone(), t.state);
            if t.state.is_over() && !first && before != Some(t.state) && t.reason != "schedule" {
                let state = serde_json::to_value(t.state).ok().and_then(|s| s.as_str().map(str::to_owned));
                let why = t.error.clone().unwrap_or_else(|| t.reason.clone());
                add(me, NoteKind::Task, &state.unwrap_or_default(), format!("{} {}", t.id, name(&t.kind)), why);
            }
        }
        self.tasks.retain(|id, _| tasks.iter().any(|t| t.id == *id));
        found
    }
}

fn name(kind: &TaskKind) -> String {
    match kind {
        TaskKind::Verify { .. } => "verify".to_owned(),
        TaskKind::Reconcile { with, repair: true, .. } => format!("repair {with}"),
        TaskKind::Reconcile { with, .. } => format!("reconcile {with}"),
        TaskKind::Restore => "restore".to_owned(),
        TaskKind::Rebuild => "rebuild index".to_owned(),
    }
}

/// Notes what happens until the node stops.
///
/// Cancel-safe: what was seen and not noted yet is lost.
pub async fn note_changes(api: ApiContext, mut stop: watch::Receiver<bool>) {
    let now = || tally_clock::time(tally_clock::now_ms() / 1_000);
    let note = |kind, what: String| HistoryNote {
        at: now(),
        division: api.own.division,
        kind,
        code: String::new(),
        what,
        why: String::new(),
    };
    let keep = |notes: Vec<HistoryNote>| {
        let book = api.history.clone();
        async move {
            // It ends in an error only with the process.
            let _ = tokio::task::spawn_blocking(move || book.add(notes)).await;
        }
    };
    keep(vec![note(NoteKind::Started, format!("tally {} has started, {}", env!("CARGO_PKG_VERSION"), api.own))]).await;
    let mut seen = Seen::default();
    loop {
        let stopped = tokio::time::timeout(LOOK, async { drop(stop.wait_for(|s| *s).await) }).await;
        if stopped.is_ok() {
            break;
        }
        let changes = seen.changes(&api.status(None), &api.tasks.all(), &now());
        keep(changes).await;
    }
    keep(vec![note(NoteKind::Stopped, "the node was told to stop".to_owned())]).await;
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    /// A day (its start in China) or an RFC 3339 time.
    since: Option<String>,
    division: Option<String>,
}

/// What happened, the oldest first.
pub(super) async fn list(
    State(api): State<ApiContext>,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<Json<Vec<HistoryNote>>, Problem> {
    let Query(query) = query.map_err(|e| bad(&e.to_string()))?;
    let since = match query.since {
        None => String::new(),
        Some(text) => {
            let day = || format!("{text}T00:00:00+08:00").parse::<jiff::Timestamp>();
            let time = text.parse::<jiff::Timestamp>().or_else(|_| day());
            let wrong = |_| bad(&format!("since: {text:?} is no date (2026-11-24) and no RFC 3339 time"));
            let seconds = time.map_err(wrong)?.as_second();
            tally_clock::time(u64::try_from(seconds).unwrap_or(0))
        }
    };
    let signed = api.charter.charter();
    let charter = signed.charter();
    let top = division(charter, query.division.as_ref())?;
    let within = |d: Division| top.is_none_or(|top| d == top || charter.is_within(d, top));
    Ok(Json(api.history.list(&since, within)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(charter: u64, child: &str, actions: serde_json::Value) -> Status {
        let node = json!({ "division": "350203", "name": "思明区", "level": "county", "parent": "350200", "via": "350200",
            "state": child, "last_heard": null, "expected": "", "excused": false, "waiting_records": null,
            "oldest_waiting": null, "signing": null, "staged": null, "agrees": null, "damaged_records": null,
            "frozen": null, "clock_skew_ms": null, "charter_version": null, "software": null });
        let whole = json!({ "node": { "division": "350000", "name": "福建省", "level": "province", "version": "x", "epoch": 1 },
            "records": 0, "digest": null, "staged": { "records": 0, "oldest": null, "because": null }, "logs": [],
            "parent": null, "children": [], "nodes": [node], "retired": [], "divisions": [], "actions": actions,
            "signing": "open", "index_behind": false, "charter_version": charter, "catalog_version": "c" });
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn what_changes_is_noted_once_and_what_passes_at_once_is_not() {
        let damaged = json!([{ "code": "node_damaged", "what": "350203 思明区 has damage", "why": "w", "next": "n" }]);
        let mut seen = Seen::default();
        let mut look = |charter, child, actions: &serde_json::Value| {
            let found = seen.changes(&status(charter, child, actions.clone()), &[], "2026-11-29T00:00:00Z");
            found.into_iter().map(|n| format!("{} {:?} {}", n.division, n.kind, n.code)).collect::<Vec<_>>()
        };
        assert!(look(1, "live", &json!([])).is_empty());
        assert_eq!(look(2, "live", &json!([])), ["350000 Charter charter"]);
        assert_eq!(look(2, "lost", &damaged), ["350203 Link lost"]);
        assert_eq!(look(2, "lost", &damaged), ["350203 Problem node_damaged"]);
        assert!(look(2, "lost", &damaged).is_empty(), "once");
        assert_eq!(look(2, "live", &json!([])), ["350203 Link live", "350203 Over node_damaged"]);
        assert!(look(2, "live", &damaged).is_empty() && look(2, "live", &json!([])).is_empty(), "it passed at once");
    }

    #[test]
    fn notes_outlive_a_start_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let state = tally_store::operational::OperationalState::open(dir.path()).unwrap();
        let book = HistoryBook::open(state.shelf("history").ok());
        let note = |n: usize| HistoryNote {
            at: format!("2026-11-{:02}T00:00:00Z", n % 28 + 1),
            division: "350102".parse().unwrap(),
            kind: NoteKind::Started,
            code: String::new(),
            what: n.to_string(),
            why: String::new(),
        };
        book.add((0..NOTES_MAX + 3).map(note).collect());
        drop(book);
        let all = HistoryBook::open(state.shelf("history").ok()).list("", |_| true);
        assert_eq!((all.len(), all[0].what.as_str()), (NOTES_MAX, "3"));
        let book = HistoryBook::open(state.shelf("history").ok());
        assert!(book.list("2026-11-20T00:00:00Z", |_| true).iter().all(|n| n.at.as_str() >= "2026-11-20"));
        assert!(book.list("", |d| d.to_string() == "350103").is_empty());
    }
}
