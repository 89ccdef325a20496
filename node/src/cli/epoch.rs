//! `tally epoch`: asks for the next epoch of this node, and tells what was lost with the last one.

use super::{ConfigFile, Exit, Failure};
use clap::Subcommand;
use std::path::PathBuf;
use tally_client::shown;
use tally_console::{AskedEpoch, WithReason};
use tally_store::lost::LostRange;

#[derive(Debug, Subcommand)]
pub(super) enum EpochCommand {
    /// Ask for the next epoch: when this node's log is damaged where nobody else has it, or two histories of it were signed.
    Next {
        /// Why: one line, for whoever decides.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Also write the request to a file, to be carried where there is no network.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// List the records that are on no disk any more.
    Lost {
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Say that everybody whose records are lost knows it: `status` does not tell of them any more.
    Acknowledge {
        /// Who was told: one line.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        config: ConfigFile,
    },
}

/// The JSON of a reason.
pub(super) fn with_reason(reason: String) -> Result<String, Failure> {
    serde_json::to_string(&WithReason { reason }).map_err(Failure::failed)
}

pub(super) async fn run(command: EpochCommand) -> Result<Exit, Failure> {
    match command {
        EpochCommand::Next { reason, output, json, config } => {
            let answer = config.client()?.post_json("/v1/epoch", with_reason(reason)?).await?;
            let asked: AskedEpoch = serde_json::from_slice(&answer).map_err(Failure::failed)?;
            if let Some(path) = &output {
                tally_client::save::save(path, asked.note.as_bytes())
                    .map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?;
            }
            if json {
                outln!("{}", String::from_utf8_lossy(&answer));
            } else {
                print(&shown(&answer)?, output.as_ref());
            }
        }
        EpochCommand::Lost { json, config } => {
            let answer = config.client()?.get("/v1/lost").await?;
            if json {
                outln!("{}", String::from_utf8_lossy(&answer));
            } else {
                let lost: Vec<LostRange> = shown(&answer)?;
                lost.iter().for_each(print_lost);
                if lost.is_empty() {
                    outln!("no records are known to be lost");
                }
            }
        }
        EpochCommand::Acknowledge { reason, config } => {
            let answer = config.client()?.post_json("/v1/lost", with_reason(reason)?).await?;
            outln!("{}", String::from_utf8_lossy(&answer));
        }
    }
    Ok(Exit::Done)
}

fn print(asked: &AskedEpoch, output: Option<&PathBuf>) {
    outln!("{} asks for its next epoch since {}: {}", asked.log, asked.since, asked.reason);
    outln!("code     {}", asked.code);
    let division = asked.log.division;
    match output {
        None => {
            outln!("The request goes up by itself. Tell the code to whoever has the authority's key, by telephone.")
        }
        Some(path) => outln!("The request is in {} too. Tell the code by another way than the file.", path.display()),
    }
    outln!("next     there: tally node approve {division} --code {} --authority KEYFILE", asked.code);
    outln!("Until then rows are taken and kept here; nothing is sent.");
}

fn print_lost(r: &LostRange) {
    let known = match &r.acknowledged {
        None => String::new(),
        Some((at, why)) => format!("   acknowledged {}: {why}", tally_clock::time(*at)),
    };
    outln!("{} records {}..{}   noted {}{known}", r.log, r.from, r.to, tally_clock::time(r.since));
    for (index, id) in &r.ids {
        outln!("  {index}  {id}");
    }
}
