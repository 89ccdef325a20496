//! Charters: from the operator or the parent, into the journal, into force, down to the children.
//!
//! A charter is judged when it comes and again once it is on disk, and takes effect only then: with it live links are judged
//! anew, after it was sent down them. Which charter may follow which is `topology`'s to say. Neighbours tell each other which
//! charter is in force, by version and hash: another one of the same version is told to people and never adopted.

use super::{Event, Output, Parent, Replica, Ticket};
use crate::{Append, entry::Waiter};
use std::sync::Arc;
use tally_protocol::{
    ids::{Division, LogId},
    wire::{CharterMark, Control, Refusal},
};
use tally_topology::signed::{SignedCharter, SignedError};

impl Replica {
    /// Takes a charter from the operator; it comes into force once it is on disk. The one in force is in force already.
    pub(super) fn load_charter(&mut self, ticket: Ticket, note: String, out: &mut Vec<Output>) {
        if note == self.view.charter.note() {
            out.push(Output::CharterLoaded { ticket, result: Ok(self.charter().version()) });
            return;
        }
        match self.judge_charter(&note) {
            Ok(_) => out.push(Output::Append(Append::charter(note, Waiter::Loader(ticket)))),
            Err(why) => out.push(Output::CharterLoaded { ticket, result: Err(why) }),
        }
    }

    /// Takes a charter from the parent; one that is not newer is no news and no fault.
    pub(super) fn charter_from_parent(&mut self, peer: Division, note: String, out: &mut Vec<Output>) {
        match self.judge_charter(&note) {
            Ok(_) => out.push(Output::Append(Append::charter(note, Waiter::Nobody))),
            Err(SignedError::NotNewer { .. }) => {}
            Err(SignedError::OtherContent { version, offered, .. }) => {
                self.charter_at_parent(CharterMark { version, hash: offered }, out);
            }
            Err(why) => out.push(Output::Note(Event::CharterRefused { peer, reason: why.to_string() })),
        }
    }

    /// The parent has said which charter is in force there.
    pub(super) fn charter_at_parent(&mut self, mark: CharterMark, out: &mut Vec<Output>) {
        let Some(up) = self.view.parent.link.as_mut() else { return };
        let (peer, before) = (up.peer, up.charter.replace(mark));
        self.tell_other_content(peer, before, mark, out);
    }

    /// A child has said which charter is in force there.
    pub(super) fn charter_at_child(&mut self, peer: Division, mark: CharterMark, out: &mut Vec<Output>) {
        let Some(child) = self.view.children.get_mut(&peer) else { return };
        let before = child.charter.replace(mark);
        self.tell_other_content(peer, before, mark, out);
    }

    /// Says once to the log file what status shows for as long as it is so.
    fn tell_other_content(
        &self,
        peer: Division,
        before: Option<CharterMark>,
        mark: CharterMark,
        out: &mut Vec<Output>,
    ) {
        let here = self.view.charter.mark();
        if mark.version == here.version && mark != here && before != Some(mark) {
            let (version, here, there) = (mark.version, here.hash, mark.hash);
            out.push(Output::Note(Event::CharterDiffers { peer, version, here, there }));
        }
    }

    fn judge_charter(&self, note: &str) -> Result<SignedCharter, SignedError> {
        SignedCharter::open_next(note, &self.view.charter)
    }

    /// The charter is on disk: it takes effect now, on live links too.
    pub(super) fn charter_appended(&mut self, note: &str, ticket: Option<Ticket>, out: &mut Vec<Output>) {
        // Judged again: another one may have come into force in the same round.
        let signed = match self.judge_charter(note) {
            Ok(signed) => signed,
            Err(why) => {
                let result = Err(why);
                out.extend(ticket.map(|ticket| Output::CharterLoaded { ticket, result }));
                return;
            }
        };
        let version = signed.charter().version();
        // Nobody will tell anything of whoever is out of service from now on.
        let retired = |id: &LogId| signed.charter().node(id.division).is_none_or(|n| n.retired);
        self.receipts_due.extend(self.unsaid.extract_if(.., retired));
        let parent_was = self.charter().parent(self.me());
        self.view.charter = Arc::new(signed);
        if self.charter().parent(self.me()) != parent_was {
            self.forget_parent(out);
        }
        self.view.parent.charter_behind = false;
        out.push(Output::Note(Event::Charter(version)));
        out.push(Output::CharterChanged);
        out.extend(ticket.map(|ticket| Output::CharterLoaded { ticket, result: Ok(version) }));
        if let Some(up) = &self.view.parent.link {
            out.push(Output::Send { link: up.id, message: Control::InForce(self.view.charter.mark()) });
        }
        // First to everybody who is linked, also to those who lose their link by it: they must learn why.
        for child in self.view.children.values() {
            if let Some(up) = child.link.as_ref().filter(|l| l.welcomed) {
                let note = self.view.charter.note().to_owned();
                out.push(Output::Send { link: up.id, message: Control::Charter { note } });
            }
        }
        self.recheck_links(out);
    }

    /// Closes live links that the new charter does not admit: a handshake is judged only once.
    fn recheck_links(&mut self, out: &mut Vec<Output>) {
        let charter = self.view.charter.clone();
        let charter = charter.charter();
        let me = self.me();
        let child_stands = |d: Division, peer| {
            let node = charter.node(d);
            charter.parent(d) == Some(me) && charter.current_log(d) == Some(peer) && node.is_some_and(|n| !n.retired)
        };
        let gone: Vec<_> = self
            .view
            .children
            .iter()
            .filter_map(|(d, c)| c.link.as_ref().map(|l| (*d, l.id, l.peer)))
            .filter(|(d, _, peer)| !child_stands(*d, *peer))
            .collect();
        for (division, link, _) in gone {
            let reason = format!("charter version {} does not admit this link", charter.version());
            let refused = (Refusal::NotAdmitted, reason.clone());
            if let Some(child) = self.view.children.get_mut(&division) {
                child.refused = Some(refused);
            }
            self.close(self.now_ms, link, Refusal::NotAdmitted, reason, out);
        }
        let parent = self.view.parent.link.as_ref().map(|l| (l.id, l.peer, l.epoch));
        if let Some((link, peer, epoch)) = parent
            && charter.current_log(peer) != epoch
        {
            let reason = format!("charter version {} names another key of the parent", charter.version());
            self.close(self.now_ms, link, Refusal::NotAdmitted, reason, out);
        }
    }

    /// The charter names another parent: nothing that is known of the old one is true of the new one.
    fn forget_parent(&mut self, out: &mut Vec<Output>) {
        if let Some(link) = self.view.parent.link.as_ref().map(|l| l.id) {
            self.close(self.now_ms, link, Refusal::NotAChild, "the charter names another parent".into(), out);
        }
        self.view.parent = Parent::default();
        self.view.above.clear();
        self.assured.clear();
        self.answers.sure = None;
        self.same_key_ms = None;
        self.clock.forget_parent();
    }
}
