//! A second machine with a node's key: made from a copy of its disk, beside the first one or in its place.
//!
//! Both may sign. Whoever holds records of the log and is told a signed head that they do not lead to sees two histories.

use super::{Node, ROUND_MAIL, What, World};
use crate::{
    federation::log_key,
    oracle::{Broken, Judgement, promise},
};
use tally_core::{Input, Ticket};
use tally_protocol::{
    batch::Batch,
    hash::Hash,
    ids::{Division, LogId},
    wire::{Control, Head},
};

impl World {
    pub(super) fn copy(&mut self, code: Division) {
        let node = &self.nodes[&code];
        let mut twin = Node::new(node.keys.clone(), node.file.clone());
        (twin.disk, twin.was_run) = (node.disk.copied(), true);
        let log = node.keys.node;
        self.oracle.forged.insert(log);
        self.oracle.doubled.insert(log);
        self.twins.insert(code, twin);
    }

    pub(super) fn swap(&mut self, code: Division) -> Judgement {
        let Some(mut twin) = self.twins.remove(&code) else { return Ok(()) };
        let theirs: Vec<_> =
            self.links.iter().filter(|(c, l)| **c == code || l.parent == code).map(|(c, _)| *c).collect();
        theirs.into_iter().for_each(|child| self.break_link(child));
        self.hear(code);
        while self.nodes[&code].replica.is_some() && !self.nodes[&code].inbox.is_empty() {
            self.round(code, ROUND_MAIL, None)?;
        }
        std::mem::swap(self.node(code), &mut twin);
        self.twins.insert(code, twin);
        Ok(())
    }

    pub(super) fn word(&mut self, code: Division) {
        let ticket = Ticket(self.name());
        self.put(code, Input::OpenGate { ticket, reason: "the other machine is gone".into() });
    }

    /// What a message or a batch says of signed heads.
    pub(super) fn hears(&mut self, code: Division, what: &What) {
        let heads = match what {
            What::Control(Control::Frontier { heads, .. }) => heads.as_slice(),
            What::Control(Control::Hello(hello)) => hello.ancestor_heads.as_slice(),
            What::Control(Control::Stands { head, .. }) => head.as_slice(),
            What::Control(Control::Conflict { log, evidence, .. }) => {
                evidence.notes.iter().for_each(|note| self.hears_note(code, *log, note));
                return;
            }
            What::Batch(log, bytes) => {
                if let Ok(batch) = Batch::decode(bytes) {
                    self.hears_note(code, *log, &batch.note);
                }
                return;
            }
            What::Control(_) => return,
        };
        heads.iter().for_each(|head| self.hears_head(code, head));
    }

    pub(super) fn hears_head(&mut self, code: Division, head: &Head) {
        self.hears_note(code, head.log, &head.note);
    }

    fn hears_note(&mut self, code: Division, log: LogId, note: &str) {
        if let Some((size, root)) = self.oracle.read.note(log, note) {
            self.node(code).heard.insert((log, size, root));
        }
    }

    /// A node that holds records of a log, was told a signed head that they do not lead to, and has not frozen it.
    pub fn unfound(&mut self) -> Result<Option<String>, Broken> {
        for code in self.codes() {
            self.read_intact(code)?;
            let node = self.nodes.get_mut(&code).expect("a node of the federation");
            let Some(replica) = node.replica.as_ref().filter(|_| node.inbox.is_empty()) else { continue };
            for (log, size, root) in &node.heard {
                let held = node.intact.of(*log).len() as u64;
                let frozen = replica.view().log(*log).is_some_and(|l| l.frozen.is_some());
                if *size > 0 && *size <= held && !frozen && node.intact.root(*log, *size) != *root {
                    return Ok(Some(format!("I4: {code} holds {held} of {log} and was told another {size}")));
                }
            }
        }
        Ok(None)
    }

    /// Histories of a log on the machines that run: of each node, and of its second machine.
    pub fn histories(&mut self, log: LogId) -> Result<Vec<Vec<Hash>>, Broken> {
        let mut all = Vec::new();
        for node in self.nodes.values_mut().chain(self.twins.values_mut()).filter(|n| n.replica.is_some()) {
            node.intact.read_on(&node.disk, crate::oracle::logs::Counts::Intact, &mut self.oracle.read)?;
            all.push(node.intact.of(log).to_vec());
        }
        Ok(all)
    }

    /// Whether a machine on the network has the proof of a fork; it must hold offline, with nothing but the log's key, and no
    /// longer once anything of it is changed.
    pub fn proof(&self, code: Division, log: LogId) -> Result<bool, Broken> {
        let replica = self.nodes[&code].replica.as_ref();
        let Some(frozen) = replica.and_then(|r| r.view().log(log)).and_then(|l| l.frozen.as_ref()) else {
            return Ok(false);
        };
        let (key, evidence) = (log_key(log), &frozen.evidence);
        let [a, b] = evidence.verify(&key).map_err(|e| Broken(format!("I4: {code} froze {log} with no proof: {e}")))?;
        promise(a.size <= b.size && (a.size < b.size || a.root != b.root), || "I4: a proof of one history".into())?;
        let mut altered = evidence.clone();
        altered.notes[0] = altered.notes[1].clone();
        promise(altered.verify(&key).is_err(), || "I4: one note twice is taken for a proof".into())?;
        let mut altered = evidence.clone();
        altered.root_at = Some(a.root);
        promise(altered.verify(&key).is_err(), || "I4: a path from the told root is taken for a proof".into())?;
        Ok(true)
    }
}
