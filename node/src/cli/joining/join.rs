//! `tally join`: from an invitation to a node that may run.
//!
//! Each step says that it went well, or what is wrong and what to do. Whatever ends it, the same command goes on from there: keys and
//! request are made once. What is asked for is given by the authority, whose operator compares the digits that are shown here.

use super::{
    super::{Exit, Failure, charter::wrong_key},
    ask::{Asked, Told, ask},
    place::{NodePlace, Settings, at, reached},
    state::{JoinState, KeptJoin, KeptListens},
    words,
};
use crate::config::Config;
use clap::Args;
use std::{
    fs::{self, File},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};
use tally_client::{
    keyfile::{self, SecretKind},
    save::save,
};
use tally_protocol::{
    ids::Division,
    invite::{Invite, SignedInvite},
    keys::NodeKeys,
    tame::tame,
};
use tally_topology::{charter::Level, signed::SignedCharter};

/// Pauses between two questions whether there is an answer: they grow from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// A parent without room for one more caller is asked again, so many times in all.
const BUSY_TRIES: u32 = 5;

#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(in super::super) struct JoinArgs {
    /// The invitation, one line that begins with tly1_ or tly2_.
    #[arg(value_name = "TOKEN", conflicts_with = "file")]
    token: Option<String>,
    /// A file with the invitation.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The new node's folder, which is made.
    #[arg(long, value_name = "DIR", required_unless_present = "status")]
    dir: Option<PathBuf>,
    /// Refuse an invitation of another division than this.
    #[arg(long, value_name = "D")]
    division: Option<Division>,
    /// UDP address on which nodes below are heard; without it 0.0.0.0:7443, and for a county any free port.
    #[arg(long, value_name = "ADDR")]
    quic: Option<SocketAddr>,
    /// Where nodes below find it, host:port, if that is another address than --quic; may be repeated.
    #[arg(long = "address", value_name = "HOST:PORT")]
    addresses: Vec<String>,
    /// TCP address of the HTTP interface.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Do not wait for the approval.
    #[arg(long)]
    no_wait: bool,
    /// Say where the request stands, and take up what was given.
    #[arg(long)]
    status: bool,
    /// With --status: the node's tally.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Without a network: write the request to a file, to be carried to where the authority's key is.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["status", "no_wait"])]
    request: Option<PathBuf>,
    /// The charter that was carried back, which names this node.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["status", "no_wait", "request"])]
    charter: Option<PathBuf>,
    /// There will be no network to the parent either: `tally bundle` files are carried.
    #[arg(long)]
    offline: bool,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
}

/// A join that goes on.
pub(super) struct Joining {
    pub(super) place: NodePlace,
    pub(super) invite: SignedInvite,
    pub(super) keys: NodeKeys,
    pub(super) kept: KeptJoin,
}

pub(in super::super) async fn run(args: JoinArgs) -> Result<Exit, Failure> {
    let place = NodePlace(folder(&args)?);
    let (mut joining, new) = begin(&args, place)?;
    let invite = joining.invite.invite.clone();
    if new {
        step(1, &format!("invitation of {} {} under {}", invite.division, tame(&invite.name), invite.parent));
    }
    match joining.kept.state {
        JoinState::Admitted => return end(&args, &joining),
        JoinState::Rejected => {
            if args.json {
                tell(&joining)?;
            }
            return Err(words::rejected(invite.parent, &joining.kept.reason));
        }
        JoinState::Pending => {}
    }
    if let Some(file) = &args.charter {
        let note = fs::read_to_string(file).map_err(at(file))?;
        joining.admit(&note)?;
        return end(&args, &joining);
    }
    if let Some(file) = &args.request {
        let note = joining.kept.request(&joining.invite, &joining.keys).sign(&joining.keys);
        save(file, note.as_bytes()).map_err(at(file))?;
        errln!("the request is in {}: carry it to where the authority's key is, and there:", file.display());
        errln!(
            "  tally node approve {} --file FILE --code CODE --authority KEYFILE --config CONFIG --copy CHARTER",
            invite.division
        );
        errln!(
            "and with the charter that comes back: tally join --dir {} --charter CHARTER",
            joining.place.0.display()
        );
        return end(&args, &joining);
    }
    wait(&args, &mut joining).await
}

fn folder(args: &JoinArgs) -> Result<PathBuf, Failure> {
    let beside = args
        .config
        .as_ref()
        .and_then(|c| c.parent())
        .map(|p| if p.as_os_str().is_empty() { PathBuf::from(".") } else { p.to_owned() });
    let none = || Failure::new(Exit::Usage, "--dir DIR, or with --status --config FILE, says which node is meant");
    args.dir.clone().or(beside).ok_or_else(none)
}

/// Reads the invitation and what is in the folder; makes what is not there yet. The second is whether it was begun just now.
fn begin(args: &JoinArgs, place: NodePlace) -> Result<(Joining, bool), Failure> {
    let given = match (&args.token, &args.file) {
        (Some(token), _) => Some(token.clone()),
        (None, Some(file)) => Some(fs::read_to_string(file).map_err(at(file))?),
        (None, None) => None,
    };
    let lock = place.0.is_dir().then(|| place.lock()).transpose()?;
    let before = KeptJoin::load(&place.0)?;
    let token = match (&given, &before) {
        (Some(token), _) => token.trim().to_owned(),
        (None, Some(kept)) => kept.token.clone(),
        (None, None) => {
            let why = format!(
                "{} holds no request to join: an invitation is needed (TOKEN, or --file FILE)",
                place.0.display()
            );
            return Err(Failure::new(Exit::Usage, why));
        }
    };
    let invite = SignedInvite::read(&token).map_err(|e| words::no_invitation(&e.to_string()))?;
    let division = invite.invite.division;
    if let Some(meant) = args.division.filter(|d| *d != division) {
        return Err(words::other_division(division, meant));
    }
    // An invitation that is over is no way out of a request that was made with it.
    let same = before.as_ref().is_some_and(|kept| kept.token == token);
    if let Some(kept) = before.filter(|_| same || given.is_none()) {
        let secret = keyfile::read_as(&place.key(), SecretKind::Node).map_err(wrong_key)?;
        let keys = NodeKeys::derive(&invite.invite.federation, invite.invite.node(), &secret);
        let mut joining = Joining { place, invite, keys, kept };
        joining.configure(args)?;
        return Ok((joining, false));
    }
    Ok((make(args, place, invite, token, lock)?, true))
}

/// Begins a request. `tally join` may be killed between any two of its files: what is there of the same node is used.
fn make(
    args: &JoinArgs,
    place: NodePlace,
    invite: SignedInvite,
    token: String,
    lock: Option<File>,
) -> Result<Joining, Failure> {
    let division = invite.invite.division;
    let mut there = None;
    match KeptJoin::load(&place.0)? {
        // Another invitation for a request that was begun here and not given: its keys are used again.
        Some(earlier) => {
            let earlier_division = SignedInvite::read(&earlier.token).map(|i| i.invite.division);
            if let Ok(here) = earlier_division
                && here != division
            {
                return Err(words::other_division(division, here));
            }
            if earlier.state == JoinState::Admitted {
                let why = format!("{} has joined already: {division}", place.0.display());
                return Err(Failure::new(Exit::Usage, why));
            }
        }
        None => {
            there = Config::load(&place.config()).ok();
            if let Some(config) = &there
                && config.node.division != division
            {
                return Err(words::other_division(division, config.node.division));
            }
            let begun = there.as_ref().is_some_and(|config| is_begun(&place, config, &invite));
            if !begun {
                place.is_free(&[place.config(), place.charter()])?;
            }
        }
    }
    // What cannot be is refused before anything is made.
    let (quic, addresses) = heard(args, &invite.invite)?;
    if let Some(config) = &there
        && (quic.is_some_and(|q| q != config.listen.quic) || (args.http.is_some() && args.http != config.listen.http))
    {
        let (file, listens) = (place.config(), config.listen.quic);
        let why = format!(
            "{} says other addresses (quic = {listens}), and is left as it is: say the same, or remove it",
            file.display()
        );
        return Err(Failure::new(Exit::Usage, why));
    }
    place.ports_are_free(quic, args.http)?;
    place.make()?;
    let _lock = match lock {
        Some(lock) => lock,
        None => {
            let lock = place.lock()?;
            if KeptJoin::load(&place.0)?.is_some() {
                let why =
                    format!("another tally join has begun in {} just now: say it again to go on", place.0.display());
                return Err(Failure::failed(why));
            }
            lock
        }
    };
    let secret = match place.key().exists() {
        true => keyfile::read_as(&place.key(), SecretKind::Node),
        false => keyfile::create(&place.key(), SecretKind::Node),
    };
    let secret = secret.map_err(wrong_key)?;
    let keys = NodeKeys::derive(&invite.invite.federation, invite.invite.node(), &secret);
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(Failure::failed)?;
    let time = tally_clock::now_ms() / 1_000;
    let (state, reason) = (JoinState::Pending, String::new());
    let listens = there.is_none().then_some(KeptListens { quic, http: args.http, offline: args.offline });
    let kept = KeptJoin { token, time, nonce, addresses, answer: None, state, reason, listens };
    // First what says that a request was begun here: whatever ends this command, the same one goes on from it.
    kept.save(&place.0)?;
    let mut joining = Joining { place, invite, keys, kept };
    joining.configure(args)?;
    Ok(joining)
}

/// Whether a folder without a request holds what an earlier program wrote before it: a key, and the settings of this node under
/// this authority. It has never been admitted, and has never run.
fn is_begun(place: &NodePlace, config: &Config, invite: &SignedInvite) -> bool {
    place.key().exists()
        && !place.charter().exists()
        && !place.has_run()
        && config.authority().ok() == invite.invite.authority()
}

/// Where nodes below are heard, and find this one. A county has none: any free port does.
fn heard(args: &JoinArgs, invite: &Invite) -> Result<(Option<SocketAddr>, Vec<String>), Failure> {
    let county = invite.level.parse() == Ok(Level::County);
    if county && args.quic.is_none() && args.addresses.is_empty() {
        return Ok((None, Vec::new()));
    }
    let (quic, addresses) = reached(args.quic, &args.addresses)?;
    Ok((Some(quic), addresses))
}

pub(super) fn step(number: u8, what: &str) {
    errln!("[{number}/6] {what}");
}

impl Joining {
    /// Takes up a charter that names this node: it may run from then on.
    pub(super) fn admit(&mut self, note: &str) -> Result<(), Failure> {
        let invite = &self.invite.invite;
        let authority = invite.authority().ok_or_else(|| words::no_invitation("the authority's key in it is none"))?;
        let charter = SignedCharter::open(note, &authority).map_err(|e| words::other_charter(&e.to_string()))?;
        let own = charter.charter().log_key(invite.node());
        if own.as_ref() != Some(self.keys.log.public()) {
            let why = format!(
                "version {} does not name {} with the keys of this machine",
                charter.charter().version(),
                invite.division
            );
            return Err(words::other_charter(&why));
        }
        // Who takes another's place has a history, which is fetched first: an empty disk is no word that nothing was signed. Without a
        // network nobody could fetch it, and a bundle brings it.
        let fresh = invite.ends().is_none() || self.place.is_offline();
        self.change(|joining| {
            // Another command of this folder was told first; the node may have run since, and used its word up.
            if joining.kept.state == JoinState::Admitted {
                return Ok(());
            }
            joining.place.admit(note, fresh)?;
            joining.kept.state = JoinState::Admitted;
            Ok(())
        })
    }

    /// Changes what is kept of the request as it is kept now, while no other command of this folder does: one that waits for the
    /// answer may be long behind.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Self) -> Result<(), Failure>) -> Result<(), Failure> {
        let _lock = self.place.lock()?;
        let Some(now) = KeptJoin::load(&self.place.0)?.filter(|now| now.is_of(&self.kept)) else {
            let why = format!("{} holds another request by now: this one is over", self.place.0.display());
            return Err(Failure::failed(why));
        };
        self.kept = now;
        let before = self.kept.clone();
        change(self)?;
        if self.kept == before { Ok(()) } else { self.kept.save(&self.place.0) }
    }

    /// Writes `tally.toml`, if that is still to be done or it is not there. The folder is locked.
    fn configure(&mut self, args: &JoinArgs) -> Result<(), Failure> {
        let invite = &self.invite.invite;
        if self.kept.listens.is_some() || !self.place.config().exists() {
            let authority =
                invite.authority().ok_or_else(|| words::no_invitation("the authority's key in it is none"))?;
            let KeptListens { quic, http, offline } = match &self.kept.listens {
                Some(listens) => listens.clone(),
                None => KeptListens { quic: heard(args, invite)?.0, http: args.http, offline: args.offline },
            };
            let (division, by) = (invite.division, "tally join");
            self.place.configure(&Settings { division, authority: &authority, quic, http, offline, by })?;
        }
        if self.kept.listens.take().is_some() {
            self.kept.save(&self.place.0)?;
        }
        Ok(())
    }
}

/// Asks until there is an answer, or once.
async fn wait(args: &JoinArgs, joining: &mut Joining) -> Result<Exit, Failure> {
    let (mut pause, mut shown, mut busy) = (PAUSES.0, false, 0);
    loop {
        let told = ask(joining, !shown).await;
        match told {
            Ok(Told::Admitted(charter)) => {
                joining.admit(&charter)?;
                return end(args, joining);
            }
            Ok(Told::Rejected { by, reason }) => {
                joining.change(|j| {
                    if j.kept.state == JoinState::Pending {
                        j.kept.state = JoinState::Rejected;
                        j.kept.reason.clone_from(&reason);
                    }
                    Ok(())
                })?;
                if joining.kept.state == JoinState::Admitted {
                    return end(args, joining);
                }
                if args.json {
                    tell(joining)?;
                }
                return Err(words::rejected(by, &reason));
            }
            Ok(Told::Pending) if !shown => {
                let invite = &joining.invite.invite;
                let code = joining.kept.request(&joining.invite, &joining.keys).code();
                words::pending(&code, invite.parent, &tame(&invite.name));
                shown = true;
            }
            Ok(Told::Pending) => {}
            // Others call too: a moment later there is room.
            Err(Asked { busy: true, .. }) if busy < BUSY_TRIES => {
                busy += 1;
                tokio::time::sleep(PAUSES.0).await;
                continue;
            }
            // It was asked before: what passes by itself is waited for.
            Err(Asked { passes: true, why, .. }) if shown => {
                tracing::debug!(event = "join.waits", reason = %why, "asked in vain");
            }
            Err(Asked { why, .. }) => {
                if args.status && args.json {
                    tell(joining)?;
                }
                return Err(why);
            }
        }
        if args.no_wait || args.status {
            return end(args, joining);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(PAUSES.1);
    }
}

/// Says how it ended.
fn end(args: &JoinArgs, joining: &Joining) -> Result<Exit, Failure> {
    if args.json {
        tell(joining)?;
        return Ok(Exit::Done);
    }
    let (invite, config) = (&joining.invite.invite, joining.place.config());
    match joining.kept.state {
        JoinState::Admitted => {
            outln!("{} {} has joined under {}", invite.division, tame(&invite.name), invite.parent);
            let (config, start) = (config.display(), joining.place.start());
            match invite.ends() {
                None => outln!("next: {start}"),
                Some(_) if joining.place.is_offline() => outln!(
                    "next: {start}, and before the first rows what {0} holds: there tally bundle export --to {1} \
                     --since start, here tally bundle import",
                    invite.parent,
                    invite.division
                ),
                Some(_) => outln!("next: tally restore --config {config}, then {start}"),
            }
        }
        JoinState::Pending => {
            let code = joining.kept.request(&joining.invite, &joining.keys).code();
            outln!("{} {} waits for the approval   code {code}", invite.division, tame(&invite.name));
            errln!("where it stands: tally join --status --config {}", config.display());
        }
        JoinState::Rejected => {}
    }
    Ok(Exit::Done)
}

fn tell(joining: &Joining) -> Result<(), Failure> {
    let state = serde_json::to_value(joining.kept.state).map_err(Failure::failed)?;
    let code = joining.kept.request(&joining.invite, &joining.keys).code();
    let told = serde_json::json!({
        "division": joining.invite.invite.division,
        "code": code,
        "state": state,
        "config": joining.place.config(),
    });
    outln!("{told}");
    Ok(())
}
