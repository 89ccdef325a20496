//! `tally node invite`: one line with which a machine may ask to be a division's node.

use super::{
    super::{ConfigFile, Exit, Failure},
    place::at,
    words,
};
use crate::daemon::start::keys_for;
use clap::Args;
use std::{fs, path::PathBuf, time::Duration};
use tally_client::save::save_private;
use tally_protocol::{
    ids::Division,
    invite::{Invite, SignedInvite},
    keys::{NodeKeys, VerifierKey},
    tame::tame,
};
use tally_topology::{
    charter::{Charter, Level},
    join::{check_free, check_invite},
};

/// Longest time that an invitation is good for.
const VALID_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

#[derive(Debug, Args)]
pub(in super::super) struct InviteArgs {
    /// Who is invited.
    division: Division,
    /// Its name, for people.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Its level, if the code does not say it: province, prefecture, county.
    #[arg(long, value_name = "LEVEL")]
    level: Option<Level>,
    /// Whom it is to report to: this node or one below it. Without it, the nearest by the code.
    #[arg(long, value_name = "D")]
    under: Option<Division>,
    #[command(flatten)]
    handed: Handed,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

/// How an invitation is handed on.
#[derive(Debug, Args)]
pub(super) struct Handed {
    /// How long it may be used: minutes, hours or days, such as 30m, 24h, 7d.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = valid)]
    valid: Duration,
    /// Where it is written as a file too; beside tally.toml, in invites/, without it.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

/// Whom an invitation names.
pub(super) struct Invited<'a> {
    pub(super) division: Division,
    pub(super) name: &'a str,
    pub(super) level: Level,
    pub(super) parent: Division,
    /// The epoch that is to begin.
    pub(super) epoch: u32,
}

/// The node that invites, with its secret and the charter in force.
pub(super) struct Inviter {
    config: crate::config::Config,
    pub(super) charter: Charter,
    authority: VerifierKey,
    keys: NodeKeys,
}

fn valid(text: &str) -> Result<Duration, String> {
    let form = || format!("{text:?} is no time such as 30m, 24h or 7d, at most 30d");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(form)?;
    let each = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(form()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|n| n.checked_mul(each)).ok_or_else(form)?;
    let valid = Duration::from_secs(seconds);
    if valid.is_zero() || valid > VALID_MAX { Err(form()) } else { Ok(valid) }
}

fn usage(why: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Usage, why.to_string())
}

pub(in super::super) async fn run(args: InviteArgs) -> Result<Exit, Failure> {
    let inviter = Inviter::of(&args.config).await?;
    let me = inviter.me();
    let invited = Invited {
        division: args.division,
        name: args.name.trim(),
        level: args.level.unwrap_or(Level::of(args.division)),
        parent: args.under.unwrap_or_else(|| nearest(&inviter.charter, args.division, me)),
        epoch: 1,
    };
    if !tally_topology::divisions::known(args.division) {
        errln!(
            "warning: {} is not in this program's table of divisions (GB/T 2260): is the code right?",
            args.division
        );
    }
    let signed = inviter.sign(&invited, &args.handed)?;
    inviter.hand_on(&signed, &args.handed, args.json.then(|| serde_json::json!({})))?;
    Ok(Exit::Done)
}

/// The nearest node above a division by its code; the inviting one, if there is none.
fn nearest(charter: &Charter, division: Division, me: Division) -> Division {
    let code = division.code();
    let above = [code / 100 * 100, code / 10_000 * 10_000];
    let mut above = above.into_iter().filter(|c| *c != code).filter_map(|c| Division::try_from(c).ok());
    let serves = |d: &Division| charter.node(*d).is_some_and(|n| !n.retired) && charter.is_within(*d, me);
    above.find(serves).unwrap_or(me)
}

impl Inviter {
    /// The node of this configuration, which runs.
    pub(super) async fn of(file: &ConfigFile) -> Result<Self, Failure> {
        let (config, client) = (file.load()?, file.client()?);
        let charter = client.charter().await?;
        let authority = client.get("/v1/authority").await?;
        let authority: VerifierKey = String::from_utf8_lossy(&authority).parse().map_err(Failure::failed)?;
        let me = config.node.division;
        let log =
            charter.current_log(me).ok_or_else(|| usage(format!("{me} is not a node of the charter in force")))?;
        let keys = keys_for(&config, &charter, log).map_err(Failure::failed)?;
        let keys = keys.ok_or_else(|| {
            let why = format!("the secret of {log} is not among the keys: an invitation is signed with it");
            Failure::new(Exit::NotAdmitted, why)
        })?;
        Ok(Self { config, charter, authority, keys })
    }

    pub(super) fn me(&self) -> Division {
        self.keys.node.division
    }

    /// Signs an invitation, if the charter lets it be used.
    pub(super) fn sign(&self, invited: &Invited<'_>, handed: &Handed) -> Result<SignedInvite, Failure> {
        let signed = self.invite(invited, handed)?.sign(&self.keys.log).map_err(usage)?;
        check_free(&signed.invite, &self.charter).map_err(|e| usage(format!("E1106: {e}")))?;
        check_invite(&signed, &self.charter).map_err(usage)?;
        Ok(signed)
    }

    fn invite(&self, invited: &Invited<'_>, handed: &Handed) -> Result<Invite, Failure> {
        let (charter, by, parent) = (&self.charter, self.keys.node, invited.parent);
        let node = charter.node(parent).filter(|n| !n.retired);
        let node = node.ok_or_else(|| usage(format!("--under: {parent} is not a node in service")))?;
        if !charter.is_within(parent, by.division) {
            return Err(usage(format!(
                "--under: {parent} is not {} nor below it: invite at a node above it",
                by.division
            )));
        }
        let link = charter.current_log(parent).and_then(|log| charter.epoch(log)).map(|e| e.link.public());
        let link = link.ok_or_else(|| usage(format!("{parent} has no key")))?;
        if node.addresses.is_empty() {
            return Err(usage(format!(
                "{parent} has no address in the charter, so nobody below could call it: one is needed there"
            )));
        }
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(Failure::failed)?;
        let expires = (tally_clock::now_ms() / 1_000).saturating_add(handed.valid.as_secs());
        Ok(Invite {
            federation: charter.federation().clone(),
            division: invited.division,
            epoch: invited.epoch,
            name: invited.name.to_owned(),
            level: invited.level.name().to_owned(),
            parent,
            parent_link: link,
            addresses: node.addresses.iter().take(tally_protocol::limits::INVITE_ADDRESSES_MAX).cloned().collect(),
            authority: self.authority.public(),
            by,
            id,
            expires,
        })
    }

    /// Writes the line to a file and tells it; with `json`, as a part of that document.
    pub(super) fn hand_on(
        &self,
        signed: &SignedInvite,
        handed: &Handed,
        json: Option<serde_json::Value>,
    ) -> Result<(), Failure> {
        let (token, expires) = (signed.token(), tally_clock::time(signed.invite.expires));
        let file = self.write(signed.invite.division, &token, handed)?.map(|f| f.display().to_string());
        if let Some(mut told) = json {
            told["token"] = token.clone().into();
            told["command"] = format!("tally join {token} --dir DIR").into();
            told["file"] = file.into();
            told["expires"] = expires.into();
            outln!("{told}");
            return Ok(());
        }
        let invite = &signed.invite;
        errln!("{} {} may join under {}", invite.division, tame(&invite.name), invite.parent);
        words::invited(invite.division, &token, file.as_deref(), &expires, &self.config.file.display().to_string());
        outln!("{token}");
        Ok(())
    }

    /// Where it was written; `None`: nowhere, and nobody had said where.
    fn write(&self, division: Division, token: &str, handed: &Handed) -> Result<Option<PathBuf>, Failure> {
        if let Some(path) = &handed.save {
            write(path, token).map_err(at(path))?;
            return Ok(Some(path.clone()));
        }
        let folder = self.config.folder.join("invites");
        let path = folder.join(format!("{division}.join"));
        match fs::create_dir_all(&folder).and_then(|()| write(&path, token)) {
            Ok(()) => Ok(Some(path)),
            Err(e) => {
                errln!("warning: {}: {e}: not written as a file too", path.display());
                Ok(None)
            }
        }
    }
}

/// Whoever reads it may ask in that division's name.
fn write(path: &std::path::Path, token: &str) -> std::io::Result<()> {
    save_private(path, format!("{token}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_and_a_bound() {
        assert_eq!(valid("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!((valid("30m"), valid("1s")), (Ok(Duration::from_secs(1_800)), Ok(Duration::from_secs(1))));
        for bad in ["", "h", "24", "0h", "-1h", "31d", "1 h", "1小", "99999999999999999999d"] {
            assert!(valid(bad).is_err(), "{bad:?}");
        }
    }
}
