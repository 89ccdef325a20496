//! `tally node replace`: another machine takes a node's place. What ends, what begins and what is lost is shown first; then the new
//! machine is invited, and joins as any other does. With the authority's key the old machine is put out of service at once.
//!
//! The division goes on in its next epoch, because nobody knows what the old machine signed last: its log ends where it is held
//! above, and what it had not sent is lost, not sent twice.

use super::{
    super::{Client, ConfigFile, Exit, Failure, nodes},
    invite::{Handed, Invited, Inviter},
};
use clap::Args;
use serde_json::{Value, json};
use std::{path::PathBuf, time::Duration};
use tally_console::status::{NodeBelowStatus, PeerState, Status};
use tally_protocol::{
    ids::{Division, LogId},
    tame::tame,
};
use tally_topology::charter::{Charter, Node, NodeChange};

/// What nodes between hold more is on its way: it is waited for, so often and so long each time.
const BETWEEN: (u32, Duration) = (20, Duration::from_millis(500));

#[derive(Debug, Args)]
pub(in super::super) struct ReplaceArgs {
    /// Which node.
    division: Division,
    /// Why: one line; with --authority it stands in the charter.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The authority's secret: the old machine is put out of service at once. Without it, it is when the new one is approved.
    #[arg(long, value_name = "KEYFILE")]
    authority: Option<PathBuf>,
    /// The passphrase with which the secret is sealed; asked for on a terminal without it.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Show what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    handed: Handed,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

/// What another machine in a node's place means, as far as it is known here.
struct Change<'a> {
    node: &'a Node,
    ends: LogId,
    /// Records of it that are held here.
    held: Option<u64>,
    below: Option<&'a NodeBelowStatus>,
    /// Records that the old machine is known to have had beyond those.
    waiting: Option<u64>,
    /// Nodes whose parent has another key from then on, and who cannot hear of it from it.
    cut: Vec<Division>,
}

impl<'a> Change<'a> {
    fn of(division: Division, charter: &'a Charter, status: &'a Status) -> Result<Self, Failure> {
        let node = nodes::node_of(charter, division)?;
        let ends = charter.current_log(division).ok_or_else(|| nodes::usage(format!("{division} has no log")))?;
        let below = status.nodes.iter().find(|n| n.division == division);
        let child = status.children.iter().find(|c| c.division == division).and_then(|c| c.behind_records);
        let origin = charter.federation().origin(ends);
        Ok(Self {
            node,
            ends,
            held: status.logs.iter().find(|l| l.log == origin).map_or(Some(0), |l| l.size),
            below,
            waiting: child.or(below.and_then(|n| n.waiting_records)),
            cut: charter.children(division).filter(|c| !c.retired).map(|c| c.division).collect(),
        })
    }

    fn next(&self) -> LogId {
        LogId::records(self.ends.division, self.ends.epoch.saturating_add(1))
    }

    fn is_live(&self) -> bool {
        self.below.and_then(|n| n.state) == Some(PeerState::Live)
    }

    fn shown(&self) {
        let (division, name, held) = (self.node.division, tame(&self.node.name), self.held);
        let count = held
            .map_or_else(|| "what is held here (not known yet)".to_owned(), |n| format!("{n} records, as held here"));
        errln!("another machine takes the place of {division} {name}");
        errln!("  {} ends with {count}; what is held of it stays, and can be proved", self.ends);
        errln!("  {} begins, with keys of the new machine; the old one's open no link any more", self.next());
        let heard = self.below.and_then(|n| n.last_heard.as_deref()).unwrap_or("not since this node's start");
        errln!("  the old machine was last heard: {heard}");
        let from = held.unwrap_or_default();
        match self.waiting {
            Some(0) => errln!("  it had nothing more when it was last heard; what it took in since then is lost"),
            Some(n) => {
                errln!("  LOST: {n} records of {}, from number {from} on, and what it took in since then", self.ends)
            }
            None => {
                errln!("  LOST: what it took in and did not send, from number {from} on; how much is not known here")
            }
        }
        if let Some(rows) = self.below.and_then(|n| n.staged).filter(|n| *n > 0) {
            errln!("  LOST: {rows} rows that it had taken and not signed");
        }
        errln!(
            "  on the new machine `tally receipt FILE` names each row of a file that is not held: hand those in again"
        );
        for below in &self.cut {
            errln!(
                "  {below}: learns the new key where its parent answers; at another address than before, load the next charter \
                 there (tally charter load --here)"
            );
        }
        if self.is_live() {
            errln!(
                "warning: the old machine is linked and works: stop it first, or what it takes in from now on is lost"
            );
        }
    }

    fn json(&self) -> Value {
        let staged = self.below.and_then(|n| n.staged);
        json!({
            "division": self.node.division,
            "ends": { "log": self.ends.to_string(), "size": self.held },
            "begins": self.next().to_string(),
            "lost": { "from": self.held, "waiting_records": self.waiting, "staged": staged },
            "last_heard": self.below.and_then(|n| n.last_heard.as_deref()),
            "live": self.is_live(),
            "charter_by_hand": self.cut,
            "out_of_service": self.node.retired,
        })
    }
}

pub(in super::super) async fn run(args: ReplaceArgs) -> Result<Exit, Failure> {
    let client = args.config.client()?;
    let (charter, seen) = nodes::seen(&client).await?;
    let change = Change::of(args.division, &charter, &seen)?;
    let parent = change.node.parent.ok_or_else(|| {
        nodes::usage(format!(
            "{} reports to nobody, so nobody can invite its new machine: bring its keys and a copy of its data along",
            args.division
        ))
    })?;
    change.shown();
    if args.dry_run {
        if args.json {
            outln!("{}", change.json());
        } else {
            outln!("nothing was changed (--dry-run)");
        }
        return Ok(Exit::Done);
    }
    let inviter = Inviter::of(&args.config).await?;
    let invited = Invited {
        division: args.division,
        name: change.node.name.trim(),
        level: change.node.level,
        parent,
        epoch: change.next().epoch,
    };
    let signed = inviter.sign(&invited, &args.handed)?;
    let mut told = change.json();
    if let Some(key) = args.authority.as_deref().filter(|_| !change.node.retired) {
        let word = nodes::AuthoritysWord {
            federation: charter.federation(),
            key,
            passphrase_file: args.passphrase_file.as_deref(),
            yes: args.yes,
            anyway: true,
        };
        let version = word.put(&client, (args.division, &NodeChange::Retired(true), &args.reason)).await?;
        errln!("charter version {version} is in force: the old machine of {} is out of service", args.division);
        told["out_of_service"] = true.into();
    }
    inviter.hand_on(&signed, &args.handed, args.json.then_some(told))?;
    Ok(Exit::Done)
}

/// Whether nodes between this one and a node hold more of its log than is held here: they would have to throw it away if it was
/// closed now. Waits some time for what is on its way. `None`: they do not.
pub(in super::super) async fn more_between(client: &Client, division: Division) -> Result<Option<String>, Failure> {
    let charter = client.charter().await?;
    let mut tries = 0;
    loop {
        let seen = nodes::status(client).await?;
        let more = between(&charter, &seen, division);
        tries += 1;
        if more.is_none() || tries >= BETWEEN.0 {
            return Ok(more);
        }
        tokio::time::sleep(BETWEEN.1).await;
    }
}

fn between(charter: &Charter, status: &Status, division: Division) -> Option<String> {
    let mut at = charter.parent(division);
    while let Some(node) = at.filter(|d| *d != status.node.division) {
        let seen = status.nodes.iter().find(|n| n.division == node);
        let state = seen.and_then(|n| n.state);
        let said = match seen.and_then(|n| n.waiting_records) {
            _ if state != Some(PeerState::Live) => Some(format!("{node} is not linked")),
            Some(0) => None,
            Some(n) => Some(format!("{node} has {n} records that are not here yet")),
            None => Some(format!("{node} has not said what waits there")),
        };
        if let Some(said) = said {
            return Some(format!(
                "{said}: what it holds of {division} beyond what is held here would be lost. Wait until it has come"
            ));
        }
        at = charter.parent(node);
    }
    None
}
