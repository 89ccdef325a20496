//! `tally keygen`: secrets, and what goes into the charter of them.

use super::{Exit, Failure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::{ArgGroup, Args};
use std::path::{Path, PathBuf};
use tally_client::{
    keyfile::{self, SecretKind},
    passphrase,
};
use tally_protocol::{
    ids::{Division, Federation, LogId},
    keys::{NodeKeys, Secret, Zeroizing, authority_signer},
};
use tally_topology::charter::epoch_entry;

#[derive(Debug, Args)]
#[group(skip)]
#[command(group = ArgGroup::new("what").required(true).args(["division", "authority", "token"]))]
pub(super) struct KeygenArgs {
    /// Name of the federation, as in the charter.
    #[arg(long, value_name = "NAME", required_unless_present = "token")]
    federation: Option<String>,
    /// Make the secret of this division's node; prints its part of the charter.
    #[arg(long, value_name = "D")]
    division: Option<Division>,
    /// Epoch of the node's log.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    epoch: u32,
    /// Make the secret that signs charters; prints what every node pins.
    #[arg(long)]
    authority: bool,
    /// Make a token for a department's program; prints it and its part of tally.toml.
    #[arg(long, value_name = "NAME")]
    token: Option<String>,
    /// With --token: the token is an auditor's, who reads logs and does nothing else.
    #[arg(long, requires = "token")]
    logs: bool,
    /// Where the secret is written (never over an existing file).
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the public part of the existing secret in FILE instead of making one.
    #[arg(long, requires = "output")]
    show: bool,
}

pub(super) fn run(args: &KeygenArgs) -> Result<Exit, Failure> {
    if let Some(name) = &args.token {
        return token(name, args.logs);
    }
    let federation = args.federation.clone().unwrap_or_default();
    let federation = Federation::try_from(federation).map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
    let default = if args.authority { "authority.key" } else { "keys/node.key" };
    let path = args.output.clone().unwrap_or_else(|| default.into());
    let kind = if args.authority { SecretKind::Authority } else { SecretKind::Node };
    let secret = secret(&path, args.show, kind)?;
    if args.authority {
        outln!("authority = \"{}\"", authority_signer(&federation, &secret).public());
        errln!(
            "The secret is in {}. Keep it off the nodes; the line above goes into every tally.toml.\n\
             A charter also names the key that may sign after this one: make a second secret in the same way (-o \
             successor.key), keep it in another place, and write its key into the charter: successor = \"...\"",
            path.display()
        );
    } else if let Some(division) = args.division {
        let keys = NodeKeys::derive(&federation, LogId::records(division, args.epoch), &secret);
        outln!("{}", epoch_entry(&keys).trim_end());
        errln!("The secret is in {}. The lines above go under node {division} in the charter.", path.display());
    }
    Ok(Exit::Done)
}

fn secret(path: &Path, show: bool, kind: SecretKind) -> Result<Secret, Failure> {
    let secret = match (show, kind) {
        (true, SecretKind::Authority) => keyfile::read_authority(path, &|| passphrase::to_open(path, None)),
        (true, SecretKind::Node) => keyfile::read_as(path, kind),
        (false, _) => keyfile::create(path, kind),
    };
    secret.map_err(Failure::failed)
}

fn token(name: &str, logs: bool) -> Result<Exit, Failure> {
    let mut secret = Secret::default();
    getrandom::fill(secret.as_mut_slice()).map_err(Failure::failed)?;
    let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(*secret));
    // A JSON string is a TOML string too.
    let name = serde_json::Value::from(name);
    outln!("[[token]]\nname = {name}\nblake3 = \"{}\"", blake3::hash(secret.as_bytes()));
    if logs {
        outln!("logs = true");
    }
    errln!("Token for the department (shown only now): {}", *secret);
    Ok(Exit::Done)
}
