//! What needs attention: what it is, why, and what to do next. It follows from the snapshot alone; nothing is changed.

use super::{
    Action, ChildStatus, ParentStatus, PeerState, RetiredStatus, Status, StatusInputs, below, confirmed, disk,
};
use jiff::civil::Date;
use tally_core::{NotSealed, SAME_KEY_MS, View, clock::in_words};
use tally_protocol::{
    ids::{Division, LogId},
    wire::Refusal,
};
use tally_store::staged::StagedCounts;
use tally_topology::{charter::Charter, request::NodeRequest};

/// Clocks further apart than this are reported, in milliseconds.
const SKEW_MS: u64 = 5_000;
/// Unconfirmed for longer than this is reported, in milliseconds.
pub(super) const UNCONFIRMED_MS: u64 = 120_000;
/// The longest limit of the plan, in working days.
const PUBLISH_DAYS: u32 = 20;

/// Everything that needs attention: logs first, then this disk, the parent, the children, and the calendar.
pub(super) fn actions(r: &View, now_ms: u64, inputs: &StatusInputs, status: &Status) -> Vec<Action> {
    let mut advice = Advice { r, now_ms, found: Vec::new() };
    advice.logs();
    advice.charters();
    advice.found.extend(disk::actions(inputs, status));
    advice.lost(inputs);
    advice.requests(inputs);
    advice.signing(inputs);
    advice.staged(&inputs.staged);
    advice.link_to_parent(status.parent.as_ref());
    advice.confirmations(status.parent.as_ref());
    advice.found.extend(below::above(r));
    advice.found.extend(below::actions(r, &status.nodes));
    status.children.iter().filter(|c| !c.retired).for_each(|c| advice.child(c));
    advice.retired(&status.retired);
    advice.found.extend(calendar_ends(r.charter(), tally_clock::day(now_ms / 1_000)));
    advice.found
}

struct Advice<'a> {
    r: &'a View,
    now_ms: u64,
    found: Vec<Action>,
}

impl Advice<'_> {
    fn add(&mut self, code: &str, what: String, why: String, next: &str) {
        self.found.push(Action { code: code.into(), what, why, next: next.into() });
    }

    fn origin(&self, id: LogId) -> String {
        self.r.charter().federation().origin(id)
    }

    fn logs(&mut self) {
        let r = self.r;
        for (id, log) in r.logs() {
            if let Some(f) = &log.frozen {
                // The authority has decided which history counts.
                if r.charter().closed_at(*id).is_some() {
                    continue;
                }
                let next =
                    "find out which copy is right; then, at that node: tally epoch next --reason R (a new epoch)";
                self.add("log_frozen", self.origin(*id), f.reason.clone(), next);
            }
            let lost = if *id == r.own() { r.lost() } else { Vec::new() };
            for (from, to) in log.missing() {
                // No repair brings these back: `lost_records` tells of them.
                if lost.iter().any(|(f, t)| *f <= from && to <= *t) {
                    continue;
                }
                let what = format!("{} records {from}..{to}", self.origin(*id));
                self.add(
                    "log_damaged",
                    what,
                    "not to be had from the journal on this disk".into(),
                    "tally reconcile --with all --repair",
                );
            }
        }
        for (id, from, to) in r.dead_branches() {
            let what =
                format!("{} records {from}..{to}: the charter has closed it with another history", self.origin(id));
            let why = "they are carried into the epoch that goes on; of the old one this disk and those above hold different \
                       records, so they differ";
            let next = "once nothing is staged and all of the epoch that goes on is confirmed: stop the node, move data aside, tally restore";
            self.add("dead_branch", what, why.into(), next);
        }
        if let Some(current) = r.charter().current_log(r.me()).filter(|c| *c != r.own()) {
            let what = format!("no records are taken in: this node signs as epoch {}", r.own().epoch);
            let why = format!("charter version {} names epoch {}", r.charter().version(), current.epoch);
            self.add(
                "key_missing",
                what,
                why,
                "put the secret of that epoch beside the old one (keys/*.key); the node takes it up",
            );
        }
        for (id, why) in r.reported() {
            let next = "ask that node's operator for `tally status`; the province decides which copy is right";
            self.add("conflict_reported", self.origin(*id), why.clone(), next);
        }
        let nowhere = |id: &LogId| *id == r.own() && !r.lost().is_empty();
        for (id, why) in r.parent().damaged.iter().filter(|(id, _)| !nowhere(id)) {
            self.add("log_damaged", self.origin(*id), why.clone(), "tally reconcile --with all --repair");
        }
    }

    /// Two charters of one version: each side says so, and goes on with the one that it has.
    fn charters(&mut self) {
        let r = self.r;
        let mark = r.signed_charter().mark();
        let next = "find out which of the two the authority signed last (`sha256sum` of each charter.note begins with the \
                    hash); the authority then signs what holds as a newer version, which is loaded at the top: nothing else \
                    ends this";
        for (neighbour, hash) in r.charters_that_differ() {
            let what = format!("charter version {} here is not that of {neighbour}", mark.version);
            let why = format!(
                "two were signed with this version: {} here, {} at {neighbour}; nothing of the other is taken over",
                mark.hash.short(),
                hash.short()
            );
            self.add("charter_differs", what, why, next);
        }
        if let Some(hash) = r.charter_replaced_by_file() {
            let what = format!("charter version {} of the file is not that of this node's journal", mark.version);
            let why = format!(
                "two were signed with this version: {} in the file (node.charter), which is in force, {} in the journal",
                mark.hash.short(),
                hash.short()
            );
            self.add("charter_differs", what, why, next);
        }
    }

    /// Records that are on no disk any more, and what is left to do about them.
    fn lost(&mut self, inputs: &StatusInputs) {
        let r = self.r;
        // Until the list is written the core knows it alone.
        let own = r.lost();
        let listed =
            |range: &(u64, u64)| inputs.lost.iter().any(|l| l.log == r.own() && l.from <= range.0 && range.1 <= l.to);
        let unlisted = own.iter().filter(|range| !listed(range)).map(|(from, to)| (r.own(), *from, *to, 0));
        let all = inputs.lost.iter().map(|l| (l.log, l.from, l.to, l.ids.len()));
        for (log, from, to, named) in all.chain(unlisted).collect::<Vec<_>>() {
            let what = format!("{} records {from}..{to}: {} records", self.origin(log), to - from);
            let why = format!(
                "the only copy was damaged before anybody else had them; {named} of them are known by id (tally epoch lost)"
            );
            let next = if log == r.own() {
                "tally epoch next --reason R: what is whole behind them goes into the next epoch; then hand these in again"
            } else {
                "hand these rows in again (tally receipt FILE names them), then: tally epoch acknowledge --reason R"
            };
            self.add("lost_records", what, why, next);
        }
    }

    /// What is asked of the authority, here and by those below.
    fn requests(&mut self, inputs: &StatusInputs) {
        let r = self.r;
        if let Some(asked) = &inputs.asked {
            let what = format!("{}: its next epoch is asked for since {}", self.origin(asked.log), asked.since);
            match &asked.rejected {
                None => {
                    let next = format!(
                        "where the authority's key is: tally node approve {} --code {} --authority KEYFILE",
                        asked.log.division, asked.code
                    );
                    self.add("epoch_requested", what, asked.reason.clone(), &next);
                }
                Some(why) => {
                    let next = "ask who rejected it; then, if it is still needed: tally epoch next --reason R";
                    self.add("epoch_rejected", what, why.clone(), next);
                }
            }
        }
        let waits = r.requests().pending.iter().filter(|(d, p)| **d != r.me() && p.request.stands(r.charter()));
        for (division, pending) in waits {
            let what = match &pending.request {
                NodeRequest::Join(join) => format!("{division} {} asks to join", join.invite.invite.name),
                NodeRequest::NextEpoch(_) => {
                    let name = r.charter().node(*division).map_or("", |n| n.name.as_str());
                    format!("{division} {name} asks for its next epoch")
                }
            };
            let next = format!(
                "compare the code with its operator's (tally node pending); where the authority's key is: tally node \
                 approve {division} --code CODE --authority KEYFILE, or tally node reject {division} --reason R"
            );
            let reason = match &pending.request {
                NodeRequest::Join(join) => format!("invited by {}", join.invite.invite.by),
                NodeRequest::NextEpoch(asked) => asked.reason.clone(),
            };
            self.add("request_pending", what, reason, &next);
        }
    }

    fn signing(&mut self, inputs: &StatusInputs) {
        let r = self.r;
        if let Some(why) = r.closed() {
            let top = r.charter().parent(r.me()).is_none();
            let (code, next) = match &why {
                NotSealed::Asking if r.is_offline() => (
                    "not_signing",
                    "there is no anchor (node.anchor) that fits to this disk: if this is the newest copy, tally gate open --reason R",
                ),
                NotSealed::Asking if top => (
                    "not_signing",
                    "wait until more than half of the direct children have called; if they cannot, tally gate open --reason R",
                ),
                NotSealed::Asking => (
                    "not_signing",
                    "wait for the link to the parent (see below), and for its own; if none can come, tally gate open --reason R",
                ),
                NotSealed::Fetching(_) if r.parent().link.is_some() => (
                    "not_signing",
                    "wait while the parent sends the rest; if it has not got it either, tally epoch next --reason R",
                ),
                NotSealed::Fetching(_) => (
                    "not_signing",
                    "bring back the disk that has the rest, or import a bundle with it; if it is gone, tally epoch next --reason R",
                ),
                NotSealed::Clock(_) => (
                    "clock_off",
                    "set the clock: chronyc makestep; the node goes on by itself; if no neighbour can be asked and it is right as it is: \
                     tally gate open --reason R",
                ),
                NotSealed::SameKey => (
                    "same_key_twice",
                    "stop one of the two machines that run with this node's key; the other one goes on after 60 s",
                ),
                NotSealed::Frozen(_) => {
                    ("not_signing", "tally epoch next --reason R: the authority has to admit the next epoch")
                }
                NotSealed::Damaged(_) if inputs.asked.is_some() => {
                    ("not_signing", "wait for the next epoch (see above)")
                }
                NotSealed::Damaged(_) => ("not_signing", "tally epoch next --reason R"),
            };
            let why = match why {
                NotSealed::Asking if top && !r.is_offline() => {
                    let enrolled = || r.charter().children(r.me()).filter(|n| !n.retired);
                    let called = |d| r.children().get(&d).is_some_and(|c| c.seen_ms.is_some());
                    let (all, answered) = (enrolled().count(), enrolled().filter(|n| called(n.division)).count());
                    format!(
                        "{answered} of {all} direct children have called since the start; they know how far this log had got, and \
                         more than half of them have to"
                    )
                }
                why => why.to_string(),
            };
            self.add(code, "rows are taken and staged, nothing is signed".into(), why, next);
        }
        if let Some(reason) = r.opened_by_word() {
            let what = "the operator has opened the gate in this run".to_owned();
            self.add("gate_opened", what, reason.to_owned(), "nothing; it is said until the next start");
        }
        if r.parent().charter_behind {
            let why = format!("the parent speaks of logs that charter version {} does not know", r.charter().version());
            let next = "wait for the newer charter, or load it: tally charter load FILE";
            self.add("charter_behind", "the charter in force here".into(), why, next);
        }
    }

    fn staged(&mut self, staged: &StagedCounts) {
        if let Some(oldest) = staged.oldest {
            let since = tally_clock::time(oldest);
            let what = format!("{} rows are staged since {since}: only this disk has them", staged.records);
            let (why, next) = match self.r.closed() {
                Some(why) => {
                    (why.to_string(), "see not_signing; they are signed and sent by themselves once that ends")
                }
                None => ("they are being signed".to_owned(), "wait; this ends by itself"),
            };
            self.add("staged", what, why, next);
        }
        for place in &staged.damaged {
            let next =
                "check the disk; tally receipt FILE names the rows of a file that are not held: hand those in again";
            self.add("staged_damaged", place.clone(), "rows that were staged cannot be read".into(), next);
        }
    }

    fn link_to_parent(&mut self, parent: Option<&ParentStatus>) {
        let r = self.r;
        let me = r.charter().node(r.me()).filter(|n| n.retired);
        if let Some(me) = me {
            let what = format!("{} {} is retired: it has no link, and takes no records any more", me.division, me.name);
            let mut why = format!("charter version {} retires it", r.charter().version());
            if let Some(p) = parent.filter(|p| p.unacked_records > 0) {
                why += &format!("; {} records have no receipt of {}", p.unacked_records, p.division);
            }
            let next = "carry what has no receipt (tally bundle export --to PARENT; import there), then stop it for good; a start \
                        ends with 6 unless node.offline = true";
            self.add("retired", what, why, next);
        }
        if let Some(p) = parent.filter(|_| r.is_offline()) {
            if p.unacked_records > 0 {
                let what = format!("{} records have no receipt of {} yet", p.unacked_records, p.division);
                let why = "this node has no link to its parent (node.offline): bundles are carried".to_owned();
                self.add(
                    "bundle_due",
                    what,
                    why,
                    "tally bundle export --to PARENT; import there; import the bundle that comes back",
                );
            }
        } else if let Some(p) = parent
            && p.state != PeerState::Live
            && me.is_none()
            && !(p.excused && p.state != PeerState::Refused)
        {
            let why = match (&r.parent().refused, &r.parent().trouble) {
                (Some((code, reason)), _) if p.state == PeerState::Refused => format!("{code}: {reason}"),
                (_, Some(trouble)) => trouble.clone(),
                _ => {
                    let tried = r.charter().node(p.division).map_or(String::new(), |n| n.addresses.join(", "));
                    format!("no link yet; it is called at {tried}")
                }
            };
            let next = match (&r.parent().refused, &r.parent().trouble) {
                (Some((Refusal::Identity, _)), _) => {
                    "the two charters name other keys: if a key was changed while one of the two was off, it asks the other for the \
                     newest charter by itself; if this stays, have that charter sent there as a file, and: tally charter load FILE --here"
                }
                (Some((code, _)), _) if p.state == PeerState::Refused => after_refusal(*code),
                (_, Some(_)) => "see the reason; the node tries again by itself",
                _ => {
                    "is the parent running, its address in the charter right, UDP open? The node tries again by itself"
                }
            };
            let what = format!("parent {} is {}; {} records wait", p.division, p.state.name(), p.unacked_records);
            self.add("parent_not_live", what, why, next);
        }
    }

    fn confirmations(&mut self, parent: Option<&ParentStatus>) {
        let r = self.r;
        for (id, x) in &r.parent().rejected {
            let next = "compare the charters of both nodes; the node tries again by itself";
            self.add(
                "log_rejected",
                self.origin(*id),
                format!("the parent refuses it ({}): {}", x.code, x.reason),
                next,
            );
        }
        if let Some(p) = parent {
            let oldest =
                r.logs().iter().filter_map(|(id, l)| l.batch_of(confirmed(r, *id, l)?)).map(|(_, h)| h.sealed_at).min();
            let late = oldest.is_some_and(|t| self.now_ms.saturating_sub(t.saturating_mul(1_000)) > UNCONFIRMED_MS);
            if late && p.state == PeerState::Live {
                let what = format!("{} records are not confirmed by {}", p.unacked_records, p.division);
                let why = format!("oldest since {}", p.oldest_unacked.clone().unwrap_or_default());
                self.add("unconfirmed", what, why, "look at the parent's status: is its disk full, is it catching up?");
            }
            if p.clock_skew_ms.is_some_and(|s| s.unsigned_abs() > SKEW_MS) {
                let ahead = p.clock_skew_ms.unwrap_or(0).saturating_neg();
                let why = format!("this clock is {} by that of {}", in_words(ahead), p.division);
                self.add(
                    "clock_skew",
                    "this node's clock or the parent's".into(),
                    why,
                    "set the clock: chronyc makestep",
                );
            }
        }
    }

    /// Retired nodes whose records are not all here, and nodes that a retired one cuts off.
    fn retired(&mut self, missed: &[RetiredStatus]) {
        let charter = self.r.charter();
        for m in missed {
            let (division, held) = (m.division, m.held);
            let what = format!("{division} {} is retired, and its records are not all accounted for", m.name);
            let why = match m.had {
                Some(had) => format!("{had} records, of which {held} are held here"),
                None => format!("{held} records are held here; how many it had is not known here"),
            };
            let next = format!(
                "bring the rest: there `tally bundle export` (a start needs `node.offline = true`), here `tally bundle import`; \
                 then close its last epoch in the next charter (last_size, last_root of {})",
                charter.current_log(division).map_or_else(String::new, |log| self.origin(log))
            );
            self.add("retired_rows", what, why, &next);
        }
        let below = |(child, _): &(Division, Division)| charter.is_within(*child, self.r.me());
        for (child, parent) in charter.cut_off().filter(below).collect::<Vec<_>>() {
            let why = format!("charter version {} retires {parent}, to which it reports", charter.version());
            let next = "let it report to another node in the next charter (`parent`), or retire it too";
            self.add("parent_retired", format!("{child} is cut off"), why, next);
        }
    }

    fn child(&mut self, c: &ChildStatus) {
        let r = self.r;
        let entry = r.children().get(&c.division);
        for (id, (code, reason)) in entry.iter().flat_map(|e| &e.rejected) {
            let what = format!("{} from {}", self.origin(*id), c.division);
            self.add("batch_refused", what, format!("{code}: {reason}"), "ask that node's operator for `tally status`");
        }
        let twice = entry.and_then(|e| e.same_key_ms).filter(|at| self.now_ms.abs_diff(*at) < SAME_KEY_MS);
        if twice.is_some() {
            let why = "its link was taken over to and fro, or a run of it has come back".to_owned();
            let next = "stop one of the two; neither signs before the other was silent for 60 s";
            self.add(
                "same_key_twice",
                format!("two machines run with the key of {} {}", c.division, c.name),
                why,
                next,
            );
        }
        let skew = entry.and_then(|e| e.link.as_ref()).map_or(0, |l| l.skew_ms);
        if skew.unsigned_abs() > SKEW_MS {
            let what = format!("the clock of {} {}", c.division, c.name);
            self.add(
                "clock_skew",
                what,
                format!("it is {} by this node's", in_words(skew)),
                "set the clock there: chronyc makestep",
            );
        }
    }
}

/// What to do about a refusal by the parent; the node calls again by itself all the while.
fn after_refusal(code: Refusal) -> &'static str {
    match code {
        Refusal::NotAdmitted | Refusal::Federation | Refusal::NotAChild | Refusal::NotBelow => {
            "compare the charters (tally status here and at the parent shows their versions): one of the two lacks the newest, \
             which is loaded at the top and comes down by itself"
        }
        Refusal::Replaced => "stop the other machine that runs with this node's key",
        Refusal::Version => "update the older of the two programs",
        Refusal::Busy | Refusal::Slow => {
            "wait: it calls again by itself; if it stays so, look at the line and the parent's load"
        }
        _ => "ask the parent's operator for `tally status`: its log names what it refuses (link.refused)",
    }
}

/// The deadlines of what is produced today need days that the calendar does not have.
fn calendar_ends(charter: &Charter, today: Date) -> Option<Action> {
    let calendar = charter.calendar();
    let due = calendar.due(today, PUBLISH_DAYS);
    if due.certain && calendar.covers(today) {
        return None;
    }
    let year = if calendar.covers(today) { due.on.year() } else { today.year() };
    let until = calendar.until().map_or_else(|| "never".to_owned(), |d| d.to_string());
    Some(Action {
        code: "calendar_ends".into(),
        what: format!("deadlines that reach into {year} are not certain: Monday to Friday are counted"),
        why: format!("the working-day calendar of charter version {} covers days until {until}", charter.version()),
        next: format!(
            "add the days of {year} by the State Council's holiday notice to [calendar] of the charter (as in \
             deploy/charter/calendar.toml), sign the next version, tally charter load"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_calendar_is_told_in_time() {
        let charter = tally_topology::sample::charter("");
        let at = |day: &str| calendar_ends(&charter, day.parse().unwrap());
        assert_eq!(at("2026-12-03"), None, "the 20th working day is in the year");
        let soon = at("2026-12-04").unwrap();
        assert!(soon.code == "calendar_ends" && soon.what.contains("2027") && soon.why.contains("2026-12-31"));
        assert!(at("2027-02-01").is_some() && at("2015-06-01").unwrap().what.contains("2015"));
        assert!(at("9999-12-31").is_some(), "the end of time");
    }
}
