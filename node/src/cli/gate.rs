//! `tally gate`: the operator's word where nobody can say how far this node's own log had got.

use super::{ConfigFile, Exit, Failure};
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(super) enum GateCommand {
    /// Let this node sign although nobody has confirmed how far its log had got.
    Open(OpenArgs),
}

#[derive(Debug, Args)]
pub(super) struct OpenArgs {
    /// Why; it stands in the log file and in `tally status`.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) async fn run(command: GateCommand) -> Result<Exit, Failure> {
    let GateCommand::Open(args) = command;
    if args.reason.trim().is_empty() {
        return Err(Failure::new(Exit::Usage, "--reason: say why; it is kept"));
    }
    let client = args.config.client()?;
    let asked = serde_json::json!({ "reason": args.reason }).to_string();
    let answer = client.post_json("/v1/gate/open", asked).await?;
    let answer: serde_json::Value = serde_json::from_slice(&answer).map_err(Failure::failed)?;
    if args.json {
        outln!("{answer}");
        return Ok(Exit::Done);
    }
    let (held, known) = (answer["held"].as_u64().unwrap_or(0), answer["known"].as_u64().unwrap_or(0));
    outln!("the gate is open: this node signs, from record {held} on");
    if known > held {
        errln!(
            "tally: {known} records of this log are known to be signed, and this disk has {held}. What is signed from here on \
             is a second history, and its log will be frozen once it has got as far. The way without that: the next epoch."
        );
    }
    Ok(Exit::Done)
}
