//! `tally status`.

use super::{ConfigFile, Exit, Failure};
use clap::Args;
use std::{io::Write as _, time::Duration};
use tally_console::{screen, status::Status};

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// One JSON document on stdout (with --watch, one a line).
    #[arg(long)]
    json: bool,
    /// Show it again every two seconds.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) async fn run(args: StatusArgs) -> Result<Exit, Failure> {
    let client = args.config.client()?;
    loop {
        let answer = client.get("/v1/status").await?;
        let mut out = std::io::stdout().lock();
        let written = if args.json {
            out.write_all(&answer).and_then(|()| out.write_all(b"\n"))
        } else {
            let status: Status = serde_json::from_slice(&answer).map_err(Failure::failed)?;
            let clear = if args.watch { "\x1b[H\x1b[2J" } else { "" };
            write!(out, "{clear}{}", screen::render(&status))
        };
        drop(out);
        // Whoever reads our output may have seen enough.
        if written.is_err() || !args.watch {
            return Ok(Exit::Done);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}
