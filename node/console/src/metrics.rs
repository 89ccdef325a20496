//! `GET /metrics`: Prometheus text, of the status snapshot, worked out now and then.

use super::{ApiContext, problem::Problem};
use crate::status::{LogState, NodeBelowStatus, PeerState, Status};
use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::ConstCounter, family::Family, gauge::Gauge, info::Info},
    registry::{Registry, Unit},
};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicI64, Ordering},
};
use tally_core::View;
use tally_protocol::health::HealthState;
use tally_reconcile::task::{TaskState, Tasks};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PeerLabel {
    peer: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NodeLabel {
    node: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LogLabel {
    log: String,
}

type Gauges<L> = Family<L, Gauge<i64, AtomicI64>>;

fn gauge(registry: &mut Registry, name: &str, help: &str, value: i64) {
    let g = Gauge::<i64, AtomicI64>::default();
    g.set(value);
    registry.register(name, help, g);
}

fn clamp(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// For monitoring: counters and gauges of the node as a whole, by log and by neighbour.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "showMetrics",
    security(()),
    responses((status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text"), (status = 503, description = "The node is stopping"))
)]
pub(super) async fn metrics(State(api): State<ApiContext>) -> Result<Response, Problem> {
    let shown = api.shown_to_all.now(&api).await.ok_or_else(Problem::stopping)?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], shown.metrics.clone()).into_response())
}

/// The text, of this status.
pub(super) fn text(api: &ApiContext, status: &Status) -> Option<String> {
    let mut registry = Registry::with_prefix("tally");
    let build = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    registry.register("build", "Version of the software", Info::new(build));
    let totals = &api.submissions.intake().batcher.totals;
    for (name, help, value) in [
        ("ingest_accepted", "Records accepted since the start", &totals.accepted),
        ("ingest_duplicate", "Duplicate records handed in since the start", &totals.duplicate),
        ("ingest_known", "Duplicates among them that were known byte for byte and not read again", &totals.known),
        ("ingest_rejected", "Lines rejected since the start", &totals.rejected),
    ] {
        registry.register(name, help, ConstCounter::new(value.load(Ordering::Relaxed)));
    }
    if let Some(records) = status.records {
        gauge(&mut registry, "store_records", "Distinct records held", clamp(records));
    }
    let full = i64::from(api.submissions.intake().full.load(Ordering::Relaxed));
    gauge(&mut registry, "store_full", "1 while the disk is nearly full; should be 0", full);
    if let Some(free) = api.mailbox.free_bytes() {
        gauge(&mut registry, "store_free_bytes", "Bytes that are free where the data lies", clamp(free));
    }
    gauge(
        &mut registry,
        "staged_records",
        "Rows that are taken and not signed yet: only this disk has them",
        clamp(status.staged.records),
    );
    gauge(&mut registry, "signing", "1 while the own log is signed", i64::from(status.signing == "open"));
    gauge(&mut registry, "actions", "Things that need attention; should be 0", clamp(status.actions.len() as u64));
    gauge(&mut registry, "charter_version", "Version of the charter in force", clamp(status.charter_version));
    gauge(
        &mut registry,
        "journal_damaged_places",
        "Damaged places that are known; should be 0",
        clamp(api.known_damage.count() as u64),
    );
    tasks(&mut registry, &api.tasks);
    ages(&mut registry, &api.mailbox.view(), api.submissions.intake().staged.counts().oldest);
    due(&mut registry, api);
    logs(&mut registry, status);
    peers(&mut registry, status);
    below(&mut registry, &status.nodes);
    let mut text = String::new();
    encode(&mut text, &registry).ok()?;
    Some(text)
}

/// A time that is not known has no series, which is not the same as 0.
fn tasks(registry: &mut Registry, tasks: &Tasks) {
    let open = tasks.all().iter().filter(|t| !t.state.is_over()).count();
    gauge(registry, "tasks_open", "Tasks that are queued, running or paused", clamp(open as u64));
    let mut ended = BTreeMap::new();
    for task in tasks.all() {
        // The latest comes last. One that the operator has ended says nothing of the next.
        if matches!(task.state, TaskState::Done | TaskState::Failed) {
            ended.insert(task.kind.name(), task.state == TaskState::Failed);
        }
    }
    let failed = Family::<KindLabel, Gauge<i64, AtomicI64>>::default();
    for (kind, has_failed) in ended {
        failed.get_or_create(&KindLabel { kind }).set(i64::from(has_failed));
    }
    registry.register("task_failed", "1 if the latest task of the kind that ended has failed; should be 0", failed);
    let (began, verified, reconciled) = tasks.last();
    gauge(
        registry,
        "first_start",
        "When this node first ran, POSIX seconds: since then what was never done is outstanding",
        clamp(began / 1_000),
    );
    for (name, help, last) in [
        ("verify_last_done", "When everything was last verified, POSIX seconds", verified),
        ("reconcile_last_done", "When there was last a comparison with a neighbour, POSIX seconds", reconciled),
    ] {
        if let Some(ms) = last {
            gauge(registry, name, help, clamp(ms / 1_000));
        }
    }
}

/// How long what waits has waited, and how long the parent is silent. What nobody waits for has the age 0.
fn ages(registry: &mut Registry, r: &View, staged_at: Option<u64>) {
    let now_ms = tally_clock::wall_ms();
    let since = |at_ms: u64| clamp(now_ms.saturating_sub(at_ms) / 1_000);
    let of_s = |at_s: Option<u64>| at_s.map_or(0, |s| since(s.saturating_mul(1_000)));
    let mut told = |name: &str, help: &str, peer: Option<String>, age: i64| match peer {
        Some(peer) => {
            let family = Gauges::<PeerLabel>::default();
            family.get_or_create(&PeerLabel { peer }).set(age);
            registry.register_with_unit(name, help, Unit::Seconds, family);
        }
        None => {
            let one = Gauge::<i64, AtomicI64>::default();
            one.set(age);
            registry.register_with_unit(name, help, Unit::Seconds, one);
        }
    };
    told("staged_oldest", "How long ago the oldest row that is not signed was taken", None, of_s(staged_at));
    let Some(parent) = r.charter().parent(r.me()) else { return };
    let (peer, p) = (|| Some(parent.to_string()), r.parent());
    let help = "How long ago the oldest record that the parent has not confirmed was sealed";
    told("unconfirmed_oldest", help, peer(), of_s(r.waiting().1));
    if let Some(at) = p.link.as_ref().map(|l| l.heard_ms).or(p.lost_ms) {
        told("parent_heard", "How long ago the parent was heard", peer(), since(at));
    }
    if let Some(at) = p.last_ack_ms {
        told("parent_last_ack", "How long ago the parent confirmed anything", peer(), since(at));
    }
}

/// As it was counted last; before the first time it has no series.
fn due(registry: &mut Registry, api: &ApiContext) {
    let Some(due) = api.shown_to_all.due.figures() else { return };
    for (name, help, value) in [
        ("deadline_overdue", "Records whose limit has passed and which are not known to have arrived", due.overdue),
        ("deadline_due_soon", "Records whose limit ends within two working days", due.due_soon),
        ("deadline_missing", "Units and categories of which nothing came although they deliver", due.missing),
        ("deadline_last_counted", "When these were counted, POSIX seconds", due.at),
    ] {
        gauge(registry, name, help, clamp(value));
    }
}

fn logs(registry: &mut Registry, status: &Status) {
    let (size, frozen) = (Gauges::<LogLabel>::default(), Gauges::<LogLabel>::default());
    for l in &status.logs {
        let label = LogLabel { log: l.log.clone() };
        if let Some(n) = l.size {
            size.get_or_create(&label).set(clamp(n));
        }
        frozen.get_or_create(&label).set(i64::from(l.state == LogState::Frozen));
    }
    registry.register("log_records", "Records of a log that are held", size);
    registry.register("log_frozen", "1 if two histories of the log were signed; should be 0", frozen);
}

/// Every enrolled node below has a series, at any depth. What is not known of one has none, which is not the same as 0.
fn below(registry: &mut Registry, nodes: &[NodeBelowStatus]) {
    let (known, up) = (Gauges::<NodeLabel>::default(), Gauges::<NodeLabel>::default());
    let (waiting, staged) = (Gauges::<NodeLabel>::default(), Gauges::<NodeLabel>::default());
    let (damaged, agrees) = (Gauges::<NodeLabel>::default(), Gauges::<NodeLabel>::default());
    let expected = Gauges::<NodeLabel>::default();
    let (oldest, heard) = (Gauges::<NodeLabel>::default(), Gauges::<NodeLabel>::default());
    let (skew, frozen) = (Gauges::<NodeLabel>::default(), Gauges::<NodeLabel>::default());
    let (charter, signing) = (Gauges::<NodeLabel>::default(), Gauges::<NodeLabel>::default());
    for n in nodes {
        let label = NodeLabel { node: n.division.to_string() };
        known.get_or_create(&label).set(i64::from(n.state.is_some()));
        expected.get_or_create(&label).set(i64::from(!n.excused));
        let told = [
            (&up, n.state.map(|state| i64::from(state == PeerState::Live))),
            (&waiting, n.waiting_records.map(clamp)),
            (&staged, n.staged.map(clamp)),
            (&damaged, n.damaged_records.map(clamp)),
            (&agrees, n.agrees.map(i64::from)),
            (&oldest, n.oldest_ms.map(|ms| clamp(ms / 1_000))),
            (&heard, n.heard_ms.map(|ms| clamp(ms / 1_000))),
            (&skew, n.clock_skew_ms.map(|ms| ms / 1_000)),
            (&frozen, n.frozen.map(i64::from)),
            (&charter, n.charter_version.map(clamp)),
            (&signing, n.signing.map(|state| i64::from(state == HealthState::Signing))),
        ];
        for (family, value) in told {
            if let Some(value) = value {
                family.get_or_create(&label).set(value);
            }
        }
    }
    registry.register("node_known", "0 while nobody who is linked knows of this node below", known);
    registry.register("node_expected", "0 while it is in order by charter that this node below is silent", expected);
    registry.register("node_up", "1 while this node below is linked to its parent and heard", up);
    registry.register("node_waiting_records", "Records of this node below that its parent has not confirmed", waiting);
    registry.register("node_staged_records", "Rows that only this node below has; should be 0", staged);
    registry.register("node_damaged_records", "Records that this node below cannot read; should be 0", damaged);
    registry.register("node_agrees", "1 if this node below and its parent hold the same", agrees);
    registry.register("node_frozen", "1 if this node below holds a log of which two histories were signed", frozen);
    registry.register("node_charter_version", "Version of the charter in force at this node below", charter);
    registry.register("node_signing", "1 while this node below signs its log", signing);
    for (name, help, family) in [
        ("node_oldest_waiting", "How long ago the oldest of these records was sealed", oldest),
        ("node_heard", "How long ago this node below was heard", heard),
        ("node_clock_skew", "The clock of this node below minus its parent's", skew),
    ] {
        registry.register_with_unit(name, help, Unit::Seconds, family);
    }
}

/// Every enrolled neighbour has a series, linked or not: one that vanishes would end its own alert.
fn peers(registry: &mut Registry, status: &Status) {
    let (up, skew) = (Gauges::<PeerLabel>::default(), Gauges::<PeerLabel>::default());
    let (behind, agrees) = (Gauges::<PeerLabel>::default(), Gauges::<PeerLabel>::default());
    let expected = Gauges::<PeerLabel>::default();
    for c in &status.children {
        let label = PeerLabel { peer: c.division.to_string() };
        up.get_or_create(&label).set(i64::from(c.state == PeerState::Live));
        expected.get_or_create(&label).set(i64::from(!c.excused));
        if let Some(n) = c.behind_records {
            behind.get_or_create(&label).set(clamp(n));
        }
        if let Some(a) = c.agrees {
            agrees.get_or_create(&label).set(i64::from(a));
        }
    }
    if let Some(p) = &status.parent {
        let label = PeerLabel { peer: p.division.to_string() };
        up.get_or_create(&label).set(i64::from(p.state == PeerState::Live));
        expected.get_or_create(&label).set(i64::from(!p.excused));
        if let Some(a) = p.agrees {
            agrees.get_or_create(&label).set(i64::from(a));
        }
        if let Some(ms) = p.clock_skew_ms {
            skew.get_or_create(&label).set(ms / 1_000);
        }
        gauge(registry, "unconfirmed_records", "Records that the parent has not confirmed", clamp(p.unacked_records));
    }
    registry.register("peer_up", "1 while the neighbour is linked and heard", up);
    registry.register("peer_expected", "0 while it is in order by charter that the neighbour is silent", expected);
    registry.register("peer_behind_records", "Records that a child holds and this node does not", behind);
    registry.register("peer_agrees", "1 if the neighbour's digest was ours at its last heartbeat", agrees);
    registry.register_with_unit("clock_skew", "The neighbour's clock minus ours", Unit::Seconds, skew);
}
