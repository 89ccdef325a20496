//! Where those who want to join are heard: invitation and request are checked, an invitation is used once, and the request goes the
//! way of all requests, to the authority's node. Whether it is given is a person's word, and comes as a charter.
//!
//! A node that a newer charter no longer admits as its own charter says, as after a move while it was off, is told that charter here.
//!
//! Whoever asks calls again and again until there is an answer; nothing is kept of it here but that its invitation is used.

use super::join_book::{JoinBook, NotSo, UsedInvite};
use std::{path::PathBuf, sync::Arc};
use tally_core::Input;
use tally_driver::{Mail, Mailbox};
use tally_link::{StrangerCall, panicked};
use tally_protocol::{
    hash::Hash,
    ids::Division,
    invite::{Invite, SignedInvite},
    join::{JOIN_VERSION, JoinAnswer, JoinAsk, JoinRefusal, JoinRequest},
    keys::NodeKeys,
};
use tally_topology::{
    charter::Charter,
    in_force::CharterHandle,
    join::{JoinRefused, check_free, check_invite},
};
use tokio::{sync::mpsc, task::JoinSet};

/// Who hears those who want to join.
#[derive(Debug)]
pub(super) struct JoinDesk {
    keys: Arc<NodeKeys>,
    charter: CharterHandle,
    mailbox: Mailbox,
    book: JoinBook,
}

impl JoinDesk {
    /// With the book at `path`. Blocks.
    pub(super) fn open(keys: Arc<NodeKeys>, charter: CharterHandle, mailbox: Mailbox, path: PathBuf) -> Self {
        Self { keys, charter, mailbox, book: JoinBook::open(path) }
    }

    /// Serves until nobody calls any more. How many calls go on at once, the links have bounded.
    pub(super) async fn serve(self, mut calls: mpsc::Receiver<StrangerCall>) {
        let (desk, mut answering) = (Arc::new(self), JoinSet::new());
        loop {
            tokio::select! {
                call = calls.recv() => {
                    let Some(call) = call else { return };
                    answering.spawn(desk.clone().answer(call));
                }
                Some(done) = answering.join_next() => {
                    panicked("joining", &done);
                }
            }
        }
    }

    async fn answer(self: Arc<Self>, mut call: StrangerCall) {
        let from = call.from;
        if tokio::time::timeout(StrangerCall::time(), self.converse(&mut call)).await.is_err() {
            return tracing::debug!(event = "join.slow", %from, "a call to join took too long");
        }
        call.end().await;
    }

    async fn converse(self: &Arc<Self>, call: &mut StrangerCall) {
        let first = call.receive().await;
        let (version, token, commitment) = match first.and_then(|b| JoinAsk::decode(&b).ok()) {
            Some(JoinAsk::Call { version, token, commitment }) => (version, token, commitment),
            Some(JoinAsk::Charter { newer_than, .. }) => return self.tell_charter(call, newer_than).await,
            Some(JoinAsk::Request { .. }) | None => {
                let why = "a call to join begins with an invitation".to_owned();
                return self.refuse(call, (JoinRefusal::Protocol, why)).await;
            }
        };
        if version < JOIN_VERSION {
            return self.refuse(call, (JoinRefusal::Protocol, "this program is too old to join here".into())).await;
        }
        let charter = self.charter.charter();
        if let Some(answer) = admitted(charter.charter(), charter.note(), &token, &call.key) {
            call.send(&answer.encode()).await;
            return;
        }
        let (signed, used) = match self.clone().enter(token, commitment, call.from.ip().to_string()).await {
            Ok(entered) => entered,
            Err(not_so) => return self.refuse(call, not_so).await,
        };
        let (used, answer) = used;
        let go = JoinAnswer::Go { version: JOIN_VERSION, clock_ms: tally_clock::now_ms(), answer };
        if !call.send(&go.encode()).await {
            return;
        }
        let second = call.receive().await;
        let Some(JoinAsk::Request { note }) = second.and_then(|b| JoinAsk::decode(&b).ok()) else { return };
        let opened = opened(&note, &signed, commitment, answer, &call.key);
        let said = match opened {
            Ok(request) => self.clone().take(request, note, used).await,
            Err(not_so) => Err(not_so),
        };
        match said {
            Ok(said) => {
                call.send(&said.encode()).await;
            }
            Err(not_so) => self.refuse(call, not_so).await,
        }
    }

    /// Tells a node that is no longer admitted the charter in force, from which it learns why and whom to call.
    async fn tell_charter(&self, call: &mut StrangerCall, newer_than: u64) {
        let charter = self.charter.charter();
        if !charter.charter().has_named(&call.key) || charter.charter().version() <= newer_than {
            let why = "there is no newer charter for this caller".to_owned();
            return self.refuse(call, (JoinRefusal::NoCharter, why)).await;
        }
        let (from, version) = (call.from, charter.charter().version());
        tracing::info!(event = "charter.told", %from, version, newer_than, "a node that is not admitted has asked for the charter");
        call.send(&JoinAnswer::Charter { note: charter.note().to_owned() }.encode()).await;
    }

    async fn refuse(&self, call: &mut StrangerCall, (code, reason): NotSo) {
        // Whoever has no invitation fills no log.
        let quiet = [
            JoinRefusal::Protocol,
            JoinRefusal::Invite,
            JoinRefusal::OtherParent,
            JoinRefusal::Busy,
            JoinRefusal::NoCharter,
        ];
        if quiet.contains(&code) {
            tracing::debug!(event = "join.refused", from = %call.from, code = ?code, %reason, "somebody may not join so");
        } else {
            tracing::info!(event = "join.refused", from = %call.from, code = ?code, %reason, "somebody may not join so");
        }
        let refused = JoinAnswer::Refused { code, clock_ms: tally_clock::now_ms(), reason };
        call.send(&refused.encode()).await;
    }

    /// Checks an invitation, and uses it.
    async fn enter(
        self: Arc<Self>,
        token: String,
        commitment: Hash,
        from: String,
    ) -> Result<(SignedInvite, (UsedInvite, [u8; 16])), NotSo> {
        let work = move || {
            let signed = SignedInvite::read(&token).map_err(|e| (JoinRefusal::Invite, e.to_string()))?;
            self.is_for_here(&signed)?;
            self.book.is_free(&signed.invite, commitment)?;
            check_free(&signed.invite, self.charter.charter().charter()).map_err(|e| not_so(&e))?;
            let now = tally_clock::now_ms() / 1_000;
            let used = self.book.enter(&signed.invite, commitment, &from, now)?;
            Ok((signed, used))
        };
        blocking(work).await
    }

    fn is_for_here(&self, signed: &SignedInvite) -> Result<(), NotSo> {
        let (me, charter, invite) = (self.keys.node.division, self.charter.charter(), &signed.invite);
        check_invite(signed, charter.charter()).map_err(|e| not_so(&e))?;
        if invite.parent != me {
            return Err((
                JoinRefusal::OtherParent,
                format!("the invitation is for {}, and this is {me}", invite.parent),
            ));
        }
        Ok(())
    }

    /// Hands a request on, and says where it stands.
    async fn take(self: Arc<Self>, request: JoinRequest, note: String, used: UsedInvite) -> Result<JoinAnswer, NotSo> {
        if let Some((by, reason)) = used.rejected {
            return Ok(JoinAnswer::Rejected { by, reason });
        }
        let stopping = |_| (JoinRefusal::Busy, "the node is stopping".to_owned());
        let (division, digest) = (request.node().division, request.digest());
        self.mailbox.send(Mail::Core(Input::Request { note })).await.map_err(stopping)?;
        let view = self.mailbox.settled().await.map_err(stopping)?;
        let requests = view.requests();
        if requests.pending.get(&division).is_some_and(|p| p.digest == digest) {
            return Ok(JoinAnswer::Pending);
        }
        if let Some(rejected) = requests.rejected.get(&division).filter(|r| r.digest == digest) {
            let (by, reason) = (rejected.by, rejected.reason.clone());
            let kept = reason.clone();
            blocking(move || {
                self.book.reject(&request, by, &kept);
                Ok(())
            })
            .await?;
            return Ok(JoinAnswer::Rejected { by, reason });
        }
        check_free(&request.invite.invite, view.charter()).map_err(|e| not_so(&e))?;
        Err((JoinRefusal::Busy, "the request has no room here just now".into()))
    }
}

/// What whoever has been admitted is told, whatever has become of its invitation.
fn admitted(charter: &Charter, note: &str, token: &str, key: &[u8; 32]) -> Option<JoinAnswer> {
    let invite = SignedInvite::read(token).ok()?.invite;
    let known = charter.by_link_key(key)? == invite.node() && invite.federation == *charter.federation();
    known.then(|| JoinAnswer::Admitted { charter: note.to_owned() })
}

/// The request, if it is the one that was said before, of whoever calls.
fn opened(
    note: &str,
    signed: &SignedInvite,
    commitment: Hash,
    answer: [u8; 16],
    key: &[u8; 32],
) -> Result<JoinRequest, NotSo> {
    let request = JoinRequest::open(note).map_err(|e| (JoinRefusal::Request, e.to_string()))?;
    let (asks, invited): (Division, &Invite) = (request.node().division, &signed.invite);
    if request.invite != *signed {
        let code = if asks == invited.division { JoinRefusal::NotCommitted } else { JoinRefusal::OtherDivision };
        return Err((
            code,
            format!("the request is of {asks} by another invitation than the one of {}", invited.division),
        ));
    }
    if request.keys.link.public() != *key {
        return Err((JoinRefusal::NotCommitted, "the request names another link key than the call has shown".into()));
    }
    if request.commitment() != commitment || request.answer != Some(answer) {
        return Err((JoinRefusal::NotCommitted, "the request is not the one that was said before".into()));
    }
    Ok(request)
}

fn not_so(e: &JoinRefused) -> NotSo {
    let code = match e {
        JoinRefused::Note(_) => JoinRefusal::Request,
        JoinRefused::ParentKey(..) | JoinRefused::NoParent(..) | JoinRefused::Elsewhere(..) => JoinRefusal::OtherParent,
        JoinRefused::Taken(..) | JoinRefused::NotNext(..) => JoinRefusal::Taken,
        JoinRefused::Federation(_) | JoinRefused::NotSigned(..) | JoinRefused::Level(..) => JoinRefusal::Invite,
    };
    (code, e.to_string())
}

/// Runs what waits for the disk on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, NotSo> + Send + 'static) -> Result<T, NotSo> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err((JoinRefusal::Busy, "the node is stopping".into())),
    }
}
