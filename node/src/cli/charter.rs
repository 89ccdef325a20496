//! `tally charter`: the document's life, from a template to a running node.

use super::{ConfigFile, Exit, Failure, block_on};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use tally_client::{
    keyfile::{self, KeyFileError},
    passphrase,
    save::save,
};
use tally_protocol::{
    ids::{Division, LogId},
    keys::{NodeKeys, Secret, VerifierKey, authority_signer},
    note::Note,
    tame::tame,
};
use tally_sheet::text::pad;
use tally_topology::{
    charter::{Charter, Expected, Node, retire_concerns},
    signed::{self, SignedCharter, SignedError},
};

#[derive(Debug, Subcommand)]
pub(super) enum CharterCommand {
    /// Print a charter to start from.
    New {
        /// Name of the federation.
        #[arg(long, value_name = "NAME")]
        federation: String,
    },
    /// Check a charter: a TOML text, or a signed note with --authority.
    Check {
        /// The file.
        file: PathBuf,
        /// Public key of the authority; checks the signature too. With --follows it is the key that signed the charter in
        /// force: FILE is signed by it or by the successor named there.
        #[arg(long, value_name = "KEY")]
        authority: Option<String>,
        /// The charter in force; checks that FILE may follow it.
        #[arg(long, value_name = "FILE", requires = "authority")]
        follows: Option<PathBuf>,
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        word: RetireWord,
    },
    /// Sign a charter with the authority's secret.
    Sign {
        /// The TOML text; of several files the texts are put one after the other: nodes, units, routes, catalog, calendar.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The authority's secret, made by `tally keygen --authority`.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The passphrase with which the secret is sealed; asked for on a terminal without it.
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
        /// Where the signed note is written.
        #[arg(short, long, value_name = "FILE", default_value = "charter.note")]
        output: PathBuf,
        #[command(flatten)]
        word: RetireWord,
    },
    /// Show the tree of nodes in a charter (signed or not).
    Show {
        /// The file.
        file: PathBuf,
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
    },
    /// Load a newer signed charter into a running node; it hands it down to its children.
    Load {
        /// The signed note.
        file: PathBuf,
        /// Load it at this node although it is not the top, from where charters come down by themselves.
        #[arg(long)]
        here: bool,
        #[command(flatten)]
        word: RetireWord,
        #[command(flatten)]
        config: ConfigFile,
    },
}

impl CharterCommand {
    /// Whether what it writes on stdout is a file's content or a document.
    pub(super) fn is_for_programs(&self) -> bool {
        matches!(self, Self::New { .. } | Self::Load { .. })
    }
}

/// The operator's word on what a charter does to nodes that it retires.
#[derive(Debug, Args)]
pub(super) struct RetireWord {
    /// Nodes that may be retired although nodes in service report to them, or their records are not all accounted for.
    #[arg(long = "retire-anyway", value_name = "D", value_delimiter = ',')]
    nodes: Vec<Division>,
}

impl RetireWord {
    /// Says what the charter does to nodes that it retires, and refuses it unless all of that is meant. Whether a node's
    /// records are accounted for is known to the node that loads the charter.
    fn on(&self, file: &Path, before: Option<&Charter>, next: &Charter) -> Result<(), Failure> {
        let (meant, open): (Vec<_>, Vec<_>) =
            retire_concerns(before, next, None).into_iter().partition(|c| self.nodes.contains(&c.node()));
        for concern in &meant {
            errln!("{}: {concern} (--retire-anyway)", file.display());
        }
        for node in next.newly_retired(before).filter(|d| next.closed_records(*d).is_none()) {
            errln!(
                "{}: {node} is retired; whether its records are all accounted for is looked at by `tally charter load`",
                file.display()
            );
        }
        let Some(first) = open.first() else { return Ok(()) };
        let said: Vec<_> = open.iter().map(ToString::to_string).collect();
        let message = format!(
            "{}: {}. Or say that it is meant: --retire-anyway {}",
            file.display(),
            said.join("; "),
            first.node()
        );
        Err(Failure::new(Exit::NotAdmitted, message))
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::InvalidData => Failure::failed(format!(
            "{}: not UTF-8: a program has saved it in another encoding, such as UTF-16 or GBK. Copy a signed charter again as it \
             is; save a text as UTF-8",
            path.display()
        )),
        _ => Failure::failed(format!("{}: {e}", path.display())),
    })
}

fn named(path: &Path) -> impl Fn(&dyn std::fmt::Display) -> Failure {
    move |e| Failure::failed(format!("{}: {e}", path.display()))
}

/// The charter in a file, signed or not; its signature is not looked at.
pub(super) fn content(path: &Path) -> Result<Charter, Failure> {
    let text = read(path)?;
    let text = match Note::parse(&text) {
        Ok(note) => note.text().to_owned(),
        // It has the line of a signature, so it is no text that somebody writes.
        Err(e) if text.contains("\u{2014} ") && text.contains("/authority") && Charter::parse(&text).is_err() => {
            let changes = signed::changes_to(&text).map(|c| format!(" (changed on its way: {c})")).unwrap_or_default();
            return Err(named(path)(&format!("{e}{changes}; copy it again as it is")));
        }
        Err(_) => text,
    };
    Charter::parse(&text).map_err(|e| named(path)(&e))
}

/// Says which nodes in service share an address: a call would reach one of them, and the others never.
fn tell_shared_addresses(file: &Path, charter: &Charter) {
    let mut by_address: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for node in charter.nodes().filter(|n| !n.retired) {
        for address in &node.addresses {
            by_address.entry(address).or_default().push(node.division.to_string());
        }
    }
    for (address, nodes) in by_address.into_iter().filter(|(_, nodes)| nodes.len() > 1) {
        errln!(
            "{}: {} is the address of {}: a call reaches one of them; correct `addresses`",
            file.display(),
            tame(address),
            nodes.join(", ")
        );
    }
}

pub(super) fn run(command: CharterCommand) -> Result<Exit, Failure> {
    match command {
        CharterCommand::New { federation } => {
            outln!("{}", TEMPLATE.replace("FEDERATION", &federation).trim_end());
        }
        CharterCommand::Check { file, authority, follows, json, word } => {
            check(&file, authority.as_deref(), follows.as_deref(), json, &word)?;
        }
        CharterCommand::Sign { files, key, passphrase_file, output, word } => {
            sign(&files, (&key, passphrase_file.as_deref()), &output, &word)?;
        }
        CharterCommand::Show { file, json: true } => outln!("{}", described(&content(&file)?)),
        CharterCommand::Show { file, json: false } => show(&content(&file)?),
        CharterCommand::Load { file, here, word, config } => {
            let (client, note) = (config.client()?, read(&file)?);
            let nodes: Vec<_> = word.nodes.iter().map(ToString::to_string).collect();
            let path = format!("/v1/charter?here={here}&retire_anyway={}", nodes.join(","));
            block_on(async {
                let answer = client.post(&path, note.into()).await?;
                outln!("{}", String::from_utf8_lossy(&answer));
                Ok(())
            })?;
        }
    }
    Ok(Exit::Done)
}

fn sign(
    files: &[PathBuf],
    (key, passphrase): (&Path, Option<&Path>),
    output: &Path,
    word: &RetireWord,
) -> Result<(), Failure> {
    let mut text = String::new();
    for file in files {
        text.push_str(&read(file)?);
        text.push_str(if text.ends_with('\n') { "" } else { "\n" });
    }
    let first = files.first().map_or(Path::new(""), PathBuf::as_path);
    let charter = Charter::parse(&text).map_err(|e| named(first)(&e))?;
    word.on(first, None, &charter)?;
    let secret = authority_secret(key, passphrase)?;
    if let Some(log) = node_of(&charter, &secret) {
        let message = format!("{}: this is the secret of the node {log}, not the authority's", key.display());
        return Err(Failure::new(Exit::Usage, message));
    }
    let signer = authority_signer(charter.federation(), &secret);
    tell_shared_addresses(first, &charter);
    let note = signed::sign(&text, &signer).map_err(|e| named(first)(&e))?;
    save(output, note.as_bytes()).map_err(|e| named(output)(&e))?;
    errln!("{}: version {} signed as {}", output.display(), charter.version(), signer.public());
    Ok(())
}

/// A secret that cannot be used: somebody else's is a wrong argument.
pub(super) fn wrong_key(e: KeyFileError) -> Failure {
    use KeyFileError as E;
    let exit = if matches!(e, E::Kind { .. } | E::Sealed(_)) { Exit::Usage } else { Exit::Failed };
    Failure::new(exit, e.to_string())
}

/// The authority's secret; its passphrase is asked for if it is sealed.
pub(super) fn authority_secret(key: &Path, passphrase_file: Option<&Path>) -> Result<Secret, Failure> {
    keyfile::read_authority(key, &|| passphrase::to_open(key, passphrase_file)).map_err(wrong_key)
}

/// The node and epoch of the charter whose secret this is.
fn node_of(charter: &Charter, secret: &Secret) -> Option<LogId> {
    let logs = charter.nodes().flat_map(|n| charter.records_logs(n.division));
    let is_its = |log: &LogId| {
        let keys = NodeKeys::derive(charter.federation(), *log, secret);
        charter.epoch(*log).is_some_and(|e| e.log == *keys.log.public())
    };
    logs.into_iter().find(is_its)
}

fn check(
    file: &Path,
    authority: Option<&str>,
    follows: Option<&Path>,
    json: bool,
    word: &RetireWord,
) -> Result<(), Failure> {
    let tell = |charter: &Charter, signed: bool| {
        let (version, nodes) = (charter.version(), charter.nodes().count());
        let how = if signed { "signed and in order" } else { "in order" };
        tell_shared_addresses(file, charter);
        if json {
            let told = json!({ "file": file, "version": version, "nodes": nodes, "signed": signed });
            outln!("{told}");
        } else {
            outln!("{}: version {version}, {nodes} nodes: {how}", file.display());
        }
    };
    let Some(authority) = authority else {
        let charter = content(file)?;
        let text = read(file)?;
        if Note::parse(&text).is_err() {
            signed::may_be_signed(&text).map_err(|e| named(file)(&e))?;
        }
        word.on(file, None, &charter)?;
        tell(&charter, false);
        return Ok(());
    };
    let key: VerifierKey = authority.parse().map_err(|e| Failure::new(Exit::Usage, format!("--authority: {e}")))?;
    let refused = |path: &Path| {
        let path = path.to_owned();
        move |e: SignedError| {
            let exit = match e {
                SignedError::Note(_) | SignedError::Changed(_) => Exit::Proof,
                SignedError::NotNewer { .. }
                | SignedError::OtherContent { .. }
                | SignedError::Successor(_)
                | SignedError::NotASuccessor { .. } => Exit::NotAdmitted,
                SignedError::TooLong(_) | SignedError::Content(_) | SignedError::ControlCharacter { .. } => {
                    Exit::Failed
                }
            };
            Failure::new(exit, format!("{}: {e}", path.display()))
        }
    };
    let open = |path: &Path| SignedCharter::open(&read(path)?, &key).map_err(refused(path));
    let current = follows.map(open).transpose()?;
    let signed = match &current {
        None => open(file)?,
        // The key is that of the charter in force; the next one may be its successor's.
        Some(current) => SignedCharter::open_next(&read(file)?, current).map_err(refused(file))?,
    };
    word.on(file, current.as_ref().map(SignedCharter::charter), signed.charter())?;
    tell(signed.charter(), true);
    Ok(())
}

fn described(charter: &Charter) -> Value {
    let node = |n: &Node| {
        json!({
            "division": n.division,
            "name": n.name,
            "level": n.level,
            "parent": n.parent,
            "epoch": n.epochs.len(),
            "addresses": n.addresses,
            "covers": n.covers.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "expected": n.expected.to_string(),
            "retired": n.retired,
        })
    };
    json!({
        "federation": charter.federation().to_string(),
        "version": charter.version(),
        "nodes": charter.nodes().map(node).collect::<Vec<_>>(),
    })
}

fn show(charter: &Charter) {
    outln!("federation {}   version {}   {} nodes", charter.federation(), charter.version(), charter.nodes().count());
    for top in charter.nodes().filter(|n| n.parent.is_none()) {
        show_under(charter, top.division, 0);
    }
}

fn show_under(charter: &Charter, division: Division, depth: usize) {
    let Some(n) = charter.node(division) else { return };
    let indent = "  ".repeat(depth + 1);
    let retired = if n.retired { "  retired" } else { "" };
    let covers: Vec<_> = n.covers.iter().map(ToString::to_string).collect();
    let covers = if covers.is_empty() { String::new() } else { format!("  covers {}", covers.join(" ")) };
    let (level, name, epoch) = (pad(n.level.name(), 10), pad(&tame(&n.name), 20), n.epochs.len());
    let expected = if n.expected == Expected::Always { String::new() } else { format!("  expected {}", n.expected) };
    outln!("{indent}{division}  {name}  {level}  epoch {epoch}  {}{covers}{expected}{retired}", n.addresses.join(" "));
    for child in charter.children(division) {
        show_under(charter, child.division, depth + 1);
    }
}

/// What `charter new` prints.
const TEMPLATE: &str = include_str!("charter.toml");
