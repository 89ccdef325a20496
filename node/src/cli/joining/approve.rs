//! A request to join, at the authority: shown to its operator, and the next charter, which gives it.

use super::super::{Exit, Failure, node::proved};
use tally_console::HeldWhole;
use tally_protocol::{join::JoinRequest, keys::Signer, note::Note, tame::tame};
use tally_texts::said;
use tally_topology::{
    charter::{Replacement, with_node, with_replacement},
    join::{node_of, open_join},
    signed::{self, SignedCharter},
};

fn refused(e: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Proof, e.to_string())
}

/// The signed charter that follows, and its version. Everything is checked anew: what came by a file is nobody's word.
pub(in super::super) fn next_charter(
    note: &str,
    held: &HeldWhole,
    current: &SignedCharter,
    authority: &Signer,
) -> Result<(String, u64), Failure> {
    let request = open_join(note, current.charter()).map_err(refused)?;
    if request.invite.invite.authority != current.signed_by().public() {
        let why = "the invitation names another key of the authority than the one that signed the charter in force: invite anew";
        return Err(refused(why));
    }
    let text = Note::parse(current.note()).map_err(refused)?.text().to_owned();
    let text = match request.invite.invite.ends() {
        None => with_node(&text, &node_of(&request).map_err(refused)?, &request.keys),
        Some(log) => {
            proved(held, log, current, false)?;
            let (end, why) =
                ((log, held.size, held.root), format!("another machine, invited by {}", request.invite.invite.by));
            with_replacement(&text, &Replacement { end, keys: &request.keys, addresses: &request.addresses, why: &why })
        }
    };
    let text = text.map_err(Failure::failed)?;
    let signed = signed::sign(&text, authority).map_err(refused)?;
    let next = SignedCharter::open_next(&signed, current).map_err(refused)?;
    Ok((signed, next.charter().version()))
}

/// Shows what the next charter changes.
pub(in super::super) fn show(request: &JoinRequest, held: &HeldWhole, version: u64) {
    let invite = &request.invite.invite;
    let at = if request.addresses.is_empty() {
        "no address: nobody below calls it".into()
    } else {
        request.addresses.join(" ")
    };
    if let Some(log) = invite.ends() {
        errln!("another machine asks to take the place of {} {}", invite.division, tame(&invite.name));
        errln!("  - {log} ends with {} records, root {}", held.size, held.root);
        errln!("  + {} begins, with the keys of the new machine; the node is in service", request.node());
        errln!("    what the old machine took in beyond that is lost; its key opens no link any more");
    } else {
        errln!("{} {} asks to join", invite.division, tame(&invite.name));
        errln!("  + {} {}   {}   under {}", invite.division, tame(&invite.name), invite.level, invite.parent);
    }
    errln!("    invited by {}   {}", invite.by, tame(&at));
    errln!("    link key {}", request.keys.link);
    errln!("  charter version {version}; nothing else in it changes");
}

/// One line of what is asked for.
pub(in super::super) fn list(request: &JoinRequest, since: &str, via: Option<String>, code: &str) {
    let invite = &request.invite.invite;
    let (division, name, parent) = (invite.division, tame(&invite.name), invite.parent);
    match invite.ends() {
        None => outln!("{division} {name}   to join under {parent}   since {since}   code {code}"),
        Some(log) => outln!("{division} {name}   another machine, after {log}   since {since}   code {code}"),
    }
    let came = via.map_or_else(|| "asked here".to_owned(), |via| format!("came by {via}"));
    let by = format!("invited by {}", invite.by);
    outln!("  {}   {}   {}", said(&invite.level.to_string()), said(&by), said(&came));
}
