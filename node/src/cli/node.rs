//! `tally node`: what nodes ask of the authority, and the answers. An approval is the next version of the charter: it is made
//! here, where the authority's key is, and loaded like any other.

use super::{
    Client, ConfigFile, Exit, Failure,
    charter::authority_secret,
    epoch::with_reason,
    joining::{self, approve as joins},
    nodes,
};
use clap::{Args, Subcommand};
use std::{
    fs,
    io::{self, BufRead as _, IsTerminal as _},
    path::{Path, PathBuf},
};
use tally_client::{print::draw, save as saving};
use tally_console::{HeldWhole, RequestKind, RequestListed};
use tally_protocol::{
    checkpoint::Checkpoint,
    ids::{Division, Federation, LogId},
    join::JoinRequest,
    keys::{Signer, authority_signer},
    merkle::Tree,
    note::Note,
    request::EpochRequest,
    tame::tame,
};
use tally_topology::{
    charter::with_next_epoch,
    request::open_request,
    signed::{self, SignedCharter},
};

#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
    /// List what nodes ask for, with the code that each of them shows too.
    Pending {
        /// Only this division's.
        division: Option<Division>,
        /// Write the request, what is held here, and the charter to a file, for an authority without a network.
        #[arg(long, value_name = "FILE", requires = "division")]
        save: Option<PathBuf>,
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// List the nodes of the charter, and how they are.
    Ls(nodes::LsArgs),
    /// Show one node: its place, its keys, how it is.
    Show(nodes::ShowArgs),
    /// Take a node out of service for good: its links close, its records stay.
    Retire(nodes::ChangeArgs),
    /// Take a node out of service for a while; `resume` lets it in again.
    Suspend(nodes::ChangeArgs),
    /// Let a node in again that was suspended or retired.
    Resume(nodes::ChangeArgs),
    /// Let a node report to another one.
    Move(nodes::MoveArgs),
    /// Let another machine take a node's place: shows what ends and what is lost, and prints one line for it.
    Replace(joining::replace::ReplaceArgs),
    /// Invite a machine to be a division's node: prints one line for it.
    Invite(joining::invite::InviteArgs),
    /// Give what a node asks for: signs the next charter and loads it.
    Approve(ApproveArgs),
    /// Refuse what a node asks for; its operator is told why.
    Reject {
        /// Who asks.
        division: Division,
        /// Why: one line.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigFile,
    },
}

#[derive(Debug, Args)]
pub(super) struct ApproveArgs {
    /// Who asks.
    division: Division,
    /// The twelve digits that the node's operator reads out.
    #[arg(long, value_name = "CODE")]
    code: String,
    /// The authority's secret.
    #[arg(long, value_name = "KEYFILE")]
    authority: PathBuf,
    /// The passphrase with which the secret is sealed; asked for on a terminal without it.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Close the log at what is held here, although the node vouches for more: what lies beyond counts only as far as the node
    /// itself can still read it.
    #[arg(long)]
    accept_less: bool,
    /// A request that was carried: what `tally epoch next -o` wrote, or, without a network, `tally node pending --save`.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Without a network: where the next charter is written, to be loaded with `tally charter load`.
    #[arg(short, long, value_name = "FILE", requires = "file")]
    output: Option<PathBuf>,
    /// Write the charter that has come into force to a file too, to be carried to a node that joins without a network.
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    copy: Option<PathBuf>,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    /// The node's tally.toml; not needed with --output, and else found as by other commands.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What another charter has overtaken is tried again on top of it, so many times in all.
pub(super) const APPROVE_TRIES: u32 = 5;

/// What is decided about: the request, the charter in force, and how far the log is held.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Matter {
    request: String,
    charter: String,
    held: HeldWhole,
    /// Why nodes between may hold more of the log than that; null: they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    more: Option<String>,
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Failure {
    move |e| Failure::failed(format!("{}: {e}", path.display()))
}

pub(super) async fn run(command: NodeCommand) -> Result<Exit, Failure> {
    match command {
        NodeCommand::Pending { division, save, json, config } => {
            let client = config.client()?;
            let mut all = pending(&client).await?;
            all.retain(|r| division.is_none_or(|d| d == r.division));
            if let (Some(path), Some(division)) = (save, division) {
                let asked = all.into_iter().next().ok_or_else(|| nothing(division))?;
                let matter = matter_of(&client, asked).await?;
                let text = serde_json::to_string_pretty(&matter).map_err(Failure::failed)?;
                saving::save(&path, text.as_bytes()).map_err(failed(&path))?;
                return Ok(Exit::Done);
            }
            list(&all, json)?;
        }
        NodeCommand::Ls(args) => return nodes::ls(args).await,
        NodeCommand::Show(args) => return nodes::show(args).await,
        NodeCommand::Retire(args) => return nodes::retire(args).await,
        NodeCommand::Suspend(args) => return nodes::suspend(args).await,
        NodeCommand::Resume(args) => return nodes::resume(args).await,
        NodeCommand::Move(args) => return nodes::move_to(args).await,
        NodeCommand::Replace(args) => return joining::replace::run(args).await,
        NodeCommand::Invite(args) => return joining::invite::run(args).await,
        NodeCommand::Approve(args) => approve(args).await?,
        NodeCommand::Reject { division, reason, json, config } => {
            let path = format!("/v1/requests/{division}");
            let answer = config.client()?.post_json(&path, with_reason(reason)?).await?;
            if json {
                outln!("{}", String::from_utf8_lossy(&answer));
            }
            errln!("{division} is told that what it asks for is not given");
        }
    }
    Ok(Exit::Done)
}

fn nothing(division: Division) -> Failure {
    Failure::new(Exit::Usage, format!("{division} has not asked for anything here; `tally node pending` lists what is"))
}

async fn pending(client: &Client) -> Result<Vec<RequestListed>, Failure> {
    serde_json::from_slice(&client.get("/v1/requests").await?).map_err(Failure::failed)
}

pub(super) async fn charter(client: &Client) -> Result<String, Failure> {
    String::from_utf8(client.get("/v1/charter").await?.to_vec()).map_err(Failure::failed)
}

fn opened(note: &str) -> Result<EpochRequest, Failure> {
    EpochRequest::open(note).map_err(|e| Failure::new(Exit::Proof, e.to_string()))
}

/// What is asked for, as it was read from a note.
enum AskedFor {
    NextEpoch(Box<EpochRequest>),
    Join(Box<JoinRequest>),
}

impl AskedFor {
    fn open(note: &str) -> Result<Self, Failure> {
        if JoinRequest::is_one(note) {
            let request = JoinRequest::open(note).map_err(|e| Failure::new(Exit::Proof, e.to_string()))?;
            return Ok(Self::Join(Box::new(request)));
        }
        opened(note).map(|r| Self::NextEpoch(Box::new(r)))
    }

    fn node(&self) -> LogId {
        match self {
            Self::NextEpoch(request) => request.log,
            Self::Join(request) => request.node(),
        }
    }

    fn code(&self) -> String {
        match self {
            Self::NextEpoch(request) => request.code(),
            Self::Join(request) => request.code(),
        }
    }

    fn federation(&self) -> &Federation {
        match self {
            Self::NextEpoch(request) => &request.federation,
            Self::Join(request) => &request.invite.invite.federation,
        }
    }
}

fn join_listed(r: &RequestListed, request: &JoinRequest, code: String) -> Result<serde_json::Value, Failure> {
    let mut element = serde_json::to_value(r).map_err(Failure::failed)?;
    let invite = &request.invite.invite;
    element["kind"] = if invite.ends().is_some() { "replace" } else { "join" }.into();
    element["code"] = code.into();
    element["under"] = invite.parent.to_string().into();
    element["level"] = invite.level.clone().into();
    element["invited_by"] = invite.by.to_string().into();
    element["addresses"] = request.addresses.clone().into();
    Ok(element)
}

fn list(all: &[RequestListed], json: bool) -> Result<(), Failure> {
    let mut shown = Vec::new();
    for r in all {
        if let AskedFor::Join(request) = AskedFor::open(&r.note)? {
            let code = request.code();
            if json {
                shown.push(join_listed(r, &request, code)?);
            } else {
                joins::list(&request, &r.since, r.via.map(|d| d.to_string()), &code);
            }
            continue;
        }
        let request = opened(&r.note)?;
        let code = request.code();
        if json {
            let mut element = serde_json::to_value(r).map_err(Failure::failed)?;
            element["kind"] = "next_epoch".into();
            element["code"] = code.into();
            element["whole"] = request.size.into();
            shown.push(element);
        } else {
            outln!("{} {}   next epoch of {}   since {}   code {code}", r.division, r.name, r.log, r.since);
            outln!("  why:  {}", r.reason);
            outln!("  it reads {} records from its disk without a hole; {} are held here", request.size, r.held.size);
        }
    }
    if json {
        outln!("{}", serde_json::Value::from(shown));
    } else if all.is_empty() {
        outln!("nothing is asked for");
    }
    Ok(())
}

async fn approve(args: ApproveArgs) -> Result<(), Failure> {
    // Without a network there is no node to ask.
    let client = match (&args.config, &args.output) {
        (None, Some(_)) => None,
        (config, _) => Some(ConfigFile::or_found(config.clone()).client()?),
    };
    let mut matter = matter(&args, client.as_ref()).await?;
    let asked = AskedFor::open(&matter.request)?;
    if asked.node().division != args.division {
        return Err(Failure::new(Exit::Usage, format!("the request is of {}, not of {}", asked.node(), args.division)));
    }
    let code = asked.code();
    if digits(&args.code) != digits(&code) {
        let why = format!(
            "the code of this request is another one than {}: ask its operator what it shows there (tally status, tally join \
             --status). If it is not {code}, somebody else has asked in its name: tally node reject {}",
            args.code, args.division
        );
        return Err(Failure::new(Exit::Proof, why));
    }
    let secret = authority_secret(&args.authority, args.passphrase_file.as_deref())?;
    let authority = authority_signer(asked.federation(), &secret);
    let (mut note, mut version) = next_of(&args, &matter, &asked, &authority)?;
    match &asked {
        AskedFor::NextEpoch(request) => show(&matter, request, version),
        AskedFor::Join(request) => joins::show(request, &matter.held, version),
    }
    if !args.yes && !confirmed()? {
        return Err(Failure::failed("not approved"));
    }
    if let Some(path) = &args.output {
        saving::save(path, note.as_bytes()).map_err(failed(path))?;
        errln!("charter version {version} is in {}; next, at a node: tally charter load {0}", path.display());
        if args.json {
            outln!("{}", approved(&asked, version, Some(path)));
        }
        return Ok(());
    }
    let Some(client) = client else { return Ok(()) };
    // What else came into force meanwhile stays: the same is given on top of it.
    let mut tries = 0;
    while let Err(e) = client.post("/v1/charter", note.clone().into()).await {
        let now = charter(&client).await?;
        tries += 1;
        if tries >= APPROVE_TRIES || now == matter.charter {
            return Err(e.into());
        }
        matter.charter = now;
        (note, version) = next_of(&args, &matter, &asked, &authority)?;
    }
    if let Some(path) = &args.copy {
        saving::save(path, note.as_bytes()).map_err(failed(path))?;
    }
    match asked {
        asked if args.json => outln!("{}", approved(&asked, version, None)),
        AskedFor::NextEpoch(request) => {
            outln!("charter version {version} is in force: {} begins {}", args.division, request.next());
        }
        AskedFor::Join(request) if request.invite.invite.ends().is_some() => {
            outln!("charter version {version} is in force: another machine is {} from now on", args.division);
        }
        AskedFor::Join(_) => outln!("charter version {version} is in force: {} has joined", args.division),
    }
    Ok(())
}

/// What was given: in which version of the charter, which is in force, or in a file.
fn approved(asked: &AskedFor, version: u64, file: Option<&PathBuf>) -> serde_json::Value {
    let begins = match asked {
        AskedFor::NextEpoch(request) => request.next(),
        AskedFor::Join(request) => request.node(),
    };
    serde_json::json!({
        "division": begins.division,
        "begins": begins.to_string(),
        "charter_version": version,
        "in_force": file.is_none(),
        "file": file,
    })
}

fn next_of(
    args: &ApproveArgs,
    matter: &Matter,
    asked: &AskedFor,
    authority: &Signer,
) -> Result<(String, u64), Failure> {
    let current = in_force(&matter.charter, authority)?;
    match asked {
        AskedFor::NextEpoch(request) => next_charter(args, matter, request, &current, authority),
        AskedFor::Join(_) => {
            if let Some(more) = matter.more.as_ref().filter(|_| !args.accept_less) {
                return Err(Failure::failed(format!("{more}. If it cannot come: --accept-less")));
            }
            joins::next_charter(&matter.request, &matter.held, &current, authority)
        }
    }
}

async fn matter(args: &ApproveArgs, client: Option<&Client>) -> Result<Matter, Failure> {
    let carried = args.file.as_ref().map(|path| fs::read_to_string(path).map_err(failed(path))).transpose()?;
    let Some(client) = client else {
        let text = carried.unwrap_or_default();
        let form = "--file is not what `tally node pending --save` writes; with --config a request alone is enough";
        return serde_json::from_str(&text).map_err(|e| Failure::new(Exit::Usage, format!("{form}: {e}")));
    };
    if let Some(text) = carried {
        let note = serde_json::from_str::<Matter>(&text).map_or(text, |m| m.request);
        client.post("/v1/requests", note.into()).await?;
    }
    let asked = pending(client).await?.into_iter().find(|r| r.division == args.division);
    let asked = asked.ok_or_else(|| nothing(args.division))?;
    matter_of(client, asked).await
}

async fn matter_of(client: &Client, asked: RequestListed) -> Result<Matter, Failure> {
    // What a node between has more is asked first: what it hands on meanwhile is then among what is held.
    let more = match asked.kind {
        RequestKind::Replace => joining::replace::more_between(client, asked.division).await?,
        RequestKind::NextEpoch | RequestKind::Join => None,
    };
    let again = pending(client).await?.into_iter().find(|r| r.division == asked.division && r.note == asked.note);
    let asked = again.ok_or_else(|| nothing(asked.division))?;
    Ok(Matter { request: asked.note, charter: charter(client).await?, held: asked.held, more })
}

fn digits(code: &str) -> String {
    code.chars().filter(char::is_ascii_digit).collect()
}

/// The signed charter that follows, and its version. Everything is checked anew: what came by a file is nobody's word.
fn next_charter(
    args: &ApproveArgs,
    matter: &Matter,
    request: &EpochRequest,
    current: &SignedCharter,
    authority: &Signer,
) -> Result<(String, u64), Failure> {
    let refused = |e: &dyn std::fmt::Display| Failure::new(Exit::Proof, e.to_string());
    open_request(&matter.request, current.charter()).map_err(|e| refused(&e))?;
    let HeldWhole { size, root, frozen, .. } = &matter.held;
    proved(&matter.held, request.log, current, args.output.is_none())?;
    if *size < request.size && !frozen && !args.accept_less {
        let why = format!(
            "{} vouches for {} records of {}, and {size} are held here: wait until the rest has come. If it cannot come: \
             --accept-less",
            args.division, request.size, request.log
        );
        return Err(Failure::failed(why));
    }
    let text = Note::parse(current.note()).map_err(|e| refused(&e))?.text().to_owned();
    let text = with_next_epoch(&text, &[(request.log, *size, *root)], &request.keys).map_err(Failure::failed)?;
    let signed = signed::sign(&text, authority).map_err(|e| refused(&e))?;
    let next = SignedCharter::open_next(&signed, current).map_err(|e| refused(&e))?;
    Ok((signed, next.charter().version()))
}

/// What is held of a log that is to end is signed by its key. `own`: the node itself says so, over its own socket.
pub(super) fn proved(held: &HeldWhole, log: LogId, current: &SignedCharter, own: bool) -> Result<(), Failure> {
    let key = current.charter().log_key(log).ok_or_else(|| nothing(log.division))?;
    let proved = match &held.note {
        _ if held.size == 0 => held.root == Tree::default().root(),
        Some(note) => Checkpoint::open(note, &key).is_ok_and(|c| (c.size, c.root) == (held.size, held.root)),
        None => own,
    };
    let why = "what is held of the log is not signed by its key: repair it first (tally reconcile)";
    if proved { Ok(()) } else { Err(Failure::new(Exit::Proof, why)) }
}

/// The charter in force: signed by this authority's key, or naming it as the successor.
pub(super) fn in_force(note: &str, authority: &Signer) -> Result<SignedCharter, Failure> {
    let own = SignedCharter::open(note, authority.public());
    own.map_err(|e| {
        let why = format!(
            "{e}: --authority has to be the secret that signed the charter in force. A successor's first charter is made \
             by hand: tally charter sign"
        );
        Failure::new(Exit::Usage, why)
    })
}

fn show(matter: &Matter, request: &EpochRequest, version: u64) {
    errln!("{} asks for its next epoch: {}", request.log, tame(&request.reason));
    errln!("  {} ends with {} records, root {}", request.log, matter.held.size, matter.held.root);
    errln!("  {} begins, with the keys of the request", request.next());
    errln!("  what the node can read of its log beyond that goes into the next epoch first");
    errln!("  charter version {version}; nothing else in it changes");
}

pub(super) fn confirmed() -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Usage, "there is no terminal to ask on: look at the above, then add --yes"));
    }
    draw(format_args!("approve? [y/N] "));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(Failure::failed)?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}
