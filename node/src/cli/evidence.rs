//! `tally evidence`: one record's proof as a file, and the check of such a file, which needs no node.

use super::{ConfigFile, Exit, Failure, block_on, record};
use clap::Subcommand;
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};
use tally_client::{print as printed, save::save};
use tally_protocol::{canonical::Object, ids::LogId, keys::VerifierKey, tame::tame};
use tally_topology::evidence::{EVIDENCE_BYTES_MAX, Failed, Verified, verify};

/// Largest file that is searched for the authority's key, in bytes.
const KEYFILE_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Subcommand)]
pub(super) enum EvidenceCommand {
    /// Write the proof of a record that a running node holds.
    Export {
        /// The record's id, as in `_tally.id` of an export, or the first 8 digits of it.
        #[arg(long, value_name = "ID")]
        record: String,
        /// Where it is written; `-` is stdout.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Of this log, such as 350102/e1, if several hold the record; else of the one that had it first.
        #[arg(long, value_name = "L")]
        log: Option<LogId>,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Check a proof with nothing but the authority's public key.
    Verify {
        /// The evidence file.
        file: PathBuf,
        /// A file with the authority's public key: the key alone, or a line `authority = "..."` as in tally.toml.
        #[arg(long, value_name = "KEYFILE")]
        authority: PathBuf,
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: EvidenceCommand) -> Result<Exit, Failure> {
    match command {
        EvidenceCommand::Export { record, output, log, config } => export(&record, &output, log, &config),
        EvidenceCommand::Verify { file, authority, json } => check(&file, &authority, json),
    }
}

fn named(path: &Path) -> impl Fn(io::Error) -> Failure {
    move |e| Failure::failed(format!("{}: {e}", path.display()))
}

fn export(digits: &str, output: &Path, log: Option<LogId>, config: &ConfigFile) -> Result<Exit, Failure> {
    let client = config.client()?;
    let log = log.map_or(String::new(), |l| format!("&log={}%2Fe{}", l.division, l.epoch));
    let (record, text) = block_on(async {
        let record = record::whole(&client, digits).await?;
        Ok((record, client.get(&format!("/v1/evidence?record={record}{log}")).await?))
    })?;
    if output.as_os_str() == "-" {
        // What could not be written is looked at when the command ends.
        let _ = printed::raw(&text);
        return Ok(Exit::Done);
    }
    save(output, &text).map_err(named(output))?;
    outln!("{}: evidence of record {record}", output.display());
    // The lines for people; whoever receives the file checks them.
    let text = String::from_utf8_lossy(&text);
    text.lines().filter_map(|l| l.strip_prefix("held by  ")).for_each(|l| outln!("  {l}"));
    Ok(Exit::Done)
}

fn check(file: &Path, keyfile: &Path, json: bool) -> Result<Exit, Failure> {
    let authority = authority(keyfile)?;
    // One byte more than a file may have is enough to refuse it.
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(named(file))?;
    opened.take(EVIDENCE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(named(file))?;
    let result = verify(&bytes, &authority);
    if json {
        outln!("{}", document(&result));
    } else {
        print(file, &result);
    }
    Ok(if result.is_ok() { Exit::Done } else { Exit::Proof })
}

/// The key in a file: on its `authority = "..."` line, or all by itself.
fn authority(path: &Path) -> Result<VerifierKey, Failure> {
    let mut text = String::new();
    let opened = File::open(path).map_err(named(path))?;
    opened.take(KEYFILE_BYTES_MAX).read_to_string(&mut text).map_err(named(path))?;
    key_in(&text).map_err(|why| Failure::new(Exit::Usage, format!("{}: {why}", path.display())))
}

fn key_in(text: &str) -> Result<VerifierKey, String> {
    let value = |line: &str| {
        let (name, value) = line.split_once('=')?;
        let quoted = value.trim().strip_prefix('"')?.split_once('"')?.0;
        (name.trim() == "authority").then(|| quoted.to_owned())
    };
    let key = text.lines().find_map(value).unwrap_or_else(|| text.trim().to_owned());
    key.parse().map_err(|e| format!("no line authority = \"...\", and the whole is {e}"))
}

fn document(result: &Result<Verified, Failed>) -> Value {
    match result {
        Ok(v) => {
            let holding = |h: &tally_topology::evidence::EvidenceHolding| {
                let time = tally_clock::time(h.time);
                json!({ "holder": h.division, "name": h.name, "level": h.level, "size": h.size, "time": time })
            };
            json!({
                "holds": true,
                "record": v.id,
                "log": v.origin,
                "index": v.index,
                "charter_version": v.charter_version,
                "held_by": v.held_by.iter().map(holding).collect::<Vec<_>>(),
                "failed_step": null,
                "reason": null,
            })
        }
        Err(failed) => json!({
            "holds": false,
            "record": null,
            "log": null,
            "index": null,
            "charter_version": null,
            "held_by": [],
            "failed_step": failed.step.to_string(),
            "reason": failed.reason,
        }),
    }
}

fn print(file: &Path, result: &Result<Verified, Failed>) {
    let name = file.display();
    let v = match result {
        Ok(v) => v,
        Err(failed) => {
            outln!("{name}: DOES NOT HOLD 不成立\n  step    {}\n  reason  {}", failed.step, tame(&failed.reason));
            return;
        }
    };
    outln!("{name}: holds 成立");
    outln!("  record   {}\n  log      {}\n  index    {}", v.id, v.origin, v.index);
    outln!("  keys by  charter version {}", v.charter_version);
    for h in &v.held_by {
        let time = tally_clock::time(h.time);
        outln!("  on disk  {} {} {} since {time}", h.division, h.level.name(), tame(&h.name));
    }
    what(&v.record);
    outln!("{}", tame(&v.record));
}

/// The record in a few words, if it is as this program's records are.
fn what(record: &str) {
    let Ok(object) = Object::parse(record.as_bytes()) else { return };
    let text = |field| tame(object.text(field).unwrap_or("-")).into_owned();
    outln!(
        "  what     {} {} of {} {}",
        text("operation"),
        text("category"),
        text("subject_uscc"),
        text("subject_name")
    );
    outln!("  who      {} {}, produced on {}", text("producer_division"), text("producer_name"), text("produced_on"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_found_alone_or_on_its_line() {
        let key = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
        for text in [
            key.to_owned(),
            format!("\n  {key}\n"),
            format!("authority = \"{key}\"\n"),
            format!("[node]\ndivision = \"350102\"\n  authority=\"{key}\" # pinned\n[listen]\n"),
        ] {
            assert_eq!(key_in(&text).unwrap().to_string(), key, "{text}");
        }
        for text in ["", "authority = \"x\"", "# authority = none", &key[1..]] {
            assert!(key_in(text).is_err(), "{text}");
        }
    }
}
