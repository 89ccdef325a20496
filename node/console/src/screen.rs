//! The status screen for people: what is wrong, why, what to do next. No borders: box characters are of ambiguous
//! width in Chinese terminals.

use super::status::{LogState, NodeBelowStatus, PeerState, Status};
use std::fmt::Write as _;
use tally_sheet::text::{self, count};
use tally_texts::{Lang, lang, local_times, said};

/// Nodes below that are shown one by one.
const BELOW_SHOWN: usize = 20;

fn short(hash: Option<tally_protocol::hash::Hash>) -> String {
    hash.map_or("-".into(), |h| h.to_string()[..12].to_owned())
}

fn agrees(agrees: Option<bool>, since: Option<&String>) -> String {
    match (agrees, since) {
        (Some(true), _) => "agrees".to_owned(),
        (Some(false), Some(t)) => format!("differs since {t}"),
        _ => "unknown".to_owned(),
    }
}

/// Columns in the reader's language: heads and states are looked up, and times are local, before the widths are measured.
fn table(out: &mut String, heads: &[&str], numbers: &[usize], rows: &[Vec<String>]) {
    let shown = |cell: &str| said(&local_times(cell)).into_owned();
    let heads: Vec<String> = heads.iter().map(|h| said(h).into_owned()).collect();
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| shown(cell)).collect()).collect();
    text::table(out, &heads, numbers, &rows);
}

/// The whole screen, in the reader's language.
pub fn render(s: &Status) -> String {
    let screen = in_english(s);
    let line = |line: &str| {
        let bare = line.trim_start();
        let indent = line.get(..line.len() - bare.len()).unwrap_or("");
        format!("{indent}{}\n", said(bare))
    };
    let told = match lang() {
        Lang::En => screen,
        Lang::Zh => screen.lines().map(line).collect(),
    };
    local_times(&told).into_owned()
}

/// The screen; its tables are in the reader's language already, since their columns hang on it.
fn in_english(s: &Status) -> String {
    let mut out = String::new();
    let overall = match s.actions.len() {
        0 => "OK".to_owned(),
        n => format!("needs attention: {n}"),
    };
    let n = &s.node;
    let _ = writeln!(
        out,
        "NODE     {} {} ({})   tally {}   epoch {}   charter {}   catalog {}",
        n.division,
        n.name,
        n.level.name(),
        n.version,
        n.epoch,
        s.charter_version,
        s.catalog_version
    );
    let _ = writeln!(out, "OVERALL  {overall}");
    let _ = writeln!(out, "HOLDS    {} distinct records   digest {}", count(s.records), short(s.digest));
    if let Some(oldest) = &s.staged.oldest {
        let because = s.staged.because.as_deref().unwrap_or("being signed");
        let _ = writeln!(
            out,
            "STAGED   {} rows since {oldest}   not signed ({because}), only this disk has them",
            count(Some(s.staged.records))
        );
    }
    if let Some(p) = &s.parent {
        let ack = p.last_ack.clone().unwrap_or("never".into());
        let skew = p.clock_skew_ms.map_or("unknown".into(), tally_core::clock::in_words);
        let (d, state, unacked) = (p.division, p.state.name(), count(Some(p.unacked_records)));
        let _ = writeln!(out, "PARENT   {d} {state}   last confirmation {ack}   unconfirmed {unacked}   clock {skew}");
        let _ = writeln!(out, "         its copy {}", agrees(p.agrees, p.since.as_ref()));
    }
    render_logs(&mut out, s);
    render_children(&mut out, s);
    render_below(&mut out, s);
    out.push('\n');
    if s.actions.is_empty() {
        out.push_str("NEEDS ATTENTION  none\n");
        return out;
    }
    out.push_str("NEEDS ATTENTION\n");
    for (i, a) in s.actions.iter().enumerate() {
        let _ = writeln!(out, "  {} [{}] {}", i + 1, a.code, a.what);
        let _ = writeln!(out, "      why:  {}", a.why);
        let _ = writeln!(out, "      next: {}", a.next);
    }
    out
}

fn render_logs(out: &mut String, s: &Status) {
    out.push('\n');
    let rows: Vec<Vec<String>> = s
        .logs
        .iter()
        .map(|l| {
            let state = match l.state {
                LogState::Ok => "ok",
                LogState::Behind => "behind",
                LogState::Frozen => "frozen",
                LogState::Damaged => "damaged",
                LogState::Unknown => "unknown",
            };
            let receipts: Vec<_> = l
                .receipts
                .iter()
                .map(|r| {
                    let all = || said("all").into_owned();
                    format!("{} {}", r.holder, if Some(r.size) == l.size { all() } else { count(Some(r.size)) })
                })
                .collect();
            vec![l.log.clone(), count(l.size), state.into(), receipts.join(", ")]
        })
        .collect();
    table(out, &["LOG", "RECORDS", "STATE", "ON DISK AT"], &[1], &rows);
}

/// How all nodes below are, counted; and those that are not as they should be, the worst first.
fn render_below(out: &mut String, s: &Status) {
    if s.nodes.is_empty() {
        return;
    }
    let name = |state: Option<PeerState>| state.map_or("unknown", PeerState::name);
    let mut counts = std::collections::BTreeMap::<_, usize>::new();
    for node in &s.nodes {
        *counts.entry(if node.excused { "silent as expected" } else { name(node.state) }).or_default() += 1;
    }
    let told: Vec<_> = counts.iter().map(|(state, n)| format!("{n} {}", said(state))).collect();
    let _ = writeln!(out, "\nBELOW    {} nodes: {}", s.nodes.len(), told.join(", "));
    let rank = |n: &NodeBelowStatus| match n.state {
        _ if n.excused => 9,
        Some(PeerState::Lost | PeerState::Stalled | PeerState::Refused) => 0,
        Some(PeerState::NeverSeen) => 1,
        None => 3,
        Some(PeerState::Live) if n.agrees == Some(false) || n.damaged_records.is_some_and(|d| d > 0) => 1,
        Some(PeerState::Live) if n.staged.is_some_and(|rows| rows > 0) => 2,
        Some(PeerState::Live) => 9,
    };
    let mut odd: Vec<_> = s.nodes.iter().filter(|n| rank(n) < 9).collect();
    odd.sort_by_key(|n| (rank(n), n.division));
    if odd.is_empty() {
        return;
    }
    let rows: Vec<Vec<String>> = odd
        .iter()
        .take(BELOW_SHOWN)
        .map(|n| {
            vec![
                n.division.to_string(),
                n.name.clone(),
                name(n.state).to_owned(),
                n.via.to_string(),
                n.last_heard.clone().unwrap_or("never".into()),
                count(n.waiting_records),
                count(n.staged),
                count(n.damaged_records),
            ]
        })
        .collect();
    let heads = ["NODE", "NAME", "STATE", "KNOWN BY", "LAST HEARD", "WAITING", "STAGED", "DAMAGED"];
    table(out, &heads, &[5, 6, 7], &rows);
    if odd.len() > BELOW_SHOWN {
        let _ = writeln!(out, "         and {} more: tally status --json names them all", odd.len() - BELOW_SHOWN);
    }
}

fn render_children(out: &mut String, s: &Status) {
    if !s.children.is_empty() {
        out.push('\n');
        let rows: Vec<Vec<String>> = s
            .children
            .iter()
            .map(|c| {
                let agrees = agrees(c.agrees, c.since.as_ref());
                let seen = c.last_seen.clone().unwrap_or("never".into());
                vec![
                    c.division.to_string(),
                    c.name.clone(),
                    format!(
                        "{}{}{}",
                        c.state.name(),
                        if c.retired { ", retired" } else { "" },
                        if c.excused { ", as expected" } else { "" }
                    ),
                    seen,
                    count(c.behind_records),
                    agrees,
                ]
            })
            .collect();
        table(out, &["CHILD", "NAME", "STATE", "LAST HEARD", "MISSING HERE", "COPY"], &[4], &rows);
    }
}
