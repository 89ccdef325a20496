//! A request to join, at the authority: shown to its operator, and the next charter, which gives it.

use super::super::{Exit, Failure};
use tally_protocol::{join::JoinRequest, keys::Signer, note::Note, tame::tame};
use tally_topology::{
    charter::with_node,
    join::{node_of, open_join},
    signed::{self, SignedCharter},
};

fn refused(e: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Proof, e.to_string())
}

/// The signed charter that follows, and its version. Everything is checked anew: what came by a file is nobody's word.
pub(in super::super) fn next_charter(
    note: &str,
    current: &SignedCharter,
    authority: &Signer,
) -> Result<(String, u64), Failure> {
    let request = open_join(note, current.charter()).map_err(refused)?;
    if request.invite.invite.authority != current.signed_by().public() {
        let why = "the invitation names another key of the authority than the one that signed the charter in force: invite anew";
        return Err(refused(why));
    }
    let node = node_of(&request).map_err(refused)?;
    let text = Note::parse(current.note()).map_err(refused)?.text().to_owned();
    let text = with_node(&text, &node, &request.keys).map_err(Failure::failed)?;
    let signed = signed::sign(&text, authority).map_err(refused)?;
    let next = SignedCharter::open_next(&signed, current).map_err(refused)?;
    Ok((signed, next.charter().version()))
}

/// Shows what the next charter changes.
pub(in super::super) fn show(request: &JoinRequest, version: u64) {
    let invite = &request.invite.invite;
    let at = if request.addresses.is_empty() {
        "no address: nobody below calls it".into()
    } else {
        request.addresses.join(" ")
    };
    errln!("{} {} asks to join", invite.division, tame(&invite.name));
    errln!("  + {} {}   {}   under {}", invite.division, tame(&invite.name), invite.level, invite.parent);
    errln!("    invited by {}   {}", invite.by, tame(&at));
    errln!("    link key {}", request.keys.link);
    errln!("  charter version {version}; nothing else in it changes");
}

/// One line of what is asked for.
pub(in super::super) fn list(request: &JoinRequest, since: &str, via: Option<String>, code: &str) {
    let invite = &request.invite.invite;
    outln!(
        "{} {}   to join under {}   since {since}   code {code}",
        invite.division,
        tame(&invite.name),
        invite.parent
    );
    let came = via.map_or_else(|| "asked here".to_owned(), |via| format!("came by {via}"));
    outln!("  {}   invited by {}   {came}", invite.level, invite.by);
}
