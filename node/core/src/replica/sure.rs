//! Being sure of a log, and telling the children so.
//!
//! A node is sure of its head of a log when, since its own start, its parent has told its own sure head of it, and all of
//! that is here without a hole; nobody is above the top. Its own gate, clock or freeze does not matter. Only a sure head opens
//! a child's gate: a parent that was set back itself knows less than it seems to.

use super::{LinkId, Output, Replica};
use crate::log::HeldLog;
use tally_protocol::{
    hash::Hash,
    ids::{Division, LogId},
    wire::{Control, Head},
};

impl Replica {
    /// The parent is sure of its head of a log: its size and root, or nothing of it.
    pub(super) fn parent_is_sure(&mut self, log: LogId, head: (u64, Hash)) {
        if log == self.own() {
            self.answers.sure = Some(head);
        } else {
            self.assured.insert(log, head);
        }
        self.judge_gate();
    }

    /// Whether nobody above holds more of a log than is held here.
    fn is_sure(&self, id: LogId) -> bool {
        let empty = HeldLog::default();
        let log = self.view.log(id).unwrap_or(&empty);
        let has = self.assured.get(&id).is_some_and(|head| self.holds(id, *head));
        let above = self.charter().parent(self.me()).is_none() || has;
        above && log.is_whole()
    }

    /// Tells each linked child of its logs, and of those below it, of which this node has become sure.
    pub(super) fn tell_stands(&mut self, out: &mut Vec<Output>) {
        let links: Vec<_> = self.view.children.iter().filter_map(|(d, c)| Some((*d, c.link.as_ref()?))).collect();
        let links: Vec<_> = links.into_iter().filter(|(_, l)| l.welcomed).map(|(d, l)| (d, l.id)).collect();
        for (child, link) in links {
            self.tell_stands_to(child, link, out);
        }
    }

    pub(super) fn tell_stands_to(&mut self, child: Division, link: LinkId, out: &mut Vec<Output>) {
        // A child whose charter is older would not know all the logs: it says so once it has the newer one.
        let there = self.view.children.get(&child).and_then(|c| c.charter);
        if there.is_none_or(|mark| mark.version < self.charter().version()) {
            return;
        }
        let logs = |d: Division, epochs: u32| (1..=epochs).map(move |e| LogId::records(d, e));
        let within = self.charter().nodes().filter(|n| self.charter().is_within(n.division, child));
        let all: Vec<_> = within.flat_map(|n| logs(n.division, n.epochs.len() as u32)).collect();
        for log in all {
            let told = self.view.children.get(&child).and_then(|c| c.link.as_ref()).map(|l| &l.told);
            if told.is_none_or(|told| told.contains(&log)) || !self.is_sure(log) {
                continue;
            }
            let head = self.view.log(log).and_then(|held| head_of(log, held));
            if let Some(up) = self.view.children.get_mut(&child).and_then(|c| c.link.as_mut()) {
                up.told.insert(log);
            }
            out.push(Output::Send { link, message: Control::Stands { log, head, sure: true } });
        }
    }
}

/// The head of a log that is held, if there is anything in it.
pub(super) fn head_of(id: LogId, log: &HeldLog) -> Option<Head> {
    let head = || Head { log: id, size: log.size(), root: log.tree().root(), note: log.note.clone() };
    (log.size() > 0).then(head)
}
