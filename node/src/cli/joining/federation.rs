//! `tally federation init`: the top node of a federation, the authority's key and its successor's, and the first charter.

use super::{
    super::{Exit, Failure, charter::wrong_key},
    place::{NodePlace, Settings, at, reached},
};
use clap::{Args, Subcommand};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tally_client::{
    keyfile::{self, KeyFileError, SecretKind},
    passphrase,
};
use tally_protocol::{
    ids::{Division, Federation, LogId},
    keys::{NodeKeys, authority_signer},
    request::ProposedKeys,
};
use tally_topology::{
    charter::{Level, NewNode, heading},
    signed,
};

#[derive(Debug, Subcommand)]
pub(in super::super) enum FederationCommand {
    /// Begin a federation: makes its top node's folder, the authority's key and its successor's, and the first charter.
    Init(InitArgs),
}

#[derive(Debug, Args)]
pub(in super::super) struct InitArgs {
    /// Name of the federation, such as credit.fj.example.
    #[arg(long, value_name = "NAME", value_parser = |name: &str| Federation::try_from(name.to_owned()))]
    federation: Federation,
    /// Division of the top node.
    #[arg(long, value_name = "D")]
    division: Division,
    /// Its name, for people.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Its level, if the code does not say it: national, province, prefecture, county.
    #[arg(long, value_name = "LEVEL")]
    level: Option<Level>,
    /// Its folder, which is made.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// UDP address on which nodes below are heard; 0.0.0.0:7443 without it.
    #[arg(long, value_name = "ADDR")]
    quic: Option<SocketAddr>,
    /// Where nodes below find it, host:port, if that is another address than --quic; may be repeated.
    #[arg(long = "address", value_name = "HOST:PORT")]
    addresses: Vec<String>,
    /// TCP address of the HTTP interface.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// The passphrase that seals the authority's key and its successor's; asked for on a terminal without it.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Without a passphrase: leave both keys unsealed.
    #[arg(long)]
    yes: bool,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
}

pub(in super::super) fn run(command: FederationCommand) -> Result<Exit, Failure> {
    let FederationCommand::Init(args) = command;
    init(&args)?;
    Ok(Exit::Done)
}

fn usage(e: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Usage, e.to_string())
}

fn init(args: &InitArgs) -> Result<(), Failure> {
    let place = NodePlace(args.dir.clone());
    let (authority, successor) = (args.dir.join("authority.key"), args.dir.join("successor.key"));
    place.is_free(&[place.config(), place.key(), place.charter(), authority.clone(), successor.clone()])?;
    let passphrase = sealing(args)?;
    let log = LogId::records(args.division, 1);
    let (quic, addresses) = reached(args.quic, &args.addresses)?;
    place.ports_are_free(Some(quic), args.http)?;
    let node = NewNode {
        division: args.division,
        name: args.name.clone(),
        level: args.level.unwrap_or(Level::of(args.division)),
        parent: None,
        addresses,
    };
    // What cannot be in a charter is refused before anything is written.
    let example = NodeKeys::derive(&args.federation, log, &[0; 32]);
    node.block(&ProposedKeys::of(&example)).map_err(usage)?;

    place.make()?;
    let words = passphrase.as_ref().map(|p| p.as_slice());
    let make = |path: &Path| keyfile::create_with(path, SecretKind::Authority, words).map_err(wrong_key);
    let signer = authority_signer(&args.federation, &*make(&authority)?);
    let next = authority_signer(&args.federation, &*make(&successor)?);
    let secret = keyfile::create(&place.key(), SecretKind::Node).map_err(wrong_key)?;
    let keys = NodeKeys::derive(&args.federation, log, &secret);
    let block = node.block(&ProposedKeys::of(&keys)).map_err(usage)?;
    let text = format!("{}\n{block}", heading(&args.federation, 1, next.public()));
    let note = signed::sign(&text, &signer).map_err(usage)?;
    let settings = Settings {
        division: args.division,
        authority: signer.public(),
        quic: Some(quic),
        http: args.http,
        offline: false,
        by: "tally federation init",
    };
    place.configure(&settings)?;
    place.admit(&note, true)?;
    std::fs::File::open(&args.dir).and_then(|f| f.sync_all()).map_err(at(&args.dir))?;
    tell(args, &place, &node, signer.public(), (&authority, &successor));
    Ok(())
}

/// The passphrase for both secrets. Without one they are left unsealed only by the operator's word.
fn sealing(args: &InitArgs) -> Result<Option<passphrase::Passphrase>, Failure> {
    let file = args.passphrase_file.as_deref();
    if args.yes && passphrase::file(file).is_none() {
        errln!(
            "warning: the authority's key and its successor's are NOT sealed: whoever reads these files can sign charters. \
             With --passphrase-file FILE they would be"
        );
        return Ok(None);
    }
    let none = || {
        usage(
            "the authority's key is sealed with a passphrase, and there is no terminal to ask for one: --passphrase-file FILE; \
             or leave it unsealed with --yes",
        )
    };
    let passphrase = passphrase::new(file).map_err(|e| match e {
        KeyFileError::NoPassphrase(_) => usage(e),
        e => wrong_key(e),
    })?;
    passphrase.ok_or_else(none).map(Some)
}

fn tell(
    args: &InitArgs,
    place: &NodePlace,
    node: &NewNode,
    public: &tally_protocol::keys::VerifierKey,
    (authority, successor): (&Path, &Path),
) {
    let config = place.config();
    if args.json {
        let told = serde_json::json!({
            "federation": args.federation.to_string(),
            "division": args.division,
            "config": config,
            "authority": public.to_string(),
            "authority_key": authority,
            "successor_key": successor,
            "addresses": node.addresses,
            "charter_version": 1,
        });
        outln!("{told}");
        return;
    }
    outln!("federation {} begins with {} {}", args.federation, args.division, node.name.trim());
    outln!("  node            {}", config.display());
    outln!("  nodes below find it at  {}", node.addresses.join(" "));
    outln!("  authority's key {}   keep it apart, off this machine", authority.display());
    outln!("  its successor's {}   keep it in another place than the first", successor.display());
    outln!("next: {}", place.start());
    outln!("then: tally node invite DIVISION --name NAME --config {}", config.display());
}
