//! `tally node ls`, `show`, and what changes a node's place in the charter: the change is shown, signed with the authority's key, and
//! goes out by itself.

use super::{
    Client, ClientError, ConfigFile, Exit, Failure,
    charter::authority_secret,
    node::{APPROVE_TRIES, charter, confirmed, in_force},
};
use clap::Args;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tally_client::shown;
use tally_console::status::Status;
use tally_protocol::{
    ids::{Division, Federation},
    keys::authority_signer,
    note::Note,
    tame::tame,
};
use tally_sheet::text::pad;
use tally_texts::said;
use tally_topology::{
    charter::{Charter, Node, NodeChange, with_change},
    signed::{self, SignedCharter},
};

/// A node that was moved a moment ago calls its new parent soon: it is waited for, so often and so long each time.
const CALLS: (u32, Duration) = (120, Duration::from_millis(500));

#[derive(Debug, Args)]
pub(super) struct LsArgs {
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Which node.
    division: Division,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, Args)]
pub(super) struct ChangeArgs {
    /// Which node.
    division: Division,
    /// Why: one line, which stands in the charter.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The authority's secret; not needed with --dry-run.
    #[arg(long, value_name = "KEYFILE", required_unless_present = "dry_run")]
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
    /// Nodes below may be cut off, and records that are not here may stay there.
    #[arg(long)]
    retire_anyway: bool,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, Args)]
pub(super) struct MoveArgs {
    #[command(flatten)]
    change: ChangeArgs,
    /// Whom it is to report to.
    #[arg(long, value_name = "D")]
    under: Division,
}

pub(super) fn usage(why: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Usage, why.to_string())
}

/// A node by charter and, as far as it is known, as it is. What is not known is null.
fn described(node: &Node, status: &Status) -> Result<Value, Failure> {
    let mut all = json!({
        "division": node.division,
        "name": node.name,
        "level": node.level,
        "parent": node.parent,
        "epoch": node.epochs.len(),
        "addresses": node.addresses,
        "covers": node.covers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "retired": node.retired,
        "state": null,
        "last_heard": null,
        "waiting_records": null,
        "oldest_waiting": null,
        "agrees": null,
        "charter_version": null,
        "software": null,
    });
    if node.division == status.node.division {
        all["state"] = "here".into();
        all["software"] = status.node.version.clone().into();
        return Ok(all);
    }
    let below = status.nodes.iter().find(|n| n.division == node.division);
    if let Some(below) = below {
        let below = serde_json::to_value(below).map_err(Failure::failed)?;
        for name in
            ["state", "last_heard", "waiting_records", "oldest_waiting", "agrees", "charter_version", "software"]
        {
            all[name] = below[name].clone();
        }
    }
    Ok(all)
}

pub(super) async fn status(client: &Client) -> Result<Status, Failure> {
    shown(&client.get("/v1/status").await?)
}

/// The charter in force at a node, and what the node says.
pub(super) async fn seen(client: &Client) -> Result<(Charter, Status), Failure> {
    Ok((client.charter().await?, status(client).await?))
}

/// A node of the charter in force.
pub(super) fn node_of(charter: &Charter, division: Division) -> Result<&Node, Failure> {
    let none = || usage(format!("{division} is not a node of charter version {}", charter.version()));
    charter.node(division).ok_or_else(none)
}

pub(super) async fn ls(args: LsArgs) -> Result<Exit, Failure> {
    let (charter, status) = seen(&args.config.client()?).await?;
    let mut all = Vec::new();
    for node in charter.nodes() {
        all.push(described(node, &status)?);
    }
    if args.json {
        outln!("{}", Value::from(all));
        return Ok(Exit::Done);
    }
    outln!("charter version {}, {} nodes", charter.version(), all.len());
    let text = |v: &Value| v.as_str().map_or_else(|| "-".to_owned(), |t| tame(t).into_owned());
    for node in &all {
        let state = if node["retired"] == true { "retired".to_owned() } else { text(&node["state"]) };
        // Word by word: columns are made wide after that.
        outln!(
            "  {}  {}  {}  {}  {}  {}",
            text(&node["division"]),
            pad(&text(&node["name"]), 20),
            pad(&said(&text(&node["level"])), 10),
            pad(&said(&format!("under {}", text(&node["parent"]))), 12),
            pad(&said(&state), 10),
            text(&node["last_heard"])
        );
    }
    Ok(Exit::Done)
}

pub(super) async fn show(args: ShowArgs) -> Result<Exit, Failure> {
    let (charter, status) = seen(&args.config.client()?).await?;
    let node = node_of(&charter, args.division)?;
    let mut all = described(node, &status)?;
    let keys = |e: &tally_topology::charter::Epoch| {
        json!({
            "log": e.log.to_string(),
            "mirror": e.mirror.to_string(),
            "link": e.link.to_string(),
            "last_size": e.last.map(|(size, _)| size),
            "last_root": e.last.map(|(_, root)| root.to_string()),
        })
    };
    all["epochs"] = node.epochs.iter().map(keys).collect();
    all["expected"] = node.expected.to_string().into();
    all["children"] = charter.children(node.division).map(|c| c.division.to_string()).collect();
    if args.json {
        outln!("{all}");
        return Ok(Exit::Done);
    }
    for (name, value) in all.as_object().into_iter().flatten().filter(|(name, _)| *name != "epochs") {
        let value = match value {
            Value::String(text) => tame(text).into_owned(),
            Value::Null => "-".to_owned(),
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
            other => other.to_string(),
        };
        // A name may be a word of the catalog's.
        let value = if name == "name" { value.into() } else { said(&value) };
        outln!("{}  {value}", pad(&said(name), 16));
    }
    for (number, epoch) in node.epochs.iter().enumerate() {
        outln!("{} {}  {} {}", said("epoch"), number + 1, said("link"), epoch.link);
    }
    Ok(Exit::Done)
}

pub(super) async fn retire(args: ChangeArgs) -> Result<Exit, Failure> {
    change(args, &NodeChange::Retired(true), false).await
}

pub(super) async fn suspend(args: ChangeArgs) -> Result<Exit, Failure> {
    // It comes back, and what it holds with it.
    change(args, &NodeChange::Retired(true), true).await
}

pub(super) async fn resume(args: ChangeArgs) -> Result<Exit, Failure> {
    change(args, &NodeChange::Retired(false), false).await
}

pub(super) async fn move_to(args: MoveArgs) -> Result<Exit, Failure> {
    change(args.change, &NodeChange::Parent(args.under), false).await
}

/// What changes, for people.
fn told(charter: &Charter, division: Division, change: &NodeChange) -> Vec<String> {
    let Some(node) = charter.node(division) else { return Vec::new() };
    let name = tame(&node.name);
    let mut lines = Vec::new();
    match change {
        NodeChange::Parent(parent) => {
            let before = node.parent.map_or_else(|| "nobody".to_owned(), |p| p.to_string());
            lines.push(format!("  {division} {name}: reports to {parent}, not to {before}"));
        }
        NodeChange::Retired(true) => lines.push(format!("  {division} {name}: out of service, its links close")),
        NodeChange::Retired(false) => lines.push(format!("  {division} {name}: in service again")),
        NodeChange::Addresses(all) => {
            lines.push(format!("  {division} {name}: is found at {}", tame(&all.join(" "))));
        }
    }
    if *change == NodeChange::Retired(true) {
        let cut = charter.children(division).filter(|c| !c.retired);
        lines.extend(cut.map(|c| format!("  {} {}: is cut off by that", c.division, tame(&c.name))));
    }
    lines
}

async fn change(args: ChangeArgs, change: &NodeChange, comes_back: bool) -> Result<Exit, Failure> {
    let client = args.config.client()?;
    let note = charter(&client).await?;
    let current = client.charter().await?;
    next_text(&note, args.division, change, &args.reason)?;
    errln!("charter version {} follows version {}:", current.version() + 1, current.version());
    told(&current, args.division, change).iter().for_each(|line| errln!("{line}"));
    let said = |version: Option<u64>| {
        json!({
            "division": args.division,
            "follows": current.version(),
            "charter_version": version,
            "changes": told(&current, args.division, change).iter().map(|l| l.trim()).collect::<Vec<_>>(),
        })
    };
    if args.dry_run {
        match args.json {
            true => outln!("{}", said(None)),
            false => outln!("nothing was changed (--dry-run)"),
        }
        return Ok(Exit::Done);
    }
    let word = AuthoritysWord {
        federation: current.federation(),
        key: args.authority.as_deref().unwrap_or(Path::new("")),
        passphrase_file: args.passphrase_file.as_deref(),
        yes: args.yes,
        anyway: args.retire_anyway || comes_back,
    };
    let version = word.put(&client, (args.division, change, &args.reason)).await?;
    match args.json {
        true => outln!("{}", said(Some(version))),
        false => outln!("charter version {version} is in force"),
    }
    Ok(Exit::Done)
}

fn next_text(note: &str, division: Division, change: &NodeChange, reason: &str) -> Result<String, Failure> {
    let text = Note::parse(note).map_err(Failure::failed)?.text().to_owned();
    with_change(&text, division, change, reason).map_err(usage)
}

/// What is asked of the authority before a charter is changed: its key, and a yes.
pub(super) struct AuthoritysWord<'a> {
    pub(super) federation: &'a Federation,
    pub(super) key: &'a Path,
    pub(super) passphrase_file: Option<&'a Path>,
    /// It was said already.
    pub(super) yes: bool,
    /// The node may be retired whatever is lost by that.
    pub(super) anyway: bool,
}

impl AuthoritysWord<'_> {
    /// Signs the charter with this change, if it is confirmed, and loads it; answers its version. What else came into force
    /// meanwhile stays. A node that has yet to call tells how many records it has: that is waited for.
    pub(super) async fn put(
        &self,
        client: &Client,
        (division, change, reason): (Division, &NodeChange, &str),
    ) -> Result<u64, Failure> {
        let authority = authority_signer(self.federation, &*authority_secret(self.key, self.passphrase_file)?);
        let mut note = charter(client).await?;
        in_force(&note, &authority)?;
        if !self.yes && !confirmed()? {
            return Err(Failure::failed("nothing was changed"));
        }
        let anyway = if self.anyway { division.to_string() } else { String::new() };
        let path = format!("/v1/charter?retire_anyway={anyway}");
        let (mut tries, mut waited) = (0, 0);
        loop {
            let current = in_force(&note, &authority)?;
            let text = next_text(&note, division, change, reason)?;
            let signed = signed::sign(&text, &authority).map_err(Failure::failed)?;
            let next = SignedCharter::open_next(&signed, &current).map_err(Failure::failed)?;
            let Err(e) = client.post(&path, signed.into()).await else {
                return Ok(next.charter().version());
            };
            if waited < CALLS.0 && matches!(&e, ClientError::Refused { code, .. } if code == "retire_waits") {
                if waited == 0 {
                    errln!("{division} has not said yet how many records it has: that is waited for");
                }
                waited += 1;
                tokio::time::sleep(CALLS.1).await;
                continue;
            }
            let now = charter(client).await?;
            tries += 1;
            if tries >= APPROVE_TRIES || now == note {
                return Err(e.into());
            }
            // Another charter came into force meanwhile: the same change on top of it.
            note = now;
        }
    }
}
